/*
 * fmp_squash(): a chain of patches as one.  FORMAT.md, "Squash".  What a tensor of the last target
 * is made of is found by following maps back through the chain; the pass of derive.c adds it up.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "derive.h"
#include "patch.h"

typedef struct squash {
    const fmp_patch *const *p;
    uint32_t n;
    uint32_t **back;        /* back[k]: base row of patch k -> target row of patch k - 1 */
    uint32_t **on;          /* on[k]: target row of patch k -> base row of patch k + 1 */
    uint32_t *first, *last; /* new row -> base row of the first patch, target row of the last */
    uint32_t *new_of_first, *new_of_last; /* and back */
} squash;

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "squashing patches: out of memory");
}

/* ---- tensors ----------------------------------------------------------------------------------
 */

/* A walk from a tensor of the last target towards the base. */
typedef struct walk {
    uint32_t k, row; /* a target row of patch k */
    uint64_t shift, limit;
    bool hop;            /* it went through an alias of an earlier patch */
    uint32_t hop_k;      /* the last patch where it did, */
    uint32_t hop_source; /* and the row that it went to */
} walk;

static void add_stage(fmp_trace *t, const squash *s, const walk *w)
{
    t->stage[t->n++] = (fmp_stage){.patch = w->k,
                                   .object = s->p[w->k]->target_pos[w->row],
                                   .domain = FMP_DOMAIN_TENSORS,
                                   .direction = FMP_FORWARD,
                                   .shift = w->shift,
                                   .limit = w->limit};
}

/* One patch further back; false when nothing is left of the base of this one. */
static bool step_back(const squash *s, walk *w, fmp_trace *t)
{
    const fmp_table *table = &s->p[w->k]->table;
    const fmp_row *r = &table->rows[w->row];
    fmp_map map;

    if (r->state == FMP_ALIAS) {
        if (!w->hop) {
            w->hop = true;
            w->hop_k = w->k;
            w->hop_source = table->maps[r->map].source;
        }
        w->row = table->maps[r->map].source;
        r = &table->rows[w->row];
    }
    if (r->state != FMP_UNCHANGED)
        add_stage(t, s, w);
    if (r->state == FMP_WHOLE || r->state == FMP_ADDED) {
        w->limit = 0;
        return false;
    }
    map = fmp_table_map(table, w->row);
    map.n_bytes = map.n_bytes > w->shift ? map.n_bytes - w->shift : 0;
    if (map.n_bytes < w->limit)
        w->limit = map.n_bytes;
    w->shift += map.base_off;
    w->row = map.source;
    return w->limit != 0;
}

static void turn_round(fmp_trace *t)
{
    for (uint32_t i = 0; i < t->n / 2; i++) {
        const fmp_stage x = t->stage[i];

        t->stage[i] = t->stage[t->n - 1 - i];
        t->stage[t->n - 1 - i] = x;
    }
}

static walk trace_tensor(const squash *s, const fmp_derivation *d, uint32_t row, fmp_trace *t)
{
    walk w = {.k = s->n - 1,
              .row = s->last[row],
              .limit = d->table.schemas[d->table.rows[row].target_schema].n_bytes};

    *t = (fmp_trace){.stage = t->stage, .source = FMP_NONE};
    while (step_back(s, &w, t) && w.k > 0) {
        w.row = s->back[w.k][w.row];
        w.k--;
    }
    turn_round(t);
    t->mapped = w.limit;
    if (w.limit) {
        t->source = s->new_of_first[w.row];
        t->base_off = w.shift;
    }
    return w;
}

/* ---- old content ------------------------------------------------------------------------------
 */

static void add_old_stage(fmp_trace *t, uint32_t k, unsigned domain, uint32_t object, uint64_t size)
{
    t->stage[t->n++] =
        (fmp_stage){.patch = k,
                    .object = object,
                    .domain = (uint8_t)domain,
                    .direction = domain == FMP_DOMAIN_TENSORS ? FMP_BACKWARD : FMP_FORWARD,
                    .limit = size};
}

/*
 * Old content of base row `row` of patch k: what the patch stores, or what a later one stores of
 * the tensor that it became, less the residuals between.  A tensor and its alias are equal, so
 * either may be the one that is stored.
 */
static bool trace_old(const squash *s, uint32_t k, uint32_t row, uint64_t size, fmp_trace *t)
{
    const fmp_patch *p = s->p[k];
    const uint32_t way = p->target_of[row];
    const fmp_row *r = &p->table.rows[row];
    uint32_t same[2] = {way, FMP_NONE};

    if (way == FMP_NONE) {
        if (!fmp_patch_has_object(p, FMP_DOMAIN_OLD_TENSORS, p->base_pos[row],
                                  p->table.schemas[r->base_schema].n_bytes))
            return false;
        add_old_stage(t, k, FMP_DOMAIN_OLD_TENSORS, p->base_pos[row], size);
        return true;
    }
    if (r->state == FMP_ALIAS && r->target_schema != FMP_NONE)
        same[1] = row;
    for (unsigned i = 0; i < 2 && k + 1 < s->n; i++) {
        if (same[i] == FMP_NONE || !trace_old(s, k + 1, s->on[k][same[i]], size, t))
            continue;
        if (p->table.rows[way].state != FMP_UNCHANGED)
            add_old_stage(t, k, FMP_DOMAIN_TENSORS, p->target_pos[way], size);
        return true;
    }
    return false;
}

/* ---- files ------------------------------------------------------------------------------------
 */

/* The last patch that brings this content of a side file with it. */
static void trace_file(const squash *s, const fmp_side_file *want, fmp_trace *t)
{
    for (uint32_t k = s->n; k-- > 0;) {
        const uint32_t i = fmp_layout_find_side(&s->p[k]->layout, want->name);
        const fmp_side_file *f = i == FMP_NONE ? NULL : &s->p[k]->layout.side[i];

        if (!f || !f->in_target || (f->in_base && !f->changed) ||
            !fmp_digest_equal(&f->target_digest, &want->target_digest))
            continue;
        add_old_stage(t, k, FMP_DOMAIN_FILES, i, want->target_size);
        return;
    }
}

/* The last patch that takes this content of a side file away: if it did not keep it, nobody has it.
 */
static void trace_old_file(const squash *s, const fmp_side_file *want, fmp_trace *t)
{
    for (uint32_t k = s->n; k-- > 0;) {
        const uint32_t i = fmp_layout_find_side(&s->p[k]->layout, want->name);
        const fmp_side_file *f = i == FMP_NONE ? NULL : &s->p[k]->layout.side[i];

        if (!f || !f->in_base || (f->in_target && !f->changed) ||
            !fmp_digest_equal(&f->base_digest, &want->base_digest))
            continue;
        if (fmp_patch_has_object(s->p[k], FMP_DOMAIN_OLD_FILES, i, f->base_size))
            add_old_stage(t, k, FMP_DOMAIN_OLD_FILES, i, want->base_size);
        return;
    }
}

static void trace_object(const fmp_derivation *d, unsigned domain, uint32_t object, fmp_trace *t)
{
    const squash *s = d->op;
    const fmp_layout *l = &d->layout;
    uint32_t row;

    *t = (fmp_trace){.stage = t->stage, .source = FMP_NONE};
    switch (domain) {
    case FMP_DOMAIN_TENSORS:
        trace_tensor(s, d, l->target.order[object], t);
        break;
    case FMP_DOMAIN_OLD_TENSORS:
        row = l->base.order[object];
        trace_old(s, 0, s->first[row], d->table.schemas[d->table.rows[row].base_schema].n_bytes, t);
        break;
    case FMP_DOMAIN_HEADERS:
        add_old_stage(t, s->n - 1, domain, object, l->target.files[object].header_len);
        break;
    case FMP_DOMAIN_OLD_HEADERS:
        if (fmp_patch_has_object(s->p[0], domain, object, l->base.files[object].header_len))
            add_old_stage(t, 0, domain, object, l->base.files[object].header_len);
        break;
    case FMP_DOMAIN_FILES:
        trace_file(s, &l->side[object], t);
        break;
    default:
        trace_old_file(s, &l->side[object], t);
    }
}

/* ---- planning ---------------------------------------------------------------------------------
 */

/* A sentence on the first tensor in which the target of one patch and the base of the next differ.
 */
static fmp_status does_not_follow(const fmp_patch *a, const fmp_patch *b, fmp_error *err)
{
    const fmp_table *x = &a->table;
    const fmp_table *y = &b->table;
    const char *name = "?";

    for (uint32_t i = 0; i < x->n_rows; i++) {
        const fmp_row *r = &x->rows[i];
        const uint32_t k = fmp_table_find(y, x->names + r->name_at, r->name_len);

        if (r->target_schema == FMP_NONE)
            continue;
        name = x->names + r->name_at;
        if (k == FMP_NONE || y->rows[k].base_schema == FMP_NONE ||
            !fmp_digest_equal(&x->digests[r->target_digest], &y->digests[y->rows[k].base_digest]))
            break;
    }
    return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                    "%s: does not follow %s: its base is not the other's target: tensor \"%s\"",
                    b->file.path, a->file.path, name);
}

/* Patches follow each other: tensors, and side files that the later one takes as they are. */
static fmp_status check_chain(const squash *s, fmp_error *err)
{
    for (uint32_t k = 1; k < s->n; k++) {
        const fmp_layout *before = &s->p[k - 1]->layout;
        const fmp_layout *l = &s->p[k]->layout;

        if (memcmp(s->p[k - 1]->summary.target_root, s->p[k]->summary.base_root, FMP_DIGEST_LEN) !=
            0)
            return does_not_follow(s->p[k - 1], s->p[k], err);
        for (uint32_t i = 0; i < l->n_side; i++) {
            const uint32_t at = fmp_layout_find_side(before, l->side[i].name);

            if (!l->side[i].in_base || !l->side[i].in_target || l->side[i].changed)
                continue;
            if (at == FMP_NONE || !before->side[at].in_target ||
                !fmp_digest_equal(&before->side[at].target_digest, &l->side[i].base_digest))
                return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                                "%s: does not follow %s: file \"%s\" differs", s->p[k]->file.path,
                                s->p[k - 1]->file.path, l->side[i].name);
        }
    }
    return FMP_OK;
}

static fmp_status make_links(squash *s, fmp_error *err)
{
    s->back = fmp_calloc(s->n, sizeof *s->back);
    s->on = fmp_calloc(s->n, sizeof *s->on);
    if (!s->back || !s->on)
        return no_memory(err);
    for (uint32_t k = 1; k < s->n; k++) {
        s->back[k] = fmp_derive_link(&s->p[k]->table, false, &s->p[k - 1]->table, true);
        s->on[k - 1] = fmp_derive_link(&s->p[k - 1]->table, true, &s->p[k]->table, false);
        if (!s->back[k] || !s->on[k - 1])
            return no_memory(err);
    }
    return FMP_OK;
}

static bool same_trace(const fmp_trace *a, const fmp_trace *b)
{
    if (a->n != b->n || a->mapped != b->mapped || a->source != b->source ||
        a->base_off != b->base_off)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const fmp_stage *x = &a->stage[i];
        const fmp_stage *y = &b->stage[i];

        if (x->patch != y->patch || x->object != y->object || x->shift != y->shift ||
            x->limit != y->limit)
            return false;
    }
    return true;
}

/* A tensor that was an alias, and that nothing happened to since, goes on being one. */
static uint32_t still_alias_of(const squash *s, const fmp_derivation *d, uint32_t row,
                               fmp_trace spare[2])
{
    const walk w = trace_tensor(s, d, row, &spare[0]);
    const fmp_table *then;
    const fmp_row *q;
    uint32_t source;

    if (!w.hop || !spare[0].n)
        return FMP_NONE;
    then = &s->p[w.hop_k]->table;
    q = &then->rows[w.hop_source];
    source = fmp_table_find(&d->table, then->names + q->name_at, q->name_len);
    if (source == FMP_NONE || source == row || d->table.rows[source].target_schema == FMP_NONE ||
        d->table.rows[source].state == FMP_ALIAS)
        return FMP_NONE;
    if (d->table.schemas[d->table.rows[source].target_schema].n_bytes !=
        d->table.schemas[d->table.rows[row].target_schema].n_bytes)
        return FMP_NONE;
    return !trace_tensor(s, d, source, &spare[1]).hop && same_trace(&spare[0], &spare[1])
               ? source
               : FMP_NONE;
}

static fmp_status find_aliases(const squash *s, fmp_derivation *d, fmp_error *err)
{
    const fmp_table *last = &s->p[s->n - 1]->table;
    fmp_trace spare[2] = {{.stage = fmp_calloc((size_t)s->n + 1, sizeof(fmp_stage))},
                          {.stage = fmp_calloc((size_t)s->n + 1, sizeof(fmp_stage))}};
    bool ok = spare[0].stage && spare[1].stage;

    for (uint32_t i = 0; i < d->table.n_rows && ok; i++) {
        fmp_row *r = &d->table.rows[i];
        const fmp_row *from = s->last[i] == FMP_NONE ? NULL : &last->rows[s->last[i]];
        uint32_t source;

        if (!from)
            continue;
        source = from->state == FMP_ALIAS ? s->new_of_last[last->maps[from->map].source]
                                          : still_alias_of(s, d, i, spare);
        if (source == FMP_NONE)
            continue;
        r->state = FMP_ALIAS;
        ok = fmp_table_add_map(
            &d->table, i,
            (fmp_map){.source = source, .n_bytes = d->table.schemas[r->target_schema].n_bytes});
    }
    fmp_free(spare[0].stage);
    fmp_free(spare[1].stage);
    return ok ? FMP_OK : no_memory(err);
}

static fmp_status plan(squash *s, fmp_derivation *d, fmp_error *err)
{
    const fmp_patch *a = s->p[0];
    const fmp_patch *b = s->p[s->n - 1];
    fmp_status st = make_links(s, err);

    if (!st)
        st = fmp_derive_rows(d, a, false, b, true, NULL, &s->first, &s->last, err);
    if (st)
        return st;
    s->new_of_first = fmp_derive_turn(s->first, d->table.n_rows, a->table.n_rows);
    s->new_of_last = fmp_derive_turn(s->last, d->table.n_rows, b->table.n_rows);
    if (!s->new_of_first || !s->new_of_last)
        return no_memory(err);
    st = fmp_derive_side(&d->layout.base, &a->layout.base, s->new_of_first, err);
    if (!st)
        st = fmp_derive_side(&d->layout.target, &b->layout.target, s->new_of_last, err);
    if (!st)
        st = fmp_derive_side_files(d, &a->layout, false, &b->layout, true, NULL, err);
    if (!st)
        st = find_aliases(s, d, err);
    return st;
}

static void squash_release(squash *s)
{
    for (uint32_t k = 0; k < s->n; k++) {
        if (s->back)
            fmp_free(s->back[k]);
        if (s->on)
            fmp_free(s->on[k]);
    }
    fmp_free(s->back);
    fmp_free(s->on);
    fmp_free(s->first);
    fmp_free(s->last);
    fmp_free(s->new_of_first);
    fmp_free(s->new_of_last);
}

fmp_status fmp_squash(const fmp_patch *const *patches, size_t n_patches, const char *path,
                      const fmp_create_options *options, fmp_create_result *ret, fmp_error *err)
{
    squash s = {.p = patches, .n = (uint32_t)n_patches};
    fmp_derivation d = {0};
    fmp_status st;

    if (n_patches == 0 || n_patches > FMP_SQUASH_MAX)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%zu patches to squash: 1 to %u expected",
                        n_patches, FMP_SQUASH_MAX);
    st = check_chain(&s, err);
    if (!st)
        st = fmp_derive_init(&d, patches, s.n, options, err);
    if (!st)
        st = plan(&s, &d, err);
    if (!st) {
        const char *last = patches[n_patches - 1]->manifest;
        const fmp_manifest_side side[2] = {{.manifest = patches[0]->manifest, .side = "base"},
                                           {.manifest = last, .side = "target"}};

        d.trace = trace_object;
        d.op = &s;
        st = fmp_derive_write(&d, path, "squash", last, side, ret, err);
    }
    fmp_derive_release(&d);
    squash_release(&s);
    return st;
}
