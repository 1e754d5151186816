/*
 * fmp_writer: a patch from indices and new values.  It lays them over the base as an overlay store
 * and hands both to fmp_create(), so that there is one way in which patches are made.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "base/store.h"
#include "create.h"
#include "overlay.h"
#include "patch.h"

/* The change of one tensor of the base. */
typedef struct edit {
    uint32_t tensor;
    uint32_t width; /* bytes of an element */
    uint64_t *idx;
    uint8_t *values;
    uint64_t n;
} edit;

struct fmp_writer {
    const fmp_store *base;
    char *path;
    fmp_create_options o;
    edit *edits;
    uint32_t n_edits;
    uint32_t *edit_of;      /* tensor of the base -> edit + 1 */
    uint8_t **added;        /* content of added tensors, from number base->n_tensors on */
    struct fmp_store store; /* the base with the changes laid over it */
    fmp_change_fn change;   /* or NULL */
    void *change_ctx;
    const fmp_patch *of; /* whose base it must be, or NULL */
};

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "writing a patch: out of memory");
}

void fmp_writer_abort(fmp_writer *w)
{
    if (!w)
        return;
    for (uint32_t i = 0; i < w->n_edits; i++) {
        fmp_free(w->edits[i].idx);
        fmp_free(w->edits[i].values);
    }
    for (uint32_t i = w->base->n_tensors; w->added && i < w->store.n_tensors; i++)
        fmp_free(w->added[i - w->base->n_tensors]);
    fmp_free(w->edits);
    fmp_free(w->edit_of);
    fmp_free(w->added);
    fmp_free(w->path);
    fmp_overlay_release(&w->store);
    fmp_free(w);
}

/* ---- the overlay ------------------------------------------------------------------------------
 */

/* Puts the part of each new value that lies in [off, off + len). */
static void lay_over(const edit *e, uint64_t off, uint8_t *buf, size_t len)
{
    for (uint64_t i = fmp_first_not_below(e->idx, e->n, off / e->width); i < e->n; i++) {
        const uint64_t at = e->idx[i] * e->width;

        if (at >= off + len)
            break;
        for (uint32_t k = 0; k < e->width; k++) {
            if (at + k >= off && at + k < off + len)
                buf[at + k - off] = e->values[i * e->width + k];
        }
    }
}

static fmp_status overlay_read(void *ctx, uint32_t tensor, uint64_t off, void *buf, size_t len,
                               fmp_error *err)
{
    const fmp_writer *w = ctx;
    fmp_status st;

    if (tensor >= w->base->n_tensors) {
        memcpy(buf, w->added[tensor - w->base->n_tensors] + off, len);
        return FMP_OK;
    }
    st = fmp_store_read(w->base, tensor, off, buf, len, err);
    if (!st && w->change)
        st = w->change(w->change_ctx, tensor, off, buf, len, err);
    if (!st && w->edit_of[tensor])
        lay_over(&w->edits[w->edit_of[tensor] - 1], off, buf, len);
    return st;
}

static void *copy_of(const void *data, size_t n, size_t size, size_t more)
{
    void *copy = fmp_calloc(n + more, size);

    if (copy && n)
        memcpy(copy, data, n * size);
    return copy;
}

static bool copy_store(fmp_writer *w)
{
    const fmp_store *b = w->base;
    struct fmp_store *s = &w->store;

    *s = *b;
    s->files = copy_of(b->files, b->n_files, sizeof *b->files, 0);
    s->tensors = copy_of(b->tensors, b->n_tensors, sizeof *b->tensors, 0);
    s->by_name = copy_of(b->by_name, b->n_tensors, sizeof *b->by_name, 0);
    s->names = copy_of(b->names, b->names_len, 1, 0);
    s->shapes = copy_of(b->shapes, b->n_shapes, sizeof *b->shapes, 0);
    s->dims = copy_of(b->dims, b->n_dims, sizeof *b->dims, 0);
    s->overlay = overlay_read;
    s->overlay_ctx = w;
    s->below = b;
    return s->files && s->tensors && s->by_name && s->names && s->shapes && s->dims;
}

fmp_status fmp_writer_new(const fmp_store *base, const char *path,
                          const fmp_create_options *options, fmp_writer **ret, fmp_error *err)
{
    fmp_writer *w = fmp_calloc(1, sizeof *w);

    if (!w)
        return no_memory(err);
    w->base = base;
    if (options)
        memcpy(&w->o, options, options->size < sizeof w->o ? options->size : sizeof w->o);
    w->o.size = sizeof w->o;
    w->path = fmp_strndup(path, strlen(path));
    w->edits = fmp_calloc(base->n_tensors, sizeof *w->edits);
    w->edit_of = fmp_calloc(base->n_tensors, sizeof *w->edit_of);
    if (!w->path || !w->edits || !w->edit_of || !copy_store(w)) {
        fmp_writer_abort(w);
        return no_memory(err);
    }
    *ret = w;
    return FMP_OK;
}

void fmp_writer_on_read(fmp_writer *w, fmp_change_fn change, void *ctx)
{
    w->change = change;
    w->change_ctx = ctx;
}

void fmp_writer_expect(fmp_writer *w, const fmp_patch *of)
{
    w->of = of;
}

/* ---- changes ----------------------------------------------------------------------------------
 */

static fmp_status check_indices(const char *name, const uint64_t *idx, uint64_t n,
                                uint64_t n_elements, fmp_error *err)
{
    for (uint64_t i = 0; i < n; i++) {
        if (idx[i] >= n_elements)
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                            "tensor \"%s\": index %llu, but it has %llu elements", name,
                            (unsigned long long)idx[i], (unsigned long long)n_elements);
        if (i && idx[i] <= idx[i - 1])
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                            "tensor \"%s\": index %llu follows %llu: ascending ones expected", name,
                            (unsigned long long)idx[i], (unsigned long long)idx[i - 1]);
    }
    return FMP_OK;
}

fmp_status fmp_writer_set(fmp_writer *w, const char *name, const uint64_t *idx, const void *values,
                          uint64_t n, fmp_error *err)
{
    const uint32_t tensor = fmp_store_find(w->base, name, strlen(name));
    const fmp_dtype *dtype;
    edit e = {.tensor = tensor, .n = n};
    fmp_status st;

    if (tensor == UINT32_MAX)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: has no tensor \"%s\"", w->base->path,
                        name);
    if (w->edit_of[tensor])
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "tensor \"%s\" is set twice", name);
    dtype = fmp_dtype_at(w->base->tensors[tensor].dtype);
    if (dtype->bits % 8)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "tensor \"%s\": elements of %s are no whole bytes", name, dtype->name);
    st = check_indices(name, idx, n, fmp_store_tensor(w->base, tensor).n_elements, err);
    if (st)
        return st;
    e.width = dtype->bits / 8u;
    e.idx = fmp_calloc((size_t)n, sizeof *e.idx);
    e.values = fmp_calloc((size_t)n, e.width);
    if (!e.idx || !e.values) {
        fmp_free(e.idx);
        fmp_free(e.values);
        return no_memory(err);
    }
    if (n) {
        memcpy(e.idx, idx, (size_t)n * sizeof *idx);
        memcpy(e.values, values, (size_t)n * e.width);
    }
    w->edits[w->n_edits++] = e;
    w->edit_of[tensor] = w->n_edits;
    return FMP_OK;
}

/* Room for one more tensor, its name and its shape; false when memory is short. */
static bool grow(fmp_writer *w, size_t name_len, uint32_t rank)
{
    struct fmp_store *s = &w->store;
    const uint32_t n_added = s->n_tensors - w->base->n_tensors;
    void *p;

#define GROW(field, n, type)                                                                       \
    do {                                                                                           \
        p = fmp_realloc(field, n, sizeof(type));                                                   \
        if (!p)                                                                                    \
            return false;                                                                          \
        (field) = p;                                                                               \
    } while (0)
    GROW(s->tensors, (size_t)s->n_tensors + 1, fmp_store_entry);
    GROW(s->by_name, (size_t)s->n_tensors + 1, uint32_t);
    GROW(s->names, s->names_len + name_len + 1, char);
    GROW(s->shapes, (size_t)s->n_shapes + 1, fmp_shape);
    GROW(s->dims, (size_t)s->n_dims + rank, uint64_t);
    GROW(w->added, (size_t)n_added + 1, uint8_t *);
#undef GROW
    return true;
}

fmp_status fmp_writer_add(fmp_writer *w, const char *name, const char *dtype, uint32_t rank,
                          const uint64_t *shape, const void *data, fmp_error *err)
{
    struct fmp_store *s = &w->store;
    const fmp_dtype *d = fmp_dtype_find(dtype, strlen(dtype));
    const size_t name_len = strlen(name);
    const uint32_t last_file = fmp_store_weights(s) - 1;
    fmp_store_file *last = &s->files[last_file];
    fmp_store_entry *e;
    uint64_t n_elements, n_bytes;
    uint8_t *copy;
    uint8_t number = 0;

    if (!d || !fmp_dtype_bytes(d, rank, shape, &n_elements, &n_bytes) || n_bytes > SIZE_MAX / 2)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "tensor \"%s\": dtype or shape is not valid", name);
    if (!name_len || name_len > 1024 || fmp_store_find(s, name, name_len) != UINT32_MAX)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "tensor \"%s\": exists already, or its name is too long", name);
    if (strcmp(s->driver->name, "raw") == 0)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: a raw file has one tensor", s->path);
    copy = fmp_malloc((size_t)n_bytes);
    if (!copy || !grow(w, name_len, rank)) {
        fmp_free(copy);
        return no_memory(err);
    }
    while (fmp_dtype_at(number) != d)
        number++;
    if (n_bytes)
        memcpy(copy, data, (size_t)n_bytes);
    w->added[s->n_tensors - w->base->n_tensors] = copy;
    e = &s->tensors[s->n_tensors];
    *e = (fmp_store_entry){.off = last->size,
                           .n_bytes = n_bytes,
                           .name_at = (uint32_t)s->names_len,
                           .name_len = (uint16_t)name_len,
                           .shape = s->n_shapes,
                           .file = last_file,
                           .dtype = number};
    memcpy(s->names + s->names_len, name, name_len + 1);
    s->names_len += name_len + 1;
    s->shapes[s->n_shapes++] = (fmp_shape){.rank = rank, .dims_at = s->n_dims};
    if (rank)
        memcpy(s->dims + s->n_dims, shape, rank * sizeof *shape);
    s->n_dims += rank;
    s->by_name[s->n_tensors] = s->n_tensors;
    for (uint32_t i = s->n_tensors; i > 0; i--) { /* keep the names sorted */
        const fmp_store_entry *x = &s->tensors[s->by_name[i - 1]];

        if (strcmp(s->names + x->name_at, name) < 0)
            break;
        s->by_name[i] = s->by_name[i - 1];
        s->by_name[i - 1] = s->n_tensors;
    }
    s->n_tensors++;
    last->n_tensors++;
    last->size += n_bytes;
    return FMP_OK;
}

/* ---- the end ----------------------------------------------------------------------------------
 */

typedef struct measure {
    const struct fmp_store *s;
    uint32_t first;
    uint64_t len;
} measure;

static fmp_tensor_info measured_tensor(void *ctx, uint32_t i)
{
    const measure *m = ctx;

    return fmp_store_tensor(m->s, m->first + i);
}

static fmp_status count_bytes(void *ctx, const void *data, size_t len, fmp_error *err)
{
    (void)data;
    (void)err;
    ((measure *)ctx)->len += len;
    return FMP_OK;
}

/* Every file has the header that its driver derives from the tensors it now has. */
static fmp_status size_headers(fmp_writer *w, fmp_error *err)
{
    struct fmp_store *s = &w->store;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < fmp_store_weights(s) && !st; i++) {
        fmp_store_file *f = &s->files[i];
        measure m = {.s = s, .first = f->first_tensor};
        fmp_buf hint = {0};

        st = s->driver->header_hint(w->base, i, &hint, err);
        if (!st)
            st = s->driver->header_write(hint.data, hint.len, measured_tensor, &m, f->n_tensors,
                                         count_bytes, &m, err);
        fmp_buf_release(&hint);
        f->size += m.len - f->header_len;
        f->header_len = m.len;
        f->in.open = false; /* it is the base's to check and to close */
    }
    return st;
}

fmp_status fmp_writer_finish(fmp_writer *w, fmp_create_result *ret, fmp_error *err)
{
    fmp_status st = size_headers(w, err);

    if (!st)
        st = fmp_create_of(w->base, &w->store, w->path, &w->o, w->of, ret, err);
    fmp_writer_abort(w);
    return st;
}
