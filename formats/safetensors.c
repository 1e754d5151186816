/*
 * Reading safetensors: u64 length, JSON header, data.  Every rule of the format is checked here,
 * and some that its reference reader leaves out; `lenient` gives those up, but never lets two
 * tensors share a name or a byte.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/status.h"
#include "builder.h"

/* Our own bounds, which `lenient` does not lift; the reference reader has none of them. */
enum { MAX_DEPTH = 4, MAX_RANK = 32, MAX_NAME = 1024 };
#define MAX_DIM ((uint64_t)1 << 48)

enum { PREFIX = 8 };

typedef struct parser {
    fmp_builder *b;
    const fmp_file *in;
    fmp_json_file source;
    fmp_json j;
    uint64_t data_len;
    fmp_buf name; /* of the tensor that is being read, NUL-terminated beyond name.len */
    uint64_t dims[MAX_RANK];
    uint32_t rank;
    bool has_metadata;
} parser;

static uint64_t here(const parser *p)
{
    return PREFIX + p->j.token_at;
}

static fmp_status no_memory(const parser *p, fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", p->in->path);
}

__attribute__((format(printf, 3, 4))) static fmp_status bad_tensor(const parser *p, fmp_error *err,
                                                                   const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return fmp_fail(err, FMP_ECORRUPT, here(p), "%s: tensor \"%.200s\": %s", p->in->path,
                    (const char *)p->name.data, text);
}

static const char *kind_name(fmp_json_kind kind)
{
    static const char *const names[] = {
        [FMP_JSON_END] = "the end of the header",
        [FMP_JSON_OBJECT_BEGIN] = "an object",
        [FMP_JSON_OBJECT_END] = "the end of an object",
        [FMP_JSON_ARRAY_BEGIN] = "an array",
        [FMP_JSON_ARRAY_END] = "the end of an array",
        [FMP_JSON_KEY] = "a key",
        [FMP_JSON_STRING] = "a string",
        [FMP_JSON_UINT] = "a whole number",
        [FMP_JSON_NUMBER] = "a number that is negative, fractional or too large",
        [FMP_JSON_TRUE] = "true",
        [FMP_JSON_FALSE] = "false",
        [FMP_JSON_NULL] = "null",
    };

    return names[kind];
}

static bool text_is(const fmp_json *j, const char *s)
{
    return j->text.len == strlen(s) && !memcmp(j->text.data, s, j->text.len);
}

/* The next token, which must be of `kind`. */
static fmp_status want(parser *p, fmp_json_kind kind, const char *what, fmp_error *err)
{
    fmp_status st = fmp_json_next(&p->j, err);

    if (st)
        return st;
    if (p->j.kind != kind)
        return bad_tensor(p, err, "%s: expected %s, found %s", what, kind_name(kind),
                          kind_name(p->j.kind));
    return FMP_OK;
}

/* ---- __metadata__ ---- */

/* Keys as records of a u32 length and the bytes. */
typedef struct keys {
    fmp_buf arena;
    fmp_buf at; /* u32 offsets into the arena */
} keys;

static uint32_t key_len(const keys *k, uint32_t at)
{
    uint32_t len;

    memcpy(&len, k->arena.data + at, sizeof len);
    return len;
}

/* For "%.*s", which wants an int. */
static int shown_len(const keys *k, uint32_t at)
{
    const uint32_t len = key_len(k, at);

    return len < 200 ? (int)len : 200;
}

static int compare_keys(const void *ctx, uint32_t a, uint32_t b)
{
    const keys *k = ctx;

    return fmp_compare_bytes(k->arena.data + a + 4, key_len(k, a), k->arena.data + b + 4,
                             key_len(k, b));
}

static fmp_status refuse_duplicate_keys(const parser *p, keys *k, fmp_error *err)
{
    /* The buffer comes from the heap, so it is aligned for anything. */
    uint32_t *at = (uint32_t *)(void *)k->at.data;
    const size_t n = k->at.len / sizeof *at;
    fmp_status st = n ? fmp_sort_u32(at, n, compare_keys, k, err) : FMP_OK;

    for (size_t i = 1; !st && i < n; i++)
        if (!compare_keys(k, at[i - 1], at[i]))
            st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                          "%s: __metadata__: key \"%.*s\": expected once, found twice", p->in->path,
                          shown_len(k, at[i]), (const char *)k->arena.data + at[i] + 4);
    return st;
}

static fmp_status read_metadata_pairs(parser *p, keys *k, fmp_error *err)
{
    for (;;) {
        fmp_status st = fmp_json_next(&p->j, err);
        uint32_t at;
        uint32_t len;

        if (st || p->j.kind == FMP_JSON_OBJECT_END)
            return st;
        if (k->arena.len > UINT32_MAX - 4 || p->j.text.len > UINT32_MAX)
            return fmp_fail(err, FMP_ELIMIT, here(p), "%s: __metadata__: larger than 4 GiB",
                            p->in->path);
        at = (uint32_t)k->arena.len;
        len = (uint32_t)p->j.text.len;
        fmp_buf_put(&k->at, &at, sizeof at);
        fmp_buf_put(&k->arena, &len, sizeof len);
        fmp_buf_put(&k->arena, p->j.text.data, len);
        if (k->at.bad || k->arena.bad)
            return no_memory(p, err);
        st = fmp_json_next(&p->j, err);
        if (st)
            return st;
        if (p->j.kind != FMP_JSON_STRING)
            return fmp_fail(err, FMP_ECORRUPT, here(p),
                            "%s: __metadata__: key \"%.*s\": expected a string, found %s",
                            p->in->path, shown_len(k, at), (const char *)k->arena.data + at + 4,
                            kind_name(p->j.kind));
    }
}

static fmp_status read_metadata(parser *p, fmp_error *err)
{
    keys k = {0};
    fmp_status st;

    if (p->has_metadata)
        return fmp_fail(err, FMP_ECORRUPT, here(p), "%s: __metadata__: expected once, found twice",
                        p->in->path);
    p->has_metadata = true;
    st = fmp_json_next(&p->j, err);
    if (st)
        return st;
    if (p->j.kind == FMP_JSON_NULL && p->b->lenient)
        return FMP_OK;
    if (p->j.kind != FMP_JSON_OBJECT_BEGIN)
        return fmp_fail(err, FMP_ECORRUPT, here(p),
                        "%s: __metadata__: expected an object, found %s", p->in->path,
                        kind_name(p->j.kind));
    st = read_metadata_pairs(p, &k, err);
    if (!st)
        st = refuse_duplicate_keys(p, &k, err);
    fmp_buf_release(&k.arena);
    fmp_buf_release(&k.at);
    return st;
}

/* ---- one tensor ---- */

static fmp_status take_name(parser *p, fmp_error *err)
{
    const fmp_buf *text = &p->j.text;

    fmp_buf_clear(&p->name);
    fmp_buf_put(&p->name, text->data, text->len);
    fmp_buf_put(&p->name, "", 1);
    if (p->name.bad)
        return no_memory(p, err);
    p->name.len--;
    if (p->b->lenient)
        return FMP_OK;
    if (text->len < 1 || text->len > MAX_NAME)
        return bad_tensor(p, err, "expected a name of 1 to %d bytes, found %zu", MAX_NAME,
                          text->len);
    if (!fmp_text_is_clean((const char *)text->data, text->len))
        return bad_tensor(p, err, "expected a printable name, found control characters");
    return FMP_OK;
}

static fmp_status read_dtype(parser *p, fmp_found *t, fmp_error *err)
{
    fmp_status st = want(p, FMP_JSON_STRING, "dtype", err);

    if (st)
        return st;
    t->dtype = fmp_dtype_find((const char *)p->j.text.data, p->j.text.len);
    if (!t->dtype)
        return fmp_fail(err, FMP_ENOTSUP, here(p),
                        "%s: tensor \"%.200s\": expected a dtype of safetensors, found \"%.40s\"",
                        p->in->path, (const char *)p->name.data, (const char *)p->j.text.data);
    return FMP_OK;
}

static fmp_status add_dim(parser *p, fmp_error *err)
{
    if (p->rank == MAX_RANK)
        return bad_tensor(p, err, "shape: expected at most %d dimensions, found more", MAX_RANK);
    if (p->j.uint > MAX_DIM)
        return bad_tensor(p, err, "shape: expected dimensions of at most 2^48, found %llu",
                          (unsigned long long)p->j.uint);
    p->dims[p->rank++] = p->j.uint;
    return FMP_OK;
}

static fmp_status read_shape(parser *p, fmp_error *err)
{
    fmp_status st = want(p, FMP_JSON_ARRAY_BEGIN, "shape", err);

    p->rank = 0;
    while (!st) {
        st = fmp_json_next(&p->j, err);
        if (st || p->j.kind == FMP_JSON_ARRAY_END)
            return st;
        if (p->j.kind != FMP_JSON_UINT)
            return bad_tensor(p, err, "shape: expected a whole number, found %s",
                              kind_name(p->j.kind));
        st = add_dim(p, err);
    }
    return st;
}

static fmp_status read_offsets(parser *p, uint64_t offsets[2], fmp_error *err)
{
    fmp_status st = want(p, FMP_JSON_ARRAY_BEGIN, "data_offsets", err);

    for (unsigned i = 0; !st && i < 2; i++) {
        st = want(p, FMP_JSON_UINT, "data_offsets", err);
        offsets[i] = p->j.uint;
    }
    if (!st)
        st = want(p, FMP_JSON_ARRAY_END, "data_offsets", err);
    return st;
}

enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4, ALL_FIELDS = 7 };

static fmp_status read_fields(parser *p, fmp_found *t, uint64_t offsets[2], unsigned *seen,
                              fmp_error *err)
{
    for (;;) {
        fmp_status st = fmp_json_next(&p->j, err);
        unsigned field;

        if (st || p->j.kind == FMP_JSON_OBJECT_END)
            return st;
        field = text_is(&p->j, "dtype")          ? DTYPE
                : text_is(&p->j, "shape")        ? SHAPE
                : text_is(&p->j, "data_offsets") ? OFFSETS
                                                 : 0;
        if (!field && !p->b->lenient)
            return bad_tensor(p, err, "expected dtype, shape, data_offsets, found \"%.40s\"",
                              (const char *)p->j.text.data);
        if (*seen & field)
            return bad_tensor(p, err, "%s: expected once, found twice",
                              (const char *)p->j.text.data);
        *seen |= field;
        if (field == DTYPE)
            st = read_dtype(p, t, err);
        else if (field == SHAPE)
            st = read_shape(p, err);
        else if (field == OFFSETS)
            st = read_offsets(p, offsets, err);
        else
            st = fmp_json_next(&p->j, err);
        if (!st && !field)
            st = fmp_json_skip(&p->j, err);
        if (st)
            return st;
    }
}

/* Dtype, shape and offsets must tell the same size, and it must lie in the data. */
static fmp_status check_tensor(const parser *p, fmp_found *t, const uint64_t offsets[2],
                               fmp_error *err)
{
    uint64_t n_elements;

    if (!fmp_dtype_bytes(t->dtype, t->rank, t->shape, &n_elements, &t->n_bytes))
        return bad_tensor(p, err,
                          "expected a shape of whole bytes below 2^64, found %u dimension%s"
                          " of %u-bit %s that are not",
                          t->rank, t->rank == 1 ? "" : "s", t->dtype->bits, t->dtype->name);
    if (offsets[0] > offsets[1])
        return bad_tensor(p, err, "data_offsets: expected an end of at least %llu, found %llu",
                          (unsigned long long)offsets[0], (unsigned long long)offsets[1]);
    if (offsets[1] > p->data_len)
        return bad_tensor(p, err,
                          "data_offsets: expected an end within the %llu data bytes of the "
                          "file, found %llu",
                          (unsigned long long)p->data_len, (unsigned long long)offsets[1]);
    if (offsets[1] - offsets[0] != t->n_bytes)
        return bad_tensor(p, err,
                          "data_offsets: expected %llu bytes by dtype and shape, found "
                          "%llu",
                          (unsigned long long)t->n_bytes,
                          (unsigned long long)(offsets[1] - offsets[0]));
    return FMP_OK;
}

static fmp_status read_tensor(parser *p, fmp_error *err)
{
    fmp_found t = {0};
    uint64_t offsets[2] = {0};
    unsigned seen = 0;
    fmp_status st = take_name(p, err);

    if (!st)
        st = want(p, FMP_JSON_OBJECT_BEGIN, "entry", err);
    if (!st)
        st = read_fields(p, &t, offsets, &seen, err);
    if (st)
        return st;
    if (seen != ALL_FIELDS)
        return bad_tensor(p, err, "expected dtype, shape, data_offsets, found no %s",
                          !(seen & DTYPE)   ? "dtype"
                          : !(seen & SHAPE) ? "shape"
                                            : "data_offsets");
    t.name = (const char *)p->name.data;
    t.name_len = p->name.len;
    t.rank = p->rank;
    t.shape = p->dims;
    st = check_tensor(p, &t, offsets, err);
    if (st)
        return st;
    t.off = PREFIX + p->j.len + offsets[0];
    return fmp_builder_add_tensor(p->b, &t, err);
}

/* ---- the header ---- */

/* After the brace that closes the header only spaces may stand. */
static fmp_status check_padding(parser *p, fmp_error *err)
{
    uint8_t chunk[4096];
    uint64_t at = p->j.at;

    while (at < p->j.len) {
        const uint64_t left = p->j.len - at;
        const size_t n = left < sizeof chunk ? (size_t)left : sizeof chunk;
        fmp_status st = fmp_file_read(p->in, PREFIX + at, chunk, n, err);

        if (st)
            return st;
        for (size_t i = 0; i < n; i++)
            if (chunk[i] != ' ')
                return fmp_fail(err, FMP_ECORRUPT, PREFIX + at + i,
                                "%s: header: expected only spaces after its last brace, found "
                                "byte 0x%02x",
                                p->in->path, chunk[i]);
        at += n;
    }
    return FMP_OK;
}

static fmp_status read_header(parser *p, fmp_error *err)
{
    fmp_status st = fmp_json_expect(&p->j, FMP_JSON_OBJECT_BEGIN, "the header", err);

    while (!st) {
        st = fmp_json_next(&p->j, err);
        if (st)
            return st;
        if (p->j.kind == FMP_JSON_OBJECT_END)
            break;
        if (text_is(&p->j, "__metadata__"))
            st = read_metadata(p, err);
        else
            st = read_tensor(p, err);
    }
    if (st)
        return st;
    if (p->b->lenient)
        return fmp_json_expect(&p->j, FMP_JSON_END, "the end of the header", err);
    return check_padding(p, err);
}

/* The length of the header, once it is known to lie in the file. */
static fmp_status read_prefix(const parser *p, uint64_t *ret_len, fmp_error *err)
{
    uint8_t head[PREFIX + 1] = {0};
    const uint64_t size = p->in->size;
    uint64_t len = 0;
    fmp_status st;

    if (size < PREFIX)
        return fmp_fail(err, FMP_ECORRUPT, 0,
                        "%s: expected a safetensors header of at least 8 bytes, found a file of "
                        "%llu",
                        p->in->path, (unsigned long long)size);
    st = fmp_file_read(p->in, 0, head, size > PREFIX ? sizeof head : PREFIX, err);
    if (st)
        return st;
    if (!memcmp(head, "version ", PREFIX))
        return fmp_fail(err, FMP_ECORRUPT, 0,
                        "%s: expected safetensors, found what looks like a Git LFS pointer (fetch "
                        "the file itself)",
                        p->in->path);
    for (unsigned i = 0; i < PREFIX; i++)
        len |= (uint64_t)head[i] << (8 * i);
    if (len > size - PREFIX)
        return fmp_fail(err, FMP_ECORRUPT, 0,
                        "%s: expected a header length of at most %llu, found %llu", p->in->path,
                        (unsigned long long)(size - PREFIX), (unsigned long long)len);
    if (len > p->b->limits.max_header)
        return fmp_fail(err, FMP_ELIMIT, 0, "%s: header of %llu bytes, the limit is %llu",
                        p->in->path, (unsigned long long)len,
                        (unsigned long long)p->b->limits.max_header);
    if (!len || (!p->b->lenient && head[PREFIX] != '{'))
        return fmp_fail(
            err, FMP_ECORRUPT, PREFIX,
            "%s: header: expected it to begin with '{', found byte 0x%02x in %llu bytes",
            p->in->path, head[PREFIX], (unsigned long long)len);
    *ret_len = len;
    return FMP_OK;
}

/* ---- where the data lies ---- */

/* By offset; an empty tensor before the one that begins where it lies; then as in the header. */
static bool lies_before(const fmp_store_entry *a, const fmp_store_entry *b)
{
    if (a->off != b->off)
        return a->off < b->off;
    if (!a->n_bytes != !b->n_bytes)
        return !a->n_bytes;
    return a->name_at < b->name_at;
}

static void sift(fmp_store_entry *t, size_t root, size_t n)
{
    const fmp_store_entry moved = t[root];

    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && lies_before(&t[child], &t[child + 1]))
            child++;
        if (!lies_before(&moved, &t[child]))
            break;
        t[root] = t[child];
    }
    t[root] = moved;
}

/* A heap sort, for headers that list tensors out of order: needs no memory, never quadratic. */
static void sort_by_offset(fmp_store_entry *t, size_t n)
{
    size_t sorted = 1;

    while (sorted < n && lies_before(&t[sorted - 1], &t[sorted]))
        sorted++;
    if (sorted >= n)
        return;
    for (size_t i = n / 2; i-- > 0;)
        sift(t, i, n);
    for (size_t last = n - 1; last > 0; last--) {
        const fmp_store_entry top = t[0];

        t[0] = t[last];
        t[last] = top;
        sift(t, 0, last);
    }
}

static bool same_name(const char *names, const fmp_store_entry *a, const fmp_store_entry *b)
{
    return a->name_len == b->name_len &&
           !memcmp(names + a->name_at, names + b->name_at, a->name_len);
}

/* The tensors tile the data: no hole, no overlap, nothing after the last. */
static fmp_status check_tiling(const parser *p, uint64_t header_len, fmp_error *err)
{
    const struct fmp_store *s = &p->b->store;
    const fmp_store_file *f = &s->files[s->n_files - 1];
    fmp_store_entry *t = f->n_tensors ? s->tensors + f->first_tensor : NULL;
    uint64_t at = header_len;

    sort_by_offset(t, f->n_tensors);
    for (uint32_t i = 0; i < f->n_tensors; at = t[i].off + t[i].n_bytes, i++) {
        if (i && same_name(s->names, &t[i - 1], &t[i]))
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: tensor \"%.200s\": expected once, found twice", p->in->path,
                            s->names + t[i].name_at);
        if (t[i].off != at)
            return fmp_fail(err, FMP_ECORRUPT, t[i].off,
                            "%s: tensor \"%.100s\": expected its data to begin at %llu, where "
                            "%s%.100s%s, found %llu (%s)",
                            p->in->path, s->names + t[i].name_at,
                            (unsigned long long)(at - header_len), i ? "tensor \"" : "the data",
                            i ? s->names + t[i - 1].name_at : " begins", i ? "\" ends" : "",
                            (unsigned long long)(t[i].off - header_len),
                            t[i].off < at ? "an overlap" : "a hole");
    }
    if (at != f->size)
        return fmp_fail(err, FMP_ECORRUPT, at,
                        "%s: expected the file to end at %llu, where its last tensor ends, found "
                        "%llu bytes",
                        p->in->path, (unsigned long long)at, (unsigned long long)f->size);
    return FMP_OK;
}

static fmp_status parse(parser *p, fmp_store_file *file, fmp_error *err)
{
    uint64_t len = 0;
    fmp_status st = read_prefix(p, &len, err);

    if (st)
        return st;
    p->data_len = file->size - PREFIX - len;
    file->header_len = PREFIX + len;
    st = fmp_json_init(&p->j, fmp_json_read_file, &p->source, len, p->in->path, PREFIX, MAX_DEPTH,
                       err);
    if (!st)
        st = read_header(p, err);
    if (!st)
        st = check_tiling(p, PREFIX + len, err);
    return st;
}

static fmp_status safetensors_open(struct fmp_store *store, const char *dir, const char *name,
                                   const fmp_store_options *options, fmp_error *err)
{
    parser p = {.b = (fmp_builder *)store};
    fmp_store_file *file;
    fmp_status st = fmp_builder_add_file(p.b, dir, name, false, &file, err);

    (void)options; /* the builder has them */
    if (st)
        return st;
    p.in = &file->in;
    p.source = (fmp_json_file){.in = p.in, .off = PREFIX};
    st = parse(&p, file, err);
    fmp_json_release(&p.j);
    fmp_buf_release(&p.name);
    if (!st)
        fmp_builder_park_file(p.b);
    return st;
}

static bool safetensors_probe(const uint8_t *head, size_t len, uint64_t file_size, const char *name)
{
    uint64_t n = 0;

    if (fmp_has_suffix(name, ".safetensors"))
        return true;
    if (len <= PREFIX || head[PREFIX] != '{')
        return false;
    for (unsigned i = 0; i < PREFIX; i++)
        n |= (uint64_t)head[i] << (8 * i);
    return n >= 2 && n <= file_size - PREFIX && n <= 100000000;
}

const fmp_store_driver fmp_safetensors_driver = {.name = "safetensors",
                                                 .open = safetensors_open,
                                                 .probe = safetensors_probe,
                                                 .header_hint = fmp_safetensors_hint,
                                                 .header_write = fmp_safetensors_write};
