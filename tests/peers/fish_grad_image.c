/*
 * One pass of a model for images, for scripts that hold it against PyTorch.
 *
 * usage: fish_grad_image MODEL BATCH OUT [batch]
 *        fish_grad_image --new CONFIG DIRECTORY SEED
 *
 * BATCH is a safetensors file of "pixels" (n, channels, height, width) and "d_outputs" (n,
 * outputs); OUT becomes one of "outputs" and, by the names of the checkpoint, the gradient of each
 * parameter of the sum of outputs times d_outputs, and each running statistic as it is after the
 * pass. `batch`: batch norm by the statistics of the batch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/tensors.h"
#include "model/gemm.h"
#include "model/params.h"

typedef struct sum_sink {
    fish_sink sink;
    const fish_model *m;
    float **grad; /* [n_params][n] */
} sum_sink;

typedef struct pass_data {
    fish_batch b;
    float *pixels;
    float *d_outputs;
    float *outputs;
    uint32_t *start;
} pass_data;

static fmp_status sum_matrix(fish_sink *sink, uint32_t param, const float *dy, size_t ldy,
                             const float *x, size_t ldx, const uint32_t *start, uint32_t n,
                             fmp_error *err)
{
    sum_sink *s = (sum_sink *)sink;
    const size_t out = (size_t)s->m->params[param].shape[0];
    const size_t in = s->m->params[param].n / out;

    (void)err;
    fish_gemm_tn(out, in, start[n] - start[0], 1, dy + start[0] * ldy, ldy, x + start[0] * ldx, ldx,
                 0, s->grad[param], in);
    return FMP_OK;
}

static fmp_status sum_vector(fish_sink *sink, uint32_t param, const float *dy, size_t ldy,
                             const float *x, size_t ldx, const uint32_t *start, uint32_t n,
                             fmp_error *err)
{
    sum_sink *s = (sum_sink *)sink;

    (void)err;
    for (size_t j = 0; j < s->m->params[param].n; j++) {
        double sum = 0;

        for (size_t r = start[0]; r < start[n]; r++)
            sum += (double)dy[r * ldy + j] * (x ? (double)x[r * ldx + j] : 1);
        s->grad[param][j] = (float)sum;
    }
    return FMP_OK;
}

static int complain(const fmp_error *err)
{
    fprintf(stderr, "fish_grad_image: %s\n", err->text);
    return 1;
}

static float *read_tensor(const fmp_store *store, const char *name, uint64_t *ret_n, fmp_error *err)
{
    const uint32_t t = fmp_store_find(store, name, strlen(name));
    fmp_tensor_info info;
    float *out;

    if (t == UINT32_MAX) {
        snprintf(err->text, sizeof err->text, "no tensor \"%s\"", name);
        return NULL;
    }
    info = fmp_store_tensor(store, t);
    out = fish_alloc(info.n_elements, sizeof *out);
    if (!out || fmp_store_read(store, t, 0, out, info.n_elements * sizeof *out, err)) {
        fish_free(out);
        return NULL;
    }
    *ret_n = info.n_elements;
    return out;
}

static int read_batch(const char *path, const fish_model *m, pass_data *d, fmp_error *err)
{
    const size_t size = (size_t)m->image[0] * m->image[1] * m->image[2];
    fmp_store *store = NULL;
    uint64_t n_pixels, n_outputs;

    if (fmp_store_open(path, NULL, &store, err))
        return 1;
    d->pixels = read_tensor(store, "pixels", &n_pixels, err);
    d->d_outputs = d->pixels ? read_tensor(store, "d_outputs", &n_outputs, err) : NULL;
    fmp_store_close(store);
    if (!d->d_outputs)
        return 1;
    d->b.n = (uint32_t)(n_pixels / size);
    if (d->b.n * size != n_pixels || (uint64_t)d->b.n * m->n_outputs != n_outputs) {
        snprintf(err->text, sizeof err->text, "%s: shapes do not fit the model", path);
        return 1;
    }
    d->outputs = fish_calloc(n_outputs, sizeof *d->outputs);
    d->start = fish_calloc((size_t)d->b.n + 1, sizeof *d->start);
    for (uint32_t e = 0; d->start && e <= d->b.n; e++)
        d->start[e] = e;
    d->b.pixels = d->pixels;
    d->b.start = d->start;
    return !d->outputs || !d->start;
}

static fmp_status write_out(const char *path, const sum_sink *s, const pass_data *d, fmp_error *err)
{
    const fish_model *m = s->m;
    fish_tensor_desc *descs = fish_calloc((size_t)m->n_params + 1, sizeof *descs);
    fish_tensor_writer *w = NULL;
    fmp_status st;

    if (!descs)
        return FMP_ENOMEM;
    descs[0] = (fish_tensor_desc){.name = "outputs", .dtype = "F32", 2, {d->b.n, m->n_outputs}};
    for (uint32_t p = 0; p < m->n_params; p++) {
        descs[p + 1] = (fish_tensor_desc){
            .name = m->params[p].name, .dtype = "F32", .rank = m->params[p].rank};
        memcpy(descs[p + 1].shape, m->params[p].shape, sizeof m->params[p].shape);
    }
    st = fish_tensor_writer_new(path, true, NULL, descs, m->n_params + 1, &w, err);
    if (!st)
        st = fish_tensor_writer_put(w, d->outputs, d->b.n * m->n_outputs * sizeof(float), err);
    for (uint32_t p = 0; p < m->n_params && !st; p++)
        st = fish_tensor_writer_put(w,
                                    m->params[p].role == FISH_BUFFER ? m->params[p].w : s->grad[p],
                                    m->params[p].n * sizeof(float), err);
    fish_free(descs);
    if (!st)
        return fish_tensor_writer_commit(w, err);
    fish_tensor_writer_abort(w);
    return st;
}

static int pass(fish_model *m, const char *batch_path, const char *out_path, bool by_batch)
{
    const fish_pass how = {.train = by_batch, .batch_norm = by_batch};
    sum_sink s = {.sink = {.matrix = sum_matrix, .vector = sum_vector}, .m = m};
    pass_data d = {.pixels = NULL};
    fish_work *w = fish_work_new(m);
    fmp_error err = {.text = "out of memory"};
    int bad = 1;

    s.grad = fish_calloc(m->n_params, sizeof *s.grad);
    for (uint32_t p = 0; s.grad && p < m->n_params; p++)
        s.grad[p] = fish_calloc(m->params[p].n, sizeof **s.grad);
    if (w && s.grad && !read_batch(batch_path, m, &d, &err) &&
        !fish_forward(m, w, &d.b, &how, d.outputs, &err) &&
        !fish_backward(m, w, &d.b, d.d_outputs, &s.sink, &err)) {
        fish_model_fold_statistics(m, w);
        bad = write_out(out_path, &s, &d, &err) != FMP_OK;
    }
    for (uint32_t p = 0; s.grad && p < m->n_params; p++)
        fish_free(s.grad[p]);
    fish_free(s.grad);
    fish_free(d.pixels);
    fish_free(d.d_outputs);
    fish_free(d.outputs);
    fish_free(d.start);
    fish_work_free(m, w);
    return bad ? complain(&err) : 0;
}

static int make_new(const char *config_path, const char *dir, const char *seed)
{
    json_error_t at;
    json_t *config = json_load_file(config_path, JSON_REJECT_DUPLICATES, &at);
    fish_model *m = NULL;
    fmp_error err;
    fmp_status st;

    if (!config) {
        fprintf(stderr, "fish_grad_image: %s: %s\n", config_path, at.text);
        return 1;
    }
    st = fish_model_new(config, strtoull(seed, NULL, 10), &m, &err);
    if (!st)
        st = fish_model_save(m, config, dir, true, &err);
    fish_model_free(m);
    json_decref(config);
    return st ? complain(&err) : 0;
}

int main(int argc, char **argv)
{
    fmp_store *base = NULL;
    fish_model *m = NULL;
    fmp_error err;
    int status;

    if (argc == 5 && !strcmp(argv[1], "--new"))
        return make_new(argv[2], argv[3], argv[4]);
    if (argc != 4 && (argc != 5 || strcmp(argv[4], "batch"))) {
        fputs("usage: fish_grad_image MODEL BATCH OUT [batch]\n"
              "       fish_grad_image --new CONFIG DIRECTORY SEED\n",
              stderr);
        return 2;
    }
    if (fmp_store_open(argv[1], NULL, &base, &err))
        return complain(&err);
    if (fish_model_open(base, argv[1], NULL, &m, &err))
        status = complain(&err);
    else
        status = pass(m, argv[2], argv[3], argc == 5);
    fish_model_free(m);
    fmp_store_close(base);
    return status;
}
