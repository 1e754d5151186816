/*
 * Passes through a residual network.  Images lie position by position (n, height, width, channels),
 * so that each position is a row of a matrix product and of what the sink takes.  What is kept for
 * the way back is, for each unit, the normalised values and, unless it lies on a shortcut, its
 * output; im2col rows are made anew.
 */
#include "model/resnet.h"

#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "model/norm.h"
#include "model/ops.h"

#define MOMENTUM  0.1f /* of running statistics: the default of torch.nn.BatchNorm2d */
#define N_GRAD    3    /* gradients of activations alive at once: a block's, and two in the row */
#define N_SCRATCH (N_GRAD + 1)

/* What a unit leaves behind; [rows][channels] of the whole batch. */
typedef struct trace {
    float *x;     /* normalised values */
    float *out;   /* behind ReLU; NULL on a shortcut */
    float *stats; /* [3][channels]: mean, variance, 1 / sd */
} trace;

struct fish_work {
    float *memory;   /* one piece for all floats but `rows`: see place() */
    uint32_t cap;    /* images that there is room for */
    trace *of;       /* [n_units] */
    float *image;    /* the pixels, position by position */
    float *pooled;   /* behind the max pooling */
    float *features; /* behind the mean pooling */
    float *d_features;
    float *grad[N_GRAD];
    float *dz;
    float *zeros, *trash; /* of the widest input */
    uint8_t *from;
    double *sums;
    float *rows; /* im2col */
    size_t rows_cap;
    uint32_t *start;
    bool batch; /* the last forward pass normalised by statistics of its batch */
};

static fish_work *work_new(const fish_model *m)
{
    const fish_resnet *r = m->config;
    fish_work *w = fish_calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->of = fish_calloc(r->n_units, sizeof *w->of);
    if (!w->of) {
        fish_free(w);
        return NULL;
    }
    return w;
}

static void release_memory(fish_work *w)
{
    fish_free(w->memory);
    fish_free(w->from);
    fish_free(w->sums);
    fish_free(w->start);
    w->memory = NULL;
    w->from = NULL;
    w->sums = NULL;
    w->start = NULL;
    w->cap = 0;
}

static void work_free(fish_work *w)
{
    if (!w)
        return;
    release_memory(w);
    fish_free(w->rows);
    fish_free(w->of);
    fish_free(w);
}

/* ---- memory of a pass -------------------------------------------------------------------------
 */

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t outputs_of(const fish_conv *c)
{
    return fish_conv_rows(c) * c->out_c;
}

typedef struct sizes {
    size_t channels; /* the most that any layer takes or gives */
    size_t rows;     /* the most positions */
    size_t grad;     /* the most floats of an image in front of or behind a unit */
} sizes;

static sizes measure(const fish_resnet *r)
{
    sizes s = {.rows = 1};

    for (uint32_t u = 0; u < r->n_units; u++) {
        const fish_conv *c = &r->units[u].conv;

        s.channels = max_size(s.channels, max_size(c->in_c, c->out_c));
        s.rows = max_size(s.rows, max_size(fish_conv_rows(c), (size_t)c->in_h * c->in_w));
        s.grad = max_size(s.grad, outputs_of(c));
        if (u)
            s.grad = max_size(s.grad, fish_conv_inputs(c));
    }
    return s;
}

static bool on_shortcut(const fish_resnet *r, uint32_t unit)
{
    for (uint32_t b = 0; b < r->n_blocks; b++) {
        if (r->blocks[b].down && r->blocks[b].first + r->blocks[b].n == unit)
            return true;
    }
    return false;
}

static float *take(float **at, size_t n)
{
    float *p = *at;

    if (p)
        *at += n;
    return p;
}

/*
 * Cuts up w->memory for n images, or with NULL in it only counts: the floats that every image needs
 * and those that are needed once.
 */
static void place(fish_work *w, const fish_resnet *r, uint32_t n, size_t *ret_each,
                  size_t *ret_once)
{
    const sizes s = measure(r);
    const fish_conv *stem = &r->units[0].conv;
    float *at = w->memory;
    size_t each = 0, once = 2 * s.channels;

    for (uint32_t u = 0; u < r->n_units; u++) {
        const fish_conv *c = &r->units[u].conv;
        const size_t size = outputs_of(c);
        const bool has_out = !on_shortcut(r, u);

        w->of[u].x = take(&at, n * size);
        w->of[u].out = has_out ? take(&at, n * size) : NULL;
        w->of[u].stats = take(&at, 3 * (size_t)c->out_c);
        each += size * (has_out ? 2 : 1);
        once += 3 * (size_t)c->out_c;
    }
    w->image = take(&at, n * fish_conv_inputs(stem));
    w->pooled = r->pool ? take(&at, n * outputs_of(&r->pooling)) : NULL;
    w->features = take(&at, (size_t)n * r->head.in);
    w->d_features = take(&at, (size_t)n * r->head.in);
    for (size_t i = 0; i < N_GRAD; i++)
        w->grad[i] = take(&at, n * s.grad);
    w->dz = take(&at, n * s.grad);
    w->zeros = take(&at, s.channels);
    w->trash = take(&at, s.channels);
    each += fish_conv_inputs(stem) + (r->pool ? outputs_of(&r->pooling) : 0) +
            2 * (size_t)r->head.in + N_SCRATCH * s.grad;
    *ret_each = each;
    *ret_once = once;
}

static fmp_status reserve(fish_work *w, const fish_resnet *r, uint32_t n, fmp_error *err)
{
    const sizes s = measure(r);
    size_t each, once;

    n = n ? n : 1;
    if (n <= w->cap)
        return FMP_OK;
    release_memory(w);
    place(w, r, 0, &each, &once);
    if (s.rows > UINT32_MAX / n || each > (SIZE_MAX - once) / n)
        return fish_fail(err, FMP_ENOMEM, "resnet: %u images are too many for one batch", n);
    w->memory = fish_alloc(n * each + once, sizeof *w->memory);
    w->from = r->pool ? fish_alloc(n, outputs_of(&r->pooling)) : NULL;
    w->sums = fish_alloc(2 * s.channels, sizeof *w->sums);
    w->start = fish_alloc((size_t)n + 1, sizeof *w->start);
    if (!w->memory || (r->pool && !w->from) || !w->sums || !w->start) {
        release_memory(w);
        return fish_fail(err, FMP_ENOMEM, "resnet: out of memory for %u images", n);
    }
    place(w, r, n, &each, &once);
    memset(w->zeros, 0, s.channels * sizeof *w->zeros);
    w->cap = n;
    return FMP_OK;
}

static fmp_status reserve_rows(fish_work *w, size_t n, fmp_error *err)
{
    if (w->rows && n <= w->rows_cap)
        return FMP_OK;
    fish_free(w->rows);
    w->rows_cap = 0;
    w->rows = fish_alloc(n, sizeof *w->rows);
    if (!w->rows)
        return fish_fail(err, FMP_ENOMEM, "resnet: out of memory for convolution");
    w->rows_cap = n;
    return FMP_OK;
}

/* Floats for the im2col rows of n images, and in their place for the convolution's passes. */
static size_t rows_of(const fish_conv *c, uint32_t n)
{
    const size_t rows = fish_conv_is_plain(c) ? 0 : n * fish_conv_rows(c);
    const size_t k = fish_conv_k(c);

    return rows > SIZE_MAX / k ? SIZE_MAX : max_size(rows * k, fish_conv_scratch(c, n));
}

static const uint32_t *starts(fish_work *w, uint32_t n, size_t rows)
{
    for (uint32_t e = 0; e <= n; e++)
        w->start[e] = (uint32_t)(e * rows);
    return w->start;
}

static fish_norm norm_of(const fish_model *m, const fish_unit *u, const trace *t)
{
    const size_t n = u->conv.out_c;

    return (fish_norm){.n_channels = n,
                       .weight = m->params[u->norm_weight].w,
                       .bias = m->params[u->norm_bias].w,
                       .mean = t->stats,
                       .var = t->stats + n,
                       .inverse = t->stats + 2 * n};
}

/* ---- forward ----------------------------------------------------------------------------------
 */

/* out = norm(conv(in)), added to what stands there and behind a ReLU if asked for. */
static fmp_status unit_forward(const fish_model *m, fish_work *w, uint32_t unit, const float *in,
                               uint32_t n, bool add, bool relu, float *out, fmp_error *err)
{
    const fish_resnet *r = m->config;
    const fish_unit *u = &r->units[unit];
    const trace *t = &w->of[unit];
    const fish_norm norm = norm_of(m, u, t);
    const size_t n_rows = n * fish_conv_rows(&u->conv);
    const fmp_status st = reserve_rows(w, fish_conv_scratch(&u->conv, n), err);

    if (st)
        return st;
    if (w->batch && n_rows < 2)
        return fish_fail(err, FMP_EUSAGE, "%s: one value a channel has no batch statistics",
                         m->params[u->norm_weight].name);
    fish_conv_forward(&u->conv, m->params[u->weight].w, in, n, w->zeros, w->rows, t->x);
    if (w->batch) {
        fish_norm_batch(&norm, r->eps, n_rows, w->sums, t->x);
    } else {
        memcpy(norm.mean, m->params[u->norm_mean].w, norm.n_channels * sizeof *norm.mean);
        memcpy(norm.var, m->params[u->norm_var].w, norm.n_channels * sizeof *norm.var);
        fish_norm_running(&norm, r->eps, n_rows, t->x);
    }
    fish_norm_affine(&norm, t->x, n_rows, add, relu, out);
    return FMP_OK;
}

/* The shortcut is laid into the block's output first, the row of units added to it. */
static fmp_status block_forward(const fish_model *m, fish_work *w, const fish_block *k,
                                const float *in, uint32_t n, fmp_error *err)
{
    const fish_resnet *r = m->config;
    const uint32_t last = k->first + k->n - 1;
    const size_t size = n * outputs_of(&r->units[last].conv);
    float *out = w->of[last].out;

    if (k->down) {
        const fmp_status st = unit_forward(m, w, last + 1, in, n, false, false, out, err);

        if (st)
            return st;
    } else {
        memcpy(out, in, size * sizeof *out);
    }
    for (uint32_t u = k->first; u <= last; u++) {
        const fmp_status st = unit_forward(m, w, u, in, n, u == last, true, w->of[u].out, err);

        if (st)
            return st;
        in = w->of[u].out;
    }
    return FMP_OK;
}

/* (n, channels, positions) as data gives it -> (n, positions, channels). */
static void lay_out(const float *pixels, uint32_t n, size_t channels, size_t positions, float *out)
{
    for (size_t e = 0; e < n; e++, pixels += channels * positions) {
        for (size_t p = 0; p < positions; p++) {
            for (size_t c = 0; c < channels; c++)
                *out++ = pixels[c * positions + p];
        }
    }
}

static const float *block_input(const fish_resnet *r, const fish_work *w, uint32_t block)
{
    if (block)
        return w->of[r->blocks[block - 1].first + r->blocks[block - 1].n - 1].out;
    return r->pool ? w->pooled : w->of[0].out;
}

static fmp_status forward(const fish_model *m, fish_work *w, const fish_batch *b,
                          const fish_pass *pass, float *outputs, fmp_error *err)
{
    const fish_resnet *r = m->config;
    const fish_conv *stem = &r->units[0].conv;
    const fish_conv *last;
    fmp_status st = reserve(w, r, b->n, err);

    if (st)
        return st;
    w->batch = pass->train && pass->batch_norm;
    lay_out(b->pixels, b->n, stem->in_c, (size_t)stem->in_h * stem->in_w, w->image);
    st = unit_forward(m, w, 0, w->image, b->n, false, true, w->of[0].out, err);
    if (!st && r->pool)
        fish_max_pool(&r->pooling, w->of[0].out, b->n, w->pooled, w->from);
    for (uint32_t k = 0; k < r->n_blocks && !st; k++)
        st = block_forward(m, w, &r->blocks[k], block_input(r, w, k), b->n, err);
    if (st)
        return st;
    last = &r->units[r->blocks[r->n_blocks - 1].first + r->blocks[r->n_blocks - 1].n - 1].conv;
    fish_mean_pool(block_input(r, w, r->n_blocks), b->n, fish_conv_rows(last), r->head.in,
                   w->features);
    fish_linear_forward(m, &r->head, w->features, b->n, outputs);
    return FMP_OK;
}

/* ---- backward ---------------------------------------------------------------------------------
 */

/* One call of a pass back, as the functions below hand it on. */
typedef struct way_back {
    const fish_model *m;
    fish_work *w;
    fish_sink *sink;
    uint32_t n;
} way_back;

/* Hands the unit's factors to the sink, then dx = (or +=) the gradient in its input, unless NULL;
 * d: the gradient in the output of its norm. */
static fmp_status unit_backward(const way_back *g, uint32_t unit, const float *in, const float *d,
                                bool add, float *dx, fmp_error *err)
{
    const fish_resnet *r = g->m->config;
    const fish_unit *u = &r->units[unit];
    const fish_conv *c = &u->conv;
    const trace *t = &g->w->of[unit];
    const fish_norm norm = norm_of(g->m, u, t);
    const size_t rows = fish_conv_rows(c);
    const size_t ld = c->out_c;
    const bool plain = fish_conv_is_plain(c);
    fish_sink *sink = g->sink;
    const uint32_t *start = starts(g->w, g->n, rows);
    fmp_status st = reserve_rows(g->w, rows_of(c, g->n), err);

    if (!st)
        st = sink->vector(sink, u->norm_bias, d, ld, NULL, 0, start, g->n, err);
    if (!st)
        st = sink->vector(sink, u->norm_weight, d, ld, t->x, ld, start, g->n, err);
    if (st)
        return st;
    fish_norm_backward(&norm, d, t->x, g->n * rows, g->w->batch, g->w->sums, g->w->dz);
    if (!plain)
        fish_im2col(c, in, 0, (size_t)g->n * c->out_h, g->w->zeros, g->w->rows);
    st = sink->matrix(sink, u->weight, g->w->dz, ld, plain ? in : g->w->rows, fish_conv_k(c), start,
                      g->n, err);
    if (!st && dx)
        fish_conv_backward(c, g->m->params[u->weight].w, g->w->dz, g->n, add, g->w->trash,
                           g->w->rows, dx);
    return st;
}

/*
 * *d, one of w->grad, is the gradient in the block's output and becomes that in its input: another
 * one of them.
 */
static fmp_status block_backward(const way_back *g, const fish_block *k, const float *in, float **d,
                                 fmp_error *err)
{
    const fish_resnet *r = g->m->config;
    const uint32_t last = k->first + k->n - 1;
    const size_t n_in = g->n * fish_conv_inputs(&r->units[k->first].conv);
    float *own = *d;
    float *spare[2];
    float *at = own;
    size_t turn = 0;

    for (size_t i = 0, s = 0; i < N_GRAD; i++) {
        if (g->w->grad[i] != own)
            spare[s++] = g->w->grad[i];
    }
    for (uint32_t u = last + 1; u-- > k->first; turn ^= 1) {
        const fish_conv *c = &r->units[u].conv;
        fmp_status st;

        fish_relu_backward(g->w->of[u].out, at, g->n * outputs_of(c));
        st = unit_backward(g, u, u == k->first ? in : g->w->of[u - 1].out, at, false, spare[turn],
                           err);
        if (st)
            return st;
        at = spare[turn];
    }
    *d = at;
    if (k->down)
        return unit_backward(g, last + 1, in, own, true, at, err);
    fish_add(at, own, n_in);
    return FMP_OK;
}

static fmp_status backward(const fish_model *m, fish_work *w, const fish_batch *b,
                           const float *d_outputs, fish_sink *sink, fmp_error *err)
{
    const fish_resnet *r = m->config;
    const way_back g = {.m = m, .w = w, .sink = sink, .n = b->n};
    const fish_conv *stem = &r->units[0].conv;
    const fish_block *tail = &r->blocks[r->n_blocks - 1];
    float *d = w->grad[0];
    float *d_stem;
    fmp_status st = fish_linear_backward(m, &r->head, d_outputs, w->features, starts(w, b->n, 1),
                                         b->n, w->d_features, sink, err);

    if (st)
        return st;
    fish_mean_pool_backward(w->d_features, b->n,
                            fish_conv_rows(&r->units[tail->first + tail->n - 1].conv), r->head.in,
                            d);
    for (uint32_t k = r->n_blocks; k-- > 0 && !st;)
        st = block_backward(&g, &r->blocks[k], block_input(r, w, k), &d, err);
    if (st)
        return st;
    d_stem = d;
    if (r->pool) {
        d_stem = d == w->grad[0] ? w->grad[1] : w->grad[0];
        fish_max_pool_backward(&r->pooling, d, w->from, b->n, d_stem);
    }
    fish_relu_backward(w->of[0].out, d_stem, b->n * outputs_of(stem));
    return unit_backward(&g, 0, w->image, d_stem, false, NULL, err);
}

/* ---- running statistics -----------------------------------------------------------------------
 */

static void fold_row(const float *from, size_t n, float *into)
{
    for (size_t i = 0; i < n; i++)
        into[i] = (1 - MOMENTUM) * into[i] + MOMENTUM * from[i];
}

static void fold(fish_model *m, const fish_work *w)
{
    const fish_resnet *r = m->config;

    for (uint32_t u = 0; u < r->n_units && w->batch; u++) {
        const fish_norm norm = norm_of(m, &r->units[u], &w->of[u]);

        fold_row(norm.mean, norm.n_channels, m->params[r->units[u].norm_mean].w);
        fold_row(norm.var, norm.n_channels, m->params[r->units[u].norm_var].w);
    }
}

const fish_driver fish_resnet_driver = {
    .name = "resnet",
    .forward = forward,
    .backward = backward,
    .work_free = work_free,
    .work_new = work_new,
    .free = fish_resnet_free,
    .fold = fold,
};
