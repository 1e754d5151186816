/*
 * Bytes to frames.  See encode.h.
 */
#include "encode.h"

#include <string.h>

#include "base/status.h"

#define REVERSIBLE_WORTH 64u
#define STANDALONE                                                                                 \
    (8ull * (64u << 10)) /* estimated bits from which a region has its own frames                  \
                          */

fmp_block_params fmp_params_of(const fmp_dtype *d, uint32_t rank, const uint64_t *shape)
{
    const uint64_t row_len = rank > 1 ? shape[rank - 1] * (d->bits / d->width) : 0;

    return (fmp_block_params){.bits = d->width,
                              .sign_magnitude = d->order == FMP_ORDER_SIGN,
                              .key_shift = d->mantissa,
                              .row_len = row_len <= FMP_BLOCK_UNITS ? (uint32_t)row_len : 0};
}

int fmp_zstd_level(int level)
{
    static const int of[] = {1, 1, 2, 3, 5, 7, 9, 12, 14, 16};

    return of[level < 1 ? 1 : level > 9 ? 9 : level];
}

fmp_status fmp_encoder_init(fmp_encoder *e, const fmp_create_options *o, fmp_error *err)
{
    *e = (fmp_encoder){.level = fmp_zstd_level(o->level),
                       .sums = !o->no_check,
                       .reversible = o->reversible,
                       .compact = o->profile == FMP_PROFILE_COMPACT,
                       .effort = o->level < 3   ? FMP_MODEL_FAST
                                 : o->level < 7 ? FMP_MODEL_ESTIMATE
                                                : FMP_MODEL_TRY};
    e->scratch = fmp_scratch_new();
    if (!e->scratch)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    return fmp_z_new(&e->z, err);
}

void fmp_encoder_release(fmp_encoder *e)
{
    fmp_scratch_free(e->scratch);
    fmp_z_free(e->z);
    for (unsigned i = 0; i < FMP_MAX_PIECES; i++)
        fmp_piece_release(&e->piece[i]);
    fmp_piece_release(&e->trial);
    fmp_buf_release(&e->trial_out);
    fmp_frame_builder_release(&e->own);
    fmp_buf_release(&e->own_bytes);
    *e = (fmp_encoder){0};
}

void fmp_encoder_begin(fmp_encoder *e)
{
    e->n_pieces = 0;
    e->n_own = 0;
    e->has_set = false;
    fmp_buf_clear(&e->own_bytes);
}

/* What zstd makes of a piece's streams, in bytes. */
static fmp_status stored_size(fmp_encoder *e, const fmp_piece *piece, size_t *ret, fmp_error *err)
{
    fmp_buf_clear(&e->trial_out);
    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++) {
        const fmp_buf *b = &piece->stream[s];
        size_t stored;
        fmp_status st;

        if (!b->len)
            continue;
        st = fmp_stream_put(b->data, b->len, s, e->z, e->level, &e->trial_out, &stored, err);
        if (st)
            return st;
    }
    *ret = e->trial_out.len;
    return FMP_OK;
}

static void swap_pieces(fmp_piece *a, fmp_piece *b)
{
    const fmp_piece c = *a;

    *a = *b;
    *b = c;
}

/* Replaces `piece` by the target's own bytes where those are smaller: plain, or in planes. */
static fmp_status try_whole(fmp_encoder *e, unsigned bits, const uint8_t *target, uint32_t len,
                            fmp_piece *piece, bool only_whole, fmp_error *err)
{
    size_t best = SIZE_MAX;
    fmp_status st = only_whole ? FMP_OK : stored_size(e, piece, &best, err);

    if (!only_whole) /* being reversible is worth a few bytes */
        best = best > REVERSIBLE_WORTH ? best - REVERSIBLE_WORTH : 0;

    for (unsigned planes = 0; planes <= (bits > 8) && !st; planes++) {
        size_t size;

        st = fmp_piece_whole(target, len, bits, planes, &e->trial, err);
        if (!st)
            st = stored_size(e, &e->trial, &size, err);
        if (!st && size < best) {
            best = size;
            e->trial.cost = 8ull * size;
            swap_pieces(piece, &e->trial);
        }
    }
    return st;
}

/* A modelled piece, and the same without a model: which is smaller, as stored? */
static fmp_status try_plain(fmp_encoder *e, const fmp_block_params *p, const uint8_t *base,
                            const uint8_t *target, uint32_t len, fmp_piece *piece, fmp_error *err)
{
    fmp_block_params plain = *p;
    size_t with, without;
    fmp_status st = stored_size(e, piece, &with, err);

    plain.modelled = false;
    if (!st)
        st = fmp_piece_encode(e->scratch, &plain, base, target, len, &e->trial, err);
    if (!st)
        st = stored_size(e, &e->trial, &without, err);
    if (!st && without - without / 64 < with + 4u + piece->head.model.classes.n)
        swap_pieces(piece, &e->trial);
    return st;
}

static fmp_status add_piece(fmp_encoder *e, const fmp_block_params *p, uint64_t object,
                            uint64_t off, const uint8_t *base, const uint8_t *target, uint32_t len,
                            fmp_error *err)
{
    fmp_piece *piece = &e->piece[e->n_pieces];
    fmp_status st = FMP_OK;

    if (base) {
        fmp_block_params how = *p;

        how.modelled = e->compact && !p->set_values && !p->by_one && !p->in_order;
        how.effort = e->effort;
        how.row_phase = p->row_len ? (uint32_t)(off / (p->bits / 8u) % p->row_len) : 0;
        st = fmp_piece_encode(e->scratch, &how, base, target, len, piece, err);
        if (!st && piece->close)
            st = try_plain(e, &how, base, target, len, piece, err);
        if (st || piece->head.n_bytes == 0)
            return st;
    }
    if (!base || (!e->reversible && piece->cost > 2ull * len && len >= 64))
        st = try_whole(e, p->bits, target, len, piece, !base, err);
    piece->head.object = object;
    piece->head.off = off;
    e->has_set |= base && piece->head.kind != FMP_BLOCK_RESIDUAL;
    e->n_pieces += st == FMP_OK;
    return st;
}

fmp_status fmp_encoder_add(fmp_encoder *e, const fmp_block_params *p, uint64_t object, uint64_t off,
                           const uint8_t *base, const uint8_t *target, uint32_t len, fmp_error *err)
{
    const uint32_t width = p->bits / 8u;
    const uint32_t tail = len % width; /* of a raw file: bytes that make no unit */
    const fmp_block_params bytes = {
        .bits = 8, .set_values = p->set_values, .key_shift = FMP_KEY_NONE};
    const uint32_t most = FMP_BLOCK_UNITS * width;
    uint32_t at = 0;
    fmp_status st = FMP_OK;

    while (at < len - tail && !st) {
        uint32_t n = len - tail - at;

        n = n < most ? n : most;
        n = n < FMP_BLOCK_MAX ? n : FMP_BLOCK_MAX;
        st = add_piece(e, p, object, off + at, base ? base + at : NULL, target + at, n, err);
        at += n;
    }
    if (tail && !st)
        st =
            add_piece(e, &bytes, object, off + at, base ? base + at : NULL, target + at, tail, err);
    return st;
}

fmp_status fmp_frame_out(fmp_frame_builder *f, unsigned domain, fmp_z *z, int level, bool sums,
                         fmp_buf *bytes, fmp_frame_entry *ret, fmp_error *err)
{
    const size_t start = bytes->len;
    fmp_status st;

    *ret = (fmp_frame_entry){.domain = (uint8_t)domain,
                             .first = (uint32_t)f->first.object,
                             .start = f->first.off,
                             .last = (uint32_t)f->last.object,
                             .end = f->last.off + f->last.n_bytes,
                             .n_changed = f->n_changed};
    st = fmp_frame_seal(f, z, level, sums, bytes, err);
    ret->stored = (uint32_t)(bytes->len - start);
    return st;
}

fmp_status fmp_encoder_settle(fmp_encoder *e, unsigned domain, fmp_error *err)
{
    uint64_t cost = 0;
    fmp_status st = FMP_OK;

    for (unsigned i = 0; i < e->n_pieces; i++)
        cost += e->piece[i].cost;
    if (cost < STANDALONE)
        return FMP_OK;
    for (unsigned i = 0; i < e->n_pieces && !st; i++) {
        if (!fmp_frame_takes(&e->own, &e->piece[i]))
            st = fmp_frame_out(&e->own, domain, e->z, e->level, e->sums, &e->own_bytes,
                               &e->own_entry[e->n_own++], err);
        fmp_frame_add(&e->own, &e->piece[i]);
    }
    if (!st)
        st = fmp_frame_out(&e->own, domain, e->z, e->level, e->sums, &e->own_bytes,
                           &e->own_entry[e->n_own++], err);
    e->n_pieces = 0;
    return st;
}

/* ---- payload ----------------------------------------------------------------------------------
 */

void fmp_payload_release(fmp_payload *p)
{
    fmp_frames_release(&p->frames);
    fmp_buf_release(&p->digests);
    fmp_frame_builder_release(&p->open);
    fmp_buf_release(&p->scratch);
    fmp_z_free(p->z);
    *p = (fmp_payload){0};
}

fmp_status fmp_payload_frame(fmp_payload *p, const fmp_frame_entry *entry, const uint8_t *bytes,
                             fmp_error *err)
{
    const fmp_digest d = fmp_digest_of(bytes, entry->stored);
    const fmp_status st =
        fmp_out_write(p->out, p->start + p->frames.stored, bytes, entry->stored, err);

    if (st)
        return st;
    fmp_buf_put(&p->digests, d.b, FMP_DIGEST_LEN);
    if (p->digests.bad || !fmp_frames_add(&p->frames, entry))
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "frame table: out of memory");
    return FMP_OK;
}

fmp_status fmp_payload_flush(fmp_payload *p, fmp_error *err)
{
    fmp_frame_entry entry;
    fmp_status st;

    if (!p->open.n_blocks)
        return FMP_OK;
    fmp_buf_clear(&p->scratch);
    st = fmp_frame_out(&p->open, p->domain, p->z, p->level, p->sums, &p->scratch, &entry, err);
    return st ? st : fmp_payload_frame(p, &entry, p->scratch.data, err);
}

fmp_status fmp_payload_take(fmp_payload *p, fmp_encoder *e, unsigned domain, fmp_error *err)
{
    const uint8_t *bytes = e->own_bytes.data;
    fmp_status st = FMP_OK;

    if (e->n_own || domain != p->domain)
        st = fmp_payload_flush(p, err);
    p->domain = domain;
    for (unsigned i = 0; i < e->n_own && !st; i++) {
        st = fmp_payload_frame(p, &e->own_entry[i], bytes, err);
        bytes += e->own_entry[i].stored;
    }
    for (unsigned i = 0; i < e->n_pieces && !st; i++) {
        if (!fmp_frame_takes(&p->open, &e->piece[i]))
            st = fmp_payload_flush(p, err);
        fmp_frame_add(&p->open, &e->piece[i]);
    }
    return st;
}
