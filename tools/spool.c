/*
 * "-": a patch from standard input or to standard output.
 */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "progress.h"
#include "report.h"
#include "textutil.h"

#define CHUNK 65536

static char spooled[32]; /* the path of what came from standard input */

bool spool_is_dash(const char *operand)
{
    return operand[0] == '-' && !operand[1];
}

static const char *temp_dir(void)
{
    const char *dir = getenv("TMPDIR");

    return dir && *dir ? dir : "/tmp";
}

/* Copies everything.  False with errno set, EINTR after a signal; *ret_reading says which side. */
static bool copy_all(int from, int to, bool *ret_reading)
{
    char *buf = text_alloc(CHUNK);
    bool good = false;

    for (;;) {
        ssize_t n, w = 0;

        *ret_reading = true;
        n = read(from, buf, CHUNK);
        if (n < 0 && errno == EINTR && !progress_signal())
            continue;
        if (n <= 0) {
            good = n == 0;
            break;
        }
        *ret_reading = false;
        for (ssize_t at = 0; at < n; at += w) {
            w = write(to, buf + at, (size_t)(n - at));
            if (w < 0 && errno == EINTR && !progress_signal())
                w = 0;
            if (w < 0)
                break;
        }
        if (w < 0)
            break;
    }
    free(buf);
    return good;
}

static int nameless_file(void)
{
    int fd = open(temp_dir(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    char *path;

    if (fd >= 0)
        return fd;
    path = text_format("%s/fmpatch-XXXXXX", temp_dir());
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    free(path);
    return fd;
}

const char *spool_input(int *ret_status)
{
    bool reading = false;
    int fd;

    *ret_status = fmp_exit_status(FMP_EUSAGE);
    if (spooled[0]) {
        report_usage("standard input holds one patch only");
        return NULL;
    }
    if (isatty(STDIN_FILENO)) {
        report_usage("standard input is a terminal, a patch is expected");
        return NULL;
    }
    fd = nameless_file();
    if (fd < 0) {
        *ret_status = report_errno(temp_dir());
        return NULL;
    }
    if (!copy_all(STDIN_FILENO, fd, &reading)) {
        *ret_status = fmp_exit_status(FMP_EIO);
        if (!progress_signal())
            *ret_status = report_errno(reading ? "standard input" : temp_dir());
        close(fd);
        return NULL;
    }
    snprintf(spooled, sizeof spooled, "/dev/fd/%d", fd);
    return spooled;
}

void spool_rename(fmp_error *err)
{
    static const char name[] = "standard input";
    char rest[sizeof err->text];
    char *at = spooled[0] ? strstr(err->text, spooled) : NULL;

    if (!at)
        return;
    snprintf(rest, sizeof rest, "%s", at + strlen(spooled));
    snprintf(at, sizeof err->text - (size_t)(at - err->text), "%s%s", name, rest);
}

int spool_out_open(spool_out *s)
{
    *s = (spool_out){0};
    if (isatty(STDOUT_FILENO))
        return report_usage("a patch is not written to a terminal; redirect it or use -o FILE");
    s->dir = text_format("%s/fmpatch-XXXXXX", temp_dir());
    if (!mkdtemp(s->dir)) {
        const int status = report_errno(temp_dir());

        free(s->dir);
        s->dir = NULL;
        return status;
    }
    s->path = text_format("%s/patch.fmp", s->dir);
    return FMP_OK;
}

int spool_out_copy(const spool_out *s)
{
    const int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    bool reading = true;
    int status = FMP_OK;

    if (fd < 0)
        return report_errno(s->path);
    if (!copy_all(fd, STDOUT_FILENO, &reading)) {
        status = fmp_exit_status(FMP_EIO);
        if (!progress_signal())
            status = report_errno(reading ? s->path : "standard output");
    }
    close(fd);
    return status;
}

void spool_out_close(spool_out *s)
{
    if (s->path)
        unlink(s->path);
    if (s->dir)
        rmdir(s->dir);
    free(s->path);
    free(s->dir);
    *s = (spool_out){0};
}
