/*
 * The loops over all units of a block: what a CPU does faster must be what plain C does, for every
 * set of features, any length and place in memory.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "codec/kernels.h"

enum { N_MAX = 5000, GUARD = 64 };

static uint64_t rng_state = 0x9e3779b97f4a7c15u;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

/* Each set of features that this CPU has, the empty one first. */
static unsigned feature_sets(unsigned sets[8])
{
    const unsigned all = fmp_cpu_features();
    unsigned n = 0;

    for (unsigned s = 0; s < 8; s++) {
        if ((s & ~all) == 0)
            sets[n++] = s;
    }
    return n;
}

static uint32_t pick_length(unsigned round)
{
    return round < 200 ? 1 + round : 1 + (uint32_t)(rng() % N_MAX);
}

static void keys_are_those_of_plain_c(void **state)
{
    static uint8_t data[8 * N_MAX + 16];
    static uint8_t want[N_MAX], found[N_MAX + GUARD];
    unsigned sets[8];
    const unsigned n_sets = feature_sets(sets);

    (void)state;
    for (unsigned round = 0; round < 600; round++) {
        const uint32_t n = pick_length(round);
        const unsigned bits = 8u << rng() % 4;
        const unsigned shift = (unsigned)(rng() % 65);
        const bool sm = rng() & 1;
        const uint8_t *from = data + rng() % 9;

        for (size_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)(rng() >> 20);
        fmp_kernels_for(0)->keys(from, n, bits, sm, shift, want);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t x = 0;

            memcpy(&x, from + (size_t)i * (bits / 8), bits / 8); /* little-endian */
            assert_int_equal(want[i], fmp_key(x, bits, sm, shift));
        }
        for (unsigned s = 0; s < n_sets; s++) {
            memset(found, 0xa5, sizeof found);
            fmp_kernels_for(sets[s])->keys(from, n, bits, sm, shift, found);
            assert_memory_equal(found, want, n);
            for (unsigned i = 0; i < GUARD; i++)
                assert_int_equal(found[n + i], 0xa5);
        }
    }
}

/* Keys as they come: a few near each other, all, one, or two far apart. */
static void fill_keys(uint8_t *keys, uint32_t n)
{
    const unsigned kind = (unsigned)(rng() % 4);

    for (uint32_t i = 0; i < n; i++) {
        const uint64_t r = rng();

        keys[i] = (uint8_t)(kind == 0   ? 110 + (unsigned)__builtin_ctzll(r | 1u << 20)
                            : kind == 1 ? r >> 8
                            : kind == 2 ? 77
                                        : (r & 1) * 255);
    }
}

static void pick_classes(fmp_classes *c)
{
    unsigned first = 0;

    *c = (fmp_classes){.n = 1};
    while (c->n < FMP_CLASSES_MAX && rng() % 12) {
        first += 1 + (unsigned)(rng() % (rng() % 3 ? 3 : 120));
        if (first > 255)
            break;
        c->first[c->n++] = (uint8_t)first;
    }
}

/* The changed units, and by class: what all kernels must find of them. */
typedef struct truth {
    uint32_t n, n_changed;
    uint32_t idx[N_MAX], place[N_MAX], rank[N_MAX];
    uint32_t start[FMP_CLASSES_MAX + 1], all[FMP_CLASSES_MAX];
} truth;

static void find_truth(const fmp_classes *c, const uint8_t *keys, uint32_t n, unsigned one_of,
                       truth *t)
{
    uint8_t map[256];

    t->n = n;
    t->n_changed = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (rng() % one_of == 0)
            t->idx[t->n_changed++] = i;
    }
    fmp_classes_map(c, map);
    t->start[0] = 0;
    for (unsigned k = 0; k < c->n; k++) {
        uint32_t at = t->start[k];
        uint32_t j = 0;

        t->all[k] = 0;
        for (uint32_t i = 0; i < n; i++) {
            const bool changed = j < t->n_changed && t->idx[j] == i;

            j += changed;
            if (map[keys[i]] != k)
                continue;
            if (changed) {
                t->place[at] = i;
                t->rank[at++] = t->all[k];
            }
            t->all[k]++;
        }
        t->start[k + 1] = at;
    }
}

static void check_kernels(const fmp_kernels *kernels, const fmp_classes *c, const uint8_t *keys,
                          const truth *t)
{
    static uint32_t place[N_MAX + GUARD], rank[N_MAX + GUARD];
    uint32_t all[FMP_CLASSES_MAX];
    const size_t len = t->n_changed * sizeof *place;

    kernels->count(c, keys, t->n, all);
    assert_memory_equal(all, t->all, c->n * sizeof *all);
    memset(place, 0xa5, sizeof place);
    kernels->find(c, keys, t->n, t->start, t->rank, place);
    if (len)
        assert_memory_equal(place, t->place, len);
    for (unsigned i = 0; i < GUARD; i++)
        assert_int_equal(place[t->n_changed + i], 0xa5a5a5a5);
    memset(place, 0xa5, sizeof place);
    memset(rank, 0xa5, sizeof rank);
    kernels->sort(c, keys, t->n, t->idx, t->n_changed, t->start, place, rank);
    if (len) {
        assert_memory_equal(place, t->place, len);
        assert_memory_equal(rank, t->rank, len);
    }
    for (unsigned i = 0; i < GUARD; i++) {
        assert_int_equal(place[t->n_changed + i], 0xa5a5a5a5);
        assert_int_equal(rank[t->n_changed + i], 0xa5a5a5a5);
    }
}

static void classes_are_those_of_plain_c(void **state)
{
    static truth t;
    unsigned sets[8];
    const unsigned n_sets = feature_sets(sets);

    (void)state;
    for (unsigned round = 0; round < 1500; round++) {
        const uint32_t n = pick_length(round);
        uint8_t *exact = malloc(n); /* so that a read past the end shows */
        fmp_classes c;

        assert_non_null(exact);
        fill_keys(exact, n);
        pick_classes(&c);
        find_truth(&c, exact, n, round % 5 == 0 ? 1 : 1 + (unsigned)(rng() % 200), &t);
        for (unsigned s = 0; s < n_sets; s++)
            check_kernels(fmp_kernels_for(sets[s]), &c, exact, &t);
        free(exact);
    }
}

/* Units of two arrays that differ, one by one. */
static uint32_t find_changed(const uint8_t *a, const uint8_t *b, uint32_t n, size_t width,
                             const fmp_changed *to)
{
    uint32_t n_changed = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (memcmp(a + i * width, b + i * width, width) == 0)
            continue;
        memcpy(to->before + n_changed * width, a + i * width, width);
        memcpy(to->after + n_changed * width, b + i * width, width);
        to->idx[n_changed++] = i;
    }
    return n_changed;
}

static void check_changed(unsigned features, const uint8_t *a, const uint8_t *b, uint32_t n,
                          unsigned bits)
{
    static uint32_t idx[2][N_MAX + GUARD];
    static uint8_t before[2][8 * (N_MAX + GUARD)], after[2][8 * (N_MAX + GUARD)];
    static const uint8_t zeros[8 * N_MAX];
    const size_t width = bits / 8;
    uint32_t want;

    memset(idx, 0xa5, sizeof idx);
    memset(before, 0xa5, sizeof before);
    memset(after, 0xa5, sizeof after);
    want = find_changed(a ? a : zeros, b, n, width,
                        &(fmp_changed){.idx = idx[0], .before = before[0], .after = after[0]});
    assert_int_equal(
        fmp_kernels_for(features)->changed(
            a, b, n, bits, &(fmp_changed){.idx = idx[1], .before = before[1], .after = after[1]}),
        want);
    assert_memory_equal(idx[0], idx[1], (want + GUARD) * sizeof **idx);
    assert_memory_equal(before[0], before[1], (want + GUARD) * width);
    assert_memory_equal(after[0], after[1], (want + GUARD) * width);
}

static void changed_units_are_those_that_differ(void **state)
{
    unsigned sets[8];
    const unsigned n_sets = feature_sets(sets);

    (void)state;
    for (unsigned round = 0; round < 1600; round++) {
        const unsigned bits = 8u << round % 4;
        const unsigned width = bits / 8;
        const uint32_t n = pick_length(round / 4);
        const unsigned one_of = round % 7 == 0 ? 1 : 1 + (unsigned)(rng() % 200);
        const size_t off = rng() % 9;
        uint8_t *a = malloc(off + (size_t)n * width); /* exact, so that a read past the end shows */
        uint8_t *b = malloc(off + (size_t)n * width);

        assert_true(a && b);
        for (size_t i = 0; i < (size_t)n * width; i++)
            b[off + i] = a[off + i] = (uint8_t)(rng() % 3 ? rng() >> 20 : 0);
        for (uint32_t i = 0; i < n; i++) {
            if (rng() % one_of == 0) /* one bit of one byte */
                b[off + (size_t)i * width + rng() % width] ^= (uint8_t)(1u << rng() % 8);
        }
        for (unsigned s = 0; s < n_sets; s++) {
            check_changed(sets[s], a + off, b + off, n, bits);
            check_changed(sets[s], NULL, b + off, n, bits);
        }
        free(a);
        free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changed_units_are_those_that_differ),
        cmocka_unit_test(keys_are_those_of_plain_c),
        cmocka_unit_test(classes_are_those_of_plain_c),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
