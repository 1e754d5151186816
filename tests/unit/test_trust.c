/*
 * The verdict: who has to have signed, for every kind of ring, threshold and switch.
 */
#include "keysupport.h"

#include "base/buf.h"
#include "crypto/sigblock.h"

static const char prefix[] = "prefix";

enum { ALICE = 1, BOB = 2, CAROL = 4, MALLORY = 8, EVE = 16, N_PEOPLE = 5 };

static const char *const names[N_PEOPLE] = {"alice", "bob", "carol", "mallory", "eve"};
static fmp_secret_key *people[N_PEOPLE];

static int make_people(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < N_PEOPLE; i++)
        people[i] = test_key((uint8_t)(i + 1));
    return 0;
}

static int free_people(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_PEOPLE; i++)
        fmp_secret_key_free(people[i]);
    return 0;
}

static fmp_keyring *ring_of(unsigned trusted, unsigned revoked)
{
    fmp_keyring *ring = NULL;
    fmp_error err;

    assert_status(fmp_keyring_new(&ring, &err), FMP_OK, &err);
    for (unsigned i = 0; i < N_PEOPLE; i++) {
        if (trusted & 1u << i)
            assert_status(fmp_keyring_add_key(ring, &people[i]->pub, names[i], false, &err), FMP_OK,
                          &err);
        if (revoked & 1u << i)
            assert_status(fmp_keyring_add_key(ring, &people[i]->pub, names[i], true, &err), FMP_OK,
                          &err);
    }
    return ring;
}

static fmp_sigblock signed_by(unsigned who)
{
    fmp_secret_key *keys[N_PEOPLE];
    size_t n = 0;
    fmp_buf out = {0};
    fmp_sigblock b = {0};
    fmp_error err;

    for (unsigned i = 0; i < N_PEOPLE; i++)
        if (who & 1u << i)
            keys[n++] = people[i];
    assert_status(fmp_sigblock_sign(NULL, prefix, sizeof prefix, keys, n, NULL, &out, &err), FMP_OK,
                  &err);
    assert_status(fmp_sigblock_parse(out.data, out.len, prefix, sizeof prefix, &b, &err), FMP_OK,
                  &err);
    fmp_buf_release(&out);
    return b;
}

enum { REQUIRE = 1, ALLOW = 2 };

typedef struct trust_case {
    unsigned signers, trusted, revoked, threshold, flags;
    fmp_status want;
    fmp_verdict verdict;
    const char *says[2];
} trust_case;

static void check(const trust_case *c)
{
    fmp_keyring *ring = ring_of(c->trusted, c->revoked);
    const fmp_trust trust = {.size = sizeof trust,
                             .ring = ring,
                             .threshold = c->threshold,
                             .require = c->flags & REQUIRE,
                             .allow_unsigned = c->flags & ALLOW};
    fmp_sigblock b = signed_by(c->signers);
    fmp_verdict verdict = (fmp_verdict)77;
    fmp_error err = {0};

    assert_status(fmp_sigblock_verdict(&b, &trust, &verdict, &err), c->want, &err);
    assert_int_equal(verdict, c->want ? 77 : (int)c->verdict);
    for (unsigned i = 0; i < 2; i++)
        if (c->says[i] && !strstr(err.text, c->says[i]))
            fail_msg("\"%s\" is not in: %s", c->says[i], err.text);
    fmp_sigblock_release(&b);
    fmp_keyring_free(ring);
}

static void check_all(const trust_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check(&cases[i]);
}

#define CHECK_ALL(cases) check_all(cases, sizeof(cases) / sizeof *(cases))

static void without_a_ring_signatures_are_only_told(void **state)
{
    static const trust_case cases[] = {
        {0, 0, 0, 0, 0, FMP_OK, FMP_UNSIGNED, {NULL}},
        {ALICE, 0, 0, 0, 0, FMP_OK, FMP_UNTRUSTED, {NULL}},
        {ALICE, 0, 0, 1, 0, FMP_OK, FMP_UNTRUSTED, {NULL}},
        {ALICE | BOB, 0, 0, 0, ALLOW, FMP_OK, FMP_UNTRUSTED, {NULL}},
        {0, 0, 0, 0, REQUIRE, FMP_EAUTH, 0, {"no key is trusted", "nobody"}},
        {ALICE, 0, 0, 0, REQUIRE, FMP_EAUTH, 0, {"no key is trusted", "unknown key"}},
        {ALICE, 0, 0, 0, REQUIRE | ALLOW, FMP_OK, FMP_UNTRUSTED, {NULL}},
        {ALICE, 0, 0, 2, 0, FMP_EUSAGE, 0, {"threshold of 2", "0 keys"}},
    };

    (void)state;
    CHECK_ALL(cases);
}

static void a_ring_demands_a_trusted_signature(void **state)
{
    static const trust_case cases[] = {
        {ALICE, ALICE, 0, 0, 0, FMP_OK, FMP_TRUSTED, {NULL}},
        {ALICE | MALLORY, ALICE, 0, 0, 0, FMP_OK, FMP_TRUSTED, {NULL}},
        {ALICE, ALICE | BOB, 0, 1, REQUIRE, FMP_OK, FMP_TRUSTED, {NULL}},
        {ALICE, ALICE, 0, 0, ALLOW, FMP_OK, FMP_TRUSTED, {NULL}},
        {0, ALICE, 0, 0, 0, FMP_EAUTH, 0, {"not signed", "1 of 1"}},
        {0, ALICE, 0, 0, ALLOW, FMP_OK, FMP_UNSIGNED, {NULL}},
        {MALLORY, ALICE, 0, 0, 0, FMP_EAUTH, 0, {"unknown key", "0 of 1"}},
        {MALLORY, ALICE, 0, 0, ALLOW, FMP_OK, FMP_UNTRUSTED, {NULL}},
        {MALLORY | EVE, ALICE | BOB, 0, 0, 0, FMP_EAUTH, 0, {"0 of 1", "2 are trusted"}},
    };

    (void)state;
    CHECK_ALL(cases);
}

static void a_threshold_counts_distinct_trusted_keys(void **state)
{
    static const trust_case cases[] = {
        {ALICE | BOB, ALICE | BOB | CAROL, 0, 2, 0, FMP_OK, FMP_TRUSTED, {NULL}},
        {ALICE | BOB | CAROL, ALICE | BOB | CAROL, 0, 3, 0, FMP_OK, FMP_TRUSTED, {NULL}},
        {ALICE, ALICE | BOB, 0, 2, 0, FMP_EAUTH, 0, {"1 of 2", "alice"}},
        {ALICE | MALLORY, ALICE | BOB, 0, 2, 0, FMP_EAUTH, 0, {"alice", "unknown key"}},
        {ALICE, ALICE | BOB, 0, 2, ALLOW, FMP_OK, FMP_UNTRUSTED, {NULL}},
        {ALICE | BOB, ALICE | BOB, 0, 3, 0, FMP_EUSAGE, 0, {"threshold of 3", "2 keys"}},
        {ALICE | BOB, ALICE | BOB, 0, 3, ALLOW, FMP_EUSAGE, 0, {NULL}},
        /* a revoked key is none of the ring's trusted ones */
        {ALICE | BOB, ALICE | BOB, BOB, 2, 0, FMP_EUSAGE, 0, {"threshold of 2", "1 keys"}},
        {0, ALICE, 0, UINT32_MAX, 0, FMP_EUSAGE, 0, {NULL}},
    };

    (void)state;
    CHECK_ALL(cases);
}

static void a_revoked_signer_is_refused_unless_enough_others_are_trusted(void **state)
{
    static const trust_case cases[] = {
        {EVE, ALICE, EVE, 0, 0, FMP_EAUTH, 0, {"eve", "revoked"}},
        {EVE, ALICE, EVE, 0, ALLOW, FMP_EAUTH, 0, {"eve", "revoked"}},
        {EVE, 0, EVE, 0, 0, FMP_EAUTH, 0, {"eve", "revoked"}},
        {EVE, 0, EVE, 0, ALLOW, FMP_EAUTH, 0, {"eve", "revoked"}},
        {EVE, EVE, EVE, 0, 0, FMP_EAUTH, 0, {"eve", "revoked"}},
        {EVE | MALLORY, ALICE, EVE, 0, ALLOW, FMP_EAUTH, 0, {"eve", "revoked"}},
        {EVE | ALICE, ALICE, EVE, 0, 0, FMP_OK, FMP_TRUSTED, {NULL}},
        {EVE | ALICE, ALICE | EVE, EVE, 0, 0, FMP_OK, FMP_TRUSTED, {NULL}},
        {EVE | ALICE, ALICE | BOB, EVE, 2, 0, FMP_EAUTH, 0, {"eve", "1 of 2"}},
        /* nobody but a revoked key is known: an unsigned patch is still not trusted */
        {0, 0, EVE, 0, 0, FMP_EAUTH, 0, {"no key is trusted", "nobody"}},
        {0, 0, EVE, 0, ALLOW, FMP_OK, FMP_UNSIGNED, {NULL}},
    };

    (void)state;
    CHECK_ALL(cases);
}

/* No trust given at all is the same as an empty one. */
static void null_trusts_nobody(void **state)
{
    static const fmp_trust empty = {.size = sizeof empty};
    fmp_sigblock b = signed_by(ALICE);
    const fmp_sigblock none = {0};
    fmp_verdict verdict;
    fmp_error err;

    (void)state;
    assert_status(fmp_sigblock_verdict(&b, NULL, &verdict, &err), FMP_OK, &err);
    assert_int_equal(verdict, FMP_UNTRUSTED);
    assert_status(fmp_sigblock_verdict(&b, &empty, &verdict, &err), FMP_OK, &err);
    assert_int_equal(verdict, FMP_UNTRUSTED);
    assert_status(fmp_sigblock_verdict(&none, NULL, &verdict, &err), FMP_OK, &err);
    assert_int_equal(verdict, FMP_UNSIGNED);
    fmp_sigblock_release(&b);
}

/* A forgotten size must not read as "nothing is required". */
static void a_trust_without_its_size_is_refused(void **state)
{
    static const fmp_trust forgotten = {.require = true};
    const fmp_sigblock none = {0};
    fmp_verdict verdict;
    fmp_error err = {0};

    (void)state;
    assert_status(fmp_sigblock_verdict(&none, &forgotten, &verdict, &err), FMP_EUSAGE, &err);
}

/* A record that is not valid vouches for nothing, though its key is in the ring. */
static void invalid_records_count_for_nothing(void **state)
{
    fmp_keyring *ring = ring_of(ALICE, EVE);
    const fmp_trust trust = {.size = sizeof trust, .ring = ring, .allow_unsigned = true};
    fmp_sigblock b = signed_by(ALICE | EVE);
    fmp_verdict verdict;
    fmp_error err;

    (void)state;
    b.infos[0].valid = b.infos[1].valid = false;
    assert_status(fmp_sigblock_verdict(&b, &trust, &verdict, &err), FMP_OK, &err);
    assert_int_equal(verdict, FMP_UNSIGNED);
    fmp_sigblock_release(&b);
    fmp_keyring_free(ring);
}

/* Keys are compared whole: number and id of a trusted key on another key buy nothing. */
static void a_borrowed_number_buys_nothing(void **state)
{
    fmp_keyring *ring = ring_of(ALICE, 0);
    const fmp_trust trust = {.size = sizeof trust, .ring = ring};
    fmp_sigblock b = signed_by(MALLORY);
    fmp_verdict verdict;
    fmp_error err = {0};

    (void)state;
    memcpy(b.infos[0].key.number, people[0]->pub.number, 8);
    memcpy(b.infos[0].key.id, people[0]->pub.id, FMP_KEY_ID_LEN);
    assert_status(fmp_sigblock_verdict(&b, &trust, &verdict, &err), FMP_EAUTH, &err);
    fmp_sigblock_release(&b);
    fmp_keyring_free(ring);
}

/* More signers than the text has room for end in dots, between names. */
static void many_signers_fit_into_the_text(void **state)
{
    fmp_secret_key *keys[200];
    fmp_keyring *ring = ring_of(ALICE, 0);
    const fmp_trust trust = {.size = sizeof trust, .ring = ring};
    fmp_buf out = {0};
    fmp_sigblock b = {0};
    fmp_verdict verdict;
    fmp_error err = {0};

    (void)state;
    for (unsigned i = 0; i < 200; i++)
        keys[i] = test_key((uint8_t)(i + 20));
    assert_status(fmp_sigblock_sign(NULL, prefix, sizeof prefix, keys, 200, NULL, &out, &err),
                  FMP_OK, &err);
    assert_status(fmp_sigblock_parse(out.data, out.len, prefix, sizeof prefix, &b, &err), FMP_OK,
                  &err);
    assert_status(fmp_sigblock_verdict(&b, &trust, &verdict, &err), FMP_EAUTH, &err);
    assert_string_equal(err.text + strlen(err.text) - 5, ", ...");
    fmp_sigblock_release(&b);
    fmp_buf_release(&out);
    fmp_keyring_free(ring);
    for (unsigned i = 0; i < 200; i++)
        fmp_secret_key_free(keys[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_ring_signatures_are_only_told),
        cmocka_unit_test(a_ring_demands_a_trusted_signature),
        cmocka_unit_test(a_threshold_counts_distinct_trusted_keys),
        cmocka_unit_test(a_revoked_signer_is_refused_unless_enough_others_are_trusted),
        cmocka_unit_test(null_trusts_nobody),
        cmocka_unit_test(a_trust_without_its_size_is_refused),
        cmocka_unit_test(invalid_records_count_for_nothing),
        cmocka_unit_test(a_borrowed_number_buys_nothing),
        cmocka_unit_test(many_signers_fit_into_the_text),
    };

    return cmocka_run_group_tests(tests, make_people, free_people);
}
