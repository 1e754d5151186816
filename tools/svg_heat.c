/*
 * The heat map: rows down, columns across, eight steps of one hue between the smallest and the
 * largest share, and a legend that says where they lie.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "html.h"
#include "svg.h"
#include "textutil.h"

#define STEPS      8
#define ROW_HEIGHT 20

typedef struct scale {
    double least, most; /* shares; least > 0 when by_log */
    bool by_log;
} scale;

typedef struct layout {
    double left, top, column, row;
    bool has_text, slanted;
    size_t label_max; /* characters of a column's name */
} layout;

static double share_of(const svg_heat *h, size_t i)
{
    return h->whole[i] ? (double)h->part[i] / (double)h->whole[i] : 0;
}

/* On a log scale at most six decades: below is the first step. */
static scale scale_of(const svg_heat *h)
{
    scale s = {.least = 1, .by_log = h->by_log};

    for (size_t i = 0; i < h->n_rows * h->n_columns; i++) {
        const double share = share_of(h, i);

        if (share > 0) {
            s.least = fmin(s.least, share);
            s.most = fmax(s.most, share);
        }
    }
    if (!s.by_log)
        s.least = 0;
    if (s.by_log && s.least < s.most * 1e-6)
        s.least = s.most * 1e-6;
    return s;
}

/* 0: nothing; 1 .. STEPS. */
static unsigned step_of(const scale *s, double share)
{
    double t = 1;

    if (share <= 0)
        return 0;
    if (s->by_log && s->most > s->least)
        t = log(share / s->least) / log(s->most / s->least);
    else if (!s->by_log && s->most > 0)
        t = share / s->most;
    return (unsigned)fmin(fmax(floor(t * STEPS) + 1, 1), STEPS);
}

/* The smallest share of a step. */
static double step_from(const scale *s, unsigned step)
{
    const double t = (step - 1.0) / STEPS;

    return s->by_log ? s->least * pow(s->most / s->least, t) : s->most * t;
}

static void percent_of(double share, char out[TEXT_NUMBER_LEN])
{
    const double v = 100 * share;

    if (v > 0 && v < 0.01)
        snprintf(out, TEXT_NUMBER_LEN, "%.1g%%", v);
    else
        snprintf(out, TEXT_NUMBER_LEN, "%.*f%%", v < 10 ? 2 : v < 99.95 ? 1 : 0, v);
}

static size_t longest(char **labels, size_t n)
{
    size_t most = 0;

    for (size_t i = 0; i < n; i++) {
        const size_t columns = text_columns(labels[i]);

        most = columns > most ? columns : most;
    }
    return most;
}

static layout layout_of(const svg_heat *h)
{
    const size_t row_chars = longest(h->rows, h->n_rows);
    const size_t column_chars = longest(h->columns, h->n_columns);
    layout l = {.row = ROW_HEIGHT, .label_max = column_chars < 28 ? column_chars : 28};

    l.has_text = h->n_columns <= SVG_HEAT_TEXT_COLUMNS;
    l.column = l.has_text ? 54 : h->n_columns > 24 ? 20 : 26;
    l.left = svg_text_width(row_chars < 28 ? row_chars : 28) + 14;
    if (l.left < 48)
        l.left = 48;
    l.slanted = svg_text_width(column_chars) > l.column - 4;
    l.top = l.slanted ? 14 + svg_text_width(l.label_max) * 0.87 : 22;
    return l;
}

static void draw_columns(FILE *f, const svg_heat *h, const layout *l)
{
    for (size_t c = 0; c < h->n_columns; c++) {
        const double x = l->left + ((double)c + 0.5) * l->column;

        if (!l->slanted) {
            svg_label(f, x, l->top - 7, "m", h->columns[c], l->label_max);
            continue;
        }
        fprintf(f, "<g transform=\"translate(%.1f %.1f) rotate(-60)\">", x + 4, l->top - 6);
        svg_label(f, 0, 0, "", h->columns[c], l->label_max);
        fputs("</g>\n", f);
    }
}

static void draw_cell(FILE *f, const svg_heat *h, const layout *l, const scale *s, size_t r,
                      size_t c)
{
    const size_t i = r * h->n_columns + c;
    const double x = l->left + (double)c * l->column, y = l->top + (double)r * l->row;
    char percent[TEXT_NUMBER_LEN], part[TEXT_NUMBER_LEN], whole[TEXT_NUMBER_LEN];

    if (!h->whole[i])
        return;
    percent_of(share_of(h, i), percent);
    text_group(h->part[i], part);
    text_group(h->whole[i], whole);
    fprintf(f, "<g class=\"h%u\"><title>%s", step_of(s, share_of(h, i)), h->row_word);
    html_put(f, h->rows[r], strlen(h->rows[r]), 40);
    fputs(", ", f);
    html_put(f, h->columns[c], strlen(h->columns[c]), 40);
    fprintf(f,
            ": %s of %s %s, %s</title><rect x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\"/>",
            part, whole, h->unit, percent, x + 1, y + 1, l->column - 2, l->row - 2);
    if (l->has_text)
        fprintf(f, "<text x=\"%.0f\" y=\"%.0f\" class=\"m\">%s</text>", x + l->column / 2, y + 14,
                h->part[i] ? percent : "0");
    fputs("</g>\n", f);
}

static void draw_legend(FILE *f, const layout *l, const scale *s, double y)
{
    char text[TEXT_NUMBER_LEN];

    fprintf(f, "<g class=\"h0\"><rect x=\"%.0f\" y=\"%.0f\" width=\"40\" height=\"12\"/></g>\n",
            l->left, y);
    svg_label(f, l->left + 20, y + 27, "m soft", "0", 0);
    /* One share all over: there is but the last step. */
    for (unsigned k = s->by_log && s->least >= s->most ? STEPS : 1; k <= STEPS && s->most > 0;
         k++) {
        const double x = l->left + 8 + 50.0 * k;

        fprintf(f,
                "<g class=\"h%u\"><rect x=\"%.0f\" y=\"%.0f\" width=\"48\" height=\"12\"/></g>\n",
                k, x, y);
        percent_of(step_from(s, k), text);
        svg_label(f, x, y + 27, "soft", text, 0);
    }
    if (s->most > 0) {
        percent_of(s->most, text);
        svg_label(f, l->left + 8 + 50.0 * (STEPS + 1), y + 12, "soft", text, 0);
    }
    svg_label(f, l->left, y - 6, "soft",
              s->by_log ? "share, on a log scale; a step begins where its number stands"
                        : "share; a step begins where its number stands",
              0);
}

void svg_heat_draw(FILE *f, const svg_head *head, const svg_heat *h)
{
    const layout l = layout_of(h);
    const scale s = scale_of(h);
    const double right = l.left + (double)h->n_columns * l.column + (l.slanted ? 60 : 8);
    const double legend = l.left + 50 * (STEPS + 2) + 8;
    const double bottom = l.top + (double)h->n_rows * l.row;

    svg_begin(f, head, fmax(right, legend), bottom + 56);
    draw_columns(f, h, &l);
    for (size_t r = 0; r < h->n_rows; r++) {
        svg_label(f, l.left - 8, l.top + (double)r * l.row + 14, "e", h->rows[r], 28);
        for (size_t c = 0; c < h->n_columns; c++)
            draw_cell(f, h, &l, &s, r, c);
    }
    draw_legend(f, &l, &s, bottom + 24);
    svg_end(f);
}

void svg_heat_table(FILE *f, const svg_heat *h, const char *corner, const char *caption)
{
    html_column *columns = text_alloc((h->n_columns + 1) * sizeof *columns);
    const char **cells = text_alloc((h->n_columns + 1) * sizeof *cells);
    char(*texts)[TEXT_NUMBER_LEN] = text_alloc(h->n_columns * sizeof *texts);

    columns[0].name = corner;
    for (size_t c = 0; c < h->n_columns; c++)
        columns[c + 1] = (html_column){.name = h->columns[c], .right = true};
    html_table_begin(f, caption, columns, h->n_columns + 1, true);
    for (size_t r = 0; r < h->n_rows; r++) {
        cells[0] = h->rows[r];
        for (size_t c = 0; c < h->n_columns; c++) {
            const size_t i = r * h->n_columns + c;

            percent_of(share_of(h, i), texts[c]);
            cells[c + 1] = !h->whole[i] ? "" : h->part[i] ? texts[c] : "0";
        }
        html_table_row(f, columns, cells, h->n_columns + 1);
    }
    html_table_end(f, true);
    free(columns);
    free(cells);
    free(texts);
}
