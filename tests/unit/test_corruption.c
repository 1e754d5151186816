/*
 * A signed patch that was cut short, or in which one bit is wrong: somewhere between opening and
 * applying it is refused, for a reason that fits, and nothing is written.
 */
#include "model_support.h"

static uint8_t *patch;
static size_t patch_len;
static fmp_keyring *ring;
static fmp_store *base;
static unsigned n_refused[12];

static int begin(void **state)
{
    fmp_create_options o = {.size = sizeof o, .n_threads = 1, .sign_comment = "for the test"};
    model b = {.n = 0}, t;
    fmp_secret_key *key;
    fmp_public_key public_key;
    fmp_store *target;
    fmp_error err;

    if (make_dir(state))
        return -1;
    rng_seed(17);
    for (unsigned i = 0; i < 12; i++) {
        char name[40];

        snprintf(name, sizeof name, "layers.%u.weight", i);
        model_add(&b, name, "BF16", 2, 8, 40);
    }
    model_add(&b, "scalar", "F32", 0, 0, 0);
    model_copy(&b, &t);
    for (unsigned i = 0; i < 6; i++)
        for (unsigned k = 0; k < 640; k += 2 * (1 + roll(30)))
            t.t[i].data[k]++;
    snprintf(t.t[7].name, sizeof t.t[7].name, "renamed");
    model_add(&t, "added", "U8", 1, 300, 0);
    put_model(&b, "base.safetensors", false);
    put_dir("target");
    put_model(&t, "target/model.safetensors", false);
    put_text("target/config.json", "{\"architectures\": [\"Tiny\"]}");
    base = open_store(at("base.safetensors"));
    target = open_store(at("target"));
    assert_status(fmp_secret_key_generate(&key, &err), FMP_OK, &err);
    public_key = fmp_secret_key_public(key);
    o.keys = &key;
    o.n_keys = 1;
    assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
    assert_status(fmp_keyring_new(&ring, &err), FMP_OK, &err);
    assert_status(fmp_keyring_add_key(ring, &public_key, "signer", false, &err), FMP_OK, &err);
    patch = read_all(at("p.fmp"), &patch_len);
    fmp_secret_key_free(key);
    fmp_store_close(target);
    model_free(&b);
    model_free(&t);
    return 0;
}

static int end(void **state)
{
    fmp_store_close(base);
    fmp_keyring_free(ring);
    free(patch);
    return drop_dir(state);
}

/* What a careful caller does with a patch file; the first failure, or FMP_OK. */
static fmp_status use(const char *path, bool scan_first, fmp_error *err)
{
    const fmp_trust trust = {.size = sizeof trust, .ring = ring, .require = true};
    const fmp_apply_options o = {.size = sizeof o, .n_threads = 1};
    fmp_patch *p = NULL;
    const fmp_patch *one;
    fmp_verdict verdict;
    fmp_status st = fmp_patch_open(path, NULL, &p, err);

    if (!st)
        st = fmp_patch_check_trust(p, &trust, &verdict, err);
    if (!st && scan_first)
        st = fmp_patch_scan(p, 1, (fmp_progress){NULL, NULL}, err);
    one = p;
    if (!st)
        st = fmp_apply(base, &one, 1, at("out"), &o, NULL, err);
    fmp_patch_close(p);
    return st;
}

static void assert_refused(const uint8_t *data, size_t len, bool scan_first, size_t what)
{
    fmp_error err = {0};
    fmp_status st;

    put_file("bad.fmp", data, len);
    st = use(at("bad.fmp"), scan_first, &err);
    if (st != FMP_EAUTH && st != FMP_ECORRUPT && st != FMP_ENOTSUP && st != FMP_ELIMIT)
        fail_msg("%s %zu: %s", len < patch_len ? "length" : "bit", what, fmp_status_name(st));
    assert_int_equal(err.status, st);
    assert_true(err.text[0]);
    n_refused[st]++;
    assert_false(exists("out"));
}

static void test_the_patch_is_good(void **state)
{
    fmp_error err;

    (void)state;
    assert_true(patch_len > 1500 && patch_len < 8192);
    assert_status(use(at("p.fmp"), true, &err), FMP_OK, &err);
    assert_same(at("out"), at("target"));
    remove_tree("out");
}

static void test_every_length(void **state)
{
    (void)state;
    for (size_t len = 0; len < patch_len; len++)
        assert_refused(patch, len, len & 1, len);
}

static void test_every_bit(void **state)
{
    const unsigned n = count_entries(at(""));

    (void)state;
    for (size_t bit = 0; bit < 8 * patch_len; bit++) {
        patch[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_refused(patch, patch_len, bit & 1, bit);
        patch[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(count_entries(at("")), n);
    assert_true(n_refused[FMP_EAUTH] > 500);
    assert_true(n_refused[FMP_ECORRUPT] > 500);
}

static void test_bytes_behind_the_end(void **state)
{
    uint8_t *longer = calloc(1, patch_len + 100);

    (void)state;
    assert_non_null(longer);
    memcpy(longer, patch, patch_len);
    for (size_t more = 1; more < 100; more += 7)
        assert_refused(longer, patch_len + more, false, more);
    free(longer);
}

static void test_unsigned_is_not_enough(void **state)
{
    fmp_error err;

    (void)state;
    put_file("bare.fmp", patch, patch_len);
    assert_status(fmp_strip_file(at("bare.fmp"), &err), FMP_OK, &err);
    assert_status(use(at("bare.fmp"), false, &err), FMP_EAUTH, &err);
    assert_false(exists("out"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_patch_is_good),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_bytes_behind_the_end),
        cmocka_unit_test(test_unsigned_is_not_enough),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
