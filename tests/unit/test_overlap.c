/*
 * Overlap: counts held against models compared element by element, over every dtype and every way
 * in which a tensor can change; the same for any number of threads.
 */
#include "random_models.h"

#include "base/alloc.h"

enum { N_PATCHES = 4, N_CASES = 60 };

static const char *const names[N_PATCHES] = {"p0", "p1", "p2", "p3"};

static fmp_patch *make(const fmp_store *base, const model *m, unsigned i, bool set)
{
    const fmp_create_options o = {.size = sizeof o, .set_values = set};
    fmp_store *t;
    fmp_error err;

    put_model(m, "target", false);
    t = open_store(at("target"));
    assert_status(fmp_create(base, t, at(names[i]), &o, NULL, &err), FMP_OK, &err);
    fmp_store_close(t);
    remove_tree("target");
    return open_patch(at(names[i]));
}

static const tensor *find(const model *m, const char *name)
{
    for (unsigned i = 0; i < m->n; i++) {
        if (strcmp(m->t[i].name, name) == 0)
            return &m->t[i];
    }
    return NULL;
}

static uint64_t load(const tensor *t, uint64_t i)
{
    const unsigned width = t->dtype->width / 8u;
    uint64_t x = 0;

    memcpy(&x, t->data + i * width, width);
    return x;
}

/* Place of a bit pattern in the order of values. */
static uint64_t place(const tensor *t, uint64_t x)
{
    const unsigned bits = t->dtype->width;
    const uint64_t top = 1ull << (bits - 1);
    const uint64_t all = bits == 64 ? UINT64_MAX : (1ull << bits) - 1;

    if (t->dtype->order != FMP_ORDER_SIGN)
        return x;
    return x & top ? ~x & all : x | top;
}

/* Up, down, or not at all, modulo the unit. */
static int direction(const tensor *base, const tensor *target, uint64_t i)
{
    const unsigned bits = base->dtype->width;
    const uint64_t d = place(base, load(target, i)) - place(base, load(base, i));

    return load(base, i) == load(target, i) ? 0 : d >> (bits - 1) & 1 ? -1 : 1;
}

typedef struct expected {
    uint64_t n[2], shared, same, conflicts;
} expected;

/* Pairs of models that change elements of tensors in place, as residuals. */
static expected expect(const model *base, const model *a, const model *b)
{
    expected e = {{0}, 0, 0, 0};

    for (unsigned k = 0; k < base->n; k++) {
        const tensor *t = &base->t[k];
        const tensor *x = find(a, t->name);
        const tensor *y = find(b, t->name);

        for (uint64_t i = 0; i < t->len / (t->dtype->width / 8u); i++) {
            const int dx = direction(t, x, i);
            const int dy = direction(t, y, i);

            e.n[0] += dx != 0;
            e.n[1] += dy != 0;
            e.shared += dx && dy;
            e.same += dx && dy && load(x, i) == load(y, i);
            e.conflicts += dx * dy < 0;
        }
    }
    return e;
}

static void check_pair(const fmp_overlap *o, unsigned i, unsigned k, const expected *e)
{
    const fmp_overlap_pair p = fmp_overlap_of(o, i, k);
    const fmp_overlap_pair back = fmp_overlap_of(o, k, i);

    assert_int_equal(p.n_first, e->n[0]);
    assert_int_equal(p.n_second, e->n[1]);
    assert_int_equal(p.n_shared, e->shared);
    assert_int_equal(p.n_same, e->same);
    assert_int_equal(p.n_conflicts, e->conflicts);
    assert_int_equal(back.n_shared, p.n_shared);
    assert_int_equal(back.n_first, p.n_second);
}

/* Sums over tensors and sets are what the pairs say. */
static void check_sums(const fmp_overlap *o)
{
    uint64_t by_tensor[N_PATCHES] = {0}, by_set[N_PATCHES] = {0}, all = 0, sets = 0;
    uint64_t last = UINT64_MAX;

    for (uint32_t t = 0; t < fmp_overlap_tensor_count(o); t++) {
        all += fmp_overlap_tensor_at(o, t).n_changed;
        for (unsigned i = 0; i < N_PATCHES; i++)
            by_tensor[i] += fmp_overlap_changed(o, t, i);
    }
    for (uint32_t s = 0; s < fmp_overlap_set_count(o); s++) {
        uint64_t patches;
        const uint64_t n = fmp_overlap_set_at(o, s, &patches);

        assert_true(n && n <= last && patches);
        last = n;
        sets += n;
        for (unsigned i = 0; i < N_PATCHES; i++)
            by_set[i] += patches >> i & 1 ? n : 0;
    }
    assert_int_equal(sets, all);
    for (unsigned i = 0; i < N_PATCHES; i++) {
        assert_int_equal(by_tensor[i], fmp_overlap_of(o, i, i).n_first);
        assert_int_equal(by_set[i], by_tensor[i]);
    }
}

static void assert_equal(const fmp_overlap *a, const fmp_overlap *b)
{
    assert_int_equal(fmp_overlap_set_count(a), fmp_overlap_set_count(b));
    for (uint32_t s = 0; s < fmp_overlap_set_count(a); s++) {
        uint64_t x, y;

        assert_int_equal(fmp_overlap_set_at(a, s, &x), fmp_overlap_set_at(b, s, &y));
        assert_int_equal(x, y);
    }
    for (unsigned i = 0; i < N_PATCHES; i++) {
        for (unsigned k = 0; k < N_PATCHES; k++) {
            const fmp_overlap_pair x = fmp_overlap_of(a, i, k);
            const fmp_overlap_pair y = fmp_overlap_of(b, i, k);

            assert_memory_equal(&x, &y, sizeof x);
        }
    }
}

static fmp_overlap *count(fmp_patch *const *p, unsigned n_threads)
{
    const fmp_overlap_options o = {.size = sizeof o, .n_threads = n_threads};
    fmp_overlap *ret;
    fmp_error err;

    assert_status(fmp_overlap_new((const fmp_patch *const *)p, N_PATCHES, &o, &ret, &err), FMP_OK,
                  &err);
    return ret;
}

static void check_dtype(const fmp_dtype *dtype)
{
    model base = {.n = 0}, tuned[N_PATCHES];
    fmp_patch *p[N_PATCHES];
    fmp_overlap *one, *many;
    fmp_store *b;

    rng_seed(dtype->bits + dtype->name[0]);
    model_add(&base, "a", dtype->name, 2, 80, 700);
    model_add(&base, "b", dtype->name, 1, 24, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    for (unsigned i = 0; i < N_PATCHES; i++) {
        model_copy(&base, &tuned[i]);
        for (unsigned k = 0; k < 2; k++)
            change_some(&tuned[i].t[k], 4 + 3 * i);
        p[i] = make(b, &tuned[i], i, false);
        assert_int_equal(fmp_patch_summarize(p[i]).n_residual, 2);
    }
    one = count(p, 1);
    many = count(p, 3);
    assert_equal(one, many);
    check_sums(one);
    for (unsigned i = 0; i < N_PATCHES; i++) {
        for (unsigned k = i + 1; k < N_PATCHES; k++) {
            const expected e = expect(&base, &tuned[i], &tuned[k]);

            check_pair(one, i, k, &e);
            assert_true(e.shared > 20 && e.shared > e.same);
        }
    }
    fmp_overlap_free(one);
    fmp_overlap_free(many);
    fmp_store_close(b);
    model_free(&base);
    for (unsigned i = 0; i < N_PATCHES; i++) {
        fmp_patch_close(p[i]);
        model_free(&tuned[i]);
        remove_tree(names[i]);
    }
}

static void test_every_dtype(void **state)
{
    (void)state;
    for (unsigned i = 0; fmp_dtype_at(i); i++)
        check_dtype(fmp_dtype_at(i));
}

/* Models that change in every way: the sums hold, threads do not matter, a patch shares all with
 * itself. */
static void test_every_state(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < N_CASES; seed++) {
        model base = {.n = 0}, tuned[N_PATCHES];
        fmp_patch *p[N_PATCHES];
        fmp_overlap *one, *many;
        fmp_store *b;

        rng_seed(seed + 900);
        any_base(&base);
        put_model(&base, "base", false);
        b = open_store(at("base"));
        for (unsigned i = 0; i + 1 < N_PATCHES; i++) {
            any_target(&base, &tuned[i], i + 1);
            p[i] = make(b, &tuned[i], i, roll(3) == 0);
        }
        p[3] = p[0];
        one = count(p, 1);
        many = count(p, 7);
        assert_equal(one, many);
        check_sums(one);
        assert_int_equal(fmp_overlap_of(one, 0, 3).n_same, fmp_overlap_of(one, 0, 0).n_first);
        assert_int_equal(fmp_overlap_of(one, 0, 3).n_conflicts, 0);
        fmp_overlap_free(one);
        fmp_overlap_free(many);
        fmp_store_close(b);
        model_free(&base);
        for (unsigned i = 0; i + 1 < N_PATCHES; i++) {
            fmp_patch_close(p[i]);
            model_free(&tuned[i]);
            remove_tree(names[i]);
        }
    }
}

/* New bits count as changed, have no direction, and may be alike. */
static void test_set_values(void **state)
{
    model base = {.n = 0}, tuned[N_PATCHES];
    fmp_patch *p[N_PATCHES];
    fmp_overlap *o;
    fmp_store *b;

    (void)state;
    rng_seed(77);
    model_add(&base, "a", "BF16", 1, 4000, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    for (unsigned i = 0; i < N_PATCHES; i++) {
        model_copy(&base, &tuned[i]);
        for (unsigned k = 0; k < 400; k++)
            tuned[i].t[0].data[20 * k + 2 * (i % 2)] ^= (uint8_t)(1 + (i == 3 && k < 100));
        p[i] = make(b, &tuned[i], i, i > 0);
    }
    o = count(p, 2);
    assert_int_equal(fmp_overlap_of(o, 0, 1).n_shared, 0);
    assert_int_equal(fmp_overlap_of(o, 0, 2).n_shared, 400); /* coded apart, one target */
    assert_int_equal(fmp_overlap_of(o, 0, 2).n_same, 400);
    assert_int_equal(fmp_overlap_of(o, 1, 3).n_shared, 400);
    assert_int_equal(fmp_overlap_of(o, 1, 3).n_same, 300);
    assert_int_equal(fmp_overlap_of(o, 1, 3).n_conflicts, 0);
    fmp_overlap_free(o);
    fmp_store_close(b);
    model_free(&base);
    for (unsigned i = 0; i < N_PATCHES; i++) {
        fmp_patch_close(p[i]);
        model_free(&tuned[i]);
    }
}

static void test_sweep(void **state)
{
    model base = {.n = 0}, tuned;
    fmp_patch *p[2];
    fmp_status st = FMP_ENOMEM;
    fmp_store *b;

    (void)state;
    rng_seed(5);
    model_add(&base, "a", "F32", 1, 500, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    for (unsigned i = 0; i < 2; i++) {
        model_copy(&base, &tuned);
        change_some(&tuned.t[0], 5);
        p[i] = make(b, &tuned, i, false);
        model_free(&tuned);
    }
    for (long k = 0; st; k++) {
        const fmp_overlap_options o = {.size = sizeof o, .n_threads = 1};
        fmp_overlap *ret = NULL;
        fmp_error err = {0};

        fmp_alloc_fail_at(k);
        st = fmp_overlap_new((const fmp_patch *const *)p, 2, &o, &ret, &err);
        fmp_alloc_fail_at(-1);
        if (st && st != FMP_ENOMEM)
            fail_msg("allocation %ld: %s", k, err.text);
        fmp_overlap_free(ret);
        assert_true(k < 1000);
    }
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
    fmp_store_close(b);
    model_free(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_dtype, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_every_state, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_set_values, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_sweep, make_dir, drop_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
