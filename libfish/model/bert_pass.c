/*
 * Forward and backward of BERT over packed rows: row r is token r of the batch, examples one after
 * the other, no padding.  A linear layer is one product over all rows; only attention looks at
 * where examples begin.
 *
 * Behind a pooler the classifier sees the first row of each example alone.  So the last layer takes
 * queries for those rows only, and everything behind its attention has one row an example; its
 * other rows would reach neither the outputs nor any gradient.  With mean pooling it sees them all.
 *
 * Kept from forward to backward are inputs of products and what LayerNorm and softmax made; what
 * one multiplication brings back (outputs of LayerNorm, of the activation) is made again.
 */
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "model/attention.h"
#include "model/bert.h"
#include "model/gemm.h"
#include "model/ops.h"

/* What backward needs of a layer.  Q: its query rows, R, or n in the last one. */
typedef struct layer_kept {
    float *q, *k, *v;    /* (Q, H), (R, H), (R, H) */
    float *p;            /* probabilities: see attention.h */
    float *mixed;        /* (Q, H) what attention gives */
    float *hat1, *rstd1; /* (Q, H), (Q) attention_norm */
    float *z;            /* (Q, I) before the activation */
    float *hat2, *rstd2; /* (Q, H), (Q) output_norm */
} layer_kept;

struct fish_work {
    float *arena;
    size_t cap;
    layer_kept *layers;
    float *hat0, *rstd0; /* (R, H), (R) embedding_norm */
    float *pooled;       /* (n, H) after tanh, or means */
    float *x, *y;        /* (R, H), scratch: input of a layer, output of its attention_norm */
    float *d, *e;        /* (R, H), scratch: gradients */
    float *first;        /* (n, H), scratch: first rows */
    float *wide;         /* (R, I) or three of (R, H), scratch */
    float *squares;      /* scratch of attention */
    uint32_t *units;     /* [n + 1]: 0, 1, 2, ... */
    int32_t *positions;  /* [R], behind them */
    size_t numbers_cap;
    fish_pass pass; /* of the last forward */
};

fish_work *fish_bert_work_new(const fish_model *m)
{
    const bert *c = m->config;
    fish_work *w = fish_calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->layers = fish_calloc(c->n_layers, sizeof *w->layers);
    if (!w->layers) {
        fish_free(w);
        return NULL;
    }
    return w;
}

void fish_bert_work_free(fish_work *w)
{
    if (!w)
        return;
    fish_free(w->arena);
    fish_free(w->units);
    fish_free(w->layers);
    fish_free(w);
}

/* ---- rows, dropout, attention -----------------------------------------------------------------
 */

/* Sites number the places of dropout: 0 embeddings; of layer l, 1 + 3 l attention and the two
 * residual branches; then the head. */
static fish_dropout drop_at(const fish_work *w, double rate, uint32_t site)
{
    return (fish_dropout){w->pass.dropout, w->pass.step, site, w->pass.train ? rate : 0};
}

/* Some rows of a batch: those of example e are start[e] .. start[e + 1] - 1. */
typedef struct rows_of {
    const uint32_t *start;
    size_t n;
} rows_of;

/* Whether only first rows leave this layer. */
static bool is_short(const bert *c, uint32_t layer)
{
    return !c->mean && layer + 1 == c->n_layers;
}

static rows_of query_rows(const bert *c, const fish_work *w, const fish_batch *b, uint32_t layer)
{
    return is_short(c, layer) ? (rows_of){w->units, b->n} : (rows_of){b->start, b->start[b->n]};
}

static void drop_rows(const fish_dropout *d, const fish_batch *b, const uint32_t *start,
                      size_t width, float *x)
{
    for (uint32_t e = 0; e < b->n && fish_drops(d); e++)
        fish_drop(d, b->example[e], x + start[e] * width, (start[e + 1] - start[e]) * width);
}

static fish_attention attention_of(const bert *c, const fish_work *w, const fish_batch *b,
                                   uint32_t layer)
{
    return (fish_attention){.n_heads = c->heads,
                            .head_dim = c->hidden / c->heads,
                            .n = b->n,
                            .q_start = query_rows(c, w, b, layer).start,
                            .start = b->start,
                            .example = b->example,
                            .drop = drop_at(w, c->attention_dropout, 1 + 3 * layer)};
}

static void gather_first(const fish_batch *b, size_t width, const float *x, float *first)
{
    for (size_t e = 0; e < b->n; e++)
        memcpy(first + e * width, x + b->start[e] * width, width * sizeof *x);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

/* Hands out pieces of the arena; without one it counts.  Too much is SIZE_MAX, for good. */
typedef struct dealer {
    float *arena;
    size_t used;
} dealer;

static float *deal(dealer *d, size_t rows, size_t width)
{
    float *p = d->arena ? d->arena + d->used : NULL;
    size_t n;

    if (__builtin_mul_overflow(rows, width, &n) || __builtin_add_overflow(n, 15, &n) ||
        __builtin_add_overflow(d->used, n / 16 * 16, &d->used)) /* lines of 64 bytes */
        d->used = SIZE_MAX;
    return p;
}

static void deal_layer(dealer *d, const bert *c, layer_kept *l, size_t rows, size_t q_rows,
                       size_t probabilities)
{
    l->q = deal(d, q_rows, c->hidden);
    l->k = deal(d, rows, c->hidden);
    l->v = deal(d, rows, c->hidden);
    l->p = deal(d, probabilities, 1);
    l->mixed = deal(d, q_rows, c->hidden);
    l->hat1 = deal(d, q_rows, c->hidden);
    l->rstd1 = deal(d, q_rows, 1);
    l->z = deal(d, q_rows, c->intermediate);
    l->hat2 = deal(d, q_rows, c->hidden);
    l->rstd2 = deal(d, q_rows, 1);
}

static void deal_all(dealer *d, fish_work *w, const bert *c, const fish_batch *b)
{
    const size_t rows = b->start[b->n];
    const size_t h = c->hidden;
    size_t squares = 0;

    for (uint32_t i = 0; i < c->n_layers; i++) {
        const fish_attention a = attention_of(c, w, b, i);

        deal_layer(d, c, &w->layers[i], rows, query_rows(c, w, b, i).n, fish_attention_kept(&a));
        squares = i ? squares : fish_attention_scratch(&a);
    }
    w->hat0 = deal(d, rows, h);
    w->rstd0 = deal(d, rows, 1);
    w->pooled = deal(d, b->n, h);
    w->x = deal(d, rows, h);
    w->y = deal(d, rows, h);
    w->d = deal(d, rows, h);
    w->e = deal(d, rows, h);
    w->first = deal(d, b->n, h);
    w->wide = deal(d, rows, c->intermediate > 3 * h ? c->intermediate : 3 * h);
    w->squares = deal(d, squares, 1);
}

/* Positions and units have memory of their own: the rest is dealt out by units. */
static bool number_rows(fish_work *w, const fish_batch *b)
{
    const size_t rows = b->start[b->n];
    const size_t n = rows + b->n + 1;

    if (n > w->numbers_cap) {
        fish_free(w->units);
        w->numbers_cap = 0;
        w->units = fish_alloc(n, sizeof *w->units);
        if (!w->units)
            return false;
        w->numbers_cap = n;
    }
    w->positions = (int32_t *)(w->units + b->n + 1);
    for (uint32_t e = 0; e <= b->n; e++)
        w->units[e] = e;
    for (uint32_t e = 0; e < b->n; e++) {
        for (uint32_t r = b->start[e]; r < b->start[e + 1]; r++)
            w->positions[r] = (int32_t)(r - b->start[e]);
    }
    return true;
}

static fmp_status make_room(fish_work *w, const bert *c, const fish_batch *b, fmp_error *err)
{
    dealer d = {0};

    if (!number_rows(w, b))
        return fish_fail(err, FMP_ENOMEM, "a pass over %u examples: out of memory", b->n);
    deal_all(&d, w, c, b);
    if (d.used > w->cap) {
        fish_free(w->arena);
        w->cap = 0;
        w->arena = fish_alloc(d.used, sizeof *w->arena);
        if (!w->arena)
            return fish_fail(err, FMP_ENOMEM, "a pass over %u examples: out of memory", b->n);
        w->cap = d.used;
    }
    d = (dealer){.arena = w->arena};
    deal_all(&d, w, c, b);
    return FMP_OK;
}

/* ---- pieces of both passes --------------------------------------------------------------------
 */

static const float *weight(const fish_model *m, uint32_t param)
{
    return m->params[param].w;
}

/* y (rows, out) = x (rows, in) W^T + b */
static void linear(const fish_model *m, const bert_linear *l, const float *x, size_t rows, float *y)
{
    const fish_param *p = &m->params[l->weight];
    const size_t out = (size_t)p->shape[0];
    const size_t in = (size_t)p->shape[1];

    fish_gemm_nt(rows, out, in, 1, x, in, p->w, in, 0, y, out);
    fish_add_bias(y, weight(m, l->bias), rows, out);
}

/* x becomes what to keep, y is the output. */
static void norm(const fish_model *m, const bert_norm *l, size_t rows, float *x, float *rstd,
                 float *y)
{
    const bert *c = m->config;

    fish_layer_norm(x, weight(m, l->gain), weight(m, l->bias), c->eps, rows, c->hidden, rstd, y);
}

/* The output again, from what was kept. */
static void norm_again(const fish_model *m, const bert_norm *l, size_t rows, const float *hat,
                       float *y)
{
    const bert *c = m->config;

    fish_affine(hat, weight(m, l->gain), weight(m, l->bias), rows, c->hidden, y);
}

static void activate(const bert *c, const float *x, float *y, size_t n)
{
    if (c->activation == BERT_GELU)
        fish_gelu(x, y, n);
    else if (c->activation == BERT_GELU_TANH)
        fish_gelu_tanh(x, y, n);
    else
        fish_relu(x, y, n);
}

static void activate_backward(const bert *c, const float *x, float *d, size_t n)
{
    if (c->activation == BERT_GELU)
        fish_gelu_backward(x, d, n);
    else if (c->activation == BERT_GELU_TANH)
        fish_gelu_tanh_backward(x, d, n);
    else
        fish_relu_backward(x, d, n);
}

/* The classifier's input, from what was kept. */
static void drop_pooled(const bert *c, const fish_work *w, const fish_batch *b, float *x)
{
    const fish_dropout d = drop_at(w, c->classifier_dropout, 1 + 3 * c->n_layers);

    drop_rows(&d, b, w->units, c->hidden, x);
}

/* ---- forward ----------------------------------------------------------------------------------
 */

static fmp_status check_ids(const bert *c, const fish_batch *b, fmp_error *err)
{
    for (uint32_t r = 0; r < b->start[b->n]; r++) {
        if (b->ids[r] < 0 || (uint32_t)b->ids[r] >= c->vocab)
            return fish_fail(err, FMP_EUSAGE,
                             "token %d is not in the model's vocabulary of %u: the tokenizer is "
                             "another model's",
                             b->ids[r], c->vocab);
        if (b->types[r] < 0 || (uint32_t)b->types[r] >= c->types)
            return fish_fail(err, FMP_EUSAGE, "token type %d, but the model has %u", b->types[r],
                             c->types);
    }
    return FMP_OK;
}

static void embed(const fish_model *m, fish_work *w, const fish_batch *b, float *x)
{
    const bert *c = m->config;
    const size_t h = c->hidden;
    const size_t rows = b->start[b->n];
    const fish_dropout drop = drop_at(w, c->dropout, 0);

    for (size_t r = 0; r < rows; r++) {
        float *to = w->hat0 + r * h;

        memcpy(to, weight(m, c->word) + (size_t)b->ids[r] * h, h * sizeof *to);
        fish_add(to, weight(m, c->type) + (size_t)b->types[r] * h, h);
        fish_add(to, weight(m, c->position) + (size_t)w->positions[r] * h, h);
    }
    norm(m, &c->embedding_norm, rows, w->hat0, w->rstd0, x);
    drop_rows(&drop, b, b->start, h, x);
}

/* The input of a layer again. */
static void layer_input(const fish_model *m, const fish_work *w, const fish_batch *b,
                        uint32_t number, float *x)
{
    const bert *c = m->config;
    const fish_dropout drop = drop_at(w, c->dropout, 0);
    const size_t rows = b->start[b->n];

    if (number) {
        norm_again(m, &c->layers[number - 1].output_norm, rows, w->layers[number - 1].hat2, x);
        return;
    }
    norm_again(m, &c->embedding_norm, rows, w->hat0, x);
    drop_rows(&drop, b, b->start, c->hidden, x);
}

/* w->x, the layer's input, becomes its output: (R, H), or (n, H) in the last layer. */
static void layer_forward(const fish_model *m, fish_work *w, const fish_batch *b, uint32_t number)
{
    const bert *c = m->config;
    const bert_layer *a = &c->layers[number];
    layer_kept *l = &w->layers[number];
    const size_t h = c->hidden;
    const rows_of q = query_rows(c, w, b, number);
    const fish_attention attention = attention_of(c, w, b, number);
    const fish_dropout drop1 = drop_at(w, c->dropout, 2 + 3 * number);
    const fish_dropout drop2 = drop_at(w, c->dropout, 3 + 3 * number);
    const float *x = w->x;

    if (is_short(c, number)) {
        gather_first(b, h, w->x, w->first);
        x = w->first;
    }
    linear(m, &a->query, x, q.n, l->q);
    linear(m, &a->key, w->x, b->start[b->n], l->k);
    linear(m, &a->value, w->x, b->start[b->n], l->v);
    fish_attention_forward(&attention, l->q, l->k, l->v, l->p, l->mixed, w->squares);
    linear(m, &a->attention_out, l->mixed, q.n, l->hat1);
    drop_rows(&drop1, b, q.start, h, l->hat1);
    fish_add(l->hat1, x, q.n * h);
    norm(m, &a->attention_norm, q.n, l->hat1, l->rstd1, w->y);

    linear(m, &a->up, w->y, q.n, l->z);
    activate(c, l->z, w->wide, q.n * c->intermediate);
    linear(m, &a->down, w->wide, q.n, l->hat2);
    drop_rows(&drop2, b, q.start, h, l->hat2);
    fish_add(l->hat2, w->y, q.n * h);
    norm(m, &a->output_norm, q.n, l->hat2, l->rstd2, w->x);
}

/* w->pooled from w->x: the pooler on first rows, or the mean of each example's rows. */
static void pool(const fish_model *m, fish_work *w, const fish_batch *b)
{
    const bert *c = m->config;
    const size_t h = c->hidden;

    if (!c->mean) {
        linear(m, &c->pooler, w->x, b->n, w->pooled);
        fish_tanh(w->pooled, b->n * h);
        return;
    }
    memset(w->pooled, 0, b->n * h * sizeof *w->pooled);
    for (size_t e = 0; e < b->n; e++) {
        const float scale = 1.0f / (float)(b->start[e + 1] - b->start[e]);

        for (size_t r = b->start[e]; r < b->start[e + 1]; r++)
            fish_add(w->pooled + e * h, w->x + r * h, h);
        for (size_t j = 0; j < h; j++)
            w->pooled[e * h + j] *= scale;
    }
}

fmp_status fish_bert_forward(const fish_model *m, fish_work *w, const fish_batch *b,
                             const fish_pass *pass, float *outputs, fmp_error *err)
{
    const bert *c = m->config;
    fmp_status st = check_ids(c, b, err);

    if (!st)
        st = make_room(w, c, b, err);
    if (st)
        return st;
    w->pass = *pass;
    embed(m, w, b, w->x);
    for (uint32_t i = 0; i < c->n_layers; i++)
        layer_forward(m, w, b, i);
    pool(m, w, b);
    memcpy(w->x, w->pooled, b->n * (size_t)c->hidden * sizeof *w->x);
    drop_pooled(c, w, b, w->x);
    linear(m, &c->classifier, w->x, b->n, outputs);
    return FMP_OK;
}

/* ---- backward ---------------------------------------------------------------------------------
 */

/* What one backward pass carries about; the first failure of the sink ends it. */
typedef struct back {
    const fish_model *m;
    const bert *c;
    fish_work *w;
    const fish_batch *b;
    fish_sink *sink;
    fmp_error *err;
    fmp_status st;
} back;

/* Hands the gradient of a linear layer over. */
static void pass_linear(back *k, const bert_linear *l, const float *dy, const float *x,
                        const uint32_t *start)
{
    const size_t out = (size_t)k->m->params[l->weight].shape[0];
    const size_t in = (size_t)k->m->params[l->weight].shape[1];

    if (!k->st)
        k->st = k->sink->matrix(k->sink, l->weight, dy, out, x, in, start, k->b->n, k->err);
    if (!k->st)
        k->st = k->sink->vector(k->sink, l->bias, dy, out, NULL, 0, start, k->b->n, k->err);
}

/* dx = dy W + beta dx */
static void linear_backward(const back *k, const bert_linear *l, const float *dy, size_t rows,
                            float beta, float *dx)
{
    const fish_param *p = &k->m->params[l->weight];
    const size_t out = (size_t)p->shape[0];
    const size_t in = (size_t)p->shape[1];

    fish_gemm_nn(rows, in, out, 1, dy, out, p->w, in, beta, dx, in);
}

/* Hands the gradient of a LayerNorm over; d, that of its output, becomes that of its input. */
static void norm_backward(back *k, const bert_norm *l, const float *hat, const float *rstd,
                          rows_of rows, float *d)
{
    const size_t h = k->c->hidden;

    if (!k->st)
        k->st = k->sink->vector(k->sink, l->gain, d, h, hat, h, rows.start, k->b->n, k->err);
    if (!k->st)
        k->st = k->sink->vector(k->sink, l->bias, d, h, NULL, 0, rows.start, k->b->n, k->err);
    if (!k->st)
        fish_layer_norm_backward(hat, rstd, weight(k->m, l->gain), rows.n, h, d);
}

/* d in w->e, through the dropout of a branch; d itself goes around the branch. */
static const float *enter_branch(const back *k, uint32_t site, rows_of rows)
{
    const fish_dropout drop = drop_at(k->w, k->c->dropout, site);

    if (!fish_drops(&drop))
        return k->w->d;
    memcpy(k->w->e, k->w->d, rows.n * k->c->hidden * sizeof *k->w->d);
    drop_rows(&drop, k->b, rows.start, k->c->hidden, k->w->e);
    return k->w->e;
}

/* w->d: from the gradient of a layer's output to that of its attention_norm's output. */
static void feed_forward_backward(back *k, uint32_t number, rows_of q)
{
    const bert_layer *a = &k->c->layers[number];
    const layer_kept *l = &k->w->layers[number];
    fish_work *w = k->w;
    const float *d;

    norm_backward(k, &a->output_norm, l->hat2, l->rstd2, q, w->d);
    d = enter_branch(k, 3 + 3 * number, q);
    activate(k->c, l->z, w->wide, q.n * k->c->intermediate);
    pass_linear(k, &a->down, d, w->wide, q.start);
    if (k->st)
        return;
    linear_backward(k, &a->down, d, q.n, 0, w->wide);
    activate_backward(k->c, l->z, w->wide, q.n * k->c->intermediate);
    norm_again(k->m, &a->attention_norm, q.n, l->hat1, w->y);
    pass_linear(k, &a->up, w->wide, w->y, q.start);
    linear_backward(k, &a->up, w->wide, q.n, 1, w->d);
}

/* Queries of the last layer come from first rows, keys and values from all. */
static void last_inputs_backward(back *k, const bert_layer *a, const float *dq, const float *dk,
                                 const float *dv)
{
    fish_work *w = k->w;
    const size_t h = k->c->hidden;
    const size_t rows = k->b->start[k->b->n];
    float *of_first = w->d;

    linear_backward(k, &a->query, dq, k->b->n, 1, of_first);
    linear_backward(k, &a->key, dk, rows, 0, w->e);
    linear_backward(k, &a->value, dv, rows, 1, w->e);
    for (size_t e = 0; e < k->b->n; e++)
        fish_add(w->e + k->b->start[e] * h, of_first + e * h, h);
    w->d = w->e;
    w->e = of_first;
}

/* w->d: from there to the gradient of the layer's input. */
static void attention_backward(back *k, uint32_t number, rows_of q)
{
    const bert_layer *a = &k->c->layers[number];
    const layer_kept *l = &k->w->layers[number];
    const fish_attention attention = attention_of(k->c, k->w, k->b, number);
    fish_work *w = k->w;
    const size_t rows = k->b->start[k->b->n];
    const bool last = is_short(k->c, number);
    float *dq = w->wide;
    float *dk = dq + rows * k->c->hidden;
    float *dv = dk + rows * k->c->hidden;
    const float *d;

    norm_backward(k, &a->attention_norm, l->hat1, l->rstd1, q, w->d);
    d = enter_branch(k, 2 + 3 * number, q);
    pass_linear(k, &a->attention_out, d, l->mixed, q.start);
    if (k->st)
        return;
    linear_backward(k, &a->attention_out, d, q.n, 0, w->y);
    fish_attention_backward(&attention, l->q, l->k, l->v, l->p, w->y, dq, dk, dv, w->squares);
    layer_input(k->m, w, k->b, number, w->x);
    if (last)
        gather_first(k->b, k->c->hidden, w->x, w->first);
    pass_linear(k, &a->query, dq, last ? w->first : w->x, q.start);
    pass_linear(k, &a->key, dk, w->x, k->b->start);
    pass_linear(k, &a->value, dv, w->x, k->b->start);
    if (last) {
        last_inputs_backward(k, a, dq, dk, dv);
        return;
    }
    linear_backward(k, &a->query, dq, rows, 1, w->d);
    linear_backward(k, &a->key, dk, rows, 1, w->d);
    linear_backward(k, &a->value, dv, rows, 1, w->d);
}

/* w->d from w->e: each row has its share of the mean's gradient. */
static void mean_backward(const back *k)
{
    fish_work *w = k->w;
    const size_t h = k->c->hidden;

    for (size_t e = 0; e < k->b->n; e++) {
        const float scale = 1.0f / (float)(k->b->start[e + 1] - k->b->start[e]);

        for (size_t r = k->b->start[e]; r < k->b->start[e + 1]; r++) {
            for (size_t j = 0; j < h; j++)
                w->d[r * h + j] = w->e[e * h + j] * scale;
        }
    }
}

/* w->d: the gradient of the last layer's output. */
static void head_backward(back *k, const float *d_outputs)
{
    const bert *c = k->c;
    fish_work *w = k->w;
    const size_t n = k->b->n * (size_t)c->hidden;

    memcpy(w->x, w->pooled, n * sizeof *w->x);
    drop_pooled(c, w, k->b, w->x);
    pass_linear(k, &c->classifier, d_outputs, w->x, w->units);
    linear_backward(k, &c->classifier, d_outputs, k->b->n, 0, w->e);
    drop_pooled(c, w, k->b, w->e);
    if (c->mean) {
        mean_backward(k);
        return;
    }
    fish_tanh_backward(w->pooled, w->e, n);
    norm_again(k->m, &c->layers[c->n_layers - 1].output_norm, k->b->n,
               w->layers[c->n_layers - 1].hat2, w->x);
    pass_linear(k, &c->pooler, w->e, w->x, w->units);
    linear_backward(k, &c->pooler, w->e, k->b->n, 0, w->d);
}

static void embed_backward(back *k)
{
    const bert *c = k->c;
    const fish_batch *b = k->b;
    fish_work *w = k->w;
    const fish_dropout drop = drop_at(w, c->dropout, 0);
    const struct {
        uint32_t param;
        const int32_t *row;
    } tables[] = {{c->word, b->ids}, {c->position, w->positions}, {c->type, b->types}};

    drop_rows(&drop, b, b->start, c->hidden, w->d);
    norm_backward(k, &c->embedding_norm, w->hat0, w->rstd0, (rows_of){b->start, b->start[b->n]},
                  w->d);
    for (size_t i = 0; i < 3 && !k->st; i++)
        k->st = k->sink->table(k->sink, tables[i].param, w->d, c->hidden, tables[i].row, b->start,
                               b->n, k->err);
}

fmp_status fish_bert_backward(const fish_model *m, fish_work *w, const fish_batch *b,
                              const float *d_outputs, fish_sink *sink, fmp_error *err)
{
    const bert *c = m->config;
    back k = {m, c, w, b, sink, err, FMP_OK};

    head_backward(&k, d_outputs);
    for (uint32_t i = c->n_layers; i-- > 0 && !k.st;) {
        const rows_of q = query_rows(c, w, b, i);

        feed_forward_backward(&k, i, q);
        if (!k.st)
            attention_backward(&k, i, q);
    }
    if (!k.st)
        embed_backward(&k);
    return k.st;
}
