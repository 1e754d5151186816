/*
 * Outputs: files and directories that appear under their name by rename after fsync, or not at all.
 * See file.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"

#define LARGE     ((size_t)1 << 20) /* bytes worth sending to the disk by themselves */
#define ONE_CALL  ((size_t)1 << 30) /* bytes given to one pwrite() */
#define TEMP_NAME ".fmpatch-"
#define TRIES     16

/* Length of the part of `path` before its last name, with the slash; 0 when there is none. */
static size_t dir_len(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) + 1 : 0;
}

static fmp_status check_name(const char *path, fmp_error *err)
{
    const char *name = path + dir_len(path);

    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "\"%s\": not the name of an output", path);
    return FMP_OK;
}

/* A name beside `path` that nobody can guess.  NULL: out of memory. */
static char *temp_name(const char *path)
{
    const size_t dir = dir_len(path);
    const size_t cap = dir + sizeof TEMP_NAME + 16;
    char *temp = fmp_malloc(cap);

    if (!temp)
        return NULL;
    memcpy(temp, path, dir);
    memcpy(temp + dir, TEMP_NAME, sizeof TEMP_NAME);
    return temp;
}

/* Fills in the 16 random digits. */
static bool draw_name(char *temp, const char *path)
{
    uint64_t random;

    if (getentropy(&random, sizeof random))
        return false;
    (void)snprintf(temp + dir_len(path) + sizeof TEMP_NAME - 1, 17, "%016llx",
                   (unsigned long long)random);
    return true;
}

static fmp_status copy_path(const char *path, char **ret_path, char **ret_temp, fmp_error *err)
{
    char *copy = fmp_strndup(path, strlen(path));
    char *temp = copy ? temp_name(path) : NULL;

    if (!temp) {
        fmp_free(copy);
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
    }
    *ret_path = copy;
    *ret_temp = temp;
    return FMP_OK;
}

static fmp_status sync_dir_of(const char *path, fmp_error *err)
{
    const size_t len = dir_len(path);
    char *dir = len ? fmp_strndup(path, len) : fmp_strndup(".", 1);
    fmp_status st = FMP_OK;
    int fd;

    if (!dir)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* A directory that one may write but not read cannot be synced, nor can those of some systems.
     */
    if (fd < 0 ? errno != EACCES : fsync(fd) && errno != EINVAL && errno != EROFS)
        st = fmp_fail_errno(err, errno, "%s: cannot sync the directory", dir);
    if (fd >= 0)
        (void)close(fd);
    fmp_free(dir);
    return st;
}

/* ---- a file -----------------------------------------------------------------------------------
 */

/* Only a regular file or a link may be replaced, never a device such as /dev/null. */
static fmp_status check_target(const char *path, bool replace, fmp_error *err)
{
    struct stat st;
    const fmp_status name = check_name(path, err);

    if (name)
        return name;
    if (lstat(path, &st))
        return errno == ENOENT ? FMP_OK : fmp_fail_errno(err, errno, "%s: cannot create", path);
    if (S_ISDIR(st.st_mode))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: is a directory", path);
    if (!replace)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: exists", path);
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: exists and is not a regular file",
                        path);
    return FMP_OK;
}

/* Made with `mode`, so that the system applies umask and the directory's ACL; what came of it is
 * kept for later, and nobody else may open the file while it is being written. */
static fmp_status create_temp(fmp_out *o, unsigned mode, fmp_error *err)
{
    struct stat st;

    o->fd = -1;
    for (unsigned i = 0; i < TRIES && o->fd < 0; i++) {
        if (!draw_name(o->temp, o->path))
            return fmp_fail_errno(err, errno, "%s: no random name", o->path);
        o->fd = open(o->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (mode_t)mode);
        if (o->fd < 0 && errno != EEXIST && errno != EINTR)
            break;
    }
    if (o->fd < 0)
        return fmp_fail_errno(err, errno, "%s: cannot create", o->path);
    o->open = true;
    if (fstat(o->fd, &st) || fchmod(o->fd, 0600))
        return fmp_fail_errno(err, errno, "%s: cannot set the mode", o->path);
    o->mode = st.st_mode & 07777;
    return FMP_OK;
}

/* Blocks are taken now; the file's size stays what was written. */
static fmp_status reserve(const fmp_out *o, fmp_error *err)
{
    int rc;

    if (!o->size_hint)
        return FMP_OK;
    if (o->size_hint > INT64_MAX)
        return fmp_fail_errno(err, EFBIG, "%s: cannot reserve %llu bytes", o->path,
                              (unsigned long long)o->size_hint);
    do
        rc = fallocate(o->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)o->size_hint);
    while (rc && errno == EINTR);
    if (rc && errno != EOPNOTSUPP && errno != ENOSYS)
        return fmp_fail_errno(err, errno, "%s: cannot reserve %llu bytes", o->path,
                              (unsigned long long)o->size_hint);
    return FMP_OK;
}

fmp_status fmp_out_open(fmp_out *o, const char *path, uint64_t size, bool replace, unsigned mode,
                        fmp_error *err)
{
    fmp_out made = {.size_hint = size};
    fmp_status st = check_target(path, replace, err);

    if (!st)
        st = copy_path(path, &made.path, &made.temp, err);
    if (!st)
        st = create_temp(&made, mode, err);
    if (!st)
        st = reserve(&made, err);
    if (st)
        fmp_out_discard(&made);
    else
        *o = made;
    return st;
}

fmp_status fmp_out_write(fmp_out *o, uint64_t off, const void *data, size_t len, fmp_error *err)
{
    const uint8_t *at = data;
    const uint64_t first = off;
    const size_t all = len;

    if (off > INT64_MAX || len > INT64_MAX - off)
        return fmp_fail_errno(err, EFBIG, "%s: cannot write", o->path);
    while (len) {
        const ssize_t n = pwrite(o->fd, at, len < ONE_CALL ? len : ONE_CALL, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fmp_fail_errno(err, n ? errno : EIO, "%s: cannot write at byte %llu", o->path,
                                  (unsigned long long)off);
        at += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    if (all >= LARGE) /* the disk begins while the rest is made; the promise is fsync()'s */
        (void)sync_file_range(o->fd, (off_t)first, (off_t)all, SYNC_FILE_RANGE_WRITE);
    return FMP_OK;
}

fmp_status fmp_out_read(const fmp_out *o, uint64_t off, void *buf, size_t len, fmp_error *err)
{
    const fmp_file f = {.fd = o->fd, .open = true, .path = o->path};

    return fmp_file_read(&f, off, buf, len, err);
}

/* Gives back what was reserved beyond the end. */
static bool trim(const fmp_out *o)
{
    struct stat st;

    if (fstat(o->fd, &st))
        return false;
    return (uint64_t)st.st_size >= o->size_hint || ftruncate(o->fd, st.st_size) == 0;
}

fmp_status fmp_out_sync(fmp_out *o, fmp_error *err)
{
    if (!trim(o) || fchmod(o->fd, (mode_t)o->mode))
        return fmp_fail_errno(err, errno, "%s: cannot complete", o->path);
    if (fsync(o->fd))
        return fmp_fail_errno(err, errno, "%s: cannot sync", o->path);
    return FMP_OK;
}

/* 0, or -1 and errno, EEXIST when there is something at `path`. */
static int rename_new(const char *temp, const char *path)
{
    if (renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != ENOSYS && errno != EINVAL)
        return -1;
    if (link(temp, path))
        return -1;
    (void)unlink(temp); /* the result is there; the name it was made under is not worth failing */
    return 0;
}

static fmp_status put_in_place(const fmp_out *o, bool replace, fmp_error *err)
{
    if (!(replace ? rename(o->temp, o->path) : rename_new(o->temp, o->path)))
        return FMP_OK;
    if (errno == EEXIST)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: exists", o->path);
    return fmp_fail_errno(err, errno, "%s: cannot rename into place", o->path);
}

static void forget(fmp_out *o)
{
    if (o->open)
        (void)close(o->fd);
    fmp_free(o->path);
    fmp_free(o->temp);
    *o = (fmp_out){0};
}

fmp_status fmp_out_commit(fmp_out *o, bool replace, fmp_error *err)
{
    fmp_status st = fmp_out_sync(o, err);

    if (!st)
        st = put_in_place(o, replace, err);
    if (st) {
        fmp_out_discard(o);
        return st;
    }
    st = sync_dir_of(o->path, err);
    if (st && !replace)
        (void)unlink(o->path); /* what was replaced is gone for good: then the new file stays */
    forget(o);
    return st;
}

void fmp_out_discard(fmp_out *o)
{
    if (o->open)
        (void)unlink(o->temp);
    forget(o);
}

/* ---- a directory ------------------------------------------------------------------------------
 */

/* 1 or 0; -1 and errno when it cannot be read. */
static int dir_is_empty(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    int n = 0;

    if (!dir)
        return -1;
    while (n == 0 && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            n++;
    (void)closedir(dir);
    return n == 0;
}

/* Nothing, or an empty directory, and not through a link. */
static fmp_status check_outdir(const char *path, fmp_error *err)
{
    struct stat st;
    const fmp_status name = check_name(path, err);
    int empty;

    if (name)
        return name;
    if (lstat(path, &st))
        return errno == ENOENT ? FMP_OK : fmp_fail_errno(err, errno, "%s: cannot create", path);
    if (!S_ISDIR(st.st_mode))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: exists and is not a directory", path);
    empty = dir_is_empty(path);
    if (empty < 0)
        return fmp_fail_errno(err, errno, "%s: cannot list", path);
    if (!empty)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: exists and is not empty", path);
    return FMP_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path); /* as much as can be */
    return 0;
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Stops with an errno. */
static int sync_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    int fd;
    int rc = 0;

    (void)st;
    (void)ftw;
    if (type != FTW_D && type != FTW_DP)
        return 0;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (fsync(fd) && errno != EINVAL)
        rc = errno;
    (void)close(fd);
    return rc;
}

/* See create_temp(). */
static fmp_status create_temp_dir(fmp_outdir *d, fmp_error *err)
{
    struct stat st;
    int rc = -1;

    for (unsigned i = 0; i < TRIES && rc; i++) {
        if (!draw_name(d->temp, d->path))
            return fmp_fail_errno(err, errno, "%s: no random name", d->path);
        rc = mkdir(d->temp, 0777);
        if (rc && errno != EEXIST)
            break;
    }
    if (rc)
        return fmp_fail_errno(err, errno, "%s: cannot create", d->path);
    d->open = true;
    if (lstat(d->temp, &st) || chmod(d->temp, 0700))
        return fmp_fail_errno(err, errno, "%s: cannot set the mode", d->path);
    d->mode = st.st_mode & 07777;
    return FMP_OK;
}

fmp_status fmp_outdir_open(fmp_outdir *d, const char *path, fmp_error *err)
{
    fmp_outdir made = {0};
    size_t len = strlen(path);
    char *plain;
    fmp_status st;

    while (len > 1 && path[len - 1] == '/')
        len--;
    plain = fmp_strndup(path, len);
    if (!plain)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
    st = check_outdir(plain, err);
    if (!st)
        st = copy_path(plain, &made.path, &made.temp, err);
    if (!st)
        st = create_temp_dir(&made, err);
    fmp_free(plain);
    if (st)
        fmp_outdir_discard(&made);
    else
        *d = made;
    return st;
}

/* Makes every directory on the way to the file `path`, whose first `skip` bytes are there already.
 */
static fmp_status make_dirs(char *path, size_t skip, fmp_error *err)
{
    for (char *slash = strchr(path + skip, '/'); slash; slash = strchr(slash + 1, '/')) {
        int rc;

        *slash = '\0';
        rc = mkdir(path, 0777);
        if (rc && errno != EEXIST)
            return fmp_fail_errno(err, errno, "%s: cannot create", path);
        *slash = '/';
    }
    return FMP_OK;
}

fmp_status fmp_outdir_file(fmp_outdir *d, const char *name, uint64_t size, fmp_out *ret,
                           fmp_error *err)
{
    const size_t skip = strlen(d->temp) + 1;
    const size_t cap = skip + strlen(name) + 1;
    char *path;
    fmp_status st;

    if (!fmp_path_is_safe(name))
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: file name \"%s\" does not stay below the directory", d->path, name);
    path = fmp_malloc(cap);
    if (!path)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", name);
    (void)snprintf(path, cap, "%s/%s", d->temp, name);
    st = make_dirs(path, skip, err);
    if (!st)
        st = fmp_out_open(ret, path, size, false, 0666, err);
    fmp_free(path);
    return st;
}

static fmp_status put_dir_in_place(const fmp_outdir *d, fmp_error *err)
{
    const int e = nftw(d->temp, sync_one, 16, FTW_PHYS | FTW_MOUNT);

    if (e)
        return fmp_fail_errno(err, e > 0 ? e : errno, "%s: cannot sync", d->path);
    if (chmod(d->temp, (mode_t)d->mode))
        return fmp_fail_errno(err, errno, "%s: cannot set the mode", d->path);
    /* An empty directory may be there, and gives way; anything else does not. */
    if (rename(d->temp, d->path) == 0)
        return FMP_OK;
    if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: exists", d->path);
    return fmp_fail_errno(err, errno, "%s: cannot rename into place", d->path);
}

static void forget_dir(fmp_outdir *d)
{
    fmp_free(d->path);
    fmp_free(d->temp);
    *d = (fmp_outdir){0};
}

fmp_status fmp_outdir_commit(fmp_outdir *d, fmp_error *err)
{
    fmp_status st = put_dir_in_place(d, err);

    if (st) {
        fmp_outdir_discard(d);
        return st;
    }
    st = sync_dir_of(d->path, err);
    if (st)
        remove_tree(d->path);
    forget_dir(d);
    return st;
}

void fmp_outdir_discard(fmp_outdir *d)
{
    if (d->open)
        remove_tree(d->temp);
    forget_dir(d);
}
