/*
 * Philox4x32-10, and what is made of its numbers.  Salmon, Moraes, Dror, Shaw, "Parallel Random
 * Numbers: As Easy as 1, 2, 3" (SC 2011): constants and round from section 4.3 there.
 */
#include "core/rng.h"

#include <math.h>

fish_key fish_key_make(uint64_t seed, fish_stream stream)
{
    /* The stream takes a block of its own under the seed: the key is what Philox makes of both. */
    const fish_key by_seed = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    uint32_t r[4];

    fish_philox(by_seed, UINT64_MAX, (uint64_t)stream, r);
    return (fish_key){{r[0], r[1]}};
}

void fish_philox(fish_key key, uint64_t hi, uint64_t lo, uint32_t ret[4])
{
    uint32_t c0 = (uint32_t)lo;
    uint32_t c1 = (uint32_t)(lo >> 32);
    uint32_t c2 = (uint32_t)hi;
    uint32_t c3 = (uint32_t)(hi >> 32);
    uint32_t k0 = key.k[0];
    uint32_t k1 = key.k[1];

    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    ret[0] = c0;
    ret[1] = c1;
    ret[2] = c2;
    ret[3] = c3;
}

uint64_t fish_random_u64(fish_key key, uint64_t hi, uint64_t lo)
{
    uint32_t r[4];

    fish_philox(key, hi, lo, r);
    return (uint64_t)r[1] << 32 | r[0];
}

double fish_random_unit(fish_key key, uint64_t hi, uint64_t lo)
{
    return (double)(fish_random_u64(key, hi, lo) >> 11) * 0x1p-53;
}

double fish_random_normal(fish_key key, uint64_t hi, uint64_t lo)
{
    /* Box and Muller 1958.  1 - u lies in (0, 1], so the logarithm is finite. */
    uint32_t r[4];
    double u, v;

    fish_philox(key, hi, lo, r);
    u = (double)(((uint64_t)r[1] << 32 | r[0]) >> 11) * 0x1p-53;
    v = (double)(((uint64_t)r[3] << 32 | r[2]) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(1.0 - u)) * cos(2.0 * 3.14159265358979323846 * v);
}

void fish_shuffle(fish_key key, uint64_t hi, uint32_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        /* A place in 0 .. i - 1: its probability is off by less than i / 2^32 of itself. */
        const uint64_t r = fish_random_u64(key, hi, i);
        const size_t j = (size_t)(((r >> 32) * i) >> 32);
        const uint32_t swap = order[i - 1];

        order[i - 1] = order[j];
        order[j] = swap;
    }
}
