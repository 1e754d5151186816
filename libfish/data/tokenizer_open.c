/*
 * Opens a tokenizer, and holds what its readers share.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "core/outfile.h"
#include "data/tokenizer_read.h"
#include "data/unicode.h"

/* Bytes of a file; a vocabulary of 500,000 pieces takes a third of it. */
#define MAX_FILE ((size_t)32 << 20)

fmp_status fish_reader_no_memory(const fish_reader *r)
{
    return fish_fail(r->err, FMP_ENOMEM, "%s: out of memory", r->path);
}

fmp_status fish_reader_wrong(const fish_reader *r, const char *what, const char *expected)
{
    return fish_fail(r->err, FMP_ECORRUPT, "%s: %s: expected %s", r->path, what, expected);
}

fmp_status fish_reader_id(const fish_reader *r, const json_t *value, const char *what, int32_t *ret)
{
    const json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;

    if (id < 0 || id >= INT32_MAX)
        return fish_reader_wrong(r, what, "an id from 0 to 2147483646");
    *ret = (int32_t)id;
    if (r->t->n_ids <= (uint32_t)id)
        r->t->n_ids = (uint32_t)id + 1;
    return FMP_OK;
}

fmp_status fish_reader_bool(const fish_reader *r, const json_t *object, const char *key, bool *ret)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_boolean(value))
        return fish_reader_wrong(r, key, "true or false");
    *ret = json_is_true(value);
    return FMP_OK;
}

fmp_status fish_reader_strip(const fish_reader *r, const json_t *object)
{
    const json_t *value = json_object_get(object, "strip_accents");

    r->t->cleaning.strip_accents = r->t->cleaning.lowercase;
    return !value || json_is_null(value)
               ? FMP_OK
               : fish_reader_bool(r, object, "strip_accents", &r->t->cleaning.strip_accents);
}

fmp_status fish_reader_load(const fish_reader *r, const char *text, size_t len, json_t **ret)
{
    json_error_t e;

    *ret = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
    if (*ret)
        return FMP_OK;
    if (json_error_code(&e) == json_error_out_of_memory)
        return fish_reader_no_memory(r);
    return fish_fail(r->err, FMP_ECORRUPT, "%s: line %d: %s", r->path, e.line, e.text);
}

fmp_status fish_reader_unknown(const fish_reader *r, const char *unknown)
{
    r->t->pieces.unknown = fish_wordpiece_find(&r->t->pieces, unknown, strlen(unknown));
    if (r->t->pieces.unknown < 0)
        return fish_fail(r->err, FMP_ECORRUPT, "%s: the unknown token %s is not in the vocabulary",
                         r->path, unknown);
    return FMP_OK;
}

fmp_status fish_reader_prefix(const fish_reader *r, const char *prefix)
{
    fish_wordpiece *w = &r->t->pieces;
    const size_t len = strlen(prefix);

    if (len > sizeof w->prefix)
        return fish_fail(r->err, FMP_ENOTSUP, "%s: prefix of %zu bytes, at most %zu can be had",
                         r->path, len, sizeof w->prefix);
    memcpy(w->prefix, prefix, len);
    w->prefix_len = (uint32_t)len;
    return FMP_OK;
}

void fish_reader_bert_templates(fish_tokenizer *t, int32_t cls, int32_t sep)
{
    t->single =
        (fish_template){{{FISH_PART_ID, cls, 0}, {FISH_PART_A, 0, 0}, {FISH_PART_ID, sep, 0}}, 3};
    t->pair = t->single;
    t->pair.parts[3] = (fish_part){FISH_PART_B, 0, 1};
    t->pair.parts[4] = (fish_part){FISH_PART_ID, sep, 1};
    t->pair.n = 5;
}

typedef struct text_buf {
    char *data; /* NULL: only count */
    size_t len;
} text_buf;

static bool buf_put(void *ctx, uint32_t c)
{
    text_buf *b = ctx;
    char bytes[4];
    const unsigned n = fish_utf8_put(c, bytes);

    if (b->data)
        memcpy(b->data + b->len, bytes, n);
    b->len += n;
    return true;
}

fmp_status fish_reader_added(const fish_reader *r, const char *text, bool cleaned, fish_added *ret)
{
    static const fish_cleaning nothing;
    const fish_cleaning *cleaning = cleaned ? &r->t->cleaning : &nothing;
    text_buf b = {NULL, 0};

    if (strstr(text, "\xef\xbf\xbd"))
        return fish_fail(r->err, FMP_ENOTSUP, "%s: added token %s contains U+FFFD", r->path, text);
    (void)fish_normalize(cleaning, text, strlen(text), buf_put, &b);
    if (!b.len)
        return fish_fail(r->err, FMP_ENOTSUP, "%s: nothing is left of added token '%s'", r->path,
                         text);
    b.data = fish_alloc(b.len, 1);
    if (!b.data)
        return fish_reader_no_memory(r);
    b.len = 0;
    (void)fish_normalize(cleaning, text, strlen(text), buf_put, &b);
    ret->text = b.data;
    ret->len = b.len;
    return FMP_OK;
}

bool fish_reader_added_room(fish_added_set *set, size_t n)
{
    set->tokens = fish_alloc(n, sizeof *set->tokens);
    return set->tokens != NULL;
}

fmp_status fish_reader_sort_added(const fish_reader *r)
{
    if (!fish_added_sort(&r->t->raw) || !fish_added_sort(&r->t->cleaned))
        return fish_fail(r->err, FMP_ENOTSUP, "%s: two added tokens read the same", r->path);
    return FMP_OK;
}

fmp_status fish_reader_slurp(const char *dir, const char *name, char **ret_path, char **ret,
                             size_t *ret_len, fmp_error *err)
{
    const size_t size = strlen(dir) + strlen(name) + 2;
    char *path = fish_alloc(size, 1);
    fmp_error e = {0};
    fmp_status st;

    *ret = NULL;
    *ret_path = path;
    if (!path)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", dir);
    (void)snprintf(path, size, "%s/%s", dir, name);
    st = fish_slurp(path, MAX_FILE, ret, ret_len, &e);
    if (st == FMP_EIO && e.sys_errno == ENOENT)
        return FMP_OK;
    if (st && err)
        *err = e;
    return st;
}

fmp_status fish_tokenizer_open(const char *dir, fish_tokenizer **ret, fmp_error *err)
{
    fish_tokenizer *t = fish_calloc(1, sizeof *t);
    char *path;
    char *text;
    size_t len;
    fmp_status st;

    if (!t)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", dir);
    st = fish_reader_slurp(dir, "tokenizer.json", &path, &text, &len, err);
    if (!st) {
        const fish_reader r = {t, path, err};

        st = text ? fish_read_tokenizer_json(&r, text, len) : fish_read_vocab(dir, t, err);
    }
    fish_free(text);
    fish_free(path);
    if (st) {
        fish_tokenizer_free(t);
        return st;
    }
    *ret = t;
    return FMP_OK;
}
