/*
 * Memory of libfish: sizes are count times size, checked; a test can make the n-th allocation fail.
 * Nothing else in libfish calls malloc.
 */
#ifndef FISH_MEM_H
#define FISH_MEM_H

#include <stddef.h>

/* NULL when count * size does not fit or memory is short.  A size of 0 gives a pointer to free. */
void *fish_alloc(size_t count, size_t size);  /* contents unspecified; 64-byte aligned */
void *fish_calloc(size_t count, size_t size); /* zeros; untouched pages stay unbacked */
void *fish_realloc(void *p, size_t count,
                   size_t size); /* p from fish_alloc or fish_realloc; 16-byte aligned */
char *fish_strdup(const char *s);
void fish_free(void *p); /* takes NULL, and what any of the above returned */

/* The n-th allocation from now on (0: the next) fails, once; a negative n: none.  Tests only; this
 * thread only. */
void fish_alloc_fail_at(long n);

#endif
