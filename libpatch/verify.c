/*
 * fmp_patch_scan() and fmp_verify(): the whole payload decoded, and a base held against the patch.
 */

#include "base/alloc.h"
#include "base/status.h"
#include "codec/residual.h"
#include "rebuild.h"

typedef struct scan_slot {
    fmp_decoder dec;
    uint64_t *values;
} scan_slot;

typedef struct scan {
    fmp_patch *p;
    fmp_progress progress;
    fmp_row_scan *rows;
    scan_slot slot[FMP_POOL_MAX_THREADS];
    _Atomic uint64_t done; /* read by who polls */
} scan;

static fmp_status scan_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    scan *s = ctx;

    (void)pool;
    return fmp_decoder_load(&s->slot[slot].dec, s->p, (uint32_t)item, err);
}

/* What the residuals of a block say. */
static void count_values(fmp_row_scan *row, const uint64_t *z, uint32_t n, unsigned bits)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t d = fmp_unzigzag(z[i], bits);
        const bool down = d >> (bits - 1) & 1;
        const uint64_t size = down ? (0 - d) & fmp_unit_mask(bits) : d;

        row->n_up += size && !down;
        row->n_down += down;
        row->n_changed += size != 0;
        row->max_residual = size > row->max_residual ? size : row->max_residual;
    }
}

static fmp_status scan_block(scan *s, scan_slot *slot, const fmp_block *b, unsigned domain,
                             fmp_error *err)
{
    fmp_row_scan *row;
    fmp_status st;

    if (b->kind >= FMP_BLOCK_WHOLE) {
        if (domain == FMP_DOMAIN_TENSORS) {
            row = &s->rows[s->p->layout.target.order[b->object]];
            row->n_changed += fmp_block_units(b);
        }
        return FMP_OK;
    }
    row = &s->rows[s->p->layout.target.order[b->object]];
    if (fmp_block_is_modelled(b)) {
        row->n_changed += fmp_block_values(b);
        row->hidden = true;
        return FMP_OK;
    }
    st = fmp_block_list(b, &slot->dec.frame.streams, slot->dec.scratch, slot->values, err);
    if (st)
        return st;
    if (b->kind == FMP_BLOCK_RESIDUAL)
        count_values(row, slot->values, fmp_block_values(b), b->bits);
    else
        row->n_changed += fmp_block_values(b);
    return FMP_OK;
}

/* Stored bytes of a frame go to its rows by the units that they changed. */
static fmp_status scan_finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    scan *s = ctx;
    scan_slot *x = &s->slot[slot];
    const fmp_frame_entry *e = &s->p->frames.entry[item];
    uint64_t n_values = 0;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < x->dec.frame.n_blocks; i++)
        n_values += fmp_block_values(&x->dec.frame.blocks[i]);
    for (uint32_t i = 0; i < x->dec.frame.n_blocks && !st; i++) {
        const fmp_block *b = &x->dec.frame.blocks[i];

        st = scan_block(s, x, b, e->domain, err);
        if (e->domain == FMP_DOMAIN_TENSORS)
            s->rows[s->p->layout.target.order[b->object]].stored +=
                (uint64_t)e->stored * fmp_block_values(b) / n_values;
    }
    s->done += e->stored;
    return st;
}

static fmp_status scan_poll(void *ctx, fmp_error *err)
{
    scan *s = ctx;

    if (s->progress.fn && s->progress.fn(s->progress.ctx, s->done, s->p->frames.stored))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

fmp_status fmp_patch_scan(fmp_patch *patch, unsigned n_threads, fmp_progress progress,
                          fmp_error *err)
{
    scan s = {.p = patch, .progress = progress};
    const fmp_pool_job job = {.n_items = patch->frames.n,
                              .work = scan_work,
                              .finish = scan_finish,
                              .poll = scan_poll,
                              .ctx = &s};
    const unsigned n = fmp_pool_threads(n_threads);
    fmp_status st = FMP_OK;

    if (patch->scan)
        return FMP_OK;
    s.rows = fmp_calloc(patch->table.n_rows, sizeof *s.rows);
    for (unsigned i = 0; i < n && !st; i++) {
        st = fmp_decoder_init(&s.slot[i].dec, err);
        s.slot[i].values = fmp_calloc(FMP_BLOCK_UNITS, sizeof *s.slot[i].values);
        if (!st && !s.slot[i].values)
            st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    }
    if (!st && !s.rows)
        st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    if (!st)
        st = fmp_pool_run(&job, n, err);
    for (unsigned i = 0; i < n; i++) {
        fmp_decoder_release(&s.slot[i].dec);
        fmp_free(s.slot[i].values);
    }
    if (st)
        fmp_free(s.rows);
    else
        patch->scan = s.rows;
    return st;
}

fmp_status fmp_verify(fmp_patch *patch, const fmp_store *base, unsigned n_threads,
                      fmp_progress progress, fmp_error *err)
{
    fmp_rebuild r;
    fmp_status st = fmp_patch_scan(patch, n_threads, progress, err);

    if (st || !base)
        return st;
    st = fmp_rebuild_init(&r, patch, base, false, n_threads, progress, err);
    for (uint32_t i = 0; i < base->n_tensors; i++)
        r.total += base->tensors[i].n_bytes;
    if (!st)
        st = fmp_rebuild_check_shapes(&r, err);
    if (!st)
        st = fmp_rebuild_check_rest(&r, err);
    fmp_rebuild_release(&r);
    return st;
}
