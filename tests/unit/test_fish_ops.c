/*
 * The small operations of models: values against formulas in double, gradients against finite
 * differences of those formulas in double, dropout against Philox itself.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "model/attention.h"
#include "model/gemm.h"
#include "model/ops.h"
#include "model/vecmath.h"

#define MAX 2048

static float noise(uint64_t i)
{
    return (float)fish_random_normal(fish_key_make(3, FISH_STREAM_TEST), 0, i);
}

static void fill(float *x, size_t n, uint64_t place)
{
    for (size_t i = 0; i < n; i++)
        x[i] = noise(place << 32 | i);
}

/* max |a - b| / max |b| */
static double gap(const float *a, const double *b, size_t n)
{
    double most = 0;
    double scale = 1e-30;

    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - b[i]));
        scale = fmax(scale, fabs(b[i]));
    }
    return most / scale;
}

static void assert_close(const float *a, const double *b, size_t n, double tolerance)
{
    const double g = gap(a, b, n);

    if (!(g <= tolerance))
        fail_msg("relative error %.3g, at most %.3g is expected", g, tolerance);
}

/* A formula in double: y from x. */
typedef struct formula {
    void (*fn)(const struct formula *f, const double *x, double *y);
    size_t n_x, n_y;
    size_t rows, width;
    const float *gain, *bias;
    const fish_attention *attention;
    const float *mask; /* factors of probabilities */
} formula;

/* ret[i] = d (sum of c y) / d x[i] by central differences. */
static void differences(const formula *f, const float *x, const float *c, double *ret)
{
    static double at[MAX], up[MAX], down[MAX];
    const double h = 1e-5;

    assert_true(f->n_x <= MAX && f->n_y <= MAX);
    for (size_t i = 0; i < f->n_x; i++)
        at[i] = (double)x[i];
    for (size_t i = 0; i < f->n_x; i++) {
        const double before = at[i];
        double sum = 0;

        at[i] = before + h;
        f->fn(f, at, up);
        at[i] = before - h;
        f->fn(f, at, down);
        at[i] = before;
        for (size_t k = 0; k < f->n_y; k++)
            sum += (double)c[k] * (up[k] - down[k]);
        ret[i] = sum / (2 * h);
    }
}

static void values(const formula *f, const float *x, double *y)
{
    static double at[MAX];

    for (size_t i = 0; i < f->n_x; i++)
        at[i] = (double)x[i];
    f->fn(f, at, y);
}

/* ---- vecmath ----------------------------------------------------------------------------------
 */

static double worst(float (*fast)(float), double (*exact)(double), float lo, float hi)
{
    const uint32_t n = 2000000;
    double most = 0;

    for (uint32_t i = 0; i <= n; i++) {
        const float x = lo + (hi - lo) * ((float)i / (float)n);
        const double want = exact((double)x);

        if (want != 0)
            most = fmax(most, fabs((double)fast(x) - want) / fabs(want));
    }
    return most;
}

/* The figure that vecmath.h promises. */
static void fast_functions_are_within_4e_7(void **state)
{
    (void)state;
    assert_true(worst(fish_vec_exp, exp, -87, 88) <= 4e-7);
    assert_true(worst(fish_vec_exp, exp, -1, 1) <= 4e-7);
    assert_true(worst(fish_vec_erf, erf, -6, 6) <= 4e-7);
    assert_true(worst(fish_vec_erf, erf, -1e-3f, 1e-3f) <= 4e-7);
    assert_true(worst(fish_vec_tanh, tanh, -12, 12) <= 4e-7);
    assert_true(worst(fish_vec_tanh, tanh, -1e-3f, 1e-3f) <= 4e-7);
}

static void fast_functions_keep_to_their_ends(void **state)
{
    (void)state;
    assert_true(fish_vec_exp(0) == 1);
    assert_true(fish_vec_exp(-INFINITY) == 0);
    assert_true(fish_vec_exp(-1000) == 0);
    assert_true(isfinite(fish_vec_exp(INFINITY)));
    assert_true(isnan(fish_vec_exp(NAN)));
    assert_true(fish_vec_erf(INFINITY) == 1 && fish_vec_erf(-INFINITY) == -1);
    assert_true(fish_vec_erf(0) == 0 && isnan(fish_vec_erf(NAN)));
    assert_true(fish_vec_tanh(INFINITY) == 1 && fish_vec_tanh(-INFINITY) == -1);
    assert_true(fish_vec_tanh(0) == 0 && isnan(fish_vec_tanh(NAN)));
}

/* ---- activations ------------------------------------------------------------------------------
 */

static void exact_gelu(const formula *f, const double *x, double *y)
{
    for (size_t i = 0; i < f->n_x; i++)
        y[i] = 0.5 * x[i] * (1 + erf(x[i] / sqrt(2)));
}

static void exact_gelu_tanh(const formula *f, const double *x, double *y)
{
    for (size_t i = 0; i < f->n_x; i++)
        y[i] = 0.5 * x[i] * (1 + tanh(sqrt(2 / acos(-1)) * (x[i] + 0.044715 * pow(x[i], 3))));
}

static void exact_relu(const formula *f, const double *x, double *y)
{
    for (size_t i = 0; i < f->n_x; i++)
        y[i] = x[i] > 0 ? x[i] : 0;
}

static void exact_tanh(const formula *f, const double *x, double *y)
{
    for (size_t i = 0; i < f->n_x; i++)
        y[i] = tanh(x[i]);
}

static void tanh_to(const float *x, float *y, size_t n)
{
    memcpy(y, x, n * sizeof *y);
    fish_tanh(y, n);
}

/* The gradient of tanh is taken from its output. */
static void tanh_backward(const float *x, float *d, size_t n)
{
    float y[MAX];

    tanh_to(x, y, n);
    fish_tanh_backward(y, d, n);
}

static void activations_and_their_gradients(void **state)
{
    static const struct {
        void (*exact)(const formula *f, const double *x, double *y);
        void (*forward)(const float *x, float *y, size_t n);
        void (*backward)(const float *x, float *d, size_t n);
    } all[] = {{exact_gelu, fish_gelu, fish_gelu_backward},
               {exact_gelu_tanh, fish_gelu_tanh, fish_gelu_tanh_backward},
               {exact_relu, fish_relu, fish_relu_backward},
               {exact_tanh, tanh_to, tanh_backward}};
    enum { N = 333 };
    static float x[N], y[N], c[N];
    static double want[N];

    (void)state;
    fill(c, N, 1);
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        const formula f = {.fn = all[k].exact, .n_x = N, .n_y = N};
        float d[N];

        for (size_t i = 0; i < N; i++)
            x[i] = ((float)i - N / 2 + 0.5f) / 30;
        all[k].forward(x, y, N);
        values(&f, x, want);
        assert_close(y, want, N, 5e-7);
        memcpy(d, c, sizeof d);
        all[k].backward(x, d, N);
        differences(&f, x, c, want);
        assert_close(d, want, N, 1e-6);
    }
}

/* ---- rows -------------------------------------------------------------------------------------
 */

static void exact_norm(const formula *f, const double *x, double *y)
{
    for (size_t r = 0; r < f->rows; r++) {
        const double *in = x + r * f->width;
        double mean = 0;
        double variance = 0;

        for (size_t j = 0; j < f->width; j++)
            mean += in[j] / (double)f->width;
        for (size_t j = 0; j < f->width; j++)
            variance += (in[j] - mean) * (in[j] - mean) / (double)f->width;
        for (size_t j = 0; j < f->width; j++)
            y[r * f->width + j] =
                (in[j] - mean) / sqrt(variance + 1e-5) * (double)f->gain[j] + (double)f->bias[j];
    }
}

/* Widths around the number of lanes, and a row that is far from 0. */
static void layer_norm_and_its_gradient(void **state)
{
    static const size_t widths[] = {1, 7, 16, 17, 40, 384};
    static float x[MAX], hat[MAX], y[MAX], c[MAX], again[MAX], gain[MAX], bias[MAX], rstd[4];
    static double want[MAX];

    (void)state;
    for (size_t k = 0; k < sizeof widths / sizeof widths[0]; k++) {
        const size_t n = 3 * widths[k];
        const formula f = {.fn = exact_norm,
                           .n_x = n,
                           .n_y = n,
                           .rows = 3,
                           .width = widths[k],
                           .gain = gain,
                           .bias = bias};

        fill(x, n, 2);
        fill(c, n, 3);
        fill(gain, widths[k], 4);
        fill(bias, widths[k], 5);
        for (size_t j = 0; j < widths[k]; j++)
            x[j] += 100;
        memcpy(hat, x, n * sizeof *x);
        fish_layer_norm(hat, gain, bias, 1e-5, 3, widths[k], rstd, y);
        values(&f, x, want);
        assert_close(y, want, n, 3e-5);
        fish_affine(hat, gain, bias, 3, widths[k], again);
        assert_memory_equal(again, y, n * sizeof *y);
        differences(&f, x, c, want);
        fish_layer_norm_backward(hat, rstd, gain, 3, widths[k], c);
        if (widths[k] > 1) /* else the gradient is 0 and what is measured is noise */
            assert_close(c, want, n, 3e-5);
    }
}

static void exact_softmax(const formula *f, const double *x, double *y)
{
    for (size_t r = 0; r < f->rows; r++) {
        double sum = 0;

        for (size_t j = 0; j < f->width; j++)
            sum += exp(x[r * f->width + j]);
        for (size_t j = 0; j < f->width; j++)
            y[r * f->width + j] = exp(x[r * f->width + j]) / sum;
    }
}

static void softmax_and_its_gradient(void **state)
{
    static const size_t widths[] = {1, 5, 16, 33};
    static float x[MAX], p[MAX], c[MAX];
    static double want[MAX];

    (void)state;
    for (size_t k = 0; k < sizeof widths / sizeof widths[0]; k++) {
        const size_t n = 4 * widths[k];
        const formula f = {.fn = exact_softmax, .n_x = n, .n_y = n, .rows = 4, .width = widths[k]};

        fill(x, n, 6);
        fill(c, n, 7);
        memcpy(p, x, n * sizeof *x);
        fish_softmax_rows(p, 4, widths[k]);
        values(&f, x, want);
        assert_close(p, want, n, 1e-6);
        differences(&f, x, c, want);
        for (size_t i = 0; i < n; i += 3) /* signs are marks, no values */
            p[i] = -p[i];
        fish_softmax_rows_backward(p, c, 4, widths[k]);
        if (widths[k] > 1)
            assert_close(c, want, n, 1e-5);
    }
}

/* Inputs far from 0 overflow nothing. */
static void softmax_of_large_numbers(void **state)
{
    float x[] = {1000, 1000, -1000, 3e38f, 3e38f, 0};

    (void)state;
    fish_softmax_rows(x, 2, 3);
    assert_true(x[0] == 0.5f && x[1] == 0.5f && x[2] == 0);
    assert_true(x[3] == 0.5f && x[4] == 0.5f && x[5] == 0);
}

static void bias_and_sum(void **state)
{
    float x[] = {1, 2, 3, 4, 5, 6};
    const float b[] = {10, 20, 30};
    const float y[] = {1, 1, 1, 1, 1, 2};

    (void)state;
    fish_add_bias(x, b, 2, 3);
    fish_add(x, y, 6);
    for (size_t i = 0; i < 6; i++)
        assert_true(x[i] == (float)(i + 1) + b[i % 3] + y[i]);
}

/* ---- matrix products --------------------------------------------------------------------------
 */

/* The three products on strided matrices, with alpha and beta. */
static void products_are_those_named(void **state)
{
    enum { M = 3, N = 4, K = 5, LD = 7 };
    static float a[K * LD], b[K * LD], c[3][M * LD];

    (void)state;
    fill(a, K * LD, 8);
    fill(b, K * LD, 9);
    for (size_t k = 0; k < 3; k++)
        fill(c[k], M * LD, 10);
    fish_gemm_nt(M, N, K, 2, a, LD, b, LD, 0.5f, c[0], LD);
    fish_gemm_nn(M, N, K, 2, a, LD, b, LD, 0.5f, c[1], LD);
    fish_gemm_tn(M, N, K, 2, a, LD, b, LD, 0.5f, c[2], LD);
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < N; j++) {
            const double before = 0.5 * (double)noise((uint64_t)10 << 32 | (i * LD + j));
            double nt = before;
            double nn = before;
            double tn = before;

            for (size_t k = 0; k < K; k++) {
                nt += 2 * (double)a[i * LD + k] * (double)b[j * LD + k];
                nn += 2 * (double)a[i * LD + k] * (double)b[k * LD + j];
                tn += 2 * (double)a[k * LD + i] * (double)b[k * LD + j];
            }
            assert_true(fabs((double)c[0][i * LD + j] - nt) < 1e-5);
            assert_true(fabs((double)c[1][i * LD + j] - nn) < 1e-5);
            assert_true(fabs((double)c[2][i * LD + j] - tn) < 1e-5);
        }
    }
}

/* ---- dropout ----------------------------------------------------------------------------------
 */

static const fish_dropout tenth = {.key = {{5, 6}}, .step = 7, .site = 8, .rate = 0.1};

/* Decision number i of an example is 16 bits of Philox at counter (step and site, example and
 * place): block i / 128, counter i % 16 of its 16, half (i / 16) % 8. */
static void masks_are_philox(void **state)
{
    enum { N = 300 };
    float x[N];

    (void)state;
    for (size_t i = 0; i < N; i++)
        x[i] = 1;
    fish_drop(&tenth, 77, x, N);
    for (size_t i = 0; i < N; i++) {
        const size_t half = i / 16 % 8;
        uint32_t r[4];
        uint32_t u;

        fish_philox(tenth.key, 7 << 16 | 8, (uint64_t)77 << 32 | (i / 128 * 16 + i % 16), r);
        u = half % 2 ? r[half / 2] >> 16 : r[half / 2] & 0xffff;
        assert_true(x[i] == (u < 6554 ? 0 : (float)(65536.0 / (65536 - 6554))));
    }
}

static void masks_have_their_rate(void **state)
{
    enum { N = 100000 };
    static float x[N];
    static const double rates[] = {0.001, 0.1, 0.5, 0.9};

    (void)state;
    for (size_t k = 0; k < sizeof rates / sizeof rates[0]; k++) {
        const fish_dropout d = {.key = {{1, 2}}, .rate = rates[k]};
        double mean = 0;
        size_t dropped = 0;

        for (size_t i = 0; i < N; i++)
            x[i] = 1;
        fish_drop(&d, 0, x, N);
        for (size_t i = 0; i < N; i++) {
            mean += (double)x[i] / N;
            dropped += x[i] == 0;
        }
        /* Five standard deviations. */
        assert_true(fabs((double)dropped - N * rates[k]) < 5 * sqrt(N * rates[k] * (1 - rates[k])));
        assert_true(fabs(mean - 1) < 5 * sqrt(rates[k] / (1 - rates[k]) / N));
    }
}

/* Key, step, site and example each change the mask; the length of an example does not. */
static void masks_depend_on_their_place_only(void **state)
{
    enum { N = 500 };
    const fish_dropout others[] = {
        {.key = {{5, 7}}, .step = 7, .site = 8, .rate = 0.1},
        {.key = {{5, 6}}, .step = 8, .site = 8, .rate = 0.1},
        {.key = {{5, 6}}, .step = 7, .site = 9, .rate = 0.1},
    };
    float a[N], b[N];

    (void)state;
    fill(a, N, 20);
    fish_drop(&tenth, 3, a, N);
    for (size_t n = 1; n <= N; n += 13) {
        fill(b, N, 20);
        fish_drop(&tenth, 3, b, n);
        assert_memory_equal(a, b, n * sizeof *a);
        assert_true(n == N || b[n] == noise((uint64_t)20 << 32 | n));
    }
    for (size_t k = 0; k < 3; k++) {
        fill(b, N, 20);
        fish_drop(&others[k], 3, b, N);
        assert_memory_not_equal(a, b, sizeof a);
    }
    fill(b, N, 20);
    fish_drop(&tenth, 4, b, N);
    assert_memory_not_equal(a, b, sizeof a);
}

static void no_rate_changes_nothing(void **state)
{
    const fish_dropout none = {.key = {{5, 6}}};
    float x[] = {1, -2, 3};

    (void)state;
    assert_false(fish_drops(&none));
    assert_true(fish_drops(&tenth));
    fish_drop(&none, 0, x, 3);
    fish_drop_signs(&none, 0, x, 3);
    assert_true(x[0] == 1 && x[1] == -2 && x[2] == 3);
}

/* The mask by signs is the mask, zeros included. */
static void signs_are_the_same_mask(void **state)
{
    enum { N = 400 };
    float p[N], dropped[N], by_sign[N], d[N], d_dropped[N];

    (void)state;
    fill(d, N, 22);
    for (size_t i = 0; i < N; i++)
        p[i] = i % 5 ? fabsf(noise(i)) : 0;
    memcpy(dropped, p, sizeof p);
    memcpy(d_dropped, d, sizeof d);
    fish_drop(&tenth, 9, dropped, N);
    fish_drop(&tenth, 9, d_dropped, N);
    fish_drop_signs(&tenth, 9, p, N);
    fish_drop_signed(&tenth, p, p, N, by_sign);
    for (size_t i = 0; i < N; i++)
        assert_true(by_sign[i] == dropped[i]);
    fish_drop_signed(&tenth, p, d, N, d);
    for (size_t i = 0; i < N; i++)
        assert_true(d[i] == d_dropped[i]);
}

/* ---- attention --------------------------------------------------------------------------------
 */

/* x is q, k and v one after the other. */
static void exact_attention(const formula *f, const double *x, double *y)
{
    const fish_attention *a = f->attention;
    const size_t width = a->n_heads * a->head_dim;
    const double *q = x;
    const double *k = q + a->q_start[a->n] * width;
    const double *v = k + a->start[a->n] * width;
    size_t place = 0;

    memset(y, 0, f->n_y * sizeof *y);
    for (uint32_t e = 0; e < a->n; e++) {
        for (size_t h = 0; h < a->n_heads; h++) {
            for (size_t i = a->q_start[e]; i < a->q_start[e + 1]; i++) {
                double p[64];
                double sum = 0;

                for (size_t j = a->start[e]; j < a->start[e + 1]; j++) {
                    double s = 0;

                    for (size_t o = h * a->head_dim; o < (h + 1) * a->head_dim; o++)
                        s += q[i * width + o] * k[j * width + o];
                    p[j - a->start[e]] = exp(s / sqrt((double)a->head_dim));
                    sum += p[j - a->start[e]];
                }
                for (size_t j = a->start[e]; j < a->start[e + 1]; j++, place++) {
                    const double w =
                        p[j - a->start[e]] / sum * (f->mask ? (double)f->mask[place] : 1);

                    for (size_t o = h * a->head_dim; o < (h + 1) * a->head_dim; o++)
                        y[i * width + o] += w * v[j * width + o];
                }
            }
        }
    }
}

static void check_attention(const uint32_t *q_start, bool drops)
{
    enum { EXAMPLES = 3, HEADS = 2, DIM = 3, WIDTH = HEADS * DIM };
    static const uint32_t start[] = {0, 4, 5, 12};
    static const uint32_t example[] = {11, 12, 13};
    static float x[MAX], d[MAX], ctx[MAX], c[MAX], p[MAX], mask[MAX], scratch[MAX];
    static double want[MAX];
    const fish_attention a = {.n_heads = HEADS,
                              .head_dim = DIM,
                              .n = EXAMPLES,
                              .q_start = q_start,
                              .start = start,
                              .example = example,
                              .drop = {.key = {{1, 1}}, .rate = drops ? 0.3 : 0}};
    const size_t n_q = q_start[EXAMPLES] * WIDTH;
    const size_t n_k = start[EXAMPLES] * WIDTH;
    const formula f = {.fn = exact_attention,
                       .n_x = n_q + 2 * n_k,
                       .n_y = n_q,
                       .attention = &a,
                       .mask = drops ? mask : NULL};
    size_t at = 0;

    for (uint32_t e = 0; e < EXAMPLES; e++) {
        const size_t n = (size_t)HEADS * (q_start[e + 1] - q_start[e]) * (start[e + 1] - start[e]);

        for (size_t i = 0; i < n; i++)
            mask[at + i] = 1;
        fish_drop(&a.drop, example[e], mask + at, n);
        at += n;
    }
    assert_int_equal(fish_attention_kept(&a), at);
    assert_true(fish_attention_scratch(&a) <= MAX);
    fill(x, f.n_x, 30);
    fill(c, n_q, 31);
    fish_attention_forward(&a, x, x + n_q, x + n_q + n_k, p, ctx, scratch);
    values(&f, x, want);
    assert_close(ctx, want, n_q, 1e-6);
    fish_attention_backward(&a, x, x + n_q, x + n_q + n_k, p, c, d, d + n_q, d + n_q + n_k,
                            scratch);
    differences(&f, x, c, want);
    assert_close(d, want, n_q, 1e-5);
    assert_close(d + n_q, want + n_q, n_k, 1e-5);
    assert_close(d + n_q + n_k, want + n_q + n_k, n_k, 1e-5);
}

static void attention_and_its_gradients(void **state)
{
    static const uint32_t all[] = {0, 4, 5, 12};
    static const uint32_t one_each[] = {0, 1, 2, 3};

    (void)state;
    check_attention(all, false);
    check_attention(all, true);
    check_attention(one_each, false);
    check_attention(one_each, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_functions_are_within_4e_7),
        cmocka_unit_test(fast_functions_keep_to_their_ends),
        cmocka_unit_test(activations_and_their_gradients),
        cmocka_unit_test(layer_norm_and_its_gradient),
        cmocka_unit_test(softmax_and_its_gradient),
        cmocka_unit_test(softmax_of_large_numbers),
        cmocka_unit_test(bias_and_sum),
        cmocka_unit_test(products_are_those_named),
        cmocka_unit_test(masks_are_philox),
        cmocka_unit_test(masks_have_their_rate),
        cmocka_unit_test(masks_depend_on_their_place_only),
        cmocka_unit_test(no_rate_changes_nothing),
        cmocka_unit_test(signs_are_the_same_mask),
        cmocka_unit_test(attention_and_its_gradients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
