/*
 * The work space of one thread, lists of units, and what coding symbols costs.  Private to codec/.
 */
#ifndef FMP_CODEC_SCAN_H
#define FMP_CODEC_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/kernels.h"
#include "codec/model.h"
#include "codec/palette.h"

/* Work space of one thread. */
struct fmp_scratch {
    uint32_t idx[1u << 19];     /* changed units, ascending */
    uint32_t other[1u << 19];   /* unchanged units, or positions of a decoded block */
    uint32_t rank[1u << 19];    /* of changed units within their class */
    uint8_t keys[1u << 19];     /* of all units of the base */
    uint32_t n_of_key[256];     /* how many units have each */
    uint16_t density[1u << 19]; /* of changes in each column */
    uint64_t bitmap[1u << 13];
    fmp_model model;
    const fmp_kernels *kernels;
    uint8_t before[1u << 20]; /* touched units, packed */
    uint8_t after[1u << 20];
    uint8_t residual[1u << 20]; /* of them, packed */
    fmp_palette palette;
};

/* Indices of 0 .. n_units - 1 that are not in idx; returns their number. */
uint32_t fmp_scan_others(const uint32_t *idx, uint32_t n, uint32_t n_units, uint32_t *others);
/* Packs the units at idx. */
void fmp_scan_gather(const uint8_t *data, const uint32_t *idx, uint32_t n, unsigned bits,
                     uint8_t *packed);

/* Log2 of x >= 1 in 1/256 bits, the same on every machine. */
uint32_t fmp_log2_fixed(uint64_t x);
/* The same in 1/65536 bits; and quickly, in 1/256. */
uint32_t fmp_log2_fine(uint32_t x);
uint32_t fmp_log2_quick(uint32_t x);
/* Order-0 entropy of a histogram in bits, at least a bit a symbol unless one symbol is all. */
uint64_t fmp_entropy_bits(const uint32_t hist[256]);

#endif
