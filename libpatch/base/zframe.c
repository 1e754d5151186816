/*
 * zstd behind one door.  See zframe.h.
 */
#include "base/zframe.h"

#include <zstd.h>
#include <zstd_errors.h>

#include "base/alloc.h"
#include "base/cursor.h"
#include "base/status.h"

struct fmp_z {
    ZSTD_CCtx *c;
    ZSTD_CCtx *entropy; /* set up once */
    ZSTD_DCtx *d;
};

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "zstd: out of memory");
}

fmp_status fmp_z_new(fmp_z **ret, fmp_error *err)
{
    fmp_z *z = fmp_calloc(1, sizeof *z);

    if (!z)
        return no_memory(err);
    *ret = z;
    return FMP_OK;
}

void fmp_z_free(fmp_z *z)
{
    if (!z)
        return;
    ZSTD_freeCCtx(z->c);
    ZSTD_freeCCtx(z->entropy);
    ZSTD_freeDCtx(z->d);
    fmp_free(z);
}

enum { SMALL_TABLES = 3, TABLE_LOG = 17 };

static fmp_status set_up(fmp_z *z, int level, size_t len, fmp_error *err)
{
    const ZSTD_bounds window = ZSTD_cParam_getBounds(ZSTD_c_windowLog);
    int log = window.lowerBound;
    size_t bad;

    if (level < 1 || level > 19)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "zstd: level %d, expected 1 to 19", level);
    if (!z->c)
        z->c = ZSTD_createCCtx();
    if (!z->c)
        return no_memory(err);
    while (log < FMP_Z_WINDOW_LOG && (size_t)1 << log < len)
        log++;
    /* A failed call before this one may have left a frame half written. */
    bad = ZSTD_CCtx_reset(z->c, ZSTD_reset_session_only);
    if (!ZSTD_isError(bad))
        bad = ZSTD_CCtx_setParameter(z->c, ZSTD_c_compressionLevel, level);
    if (!ZSTD_isError(bad))
        bad = ZSTD_CCtx_setParameter(z->c, ZSTD_c_windowLog, log);
    if (!ZSTD_isError(bad))
        bad = ZSTD_CCtx_setParameter(z->c, ZSTD_c_checksumFlag, 0);
    /* Tables for more than a stream would cost memory that nobody has promised. */
    if (!ZSTD_isError(bad))
        bad = ZSTD_CCtx_setParameter(z->c, ZSTD_c_hashLog, level > SMALL_TABLES ? TABLE_LOG : 0);
    if (!ZSTD_isError(bad))
        bad = ZSTD_CCtx_setParameter(z->c, ZSTD_c_chainLog, level > SMALL_TABLES ? TABLE_LOG : 0);
    if (ZSTD_isError(bad))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "zstd level %d: %s", level,
                        ZSTD_getErrorName(bad));
    return FMP_OK;
}

static fmp_status compress_with(ZSTD_CCtx *c, const void *data, size_t len, fmp_buf *out,
                                size_t *ret_len, fmp_error *err)
{
    size_t room = ZSTD_compressBound(len);
    uint8_t *at;
    size_t n;

    if (ZSTD_isError(room))
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "zstd: %zu bytes are too many", len);
    if (out->max && room > out->max - out->len)
        room = out->max - out->len;
    at = fmp_buf_reserve(out, room);
    if (!at)
        return no_memory(err);
    n = ZSTD_compress2(c, at, room, data, len);
    if (ZSTD_isError(n))
        return ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall
                   ? fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET,
                              "zstd: no room for a frame of %zu bytes", len)
                   : fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "zstd: %s", ZSTD_getErrorName(n));
    out->len += n;
    *ret_len = n;
    return FMP_OK;
}

fmp_status fmp_z_compress(fmp_z *z, int level, const void *data, size_t len, fmp_buf *out,
                          size_t *ret_len, fmp_error *err)
{
    const fmp_status st = set_up(z, level, len, err);

    return st ? st : compress_with(z->c, data, len, out, ret_len, err);
}

/* The smallest hash table and the longest minimum: hardly a match is found, Huffman does the rest.
 */
static fmp_status set_up_entropy(fmp_z *z, fmp_error *err)
{
    static const struct {
        ZSTD_cParameter key;
        int value;
    } settings[] = {{ZSTD_c_strategy, ZSTD_fast}, {ZSTD_c_minMatch, 7},
                    {ZSTD_c_hashLog, 6},          {ZSTD_c_windowLog, FMP_Z_WINDOW_LOG},
                    {ZSTD_c_targetLength, 0},     {ZSTD_c_checksumFlag, 0}};
    size_t bad = 0;

    if (!z->entropy)
        z->entropy = ZSTD_createCCtx();
    if (!z->entropy)
        return no_memory(err);
    bad = ZSTD_CCtx_reset(z->entropy, ZSTD_reset_session_only);
    for (size_t i = 0; i < sizeof settings / sizeof *settings && !ZSTD_isError(bad); i++)
        bad = ZSTD_CCtx_setParameter(z->entropy, settings[i].key, settings[i].value);
    return ZSTD_isError(bad)
               ? fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "zstd: %s", ZSTD_getErrorName(bad))
               : FMP_OK;
}

fmp_status fmp_z_compress_entropy(fmp_z *z, const void *data, size_t len, fmp_buf *out,
                                  size_t *ret_len, fmp_error *err)
{
    const fmp_status st = set_up_entropy(z, err);

    return st ? st : compress_with(z->entropy, data, len, out, ret_len, err);
}

static fmp_status corrupt(fmp_error *err, const char *what)
{
    return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "zstd data: %s", what);
}

/* What the header of a frame says: RFC 8878, 3.1.1.1. */
typedef struct frame_header {
    uint64_t raw_len;
    uint64_t window;
} frame_header;

static uint64_t window_of(uint8_t descriptor)
{
    const uint64_t base = UINT64_C(1) << (10 + (descriptor >> 3));

    return base + base / 8 * (descriptor & 7);
}

/* Skippable and legacy frames have other magics.  Ours have no checksum and no dictionary. */
static fmp_status read_header(const void *stored, size_t len, frame_header *ret, fmp_error *err)
{
    static const uint8_t size_len[] = {0, 2, 4, 8};
    fmp_cursor c = fmp_cur(stored, len);
    const uint64_t magic = fmp_cur_le(&c, 4);
    const uint8_t flags = (uint8_t)fmp_cur_le(&c, 1);
    const bool single = flags & 0x20;
    const uint8_t window = single ? 0 : (uint8_t)fmp_cur_le(&c, 1);
    const unsigned n = flags >> 6 || !single ? size_len[flags >> 6] : 1;

    *ret = (frame_header){.raw_len = fmp_cur_le(&c, n) + (n == 2 ? 256 : 0)};
    ret->window = single ? ret->raw_len : window_of(window);
    if (c.bad || magic != ZSTD_MAGICNUMBER)
        return corrupt(err, "not a frame");
    if (flags & 0x1f)
        return corrupt(err, "the frame has a checksum, a dictionary or an unused bit");
    if (!n)
        return corrupt(err, "the frame declares no size");
    return FMP_OK;
}

static fmp_status check_frame(const void *stored, size_t stored_len, size_t raw_len, fmp_error *err)
{
    frame_header h = {0};
    const fmp_status st = read_header(stored, stored_len, &h, err);
    size_t n;

    if (st)
        return st;
    if (h.raw_len != raw_len)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "zstd data: the frame declares %llu bytes, expected %zu",
                        (unsigned long long)h.raw_len, raw_len);
    if (h.window > UINT64_C(1) << FMP_Z_WINDOW_LOG)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "zstd data: the frame wants a window of %llu bytes, allowed are %u",
                        (unsigned long long)h.window, 1u << FMP_Z_WINDOW_LOG);
    n = ZSTD_findFrameCompressedSize(stored, stored_len);
    if (ZSTD_isError(n))
        return corrupt(err, ZSTD_getErrorName(n));
    if (n != stored_len)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "zstd data: the frame ends after %zu of %zu bytes", n, stored_len);
    return FMP_OK;
}

fmp_status fmp_z_decompress(fmp_z *z, const void *stored, size_t stored_len, void *raw,
                            size_t raw_len, fmp_error *err)
{
    const fmp_status st = check_frame(stored, stored_len, raw_len, err);
    uint8_t none;
    size_t n;

    if (st)
        return st;
    if (!z->d)
        z->d = ZSTD_createDCtx();
    if (!z->d)
        return no_memory(err);
    n = ZSTD_decompressDCtx(z->d, raw_len ? raw : &none, raw_len, stored, stored_len);
    if (ZSTD_isError(n))
        return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation
                   ? no_memory(err)
                   : corrupt(err, ZSTD_getErrorName(n));
    if (n != raw_len)
        return corrupt(err, "the frame is shorter than it says");
    return FMP_OK;
}
