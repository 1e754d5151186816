/*
 * Loops over the units of modelled blocks in plain C, and the choice.  See class_scan.h.
 */
#include "codec/class_scan.h"

#include <string.h>

#include "codec/bits.h"
#include "codec/class_scan_fast.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void keys_of(const uint8_t *data, uint32_t n, unsigned width, bool sm, unsigned shift,
                           uint8_t *keys)
{
    for (uint32_t i = 0; i < n; i++)
        keys[i] =
            (uint8_t)fmp_key(fmp_load_le(data + (size_t)i * width, width), width * 8, sm, shift);
}

static void plain_keys(const uint8_t *data, uint32_t n, unsigned bits, bool sign_magnitude,
                       unsigned shift, uint8_t *keys)
{
    switch (bits) {
    case 8:
        keys_of(data, n, 1, sign_magnitude, shift, keys);
        return;
    case 16:
        keys_of(data, n, 2, sign_magnitude, shift, keys);
        return;
    case 32:
        keys_of(data, n, 4, sign_magnitude, shift, keys);
        return;
    default:
        keys_of(data, n, 8, sign_magnitude, shift, keys);
    }
}

static void plain_count(const fmp_classes *c, const uint8_t *keys, uint32_t n, uint32_t *all)
{
    uint32_t count[256];
    uint8_t map[256];

    fmp_keys_count(keys, n, count);
    fmp_classes_map(c, map);
    memset(all, 0, c->n * sizeof *all);
    for (unsigned key = 0; key < 256; key++)
        all[map[key]] += count[key];
}

static void plain_find(const fmp_classes *c, const uint8_t *keys, uint32_t n, const uint32_t *start,
                       const uint32_t *rank, uint32_t *place)
{
    uint32_t left[FMP_CLASSES_MAX]; /* units to pass, and the one; 0: no more */
    uint32_t at[FMP_CLASSES_MAX];
    uint8_t map[256];

    fmp_classes_map(c, map);
    for (unsigned k = 0; k < c->n; k++) {
        at[k] = start[k];
        left[k] = start[k] < start[k + 1] ? rank[start[k]] + 1 : 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        const unsigned k = map[keys[i]];

        if (--left[k] != 0)
            continue;
        place[at[k]] = i;
        if (++at[k] < start[k + 1])
            left[k] = rank[at[k]] - rank[at[k] - 1];
    }
}

static void plain_sort(const fmp_classes *c, const uint8_t *keys, uint32_t n, const uint32_t *idx,
                       uint32_t n_changed, const uint32_t *start, uint32_t *place, uint32_t *rank)
{
    uint32_t seen[FMP_CLASSES_MAX] = {0};
    uint32_t at[FMP_CLASSES_MAX];
    uint8_t map[256];
    uint32_t j = 0;

    fmp_classes_map(c, map);
    memcpy(at, start, c->n * sizeof *at);
    for (uint32_t i = 0; i < n && j < n_changed; i++) {
        const unsigned k = map[keys[i]];

        if (i == idx[j]) {
            place[at[k]] = i;
            rank[at[k]++] = seen[k];
            j++;
        }
        seen[k]++;
    }
}

static const fmp_class_scan plain = {
    .keys = plain_keys, .count = plain_count, .find = plain_find, .sort = plain_sort};

unsigned fmp_cpu_features(void)
{
    unsigned features = 0;

#if defined(FMP_CLASS_SCAN_X86)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("bmi2"))
        return 0;
    if (__builtin_cpu_supports("avx2"))
        features |= FMP_CPU_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        features |= FMP_CPU_AVX512;
#elif defined(FMP_CLASS_SCAN_NEON)
    features |= FMP_CPU_NEON;
#endif
    return features;
}

const fmp_class_scan *fmp_class_scan_for(unsigned features)
{
#if defined(FMP_CLASS_SCAN_X86)
    if (features & FMP_CPU_AVX512)
        return &fmp_class_scan_avx512;
    if (features & FMP_CPU_AVX2)
        return &fmp_class_scan_avx2;
#elif defined(FMP_CLASS_SCAN_NEON)
    if (features & FMP_CPU_NEON)
        return &fmp_class_scan_neon;
#endif
    (void)features;
    return &plain;
}
