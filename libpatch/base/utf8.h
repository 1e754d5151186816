/*
 * One well-formed UTF-8 sequence at a time, for whoever checks text from outside.
 */
#ifndef FMP_BASE_UTF8_H
#define FMP_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the sequence at `s` (of `left` bytes), its code point in *ret; 0 when it is cut short,
 * not the shortest form, a surrogate, or past U+10FFFF. */
static inline size_t fmp_utf8_next(const uint8_t *s, size_t left, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t cp;
    size_t n;

    if (!left)
        return 0;
    if (s[0] < 0x80) {
        *ret = s[0];
        return 1;
    }
    n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > left)
        return 0;
    cp = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        cp = cp << 6 | (s[i] & 0x3f);
    }
    if (cp < least[n] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
        return 0;
    *ret = cp;
    return n;
}

/* Neither a control character (C0, DEL, C1) nor one that turns the direction of text around. */
static inline bool fmp_utf8_is_clean(uint32_t cp)
{
    if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
        return false;
    return !(cp >= 0x202a && cp <= 0x202e) && !(cp >= 0x2066 && cp <= 0x2069);
}

#endif
