/*
 * Messages and tables.  Text from files is escaped by the caller, or by the library in its
 * messages.
 */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "progress.h"
#include "spool.h"
#include "textutil.h"

#define ROWS_HELD 4096 /* rows of a table that are aligned together */

/* ---- standard error ---------------------------------------------------------------------------
 */

static void say(const char *prefix, const char *fmt, va_list ap)
{
    progress_clear();
    fputs(prefix, stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

void report_warning(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say("fmpatch: ", fmt, ap);
    va_end(ap);
}

int report_usage(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say("fmpatch: ", fmt, ap);
    va_end(ap);
    return fmp_exit_status(FMP_EUSAGE);
}

int report_errno(const char *what)
{
    report_warning("%s: %s", what, strerror(errno));
    return fmp_exit_status(FMP_EIO);
}

void report_note(const common_args *common, const char *fmt, ...)
{
    va_list ap;

    if (common->quiet)
        return;
    va_start(ap, fmt);
    say("", fmt, ap);
    va_end(ap);
}

/* Messages about a part of a patch do not know its name. */
static void put_name_first(fmp_error *err, const char *name)
{
    char *shown = text_escape(name, strlen(name));
    const size_t len = strlen(shown);

    if (strncmp(err->text, shown, len) || err->text[len] != ':') {
        char rest[sizeof err->text];

        snprintf(rest, sizeof rest, "%s", err->text);
        snprintf(err->text, sizeof err->text, "%.150s: %.240s", shown, rest);
    }
    free(shown);
}

int report_error_about(const common_args *common, const char *name, const fmp_error *err)
{
    const int status = fmp_exit_status(err->status);
    fmp_error shown = *err;
    report_json j;

    if (err->status == FMP_ECANCELED && progress_signal())
        return status; /* who sent the signal knows */
    spool_rename(&shown);
    if (name)
        put_name_first(&shown, name);
    if (err->offset == FMP_NO_OFFSET)
        report_warning("%s", shown.text);
    else
        report_warning("%s (at byte %" PRIu64 ")", shown.text, err->offset);
    if (common->json) {
        report_json_begin(&j, "error");
        report_json_member(&j, "status", json_integer(status));
        report_json_member(&j, "code", json_string(fmp_status_name(err->status)));
        report_json_member(&j, "text", report_json_text(shown.text));
        report_json_member(&j, "offset",
                           err->offset == FMP_NO_OFFSET ? json_null()
                                                        : report_json_number(err->offset));
        report_json_end(&j);
    }
    return status;
}

int report_error(const common_args *common, const fmp_error *err)
{
    return report_error_about(common, NULL, err);
}

/* ---- the terminal -----------------------------------------------------------------------------
 */

bool report_is_terminal(void)
{
    return isatty(STDOUT_FILENO);
}

size_t report_width(void)
{
    struct winsize w;

    if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_col >= 20)
        return w.ws_col;
    return 80;
}

bool report_has_color(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return report_is_terminal() && !(no && *no) && term && strcmp(term, "dumb");
}

/* ---- tables -----------------------------------------------------------------------------------
 */

struct report_table {
    struct libscols_table *aligned; /* NULL: tabs */
    size_t n_columns, n_held;
};

static void print_tabs(const char *const *cells, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i ? "\t" : "", cells[i]);
    putchar('\n');
}

static struct libscols_table *aligned_new(const report_column *columns, size_t n, bool heading)
{
    struct libscols_table *t = scols_new_table();

    if (!t)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const int flags =
            (columns[i].right ? SCOLS_FL_RIGHT : 0) | (columns[i].shrink ? SCOLS_FL_TRUNC : 0);

        if (!scols_table_new_column(t, columns[i].name, columns[i].shrink ? 0.9 : 0, flags)) {
            scols_unref_table(t);
            return NULL;
        }
    }
    scols_table_enable_noheadings(t, !heading);
    scols_table_enable_noencoding(t, 1); /* cells are escaped already */
    return t;
}

report_table *report_table_new(const report_column *columns, size_t n, bool heading)
{
    report_table *t = text_alloc(sizeof *t);
    const char *names[REPORT_COLUMNS_MAX];

    t->n_columns = n;
    if (report_is_terminal())
        t->aligned = aligned_new(columns, n, heading);
    if (t->aligned || !heading)
        return t;
    for (size_t i = 0; i < n && i < REPORT_COLUMNS_MAX; i++)
        names[i] = columns[i].name;
    print_tabs(names, n);
    return t;
}

static void flush_held(report_table *t)
{
    if (t->n_held) {
        fflush(stdout);
        scols_print_table(t->aligned);
        scols_table_remove_lines(t->aligned);
        scols_table_enable_noheadings(t->aligned, 1);
    }
    t->n_held = 0;
}

void report_table_row(report_table *t, const char *const *cells)
{
    struct libscols_line *line;

    if (!t->aligned) {
        print_tabs(cells, t->n_columns);
        return;
    }
    line = scols_table_new_line(t->aligned, NULL);
    for (size_t i = 0; i < t->n_columns; i++) {
        if (!line || scols_line_set_data(line, i, cells[i])) {
            fputs("fmpatch: out of memory\n", stderr);
            exit(fmp_exit_status(FMP_ENOMEM));
        }
    }
    if (++t->n_held == ROWS_HELD)
        flush_held(t);
}

void report_table_end(report_table *t)
{
    if (t->aligned) {
        flush_held(t);
        scols_unref_table(t->aligned);
    }
    free(t);
}
