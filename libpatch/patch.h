/*
 * What an opened patch holds, for the verbs.  Not installed.
 */
#ifndef FMP_PATCH_H
#define FMP_PATCH_H

#include <string.h>

#include "base/file.h"
#include "container/sections.h"
#include "container/table.h"
#include "crypto/sigblock.h"

/* What fmp_patch_scan() learns of a row. */
typedef struct fmp_row_scan {
    uint64_t n_changed, n_up, n_down, max_residual, stored;
    bool hidden; /* residuals are coded given the base, in part at least */
} fmp_row_scan;

struct fmp_patch {
    fmp_file file;
    fmp_limits limits;
    fmp_prefix prefix;
    uint64_t body, payload; /* file offsets */
    fmp_sigblock signatures;
    char *manifest;
    fmp_table table;
    fmp_frames frames;
    fmp_buf frame_digests;
    fmp_layout layout;
    uint32_t *target_pos, *base_pos; /* row -> place in the side's file order, or FMP_NONE */
    uint32_t *target_of;             /* row of a base tensor -> row that it can be had back from */
    fmp_patch_summary summary;
    char stuck[300]; /* why it is not reversible; empty when it is */
    fmp_row_scan *scan;
    bool is_mask;
};

/* FMP_EPOLICY when what the patch changes cannot be read without its base. */
fmp_status fmp_patch_check_open(const fmp_patch *p, fmp_error *err);

/* The limits with every 0 replaced by its default. */
fmp_limits fmp_limits_or_default(const fmp_limits *limits);

/* Roots over the rows of a table, base (side 0) or target (1). */
void fmp_table_roots(const fmp_table *t, bool target, fmp_digest *ret_root,
                     fmp_digest *ret_shape_root);

/* From which target row the tensor of each base row can be had back by residuals, or FMP_NONE:
 * FORMAT.md, "What can be undone", 1 and 2.  `way` has room for every row. */
void fmp_table_ways_back(const fmp_table *t, uint32_t *way);

/* Sets is_mask, once everything else is known.  mask.c. */
fmp_status fmp_patch_recognize_mask(fmp_patch *p, fmp_error *err);

/* Whether frames of the domain cover all `n_bytes` of the object (old content is stored whole). */
bool fmp_patch_has_object(const fmp_patch *p, unsigned domain, uint32_t object, uint64_t n_bytes);

/* A side file that says in which weights file each tensor lies: true only of the files that it was
 * made for. */
static inline bool fmp_is_index(const char *name)
{
    static const char end[] = ".safetensors.index.json";
    const size_t len = strlen(name);

    return len >= sizeof end - 1 && strcmp(name + len - (sizeof end - 1), end) == 0;
}

#endif
