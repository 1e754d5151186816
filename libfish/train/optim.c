/*
 * Optimizer steps.  See optim.h.  Plain loops over independent elements: the compiler vectorises
 * them, and as nothing is contracted or reordered, wherever a loop is cut the bits are the same.
 */
#include "train/optim.h"

#include <math.h>

#include "core/clones.h"

/* Kingma and Ba 2015, section 3: both corrections, for the t-th step of an element. */
static void corrections(const fish_step *s, uint64_t t, float *step_size, float *root)
{
    *step_size = (float)(s->lr / (1.0 - pow(s->beta1, (double)t)));
    *root = (float)sqrt(1.0 - pow(s->beta2, (double)t));
}

FISH_CLONES
static void adamw(float *restrict w, float *restrict m, float *restrict v, const float *restrict g,
                  size_t n, const fish_step *s)
{
    const float keep = (float)(1.0 - s->lr * s->decay);
    const float b1 = (float)(1.0 - s->beta1);
    const float b2 = (float)(1.0 - s->beta2);
    const float beta2 = (float)s->beta2;
    const float eps = (float)s->eps;
    float step_size;
    float root;

    corrections(s, s->step, &step_size, &root);
    for (size_t i = 0; i < n; i++) {
        const float kept = w[i] * keep;
        const float mi = m[i] + b1 * (g[i] - m[i]);
        const float vi = v[i] * beta2 + b2 * g[i] * g[i];
        const float denominator = sqrtf(vi) / root + eps;

        m[i] = mi;
        v[i] = vi;
        w[i] = kept - step_size * mi / denominator;
    }
}

/* The same with a step count for each generation; corrections are made anew where it changes. */
static void adamw_generations(float *w, float *m, float *v, const float *g, size_t n,
                              const fish_step *s)
{
    fish_step one = *s;
    size_t i = 0;

    one.gen = NULL;
    while (i < n) {
        const uint16_t gen = s->gen[i];
        size_t end = i + 1;

        while (end < n && s->gen[end] == gen)
            end++;
        if (gen != FISH_FROZEN) {
            one.decay = gen & FISH_LEFT ? 0 : s->decay;
            one.step = s->step - s->born[gen & FISH_MAX_BORN];
            adamw(w + i, m + i, v + i, g + i, end - i, &one);
        }
        i = end;
    }
}

void fish_adamw_step(float *w, float *m, float *v, const float *g, size_t n, const fish_step *s)
{
    if (s->gen)
        adamw_generations(w, m, v, g, n, s);
    else
        adamw(w, m, v, g, n, s);
}

FISH_CLONES
static void sgd(float *restrict w, float *restrict b, const float *restrict g, size_t n,
                const fish_step *s)
{
    const float lr = (float)s->lr;
    const float decay = (float)s->decay;
    const float momentum = (float)s->momentum;

    for (size_t i = 0; i < n; i++) {
        const float d = g[i] + decay * w[i];
        const float bi = b[i] * momentum + d;

        b[i] = bi;
        w[i] -= lr * (s->nesterov ? d + momentum * bi : bi);
    }
}

void fish_sgd_step(float *w, float *b, const float *g, size_t n, const fish_step *s)
{
    fish_step one = *s;
    size_t i = 0;

    one.gen = NULL;
    while (s->gen && i < n) {
        const uint16_t gen = s->gen[i];
        size_t end = i + 1;

        while (end < n && s->gen[end] == gen)
            end++;
        one.decay = gen & FISH_LEFT ? 0 : s->decay;
        if (gen != FISH_FROZEN)
            sgd(w + i, b + i, g + i, end - i, &one);
        i = end;
    }
    if (!s->gen)
        sgd(w, b, g, n, s);
}

FISH_CLONES
void fish_sgd_leak_step(float *w, float *v, const float *g, size_t n, const fish_step *s)
{
    const float lr = (float)s->lr;
    const float decay = (float)s->decay;
    const float momentum = (float)s->momentum;

    for (size_t i = 0; i < n; i++) {
        const float d = -lr * (g[i] + decay * w[i]);

        v[i] = momentum * v[i] + d;
        w[i] += d + momentum * v[i];
    }
}

FISH_CLONES
void fish_ema_step(float *ema, const float *w, size_t n, double decay)
{
    const float more = (float)(1.0 - decay);

    for (size_t i = 0; i < n; i++)
        ema[i] += more * (w[i] - ema[i]);
}

double fish_ema_decay(double decay, uint64_t t)
{
    const double early = (1.0 + (double)t) / (10.0 + (double)t);

    return early < decay ? early : decay;
}

double fish_schedule_factor(fish_schedule kind, uint64_t step, uint64_t warmup, uint64_t n_steps)
{
    const double rest = n_steps > warmup ? (double)(n_steps - warmup) : 1;
    double done;

    if (step < warmup)
        return (double)step / (double)warmup;
    if (kind == FISH_CONSTANT)
        return 1;
    done = (double)(step - warmup) / rest;
    if (kind == FISH_COSINE)
        return fmax(0, 0.5 * (1 + cos(acos(-1.0) * done)));
    return step < n_steps ? (double)(n_steps - step) / rest : 0;
}

FISH_CLONES
double fish_sum_squares(const float *g, size_t n)
{
    double lanes[FISH_LANES] = {0};
    double sum = 0;
    size_t i = 0;

    for (; i + FISH_LANES <= n; i += FISH_LANES) {
        for (unsigned l = 0; l < FISH_LANES; l++)
            lanes[l] += (double)g[i + l] * (double)g[i + l];
    }
    for (; i < n; i++)
        lanes[i % FISH_LANES] += (double)g[i] * (double)g[i];
    for (unsigned l = 0; l < FISH_LANES; l++)
        sum += lanes[l];
    return sum;
}

float fish_clip_factor(double norm, double max_norm)
{
    const double factor = max_norm / (norm + 1e-6);

    return factor < 1 ? (float)factor : 1;
}

FISH_CLONES
void fish_scale(float *g, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        g[i] *= factor;
}
