/*
 * Updates of few significant bits.  See rounding.h.
 */
#include "train/rounding.h"

#include <math.h>
#include <string.h>

#include "model/params.h"

/* A dtype's bits as a number, and back. */
static uint32_t bits_of(const char *dtype, float value)
{
    uint32_t wide = 0;
    uint16_t half;

    if (fish_dtype_size(dtype) == 4) {
        memcpy(&wide, &value, sizeof wide);
        return wide;
    }
    fish_narrow(dtype, &value, &half, 1);
    return half;
}

static float value_of(const char *dtype, uint32_t bits)
{
    const uint16_t half = (uint16_t)bits;
    float value;

    if (fish_dtype_size(dtype) == 4)
        memcpy(&value, &bits, sizeof value);
    else
        fish_widen(dtype, &half, &value, 1);
    return value;
}

/* The order map of sign-magnitude units of w bits (FORMAT.md, section 16) and its inverse. */
static int64_t map(uint32_t x, unsigned w)
{
    const uint32_t top = (uint32_t)1 << (w - 1);
    const uint32_t all = top | (top - 1);

    return x & top ? ~x & all : x | top;
}

static uint32_t unmap(int64_t m, unsigned w)
{
    const uint32_t top = (uint32_t)1 << (w - 1);
    const uint32_t all = top | (top - 1);
    const uint32_t x = (uint32_t)m;

    return x & top ? x & ~top : ~x & all;
}

/* x / 2^shift to the nearest integer, ties to even, times 2^shift. */
static int64_t round_at(int64_t x, unsigned shift)
{
    const int64_t rest = x & (((int64_t)1 << shift) - 1);
    const int64_t half = (int64_t)1 << (shift - 1);
    int64_t q = x >> shift;

    if (rest > half || (rest == half && (q & 1)))
        q++;
    return q << shift;
}

float fish_round_update(const char *dtype, float base, float value, unsigned n_bits)
{
    const unsigned w = fish_dtype_size(dtype) == 4 ? 32 : 16;
    const int64_t from = map(bits_of(dtype, base), w);
    const int64_t residual = map(bits_of(dtype, value), w) - from;
    const int64_t size = residual < 0 ? -residual : residual;
    const double bound = ldexp(fabs((double)value - (double)base), -(int)n_bits);
    unsigned n = 0;

    while (size >> n)
        n++;
    if (!n_bits || n <= n_bits || !isfinite(value))
        return value;
    for (unsigned shift = n - n_bits; shift; shift--) {
        const int64_t rounded = round_at(size, shift);
        const int64_t at = from + (residual < 0 ? -rounded : rounded);
        float near;

        if (at < 0 || at >> w)
            continue;
        near = value_of(dtype, unmap(at, w));
        if (fabs((double)near - (double)value) <= bound) /* false for a NaN */
            return near;
    }
    return value;
}

void fish_round_updates(const char *dtype, const float *base, float *value, size_t n,
                        unsigned n_bits)
{
    for (size_t i = 0; i < n && n_bits; i++)
        value[i] = fish_round_update(dtype, base[i], value[i], n_bits);
}

unsigned fish_value_bits_at(unsigned n_bits, double phase, uint64_t step, uint64_t n_steps)
{
    const double begin = (double)n_steps * (1 - phase);
    const double in = n_steps ? ((double)step - begin) / ((double)n_steps * phase) : 1;

    if (!n_bits || step >= n_steps)
        return n_bits;
    if (in <= 0)
        return 0;
    return in < 1.0 / 8   ? n_bits + 3
           : in < 2.0 / 8 ? n_bits + 2
           : in < 3.0 / 8 ? n_bits + 1
                          : n_bits;
}
