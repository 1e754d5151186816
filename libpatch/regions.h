/*
 * How the tensors of one side are cut into items of work: pieces of a large tensor that are one
 * leaf of its digest, and batches of small tensors.  Depends on sizes only, never on threads or
 * content.
 */
#ifndef FMP_REGIONS_H
#define FMP_REGIONS_H

#include <stdint.h>

#include "fmpatch.h"

#define FMP_BATCH_MAX 1024u /* tensors in one batch */

/* Bytes [off, off + len) of tensor `first` or, when n is not 1, all of tensors first .. first+n-1.
 */
typedef struct fmp_region {
    uint32_t first, n;
    uint64_t off;
    uint32_t len; /* bytes in all */
} fmp_region;

typedef struct fmp_region_run {
    uint32_t first, n; /* a batch, or one tensor of several leaves */
    uint64_t first_item;
    uint64_t n_bytes;
} fmp_region_run;

typedef struct fmp_regions {
    fmp_region_run *run;
    uint32_t n_runs, cap;
    uint64_t n_items;
} fmp_regions;

typedef uint64_t (*fmp_size_fn)(const void *ctx, uint32_t i);

fmp_status fmp_regions_build(fmp_regions *r, fmp_size_fn size, const void *ctx, uint32_t n_tensors,
                             fmp_error *err);
fmp_region fmp_regions_at(const fmp_regions *r, uint64_t item);
void fmp_regions_release(fmp_regions *r);

#endif
