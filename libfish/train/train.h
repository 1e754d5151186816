/*
 * Masked training: only the selected elements have gradients, optimizer state and new values;
 * everything else keeps the base's bits.  A run is a pure function of base, data, mask and options.
 */
#ifndef FISH_TRAIN_H
#define FISH_TRAIN_H

#include "core/par.h"
#include "data/data.h"
#include "model/model.h"
#include "score/scores.h"
#include "train/fisher.h"
#include "train/metrics.h"

typedef enum fish_optimizer { FISH_ADAMW = 0, FISH_SGD } fish_optimizer;
typedef enum fish_schedule { FISH_LINEAR = 0, FISH_COSINE, FISH_CONSTANT } fish_schedule;
/* What becomes of optimizer state when the mask is refreshed. */
typedef enum fish_moments {
    FISH_MOMENTS_KEEP = 0, /* of elements that stay selected; new ones start at 0; those that leave
                              stop at once */
    FISH_MOMENTS_RESET,    /* all start at 0 */
    FISH_MOMENTS_LEAK /* the authors' code: those that leave go on moving (reproduction only) */
} fish_moments;

struct fish_step_report;

typedef struct fish_train_options {
    size_t size;
    fish_optimizer optimizer;
    double lr;           /* default 5e-4 */
    double weight_decay; /* decoupled (AdamW, Loshchilov and Hutter 2019) or added to the gradient
                            (SGD); masked; parameters of rank 1 (biases, norms) have none, as in
                            transformers' Trainer; default 0 */
    double beta1, beta2, eps; /* defaults 0.9, 0.999, 1e-8 (Kingma and Ba 2015) */
    double momentum;          /* SGD; default 0.9; negative: none */
    bool nesterov;
    double clip;            /* global norm of the masked gradient; default 1.0; negative: none */
    fish_schedule schedule; /* after warmup steps, from lr to 0 over all steps */
    uint32_t warmup;
    uint32_t steps;      /* or, when 0, epochs * batches an epoch */
    double epochs;       /* default 3 */
    uint32_t batch_size; /* examples a step and accumulation; default 16; the last of an epoch may
                            have fewer */
    uint32_t accumulate; /* default 1 */
    uint32_t group;      /* examples a thread works on at once; default 4; with batch_norm always
                            batch_size */
    double ema;          /* decay of an average of the selected weights, which is what is measured
                            and what the result is; 0: none */
    double label_smoothing; /* default 0 */
    bool no_dropout;
    bool batch_norm; /* train with batch statistics and change running ones (not exactly k then) */
    bool regression;
    uint64_t seed;
    uint32_t eval_every; /* steps; 0: at the end of epochs; needs `valid` */
    uint32_t patience;   /* early stopping: evaluations without a better metric; 0: off; the best
                            weights are the result */
    unsigned value_bits; /* 0: as they come; N: residuals rounded to N significant bits (see
                            train/rounding.h; not those of added tensors) ... */
    double value_phase;  /* ... in the last part of training, which goes on from unrounded masters;
                            default 0.25 */
    uint32_t refresh_epochs; /* mask refreshed every so many epochs; 0: never */
    fish_moments moments;
    fish_fisher_options refresh; /* how new scores are made; k stays */
    bool reference_leak; /* --reference-leak: weight decay reaches unselected weights too, as in the
                            authors' CIFAR code; for comparison only */
    bool dense_gradient; /* whole gradients by GEMM, then gathered; default: by density */
    const char *checkpoint; /* file of O(k) bytes, written every checkpoint_every steps (default:
                               each epoch) and continued from when it is there */
    uint32_t checkpoint_every;
    uint32_t stop_after; /* ends after so many steps of this call, checkpoint written (tests) */
    void (*report)(void *ctx, const struct fish_step_report *r); /* may be NULL */
    void *ctx;
} fish_train_options;

/* After each step (valid NULL) and each evaluation (valid set). */
typedef struct fish_step_report {
    uint32_t step, n_steps;
    double epoch;
    double loss; /* mean over the step's examples */
    double lr;
    double grad_norm;              /* of the masked gradient, before clipping */
    double seconds;                /* since the start */
    uint64_t n_examples, n_tokens; /* so far in this call */
    const fish_metrics *valid;
} fish_step_report;

typedef struct fish_run fish_run;

/*
 * Trains in place: after success the model's weights are the trained ones.  mask NULL: every
 * parameter (ordinary training).  valid may be NULL.  Ends with FMP_OK also when stop_after cut it
 * short (fish_run_finished() tells).
 */
FMP_NODISCARD fmp_status fish_train(fish_model *m, const fish_data *train, const fish_data *valid,
                                    const fish_mask *mask, fish_pool *pool,
                                    const fish_train_options *options, fish_run **ret,
                                    fmp_error *err);
void fish_run_free(fish_run *run); /* takes NULL */
bool fish_run_finished(const fish_run *run);
uint32_t fish_run_steps(const fish_run *run);
const fish_mask *fish_run_mask(const fish_run *run); /* the last one; borrowed; NULL when none */

/*
 * The patch: every selected element whose value differs from the base, and the added tensors whole.
 * After a refresh that is the union of all masks of the run: what has left one keeps its value.
 * `manifest` is an object (task, method, metrics, ...) or NULL.  With batch_norm also the buffers.
 */
FMP_NODISCARD fmp_status fish_run_save(const fish_run *run, const fish_model *m,
                                       const fmp_store *base, const char *path,
                                       const fmp_create_options *create, fmp_create_result *ret,
                                       fmp_error *err);

#endif
