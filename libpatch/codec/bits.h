/*
 * Bits, least significant first, on top of fmp_buf and of plain memory; and the two token codes of
 * FORMAT.md ("Positions", "Values").  Inline, since every changed element goes through here.
 */
#ifndef FMP_CODEC_BITS_H
#define FMP_CODEC_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t fmp_load_le(const void *p, size_t n_bytes)
{
    const uint8_t *b = p;
    uint64_t v = 0;

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&v, b, n_bytes);
#else
    for (size_t i = 0; i < n_bytes; i++)
        v |= (uint64_t)b[i] << (8 * i);
#endif
    return v;
}

static inline void fmp_store_le(void *p, uint64_t v, size_t n_bytes)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(p, &v, n_bytes);
#else
    for (size_t i = 0; i < n_bytes; i++)
        ((uint8_t *)p)[i] = (uint8_t)(v >> (8 * i));
#endif
}

/* Writes into memory that the caller has sized: never more than the sum of the bits, plus 8 bytes.
 */
typedef struct fmp_bit_writer {
    uint8_t *at;
    uint64_t acc;
    unsigned n; /* bits in acc, below 8 between calls */
} fmp_bit_writer;

static inline void fmp_bits_put(fmp_bit_writer *w, uint64_t value, unsigned n_bits)
{
    while (n_bits > 32) { /* at most twice: keeps acc from overflowing */
        fmp_bits_put(w, value & 0xffffffffu, 32);
        value >>= 32;
        n_bits -= 32;
    }
    w->acc |= value << w->n;
    w->n += n_bits;
    fmp_store_le(w->at, w->acc, 8);
    w->at += w->n / 8;
    w->acc >>= w->n & ~7u;
    w->n &= 7;
}

/* Pads with zero bits to a whole byte. */
static inline void fmp_bits_flush(fmp_bit_writer *w)
{
    if (w->n)
        *w->at++ = (uint8_t)w->acc;
    w->acc = 0;
    w->n = 0;
}

/* A read past the end yields zero bits and sets `bad`. */
typedef struct fmp_bit_reader {
    const uint8_t *at;
    const uint8_t *end;
    uint64_t acc;
    unsigned n; /* valid bits in acc */
    bool bad;
} fmp_bit_reader;

/* n_bits at most 32. */
static inline uint64_t bits_take32(fmp_bit_reader *r, unsigned n_bits)
{
    uint64_t v;

    if (r->n < n_bits) {
        if (r->end - r->at >= 4) {
            r->acc |= fmp_load_le(r->at, 4) << r->n;
            r->at += 4;
            r->n += 32;
        } else {
            while (r->n < n_bits && r->at < r->end) {
                r->acc |= (uint64_t)*r->at++ << r->n;
                r->n += 8;
            }
            if (r->n < n_bits) {
                r->bad = true;
                return 0;
            }
        }
    }
    v = r->acc & ((1ull << n_bits) - 1);
    r->acc >>= n_bits;
    r->n -= n_bits;
    return v;
}

static inline uint64_t fmp_bits_take(fmp_bit_reader *r, unsigned n_bits)
{
    uint64_t low;

    if (n_bits <= 32)
        return bits_take32(r, n_bits);
    low = bits_take32(r, 32);
    return low | bits_take32(r, n_bits - 32) << 32;
}

/* True when all was read: fewer than 8 bits left, all of them zero, and no read past the end. */
static inline bool fmp_bits_at_end(const fmp_bit_reader *r)
{
    return !r->bad && r->at == r->end && r->n < 8 && r->acc == 0;
}

/* Bits of x without leading zeros; 0 for 0. */
static inline unsigned fmp_bit_length(uint64_t x)
{
    return x ? 64u - (unsigned)__builtin_clzll(x) : 0;
}

/*
 * Gap tokens: 0 .. 191 are themselves; 192 + (n - 8) stands for a number of n bits (8 .. 64), whose
 * n - 1 bits below the leading one follow in the bit stream.
 */
#define FMP_GAP_DIRECT 192u
#define FMP_GAP_MAX    (FMP_GAP_DIRECT + 56u)

static inline unsigned fmp_gap_token(uint64_t v)
{
    return v < FMP_GAP_DIRECT ? (unsigned)v : FMP_GAP_DIRECT + fmp_bit_length(v) - 8;
}

static inline unsigned fmp_gap_extra(unsigned token)
{
    return token < FMP_GAP_DIRECT ? 0 : token - FMP_GAP_DIRECT + 7;
}

/*
 * Value tokens: 0 .. 15 are themselves; 16 + 4 (n - 5) + t stands for a number of n bits (5 .. 64)
 * whose two bits below the leading one are t; the n - 3 bits below those follow in the bit stream.
 */
#define FMP_VALUE_DIRECT 16u

static inline unsigned fmp_value_token(uint64_t v)
{
    const unsigned n = fmp_bit_length(v);

    return v < FMP_VALUE_DIRECT ? (unsigned)v
                                : FMP_VALUE_DIRECT + 4 * (n - 5) + (unsigned)(v >> (n - 3) & 3);
}

static inline unsigned fmp_value_extra(unsigned token)
{
    return token < FMP_VALUE_DIRECT ? 0 : (token - FMP_VALUE_DIRECT) / 4 + 2;
}

#endif
