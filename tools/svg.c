/*
 * The shapes: frame, labels, histogram, bars.
 */
#include "svg.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "html.h"
#include "textutil.h"

void svg_begin(FILE *f, const svg_head *head, double width, double height)
{
    const double top = head->alone ? 28 : 0;

    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 %.0f %.0f %.0f\" width=\"%.0f\" "
            "height=\"%.0f\" role=\"img\" aria-labelledby=\"%s-t %s-d\">\n<title id=\"%s-t\">",
            head->alone ? -top : 0, width, height + top, width, height + top, head->id, head->id,
            head->id);
    html_put(f, head->title, strlen(head->title), 0);
    fprintf(f, "</title>\n<desc id=\"%s-d\">", head->id);
    html_put(f, head->desc, strlen(head->desc), 0);
    fputs("</desc>\n", f);
    if (!head->alone)
        return;
    fprintf(f,
            "<style>%s</style>\n<rect y=\"%.0f\" width=\"100%%\" height=\"100%%\" "
            "style=\"fill:var(--paper)\"/>\n",
            html_colors, -top);
    svg_label(f, width / 2, -8, "m b", head->title, 0);
}

void svg_end(FILE *f)
{
    fputs("</svg>\n", f);
}

void svg_label(FILE *f, double x, double y, const char *class_names, const char *text, size_t most)
{
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\"", x, y);
    if (*class_names)
        fprintf(f, " class=\"%s\"", class_names);
    fputc('>', f);
    html_put(f, text, strlen(text), most);
    fputs("</text>\n", f);
}

double svg_text_width(size_t n)
{
    return 7.7 * (double)n;
}

/* ---- histograms -------------------------------------------------------------------------------
 */

#define HIST_WIDTH  760
#define HIST_LEFT   64
#define HIST_PANEL  130 /* height of the bars */
#define HIST_GAP    34  /* above each panel, for its name */
#define HIST_BOTTOM 44

typedef struct span {
    size_t first, end; /* bins */
    double decades;    /* of the counts */
} span;

static span span_of(const svg_histogram *panels, size_t n)
{
    span s = {.first = SVG_HISTOGRAM_BINS, .decades = 1};

    for (size_t p = 0; p < n; p++) {
        for (size_t i = 0; i < panels[p].n; i++) {
            const uint64_t count = panels[p].counts[i];

            if (!count)
                continue;
            s.first = i < s.first ? i : s.first;
            s.end = i + 1 > s.end ? i + 1 : s.end;
            s.decades = fmax(s.decades, ceil(log10((double)count)));
        }
    }
    if (s.first > s.end)
        s.first = s.end = 0;
    if (s.end < s.first + 8)
        s.end = s.first + 8; /* bars of a bearable width */
    return s;
}

/* 2^e, small powers written out. */
static void power_label(FILE *f, double x, double y, int e)
{
    if (e >= 0 && e < 14)
        fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" class=\"m\">%d</text>\n", x, y, 1 << e);
    else
        fprintf(f,
                "<text x=\"%.1f\" y=\"%.1f\" class=\"m\">2<tspan dy=\"-5\" "
                "style=\"font-size:9px\">%d</tspan></text>\n",
                x, y, e);
}

/* Counts of 1 are a bar of half a decade, so that they can be seen. */
static double bar_height(uint64_t count, double decades)
{
    return HIST_PANEL * (log10((double)count) + 0.5) / (decades + 0.5);
}

static void histogram_grid(FILE *f, double top, double decades)
{
    const int step = decades > 6 ? 3 : decades > 3 ? 2 : 1;

    for (int d = 0; d <= (int)decades; d += step) {
        const double y = top + HIST_PANEL * (1 - (d + 0.5) / (decades + 0.5));
        char label[TEXT_NUMBER_LEN];

        text_group((uint64_t)(pow(10, d) + 0.5), label);
        fprintf(f, "<path d=\"M%d %.1fH%d\" class=\"grid\"/>", HIST_LEFT, y, HIST_WIDTH - 8);
        if (d < 7) {
            svg_label(f, HIST_LEFT - 6, y + 4, "e soft", label, 0);
        } else {
            fprintf(f,
                    "<text x=\"%d\" y=\"%.1f\" class=\"e soft\">10<tspan dy=\"-5\" "
                    "style=\"font-size:9px\">%d</tspan></text>\n",
                    HIST_LEFT - 6, y + 4, d);
        }
    }
}

static void histogram_panel(FILE *f, const svg_histogram *panel, double top, const span *s,
                            int first, const char *unit, unsigned series)
{
    const double width = (double)(HIST_WIDTH - HIST_LEFT - 8) / (double)(s->end - s->first);

    svg_label(f, HIST_LEFT, top - 10, "b", panel->name, 32);
    histogram_grid(f, top, s->decades);
    fprintf(f, "<g class=\"s%u\">\n", series % 4 + 1);
    for (size_t i = s->first; i < s->end && i < panel->n; i++) {
        const uint64_t count = panel->counts[i];
        const double height = count ? bar_height(count, s->decades) : 0;
        const int e = first + (int)i;
        char number[TEXT_NUMBER_LEN];

        if (!count)
            continue;
        text_group(count, number);
        fprintf(f,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>2^%d to 2^%d: "
                "%s %s</title></rect>\n",
                HIST_LEFT + width * (double)(i - s->first) + 1, top + HIST_PANEL - height,
                fmax(width - 2, 1), height, e, e + 1, number, unit);
    }
    fprintf(f, "</g>\n<path d=\"M%d %.1fH%d\" class=\"axis\"/>\n", HIST_LEFT, top + HIST_PANEL,
            HIST_WIDTH - 8);
}

void svg_histogram_draw(FILE *f, const svg_head *head, const svg_histogram *panels, size_t n_panels,
                        int first, const char *axis, const char *unit)
{
    const span s = span_of(panels, n_panels);
    const double width = (double)(HIST_WIDTH - HIST_LEFT - 8) / (double)(s.end - s.first);
    const double bottom = (double)n_panels * (HIST_PANEL + HIST_GAP);
    const size_t step = (size_t)ceil(38 / width);

    svg_begin(f, head, HIST_WIDTH, bottom + HIST_BOTTOM);
    for (size_t p = 0; p < n_panels; p++)
        histogram_panel(f, &panels[p], (double)p * (HIST_PANEL + HIST_GAP) + HIST_GAP, &s, first,
                        unit, (unsigned)p);
    for (size_t i = s.first; i < s.end; i += step)
        power_label(f, HIST_LEFT + width * (double)(i - s.first) + 1, bottom + 17, first + (int)i);
    svg_label(f, (HIST_LEFT + HIST_WIDTH) / 2.0, bottom + 36, "m soft", axis, 0);
    svg_end(f);
}

/* ---- bars -------------------------------------------------------------------------------------
 */

#define BARS_WIDTH 760
#define BAR_STEP   34
#define BAR_HEIGHT 20

void svg_bars_draw(FILE *f, const svg_head *head, const svg_bar *bars, size_t n)
{
    size_t name_chars = 0, value_chars = 0;
    double most = 0, left, room;

    for (size_t i = 0; i < n; i++) {
        const size_t name = text_columns(bars[i].name), value = text_columns(bars[i].value);

        name_chars = name > name_chars ? name : name_chars;
        value_chars = value > value_chars ? value : value_chars;
        most = fmax(most, bars[i].size);
    }
    if (name_chars > 40)
        name_chars = 40;
    left = svg_text_width(name_chars) + 12;
    room = BARS_WIDTH - left - svg_text_width(value_chars) - 12;
    svg_begin(f, head, BARS_WIDTH, (double)n * BAR_STEP + 4);
    for (size_t i = 0; i < n; i++) {
        const double y = (double)i * BAR_STEP + 6;
        const double width = most > 0 ? fmax(room * bars[i].size / most, 2) : 2;

        svg_label(f, left - 10, y + 15, "e", bars[i].name, 40);
        fprintf(f,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"2\" "
                "class=\"s%d\"/>\n",
                left, y, width, BAR_HEIGHT, bars[i].marked ? 1 : 2);
        svg_label(f, left + width + 8, y + 15, "", bars[i].value, 0);
    }
    fprintf(f, "<path d=\"M%.1f 0V%.1f\" class=\"axis\"/>\n", left, (double)n * BAR_STEP + 4);
    svg_end(f);
}
