/*
 * Pictures of training, as files of their own.
 */
#include "fish/chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "grid.h"
#include "svg.h"
#include "textutil.h"

static bool close_file(FILE *f)
{
    const bool good = !ferror(f);

    return !fclose(f) && good;
}

/* ---- the curve --------------------------------------------------------------------------------
 */

#define W      720
#define H      360
#define LEFT   56
#define RIGHT  56
#define TOP    24
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

        fprintf(f, "<path d=\"M%d %.1fH%d\" class=\"grid\"/>", LEFT, y, W - RIGHT);
        fprintf(f, "<text x=\"%d\" y=\"%.1f\" class=\"e\">%.2f</text>", LEFT - 6, y + 4,
                top_loss * i / 4);
        if (metric)
            fprintf(f, "<text x=\"%d\" y=\"%.1f\">%.2f</text>", W - RIGHT + 6, y + 4, i / 4.0);
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" class=\"m\">%.0f</text>\n", x_at(last * i / 4, last),
                H - BOTTOM + 18, last * i / 4);
    }
    fprintf(f, "<text x=\"%d\" y=\"%d\" class=\"m\">step</text>", W / 2, H - 8);
    fprintf(f, "<text x=\"%d\" y=\"%d\" style=\"fill:var(--s1)\">loss</text>", LEFT, TOP - 6);
    if (metric)
        fprintf(f, "<text x=\"%d\" y=\"%d\" class=\"e\" style=\"fill:var(--s2)\">%s</text>\n",
                W - RIGHT, TOP - 6, metric);
}

/* An exponential mean of the losses, so that the line can be read. */
static void loss_line(FILE *f, const chart_point *points, size_t n, double last, double top)
{
    double mean = points[0].loss;

    fputs("<polyline fill=\"none\" stroke=\"var(--s1)\" stroke-width=\"1.5\" points=\"", f);
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
    const svg_head head = {.id = "curve",
                           .title = title,
                           .desc = metric ? "Mean loss and a metric on the validation data by step"
                                          : "Mean loss by step",
                           .alone = true};
    FILE *f = fopen(path, "we");
    double top = 0;
    double last;

    if (!f)
        return false;
    svg_begin(f, &head, W, H);
    if (!n) {
        svg_end(f);
        return close_file(f);
    }
    for (size_t i = 0; i < n; i++)
        top = points[i].loss > top && isfinite(points[i].loss) ? points[i].loss : top;
    last = points[n - 1].step;
    axes(f, last, top, metric);
    loss_line(f, points, n, last, top);
    fputs("<g fill=\"var(--s2)\" stroke=\"var(--s2)\">", f);
    for (size_t i = 0; i < n; i++) {
        if (!isnan(points[i].metric))
            fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%.4f</title></circle>",
                    x_at(points[i].step, last), y_at(points[i].metric, 1), points[i].metric);
    }
    fputs("</g>\n", f);
    svg_end(f);
    return close_file(f);
}

/* ---- the heat map -----------------------------------------------------------------------------
 */

static void sum_up(grid *ret, const fish_mask *mask)
{
    grid_entry *entries = text_alloc(mask->n_tensors * sizeof *entries);

    for (uint32_t i = 0; i < mask->n_tensors; i++) {
        const fish_mask_tensor *t = &mask->tensors[i];
        const fmp_tensor_place place = fmp_tensor_role(t->name);

        entries[i] = (grid_entry){.row = place.layer < 0 ? GRID_NONE : place.layer,
                                  .column = (int32_t)place.role,
                                  .part = t->n,
                                  .whole = t->n_elements};
    }
    grid_make(ret, entries, mask->n_tensors, (grid_limits){200, FMP_ROLE_COUNT, 2000},
              grid_layer_name, grid_role_name);
    free(entries);
}

bool chart_heat(const char *path, const char *title, const fish_mask *mask)
{
    const svg_head head = {.id = "heat",
                           .title = title,
                           .desc = "Rows are layers, columns are roles of tensors; darker is more.",
                           .alone = true};
    FILE *f = fopen(path, "we");
    svg_heat h = {.by_log = true, .row_word = "layer ", .unit = "weights"};
    grid g;

    if (!f)
        return false;
    sum_up(&g, mask);
    h.n_rows = g.n_rows;
    h.n_columns = g.n_columns;
    h.rows = g.rows;
    h.columns = g.columns;
    h.part = g.part;
    h.whole = g.whole;
    svg_heat_draw(f, &head, &h);
    grid_release(&g);
    return close_file(f);
}
