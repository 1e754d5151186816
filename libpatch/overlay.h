/*
 * What the writers of patches and masks share: both lay selected elements over a store whose arrays
 * are their own.
 */
#ifndef FMP_OVERLAY_H
#define FMP_OVERLAY_H

#include <stdint.h>

#include "base/alloc.h"
#include "base/store.h"

/* The place of the first of n ascending indices that is not below `element`; n when all are. */
static inline uint64_t fmp_first_not_below(const uint64_t *idx, uint64_t n, uint64_t element)
{
    uint64_t low = 0;
    uint64_t high = n;

    while (low < high) {
        const uint64_t mid = low + (high - low) / 2;

        if (idx[mid] < element)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Frees the arrays of a store that was made in memory. */
static inline void fmp_overlay_release(struct fmp_store *s)
{
    fmp_free(s->files);
    fmp_free(s->tensors);
    fmp_free(s->by_name);
    fmp_free(s->names);
    fmp_free(s->shapes);
    fmp_free(s->dims);
}

/* What a writer lays over each piece of a base tensor that is read, in place of fmp_writer_set().
 */
typedef fmp_status (*fmp_change_fn)(void *ctx, uint32_t tensor, uint64_t off, uint8_t *buf,
                                    size_t len, fmp_error *err);
void fmp_writer_on_read(fmp_writer *w, fmp_change_fn change, void *ctx);
/* The base must have this root, else nothing is written: FMP_EBASE. */
void fmp_writer_expect(fmp_writer *w, const fmp_patch *of);

#endif
