/*
 * Globs as fnmatch(3) has them, but the same in every locale: '*', '?', sets, and a backslash
 * before what stands for itself.  A character is a code point; text and patterns are UTF-8.
 */
#ifndef FMP_BASE_GLOB_H
#define FMP_BASE_GLOB_H

#include <stdbool.h>

/* Whether every set is closed and no backslash is last.  Named classes such as [:digit:], which are
 * a locale's business, are not valid. */
bool fmp_glob_is_valid(const char *glob);

/* `path`: '*', '?' and sets do not match a '/'.  A glob that is not valid matches nothing.  Time at
 * most the product of the lengths. */
bool fmp_glob_matches(const char *glob, const char *text, bool path);

#endif
