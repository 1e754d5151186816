/*
 * A patch file being put together: what stands before and behind the payload, for whoever writes
 * patches (fmp_create(), the algebra).  Not installed.
 */
#ifndef FMP_ASSEMBLE_H
#define FMP_ASSEMBLE_H

#include "base/store.h"
#include "encode.h"

/* What a patch consists of; borrowed. */
typedef struct fmp_parts {
    fmp_table *table;
    const fmp_layout *layout;
    fmp_payload *payload;
    const fmp_create_options *o;
} fmp_parts;

/* Copies what the caller's struct has of the options and puts defaults for what is 0. */
fmp_create_options fmp_create_options_or_default(const fmp_create_options *options);
/* How many threads these options mean: two where nothing is said, for each takes up to 16 MiB. */
unsigned fmp_create_threads(const fmp_create_options *o);

/* Makes room for prefix and signatures before the payload, which begins at payload->start. */
fmp_status fmp_parts_begin(const fmp_parts *parts, fmp_out *out, fmp_error *err);

/*
 * Puts the digests into the order of the file: those of the base, row by row, stand there already;
 * found[i] is that of the target's row found_row[i], in any order.  Rows that are unchanged or an
 * alias take theirs from their source.
 */
typedef struct fmp_found_digest {
    uint32_t row;
    fmp_digest digest;
} fmp_found_digest;

fmp_status fmp_parts_place_digests(const fmp_parts *parts, fmp_found_digest *found, uint32_t n,
                                   fmp_error *err);

/* Writes everything else and signs.  The caller commits the file. */
fmp_status fmp_parts_finish(const fmp_parts *parts, const char *manifest, fmp_error *err);

/* ---- the manifest: manifest.c -----------------------------------------------------------------
 */

/* Where the description of a side comes from: the tables alone; with a store, whose files' SHA-256
 * are put in; or the manifest of a patch whose side it is. */
typedef struct fmp_manifest_side {
    const fmp_store *sha256_of;
    char (*sha256)[65]; /* of its weights files, where they are known already; else NULL */
    const char *manifest;
    const char *side; /* "base" or "target" of that manifest */
} fmp_manifest_side;

/* The manifest, canonical JSON, freed with fmp_free(). */
fmp_status fmp_manifest_make(const fmp_parts *parts, const fmp_manifest_side side[2], char **ret,
                             fmp_error *err);
/* Checks the user's part before any work is done. */
fmp_status fmp_manifest_check_extra(const char *json, fmp_error *err);
/* The user's part (may be NULL) with a kind in it, canonical, freed with fmp_free().  FMP_EUSAGE
 * when it names another kind. */
fmp_status fmp_manifest_with_kind(const char *json, const char *kind, char **ret, fmp_error *err);
/* The user's part (may be NULL) with the operation that made the patch, and with what it was made
 * of: id, kind, roots, lineage and signers of each parent.  `keep` (may be NULL) is the manifest
 * whose task, metrics, lineage and the like go on to be true.  Freed with fmp_free(). */
fmp_status fmp_manifest_derived(const char *json, const char *operation, const char *keep,
                                const fmp_patch *const *parents, size_t n_parents, char **ret,
                                fmp_error *err);
/* The kind that a checked manifest names, into `kind` (cut to `cap`, NUL-terminated). */
fmp_status fmp_manifest_kind(const char *text, char *kind, size_t cap, fmp_error *err);
/* The profile that a checked manifest names. */
fmp_status fmp_manifest_profile(const char *text, fmp_profile *ret, fmp_error *err);
const char *fmp_profile_name(fmp_profile profile);
/* The manifest of a patch coded anew: that of the patch with another profile and tool.  Canonical,
 * freed with fmp_free(). */
fmp_status fmp_manifest_recoded(const char *text, fmp_profile profile, char **ret, fmp_error *err);
/* Checks a manifest read from a patch: canonical, asks for nothing unknown, and its roots (base
 * root and shape root, target root and shape root; NULL: not yet known) are those of the tables. */
fmp_status fmp_manifest_check(const char *text, size_t len, const fmp_digest *roots,
                              const char *path, fmp_error *err);

#endif
