/*
 * JSON as text in our own memory.
 */
#ifndef FISH_JSONTEXT_H
#define FISH_JSONTEXT_H

#include <jansson.h>

/* json_dumps() with its flags; to fish_free(); NULL when memory is short or a string is not UTF-8.
 */
char *fish_json_dump(const json_t *json, size_t flags);

#endif
