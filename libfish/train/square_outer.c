/*
 * Which version of the kernel runs on this processor.
 */
#include "train/square_outer.h"

#include "train/fisher.h"

#define MAX_VERSIONS 3

typedef struct version {
    const char *name;
    fish_outer_fn fn;
} version;

/* Fills in what this processor can run, best last. */
static unsigned versions(version v[MAX_VERSIONS])
{
    unsigned n = 0;

    v[n++] = (version){"plain", fish_outer_plain};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        v[n++] = (version){"avx2", fish_outer_avx2};
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        v[n++] = (version){"avx512", fish_outer_avx512};
#endif
    return n;
}

fish_outer_fn fish_outer_version(unsigned i, const char **ret_name)
{
    version v[MAX_VERSIONS];

    if (i >= versions(v))
        return NULL;
    *ret_name = v[i].name;
    return v[i].fn;
}

void fish_outer_add(const fish_outer *j)
{
    version v[MAX_VERSIONS];

    v[versions(v) - 1].fn(j);
}

void fish_square_outer(double *f, size_t out, size_t in, size_t o_begin, size_t o_end,
                       const float *dy, size_t ldy, const float *x, size_t ldx,
                       const uint32_t *start, uint32_t n, const double *weight, bool absolute)
{
    const fish_outer j = {.f = f,
                          .in = in,
                          .o_begin = o_begin,
                          .o_end = o_end < out ? o_end : out,
                          .dy = dy,
                          .ldy = ldy,
                          .x = x,
                          .ldx = ldx,
                          .start = start,
                          .n = n,
                          .weight = weight,
                          .kind = absolute ? FISH_OUTER_ABSOLUTE : FISH_OUTER_SQUARE};

    fish_outer_add(&j);
}
