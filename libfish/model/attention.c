/*
 * Attention: a few small matrix products for each example and head.
 */
#include "model/attention.h"

#include <math.h>

#include "model/gemm.h"

typedef struct span {
    size_t q_at, n_q; /* query rows */
    size_t k_at, n_k; /* key rows */
} span;

static span span_of(const fish_attention *a, uint32_t e)
{
    return (span){.q_at = a->q_start[e],
                  .n_q = a->q_start[e + 1] - a->q_start[e],
                  .k_at = a->start[e],
                  .n_k = a->start[e + 1] - a->start[e]};
}

size_t fish_attention_kept(const fish_attention *a)
{
    size_t n = 0;

    for (uint32_t e = 0; e < a->n; e++)
        n += span_of(a, e).n_q * span_of(a, e).n_k;
    return n * a->n_heads;
}

/* Two matrices of one head. */
size_t fish_attention_scratch(const fish_attention *a)
{
    size_t most = 0;

    for (uint32_t e = 0; e < a->n; e++) {
        const size_t n = span_of(a, e).n_q * span_of(a, e).n_k;

        most = n > most ? n : most;
    }
    return 2 * most;
}

void fish_attention_forward(const fish_attention *a, const float *q, const float *k, const float *v,
                            float *p, float *ctx, float *scratch)
{
    const size_t ld = (size_t)a->n_heads * a->head_dim;
    const float scale = (float)(1 / sqrt((double)a->head_dim));
    const bool drops = fish_drops(&a->drop);

    for (uint32_t e = 0; e < a->n; e++) {
        const span s = span_of(a, e);
        const size_t n = s.n_q * s.n_k;

        for (size_t h = 0; h < a->n_heads; h++)
            fish_gemm_nt(s.n_q, s.n_k, a->head_dim, scale, q + s.q_at * ld + h * a->head_dim, ld,
                         k + s.k_at * ld + h * a->head_dim, ld, 0, p + h * n, s.n_k);
        fish_softmax_rows(p, a->n_heads * s.n_q, s.n_k);
        fish_drop_signs(&a->drop, a->example[e], p, a->n_heads * n);
        for (size_t h = 0; h < a->n_heads; h++) {
            const float *used = p + h * n;

            if (drops) {
                fish_drop_signed(&a->drop, used, used, n, scratch);
                used = scratch;
            }
            fish_gemm_nn(s.n_q, a->head_dim, s.n_k, 1, used, s.n_k,
                         v + s.k_at * ld + h * a->head_dim, ld, 0,
                         ctx + s.q_at * ld + h * a->head_dim, ld);
        }
        p += a->n_heads * n;
    }
}

/*
 * With P the probabilities and M the dropout factors, ctx = (P M) v: dv = (P M)^T dctx, and the
 * gradient in P is M (dctx v^T); through the softmax, dS = P (dP - sum over keys of dP P); then
 * dq = dS k / sqrt(head_dim) and dk = dS^T q / sqrt(head_dim).
 */
static void head_backward(const fish_attention *a, const span *s, size_t h, const float *q,
                          const float *k, const float *v, const float *p, const float *dctx,
                          float *dq, float *dk, float *dv, float *scratch)
{
    const size_t ld = (size_t)a->n_heads * a->head_dim;
    const size_t q_at = s->q_at * ld + h * a->head_dim;
    const size_t k_at = s->k_at * ld + h * a->head_dim;
    const size_t n = s->n_q * s->n_k;
    const size_t dim = a->head_dim;
    const float scale = (float)(1 / sqrt((double)dim));
    const bool drops = fish_drops(&a->drop);
    float *ds = scratch;
    float *used = scratch + n;

    if (drops)
        fish_drop_signed(&a->drop, p, p, n, used);
    fish_gemm_tn(s->n_k, dim, s->n_q, 1, drops ? used : p, s->n_k, dctx + q_at, ld, 0, dv + k_at,
                 ld);
    fish_gemm_nt(s->n_q, s->n_k, dim, 1, dctx + q_at, ld, v + k_at, ld, 0, ds, s->n_k);
    if (drops)
        fish_drop_signed(&a->drop, p, ds, n, ds);
    fish_softmax_rows_backward(p, ds, s->n_q, s->n_k);
    fish_gemm_nn(s->n_q, dim, s->n_k, scale, ds, s->n_k, k + k_at, ld, 0, dq + q_at, ld);
    fish_gemm_tn(s->n_k, dim, s->n_q, scale, ds, s->n_k, q + q_at, ld, 0, dk + k_at, ld);
}

void fish_attention_backward(const fish_attention *a, const float *q, const float *k,
                             const float *v, const float *p, const float *dctx, float *dq,
                             float *dk, float *dv, float *scratch)
{
    for (uint32_t e = 0; e < a->n; e++) {
        const span s = span_of(a, e);

        for (size_t h = 0; h < a->n_heads; h++) {
            head_backward(a, &s, h, q, k, v, p, dctx, dq, dk, dv, scratch);
            p += s.n_q * s.n_k;
        }
    }
}
