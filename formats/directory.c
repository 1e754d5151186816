/*
 * A model directory: weights in any sharding, and side files that travel whole.  The only file of
 * formats/ that calls POSIX: it lists directories.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/status.h"
#include "builder.h"

static const char index_name[] = "model.safetensors.index.json";
static const char index_suffix[] = ".safetensors.index.json";

typedef struct listing {
    const fmp_builder *b;
    fmp_names files;   /* relative to the root */
    fmp_names pending; /* directories yet to be read, likewise */
} listing;

bool fmp_is_directory(const char *path)
{
    struct stat sb;

    return !stat(path, &sb) && S_ISDIR(sb.st_mode);
}

/* As base/out.c names what it has not finished. */
static bool is_temporary(const char *name)
{
    static const char prefix[] = ".fmpatch-";

    return !strncmp(name, prefix, sizeof prefix - 1);
}

/* What is no part of a model: other programs' bookkeeping, and our own unfinished outputs. */
static bool is_ignored(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, ".git") ||
           !strcmp(name, ".cache") || is_temporary(name);
}

/* dir/name, or `name` when `dir` is "". */
static char *join(const char *dir, const char *name)
{
    const size_t dir_len = strlen(dir);
    const size_t name_len = strlen(name);
    char *path = fmp_malloc(dir_len + name_len + 2);

    if (!path)
        return NULL;
    memcpy(path, dir, dir_len);
    if (dir_len)
        path[dir_len] = '/';
    memcpy(path + dir_len + (dir_len > 0), name, name_len + 1);
    return path;
}

static fmp_status classify(listing *l, int dir_fd, const char *name, const char *rel,
                           fmp_error *err)
{
    const char *root = l->b->store.path;
    struct stat to;
    struct stat self;

    if (!fmp_path_is_safe(rel))
        return fmp_fail(
            err, FMP_ENOTSUP, FMP_NO_OFFSET,
            "%s: expected file names of printable UTF-8 without backslash, at most 1024 "
            "bytes, found \"%.200s\"",
            root, rel);
    if (fstatat(dir_fd, name, &to, 0) || fstatat(dir_fd, name, &self, AT_SYMLINK_NOFOLLOW))
        return fmp_fail_errno(err, errno, "%s/%s", root, rel);
    if (S_ISDIR(to.st_mode) && S_ISDIR(self.st_mode))
        return fmp_names_add(&l->pending, rel, strlen(rel), err);
    if (!S_ISREG(to.st_mode))
        return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                        "%s/%s: expected a file or directory, found %s", root, rel,
                        S_ISDIR(to.st_mode) ? "a link to a directory" : "a special file");
    if (l->files.n >= l->b->limits.max_files)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "%s: more than %u files, the limit", root,
                        l->b->limits.max_files);
    return fmp_names_add(&l->files, rel, strlen(rel), err);
}

static fmp_status list_one(listing *l, const char *rel_dir, fmp_error *err)
{
    const char *root = l->b->store.path;
    char *path = *rel_dir ? join(root, rel_dir) : fmp_strndup(root, strlen(root));
    DIR *d = path ? opendir(path) : NULL;
    fmp_status st = FMP_OK;

    if (!path)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", root);
    if (!d)
        st = fmp_fail_errno(err, errno, "%s", path);
    while (!st) {
        const struct dirent *e;
        char *rel;

        errno = 0;
        e = readdir(d);
        if (!e) {
            if (errno)
                st = fmp_fail_errno(err, errno, "%s", path);
            break;
        }
        if (is_ignored(e->d_name))
            continue;
        rel = join(rel_dir, e->d_name);
        st = rel ? classify(l, dirfd(d), e->d_name, rel, err)
                 : fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
        fmp_free(rel);
    }
    if (d)
        (void)closedir(d);
    fmp_free(path);
    return st;
}

/* All files below the root, sorted by bytes. */
static fmp_status list_all(listing *l, fmp_error *err)
{
    fmp_status st = list_one(l, "", err);
    char *next;

    while (!st && (next = fmp_names_pop(&l->pending))) {
        st = list_one(l, next, err);
        fmp_free(next);
    }
    fmp_names_finish(&l->files);
    return st;
}

static bool is_top(const char *name)
{
    return !strchr(name, '/');
}

/* The index that says where the weights lie; NULL when there is none. */
static fmp_status find_index(const listing *l, const char **ret, fmp_error *err)
{
    *ret = NULL;
    if (fmp_names_have(&l->files, index_name)) {
        *ret = index_name;
        return FMP_OK;
    }
    for (uint32_t i = 0; i < l->files.n; i++) {
        const char *name = l->files.v[i];

        if (!is_top(name) || !fmp_has_suffix(name, index_suffix))
            continue;
        if (*ret)
            return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                            "%s: expected one index, found %s and %s (name the one to open)",
                            l->b->store.path, *ret, name);
        *ret = name;
    }
    return FMP_OK;
}

static fmp_status refuse_no_weights(const listing *l, fmp_error *err)
{
    static const char *const pickles[] = {".bin", ".pt", ".pth", ".ckpt"};
    const char *root = l->b->store.path;

    for (uint32_t i = 0; i < l->files.n; i++) {
        const char *name = l->files.v[i];

        if (!is_top(name) && fmp_has_suffix(name, ".safetensors"))
            return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                            "%s: expected .safetensors files in it, found them further down, in "
                            "%s (open that directory)",
                            root, name);
        for (unsigned k = 0; is_top(name) && k < sizeof pickles / sizeof *pickles; k++)
            if (fmp_has_suffix(name, pickles[k]))
                return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                                "%s: expected .safetensors files in it, found %s (convert the "
                                "checkpoint to safetensors first)",
                                root, name);
    }
    return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                    "%s: expected .safetensors files in it, found none", root);
}

/* Without an index: every weights file of the directory, in byte order of names. */
static fmp_status open_all(fmp_builder *b, const listing *l, const fmp_store_options *options,
                           fmp_error *err)
{
    b->store.driver = &fmp_safetensors_driver;
    for (uint32_t i = 0; i < l->files.n; i++) {
        const char *name = l->files.v[i];
        fmp_status st;

        if (!is_top(name) || !fmp_has_suffix(name, ".safetensors"))
            continue;
        st = b->store.driver->open(&b->store, b->store.path, name, options, err);
        if (st)
            return st;
    }
    if (!b->store.n_files)
        return refuse_no_weights(l, err);
    return fmp_builder_finish(b, err);
}

/* Weights files lie first in the store, in byte order, as the listing does: one walk over both. */
static fmp_status add_side_files(fmp_builder *b, const listing *l, fmp_error *err)
{
    const uint32_t n_weights = b->store.n_files;
    uint32_t w = 0;

    for (uint32_t i = 0; i < l->files.n; i++) {
        const char *name = l->files.v[i];
        fmp_store_file *file;
        fmp_status st;

        while (w < n_weights && strcmp(b->store.files[w].name, name) < 0)
            w++;
        if (w < n_weights && !strcmp(b->store.files[w].name, name))
            continue;
        st = fmp_builder_add_file(b, b->store.path, name, true, &file, err);
        if (st)
            return st;
        fmp_builder_park_file(b);
    }
    return FMP_OK;
}

fmp_status fmp_directory_open(fmp_builder *b, const fmp_store_options *options, fmp_error *err)
{
    listing l = {.b = b};
    const char *index;
    fmp_status st = list_all(&l, err);

    if (!st)
        st = find_index(&l, &index, err);
    if (st)
        goto out;
    b->store.is_dir = true;
    if (index)
        st = fmp_sharded_open(b, b->store.path, index, options, err);
    else
        st = open_all(b, &l, options, err);
    if (!st)
        st = add_side_files(b, &l, err);

out:
    fmp_names_release(&l.files);
    fmp_names_release(&l.pending);
    return st;
}
