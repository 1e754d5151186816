/*
 * Selection the slow way: everything is scored and sorted.  And what its tests share: masks that
 * must be made, and requests that must be refused.
 */
#ifndef FMP_TESTS_SELECT_SUPPORT_H
#define FMP_TESTS_SELECT_SUPPORT_H

#include "score_support.h"

/* ---- the slow way -----------------------------------------------------------------------------
 */

typedef struct ranked {
    double score;
    uint64_t order; /* tensor in order of names, then index */
} ranked;

static inline int by_rank(const void *a, const void *b)
{
    const ranked *x = a;
    const ranked *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->order < y->order ? -1 : x->order > y->order;
}

typedef struct naive {
    uint32_t n; /* tensors in order of names */
    const fish_tensor_desc *desc[MODEL_TENSORS];
    uint64_t first[MODEL_TENSORS + 1]; /* number of the first element, in order of names */
    uint64_t in_file[MODEL_TENSORS];   /* the same in order of the file */
    double *scores;                    /* in order of names */
    uint8_t *selected;
    bool open[MODEL_TENSORS];
} naive;

static inline int by_desc_name(const void *a, const void *b)
{
    const fish_tensor_desc *const *x = a;
    const fish_tensor_desc *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

/* values in the order of the file; NULL: all 0. */
static inline void naive_init(naive *s, const float *values, bool head)
{
    *s = (naive){.n = MODEL_TENSORS};
    s->scores = calloc(model_elements(), sizeof *s->scores);
    s->selected = calloc(model_elements(), 1);
    assert_non_null(s->scores);
    assert_non_null(s->selected);
    for (uint32_t i = 0; i < s->n; i++)
        s->desc[i] = &model_tensors[i];
    qsort(s->desc, s->n, sizeof s->desc[0], by_desc_name);
    for (uint32_t i = 0; i < s->n; i++) {
        const uint64_t n = elements_of(s->desc[i]);

        s->first[i + 1] = s->first[i] + n;
        for (const fish_tensor_desc *d = model_tensors; d != s->desc[i]; d++)
            s->in_file[i] += elements_of(d);
        for (uint64_t e = 0; values && e < n; e++)
            s->scores[s->first[i] + e] = (double)values[s->in_file[i] + e];
        s->open[i] = n && !(head && !strcmp(s->desc[i]->name, "head.weight"));
        if (n && !s->open[i])
            memset(s->selected + s->first[i], 1, n);
    }
}

static inline void naive_free(naive *s)
{
    free(s->scores);
    free(s->selected);
}

static inline uint64_t open_elements(const naive *s)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < s->n; i++)
        n += s->open[i] ? s->first[i + 1] - s->first[i] : 0;
    return n;
}

/* The budget best of tensors [from, to). */
static inline void naive_best(naive *s, uint32_t from, uint32_t to, uint64_t budget)
{
    ranked *all = malloc((s->first[to] - s->first[from] + 1) * sizeof *all);
    size_t n = 0;

    assert_non_null(all);
    for (uint32_t i = from; i < to; i++) {
        for (uint64_t e = s->first[i]; s->open[i] && e < s->first[i + 1]; e++)
            all[n++] = (ranked){s->scores[e], e};
    }
    assert_true(budget <= n);
    qsort(all, n, sizeof *all, by_rank);
    for (uint64_t r = 0; r < budget; r++)
        s->selected[all[r].order] = 1;
    free(all);
}

static inline void naive_tensors(naive *s, uint64_t budget)
{
    uint64_t quota[MODEL_TENSORS] = {0}, left = budget;
    double rest[MODEL_TENSORS];

    for (uint32_t i = 0; i < s->n; i++) {
        const uint64_t n = s->open[i] ? s->first[i + 1] - s->first[i] : 0;

        quota[i] = budget * n / open_elements(s);
        rest[i] = (double)(budget * n % open_elements(s));
        left -= quota[i];
    }
    for (; left; left--) {
        uint32_t best = 0;

        for (uint32_t i = 1; i < s->n; i++)
            best = rest[i] > rest[best] ? i : best;
        quota[best]++;
        rest[best] = -1;
    }
    for (uint32_t i = 0; i < s->n; i++)
        naive_best(s, i, i + 1, quota[i]);
}

/* The tile of an element of a tensor. */
static inline uint64_t tile_of(const fish_tensor_desc *d, uint64_t element, fish_scope scope,
                               uint64_t block)
{
    const uint64_t rows = d->rank > 1 ? d->shape[0] : elements_of(d);
    const uint64_t cols = elements_of(d) / rows;
    const uint64_t row = element / cols, col = element % cols;

    if (scope == FISH_BLOCKS)
        return row / block * ((cols + block - 1) / block) + col / block;
    if (d->rank < 2)
        return element;
    return scope == FISH_ROWS ? row : col;
}

typedef struct tiled {
    double mean;
    uint64_t tile;
    ranked element;
} tiled;

static inline int by_tile(const void *a, const void *b)
{
    const tiled *x = a;
    const tiled *y = b;

    if (x->mean != y->mean)
        return x->mean < y->mean ? 1 : -1;
    if (x->tile != y->tile)
        return x->tile < y->tile ? -1 : 1;
    return by_rank(&x->element, &y->element);
}

/* Elements by mean of their tile, then by tile, then by their own score. */
static inline void naive_tiles(naive *s, fish_scope scope, uint64_t block, uint64_t budget)
{
    double *sums = calloc(model_elements(), sizeof *sums); /* tile i of tensor t at first[t] + i */
    double *sizes = calloc(model_elements(), sizeof *sizes);
    tiled *all = malloc(model_elements() * sizeof *all);
    size_t n = 0;

    assert_non_null(sums);
    assert_non_null(sizes);
    assert_non_null(all);
    for (uint32_t t = 0; t < s->n; t++) {
        for (uint64_t e = s->first[t]; s->open[t] && e < s->first[t + 1]; e++) {
            const uint64_t tile = s->first[t] + tile_of(s->desc[t], e - s->first[t], scope, block);

            sums[tile] += s->scores[e];
            sizes[tile]++;
            all[n++] = (tiled){0, tile, {s->scores[e], e}};
        }
    }
    for (size_t i = 0; i < n; i++)
        all[i].mean = (double)(float)(sums[all[i].tile] / sizes[all[i].tile]);
    qsort(all, n, sizeof *all, by_tile);
    for (uint64_t i = 0; i < budget; i++)
        s->selected[all[i].element.order] = 1;
    free(all);
    free(sums);
    free(sizes);
}

static inline void naive_select(naive *s, fish_scope scope, uint64_t block, uint64_t budget)
{
    if (scope == FISH_GLOBAL)
        naive_best(s, 0, s->n, budget);
    else if (scope == FISH_PER_TENSOR)
        naive_tensors(s, budget);
    else
        naive_tiles(s, scope, block, budget);
}

static inline void assert_mask_is(const fish_mask *m, const naive *s)
{
    check_mask(m);
    assert_int_equal(m->n_tensors, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        const fish_mask_tensor *t = &m->tensors[i];
        uint64_t j = 0;

        assert_string_equal(t->name, s->desc[i]->name);
        for (uint64_t e = 0; e < t->n_elements; e++) {
            const bool in = t->full || (j < t->n && t->idx[j] == e);

            if (in != (bool)s->selected[s->first[i] + e])
                fail_msg("%s, element %llu: %d", t->name, (unsigned long long)e, in);
            j += !t->full && in;
        }
    }
}

/* ---- the fast way -----------------------------------------------------------------------------
 */

static inline fish_mask *choose(const fmp_store *scores, const char *path, fish_select_options o,
                                uint64_t *ties, uint64_t *zeros)
{
    fish_mask *m = NULL;
    fmp_error err;

    o.size = sizeof o;
    assert_status(fish_select(scores, path, &o, &m, ties, zeros, &err), FMP_OK, &err);
    return m;
}

static inline void refuse_select(const fmp_store *scores, fish_select_options o, fmp_status want,
                                 const char *text)
{
    fish_mask *m = NULL;
    fmp_error err;

    o.size = sizeof o;
    assert_status(fish_select(scores, at("s"), &o, &m, NULL, NULL, &err), want, &err);
    assert_null(m);
    if (!strstr(err.text, text))
        fail_msg("'%s' is not in: %s", text, err.text);
}

static inline uint64_t count_in(const fish_mask *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        if (!strcmp(m->tensors[i].name, name))
            return m->tensors[i].n;
    }
    fail_msg("no tensor %s", name);
    return 0;
}

#endif
