/*
 * Making one side of a patch from the other, tensor by tensor: what apply, revert and verify share.
 * Not installed.
 */
#ifndef FMP_REBUILD_H
#define FMP_REBUILD_H

#include "base/pool.h"
#include "base/store.h"
#include "decode.h"
#include "regions.h"

/* Where the weights of the result go. */
typedef struct fmp_rebuild_file {
    const char *name;
    const fmp_store_driver *driver;
    uint64_t header_len;
    uint32_t first, n_tensors; /* of fmp_rebuild.order */
    fmp_out out;
} fmp_rebuild_file;

typedef struct fmp_rebuild_slot {
    fmp_decoder dec;
    uint8_t *buf;          /* a leaf of the result */
    fmp_digest in, result; /* of the leaf: of what was read, and of what came out */
} fmp_rebuild_slot;

typedef struct fmp_rebuild {
    const fmp_patch *p;
    const fmp_store *in;
    bool backward;
    bool write; /* else everything is checked and nothing written */
    fmp_progress progress;
    unsigned n_threads;
    fmp_rebuild_slot slot[FMP_POOL_MAX_THREADS];
    uint32_t *in_of; /* row -> tensor of `in`, or FMP_NONE */
    uint32_t *order; /* rows of the result, file by file */
    uint32_t n_order;
    uint64_t *place;   /* of order[i], in its file */
    uint32_t *file_of; /* of order[i] */
    fmp_rebuild_file *files;
    uint32_t n_files;
    uint8_t *hashed;   /* a bit for each row: its input is hashed while the result is made */
    uint32_t *primary; /* row of the input -> place in order that hashes it */
    fmp_regions regions;
    uint32_t at;    /* first place of the current group of files */
    uint32_t *rest; /* rows of the input that are hashed on their own */
    uint32_t n_rest;
    fmp_merkle in_merkle, result_merkle;
    _Atomic uint64_t done; /* read by who polls */
    uint64_t total;
} fmp_rebuild;

/* Equal dtype and shape. */
bool fmp_same_shape(fmp_tensor_info a, fmp_tensor_info b);

fmp_status fmp_rebuild_init(fmp_rebuild *r, const fmp_patch *p, const fmp_store *in, bool backward,
                            unsigned n_threads, fmp_progress progress, fmp_error *err);
void fmp_rebuild_release(fmp_rebuild *r);

/* The input's tensors are the patch's, by name, dtype and shape; content is not looked at. */
fmp_status fmp_rebuild_check_shapes(fmp_rebuild *r, fmp_error *err);
/* Makes and writes the tensors of files [first, first + n), checking input and result. */
fmp_status fmp_rebuild_tensors(fmp_rebuild *r, uint32_t first, uint32_t n, fmp_error *err);
/* Checks the rest of the input: with no files made, all of it. */
fmp_status fmp_rebuild_check_rest(fmp_rebuild *r, fmp_error *err);

#endif
