/*
 * Heads of blocks, and undoing their coding.  See block.h.
 */
#include "codec/block.h"

#include <string.h>

#include "base/digest.h"
#include "base/status.h"
#include "codec/bits.h"
#include "codec/model.h"
#include "codec/model_head.h"
#include "codec/positions.h"
#include "codec/residual.h"
#include "codec/scan.h"
#include "codec/values.h"

uint32_t fmp_block_values(const fmp_block *b)
{
    if (b->kind >= FMP_BLOCK_WHOLE || b->pos == FMP_POS_FULL)
        return fmp_block_units(b);
    return b->complement ? fmp_block_units(b) - b->n_set : b->n_set;
}

size_t fmp_block_share(const fmp_block *b, unsigned s)
{
    if (s == FMP_STREAM_BITS)
        return b->bits_len;
    if (s == FMP_STREAM_BITMAP)
        return b->pos == FMP_POS_BITMAP ? (fmp_block_units(b) + 7u) / 8 : 0;
    if (s == FMP_STREAM_BYTES)
        return b->kind == FMP_BLOCK_WHOLE ? b->n_bytes : 0;
    if (s == FMP_STREAM_CODED)
        return fmp_block_is_modelled(b) ? b->coded_len : 0;
    if (s >= FMP_STREAM_PLANES)
        return (b->kind == FMP_BLOCK_SET || b->kind == FMP_BLOCK_WHOLE_PLANES) &&
                       s - FMP_STREAM_PLANES < b->bits / 8u
                   ? fmp_block_values(b)
                   : 0;
    if (s == FMP_STREAM_GAPS + (unsigned)b->gap_class)
        return b->pos == FMP_POS_RUNS                              ? 2 * (size_t)b->n_runs
               : b->pos == FMP_POS_GAPS || b->pos == FMP_POS_SPLIT ? b->n_set
                                                                   : 0;
    if (s == FMP_STREAM_VALUES + (unsigned)b->value_class)
        return b->kind == FMP_BLOCK_RESIDUAL && !fmp_block_is_modelled(b) ? fmp_block_values(b) : 0;
    return 0;
}

/* ---- heads ------------------------------------------------------------------------------------
 */

/*
 * byte 0: kind (bits 0-1), positions (2-4; 7: all but place and counts as in the block before),
 *         complement (5; with 7: the bit stream is as long as expected), other object than the
 * block before (6), a gap before it (7) byte 1: log2 of the unit's bytes (0-1), sign-magnitude (2),
 * gap class (3-4), value class (5-6), sign apart (7)
 */
enum { AS_BEFORE = 7, AS_EXPECTED = 32, MOVED = 64, GAP = 128 };

static bool looks_like(const fmp_block *b, const fmp_block *before)
{
    return b->kind == before->kind && b->pos == before->pos &&
           b->complement == before->complement && b->bits == before->bits &&
           b->sign_magnitude == before->sign_magnitude && b->gap_class == before->gap_class &&
           b->value_class == before->value_class && b->sign_apart == before->sign_apart &&
           b->n_bytes == before->n_bytes && b->shift == before->shift;
}

/* Bytes of the bit stream if no token has extra bits; what a head stores is the difference. */
static uint32_t expected_bits(const fmp_block *b)
{
    uint64_t n = b->sign_apart && !fmp_block_has_palette(b) ? fmp_block_values(b) : 0;

    if (b->pos == FMP_POS_SPLIT)
        n += (uint64_t)b->n_set * b->shift;
    if (b->pos == FMP_POS_RICE)
        n += (uint64_t)b->n_set * (b->shift + 1u);
    return (uint32_t)((n + 7) / 8);
}

static bool has_bits(const fmp_block *b)
{
    return b->kind == FMP_BLOCK_RESIDUAL || (b->kind == FMP_BLOCK_SET && b->pos != FMP_POS_BITMAP);
}

static uint64_t zigzag32(uint32_t now, uint32_t before)
{
    return fmp_zigzag(now - (uint64_t)before, 64);
}

/* False when the sum is no 32-bit number. */
static bool unzigzag32(uint64_t z, uint32_t before, uint32_t *ret)
{
    const uint64_t v = before + fmp_unzigzag(z, 64);

    *ret = (uint32_t)v;
    return v <= UINT32_MAX;
}

/* What bit 5 of a short head says. */
static bool is_as_expected(const fmp_block *b, const fmp_block *before)
{
    return fmp_block_is_modelled(b) ? fmp_model_head_equal(&b->model, &before->model)
                                    : has_bits(b) && b->bits_len == expected_bits(b);
}

void fmp_block_put_head(const fmp_block *b, const fmp_block *before, fmp_buf *heads,
                        fmp_buf *counts)
{
    const bool moved = !before || b->object != before->object;
    const uint64_t expected = moved ? 0 : before->off + before->n_bytes;
    const unsigned place = (moved ? MOVED : 0u) | (b->off != expected ? GAP : 0u);
    const unsigned log_width = b->bits == 8 ? 0 : b->bits == 16 ? 1 : b->bits == 32 ? 2 : 3;
    const bool alike = before && looks_like(b, before);
    const bool exact = alike && is_as_expected(b, before);

    fmp_buf_put_le(heads,
                   alike ? AS_BEFORE << 2 | (exact ? AS_EXPECTED : 0u) | place
                         : b->kind | (unsigned)b->pos << 2 | (b->complement ? 32u : 0) | place,
                   1);
    if (!alike)
        fmp_buf_put_le(heads,
                       log_width | (b->sign_magnitude ? 4u : 0) | (unsigned)b->gap_class << 3 |
                           (unsigned)b->value_class << 5 | (b->sign_apart ? 128u : 0),
                       1);
    if (moved)
        fmp_buf_put_varint(heads, before ? b->object - before->object : b->object);
    if (b->off != expected)
        fmp_buf_put_varint(heads, b->off - expected);
    if (!alike)
        fmp_buf_put_varint(heads, b->n_bytes);
    if (b->kind >= FMP_BLOCK_WHOLE)
        return;
    if (!alike && (b->pos == FMP_POS_SPLIT || b->pos == FMP_POS_RICE))
        fmp_buf_put_le(heads, b->shift, 1);
    if (b->pos != FMP_POS_FULL)
        fmp_buf_put_varint(counts, alike ? zigzag32(b->n_set, before->n_set) : b->n_set);
    if (b->pos == FMP_POS_RUNS)
        fmp_buf_put_varint(counts, b->n_runs);
    if (fmp_block_is_modelled(b)) {
        if (!exact)
            fmp_model_head_put(&b->model, heads);
        fmp_buf_put_varint(counts, zigzag32(b->bits_len, alike ? before->bits_len : 0));
        fmp_buf_put_varint(counts, zigzag32(b->coded_len, alike ? before->coded_len : 0));
    } else if (has_bits(b) && !exact) {
        fmp_buf_put_varint(counts, zigzag32(b->bits_len, expected_bits(b)));
    }
}

static bool parse_place(fmp_cursor *c, unsigned flags, const fmp_block *before, fmp_block *b)
{
    uint64_t step;

    b->object = before ? before->object : 0;
    b->off = before ? before->off + before->n_bytes : 0;
    if (!before && !(flags & MOVED))
        return false;
    if (flags & MOVED) {
        step = fmp_cur_varint(c);
        if (before && (step == 0 || step > UINT64_MAX - before->object))
            return false;
        b->object += step;
        b->off = 0;
    }
    if (flags & GAP) {
        step = fmp_cur_varint(c);
        if (step == 0 || step > (1ull << 62) || b->off > (1ull << 62))
            return false;
        b->off += step;
    }
    return true;
}

/* What both kinds of head end with; false when it cannot be. */
static bool parse_counts(fmp_cursor *c, const fmp_block *alike, bool exact, fmp_block *b)
{
    const uint32_t n_units = fmp_block_units(b);
    uint64_t n = n_units;

    if (b->pos != FMP_POS_FULL)
        n = fmp_cur_varint(c);
    b->n_set = (uint32_t)n;
    if (b->pos != FMP_POS_FULL && alike && !unzigzag32(n, alike->n_set, &b->n_set))
        return false;
    if ((!alike && n > n_units) || b->n_set > n_units || (b->n_set == 0 && !b->complement) ||
        (b->n_set == n_units && b->complement))
        return false;
    if (b->pos == FMP_POS_RUNS) {
        n = fmp_cur_varint(c);
        if (n > b->n_set)
            return false;
        b->n_runs = (uint32_t)n;
    }
    if (fmp_block_is_modelled(b))
        return unzigzag32(fmp_cur_varint(c), alike ? alike->bits_len : 0, &b->bits_len) &&
               unzigzag32(fmp_cur_varint(c), alike ? alike->coded_len : 0, &b->coded_len);
    if (exact) {
        b->bits_len = expected_bits(b);
        return has_bits(b);
    }
    return !has_bits(b) || (unzigzag32(fmp_cur_varint(c), expected_bits(b), &b->bits_len) &&
                            b->bits_len <= 16u * FMP_BLOCK_MAX);
}

/* The description of a block that is not like the one before. */
static bool parse_how(fmp_cursor *c, fmp_block *b)
{
    const uint64_t n_bytes = fmp_cur_varint(c);
    const bool whole = b->kind >= FMP_BLOCK_WHOLE;

    if (n_bytes == 0 || n_bytes > FMP_BLOCK_MAX || n_bytes % (b->bits / 8u) ||
        (!whole && n_bytes / (b->bits / 8u) > FMP_BLOCK_UNITS))
        return false;
    b->n_bytes = (uint32_t)n_bytes;
    if (whole)
        return b->pos == FMP_POS_NONE && !b->complement && !b->sign_magnitude && !b->sign_apart;
    if ((b->pos == FMP_POS_NONE && b->kind != FMP_BLOCK_RESIDUAL) ||
        (b->pos == FMP_POS_MODEL &&
         (b->complement || b->sign_apart || b->gap_class || b->value_class)) ||
        (b->pos == FMP_POS_FULL && (b->complement || b->kind != FMP_BLOCK_RESIDUAL)) ||
        (b->sign_apart && (b->kind != FMP_BLOCK_RESIDUAL || b->pos == FMP_POS_FULL)) ||
        (b->sign_apart && b->value_class != 0 && b->value_class != 3) ||
        (b->kind == FMP_BLOCK_SET && b->sign_magnitude))
        return false;
    if (b->pos == FMP_POS_SPLIT || b->pos == FMP_POS_RICE)
        b->shift = (uint8_t)fmp_cur_le(c, 1);
    return b->shift <= 20 && (b->pos != FMP_POS_SPLIT || b->shift != 0);
}

static bool parse_head(fmp_cursor *c, fmp_cursor *counts, const fmp_block *before, fmp_block *b)
{
    const unsigned flags = (unsigned)fmp_cur_le(c, 1);
    const bool alike = (flags >> 2 & 7) == AS_BEFORE;
    unsigned how;

    if (alike) {
        if (!before || flags & 3 || (flags & AS_EXPECTED && before->kind >= FMP_BLOCK_WHOLE))
            return false;
        *b = *before;
        return parse_place(c, flags, before, b) &&
               (!fmp_block_is_modelled(b) || flags & AS_EXPECTED ||
                (fmp_model_head_parse(c, fmp_block_units(b), &b->model) &&
                 !fmp_model_head_equal(&b->model, &before->model))) &&
               (b->kind >= FMP_BLOCK_WHOLE ||
                parse_counts(counts, before, flags & AS_EXPECTED, b)) &&
               !c->bad;
    }
    how = (unsigned)fmp_cur_le(c, 1);
    *b = (fmp_block){.kind = flags & 3,
                     .pos = flags >> 2 & 7,
                     .complement = flags >> 5 & 1,
                     .bits = (uint8_t)(8u << (how & 3)),
                     .sign_magnitude = how >> 2 & 1,
                     .gap_class = how >> 3 & 3,
                     .value_class = how >> 5 & 3,
                     .sign_apart = how >> 7};
    return parse_place(c, flags, before, b) && parse_how(c, b) &&
           (!fmp_block_is_modelled(b) || fmp_model_head_parse(c, fmp_block_units(b), &b->model)) &&
           (b->kind >= FMP_BLOCK_WHOLE || parse_counts(counts, NULL, false, b)) && !c->bad &&
           !counts->bad;
}

fmp_status fmp_blocks_parse(const fmp_streams *s, uint32_t n_blocks, fmp_block *blocks,
                            fmp_error *err)
{
    fmp_cursor c = fmp_cur(s->data[FMP_STREAM_HEADS], s->len[FMP_STREAM_HEADS]);
    fmp_cursor counts = fmp_cur(s->data[FMP_STREAM_COUNTS], s->len[FMP_STREAM_COUNTS]);
    size_t used[FMP_STREAM_COUNT] = {0};

    for (uint32_t i = 0; i < n_blocks; i++) {
        if (!parse_head(&c, &counts, i ? &blocks[i - 1] : NULL, &blocks[i]))
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "frame: head of block %u is not valid", i);
        for (unsigned k = FMP_STREAM_BITS; k < FMP_STREAM_COUNT; k++) {
            const size_t share = fmp_block_share(&blocks[i], k);

            blocks[i].at[k] = (uint32_t)used[k]; /* a frame has 4 MiB at most */
            if (share > s->len[k] - used[k])
                return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                                "frame: block %u needs %zu bytes of stream %u, %zu left", i, share,
                                k, s->len[k] - used[k]);
            used[k] += share;
        }
    }
    for (unsigned k = FMP_STREAM_BITS; k < FMP_STREAM_COUNT; k++) {
        if (k != FMP_STREAM_COUNTS && used[k] != s->len[k])
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "frame: stream %u has %zu bytes, its blocks use %zu", k, s->len[k],
                            used[k]);
    }
    if (fmp_cur_left(&c) || fmp_cur_left(&counts) || c.bad || counts.bad)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "frame: bytes after the last block head");
    return FMP_OK;
}

/* ---- content ----------------------------------------------------------------------------------
 */

static fmp_bit_reader bits_of(const fmp_block *b, const fmp_streams *s)
{
    const uint8_t *at = s->data[FMP_STREAM_BITS];

    if (!b->bits_len)
        return (fmp_bit_reader){0};
    at += b->at[FMP_STREAM_BITS];
    return (fmp_bit_reader){.at = at, .end = at + b->bits_len};
}

/* In place, from the end: the complement of `n_set` ascending positions. */
static void complement_of(uint32_t *idx, uint32_t n_set, uint32_t n_units, uint32_t *spare)
{
    memcpy(spare, idx, (size_t)n_set * sizeof *idx);
    fmp_scan_others(spare, n_set, n_units, idx);
}

/* Positions of the changed units into s->idx; the bit reader is left at the values. */
static fmp_status changed_units(const fmp_block *b, const fmp_streams *st, fmp_bit_reader *bits,
                                fmp_scratch *s, fmp_error *err)
{
    fmp_status status;

    if (fmp_block_is_modelled(b))
        return fmp_fail(err, FMP_EPOLICY, FMP_NO_OFFSET,
                        "a block is coded given the base (profile compact) and cannot be read "
                        "without it; fmpatch recode makes it open");
    *bits = bits_of(b, st);
    if (b->kind >= FMP_BLOCK_WHOLE || b->pos == FMP_POS_FULL)
        return FMP_OK;
    status = fmp_positions_read(b, st, bits, s->idx, err);
    if (status)
        return status;
    if (b->complement)
        complement_of(s->idx, b->n_set, fmp_block_units(b), s->other);
    return FMP_OK;
}

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE uint64_t take_token(unsigned token, fmp_bit_reader *bits)
{
    const unsigned extra = fmp_value_extra(token);

    if (!extra)
        return token;
    return (4ull | ((token - FMP_VALUE_DIRECT) & 3)) << extra | fmp_bits_take(bits, extra);
}

/* Where the values of a block come from, behind its positions. */
typedef struct value_reader {
    fmp_bit_reader *bits;
    uint64_t less; /* what was taken off */
    bool sign_apart;
    unsigned width;     /* bits of a unit */
    unsigned n_palette; /* 0: none */
    uint64_t palette[FMP_PALETTE_MAX];
} value_reader;

/* False when a palette is empty. */
static bool open_values(value_reader *v, const fmp_block *b, fmp_bit_reader *bits)
{
    v->bits = bits;
    v->less = b->pos != FMP_POS_FULL;
    v->sign_apart = b->sign_apart;
    v->width = b->bits;
    v->n_palette = 0;
    if (!fmp_block_has_palette(b))
        return true;
    v->n_palette = (unsigned)fmp_bits_take(bits, 8);
    for (unsigned i = 0; i < v->n_palette; i++)
        v->palette[i] = fmp_bits_take(bits, b->bits);
    return v->n_palette != 0;
}

/* A residual, as it was before it was lowered. */
ALWAYS_INLINE uint64_t take_residual(value_reader *v, unsigned token)
{
    uint64_t sign;
    uint64_t size;

    if (!v->sign_apart)
        return take_token(token, v->bits) + v->less;
    if (!v->n_palette) {
        sign = fmp_bits_take(v->bits, 1);
        size = take_token(token, v->bits);
        v->bits->bad |= size >> 63; /* doubled, it no longer fits */
        return (size << 1 | sign) + v->less;
    }
    if (token < v->n_palette)
        return v->palette[token] + v->less;
    if (token != FMP_PALETTE_ESCAPE)
        v->bits->bad = true;
    return fmp_bits_take(v->bits, v->width) + v->less;
}

static fmp_status bad_values(fmp_error *err)
{
    return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "frame: values of a block are not valid");
}

static fmp_status bad_bits(fmp_error *err)
{
    return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                    "frame: bits of a block do not fit its units");
}

ALWAYS_INLINE bool apply_residuals(const fmp_block *b, const uint8_t *tokens, value_reader *v,
                                   const uint32_t *idx, uint8_t *data, int direction, unsigned bits)
{
    const bool sm = b->sign_magnitude;
    const bool full = b->pos == FMP_POS_FULL;
    const uint32_t n = fmp_block_values(b);
    const unsigned width = bits / 8;
    const uint64_t mask = fmp_unit_mask(bits);
    bool bad = false;

    for (uint32_t i = 0; i < n; i++) {
        uint8_t *p = data + (size_t)(full ? i : idx[i]) * width;
        const uint64_t z = take_residual(v, tokens[i]);
        const uint64_t x = fmp_load_le(p, width);

        bad |= z > mask || (!full && z == 0);
        fmp_store_le(p,
                     direction == FMP_FORWARD ? fmp_residual_add(x, z & mask, bits, sm)
                                              : fmp_residual_subtract(x, z & mask, bits, sm),
                     width);
    }
    return !bad;
}

static fmp_status apply_residual_block(const fmp_block *b, const fmp_streams *s, uint8_t *data,
                                       int direction, const uint32_t *idx, fmp_bit_reader *r,
                                       fmp_error *err)
{
    const unsigned stream = FMP_STREAM_VALUES + b->value_class;
    const uint8_t *tokens = s->data[stream] + b->at[stream];
    value_reader v;
    bool ok;

    if (!open_values(&v, b, r))
        return bad_values(err);
    switch (b->bits) {
    case 8:
        ok = apply_residuals(b, tokens, &v, idx, data, direction, 8);
        break;
    case 16:
        ok = apply_residuals(b, tokens, &v, idx, data, direction, 16);
        break;
    case 32:
        ok = apply_residuals(b, tokens, &v, idx, data, direction, 32);
        break;
    default:
        ok = apply_residuals(b, tokens, &v, idx, data, direction, 64);
    }
    return ok ? FMP_OK : bad_values(err);
}

static void join_planes(const fmp_block *b, const fmp_streams *s, uint8_t *packed)
{
    const uint8_t *planes[8] = {NULL};

    for (unsigned k = 0; k < b->bits / 8u; k++)
        planes[k] = s->data[FMP_STREAM_PLANES + k] + b->at[FMP_STREAM_PLANES + k];
    fmp_planes_join(planes, fmp_block_values(b), b->bits / 8u, packed);
}

static void scatter(const uint8_t *packed, const uint32_t *idx, uint32_t n, unsigned width,
                    uint8_t *data)
{
    for (uint32_t i = 0; i < n; i++)
        memcpy(data + (size_t)idx[i] * width, packed + (size_t)i * width, width);
}

static uint64_t sum_touched(const fmp_block *b, const uint8_t *data, fmp_scratch *scratch)
{
    const uint32_t n = fmp_block_values(b);
    fmp_xxh x;

    fmp_xxh_init(&x);
    if (b->pos == FMP_POS_FULL) {
        fmp_xxh_update(&x, data, b->n_bytes);
    } else {
        fmp_scan_gather(data, scratch->idx, n, b->bits, scratch->before);
        fmp_xxh_update(&x, scratch->before, (size_t)n * (b->bits / 8u));
    }
    return fmp_xxh_final(&x);
}

static fmp_status apply_whole(const fmp_block *b, const fmp_streams *s, uint8_t *data)
{
    if (b->kind == FMP_BLOCK_WHOLE)
        memcpy(data, s->data[FMP_STREAM_BYTES] + b->at[FMP_STREAM_BYTES], b->n_bytes);
    else
        join_planes(b, s, data);
    return FMP_OK;
}

fmp_status fmp_block_apply(const fmp_block *b, const fmp_streams *s, uint8_t *data, int direction,
                           fmp_scratch *scratch, uint64_t sums[2], fmp_error *err)
{
    fmp_bit_reader r;
    fmp_status st;

    if (direction == FMP_BACKWARD && b->kind != FMP_BLOCK_RESIDUAL)
        return fmp_fail(err, FMP_EPOLICY, FMP_NO_OFFSET,
                        "a block stores new content, not residuals, and cannot be undone");
    if (b->kind >= FMP_BLOCK_WHOLE)
        return apply_whole(b, s, data);
    if (fmp_block_is_modelled(b) && direction == FMP_FORWARD)
        return fmp_model_apply(b, s, data, scratch, sums, err);
    st = changed_units(b, s, &r, scratch, err);
    if (st)
        return st;
    if (sums)
        sums[0] = sum_touched(b, data, scratch);
    if (b->kind == FMP_BLOCK_SET) {
        join_planes(b, s, scratch->after);
        scatter(scratch->after, scratch->idx, fmp_block_values(b), b->bits / 8u, data);
    } else {
        st = apply_residual_block(b, s, data, direction, scratch->idx, &r, err);
        if (st)
            return st;
    }
    if (!fmp_bits_at_end(&r))
        return bad_bits(err);
    if (sums)
        sums[1] = sum_touched(b, data, scratch);
    return FMP_OK;
}

fmp_status fmp_block_list(const fmp_block *b, const fmp_streams *s, fmp_scratch *scratch,
                          uint64_t *values, fmp_error *err)
{
    const uint32_t n = fmp_block_values(b);
    const unsigned stream = FMP_STREAM_VALUES + b->value_class;
    value_reader v;
    fmp_bit_reader r;
    fmp_status st;

    if (n > FMP_BLOCK_UNITS)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "a block of whole bytes has no list of units");
    st = changed_units(b, s, &r, scratch, err);
    if (st)
        return st;
    if (b->kind >= FMP_BLOCK_WHOLE || b->pos == FMP_POS_FULL)
        for (uint32_t i = 0; i < n; i++)
            scratch->idx[i] = i;
    if (b->kind == FMP_BLOCK_RESIDUAL) {
        if (!open_values(&v, b, &r))
            return bad_values(err);
        for (uint32_t i = 0; i < n; i++) {
            const uint64_t z = take_residual(&v, s->data[stream][b->at[stream] + i]);

            if (z > fmp_unit_mask(b->bits) || (z == 0 && b->pos != FMP_POS_FULL))
                return bad_values(err);
            values[i] = z;
        }
        return fmp_bits_at_end(&r) ? FMP_OK : bad_bits(err);
    }
    if (b->kind == FMP_BLOCK_SET && !fmp_bits_at_end(&r))
        return bad_bits(err);
    if (b->kind == FMP_BLOCK_WHOLE)
        memcpy(scratch->after, s->data[FMP_STREAM_BYTES] + b->at[FMP_STREAM_BYTES], b->n_bytes);
    else
        join_planes(b, s, scratch->after);
    for (uint32_t i = 0; i < n; i++)
        values[i] = fmp_load_le(scratch->after + (size_t)i * (b->bits / 8u), b->bits / 8u);
    return FMP_OK;
}
