/*
 * The arithmetic of merging, apart from where numbers come from.  Not installed.
 */
#ifndef FMP_MERGE_H
#define FMP_MERGE_H

#include "fmpatch.h"

/* Options with every default filled in. */
typedef struct fmp_merge_how {
    fmp_merge_method method;
    uint32_t k; /* parents */
    double w[FMP_MERGE_MAX];
    double sum_w; /* 1 where it is too close to 0 to divide by */
    double lambda, density, gamma, epsilon, t, floor;
    fmp_ties_variant ties;
    fmp_rescale rescale;
    bool normalize, floor_all, no_norm;
    uint64_t seed;
    int integers, added;
} fmp_merge_how;

fmp_status fmp_merge_resolve(const fmp_merge_options *o, size_t k, fmp_merge_how *ret,
                             fmp_error *err);

/* Whether elements of a task vector are left out by their rank, or at random. */
bool fmp_merge_trims(const fmp_merge_how *h);
bool fmp_merge_drops(const fmp_merge_how *h);
bool fmp_merge_elects(const fmp_merge_how *h);

/*
 * Of the elements of a tensor that are not 0, c of n, in the order of rank (the smallest first; of
 * equal ones the higher element first): those from *first on, below *end, stay.  For the paper's
 * TIES n and c are of all tensors, and what equals the first stays too.
 */
void fmp_merge_ranks(const fmp_merge_how *h, uint64_t n, uint64_t c, uint64_t *first,
                     uint64_t *end);

/* Random numbers of one tensor of one parent: fmp_merge_options.seed. */
typedef struct fmp_merge_lots {
    uint64_t key;
    uint64_t parent;
} fmp_merge_lots;

fmp_merge_lots fmp_merge_lots_of(const fmp_merge_how *h, const char *name, size_t name_len,
                                 uint32_t parent);
bool fmp_merge_keeps(const fmp_merge_how *h, const fmp_merge_lots *lots, uint64_t element);
/* What kept elements are multiplied by; before, after: sums of magnitudes, for L1. */
double fmp_merge_scale(const fmp_merge_how *h, double before, double after);

/* One element: b of the base, x of each parent, t what is left of x - b; f: scores, floored and
 * weighted, for Fisher merging only.  zero_sign: that of most of the model (FMP_TIES_PAPER). */
double fmp_merge_element(const fmp_merge_how *h, double b, const double *x, const double *t,
                         const double *f, int zero_sign);
/* A score with the floor under it. */
double fmp_merge_floored(const fmp_merge_how *h, uint32_t parent, double score);

/* SLERP: what the two parents are multiplied by, given their norms and the product of the two; true
 * when they lie on a line, so that equal elements stay as they are. */
bool fmp_merge_arc(const fmp_merge_how *h, double norm0, double norm1, double product,
                   double ret_c[2]);

#endif
