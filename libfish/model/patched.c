/*
 * Patches laid over a model in memory: the parameter's floats become the bits of the checkpoint,
 * the patch changes those, and they are widened again.
 */
#include "model/patched.h"

#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "model/params.h"

static fish_param *find_param(const fish_model *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_params; i++) {
        if (!strcmp(m->params[i].name, name))
            return &m->params[i];
    }
    return NULL;
}

static fmp_status check_tensor(const fish_param *p, const fmp_patch_tensor *t, fmp_error *err)
{
    const fmp_tensor_info *info = &t->target;

    if (strcmp(info->dtype, p->dtype))
        return fish_fail(err, FMP_EBASE, "tensor \"%s\": dtype %s in the model, %s in the patch",
                         p->name, p->dtype, info->dtype);
    if (info->n_elements != p->n || info->rank != p->rank)
        return fish_fail(err, FMP_EBASE,
                         "tensor \"%s\": %zu elements in the model, %llu in the patch", p->name,
                         p->n, (unsigned long long)info->n_elements);
    for (uint32_t i = 0; i < p->rank; i++) {
        if (info->shape[i] != p->shape[i])
            return fish_fail(err, FMP_EBASE,
                             "tensor \"%s\": dimension %u is %llu in the model, %llu in the patch",
                             p->name, i, (unsigned long long)p->shape[i],
                             (unsigned long long)info->shape[i]);
    }
    return FMP_OK;
}

static fmp_status change(fish_param *p, const fmp_patch *patch, uint32_t tensor, fmp_error *err)
{
    const size_t width = fish_dtype_size(p->dtype);
    void *bits;
    fmp_status st;

    if (width == sizeof(float)) /* the floats are the bits */
        return fmp_patch_apply_tensor(patch, tensor, p->w, p->n * width, err);
    bits = fish_alloc(p->n, width);
    if (!bits)
        return fish_fail(err, FMP_ENOMEM, "tensor \"%s\": out of memory", p->name);
    fish_narrow(p->dtype, p->w, bits, p->n);
    st = fmp_patch_apply_tensor(patch, tensor, bits, p->n * width, err);
    if (!st)
        fish_widen(p->dtype, bits, p->w, p->n);
    fish_free(bits);
    return st;
}

static fmp_status apply_tensor(fish_model *m, const fmp_patch *patch, uint32_t tensor,
                               fmp_error *err)
{
    const fmp_patch_tensor t = fmp_patch_tensor_at(patch, tensor);
    const char *name = t.target.name ? t.target.name : t.base.name;
    fish_param *p = find_param(m, name);
    fmp_status st;

    if (t.state == FMP_UNCHANGED)
        return FMP_OK;
    if (!p)
        return fish_fail(err, FMP_ENOTSUP, "tensor \"%s\": changed, but the model does not use it",
                         name);
    if (t.state == FMP_REMOVED)
        return fish_fail(err, FMP_EBASE, "tensor \"%s\": removed, but the model needs it", name);
    st = check_tensor(p, &t, err);
    return st ? st : change(p, patch, tensor, err);
}

fmp_status fish_model_apply(fish_model *m, const fmp_patch *patch, fmp_error *err)
{
    const uint32_t n = fmp_patch_summarize(patch).n_tensors;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < n && !st; i++)
        st = apply_tensor(m, patch, i, err);
    return st;
}

uint32_t fish_patches_outputs(const fmp_patch *const *patches, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        const uint32_t n_tensors = fmp_patch_summarize(patches[k]).n_tensors;

        for (uint32_t i = 0; i < n_tensors; i++) {
            const fmp_patch_tensor t = fmp_patch_tensor_at(patches[k], i);

            if (t.state == FMP_ADDED && t.target.rank == 2 && t.target.shape[0] <= UINT32_MAX &&
                !strstr(t.target.name, "pooler."))
                return (uint32_t)t.target.shape[0];
        }
    }
    return 0;
}
