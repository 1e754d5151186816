/*
 * Items of work.  See regions.h.
 */
#include "regions.h"

#include "base/alloc.h"
#include "base/digest.h"
#include "base/status.h"

static fmp_region_run *add_run(fmp_regions *r)
{
    if (r->n_runs == r->cap) {
        const uint32_t cap = r->cap ? r->cap * 2 : 64;
        fmp_region_run *run = fmp_realloc(r->run, cap, sizeof *run);

        if (!run)
            return NULL;
        r->run = run;
        r->cap = cap;
    }
    r->run[r->n_runs] = (fmp_region_run){.first_item = r->n_items};
    return &r->run[r->n_runs++];
}

fmp_status fmp_regions_build(fmp_regions *r, fmp_size_fn size, const void *ctx, uint32_t n_tensors,
                             fmp_error *err)
{
    *r = (fmp_regions){0};
    for (uint32_t i = 0; i < n_tensors;) {
        fmp_region_run *run = add_run(r);

        if (!run) {
            fmp_regions_release(r);
            return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
        }
        run->first = i;
        run->n = 1;
        run->n_bytes = size(ctx, i++);
        while (i < n_tensors && run->n < FMP_BATCH_MAX && run->n_bytes <= FMP_LEAF_LEN &&
               size(ctx, i) <= FMP_LEAF_LEN - run->n_bytes) {
            run->n_bytes += size(ctx, i++);
            run->n++;
        }
        r->n_items +=
            run->n_bytes > FMP_LEAF_LEN ? (run->n_bytes + FMP_LEAF_LEN - 1) / FMP_LEAF_LEN : 1;
    }
    return FMP_OK;
}

fmp_region fmp_regions_at(const fmp_regions *r, uint64_t item)
{
    uint32_t low = 0;
    uint32_t high = r->n_runs - 1;
    const fmp_region_run *run;
    uint64_t off;

    while (low < high) { /* the last run that begins at or before the item */
        const uint32_t mid = high - (high - low) / 2;

        if (r->run[mid].first_item <= item)
            low = mid;
        else
            high = mid - 1;
    }
    run = &r->run[low];
    off = (item - run->first_item) * FMP_LEAF_LEN;
    return (fmp_region){
        .first = run->first,
        .n = run->n,
        .off = off,
        .len = (uint32_t)(run->n_bytes - off < FMP_LEAF_LEN ? run->n_bytes - off : FMP_LEAF_LEN)};
}

void fmp_regions_release(fmp_regions *r)
{
    fmp_free(r->run);
    *r = (fmp_regions){0};
}
