/*
 * What every open checkpoint can do: tell its tensors, find one by name, read its bytes.  Knows no
 * format; builder.c fills what is read here.
 */
#include "base/store.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "builder.h"

#define LARGE ((size_t)256 << 10) /* pieces from here on may have followers */
#define AHEAD ((uint64_t)16 << 20)

void fmp_store_close(fmp_store *store)
{
    fmp_builder_free((fmp_builder *)store);
}

uint32_t fmp_store_tensor_count(const fmp_store *store)
{
    return store->n_tensors;
}

fmp_tensor_info fmp_store_tensor(const fmp_store *store, uint32_t tensor)
{
    const fmp_store_entry *t;
    const fmp_shape *s;
    fmp_tensor_info info = {0};

    if (tensor >= store->n_tensors)
        return info;
    t = &store->tensors[tensor];
    s = &store->shapes[t->shape];
    info.name = store->names + t->name_at;
    info.name_len = t->name_len;
    info.dtype = fmp_dtype_at(t->dtype)->name;
    info.rank = s->rank;
    info.shape = s->rank ? store->dims + s->dims_at : NULL;
    info.n_elements = 1;
    for (uint32_t i = 0; i < s->rank; i++)
        info.n_elements *= info.shape[i];
    info.n_bytes = t->n_bytes;
    return info;
}

uint32_t fmp_store_find(const fmp_store *store, const char *name, size_t name_len)
{
    uint32_t lo = 0;
    uint32_t hi = store->n_tensors;

    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        const fmp_store_entry *t = &store->tensors[store->by_name[mid]];
        const int c = fmp_compare_bytes(name, name_len, store->names + t->name_at, t->name_len);

        if (c == 0)
            return store->by_name[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return UINT32_MAX;
}

/* A file that is not kept open: it must still be the one whose header was parsed. */
static fmp_status read_parked(const fmp_file *was, uint64_t off, void *buf, size_t len,
                              fmp_error *err)
{
    fmp_file now = {0};
    fmp_status st = fmp_file_open(&now, was->path, err);

    if (st)
        return st;
    if (now.dev != was->dev || now.ino != was->ino || now.size != was->size ||
        now.mtime_ns != was->mtime_ns)
        st = fmp_fail(err, FMP_EIO, FMP_NO_OFFSET,
                      "%s: has changed since it was opened (expected %llu bytes, found %llu)",
                      was->path, (unsigned long long)was->size, (unsigned long long)now.size);
    else
        st = fmp_file_read(&now, off, buf, len, err);
    fmp_file_close(&now);
    return st;
}

/*
 * The system fetches what follows while this piece is worked on: it is asked for once, when pieces
 * come in order or nearly so, as from several threads.  One that is far from the last is a sample,
 * of which nothing follows.
 */
static void read_ahead(fmp_store_file *f, uint64_t off, size_t len)
{
    const uint64_t end = off + len;
    const uint64_t asked = f->asked;
    const uint64_t from = asked > end ? asked : end;
    const uint64_t to = end + AHEAD < f->size ? end + AHEAD : f->size;

    if (off > asked + AHEAD || asked > end + 2 * AHEAD) {
        f->asked = end;
    } else if (to > from) {
        f->asked = to;
        fmp_file_prefetch(&f->in, from, to - from);
    }
}

fmp_status fmp_store_read_file(const fmp_store *store, uint32_t file, uint64_t off, void *buf,
                               size_t len, fmp_error *err)
{
    fmp_store_file *f;

    if (file >= store->n_files)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: has %u files, asked for number %u",
                        store->path, store->n_files, file);
    f = &store->files[file];
    if (off > f->size || len > f->size - off)
        return fmp_fail(err, FMP_EUSAGE, off, "%s: %zu bytes at %llu do not lie in its %llu bytes",
                        f->in.path, len, (unsigned long long)off, (unsigned long long)f->size);
    if (!len)
        return FMP_OK;
    if (f->in.open) {
        if (len >= LARGE)
            read_ahead(f, off, len);
        return fmp_file_read(&f->in, off, buf, len, err);
    }
    return read_parked(&f->in, off, buf, len, err);
}

fmp_status fmp_store_read(const fmp_store *store, uint32_t tensor, uint64_t off, void *buf,
                          size_t len, fmp_error *err)
{
    const fmp_store_entry *t;

    if (tensor >= store->n_tensors)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: has %u tensors, asked for number %u",
                        store->path, store->n_tensors, tensor);
    t = &store->tensors[tensor];
    if (off > t->n_bytes || len > t->n_bytes - off)
        return fmp_fail(err, FMP_EUSAGE, off,
                        "%s: tensor \"%s\": %zu bytes at %llu do not lie in its %llu bytes",
                        store->path, store->names + t->name_at, len, (unsigned long long)off,
                        (unsigned long long)t->n_bytes);
    if (store->overlay)
        return store->overlay(store->overlay_ctx, tensor, off, buf, len, err);
    return fmp_store_read_file(store, t->file, t->off + off, buf, len, err);
}

fmp_status fmp_store_unchanged(const fmp_store *store, fmp_error *err)
{
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < store->n_files && !st; i++) {
        if (store->files[i].in.open)
            st = fmp_file_unchanged(&store->files[i].in, err);
    }
    return st;
}

bool fmp_store_is_made_of(const fmp_store *store, const char *path)
{
    fmp_file f = {0};
    bool same = false;

    if (fmp_file_open(&f, path, NULL))
        return false;
    for (uint32_t i = 0; i < store->n_files && !same; i++)
        same = store->files[i].in.dev == f.dev && store->files[i].in.ino == f.ino;
    fmp_file_close(&f);
    return same;
}

uint32_t fmp_store_find_side(const fmp_store *store, const char *name)
{
    uint32_t low = fmp_store_weights(store);
    uint32_t high = store->n_files;

    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        const int order = strcmp(store->files[mid].name, name);

        if (order == 0)
            return mid;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return UINT32_MAX;
}
