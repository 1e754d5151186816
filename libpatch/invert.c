/*
 * fmp_invert(): the patch that undoes a reversible patch.  FORMAT.md, "Inverse".
 */
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "derive.h"
#include "patch.h"

/* New base = old target, new target = old base. */
typedef struct inversion {
    const fmp_patch *p;
    uint32_t *from_target, *from_base; /* new row -> old row, by side of the new patch */
    uint32_t *new_row;                 /* old row -> new row: names are the same */
} inversion;

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "inverting a patch: out of memory");
}

static void add_stage(fmp_trace *t, unsigned domain, uint32_t object, int direction, uint64_t size)
{
    t->stage[t->n++] = (fmp_stage){.object = object,
                                   .domain = (uint8_t)domain,
                                   .direction = (uint8_t)direction,
                                   .limit = size};
}

/* A tensor of the old base, by its way back or its old content. */
static void trace_tensor(const inversion *v, uint32_t old, fmp_trace *t)
{
    const fmp_patch *p = v->p;
    const uint32_t way = p->target_of[old];
    const uint64_t size = p->table.schemas[p->table.rows[old].base_schema].n_bytes;

    if (way == FMP_NONE) {
        add_stage(t, FMP_DOMAIN_OLD_TENSORS, p->base_pos[old], FMP_FORWARD, size);
        return;
    }
    t->mapped = size;
    t->source = v->new_row[way];
    if (p->table.rows[way].state != FMP_UNCHANGED)
        add_stage(t, FMP_DOMAIN_TENSORS, p->target_pos[way], FMP_BACKWARD, size);
}

/* A tensor of the old target: the patch has all of it where it is new. */
static void trace_old(const inversion *v, uint32_t old, fmp_trace *t)
{
    const fmp_patch *p = v->p;
    const fmp_row *r = &p->table.rows[old];
    const uint32_t maker = r->state == FMP_ALIAS ? p->table.maps[r->map].source : old;
    const unsigned state = p->table.rows[maker].state;

    if (state == FMP_WHOLE || state == FMP_ADDED)
        add_stage(t, FMP_DOMAIN_TENSORS, p->target_pos[maker], FMP_FORWARD,
                  p->table.schemas[r->target_schema].n_bytes);
}

static void trace_object(const fmp_derivation *d, unsigned domain, uint32_t object, fmp_trace *t)
{
    static const uint8_t turned[FMP_DOMAIN_COUNT] = {[FMP_DOMAIN_HEADERS] = FMP_DOMAIN_OLD_HEADERS,
                                                     [FMP_DOMAIN_FILES] = FMP_DOMAIN_OLD_FILES,
                                                     [FMP_DOMAIN_OLD_HEADERS] = FMP_DOMAIN_HEADERS,
                                                     [FMP_DOMAIN_OLD_FILES] = FMP_DOMAIN_FILES};
    const inversion *v = d->op;
    const fmp_layout *l = &d->layout;

    *t = (fmp_trace){.stage = t->stage, .source = FMP_NONE};
    if (domain == FMP_DOMAIN_TENSORS)
        trace_tensor(v, v->from_base[l->target.order[object]], t);
    else if (domain == FMP_DOMAIN_OLD_TENSORS)
        trace_old(v, v->from_target[l->base.order[object]], t);
    else
        add_stage(t, turned[domain], object, FMP_FORWARD, UINT64_MAX);
}

/* An alias of which base and target were tied alike is one in the inverse, too. */
static fmp_status find_aliases(const inversion *v, fmp_derivation *d, fmp_error *err)
{
    const fmp_patch *p = v->p;

    for (uint32_t i = 0; i < d->table.n_rows; i++) {
        const uint32_t old = v->from_base[i];
        const fmp_row *r = old == FMP_NONE ? NULL : &p->table.rows[old];
        uint32_t source;

        if (!r || r->state != FMP_ALIAS || p->target_of[old] == FMP_NONE)
            continue;
        source = p->table.maps[r->map].source;
        if (p->table.rows[source].base_schema != r->base_schema ||
            p->table.rows[source].state == FMP_ALIAS || p->target_of[source] != p->target_of[old] ||
            p->target_of[source] != source)
            continue;
        d->table.rows[i].state = FMP_ALIAS;
        if (!fmp_table_add_map(&d->table, i,
                               (fmp_map){.source = v->new_row[source],
                                         .n_bytes = p->table.schemas[r->base_schema].n_bytes}))
            return no_memory(err);
    }
    return FMP_OK;
}

static fmp_status plan(inversion *v, fmp_derivation *d, fmp_error *err)
{
    const fmp_layout *l = &v->p->layout;
    fmp_status st =
        fmp_derive_rows(d, v->p, true, v->p, false, NULL, &v->from_target, &v->from_base, err);

    if (st)
        return st;
    v->new_row = fmp_calloc(v->p->table.n_rows, sizeof *v->new_row);
    if (!v->new_row)
        return no_memory(err);
    for (uint32_t i = 0; i < d->table.n_rows; i++)
        v->new_row[v->from_base[i] != FMP_NONE ? v->from_base[i] : v->from_target[i]] = i;
    st = fmp_derive_side(&d->layout.base, &l->target, v->new_row, err);
    if (!st)
        st = fmp_derive_side(&d->layout.target, &l->base, v->new_row, err);
    if (!st)
        st = fmp_derive_side_files(d, l, true, l, false, NULL, err);
    if (!st)
        st = find_aliases(v, d, err);
    return st;
}

fmp_status fmp_invert(const fmp_patch *patch, const char *path, const fmp_create_options *options,
                      fmp_create_result *ret, fmp_error *err)
{
    inversion v = {.p = patch};
    fmp_derivation d = {0};
    fmp_status st;

    if (patch->stuck[0])
        return fmp_fail(err, FMP_EPOLICY, FMP_NO_OFFSET, "%s: cannot be inverted: %s",
                        patch->file.path, patch->stuck);
    st = fmp_derive_init(&d, &patch, 1, options, err);
    if (!st)
        st = plan(&v, &d, err);
    if (!st) {
        const fmp_manifest_side side[2] = {{.manifest = patch->manifest, .side = "target"},
                                           {.manifest = patch->manifest, .side = "base"}};

        d.trace = trace_object;
        d.op = &v;
        st = fmp_derive_write(&d, path, "invert", NULL, side, ret, err);
    }
    fmp_derive_release(&d);
    fmp_free(v.from_target);
    fmp_free(v.from_base);
    fmp_free(v.new_row);
    return st;
}
