/*
 * UpSet: which sets meet, and in how many elements.  A column for each combination, the largest
 * first; below it dots in the rows of its members; beside the rows how large the sets are.
 * Lex, Gehlenborg, Strobelt, Vuillemot & Pfister 2014, doi:10.1109/TVCG.2014.2346248, figure 1.
 */
#include <math.h>

#include "html.h"
#include "svg.h"
#include "textutil.h"

#define COLUMN     23
#define ROW        22
#define BARS       150 /* height of the bars of combinations */
#define SIZE_BARS  90  /* width of the bars of sets */
#define NAME_CHARS 22
#define TOP        14

typedef struct frame {
    double names, left; /* where the bars of sets end, where the columns begin */
    double most, most_size;
} frame;

static frame frame_of(const svg_upset *u)
{
    frame x = {.names = SIZE_BARS + 58};
    size_t chars = 0;

    for (size_t i = 0; i < u->n_sets; i++) {
        const size_t n = text_columns(u->names[i]);

        chars = n > chars ? n : chars;
        x.most_size = fmax(x.most_size, (double)u->sizes[i]);
    }
    for (size_t c = 0; c < u->n_columns; c++)
        x.most = fmax(x.most, (double)u->counts[c]);
    x.left = x.names + svg_text_width(chars < NAME_CHARS ? chars : NAME_CHARS) + 22;
    return x;
}

/* "12,345", or "1.23M" where that is long; elements are no bytes. */
static void short_count(double v, char out[TEXT_NUMBER_LEN])
{
    if (v < 1e5)
        text_group((uint64_t)v, out);
    else
        snprintf(out, TEXT_NUMBER_LEN, "%.3g%s",
                 v < 1e6   ? v / 1e3
                 : v < 1e9 ? v / 1e6
                           : v / 1e9,
                 v < 1e6   ? "k"
                 : v < 1e9 ? "M"
                           : "G");
}

static void draw_axis(FILE *f, const svg_upset *u, const frame *x)
{
    const double right = x->left + (double)u->n_columns * COLUMN;

    for (int i = 0; i <= 4; i++) {
        const double y = TOP + BARS * (1 - i / 4.0);
        char label[TEXT_NUMBER_LEN];

        if (x->most < 4 && i % 4)
            continue;
        short_count(x->most * i / 4, label);
        fprintf(f, "<path d=\"M%.1f %.1fH%.1f\" class=\"grid\"/>", x->left - 4, y, right);
        svg_label(f, x->left - 8, y + 4, "e soft", label, 0);
    }
}

static void draw_column(FILE *f, const svg_upset *u, const frame *x, size_t c)
{
    const double middle = x->left + ((double)c + 0.5) * COLUMN;
    const double height = x->most > 0 ? fmax(BARS * (double)u->counts[c] / x->most, 1) : 1;
    size_t first = u->n_sets, last = 0;
    char count[TEXT_NUMBER_LEN];

    text_group(u->counts[c], count);
    fprintf(f,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" class=\"s1\"><title>%s "
            "elements</title></rect>\n",
            middle - COLUMN / 2.0 + 3, TOP + BARS - height, COLUMN - 6, height, count);
    for (size_t i = 0; i < u->n_sets; i++) {
        const bool is_in = u->members[c] >> i & 1;

        if (is_in && first > i)
            first = i;
        last = is_in ? i : last;
        fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" %s/>", middle,
                TOP + BARS + 14 + ((double)i + 0.5) * ROW, is_in ? 6 : 4,
                is_in ? "style=\"fill:var(--ink)\"" : "style=\"fill:var(--line)\"");
    }
    if (first < last)
        fprintf(f, "<path d=\"M%.1f %.1fV%.1f\" style=\"stroke:var(--ink);stroke-width:2\"/>",
                middle, TOP + BARS + 14 + ((double)first + 0.5) * ROW,
                TOP + BARS + 14 + ((double)last + 0.5) * ROW);
    fputc('\n', f);
}

static void draw_set(FILE *f, const svg_upset *u, const frame *x, size_t i)
{
    const double y = TOP + BARS + 14 + (double)i * ROW;
    const double width =
        x->most_size > 0 ? fmax(SIZE_BARS * (double)u->sizes[i] / x->most_size, 1) : 1;
    char count[TEXT_NUMBER_LEN];

    short_count((double)u->sizes[i], count);
    fprintf(f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" class=\"s2\"/>\n",
            x->names - width, y + 4, width, ROW - 8);
    svg_label(f, x->names - width - 6, y + 15, "e soft", count, 0);
    svg_label(f, x->names + 8, y + 15, "", u->names[i], NAME_CHARS);
}

void svg_upset_draw(FILE *f, const svg_head *head, const svg_upset *u)
{
    const frame x = frame_of(u);

    svg_begin(f, head, x.left + (double)u->n_columns * COLUMN + 4,
              TOP + BARS + 20 + (double)u->n_sets * ROW);
    draw_axis(f, u, &x);
    for (size_t i = 0; i < u->n_sets; i++)
        draw_set(f, u, &x, i);
    for (size_t c = 0; c < u->n_columns; c++)
        draw_column(f, u, &x, c);
    svg_end(f);
}
