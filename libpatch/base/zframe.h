/*
 * One zstd frame with a declared size and a bounded window: the only way in which fmpatch uses
 * zstd. The frames carry no checksum and no dictionary id.  Not thread-safe per handle; one handle
 * a thread.
 */
#ifndef FMP_BASE_ZFRAME_H
#define FMP_BASE_ZFRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "fmpatch.h"

#define FMP_Z_WINDOW_LOG 22 /* 4 MiB: the largest window that a reader accepts */

typedef struct fmp_z fmp_z; /* compressor and decompressor contexts, made when first needed */

fmp_status fmp_z_new(fmp_z **ret, fmp_error *err);
void fmp_z_free(fmp_z *z);

/* Appends the frame to `out`.  *ret_len is its length.  level 1 .. 19. */
fmp_status fmp_z_compress(fmp_z *z, int level, const void *data, size_t len, fmp_buf *out,
                          size_t *ret_len, fmp_error *err);
/* The same with entropy coding alone: for streams of independent symbols, where chance matches only
 * cost bits. */
fmp_status fmp_z_compress_entropy(fmp_z *z, const void *data, size_t len, fmp_buf *out,
                                  size_t *ret_len, fmp_error *err);
/* `stored` must be one frame, nothing after it, that declares and yields exactly `raw_len` bytes.
 */
fmp_status fmp_z_decompress(fmp_z *z, const void *stored, size_t stored_len, void *raw,
                            size_t raw_len, fmp_error *err);

#endif
