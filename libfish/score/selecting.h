/*
 * Exact selection of the largest keys of a stream of tensors, without a copy of them: shared by the
 * scopes.
 */
#ifndef FISH_SELECTING_H
#define FISH_SELECTING_H

#include "core/par.h"
#include "score/maskparts.h"
#include "score/sources.h"

#define FISH_BINS 65536

/* Where a ranking is cut: all keys above `key` are in, and the first n_equal of the n_ties elements
 * that have it.  Nothing is in when n_equal is 0. */
typedef struct fish_cut {
    uint32_t key;
    uint64_t n_equal, n_ties;
} fish_cut;

typedef struct fish_select_worker {
    fish_reader reader;
    uint32_t *keys; /* FISH_PIECE */
    uint64_t *bins; /* FISH_BINS */
    double *sums;   /* of the tiles of a band */
    uint64_t n_zeros;
} fish_select_worker;

/* A selection under way. */
typedef struct fish_selecting {
    const fish_source *source;
    fish_pool *pool;
    fish_turnstile *order;
    fish_select_worker *workers; /* one a thread */
    uint32_t *open;              /* numbers of the open tensors, [n_open] */
    uint32_t n_open;
    fish_mask *mask; /* its tensors are the source's; n and idx are filled in */
    uint64_t *idx;   /* [cap] selected elements of all tensors, one after the other; none of a
                        span that is selected whole */
    uint64_t n_idx, cap;
    uint64_t n_ties, n_zeros;
} fish_selecting;

/* The bin in which the budget-th largest key lies, and how many keys are in higher ones.
 * 1 <= budget <= sum of the bins. */
uint32_t fish_bins_find(const uint64_t *bins, uint64_t budget, uint64_t *ret_above);

/* The budget best of the open tensors open[from .. to), 1 <= budget. */
FMP_NODISCARD fmp_status fish_select_best(fish_selecting *w, uint32_t from, uint32_t to,
                                          uint64_t budget, fmp_error *err);

/* The scopes of scope.c: they fill in all that fish_select_best() does. */
FMP_NODISCARD fmp_status fish_scope_tensors(fish_selecting *w, uint64_t budget, fmp_error *err);
FMP_NODISCARD fmp_status fish_scope_tiles(fish_selecting *w, fish_scope scope, uint32_t block,
                                          uint64_t budget, fmp_error *err);

#endif
