/*
 * The buffer calls: one tensor in the caller's memory, as a blob of frames or from an open patch.
 * FORMAT.md, "Blobs".
 */
#include <string.h>

#include "assemble.h"
#include "base/alloc.h"
#include "base/status.h"
#include "base/store.h"
#include "codec/bits.h"
#include "codec/scan.h"
#include "decode.h"
#include "encode.h"

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
}

void fmp_blob_release(fmp_blob *blob)
{
    fmp_free(blob->data);
    *blob = (fmp_blob){0};
}

static fmp_status params_of(const char *dtype, uint64_t n_bytes, fmp_block_params *ret,
                            fmp_error *err)
{
    const fmp_dtype *d = fmp_dtype_find(dtype, strlen(dtype));

    if (!d)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "dtype \"%s\" is not known", dtype);
    if (n_bytes % (d->width / 8u))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "%llu bytes are no whole number of elements of %s",
                        (unsigned long long)n_bytes, dtype);
    *ret = (fmp_block_params){
        .bits = d->width, .sign_magnitude = d->order == FMP_ORDER_SIGN, .key_shift = d->mantissa};
    return FMP_OK;
}

/* ---- blobs ------------------------------------------------------------------------------------
 */

typedef struct blob_writer {
    fmp_encoder enc;
    fmp_frame_builder open;
    fmp_buf bytes, frame;
    uint64_t n_changed;
} blob_writer;

static fmp_status flush(blob_writer *w, fmp_error *err)
{
    fmp_status st;

    if (!w->open.n_blocks)
        return FMP_OK;
    w->n_changed += w->open.n_changed;
    fmp_buf_clear(&w->frame);
    st = fmp_frame_seal(&w->open, w->enc.z, w->enc.level, true, &w->frame, err);
    if (st)
        return st;
    fmp_buf_put_le(&w->bytes, w->frame.len, 4);
    fmp_buf_put(&w->bytes, w->frame.data, w->frame.len);
    return w->bytes.bad ? no_memory(err) : FMP_OK;
}

static fmp_status write_leaf(blob_writer *w, const fmp_block_params *p, uint64_t off,
                             const uint8_t *base, const uint8_t *target, uint32_t len,
                             fmp_error *err)
{
    fmp_status st;

    fmp_encoder_begin(&w->enc);
    st = fmp_encoder_add(&w->enc, p, 0, off, base, target, len, err);
    for (unsigned i = 0; i < w->enc.n_pieces && !st; i++) {
        if (!fmp_frame_takes(&w->open, &w->enc.piece[i]))
            st = flush(w, err);
        fmp_frame_add(&w->open, &w->enc.piece[i]);
    }
    return st;
}

fmp_status fmp_encode_tensor(const char *dtype, const void *base, const void *target,
                             uint64_t n_bytes, const fmp_create_options *options, fmp_blob *ret,
                             fmp_error *err)
{
    const fmp_create_options o = fmp_create_options_or_default(options);
    const uint8_t *b = base;
    const uint8_t *t = target;
    fmp_block_params p;
    blob_writer w = {0};
    fmp_status st = params_of(dtype, n_bytes, &p, err);

    if (!st && (o.level < 1 || o.level > 9))
        st = fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "level %d: 1 to 9 expected", o.level);
    if (!st && o.profile != FMP_PROFILE_OPEN && o.profile != FMP_PROFILE_COMPACT)
        st = fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "profile %d is not known", (int)o.profile);
    if (!st)
        st = fmp_encoder_init(&w.enc, &o, err);
    for (uint64_t at = 0; at < n_bytes && !st; at += FMP_LEAF_LEN) {
        const uint32_t len = (uint32_t)(n_bytes - at < FMP_LEAF_LEN ? n_bytes - at : FMP_LEAF_LEN);

        st = write_leaf(&w, &p, at, b ? b + at : NULL, t + at, len, err);
    }
    if (!st)
        st = flush(&w, err);
    if (!st) {
        *ret = (fmp_blob){.data = w.bytes.data, .len = w.bytes.len, .n_changed = w.n_changed};
        w.bytes = (fmp_buf){0};
    }
    fmp_encoder_release(&w.enc);
    fmp_frame_builder_release(&w.open);
    fmp_buf_release(&w.bytes);
    fmp_buf_release(&w.frame);
    return st;
}

/* One frame over `data`, with its sums when it has them. */
static fmp_status apply_frame(fmp_decoder *d, const fmp_block_params *p, uint8_t *data,
                              uint64_t n_bytes, uint64_t *end, fmp_error *err)
{
    fmp_xxh before, after;
    fmp_status st = FMP_OK;

    fmp_xxh_init(&before);
    fmp_xxh_init(&after);
    for (uint32_t i = 0; i < d->frame.n_blocks && !st; i++) {
        const fmp_block *b = &d->frame.blocks[i];
        uint64_t sums[2];
        uint8_t le[8];

        if (b->object != 0 || b->off < *end || b->off > n_bytes || b->n_bytes > n_bytes - b->off ||
            (b->kind != FMP_BLOCK_WHOLE && (b->bits != p->bits || b->off % (p->bits / 8u))))
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "blob: block %u is out of place", i);
        *end = b->off + b->n_bytes;
        st = fmp_block_apply(b, &d->frame.streams, data + b->off, FMP_FORWARD, d->scratch,
                             d->frame.has_sums ? sums : NULL, err);
        if (st || !d->frame.has_sums || b->kind >= FMP_BLOCK_WHOLE)
            continue;
        fmp_store_le(le, sums[0], 8);
        fmp_xxh_update(&before, le, 8);
        fmp_store_le(le, sums[1], 8);
        fmp_xxh_update(&after, le, 8);
    }
    if (st || !d->frame.has_sums)
        return st;
    if (fmp_xxh_final(&before) != d->frame.sum_before)
        return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                        "blob: the buffer does not hold the base that the change is for");
    return fmp_xxh_final(&after) == d->frame.sum_after
               ? FMP_OK
               : fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "blob: the result does not add up");
}

fmp_status fmp_decode_tensor(const char *dtype, const void *blob, size_t blob_len, void *data,
                             uint64_t n_bytes, fmp_error *err)
{
    fmp_cursor c = fmp_cur(blob, blob_len);
    fmp_block_params p = {.bits = 8};
    fmp_decoder d = {0};
    uint64_t end = 0;
    fmp_status st = params_of(dtype, n_bytes, &p, err);

    if (!st)
        st = fmp_decoder_init(&d, err);
    while (!st && fmp_cur_left(&c)) {
        const size_t len = (size_t)fmp_cur_le(&c, 4);
        const uint8_t *frame = fmp_cur_take(&c, len);

        if (!frame)
            st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "blob: cut short");
        else
            st = fmp_frame_open(&d.frame, d.z, frame, len, err);
        if (!st)
            st = apply_frame(&d, &p, data, n_bytes, &end, err);
    }
    if (!st && c.bad)
        st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "blob: cut short");
    fmp_decoder_release(&d);
    return st;
}

/* ---- from an open patch -----------------------------------------------------------------------
 */

static fmp_status check_tensor(const fmp_patch *p, uint32_t tensor, fmp_error *err)
{
    if (tensor >= p->table.n_rows)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: has %u tensors, asked for number %u",
                        p->file.path, p->table.n_rows, tensor);
    if (p->table.rows[tensor].target_schema == FMP_NONE)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: tensor \"%s\" is removed",
                        p->file.path, p->table.names + p->table.rows[tensor].name_at);
    return FMP_OK;
}

/* The row whose frames make a tensor: itself, or what it is an alias of. */
static uint32_t maker_of(const fmp_patch *p, uint32_t tensor)
{
    const fmp_row *r = &p->table.rows[tensor];

    return r->state == FMP_ALIAS ? p->table.maps[r->map].source : tensor;
}

fmp_status fmp_patch_apply_tensor(const fmp_patch *patch, uint32_t tensor, void *data,
                                  uint64_t n_bytes, fmp_error *err)
{
    fmp_decoder d = {0};
    fmp_status st = check_tensor(patch, tensor, err);
    uint64_t want;

    if (st)
        return st;
    want = fmp_table_info(&patch->table, tensor, true).n_bytes;
    if (n_bytes != want)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "tensor \"%s\" has %llu bytes, not %llu",
                        patch->table.names + patch->table.rows[tensor].name_at,
                        (unsigned long long)want, (unsigned long long)n_bytes);
    st = fmp_decoder_init(&d, err);
    for (uint64_t at = 0; at < n_bytes && !st; at += FMP_LEAF_LEN) {
        const uint32_t len = (uint32_t)(n_bytes - at < FMP_LEAF_LEN ? n_bytes - at : FMP_LEAF_LEN);
        bool touched;

        st = fmp_decoder_apply(&d, patch, FMP_DOMAIN_TENSORS,
                               patch->target_pos[maker_of(patch, tensor)], at, len,
                               (uint8_t *)data + at, FMP_FORWARD, &touched, err);
    }
    fmp_decoder_release(&d);
    return st;
}

typedef struct sparse_reader {
    fmp_decoder dec;
    uint64_t *idx, *values;
    fmp_sparse_fn fn;
    void *ctx;
    bool stopped;
    unsigned bits; /* of an element's unit */
} sparse_reader;

static fmp_status give_block(sparse_reader *r, const fmp_block *b, fmp_error *err)
{
    const uint32_t n = fmp_block_values(b);
    const unsigned width = b->bits / 8u;
    fmp_status st = fmp_block_list(b, &r->dec.frame.streams, r->dec.scratch, r->values, err);
    uint32_t kept = 0;

    if (st)
        return st;
    if (b->bits != r->bits)
        return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                        "units of %u bits are no elements of %u: there is no list of them", b->bits,
                        r->bits);
    for (uint32_t i = 0; i < n; i++) {
        r->idx[kept] = b->off / width + r->dec.scratch->idx[i];
        r->values[kept] = r->values[i];
        kept += b->kind != FMP_BLOCK_RESIDUAL || r->values[i] != 0;
    }
    if (kept)
        r->stopped = !r->fn(r->ctx, r->idx, r->values, kept, b->kind != FMP_BLOCK_RESIDUAL);
    return FMP_OK;
}

fmp_status fmp_patch_read_sparse(const fmp_patch *patch, uint32_t tensor, fmp_sparse_fn fn,
                                 void *ctx, fmp_error *err)
{
    sparse_reader r = {.fn = fn, .ctx = ctx};
    fmp_status st = check_tensor(patch, tensor, err);
    const uint32_t object = st ? 0 : patch->target_pos[maker_of(patch, tensor)];

    if (!st)
        st = fmp_patch_check_open(patch, err);
    if (!st) {
        const char *dtype = fmp_table_info(&patch->table, tensor, true).dtype;
        const fmp_dtype *d = fmp_dtype_find(dtype, strlen(dtype));

        r.bits = d ? d->width : 8;
        st = fmp_decoder_init(&r.dec, err);
    }
    r.idx = st ? NULL : fmp_calloc(FMP_BLOCK_UNITS, sizeof *r.idx);
    r.values = st ? NULL : fmp_calloc(FMP_BLOCK_UNITS, sizeof *r.values);
    if (!st && (!r.idx || !r.values))
        st = no_memory(err);
    for (uint32_t f = st ? 0 : fmp_frames_seek(&patch->frames, FMP_DOMAIN_TENSORS, object, 0);
         !st && !r.stopped && f < patch->frames.n &&
         patch->frames.entry[f].domain == FMP_DOMAIN_TENSORS &&
         patch->frames.entry[f].first <= object;
         f++) {
        st = fmp_decoder_load(&r.dec, patch, f, err);
        for (uint32_t i = 0; !st && !r.stopped && i < r.dec.frame.n_blocks; i++) {
            if (r.dec.frame.blocks[i].object == object)
                st = give_block(&r, &r.dec.frame.blocks[i], err);
        }
    }
    fmp_decoder_release(&r.dec);
    fmp_free(r.idx);
    fmp_free(r.values);
    return st;
}
