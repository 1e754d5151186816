/*
 * base/dtype: the table of safetensors' dtypes, and sizes that cannot overflow.
 */
#include "support.h"

#include <string.h>

#include "base/store.h"

static void table_is_safetensors(void **state)
{
    static const struct {
        const char *name;
        unsigned bits, width;
        bool sign;
    } want[] = {
        {"BOOL", 8, 8, false},       {"F4", 4, 8, false},         {"F6_E2M3", 6, 8, false},
        {"F6_E3M2", 6, 8, false},    {"U8", 8, 8, false},         {"I8", 8, 8, false},
        {"F8_E5M2", 8, 8, true},     {"F8_E4M3", 8, 8, true},     {"F8_E8M0", 8, 8, false},
        {"F8_E4M3FNUZ", 8, 8, true}, {"F8_E5M2FNUZ", 8, 8, true}, {"I16", 16, 16, false},
        {"U16", 16, 16, false},      {"F16", 16, 16, true},       {"BF16", 16, 16, true},
        {"I32", 32, 32, false},      {"U32", 32, 32, false},      {"F32", 32, 32, true},
        {"C64", 64, 32, true},       {"F64", 64, 64, true},       {"I64", 64, 64, false},
        {"U64", 64, 64, false},
    };
    const unsigned n = sizeof want / sizeof *want;

    (void)state;
    for (unsigned i = 0; i < n; i++) {
        const fmp_dtype *t = fmp_dtype_at(i);

        assert_non_null(t);
        assert_string_equal(t->name, want[i].name);
        assert_int_equal(t->bits, want[i].bits);
        assert_int_equal(t->width, want[i].width);
        assert_int_equal(t->order, want[i].sign ? FMP_ORDER_SIGN : FMP_ORDER_UNSIGNED);
        assert_ptr_equal(fmp_dtype_find(want[i].name, strlen(want[i].name)), t);
    }
    assert_null(fmp_dtype_at(n));
    assert_null(fmp_dtype_at(UINT32_MAX));
}

static void unknown_names_are_none(void **state)
{
    static const char *const names[] = {"", "F", "f32", "F320", "BF16 ", "F8_E4M3FN"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_null(fmp_dtype_find(names[i], strlen(names[i])));
    assert_null(fmp_dtype_find("F32", 2));
    assert_null(fmp_dtype_find("F32\0", 4));
    assert_non_null(fmp_dtype_find("BF16x", 4)); /* not NUL-terminated */
}

static void sizes(void **state)
{
    static const struct {
        const char *dtype;
        uint32_t rank;
        uint64_t shape[4];
        bool good;
        uint64_t n, bytes;
    } cases[] = {
        {"F32", 0, {0}, true, 1, 4},
        {"F32", 2, {3, 5}, true, 15, 60},
        {"BF16", 3, {7, 0, 2}, true, 0, 0},
        {"C64", 1, {3}, true, 3, 24},
        {"F4", 1, {2}, true, 2, 1},
        {"F4", 1, {3}, false, 0, 0}, /* 12 bits */
        {"F4", 0, {0}, false, 0, 0},
        {"F6_E2M3", 1, {4}, true, 4, 3},
        {"F6_E3M2", 1, {2}, false, 0, 0},
        {"U8", 1, {UINT64_C(1) << 48}, true, UINT64_C(1) << 48, UINT64_C(1) << 48},
        {"U8", 1, {(UINT64_C(1) << 48) + 1}, false, 0, 0},
        {"U8", 2, {0, (UINT64_C(1) << 48) + 1}, false, 0, 0},
        {"U8", 2, {UINT64_C(1) << 32, UINT64_C(1) << 32}, false, 0, 0},
        {"U8", 3, {UINT64_C(1) << 32, UINT64_C(1) << 32, 0}, false, 0, 0},
        {"U8", 2, {UINT64_C(1) << 31, UINT64_C(1) << 30}, false, 0, 0}, /* 2^64 bits */
        {"F64",
         2,
         {UINT64_C(1) << 29, UINT64_C(1) << 28},
         true,
         UINT64_C(1) << 57,
         UINT64_C(1) << 60},
        {"F64", 2, {UINT64_C(1) << 29, UINT64_C(1) << 29}, false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const fmp_dtype *t = fmp_dtype_find(cases[i].dtype, strlen(cases[i].dtype));
        uint64_t n = 77, bytes = 78;

        assert_int_equal(fmp_dtype_bytes(t, cases[i].rank, cases[i].shape, &n, &bytes),
                         cases[i].good);
        assert_true(n == (cases[i].good ? cases[i].n : 77));
        assert_true(bytes == (cases[i].good ? cases[i].bytes : 78));
    }
}

static void rank_has_a_limit(void **state)
{
    uint64_t shape[33], n, bytes;

    (void)state;
    for (size_t i = 0; i < 33; i++)
        shape[i] = 1;
    assert_true(fmp_dtype_bytes(fmp_dtype_find("U8", 2), 32, shape, &n, &bytes));
    assert_int_equal(n, 1);
    assert_false(fmp_dtype_bytes(fmp_dtype_find("U8", 2), 33, shape, &n, &bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_safetensors),
        cmocka_unit_test(unknown_names_are_none),
        cmocka_unit_test(sizes),
        cmocka_unit_test(rank_has_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
