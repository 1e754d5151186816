/*
 * kernels.h for 64-bit Arm, which always has NEON.
 */
#include "codec/kernels_fast.h"

#ifdef FMP_KERNELS_NEON

#    include <arm_neon.h>
#    include <string.h>

#    define TARGET

/* A bit for each byte of four compares, folded by adding neighbours. */
static inline uint64_t fold(uint8x16_t x0, uint8x16_t x1, uint8x16_t x2, uint8x16_t x3)
{
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = vld1q_u8(bit);
    const uint8x16_t sum = vpaddq_u8(vpaddq_u8(vandq_u8(x0, bits), vandq_u8(x1, bits)),
                                     vpaddq_u8(vandq_u8(x2, bits), vandq_u8(x3, bits)));

    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sum, sum)), 0);
}

static inline uint64_t at_least(const uint8_t *p, uint8_t bound)
{
    const uint8x16_t b = vdupq_n_u8(bound);

    return fold(vcgeq_u8(vld1q_u8(p), b), vcgeq_u8(vld1q_u8(p + 16), b),
                vcgeq_u8(vld1q_u8(p + 32), b), vcgeq_u8(vld1q_u8(p + 48), b));
}

/* Bytes of ones where units of w bytes are equal, of 16 units. */
static inline __attribute__((always_inline)) uint8x16_t equal16(const uint8_t *a, const uint8_t *b,
                                                                unsigned width)
{
    uint16x4_t part[4];

    if (width == 1)
        return vceqq_u8(vld1q_u8(a), vld1q_u8(b));
    if (width == 2) {
        const uint16x8_t x =
            vceqq_u16(vreinterpretq_u16_u8(vld1q_u8(a)), vreinterpretq_u16_u8(vld1q_u8(b)));
        const uint16x8_t y = vceqq_u16(vreinterpretq_u16_u8(vld1q_u8(a + 16)),
                                       vreinterpretq_u16_u8(vld1q_u8(b + 16)));

        return vcombine_u8(vmovn_u16(x), vmovn_u16(y));
    }
    for (unsigned k = 0; k < 4; k++)
        part[k] = vmovn_u32(vceqq_u32(vreinterpretq_u32_u8(vld1q_u8(a + 16 * (size_t)k)),
                                      vreinterpretq_u32_u8(vld1q_u8(b + 16 * (size_t)k))));
    return vcombine_u8(vmovn_u16(vcombine_u16(part[0], part[1])),
                       vmovn_u16(vcombine_u16(part[2], part[3])));
}

static inline __attribute__((always_inline)) uint64_t differ(const uint8_t *a, const uint8_t *b,
                                                             unsigned width)
{
    uint64_t set = 0;

    if (width == 8) {
        for (unsigned k = 0; k < 64; k++)
            set |= (uint64_t)(memcmp(a + 8 * (size_t)k, b + 8 * (size_t)k, 8) != 0) << k;
        return set;
    }
    return ~fold(equal16(a, b, width),
                 equal16(a + 16 * (size_t)width, b + 16 * (size_t)width, width),
                 equal16(a + 32 * (size_t)width, b + 32 * (size_t)width, width),
                 equal16(a + 48 * (size_t)width, b + 48 * (size_t)width, width));
}

static inline uint32_t nth_bit(uint64_t x, uint32_t n)
{
    while (n-- > 0)
        x &= x - 1;
    return (uint32_t)__builtin_ctzll(x);
}

#    define AT_LEAST(p, b)  at_least(p, b)
#    define NTH_BIT(x, n)   nth_bit(x, n)
#    define DIFFER(a, b, w) differ(a, b, w)
#    include "codec/kernels_group.h"

static void group_keys(const uint8_t *data, uint32_t n, unsigned bits, bool sign_magnitude,
                       unsigned shift, uint8_t *keys)
{
    fmp_kernels_for(0)->keys(data, n, bits, sign_magnitude, shift, keys);
}

const fmp_kernels fmp_kernels_neon = {.changed = group_changed,
                                      .keys = group_keys,
                                      .count = group_count,
                                      .find = group_find,
                                      .sort = group_sort};

#endif
