/*
 * Figures as SVG, for a page or for a file of their own: a title and a description for readers who
 * do not see, colours by class, which follow the reader's theme.  Labels may be foreign text.
 */
#ifndef TOOLS_SVG_H
#define TOOLS_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What every figure has.  `id` is ours and unique in the page. */
typedef struct svg_head {
    const char *id, *title, *desc;
    bool alone; /* a file of its own: brings its colours, and shows its title */
} svg_head;

void svg_begin(FILE *f, const svg_head *head, double width, double height);
void svg_end(FILE *f);
/* A label; `class` of html_colors, such as "m" (middle), "e" (end), "soft", "b" (bold). */
void svg_label(FILE *f, double x, double y, const char *class_names, const char *text, size_t most);
/* About how wide a label of `n` characters is. */
double svg_text_width(size_t n);

/* ---- a heat map: part of whole, cell by cell --------------------------------------------------
 */

typedef struct svg_heat {
    size_t n_rows, n_columns;
    char **rows, **columns;       /* labels */
    const uint64_t *part, *whole; /* row after row; a cell with whole 0 is left empty */
    bool by_log;
    const char *row_word; /* "layer", for what a cell says of itself; may be "" */
    const char *unit;     /* "elements" */
} svg_heat;

/* Columns of heat maps are so wide that a percentage fits; above this many it is left out. */
#define SVG_HEAT_TEXT_COLUMNS 16
void svg_heat_draw(FILE *f, const svg_head *head, const svg_heat *heat);
/* The same as a table of shares, folded. */
void svg_heat_table(FILE *f, const svg_heat *heat, const char *corner, const char *caption);

/* ---- a histogram: counts by power of two, both axes logarithmic -------------------------------
 */

#define SVG_HISTOGRAM_BINS 128

typedef struct svg_histogram {
    const char *name; /* of this panel */
    const uint64_t *counts;
    size_t n;
} svg_histogram;

/* Panels below each other over one axis; bin i begins at 2^(first + i). */
void svg_histogram_draw(FILE *f, const svg_head *head, const svg_histogram *panels, size_t n_panels,
                        int first, const char *axis, const char *unit);

/* ---- bars -------------------------------------------------------------------------------------
 */

typedef struct svg_bar {
    const char *name;
    const char *value; /* as it is to be read */
    double size;
    bool marked; /* stands out */
} svg_bar;

void svg_bars_draw(FILE *f, const svg_head *head, const svg_bar *bars, size_t n);

/* ---- sets that meet ---------------------------------------------------------------------------
 */

typedef struct svg_upset {
    size_t n_sets, n_columns; /* up to 64 sets */
    char **names;             /* of the sets */
    const uint64_t *sizes;    /* of the sets */
    const uint64_t *members;  /* of each column: bit i is set i */
    const uint64_t *counts;   /* of each column, to be shown in this order */
} svg_upset;

void svg_upset_draw(FILE *f, const svg_head *head, const svg_upset *upset);

#endif
