/*
 * The heap behind one door.  See alloc.h.
 */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The one global of the library: a test's plan to fail, idle (negative) in production. */
static atomic_long fail_in = -1;

static bool planned_failure(void)
{
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) < 0)
        return false;
    return atomic_fetch_sub(&fail_in, 1) == 0;
}

void fmp_alloc_fail_at(long nth)
{
    atomic_store(&fail_in, nth);
}

void *fmp_malloc(size_t size)
{
    return planned_failure() ? NULL : malloc(size ? size : 1);
}

void *fmp_calloc(size_t n, size_t size)
{
    return planned_failure() ? NULL : calloc(n ? n : 1, size ? size : 1);
}

void *fmp_realloc(void *ptr, size_t n, size_t size)
{
    if (planned_failure() || (size && n > SIZE_MAX / size))
        return NULL;
    return realloc(ptr, n && size ? n * size : 1);
}

void fmp_free(void *ptr)
{
    free(ptr);
}

char *fmp_strndup(const char *s, size_t len)
{
    char *copy = len < SIZE_MAX ? fmp_malloc(len + 1) : NULL;

    if (!copy)
        return NULL;
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}
