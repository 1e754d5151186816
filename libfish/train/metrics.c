/*
 * Metrics of predictions, with the conventions of scikit-learn and SciPy, except that what they
 * call undefined (0 / 0, a constant column) is 0 here.
 */
#include "train/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "train/loss.h"

/* Classes counted in one walk over the examples, so that no count needs an allocation. */
#define CLASSES_AT_ONCE 256

typedef struct tally {
    uint64_t truth[CLASSES_AT_ONCE]; /* examples of the class */
    uint64_t said[CLASSES_AT_ONCE];  /* predictions of it */
    uint64_t right[CLASSES_AT_ONCE]; /* both */
} tally;

/* Sums over classes k of what the metrics are made of. */
typedef struct sums {
    double right;
    double truth_said, truth_truth, said_said; /* of products of counts */
    double f1_of_one;                          /* class 1 */
    double f1;                                 /* over classes that occur */
    uint32_t n_occurring;
} sums;

/* The first of the largest, as numpy.argmax has it. */
static uint32_t argmax(const float *v, uint32_t n)
{
    uint32_t best = 0;

    for (uint32_t c = 1; c < n; c++) {
        if (v[c] > v[best])
            best = c;
    }
    return best;
}

/* 2 tp / (2 tp + fp + fn): van Rijsbergen 1979. */
static double f1_of(uint64_t truth, uint64_t said, uint64_t right)
{
    return truth + said ? 2.0 * (double)right / (double)(truth + said) : 0;
}

static void count(const float *outputs, const int32_t *labels, uint64_t n, uint32_t n_classes,
                  uint32_t first, tally *t)
{
    memset(t, 0, sizeof *t);
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t said = argmax(outputs + i * n_classes, n_classes);
        const uint32_t truth = (uint32_t)labels[i];

        if (truth - first < CLASSES_AT_ONCE)
            t->truth[truth - first]++;
        if (said - first < CLASSES_AT_ONCE)
            t->said[said - first]++;
        if (said == truth && said - first < CLASSES_AT_ONCE)
            t->right[said - first]++;
    }
}

static void add_up(const tally *t, uint32_t first, uint32_t n_classes, sums *s)
{
    for (uint32_t c = first; c < n_classes && c - first < CLASSES_AT_ONCE; c++) {
        const uint64_t truth = t->truth[c - first];
        const uint64_t said = t->said[c - first];
        const uint64_t right = t->right[c - first];
        const double f1 = f1_of(truth, said, right);

        s->right += (double)right;
        s->truth_said += (double)truth * (double)said;
        s->truth_truth += (double)truth * (double)truth;
        s->said_said += (double)said * (double)said;
        s->f1 += f1;
        s->n_occurring += truth || said;
        if (c == 1)
            s->f1_of_one = f1;
    }
}

/* R_K, equation 8 of Gorodkin 2004; with two classes the coefficient of Matthews 1975. */
static double mcc_of(const sums *s, double n)
{
    const double spread = sqrt(n * n - s->said_said) * sqrt(n * n - s->truth_truth);

    return spread > 0 ? (s->right * n - s->truth_said) / spread : 0;
}

void fish_metrics_classify(const float *outputs, const int32_t *labels, uint64_t n,
                           uint32_t n_classes, fish_metrics *ret, uint64_t *confusion)
{
    fish_metrics m = {.n = n};
    sums s = {0};
    tally t;

    if (confusion)
        memset(confusion, 0, (size_t)n_classes * n_classes * sizeof *confusion);
    for (uint64_t i = 0; i < n; i++) {
        const float *o = outputs + i * n_classes;

        assert(labels[i] >= 0 && (uint32_t)labels[i] < n_classes);
        m.loss += fish_cross_entropy(o, n_classes, labels[i], NULL);
        if (confusion)
            confusion[(size_t)labels[i] * n_classes + argmax(o, n_classes)]++;
    }
    for (uint32_t first = 0; first < n_classes; first += CLASSES_AT_ONCE) {
        count(outputs, labels, n, n_classes, first, &t);
        add_up(&t, first, n_classes, &s);
        if (n_classes - first <= CLASSES_AT_ONCE)
            break;
    }
    if (n) {
        m.loss /= (double)n;
        m.accuracy = s.right / (double)n;
        m.mcc = mcc_of(&s, (double)n);
        m.f1 = n_classes == 2 ? s.f1_of_one : s.f1 / s.n_occurring;
    }
    *ret = m;
}

/* ---- regression ------------------------------------------------------------------------------ */

typedef struct placed {
    float value;
    uint64_t i;
} placed;

/* By value; numbers that are none come last. */
static int by_value(const void *a, const void *b)
{
    const placed *p = a;
    const placed *q = b;

    if (isnan(p->value) || isnan(q->value))
        return (isnan(p->value) != 0) - (isnan(q->value) != 0);
    return (p->value > q->value) - (p->value < q->value);
}

/* rank[i] = the mean of the places, from 1, of all that equal v[i]. */
static void mean_ranks(const float *v, uint64_t n, placed *order, double *rank)
{
    for (uint64_t i = 0; i < n; i++)
        order[i] = (placed){.value = v[i], .i = i};
    qsort(order, n, sizeof *order, by_value);
    for (uint64_t begin = 0, end; begin < n; begin = end) {
        end = begin + 1;
        while (end < n && order[end].value == order[begin].value)
            end++;
        for (uint64_t i = begin; i < end; i++)
            rank[order[i].i] = (double)(begin + 1 + end) / 2;
    }
}

/* Sums of products about the means, of which Pearson's correlation is the quotient. */
static double correlation(const double *a, const double *b, uint64_t n)
{
    double mean_a = 0, mean_b = 0;
    double aa = 0, bb = 0, ab = 0;

    for (uint64_t i = 0; i < n; i++) {
        mean_a += a[i] / (double)n;
        mean_b += b[i] / (double)n;
    }
    for (uint64_t i = 0; i < n; i++) {
        const double da = a[i] - mean_a;
        const double db = b[i] - mean_b;

        aa += da * da;
        bb += db * db;
        ab += da * db;
    }
    return aa > 0 && bb > 0 ? ab / (sqrt(aa) * sqrt(bb)) : 0;
}

fmp_status fish_metrics_regress(const float *outputs, const float *values, uint64_t n,
                                fish_metrics *ret, fmp_error *err)
{
    fish_metrics m = {.n = n};
    placed *order = fish_alloc(n, sizeof *order);
    double *a = fish_alloc(n, sizeof *a);
    double *b = fish_alloc(n, sizeof *b);
    fmp_status st = FMP_OK;

    if (!order || !a || !b) {
        st = fish_fail(err, FMP_ENOMEM, "metrics: out of memory for %llu values",
                       (unsigned long long)n);
        goto out;
    }
    for (uint64_t i = 0; i < n; i++) {
        a[i] = outputs[i];
        b[i] = values[i];
        m.loss += fish_squared_error(outputs[i], values[i], NULL) / (double)n;
    }
    m.mse = 2 * m.loss;
    m.pearson = correlation(a, b, n);
    mean_ranks(outputs, n, order, a);
    mean_ranks(values, n, order, b);
    m.spearman = correlation(a, b, n); /* of the ranks: Spearman 1904 */
    *ret = m;
out:
    fish_free(order);
    fish_free(a);
    fish_free(b);
    return st;
}

double fish_metric_main(const fish_metrics *m, bool regression)
{
    return regression ? m->spearman : m->accuracy;
}

fmp_status fish_metrics_of(const float *outputs, uint32_t n_outputs, const fish_data *d,
                           bool regression, fish_metrics *ret, uint64_t *confusion, fmp_error *err)
{
    const uint32_t n = fish_data_count(d);
    float *values = fish_alloc(n, sizeof *values);
    int32_t *labels = fish_alloc(n, sizeof *labels);
    fmp_status st = FMP_OK;

    if (!values || !labels)
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", fish_data_digest(d));
    for (uint32_t i = 0; i < n && !st; i++) {
        values[i] = fish_data_value(d, i);
        labels[i] = fish_data_label(d, i);
    }
    if (!st && regression)
        st = fish_metrics_regress(outputs, values, n, ret, err);
    else if (!st)
        fish_metrics_classify(outputs, labels, n, n_outputs, ret, confusion);
    fish_free(labels);
    fish_free(values);
    return st;
}
