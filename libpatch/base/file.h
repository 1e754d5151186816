/*
 * Files, and nothing above them: checked opening, full reads and writes at an offset, and outputs
 * that appear under their name by rename after fsync or not at all.  POSIX is called from here, and
 * from crypto/access.c, which looks at owners and modes of key files.
 */
#ifndef FMP_BASE_FILE_H
#define FMP_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"

/* An open input.  All zero is closed. */
typedef struct fmp_file {
    int fd;
    bool open;
    uint64_t size; /* when it was opened */
    uint64_t dev, ino;
    int64_t mtime_ns, ctime_ns;
    char *path; /* as the user named it, for messages */
} fmp_file;

/* Opens a regular file for reading (links followed; a FIFO, device or directory is FMP_EIO). */
fmp_status fmp_file_open(fmp_file *f, const char *path, fmp_error *err);
/* Opens `name` (relative, checked by fmp_path_is_safe) below directory `dir`.  Links are followed:
 * hub caches are made of them.  f->path becomes "dir/name". */
fmp_status fmp_file_open_below(fmp_file *f, const char *dir, const char *name, fmp_error *err);
void fmp_file_close(fmp_file *f);
/* All of [off, off + len) or an error; a short file is FMP_EIO ("has shrunk"). */
fmp_status fmp_file_read(const fmp_file *f, uint64_t off, void *buf, size_t len, fmp_error *err);
/* Bytes [off, off + len) are going to be read: the system may fetch them, and this does not wait.
 */
void fmp_file_prefetch(const fmp_file *f, uint64_t off, uint64_t len);
/* FMP_EIO when size, mtime or ctime are not what they were at the opening. */
fmp_status fmp_file_unchanged(const fmp_file *f, fmp_error *err);
/* The whole file, at most `max` bytes (else FMP_ELIMIT); *ret is NUL-terminated beyond *ret_len and
 * freed with fmp_free(). */
fmp_status fmp_file_read_all(const char *path, uint64_t max, uint8_t **ret, size_t *ret_len,
                             fmp_error *err);

/* Relative, '/'-separated, no empty, "." or ".." part, no control character or backslash, valid
 * UTF-8, parts of at most 255 bytes, 1024 in all: safe to create below a directory. */
bool fmp_path_is_safe(const char *name);

/* Valid UTF-8 without control characters (C0, DEL, C1), NUL included, and without the bidirectional
 * controls U+202A..202E and U+2066..2069: fit to be shown. */
bool fmp_text_is_clean(const char *s, size_t len);

/* A file being written.  It lies under a random name beside `path` until fmp_out_commit(). */
typedef struct fmp_out {
    int fd;
    bool open;
    char *path; /* where it will appear */
    char *temp; /* where it lies now */
    uint64_t size_hint;
    unsigned mode; /* that it will have; 0600 until then */
} fmp_out;

/* `replace`: an existing `path` is fine (else FMP_EUSAGE, "exists").  A link at `path` is never
 * followed.  `size` (0: unknown) is reserved, so that a full disk shows now.  `mode` as for
 * open(2). */
fmp_status fmp_out_open(fmp_out *o, const char *path, uint64_t size, bool replace, unsigned mode,
                        fmp_error *err);
/* Thread-safe.  Large pieces are on their way to the disk when it returns. */
fmp_status fmp_out_write(fmp_out *o, uint64_t off, const void *data, size_t len, fmp_error *err);
fmp_status fmp_out_read(const fmp_out *o, uint64_t off, void *buf, size_t len, fmp_error *err);
/* Syncs the file: what fmp_out_commit() will need.  For several files: sync all, then commit all.
 */
fmp_status fmp_out_sync(fmp_out *o, fmp_error *err);
/* Renames into place (without `replace`, fails if something appeared there meanwhile), syncs the
 * directory, closes.  A failure discards. */
fmp_status fmp_out_commit(fmp_out *o, bool replace, fmp_error *err);
/* Removes the temporary; takes a closed or committed one too. */
void fmp_out_discard(fmp_out *o);

/* A directory being written: made under a random name beside `path`; fmp_outdir_commit() renames
 * it. An existing `path` that is not an empty directory is FMP_EUSAGE, `replace` or not. */
typedef struct fmp_outdir {
    bool open;
    char *path;
    char *temp;
    unsigned mode; /* that it will have; 0700 until then */
} fmp_outdir;

fmp_status fmp_outdir_open(fmp_outdir *d, const char *path, fmp_error *err);
/* Makes the directories that `name` (checked by fmp_path_is_safe) needs, then an fmp_out in there.
 */
fmp_status fmp_outdir_file(fmp_outdir *d, const char *name, uint64_t size, fmp_out *ret,
                           fmp_error *err);
/* Syncs every directory below, renames, syncs the parent.  A failure discards. */
fmp_status fmp_outdir_commit(fmp_outdir *d, fmp_error *err);
void fmp_outdir_discard(fmp_outdir *d);

#endif
