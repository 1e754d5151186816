/*
 * Masks: which elements of a model are selected.  FORMAT.md, "Masks".  Writing makes up two
 * checkpoints, one of zeros and one with a 1 at every selected element, and hands both to
 * fmp_create(); nothing of the size of the model is ever held.  Reading is reading a patch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "base/store.h"
#include "codec/residual.h"
#include "create.h"
#include "overlay.h"
#include "patch.h"

#define KIND        "mask"
#define DTYPE       "BOOL"
#define MAX_NAME    1024u
#define MAX_TENSORS 1000000u            /* what readers put up with unless told otherwise */
#define MAX_SIZE    ((uint64_t)4 << 40) /* likewise; bytes, which are elements */

/* The selection of one tensor. */
typedef struct selection {
    char *name;
    uint64_t *shape;
    uint64_t *idx; /* NULL when none or all are selected */
    uint64_t n, n_elements;
    uint32_t rank;
    uint16_t name_len;
} selection;

struct fmp_mask_writer {
    char *path;
    char *manifest; /* the caller's, with the kind in it */
    fmp_create_options o;
    selection *list;
    uint32_t n, cap;
    uint64_t n_elements; /* of all */
    size_t names_len;
    uint32_t n_dims;
    char file_name[32];
    struct fmp_store base, target; /* share everything but the overlay */
};

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "a mask: out of memory");
}

static void selection_release(selection *s)
{
    fmp_free(s->name);
    fmp_free(s->shape);
    fmp_free(s->idx);
}

/* Takes NULL, and any state that fmp_mask_writer_new() can leave half built. */
void fmp_mask_writer_abort(fmp_mask_writer *w)
{
    if (!w)
        return;
    for (uint32_t i = 0; i < w->n; i++)
        selection_release(&w->list[i]);
    fmp_free(w->list);
    fmp_free(w->path);
    fmp_free(w->manifest);
    fmp_overlay_release(&w->base);
    fmp_free(w);
}

/* ---- what is selected -------------------------------------------------------------------------
 */

static fmp_status check_options(const fmp_create_options *o, fmp_error *err)
{
    if (o->n_renames)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "a mask has no renamed tensors");
    if (o->set_values)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "a mask is made of residuals: new bits (set) are not for it");
    if (o->profile != FMP_PROFILE_OPEN)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "a mask is read without its base: profile compact is not for it");
    return FMP_OK;
}

fmp_status fmp_mask_writer_new(const char *path, const fmp_create_options *options,
                               fmp_mask_writer **ret, fmp_error *err)
{
    fmp_mask_writer *w = fmp_calloc(1, sizeof *w);
    fmp_status st;

    if (!w)
        return no_memory(err);
    if (options)
        memcpy(&w->o, options, options->size < sizeof w->o ? options->size : sizeof w->o);
    w->o.size = sizeof w->o;
    w->o.reversible = true; /* residuals only, whatever their cost */
    st = check_options(&w->o, err);
    if (!st)
        st = fmp_manifest_with_kind(w->o.manifest_json, KIND, &w->manifest, err);
    if (st)
        goto fail;
    w->o.manifest_json = w->manifest;
    w->path = fmp_strndup(path, strlen(path));
    if (!w->path) {
        st = no_memory(err);
        goto fail;
    }
    *ret = w;
    return FMP_OK;

fail:
    fmp_mask_writer_abort(w);
    return st;
}

static fmp_status check_name(const char *name, size_t len, fmp_error *err)
{
    if (!len || len > MAX_NAME || strcmp(name, "__metadata__") == 0)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "tensor \"%.100s\": a name of 1 to %u bytes expected that no format keeps "
                        "for itself",
                        name, MAX_NAME);
    if (!fmp_text_is_clean(name, len))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "a tensor's name: expected UTF-8 without control characters");
    return FMP_OK;
}

/* An index list that is no more than it must be: ascending, within the tensor. */
static fmp_status check_indices(const char *name, const uint64_t *idx, uint64_t n,
                                uint64_t n_elements, fmp_error *err)
{
    if (n > n_elements || (!idx && n && n != n_elements))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "tensor \"%.200s\": %llu indices%s, but it has %llu elements", name,
                        (unsigned long long)n, idx ? "" : " that are not given",
                        (unsigned long long)n_elements);
    for (uint64_t i = 0; idx && i < n; i++) {
        if (idx[i] >= n_elements)
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                            "tensor \"%.200s\": index %llu, but it has %llu elements", name,
                            (unsigned long long)idx[i], (unsigned long long)n_elements);
        if (i && idx[i] <= idx[i - 1])
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                            "tensor \"%.200s\": index %llu follows %llu: ascending ones expected",
                            name, (unsigned long long)idx[i], (unsigned long long)idx[i - 1]);
    }
    return FMP_OK;
}

static fmp_status check_shape(const fmp_mask_writer *w, const char *name, uint32_t rank,
                              const uint64_t *shape, uint64_t *ret_elements, fmp_error *err)
{
    const fmp_dtype *d = fmp_dtype_find(DTYPE, strlen(DTYPE));
    uint64_t n_bytes;

    if ((rank && !shape) || !fmp_dtype_bytes(d, rank, shape, ret_elements, &n_bytes))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "tensor \"%.200s\": its shape of rank %u is not valid", name, rank);
    if (w->n >= MAX_TENSORS)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "a mask of more than %u tensors, the limit",
                        MAX_TENSORS);
    if (n_bytes > MAX_SIZE - w->n_elements)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET,
                        "tensor \"%.200s\": the mask has more than %llu elements, the limit", name,
                        (unsigned long long)MAX_SIZE);
    return FMP_OK;
}

static bool grow(fmp_mask_writer *w)
{
    const uint32_t cap = w->cap ? w->cap + w->cap / 2 : 64;
    selection *list;

    if (w->n < w->cap)
        return true;
    list = fmp_realloc(w->list, cap, sizeof *list);
    if (!list)
        return false;
    w->list = list;
    w->cap = cap;
    return true;
}

/* A copy that is never NULL for want of elements. */
static uint64_t *copy_numbers(const uint64_t *from, uint64_t n)
{
    uint64_t *to = n < SIZE_MAX ? fmp_calloc((size_t)n + 1, sizeof *to) : NULL;

    if (to && n)
        memcpy(to, from, (size_t)n * sizeof *to);
    return to;
}

fmp_status fmp_mask_writer_add(fmp_mask_writer *w, const char *name, uint32_t rank,
                               const uint64_t *shape, const uint64_t *idx, uint64_t n,
                               fmp_error *err)
{
    const size_t name_len = strlen(name);
    selection s = {.rank = rank, .n = n, .name_len = (uint16_t)name_len};
    bool listed;
    fmp_status st = check_name(name, name_len, err);

    if (!st)
        st = check_shape(w, name, rank, shape, &s.n_elements, err);
    if (!st)
        st = check_indices(name, idx, n, s.n_elements, err);
    if (st)
        return st;
    listed = n && n < s.n_elements;
    s.name = fmp_strndup(name, name_len);
    s.shape = copy_numbers(shape, rank);
    s.idx = listed ? copy_numbers(idx, n) : NULL;
    if (!s.name || !s.shape || (listed && !s.idx) || !grow(w)) {
        selection_release(&s);
        return no_memory(err);
    }
    w->list[w->n++] = s;
    w->n_elements += s.n_elements;
    w->names_len += name_len + 1;
    w->n_dims += rank;
    return FMP_OK;
}

/* ---- the two checkpoints ----------------------------------------------------------------------
 */

static fmp_status read_zeros(void *ctx, uint32_t tensor, uint64_t off, void *buf, size_t len,
                             fmp_error *err)
{
    (void)ctx;
    (void)tensor;
    (void)off;
    (void)err;
    memset(buf, 0, len);
    return FMP_OK;
}

static fmp_status read_ones(void *ctx, uint32_t tensor, uint64_t off, void *buf, size_t len,
                            fmp_error *err)
{
    const selection *s = &((const fmp_mask_writer *)ctx)->list[tensor];
    uint8_t *out = buf;

    (void)err;
    memset(out, s->n == s->n_elements, len);
    for (uint64_t i = s->idx ? fmp_first_not_below(s->idx, s->n, off) : s->n; i < s->n; i++) {
        if (s->idx[i] - off >= len)
            break;
        out[s->idx[i] - off] = 1;
    }
    return FMP_OK;
}

static int compare_selections(const void *a, const void *b)
{
    return strcmp(((const selection *)a)->name, ((const selection *)b)->name);
}

/* Tensors lie in the order of their names, so that the order of adding them does not show. */
static fmp_status sort_list(fmp_mask_writer *w, fmp_error *err)
{
    if (w->n)
        qsort(w->list, w->n, sizeof *w->list, compare_selections);
    for (uint32_t i = 1; i < w->n; i++) {
        if (strcmp(w->list[i - 1].name, w->list[i].name) == 0)
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "tensor \"%.200s\" is added twice",
                            w->list[i].name);
    }
    return FMP_OK;
}

static bool make_room(fmp_mask_writer *w)
{
    struct fmp_store *s = &w->base;

    s->files = fmp_calloc(1, sizeof *s->files);
    s->tensors = fmp_calloc(w->n, sizeof *s->tensors);
    s->by_name = fmp_calloc(w->n, sizeof *s->by_name);
    s->names = fmp_malloc(w->names_len + 1);
    s->shapes = fmp_calloc(w->n, sizeof *s->shapes);
    s->dims = fmp_calloc((size_t)w->n_dims + 1, sizeof *s->dims);
    return s->files && s->tensors && s->by_name && s->names && s->shapes && s->dims;
}

static uint8_t dtype_number(void)
{
    const fmp_dtype *d = fmp_dtype_find(DTYPE, strlen(DTYPE));
    uint8_t i = 0;

    while (fmp_dtype_at(i) != d)
        i++;
    return i;
}

/* Where they would lie in a file is left open: overlays answer for all of them. */
static void fill_tensors(fmp_mask_writer *w)
{
    struct fmp_store *s = &w->base;
    const uint8_t dtype = dtype_number();

    for (uint32_t i = 0; i < w->n; i++) {
        const selection *x = &w->list[i];

        s->tensors[i] = (fmp_store_entry){.n_bytes = x->n_elements,
                                          .name_at = (uint32_t)s->names_len,
                                          .shape = i,
                                          .name_len = x->name_len,
                                          .dtype = dtype};
        s->by_name[i] = i;
        memcpy(s->names + s->names_len, x->name, x->name_len + 1u);
        s->names_len += x->name_len + 1u;
        s->shapes[i] = (fmp_shape){.rank = x->rank, .dims_at = s->n_dims};
        memcpy(s->dims + s->n_dims, x->shape, x->rank * sizeof *x->shape);
        s->n_dims += x->rank;
    }
    s->n_tensors = s->n_shapes = w->n;
}

static fmp_tensor_info info_at(void *ctx, uint32_t i)
{
    return fmp_store_tensor(ctx, i);
}

static fmp_status count_bytes(void *ctx, const void *data, size_t len, fmp_error *err)
{
    (void)data;
    (void)err;
    *(uint64_t *)ctx += len;
    return FMP_OK;
}

static fmp_status make_stores(fmp_mask_writer *w, fmp_error *err)
{
    struct fmp_store *s = &w->base;
    fmp_store_file *f;
    fmp_status st;

    if (!make_room(w))
        return no_memory(err);
    fill_tensors(w);
    f = s->files;
    s->driver = fmp_store_driver_default();
    s->path = w->path;
    s->n_files = 1;
    s->is_mask = true;
    snprintf(w->file_name, sizeof w->file_name, KIND ".%s", s->driver->name);
    f->name = w->file_name;
    f->n_tensors = w->n;
    st = s->driver->header_write(NULL, 0, info_at, s, w->n, count_bytes, &f->header_len, err);
    f->size = f->header_len + w->n_elements;
    w->target = *s;
    s->overlay = read_zeros;
    w->target.overlay = read_ones;
    s->overlay_ctx = w->target.overlay_ctx = w;
    return st;
}

fmp_status fmp_mask_writer_finish(fmp_mask_writer *w, fmp_create_result *ret, fmp_error *err)
{
    fmp_status st = sort_list(w, err);

    if (!st)
        st = make_stores(w, err);
    if (!st)
        st = fmp_create(&w->base, &w->target, w->path, &w->o, ret, err);
    fmp_mask_writer_abort(w);
    return st;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

/* BOOL on both sides, which have one schema where there is no map, and at most residuals between.
 */
static bool is_selection(const fmp_table *t, const fmp_row *r)
{
    return (r->state == FMP_UNCHANGED || r->state == FMP_RESIDUAL) && r->map == FMP_NONE &&
           strcmp(t->schemas[r->target_schema].dtype, DTYPE) == 0;
}

fmp_status fmp_patch_recognize_mask(fmp_patch *p, fmp_error *err)
{
    char kind[sizeof KIND + 1];
    fmp_status st = fmp_manifest_kind(p->manifest, kind, sizeof kind, err);

    if (st)
        return st;
    p->is_mask = strcmp(kind, KIND) == 0;
    for (uint32_t i = 0; i < p->table.n_rows && p->is_mask; i++)
        p->is_mask = is_selection(&p->table, &p->table.rows[i]);
    return FMP_OK;
}

bool fmp_patch_is_mask(const fmp_patch *patch)
{
    return patch->is_mask;
}

/* Takes the runs of fmp_patch_read_sparse(). */
typedef struct taker {
    uint64_t *idx; /* NULL: count only */
    uint64_t cap, n;
    bool full, bad;
} taker;

static bool take(void *ctx, const uint64_t *idx, const uint64_t *value, size_t n, bool absolute)
{
    taker *t = ctx;
    const uint64_t one = fmp_zigzag(1, 8);

    t->bad = absolute;
    for (size_t i = 0; i < n; i++)
        t->bad |= value[i] != one;
    t->full = n > t->cap - t->n;
    if (t->bad || t->full)
        return false;
    if (t->idx)
        memcpy(t->idx + t->n, idx, n * sizeof *idx);
    t->n += n;
    return true;
}

static fmp_status read_mask(const fmp_patch *p, uint32_t tensor, taker *t, fmp_error *err)
{
    fmp_status st;

    if (!p->is_mask)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: is not a mask", p->file.path);
    if (tensor < p->table.n_rows && p->table.rows[tensor].state == FMP_UNCHANGED)
        return FMP_OK;
    st = fmp_patch_read_sparse(p, tensor, take, t, err);
    if (!st && t->bad)
        st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                      "%s: tensor \"%.200s\": a mask selects by adding 1; found another step",
                      p->file.path, p->table.names + p->table.rows[tensor].name_at);
    if (!st && t->full)
        st = fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                      "%s: tensor \"%.200s\": more than %llu selected elements, the room given",
                      p->file.path, p->table.names + p->table.rows[tensor].name_at,
                      (unsigned long long)t->cap);
    return st;
}

fmp_status fmp_mask_count(const fmp_patch *patch, uint32_t tensor, uint64_t *ret_n, fmp_error *err)
{
    taker t = {.cap = UINT64_MAX};
    const fmp_status st = read_mask(patch, tensor, &t, err);

    if (!st)
        *ret_n = t.n;
    return st;
}

fmp_status fmp_mask_decode(const fmp_patch *patch, uint32_t tensor, uint64_t *idx, size_t cap,
                           size_t *ret_n, fmp_error *err)
{
    taker t = {.idx = idx, .cap = cap};
    const fmp_status st = read_mask(patch, tensor, &t, err);

    if (!st)
        *ret_n = (size_t)t.n;
    return st;
}
