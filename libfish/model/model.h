/*
 * The seam between models and everything that trains them.  A model is one file: it names its
 * parameters as the PyTorch checkpoint has them, computes outputs, and walks back.  It runs on one
 * thread; others run beside it on their own workspaces.  It does not know what a gradient is used
 * for: backward hands the factors of each parameter's gradient to a sink, example by example, and
 * the sink squares them (Fisher), gathers a few (masked training) or adds them up.
 */
#ifndef FISH_MODEL_H
#define FISH_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "core/rng.h"
#include "data/data.h"
#include "fmpatch.h"

typedef enum fish_role {
    FISH_BODY = 0,  /* a mask may select it */
    FISH_HEAD = 1,  /* always trained */
    FISH_BUFFER = 2 /* running statistics: no gradient, not in a mask */
} fish_role;

typedef struct fish_param {
    const char *name;  /* as in the checkpoint; of an added one as PyTorch would name it */
    const char *dtype; /* of the checkpoint: "F32", "BF16", "F16"; "F32" when added */
    bool added;        /* not in the base checkpoint: initialised from the seed */
    fish_role role;
    uint32_t rank;
    uint64_t shape[4];
    size_t n; /* elements */
    float *w; /* [n] the weights, exactly those of the checkpoint widened to float */
} fish_param;

typedef struct fish_model fish_model;
typedef struct fish_sink fish_sink;

/* What a forward pass is for. */
typedef struct fish_pass {
    bool train;       /* dropout on, batch statistics if batch_norm */
    bool batch_norm;  /* with train: normalise by the statistics of this batch, not running ones */
    fish_key dropout; /* with train: key of the masks, ... */
    uint64_t step;    /* ... which differ by step and example number */
} fish_pass;

/* Memory of passes over one model, one thread at a time; grows to the largest batch seen. */
typedef struct fish_work fish_work;

typedef struct fish_driver {
    const char *name; /* "bert", "resnet", "mlp" */
    fmp_status (*forward)(const fish_model *m, fish_work *w, const fish_batch *b,
                          const fish_pass *pass, float *outputs, fmp_error *err);
    fmp_status (*backward)(const fish_model *m, fish_work *w, const fish_batch *b,
                           const float *d_outputs, fish_sink *sink, fmp_error *err);
    void (*work_free)(fish_work *w);
    fish_work *(*work_new)(const fish_model *m); /* NULL: out of memory */
    void (*free)(void *config);
    void (*fold)(fish_model *m, const fish_work *w); /* batch statistics; NULL: has none */
} fish_driver;

struct fish_model {
    const fish_driver *driver;
    void *config; /* the driver's own */
    fish_param *params;
    uint32_t n_params;
    uint32_t n_outputs;
    uint32_t image[3]; /* C, H, W that it takes; 0 for texts */
    uint32_t max_tokens;
};

typedef struct fish_model_options {
    const char *config_path; /* NULL: config.json beside the checkpoint */
    uint32_t n_outputs;      /* classes, or 1 for regression; 0: as the checkpoint's own head has */
    uint64_t seed;           /* of added parameters */
    const char *pooling;     /* of texts: "cls", BertForSequenceClassification's pooler on the first
                                token, or "mean" of all tokens, as sentence encoders are trained;
                                NULL: config.json's "pooling", else cls */
    const char *head;        /* NULL: the model's own ("classifier.weight", "fc.weight", ...) */
} fish_model_options;

/*
 * Opens the model that a checkpoint holds: config.json's model_type says which driver.  Reads every
 * weight once.  A head that the base lacks, or has for another number of outputs, is added (in the
 * second case FMP_EUSAGE names it: remove it first).  `path` is what the store was opened from.
 */
FMP_NODISCARD fmp_status fish_model_open(const fmp_store *base, const char *path,
                                         const fish_model_options *options, fish_model **ret,
                                         fmp_error *err);
void fish_model_free(fish_model *m); /* takes NULL */

/* Whether the model takes such data: FMP_EUSAGE names kind, image shape or length, expected and
 * found.  Whoever feeds data to a model asks first. */
FMP_NODISCARD fmp_status fish_model_takes(const fish_model *m, const fish_data *d, fmp_error *err);

/* outputs: [b->n][n_outputs] logits (or the value).  Keeps what backward needs in w. */
FMP_NODISCARD fmp_status fish_forward(const fish_model *m, fish_work *w, const fish_batch *b,
                                      const fish_pass *pass, float *outputs, fmp_error *err);

/*
 * d_outputs: [b->n][n_outputs], the gradient of the loss in the outputs.  Calls the sink once for
 * each parameter that is no buffer, always in the same order.  May be called again after one
 * forward, with other d_outputs.
 */
FMP_NODISCARD fmp_status fish_backward(const fish_model *m, fish_work *w, const fish_batch *b,
                                       const float *d_outputs, fish_sink *sink, fmp_error *err);
fish_work *fish_work_new(const fish_model *m);
void fish_work_free(const fish_model *m, fish_work *w); /* takes NULL */

/* Batch statistics of the last forward pass with pass->batch_norm, folded into the model's running
 * ones as PyTorch does (momentum 0.1, unbiased variance).  Not thread-safe; nothing for models
 * without. */
void fish_model_fold_statistics(fish_model *m, const fish_work *w);

/*
 * Takes the factors of gradients.  Rows of example e are start[e] .. start[e + 1] - 1 of dy and x
 * (ldy, ldx floats from row to row).  Each function returns FMP_OK to go on.  `param` is a number
 * in model->params.
 */
struct fish_sink {
    /* grad[o][i] of example e = sum over its rows r of dy[r][o] * x[r][i]; o < shape[0], i < n /
     * shape[0] */
    fmp_status (*matrix)(fish_sink *s, uint32_t param, const float *dy, size_t ldy, const float *x,
                         size_t ldx, const uint32_t *start, uint32_t n, fmp_error *err);
    /* grad[row[r]][j] of example e = sum of dy[r][j] over its rows r with that row number */
    fmp_status (*table)(fish_sink *s, uint32_t param, const float *dy, size_t ldy,
                        const int32_t *row, const uint32_t *start, uint32_t n, fmp_error *err);
    /* grad[j] of example e = sum over its rows r of dy[r][j] (x NULL) or dy[r][j] * x[r][j] */
    fmp_status (*vector)(fish_sink *s, uint32_t param, const float *dy, size_t ldy, const float *x,
                         size_t ldx, const uint32_t *start, uint32_t n, fmp_error *err);
};

#endif
