/*
 * The inner loop of Fisher scores: per-example gradients of a matrix, squared as they come out of
 * the registers, never stored.  One version a set of instructions; all add the same products in the
 * same order, so they differ only where a fused multiply-add rounds once and the plain version
 * twice.
 */
#ifndef FISH_SQUARE_OUTER_H
#define FISH_SQUARE_OUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum fish_outer_kind {
    FISH_OUTER_SQUARE = 0, /* f += weight * g^2 */
    FISH_OUTER_ABSOLUTE,   /* f += weight * |g| */
    FISH_OUTER_SIGNED      /* f += weight * g */
} fish_outer_kind;

/* As the arguments of fish_square_outer(). */
typedef struct fish_outer {
    double *f; /* [out][in]; rows o_begin .. o_end - 1 are added to */
    size_t in;
    size_t o_begin, o_end;
    const float *dy;
    size_t ldy;
    const float *x;
    size_t ldx;
    const uint32_t *start; /* [n + 1] */
    uint32_t n;
    const double *weight; /* [n], or NULL: all 1 */
    fish_outer_kind kind;
} fish_outer;

typedef void (*fish_outer_fn)(const fish_outer *j);

/* The version for this processor. */
void fish_outer_add(const fish_outer *j);

/* All versions that this processor can run, the plain one first; i past the end gives NULL. */
fish_outer_fn fish_outer_version(unsigned i, const char **ret_name);

/* Named by the instructions that they need.  The last two exist on x86-64 only and need up to
 * 384 KiB of stack. */
void fish_outer_plain(const fish_outer *j);
void fish_outer_avx2(const fish_outer *j);
void fish_outer_avx512(const fish_outer *j);

#endif
