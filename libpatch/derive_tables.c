/*
 * The tables of a patch that is made of patches.  See derive.h.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "derive.h"
#include "patch.h"
#include "schemas.h"

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "combining patches: out of memory");
}

/* ---- tables -----------------------------------------------------------------------------------
 */

/* The rows of one side of a table, in order. */
typedef struct table_side {
    const fmp_table *t;
    bool target;
    const uint8_t *which; /* NULL, or for each row: FMP_ROW_NONE, _BASE, _TARGET in place of that */
    uint32_t at;
} table_side;

static bool is_target(const table_side *s, uint32_t row)
{
    return s->which ? s->which[row] == FMP_ROW_TARGET : s->target;
}

static uint32_t schema_of(const table_side *s, uint32_t row)
{
    if (s->which && s->which[row] == FMP_ROW_NONE)
        return FMP_NONE;
    return is_target(s, row) ? s->t->rows[row].target_schema : s->t->rows[row].base_schema;
}

static void skip(table_side *s)
{
    while (s->at < s->t->n_rows && schema_of(s, s->at) == FMP_NONE)
        s->at++;
}

static int compare(const table_side *a, const table_side *b)
{
    const fmp_row *x = &a->t->rows[a->at];
    const fmp_row *y = &b->t->rows[b->at];
    const size_t common = x->name_len < y->name_len ? x->name_len : y->name_len;
    const int order = memcmp(a->t->names + x->name_at, b->t->names + y->name_at, common);

    return order ? order : (int)x->name_len - (int)y->name_len;
}

/* The next name of either side; false at the end. */
static bool next_name(table_side *a, table_side *b, uint32_t *ret_a, uint32_t *ret_b)
{
    int order;

    skip(a);
    skip(b);
    if (a->at == a->t->n_rows && b->at == b->t->n_rows)
        return false;
    order = a->at == a->t->n_rows ? 1 : b->at == b->t->n_rows ? -1 : compare(a, b);
    *ret_a = order <= 0 ? a->at++ : FMP_NONE;
    *ret_b = order >= 0 ? b->at++ : FMP_NONE;
    return true;
}

static uint32_t intern_row(fmp_interner *in, const table_side *s, uint32_t row)
{
    const fmp_tensor_info info = fmp_table_info(s->t, row, is_target(s, row));

    return fmp_intern(in, &info, s->t->schemas[schema_of(s, row)].element_bits);
}

static const fmp_digest *digest_of(const table_side *s, uint32_t row)
{
    const fmp_row *r = &s->t->rows[row];

    return &s->t->digests[is_target(s, row) ? r->target_digest : r->base_digest];
}

/* One more row, of tensors number b and g of the sides. */
static bool add_row(fmp_derivation *d, fmp_interner *in, const table_side *base, uint32_t b,
                    const table_side *target, uint32_t g)
{
    fmp_table *t = &d->table;
    const table_side *s = b != FMP_NONE ? base : target;
    const fmp_row *from = &s->t->rows[b != FMP_NONE ? b : g];
    fmp_row *r = &t->rows[t->n_rows];

    *r = (fmp_row){.name_at = (uint32_t)t->names_len,
                   .name_len = from->name_len,
                   .base_schema = FMP_NONE,
                   .target_schema = FMP_NONE,
                   .base_digest = FMP_NONE,
                   .target_digest = FMP_NONE,
                   .map = FMP_NONE};
    memcpy(t->names + t->names_len, s->t->names + from->name_at, from->name_len + 1u);
    t->names_len += from->name_len + 1u;
    r->state = b == FMP_NONE ? FMP_ADDED : g == FMP_NONE ? FMP_REMOVED : FMP_UNCHANGED;
    if (b != FMP_NONE) {
        r->base_schema = intern_row(in, base, b);
        r->base_digest = t->n_digests;
        t->digests[t->n_digests++] = *digest_of(base, b);
    }
    if (g != FMP_NONE) {
        r->target_schema = intern_row(in, target, g);
        d->found[t->n_rows] = (fmp_found_digest){.row = t->n_rows, .digest = *digest_of(target, g)};
    }
    t->n_rows++;
    return (b == FMP_NONE || r->base_schema != FMP_NONE) &&
           (g == FMP_NONE || r->target_schema != FMP_NONE);
}

static bool make_room(fmp_derivation *d, uint32_t n, uint32_t n_base, size_t names_len,
                      uint32_t **base_row, uint32_t **target_row)
{
    fmp_table *t = &d->table;

    t->rows = fmp_calloc(n, sizeof *t->rows);
    t->names = fmp_malloc(names_len);
    t->digests = fmp_calloc(n_base, sizeof *t->digests);
    d->found = fmp_calloc(n, sizeof *d->found);
    d->way = fmp_calloc(n, sizeof *d->way);
    *base_row = fmp_calloc(n, sizeof **base_row);
    *target_row = fmp_calloc(n, sizeof **target_row);
    return t->rows && t->names && t->digests && d->found && d->way && *base_row && *target_row;
}

fmp_status fmp_derive_rows(fmp_derivation *d, const fmp_patch *base_of, bool base_is_target,
                           const fmp_patch *target_of, bool target_is_target, const uint8_t *which,
                           uint32_t **ret_base, uint32_t **ret_target, fmp_error *err)
{
    const table_side base = {.t = &base_of->table, .target = base_is_target};
    const table_side target = {.t = &target_of->table, .target = target_is_target, .which = which};
    table_side x = base, y = target;
    fmp_interner in = {.t = &d->table};
    size_t names_len = 0;
    uint32_t n = 0, n_base = 0, b, g;
    bool ok = true;

    for (; next_name(&x, &y, &b, &g); n++) {
        n_base += b != FMP_NONE;
        names_len += 1u + (b != FMP_NONE ? x.t->rows[b].name_len : y.t->rows[g].name_len);
    }
    if (names_len > UINT32_MAX)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "tensor names exceed 4 GiB");
    ok = make_room(d, n, n_base, names_len, ret_base, ret_target);
    x = base;
    y = target;
    while (ok && next_name(&x, &y, &b, &g)) {
        (*ret_base)[d->table.n_rows] = b;
        (*ret_target)[d->table.n_rows] = g;
        ok = add_row(d, &in, &base, b, &target, g);
    }
    fmp_interner_release(&in);
    if (ok)
        return FMP_OK;
    fmp_free(*ret_base);
    fmp_free(*ret_target);
    *ret_base = *ret_target = NULL;
    return no_memory(err);
}

static bool copy_file(fmp_layout_file *to, const fmp_layout_file *from)
{
    *to = *from;
    to->hint = (fmp_buf){0};
    to->name = fmp_strndup(from->name, strlen(from->name));
    to->driver = fmp_strndup(from->driver, strlen(from->driver));
    fmp_buf_put(&to->hint, from->hint.data, from->hint.len);
    return to->name && to->driver && !to->hint.bad;
}

fmp_status fmp_derive_side(fmp_layout_side *to, const fmp_layout_side *from, const uint32_t *row_of,
                           fmp_error *err)
{
    to->is_dir = from->is_dir;
    to->files = fmp_calloc(from->n_files, sizeof *to->files);
    to->order = fmp_calloc(from->n_order, sizeof *to->order);
    if (!to->files || !to->order)
        return no_memory(err);
    for (uint32_t i = 0; i < from->n_files; i++) {
        to->n_files++;
        if (!copy_file(&to->files[i], &from->files[i]))
            return no_memory(err);
    }
    to->n_order = from->n_order;
    for (uint32_t i = 0; i < from->n_order; i++)
        to->order[i] = row_of[from->order[i]];
    return FMP_OK;
}

uint32_t *fmp_derive_turn(const uint32_t *from, uint32_t n_new, uint32_t n_old)
{
    uint32_t *to = fmp_calloc(n_old, sizeof *to);

    if (!to)
        return NULL;
    memset(to, 0xff, (size_t)n_old * sizeof *to);
    for (uint32_t i = 0; i < n_new; i++) {
        if (from[i] != FMP_NONE)
            to[from[i]] = i;
    }
    return to;
}

uint32_t *fmp_derive_link(const fmp_table *t, bool target, const fmp_table *other,
                          bool other_target)
{
    table_side x = {.t = t, .target = target};
    table_side y = {.t = other, .target = other_target};
    uint32_t *link = fmp_calloc(t->n_rows, sizeof *link);
    uint32_t a, b;

    if (!link)
        return NULL;
    memset(link, 0xff, (size_t)t->n_rows * sizeof *link);
    while (next_name(&x, &y, &a, &b)) {
        if (a != FMP_NONE)
            link[a] = b;
    }
    return link;
}

/* ---- side files -------------------------------------------------------------------------------
 */

uint32_t fmp_layout_find_side(const fmp_layout *l, const char *name)
{
    uint32_t low = 0;
    uint32_t high = l->n_side;

    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        const int order = strcmp(l->side[mid].name, name);

        if (order == 0)
            return mid;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return FMP_NONE;
}

/* The side files of one side of a layout. */
typedef struct file_side {
    const fmp_layout *l;
    bool target;
    const uint8_t *which; /* NULL, or for each side file what it gives in place of that */
    uint32_t at;
} file_side;

static bool gives_target(const file_side *s)
{
    return s->which ? s->which[s->at] == FMP_ROW_TARGET : s->target;
}

/* The side file at or behind s->at that is on the side; NULL at the end. */
static const fmp_side_file *next_file(file_side *s)
{
    for (; s->at < s->l->n_side; s->at++) {
        const fmp_side_file *f = &s->l->side[s->at];

        if ((!s->which || s->which[s->at] != FMP_ROW_NONE) &&
            (gives_target(s) ? f->in_target : f->in_base))
            return f;
    }
    return NULL;
}

static void put_base(fmp_side_file *f, file_side *s)
{
    const fmp_side_file *from = &s->l->side[s->at];
    const bool target = gives_target(s);

    f->in_base = true;
    f->base_size = target ? from->target_size : from->base_size;
    f->base_digest = target ? from->target_digest : from->base_digest;
    s->at++;
}

static void put_target(fmp_side_file *f, file_side *s)
{
    const fmp_side_file *from = &s->l->side[s->at];
    const bool target = gives_target(s);

    f->in_target = true;
    f->target_size = target ? from->target_size : from->base_size;
    f->target_digest = target ? from->target_digest : from->base_digest;
    s->at++;
}

fmp_status fmp_derive_side_files(fmp_derivation *d, const fmp_layout *base_of, bool base_is_target,
                                 const fmp_layout *target_of, bool target_is_target,
                                 const uint8_t *which, fmp_error *err)
{
    file_side base = {.l = base_of, .target = base_is_target};
    file_side target = {.l = target_of, .target = target_is_target, .which = which};
    const fmp_side_file *b = next_file(&base);
    const fmp_side_file *g = next_file(&target);

    d->layout.side =
        fmp_calloc((size_t)base_of->n_side + target_of->n_side, sizeof *d->layout.side);
    if (!d->layout.side)
        return no_memory(err);
    for (; b || g; b = next_file(&base), g = next_file(&target)) {
        const int order = !b ? 1 : !g ? -1 : strcmp(b->name, g->name);
        fmp_side_file *f = &d->layout.side[d->layout.n_side];
        const char *name = order <= 0 ? b->name : g->name;

        f->name = fmp_strndup(name, strlen(name));
        if (!f->name)
            return no_memory(err);
        d->layout.n_side++;
        if (order <= 0)
            put_base(f, &base);
        if (order >= 0)
            put_target(f, &target);
        f->changed =
            f->in_base && f->in_target && !fmp_digest_equal(&f->base_digest, &f->target_digest);
    }
    return FMP_OK;
}
