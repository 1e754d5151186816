/*
 * How libfish says that something went wrong: the statuses and the error of fmpatch.h, and one way
 * to fill them in.  The text names file, tensor or line, what was expected and what was found.
 */
#ifndef FISH_FAIL_H
#define FISH_FAIL_H

#include "fmpatch.h"

/* Fills *err (if any) and returns `st`, so that a failure is reported where it is found. */
fmp_status fish_fail(fmp_error *err, fmp_status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with sys_errno and its text behind the message; the status is FMP_EIO. */
fmp_status fish_fail_errno(fmp_error *err, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
