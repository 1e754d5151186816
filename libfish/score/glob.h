/*
 * Globs on tensor names, as a shell has them: * and ? match any character, dots and slashes too.
 */
#ifndef FISH_GLOB_H
#define FISH_GLOB_H

#include <stdbool.h>
#include <stddef.h>

bool fish_glob_match(const char *glob, const char *name);
/* Whether one of the n globs matches. */
bool fish_glob_any(const char *const *globs, size_t n, const char *name);

#endif
