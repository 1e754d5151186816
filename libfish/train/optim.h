/*
 * Optimizer steps over vectors of selected elements: AdamW and SGD as torch.optim has them, in
 * float, element by element, so that a step over k elements is bit for bit the same as one over all
 * of which k have a gradient.  Schedules, clipping and averages beside them.
 */
#ifndef FISH_OPTIM_H
#define FISH_OPTIM_H

#include <stddef.h>
#include <stdint.h>

#include "train/train.h"

/* What an element's generation says, where the mask was refreshed. */
#define FISH_FROZEN   0xffffu /* has left the mask: stays as it is */
#define FISH_LEFT     0x8000u /* flag: has left, but goes on by its moments (FISH_MOMENTS_LEAK) */
#define FISH_MAX_BORN 0x03ffu /* generations */

/* One step, over elements of which `decay` is the same. */
typedef struct fish_step {
    double lr;
    double decay; /* weight decay of these elements */
    double beta1, beta2, eps;
    double momentum;
    bool nesterov;
    uint64_t step; /* 1 is the first */
    /* With generations: gen[i] picks the step born[gen[i]] before the element's first. NULL: none.
     */
    const uint16_t *gen;
    const uint32_t *born;
} fish_step;

/*
 * Loshchilov and Hutter 2019, algorithm 2 (decoupled decay), in the order of operations of
 * torch.optim.AdamW: w *= 1 - lr decay; m += (1 - beta1)(g - m); v = beta2 v + (1 - beta2) g^2;
 * w -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps).
 */
void fish_adamw_step(float *w, float *m, float *v, const float *g, size_t n, const fish_step *s);

/* torch.optim.SGD (Sutskever et al. 2013, with PyTorch's momentum): g += decay w; b = momentum b +
 * g; w -= lr (nesterov ? g + momentum b : b). */
void fish_sgd_step(float *w, float *b, const float *g, size_t n, const fish_step *s);

/* The authors' CIFAR code: d = -lr (g + decay w); v = momentum v + d; w += d + momentum v, where g
 * is the masked gradient, 0 for unselected elements, and decay reaches all. */
void fish_sgd_leak_step(float *w, float *v, const float *g, size_t n, const fish_step *s);

/* ema = decay ema + (1 - decay) w. */
void fish_ema_step(float *ema, const float *w, size_t n, double decay);
/* The decay of step t = 1, 2, ...: min(decay, (1 + t) / (10 + t)), so that the start is forgotten
 * also in short runs. */
double fish_ema_decay(double decay, uint64_t t);

/*
 * The factor of the learning rate for step 0, 1, ...: transformers'
 * get_linear_schedule_with_warmup, get_cosine_schedule_with_warmup (half a period: Loshchilov and
 * Hutter 2017, equation 5) and get_constant_schedule_with_warmup.
 */
double fish_schedule_factor(fish_schedule kind, uint64_t step, uint64_t warmup, uint64_t n_steps);

/* Sum of squares in double: element i is added to partial sum i % FISH_LANES, those in turn. */
#define FISH_LANES 16u
double fish_sum_squares(const float *g, size_t n);
/* torch.nn.utils.clip_grad_norm_: min(1, max_norm / (norm + 1e-6)) (Pascanu et al. 2013). */
float fish_clip_factor(double norm, double max_norm);
void fish_scale(float *g, size_t n, float factor);

#endif
