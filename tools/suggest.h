/*
 * "Did you mean": the nearest word.
 */
#ifndef TOOLS_SUGGEST_H
#define TOOLS_SUGGEST_H

#include <stddef.h>

/* How many single letters must be put in, left out, replaced or swapped with a neighbour. */
size_t suggest_distance(const char *a, const char *b);

/* Keeps the best so far. */
typedef struct suggestion {
    const char *word; /* NULL while nothing is near enough */
    size_t distance;
} suggestion;

void suggest_try(suggestion *s, const char *given, const char *candidate);

#endif
