/*
 * Draws a line about the work.
 */
#include "fish/meter.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "progress.h"

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void meter_begin(meter *m, const common_args *common, const char *what)
{
    *m = (meter){.what = what, .wanted = progress_is_wanted(common), .start = now()};
}

void meter_clear(meter *m)
{
    if (m->shown)
        fputs("\r\033[K", stderr);
    m->shown = false;
}

void meter_draw(meter *m, uint64_t done, uint64_t total, const char *more)
{
    const double t = now();

    if (progress_signal()) {
        meter_clear(m);
        progress_reraise();
    }
    if (!m->wanted || (t - m->drawn < 0.1 && done < total))
        return;
    m->drawn = t;
    m->shown = true;
    fprintf(stderr, "\r\033[K%s %" PRIu64 "/%" PRIu64 "%s", m->what, done, total, more);
    fflush(stderr);
}

void meter_end(meter *m)
{
    meter_clear(m);
    m->ended = now();
}

double meter_seconds(const meter *m)
{
    return (m->ended > 0 ? m->ended : now()) - m->start;
}

void meter_fisher(void *ctx, uint64_t done, uint64_t total, double seconds)
{
    char more[64];

    snprintf(more, sizeof more, "  %.1f examples/s", seconds > 0 ? (double)done / seconds : 0.0);
    meter_draw(ctx, done, total, more);
}
