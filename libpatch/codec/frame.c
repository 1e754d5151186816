/*
 * Frames.  See frame.h.
 */
#include "codec/frame.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"

enum { FLAG_SUMS = 1 };

/* ---- writing ----------------------------------------------------------------------------------
 */

void fmp_frame_builder_release(fmp_frame_builder *f)
{
    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++)
        fmp_buf_release(&f->stream[s]);
    *f = (fmp_frame_builder){0};
}

static void builder_clear(fmp_frame_builder *f)
{
    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++)
        fmp_buf_clear(&f->stream[s]);
    f->n_blocks = 0;
    f->raw = 0;
    f->cost = f->units = f->n_changed = 0;
    f->has_sums = false;
}

static size_t piece_raw(const fmp_piece *piece)
{
    size_t sum = 64; /* more than its head */

    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++)
        sum += piece->stream[s].len;
    return sum;
}

bool fmp_frame_takes(const fmp_frame_builder *f, const fmp_piece *piece)
{
    return f->n_blocks == 0 ||
           (f->n_blocks < FMP_FRAME_MAX_BLOCKS && f->raw + piece_raw(piece) <= FMP_FRAME_MAX_RAW &&
            f->units + fmp_block_units(&piece->head) <= FMP_FRAME_MAX_UNITS &&
            f->cost + piece->cost <= 8ull * FMP_FRAME_GOAL);
}

static void add_sum(fmp_xxh *x, uint64_t sum)
{
    uint8_t le[8];

    for (unsigned i = 0; i < 8; i++)
        le[i] = (uint8_t)(sum >> (8 * i));
    fmp_xxh_update(x, le, sizeof le);
}

void fmp_frame_add(fmp_frame_builder *f, const fmp_piece *piece)
{
    if (!f->n_blocks) {
        f->first = piece->head;
        fmp_xxh_init(&f->before);
        fmp_xxh_init(&f->after);
    }
    fmp_block_put_head(&piece->head, f->n_blocks ? &f->last : NULL, &f->stream[FMP_STREAM_HEADS],
                       &f->stream[FMP_STREAM_COUNTS]);
    for (unsigned s = FMP_STREAM_BITS; s < FMP_STREAM_COUNT; s++)
        fmp_buf_put(&f->stream[s], piece->stream[s].data, piece->stream[s].len);
    if (piece->head.kind < FMP_BLOCK_WHOLE) {
        add_sum(&f->before, piece->sum_before);
        add_sum(&f->after, piece->sum_after);
        f->has_sums = true;
    }
    f->last = piece->head;
    f->n_blocks++;
    f->raw += piece_raw(piece);
    f->cost += piece->cost;
    f->units += fmp_block_units(&piece->head);
    f->n_changed += piece->n_changed;
}

static bool is_constant(const uint8_t *data, size_t len)
{
    return memcmp(data, data + 1, len - 1) == 0;
}

/* Appends one stream the shortest way; *ret_stored is 0 where it is kept as it is. */
fmp_status fmp_stream_put(const uint8_t *data, size_t len, unsigned kind, fmp_z *z, int level,
                          fmp_buf *body, size_t *ret_stored, fmp_error *err)
{
    const size_t start = body->len;
    size_t first = len, second = len;
    fmp_status st = FMP_OK;

    *ret_stored = 0;
    if (len > 1 && is_constant(data, len)) {
        *ret_stored = 1;
        fmp_buf_put(body, data, 1);
        return FMP_OK;
    }
    if (kind != FMP_STREAM_BITS && kind != FMP_STREAM_CODED && len > 8) {
        st = fmp_z_compress(z, level, data, len, body, &first, err);
        if (!st)
            st = fmp_z_compress_entropy(z, data, len, body, &second, err);
        if (st)
            return st;
    }
    if (first >= len && second >= len) {
        body->len = start;
        fmp_buf_put(body, data, len);
        return FMP_OK;
    }
    if (second < first)
        memmove(body->data + start, body->data + start + first, second);
    *ret_stored = second < first ? second : first;
    body->len = start + *ret_stored;
    return FMP_OK;
}

fmp_status fmp_frame_seal(fmp_frame_builder *f, fmp_z *z, int level, bool sums, fmp_buf *out,
                          fmp_error *err)
{
    const bool with_sums = sums && f->has_sums;
    fmp_buf body = {0};
    uint64_t mask = 0;
    fmp_status st = FMP_OK;

    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++) {
        if (f->stream[s].bad)
            goto fail;
        mask |= (uint64_t)(f->stream[s].len != 0) << s;
    }
    fmp_buf_put_le(out, with_sums ? FLAG_SUMS : 0, 1);
    fmp_buf_put_varint(out, f->n_blocks);
    fmp_buf_put_varint(out, mask);
    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++) {
        size_t stored;

        if (!f->stream[s].len)
            continue;
        st = fmp_stream_put(f->stream[s].data, f->stream[s].len, s, z, level, &body, &stored, err);
        if (st)
            goto out;
        fmp_buf_put_varint(out, f->stream[s].len);
        fmp_buf_put_varint(out, stored);
    }
    if (with_sums) {
        fmp_buf_put_le(out, fmp_xxh_final(&f->before), 8);
        fmp_buf_put_le(out, fmp_xxh_final(&f->after), 8);
    }
    fmp_buf_put(out, body.data, body.len);
    if (body.bad || out->bad)
        goto fail;
    builder_clear(f);
out:
    fmp_buf_release(&body);
    return st;
fail:
    st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "writing a frame: out of memory");
    goto out;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

typedef struct frame_head {
    uint64_t n_blocks, mask;
    uint64_t raw[FMP_STREAM_COUNT], stored[FMP_STREAM_COUNT];
    uint64_t total;
} frame_head;

static fmp_status corrupt(fmp_error *err, const char *what)
{
    return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "frame: %s", what);
}

static fmp_status read_head(fmp_cursor *c, fmp_frame *f, frame_head *h, fmp_error *err)
{
    const uint64_t flags = fmp_cur_le(c, 1);

    h->n_blocks = fmp_cur_varint(c);
    h->mask = fmp_cur_varint(c);
    if (c->bad || flags > FLAG_SUMS || h->mask >> FMP_STREAM_COUNT || !(h->mask & 1))
        return corrupt(err, "its head is not valid");
    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++) {
        if (!(h->mask >> s & 1))
            continue;
        h->raw[s] = fmp_cur_varint(c);
        h->stored[s] = fmp_cur_varint(c);
        if (c->bad || h->raw[s] == 0 || h->raw[s] > FMP_FRAME_MAX_RAW || h->stored[s] >= h->raw[s])
            return corrupt(err, "a stream's length is not valid");
        h->total += h->raw[s];
    }
    if (h->total > FMP_FRAME_MAX_RAW)
        return corrupt(err, "its streams decode to more than 4 MiB");
    if (h->n_blocks == 0 || h->n_blocks > FMP_FRAME_MAX_BLOCKS ||
        h->n_blocks > h->raw[FMP_STREAM_HEADS])
        return corrupt(err, "it has too many blocks, or none");
    f->has_sums = flags & FLAG_SUMS;
    if (f->has_sums) {
        f->sum_before = fmp_cur_le(c, 8);
        f->sum_after = fmp_cur_le(c, 8);
    }
    return c->bad ? corrupt(err, "it is cut short") : FMP_OK;
}

static fmp_status read_streams(fmp_cursor *c, fmp_frame *f, fmp_z *z, const frame_head *h,
                               fmp_error *err)
{
    uint8_t *at;

    fmp_buf_clear(&f->raw);
    at = fmp_buf_reserve(&f->raw, (size_t)h->total + 1); /* one more: never NULL */
    if (!at)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "reading a frame: out of memory");
    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++) {
        const size_t raw = (size_t)h->raw[s];
        const size_t stored = (size_t)(h->stored[s] ? h->stored[s] : raw);
        const uint8_t *from = fmp_cur_take(c, stored);

        if (!from)
            return corrupt(err, "it is cut short");
        f->streams.data[s] = at;
        f->streams.len[s] = raw;
        if (raw && !h->stored[s]) {
            memcpy(at, from, raw);
        } else if (stored == 1 && raw) {
            memset(at, *from, raw);
        } else if (raw) {
            const fmp_status st = fmp_z_decompress(z, from, stored, at, raw, err);

            if (st)
                return st;
        }
        at += raw;
    }
    return fmp_cur_left(c) ? corrupt(err, "bytes after its last stream") : FMP_OK;
}

fmp_status fmp_frame_open(fmp_frame *f, fmp_z *z, const void *stored, size_t len, fmp_error *err)
{
    fmp_cursor c = fmp_cur(stored, len);
    frame_head h = {0};
    uint64_t units = 0;
    fmp_status st;

    f->n_blocks = 0;
    st = read_head(&c, f, &h, err);
    if (!st)
        st = read_streams(&c, f, z, &h, err);
    if (st)
        return st;
    if (h.n_blocks > f->cap_blocks) {
        fmp_block *blocks = fmp_realloc(f->blocks, (size_t)h.n_blocks, sizeof *blocks);

        if (!blocks)
            return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "reading a frame: out of memory");
        f->blocks = blocks;
        f->cap_blocks = (uint32_t)h.n_blocks;
    }
    st = fmp_blocks_parse(&f->streams, (uint32_t)h.n_blocks, f->blocks, err);
    if (st)
        return st;
    for (uint32_t i = 0; i < h.n_blocks; i++)
        units += fmp_block_units(&f->blocks[i]);
    if (units > FMP_FRAME_MAX_UNITS)
        return corrupt(err, "it covers more than 16 Mi units");
    f->n_blocks = (uint32_t)h.n_blocks;
    return FMP_OK;
}

void fmp_frame_release(fmp_frame *f)
{
    fmp_buf_release(&f->raw);
    fmp_free(f->blocks);
    *f = (fmp_frame){0};
}
