/*
 * The promise of the program, for models made up at random: apply(base, create(base, target)) is
 * the target byte for byte, and revert() gives the base back wherever the patch says that it can.
 */
#include "random_models.h"

enum { N_CASES = 400 };

static unsigned seen_state[8], seen_reversible, seen_irreversible;

/* ---- one pair ---------------------------------------------------------------------------------
 */

static void count_states(const fmp_patch *p)
{
    const fmp_patch_summary s = fmp_patch_summarize(p);

    seen_state[FMP_UNCHANGED] += s.n_unchanged;
    seen_state[FMP_RESIDUAL] += s.n_residual;
    seen_state[FMP_WHOLE] += s.n_whole;
    seen_state[FMP_ADDED] += s.n_added;
    seen_state[FMP_REMOVED] += s.n_removed;
    seen_state[FMP_ALIAS] += s.n_alias;
    seen_state[FMP_SET] += s.n_set;
    seen_reversible += s.reversible;
    seen_irreversible += !s.reversible;
    assert_int_equal(s.reversible, fmp_patch_irreversible_because(p) == NULL);
}

static void make_patch(const fmp_store *base, const fmp_store *target, const char *path,
                       const fmp_create_options *o)
{
    fmp_error err;

    assert_status(fmp_create(base, target, path, o, NULL, &err), FMP_OK, &err);
}

static void check_apply(const fmp_store *base, const fmp_patch *p, const char *want)
{
    const fmp_apply_options o = {.size = sizeof o, .n_threads = 1 + roll(3)};
    fmp_apply_result r;
    fmp_error err;

    assert_status(fmp_apply(base, &p, 1, at("made"), &o, &r, &err), FMP_OK, &err);
    assert_true(r.exact_files);
    assert_same(at("made"), at(want));
    remove_tree("made");
}

static void check_revert(const fmp_store *target, const fmp_patch *p, const char *want)
{
    const fmp_apply_options o = {.size = sizeof o, .n_threads = 1 + roll(3)};
    fmp_apply_result r;
    fmp_error err;

    if (!fmp_patch_summarize(p).reversible) {
        assert_status(fmp_revert(target, p, at("made"), &o, &r, &err), FMP_EPOLICY, &err);
        assert_false(exists("made"));
        return;
    }
    assert_status(fmp_revert(target, p, at("made"), &o, &r, &err), FMP_OK, &err);
    assert_same(at("made"), at(want));
    remove_tree("made");
}

static void check_base_layout(const fmp_store *base, const fmp_store *target, const fmp_patch *p)
{
    const fmp_apply_options o = {.size = sizeof o, .n_threads = 1, .layout_base = true};
    fmp_apply_result r;
    fmp_store *made;
    fmp_error err;

    assert_status(fmp_apply(base, &p, 1, at("made"), &o, &r, &err), FMP_OK, &err);
    assert_false(r.exact_files);
    assert_int_equal(is_directory(at("made")), base->is_dir || base->n_files > 1);
    made = open_store(at("made"));
    assert_same_tensors(made, target);
    fmp_store_close(made);
    remove_tree("made");
}

static void check_threads(const fmp_store *base, const fmp_store *target,
                          const fmp_create_options *options)
{
    static const unsigned n_threads[] = {2, 7};
    fmp_create_options o = *options;

    for (unsigned i = 0; i < 2; i++) {
        o.n_threads = n_threads[i];
        make_patch(base, target, at("other.fmp"), &o);
        assert_same_file(at("p.fmp"), at("other.fmp"));
        remove_tree("other.fmp");
    }
}

/* The other way to lay out the very same tensors. */
static void check_other_sharding(const model *m, bool sharded, const fmp_patch *p, const char *want)
{
    fmp_error err;
    fmp_store *other;
    fmp_apply_result r;

    if (sharded)
        put_model(m, "resharded", false);
    else
        put_shards(m, "resharded", m->n > 1 ? 2 : 1);
    other = open_store(at("resharded"));
    if (!sharded || !is_directory(at(want))) {
        check_apply(other, p, want);
    } else { /* side files of the base cannot come out of bare weights */
        fmp_store *made, *target = open_store(at(want));

        assert_status(fmp_apply(other, &p, 1, at("made"), NULL, &r, &err), FMP_OK, &err);
        assert_false(r.exact_files);
        made = open_store(at("made"));
        assert_same_tensors(made, target);
        fmp_store_close(made);
        fmp_store_close(target);
        remove_tree("made");
    }
    fmp_store_close(other);
    remove_tree("resharded");
}

static void check_case(unsigned seed)
{
    model base = {.n = 0}, target = {.n = 0};
    fmp_create_options o = {.size = sizeof o, .n_threads = 1};
    fmp_store *b, *t;
    fmp_patch *p;
    fmp_error err;

    rng_seed(seed);
    any_base(&base);
    any_target(&base, &target, 1);
    put_any(&base, "base", 0);
    put_any(&target, "target", 1);
    o.level = 1 + (int)roll(5);
    o.reversible = roll(2);
    o.set_values = !o.reversible && roll(4) == 0;
    o.no_check = roll(4) == 0;
    b = open_store(at("base"));
    t = open_store(at("target"));
    make_patch(b, t, at("p.fmp"), &o);
    p = open_patch(at("p.fmp"));
    count_states(p);
    assert_true(!o.reversible || fmp_patch_summarize(p).reversible);
    check_apply(b, p, "target");
    check_revert(t, p, "base");
    check_base_layout(b, t, p);
    check_other_sharding(&base, b->is_dir, p, "target");
    if (seed % 8 == 0)
        check_threads(b, t, &o);
    assert_status(fmp_patch_scan(p, 1, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
    assert_status(fmp_verify(p, b, 1, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
    fmp_patch_close(p);
    fmp_store_close(b);
    fmp_store_close(t);
    remove_tree("base");
    remove_tree("target");
    remove_tree("p.fmp");
    model_free(&base);
    model_free(&target);
}

static void test_random_models(void **state)
{
    const char *only = getenv("FMP_TEST_SEED");

    (void)state;
    for (unsigned seed = 0; seed < N_CASES; seed++) {
        if (only && seed != (unsigned)strtoul(only, NULL, 10))
            continue;
        if (only || getenv("FMP_TEST_VERBOSE"))
            print_message("seed %u\n", seed);
        check_case(seed);
    }
    if (only)
        return;
    for (unsigned s = FMP_UNCHANGED; s <= FMP_SET; s++) {
        if (!seen_state[s])
            fail_msg("no tensor was in state %u", s);
    }
    assert_true(seen_reversible && seen_irreversible);
}

/* ---- single subjects --------------------------------------------------------------------------
 */

static void test_nothing_changed(void **state)
{
    model m = {.n = 0};
    fmp_create_result r;
    fmp_store *s;
    fmp_patch *p;
    fmp_error err;

    (void)state;
    rng_seed(7);
    any_base(&m);
    put_model(&m, "same.safetensors", false);
    s = open_store(at("same.safetensors"));
    assert_status(fmp_create(s, s, at("none.fmp"), NULL, &r, &err), FMP_OK, &err);
    assert_int_equal(r.summary.n_changed, 0);
    assert_int_equal(r.summary.n_unchanged, m.n);
    assert_int_equal(r.summary.n_frames, 0);
    assert_int_equal(r.summary.payload_size, 0);
    assert_true(r.summary.reversible);
    assert_memory_equal(r.summary.base_root, r.summary.target_root, 32);
    p = open_patch(at("none.fmp"));
    check_apply(s, p, "same.safetensors");
    check_revert(s, p, "same.safetensors");
    fmp_patch_close(p);
    fmp_store_close(s);
    model_free(&m);
}

static void test_chain(void **state)
{
    static const char *const patch[] = {"p0.fmp", "p1.fmp", "p2.fmp"};
    const fmp_create_options o = {.size = sizeof o, .n_threads = 1, .reversible = true};
    fmp_patch *p[3];
    const fmp_patch *swapped[2];
    fmp_store *first, *last;
    fmp_error err;

    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        model m[4];

        rng_seed(1000 + round);
        any_base(&m[0]);
        for (unsigned i = 0; i < 4; i++) {
            char name[8];

            if (i)
                any_target(&m[i - 1], &m[i], i);
            snprintf(name, sizeof name, "m%u", i);
            put_any(&m[i], name, i);
        }
        for (unsigned i = 0; i < 3; i++) {
            char from[8], to[8];
            fmp_store *b, *t;

            snprintf(from, sizeof from, "m%u", i);
            snprintf(to, sizeof to, "m%u", i + 1);
            b = open_store(at(from));
            t = open_store(at(to));
            make_patch(b, t, at(patch[i]), &o);
            p[i] = open_patch(at(patch[i]));
            fmp_store_close(b);
            fmp_store_close(t);
        }
        first = open_store(at("m0"));
        last = open_store(at("m3"));
        assert_status(
            fmp_apply(first, (const fmp_patch *const *)p, 3, at("made"), NULL, NULL, &err), FMP_OK,
            &err);
        assert_same(at("made"), at("m3"));
        remove_tree("made");
        assert_false(exists("made.steps"));
        swapped[0] = p[1];
        swapped[1] = p[0];
        assert_status(fmp_apply(first, swapped, 2, at("made"), NULL, NULL, &err), FMP_EBASE, &err);
        assert_false(exists("made"));
        fmp_store_close(first);
        fmp_store_close(last);
        for (unsigned i = 0; i < 4; i++) {
            char name[8];

            snprintf(name, sizeof name, "m%u", i);
            remove_tree(name);
            model_free(&m[i]);
            if (i < 3) {
                fmp_patch_close(p[i]);
                remove_tree(patch[i]);
            }
        }
    }
}

static void put_raw(const char *name, const uint8_t *data, size_t len)
{
    put_file(name, data, len);
}

static void test_raw_files(void **state)
{
    static const size_t len[] = {
        0, 1, 2, 3, 7, 8, 9, 15, 1000, 4099, 70001, (1u << 20) + 5, (2u << 20) + 13};
    static const unsigned width[] = {0, 8, 16, 32, 64};
    uint8_t *base = malloc(3u << 20);
    uint8_t *target = malloc(3u << 20);

    (void)state;
    assert_true(base && target);
    rng_seed(5);
    for (unsigned i = 0; i < sizeof len / sizeof *len; i++) {
        for (unsigned w = 0; w < 5; w++) {
            const fmp_store_options raw = {.size = sizeof raw, .raw = true};
            const fmp_create_options o = {
                .size = sizeof o, .n_threads = 1, .width = width[w], .reversible = w & 1};
            const size_t target_len = w == 2 ? len[i] + 11 : w == 3 ? len[i] / 2 : len[i];
            fmp_store *b, *t;
            fmp_patch *p;
            fmp_error err;

            for (size_t k = 0; k < len[i] + 11; k++) {
                base[k] = (uint8_t)(rng() >> 17);
                target[k] = base[k] ^ (roll(50) == 0);
            }
            put_raw("b.bin", base, len[i]);
            put_raw("t.bin", target, target_len);
            assert_status(fmp_store_open(at("b.bin"), &raw, &b, &err), FMP_OK, &err);
            assert_status(fmp_store_open(at("t.bin"), &raw, &t, &err), FMP_OK, &err);
            make_patch(b, t, at("raw.fmp"), &o);
            p = open_patch(at("raw.fmp"));
            check_apply(b, p, "t.bin");
            check_revert(t, p, "b.bin");
            fmp_patch_close(p);
            fmp_store_close(b);
            fmp_store_close(t);
            remove_tree("raw.fmp");
        }
    }
    free(base);
    free(target);
}

/* A format on one side and none on the other: still a pair. */
static void test_raw_to_safetensors(void **state)
{
    const fmp_create_options o = {.size = sizeof o, .n_threads = 1, .reversible = true};
    model m = {.n = 0};
    fmp_store *b, *t;
    fmp_patch *p;

    (void)state;
    rng_seed(11);
    any_base(&m);
    put_model(&m, "new.safetensors", false);
    put_text("old.bin", "nothing that anybody knows");
    b = open_store(at("old.bin"));
    t = open_store(at("new.safetensors"));
    make_patch(b, t, at("mixed.fmp"), &o);
    p = open_patch(at("mixed.fmp"));
    check_apply(b, p, "new.safetensors");
    check_revert(t, p, "old.bin");
    fmp_patch_close(p);
    fmp_store_close(b);
    fmp_store_close(t);
    model_free(&m);
}

/* Added tensors of one shape stand in one frame, head behind head. */
static void test_small_added_tensors(void **state)
{
    const fmp_create_options o = {.size = sizeof o, .n_threads = 1, .reversible = true};
    model base = {.n = 0}, target = {.n = 0};
    fmp_store *b, *t;
    fmp_patch *p;

    (void)state;
    rng_seed(13);
    model_add(&base, "kept", "F32", 1, 10, 0);
    model_copy(&base, &target);
    for (unsigned i = 0; i < 12; i++) {
        char name[40];

        snprintf(name, sizeof name, "new.%02u", i);
        model_add(&target, name, "BF16", 2, 3, 5);
    }
    put_model(&base, "few.safetensors", false);
    put_model(&target, "many.safetensors", false);
    b = open_store(at("few.safetensors"));
    t = open_store(at("many.safetensors"));
    for (unsigned turn = 0; turn < 2; turn++) {
        fmp_store *s = b;

        make_patch(b, t, at("small.fmp"), &o);
        p = open_patch(at("small.fmp"));
        check_apply(b, p, turn ? "few.safetensors" : "many.safetensors");
        check_revert(t, p, turn ? "many.safetensors" : "few.safetensors");
        fmp_patch_close(p);
        remove_tree("small.fmp");
        b = t;
        t = s;
    }
    fmp_store_close(b);
    fmp_store_close(t);
    model_free(&base);
    model_free(&target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_changed), cmocka_unit_test(test_small_added_tensors),
        cmocka_unit_test(test_raw_files),       cmocka_unit_test(test_raw_to_safetensors),
        cmocka_unit_test(test_random_models),   cmocka_unit_test(test_chain),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
