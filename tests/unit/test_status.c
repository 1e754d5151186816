/*
 * base/status: pinned numbers and names, exit statuses, and error texts that no terminal and no
 * line reader can be tricked with.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

static void numbers_names_and_exits_are_pinned(void **state)
{
    static const struct {
        fmp_status st;
        int number;
        const char *name;
        int exit;
    } cases[] = {
        {FMP_OK, 0, "FMP_OK", 0},
        {FMP_EAUTH, 1, "FMP_EAUTH", 1},
        {FMP_EUSAGE, 2, "FMP_EUSAGE", 2},
        {FMP_ECORRUPT, 3, "FMP_ECORRUPT", 3},
        {FMP_EBASE, 4, "FMP_EBASE", 4},
        {FMP_EIO, 5, "FMP_EIO", 5},
        {FMP_ERECOVER, 6, "FMP_ERECOVER", 6},
        {FMP_EPOLICY, 7, "FMP_EPOLICY", 7},
        {FMP_ENOTSUP, 8, "FMP_ENOTSUP", 3},
        {FMP_ELIMIT, 9, "FMP_ELIMIT", 3},
        {FMP_ENOMEM, 10, "FMP_ENOMEM", 5},
        {FMP_ECANCELED, 11, "FMP_ECANCELED", 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(cases[i].st, cases[i].number);
        assert_string_equal(fmp_status_name(cases[i].st), cases[i].name);
        assert_int_equal(fmp_exit_status(cases[i].st), cases[i].exit);
    }
    assert_string_equal(fmp_status_name((fmp_status)12), "FMP_?");
    assert_string_equal(fmp_status_name((fmp_status)-1), "FMP_?");
}

static void version_is_the_headers(void **state)
{
    char want[32];

    (void)state;
    (void)snprintf(want, sizeof want, "%d.%d.%d", FMP_VERSION_MAJOR, FMP_VERSION_MINOR,
                   FMP_VERSION_PATCH);
    assert_string_equal(fmp_version(), want);
}

static void failure_fills_everything(void **state)
{
    fmp_error err;

    (void)state;
    memset(&err, 0xff, sizeof err);
    assert_int_equal(fmp_fail(&err, FMP_EBASE, 77, "%s: expected %d, found %d", "model", 1, 2),
                     FMP_EBASE);
    assert_int_equal(err.status, FMP_EBASE);
    assert_int_equal(err.sys_errno, 0);
    assert_int_equal(err.offset, 77);
    assert_string_equal(err.text, "model: expected 1, found 2");
    assert_int_equal(fmp_fail(NULL, FMP_ELIMIT, 0, "unheard"), FMP_ELIMIT);
}

static void system_error_keeps_errno_and_its_text(void **state)
{
    char longest[1000];
    fmp_error err;

    (void)state;
    assert_int_equal(fmp_fail_errno(&err, ENOENT, "%s: cannot open", "x"), FMP_EIO);
    assert_int_equal(err.status, FMP_EIO);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_true(err.offset == FMP_NO_OFFSET);
    assert_string_equal(err.text, "x: cannot open: No such file or directory");
    assert_int_equal(fmp_fail_errno(NULL, ENOENT, "unheard"), FMP_EIO);

    memset(longest, 'p', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    (void)fmp_fail_errno(&err, ENOSPC, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_non_null(strstr(err.text, "p: No space left on device"));
}

static void text_is_printable(void **state)
{
    static const struct {
        const char *raw, *want;
    } cases[] = {
        {"a\nb", "a\\x0ab"},
        {"\x1b[31m", "\\x1b[31m"},
        {"\x7f", "\\x7f"},
        {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x9f", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x90\x9f"},
        {"\xc2\x85", "\\xc2\\x85"},                   /* C1 */
        {"\xe2\x80\xae", "\\xe2\\x80\\xae"},          /* right-to-left override */
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},          /* line separator */
        {"\xc3", "\\xc3"},                            /* cut short */
        {"\xc0\xaf", "\\xc0\\xaf"},                   /* not the shortest form */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* past U+10FFFF */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_error err;

        (void)fmp_fail(&err, FMP_ECORRUPT, 0, "%s", cases[i].raw);
        assert_string_equal(err.text, cases[i].want);
    }
}

/* At every position relative to the end, an escape or a sequence is there whole or not at all. */
static void cut_never_splits_an_escape_or_a_sequence(void **state)
{
    static const char *const tails[] = {"\n", "\xf0\x9f\x90\x9f"};
    const size_t cap = sizeof((fmp_error *)0)->text;

    (void)state;
    for (size_t t = 0; t < 2; t++) {
        for (size_t n = cap - 8; n < cap + 2; n++) {
            char raw[600];
            fmp_error err;
            size_t len;

            memset(raw, 'x', n);
            memcpy(raw + n, tails[t], strlen(tails[t]) + 1);
            (void)fmp_fail(&err, FMP_ECORRUPT, 0, "%s", raw);
            len = strlen(err.text);
            assert_int_equal(len, n + 4 < cap ? n + 4 : n < cap ? n : cap - 1);
            assert_int_equal(strspn(err.text, "x"), len == n + 4 ? n : len);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_names_and_exits_are_pinned),
        cmocka_unit_test(version_is_the_headers),
        cmocka_unit_test(failure_fills_everything),
        cmocka_unit_test(system_error_keeps_errno_and_its_text),
        cmocka_unit_test(text_is_printable),
        cmocka_unit_test(cut_never_splits_an_escape_or_a_sequence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
