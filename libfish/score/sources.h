/*
 * Where scores come from: a score file, random numbers, or the weights of checkpoints.  Whatever
 * it is, every element gets a 32-bit key, and the larger key is the one to select.  Knows nothing
 * of how many are selected.
 */
#ifndef FISH_SOURCES_H
#define FISH_SOURCES_H

#include "core/rng.h"
#include "score/scores.h"

#define FISH_PIECE ((size_t)1 << 18) /* elements read at once: 1 MiB of F32 */

typedef enum fish_source_kind {
    FISH_FROM_SCORES,
    FISH_FROM_RANDOM,
    FISH_FROM_MAGNITUDE,
    FISH_FROM_DELTA
} fish_source_kind;

typedef struct fish_source_tensor {
    const char *name; /* borrowed from the store */
    uint32_t rank;
    uint64_t shape[8];
    uint64_t n;             /* elements */
    uint64_t first;         /* number of its first element among all */
    uint32_t at_a, at_b;    /* its numbers in the stores that values are read from */
    uint8_t size_a, size_b; /* bytes of an element there */
    bool half_a, half_b;    /* 16 bits are IEEE half floats, not bfloat16 */
    bool head;
    bool open; /* elements compete for the rest of the budget */
} fish_source_tensor;

typedef struct fish_source {
    fish_source_kind kind;
    uint32_t flip;               /* UINT32_MAX: the smallest value has the largest key; else 0 */
    fish_source_tensor *tensors; /* in byte order of names */
    uint32_t n_tensors;
    uint64_t n_elements; /* P */
    uint64_t n_head;     /* elements of head tensors */
    uint64_t n_open;     /* elements of open tensors */
    bool all_open;       /* "bias" without a number: everything open is selected */
    bool half_model;     /* the model's weights have 16 bits */
    const fmp_store *a, *b;
    const char *a_name, *b_name; /* for messages */
    fish_key key;
} fish_source;

/* Finds tensors, head and what is open.  Errors as fish_select(). */
FMP_NODISCARD fmp_status fish_source_open(const fmp_store *scores, const char *scores_path,
                                          const fish_select_options *options, fish_source *ret,
                                          fmp_error *err);
void fish_source_release(fish_source *s); /* takes an empty one */

/* One thread's memory for reading. */
typedef struct fish_reader {
    uint8_t *raw; /* FISH_PIECE elements of 4 bytes */
    uint32_t *other;
} fish_reader;

FMP_NODISCARD fmp_status fish_reader_init(fish_reader *r, const fish_source *s, fmp_error *err);
void fish_reader_release(fish_reader *r);

/*
 * Keys of elements [at, at + n) of an open tensor, n <= FISH_PIECE.  FMP_ECORRUPT names tensor and
 * index of a NaN or of a negative score.  key ^ flip are the bits of the value as a non-negative
 * float; of a random source, its number in units of 2^-32.
 */
FMP_NODISCARD fmp_status fish_source_read(const fish_source *s, fish_reader *r, uint32_t tensor,
                                          uint64_t at, size_t n, uint32_t *keys, fmp_error *err);
/* The key of element `at` of a tensor of a random source. */
uint32_t fish_source_random(const fish_source *s, uint32_t tensor, uint64_t at);

#endif
