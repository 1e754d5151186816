/*
 * fmp_xor_size(): what the plainest way to send a change would cost, for comparison in reports: the
 * exclusive or of target and base, through zstd.  Every tensor is XORed with the base tensor of its
 * name and size; where there is none its bytes stand for themselves.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "rebuild.h"

#define XOR_LEVEL 1

typedef struct xor_slot {
    fmp_z *z;
    uint8_t *old; /* a leaf of the base */
    fmp_buf out;
    uint64_t size; /* of the item at hand */
} xor_slot;

typedef struct xor_work {
    fmp_rebuild r;
    xor_slot slot[FMP_POOL_MAX_THREADS];
    uint64_t size;
} xor_work;

static uint32_t row_at(const xor_work *w, uint32_t i)
{
    return w->r.p->layout.target.order[i];
}

/* Of what is worth a look: an unchanged tensor is zeros, which cost next to nothing. */
static uint64_t size_of(const void *ctx, uint32_t i)
{
    const xor_work *w = ctx;
    const uint32_t row = row_at(w, i);
    const uint8_t state = w->r.p->table.rows[row].state;

    return state == FMP_UNCHANGED || state == FMP_ALIAS
               ? 0
               : fmp_table_info(&w->r.p->table, row, true).n_bytes;
}

/* The target's bytes, from the base tensor that they are coded against. */
static fmp_status make_leaf(xor_work *w, fmp_rebuild_slot *s, uint32_t row, uint64_t off,
                            uint32_t len, fmp_error *err)
{
    const fmp_patch *p = w->r.p;
    const fmp_map map = fmp_table_map(&p->table, row);
    const uint64_t left = map.n_bytes > off ? map.n_bytes - off : 0;
    const uint32_t n = (uint32_t)(left < len ? left : len);
    fmp_status st = FMP_OK;
    bool touched;

    if (n)
        st = fmp_store_read(w->r.in, w->r.in_of[map.source], map.base_off + off, s->buf, n, err);
    memset(s->buf + n, 0, len - n);
    if (!st)
        st = fmp_decoder_apply(&s->dec, p, FMP_DOMAIN_TENSORS, p->target_pos[row], off, len, s->buf,
                               FMP_FORWARD, &touched, err);
    return st;
}

static fmp_status take_leaf(xor_work *w, unsigned slot, uint32_t i, uint64_t off, uint32_t len,
                            fmp_error *err)
{
    const uint32_t row = row_at(w, i);
    const fmp_tensor_info base = fmp_table_info(&w->r.p->table, row, false);
    const fmp_tensor_info now = fmp_table_info(&w->r.p->table, row, true);
    fmp_rebuild_slot *s = &w->r.slot[slot];
    xor_slot *x = &w->slot[slot];
    fmp_status st = make_leaf(w, s, row, off, len, err);
    size_t stored;

    if (!st && base.name && base.n_bytes == now.n_bytes) {
        st = fmp_store_read(w->r.in, w->r.in_of[row], off, x->old, len, err);
        for (uint32_t k = 0; k < len && !st; k++)
            s->buf[k] ^= x->old[k];
    }
    x->out.len = 0;
    if (!st)
        st = fmp_z_compress(x->z, XOR_LEVEL, s->buf, len, &x->out, &stored, err);
    if (!st)
        x->size += stored;
    return st;
}

static fmp_status work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    xor_work *w = ctx;
    const fmp_region g = fmp_regions_at(&w->r.regions, item);
    fmp_status st = FMP_OK;

    (void)pool;
    w->slot[slot].size = 0;
    if (g.n == 1)
        return g.len ? take_leaf(w, slot, g.first, g.off, g.len, err) : FMP_OK;
    for (uint32_t k = 0; k < g.n && !st; k++) {
        const uint32_t len = (uint32_t)size_of(w, g.first + k);

        if (len)
            st = take_leaf(w, slot, g.first + k, 0, len, err);
    }
    return st;
}

static fmp_status finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    xor_work *w = ctx;

    (void)err;
    w->r.done += fmp_regions_at(&w->r.regions, item).len;
    w->size += w->slot[slot].size;
    return FMP_OK;
}

static fmp_status poll(void *ctx, fmp_error *err)
{
    xor_work *w = ctx;

    if (w->r.progress.fn && w->r.progress.fn(w->r.progress.ctx, w->r.done, w->r.total))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

static fmp_status make_slots(xor_work *w, fmp_error *err)
{
    for (unsigned i = 0; i < w->r.n_threads; i++) {
        const fmp_status st = fmp_z_new(&w->slot[i].z, err);

        if (st)
            return st;
        w->slot[i].old = fmp_malloc(FMP_LEAF_LEN);
        if (!w->slot[i].old)
            return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    }
    return FMP_OK;
}

static fmp_status take_all(xor_work *w, fmp_error *err)
{
    const uint32_t n = w->r.p->layout.target.n_order;
    fmp_status st = fmp_regions_build(&w->r.regions, size_of, w, n, err);
    fmp_pool_job job = {.work = work, .finish = finish, .poll = poll, .ctx = w};

    for (uint32_t i = 0; i < n; i++)
        w->r.total += size_of(w, i);
    job.n_items = w->r.regions.n_items;
    return st ? st : fmp_pool_run(&job, w->r.n_threads, err);
}

fmp_status fmp_xor_size(const fmp_patch *patch, const fmp_store *base, unsigned n_threads,
                        fmp_progress progress, uint64_t *ret, fmp_error *err)
{
    xor_work *w = fmp_calloc(1, sizeof *w);
    fmp_status st;

    if (!w)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    st = fmp_rebuild_init(&w->r, patch, base, false, n_threads, progress, err);
    if (!st)
        st = fmp_rebuild_check_shapes(&w->r, err);
    if (!st)
        st = make_slots(w, err);
    if (!st)
        st = take_all(w, err);
    if (!st)
        *ret = w->size;
    for (unsigned i = 0; i < FMP_POOL_MAX_THREADS; i++) {
        fmp_z_free(w->slot[i].z);
        fmp_free(w->slot[i].old);
        fmp_buf_release(&w->slot[i].out);
    }
    fmp_rebuild_release(&w->r);
    fmp_free(w);
    return st;
}
