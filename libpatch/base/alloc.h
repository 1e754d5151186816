/*
 * The only door to the heap for the libraries, so that a test can make the k-th allocation fail.
 * Sizes are checked products; freed secrets are crypto/'s business, not ours.
 */
#ifndef FMP_BASE_ALLOC_H
#define FMP_BASE_ALLOC_H

#include <stddef.h>

void *fmp_malloc(size_t size) __attribute__((malloc, warn_unused_result));
/* Zeroed.  NULL when n * size overflows. */
void *fmp_calloc(size_t n, size_t size) __attribute__((malloc, warn_unused_result));
/* n elements of `size` bytes; NULL on overflow or shortage, and then `ptr` is untouched. */
void *fmp_realloc(void *ptr, size_t n, size_t size) __attribute__((warn_unused_result));
void fmp_free(void *ptr);
char *fmp_strndup(const char *s, size_t len) __attribute__((malloc, warn_unused_result));

/* For tests: the allocation number `nth` from now (0 is the next one) fails, once.  Negative: none.
 * Counts over all threads. */
void fmp_alloc_fail_at(long nth);

#endif
