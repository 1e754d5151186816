/*
 * Lineages: dates, what manifests say, and the record: marks only go up, nobody else may touch it,
 * and what is broken is refused.
 */
#include "store_support.h"

#include <sys/wait.h>

#include "base/alloc.h"
#include "lineage.h"

static fmp_digest patch_id(unsigned n)
{
    return fmp_digest_of(&n, sizeof n);
}

static void dates_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.999Z", 0},
        {"2026-01-31T23:59:59Z", 1769903999},
        {"2000-02-29T12:00:00+01:00", 951822000},
        {"2000-02-29t12:00:00-01:30", 951831000},
        {"1969-12-31T23:59:59Z", -1},
        {"9999-12-31T23:59:59Z", 253402300799},
        {"2016-12-31T23:59:60Z", 1483228800},
    };
    static const char *const bad[] = {
        "",
        "2026-01-31",
        "2026-01-31T23:59:59",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00Zx",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+01:0",
        "0000-01-01T00:00:00Z",
        "-026-01-01T00:00:00Z",
        "99999-01-01T00:00:00Z",
    };
    int64_t found;

    (void)state;
    for (unsigned i = 0; i < sizeof good / sizeof *good; i++) {
        if (!fmp_date_parse(good[i].text, &found) || found != good[i].want)
            fail_msg("%s: %lld", good[i].text, (long long)found);
    }
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (fmp_date_parse(bad[i], &found))
            fail_msg("\"%s\" is taken for a date", bad[i]);
    }
}

static void manifests_tell_their_lineage(void **state)
{
    static const struct {
        const char *json, *bad;
    } cases[] = {
        {"{\"lineage\":7}", "not an object"},
        {"{\"lineage\":{\"sequence\":1}}", "id"},
        {"{\"lineage\":{\"id\":\"\",\"sequence\":1}}", "id"},
        {"{\"lineage\":{\"id\":7,\"sequence\":1}}", "id"},
        {"{\"lineage\":{\"id\":\"a\\u0007\",\"sequence\":1}}", "id"},
        {"{\"lineage\":{\"id\":\"a\"}}", "sequence"},
        {"{\"lineage\":{\"id\":\"a\",\"sequence\":-1}}", "sequence"},
        {"{\"lineage\":{\"id\":\"a\",\"sequence\":\"1\"}}", "sequence"},
        {"{\"lineage\":{\"id\":\"a\",\"sequence\":1,\"not_after\":\"soon\"}}", "not_after"},
        {"{\"lineage\":{\"id\":\"a\",\"sequence\":1,\"not_after\":null}}", "not_after"},
    };
    fmp_lineage l;
    fmp_error err;

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_status(fmp_lineage_read(cases[i].json, &l, &err), FMP_OK, &err);
        assert_true(l.there);
        if (!strstr(l.bad, cases[i].bad))
            fail_msg("%s: \"%s\"", cases[i].json, l.bad);
    }
    assert_status(fmp_lineage_read("{}", &l, &err), FMP_OK, &err);
    assert_false(l.there || l.has_date);
    assert_status(fmp_lineage_read("{\"date\":\"1970-01-01T00:00:09Z\",\"lineage\":{\"id\":\"a b\","
                                   "\"sequence\":9007199254740991,"
                                   "\"not_after\":\"1970-01-01T00:01:00Z\"}}",
                                   &l, &err),
                  FMP_OK, &err);
    assert_string_equal(l.bad, "");
    assert_string_equal(l.id, "a b");
    assert_true(l.sequence == (1ull << 53) - 1 && l.has_not_after && l.has_date);
    assert_true(l.not_after == 60 && l.date == 9);
}

static bool advance(const char *id, uint64_t sequence, unsigned patch)
{
    const fmp_digest d = patch_id(patch);
    fmp_error err;
    bool set;

    assert_status(fmp_mark_advance(at("r.json"), id, sequence, &d, &set, &err), FMP_OK, &err);
    return set;
}

static uint64_t mark(const char *id)
{
    fmp_mark m;
    fmp_error err;

    assert_status(fmp_mark_read(at("r.json"), id, &m, &err), FMP_OK, &err);
    return m.there ? m.sequence : UINT64_MAX;
}

static void marks_only_go_up(void **state)
{
    struct stat sb;
    fmp_error err;
    bool found;

    (void)state;
    assert_true(mark("a") == UINT64_MAX);
    assert_true(advance("a", 5, 1));
    assert_true(!stat(at("r.json"), &sb) && (sb.st_mode & 07777) == 0600);
    assert_true(!stat(at("r.json.lock"), &sb) && (sb.st_mode & 07777) == 0600);
    assert_int_equal(mark("a"), 5);
    assert_true(advance("a", 5, 1)); /* the same patch again */
    assert_false(advance("a", 5, 2));
    assert_false(advance("a", 4, 2));
    assert_int_equal(mark("a"), 5);
    assert_true(advance("a", 6, 2));
    assert_false(advance("a", 6 + (1ull << 32) + 1, 3));
    assert_true(advance("a", 6 + (1ull << 32), 3));
    assert_true(advance("../../b", 0, 3)); /* an id is no path */
    assert_int_equal(mark("../../b"), 0);
    assert_status(fmp_lineage_reset(at("r.json"), "a", &found, &err), FMP_OK, &err);
    assert_true(found && mark("a") == UINT64_MAX && mark("../../b") == 0);
    assert_status(fmp_lineage_reset(at("r.json"), "a", &found, &err), FMP_OK, &err);
    assert_false(found);
    assert_true(advance("a", 1, 4));
}

static void refuse_record(fmp_status want, const char *word)
{
    const fmp_digest d = patch_id(1);
    fmp_mark m;
    fmp_error err;
    bool set;

    assert_status(fmp_mark_read(at("r.json"), "a", &m, &err), want, &err);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" lacks \"%s\"", err.text, word);
    assert_status(fmp_mark_advance(at("r.json"), "a", 9, &d, &set, &err), want, &err);
    assert_status(fmp_lineage_reset(at("r.json"), "a", &set, &err), want, &err);
}

static void what_others_may_touch_is_refused(void **state)
{
    (void)state;
    assert_true(advance("a", 5, 1));
    assert_int_equal(chmod(at("r.json"), 0666), 0);
    refuse_record(FMP_EAUTH, "mode 0666");
    assert_int_equal(chmod(at("r.json"), 0600), 0);
    assert_int_equal(chmod(at(""), 0777), 0);
    refuse_record(FMP_EAUTH, "mode 0777");
    assert_int_equal(chmod(at(""), 0700), 0);
    assert_int_equal(rename(at("r.json"), at("other.json")), 0);
    assert_int_equal(symlink("other.json", at("r.json")), 0);
    refuse_record(FMP_EAUTH, "symbolic link");
    assert_int_equal(unlink(at("r.json")), 0);
    put_dir("r.json");
    refuse_record(FMP_EIO, "not a regular file");
    assert_int_equal(rmdir(at("r.json")), 0);
    if (!geteuid()) { /* only root can give a file away */
        put_text("r.json", "{}");
        assert_int_equal(chown(at("r.json"), 12345, 0), 0);
        refuse_record(FMP_EAUTH, "belongs to user 12345");
    }
}

static void broken_records_are_refused(void **state)
{
    static const char right[] = "{\"fmpatch_lineages\":1,\"lineages\":{\"a\":{\"patch\":"
                                "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                                "\",\"sequence\":5}}}";
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"fmpatch_lineages\":2,\"lineages\":{}}",
        "{\"fmpatch_lineages\":1,\"lineages\":[]}",
        "{\"fmpatch_lineages\":1,\"lineages\":{},\"more\":1}",
        "{\"fmpatch_lineages\":1,\"lineages\":{\"b\":{}}}",
        "{\"fmpatch_lineages\":1,\"lineages\":{\"b\":{\"sequence\":1,\"patch\":\"00\"}}}",
        "{\"fmpatch_lineages\":1,\"lineages\":{},\"lineages\":{}}",
    };

    (void)state;
    put_text("r.json", right);
    assert_int_equal(mark("a"), 5);
    for (size_t n = 0; n < sizeof right - 1; n++) {
        put_file("r.json", right, n);
        refuse_record(FMP_ECORRUPT, "not a record of lineages");
    }
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text("r.json", bad[i]);
        refuse_record(FMP_ECORRUPT, "not a record of lineages");
    }
}

/* Two processes climb together: each step is taken by exactly one of them. */
static void steps_are_taken_once(void **state)
{
    enum { N_STEPS = 40 };
    unsigned mine = 0;
    int theirs;
    pid_t pid;

    (void)state;
    pid = fork();
    if (pid == 0) {
        unsigned n = 0;

        for (unsigned i = 1; i <= N_STEPS; i++)
            n += advance("a", i, 1000 + i);
        _exit((int)n);
    }
    assert_true(pid > 0);
    for (unsigned i = 1; i <= N_STEPS; i++)
        mine += advance("a", i, 2000 + i);
    assert_int_equal(waitpid(pid, &theirs, 0), pid);
    assert_true(WIFEXITED(theirs));
    assert_int_equal(mark("a"), N_STEPS);
    assert_true(mine + (unsigned)WEXITSTATUS(theirs) <= N_STEPS);
    assert_true(mine + (unsigned)WEXITSTATUS(theirs) >= 1);
}

static void it_survives_every_failed_allocation(void **state)
{
    const fmp_digest d = patch_id(1);
    fmp_status st = FMP_ENOMEM;
    long k = 0;

    (void)state;
    assert_true(advance("a", 5, 1));
    for (; st; k++) {
        fmp_error err = {0};
        bool set = false;

        fmp_alloc_fail_at(k);
        st = fmp_mark_advance(at("r.json"), "a", 6, &d, &set, &err);
        fmp_alloc_fail_at(-1);
        if (st) {
            assert_status(st, FMP_ENOMEM, &err);
            assert_true(mark("a") == 5 || mark("a") == 6); /* set, but perhaps not synced */
        }
        assert_true(k < 200);
    }
    assert_true(k > 5);
    assert_int_equal(mark("a"), 6);
}

#define in_its_own_folder(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_read),
        cmocka_unit_test(manifests_tell_their_lineage),
        in_its_own_folder(marks_only_go_up),
        in_its_own_folder(what_others_may_touch_is_refused),
        in_its_own_folder(broken_records_are_refused),
        in_its_own_folder(steps_are_taken_once),
        in_its_own_folder(it_survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
