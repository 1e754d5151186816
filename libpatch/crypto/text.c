/*
 * Lines, base64 and harmless text.  See text.h.
 */
#include "crypto/text.h"

#include <string.h>

#include <sodium.h>

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

bool fmp_line_base64(const fmp_line *line, void *buf, size_t cap, size_t *ret_len)
{
    const char *end = NULL;

    return sodium_base642bin(buf, cap, line->at, line->len, NULL, ret_len, &end,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           end == line->at + line->len;
}

/* Decodes one character of at most `len` bytes; 0 when it is not UTF-8. */
static size_t decode_utf8(const uint8_t *s, size_t len, uint32_t *ret)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);

    if (n == 0 || n > len || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret = c;
    return n;
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f);
}

static bool is_bidi(uint32_t c)
{
    return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

bool fmp_text_is_plain(const char *text, size_t len, bool tab)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t n;

    for (size_t i = 0; i < len; i += n) {
        uint32_t c = 0;

        n = decode_utf8(s + i, len - i, &c);
        if (n == 0 || is_bidi(c) || (is_control(c) && !(tab && c == '\t')))
            return false;
    }
    return true;
}
