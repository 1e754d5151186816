/*
 * A sink that adds up whole gradients in double, and counts the calls: what tests compare models
 * with.  Also one that does nothing, for timing.
 */
#ifndef FISH_SUM_SINK_H
#define FISH_SUM_SINK_H

#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "model/model.h"

typedef struct sum_sink {
    fish_sink sink; /* first */
    const fish_model *m;
    double **grad;      /* [n_params][n] */
    uint32_t *calls;    /* [n_params] */
    uint32_t *order;    /* [n_params] of the calls */
    uint32_t n_calls;   /* all */
    uint32_t refuse_at; /* that call fails; UINT32_MAX: none */
} sum_sink;

static inline fmp_status sum_note(sum_sink *s, uint32_t param, fmp_error *err)
{
    if (s->n_calls == s->refuse_at)
        return fish_fail(err, FMP_ECANCELED, "refused by the test");
    if (s->n_calls < s->m->n_params)
        s->order[s->n_calls] = param;
    s->n_calls++;
    s->calls[param]++;
    return FMP_OK;
}

static inline fmp_status sum_matrix(fish_sink *sink, uint32_t param, const float *dy, size_t ldy,
                                    const float *x, size_t ldx, const uint32_t *start, uint32_t n,
                                    fmp_error *err)
{
    sum_sink *s = (sum_sink *)sink;
    const fish_param *p = &s->m->params[param];
    const size_t out = (size_t)p->shape[0];
    const size_t in = p->n / out;

    for (size_t r = start[0]; r < start[n]; r++) {
        for (size_t o = 0; o < out; o++) {
            const double d = (double)dy[r * ldy + o];

            for (size_t i = 0; i < in && d != 0; i++)
                s->grad[param][o * in + i] += d * (double)x[r * ldx + i];
        }
    }
    return sum_note(s, param, err);
}

static inline fmp_status sum_table(fish_sink *sink, uint32_t param, const float *dy, size_t ldy,
                                   const int32_t *row, const uint32_t *start, uint32_t n,
                                   fmp_error *err)
{
    sum_sink *s = (sum_sink *)sink;
    const fish_param *p = &s->m->params[param];
    const size_t width = p->n / (size_t)p->shape[0];

    for (size_t r = start[0]; r < start[n]; r++) {
        for (size_t j = 0; j < width; j++)
            s->grad[param][(size_t)row[r] * width + j] += (double)dy[r * ldy + j];
    }
    return sum_note(s, param, err);
}

static inline fmp_status sum_vector(fish_sink *sink, uint32_t param, const float *dy, size_t ldy,
                                    const float *x, size_t ldx, const uint32_t *start, uint32_t n,
                                    fmp_error *err)
{
    sum_sink *s = (sum_sink *)sink;
    const size_t width = s->m->params[param].n;

    for (size_t r = start[0]; r < start[n]; r++) {
        for (size_t j = 0; j < width; j++)
            s->grad[param][j] += (double)dy[r * ldy + j] * (x ? (double)x[r * ldx + j] : 1.0);
    }
    return sum_note(s, param, err);
}

static inline void sum_sink_init(sum_sink *s, const fish_model *m)
{
    *s = (sum_sink){.sink = {sum_matrix, sum_table, sum_vector},
                    .m = m,
                    .grad = calloc(m->n_params, sizeof *s->grad),
                    .calls = calloc(m->n_params, sizeof *s->calls),
                    .order = calloc(m->n_params, sizeof *s->order),
                    .refuse_at = UINT32_MAX};
    if (!s->grad || !s->calls || !s->order)
        abort();
    for (uint32_t i = 0; i < m->n_params; i++) {
        s->grad[i] = calloc(m->params[i].n, sizeof **s->grad);
        if (!s->grad[i])
            abort();
    }
}

static inline void sum_sink_release(sum_sink *s)
{
    for (uint32_t i = 0; i < s->m->n_params; i++)
        free(s->grad[i]);
    free(s->grad);
    free(s->calls);
    free(s->order);
}

/* ---- nothing ----------------------------------------------------------------------------------
 */

static inline fmp_status no_matrix(fish_sink *sink, uint32_t param, const float *dy, size_t ldy,
                                   const float *x, size_t ldx, const uint32_t *start, uint32_t n,
                                   fmp_error *err)
{
    (void)sink, (void)param, (void)dy, (void)ldy, (void)x, (void)ldx, (void)start, (void)n;
    (void)err;
    return FMP_OK;
}

static inline fmp_status no_table(fish_sink *sink, uint32_t param, const float *dy, size_t ldy,
                                  const int32_t *row, const uint32_t *start, uint32_t n,
                                  fmp_error *err)
{
    (void)sink, (void)param, (void)dy, (void)ldy, (void)row, (void)start, (void)n, (void)err;
    return FMP_OK;
}

static inline fish_sink no_sink(void)
{
    return (fish_sink){no_matrix, no_table, no_matrix};
}

#endif
