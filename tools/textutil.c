/*
 * Small things done to text: strict numbers, numbers for people, and foreign names made harmless.
 * Must not know of options, patches or streams other than standard error.
 */
#include "textutil.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *alloc_checked(void *p)
{
    if (!p) {
        fputs("fmpatch: out of memory\n", stderr);
        exit(5);
    }
    return p;
}

void *text_alloc(size_t size)
{
    return alloc_checked(calloc(1, size ? size : 1));
}

void *text_realloc(void *p, size_t size)
{
    return alloc_checked(realloc(p, size ? size : 1));
}

char *text_copy(const char *s)
{
    return alloc_checked(strdup(s));
}

char *text_format(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        s = NULL;
    va_end(ap);
    return alloc_checked(s);
}

bool text_number(const char *s, uint64_t *ret)
{
    char *end;
    unsigned long long n;

    if (*s < '0' || *s > '9') /* strtoull() takes spaces and signs */
        return false;
    errno = 0;
    n = strtoull(s, &end, 10);
    if (errno || *end)
        return false;
    *ret = n;
    return true;
}

size_t text_utf8(const char *s, size_t len, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *u = (const unsigned char *)s;
    size_t n;
    uint32_t c;

    if (!len)
        return 0;
    if (u[0] < 0x80) {
        *ret = u[0];
        return 1;
    }
    n = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    if (u[0] < 0xc2 || u[0] > 0xf4 || n > len)
        return 0;
    c = u[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (u[i] & 0x3fU);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret = c;
    return n;
}

bool text_is_harmful(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff ||
           (c >= 0xe0000 && c <= 0xe007f);
}

char *text_escape(const char *s, size_t len)
{
    char *out = text_alloc(len * 10 + 1); /* the longest escape of one byte: \u{10ffff} */
    size_t at = 0;

    for (size_t i = 0; i < len;) {
        uint32_t c = 0;
        const size_t n = text_utf8(s + i, len - i, &c);

        if (!n)
            at += (size_t)snprintf(out + at, 11, "\\x%02x", (unsigned char)s[i]);
        else if (c == '\n' || c == '\t' || c == '\\')
            at += (size_t)snprintf(out + at, 11, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : '\\');
        else if (text_is_harmful(c) && c < 0x80)
            at += (size_t)snprintf(out + at, 11, "\\x%02" PRIx32, c);
        else if (text_is_harmful(c))
            at += (size_t)snprintf(out + at, 11, "\\u{%" PRIx32 "}", c);
        else {
            memcpy(out + at, s + i, n);
            at += n;
        }
        i += n ? n : 1;
    }
    out[at] = '\0';
    return out;
}

size_t text_columns(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void text_group(uint64_t n, char out[TEXT_NUMBER_LEN])
{
    char digits[24];
    const size_t len = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, n);
    size_t at = 0;

    for (size_t i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

void text_bytes(uint64_t n, char out[TEXT_NUMBER_LEN])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)n / 1000;
    size_t u = 0;

    if (n < 1000) {
        snprintf(out, TEXT_NUMBER_LEN, "%" PRIu64 " bytes", n);
        return;
    }
    for (; v >= 999.5 && u < 5; u++)
        v /= 1000;
    snprintf(out, TEXT_NUMBER_LEN, "%.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, units[u]);
}

void text_percent(uint64_t part, uint64_t whole, char out[TEXT_NUMBER_LEN])
{
    const double v = whole ? 100.0 * (double)part / (double)whole : 0;

    if (!part || !whole)
        snprintf(out, TEXT_NUMBER_LEN, "0%%");
    else if (v < 0.01)
        snprintf(out, TEXT_NUMBER_LEN, "<0.01%%");
    else if (part < whole && v >= 99.995)
        snprintf(out, TEXT_NUMBER_LEN, "99.99%%");
    else
        snprintf(out, TEXT_NUMBER_LEN, "%.*f%%", part == whole ? 0 : 2, v);
}

void text_hex(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = '\0';
}

void text_key_number(const uint8_t number[8], char out[17])
{
    uint64_t v = 0;

    for (size_t i = 8; i-- > 0;)
        v = v << 8 | number[i];
    snprintf(out, 17, "%016" PRIX64, v);
}
