/*
 * Where the pages of --html go: a file that is whole or not there, or standard output.
 */
#ifndef TOOLS_PAGE_OUT_H
#define TOOLS_PAGE_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "html.h"
#include "opts.h"

/* Whether the page may be written at `path`, before any work: not over one of the inputs (NULL ones
 * are passed over), over another file with `replace` only.  Returns an exit status, after a message
 * when it is not 0. */
int page_check(const char *path, bool replace, const common_args *common, const char *const *inputs,
               size_t n);

/* Writes the page, and without --json prints its path.  Returns an exit status, likewise. */
int page_put(const char *path, const html_page *page, bool replace, const common_args *common);

#endif
