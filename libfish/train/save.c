/*
 * The patch of a run, through fmp_writer: elements whose bits differ from the base's.  The base is
 * read again stretch by stretch; nothing of its size is kept.
 */
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "model/params.h"
#include "train/run.h"

#define STRETCH ((size_t)64 * 1024) /* elements read at once */

/* The changed elements of one parameter, and where it is looked at. */
typedef struct change {
    const fish_param *param;
    const fmp_store *base;
    uint32_t tensor;
    size_t width;    /* bytes of an element */
    uint64_t *idx;   /* [n], room for cap */
    uint8_t *values; /* [n * width] */
    size_t n, cap;
    uint8_t *base_bits; /* [STRETCH * width] */
    uint8_t *new_bits;  /* likewise */
} change;

static fmp_status no_memory(const change *c, fmp_error *err)
{
    return fish_fail(err, FMP_ENOMEM, "tensor \"%s\": out of memory for its change",
                     c->param->name);
}

static fmp_status append(change *c, size_t element, const uint8_t *bits, fmp_error *err)
{
    if (c->n == c->cap) {
        const size_t cap = c->cap ? 2 * c->cap : 1024;
        uint64_t *idx = fish_realloc(c->idx, cap, sizeof *idx);
        uint8_t *values;

        if (!idx)
            return no_memory(c, err);
        c->idx = idx;
        values = fish_realloc(c->values, cap, c->width);
        if (!values)
            return no_memory(c, err);
        c->values = values;
        c->cap = cap;
    }
    c->idx[c->n] = element;
    memcpy(c->values + c->n * c->width, bits, c->width);
    c->n++;
    return FMP_OK;
}

static fmp_status find_tensor(change *c, fmp_error *err)
{
    const fish_param *p = c->param;
    fmp_tensor_info info;

    c->tensor = fmp_store_find(c->base, p->name, strlen(p->name));
    if (c->tensor == UINT32_MAX)
        return fish_fail(err, FMP_EBASE, "the base has no tensor \"%s\"", p->name);
    info = fmp_store_tensor(c->base, c->tensor);
    if (strcmp(info.dtype, p->dtype) || info.n_elements != p->n)
        return fish_fail(err, FMP_EBASE,
                         "tensor \"%s\": %s of %llu elements in the base, %s of %zu in the model",
                         p->name, info.dtype, (unsigned long long)info.n_elements, p->dtype, p->n);
    return FMP_OK;
}

/* Elements first .. first + n - 1; of those, the ones in `e`, or all where `e` is NULL. */
static fmp_status compare(change *c, const fish_chosen *e, size_t first, size_t n, fmp_error *err)
{
    const size_t end = first + n;
    size_t j = e ? fish_chosen_find(e, first) : first;
    fmp_status st;

    if (e && (j == e->n || fish_chosen_at(e, j) >= end))
        return FMP_OK;
    st = fmp_store_read(c->base, c->tensor, first * c->width, c->base_bits, n * c->width, err);
    if (st)
        return st;
    if (c->width == sizeof(float))
        memcpy(c->new_bits, c->param->w + first, n * sizeof(float));
    else
        fish_narrow(c->param->dtype, c->param->w + first, c->new_bits, n);
    for (; !st && j < (e ? e->n : end); j++) {
        const size_t i = e ? fish_chosen_at(e, j) : j;
        const size_t at = (i - first) * c->width;

        if (i >= end)
            break;
        if (memcmp(c->base_bits + at, c->new_bits + at, c->width))
            st = append(c, i, c->new_bits + at, err);
    }
    return st;
}

static fmp_status save_changes(fmp_writer *w, const fmp_store *base, const fish_param *p,
                               const fish_chosen *e, fmp_error *err)
{
    change c = {.param = p, .base = base, .width = fish_dtype_size(p->dtype)};
    fmp_status st = find_tensor(&c, err);

    if (st)
        return st;
    c.base_bits = fish_alloc(STRETCH, c.width);
    c.new_bits = fish_alloc(STRETCH, c.width);
    if (!c.base_bits || !c.new_bits)
        st = no_memory(&c, err);
    for (size_t at = 0; at < p->n && !st; at += STRETCH)
        st = compare(&c, e, at, p->n - at < STRETCH ? p->n - at : STRETCH, err);
    if (!st && c.n)
        st = fmp_writer_set(w, p->name, c.idx, c.values, c.n, err);
    fish_free(c.base_bits);
    fish_free(c.new_bits);
    fish_free(c.idx);
    fish_free(c.values);
    return st;
}

static fmp_status save_param(fmp_writer *w, const fish_run *run, const fish_param *p,
                             const fmp_store *base, const fish_chosen *e, fmp_error *err)
{
    if (p->added)
        return fmp_writer_add(w, p->name, p->dtype, p->rank, p->shape, p->w, err);
    if (p->role == FISH_BUFFER)
        return run->o.batch_norm ? save_changes(w, base, p, NULL, err) : FMP_OK;
    if (run->o.reference_leak)
        return save_changes(w, base, p, NULL, err);
    return e->n ? save_changes(w, base, p, e, err) : FMP_OK;
}

fmp_status fish_run_save(const fish_run *run, const fish_model *m, const fmp_store *base,
                         const char *path, const fmp_create_options *create, fmp_create_result *ret,
                         fmp_error *err)
{
    fmp_writer *w = NULL;
    fmp_status st;

    if (m->n_params != run->state.tracked.n_params)
        return fish_fail(err, FMP_EUSAGE, "%s: this is not the model that was trained", path);
    st = fmp_writer_new(base, path, create, &w, err);
    if (st)
        return st;
    for (uint32_t p = 0; p < m->n_params && !st; p++)
        st = save_param(w, run, &m->params[p], base, &run->state.tracked.of[p], err);
    if (!st)
        return fmp_writer_finish(w, ret, err);
    fmp_writer_abort(w);
    return st;
}
