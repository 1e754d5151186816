/*
 * Owners, modes and links of key material.  See access.h.
 */
#include "crypto/access.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/status.h"

fmp_status fmp_access_private(const fmp_file *f, fmp_error *err)
{
    struct stat sb;

    if (fstat(f->fd, &sb))
        return fmp_fail_errno(err, errno, "%s", f->path);
    if (sb.st_uid != geteuid())
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "%s: belongs to user %lu, expected a secret key of your own (user %lu)",
                        f->path, (unsigned long)sb.st_uid, (unsigned long)geteuid());
    if (sb.st_mode & (S_IRWXG | S_IRWXO))
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "%s: mode %04o lets others at a secret key, expected 0600", f->path,
                        (unsigned)(sb.st_mode & 07777));
    return FMP_OK;
}

/* What is trusted, or revoked, must not be anybody else's to change. */
static fmp_status check_guarded(int fd, mode_t want, const char *path, const char *what,
                                fmp_error *err)
{
    struct stat sb;

    if (fstat(fd, &sb))
        return fmp_fail_errno(err, errno, "%s", path);
    if ((sb.st_mode & S_IFMT) != want)
        return fmp_fail(err, FMP_EIO, FMP_NO_OFFSET, "%s: not a %s", path,
                        want == S_IFDIR ? "directory" : "regular file");
    if (sb.st_uid != 0 && sb.st_uid != geteuid())
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "%s: belongs to user %lu; %s must be root's or your own", path,
                        (unsigned long)sb.st_uid, what);
    if (sb.st_mode & (S_IWGRP | S_IWOTH))
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "%s: mode %04o lets others change %s, expected no write permission for "
                        "group or others",
                        path, (unsigned)(sb.st_mode & 07777), what);
    return FMP_OK;
}

/* O_NOFOLLOW reports a link as ELOOP or, with O_DIRECTORY, as ENOTDIR: ask which it was. */
static fmp_status open_failed(int dir_fd, const char *name, int why, const char *path,
                              const char *what, fmp_error *err)
{
    struct stat sb;

    if ((why == ELOOP || why == ENOTDIR) && !fstatat(dir_fd, name, &sb, AT_SYMLINK_NOFOLLOW) &&
        S_ISLNK(sb.st_mode))
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "%s: is a symbolic link, which %s may not hold", path, what);
    return fmp_fail_errno(err, why, "%s", path);
}

static char *join(const fmp_keydir *parent, const char *name)
{
    const size_t n = parent ? strlen(parent->path) + 1 : 0;
    const size_t len = strlen(name);
    char *path = fmp_malloc(n + len + 1);

    if (!path)
        return NULL;
    if (parent) {
        memcpy(path, parent->path, n - 1);
        path[n - 1] = '/';
    }
    memcpy(path + n, name, len + 1);
    return path;
}

fmp_status fmp_keydir_open(fmp_keydir *d, const fmp_keydir *parent, const char *name,
                           const char *what, bool *ret_missing, fmp_error *err)
{
    const int at = parent ? parent->fd : AT_FDCWD;
    fmp_status st;

    *d = (fmp_keydir){.path = join(parent, name), .what = what};
    if (!d->path)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", name);
    d->fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->fd < 0) {
        const int why = errno;

        st = ret_missing && why == ENOENT ? FMP_OK : open_failed(at, name, why, d->path, what, err);
        if (!st)
            *ret_missing = true;
        fmp_keydir_close(d);
        return st;
    }
    d->open = true;
    st = check_guarded(d->fd, S_IFDIR, d->path, what, err);
    if (st)
        fmp_keydir_close(d);
    else if (ret_missing)
        *ret_missing = false;
    return st;
}

void fmp_keydir_close(fmp_keydir *d)
{
    if (d->open)
        close(d->fd);
    fmp_free(d->path);
    *d = (fmp_keydir){0};
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool wanted(const char *name, const char *suffix)
{
    const size_t n = strlen(name);
    const size_t s = strlen(suffix);

    return name[0] != '.' && n > s && !strcmp(name + n - s, suffix);
}

/* Appends a copy of `name`; false when out of memory. */
static bool push_name(char ***names, size_t *n, const char *name)
{
    char **grown = fmp_realloc(*names, *n + 1, sizeof **names);

    if (!grown)
        return false;
    *names = grown;
    grown[*n] = fmp_strndup(name, strlen(name));
    if (!grown[*n])
        return false;
    ++*n;
    return true;
}

/* A stream of its own, from the first entry on: closing it must leave d->fd open. */
static DIR *open_stream(const fmp_keydir *d)
{
    const int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

fmp_status fmp_keydir_list(const fmp_keydir *d, const char *suffix, char ***ret_names,
                           size_t *ret_n, fmp_error *err)
{
    DIR *dir = open_stream(d);
    struct dirent *e;
    char **names = NULL;
    size_t n = 0;
    fmp_status st = FMP_OK;

    if (!dir)
        return fmp_fail_errno(err, errno, "%s", d->path);
    while (errno = 0, (e = readdir(dir)))
        if (wanted(e->d_name, suffix) && !push_name(&names, &n, e->d_name)) {
            st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", d->path);
            break;
        }
    if (!e && errno)
        st = fmp_fail_errno(err, errno, "%s", d->path);
    closedir(dir);
    if (st) {
        fmp_keydir_free_names(names, n);
        return st;
    }
    if (n)
        qsort(names, n, sizeof *names, by_bytes);
    *ret_names = names;
    *ret_n = n;
    return FMP_OK;
}

void fmp_keydir_free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fmp_free(names[i]);
    fmp_free(names);
}

/* Reads to the end of the file, at most `cap` bytes. */
static fmp_status read_all(int fd, char *buf, size_t cap, const char *path, const char *what,
                           size_t *ret_len, fmp_error *err)
{
    size_t len = 0;
    char beyond;

    for (;;) {
        const ssize_t n = len < cap ? read(fd, buf + len, cap - len) : read(fd, &beyond, 1);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fmp_fail_errno(err, errno, "%s", path);
        if (n == 0)
            break;
        if (len == cap)
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: more than %zu bytes, which is too much for %s", path, cap, what);
        len += (size_t)n;
    }
    *ret_len = len;
    return FMP_OK;
}

fmp_status fmp_keydir_read(const fmp_keydir *d, const char *name, char *buf, size_t cap,
                           size_t *ret_len, fmp_error *err)
{
    char *path = join(d, name);
    fmp_status st;
    int fd;

    if (!path)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", name);
    fd = openat(d->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        st = open_failed(d->fd, name, errno, path, d->what, err);
        goto out;
    }
    st = check_guarded(fd, S_IFREG, path, d->what, err);
    if (!st)
        st = read_all(fd, buf, cap, path, d->what, ret_len, err);
    close(fd);

out:
    fmp_free(path);
    return st;
}

fmp_status fmp_keydir_lock(const fmp_keydir *d, const char *name, int *ret_fd, fmp_error *err)
{
    char *path = join(d, name);
    fmp_status st = FMP_OK;
    int fd;

    if (!path)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", name);
    fd = openat(d->fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                0600);
    if (fd < 0) {
        st = open_failed(d->fd, name, errno, path, d->what, err);
        goto out;
    }
    st = check_guarded(fd, S_IFREG, path, d->what, err);
    while (!st && flock(fd, LOCK_EX)) {
        if (errno != EINTR)
            st = fmp_fail_errno(err, errno, "%s: cannot lock", path);
    }
    if (st)
        close(fd);
    else
        *ret_fd = fd;

out:
    fmp_free(path);
    return st;
}

void fmp_keydir_unlock(int fd)
{
    close(fd);
}
