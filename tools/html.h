/*
 * A page of HTML that stands alone: no script, no network, light and dark, on paper too.  It is
 * well-formed XML as well.  Whatever comes from a file goes through html_put() or html_name().
 */
#ifndef TOOLS_HTML_H
#define TOOLS_HTML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The page is made in memory, and written when it is whole. */
typedef struct html_page {
    FILE *f;
    char *data; /* whole after html_page_end() */
    size_t len;
} html_page;

void html_page_begin(html_page *page, const char *title);
void html_page_end(html_page *page);
void html_page_release(html_page *page); /* takes an empty one */

/*
 * Foreign text, for the inside of an element or of an attribute: characters of markup become
 * references; controls, direction marks and what is not UTF-8 become U+XXXX.  `most` characters
 * at most, an ellipsis for the middle of longer ones; 0: all.
 */
void html_put(FILE *f, const char *s, size_t len, size_t most);
#define HTML_NAME_MAX 96
/* html_put() of a whole string, HTML_NAME_MAX characters at most. */
void html_name(FILE *f, const char *s);

/* Foreign or own text in an element: <p>, <h2 id="id">, ... `id` may be NULL and is ours. */
void html_element(FILE *f, const char *tag, const char *id, const char *text);

/* ---- figures and tables -----------------------------------------------------------------------
 */

/* <figure>, and a caption below what is drawn until html_figure_end(). */
void html_figure_begin(FILE *f);
void html_figure_end(FILE *f, const char *caption);

typedef struct html_column {
    const char *name;
    bool right; /* numbers */
} html_column;

/* A table that scrolls when it is long; `folded`: behind a line to click on, open on paper. */
void html_table_begin(FILE *f, const char *caption, const html_column *columns, size_t n,
                      bool folded);
/* The first cell heads the row.  Cells are foreign text. */
void html_table_row(FILE *f, const html_column *columns, const char *const *cells, size_t n);
void html_table_end(FILE *f, bool folded);

/* A word with a sign before it, so that it does not hang on its colour. */
typedef enum html_mood { HTML_GOOD, HTML_DOUBT, HTML_BAD } html_mood;
void html_badge(FILE *f, html_mood mood, const char *text);

/* The definitions of colours, for pictures that stand alone; within <style>. */
extern const char html_colors[];

#endif
