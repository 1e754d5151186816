/*
 * Batch normalisation over rows of channels (Ioffe and Szegedy 2015, algorithms 1 and 2): one row a
 * position of an image.  What is kept for the way back are the normalised values, written over the
 * input.
 */
#ifndef FISH_NORM_H
#define FISH_NORM_H

#include <stdbool.h>
#include <stddef.h>

/* The arrays of one layer; [n_channels] each. */
typedef struct fish_norm {
    size_t n_channels;
    const float *weight;
    const float *bias;
    float *mean;    /* those used: running ones copied, or of the batch */
    float *var;     /* with fish_norm_batch() the unbiased one, which running statistics take */
    float *inverse; /* 1 / sqrt(variance + eps) */
} fish_norm;

/* z = (z - mean) * inverse, by the mean and var that stand in `norm`; sets inverse. */
void fish_norm_running(const fish_norm *norm, double eps, size_t n_rows, float *z);
/* The same by the statistics of these rows, which it leaves in `norm`.  At least two rows.
 * sums: room for n_channels doubles. */
void fish_norm_batch(const fish_norm *norm, double eps, size_t n_rows, double *sums, float *z);

/* y = weight * x + bias (+ y with `add`), then max(y, 0) with `relu`; x as made above. */
void fish_norm_affine(const fish_norm *norm, const float *x, size_t n_rows, bool add, bool relu,
                      float *y);

/*
 * dz, the gradient in the input, of dy, that in weight * x + bias.  `batch`: through the statistics
 * too, for what fish_norm_batch() made; sums: room for 2 n_channels doubles.
 */
void fish_norm_backward(const fish_norm *norm, const float *dy, const float *x, size_t n_rows,
                        bool batch, double *sums, float *dz);

#endif
