/*
 * Columns of numbers that go up in steps: written as runs of (first, step, count).  FORMAT.md,
 * "Runs". A constant column is one run with step 0, an enumeration one with step 1.
 */
#ifndef FMP_CONTAINER_RUNS_H
#define FMP_CONTAINER_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cursor.h"

typedef struct fmp_run_writer {
    fmp_buf *out;
    uint64_t first, step, last; /* modulo 2^64 */
    uint64_t before;            /* last number of the run before */
    uint64_t n;
} fmp_run_writer;

static inline fmp_run_writer fmp_run_writer_init(fmp_buf *out)
{
    return (fmp_run_writer){.out = out};
}

static inline uint64_t fmp_run_zigzag(uint64_t d)
{
    return (d << 1) ^ (0 - (d >> 63));
}

static inline uint64_t fmp_run_unzigzag(uint64_t z)
{
    return (z >> 1) ^ (0 - (z & 1));
}

/* count, first - last of the run before, and the step where there is more than one. */
static inline void fmp_run_flush(fmp_run_writer *w)
{
    if (!w->n)
        return;
    fmp_buf_put_varint(w->out, w->n);
    fmp_buf_put_varint(w->out, fmp_run_zigzag(w->first - w->before));
    if (w->n > 1)
        fmp_buf_put_varint(w->out, fmp_run_zigzag(w->step));
    w->before = w->last;
    w->n = 0;
}

static inline void fmp_run_put(fmp_run_writer *w, uint64_t v)
{
    if (w->n == 1)
        w->step = v - w->last;
    if (w->n && v - w->last != w->step)
        fmp_run_flush(w);
    if (!w->n)
        w->first = v;
    w->last = v;
    w->n++;
}

typedef struct fmp_run_reader {
    fmp_cursor *c;
    uint64_t next, step;
    uint64_t left; /* of the current run */
    uint64_t before;
    bool bad;
} fmp_run_reader;

static inline fmp_run_reader fmp_run_reader_init(fmp_cursor *c)
{
    return (fmp_run_reader){.c = c};
}

/* The next number; a read past the end or an empty run sets `bad`. */
static inline uint64_t fmp_run_take(fmp_run_reader *r)
{
    uint64_t v;

    if (!r->left) {
        r->left = fmp_cur_varint(r->c);
        r->next = r->before + fmp_run_unzigzag(fmp_cur_varint(r->c));
        r->step = r->left > 1 ? fmp_run_unzigzag(fmp_cur_varint(r->c)) : 0;
        if (r->c->bad || !r->left) {
            r->bad = true;
            r->left = 0;
            return 0;
        }
    }
    v = r->next;
    r->before = v;
    r->next += r->step;
    r->left--;
    return v;
}

/* True when the last run is used up. */
static inline bool fmp_run_at_end(const fmp_run_reader *r)
{
    return !r->bad && r->left == 0;
}

#endif
