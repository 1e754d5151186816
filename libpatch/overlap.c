/*
 * fmp_overlap: which elements several patches of one base share.  Windows of a tensor are listed
 * for each patch and gone through in step; nothing is kept of an element but counts.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "base/status.h"
#include "base/store.h"
#include "codec/bits.h"
#include "codec/residual.h"
#include "codec/scan.h"
#include "decode.h"

/* How an element changes. */
enum { DOWN = 1, UP = 2, CONTENT = 3 };

/* What a patch changes in a window: elements, ascending, and how. */
typedef struct change_list {
    uint32_t *at;
    uint64_t *value; /* the residual, or the new bits */
    uint8_t *how;
    uint32_t n, cap;
} change_list;

typedef struct set_count {
    uint64_t patches; /* 0: free */
    uint64_t n;
} set_count;

/* Counts by set of patches; open addressing. */
typedef struct set_table {
    set_count *slot;
    uint32_t n, cap;
} set_table;

typedef struct tensor_counts {
    uint32_t row_of; /* in the patch `of`, which gives name and shape */
    uint32_t of;
    uint64_t n_changed, n_shared, n_same, n_conflicts;
} tensor_counts;

typedef struct slot {
    fmp_decoder *dec;
    fmp_scratch *scratch;
    fmp_z *z;
    change_list *list;
    uint64_t *values;                    /* of a block */
    uint8_t *bytes;                      /* of a block of new content */
    uint64_t *shared, *same, *conflicts; /* n x n */
    set_table sets;
} slot;

struct fmp_overlap {
    const fmp_patch *const *p;
    uint32_t n;
    tensor_counts *tensors;
    uint32_t n_tensors;
    uint32_t *rows;    /* of each tensor: its row in each patch, or FMP_NONE */
    uint64_t *changed; /* of each tensor: elements that each patch changes */
    uint64_t *total;   /* of each patch */
    slot slot[FMP_POOL_MAX_THREADS];
    unsigned n_slots;
    fmp_progress progress;
    _Atomic uint64_t done;
};

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "overlap: out of memory");
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

static void drop_slot(const fmp_overlap *o, slot *s)
{
    for (uint32_t i = 0; i < o->n; i++) {
        if (s->dec) {
            fmp_frame_release(&s->dec[i].frame);
            fmp_buf_release(&s->dec[i].stored);
        }
        if (s->list) {
            fmp_free(s->list[i].at);
            fmp_free(s->list[i].value);
            fmp_free(s->list[i].how);
        }
    }
    fmp_free(s->dec);
    fmp_free(s->list);
    fmp_scratch_free(s->scratch);
    fmp_z_free(s->z);
    fmp_free(s->values);
    fmp_free(s->bytes);
    s->dec = NULL;
    s->list = NULL;
    s->scratch = NULL;
    s->z = NULL;
    s->values = NULL;
    s->bytes = NULL;
}

void fmp_overlap_free(fmp_overlap *o)
{
    if (!o)
        return;
    for (unsigned i = 0; i < FMP_POOL_MAX_THREADS; i++) {
        drop_slot(o, &o->slot[i]);
        fmp_free(o->slot[i].shared);
        fmp_free(o->slot[i].same);
        fmp_free(o->slot[i].conflicts);
        fmp_free(o->slot[i].sets.slot);
    }
    fmp_free(o->tensors);
    fmp_free(o->rows);
    fmp_free(o->changed);
    fmp_free(o->total);
    fmp_free(o);
}

static fmp_status make_slot(const fmp_overlap *o, slot *s, fmp_error *err)
{
    const size_t pairs = (size_t)o->n * o->n;
    fmp_status st = fmp_z_new(&s->z, err);

    if (st)
        return st;
    s->scratch = fmp_scratch_new();
    s->dec = fmp_calloc(o->n, sizeof *s->dec);
    s->list = fmp_calloc(o->n, sizeof *s->list);
    s->values = fmp_calloc(FMP_BLOCK_UNITS, sizeof *s->values);
    s->bytes = fmp_malloc(FMP_BLOCK_MAX);
    s->shared = fmp_calloc(pairs, sizeof *s->shared);
    s->same = fmp_calloc(pairs, sizeof *s->same);
    s->conflicts = fmp_calloc(pairs, sizeof *s->conflicts);
    if (!s->scratch || !s->dec || !s->list || !s->values || !s->bytes || !s->shared || !s->same ||
        !s->conflicts)
        return no_memory(err);
    for (uint32_t i = 0; i < o->n; i++) {
        s->dec[i].z = s->z;
        s->dec[i].scratch = s->scratch;
    }
    return FMP_OK;
}

/* ---- tensors of all patches by name -----------------------------------------------------------
 */

static const fmp_row *row_at(const fmp_overlap *o, uint32_t patch, uint32_t row)
{
    return &o->p[patch]->table.rows[row];
}

static const char *name_at(const fmp_overlap *o, uint32_t patch, uint32_t row)
{
    return o->p[patch]->table.names + row_at(o, patch, row)->name_at;
}

/* Goes through the target tensors of all patches in order of names; next[n] begins as zeros.  rows:
 * those of the name.  False at the end. */
static bool next_tensor(const fmp_overlap *o, uint32_t *next, uint32_t *rows)
{
    const char *least = NULL;

    for (uint32_t i = 0; i < o->n; i++) {
        const fmp_table *t = &o->p[i]->table;

        while (next[i] < t->n_rows && t->rows[next[i]].target_schema == FMP_NONE)
            next[i]++;
        if (next[i] < t->n_rows && (!least || strcmp(name_at(o, i, next[i]), least) < 0))
            least = name_at(o, i, next[i]);
    }
    for (uint32_t i = 0; i < o->n && least; i++) {
        const bool has =
            next[i] < o->p[i]->table.n_rows && strcmp(name_at(o, i, next[i]), least) == 0;

        rows[i] = has ? next[i] : FMP_NONE;
    }
    for (uint32_t i = 0; i < o->n && least; i++)
        next[i] += rows[i] != FMP_NONE;
    return least != NULL;
}

/* The row whose blocks make a tensor: itself, or what it is an alias of. */
static uint32_t maker_of(const fmp_patch *p, uint32_t row)
{
    const fmp_row *r = &p->table.rows[row];

    return r->state == FMP_ALIAS ? p->table.maps[r->map].source : row;
}

static bool changes(const fmp_patch *p, uint32_t row)
{
    return row != FMP_NONE && p->table.rows[maker_of(p, row)].state != FMP_UNCHANGED;
}

static fmp_status list_tensors(fmp_overlap *o, fmp_error *err)
{
    uint32_t next[FMP_OVERLAP_MAX] = {0};
    uint32_t rows[FMP_OVERLAP_MAX];
    uint32_t most = 0, n = 0;

    while (next_tensor(o, next, rows))
        most++;
    o->tensors = fmp_calloc(most, sizeof *o->tensors);
    o->rows = fmp_calloc((size_t)most * o->n, sizeof *o->rows);
    o->changed = fmp_calloc((size_t)most * o->n, sizeof *o->changed);
    o->total = fmp_calloc(o->n, sizeof *o->total);
    if (!o->tensors || !o->rows || !o->changed || !o->total)
        return no_memory(err);
    memset(next, 0, sizeof next);
    while (next_tensor(o, next, rows)) {
        tensor_counts *t = &o->tensors[n];
        bool any = false;

        for (uint32_t i = o->n; i-- > 0;) {
            o->rows[(size_t)n * o->n + i] = rows[i];
            any |= changes(o->p[i], rows[i]);
            if (rows[i] != FMP_NONE)
                *t = (tensor_counts){.row_of = rows[i], .of = i};
        }
        n += any;
    }
    o->n_tensors = n;
    return FMP_OK;
}

static fmp_status check_bases(const fmp_overlap *o, bool shapes_only, fmp_error *err)
{
    const fmp_table *x = &o->p[0]->table;
    fmp_digest root, shape[2];

    fmp_table_roots(x, false, &root, &shape[0]);
    for (uint32_t i = 1; i < o->n; i++) {
        const fmp_table *y = &o->p[i]->table;
        const char *name = "?";

        fmp_table_roots(y, false, &root, &shape[1]);
        if (shapes_only ? fmp_digest_equal(&shape[0], &shape[1])
                        : memcmp(o->p[0]->summary.base_root, o->p[i]->summary.base_root,
                                 FMP_DIGEST_LEN) == 0)
            continue;
        for (uint32_t r = 0; r < x->n_rows; r++) {
            const fmp_row *a = &x->rows[r];
            const uint32_t k = fmp_table_find(y, x->names + a->name_at, a->name_len);

            if (a->base_schema == FMP_NONE)
                continue;
            name = x->names + a->name_at;
            if (k == FMP_NONE || y->rows[k].base_schema == FMP_NONE ||
                (!shapes_only && !fmp_digest_equal(&x->digests[a->base_digest],
                                                   &y->digests[y->rows[k].base_digest])))
                break;
        }
        return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                        "%s: has not the base of %s: tensor \"%s\" differs", o->p[i]->file.path,
                        o->p[0]->file.path, name);
    }
    return FMP_OK;
}

/* ---- listing a window -------------------------------------------------------------------------
 */

static bool grow(change_list *l, uint32_t more)
{
    uint32_t cap = l->cap ? l->cap : 4096;
    uint32_t *at;
    uint64_t *value;
    uint8_t *how;

    if (l->n + more <= l->cap)
        return true;
    while (cap < l->n + more)
        cap *= 2;
    at = fmp_realloc(l->at, cap, sizeof *at);
    if (at)
        l->at = at;
    value = at ? fmp_realloc(l->value, cap, sizeof *value) : NULL;
    if (value)
        l->value = value;
    how = value ? fmp_realloc(l->how, cap, sizeof *how) : NULL;
    if (!how)
        return false;
    l->how = how;
    l->cap = cap;
    return true;
}

static void put(change_list *l, uint64_t at, uint64_t value, uint8_t how)
{
    if (l->n && l->at[l->n - 1] == at) /* narrower units of one element */
        return;
    l->at[l->n] = (uint32_t)at;
    l->value[l->n] = value;
    l->how[l->n++] = how;
}

static uint8_t direction(uint64_t z)
{
    return z & 1 ? DOWN : UP; /* zig-zag: odd is negative */
}

/* Units of a block as elements of `width` bytes of the window that begins at `off`. */
static fmp_status list_units(slot *s, const fmp_decoder *dec, const fmp_block *b, uint64_t off,
                             unsigned width, change_list *l, fmp_error *err)
{
    const unsigned unit = b->bits / 8u;
    const uint32_t each = unit > width ? unit / width : 1;
    const uint32_t n = fmp_block_values(b);
    const fmp_status st = fmp_block_list(b, &dec->frame.streams, s->scratch, s->values, err);

    if (st)
        return st;
    if (!grow(l, n * each))
        return no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t at = (b->off - off + (uint64_t)s->scratch->idx[i] * unit) / width;

        if (b->kind == FMP_BLOCK_RESIDUAL && !s->values[i])
            continue;
        for (uint32_t k = 0; k < each; k++)
            put(l, at + k, s->values[i],
                b->kind == FMP_BLOCK_RESIDUAL ? direction(s->values[i]) : CONTENT);
    }
    return FMP_OK;
}

static fmp_status list_content(slot *s, const fmp_decoder *dec, const fmp_block *b, uint64_t off,
                               unsigned width, change_list *l, fmp_error *err)
{
    const uint32_t n = (b->n_bytes + width - 1) / width;
    const fmp_status st =
        fmp_block_apply(b, &dec->frame.streams, s->bytes, FMP_FORWARD, s->scratch, NULL, err);

    if (st)
        return st;
    if (!grow(l, n))
        return no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t left = b->n_bytes - i * width;

        put(l, (b->off - off) / width + i,
            fmp_load_le(s->bytes + (size_t)i * width, left < width ? left : width), CONTENT);
    }
    return FMP_OK;
}

typedef struct lister {
    slot *s;
    change_list *l;
    uint64_t off;
    unsigned width;
} lister;

static fmp_status list_block(void *ctx, fmp_decoder *dec, const fmp_block *b, fmp_error *err)
{
    const lister *x = ctx;

    return b->kind >= FMP_BLOCK_WHOLE ? list_content(x->s, dec, b, x->off, x->width, x->l, err)
                                      : list_units(x->s, dec, b, x->off, x->width, x->l, err);
}

static fmp_status list_window(const fmp_overlap *o, slot *s, uint32_t tensor, uint64_t off,
                              unsigned width, fmp_error *err)
{
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < o->n && !st; i++) {
        const fmp_patch *p = o->p[i];
        const uint32_t row = o->rows[(size_t)tensor * o->n + i];
        lister x = {.s = s, .l = &s->list[i], .off = off, .width = width};
        uint64_t n_bytes;

        s->list[i].n = 0;
        if (!changes(p, row))
            continue;
        n_bytes = fmp_table_info(&p->table, row, true).n_bytes;
        if (off < n_bytes)
            st = fmp_decoder_each(
                &s->dec[i], p, FMP_DOMAIN_TENSORS, p->target_pos[maker_of(p, row)], off,
                (uint32_t)(n_bytes - off < FMP_LEAF_LEN ? n_bytes - off : FMP_LEAF_LEN), list_block,
                &x, err);
    }
    return st;
}

/* ---- counting ---------------------------------------------------------------------------------
 */

static set_count *find_set(set_table *t, uint64_t patches)
{
    uint64_t at = patches * 0x9e3779b97f4a7c15u >> 32;

    for (;; at++) {
        set_count *c = &t->slot[at & (t->cap - 1)];

        if (!c->patches || c->patches == patches)
            return c;
    }
}

static bool add_set(set_table *t, uint64_t patches, uint64_t n)
{
    set_count *c;

    if (t->n * 2 >= t->cap) {
        set_table wider = {.cap = t->cap ? t->cap * 2 : 64};

        wider.slot = fmp_calloc(wider.cap, sizeof *wider.slot);
        if (!wider.slot)
            return false;
        for (uint32_t i = 0; i < t->cap; i++) {
            if (!t->slot[i].patches)
                continue;
            *find_set(&wider, t->slot[i].patches) = t->slot[i];
            wider.n++;
        }
        fmp_free(t->slot);
        *t = wider;
    }
    c = find_set(t, patches);
    t->n += !c->patches;
    c->patches = patches;
    c->n += n;
    return true;
}

/* Pairs of the patches in `patches`, which all change one element. */
static void count_pairs(const fmp_overlap *o, slot *s, const uint32_t *which, uint32_t n,
                        const uint32_t *place, tensor_counts *t)
{
    bool same = true;
    bool conflict = false;

    for (uint32_t a = 0; a < n; a++) {
        const change_list *x = &s->list[which[a]];
        const uint32_t i = place[which[a]];

        for (uint32_t b = a + 1; b < n; b++) {
            const change_list *y = &s->list[which[b]];
            const uint32_t k = place[which[b]];
            const size_t at = (size_t)which[a] * o->n + which[b];
            const bool alike =
                (x->how[i] == CONTENT) == (y->how[k] == CONTENT) && x->value[i] == y->value[k];
            const bool against =
                x->how[i] != y->how[k] && x->how[i] != CONTENT && y->how[k] != CONTENT;

            s->shared[at]++;
            s->same[at] += alike;
            s->conflicts[at] += against;
            same &= alike;
            conflict |= against;
        }
    }
    t->n_shared++;
    t->n_same += same;
    t->n_conflicts += conflict;
}

/* Goes through the lists of a window in step. */
static bool count_window(fmp_overlap *o, slot *s, uint32_t tensor)
{
    tensor_counts *t = &o->tensors[tensor];
    uint32_t next[FMP_OVERLAP_MAX] = {0}, place[FMP_OVERLAP_MAX], which[FMP_OVERLAP_MAX];
    uint64_t last = 0, run = 0;

    for (;;) {
        uint32_t least = UINT32_MAX, n = 0;
        uint64_t patches = 0;

        for (uint32_t i = 0; i < o->n; i++) {
            if (next[i] < s->list[i].n && s->list[i].at[next[i]] < least)
                least = s->list[i].at[next[i]];
        }
        if (least == UINT32_MAX)
            return !run || add_set(&s->sets, last, run);
        for (uint32_t i = 0; i < o->n; i++) {
            if (next[i] == s->list[i].n || s->list[i].at[next[i]] != least)
                continue;
            place[i] = next[i]++;
            which[n++] = i;
            patches |= 1ull << i;
        }
        t->n_changed++;
        if (n > 1)
            count_pairs(o, s, which, n, place, t);
        if (patches != last && run) {
            if (!add_set(&s->sets, last, run))
                return false;
            run = 0;
        }
        last = patches;
        run++;
    }
}

static fmp_status work(void *ctx, fmp_pool *pool, uint64_t item, unsigned number, fmp_error *err)
{
    fmp_overlap *o = ctx;
    slot *s = &o->slot[number];
    const uint32_t tensor = (uint32_t)item;
    uint64_t n_bytes = 0;
    unsigned width = 1;

    (void)pool;
    for (uint32_t i = 0; i < o->n; i++) {
        const uint32_t row = o->rows[(size_t)tensor * o->n + i];
        fmp_tensor_info info;
        const fmp_dtype *dtype;

        if (row == FMP_NONE)
            continue;
        info = fmp_table_info(&o->p[i]->table, row, true);
        dtype = fmp_dtype_find(info.dtype, strlen(info.dtype));
        if (!n_bytes && dtype)
            width = dtype->width / 8u;
        n_bytes = info.n_bytes > n_bytes ? info.n_bytes : n_bytes;
    }
    for (uint64_t off = 0; off < n_bytes; off += FMP_LEAF_LEN) {
        const fmp_status st = list_window(o, s, tensor, off, width, err);

        if (st)
            return st;
        for (uint32_t i = 0; i < o->n; i++)
            o->changed[(size_t)tensor * o->n + i] += s->list[i].n;
        if (!count_window(o, s, tensor))
            return no_memory(err);
    }
    o->done++;
    return FMP_OK;
}

static fmp_status poll(void *ctx, fmp_error *err)
{
    fmp_overlap *o = ctx;

    if (o->progress.fn && o->progress.fn(o->progress.ctx, o->done, o->n_tensors))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

static int compare_sets(const void *a, const void *b)
{
    const set_count *x = a;
    const set_count *y = b;

    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return x->patches < y->patches ? -1 : 1;
}

/* Everything into the first slot; sets in order, without the free places. */
static bool gather(fmp_overlap *o)
{
    slot *all = &o->slot[0];
    uint32_t n = 0;

    for (unsigned k = 1; k < o->n_slots; k++) {
        const slot *s = &o->slot[k];

        for (size_t i = 0; i < (size_t)o->n * o->n; i++) {
            all->shared[i] += s->shared[i];
            all->same[i] += s->same[i];
            all->conflicts[i] += s->conflicts[i];
        }
        for (uint32_t i = 0; i < s->sets.cap; i++) {
            if (s->sets.slot[i].patches &&
                !add_set(&all->sets, s->sets.slot[i].patches, s->sets.slot[i].n))
                return false;
        }
    }
    for (uint32_t i = 0; i < all->sets.cap; i++) {
        if (all->sets.slot[i].patches)
            all->sets.slot[n++] = all->sets.slot[i];
    }
    all->sets.n = n;
    if (n)
        qsort(all->sets.slot, n, sizeof *all->sets.slot, compare_sets);
    for (uint32_t t = 0; t < o->n_tensors; t++) {
        for (uint32_t i = 0; i < o->n; i++)
            o->total[i] += o->changed[(size_t)t * o->n + i];
    }
    return true;
}

fmp_status fmp_overlap_new(const fmp_patch *const *patches, size_t n_patches,
                           const fmp_overlap_options *options, fmp_overlap **ret, fmp_error *err)
{
    fmp_overlap_options how = {0};
    fmp_pool_job job = {.work = work, .poll = poll};
    fmp_overlap *o;
    fmp_status st;

    if (n_patches == 0 || n_patches > FMP_OVERLAP_MAX)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%zu patches to compare: 1 to %u expected",
                        n_patches, FMP_OVERLAP_MAX);
    if (options)
        memcpy(&how, options, options->size < sizeof how ? options->size : sizeof how);
    o = fmp_calloc(1, sizeof *o);
    if (!o)
        return no_memory(err);
    o->p = patches;
    o->n = (uint32_t)n_patches;
    o->progress = how.progress;
    o->n_slots = fmp_pool_threads(how.n_threads);
    st = check_bases(o, how.shapes_only, err);
    if (!st)
        st = list_tensors(o, err);
    for (unsigned i = 0; i < o->n_slots && !st; i++)
        st = make_slot(o, &o->slot[i], err);
    job.ctx = o;
    job.n_items = o->n_tensors;
    if (!st)
        st = fmp_pool_run(&job, o->n_slots, err);
    if (!st && !gather(o))
        st = no_memory(err);
    if (st) {
        fmp_overlap_free(o);
        return st;
    }
    for (unsigned i = 0; i < o->n_slots; i++)
        drop_slot(o, &o->slot[i]);
    *ret = o;
    return FMP_OK;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

fmp_overlap_pair fmp_overlap_of(const fmp_overlap *o, size_t first, size_t second)
{
    const size_t low = first < second ? first : second;
    const size_t high = first < second ? second : first;
    const size_t at = low * o->n + high;
    const slot *s = &o->slot[0];

    if (first >= o->n || second >= o->n)
        return (fmp_overlap_pair){0};
    if (first == second)
        return (fmp_overlap_pair){.n_first = o->total[first],
                                  .n_second = o->total[first],
                                  .n_shared = o->total[first],
                                  .n_same = o->total[first]};
    return (fmp_overlap_pair){.n_first = o->total[first],
                              .n_second = o->total[second],
                              .n_shared = s->shared[at],
                              .n_same = s->same[at],
                              .n_conflicts = s->conflicts[at]};
}

uint32_t fmp_overlap_tensor_count(const fmp_overlap *o)
{
    return o->n_tensors;
}

fmp_overlap_tensor fmp_overlap_tensor_at(const fmp_overlap *o, uint32_t tensor)
{
    const tensor_counts *t = &o->tensors[tensor];
    const fmp_tensor_info info = fmp_table_info(&o->p[t->of]->table, t->row_of, true);

    return (fmp_overlap_tensor){.name = info.name,
                                .n_elements = info.n_elements,
                                .n_changed = t->n_changed,
                                .n_shared = t->n_shared,
                                .n_same = t->n_same,
                                .n_conflicts = t->n_conflicts};
}

uint64_t fmp_overlap_changed(const fmp_overlap *o, uint32_t tensor, size_t patch)
{
    return patch < o->n ? o->changed[(size_t)tensor * o->n + patch] : 0;
}

uint32_t fmp_overlap_set_count(const fmp_overlap *o)
{
    return o->slot[0].sets.n;
}

uint64_t fmp_overlap_set_at(const fmp_overlap *o, uint32_t set, uint64_t *ret_patches)
{
    *ret_patches = o->slot[0].sets.slot[set].patches;
    return o->slot[0].sets.slot[set].n;
}
