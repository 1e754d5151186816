/*
 * A file that appears whole or not at all: written to a temporary beside its name, synced, renamed.
 */
#ifndef FISH_OUTFILE_H
#define FISH_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "fmpatch.h"

typedef struct fish_outfile fish_outfile;

/* replace false: an existing file at `path` is FMP_EUSAGE, now and at commit. */
FMP_NODISCARD fmp_status fish_outfile_new(const char *path, bool replace, fish_outfile **ret,
                                          fmp_error *err);
FMP_NODISCARD fmp_status fish_outfile_write(fish_outfile *f, const void *data, size_t len,
                                            fmp_error *err);
/* Syncs, renames, syncs the directory; frees f, always. */
FMP_NODISCARD fmp_status fish_outfile_commit(fish_outfile *f, fmp_error *err);
void fish_outfile_abort(fish_outfile *f); /* takes NULL; leaves nothing behind */

/* Reads a whole regular file of at most `max` bytes; *ret is NUL-terminated, to fish_free(). */
FMP_NODISCARD fmp_status fish_slurp(const char *path, size_t max, char **ret, size_t *ret_len,
                                    fmp_error *err);

#endif
