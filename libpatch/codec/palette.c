/*
 * Palettes of residuals.  See palette.h.
 */
#include "codec/palette.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/scan.h"

#define MAX_DISTINCT (FMP_PALETTE_SLOTS / 2)
#define MIN_COUNT    3u /* a rarer value costs less as an escape */

void fmp_palette_clear(fmp_palette *p)
{
    p->n = p->n_distinct = p->n_counted = p->n_missed = 0;
    memset(p->count, 0, sizeof p->count);
}

/* The slot of a value: where it is, or where it would be. */
static uint32_t slot_of(const fmp_palette *p, uint64_t value)
{
    uint32_t at = (uint32_t)((value * 0x9e3779b97f4a7c15u) >> 52);

    while (p->count[at] && p->key[at] != value)
        at = (at + 1) % FMP_PALETTE_SLOTS;
    return at;
}

void fmp_palette_count(fmp_palette *p, uint64_t value)
{
    const uint32_t at = slot_of(p, value);

    p->n_counted++;
    if (!p->count[at] && p->n_distinct == MAX_DISTINCT) {
        p->n_missed++;
        return;
    }
    p->n_distinct += p->count[at] == 0;
    p->key[at] = value;
    p->count[at]++;
}

typedef struct counted {
    uint64_t value;
    uint32_t count, slot;
} counted;

static int most_frequent_first(const void *a, const void *b)
{
    const counted *x = a;
    const counted *y = b;

    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

uint64_t fmp_palette_choose(fmp_palette *p, unsigned bits, uint64_t *ret_raw)
{
    counted all[MAX_DISTINCT];
    uint32_t hist[256] = {0};
    uint32_t n = 0;

    if (p->n_missed > p->n_counted / 4 || p->n_distinct > p->n_counted / 4)
        return UINT64_MAX;
    for (uint32_t i = 0; i < FMP_PALETTE_SLOTS; i++) {
        if (p->count[i])
            all[n++] = (counted){.value = p->key[i], .count = p->count[i], .slot = i};
    }
    qsort(all, n, sizeof *all, most_frequent_first);
    p->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        const bool in = i < FMP_PALETTE_MAX && all[i].count >= MIN_COUNT;
        const uint32_t number = in ? i : FMP_PALETTE_ESCAPE;

        hist[number] += all[i].count;
        p->count[all[i].slot] = number + 1;
        if (in)
            p->value[p->n++] = all[i].value;
    }
    hist[FMP_PALETTE_ESCAPE] += p->n_missed;
    *ret_raw = 8 + (uint64_t)(p->n + hist[FMP_PALETTE_ESCAPE]) * bits;
    return p->n ? *ret_raw + fmp_entropy_bits(hist) : UINT64_MAX;
}

unsigned fmp_palette_find(const fmp_palette *p, uint64_t value)
{
    const uint32_t number = p->count[slot_of(p, value)];

    return number ? number - 1 : FMP_PALETTE_ESCAPE;
}
