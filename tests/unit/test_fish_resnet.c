/*
 * Residual networks: names as torchvision gives them, gradients of every kind of layer against
 * differences and against PyTorch's, batch norm in both modes, and every config.json that is
 * refused.
 */
#include "fish_gradcheck.h"

#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "fish_resnet_golden.h"
#include "model/conv.h"
#include "model/norm.h"

static const fish_pass running = {.train = false};
static const fish_pass training = {.train = true};
static const fish_pass batch = {.train = true, .batch_norm = true};

/* Between them: both blocks, all stems, strides, shortcuts of both kinds, odd sizes. */
static const char *const nets[] = {
    "{\"model_type\": \"resnet\", \"layers\": [1, 1], \"widths\": [3, 4], \"in_channels\": 2,"
    " \"image_size\": [13, 10], \"num_labels\": 3}",
    "{\"model_type\": \"resnet\", \"layers\": [2, 1], \"width\": 2, \"stem\": \"small\","
    " \"image_size\": 5, \"num_labels\": 2}",
    "{\"model_type\": \"resnet\", \"layers\": [1, 1], \"width\": 2, \"block\": \"bottleneck\","
    " \"width_per_group\": 96, \"stem\": \"small-pool\", \"image_size\": [7, 8],"
    " \"num_labels\": 3, \"norm_eps\": 0.01}",
};
#define N_NETS (sizeof nets / sizeof nets[0])

/* ---- layers -----------------------------------------------------------------------------------
 */

static void fill(float *x, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        x[i] = gradcheck_number(name, i);
}

/* The convolution by its definition; x and y lie position by position. */
static double by_definition(const fish_conv *c, const float *w, const float *x, size_t e, size_t oy,
                            size_t ox, size_t o)
{
    double sum = 0;

    for (size_t i = 0; i < c->in_c; i++) {
        for (size_t ky = 0; ky < c->kernel; ky++) {
            for (size_t kx = 0; kx < c->kernel; kx++) {
                const long iy = (long)(oy * c->stride + ky) - (long)c->pad;
                const long ix = (long)(ox * c->stride + kx) - (long)c->pad;

                if (iy < 0 || ix < 0 || iy >= (long)c->in_h || ix >= (long)c->in_w)
                    continue;
                sum += (double)w[((o * c->in_c + i) * c->kernel + ky) * c->kernel + kx] *
                       (double)x[((e * c->in_h + (size_t)iy) * c->in_w + (size_t)ix) * c->in_c + i];
            }
        }
    }
    return sum;
}

/* conv_backward is the adjoint: <conv(x), d> = <x, conv_backward(d)>, and adds when asked to. */
static void check_adjoint(const fish_conv *c, const float *w, const float *x, const float *y,
                          const float *d, size_t n, float *rows)
{
    const size_t n_in = n * fish_conv_inputs(c);
    const size_t n_out = n * fish_conv_rows(c) * c->out_c;
    float *dx = calloc(n_in, sizeof *dx);
    float *twice = calloc(n_in, sizeof *twice);
    float *trash = calloc(c->in_c, sizeof *trash);
    double left = 0, right = 0, size = 0;

    assert_true(dx && twice && trash);
    fish_conv_backward(c, w, d, (uint32_t)n, false, trash, rows, dx);
    memcpy(twice, dx, n_in * sizeof *dx);
    fish_conv_backward(c, w, d, (uint32_t)n, true, trash, rows, twice);
    for (size_t i = 0; i < n_out; i++)
        left += (double)y[i] * (double)d[i];
    for (size_t i = 0; i < n_in; i++) {
        right += (double)x[i] * (double)dx[i];
        size += fabs((double)x[i] * (double)dx[i]);
        assert_true(fabs((double)twice[i] - 2 * (double)dx[i]) <= 1e-5 * (1 + fabs((double)dx[i])));
    }
    assert_true(size > 0);
    assert_true(fabs(left - right) <= 1e-5 * size);
    free(dx);
    free(twice);
    free(trash);
}

static void check_conv(fish_conv c, size_t n)
{
    const size_t k = fish_conv_k(&c);
    float *w, *x, *y, *d, *rows, *zeros;
    size_t n_in, n_out;

    fish_conv_shape(&c);
    n_in = n * fish_conv_inputs(&c);
    n_out = n * fish_conv_rows(&c) * c.out_c;
    w = calloc(c.out_c * k, sizeof *w);
    x = calloc(n_in, sizeof *x);
    y = calloc(n_out, sizeof *y);
    d = calloc(n_out, sizeof *d);
    rows = calloc(fish_conv_scratch(&c, (uint32_t)n) + 1, sizeof *rows);
    zeros = calloc(c.in_c, sizeof *zeros);
    assert_true(w && x && y && d && rows && zeros);
    fill(w, c.out_c * k, "w");
    fill(x, n_in, "x");
    fill(d, n_out, "d");
    fish_conv_forward(&c, w, x, (uint32_t)n, zeros, rows, y);
    for (size_t i = 0; i < n_out; i++) {
        const size_t at = i / c.out_c;
        const double want = by_definition(&c, w, x, at / (c.out_h * c.out_w),
                                          at / c.out_w % c.out_h, at % c.out_w, i % c.out_c);

        assert_true(fabs((double)y[i] - want) <= 1e-4);
    }
    check_adjoint(&c, w, x, y, d, n, rows);
    free(w);
    free(x);
    free(y);
    free(d);
    free(rows);
    free(zeros);
}

/* With few and many channels, which go different ways; the last shapes are cut into chunks. */
static void convolution_is_what_its_definition_says(void **state)
{
    (void)state;
    for (uint32_t kernel = 1; kernel <= 7; kernel += 2) {
        for (uint32_t stride = 1; stride <= 3; stride++) {
            for (uint32_t side = 1; side <= 8; side++)
                check_conv((fish_conv){.in_c = 1 + side % 3 * 5,
                                       .in_h = side,
                                       .in_w = 9 - side,
                                       .out_c = 1 + stride,
                                       .kernel = kernel,
                                       .stride = stride,
                                       .pad = kernel / 2},
                           2);
        }
    }
    check_conv(
        (fish_conv){
            .in_c = 40, .in_h = 23, .in_w = 31, .out_c = 3, .kernel = 3, .stride = 1, .pad = 1},
        3);
    check_conv(
        (fish_conv){
            .in_c = 300, .in_h = 5, .in_w = 60, .out_c = 2, .kernel = 3, .stride = 2, .pad = 1},
        2);
}

/* Of equal values the first counts; padding never does, not even over negative ones. */
static void max_pooling_takes_the_first_of_equals(void **state)
{
    fish_conv c = {.in_c = 1, .in_h = 3, .in_w = 3, .out_c = 1, .kernel = 3, .stride = 2, .pad = 1};
    const float x[9] = {-5, -2, -2, -4, -2, -9, -7, -8, -9};
    const float want[4] = {-2, -2, -2, -2};
    const uint8_t taps[4] = {5, 3, 2, 0};
    const float dy[4] = {1, 10, 100, 1000};
    const float want_dx[9] = {0, 11, 0, 0, 1100, 0, 0, 0, 0};
    float y[4], dx[9];
    uint8_t from[4];

    (void)state;
    fish_conv_shape(&c);
    assert_int_equal(c.out_h, 2);
    assert_int_equal(c.out_w, 2);
    fish_max_pool(&c, x, 1, y, from);
    assert_memory_equal(y, want, sizeof y);
    assert_memory_equal(from, taps, sizeof from);
    fish_max_pool_backward(&c, dy, from, 1, dx);
    assert_memory_equal(dx, want_dx, sizeof dx);
}

static void max_pooling_keeps_nan(void **state)
{
    fish_conv c = {.in_c = 1, .in_h = 1, .in_w = 2, .out_c = 1, .kernel = 3, .stride = 2, .pad = 1};
    const float x[2][2] = {{NAN, 1}, {1, NAN}};
    float y;
    uint8_t from;

    (void)state;
    fish_conv_shape(&c);
    fish_max_pool(&c, x[0], 1, &y, &from);
    assert_true(isnan(y));
    fish_max_pool(&c, x[1], 1, &y, &from);
    assert_true(isnan(y));
}

static void mean_pooling_by_hand(void **state)
{
    const float x[8] = {1, 10, 3, 30, -1, 0, -3, 2};
    const float want[4] = {2, 20, -2, 1};
    const float want_dx[8] = {1, 10, 1, 10, -1, 0.5f, -1, 0.5f};
    float y[4], dx[8];

    (void)state;
    fish_mean_pool(x, 2, 2, 2, y);
    assert_memory_equal(y, want, sizeof y);
    fish_mean_pool_backward(y, 2, 2, 2, dx);
    assert_memory_equal(dx, want_dx, sizeof dx);
}

/* Columns 0, 1, 5 and 10, 10, 10: mean 2 and 10, biased variance 14/3 and 0, unbiased 7 and 0. */
static void batch_statistics_by_hand(void **state)
{
    const float weight[2] = {2, 3}, bias[2] = {1, -1};
    float z[6] = {0, 10, 1, 10, 5, 10};
    float y[6], mean[2], var[2], inverse[2];
    double sums[4];
    const fish_norm norm = {2, weight, bias, mean, var, inverse};
    const double sd = sqrt(14.0 / 3 + 0.25);

    (void)state;
    fish_norm_batch(&norm, 0.25, 3, sums, z);
    assert_true(mean[0] == 2 && mean[1] == 10);
    assert_true(fabs((double)var[0] - 7) < 1e-6 && var[1] == 0);
    assert_true(fabs((double)inverse[0] - 1 / sd) < 1e-7 && inverse[1] == 2);
    assert_true(fabs((double)z[4] - 3 / sd) < 1e-6 && z[5] == 0);
    fish_norm_affine(&norm, z, 3, false, false, y);
    assert_true(fabs((double)y[0] - (1 - 4 / sd)) < 1e-6 && y[1] == -1);
    fish_norm_affine(&norm, z, 3, true, true, y);
    assert_true(fabs((double)y[4] - 2 * (1 + 6 / sd)) < 1e-5 && y[1] == 0);
}

/* ---- gradients --------------------------------------------------------------------------------
 */

static void gradients_agree_with_differences(void **state)
{
    static const fish_pass *const passes[] = {&running, &training, &batch};

    (void)state;
    for (size_t k = 0; k < N_NETS; k++) {
        for (size_t p = 0; p < sizeof passes / sizeof passes[0]; p++) {
            fish_model *m = gradcheck_model(nets[k]);
            gradcheck_batch g;

            gradcheck_fill(m);
            gradcheck_batch_init(&g, m, 4);
            gradcheck_differences(m, &g, passes[p], 1.0f / 256, 1e-2);
            gradcheck_batch_release(&g);
            fish_model_free(m);
        }
    }
}

static void examples_have_gradients_of_their_own(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_NETS; k++) {
        fish_model *m = gradcheck_model(nets[k]);
        gradcheck_batch g;

        gradcheck_fill(m);
        gradcheck_batch_init(&g, m, 3);
        gradcheck_examples(m, &g, 1e-4);
        gradcheck_batch_release(&g);
        fish_model_free(m);
    }
}

static void check_golden(fish_model *m, const resnet_golden_case *want, bool by_batch)
{
    fish_work *w = fish_work_new(m);
    const float *at = by_batch ? want->batch_gradients : want->running_gradients;
    const float *outputs = by_batch ? want->batch_outputs : want->running_outputs;
    gradcheck_batch g;
    gradcheck_sink *s;
    double got[64];

    assert_true(want->n_images * m->n_outputs <= 64);
    gradcheck_fill(m);
    gradcheck_batch_init(&g, m, want->n_images);
    s = gradcheck_run(m, w, &g, by_batch ? &batch : &running, UINT32_MAX);
    for (size_t i = 0; i < want->n_images * m->n_outputs; i++)
        got[i] = (double)g.outputs[i];
    gradcheck_close("outputs", outputs, want->n_images * m->n_outputs, got, 1e-5);
    for (uint32_t p = 0; p < m->n_params; p++) {
        if (m->params[p].role == FISH_BUFFER)
            continue;
        gradcheck_close(m->params[p].name, at, m->params[p].n, s->grad[p], 1e-4);
        at += m->params[p].n;
    }
    assert_int_equal(at - (by_batch ? want->batch_gradients : want->running_gradients),
                     want->n_gradients);
    fish_model_fold_statistics(m, w);
    gradcheck_sink_free(s);
    gradcheck_batch_release(&g);
    fish_work_free(m, w);
}

/* Also the running statistics after a pass that changes them, and their rest after one that does
 * not. */
static void gradients_and_statistics_are_those_of_pytorch(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof resnet_golden / sizeof resnet_golden[0]; k++) {
        const resnet_golden_case *want = &resnet_golden[k];
        fish_model *m = gradcheck_model(want->config);
        const float *at = want->statistics;

        check_golden(m, want, false);
        for (uint32_t p = 0; p < m->n_params; p++) {
            for (size_t i = 0; i < m->params[p].n && m->params[p].role == FISH_BUFFER; i++)
                assert_true(m->params[p].w[i] ==
                            gradcheck_number(m->params[p].name, i) +
                                (strstr(m->params[p].name, "var") ? 1.0f : 0.0f));
        }
        check_golden(m, want, true);
        for (uint32_t p = 0; p < m->n_params; p++) {
            double got[64];

            if (m->params[p].role != FISH_BUFFER)
                continue;
            assert_true(m->params[p].n <= 64);
            for (size_t i = 0; i < m->params[p].n; i++)
                got[i] = (double)m->params[p].w[i];
            gradcheck_close(m->params[p].name, at, m->params[p].n, got, 1e-5);
            at += m->params[p].n;
        }
        assert_int_equal(at - want->statistics, want->n_statistics);
        fish_model_free(m);
    }
}

/* A small batch after a large one, and a large one after it, give what a new workspace gives. */
static void a_workspace_may_be_used_again(void **state)
{
    fish_model *m = gradcheck_model(nets[0]);
    fish_work *w = fish_work_new(m);

    (void)state;
    gradcheck_fill(m);
    for (uint32_t i = 0; i < 4; i++) {
        static const uint32_t counts[] = {3, 1, 4, 2};
        fish_work *fresh = fish_work_new(m);
        gradcheck_batch g;
        gradcheck_sink *a, *b;

        gradcheck_batch_init(&g, m, counts[i]);
        a = gradcheck_run(m, w, &g, i & 1 ? &running : &batch, UINT32_MAX);
        b = gradcheck_run(m, fresh, &g, i & 1 ? &running : &batch, UINT32_MAX);
        for (uint32_t p = 0; p < m->n_params; p++)
            assert_memory_equal(a->grad[p], b->grad[p], m->params[p].n * sizeof **a->grad);
        gradcheck_sink_free(a);
        gradcheck_sink_free(b);
        gradcheck_batch_release(&g);
        fish_work_free(m, fresh);
    }
    fish_work_free(m, w);
    fish_model_free(m);
}

static void one_value_has_no_batch_statistics(void **state)
{
    fish_model *m = gradcheck_model("{\"model_type\": \"resnet\", \"layers\": [1], \"width\": 2, "
                                    "\"stem\": \"small\", \"image_size\": 1, \"num_labels\": 2}");
    fish_work *w = fish_work_new(m);
    gradcheck_batch g;
    fmp_error err;

    (void)state;
    gradcheck_batch_init(&g, m, 1);
    assert_status(fish_forward(m, w, &g.b, &running, g.outputs, &err), FMP_OK, &err);
    assert_status(fish_forward(m, w, &g.b, &batch, g.outputs, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "bn1.weight"));
    gradcheck_batch_release(&g);
    fish_work_free(m, w);
    fish_model_free(m);
}

/* ---- parameters -------------------------------------------------------------------------------
 */

static const fish_param *find(const fish_model *m, const char *name)
{
    for (uint32_t p = 0; p < m->n_params; p++) {
        if (!strcmp(m->params[p].name, name))
            return &m->params[p];
    }
    fail_msg("no parameter %s", name);
    return NULL;
}

static void assert_shape(const fish_model *m, const char *name, uint64_t a, uint64_t b, uint64_t c)
{
    const fish_param *p = find(m, name);
    const uint64_t want[4] = {a, b, c, c};

    assert_int_equal(p->rank, b ? c ? 4 : 2 : 1);
    assert_memory_equal(p->shape, want, p->rank * sizeof want[0]);
}

/* Counts are those that torchvision's documentation gives: 11,689,512 and 25,557,032 weights. */
static void resnet_18_and_50_have_torchvisions_shapes(void **state)
{
    fish_model *m = gradcheck_model("{\"model_type\": \"resnet\", \"layers\": [2, 2, 2, 2], "
                                    "\"in_channels\": 3, \"image_size\": 224, "
                                    "\"num_labels\": 1000}");
    size_t n = 0;

    (void)state;
    for (uint32_t p = 0; p < m->n_params; p++)
        n += m->params[p].role == FISH_BUFFER ? 0 : m->params[p].n;
    assert_int_equal(n, 11689512);
    assert_int_equal(m->n_params, 20 * 5 + 2);
    assert_shape(m, "conv1.weight", 64, 3, 7);
    assert_shape(m, "layer1.0.conv1.weight", 64, 64, 3);
    assert_shape(m, "layer2.0.downsample.0.weight", 128, 64, 1);
    assert_shape(m, "layer2.0.downsample.1.running_var", 128, 0, 0);
    assert_shape(m, "layer4.1.bn2.bias", 512, 0, 0);
    assert_shape(m, "fc.weight", 1000, 512, 0);
    assert_int_equal(find(m, "fc.bias")->role, FISH_HEAD);
    assert_int_equal(find(m, "bn1.running_mean")->role, FISH_BUFFER);
    fish_model_free(m);
    m = gradcheck_model("{\"model_type\": \"resnet\", \"layers\": [3, 4, 6, 3], \"block\": "
                        "\"bottleneck\", \"in_channels\": 3, \"image_size\": 224, "
                        "\"num_labels\": 1000}");
    n = 0;
    for (uint32_t p = 0; p < m->n_params; p++)
        n += m->params[p].role == FISH_BUFFER ? 0 : m->params[p].n;
    assert_int_equal(n, 25557032);
    assert_shape(m, "layer1.0.downsample.0.weight", 256, 64, 1);
    assert_shape(m, "layer3.5.conv3.weight", 1024, 256, 1);
    fish_model_free(m);
}

/* Convolutions: normal with variance 2 / (out * kernel^2).  Norms: 1, 0, 0, 1. */
static void new_weights_are_as_torchvision_makes_them(void **state)
{
    fish_model *m = gradcheck_model("{\"model_type\": \"resnet\", \"layers\": [1, 1], \"width\": "
                                    "32, \"stem\": \"small\", \"image_size\": 8, "
                                    "\"num_labels\": 10}");

    (void)state;
    for (uint32_t p = 0; p < m->n_params; p++) {
        const fish_param *q = &m->params[p];
        const double want = 2.0 / (double)(q->shape[0] * q->shape[2] * q->shape[3]);
        const double one = strstr(q->name, "weight") || strstr(q->name, "running_var") ? 1 : 0;
        double sum = 0, squares = 0;

        for (size_t i = 0; i < q->n; i++) {
            sum += (double)q->w[i];
            squares += (double)q->w[i] * (double)q->w[i];
        }
        if (q->rank == 4) {
            assert_true(fabs(sum / (double)q->n) <= 5 * sqrt(want / (double)q->n));
            assert_true(fabs(squares / (double)q->n / want - 1) <= 5 * sqrt(2 / (double)q->n));
        } else if (!strstr(q->name, "fc.")) {
            assert_true(sum == one * (double)q->n && squares == sum);
        } else {
            assert_true(squares / (double)q->n <= 1.0 / 64 && squares > 0); /* in +-1 / 8 */
        }
    }
    fish_model_free(m);
}

static void odd_configs_are_refused(void **state)
{
#define NET "{\"model_type\": \"resnet\", "
    static const struct {
        const char *config;
        fmp_status status;
        const char *text;
    } bad[] = {
        {NET "\"image_size\": 8, \"num_labels\": 2}", FMP_ECORRUPT, "layers"},
        {NET "\"layers\": [], \"image_size\": 8, \"num_labels\": 2}", FMP_ECORRUPT, "layers"},
        {NET "\"layers\": [1, 1, 1, 1, 1, 1, 1, 1, 1], \"image_size\": 8}", FMP_ECORRUPT, "layers"},
        {NET "\"layers\": [1, 0], \"image_size\": 8}", FMP_ECORRUPT, "layers: number 2"},
        {NET "\"layers\": [1001], \"image_size\": 8}", FMP_ECORRUPT, "1 to 1000"},
        {NET "\"layers\": [\"1\"], \"image_size\": 8}", FMP_ECORRUPT, "layers: number 1"},
        {NET "\"layers\": [1], \"widths\": [1, 2], \"image_size\": 8}", FMP_ECORRUPT,
         "2 widths for 1 stages"},
        {NET "\"layers\": [1], \"widths\": [65537], \"image_size\": 8}", FMP_ECORRUPT, "widths"},
        {NET "\"layers\": [1], \"width\": 0, \"image_size\": 8}", FMP_ECORRUPT, "width"},
        {NET "\"layers\": [1], \"width\": 100000, \"image_size\": 8}", FMP_ECORRUPT, "width"},
        {NET "\"layers\": [1], \"block\": \"dense\", \"image_size\": 8}", FMP_ENOTSUP, "dense"},
        {NET "\"layers\": [1], \"stem\": \"tiny\", \"image_size\": 8}", FMP_ENOTSUP, "tiny"},
        {NET "\"layers\": [1], \"stem\": 3, \"image_size\": 8}", FMP_ENOTSUP, "stem"},
        {NET "\"layers\": [1], \"groups\": 32, \"image_size\": 8}", FMP_ENOTSUP, "groups"},
        {NET "\"layers\": [1], \"norm_eps\": -1, \"image_size\": 8}", FMP_ECORRUPT, "norm_eps"},
        {NET "\"layers\": [1], \"block\": \"bottleneck\", \"width_per_group\": 1, \"width\": 2,"
             " \"image_size\": 8, \"num_labels\": 2}",
         FMP_ECORRUPT, "width_per_group"},
        {NET "\"layers\": [1], \"num_labels\": 2}", FMP_ECORRUPT, "image_size is missing"},
        {NET "\"layers\": [1], \"width\": 2, \"image_size\": 99999}", FMP_ECORRUPT, "image_size"},
        {NET "\"layers\": [1], \"in_channels\": 0, \"image_size\": 8}", FMP_ECORRUPT,
         "in_channels"},
        {NET "\"layers\": [1], \"width\": 2, \"image_size\": 8}", FMP_EUSAGE, "number of labels"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *config = json_loads(bad[i].config, 0, NULL);
        fish_model *m = NULL;
        fmp_error err;

        assert_non_null(config);
        assert_status(fish_model_new(config, 1, &m, &err), bad[i].status, &err);
        assert_null(m);
        if (!strstr(err.text, bad[i].text))
            fail_msg("%s: \"%s\" has no \"%s\"", bad[i].config, err.text, bad[i].text);
        json_decref(config);
    }
}

/* ---- checkpoints ------------------------------------------------------------------------------
 */

static char dir[64];

/* Writes nets[1] with names behind `prefix`, all tensors but `without`. */
static void save(const char *prefix, const char *without)
{
    json_t *config = json_loads(nets[1], 0, NULL);
    fish_model *m = gradcheck_model(nets[1]);
    char name[100];
    fmp_error err;

    gradcheck_fill(m);
    for (uint32_t p = 0; p < m->n_params; p++) {
        char *named = fish_alloc(100, 1);

        assert_non_null(named);
        snprintf(named, 100, "%s%s", prefix,
                 without && !strcmp(without, m->params[p].name) ? "other" : m->params[p].name);
        fish_free((char *)(uintptr_t)m->params[p].name);
        m->params[p].name = named;
    }
    assert_status(fish_model_save(m, config, dir, true, &err), FMP_OK, &err);
    snprintf(name, sizeof name, "%s/config.json", dir);
    fish_model_free(m);
    json_decref(config);
}

static fmp_status open_saved(uint32_t n_outputs, const char *head, fish_model **ret, fmp_error *err)
{
    const fish_model_options options = {.n_outputs = n_outputs, .head = head};
    fmp_store *base = NULL;
    fmp_status st;

    assert_status(fmp_store_open(dir, NULL, &base, err), FMP_OK, err);
    st = fish_model_open(base, dir, &options, ret, err);
    fmp_store_close(base);
    return st;
}

static void checkpoints_open_with_and_without_a_prefix(void **state)
{
    static const char *const prefixes[] = {"", "module.", "net.backbone."};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fish_model *m = NULL;
        char name[64];
        fmp_error err;

        save(prefixes[i], NULL);
        assert_status(open_saved(0, NULL, &m, &err), FMP_OK, &err);
        assert_int_equal(m->n_outputs, 2);
        snprintf(name, sizeof name, "%slayer2.0.downsample.1.running_var", prefixes[i]);
        assert_true(find(m, name)->w[1] ==
                    gradcheck_number("layer2.0.downsample.1.running_var", 1) + 1.0f);
        fish_model_free(m);
    }
}

static void missing_tensors_are_refused_and_heads_are_made(void **state)
{
    static const char *const body[] = {"conv1.weight", "layer1.1.conv2.weight", "bn1.running_mean",
                                       "layer2.0.downsample.1.bias"};
    fish_model *m = NULL;
    fmp_error err;

    (void)state;
    for (size_t i = 0; i < sizeof body / sizeof body[0]; i++) {
        save("", body[i]);
        assert_status(open_saved(0, NULL, &m, &err), FMP_ECORRUPT, &err);
        assert_non_null(strstr(err.text, "is missing"));
    }
    save("", "fc.weight");
    assert_status(open_saved(7, NULL, &m, &err), FMP_EUSAGE, &err); /* fc.bias has two */
    assert_status(open_saved(2, NULL, &m, &err), FMP_OK, &err);
    assert_true(find(m, "fc.weight")->added);
    fish_model_free(m);
    m = NULL;
    save("", NULL);
    assert_status(open_saved(7, NULL, &m, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "fc.weight has 2 outputs, 7 are needed"));
    assert_status(open_saved(7, "classifier.weight", &m, &err), FMP_OK, &err);
    assert_int_equal(m->n_outputs, 7);
    assert_shape(m, "classifier.weight", 7, 4, 0);
    assert_true(find(m, "classifier.bias")->added);
    fish_model_free(m);
}

static void short_memory_is_an_error(void **state)
{
    json_t *config = json_loads(nets[0], 0, NULL);
    fish_model *m = NULL;
    gradcheck_sink *s;
    gradcheck_batch g;
    fmp_error err;
    fmp_status st = FMP_ENOMEM;
    long k;

    (void)state;
    for (k = 0; st; k++) {
        fish_alloc_fail_at(k);
        st = fish_model_new(config, 1, &m, &err);
        fish_alloc_fail_at(-1);
        assert_true(!st || st == FMP_ENOMEM);
    }
    assert_true(k > 60);
    gradcheck_batch_init(&g, m, 3);
    for (k = 0, st = FMP_ENOMEM; st; k++) {
        fish_work *w;

        s = gradcheck_sink_new(m, UINT32_MAX);
        fish_alloc_fail_at(k);
        w = fish_work_new(m);
        st = w ? fish_forward(m, w, &g.b, &running, g.outputs, &err) : FMP_ENOMEM;
        if (!st)
            st = fish_backward(m, w, &g.b, g.d_outputs, &s->sink, &err);
        fish_alloc_fail_at(-1);
        assert_true(!st || st == FMP_ENOMEM);
        /* the workspace is whole again once there is memory */
        if (w && st)
            assert_status(fish_forward(m, w, &g.b, &running, g.outputs, &err), FMP_OK, &err);
        fish_work_free(m, w);
        gradcheck_sink_free(s);
    }
    assert_true(k > 6);
    gradcheck_batch_release(&g);
    fish_model_free(m);
    json_decref(config);
}

static void batches_past_memory_are_refused(void **state)
{
    fish_model *m = gradcheck_model(nets[0]);
    fish_work *w = fish_work_new(m);
    const float pixel = 0;
    const fish_batch b = {.n = UINT32_MAX, .pixels = &pixel};
    float output;
    fmp_error err;

    (void)state;
    assert_status(fish_forward(m, w, &b, &running, &output, &err), FMP_ENOMEM, &err);
    assert_non_null(strstr(err.text, "4294967295 images are too many"));
    fish_work_free(m, w);
    fish_model_free(m);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "fish-resnet-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char name[100];

    (void)state;
    snprintf(name, sizeof name, "%s/model.safetensors", dir);
    remove(name);
    snprintf(name, sizeof name, "%s/config.json", dir);
    remove(name);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution_is_what_its_definition_says),
        cmocka_unit_test(max_pooling_takes_the_first_of_equals),
        cmocka_unit_test(max_pooling_keeps_nan),
        cmocka_unit_test(mean_pooling_by_hand),
        cmocka_unit_test(batch_statistics_by_hand),
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(examples_have_gradients_of_their_own),
        cmocka_unit_test(gradients_and_statistics_are_those_of_pytorch),
        cmocka_unit_test(a_workspace_may_be_used_again),
        cmocka_unit_test(one_value_has_no_batch_statistics),
        cmocka_unit_test(resnet_18_and_50_have_torchvisions_shapes),
        cmocka_unit_test(new_weights_are_as_torchvision_makes_them),
        cmocka_unit_test(odd_configs_are_refused),
        cmocka_unit_test(checkpoints_open_with_and_without_a_prefix),
        cmocka_unit_test(missing_tensors_are_refused_and_heads_are_made),
        cmocka_unit_test(short_memory_is_an_error),
        cmocka_unit_test(batches_past_memory_are_refused),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
