/*
 * Progress on standard error, and the signals that stop the work.  The signal handler and the line
 * on the terminal belong to the process, hence the two variables of this file.
 */
#include "progress.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "textutil.h"

#define NS_PER_S     1000000000
#define NS_PER_DRAW  (NS_PER_S / 10)
#define NS_TO_SETTLE (NS_PER_S / 2) /* no rate before this */

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t caught;

static struct {
    const char *what;
    bool visible; /* may draw */
    bool drawn;   /* the line stands on the terminal */
    int64_t start, last;
} line;

/* ---- signals ----------------------------------------------------------------------------------
 */

static void on_signal(int sig)
{
    caught = sig;
}

void progress_catch_signals(void)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}, old;

    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (!sigaction(signals[i], NULL, &old) && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &act, NULL);
    }
}

void progress_release_signals(void)
{
    struct sigaction act = {.sa_handler = SIG_DFL}, old;

    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (!sigaction(signals[i], NULL, &old) && old.sa_handler == on_signal)
            sigaction(signals[i], &act, NULL);
    }
    progress_reraise();
}

int progress_signal(void)
{
    return caught;
}

void progress_reraise(void)
{
    if (!caught)
        return;
    progress_clear();
    fflush(NULL);
    signal(caught, SIG_DFL);
    raise(caught);
}

/* ---- the line ---------------------------------------------------------------------------------
 */

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static size_t terminal_width(void)
{
    struct winsize w;

    if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &w) && w.ws_col >= 20)
        return w.ws_col;
    return 80;
}

static void draw(uint64_t done, uint64_t total, int64_t elapsed)
{
    char done_text[TEXT_NUMBER_LEN], total_text[TEXT_NUMBER_LEN], rate_text[TEXT_NUMBER_LEN];
    char percent[TEXT_NUMBER_LEN], text[256];
    const double rate = (double)done * NS_PER_S / (double)(elapsed ? elapsed : 1);
    const double left = rate > 0 && total > done ? (double)(total - done) / rate : 0;
    int n;

    text_bytes(done, done_text);
    text_bytes(total, total_text);
    text_percent(done, total, percent);
    n = snprintf(text, sizeof text, "%s  %s  %s of %s", line.what, percent, done_text, total_text);
    if (elapsed >= NS_TO_SETTLE && n > 0 && (size_t)n < sizeof text && left < 360000) {
        const unsigned s = (unsigned)left;

        text_bytes((uint64_t)rate, rate_text);
        snprintf(text + n, sizeof text - (size_t)n, "  %s/s  ETA %u:%02u:%02u", rate_text, s / 3600,
                 s / 60 % 60, s % 60);
    }
    fprintf(stderr, "\r%.*s\033[K", (int)(terminal_width() - 1), text);
    fflush(stderr);
    line.drawn = true;
}

static bool on_progress(void *ctx, uint64_t done, uint64_t total)
{
    int64_t t;

    (void)ctx;
    if (caught)
        return true;
    if (!line.visible)
        return false;
    t = now();
    if (t - line.last >= NS_PER_DRAW) {
        line.last = t;
        draw(done, total, t - line.start);
    }
    return false;
}

bool progress_is_wanted(const common_args *common)
{
    const char *term = getenv("TERM");

    return !common->quiet && !common->no_progress && !getenv("FMPATCH_NO_PROGRESS") &&
           isatty(STDERR_FILENO) && term && strcmp(term, "dumb");
}

fmp_progress progress_start(const common_args *common, const char *what)
{
    const int64_t t = now();

    line.what = what;
    line.visible = progress_is_wanted(common);
    line.start = t;
    line.last = t; /* what takes less than a tenth of a second draws nothing */
    return (fmp_progress){.fn = on_progress};
}

void progress_clear(void)
{
    if (line.drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    line.drawn = false;
}

void progress_end(void)
{
    progress_clear();
    line.visible = false;
}
