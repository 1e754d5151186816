/*
 * "-": a patch that comes from standard input or goes to standard output, by way of a temporary
 * file, because the library reads and writes at any place of a file.
 */
#ifndef TOOLS_SPOOL_H
#define TOOLS_SPOOL_H

#include <stdbool.h>

#include "fmpatch.h"

bool spool_is_dash(const char *operand);

/* Copies standard input into a file without a name.  Returns a path by which this process can open
 * it, good until the program ends; NULL after a message, with the exit status in *ret_status. Works
 * once. */
const char *spool_input(int *ret_status);
/* In a message, that path becomes "standard input". */
void spool_rename(fmp_error *err);

/* A path in a directory of its own. */
typedef struct spool_out {
    char *dir, *path;
} spool_out;

/* Both return an exit status, after a message when it is not 0.  Standard output must not be a
 * terminal. */
int spool_out_open(spool_out *s);
int spool_out_copy(const spool_out *s);
/* Removes both; takes an empty one. */
void spool_out_close(spool_out *s);

#endif
