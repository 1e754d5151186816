/*
 * The kernel for AVX-512: tiles of 8 rows by 3 vectors of 16 floats, 24 of the 32 registers.
 */
#include <immintrin.h>

#define VF      __m512
#define LANES   16
#define ROWS    8
#define VECTORS 3

#define v_zero   _mm512_setzero_ps
#define v_load   _mm512_loadu_ps
#define v_store  _mm512_storeu_ps
#define v_spread _mm512_set1_ps
#define v_fma    _mm512_fmadd_ps

#include "train/square_outer.h"

static inline __attribute__((always_inline)) void add_half(double *f, __m256 half, __m512d weight,
                                                           fish_outer_kind kind)
{
    const __m512d g = _mm512_cvtps_pd(half);
    const __m512d v = kind == FISH_OUTER_SQUARE     ? _mm512_mul_pd(g, g)
                      : kind == FISH_OUTER_ABSOLUTE ? _mm512_abs_pd(g)
                                                    : g;

    _mm512_storeu_pd(f, _mm512_fmadd_pd(weight, v, _mm512_loadu_pd(f)));
}

static inline __attribute__((always_inline)) void add_lanes(double *f, __m512 g, double weight,
                                                            fish_outer_kind kind)
{
    const __m512d w = _mm512_set1_pd(weight);

    add_half(f, _mm512_castps512_ps256(g), w, kind);
    add_half(f + 8, _mm512_extractf32x8_ps(g, 1), w, kind);
}

#include "train/square_outer_tile.h"

void fish_outer_avx512(const fish_outer *j)
{
    add_all(j);
}
