/*
 * Frames of an open patch to bytes: one decoder a thread, which keeps the frame it last took apart.
 * Every frame is held to its digest and to the tensor table before it is used.  Not installed.
 */
#ifndef FMP_DECODE_H
#define FMP_DECODE_H

#include "base/zframe.h"
#include "codec/frame.h"
#include "patch.h"

typedef struct fmp_decoder {
    fmp_z *z;
    fmp_scratch *scratch;
    fmp_frame frame;
    uint32_t loaded; /* number of the frame in `frame`, + 1; 0: none */
    fmp_buf stored;
} fmp_decoder;

fmp_status fmp_decoder_init(fmp_decoder *d, fmp_error *err);
void fmp_decoder_release(fmp_decoder *d);

/* Reads, checks and takes apart frame number `n`. */
fmp_status fmp_decoder_load(fmp_decoder *d, const fmp_patch *p, uint32_t n, fmp_error *err);

/* The first block of a frame that ends behind byte `off` of the object. */
uint32_t fmp_frame_seek(const fmp_frame *f, uint32_t object, uint64_t off);

/*
 * Lays the patch over bytes [off, off + len) of an object, which `buf` holds; off is a multiple of
 * 1 MiB and len at most that.  *ret_touched: whether any block did anything.
 */
fmp_status fmp_decoder_apply(fmp_decoder *d, const fmp_patch *p, unsigned domain, uint32_t object,
                             uint64_t off, uint32_t len, uint8_t *buf, int direction,
                             bool *ret_touched, fmp_error *err);

/* How an object is called in messages. */
const char *fmp_patch_object_name(const fmp_patch *p, unsigned domain, uint64_t object);
uint64_t fmp_patch_object_bytes(const fmp_patch *p, unsigned domain, uint64_t object);

#endif
