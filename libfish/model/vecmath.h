/*
 * exp, erf and tanh of floats as straight lines of arithmetic, so that loops over them become
 * vector instructions.  Relative errors are below 4e-7 (tests/unit/test_fish_ops.c measures them).
 * The polynomials were fitted for the least greatest relative error on their intervals (Lawson's
 * algorithm).  NaN goes in, NaN comes out.
 */
#ifndef FISH_VECMATH_H
#define FISH_VECMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/*
 * exp(x): 2^n exp(r) with r = x - n ln 2, |r| <= ln(2) / 2, ln 2 in two parts (Cody and Waite
 * 1980). 0 below -87; as at 88 above it.
 */
static inline float fish_vec_exp(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    const float low = x < -87.0f ? -87.0f : x;
    const float in = low > 88.0f ? 88.0f : low;
    const float shifted = in * 1.44269504f + magic;
    const float n = shifted - magic;
    const float r = (in - n * 0.693359375f) + n * 2.12194440e-4f;
    float q = 0.0013951708f;
    uint32_t bits;
    float scale;

    q = q * r + 0.00836959972f;
    q = q * r + 0.0416661874f;
    q = q * r + 0.166665129f;
    q = q * r + 0.5f;
    q = q * r * r + r;
    memcpy(&bits, &shifted, sizeof bits); /* its low bits are n */
    bits = (bits + 127u) << 23;
    memcpy(&scale, &bits, sizeof scale);
    return x < -87.0f ? 0.0f : scale + scale * q;
}

/* erf(x): x P(x^2) near 0; 1 - exp(Q(|x|)) further out, Q being the logarithm of erfc. */
static inline float fish_vec_erf(float x)
{
    const float a = fabsf(x);
    const float t = a > 4.0f ? 4.0f : a; /* 1 - erf(4) is below 2^-25 */
    const float s = x * x;
    float near = -0.000586206695f;
    float q = 0.000198225625f;
    float far;

    near = near * s + 0.00496750365f;
    near = near * s - 0.026748862f;
    near = near * s + 0.112813206f;
    near = near * s - 0.376124459f;
    near = near * s + 0.128379142f; /* 2 / sqrt(pi) - 1 */
    near = near * x + x;
    q = q * t - 0.00306554465f;
    q = q * t + 0.0223154141f;
    q = q * t - 0.104114066f;
    q = q * t - 0.636975674f;
    q = q * t - 1.12779747f;
    q = q * t - 0.000166396863f;
    far = copysignf(1.0f - fish_vec_exp(q), x);
    return a < 0.92f ? near : far;
}

/* tanh(x): x + x^3 P(x^2) near 0; 1 - 2 / (exp(2 |x|) + 1) further out. */
static inline float fish_vec_tanh(float x)
{
    const float a = fabsf(x);
    const float s = x * x;
    float near = -0.00552857466f;
    float far;

    near = near * s + 0.0204832546f;
    near = near * s - 0.0536929457f;
    near = near * s + 0.133308994f;
    near = near * s - 0.333332629f;
    near = near * s * x + x;
    far = copysignf(1.0f - 2.0f / (fish_vec_exp(2.0f * a) + 1.0f), x);
    return a < 0.64f ? near : far;
}

#endif
