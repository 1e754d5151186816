/*
 * The two token codes, and bits written and read back.
 */
#include "support.h"

#include "codec/bits.h"
#include "codec/residual.h"

static uint64_t rng_state = 2463534242u;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static void check_token(uint64_t v)
{
    const unsigned gap = fmp_gap_token(v);
    const unsigned gap_extra = fmp_gap_extra(gap);
    const unsigned value = fmp_value_token(v);
    const unsigned value_extra = fmp_value_extra(value);

    assert_true(gap <= FMP_GAP_MAX);
    if (gap_extra)
        assert_true(((1ull << gap_extra) | (v & ((1ull << gap_extra) - 1))) == v);
    else
        assert_true(gap == v);
    assert_true(value < 256);
    if (value_extra)
        assert_true(((4ull | ((value - FMP_VALUE_DIRECT) & 3)) << value_extra |
                     (v & ((1ull << value_extra) - 1))) == v);
    else
        assert_true(value == v);
}

static void test_tokens_of_all_bit_lengths(void **state)
{
    (void)state;
    for (uint64_t v = 0; v < 70000; v++)
        check_token(v);
    for (unsigned n = 1; n <= 64; n++) {
        const uint64_t top = 1ull << (n - 1);

        assert_int_equal(fmp_bit_length(top), n);
        check_token(top);
        check_token(top | (top - 1));
        check_token(top | (top >> 1));
        for (unsigned i = 0; i < 100; i++)
            check_token(top | (rng() & (top - 1)));
    }
    assert_int_equal(fmp_bit_length(0), 0);
    assert_int_equal(fmp_gap_token(UINT64_MAX), FMP_GAP_MAX);
    assert_int_equal(fmp_value_token(UINT64_MAX), 255);
}

static void test_bits(void **state)
{
    enum { N = 3000 };
    static uint64_t v[N];
    static unsigned len[N];
    static uint8_t bytes[N * 8 + 8];
    fmp_bit_writer w = {.at = bytes};
    fmp_bit_reader r = {.at = bytes};

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        len[i] = 1 + (unsigned)(rng() % 64);
        v[i] = rng() & fmp_unit_mask(len[i]);
        fmp_bits_put(&w, v[i], len[i]);
    }
    fmp_bits_flush(&w);
    r.end = w.at;
    for (unsigned i = 0; i < N; i++) {
        assert_false(fmp_bits_at_end(&r));
        assert_true(fmp_bits_take(&r, len[i]) == v[i]);
    }
    assert_true(fmp_bits_at_end(&r));
    fmp_bits_take(&r, 9);
    assert_true(r.bad);
    assert_false(fmp_bits_at_end(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_of_all_bit_lengths),
        cmocka_unit_test(test_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
