/*
 * A growing byte string with a hard cap, for everything that is built in memory before it is
 * written. Errors are sticky: after a failed append `bad` is set and later appends do nothing, so
 * that a builder checks once, at the end.
 */
#ifndef FMP_BASE_BUF_H
#define FMP_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fmp_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; /* 0: no cap but memory */
    bool bad;
} fmp_buf;

void fmp_buf_release(fmp_buf *b);
/* Keeps the memory, forgets the content and any error. */
void fmp_buf_clear(fmp_buf *b);
/* Room for `more` bytes at the end, which the caller may write and then own by raising b->len.
 * NULL, with b->bad set, when there is none. */
uint8_t *fmp_buf_reserve(fmp_buf *b, size_t more);
void fmp_buf_put(fmp_buf *b, const void *data, size_t len);
void fmp_buf_put_str(fmp_buf *b, const char *s);
void fmp_buf_put_le(fmp_buf *b, uint64_t value, unsigned n_bytes);
/* LEB128, shortest form. */
void fmp_buf_put_varint(fmp_buf *b, uint64_t value);

#endif
