/*
 * Invert, squash and subset, held against what they are for: whatever three or four models made up
 * at random are, the patch that was made without them does to the first what the chain does.
 */
#include "random_models.h"

#include "patch.h"

enum { N_CASES = 150 };

static unsigned n_reversible, n_mixed;

static void make_patch(const char *base, const char *target, const char *path,
                       const fmp_create_options *o)
{
    fmp_store *b = open_store(at(base));
    fmp_store *t = open_store(at(target));
    fmp_error err;

    assert_status(fmp_create(b, t, at(path), o, NULL, &err), FMP_OK, &err);
    fmp_store_close(b);
    fmp_store_close(t);
}

static void check_apply(const char *base, const fmp_patch *p, const char *want)
{
    fmp_store *b = open_store(at(base));
    fmp_apply_result r;
    fmp_error err;

    assert_status(fmp_apply(b, &p, 1, at("made"), NULL, &r, &err), FMP_OK, &err);
    assert_true(r.exact_files);
    assert_same(at("made"), at(want));
    remove_tree("made");
    fmp_store_close(b);
}

static void check_revert(const char *target, const fmp_patch *p, const char *want)
{
    fmp_store *t = open_store(at(target));
    fmp_error err;

    assert_status(fmp_revert(t, p, at("made"), NULL, NULL, &err), FMP_OK, &err);
    assert_same(at("made"), at(want));
    remove_tree("made");
    fmp_store_close(t);
}

static fmp_patch *squash(const fmp_patch *const *p, size_t n, const char *path, unsigned n_threads)
{
    const fmp_create_options o = {.size = sizeof o, .n_threads = n_threads};
    fmp_error err;

    assert_status(fmp_squash(p, n, at(path), &o, NULL, &err), FMP_OK, &err);
    return open_patch(at(path));
}

static fmp_patch *invert(const fmp_patch *p, const char *path)
{
    fmp_error err;

    assert_status(fmp_invert(p, at(path), NULL, NULL, &err), FMP_OK, &err);
    return open_patch(at(path));
}

static uint32_t count_frames(const fmp_patch *p, unsigned last_domain)
{
    uint32_t n = 0;

    while (n < p->frames.n && p->frames.entry[n].domain <= last_domain)
        n++;
    return n;
}

/* Everything but the manifest, which tells the history, is the same; and, without `old`, but what
 * is kept for reverting. */
static void assert_same_content(const fmp_patch *a, const fmp_patch *b, bool old)
{
    static const unsigned types[] = {FMP_SECTION_TENSORS, FMP_SECTION_DIGESTS, FMP_SECTION_LAYOUT};
    const uint32_t n = count_frames(a, old ? FMP_DOMAIN_COUNT : FMP_DOMAIN_FILES);

    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        const fmp_section *x = fmp_prefix_find(&a->prefix, types[i]);
        const fmp_section *y = fmp_prefix_find(&b->prefix, types[i]);

        if (!fmp_digest_equal(&x->digest, &y->digest))
            fail_msg("section %u of %s and %s differs", types[i], a->file.path, b->file.path);
    }
    assert_int_equal(n, count_frames(b, old ? FMP_DOMAIN_COUNT : FMP_DOMAIN_FILES));
    if (n)
        assert_memory_equal(a->frame_digests.data, b->frame_digests.data,
                            (size_t)n * FMP_DIGEST_LEN);
}

static void assert_empty(const fmp_patch *p)
{
    const fmp_patch_summary s = fmp_patch_summarize(p);

    assert_int_equal(s.n_changed, 0);
    assert_int_equal(count_frames(p, FMP_DOMAIN_TENSORS), 0); /* an odd header is a frame */
    assert_int_equal(s.n_unchanged, s.n_tensors);
    assert_memory_equal(s.base_root, s.target_root, 32);
}

/* ---- chains of random models ------------------------------------------------------------------
 */

enum { N_MODELS = 4 };

static const char *const names[N_MODELS] = {"m0", "m1", "m2", "m3"};
static const char *const steps[N_MODELS - 1] = {"p0.fmp", "p1.fmp", "p2.fmp"};

static void make_chain(unsigned seed, model m[N_MODELS], fmp_patch *p[N_MODELS - 1])
{
    rng_seed(seed);
    any_base(&m[0]);
    put_any(&m[0], names[0], 0);
    for (unsigned i = 1; i < N_MODELS; i++) {
        const bool reversible = roll(2);
        const fmp_create_options o = {.size = sizeof o,
                                      .n_threads = 1,
                                      .reversible = reversible,
                                      .set_values = !reversible && roll(3) == 0};

        any_target(&m[i - 1], &m[i], i);
        put_any(&m[i], names[i], i);
        make_patch(names[i - 1], names[i], steps[i - 1], &o);
        p[i - 1] = open_patch(at(steps[i - 1]));
    }
}

static void drop_chain(model m[N_MODELS], fmp_patch *p[N_MODELS - 1])
{
    for (unsigned i = 0; i < N_MODELS; i++) {
        model_free(&m[i]);
        remove_tree(names[i]);
        if (i)
            fmp_patch_close(p[i - 1]);
    }
}

static bool all_reversible(fmp_patch *const *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (!fmp_patch_summarize(p[i]).reversible)
            return false;
    }
    return true;
}

static void check_associative(fmp_patch *const p[3])
{
    const fmp_patch *pair[3] = {p[0], p[1], p[2]};
    fmp_patch *all = squash(pair, 3, "all.fmp", 3);
    fmp_patch *first = squash(pair, 2, "first.fmp", 1);
    fmp_patch *last = squash(pair + 1, 2, "last.fmp", 2);
    fmp_patch *left, *right;

    pair[0] = first;
    pair[1] = p[2];
    left = squash(pair, 2, "left.fmp", 1);
    pair[0] = p[0];
    pair[1] = last;
    right = squash(pair, 2, "right.fmp", 1);
    assert_same_content(left, all, all_reversible(p, 3));
    assert_same_content(right, all, all_reversible(p, 3));
    check_apply("m0", all, "m3");
    check_apply("m0", first, "m2");
    if (all_reversible(p, 3)) {
        assert_true(fmp_patch_summarize(all).reversible);
        check_revert("m3", all, "m0");
        n_reversible++;
    }
    n_mixed += fmp_patch_summarize(all).n_set;
    fmp_patch_close(all);
    fmp_patch_close(first);
    fmp_patch_close(last);
    fmp_patch_close(left);
    fmp_patch_close(right);
}

static bool has_old_tensors(const fmp_patch *p)
{
    return count_frames(p, FMP_DOMAIN_OLD_TENSORS) != count_frames(p, FMP_DOMAIN_FILES);
}

static void check_inverse(const fmp_patch *p, const char *base, const char *target)
{
    fmp_error err;
    fmp_patch *inverse, *both;
    const fmp_patch_summary s = fmp_patch_summarize(p);

    if (!s.reversible) {
        assert_status(fmp_invert(p, at("inverse.fmp"), NULL, NULL, &err), FMP_EPOLICY, &err);
        assert_false(exists("inverse.fmp"));
        return;
    }
    inverse = invert(p, "inverse.fmp");
    check_apply(target, inverse, base);
    both = squash((const fmp_patch *[]){p, inverse}, 2, "both.fmp", 2);
    check_apply(base, both, base);
    if (s.n_unchanged + s.n_residual == s.n_tensors && !has_old_tensors(p))
        assert_empty(both);
    fmp_patch_close(both);
    if (fmp_patch_summarize(inverse).reversible) {
        fmp_patch *again = invert(inverse, "again.fmp");

        check_apply(base, again, target);
        fmp_patch_close(again);
    }
    fmp_patch_close(inverse);
    remove_tree("inverse.fmp");
    remove_tree("both.fmp");
    remove_tree("again.fmp");
}

static void test_random_chains(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < N_CASES; seed++) {
        model m[N_MODELS] = {{.n = 0}};
        fmp_patch *p[N_MODELS - 1];

        make_chain(seed, m, p);
        check_associative(p);
        check_inverse(p[0], "m0", "m1");
        check_inverse(p[2], "m2", "m3");
        drop_chain(m, p);
        remove_tree("all.fmp");
        remove_tree("first.fmp");
        remove_tree("last.fmp");
        remove_tree("left.fmp");
        remove_tree("right.fmp");
        for (unsigned i = 0; i + 1 < N_MODELS; i++)
            remove_tree(steps[i]);
    }
    assert_true(n_reversible > 5);
    assert_true(n_mixed > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_chains, make_dir, drop_dir)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
