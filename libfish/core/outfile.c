/*
 * A file that appears whole or not at all, and the reading of small files.
 */
#include "core/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/fail.h"
#include "core/mem.h"

#define BUFFER_SIZE ((size_t)1 << 20)

struct fish_outfile {
    char *path;
    char *temporary;
    int fd;
    bool open;
    bool replace;
    unsigned char *buffer;
    size_t filled;
};

void fish_outfile_abort(fish_outfile *f)
{
    if (!f)
        return;
    if (f->open) {
        (void)close(f->fd);
        (void)unlink(f->temporary);
    }
    fish_free(f->path);
    fish_free(f->temporary);
    fish_free(f->buffer);
    fish_free(f);
}

static fmp_status exists(const char *path, fmp_error *err)
{
    return fish_fail(err, FMP_EUSAGE, "%s: exists already (give -f to replace it)", path);
}

fmp_status fish_outfile_new(const char *path, bool replace, fish_outfile **ret, fmp_error *err)
{
    fish_outfile *f = fish_calloc(1, sizeof *f);
    const size_t len = strlen(path) + 16;
    struct stat st;
    mode_t mask;

    if (!f)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    f->replace = replace;
    f->path = fish_strdup(path);
    f->temporary = fish_alloc(len, 1);
    f->buffer = fish_alloc(BUFFER_SIZE, 1);
    if (!f->path || !f->temporary || !f->buffer) {
        fish_outfile_abort(f);
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    }
    if (!replace && !lstat(path, &st)) {
        fish_outfile_abort(f);
        return exists(path, err);
    }
    (void)snprintf(f->temporary, len, "%s.tmp-XXXXXX", path);
    f->fd = mkostemp(f->temporary, O_CLOEXEC);
    if (f->fd < 0) {
        const int e = errno;

        fish_outfile_abort(f);
        return fish_fail_errno(err, e, "%s: cannot write there", path);
    }
    f->open = true;
    mask = umask(0);
    (void)umask(mask);
    (void)fchmod(f->fd, 0666 & ~mask);
    *ret = f;
    return FMP_OK;
}

static fmp_status write_all(fish_outfile *f, const unsigned char *p, size_t len, fmp_error *err)
{
    while (len) {
        const ssize_t n = write(f->fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fish_fail_errno(err, errno, "%s: cannot write", f->path);
        p += n;
        len -= (size_t)n;
    }
    return FMP_OK;
}

static fmp_status flush(fish_outfile *f, fmp_error *err)
{
    const size_t filled = f->filled;

    f->filled = 0;
    return write_all(f, f->buffer, filled, err);
}

fmp_status fish_outfile_write(fish_outfile *f, const void *data, size_t len, fmp_error *err)
{
    if (len > BUFFER_SIZE - f->filled) {
        const fmp_status st = flush(f, err);

        if (st)
            return st;
    }
    if (len > BUFFER_SIZE)
        return write_all(f, data, len, err);
    if (len)
        memcpy(f->buffer + f->filled, data, len);
    f->filled += len;
    return FMP_OK;
}

static void sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? fish_strdup(path) : NULL;
    int fd;

    if (dir)
        dir[slash == path ? 1 : slash - path] = 0;
    fd = open(dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
    fish_free(dir);
}

/* Gives the temporary its name.  link() refuses an existing name, which rename() would replace. */
static fmp_status take_name(fish_outfile *f, fmp_error *err)
{
    if (!f->replace) {
        if (!link(f->temporary, f->path)) {
            (void)unlink(f->temporary);
            return FMP_OK;
        }
        if (errno == EEXIST)
            return exists(f->path, err);
        /* File systems without links: the check at the start has to do. */
    }
    if (rename(f->temporary, f->path))
        return fish_fail_errno(err, errno, "%s: cannot rename %s to it", f->path, f->temporary);
    return FMP_OK;
}

fmp_status fish_outfile_commit(fish_outfile *f, fmp_error *err)
{
    fmp_status st = flush(f, err);

    if (!st && fsync(f->fd))
        st = fish_fail_errno(err, errno, "%s: cannot sync", f->path);
    if (!st)
        st = take_name(f, err);
    if (!st) {
        (void)close(f->fd);
        f->open = false;
        sync_directory(f->path);
    }
    fish_outfile_abort(f);
    return st;
}

fmp_status fish_slurp(const char *path, size_t max, char **ret, size_t *ret_len, fmp_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *text = NULL;
    size_t len = 0;
    fmp_status status = FMP_OK;

    if (fd < 0)
        return fish_fail_errno(err, errno, "%s: cannot open", path);
    if (fstat(fd, &st))
        status = fish_fail_errno(err, errno, "%s: cannot stat", path);
    else if (!S_ISREG(st.st_mode))
        status = fish_fail(err, FMP_EIO, "%s: not a regular file", path);
    else if ((uint64_t)st.st_size > max)
        status = fish_fail(err, FMP_ELIMIT, "%s: %lld bytes, limit %zu", path,
                           (long long)st.st_size, max);
    else if (!(text = fish_alloc((size_t)st.st_size + 1, 1)))
        status = fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    while (!status && len < (size_t)st.st_size) {
        const ssize_t n = read(fd, text + len, (size_t)st.st_size - len);

        if (n < 0 && errno != EINTR)
            status = fish_fail_errno(err, errno, "%s: cannot read", path);
        else if (n == 0)
            status = fish_fail(err, FMP_EIO, "%s: has shrunk to %zu bytes", path, len);
        else if (n > 0)
            len += (size_t)n;
    }
    (void)close(fd);
    if (status) {
        fish_free(text);
        return status;
    }
    text[len] = 0;
    *ret = text;
    *ret_len = len;
    return FMP_OK;
}
