/*
 * The kernel for AVX2 with FMA: tiles of 6 rows by 2 vectors of 8 floats, 12 of the 16 registers.
 */
#include <immintrin.h>

#define VF      __m256
#define LANES   8
#define ROWS    6
#define VECTORS 2

#define v_zero   _mm256_setzero_ps
#define v_load   _mm256_loadu_ps
#define v_store  _mm256_storeu_ps
#define v_spread _mm256_set1_ps
#define v_fma    _mm256_fmadd_ps

#include "train/square_outer.h"

static inline __attribute__((always_inline)) void add_half(double *f, __m128 half, __m256d weight,
                                                           fish_outer_kind kind)
{
    const __m256d g = _mm256_cvtps_pd(half);
    const __m256d v = kind == FISH_OUTER_SQUARE     ? _mm256_mul_pd(g, g)
                      : kind == FISH_OUTER_ABSOLUTE ? _mm256_andnot_pd(_mm256_set1_pd(-0.0), g)
                                                    : g;

    _mm256_storeu_pd(f, _mm256_fmadd_pd(weight, v, _mm256_loadu_pd(f)));
}

static inline __attribute__((always_inline)) void add_lanes(double *f, __m256 g, double weight,
                                                            fish_outer_kind kind)
{
    const __m256d w = _mm256_set1_pd(weight);

    add_half(f, _mm256_castps256_ps128(g), w, kind);
    add_half(f + 4, _mm256_extractf128_ps(g, 1), w, kind);
}

#include "train/square_outer_tile.h"

void fish_outer_avx2(const fish_outer *j)
{
    add_all(j);
}
