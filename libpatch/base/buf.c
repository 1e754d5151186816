/*
 * A growing byte string.  See buf.h.
 */
#include "base/buf.h"

#include <string.h>

#include "base/alloc.h"

void fmp_buf_release(fmp_buf *b)
{
    fmp_free(b->data);
    *b = (fmp_buf){.max = b->max};
}

void fmp_buf_clear(fmp_buf *b)
{
    b->len = 0;
    b->bad = false;
}

uint8_t *fmp_buf_reserve(fmp_buf *b, size_t more)
{
    const size_t max = b->max ? b->max : SIZE_MAX / 2;
    size_t cap = b->cap ? b->cap : 64;
    uint8_t *data;

    if (b->bad || more > max || b->len > max - more) {
        b->bad = true;
        return NULL;
    }
    if (b->data && b->len + more <= b->cap)
        return b->data + b->len;
    while (cap < b->len + more)
        cap += cap / 2;
    data = fmp_realloc(b->data, cap, 1);
    if (!data) {
        b->bad = true;
        return NULL;
    }
    b->data = data;
    b->cap = cap;
    return b->data + b->len;
}

void fmp_buf_put(fmp_buf *b, const void *data, size_t len)
{
    uint8_t *at = fmp_buf_reserve(b, len);

    if (!at || !len)
        return;
    memcpy(at, data, len);
    b->len += len;
}

void fmp_buf_put_str(fmp_buf *b, const char *s)
{
    fmp_buf_put(b, s, strlen(s));
}

void fmp_buf_put_le(fmp_buf *b, uint64_t value, unsigned n_bytes)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < n_bytes; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    fmp_buf_put(b, bytes, n_bytes);
}

void fmp_buf_put_varint(fmp_buf *b, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;

    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    fmp_buf_put(b, bytes, n);
}
