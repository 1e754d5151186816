/*
 * Collects what fmp_measure() says, tensor by tensor: about 100 bytes each.
 */
#include "survey.h"

#include <stdlib.h>
#include <string.h>

#include "textutil.h"

typedef struct work {
    survey *s;
    const fmp_patch *patch;
} work;

void survey_add(survey_sum *to, const survey_sum *from)
{
    to->n_elements += from->n_elements;
    to->n_changed += from->n_changed;
    to->n_up += from->n_up;
    to->n_down += from->n_down;
    to->n_odd += from->n_odd;
    to->change_squares += from->change_squares;
    to->base_squares += from->base_squares;
    if (from->max_residual > to->max_residual)
        to->max_residual = from->max_residual;
    if (from->change_max > to->change_max)
        to->change_max = from->change_max;
}

static survey_sum sum_of(const fmp_measurement *m)
{
    return (survey_sum){
        .n_elements = m->n_elements,
        .n_changed = m->n_changed,
        .n_up = m->n_up,
        .n_down = m->n_down,
        .max_residual = m->max_residual,
        .n_odd = m->n_new_nan + m->n_new_inf,
        .change_squares = m->change_squares,
        .base_squares = m->base_squares,
        .change_max = m->change_max,
    };
}

static survey_dtype *dtype_of(survey *s, const char *name)
{
    for (size_t i = 0; i < s->n_dtypes; i++) {
        if (!strcmp(s->dtypes[i].name, name))
            return &s->dtypes[i];
    }
    if (s->n_dtypes < SURVEY_DTYPES) {
        s->dtypes[s->n_dtypes].name = name;
        return &s->dtypes[s->n_dtypes++];
    }
    s->dtypes[SURVEY_DTYPES - 1].name = "others";
    return &s->dtypes[SURVEY_DTYPES - 1];
}

static bool take(void *ctx, const fmp_measurement *m)
{
    const work *w = ctx;
    const fmp_patch_tensor t = fmp_patch_tensor_at(w->patch, m->tensor);
    const fmp_tensor_info *info = t.target.name ? &t.target : &t.base;
    const fmp_tensor_place place = fmp_tensor_role(info->name);
    const survey_sum sum = sum_of(m);
    survey_dtype *d;

    w->s->tensors[m->tensor] = (survey_tensor){.tensor = m->tensor,
                                               .layer = place.layer,
                                               .expert = place.expert,
                                               .role = place.role,
                                               .sum = sum};
    survey_add(&w->s->total, &sum);
    w->s->n_new += m->n_new;
    w->s->n_opaque += m->n_opaque;
    w->s->n_new_nan += m->n_new_nan;
    w->s->n_new_inf += m->n_new_inf;
    w->s->n_sign_flips += m->n_sign_flips;
    if (!m->n_changed)
        return true;
    d = dtype_of(w->s, info->dtype);
    for (size_t i = 0; i < FMP_MEASURE_BITS; i++)
        d->residuals[i] += m->residual_bits[i];
    for (size_t i = 0; i < FMP_MEASURE_EXPONENTS; i++)
        d->changes[i] += m->change_exponents[i];
    return true;
}

fmp_status survey_take(survey *ret, const fmp_patch *patch, const fmp_store *base,
                       unsigned n_threads, fmp_progress progress, fmp_error *err)
{
    const fmp_measure_options options = {
        .size = sizeof options, .n_threads = n_threads, .norms_of_all = true, .progress = progress};
    const uint32_t n = fmp_patch_summarize(patch).n_tensors;
    work w = {.s = ret, .patch = patch};
    fmp_status st;

    *ret = (survey){.tensors = text_alloc(n * sizeof *ret->tensors), .n = n};
    ret->has_base = base != NULL;
    st = fmp_measure(patch, base, &options, take, &w, err);
    if (st)
        survey_release(ret);
    return st;
}

void survey_release(survey *s)
{
    free(s->tensors);
    *s = (survey){0};
}
