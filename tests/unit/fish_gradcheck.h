/*
 * What tests of models need: numbers that a script in another language makes alike, a sink that
 * adds gradients up in double, and gradients held against differences of the outputs.
 */
#ifndef FISH_TESTS_GRADCHECK_H
#define FISH_TESTS_GRADCHECK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/params.h"
#include "support.h"

/* The i-th number of a name, in [-0.5, 0.5): exact in float, the same in make_fish_golden_*.py. */
static inline float gradcheck_number(const char *name, size_t i)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    h += (uint32_t)i * 2654435761u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    return (float)(h >> 8) / 16777216.0f - 0.5f;
}

/* Weights by name: those of norms about 1, running variances 0.5 to 1.5, all else small. */
static inline void gradcheck_fill(fish_model *m)
{
    for (uint32_t p = 0; p < m->n_params; p++) {
        const fish_param *q = &m->params[p];
        const bool positive =
            strstr(q->name, "running_var") || (q->rank == 1 && strstr(q->name, "weight"));

        for (size_t i = 0; i < q->n; i++)
            q->w[i] = gradcheck_number(q->name, i) + (positive ? 1.0f : 0.0f);
    }
}

static inline fish_model *gradcheck_model(const char *text)
{
    json_error_t at;
    json_t *config = json_loads(text, 0, &at);
    fish_model *m = NULL;
    fmp_error err;

    if (!config)
        fail_msg("%s", at.text);
    assert_status(fish_model_new(config, 1, &m, &err), FMP_OK, &err);
    json_decref(config);
    return m;
}

/* ---- a sink ------------------------------------------------------------------------------------
 */

typedef struct gradcheck_sink {
    fish_sink sink;
    const fish_model *m;
    double **grad;     /* [n_params][n], added to */
    uint32_t *n_calls; /* [n_params] */
    uint32_t example;  /* only this one, unless UINT32_MAX */
    uint32_t *order;   /* [n_params] parameters in the order of the calls, from the back */
    uint32_t n_order;
} gradcheck_sink;

static inline double *gradcheck_enter(gradcheck_sink *s, uint32_t param)
{
    assert_true(param < s->m->n_params);
    assert_int_not_equal(s->m->params[param].role, FISH_BUFFER);
    assert_true(s->n_order < s->m->n_params);
    s->order[s->n_order++] = param;
    s->n_calls[param]++;
    return s->grad[param];
}

static inline bool gradcheck_skips(const gradcheck_sink *s, uint32_t e)
{
    return s->example != UINT32_MAX && s->example != e;
}

static inline fmp_status gradcheck_matrix(fish_sink *sink, uint32_t param, const float *dy,
                                          size_t ldy, const float *x, size_t ldx,
                                          const uint32_t *start, uint32_t n, fmp_error *err)
{
    gradcheck_sink *s = (gradcheck_sink *)sink;
    double *grad = gradcheck_enter(s, param);
    const size_t out = (size_t)s->m->params[param].shape[0];
    const size_t in = s->m->params[param].n / out;

    (void)err;
    for (uint32_t e = 0; e < n; e++) {
        for (size_t r = start[e]; r < start[e + 1] && !gradcheck_skips(s, e); r++) {
            for (size_t o = 0; o < out; o++) {
                for (size_t i = 0; i < in; i++)
                    grad[o * in + i] += (double)dy[r * ldy + o] * (double)x[r * ldx + i];
            }
        }
    }
    return FMP_OK;
}

static inline fmp_status gradcheck_vector(fish_sink *sink, uint32_t param, const float *dy,
                                          size_t ldy, const float *x, size_t ldx,
                                          const uint32_t *start, uint32_t n, fmp_error *err)
{
    gradcheck_sink *s = (gradcheck_sink *)sink;
    double *grad = gradcheck_enter(s, param);

    (void)err;
    for (uint32_t e = 0; e < n; e++) {
        for (size_t r = start[e]; r < start[e + 1] && !gradcheck_skips(s, e); r++) {
            for (size_t j = 0; j < s->m->params[param].n; j++)
                grad[j] += (double)dy[r * ldy + j] * (x ? (double)x[r * ldx + j] : 1);
        }
    }
    return FMP_OK;
}

static inline gradcheck_sink *gradcheck_sink_new(const fish_model *m, uint32_t example)
{
    gradcheck_sink *s = calloc(1, sizeof *s);

    assert_non_null(s);
    s->sink.matrix = gradcheck_matrix;
    s->sink.vector = gradcheck_vector;
    s->m = m;
    s->example = example;
    s->grad = calloc(m->n_params, sizeof *s->grad);
    s->n_calls = calloc(m->n_params, sizeof *s->n_calls);
    s->order = calloc(m->n_params, sizeof *s->order);
    assert_true(s->grad && s->n_calls && s->order);
    for (uint32_t p = 0; p < m->n_params; p++) {
        s->grad[p] = calloc(m->params[p].n, sizeof **s->grad);
        assert_non_null(s->grad[p]);
    }
    return s;
}

static inline void gradcheck_sink_free(gradcheck_sink *s)
{
    for (uint32_t p = 0; p < s->m->n_params; p++)
        free(s->grad[p]);
    free(s->grad);
    free(s->n_calls);
    free(s->order);
    free(s);
}

/* ---- batches -----------------------------------------------------------------------------------
 */

typedef struct gradcheck_batch {
    fish_batch b;
    float *pixels;
    float *outputs, *d_outputs;
    uint32_t *start;
} gradcheck_batch;

static inline void gradcheck_batch_init(gradcheck_batch *g, const fish_model *m, uint32_t n)
{
    const size_t size = (size_t)m->image[0] * m->image[1] * m->image[2];

    *g = (gradcheck_batch){.pixels = calloc(n * size + 1, sizeof(float)),
                           .outputs = calloc((size_t)n * m->n_outputs + 1, sizeof(float)),
                           .d_outputs = calloc((size_t)n * m->n_outputs + 1, sizeof(float)),
                           .start = calloc((size_t)n + 1, sizeof(uint32_t))};
    assert_true(g->pixels && g->outputs && g->d_outputs && g->start);
    for (size_t i = 0; i < n * size; i++)
        g->pixels[i] = 2 * gradcheck_number("pixels", i);
    for (size_t i = 0; i < (size_t)n * m->n_outputs; i++)
        g->d_outputs[i] = 2 * gradcheck_number("d_outputs", i);
    for (uint32_t e = 0; e <= n; e++)
        g->start[e] = e;
    g->b = (fish_batch){.n = n, .start = g->start, .pixels = g->pixels};
}

static inline void gradcheck_batch_release(gradcheck_batch *g)
{
    free(g->pixels);
    free(g->outputs);
    free(g->d_outputs);
    free(g->start);
}

/* The sum of outputs times d_outputs: what the gradients are of. */
static inline double gradcheck_value(const fish_model *m, fish_work *w, gradcheck_batch *g,
                                     const fish_pass *pass)
{
    double sum = 0;
    fmp_error err;

    assert_status(fish_forward(m, w, &g->b, pass, g->outputs, &err), FMP_OK, &err);
    for (size_t i = 0; i < (size_t)g->b.n * m->n_outputs; i++)
        sum += (double)g->outputs[i] * (double)g->d_outputs[i];
    return sum;
}

/* Forward and backward into a new sink: each parameter but buffers came once. */
static inline gradcheck_sink *gradcheck_run(const fish_model *m, fish_work *w, gradcheck_batch *g,
                                            const fish_pass *pass, uint32_t example)
{
    gradcheck_sink *s = gradcheck_sink_new(m, example);
    fmp_error err;

    assert_status(fish_forward(m, w, &g->b, pass, g->outputs, &err), FMP_OK, &err);
    assert_status(fish_backward(m, w, &g->b, g->d_outputs, &s->sink, &err), FMP_OK, &err);
    for (uint32_t p = 0; p < m->n_params; p++)
        assert_int_equal(s->n_calls[p], m->params[p].role == FISH_BUFFER ? 0 : 1);
    return s;
}

/* The slope between at + lower and at + upper of element *at of a parameter. */
static inline double gradcheck_slope(fish_model *m, fish_work *w, gradcheck_batch *g,
                                     const fish_pass *pass, float *at, float lower, float upper)
{
    const float was = *at;
    double rise, width;

    *at = was + upper;
    width = (double)*at;
    rise = gradcheck_value(m, w, g, pass);
    *at = was + lower;
    width -= (double)*at;
    rise -= gradcheck_value(m, w, g, pass);
    *at = was;
    return rise / width;
}

/*
 * Every element of every parameter: the gradient against differences, to `tolerance` of the largest
 * of its tensor.  A kink of a ReLU or of max pooling within the step spoils the difference, so the
 * slopes to either side and one over a smaller step count as well.
 */
static inline void gradcheck_differences(fish_model *m, gradcheck_batch *g, const fish_pass *pass,
                                         float step, double tolerance)
{
    const float ends[][2] = {{-step, step}, {-step / 16, step / 16}, {-step / 4, 0}, {0, step / 4}};
    fish_work *w = fish_work_new(m);
    gradcheck_sink *s = gradcheck_run(m, w, g, pass, UINT32_MAX);

    for (uint32_t p = 0; p < m->n_params; p++) {
        const fish_param *q = &m->params[p];
        double most = 0;

        for (size_t i = 0; i < q->n; i++)
            most = fmax(most, fabs(s->grad[p][i]));
        if (q->role == FISH_BUFFER)
            continue;
        assert_true(most > 0);
        for (size_t i = 0; i < q->n; i++) {
            double least = INFINITY;

            for (size_t k = 0; k < 4 && !(least <= tolerance * most); k++)
                least = fmin(least,
                             fabs(gradcheck_slope(m, w, g, pass, &q->w[i], ends[k][0], ends[k][1]) -
                                  s->grad[p][i]));
            if (!(least <= tolerance * most))
                fail_msg("%s[%zu]: gradient %g, by differences off by %g, largest %g", q->name, i,
                         s->grad[p][i], least, most);
        }
    }
    gradcheck_sink_free(s);
    fish_work_free(m, w);
}

/* An example's gradient is the same alone as in a batch, and a second pass back repeats the first.
 */
static inline void gradcheck_examples(const fish_model *m, gradcheck_batch *g, double tolerance)
{
    const fish_pass pass = {.train = false};
    const size_t size = (size_t)m->image[0] * m->image[1] * m->image[2];
    fish_work *w = fish_work_new(m);
    fish_work *alone = fish_work_new(m);
    fmp_error err;

    for (uint32_t e = 0; e < g->b.n; e++) {
        const fish_batch one = {.n = 1, .start = g->start, .pixels = g->pixels + e * size};
        gradcheck_sink *in = gradcheck_run(m, w, g, &pass, e);
        gradcheck_sink *again = gradcheck_sink_new(m, e);
        gradcheck_sink *out = gradcheck_sink_new(m, UINT32_MAX);
        float *y = calloc(m->n_outputs, sizeof *y);

        assert_status(fish_backward(m, w, &g->b, g->d_outputs, &again->sink, &err), FMP_OK, &err);
        assert_status(fish_forward(m, alone, &one, &pass, y, &err), FMP_OK, &err);
        assert_status(
            fish_backward(m, alone, &one, g->d_outputs + e * m->n_outputs, &out->sink, &err),
            FMP_OK, &err);
        for (uint32_t p = 0; p < m->n_params; p++) {
            assert_memory_equal(in->grad[p], again->grad[p], m->params[p].n * sizeof(double));
            for (size_t i = 0; i < m->params[p].n; i++)
                assert_true(fabs(in->grad[p][i] - out->grad[p][i]) <=
                            tolerance * (1 + fabs(out->grad[p][i])));
        }
        assert_memory_equal(in->order, out->order, m->n_params * sizeof *in->order);
        free(y);
        gradcheck_sink_free(in);
        gradcheck_sink_free(again);
        gradcheck_sink_free(out);
    }
    fish_work_free(m, w);
    fish_work_free(m, alone);
}

/* A batch of no images: the sink is called for every parameter and gets nothing. */
static inline void gradcheck_empty(const fish_model *m)
{
    const fish_pass pass = {.train = false};
    fish_work *w = fish_work_new(m);
    gradcheck_batch g;
    gradcheck_sink *s;

    gradcheck_batch_init(&g, m, 0);
    s = gradcheck_run(m, w, &g, &pass, UINT32_MAX);
    for (uint32_t p = 0; p < m->n_params; p++) {
        for (size_t i = 0; i < m->params[p].n; i++)
            assert_true(s->grad[p][i] == 0);
    }
    gradcheck_sink_free(s);
    gradcheck_batch_release(&g);
    fish_work_free(m, w);
}

/* values against what another program computed, to `tolerance` of the largest. */
static inline void gradcheck_close(const char *what, const float *want, size_t n, const double *got,
                                   double tolerance)
{
    double most = 0;

    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)want[i]));
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(got[i] - (double)want[i]) <= tolerance * most))
            fail_msg("%s[%zu]: %g, expected %g, largest %g", what, i, got[i], (double)want[i],
                     most);
    }
}

#endif
