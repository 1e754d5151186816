/*
 * The names of outputs when -o gives none: always in the current directory, never taken from inside
 * a patch.  All are to free.
 */
#ifndef TOOLS_OUTNAME_H
#define TOOLS_OUTNAME_H

#include <stdbool.h>

/* TARGET's stem with ".fmp".  NULL when it has no name, such as "/". */
char *outname_patch(const char *target);
/* PATCH's stem, `insert` (may be ""), and INPUT's suffix; no suffix for a directory or an index. */
char *outname_result(const char *input, const char *patch, const char *insert);
/* PATCH's stem, `insert` between dots, "fmp".  NULL when it has no name. */
char *outname_derived(const char *patch, const char *insert);
/* PATH's last part without its suffix. */
char *outname_stem(const char *path);

/* The same file or directory, by whatever name. */
bool outname_is_same(const char *a, const char *b);

#endif
