/*
 * Which target tensor comes from which base tensor: by name, by --rename, by content, by a known
 * prefix; and which target tensors are copies of another.  FORMAT.md, "Tensor table".
 */
#ifndef FMP_MATCH_H
#define FMP_MATCH_H

#include "base/store.h"
#include "container/table.h"

typedef struct fmp_match {
    fmp_table table;   /* rows with names, shapes, states and maps; digests: room for the base's */
    uint32_t *base_of; /* row -> tensor of the base store, or FMP_NONE */
    uint32_t *target_of; /* row -> tensor of the target store, or FMP_NONE */
    uint32_t *base_row;  /* and back */
    uint32_t *target_row;
} fmp_match;

/* State of a pair that may turn out equal: FMP_RESIDUAL; what stays so is the caller's to find. */
fmp_status fmp_match_stores(const fmp_store *base, const fmp_store *target,
                            const fmp_create_options *options, fmp_match *ret, fmp_error *err);
void fmp_match_release(fmp_match *m);

#endif
