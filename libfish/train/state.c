/*
 * The vectors of a run, and the way from them into the model's weights and back.
 */
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "model/params.h"
#include "train/rounding.h"
#include "train/run.h"

#define CHUNK ((size_t)32 * 1024)

static fmp_status no_memory(const fish_run *run, fmp_error *err)
{
    return fish_fail(err, FMP_ENOMEM, "training: out of memory for %zu elements",
                     run->state.tracked.n);
}

void fish_state_release(fish_state *s)
{
    fish_selection_release(&s->tracked);
    fish_free(s->master);
    fish_free(s->m);
    fish_free(s->v);
    fish_free(s->ema);
    fish_free(s->best);
    fish_free(s->base);
    fish_free(s->best_buffers);
    fish_free(s->gen);
    s->master = s->m = s->v = s->ema = s->best = s->base = s->best_buffers = NULL;
    s->gen = NULL;
}

void fish_read_weights(const fish_run *run, float *to)
{
    for (uint32_t p = 0; p < run->model->n_params; p++) {
        const fish_chosen *c = &run->state.tracked.of[p];
        const float *w = run->model->params[p].w;

        for (size_t j = 0; j < c->n; j++)
            to[c->at + j] = w[fish_chosen_at(c, j)];
    }
}

size_t fish_count_buffers(const fish_run *run)
{
    size_t n = 0;

    for (uint32_t p = 0; p < run->model->n_params; p++)
        n += run->model->params[p].role == FISH_BUFFER ? run->model->params[p].n : 0;
    return n;
}

void fish_read_buffers(const fish_run *run, float *to)
{
    for (uint32_t p = 0; p < run->model->n_params; p++) {
        const fish_param *param = &run->model->params[p];

        if (param->role != FISH_BUFFER)
            continue;
        memcpy(to, param->w, param->n * sizeof *to);
        to += param->n;
    }
}

void fish_write_buffers(const fish_run *run, const float *from)
{
    for (uint32_t p = 0; p < run->model->n_params; p++) {
        const fish_param *param = &run->model->params[p];

        if (param->role != FISH_BUFFER)
            continue;
        memcpy(param->w, from, param->n * sizeof *from);
        from += param->n;
    }
}

/* A vector that starts with the model's weights, or NULL. */
static float *weights_now(const fish_run *run)
{
    float *x = fish_alloc(run->state.tracked.n, sizeof *x);

    if (x)
        fish_read_weights(run, x);
    return x;
}

static float *buffers_now(const fish_run *run)
{
    float *x = fish_alloc(fish_count_buffers(run), sizeof *x);

    if (x)
        fish_read_buffers(run, x);
    return x;
}

fmp_status fish_state_init(fish_run *run, fmp_error *err)
{
    fish_state *s = &run->state;
    const fish_train_options *o = &run->o;
    const size_t n = s->tracked.n;
    const bool adamw = o->optimizer == FISH_ADAMW;
    const bool dense = !adamw && o->reference_leak;
    const bool buffers = o->patience && o->batch_norm;

    s->master = weights_now(run);
    s->m = dense ? NULL : fish_calloc(n, sizeof *s->m);
    s->v = adamw ? fish_calloc(n, sizeof *s->v) : NULL;
    s->ema = o->ema > 0 ? weights_now(run) : NULL;
    s->best = o->patience ? weights_now(run) : NULL;
    s->base = o->value_bits ? weights_now(run) : NULL;
    s->best_buffers = buffers ? buffers_now(run) : NULL;
    s->gen = o->refresh_epochs ? fish_calloc(n, sizeof *s->gen) : NULL;
    s->n_born = 1;
    s->born[0] = 0;
    if (!s->master || (!dense && !s->m) || (adamw && !s->v) || (o->ema > 0 && !s->ema) ||
        (o->patience && !s->best) || (o->value_bits && !s->base) || (buffers && !s->best_buffers) ||
        (o->refresh_epochs && !s->gen))
        return no_memory(run, err);
    return FMP_OK;
}

/* ---- tracking more ----------------------------------------------------------------------------
 */

/* A vector over `from` laid out for `to`, a superset; what is new gets `fill`'s value, or 0. */
static float *spread(const fish_selection *from, const float *old, const fish_selection *to,
                     const float *fill)
{
    float *x = fish_alloc(to->n, sizeof *x);

    for (uint32_t p = 0; x && p < to->n_params; p++) {
        const fish_chosen *a = &from->of[p];
        const fish_chosen *b = &to->of[p];
        size_t i = 0;

        for (size_t j = 0; j < b->n; j++) {
            if (i < a->n && fish_chosen_at(a, i) == fish_chosen_at(b, j))
                x[b->at + j] = old[a->at + i++];
            else
                x[b->at + j] = fill ? fill[b->at + j] : 0;
        }
    }
    return x;
}

static uint16_t *spread_gen(const fish_selection *from, const uint16_t *old,
                            const fish_selection *to)
{
    uint16_t *x = fish_alloc(to->n, sizeof *x);

    for (uint32_t p = 0; x && p < to->n_params; p++) {
        const fish_chosen *a = &from->of[p];
        const fish_chosen *b = &to->of[p];
        size_t i = 0;

        for (size_t j = 0; j < b->n; j++) {
            const bool same = i < a->n && fish_chosen_at(a, i) == fish_chosen_at(b, j);

            x[b->at + j] = same ? old[a->at + i++] : FISH_FROZEN;
        }
    }
    return x;
}

fmp_status fish_state_track(fish_run *run, const fish_selection *more, fmp_error *err)
{
    const fish_state *old = &run->state;
    fish_state s = *old;
    float *now = NULL;
    fmp_status st;

    s.tracked = (fish_selection){.n_params = 0};
    s.master = s.m = s.v = s.ema = s.best = s.base = s.best_buffers = NULL;
    s.gen = NULL;
    st = fish_selection_union(run->model, &old->tracked, more, &s.tracked, err);
    if (st)
        return st;
    now = fish_alloc(s.tracked.n, sizeof *now);
    if (!now)
        goto fail;
    for (uint32_t p = 0; p < s.tracked.n_params; p++) {
        for (size_t j = 0; j < s.tracked.of[p].n; j++)
            now[s.tracked.of[p].at + j] =
                run->model->params[p].w[fish_chosen_at(&s.tracked.of[p], j)];
    }
    s.master = spread(&old->tracked, old->master, &s.tracked, now);
    s.m = old->m ? spread(&old->tracked, old->m, &s.tracked, NULL) : NULL;
    s.v = old->v ? spread(&old->tracked, old->v, &s.tracked, NULL) : NULL;
    s.ema = old->ema ? spread(&old->tracked, old->ema, &s.tracked, now) : NULL;
    s.best = old->best ? spread(&old->tracked, old->best, &s.tracked, now) : NULL;
    s.base = old->base ? spread(&old->tracked, old->base, &s.tracked, now) : NULL;
    s.gen = spread_gen(&old->tracked, old->gen, &s.tracked);
    if (!s.master || (old->m && !s.m) || (old->v && !s.v) || (old->ema && !s.ema) ||
        (old->best && !s.best) || (old->base && !s.base) || !s.gen)
        goto fail;
    fish_free(now);
    s.best_buffers = old->best_buffers;
    run->state.best_buffers = NULL;
    fish_state_release(&run->state);
    run->state = s;
    return FMP_OK;

fail:
    fish_free(now);
    fish_state_release(&s);
    return no_memory(run, err);
}

/* ---- chunks -----------------------------------------------------------------------------------
 */

fmp_status fish_run_cut(fish_run *run, fmp_error *err)
{
    const fish_selection *t = &run->state.tracked;
    size_t n = 0;

    fish_free(run->chunks);
    fish_free(run->g);
    fish_free(run->tracked_g);
    run->tracked_g = NULL;
    for (uint32_t p = 0; p < t->n_params; p++)
        n += (t->of[p].n + CHUNK - 1) / CHUNK;
    run->chunks = fish_alloc(n, sizeof *run->chunks);
    run->g = fish_alloc(fish_run_selected(run)->n, sizeof *run->g);
    if (run->o.refresh_epochs)
        run->tracked_g = fish_alloc(t->n, sizeof *run->tracked_g);
    if (!run->chunks || !run->g || (run->o.refresh_epochs && !run->tracked_g))
        return no_memory(run, err);
    run->n_chunks = 0;
    for (uint32_t p = 0; p < t->n_params; p++) {
        for (size_t at = 0; at < t->of[p].n; at += CHUNK)
            run->chunks[run->n_chunks++] = (fish_chunk){
                .param = p,
                .begin = at,
                .end = t->of[p].n - at < CHUNK ? t->of[p].n : at + CHUNK,
            };
    }
    return FMP_OK;
}

unsigned fish_run_bits(const fish_run *run)
{
    const fish_train_options *o = &run->o;

    return o->value_bits
               ? fish_value_bits_at(o->value_bits, o->value_phase, run->state.step, run->n_steps)
               : 0;
}

static float in_dtype(const char *dtype, float value)
{
    uint16_t half;

    fish_narrow(dtype, &value, &half, 1);
    fish_widen(dtype, &half, &value, 1);
    return value;
}

void fish_write_chunk(const fish_run *run, const fish_chunk *c, const float *from, unsigned n_bits)
{
    const fish_param *p = &run->model->params[c->param];
    const fish_chosen *e = &run->state.tracked.of[c->param];
    const float *base = run->state.base;
    const bool narrow = fish_dtype_size(p->dtype) != sizeof(float);

    if (p->added)
        n_bits = 0;
    if (!narrow && !n_bits && !e->idx) {
        memcpy(p->w + c->begin, from + e->at + c->begin, (c->end - c->begin) * sizeof *from);
        return;
    }
    for (size_t j = c->begin; j < c->end; j++) {
        float value = from[e->at + j];

        if (narrow)
            value = in_dtype(p->dtype, value);
        if (n_bits)
            value = fish_round_update(p->dtype, base[e->at + j], value, n_bits);
        p->w[fish_chosen_at(e, j)] = value;
    }
}

void fish_write_weights(const fish_run *run, const float *from, unsigned n_bits)
{
    for (uint32_t i = 0; i < run->n_chunks; i++)
        fish_write_chunk(run, &run->chunks[i], from, n_bits);
}
