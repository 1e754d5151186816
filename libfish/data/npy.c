/*
 * npy headers, versions 1 to 3 (NumPy Enhancement Proposal 1): a magic, a version, a length, and a
 * Python dictionary with exactly the keys descr, fortran_order and shape.  The dictionary is read
 * as NumPy writes it, no other Python.
 */
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "data/array_file.h"

#define HEADER_MAX 65536u

typedef struct text {
    const char *at;
    const char *end;
} text;

static void skip_spaces(text *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t'))
        t->at++;
}

/* Takes the character c, and the spaces before it. */
static bool take(text *t, char c)
{
    skip_spaces(t);
    if (t->at == t->end || *t->at != c)
        return false;
    t->at++;
    return true;
}

static bool take_word(text *t, const char *word)
{
    const size_t len = strlen(word);

    skip_spaces(t);
    if ((size_t)(t->end - t->at) < len || memcmp(t->at, word, len))
        return false;
    t->at += len;
    return true;
}

/* A string without escapes in either quotes, cut to cap - 1 bytes only by failing. */
static bool take_string(text *t, char *out, size_t cap)
{
    const char quote = take(t, '\'') ? '\'' : take(t, '"') ? '"' : 0;
    size_t n = 0;

    if (!quote)
        return false;
    while (t->at < t->end && *t->at != quote) {
        if (*t->at == '\\' || n + 1 == cap)
            return false;
        out[n++] = *t->at++;
    }
    out[n] = 0;
    return take(t, quote);
}

static bool take_number(text *t, uint64_t *ret)
{
    uint64_t n = 0;
    const char *from;

    skip_spaces(t);
    from = t->at;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9') {
        if (n > (UINT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (uint64_t)(*t->at++ - '0');
    }
    *ret = n;
    return t->at > from;
}

/* "()", "(5,)", "(5, 28, 28)" with or without a comma at the end. */
static bool take_shape(text *t, fish_array *a, bool *ret_too_many)
{
    bool comma = true;
    uint64_t size;

    a->rank = 0;
    if (!take(t, '('))
        return false;
    while (comma && take_number(t, &size)) {
        if (a->rank == FISH_ARRAY_RANK_MAX) {
            *ret_too_many = true;
            return false;
        }
        a->shape[a->rank++] = size;
        comma = take(t, ',');
    }
    if (a->rank == 1 && !comma) /* "(5)" is a number, no tuple */
        return false;
    return take(t, ')');
}

static fmp_status malformed(const fish_datafile *f, const char *expected, fmp_error *err)
{
    return fish_fail(err, FMP_ECORRUPT, "%s: npy header: expected %s", f->path, expected);
}

static fmp_status read_value(const fish_datafile *f, text *t, char key, char descr[16],
                             fish_array *a, fmp_error *err)
{
    bool too_many = false;

    if (key == 'd' && !take_string(t, descr, 16))
        return malformed(f, "a plain type such as '<f4' behind 'descr'", err);
    if (key == 'f' && take_word(t, "True"))
        return fish_fail(err, FMP_ENOTSUP, "%s: an array in Fortran order; only C order", f->path);
    if (key == 'f' && !take_word(t, "False"))
        return malformed(f, "True or False behind 'fortran_order'", err);
    if (key == 's' && !take_shape(t, a, &too_many) && !too_many)
        return malformed(f, "a tuple of sizes behind 'shape'", err);
    if (too_many)
        return fish_fail(err, FMP_ENOTSUP, "%s: more than %u dimensions", f->path,
                         FISH_ARRAY_RANK_MAX);
    return FMP_OK;
}

/* The three keys in any order, each once. */
static fmp_status read_dictionary(const fish_datafile *f, text *t, char descr[16], fish_array *a,
                                  fmp_error *err)
{
    bool seen[3] = {false};
    bool comma = true;

    if (!take(t, '{'))
        return malformed(f, "a dictionary", err);
    for (int n = 0; n < 3; n++) {
        static const char *const keys[] = {"descr", "fortran_order", "shape"};
        char key[16];
        int k = 0;
        fmp_status st;

        if (!comma || !take_string(t, key, sizeof key) || !take(t, ':'))
            return malformed(f, "the keys descr, fortran_order and shape", err);
        while (k < 3 && strcmp(key, keys[k]) != 0)
            k++;
        if (k == 3 || seen[k])
            return malformed(f, "the keys descr, fortran_order and shape, once each", err);
        seen[k] = true;
        st = read_value(f, t, *keys[k], descr, a, err);
        if (st)
            return st;
        comma = take(t, ',');
    }
    if (!take(t, '}'))
        return malformed(f, "the end of the dictionary behind three keys", err);
    skip_spaces(t);
    if (t->at != t->end || t->end[-1] != '\n')
        return malformed(f, "spaces and a line feed behind the dictionary", err);
    return FMP_OK;
}

static fmp_status read_type(const fish_datafile *f, const char *descr, fish_array *a,
                            fmp_error *err)
{
    static const char *const known[] = {"u1", "i1", "u2", "i2", "u4", "i4",
                                        "u8", "i8", "f4", "f8", NULL};
    const bool order = descr[0] == '<' || descr[0] == '|';

    for (int i = 0; order && known[i]; i++) {
        if (!strcmp(descr + 1, known[i]) && (descr[0] == '<' || known[i][1] == '1')) {
            a->kind = known[i][0];
            a->item = (uint8_t)(known[i][1] - '0');
            return FMP_OK;
        }
    }
    return fish_fail(err, FMP_ENOTSUP,
                     "%s: items of type '%s'; little-endian integers and floats are read here",
                     f->path, descr);
}

/* The bytes of the dictionary, to fish_free(); *ret_off is where it ends. */
static fmp_status read_header(const fish_datafile *f, char **ret, size_t *ret_len,
                              uint64_t *ret_off, fmp_error *err)
{
    unsigned char head[12] = {0};
    const size_t n = f->size < sizeof head ? (size_t)f->size : sizeof head;
    fmp_status st = fish_datafile_read(f, 0, head, n, err);
    size_t before;
    uint32_t len;
    char *dictionary;

    if (st)
        return st;
    if (n < 10 || memcmp(head, "\x93NUMPY", 6) != 0)
        return malformed(f, "the magic of npy", err);
    if (head[6] < 1 || head[6] > 3 || head[7])
        return fish_fail(err, FMP_ENOTSUP, "%s: npy version %u.%u, expected 1.0 to 3.0", f->path,
                         head[6], head[7]);
    before = head[6] == 1 ? 10 : 12;
    len = (uint32_t)head[8] | (uint32_t)head[9] << 8;
    if (before == 12)
        len |= (uint32_t)head[10] << 16 | (uint32_t)head[11] << 24;
    if (n < before || len > f->size - before || !len)
        return fish_fail(err, FMP_ECORRUPT, "%s: npy header of %lu bytes in a file of %llu",
                         f->path, (unsigned long)len, (unsigned long long)f->size);
    if (len > HEADER_MAX)
        return fish_fail(err, FMP_ELIMIT, "%s: npy header of %lu bytes, limit %u", f->path,
                         (unsigned long)len, HEADER_MAX);
    dictionary = fish_alloc(len, 1);
    if (!dictionary)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", f->path);
    st = fish_datafile_read(f, before, dictionary, len, err);
    if (st) {
        fish_free(dictionary);
        return st;
    }
    *ret = dictionary;
    *ret_len = len;
    *ret_off = before + len;
    return FMP_OK;
}

fmp_status fish_npy_header(const fish_datafile *f, fish_array *ret, fmp_error *err)
{
    fish_array a = {0};
    char descr[16];
    char *header = NULL;
    size_t len = 0;
    fmp_status st = read_header(f, &header, &len, &a.off, err);

    if (st)
        return st;
    st = read_dictionary(f, &(text){header, header + len}, descr, &a, err);
    fish_free(header);
    if (!st)
        st = read_type(f, descr, &a, err);
    if (!st)
        st = fish_array_check(f, &a, err);
    if (!st)
        *ret = a;
    return st;
}
