/*
 * Policies: every rule kept and broken, files that are none, and limits hit exactly.
 */
#include "random_models.h"

#include "base/alloc.h"

static fmp_store *base;
static fmp_patch *patch;

/* ---- patches to judge -------------------------------------------------------------------------
 */

static void close_pair(void)
{
    fmp_patch_close(patch);
    fmp_store_close(base);
    patch = NULL;
    base = NULL;
}

/* `patch` from b to t. */
static void make_pair(const model *b, const model *t, const char *manifest)
{
    const fmp_create_options o = {
        .size = sizeof o, .replace = true, .n_threads = 1, .manifest_json = manifest};
    fmp_store *target;
    fmp_error err;

    close_pair();
    put_model(b, "b.safetensors", false);
    put_model(t, "t.safetensors", false);
    base = open_store(at("b.safetensors"));
    target = open_store(at("t.safetensors"));
    assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
    fmp_store_close(target);
    patch = open_patch(at("p.fmp"));
}

static void set_f32(tensor *t, unsigned i, float v)
{
    memcpy(t->data + 4 * (size_t)i, &v, 4);
}

/* Ones everywhere: numbers of changes and norms are plain. */
static void make_ones(model *m)
{
    m->n = 0;
    model_add(m, "layers.0.mlp.up_proj.weight", "F32", 2, 10, 10);
    model_add(m, "layers.1.mlp.up_proj.weight", "F32", 2, 10, 10);
    model_add(m, "layers.1.norm.weight", "F32", 1, 100, 0);
    model_add(m, "lm_head.weight", "F32", 2, 10, 10);
    for (unsigned i = 0; i < m->n; i++) {
        for (unsigned k = 0; k < 100; k++)
            set_f32(&m->t[i], k, 1);
    }
}

/* Changes 29 of 100 elements of layer 0 by one step, and one of layer 1 by 0.5. */
static void make_standard(const char *manifest)
{
    model b, t;

    make_ones(&b);
    model_copy(&b, &t);
    for (unsigned k = 0; k < 29; k++)
        set_f32(&t.t[0], k, 1.00000012f);
    set_f32(&t.t[1], 7, 1.5f);
    make_pair(&b, &t, manifest);
    model_free(&b);
    model_free(&t);
}

/* ---- judging ----------------------------------------------------------------------------------
 */

static fmp_policy_options options = {.size = sizeof options, .n_threads = 1};

static fmp_policy *open_policy(const char *json)
{
    fmp_policy *p = NULL;
    fmp_error err;

    put_text("policy.json", json);
    assert_status(fmp_policy_open(at("policy.json"), &p, &err), FMP_OK, &err);
    return p;
}

/* A policy of version 1 with these members. */
static void wrap(char *json, size_t cap, const char *members)
{
    snprintf(json, cap, "{\"fmpatch_policy\":1%s%s}", *members ? "," : "", members);
}

/* The findings as "rule member tensor-or-file|...", in order. */
static const char *judge(const char *body, bool with_base)
{
    static char text[4000];
    char *json = malloc(strlen(body) + 100);
    fmp_policy_results *r = NULL;
    fmp_policy *p;
    fmp_error err;
    size_t n = 0;

    assert_non_null(json);
    wrap(json, strlen(body) + 100, body);
    p = open_policy(json);
    assert_status(fmp_policy_check(p, patch, with_base ? base : NULL, &options, &r, &err), FMP_OK,
                  &err);
    text[0] = 0;
    for (uint32_t i = 0; i < fmp_policy_results_count(r); i++) {
        const fmp_finding f = fmp_policy_results_at(r, i);
        const char *about = f.tensor ? f.tensor : f.file ? f.file : "-";

        assert_true(*f.message && *f.expected && *f.found);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %s %s", i ? "|" : "", f.rule,
                              f.member, about);
    }
    assert_int_equal(fmp_policy_results_verdict(r), !n                           ? FMP_OK
                                                    : strstr(text, "signatures") ? FMP_EAUTH
                                                                                 : FMP_EPOLICY);
    fmp_policy_results_free(r);
    fmp_policy_close(p);
    free(json);
    return text;
}

#define kept(body, with_base)          assert_string_equal(judge(body, with_base), "")
#define broken(body, with_base, found) assert_string_equal(judge(body, with_base), found)

/* ---- a rule each ------------------------------------------------------------------------------
 */

static void kinds_and_sizes(void **state)
{
    char body[100];
    const unsigned long long size = (make_standard(NULL), fmp_patch_summarize(patch).file_size);

    (void)state;
    kept("\"kinds\":[\"step\",\"task\"]", false);
    broken("\"kinds\":[\"step\"]", false, "kinds kinds -");
    snprintf(body, sizeof body, "\"max_bytes\":%llu", size);
    kept(body, false);
    snprintf(body, sizeof body, "\"max_bytes\":%llu", size - 1);
    broken(body, false, "max-bytes max_bytes -");
    close_pair();
}

static void which_tensors_change(void **state)
{
    (void)state;
    make_standard(NULL);
    kept("\"tensors\":{\"may_change\":[\"layers.*.up_proj.weight\"]}", false);
    broken("\"tensors\":{\"may_change\":[\"layers.0.*\"]}", false,
           "may-change tensors.may_change layers.1.mlp.up_proj.weight");
    broken("\"tensors\":{\"may_change\":[]}", false,
           "may-change tensors.may_change layers.0.mlp.up_proj.weight|"
           "may-change tensors.may_change layers.1.mlp.up_proj.weight");
    kept("\"tensors\":{\"must_not_change\":[\"lm_head.*\",\"*norm*\"]}", false);
    broken("\"tensors\":{\"must_not_change\":[\"lm_head.*\",\"layers.0.*\"]}", false,
           "must-not-change tensors.must_not_change layers.0.mlp.up_proj.weight");
    kept("\"tensors\":{\"must_change\":[\"layers.0.*\",\"*up_proj*\"]}", false);
    broken("\"tensors\":{\"must_change\":[\"layers.0.*\",\"lm_head*\"]}", false,
           "must-change tensors.must_change -");
    close_pair();
}

/* A misspelt name protects nothing, and that is said. */
static void globs_that_match_nothing(void **state)
{
    (void)state;
    make_standard(NULL);
    broken("\"tensors\":{\"must_not_change\":[\"lm_haed.*\"]}", false,
           "unmatched-glob tensors.must_not_change -");
    broken("\"limits\":[{\"tensors\":\"lm_haed.*\",\"max_residual\":1}]", false,
           "unmatched-glob limits[0].tensors -");
    kept("\"allow_unmatched_globs\":true,\"tensors\":{\"must_not_change\":[\"lm_haed.*\"]},"
         "\"limits\":[{\"tensors\":\"lm_haed.*\",\"max_residual\":1}]",
         false);
    close_pair();
}

static void presence_and_shapes(void **state)
{
    static const char all[] = "\"tensors\":{\"no_added\":true,\"no_removed\":true,"
                              "\"no_renamed\":true,\"same_dtypes_and_shapes\":true}";
    model b, t;

    (void)state;
    make_standard(NULL);
    kept(all, false);
    rng_seed(3);
    b.n = 0;
    model_add(&b, "a", "F32", 2, 8, 8);
    model_add(&b, "gone", "I8", 1, 5, 0);
    model_add(&b, "model.w", "BF16", 2, 8, 300);
    model_add(&b, "other", "F32", 1, 8, 0);
    model_copy(&b, &t);
    t.t[0].shape[0] = 16;
    tensor_resize(&t.t[0], true);
    model_drop(&t, 1);
    snprintf(t.t[1].name, sizeof t.t[1].name, "w");
    t.t[2].dtype = fmp_dtype_find("I32", 3);
    model_add(&t, "new", "F32", 1, 3, 0);
    make_pair(&b, &t, NULL);
    assert_int_equal(fmp_patch_tensor_at(patch, fmp_patch_find(patch, "w", 1)).state,
                     FMP_UNCHANGED);
    broken(all, false,
           "same-dtypes-and-shapes tensors.same_dtypes_and_shapes a|"
           "no-removed-tensors tensors.no_removed gone|"
           "no-added-tensors tensors.no_added new|"
           "same-dtypes-and-shapes tensors.same_dtypes_and_shapes other|"
           "no-renamed-tensors tensors.no_renamed w");
    broken("\"tensors\":{\"may_change\":[\"a\",\"other\",\"new\"]}", false,
           "may-change tensors.may_change gone|may-change tensors.may_change model.w|"
           "may-change tensors.may_change w");
    model_free(&b);
    model_free(&t);
    close_pair();
}

/* 29 of 100 is not more than 0.29, though 0.29 is no binary fraction. */
static void shares_are_exact_at_the_limit(void **state)
{
    (void)state;
    make_standard(NULL);
    kept("\"limits\":[{\"tensors\":\"layers.0.*\",\"max_changed_share\":0.29}]", false);
    broken("\"limits\":[{\"tensors\":\"layers.0.*\",\"max_changed_share\":0.289999999999}]", false,
           "max-changed-share limits[0].max_changed_share -");
    kept("\"limits\":[{\"max_changed_share\":0.075}]", false);
    broken("\"limits\":[{\"max_changed_share\":0.0749}]", false,
           "max-changed-share limits[0].max_changed_share -");
    broken("\"limits\":[{\"per\":\"layer\",\"max_changed_share\":0.01}]", false,
           "max-changed-share limits[0].max_changed_share -");
    kept("\"limits\":[{\"per\":\"layer\",\"tensors\":[\"layers.1.*\"],"
         "\"max_changed_share\":0.005}]",
         false);
    broken("\"limits\":[{\"per\":\"tensor\",\"max_changed_share\":0.005}]", false,
           "max-changed-share limits[0].max_changed_share layers.0.mlp.up_proj.weight|"
           "max-changed-share limits[0].max_changed_share layers.1.mlp.up_proj.weight");
    kept("\"limits\":[{\"tensors\":\"lm_head*\",\"max_changed_share\":0}]", false);
    kept("\"limits\":[{\"max_changed_share\":1}]", false);
    close_pair();
}

static void residuals(void **state)
{
    (void)state;
    make_standard(NULL);
    kept("\"limits\":[{\"tensors\":\"layers.0.*\",\"max_residual\":1}]", false);
    broken("\"limits\":[{\"tensors\":\"layers.0.*\",\"max_residual\":0}]", false,
           "max-residual limits[0].max_residual layers.0.mlp.up_proj.weight");
    kept("\"limits\":[{\"max_residual\":4194304}]", true); /* 1 to 1.5: half a binade */
    broken("\"limits\":[{\"max_residual\":4194303}]", true,
           "max-residual limits[0].max_residual layers.1.mlp.up_proj.weight");
    close_pair();
}

/* The change of layer 1 is 0.5 against a norm of sqrt(100), or sqrt(200) with the layer's norms. */
static void relative_norms(void **state)
{
    (void)state;
    make_standard(NULL);
    kept("\"limits\":[{\"per\":\"tensor\",\"max_relative_l2\":0.05}]", true);
    broken("\"limits\":[{\"per\":\"tensor\",\"max_relative_l2\":0.0499}]", true,
           "max-relative-l2 limits[0].max_relative_l2 layers.1.mlp.up_proj.weight");
    kept("\"limits\":[{\"per\":\"layer\",\"max_relative_l2\":0.0354}]", true);
    broken("\"limits\":[{\"per\":\"layer\",\"max_relative_l2\":0.0353}]", true,
           "max-relative-l2 limits[0].max_relative_l2 -");
    kept("\"limits\":[{\"max_relative_l2\":0.02501}]", true);
    broken("\"limits\":[{\"max_relative_l2\":0.02499}]", true,
           "max-relative-l2 limits[0].max_relative_l2 -");
    broken("\"limits\":[{\"per\":\"layer\",\"max_relative_l2\":1}]", false,
           "max-relative-l2 limits[0].max_relative_l2 layers.0.mlp.up_proj.weight|"
           "max-relative-l2 limits[0].max_relative_l2 layers.1.mlp.up_proj.weight");
    kept("\"limits\":[{\"tensors\":\"lm_head*\",\"max_relative_l2\":0}]", false);
    close_pair();
}

static void values_that_are_not_finite(void **state)
{
    static const char rule[] = "\"tensors\":{\"no_new_nan_or_inf\":true}";
    model b, t;

    (void)state;
    make_standard(NULL);
    kept(rule, true);
    broken(rule, false,
           "no-new-nan-or-inf tensors.no_new_nan_or_inf layers.0.mlp.up_proj.weight|"
           "no-new-nan-or-inf tensors.no_new_nan_or_inf layers.1.mlp.up_proj.weight");
    make_ones(&b);
    set_f32(&b.t[3], 9, (float)(0.0 / 0.0));
    model_copy(&b, &t);
    set_f32(&t.t[0], 3, 1e38f * 10);
    set_f32(&t.t[3], 9, 1);
    make_pair(&b, &t, NULL);
    broken(rule, true, "no-new-nan-or-inf tensors.no_new_nan_or_inf layers.0.mlp.up_proj.weight");
    broken("\"limits\":[{\"max_relative_l2\":1e300}]", true,
           "max-relative-l2 limits[0].max_relative_l2 -");
    model_free(&t); /* new content tells its values without the base */
    model_copy(&b, &t);
    model_add(&t, "new", "F16", 1, 4, 0);
    memset(t.t[4].data, 0, 8);
    make_pair(&b, &t, NULL);
    kept(rule, false);
    t.t[4].data[3] = 0x7c;
    make_pair(&b, &t, NULL);
    broken(rule, false, "no-new-nan-or-inf tensors.no_new_nan_or_inf new");
    model_free(&b);
    model_free(&t);
    close_pair();
}

/* What has no counterpart in the base passes no limit on how far things move. */
static void new_elements(void **state)
{
    model b, t;

    (void)state;
    b.n = 0;
    rng_seed(8);
    model_add(&b, "embed", "BF16", 2, 64, 16);
    model_copy(&b, &t);
    for (unsigned i = 0; i < 64; i++)
        t.t[0].data[32 * i] ^= 1;
    t.t[0].shape[0] = 72;
    tensor_resize(&t.t[0], false);
    model_add(&t, "added", "F32", 1, 8, 0);
    make_pair(&b, &t, NULL);
    broken("\"limits\":[{\"max_residual\":100}]", true,
           "max-residual limits[0].max_residual embed");
    broken("\"limits\":[{\"max_relative_l2\":100}]", true,
           "max-relative-l2 limits[0].max_relative_l2 embed");
    kept("\"limits\":[{\"max_residual\":100,\"max_relative_l2\":100,\"allow_new\":true}]", true);
    t.t[0].dtype = fmp_dtype_find("F16", 3); /* all of it is new then */
    make_pair(&b, &t, NULL);
    broken("\"limits\":[{\"max_residual\":70000}]", true,
           "max-residual limits[0].max_residual embed");
    model_free(&b);
    model_free(&t);
    close_pair();
}

static void integers_are_measured_alone(void **state)
{
    model b, t;

    (void)state;
    b.n = 0;
    model_add(&b, "layers.0.ids", "I32", 1, 4, 0);
    model_add(&b, "layers.0.w", "F32", 1, 4, 0);
    model_add(&b, "packed", "F4", 1, 4, 0);
    memset(b.t[0].data, 0, 16);
    b.t[0].data[0] = 100;
    for (unsigned i = 0; i < 4; i++)
        set_f32(&b.t[1], i, 1);
    model_copy(&b, &t);
    t.t[0].data[0] = 110;
    make_pair(&b, &t, NULL);
    kept("\"limits\":[{\"per\":\"layer\",\"max_relative_l2\":0.1}]", true);
    broken("\"limits\":[{\"per\":\"layer\",\"max_relative_l2\":0.099}]", true,
           "max-relative-l2 limits[0].max_relative_l2 layers.0.ids");
    t.t[2].data[0] ^= 1;
    make_pair(&b, &t, NULL);
    broken("\"limits\":[{\"tensors\":\"packed\",\"max_relative_l2\":9}]", true,
           "max-relative-l2 limits[0].max_relative_l2 packed");
    kept("\"tensors\":{\"no_new_nan_or_inf\":true}", true);
    model_free(&b);
    model_free(&t);
    close_pair();
}

/* Values that are set, not added: how far they moved is the base's to tell. */
static void set_values(void **state)
{
    const fmp_create_options o = {
        .size = sizeof o, .replace = true, .n_threads = 1, .set_values = true};
    fmp_store *target;
    fmp_error err;

    (void)state;
    make_standard(NULL);
    target = open_store(at("t.safetensors"));
    assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
    fmp_store_close(target);
    fmp_patch_close(patch);
    patch = open_patch(at("p.fmp"));
    broken("\"limits\":[{\"tensors\":\"layers.0.*\",\"max_residual\":1}]", false,
           "max-residual limits[0].max_residual layers.0.mlp.up_proj.weight");
    kept("\"limits\":[{\"tensors\":\"layers.0.*\",\"max_residual\":1}]", true);
    kept("\"tensors\":{\"no_new_nan_or_inf\":true}", false);
    kept("\"limits\":[{\"max_changed_share\":0.075}]", false);
    broken("\"limits\":[{\"max_changed_share\":0.07}]", false,
           "max-changed-share limits[0].max_changed_share -");
    close_pair();
}

static void side_files(void **state)
{
    const fmp_create_options o = {.size = sizeof o, .replace = true, .n_threads = 1};
    fmp_store *target;
    fmp_error err;
    model b;

    (void)state;
    make_ones(&b);
    put_shards(&b, "base", 1);
    put_shards(&b, "target", 1);
    put_text("base/config.json", "{}");
    put_text("base/gone.txt", "x");
    put_text("base/same.txt", "x");
    put_text("target/same.txt", "x");
    put_text("target/config.json", "{ }");
    put_dir("target/code");
    put_text("target/code/model.py", "import os");
    base = open_store(at("base"));
    target = open_store(at("target"));
    assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
    fmp_store_close(target);
    patch = open_patch(at("p.fmp"));
    kept("\"files\":{\"may_change\":[\"*.json\",\"*.txt\",\"code/*\"]}", false);
    broken("\"files\":{\"may_change\":[\"*\"]}", false,
           "side-files files.may_change code/model.py"); /* a star stays in its directory */
    broken("\"files\":{\"may_change\":[]}", false,
           "side-files files.may_change code/model.py|side-files files.may_change config.json|"
           "side-files files.may_change gone.txt");
    model_free(&b);
    close_pair();
}

/* ---- signatures -------------------------------------------------------------------------------
 */

static void signatures(void **state)
{
    fmp_secret_key *keys[3];
    char ids[3][65], text[256], body[600];
    fmp_public_key pub;
    fmp_keyring *ring;
    fmp_error err;

    (void)state;
    make_standard(NULL);
    for (unsigned i = 0; i < 3; i++) {
        assert_status(fmp_secret_key_generate(&keys[i], &err), FMP_OK, &err);
        pub = fmp_secret_key_public(keys[i]);
        for (unsigned k = 0; k < 32; k++)
            snprintf(ids[i] + 2 * k, 3, "%02x", pub.id[k]);
    }
    assert_status(fmp_sign_file(at("p.fmp"), keys, 2, NULL, &err), FMP_OK, &err);
    fmp_patch_close(patch);
    patch = open_patch(at("p.fmp"));
    pub = fmp_secret_key_public(keys[1]);
    fmp_public_key_text(&pub, text);
    *strrchr(text, '\n') = 0;
    snprintf(body, sizeof body, "\"signatures\":{\"keys\":[\"%s\",\"%s\"],\"threshold\":2}", ids[0],
             strrchr(text, '\n') + 1);
    kept(body, false);
    assert_status(fmp_keyring_new(&ring, &err), FMP_OK, &err);
    assert_status(fmp_keyring_add_key(ring, &pub, "bob", true, &err), FMP_OK, &err);
    options.ring = ring;
    broken(body, false, "signatures signatures -"); /* one of them is revoked */
    options.ring = NULL;
    fmp_keyring_free(ring);
    snprintf(body, sizeof body, "\"signatures\":{\"keys\":[\"%s\",\"%s\"],\"threshold\":2}", ids[0],
             ids[2]);
    broken(body, false, "signatures signatures -");
    snprintf(body, sizeof body, "\"signatures\":{\"keys\":[\"%s\"]}", ids[2]);
    broken(body, false, "signatures signatures -");
    snprintf(body, sizeof body, "\"signatures\":{\"keys\":[\"%s\"]}", ids[1]);
    kept(body, false);
    for (unsigned i = 0; i < 3; i++)
        fmp_secret_key_free(keys[i]);
    close_pair();
}

/* ---- lineages ---------------------------------------------------------------------------------
 */

static const char *lineage_json(unsigned long long sequence, const char *more)
{
    static char json[300];

    snprintf(json, sizeof json, "{\"lineage\":{\"id\":\"demo\",\"sequence\":%llu%s}}", sequence,
             more);
    return json;
}

static void lineages(void **state)
{
    static const char rule[] = "\"lineage\":{\"ids\":[\"demo\"]}";
    static char record[1400];

    (void)state;
    snprintf(record, sizeof record, "%s", at("record.json"));
    make_standard(NULL);
    broken(rule, false, "lineage-id lineage -");
    make_standard(lineage_json(7, ""));
    broken(rule, false, "lineage-sequence lineage -"); /* without a record */
    options.record = record;
    broken("\"lineage\":{\"ids\":[\"other\"]}", false, "lineage-id lineage.ids -");
    broken("\"lineage\":{},\"kinds\":[\"step\"]", false, "kinds kinds -");
    assert_false(exists("record.json")); /* nothing is kept of what was refused */
    kept(rule, false);
    assert_true(exists("record.json"));
    kept(rule, false); /* the very same patch */
    make_standard(lineage_json(7, ",\"note\":\"another\""));
    broken(rule, false, "lineage-sequence lineage -");
    make_standard(lineage_json(6, ""));
    broken(rule, false, "lineage-sequence lineage -");
    make_standard(lineage_json(8, ""));
    kept(rule, false);
    make_standard(lineage_json(9 + (1ull << 32), ""));
    broken(rule, false, "lineage-sequence lineage -"); /* too far */
    make_standard(lineage_json(9, ""));
    broken("\"lineage\":{\"min_sequence\":10}", false, "lineage-sequence lineage.min_sequence -");
    kept("\"lineage\":{\"min_sequence\":9}", false);
    options.record = NULL;
    close_pair();
}

static void dates(void **state)
{
    static char record[1400];
    fmp_policy_results *r;
    fmp_policy *p;
    fmp_error err;

    (void)state;
    snprintf(record, sizeof record, "%s", at("record.json"));
    options.record = record;
    make_standard(lineage_json(7, ",\"not_after\":\"2026-03-01T00:00:00Z\""));
    options.now = "2026-03-01T00:00:01Z";
    broken("\"lineage\":{}", false, "not-after lineage -");
    options.now = "2026-03-01T00:00:00Z";
    kept("\"lineage\":{\"require_not_after\":true}", false);
    make_standard(lineage_json(8, ""));
    broken("\"lineage\":{\"require_not_after\":true}", false, "not-after lineage -");
    broken("\"lineage\":{\"max_age_days\":1}", false, "max-age lineage.max_age_days -");
    make_standard(NULL);
    {
        const fmp_create_options o = {.size = sizeof o,
                                      .replace = true,
                                      .manifest_json = lineage_json(9, ""),
                                      .date = "2026-02-27T00:00:00Z"};
        fmp_store *target = open_store(at("t.safetensors"));

        assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
        fmp_store_close(target);
        fmp_patch_close(patch);
        patch = open_patch(at("p.fmp"));
    }
    broken("\"lineage\":{\"max_age_days\":1}", false, "max-age lineage.max_age_days -");
    kept("\"lineage\":{\"max_age_days\":2}", false);
    options.now = "2026-02-25T23:59:59Z";
    broken("\"lineage\":{\"max_age_days\":2}", false, "max-age lineage.max_age_days -");
    options.now = "yesterday";
    p = open_policy("{\"fmpatch_policy\":1,\"lineage\":{}}");
    assert_true(fmp_policy_has_lineage(p));
    assert_status(fmp_policy_check(p, patch, NULL, &options, &r, &err), FMP_EUSAGE, &err);
    options.now = NULL; /* the clock, which is past 2026 or not: the call must not fail */
    assert_status(fmp_policy_check(p, patch, NULL, &options, &r, &err), FMP_OK, &err);
    fmp_policy_results_free(r);
    fmp_policy_close(p);
    options.record = NULL;
    close_pair();
}

/* ---- files that are no policies ---------------------------------------------------------------
 */

static const char full[] =
    "{\"fmpatch_policy\":1,\"description\":\"d\",\"allow_unmatched_globs\":true,"
    "\"signatures\":{\"keys\":["
    "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"],\"threshold\":1},"
    "\"kinds\":[\"task\"],\"max_bytes\":1000000,"
    "\"tensors\":{\"may_change\":[\"*\"],\"must_not_change\":[\"x\"],\"must_change\":[\"y\"],"
    "\"no_added\":true,\"no_removed\":true,\"no_renamed\":true,\"same_dtypes_and_shapes\":true,"
    "\"no_new_nan_or_inf\":true},"
    "\"limits\":[{\"tensors\":[\"a\",\"b\"],\"per\":\"layer\",\"allow_new\":false,"
    "\"max_changed_share\":0.5,\"max_residual\":7,\"max_relative_l2\":1e-3}],"
    "\"files\":{\"may_change\":[\"*.json\"]},"
    "\"lineage\":{\"ids\":[\"a\"],\"min_sequence\":0,\"require_not_after\":true,"
    "\"max_age_days\":30}}";

static void refuse_policy(const char *json, size_t len, const char *word)
{
    fmp_policy *p = NULL;
    fmp_error err;

    put_file("policy.json", json, len);
    assert_status(fmp_policy_open(at("policy.json"), &p, &err), FMP_ECORRUPT, &err);
    assert_null(p);
    if (!strstr(err.text, "policy.json") || (word && !strstr(err.text, word)))
        fail_msg("\"%s\" lacks \"%s\"", err.text, word ? word : "policy.json");
}

static void what_is_no_policy_is_refused(void **state)
{
    static const struct {
        const char *body, *word;
    } cases[] = {
        {"", "without rules"},
        {"\"tensors\":{},\"limits\":[]", "without rules"},
        {"\"tensors\":{\"no_added\":false}", "without rules"},
        {"\"max_byte\":1", "\"max_byte\": there is no such member"},
        {"\"max_bytes\":1,\"max_bytes\":2", "duplicate"},
        {"\"max_bytes\":-1", "max_bytes"},
        {"\"max_bytes\":1.5", "expected an integer, found a decimal"},
        {"\"max_bytes\":\"1\"", "expected an integer, found \"1\""},
        {"\"max_bytes\":null", "found null"},
        {"\"kinds\":\"task\"", "expected a list of strings"},
        {"\"kinds\":[]", "expected one entry"},
        {"\"kinds\":[7]", "\"kinds\""},
        {"\"kinds\":[\"\"]", "\"kinds\""},
        {"\"kinds\":[\"a\\u0007\"]", "\"kinds\""},
        {"\"tensors\":{\"must_not_chnage\":[\"x\"]}", "tensors.must_not_chnage"},
        {"\"tensors\":{\"must_not_change\":[]}", "expected one entry"},
        {"\"tensors\":{\"must_not_change\":[\"a[b\"]}", "is no glob"},
        {"\"tensors\":{\"may_change\":[\"a\\\\\"]}", "is no glob"},
        {"\"tensors\":{\"no_added\":1}", "expected true or false"},
        {"\"tensors\":[]", "\"tensors\": expected an object, found a list"},
        {"\"limits\":{}", "expected a list"},
        {"\"limits\":[7]", "\"limits[0]\": expected an object"},
        {"\"limits\":[{}]", "limits[0]"},
        {"\"limits\":[{\"max_residual\":1,\"tensors\":[]}]", "limits[0].tensors"},
        {"\"limits\":[{\"max_residual\":1,\"per\":\"model\"}]", "limits[0].per"},
        {"\"limits\":[{\"max_residual\":1,\"per\":1}]", "limits[0].per"},
        {"\"limits\":[{\"max_residual\":1,\"max_residul\":1}]", "limits[0].max_residul"},
        {"\"limits\":[{\"max_changed_share\":1.01}]", "a number from 0 to 1"},
        {"\"limits\":[{\"max_changed_share\":-0.01}]", "a number from 0 to 1"},
        {"\"limits\":[{\"max_changed_share\":0.0000000000001}]", "at most 12 decimals"},
        {"\"limits\":[{\"max_relative_l2\":-1}]", "a number from 0 on"},
        {"\"limits\":[{\"max_relative_l2\":1e999}]", NULL},
        {"\"limits\":[{\"max_residual\":9223372036854775808}]", NULL},
        {"\"files\":{}", "without rules"},
        {"\"files\":{\"must_not_change\":[]}", "files.must_not_change"},
        {"\"lineage\":{\"id\":[\"a\"]}", "lineage.id"},
        {"\"lineage\":{\"ids\":[]}", "expected one entry"},
        {"\"lineage\":{\"max_age_days\":0}", "expected 1 to"},
        {"\"signatures\":{}", "expected 1 to 1000 keys"},
        {"\"signatures\":{\"keys\":[\"00\"]}", "expected key ids"},
        {"\"signatures\":{\"keys\":[\"RWQ\"],\"threshold\":1}", "expected key ids"},
        {"\"signatures\":{\"keys\":["
         "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
         "ff\"],\"threshold\":2}",
         "expected 1 to 1, found 2"},
        {"\"signatures\":{\"keys\":["
         "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddee"
         "ff\",\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"]}",
         "listed twice"},
        {"\"description\":7,\"max_bytes\":1", "description"},
        {"\"allow_unmatched_globs\":0,\"max_bytes\":1", "allow_unmatched_globs"},
    };
    fmp_policy *p = NULL;
    char json[600];
    fmp_error err;

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        wrap(json, sizeof json, cases[i].body);
        refuse_policy(json, strlen(json), cases[i].word);
    }
    refuse_policy("{\"max_bytes\":1}", 15, "not a policy");
    refuse_policy("[1]", 3, "expected an object");
    put_text("policy.json", "{\"fmpatch_policy\":2,\"max_bytes\":1}");
    assert_status(fmp_policy_open(at("policy.json"), &p, &err), FMP_ENOTSUP, &err);
    assert_status(fmp_policy_open(at("nosuch.json"), &p, &err), FMP_EIO, &err);
    assert_status(fmp_policy_open(at(""), &p, &err), FMP_EIO, &err);
}

static void a_policy_cut_short_is_refused(void **state)
{
    (void)state;
    fmp_policy_close(open_policy(full));
    for (size_t n = 0; n < sizeof full - 1; n++)
        refuse_policy(full, n, NULL);
}

/* Any one byte changed: it opens or it does not, and says why. */
static void a_policy_with_a_wrong_byte(void **state)
{
    static const char bytes[] = {'"', '}', ']', ',', '0', '\\', ' ', (char)0xff, 0};
    char text[sizeof full];
    unsigned n_opened = 0;

    (void)state;
    for (size_t i = 0; i < sizeof full - 1; i++) {
        for (unsigned k = 0; k < sizeof bytes; k++) {
            fmp_policy *p = NULL;
            fmp_error err = {.status = FMP_OK};
            fmp_status st;

            memcpy(text, full, sizeof full);
            text[i] = bytes[k];
            put_file("policy.json", text, sizeof full - 1);
            st = fmp_policy_open(at("policy.json"), &p, &err);
            if (st && st != FMP_ECORRUPT && st != FMP_ENOTSUP)
                fail_msg("byte %zu: %s", i, err.text);
            assert_true(!st == (p != NULL) && (!st || err.text[0]));
            n_opened += !st;
            fmp_policy_close(p);
        }
    }
    assert_true(n_opened > 100 && n_opened < sizeof full * sizeof bytes / 2);
}

/* ---- the rest ---------------------------------------------------------------------------------
 */

static void every_rule_has_texts(void **state)
{
    (void)state;
    assert_true(fmp_policy_rule_count() == 20);
    for (uint32_t i = 0; i < fmp_policy_rule_count(); i++) {
        const fmp_policy_rule r = fmp_policy_rule_at(i);

        assert_true(r.id && r.title && r.help && *r.id && *r.title && *r.help);
        for (uint32_t k = 0; k < i; k++)
            assert_string_not_equal(r.id, fmp_policy_rule_at(k).id);
    }
    assert_null(fmp_policy_rule_at(fmp_policy_rule_count()).id);
}

/* More than are kept: the rest is counted. */
static void findings_are_bounded(void **state)
{
    enum { N = 1300 };
    char *header = malloc(N * 100);
    size_t n = 0;
    fmp_policy_results *r;
    fmp_policy *p;
    fmp_error err;
    model none = {.n = 0};

    (void)state;
    assert_non_null(header);
    n += text_put(header, "{");
    for (unsigned i = 0; i < N; i++)
        n += text_put(header + n,
                      "%s\"t%u\":{\"dtype\":\"U8\",\"shape\":[1],"
                      "\"data_offsets\":[%u,%u]}",
                      i ? "," : "", i, i, i + 1);
    n += text_put(header + n, "}");
    make_pair(&none, &none, NULL);
    put_safetensors("t.safetensors", header, N);
    {
        fmp_store *target = open_store(at("t.safetensors"));
        const fmp_create_options o = {.size = sizeof o, .replace = true};

        assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
        fmp_store_close(target);
    }
    fmp_patch_close(patch);
    patch = open_patch(at("p.fmp"));
    p = open_policy("{\"fmpatch_policy\":1,\"tensors\":{\"no_added\":true}}");
    assert_status(fmp_policy_check(p, patch, NULL, NULL, &r, &err), FMP_OK, &err);
    assert_int_equal(fmp_policy_results_count(r), 1000);
    assert_int_equal(fmp_policy_results_left_out(r), N - 1000);
    assert_null(fmp_policy_results_at(r, 1000).rule);
    fmp_policy_results_free(r);
    fmp_policy_close(p);
    close_pair();
    free(header);
}

static void it_survives_every_failed_allocation(void **state)
{
    static char record[1400];
    fmp_status st = FMP_ENOMEM;
    long k = 0;

    (void)state;
    snprintf(record, sizeof record, "%s", at("record.json"));
    make_standard(lineage_json(1, ""));
    put_text(
        "policy.json",
        "{\"fmpatch_policy\":1,\"kinds\":[\"task\"],\"tensors\":{\"may_change\":[\"lm_head\"]},"
        "\"limits\":[{\"per\":\"layer\",\"max_changed_share\":0}],\"lineage\":{}}");
    for (; st; k++) {
        fmp_policy_options o = {.size = sizeof o, .n_threads = 1, .record = record};
        fmp_policy_results *r = NULL;
        fmp_policy *p = NULL;
        fmp_error err = {0};

        fmp_alloc_fail_at(k);
        st = fmp_policy_open(at("policy.json"), &p, &err);
        if (!st)
            st = fmp_policy_check(p, patch, base, &o, &r, &err);
        fmp_alloc_fail_at(-1);
        if (st)
            assert_status(st, FMP_ENOMEM, &err);
        else
            assert_int_equal(fmp_policy_results_count(r), 4);
        fmp_policy_results_free(r);
        fmp_policy_close(p);
        assert_true(k < 1000);
    }
    assert_true(k > 30);
    close_pair();
}

#define in_its_own_folder(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_its_own_folder(kinds_and_sizes),
        in_its_own_folder(which_tensors_change),
        in_its_own_folder(globs_that_match_nothing),
        in_its_own_folder(presence_and_shapes),
        in_its_own_folder(shares_are_exact_at_the_limit),
        in_its_own_folder(residuals),
        in_its_own_folder(relative_norms),
        in_its_own_folder(values_that_are_not_finite),
        in_its_own_folder(new_elements),
        in_its_own_folder(integers_are_measured_alone),
        in_its_own_folder(set_values),
        in_its_own_folder(side_files),
        in_its_own_folder(signatures),
        in_its_own_folder(lineages),
        in_its_own_folder(dates),
        in_its_own_folder(what_is_no_policy_is_refused),
        in_its_own_folder(a_policy_cut_short_is_refused),
        in_its_own_folder(a_policy_with_a_wrong_byte),
        cmocka_unit_test(every_rule_has_texts),
        in_its_own_folder(findings_are_bounded),
        in_its_own_folder(it_survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
