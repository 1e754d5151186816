/*
 * Values of changed units: residuals as tokens, absolute values in byte planes.  Private to codec/.
 * FORMAT.md, "Values".  The loops are specialised by unit width.
 */
#ifndef FMP_CODEC_VALUES_H
#define FMP_CODEC_VALUES_H

#include "codec/bits.h"
#include "codec/block.h"
#include "codec/palette.h"

/* The residuals of n packed units, of the width of the units; base NULL: zeros. */
void fmp_residuals(const uint8_t *base, const uint8_t *target, uint32_t n, unsigned bits, bool sm,
                   uint8_t *residual);

/* What value tokens of the changed units would cost, and how the units between would add to it. */
typedef struct fmp_value_cost {
    uint64_t sparse;                   /* bits; residual - 1 of the changed units */
    uint64_t full;                     /* bits; residuals of all n_units */
    uint64_t extra_sparse, extra_full; /* of those, raw bits */
    uint8_t sparse_class, full_class;  /* stream class that suits */
    bool sign_apart;                   /* sparse: signs as raw bits come cheaper */
    bool palette;                      /* sparse: numbers of a palette do */
} fmp_value_cost;

/* residual: of the n units that changed, of n_units. */
void fmp_values_cost(const uint8_t *residual, uint32_t n, uint32_t n_units, unsigned bits,
                     fmp_palette *palette, fmp_value_cost *ret);

/* How residuals are told: of all units (full), or lowered by 1, the sign apart or not, or by
 * number. */
typedef enum fmp_value_form {
    FMP_VALUES_FULL,
    FMP_VALUES_SPARSE,
    FMP_VALUES_APART,
    FMP_VALUES_PALETTE
} fmp_value_form;

/* Appends the tokens of n residuals.  `tokens` has room for n. */
void fmp_values_write(const uint8_t *residual, uint32_t n, fmp_value_form form, unsigned bits,
                      const fmp_palette *palette, uint8_t *tokens, fmp_bit_writer *w);

/* Byte planes of n packed units: plane k holds byte k of each. */
void fmp_planes_split(const uint8_t *packed, uint32_t n, unsigned width, uint8_t *const planes[8]);
void fmp_planes_join(const uint8_t *const planes[8], uint32_t n, unsigned width, uint8_t *packed);

#endif
