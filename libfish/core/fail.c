/*
 * Fills in an fmp_error.  The only place where libfish formats the text of a failure.
 */
#include "core/fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fill(fmp_error *err, fmp_status st, int sys_errno, const char *fmt, va_list args)
{
    err->status = st;
    err->sys_errno = sys_errno;
    err->offset = FMP_NO_OFFSET;
    (void)vsnprintf(err->text, sizeof err->text, fmt, args);
    for (char *p = err->text; *p; p++) {
        if ((unsigned char)*p < 0x20)
            *p = ' '; /* one line, whatever a file put into it */
    }
}

fmp_status fish_fail(fmp_error *err, fmp_status st, const char *fmt, ...)
{
    va_list args;

    if (!err)
        return st;
    va_start(args, fmt);
    fill(err, st, 0, fmt, args);
    va_end(args);
    return st;
}

fmp_status fish_fail_errno(fmp_error *err, int sys_errno, const char *fmt, ...)
{
    va_list args;
    size_t len;
    char reason[128];

    if (!err)
        return FMP_EIO;
    va_start(args, fmt);
    fill(err, FMP_EIO, sys_errno, fmt, args);
    va_end(args);
    len = strlen(err->text);
    (void)snprintf(err->text + len, sizeof err->text - len, ": %s",
                   strerror_r(sys_errno, reason, sizeof reason));
    return FMP_EIO;
}
