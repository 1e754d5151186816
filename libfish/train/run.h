/*
 * A training run from the inside: what its files share.  Private to train/.
 *
 *   options.c   defaults and checks        state.c    vectors of tracked elements, model weights
 *   step.c      gradient and update        refresh.c  a new mask from new scores
 *   resume.c    checkpoints                save.c     the patch
 */
#ifndef FISH_RUN_H
#define FISH_RUN_H

#include "train/masking.h"
#include "train/optim.h"
#include "train/train.h"

/*
 * Vectors over the tracked elements: those that are selected or, after a refresh, ever were.  An
 * element that leaves the mask keeps its value and so belongs to the patch.
 */
typedef struct fish_state {
    fish_selection tracked;
    float *master;       /* the weights that the optimizer moves, in float */
    float *m;            /* first moment, or momentum */
    float *v;            /* second moment: AdamW */
    float *ema;          /* with options.ema */
    float *best;         /* with options.patience: the model's weights at the best evaluation */
    float *base;         /* with options.value_bits */
    float *best_buffers; /* the buffers beside `best`: with options.batch_norm too */
    uint16_t *gen; /* with options.refresh_epochs: number in `born`, or FISH_FROZEN, FISH_LEFT */
    uint32_t born[FISH_MAX_BORN + 1]; /* step before the first of a generation */
    uint32_t n_born;
    uint32_t step; /* done so far */
    uint32_t n_worse;
    double best_metric;
    bool has_best;
    bool best_rounded; /* best has value_bits already */
    bool stopped;      /* early */
} fish_state;

/* A stretch of tracked elements of one parameter. */
typedef struct fish_chunk {
    uint32_t param;
    size_t begin, end; /* in the parameter's list */
} fish_chunk;

struct fish_worker;

struct fish_run {
    fish_model *model;
    const fish_data *train, *valid;
    fish_pool *pool;
    fish_train_options o; /* defaults filled in */
    uint32_t n_steps, steps_per_epoch;
    uint32_t batch;          /* examples of a step */
    fish_selection selected; /* with refresh; else the tracked ones are the selected ones */
    fish_state state;
    float *g;         /* gradient over the selected elements */
    float *tracked_g; /* over the tracked ones, with refresh; else g itself */
    float **dense_v;  /* momentum of every element: SGD with reference_leak */
    fish_chunk *chunks;
    uint32_t n_chunks;
    fish_turnstile *gates;
    struct fish_worker *workers;
    unsigned n_workers;
    uint32_t *order; /* of the examples, for epoch order_epoch */
    uint32_t order_epoch;
    double *losses;                                                   /* of a step's examples */
    float *outputs;                                                   /* of the validation data */
    char mask_digest[FISH_DIGEST_HEX], model_digest[FISH_DIGEST_HEX]; /* with checkpoint */
    char train_view[FISH_DIGEST_HEX], valid_view[FISH_DIGEST_HEX];    /* likewise */
    fish_mask *mask;                                                  /* the last one */
    bool has_mask;
    bool finished;
};

/* options.c */
FMP_NODISCARD fmp_status fish_train_defaults(const fish_train_options *options, bool has_mask,
                                             bool has_valid, fish_train_options *ret,
                                             fmp_error *err);

/* state.c */
static inline const fish_selection *fish_run_selected(const fish_run *run)
{
    return run->o.refresh_epochs ? &run->selected : &run->state.tracked;
}
/* Vectors for the tracked elements, as before the first step. */
FMP_NODISCARD fmp_status fish_state_init(fish_run *run, fmp_error *err);
/* Tracks `more` elements too: vectors grow, new elements start from the model's weights. */
FMP_NODISCARD fmp_status fish_state_track(fish_run *run, const fish_selection *more,
                                          fmp_error *err);
void fish_state_release(fish_state *s);
FMP_NODISCARD fmp_status fish_run_cut(fish_run *run, fmp_error *err); /* makes chunks and g */
/* Significant bits of updates after the last step; 0: all. */
unsigned fish_run_bits(const fish_run *run);
/* Writes stretch `c` of `from`, a vector over the tracked elements, into the model: in its dtype,
 * updates of bodies rounded to n_bits significant bits (0: not). */
void fish_write_chunk(const fish_run *run, const fish_chunk *c, const float *from, unsigned n_bits);
void fish_write_weights(const fish_run *run, const float *from, unsigned n_bits);
void fish_read_weights(const fish_run *run, float *to);
/* The model's buffers (running statistics), one behind the other. */
size_t fish_count_buffers(const fish_run *run); /* in floats */
void fish_read_buffers(const fish_run *run, float *to);
void fish_write_buffers(const fish_run *run, const float *from);

/* step.c */
FMP_NODISCARD fmp_status fish_workers_new(fish_run *run, fmp_error *err);
void fish_workers_free(fish_run *run);
/* Number state.step + 1: gradient, update, weights; fills in loss, lr and grad_norm. */
FMP_NODISCARD fmp_status fish_train_step(fish_run *run, fish_step_report *r, fmp_error *err);

/* refresh.c */
FMP_NODISCARD fmp_status fish_refresh(fish_run *run, fmp_error *err);

/* resume.c */
FMP_NODISCARD fmp_status fish_checkpoint_save(const fish_run *run, fmp_error *err);
/* false in *ret when there is none. */
FMP_NODISCARD fmp_status fish_checkpoint_load(fish_run *run, bool *ret, fmp_error *err);

#endif
