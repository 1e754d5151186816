/*
 * Values of changed units.  See values.h.
 */
#include "codec/values.h"

#include <string.h>

#include "codec/residual.h"
#include "codec/scan.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void residuals(const uint8_t *base, const uint8_t *target, uint32_t n, unsigned bits,
                             bool sm, uint8_t *z)
{
    const unsigned width = bits / 8;

    for (size_t i = 0; i < n; i++)
        fmp_store_le(z + i * width,
                     fmp_residual(base ? fmp_load_le(base + i * width, width) : 0,
                                  fmp_load_le(target + i * width, width), bits, sm),
                     width);
}

void fmp_residuals(const uint8_t *base, const uint8_t *target, uint32_t n, unsigned bits, bool sm,
                   uint8_t *z)
{
    switch (bits) {
    case 8:
        residuals(base, target, n, 8, sm, z);
        return;
    case 16:
        residuals(base, target, n, 16, sm, z);
        return;
    case 32:
        residuals(base, target, n, 32, sm, z);
        return;
    default:
        residuals(base, target, n, 64, sm, z);
    }
}

/* Small residuals, which most are, are counted as they are, in tables that take turns: the same
 * counter time and again would have to wait for itself. */
enum { SMALL = 64, TURNS = 4 };

typedef struct token_counts {
    uint32_t sparse[256], apart[256], full[256];
    uint32_t small[TURNS][SMALL];
} token_counts;

ALWAYS_INLINE void count_token(token_counts *c, uint64_t z, uint32_t times)
{
    c->sparse[fmp_value_token(z - 1)] += times;
    c->apart[fmp_value_token((z - 1) >> 1)] += times;
    c->full[fmp_value_token(z)] += times;
}

ALWAYS_INLINE void count_tokens(const uint8_t *residual, uint32_t n, unsigned width,
                                token_counts *c)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t z = fmp_load_le(residual + i * width, width);

        if (z < SMALL)
            c->small[i % TURNS][z]++;
        else
            count_token(c, z, 1);
    }
    for (unsigned z = 1; z < SMALL; z++) {
        for (unsigned k = 0; k < TURNS; k++)
            count_token(c, z, c->small[k][z]);
    }
}

/* How much of it small steps are. */
static uint8_t value_class(const uint32_t hist[256], uint32_t n)
{
    const uint64_t small = (uint64_t)hist[0] + hist[1];

    return small * 32 >= (uint64_t)n * 31 ? 0
           : small * 8 >= (uint64_t)n * 7 ? 1
           : small * 8 >= (uint64_t)n * 5 ? 2
                                          : 3;
}

static uint64_t raw_bits(const uint32_t hist[256])
{
    uint64_t sum = 0;

    for (unsigned t = FMP_VALUE_DIRECT; t < 256; t++)
        sum += (uint64_t)hist[t] * fmp_value_extra(t);
    return sum;
}

/* Order-0 entropy of a histogram in bits, without the floor that Huffman has. */
static uint64_t entropy_below_a_bit(const uint32_t hist[256])
{
    uint64_t n = 0;
    uint64_t sum = 0;

    for (unsigned i = 0; i < 256; i++) {
        n += hist[i];
        if (hist[i])
            sum += (uint64_t)hist[i] * fmp_log2_fixed(hist[i]);
    }
    return n ? (n * fmp_log2_fixed(n) - sum) >> 8 : 0;
}

/* Few different numbers: say which, and number them. */
static void try_palette(const uint8_t *residual, uint32_t n, unsigned bits, fmp_palette *palette,
                        fmp_value_cost *ret)
{
    const size_t width = bits / 8;
    uint64_t cost, raw;

    fmp_palette_clear(palette);
    for (size_t i = 0; i < n; i++)
        fmp_palette_count(palette, fmp_load_le(residual + i * width, width) - 1);
    cost = fmp_palette_choose(palette, bits, &raw);
    if (cost >= ret->sparse - ret->sparse / 16)
        return;
    ret->palette = true;
    ret->sign_apart = false;
    ret->sparse = cost;
    ret->extra_sparse = raw;
    ret->sparse_class = 3;
}

void fmp_values_cost(const uint8_t *residual, uint32_t n, uint32_t n_units, unsigned bits,
                     fmp_palette *palette, fmp_value_cost *ret)
{
    token_counts c = {0};
    uint64_t sizes;

    switch (bits) {
    case 8:
        count_tokens(residual, n, 1, &c);
        break;
    case 16:
        count_tokens(residual, n, 2, &c);
        break;
    case 32:
        count_tokens(residual, n, 4, &c);
        break;
    default:
        count_tokens(residual, n, 8, &c);
    }
    c.full[0] += n_units - n;
    ret->extra_sparse = raw_bits(c.sparse);
    ret->extra_full = raw_bits(c.full);
    ret->sparse = ret->extra_sparse + fmp_entropy_bits(c.sparse);
    ret->full = ret->extra_full + fmp_entropy_bits(c.full);
    ret->sparse_class = value_class(c.sparse, n);
    /* Huffman spends a bit on every token: where most sizes are 1, signs had better not be in it.
     */
    sizes = entropy_below_a_bit(c.apart);
    ret->sign_apart = sizes < n - n / 8;
    if (ret->sign_apart) {
        ret->extra_sparse = raw_bits(c.apart) + n;
        ret->sparse = ret->extra_sparse + sizes + sizes / 8;
        ret->sparse_class = 0;
    }
    ret->full_class = value_class(c.full, n_units);
    ret->palette = false;
    if (bits >= 32 && n >= 64)
        try_palette(residual, n, bits, palette, ret);
}

ALWAYS_INLINE void write_tokens(const uint8_t *residual, uint32_t n, fmp_value_form form,
                                unsigned width, uint8_t *tokens, fmp_bit_writer *to)
{
    fmp_bit_writer w = *to; /* which the compiler can keep in registers */

    for (size_t i = 0; i < n; i++) {
        uint64_t v = fmp_load_le(residual + i * width, width) - (form != FMP_VALUES_FULL);
        unsigned token, extra;

        if (form == FMP_VALUES_APART) {
            fmp_bits_put(&w, v & 1, 1);
            v >>= 1;
        }
        token = fmp_value_token(v);
        extra = fmp_value_extra(token);
        tokens[i] = (uint8_t)token;
        if (extra)
            fmp_bits_put(&w, v & ((1ull << extra) - 1), extra);
    }
    *to = w;
}

/* The palette, then a number for every value, and behind an escape the value itself. */
static void write_numbers(const uint8_t *residual, uint32_t n, unsigned bits,
                          const fmp_palette *palette, uint8_t *tokens, fmp_bit_writer *w)
{
    const size_t width = bits / 8;

    fmp_bits_put(w, palette->n, 8);
    for (uint32_t i = 0; i < palette->n; i++)
        fmp_bits_put(w, palette->value[i], bits);
    for (size_t i = 0; i < n; i++) {
        const uint64_t v = fmp_load_le(residual + i * width, width) - 1;
        const unsigned number = fmp_palette_find(palette, v);

        tokens[i] = (uint8_t)number;
        if (number == FMP_PALETTE_ESCAPE)
            fmp_bits_put(w, v, bits);
    }
}

void fmp_values_write(const uint8_t *residual, uint32_t n, fmp_value_form form, unsigned bits,
                      const fmp_palette *palette, uint8_t *tokens, fmp_bit_writer *w)
{
    if (form == FMP_VALUES_PALETTE) {
        write_numbers(residual, n, bits, palette, tokens, w);
        return;
    }
    switch (bits) {
    case 8:
        write_tokens(residual, n, form, 1, tokens, w);
        break;
    case 16:
        write_tokens(residual, n, form, 2, tokens, w);
        break;
    case 32:
        write_tokens(residual, n, form, 4, tokens, w);
        break;
    default:
        write_tokens(residual, n, form, 8, tokens, w);
    }
}

ALWAYS_INLINE void split(const uint8_t *packed, uint32_t n, unsigned width,
                         uint8_t *const planes[8])
{
    for (uint32_t i = 0; i < n; i++)
        for (unsigned k = 0; k < width; k++)
            planes[k][i] = packed[(size_t)i * width + k];
}

ALWAYS_INLINE void join(const uint8_t *const planes[8], uint32_t n, unsigned width, uint8_t *packed)
{
    for (uint32_t i = 0; i < n; i++)
        for (unsigned k = 0; k < width; k++)
            packed[(size_t)i * width + k] = planes[k][i];
}

void fmp_planes_split(const uint8_t *packed, uint32_t n, unsigned width, uint8_t *const planes[8])
{
    switch (width) {
    case 1:
        split(packed, n, 1, planes);
        break;
    case 2:
        split(packed, n, 2, planes);
        break;
    case 4:
        split(packed, n, 4, planes);
        break;
    default:
        split(packed, n, 8, planes);
    }
}

void fmp_planes_join(const uint8_t *const planes[8], uint32_t n, unsigned width, uint8_t *packed)
{
    switch (width) {
    case 1:
        join(planes, n, 1, packed);
        break;
    case 2:
        join(planes, n, 2, packed);
        break;
    case 4:
        join(planes, n, 4, packed);
        break;
    default:
        join(planes, n, 8, packed);
    }
}
