/*
 * Files that the program writes by itself: whole under their name, or not at all.
 */
#ifndef TOOLS_OUTFILE_H
#define TOOLS_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>

/* A directory and what leads to it, open to the owner only.  False, with errno, on failure. */
bool outfile_make_dirs(const char *path);

/* All of it; false, with errno, on failure. */
bool outfile_write_all(int fd, const char *data, size_t len);

/* Whether `path` may be written: with `replace`, or when nothing has that name.  Returns an exit
 * status, after a message when it is not 0. */
int outfile_check(const char *path, bool replace);

/* Writes a file by rename after fsync, with the mode that umask gives; without `replace`, what
 * exists or has appeared meanwhile stays.  Returns an exit status, likewise. */
int outfile_write(const char *path, const char *data, size_t len, bool replace);

#endif
