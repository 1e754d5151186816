/*
 * A strict pull parser over a window.  See json.h.  RFC 8259, with nothing more and nothing less.
 *
 * What may come next is in j->state; a value, key or bracket is one token, commas and colons are
 * eaten on the way to it.
 */
#include "base/json.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "base/utf8.h"

#define WINDOW   65536u
#define TEXT_MAX (32u << 20) /* one string; the caller may set j->text.max to less */

enum state {
    WANT_VALUE,
    WANT_VALUE_OR_END, /* after '[' */
    WANT_KEY,          /* after ',' in an object */
    WANT_KEY_OR_END,   /* after '{' */
    WANT_COLON,
    AFTER_VALUE,
    BROKEN /* an error was returned */
};

/* What stops a run of plain string bytes. */
static inline bool is_special(uint8_t b)
{
    return b < 0x20 || b == '"' || b == '\\' || b >= 0x80;
}

static fmp_status broken(fmp_json *j, fmp_error *err, const char *what)
{
    j->state = BROKEN;
    return fmp_fail(err, FMP_ECORRUPT, j->file_off + j->at, "%s: JSON, byte %llu: %s", j->path,
                    (unsigned long long)(j->file_off + j->at), what);
}

static fmp_status broken_byte(fmp_json *j, fmp_error *err, int found, const char *expected)
{
    char what[96];

    if (found < 0)
        (void)snprintf(what, sizeof what, "expected %s, found the end", expected);
    else if (found > 0x20 && found < 0x7f)
        (void)snprintf(what, sizeof what, "expected %s, found '%c'", expected, found);
    else
        (void)snprintf(what, sizeof what, "expected %s, found byte 0x%02x", expected, found);
    return broken(j, err, what);
}

/* Appends to the text, of which one byte is kept for the NUL. */
static fmp_status put(fmp_json *j, const void *data, size_t n, fmp_error *err)
{
    fmp_buf *text = &j->text;

    if (n < text->max && text->len < text->max - n) {
        fmp_buf_put(text, data, n);
        if (!text->bad)
            return FMP_OK;
        j->state = BROKEN;
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", j->path);
    }
    j->state = BROKEN;
    return fmp_fail(err, FMP_ELIMIT, j->file_off + j->token_at,
                    "%s: JSON, byte %llu: a string or number of %zu bytes or more", j->path,
                    (unsigned long long)(j->file_off + j->token_at), text->max);
}

fmp_status fmp_json_init(fmp_json *j, fmp_json_read_fn read, void *ctx, uint64_t len,
                         const char *path, uint64_t file_off, unsigned max_depth, fmp_error *err)
{
    *j = (fmp_json){.read = read, .ctx = ctx, .len = len, .path = path, .file_off = file_off};
    j->max_depth = max_depth < sizeof j->stack ? max_depth : (unsigned)sizeof j->stack;
    j->text.max = TEXT_MAX;
    j->state = WANT_VALUE;
    j->window = fmp_malloc(WINDOW);
    if (!j->window)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
    return FMP_OK;
}

void fmp_json_release(fmp_json *j)
{
    fmp_free(j->window);
    j->window = NULL;
    j->win_len = 0;
    fmp_buf_release(&j->text);
}

/* Makes the window begin at j->at. */
static fmp_status refill(fmp_json *j, fmp_error *err)
{
    const uint64_t left = j->len - j->at;
    const size_t n = left < WINDOW ? (size_t)left : WINDOW;
    const fmp_status st = n ? j->read(j->ctx, j->at, j->window, n, err) : FMP_OK;

    if (st) {
        j->state = BROKEN;
        return st;
    }
    j->win_off = j->at;
    j->win_len = n;
    return FMP_OK;
}

/* The window's bytes from j->at on, at least one unless the document is at its end. */
static inline fmp_status peek(fmp_json *j, const uint8_t **ret, size_t *ret_n, fmp_error *err)
{
    size_t pos = (size_t)(j->at - j->win_off);

    if (pos >= j->win_len) {
        const fmp_status st = refill(j, err);

        if (st)
            return st;
        pos = 0;
    }
    *ret = j->window + pos;
    *ret_n = j->win_len - pos;
    return FMP_OK;
}

/* The byte at j->at, not eaten; -1 at the end. */
static inline fmp_status peek_byte(fmp_json *j, int *ret, fmp_error *err)
{
    const uint8_t *p = NULL;
    size_t n = 0;
    const fmp_status st = peek(j, &p, &n, err);

    if (!st)
        *ret = n ? *p : -1;
    return st;
}

static fmp_status next_byte(fmp_json *j, int *ret, fmp_error *err)
{
    const fmp_status st = peek_byte(j, ret, err);

    if (!st && *ret >= 0)
        j->at++;
    return st;
}

/* The first byte that is not white space, not eaten; -1 at the end. */
static fmp_status skip_space(fmp_json *j, int *ret, fmp_error *err)
{
    for (;;) {
        const uint8_t *p = NULL;
        size_t n = 0, i = 0;
        const fmp_status st = peek(j, &p, &n, err);

        if (st)
            return st;
        while (i < n && (p[i] == ' ' || p[i] == '\n' || p[i] == '\r' || p[i] == '\t'))
            i++;
        j->at += i;
        if (i < n || !n) {
            *ret = n ? p[i] : -1;
            return FMP_OK;
        }
    }
}

static fmp_status end_text(fmp_json *j, fmp_error *err)
{
    uint8_t *end = fmp_buf_reserve(&j->text, 1);

    if (!end)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", j->path);
    *end = '\0';
    return FMP_OK;
}

static fmp_status put_code_point(fmp_json *j, uint32_t cp, fmp_error *err)
{
    uint8_t s[4];
    size_t n = 0;

    if (cp < 0x80) {
        s[n++] = (uint8_t)cp;
    } else if (cp < 0x800) {
        s[n++] = (uint8_t)(0xc0 | cp >> 6);
        s[n++] = (uint8_t)(0x80 | (cp & 0x3f));
    } else {
        if (cp < 0x10000) {
            s[n++] = (uint8_t)(0xe0 | cp >> 12);
        } else {
            s[n++] = (uint8_t)(0xf0 | cp >> 18);
            s[n++] = (uint8_t)(0x80 | (cp >> 12 & 0x3f));
        }
        s[n++] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
        s[n++] = (uint8_t)(0x80 | (cp & 0x3f));
    }
    return put(j, s, n, err);
}

static fmp_status read_hex4(fmp_json *j, uint32_t *ret, fmp_error *err)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < 4; i++) {
        int c = -1;
        const fmp_status st = peek_byte(j, &c, err);

        if (st)
            return st;
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f' && c > 0)
            v = v << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return broken_byte(j, err, c, "four hex digits after \\u");
        j->at++;
    }
    *ret = v;
    return FMP_OK;
}

/* After "\u". */
static fmp_status read_unicode(fmp_json *j, fmp_error *err)
{
    uint32_t cp = 0, low = 0;
    fmp_status st = read_hex4(j, &cp, err);
    int c = -1;

    if (st)
        return st;
    if (cp >= 0xd800 && cp < 0xe000) {
        if (cp >= 0xdc00)
            return broken(j, err, "a low surrogate without a high one before it");
        for (const char *s = "\\u"; *s; s++) {
            st = peek_byte(j, &c, err);
            if (st)
                return st;
            if (c != *s)
                return broken(j, err, "a high surrogate without a low one after it");
            j->at++;
        }
        st = read_hex4(j, &low, err);
        if (st)
            return st;
        if (low < 0xdc00 || low >= 0xe000)
            return broken(j, err, "a high surrogate without a low one after it");
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_code_point(j, cp, err);
}

/* After '\\'. */
static fmp_status read_escape(fmp_json *j, fmp_error *err)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    const char *hit;
    int c = -1;
    const fmp_status st = peek_byte(j, &c, err);

    if (st)
        return st;
    if (c == 'u') {
        j->at++;
        return read_unicode(j, err);
    }
    hit = c > 0 ? strchr(from, c) : NULL;
    if (!hit)
        return broken_byte(j, err, c, "an escape");
    j->at++;
    return put(j, &to[hit - from], 1, err);
}

/* A sequence of two to four bytes, which may lie across two windows. */
static fmp_status read_multibyte(fmp_json *j, int first, fmp_error *err)
{
    uint8_t s[4] = {(uint8_t)first};
    const size_t want = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    uint32_t cp = 0;
    size_t n = 1;

    for (; n < want; n++) {
        int c = -1;
        const fmp_status st = next_byte(j, &c, err);

        if (st)
            return st;
        if (c < 0)
            break;
        s[n] = (uint8_t)c;
    }
    if (fmp_utf8_next(s, n, &cp) != n || n != want) {
        j->at -= n;
        return broken(j, err, "a string that is not valid UTF-8");
    }
    return put(j, s, n, err);
}

/* After the opening quote, to behind the closing one. */
static fmp_status read_string(fmp_json *j, fmp_error *err)
{
    for (;;) {
        const uint8_t *p = NULL;
        size_t n = 0, i = 0;
        fmp_status st = peek(j, &p, &n, err);

        if (st)
            return st;
        if (!n)
            return broken(j, err, "the document ends inside a string");
        while (i < n && !is_special(p[i]))
            i++;
        st = i ? put(j, p, i, err) : FMP_OK;
        if (st)
            return st;
        j->at += i;
        if (i == n)
            continue;
        if (p[i] < 0x20)
            return broken_byte(j, err, p[i], "no control character in a string");
        j->at++;
        if (p[i] == '"')
            return end_text(j, err);
        st = p[i] == '\\' ? read_escape(j, err) : read_multibyte(j, p[i], err);
        if (st)
            return st;
    }
}

/* Appends a run of digits to the text; at least one. */
static fmp_status read_digits(fmp_json *j, int *ret_next, fmp_error *err)
{
    const size_t before = j->text.len;

    for (;;) {
        const uint8_t *p = NULL;
        size_t n = 0, i = 0;
        fmp_status st = peek(j, &p, &n, err);

        if (st)
            return st;
        while (i < n && p[i] >= '0' && p[i] <= '9')
            i++;
        st = i ? put(j, p, i, err) : FMP_OK;
        if (st)
            return st;
        j->at += i;
        if (i < n || !n) {
            *ret_next = n ? p[i] : -1;
            break;
        }
    }
    if (j->text.len == before)
        return broken_byte(j, err, *ret_next, "a digit");
    return FMP_OK;
}

/* Moves the byte `c` at j->at into the text. */
static fmp_status eat(fmp_json *j, int c, fmp_error *err)
{
    const uint8_t b = (uint8_t)c;

    j->at++;
    return put(j, &b, 1, err);
}

/* ".5": `*c` is the byte at j->at, before and after. */
static fmp_status read_fraction(fmp_json *j, int *c, fmp_error *err)
{
    const fmp_status st = eat(j, *c, err);

    return st ? st : read_digits(j, c, err);
}

/* "e+10", likewise. */
static fmp_status read_exponent(fmp_json *j, int *c, fmp_error *err)
{
    fmp_status st = eat(j, *c, err);

    if (!st)
        st = peek_byte(j, c, err);
    if (!st && (*c == '+' || *c == '-'))
        st = eat(j, *c, err);
    return st ? st : read_digits(j, c, err);
}

/* False when it does not fit 64 bits. */
static bool to_uint(const fmp_buf *text, uint64_t *ret)
{
    uint64_t v = 0;

    for (size_t i = 0; i < text->len; i++) {
        const unsigned digit = text->data[i] - '0';

        if (v > UINT64_MAX / 10 || v * 10 > UINT64_MAX - digit)
            return false;
        v = v * 10 + digit;
    }
    *ret = v;
    return true;
}

static fmp_status read_number(fmp_json *j, int c, fmp_error *err)
{
    const bool negative = c == '-';
    bool whole = !negative;
    fmp_status st = negative ? eat(j, c, err) : FMP_OK;

    if (!st)
        st = read_digits(j, &c, err);
    if (st)
        return st;
    if (j->text.len > 1u + negative && j->text.data[negative] == '0')
        return broken(j, err, "a number with a leading zero");
    if (c == '.') {
        whole = false;
        st = read_fraction(j, &c, err);
    }
    if (!st && (c == 'e' || c == 'E')) {
        whole = false;
        st = read_exponent(j, &c, err);
    }
    if (st)
        return st;
    j->kind = whole && to_uint(&j->text, &j->uint) ? FMP_JSON_UINT : FMP_JSON_NUMBER;
    j->state = AFTER_VALUE;
    return end_text(j, err);
}

static fmp_status read_word(fmp_json *j, const char *word, fmp_json_kind kind, fmp_error *err)
{
    for (const char *s = word; *s; s++) {
        int c = -1;
        const fmp_status st = peek_byte(j, &c, err);

        if (st)
            return st;
        if (c != *s)
            return broken_byte(j, err, c, word);
        j->at++;
    }
    j->kind = kind;
    j->state = AFTER_VALUE;
    return FMP_OK;
}

static fmp_status open_bracket(fmp_json *j, int c, fmp_error *err)
{
    if (j->depth >= j->max_depth) {
        char what[64];

        (void)snprintf(what, sizeof what, "nested deeper than %u", j->max_depth);
        return broken(j, err, what);
    }
    j->stack[j->depth++] = (uint8_t)c;
    j->at++;
    j->kind = c == '{' ? FMP_JSON_OBJECT_BEGIN : FMP_JSON_ARRAY_BEGIN;
    j->state = c == '{' ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    return FMP_OK;
}

static fmp_status close_bracket(fmp_json *j)
{
    j->depth--;
    j->at++;
    j->kind = j->stack[j->depth] == '{' ? FMP_JSON_OBJECT_END : FMP_JSON_ARRAY_END;
    j->state = AFTER_VALUE;
    return FMP_OK;
}

static fmp_status read_value(fmp_json *j, int c, fmp_error *err)
{
    switch (c) {
    case '{':
    case '[':
        return open_bracket(j, c, err);
    case '"':
        j->at++;
        j->kind = FMP_JSON_STRING;
        j->state = AFTER_VALUE;
        return read_string(j, err);
    case 't':
        return read_word(j, "true", FMP_JSON_TRUE, err);
    case 'f':
        return read_word(j, "false", FMP_JSON_FALSE, err);
    case 'n':
        return read_word(j, "null", FMP_JSON_NULL, err);
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return read_number(j, c, err);
        return broken_byte(j, err, c, "a value");
    }
}

static fmp_status read_key(fmp_json *j, int c, fmp_error *err)
{
    if (c != '"')
        return broken_byte(j, err, c, "a key");
    j->at++;
    j->kind = FMP_JSON_KEY;
    j->state = WANT_COLON;
    return read_string(j, err);
}

/* After a value: eats the comma, if that is what follows, and says so. */
static fmp_status eat_comma(fmp_json *j, int *c, fmp_error *err)
{
    const bool in_object = j->stack[j->depth - 1] == '{';

    if (*c == (in_object ? '}' : ']'))
        return FMP_OK;
    if (*c != ',')
        return broken_byte(j, err, *c, in_object ? "',' or '}'" : "',' or ']'");
    j->at++;
    j->state = in_object ? WANT_KEY : WANT_VALUE;
    return skip_space(j, c, err);
}

static fmp_status eat_colon(fmp_json *j, int *c, fmp_error *err)
{
    if (*c != ':')
        return broken_byte(j, err, *c, "':'");
    j->at++;
    j->state = WANT_VALUE;
    return skip_space(j, c, err);
}

static fmp_status read_end(fmp_json *j, int c, fmp_error *err)
{
    if (c >= 0)
        return broken_byte(j, err, c, "the end of the document");
    j->token_at = j->at;
    j->kind = FMP_JSON_END;
    return FMP_OK;
}

fmp_status fmp_json_next(fmp_json *j, fmp_error *err)
{
    fmp_status st = FMP_OK;
    int c = -1;

    if (j->state == BROKEN)
        return broken(j, err, "read on after an error");
    fmp_buf_clear(&j->text);
    st = skip_space(j, &c, err);
    if (!st && j->state == AFTER_VALUE) {
        if (!j->depth)
            return read_end(j, c, err);
        st = eat_comma(j, &c, err);
    } else if (!st && j->state == WANT_COLON) {
        st = eat_colon(j, &c, err);
    }
    if (st)
        return st;
    j->token_at = j->at;
    switch (j->state) {
    case AFTER_VALUE:
        return close_bracket(j);
    case WANT_KEY_OR_END:
        return c == '}' ? close_bracket(j) : read_key(j, c, err);
    case WANT_KEY:
        return read_key(j, c, err);
    case WANT_VALUE_OR_END:
        return c == ']' ? close_bracket(j) : read_value(j, c, err);
    default:
        return read_value(j, c, err);
    }
}

static const char *kind_name(fmp_json_kind kind)
{
    static const char *const names[] = {
        "the end", "an object", "the end of an object", "an array", "the end of an array",
        "a key",   "a string",  "a whole number",       "a number", "true",
        "false",   "null",
    };

    return names[kind];
}

fmp_status fmp_json_expect(fmp_json *j, fmp_json_kind kind, const char *what, fmp_error *err)
{
    const fmp_status st = fmp_json_next(j, err);

    if (st || j->kind == kind)
        return st;
    j->state = BROKEN;
    return fmp_fail(err, FMP_ECORRUPT, j->file_off + j->token_at,
                    "%s: JSON, byte %llu: expected %s, found %s", j->path,
                    (unsigned long long)(j->file_off + j->token_at), what, kind_name(j->kind));
}

fmp_status fmp_json_skip(fmp_json *j, fmp_error *err)
{
    const unsigned depth = j->depth;

    if (j->kind != FMP_JSON_OBJECT_BEGIN && j->kind != FMP_JSON_ARRAY_BEGIN)
        return FMP_OK;
    while (j->depth >= depth) {
        const fmp_status st = fmp_json_next(j, err);

        if (st)
            return st;
    }
    return FMP_OK;
}

static void put_escape(fmp_buf *b, uint8_t c)
{
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";
    const char *hit = c ? strchr(from, c) : NULL;
    char text[8];

    if (hit)
        (void)snprintf(text, sizeof text, "\\%c", to[hit - from]);
    else
        (void)snprintf(text, sizeof text, "\\u%04x", c);
    fmp_buf_put_str(b, text);
}

void fmp_json_put_string(fmp_buf *b, const char *s, size_t len)
{
    size_t done = 0;

    fmp_buf_put(b, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        const uint8_t c = (uint8_t)s[i];

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        fmp_buf_put(b, s + done, i - done);
        put_escape(b, c);
        done = i + 1;
    }
    fmp_buf_put(b, s + done, len - done);
    fmp_buf_put(b, "\"", 1);
}
