/*
 * Every allocation of the large verbs fails once: the verb then ends with FMP_ENOMEM, leaks
 * nothing, and leaves no file behind.
 */
#include "model_support.h"

#include "base/alloc.h"

static fmp_store *base, *target;

static int begin(void **state)
{
    model b = {.n = 0}, t;

    if (make_dir(state))
        return -1;
    rng_seed(23);
    model_add(&b, "a", "BF16", 2, 10, 30);
    model_add(&b, "b", "F32", 1, 50, 0);
    model_add(&b, "gone", "U8", 1, 60, 0);
    model_add(&b, "model.w", "BF16", 2, 8, 300);
    model_add(&b, "resized", "BF16", 2, 10, 30);
    model_copy(&b, &t);
    t.t[0].data[5] ^= 1;
    model_drop(&t, 2);
    snprintf(t.t[2].name, sizeof t.t[2].name, "w");
    t.t[3].shape[0] = 14;
    tensor_resize(&t.t[3], true);
    model_add(&t, "tied", "BF16", 2, 8, 300);
    memcpy(t.t[4].data, t.t[2].data, t.t[4].len);
    put_shards(&b, "base", 2);
    put_shards(&t, "target", 2);
    put_text("base/old.txt", "old");
    put_text("base/both.txt", "one");
    put_text("target/both.txt", "two");
    put_text("target/new.txt", "new");
    base = open_store(at("base"));
    target = open_store(at("target"));
    model_free(&b);
    model_free(&t);
    return 0;
}

static int end(void **state)
{
    fmp_store_close(base);
    fmp_store_close(target);
    return drop_dir(state);
}

typedef fmp_status (*verb)(fmp_patch *p, fmp_error *err);

static fmp_status do_create(fmp_patch *p, fmp_error *err)
{
    const fmp_create_options o = {
        .size = sizeof o, .n_threads = 1, .reversible = true, .sha256 = true};

    (void)p;
    return fmp_create(base, target, at("out"), &o, NULL, err);
}

static fmp_status do_open(fmp_patch *p, fmp_error *err)
{
    fmp_patch *made = NULL;
    const fmp_status st = fmp_patch_open(at("p.fmp"), NULL, &made, err);

    (void)p;
    assert_int_equal(st == FMP_OK, made != NULL);
    fmp_patch_close(made);
    return st;
}

static fmp_status do_apply(fmp_patch *p, fmp_error *err)
{
    const fmp_apply_options o = {.size = sizeof o, .n_threads = 1};
    const fmp_patch *one = p;

    return fmp_apply(base, &one, 1, at("out"), &o, NULL, err);
}

static fmp_status do_apply_base_layout(fmp_patch *p, fmp_error *err)
{
    const fmp_apply_options o = {.size = sizeof o, .n_threads = 1, .layout_base = true};
    const fmp_patch *one = p;

    return fmp_apply(base, &one, 1, at("out"), &o, NULL, err);
}

static fmp_status do_revert(fmp_patch *p, fmp_error *err)
{
    const fmp_apply_options o = {.size = sizeof o, .n_threads = 1};

    return fmp_revert(target, p, at("out"), &o, NULL, err);
}

static fmp_status do_verify(fmp_patch *p, fmp_error *err)
{
    return fmp_verify(p, base, 1, (fmp_progress){NULL, NULL}, err);
}

static const fmp_create_options one_thread = {.size = sizeof one_thread, .n_threads = 1};

static fmp_status do_invert(fmp_patch *p, fmp_error *err)
{
    return fmp_invert(p, at("out"), &one_thread, NULL, err);
}

static fmp_status do_squash(fmp_patch *p, fmp_error *err)
{
    fmp_patch *inverse = NULL;
    fmp_status st = fmp_patch_open(at("inverse.fmp"), NULL, &inverse, err);

    if (!st)
        st = fmp_squash((const fmp_patch *[]){p, inverse}, 2, at("out"), &one_thread, NULL, err);
    fmp_patch_close(inverse);
    return st;
}

static fmp_status do_subset(fmp_patch *p, fmp_error *err)
{
    static const char *const names[] = {"w", "tied", "resized"};
    const fmp_subset_options what = {.size = sizeof what, .tensors = names, .n_tensors = 3};

    return fmp_subset(p, &what, at("out"), &one_thread, NULL, err);
}

static void sweep(verb v, const char *want)
{
    const unsigned n = count_entries(at(""));
    fmp_status st = FMP_ENOMEM;
    long k = 0;

    for (; st; k++) {
        fmp_patch *p = v == do_create ? NULL : open_patch(at("p.fmp"));
        fmp_error err = {0};

        fmp_alloc_fail_at(k);
        st = v(p, &err);
        fmp_alloc_fail_at(-1);
        if (st && (st != FMP_ENOMEM || err.status != FMP_ENOMEM))
            fail_msg("allocation %ld: %s: %s", k, fmp_status_name(st), err.text);
        if (st && count_entries(at("")) != n)
            fail_msg("allocation %ld failed and left a file behind", k);
        fmp_patch_close(p);
        assert_true(k < 100000);
    }
    assert_true(k > 10);
    if (want)
        assert_same(at("out"), at(want));
    if (exists("out"))
        remove_tree("out");
}

static void test_create(void **state)
{
    fmp_error err;

    (void)state;
    sweep(do_create, NULL);
    assert_status(do_create(NULL, &err), FMP_OK, &err);
    assert_int_equal(rename(at("out"), at("p.fmp")), 0);
}

static void test_open(void **state)
{
    (void)state;
    sweep(do_open, NULL);
}

static void test_apply(void **state)
{
    (void)state;
    sweep(do_apply, "target");
}

static void test_apply_base_layout(void **state)
{
    (void)state;
    sweep(do_apply_base_layout, NULL);
}

static void test_revert(void **state)
{
    (void)state;
    sweep(do_revert, "base");
}

static void test_verify(void **state)
{
    (void)state;
    sweep(do_verify, NULL);
}

static void test_algebra(void **state)
{
    fmp_patch *p = open_patch(at("p.fmp"));
    fmp_error err;

    (void)state;
    sweep(do_invert, NULL);
    sweep(do_subset, NULL);
    assert_status(fmp_invert(p, at("inverse.fmp"), &one_thread, NULL, &err), FMP_OK, &err);
    sweep(do_squash, NULL);
    fmp_patch_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create), /* makes the patch of the others */
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_apply),
        cmocka_unit_test(test_apply_base_layout),
        cmocka_unit_test(test_revert),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_algebra),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
