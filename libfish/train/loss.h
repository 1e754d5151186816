/*
 * Losses of one example and their gradients in the outputs; softmax cross-entropy and half the
 * squared error.
 */
#ifndef FISH_LOSS_H
#define FISH_LOSS_H

#include <stdint.h>

/* -log softmax(logits)[label]; d[c] = softmax(logits)[c] - (c == label).  d may be NULL. */
double fish_cross_entropy(const float *logits, uint32_t n_classes, int32_t label, float *d);

/* (output - value)^2 / 2, the negative log-likelihood of N(output, 1) up to a constant; d = output
 * - value. */
double fish_squared_error(float output, float value, float *d);

/* softmax(logits), in double, the sum exactly in order of classes. */
void fish_softmax(const float *logits, uint32_t n_classes, double *p);

#endif
