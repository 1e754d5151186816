/*
 * Where records and fields end.  CSV follows RFC 4180, section 2, with LF taken as a line end too;
 * what it does not allow (a quote inside a field without quotes, text behind a closing quote) is
 * refused, because guessing would shift columns.
 */
#include "data/records.h"

#include <string.h>

#include "core/fail.h"
#include "core/mem.h"

#define FIRST_CAP ((size_t)1 << 16)

fmp_status fish_record_reader_init(fish_record_reader *r, const fish_datafile *file,
                                   fish_text_format format, crypto_generichash_state *digest,
                                   fmp_error *err)
{
    *r = (fish_record_reader){.file = file, .format = format, .digest = digest, .line = 1};
    r->buf = fish_alloc(FIRST_CAP, 1);
    if (!r->buf)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", file->path);
    r->cap = FIRST_CAP;
    return FMP_OK;
}

void fish_record_reader_release(fish_record_reader *r)
{
    fish_free(r->buf);
    r->buf = NULL;
}

static bool at_end(const fish_record_reader *r)
{
    return r->buf_off + r->have == r->file->size;
}

/* Makes room behind what is still unread, and fills it. */
static fmp_status read_more(fish_record_reader *r, fmp_error *err)
{
    const uint64_t left = r->file->size - r->buf_off - r->have;
    size_t n;
    fmp_status st;

    if (r->at) {
        memmove(r->buf, r->buf + r->at, r->have - r->at);
        r->buf_off += r->at;
        r->have -= r->at;
        r->at = 0;
    }
    if (r->have == r->cap) {
        char *larger;

        if (r->cap >= FISH_RECORD_MAX)
            return fish_fail(err, FMP_ELIMIT, "%s: line %llu: a record of more than %zu bytes%s",
                             r->file->path, (unsigned long long)r->line, FISH_RECORD_MAX,
                             r->format == FISH_CSV ? "; is there a quote that nothing closes?"
                                                   : "");
        larger = fish_realloc(r->buf, r->cap * 2, 1);
        if (!larger)
            return fish_fail(err, FMP_ENOMEM, "%s: out of memory", r->file->path);
        r->buf = larger;
        r->cap *= 2;
    }
    n = left < r->cap - r->have ? (size_t)left : r->cap - r->have;
    st = fish_datafile_read(r->file, r->buf_off + r->have, r->buf + r->have, n, err);
    if (st)
        return st;
    if (r->digest)
        crypto_generichash_update(r->digest, (unsigned char *)r->buf + r->have, n);
    r->have += n;
    return FMP_OK;
}

static fmp_status skip_mark(fish_record_reader *r, fmp_error *err)
{
    const unsigned char *p = (const unsigned char *)r->buf;

    if (r->have >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
        r->at = 3;
    else if (r->have >= 2 && (!memcmp(p, "\xff\xfe", 2) || !memcmp(p, "\xfe\xff", 2)))
        return fish_fail(err, FMP_ENOTSUP, "%s: expected UTF-8, found UTF-16", r->file->path);
    return FMP_OK;
}

/* Looks for the line feed that ends the record, from *scanned on; quotes hide it in CSV. */
static bool find_end(const fish_record_reader *r, size_t *scanned, bool *quoted)
{
    const char *p = r->buf + r->at;
    const size_t n = r->have - r->at;

    if (r->format != FISH_CSV) {
        const char *end = memchr(p + *scanned, '\n', n - *scanned);

        *scanned = end ? (size_t)(end - p) : n;
        return end;
    }
    for (; *scanned < n; ++*scanned) {
        if (p[*scanned] == '"')
            *quoted = !*quoted;
        else if (p[*scanned] == '\n' && !*quoted)
            return true;
    }
    return false;
}

static uint64_t count_lines(const char *p, size_t len)
{
    uint64_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += p[i] == '\n';
    return n;
}

/* Hands out len bytes at r->at, of which a line feed may be the last. */
static void take(fish_record_reader *r, size_t len, fish_record *ret)
{
    *ret = (fish_record){
        .raw = r->buf + r->at, .len = len, .off = r->buf_off + r->at, .line = r->line};
    r->line += count_lines(ret->raw, len);
    r->at += len;
    if (ret->len && ret->raw[ret->len - 1] == '\n')
        ret->len--;
    if (ret->len && ret->raw[ret->len - 1] == '\r')
        ret->len--;
}

fmp_status fish_record_reader_next(fish_record_reader *r, fish_record *ret, bool *ret_end,
                                   fmp_error *err)
{
    size_t scanned = 0;
    bool quoted = false;
    bool ended = false;

    for (;;) {
        if (r->have || r->buf_off) {
            ended = find_end(r, &scanned, &quoted);
            if (ended || at_end(r))
                break;
        } else if (!r->file->size) {
            *ret_end = true;
            return FMP_OK;
        }
        const bool first = !r->have && !r->buf_off;
        fmp_status st = read_more(r, err);

        if (!st && first)
            st = skip_mark(r, err);
        if (st)
            return st;
    }
    if (quoted)
        return fish_fail(err, FMP_ECORRUPT, "%s: line %llu: a quote that nothing closes",
                         r->file->path, (unsigned long long)r->line);
    *ret_end = !ended && r->at == r->have;
    if (!*ret_end)
        take(r, scanned + ended, ret);
    return FMP_OK;
}

fish_fields fish_fields_of(fish_text_format format, const char *path, const fish_record *record)
{
    return (fish_fields){.format = format,
                         .at = record->raw,
                         .end = record->raw + record->len,
                         .path = path,
                         .line = record->line};
}

static fmp_status bad_field(const fish_fields *f, const char *what, fmp_error *err)
{
    return fish_fail(err, FMP_ECORRUPT, "%s: record at line %llu: column %u: %s", f->path,
                     (unsigned long long)f->line, f->column + 1, what);
}

/* A field in quotes, f->at behind the opening one.  Two quotes stand for one. */
static fmp_status quoted_field(fish_fields *f, fish_field *ret, fmp_error *err)
{
    char *to = f->at;
    char *from = f->at;

    ret->p = to;
    for (;;) {
        if (from == f->end)
            return bad_field(f, "expected a closing quote, found the end", err);
        if (*from == '"') {
            if (from + 1 == f->end || from[1] != '"')
                break;
            from++;
        }
        *to++ = *from++;
    }
    ret->len = (size_t)(to - ret->p);
    f->at = from + 1;
    if (f->at < f->end && *f->at != ',')
        return bad_field(f, "expected a comma behind the closing quote, found something else", err);
    return FMP_OK;
}

static fmp_status plain_field(fish_fields *f, fish_field *ret, fmp_error *err)
{
    const size_t left = (size_t)(f->end - f->at);
    char *stop = memchr(f->at, f->format == FISH_CSV ? ',' : '\t', left);

    if (!stop)
        stop = f->end;
    *ret = (fish_field){.p = f->at, .len = (size_t)(stop - f->at)};
    f->at = stop;
    if (f->format == FISH_CSV && memchr(ret->p, '"', ret->len))
        return bad_field(f, "expected no quote in a field without quotes, found one", err);
    if (f->format == FISH_CSV && memchr(ret->p, '\r', ret->len))
        return bad_field(f, "expected no carriage return outside quotes, found one", err);
    return FMP_OK;
}

bool fish_fields_next(fish_fields *f, fish_field *ret, fmp_status *ret_st, fmp_error *err)
{
    *ret_st = FMP_OK;
    if (f->done)
        return false;
    if (f->format == FISH_CSV && f->at < f->end && *f->at == '"') {
        f->at++;
        *ret_st = quoted_field(f, ret, err);
    } else {
        *ret_st = plain_field(f, ret, err);
    }
    if (*ret_st)
        return false;
    f->column++;
    f->done = f->at == f->end;
    if (!f->done)
        f->at++; /* the separator; a field follows it, if an empty one */
    return true;
}
