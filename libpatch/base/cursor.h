/*
 * Reading bytes from outside: every read is checked against what is left, and a read past the end
 * makes the cursor bad for good, so that a parser checks once a record.  All integers
 * little-endian.
 */
#ifndef FMP_BASE_CURSOR_H
#define FMP_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fmp_cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
} fmp_cursor;

static inline fmp_cursor fmp_cur(const void *data, size_t len)
{
    const uint8_t *p = data;

    return (fmp_cursor){.at = p, .end = len ? p + len : p};
}

static inline size_t fmp_cur_left(const fmp_cursor *c)
{
    return c->bad ? 0 : (size_t)(c->end - c->at);
}

/* True when `n` records of at least `size` bytes can still follow: ask before allocating for them.
 */
static inline bool fmp_cur_fits(const fmp_cursor *c, uint64_t n, size_t size)
{
    return !c->bad && n <= fmp_cur_left(c) / size;
}

static inline const uint8_t *fmp_cur_take(fmp_cursor *c, size_t n)
{
    const uint8_t *p = c->at;

    if (c->bad || n > fmp_cur_left(c)) {
        c->bad = true; /* for good: later reads yield 0, one check ends the record */
        return NULL;
    }
    c->at += n;
    return p;
}

static inline uint64_t fmp_cur_le(fmp_cursor *c, unsigned n_bytes)
{
    const uint8_t *p = fmp_cur_take(c, n_bytes);
    uint64_t v = 0;

    if (p)
        for (unsigned i = 0; i < n_bytes; i++)
            v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* LEB128 of at most 10 bytes; a longer form than needed, or more than 64 bits, makes the cursor
 * bad. */
static inline uint64_t fmp_cur_varint(fmp_cursor *c)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        const uint8_t *p = fmp_cur_take(c, 1);

        if (!p)
            return 0;
        if (shift == 63 && *p > 1)
            break;
        v |= (uint64_t)(*p & 0x7f) << shift;
        if (!(*p & 0x80)) {
            if (*p == 0 && shift)
                break;
            return v;
        }
    }
    c->bad = true;
    return 0;
}

#endif
