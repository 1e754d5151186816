/*
 * Merging must not disturb what it need not touch: a single parent of weight 1 comes out bit for
 * bit, whatever the bits, and elements that no parent changes stay, for every float dtype.
 */
#include "model_support.h"

#include <math.h>

#include "base/rounding.h"

enum { N_PARENTS = 3, N_ELEMENTS = 6000 };

static const char *const floats[] = {"F64", "F32", "BF16", "F16", "F8_E5M2", "F8_E4M3"};

static double number_at(const tensor *t, uint64_t element)
{
    uint64_t bits = 0;

    memcpy(&bits, t->data + element * (t->dtype->width / 8u), t->dtype->width / 8u);
    return fmp_value(fmp_value_kind_of(t->dtype->name), bits);
}

/* Bits of any kind: zeros of both signs, subnormals, the largest and the smallest, and with `odd`
 * infinities and NaNs with payloads. */
static void any_bits(tensor *t, uint64_t element, bool odd)
{
    const unsigned width = t->dtype->width / 8u;
    uint8_t *p = t->data + element * width;

    for (unsigned k = 0; k < width; k++)
        p[k] = roll(5) ? (uint8_t)rng() : 0;
    if (roll(4) == 0)
        memset(p, 0, width);
    if (roll(4) == 0)
        p[width - 1] ^= 0x80;
    if (width == 8)
        p[7] &= 0xbf; /* differences of doubles must not overflow */
    if (roll(8) == 0 && odd)
        p[width - 1] |= 0x7f;
    if (!odd && !isfinite(number_at(t, element)))
        memset(p, roll(2) ? 1 : 0, width);
}

typedef struct world {
    model base, tuned[N_PARENTS];
    fmp_store *store;
    fmp_patch *p[N_PARENTS];
} world;

static void make_world(world *w, const char *dtype)
{
    static const char *const names[N_PARENTS] = {"p0", "p1", "p2"};

    memset(w, 0, sizeof *w);
    model_add(&w->base, "a", dtype, 2, 60, N_ELEMENTS / 60);
    for (uint64_t e = 0; e < N_ELEMENTS; e++)
        any_bits(&w->base.t[0], e, false);
    put_model(&w->base, "base", false);
    w->store = open_store(at("base"));
    for (unsigned i = 0; i < N_PARENTS; i++) {
        const fmp_create_options o = {.size = sizeof o, .set_values = i == 1};
        fmp_store *t;
        fmp_error err;

        model_copy(&w->base, &w->tuned[i]);
        for (uint64_t e = i; e < N_ELEMENTS; e += N_PARENTS * (1 + roll(4)))
            any_bits(&w->tuned[i].t[0], e, true);
        put_model(&w->tuned[i], "tuned", false);
        t = open_store(at("tuned"));
        assert_status(fmp_create(w->store, t, at(names[i]), &o, NULL, &err), FMP_OK, &err);
        fmp_store_close(t);
        w->p[i] = open_patch(at(names[i]));
        remove_tree(names[i]);
    }
}

static void drop_world(world *w)
{
    for (unsigned i = 0; i < N_PARENTS; i++) {
        fmp_patch_close(w->p[i]);
        model_free(&w->tuned[i]);
    }
    fmp_store_close(w->store);
    model_free(&w->base);
}

/* The merged tensor's bytes; free() them. */
static uint8_t *merged_bytes(const world *w, const fmp_patch *const *p, size_t n,
                             fmp_merge_options o)
{
    const fmp_create_options out = {.size = sizeof out, .replace = true};
    const uint64_t len = w->base.t[0].len;
    uint8_t *data = malloc(len);
    fmp_patch *merged;
    fmp_error err;

    assert_non_null(data);
    o.size = sizeof o;
    assert_status(fmp_merge(w->store, p, n, at("merged"), &o, &out, NULL, &err), FMP_OK, &err);
    merged = open_patch(at("merged"));
    memcpy(data, w->base.t[0].data, len);
    if (fmp_patch_tensor_at(merged, 0).state != FMP_UNCHANGED)
        assert_status(fmp_patch_apply_tensor(merged, 0, data, len, &err), FMP_OK, &err);
    fmp_patch_close(merged);
    remove_tree("merged");
    return data;
}

static void assert_bits(const char *what, const tensor *t, const uint8_t *want, const uint8_t *got,
                        const tensor *base)
{
    const unsigned width = t->dtype->width / 8u;

    for (uint64_t e = 0; e < N_ELEMENTS; e++) {
        uint64_t b = 0, x = 0, y = 0;

        memcpy(&b, base->data + e * width, width);
        memcpy(&x, want + e * width, width);
        memcpy(&y, got + e * width, width);
        if (x != y)
            fail_msg("%s, %s, element %u: base %llx, expected %llx, found %llx", what,
                     t->dtype->name, (unsigned)e, (unsigned long long)b, (unsigned long long)x,
                     (unsigned long long)y);
    }
}

static const struct {
    const char *name;
    fmp_merge_options o;
} identities[] = {
    {"linear", {.method = FMP_MERGE_LINEAR}},
    {"task arithmetic", {.method = FMP_MERGE_TASK_ARITHMETIC}},
    {"ties, paper", {.method = FMP_MERGE_TIES}},
    {"ties, peft", {.method = FMP_MERGE_TIES, .ties = FMP_TIES_PEFT}},
    {"ties, mergekit", {.method = FMP_MERGE_TIES, .ties = FMP_TIES_MERGEKIT}},
    {"dare", {.method = FMP_MERGE_DARE_LINEAR}},
    {"breadcrumbs", {.method = FMP_MERGE_BREADCRUMBS}},
    {"ram", {.method = FMP_MERGE_RAM, .epsilon = {true, 0}}},
    {"prune", {.method = FMP_MERGE_PRUNE}},
};

static void test_one_parent(void **state)
{
    (void)state;
    for (unsigned f = 0; f < sizeof floats / sizeof *floats; f++) {
        world w;

        rng_seed(f + 100);
        make_world(&w, floats[f]);
        for (unsigned m = 0; m < sizeof identities / sizeof *identities; m++) {
            for (unsigned i = 0; i < N_PARENTS; i++) {
                const fmp_patch *p = w.p[i];
                uint8_t *got = merged_bytes(&w, &p, 1, identities[m].o);

                assert_bits(identities[m].name, &w.base.t[0], w.tuned[i].t[0].data, got,
                            &w.base.t[0]);
                free(got);
            }
        }
        drop_world(&w);
    }
}

/* Several parents: what none changes stays, and what exactly one changes is taken whole where the
 * method weighs nothing. */
static void test_outside_the_union(void **state)
{
    (void)state;
    for (unsigned f = 0; f < sizeof floats / sizeof *floats; f++) {
        world w;

        rng_seed(f + 200);
        make_world(&w, floats[f]);
        for (unsigned m = 1; m < sizeof identities / sizeof *identities; m++) {
            const tensor *b = &w.base.t[0];
            const unsigned width = b->dtype->width / 8u;
            uint8_t *got =
                merged_bytes(&w, (const fmp_patch *const *)w.p, N_PARENTS, identities[m].o);
            uint8_t *want = malloc(b->len);

            assert_non_null(want);
            for (uint64_t at = 0; at < b->len; at += width) {
                unsigned n = 0;

                memcpy(want + at, b->data + at, width);
                for (unsigned i = 0; i < N_PARENTS; i++) {
                    if (memcmp(w.tuned[i].t[0].data + at, b->data + at, width) == 0)
                        continue;
                    memcpy(want + at, w.tuned[i].t[0].data + at, width);
                    n++;
                }
                if (n > 1)
                    memcpy(want + at, got + at, width);
            }
            assert_bits(identities[m].name, b, want, got, b);
            free(want);
            free(got);
        }
        drop_world(&w);
    }
}

/* The plan says how many elements change, and writes nothing. */
static void check_plan(const world *w, const char *name, fmp_merge_options o)
{
    const fmp_patch *const p[] = {w->p[0], w->p[1], w->p[2]};
    const fmp_create_options out = {.size = sizeof out};
    const unsigned n_entries = count_entries(at(""));
    uint64_t by[3] = {0}, conflicts = 0;
    fmp_merge_forecast f;
    fmp_create_result made;
    fmp_error err;

    o.size = sizeof o;
    assert_status(fmp_merge_plan(w->store, p, N_PARENTS, &o, 2, &f, &err), FMP_OK, &err);
    assert_int_equal(count_entries(at("")), n_entries);
    assert_status(fmp_merge(w->store, p, N_PARENTS, at("merged"), &o, &out, &made, &err), FMP_OK,
                  &err);
    remove_tree("merged");
    for (uint64_t e = 0; e < N_ELEMENTS; e++) {
        const unsigned width = w->base.t[0].dtype->width / 8u;
        const double b = number_at(&w->base.t[0], e);
        bool up = false, down = false;
        unsigned n = 0;

        for (unsigned i = 0; i < N_PARENTS; i++) {
            const double x = number_at(&w->tuned[i].t[0], e);

            n += memcmp(w->base.t[0].data + e * width, w->tuned[i].t[0].data + e * width, width) !=
                 0;
            up |= x > b;
            down |= x < b;
        }
        conflicts += up && down;
        if (n)
            by[n - 1]++;
    }
    assert_int_equal(f.n_tensors, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(f.tensors[0].n_by[i], by[i]);
    assert_int_equal(f.tensors[0].n_conflicts, conflicts);
    assert_int_equal(f.n_changed, by[0] + by[1] + by[2]);
    if (f.n_merged != made.summary.n_changed)
        fail_msg("%s: %llu elements planned, %llu changed", name, (unsigned long long)f.n_merged,
                 (unsigned long long)made.summary.n_changed);
    fmp_merge_forecast_release(&f);
}

static void test_plan(void **state)
{
    world w;

    (void)state;
    rng_seed(300);
    make_world(&w, "F32");
    for (unsigned m = 0; m < sizeof identities / sizeof *identities; m++) {
        fmp_merge_options o = identities[m].o;

        check_plan(&w, identities[m].name, o);
        o.density = (fmp_real){true, 0.05};
        check_plan(&w, identities[m].name, o);
    }
    drop_world(&w);
}

/* A score that is no mean of squares is refused, by name and place. */
static void test_scores(void **state)
{
    static const float bad[] = {-1e-30f, NAN, INFINITY};
    world w;

    (void)state;
    rng_seed(7);
    make_world(&w, "F32");
    for (unsigned i = 0; i < 2 * sizeof bad / sizeof *bad; i++) {
        const fmp_patch *p = w.p[0];
        const fmp_store *scores;
        const fmp_merge_options o = {
            .size = sizeof o, .method = FMP_MERGE_FISHER, .no_norm = i % 2, .scores = &scores};
        fmp_store *store;
        fmp_error err;
        model s = {.n = 0};

        memset(model_add(&s, "a", "F32", 2, 60, N_ELEMENTS / 60)->data, 0, 4 * N_ELEMENTS);
        memcpy(s.t[0].data + 4 * 77, &bad[i / 2], 4);
        put_model(&s, "scores", false);
        scores = store = open_store(at("scores"));
        assert_status(fmp_merge(w.store, &p, 1, at("merged"), &o, NULL, NULL, &err), FMP_ECORRUPT,
                      &err);
        assert_non_null(strstr(err.text, "tensor \"a\": element 77"));
        assert_false(exists("merged"));
        fmp_store_close(store);
        model_free(&s);
    }
    drop_world(&w);
}

/* More changed elements than are listed: their ranks come from counting, and equal ones abound. */
static void check_many(const fmp_store *store, const model *base, const model *tuned,
                       const fmp_patch *const *p, fmp_merge_options o)
{
    const tensor *b = &base->t[0];
    const uint64_t n = b->len / 2;
    const fmp_create_options out = {.size = sizeof out, .replace = true};
    double *numbers = malloc(4 * n * sizeof *numbers);
    const double *const x[2] = {numbers + n, numbers + 2 * n};
    double *want = numbers + 3 * n;
    uint8_t *got = malloc(b->len);
    fmp_patch *merged;
    fmp_error err;

    assert_true(numbers && got);
    for (uint64_t e = 0; e < n; e++) {
        numbers[e] = number_at(b, e);
        numbers[n + e] = number_at(&tuned[0].t[0], e);
        numbers[2 * n + e] = number_at(&tuned[1].t[0], e);
    }
    o.size = sizeof o;
    assert_status(fmp_merge_values(&o, b->name, 2, numbers, x, NULL, n, want, &err), FMP_OK, &err);
    assert_status(fmp_merge(store, p, 2, at("merged"), &o, &out, NULL, &err), FMP_OK, &err);
    merged = open_patch(at("merged"));
    memcpy(got, b->data, b->len);
    assert_status(fmp_patch_apply_tensor(merged, 0, got, b->len, &err), FMP_OK, &err);
    for (uint64_t e = 0; e < n; e++) {
        uint16_t bits;

        memcpy(&bits, got + 2 * e, 2);
        if (bits != fmp_value_round(FMP_VALUE_BF16, want[e]))
            fail_msg("method %d, element %u: expected %g, found %g", (int)o.method, (unsigned)e,
                     want[e], fmp_value(FMP_VALUE_BF16, bits));
    }
    fmp_patch_close(merged);
    free(numbers);
    free(got);
}

static void test_many(void **state)
{
    static const fmp_merge_options o[] = {
        {.method = FMP_MERGE_TIES, .density = {true, 0.3}},
        {.method = FMP_MERGE_TIES, .ties = FMP_TIES_PEFT, .density = {true, 0.3}},
        {.method = FMP_MERGE_BREADCRUMBS, .density = {true, 0.5}, .gamma = {true, 0.1}}};
    model base = {.n = 0}, tuned[2];
    fmp_patch *p[2];
    fmp_store *store;
    fmp_error err;

    (void)state;
    rng_seed(11);
    model_add(&base, "a", "BF16", 2, 700, 1000);
    for (uint64_t e = 0; e < 700000; e++) { /* 2 to 4, and steps of 1/64 */
        base.t[0].data[2 * e] = (uint8_t)((base.t[0].data[2 * e] & 0x3f) | 0x20);
        base.t[0].data[2 * e + 1] = 0x40;
    }
    put_model(&base, "base", false);
    store = open_store(at("base"));
    for (unsigned i = 0; i < 2; i++) {
        fmp_store *t;

        model_copy(&base, &tuned[i]);
        for (uint64_t e = 0; e < 700000; e++)
            tuned[i].t[0].data[2 * e] = (uint8_t)(tuned[i].t[0].data[2 * e] + 16 - (int)roll(33));
        put_model(&tuned[i], "tuned", false);
        t = open_store(at("tuned"));
        assert_status(fmp_create(store, t, at("p"), NULL, NULL, &err), FMP_OK, &err);
        fmp_store_close(t);
        p[i] = open_patch(at("p"));
        remove_tree("p");
    }
    for (unsigned i = 0; i < sizeof o / sizeof *o; i++)
        check_many(store, &base, tuned, (const fmp_patch *const *)p, o[i]);
    for (unsigned i = 0; i < 2; i++) {
        fmp_patch_close(p[i]);
        model_free(&tuned[i]);
    }
    fmp_store_close(store);
    model_free(&base);
}

/* Shards have an index, which knows nothing of tensors that come from a parent: it goes. */
static void test_added_to_shards(void **state)
{
    const fmp_merge_options o = {.size = sizeof o, .added = 1};
    const fmp_patch *p;
    fmp_store *base, *tuned, *made;
    fmp_patch *one, *merged;
    fmp_error err;
    model b = {.n = 0}, t;

    (void)state;
    rng_seed(9);
    for (unsigned i = 0; i < 4; i++)
        model_add(&b, (const char *[]){"a", "b", "c", "d"}[i], "U8", 1, 40, 0);
    model_copy(&b, &t);
    model_add(&t, "head", "F32", 1, 7, 0);
    put_shards(&b, "shards", 2);
    put_shards(&t, "more", 2);
    base = open_store(at("shards"));
    tuned = open_store(at("more"));
    assert_status(fmp_create(base, tuned, at("one"), NULL, NULL, &err), FMP_OK, &err);
    p = one = open_patch(at("one"));
    assert_status(fmp_merge(base, &p, 1, at("merged"), &o, NULL, NULL, &err), FMP_OK, &err);
    merged = open_patch(at("merged"));
    p = merged;
    assert_status(fmp_apply(base, &p, 1, at("made"), NULL, NULL, &err), FMP_OK, &err);
    made = open_store(at("made"));
    assert_same_tensors(made, tuned);
    fmp_store_close(base);
    fmp_store_close(tuned);
    fmp_store_close(made);
    fmp_patch_close(one);
    fmp_patch_close(merged);
    model_free(&b);
    model_free(&t);
}

/* A sum of models whose weights do not add up to 1 would scale all of the base. */
static void test_sum_of_weights(void **state)
{
    static const double half[] = {0.5, 0.25}, whole[] = {1.5, -0.5};
    const double b[] = {1}, x[] = {2}, y[] = {4};
    const double *const xy[] = {x, y};
    fmp_merge_options o = {.size = sizeof o, .weights = half, .normalize = -1};
    double got[1];
    fmp_error err;

    (void)state;
    assert_status(fmp_merge_values(&o, "w", 2, b, xy, NULL, 1, got, &err), FMP_EUSAGE, &err);
    o.weights = whole;
    assert_status(fmp_merge_values(&o, "w", 2, b, xy, NULL, 1, got, &err), FMP_OK, &err);
    assert_true(got[0] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_parent, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_outside_the_union, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_plan, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_scores, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_many, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_added_to_shards, make_dir, drop_dir),
        cmocka_unit_test(test_sum_of_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
