/*
 * base/file, outputs: they appear whole under their name or not at all, nothing else is left beside
 * them, links are never followed, and what exists is safe.
 */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

/* Each test runs in a fresh, empty current directory. */
static int enter(void **state)
{
    char *dir = strdup("test_out.XXXXXX");

    if (!dir || !mkdtemp(dir) || chdir(dir))
        return -1;
    (void)umask(022);
    *state = dir;
    return 0;
}

static int leave(void **state)
{
    static const char *const made[] = {
        "a",       "link",  "fifo", "kept", "out/sub/deep/c", "out/sub/deep", "out/sub/b",
        "out/sub", "out/a", "out",  "old"};

    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        (void)remove(made[i]);
    if (chdir("..") || rmdir(*state)) /* fails when a temporary was left behind */
        return -1;
    free(*state);
    return 0;
}

static void put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void assert_content(const char *path, const char *want)
{
    uint8_t *data = NULL;
    size_t len;
    fmp_error err;

    assert_status(fmp_file_read_all(path, 1000, &data, &len, &err), FMP_OK, &err);
    assert_string_equal((char *)data, want);
    fmp_free(data);
}

/* Names in the current directory. */
static unsigned count_names(void)
{
    DIR *dir = opendir(".");
    const struct dirent *e;
    unsigned n = 0;

    assert_non_null(dir);
    while ((e = readdir(dir)))
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    assert_int_equal(closedir(dir), 0);
    return n;
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void file_appears_at_commit(void **state)
{
    fmp_out o = {0};
    char buf[5];
    fmp_error err;

    (void)state;
    assert_status(fmp_out_open(&o, "a", 11, false, 0666, &err), FMP_OK, &err);
    assert_status(fmp_out_write(&o, 6, "world", 5, &err), FMP_OK, &err);
    assert_status(fmp_out_write(&o, 0, "hello ", 6, &err), FMP_OK, &err);
    assert_status(fmp_out_read(&o, 6, buf, 5, &err), FMP_OK, &err);
    assert_memory_equal(buf, "world", 5);
    assert_status(fmp_out_read(&o, 7, buf, 5, &err), FMP_EIO, &err);
    assert_int_equal(access("a", F_OK), -1);
    assert_int_equal(mode_of(o.temp), 0600);
    assert_status(fmp_out_sync(&o, &err), FMP_OK, &err);
    assert_int_equal(access("a", F_OK), -1);
    assert_status(fmp_out_commit(&o, false, &err), FMP_OK, &err);
    assert_false(o.open);
    assert_content("a", "hello world");
    assert_int_equal(count_names(), 1);
    fmp_out_discard(&o);
    assert_content("a", "hello world");
}

static void mode_follows_the_umask(void **state)
{
    static const struct {
        mode_t mask;
        unsigned mode, want;
    } cases[] = {{022, 0666, 0644}, {077, 0666, 0600}, {002, 0666, 0664}, {0, 0600, 0600}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_out o = {0};
        fmp_error err;

        (void)umask(cases[i].mask);
        assert_status(fmp_out_open(&o, "a", 0, true, cases[i].mode, &err), FMP_OK, &err);
        assert_int_equal(mode_of(o.temp), 0600);
        assert_status(fmp_out_commit(&o, true, &err), FMP_OK, &err);
        assert_int_equal(mode_of("a"), cases[i].want);
    }
    (void)umask(022);
}

static void discarded_file_leaves_nothing(void **state)
{
    fmp_out o = {0};
    fmp_error err;

    (void)state;
    fmp_out_discard(&o);
    assert_status(fmp_out_open(&o, "a", 1000000, false, 0666, &err), FMP_OK, &err);
    assert_status(fmp_out_write(&o, 0, "x", 1, &err), FMP_OK, &err);
    assert_int_equal(count_names(), 1);
    fmp_out_discard(&o);
    fmp_out_discard(&o);
    assert_int_equal(count_names(), 0);
}

static void size_hint_never_changes_the_size(void **state)
{
    struct stat st;
    fmp_out o = {0};
    fmp_error err;

    (void)state;
    assert_status(fmp_out_open(&o, "a", 1000000, false, 0666, &err), FMP_OK, &err);
    assert_status(fmp_out_write(&o, 0, "xyz", 3, &err), FMP_OK, &err);
    assert_status(fmp_out_commit(&o, false, &err), FMP_OK, &err);
    assert_int_equal(stat("a", &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_true(st.st_blocks * 512 < 1000000); /* the reservation is given back */
}

static void what_exists_is_safe(void **state)
{
    fmp_out o = {0};
    fmp_error err;

    (void)state;
    put_file("a", "old");
    assert_int_equal(mkdir("out", 0700), 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_status(fmp_out_open(&o, "a", 0, false, 0666, &err), FMP_EUSAGE, &err);
    assert_string_equal(err.text, "a: exists");
    assert_status(fmp_out_open(&o, "out", 0, true, 0666, &err), FMP_EUSAGE, &err);
    assert_status(fmp_out_open(&o, "fifo", 0, true, 0666, &err), FMP_EUSAGE, &err);
    assert_status(fmp_out_open(&o, "/dev/null", 0, true, 0666, &err), FMP_EUSAGE, &err);
    assert_status(fmp_out_open(&o, "", 0, true, 0666, &err), FMP_EUSAGE, &err);
    assert_status(fmp_out_open(&o, "b/", 0, true, 0666, &err), FMP_EUSAGE, &err);
    assert_status(fmp_out_open(&o, "out/..", 0, true, 0666, &err), FMP_EUSAGE, &err);
    assert_status(fmp_out_open(&o, "none/b", 0, true, 0666, &err), FMP_EIO, &err);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_false(o.open);
    assert_content("a", "old");
    assert_int_equal(count_names(), 3);
}

static void replacing_is_whole(void **state)
{
    fmp_out o = {0};
    fmp_error err;

    (void)state;
    put_file("a", "old");
    assert_status(fmp_out_open(&o, "a", 0, true, 0666, &err), FMP_OK, &err);
    assert_status(fmp_out_write(&o, 0, "new", 3, &err), FMP_OK, &err);
    assert_content("a", "old");
    assert_status(fmp_out_commit(&o, true, &err), FMP_OK, &err);
    assert_content("a", "new");
    assert_int_equal(count_names(), 1);
}

static void link_is_replaced_never_followed(void **state)
{
    struct stat st;
    fmp_out o = {0};
    fmp_error err;

    (void)state;
    put_file("kept", "kept");
    assert_int_equal(symlink("kept", "link"), 0);
    assert_status(fmp_out_open(&o, "link", 0, false, 0666, &err), FMP_EUSAGE, &err);
    assert_status(fmp_out_open(&o, "link", 0, true, 0666, &err), FMP_OK, &err);
    assert_status(fmp_out_write(&o, 0, "new", 3, &err), FMP_OK, &err);
    assert_status(fmp_out_commit(&o, true, &err), FMP_OK, &err);
    assert_content("kept", "kept");
    assert_content("link", "new");
    assert_int_equal(lstat("link", &st), 0);
    assert_true(S_ISREG(st.st_mode));
}

static void late_arrival_is_kept(void **state)
{
    fmp_out o = {0};
    fmp_error err;

    (void)state;
    assert_status(fmp_out_open(&o, "a", 0, false, 0666, &err), FMP_OK, &err);
    put_file("a", "came meanwhile");
    assert_status(fmp_out_commit(&o, false, &err), FMP_EUSAGE, &err);
    assert_string_equal(err.text, "a: exists");
    assert_false(o.open);
    assert_content("a", "came meanwhile");
    assert_int_equal(count_names(), 1);

    (void)remove("a");
    assert_status(fmp_out_open(&o, "a", 0, false, 0666, &err), FMP_OK, &err);
    assert_int_equal(symlink("nowhere", "a"), 0);
    assert_status(fmp_out_commit(&o, false, &err), FMP_EUSAGE, &err);
    assert_int_equal(count_names(), 1);
}

/* More than any disk has: known at the opening. */
static void full_disk_shows_at_opening(void **state)
{
    fmp_out o = {0};
    fmp_error err;
    fmp_status st;

    (void)state;
    st = fmp_out_open(&o, "a", UINT64_C(1) << 60, false, 0666, &err);
    if (!st) { /* a file system without reservations */
        fmp_out_discard(&o);
        skip();
    }
    assert_status(st, FMP_EIO, &err);
    assert_true(err.sys_errno == ENOSPC || err.sys_errno == EFBIG);
    assert_int_equal(count_names(), 0);
    assert_status(fmp_out_open(&o, "a", UINT64_MAX, false, 0666, &err), FMP_EIO, &err);
    assert_int_equal(count_names(), 0);
}

static void refused_write_is_reported(void **state)
{
    struct rlimit before;
    static const uint8_t data[8192];
    fmp_out o = {0};
    fmp_error err;

    (void)state;
    assert_status(fmp_out_open(&o, "a", 0, false, 0666, &err), FMP_OK, &err);
    assert_status(fmp_out_write(&o, UINT64_MAX, data, 1, &err), FMP_EIO, &err);
    assert_status(fmp_out_write(&o, INT64_MAX, data, 1, &err), FMP_EIO, &err);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, before.rlim_max}), 0);
    assert_status(fmp_out_write(&o, 0, data, sizeof data, &err), FMP_EIO, &err);
    assert_int_equal(err.sys_errno, EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    fmp_out_discard(&o);
    assert_int_equal(count_names(), 0);
}

typedef struct stripe {
    fmp_out *o;
    unsigned i;
    fmp_status st;
} stripe;

static void *write_stripe(void *arg)
{
    stripe *s = arg;
    char line[64];

    memset(line, 'a' + (int)s->i, sizeof line);
    for (unsigned k = 0; k < 200 && !s->st; k++)
        s->st = fmp_out_write(s->o, (k * 4u + s->i) * sizeof line, line, sizeof line, NULL);
    return NULL;
}

static void threads_write_side_by_side(void **state)
{
    fmp_out o = {0};
    stripe stripes[4];
    pthread_t threads[4];
    char line[64];
    fmp_error err;

    (void)state;
    assert_status(fmp_out_open(&o, "a", 0, false, 0666, &err), FMP_OK, &err);
    for (unsigned i = 0; i < 4; i++) {
        stripes[i] = (stripe){.o = &o, .i = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_stripe, &stripes[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(stripes[i].st, FMP_OK);
    }
    for (unsigned k = 0; k < 800; k++) {
        assert_status(fmp_out_read(&o, k * sizeof line, line, sizeof line, &err), FMP_OK, &err);
        assert_int_equal(line[0], 'a' + k % 4);
        assert_int_equal(line[63], 'a' + k % 4);
    }
    fmp_out_discard(&o);
}

/* ---- directories ---- */

static void add_to_dir(fmp_outdir *d, const char *name, const char *text)
{
    fmp_out o = {0};
    fmp_error err;

    assert_status(fmp_outdir_file(d, name, strlen(text), &o, &err), FMP_OK, &err);
    assert_status(fmp_out_write(&o, 0, text, strlen(text), &err), FMP_OK, &err);
    assert_status(fmp_out_sync(&o, &err), FMP_OK, &err);
    assert_status(fmp_out_commit(&o, false, &err), FMP_OK, &err);
}

static void directory_appears_at_commit(void **state)
{
    fmp_outdir d = {0};
    fmp_error err;

    (void)state;
    assert_status(fmp_outdir_open(&d, "out///", &err), FMP_OK, &err);
    assert_int_equal(mode_of(d.temp), 0700);
    add_to_dir(&d, "a", "A");
    add_to_dir(&d, "sub/b", "B");
    add_to_dir(&d, "sub/deep/c", "C");
    assert_int_equal(access("out", F_OK), -1);
    assert_status(fmp_outdir_commit(&d, &err), FMP_OK, &err);
    assert_false(d.open);
    assert_content("out/a", "A");
    assert_content("out/sub/b", "B");
    assert_content("out/sub/deep/c", "C");
    assert_int_equal(mode_of("out"), 0755);
    assert_int_equal(mode_of("out/sub"), 0755);
    assert_int_equal(mode_of("out/a"), 0644);
    assert_int_equal(count_names(), 1);
    fmp_outdir_discard(&d);
    assert_content("out/a", "A");
}

static void empty_directory_gives_way(void **state)
{
    fmp_outdir d = {0};
    fmp_error err;

    (void)state;
    assert_int_equal(mkdir("out", 0700), 0);
    assert_status(fmp_outdir_open(&d, "out", &err), FMP_OK, &err);
    add_to_dir(&d, "a", "A");
    assert_status(fmp_outdir_commit(&d, &err), FMP_OK, &err);
    assert_content("out/a", "A");
    assert_int_equal(count_names(), 1);
}

static void other_things_in_the_way_are_kept(void **state)
{
    static const char *const bad[] = {"", ".", "..", "/", "old", "link", "out", "out/."};
    fmp_outdir d = {0};
    fmp_error err;

    (void)state;
    put_file("old", "old");
    assert_int_equal(mkdir("out", 0700), 0);
    put_file("out/a", "A");
    assert_int_equal(symlink("out", "link"), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(fmp_outdir_open(&d, bad[i], &err), FMP_EUSAGE, &err);
        assert_false(d.open);
    }
    assert_status(fmp_outdir_open(&d, "none/x", &err), FMP_EIO, &err);
    assert_int_equal(count_names(), 3);
    assert_content("out/a", "A");
}

static void late_directory_is_kept(void **state)
{
    fmp_outdir d = {0};
    fmp_error err;

    (void)state;
    assert_status(fmp_outdir_open(&d, "out", &err), FMP_OK, &err);
    add_to_dir(&d, "a", "ours");
    assert_int_equal(mkdir("out", 0700), 0);
    put_file("out/a", "theirs");
    assert_status(fmp_outdir_commit(&d, &err), FMP_EUSAGE, &err);
    assert_false(d.open);
    assert_content("out/a", "theirs");
    assert_int_equal(count_names(), 1);
}

static void discarded_directory_leaves_nothing(void **state)
{
    fmp_outdir d = {0};
    fmp_out o = {0};
    fmp_error err;

    (void)state;
    fmp_outdir_discard(&d);
    put_file("kept", "kept");
    assert_status(fmp_outdir_open(&d, "out", &err), FMP_OK, &err);
    add_to_dir(&d, "sub/b", "B");
    assert_status(fmp_outdir_file(&d, "sub/deep/c", 0, &o, &err), FMP_OK, &err);
    fmp_outdir_discard(&d); /* with a file still being written */
    fmp_out_discard(&o);
    fmp_outdir_discard(&d);
    assert_int_equal(count_names(), 1);
    assert_content("kept", "kept");
}

static void names_in_a_directory_are_checked(void **state)
{
    static const char *const bad[] = {"../a", "/a", "sub/../../a", "", "a//b", "a\nb"};
    fmp_outdir d = {0};
    fmp_out o = {0};
    fmp_error err;

    (void)state;
    assert_status(fmp_outdir_open(&d, "out", &err), FMP_OK, &err);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_status(fmp_outdir_file(&d, bad[i], 0, &o, &err), FMP_ECORRUPT, &err);
    add_to_dir(&d, "a", "A");
    assert_status(fmp_outdir_file(&d, "a", 0, &o, &err), FMP_EUSAGE,
                  &err);                                                /* the same name twice */
    assert_int_equal(fmp_outdir_file(&d, "a/b", 0, &o, &err), FMP_EIO); /* below a file */
    fmp_outdir_discard(&d);
    assert_int_equal(count_names(), 0);
}

static fmp_status write_all(fmp_error *err)
{
    fmp_outdir d = {0};
    fmp_out o = {0};
    fmp_status st = fmp_outdir_open(&d, "out", err);

    if (!st)
        st = fmp_outdir_file(&d, "sub/b", 1, &o, err);
    if (!st)
        st = fmp_out_write(&o, 0, "B", 1, err);
    if (!st)
        st = fmp_out_commit(&o, false, err);
    fmp_out_discard(&o);
    if (!st)
        st = fmp_outdir_commit(&d, err);
    fmp_outdir_discard(&d);
    return st;
}

static void allocation_failures_leave_nothing(void **state)
{
    fmp_status st = FMP_ENOMEM;
    unsigned failed = 0;
    fmp_error err;

    (void)state;
    for (long k = 0; st; k++) {
        assert_int_equal(count_names(), 0);
        fmp_alloc_fail_at(k);
        st = write_all(&err);
        fmp_alloc_fail_at(-1);
        if (st) {
            assert_status(st, FMP_ENOMEM, &err);
            failed++;
        }
    }
    assert_true(failed >= 7);
    assert_content("out/sub/b", "B");
    assert_int_equal(count_names(), 1);
}

#define in_dir(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_dir(file_appears_at_commit),
        in_dir(mode_follows_the_umask),
        in_dir(discarded_file_leaves_nothing),
        in_dir(size_hint_never_changes_the_size),
        in_dir(what_exists_is_safe),
        in_dir(replacing_is_whole),
        in_dir(link_is_replaced_never_followed),
        in_dir(late_arrival_is_kept),
        in_dir(full_disk_shows_at_opening),
        in_dir(refused_write_is_reported),
        in_dir(threads_write_side_by_side),
        in_dir(directory_appears_at_commit),
        in_dir(empty_directory_gives_way),
        in_dir(other_things_in_the_way_are_kept),
        in_dir(late_directory_is_kept),
        in_dir(discarded_directory_leaves_nothing),
        in_dir(names_in_a_directory_are_checked),
        in_dir(allocation_failures_leave_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
