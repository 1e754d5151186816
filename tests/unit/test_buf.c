/*
 * base/buf: growth, the hard cap, errors that stick, and the shortest form of varints.
 */
#include "support.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cursor.h"

static void appends_are_kept_in_order_across_growth(void **state)
{
    fmp_buf b = {0};

    (void)state;
    for (unsigned i = 0; i < 100000; i++)
        fmp_buf_put_le(&b, i, 4);
    assert_false(b.bad);
    assert_int_equal(b.len, 400000);
    for (unsigned i = 0; i < 100000; i++) {
        fmp_cursor c = fmp_cur(b.data + 4 * (size_t)i, 4);

        assert_int_equal(fmp_cur_le(&c, 4), i);
    }
    fmp_buf_release(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
}

static void integers_are_little_endian(void **state)
{
    static const uint8_t want[] = {0x08, 0x07, 0x06, 0x05, 0x04, 0x03,
                                   0x02, 0x01, 0x34, 0x12, 'o',  'k'};
    fmp_buf b = {0};

    (void)state;
    fmp_buf_put_le(&b, UINT64_C(0x0102030405060708), 8);
    fmp_buf_put_le(&b, 0x991234, 2);
    fmp_buf_put_str(&b, "ok");
    assert_int_equal(b.len, sizeof want);
    assert_memory_equal(b.data, want, sizeof want);
    fmp_buf_release(&b);
}

static void varints_take_the_shortest_form_and_come_back(void **state)
{
    static const struct {
        uint64_t value;
        size_t len;
    } cases[] = {{0, 1},          {1, 1},         {127, 1},
                 {128, 2},        {16383, 2},     {16384, 3},
                 {UINT32_MAX, 5}, {INT64_MAX, 9}, {(uint64_t)INT64_MAX + 1, 10},
                 {UINT64_MAX, 10}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_buf b = {0};
        fmp_cursor c;

        fmp_buf_put_varint(&b, cases[i].value);
        assert_int_equal(b.len, cases[i].len);
        c = fmp_cur(b.data, b.len);
        assert_true(fmp_cur_varint(&c) == cases[i].value);
        assert_false(c.bad);
        assert_int_equal(fmp_cur_left(&c), 0);
        fmp_buf_release(&b);
    }
}

static void cap_is_exact_and_its_error_sticks(void **state)
{
    fmp_buf b = {.max = 100};

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        fmp_buf_put(&b, "x", 1);
    assert_false(b.bad);
    assert_int_equal(b.len, 100);
    fmp_buf_put(&b, "", 0);
    assert_false(b.bad);
    fmp_buf_put(&b, "yy", 2);
    assert_true(b.bad);
    assert_null(fmp_buf_reserve(&b, 0));
    assert_int_equal(b.len, 100);
    fmp_buf_clear(&b);
    fmp_buf_put(&b, "z", 1);
    assert_false(b.bad);
    assert_int_equal(b.data[0], 'z');
    fmp_buf_release(&b);
    assert_int_equal(b.max, 100);
}

static void sizes_that_overflow_are_refused(void **state)
{
    fmp_buf b = {0};

    (void)state;
    fmp_buf_put(&b, "x", 1);
    assert_null(fmp_buf_reserve(&b, SIZE_MAX));
    assert_true(b.bad);
    fmp_buf_release(&b);
}

static void failed_growth_keeps_what_was_there(void **state)
{
    static const uint8_t zeros[1000];
    fmp_buf b = {0};

    (void)state;
    fmp_buf_put(&b, "abc", 3);
    fmp_alloc_fail_at(0);
    fmp_buf_put(&b, zeros, sizeof zeros);
    fmp_alloc_fail_at(-1);
    assert_true(b.bad);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "abc", 3);
    fmp_buf_release(&b);
    assert_false(b.bad);
}

static void empty_reservation_gives_memory(void **state)
{
    fmp_buf b = {0};

    (void)state;
    assert_non_null(fmp_buf_reserve(&b, 0));
    fmp_buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_are_kept_in_order_across_growth),
        cmocka_unit_test(integers_are_little_endian),
        cmocka_unit_test(varints_take_the_shortest_form_and_come_back),
        cmocka_unit_test(cap_is_exact_and_its_error_sticks),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(failed_growth_keeps_what_was_there),
        cmocka_unit_test(empty_reservation_gives_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
