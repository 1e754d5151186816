/*
 * How an fmp_store grows while its files are parsed.  See builder.h.
 */
#include "builder.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"

static fmp_status no_memory(const fmp_builder *b, fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", b->store.path);
}

/* Room for `need` elements in an arena, half as much again where it must grow. */
static bool grow(void **arena, size_t *cap, size_t need, size_t size)
{
    size_t more = *cap + *cap / 2 + 16;
    void *p;

    if (need <= *cap)
        return true;
    if (more < need)
        more = need;
    p = fmp_realloc(*arena, more, size);
    if (!p)
        return false;
    *arena = p;
    *cap = more;
    return true;
}

/* A failure to shrink costs memory only. */
static void trim(void **arena, size_t n, size_t size)
{
    void *p = *arena && n ? fmp_realloc(*arena, n, size) : NULL;

    if (p)
        *arena = p;
}

static fmp_status resolve_limits(const fmp_limits *given, fmp_limits *ret, fmp_error *err)
{
    fmp_limits l = {0};

    if (given) {
        if (given->size < sizeof given->size)
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "limits: `size` is not set");
        memcpy(&l, given, given->size < sizeof l ? given->size : sizeof l);
    }
    l.size = sizeof l;
    if (!l.max_tensors)
        l.max_tensors = 1000000;
    if (!l.max_files)
        l.max_files = 100000;
    if (!l.max_header)
        l.max_header = 100000000;
    if (!l.max_index)
        l.max_index = (uint64_t)512 << 20;
    if (!l.max_size)
        l.max_size = (uint64_t)4 << 40;
    *ret = l;
    return FMP_OK;
}

fmp_status fmp_builder_new(const char *path, const fmp_store_options *options, fmp_builder **ret,
                           fmp_error *err)
{
    fmp_builder *b = fmp_calloc(1, sizeof *b);
    fmp_status st;

    if (!b)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
    st = resolve_limits(options->limits, &b->limits, err);
    if (st)
        goto fail;
    b->lenient = options->lenient;
    b->store.path = fmp_strndup(path, strlen(path));
    if (!b->store.path) {
        st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
        goto fail;
    }
    *ret = b;
    return FMP_OK;

fail:
    fmp_builder_free(b);
    return st;
}

static void release_file(fmp_store_file *f)
{
    if (f->in.open)
        fmp_file_close(&f->in);
    else
        fmp_free(f->in.path);
    fmp_free(f->name);
}

void fmp_builder_free(fmp_builder *b)
{
    if (!b)
        return;
    for (uint32_t i = 0; i < b->store.n_files; i++)
        release_file(&b->store.files[i]);
    fmp_free(b->store.files);
    fmp_free(b->store.tensors);
    fmp_free(b->store.by_name);
    fmp_free(b->store.names);
    fmp_free(b->store.shapes);
    fmp_free(b->store.dims);
    fmp_free(b->store.path);
    fmp_free(b->shape_slots);
    fmp_free(b);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

fmp_status fmp_builder_add_file(fmp_builder *b, const char *dir, const char *name, bool side,
                                fmp_store_file **ret, fmp_error *err)
{
    struct fmp_store *s = &b->store;
    const char *kept = dir ? name : base_name(name);
    fmp_store_file f = {.side = side, .first_tensor = s->n_tensors};
    fmp_status st;

    if (s->n_files >= b->limits.max_files)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "%s: more than %u files, the limit",
                        s->path, b->limits.max_files);
    if (!grow((void **)&s->files, &b->files_cap, (size_t)s->n_files + 1, sizeof *s->files))
        return no_memory(b, err);
    st = dir ? fmp_file_open_below(&f.in, dir, name, err) : fmp_file_open(&f.in, name, err);
    if (st)
        return st;
    if (f.in.size > b->limits.max_size - b->total_size) {
        st = fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET,
                      "%s: its %llu bytes make the checkpoint larger than the limit of %llu",
                      f.in.path, (unsigned long long)f.in.size,
                      (unsigned long long)b->limits.max_size);
        goto fail;
    }
    f.name = fmp_strndup(kept, strlen(kept));
    if (!f.name) {
        st = no_memory(b, err);
        goto fail;
    }
    f.size = f.in.size;
    b->total_size += f.size;
    b->n_open++;
    s->files[s->n_files] = f;
    *ret = &s->files[s->n_files++];
    return FMP_OK;

fail:
    release_file(&f);
    return st;
}

void fmp_builder_park_file(fmp_builder *b)
{
    fmp_file *in = &b->store.files[b->store.n_files - 1].in;
    fmp_file was = *in;

    if (b->n_open <= FMP_STORE_MAX_OPEN)
        return;
    /* Without memory for its path the file simply stays open. */
    was.path = fmp_strndup(in->path, strlen(in->path));
    if (!was.path)
        return;
    fmp_file_close(in);
    *in = was;
    in->open = false;
    in->fd = 0;
    b->n_open--;
}

static uint64_t shape_hash(const uint64_t *dims, uint32_t rank)
{
    uint64_t h = rank;

    for (uint32_t i = 0; i < rank; i++) {
        h = (h ^ dims[i]) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    return h;
}

static uint64_t shape_hash_at(const struct fmp_store *s, uint32_t shape)
{
    return shape_hash(s->dims + s->shapes[shape].dims_at, s->shapes[shape].rank);
}

/* Probing is bounded, so that shapes made to collide cost space but no time. */
enum { MAX_PROBES = 32 };

/* The slot that holds this shape or where it may go; SIZE_MAX when neither is near. */
static size_t find_slot(const fmp_builder *b, const uint64_t *dims, uint32_t rank)
{
    const struct fmp_store *s = &b->store;
    const size_t mask = b->shape_slots_cap - 1;
    size_t at = (size_t)shape_hash(dims, rank) & mask;

    for (unsigned i = 0; i < MAX_PROBES; i++, at = (at + 1) & mask) {
        const uint32_t slot = b->shape_slots[at];
        const fmp_shape *shape = slot ? &s->shapes[slot - 1] : NULL;

        if (!shape || (shape->rank == rank &&
                       (!rank || !memcmp(s->dims + shape->dims_at, dims, rank * sizeof *dims))))
            return at;
    }
    return SIZE_MAX;
}

static bool grow_slots(fmp_builder *b)
{
    const size_t cap = b->shape_slots_cap ? 2 * b->shape_slots_cap : 64;
    uint32_t *slots;

    if (b->store.n_shapes < b->shape_slots_cap / 2)
        return true;
    slots = fmp_calloc(cap, sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t i = 0; i < b->store.n_shapes; i++) {
        size_t at = (size_t)shape_hash_at(&b->store, i) & (cap - 1);
        unsigned probes = 0;

        while (slots[at] && ++probes < MAX_PROBES)
            at = (at + 1) & (cap - 1);
        if (!slots[at])
            slots[at] = i + 1;
    }
    fmp_free(b->shape_slots);
    b->shape_slots = slots;
    b->shape_slots_cap = cap;
    return true;
}

/* The number of a shape, which is added unless it is there. */
static fmp_status intern_shape(fmp_builder *b, const fmp_found *t, uint32_t *ret, fmp_error *err)
{
    struct fmp_store *s = &b->store;
    size_t at;

    if (!grow_slots(b))
        return no_memory(b, err);
    at = find_slot(b, t->shape, t->rank);
    if (at != SIZE_MAX && b->shape_slots[at]) {
        *ret = b->shape_slots[at] - 1;
        return FMP_OK;
    }
    if (t->rank > UINT32_MAX - s->n_dims)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "%s: too many dimensions in all", s->path);
    if (!grow((void **)&s->dims, &b->dims_cap, (size_t)s->n_dims + t->rank, sizeof *s->dims) ||
        !grow((void **)&s->shapes, &b->shapes_cap, (size_t)s->n_shapes + 1, sizeof *s->shapes))
        return no_memory(b, err);
    s->shapes[s->n_shapes] = (fmp_shape){.rank = t->rank, .dims_at = s->n_dims};
    if (t->rank)
        memcpy(s->dims + s->n_dims, t->shape, t->rank * sizeof *t->shape);
    s->n_dims += t->rank;
    *ret = s->n_shapes++;
    if (at != SIZE_MAX)
        b->shape_slots[at] = *ret + 1;
    return FMP_OK;
}

static uint8_t dtype_number(const fmp_dtype *dtype)
{
    uint8_t i = 0;

    while (fmp_dtype_at(i) != dtype)
        i++;
    return i;
}

fmp_status fmp_builder_add_tensor(fmp_builder *b, const fmp_found *t, fmp_error *err)
{
    struct fmp_store *s = &b->store;
    fmp_store_file *f = &s->files[s->n_files - 1];
    fmp_store_entry *to;
    uint32_t shape = 0;
    fmp_status st;

    if (s->n_tensors >= b->limits.max_tensors)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "%s: more than %u tensors, the limit",
                        f->in.path, b->limits.max_tensors);
    if (t->name_len > UINT16_MAX || s->names_len + t->name_len + 1 > UINT32_MAX)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET,
                        "%s: tensor \"%.60s...\": its name of %zu bytes is too long", f->in.path,
                        t->name, t->name_len);
    st = intern_shape(b, t, &shape, err);
    if (st)
        return st;
    if (!grow((void **)&s->tensors, &b->tensors_cap, (size_t)s->n_tensors + 1,
              sizeof *s->tensors) ||
        !grow((void **)&s->names, &b->names_cap, s->names_len + t->name_len + 1, 1))
        return no_memory(b, err);
    to = &s->tensors[s->n_tensors++];
    *to = (fmp_store_entry){.off = t->off,
                            .n_bytes = t->n_bytes,
                            .name_at = (uint32_t)s->names_len,
                            .shape = shape,
                            .file = s->n_files - 1,
                            .name_len = (uint16_t)t->name_len,
                            .dtype = dtype_number(t->dtype)};
    memcpy(s->names + s->names_len, t->name, t->name_len);
    s->names[s->names_len + t->name_len] = '\0';
    s->names_len += t->name_len + 1;
    f->n_tensors++;
    return FMP_OK;
}

static int compare_names(const void *ctx, uint32_t a, uint32_t b)
{
    const struct fmp_store *s = ctx;
    const fmp_store_entry *x = &s->tensors[a];
    const fmp_store_entry *y = &s->tensors[b];

    return fmp_compare_bytes(s->names + x->name_at, x->name_len, s->names + y->name_at,
                             y->name_len);
}

static fmp_status refuse_duplicates(const struct fmp_store *s, fmp_error *err)
{
    for (uint32_t i = 1; i < s->n_tensors; i++) {
        const fmp_store_entry *x = &s->tensors[s->by_name[i - 1]];
        const fmp_store_entry *y = &s->tensors[s->by_name[i]];

        if (compare_names(s, s->by_name[i - 1], s->by_name[i]))
            continue;
        if (x->file == y->file)
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: tensor \"%s\": expected once, found twice",
                            s->files[x->file].in.path, s->names + x->name_at);
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: tensor \"%s\": expected once, found in %s as well",
                        s->files[y->file].in.path, s->names + y->name_at, s->files[x->file].name);
    }
    return FMP_OK;
}

fmp_status fmp_builder_finish(fmp_builder *b, fmp_error *err)
{
    struct fmp_store *s = &b->store;
    fmp_status st;

    fmp_free(b->shape_slots);
    b->shape_slots = NULL;
    b->shape_slots_cap = 0;
    trim((void **)&s->tensors, s->n_tensors, sizeof *s->tensors);
    trim((void **)&s->names, s->names_len, 1);
    trim((void **)&s->shapes, s->n_shapes, sizeof *s->shapes);
    trim((void **)&s->dims, s->n_dims, sizeof *s->dims);
    s->by_name = fmp_calloc(s->n_tensors, sizeof *s->by_name);
    if (!s->by_name)
        return no_memory(b, err);
    for (uint32_t i = 0; i < s->n_tensors; i++)
        s->by_name[i] = i;
    st = fmp_sort_u32(s->by_name, s->n_tensors, compare_names, s, err);
    return st ? st : refuse_duplicates(s, err);
}
