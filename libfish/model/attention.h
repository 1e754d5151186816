/*
 * Scaled dot-product attention with several heads (Vaswani et al. 2017, "Attention Is All You
 * Need", equation 1) over packed rows: example e has key rows start[e] .. start[e + 1] - 1 and
 * query rows q_start[e] .. q_start[e + 1] - 1, and attends to all of its own keys.  No padding, no
 * mask.
 */
#ifndef FISH_ATTENTION_H
#define FISH_ATTENTION_H

#include "model/ops.h"

typedef struct fish_attention {
    uint32_t n_heads;
    uint32_t head_dim; /* rows of q, k, v and ctx are n_heads * head_dim floats, head by head */
    uint32_t n;        /* examples */
    const uint32_t *q_start;
    const uint32_t *start;
    const uint32_t *example; /* numbers that dropout masks depend on */
    fish_dropout drop;       /* of probabilities */
} fish_attention;

/* Floats of the probabilities of a batch, and of the scratch memory of either pass. */
size_t fish_attention_kept(const fish_attention *a);
size_t fish_attention_scratch(const fish_attention *a);

/*
 * ctx = dropout(softmax(q k^T / sqrt(head_dim))) v.  Keeps the probabilities in p, example by
 * example [head][query][key], with the sign bit set where dropout has put 0 in their place.
 */
void fish_attention_forward(const fish_attention *a, const float *q, const float *k, const float *v,
                            float *p, float *ctx, float *scratch);
/* The gradients of it; dctx is only read. */
void fish_attention_backward(const fish_attention *a, const float *q, const float *k,
                             const float *v, const float *p, const float *dctx, float *dq,
                             float *dk, float *dv, float *scratch);

#endif
