/*
 * A forecast that has looked at everything says what fmp_create() then makes; one that has looked
 * at little says how far it may be off.
 */
#include "random_models.h"

#include "base/alloc.h"

enum { N_CASES = 30 };

static fmp_create_result created(const fmp_store *base, const fmp_store *target,
                                 fmp_profile profile)
{
    const fmp_create_options o = {
        .size = sizeof o, .n_threads = 1, .replace = true, .profile = profile};
    fmp_create_result r;
    fmp_error err;

    assert_status(fmp_create(base, target, at("p.fmp"), &o, &r, &err), FMP_OK, &err);
    return r;
}

/* Sizes within `part` of the file, and what manifests and tables of small models are off by. */
static void check_sizes(const fmp_store *base, const fmp_store *target,
                        const fmp_forecast_result *f, double part)
{
    for (unsigned k = 0; k < 2; k++) {
        const fmp_create_result r = created(base, target, (fmp_profile)k);
        const double size = (double)r.summary.file_size;
        const double off = f->profile[k].n_bytes - size;

        if ((off < 0 ? -off : off) > part * size + 900)
            fail_msg("profile %u: %.0f said, %.0f made", k, f->profile[k].n_bytes, size);
        assert_int_equal(f->n_elements, r.summary.n_elements);
    }
}

static void small_models_are_told_as_they_are(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < N_CASES; seed++) {
        fmp_forecast_result f;
        fmp_store *base, *target;
        model b, t;
        fmp_error err;

        rng_seed(seed);
        any_base(&b);
        any_target(&b, &t, 1);
        put_any(&b, "base", 0);
        put_any(&t, "target", 1);
        base = open_store(at("base"));
        target = open_store(at("target"));
        assert_status(fmp_forecast(base, target, NULL, 1e9, &f, &err), FMP_OK, &err);
        assert_true(f.n_changed_error == 0);
        assert_int_equal((uint64_t)(f.n_changed + 0.5),
                         created(base, target, FMP_PROFILE_OPEN).summary.n_changed);
        check_sizes(base, target, &f, 0.3);
        fmp_store_close(base);
        fmp_store_close(target);
        model_free(&b);
        model_free(&t);
        remove_tree("base");
        remove_tree("target");
    }
}

/* So many pieces of 1 MiB that a forecast of no time sees only some of them; each tensor changes by
 * more than the one before, so that the error is not nothing. */
static void put_large(void)
{
    enum { N = 9 };
    model b = {0}, t;
    fmp_error err;
    fmp_store *base, *target;
    fmp_forecast_result some, all;

    rng_seed(5);
    for (unsigned i = 0; i < N; i++) {
        char name[16];

        text_put(name, "t%u", i);
        model_add(&b, name, "BF16", 2, 5120, 1024);
    }
    model_copy(&b, &t);
    for (unsigned i = 0; i < N; i++) {
        for (uint64_t k = 0; k < t.t[i].len; k += 2 * (20 + roll(8000 / (1 + i))))
            t.t[i].data[k] ^= 1;
    }
    put_model(&b, "base", false);
    put_model(&t, "target", false);
    base = open_store(at("base"));
    target = open_store(at("target"));
    assert_status(fmp_forecast(base, target, NULL, 0, &some, &err), FMP_OK, &err);
    assert_status(fmp_forecast(base, target, NULL, 1e9, &all, &err), FMP_OK, &err);
    assert_true(some.n_seen < some.n_bytes);
    assert_int_equal(all.n_seen, all.n_bytes);
    assert_true(some.n_changed_error > 0 && all.n_changed_error == 0);
    check_sizes(base, target, &all, 0.03);
    check_sizes(base, target, &some, 4 * some.profile[0].n_bytes_error + 0.03);
    fmp_store_close(base);
    fmp_store_close(target);
    model_free(&b);
    model_free(&t);
    remove_tree("base");
    remove_tree("target");
}

static void a_sample_knows_how_far_it_may_be_off(void **state)
{
    (void)state;
    put_large();
}

static void memory_may_end_anywhere(void **state)
{
    const unsigned n_before = count_entries(at(""));
    fmp_status st = FMP_ENOMEM;
    fmp_store *base, *target;
    model b, t;
    long k = 0;

    (void)state;
    rng_seed(3);
    any_base(&b);
    any_target(&b, &t, 1);
    put_any(&b, "base", 0);
    put_any(&t, "target", 1);
    base = open_store(at("base"));
    target = open_store(at("target"));
    for (; st; k++) {
        fmp_forecast_result f;
        fmp_error err = {0};

        fmp_alloc_fail_at(k);
        st = fmp_forecast(base, target, NULL, 1e9, &f, &err);
        fmp_alloc_fail_at(-1);
        if (st && (st != FMP_ENOMEM || err.status != FMP_ENOMEM))
            fail_msg("allocation %ld: %s: %s", k, fmp_status_name(st), err.text);
        assert_true(k < 100000);
    }
    assert_true(k > 10);
    fmp_store_close(base);
    fmp_store_close(target);
    model_free(&b);
    model_free(&t);
    remove_tree("base");
    remove_tree("target");
    assert_int_equal(count_entries(at("")), n_before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_models_are_told_as_they_are, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(a_sample_knows_how_far_it_may_be_off, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(memory_may_end_anywhere, make_dir, drop_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
