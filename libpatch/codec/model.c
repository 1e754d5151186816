/*
 * What a modelled block says and in which order: written once, for both directions.  See model.h.
 */
#include "codec/model.h"

#include <string.h>

#include "base/digest.h"
#include "base/status.h"
#include "codec/bits.h"
#include "codec/model_head.h"
#include "codec/residual.h"
#include "codec/scan.h"

#define REST_STEP  4u /* bits of a size told at a time */
#define HEAD_BYTES 8u /* of a modelled block, about, without a byte for each class */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* A block on its way in or out. */
typedef struct coding {
    fmp_rangecoder rc;
    fmp_bit_writer *w; /* raw bits, encoding */
    fmp_bit_reader *r; /* decoding */
    fmp_model *m;
    const fmp_model_head *head;
    unsigned bits;
    bool sm;
} coding;

#define BIT(c, dec, p, bit) fmp_rc_bit(&(c)->rc, dec, p, bit)

ALWAYS_INLINE uint64_t raw_bits(coding *c, bool dec, uint64_t v, unsigned n)
{
    if (dec)
        return fmp_bits_take(c->r, n);
    fmp_bits_put(c->w, v & ((1ull << n) - 1), n);
    return v & ((1ull << n) - 1);
}

/* Contexts of what is nearly as likely as not begin as if they had seen so many decisions. */
#define EVEN 6u

static void init_contexts(fmp_model *m)
{
    fmp_context_init((fmp_context *)m, sizeof *m / sizeof(fmp_context));
    for (unsigned i = 0; i < FMP_CLASSES_MAX; i++)
        m->more[i] += EVEN;
    for (unsigned i = 0; i < 3; i++)
        m->place[i] += EVEN;
    for (unsigned i = 0; i < 2; i++)
        m->sign[i] += EVEN;
    for (unsigned i = 0; i < FMP_SCALES; i++)
        m->lead[i] += EVEN;
}

/* ---- positions by class -----------------------------------------------------------------------
 */

/* A place within 2^step units: two bits modelled, the rest as they are. */
ALWAYS_INLINE uint32_t code_place(coding *c, bool dec, unsigned class, uint32_t place)
{
    const unsigned step = c->head->classes.step[class];
    fmp_context *p = c->m->place;
    uint32_t v = 0;
    unsigned n = 0;

    for (; n < 2 && n < step; n++)
        v = v << 1 | BIT(c, dec, &p[n + v], place >> (step - 1 - n) & 1);
    return n < step ? v << (step - n) | (uint32_t)raw_bits(c, dec, place, step - n) : v;
}

/*
 * The ranks of the changed units of one class of n units, ascending: `most` at most, *ret_n of
 * them. False when they are not valid.
 */
ALWAYS_INLINE bool code_ranks(coding *c, bool dec, unsigned class, uint32_t n, uint32_t *rank,
                              uint32_t most, uint32_t *ret_n)
{
    const unsigned step = c->head->classes.step[class];
    uint32_t at = 0;
    uint32_t k = 0;

    if (step == FMP_CLASS_STILL) {
        *ret_n = 0;
        return true;
    }
    while (at < n) {
        const bool near = !dec && k < most && rank[k] - at < 1u << step;

        if (!BIT(c, dec, &c->m->more[class], near)) {
            at += 1u << step;
            continue;
        }
        at += code_place(c, dec, class, dec ? 0 : rank[k] - at);
        if (dec && (at >= n || k == most))
            return false;
        rank[k++] = at++;
    }
    *ret_n = k;
    return k > 0;
}

static void encode_classes(coding *c, fmp_scratch *s, uint32_t n_units, uint32_t n)
{
    const fmp_classes *classes = &c->head->classes;
    uint32_t start[FMP_CLASSES_MAX + 1] = {0};
    uint32_t all[FMP_CLASSES_MAX] = {0};
    uint8_t map[256];

    fmp_classes_map(classes, map);
    for (unsigned key = 0; key < 256; key++)
        all[map[key]] += s->n_of_key[key];
    for (uint32_t j = 0; j < n; j++)
        start[map[s->keys[s->idx[j]]] + 1]++;
    for (unsigned k = 0; k < classes->n; k++)
        start[k + 1] += start[k];
    s->kernels->sort(classes, s->keys, n_units, s->idx, n, start, s->other, s->rank);
    for (unsigned k = 0; k < classes->n; k++) {
        uint32_t got;

        code_ranks(c, false, k, all[k], s->rank + start[k], start[k + 1] - start[k], &got);
    }
}

static bool decode_classes(coding *c, fmp_scratch *s, uint32_t n_units, uint32_t n)
{
    const fmp_classes *classes = &c->head->classes;
    uint32_t start[FMP_CLASSES_MAX + 1] = {0};
    uint32_t all[FMP_CLASSES_MAX];

    s->kernels->count(classes, s->keys, n_units, all);
    for (unsigned k = 0; k < classes->n; k++) {
        uint32_t got;

        if (!code_ranks(c, true, k, all[k], s->rank + start[k], n - start[k], &got))
            return false;
        start[k + 1] = start[k] + got;
    }
    if (start[classes->n] != n)
        return false;
    s->kernels->find(classes, s->keys, n_units, start, s->rank, s->idx);
    return true;
}

/* ---- positions by row and column --------------------------------------------------------------
 */

/* In unary, given that of the row before. */
ALWAYS_INLINE unsigned code_level(coding *c, bool dec, unsigned before, unsigned level)
{
    unsigned v = 0;

    while (v < FMP_ROW_LEVELS - 1 && BIT(c, dec, &c->m->level[before][v], v < level))
        v++;
    return v;
}

/* What is known of a column: how dense the rows before were in it, in 1/4096. */
static unsigned col_level(uint16_t density)
{
    const unsigned n = fmp_bit_length(density >> 3);

    return n < FMP_COL_LEVELS ? n : FMP_COL_LEVELS - 1;
}

ALWAYS_INLINE uint16_t next_density(uint16_t d, bool changed)
{
    return (uint16_t)(changed ? d + ((4095 - d) >> 3) : d - ((d + 15) >> 4));
}

/* Units [from, to) of a row of level > 0.  idx[k ..] are the changed units; returns the next k, or
 * UINT32_MAX when there are more than n. */
ALWAYS_INLINE uint32_t code_row(coding *c, bool dec, unsigned level, uint32_t from, uint32_t to,
                                uint16_t *density, uint32_t *idx, uint32_t k, uint32_t n)
{
    fmp_context *p = c->m->unit[level];

    for (uint32_t i = from; i < to; i++) {
        uint16_t *d = &density[i - from];
        const bool changed = BIT(c, dec, &p[col_level(*d)], !dec && k < n && idx[k] == i);

        *d = next_density(*d, changed);
        if (!changed)
            continue;
        if (dec && k == n)
            return UINT32_MAX;
        if (dec)
            idx[k] = i;
        k++;
    }
    return k;
}

/* All rows of a block whose first unit is number `phase` of its row. */
ALWAYS_INLINE bool code_rows(coding *c, bool dec, fmp_scratch *s, uint32_t n_units, uint32_t phase,
                             uint32_t n)
{
    uint16_t *density = s->density;
    unsigned level = 0;
    uint32_t k = 0;

    memset(density, 0, c->head->row_len * sizeof *density);
    for (uint32_t from = 0; from < n_units;) {
        const uint32_t left = c->head->row_len - phase;
        const uint32_t to = left < n_units - from ? from + left : n_units;
        uint32_t last = k;
        uint32_t before = k;

        while (!dec && last < n && s->idx[last] < to)
            last++;
        level = code_level(c, dec, level, fmp_row_level(last - k));
        if (level)
            k = code_row(c, dec, level, from, to, density + phase, s->idx, k, n);
        if (k == UINT32_MAX || fmp_row_level(k - before) != level)
            return false;
        from = to;
        phase = 0;
    }
    return k == n;
}

/* ---- residuals --------------------------------------------------------------------------------
 */

/*
 * The number of bits of a size, 1 .. bits, told by its scale, which is that number + the key: a
 * step of given size has few bits where the exponent is large.  Sought from where most sizes lie.
 */
ALWAYS_INLINE unsigned code_length(coding *c, bool dec, unsigned key, unsigned length)
{
    const unsigned least = key + 1;
    const unsigned most = key + c->bits;
    const unsigned scale = key + length;
    const unsigned start = c->head->scale < least  ? least
                           : c->head->scale > most ? most
                                                   : c->head->scale;
    unsigned at = start;

    if (start < most && BIT(c, dec, &c->m->first[key], scale > start)) {
        at++;
        while (at < most && BIT(c, dec, &c->m->up[at], scale > at))
            at++;
    } else {
        while (at > least && BIT(c, dec, &c->m->down[at], scale < at))
            at--;
    }
    return at - key;
}

/* The last n bits of a rounded size: said to be all 0, or not and a few more of them, and so on.
 * False when they are said not to be, and are. */
ALWAYS_INLINE bool code_rest(coding *c, bool dec, unsigned scale, unsigned n, uint64_t *bits)
{
    const uint64_t rest = *bits;
    fmp_context *p = &c->m->rest[scale];
    uint64_t told = 1;
    uint64_t v = 0;

    for (unsigned i = 0; n > 0; i++) {
        const unsigned k = n < REST_STEP ? n : REST_STEP;

        if (BIT(c, dec, p, (rest & ((1ull << n) - 1)) == 0))
            break;
        n -= k;
        told = raw_bits(c, dec, rest >> n, k);
        v = v << k | told;
        p = &c->m->later[i];
    }
    *bits = v << n;
    return told != 0;
}

/* The bits of a size below its leading one.  False when they are not valid. */
ALWAYS_INLINE bool code_below(coding *c, bool dec, unsigned scale, unsigned n, uint64_t *size)
{
    const unsigned kept = c->head->kept && c->head->kept < n ? c->head->kept : n;
    uint64_t rest = *size;
    uint64_t v = 1;
    bool good = true;

    v = v << 1 | BIT(c, dec, &c->m->lead[scale], rest >> (n - 1) & 1);
    if (kept > 1)
        v = v << (kept - 1) | raw_bits(c, dec, rest >> (n - kept), kept - 1);
    if (kept < n) {
        good = code_rest(c, dec, scale, n - kept, &rest);
        v = v << (n - kept) | rest;
    }
    *size = v;
    return good;
}

/* The residual, in zig-zag form, of a base unit.  0: it is not valid. */
ALWAYS_INLINE uint64_t code_residual(coding *c, bool dec, uint64_t base, uint64_t z)
{
    const unsigned key = fmp_key(base, c->bits, c->sm, c->head->key_shift);
    const bool down = BIT(c, dec, &c->m->sign[base >> (c->bits - 1) & 1], z & 1);
    uint64_t size = (z >> 1) + (z & 1); /* z is 2 size, or 2 size - 1 downwards */
    const unsigned length = code_length(c, dec, key, fmp_bit_length(size));

    if (length == 1)
        size = 1;
    else if (!code_below(c, dec, key + length, length - 1, &size))
        return 0;
    if (size >> (c->bits - 1) && (!down || size << (65 - c->bits)))
        return 0; /* more than half of all numbers */
    return 2 * size - down;
}

/* ---- encoding ---------------------------------------------------------------------------------
 */

ALWAYS_INLINE void encode_values(coding *out, const uint8_t *base, const uint8_t *target,
                                 const uint32_t *idx, uint32_t n, unsigned bits)
{
    const unsigned width = bits / 8;
    coding c = *out; /* which the compiler can keep in registers */

    for (uint32_t j = 0; j < n; j++) {
        const uint64_t a = fmp_load_le(base + (size_t)idx[j] * width, width);
        const uint64_t b = fmp_load_le(target + (size_t)idx[j] * width, width);

        code_residual(&c, false, a, fmp_residual(a, b, bits, c.sm));
    }
    *out = c;
}

static void encode_all(coding *c, const uint8_t *base, const uint8_t *target, const uint32_t *idx,
                       uint32_t n)
{
    switch (c->bits) {
    case 8:
        encode_values(c, base, target, idx, n, 8);
        return;
    case 16:
        encode_values(c, base, target, idx, n, 16);
        return;
    case 32:
        encode_values(c, base, target, idx, n, 32);
        return;
    default:
        encode_values(c, base, target, idx, n, 64);
    }
}

/* With this model.  As fmp_model_encode(). */
static bool encode_as(fmp_scratch *s, const fmp_model_head *head, uint32_t phase,
                      const uint8_t *base, const uint8_t *target, uint32_t n, uint64_t budget,
                      fmp_piece *piece)
{
    fmp_buf *coded = &piece->stream[FMP_STREAM_CODED];
    fmp_buf *raw = &piece->stream[FMP_STREAM_BITS];
    fmp_block *b = &piece->head;
    const uint32_t n_units = fmp_block_units(b);
    const size_t most = budget / 8 < b->n_bytes ? (size_t)(budget / 8) : b->n_bytes;
    fmp_bit_writer w = {0};
    coding c = {.w = &w, .m = &s->model, .head = head, .bits = b->bits, .sm = b->sign_magnitude};
    uint8_t *out;
    size_t len;

    fmp_buf_clear(coded);
    fmp_buf_clear(raw);
    out = fmp_buf_reserve(coded, most + 8);
    w.at = fmp_buf_reserve(raw, (size_t)n * (b->bits / 8u + 3) + 16);
    if (!out || !w.at)
        return false;
    init_contexts(&s->model);
    fmp_rc_encode_to(&c.rc, out, most + 8);
    if (head->by_row)
        code_rows(&c, false, s, n_units, phase, n);
    else
        encode_classes(&c, s, n_units, n);
    encode_all(&c, base, target, head->by_row ? s->idx : s->other, n);
    len = fmp_rc_finish(&c.rc);
    fmp_bits_flush(&w);
    piece->cost = len == SIZE_MAX
                      ? UINT64_MAX
                      : 8 * (len + (size_t)(w.at - raw->data) + HEAD_BYTES + head->classes.n);
    if (piece->cost >= budget)
        return false;
    coded->len = len;
    raw->len = (size_t)(w.at - raw->data);
    b->model = *head;
    b->coded_len = (uint32_t)len;
    b->bits_len = (uint32_t)raw->len;
    return true;
}

bool fmp_model_encode(fmp_scratch *s, const fmp_block_params *p, const uint8_t *base,
                      const uint8_t *target, uint32_t n, uint64_t budget, fmp_piece *piece)
{
    fmp_model_head by_class, by_row;
    const fmp_model_choice choice =
        fmp_model_choose(s, p, base, target, fmp_block_units(&piece->head), n, &by_class, &by_row);
    bool fits;

    if (choice != FMP_BY_EITHER)
        return encode_as(s, choice == FMP_BY_ROW ? &by_row : &by_class, p->row_phase, base, target,
                         n, budget, piece);
    fits = encode_as(s, &by_row, p->row_phase, base, target, n, budget, piece);
    return encode_as(s, &by_class, p->row_phase, base, target, n, fits ? piece->cost : budget,
                     piece) ||
           (fits && encode_as(s, &by_row, p->row_phase, base, target, n, budget, piece));
}

/* ---- decoding ---------------------------------------------------------------------------------
 */

ALWAYS_INLINE bool decode_values(coding *in, uint8_t *data, const uint32_t *idx, uint32_t n,
                                 unsigned bits)
{
    const unsigned width = bits / 8;
    coding c = *in; /* which the compiler can keep in registers */
    bool good = true;

    for (uint32_t j = 0; j < n; j++) {
        uint8_t *at = data + (size_t)idx[j] * width;
        const uint64_t a = fmp_load_le(at, width);
        const uint64_t z = code_residual(&c, true, a, 0);

        good &= z != 0;
        fmp_store_le(at, fmp_residual_add(a, z, bits, c.sm), width);
    }
    *in = c;
    return good;
}

static bool decode_all(coding *c, uint8_t *data, const uint32_t *idx, uint32_t n)
{
    switch (c->bits) {
    case 8:
        return decode_values(c, data, idx, n, 8);
    case 16:
        return decode_values(c, data, idx, n, 16);
    case 32:
        return decode_values(c, data, idx, n, 32);
    default:
        return decode_values(c, data, idx, n, 64);
    }
}

/* XXH3-64 of the units at idx, which are in no order, in ascending order. */
static uint64_t sum_of_units(fmp_scratch *s, const uint8_t *data, uint32_t n_units, uint32_t n,
                             unsigned bits)
{
    uint64_t *set = s->bitmap;
    uint32_t k = 0;
    fmp_xxh x;

    memset(set, 0, (n_units + 63) / 64 * sizeof *set);
    for (uint32_t j = 0; j < n; j++)
        set[s->idx[j] / 64] |= 1ull << (s->idx[j] % 64);
    for (uint32_t i = 0; i < (n_units + 63) / 64; i++) {
        for (uint64_t left = set[i]; left; left &= left - 1)
            s->other[k++] = i * 64 + (uint32_t)__builtin_ctzll(left);
    }
    fmp_scan_gather(data, s->other, n, bits, s->before);
    fmp_xxh_init(&x);
    fmp_xxh_update(&x, s->before, (size_t)n * (bits / 8));
    return fmp_xxh_final(&x);
}

static fmp_status bad_model(fmp_error *err, const char *what)
{
    return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "frame: modelled block: %s", what);
}

fmp_status fmp_model_apply(const fmp_block *b, const fmp_streams *st, uint8_t *data, fmp_scratch *s,
                           uint64_t sums[2], fmp_error *err)
{
    const uint32_t n_units = fmp_block_units(b);
    const uint32_t n = b->n_set;
    fmp_bit_reader r = {0};
    const fmp_model_head *head = &b->model;
    coding c = {.r = &r, .m = &s->model, .head = head, .bits = b->bits, .sm = b->sign_magnitude};
    bool good;

    if (b->bits_len) {
        r.at = st->data[FMP_STREAM_BITS] + b->at[FMP_STREAM_BITS];
        r.end = r.at + b->bits_len;
    }
    init_contexts(&s->model);
    fmp_rc_decode_from(&c.rc,
                       b->coded_len ? st->data[FMP_STREAM_CODED] + b->at[FMP_STREAM_CODED] : NULL,
                       b->coded_len);
    if (head->by_row) {
        good =
            code_rows(&c, true, s, n_units, (uint32_t)(b->off / (b->bits / 8u) % head->row_len), n);
    } else {
        s->kernels->keys(data, n_units, b->bits, b->sign_magnitude, head->key_shift, s->keys);
        good = decode_classes(&c, s, n_units, n);
    }
    if (!good)
        return bad_model(err, "its positions do not fit");
    if (sums)
        sums[0] = sum_of_units(s, data, n_units, n, b->bits);
    if (!decode_all(&c, data, s->idx, n))
        return bad_model(err, "a value is not valid");
    if (!fmp_rc_at_end(&c.rc) || !fmp_bits_at_end(&r))
        return bad_model(err, "its streams do not end where its values do");
    if (sums)
        sums[1] = sum_of_units(s, data, n_units, n, b->bits);
    return FMP_OK;
}
