/*
 * Scores of parameters from data: the diagonal of the Fisher information and its relatives (Sung,
 * Nair, Raffel 2021, section 3.1; Kunstner, Hennig, Balles 2019 for empirical against expected).
 * Gradients are squared example by example, in a fixed order, in double.
 */
#ifndef FISH_FISHER_H
#define FISH_FISHER_H

#include "core/par.h"
#include "data/data.h"
#include "model/model.h"

typedef enum fish_estimator {
    FISH_EMPIRICAL = 0, /* sum over examples of (d log p(y_n | x_n))^2: the true label */
    FISH_EXPECTED,      /* sum over classes of p_c (d log p(c | x_n))^2; C backward passes */
    FISH_SAMPLED,       /* one label drawn from p(. | x_n) */
    FISH_ABSOLUTE,      /* sum of |d loss_n|: ablation */
    FISH_BATCH_SQUARED, /* sum over batches of (sum over the batch of d loss_n)^2: ablation */
    FISH_SNIP           /* |w * sum of d loss_n| (Lee et al. 2019, connection sensitivity) */
} fish_estimator;

typedef struct fish_fisher_options {
    size_t size;
    fish_estimator estimator;
    uint32_t n_samples; /* examples: the first of a shuffle by `seed` (fish_epoch_order() with
                           batches of one); default 1024, at most all */
    uint64_t seed;
    uint32_t batch_size; /* of FISH_BATCH_SQUARED; default 16 */
    uint32_t group;      /* examples that one thread works on at once; default 4 texts or 8 images;
                            results depend on it in the last bits only, never on the number of
                            threads; of FISH_BATCH_SQUARED: batch_size */
    bool regression;     /* squared error, as -log N(value; output, 1): sampled draws the value from
                            there, expected is the square of the output's gradient */
    /* Calls come in order, one at a time, from any of the pool's threads.  May be NULL. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total, double seconds);
    void *ctx;
} fish_fisher_options;

/* Scores of every parameter of the model, in its order: scores[p][n], NULL for buffers. */
typedef struct fish_scores {
    uint32_t n_params;
    double **scores;
    uint32_t n_samples; /* that went in */
    double loss;        /* mean over them */
} fish_scores;

/* Dropout is off and batch norm uses running statistics.  Memory: 8 bytes a parameter that some
 * example reaches, and activations of one group a thread. */
FMP_NODISCARD fmp_status fish_fisher(const fish_model *m, const fish_data *d, fish_pool *pool,
                                     const fish_fisher_options *options, fish_scores **ret,
                                     fmp_error *err);
void fish_scores_free(fish_scores *s); /* takes NULL */

/* The score file: F32 (rounded once from double), names and shapes of the parameters, metadata as
 * score/scores.h says. */
FMP_NODISCARD fmp_status fish_scores_save(const fish_scores *s, const fish_model *m,
                                          const fish_data *d, const fish_fisher_options *options,
                                          const char *path, bool replace, fmp_error *err);

/*
 * The kernel, for tests and bench: f[o * in + i] += weight * g^2 for each example in turn, where g
 * = sum over its rows r of dy[r][o] * x[r][i] in float.  Rows [o_begin, o_end) of f.  `absolute`:
 * += weight * |g|.  weight NULL: all 1.  Needs up to 384 KiB of stack.
 */
void fish_square_outer(double *f, size_t out, size_t in, size_t o_begin, size_t o_end,
                       const float *dy, size_t ldy, const float *x, size_t ldx,
                       const uint32_t *start, uint32_t n, const double *weight, bool absolute);

#endif
