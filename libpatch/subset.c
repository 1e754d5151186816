/*
 * fmp_subset(): a part of what a patch does.  See fmpatch.h.
 */
#include <fnmatch.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "derive.h"
#include "patch.h"

typedef struct subset {
    const fmp_patch *p;
    fmp_subset_options what;
    uint8_t *which;          /* of each old row: what it gives to the new target */
    uint32_t *base, *target; /* new row -> old row */
    uint32_t *new_row;       /* old row -> new row */
} subset;

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "taking a part of a patch: out of memory");
}

/* ---- which tensors ----------------------------------------------------------------------------
 */

static bool matches(const char *const *patterns, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (fnmatch(patterns[i], name, 0) == 0)
            return true;
    }
    return false;
}

static bool is_selected(const subset *s, uint32_t old)
{
    const char *name = s->p->table.names + s->p->table.rows[old].name_at;

    return (!s->what.n_tensors || matches(s->what.tensors, s->what.n_tensors, name)) &&
           !matches(s->what.except, s->what.n_except, name);
}

static fmp_status select_rows(subset *s, fmp_error *err)
{
    const fmp_table *t = &s->p->table;
    bool any = t->n_rows == 0;

    s->which = fmp_calloc(t->n_rows, sizeof *s->which);
    if (!s->which)
        return no_memory(err);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        const bool selected = is_selected(s, i);

        any |= selected;
        if (selected)
            s->which[i] = t->rows[i].target_schema != FMP_NONE ? FMP_ROW_TARGET : FMP_ROW_NONE;
        else
            s->which[i] = t->rows[i].base_schema != FMP_NONE ? FMP_ROW_BASE : FMP_ROW_NONE;
    }
    return any ? FMP_OK
               : fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: no tensor matches \"%.100s\"",
                          s->p->file.path, s->what.n_tensors ? s->what.tensors[0] : "");
}

/* The old row that makes the content of a row of the new target. */
static uint32_t maker_of(const subset *s, uint32_t old)
{
    const fmp_row *r = &s->p->table.rows[old];

    return r->state == FMP_ALIAS ? s->p->table.maps[r->map].source : old;
}

static fmp_status find_aliases(const subset *s, fmp_derivation *d, fmp_error *err)
{
    for (uint32_t i = 0; i < d->table.n_rows; i++) {
        const uint32_t old = s->target[i];
        const uint32_t maker = old == FMP_NONE ? FMP_NONE : maker_of(s, old);

        if (old == FMP_NONE || s->which[old] != FMP_ROW_TARGET || maker == old ||
            s->which[maker] != FMP_ROW_TARGET)
            continue;
        d->table.rows[i].state = FMP_ALIAS;
        if (!fmp_table_add_map(
                &d->table, i,
                (fmp_map){.source = s->new_row[maker],
                          .n_bytes = d->table.schemas[d->table.rows[i].target_schema].n_bytes}))
            return no_memory(err);
    }
    return FMP_OK;
}

/* ---- where content comes from -----------------------------------------------------------------
 */

static void add_stage(fmp_trace *t, unsigned domain, uint32_t object)
{
    t->stage[t->n++] =
        (fmp_stage){.object = object, .domain = (uint8_t)domain, .limit = UINT64_MAX};
}

static void trace_tensor(const subset *s, uint32_t old, fmp_trace *t)
{
    const fmp_table *table = &s->p->table;
    const uint32_t maker = maker_of(s, old);
    const unsigned state = table->rows[maker].state;
    fmp_map map;

    if (s->which[old] == FMP_ROW_BASE) {
        t->source = s->new_row[old];
        t->mapped = table->schemas[table->rows[old].base_schema].n_bytes;
        return;
    }
    if (state != FMP_UNCHANGED)
        add_stage(t, FMP_DOMAIN_TENSORS, s->p->target_pos[maker]);
    if (state == FMP_WHOLE || state == FMP_ADDED)
        return;
    map = fmp_table_map(table, maker);
    t->source = s->new_row[map.source];
    t->mapped = map.n_bytes;
    t->base_off = map.base_off;
}

static void trace_object(const fmp_derivation *d, unsigned domain, uint32_t object, fmp_trace *t)
{
    const subset *s = d->op;
    const fmp_layout *l = &d->layout;
    const fmp_side_file *f;
    uint32_t at = object;
    uint64_t size = 0;

    *t = (fmp_trace){.stage = t->stage, .source = FMP_NONE};
    switch (domain) {
    case FMP_DOMAIN_TENSORS:
        trace_tensor(s, s->target[l->target.order[object]], t);
        return;
    case FMP_DOMAIN_OLD_TENSORS:
        if (s->p->target_of[s->base[l->base.order[object]]] != FMP_NONE)
            return; /* not kept: it could be had from a tensor that is left out */
        at = s->p->base_pos[s->base[l->base.order[object]]];
        size = d->table.schemas[d->table.rows[l->base.order[object]].base_schema].n_bytes;
        break;
    case FMP_DOMAIN_OLD_HEADERS:
        size = l->base.files[object].header_len;
        break;
    case FMP_DOMAIN_FILES:
    case FMP_DOMAIN_OLD_FILES:
        at = fmp_layout_find_side(&s->p->layout, l->side[object].name);
        f = &s->p->layout.side[at];
        if (f->in_base && f->in_target && !f->changed)
            return; /* neither content is in the patch */
        size = domain == FMP_DOMAIN_FILES ? l->side[object].target_size : l->side[object].base_size;
        break;
    default:
        size = l->target.files[object].header_len;
    }
    if (fmp_patch_has_object(s->p, domain, at, size))
        add_stage(t, domain, at);
}

/* ---- files ------------------------------------------------------------------------------------
 */

/* Whether the new target has the patch's target tensors, all of them and in their shapes. */
static bool is_laid_out_alike(const subset *s)
{
    const fmp_table *t = &s->p->table;

    for (uint32_t i = 0; i < t->n_rows; i++) {
        const uint32_t schema = s->which[i] == FMP_ROW_NONE   ? FMP_NONE
                                : s->which[i] == FMP_ROW_BASE ? t->rows[i].base_schema
                                                              : t->rows[i].target_schema;

        if (schema != t->rows[i].target_schema)
            return false;
    }
    return true;
}

typedef struct measure {
    const fmp_derivation *d;
    uint32_t first;
    uint64_t len;
} measure;

static fmp_tensor_info measured_tensor(void *ctx, uint32_t i)
{
    const measure *m = ctx;

    return fmp_table_info(&m->d->table, m->d->layout.target.order[m->first + i], true);
}

static fmp_status count_bytes(void *ctx, const void *data, size_t len, fmp_error *err)
{
    (void)data;
    (void)err;
    ((measure *)ctx)->len += len;
    return FMP_OK;
}

/* A file of the base with the tensors that it has now, under the header that follows from them. */
static fmp_status size_file(fmp_derivation *d, fmp_layout_file *f, uint32_t first, fmp_error *err)
{
    const fmp_store_driver *driver = fmp_store_driver_find(f->driver);
    measure m = {.d = d, .first = first};
    fmp_status st;

    if (!driver)
        return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET, "file \"%s\": format \"%s\" is not known",
                        f->name, f->driver);
    f->header_stored = false;
    st = driver->header_write(f->hint.data, f->hint.len, measured_tensor, &m, f->n_tensors,
                              count_bytes, &m, err);
    f->header_len = m.len;
    f->size = m.len;
    for (uint32_t i = 0; i < f->n_tensors; i++)
        f->size += measured_tensor(&m, i).n_bytes;
    return st;
}

/* The base's files without what is removed; what is new stands at the end of the last. */
static fmp_status lay_out_like_base(const subset *s, fmp_derivation *d, fmp_error *err)
{
    const fmp_layout *l = &s->p->layout;
    fmp_layout_side *to = &d->layout.target;
    uint32_t at = 0, n = 0;
    fmp_status st = fmp_derive_side(to, &l->base, s->new_row, err);

    if (st)
        return st;
    fmp_free(to->order);
    to->order = fmp_calloc(d->table.n_rows, sizeof *to->order);
    if (!to->order)
        return no_memory(err);
    for (uint32_t i = 0; i < to->n_files; i++) {
        const uint32_t first = n;

        for (uint32_t k = 0; k < l->base.files[i].n_tensors; k++, at++) {
            if (s->which[l->base.order[at]] != FMP_ROW_NONE)
                to->order[n++] = s->new_row[l->base.order[at]];
        }
        for (uint32_t k = 0; i + 1 == to->n_files && k < l->target.n_order; k++) {
            const uint32_t old = l->target.order[k];

            if (s->p->table.rows[old].base_schema == FMP_NONE && s->which[old] == FMP_ROW_TARGET)
                to->order[n++] = s->new_row[old];
        }
        to->files[i].n_tensors = n - first;
        to->n_order = n;
        st = size_file(d, &to->files[i], first, err);
        if (st)
            return st;
    }
    return FMP_OK;
}

/* Whether the new target's tensors lie where the base has them. */
static bool lies_as_base(const fmp_derivation *d)
{
    const fmp_layout_side *b = &d->layout.base;
    const fmp_layout_side *t = &d->layout.target;
    bool same = b->n_order == t->n_order && b->n_files == t->n_files &&
                memcmp(b->order, t->order, b->n_order * sizeof *b->order) == 0;

    for (uint32_t i = 0; i < b->n_files && same; i++)
        same = strcmp(b->files[i].name, t->files[i].name) == 0 &&
               b->files[i].n_tensors == t->files[i].n_tensors;
    return same;
}

/* A file that an index leaves out is a side file, and weights where there is no index. */
static bool could_be_weights(const char *name)
{
    static const char end[] = ".safetensors";
    const size_t len = strlen(name);

    return len >= sizeof end - 1 && strcmp(name + len - (sizeof end - 1), end) == 0;
}

/* Side files of the new target.  An index goes with the weights files that it is of. */
static fmp_status put_side_files(const subset *s, fmp_derivation *d, bool as_target, fmp_error *err)
{
    const fmp_layout *l = &s->p->layout;
    const uint8_t index = as_target         ? FMP_ROW_TARGET
                          : lies_as_base(d) ? FMP_ROW_BASE
                                            : FMP_ROW_NONE;
    uint8_t *which = fmp_calloc((size_t)l->n_side + 1, 1);
    fmp_status st;

    if (!which)
        return no_memory(err);
    for (uint32_t i = 0; i < l->n_side && d->layout.target.is_dir; i++)
        which[i] = fmp_is_index(l->side[i].name) ||
                           (index == FMP_ROW_NONE && could_be_weights(l->side[i].name))
                       ? index
                   : s->what.side_files ? FMP_ROW_TARGET
                                        : FMP_ROW_BASE;
    st = fmp_derive_side_files(d, l, false, l, true, which, err);
    fmp_free(which);
    return st;
}

static fmp_status plan(subset *s, fmp_derivation *d, fmp_error *err)
{
    const fmp_layout *l = &s->p->layout;
    const bool as_target = is_laid_out_alike(s);
    fmp_status st =
        fmp_derive_rows(d, s->p, false, s->p, true, s->which, &s->base, &s->target, err);
    if (st)
        return st;
    s->new_row = fmp_calloc(s->p->table.n_rows, sizeof *s->new_row);
    if (!s->new_row)
        return no_memory(err);
    for (uint32_t i = 0; i < d->table.n_rows; i++)
        s->new_row[s->base[i] != FMP_NONE ? s->base[i] : s->target[i]] = i;
    st = fmp_derive_side(&d->layout.base, &l->base, s->new_row, err);
    if (!st)
        st = is_laid_out_alike(s) ? fmp_derive_side(&d->layout.target, &l->target, s->new_row, err)
                                  : lay_out_like_base(s, d, err);
    if (!st)
        st = put_side_files(s, d, as_target, err);
    if (!st)
        st = find_aliases(s, d, err);
    return st;
}

fmp_status fmp_subset(const fmp_patch *patch, const fmp_subset_options *what, const char *path,
                      const fmp_create_options *options, fmp_create_result *ret, fmp_error *err)
{
    subset s = {.p = patch};
    fmp_derivation d = {0};
    fmp_status st;

    if (what)
        memcpy(&s.what, what, what->size < sizeof s.what ? what->size : sizeof s.what);
    st = fmp_derive_init(&d, &patch, 1, options, err);
    if (!st)
        st = select_rows(&s, err);
    if (!st)
        st = plan(&s, &d, err);
    if (!st) {
        const fmp_manifest_side side[2] = {{.manifest = patch->manifest, .side = "base"}, {0}};

        d.trace = trace_object;
        d.op = &s;
        st = fmp_derive_write(&d, path, "subset", NULL, side, ret, err);
    }
    fmp_derive_release(&d);
    fmp_free(s.which);
    fmp_free(s.base);
    fmp_free(s.target);
    fmp_free(s.new_row);
    return st;
}
