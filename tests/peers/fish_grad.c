/*
 * Outputs and gradients of a text model as a safetensors file, for comparison with other libraries:
 *
 *   fish_grad MODEL BATCH OUT       outputs, and the summed gradient "grad.NAME" of each parameter
 *   fish_grad --time N MODEL BATCH  milliseconds of N forward and backward passes, gradients unused
 *
 * MODEL is a checkpoint's directory.  BATCH is a safetensors file with "ids", "types" (I32, packed
 * rows), "start" (I32, n + 1 numbers) and "d_outputs" (F32, n rows).
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/mem.h"
#include "core/tensors.h"
#include "fish_sum_sink.h"
#include "model/gemm.h"

typedef struct input {
    void *ids, *types, *start, *d_outputs, *example;
    fish_batch batch;
} input;

static fmp_status read_tensor(const fmp_store *s, const char *name, void **ret, size_t *ret_bytes,
                              fmp_error *err)
{
    const uint32_t t = fmp_store_find(s, name, strlen(name));
    void *data;
    fmp_status st;

    if (t == UINT32_MAX)
        return fish_fail(err, FMP_EUSAGE, "batch: tensor \"%s\" is missing", name);
    *ret_bytes = (size_t)fmp_store_tensor(s, t).n_bytes;
    data = fish_alloc(*ret_bytes, 1);
    if (!data)
        return fish_fail(err, FMP_ENOMEM, "batch: out of memory");
    st = fmp_store_read(s, t, 0, data, *ret_bytes, err);
    if (!st)
        *ret = data;
    else
        fish_free(data);
    return st;
}

static fmp_status read_input(const char *path, input *in, fmp_error *err)
{
    fmp_store *s;
    size_t len, n_start = 0;
    uint32_t *example;
    fmp_status st = fmp_store_open(path, NULL, &s, err);

    if (st)
        return st;
    st = read_tensor(s, "ids", &in->ids, &len, err);
    if (!st)
        st = read_tensor(s, "types", &in->types, &len, err);
    if (!st)
        st = read_tensor(s, "start", &in->start, &n_start, err);
    if (!st)
        st = read_tensor(s, "d_outputs", &in->d_outputs, &len, err);
    fmp_store_close(s);
    if (st)
        return st;
    in->batch = (fish_batch){.n = (uint32_t)(n_start / sizeof(uint32_t)) - 1,
                             .start = in->start,
                             .ids = in->ids,
                             .types = in->types};
    example = fish_alloc(in->batch.n, sizeof *example);
    if (!example)
        return fish_fail(err, FMP_ENOMEM, "batch: out of memory");
    for (uint32_t e = 0; e < in->batch.n; e++)
        example[e] = e;
    in->example = example;
    in->batch.example = example;
    return FMP_OK;
}

static void free_input(input *in)
{
    fish_free(in->ids);
    fish_free(in->types);
    fish_free(in->start);
    fish_free(in->d_outputs);
    fish_free(in->example);
}

static fmp_status put_gradient(fish_tensor_writer *w, const double *grad, size_t n, fmp_error *err)
{
    fmp_status st = FMP_OK;

    for (size_t i = 0; i < n && !st; i++) {
        const float g = (float)grad[i];

        st = fish_tensor_writer_put(w, &g, sizeof g, err);
    }
    return st;
}

static fmp_status write_results(const char *path, const fish_model *m, const fish_batch *b,
                                const float *outputs, const sum_sink *s, fmp_error *err)
{
    const uint32_t n = m->n_params + 1;
    fish_tensor_desc *descs = fish_calloc(n, sizeof *descs);
    char(*names)[256] = fish_calloc(n, sizeof *names);
    fish_tensor_writer *w = NULL;
    fmp_status st = FMP_OK;

    if (!descs || !names)
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    if (!st) {
        descs[0] = (fish_tensor_desc){
            .name = "outputs", .dtype = "F32", .rank = 2, .shape = {b->n, m->n_outputs}};
        for (uint32_t i = 0; i < m->n_params; i++) {
            (void)snprintf(names[i], sizeof names[i], "grad.%s", m->params[i].name);
            descs[i + 1] =
                (fish_tensor_desc){.name = names[i], .dtype = "F32", .rank = m->params[i].rank};
            memcpy(descs[i + 1].shape, m->params[i].shape, sizeof m->params[i].shape);
        }
        st = fish_tensor_writer_new(path, true, NULL, descs, n, &w, err);
    }
    if (!st)
        st = fish_tensor_writer_put(w, outputs, (size_t)b->n * m->n_outputs * sizeof *outputs, err);
    for (uint32_t i = 0; i < m->n_params && !st; i++)
        st = put_gradient(w, s->grad[i], m->params[i].n, err);
    if (!st)
        st = fish_tensor_writer_commit(w, err);
    else if (w)
        fish_tensor_writer_abort(w);
    fish_free(descs);
    fish_free(names);
    return st;
}

static fmp_status dump(const fish_model *m, fish_work *w, const input *in, float *outputs,
                       const char *path, fmp_error *err)
{
    const fish_pass pass = {0};
    sum_sink s;
    fmp_status st;

    sum_sink_init(&s, m);
    st = fish_forward(m, w, &in->batch, &pass, outputs, err);
    if (!st)
        st = fish_backward(m, w, &in->batch, in->d_outputs, &s.sink, err);
    if (!st)
        st = write_results(path, m, &in->batch, outputs, &s, err);
    sum_sink_release(&s);
    return st;
}

static double milliseconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static fmp_status time_passes(const fish_model *m, fish_work *w, const input *in, float *outputs,
                              long times, bool train, fmp_error *err)
{
    const fish_pass pass = {.train = train, .dropout = fish_key_make(1, FISH_STREAM_DROPOUT)};
    fish_sink sink = no_sink();
    double forward = 1e9, backward = 1e9;

    for (long i = 0; i < times; i++) {
        const double before = milliseconds();
        fmp_status st = fish_forward(m, w, &in->batch, &pass, outputs, err);
        const double between = milliseconds();
        double after;

        if (!st)
            st = fish_backward(m, w, &in->batch, in->d_outputs, &sink, err);
        if (st)
            return st;
        after = milliseconds();
        forward = between - before < forward ? between - before : forward;
        backward = after - between < backward ? after - between : backward;
    }
    printf("%s: forward %.2f ms, backward %.2f ms (best of %ld; %u examples, %u rows; %s)\n",
           train ? "dropout" : "plain", forward, backward, times, in->batch.n,
           in->batch.start[in->batch.n], fish_blas_kernels());
    return FMP_OK;
}

int main(int argc, char **argv)
{
    const bool timing = argc == 5 && !strcmp(argv[1], "--time");
    const char *dir = timing ? argv[3] : argv[1];
    fmp_store *store = NULL;
    fish_model *m = NULL;
    fish_work *w = NULL;
    float *outputs = NULL;
    input in = {0};
    fmp_error err = {0};
    fmp_status st;

    if (!timing && argc != 4) {
        fputs("usage: fish_grad MODEL BATCH OUT | fish_grad --time N MODEL BATCH\n", stderr);
        return 2;
    }
    st = fmp_store_open(dir, NULL, &store, &err);
    if (!st)
        st = fish_model_open(store, dir, NULL, &m, &err);
    if (!st)
        st = read_input(timing ? argv[4] : argv[2], &in, &err);
    if (!st && (!(w = fish_work_new(m)) ||
                !(outputs = fish_alloc((size_t)in.batch.n * m->n_outputs, sizeof *outputs))))
        st = fish_fail(&err, FMP_ENOMEM, "out of memory");
    if (!st && timing) {
        st = time_passes(m, w, &in, outputs, strtol(argv[2], NULL, 10), false, &err);
        if (!st)
            st = time_passes(m, w, &in, outputs, strtol(argv[2], NULL, 10), true, &err);
    } else if (!st) {
        st = dump(m, w, &in, outputs, argv[3], &err);
    }
    if (st)
        fprintf(stderr, "fish_grad: %s\n", err.text);
    fish_free(outputs);
    if (m)
        fish_work_free(m, w);
    fish_model_free(m);
    fmp_store_close(store);
    free_input(&in);
    return fmp_exit_status(st);
}
