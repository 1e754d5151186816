/*
 * train/rounding: all pairs of a coarse grid of 16-bit floats and every update of some bases, held
 * against the definition; the promises of --value-bits; its schedule.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/params.h"
#include "train/rounding.h"

static float half(const char *dtype, uint16_t bits)
{
    float x;

    fish_widen(dtype, &bits, &x, 1);
    return x;
}

static uint16_t bits_of(const char *dtype, float x)
{
    uint16_t bits;

    fish_narrow(dtype, &x, &bits, 1);
    return bits;
}

/* Place in the order of bit patterns: counted, not computed as the code does. */
static int32_t place(uint16_t bits)
{
    return bits & 0x8000 ? -(int32_t)(bits & 0x7fff) - 1 : (int32_t)bits;
}

static float at_place(const char *dtype, int32_t p)
{
    return half(dtype, (uint16_t)(p < 0 ? 0x8000 | (-p - 1) : p));
}

static unsigned significant(uint32_t x)
{
    unsigned n = 0;

    while (x && !(x & 1))
        x >>= 1;
    while (x >> n)
        n++;
    return n;
}

/* The first of the multiples of 2^s, s falling, that is near enough: the definition in slow. */
static float slow(const char *dtype, float base, float value, unsigned n_bits)
{
    const int32_t from = place(bits_of(dtype, base));
    const int32_t r = place(bits_of(dtype, value)) - from;
    const double size = abs(r);
    const double bound = fabs((double)value - base) / (1 << n_bits);
    int top = 0;

    while (size >= ldexp(1, top))
        top++;
    for (int s = top - (int)n_bits; s > 0; s--) {
        const double rounded = ldexp(nearbyint(ldexp(size, -s)), s);
        const double to = from + (r < 0 ? -rounded : rounded);
        const float x = to < -32768 || to > 32767 ? NAN : at_place(dtype, (int32_t)to);

        if (fabs((double)x - value) <= bound)
            return x;
    }
    return value;
}

static void check_pair(const char *dtype, float base, float value)
{
    for (unsigned n = 1; n <= 9; n += n < 4 ? 1 : 5) {
        const float got = fish_round_update(dtype, base, value, n);
        const float want = slow(dtype, base, value, n);

        if (memcmp(&got, &want, sizeof got))
            fail_msg("%s, base %g, value %g, %u bits: %g, expected %g", dtype, base, value, n, got,
                     want);
        if (!(fabs((double)got - value) <= ldexp(fabs((double)value - base), -(int)n)))
            fail_msg("%s, base %g, value %g, %u bits: %g is too far", dtype, base, value, n, got);
    }
}

static void all_updates(const char *dtype)
{
    static const uint16_t bases[] = {0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x3c00,
                                     0xbc00, 0x3f80, 0xbf7f, 0x4123, 0x7bff, 0x1234};

    for (size_t b = 0; b < sizeof bases / sizeof bases[0]; b++) {
        const float base = half(dtype, bases[b]);

        for (uint32_t v = 0; v < 65536; v++) {
            const float value = half(dtype, (uint16_t)v);

            if (isfinite(value) && isfinite(base))
                check_pair(dtype, base, value);
        }
    }
}

static void every_bf16_update(void **state)
{
    (void)state;
    all_updates("BF16");
}

static void every_fp16_update(void **state)
{
    (void)state;
    all_updates("F16");
}

static void a_grid_of_pairs(void **state)
{
    (void)state;
    for (uint32_t b = 0; b < 65536; b += 173) {
        for (uint32_t v = 0; v < 65536; v += 211) {
            if (isfinite(half("BF16", (uint16_t)b)) && isfinite(half("BF16", (uint16_t)v)))
                check_pair("BF16", half("BF16", (uint16_t)b), half("BF16", (uint16_t)v));
        }
    }
}

/* Ties go to the even multiple; what has few bits already stays; no update becomes none. */
static void small_numbers(void **state)
{
    const float one = 1; /* place 0x3f80 in bf16, whose steps here are 2^-7 */

    (void)state;
    for (int r = 1; r < 128; r++) {
        const float value = at_place("BF16", 0x3f80 + r);
        const float got = fish_round_update("BF16", one, value, 2);
        const int32_t moved = place(bits_of("BF16", got)) - 0x3f80;

        assert_true(moved > 0);
        assert_true(significant((uint32_t)moved) <= 2);
        if (significant((uint32_t)r) <= 2)
            assert_int_equal(moved, r);
    }
    assert_true(fish_round_update("BF16", one, at_place("BF16", 0x3f80 + 5), 2) ==
                at_place("BF16", 0x3f80 + 4)); /* 5 = 2.5 x 2: 2 is even */
    assert_true(fish_round_update("BF16", one, at_place("BF16", 0x3f80 + 7), 2) ==
                at_place("BF16", 0x3f80 + 8)); /* 3.5 x 2: 4 is even */
    assert_true(fish_round_update("BF16", one, one, 2) == one);
    assert_true(fish_round_update("BF16", one, 3, 0) == 3);
}

static void single_precision(void **state)
{
    uint32_t base_bits, got_bits;
    const float base = 0.7391f;

    (void)state;
    memcpy(&base_bits, &base, sizeof base);
    for (int i = 1; i < 4000; i++) {
        const float value = base + (float)i * 1.1e-5f;
        const float got = fish_round_update("F32", base, value, 3);

        memcpy(&got_bits, &got, sizeof got_bits);
        if (value < 1) /* one binade: three significant bits are enough */
            assert_true(significant(got_bits - base_bits) <= 3);
        assert_true(fabs((double)got - value) <= ((double)value - base) / 8);
    }
    /* From 0, or through it, patterns are not a scale of values: more bits, not a wild number. */
    assert_true(fabs((double)fish_round_update("F32", 0, 1e-4f, 3) - 1e-4) <= 1e-4 / 8);
    assert_true(fabs((double)fish_round_update("F32", 1e-6f, -1e-4f, 3) + 1e-4) <= 1.02e-4 / 8);
    assert_true(isfinite(fish_round_update("F32", 1, 3.4e38f, 1)));
    assert_true(isinf(fish_round_update("F32", 1, INFINITY, 1)));
}

static void many_at_once(void **state)
{
    const float base[3] = {1, -2, 0.5f};
    float value[3] = {1.01f, -2.03f, 0.51f};
    float want[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        want[i] = fish_round_update("F32", base[i], value[i], 2);
    fish_round_updates("F32", base, value, 3, 2);
    assert_memory_equal(value, want, sizeof want);
    fish_round_updates("F32", base, value, 3, 0);
    assert_memory_equal(value, want, sizeof want);
}

/* Never fewer bits than asked for, never more later, exactly that many at the end. */
static void bits_only_fall(void **state)
{
    (void)state;
    for (uint32_t n_steps = 1; n_steps < 200; n_steps++) {
        unsigned before = 99;

        for (uint32_t s = 1; s <= n_steps; s++) {
            const unsigned now = fish_value_bits_at(3, 0.25, s, n_steps);

            assert_true(now == 0 || (now >= 3 && now <= 6));
            assert_true((now ? now : 99) <= before);
            assert_int_equal(now == 0, s <= 0.75 * n_steps && s < n_steps);
            before = now ? now : 99;
        }
        assert_int_equal(before, 3);
    }
    assert_int_equal(fish_value_bits_at(0, 0.25, 100, 100), 0);
    assert_int_equal(fish_value_bits_at(2, 1, 1, 100), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bf16_update), cmocka_unit_test(every_fp16_update),
        cmocka_unit_test(a_grid_of_pairs),   cmocka_unit_test(small_numbers),
        cmocka_unit_test(single_precision),  cmocka_unit_test(many_at_once),
        cmocka_unit_test(bits_only_fall),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
