/*
 * Inputs: regular files, read with pread() and never mapped.  See file.h.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/status.h"
#include "base/utf8.h"

#define ONE_CALL     ((size_t)1 << 30) /* bytes asked of one pread() */
#define PART_MAX     255
#define PATH_MAX_LEN 1024

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static const char *type_name(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a directory";
    return S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : "a device";
}

/* Fills in all of *f but the path. */
static fmp_status open_regular(fmp_file *f, const char *path, fmp_error *err)
{
    struct stat st;
    int e;
    /* A FIFO without a writer must not make us wait. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return fmp_fail_errno(err, errno, "%s: cannot open", path);
    if (fstat(fd, &st)) {
        e = errno;
        (void)close(fd);
        return fmp_fail_errno(err, e, "%s: cannot stat", path);
    }
    if (!S_ISREG(st.st_mode)) {
        (void)close(fd);
        return fmp_fail(err, FMP_EIO, FMP_NO_OFFSET, "%s: expected a regular file, found %s", path,
                        type_name(st.st_mode));
    }
    *f = (fmp_file){.fd = fd,
                    .open = true,
                    .size = (uint64_t)st.st_size,
                    .dev = st.st_dev,
                    .ino = st.st_ino,
                    .mtime_ns = nanoseconds(st.st_mtim),
                    .ctime_ns = nanoseconds(st.st_ctim)};
    return FMP_OK;
}

/* Takes `path`, which is the heap's (NULL when that was full). */
static fmp_status open_owned(fmp_file *f, char *path, const char *name, fmp_error *err)
{
    fmp_file opened = {0};
    fmp_status st;

    if (!path)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", name);
    st = open_regular(&opened, path, err);
    if (st) {
        fmp_free(path);
        return st;
    }
    opened.path = path;
    *f = opened;
    return FMP_OK;
}

fmp_status fmp_file_open(fmp_file *f, const char *path, fmp_error *err)
{
    return open_owned(f, fmp_strndup(path, strlen(path)), path, err);
}

fmp_status fmp_file_open_below(fmp_file *f, const char *dir, const char *name, fmp_error *err)
{
    const size_t cap = strlen(dir) + strlen(name) + 2;
    char *path;

    if (!fmp_path_is_safe(name))
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: file name \"%s\" does not stay below the directory", dir, name);
    path = fmp_malloc(cap);
    if (path)
        (void)snprintf(path, cap, "%s/%s", dir, name);
    return open_owned(f, path, name, err);
}

void fmp_file_close(fmp_file *f)
{
    if (f->open)
        (void)close(f->fd);
    fmp_free(f->path);
    *f = (fmp_file){0};
}

fmp_status fmp_file_read(const fmp_file *f, uint64_t off, void *buf, size_t len, fmp_error *err)
{
    uint8_t *at = buf;

    while (len) {
        const size_t want = len < ONE_CALL ? len : ONE_CALL;
        const ssize_t n = off <= INT64_MAX ? pread(f->fd, at, want, (off_t)off) : 0;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fmp_fail_errno(err, errno, "%s: cannot read at byte %llu", f->path,
                                  (unsigned long long)off);
        if (n == 0)
            return fmp_fail(err, FMP_EIO, off,
                            "%s: has shrunk: expected %zu more bytes at byte %llu, found the end",
                            f->path, len, (unsigned long long)off);
        at += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return FMP_OK;
}

void fmp_file_prefetch(const fmp_file *f, uint64_t off, uint64_t len)
{
    if (off <= INT64_MAX && len <= INT64_MAX - off)
        (void)posix_fadvise(f->fd, (off_t)off, (off_t)len, POSIX_FADV_WILLNEED);
}

fmp_status fmp_file_unchanged(const fmp_file *f, fmp_error *err)
{
    struct stat st;

    if (fstat(f->fd, &st))
        return fmp_fail_errno(err, errno, "%s: cannot stat", f->path);
    if ((uint64_t)st.st_size != f->size)
        return fmp_fail(err, FMP_EIO, FMP_NO_OFFSET,
                        "%s: changed while it was read: %llu bytes, now %llu", f->path,
                        (unsigned long long)f->size, (unsigned long long)st.st_size);
    if (nanoseconds(st.st_mtim) != f->mtime_ns || nanoseconds(st.st_ctim) != f->ctime_ns)
        return fmp_fail(err, FMP_EIO, FMP_NO_OFFSET, "%s: changed while it was read", f->path);
    return FMP_OK;
}

static fmp_status read_whole(const fmp_file *f, uint64_t max, uint8_t **ret, fmp_error *err)
{
    uint8_t *data;
    fmp_status st;

    if (f->size > max)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "%s: %llu bytes, limit %llu", f->path,
                        (unsigned long long)f->size, (unsigned long long)max);
    data = f->size < SIZE_MAX ? fmp_malloc((size_t)f->size + 1) : NULL;
    if (!data)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", f->path);
    st = fmp_file_read(f, 0, data, (size_t)f->size, err);
    if (st) {
        fmp_free(data);
        return st;
    }
    data[f->size] = 0;
    *ret = data;
    return FMP_OK;
}

fmp_status fmp_file_read_all(const char *path, uint64_t max, uint8_t **ret, size_t *ret_len,
                             fmp_error *err)
{
    fmp_file f = {0};
    fmp_status st = fmp_file_open(&f, path, err);

    if (st)
        return st;
    st = read_whole(&f, max, ret, err);
    if (!st)
        *ret_len = (size_t)f.size;
    fmp_file_close(&f);
    return st;
}

static bool part_is_safe(const char *part, size_t len)
{
    if (len == 0 || len > PART_MAX)
        return false;
    return !(len == 1 && part[0] == '.') && !(len == 2 && part[0] == '.' && part[1] == '.');
}

bool fmp_text_is_clean(const char *text, size_t len)
{
    const uint8_t *s = (const uint8_t *)text;

    while (len) {
        uint32_t cp = 0;
        const size_t n = fmp_utf8_next(s, len, &cp);

        if (!n || !fmp_utf8_is_clean(cp))
            return false;
        s += n;
        len -= n;
    }
    return true;
}

bool fmp_path_is_safe(const char *name)
{
    const size_t len = strnlen(name, PATH_MAX_LEN + 1);

    if (len > PATH_MAX_LEN || strchr(name, '\\') || !fmp_text_is_clean(name, len))
        return false;
    for (const char *part = name;; part++) {
        const size_t part_len = strcspn(part, "/");

        if (!part_is_safe(part, part_len))
            return false;
        part += part_len;
        if (!*part)
            return true;
    }
}
