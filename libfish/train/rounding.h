/*
 * --value-bits: updates of few significant bits, which the patch codec stores as numbers of a
 * palette.  Works on bit patterns in their order, as FORMAT.md section 16 has it.
 */
#ifndef FISH_ROUNDING_H
#define FISH_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

/*
 * The value nearest to `value` whose residual from `base`, in steps of the bit patterns' order, has
 * n_bits significant bits (ties to even).  Where a step is not the same size all the way from base
 * to value (a base near 0, a change of sign), the residual keeps as many more bits as it takes to
 * be within 2^-n_bits of the update.  `width` is 32 (F32), 16 with 8 exponent bits (BF16) or 16
 * with 5 (F16), as dtype says; both numbers are of that dtype.  n_bits 0: as it is.
 */
float fish_round_update(const char *dtype, float base, float value, unsigned n_bits);

/* The same for n values in place. */
void fish_round_updates(const char *dtype, const float *base, float *value, size_t n,
                        unsigned n_bits);

/*
 * The bits to round to after step 1 .. n_steps: 0 before the last `phase` of training, then n_bits
 * + 3, + 2, + 1 for an eighth of the phase each, and n_bits for the rest of it.
 */
unsigned fish_value_bits_at(unsigned n_bits, double phase, uint64_t step, uint64_t n_steps);

#endif
