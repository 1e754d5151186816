/*
 * What predictions are worth: accuracy, F1, Matthews correlation, Spearman and Pearson correlation,
 * confusion counts.
 */
#ifndef FISH_METRICS_H
#define FISH_METRICS_H

#include "core/par.h"
#include "data/data.h"
#include "model/model.h"

typedef struct fish_metrics {
    uint64_t n;
    double loss;     /* mean */
    double accuracy; /* classification */
    double f1;       /* of class 1 where there are two classes, else macro average; 0 / 0 is 0 */
    double mcc;      /* Gorodkin 2004 for more than two classes; 0 / 0 is 0 */
    double spearman, pearson, mse; /* regression; ties get mean ranks */
} fish_metrics;

/* outputs: [n][n_classes]; confusion: [n_classes][n_classes] counts, true class first, or NULL. */
void fish_metrics_classify(const float *outputs, const int32_t *labels, uint64_t n,
                           uint32_t n_classes, fish_metrics *ret, uint64_t *confusion);
FMP_NODISCARD fmp_status fish_metrics_regress(const float *outputs, const float *values, uint64_t n,
                                              fish_metrics *ret, fmp_error *err);

/* The same of outputs [count][n_outputs] against the labels or values of `d`, in its order;
 * confusion as above, or NULL. */
FMP_NODISCARD fmp_status fish_metrics_of(const float *outputs, uint32_t n_outputs,
                                         const fish_data *d, bool regression, fish_metrics *ret,
                                         uint64_t *confusion, fmp_error *err);

/* The number that early stopping looks at: accuracy, or Spearman; more is better. */
double fish_metric_main(const fish_metrics *m, bool regression);

/* Outputs of all examples, [count][n_outputs], in order of the data; dropout off.  The same bits
 * for any number of threads.  FMP_ECORRUPT for one that is no finite number. */
FMP_NODISCARD fmp_status fish_predict(const fish_model *m, const fish_data *d, fish_pool *pool,
                                      float *outputs, fmp_error *err);

#endif
