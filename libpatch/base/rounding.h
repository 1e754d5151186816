/*
 * Doubles to the bit patterns of other floats, rounded once: to nearest, ties to even (IEEE 754,
 * 4.3.1).  What is too large becomes infinite, or NaN where the type has no infinity.  For merging
 * only.
 */
#ifndef FMP_BASE_ROUNDING_H
#define FMP_BASE_ROUNDING_H

#include "base/values.h"

/* A type of 1 sign bit, `e_bits` of exponent and `m_bits` of fraction. */
static inline uint32_t fmp_round_small(double d, unsigned e_bits, unsigned m_bits)
{
    const int bias = (1 << (e_bits - 1)) - 1;
    const uint32_t top = ((1u << e_bits) - 1) << m_bits; /* infinity */
    uint64_t bits, fraction, half;
    uint32_t sign, result;
    int exponent;
    unsigned shift = 52 - m_bits;

    memcpy(&bits, &d, sizeof bits);
    sign = (uint32_t)(bits >> 63) << (e_bits + m_bits);
    exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    fraction = bits & ((1ull << 52) - 1);
    if (exponent == 1024)
        return sign | top | (fraction ? 1u << (m_bits - 1) : 0);
    if (exponent < -1022 || exponent < 1 - bias - (int)m_bits - 1)
        return sign; /* less than half of the smallest number */
    fraction |= 1ull << 52;
    if (exponent < 1 - bias)
        shift += (unsigned)(1 - bias - exponent);
    half = 1ull << (shift - 1);
    result = (uint32_t)(fraction >> shift);
    fraction &= (half << 1) - 1;
    result += fraction > half || (fraction == half && (result & 1));
    if (exponent >= 1 - bias)
        result += (uint32_t)(exponent + bias - 1) << m_bits;
    return sign | (result < top ? result : top);
}

/* OCP's E4M3 uses the largest exponent for numbers, too: up to 448; it has no infinity. */
static inline uint32_t fmp_round_e4m3(double d)
{
    const double size = fabs(d);
    const uint32_t sign = signbit(d) ? 0x80 : 0;

    if (!(size <= 464)) /* half way from 448 to what would come next; the tie is to even: 448 */
        return sign | 0x7f;
    if (size >= 256) {
        const uint32_t step = (uint32_t)nearbyint(size / 32); /* 8 .. 14; ties to even */

        return sign | (0x78 + (step < 15 ? step - 8 : 6));
    }
    return fmp_round_small(d, 4, 3);
}

/* Whether the type can be rounded to. */
static inline bool fmp_value_rounds(fmp_value_kind kind)
{
    return kind >= FMP_VALUE_F64 && kind <= FMP_VALUE_E4M3;
}

static inline uint64_t fmp_value_round(fmp_value_kind kind, double d)
{
    uint64_t bits;
    uint32_t low;
    float f;

    switch (kind) {
    case FMP_VALUE_F64:
        memcpy(&bits, &d, sizeof bits);
        return bits;
    case FMP_VALUE_F32:
        f = (float)d;
        memcpy(&low, &f, sizeof low);
        return low;
    case FMP_VALUE_BF16:
        return fmp_round_small(d, 8, 7);
    case FMP_VALUE_F16:
        return fmp_round_small(d, 5, 10);
    case FMP_VALUE_E5M2:
        return fmp_round_small(d, 5, 2);
    default:
        return fmp_round_e4m3(d);
    }
}

#endif
