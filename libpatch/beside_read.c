/*
 * Patches side by side: what each changes in a window.  See beside.h.
 */
#include "base/alloc.h"
#include "base/status.h"
#include "beside.h"
#include "codec/bits.h"
#include "codec/scan.h"

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
}

/* ---- listing ----------------------------------------------------------------------------------
 */

/* What list_*() work on: a lane, and elements [low, high) of a window that begins at element
 * `origin`. */
typedef struct lister {
    fmp_beside_slot *s;
    const fmp_lane *lane;
    uint64_t origin;
    uint32_t low, high;
    uint64_t next; /* elements below are listed, if they are new */
    bool whole;    /* the slice is the window */
    bool over;     /* too much for one slice */
} lister;

static bool reserve(lister *x, uint64_t more)
{
    fmp_beside_slot *s = x->s;
    uint32_t cap = s->cap ? s->cap : 1u << 16;
    uint32_t *at;
    uint64_t *value;
    uint8_t *way;

    if (s->n + more <= s->cap)
        return true;
    if (s->n + more > FMP_BESIDE_ENTRIES) {
        x->over = true;
        return false;
    }
    while (cap < s->n + more)
        cap *= 2;
    at = fmp_realloc(s->at, cap, sizeof *at);
    if (at)
        s->at = at;
    value = at ? fmp_realloc(s->value, cap, sizeof *value) : NULL;
    if (value)
        s->value = value;
    way = value ? fmp_realloc(s->way, cap, sizeof *way) : NULL;
    if (!way)
        return false;
    s->way = way;
    s->cap = cap;
    return true;
}

/* An element, at or behind the last one listed; room is there.  A second change of one element says
 * that its unit is narrower. */
static void put(lister *x, uint64_t element, uint64_t value, uint8_t way)
{
    fmp_beside_slot *s = x->s;
    const uint64_t at = element - x->origin;

    if (element < x->origin || at < x->low || at >= x->high)
        return;
    if (s->n > s->first[x->lane - s->lane] && s->at[s->n - 1] == at) {
        s->way[s->n - 1] = FMP_WAY_OTHER;
        return;
    }
    s->at[s->n] = (uint32_t)at;
    s->value[s->n] = value;
    s->way[s->n++] = way;
}

/* There was no room: not an error when the slice is too large. */
static fmp_status no_room(const lister *x, fmp_error *err)
{
    return x->over ? FMP_OK : no_memory(err);
}

/* New elements up to `end` that no block writes are zeros. */
static bool fill_zeros(lister *x, uint64_t end)
{
    const unsigned width = x->lane->bits / 8u;
    const uint64_t low = x->origin + x->low;
    uint64_t from = x->next;

    end = end < x->origin + x->high ? end : x->origin + x->high;
    from = from > low ? from : low;
    if (from < end && !reserve(x, end - from))
        return false;
    for (; from < end; from++)
        put(x, from, 0, from * width < x->lane->mapped ? FMP_WAY_OTHER : FMP_WAY_BITS);
    x->next = from > x->next ? from : x->next;
    return true;
}

/* A block whose units are the elements, all of the window wanted: straight into the list. */
static fmp_status list_plain(lister *x, const fmp_decoder *dec, const fmp_block *b, fmp_error *err)
{
    fmp_beside_slot *s = x->s;
    const uint32_t n = fmp_block_values(b);
    const uint32_t first = (uint32_t)(b->off / (b->bits / 8u) - x->origin);
    uint64_t *value;
    uint32_t *at;
    fmp_status st;

    if (!reserve(x, n))
        return no_room(x, err);
    value = s->value + s->n;
    at = s->at + s->n;
    st = fmp_block_list(b, &dec->frame.streams, s->scratch, value, err);
    if (st)
        return st;
    memset(s->way + s->n, b->kind == FMP_BLOCK_RESIDUAL ? FMP_WAY_STEP : FMP_WAY_BITS, n);
    if (b->kind == FMP_BLOCK_RESIDUAL && b->pos == FMP_POS_FULL) {
        uint32_t kept = 0;

        for (uint32_t i = 0; i < n; i++) {
            at[kept] = first + i;
            value[kept] = value[i];
            kept += value[i] != 0;
        }
        s->n += kept;
        return FMP_OK;
    }
    for (uint32_t i = 0; i < n; i++)
        at[i] = first + s->scratch->idx[i];
    s->n += n;
    return FMP_OK;
}

/* Units of any width, as the elements in which they lie. */
static fmp_status list_units(lister *x, const fmp_decoder *dec, const fmp_block *b, fmp_error *err)
{
    fmp_beside_slot *s = x->s;
    const unsigned unit = b->bits / 8u;
    const unsigned width = x->lane->bits / 8u;
    const bool step = b->kind == FMP_BLOCK_RESIDUAL;
    const bool exact = unit == width && b->off % width == 0 &&
                       (!step || b->sign_magnitude == x->lane->sign_magnitude);
    const uint32_t n = fmp_block_values(b);
    fmp_status st = fmp_block_list(b, &dec->frame.streams, s->scratch, s->values, err);

    for (uint32_t i = 0; i < n && !st; i++) {
        const uint64_t from = b->off + (uint64_t)s->scratch->idx[i] * unit;

        if (step && !s->values[i])
            continue;
        if (from / width >= x->origin + x->high)
            break;
        if (s->n + unit > s->cap && !reserve(x, unit))
            return no_room(x, err);
        for (uint64_t e = from / width; e * width < from + unit; e++)
            put(x, e, s->values[i], !exact ? FMP_WAY_OTHER : step ? FMP_WAY_STEP : FMP_WAY_BITS);
    }
    return st;
}

static fmp_status list_content(lister *x, const fmp_decoder *dec, const fmp_block *b,
                               fmp_error *err)
{
    fmp_beside_slot *s = x->s;
    const unsigned width = x->lane->bits / 8u;
    const uint64_t end = b->off + b->n_bytes;
    uint64_t e = b->off / width;
    fmp_status st;

    if (e < x->origin + x->low)
        e = x->origin + x->low;
    if (e >= x->origin + x->high || e * width >= end)
        return FMP_OK;
    st = fmp_block_apply(b, &dec->frame.streams, s->bytes, FMP_FORWARD, s->scratch, NULL, err);
    if (st)
        return st;
    if (!reserve(x, x->origin + x->high - e))
        return no_room(x, err);
    for (; e * width < end && e < x->origin + x->high; e++) {
        const uint64_t from = e * width;
        const uint64_t left = x->lane->n_bytes - from;
        const unsigned size = left < width ? (unsigned)left : width;

        if (from < b->off || from + size > end)
            put(x, e, 0, FMP_WAY_OTHER);
        else
            put(x, e, fmp_load_le(s->bytes + (from - b->off), size), FMP_WAY_BITS);
    }
    return FMP_OK;
}

static fmp_status list_block(void *ctx, fmp_decoder *dec, const fmp_block *b, fmp_error *err)
{
    lister *x = ctx;
    const unsigned width = x->lane->bits / 8u;
    const bool isnew = b->off >= x->lane->mapped;
    fmp_status st;

    if (x->over)
        return FMP_OK;
    if (isnew && !fill_zeros(x, b->off / width))
        return no_room(x, err);
    if (b->kind >= FMP_BLOCK_WHOLE)
        st = list_content(x, dec, b, err);
    else if (x->whole && b->bits == x->lane->bits && b->off % width == 0 &&
             (b->kind == FMP_BLOCK_SET || b->sign_magnitude == x->lane->sign_magnitude))
        st = list_plain(x, dec, b, err);
    else
        st = list_units(x, dec, b, err);
    if (isnew)
        x->next = (b->off + b->n_bytes + width - 1) / width;
    return st;
}

/* All elements that the slice has of a tensor made of other bytes. */
static fmp_status list_elsewhere(lister *x, fmp_error *err)
{
    const unsigned width = x->lane->bits / 8u;
    const uint64_t all = x->lane->n_bytes / width + (x->lane->n_bytes % width != 0);
    uint64_t e = x->origin + x->low;

    if (e < all && !reserve(x, x->high - x->low))
        return no_room(x, err);
    for (; e < all && e < x->origin + x->high; e++)
        put(x, e, 0, FMP_WAY_OTHER);
    return FMP_OK;
}

/* Blocks of the leaves in which elements [low, high) of a window lie. */
static fmp_status list_lane(const fmp_beside *b, uint32_t i, lister *x, fmp_error *err)
{
    const fmp_lane *l = x->lane;
    const unsigned width = l->bits / 8u;
    const uint64_t from = (x->origin + x->low) * width;
    const uint64_t end =
        (x->origin + x->high) * width < l->n_bytes ? (x->origin + x->high) * width : l->n_bytes;
    fmp_status st = FMP_OK;

    if (l->elsewhere)
        return list_elsewhere(x, err);
    x->next = l->mapped / width;
    if (from > l->mapped)
        x->next = from / width;
    for (uint64_t off = from - from % FMP_LEAF_LEN; off < end && !st && !x->over;
         off += FMP_LEAF_LEN)
        st = fmp_decoder_each(
            &x->s->dec[i], b->p[i], FMP_DOMAIN_TENSORS, l->object, off,
            (uint32_t)(l->n_bytes - off < FMP_LEAF_LEN ? l->n_bytes - off : FMP_LEAF_LEN),
            list_block, x, err);
    if (!st && !x->over && end > l->mapped && !fill_zeros(x, (end + width - 1) / width))
        st = no_room(x, err);
    return st;
}

/* ---- running ----------------------------------------------------------------------------------
 */

/* One window, as a whole or, when that is too much at a time, in slices. */
static fmp_status run_window(const fmp_beside *b, fmp_beside_slot *s, uint32_t tensor,
                             uint64_t origin, uint32_t len, fmp_slice_fn fn, void *ctx,
                             fmp_error *err)
{
    uint32_t span = len;
    fmp_status st = FMP_OK;

    for (uint32_t low = 0; low < len && !st;) {
        lister x = {.s = s, .origin = origin, .low = low};

        x.high = span < len - low ? low + span : len;
        x.whole = span == len;
        s->n = 0;
        for (uint32_t i = 0; i < b->n && !st && !x.over; i++) {
            s->first[i] = s->n;
            x.lane = &s->lane[i];
            if (x.lane->changes)
                st = list_lane(b, i, &x, err);
        }
        s->first[b->n] = s->n;
        if (st)
            return st;
        if (x.over) {
            span /= 2;
            continue;
        }
        st = fn(ctx, tensor, s, err);
        low = x.high;
    }
    return st;
}

fmp_status fmp_beside_run(fmp_beside *b, uint64_t item, unsigned slot, fmp_slice_fn fn, void *ctx,
                          fmp_error *err)
{
    const fmp_beside_item *end = &b->item[item + 1];
    fmp_beside_slot *s = &b->slot[slot];
    uint32_t tensor = b->item[item].tensor;
    uint64_t window = b->item[item].window;

    while (tensor < end->tensor || (tensor == end->tensor && window < end->window)) {
        fmp_status st = fmp_beside_enter(b, s, tensor, err);
        uint64_t len, n;

        if (st)
            return st;
        len = fmp_beside_window(s->lane, b->n, &n);
        if (window >= n) {
            tensor++;
            window = 0;
            continue;
        }
        st = run_window(b, s, tensor, window * len, (uint32_t)len, fn, ctx, err);
        if (st)
            return st;
        window++;
    }
    return FMP_OK;
}
