/*
 * Patches side by side.  See beside.h.
 */
#include "beside.h"

#include "base/alloc.h"
#include "base/status.h"
#include "base/store.h"
#include "rebuild.h"

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
}

/* ---- one base ---------------------------------------------------------------------------------
 */

/* Whether base tensor `row` of x is in the base of y, too. */
static bool has_tensor(const fmp_table *x, uint32_t row, const fmp_table *y, bool shapes_only)
{
    const fmp_row *a = &x->rows[row];
    const uint32_t k = fmp_table_find(y, x->names + a->name_at, a->name_len);

    if (k == FMP_NONE || y->rows[k].base_schema == FMP_NONE)
        return false;
    return fmp_same_shape(fmp_table_info(x, row, false), fmp_table_info(y, k, false)) &&
           (shapes_only ||
            fmp_digest_equal(&x->digests[a->base_digest], &y->digests[y->rows[k].base_digest]));
}

/* A base tensor of x that y has not, or "?". */
static const char *other_tensor(const fmp_table *x, const fmp_table *y, bool shapes_only)
{
    for (uint32_t r = 0; r < x->n_rows; r++) {
        if (x->rows[r].base_schema != FMP_NONE && !has_tensor(x, r, y, shapes_only))
            return x->names + x->rows[r].name_at;
    }
    return "?";
}

fmp_status fmp_beside_check(const fmp_patch *const *patches, uint32_t n, bool shapes_only,
                            fmp_error *err)
{
    const fmp_patch *x = patches[0];
    fmp_digest root, shape[2];

    fmp_table_roots(&x->table, false, &root, &shape[0]);
    for (uint32_t i = 1; i < n; i++) {
        const fmp_patch *y = patches[i];
        const char *name;

        fmp_table_roots(&y->table, false, &root, &shape[1]);
        if (shapes_only ? fmp_digest_equal(&shape[0], &shape[1])
                        : memcmp(x->summary.base_root, y->summary.base_root, FMP_DIGEST_LEN) == 0)
            continue;
        name = other_tensor(&x->table, &y->table, shapes_only);
        if (name[0] == '?' && !name[1])
            name = other_tensor(&y->table, &x->table, shapes_only);
        return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                        "%s: has not the base of %s: tensor \"%s\" differs", y->file.path,
                        x->file.path, name);
    }
    return FMP_OK;
}

/* ---- tensors of all patches by name -----------------------------------------------------------
 */

static const char *name_at(const fmp_beside *b, uint32_t patch, uint32_t row)
{
    const fmp_table *t = &b->p[patch]->table;

    return t->names + t->rows[row].name_at;
}

/* The rows of the next name, in order; next[n] begins as zeros.  False at the end. */
static bool next_tensor(const fmp_beside *b, uint32_t *next, uint32_t *rows)
{
    const char *least = NULL;

    for (uint32_t i = 0; i < b->n; i++) {
        if (next[i] < b->p[i]->table.n_rows &&
            (!least || strcmp(name_at(b, i, next[i]), least) < 0))
            least = name_at(b, i, next[i]);
    }
    for (uint32_t i = 0; i < b->n && least; i++) {
        const bool has =
            next[i] < b->p[i]->table.n_rows && strcmp(name_at(b, i, next[i]), least) == 0;

        rows[i] = has ? next[i] : FMP_NONE;
    }
    for (uint32_t i = 0; i < b->n && least; i++)
        next[i] += rows[i] != FMP_NONE;
    return least != NULL;
}

static uint32_t maker_of(const fmp_table *t, uint32_t row)
{
    return t->rows[row].state == FMP_ALIAS ? t->maps[t->rows[row].map].source : row;
}

/* Whether bytes [0, n_bytes) of the target tensor begin as those of the base tensor of its name. */
static bool is_direct(const fmp_table *t, uint32_t row, const fmp_map *map)
{
    const fmp_row *r = &t->rows[row];

    if (map->n_bytes == 0 || map->source == row)
        return map->base_off == 0;
    return map->base_off == 0 && fmp_table_info(t, map->source, false).n_bytes == map->n_bytes &&
           fmp_table_info(t, row, false).n_bytes == map->n_bytes &&
           fmp_digest_equal(&t->digests[t->rows[map->source].base_digest],
                            &t->digests[r->base_digest]);
}

static fmp_lane lane_of(const fmp_patch *p, uint32_t row)
{
    const fmp_table *t = &p->table;
    const fmp_row *r = row == FMP_NONE ? NULL : &t->rows[row];
    fmp_lane l = {0};
    const fmp_dtype *d;
    fmp_tensor_info info;
    fmp_map map;
    uint32_t maker;

    if (!r || r->target_schema == FMP_NONE)
        return l;
    l.in_target = true;
    if (r->state == FMP_UNCHANGED && r->map == FMP_NONE)
        return l;
    info = fmp_table_info(t, row, true);
    d = fmp_dtype_find(info.dtype, strlen(info.dtype));
    l.bits = l.dtype_bits = d ? d->width : 8;
    l.sign_magnitude = d && d->order == FMP_ORDER_SIGN;
    l.n_bytes = info.n_bytes;
    if (r->base_schema == r->target_schema &&
        fmp_digest_equal(&t->digests[r->base_digest], &t->digests[r->target_digest]))
        return l;
    maker = maker_of(t, row);
    map = fmp_table_map(t, maker);
    l.mapped = map.n_bytes;
    l.object = p->target_pos[maker];
    l.elsewhere = r->base_schema == r->target_schema && !is_direct(t, row, &map);
    l.in_bytes = d && strcmp(d->name, "U8") == 0;
    l.changes = l.n_bytes > 0 &&
                (l.elsewhere || l.mapped < l.n_bytes || t->rows[maker].state != FMP_UNCHANGED);
    return l;
}

static fmp_status list_tensors(fmp_beside *b, bool all, fmp_error *err)
{
    uint32_t next[FMP_BESIDE_MAX] = {0};
    uint32_t rows[FMP_BESIDE_MAX];

    for (unsigned pass = 0; pass < 2; pass++) {
        b->n_tensors = 0;
        memset(next, 0, sizeof next);
        while (next_tensor(b, next, rows)) {
            bool any = all;

            for (uint32_t i = 0; i < b->n && !any; i++)
                any = lane_of(b->p[i], rows[i]).changes;
            if (any && pass)
                memcpy(b->rows + (size_t)b->n_tensors * b->n, rows, b->n * sizeof *rows);
            b->n_tensors += any;
        }
        if (pass)
            break;
        b->rows = fmp_calloc((size_t)b->n_tensors * b->n, sizeof *b->rows);
        if (!b->rows)
            return no_memory(err);
    }
    return FMP_OK;
}

fmp_tensor_info fmp_beside_tensor(const fmp_beside *b, uint32_t tensor)
{
    const uint32_t *rows = b->rows + (size_t)tensor * b->n;
    fmp_tensor_info info = {0};

    for (unsigned target = 2; target-- > 0 && !info.name;) {
        for (uint32_t i = 0; i < b->n && !info.name; i++) {
            if (rows[i] != FMP_NONE)
                info = fmp_table_info(&b->p[i]->table, rows[i], target);
        }
    }
    return info;
}

/* ---- windows ----------------------------------------------------------------------------------
 */

uint64_t fmp_beside_window(const fmp_lane *lane, uint32_t n, uint64_t *ret_n)
{
    uint64_t narrowest = 64, elements = 0;

    for (uint32_t i = 0; i < n; i++) {
        const unsigned width = lane[i].dtype_bits / 8u;
        uint64_t units;

        if (!lane[i].changes)
            continue;
        narrowest = lane[i].dtype_bits < narrowest ? lane[i].dtype_bits : narrowest;
        units = lane[i].n_bytes / width + (lane[i].n_bytes % width != 0);
        elements = units > elements ? units : elements;
    }
    *ret_n = elements / (FMP_LEAF_LEN * 8 / narrowest) +
             (elements % (FMP_LEAF_LEN * 8 / narrowest) != 0);
    return FMP_LEAF_LEN * 8 / narrowest;
}

static uint64_t count_windows(const fmp_beside *b, uint32_t tensor)
{
    const uint32_t *rows = b->rows + (size_t)tensor * b->n;
    fmp_lane lane[FMP_BESIDE_MAX];
    uint64_t n;

    for (uint32_t i = 0; i < b->n; i++)
        lane[i] = lane_of(b->p[i], rows[i]);
    fmp_beside_window(lane, b->n, &n);
    return n;
}

/* Items of 4 to 64 windows, 8 for each thread where there are enough: frames are taken apart once
 * for each item that they touch. */
static fmp_status cut_items(fmp_beside *b, fmp_error *err)
{
    uint64_t total = 0, each, room, n = 0, left = 0;

    for (uint32_t t = 0; t < b->n_tensors; t++)
        total += count_windows(b, t);
    each = total / (8u * b->n_slots);
    each = each < 4 ? 4 : each > 64 ? 64 : each;
    room = total / each + 2;
    if (room > SIZE_MAX)
        return no_memory(err);
    b->item = fmp_calloc((size_t)room, sizeof *b->item);
    if (!b->item)
        return no_memory(err);
    for (uint32_t t = 0; t < b->n_tensors; t++) {
        const uint64_t windows = count_windows(b, t);

        for (uint64_t w = 0; w < windows;) {
            const uint64_t step = windows - w < left ? windows - w : left;

            if (!left) {
                b->item[n++] = (fmp_beside_item){.tensor = t, .window = w};
                left = each;
                continue;
            }
            w += step;
            left -= step;
        }
    }
    b->n_items = n;
    b->item[n] = (fmp_beside_item){.tensor = b->n_tensors};
    return FMP_OK;
}

/* ---- the lanes of a tensor --------------------------------------------------------------------
 */

typedef struct unit_seen {
    uint8_t bits;
    bool sign_magnitude;
} unit_seen;

static fmp_status see_unit(void *ctx, fmp_decoder *dec, const fmp_block *b, fmp_error *err)
{
    unit_seen *u = ctx;

    (void)dec;
    (void)err;
    if (!u->bits && b->kind < FMP_BLOCK_WHOLE)
        *u = (unit_seen){.bits = b->bits, .sign_magnitude = b->sign_magnitude};
    return FMP_OK;
}

/* A file of unknown structure is one tensor of bytes, coded in units that were found by trying:
 * those are its elements, if all patches agree. */
static fmp_status look_for_units(const fmp_beside *b, fmp_beside_slot *s, fmp_error *err)
{
    unit_seen all = {0};

    for (uint32_t i = 0; i < b->n; i++) {
        const fmp_lane *l = &s->lane[i];
        unit_seen u = {0};

        if (l->changes && !l->in_bytes)
            return FMP_OK;
        if (!l->changes || l->elsewhere)
            continue;
        for (uint64_t off = 0; off < l->mapped && !u.bits; off += FMP_LEAF_LEN) {
            const fmp_status st = fmp_decoder_each(
                &s->dec[i], b->p[i], FMP_DOMAIN_TENSORS, l->object, off,
                (uint32_t)(l->n_bytes - off < FMP_LEAF_LEN ? l->n_bytes - off : FMP_LEAF_LEN),
                see_unit, &u, err);

            if (st)
                return st;
        }
        if (u.bits && all.bits && (all.bits != u.bits || all.sign_magnitude != u.sign_magnitude))
            return FMP_OK;
        if (u.bits)
            all = u;
    }
    for (uint32_t i = 0; i < b->n && all.bits; i++) {
        if (!s->lane[i].changes)
            continue;
        s->lane[i].bits = all.bits;
        s->lane[i].sign_magnitude = all.sign_magnitude;
    }
    return FMP_OK;
}

/* The row whose base tensor a target tensor is compared with, and its byte; FMP_NONE: all is new.
 */
static uint32_t reference_of(const fmp_table *t, uint32_t row, uint64_t *ret_off)
{
    const fmp_map map = fmp_table_map(t, maker_of(t, row));

    *ret_off = 0;
    if (t->rows[row].base_schema == t->rows[row].target_schema)
        return row;
    *ret_off = map.base_off;
    return map.n_bytes ? map.source : FMP_NONE;
}

static bool same_reference(const fmp_beside *b, uint32_t i, uint32_t x, uint32_t k, uint32_t y)
{
    const fmp_table *t = &b->p[i]->table;
    const fmp_table *u = &b->p[k]->table;
    uint64_t at, bt;
    const uint32_t p = reference_of(t, x, &at);
    const uint32_t q = reference_of(u, y, &bt);

    if (p == FMP_NONE || q == FMP_NONE)
        return p == q;
    return at == bt && (fmp_digest_equal(&t->digests[t->rows[p].base_digest],
                                         &u->digests[u->rows[q].base_digest]) ||
                        (b->by_name && strcmp(name_at(b, i, p), name_at(b, k, q)) == 0));
}

static bool same_type(const fmp_beside *b, const fmp_beside_slot *s, uint32_t i, uint32_t x,
                      uint32_t k, uint32_t y)
{
    return s->lane[i].bits == s->lane[k].bits &&
           s->lane[i].sign_magnitude == s->lane[k].sign_magnitude &&
           strcmp(fmp_table_info(&b->p[i]->table, x, true).dtype,
                  fmp_table_info(&b->p[k]->table, y, true).dtype) == 0;
}

static bool same_result(const fmp_beside *b, uint32_t i, uint32_t x, uint32_t k, uint32_t y)
{
    const fmp_table *t = &b->p[i]->table;
    const fmp_table *u = &b->p[k]->table;

    return fmp_same_shape(fmp_table_info(t, x, true), fmp_table_info(u, y, true)) &&
           fmp_digest_equal(&t->digests[t->rows[x].target_digest],
                            &u->digests[u->rows[y].target_digest]);
}

/* Classes are equivalences: the first that fits stands for all. */
static void classify(const fmp_beside *b, fmp_beside_slot *s, const uint32_t *rows)
{
    for (uint32_t i = 0; i < b->n; i++) {
        fmp_lane *l = &s->lane[i];

        l->ref = l->type = l->result = (uint8_t)i;
        for (uint32_t k = 0; k < i && l->in_target; k++) {
            const fmp_lane *m = &s->lane[k];

            if (l->ref == i && m->in_target && same_reference(b, k, rows[k], i, rows[i]))
                l->ref = m->ref;
            if (!l->changes || !m->changes)
                continue;
            if (l->type == i && same_type(b, s, k, rows[k], i, rows[i]))
                l->type = m->type;
            if (l->result == i && same_result(b, k, rows[k], i, rows[i]))
                l->result = m->result;
        }
    }
}

fmp_status fmp_beside_enter(const fmp_beside *b, fmp_beside_slot *s, uint32_t tensor,
                            fmp_error *err)
{
    const uint32_t *rows = b->rows + (size_t)tensor * b->n;
    fmp_status st;

    if (s->tensor == tensor + 1)
        return FMP_OK;
    s->tensor = 0;
    for (uint32_t i = 0; i < b->n; i++)
        s->lane[i] = lane_of(b->p[i], rows[i]);
    st = look_for_units(b, s, err);
    if (st)
        return st;
    classify(b, s, rows);
    s->tensor = tensor + 1;
    return FMP_OK;
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

static fmp_status make_slot(const fmp_beside *b, fmp_beside_slot *s, fmp_error *err)
{
    const fmp_status st = fmp_z_new(&s->z, err);

    if (st)
        return st;
    s->scratch = fmp_scratch_new();
    s->dec = fmp_calloc(b->n, sizeof *s->dec);
    s->values = fmp_calloc(FMP_BLOCK_UNITS, sizeof *s->values);
    s->bytes = fmp_malloc(FMP_BLOCK_MAX);
    if (!s->scratch || !s->dec || !s->values || !s->bytes)
        return no_memory(err);
    for (uint32_t i = 0; i < b->n; i++) {
        s->dec[i].z = s->z;
        s->dec[i].scratch = s->scratch;
    }
    return FMP_OK;
}

fmp_status fmp_beside_init(fmp_beside *b, const fmp_patch *const *patches, uint32_t n,
                           bool shapes_only, bool all, unsigned n_threads, fmp_error *err)
{
    fmp_status st;

    *b = (fmp_beside){
        .p = patches, .n = n, .by_name = shapes_only, .n_slots = fmp_pool_threads(n_threads)};
    for (uint32_t i = 0; i < n; i++)
        b->stored += patches[i]->frames.stored;
    st = fmp_beside_check(patches, n, shapes_only, err);
    for (uint32_t i = 0; i < n && !st; i++)
        st = fmp_patch_check_open(patches[i], err);
    if (!st)
        st = list_tensors(b, all, err);
    if (!st)
        st = cut_items(b, err);
    if (b->n_items < b->n_slots)
        b->n_slots = b->n_items ? (unsigned)b->n_items : 1;
    for (unsigned i = 0; i < b->n_slots && !st; i++)
        st = make_slot(b, &b->slot[i], err);
    return st;
}

void fmp_beside_rest(fmp_beside *b)
{
    for (unsigned k = 0; k < FMP_POOL_MAX_THREADS; k++) {
        fmp_beside_slot *s = &b->slot[k];

        for (uint32_t i = 0; i < b->n && s->dec; i++) {
            fmp_frame_release(&s->dec[i].frame);
            fmp_buf_release(&s->dec[i].stored);
        }
        fmp_free(s->dec);
        fmp_scratch_free(s->scratch);
        fmp_z_free(s->z);
        fmp_free(s->values);
        fmp_free(s->bytes);
        fmp_free(s->at);
        fmp_free(s->value);
        fmp_free(s->way);
        *s = (fmp_beside_slot){0};
    }
    fmp_free(b->item);
    b->item = NULL;
}

void fmp_beside_release(fmp_beside *b)
{
    fmp_beside_rest(b);
    fmp_free(b->rows);
    *b = (fmp_beside){0};
}

uint64_t fmp_beside_done(const fmp_beside *b, uint64_t n_items)
{
    return b->n_items ? (uint64_t)((double)b->stored * (double)n_items / (double)b->n_items)
                      : b->stored;
}
