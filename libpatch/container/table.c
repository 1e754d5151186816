/*
 * The tensor table as bytes and back.  See table.h; FORMAT.md, "Tensor table".
 */
#include "container/table.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cursor.h"
#include "base/file.h"
#include "base/status.h"
#include "container/runs.h"

enum { IN_BASE = 8, IN_TARGET = 16, RESHAPED = 32, MAPPED = 64, OWN_DIGEST = 128 };

#define MAX_NAME 1024u
#define MAX_RANK 32u
#define MAX_DIM  (1ull << 48)

void fmp_table_release(fmp_table *t)
{
    fmp_free(t->rows);
    fmp_free(t->names);
    fmp_free(t->schemas);
    fmp_free(t->dims);
    fmp_free(t->maps);
    fmp_free(t->digests);
    *t = (fmp_table){0};
}

bool fmp_table_add_map(fmp_table *t, uint32_t row, fmp_map map)
{
    if ((t->n_maps & (t->n_maps + 1)) == 0) { /* room doubles at 0, 1, 3, 7, ... */
        fmp_map *maps = fmp_realloc(t->maps, 2 * (size_t)t->n_maps + 1, sizeof *maps);

        if (!maps)
            return false;
        t->maps = maps;
    }
    t->maps[t->n_maps] = map;
    t->rows[row].map = t->n_maps++;
    return true;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static unsigned row_flags(const fmp_row *r)
{
    unsigned flags = r->state;

    flags |= r->base_schema != FMP_NONE ? IN_BASE : 0;
    flags |= r->target_schema != FMP_NONE ? IN_TARGET : 0;
    flags |= r->base_schema != FMP_NONE && r->target_schema != FMP_NONE &&
                     r->base_schema != r->target_schema
                 ? RESHAPED
                 : 0;
    flags |= r->map != FMP_NONE ? MAPPED : 0;
    flags |= r->target_schema != FMP_NONE && r->state != FMP_UNCHANGED && r->state != FMP_ALIAS
                 ? OWN_DIGEST
                 : 0;
    return flags;
}

static void write_schemas(const fmp_table *t, fmp_buf *out)
{
    fmp_buf_put_varint(out, t->n_schemas);
    for (uint32_t i = 0; i < t->n_schemas; i++) {
        const fmp_schema *s = &t->schemas[i];
        const size_t len = strlen(s->dtype);

        fmp_buf_put_varint(out, len);
        fmp_buf_put(out, s->dtype, len);
        fmp_buf_put_varint(out, s->element_bits);
        fmp_buf_put_varint(out, s->rank);
        for (uint32_t d = 0; d < s->rank; d++)
            fmp_buf_put_varint(out, t->dims[s->dims_at + d]);
    }
}

/* How much of `name` begins and ends as `before` does: the rest is its middle. */
static void common_ends(const char *before, size_t before_len, const char *name, size_t len,
                        size_t *ret_head, size_t *ret_tail)
{
    size_t head = 0;
    size_t tail = 0;

    while (head < len && head < before_len && name[head] == before[head])
        head++;
    while (tail < len - head && tail < before_len - head &&
           name[len - 1 - tail] == before[before_len - 1 - tail])
        tail++;
    *ret_head = head;
    *ret_tail = tail;
}

enum { NAME_HEADS, NAME_TAILS, NAME_MIDDLES, NAME_BYTES, NAME_STREAMS };

static void write_names(const fmp_table *t, fmp_buf *out)
{
    fmp_buf stream[NAME_STREAMS] = {{0}};
    const char *before = "";
    size_t before_len = 0;

    for (uint32_t i = 0; i < t->n_rows; i++) {
        const char *name = t->names + t->rows[i].name_at;
        const size_t len = t->rows[i].name_len;
        size_t head, tail;

        common_ends(before, before_len, name, len, &head, &tail);
        fmp_buf_put_varint(&stream[NAME_HEADS], head);
        fmp_buf_put_varint(&stream[NAME_TAILS], tail);
        fmp_buf_put_varint(&stream[NAME_MIDDLES], len - head - tail);
        fmp_buf_put(&stream[NAME_BYTES], name + head, len - head - tail);
        before = name;
        before_len = len;
    }
    for (unsigned s = 0; s < NAME_STREAMS; s++) {
        fmp_buf_put_varint(out, stream[s].len);
        fmp_buf_put(out, stream[s].data, stream[s].len);
        out->bad |= stream[s].bad;
        fmp_buf_release(&stream[s]);
    }
}

void fmp_table_write(const fmp_table *t, fmp_buf *out)
{
    fmp_run_writer flags, base, target;

    fmp_buf_put_varint(out, t->n_rows);
    write_schemas(t, out);
    write_names(t, out);
    flags = fmp_run_writer_init(out);
    for (uint32_t i = 0; i < t->n_rows; i++)
        fmp_run_put(&flags, row_flags(&t->rows[i]));
    fmp_run_flush(&flags);
    base = fmp_run_writer_init(out);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i].base_schema != FMP_NONE)
            fmp_run_put(&base, t->rows[i].base_schema);
    }
    fmp_run_flush(&base);
    target = fmp_run_writer_init(out);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        const fmp_row *r = &t->rows[i];

        if (r->target_schema != FMP_NONE && r->target_schema != r->base_schema)
            fmp_run_put(&target, r->target_schema);
    }
    fmp_run_flush(&target);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i].map == FMP_NONE)
            continue;
        fmp_buf_put_varint(out, t->maps[t->rows[i].map].source);
        fmp_buf_put_varint(out, t->maps[t->rows[i].map].base_off);
        fmp_buf_put_varint(out, t->maps[t->rows[i].map].n_bytes);
        fmp_buf_put_varint(out, 0); /* transform: identity */
    }
}

/* ---- reading ----------------------------------------------------------------------------------
 */

typedef struct parser {
    fmp_cursor c;
    const char *path;
    fmp_table *t;
    fmp_error *err;
} parser;

static fmp_status bad(parser *p, const char *what)
{
    return fmp_fail(p->err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: tensor table: %s", p->path, what);
}

static fmp_status no_memory(parser *p)
{
    return fmp_fail(p->err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: tensor table: out of memory", p->path);
}

static bool schema_sizes(fmp_schema *s, const uint64_t *dims)
{
    uint64_t n = 1;

    for (uint32_t d = 0; d < s->rank; d++) {
        if (dims[d] > MAX_DIM)
            return false;
    }
    for (uint32_t d = 0; d < s->rank; d++) {
        if (dims[d] && n > (1ull << 56) / dims[d])
            return false;
        n *= dims[d] ? dims[d] : 1;
    }
    for (uint32_t d = 0; d < s->rank; d++)
        n = dims[d] ? n : 0;
    if ((n * s->element_bits) % 8)
        return false;
    s->n_elements = n;
    s->n_bytes = n * s->element_bits / 8;
    return true;
}

static fmp_status parse_schema(parser *p, fmp_schema *s, uint32_t *cap_dims)
{
    fmp_table *t = p->t;
    const uint64_t dtype_len = fmp_cur_varint(&p->c);
    const uint8_t *dtype =
        dtype_len && dtype_len <= 16 ? fmp_cur_take(&p->c, (size_t)dtype_len) : NULL;
    const uint64_t bits = fmp_cur_varint(&p->c);
    const uint64_t rank = fmp_cur_varint(&p->c);

    if (!dtype || p->c.bad || bits == 0 || bits > 128 || rank > MAX_RANK)
        return bad(p, "a dtype or rank is not valid");
    for (size_t i = 0; i < dtype_len; i++) {
        if (dtype[i] <= ' ' || dtype[i] >= 0x7f)
            return bad(p, "a dtype is not printable");
    }
    memcpy(s->dtype, dtype, (size_t)dtype_len);
    s->element_bits = (uint32_t)bits;
    s->rank = (uint32_t)rank;
    s->dims_at = t->n_dims;
    if (t->n_dims + rank > *cap_dims) {
        uint64_t *dims;

        *cap_dims = (*cap_dims + MAX_RANK) * 2;
        dims = fmp_realloc(t->dims, *cap_dims, sizeof *dims);
        if (!dims)
            return no_memory(p);
        t->dims = dims;
    }
    for (uint32_t d = 0; d < rank; d++)
        t->dims[t->n_dims++] = fmp_cur_varint(&p->c);
    if (p->c.bad || !schema_sizes(s, rank ? t->dims + s->dims_at : NULL))
        return bad(p, "a shape is not valid");
    return FMP_OK;
}

static fmp_status parse_schemas(parser *p)
{
    const uint64_t n = fmp_cur_varint(&p->c);
    uint32_t cap_dims = 0;

    if (!fmp_cur_fits(&p->c, n, 4) || n > FMP_NONE - 1)
        return bad(p, "more shapes than bytes");
    p->t->schemas = fmp_calloc((size_t)n, sizeof *p->t->schemas);
    if (!p->t->schemas)
        return no_memory(p);
    for (uint32_t i = 0; i < n; i++) {
        const fmp_status st = parse_schema(p, &p->t->schemas[i], &cap_dims);

        if (st)
            return st;
    }
    p->t->n_schemas = (uint32_t)n;
    return FMP_OK;
}

static bool name_is_clean(const char *name, size_t len)
{
    if (len == 0 || len > MAX_NAME)
        return false;
    return fmp_text_is_clean(name, len);
}

/* Builds the next name from the one before it; false when the lengths or the order are wrong. */
static fmp_status parse_name(parser *p, fmp_cursor stream[NAME_STREAMS], fmp_buf *arena,
                             const fmp_row *before, fmp_row *row)
{
    const uint64_t head = fmp_cur_varint(&stream[NAME_HEADS]);
    const uint64_t tail = fmp_cur_varint(&stream[NAME_TAILS]);
    const uint64_t middle = fmp_cur_varint(&stream[NAME_MIDDLES]);
    const size_t before_len = before ? before->name_len : 0;
    const uint8_t *bytes;
    char *at;
    size_t len;

    if (head > before_len || tail > before_len - head || middle > MAX_NAME ||
        head + middle + tail > MAX_NAME)
        return bad(p, "a name's length is not valid");
    bytes = fmp_cur_take(&stream[NAME_BYTES], (size_t)middle);
    if (!bytes || stream[NAME_HEADS].bad || stream[NAME_TAILS].bad || stream[NAME_MIDDLES].bad)
        return bad(p, "names are cut short");
    len = (size_t)(head + middle + tail);
    if (arena->len > UINT32_MAX - len - 1)
        return bad(p, "names exceed 4 GiB");
    at = (char *)fmp_buf_reserve(arena, len + 1);
    if (!at)
        return no_memory(p);
    row->name_at = (uint32_t)arena->len;
    row->name_len = (uint16_t)len;
    if (before) {
        const char *old = (const char *)arena->data + before->name_at;

        memcpy(at, old, (size_t)head);
        memcpy(at + head + middle, old + before_len - tail, (size_t)tail);
    }
    memcpy(at + head, bytes, (size_t)middle);
    at[len] = '\0';
    arena->len += len + 1;
    if (!name_is_clean(at, len))
        return bad(p, "a name is empty, too long or has control characters");
    if (before) {
        const char *old = (const char *)arena->data + before->name_at;
        const int order = memcmp(old, at, before_len < len ? before_len : len);

        if (order > 0 || (order == 0 && before_len >= len))
            return bad(p, "names are not in order, or one stands twice");
    }
    return FMP_OK;
}

static fmp_status parse_names(parser *p)
{
    fmp_cursor stream[NAME_STREAMS];
    fmp_buf arena = {0};
    fmp_status st = FMP_OK;

    for (unsigned s = 0; s < NAME_STREAMS; s++) {
        const uint64_t len = fmp_cur_varint(&p->c);
        const uint8_t *data = fmp_cur_fits(&p->c, len, 1) ? fmp_cur_take(&p->c, (size_t)len) : NULL;

        if (!data)
            return bad(p, "names are cut short");
        stream[s] = fmp_cur(data, (size_t)len);
    }
    for (uint32_t i = 0; i < p->t->n_rows && !st; i++)
        st = parse_name(p, stream, &arena, i ? &p->t->rows[i - 1] : NULL, &p->t->rows[i]);
    for (unsigned s = 0; s < NAME_STREAMS && !st; s++)
        st = fmp_cur_left(&stream[s]) ? bad(p, "bytes after the last name") : FMP_OK;
    p->t->names = (char *)arena.data; /* owned by the table, whatever happened */
    p->t->names_len = arena.len;
    return st;
}

static bool flags_make_sense(unsigned flags)
{
    const bool base = flags & IN_BASE, target = flags & IN_TARGET, mapped = flags & MAPPED;
    const unsigned state = flags & 7;
    const bool own = target && state != FMP_UNCHANGED && state != FMP_ALIAS;

    if ((!base && !target) || (flags & RESHAPED && !(base && target)) ||
        own != ((flags & OWN_DIGEST) != 0))
        return false;
    switch (state) {
    case FMP_UNCHANGED:
        return target && (mapped || (base && !(flags & RESHAPED)));
    case FMP_RESIDUAL:
    case FMP_SET:
        return target && (mapped || (base && !(flags & RESHAPED)));
    case FMP_WHOLE:
        return base && target && !mapped;
    case FMP_ADDED:
        return !base && target && !mapped;
    case FMP_REMOVED:
        return base && !target && !mapped;
    case FMP_ALIAS:
        return target && mapped;
    default:
        return false;
    }
}

static fmp_status parse_columns(parser *p)
{
    fmp_table *t = p->t;
    fmp_run_reader runs = fmp_run_reader_init(&p->c);

    for (uint32_t i = 0; i < t->n_rows; i++) {
        const uint64_t flags = fmp_run_take(&runs);

        if (runs.bad || flags > 255 || !flags_make_sense((unsigned)flags))
            return bad(p, "a row's state is not valid");
        t->rows[i].state = flags & 7;
        t->rows[i].reserved = (uint8_t)flags;
    }
    if (!fmp_run_at_end(&runs))
        return bad(p, "a column is too long");
    runs = fmp_run_reader_init(&p->c);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        const uint64_t id = t->rows[i].reserved & IN_BASE ? fmp_run_take(&runs) : FMP_NONE;

        if (runs.bad || (t->rows[i].reserved & IN_BASE && id >= t->n_schemas))
            return bad(p, "a row names a shape that is not there");
        t->rows[i].base_schema = (uint32_t)id;
    }
    if (!fmp_run_at_end(&runs))
        return bad(p, "a column is too long");
    runs = fmp_run_reader_init(&p->c);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        fmp_row *r = &t->rows[i];
        const bool own =
            r->reserved & IN_TARGET && (!(r->reserved & IN_BASE) || r->reserved & RESHAPED);
        const uint64_t id = own                       ? fmp_run_take(&runs)
                            : r->reserved & IN_TARGET ? r->base_schema
                                                      : FMP_NONE;

        if (runs.bad || (own && (id >= t->n_schemas || id == r->base_schema)))
            return bad(p, "a row names a shape that is not there");
        r->target_schema = (uint32_t)id;
    }
    return fmp_run_at_end(&runs) ? FMP_OK : bad(p, "a column is too long");
}

static bool map_makes_sense(const fmp_table *t, const fmp_row *r, const fmp_map *m)
{
    const uint64_t n_target = t->schemas[r->target_schema].n_bytes;
    const fmp_row *source;
    uint64_t n_source;

    if (m->source >= t->n_rows)
        return false;
    source = &t->rows[m->source];
    if (r->state == FMP_ALIAS)
        return source->target_schema != FMP_NONE && source->state != FMP_ALIAS && source != r &&
               m->base_off == 0 && m->n_bytes == n_target &&
               t->schemas[source->target_schema].n_bytes == n_target;
    if (source->base_schema == FMP_NONE)
        return false;
    n_source = t->schemas[source->base_schema].n_bytes;
    if (m->n_bytes > n_target || m->base_off > n_source || m->n_bytes > n_source - m->base_off)
        return false;
    return r->state != FMP_UNCHANGED || (m->n_bytes == n_target && m->n_bytes == n_source);
}

static fmp_status parse_maps(parser *p)
{
    fmp_table *t = p->t;
    uint32_t n = 0;

    for (uint32_t i = 0; i < t->n_rows; i++)
        n += (t->rows[i].reserved & MAPPED) != 0;
    if (!fmp_cur_fits(&p->c, n, 4))
        return bad(p, "maps are cut short");
    t->maps = fmp_calloc(n, sizeof *t->maps);
    if (!t->maps)
        return no_memory(p);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        fmp_row *r = &t->rows[i];
        fmp_map *m = &t->maps[t->n_maps];
        uint64_t source;

        r->map = FMP_NONE;
        if (!(r->reserved & MAPPED))
            continue;
        source = fmp_cur_varint(&p->c);
        m->source = source < FMP_NONE ? (uint32_t)source : FMP_NONE;
        m->base_off = fmp_cur_varint(&p->c);
        m->n_bytes = fmp_cur_varint(&p->c);
        if (fmp_cur_varint(&p->c) != 0)
            return fmp_fail(p->err, FMP_ENOTSUP, FMP_NO_OFFSET,
                            "%s: tensor \"%s\" needs a transform that this version does not know",
                            p->path, t->names + r->name_at);
        if (p->c.bad || !map_makes_sense(t, r, m))
            return fmp_fail(p->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: tensor \"%s\": its map does not fit", p->path,
                            t->names + r->name_at);
        r->map = t->n_maps++;
    }
    return fmp_cur_left(&p->c) ? bad(p, "bytes after the last map") : FMP_OK;
}

/* Base digests of all rows first, then the target digests that rows have of their own. */
static fmp_status assign_digests(parser *p)
{
    fmp_table *t = p->t;
    uint32_t n = 0;

    for (uint32_t i = 0; i < t->n_rows; i++)
        t->rows[i].base_digest = t->rows[i].reserved & IN_BASE ? n++ : FMP_NONE;
    for (uint32_t i = 0; i < t->n_rows; i++)
        t->rows[i].target_digest = t->rows[i].reserved & OWN_DIGEST ? n++ : FMP_NONE;
    if (n != t->n_digests)
        return fmp_fail(p->err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: %u digests, %u expected", p->path,
                        t->n_digests, n);
    for (unsigned pass = 0; pass < 2; pass++) { /* aliases need their source's first */
        for (uint32_t i = 0; i < t->n_rows; i++) {
            fmp_row *r = &t->rows[i];

            if (r->state == FMP_UNCHANGED && pass == 0)
                r->target_digest = t->rows[fmp_table_map(t, i).source].base_digest;
            if (r->state == FMP_ALIAS && pass == 1)
                r->target_digest = t->rows[t->maps[r->map].source].target_digest;
        }
    }
    for (uint32_t i = 0; i < t->n_rows; i++)
        t->rows[i].reserved = 0;
    return FMP_OK;
}

fmp_status fmp_table_parse(const fmp_buf *bytes, const fmp_buf *digests, uint32_t max_tensors,
                           const char *path, fmp_table *ret, fmp_error *err)
{
    fmp_table t = {0};
    parser p = {.c = fmp_cur(bytes->data, bytes->len), .path = path, .t = &t, .err = err};
    const uint64_t n_rows = fmp_cur_varint(&p.c);
    fmp_status st;

    if (n_rows > max_tensors)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "%s: %llu tensors, the limit is %u", path,
                        (unsigned long long)n_rows, max_tensors);
    /* A row has a digest of its own, unless it is in the target only and shares one. */
    if (digests->len % FMP_DIGEST_LEN || digests->len / FMP_DIGEST_LEN > UINT32_MAX ||
        !fmp_cur_fits(&p.c, n_rows, 3))
        return bad(&p, "its counts do not fit its length");
    t.rows = fmp_calloc((size_t)n_rows, sizeof *t.rows);
    t.digests = fmp_malloc(digests->len);
    if (!t.rows || !t.digests) {
        st = no_memory(&p);
        goto fail;
    }
    t.n_rows = (uint32_t)n_rows;
    t.n_digests = (uint32_t)(digests->len / FMP_DIGEST_LEN);
    if (digests->len)
        memcpy(t.digests, digests->data, digests->len);
    st = parse_schemas(&p);
    if (!st)
        st = parse_names(&p);
    if (!st)
        st = parse_columns(&p);
    if (!st)
        st = parse_maps(&p);
    if (!st)
        st = assign_digests(&p);
    if (st)
        goto fail;
    *ret = t;
    return FMP_OK;
fail:
    fmp_table_release(&t);
    return st;
}

/* ---- looking up -------------------------------------------------------------------------------
 */

uint32_t fmp_table_find(const fmp_table *t, const char *name, size_t name_len)
{
    uint32_t low = 0;
    uint32_t high = t->n_rows;

    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        const fmp_row *r = &t->rows[mid];
        const size_t common = r->name_len < name_len ? r->name_len : name_len;
        const int order = memcmp(t->names + r->name_at, name, common);

        if (order == 0 && r->name_len == name_len)
            return mid;
        if (order < 0 || (order == 0 && r->name_len < name_len))
            low = mid + 1;
        else
            high = mid;
    }
    return FMP_NONE;
}

fmp_map fmp_table_map(const fmp_table *t, uint32_t row)
{
    const fmp_row *r = &t->rows[row];

    if (r->map != FMP_NONE)
        return t->maps[r->map];
    return (fmp_map){.source = row,
                     .n_bytes = r->state == FMP_UNCHANGED || r->state == FMP_RESIDUAL ||
                                        r->state == FMP_SET
                                    ? t->schemas[r->target_schema].n_bytes
                                    : 0};
}

fmp_tensor_info fmp_table_info(const fmp_table *t, uint32_t row, bool target)
{
    const fmp_row *r = &t->rows[row];
    const uint32_t id = target ? r->target_schema : r->base_schema;
    const fmp_schema *s;

    if (id == FMP_NONE)
        return (fmp_tensor_info){0};
    s = &t->schemas[id];
    return (fmp_tensor_info){.name = t->names + r->name_at,
                             .name_len = r->name_len,
                             .dtype = s->dtype,
                             .rank = s->rank,
                             .shape = s->rank ? t->dims + s->dims_at : NULL,
                             .n_elements = s->n_elements,
                             .n_bytes = s->n_bytes};
}
