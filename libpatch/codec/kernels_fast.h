/*
 * The kernels that kernels.c may choose from, by the processor that the build is for.
 */
#ifndef FMP_CODEC_KERNELS_FAST_H
#define FMP_CODEC_KERNELS_FAST_H

#include <string.h>

#include "codec/kernels.h"

/* Unit `i` as number `n` of those that differ. */
static inline __attribute__((always_inline)) void fmp_put_changed(const uint8_t *a,
                                                                  const uint8_t *b, uint32_t i,
                                                                  uint32_t n, unsigned width,
                                                                  const fmp_changed *to)
{
    to->idx[n] = i;
    if (a)
        memcpy(to->before + (size_t)n * width, a + (size_t)i * width, width);
    else
        memset(to->before + (size_t)n * width, 0, width);
    memcpy(to->after + (size_t)n * width, b + (size_t)i * width, width);
}

#if defined(__x86_64__) && defined(__GNUC__)
#    define FMP_KERNELS_X86 1
extern const fmp_kernels fmp_kernels_avx2, fmp_kernels_avx512;
#elif defined(__aarch64__) && defined(__ARM_NEON) && defined(__GNUC__)
#    define FMP_KERNELS_NEON 1
extern const fmp_kernels fmp_kernels_neon;
#endif

#endif
