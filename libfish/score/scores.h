/*
 * Score files and masks.  A score file is a safetensors file of F32 tensors with the names and
 * shapes of the model's parameters; its metadata says where the scores are from and which tensors
 * are the head.  A mask file is a patch of kind "mask" (fmp_mask_* of fmpatch.h).  Knows no model
 * and no BLAS.
 */
#ifndef FISH_SCORES_H
#define FISH_SCORES_H

#include <stddef.h>
#include <stdint.h>

#include "core/par.h"
#include "fmpatch.h"

/* Keys of a score file's __metadata__ (all values are strings). */
#define FISH_META_FORMAT    "format"    /* "fmpatch scores" */
#define FISH_META_SOURCE    "source"    /* "fisher", "gradient", "snip", ... */
#define FISH_META_ESTIMATOR "estimator" /* "empirical", "expected", "sampled", ... */
#define FISH_META_SAMPLES   "samples"
#define FISH_META_SEED      "seed"
#define FISH_META_DATA      "data"    /* fish_data_digest() */
#define FISH_META_HEAD      "head"    /* names of head tensors, one a line */
#define FISH_META_CLASSES   "classes" /* class names as a JSON array */

typedef enum fish_scope {
    FISH_GLOBAL = 0, /* one top k over all tensors */
    FISH_PER_TENSOR, /* the same share of each tensor; sizes by largest remainder, sum exactly k */
    /* Whole pieces by mean score; the last one is cut to its best elements, so that just k are
     * selected.  "random" has one number for each piece. */
    FISH_ROWS,    /* rows (all dims but the first flattened); of vectors: elements */
    FISH_COLUMNS, /* columns of matrices (index in all dims but the first); of vectors: elements */
    FISH_BLOCKS   /* block x block tiles of matrices; of vectors: runs of block elements */
} fish_scope;

typedef struct fish_select_options {
    size_t size;
    uint64_t k;     /* elements in all, the head included; or ... */
    double ratio;   /* ... int(P x ratio), P = elements of all tensors of the file, head included */
    uint64_t bytes; /* ... or as many as make a patch of about so many bytes */
    fish_scope scope; /* default FISH_GLOBAL */
    uint32_t block;   /* side of FISH_BLOCKS; default 16 */
    bool reversed;    /* the smallest scores */
    /* "scores" (default); "random"; "magnitude", "magnitude-low": |w| of `model`; "delta": |tuned -
     * model|; "bias": tensors named bias only, by score, or by |w| when there are no scores, and
     * all of them when neither k nor ratio nor bytes is given. */
    const char *source;
    const fmp_store *model, *tuned;
    uint64_t seed;            /* of "random" */
    const char *const *allow; /* globs of names, n_allow; default: all.  The head is always in. */
    size_t n_allow;
    const char *const *deny;
    size_t n_deny;
    const char *const *head; /* globs; default: the score file's metadata */
    size_t n_head;
    unsigned n_threads;
} fish_select_options;

/* Selected elements: for each tensor of the score file, ascending indices. */
typedef struct fish_mask_tensor {
    const char *name; /* borrowed from the mask */
    uint32_t rank;
    uint64_t shape[8];
    uint64_t n_elements;
    uint64_t n;    /* selected */
    uint64_t *idx; /* [n]; NULL when full: all are selected */
    bool full;
    bool head;
} fish_mask_tensor;

typedef struct fish_mask {
    fish_mask_tensor *tensors; /* in byte order of names */
    uint32_t n_tensors;
    uint64_t n_elements; /* P */
    uint64_t n;          /* selected in all */
    void *arena;
} fish_mask;

/*
 * fish_select() picks k elements: the head, and the best of what allow and deny leave.  Order is
 * total: score descending, then tensor in byte order of names, then index ascending (reversed:
 * score ascending, the rest as before).
 *
 *   scores       F32, BF16 or F16; tensors of integer dtype do not count.  NULL: names and shapes
 *                are those of options->model, for sources that need no scores.
 *   scores_path  where the head of the metadata is read; NULL: no metadata.
 *   ret_ties     may be NULL.  How many elements share the lowest selected score; FISH_PER_TENSOR:
 *                the sum of that over tensors; pieces: elements of pieces that share a mean.
 *   ret_zeros    may be NULL.  How many elements outside the head were selected with score 0 (or in
 *                pieces with mean 0): a choice that the scores did not make.
 *
 * FMP_ECORRUPT for a NaN or negative score (names tensor and index; head and denied tensors are not
 * read); FMP_EUSAGE when the head alone exceeds k, when k exceeds what may be selected, and for a
 * glob that matches no tensor.  Streams: three passes, two for pieces; memory 8 k bytes, 4 bytes a
 * piece, and 4 MiB a thread.  The same result for any number of threads.
 */
FMP_NODISCARD fmp_status fish_select(const fmp_store *scores, const char *scores_path,
                                     const fish_select_options *options, fish_mask **ret,
                                     uint64_t *ret_ties, uint64_t *ret_zeros, fmp_error *err);
void fish_mask_free(fish_mask *m); /* takes NULL */

FMP_NODISCARD fmp_status fish_mask_load(const char *path, fish_mask **ret, fmp_error *err);
/* method_json: an object for the manifest's "method", or NULL. */
FMP_NODISCARD fmp_status fish_mask_save(const fish_mask *m, const char *path, bool replace,
                                        const char *method_json, fmp_secret_key *const *keys,
                                        size_t n_keys, fmp_error *err);

/* Set algebra on masks of one model; FMP_EUSAGE names the first tensor in which they differ. */
typedef enum fish_set_op { FISH_UNION, FISH_INTERSECT, FISH_SUBTRACT, FISH_XOR } fish_set_op;
FMP_NODISCARD fmp_status fish_mask_combine(const fish_mask *a, const fish_mask *b, fish_set_op op,
                                           fish_mask **ret, fmp_error *err);
/* |a and b| / |a or b|; also the two counts. */
FMP_NODISCARD fmp_status fish_mask_jaccard(const fish_mask *a, const fish_mask *b, double *ret,
                                           uint64_t *ret_both, uint64_t *ret_either,
                                           fmp_error *err);
/* Deals the body's elements out into n disjoint masks by rank of score (0, n, 2n, ... / 1, n + 1,
 * ...: Sung et al. 2021, section 4.2); the head is in all of them.  ret: n masks. */
FMP_NODISCARD fmp_status fish_mask_split(const fish_mask *m, const fmp_store *scores, uint32_t n,
                                         fish_mask **ret, fmp_error *err);

#endif
