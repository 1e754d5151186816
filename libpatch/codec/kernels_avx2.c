/*
 * kernels.h for CPUs with AVX2 and BMI2.
 */
#include "codec/kernels_fast.h"

#ifdef FMP_KERNELS_X86

#    include <immintrin.h>
#    include <string.h>

#    define TARGET __attribute__((target("avx2,bmi,bmi2,popcnt")))

TARGET static inline __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

TARGET static inline uint64_t at_least(const uint8_t *p, uint8_t bound)
{
    const __m256i b = _mm256_set1_epi8((char)bound);
    const __m256i x = load(p);
    const __m256i y = load(p + 32);
    const uint32_t low =
        (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(x, b), x));
    const uint32_t high =
        (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(y, b), y));

    return low | (uint64_t)high << 32;
}

/* A bit for each of 32 / width units. */
TARGET static inline __attribute__((always_inline)) uint32_t
differ32(const uint8_t *a, const uint8_t *b, unsigned width)
{
    const __m256i x = load(a);
    const __m256i y = load(b);

    if (width == 1)
        return ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, y));
    if (width == 4)
        return ~(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(x, y))) & 255;
    return ~(uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(x, y))) & 15;
}

/* Of 16 bits two vectors make one word of bits. */
TARGET static inline uint32_t differ64(const uint8_t *a, const uint8_t *b)
{
    const __m256i x = _mm256_cmpeq_epi16(load(a), load(b));
    const __m256i y = _mm256_cmpeq_epi16(load(a + 32), load(b + 32));

    return ~(uint32_t)_mm256_movemask_epi8(
        _mm256_permute4x64_epi64(_mm256_packs_epi16(x, y), 0xd8));
}

TARGET static inline __attribute__((always_inline)) uint64_t
differ(const uint8_t *a, const uint8_t *b, unsigned width)
{
    uint64_t set = 0;

    if (width == 2)
        return differ64(a, b) | (uint64_t)differ64(a + 64, b + 64) << 32;
    for (unsigned k = 0; k < 2 * width; k++)
        set |= (uint64_t)differ32(a + 32 * (size_t)k, b + 32 * (size_t)k, width)
               << (k * 32 / width);
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
    const __m256i keep = _mm256_set1_epi16(sm ? 0x7fff : -1);
    const __m256i byte = _mm256_set1_epi16(255);

    for (uint32_t i = 0; i < n; i += 32) {
        const __m256i a = _mm256_and_si256(load(data + 2 * (size_t)i), keep);
        const __m256i b = _mm256_and_si256(load(data + 2 * (size_t)i + 32), keep);
        const __m256i x = _mm256_and_si256(_mm256_srl_epi16(a, by), byte);
        const __m256i y = _mm256_and_si256(_mm256_srl_epi16(b, by), byte);

        _mm256_storeu_si256((__m256i *)(void *)(keys + i),
                            _mm256_permute4x64_epi64(_mm256_packus_epi16(x, y), 0xd8));
    }
}

TARGET static void keys32(const uint8_t *data, uint32_t n, bool sm, unsigned shift, uint8_t *keys)
{
    const __m128i by = _mm_cvtsi32_si128((int)shift);
    const __m256i keep = _mm256_set1_epi32(sm ? 0x7fffffff : -1);
    const __m256i byte = _mm256_set1_epi32(255);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);

    for (uint32_t i = 0; i < n; i += 32) {
        __m256i x[4];

        for (unsigned k = 0; k < 4; k++)
            x[k] = _mm256_and_si256(
                _mm256_srl_epi32(
                    _mm256_and_si256(load(data + 4 * (size_t)i + 32 * (size_t)k), keep), by),
                byte);
        x[0] = _mm256_packus_epi32(x[0], x[1]);
        x[2] = _mm256_packus_epi32(x[2], x[3]);
        _mm256_storeu_si256((__m256i *)(void *)(keys + i),
                            _mm256_permutevar8x32_epi32(_mm256_packus_epi16(x[0], x[2]), order));
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

const fmp_kernels fmp_kernels_avx2 = {.changed = group_changed,
                                      .keys = group_keys,
                                      .count = group_count,
                                      .find = group_find,
                                      .sort = group_sort};

#endif
