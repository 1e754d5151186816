/*
 * Lines, base64 and harmless text.  See text.h.
 */
#include "crypto/text.h"

#include <string.h>

#include <sodium.h>

#include "base/utf8.h"

bool fmp_lines_next(fmp_lines *lines, fmp_line *ret)
{
    const size_t left = lines->bad ? 0 : (size_t)(lines->end - lines->at);
    const char *lf;
    size_t len;

    if (!left)
        return false;
    lf = memchr(lines->at, '\n', left);
    len = lf ? (size_t)(lf - lines->at) : left;
    ret->at = lines->at;
    ret->len = len && lf && ret->at[len - 1] == '\r' ? len - 1 : len;
    lines->at += lf ? len + 1 : len;
    lines->bad = memchr(ret->at, '\r', ret->len) || memchr(ret->at, '\0', ret->len);
    return !lines->bad;
}

bool fmp_line_skip(fmp_line *line, const char *prefix)
{
    const size_t n = strlen(prefix);

    if (line->len < n || memcmp(line->at, prefix, n))
        return false;
    line->at += n;
    line->len -= n;
    return true;
}

/* libsodium 1.0.18 reads some bytes above 0x7f as digits, so that the alphabet is checked here. */
static bool is_base64(const fmp_line *line)
{
    for (size_t i = 0; i < line->len; i++) {
        const char c = line->at[i];

        if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
            c != '+' && c != '/' && c != '=')
            return false;
    }
    return true;
}

bool fmp_line_base64(const fmp_line *line, void *buf, size_t cap, size_t *ret_len)
{
    const char *end = NULL;

    return is_base64(line) &&
           sodium_base642bin(buf, cap, line->at, line->len, NULL, ret_len, &end,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           end == line->at + line->len;
}

/* The three marks that Unicode counts as controls of direction, beside those that base knows. */
static bool is_mark(uint32_t cp)
{
    return cp == 0x061c || cp == 0x200e || cp == 0x200f;
}

bool fmp_text_is_plain(const char *text, size_t len, bool tab)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t n;

    for (size_t i = 0; i < len; i += n) {
        uint32_t cp = 0;

        n = fmp_utf8_next(s + i, len - i, &cp);
        if (n == 0 || is_mark(cp) || (!fmp_utf8_is_clean(cp) && !(tab && cp == '\t')))
            return false;
    }
    return true;
}
