/*
 * The first pass of a merge.  See merge_plan.h.  Ranks are found by radix: sixteen bits of |t| at a
 * time are counted, so that no list of all elements is kept.  Of few there is a list, and it is
 * gone through in place of the patch; very few are sorted.
 */
#include "merge_plan.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/status.h"
#include "codec/bits.h"

#define SCORE_WINDOW (1u << 18) /* elements */
#define BINS         (1u << 16)
#define FEW          (1u << 19) /* elements that are listed */
#define VERY_FEW     (1u << 12) /* elements that are sorted */

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "merge: out of memory");
}

void fmp_merge_job_release(fmp_merge_job *j)
{
    for (uint32_t i = 0; j->score_of && i < j->in.k; i++)
        fmp_free(j->score_of[i]);
    fmp_free(j->score_of);
    fmp_free(j->stay);
    fmp_free(j->line);
    fmp_merge_parents_release(&j->in);
}

double fmp_merge_left(const fmp_merge_job *j, uint32_t parent, uint32_t tensor, uint64_t element,
                      double t)
{
    const fmp_merge_stay *s;
    uint64_t size;

    if (!j->stay || t == 0)
        return t;
    s = &j->stay[(size_t)tensor * j->in.k + parent];
    size = fmp_merge_size(t);
    if (fmp_merge_is_before(size, element, &s->low) ||
        !fmp_merge_is_before(size, element, &s->high))
        return 0;
    if (fmp_merge_drops(&j->h) && !fmp_merge_keeps(&j->h, &s->lots, element))
        return 0;
    return t * s->scale;
}

/* ---- walking ----------------------------------------------------------------------------------
 */

typedef void (*element_fn)(void *ctx, uint64_t element, double t);

/* Every element of a tensor that a parent moves, in order. */
static fmp_status each_change(fmp_merge_job *j, fmp_merge_reader *r, uint32_t parent,
                              uint32_t tensor, element_fn fn, void *ctx, fmp_error *err)
{
    const fmp_store *base = j->in.base;
    const fmp_value_kind kind = fmp_merge_kind(j, tensor);
    const unsigned width = fmp_dtype_at(base->tensors[tensor].dtype)->width / 8u;
    const uint64_t n_bytes = base->tensors[tensor].n_bytes;

    for (uint64_t off = 0; off < n_bytes; off += FMP_LEAF_LEN) {
        const uint32_t len =
            (uint32_t)(n_bytes - off < FMP_LEAF_LEN ? n_bytes - off : FMP_LEAF_LEN);
        const fmp_merge_list *l = &r->list[parent];
        fmp_status st = fmp_store_read(base, tensor, off, r->base, len, err);

        if (!st)
            st = fmp_merge_read(&j->in, r, tensor, off, len, r->base, parent, parent, err);
        if (st)
            return st;
        for (uint32_t e = 0; e < l->n; e++) {
            const double b =
                fmp_value(kind, fmp_load_le(r->base + (size_t)l->at[e] * width, width));
            const double x = fmp_value(kind, l->bits[e]);

            if (x != b)
                fn(ctx, off / width + l->at[e], x - b);
        }
    }
    return FMP_OK;
}

/* ---- ranks ------------------------------------------------------------------------------------
 */

typedef struct digit_count {
    uint64_t *hist;
    unsigned shift;
    uint64_t above; /* the bits above those that are counted */
    bool first;
} digit_count;

static void count_digit(void *ctx, uint64_t element, double t)
{
    digit_count *d = ctx;
    const uint64_t size = fmp_merge_size(t);

    (void)element;
    if (d->first || size >> (d->shift + 16) == d->above)
        d->hist[size >> d->shift & (BINS - 1)]++;
}

typedef struct equal_count {
    uint64_t size, left, found;
} equal_count;

/* The element that has `left` equal ones before it. */
static void count_equal(void *ctx, uint64_t element, double t)
{
    equal_count *c = ctx;

    if (fmp_merge_size(t) != c->size || c->found != UINT64_MAX)
        return;
    if (c->left == 0)
        c->found = element;
    else
        c->left--;
}

/* A tensor of a parent, or all of them. */
typedef struct vector {
    fmp_merge_job *j;
    fmp_merge_reader *r;
    uint32_t parent, first, end;
    uint64_t n_listed; /* elements in r->few: all of them; 0: there is no list */
} vector;

static fmp_status each_of(const vector *v, element_fn fn, void *ctx, fmp_error *err)
{
    fmp_status st = FMP_OK;

    for (uint64_t i = 0; i < v->n_listed; i++) {
        double t;

        memcpy(&t, &v->r->few[i].size, sizeof t);
        fn(ctx, v->r->few[i].element, t);
    }
    for (uint32_t t = v->n_listed ? v->end : v->first; t < v->end && !st; t++) {
        if (v->j->in.touch[v->parent][t] && fmp_value_rounds(fmp_merge_kind(v->j, t)))
            st = each_change(v->j, v->r, v->parent, t, fn, ctx, err);
    }
    return st;
}

typedef struct gathering {
    fmp_merge_ranked *few;
    uint64_t n; /* of all, also past FEW */
} gathering;

static void gather(void *ctx, uint64_t element, double t)
{
    gathering *g = ctx;

    if (g->n < FEW)
        g->few[g->n] = (fmp_merge_ranked){.size = fmp_merge_size(t), .element = element};
    g->n++;
}

/* As fmp_merge_is_before(): of equal sizes the higher element comes first. */
static int compare_ranks(const void *a, const void *b)
{
    const fmp_merge_ranked *x = a;
    const fmp_merge_ranked *y = b;

    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->element > y->element ? -1 : x->element < y->element;
}

static fmp_status count_digits(const vector *v, unsigned level, uint64_t above, fmp_error *err)
{
    digit_count d = {
        .hist = v->r->hist, .shift = 48 - 16 * level, .above = above, .first = level == 0};

    memset(d.hist, 0, BINS * sizeof *d.hist);
    return each_of(v, count_digit, &d, err);
}

/* The element of that rank.  `one`: of equal ones that one alone. */
static fmp_status find_rank(const vector *v, uint64_t rank, bool one, fmp_merge_cut *ret,
                            fmp_error *err)
{
    equal_count equal = {.found = UINT64_MAX};
    uint64_t above = 0, n_equal = 0;
    fmp_status st = FMP_OK;

    for (unsigned level = 0; level < 4 && !st; level++) {
        uint32_t b = 0;

        st = count_digits(v, level, above, err);
        for (; !st && b + 1 < BINS && rank >= v->r->hist[b]; b++)
            rank -= v->r->hist[b];
        n_equal = v->r->hist[b];
        above = above << 16 | b;
    }
    *ret = (fmp_merge_cut){.size = above, .element = UINT64_MAX};
    if (st || !one)
        return st;
    equal.size = above;
    equal.left = n_equal - 1 - rank; /* of equal ones the last comes first */
    st = each_of(v, count_equal, &equal, err);
    ret->element = equal.found;
    return st;
}

static fmp_merge_cut cut_at(const fmp_merge_ranked *r, bool one)
{
    return (fmp_merge_cut){.size = r->size, .element = one ? r->element : UINT64_MAX};
}

/* `n`: elements of the vector, zeros included. */
static fmp_status find_stay(vector *v, uint64_t n, fmp_merge_stay *ret, fmp_error *err)
{
    const fmp_merge_how *h = &v->j->h;
    const bool one = !(h->method == FMP_MERGE_TIES && h->ties == FMP_TIES_PAPER);
    gathering g = {.few = v->r->few};
    uint64_t first, end;
    fmp_status st;

    v->n_listed = 0;
    st = each_of(v, gather, &g, err);

    if (st)
        return st;
    fmp_merge_ranks(h, n, g.n, &first, &end);
    if (first >= end) {
        ret->low = (fmp_merge_cut){.size = UINT64_MAX};
        return FMP_OK;
    }
    if (g.n <= VERY_FEW) {
        qsort(g.few, (size_t)g.n, sizeof *g.few, compare_ranks);
        if (first)
            ret->low = cut_at(&g.few[first], one);
        if (end < g.n)
            ret->high = cut_at(&g.few[end], true);
        return FMP_OK;
    }
    v->n_listed = g.n <= FEW ? g.n : 0;
    if (first)
        st = find_rank(v, first, one, &ret->low, err);
    if (!st && end < g.n)
        st = find_rank(v, end, true, &ret->high, err);
    return st;
}

/* ---- sums for L1 ------------------------------------------------------------------------------
 */

typedef struct drop_sums {
    const fmp_merge_how *h;
    const fmp_merge_lots *lots;
    double before, after;
} drop_sums;

static void add_dropped(void *ctx, uint64_t element, double t)
{
    drop_sums *s = ctx;

    s->before += fabs(t);
    if (fmp_merge_keeps(s->h, s->lots, element))
        s->after += fabs(t);
}

static fmp_status find_scale(const vector *v, fmp_merge_stay *ret, fmp_error *err)
{
    const fmp_merge_how *h = &v->j->h;
    drop_sums s = {.h = h, .lots = &ret->lots};
    fmp_status st = FMP_OK;

    if (h->rescale == FMP_RESCALE_L1)
        st = each_of(v, add_dropped, &s, err);
    ret->scale = fmp_merge_scale(h, s.before, s.after);
    return st;
}

/* ---- jobs -------------------------------------------------------------------------------------
 */

static fmp_status poll(void *ctx, fmp_error *err)
{
    fmp_merge_job *j = ctx;

    if (j->progress.fn && j->progress.fn(j->progress.ctx, 0, 1))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

static fmp_status run(fmp_merge_job *j, uint64_t n_items,
                      fmp_status (*work)(void *, fmp_pool *, uint64_t, unsigned, fmp_error *),
                      fmp_error *err)
{
    const fmp_pool_job job = {.n_items = n_items, .work = work, .poll = poll, .ctx = j};

    return fmp_pool_run(&job, j->n_threads, err);
}

/* One tensor of one parent. */
static fmp_status stay_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_merge_job *j = ctx;
    const uint32_t tensor = (uint32_t)(item / j->in.k);
    const uint32_t parent = (uint32_t)(item % j->in.k);
    const fmp_tensor_info info = fmp_store_tensor(j->in.base, tensor);
    vector v = {
        .j = j, .r = &j->in.reader[slot], .parent = parent, .first = tensor, .end = tensor + 1};
    fmp_merge_stay *s = &j->stay[item];

    (void)pool;
    if (!j->in.touch[parent][tensor])
        return FMP_OK;
    s->lots = fmp_merge_lots_of(&j->h, info.name, info.name_len, parent);
    if (fmp_merge_drops(&j->h))
        return find_scale(&v, s, err);
    return find_stay(&v, info.n_elements, s, err);
}

/* All tensors of a parent at once. */
static fmp_status paper_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot,
                             fmp_error *err)
{
    fmp_merge_job *j = ctx;
    vector v = {
        .j = j, .r = &j->in.reader[slot], .parent = (uint32_t)item, .end = j->in.base->n_tensors};
    fmp_merge_stay stay = j->stay[item];
    uint64_t n = 0;
    fmp_status st;

    (void)pool;
    for (uint32_t t = 0; t < v.end; t++) {
        if (fmp_value_rounds(fmp_merge_kind(j, t)))
            n += fmp_store_tensor(j->in.base, t).n_elements;
    }
    st = find_stay(&v, n, &stay, err);
    for (uint32_t t = 0; t < v.end && !st; t++)
        j->stay[(size_t)t * j->in.k + item] = stay;
    return st;
}

static fmp_status find_stays(fmp_merge_job *j, fmp_error *err)
{
    const size_t n = (size_t)j->in.base->n_tensors * j->in.k;
    const bool paper = j->h.method == FMP_MERGE_TIES && j->h.ties == FMP_TIES_PAPER;

    j->stay = fmp_calloc(n, sizeof *j->stay);
    if (!j->stay)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        j->stay[i] =
            (fmp_merge_stay){.low.element = UINT64_MAX, .high.size = UINT64_MAX, .scale = 1};
    for (unsigned i = 0; i < j->n_threads; i++) {
        j->in.reader[i].hist = fmp_calloc(BINS, sizeof(uint64_t));
        j->in.reader[i].few = fmp_calloc(FEW, sizeof(fmp_merge_ranked));
        if (!j->in.reader[i].hist || !j->in.reader[i].few)
            return no_memory(err);
    }
    return paper ? run(j, j->in.k, paper_work, err) : run(j, n, stay_work, err);
}

/* ---- the sign of most ------------------------------------------------------------------------
 */

fmp_merge_walk fmp_merge_begin(const fmp_merge_job *j, const fmp_merge_reader *r, uint32_t tensor,
                               uint64_t off, const uint8_t *base)
{
    const unsigned width = fmp_dtype_at(j->in.base->tensors[tensor].dtype)->width / 8u;
    fmp_merge_walk w = {.j = j,
                        .r = r,
                        .base = base,
                        .tensor = tensor,
                        .kind = fmp_merge_kind(j, tensor),
                        .width = width,
                        .first = off / width};

    for (uint32_t i = 0; i < j->in.k; i++)
        w.at[i] = r->list[i].n ? r->list[i].at[0] : UINT32_MAX;
    return w;
}

bool fmp_merge_next(fmp_merge_walk *w, fmp_merge_meeting *ret)
{
    const uint32_t k = w->j->in.k;
    uint32_t at = UINT32_MAX;

    for (uint32_t i = 0; i < k; i++)
        at = w->at[i] < at ? w->at[i] : at;
    if (at == UINT32_MAX)
        return false;
    ret->at = at;
    ret->element = w->first + at;
    ret->n = 0;
    ret->b = fmp_value(w->kind, fmp_load_le(w->base + (size_t)at * w->width, w->width));
    for (uint32_t i = 0; i < k; i++) {
        const fmp_merge_list *l = &w->r->list[i];
        uint64_t bits;

        ret->x[i] = ret->b;
        ret->t[i] = 0;
        if (w->at[i] != at)
            continue;
        bits = l->bits[w->next[i]++];
        w->at[i] = w->next[i] < l->n ? l->at[w->next[i]] : UINT32_MAX;
        if (!ret->n++) {
            ret->one = i;
            ret->bits = bits;
        }
        ret->x[i] = fmp_value(w->kind, bits);
        if (ret->x[i] != ret->b)
            ret->t[i] = fmp_merge_left(w->j, i, w->tensor, ret->element, ret->x[i] - ret->b);
    }
    return true;
}

/* A tensor's windows, with the lists of all parents. */
static fmp_status each_window(fmp_merge_job *j, fmp_merge_reader *r, uint32_t tensor,
                              void (*fn)(fmp_merge_job *, fmp_merge_reader *, uint32_t tensor,
                                         uint64_t off, uint32_t len, void *ctx),
                              void *ctx, fmp_error *err)
{
    const uint64_t n_bytes = j->in.base->tensors[tensor].n_bytes;

    for (uint64_t off = 0; off < n_bytes; off += FMP_LEAF_LEN) {
        const uint32_t len =
            (uint32_t)(n_bytes - off < FMP_LEAF_LEN ? n_bytes - off : FMP_LEAF_LEN);
        fmp_status st = fmp_store_read(j->in.base, tensor, off, r->base, len, err);

        if (!st)
            st = fmp_merge_read(&j->in, r, tensor, off, len, r->base, 0, j->in.k - 1, err);
        if (st)
            return st;
        fn(j, r, tensor, off, len, ctx);
    }
    return FMP_OK;
}

static void add_signs(fmp_merge_job *j, fmp_merge_reader *r, uint32_t tensor, uint64_t off,
                      uint32_t len, void *ctx)
{
    fmp_merge_walk w = fmp_merge_begin(j, r, tensor, off, r->base);
    int64_t *balance = ctx;
    fmp_merge_meeting m;

    (void)len;
    while (fmp_merge_next(&w, &m)) {
        double sum = 0;

        for (uint32_t i = 0; i < j->in.k; i++)
            sum += m.t[i];
        *balance += (sum > 0) - (sum < 0);
    }
}

typedef struct sign_job {
    fmp_merge_job *j;
    int64_t *balance; /* of each tensor */
} sign_job;

static fmp_status sign_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    sign_job *s = ctx;
    const uint32_t tensor = (uint32_t)item;

    (void)pool;
    if (!s->j->in.touched[tensor] || !fmp_value_rounds(fmp_merge_kind(s->j, tensor)))
        return FMP_OK;
    return each_window(s->j, &s->j->in.reader[slot], tensor, add_signs, &s->balance[tensor], err);
}

static fmp_status find_zero_sign(fmp_merge_job *j, fmp_error *err)
{
    const uint32_t n = j->in.base->n_tensors;
    sign_job s = {.j = j, .balance = fmp_calloc(n, sizeof *s.balance)};
    const fmp_pool_job job = {.n_items = n, .work = sign_work, .ctx = &s};
    int64_t sum = 0;
    fmp_status st = s.balance ? fmp_pool_run(&job, j->n_threads, err) : no_memory(err);

    for (uint32_t t = 0; t < n && !st; t++)
        sum += s.balance[t];
    j->zero_sign = (sum > 0) - (sum < 0);
    fmp_free(s.balance);
    return st;
}

/* ---- SLERP ------------------------------------------------------------------------------------
 */

static void add_products(fmp_merge_job *j, fmp_merge_reader *r, uint32_t tensor, uint64_t off,
                         uint32_t len, void *ctx)
{
    const unsigned width = fmp_dtype_at(j->in.base->tensors[tensor].dtype)->width / 8u;
    const fmp_value_kind kind = fmp_merge_kind(j, tensor);
    double *s = ctx;
    uint32_t next[2] = {0};

    (void)off;
    for (uint32_t at = 0; at < len / width; at++) {
        double x[2];

        x[0] = x[1] = fmp_value(kind, fmp_load_le(r->base + (size_t)at * width, width));
        for (unsigned i = 0; i < 2; i++) {
            const fmp_merge_list *l = &r->list[i];

            if (next[i] < l->n && l->at[next[i]] == at)
                x[i] = fmp_value(kind, l->bits[next[i]++]);
        }
        s[0] += x[0] * x[0];
        s[1] += x[1] * x[1];
        s[2] += x[0] * x[1];
    }
}

static fmp_status line_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_merge_job *j = ctx;
    const uint32_t tensor = (uint32_t)item;
    fmp_merge_line *line = &j->line[tensor];
    double s[3] = {0};
    fmp_status st;

    (void)pool;
    line->straight = true;
    if (!j->in.touched[tensor] || !fmp_value_rounds(fmp_merge_kind(j, tensor)))
        return FMP_OK;
    st = each_window(j, &j->in.reader[slot], tensor, add_products, s, err);
    if (!st)
        line->straight = fmp_merge_arc(&j->h, sqrt(s[0]), sqrt(s[1]), s[2], line->c);
    return st;
}

/* ---- scores -----------------------------------------------------------------------------------
 */

/* Elements [first, first + n) of a score tensor as doubles; a mean of squares is never negative. */
static fmp_status read_numbers(const fmp_store *s, uint32_t tensor, uint64_t first, uint32_t n,
                               uint8_t *buf, double *out, fmp_error *err)
{
    const fmp_dtype *dtype = fmp_dtype_at(s->tensors[tensor].dtype);
    const fmp_value_kind kind = fmp_value_kind_of(dtype->name);
    const unsigned width = dtype->width / 8u;
    fmp_status st = FMP_OK;

    while (n && !st) {
        const uint32_t part = n < FMP_LEAF_LEN / width ? n : FMP_LEAF_LEN / width;

        st = fmp_store_read(s, tensor, first * width, buf, (size_t)part * width, err);
        for (uint32_t e = 0; e < part && !st; e++) {
            const double score = fmp_value(kind, fmp_load_le(buf + (size_t)e * width, width));

            if (!(score >= 0) || isinf(score))
                st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                              "%s: tensor \"%s\": element %llu: a score of 0 or more expected, "
                              "found %g",
                              s->path, fmp_store_tensor(s, tensor).name,
                              (unsigned long long)(first + e), score);
            *out++ = score;
        }
        first += part;
        n -= part;
    }
    return st;
}

uint32_t fmp_merge_window(const fmp_merge_job *j, uint32_t tensor)
{
    const uint32_t width = fmp_dtype_at(j->in.base->tensors[tensor].dtype)->width / 8u;
    const uint32_t most = SCORE_WINDOW * width;

    return j->h.method == FMP_MERGE_FISHER && most < FMP_LEAF_LEN ? most : FMP_LEAF_LEN;
}

fmp_status fmp_merge_read_scores(const fmp_merge_job *j, fmp_merge_reader *r, uint32_t tensor,
                                 uint64_t first, uint32_t n, fmp_error *err)
{
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < j->in.k && !st; i++) {
        double *out = r->scores + (size_t)i * n;

        st = read_numbers(j->scores[i], j->score_of[i][tensor], first, n, r->target, out, err);
        for (uint32_t e = 0; e < n && !st; e++)
            out[e] = j->h.w[i] / j->norm[i] * fmp_merge_floored(&j->h, i, out[e]);
    }
    return st;
}

static fmp_status norm_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_merge_job *j = ctx;
    fmp_merge_reader *r = &j->in.reader[slot];
    double sum = 0;

    (void)pool;
    for (uint32_t t = 0; t < j->in.base->n_tensors; t++) {
        const uint64_t n =
            j->score_of[item][t] == FMP_NONE ? 0 : fmp_store_tensor(j->in.base, t).n_elements;

        for (uint64_t first = 0; first < n; first += SCORE_WINDOW) {
            const uint32_t part = (uint32_t)(n - first < SCORE_WINDOW ? n - first : SCORE_WINDOW);
            const fmp_status st = read_numbers(j->scores[item], j->score_of[item][t], first, part,
                                               r->target, r->scores, err);

            if (st)
                return st;
            for (uint32_t e = 0; e < part; e++)
                sum += r->scores[e] * r->scores[e];
        }
    }
    j->norm[item] = sum > 0 ? sqrt(sum) : 1;
    return FMP_OK;
}

/* Finds each touched tensor of the base among a parent's scores. */
static fmp_status find_scores(fmp_merge_job *j, uint32_t i, fmp_error *err)
{
    const fmp_store *s = j->scores[i];

    for (uint32_t t = 0; t < j->in.base->n_tensors; t++) {
        const fmp_tensor_info info = fmp_store_tensor(j->in.base, t);
        const uint32_t at = fmp_store_find(s, info.name, info.name_len);
        const fmp_tensor_info found =
            at == FMP_NONE ? (fmp_tensor_info){0} : fmp_store_tensor(s, at);
        const fmp_value_kind kind = found.name ? fmp_value_kind_of(found.dtype) : FMP_VALUE_NONE;
        const bool fits =
            (kind == FMP_VALUE_F32 || kind == FMP_VALUE_F64) && found.n_elements == info.n_elements;

        j->score_of[i][t] = fits ? at : FMP_NONE;
        if (!fits && j->in.touched[t] && fmp_value_rounds(fmp_merge_kind(j, t)))
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                            "%s: no scores, F32 or F64, of the %llu elements of tensor \"%s\"",
                            s->path, (unsigned long long)info.n_elements, info.name);
    }
    return FMP_OK;
}

static fmp_status prepare_scores(fmp_merge_job *j, fmp_error *err)
{
    fmp_status st = FMP_OK;

    if (!j->scores)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "merge: Fisher merging needs scores");
    j->score_of = fmp_calloc(j->in.k, sizeof *j->score_of);
    if (!j->score_of)
        return no_memory(err);
    for (uint32_t i = 0; i < j->in.k && !st; i++) {
        j->norm[i] = 1;
        j->score_of[i] = fmp_calloc(j->in.base->n_tensors, sizeof **j->score_of);
        st = j->score_of[i] ? find_scores(j, i, err) : no_memory(err);
    }
    return st || j->h.no_norm ? st : run(j, j->in.k, norm_work, err);
}

/* ---- all of it --------------------------------------------------------------------------------
 */

fmp_status fmp_merge_prepare(fmp_merge_job *j, fmp_error *err)
{
    fmp_status st = FMP_OK;

    if (fmp_merge_trims(&j->h) || fmp_merge_drops(&j->h))
        st = find_stays(j, err);
    if (!st && fmp_merge_elects(&j->h) && j->h.ties == FMP_TIES_PAPER)
        st = find_zero_sign(j, err);
    if (!st && j->h.method == FMP_MERGE_FISHER)
        st = prepare_scores(j, err);
    if (!st && j->h.method == FMP_MERGE_SLERP) {
        j->line = fmp_calloc(j->in.base->n_tensors, sizeof *j->line);
        st = j->line ? run(j, j->in.base->n_tensors, line_work, err) : no_memory(err);
    }
    return st;
}
