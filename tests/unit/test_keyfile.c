/*
 * Secret key files: minisign's two forms and our own, made elsewhere and made here; what is
 * refused, and that nothing is asked before that.
 */
#include "keysupport.h"

#include "crypto/keyfile.h"

/* By minisign 0.11, "-G -W". */
static const char by_minisign[] =
    "untrusted comment: minisign encrypted secret key\n"
    "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA8GfDaorRf45XwtvBINRg0a"
    "Zm"
    "X7kEbOvkI3aIQ11/"
    "8y09zovzcpkY3DM3Sw3yEdsYFkfYmnajNsuKsBJqsbdVKdIC2Mx2QfoIAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAA=\n";
static const char by_minisign_pub[] = "RWTwZ8NqitF/jjM3Sw3yEdsYFkfYmnajNsuKsBJqsbdVKdIC2Mx2QfoI";

/* The RFC key, by a few lines of Python: unencrypted with a checksum; hashlib.scrypt with N 1024;
 * argon2-cffi with time 2 and 64 MiB.  The passphrase is "correct horse". */
static const char by_python_plain[] =
    "untrusted comment: x\n"
    "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAENL6mae6caOdYbGd7/"
    "1aYLqE"
    "SvSS7CzEREnFaXsyaRlwO6wDHK5/"
    "YNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1EauhTvBjOnXE6vfL+boLgPrOYSbWlY"
    "MzE0wgXoT83J3zs=\n";
static const char by_python_scrypt[] =
    "untrusted comment: x\n"
    "RWRTY0IyAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AgAAAAAAAAAAAAAEAAAAAD3POEfM7+z3T8YZNrrWN+"
    "0KKrTha"
    "eUjd3R5nzvhhRpnNADtuxYv6pLgtBUvYR+7wQxHK7VdzOVDB9Uc0FLcV6zMfVFpb3RIxOd4pEKviC6kbmFtF7KQJJxR+"
    "fu6+NjMI"
    "BUE065EiZvA=\n";
static const char by_python_argon2[] = "untrusted comment: fmpatch encrypted secret key\n"
                                       "RWRBMkIyAAECAwQFBgcICQoLDA0ODwIAAAAAAAAAAAAABAAAAAAiS3TQ44B"
                                       "0ZTQqB8AldJhbKSw17h5TgNlV041D/8HFiijvGnj2"
                                       "o5Bj46bpvP/1gGP1qtXbNdz28dxSkGUEh7G9IhPAcPrvhhe4+vW0/"
                                       "Ye+nDQ6QRiY3C96nDdOHkCp1DGYaWj2u+lI7g==\n";

#define CHEAP_SCRYPT                                                                               \
    {                                                                                              \
        32768, 16 << 20                                                                            \
    }
#define CHEAP_ARGON2                                                                               \
    {                                                                                              \
        2, 64 << 20                                                                                \
    } /* INTERACTIVE: the least that is read */

static const fmp_kdf_cost cheap_scrypt = CHEAP_SCRYPT;
static const fmp_kdf_cost cheap_argon2 = CHEAP_ARGON2;

/* A user who types `pass`; counts how often it was asked. */
typedef struct user {
    const char *pass; /* NULL: gives up */
    int len;          /* -2: strlen(pass) */
    unsigned asked;
} user;

static int type_passphrase(void *ctx, const char *prompt, char *pass, size_t cap)
{
    user *u = ctx;

    u->asked++;
    assert_non_null(strstr(prompt, "the.key"));
    if (!u->pass)
        return -1;
    assert_true(strlen(u->pass) <= cap);
    memcpy(pass, u->pass, strlen(u->pass));
    return u->len == -2 ? (int)strlen(u->pass) : u->len;
}

static fmp_status parse(const char *text, size_t len, user *u, fmp_secret_key **ret, fmp_error *err)
{
    char *copy = exact_copy(text, len);
    const fmp_status st =
        fmp_keyfile_parse(copy, len, "the.key", u ? type_passphrase : NULL, u, ret, err);

    free(copy);
    return st;
}

static void files_made_elsewhere_are_read(void **state)
{
    static const char *const texts[] = {by_python_plain, by_python_scrypt, by_python_argon2};
    fmp_public_key want;
    fmp_secret_key *key = NULL;
    fmp_error err;

    (void)state;
    assert_status(fmp_public_key_parse(by_minisign_pub, strlen(by_minisign_pub), &want, &err),
                  FMP_OK, &err);
    assert_status(parse(by_minisign, strlen(by_minisign), NULL, &key, &err), FMP_OK, &err);
    assert_memory_equal(&key->pub, &want, sizeof want);
    fmp_secret_key_free(key);
    for (unsigned i = 0; i < 3; i++) {
        user u = {"correct horse", -2, 0};

        assert_status(parse(texts[i], strlen(texts[i]), &u, &key, &err), FMP_OK, &err);
        assert_memory_equal(key->secret, RFC_SEED RFC_KEY, 64);
        assert_memory_equal(key->pub.number, key->pub.id, 8);
        assert_int_equal(u.asked, i ? 1 : 0);
        fmp_secret_key_free(key);
    }
}

static void wrong_passphrases_are_not_authentic(void **state)
{
    static const char *const texts[] = {by_python_scrypt, by_python_argon2};
    fmp_secret_key *key = NULL;
    fmp_error err = {0};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        user wrong = {"Correct horse", -2, 0};
        user empty = {"", -2, 0};
        user longer = {"correct horse!", -2, 0};

        assert_status(parse(texts[i], strlen(texts[i]), &wrong, &key, &err), FMP_EAUTH, &err);
        assert_non_null(strstr(err.text, "the.key: wrong passphrase"));
        assert_status(parse(texts[i], strlen(texts[i]), &empty, &key, &err), FMP_EAUTH, &err);
        assert_status(parse(texts[i], strlen(texts[i]), &longer, &key, &err), FMP_EAUTH, &err);
        assert_null(key);
    }
}

static void giving_up_is_said(void **state)
{
    user quits = {NULL, 0, 0};
    user lies = {"x", FMP_PASSPHRASE_MAX + 1, 0};
    fmp_secret_key *key = NULL;
    fmp_error err = {0};

    (void)state;
    assert_status(parse(by_python_scrypt, strlen(by_python_scrypt), &quits, &key, &err), FMP_EAUTH,
                  &err);
    assert_non_null(strstr(err.text, "no passphrase was given"));
    assert_status(parse(by_python_scrypt, strlen(by_python_scrypt), NULL, &key, &err), FMP_EAUTH,
                  &err);
    assert_non_null(strstr(err.text, "no way to ask"));
    assert_status(parse(by_python_scrypt, strlen(by_python_scrypt), &lies, &key, &err), FMP_EUSAGE,
                  &err);
    assert_null(key);
}

/* Without its last LF a file is whole; with less it is not, and nobody is asked. */
static void every_truncation_is_refused_unasked(void **state)
{
    static const char *const texts[] = {by_minisign, by_python_plain, by_python_scrypt,
                                        by_python_argon2};

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        for (size_t len = 0; len + 1 < strlen(texts[i]); len++) {
            user u = {"correct horse", -2, 0};
            fmp_secret_key *key = NULL;
            fmp_error err = {0};

            assert_status(parse(texts[i], len, &u, &key, &err), FMP_ECORRUPT, &err);
            assert_null(key);
            assert_int_equal(u.asked, 0);
        }
}

/* The second line of `text` with `mask` XORed into byte `at` of what it encodes. */
static void flip_blob(const char *text, size_t at, uint8_t mask, char out[FMP_KEYFILE_TEXT_MAX])
{
    uint8_t blob[160];
    size_t len;
    const char *line = strchr(text, '\n') + 1;
    const size_t head = (size_t)(line - text);

    assert_int_equal(sodium_base642bin(blob, sizeof blob, line, strlen(line) - 1, NULL, &len, NULL,
                                       sodium_base64_VARIANT_ORIGINAL),
                     0);
    assert_true(at < len);
    blob[at] ^= mask;
    memcpy(out, text, head);
    sodium_bin2base64(out + head, FMP_KEYFILE_TEXT_MAX - head, blob, len,
                      sodium_base64_VARIANT_ORIGINAL);
}

/* With a checksum every flipped bit of number, secret and checksum is seen; salt and cost mean
 * nothing there. */
static void every_bit_flip_of_an_unencrypted_key_is_seen(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 158 * 8; bit++) {
        char text[FMP_KEYFILE_TEXT_MAX];
        fmp_secret_key *key = NULL;
        fmp_error err = {0};
        fmp_status st;

        flip_blob(by_python_plain, bit / 8, (uint8_t)(1 << bit % 8), text);
        st = parse(text, strlen(text), NULL, &key, &err);
        if (bit / 8 >= 6 && bit / 8 < 54) {
            assert_status(st, FMP_OK, &err);
            assert_memory_equal(key->secret, RFC_SEED RFC_KEY, 64);
            fmp_secret_key_free(key);
        } else {
            assert_status(st, bit / 8 < 6 ? FMP_ENOTSUP : FMP_ECORRUPT, &err);
            assert_null(key);
        }
    }
}

/* Without a checksum (minisign's way) at least the two halves must fit. */
static void every_bit_flip_of_a_bare_secret_is_seen(void **state)
{
    (void)state;
    for (size_t bit = 62 * 8; bit < 158 * 8; bit++) {
        char text[FMP_KEYFILE_TEXT_MAX];
        fmp_secret_key *key = NULL;
        fmp_error err = {0};

        flip_blob(by_minisign, bit / 8, (uint8_t)(1 << bit % 8), text);
        assert_status(parse(text, strlen(text), NULL, &key, &err), FMP_ECORRUPT, &err);
        assert_null(key);
    }
}

static void a_bit_flip_of_an_encrypted_key_is_seen(void **state)
{
    (void)state;
    for (size_t at = 0; at < 158; at++) {
        char text[FMP_KEYFILE_TEXT_MAX];
        user u = {"correct horse", -2, 0};
        fmp_secret_key *key = NULL;
        fmp_error err = {0};

        if (at >= 38 && at < 54) /* the cost: see below */
            continue;
        flip_blob(by_python_scrypt, at, (uint8_t)(1 << at % 8), text);
        assert_status(parse(text, strlen(text), &u, &key, &err), at < 6 ? FMP_ENOTSUP : FMP_EAUTH,
                      &err);
        assert_null(key);
        assert_int_equal(u.asked, at < 6 ? 0 : 1);
    }
}

/* What a file may cost is bounded before anybody is asked. */
static void hostile_and_weak_costs_are_refused_unasked(void **state)
{
    static const struct {
        const char *text;
        size_t at;
        uint8_t mask;
        fmp_status want;
    } cases[] = {
        {by_python_scrypt, 38 + 3, 0x08 | 0x10, FMP_ELIMIT}, /* opslimit 2^27 + 2^28 */
        {by_python_scrypt, 38 + 7, 0x80, FMP_ELIMIT},        /* 2^63 */
        {by_python_scrypt, 46 + 4, 0x01, FMP_ELIMIT},        /* memlimit 4 GiB and 16 MiB */
        {by_python_scrypt, 46 + 7, 0x80, FMP_ELIMIT},
        {by_python_argon2, 22, 0x13, FMP_ELIMIT},      /* opslimit 17 */
        {by_python_argon2, 22, 0x03, FMP_EPOLICY},     /* 1 */
        {by_python_argon2, 22, 0x02, FMP_EPOLICY},     /* 0 */
        {by_python_argon2, 22 + 4, 0x01, FMP_ELIMIT},  /* 2^32 and 2 */
        {by_python_argon2, 30 + 4, 0x01, FMP_ELIMIT},  /* memlimit 4 GiB and 64 MiB */
        {by_python_argon2, 30 + 3, 0x06, FMP_EPOLICY}, /* 32 MiB */
        {by_python_argon2, 30 + 3, 0x04, FMP_EPOLICY}, /* 0 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[FMP_KEYFILE_TEXT_MAX];
        user u = {"correct horse", -2, 0};
        fmp_secret_key *key = NULL;
        fmp_error err = {0};

        flip_blob(cases[i].text, cases[i].at, cases[i].mask, text);
        assert_status(parse(text, strlen(text), &u, &key, &err), cases[i].want, &err);
        assert_int_equal(u.asked, 0);
        assert_null(key);
    }
}

static void parse_survives_every_failed_allocation(void **state)
{
    fmp_secret_key *key = NULL;
    fmp_status st = FMP_ENOMEM;
    fmp_error err;
    long k;

    (void)state;
    for (k = 0; st == FMP_ENOMEM; k++) {
        user u = {"correct horse", -2, 0};

        fmp_alloc_fail_at(k);
        st = parse(by_python_scrypt, strlen(by_python_scrypt), &u, &key, &err);
    }
    fmp_alloc_fail_at(-1);
    assert_status(st, FMP_OK, &err);
    assert_true(k > 2);
    fmp_secret_key_free(key);
}

static void written_text_has_the_form_and_comes_back(void **state)
{
    fmp_secret_key *key = key_from_seed((const uint8_t *)RFC_SEED);
    static const struct {
        fmp_key_format format;
        const char *pass, *head;
        fmp_kdf_cost cost;
        size_t digits;
    } cases[] = {
        {FMP_KEY_MINISIGN,
         NULL,
         "untrusted comment: minisign unencrypted secret key\nRWQAAEIy",
         {0, 0},
         212},
        {FMP_KEY_MINISIGN, "p\xc3\xa4ss",
         "untrusted comment: minisign encrypted secret key\nRWRTY0Iy", CHEAP_SCRYPT, 212},
        {FMP_KEY_ARGON2ID, "p\xc3\xa4ss",
         "untrusted comment: fmpatch encrypted secret key\nRWRBMkIy", CHEAP_ARGON2, 192},
    };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char text[FMP_KEYFILE_TEXT_MAX];
        char again[FMP_KEYFILE_TEXT_MAX];
        user u = {"p\xc3\xa4ss", -2, 0};
        fmp_secret_key *back = NULL;
        fmp_error err;

        assert_status(fmp_keyfile_text(key, cases[i].format, cases[i].pass, cases[i].cost,
                                       "the.key", text, &err),
                      FMP_OK, &err);
        assert_memory_equal(text, cases[i].head, strlen(cases[i].head));
        assert_int_equal(strlen(strchr(text, '\n') + 1), cases[i].digits + 1);
        assert_status(parse(text, strlen(text), &u, &back, &err), FMP_OK, &err);
        assert_memory_equal(back->secret, key->secret, 64);
        assert_memory_equal(&back->pub, &key->pub, sizeof key->pub);
        fmp_secret_key_free(back);
        assert_status(fmp_keyfile_text(key, cases[i].format, cases[i].pass, cases[i].cost,
                                       "the.key", again, &err),
                      FMP_OK, &err);
        if (cases[i].pass) /* a salt of its own each time */
            assert_string_not_equal(text, again);
    }
    fmp_secret_key_free(key);
}

static void passphrases_are_checked_before_writing(void **state)
{
    fmp_secret_key *key = key_from_seed((const uint8_t *)RFC_SEED);
    char text[FMP_KEYFILE_TEXT_MAX];
    char endless[FMP_PASSPHRASE_MAX + 2];
    fmp_error err;

    (void)state;
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_status(fmp_keyfile_text(key, FMP_KEY_ARGON2ID, NULL, cheap_argon2, "k", text, &err),
                  FMP_EUSAGE, &err);
    assert_status(fmp_keyfile_text(key, FMP_KEY_ARGON2ID, "", cheap_argon2, "k", text, &err),
                  FMP_EUSAGE, &err);
    assert_status(fmp_keyfile_text(key, FMP_KEY_MINISIGN, "", cheap_scrypt, "k", text, &err),
                  FMP_EUSAGE, &err);
    assert_status(fmp_keyfile_text(key, FMP_KEY_MINISIGN, endless, cheap_scrypt, "k", text, &err),
                  FMP_EUSAGE, &err);
    fmp_secret_key_free(key);
}

/* The costs that people get, pinned. */
static void default_costs(void **state)
{
    (void)state;
    assert_int_equal(fmp_kdf_default(FMP_KEY_MINISIGN).ops, 33554432);
    assert_int_equal(fmp_kdf_default(FMP_KEY_MINISIGN).mem, 1073741824);
    assert_int_equal(fmp_kdf_default(FMP_KEY_ARGON2ID).ops, 3);
    assert_int_equal(fmp_kdf_default(FMP_KEY_ARGON2ID).mem, 268435456);
}

static void saved_files_are_private_and_load(void **state)
{
    fmp_secret_key *key = NULL;
    fmp_secret_key *back = NULL;
    fmp_public_key pub;
    user u = {"correct horse", -2, 0};
    fmp_error err;

    (void)state;
    assert_status(fmp_secret_key_generate(&key, &err), FMP_OK, &err);
    assert_status(fmp_secret_key_save(key, FMP_KEY_ARGON2ID, "correct horse", in_scratch("the.key"),
                                      in_scratch("the.pub"), &err),
                  FMP_OK, &err);
    assert_int_equal(mode_of(in_scratch("the.key")), 0600);
    assert_int_equal(mode_of(in_scratch("the.pub")), 0644);
    assert_status(fmp_public_key_load(in_scratch("the.pub"), &pub, &err), FMP_OK, &err);
    assert_memory_equal(&pub, &key->pub, sizeof pub);
    assert_status(
        fmp_secret_key_load(in_scratch("the.key"), false, type_passphrase, &u, &back, &err), FMP_OK,
        &err);
    assert_memory_equal(back->secret, key->secret, 64);
    assert_int_equal(u.asked, 1);
    fmp_secret_key_free(back);
    fmp_secret_key_free(key);
}

static void neither_file_may_exist(void **state)
{
    fmp_secret_key *key = key_from_seed((const uint8_t *)RFC_SEED);
    fmp_error err = {0};

    (void)state;
    put_file(in_scratch("old.pub"), "old", 3, 0644);
    assert_status(fmp_secret_key_save(key, FMP_KEY_MINISIGN, NULL, in_scratch("new.key"),
                                      in_scratch("old.pub"), &err),
                  FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "old.pub"));
    assert_false(exists(in_scratch("new.key")));
    put_file(in_scratch("old.key"), "old", 3, 0600);
    assert_status(fmp_secret_key_save(key, FMP_KEY_MINISIGN, NULL, in_scratch("old.key"),
                                      in_scratch("new.pub"), &err),
                  FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "old.key"));
    assert_false(exists(in_scratch("new.pub")));
    /* the same name twice: one of the two loses, and nothing stays */
    assert_status(fmp_secret_key_save(key, FMP_KEY_MINISIGN, NULL, in_scratch("same"),
                                      in_scratch("same"), &err),
                  FMP_EUSAGE, &err);
    assert_false(exists(in_scratch("same")));
    fmp_secret_key_free(key);
}

static void others_must_not_read_a_secret(void **state)
{
    static const mode_t open_modes[] = {0640, 0604, 0620, 0602, 0644, 0610};
    const char *path = in_scratch("the.key");
    fmp_secret_key *key = NULL;
    fmp_error err = {0};

    (void)state;
    put_file(path, by_minisign, strlen(by_minisign), 0600);
    assert_status(fmp_secret_key_load(path, false, NULL, NULL, &key, &err), FMP_OK, &err);
    fmp_secret_key_free(key);
    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        key = NULL;
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_status(fmp_secret_key_load(path, false, NULL, NULL, &key, &err), FMP_EAUTH, &err);
        assert_non_null(strstr(err.text, path));
        assert_null(key);
        assert_status(fmp_secret_key_load(path, true, NULL, NULL, &key, &err), FMP_OK, &err);
        fmp_secret_key_free(key);
    }
}

static void a_secret_must_be_ones_own(void **state)
{
    const char *path = in_scratch("the.key");
    fmp_secret_key *key = NULL;
    fmp_error err = {0};

    (void)state;
    put_file(path, by_minisign, strlen(by_minisign), 0600);
    if (chown(path, 12345, (gid_t)-1))
        skip(); /* only root can give a file away */
    assert_status(fmp_secret_key_load(path, false, NULL, NULL, &key, &err), FMP_EAUTH, &err);
    assert_non_null(strstr(err.text, "12345"));
    assert_status(fmp_secret_key_load(path, true, NULL, NULL, &key, &err), FMP_OK, &err);
    fmp_secret_key_free(key);
}

static void load_refuses_what_is_no_key(void **state)
{
    fmp_secret_key *key = NULL;
    char large[FMP_KEY_TEXT_MAX + 1];
    fmp_error err = {0};

    (void)state;
    memset(large, 'A', sizeof large);
    put_file(in_scratch("large"), large, sizeof large, 0600);
    put_file(in_scratch("empty"), "", 0, 0600);
    assert_status(fmp_secret_key_load(in_scratch("large"), false, NULL, NULL, &key, &err),
                  FMP_ECORRUPT, &err);
    assert_status(fmp_secret_key_load(in_scratch("empty"), false, NULL, NULL, &key, &err),
                  FMP_ECORRUPT, &err);
    assert_status(fmp_secret_key_load(in_scratch("none"), false, NULL, NULL, &key, &err), FMP_EIO,
                  &err);
    assert_non_null(strstr(err.text, "none"));
    assert_null(key);
}

static void load_and_save_survive_every_failed_allocation(void **state)
{
    fmp_secret_key *key = key_from_seed((const uint8_t *)RFC_SEED);
    fmp_secret_key *back = NULL;
    const char *secret = in_scratch("the.key");
    const char *public = in_scratch("the.pub");
    fmp_status st = FMP_ENOMEM;
    fmp_error err;

    (void)state;
    for (long k = 0; st == FMP_ENOMEM; k++) {
        fmp_alloc_fail_at(k);
        st = fmp_secret_key_save(key, FMP_KEY_MINISIGN, NULL, secret, public, &err);
        fmp_alloc_fail_at(-1);
        assert_int_equal(exists(secret), st == FMP_OK);
        assert_int_equal(exists(public), st == FMP_OK);
    }
    assert_status(st, FMP_OK, &err);
    st = FMP_ENOMEM;
    for (long k = 0; st == FMP_ENOMEM; k++) {
        fmp_alloc_fail_at(k);
        st = fmp_secret_key_load(secret, false, NULL, NULL, &back, &err);
        fmp_alloc_fail_at(-1);
    }
    assert_status(st, FMP_OK, &err);
    fmp_secret_key_free(back);
    fmp_secret_key_free(key);
}

#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, scratch_begin, scratch_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_made_elsewhere_are_read),
        cmocka_unit_test(wrong_passphrases_are_not_authentic),
        cmocka_unit_test(giving_up_is_said),
        cmocka_unit_test(every_truncation_is_refused_unasked),
        cmocka_unit_test(every_bit_flip_of_an_unencrypted_key_is_seen),
        cmocka_unit_test(every_bit_flip_of_a_bare_secret_is_seen),
        cmocka_unit_test(a_bit_flip_of_an_encrypted_key_is_seen),
        cmocka_unit_test(hostile_and_weak_costs_are_refused_unasked),
        cmocka_unit_test(parse_survives_every_failed_allocation),
        cmocka_unit_test(written_text_has_the_form_and_comes_back),
        cmocka_unit_test(passphrases_are_checked_before_writing),
        cmocka_unit_test(default_costs),
        WITH_FILES(saved_files_are_private_and_load),
        WITH_FILES(neither_file_may_exist),
        WITH_FILES(others_must_not_read_a_secret),
        WITH_FILES(a_secret_must_be_ones_own),
        WITH_FILES(load_refuses_what_is_no_key),
        WITH_FILES(load_and_save_survive_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
