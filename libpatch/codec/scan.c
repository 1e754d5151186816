/*
 * Lists of units, logarithms, entropy.  See scan.h.
 */
#include "codec/scan.h"

#include <string.h>

#include "codec/bits.h"

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
static uint32_t log2_bits(uint64_t x, unsigned n_bits)
{
    const unsigned whole = fmp_bit_length(x) - 1;
    uint64_t m = whole >= 31 ? x >> (whole - 31) : x << (31 - whole); /* 1.31 fixed point */
    uint32_t result = whole;

    for (unsigned i = 0; i < n_bits; i++) {
        m = (m * m) >> 31;
        result <<= 1;
        if (m >> 32) {
            m >>= 1;
            result |= 1;
        }
    }
    return result;
}

uint32_t fmp_log2_fixed(uint64_t x)
{
    return log2_bits(x, 8);
}

uint32_t fmp_log2_fine(uint32_t x)
{
    return log2_bits(x, 16);
}

/* 256 log2(1 + i / 256) */
static const uint8_t log2_of[256] = {
    0,   1,   3,   4,   6,   7,   9,   10,  11,  13,  14,  16,  17,  18,  20,  21,  22,  24,  25,
    26,  28,  29,  30,  32,  33,  34,  36,  37,  38,  40,  41,  42,  44,  45,  46,  47,  49,  50,
    51,  52,  54,  55,  56,  57,  59,  60,  61,  62,  63,  65,  66,  67,  68,  69,  71,  72,  73,
    74,  75,  77,  78,  79,  80,  81,  82,  84,  85,  86,  87,  88,  89,  90,  92,  93,  94,  95,
    96,  97,  98,  99,  100, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 116,
    117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135,
    136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148, 149, 150, 151, 152, 153, 154,
    155, 155, 156, 157, 158, 159, 160, 161, 162, 163, 164, 165, 166, 167, 168, 169, 169, 170, 171,
    172, 173, 174, 175, 176, 177, 178, 178, 179, 180, 181, 182, 183, 184, 185, 185, 186, 187, 188,
    189, 190, 191, 192, 192, 193, 194, 195, 196, 197, 198, 198, 199, 200, 201, 202, 203, 203, 204,
    205, 206, 207, 208, 208, 209, 210, 211, 212, 212, 213, 214, 215, 216, 216, 217, 218, 219, 220,
    220, 221, 222, 223, 224, 224, 225, 226, 227, 228, 228, 229, 230, 231, 231, 232, 233, 234, 234,
    235, 236, 237, 238, 238, 239, 240, 241, 241, 242, 243, 244, 244, 245, 246, 247, 247, 248, 249,
    249, 250, 251, 252, 252, 253, 254, 255, 255,
};

uint32_t fmp_log2_quick(uint32_t x)
{
    const unsigned whole = fmp_bit_length(x) - 1;

    return whole << 8 | log2_of[(x << (31 - whole)) >> 23 & 255];
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
