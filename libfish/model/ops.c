/*
 * Plain loops that the compiler vectorises for each processor.
 */
#include "model/ops.h"

#include <math.h>
#include <string.h>

#include "core/clones.h"
#include "model/vecmath.h"

FISH_CLONES
static void add_row(float *restrict x, const float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

void fish_add_bias(float *x, const float *b, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++)
        add_row(x + r * width, b, width);
}

void fish_add(float *x, const float *y, size_t n)
{
    add_row(x, y, n);
}

FISH_CLONES
static void affine_row(const float *restrict x, const float *restrict gain,
                       const float *restrict bias, size_t n, float *restrict y)
{
    for (size_t j = 0; j < n; j++)
        y[j] = x[j] * gain[j] + bias[j];
}

void fish_affine(const float *x, const float *gain, const float *bias, size_t rows, size_t width,
                 float *y)
{
    for (size_t r = 0; r < rows; r++)
        affine_row(x + r * width, gain, bias, width, y + r * width);
}

/* ---- sums: sixteen lanes, so that vectors can follow, then added pairwise ---------------------
 */

#define LANES 16u

static inline float add_lanes(float *lane)
{
    for (size_t half = LANES / 2; half; half /= 2) {
        for (size_t k = 0; k < half; k++)
            lane[k] += lane[k + half];
    }
    return lane[0];
}

static inline float sum(const float *x, size_t n)
{
    float lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            lane[k] += x[i + k];
    }
    for (size_t k = 0; i + k < n; k++)
        lane[k] += x[i + k];
    return add_lanes(lane);
}

static inline float sum_squares(const float *x, float mean, size_t n)
{
    float lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            lane[k] += (x[i + k] - mean) * (x[i + k] - mean);
    }
    for (size_t k = 0; i + k < n; k++)
        lane[k] += (x[i + k] - mean) * (x[i + k] - mean);
    return add_lanes(lane);
}

/* The sum of d g and that of d g x. */
static inline void sum_weighted(const float *d, const float *g, const float *x, size_t n,
                                float *ret_sum, float *ret_product)
{
    float lane[LANES] = {0};
    float product[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            const float dg = d[i + k] * g[i + k];

            lane[k] += dg;
            product[k] += dg * x[i + k];
        }
    }
    for (size_t k = 0; i + k < n; k++) {
        lane[k] += d[i + k] * g[i + k];
        product[k] += d[i + k] * g[i + k] * x[i + k];
    }
    *ret_sum = add_lanes(lane);
    *ret_product = add_lanes(product);
}

/* The sum of d |p|. */
static inline float sum_products(const float *p, const float *d, size_t n)
{
    float lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            lane[k] += fabsf(p[i + k]) * d[i + k];
    }
    for (size_t k = 0; i + k < n; k++)
        lane[k] += fabsf(p[i + k]) * d[i + k];
    return add_lanes(lane);
}

/* ---- layer norm -------------------------------------------------------------------------------
 */

FISH_CLONES
static float normalise_row(float *restrict x, const float *restrict gain,
                           const float *restrict bias, double eps, size_t n, float *restrict y)
{
    const float mean = sum(x, n) / (float)n;
    const double variance = (double)sum_squares(x, mean, n) / (double)n;
    const float scale = (float)(1 / sqrt(variance + eps));

    for (size_t j = 0; j < n; j++) {
        x[j] = (x[j] - mean) * scale;
        y[j] = x[j] * gain[j] + bias[j];
    }
    return scale;
}

void fish_layer_norm(float *x, const float *gain, const float *bias, double eps, size_t rows,
                     size_t width, float *rstd, float *y)
{
    for (size_t r = 0; r < rows; r++)
        rstd[r] = normalise_row(x + r * width, gain, bias, eps, width, y + r * width);
}

/* With g = d gain: the gradient is rstd (g - mean(g) - xhat mean(g xhat)). */
FISH_CLONES
static void normalise_row_backward(const float *restrict xhat, float rstd,
                                   const float *restrict gain, size_t n, float *restrict d)
{
    float mean, mean_hat;

    sum_weighted(d, gain, xhat, n, &mean, &mean_hat);
    mean /= (float)n;
    mean_hat /= (float)n;
    for (size_t j = 0; j < n; j++)
        d[j] = (d[j] * gain[j] - mean - xhat[j] * mean_hat) * rstd;
}

void fish_layer_norm_backward(const float *xhat, const float *rstd, const float *gain, size_t rows,
                              size_t width, float *d)
{
    for (size_t r = 0; r < rows; r++)
        normalise_row_backward(xhat + r * width, rstd[r], gain, width, d + r * width);
}

/* ---- activations ------------------------------------------------------------------------------
 */

#define SQRT_HALF    0.70710678f
#define INV_SQRT_2PI 0.39894228f
#define SQRT_2_PI    0.79788456f
#define CUBIC        0.044715f

FISH_CLONES
void fish_gelu(const float *restrict x, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 0.5f * x[i] * (1.0f + fish_vec_erf(x[i] * SQRT_HALF));
}

FISH_CLONES
void fish_gelu_backward(const float *restrict x, float *restrict d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float density = fish_vec_exp(-0.5f * x[i] * x[i]) * INV_SQRT_2PI;

        d[i] *= 0.5f * (1.0f + fish_vec_erf(x[i] * SQRT_HALF)) + x[i] * density;
    }
}

FISH_CLONES
void fish_gelu_tanh(const float *restrict x, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float u = SQRT_2_PI * (x[i] + CUBIC * x[i] * x[i] * x[i]);

        y[i] = 0.5f * x[i] * (1.0f + fish_vec_tanh(u));
    }
}

FISH_CLONES
void fish_gelu_tanh_backward(const float *restrict x, float *restrict d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float t = fish_vec_tanh(SQRT_2_PI * (x[i] + CUBIC * x[i] * x[i] * x[i]));
        const float du = SQRT_2_PI * (1.0f + 3 * CUBIC * x[i] * x[i]);

        d[i] *= 0.5f * (1.0f + t) + 0.5f * x[i] * (1.0f - t * t) * du;
    }
}

FISH_CLONES
void fish_relu(const float *restrict x, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : 0;
}

FISH_CLONES
void fish_relu_backward(const float *restrict x, float *restrict d, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d[i] = x[i] > 0 ? d[i] : 0;
}

FISH_CLONES
void fish_tanh(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = fish_vec_tanh(x[i]);
}

FISH_CLONES
void fish_tanh_backward(const float *restrict y, float *restrict d, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d[i] *= 1.0f - y[i] * y[i];
}

/* ---- softmax ----------------------------------------------------------------------------------
 */

static inline float greatest(const float *x, size_t n)
{
    float lane[LANES];
    float top = x[0];
    size_t i = 0;

    for (size_t k = 0; k < LANES; k++)
        lane[k] = x[0];
    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];
    }
    for (; i < n; i++)
        top = x[i] > top ? x[i] : top;
    for (size_t k = 0; k < LANES; k++)
        top = lane[k] > top ? lane[k] : top;
    return top;
}

FISH_CLONES
static void softmax_row(float *x, size_t n)
{
    const float top = greatest(x, n);
    float scale;

    for (size_t j = 0; j < n; j++)
        x[j] = fish_vec_exp(x[j] - top);
    scale = 1.0f / sum(x, n);
    for (size_t j = 0; j < n; j++)
        x[j] *= scale;
}

void fish_softmax_rows(float *x, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++)
        softmax_row(x + r * width, width);
}

FISH_CLONES
static void softmax_row_backward(const float *restrict p, float *restrict d, size_t n)
{
    const float dot = sum_products(p, d, n);

    for (size_t j = 0; j < n; j++)
        d[j] = fabsf(p[j]) * (d[j] - dot);
}

void fish_softmax_rows_backward(const float *p, float *d, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++)
        softmax_row_backward(p + r * width, d + r * width, width);
}

/* ---- dropout ----------------------------------------------------------------------------------
 */

#define COUNTERS 16u            /* of Philox, side by side */
#define DRAWS    (8 * COUNTERS) /* numbers of 16 bits in them */

static uint32_t threshold_of(const fish_dropout *d)
{
    return d->rate > 0 ? (uint32_t)(d->rate * 65536 + 0.5) : 0;
}

/* What makes the mean of the mask 1 again. */
static float factor_of(uint32_t threshold)
{
    return threshold < 65536 ? (float)(65536.0 / (65536 - threshold)) : 0;
}

bool fish_drops(const fish_dropout *d)
{
    return threshold_of(d) > 0;
}

/* fish_philox() at counters (hi, lo) to (hi, lo + 15): number j of counter i lands in
 * u[16 j + i].  lo is a multiple of 16. */
static inline void draw(fish_key key, uint64_t hi, uint64_t lo, uint32_t *u)
{
    uint32_t c0[COUNTERS], c1[COUNTERS], c2[COUNTERS], c3[COUNTERS];

    for (uint32_t i = 0; i < COUNTERS; i++) {
        c0[i] = (uint32_t)lo + i;
        c1[i] = (uint32_t)(lo >> 32);
        c2[i] = (uint32_t)hi;
        c3[i] = (uint32_t)(hi >> 32);
    }
    for (int round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < COUNTERS; i++) {
            const uint64_t p0 = (uint64_t)0xD2511F53u * c0[i];
            const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2[i];

            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ key.k[0];
            c1[i] = (uint32_t)p1;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ key.k[1];
            c3[i] = (uint32_t)p0;
        }
        key.k[0] += 0x9E3779B9u;
        key.k[1] += 0xBB67AE85u;
    }
    for (uint32_t i = 0; i < COUNTERS; i++) {
        u[i] = c0[i] & 0xffffu;
        u[COUNTERS + i] = c0[i] >> 16;
        u[2 * COUNTERS + i] = c1[i] & 0xffffu;
        u[3 * COUNTERS + i] = c1[i] >> 16;
        u[4 * COUNTERS + i] = c2[i] & 0xffffu;
        u[5 * COUNTERS + i] = c2[i] >> 16;
        u[6 * COUNTERS + i] = c3[i] & 0xffffu;
        u[7 * COUNTERS + i] = c3[i] >> 16;
    }
}

static uint64_t counter_hi(const fish_dropout *d)
{
    return d->step << 16 | (d->site & 0xffffu);
}

FISH_CLONES
static void drop_block(const fish_dropout *d, uint64_t lo, uint32_t threshold, float factor,
                       float *x, size_t n)
{
    uint32_t u[DRAWS];

    draw(d->key, counter_hi(d), lo, u);
    for (size_t i = 0; i < n; i++)
        x[i] = u[i] < threshold ? 0.0f : x[i] * factor;
}

FISH_CLONES
static void sign_block(const fish_dropout *d, uint64_t lo, uint32_t threshold, float *p, size_t n)
{
    uint32_t u[DRAWS];

    draw(d->key, counter_hi(d), lo, u);
    for (size_t i = 0; i < n; i++)
        p[i] = u[i] < threshold ? -fabsf(p[i]) : p[i];
}

void fish_drop(const fish_dropout *d, uint32_t example, float *x, size_t n)
{
    const uint32_t threshold = threshold_of(d);
    const float factor = factor_of(threshold);

    for (size_t i = 0; i < n && threshold; i += DRAWS)
        drop_block(d, (uint64_t)example << 32 | (i / 8), threshold, factor, x + i,
                   n - i < DRAWS ? n - i : DRAWS);
}

void fish_drop_signs(const fish_dropout *d, uint32_t example, float *p, size_t n)
{
    const uint32_t threshold = threshold_of(d);

    for (size_t i = 0; i < n && threshold; i += DRAWS)
        sign_block(d, (uint64_t)example << 32 | (i / 8), threshold, p + i,
                   n - i < DRAWS ? n - i : DRAWS);
}

FISH_CLONES
static void keep_unsigned(const float *p, const float *x, size_t n, float factor, float *y)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &p[i], sizeof bits);
        y[i] = bits >> 31 ? 0.0f : x[i] * factor;
    }
}

void fish_drop_signed(const fish_dropout *d, const float *p, const float *x, size_t n, float *y)
{
    keep_unsigned(p, x, n, factor_of(threshold_of(d)), y);
}
