/*
 * Keyrings: directories of public keys, who may write them, and what happens to a key that is known
 * twice.
 */
#include "keysupport.h"

#include <fcntl.h>

static void put_key(const char *path, uint8_t n)
{
    fmp_secret_key *key = test_key(n);
    char text[256];

    fmp_public_key_text(&key->pub, text);
    put_file(in_scratch(path), text, strlen(text), 0644);
    fmp_secret_key_free(key);
}

static void make_dir(const char *path)
{
    assert_int_equal(mkdir(in_scratch(path), 0755), 0);
}

/* ring/trusted.d/{alice,bob}.pub and ring/revoked.d/eve.pub: keys 1, 2, 5. */
static int make_ring(void **state)
{
    if (scratch_begin(state))
        return -1;
    make_dir("ring");
    make_dir("ring/trusted.d");
    make_dir("ring/revoked.d");
    put_key("ring/trusted.d/bob.pub", 2);
    put_key("ring/trusted.d/alice.pub", 1);
    put_key("ring/revoked.d/eve.pub", 5);
    return 0;
}

static fmp_keyring *new_ring(void)
{
    fmp_keyring *ring = NULL;
    fmp_error err;

    assert_status(fmp_keyring_new(&ring, &err), FMP_OK, &err);
    return ring;
}

static void assert_entry(const fmp_keyring *ring, uint32_t i, const char *name, uint8_t n,
                         bool revoked)
{
    fmp_secret_key *key = test_key(n);
    fmp_public_key got;
    bool got_revoked;

    assert_string_equal(fmp_keyring_at(ring, i, &got, &got_revoked), name);
    assert_memory_equal(&got, &key->pub, sizeof got);
    assert_int_equal(got_revoked, revoked);
    fmp_secret_key_free(key);
}

/* Adding the ring fails with `want`, names `path`, and adds nothing. */
static void assert_refused(fmp_status want, const char *path)
{
    fmp_keyring *ring = new_ring();
    fmp_error err = {0};

    assert_status(fmp_keyring_add_dir(ring, in_scratch("ring"), &err), want, &err);
    if (!strstr(err.text, in_scratch(path)))
        fail_msg("%s is not in: %s", path, err.text);
    assert_int_equal(fmp_keyring_count(ring), 0);
    fmp_keyring_free(ring);
}

static void assert_accepted(uint32_t n)
{
    fmp_keyring *ring = new_ring();
    fmp_error err;

    assert_status(fmp_keyring_add_dir(ring, in_scratch("ring"), &err), FMP_OK, &err);
    assert_int_equal(fmp_keyring_count(ring), n);
    fmp_keyring_free(ring);
}

static void a_directory_is_read_in_order(void **state)
{
    fmp_keyring *ring = new_ring();
    fmp_error err;

    (void)state;
    assert_status(fmp_keyring_add_dir(ring, in_scratch("ring"), &err), FMP_OK, &err);
    assert_int_equal(fmp_keyring_count(ring), 3);
    assert_entry(ring, 0, "alice", 1, false);
    assert_entry(ring, 1, "bob", 2, false);
    assert_entry(ring, 2, "eve", 5, true);
    assert_null(fmp_keyring_at(ring, 3, NULL, NULL));
    assert_string_equal(fmp_keyring_at(ring, 0, NULL, NULL), "alice");
    fmp_keyring_free(ring);
    fmp_keyring_free(NULL);
}

static void either_list_may_be_missing_but_not_the_directory(void **state)
{
    fmp_keyring *ring = new_ring();
    fmp_error err = {0};

    (void)state;
    make_dir("empty");
    assert_status(fmp_keyring_add_dir(ring, in_scratch("empty"), &err), FMP_OK, &err);
    assert_int_equal(fmp_keyring_count(ring), 0);
    make_dir("empty/revoked.d");
    put_key("empty/revoked.d/eve.pub", 5);
    assert_status(fmp_keyring_add_dir(ring, in_scratch("empty"), &err), FMP_OK, &err);
    assert_int_equal(fmp_keyring_count(ring), 1);
    assert_status(fmp_keyring_add_dir(ring, in_scratch("none"), &err), FMP_EIO, &err);
    assert_non_null(strstr(err.text, in_scratch("none")));
    assert_status(fmp_keyring_add_dir(ring, in_scratch("ring/trusted.d/bob.pub"), &err), FMP_EIO,
                  &err);
    assert_int_equal(fmp_keyring_count(ring), 1);
    fmp_keyring_free(ring);
}

/* Other files, and names that begin with a dot, are nobody's keys. */
static void only_pub_files_count(void **state)
{
    (void)state;
    put_file(in_scratch("ring/trusted.d/README"), "x", 1, 0666);
    put_file(in_scratch("ring/trusted.d/a.pub~"), "x", 1, 0666);
    put_file(in_scratch("ring/trusted.d/.pub"), "x", 1, 0666);
    put_file(in_scratch("ring/trusted.d/.#a.pub"), "x", 1, 0666);
    make_dir("ring/trusted.d/old");
    assert_accepted(3);
    make_dir("ring/trusted.d/dir.pub");
    assert_refused(FMP_EIO, "ring/trusted.d/dir.pub");
}

static void revoked_beats_trusted(void **state)
{
    fmp_keyring *ring = new_ring();
    fmp_secret_key *alice = test_key(1);
    fmp_error err;

    (void)state;
    put_key("ring/revoked.d/stolen.pub", 1);
    assert_status(fmp_keyring_add_dir(ring, in_scratch("ring"), &err), FMP_OK, &err);
    assert_int_equal(fmp_keyring_count(ring), 3);
    assert_entry(ring, 0, "alice", 1, true);
    /* for good: trusting it again later changes nothing */
    assert_status(fmp_keyring_add_key(ring, &alice->pub, "again", false, &err), FMP_OK, &err);
    assert_int_equal(fmp_keyring_count(ring), 3);
    assert_entry(ring, 0, "alice", 1, true);
    fmp_secret_key_free(alice);
    fmp_keyring_free(ring);
}

/* The same key under two names, in two directories, and with another key number, is one key. */
static void duplicates_are_one_key(void **state)
{
    fmp_keyring *ring = new_ring();
    fmp_secret_key *alice = test_key(1);
    fmp_public_key renumbered = alice->pub;
    fmp_error err;

    (void)state;
    put_key("ring/trusted.d/zoe.pub", 1);
    assert_status(fmp_keyring_add_dir(ring, in_scratch("ring"), &err), FMP_OK, &err);
    assert_status(fmp_keyring_add_dir(ring, in_scratch("ring"), &err), FMP_OK, &err);
    memset(renumbered.number, 9, 8);
    memset(renumbered.id, 9, FMP_KEY_ID_LEN);
    assert_status(fmp_keyring_add_key(ring, &renumbered, NULL, false, &err), FMP_OK, &err);
    assert_int_equal(fmp_keyring_count(ring), 3);
    assert_entry(ring, 0, "alice", 1, false);
    fmp_secret_key_free(alice);
    fmp_keyring_free(ring);
}

static void added_keys_get_a_name_and_the_right_id(void **state)
{
    fmp_keyring *ring = new_ring();
    fmp_secret_key *alice = test_key(1);
    fmp_public_key k = alice->pub;
    char number[17];
    fmp_public_key got;
    fmp_error err = {0};

    (void)state;
    memset(k.id, 9, FMP_KEY_ID_LEN); /* a lie */
    assert_status(fmp_keyring_add_key(ring, &k, NULL, false, &err), FMP_OK, &err);
    fmp_key_number_hex(alice->pub.number, number);
    assert_string_equal(fmp_keyring_at(ring, 0, &got, NULL), number);
    assert_memory_equal(got.id, alice->pub.id, FMP_KEY_ID_LEN);
    assert_status(fmp_keyring_add_key(ring, &k, "a\x1b[2J", false, &err), FMP_EUSAGE, &err);
    fmp_secret_key_free(alice);
    fmp_keyring_free(ring);
}

static void nobody_else_may_write_any_of_it(void **state)
{
    static const char *const places[] = {"ring", "ring/trusted.d", "ring/revoked.d",
                                         "ring/trusted.d/bob.pub", "ring/revoked.d/eve.pub"};

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const mode_t mode = mode_of(in_scratch(places[i]));

        assert_int_equal(chmod(in_scratch(places[i]), mode | 0020), 0);
        assert_refused(FMP_EAUTH, places[i]);
        assert_int_equal(chmod(in_scratch(places[i]), mode | 0002), 0);
        assert_refused(FMP_EAUTH, places[i]);
        assert_int_equal(chmod(in_scratch(places[i]), mode), 0);
        assert_accepted(3);
    }
}

static void all_of_it_is_roots_or_ones_own(void **state)
{
    static const char *const places[] = {"ring", "ring/trusted.d", "ring/revoked.d",
                                         "ring/trusted.d/bob.pub", "ring/revoked.d/eve.pub"};

    (void)state;
    if (geteuid())
        skip(); /* only root can give files away */
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        assert_int_equal(chown(in_scratch(places[i]), 12345, (gid_t)-1), 0);
        assert_refused(FMP_EAUTH, places[i]);
        assert_int_equal(chown(in_scratch(places[i]), 0, (gid_t)-1), 0);
    }
    assert_accepted(3);
}

static void links_are_refused(void **state)
{
    static const char *const places[] = {"ring/trusted.d/bob.pub", "ring/revoked.d", "ring"};

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        assert_int_equal(rename(in_scratch(places[i]), in_scratch("elsewhere")), 0);
        assert_int_equal(symlink(in_scratch("elsewhere"), in_scratch(places[i])), 0);
        assert_refused(FMP_EAUTH, places[i]);
        assert_int_equal(unlink(in_scratch(places[i])), 0);
        assert_int_equal(rename(in_scratch("elsewhere"), in_scratch(places[i])), 0);
    }
    assert_accepted(3);
    /* also when it leads nowhere */
    assert_int_equal(symlink("/nonexistent/x", in_scratch("ring/revoked.d/x.pub")), 0);
    assert_refused(FMP_EAUTH, "ring/revoked.d/x.pub");
}

/* One bad file spoils the ring: a revocation must not get lost. */
static void a_file_that_is_no_key_spoils_the_ring(void **state)
{
    char large[FMP_KEY_TEXT_MAX + 1];

    (void)state;
    memset(large, 'A', sizeof large);
    put_file(in_scratch("ring/revoked.d/x.pub"), "hello\n", 6, 0644);
    assert_refused(FMP_ECORRUPT, "ring/revoked.d/x.pub");
    put_file(in_scratch("ring/revoked.d/x.pub"), "", 0, 0644);
    assert_refused(FMP_ECORRUPT, "ring/revoked.d/x.pub");
    put_file(in_scratch("ring/revoked.d/x.pub"), large, sizeof large, 0644);
    assert_refused(FMP_ECORRUPT, "ring/revoked.d/x.pub");
    assert_int_equal(unlink(in_scratch("ring/revoked.d/x.pub")), 0);
    put_key("ring/revoked.d/a\nb.pub", 1);
    assert_refused(FMP_ECORRUPT, "ring/revoked.d");
    assert_int_equal(unlink(in_scratch("ring/revoked.d/a\nb.pub")), 0);
    assert_int_equal(mkfifo(in_scratch("ring/revoked.d/x.pub"), 0644), 0); /* and nobody waits */
    assert_refused(FMP_EIO, "ring/revoked.d/x.pub");
}

/* What was in the ring stays when a later directory fails. */
static void a_failed_directory_adds_nothing(void **state)
{
    fmp_keyring *ring = new_ring();
    fmp_secret_key *alice = test_key(1);
    fmp_error err = {0};

    (void)state;
    assert_status(fmp_keyring_add_key(ring, &alice->pub, "me", false, &err), FMP_OK, &err);
    put_key("ring/revoked.d/alice.pub", 1);
    put_file(in_scratch("ring/revoked.d/x.pub"), "hello\n", 6, 0644);
    assert_status(fmp_keyring_add_dir(ring, in_scratch("ring"), &err), FMP_ECORRUPT, &err);
    assert_int_equal(fmp_keyring_count(ring), 1);
    assert_entry(ring, 0, "me", 1, false);
    fmp_secret_key_free(alice);
    fmp_keyring_free(ring);
}

static void many_keys_keep_their_places(void **state)
{
    fmp_keyring *ring = new_ring();
    fmp_error err;

    (void)state;
    for (uint8_t n = 1; n < 100; n++) {
        fmp_secret_key *key = test_key(n);
        char name[8];

        snprintf(name, sizeof name, "k%u", n);
        assert_status(fmp_keyring_add_key(ring, &key->pub, name, n % 2, &err), FMP_OK, &err);
        fmp_secret_key_free(key);
    }
    assert_int_equal(fmp_keyring_count(ring), 99);
    assert_entry(ring, 0, "k1", 1, true);
    assert_entry(ring, 97, "k98", 98, false);
    fmp_keyring_free(ring);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void add_dir_survives_every_failed_allocation(void **state)
{
    const unsigned before = open_descriptors();
    const char *dir = in_scratch("ring");
    fmp_status st = FMP_ENOMEM;
    fmp_error err;
    long k;

    (void)state;
    for (k = 0; st == FMP_ENOMEM; k++) {
        fmp_keyring *ring = NULL;

        fmp_alloc_fail_at(k);
        st = fmp_keyring_new(&ring, &err);
        if (!st)
            st = fmp_keyring_add_dir(ring, dir, &err);
        fmp_alloc_fail_at(-1);
        if (ring)
            assert_int_equal(fmp_keyring_count(ring), st ? 0 : 3);
        fmp_keyring_free(ring);
    }
    assert_status(st, FMP_OK, &err);
    assert_true(k > 10);
    assert_int_equal(open_descriptors(), before);
}

#define WITH_RING(test) cmocka_unit_test_setup_teardown(test, make_ring, scratch_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RING(a_directory_is_read_in_order),
        WITH_RING(either_list_may_be_missing_but_not_the_directory),
        WITH_RING(only_pub_files_count),
        WITH_RING(revoked_beats_trusted),
        WITH_RING(duplicates_are_one_key),
        cmocka_unit_test(added_keys_get_a_name_and_the_right_id),
        WITH_RING(nobody_else_may_write_any_of_it),
        WITH_RING(all_of_it_is_roots_or_ones_own),
        WITH_RING(links_are_refused),
        WITH_RING(a_file_that_is_no_key_spoils_the_ring),
        WITH_RING(a_failed_directory_adds_nothing),
        cmocka_unit_test(many_keys_keep_their_places),
        WITH_RING(add_dir_survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
