/*
 * Scores from gradients that are squared example by example.  An item of work is one backward pass
 * of one group of examples: item = group * passes + pass, where only the expected Fisher has more
 * than one pass, one a class.  Before an item adds to parameter p it waits at gate p until all
 * lower items have added to it, so every sum is made in one order whatever the number of threads.
 * Items begin in order and the lowest unfinished one never waits, so there is no deadlock.  A
 * worker keeps the forward pass of the group that it last worked on; another worker on the same
 * group makes it again, which costs less than walking the classes one after the other.
 */
#include "train/fisher.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/fail.h"
#include "core/mem.h"
#include "train/loss.h"
#include "train/square_outer.h"

typedef struct job job;

/* What a worker's backward pass hands its factors to. */
typedef struct collector {
    fish_sink sink; /* first, so that a sink is a collector */
    job *j;
    uint64_t item;
    const double *weight; /* of each example of the batch; NULL: all 1 */
    uint32_t whole[2];    /* the batch as one example */
    double *sum;          /* a vector's gradient, or a table row's */
    size_t sum_cap;
    uint64_t *keys; /* rows of a table in order */
    size_t keys_cap;
} collector;

typedef struct worker {
    collector c;
    fish_work *work;
    fish_batch_buf *buf;
    fish_batch batch;
    bool holds_group; /* `batch`, `outputs` and `work` are of group `group` */
    uint64_t group;
    float *outputs, *d_outputs; /* [group][n_outputs] */
    double *p;                  /* [n_outputs] */
    double *weight;             /* [group] */
} worker;

struct job {
    const fish_model *m;
    const fish_data *d;
    fish_fisher_options o;
    fish_scores *s;
    uint32_t *order; /* [n_samples] example numbers */
    double *losses;  /* [n_samples] in that order */
    uint32_t n_passes;
    fish_turnstile *gates; /* one a parameter, and one for progress */
    worker *workers;
    unsigned n_workers;
    fish_key labels;
    struct timespec begin;
};

/* ---- adding gradients up --------------------------------------------------------------------- */

static fish_outer_kind kind_of(fish_estimator e)
{
    return e == FISH_ABSOLUTE ? FISH_OUTER_ABSOLUTE
           : e == FISH_SNIP   ? FISH_OUTER_SIGNED
                              : FISH_OUTER_SQUARE;
}

/* The examples of a batch as the estimator sees them: SNIP and batch-squared see one. */
static const uint32_t *spans(collector *c, const uint32_t *start, uint32_t *n)
{
    const fish_estimator e = c->j->o.estimator;

    if (e != FISH_SNIP && e != FISH_BATCH_SQUARED)
        return start;
    c->whole[0] = start[0];
    c->whole[1] = start[*n];
    *n = *n ? 1 : 0;
    return c->whole;
}

static fmp_status enter(const collector *c, uint32_t param, fmp_error *err)
{
    if (fish_turnstile_enter(c->j->gates, param, c->item))
        return FMP_OK;
    return fish_fail(err, FMP_ECANCELED, "Fisher: stopped, as another group has failed");
}

static void leave(const collector *c, uint32_t param)
{
    fish_turnstile_leave(c->j->gates, param, c->item);
}

static fmp_status reserve_sum(collector *c, size_t n, fmp_error *err)
{
    if (n <= c->sum_cap)
        return FMP_OK;
    fish_free(c->sum);
    c->sum_cap = 0;
    c->sum = fish_alloc(n, sizeof *c->sum);
    if (!c->sum)
        return fish_fail(err, FMP_ENOMEM, "Fisher: out of memory");
    c->sum_cap = n;
    return FMP_OK;
}

static void add_sum(const collector *c, double *f, size_t n, uint32_t example)
{
    const double weight = c->weight ? c->weight[example] : 1;
    const double *g = c->sum;
    const fish_outer_kind kind = kind_of(c->j->o.estimator);

    if (kind == FISH_OUTER_SQUARE) {
        for (size_t i = 0; i < n; i++)
            f[i] += weight * (g[i] * g[i]);
    } else if (kind == FISH_OUTER_ABSOLUTE) {
        for (size_t i = 0; i < n; i++)
            f[i] += weight * fabs(g[i]);
    } else {
        for (size_t i = 0; i < n; i++)
            f[i] += weight * g[i];
    }
}

static fmp_status add_matrix(fish_sink *s, uint32_t param, const float *dy, size_t ldy,
                             const float *x, size_t ldx, const uint32_t *start, uint32_t n,
                             fmp_error *err)
{
    collector *c = (collector *)s;
    const fish_param *p = &c->j->m->params[param];
    const uint32_t *span = spans(c, start, &n);
    const fish_outer outer = {.f = c->j->s->scores[param],
                              .in = p->n / p->shape[0],
                              .o_end = p->shape[0],
                              .dy = dy,
                              .ldy = ldy,
                              .x = x,
                              .ldx = ldx,
                              .start = span,
                              .n = n,
                              .weight = c->weight,
                              .kind = kind_of(c->j->o.estimator)};
    fmp_status st = enter(c, param, err);

    if (st)
        return st;
    fish_outer_add(&outer);
    leave(c, param);
    return FMP_OK;
}

static int by_key(const void *a, const void *b)
{
    const uint64_t p = *(const uint64_t *)a;
    const uint64_t q = *(const uint64_t *)b;

    return (p > q) - (p < q);
}

/* Sorts an example's rows by table row, then by place, and adds each table row's sum once. */
static void add_table_rows(collector *c, uint32_t param, const float *dy, size_t ldy,
                           const int32_t *row, const uint32_t span[2], uint32_t example)
{
    const fish_param *p = &c->j->m->params[param];
    const size_t width = p->n / p->shape[0];
    const uint32_t n = span[1] - span[0];

    for (uint32_t i = 0; i < n; i++)
        c->keys[i] = (uint64_t)(uint32_t)row[span[0] + i] << 32 | (span[0] + i);
    qsort(c->keys, n, sizeof *c->keys, by_key);
    for (uint32_t i = 0, end; i < n; i = end) {
        const uint64_t number = c->keys[i] >> 32;

        memset(c->sum, 0, width * sizeof *c->sum);
        for (end = i; end < n && c->keys[end] >> 32 == number; end++) {
            const float *g = dy + (uint32_t)c->keys[end] * ldy;

            for (size_t k = 0; k < width; k++)
                c->sum[k] += g[k];
        }
        add_sum(c, c->j->s->scores[param] + number * width, width, example);
    }
}

static fmp_status add_table(fish_sink *s, uint32_t param, const float *dy, size_t ldy,
                            const int32_t *row, const uint32_t *start, uint32_t n, fmp_error *err)
{
    collector *c = (collector *)s;
    const fish_param *p = &c->j->m->params[param];
    const uint32_t n_rows = start[n] - start[0];
    const uint32_t *span = spans(c, start, &n);
    fmp_status st = reserve_sum(c, p->n / p->shape[0], err);

    if (st)
        return st;
    if (n_rows > c->keys_cap) {
        fish_free(c->keys);
        c->keys_cap = 0;
        c->keys = fish_alloc(n_rows, sizeof *c->keys);
        if (!c->keys)
            return fish_fail(err, FMP_ENOMEM, "Fisher: out of memory");
        c->keys_cap = n_rows;
    }
    st = enter(c, param, err);
    if (st)
        return st;
    for (uint32_t e = 0; e < n; e++)
        add_table_rows(c, param, dy, ldy, row, span + e, e);
    leave(c, param);
    return FMP_OK;
}

static fmp_status add_vector(fish_sink *s, uint32_t param, const float *dy, size_t ldy,
                             const float *x, size_t ldx, const uint32_t *start, uint32_t n,
                             fmp_error *err)
{
    collector *c = (collector *)s;
    const size_t width = c->j->m->params[param].n;
    const uint32_t *span = spans(c, start, &n);
    fmp_status st = reserve_sum(c, width, err);

    if (st)
        return st;
    st = enter(c, param, err);
    if (st)
        return st;
    for (uint32_t e = 0; e < n; e++) {
        memset(c->sum, 0, width * sizeof *c->sum);
        for (uint32_t r = span[e]; r < span[e + 1]; r++) {
            const float *a = dy + r * ldy;
            const float *b = x ? x + r * ldx : NULL;

            for (size_t i = 0; i < width; i++)
                c->sum[i] += b ? (double)a[i] * b[i] : a[i];
        }
        add_sum(c, c->j->s->scores[param], width, e);
    }
    leave(c, param);
    return FMP_OK;
}

/* ---- one item -------------------------------------------------------------------------------- */

/* A label from p(. | x): the first whose cumulative probability exceeds a uniform number. */
static int32_t draw_label(const job *j, uint32_t example, const double *p)
{
    const double u = fish_random_unit(j->labels, example, 0);
    const uint32_t n = j->m->n_outputs;
    double sum = 0;

    for (uint32_t c = 0; c + 1 < n; c++) {
        sum += p[c];
        if (u < sum)
            return (int32_t)c;
    }
    return (int32_t)(n - 1);
}

/* The gradient in the outputs of example e of the worker's batch, in one pass. */
static void gradient_classes(const job *j, worker *w, uint32_t e, uint32_t pass)
{
    const uint32_t n = j->m->n_outputs;
    const float *o = w->outputs + (size_t)e * n;
    float *d = w->d_outputs + (size_t)e * n;
    int32_t label = w->batch.label[e];

    if (j->o.estimator == FISH_EXPECTED || j->o.estimator == FISH_SAMPLED)
        fish_softmax(o, n, w->p);
    if (j->o.estimator == FISH_EXPECTED) {
        label = (int32_t)pass;
        w->weight[e] = w->p[pass];
    } else if (j->o.estimator == FISH_SAMPLED) {
        label = draw_label(j, w->batch.example[e], w->p);
    }
    fish_cross_entropy(o, n, label, d);
}

/* The same under N(output, 1): the score function is value - output, of variance 1. */
static void gradient_value(const job *j, worker *w, uint32_t e)
{
    const float o = w->outputs[e];
    float *d = w->d_outputs + e;

    if (j->o.estimator == FISH_EXPECTED)
        *d = 1;
    else if (j->o.estimator == FISH_SAMPLED)
        *d = (float)fish_random_normal(j->labels, w->batch.example[e], 0);
    else
        fish_squared_error(o, w->batch.value[e], d);
}

static double loss_of(const job *j, const worker *w, uint32_t e)
{
    const uint32_t n = j->m->n_outputs;

    if (j->o.regression)
        return fish_squared_error(w->outputs[e], w->batch.value[e], NULL);
    return fish_cross_entropy(w->outputs + (size_t)e * n, n, w->batch.label[e], NULL);
}

static fmp_status check_labels(const job *j, const fish_batch *b, fmp_error *err)
{
    for (uint32_t e = 0; !j->o.regression && e < b->n; e++) {
        if (b->label[e] < 0 || (uint32_t)b->label[e] >= j->m->n_outputs)
            return fish_fail(err, FMP_EUSAGE, "example %u: label %d, but the model has %u outputs",
                             b->example[e], (int)b->label[e], j->m->n_outputs);
    }
    return FMP_OK;
}

static fmp_status forward_group(job *j, worker *w, uint64_t group, fmp_error *err)
{
    const uint64_t first = group * j->o.group;
    const uint64_t left = j->s->n_samples - first;
    const uint32_t n = left < j->o.group ? (uint32_t)left : j->o.group;
    const fish_pass pass = {.train = false};
    fmp_status st;

    w->holds_group = false;
    st = fish_batch_fill(w->buf, j->d, j->order + first, n, &w->batch, err);
    if (st)
        return st;
    st = check_labels(j, &w->batch, err);
    if (st)
        return st;
    st = fish_forward(j->m, w->work, &w->batch, &pass, w->outputs, err);
    if (st)
        return st;
    w->holds_group = true;
    w->group = group;
    return FMP_OK;
}

static fmp_status note_losses(job *j, const worker *w, fmp_error *err)
{
    double *losses = j->losses + w->group * j->o.group;

    for (uint32_t e = 0; e < w->batch.n; e++) {
        losses[e] = loss_of(j, w, e);
        if (!isfinite(losses[e]))
            return fish_fail(err, FMP_ECORRUPT, "example %u: its loss is not a finite number",
                             w->batch.example[e]);
    }
    return FMP_OK;
}

/* Calls come in order and one at a time, from whichever thread ended the item. */
static fmp_status tell_progress(job *j, const worker *w, uint32_t pass, fmp_error *err)
{
    const uint32_t gate = j->m->n_params;
    struct timespec now;
    fmp_status st;

    if (!j->o.progress)
        return FMP_OK;
    st = enter(&w->c, gate, err);
    if (st)
        return st;
    if (pass + 1 == j->n_passes) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        j->o.progress(j->o.ctx, w->group * j->o.group + w->batch.n, j->s->n_samples,
                      (double)(now.tv_sec - j->begin.tv_sec) +
                          (double)(now.tv_nsec - j->begin.tv_nsec) * 1e-9);
    }
    leave(&w->c, gate);
    return FMP_OK;
}

static fmp_status run_item(void *ctx, unsigned number, uint64_t item, fmp_error *err)
{
    job *j = ctx;
    worker *w = &j->workers[number];
    const uint64_t group = item / j->n_passes;
    const uint32_t pass = (uint32_t)(item % j->n_passes);
    fmp_status st;

    if (!w->holds_group || w->group != group) {
        st = forward_group(j, w, group, err);
        if (st)
            return st;
    }
    if (pass == 0) {
        st = note_losses(j, w, err);
        if (st)
            return st;
    }
    for (uint32_t e = 0; e < w->batch.n; e++) {
        if (j->o.regression)
            gradient_value(j, w, e);
        else
            gradient_classes(j, w, e, pass);
    }
    w->c.item = item;
    w->c.weight = j->o.estimator == FISH_EXPECTED && !j->o.regression ? w->weight : NULL;
    st = fish_backward(j->m, w->work, &w->batch, w->d_outputs, &w->c.sink, err);
    return st ? st : tell_progress(j, w, pass, err);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static fmp_status settle(const fish_model *m, const fish_data *d,
                         const fish_fisher_options *options, fish_fisher_options *o, fmp_error *err)
{
    const uint32_t count = fish_data_count(d);

    *o = (fish_fisher_options){.size = sizeof *o};
    if (options)
        memcpy(o, options, options->size < sizeof *o ? options->size : sizeof *o);
    if (o->n_samples == 0)
        o->n_samples = 1024;
    if (o->n_samples > count)
        o->n_samples = count;
    if (o->batch_size == 0)
        o->batch_size = 16;
    if (o->group == 0)
        o->group = fish_data_kind_of(d) == FISH_TEXT ? 4 : 8;
    if (o->estimator == FISH_BATCH_SQUARED)
        o->group = o->batch_size;
    if (o->group > o->n_samples)
        o->group = o->n_samples;
    if ((unsigned)o->estimator > FISH_SNIP)
        return fish_fail(err, FMP_EUSAGE, "Fisher: there is no estimator %d", (int)o->estimator);
    if (count == 0)
        return fish_fail(err, FMP_EUSAGE, "Fisher: the data have no examples");
    if (o->regression && m->n_outputs != 1)
        return fish_fail(err, FMP_EUSAGE, "Fisher: regression, but the model has %u outputs",
                         m->n_outputs);
    if (!o->regression && m->n_outputs < 2)
        return fish_fail(err, FMP_EUSAGE,
                         "Fisher: classification, but the model has one output; expected two or "
                         "more");
    return FMP_OK;
}

/* A plain shuffle, since a batch of one example gives windows nothing to sort: what is cut off is
 * a random part whatever the lengths. */
static fmp_status choose_examples(job *j, fmp_error *err)
{
    const uint32_t count = fish_data_count(j->d);

    j->order = fish_alloc(count, sizeof *j->order);
    j->losses = fish_calloc(j->o.n_samples, sizeof *j->losses);
    if (!j->order || !j->losses)
        return fish_fail(err, FMP_ENOMEM, "Fisher: out of memory for %u examples", count);
    return fish_epoch_order(j->d, NULL, count, j->o.seed, 0, 1, j->order, err);
}

static fmp_status new_scores(const fish_model *m, uint32_t n_samples, fish_scores **ret,
                             fmp_error *err)
{
    fish_scores *s = fish_calloc(1, sizeof *s);

    if (!s)
        goto fail;
    s->scores = fish_calloc(m->n_params, sizeof *s->scores);
    if (!s->scores)
        goto fail;
    s->n_params = m->n_params;
    s->n_samples = n_samples;
    for (uint32_t p = 0; p < m->n_params; p++) {
        if (m->params[p].role == FISH_BUFFER)
            continue;
        s->scores[p] = fish_calloc(m->params[p].n, sizeof **s->scores);
        if (!s->scores[p])
            goto fail;
    }
    *ret = s;
    return FMP_OK;

fail:
    fish_scores_free(s);
    return fish_fail(err, FMP_ENOMEM, "Fisher: out of memory for the scores");
}

static fmp_status hire(job *j, fmp_error *err)
{
    const size_t n_outputs = j->m->n_outputs;

    j->workers = fish_calloc(j->n_workers, sizeof *j->workers);
    if (!j->workers)
        return fish_fail(err, FMP_ENOMEM, "Fisher: out of memory");
    for (unsigned i = 0; i < j->n_workers; i++) {
        worker *w = &j->workers[i];

        w->c.sink = (fish_sink){.matrix = add_matrix, .table = add_table, .vector = add_vector};
        w->c.j = j;
        w->work = fish_work_new(j->m);
        w->buf = fish_batch_buf_new();
        w->outputs = fish_alloc(j->o.group * n_outputs, sizeof *w->outputs);
        w->d_outputs = fish_alloc(j->o.group * n_outputs, sizeof *w->d_outputs);
        w->p = fish_alloc(n_outputs, sizeof *w->p);
        w->weight = fish_alloc(j->o.group, sizeof *w->weight);
        if (!w->work || !w->buf || !w->outputs || !w->d_outputs || !w->p || !w->weight)
            return fish_fail(err, FMP_ENOMEM, "Fisher: out of memory");
    }
    return FMP_OK;
}

static void dismiss(job *j)
{
    for (unsigned i = 0; j->workers && i < j->n_workers; i++) {
        worker *w = &j->workers[i];

        fish_work_free(j->m, w->work);
        fish_batch_buf_free(w->buf);
        fish_free(w->outputs);
        fish_free(w->d_outputs);
        fish_free(w->p);
        fish_free(w->weight);
        fish_free(w->c.sum);
        fish_free(w->c.keys);
    }
    fish_free(j->workers);
    fish_turnstile_free(j->gates);
    fish_free(j->order);
    fish_free(j->losses);
}

/* The mean loss, and for SNIP |w * sum| (Lee et al. 2019, equation 5, not normalised). */
static void finish(const job *j)
{
    fish_scores *s = j->s;

    for (uint32_t i = 0; i < s->n_samples; i++)
        s->loss += j->losses[i] / s->n_samples;
    for (uint32_t p = 0; j->o.estimator == FISH_SNIP && p < s->n_params; p++) {
        const fish_param *param = &j->m->params[p];

        for (size_t i = 0; s->scores[p] && i < param->n; i++) {
            if (s->scores[p][i] != 0) /* what no example reached stays unbacked */
                s->scores[p][i] = fabs(param->w[i] * s->scores[p][i]);
        }
    }
}

fmp_status fish_fisher(const fish_model *m, const fish_data *d, fish_pool *pool,
                       const fish_fisher_options *options, fish_scores **ret, fmp_error *err)
{
    job j = {.m = m, .d = d, .n_workers = fish_pool_threads(pool), .n_passes = 1};
    uint64_t n_groups;
    fmp_status st = fish_model_takes(m, d, err);

    if (!st)
        st = settle(m, d, options, &j.o, err);
    if (st)
        return st;
    clock_gettime(CLOCK_MONOTONIC, &j.begin);
    j.labels = fish_key_make(j.o.seed, FISH_STREAM_LABEL);
    if (j.o.estimator == FISH_EXPECTED && !j.o.regression)
        j.n_passes = m->n_outputs;
    n_groups = (j.o.n_samples + (uint64_t)j.o.group - 1) / j.o.group;
    st = choose_examples(&j, err);
    if (st)
        goto out;
    st = fish_turnstile_new(pool, m->n_params + 1, &j.gates, err);
    if (st)
        goto out;
    st = hire(&j, err);
    if (st)
        goto out;
    st = new_scores(m, j.o.n_samples, &j.s, err);
    if (st)
        goto out;
    st = fish_pool_run(pool, n_groups * j.n_passes, run_item, &j, err);
    if (st)
        goto out;
    finish(&j);
    *ret = j.s;
    j.s = NULL;
out:
    dismiss(&j);
    fish_scores_free(j.s);
    return st;
}

void fish_scores_free(fish_scores *s)
{
    if (!s)
        return;
    for (uint32_t p = 0; p < s->n_params; p++)
        fish_free(s->scores[p]);
    fish_free(s->scores);
    fish_free(s);
}
