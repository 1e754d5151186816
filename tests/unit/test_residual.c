/*
 * The residual is a bijection: for every base each target has a residual of its own, adding it
 * gives the target back, subtracting it the base.  All pairs of 8 bits, whole rows of the 16-bit
 * table, samples of the wider ones.
 */
#include "support.h"

#include <string.h>

#include "codec/residual.h"

static uint64_t rng_state = 88172645463325252u;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static void check_pair(uint64_t base, uint64_t target, unsigned bits, bool sm)
{
    const uint64_t z = fmp_residual(base, target, bits, sm);

    if (z > fmp_unit_mask(bits) || fmp_residual_add(base, z, bits, sm) != target ||
        fmp_residual_subtract(target, z, bits, sm) != base || (z == 0) != (base == target))
        fail_msg("%u bits, sign-magnitude %d: base %llx, target %llx, residual %llx", bits, sm,
                 (unsigned long long)base, (unsigned long long)target, (unsigned long long)z);
}

/* All targets of one base: each residual once. */
static void check_row(uint64_t base, unsigned bits, bool sm)
{
    static uint8_t seen[1u << 16];
    const uint64_t n = 1ull << bits;

    memset(seen, 0, (size_t)n);
    for (uint64_t target = 0; target < n; target++) {
        const uint64_t z = fmp_residual(base, target, bits, sm);

        check_pair(base, target, bits, sm);
        if (seen[z]++)
            fail_msg("base %llx: residual %llx stands for two targets", (unsigned long long)base,
                     (unsigned long long)z);
    }
}

static void test_all_pairs_of_8_bits(void **state)
{
    (void)state;
    for (unsigned sm = 0; sm < 2; sm++)
        for (uint64_t base = 0; base < 256; base++)
            check_row(base, 8, sm);
}

static void test_rows_of_16_bits(void **state)
{
    /* 0, -0, infinities and NaN payloads of bf16 and fp16, subnormals, the extremes */
    static const uint16_t special[] = {0x0000, 0x8000, 0x7f80, 0xff80, 0x7fc0, 0xffc0, 0x7f81,
                                       0xff81, 0x7fff, 0xffff, 0x7c00, 0xfc00, 0x7e00, 0xfe00,
                                       0x7c01, 0xfc01, 0x0001, 0x8001, 0x007f, 0x807f, 0x0080,
                                       0x8080, 0x03ff, 0x83ff, 0x0400, 0x8400, 0x7f7f, 0xff7f,
                                       0x7bff, 0xfbff, 0x3f80, 0xbf80, 0x3c00, 0xbc00};
    enum { N_SPECIAL = sizeof special / sizeof *special, N_ROWS = 600 };

    (void)state;
    for (unsigned sm = 0; sm < 2; sm++)
        for (unsigned i = 0; i < N_ROWS; i++)
            check_row(i < N_SPECIAL ? special[i] : (i * 2654435761u + sm * 40503u) >> 7 & 0xffff,
                      16, sm);
}

static void check_order(unsigned bits, bool sm)
{
    static uint8_t seen[1u << 16];
    const uint64_t n = 1ull << bits;

    memset(seen, 0, (size_t)n);
    for (uint64_t x = 0; x < n; x++) {
        const uint64_t m = fmp_order_map(x, bits, sm);

        assert_true(m < n);
        assert_int_equal(seen[m]++, 0);
        assert_int_equal(fmp_order_unmap(m, bits, sm), x);
    }
}

static void test_order_map_is_a_bijection(void **state)
{
    (void)state;
    for (unsigned sm = 0; sm < 2; sm++) {
        check_order(8, sm);
        check_order(16, sm);
    }
}

/* The order that the map is for: numbers from the largest negative up, -0 right below 0. */
static void test_order_is_numeric(void **state)
{
    (void)state;
    for (uint64_t x = 0; x < 0x7fff; x++) {
        assert_true(fmp_order_map(x, 16, true) + 1 == fmp_order_map(x + 1, 16, true));
        assert_true(fmp_order_map(x | 0x8000, 16, true) - 1 ==
                    fmp_order_map((x + 1) | 0x8000, 16, true));
    }
    assert_int_equal(fmp_order_map(0x8000, 16, true) + 1, fmp_order_map(0, 16, true));
    assert_int_equal(fmp_residual(0x8000, 0, 16, true), 2); /* one step up */
    assert_int_equal(fmp_residual(0, 0x8000, 16, true), 1); /* one step down */
}

static void test_zigzag(void **state)
{
    static const uint64_t step[] = {0, UINT64_MAX, 1, UINT64_MAX - 1, 2};

    (void)state;
    for (unsigned bits = 8; bits <= 64; bits *= 2) {
        for (uint64_t z = 0; z < 5; z++) {
            assert_int_equal(fmp_zigzag(step[z] & fmp_unit_mask(bits), bits), z);
            assert_int_equal(fmp_unzigzag(z, bits), step[z] & fmp_unit_mask(bits));
        }
        assert_int_equal(fmp_zigzag(1ull << (bits - 1), bits), fmp_unit_mask(bits));
    }
}

static void test_samples_of_wide_units(void **state)
{
    static const uint64_t edge[] = {0,
                                    1,
                                    2,
                                    0x7fffffff,
                                    0x80000000,
                                    0x7f800000,
                                    0xff800000,
                                    0x7fc00001,
                                    0xffffffff,
                                    0x7fffffffffffffff,
                                    0x8000000000000000,
                                    0x7ff0000000000000,
                                    0xfff0000000000000,
                                    0x7ff8000000000001,
                                    0xffffffffffffffff};
    enum { N = sizeof edge / sizeof *edge };

    (void)state;
    for (unsigned bits = 32; bits <= 64; bits *= 2) {
        for (unsigned sm = 0; sm < 2; sm++) {
            const uint64_t mask = fmp_unit_mask(bits);

            for (unsigned i = 0; i < N; i++) {
                for (unsigned k = 0; k < N; k++)
                    check_pair(edge[i] & mask, edge[k] & mask, bits, sm);
            }
            for (unsigned i = 0; i < 200000; i++) {
                const uint64_t base = rng() & mask;

                check_pair(base, rng() & mask, bits, sm);
                check_pair(base, (base + (rng() & 15) - 8) & mask, bits, sm);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_pairs_of_8_bits),
        cmocka_unit_test(test_rows_of_16_bits),
        cmocka_unit_test(test_order_map_is_a_bijection),
        cmocka_unit_test(test_order_is_numeric),
        cmocka_unit_test(test_zigzag),
        cmocka_unit_test(test_samples_of_wide_units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
