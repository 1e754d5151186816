/*
 * Bytes to frames for whoever writes a patch: pieces of a region are coded, gathered into frames,
 * and the frames written to the payload in order.  Knows nothing of names or files of checkpoints.
 */
#ifndef FMP_ENCODE_H
#define FMP_ENCODE_H

#include "base/file.h"
#include "base/store.h"
#include "base/zframe.h"
#include "codec/frame.h"
#include "container/table.h"

#define FMP_MAX_PIECES 4 /* of one leaf: two for 8-bit units, and new bytes behind a map's end */

/* How a tensor's units are coded. */
fmp_block_params fmp_params_of(const fmp_dtype *d, uint32_t rank, const uint64_t *shape);

/* What zstd calls a level of fmp_create_options. */
int fmp_zstd_level(int level);

/* What one thread needs to code a region. */
typedef struct fmp_encoder {
    fmp_scratch *scratch;
    fmp_z *z;
    int level; /* zstd's */
    bool sums;
    bool reversible; /* new content never stands in for residuals */
    bool compact;    /* blocks may be coded given the base */
    uint8_t effort;  /* FMP_MODEL_... */
    fmp_piece piece[FMP_MAX_PIECES];
    unsigned n_pieces;
    fmp_piece trial;
    fmp_buf trial_out;
    /* A region that is big enough comes out as frames of its own. */
    fmp_frame_builder own;
    fmp_buf own_bytes;
    fmp_frame_entry own_entry[FMP_MAX_PIECES];
    unsigned n_own;
    bool has_set; /* the region against a base holds new bits, not residuals alone */
} fmp_encoder;

fmp_status fmp_encoder_init(fmp_encoder *e, const fmp_create_options *o, fmp_error *err);
void fmp_encoder_release(fmp_encoder *e);
void fmp_encoder_begin(fmp_encoder *e); /* forgets the region before */

/* Codes target bytes [off, off + len) of `object`: against `base`, or as new content (base NULL).
 */
fmp_status fmp_encoder_add(fmp_encoder *e, const fmp_block_params *p, uint64_t object, uint64_t off,
                           const uint8_t *base, const uint8_t *target, uint32_t len,
                           fmp_error *err);
/* Seals what was added, if it is big enough to stand alone.  Any thread. */
fmp_status fmp_encoder_settle(fmp_encoder *e, unsigned domain, fmp_error *err);

/* The payload being written. */
typedef struct fmp_payload {
    fmp_out *out;
    uint64_t start; /* file offset of the payload */
    fmp_frames frames;
    fmp_buf digests; /* one of each frame */
    fmp_frame_builder open;
    unsigned domain; /* of the open frame */
    fmp_z *z;
    int level;
    bool sums;
    fmp_buf scratch;
} fmp_payload;

void fmp_payload_release(fmp_payload *p);
/* Appends what the encoder holds.  In order of regions, one call at a time. */
fmp_status fmp_payload_take(fmp_payload *p, fmp_encoder *e, unsigned domain, fmp_error *err);
/* Seals a builder to the end of `bytes` and says what came out. */
fmp_status fmp_frame_out(fmp_frame_builder *f, unsigned domain, fmp_z *z, int level, bool sums,
                         fmp_buf *bytes, fmp_frame_entry *ret, fmp_error *err);
/* Appends a sealed frame; nothing is open. */
fmp_status fmp_payload_frame(fmp_payload *p, const fmp_frame_entry *entry, const uint8_t *bytes,
                             fmp_error *err);
/* Writes the frame that is still open, if any. */
fmp_status fmp_payload_flush(fmp_payload *p, fmp_error *err);

#endif
