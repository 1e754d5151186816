/*
 * Choosing classes: neighbouring keys share one where telling them apart does not pay.  See
 * classes.h.
 */
#include "codec/classes.h"

#include <string.h>

#include "codec/bits.h"
#include "codec/scan.h"

/* What a class costs besides its positions: its entry, and what its contexts have to learn. */
#define CLASS_BITS 8u

/* Four counters, so that equal keys in a row do not wait for each other. */
void fmp_keys_count(const uint8_t *keys, uint32_t n, uint32_t count[256])
{
    uint32_t part[4][256];
    uint32_t i;

    memset(part, 0, sizeof part);
    for (i = 0; i + 4 <= n; i += 4) {
        for (unsigned k = 0; k < 4; k++)
            part[k][keys[i + k]]++;
    }
    for (; i < n; i++)
        part[0][keys[i]]++;
    for (i = 0; i < 256; i++)
        count[i] = part[0][i] + part[1][i] + part[2][i] + part[3][i];
}

/* A range of keys that is going to be a class. */
typedef struct range {
    uint32_t all, changed;
    uint32_t cost; /* bits of its positions, in 1/256 */
    uint8_t first;
} range;

/* n log2 n, in 1/65536 bits. */
static uint64_t n_log_n(uint32_t n)
{
    return n ? n * (uint64_t)fmp_log2_fine(n) : 0;
}

/* k positions among n: n H(k / n) bits, here in 1/256. */
static uint32_t position_cost(uint32_t n, uint32_t k)
{
    return (uint32_t)((n_log_n(n) - n_log_n(k) - n_log_n(n - k)) >> 8);
}

static range join(const range *a, const range *b)
{
    range r = {.all = a->all + b->all, .changed = a->changed + b->changed, .first = a->first};

    r.cost = position_cost(r.all, r.changed);
    return r;
}

/* What joining costs, in 1/256 bits; negative where it pays. */
static int64_t join_cost(const range *a, const range *b)
{
    return (int64_t)join(a, b).cost - a->cost - b->cost - 256 * (int64_t)CLASS_BITS;
}

static unsigned find_ranges(range *r, const uint32_t all[256], const uint32_t changed[256])
{
    unsigned n = 0;

    for (unsigned key = 0; key < 256; key++) {
        if (all[key])
            r[n++] = (range){.all = all[key],
                             .changed = changed[key],
                             .cost = position_cost(all[key], changed[key]),
                             .first = (uint8_t)key};
    }
    return n;
}

/* Joins the two neighbours that gain the most, until none do. */
static unsigned join_ranges(range *r, unsigned n)
{
    int64_t gain[256];

    for (unsigned i = 0; i + 1 < n; i++)
        gain[i] = join_cost(&r[i], &r[i + 1]);
    while (n > 1) {
        unsigned best = 0;

        for (unsigned i = 1; i + 1 < n; i++)
            best = gain[i] < gain[best] ? i : best;
        if (gain[best] >= 0 && n <= FMP_CLASSES_MAX)
            break;
        r[best] = join(&r[best], &r[best + 1]);
        n--;
        memmove(&r[best + 1], &r[best + 2], (n - best - 1) * sizeof *r);
        memmove(&gain[best], &gain[best + 1], (n - best - 1) * sizeof *gain);
        if (best > 0)
            gain[best - 1] = join_cost(&r[best - 1], &r[best]);
        if (best + 1 < n)
            gain[best] = join_cost(&r[best], &r[best + 1]);
    }
    return n;
}

/* The largest step that still passes less than one change on average (0.9 of one). */
static uint8_t step_for(uint32_t all, uint32_t changed)
{
    uint8_t step = 0;

    if (!changed)
        return FMP_CLASS_STILL;
    while (step < FMP_CLASS_STEP && ((uint64_t)changed << (step + 1)) * 10 <= (uint64_t)all * 9)
        step++;
    return step;
}

uint64_t fmp_classes_choose(fmp_classes *c, const uint32_t all[256], const uint32_t changed[256])
{
    range r[256];
    const unsigned n = join_ranges(r, find_ranges(r, all, changed));
    uint64_t cost = 0;

    c->n = (uint8_t)n;
    for (unsigned i = 0; i < n; i++) {
        c->first[i] = i ? r[i].first : 0;
        c->step[i] = step_for(r[i].all, r[i].changed);
        cost += r[i].cost + 256 * (uint64_t)CLASS_BITS;
    }
    return cost >> 8;
}

void fmp_classes_map(const fmp_classes *c, uint8_t map[256])
{
    unsigned at = 0;

    for (unsigned key = 0; key < 256; key++) {
        while (at + 1 < c->n && key >= c->first[at + 1])
            at++;
        map[key] = (uint8_t)at;
    }
}
