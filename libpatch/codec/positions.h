/*
 * Positions of changed units: how each coder writes and reads them, and what it would cost. Private
 * to codec/.  FORMAT.md, "Positions".
 */
#ifndef FMP_CODEC_POSITIONS_H
#define FMP_CODEC_POSITIONS_H

#include <stdint.h>

#include "codec/bits.h"
#include "codec/block.h"

/* Chooses the cheapest coder for `n` ascending positions below n_units: sets pos, shift, gap_class
 * and n_runs of `head`, and returns the estimated bits. */
uint64_t fmp_positions_choose(fmp_block *head, const uint32_t *idx, uint32_t n, uint32_t n_units);

/* Writes them as head->pos says.  Buffers go bad when memory is short. */
void fmp_positions_write(const fmp_block *head, const uint32_t *idx, uint32_t n, uint32_t n_units,
                         fmp_buf *bitmap, fmp_buf *gaps, fmp_bit_writer *bits);

/* Most bits that fmp_positions_write() may put into the bit stream. */
uint64_t fmp_positions_bits(const fmp_block *head, const uint32_t *idx, uint32_t n);

/* Reads head->n_set positions, ascending, each below n_units.  FMP_ECORRUPT otherwise. */
fmp_status fmp_positions_read(const fmp_block *head, const fmp_streams *s, fmp_bit_reader *bits,
                              uint32_t *idx, fmp_error *err);

#endif
