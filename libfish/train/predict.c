/*
 * Outputs of all examples of a data set.  Groups are fixed by the data alone, so the number of
 * threads changes nothing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "train/metrics.h"

#define GROUP 8

typedef struct worker {
    fish_work *work;
    fish_batch_buf *buf;
    float *outputs; /* [GROUP][n_outputs] */
} worker;

typedef struct job {
    const fish_model *m;
    const fish_data *d;
    uint32_t *order;
    uint32_t n;
    worker *workers;
    unsigned n_workers;
    float *outputs;
} job;

static fmp_status predict_group(void *ctx, unsigned number, uint64_t item, fmp_error *err)
{
    job *j = ctx;
    worker *w = &j->workers[number];
    const uint32_t first = (uint32_t)item * GROUP;
    const uint32_t n = j->n - first < GROUP ? j->n - first : GROUP;
    const size_t n_outputs = j->m->n_outputs;
    const fish_pass pass = {.train = false};
    fish_batch b;
    fmp_status st = fish_batch_fill(w->buf, j->d, j->order + first, n, &b, err);

    if (st)
        return st;
    st = fish_forward(j->m, w->work, &b, &pass, w->outputs, err);
    if (st)
        return st;
    for (size_t i = 0; i < n * n_outputs; i++) {
        if (!isfinite(w->outputs[i]))
            return fish_fail(err, FMP_ECORRUPT, "example %u: output %zu of the model is %g",
                             j->order[first + i / n_outputs], i % n_outputs, w->outputs[i]);
    }
    for (uint32_t e = 0; e < n; e++)
        memcpy(j->outputs + j->order[first + e] * n_outputs, w->outputs + e * n_outputs,
               n_outputs * sizeof *w->outputs);
    return FMP_OK;
}

static int by_key(const void *a, const void *b)
{
    const uint64_t p = *(const uint64_t *)a;
    const uint64_t q = *(const uint64_t *)b;

    return (p > q) - (p < q);
}

/* Shortest first, those of one length by number: examples of one group cost about the same. */
static fmp_status order_by_length(job *j, fmp_error *err)
{
    uint64_t *keys = fish_alloc(j->n, sizeof *keys);

    j->order = fish_alloc(j->n, sizeof *j->order);
    if (!keys || !j->order) {
        fish_free(keys);
        return fish_fail(err, FMP_ENOMEM, "prediction: out of memory for %u examples", j->n);
    }
    for (uint32_t i = 0; i < j->n; i++)
        keys[i] = (uint64_t)fish_data_length(j->d, i) << 32 | i;
    qsort(keys, j->n, sizeof *keys, by_key);
    for (uint32_t i = 0; i < j->n; i++)
        j->order[i] = (uint32_t)keys[i];
    fish_free(keys);
    return FMP_OK;
}

static fmp_status hire(job *j, fmp_error *err)
{
    j->workers = fish_calloc(j->n_workers, sizeof *j->workers);
    for (unsigned i = 0; j->workers && i < j->n_workers; i++) {
        worker *w = &j->workers[i];

        w->work = fish_work_new(j->m);
        w->buf = fish_batch_buf_new();
        w->outputs = fish_alloc((size_t)GROUP * j->m->n_outputs, sizeof *w->outputs);
        if (!w->work || !w->buf || !w->outputs)
            return fish_fail(err, FMP_ENOMEM, "prediction: out of memory");
    }
    return j->workers ? FMP_OK : fish_fail(err, FMP_ENOMEM, "prediction: out of memory");
}

fmp_status fish_predict(const fish_model *m, const fish_data *d, fish_pool *pool, float *outputs,
                        fmp_error *err)
{
    job j = {.m = m,
             .d = d,
             .n = fish_data_count(d),
             .n_workers = fish_pool_threads(pool),
             .outputs = outputs};
    fmp_status st = fish_model_takes(m, d, err);

    if (st)
        return st;
    st = order_by_length(&j, err);
    if (st)
        goto out;
    st = hire(&j, err);
    if (st)
        goto out;
    st = fish_pool_run(pool, (j.n + (uint64_t)GROUP - 1) / GROUP, predict_group, &j, err);
out:
    for (unsigned i = 0; j.workers && i < j.n_workers; i++) {
        fish_work_free(m, j.workers[i].work);
        fish_batch_buf_free(j.workers[i].buf);
        fish_free(j.workers[i].outputs);
    }
    fish_free(j.workers);
    fish_free(j.order);
    return st;
}
