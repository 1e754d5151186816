/*
 * What a patch is built on: base, patch and target as a chain, and the patches that it was
 * made from, each signed or not by sign and word.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "report_html.h"
#include "svg.h"
#include "textutil.h"

#define WIDTH        764
#define BOX_WIDTH    212
#define BOX_HEIGHT   84
#define BOX_GAP      62
#define PARENT_STEP  80
#define PARENTS_MAX  12 /* in the picture; the table has them all, up to ROWS_MAX */
#define ROWS_MAX     200
#define SIGNERS_MAX  16
#define BOX_CHARS    25
#define PARENT_WIDTH 440
#define PARENT_CHARS 54

/* One of the patches that this one was made of, as it tells. */
typedef struct parent {
    char *name;     /* or what else is known of it; to free */
    const char *id; /* NULL: not told */
    char *signers;  /* to free; NULL: unsigned */
} parent;

static const char *first_text(const json_t *o, const char *const *keys)
{
    for (; *keys; keys++) {
        const char *text = json_string_value(json_object_get(o, *keys));

        if (text)
            return text;
    }
    return NULL;
}

/* A key id as text, or an object that has one. */
static const char *signer_of(const json_t *o)
{
    static const char *const keys[] = {"name", "number", "key_id", "key", NULL};

    return json_is_string(o) ? json_string_value(o) : first_text(o, keys);
}

/* Ids are 64 digits, of which the first 16 tell them apart. */
static bool is_whole_id(const char *s)
{
    return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* To free; NULL when there are none. */
static char *signers_of(const json_t *list)
{
    char *all = NULL;

    for (size_t i = 0; i < json_array_size(list) && i < SIGNERS_MAX; i++) {
        const char *who = signer_of(json_array_get(list, i));
        char *longer;

        if (!who)
            continue;
        longer = text_format("%s%s%.*s%s", all ? all : "", all ? ", " : "",
                             is_whole_id(who) ? 16 : INT_MAX, who,
                             is_whole_id(who) ? "\xe2\x80\xa6" : "");
        free(all);
        all = longer;
    }
    return all;
}

/* "task of demo-line, number 3", for want of a name. */
static char *name_of(const json_t *o)
{
    static const char *const names[] = {"name", "file", "path", "patch", NULL};
    static const char *const kinds[] = {"kind", NULL}, *const lines[] = {"lineage", NULL};
    const char *name = first_text(o, names), *kind = first_text(o, kinds);
    const char *line = first_text(o, lines);
    const json_t *number = json_object_get(o, "sequence");
    char *text, *whole;

    if (name)
        return text_copy(name);
    text = text_format("%s%s%s", kind ? kind : "patch", line ? " of " : "", line ? line : "");
    if (!json_is_integer(number))
        return text;
    whole = text_format("%s, number %" JSON_INTEGER_FORMAT, text, json_integer_value(number));
    free(text);
    return whole;
}

static parent parent_of(const json_t *o)
{
    static const char *const ids[] = {"id", "patch_id", NULL};

    return (parent){.name = name_of(o),
                    .id = first_text(o, ids),
                    .signers = signers_of(json_object_get(o, "signers"))};
}

static void parent_release(parent *p)
{
    free(p->name);
    free(p->signers);
}

/* ---- the picture ------------------------------------------------------------------------------
 */

typedef struct box {
    double x, y, width, height;
    size_t most;      /* characters of a line */
    const char *kind; /* in bold */
    const char *name, *id;
    const char *mark; /* "signed ..." with its sign; NULL: nothing */
} box;

static void draw_box(FILE *f, const box *b)
{
    double y = b->y + 18;

    fprintf(f,
            "<g class=\"box\"><rect x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\" rx=\"6\" "
            "style=\"fill:var(--panel);stroke:var(--line)\"/>\n",
            b->x, b->y, b->width, b->height);
    if (b->kind) {
        svg_label(f, b->x + 10, y, "b", b->kind, b->most);
        y += 18;
    }
    if (b->name) {
        svg_label(f, b->x + 10, y, "", b->name, b->most);
        y += 18;
    }
    if (b->id) {
        svg_label(f, b->x + 10, y, "soft", b->id, b->most);
        y += 18;
    }
    if (b->mark)
        svg_label(f, b->x + 10, y, "", b->mark, b->most);
    fputs("</g>\n", f);
}

static void draw_arrow(FILE *f, double x)
{
    const double y = BOX_HEIGHT / 2.0 + 1;

    fprintf(f,
            "<path d=\"M%.0f %.0fH%.0fM%.0f %.0fl8 5l-8 5\" class=\"axis\" "
            "style=\"stroke-width:1.5\"/>\n",
            x + 6, y, x + BOX_GAP - 6, x + BOX_GAP - 14, y - 5);
}

/* A root or id, its first 16 digits. */
static void short_hex(const uint8_t bytes[32], char out[32])
{
    char hex[65];

    text_hex(bytes, 32, hex);
    snprintf(out, 32, "%.16s\xe2\x80\xa6", hex);
}

static const char *sign_of(html_mood mood)
{
    return mood == HTML_GOOD ? "\xe2\x9c\x93" : mood == HTML_BAD ? "\xe2\x9c\x97" : "?";
}

static void draw_chain(FILE *f, const report_view *v)
{
    const fmp_patch_summary s = fmp_patch_summarize(v->in->patch);
    const double step = BOX_WIDTH + BOX_GAP;
    char base[32], id[32], target[32];
    char *mark =
        text_format("%s %s", sign_of(report_trust_mood(v->verdict)), report_trust_text(v->verdict));
    box b = {.y = 1, .width = BOX_WIDTH, .height = BOX_HEIGHT, .most = BOX_CHARS};

    short_hex(s.base_root, base);
    short_hex(s.id, id);
    short_hex(s.target_root, target);
    b.x = 1;
    b.kind = "base";
    b.id = base;
    draw_box(f, &b);
    draw_arrow(f, 1 + BOX_WIDTH);
    b.x = 1 + step;
    b.kind = "this patch";
    b.name = v->in->shown;
    b.id = id;
    b.mark = mark;
    draw_box(f, &b);
    draw_arrow(f, 1 + step + BOX_WIDTH);
    b.x = 1 + 2 * step;
    b.kind = "target";
    b.name = b.mark = NULL;
    b.id = target;
    draw_box(f, &b);
    free(mark);
}

static void draw_parent(FILE *f, const parent *p, size_t i)
{
    const double x = 1 + BOX_WIDTH + BOX_GAP, y = BOX_HEIGHT + 20 + (double)i * PARENT_STEP;
    char *mark =
        p->signers ? text_format("\xe2\x9c\x93 signed by %s", p->signers) : text_copy("? unsigned");
    char *id = p->id && is_whole_id(p->id) ? text_format("%.16s\xe2\x80\xa6", p->id)
                                           : text_copy(p->id ? p->id : "no id");
    const box b = {.x = x + 40,
                   .y = y,
                   .width = PARENT_WIDTH,
                   .height = PARENT_STEP - 10,
                   .most = PARENT_CHARS,
                   .name = p->name,
                   .id = id,
                   .mark = mark};

    fprintf(f, "<path d=\"M%.0f %dV%.0fH%.0f\" class=\"axis\"/>\n", x + 18, BOX_HEIGHT + 1,
            y + (PARENT_STEP - 10) / 2.0, x + 40);
    draw_box(f, &b);
    free(id);
    free(mark);
}

static void picture(FILE *f, const report_view *v, const json_t *parents)
{
    const size_t n = json_array_size(parents);
    const size_t shown = n < PARENTS_MAX ? n : PARENTS_MAX;
    const svg_head head = {.id = "lineage-figure",
                           .title = "Base, patch and target, and what the patch was made of",
                           .desc = "Base to this patch to target, from left to right; below the "
                                   "patch those that it was made from. The table below says the "
                                   "same in words."};
    const double height =
        BOX_HEIGHT + 4 + (shown ? 16 + (double)shown * PARENT_STEP : 0) + (shown < n ? 20 : 0);

    svg_begin(f, &head, WIDTH, height);
    draw_chain(f, v);
    for (size_t i = 0; i < shown; i++) {
        parent p = parent_of(json_array_get(parents, i));

        draw_parent(f, &p, i);
        parent_release(&p);
    }
    if (shown < n) {
        char *more = text_format("and %zu more", n - shown);

        svg_label(f, 1 + BOX_WIDTH + BOX_GAP + 40, height - 6, "soft", more, 0);
        free(more);
    }
    svg_end(f);
}

/* ---- in words ---------------------------------------------------------------------------------
 */

static void table(FILE *f, const report_view *v, const json_t *parents)
{
    static const html_column columns[] = {
        {"what", false}, {"name", false}, {"root or id", false}, {"signatures", false}};
    const fmp_patch_summary s = fmp_patch_summarize(v->in->patch);
    char hex[65];
    const char *cells[4] = {"base", "", hex, ""};

    html_table_begin(f, "Lineage", columns, 4, false);
    text_hex(s.base_root, 32, hex);
    html_table_row(f, columns, cells, 4);
    text_hex(s.id, 32, hex);
    cells[0] = "this patch";
    cells[1] = v->in->shown;
    cells[3] = report_trust_text(v->verdict);
    html_table_row(f, columns, cells, 4);
    text_hex(s.target_root, 32, hex);
    cells[0] = "target";
    cells[1] = cells[3] = "";
    html_table_row(f, columns, cells, 4);
    for (size_t i = 0; i < json_array_size(parents) && i < ROWS_MAX; i++) {
        parent p = parent_of(json_array_get(parents, i));
        char *signers = p.signers ? text_format("signed by %s, as this patch says", p.signers)
                                  : text_copy("unsigned");

        cells[0] = "made from";
        cells[1] = p.name;
        cells[2] = p.id ? p.id : "";
        cells[3] = signers;
        html_table_row(f, columns, cells, 4);
        parent_release(&p);
        free(signers);
    }
    html_table_end(f, false);
}

static void sequence(FILE *f, const report_view *v)
{
    const char *lineage = json_string_value(json_object_get(v->manifest, "lineage"));
    const json_t *number = json_object_get(v->manifest, "sequence");

    if (!lineage && !json_is_integer(number))
        return;
    fputs("<p>Line of versions: ", f);
    html_name(f, lineage ? lineage : "not named");
    if (json_is_integer(number))
        fprintf(f, ", number %" JSON_INTEGER_FORMAT, json_integer_value(number));
    fputs(".</p>\n", f);
}

void report_html_lineage(FILE *f, const report_view *v)
{
    const json_t *parents = json_object_get(v->manifest, "parents");

    html_element(f, "h2", "lineage", "Lineage");
    sequence(f, v);
    html_figure_begin(f);
    picture(f, v, parents);
    html_figure_end(f, json_array_size(parents)
                           ? "The patch leads from base to target. What it was made from, and "
                             "who had signed that, is the patch's own word."
                           : "The patch leads from base to target. It names no other patches that "
                             "it was made of.");
    table(f, v, parents);
}
