/*
 * How a failure travels: fmp_fail() fills the caller's fmp_error where the fault is found and
 * returns the status, which everybody above passes up untouched.  Knows nothing of files or
 * patches.
 */
#ifndef FMP_BASE_STATUS_H
#define FMP_BASE_STATUS_H

#include "fmpatch.h"

/* Fills *err (if any) and returns `st`.  The text is cut at the size of err->text, never split
 * inside an escape: bytes of it that are not printable UTF-8 come out as \xNN. */
fmp_status fmp_fail(fmp_error *err, fmp_status st, uint64_t offset, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a system call that failed: FMP_EIO, with `sys_errno` kept and its text appended. */
fmp_status fmp_fail_errno(fmp_error *err, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
