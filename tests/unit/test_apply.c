/*
 * What fmp_apply(), fmp_revert() and fmp_create() refuse, with which status and words, and that
 * nothing is written then: not the output, not a temporary, nothing over what stood there.
 */
#include "model_support.h"

typedef struct pair {
    model base, target;
    fmp_store *b, *t;
    fmp_patch *p;
} pair;

static pair x;

static int begin(void **state)
{
    const fmp_create_options o = {.size = sizeof o, .n_threads = 1};
    fmp_error err;

    if (make_dir(state))
        return -1;
    rng_seed(3);
    model_add(&x.base, "embed", "BF16", 2, 40, 8);
    model_add(&x.base, "gone", "F32", 1, 9, 0);
    model_add(&x.base, "layer.0", "BF16", 2, 30, 20);
    model_add(&x.base, "layer.1", "BF16", 2, 30, 20);
    model_copy(&x.base, &x.target);
    x.target.t[2].data[100] ^= 1;
    x.target.t[3].data[200] ^= 1;
    model_drop(&x.target, 1);
    model_add(&x.target, "new", "U8", 1, 100, 0);
    put_model(&x.base, "base.safetensors", false);
    put_model(&x.target, "target.safetensors", false);
    x.b = open_store(at("base.safetensors"));
    x.t = open_store(at("target.safetensors"));
    assert_status(fmp_create(x.b, x.t, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
    x.p = open_patch(at("p.fmp"));
    return 0;
}

static int end(void **state)
{
    fmp_patch_close(x.p);
    fmp_store_close(x.b);
    fmp_store_close(x.t);
    model_free(&x.base);
    model_free(&x.target);
    return drop_dir(state);
}

static void assert_text(const fmp_error *err, const char *const *words)
{
    for (; *words; words++) {
        if (!strstr(err->text, *words))
            fail_msg("\"%s\" lacks \"%s\"", err->text, *words);
    }
}

/* Applying to `in` ends with `want` and leaves the directory as it was. */
static void refuse_apply(const char *in, fmp_status want, const char *const *words)
{
    const bool before = exists("out");
    const unsigned n = count_entries(at(""));

    for (unsigned dry = 0; dry < 2; dry++) {
        for (unsigned threads = 1; threads < 4; threads += 2) {
            const fmp_apply_options o = {.size = sizeof o, .n_threads = threads, .dry_run = dry};
            const fmp_patch *p = x.p;
            fmp_store *s = open_store(at(in));
            fmp_apply_result r = {.n_files = 77};
            fmp_error err = {0};

            assert_status(fmp_apply(s, &p, 1, at("out"), &o, &r, &err), want, &err);
            assert_text(&err, words);
            assert_int_equal(r.n_files, 77); /* written on success only */
            fmp_store_close(s);
            assert_int_equal(exists("out"), before);
            assert_int_equal(count_entries(at("")), n);
        }
    }
}

#define refuses(in, want, ...) refuse_apply((in), (want), (const char *const[]){__VA_ARGS__, NULL})

static void test_wrong_base(void **state)
{
    model m;

    (void)state;
    model_copy(&x.base, &m);
    m.t[0].data[0] ^= 1; /* a tensor that the patch does not touch */
    put_model(&m, "wrong", false);
    refuses("wrong", FMP_EBASE, "wrong: not the base", "\"embed\" differs");
    model_free(&m);
    model_copy(&x.base, &m);
    m.t[1].data[0] ^= 1; /* one that goes away */
    put_model(&m, "wrong", false);
    refuses("wrong", FMP_EBASE, "\"gone\" differs");
    model_free(&m);
    model_copy(&x.base, &m);
    m.t[3].data[77] ^= 0x80; /* one that changes, elsewhere */
    put_model(&m, "wrong", false);
    refuses("wrong", FMP_EBASE, "\"layer.1\" differs");
    model_free(&m);
}

static void test_wrong_shapes(void **state)
{
    model m;

    (void)state;
    model_copy(&x.base, &m);
    model_add(&m, "extra", "U8", 1, 3, 0);
    put_model(&m, "wrong", false);
    refuses("wrong", FMP_EBASE, "a tensor \"extra\" too many");
    model_free(&m);
    model_copy(&x.base, &m);
    model_drop(&m, 2);
    put_model(&m, "wrong", false);
    refuses("wrong", FMP_EBASE, "it has no tensor \"layer.0\"");
    model_free(&m);
    model_copy(&x.base, &m);
    m.t[0].dtype = fmp_dtype_find("F16", 3);
    put_model(&m, "wrong", false);
    refuses("wrong", FMP_EBASE, "\"embed\"", "expected BF16 [40, 8]", "found F16 [40, 8]");
    m.t[0].dtype = fmp_dtype_find("BF16", 4);
    m.t[0].shape[0] = 8;
    m.t[0].shape[1] = 40;
    put_model(&m, "wrong", false);
    refuses("wrong", FMP_EBASE, "\"embed\"", "expected BF16 [40, 8]", "found BF16 [8, 40]");
    model_free(&m);
    put_text("wrong", "not a model");
    refuses("wrong", FMP_EBASE, "it has no tensor \"embed\"");
}

/* A base that was patched already, same shapes: the text says so. */
static void test_patched_already(void **state)
{
    const fmp_create_options o = {.size = sizeof o, .n_threads = 1};
    const fmp_patch *p;
    fmp_patch *made;
    model m;
    fmp_store *s;
    fmp_error err;

    (void)state;
    model_copy(&x.base, &m);
    m.t[2].data[100] ^= 1;
    put_model(&m, "done.safetensors", false);
    s = open_store(at("done.safetensors"));
    assert_status(fmp_create(x.b, s, at("q.fmp"), &o, NULL, &err), FMP_OK, &err);
    p = made = open_patch(at("q.fmp"));
    assert_status(fmp_apply(s, &p, 1, at("out"), NULL, NULL, &err), FMP_EBASE, &err);
    assert_text(&err, (const char *const[]){"\"layer.0\" differs", "it is patched already", NULL});
    assert_false(exists("out"));
    assert_status(fmp_revert(x.b, made, at("out"), NULL, NULL, &err), FMP_EBASE, &err);
    assert_text(&err, (const char *const[]){"not the target", "it is not patched", NULL});
    assert_false(exists("out"));
    fmp_patch_close(made);
    fmp_store_close(s);
    model_free(&m);
    remove_tree("q.fmp");
}

static void test_output_exists(void **state)
{
    const fmp_apply_options replace = {.size = sizeof replace, .replace = true};
    const fmp_patch *p = x.p;
    const unsigned n = count_entries(at("")) + 1;
    fmp_error err;
    size_t len;
    uint8_t *kept;

    (void)state;
    put_text("out", "precious");
    assert_status(fmp_apply(x.b, &p, 1, at("out"), NULL, NULL, &err), FMP_EUSAGE, &err);
    kept = read_all(at("out"), &len);
    assert_int_equal(len, 8);
    assert_memory_equal(kept, "precious", 8);
    free(kept);
    assert_int_equal(count_entries(at("")), n);
    put_text("wrong", "not a model"); /* replace or not, a wrong base replaces nothing */
    {
        fmp_store *s = open_store(at("wrong"));

        assert_status(fmp_apply(s, &p, 1, at("out"), &replace, NULL, &err), FMP_EBASE, &err);
        fmp_store_close(s);
    }
    kept = read_all(at("out"), &len);
    assert_memory_equal(kept, "precious", 8);
    free(kept);
    assert_status(fmp_apply(x.b, &p, 1, at("out"), &replace, NULL, &err), FMP_OK, &err);
    assert_same_file(at("out"), at("target.safetensors"));
    remove_tree("out");
    put_dir("out");
    assert_status(fmp_apply(x.b, &p, 1, at("out"), &replace, NULL, &err), FMP_EUSAGE, &err);
    assert_true(is_directory(at("out")));
    remove_tree("out");
}

/* Not even `replace` lets an output take an input's place. */
static void test_inputs_stay(void **state)
{
    fmp_apply_options o = {.size = sizeof o, .replace = true};
    fmp_create_options c = {.size = sizeof c, .replace = true};
    const fmp_patch *p = x.p;
    fmp_error err;

    (void)state;
    assert_status(fmp_apply(x.b, &p, 1, at("base.safetensors"), &o, NULL, &err), FMP_EUSAGE, &err);
    assert_status(fmp_apply(x.b, &p, 1, at("p.fmp"), &o, NULL, &err), FMP_EUSAGE, &err);
    assert_status(fmp_create(x.b, x.t, at("target.safetensors"), &c, NULL, &err), FMP_EUSAGE, &err);
    assert_status(fmp_verify(x.p, x.b, 1, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
}

static void test_dry_run_writes_nothing(void **state)
{
    const fmp_apply_options o = {.size = sizeof o, .dry_run = true};
    const fmp_patch *p = x.p;
    const unsigned n = count_entries(at(""));
    fmp_apply_result r;
    fmp_error err;

    (void)state;
    assert_status(fmp_apply(x.b, &p, 1, at("out"), &o, &r, &err), FMP_OK, &err);
    assert_false(exists("out"));
    assert_int_equal(count_entries(at("")), n);
    assert_int_equal(r.n_files, 1);
}

static void test_not_reversible(void **state)
{
    const unsigned n = count_entries(at(""));
    fmp_error err;

    (void)state;
    assert_false(fmp_patch_summarize(x.p).reversible);
    assert_non_null(strstr(fmp_patch_irreversible_because(x.p), "\"gone\""));
    assert_status(fmp_revert(x.t, x.p, at("out"), NULL, NULL, &err), FMP_EPOLICY, &err);
    assert_text(&err, (const char *const[]){"cannot be reverted", "\"gone\"", NULL});
    assert_int_equal(count_entries(at("")), n);
}

static bool stop(void *ctx, uint64_t done, uint64_t total)
{
    unsigned *n = ctx;

    (void)total;
    ++*n;
    return done < UINT64_MAX;
}

static void test_canceled(void **state)
{
    unsigned n_calls = 0;
    const fmp_progress progress = {stop, &n_calls};
    const fmp_apply_options a = {.size = sizeof a, .n_threads = 1, .progress = progress};
    const fmp_create_options c = {.size = sizeof c, .n_threads = 1, .progress = progress};
    const fmp_patch *p;
    fmp_patch *made;
    model m = {.n = 0};
    fmp_store *b;
    unsigned n;
    fmp_error err;

    (void)state;
    model_add(&m, "big", "U8", 1, 3u << 20, 0); /* progress is told between pieces of it */
    put_model(&m, "big.safetensors", false);
    b = open_store(at("big.safetensors"));
    assert_status(fmp_create(b, b, at("big.fmp"), NULL, NULL, &err), FMP_OK, &err);
    p = made = open_patch(at("big.fmp"));
    n = count_entries(at(""));
    assert_status(fmp_apply(b, &p, 1, at("out"), &a, NULL, &err), FMP_ECANCELED, &err);
    assert_int_equal(n_calls, 1);
    assert_status(fmp_create(b, b, at("out"), &c, NULL, &err), FMP_ECANCELED, &err);
    assert_int_equal(n_calls, 2);
    assert_int_equal(count_entries(at("")), n);
    fmp_patch_close(made);
    fmp_store_close(b);
    model_free(&m);
}

static void test_bad_options(void **state)
{
    static const char *const bad_rename[] = {"embed", "nothing=new", "embed=nothing", "embed=new"};
    const unsigned n = count_entries(at(""));
    fmp_error err;

    (void)state;
    assert_status(fmp_apply(x.b, NULL, 0, at("out"), NULL, NULL, &err), FMP_EUSAGE, &err);
    for (unsigned i = 0; i < 4; i++) {
        const fmp_create_options o = {.size = sizeof o, .renames = &bad_rename[i], .n_renames = 1};

        assert_status(fmp_create(x.b, x.t, at("out"), &o, NULL, &err), FMP_EUSAGE, &err);
        assert_text(&err, (const char *const[]){bad_rename[i], NULL});
    }
    for (unsigned i = 0; i < 6; i++) {
        fmp_create_options o = {.size = sizeof o};

        o.level = i == 0 ? 10 : i == 1 ? -1 : 0;
        o.width = i == 2 ? 24 : i == 3 ? 1 : 0;
        o.reversible = o.set_values = i == 4;
        o.manifest_json = i == 5 ? "[1]" : NULL;
        assert_status(fmp_create(x.b, x.t, at("out"), &o, NULL, &err), FMP_EUSAGE, &err);
    }
    assert_status(fmp_create(x.b, x.t, at("p.fmp"), NULL, NULL, &err), FMP_EUSAGE, &err);
    assert_status(fmp_create(x.b, x.t, at("no/such/dir"), NULL, NULL, &err), FMP_EIO, &err);
    assert_int_equal(count_entries(at("")), n);
}

static void test_verify(void **state)
{
    const fmp_progress quiet = {NULL, NULL};
    fmp_store *s;
    fmp_error err;

    (void)state;
    assert_status(fmp_verify(x.p, NULL, 1, quiet, &err), FMP_OK, &err);
    assert_status(fmp_verify(x.p, x.b, 2, quiet, &err), FMP_OK, &err);
    put_text("wrong", "not a model");
    s = open_store(at("wrong"));
    assert_status(fmp_verify(x.p, s, 1, quiet, &err), FMP_EBASE, &err);
    fmp_store_close(s);
    assert_status(fmp_verify(x.p, x.t, 1, quiet, &err), FMP_EBASE, &err);
}

/* --rename: what no digest and no prefix finds. */
static void test_rename(void **state)
{
    static const char *const rename = "layer.0=elsewhere";
    const fmp_create_options o = {
        .size = sizeof o, .n_threads = 1, .renames = &rename, .n_renames = 1};
    const fmp_patch *p;
    fmp_patch *made;
    fmp_patch_tensor t;
    model m;
    fmp_store *s;
    fmp_error err;

    (void)state;
    model_copy(&x.base, &m);
    snprintf(m.t[2].name, sizeof m.t[2].name, "elsewhere");
    m.t[2].data[7] ^= 1;
    put_model(&m, "renamed.safetensors", false);
    s = open_store(at("renamed.safetensors"));
    assert_status(fmp_create(x.b, s, at("r.fmp"), &o, NULL, &err), FMP_OK, &err);
    p = made = open_patch(at("r.fmp"));
    t = fmp_patch_tensor_at(made, fmp_patch_find(made, "elsewhere", 9));
    assert_int_equal(t.state, FMP_RESIDUAL);
    assert_string_equal(t.source, "layer.0");
    assert_true(fmp_patch_summarize(made).reversible);
    assert_status(fmp_apply(x.b, &p, 1, at("out"), NULL, NULL, &err), FMP_OK, &err);
    assert_same_file(at("out"), at("renamed.safetensors"));
    remove_tree("out");
    assert_status(fmp_revert(s, made, at("out"), NULL, NULL, &err), FMP_OK, &err);
    assert_same_file(at("out"), at("base.safetensors"));
    remove_tree("out");
    fmp_patch_close(made);
    fmp_store_close(s);
    model_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_base),      cmocka_unit_test(test_wrong_shapes),
        cmocka_unit_test(test_patched_already), cmocka_unit_test(test_output_exists),
        cmocka_unit_test(test_inputs_stay),     cmocka_unit_test(test_dry_run_writes_nothing),
        cmocka_unit_test(test_not_reversible),  cmocka_unit_test(test_canceled),
        cmocka_unit_test(test_bad_options),     cmocka_unit_test(test_verify),
        cmocka_unit_test(test_rename),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
