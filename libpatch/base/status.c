/*
 * Status codes, their names, and the one way to fill an fmp_error.  See status.h.
 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define STRING_(x) #x
#define STRING(x)  STRING_(x)

const char *fmp_version(void)
{
    return STRING(FMP_VERSION_MAJOR) "." STRING(FMP_VERSION_MINOR) "." STRING(FMP_VERSION_PATCH);
}

int fmp_exit_status(fmp_status st)
{
    switch (st) {
    case FMP_ENOTSUP:
    case FMP_ELIMIT:
        return FMP_ECORRUPT;
    case FMP_ENOMEM:
    case FMP_ECANCELED:
        return FMP_EIO;
    default:
        return (int)st;
    }
}

const char *fmp_status_name(fmp_status st)
{
    static const char *const names[] = {"FMP_OK",       "FMP_EAUTH",   "FMP_EUSAGE",
                                        "FMP_ECORRUPT", "FMP_EBASE",   "FMP_EIO",
                                        "FMP_ERECOVER", "FMP_EPOLICY", "FMP_ENOTSUP",
                                        "FMP_ELIMIT",   "FMP_ENOMEM",  "FMP_ECANCELED"};

    return (unsigned)st < sizeof names / sizeof *names ? names[st] : "FMP_?";
}

/* Also refused: what breaks a line or hides, so that a text is one visible line. */
static bool is_printable(uint32_t cp)
{
    return fmp_utf8_is_clean(cp) && cp != 0x061c && (cp < 0x200b || cp > 0x200f) && cp != 0x2028 &&
           cp != 0x2029 && cp != 0xfeff;
}

/* Copies printable text, escapes the rest, and stops where the next piece does not fit.  Returns
 * the length. */
static size_t put_printable(char *out, size_t cap, const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t left = strlen(text);
    size_t at = 0;

    while (left) {
        uint32_t cp = 0;
        size_t n = fmp_utf8_next(s, left, &cp);
        const bool plain = n && is_printable(cp);
        const size_t room = plain ? n : 4;

        if (at + room >= cap)
            break;
        if (plain) {
            memcpy(out + at, s, n);
        } else {
            n = 1;
            (void)snprintf(out + at, cap - at, "\\x%02x", *s);
        }
        at += room;
        s += n;
        left -= n;
    }
    out[at] = '\0';
    return at;
}

/* `tail` is our own text, and stays whole when the message has to be cut. */
static void fill(fmp_error *err, fmp_status st, uint64_t offset, const char *tail, const char *fmt,
                 va_list args)
{
    const size_t tail_len = strnlen(tail, sizeof err->text / 2);
    char text[2 * sizeof err->text];
    size_t at;

    if (vsnprintf(text, sizeof text, fmt, args) < 0)
        text[0] = '\0';
    err->status = st;
    err->sys_errno = 0;
    err->offset = offset;
    at = put_printable(err->text, sizeof err->text - tail_len, text);
    memcpy(err->text + at, tail, tail_len);
    err->text[at + tail_len] = '\0';
}

fmp_status fmp_fail(fmp_error *err, fmp_status st, uint64_t offset, const char *fmt, ...)
{
    va_list args;

    if (!err)
        return st;
    va_start(args, fmt);
    fill(err, st, offset, "", fmt, args);
    va_end(args);
    return st;
}

fmp_status fmp_fail_errno(fmp_error *err, int sys_errno, const char *fmt, ...)
{
    char reason[128];
    char tail[160];
    va_list args;

    if (!err)
        return FMP_EIO;
    /* The GNU form: returns the text, which need not lie in `reason`. */
    (void)snprintf(tail, sizeof tail, ": %s", strerror_r(sys_errno, reason, sizeof reason));
    va_start(args, fmt);
    fill(err, FMP_EIO, FMP_NO_OFFSET, tail, fmt, args);
    va_end(args);
    err->sys_errno = sys_errno;
    return FMP_EIO;
}
