/*
 * The files of base and target as bytes and back.  See table.h; FORMAT.md, "Layout".
 */
#include <string.h>

#include "base/alloc.h"
#include "base/cursor.h"
#include "base/file.h"
#include "base/status.h"
#include "container/runs.h"
#include "container/table.h"

enum { SIDE_IN_BASE = 1, SIDE_IN_TARGET = 2, SIDE_CHANGED = 4 };
enum { HEADER_DERIVED = 0, HEADER_STORED = 1 };

#define MAX_HINT (1u << 24)

static void side_release(fmp_layout_side *s)
{
    for (uint32_t i = 0; i < s->n_files; i++) {
        fmp_free(s->files[i].name);
        fmp_free(s->files[i].driver);
        fmp_buf_release(&s->files[i].hint);
    }
    fmp_free(s->files);
    fmp_free(s->order);
}

void fmp_layout_release(fmp_layout *l)
{
    side_release(&l->target);
    side_release(&l->base);
    for (uint32_t i = 0; i < l->n_side; i++)
        fmp_free(l->side[i].name);
    fmp_free(l->side);
    *l = (fmp_layout){0};
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static void put_text(fmp_buf *out, const char *s)
{
    fmp_buf_put_varint(out, strlen(s));
    fmp_buf_put_str(out, s);
}

static void write_files(const fmp_layout_side *s, fmp_buf *out)
{
    fmp_buf_put_le(out, s->is_dir, 1);
    fmp_buf_put_varint(out, s->n_files);
    for (uint32_t i = 0; i < s->n_files; i++) {
        const fmp_layout_file *f = &s->files[i];

        put_text(out, f->name);
        put_text(out, f->driver);
        fmp_buf_put_varint(out, f->size);
        fmp_buf_put_varint(out, f->header_len);
        fmp_buf_put_varint(out, f->n_tensors);
        fmp_buf_put_le(out, f->header_stored ? HEADER_STORED : HEADER_DERIVED, 1);
        if (!f->header_stored) {
            fmp_buf_put_varint(out, f->hint.len);
            fmp_buf_put(out, f->hint.data, f->hint.len);
        }
    }
}

static void write_order(const fmp_layout_side *s, fmp_buf *out)
{
    fmp_run_writer w = fmp_run_writer_init(out);

    for (uint32_t i = 0; i < s->n_order; i++)
        fmp_run_put(&w, s->order[i]);
    fmp_run_flush(&w);
}

void fmp_layout_write(const fmp_layout *l, fmp_buf *out)
{
    const bool same =
        l->base.n_order == l->target.n_order &&
        (l->base.n_order == 0 ||
         memcmp(l->base.order, l->target.order, l->base.n_order * sizeof *l->base.order) == 0);

    write_files(&l->target, out);
    write_order(&l->target, out);
    write_files(&l->base, out);
    fmp_buf_put_le(out, same, 1);
    if (!same)
        write_order(&l->base, out);
    fmp_buf_put_varint(out, l->n_side);
    for (uint32_t i = 0; i < l->n_side; i++) {
        const fmp_side_file *f = &l->side[i];

        put_text(out, f->name);
        fmp_buf_put_le(out,
                       (f->in_base ? SIDE_IN_BASE : 0u) | (f->in_target ? SIDE_IN_TARGET : 0u) |
                           (f->changed ? SIDE_CHANGED : 0u),
                       1);
        if (f->in_base) {
            fmp_buf_put_varint(out, f->base_size);
            fmp_buf_put(out, f->base_digest.b, FMP_DIGEST_LEN);
        }
        if (f->in_target && (f->changed || !f->in_base)) {
            fmp_buf_put_varint(out, f->target_size);
            fmp_buf_put(out, f->target_digest.b, FMP_DIGEST_LEN);
        }
    }
}

/* ---- reading ----------------------------------------------------------------------------------
 */

typedef struct parser {
    fmp_cursor c;
    const char *path;
    const fmp_table *t;
    uint32_t max_files;
    fmp_error *err;
} parser;

static fmp_status bad(parser *p, const char *what)
{
    return fmp_fail(p->err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: layout: %s", p->path, what);
}

static fmp_status no_memory(parser *p)
{
    return fmp_fail(p->err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: layout: out of memory", p->path);
}

/* A text of at most `max` bytes without NUL; freed by the caller. */
static fmp_status take_text(parser *p, size_t max, char **ret)
{
    const uint64_t len = fmp_cur_varint(&p->c);
    const uint8_t *text = len && len <= max ? fmp_cur_take(&p->c, (size_t)len) : NULL;

    if (!text || memchr(text, 0, (size_t)len))
        return bad(p, "a text is not valid");
    *ret = fmp_strndup((const char *)text, (size_t)len);
    return *ret ? FMP_OK : no_memory(p);
}

static fmp_status parse_name(parser *p, char **ret)
{
    fmp_status st = take_text(p, 1024, ret);

    if (!st && !fmp_path_is_safe(*ret))
        st = fmp_fail(p->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                      "%s: layout: file name \"%s\" could leave the directory", p->path, *ret);
    return st;
}

static fmp_status parse_file(parser *p, fmp_layout_file *f)
{
    uint64_t n_tensors, header;
    fmp_status st = parse_name(p, &f->name);

    if (!st)
        st = take_text(p, 32, &f->driver);
    if (st)
        return st;
    f->size = fmp_cur_varint(&p->c);
    f->header_len = fmp_cur_varint(&p->c);
    n_tensors = fmp_cur_varint(&p->c);
    header = fmp_cur_le(&p->c, 1);
    if (p->c.bad || header > HEADER_STORED || n_tensors > p->t->n_rows || f->header_len > f->size ||
        f->size >> 56)
        return bad(p, "a file's entry is not valid");
    f->n_tensors = (uint32_t)n_tensors;
    f->header_stored = header == HEADER_STORED;
    if (!f->header_stored) {
        const uint64_t len = fmp_cur_varint(&p->c);
        const uint8_t *hint = len <= MAX_HINT ? fmp_cur_take(&p->c, (size_t)len) : NULL;

        if (!hint)
            return bad(p, "a header hint is cut short");
        fmp_buf_put(&f->hint, hint, (size_t)len);
        if (f->hint.bad)
            return no_memory(p);
    }
    return FMP_OK;
}

static fmp_status parse_files(parser *p, fmp_layout_side *s)
{
    const uint64_t is_dir = fmp_cur_le(&p->c, 1);
    const uint64_t n = fmp_cur_varint(&p->c);

    if (is_dir > 1 || !fmp_cur_fits(&p->c, n, 8) || n > p->max_files || n == 0)
        return bad(p, "its file count is not valid");
    s->is_dir = is_dir;
    if (!s->is_dir && n != 1)
        return bad(p, "several files, but no directory");
    s->files = fmp_calloc((size_t)n, sizeof *s->files);
    if (!s->files)
        return no_memory(p);
    s->n_files = (uint32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        const fmp_status st = parse_file(p, &s->files[i]);

        if (st)
            return st;
        if (i && strcmp(s->files[i - 1].name, s->files[i].name) >= 0)
            return bad(p, "files are not in order of names, or one stands twice");
    }
    return FMP_OK;
}

static uint32_t schema_of(const fmp_table *t, uint32_t row, bool target)
{
    return target ? t->rows[row].target_schema : t->rows[row].base_schema;
}

/* Each tensor of the side once, and every file's bytes add up. */
static fmp_status check_order(parser *p, const fmp_layout_side *s, bool target)
{
    const fmp_table *t = p->t;
    uint8_t *seen = fmp_calloc((size_t)t->n_rows / 8 + 1, 1);
    uint32_t n = 0;
    uint32_t at = 0;
    fmp_status st = FMP_OK;

    if (!seen)
        return no_memory(p);
    for (uint32_t i = 0; i < t->n_rows; i++)
        n += schema_of(t, i, target) != FMP_NONE;
    if (n != s->n_order)
        st = bad(p, "not every tensor has a place in a file");
    for (uint32_t i = 0; i < s->n_order && !st; i++) {
        const uint32_t row = s->order[i];

        if (row >= t->n_rows || schema_of(t, row, target) == FMP_NONE ||
            seen[row / 8] >> (row % 8) & 1)
            st = bad(p, "a tensor stands in two places, or in none");
        else
            seen[row / 8] |= (uint8_t)(1u << (row % 8));
    }
    for (uint32_t f = 0; f < s->n_files && !st; f++) {
        uint64_t size = s->files[f].header_len;

        for (uint32_t k = 0; k < s->files[f].n_tensors; k++) {
            const uint64_t len = t->schemas[schema_of(t, s->order[at++], target)].n_bytes;

            size = len > UINT64_MAX - size ? UINT64_MAX : size + len; /* files are below 2^56 */
        }
        if (size != s->files[f].size)
            st = fmp_fail(p->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                          "%s: layout: file \"%s\" has %llu bytes, its tensors need %llu", p->path,
                          s->files[f].name, (unsigned long long)s->files[f].size,
                          (unsigned long long)size);
    }
    fmp_free(seen);
    return st;
}

static fmp_status parse_order(parser *p, fmp_layout_side *s, bool target,
                              const fmp_layout_side *same)
{
    fmp_run_reader runs = fmp_run_reader_init(&p->c);
    uint64_t n = 0;

    for (uint32_t i = 0; i < s->n_files; i++)
        n += s->files[i].n_tensors;
    if (n > p->t->n_rows || (same && n != same->n_order))
        return bad(p, "its files have more tensors than there are");
    s->order = fmp_calloc((size_t)n, sizeof *s->order);
    if (!s->order)
        return no_memory(p);
    s->n_order = (uint32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t row = same ? same->order[i] : fmp_run_take(&runs);

        s->order[i] = row < FMP_NONE ? (uint32_t)row : FMP_NONE;
    }
    if (!same && !fmp_run_at_end(&runs))
        return bad(p, "its order of tensors is not valid");
    return check_order(p, s, target);
}

static bool take_digest(fmp_cursor *c, fmp_digest *d)
{
    const uint8_t *b = fmp_cur_take(c, FMP_DIGEST_LEN);

    if (b)
        memcpy(d->b, b, FMP_DIGEST_LEN);
    return b;
}

static fmp_status parse_side_file(parser *p, fmp_side_file *f)
{
    uint64_t flags;
    fmp_status st = parse_name(p, &f->name);

    if (st)
        return st;
    flags = fmp_cur_le(&p->c, 1);
    f->in_base = flags & SIDE_IN_BASE;
    f->in_target = flags & SIDE_IN_TARGET;
    f->changed = flags & SIDE_CHANGED;
    if (flags > 7 || !(flags & 3) || (f->changed && (flags & 3) != 3))
        return bad(p, "a side file's flags are not valid");
    if (f->in_base) {
        f->base_size = fmp_cur_varint(&p->c);
        take_digest(&p->c, &f->base_digest);
    }
    if (f->in_target && (f->changed || !f->in_base)) {
        f->target_size = fmp_cur_varint(&p->c);
        take_digest(&p->c, &f->target_digest);
    } else if (f->in_target) {
        f->target_size = f->base_size;
        f->target_digest = f->base_digest;
    }
    if (p->c.bad || f->base_size >> 56 || f->target_size >> 56)
        return bad(p, "a side file's entry is not valid");
    return FMP_OK;
}

static bool name_taken(const fmp_layout_side *s, const char *name)
{
    uint32_t low = 0;
    uint32_t high = s->n_files;

    while (low < high) { /* the names are in order */
        const uint32_t mid = low + (high - low) / 2;
        const int order = strcmp(s->files[mid].name, name);

        if (order == 0)
            return true;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

static fmp_status parse_side_files(parser *p, fmp_layout *l)
{
    const uint64_t n = fmp_cur_varint(&p->c);

    if (!fmp_cur_fits(&p->c, n, 4) || n > p->max_files)
        return bad(p, "its count of side files is not valid");
    l->side = fmp_calloc((size_t)n, sizeof *l->side);
    if (!l->side)
        return no_memory(p);
    l->n_side = (uint32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        const fmp_side_file *f = &l->side[i];
        const fmp_status st = parse_side_file(p, &l->side[i]);

        if (st)
            return st;
        if (i && strcmp(l->side[i - 1].name, f->name) >= 0)
            return bad(p, "side files are not in order of names, or one stands twice");
        if ((f->in_target && (!l->target.is_dir || name_taken(&l->target, f->name))) ||
            (f->in_base && (!l->base.is_dir || name_taken(&l->base, f->name))))
            return bad(p, "a side file has no place");
    }
    return fmp_cur_left(&p->c) ? bad(p, "bytes after the last side file") : FMP_OK;
}

fmp_status fmp_layout_parse(const fmp_buf *bytes, const fmp_table *t, uint32_t max_files,
                            const char *path, fmp_layout *ret, fmp_error *err)
{
    parser p = {.c = fmp_cur(bytes->data, bytes->len),
                .path = path,
                .t = t,
                .max_files = max_files,
                .err = err};
    fmp_layout l = {0};
    uint64_t same;
    fmp_status st = parse_files(&p, &l.target);

    if (!st)
        st = parse_order(&p, &l.target, true, NULL);
    if (!st)
        st = parse_files(&p, &l.base);
    if (!st) {
        same = fmp_cur_le(&p.c, 1);
        st = same > 1 ? bad(&p, "a flag is not valid")
                      : parse_order(&p, &l.base, false, same ? &l.target : NULL);
    }
    if (!st)
        st = parse_side_files(&p, &l);
    if (st) {
        fmp_layout_release(&l);
        return st;
    }
    *ret = l;
    return FMP_OK;
}
