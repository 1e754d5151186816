/*
 * What the program says: results on standard output (a table, aligned on a terminal and separated
 * by tabs elsewhere, or one JSON object), everything else on standard error.
 */
#ifndef TOOLS_REPORT_H
#define TOOLS_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"
#include "opts.h"

/* ---- standard error ---------------------------------------------------------------------------
 */

/* "fmpatch: ...", whatever -q says. */
void report_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A message about usage; returns the exit status 2. */
int report_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The system refused something that the program itself tried: "WHAT: strerror"; returns 5. */
int report_errno(const char *what);
/* What the library says went wrong, and as JSON on standard output where that was asked for;
 * returns the exit status. */
int report_error(const common_args *common, const fmp_error *err);
/* The same with `name` before it, unless it is there already. */
int report_error_about(const common_args *common, const char *name, const fmp_error *err);
/* Unless -q. */
void report_note(const common_args *common, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- tables -----------------------------------------------------------------------------------
 */

typedef struct report_table report_table;

typedef struct report_column {
    const char *name;
    bool right;  /* numbers */
    bool shrink; /* may be cut short on a narrow terminal */
} report_column;

/* `heading`: print the columns' names first.  Up to REPORT_COLUMNS_MAX columns. */
#define REPORT_COLUMNS_MAX 16
report_table *report_table_new(const report_column *columns, size_t n, bool heading);
/* The cells are copied; on a terminal, rows are held back so that they can be aligned. */
void report_table_row(report_table *t, const char *const *cells);
/* Prints what is held back. */
void report_table_end(report_table *t);
/* True when the table is meant for people, who like 1,234 and cut names. */
bool report_is_terminal(void);
/* Columns of the terminal on standard output; 80 when it does not say. */
size_t report_width(void);
/* Colour on standard output: a terminal that knows it, and NO_COLOR unset. */
bool report_has_color(void);

/* ---- JSON: one object, member after member, so that long arrays need no memory ----------------
 */

typedef struct report_json {
    bool has_member; /* a comma is due */
    bool has_item;
} report_json;

void report_json_begin(report_json *j, const char *verb); /* "schema": "fmpatch/VERB/1" */
/* Steals the value. */
void report_json_member(report_json *j, const char *key, json_t *value);
void report_json_array(report_json *j, const char *key);
void report_json_item(report_json *j, json_t *value);
void report_json_array_end(report_json *j);
void report_json_end(report_json *j);

/* Text that need not be UTF-8: escaped when it is not. */
json_t *report_json_text(const char *s);
json_t *report_json_hex(const uint8_t *bytes, size_t n);
/* A number; above 2^53 - 1, where readers of JSON round, its decimal digits as a string. */
json_t *report_json_number(uint64_t n);
void report_json_set(json_t *object, const char *key, json_t *value);

#endif
