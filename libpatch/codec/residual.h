/*
 * The residual: a bijection between pairs of bit patterns (base, target) and (base, number), for
 * units of 8, 16, 32 and 64 bits.  FORMAT.md, "Values".  Integers only; no float is ever loaded.
 */
#ifndef FMP_CODEC_RESIDUAL_H
#define FMP_CODEC_RESIDUAL_H

#include <stdbool.h>
#include <stdint.h>

/* All bits of a unit of `bits`. */
static inline uint64_t fmp_unit_mask(unsigned bits)
{
    return bits == 64 ? UINT64_MAX : (1ull << bits) - 1;
}

/* Bit pattern to place in numeric order: sign-magnitude floats from the largest negative up.  That
 * is all bits inverted where the sign is set, or else that one; without a jump, since signs are
 * coin flips. */
static inline uint64_t fmp_order_map(uint64_t x, unsigned bits, bool sign_magnitude)
{
    const uint64_t top = 1ull << (bits - 1);

    if (!sign_magnitude)
        return x;
    return x ^ (((0 - (x >> (bits - 1))) & fmp_unit_mask(bits)) | top);
}

static inline uint64_t fmp_order_unmap(uint64_t m, unsigned bits, bool sign_magnitude)
{
    const uint64_t top = 1ull << (bits - 1);

    if (!sign_magnitude)
        return m;
    return m ^ ((((m >> (bits - 1)) - 1) & fmp_unit_mask(bits)) | top);
}

/* Signed difference modulo 2^bits to a small number: 0, -1, 1, -2, ... become 0, 1, 2, 3, ... */
static inline uint64_t fmp_zigzag(uint64_t d, unsigned bits)
{
    return ((d << 1) ^ (0 - (d >> (bits - 1) & 1))) & fmp_unit_mask(bits);
}

static inline uint64_t fmp_unzigzag(uint64_t z, unsigned bits)
{
    return ((z >> 1) ^ (0 - (z & 1))) & fmp_unit_mask(bits);
}

static inline uint64_t fmp_residual(uint64_t base, uint64_t target, unsigned bits, bool sm)
{
    return fmp_zigzag((fmp_order_map(target, bits, sm) - fmp_order_map(base, bits, sm)) &
                          fmp_unit_mask(bits),
                      bits);
}

static inline uint64_t fmp_residual_add(uint64_t base, uint64_t z, unsigned bits, bool sm)
{
    return fmp_order_unmap(
        (fmp_order_map(base, bits, sm) + fmp_unzigzag(z, bits)) & fmp_unit_mask(bits), bits, sm);
}

static inline uint64_t fmp_residual_subtract(uint64_t target, uint64_t z, unsigned bits, bool sm)
{
    return fmp_order_unmap(
        (fmp_order_map(target, bits, sm) - fmp_unzigzag(z, bits)) & fmp_unit_mask(bits), bits, sm);
}

#endif
