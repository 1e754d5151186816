/*
 * A patch being written, shared by the passes of fmp_create().  Not installed.
 */
#ifndef FMP_CREATE_H
#define FMP_CREATE_H

#include "assemble.h"
#include "base/pool.h"
#include "base/store.h"
#include "container/sections.h"
#include "encode.h"
#include "filesums.h"
#include "match.h"
#include "regions.h"

typedef struct fmp_create_slot {
    fmp_encoder enc;
    uint8_t *base, *target;  /* a leaf each */
    fmp_digest *base_digest; /* of the region's tensors: FMP_BATCH_MAX */
    fmp_digest *target_digest;
    bool *differs;
} fmp_create_slot;

typedef struct fmp_creation {
    const fmp_store *base, *target;
    const fmp_patch *of; /* whose base it must be, or NULL */
    fmp_create_options o;
    fmp_match m;
    fmp_layout layout;
    fmp_payload payload;
    fmp_create_slot slot[FMP_POOL_MAX_THREADS];
    unsigned n_threads;
    fmp_regions regions;
    uint32_t *primary;   /* base tensor -> target tensor that it is hashed with, or FMP_NONE */
    uint32_t *base_only; /* base tensors that no target tensor covers */
    uint32_t n_base_only;
    fmp_found_digest *found; /* target digests as they become known, in file order */
    uint32_t n_found, cap_found;
    fmp_merkle base_merkle, target_merkle; /* of the tensor in progress */
    bool changed, has_set;                 /* of it */
    fmp_block_params raw_params;           /* of the tensor of a raw store */
    fmp_filesums sums[2];                  /* base, target; where SHA-256 is asked for */
    _Atomic uint64_t done;                 /* bytes read; seen by who polls */
    uint64_t total;
} fmp_creation;

/* With base, target, options and n_threads set: everything up to the first pass. */
fmp_status fmp_creation_prepare(fmp_creation *c, fmp_error *err);
void fmp_creation_release(fmp_creation *c); /* takes one that is all zero, or half prepared */

/* The coding unit of a tensor. */
fmp_block_params fmp_creation_params(const fmp_creation *c, const fmp_store *s, uint32_t tensor);

/* For a raw pair: the unit that codes samples of the change best. */
fmp_status fmp_creation_try_widths(fmp_creation *c, fmp_error *err);

/* The passes, in the order of the payload. */
fmp_status fmp_creation_tensors(fmp_creation *c, fmp_error *err);
fmp_status fmp_creation_files(fmp_creation *c, fmp_error *err);     /* headers, side files */
fmp_status fmp_creation_base_only(fmp_creation *c, fmp_error *err); /* digests, old content */
fmp_status fmp_creation_old_files(fmp_creation *c, fmp_error *err);

/* Files, order and side files of both sides. */
fmp_status fmp_creation_layout(fmp_creation *c, fmp_error *err);

/* fmp_create(); with `of`, the base must be that of this patch, else nothing is written and the
 * first tensor that differs is named: FMP_EBASE. */
fmp_status fmp_create_of(const fmp_store *base, const fmp_store *target, const char *path,
                         const fmp_create_options *options, const fmp_patch *of,
                         fmp_create_result *ret, fmp_error *err);

#endif
