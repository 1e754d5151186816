/*
 * Random numbers that are a pure function of (key, counter), so that a result does not depend on
 * threads, order or restarts: Philox4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy
 * as 1, 2, 3").
 */
#ifndef FISH_RNG_H
#define FISH_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What a stream of numbers is for: different purposes under one seed never share numbers. */
typedef enum fish_stream {
    FISH_STREAM_SHUFFLE = 1,
    FISH_STREAM_DROPOUT = 2,
    FISH_STREAM_INIT = 3,
    FISH_STREAM_LABEL = 4,
    FISH_STREAM_MASK = 5,
    FISH_STREAM_AUGMENT = 6,
    FISH_STREAM_SPLIT = 7,
    FISH_STREAM_TEST = 99
} fish_stream;

typedef struct fish_key {
    uint32_t k[2];
} fish_key;

/* The key of a purpose under a seed. */
fish_key fish_key_make(uint64_t seed, fish_stream stream);

/* The four 32-bit numbers at counter (hi, lo). */
void fish_philox(fish_key key, uint64_t hi, uint64_t lo, uint32_t ret[4]);

uint64_t fish_random_u64(fish_key key, uint64_t hi, uint64_t lo);
double fish_random_unit(fish_key key, uint64_t hi, uint64_t lo);   /* [0, 1), 53 bits */
double fish_random_normal(fish_key key, uint64_t hi, uint64_t lo); /* N(0, 1), Box-Muller */

/* Puts 0 .. n - 1 into `order` in the random order of (key, hi): Fisher-Yates. */
void fish_shuffle(fish_key key, uint64_t hi, uint32_t *order, size_t n);

#endif
