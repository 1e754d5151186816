/*
 * Frames: coding blocks gathered, compressed, and taken apart again.  FORMAT.md, "Frames".  Each
 * frame decodes alone, on any thread.
 */
#ifndef FMP_CODEC_FRAME_H
#define FMP_CODEC_FRAME_H

#include "base/digest.h"
#include "base/zframe.h"
#include "codec/block.h"

#define FMP_FRAME_MAX_RAW    (4u << 20) /* decoded streams, bytes */
#define FMP_FRAME_MAX_STORED ((4u << 20) + 1024)
#define FMP_FRAME_MAX_UNITS  (16u << 20)
#define FMP_FRAME_MAX_BLOCKS (16u << 10)
#define FMP_FRAME_GOAL       (256u << 10) /* stored bytes that a writer aims at */

/* ---- writing ----------------------------------------------------------------------------------
 */

typedef struct fmp_frame_builder {
    fmp_buf stream[FMP_STREAM_COUNT];
    uint32_t n_blocks;
    fmp_block first, last;
    size_t raw;    /* bytes in the streams */
    uint64_t cost; /* bits, estimated */
    uint64_t units;
    uint64_t n_changed;
    fmp_xxh before, after;
    bool has_sums; /* some block has */
} fmp_frame_builder;

void fmp_frame_builder_release(fmp_frame_builder *f);
/* Whether `piece` may join, by the format's limits and the writer's goal.  An empty frame takes
 * any. */
bool fmp_frame_takes(const fmp_frame_builder *f, const fmp_piece *piece);
void fmp_frame_add(fmp_frame_builder *f, const fmp_piece *piece);
/* Compresses to the end of `out` and empties the builder.  `sums`: with the sums of touched units.
 */
fmp_status fmp_frame_seal(fmp_frame_builder *f, fmp_z *z, int level, bool sums, fmp_buf *out,
                          fmp_error *err);

/* Appends one stream the shortest way: *ret_stored bytes of zstd; 1, the byte that all of it is; or
 * 0, the bytes as they are. */
fmp_status fmp_stream_put(const uint8_t *data, size_t len, unsigned kind, fmp_z *z, int level,
                          fmp_buf *body, size_t *ret_stored, fmp_error *err);

/* ---- reading ----------------------------------------------------------------------------------
 */

/* A decoded frame; all zero is empty.  May be opened again and again, keeping its memory. */
typedef struct fmp_frame {
    fmp_buf raw;
    fmp_streams streams;
    fmp_block *blocks;
    uint32_t n_blocks, cap_blocks;
    bool has_sums;
    uint64_t sum_before, sum_after;
} fmp_frame;

/* Checks everything but the content of blocks.  FMP_ECORRUPT, FMP_ENOMEM. */
fmp_status fmp_frame_open(fmp_frame *f, fmp_z *z, const void *stored, size_t len, fmp_error *err);
void fmp_frame_release(fmp_frame *f);

#endif
