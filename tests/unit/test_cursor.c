/*
 * base/cursor: nothing is read past the end, a bad cursor stays bad, varints have one form.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

static void reads_are_little_endian_and_in_order(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    fmp_cursor c = fmp_cur(bytes, sizeof bytes);

    (void)state;
    assert_int_equal(fmp_cur_le(&c, 1), 1);
    assert_int_equal(fmp_cur_le(&c, 2), 0x0302);
    assert_true(fmp_cur_le(&c, 8) == UINT64_C(0x0b0a090807060504));
    assert_false(c.bad);
    assert_int_equal(fmp_cur_left(&c), 0);
}

static void read_past_the_end_is_bad_for_good(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3};
    fmp_cursor c = fmp_cur(bytes, sizeof bytes);

    (void)state;
    assert_int_equal(fmp_cur_le(&c, 4), 0);
    assert_true(c.bad);
    assert_int_equal(fmp_cur_left(&c), 0);
    assert_int_equal(fmp_cur_le(&c, 1), 0); /* though one byte is there */
    assert_null(fmp_cur_take(&c, 0));
    assert_false(fmp_cur_fits(&c, 0, 1));
}

static void fits_counts_whole_records(void **state)
{
    static const uint8_t bytes[10];
    const fmp_cursor c = fmp_cur(bytes, sizeof bytes);

    (void)state;
    assert_true(fmp_cur_fits(&c, 3, 3));
    assert_false(fmp_cur_fits(&c, 4, 3));
    assert_true(fmp_cur_fits(&c, 0, 11));
    assert_false(fmp_cur_fits(&c, UINT64_MAX, 8)); /* n * size wraps */
    assert_false(fmp_cur_fits(&c, UINT64_MAX / 8 + 2, 8));
}

static void empty_input_is_no_special_case(void **state)
{
    fmp_cursor c = fmp_cur(NULL, 0);

    (void)state;
    assert_int_equal(fmp_cur_left(&c), 0);
    assert_int_equal(fmp_cur_varint(&c), 0);
    assert_true(c.bad);
}

static void varint_refuses_every_truncation(void **state)
{
    static const uint8_t whole[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01};

    (void)state;
    for (size_t len = 0; len <= sizeof whole; len++) {
        uint8_t *exact = malloc(len ? len : 1); /* so that ASan sees a read past `len` */
        fmp_cursor c = fmp_cur(exact, len);
        uint64_t v;

        assert_non_null(exact);
        memcpy(exact, whole, len);
        v = fmp_cur_varint(&c);
        assert_int_equal(c.bad, len < sizeof whole);
        assert_true(v == (len < sizeof whole ? 0 : UINT64_C(1) << 63));
        free(exact);
    }
}

static void varint_refuses_other_forms(void **state)
{
    static const struct {
        uint8_t bytes[11];
        size_t len;
    } cases[] = {
        {{0x80, 0x00}, 2},                                                        /* long 0 */
        {{0xff, 0x00}, 2},                                                        /* long 127 */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 10},       /* 65 bits */
        {{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x81, 0x01}, 11}, /* 11 bytes */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_cursor c = fmp_cur(cases[i].bytes, cases[i].len);

        assert_int_equal(fmp_cur_varint(&c), 0);
        assert_true(c.bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_are_little_endian_and_in_order),
        cmocka_unit_test(read_past_the_end_is_bad_for_good),
        cmocka_unit_test(fits_counts_whole_records),
        cmocka_unit_test(empty_input_is_no_special_case),
        cmocka_unit_test(varint_refuses_every_truncation),
        cmocka_unit_test(varint_refuses_other_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
