/*
 * Globs on tensor names: POSIX fnmatch() without flags.
 */
#include "score/glob.h"

#include <fnmatch.h>

bool fish_glob_match(const char *glob, const char *name)
{
    return !fnmatch(glob, name, 0);
}

bool fish_glob_any(const char *const *globs, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (fish_glob_match(globs[i], name))
            return true;
    }
    return false;
}
