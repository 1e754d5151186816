/*
 * Multi-layer perceptrons for images: torch.nn.Sequential(Linear, act, Linear, act, ..., Linear)
 * over the flattened pixels, with the names that Sequential gives: 0.weight, 0.bias, 2.weight, ...
 *
 * config.json:
 *   model_type   "mlp"
 *   sizes        [inputs, hidden ..., outputs], such as [784, 256, 128, 10]; or in its place
 *   hidden       [256, 128], with num_labels and image_size
 *   num_labels   outputs, where sizes is not given
 *   activation   "relu" (default) or "gelu" (the erf form)
 *   in_channels  default 1
 *   image_size   a number or [height, width]; default: inputs / in_channels as a square, or as one
 *                row when it is no square
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "model/image_model.h"
#include "model/ops.h"

#define LAYERS_MAX     64
#define SIZE_MAX_LAYER (1 << 24)

typedef struct mlp {
    uint32_t n_layers;
    bool gelu;
    uint32_t size[LAYERS_MAX + 1]; /* size[i] floats go into layer i */
    fish_linear layer[LAYERS_MAX];
} mlp;

/* Memory of a pass: one piece, cut up by place(). */
struct fish_work {
    float *memory;
    uint32_t *start;        /* [n + 1]: 0, 1, 2, ... */
    uint32_t cap;           /* examples that there is room for */
    float *z[LAYERS_MAX];   /* [cap][size[i + 1]] before the activation; with gelu */
    float *act[LAYERS_MAX]; /* [cap][size[i + 1]] after it */
    float *d[2];            /* [cap][widest] gradients */
};

static fish_work *work_new(const fish_model *m)
{
    (void)m;
    return fish_calloc(1, sizeof(fish_work));
}

static void work_free(fish_work *w)
{
    if (!w)
        return;
    fish_free(w->memory);
    fish_free(w->start);
    fish_free(w);
}

static uint32_t widest(const mlp *c)
{
    uint32_t most = 0;

    for (uint32_t i = 1; i < c->n_layers; i++)
        most = c->size[i] > most ? c->size[i] : most;
    return most;
}

/* Floats an example needs: hidden activations, once or twice, and two gradients. */
static size_t per_example(const mlp *c)
{
    size_t n = 2 * (size_t)widest(c);

    for (uint32_t i = 1; i < c->n_layers; i++)
        n += (c->gelu ? 2 : 1) * (size_t)c->size[i];
    return n;
}

static void place(fish_work *w, const mlp *c)
{
    float *at = w->memory;

    for (uint32_t i = 0; i + 1 < c->n_layers; i++) {
        const size_t n = (size_t)w->cap * c->size[i + 1];

        w->act[i] = at;
        at += n;
        w->z[i] = c->gelu ? at : w->act[i];
        at += c->gelu ? n : 0;
    }
    for (size_t i = 0; i < 2; i++) {
        w->d[i] = at;
        at += (size_t)w->cap * widest(c);
    }
}

static fmp_status reserve(fish_work *w, const mlp *c, uint32_t n, fmp_error *err)
{
    float *memory;
    uint32_t *start;

    n = n ? n : 1;
    if (n <= w->cap)
        return FMP_OK;
    memory = fish_alloc(n, per_example(c) * sizeof *memory);
    start = fish_alloc((size_t)n + 1, sizeof *start);
    if (!memory || !start) {
        fish_free(memory);
        fish_free(start);
        return fish_fail(err, FMP_ENOMEM, "mlp: out of memory for %u images", n);
    }
    fish_free(w->memory);
    fish_free(w->start);
    w->memory = memory;
    w->start = start;
    w->cap = n;
    for (size_t e = 0; e <= n; e++)
        start[e] = (uint32_t)e;
    place(w, c);
    return FMP_OK;
}

static fmp_status forward(const fish_model *m, fish_work *w, const fish_batch *b,
                          const fish_pass *pass, float *outputs, fmp_error *err)
{
    const mlp *c = m->config;
    const float *x = b->pixels;
    const uint32_t last = c->n_layers - 1;
    const fmp_status st = reserve(w, c, b->n, err);

    (void)pass;
    if (st)
        return st;
    for (uint32_t i = 0; i < last; i++) {
        const size_t n = (size_t)b->n * c->size[i + 1];

        fish_linear_forward(m, &c->layer[i], x, b->n, w->z[i]);
        if (c->gelu)
            fish_gelu(w->z[i], w->act[i], n);
        else
            fish_relu(w->z[i], w->act[i], n);
        x = w->act[i];
    }
    fish_linear_forward(m, &c->layer[last], x, b->n, outputs);
    return FMP_OK;
}

static fmp_status backward(const fish_model *m, fish_work *w, const fish_batch *b,
                           const float *d_outputs, fish_sink *sink, fmp_error *err)
{
    const mlp *c = m->config;
    const float *d = d_outputs;

    for (uint32_t i = c->n_layers; i-- > 0;) {
        const float *x = i ? w->act[i - 1] : b->pixels;
        float *dx = i ? w->d[i & 1] : NULL;
        const size_t n = (size_t)b->n * c->size[i];
        const fmp_status st =
            fish_linear_backward(m, &c->layer[i], d, x, w->start, b->n, dx, sink, err);

        if (st)
            return st;
        if (i && c->gelu)
            fish_gelu_backward(w->z[i - 1], dx, n);
        else if (i)
            fish_relu_backward(x, dx, n);
        d = dx;
    }
    return FMP_OK;
}

static const fish_driver driver = {
    .name = "mlp",
    .forward = forward,
    .backward = backward,
    .work_free = work_free,
    .work_new = work_new,
    .free = fish_free,
};

/* Reads numbers of array `key` behind the `at` sizes that there are. */
static fmp_status read_sizes(const json_t *config, const char *key, mlp *c, size_t at,
                             size_t *ret_n, fmp_error *err)
{
    const json_t *array = json_object_get(config, key);
    const size_t n = json_array_size(array);

    if (!json_is_array(array) || at + n > LAYERS_MAX)
        return fish_fail(err, FMP_ECORRUPT,
                         "config.json: %s must be an array of at most %d numbers", key, LAYERS_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(array, i);

        if (!json_is_integer(item) || json_integer_value(item) < 1 ||
            json_integer_value(item) > SIZE_MAX_LAYER)
            return fish_fail(err, FMP_ECORRUPT,
                             "config.json: %s: number %zu must be a whole one from 1 to %d", key,
                             i + 1, SIZE_MAX_LAYER);
        c->size[at + i] = (uint32_t)json_integer_value(item);
    }
    *ret_n = at + n;
    return FMP_OK;
}

/* The shape of images when config.json does not give it: see the top of this file. */
static void guess_shape(uint32_t inputs, uint32_t chw[3])
{
    const uint32_t pixels = inputs / chw[0];
    const uint32_t side = (uint32_t)(sqrt((double)pixels) + 0.5);

    chw[1] = pixels && side * side == pixels ? side : 1;
    chw[2] = pixels / chw[1];
}

static fmp_status read_shape(const json_t *config, fish_model *m, mlp *c, fmp_error *err)
{
    uint32_t *chw = m->image;
    bool given;
    uint64_t n;
    fmp_status st = fish_image_shape(config, chw, &given, err);

    if (st)
        return st;
    if (!given && !c->size[0])
        return fish_fail(err, FMP_ECORRUPT, "config.json: hidden needs image_size beside it");
    if (!given)
        guess_shape(c->size[0], chw);
    n = (uint64_t)chw[0] * chw[1] * chw[2];
    if (c->size[0] && n != c->size[0])
        return fish_fail(err, FMP_ECORRUPT,
                         "config.json: sizes begins with %u, but an image has %u x %u x %u values",
                         c->size[0], chw[0], chw[1], chw[2]);
    if (n > SIZE_MAX_LAYER)
        return fish_fail(err, FMP_ECORRUPT, "config.json: images of %llu values, limit %d",
                         (unsigned long long)n, SIZE_MAX_LAYER);
    c->size[0] = (uint32_t)n;
    return FMP_OK;
}

static fmp_status read_config(const json_t *config, fish_model *m, mlp *c, fmp_error *err)
{
    const json_t *activation = json_object_get(config, "activation");
    const char *word = activation ? json_string_value(activation) : "relu";
    size_t n = 0;
    int64_t n_labels = 0;
    fmp_status st;

    if (!word || (strcmp(word, "relu") && strcmp(word, "gelu")))
        return fish_fail(err, FMP_ENOTSUP, "config.json: activation %s: relu or gelu expected",
                         word ? word : "is no string");
    c->gelu = word[0] == 'g';
    if (json_object_get(config, "sizes")) {
        st = read_sizes(config, "sizes", c, 0, &n, err);
        if (!st && n < 2)
            st = fish_fail(err, FMP_ECORRUPT, "config.json: sizes needs at least two numbers");
    } else {
        st = read_sizes(config, "hidden", c, 1, &n, err);
        if (!st)
            st = fish_config_int(config, "num_labels", 1, SIZE_MAX_LAYER, 0, &n_labels, err);
        c->size[n++] = (uint32_t)n_labels;
    }
    c->n_layers = (uint32_t)n - 1;
    return st ? st : read_shape(config, m, c, err);
}

static fmp_status add_layers(fish_param_loader *l, const fish_model_options *options, mlp *c,
                             fmp_error *err)
{
    const uint32_t last = c->n_layers - 1;
    char name[16];

    for (uint32_t i = 0; i < last; i++) {
        fmp_status st;

        snprintf(name, sizeof name, "%u", 2 * i);
        st = fish_linear_add(l, name, FISH_BODY, c->size[i], c->size[i + 1], &c->layer[i], err);
        if (st)
            return st;
    }
    snprintf(name, sizeof name, "%u", 2 * last);
    return fish_head_add(l, name, options, c->size[last], c->size[last + 1], &c->layer[last], err);
}

fmp_status fish_mlp_open(fish_param_loader *l, const json_t *config,
                         const fish_model_options *options, fmp_error *err)
{
    mlp *c = fish_calloc(1, sizeof *c);
    char prefix[FISH_PREFIX_MAX];
    fmp_status st;

    if (!c)
        return fish_fail(err, FMP_ENOMEM, "mlp: out of memory");
    l->model->driver = &driver; /* its free() takes the config from here on */
    l->model->config = c;
    st = read_config(config, l->model, c, err);
    if (st)
        return st;
    fish_image_prefix(l->base, "0.weight", prefix);
    l->prefix = prefix;
    st = add_layers(l, options, c, err);
    l->prefix = "";
    return st;
}
