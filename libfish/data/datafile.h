/*
 * A file of data held open: read at any place by any thread, decompressed first when it is gzip.
 */
#ifndef FISH_DATAFILE_H
#define FISH_DATAFILE_H

#include <sodium.h>
#include <stdint.h>

#include "fmpatch.h"

typedef struct fish_datafile {
    char *path;
    const char *name; /* the last part of path */
    int fd;
    bool open;
    uint64_t size;           /* of the content */
    uint64_t stored;         /* bytes on disk: the same unless gzip */
    unsigned char *inflated; /* the content of a gzip file; NULL: read from the file */
} fish_datafile;

/* A regular file.  unzip: a gzip file (RFC 1952, one member) is decompressed into memory. */
FMP_NODISCARD fmp_status fish_datafile_open(const char *path, bool unzip, fish_datafile *ret,
                                            fmp_error *err);
void fish_datafile_release(fish_datafile *f); /* takes all zero, leaves it */

/* Bytes off .. off + len - 1 of the content, all of them or FMP_EIO.  Thread-safe. */
FMP_NODISCARD fmp_status fish_datafile_read(const fish_datafile *f, uint64_t off, void *buf,
                                            size_t len, fmp_error *err);

/* Feeds all bytes on disk to a running BLAKE2b. */
FMP_NODISCARD fmp_status fish_datafile_digest(const fish_datafile *f,
                                              crypto_generichash_state *state, fmp_error *err);

#endif
