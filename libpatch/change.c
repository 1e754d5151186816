/*
 * Blocks of several patches added up.  See change.h.
 *
 * In a mixed window each byte has a code: 0, nothing is known of it but that it is the base's; NEW;
 * or the unit whose residual it is a part of, and its place in that unit.
 */
#include "change.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "codec/bits.h"
#include "codec/residual.h"
#include "codec/scan.h"

enum { NOTHING = 0, NEW = 1, FIRST_UNIT = 2 };

/* A unit as mixed windows tell it. */
typedef struct unit {
    unsigned log_width;
    bool sign_magnitude;
} unit;

static unsigned width_of(unit u)
{
    return 1u << u.log_width;
}

static uint8_t code_of(unit u, unsigned place)
{
    return (uint8_t)(FIRST_UNIT + (u.log_width | (u.sign_magnitude ? 4u : 0) | place << 3));
}

static unit unit_of_code(uint8_t code)
{
    return (unit){.log_width = (code - FIRST_UNIT) & 3, .sign_magnitude = (code - FIRST_UNIT) & 4};
}

static unsigned place_of_code(uint8_t code)
{
    return (unsigned)(code - FIRST_UNIT) >> 3;
}

static unit unit_of(unsigned bits, bool sign_magnitude)
{
    return (unit){.log_width = bits == 8    ? 0
                               : bits == 16 ? 1
                               : bits == 32 ? 2
                                            : 3,
                  .sign_magnitude = sign_magnitude};
}

/* ---- windows ----------------------------------------------------------------------------------
 */

fmp_status fmp_change_init(fmp_change *c, fmp_error *err)
{
    *c = (fmp_change){0};
    c->sums = fmp_calloc(FMP_LEAF_LEN, 1);
    c->content = fmp_calloc(FMP_LEAF_LEN, 1);
    c->how = fmp_malloc(FMP_LEAF_LEN);
    c->spare = fmp_malloc(FMP_LEAF_LEN);
    c->zeros = fmp_calloc(FMP_LEAF_LEN, 1);
    c->values = fmp_calloc(FMP_BLOCK_UNITS, sizeof *c->values);
    if (c->sums && c->content && c->how && c->spare && c->zeros && c->values)
        return FMP_OK;
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
}

void fmp_change_release(fmp_change *c)
{
    fmp_free(c->sums);
    fmp_free(c->content);
    fmp_free(c->how);
    fmp_free(c->spare);
    fmp_free(c->zeros);
    fmp_free(c->values);
    *c = (fmp_change){0};
}

void fmp_change_begin(fmp_change *c, uint64_t off, uint32_t len, uint32_t mapped)
{
    c->off = off;
    c->len = len;
    c->mapped = mapped;
    c->touched = false;
    c->bits = 0;
    memset(c->sums, 0, c->dirty);
    c->dirty = 0;
    c->mode = mapped == len ? FMP_CHANGE_SUMS : mapped ? FMP_CHANGE_MIXED : FMP_CHANGE_CONTENT;
    if (c->mode == FMP_CHANGE_SUMS)
        return;
    memset(c->content + mapped, 0, len - mapped);
    memset(c->how, NOTHING, mapped);
    memset(c->how + mapped, NEW, len - mapped);
}

/* ---- adding -----------------------------------------------------------------------------------
 */

static fmp_status needs_base(const fmp_change *c, uint32_t at, fmp_error *err)
{
    return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                    "the patches disagree about the units at byte %llu: to combine them needs the "
                    "base",
                    (unsigned long long)(c->off + at));
}

static void mark(fmp_change *c, uint32_t x, unit u)
{
    for (unsigned k = 0; k < width_of(u); k++)
        c->how[x + k] = code_of(u, k);
}

/* From sums of one unit to byte by byte. */
static void spread(fmp_change *c)
{
    const unit u = unit_of(c->bits ? c->bits : 8, c->sign_magnitude);
    const unsigned w = width_of(u);

    if (c->mode == FMP_CHANGE_SUMS) {
        memset(c->how, NOTHING, c->len);
        for (uint32_t x = 0; c->bits && x + w <= c->len; x += w) {
            if (fmp_load_le(c->sums + x, w))
                mark(c, x, u);
        }
    }
    c->mode = FMP_CHANGE_MIXED;
}

/* Bytes [from, end) of the window are new, whatever they were. */
static fmp_status put_new(fmp_change *c, uint32_t from, uint32_t end, const uint8_t *bytes,
                          fmp_error *err)
{
    const uint8_t first = c->how[from];
    const uint8_t last = c->how[end - 1];

    if (first >= FIRST_UNIT && place_of_code(first))
        return needs_base(c, from, err);
    if (last >= FIRST_UNIT && place_of_code(last) + 1 < width_of(unit_of_code(last)))
        return needs_base(c, end, err);
    memset(c->how + from, NEW, end - from);
    memset(c->sums + from, 0, end - from);
    memcpy(c->content + from, bytes, end - from);
    return FMP_OK;
}

/* What a unit of the window is: all new, all sums of this unit (or nothing), or neither. */
typedef enum meeting { MEETS_NEW, MEETS_SUM, MEETS_OTHERS } meeting;

static meeting meet(const fmp_change *c, uint32_t x, unit u)
{
    unsigned n_new = 0;
    unsigned n_sum = 0;

    for (unsigned k = 0; k < width_of(u); k++) {
        const uint8_t how = c->how[x + k];

        n_new += how == NEW;
        n_sum += how == NOTHING || how == code_of(u, k);
    }
    return n_new == width_of(u) ? MEETS_NEW : n_sum == width_of(u) ? MEETS_SUM : MEETS_OTHERS;
}

static fmp_status put_residual(fmp_change *c, uint32_t x, unit u, uint64_t z, int direction,
                               fmp_error *err)
{
    const unsigned w = width_of(u);
    const unsigned bits = 8 * w;
    const bool sm = u.sign_magnitude;
    const meeting what = meet(c, x, u);
    uint8_t *p = (what == MEETS_NEW ? c->content : c->sums) + x;
    const uint64_t before = fmp_load_le(p, w);
    uint64_t sum;

    if (what == MEETS_OTHERS)
        return needs_base(c, x, err);
    if (what == MEETS_NEW) {
        fmp_store_le(p,
                     direction == FMP_FORWARD ? fmp_residual_add(before, z, bits, sm)
                                              : fmp_residual_subtract(before, z, bits, sm),
                     w);
        return FMP_OK;
    }
    sum = direction == FMP_FORWARD ? fmp_residual_add(before, z, bits, false)
                                   : fmp_residual_subtract(before, z, bits, false);
    fmp_store_le(p, sum, w);
    if (sum)
        mark(c, x, u);
    else
        memset(c->how + x, NOTHING, w);
    return FMP_OK;
}

/* New content of a whole block, clipped. */
static fmp_status add_whole(fmp_change *c, const fmp_block *b, const fmp_streams *s, int64_t at,
                            uint32_t clip, fmp_scratch *scratch, fmp_error *err)
{
    const int64_t from = at > 0 ? at : 0;
    const int64_t end = at + b->n_bytes < clip ? at + b->n_bytes : clip;
    const fmp_status st = fmp_block_apply(b, s, c->spare, FMP_FORWARD, scratch, NULL, err);

    if (st || from >= end)
        return st;
    return put_new(c, (uint32_t)from, (uint32_t)end, c->spare + (from - at), err);
}

static fmp_status add_units(fmp_change *c, const fmp_block *b, const fmp_streams *s, int64_t at,
                            uint32_t clip, int direction, fmp_scratch *scratch, fmp_error *err)
{
    const unit u = unit_of(b->bits, b->sign_magnitude);
    const unsigned w = width_of(u);
    const uint32_t n = fmp_block_values(b);
    fmp_status st = fmp_block_list(b, s, scratch, c->values, err);

    for (uint32_t i = 0; i < n && !st; i++) {
        const int64_t x = at + (int64_t)scratch->idx[i] * w;
        uint8_t bytes[8];

        if (x + w <= 0 || x >= clip || (b->kind == FMP_BLOCK_RESIDUAL && !c->values[i]))
            continue;
        if (x < 0 || x + w > clip)
            return needs_base(c, x < 0 ? 0 : clip, err);
        if (b->kind == FMP_BLOCK_RESIDUAL) {
            st = put_residual(c, (uint32_t)x, u, c->values[i], direction, err);
        } else {
            fmp_store_le(bytes, c->values[i], w);
            st = put_new(c, (uint32_t)x, (uint32_t)x + w, bytes, err);
        }
    }
    return st;
}

fmp_status fmp_change_add(fmp_change *c, const fmp_block *b, const fmp_streams *s, int64_t at,
                          uint32_t clip, int direction, fmp_scratch *scratch, fmp_error *err)
{
    const bool inside = at >= 0 && at + b->n_bytes <= clip;
    const bool whole = b->kind >= FMP_BLOCK_WHOLE;
    fmp_block sum = *b;

    if (whole && direction == FMP_BACKWARD)
        return FMP_OK;
    c->touched = true;
    if (c->mode == FMP_CHANGE_CONTENT && inside)
        return fmp_block_apply(b, s, c->content + at, direction, scratch, NULL, err);
    if (c->mode == FMP_CHANGE_SUMS && inside && b->kind == FMP_BLOCK_RESIDUAL &&
        at % (b->bits / 8) == 0 &&
        (!c->bits || (c->bits == b->bits && c->sign_magnitude == b->sign_magnitude))) {
        c->bits = b->bits;
        c->sign_magnitude = b->sign_magnitude;
        c->dirty = c->len;
        sum.sign_magnitude = false; /* sums are in order already */
        return fmp_block_apply(&sum, s, c->sums + at, direction, scratch, NULL, err);
    }
    spread(c);
    c->dirty = c->len;
    return whole ? add_whole(c, b, s, at, clip, scratch, err)
                 : add_units(c, b, s, at, clip, direction, scratch, err);
}

/* ---- coding -----------------------------------------------------------------------------------
 */

/* The end of a stretch of new bytes that begins at `from`, and whether all its runs are made of
 * units of `w` bytes. */
static uint32_t end_of_new(const fmp_change *c, uint32_t from, unsigned w, bool *ret_in_units)
{
    uint32_t end = from;

    *ret_in_units = (c->off + from) % w == 0;
    for (uint32_t x = from; x < c->mapped && c->how[x] <= NEW;) {
        uint32_t run = x;

        while (run < c->mapped && c->how[run] == c->how[x])
            run++;
        if (c->how[x] == NEW) {
            *ret_in_units &= (x - from) % w == 0 && (run - x) % w == 0;
            end = run;
        }
        x = run;
    }
    return end;
}

/* The end of a stretch of residuals of one unit, all in step with the first. */
static uint32_t end_of_sums(const fmp_change *c, uint32_t from, unit u)
{
    const unsigned w = width_of(u);
    uint32_t end = from;

    for (uint32_t x = from; x < c->mapped;) {
        if (c->how[x] == NOTHING) {
            x++;
            continue;
        }
        if (c->how[x] != code_of(u, 0) || (x - from) % w)
            break;
        x += w;
        end = x;
    }
    return end;
}

static fmp_status encode_new(fmp_change *c, fmp_encoder *e, const fmp_block_params *p,
                             uint64_t object, uint32_t *at, fmp_error *err)
{
    const uint32_t from = *at;
    fmp_block_params how = {.bits = p->bits, .set_values = true};
    bool in_units;
    uint32_t len;

    *at = end_of_new(c, from, p->bits / 8u, &in_units);
    len = *at - from;
    if (!in_units)
        how.bits = 8;
    for (uint32_t x = 0; x < len; x++) /* a base that differs in the new bytes and nowhere else */
        c->spare[x] = c->content[from + x] ^ (c->how[from + x] == NEW ? 0xff : 0);
    return fmp_encoder_add(e, &how, object, c->off + from, c->spare, c->content + from, len, err);
}

static fmp_status encode_mixed(fmp_change *c, fmp_encoder *e, const fmp_block_params *p,
                               uint64_t object, uint32_t *at, fmp_error *err)
{
    uint32_t from = *at;
    unit u;

    if (from < c->mapped) {
        while (from < c->mapped && c->how[from] == NOTHING)
            from++;
        *at = from;
    }
    if (from == c->len)
        return FMP_OK;
    if (from >= c->mapped) { /* behind the base's bytes all is new */
        *at = c->len;
        return fmp_encoder_add(e, p, object, c->off + from, NULL, c->content + from, c->len - from,
                               err);
    }
    if (c->how[from] == NEW)
        return encode_new(c, e, p, object, at, err);
    u = unit_of_code(c->how[from]);
    *at = end_of_sums(c, from, u);
    return fmp_encoder_add(e,
                           &(fmp_block_params){.bits = (uint8_t)(8 * width_of(u)),
                                               .sign_magnitude = u.sign_magnitude,
                                               .in_order = true},
                           object, c->off + from, c->zeros, c->sums + from, *at - from, err);
}

/* A mixed window that turned out to hold residuals of one unit only is coded as one of sums, for
 * what comes out must not depend on how the sum came about. */
static void settle(fmp_change *c)
{
    unit u = {0};
    bool any = false;

    if (c->mapped < c->len)
        return;
    for (uint32_t x = 0; x < c->len;) {
        if (c->how[x] == NOTHING) {
            x++;
            continue;
        }
        if (!any && c->how[x] >= FIRST_UNIT)
            u = unit_of_code(c->how[x]);
        any = true;
        if (c->how[x] != code_of(u, 0) || x % width_of(u))
            return;
        x += width_of(u);
    }
    c->mode = FMP_CHANGE_SUMS;
    c->bits = any ? (uint8_t)(8 * width_of(u)) : 0;
    c->sign_magnitude = u.sign_magnitude;
}

fmp_status fmp_change_encode(fmp_change *c, fmp_encoder *e, const fmp_block_params *p,
                             uint64_t object, uint32_t *at, fmp_error *err)
{
    if (c->mode == FMP_CHANGE_MIXED && *at == 0)
        settle(c);
    if (c->mode == FMP_CHANGE_MIXED)
        return encode_mixed(c, e, p, object, at, err);
    *at = c->len;
    if (c->mode == FMP_CHANGE_CONTENT)
        return fmp_encoder_add(e, p, object, c->off, NULL, c->content, c->len, err);
    if (!c->bits)
        return FMP_OK;
    return fmp_encoder_add(
        e,
        &(fmp_block_params){.bits = c->bits, .sign_magnitude = c->sign_magnitude, .in_order = true},
        object, c->off, c->zeros, c->sums, c->len, err);
}
