/*
 * The names of outputs when -o gives none.
 */
#include "outname.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "textutil.h"

static bool is_directory(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* The last part of a path, to free; of "." and "..", that of where they lead. */
static char *last_part(const char *path)
{
    char *copy = text_copy(path);
    size_t len = strlen(copy);
    char *slash, *part, *real;

    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = '\0';
    slash = strrchr(copy, '/');
    part = text_copy(slash ? slash + 1 : copy);
    free(copy);
    if (strcmp(part, ".") && strcmp(part, ".."))
        return part;
    real = realpath(path, NULL);
    if (real) {
        slash = strrchr(real, '/');
        free(part);
        part = text_copy(slash ? slash + 1 : real);
        free(real);
    }
    return part;
}

static bool ends_with(const char *s, const char *end)
{
    const size_t s_len = strlen(s), len = strlen(end);

    return s_len > len && !strcmp(s + s_len - len, end);
}

/* Where the suffix of a file's name starts: at its end when it has none. */
static size_t suffix_at(const char *name)
{
    static const char *const known[] = {".safetensors.index.json", ".index.json"};
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (ends_with(name, known[i]))
            return strlen(name) - strlen(known[i]);
    }
    return dot && dot != name && dot[1] ? (size_t)(dot - name) : strlen(name);
}

char *outname_stem(const char *path)
{
    char *name = last_part(path);

    if (!is_directory(path))
        name[suffix_at(name)] = '\0';
    return name;
}

char *outname_patch(const char *target)
{
    char *stem = outname_stem(target);
    char *name = *stem ? text_format("%s.fmp", stem) : NULL;

    free(stem);
    return name;
}

char *outname_result(const char *input, const char *patch, const char *insert)
{
    char *stem = outname_stem(patch);
    char *name = last_part(input);
    const bool many = is_directory(input) || ends_with(name, ".index.json");
    char *result = text_format("%s%s%s", stem, insert, many ? "" : name + suffix_at(name));

    free(stem);
    free(name);
    return result;
}

bool outname_is_same(const char *a, const char *b)
{
    struct stat x, y;

    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

char *outname_derived(const char *patch, const char *insert)
{
    char *stem = strcmp(patch, "-") == 0 ? NULL : outname_stem(patch);
    char *path = NULL;

    if (stem && *stem) {
        const size_t len = strlen(stem) + strlen(insert) + 6;

        path = text_alloc(len);
        snprintf(path, len, "%s.%s.fmp", stem, insert);
    }
    free(stem);
    return path;
}
