/*
 * BERT's cleaning in the order of the tokenizers library: controls and white space, ideographs,
 * accents, case.  Characters stream through; only combining characters wait to be put in order.
 */
#include "data/normalize.h"

#include "data/unicode.h"
#include "data/wordpiece.h"

/*
 * Combining characters in a row that are put in order.  One more than the longest word that has
 * pieces: what does not fit is part of a word that is unknown in any order.
 */
#define MAX_RUN (FISH_MAX_WORD + 1)

typedef struct normalizer {
    const fish_cleaning *cleaning;
    fish_char_sink sink;
    void *ctx;
    uint32_t n_run;
    uint32_t run[MAX_RUN];
    uint8_t order[MAX_RUN];
} normalizer;

/* The ranges that BERT calls Chinese. */
static bool is_chinese(uint32_t c)
{
    return c >= 0x3400 &&
           ((c >= 0x4e00 && c <= 0x9fff) || c <= 0x4dbf || (c >= 0xf900 && c <= 0xfaff) ||
            (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b81f) ||
            (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0x2f800 && c <= 0x2fa1f));
}

static bool put_lower(const normalizer *z, uint32_t c)
{
    uint32_t lower[2];
    unsigned n;

    if (!z->cleaning->lowercase || !(fish_uc_flags(c) & FISH_UC_UPPER))
        return z->sink(z->ctx, c);
    n = fish_uc_lower(c, lower);
    for (unsigned i = 0; i < n; i++) {
        if (!z->sink(z->ctx, lower[i]))
            return false;
    }
    return true;
}

static bool flush_run(normalizer *z)
{
    for (uint32_t i = 0; i < z->n_run; i++) {
        if (!put_lower(z, z->run[i]))
            return false;
    }
    z->n_run = 0;
    return true;
}

/* Puts a combining character behind those of its class or a lower one: a stable sort. */
static bool put_in_order(normalizer *z, uint32_t c)
{
    const uint8_t order = (uint8_t)fish_uc_order(c);
    uint32_t i;

    if (z->n_run == MAX_RUN && !flush_run(z))
        return false;
    for (i = z->n_run++; i > 0 && z->order[i - 1] > order; i--) {
        z->run[i] = z->run[i - 1];
        z->order[i] = z->order[i - 1];
    }
    z->run[i] = c;
    z->order[i] = order;
    return true;
}

/*
 * One character of a canonical decomposition (Unicode 15, D108 and D109).  A mark that is dropped
 * does not change the order of the others unless its class is 0, which ends the run.
 */
static bool put_part(normalizer *z, uint32_t c)
{
    const unsigned flags = fish_uc_flags(c);

    if (flags & FISH_UC_ORDERED)
        return flags & FISH_UC_MARK ? true : put_in_order(z, c);
    if (z->n_run && !flush_run(z))
        return false;
    return flags & FISH_UC_MARK ? true : put_lower(z, c);
}

static bool is_hangul(uint32_t c)
{
    return c >= 0xac00 && c <= 0xd7a3;
}

static bool put_decomposed(normalizer *z, uint32_t c)
{
    uint32_t parts[FISH_UC_MAX_PARTS];
    unsigned n;

    if (!z->cleaning->strip_accents)
        return put_lower(z, c);
    if (!(fish_uc_flags(c) & FISH_UC_DECOMPOSES) && !is_hangul(c))
        return put_part(z, c);
    n = fish_uc_decompose(c, parts);
    for (unsigned i = 0; i < n; i++) {
        if (!put_part(z, parts[i]))
            return false;
    }
    return true;
}

static bool put_clean(normalizer *z, uint32_t c)
{
    if (z->cleaning->clean_text) {
        const unsigned flags = fish_uc_flags(c);

        if (flags & FISH_UC_OTHER)
            return true;
        if (flags & FISH_UC_SPACE)
            c = ' ';
    }
    if (z->cleaning->split_chinese && is_chinese(c))
        return put_decomposed(z, ' ') && put_decomposed(z, c) && put_decomposed(z, ' ');
    return put_decomposed(z, c);
}

bool fish_normalize(const fish_cleaning *cleaning, const char *text, size_t len,
                    fish_char_sink sink, void *ctx)
{
    const char *const end = text + len;
    normalizer z;

    z.cleaning = cleaning;
    z.sink = sink;
    z.ctx = ctx;
    z.n_run = 0;
    while (text < end) {
        if (!put_clean(&z, fish_utf8_next(&text, end)))
            return false;
    }
    return flush_run(&z);
}
