/*
 * Progress on standard error, and the signals that stop the work: the library polls both through
 * one callback.
 */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "fmpatch.h"
#include "opts.h"

/* SIGINT, SIGTERM and SIGHUP set a flag the first time and kill the second time. */
void progress_catch_signals(void);
/* From here on they end the program at once: where nothing is to be tidied up, and nobody polls. */
void progress_release_signals(void);
/* The signal that came, or 0. */
int progress_signal(void);
/* If a signal came, ends the program by it, as if it had never been caught. */
void progress_reraise(void);

/* Whether the user wants to see progress, and standard error can show it. */
bool progress_is_wanted(const common_args *common);
/* One line that moves, on a terminal only, at most ten times a second; and the flag of the signals,
 * always.  `what` stands before the numbers and lives as long as the work. */
fmp_progress progress_start(const common_args *common, const char *what);
/* Takes the line away. */
void progress_end(void);
/* Takes the line away until it is drawn next, so that a message does not end up in it. */
void progress_clear(void);

#endif
