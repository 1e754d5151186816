/*
 * Dates that the user gives.  See dates.h.
 */
#include "dates.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fmpatch.h"
#include "report.h"
#include "textutil.h"

/* 2026-01-31T23:59:59Z, or with an offset such as +01:00 in place of Z. */
static bool is_rfc3339(const char *s)
{
    static const char shape[] = "0000-00-00T00:00:00";
    size_t i = 0;

    for (; shape[i]; i++) {
        if (shape[i] == '0' ? s[i] < '0' || s[i] > '9' : s[i] != shape[i])
            return false;
    }
    if (s[i] == '.') {
        const size_t n = strspn(s + i + 1, "0123456789");

        if (!n || n > 9)
            return false;
        i += 1 + n;
    }
    if (!strcmp(s + i, "Z"))
        return true;
    return (s[i] == '+' || s[i] == '-') && strlen(s + i) == 6 &&
           strspn(s + i + 1, "0123456789") == 2 && s[i + 3] == ':' &&
           strspn(s + i + 4, "0123456789") == 2;
}

int dates_find(const char *name, const char *given, char date[DATES_LEN], const char **ret)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    uint64_t seconds;
    struct tm tm;
    time_t t;

    *ret = given;
    if (given && !is_rfc3339(given))
        return report_usage("%s: a date such as 2026-01-31T23:59:59Z is expected, found '%s'", name,
                            given);
    if (given || !epoch || !*epoch)
        return FMP_OK;
    if (!text_number(epoch, &seconds) || seconds > 253402300799) /* the end of the year 9999 */
        return report_usage("SOURCE_DATE_EPOCH: a number of seconds is expected, found '%s'",
                            epoch);
    t = (time_t)seconds;
    if (!gmtime_r(&t, &tm) || !strftime(date, DATES_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm))
        return report_usage("SOURCE_DATE_EPOCH: no date");
    *ret = date;
    return FMP_OK;
}
