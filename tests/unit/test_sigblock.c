/*
 * The signature section: its bytes, who is kept and replaced when signing, and that nothing but
 * what was written is read.
 */
#include "keysupport.h"

#include "base/buf.h"
#include "crypto/sigblock.h"

static const uint8_t prefix[] = "a prefix stands here\n\0\xff";

/* Two records: a comment, and none. */
static void sign_two(fmp_buf *out)
{
    fmp_secret_key *a = test_key(1);
    fmp_secret_key *b = test_key(2);
    fmp_sigblock block = {0};
    fmp_buf first = {0};
    fmp_error err;

    assert_status(
        fmp_sigblock_sign(NULL, prefix, sizeof prefix, &a, 1, "caf\xc3\xa9", &first, &err), FMP_OK,
        &err);
    assert_status(fmp_sigblock_parse(first.data, first.len, prefix, sizeof prefix, &block, &err),
                  FMP_OK, &err);
    assert_status(fmp_sigblock_sign(&block, prefix, sizeof prefix, &b, 1, NULL, out, &err), FMP_OK,
                  &err);
    fmp_sigblock_release(&block);
    fmp_buf_release(&first);
    fmp_secret_key_free(a);
    fmp_secret_key_free(b);
}

/* A record by hand, signed if `key` is not NULL; R and C are as given, to be wrong with. */
typedef struct hand_record {
    unsigned r, suite, c;
    const char *comment;
    size_t comment_len;
    const fmp_secret_key *key;
    uint8_t public_key[32];
} hand_record;

static void put_by_hand(fmp_buf *out, const hand_record *h)
{
    fmp_buf m = {0};
    uint8_t sig[64] = {0};

    fmp_buf_put(&m, "fmpatch-signature-v1\0", 21);
    fmp_buf_put_le(&m, h->suite, 2);
    fmp_buf_put_le(&m, 1, 1);
    fmp_buf_put(&m, h->key ? h->key->pub.key : h->public_key, 32);
    fmp_buf_put_le(&m, h->c, 2);
    fmp_buf_put(&m, h->comment, h->comment_len);
    fmp_buf_put_le(&m, sizeof prefix, 4);
    fmp_buf_put(&m, prefix, sizeof prefix);
    if (h->key)
        crypto_sign_detached(sig, NULL, m.data, m.len, h->key->secret);
    fmp_buf_put_le(out, h->r, 2);
    fmp_buf_put_le(out, h->suite, 2);
    fmp_buf_put(out, h->key ? h->key->pub.key : h->public_key, 32);
    fmp_buf_put_le(out, h->c, 2);
    fmp_buf_put(out, h->comment, h->comment_len);
    fmp_buf_put(out, sig, sizeof sig);
    fmp_buf_release(&m);
}

static hand_record hand(const fmp_secret_key *key, const char *comment, size_t len)
{
    return (hand_record){.r = (unsigned)(100 + len),
                         .suite = 1,
                         .c = (unsigned)len,
                         .comment = comment,
                         .comment_len = len,
                         .key = key};
}

/* Parses records put behind their length, from an exact copy. */
static fmp_status parse_records(const fmp_buf *records, fmp_sigblock *ret, fmp_error *err)
{
    fmp_buf section = {0};
    uint8_t *copy;
    fmp_status st;

    fmp_buf_put_le(&section, records->len, 4);
    fmp_buf_put(&section, records->data, records->len);
    copy = exact_copy(section.data, section.len);
    st = fmp_sigblock_parse(copy, section.len, prefix, sizeof prefix, ret, err);
    free(copy);
    fmp_buf_release(&section);
    return st;
}

/* What FORMAT.md says, byte for byte, and a message put together by hand here. */
static void bytes_are_the_format(void **state)
{
    fmp_secret_key *key = key_from_seed((const uint8_t *)RFC_SEED);
    const hand_record h = hand(key, "release 7", 9);
    fmp_buf want = {0};
    fmp_buf got = {0};
    fmp_error err;

    (void)state;
    fmp_buf_put_le(&want, 2 + 100 + 9, 4);
    put_by_hand(&want, &h);
    fmp_buf_put_str(&got, "before");
    assert_status(fmp_sigblock_sign(NULL, prefix, sizeof prefix, &key, 1, "release 7", &got, &err),
                  FMP_OK, &err);
    assert_int_equal(got.len, 6 + want.len);
    assert_memory_equal(got.data, "before", 6);
    assert_memory_equal(got.data + 6, want.data, want.len);
    fmp_buf_release(&want);
    fmp_buf_release(&got);
    fmp_secret_key_free(key);
}

static void an_unsigned_block_is_four_zero_bytes(void **state)
{
    fmp_sigblock b = {.n = 7};
    fmp_buf out = {0};
    fmp_error err;

    (void)state;
    assert_status(fmp_sigblock_sign(NULL, prefix, sizeof prefix, NULL, 0, NULL, &out, &err), FMP_OK,
                  &err);
    assert_int_equal(out.len, 4);
    assert_memory_equal(out.data, "\0\0\0\0", 4);
    assert_status(fmp_sigblock_parse(out.data, out.len, prefix, sizeof prefix, &b, &err), FMP_OK,
                  &err);
    assert_int_equal(b.n, 0);
    fmp_sigblock_release(&b);
    fmp_sigblock_release(&b);
    fmp_sigblock_release(NULL);
    fmp_buf_release(&out);
}

static void what_is_signed_is_read(void **state)
{
    fmp_secret_key *keys[2] = {test_key(1), test_key(2)};
    fmp_sigblock b = {0};
    fmp_buf out = {0};
    fmp_error err;

    (void)state;
    sign_two(&out);
    assert_status(fmp_sigblock_parse(out.data, out.len, prefix, sizeof prefix, &b, &err), FMP_OK,
                  &err);
    assert_int_equal(b.n, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(b.infos[i].valid);
        assert_memory_equal(&b.infos[i].key, &keys[i]->pub, sizeof keys[i]->pub);
        assert_string_equal(b.infos[i].comment, i ? "" : "caf\xc3\xa9");
        fmp_secret_key_free(keys[i]);
    }
    fmp_sigblock_release(&b);
    fmp_buf_release(&out);
}

/* Signing again: others stay byte for byte and in place, ours is replaced, a key counts once. */
static void signing_again_replaces_only_its_own(void **state)
{
    fmp_secret_key *a = test_key(1);
    fmp_secret_key *c = test_key(3);
    fmp_secret_key *keys[4] = {c, a, c, a};
    fmp_sigblock b = {0};
    fmp_buf two = {0};
    fmp_buf three = {0};
    fmp_error err;

    (void)state;
    sign_two(&two); /* records of 107 and 102 bytes, by keys 1 and 2 */
    assert_int_equal(two.len, 4 + 107 + 102);
    assert_status(fmp_sigblock_parse(two.data, two.len, prefix, sizeof prefix, &b, &err), FMP_OK,
                  &err);
    assert_status(fmp_sigblock_sign(&b, prefix, sizeof prefix, keys, 4, "new", &three, &err),
                  FMP_OK, &err);
    fmp_sigblock_release(&b);
    assert_int_equal(three.len, 4 + 105 + 102 + 105);
    assert_memory_equal(three.data + 4 + 105, two.data + 4 + 107, 102);
    assert_status(fmp_sigblock_parse(three.data, three.len, prefix, sizeof prefix, &b, &err),
                  FMP_OK, &err);
    assert_int_equal(b.n, 3);
    assert_memory_equal(b.infos[0].key.key, a->pub.key, 32);
    assert_string_equal(b.infos[0].comment, "new");
    assert_string_equal(b.infos[1].comment, "");
    assert_memory_equal(b.infos[2].key.key, c->pub.key, 32);
    fmp_sigblock_release(&b);
    fmp_buf_release(&two);
    fmp_buf_release(&three);
    fmp_secret_key_free(a);
    fmp_secret_key_free(c);
}

static void unknown_suites_are_kept_but_not_valid(void **state)
{
    static const uint8_t zero[FMP_KEY_ID_LEN];
    fmp_secret_key *a = test_key(1);
    hand_record h = hand(NULL, "later", 5);
    fmp_sigblock b = {0};
    fmp_buf records = {0};
    fmp_buf again = {0};
    fmp_error err;

    (void)state;
    h.suite = 9;
    memset(h.public_key, 0x55, 32);
    put_by_hand(&records, &h);
    assert_status(parse_records(&records, &b, &err), FMP_OK, &err);
    assert_int_equal(b.n, 1);
    assert_false(b.infos[0].valid);
    assert_memory_equal(b.infos[0].key.id, zero, sizeof zero);
    assert_string_equal(b.infos[0].comment, "later");
    assert_status(fmp_sigblock_sign(&b, prefix, sizeof prefix, &a, 1, NULL, &again, &err), FMP_OK,
                  &err);
    assert_memory_equal(again.data + 4, records.data, records.len);
    assert_int_equal(again.len, 4 + records.len + 102);
    fmp_sigblock_release(&b);
    fmp_buf_release(&records);
    fmp_buf_release(&again);
    fmp_secret_key_free(a);
}

static void a_wrong_signature_names_the_key(void **state)
{
    fmp_secret_key *b = test_key(2);
    fmp_sigblock block = {.n = 7};
    fmp_buf out = {0};
    char hex[2 * FMP_KEY_ID_LEN + 1];
    fmp_error err = {0};

    (void)state;
    sign_two(&out);
    out.data[out.len - 1] ^= 1;
    fmp_key_id_hex(b->pub.id, hex);
    assert_status(fmp_sigblock_parse(out.data, out.len, prefix, sizeof prefix, &block, &err),
                  FMP_EAUTH, &err);
    assert_non_null(strstr(err.text, hex));
    assert_int_equal(block.n, 7);
    out.data[out.len - 1] ^= 1;
    assert_status(fmp_sigblock_parse(out.data, out.len, prefix, sizeof prefix - 1, &block, &err),
                  FMP_EAUTH, &err);
    assert_status(fmp_sigblock_parse(out.data, out.len, "another prefix", 14, &block, &err),
                  FMP_EAUTH, &err);
    fmp_buf_release(&out);
    fmp_secret_key_free(b);
}

/* Every bit of the prefix is signed. */
static void every_bit_of_the_prefix_counts(void **state)
{
    fmp_buf out = {0};

    (void)state;
    sign_two(&out);
    for (size_t bit = 0; bit < 8 * sizeof prefix; bit++) {
        uint8_t other[sizeof prefix];
        fmp_sigblock b = {0};
        fmp_error err = {0};

        memcpy(other, prefix, sizeof prefix);
        other[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_status(fmp_sigblock_parse(out.data, out.len, other, sizeof other, &b, &err),
                      FMP_EAUTH, &err);
    }
    fmp_buf_release(&out);
}

static void every_truncation_is_refused(void **state)
{
    fmp_buf out = {0};

    (void)state;
    sign_two(&out);
    for (size_t len = 0; len < out.len; len++) {
        uint8_t *exact = exact_copy(out.data, len);
        fmp_sigblock b = {.n = 77};
        fmp_error err = {0};

        assert_status(fmp_sigblock_parse(exact, len, prefix, sizeof prefix, &b, &err), FMP_ECORRUPT,
                      &err);
        assert_int_equal(b.n, 77);
        free(exact);
    }
    fmp_buf_release(&out);
}

/* The same with the length put right: then only a cut between the two records is a section. */
static void every_honest_truncation_is_refused_but_between_records(void **state)
{
    fmp_buf out = {0};

    (void)state;
    sign_two(&out);
    for (size_t len = 0; len < out.len - 4; len++) {
        const fmp_buf cut = {.data = out.data + 4, .len = len};
        const bool whole = len == 0 || len == 107;
        fmp_sigblock b = {0};
        fmp_error err = {0};

        assert_status(parse_records(&cut, &b, &err), whole ? FMP_OK : FMP_ECORRUPT, &err);
        assert_int_equal(b.n, len == 107 ? 1 : 0);
        fmp_sigblock_release(&b);
    }
    fmp_buf_release(&out);
}

/* The record that holds byte `at` of the section of sign_two(). */
static unsigned record_of(size_t at)
{
    return at < 4 + 107 ? 0 : 1;
}

/* A flipped bit is refused, but for a suite that becomes an unknown one: that record then vouches
 * for nothing, and the other is untouched. */
static void every_bit_flip_is_refused_or_vouches_for_nothing(void **state)
{
    unsigned n_kept = 0;
    fmp_buf out = {0};

    (void)state;
    sign_two(&out);
    for (size_t bit = 0; bit < 8 * out.len; bit++) {
        const size_t at = bit / 8;
        const unsigned r = record_of(at);
        const size_t suite_at = r ? 4 + 107 + 2 : 4 + 2;
        uint8_t *exact = exact_copy(out.data, out.len);
        fmp_sigblock b = {0};
        fmp_error err = {0};
        fmp_status st;

        exact[at] ^= (uint8_t)(1 << bit % 8);
        st = fmp_sigblock_parse(exact, out.len, prefix, sizeof prefix, &b, &err);
        if (at == suite_at || at == suite_at + 1) {
            assert_status(st, FMP_OK, &err);
            assert_int_equal(b.n, 2);
            assert_false(b.infos[r].valid);
            assert_true(b.infos[1 - r].valid);
            fmp_sigblock_release(&b);
            n_kept++;
        } else if (st != FMP_ECORRUPT) {
            assert_status(st, FMP_EAUTH, &err);
        }
        free(exact);
    }
    assert_int_equal(n_kept, 32);
    fmp_buf_release(&out);
}

/* Structure that is wrong though the signature over it is right. */
static void wrong_structure_is_corrupt(void **state)
{
    fmp_secret_key *a = test_key(1);
    char longest[FMP_COMMENT_MAX + 1];
    hand_record cases[9];

    (void)state;
    memset(longest, 'x', sizeof longest);
    for (unsigned i = 0; i < 9; i++)
        cases[i] = hand(a, "abc", 3);
    cases[0].r = 102;
    cases[1].r = 104;
    cases[2].c = 2;
    cases[3].c = 4;
    cases[4].r = 0;
    cases[5] = hand(a, longest, FMP_COMMENT_MAX + 1);
    cases[6] = hand(a, "a\nb", 3);
    cases[7] = hand(a,
                    "a\xe2\x80\xae"
                    "b",
                    5);
    cases[8] = hand(a, "a\0b", 3);
    for (unsigned i = 0; i < 9; i++) {
        fmp_sigblock b = {0};
        fmp_buf records = {0};
        fmp_error err = {0};

        put_by_hand(&records, &cases[i]);
        assert_status(parse_records(&records, &b, &err), FMP_ECORRUPT, &err);
        fmp_buf_release(&records);
    }
    fmp_secret_key_free(a);
}

static void a_comment_of_the_longest_length_is_read(void **state)
{
    fmp_secret_key *a = test_key(1);
    char longest[FMP_COMMENT_MAX + 2] = "";
    fmp_sigblock b = {0};
    fmp_buf out = {0};
    fmp_error err;

    (void)state;
    memset(longest, 'x', FMP_COMMENT_MAX);
    assert_status(fmp_sigblock_sign(NULL, prefix, sizeof prefix, &a, 1, longest, &out, &err),
                  FMP_OK, &err);
    assert_status(fmp_sigblock_parse(out.data, out.len, prefix, sizeof prefix, &b, &err), FMP_OK,
                  &err);
    assert_string_equal(b.infos[0].comment, longest);
    longest[FMP_COMMENT_MAX] = 'x';
    fmp_buf_clear(&out);
    assert_status(fmp_sigblock_sign(&b, prefix, sizeof prefix, &a, 1, longest, &out, &err),
                  FMP_EUSAGE, &err);
    assert_status(fmp_sigblock_sign(&b, prefix, sizeof prefix, &a, 1, "a\x1b[2J", &out, &err),
                  FMP_EUSAGE, &err);
    assert_status(fmp_sigblock_sign(&b, prefix, sizeof prefix, &a, 1, "\xff", &out, &err),
                  FMP_EUSAGE, &err);
    assert_int_equal(out.len, 0);
    fmp_sigblock_release(&b);
    fmp_buf_release(&out);
    fmp_secret_key_free(a);
}

/* One key twice, also under another suite. */
static void a_key_signs_once(void **state)
{
    fmp_secret_key *a = test_key(1);
    hand_record h = hand(a, "", 0);
    fmp_sigblock b = {0};
    fmp_buf records = {0};
    fmp_error err = {0};

    (void)state;
    put_by_hand(&records, &h);
    put_by_hand(&records, &h);
    assert_status(parse_records(&records, &b, &err), FMP_ECORRUPT, &err);
    assert_non_null(strstr(err.text, "same key"));
    records.len = 102;
    h.suite = 2;
    put_by_hand(&records, &h);
    assert_status(parse_records(&records, &b, &err), FMP_ECORRUPT, &err);
    fmp_buf_release(&records);
    fmp_secret_key_free(a);
}

/* 58 records of 1,126 bytes fit into 65,532; one more does not, for writer and reader. */
static void the_section_has_a_limit(void **state)
{
    fmp_secret_key *keys[59];
    char comment[FMP_COMMENT_MAX + 1] = "";
    fmp_sigblock b = {0};
    fmp_buf out = {0};
    fmp_buf records = {0};
    fmp_error err;

    (void)state;
    memset(comment, 'x', FMP_COMMENT_MAX);
    for (unsigned i = 0; i < 59; i++) {
        const hand_record h = hand(keys[i] = test_key((uint8_t)(i + 1)), comment, FMP_COMMENT_MAX);

        put_by_hand(&records, &h);
    }
    assert_status(fmp_sigblock_sign(NULL, prefix, sizeof prefix, keys, 58, comment, &out, &err),
                  FMP_OK, &err);
    assert_status(fmp_sigblock_parse(out.data, out.len, prefix, sizeof prefix, &b, &err), FMP_OK,
                  &err);
    assert_int_equal(b.n, 58);
    fmp_buf_clear(&out);
    assert_status(fmp_sigblock_sign(&b, prefix, sizeof prefix, keys + 58, 1, comment, &out, &err),
                  FMP_ELIMIT, &err);
    assert_int_equal(out.len, 0);
    fmp_sigblock_release(&b);
    assert_status(parse_records(&records, &b, &err), FMP_ECORRUPT, &err);
    fmp_buf_release(&out);
    fmp_buf_release(&records);
    for (unsigned i = 0; i < 59; i++)
        fmp_secret_key_free(keys[i]);
}

static void parse_and_sign_survive_every_failed_allocation(void **state)
{
    fmp_secret_key *c = test_key(3);
    fmp_sigblock b = {0};
    fmp_buf two = {0};
    fmp_buf out = {0};
    fmp_status st = FMP_ENOMEM;
    fmp_error err;
    long k;

    (void)state;
    sign_two(&two);
    for (k = 0; st == FMP_ENOMEM; k++) {
        fmp_alloc_fail_at(k);
        st = fmp_sigblock_parse(two.data, two.len, prefix, sizeof prefix, &b, &err);
        fmp_alloc_fail_at(-1);
        if (st)
            assert_int_equal(b.n, 0);
    }
    assert_status(st, FMP_OK, &err);
    assert_true(k > 5);
    st = FMP_ENOMEM;
    for (k = 0; st == FMP_ENOMEM; k++) {
        fmp_buf_release(&out);
        fmp_alloc_fail_at(k);
        st = fmp_sigblock_sign(&b, prefix, sizeof prefix, &c, 1, "x", &out, &err);
        fmp_alloc_fail_at(-1);
        if (st)
            assert_int_equal(out.len, 0);
    }
    assert_status(st, FMP_OK, &err);
    assert_true(k > 3);
    fmp_sigblock_release(&b);
    fmp_buf_release(&two);
    fmp_buf_release(&out);
    fmp_secret_key_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_the_format),
        cmocka_unit_test(an_unsigned_block_is_four_zero_bytes),
        cmocka_unit_test(what_is_signed_is_read),
        cmocka_unit_test(signing_again_replaces_only_its_own),
        cmocka_unit_test(unknown_suites_are_kept_but_not_valid),
        cmocka_unit_test(a_wrong_signature_names_the_key),
        cmocka_unit_test(every_bit_of_the_prefix_counts),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_honest_truncation_is_refused_but_between_records),
        cmocka_unit_test(every_bit_flip_is_refused_or_vouches_for_nothing),
        cmocka_unit_test(wrong_structure_is_corrupt),
        cmocka_unit_test(a_comment_of_the_longest_length_is_read),
        cmocka_unit_test(a_key_signs_once),
        cmocka_unit_test(the_section_has_a_limit),
        cmocka_unit_test(parse_and_sign_survive_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
