/*
 * The safetensors header as its usual writers make it, so that a patch need not carry it: what must
 * be kept of a file's own header (the hint), and the text that follows from hint and tensors.
 *
 * A hint is one byte of flags, a varint of padding spaces, and the text of the __metadata__ value.
 * An empty hint is that of a compact, aligned header without metadata.
 */
#include <string.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/json.h"
#include "base/status.h"
#include "builder.h"

enum {
    HINT_SPACED = 1,   /* ", " and ": ", as json.dumps() writes them */
    HINT_METADATA = 2, /* a __metadata__ stands first */
    HINT_ALIGNED = 4,  /* as few spaces as make header and length a multiple of 8; varint is 0 */
    HINT_ALL = 7
};

enum { PREFIX = 8, MAX_DEPTH = 4, FLUSH_AT = 32768 };
#define MAX_PADDING 100000000u

/* ---- the hint ---- */

typedef struct source {
    const struct fmp_store *store;
    uint32_t file;
} source;

static fmp_status read_source(void *ctx, uint64_t off, void *buf, size_t len, fmp_error *err)
{
    const source *s = ctx;

    return fmp_store_read_file(s->store, s->file, PREFIX + off, buf, len, err);
}

/* How many spaces the header ends with. */
static fmp_status count_padding(source *s, uint64_t len, uint64_t *ret, fmp_error *err)
{
    uint8_t chunk[4096];
    uint64_t end = len;

    while (end) {
        const size_t n = end < sizeof chunk ? (size_t)end : sizeof chunk;
        size_t spaces = 0;
        fmp_status st = read_source(s, end - n, chunk, n, err);

        if (st)
            return st;
        while (spaces < n && chunk[n - 1 - spaces] == ' ')
            spaces++;
        end -= spaces;
        if (spaces < n)
            break;
    }
    *ret = len - end;
    return FMP_OK;
}

/* What stands first in the header: tells the style, and where the metadata's text lies. */
static fmp_status read_first(fmp_json *j, uint8_t *flags, uint64_t *ret_from, uint64_t *ret_to,
                             source *s, fmp_error *err)
{
    static const char key[] = "__metadata__";
    uint8_t before;
    bool is_metadata;
    fmp_status st = fmp_json_expect(j, FMP_JSON_OBJECT_BEGIN, "the header", err);

    if (!st)
        st = fmp_json_next(j, err);
    if (st || j->kind == FMP_JSON_OBJECT_END)
        return st;
    is_metadata = j->text.len == sizeof key - 1 && !memcmp(j->text.data, key, sizeof key - 1);
    st = fmp_json_next(j, err);
    if (!st)
        st = read_source(s, j->token_at - 1, &before, 1, err);
    if (st)
        return st;
    if (before == ' ')
        *flags |= HINT_SPACED;
    if (!is_metadata || j->kind != FMP_JSON_OBJECT_BEGIN)
        return FMP_OK;
    *flags |= HINT_METADATA;
    *ret_from = j->token_at;
    st = fmp_json_skip(j, err);
    *ret_to = j->at;
    return st;
}

fmp_status fmp_safetensors_hint(const struct fmp_store *store, uint32_t file, fmp_buf *hint,
                                fmp_error *err)
{
    const fmp_store_file *f = &store->files[file];
    const uint64_t len = f->header_len - PREFIX;
    source s = {.store = store, .file = file};
    fmp_json j = {0};
    uint8_t flags = 0;
    uint8_t *room;
    uint64_t from = 0;
    uint64_t to = 0;
    uint64_t padding;
    fmp_status st = fmp_json_init(&j, read_source, &s, len, f->in.path, PREFIX, MAX_DEPTH, err);

    if (!st)
        st = read_first(&j, &flags, &from, &to, &s, err);
    if (!st)
        st = count_padding(&s, len, &padding, err);
    if (st)
        goto out;
    if (len % 8 == 0 && padding < 8) {
        flags |= HINT_ALIGNED;
        padding = 0;
    }
    fmp_buf_put(hint, &flags, 1);
    fmp_buf_put_varint(hint, padding);
    room = fmp_buf_reserve(hint, (size_t)(to - from));
    if (!room) {
        st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: its metadata takes too much memory",
                      f->in.path);
        goto out;
    }
    if (to > from)
        st = read_source(&s, from, room, (size_t)(to - from), err);
    if (!st)
        hint->len += (size_t)(to - from);

out:
    fmp_json_release(&j);
    return st;
}

/* ---- the text ---- */

typedef struct hint_fields {
    uint8_t flags;
    uint64_t padding;
    const uint8_t *metadata;
    size_t metadata_len;
} hint_fields;

static fmp_status parse_hint(const uint8_t *hint, size_t len, hint_fields *ret, fmp_error *err)
{
    fmp_cursor c = fmp_cur(hint, len);
    hint_fields h = {.flags = HINT_ALIGNED};

    if (len) {
        h.flags = (uint8_t)fmp_cur_le(&c, 1);
        h.padding = fmp_cur_varint(&c);
        h.metadata_len = fmp_cur_left(&c);
        h.metadata = fmp_cur_take(&c, h.metadata_len);
    }
    if (c.bad || h.flags & ~HINT_ALL || h.padding > MAX_PADDING ||
        (h.flags & HINT_ALIGNED && h.padding) || !(h.flags & HINT_METADATA) != !h.metadata_len)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "header hint: %zu bytes that safetensors does not know", len);
    *ret = h;
    return FMP_OK;
}

/* Counts the text when there is no sink, else hands it on in pieces. */
typedef struct emitter {
    fmp_sink_fn sink;
    void *sink_ctx;
    fmp_buf text;
    uint64_t n;
} emitter;

static fmp_status flush(emitter *e, fmp_error *err)
{
    fmp_status st = FMP_OK;

    if (e->text.bad)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "header text: out of memory");
    e->n += e->text.len;
    if (e->sink && e->text.len)
        st = e->sink(e->sink_ctx, e->text.data, e->text.len, err);
    fmp_buf_clear(&e->text);
    return st;
}

static void put_number(fmp_buf *b, uint64_t v)
{
    char digits[20];
    size_t n = sizeof digits;

    do
        digits[--n] = (char)('0' + v % 10);
    while (v /= 10);
    fmp_buf_put(b, digits + n, sizeof digits - n);
}

static void put_tensor(fmp_buf *b, const fmp_tensor_info *t, uint64_t off, bool spaced)
{
    const char *comma = spaced ? ", " : ",";
    const char *colon = spaced ? ": " : ":";

    fmp_json_put_string(b, t->name, t->name_len);
    fmp_buf_put_str(b, colon);
    fmp_buf_put_str(b, "{\"dtype\"");
    fmp_buf_put_str(b, colon);
    fmp_json_put_string(b, t->dtype, strlen(t->dtype));
    fmp_buf_put_str(b, comma);
    fmp_buf_put_str(b, "\"shape\"");
    fmp_buf_put_str(b, colon);
    fmp_buf_put_str(b, "[");
    for (uint32_t i = 0; i < t->rank; i++) {
        if (i)
            fmp_buf_put_str(b, comma);
        put_number(b, t->shape[i]);
    }
    fmp_buf_put_str(b, "]");
    fmp_buf_put_str(b, comma);
    fmp_buf_put_str(b, "\"data_offsets\"");
    fmp_buf_put_str(b, colon);
    fmp_buf_put_str(b, "[");
    put_number(b, off);
    fmp_buf_put_str(b, comma);
    put_number(b, off + t->n_bytes);
    fmp_buf_put_str(b, "]}");
}

/* The JSON without its padding. */
static fmp_status put_json(emitter *e, const hint_fields *h, fmp_tensor_at_fn at, void *at_ctx,
                           uint32_t n_tensors, fmp_error *err)
{
    const bool spaced = h->flags & HINT_SPACED;
    uint64_t off = 0;
    fmp_status st = FMP_OK;

    fmp_buf_put_str(&e->text, "{");
    if (h->flags & HINT_METADATA) {
        fmp_buf_put_str(&e->text, spaced ? "\"__metadata__\": " : "\"__metadata__\":");
        fmp_buf_put(&e->text, h->metadata, h->metadata_len);
    }
    for (uint32_t i = 0; !st && i < n_tensors; i++) {
        const fmp_tensor_info t = at(at_ctx, i);

        if (off > UINT64_MAX - t.n_bytes)
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "tensor \"%.200s\": expected a file below 2^64 bytes, found more",
                            t.name);
        if (i || h->flags & HINT_METADATA)
            fmp_buf_put_str(&e->text, spaced ? ", " : ",");
        put_tensor(&e->text, &t, off, spaced);
        off += t.n_bytes;
        if (e->text.len >= FLUSH_AT)
            st = flush(e, err);
    }
    fmp_buf_put_str(&e->text, "}");
    return st ? st : flush(e, err);
}

static fmp_status put_padding(emitter *e, uint64_t n, fmp_error *err)
{
    while (n) {
        const size_t part = n < FLUSH_AT ? (size_t)n : FLUSH_AT;
        uint8_t *at = fmp_buf_reserve(&e->text, part);
        fmp_status st;

        if (at) {
            memset(at, ' ', part);
            e->text.len += part;
        }
        st = flush(e, err);
        if (st)
            return st;
        n -= part;
    }
    return FMP_OK;
}

fmp_status fmp_safetensors_write(const uint8_t *hint, size_t hint_len, fmp_tensor_at_fn at,
                                 void *at_ctx, uint32_t n_tensors, fmp_sink_fn sink, void *sink_ctx,
                                 fmp_error *err)
{
    emitter e = {0};
    hint_fields h = {0};
    fmp_status st = parse_hint(hint, hint_len, &h, err);

    /* The length stands first, so the text is made twice: to be counted, then to be written. */
    if (!st)
        st = put_json(&e, &h, at, at_ctx, n_tensors, err);
    if (st)
        goto out;
    if (h.flags & HINT_ALIGNED)
        h.padding = (8 - e.n % 8) % 8;
    fmp_buf_put_le(&e.text, e.n + h.padding, PREFIX);
    e.sink = sink;
    e.sink_ctx = sink_ctx;
    st = put_json(&e, &h, at, at_ctx, n_tensors, err);
    if (!st)
        st = put_padding(&e, h.padding, err);

out:
    fmp_buf_release(&e.text);
    return st;
}
