/*
 * The small operations of models, on rows of floats: what is not a matrix product.  Shapes are
 * (rows, width); backward functions never change what forward kept.
 */
#ifndef FISH_OPS_H
#define FISH_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/rng.h"

/* x[r][j] += b[j] */
void fish_add_bias(float *x, const float *b, size_t rows, size_t width);
/* x[i] += y[i] */
void fish_add(float *x, const float *y, size_t n);
/* y[r][j] = x[r][j] * gain[j] + bias[j] */
void fish_affine(const float *x, const float *gain, const float *bias, size_t rows, size_t width,
                 float *y);

/*
 * x becomes (x - mean) / sqrt(variance + eps) of each row, which is what to keep together with
 * rstd[r], the factor of row r; y = x * gain + bias is the output (Ba, Kiros, Hinton 2016, "Layer
 * Normalization", equations 3 and 4).
 */
void fish_layer_norm(float *x, const float *gain, const float *bias, double eps, size_t rows,
                     size_t width, float *rstd, float *y);
/* d, the gradient in y, becomes that in x; xhat is what x became. */
void fish_layer_norm_backward(const float *xhat, const float *rstd, const float *gain, size_t rows,
                              size_t width, float *d);

/* 0.5 x (1 + erf(x / sqrt 2)) (Hendrycks and Gimpel 2016, "Gaussian Error Linear Units") */
void fish_gelu(const float *x, float *y, size_t n);
/* d[i] *= derivative at x[i]; so the others */
void fish_gelu_backward(const float *x, float *d, size_t n);
/* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), the same paper's approximation */
void fish_gelu_tanh(const float *x, float *y, size_t n);
void fish_gelu_tanh_backward(const float *x, float *d, size_t n);
void fish_relu(const float *x, float *y, size_t n);
void fish_relu_backward(const float *x, float *d, size_t n);
void fish_tanh(float *x, size_t n);
/* d[i] *= 1 - y[i]^2, y being what fish_tanh() made */
void fish_tanh_backward(const float *y, float *d, size_t n);

/* Each row becomes its softmax. */
void fish_softmax_rows(float *x, size_t rows, size_t width);
/* d becomes the gradient before the softmax: p (d - sum d p).  The signs of p are ignored. */
void fish_softmax_rows_backward(const float *p, float *d, size_t rows, size_t width);

/*
 * Dropout (Srivastava et al. 2014) with a mask that is a function of key, step, site, example and
 * place within the example, so that it is the same however examples are grouped.
 */
typedef struct fish_dropout {
    fish_key key;
    uint64_t step; /* below 2^48 */
    uint32_t site; /* which dropout of the model, below 2^16 */
    double rate;   /* 0: nothing happens.  Taken in steps of 2^-16. */
} fish_dropout;

bool fish_drops(const fish_dropout *d);
/* x[i] becomes 0 with probability `rate`, else x[i] / (1 - rate): the n numbers of one example.
 * The gradient goes through the same call. */
void fish_drop(const fish_dropout *d, uint32_t example, float *x, size_t n);

/* For numbers >= 0 that backward needs as they were: those to be dropped become negative, ... */
void fish_drop_signs(const fish_dropout *d, uint32_t example, float *p, size_t n);
/* ... and y[i] = 0 where p[i] has its sign bit set, else x[i] / (1 - rate).  x may be p; y may be x
 * but not p. */
void fish_drop_signed(const fish_dropout *d, const float *p, const float *x, size_t n, float *y);

#endif
