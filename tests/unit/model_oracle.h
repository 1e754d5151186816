/*
 * Modelled blocks written once more, from FORMAT.md 16a alone: slowly, for any head, and with
 * nothing of the library but the range coder.  What the library writes must be the same bytes; what
 * it never writes, it must read.
 */
#ifndef FMP_TESTS_MODEL_ORACLE_H
#define FMP_TESTS_MODEL_ORACLE_H

#include <stdlib.h>
#include <string.h>

#include "codec/block.h"
#include "codec/rangecoder.h"

typedef struct oracle {
    const fmp_model_head *head;
    const uint8_t *base, *target;
    uint32_t n_units, phase;
    unsigned bits;
    bool sm;
    uint32_t *order; /* changed units as their positions are told */
    uint32_t n;
    fmp_rangecoder rc;
    uint8_t *coded;
    size_t coded_len;
    uint8_t *raw;
    uint64_t n_raw; /* bits */
    fmp_context more[32], place[3], level[12][11], unit[12][10], sign[2], first[256], up[320],
        down[320], lead[320], rest[320], later[16];
} oracle;

static inline uint64_t oracle_unit(const oracle *o, const uint8_t *data, uint32_t i)
{
    uint64_t x = 0;

    for (unsigned k = 0; k < o->bits / 8; k++)
        x |= (uint64_t)data[(size_t)i * (o->bits / 8) + k] << 8 * k;
    return x;
}

static inline bool oracle_changes(const oracle *o, uint32_t i)
{
    return oracle_unit(o, o->base, i) != oracle_unit(o, o->target, i);
}

static inline void oracle_decide(oracle *o, fmp_context *p, bool d)
{
    (void)fmp_rc_bit(&o->rc, false, p, d);
}

static inline void oracle_raw(oracle *o, uint64_t v, unsigned n)
{
    for (unsigned k = 0; k < n; k++, o->n_raw++)
        o->raw[o->n_raw / 8] |= (uint8_t)((v >> k & 1) << o->n_raw % 8);
}

static inline unsigned oracle_bits_of(uint64_t v)
{
    unsigned n = 0;

    for (; v; v >>= 1)
        n++;
    return n;
}

static inline unsigned oracle_key(const oracle *o, uint64_t x)
{
    if (o->head->key_shift >= o->bits)
        return 0;
    if (o->sm)
        x &= ~(1ull << (o->bits - 1));
    return (unsigned)(x >> o->head->key_shift & 255);
}

static inline unsigned oracle_class(const oracle *o, unsigned key)
{
    unsigned c = o->head->classes.n - 1u;

    while (c > 0 && o->head->classes.first[c] > key)
        c--;
    return c;
}

static inline void oracle_classes(oracle *o)
{
    uint32_t *unit = malloc((size_t)o->n_units * sizeof *unit + 4);
    uint8_t *class = malloc((size_t)o->n_units + 1);

    for (uint32_t i = 0; i < o->n_units; i++)
        class[i] = (uint8_t)oracle_class(o, oracle_key(o, oracle_unit(o, o->base, i)));
    for (unsigned c = 0; c < o->head->classes.n; c++) {
        const unsigned step = o->head->classes.step[c];
        uint32_t n = 0;

        if (step == FMP_CLASS_STILL)
            continue;
        for (uint32_t i = 0; i < o->n_units; i++)
            if (class[i] == c)
                unit[n++] = i;
        for (uint64_t at = 0; at < n;) {
            uint64_t g = 0;

            while (g < 1ull << step && at + g < n && !oracle_changes(o, unit[at + g]))
                g++;
            if (g == 1ull << step || at + g == n) { /* none within the step */
                oracle_decide(o, &o->more[c], false);
                at += 1ull << step;
                continue;
            }
            oracle_decide(o, &o->more[c], true);
            if (step > 0)
                oracle_decide(o, &o->place[0], g >> (step - 1) & 1);
            if (step > 1)
                oracle_decide(o, &o->place[1 + (g >> (step - 1) & 1)], g >> (step - 2) & 1);
            if (step > 2)
                oracle_raw(o, g & ((1ull << (step - 2)) - 1), step - 2);
            o->order[o->n++] = unit[at + g];
            at += g + 1;
        }
    }
    free(unit);
    free(class);
}

static inline void oracle_rows(oracle *o)
{
    const uint32_t row_len = o->head->row_len;
    uint32_t *density = calloc(row_len, sizeof *density);
    unsigned before = 0;

    for (uint32_t i = 0; i < o->n_units;) {
        uint32_t end = i;
        uint32_t n = 0;
        unsigned level, ones;

        do
            n += oracle_changes(o, end++);
        while (end < o->n_units && (o->phase + (uint64_t)end) % row_len != 0);
        level = n ? 1 + (oracle_bits_of(n) - 1) / 2 : 0;
        for (ones = 0; ones < 11; ones++) {
            oracle_decide(o, &o->level[before][ones], ones < level);
            if (ones == level)
                break;
        }
        before = level;
        for (; i < end; i++) {
            uint32_t *d = &density[(o->phase + (uint64_t)i) % row_len];
            unsigned col = oracle_bits_of(*d / 8);

            if (!level)
                continue;
            oracle_decide(o, &o->unit[level][col < 9 ? col : 9], oracle_changes(o, i));
            *d = oracle_changes(o, i) ? *d + (4095 - *d) / 8 : *d - (*d + 15) / 16;
            if (oracle_changes(o, i))
                o->order[o->n++] = i;
        }
    }
    free(density);
}

static inline uint64_t oracle_place(const oracle *o, uint64_t x)
{
    const uint64_t top = 1ull << (o->bits - 1);
    const uint64_t all = top | (top - 1);

    return !o->sm ? x : x & top ? ~x & all : x | top;
}

/* n bits that are 0 from some place on, in steps of 4. */
static inline void oracle_rest(oracle *o, fmp_context *first, uint64_t rest, unsigned n)
{
    for (unsigned i = 0; n > 0; i++) {
        const unsigned now = n < 4 ? n : 4;

        oracle_decide(o, i ? &o->later[i - 1] : first, rest == 0);
        if (rest == 0)
            return;
        oracle_raw(o, rest >> (n - now), now);
        n -= now;
        rest &= (1ull << n) - 1;
    }
}

static inline void oracle_value(oracle *o, uint32_t i)
{
    const uint64_t x = oracle_unit(o, o->base, i);
    const uint64_t top = 1ull << (o->bits - 1);
    const uint64_t all = top | (top - 1);
    const uint64_t up = (oracle_place(o, oracle_unit(o, o->target, i)) - oracle_place(o, x)) & all;
    const bool down = up >= top;
    const uint64_t size = down ? (~up & all) + 1 : up;
    const unsigned length = oracle_bits_of(size);
    const unsigned key = oracle_key(o, x);
    const unsigned least = key + 1;
    const unsigned most = key + o->bits;
    const unsigned scale = key + length;
    const unsigned m = length - 1;
    unsigned at = o->head->scale;

    oracle_decide(o, &o->sign[x >> (o->bits - 1)], down);
    at = at < least ? least : at > most ? most : at;
    if (at < most)
        oracle_decide(o, &o->first[key], scale > at);
    if (scale > at) {
        for (at++; at < most; at++) {
            oracle_decide(o, &o->up[at], scale > at);
            if (scale == at)
                break;
        }
    } else {
        for (; at > least; at--) {
            oracle_decide(o, &o->down[at], scale < at);
            if (scale == at)
                break;
        }
    }
    if (m == 0)
        return;
    oracle_decide(o, &o->lead[scale], size >> (m - 1) & 1);
    if (o->head->kept == 0 || o->head->kept >= m) {
        oracle_raw(o, size, m - 1);
    } else {
        const unsigned kept = o->head->kept;
        const uint64_t rest = size & ((1ull << (m - kept)) - 1);

        oracle_raw(o, size >> (m - kept), kept - 1);
        oracle_rest(o, &o->rest[scale], rest, m - kept);
    }
}

/* As if 6 decisions had been seen, half of them 1. */
static inline void oracle_experience(fmp_context *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        p[i] = 1u << 21 << 10 | 6;
}

static inline void oracle_new_contexts(oracle *o)
{
    fmp_context_init(o->more, 32);
    fmp_context_init(o->place, 3);
    fmp_context_init(&o->level[0][0], 12 * 11);
    fmp_context_init(&o->unit[0][0], 12 * 10);
    fmp_context_init(o->sign, 2);
    fmp_context_init(o->first, 256);
    fmp_context_init(o->up, 320);
    fmp_context_init(o->down, 320);
    fmp_context_init(o->lead, 320);
    fmp_context_init(o->rest, 320);
    fmp_context_init(o->later, 16);
    oracle_experience(o->more, 32);
    oracle_experience(o->place, 3);
    oracle_experience(o->sign, 2);
    oracle_experience(o->lead, 320);
}

/* The decisions and raw bits of base to target, n_units of `bits`; release with free(). */
static inline oracle *oracle_encode(const fmp_model_head *head, const uint8_t *base,
                                    const uint8_t *target, uint32_t n_units, unsigned bits, bool sm,
                                    uint32_t phase)
{
    oracle *o = calloc(1, sizeof *o);
    const size_t cap = (size_t)n_units * 80 + 4096;

    o->head = head;
    o->base = base;
    o->target = target;
    o->n_units = n_units;
    o->phase = phase;
    o->bits = bits;
    o->sm = sm;
    o->order = malloc((size_t)n_units * sizeof *o->order + 4);
    o->coded = malloc(cap);
    o->raw = calloc(1, (size_t)n_units * 11 + 16);
    oracle_new_contexts(o);
    fmp_rc_encode_to(&o->rc, o->coded, cap);
    if (head->by_row)
        oracle_rows(o);
    else
        oracle_classes(o);
    for (uint32_t k = 0; k < o->n; k++)
        oracle_value(o, o->order[k]);
    o->coded_len = fmp_rc_finish(&o->rc);
    return o;
}

static inline void oracle_free(oracle *o)
{
    free(o->order);
    free(o->coded);
    free(o->raw);
    free(o);
}

/* A piece of it, as if the library had made it. */
static inline void oracle_piece(const oracle *o, fmp_piece *piece)
{
    for (unsigned k = 0; k < FMP_STREAM_COUNT; k++)
        fmp_buf_clear(&piece->stream[k]);
    piece->head = (fmp_block){.n_bytes = o->n_units * (o->bits / 8),
                              .bits = (uint8_t)o->bits,
                              .sign_magnitude = o->sm,
                              .n_set = o->n,
                              .bits_len = (uint32_t)((o->n_raw + 7) / 8),
                              .coded_len = (uint32_t)o->coded_len,
                              .model = *o->head};
    fmp_buf_put(&piece->stream[FMP_STREAM_BITS], o->raw, piece->head.bits_len);
    fmp_buf_put(&piece->stream[FMP_STREAM_CODED], o->coded, o->coded_len);
}

#endif
