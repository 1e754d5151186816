/*
 * The description that stands before a modelled block: choosing, writing and reading it.  Private
 * to codec/.  FORMAT.md, "Modelled blocks".
 */
#ifndef FMP_CODEC_MODEL_HEAD_H
#define FMP_CODEC_MODEL_HEAD_H

#include "codec/model.h"

/* By what positions go. */
typedef enum fmp_model_choice {
    FMP_BY_CLASS,
    FMP_BY_ROW,
    FMP_BY_EITHER /* too close to tell */
} fmp_model_choice;

/* The models that suit the changed units at s->idx, and which seems to be the smaller; fills
 * s->keys and s->n_of_key. */
fmp_model_choice fmp_model_choose(fmp_scratch *s, const fmp_block_params *p, const uint8_t *base,
                                  const uint8_t *target, uint32_t n_units, uint32_t n_changed,
                                  fmp_model_head *by_class, fmp_model_head *by_row);
void fmp_model_head_put(const fmp_model_head *h, fmp_buf *out);
/* False when it is not valid. */
bool fmp_model_head_parse(fmp_cursor *in, uint32_t n_units, fmp_model_head *ret);
bool fmp_model_head_equal(const fmp_model_head *a, const fmp_model_head *b);

#endif
