/*
 * base/digest: known answers, made with Python's hashlib.blake2b(digest_size=32, person=...) from
 * the text of FORMAT.md, and with the published test vectors of XXH3 and SHA-256.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "base/sha256.h"

static void assert_digest(fmp_digest d, const char *want)
{
    char hex[2 * FMP_DIGEST_LEN + 1];

    fmp_digest_hex(&d, hex);
    assert_string_equal(hex, want);
}

/* Byte i of the test tensors. */
static uint8_t pattern(uint64_t i)
{
    return (uint8_t)((i * UINT64_C(2654435761)) >> 13 ^ i >> 20);
}

static fmp_digest tensor_digest(size_t len)
{
    uint8_t *data = malloc(FMP_LEAF_LEN);
    fmp_merkle m;

    assert_non_null(data);
    fmp_merkle_init(&m);
    for (size_t off = 0; off < len; off += FMP_LEAF_LEN) {
        const size_t n = len - off < FMP_LEAF_LEN ? len - off : FMP_LEAF_LEN;
        fmp_digest leaf;

        for (size_t i = 0; i < n; i++)
            data[i] = pattern(off + i);
        leaf = fmp_leaf_digest(off / FMP_LEAF_LEN, data, n);
        fmp_merkle_push(&m, &leaf);
    }
    free(data);
    return fmp_merkle_final(&m, len);
}

static void plain_digests(void **state)
{
    fmp_hasher h;

    (void)state;
    assert_digest(fmp_digest_of(NULL, 0),
                  "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    assert_digest(fmp_digest_of("abc", 3),
                  "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    fmp_hasher_init(&h);
    fmp_hasher_update(&h, "a", 1);
    fmp_hasher_update(&h, NULL, 0);
    fmp_hasher_update(&h, "bc", 2);
    assert_digest(fmp_hasher_final(&h),
                  "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

static void leaf_digest_knows_its_place(void **state)
{
    (void)state;
    assert_digest(fmp_leaf_digest(7, "abc", 3),
                  "02c2c9b834ff583974193aac1448713ea401e16426f3c23ff60176cb14369c3a");
}

static void tensor_digests_at_every_shape_of_tree(void **state)
{
    static const struct {
        size_t len;
        const char *want;
    } cases[] = {
        {0, "fce891eca44861e62e1bd21107a6d624f392613fcdaba8b388c9bcb045f60827"},
        {1, "faee9edf9418afcc1f99aaf9ebfefccc730beba3d7ddb7fc7815064340a206be"},
        {1048575, "1d277b2286d5ca064ae3024d5c82780aea41da74cdfa19ecc44a356c825aacb7"},
        {1048576, "976abb1c22439806fd0e3e0b3e3cd38be8692f760ceb7f8ca1e58192264d78dd"},
        {1048577, "8e17870ac7da5c36c094e6414369d056524f5aae24cb3be993dfc704a09b9c81"},
        {2097157, "17a43f633f493514a24fc759ea3c18d6283d9f3d574b59dba6e93a22ab74bdb9"},
        {3145728, "1bee3fe27285882d9ab92437a648681d4727f650a10f26b16a28ef1450b61b7c"},
        {4194305, "7ae0df2307e3f378d69cd44709d6b882d592afb892108474dda7252c58ccdd7b"},
        {6291456, "7e7172853b0aa3ae8f22f2d783e4a6bf83b7ac01180984076564e5676d612371"},
        {7340035, "43d0ecde20f19a86ded31912d027680c274575e76078cd181ccc883373c98d8a"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_digest(tensor_digest(cases[i].len), cases[i].want);
}

static void push_two(fmp_root *r, bool shapes_only)
{
    static const uint64_t shape[] = {3, 5};
    const fmp_digest bias = tensor_digest(4), weight = tensor_digest(30);

    fmp_root_init(r, shapes_only);
    fmp_root_push(r, "a.bias", 6, "F32", 0, NULL, shapes_only ? NULL : &bias);
    fmp_root_push(r, "b.weight", 8, "BF16", 2, shape, shapes_only ? NULL : &weight);
}

static void roots(void **state)
{
    fmp_root r;

    (void)state;
    push_two(&r, false);
    assert_digest(fmp_root_final(&r),
                  "cd5b9b41fa9608626efe0a7efba3756ddf11f45733474621caaac20e6ceae5f3");
    push_two(&r, true);
    assert_digest(fmp_root_final(&r),
                  "f6b45434b5e9027aee18daf5eb8ea9dc210b4eab9b2141d2ae7f7c66e334fd0c");
    fmp_root_init(&r, false);
    assert_digest(fmp_root_final(&r),
                  "fca532f6a35178b78c03655492d11b11bd102e0bc9f0bb956710dda9e33976b9");
}

static void hex_goes_both_ways_and_is_strict(void **state)
{
    static const char good[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char bad[80];
    fmp_digest d, e;

    (void)state;
    assert_true(fmp_digest_from_hex(good, &d));
    assert_int_equal(d.b[0], 0x01);
    assert_int_equal(d.b[31], 0xef);
    assert_digest(d, good);
    e = d;
    assert_true(fmp_digest_equal(&d, &e));
    e.b[31] ^= 1;
    assert_false(fmp_digest_equal(&d, &e));
    e = d;
    for (size_t i = 0; i <= 64; i++) { /* cut, or with one bad digit, at every place */
        memcpy(bad, good, sizeof good);
        bad[i] = i == 64 ? '0' : 'A';
        bad[65] = '\0';
        assert_false(fmp_digest_from_hex(bad, &d));
        bad[i] = '\0';
        assert_int_equal(fmp_digest_from_hex(bad, &d), i == 64);
        assert_true(fmp_digest_equal(&d, &e));
    }
}

static void xxh3_sums(void **state)
{
    uint8_t data[3000];
    fmp_xxh x;
    uint64_t whole;

    (void)state;
    fmp_xxh_init(&x);
    assert_true(fmp_xxh_final(&x) == UINT64_C(0x2d06800538d394c2));
    fmp_xxh_update(&x, "abc", 3);
    assert_true(fmp_xxh_final(&x) == UINT64_C(0x78af5f94892f3950));
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = pattern(i);
    fmp_xxh_init(&x);
    fmp_xxh_update(&x, data, sizeof data);
    whole = fmp_xxh_final(&x);
    fmp_xxh_init(&x);
    for (size_t i = 0; i < sizeof data; i += 100)
        fmp_xxh_update(&x, data + i, 100);
    assert_true(fmp_xxh_final(&x) == whole);
    data[1500] ^= 1;
    fmp_xxh_init(&x);
    fmp_xxh_update(&x, data, sizeof data);
    assert_true(fmp_xxh_final(&x) != whole);
}

/* A state may lie anywhere and be copied anywhere between two updates. */
static void xxh3_state_may_move(void **state)
{
    static uint8_t arena[2 * sizeof(fmp_xxh) + 200];
    uint8_t data[2000];
    fmp_xxh whole;

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = pattern(i);
    fmp_xxh_init(&whole);
    fmp_xxh_update(&whole, data, sizeof data);
    for (size_t at = 0; at < 66; at++) {
        fmp_xxh *a = (fmp_xxh *)(void *)(arena + at);
        fmp_xxh *b = (fmp_xxh *)(void *)(arena + sizeof *a + 130 - at);

        fmp_xxh_init(a);
        fmp_xxh_update(a, data, 777);
        *b = *a;
        fmp_xxh_update(b, data + 777, sizeof data - 777);
        assert_true(fmp_xxh_final(b) == fmp_xxh_final(&whole));
        fmp_xxh_update(a, data + 777, sizeof data - 777);
        assert_true(fmp_xxh_final(a) == fmp_xxh_final(&whole));
    }
}

static void sha256_sums(void **state)
{
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char got[65];
    fmp_sha256 *s = NULL;
    fmp_error err;

    (void)state;
    assert_status(fmp_sha256_new(&s, &err), FMP_OK, &err);
    fmp_sha256_update(s, "a", 1);
    fmp_sha256_update(s, NULL, 0);
    fmp_sha256_update(s, "bc", 2);
    assert_status(fmp_sha256_final(s, got, &err), FMP_OK, &err);
    assert_string_equal(got, abc);
    fmp_sha256_free(s);
    fmp_sha256_free(NULL);
    fmp_alloc_fail_at(0);
    assert_status(fmp_sha256_new(&s, &err), FMP_ENOMEM, &err);
    fmp_alloc_fail_at(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_digests),
        cmocka_unit_test(leaf_digest_knows_its_place),
        cmocka_unit_test(tensor_digests_at_every_shape_of_tree),
        cmocka_unit_test(roots),
        cmocka_unit_test(hex_goes_both_ways_and_is_strict),
        cmocka_unit_test(xxh3_sums),
        cmocka_unit_test(xxh3_state_may_move),
        cmocka_unit_test(sha256_sums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
