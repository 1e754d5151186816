/*
 * Writes SVG by hand: few shapes, a title and a description for readers who do not see, colours
 * that follow the reader's light or dark theme.
 */
#include "fish/chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "textutil.h"

static void put_text(FILE *f, const char *s)
{
    for (; *s; s++) {
        if (*s == '<')
            fputs("&lt;", f);
        else if (*s == '>')
            fputs("&gt;", f);
        else if (*s == '&')
            fputs("&amp;", f);
        else if (*s == '"')
            fputs("&quot;", f);
        else
            fputc((unsigned char)*s < 0x20 ? ' ' : *s, f);
    }
}

static FILE *begin(const char *path, const char *title, int width, int height)
{
    FILE *f = fopen(path, "we");

    if (!f)
        return NULL;
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\">\n<title>",
            width, height, width, height);
    put_text(f, title);
    fputs("</title>\n<style>:root{--ink:#222;--paper:#fff;--grid:#ddd;--a:#1668b8;--b:#c2571a}"
          "@media(prefers-color-scheme:dark){:root{--ink:#ddd;--paper:#181818;--grid:#444;"
          "--a:#6db3f2;--b:#f0985a}}text{fill:var(--ink)}</style>\n"
          "<rect width=\"100%\" height=\"100%\" fill=\"var(--paper)\"/>\n",
          f);
    fprintf(f, "<text x=\"%d\" y=\"20\" text-anchor=\"middle\" font-size=\"14\">", width / 2);
    put_text(f, title);
    fputs("</text>\n", f);
    return f;
}

static bool end(FILE *f)
{
    fputs("</svg>\n", f);
    if (ferror(f)) {
        fclose(f);
        return false;
    }
    return !fclose(f);
}

/* ---- the curve --------------------------------------------------------------------------------
 */

#define W      720
#define H      360
#define LEFT   56
#define RIGHT  56
#define TOP    36
#define BOTTOM 48

static double x_at(double step, double last)
{
    return LEFT + (W - LEFT - RIGHT) * (last > 0 ? step / last : 0);
}

static double y_at(double v, double top)
{
    return H - BOTTOM - (H - TOP - BOTTOM) * (top > 0 ? v / top : 0);
}

static void axes(FILE *f, double last, double top_loss, const char *metric)
{
    for (int i = 0; i <= 4; i++) {
        const double y = y_at(i, 4);

        fprintf(f, "<path d=\"M%d %.1fH%d\" stroke=\"var(--grid)\"/>", LEFT, y, W - RIGHT);
        fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.2f</text>", LEFT - 6, y + 4,
                top_loss * i / 4);
        if (metric)
            fprintf(f, "<text x=\"%d\" y=\"%.1f\">%.2f</text>", W - RIGHT + 6, y + 4, i / 4.0);
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n",
                x_at(last * i / 4, last), H - BOTTOM + 18, last * i / 4);
    }
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>", W / 2, H - 8);
    fprintf(f, "<text x=\"%d\" y=\"%d\" fill=\"var(--a)\" style=\"fill:var(--a)\">loss</text>",
            LEFT, TOP - 6);
    if (metric)
        fprintf(f,
                "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" style=\"fill:var(--b)\">%s</text>\n",
                W - RIGHT, TOP - 6, metric);
}

/* An exponential mean of the losses, so that the line can be read. */
static void loss_line(FILE *f, const chart_point *points, size_t n, double last, double top)
{
    double mean = points[0].loss;

    fputs("<polyline fill=\"none\" stroke=\"var(--a)\" stroke-width=\"1.5\" points=\"", f);
    for (size_t i = 0; i < n; i++) {
        if (!isnan(points[i].metric)) /* an evaluation: no loss of its own */
            continue;
        mean += 0.1 * (points[i].loss - mean);
        if (n > 1000 && i % (n / 500))
            continue;
        fprintf(f, "%.1f,%.1f ", x_at(points[i].step, last), y_at(mean, top));
    }
    fputs("\"/>\n", f);
}

bool chart_curve(const char *path, const char *title, const chart_point *points, size_t n,
                 const char *metric)
{
    FILE *f = begin(path, title, W, H);
    double top = 0;
    double last;

    if (!f)
        return false;
    if (!n)
        return end(f);
    for (size_t i = 0; i < n; i++)
        top = points[i].loss > top && isfinite(points[i].loss) ? points[i].loss : top;
    last = points[n - 1].step;
    axes(f, last, top, metric);
    loss_line(f, points, n, last, top);
    fputs("<g fill=\"var(--b)\" stroke=\"var(--b)\">", f);
    for (size_t i = 0; i < n; i++) {
        if (!isnan(points[i].metric))
            fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%.4f</title></circle>",
                    x_at(points[i].step, last), y_at(points[i].metric, 1), points[i].metric);
    }
    fputs("</g>\n", f);
    return end(f);
}

/* ---- the heat map -----------------------------------------------------------------------------
 */

typedef struct heat {
    char **rows, **columns;
    size_t n_rows, n_columns;
    uint64_t *n, *all; /* [rows][columns] of full capacity */
    size_t cap;
} heat;

static size_t intern(char ***list, size_t *n, const char *word, size_t len)
{
    for (size_t i = 0; i < *n; i++) {
        if (strlen((*list)[i]) == len && !memcmp((*list)[i], word, len))
            return i;
    }
    *list = text_realloc(*list, (*n + 1) * sizeof **list);
    (*list)[*n] = text_format("%.*s", (int)len, word);
    return (*n)++;
}

/* "encoder.layer.3.output.dense.weight" lies in row "encoder.layer.3", column
 * "output.dense.weight": the row ends with the last part that is a number; names without one have
 * rows of their own. */
static size_t split_name(const char *name)
{
    size_t at = 0;

    for (const char *p = name; *p;) {
        const size_t len = strcspn(p, ".");

        if (strspn(p, "0123456789") == len && p[len])
            at = (size_t)(p - name) + len;
        p += len + (p[len] == '.');
    }
    return at;
}

static void heat_add(heat *h, const fish_mask_tensor *t)
{
    const size_t at = split_name(t->name);
    const size_t row = intern(&h->rows, &h->n_rows, at ? t->name : "other", at ? at : 5);
    const char *rest = at ? t->name + at + 1 : t->name;
    const size_t column = intern(&h->columns, &h->n_columns, rest, strlen(rest));

    h->n[row * h->cap + column] += t->n;
    h->all[row * h->cap + column] += t->n_elements;
}

#define CELLS_TOP 250 /* below the slanted names of columns */

static void heat_cells(FILE *f, const heat *h, double least)
{
    for (size_t r = 0; r < h->n_rows; r++) {
        fprintf(f, "<text x=\"150\" y=\"%zu\" text-anchor=\"end\">", CELLS_TOP + r * 22 + 15);
        put_text(f, h->rows[r]);
        fputs("</text>", f);
        for (size_t c = 0; c < h->n_columns; c++) {
            const uint64_t all = h->all[r * h->cap + c];
            const double share = all ? (double)h->n[r * h->cap + c] / (double)all : 0;
            const double warm = share > 0 ? 1 - log(share) / log(least) : 0;

            if (!all)
                continue;
            fprintf(f,
                    "<rect x=\"%zu\" y=\"%zu\" width=\"20\" height=\"20\" stroke=\"var(--grid)\" "
                    "fill=\"var(--b)\" fill-opacity=\"%.3f\"><title>",
                    160 + c * 22, CELLS_TOP + r * 22, warm < 0.04 && share > 0 ? 0.04 : warm);
            put_text(f, h->rows[r]);
            fputs(" ", f);
            put_text(f, h->columns[c]);
            fprintf(f, ": %.3f%% of %llu</title></rect>", 100 * share, (unsigned long long)all);
        }
        fputc('\n', f);
    }
    fprintf(f,
            "<text x=\"160\" y=\"%zu\">full colour: all; on a log scale down to 0.001%%</text>\n",
            CELLS_TOP + h->n_rows * 22 + 20);
    for (size_t c = 0; c < h->n_columns; c++) {
        fprintf(f, "<text transform=\"translate(%zu %d) rotate(-60)\" font-size=\"10\">",
                174 + c * 22, CELLS_TOP - 8);
        put_text(f, h->columns[c]);
        fputs("</text>\n", f);
    }
}

bool chart_heat(const char *path, const char *title, const fish_mask *mask)
{
    heat h = {.cap = mask->n_tensors};
    double least = 1e-5;
    FILE *f;
    bool good;

    h.n = text_alloc((size_t)h.cap * h.cap * sizeof *h.n + 8);
    h.all = text_alloc((size_t)h.cap * h.cap * sizeof *h.all + 8);
    memset(h.n, 0, (size_t)h.cap * h.cap * sizeof *h.n);
    memset(h.all, 0, (size_t)h.cap * h.cap * sizeof *h.all);
    for (uint32_t i = 0; i < mask->n_tensors; i++)
        heat_add(&h, &mask->tensors[i]);
    f = begin(path, title, (int)(h.n_columns * 22) + 280, (int)(h.n_rows * 22) + CELLS_TOP + 40);
    good = f != NULL;
    if (f) {
        heat_cells(f, &h, least);
        good = end(f);
    }
    for (size_t i = 0; i < h.n_rows; i++)
        free(h.rows[i]);
    for (size_t i = 0; i < h.n_columns; i++)
        free(h.columns[i]);
    free(h.rows);
    free(h.columns);
    free(h.n);
    free(h.all);
    return good;
}
