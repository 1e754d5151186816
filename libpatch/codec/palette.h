/*
 * Palettes: where a block's residuals are few different numbers (a first Adam step, say, which is
 * plus or minus the learning rate), tokens number them.  Private to codec/.  FORMAT.md, "Values".
 */
#ifndef FMP_CODEC_PALETTE_H
#define FMP_CODEC_PALETTE_H

#include <stdint.h>

#define FMP_PALETTE_MAX    255u
#define FMP_PALETTE_ESCAPE 255u
#define FMP_PALETTE_SLOTS  4096u

typedef struct fmp_palette {
    uint64_t value[FMP_PALETTE_MAX]; /* most frequent first, then by size */
    uint32_t n;
    /* Where values are counted, and found again: open addressing. */
    uint64_t key[FMP_PALETTE_SLOTS];
    uint32_t count[FMP_PALETTE_SLOTS]; /* 0: empty; after fmp_palette_choose(): number + 1, or
                                          escape + 1 */
    uint32_t n_distinct, n_counted, n_missed;
} fmp_palette;

void fmp_palette_clear(fmp_palette *p);
/* Counts a value; after too many different ones, new ones are only missed. */
void fmp_palette_count(fmp_palette *p, uint64_t value);
/* Picks the values that have a number.  Returns the bits that tokens, escapes and palette of units
 * of `bits` would take, UINT64_MAX when it is no use; *ret_raw of them lie in the bit stream. */
uint64_t fmp_palette_choose(fmp_palette *p, unsigned bits, uint64_t *ret_raw);
/* The number of a value, or FMP_PALETTE_ESCAPE. */
unsigned fmp_palette_find(const fmp_palette *p, uint64_t value);

#endif
