/*
 * What every unit test needs: cmocka's headers in the order that it wants, and an assertion on a
 * status that fails with the library's own sentence.
 */
#ifndef FMP_TESTS_SUPPORT_H
#define FMP_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fmpatch.h"

#define assert_status(got, want, err)                                                              \
    do {                                                                                           \
        const fmp_status got_ = (got);                                                             \
        if (got_ != (want))                                                                        \
            fail_msg("%s, expected %s: %s", fmp_status_name(got_), fmp_status_name(want),          \
                     got_ ? (err)->text : "no error");                                             \
    } while (0)

#endif
