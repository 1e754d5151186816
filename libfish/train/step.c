/*
 * One step: groups of examples go forward and backward side by side, their gradients add up in the
 * order of groups, the optimizer moves the tracked elements, and those go into the model.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "train/loss.h"
#include "train/rounding.h"
#include "train/run.h"
#include "train/sinks.h"

#define SIDE_BY_SIDE ((size_t)256 * 1024) /* elements from which on threads help the optimizer */

typedef struct fish_worker {
    fish_work *work;
    fish_batch_buf *buf;
    float *outputs;   /* [group][n_outputs] */
    float *d_outputs; /* likewise */
    fish_gather_sink sink;
} worker;

/* What the groups of a step share. */
typedef struct job {
    fish_run *run;
    fish_gather gather;
    const uint32_t *examples; /* [n] */
    uint32_t n;
    unsigned n_bits; /* of updates after this step */
    fish_step step;
} job;

fmp_status fish_workers_new(fish_run *run, fmp_error *err)
{
    const size_t n = (size_t)run->o.group * run->model->n_outputs;

    run->n_workers = fish_pool_threads(run->pool);
    run->workers = fish_calloc(run->n_workers, sizeof *run->workers);
    for (unsigned i = 0; run->workers && i < run->n_workers; i++) {
        worker *w = &run->workers[i];

        w->work = fish_work_new(run->model);
        w->buf = fish_batch_buf_new();
        w->outputs = fish_alloc(n, sizeof *w->outputs);
        w->d_outputs = fish_alloc(n, sizeof *w->d_outputs);
        if (!w->work || !w->buf || !w->outputs || !w->d_outputs)
            return fish_fail(err, FMP_ENOMEM, "training: out of memory");
    }
    if (!run->workers)
        return fish_fail(err, FMP_ENOMEM, "training: out of memory");
    return fish_turnstile_new(run->pool, run->model->n_params + 1, &run->gates, err);
}

void fish_workers_free(fish_run *run)
{
    for (unsigned i = 0; run->workers && i < run->n_workers; i++) {
        worker *w = &run->workers[i];

        fish_work_free(run->model, w->work);
        fish_batch_buf_free(w->buf);
        fish_free(w->outputs);
        fish_free(w->d_outputs);
        fish_gather_sink_release(&w->sink);
    }
    fish_free(run->workers);
    run->workers = NULL;
    fish_turnstile_free(run->gates);
    run->gates = NULL;
}

/* ---- gradient ---------------------------------------------------------------------------------
 */

/*
 * Cross-entropy against (1 - e) onehot + e / C (Szegedy et al. 2016, section 7): as the mean of
 * -log p_c over classes is the loss of the label + logit of the label - mean logit, the smoothed
 * loss is loss + e (logit of the label - mean logit).
 */
static double smooth(const float *logits, uint32_t n, int32_t label, double e, float *d)
{
    double loss = fish_cross_entropy(logits, n, label, d);
    double mean = 0;

    if (e <= 0)
        return loss;
    for (uint32_t c = 0; c < n; c++) {
        mean += logits[c];
        d[c] = (float)(d[c] - e / n);
    }
    d[label] = (float)(d[label] + e);
    return loss + e * (logits[label] - mean / n);
}

/* The loss of each example, and the gradient of the step's mean loss in the outputs. */
static void lose(const job *j, const fish_batch *b, const float *outputs, float *d, double *losses)
{
    const fish_train_options *o = &j->run->o;
    const uint32_t n = j->run->model->n_outputs;
    const float share = 1.0f / (float)j->n;

    for (uint32_t e = 0; e < b->n; e++) {
        float *de = d + (size_t)e * n;
        const float *out = outputs + (size_t)e * n;

        losses[e] = o->regression ? fish_squared_error(out[0], b->value[e], de)
                                  : smooth(out, n, b->label[e], o->label_smoothing, de);
        for (uint32_t c = 0; c < n; c++)
            de[c] *= share;
    }
}

static fmp_status group(void *ctx, unsigned number, uint64_t item, fmp_error *err)
{
    job *j = ctx;
    fish_run *run = j->run;
    worker *w = &run->workers[number];
    const uint32_t first = (uint32_t)item * run->o.group;
    const uint32_t n = j->n - first < run->o.group ? j->n - first : run->o.group;
    const fish_pass pass = {.train = !run->o.no_dropout || run->o.batch_norm,
                            .batch_norm = run->o.batch_norm,
                            .dropout = fish_key_make(run->o.seed, FISH_STREAM_DROPOUT),
                            .step = run->state.step};
    const uint32_t last_gate = run->model->n_params;
    fish_batch b;
    fmp_status st = fish_batch_fill(w->buf, run->train, j->examples + first, n, &b, err);

    if (st)
        return st;
    st = fish_forward(run->model, w->work, &b, &pass, w->outputs, err);
    if (st)
        return st;
    lose(j, &b, w->outputs, w->d_outputs, run->losses + first);
    w->sink.shared = &j->gather;
    w->sink.item = item;
    st = fish_backward(run->model, w->work, &b, w->d_outputs, &w->sink.sink, err);
    if (st || !run->o.batch_norm)
        return st;
    if (!fish_turnstile_enter(run->gates, last_gate, item))
        return fish_fail(err, FMP_ECANCELED, "training: another group has failed");
    fish_model_fold_statistics(run->model, w->work);
    fish_turnstile_leave(run->gates, last_gate, item);
    return FMP_OK;
}

static fmp_status gradient(job *j, double *ret_loss, fmp_error *err)
{
    fish_run *run = j->run;
    const uint64_t n_groups = (j->n + (uint64_t)run->o.group - 1) / run->o.group;
    double sum = 0;
    fmp_status st;

    for (unsigned i = 0; i < run->n_workers; i++) {
        if (!run->workers[i].sink.sink.matrix)
            fish_gather_sink_init(&run->workers[i].sink, &j->gather);
    }
    memset(run->g, 0, j->gather.s->n * sizeof *run->g);
    fish_turnstile_reset(run->gates);
    st = fish_pool_run(run->pool, n_groups, group, j, err);
    if (st)
        return st;
    for (uint32_t e = 0; e < j->n; e++)
        sum += run->losses[e];
    *ret_loss = sum / j->n;
    return FMP_OK;
}

/* ---- update -----------------------------------------------------------------------------------
 */

/* The gradient over the tracked elements: 0 where they are not selected. */
static void spread_gradient(fish_run *run)
{
    const fish_selection *t = &run->state.tracked;
    const fish_selection *s = fish_run_selected(run);

    if (s == t)
        return;
    for (uint32_t p = 0; p < t->n_params; p++) {
        const fish_chosen *from = &s->of[p];
        const fish_chosen *to = &t->of[p];
        size_t i = 0;

        for (size_t j = 0; j < to->n; j++) {
            const bool selected = i < from->n && fish_chosen_at(from, i) == fish_chosen_at(to, j);

            run->tracked_g[to->at + j] = selected ? run->g[from->at + i++] : 0;
        }
    }
}

/* transformers' Trainer leaves biases and norms, which are the parameters of rank 1, without decay;
 * the authors' code does not. */
static double decay_of(const fish_run *run, uint32_t param)
{
    const bool exempt = run->model->params[param].rank == 1 && !run->o.reference_leak;

    return exempt ? 0 : run->o.weight_decay;
}

static fmp_status update_chunk(void *ctx, unsigned number, uint64_t item, fmp_error *err)
{
    job *j = ctx;
    fish_run *run = j->run;
    fish_state *s = &run->state;
    const fish_chunk *c = &run->chunks[item];
    const size_t at = s->tracked.of[c->param].at + c->begin;
    const size_t n = c->end - c->begin;
    const float *g = run->o.refresh_epochs ? run->tracked_g : run->g;
    fish_step step = j->step;

    (void)number;
    (void)err;
    step.decay = decay_of(run, c->param);
    if (s->gen) {
        step.gen = s->gen + at;
        step.born = s->born;
    }
    if (run->o.optimizer == FISH_ADAMW)
        fish_adamw_step(s->master + at, s->m + at, s->v + at, g + at, n, &step);
    else
        fish_sgd_step(s->master + at, s->m + at, g + at, n, &step);
    if (s->ema)
        fish_ema_step(s->ema + at, s->master + at, n, fish_ema_decay(run->o.ema, s->step + 1));
    fish_write_chunk(run, c, s->master, j->n_bits);
    return FMP_OK;
}

/*
 * The authors' SGD, over every element of a parameter (see fish_sgd_leak_step()).  The masters
 * follow the weights.
 */
static fmp_status leak_sgd(job *j, uint32_t param, fmp_error *err)
{
    fish_run *run = j->run;
    const fish_param *p = &run->model->params[param];
    const fish_chosen *c = &run->state.tracked.of[param];
    const float *g = run->o.refresh_epochs ? run->tracked_g : run->g;
    float *whole = fish_calloc(p->n, sizeof *whole);
    fish_step step = j->step;

    if (!whole)
        return fish_fail(err, FMP_ENOMEM, "tensor \"%s\": out of memory", p->name);
    for (size_t i = 0; i < c->n; i++)
        whole[fish_chosen_at(c, i)] = g[c->at + i];
    step.decay = decay_of(run, param);
    fish_sgd_leak_step(p->w, run->dense_v[param], whole, p->n, &step);
    for (size_t i = 0; i < c->n; i++)
        run->state.master[c->at + i] = p->w[fish_chosen_at(c, i)];
    fish_free(whole);
    return FMP_OK;
}

static fmp_status leak(job *j, fmp_error *err)
{
    fish_run *run = j->run;

    for (uint32_t i = 0; i < run->model->n_params; i++) {
        const fish_param *p = &run->model->params[i];

        if (p->role == FISH_BUFFER)
            continue;
        if (run->o.optimizer == FISH_SGD) {
            fmp_status st = leak_sgd(j, i, err);

            if (st)
                return st;
        } else {
            /* The selected elements are overwritten from their masters right after. */
            fish_scale(p->w, p->n, (float)(1.0 - j->step.lr * run->o.weight_decay));
        }
    }
    return FMP_OK;
}

static fmp_status update(job *j, fmp_error *err)
{
    fish_run *run = j->run;
    fmp_status st = FMP_OK;

    spread_gradient(run);
    if (run->o.reference_leak)
        st = leak(j, err);
    if (st || (run->o.reference_leak && run->o.optimizer == FISH_SGD))
        return st;
    if (run->state.tracked.n >= SIDE_BY_SIDE)
        return fish_pool_run(run->pool, run->n_chunks, update_chunk, j, err);
    for (uint32_t i = 0; i < run->n_chunks; i++)
        (void)update_chunk(j, 0, i, err);
    return FMP_OK;
}

/* ---- the step ---------------------------------------------------------------------------------
 */

static fmp_status find_examples(fish_run *run, job *j, fmp_error *err)
{
    const uint32_t count = fish_data_count(run->train);
    const uint32_t epoch = run->state.step / run->steps_per_epoch;
    const uint32_t first = run->state.step % run->steps_per_epoch * run->batch;
    fmp_status st = FMP_OK;

    if (epoch != run->order_epoch) {
        st = fish_epoch_order(run->train, NULL, count, run->o.seed, epoch, run->o.batch_size,
                              run->order, err);
        run->order_epoch = st ? UINT32_MAX : epoch;
    }
    j->examples = run->order + first;
    j->n = count - first < run->batch ? count - first : run->batch;
    return st;
}

/*
 * The sum of squares of the gradient, in 16 partial sums by the element's number in its parameter:
 * the zeros that a dense gradient would have in between change nothing.
 */
static double sum_squares(const fish_selection *s, const float *g)
{
    double sum = 0;

    for (uint32_t p = 0; p < s->n_params; p++) {
        const fish_chosen *c = &s->of[p];
        double lanes[FISH_LANES] = {0};
        double part = 0;

        for (size_t j = 0; c->idx && j < c->n; j++)
            lanes[c->idx[j] % FISH_LANES] += (double)g[c->at + j] * (double)g[c->at + j];
        for (unsigned l = 0; l < FISH_LANES; l++)
            part += lanes[l];
        sum += c->idx ? part : fish_sum_squares(g + c->at, c->n);
    }
    return sum;
}

fmp_status fish_train_step(fish_run *run, fish_step_report *r, fmp_error *err)
{
    const fish_train_options *o = &run->o;
    const uint64_t done = run->state.step;
    const double lr = o->lr * fish_schedule_factor(o->schedule, done, o->warmup, run->n_steps);
    job j = {.run = run,
             .gather = {.m = run->model,
                        .s = fish_run_selected(run),
                        .g = run->g,
                        .gates = run->gates,
                        .dense = o->dense_gradient},
             .n_bits = o->value_bits ? fish_value_bits_at(o->value_bits, o->value_phase, done + 1,
                                                          run->n_steps)
                                     : 0,
             .step = {.lr = lr,
                      .beta1 = o->beta1,
                      .beta2 = o->beta2,
                      .eps = o->eps,
                      .momentum = o->momentum,
                      .nesterov = o->nesterov,
                      .step = done + 1}};
    fmp_status st = find_examples(run, &j, err);
    float factor;

    if (!st)
        st = gradient(&j, &r->loss, err);
    if (st)
        return st;
    r->lr = lr;
    r->grad_norm = sqrt(sum_squares(j.gather.s, run->g));
    if (!isfinite(r->loss) || !isfinite(r->grad_norm))
        return fish_fail(err, FMP_EUSAGE,
                         "training: loss %g, gradient norm %g in step %llu: a lower learning rate "
                         "may help",
                         r->loss, r->grad_norm, (unsigned long long)done + 1);
    factor = fish_clip_factor(r->grad_norm, o->clip);
    if (factor < 1)
        fish_scale(run->g, j.gather.s->n, factor);
    st = update(&j, err);
    if (st)
        return st;
    run->state.step++;
    r->n_examples += j.n;
    for (uint32_t e = 0; e < j.n; e++)
        r->n_tokens += fish_data_length(run->train, j.examples[e]);
    return FMP_OK;
}
