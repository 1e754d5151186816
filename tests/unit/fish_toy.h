/*
 * A model small enough to differentiate by hand, which calls every function of a sink, and images
 * for it.  An image has 2 rows of 3 pixels; row r picks a line t of a table by how many of its
 * pixels are positive:
 *
 *   h_r = x_r + table[t],  z_r = scale * h_r (element by element),  outputs = sum_r W z_r + bias.
 */
#ifndef FISH_TOY_H
#define FISH_TOY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "core/rng.h"
#include "data/data.h"
#include "model/model.h"

#define TOY_ROWS   2
#define TOY_WIDTH  3
#define TOY_LINES  4
#define TOY_MAX    8 /* outputs */
#define TOY_IMAGES 45

enum { TOY_TABLE, TOY_SCALE, TOY_RUNNING, TOY_WEIGHT, TOY_BIAS, TOY_PARAMS };

typedef struct toy {
    fish_model model;
    fish_param params[TOY_PARAMS];
    float w[TOY_PARAMS][TOY_MAX * TOY_WIDTH];
} toy;

struct fish_work {
    float *h, *z;     /* [rows][TOY_WIDTH] */
    float *dy, *dh;   /* [rows][n_outputs], [rows][TOY_WIDTH] */
    int32_t *line;    /* [rows] */
    uint32_t *start;  /* rows of examples */
    uint32_t n_calls; /* of forward */
};

static void toy_work_free(fish_work *w)
{
    if (!w)
        return;
    fish_free(w->h);
    fish_free(w->z);
    fish_free(w->dy);
    fish_free(w->dh);
    fish_free(w->line);
    fish_free(w->start);
    fish_free(w);
}

static fish_work *toy_work_new(const fish_model *m)
{
    const size_t rows = 64 * TOY_ROWS;
    fish_work *w = fish_calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->h = fish_alloc(rows * TOY_WIDTH, sizeof *w->h);
    w->z = fish_alloc(rows * TOY_WIDTH, sizeof *w->z);
    w->dy = fish_alloc(rows * m->n_outputs, sizeof *w->dy);
    w->dh = fish_alloc(rows * TOY_WIDTH, sizeof *w->dh);
    w->line = fish_alloc(rows, sizeof *w->line);
    w->start = fish_alloc(64 + 1, sizeof *w->start);
    if (w->h && w->z && w->dy && w->dh && w->line && w->start)
        return w;
    toy_work_free(w);
    return NULL;
}

static int32_t toy_line(const float *x)
{
    return (x[0] > 0) + (x[1] > 0) + (x[2] > 0);
}

static fmp_status toy_forward(const fish_model *m, fish_work *w, const fish_batch *b,
                              const fish_pass *pass, float *outputs, fmp_error *err)
{
    (void)pass;
    if (b->n > 64)
        return fish_fail(err, FMP_EUSAGE, "toy: more than 64 examples");
    w->n_calls++;
    for (uint32_t e = 0; e < b->n; e++) {
        float *out = outputs + (size_t)e * m->n_outputs;

        w->start[e] = e * TOY_ROWS;
        memcpy(out, m->params[TOY_BIAS].w, m->n_outputs * sizeof *out);
        for (uint32_t r = e * TOY_ROWS; r < (e + 1) * TOY_ROWS; r++) {
            const float *x = b->pixels + (size_t)r * TOY_WIDTH;

            w->line[r] = toy_line(x);
            for (uint32_t i = 0; i < TOY_WIDTH; i++) {
                const size_t at = (size_t)r * TOY_WIDTH + i;

                w->h[at] = x[i] + m->params[TOY_TABLE].w[w->line[r] * TOY_WIDTH + (int)i];
                w->z[at] = m->params[TOY_SCALE].w[i] * w->h[at];
                for (uint32_t c = 0; c < m->n_outputs; c++)
                    out[c] += m->params[TOY_WEIGHT].w[c * TOY_WIDTH + i] * w->z[at];
            }
        }
    }
    w->start[b->n] = b->n * TOY_ROWS;
    return FMP_OK;
}

/* From the back, as models do. */
static fmp_status toy_backward(const fish_model *m, fish_work *w, const fish_batch *b,
                               const float *d_outputs, fish_sink *sink, fmp_error *err)
{
    const size_t n_out = m->n_outputs;
    const float *scale = m->params[TOY_SCALE].w;
    fmp_status st;

    for (size_t r = 0; r < (size_t)b->n * TOY_ROWS; r++) {
        const float *d = d_outputs + r / TOY_ROWS * n_out;

        memcpy(w->dy + r * n_out, d, n_out * sizeof *d);
        for (size_t i = 0; i < TOY_WIDTH; i++) {
            w->dh[r * TOY_WIDTH + i] = 0;
            for (size_t c = 0; c < n_out; c++)
                w->dh[r * TOY_WIDTH + i] += m->params[TOY_WEIGHT].w[c * TOY_WIDTH + i] * d[c];
        }
    }
    st = sink->vector(sink, TOY_BIAS, d_outputs, n_out, NULL, 0, b->start, b->n, err);
    if (st)
        return st;
    st = sink->matrix(sink, TOY_WEIGHT, w->dy, n_out, w->z, TOY_WIDTH, w->start, b->n, err);
    if (st)
        return st;
    st = sink->vector(sink, TOY_SCALE, w->dh, TOY_WIDTH, w->h, TOY_WIDTH, w->start, b->n, err);
    if (st)
        return st;
    for (size_t at = 0; at < (size_t)b->n * TOY_ROWS * TOY_WIDTH; at++)
        w->dh[at] *= scale[at % TOY_WIDTH];
    return sink->table(sink, TOY_TABLE, w->dh, TOY_WIDTH, w->line, w->start, b->n, err);
}

static const fish_driver toy_driver = {.name = "toy",
                                       .forward = toy_forward,
                                       .backward = toy_backward,
                                       .work_new = toy_work_new,
                                       .work_free = toy_work_free};

static inline void toy_init(toy *t, uint32_t n_outputs)
{
    const fish_key key = fish_key_make(5, FISH_STREAM_TEST);

    *t = (toy){
        .params = {{"table", "F32", false, FISH_BODY, 2, {TOY_LINES, TOY_WIDTH}, 12, NULL},
                   {"scale", "F32", false, FISH_BODY, 1, {TOY_WIDTH}, 3, NULL},
                   {"running", "F32", false, FISH_BUFFER, 1, {2}, 2, NULL},
                   {"out.weight", "F32", false, FISH_HEAD, 2, {n_outputs, TOY_WIDTH}, 0, NULL},
                   {"out.bias", "F32", true, FISH_HEAD, 1, {n_outputs}, n_outputs, NULL}}};
    t->params[TOY_WEIGHT].n = (size_t)n_outputs * TOY_WIDTH;
    for (uint32_t p = 0; p < TOY_PARAMS; p++) {
        t->params[p].w = t->w[p];
        for (size_t i = 0; i < t->params[p].n; i++)
            t->w[p][i] = (float)fish_random_normal(key, p, i);
    }
    t->model = (fish_model){.driver = &toy_driver,
                            .params = t->params,
                            .n_params = TOY_PARAMS,
                            .n_outputs = n_outputs,
                            .image = {1, TOY_ROWS, TOY_WIDTH}};
}

static inline void toy_put(const char *path, const void *head, size_t head_len, const void *data,
                           size_t len)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(head, 1, head_len, f), head_len);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* TOY_IMAGES images in the current directory, labels below n_classes. */
static inline fish_data *toy_data(uint32_t n_classes, bool regression)
{
    static const uint8_t images_head[16] = {0, 0, 8, 3,        0, 0, 0, TOY_IMAGES,
                                            0, 0, 0, TOY_ROWS, 0, 0, 0, TOY_WIDTH};
    static const uint8_t labels_head[8] = {0, 0, 8, 1, 0, 0, 0, TOY_IMAGES};
    const fish_key key = fish_key_make(6, FISH_STREAM_TEST);
    const fish_data_options options = {
        .format = "idx", .labels_path = "toy-labels.idx", .regression = regression};
    uint8_t pixels[TOY_IMAGES * TOY_ROWS * TOY_WIDTH];
    uint8_t labels[TOY_IMAGES];
    fish_data *d = NULL;
    fmp_error err;

    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)fish_random_u64(key, 0, i);
    for (size_t i = 0; i < sizeof labels; i++)
        labels[i] = (uint8_t)(i < n_classes ? i : fish_random_u64(key, 1, i) % n_classes);
    toy_put("toy-images.idx", images_head, sizeof images_head, pixels, sizeof pixels);
    toy_put("toy-labels.idx", labels_head, sizeof labels_head, labels, sizeof labels);
    assert_status(fish_data_open("toy-images.idx", &options, &d, &err), FMP_OK, &err);
    assert_int_equal(fish_data_count(d), TOY_IMAGES);
    return d;
}

/* Frees the data and removes its files. */
static inline void toy_data_free(fish_data *d)
{
    fish_data_free(d);
    (void)remove("toy-images.idx");
    (void)remove("toy-labels.idx");
}

#endif
