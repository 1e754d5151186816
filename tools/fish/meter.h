/*
 * How far the work is, on standard error: one line that moves on a terminal, nothing elsewhere.  A
 * signal ends the program at the next step.
 */
#ifndef TOOLS_FISH_METER_H
#define TOOLS_FISH_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "opts.h"

typedef struct meter {
    const char *what;
    bool wanted;
    bool shown; /* a line stands there */
    double start, drawn, ended;
} meter;

void meter_begin(meter *m, const common_args *common, const char *what);
/* Draws the line, at most ten times a second, and ends the program when a signal came. */
void meter_draw(meter *m, uint64_t done, uint64_t total, const char *more);
/* Takes the line away, to be drawn anew after a message. */
void meter_clear(meter *m);
void meter_end(meter *m);
double meter_seconds(const meter *m); /* from begin to end, or to now */

/* For fish_fisher_options; ctx is the meter. */
void meter_fisher(void *ctx, uint64_t done, uint64_t total, double seconds);

#endif
