/*
 * Convolution, pooling and batch norm on their own, against their definitions.
 */
#include "fish_gradcheck.h"

#include "model/conv.h"
#include "model/norm.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolution_is_what_its_definition_says),
        cmocka_unit_test(max_pooling_takes_the_first_of_equals),
        cmocka_unit_test(max_pooling_keeps_nan),
        cmocka_unit_test(mean_pooling_by_hand),
        cmocka_unit_test(batch_statistics_by_hand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
