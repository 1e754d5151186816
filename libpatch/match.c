/*
 * Which target tensor comes from which base tensor.  See match.h.
 */
#include "match.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "schemas.h"
#include "twins.h"

void fmp_match_release(fmp_match *m)
{
    fmp_table_release(&m->table);
    fmp_free(m->base_of);
    fmp_free(m->target_of);
    fmp_free(m->base_row);
    fmp_free(m->target_row);
    *m = (fmp_match){0};
}

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "matching tensors: out of memory");
}

/* ---- rows: the union of names -----------------------------------------------------------------
 */

static int compare_names(const fmp_store *a, uint32_t i, const fmp_store *b, uint32_t j)
{
    const fmp_store_entry *x = &a->tensors[a->by_name[i]];
    const fmp_store_entry *y = &b->tensors[b->by_name[j]];
    const size_t common = x->name_len < y->name_len ? x->name_len : y->name_len;
    const int order = memcmp(a->names + x->name_at, b->names + y->name_at, common);

    return order ? order : (int)x->name_len - (int)y->name_len;
}

typedef struct merge {
    const fmp_store *base, *target;
    uint32_t b, t;
} merge;

/* The next name: tensors of either side that bear it, FMP_NONE where there is none. */
static bool merge_next(merge *m, uint32_t *ret_base, uint32_t *ret_target)
{
    const bool have_b = m->b < m->base->n_tensors;
    const bool have_t = m->t < m->target->n_tensors;
    int order;

    if (!have_b && !have_t)
        return false;
    order = !have_b ? 1 : !have_t ? -1 : compare_names(m->base, m->b, m->target, m->t);
    *ret_base = order <= 0 ? m->base->by_name[m->b++] : FMP_NONE;
    *ret_target = order >= 0 ? m->target->by_name[m->t++] : FMP_NONE;
    return true;
}

static fmp_status make_rows(const fmp_store *base, const fmp_store *target, fmp_match *m,
                            fmp_error *err)
{
    fmp_table *t = &m->table;
    merge scan = {.base = base, .target = target};
    uint32_t b, g;
    size_t names_len = 0;
    uint32_t n = 0;

    for (; merge_next(&scan, &b, &g); n++)
        names_len += 1u + (b != FMP_NONE ? base->tensors[b].name_len : target->tensors[g].name_len);
    if (names_len > UINT32_MAX)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "tensor names exceed 4 GiB");
    t->rows = fmp_calloc(n, sizeof *t->rows);
    t->names = fmp_malloc(names_len);
    m->base_of = fmp_calloc(n, sizeof *m->base_of);
    m->target_of = fmp_calloc(n, sizeof *m->target_of);
    m->base_row = fmp_calloc(base->n_tensors, sizeof *m->base_row);
    m->target_row = fmp_calloc(target->n_tensors, sizeof *m->target_row);
    t->digests = fmp_calloc(base->n_tensors, sizeof *t->digests);
    if (!t->rows || !t->names || !m->base_of || !m->target_of || !m->base_row || !m->target_row ||
        !t->digests)
        return no_memory(err);
    scan = (merge){.base = base, .target = target};
    while (merge_next(&scan, &b, &g)) {
        const fmp_store *s = b != FMP_NONE ? base : target;
        const fmp_store_entry *e = &s->tensors[b != FMP_NONE ? b : g];
        fmp_row *r = &t->rows[t->n_rows];

        r->name_at = (uint32_t)t->names_len;
        r->name_len = e->name_len;
        memcpy(t->names + t->names_len, s->names + e->name_at, e->name_len + 1u);
        t->names_len += e->name_len + 1u;
        r->base_schema = r->target_schema = FMP_NONE;
        r->base_digest = b != FMP_NONE ? t->n_digests++ : FMP_NONE;
        r->target_digest = r->map = FMP_NONE;
        m->base_of[t->n_rows] = b;
        m->target_of[t->n_rows] = g;
        if (b != FMP_NONE)
            m->base_row[b] = t->n_rows;
        if (g != FMP_NONE)
            m->target_row[g] = t->n_rows;
        t->n_rows++;
    }
    return FMP_OK;
}

/* ---- schemas ----------------------------------------------------------------------------------
 */

/* The number of a tensor's schema, or FMP_NONE when memory is short. */
static uint32_t intern(fmp_interner *in, const fmp_store *s, uint32_t tensor)
{
    const fmp_tensor_info i = fmp_store_tensor(s, tensor);

    return fmp_intern(in, &i, fmp_dtype_at(s->tensors[tensor].dtype)->bits);
}

static fmp_status make_schemas(const fmp_store *base, const fmp_store *target, fmp_match *m,
                               fmp_error *err)
{
    fmp_interner in = {.t = &m->table};
    bool ok = true;

    for (uint32_t i = 0; i < m->table.n_rows && ok; i++) {
        fmp_row *r = &m->table.rows[i];

        if (m->base_of[i] != FMP_NONE) {
            r->base_schema = intern(&in, base, m->base_of[i]);
            ok &= r->base_schema != FMP_NONE;
        }
        if (ok && m->target_of[i] != FMP_NONE) {
            r->target_schema = intern(&in, target, m->target_of[i]);
            ok &= r->target_schema != FMP_NONE;
        }
    }
    fmp_interner_release(&in);
    return ok ? FMP_OK : no_memory(err);
}

/* ---- maps -------------------------------------------------------------------------------------
 */

fmp_status fmp_match_add_map(fmp_match *m, uint32_t row, fmp_map map, fmp_error *err)
{
    return fmp_table_add_map(&m->table, row, map) ? FMP_OK : no_memory(err);
}

/* Bytes that a target tensor of one schema can take from the front of a base tensor of another. */
static uint64_t common_bytes(const fmp_table *t, uint32_t base, uint32_t target)
{
    const fmp_schema *b = &t->schemas[base];
    const fmp_schema *g = &t->schemas[target];

    if (strcmp(b->dtype, g->dtype) != 0)
        return 0;
    if (b->n_bytes == g->n_bytes)
        return g->n_bytes;
    if (b->rank == 0 || b->rank != g->rank)
        return 0;
    if (b->rank > 1 && memcmp(t->dims + b->dims_at + 1, t->dims + g->dims_at + 1,
                              (b->rank - 1) * sizeof *t->dims) != 0)
        return 0;
    return b->n_bytes < g->n_bytes ? b->n_bytes : g->n_bytes;
}

static fmp_status match_same_names(fmp_match *m, fmp_error *err)
{
    fmp_table *t = &m->table;

    for (uint32_t i = 0; i < t->n_rows; i++) {
        fmp_row *r = &t->rows[i];
        uint64_t common;
        fmp_status st;

        if (r->base_schema == FMP_NONE || r->target_schema == FMP_NONE) {
            r->state = r->base_schema == FMP_NONE ? FMP_ADDED : FMP_REMOVED;
            continue;
        }
        r->state = FMP_RESIDUAL;
        if (r->base_schema == r->target_schema)
            continue;
        common = common_bytes(t, r->base_schema, r->target_schema);
        if (!common && t->schemas[r->target_schema].n_bytes) {
            r->state = FMP_WHOLE;
            continue;
        }
        st = fmp_match_add_map(m, i, (fmp_map){.source = i, .n_bytes = common}, err);
        if (st)
            return st;
    }
    return FMP_OK;
}

static fmp_status take_source(fmp_match *m, uint32_t row, uint32_t source, fmp_error *err)
{
    const uint64_t n = common_bytes(&m->table, m->table.rows[source].base_schema,
                                    m->table.rows[row].target_schema);

    m->table.rows[row].state = FMP_RESIDUAL;
    return fmp_match_add_map(m, row, (fmp_map){.source = source, .n_bytes = n}, err);
}

/* --rename OLD=NEW */
static fmp_status match_renames(fmp_match *m, const fmp_create_options *o, fmp_error *err)
{
    for (size_t i = 0; i < o->n_renames; i++) {
        const char *text = o->renames[i];
        const char *eq = strchr(text, '=');
        const uint32_t old = eq ? fmp_table_find(&m->table, text, (size_t)(eq - text)) : FMP_NONE;
        const uint32_t new = eq ? fmp_table_find(&m->table, eq + 1, strlen(eq + 1)) : FMP_NONE;
        fmp_status st;

        if (!eq)
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "rename \"%s\": OLD=NEW expected",
                            text);
        if (old == FMP_NONE || m->table.rows[old].base_schema == FMP_NONE)
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                            "rename \"%s\": the base has no tensor \"%.*s\"", text,
                            (int)(eq - text), text);
        if (new == FMP_NONE || m->table.rows[new].target_schema == FMP_NONE)
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                            "rename \"%s\": the target has no tensor \"%s\"", text, eq + 1);
        if (!common_bytes(&m->table, m->table.rows[old].base_schema,
                          m->table.rows[new].target_schema))
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                            "rename \"%s\": the two have nothing in common but their bits", text);
        st = take_source(m, new, old, err);
        if (st)
            return st;
    }
    return FMP_OK;
}

/* Prefixes that wrappers put before every name. */
static const char *const prefixes[] = {"model.", "module.", "_orig_mod.", "base_model.model.",
                                       "language_model."};

static uint32_t find_with_prefix(const fmp_table *t, const char *name, size_t len)
{
    char other[1100];

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const size_t n = strlen(prefixes[i]);
        uint32_t row = FMP_NONE;

        if (len > n && memcmp(name, prefixes[i], n) == 0)
            row = fmp_table_find(t, name + n, len - n);
        if (row != FMP_NONE && t->rows[row].state == FMP_REMOVED)
            return row;
        memcpy(other, prefixes[i], n);
        if (len < sizeof other - n) {
            memcpy(other + n, name, len);
            row = fmp_table_find(t, other, n + len);
        }
        if (row != FMP_NONE && t->rows[row].state == FMP_REMOVED)
            return row;
    }
    return FMP_NONE;
}

static fmp_status match_prefixes(fmp_match *m, fmp_error *err)
{
    const fmp_table *t = &m->table;

    for (uint32_t i = 0; i < t->n_rows; i++) {
        const fmp_row *r = &t->rows[i];
        uint32_t source;
        fmp_status st;

        if (r->state != FMP_ADDED)
            continue;
        source = find_with_prefix(t, t->names + r->name_at, r->name_len);
        if (source == FMP_NONE || t->rows[source].base_schema != r->target_schema)
            continue;
        st = take_source(m, i, source, err);
        if (st)
            return st;
    }
    return FMP_OK;
}

fmp_status fmp_match_stores(const fmp_store *base, const fmp_store *target,
                            const fmp_create_options *options, fmp_match *ret, fmp_error *err)
{
    fmp_match m = {0};
    fmp_status st = make_rows(base, target, &m, err);

    if (!st)
        st = make_schemas(base, target, &m, err);
    if (!st)
        st = match_same_names(&m, err);
    if (!st)
        st = match_renames(&m, options, err);
    if (!st)
        st = fmp_match_contents(base, target, &m, err);
    if (!st)
        st = match_prefixes(&m, err);
    if (!st && !target->is_mask)
        st = fmp_match_twins(base, target, &m, err);
    if (st) {
        fmp_match_release(&m);
        return st;
    }
    *ret = m;
    return FMP_OK;
}
