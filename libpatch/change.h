/*
 * What patches do to one window of a tensor or file, without the base: blocks are added up, in the
 * order of the patches, and the sum is coded anew.  FORMAT.md, "Squash".  What comes out depends on
 * the sum alone, not on how its parts were coded.  Not installed.
 */
#ifndef FMP_CHANGE_H
#define FMP_CHANGE_H

#include "encode.h"

/* How a window is kept, from the cheapest on. */
typedef enum fmp_change_mode {
    FMP_CHANGE_SUMS,    /* residuals of one unit, nothing else: added up */
    FMP_CHANGE_CONTENT, /* all bytes are new */
    FMP_CHANGE_MIXED    /* byte by byte */
} fmp_change_mode;

/* A window: bytes [off, off + len) of the result.  One a thread; its memory serves again. */
typedef struct fmp_change {
    fmp_change_mode mode;
    uint64_t off;
    uint32_t len;
    uint32_t mapped; /* so many bytes begin as the base's, which nobody knows; the rest are new */
    bool touched;    /* some block did something */
    uint8_t bits;    /* FMP_CHANGE_SUMS: the unit; 0: nothing was added yet */
    bool sign_magnitude;
    uint32_t dirty;   /* bytes of `sums` that may not be 0 */
    uint8_t *sums;    /* residuals in the order of values, a sum in the place of each unit */
    uint8_t *content; /* new bytes */
    uint8_t *how;     /* FMP_CHANGE_MIXED: what each byte is; see change.c */
    uint8_t *spare;
    uint8_t *zeros;
    uint64_t *values; /* of a block */
} fmp_change;

fmp_status fmp_change_init(fmp_change *c, fmp_error *err);
void fmp_change_release(fmp_change *c);
/* Begins a window of at most FMP_LEAF_LEN bytes. */
void fmp_change_begin(fmp_change *c, uint64_t off, uint32_t len, uint32_t mapped);

/*
 * Adds a block whose first byte lies `at` bytes behind the window's (before it: negative); what
 * lies outside of the window, or at or behind `clip`, is left out.  Backward: residuals are taken
 * off, and new content behind the mapped bytes is not the base's and is left out.  FMP_ENOTSUP when
 * the base would be needed: residuals of different units meet, or a part of a residual's unit is
 * set.
 */
fmp_status fmp_change_add(fmp_change *c, const fmp_block *b, const fmp_streams *s, int64_t at,
                          uint32_t clip, int direction, fmp_scratch *scratch, fmp_error *err);

/*
 * Codes the window from byte *at on into `e`, as far as one kind of change goes, and moves *at
 * behind that; *at is the window's length when all is coded.  `p`: the unit of new content.
 */
fmp_status fmp_change_encode(fmp_change *c, fmp_encoder *e, const fmp_block_params *p,
                             uint64_t object, uint32_t *at, fmp_error *err);

#endif
