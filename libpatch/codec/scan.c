/*
 * The loops over units.  See scan.h.
 */
#include "codec/scan.h"

#include <string.h>

#include "codec/bits.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* A bit for each unit of a word of 8 bytes that is not 0. */
ALWAYS_INLINE uint32_t units_set(uint64_t x, unsigned width)
{
    const uint64_t low = width == 1 ? 0x7f7f7f7f7f7f7f7fu : 0x7fff7fff7fff7fffu;

    if (width == 8)
        return x != 0;
    if (width == 4)
        return ((uint32_t)x != 0) | (uint32_t)((x >> 32) != 0) << 1;
    x = (((x & low) + low) | x) & ~low; /* the top bit of each unit says that it is not 0 */
    if (width == 2)
        return (uint32_t)((x >> 15) * 0x0001000200040008u >> 48) & 15;
    return (uint32_t)((x >> 7) * 0x0102040810204080u >> 56);
}

/* 64 bytes at a time: most are equal, and then two loads and an OR a word is all it takes. */
ALWAYS_INLINE uint32_t scan_changed(const uint8_t *a, const uint8_t *b, uint32_t n_units,
                                    uint32_t *idx, unsigned width)
{
    const uint32_t group = 64 / width;
    const uint32_t n_grouped = n_units - n_units % group;
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_grouped; i += group) {
        const uint8_t *pa = a + (size_t)i * width;
        const uint8_t *pb = b + (size_t)i * width;
        uint64_t x[8];
        uint64_t any = 0;
        uint64_t set = 0;

        for (unsigned k = 0; k < 8; k++) {
            uint64_t u, v;

            memcpy(&u, pa + 8 * k, 8);
            memcpy(&v, pb + 8 * k, 8);
            x[k] = u ^ v;
            any |= x[k];
        }
        if (!any)
            continue;
        for (unsigned k = 0; k < 8; k++)
            set |= (uint64_t)units_set(x[k], width) << (k * 8 / width);
        for (; set; set &= set - 1)
            idx[n++] = i + (uint32_t)__builtin_ctzll(set);
    }
    for (uint32_t i = n_grouped; i < n_units; i++) {
        if (memcmp(a + (size_t)i * width, b + (size_t)i * width, width) != 0)
            idx[n++] = i;
    }
    return n;
}

uint32_t fmp_scan_changed(const uint8_t *base, const uint8_t *target, uint32_t n_units,
                          unsigned bits, uint32_t *idx)
{
    switch (bits) {
    case 8:
        return scan_changed(base, target, n_units, idx, 1);
    case 16:
        return scan_changed(base, target, n_units, idx, 2);
    case 32:
        return scan_changed(base, target, n_units, idx, 4);
    default:
        return scan_changed(base, target, n_units, idx, 8);
    }
}

uint32_t fmp_scan_others(const uint32_t *idx, uint32_t n, uint32_t n_units, uint32_t *others)
{
    uint32_t n_others = 0;
    uint32_t at = 0;

    for (uint32_t i = 0; i <= n; i++) {
        const uint32_t stop = i < n ? idx[i] : n_units;

        while (at < stop)
            others[n_others++] = at++;
        at = stop + 1;
    }
    return n_others;
}

void fmp_scan_gather(const uint8_t *data, const uint32_t *idx, uint32_t n, unsigned bits,
                     uint8_t *packed)
{
    switch (bits) {
    case 8:
        for (uint32_t i = 0; i < n; i++)
            packed[i] = data[idx[i]];
        return;
    case 16:
        for (uint32_t i = 0; i < n; i++)
            memcpy(packed + (size_t)i * 2, data + (size_t)idx[i] * 2, 2);
        return;
    case 32:
        for (uint32_t i = 0; i < n; i++)
            memcpy(packed + (size_t)i * 4, data + (size_t)idx[i] * 4, 4);
        return;
    default:
        for (uint32_t i = 0; i < n; i++)
            memcpy(packed + (size_t)i * 8, data + (size_t)idx[i] * 8, 8);
    }
}

/* By repeated squaring of the mantissa: each squaring yields one more bit of the logarithm. */
uint32_t fmp_log2_fixed(uint64_t x)
{
    const unsigned whole = fmp_bit_length(x) - 1;
    uint64_t m = whole >= 31 ? x >> (whole - 31) : x << (31 - whole); /* 1.31 fixed point */
    uint32_t result = whole;

    for (unsigned i = 0; i < 8; i++) {
        m = (m * m) >> 31;
        result <<= 1;
        if (m >> 32) {
            m >>= 1;
            result |= 1;
        }
    }
    return result;
}

uint64_t fmp_entropy_bits(const uint32_t hist[256])
{
    uint64_t n = 0;
    uint64_t sum = 0;
    uint32_t n_symbols = 0;

    for (unsigned i = 0; i < 256; i++) {
        n += hist[i];
        n_symbols += hist[i] != 0;
        if (hist[i])
            sum += (uint64_t)hist[i] * fmp_log2_fixed(hist[i]);
    }
    if (n_symbols < 2)
        return 0;
    sum = (n * fmp_log2_fixed(n) - sum) >> 8;
    return sum < n ? n : sum;
}
