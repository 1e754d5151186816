/*
 * Loops over the units of a block in plain C, and the choice.  See kernels.h.
 */
#include "codec/kernels.h"

#include <string.h>

#include "codec/bits.h"
#include "codec/kernels_fast.h"

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
ALWAYS_INLINE uint32_t changed_of(const uint8_t *a, const uint8_t *b, uint32_t n_units,
                                  const fmp_changed *to, unsigned width)
{
    static const uint8_t zeros[64];
    const uint32_t group = 64 / width;
    const uint32_t n_grouped = n_units - n_units % group;
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_grouped; i += group) {
        const uint8_t *pa = a ? a + (size_t)i * width : zeros;
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
            fmp_put_changed(a, b, i + (uint32_t)__builtin_ctzll(set), n++, width, to);
    }
    for (uint32_t i = n_grouped; i < n_units; i++) {
        if (memcmp(a ? a + (size_t)i * width : zeros, b + (size_t)i * width, width) != 0)
            fmp_put_changed(a, b, i, n++, width, to);
    }
    return n;
}

static uint32_t plain_changed(const uint8_t *base, const uint8_t *target, uint32_t n_units,
                              unsigned bits, const fmp_changed *to)
{
    switch (bits) {
    case 8:
        return changed_of(base, target, n_units, to, 1);
    case 16:
        return changed_of(base, target, n_units, to, 2);
    case 32:
        return changed_of(base, target, n_units, to, 4);
    default:
        return changed_of(base, target, n_units, to, 8);
    }
}

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

static const fmp_kernels plain = {.changed = plain_changed,
                                  .keys = plain_keys,
                                  .count = plain_count,
                                  .find = plain_find,
                                  .sort = plain_sort};

unsigned fmp_cpu_features(void)
{
    unsigned features = 0;

#if defined(FMP_KERNELS_X86)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("bmi2"))
        return 0;
    if (__builtin_cpu_supports("avx2"))
        features |= FMP_CPU_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        features |= FMP_CPU_AVX512;
#elif defined(FMP_KERNELS_NEON)
    features |= FMP_CPU_NEON;
#endif
    return features;
}

const fmp_kernels *fmp_kernels_for(unsigned features)
{
#if defined(FMP_KERNELS_X86)
    if (features & FMP_CPU_AVX512)
        return &fmp_kernels_avx512;
    if (features & FMP_CPU_AVX2)
        return &fmp_kernels_avx2;
#elif defined(FMP_KERNELS_NEON)
    if (features & FMP_CPU_NEON)
        return &fmp_kernels_neon;
#endif
    (void)features;
    return &plain;
}
