/*
 * Copies what jansson prints, and frees that with the function that jansson was given.
 */
#include "core/jsontext.h"

#include "core/mem.h"

char *fish_json_dump(const json_t *json, size_t flags)
{
    json_malloc_t allocate;
    json_free_t release;
    char *text = json_dumps(json, flags);
    char *copy;

    if (!text)
        return NULL;
    copy = fish_strdup(text);
    json_get_alloc_funcs(&allocate, &release);
    release(text);
    return copy;
}
