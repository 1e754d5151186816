/*
 * The range coder alone: decisions there and back, carries through long runs of bytes, an end that
 * can be told in one way only, buffers that are too small, and what contexts learn.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "codec/rangecoder.h"

enum { MOST = 6000, CONTEXTS = 64, FRESH = 255 /* a new context, for this decision alone */ };

static uint64_t rng_state = 88172645463325252u;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

/* Decisions, each with the number of its context. */
typedef struct decisions {
    uint32_t n;
    bool bit[MOST];
    uint8_t context[MOST];
} decisions;

static decisions d;
static uint8_t coded[4 * MOST + 64];

static fmp_context *context_of(const decisions *s, uint32_t i, fmp_context p[CONTEXTS + 1])
{
    p[CONTEXTS] = FMP_CONTEXT_NEW;
    return &p[s->context[i] == FRESH ? CONTEXTS : s->context[i]];
}

/* How many bytes of `out`; SIZE_MAX when it is full. */
static size_t encode(const decisions *s, uint8_t *out, size_t cap)
{
    fmp_context p[CONTEXTS + 1];
    fmp_rangecoder c;

    fmp_context_init(p, CONTEXTS);
    fmp_rc_encode_to(&c, out, cap);
    for (uint32_t i = 0; i < s->n; i++)
        fmp_rc_bit(&c, false, context_of(s, i, p), s->bit[i]);
    return fmp_rc_finish(&c);
}

/* Whether the stream is read as these decisions, and no others, and taken. */
static bool takes(const decisions *s, const uint8_t *in, size_t len)
{
    fmp_context p[CONTEXTS + 1];
    fmp_rangecoder c;
    bool same = true;

    fmp_context_init(p, CONTEXTS);
    fmp_rc_decode_from(&c, in, len);
    for (uint32_t i = 0; i < s->n && same; i++)
        same = fmp_rc_bit(&c, true, context_of(s, i, p), false) == s->bit[i];
    return same && fmp_rc_at_end(&c);
}

/* In memory of exactly that size, so that ASan sees a read past it. */
static void check_there_and_back(size_t len)
{
    uint8_t *exact = malloc(len ? len : 1);

    assert_non_null(exact);
    memcpy(exact, coded, len);
    assert_true(len == 0 || exact[len - 1] != 0);
    assert_true(takes(&d, len ? exact : NULL, len));
    free(exact);
}

/* n decisions in some contexts, a 1 in `ones` of 65536. */
static void any_decisions(uint32_t n, unsigned n_contexts, uint32_t ones)
{
    d.n = n;
    for (uint32_t i = 0; i < n; i++) {
        d.context[i] = (uint8_t)((rng() >> 20) % n_contexts);
        d.bit[i] = (rng() >> 20 & 0xffff) < ones;
    }
}

static size_t encode_all(void)
{
    const size_t len = encode(&d, coded, sizeof coded);

    assert_int_not_equal(len, SIZE_MAX);
    return len;
}

/* ---- there and back ---------------------------------------------------------------------------
 */

static void test_random(void **state)
{
    static const uint32_t ones[] = {0, 1, 100, 655, 6553, 32768, 60000, 65500, 65535, 65536};

    (void)state;
    for (unsigned k = 0; k < 1500; k++) {
        any_decisions((uint32_t)(rng() >> 20) % (k % 10 ? 300 : MOST), 1 + k % CONTEXTS,
                      ones[k % 10]);
        check_there_and_back(encode_all());
    }
}

/* What a context expects least, after it has learned for long. */
static void test_surprises(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < MOST; n += 1 + n / 7) {
        for (unsigned usual = 0; usual < 2; usual++) {
            any_decisions(MOST, 1, usual ? 65536 : 0);
            for (uint32_t i = n; i < MOST; i += n + 1)
                d.bit[i] = !usual;
            check_there_and_back(encode_all());
        }
    }
    any_decisions(MOST, 1, 65536);
    for (uint32_t i = MOST / 2; i < MOST; i++)
        d.bit[i] = false;
    check_there_and_back(encode_all());
}

/* A 1 in a hundred: what it costs is near the entropy, 0.0808 bits. */
static void test_size(void **state)
{
    double bits = 0;

    (void)state;
    for (unsigned k = 0; k < 20; k++) {
        any_decisions(MOST, 1, 655);
        bits += 8.0 * (double)encode_all();
    }
    assert_true(bits < 1.08 * 0.0808 * 20 * MOST + 20 * 20);
}

static void test_empty(void **state)
{
    uint8_t byte;

    (void)state;
    d.n = 0;
    assert_int_equal(encode(&d, coded, 8), 0);
    assert_int_equal(encode(&d, coded, 7), SIZE_MAX); /* the end is written before it is cut */
    assert_int_equal(encode(&d, coded, 0), SIZE_MAX);
    assert_true(takes(&d, NULL, 0));
    for (unsigned b = 0; b < 256; b++) {
        byte = (uint8_t)b;
        assert_false(takes(&d, &byte, 1));
    }
}

/* ---- carries ----------------------------------------------------------------------------------
 */

/* The decisions that a stream says, up to where its first `depth` bytes have been read. */
static void decisions_of(const uint8_t *in, size_t len, size_t depth, unsigned n_contexts)
{
    fmp_context p[CONTEXTS + 1];
    fmp_rangecoder c;

    any_decisions(MOST, n_contexts, 0);
    for (uint32_t i = 0; i < MOST; i++)
        d.context[i] = n_contexts == CONTEXTS || i % 3 ? FRESH : d.context[i];
    fmp_context_init(p, CONTEXTS);
    fmp_rc_decode_from(&c, in, len);
    for (d.n = 0; d.n < MOST - 40 && c.at < depth; d.n++)
        d.bit[d.n] = fmp_rc_bit(&c, true, context_of(&d, d.n, p), false);
}

/* Decisions that hover below a number that ends in zeros, then go above or stay below it. */
static void test_carries(void **state)
{
    static uint8_t in[1200];
    size_t longest[2] = {0, 0};

    (void)state;
    for (unsigned k = 0; k < 800; k++) {
        const size_t before = k % 9;
        const size_t run = 8 + (size_t)(rng() >> 20) % (k % 4 < 2 ? 60 : 700);
        const bool above = k & 1;
        size_t len;
        size_t n = 0;

        for (size_t i = 0; i < before; i++)
            in[i] = (uint8_t)(rng() >> 20);
        in[before] = 0x7f;
        memset(in + before + 1, 0xff, run);
        decisions_of(in, before + 1 + run, before + run - 4, 1 + k % CONTEXTS);
        for (unsigned i = 0; i < 40; i++) { /* 0 is the upper part */
            d.context[d.n] = FRESH;
            d.bit[d.n++] = !above;
        }
        len = encode_all();
        check_there_and_back(len);
        while (before + 1 + n < len && coded[before + 1 + n] == (above ? 0 : 0xff))
            n++;
        if (coded[before] == (above ? 0x80 : 0x7f) && n > longest[above])
            longest[above] = n;
    }
    assert_true(longest[0] > 500);
    assert_true(longest[1] > 500);
}

/* ---- one form ---------------------------------------------------------------------------------
 */

static void check_one_form(void)
{
    const size_t len = encode_all();
    uint8_t other[256];

    check_there_and_back(len);
    if (len + 2 > sizeof other)
        fail_msg("%zu bytes", len);
    for (size_t n = 0; n < len; n++) {
        uint8_t *exact = malloc(n ? n : 1);

        assert_non_null(exact);
        memcpy(exact, coded, n);
        assert_false(takes(&d, exact, n));
        free(exact);
    }
    memcpy(other, coded, len);
    for (unsigned b = 0; b < 256; b++) { /* one byte more, two bytes more */
        other[len] = (uint8_t)b;
        assert_false(takes(&d, other, len + 1));
        other[len + 1] = 1;
        assert_false(takes(&d, other, len + 2));
    }
    for (size_t i = 0; i < len; i++) {
        for (unsigned b = 0; b < 256; b++) {
            other[i] = (uint8_t)b;
            assert_int_equal(takes(&d, other, len), b == coded[i]);
        }
        other[i] = coded[i];
    }
}

static void test_one_form(void **state)
{
    static const uint32_t ones[] = {0, 655, 6553, 32768, 59000, 65536};

    (void)state;
    for (unsigned k = 0; k < 180; k++) {
        any_decisions((uint32_t)(rng() >> 20) % 200, 1 + k % CONTEXTS, ones[k % 6]);
        check_one_form();
    }
}

/* Short streams, all of them: none but the one that is written is taken. */
static void test_one_form_of_short(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 10; n++) {
        for (unsigned bits = 0; bits < 1u << n; bits++) {
            size_t len;
            unsigned n_taken = 0;

            d.n = n;
            for (unsigned i = 0; i < n; i++) {
                d.context[i] = (uint8_t)(n % 2 ? 0 : i);
                d.bit[i] = bits >> i & 1;
            }
            len = encode_all();
            assert_true(len <= 2);
            n_taken += takes(&d, NULL, 0);
            for (unsigned v = 0; v < 256; v++) {
                const uint8_t one = (uint8_t)v;

                n_taken += takes(&d, &one, 1);
            }
            assert_int_equal(n_taken, len < 2);
        }
    }
}

/* The largest numbers that 8 bytes hold lie above every range: as the first bytes they are not
 * those of a writer, wherever a reader's numbers of 64 bits then go. */
static void test_above_the_range(void **state)
{
    (void)state;
    for (unsigned n = 60; n < 200; n++) {
        size_t len;

        d.n = n;
        for (unsigned i = 0; i < n; i++) {
            d.context[i] = (uint8_t)(i % CONTEXTS);
            d.bit[i] = false;
        }
        len = encode_all();
        check_there_and_back(len);
        if (len < 8 || memcmp(coded, "\xff\xff\xff\xff\xff\xff\xff", 7) != 0)
            continue;
        for (unsigned b = 0; b < 256; b++) {
            const uint8_t was = coded[7];

            coded[7] = (uint8_t)b;
            assert_int_equal(takes(&d, coded, len), b == was);
            coded[7] = was;
        }
    }
}

/* ---- short buffers ----------------------------------------------------------------------------
 */

static void test_full(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 40; k++) {
        size_t len;

        any_decisions((uint32_t)(rng() >> 20) % 800, 1 + k % CONTEXTS, k & 1 ? 32768 : 6000);
        len = encode_all();
        for (size_t cap = 0; cap < len + 12; cap++) {
            uint8_t *exact = malloc(cap + 16);
            size_t got;

            assert_non_null(exact);
            memset(exact + cap, 0xa5, 16);
            got = encode(&d, exact, cap);
            assert_true(got == SIZE_MAX || (got == len && got <= cap));
            assert_true(cap < len + 8 || got == len);
            if (got == len)
                assert_memory_equal(exact, coded, len);
            for (unsigned i = 0; i < 16; i++)
                assert_int_equal(exact[cap + i], 0xa5);
            free(exact);
        }
    }
}

/* ---- contexts ---------------------------------------------------------------------------------
 */

static void check_context(fmp_context c)
{
    const uint32_t odds = fmp_context_odds(c);

    assert_true(odds >= 1 && odds <= 65535);
    assert_true((c & 1023) <= FMP_CONTEXT_LIMIT);
}

/* FORMAT.md, "Decisions", in other words. */
static void test_contexts(void **state)
{
    (void)state;
    for (unsigned n = 0; n <= FMP_CONTEXT_LIMIT; n++)
        assert_int_equal(fmp_context_weight[n], (1u << 17) / (2 * n + 3));
    for (unsigned k = 0; k < 300; k++) {
        fmp_context c = FMP_CONTEXT_NEW;
        uint32_t p = 1u << 21;
        uint32_t n = 0;

        for (unsigned i = 0; i < 4000; i++) {
            const bool bit = k == 0 || (k != 1 && (rng() >> 20 & 0xffff) < (k * 218u));
            const uint32_t w = (1u << 17) / (2 * n + 3);

            c = fmp_context_next(c, bit);
            p = bit ? p + (uint32_t)(((uint64_t)(0x3fffff - p) * w) >> 16)
                    : p - (uint32_t)(((uint64_t)p * w) >> 16);
            n += n < 127;
            assert_int_equal(c >> 10, p);
            assert_int_equal(c & 1023, n);
            assert_int_equal(fmp_context_odds(c), p / 64 | 1);
            check_context(c);
        }
    }
}

/* Any state that 22 and 10 bits can hold up to the limit leads to one that is sound. */
static void test_any_context(void **state)
{
    (void)state;
    for (uint64_t p = 0; p < 1u << 22; p += 1 + (p > 300 && p < (1u << 22) - 300 ? 97 : 0)) {
        for (uint32_t n = 0; n <= FMP_CONTEXT_LIMIT; n += 1 + n / 3) {
            const fmp_context c = (uint32_t)p << 10 | n;

            check_context(fmp_context_next(c, false));
            check_context(fmp_context_next(c, true));
        }
    }
}

/* The same bytes on every machine and in every build: those of an encoder on integers of any size,
 * of which this is the FNV-1a sum. */
static void test_golden(void **state)
{
    uint64_t seed = 12345;
    uint64_t sum = 0xcbf29ce484222325u;
    size_t len;

    (void)state;
    d.n = MOST;
    for (uint32_t i = 0; i < MOST; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        d.context[i] = (uint8_t)(seed >> 58);
        d.bit[i] = (seed >> 32 & 0xff) < 4u * d.context[i];
    }
    len = encode_all();
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ coded[i]) * 0x100000001b3u;
    assert_int_equal(len, 566);
    assert_true(sum == 0x68d9aebea8872debu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_surprises),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_carries),
        cmocka_unit_test(test_one_form),
        cmocka_unit_test(test_one_form_of_short),
        cmocka_unit_test(test_above_the_range),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_any_context),
        cmocka_unit_test(test_golden),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
