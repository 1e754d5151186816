/*
 * The parents of a merge, read side by side: what each changes in a window of a tensor of the base.
 * Not installed.
 */
#ifndef FMP_MERGE_PARENTS_H
#define FMP_MERGE_PARENTS_H

#include <pthread.h>

#include "base/pool.h"
#include "base/rounding.h"
#include "base/store.h"
#include "decode.h"
#include "merge.h"

/* What a parent changes in a window: elements, ascending, numbered within the window, and their new
 * bits. */
typedef struct fmp_merge_list {
    uint32_t *at;
    uint64_t *bits;
    uint32_t n, cap;
} fmp_merge_list;

/* An element and the bits of its |t|. */
typedef struct fmp_merge_ranked {
    uint64_t size, element;
} fmp_merge_ranked;

/* What one thread reads with. */
typedef struct fmp_merge_reader {
    fmp_decoder *dec; /* one a parent; they share scratch and zstd */
    fmp_scratch *scratch;
    fmp_z *z;
    fmp_merge_list *list;   /* one a parent */
    uint64_t *values;       /* of a block */
    uint8_t *base, *target; /* a leaf each */
    double *scores;         /* a leaf of F32 each parent; Fisher merging only */
    uint64_t *hist;         /* of the selection */
    fmp_merge_ranked *few;  /* likewise, where there are few elements */
    bool busy;
} fmp_merge_reader;

/* How a parent's tensor differs from the base's. */
typedef enum fmp_merge_touch {
    FMP_TOUCH_NOTHING = 0,
    FMP_TOUCH_RESIDUAL, /* residuals on the base tensor of its own name: read as a list */
    FMP_TOUCH_ANYHOW    /* made, and compared */
} fmp_merge_touch;

typedef struct fmp_merge_parents {
    const fmp_store *base;
    const fmp_patch *const *p;
    uint32_t k;
    uint32_t **row; /* of a parent: of each base tensor; the touch stands beside it */
    uint8_t **touch;
    bool *touched; /* base tensors that some parent changes */
    fmp_merge_reader reader[FMP_POOL_MAX_THREADS];
    unsigned n_readers;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    bool has_lock;
} fmp_merge_parents;

/* Checks that every patch fits the base: its root against the other patches' (the base's content is
 * checked when it is read as a whole), names, dtypes and shapes.  Released by the caller always. */
fmp_status fmp_merge_parents_init(fmp_merge_parents *m, const fmp_store *base,
                                  const fmp_patch *const *patches, uint32_t k, unsigned n_threads,
                                  bool with_scores, fmp_error *err);
void fmp_merge_parents_release(fmp_merge_parents *m);

/* A reader that nobody else uses; blocks until there is one. */
fmp_merge_reader *fmp_merge_borrow(fmp_merge_parents *m);
void fmp_merge_give_back(fmp_merge_parents *m, fmp_merge_reader *r);

/*
 * Fills r->list of parents `first` to `last` for bytes [off, off + len) of a base tensor, which
 * `base` holds.  The window does not cross a leaf and is made of whole elements.
 */
fmp_status fmp_merge_read(const fmp_merge_parents *m, fmp_merge_reader *r, uint32_t tensor,
                          uint64_t off, uint32_t len, const uint8_t *base, uint32_t first,
                          uint32_t last, fmp_error *err);

#endif
