/*
 * Looks characters up in the tables that make_unicode.py has written.
 */
#include "data/unicode.h"

#include <stdbool.h>

#include "data/unicode_tables.h"

/* The value of the last step at or before c; the first step is at 0. */
static unsigned step_value(const uint32_t *steps, uint32_t n, uint32_t c)
{
    uint32_t low = 0;

    while (n > 1) {
        const uint32_t half = n / 2;

        if (steps[low + half] >> 8 <= c)
            low += half;
        n -= half;
    }
    return steps[low] & 0xff;
}

unsigned fish_uc_flags(uint32_t c)
{
    if (c < fish_n_uc_low)
        return fish_uc_low[c];
    return step_value(fish_uc_flags_at, fish_n_uc_flags_at, c);
}

unsigned fish_uc_order(uint32_t c)
{
    return step_value(fish_uc_order_at, fish_n_uc_order_at, c);
}

/* Arithmetic of Hangul syllables: The Unicode Standard, section 3.12. */
static unsigned decompose_hangul(uint32_t c, uint32_t parts[FISH_UC_MAX_PARTS])
{
    const uint32_t s = c - 0xac00;

    parts[0] = 0x1100 + s / 588;
    parts[1] = 0x1161 + s % 588 / 28;
    parts[2] = 0x11a7 + s % 28;
    return s % 28 ? 3 : 2;
}

unsigned fish_uc_decompose(uint32_t c, uint32_t parts[FISH_UC_MAX_PARTS])
{
    uint32_t low = 0;
    uint32_t high = fish_n_uc_decomposed;
    unsigned n = 0;

    if (c >= 0xac00 && c <= 0xd7a3)
        return decompose_hangul(c, parts);
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;

        if (fish_uc_decomposed[mid] < c)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == fish_n_uc_decomposed || fish_uc_decomposed[low] != c) {
        parts[0] = c;
        return 1;
    }
    for (uint32_t i = fish_uc_parts_at[low]; i < fish_uc_parts_at[low + 1]; i++)
        parts[n++] = fish_uc_parts[i];
    return n;
}

unsigned fish_uc_lower(uint32_t c, uint32_t lower[2])
{
    uint32_t low = 0;
    uint32_t high = fish_n_uc_cases;
    const fish_uc_case *run;

    lower[0] = c;
    if (c == 0x130) { /* the only one that becomes two: i and a dot above */
        lower[0] = 'i';
        lower[1] = 0x307;
        return 2;
    }
    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;

        if (fish_uc_cases[mid].last < c)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == fish_n_uc_cases)
        return 1;
    run = &fish_uc_cases[low];
    if (c >= run->first && (c - run->first) % run->step == 0)
        lower[0] = (uint32_t)((int32_t)c + run->delta);
    return 1;
}

/* How many bytes follow a first byte, and the range of the second.  Unicode 15, table 3-7. */
static unsigned utf8_tail(unsigned char first, unsigned char *least, unsigned char *most)
{
    *least = 0x80;
    *most = 0xbf;
    if (first >= 0xc2 && first <= 0xdf)
        return 1;
    if (first >= 0xe0 && first <= 0xef) {
        if (first == 0xe0)
            *least = 0xa0;
        if (first == 0xed)
            *most = 0x9f;
        return 2;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        if (first == 0xf0)
            *least = 0x90;
        if (first == 0xf4)
            *most = 0x8f;
        return 3;
    }
    return 0;
}

uint32_t fish_utf8_next(const char **p, const char *end)
{
    const unsigned char first = (unsigned char)*(*p)++;
    unsigned char least;
    unsigned char most;
    unsigned tail;
    uint32_t c;

    if (first < 0x80)
        return first;
    tail = utf8_tail(first, &least, &most);
    if (!tail)
        return FISH_UC_REPLACEMENT;
    c = first & (0x3fu >> tail);
    for (; tail; tail--) {
        const unsigned char byte = *p < end ? (unsigned char)**p : 0;

        if (byte < least || byte > most)
            return FISH_UC_REPLACEMENT;
        c = c << 6 | (byte & 0x3f);
        least = 0x80;
        most = 0xbf;
        (*p)++;
    }
    return c;
}

unsigned fish_utf8_put(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}
