/*
 * The description that stands before a modelled block: choosing, writing and reading it.  Private
 * to codec/.  FORMAT.md, "Modelled blocks".
 */
#ifndef FMP_CODEC_MODEL_HEAD_H
#define FMP_CODEC_MODEL_HEAD_H

#include "codec/model.h"

/* What suits the changed units at s->idx, by class and, where there are rows, by row; fills s->keys
 * and s->model_keys.  Returns whether the latter is there and seems to be smaller. */
bool fmp_model_choose(fmp_scratch *s, const fmp_block_params *p, const uint8_t *base,
                      const uint8_t *target, uint32_t n_units, uint32_t n_changed,
                      fmp_model_head *by_class, fmp_model_head *by_row);
void fmp_model_head_put(const fmp_model_head *h, fmp_buf *out);
/* False when it is not valid. */
bool fmp_model_head_parse(fmp_cursor *in, uint32_t n_units, fmp_model_head *ret);
bool fmp_model_head_equal(const fmp_model_head *a, const fmp_model_head *b);

#endif
