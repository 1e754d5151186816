/*
 * minisign sidecars: the bytes that we write, and that nothing is accepted but a prehashed
 * signature by the right key over the right file and the right comment.
 */
#include "keysupport.h"

#include "crypto/minisign.h"

/* By minisign 0.11 over "hello\n". */
#define FIXTURE_COMMENT "timestamp:1795556694\tfile:hello\thashed"

static const char fixture_public[] = "RWTwZ8NqitF/jjM3Sw3yEdsYFkfYmnajNsuKsBJqsbdVKdIC2Mx2QfoI";
static const char fixture_comment[] = FIXTURE_COMMENT;
static const char fixture_sig[] =
    "untrusted comment: signature from minisign secret key\n"
    "RUTwZ8NqitF/jsaqt19FAsMACA9cfjKhdOMCcpoeLU7p/0M3pzhL8SAIVwY9m7uIqe/wxK/"
    "IJxeDFWUtiYNITbcMgBV+Xu8MZg8=\n"
    "trusted comment: " FIXTURE_COMMENT "\n"
    "Z+2NFkJ5iLE3l3k+5Akj10mL971eJXnEO6BvC+SeN6onKFpkaygq63qTm9WlWCKK1FOau8m5hS2ocGF8ht2EBg==\n";

static const char content[] = "what is signed\n";

static int make_file(void **state)
{
    if (scratch_begin(state))
        return -1;
    put_file(in_scratch("f"), content, strlen(content), 0644);
    return 0;
}

/* The four lines by hand, with any algorithm bytes. */
static void by_hand(const fmp_secret_key *key, const char *alg, const void *message, size_t len,
                    const char *comment, char text[1024])
{
    uint8_t blob[74];
    uint8_t global[64];
    uint8_t both[512];
    char line2[128];
    char line4[128];

    memcpy(blob, alg, 2);
    memcpy(blob + 2, key->pub.number, 8);
    crypto_sign_detached(blob + 10, NULL, message, len, key->secret);
    memcpy(both, blob + 10, 64);
    memcpy(both + 64, comment, strlen(comment));
    crypto_sign_detached(global, NULL, both, 64 + strlen(comment), key->secret);
    sodium_bin2base64(line2, sizeof line2, blob, 74, sodium_base64_VARIANT_ORIGINAL);
    sodium_bin2base64(line4, sizeof line4, global, 64, sodium_base64_VARIANT_ORIGINAL);
    snprintf(text, 1024,
             "untrusted comment: signature from fmpatch secret key\n%s\ntrusted comment: %s\n%s\n",
             line2, comment, line4);
}

static void prehash(const void *data, size_t len, uint8_t hash[64])
{
    crypto_generichash(hash, 64, data, len, NULL, 0);
}

/* Puts `text` at "s" and verifies "f" with it. */
static fmp_status verify_text(const char *text, size_t len, const fmp_public_key *key,
                              char *comment, size_t cap, fmp_error *err)
{
    put_file(in_scratch("s"), text, len, 0644);
    return fmp_minisign_verify(in_scratch("f"), in_scratch("s"), key, comment, cap, err);
}

static void bytes_are_minisigns(void **state)
{
    fmp_secret_key *key = test_key(1);
    uint8_t hash[64];
    char want[1024];
    char comment[64] = "";
    char *got;
    size_t len;
    fmp_error err;

    (void)state;
    prehash(content, strlen(content), hash);
    by_hand(key, "ED", hash, 64, "base=12\ttarget=34", want);
    assert_status(fmp_minisign_sign(in_scratch("f"), in_scratch("f.minisig"), key,
                                    "base=12\ttarget=34", false, &err),
                  FMP_OK, &err);
    got = get_file(in_scratch("f.minisig"), &len);
    assert_string_equal(got, want);
    free(got);
    assert_status(fmp_minisign_verify(in_scratch("f"), in_scratch("f.minisig"), &key->pub, comment,
                                      sizeof comment, &err),
                  FMP_OK, &err);
    assert_string_equal(comment, "base=12\ttarget=34");
    fmp_secret_key_free(key);
}

static void minisigns_own_signature_is_right(void **state)
{
    fmp_public_key key;
    char comment[128] = "";
    fmp_error err;

    (void)state;
    put_file(in_scratch("f"), "hello\n", 6, 0644);
    assert_status(fmp_public_key_parse(fixture_public, strlen(fixture_public), &key, &err), FMP_OK,
                  &err);
    assert_status(
        verify_text(fixture_sig, strlen(fixture_sig), &key, comment, sizeof comment, &err), FMP_OK,
        &err);
    assert_string_equal(comment, fixture_comment);
}

/* The file, empty and over several of the reader's chunks. */
static void files_of_any_length_are_hashed_whole(void **state)
{
    static const size_t sizes[] = {0, 1, 1 << 18, (1 << 18) + 1, 700000};
    fmp_secret_key *key = test_key(1);
    char *data = malloc(700000);

    (void)state;
    assert_non_null(data);
    for (size_t i = 0; i < 700000; i++)
        data[i] = (char)(i * 31 >> 5);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t hash[64];
        char text[1024];
        fmp_error err = {0};

        put_file(in_scratch("f"), data, sizes[i], 0644);
        prehash(data, sizes[i], hash);
        by_hand(key, "ED", hash, 64, "c", text);
        assert_status(verify_text(text, strlen(text), &key->pub, NULL, 0, &err), FMP_OK, &err);
        if (sizes[i]) {
            data[sizes[i] - 1] ^= 1;
            put_file(in_scratch("f"), data, sizes[i], 0644);
            assert_status(verify_text(text, strlen(text), &key->pub, NULL, 0, &err), FMP_EAUTH,
                          &err);
            data[sizes[i] - 1] ^= 1;
        }
    }
    free(data);
    fmp_secret_key_free(key);
}

static void the_default_comment_names_the_file(void **state)
{
    fmp_secret_key *key = test_key(1);
    char comment[64] = "";
    fmp_error err;

    (void)state;
    assert_status(fmp_minisign_sign(in_scratch("f"), in_scratch("s"), key, NULL, false, &err),
                  FMP_OK, &err);
    assert_status(fmp_minisign_verify(in_scratch("f"), in_scratch("s"), &key->pub, comment,
                                      sizeof comment, &err),
                  FMP_OK, &err);
    assert_string_equal(comment, "file:f\thashed");
    put_file(in_scratch("a\nb"), content, strlen(content), 0644);
    assert_status(fmp_minisign_sign(in_scratch("a\nb"), in_scratch("s"), key, NULL, true, &err),
                  FMP_OK, &err);
    assert_status(fmp_minisign_verify(in_scratch("f"), in_scratch("s"), &key->pub, comment,
                                      sizeof comment, &err),
                  FMP_OK, &err);
    assert_string_equal(comment, "hashed");
    fmp_secret_key_free(key);
}

static void an_existing_signature_is_replaced_only_when_told(void **state)
{
    fmp_secret_key *key = test_key(1);
    fmp_error err = {0};
    char *text;
    size_t len;

    (void)state;
    put_file(in_scratch("s"), "old", 3, 0644);
    assert_status(fmp_minisign_sign(in_scratch("f"), in_scratch("s"), key, NULL, false, &err),
                  FMP_EUSAGE, &err);
    text = get_file(in_scratch("s"), &len);
    assert_string_equal(text, "old");
    free(text);
    assert_status(fmp_minisign_sign(in_scratch("f"), in_scratch("s"), key, NULL, true, &err),
                  FMP_OK, &err);
    assert_status(fmp_minisign_sign(in_scratch("none"), in_scratch("t"), key, NULL, true, &err),
                  FMP_EIO, &err);
    assert_false(exists(in_scratch("t")));
    fmp_secret_key_free(key);
}

/* The two algorithm bytes are signed by nobody: a right "ED" signature relabelled, and a right
 * legacy signature, are refused with a sentence of their own. */
static void legacy_signatures_are_refused(void **state)
{
    fmp_secret_key *key = test_key(1);
    uint8_t hash[64];
    char text[1024];
    fmp_error err = {0};

    (void)state;
    prehash(content, strlen(content), hash);
    put_file(in_scratch("f"), hash, 64, 0644); /* for a legacy verifier this would be the file */
    by_hand(key, "Ed", hash, 64, "c", text);
    assert_status(verify_text(text, strlen(text), &key->pub, NULL, 0, &err), FMP_EAUTH, &err);
    assert_non_null(strstr(err.text, "legacy"));
    put_file(in_scratch("f"), content, strlen(content), 0644);
    by_hand(key, "Ed", content, strlen(content), "c", text);
    assert_status(verify_text(text, strlen(text), &key->pub, NULL, 0, &err), FMP_EAUTH, &err);
    assert_non_null(strstr(err.text, "legacy"));
    by_hand(key, "EX", hash, 64, "c", text);
    assert_status(verify_text(text, strlen(text), &key->pub, NULL, 0, &err), FMP_ECORRUPT, &err);
    /* and "ED" must be over the hash, not over the file */
    by_hand(key, "ED", content, strlen(content), "c", text);
    assert_status(verify_text(text, strlen(text), &key->pub, NULL, 0, &err), FMP_EAUTH, &err);
    fmp_secret_key_free(key);
}

static void other_keys_files_and_comments_are_refused(void **state)
{
    fmp_secret_key *key = test_key(1);
    fmp_secret_key *other = test_key(2);
    fmp_public_key lying = other->pub;
    uint8_t hash[64];
    char text[1024];
    char number[17];
    fmp_error err = {0};

    (void)state;
    prehash(content, strlen(content), hash);
    by_hand(key, "ED", hash, 64, "comment", text);
    assert_status(verify_text(text, strlen(text), &other->pub, NULL, 0, &err), FMP_EAUTH, &err);
    fmp_key_number_hex(key->pub.number, number);
    assert_non_null(strstr(err.text, number));
    /* another key that claims the number */
    memcpy(lying.number, key->pub.number, 8);
    assert_status(verify_text(text, strlen(text), &lying, NULL, 0, &err), FMP_EAUTH, &err);
    /* another file */
    put_file(in_scratch("f"), "What is signed\n", 15, 0644);
    assert_status(verify_text(text, strlen(text), &key->pub, NULL, 0, &err), FMP_EAUTH, &err);
    assert_non_null(strstr(err.text, in_scratch("f")));
    /* another comment */
    put_file(in_scratch("f"), content, strlen(content), 0644);
    memcpy(strstr(text, "trusted comment: comment") + 17, "Comment", 7);
    assert_status(verify_text(text, strlen(text), &key->pub, NULL, 0, &err), FMP_EAUTH, &err);
    assert_non_null(strstr(err.text, "comment"));
    fmp_secret_key_free(key);
    fmp_secret_key_free(other);
}

/* Signed or not, a comment that would play with a terminal is not passed on. */
static void hostile_comments_are_refused(void **state)
{
    static const char *const comments[] = {"\x1b[2J", "a\x7f",
                                           "\xc2\x9b"
                                           "2J",
                                           "\xe2\x80\xae"
                                           "x",
                                           "\xff"};
    fmp_secret_key *key = test_key(1);
    uint8_t hash[64];

    (void)state;
    prehash(content, strlen(content), hash);
    for (size_t i = 0; i < sizeof comments / sizeof *comments; i++) {
        char text[1024];
        fmp_error err = {0};

        by_hand(key, "ED", hash, 64, comments[i], text);
        assert_status(verify_text(text, strlen(text), &key->pub, NULL, 0, &err), FMP_ECORRUPT,
                      &err);
        assert_status(
            fmp_minisign_sign(in_scratch("f"), in_scratch("t"), key, comments[i], false, &err),
            FMP_EUSAGE, &err);
    }
    fmp_secret_key_free(key);
}

static void comments_have_a_length(void **state)
{
    fmp_secret_key *key = test_key(1);
    char *longest = calloc(1, FMP_TRUSTED_COMMENT_MAX + 2);
    char *comment = calloc(1, FMP_TRUSTED_COMMENT_MAX + 1);
    fmp_error err = {0};

    (void)state;
    assert_non_null(longest);
    assert_non_null(comment);
    memset(longest, 'x', FMP_TRUSTED_COMMENT_MAX);
    assert_status(fmp_minisign_sign(in_scratch("f"), in_scratch("s"), key, longest, false, &err),
                  FMP_OK, &err);
    comment[0] = 'u';
    assert_status(fmp_minisign_verify(in_scratch("f"), in_scratch("s"), &key->pub, comment,
                                      FMP_TRUSTED_COMMENT_MAX, &err),
                  FMP_EUSAGE, &err);
    assert_string_equal(comment, "u");
    assert_status(fmp_minisign_verify(in_scratch("f"), in_scratch("s"), &key->pub, comment,
                                      FMP_TRUSTED_COMMENT_MAX + 1, &err),
                  FMP_OK, &err);
    assert_string_equal(comment, longest);
    longest[FMP_TRUSTED_COMMENT_MAX] = 'x';
    assert_status(fmp_minisign_sign(in_scratch("f"), in_scratch("s"), key, longest, true, &err),
                  FMP_EUSAGE, &err);
    free(longest);
    free(comment);
    fmp_secret_key_free(key);
}

/* Cut anywhere but before the last LF it is no signature. */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len + 1 < strlen(fixture_sig); len++) {
        char *text = exact_copy(fixture_sig, len);
        fmp_minisig m = {.comment_len = 77};
        fmp_error err = {0};

        assert_status(fmp_minisig_parse(text, len, "s", &m, &err), FMP_ECORRUPT, &err);
        assert_int_equal(m.comment_len, 77);
        free(text);
    }
}

/* Whatever is flipped outside the untrusted comment, the file is no longer vouched for. */
static void every_bit_flip_is_refused(void **state)
{
    const size_t trusted_from = (size_t)(strchr(fixture_sig, '\n') - fixture_sig);
    uint8_t hash[64];
    fmp_public_key key;
    fmp_error err = {0};
    unsigned n_accepted = 0;

    (void)state;
    prehash("hello\n", 6, hash);
    assert_status(fmp_public_key_parse(fixture_public, strlen(fixture_public), &key, &err), FMP_OK,
                  &err);
    for (size_t bit = 0; bit < 8 * strlen(fixture_sig); bit++) {
        char *text = exact_copy(fixture_sig, strlen(fixture_sig));
        fmp_minisig m;
        fmp_status st;

        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        st = fmp_minisig_parse(text, strlen(fixture_sig), "s", &m, &err);
        if (!st)
            st = fmp_minisig_check_comment(&m, &key, "s", &err);
        if (!st && crypto_sign_verify_detached(m.sig, hash, 64, key.key))
            st = FMP_EAUTH;
        if (bit / 8 < trusted_from)
            n_accepted += st == FMP_OK;
        else if (st != FMP_ECORRUPT && st != FMP_EAUTH)
            fail_msg("bit %zu: %s", bit, fmp_status_name(st));
        free(text);
    }
    assert_true(n_accepted > 0); /* the untrusted comment is untrusted */
}

#define TEXT(s)                                                                                    \
    {                                                                                              \
        s, sizeof s - 1                                                                            \
    }

static void other_text_is_corrupt(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {
        TEXT(""),
        TEXT("\n\n\n\n"),
        TEXT("hello"),
        TEXT("untrusted comment: \n\ntrusted comment: \n\n"),
        TEXT("trusted comment: \nRUQ=\nuntrusted comment: \nRUQ=\n"),
        TEXT("untrusted comment: \0\n\ntrusted comment: \n\n"),
    };
    char text[1024];
    fmp_minisig m;
    fmp_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_status(fmp_minisig_parse(cases[i].text, cases[i].len, "s", &m, &err), FMP_ECORRUPT,
                      &err);
    snprintf(text, sizeof text, "%s\n", fixture_sig); /* a fifth line */
    assert_status(fmp_minisig_parse(text, strlen(text), "s", &m, &err), FMP_ECORRUPT, &err);
}

static void windows_line_ends_are_fine(void **state)
{
    fmp_minisig want;
    fmp_minisig m;
    char text[1024];
    size_t n = 0;
    fmp_error err;

    (void)state;
    for (const char *s = fixture_sig; *s; s++) {
        if (*s == '\n')
            text[n++] = '\r';
        text[n++] = *s;
    }
    assert_status(fmp_minisig_parse(fixture_sig, strlen(fixture_sig), "s", &want, &err), FMP_OK,
                  &err);
    assert_status(fmp_minisig_parse(text, n, "s", &m, &err), FMP_OK, &err);
    assert_memory_equal(m.sig, want.sig, 64);
    assert_memory_equal(m.global, want.global, 64);
    assert_int_equal(m.comment_len, want.comment_len);
    assert_memory_equal(m.comment, want.comment, want.comment_len);
}

static void sign_and_verify_survive_every_failed_allocation(void **state)
{
    fmp_secret_key *key = test_key(1);
    const char *file = in_scratch("f");
    const char *sig = in_scratch("s");
    fmp_status st = FMP_ENOMEM;
    fmp_error err;

    (void)state;
    for (long k = 0; st == FMP_ENOMEM; k++) {
        fmp_alloc_fail_at(k);
        st = fmp_minisign_sign(file, sig, key, "c", false, &err);
        fmp_alloc_fail_at(-1);
        assert_int_equal(exists(sig), st == FMP_OK);
    }
    assert_status(st, FMP_OK, &err);
    st = FMP_ENOMEM;
    for (long k = 0; st == FMP_ENOMEM; k++) {
        fmp_alloc_fail_at(k);
        st = fmp_minisign_verify(file, sig, &key->pub, NULL, 0, &err);
        fmp_alloc_fail_at(-1);
    }
    assert_status(st, FMP_OK, &err);
    fmp_secret_key_free(key);
}

#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, make_file, scratch_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILE(bytes_are_minisigns),
        WITH_FILE(minisigns_own_signature_is_right),
        WITH_FILE(files_of_any_length_are_hashed_whole),
        WITH_FILE(the_default_comment_names_the_file),
        WITH_FILE(an_existing_signature_is_replaced_only_when_told),
        WITH_FILE(legacy_signatures_are_refused),
        WITH_FILE(other_keys_files_and_comments_are_refused),
        WITH_FILE(hostile_comments_are_refused),
        WITH_FILE(comments_have_a_length),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_bit_flip_is_refused),
        cmocka_unit_test(other_text_is_corrupt),
        cmocka_unit_test(windows_line_ends_are_fine),
        WITH_FILE(sign_and_verify_survive_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
