/*
 * The loop of masked training: steps, evaluations, early stopping, refreshes, checkpoints, and what
 * the result is in the end.
 */
#include <assert.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "core/fail.h"
#include "core/mem.h"
#include "train/run.h"

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static fmp_status no_memory(fmp_error *err)
{
    return fish_fail(err, FMP_ENOMEM, "training: out of memory");
}

/* What only the loop needs; the rest stays for fish_run_save(). */
static void release_work(fish_run *run)
{
    fish_state *s = &run->state;

    fish_workers_free(run);
    for (uint32_t p = 0; run->dense_v && p < run->model->n_params; p++)
        fish_free(run->dense_v[p]);
    fish_free(run->dense_v);
    fish_free(run->g);
    fish_free(run->tracked_g);
    fish_free(run->chunks);
    fish_free(run->order);
    fish_free(run->losses);
    fish_free(run->outputs);
    fish_free(s->master);
    fish_free(s->m);
    fish_free(s->v);
    fish_free(s->ema);
    fish_free(s->best);
    fish_free(s->base);
    fish_free(s->best_buffers);
    fish_free(s->gen);
    run->dense_v = NULL;
    run->g = run->tracked_g = run->outputs = NULL;
    run->chunks = NULL;
    run->order = NULL;
    run->losses = NULL;
    s->master = s->m = s->v = s->ema = s->best = s->base = s->best_buffers = NULL;
    s->gen = NULL;
}

void fish_run_free(fish_run *run)
{
    if (!run)
        return;
    release_work(run);
    fish_state_release(&run->state);
    fish_selection_release(&run->selected);
    fish_selection_mask_free(run->mask);
    fish_free(run);
}

bool fish_run_finished(const fish_run *run)
{
    return run->finished;
}

uint32_t fish_run_steps(const fish_run *run)
{
    return run->state.step;
}

const fish_mask *fish_run_mask(const fish_run *run)
{
    return run->mask;
}

/* ---- setting up -------------------------------------------------------------------------------
 */

/* Like transformers' Trainer: the last batch of an epoch may be short, steps are rounded up. */
static fmp_status count_steps(fish_run *run, fmp_error *err)
{
    const uint32_t count = fish_data_count(run->train);
    double steps;

    if (!count)
        return fish_fail(err, FMP_EUSAGE, "training: there are no examples");
    run->batch = run->o.batch_size * run->o.accumulate;
    if (run->batch > count)
        run->batch = count;
    run->steps_per_epoch = (uint32_t)(((uint64_t)count + run->batch - 1) / run->batch);
    steps = run->o.steps ? run->o.steps : ceil(run->o.epochs * run->steps_per_epoch);
    if (!(steps <= UINT32_MAX - 1))
        return fish_fail(err, FMP_EUSAGE, "training: %g steps are too many", steps);
    run->n_steps = (uint32_t)steps;
    return FMP_OK;
}

static fmp_status check_fit(const fish_run *run, const fish_data *d, fmp_error *err)
{
    const uint32_t n = run->o.regression ? 1 : fish_data_n_classes(d);

    if (n > run->model->n_outputs || (run->o.regression && run->model->n_outputs != 1))
        return fish_fail(err, FMP_EUSAGE, "training: the data has %u classes, the model %u outputs",
                         n, run->model->n_outputs);
    return FMP_OK;
}

static fmp_status dense_momentum(fish_run *run, fmp_error *err)
{
    run->dense_v = fish_calloc(run->model->n_params, sizeof *run->dense_v);
    for (uint32_t p = 0; run->dense_v && p < run->model->n_params; p++) {
        run->dense_v[p] = fish_calloc(run->model->params[p].n, sizeof *run->dense_v[p]);
        if (!run->dense_v[p])
            return no_memory(err);
    }
    return run->dense_v ? FMP_OK : no_memory(err);
}

/* Weight decay below half a unit in the last place of bf16 would be rounded away. */
static fmp_status check_leak(const fish_run *run, fmp_error *err)
{
    for (uint32_t p = 0; p < run->model->n_params; p++) {
        if (strcmp(run->model->params[p].dtype, "F32"))
            return fish_fail(err, FMP_EUSAGE,
                             "training: the reference leak is for F32, tensor \"%s\" is %s",
                             run->model->params[p].name, run->model->params[p].dtype);
    }
    return FMP_OK;
}

static fmp_status make_buffers(fish_run *run, fmp_error *err)
{
    const size_t n_valid = run->valid ? fish_data_count(run->valid) : 0;

    run->order = fish_alloc(fish_data_count(run->train), sizeof *run->order);
    run->order_epoch = UINT32_MAX;
    run->losses = fish_alloc(run->batch, sizeof *run->losses);
    run->outputs = fish_alloc(n_valid * run->model->n_outputs, sizeof *run->outputs);
    if (!run->order || !run->losses || !run->outputs)
        return no_memory(err);
    if (run->o.reference_leak && run->o.optimizer == FISH_SGD)
        return dense_momentum(run, err);
    return FMP_OK;
}

/* Binds the mask; with a checkpoint, takes the digests that it is held against. */
static fmp_status bind(fish_run *run, const fish_mask *mask, fmp_error *err)
{
    fish_selection *tracked = &run->state.tracked;
    fmp_status st = fish_selection_bind(run->model, mask, tracked, err);

    if (st)
        return st;
    if (!tracked->n)
        return fish_fail(err, FMP_EUSAGE, "training: the mask selects nothing");
    if (run->o.refresh_epochs)
        st = fish_selection_copy(tracked, &run->selected, err);
    if (!st && run->o.checkpoint)
        st = fish_selection_digest(tracked, run->model, run->mask_digest, err);
    if (!st && run->o.checkpoint)
        st = fish_model_digest(run->model, run->model_digest, err);
    if (!st && run->o.checkpoint)
        st = fish_view_digest(run->train, run->train_view, err);
    if (!st && run->o.checkpoint && run->valid)
        st = fish_view_digest(run->valid, run->valid_view, err);
    return st;
}

static fmp_status set_up(fish_run *run, const fish_mask *mask, fmp_error *err)
{
    fmp_status st = count_steps(run, err);

    if (!st)
        st = check_fit(run, run->train, err);
    if (!st && run->valid)
        st = check_fit(run, run->valid, err);
    if (!st && run->o.reference_leak)
        st = check_leak(run, err);
    if (!st && run->o.batch_norm && !run->model->driver->fold)
        st = fish_fail(err, FMP_EUSAGE, "training: the model has no batch normalisation");
    if (!st)
        st = bind(run, mask, err);
    if (!st)
        st = fish_state_init(run, err);
    if (!st)
        st = fish_run_cut(run, err);
    if (!st)
        st = make_buffers(run, err);
    return st ? st : fish_workers_new(run, err);
}

/* ---- evaluation -------------------------------------------------------------------------------
 */

static fmp_status measure(fish_run *run, fish_metrics *ret, fmp_error *err)
{
    const fmp_status st = fish_predict(run->model, run->valid, run->pool, run->outputs, err);

    return st ? st
              : fish_metrics_of(run->outputs, run->model->n_outputs, run->valid, run->o.regression,
                                ret, NULL, err);
}

/* Keeps the best weights.  Once updates have their last number of bits, only such weights count. */
static void judge(fish_run *run, const fish_metrics *metrics)
{
    fish_state *s = &run->state;
    const double metric = fish_metric_main(metrics, run->o.regression);
    const bool rounded = fish_run_bits(run) == run->o.value_bits;
    const bool first = !s->has_best || (rounded && !s->best_rounded);

    if (first || metric > s->best_metric) {
        fish_read_weights(run, s->best);
        if (s->best_buffers)
            fish_read_buffers(run, s->best_buffers);
        s->best_metric = metric;
        s->best_rounded = rounded;
        s->has_best = true;
        s->n_worse = 0;
        return;
    }
    s->stopped = ++s->n_worse >= run->o.patience;
}

static fmp_status evaluate(fish_run *run, fish_step_report *r, fmp_error *err)
{
    fish_metrics metrics = {.n = 0};
    fmp_status st;

    if (run->state.ema)
        fish_write_weights(run, run->state.ema, fish_run_bits(run));
    st = measure(run, &metrics, err);
    if (!st && run->o.patience)
        judge(run, &metrics);
    if (run->state.ema)
        fish_write_weights(run, run->state.master, fish_run_bits(run));
    if (!st && run->o.report) {
        r->valid = &metrics;
        run->o.report(run->o.ctx, r);
        r->valid = NULL;
    }
    return st;
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

/* Every `every` steps, or at the end of epochs; and at the end. */
static bool is_due(const fish_run *run, uint32_t every)
{
    const uint32_t step = run->state.step;

    return step % (every ? every : run->steps_per_epoch) == 0 || step == run->n_steps;
}

static bool refresh_due(const fish_run *run)
{
    const uint32_t step = run->state.step;
    const uint32_t every = run->o.refresh_epochs;

    return every && step && step % run->steps_per_epoch == 0 &&
           step / run->steps_per_epoch % every == 0;
}

static bool is_over(const fish_run *run)
{
    return run->state.stopped || run->state.step >= run->n_steps;
}

static fmp_status one_step(fish_run *run, fish_step_report *r, double begin, fmp_error *err)
{
    fmp_status st = refresh_due(run) ? fish_refresh(run, err) : FMP_OK;

    if (!st)
        st = fish_train_step(run, r, err);
    if (st)
        return st;
    r->step = run->state.step;
    r->n_steps = run->n_steps;
    r->epoch = (double)run->state.step / run->steps_per_epoch;
    r->seconds = now() - begin;
    if (run->o.report)
        run->o.report(run->o.ctx, r);
    if (run->valid && is_due(run, run->o.eval_every))
        st = evaluate(run, r, err);
    return st;
}

static fmp_status loop(fish_run *run, fmp_error *err)
{
    const double begin = now();
    fish_step_report r = {.step = 0};
    uint32_t n = 0;

    while (!is_over(run)) {
        const bool last = run->o.stop_after && n + 1 >= run->o.stop_after;
        fmp_status st = one_step(run, &r, begin, err);

        if (st)
            return st;
        n++;
        if (run->o.checkpoint && (last || is_over(run) || is_due(run, run->o.checkpoint_every)))
            st = fish_checkpoint_save(run, err);
        if (st || last)
            return st;
    }
    return FMP_OK;
}

/* The result: the best weights with early stopping, else the average if there is one, else the
 * last; with value_bits always rounded. */
static void settle(fish_run *run)
{
    const fish_state *s = &run->state;
    const unsigned n_bits = run->o.value_bits;

    if (run->o.reference_leak)
        return; /* the weights are where they belong */
    if (s->has_best)
        fish_write_weights(run, s->best, s->best_rounded ? 0 : n_bits);
    else
        fish_write_weights(run, s->ema ? s->ema : s->master, n_bits);
    if (s->has_best && s->best_buffers)
        fish_write_buffers(run, s->best_buffers);
}

static fmp_status check_finite(const fish_run *run, fmp_error *err)
{
    for (uint32_t p = 0; p < run->model->n_params; p++) {
        const fish_chosen *c = &run->state.tracked.of[p];

        for (size_t j = 0; j < c->n; j++) {
            const size_t i = fish_chosen_at(c, j);

            if (!isfinite(run->model->params[p].w[i]))
                return fish_fail(err, FMP_EUSAGE,
                                 "training: tensor \"%s\", element %zu has become %g: a lower "
                                 "learning rate may help",
                                 run->model->params[p].name, i, run->model->params[p].w[i]);
        }
    }
    return FMP_OK;
}

fmp_status fish_train(fish_model *m, const fish_data *train, const fish_data *valid,
                      const fish_mask *mask, fish_pool *pool, const fish_train_options *options,
                      fish_run **ret, fmp_error *err)
{
    fish_run *run = fish_calloc(1, sizeof *run);
    bool resumed = false;
    fmp_status st;

    if (!run)
        return no_memory(err);
    run->model = m;
    run->train = train;
    run->valid = valid;
    run->pool = pool;
    run->has_mask = mask != NULL;
    st = fish_train_defaults(options, mask != NULL, valid != NULL, &run->o, err);
    if (!st)
        st = set_up(run, mask, err);
    if (!st && run->o.checkpoint)
        st = fish_checkpoint_load(run, &resumed, err);
    if (!st)
        st = loop(run, err);
    run->finished = !st && is_over(run);
    if (run->finished) {
        settle(run);
        st = check_finite(run, err);
    }
    if (!st && run->has_mask)
        st = fish_selection_mask(fish_run_selected(run), m, &run->mask, err);
    release_work(run);
    if (st) {
        fish_run_free(run);
        return st;
    }
    *ret = run;
    return FMP_OK;
}
