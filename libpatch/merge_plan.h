/*
 * What a merge must know of whole tensors before it merges: which elements stay, what they are
 * multiplied by, the arc between two tensors, norms of scores.  Not installed.
 */
#ifndef FMP_MERGE_PLAN_H
#define FMP_MERGE_PLAN_H

#include "merge_parents.h"

/* A place in the order of rank: what comes before it is smaller, or as large and a higher element.
 */
typedef struct fmp_merge_cut {
    uint64_t size; /* bits of |t| */
    uint64_t element;
} fmp_merge_cut;

/* Of a tensor of a parent: elements from `low` on and before `high` stay. */
typedef struct fmp_merge_stay {
    fmp_merge_cut low, high;
    double scale;
    fmp_merge_lots lots;
} fmp_merge_stay;

typedef struct fmp_merge_line {
    double c[2];
    bool straight;
} fmp_merge_line;

typedef struct fmp_merge_job {
    fmp_merge_how h;
    fmp_merge_parents in;
    unsigned n_threads;
    fmp_progress progress;
    fmp_merge_stay *stay; /* k for each base tensor; NULL: all of it, as it is */
    fmp_merge_line *line; /* of each base tensor; SLERP */
    int zero_sign;
    const fmp_store *const *scores;
    uint32_t **score_of;        /* of a parent: of each base tensor, or FMP_NONE */
    double norm[FMP_MERGE_MAX]; /* of all scores of a parent */
} fmp_merge_job;

/* The first pass, where the method needs one. */
fmp_status fmp_merge_prepare(fmp_merge_job *j, fmp_error *err);
void fmp_merge_job_release(fmp_merge_job *j);

static inline fmp_value_kind fmp_merge_kind(const fmp_merge_job *j, uint32_t tensor)
{
    return fmp_value_kind_of(fmp_dtype_at(j->in.base->tensors[tensor].dtype)->name);
}

static inline bool fmp_merge_is_before(uint64_t size, uint64_t element, const fmp_merge_cut *cut)
{
    return size < cut->size || (size == cut->size && element > cut->element);
}

static inline uint64_t fmp_merge_size(double t)
{
    uint64_t bits;

    memcpy(&bits, &t, sizeof bits);
    return bits & (UINT64_MAX >> 1);
}

/* What is left of t = x - b of an element. */
double fmp_merge_left(const fmp_merge_job *j, uint32_t parent, uint32_t tensor, uint64_t element,
                      double t);

/* The largest window that is merged at once: scores of more elements take too much memory. */
uint32_t fmp_merge_window(const fmp_merge_job *j, uint32_t tensor);
/* Scores of all parents for `n` elements from `first` on, floored and weighted, into r->scores, n
 * a parent. */
fmp_status fmp_merge_read_scores(const fmp_merge_job *j, fmp_merge_reader *r, uint32_t tensor,
                                 uint64_t first, uint32_t n, fmp_error *err);

/* One element that some parent changes. */
typedef struct fmp_merge_meeting {
    uint64_t element;
    uint32_t at;   /* in the window */
    uint32_t n;    /* parents that change it */
    uint32_t one;  /* the first of them, */
    uint64_t bits; /* and its bits */
    double b;
    double x[FMP_MERGE_MAX], t[FMP_MERGE_MAX];
} fmp_merge_meeting;

/* How far the lists of a window have been read, in step. */
typedef struct fmp_merge_walk {
    const fmp_merge_job *j;
    const fmp_merge_reader *r;
    const uint8_t *base; /* of the window */
    uint32_t tensor;
    fmp_value_kind kind;
    unsigned width;
    uint64_t first;               /* element of the window */
    uint32_t next[FMP_MERGE_MAX]; /* place in each list, */
    uint32_t at[FMP_MERGE_MAX];   /* and the element there; UINT32_MAX at the end */
} fmp_merge_walk;

fmp_merge_walk fmp_merge_begin(const fmp_merge_job *j, const fmp_merge_reader *r, uint32_t tensor,
                               uint64_t off, const uint8_t *base);
/* The next element that some parent changes; false at the end. */
bool fmp_merge_next(fmp_merge_walk *w, fmp_merge_meeting *ret);

#endif
