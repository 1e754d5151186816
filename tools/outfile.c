/*
 * Files that the program writes by itself.  See outfile.h.
 */
#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fmpatch.h"
#include "report.h"
#include "textutil.h"

bool outfile_make_dirs(const char *path)
{
    char *copy = text_copy(path);
    bool good = true;

    for (char *p = copy + 1; good && *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        good = !mkdir(copy, 0700) || errno == EEXIST;
        *p = '/';
    }
    if (good)
        good = !mkdir(copy, 0700) || errno == EEXIST;
    free(copy);
    return good;
}

bool outfile_write_all(int fd, const char *data, size_t len)
{
    while (len) {
        const ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

int outfile_check(const char *path, bool replace)
{
    struct stat sb;

    if (lstat(path, &sb))
        return errno == ENOENT ? FMP_OK : report_errno(path);
    if (S_ISDIR(sb.st_mode))
        return report_usage("%s: is a directory", path);
    return replace ? FMP_OK : report_usage("%s: exists; use -f to replace it", path);
}

/* What a new file may be, as open(2) would have it. */
static mode_t new_mode(void)
{
    const mode_t mask = umask(022);

    umask(mask);
    return 0666 & ~mask;
}

/* link() and not rename() where what has appeared there meanwhile is not replaced. */
static bool put_in_place(const char *temp, const char *path, bool replace)
{
    return replace ? !rename(temp, path) : !link(temp, path);
}

int outfile_write(const char *path, const char *data, size_t len, bool replace)
{
    const char *slash = strrchr(path, '/');
    char *temp = text_format("%.*s.fmpatch-XXXXXX", slash ? (int)(slash - path + 1) : 0, path);
    const int fd = mkostemp(temp, O_CLOEXEC);
    int status = FMP_OK;

    if (fd < 0 || fchmod(fd, new_mode()) || !outfile_write_all(fd, data, len) || fsync(fd) ||
        !put_in_place(temp, path, replace))
        status = report_errno(path);
    if (fd >= 0) {
        close(fd);
        unlink(temp); /* gone already when it was renamed */
    }
    free(temp);
    return status;
}
