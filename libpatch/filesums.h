/*
 * SHA-256 of a store's weights files from bytes that are read anyway: whoever reads tensors hands
 * them on, in the order of the files as far as that is theirs; what nobody hands on, such as
 * headers, is read here.  Not installed.
 */
#ifndef FMP_FILESUMS_H
#define FMP_FILESUMS_H

#include "base/sha256.h"
#include "base/store.h"

/* All zero: nothing is summed. */
typedef struct fmp_filesums {
    const fmp_store *store;
    char (*hex)[65]; /* of each weights file; filled by fmp_filesums_end() at the latest */
    fmp_sha256 *sha; /* of `file`, up to byte `at` */
    uint32_t file;
    uint64_t at;
    uint8_t *piece; /* for what is read here */
} fmp_filesums;

/* Sums the files of a store; nothing of one that has no files of its own. */
fmp_status fmp_filesums_begin(fmp_filesums *s, const fmp_store *store, fmp_error *err);
void fmp_filesums_release(fmp_filesums *s);
/* Bytes of a tensor from `off` on; those that have been summed already are passed over. */
fmp_status fmp_filesums_add(fmp_filesums *s, uint32_t tensor, uint64_t off, const uint8_t *data,
                            size_t len, fmp_error *err);
/* Reads what is left. */
fmp_status fmp_filesums_end(fmp_filesums *s, fmp_error *err);

#endif
