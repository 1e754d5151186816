/*
 * The table of checkpoint formats, and how a path finds its row.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "builder.h"

/* The first row is the default, the last takes any file. */
static const fmp_store_driver *const drivers[] = {&fmp_safetensors_driver, &fmp_raw_driver};

enum { N_DRIVERS = sizeof drivers / sizeof *drivers, HEAD_LEN = 16 };

const fmp_store_driver *fmp_store_driver_find(const char *name)
{
    for (unsigned i = 0; i < N_DRIVERS; i++)
        if (!strcmp(drivers[i]->name, name))
            return drivers[i];
    return NULL;
}

const fmp_store_driver *fmp_store_driver_default(void)
{
    return drivers[0];
}

/* A zip archive or a pickle stream under a name that torch.save() uses. */
static bool is_pickle(const char *name, const uint8_t *head, size_t len)
{
    static const char *const suffixes[] = {".pt", ".pth", ".bin", ".ckpt", ".pkl"};

    if (len < 4 ||
        (memcmp(head, "PK\3\4", 4) && !(head[0] == 0x80 && head[1] >= 2 && head[1] <= 5)))
        return false;
    for (unsigned i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (fmp_has_suffix(name, suffixes[i]))
            return true;
    return false;
}

static fmp_status read_head(const char *path, uint8_t head[HEAD_LEN], size_t *ret_len,
                            uint64_t *ret_size, fmp_error *err)
{
    fmp_file f = {0};
    fmp_status st = fmp_file_open(&f, path, err);

    if (st)
        return st;
    *ret_size = f.size;
    *ret_len = f.size < HEAD_LEN ? (size_t)f.size : HEAD_LEN;
    st = fmp_file_read(&f, 0, head, *ret_len, err);
    fmp_file_close(&f);
    return st;
}

/* Opens one file with one driver into a builder of its own. */
static fmp_status open_with(const fmp_store_driver *driver, const char *path,
                            const fmp_store_options *options, fmp_builder **ret, fmp_error *err)
{
    fmp_builder *b;
    fmp_status st = fmp_builder_new(path, options, &b, err);

    if (st)
        return st;
    b->store.driver = driver;
    st = driver->open(&b->store, NULL, path, options, err);
    if (!st)
        st = fmp_builder_finish(b, err);
    if (st)
        fmp_builder_free(b);
    else
        *ret = b;
    return st;
}

/*
 * The first driver that claims the file opens it.  One that claims it by its name has the last
 * word; one that claims it by its first bytes may have met a coincidence, and then the next is
 * asked.
 */
static fmp_status open_file(const char *path, const fmp_store_options *options, fmp_builder **ret,
                            fmp_error *err)
{
    uint8_t head[HEAD_LEN];
    size_t len;
    uint64_t size;
    fmp_status st = read_head(path, head, &len, &size, err);

    if (st)
        return st;
    if (is_pickle(path, head, len))
        return fmp_fail(err, FMP_ENOTSUP, 0,
                        "%s: expected a checkpoint that can be read without running it, found a "
                        "pickle (convert it to safetensors, or open it raw)",
                        path);
    for (unsigned i = 0; i < N_DRIVERS; i++) {
        const fmp_store_driver *d = drivers[i];
        fmp_error why;

        if (!d->probe(head, len, size, path))
            continue;
        if (d->probe(NULL, 0, 0, path))
            return open_with(d, path, options, ret, err);
        st = open_with(d, path, options, ret, &why);
        if (st == FMP_ECORRUPT || st == FMP_ENOTSUP)
            continue;
        if (st && err)
            *err = why;
        return st;
    }
    return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET, "%s: no format that is known", path);
}

/* An index that is named itself: its shards, and the index as the one side file. */
static fmp_status open_index(fmp_builder *b, const char *path, const fmp_store_options *options,
                             fmp_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *dir =
        slash ? fmp_strndup(path, slash > path ? (size_t)(slash - path) : 1) : fmp_strndup(".", 1);
    fmp_store_file *file;
    fmp_status st;

    if (!dir)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
    st = fmp_sharded_open(b, dir, name, options, err);
    if (!st)
        st = fmp_builder_add_file(b, dir, name, true, &file, err);
    if (!st)
        fmp_builder_park_file(b);
    fmp_free(dir);
    return st;
}

static fmp_status open_many(const char *path, bool is_dir, const fmp_store_options *options,
                            fmp_builder **ret, fmp_error *err)
{
    fmp_builder *b;
    fmp_status st = fmp_builder_new(path, options, &b, err);

    if (st)
        return st;
    st = is_dir ? fmp_directory_open(b, options, err) : open_index(b, path, options, err);
    if (st)
        fmp_builder_free(b);
    else
        *ret = b;
    return st;
}

fmp_status fmp_store_open(const char *path, const fmp_store_options *options, fmp_store **ret,
                          fmp_error *err)
{
    fmp_store_options o = {0};
    fmp_builder *b = NULL;
    bool is_dir;
    fmp_status st;

    if (options && options->size < sizeof options->size)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: store options: `size` is not set",
                        path);
    if (options)
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    is_dir = fmp_is_directory(path);
    if (is_dir && o.raw)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "%s: expected a file to read raw, found a directory", path);
    if (is_dir)
        st = open_many(path, true, &o, &b, err);
    else if (o.raw)
        st = open_with(&fmp_raw_driver, path, &o, &b, err);
    else if (fmp_has_suffix(path, ".index.json"))
        st = open_many(path, false, &o, &b, err);
    else
        st = open_file(path, &o, &b, err);
    if (!st)
        *ret = &b->store;
    return st;
}
