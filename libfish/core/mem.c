/*
 * The one file of libfish that calls the C library's allocator.
 */
#include "core/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

static _Thread_local long fail_countdown = -1;

static bool refuse(size_t count, size_t size, size_t *ret_bytes)
{
    if (fail_countdown >= 0 && fail_countdown-- == 0)
        return true;
    if (size && count > (SIZE_MAX / 2 - ALIGNMENT) / size)
        return true;
    *ret_bytes = count && size ? count * size : 1;
    return false;
}

void *fish_alloc(size_t count, size_t size)
{
    size_t bytes;
    void *p;

    if (refuse(count, size, &bytes))
        return NULL;
    return posix_memalign(&p, ALIGNMENT, bytes) ? NULL : p;
}

void *fish_calloc(size_t count, size_t size)
{
    size_t bytes;

    return refuse(count, size, &bytes) ? NULL : calloc(1, bytes);
}

void *fish_realloc(void *p, size_t count, size_t size)
{
    size_t bytes;

    return refuse(count, size, &bytes) ? NULL : realloc(p, bytes);
}

char *fish_strdup(const char *s)
{
    const size_t len = strlen(s) + 1;
    char *copy = fish_alloc(len, 1);

    if (copy)
        memcpy(copy, s, len);
    return copy;
}

void fish_free(void *p)
{
    free(p);
}

void fish_alloc_fail_at(long n)
{
    fail_countdown = n;
}
