/*
 * Judging a patch by its measures: one record a tensor, limits over tensors, layers and all of
 * them, and values that are not finite.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "base/store.h"
#include "policy_judge.h"

__extension__ typedef unsigned __int128 wide;

/* What is kept of a tensor's measurement. */
typedef struct record {
    uint64_t n_elements, n_changed, n_new, n_opaque, n_unseen, n_nan, n_inf;
    uint64_t max_residual, certain_steps;
    double change_squares, base_squares;
    int32_t layer;
    bool in_target, has_old; /* has_old: the base has a tensor of its name */
    bool is_float, has_values, is_known, changed;
} record;

/* Measures at work. */
typedef struct judge {
    fmp_judge *all;
    const fmp_patch *p;
    record *records; /* by row */
    uint32_t *order; /* rows of the target by layer, then by number */
} judge;

static bool take(void *ctx, const fmp_measurement *m)
{
    judge *j = ctx;
    const fmp_table *t = &j->p->table;
    const fmp_row *row = &t->rows[m->tensor];
    record *r = &j->records[m->tensor];

    *r = (record){.n_elements = m->n_elements,
                  .n_changed = m->n_changed,
                  .n_new = m->n_new,
                  .n_opaque = m->n_opaque,
                  .n_unseen = m->n_unseen,
                  .n_nan = m->n_new_nan,
                  .n_inf = m->n_new_inf,
                  .max_residual = m->max_residual,
                  .certain_steps = m->certain_steps,
                  .change_squares = m->change_squares,
                  .base_squares = m->base_squares,
                  .layer = fmp_tensor_role(fmp_judge_name(j->all, m->tensor)).layer,
                  .in_target = row->target_schema != FMP_NONE,
                  .has_old = row->base_schema != FMP_NONE,
                  .is_float = m->is_float,
                  .has_values = m->has_values,
                  .changed = fmp_row_changed(t, m->tensor)};
    if (r->in_target) {
        const char *dtype = fmp_table_info(t, m->tensor, true).dtype;

        r->is_known = fmp_dtype_find(dtype, strlen(dtype)) != NULL;
    }
    return true;
}

static void check_nan(judge *j)
{
    for (uint32_t i = 0; i < j->p->table.n_rows; i++) {
        const record *r = &j->records[i];
        const fmp_subject s = {.rule = FMP_RULE_NO_NEW_NAN,
                               .member = "tensors.no_new_nan_or_inf",
                               .tensor = fmp_judge_name(j->all, i)};
        char found[FMP_SAID_MAX];

        snprintf(found, sizeof found, "%llu NaN, %llu infinite", (unsigned long long)r->n_nan,
                 (unsigned long long)r->n_inf);
        if (r->n_nan || r->n_inf)
            fmp_judge_add(j->all, s, "none", found, "values appear that are not finite");
        else if (r->n_unseen)
            fmp_judge_add(j->all, s, "none", "not known",
                          "whether values are finite " FMP_NO_BASE ": %llu changed elements",
                          (unsigned long long)r->n_unseen);
        else if (r->in_target && r->changed && !r->is_known)
            fmp_judge_add(j->all, s, "none", "not known",
                          "the dtype is not known, so neither are its values");
    }
}

/* One limit, and how messages call it. */
typedef struct limit_at {
    const fmp_limit *l;
    char share[48], residual[48], l2[48]; /* members */
} limit_at;

/* Sums over the tensors that one limit takes together. */
typedef struct sums {
    wide n_elements, n_changed, n_opaque;
    double change, base;
    uint32_t n_tensors;
    uint32_t row; /* the last of them */
    char name[40];
} sums;

static void percent(char *text, size_t cap, wide part, wide all)
{
    snprintf(text, cap, "%.6g%% (%llu of %llu)", all ? 100 * ((double)part / (double)all) : 0.0,
             (unsigned long long)part, (unsigned long long)all);
}

static void judge_share(judge *j, const limit_at *at, const sums *s, const char *tensor)
{
    const fmp_subject about = {.rule = FMP_RULE_MAX_SHARE, .member = at->share, .tensor = tensor};
    const wide most = (wide)at->l->share * s->n_elements;
    char expected[FMP_SAID_MAX], found[FMP_SAID_MAX];

    if (s->n_changed * FMP_SHARE_UNIT <= most)
        return;
    snprintf(expected, sizeof expected, "at most %.14g%%", 100 * (double)at->l->share / 1e12);
    percent(found, sizeof found, s->n_changed, s->n_elements);
    if ((s->n_changed - s->n_opaque) * FMP_SHARE_UNIT <= most)
        fmp_judge_add(j->all, about, expected, found,
                      "%show many elements change " FMP_NO_BASE
                      ": this many at most, %llu of them set anew",
                      s->name, (unsigned long long)s->n_opaque);
    else
        fmp_judge_add(j->all, about, expected, found, "%stoo many elements change", s->name);
}

/* The relative change, infinite where the base is nothing and the change is not. */
static double relative(double change, double base)
{
    if (change == 0)
        return 0;
    return base > 0 && isfinite(base) ? sqrt(change / base) : (double)INFINITY;
}

static void judge_l2(judge *j, const limit_at *at, double change, double base, const char *name,
                     const char *tensor)
{
    const double found = relative(change, base);
    char expected[FMP_SAID_MAX], text[FMP_SAID_MAX];

    if (found <= at->l->l2)
        return;
    snprintf(expected, sizeof expected, "at most %.6g", at->l->l2);
    snprintf(text, sizeof text, "%.6g", found);
    fmp_judge_add(
        j->all, (fmp_subject){.rule = FMP_RULE_MAX_L2, .member = at->l2, .tensor = tensor},
        expected, text, "%sthe norm of the change against that of the base is too large", name);
}

static void judge_group(judge *j, const limit_at *at, const sums *s)
{
    const char *tensor =
        at->l->per == FMP_PER_TENSOR && s->n_tensors ? fmp_judge_name(j->all, s->row) : NULL;

    if (!s->n_tensors)
        return;
    if (at->l->has_share)
        judge_share(j, at, s, tensor);
    if (at->l->has_l2 && j->all->base)
        judge_l2(j, at, s->change, s->base, s->name, tensor);
}

/* New elements of a tensor that the base has cannot be measured against it. */
static bool judge_new(judge *j, const limit_at *at, unsigned rule, const char *member, uint32_t row)
{
    const record *r = &j->records[row];

    if (!r->has_old || !r->n_new || at->l->allow_new)
        return false;
    fmp_judge_add(
        j->all,
        (fmp_subject){.rule = rule, .member = member, .tensor = fmp_judge_name(j->all, row)},
        "elements that the base has", "new ones",
        "%llu elements are new, with nothing to measure them against",
        (unsigned long long)r->n_new);
    return true;
}

static void judge_residual(judge *j, const limit_at *at, uint32_t row)
{
    const record *r = &j->records[row];
    const fmp_subject s = {.rule = FMP_RULE_MAX_RESIDUAL,
                           .member = at->residual,
                           .tensor = fmp_judge_name(j->all, row)};
    char expected[FMP_SAID_MAX], found[FMP_SAID_MAX];

    if (judge_new(j, at, s.rule, at->residual, row))
        return;
    snprintf(expected, sizeof expected, "at most %llu step%s", (unsigned long long)at->l->residual,
             at->l->residual == 1 ? "" : "s");
    snprintf(found, sizeof found, "%llu", (unsigned long long)r->max_residual);
    if (r->max_residual > at->l->residual)
        fmp_judge_add(j->all, s, expected, found, "an element moves too far");
    else if (r->n_opaque)
        fmp_judge_add(j->all, s, expected, "not known", "how far %llu elements move " FMP_NO_BASE,
                      (unsigned long long)r->n_opaque);
    else if (r->max_residual > r->certain_steps)
        fmp_judge_add(
            j->all, s, expected, found,
            "whether this is the way or the way round the end of all values " FMP_NO_BASE);
    else if (r->max_residual && !r->has_values)
        fmp_judge_add(j->all, s, expected, "not known",
                      "the dtype has no numbers that could be measured");
}

/* What of the norms concerns one tensor, whatever it is grouped with. */
static void judge_l2_alone(judge *j, const limit_at *at, uint32_t row)
{
    const record *r = &j->records[row];
    const fmp_subject s = {
        .rule = FMP_RULE_MAX_L2, .member = at->l2, .tensor = fmp_judge_name(j->all, row)};
    char expected[FMP_SAID_MAX];

    if (!r->changed || judge_new(j, at, s.rule, at->l2, row) || !r->n_changed)
        return;
    snprintf(expected, sizeof expected, "at most %.6g", at->l->l2);
    if (!r->has_values)
        fmp_judge_add(j->all, s, expected, "not known",
                      "the dtype has no numbers that could be measured");
    else if (!j->all->base && r->n_changed > r->n_new)
        fmp_judge_add(j->all, s, expected, "not known", "the norm of the change " FMP_NO_BASE);
    else if (!r->is_float && at->l->per != FMP_PER_TENSOR) /* integers are taken alone */
        judge_l2(j, at, r->change_squares, r->base_squares, "", fmp_judge_name(j->all, row));
}

static void group_add(sums *s, const record *r, uint32_t row, bool alone)
{
    s->n_elements += r->n_elements;
    s->n_changed += r->n_changed;
    s->n_opaque += r->n_opaque;
    if (r->is_float || alone) {
        s->change += r->change_squares;
        s->base += r->base_squares;
    }
    s->n_tensors++;
    s->row = row;
}

/* Whether row `b` belongs into the group that `a` is in. */
static bool same_group(const judge *j, const fmp_limit *l, uint32_t a, uint32_t b)
{
    return l->per == FMP_PER_ALL ||
           (l->per == FMP_PER_LAYER && j->records[a].layer == j->records[b].layer);
}

static void group_name(const judge *j, const fmp_limit *l, uint32_t row, char *name, size_t cap)
{
    const int32_t layer = j->records[row].layer;

    if (l->per == FMP_PER_TENSOR)
        name[0] = 0;
    else if (l->per == FMP_PER_ALL)
        snprintf(name, cap, "all that the limit is for: ");
    else if (layer < 0)
        snprintf(name, cap, "what is in no layer: ");
    else
        snprintf(name, cap, "layer %d: ", layer);
}

static void judge_limit(judge *j, uint32_t number)
{
    limit_at at = {.l = &j->all->policy->limits[number]};
    const uint32_t n = j->p->layout.target.n_order;
    uint32_t last = FMP_NONE;
    char globs[48];
    sums s = {.n_tensors = 0};

    snprintf(at.share, sizeof at.share, "limits[%u].max_changed_share", number);
    snprintf(at.residual, sizeof at.residual, "limits[%u].max_residual", number);
    snprintf(at.l2, sizeof at.l2, "limits[%u].max_relative_l2", number);
    snprintf(globs, sizeof globs, "limits[%u].tensors", number);
    fmp_judge_unmatched(j->all, globs, &at.l->tensors);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t row = j->order[i];

        if (at.l->tensors.there &&
            !fmp_texts_match(&at.l->tensors, fmp_judge_name(j->all, row), false))
            continue;
        if (last != FMP_NONE && !same_group(j, at.l, last, row)) {
            judge_group(j, &at, &s);
            s = (sums){.n_tensors = 0};
        }
        group_name(j, at.l, row, s.name, sizeof s.name);
        group_add(&s, &j->records[row], row, at.l->per == FMP_PER_TENSOR);
        last = row;
        if (at.l->has_residual)
            judge_residual(j, &at, row);
        if (at.l->has_l2)
            judge_l2_alone(j, &at, row);
    }
    judge_group(j, &at, &s);
}

/* qsort() has no context: the layer travels with the row. */
typedef struct layer_row {
    int32_t layer;
    uint32_t row;
} layer_row;

static int by_layer(const void *a, const void *b)
{
    const layer_row *x = a;
    const layer_row *y = b;

    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static bool sort_by_layer(judge *j)
{
    const uint32_t n = j->p->layout.target.n_order;
    layer_row *list = fmp_calloc(n, sizeof *list);

    j->order = fmp_calloc(n, sizeof *j->order);
    if (!list || !j->order) {
        fmp_free(list);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t row = j->p->layout.target.order[i];

        list[i] = (layer_row){j->records[row].layer, row};
    }
    if (n)
        qsort(list, n, sizeof *list, by_layer);
    for (uint32_t i = 0; i < n; i++)
        j->order[i] = list[i].row;
    fmp_free(list);
    return true;
}

static fmp_status judge_measures(judge *j, fmp_error *err)
{
    const fmp_policy *p = j->all->policy;
    fmp_measure_options o = {
        .size = sizeof o, .n_threads = j->all->o.n_threads, .progress = j->all->o.progress};
    fmp_status st;

    for (uint32_t i = 0; i < p->n_limits; i++)
        o.norms_of_all |= p->limits[i].has_l2 && p->limits[i].per != FMP_PER_TENSOR;
    j->records = fmp_calloc(j->p->table.n_rows, sizeof *j->records);
    if (!j->records)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    st = fmp_measure(j->p, j->all->base, &o, take, j, err);
    if (st)
        return st;
    if (p->no_new_nan)
        check_nan(j);
    if (!sort_by_layer(j))
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    for (uint32_t i = 0; i < p->n_limits; i++)
        judge_limit(j, i);
    return FMP_OK;
}

fmp_status fmp_judge_measures(fmp_judge *all, fmp_error *err)
{
    judge j = {.all = all, .p = all->p};
    const fmp_status st = judge_measures(&j, err);

    fmp_free(j.records);
    fmp_free(j.order);
    return st;
}
