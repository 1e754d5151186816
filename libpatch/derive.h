/*
 * A patch made of patches, without a base: the pass that invert, squash and subset share.  An
 * operation says what the new tables are and, for every object of the new patch, through which
 * objects of the old ones it goes; the pass adds up and writes.  Not installed.
 */
#ifndef FMP_DERIVE_H
#define FMP_DERIVE_H

#include "assemble.h"
#include "base/pool.h"
#include "change.h"
#include "decode.h"
#include "regions.h"

/* An object of a patch that takes part: byte x of the result, where x is below `limit`, is byte x +
 * shift of it. */
typedef struct fmp_stage {
    uint32_t patch;
    uint32_t object;
    uint8_t domain;
    uint8_t direction;
    uint64_t shift;
    uint64_t limit;
} fmp_stage;

/* The stages that make an object, in the order in which they work; and what it begins as. */
typedef struct fmp_trace {
    fmp_stage *stage; /* room for one a patch and one more */
    uint32_t n;
    uint64_t mapped; /* so many bytes begin as the base's */
    uint32_t source; /* row of the base in the new patch, where mapped is not 0 */
    uint64_t base_off;
} fmp_trace;

typedef struct fmp_derive_slot {
    fmp_encoder enc;
    fmp_decoder *dec; /* one for each patch */
    fmp_change change;
    fmp_trace trace;
} fmp_derive_slot;

typedef struct fmp_derivation fmp_derivation;

/* How object number `object` of a domain of the new patch is made; no stage: it does not change, or
 * cannot be had.  Thread-safe. */
typedef void (*fmp_trace_fn)(const fmp_derivation *d, unsigned domain, uint32_t object,
                             fmp_trace *ret);

struct fmp_derivation {
    const fmp_patch *const *patches; /* in the order in which they work */
    uint32_t n_patches;
    fmp_create_options o;
    unsigned n_threads;
    fmp_table table;         /* states are settled by the pass */
    fmp_found_digest *found; /* digests of the target, for each of its rows; n of the order */
    fmp_layout layout;
    uint32_t *way; /* ways back, known after the tensors are done */
    fmp_trace_fn trace;
    void *op;
    fmp_payload payload;
    fmp_derive_slot slot[FMP_POOL_MAX_THREADS];
    /* of the domain in progress */
    unsigned domain;
    uint32_t *objects;
    uint32_t n_objects;
    uint8_t *outcome; /* of each object: CHANGED, HAS_SET */
    fmp_regions regions;
    uint64_t done, total; /* stored bytes of the patches */
};

/* Options that make no sense without a base: FMP_EUSAGE. */
fmp_status fmp_derive_check(const fmp_create_options *o, fmp_error *err);
/* All zero before; released by the caller, whatever comes of it. */
fmp_status fmp_derive_init(fmp_derivation *d, const fmp_patch *const *patches, uint32_t n_patches,
                           const fmp_create_options *options, fmp_error *err);
void fmp_derive_release(fmp_derivation *d);

/* What a row (or side file) of an old patch gives to the target of the new one. */
enum { FMP_ROW_NONE = 0, FMP_ROW_BASE = 1, FMP_ROW_TARGET = 2 };

/*
 * Rows for all names that are a tensor of base (of patch `base_of`, its target with
 * `base_is_target`) or of target (likewise; with `which`, that of each row of `target_of`): names,
 * schemas, base digests; states are FMP_UNCHANGED or, where the row has one side only, FMP_ADDED
 * and FMP_REMOVED.  Digests of the target go to `found`.  ret_base and ret_target (room made, freed
 * by the caller): the row there of each new row, or FMP_NONE.
 */
fmp_status fmp_derive_rows(fmp_derivation *d, const fmp_patch *base_of, bool base_is_target,
                           const fmp_patch *target_of, bool target_is_target, const uint8_t *which,
                           uint32_t **ret_base, uint32_t **ret_target, fmp_error *err);
/* Old row -> new row, of the old rows that new rows come from (`from`: new row -> old row, or
 * FMP_NONE); freed by the caller.  NULL: no memory. */
uint32_t *fmp_derive_turn(const uint32_t *from, uint32_t n_new, uint32_t n_old);
/* For each row of `t` that is in the side `target`: the row of that name which is in the side
 * `other_target` of `other`, or FMP_NONE.  Freed by the caller.  NULL: no memory. */
uint32_t *fmp_derive_link(const fmp_table *t, bool target, const fmp_table *other,
                          bool other_target);
/* Side files of the base as `base_of` has them on one side, of the target as `target_of` has them
 * (with `which`, as that says of each). */
fmp_status fmp_derive_side_files(fmp_derivation *d, const fmp_layout *base_of, bool base_is_target,
                                 const fmp_layout *target_of, bool target_is_target,
                                 const uint8_t *which, fmp_error *err);
/* The number of the side file of that name, or FMP_NONE. */
uint32_t fmp_layout_find_side(const fmp_layout *l, const char *name);
/* A side of the new layout like a side of an old one; row_of: old row -> new row. */
fmp_status fmp_derive_side(fmp_layout_side *to, const fmp_layout_side *from, const uint32_t *row_of,
                           fmp_error *err);

/* Writes the patch at `path` and commits it.  `side`: where the manifest takes base and target
 * from. */
fmp_status fmp_derive_write(fmp_derivation *d, const char *path, const char *operation,
                            const char *keep, const fmp_manifest_side side[2],
                            fmp_create_result *ret, fmp_error *err);

#endif
