/*
 * Modelled blocks: positions and residuals coded given the base, which the reader holds, too; the
 * compact profile is made of them.  Private to codec/.  FORMAT.md, "Modelled blocks".
 */
#ifndef FMP_CODEC_MODEL_H
#define FMP_CODEC_MODEL_H

#include "codec/bits.h"
#include "codec/block.h"
#include "codec/rangecoder.h"

#define FMP_SCALES     320u /* key + bits of a size */
#define FMP_ROW_LEVELS 12u
#define FMP_COL_LEVELS 10u

/* All contexts of a block. */
typedef struct fmp_model {
    fmp_context more[FMP_CLASSES_MAX]; /* a change within the step? */
    fmp_context place[3];              /* its first two bits */
    fmp_context level[FMP_ROW_LEVELS][FMP_ROW_LEVELS];
    fmp_context unit[FMP_ROW_LEVELS][FMP_COL_LEVELS];
    fmp_context sign[2];
    fmp_context first[256]; /* larger than where sizes are sought first? by key */
    fmp_context up[FMP_SCALES], down[FMP_SCALES];
    fmp_context lead[FMP_SCALES], rest[FMP_SCALES];
    fmp_context later[16];
} fmp_model;

/* How many changes a row has: 0 for none, then one number for each two powers of two. */
static inline unsigned fmp_row_level(uint32_t n)
{
    return n ? 1 + (fmp_bit_length(n) - 1) / 2 : 0;
}

/*
 * Codes the n_changed units at s->idx, ascending, of a block whose head has kind, bits,
 * sign_magnitude and n_bytes.  False when that takes `budget` bits or more (or memory is short: a
 * buffer of the piece is bad); the piece's streams are then empty.  s->other is overwritten.
 */
bool fmp_model_encode(fmp_scratch *s, const fmp_block_params *p, const uint8_t *base,
                      const uint8_t *target, uint32_t n_changed, uint64_t budget, fmp_piece *piece);

/* Makes the target of `data`, the base.  As fmp_block_apply(), forward. */
fmp_status fmp_model_apply(const fmp_block *b, const fmp_streams *s, uint8_t *data,
                           fmp_scratch *scratch, uint64_t sums[2], fmp_error *err);

#endif
