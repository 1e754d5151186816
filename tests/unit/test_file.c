/*
 * base/file, inputs: only regular files open, reads are whole or an error, changes are noticed, and
 * names from outside stay below their directory.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

/* Each test runs in a fresh, empty current directory. */
static int enter(void **state)
{
    char *dir = strdup("test_file.XXXXXX");

    if (!dir || !mkdtemp(dir) || chdir(dir))
        return -1;
    *state = dir;
    return 0;
}

static int leave(void **state)
{
    static const char *const made[] = {"a",     "link",   "loop", "fifo",
                                       "dir/b", "dir/up", "dir",  "other"};

    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        (void)remove(made[i]);
    if (chdir("..") || rmdir(*state))
        return -1;
    free(*state);
    return 0;
}

static void put_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void open_file_knows_itself(void **state)
{
    fmp_file f = {0};
    struct stat st;
    fmp_error err;

    (void)state;
    put_file("a", "0123456789", 10);
    assert_int_equal(stat("a", &st), 0);
    assert_status(fmp_file_open(&f, "a", &err), FMP_OK, &err);
    assert_true(f.open);
    assert_int_equal(f.size, 10);
    assert_int_equal(f.ino, st.st_ino);
    assert_int_equal(f.dev, st.st_dev);
    assert_string_equal(f.path, "a");
    assert_int_equal(fcntl(f.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    fmp_file_close(&f);
    assert_false(f.open);
    assert_null(f.path);
    fmp_file_close(&f);
}

static void links_of_the_user_are_followed(void **state)
{
    fmp_file f = {0};
    fmp_error err;

    (void)state;
    put_file("a", "x", 1);
    assert_int_equal(symlink("a", "link"), 0);
    assert_status(fmp_file_open(&f, "link", &err), FMP_OK, &err);
    assert_int_equal(f.size, 1);
    assert_string_equal(f.path, "link");
    fmp_file_close(&f);
}

static void only_regular_files_open(void **state)
{
    static const struct {
        const char *path, *says;
        int sys_errno;
    } cases[] = {
        {"none", "none: cannot open: No such file or directory", ENOENT},
        {"loop", "loop: cannot open: Too many levels of symbolic links", ELOOP},
        {"dir", "dir: expected a regular file, found a directory", 0},
        {"fifo", "fifo: expected a regular file, found a FIFO", 0},
        {"/dev/null", "/dev/null: expected a regular file, found a device", 0},
    };

    (void)state;
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_int_equal(mkdir("dir", 0700), 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_file f = {.size = 77};
        fmp_error err;

        assert_status(fmp_file_open(&f, cases[i].path, &err), FMP_EIO, &err);
        assert_string_equal(err.text, cases[i].says);
        assert_int_equal(err.sys_errno, cases[i].sys_errno);
        assert_int_equal(f.size, 77);
        assert_false(f.open);
    }
}

static void reads_are_whole_or_an_error(void **state)
{
    fmp_file f = {0};
    char buf[10];
    fmp_error err;

    (void)state;
    put_file("a", "0123456789", 10);
    assert_status(fmp_file_open(&f, "a", &err), FMP_OK, &err);
    for (size_t off = 0; off <= 10; off++) {
        for (size_t len = 0; len <= 10 - off; len++) {
            assert_status(fmp_file_read(&f, off, buf, len, &err), FMP_OK, &err);
            assert_memory_equal(buf, &"0123456789"[off], len);
        }
        assert_status(fmp_file_read(&f, off, buf, 10, &err), off ? FMP_EIO : FMP_OK, &err);
    }
    assert_status(fmp_file_read(&f, 8, buf, 5, &err), FMP_EIO, &err);
    assert_non_null(strstr(err.text, "a: has shrunk"));
    assert_int_equal(err.offset, 10);
    assert_status(fmp_file_read(&f, UINT64_MAX, buf, 1, &err), FMP_EIO, &err);
    assert_status(fmp_file_read(&f, INT64_MAX, buf, 1, &err), FMP_EIO, &err);
    fmp_file_close(&f);
}

static void changes_are_noticed(void **state)
{
    const struct timespec then[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    fmp_file f = {0};
    fmp_error err;

    (void)state;
    put_file("a", "0123456789", 10);
    assert_status(fmp_file_open(&f, "a", &err), FMP_OK, &err);
    assert_status(fmp_file_unchanged(&f, &err), FMP_OK, &err);
    assert_int_equal(truncate("a", 4), 0);
    assert_status(fmp_file_unchanged(&f, &err), FMP_EIO, &err);
    assert_non_null(strstr(err.text, "10 bytes, now 4"));
    fmp_file_close(&f);

    assert_status(fmp_file_open(&f, "a", &err), FMP_OK, &err);
    assert_int_equal(utimensat(AT_FDCWD, "a", then, 0), 0);
    assert_status(fmp_file_unchanged(&f, &err), FMP_EIO, &err);
    fmp_file_close(&f);
}

static void whole_file_is_terminated_and_limited(void **state)
{
    uint8_t *data = NULL;
    size_t len = 77;
    fmp_error err;

    (void)state;
    put_file("a", "0123456789", 10);
    assert_status(fmp_file_read_all("a", 9, &data, &len, &err), FMP_ELIMIT, &err);
    assert_string_equal(err.text, "a: 10 bytes, limit 9");
    assert_null(data);
    assert_int_equal(len, 77);
    assert_status(fmp_file_read_all("a", 10, &data, &len, &err), FMP_OK, &err);
    assert_int_equal(len, 10);
    assert_string_equal((char *)data, "0123456789");
    fmp_free(data);
    put_file("a", "", 0);
    assert_status(fmp_file_read_all("a", 0, &data, &len, &err), FMP_OK, &err);
    assert_int_equal(len, 0);
    assert_string_equal((char *)data, "");
    fmp_free(data);
}

static void names_below_stay_below(void **state)
{
    fmp_file f = {0};
    fmp_error err;

    (void)state;
    assert_int_equal(mkdir("dir", 0700), 0);
    put_file("dir/b", "bee", 3);
    put_file("a", "x", 1);
    assert_status(fmp_file_open_below(&f, "dir", "b", &err), FMP_OK, &err);
    assert_string_equal(f.path, "dir/b");
    assert_int_equal(f.size, 3);
    fmp_file_close(&f);
    assert_status(fmp_file_open_below(&f, "dir", "../a", &err), FMP_ECORRUPT, &err);
    assert_status(fmp_file_open_below(&f, "dir", "/etc/passwd", &err), FMP_ECORRUPT, &err);
    assert_int_equal(symlink("../a", "dir/up"), 0); /* as hub caches are made */
    assert_status(fmp_file_open_below(&f, "dir", "up", &err), FMP_OK, &err);
    assert_int_equal(f.size, 1);
    fmp_file_close(&f);
}

static void allocation_failures_leave_nothing_open(void **state)
{
    fmp_error err;
    uint8_t *data = NULL;
    size_t len;
    unsigned failed = 0;
    fmp_status st = FMP_ENOMEM;
    const int next_fd = dup(0);

    (void)state;
    assert_int_equal(close(next_fd), 0);
    put_file("a", "0123456789", 10);
    for (long k = 0; st; k++) {
        fmp_alloc_fail_at(k);
        st = fmp_file_read_all("a", 100, &data, &len, &err);
        fmp_alloc_fail_at(-1);
        if (st) {
            assert_status(st, FMP_ENOMEM, &err);
            failed++;
        }
    }
    assert_int_equal(failed, 2);
    fmp_free(data);
    assert_int_equal(dup(0), next_fd);
    assert_int_equal(close(next_fd), 0);
}

static void safe_paths(void **state)
{
    static const char *const good[] = {"a",   "a/b/c.json",         ".hidden", "..a", "a..", "...",
                                       "a b", "gr\xc3\xbc\xc3\x9f", "-rf",     "a/.b"};
    static const char *const bad[] = {"",           "/",        "/a",           "a/",
                                      "a//b",       ".",        "..",           "./a",
                                      "a/.",        "a/..",     "../a",         "a/../b",
                                      "a\\b",       "a\nb",     "a\x7f",        "\xff",
                                      "a/\xc0\xaf", "\xc2\x85", "\xed\xa0\x80", "\xe2\x80\xae.txt"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!fmp_path_is_safe(good[i]))
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (fmp_path_is_safe(bad[i]))
            fail_msg("bad path %zu is accepted", i);
}

static void path_lengths_are_limited(void **state)
{
    char path[1100];

    (void)state;
    memset(path, 'x', sizeof path);
    path[255] = '\0';
    assert_true(fmp_path_is_safe(path));
    path[255] = 'x';
    path[256] = '\0';
    assert_false(fmp_path_is_safe(path));
    memset(path, 'x', sizeof path);
    for (size_t i = 200; i < sizeof path; i += 200)
        path[i] = '/';
    path[1024] = '\0';
    assert_true(fmp_path_is_safe(path));
    path[1024] = 'x';
    path[1025] = '\0';
    assert_false(fmp_path_is_safe(path));
}

static void clean_text_has_no_controls(void **state)
{
    (void)state;
    assert_true(fmp_text_is_clean("", 0));
    assert_true(fmp_text_is_clean("model.\xe5\xb1\xa4.0\\", 12));
    assert_false(fmp_text_is_clean("a\0b", 3));
    assert_false(fmp_text_is_clean("\xe2\x80\xae", 3)); /* right-to-left override */
    assert_false(fmp_text_is_clean("\xe2\x81\xa6", 3)); /* isolate */
    assert_false(fmp_text_is_clean("\xe5\xb1\xa4", 2)); /* cut short */
    for (unsigned c = 0; c < 256; c++) {
        const char s = (char)c;

        assert_int_equal(fmp_text_is_clean(&s, 1), c >= 0x20 && c < 0x7f);
    }
}

#define in_dir(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_dir(open_file_knows_itself),
        in_dir(links_of_the_user_are_followed),
        in_dir(only_regular_files_open),
        in_dir(reads_are_whole_or_an_error),
        in_dir(changes_are_noticed),
        in_dir(whole_file_is_terminated_and_limited),
        in_dir(names_below_stay_below),
        in_dir(allocation_failures_leave_nothing_open),
        cmocka_unit_test(safe_paths),
        cmocka_unit_test(path_lengths_are_limited),
        cmocka_unit_test(clean_text_has_no_controls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
