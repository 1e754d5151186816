/*
 * Who may touch what trust hangs on: owners, modes and links of key files, of keyring directories
 * and of the record of lineages, always asked of the open descriptor that is then read.  With
 * base/, the only place that calls POSIX.
 */
#ifndef FMP_CRYPTO_ACCESS_H
#define FMP_CRYPTO_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/file.h"
#include "fmpatch.h"

/* FMP_EAUTH unless the open file belongs to the caller and nobody else may read or write it. */
fmp_status fmp_access_private(const fmp_file *f, fmp_error *err);

/* An open directory of a keyring or the like.  All zero is closed. */
typedef struct fmp_keydir {
    int fd;
    bool open;
    char *path;       /* for messages */
    const char *what; /* likewise: "a keyring" */
} fmp_keydir;

/*
 * Opens `name`, below `parent` or, with a NULL parent, as the user named it.  `what` (static) is
 * how messages call it.  FMP_EAUTH when it is
 * a link, when group or others may write it, or when it is neither root's nor the caller's.  When
 * there is none: FMP_EIO, or with `ret_missing` FMP_OK and *ret_missing set.
 */
fmp_status fmp_keydir_open(fmp_keydir *d, const fmp_keydir *parent, const char *name,
                           const char *what, bool *ret_missing, fmp_error *err);
void fmp_keydir_close(fmp_keydir *d);

/* The names that end with `suffix` and do not begin with a dot, sorted by bytes. */
fmp_status fmp_keydir_list(const fmp_keydir *d, const char *suffix, char ***ret_names,
                           size_t *ret_n, fmp_error *err);
void fmp_keydir_free_names(char **names, size_t n);

/* A whole file of the directory, under the same rules as the directory itself.  FMP_ECORRUPT when
 * it is longer than `cap`. */
fmp_status fmp_keydir_read(const fmp_keydir *d, const char *name, char *buf, size_t cap,
                           size_t *ret_len, fmp_error *err);

/*
 * Makes the lock file `name` in the directory if there is none, and waits until nobody else holds
 * it.  fmp_keydir_unlock() lets go of it and leaves the file.
 */
fmp_status fmp_keydir_lock(const fmp_keydir *d, const char *name, int *ret_fd, fmp_error *err);
void fmp_keydir_unlock(int fd);

#endif
