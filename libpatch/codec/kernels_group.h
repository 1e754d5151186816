/*
 * The loops of kernels.h in groups of 64 units, of which a compare gives a word of bits.  To be
 * included once for each instruction set, with
 *   TARGET           the attribute of every function,
 *   DIFFER(a, b, w)  the bits of the 64 units of w bytes at a and b that differ,
 *   AT_LEAST(p, b)   the bits of the 64 bytes at p that are b or more,
 *   NTH_BIT(x, n)    the place of bit number n of those that are set in x, from 0 on.
 */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

TARGET ALWAYS_INLINE uint32_t changed_of(const uint8_t *a, const uint8_t *b, uint32_t n_units,
                                         const fmp_changed *to, unsigned width)
{
    const fmp_changed out = *to; /* which the compiler can keep in registers */
    const uint32_t n_grouped = n_units - n_units % 64;
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_grouped; i += 64) {
        uint64_t set = DIFFER(a + (size_t)i * width, b + (size_t)i * width, width);

        for (; set; set &= set - 1)
            fmp_put_changed(a, b, i + (uint32_t)__builtin_ctzll(set), n++, width, &out);
    }
    for (uint32_t i = n_grouped; i < n_units; i++) {
        if (memcmp(a + (size_t)i * width, b + (size_t)i * width, width) != 0)
            fmp_put_changed(a, b, i, n++, width, &out);
    }
    return n;
}

TARGET static uint32_t group_changed(const uint8_t *base, const uint8_t *target, uint32_t n_units,
                                     unsigned bits, const fmp_changed *to)
{
    if (!base) /* rare */
        return fmp_kernels_for(0)->changed(base, target, n_units, bits, to);
    switch (bits) {
    case 8:
        return changed_of(base, target, n_units, to, 1);
    case 16:
        return changed_of(base, target, n_units, to, 2);
    case 32:
        return changed_of(base, target, n_units, to, 4);
    default:
        return changed_of(base, target, n_units, to, 8);
    }
}

/* The classes in which something changes, and how far each has come. */
typedef struct lane {
    uint8_t low, high; /* keys */
    uint32_t at, end;  /* of the lists */
    uint32_t left;     /* `find`: units to pass; `sort`: units seen */
} lane;

/* Another lane for each class that changes; returns how many there are. */
static unsigned find_lanes(const fmp_classes *c, const uint32_t *start, lane *lanes,
                           uint8_t lane_of[256])
{
    uint8_t map[256];
    uint8_t of[FMP_CLASSES_MAX] = {0};
    unsigned n = 0;

    fmp_classes_map(c, map);
    for (unsigned k = 0; k < c->n; k++) {
        if (start[k] == start[k + 1])
            continue;
        of[k] = (uint8_t)n;
        lanes[n++] = (lane){.low = c->first[k],
                            .high = (uint8_t)(k + 1u < c->n ? c->first[k + 1] - 1 : 255),
                            .at = start[k],
                            .end = start[k + 1]};
    }
    for (unsigned key = 0; key < 256; key++)
        lane_of[key] = of[map[key]];
    return n;
}

/* Several groups at a time, so that one lane after the other stays in registers. */
enum { BATCH = 8 };

typedef struct batch {
    const uint8_t *p;      /* keys of 64 BATCH units */
    uint64_t valid[BATCH]; /* which of them there are */
    uint8_t tail[64 * BATCH];
} batch;

/* The keys at `i`, of which only the first n - i are there. */
static void batch_at(batch *b, const uint8_t *keys, uint32_t i, uint32_t n)
{
    b->p = keys + i;
    memset(b->valid, 0xff, sizeof b->valid);
    if (n - i >= 64 * BATCH)
        return;
    memset(b->tail, 0, sizeof b->tail);
    memcpy(b->tail, keys + i, n - i);
    b->p = b->tail;
    for (uint32_t g = 0; g < BATCH; g++) {
        const uint32_t left = n - i > 64 * g ? n - i - 64 * g : 0;

        b->valid[g] = left >= 64 ? UINT64_MAX : (1ull << left) - 1;
    }
}

TARGET static void group_count(const fmp_classes *c, const uint8_t *keys, uint32_t n, uint32_t *all)
{
    uint32_t from[FMP_CLASSES_MAX + 1] = {n}; /* keys of this class or a later one */
    batch b;

    for (uint32_t i = 0; i < n; i += 64 * BATCH) {
        batch_at(&b, keys, i, n);
        for (unsigned k = 1; k < c->n; k++) {
            for (unsigned g = 0; g < BATCH; g++)
                from[k] += (uint32_t)__builtin_popcountll(
                    AT_LEAST(b.p + 64 * (size_t)g, c->first[k]) & b.valid[g]);
        }
    }
    for (unsigned k = 0; k < c->n; k++)
        all[k] = from[k] - (k + 1u < c->n ? from[k + 1] : 0);
}

/* The units of one lane; returns their number. */
TARGET static inline uint32_t lane_bits(const batch *b, const lane *l, uint64_t bits[BATCH])
{
    uint32_t n = 0;

    for (unsigned g = 0; g < BATCH; g++) {
        const uint8_t *p = b->p + 64 * (size_t)g;
        const uint64_t above = l->high == 255 ? 0 : AT_LEAST(p, (uint8_t)(l->high + 1));

        bits[g] = AT_LEAST(p, l->low) & ~above & b->valid[g];
        n += (uint32_t)__builtin_popcountll(bits[g]);
    }
    return n;
}

/* Those of a lane's units, from `i` on, that are listed. */
TARGET static inline void find_in_lane(lane *l, const uint64_t bits[BATCH], uint32_t i,
                                       const uint32_t *rank, uint32_t *place)
{
    for (unsigned g = 0; g < BATCH; g++) {
        const uint32_t count = (uint32_t)__builtin_popcountll(bits[g]);

        while (l->left < count) {
            place[l->at] = i + 64 * g + NTH_BIT(bits[g], l->left);
            l->left += ++l->at < l->end ? rank[l->at] - rank[l->at - 1] : UINT32_MAX / 2;
        }
        l->left -= count;
    }
}

TARGET static void group_find(const fmp_classes *c, const uint8_t *keys, uint32_t n,
                              const uint32_t *start, const uint32_t *rank, uint32_t *place)
{
    lane lanes[FMP_CLASSES_MAX];
    uint8_t lane_of[256];
    const unsigned n_lanes = find_lanes(c, start, lanes, lane_of);
    batch b;

    for (unsigned m = 0; m < n_lanes; m++)
        lanes[m].left = rank[lanes[m].at];
    for (uint32_t i = 0; i < n; i += 64 * BATCH) {
        batch_at(&b, keys, i, n);
        for (unsigned m = 0; m < n_lanes; m++) {
            uint64_t bits[BATCH];
            const uint32_t count = lane_bits(&b, &lanes[m], bits);

            if (lanes[m].left < count)
                find_in_lane(&lanes[m], bits, i, rank, place);
            else
                lanes[m].left -= count;
        }
    }
}

TARGET static void group_sort(const fmp_classes *c, const uint8_t *keys, uint32_t n,
                              const uint32_t *idx, uint32_t n_changed, const uint32_t *start,
                              uint32_t *place, uint32_t *rank)
{
    lane lanes[FMP_CLASSES_MAX];
    uint64_t bits[FMP_CLASSES_MAX][BATCH];
    uint32_t seen[FMP_CLASSES_MAX][BATCH]; /* units of the lane before the group */
    uint8_t lane_of[256];
    const unsigned n_lanes = find_lanes(c, start, lanes, lane_of);
    uint32_t j = 0;
    batch b;

    for (uint32_t i = 0; i < n && j < n_changed; i += 64 * BATCH) {
        batch_at(&b, keys, i, n);
        for (unsigned m = 0; m < n_lanes; m++) {
            lane_bits(&b, &lanes[m], bits[m]);
            for (unsigned g = 0; g < BATCH; g++) {
                seen[m][g] = lanes[m].left;
                lanes[m].left += (uint32_t)__builtin_popcountll(bits[m][g]);
            }
        }
        for (; j < n_changed && idx[j] - i < 64 * BATCH; j++) {
            const unsigned m = lane_of[keys[idx[j]]];
            const unsigned g = (idx[j] - i) / 64;
            const uint64_t below = (1ull << (idx[j] - i) % 64) - 1;

            place[lanes[m].at] = idx[j];
            rank[lanes[m].at++] = seen[m][g] + (uint32_t)__builtin_popcountll(bits[m][g] & below);
        }
    }
}
