/*
 * kernels.h for CPUs with AVX-512 F and BW, and BMI2.
 */
#include "codec/kernels_fast.h"

#ifdef FMP_KERNELS_X86

#    include <immintrin.h>
#    include <string.h>

#    define TARGET __attribute__((target("avx512f,avx512bw,bmi,bmi2,popcnt")))

TARGET static inline uint64_t at_least(const uint8_t *p, uint8_t bound)
{
    return _mm512_cmpge_epu8_mask(_mm512_loadu_si512(p), _mm512_set1_epi8((char)bound));
}

TARGET static inline __attribute__((always_inline)) uint64_t
differ(const uint8_t *a, const uint8_t *b, unsigned width)
{
    uint64_t set = 0;

    for (unsigned k = 0; k < width; k++) {
        const __m512i x = _mm512_loadu_si512(a + 64 * (size_t)k);
        const __m512i y = _mm512_loadu_si512(b + 64 * (size_t)k);
        const uint64_t part = width == 1   ? _mm512_cmpneq_epi8_mask(x, y)
                              : width == 2 ? _mm512_cmpneq_epi16_mask(x, y)
                              : width == 4 ? _mm512_cmpneq_epi32_mask(x, y)
                                           : _mm512_cmpneq_epi64_mask(x, y);

        set |= part << (k * 64 / width);
    }
    return set;
}

TARGET static inline uint32_t nth_bit(uint64_t x, uint32_t n)
{
    return (uint32_t)_tzcnt_u64(_pdep_u64(1ull << n, x));
}

#    define AT_LEAST(p, b)  at_least(p, b)
#    define NTH_BIT(x, n)   nth_bit(x, n)
#    define DIFFER(a, b, w) differ(a, b, w)
#    include "codec/kernels_group.h"

TARGET static void keys16(const uint8_t *data, uint32_t n, bool sm, unsigned shift, uint8_t *keys)
{
    const __m128i by = _mm_cvtsi32_si128((int)shift);
    const __m512i keep = _mm512_set1_epi16(sm ? 0x7fff : -1);

    for (uint32_t i = 0; i < n; i += 32) {
        const __m512i x =
            _mm512_srl_epi16(_mm512_and_si512(_mm512_loadu_si512(data + 2 * (size_t)i), keep), by);

        _mm256_storeu_si256((__m256i *)(void *)(keys + i), _mm512_cvtepi16_epi8(x));
    }
}

TARGET static void keys32(const uint8_t *data, uint32_t n, bool sm, unsigned shift, uint8_t *keys)
{
    const __m128i by = _mm_cvtsi32_si128((int)shift);
    const __m512i keep = _mm512_set1_epi32(sm ? 0x7fffffff : -1);

    for (uint32_t i = 0; i < n; i += 16) {
        const __m512i x =
            _mm512_srl_epi32(_mm512_and_si512(_mm512_loadu_si512(data + 4 * (size_t)i), keep), by);

        _mm_storeu_si128((__m128i *)(void *)(keys + i), _mm512_cvtepi32_epi8(x));
    }
}

static void group_keys(const uint8_t *data, uint32_t n, unsigned bits, bool sign_magnitude,
                       unsigned shift, uint8_t *keys)
{
    const uint32_t whole = n - n % 32;

    if (bits == 16)
        keys16(data, whole, sign_magnitude, shift, keys);
    else if (bits == 32)
        keys32(data, whole, sign_magnitude, shift, keys);
    else
        fmp_kernels_for(0)->keys(data, whole, bits, sign_magnitude, shift, keys);
    fmp_kernels_for(0)->keys(data + (size_t)whole * (bits / 8), n - whole, bits, sign_magnitude,
                             shift, keys + whole);
}

const fmp_kernels fmp_kernels_avx512 = {.changed = group_changed,
                                        .keys = group_keys,
                                        .count = group_count,
                                        .find = group_find,
                                        .sort = group_sort};

#endif
