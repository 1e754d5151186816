/*
 * Coding one block: find what changed, choose the cheapest coders, write their streams.  See
 * block.h.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/status.h"
#include "codec/bits.h"
#include "codec/block.h"
#include "codec/model.h"
#include "codec/positions.h"
#include "codec/scan.h"
#include "codec/values.h"

fmp_scratch *fmp_scratch_new(void)
{
    fmp_scratch *s = fmp_malloc(sizeof *s);

    if (s)
        s->kernels = fmp_kernels_for(fmp_cpu_features());
    return s;
}

void fmp_scratch_free(fmp_scratch *s)
{
    fmp_free(s);
}

void fmp_piece_release(fmp_piece *piece)
{
    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++)
        fmp_buf_release(&piece->stream[s]);
}

static void piece_clear(fmp_piece *piece)
{
    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++)
        fmp_buf_clear(&piece->stream[s]);
    piece->head = (fmp_block){.bits = 8};
    piece->cost = 0;
    piece->close = false;
    piece->sum_before = piece->sum_after = 0;
}

static fmp_status piece_check(const fmp_piece *piece, fmp_error *err)
{
    for (unsigned s = 0; s < FMP_STREAM_COUNT; s++) {
        if (piece->stream[s].bad)
            return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "encoding a block: out of memory");
    }
    return FMP_OK;
}

static bool put_planes(fmp_piece *piece, const uint8_t *packed, uint32_t n)
{
    uint8_t *planes[8] = {NULL};
    const unsigned width = piece->head.bits / 8;

    for (unsigned k = 0; k < width; k++) {
        planes[k] = fmp_buf_reserve(&piece->stream[FMP_STREAM_PLANES + k], n);
        if (!planes[k])
            return false;
    }
    fmp_planes_split(packed, n, width, planes);
    for (unsigned k = 0; k < width; k++)
        piece->stream[FMP_STREAM_PLANES + k].len += n;
    return true;
}

fmp_status fmp_piece_whole(const void *target, uint32_t n_bytes, unsigned bits, bool planes,
                           fmp_piece *piece, fmp_error *err)
{
    piece_clear(piece);
    piece->head.kind = planes ? FMP_BLOCK_WHOLE_PLANES : FMP_BLOCK_WHOLE;
    piece->head.n_bytes = n_bytes;
    piece->head.bits = (uint8_t)bits;
    piece->cost = 8ull * n_bytes;
    piece->n_changed = n_bytes / (bits / 8);
    if (planes)
        put_planes(piece, target, n_bytes / (bits / 8));
    else
        fmp_buf_put(&piece->stream[FMP_STREAM_BYTES], target, n_bytes);
    return piece_check(piece, err);
}

/* The plan for one block: which list of units, and which of its codings. */
typedef struct plan {
    const uint8_t *base, *target;
    uint32_t n_units, n_changed;
    const uint32_t *list; /* what the positions list */
    uint32_t n_list;
    fmp_value_cost cost;
} plan;

static void choose(fmp_scratch *s, const fmp_block_params *p, plan *pl, fmp_piece *piece)
{
    fmp_block *head = &piece->head;
    uint64_t sparse;

    head->complement = pl->n_changed > pl->n_units / 2;
    pl->list = head->complement ? s->other : s->idx;
    pl->n_list = head->complement ? fmp_scan_others(s->idx, pl->n_changed, pl->n_units, s->other)
                                  : pl->n_changed;
    sparse = fmp_positions_choose(head, pl->list, pl->n_list, pl->n_units);
    if (p->set_values) {
        piece->cost = sparse + (uint64_t)pl->n_changed * p->bits;
        return;
    }
    if (p->by_one) /* one token over and over, which costs nothing; full has another one */
        pl->cost =
            (fmp_value_cost){.full = pl->n_changed < pl->n_units ? UINT64_MAX : 0, .full_class = 1};
    else
        fmp_values_cost(s->residual, pl->n_changed, pl->n_units, p->bits, &s->palette, &pl->cost);
    head->value_class = pl->cost.sparse_class;
    head->sign_apart = pl->cost.sign_apart || pl->cost.palette; /* with class 3: a palette */
    sparse += pl->cost.sparse;
    piece->cost = sparse;
    if (pl->cost.full <= sparse) {
        piece->cost = pl->cost.full;
        head->value_class = pl->cost.full_class;
        head->pos = FMP_POS_FULL;
        head->complement = head->sign_apart = false;
        head->shift = head->gap_class = 0;
        pl->n_list = pl->n_units;
    }
    if (head->pos != FMP_POS_RUNS)
        head->n_runs = 0;
}

static bool write_streams(fmp_scratch *s, const fmp_block_params *p, const plan *pl,
                          fmp_piece *piece)
{
    fmp_block *head = &piece->head;
    const bool full = head->pos == FMP_POS_FULL;
    const uint32_t n_values = full ? pl->n_units : pl->n_changed;
    fmp_buf *bits = &piece->stream[FMP_STREAM_BITS];
    fmp_buf *values = &piece->stream[FMP_STREAM_VALUES + head->value_class];
    fmp_bit_writer w = {0};
    uint64_t most = full ? 0 : fmp_positions_bits(head, pl->list, pl->n_list);

    most += p->set_values ? 0 : full ? pl->cost.extra_full : pl->cost.extra_sparse;
    w.at = fmp_buf_reserve(bits, (size_t)(most / 8) + 16);
    if (!w.at)
        return false;
    fmp_positions_write(head, pl->list, pl->n_list, pl->n_units, &piece->stream[FMP_STREAM_BITMAP],
                        &piece->stream[FMP_STREAM_GAPS + head->gap_class], &w);
    if (p->set_values) {
        if (!put_planes(piece, s->after, n_values))
            return false;
    } else {
        uint8_t *tokens = fmp_buf_reserve(values, n_values);

        if (!tokens)
            return false;
        if (full)
            fmp_residuals(pl->base, pl->target, n_values, p->bits, p->sign_magnitude, s->residual);
        fmp_values_write(s->residual, n_values,
                         full               ? FMP_VALUES_FULL
                         : pl->cost.palette ? FMP_VALUES_PALETTE
                         : head->sign_apart ? FMP_VALUES_APART
                                            : FMP_VALUES_SPARSE,
                         p->bits, &s->palette, tokens, &w);
        values->len += n_values;
    }
    fmp_bits_flush(&w);
    bits->len = (size_t)(w.at - bits->data);
    head->bits_len = (uint32_t)bits->len;
    return true;
}

/* In place of the coding that was chosen, where that is smaller. */
static bool try_model(fmp_scratch *s, const fmp_block_params *p, plan *pl, fmp_piece *piece)
{
    const fmp_block chosen = piece->head;
    const uint64_t cost = piece->cost;
    const uint64_t raw = chosen.pos == FMP_POS_FULL ? pl->cost.extra_full : pl->cost.extra_sparse;
    const uint64_t margin = cost > raw ? (cost - raw) / 8 : 0; /* of the estimate of tokens */

    if (cost > 8ull * chosen.n_bytes - chosen.n_bytes / 2)
        return false; /* noise */

    piece->head = (fmp_block){.n_bytes = chosen.n_bytes,
                              .bits = chosen.bits,
                              .sign_magnitude = chosen.sign_magnitude,
                              .n_set = pl->n_changed};
    if (fmp_model_encode(s, p, pl->base, pl->target, pl->n_changed, cost + margin, piece)) {
        piece->close = piece->cost > cost - margin;
        return true;
    }
    piece->head = chosen;
    piece->cost = cost;
    if (chosen.complement) /* the list has been overwritten */
        fmp_scan_others(s->idx, pl->n_changed, pl->n_units, s->other);
    return false;
}

static uint64_t sum_of(const uint8_t *data, size_t len)
{
    fmp_xxh x;

    fmp_xxh_init(&x);
    fmp_xxh_update(&x, data, len);
    return fmp_xxh_final(&x);
}

fmp_status fmp_piece_encode(fmp_scratch *s, const fmp_block_params *params, const void *base,
                            const void *target, uint32_t n_bytes, fmp_piece *piece, fmp_error *err)
{
    fmp_block_params how = *params; /* how base and target are to be read */
    const fmp_block_params *p = &how;
    const unsigned width = p->bits / 8u;
    plan pl = {.base = how.in_order ? NULL : base, .target = target, .n_units = n_bytes / width};
    fmp_block *head = &piece->head;
    bool modelled;
    size_t touched;

    piece_clear(piece);
    head->bits = p->bits;
    head->sign_magnitude = p->sign_magnitude && !p->set_values;
    head->kind = p->set_values ? FMP_BLOCK_SET : FMP_BLOCK_RESIDUAL;
    how.sign_magnitude &= !how.in_order;
    pl.n_changed =
        s->kernels->changed(pl.base, target, pl.n_units, p->bits,
                            &(fmp_changed){.idx = s->idx, .before = s->before, .after = s->after});
    if (!pl.n_changed)
        return FMP_OK;
    if (!p->set_values)
        fmp_residuals(s->before, s->after, pl.n_changed, p->bits, p->sign_magnitude, s->residual);
    head->n_bytes = n_bytes;
    piece->n_changed = pl.n_changed;
    choose(s, p, &pl, piece);
    head->n_set = pl.n_list;
    modelled = p->modelled && try_model(s, p, &pl, piece);
    touched = (size_t)pl.n_changed * width;
    if (p->in_order) {
        ; /* the units themselves, of which the sums would be, nobody knows */
    } else if (head->pos == FMP_POS_FULL) {
        piece->sum_before = sum_of(base, n_bytes);
        piece->sum_after = sum_of(target, n_bytes);
    } else {
        piece->sum_before = sum_of(s->before, touched);
        piece->sum_after = sum_of(s->after, touched);
    }
    if (!modelled)
        write_streams(s, p, &pl, piece);
    return piece_check(piece, err);
}
