/*
 * Batch normalisation.  Sums over rows are taken in double, in the order of the rows.
 */
#include "model/norm.h"

#include <math.h>
#include <string.h>

#include "core/clones.h"

FISH_CLONES
static void normalise(const float *restrict mean, const float *restrict inverse, size_t n,
                      float *restrict z)
{
    for (size_t i = 0; i < n; i++)
        z[i] = (z[i] - mean[i]) * inverse[i];
}

void fish_norm_running(const fish_norm *norm, double eps, size_t n_rows, float *z)
{
    const size_t n = norm->n_channels;

    for (size_t i = 0; i < n; i++)
        norm->inverse[i] = (float)(1 / sqrt((double)norm->var[i] + eps));
    for (size_t r = 0; r < n_rows; r++)
        normalise(norm->mean, norm->inverse, n, z + r * n);
}

FISH_CLONES
static void add_values(const float *restrict z, size_t n, double *restrict sum)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += (double)z[i];
}

FISH_CLONES
static void add_squares(const float *restrict z, const float *restrict mean, size_t n,
                        double *restrict sum)
{
    for (size_t i = 0; i < n; i++) {
        const double d = (double)z[i] - (double)mean[i];

        sum[i] += d * d;
    }
}

void fish_norm_batch(const fish_norm *norm, double eps, size_t n_rows, double *sums, float *z)
{
    const size_t n = norm->n_channels;

    memset(sums, 0, n * sizeof *sums);
    for (size_t r = 0; r < n_rows; r++)
        add_values(z + r * n, n, sums);
    for (size_t i = 0; i < n; i++)
        norm->mean[i] = (float)(sums[i] / (double)n_rows);
    memset(sums, 0, n * sizeof *sums);
    for (size_t r = 0; r < n_rows; r++)
        add_squares(z + r * n, norm->mean, n, sums);
    for (size_t i = 0; i < n; i++) {
        norm->inverse[i] = (float)(1 / sqrt(sums[i] / (double)n_rows + eps));
        norm->var[i] = (float)(sums[i] / (double)(n_rows - 1));
    }
    for (size_t r = 0; r < n_rows; r++)
        normalise(norm->mean, norm->inverse, n, z + r * n);
}

FISH_CLONES
static void affine(const fish_norm *norm, const float *restrict x, bool add, bool relu,
                   float *restrict y)
{
    const float *restrict weight = norm->weight;
    const float *restrict bias = norm->bias;
    const size_t n = norm->n_channels;

    if (add) {
        for (size_t i = 0; i < n; i++)
            y[i] += weight[i] * x[i] + bias[i];
    } else {
        for (size_t i = 0; i < n; i++)
            y[i] = weight[i] * x[i] + bias[i];
    }
    for (size_t i = 0; relu && i < n; i++)
        y[i] = y[i] > 0 ? y[i] : 0;
}

void fish_norm_affine(const fish_norm *norm, const float *x, size_t n_rows, bool add, bool relu,
                      float *y)
{
    const size_t n = norm->n_channels;

    for (size_t r = 0; r < n_rows; r++)
        affine(norm, x + r * n, add, relu, y + r * n);
}

FISH_CLONES
static void scale(const float *restrict weight, const float *restrict inverse, size_t n,
                  const float *restrict dy, float *restrict dz)
{
    for (size_t i = 0; i < n; i++)
        dz[i] = dy[i] * (weight[i] * inverse[i]);
}

FISH_CLONES
static void add_products(const float *restrict dy, const float *restrict x, size_t n,
                         double *restrict sum, double *restrict product)
{
    for (size_t i = 0; i < n; i++) {
        sum[i] += (double)dy[i];
        product[i] += (double)dy[i] * (double)x[i];
    }
}

FISH_CLONES
static void centre(const fish_norm *norm, const float *restrict dy, const float *restrict x,
                   const double *restrict sum, const double *restrict product, float *restrict dz)
{
    const float *restrict weight = norm->weight;
    const float *restrict inverse = norm->inverse;
    const size_t n = norm->n_channels;

    for (size_t i = 0; i < n; i++)
        dz[i] = weight[i] * inverse[i] * (dy[i] - (float)sum[i] - x[i] * (float)product[i]);
}

/*
 * With x = (z - mean) / sd over m rows: dz = weight / sd * (dy - mean(dy) - x mean(dy x)), which is
 * what the last three equations of section 3 of the paper come to.
 */
void fish_norm_backward(const fish_norm *norm, const float *dy, const float *x, size_t n_rows,
                        bool batch, double *sums, float *dz)
{
    const size_t n = norm->n_channels;

    if (!batch) {
        for (size_t r = 0; r < n_rows; r++)
            scale(norm->weight, norm->inverse, n, dy + r * n, dz + r * n);
        return;
    }
    memset(sums, 0, 2 * n * sizeof *sums);
    for (size_t r = 0; r < n_rows; r++)
        add_products(dy + r * n, x + r * n, n, sums, sums + n);
    for (size_t i = 0; i < 2 * n; i++)
        sums[i] /= (double)n_rows;
    for (size_t r = 0; r < n_rows; r++)
        centre(norm, dy + r * n, x + r * n, sums, sums + n, dz + r * n);
}
