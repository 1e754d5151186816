/*
 * IEEE 754 half precision as the bits of the float that is equal to it.
 */
#ifndef FISH_HALF_H
#define FISH_HALF_H

#include <stdint.h>

/* Exact for every pattern; a NaN keeps its sign and payload. */
static inline uint32_t fish_half_bits(uint32_t h)
{
    const uint32_t sign = (h & 0x8000u) << 16;
    const uint32_t exponent = h >> 10 & 31;
    uint32_t fraction = h & 1023;
    uint32_t e = 113; /* 127 - 15 + 1 */

    if (exponent == 31)
        return sign | 0x7F800000u | fraction << 13;
    if (exponent)
        return sign | (exponent + 112) << 23 | fraction << 13;
    if (!fraction)
        return sign;
    for (; !(fraction & 1024); e--)
        fraction <<= 1;
    return sign | e << 23 | (fraction & 1023) << 13;
}

#endif
