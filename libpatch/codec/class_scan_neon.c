/*
 * class_scan.h for 64-bit Arm, which always has NEON.
 */
#include "codec/class_scan_fast.h"

#ifdef FMP_CLASS_SCAN_NEON

#    include <arm_neon.h>
#    include <string.h>

#    define TARGET

/* A bit for each byte of four compares, folded by adding neighbours. */
static inline uint64_t at_least(const uint8_t *p, uint8_t bound)
{
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t b = vdupq_n_u8(bound);
    const uint8x16_t bits = vld1q_u8(bit);
    const uint8x16_t x0 = vandq_u8(vcgeq_u8(vld1q_u8(p), b), bits);
    const uint8x16_t x1 = vandq_u8(vcgeq_u8(vld1q_u8(p + 16), b), bits);
    const uint8x16_t x2 = vandq_u8(vcgeq_u8(vld1q_u8(p + 32), b), bits);
    const uint8x16_t x3 = vandq_u8(vcgeq_u8(vld1q_u8(p + 48), b), bits);
    const uint8x16_t sum = vpaddq_u8(vpaddq_u8(x0, x1), vpaddq_u8(x2, x3));

    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sum, sum)), 0);
}

static inline uint32_t nth_bit(uint64_t x, uint32_t n)
{
    while (n-- > 0)
        x &= x - 1;
    return (uint32_t)__builtin_ctzll(x);
}

#    define AT_LEAST(p, b) at_least(p, b)
#    define NTH_BIT(x, n)  nth_bit(x, n)
#    include "codec/class_scan_group.h"

static void group_keys(const uint8_t *data, uint32_t n, unsigned bits, bool sign_magnitude,
                       unsigned shift, uint8_t *keys)
{
    fmp_class_scan_for(0)->keys(data, n, bits, sign_magnitude, shift, keys);
}

const fmp_class_scan fmp_class_scan_neon = {
    .keys = group_keys, .count = group_count, .find = group_find, .sort = group_sort};

#endif
