/*
 * Convolution and pooling over images that lie position by position: (n, height, width, channels).
 * A convolution is a matrix product over its im2col rows (Chellapilla, Puri, Simard 2006), one row
 * for an output position and in it in * kernel * kernel values in the order of torch.nn.Conv2d's
 * weight.  So the weight, its rows and the gradients in the output are what a linear layer has.
 */
#ifndef FISH_CONV_H
#define FISH_CONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fish_conv {
    uint32_t in_c, in_h, in_w;
    uint32_t out_c, out_h, out_w; /* out_h, out_w: see fish_conv_shape() */
    uint32_t kernel, stride, pad;
} fish_conv;

/* Sets out_h and out_w from the rest: (side + 2 pad - kernel) / stride + 1. */
void fish_conv_shape(fish_conv *c);
size_t fish_conv_k(const fish_conv *c);      /* floats in a row */
size_t fish_conv_rows(const fish_conv *c);   /* rows, that is output positions, of an image */
size_t fish_conv_inputs(const fish_conv *c); /* floats of an input image */
/* The rows are the input itself: kernel 1, stride 1, no padding. */
bool fish_conv_is_plain(const fish_conv *c);

/*
 * Lines are rows of output positions, numbered over the whole batch: e * out_h + y.  Both take
 * lines first .. first + n_lines - 1, whose im2col rows begin at `rows`.
 */
void fish_im2col(const fish_conv *c, const float *x, size_t first, size_t n_lines,
                 const float *zeros, float *rows); /* zeros: in_c of them, for the padding */
/* Adds the gradients of rows into those of the input; trash: room for in_c floats. */
void fish_col2im(const fish_conv *c, const float *rows, size_t first, size_t n_lines, float *dx,
                 float *trash);

/* Floats of scratch that a pass over n images needs. */
size_t fish_conv_scratch(const fish_conv *c, uint32_t n);

/* z [n * rows][out_c] = the convolution of x with w. */
void fish_conv_forward(const fish_conv *c, const float *w, const float *x, uint32_t n,
                       const float *zeros, float *scratch, float *z);
/* dx = (or += with `add`) the gradient in x of dz; trash as above. */
void fish_conv_backward(const fish_conv *c, const float *w, const float *dz, uint32_t n, bool add,
                        float *trash, float *scratch, float *dx);

/*
 * Max pooling; c->out_c is c->in_c.  from: the tap (0 .. kernel^2 - 1) that each maximum came from,
 * the first of equals as torch has it.
 */
void fish_max_pool(const fish_conv *c, const float *x, uint32_t n, float *y, uint8_t *from);
void fish_max_pool_backward(const fish_conv *c, const float *dy, const uint8_t *from, uint32_t n,
                            float *dx);

/* The mean over positions: y [n][channels]. */
void fish_mean_pool(const float *x, uint32_t n, size_t positions, size_t channels, float *y);
void fish_mean_pool_backward(const float *dy, uint32_t n, size_t positions, size_t channels,
                             float *dx);

#endif
