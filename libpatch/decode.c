/*
 * Frames of an open patch to bytes.  See decode.h.
 */
#include "decode.h"

#include "base/status.h"

fmp_status fmp_decoder_init(fmp_decoder *d, fmp_error *err)
{
    *d = (fmp_decoder){0};
    d->scratch = fmp_scratch_new();
    if (!d->scratch)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    return fmp_z_new(&d->z, err);
}

void fmp_decoder_release(fmp_decoder *d)
{
    fmp_z_free(d->z);
    fmp_scratch_free(d->scratch);
    fmp_frame_release(&d->frame);
    fmp_buf_release(&d->stored);
    *d = (fmp_decoder){0};
}

const char *fmp_patch_object_name(const fmp_patch *p, unsigned domain, uint64_t object)
{
    const fmp_layout *l = &p->layout;

    switch (domain) {
    case FMP_DOMAIN_TENSORS:
        return p->table.names + p->table.rows[l->target.order[object]].name_at;
    case FMP_DOMAIN_OLD_TENSORS:
        return p->table.names + p->table.rows[l->base.order[object]].name_at;
    case FMP_DOMAIN_HEADERS:
        return l->target.files[object].name;
    case FMP_DOMAIN_OLD_HEADERS:
        return l->base.files[object].name;
    default:
        return l->side[object].name;
    }
}

/* Blocks of target tensors: residuals and set values lie on mapped bytes, new bytes elsewhere. */
static bool suits_tensor(const fmp_patch *p, const fmp_block *b)
{
    const uint32_t row = p->layout.target.order[b->object];
    const uint64_t mapped = fmp_table_map(&p->table, row).n_bytes;
    const uint64_t end = b->off + b->n_bytes;

    switch (p->table.rows[row].state) {
    case FMP_WHOLE:
    case FMP_ADDED:
        return b->kind >= FMP_BLOCK_WHOLE;
    case FMP_RESIDUAL:
        return end <= mapped ? b->kind == FMP_BLOCK_RESIDUAL
                             : b->off >= mapped && b->kind >= FMP_BLOCK_WHOLE;
    case FMP_SET:
        return end <= mapped || (b->off >= mapped && b->kind >= FMP_BLOCK_WHOLE);
    default:
        return false;
    }
}

static fmp_status check_blocks(const fmp_frame *f, const fmp_patch *p, uint32_t n, fmp_error *err)
{
    const fmp_frame_entry *e = &p->frames.entry[n];
    uint64_t most = 0;
    uint64_t least = 0;

    for (uint32_t i = 0; i < f->n_blocks; i++) {
        const fmp_block *b = &f->blocks[i];

        if (b->object > e->last || b->object < e->first ||
            b->off + b->n_bytes > fmp_patch_object_bytes(p, e->domain, b->object))
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: frame %u: block %u lies outside of its tensor or file",
                            p->file.path, n, i);
        if (e->domain != FMP_DOMAIN_TENSORS && i > 0 &&
            b->off != (b->object == b[-1].object ? b[-1].off + b[-1].n_bytes : 0))
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: frame %u: block %u leaves a hole in \"%s\"", p->file.path, n, i,
                            fmp_patch_object_name(p, e->domain, b->object));
        if (b->off / FMP_LEAF_LEN != (b->off + b->n_bytes - 1) / FMP_LEAF_LEN ||
            (e->domain == FMP_DOMAIN_TENSORS ? !suits_tensor(p, b) : b->kind < FMP_BLOCK_WHOLE))
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: frame %u: block %u does not suit \"%s\"", p->file.path, n, i,
                            fmp_patch_object_name(p, e->domain, b->object));
        if (fmp_block_is_modelled(b) && p->summary.profile != FMP_PROFILE_COMPACT)
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: frame %u: block %u is coded given the base, which profile open "
                            "does not allow",
                            p->file.path, n, i);
        most += fmp_block_values(b);
        least += b->kind == FMP_BLOCK_RESIDUAL && b->pos == FMP_POS_FULL ? 1 : fmp_block_values(b);
    }
    if (f->blocks[0].object != e->first || f->blocks[0].off != e->start ||
        f->blocks[f->n_blocks - 1].object != e->last ||
        f->blocks[f->n_blocks - 1].off + f->blocks[f->n_blocks - 1].n_bytes != e->end ||
        e->n_changed < least || e->n_changed > most)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: frame %u is not what the frame table says", p->file.path, n);
    return FMP_OK;
}

fmp_status fmp_decoder_load(fmp_decoder *d, const fmp_patch *p, uint32_t n, fmp_error *err)
{
    const fmp_frame_entry *e = &p->frames.entry[n];
    const uint64_t off = p->payload + e->payload_off;
    fmp_digest found;
    uint8_t *at;
    fmp_status st;

    if (d->loaded == n + 1)
        return FMP_OK;
    d->loaded = 0;
    fmp_buf_clear(&d->stored);
    at = fmp_buf_reserve(&d->stored, e->stored);
    if (!at)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", p->file.path);
    st = fmp_file_read(&p->file, off, at, e->stored, err);
    if (st)
        return st;
    found = fmp_digest_of(at, e->stored);
    if (!fmp_digest_equal(&found, (const fmp_digest *)(const void *)(p->frame_digests.data +
                                                                     (size_t)n * FMP_DIGEST_LEN)))
        return fmp_fail(err, FMP_ECORRUPT, off, "%s: frame %u does not match its digest",
                        p->file.path, n);
    st = fmp_frame_open(&d->frame, d->z, at, e->stored, err);
    if (!st)
        st = check_blocks(&d->frame, p, n, err);
    if (!st)
        d->loaded = n + 1;
    return st;
}

uint32_t fmp_frame_seek(const fmp_frame *f, uint32_t object, uint64_t off)
{
    uint32_t low = 0;
    uint32_t high = f->n_blocks;

    while (low < high) {
        const uint32_t mid = low + (high - low) / 2;
        const fmp_block *b = &f->blocks[mid];

        if (b->object < object || (b->object == object && b->off + b->n_bytes <= off))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

fmp_status fmp_decoder_each(fmp_decoder *d, const fmp_patch *p, unsigned domain, uint32_t object,
                            uint64_t off, uint32_t len, fmp_block_fn fn, void *ctx, fmp_error *err)
{
    uint32_t n = fmp_frames_seek(&p->frames, domain, object, off);

    for (; n < p->frames.n; n++) {
        const fmp_frame_entry *e = &p->frames.entry[n];
        fmp_status st;

        if (e->domain != domain || e->first > object ||
            (e->first == object && e->start >= off + len))
            break;
        st = fmp_decoder_load(d, p, n, err);
        if (st)
            return st;
        for (uint32_t i = fmp_frame_seek(&d->frame, object, off); i < d->frame.n_blocks; i++) {
            const fmp_block *b = &d->frame.blocks[i];

            if (b->object != object || b->off >= off + len)
                break;
            if (b->off < off || b->off + b->n_bytes > off + len)
                return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                                "%s: frame %u: a block crosses the end of \"%s\"", p->file.path, n,
                                fmp_patch_object_name(p, domain, object));
            st = fn(ctx, d, b, err);
            if (st)
                return st;
        }
    }
    return FMP_OK;
}

typedef struct application {
    uint64_t off;
    uint8_t *buf;
    int direction;
    bool touched;
} application;

static fmp_status apply_block(void *ctx, fmp_decoder *d, const fmp_block *b, fmp_error *err)
{
    application *a = ctx;

    if (a->direction == FMP_BACKWARD && b->kind >= FMP_BLOCK_WHOLE)
        return FMP_OK; /* behind the mapped bytes: not of the base */
    a->touched = true;
    return fmp_block_apply(b, &d->frame.streams, a->buf + (b->off - a->off), a->direction,
                           d->scratch, NULL, err);
}

fmp_status fmp_decoder_apply(fmp_decoder *d, const fmp_patch *p, unsigned domain, uint32_t object,
                             uint64_t off, uint32_t len, uint8_t *buf, int direction,
                             bool *ret_touched, fmp_error *err)
{
    application a = {.off = off, .buf = buf, .direction = direction};
    const fmp_status st = fmp_decoder_each(d, p, domain, object, off, len, apply_block, &a, err);

    *ret_touched = a.touched;
    return st;
}
