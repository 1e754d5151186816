/*
 * Texts: one pass over the file that keeps place, label and length of each example, and the reading
 * of one example again.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "data/data_parts.h"

/* What the pass needs besides the data. */
typedef struct scan {
    fish_data *d;
    int32_t *ids;
    int32_t *types;
} scan;

static bool grow_array(void *array, uint32_t cap, size_t size)
{
    void *larger;
    void *now;

    memcpy(&now, array, sizeof now);
    larger = fish_realloc(now, cap, size);
    if (larger)
        memcpy(array, &larger, sizeof larger);
    return larger;
}

static fmp_status make_room(fish_data *d, fmp_error *err)
{
    uint32_t cap = d->cap ? d->cap * 2 : 1024;

    if (d->n < d->cap)
        return FMP_OK;
    if (d->n == FISH_EXAMPLES_MAX)
        return fish_fail(err, FMP_ELIMIT, "%s: more than %u examples", d->file.path, d->n);
    if (!grow_array(&d->places, cap, sizeof *d->places) ||
        !grow_array(&d->lengths, cap, sizeof *d->lengths) ||
        (d->regression ? !grow_array(&d->values, cap, sizeof *d->values)
                       : !grow_array(&d->labels, cap, sizeof *d->labels)))
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", d->file.path);
    d->cap = cap;
    return FMP_OK;
}

/* A decimal number and nothing else, finite also as a float; spaces around it are allowed. */
static fmp_status parse_value(const char *where, const fish_field *f, float *ret, fmp_error *err)
{
    char text[64];
    char *end;
    size_t len = f->len < sizeof text ? f->len : 0;

    if (len)
        memcpy(text, f->p, len);
    text[len] = 0;
    if (len && strspn(text, "0123456789+-.eE ") == len) { /* no hexadecimal, no "nan" */
        const double x = strtod(text, &end);

        end += strspn(end, " ");
        if (end == text + len && strpbrk(text, "0123456789") && fabs(x) <= (double)FLT_MAX) {
            *ret = (float)x;
            return FMP_OK;
        }
    }
    return fish_fail(err, FMP_ECORRUPT, "%s: expected a number as the label, found '%.*s'", where,
                     (int)(f->len < 40 ? f->len : 40), f->p);
}

static fmp_status set_label(fish_data *d, const fish_record *record, const fish_row *row,
                            fmp_error *err)
{
    const fish_field *f = &row->part[FISH_LABEL];
    char where[256];

    (void)snprintf(where, sizeof where, "%.200s: record at line %llu", d->file.path,
                   (unsigned long long)record->line);
    if (d->regression) {
        d->values[d->n] = 0;
        return d->no_labels ? FMP_OK : parse_value(where, f, &d->values[d->n], err);
    }
    d->labels[d->n] = 0;
    if (d->no_labels)
        return FMP_OK;
    return fish_classes_label(&d->classes, f->p, f->len, where, &d->labels[d->n], err);
}

static fmp_status add_example(scan *s, fish_record *record, fmp_error *err)
{
    fish_data *d = s->d;
    fish_row row;
    fmp_status st = make_room(d, err);

    if (!st)
        st = fish_row_parse(&d->columns, record, &row, err);
    if (st)
        return st;
    st = set_label(d, record, &row, err);
    if (!st)
        st = fish_tokenizer_encode(d->tokenizer, row.part[FISH_TEXT_A].p, row.part[FISH_TEXT_A].len,
                                   row.part[FISH_TEXT_B].p, row.part[FISH_TEXT_B].len,
                                   d->max_tokens, s->ids, s->types, &d->lengths[d->n], err);
    fish_row_release(&row);
    if (st)
        return st;
    d->places[d->n++] = (fish_place){
        .off = record->off,
        .len = (uint32_t)record->len,
        .line = record->line < UINT32_MAX ? (uint32_t)record->line : UINT32_MAX,
    };
    return FMP_OK;
}

/* Empty lines are no records, but for a file of one column, whose example may well be empty.
 * Nothing ends a record but its length. */
static bool is_blank(const fish_data *d, const fish_record *record)
{
    size_t n = 0;

    if (d->columns.format != FISH_JSONL)
        return !record->len && d->columns.n != 1;
    while (n < record->len && (record->raw[n] == ' ' || record->raw[n] == '\t'))
        n++;
    return n == record->len;
}

/* The first record that is not empty tells the columns; *ret_is_data says whether it is one. */
static fmp_status read_first(fish_data *d, fish_record_reader *r, fish_text_format format,
                             const fish_data_options *o, fish_record *ret, bool *ret_end,
                             fmp_error *err)
{
    fmp_status st;

    do {
        st = fish_record_reader_next(r, ret, ret_end, err);
    } while (!st && !*ret_end && !ret->len && !(o->no_header && o->no_labels));
    if (st || *ret_end)
        return st;
    return fish_columns_choose(&d->columns, format, d->file.path, ret, o, err);
}

static fmp_status read_all(scan *s, fish_record_reader *r, fish_text_format format,
                           const fish_data_options *o, fmp_error *err)
{
    fish_record record;
    bool end = false;
    fmp_status st = read_first(s->d, r, format, o, &record, &end, err);

    if (!st && !end && (format == FISH_JSONL || o->no_header))
        st = add_example(s, &record, err);
    while (!st && !end) {
        st = fish_record_reader_next(r, &record, &end, err);
        if (!st && !end && !is_blank(s->d, &record))
            st = add_example(s, &record, err);
    }
    if (!st && !s->d->n)
        return fish_fail(err, FMP_ECORRUPT, "%s: expected examples, found none", s->d->file.path);
    return st;
}

fmp_status fish_texts_read(fish_data *d, fish_text_format format, const fish_data_options *options,
                           crypto_generichash_state *digest, fmp_error *err)
{
    scan s = {.d = d};
    fish_record_reader reader = {0};
    fmp_status st;

    s.ids = fish_alloc(d->max_tokens, sizeof *s.ids);
    s.types = fish_alloc(d->max_tokens, sizeof *s.types);
    if (!s.ids || !s.types) {
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", d->file.path);
        goto out;
    }
    st = fish_record_reader_init(&reader, &d->file, format, digest, err);
    if (!st)
        st = read_all(&s, &reader, format, options, err);

out:
    fish_record_reader_release(&reader);
    fish_free(s.ids);
    fish_free(s.types);
    return st;
}

fmp_status fish_data_tokens(const fish_data *d, uint32_t example, int32_t *ids, int32_t *types,
                            uint32_t *ret_n, fmp_error *err)
{
    fish_record record = {0};
    fish_row row;
    uint32_t n;
    fmp_status st;

    if (d->kind != FISH_TEXT || example >= d->n)
        return fish_fail(err, FMP_EUSAGE, "%s: no text number %u", d->file.path, example);
    record.len = d->places[example].len;
    record.off = d->places[example].off;
    record.line = d->places[example].line;
    record.raw = fish_alloc(record.len, 1);
    if (!record.raw)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", d->file.path);
    st = fish_datafile_read(&d->file, record.off, record.raw, record.len, err);
    if (!st)
        st = fish_row_parse(&d->columns, &record, &row, err);
    if (!st) {
        st = fish_tokenizer_encode(d->tokenizer, row.part[FISH_TEXT_A].p, row.part[FISH_TEXT_A].len,
                                   row.part[FISH_TEXT_B].p, row.part[FISH_TEXT_B].len,
                                   d->max_tokens, ids, types, &n, err);
        fish_row_release(&row);
    }
    fish_free(record.raw);
    if (st)
        return st;
    if (n != d->lengths[example])
        return fish_fail(err, FMP_EIO, "%s: line %u has changed since the file was opened",
                         d->file.path, d->places[example].line);
    *ret_n = n;
    return FMP_OK;
}
