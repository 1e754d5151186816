/*
 * Public keys: id, number, and minisign's text read and written; new key pairs; what may be shown.
 */
#include "keysupport.h"

#include "crypto/text.h"

/* From Python's hashlib.blake2b(person=b"fmp1-keyid") over suite and key. */
static const char rfc_id[] = "10d2fa99a7ba71a377a8c6d370b72b915783da1db3d501dabbe6cf37f9cbcd61";
static const char rfc_text[] = "untrusted comment: minisign public key A371BAA799FAD210\n"
                               "RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\n";
static const char rfc_line[] = "RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
/* Made by minisign 0.11: its number is not the beginning of our id. */
static const char minisign_text[] = "untrusted comment: minisign public key 8E7FD18A6AC367F0\n"
                                    "RWTwZ8NqitF/jjM3Sw3yEdsYFkfYmnajNsuKsBJqsbdVKdIC2Mx2QfoI\n";

static void id_is_the_hash_of_suite_and_key(void **state)
{
    fmp_public_key k;
    char hex[2 * FMP_KEY_ID_LEN + 1];

    (void)state;
    fmp_public_key_set(&k, (const uint8_t *)RFC_KEY, NULL);
    fmp_key_id_hex(k.id, hex);
    assert_string_equal(hex, rfc_id);
    assert_memory_equal(k.number, k.id, 8);
    fmp_public_key_set(&k, (const uint8_t *)RFC_KEY, (const uint8_t *)"12345678");
    fmp_key_id_hex(k.id, hex);
    assert_string_equal(hex, rfc_id);
    assert_memory_equal(k.number, "12345678", 8);
}

static void text_is_minisigns(void **state)
{
    fmp_public_key k;
    fmp_error err;
    char text[256];

    (void)state;
    fmp_public_key_set(&k, (const uint8_t *)RFC_KEY, NULL);
    fmp_public_key_text(&k, text);
    assert_string_equal(text, rfc_text);
    assert_status(fmp_public_key_parse(minisign_text, strlen(minisign_text), &k, &err), FMP_OK,
                  &err);
    assert_memory_equal(k.number, "\xf0\x67\xc3\x6a\x8a\xd1\x7f\x8e", 8);
    fmp_public_key_text(&k, text);
    assert_string_equal(text, minisign_text);
}

static void every_accepted_shape_gives_the_same_key(void **state)
{
    static const char *const shapes[] = {
        "RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        "RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\n",
        "RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\r\n",
        "untrusted comment: \nRWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        "untrusted comment: \u00e9\r\nRWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        fmp_public_key k;
        fmp_error err;

        assert_status(fmp_public_key_parse(shapes[i], strlen(shapes[i]), &k, &err), FMP_OK, &err);
        assert_memory_equal(k.key, RFC_KEY, 32);
        assert_memory_equal(k.number, k.id, 8);
    }
}

#define REFUSED(text, status)                                                                      \
    {                                                                                              \
        text, sizeof text - 1, status                                                              \
    }

/* minisign prints the number without leading zeros, so must we. */
static void leading_zeros_are_left_out(void **state)
{
    fmp_public_key k = {.number = {0x34, 0x12, 0xcd, 0xab, 0, 0, 0x0a, 0}};
    char text[256];

    (void)state;
    fmp_public_key_text(&k, text);
    assert_non_null(strstr(text, "public key A0000ABCD1234\n"));
}

static void other_text_is_refused(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        fmp_status want;
    } cases[] = {
        REFUSED("", FMP_ECORRUPT),
        REFUSED("\n", FMP_ECORRUPT),
        REFUSED("untrusted comment: only\n", FMP_ECORRUPT),
        /* an LF too many, a second key, a space, a lone CR, a NUL */
        REFUSED("RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\n\n", FMP_ECORRUPT),
        REFUSED("RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\nRWQQ", FMP_ECORRUPT),
        REFUSED("RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea ", FMP_ECORRUPT),
        REFUSED(" RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea", FMP_ECORRUPT),
        REFUSED("RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\r", FMP_ECORRUPT),
        REFUSED("untrusted comment: a\rb\nRWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
                FMP_ECORRUPT),
        REFUSED("RWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\0", FMP_ECORRUPT),
        REFUSED("comment: a\nRWQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
                FMP_ECORRUPT),
        /* the URL-safe alphabet */
        REFUSED("RWQQ0vqZp7pxo9damAGCsQq31Uv-08lkBzoO4XLz2qYjJa8CGmj3B1Ea", FMP_ECORRUPT),
        /* a byte that libsodium 1.0.18 reads as '/' */
        REFUSED("RWTwZ8NqitF\x80jjM3Sw3yEdsYFkfYmnajNsuKsBJqsbdVKdIC2Mx2QfoI", FMP_ECORRUPT),
        /* "ED" is a signature's algorithm, not a key's */
        REFUSED("RUQQ0vqZp7pxo9damAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea", FMP_ENOTSUP),
        /* 42 zero-key bytes and a point of order 1: no public keys */
        REFUSED("RWQQ0vqZp7pxowAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", FMP_ECORRUPT),
        REFUSED("RWQQ0vqZp7pxowEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", FMP_ECORRUPT),
        /* a secret key in the place of a public one */
        REFUSED("untrusted comment: minisign encrypted secret key\n"
                "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                "AAAAENL6mae6caOdYbGd7/1aYLqESvSS7CzEREnFaXsyaRlwO6wDHK5/YNdamAGC",
                FMP_ECORRUPT),
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = exact_copy(cases[i].text, cases[i].len);
        fmp_public_key k = {.key = {77}};
        fmp_error err = {0};

        assert_status(fmp_public_key_parse(text, cases[i].len, &k, &err), cases[i].want, &err);
        assert_non_null(strstr(err.text, "public key"));
        assert_int_equal(k.key[0], 77);
        free(text);
    }
}

/* Two lines, cut anywhere but before the last LF, hold no key. */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len + 1 < sizeof rfc_text - 1; len++) {
        char *text = exact_copy(rfc_text, len);
        fmp_public_key k;
        fmp_error err = {0};

        assert_status(fmp_public_key_parse(text, len, &k, &err), FMP_ECORRUPT, &err);
        free(text);
    }
}

/* A flipped bit of the key's line never gives the same number and key. */
static void every_bit_flip_changes_the_key_or_is_refused(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 8 * (sizeof rfc_line - 1); bit++) {
        char *text = exact_copy(rfc_line, sizeof rfc_line - 1);
        fmp_public_key k = {.key = {0}};
        fmp_error err = {0};

        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        if (fmp_public_key_parse(text, sizeof rfc_line - 1, &k, &err) == FMP_OK)
            assert_false(!memcmp(k.key, RFC_KEY, 32) && !memcmp(k.number, k.id, 8));
        free(text);
    }
}

static void generated_keys_differ_and_sign(void **state)
{
    fmp_secret_key *a = NULL;
    fmp_secret_key *b = NULL;
    fmp_error err;
    fmp_public_key pub;
    uint8_t sig[64];

    (void)state;
    assert_status(fmp_secret_key_generate(&a, &err), FMP_OK, &err);
    assert_status(fmp_secret_key_generate(&b, &err), FMP_OK, &err);
    assert_memory_not_equal(a->secret, b->secret, 32);
    pub = fmp_secret_key_public(a);
    assert_memory_equal(pub.number, pub.id, 8);
    crypto_sign_detached(sig, NULL, (const uint8_t *)"x", 1, a->secret);
    assert_int_equal(crypto_sign_verify_detached(sig, (const uint8_t *)"x", 1, pub.key), 0);
    fmp_secret_key_free(a);
    fmp_secret_key_free(b);
    fmp_secret_key_free(NULL);
}

static void generate_survives_every_failed_allocation(void **state)
{
    fmp_secret_key *key = NULL;
    fmp_error err;
    fmp_status st = FMP_ENOMEM;
    long k;

    (void)state;
    for (k = 0; st == FMP_ENOMEM; k++) {
        fmp_alloc_fail_at(k);
        st = fmp_secret_key_generate(&key, &err);
    }
    fmp_alloc_fail_at(-1);
    assert_status(st, FMP_OK, &err);
    assert_true(k > 1);
    fmp_secret_key_free(key);
}

/* Signing with a seed and somebody else's public half would give the seed away. */
static void mismatched_halves_are_refused(void **state)
{
    uint8_t secret[64];
    fmp_secret_key *key = NULL;
    fmp_error err;

    (void)state;
    memcpy(secret, RFC_SEED, 32);
    memset(secret + 32, 1, 32);
    assert_status(fmp_secret_key_from(secret, NULL, "k", &key, &err), FMP_ECORRUPT, &err);
    assert_null(key);
    memcpy(secret + 32, RFC_KEY, 32);
    assert_status(fmp_secret_key_from(secret, NULL, "k", &key, &err), FMP_OK, &err);
    fmp_secret_key_free(key);
}

static void load_names_the_file(void **state)
{
    fmp_public_key k;
    fmp_error err = {0};
    char large[FMP_KEY_TEXT_MAX + 1];

    (void)state;
    put_file(in_scratch("a.pub"), rfc_text, strlen(rfc_text), 0644);
    assert_status(fmp_public_key_load(in_scratch("a.pub"), &k, &err), FMP_OK, &err);
    assert_memory_equal(k.key, RFC_KEY, 32);
    put_file(in_scratch("bad.pub"), "hello\n", 6, 0644);
    assert_status(fmp_public_key_load(in_scratch("bad.pub"), &k, &err), FMP_ECORRUPT, &err);
    assert_non_null(strstr(err.text, "bad.pub"));
    assert_status(fmp_public_key_load(in_scratch("none.pub"), &k, &err), FMP_EIO, &err);
    assert_non_null(strstr(err.text, "none.pub"));
    memset(large, 'A', sizeof large);
    put_file(in_scratch("large.pub"), large, sizeof large, 0644);
    assert_status(fmp_public_key_load(in_scratch("large.pub"), &k, &err), FMP_ELIMIT, &err);
}

#define TEXT(s, plain, plain_with_tab)                                                             \
    {                                                                                              \
        s, sizeof s - 1, plain, plain_with_tab                                                     \
    }

static void plain_text_is_utf8_without_controls(void **state)
{
    static const struct {
        const char *s;
        size_t len;
        bool plain, plain_with_tab;
    } cases[] = {
        TEXT("", true, true),
        TEXT("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x9f", true, true),
        TEXT("a\tb", false, true),
        TEXT("\xc2\xa0", true, true),
        TEXT("\xf4\x8f\xbf\xbd", true, true),
        TEXT("\xed\x9f\xbf\xee\x80\x80", true, true),
        /* C0, DEL, C1 */
        TEXT("a\0", false, false),
        TEXT("\x1b[2J", false, false),
        TEXT("a\nb", false, false),
        TEXT("a\rb", false, false),
        TEXT("\x7f", false, false),
        TEXT("\xc2\x80", false, false),
        TEXT("\xc2\x9b", false, false),
        /* direction */
        TEXT("\xd8\x9c", false, false),
        TEXT("\xe2\x80\x8e", false, false),
        TEXT("\xe2\x80\x8f", false, false),
        TEXT("\xe2\x80\xaa", false, false),
        TEXT("\xe2\x80\xae", false, false),
        TEXT("\xe2\x81\xa6", false, false),
        TEXT("\xe2\x81\xa9", false, false),
        /* the neighbours of those are fine */
        TEXT("\xe2\x80\x8d\xe2\x80\x90\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa", true, true),
        /* not UTF-8: stray, short, overlong, surrogate, too large */
        TEXT("\x80", false, false),
        TEXT("\xc3", false, false),
        TEXT("\xe2\x82", false, false),
        TEXT("\xf0\x9f\x90", false, false),
        TEXT("\xc3\x28", false, false),
        TEXT("\xc0\xaf", false, false),
        TEXT("\xc1\xbf", false, false),
        TEXT("\xe0\x9f\xbf", false, false),
        TEXT("\xf0\x8f\xbf\xbf", false, false),
        TEXT("\xed\xa0\x80", false, false),
        TEXT("\xf4\x90\x80\x80", false, false),
        TEXT("\xf5\x80\x80\x80", false, false),
        TEXT("\xff", false, false),
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = exact_copy(cases[i].s, cases[i].len);

        if (fmp_text_is_plain(text, cases[i].len, false) != cases[i].plain ||
            fmp_text_is_plain(text, cases[i].len, true) != cases[i].plain_with_tab)
            fail_msg("case %zu", i);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(id_is_the_hash_of_suite_and_key),
        cmocka_unit_test(text_is_minisigns),
        cmocka_unit_test(every_accepted_shape_gives_the_same_key),
        cmocka_unit_test(leading_zeros_are_left_out),
        cmocka_unit_test(other_text_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_bit_flip_changes_the_key_or_is_refused),
        cmocka_unit_test(generated_keys_differ_and_sign),
        cmocka_unit_test(generate_survives_every_failed_allocation),
        cmocka_unit_test(mismatched_halves_are_refused),
        cmocka_unit_test_setup_teardown(load_names_the_file, scratch_begin, scratch_end),
        cmocka_unit_test(plain_text_is_utf8_without_controls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
