/*
 * An adaptive binary range coder: decisions go in with the probability that their context has
 * learned. FORMAT.md, "Decisions".  Inline, since every changed element passes here several times.
 * Integers only, so that every CPU learns the same.
 */
#ifndef FMP_CODEC_RANGECODER_H
#define FMP_CODEC_RANGECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A context: the probability of a 1 in 22 bits above, the number of decisions seen in 10 bits
 * below. It learns as a mean would, each decision with weight 1 / (n + 1.5), down to 1 / 128.5.
 */
typedef uint32_t fmp_context;

#define FMP_CONTEXT_NEW   (1u << 31)
#define FMP_CONTEXT_LIMIT 127u

/* floor(2^17 / (2 n + 3)) */
extern const uint16_t fmp_context_weight[FMP_CONTEXT_LIMIT + 1];

static inline void fmp_context_init(fmp_context *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = FMP_CONTEXT_NEW;
}

/* Of a 1, in 1/65536: never 0 and never 1. */
static inline uint32_t fmp_context_odds(fmp_context c)
{
    return c >> 16 | 1;
}

static inline fmp_context fmp_context_next(fmp_context c, bool bit)
{
    const uint32_t n = c & 1023;
    const uint64_t p = c >> 10;
    const uint64_t w = fmp_context_weight[n];
    const uint64_t one = 0 - (uint64_t)bit;
    const uint64_t step = (((0x3fffff & one) ^ p) * w) >> 16; /* of the distance to the bit */

    return (uint32_t)(p + ((step ^ ~one) - ~one)) << 10 | (n + (n < FMP_CONTEXT_LIMIT));
}

/* One coder for both directions, so that a model is written once.  Memory is the caller's. */
typedef struct fmp_rangecoder {
    uint64_t low, range;
    uint64_t code; /* decoding: the value less low */
    uint8_t *out;  /* encoding: from here on */
    const uint8_t *in;
    size_t at, len; /* in the memory: next byte, size */
    bool full;      /* encoding: `len` bytes were not enough */
} fmp_rangecoder;

static inline void fmp_rc_encode_to(fmp_rangecoder *c, uint8_t *out, size_t len)
{
    *c = (fmp_rangecoder){.range = UINT64_MAX, .out = out, .len = len};
}

/* Bytes behind the end count as zeros. */
static inline uint64_t fmp_rc_take32(fmp_rangecoder *c)
{
    uint64_t v = 0;

    if (c->len >= 4 && c->at <= c->len - 4) {
        const uint8_t *p = c->in + c->at;

        c->at += 4;
        return (uint64_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (unsigned i = 0; i < 4; i++) {
        v = v << 8 | (c->at < c->len ? c->in[c->at] : 0);
        c->at++;
    }
    return v;
}

static inline void fmp_rc_decode_from(fmp_rangecoder *c, const uint8_t *in, size_t len)
{
    *c = (fmp_rangecoder){.range = UINT64_MAX, .in = in, .len = len};
    c->code = fmp_rc_take32(c) << 32;
    c->code |= fmp_rc_take32(c);
}

/* Encoding: the upper half of low leaves. */
static inline void fmp_rc_put32(fmp_rangecoder *c)
{
    if (c->len - c->at < 4) {
        c->full = true;
        c->at = 0; /* nothing more is looked at */
    }
    for (unsigned i = 0; i < 4 && !c->full; i++)
        c->out[c->at++] = (uint8_t)(c->low >> (56 - 8 * i));
    c->low <<= 32;
}

/* Adds one to what has left already. */
static inline void fmp_rc_carry(fmp_rangecoder *c)
{
    size_t i = c->at;

    while (i > 0 && ++c->out[--i] == 0)
        ;
}

/* Codes `bit`, or returns the one that was coded. */
static inline __attribute__((always_inline)) bool fmp_rc_bit(fmp_rangecoder *c, bool decoding,
                                                             fmp_context *p, bool bit)
{
    const uint64_t bound = (c->range >> 16) * fmp_context_odds(*p);
    uint64_t zero; /* all ones for a 0 */

    if (decoding)
        bit = c->code < bound;
    zero = (uint64_t)bit - 1;
    *p = fmp_context_next(*p, bit);
    c->range = bit ? bound : c->range - bound;
    if (decoding)
        c->code -= bound & zero;
    c->low += bound & zero;
    if (!decoding && c->low < (bound & zero))
        fmp_rc_carry(c);
    if (c->range >> 32)
        return bit;
    c->range <<= 32;
    if (decoding) {
        c->code = c->code << 32 | fmp_rc_take32(c);
        c->low <<= 32;
    } else {
        fmp_rc_put32(c);
    }
    return bit;
}

/* The value that ends a stream: of those in [low, low + range), the one with the most zero bytes
 * at its end, and the largest of these. */
static inline uint64_t fmp_rc_last(const fmp_rangecoder *c)
{
    uint64_t v = c->low + (c->range - 1);

    for (unsigned bits = 64; bits > 0; bits -= 8) {
        const uint64_t short_of = bits == 64 ? v : v & ((1ull << bits) - 1);

        if (short_of < c->range)
            return v - short_of;
    }
    return v;
}

/* Encoding: writes the end; returns the length, without zero bytes at the end.  SIZE_MAX: full. */
size_t fmp_rc_finish(fmp_rangecoder *c);
/* Decoding: whether the stream ends as fmp_rc_finish() would have ended it. */
bool fmp_rc_at_end(const fmp_rangecoder *c);

#endif
