/*
 * The numbers that bit patterns stand for, as doubles: exact for every float of 64 bits and less
 * and for integers up to 2^53.  For measuring only: what makes or applies patches never loads a
 * float.
 */
#ifndef FMP_BASE_VALUES_H
#define FMP_BASE_VALUES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef enum fmp_value_kind {
    FMP_VALUE_NONE = 0, /* packed or unknown: no numbers */
    FMP_VALUE_F64,
    FMP_VALUE_F32,
    FMP_VALUE_BF16,
    FMP_VALUE_F16,
    FMP_VALUE_E5M2,
    FMP_VALUE_E4M3,
    FMP_VALUE_E5M2FNUZ,
    FMP_VALUE_E4M3FNUZ,
    FMP_VALUE_E8M0,
    FMP_VALUE_U8,
    FMP_VALUE_U16,
    FMP_VALUE_U32,
    FMP_VALUE_U64,
    FMP_VALUE_I8,
    FMP_VALUE_I16,
    FMP_VALUE_I32,
    FMP_VALUE_I64
} fmp_value_kind;

static inline fmp_value_kind fmp_value_kind_of(const char *dtype)
{
    static const struct {
        const char *name;
        fmp_value_kind kind;
    } kinds[] = {
        {"F64", FMP_VALUE_F64},      {"F32", FMP_VALUE_F32},
        {"C64", FMP_VALUE_F32},      {"BF16", FMP_VALUE_BF16},
        {"F16", FMP_VALUE_F16},      {"F8_E5M2", FMP_VALUE_E5M2},
        {"F8_E4M3", FMP_VALUE_E4M3}, {"F8_E5M2FNUZ", FMP_VALUE_E5M2FNUZ},
        {"F8_E8M0", FMP_VALUE_E8M0}, {"F8_E4M3FNUZ", FMP_VALUE_E4M3FNUZ},
        {"U8", FMP_VALUE_U8},        {"U16", FMP_VALUE_U16},
        {"U32", FMP_VALUE_U32},      {"U64", FMP_VALUE_U64},
        {"I8", FMP_VALUE_I8},        {"I16", FMP_VALUE_I16},
        {"I32", FMP_VALUE_I32},      {"I64", FMP_VALUE_I64},
        {"BOOL", FMP_VALUE_U8},
    };

    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, dtype) == 0)
            return kinds[i].kind;
    }
    return FMP_VALUE_NONE;
}

/* Whether the kind has NaN. */
static inline bool fmp_value_is_float(fmp_value_kind kind)
{
    return kind >= FMP_VALUE_F64 && kind <= FMP_VALUE_E8M0;
}

static inline double fmp_value_f32(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

/*
 * An IEEE-like float of 1 sign bit, `e_bits` of exponent and `m_bits` of fraction.  `fnuz`: the
 * pattern of -0 is the only NaN, and the exponent's bias is one more (Micikevicius et al. 2022,
 * arXiv:2209.05433, table 1; Noune et al. 2022, arXiv:2206.02915, section 2).
 */
static inline double fmp_value_small(uint32_t bits, unsigned e_bits, unsigned m_bits, int fnuz)
{
    const uint32_t fraction = bits & ((1u << m_bits) - 1);
    const uint32_t exponent = bits >> m_bits & ((1u << e_bits) - 1);
    const int bias = (1 << (e_bits - 1)) - 1 + fnuz;
    const int negative = (int)(bits >> (e_bits + m_bits) & 1);
    double size;

    if (fnuz && negative && !fraction && !exponent)
        return (double)NAN;
    if (exponent) { /* 2^(exponent - bias), built as bits */
        const uint64_t pattern =
            (uint64_t)((int)exponent - bias + 1023) << 52 | (uint64_t)fraction << (52 - m_bits);

        memcpy(&size, &pattern, sizeof size);
    } else {
        const uint64_t pattern = (uint64_t)(1 - bias - (int)m_bits + 1023) << 52;

        memcpy(&size, &pattern, sizeof size);
        size *= fraction;
    }
    return negative ? -size : size;
}

static inline double fmp_value_f16(uint32_t bits)
{
    if ((bits & 0x7c00) == 0x7c00)
        return fmp_value_f32((bits & 0x8000) << 16 | 0x7f800000u | (bits & 0x3ff) << 13);
    return fmp_value_small(bits, 5, 10, 0);
}

static inline double fmp_value(fmp_value_kind kind, uint64_t bits)
{
    const uint32_t low = (uint32_t)bits;
    double d;

    switch (kind) {
    case FMP_VALUE_F64:
        memcpy(&d, &bits, sizeof d);
        return d;
    case FMP_VALUE_F32:
        return fmp_value_f32(low);
    case FMP_VALUE_BF16:
        return fmp_value_f32(low << 16);
    case FMP_VALUE_F16:
        return fmp_value_f16(low);
    case FMP_VALUE_E5M2:
        return fmp_value_f16(low << 8);
    case FMP_VALUE_E4M3: /* no infinity: the largest exponent has numbers, but for one NaN */
        return (low & 0x7f) == 0x7f ? (double)NAN : fmp_value_small(low, 4, 3, 0);
    case FMP_VALUE_E5M2FNUZ:
        return fmp_value_small(low, 5, 2, 1);
    case FMP_VALUE_E4M3FNUZ:
        return fmp_value_small(low, 4, 3, 1);
    case FMP_VALUE_E8M0: /* 2^(x - 127) */
        if (low == 0xff)
            return (double)NAN;
        bits = (uint64_t)(low + 1023 - 127) << 52;
        memcpy(&d, &bits, sizeof d);
        return d;
    case FMP_VALUE_U8:
    case FMP_VALUE_U16:
    case FMP_VALUE_U32:
    case FMP_VALUE_U64:
        return (double)bits;
    case FMP_VALUE_I8:
        return (double)(int8_t)low;
    case FMP_VALUE_I16:
        return (double)(int16_t)low;
    case FMP_VALUE_I32:
        return (double)(int32_t)low;
    case FMP_VALUE_I64:
        return (double)(int64_t)bits;
    default:
        return 0;
    }
}

#endif
