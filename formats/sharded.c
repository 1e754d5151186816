/*
 * A sharded checkpoint: an index whose weight_map says which shard holds which tensor.  The index
 * is outside bytes, and so is every file name in it.  It is read twice through one handle: for the
 * shards, and then, when they are open, against what they hold; its names are never held in memory.
 */
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/status.h"
#include "builder.h"

enum { MAX_DEPTH = 4 };

typedef struct shard_index {
    fmp_builder *b;
    fmp_file in;
    fmp_names files;
    fmp_buf tensor; /* name of the entry that is being read, NUL-terminated beyond its length */
    bool checking;  /* the second reading */
} shard_index;

fmp_status fmp_json_read_file(void *ctx, uint64_t off, void *buf, size_t len, fmp_error *err)
{
    const fmp_json_file *f = ctx;

    return fmp_file_read(f->in, f->off + off, buf, len, err);
}

static const char *tensor_of(const shard_index *x)
{
    return (const char *)x->tensor.data;
}

/* First reading: one file name. */
static fmp_status note_file(shard_index *x, const fmp_json *j, fmp_error *err)
{
    const char *file = (const char *)j->text.data;
    fmp_status st;

    if (memchr(j->text.data, 0, j->text.len) || !fmp_path_is_safe(file))
        return fmp_fail(err, FMP_ECORRUPT, j->token_at,
                        "%s: tensor \"%.100s\": expected a file below the index's directory, found "
                        "\"%.200s\"",
                        x->in.path, tensor_of(x), file);
    if (!fmp_has_suffix(file, ".safetensors"))
        return fmp_fail(err, FMP_ENOTSUP, j->token_at,
                        "%s: tensor \"%.100s\": expected a .safetensors file, found \"%.200s\" "
                        "(convert the checkpoint to safetensors first)",
                        x->in.path, tensor_of(x), file);
    st = fmp_names_add(&x->files, file, j->text.len, err);
    if (!st && x->files.n_clean > x->b->limits.max_files)
        st = fmp_fail(err, FMP_ELIMIT, j->token_at, "%s: more than %u shards, the limit",
                      x->in.path, x->b->limits.max_files);
    return st;
}

/* Second reading: the tensor must lie where the map says, and stand in the map once. */
static fmp_status check_entry(shard_index *x, const fmp_json *j, fmp_error *err)
{
    struct fmp_store *s = &x->b->store;
    const char *file = (const char *)j->text.data;
    const uint32_t i = fmp_store_find(s, tensor_of(x), x->tensor.len);
    const char *found;

    if (i == UINT32_MAX)
        return fmp_fail(err, FMP_ECORRUPT, j->token_at,
                        "%s: tensor \"%.200s\": expected in %.100s, found in no shard", x->in.path,
                        tensor_of(x), file);
    found = s->files[s->tensors[i].file].name;
    if (strcmp(found, file))
        return fmp_fail(err, FMP_ECORRUPT, j->token_at,
                        "%s: tensor \"%.150s\": expected in %.80s, found in %.80s", x->in.path,
                        tensor_of(x), file, found);
    if (s->tensors[i].flags & FMP_TENSOR_MAPPED)
        return fmp_fail(err, FMP_ECORRUPT, j->token_at,
                        "%s: tensor \"%.200s\": expected once in weight_map, found twice",
                        x->in.path, tensor_of(x));
    s->tensors[i].flags |= FMP_TENSOR_MAPPED;
    return FMP_OK;
}

static fmp_status read_weight_map(shard_index *x, fmp_json *j, fmp_error *err)
{
    fmp_status st = fmp_json_expect(j, FMP_JSON_OBJECT_BEGIN, "weight_map", err);

    while (!st) {
        st = fmp_json_next(j, err);
        if (st || j->kind == FMP_JSON_OBJECT_END)
            break;
        fmp_buf_clear(&x->tensor);
        fmp_buf_put(&x->tensor, j->text.data, j->text.len);
        fmp_buf_put(&x->tensor, "", 1);
        if (x->tensor.bad)
            return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", x->in.path);
        x->tensor.len--;
        st = fmp_json_expect(j, FMP_JSON_STRING, "the name of a shard", err);
        if (!st)
            st = x->checking ? check_entry(x, j, err) : note_file(x, j, err);
    }
    return st;
}

static fmp_status read_top(shard_index *x, fmp_json *j, fmp_error *err)
{
    static const char key[] = "weight_map";
    bool has_map = false;
    fmp_status st = fmp_json_expect(j, FMP_JSON_OBJECT_BEGIN, "a sharded index", err);

    while (!st) {
        st = fmp_json_next(j, err);
        if (st || j->kind == FMP_JSON_OBJECT_END)
            break;
        if (j->text.len != sizeof key - 1 || memcmp(j->text.data, key, sizeof key - 1)) {
            st = fmp_json_next(j, err);
            if (!st)
                st = fmp_json_skip(j, err);
            continue;
        }
        if (has_map)
            return fmp_fail(err, FMP_ECORRUPT, j->token_at,
                            "%s: weight_map: expected once, found twice", x->in.path);
        has_map = true;
        st = read_weight_map(x, j, err);
    }
    if (!st)
        st = fmp_json_expect(j, FMP_JSON_END, "the end of the index", err);
    if (!st && !has_map)
        st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: expected a weight_map, found none",
                      x->in.path);
    return st;
}

static fmp_status read_index(shard_index *x, fmp_error *err)
{
    fmp_json_file source = {.in = &x->in};
    fmp_json j = {0};
    fmp_status st =
        fmp_json_init(&j, fmp_json_read_file, &source, x->in.size, x->in.path, 0, MAX_DEPTH, err);

    if (!st)
        st = read_top(x, &j, err);
    fmp_json_release(&j);
    return st;
}

static int compare_folded(const void *ctx, uint32_t a, uint32_t b)
{
    const fmp_names *files = ctx;

    return strcasecmp(files->v[a], files->v[b]);
}

/* Two names that differ in case only are one file on some systems. */
static fmp_status refuse_folded_twins(const shard_index *x, fmp_error *err)
{
    const fmp_names *files = &x->files;
    uint32_t *order = fmp_calloc(files->n, sizeof *order);
    fmp_status st;

    if (!order)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", x->in.path);
    for (uint32_t i = 0; i < files->n; i++)
        order[i] = i;
    st = fmp_sort_u32(order, files->n, compare_folded, files, err);
    for (uint32_t i = 1; !st && i < files->n; i++)
        if (!compare_folded(files, order[i - 1], order[i]))
            st =
                fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                         "%s: expected shard names that differ in more than case, found \"%.100s\" "
                         "and \"%.100s\"",
                         x->in.path, files->v[order[i - 1]], files->v[order[i]]);
    fmp_free(order);
    return st;
}

/* After the second reading: no shard holds what the map lacks. */
static fmp_status check_all_mapped(shard_index *x, fmp_error *err)
{
    struct fmp_store *s = &x->b->store;

    for (uint32_t i = 0; i < s->n_tensors; i++) {
        fmp_store_entry *t = &s->tensors[i];

        if (!(t->flags & FMP_TENSOR_MAPPED) && !x->b->lenient)
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: tensor \"%.200s\": expected in weight_map, found only in %s",
                            x->in.path, s->names + t->name_at, s->files[t->file].name);
        t->flags &= (uint8_t)~FMP_TENSOR_MAPPED;
    }
    return FMP_OK;
}

static fmp_status open_shards(shard_index *x, const char *dir, const fmp_store_options *options,
                              fmp_error *err)
{
    const fmp_store_driver *d = x->b->store.driver;

    for (uint32_t i = 0; i < x->files.n; i++) {
        fmp_status st = d->open(&x->b->store, dir, x->files.v[i], options, err);

        if (st)
            return st;
    }
    return fmp_builder_finish(x->b, err);
}

fmp_status fmp_sharded_open(fmp_builder *b, const char *dir, const char *name,
                            const fmp_store_options *options, fmp_error *err)
{
    shard_index x = {.b = b};
    fmp_status st = fmp_file_open_below(&x.in, dir, name, err);

    if (st)
        return st;
    b->store.driver = &fmp_safetensors_driver;
    if (x.in.size > b->limits.max_header) {
        st = fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "%s: index of %llu bytes, the limit is %llu",
                      x.in.path, (unsigned long long)x.in.size,
                      (unsigned long long)b->limits.max_header);
        goto out;
    }
    st = read_index(&x, err);
    if (st)
        goto out;
    fmp_names_finish(&x.files);
    if (x.files.n > b->limits.max_files) {
        st = fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "%s: %u shards, the limit is %u", x.in.path,
                      x.files.n, b->limits.max_files);
        goto out;
    }
    st = refuse_folded_twins(&x, err);
    if (!st)
        st = open_shards(&x, dir, options, err);
    x.checking = true;
    if (!st)
        st = read_index(&x, err);
    if (!st)
        st = check_all_mapped(&x, err);
    if (!st)
        st = fmp_file_unchanged(&x.in, err);

out:
    fmp_names_release(&x.files);
    fmp_buf_release(&x.tensor);
    fmp_file_close(&x.in);
    return st;
}
