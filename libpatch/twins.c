/*
 * Tensors with equal content.  See twins.h.  Candidates are found by a sum over samples of tensors
 * of one shape; a candidate counts only when all bytes have been compared.
 */
#include "twins.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/status.h"

#define SAMPLE   4096u /* bytes read at the front, the middle and the end */
#define PIECE    ((size_t)256 << 10)
#define MIN_TWIN 4096u /* smaller tensors are not worth looking for copies of */

typedef struct candidate {
    uint32_t schema;
    uint32_t row;
    uint64_t sum;
    bool in_base; /* else in the target */
} candidate;

typedef struct candidates {
    candidate *list;
    uint32_t n, cap;
} candidates;

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "matching tensors: out of memory");
}

static fmp_status add_candidate(candidates *c, const fmp_store *store, uint32_t tensor,
                                candidate found, fmp_error *err)
{
    const fmp_store_entry *e = &store->tensors[tensor];
    const size_t len = e->n_bytes < SAMPLE ? (size_t)e->n_bytes : SAMPLE;
    uint8_t sample[SAMPLE];
    fmp_xxh x;

    if (c->n == c->cap) {
        const uint32_t cap = c->cap ? c->cap * 2 : 64;
        candidate *list = fmp_realloc(c->list, cap, sizeof *list);

        if (!list)
            return no_memory(err);
        c->list = list;
        c->cap = cap;
    }
    fmp_xxh_init(&x);
    for (unsigned k = 0; k < 3; k++) {
        const uint64_t off = (e->n_bytes - len) / 2 * k;
        const fmp_status st = fmp_store_read(store, tensor, off, sample, len, err);

        if (st)
            return st;
        fmp_xxh_update(&x, sample, len);
    }
    found.sum = fmp_xxh_final(&x);
    c->list[c->n++] = found;
    return FMP_OK;
}

static int compare_candidates(const void *a, const void *b)
{
    const candidate *x = a;
    const candidate *y = b;

    if (x->schema != y->schema)
        return x->schema < y->schema ? -1 : 1;
    if (x->sum != y->sum)
        return x->sum < y->sum ? -1 : 1;
    if (x->in_base != y->in_base)
        return x->in_base ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Whether two tensors of one length hold the same bytes. */
static fmp_status same_content(const fmp_store *a, uint32_t i, const fmp_store *b, uint32_t j,
                               bool *ret, fmp_error *err)
{
    const uint64_t n = a->tensors[i].n_bytes;
    uint8_t *x = fmp_malloc(2 * PIECE);
    fmp_status st = x ? FMP_OK : no_memory(err);
    bool same = n == b->tensors[j].n_bytes;

    for (uint64_t at = 0; at < n && same && !st; at += PIECE) {
        const size_t len = n - at < PIECE ? (size_t)(n - at) : PIECE;

        st = fmp_store_read(a, i, at, x, len, err);
        if (!st)
            st = fmp_store_read(b, j, at, x + PIECE, len, err);
        same = !st && memcmp(x, x + PIECE, len) == 0;
    }
    fmp_free(x);
    *ret = same;
    return st;
}

/* ---- renamed ----------------------------------------------------------------------------------
 */

static fmp_status gather_unmatched(const fmp_store *base, const fmp_store *target, fmp_match *m,
                                   candidates *c, fmp_error *err)
{
    const fmp_table *t = &m->table;
    bool added = false, removed = false;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < t->n_rows; i++) {
        added |= t->rows[i].state == FMP_ADDED;
        removed |= t->rows[i].state == FMP_REMOVED;
    }
    for (uint32_t i = 0; i < t->n_rows && added && removed && !st; i++) {
        const fmp_row *r = &t->rows[i];

        if (r->state == FMP_REMOVED)
            st = add_candidate(c, base, m->base_of[i],
                               (candidate){.schema = r->base_schema, .row = i, .in_base = true},
                               err);
        else if (r->state == FMP_ADDED)
            st = add_candidate(c, target, m->target_of[i],
                               (candidate){.schema = r->target_schema, .row = i}, err);
    }
    return st;
}

fmp_status fmp_match_contents(const fmp_store *base, const fmp_store *target, fmp_match *m,
                              fmp_error *err)
{
    candidates c = {0};
    fmp_status st = gather_unmatched(base, target, m, &c, err);

    if (c.n)
        qsort(c.list, c.n, sizeof *c.list, compare_candidates);
    for (uint32_t i = 0, source = 0; i < c.n && !st; i++) {
        const candidate *x = &c.list[i];
        bool same = false;

        if (x->in_base) {
            if (i == 0 || !c.list[i - 1].in_base || c.list[i - 1].sum != x->sum ||
                c.list[i - 1].schema != x->schema)
                source = i; /* the first of its kind serves all */
            continue;
        }
        if (!c.list[source].in_base || c.list[source].sum != x->sum ||
            c.list[source].schema != x->schema)
            continue;
        st = same_content(base, m->base_of[c.list[source].row], target, m->target_of[x->row], &same,
                          err);
        if (st || !same)
            continue;
        m->table.rows[x->row].state = FMP_RESIDUAL;
        st = fmp_match_add_map(
            m, x->row,
            (fmp_map){.source = c.list[source].row, .n_bytes = m->table.schemas[x->schema].n_bytes},
            err);
        if (source + 1 < i && c.list[source + 1].in_base)
            source++;
    }
    fmp_free(c.list);
    return st;
}

/* ---- tied -------------------------------------------------------------------------------------
 */

/* Whether tensor `row` may be stored as a copy of `source`: its own base must be gone, or tied too.
 */
static fmp_status may_alias(const fmp_store *base, const fmp_store *target, fmp_match *m,
                            uint32_t source, uint32_t row, bool *ret, fmp_error *err)
{
    const fmp_row *r = &m->table.rows[row];
    const fmp_row *s = &m->table.rows[source];
    bool same = false;
    fmp_status st;

    *ret = false;
    if (r->base_schema != FMP_NONE) {
        if (r->map != FMP_NONE || s->map != FMP_NONE || s->base_schema != r->base_schema)
            return FMP_OK;
        st = same_content(base, m->base_of[row], target, m->target_of[row], &same, err);
        if (st || same) /* unchanged: nothing to store */
            return st;
        st = same_content(base, m->base_of[row], base, m->base_of[source], &same, err);
        if (st || !same)
            return st;
    } else if (r->state != FMP_ADDED) {
        return FMP_OK;
    }
    return same_content(target, m->target_of[row], target, m->target_of[source], ret, err);
}

fmp_status fmp_match_twins(const fmp_store *base, const fmp_store *target, fmp_match *m,
                           fmp_error *err)
{
    const fmp_table *t = &m->table;
    candidates c = {0};
    fmp_status st = FMP_OK;
    uint32_t source = 0;

    for (uint32_t i = 0; i < t->n_rows && !st; i++) {
        const fmp_row *r = &t->rows[i];

        if (r->target_schema != FMP_NONE && t->schemas[r->target_schema].n_bytes >= MIN_TWIN)
            st = add_candidate(&c, target, m->target_of[i],
                               (candidate){.schema = r->target_schema, .row = i}, err);
    }
    if (c.n)
        qsort(c.list, c.n, sizeof *c.list, compare_candidates);
    for (uint32_t i = 1; i < c.n && !st; i++) {
        const candidate *x = &c.list[i];
        bool alias;

        if (c.list[source].schema != x->schema || c.list[source].sum != x->sum) {
            source = i;
            continue;
        }
        st = may_alias(base, target, m, c.list[source].row, x->row, &alias, err);
        if (st || !alias)
            continue;
        m->table.rows[x->row].state = FMP_ALIAS;
        st = fmp_match_add_map(
            m, x->row,
            (fmp_map){.source = c.list[source].row, .n_bytes = t->schemas[x->schema].n_bytes}, err);
    }
    fmp_free(c.list);
    return st;
}
