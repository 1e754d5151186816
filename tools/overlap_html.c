/*
 * The page of overlap --html.  Bars for up to three patches, UpSet for up to thirty, a matrix for
 * more; tables of all pairs always.  Must not know where its numbers come from.
 */
#include "overlap_html.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "grid.h"
#include "svg.h"
#include "textutil.h"

#define BARS_MAX   3
#define UPSET_MAX  30
#define COLUMNS    24  /* of UpSet */
#define ROWS_MAX   100 /* of the table of combinations */
#define LAYERS_MAX 200
#define CELLS_MAX  2000

/* ---- names and numbers ------------------------------------------------------------------------
 */

/* "3 task.fmp": names may be equal or long, numbers are not.  To release with free_labels(). */
static char **labels_of(const overlap_view *v)
{
    char **labels = text_alloc(v->n * sizeof *labels);

    for (size_t i = 0; i < v->n; i++)
        labels[i] = text_format("%zu %s", i + 1, v->names[i]);
    return labels;
}

static void free_labels(char **labels, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(labels[i]);
    free(labels);
}

static size_t count_members(uint64_t members)
{
    size_t n = 0;

    for (; members; members &= members - 1)
        n++;
    return n;
}

/* "1, 3, 4", to free. */
static char *members_text(uint64_t members)
{
    char *all = text_copy("");

    for (unsigned i = 0; i < 64; i++) {
        char *longer;

        if (!(members >> i & 1))
            continue;
        longer = text_format("%s%s%u", all, *all ? ", " : "", i + 1);
        free(all);
        all = longer;
    }
    return all;
}

static int compare_combinations(const void *a, const void *b)
{
    const overlap_combination *x = a, *y = b;

    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return (x->members > y->members) - (x->members < y->members);
}

/* The largest first; to free. */
static overlap_combination *sorted(const overlap_view *v)
{
    overlap_combination *list = text_alloc(v->n_combinations * sizeof *list);

    if (v->n_combinations)
        memcpy(list, v->combinations, v->n_combinations * sizeof *list);
    qsort(list, v->n_combinations, sizeof *list, compare_combinations);
    return list;
}

static uint64_t total_of(const overlap_view *v, size_t least_members)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < v->n_combinations; i++) {
        if (count_members(v->combinations[i].members) >= least_members)
            sum += v->combinations[i].n;
    }
    return sum;
}

/* ---- the patches ------------------------------------------------------------------------------
 */

/* Elements that this patch shares with at least one other. */
static uint64_t shared_of(const overlap_view *v, size_t patch)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < v->n_combinations; i++) {
        const uint64_t members = v->combinations[i].members;

        if (members >> patch & 1 && count_members(members) > 1)
            sum += v->combinations[i].n;
    }
    return sum;
}

static void patches(FILE *f, const overlap_view *v)
{
    static const html_column columns[] = {
        {"patch", false}, {"changed", true}, {"shared", true}, {"share", true}};
    char **labels = labels_of(v);

    html_element(f, "h2", "patches", "Patches");
    html_table_begin(
        f, "Elements that each patch changes, and how many of them another one changes too",
        columns, 4, false);
    for (size_t i = 0; i < v->n; i++) {
        char changed[TEXT_NUMBER_LEN], shared[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];
        const char *cells[] = {labels[i], changed, shared, percent};

        text_group(v->changed[i], changed);
        text_group(shared_of(v, i), shared);
        text_percent(shared_of(v, i), v->changed[i], percent);
        html_table_row(f, columns, cells, 4);
    }
    html_table_end(f, false);
    free_labels(labels, v->n);
}

/* ---- combinations -----------------------------------------------------------------------------
 */

static void bars(FILE *f, const overlap_view *v, const overlap_combination *list)
{
    const svg_head head = {.id = "combinations-figure",
                           .title = "Elements by the patches that change them",
                           .desc = "Horizontal bars on a linear scale. The numbers stand at the "
                                   "bars and in the table below."};
    svg_bar bar[1 << BARS_MAX] = {{0}};
    char *names[1 << BARS_MAX];
    char values[1 << BARS_MAX][TEXT_NUMBER_LEN];
    size_t n = 0;

    for (; n < v->n_combinations && n < 1 << BARS_MAX; n++) {
        char *members = members_text(list[n].members);

        names[n] = text_format(
            "%s %s", count_members(list[n].members) > 1 ? "patches" : "only patch", members);
        text_group(list[n].n, values[n]);
        bar[n] = (svg_bar){.name = names[n],
                           .value = values[n],
                           .size = (double)list[n].n,
                           .marked = count_members(list[n].members) > 1};
        free(members);
    }
    svg_bars_draw(f, &head, bar, n);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
}

static void upset(FILE *f, const overlap_view *v, const overlap_combination *list)
{
    const svg_head head = {.id = "combinations-figure",
                           .title = "Elements by the combination of patches that change them",
                           .desc = "An UpSet plot: a bar for each combination, the largest first, "
                                   "with dots below it for the patches in it. The table below says "
                                   "the same in numbers."};
    uint64_t members[COLUMNS], counts[COLUMNS];
    char **labels = labels_of(v);
    svg_upset u = {
        .n_sets = v->n, .names = labels, .sizes = v->changed, .members = members, .counts = counts};

    for (; u.n_columns < v->n_combinations && u.n_columns < COLUMNS; u.n_columns++) {
        members[u.n_columns] = list[u.n_columns].members;
        counts[u.n_columns] = list[u.n_columns].n;
    }
    svg_upset_draw(f, &head, &u);
    free_labels(labels, v->n);
}

static void combination_table(FILE *f, const overlap_view *v, const overlap_combination *list)
{
    static const html_column columns[] = {
        {"exactly the patches", false}, {"elements", true}, {"share", true}};
    const uint64_t all = total_of(v, 1);
    char *caption =
        v->n_combinations > ROWS_MAX
            ? text_format("Combinations, the %d largest of %zu", ROWS_MAX, v->n_combinations)
            : text_copy("Combinations");

    html_table_begin(f, caption, columns, 3, v->n > BARS_MAX);
    for (size_t i = 0; i < v->n_combinations && i < ROWS_MAX; i++) {
        char *members = members_text(list[i].members);
        char count[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];
        const char *cells[] = {members, count, percent};

        text_group(list[i].n, count);
        text_percent(list[i].n, all, percent);
        html_table_row(f, columns, cells, 3);
        free(members);
    }
    html_table_end(f, v->n > BARS_MAX);
    free(caption);
}

static void combinations(FILE *f, const overlap_view *v)
{
    overlap_combination *list = sorted(v);

    html_element(f, "h2", "combinations", "What is changed by how many");
    if (!v->n_combinations) {
        html_element(f, "p", NULL, "No patch changes an element.");
    } else {
        if (v->n <= UPSET_MAX) {
            html_figure_begin(f);
            if (v->n <= BARS_MAX)
                bars(f, v, list);
            else
                upset(f, v, list);
            html_figure_end(f, v->n <= BARS_MAX || v->n_combinations <= COLUMNS
                                   ? "Each element counts once, for the patches that change it."
                                   : "Each element counts once, for the patches that change it. "
                                     "The largest combinations; smaller ones are left out.");
        }
        combination_table(f, v, list);
    }
    free(list);
}

/* ---- pairs ------------------------------------------------------------------------------------
 */

typedef struct matrix {
    char **rows, **columns;
    uint64_t *jaccard[2], *conflict[2]; /* part and whole */
} matrix;

/* Rows and columns in an order that puts like patches together; nothing on the diagonal. */
static matrix matrix_of(const overlap_view *v)
{
    matrix m = {.rows = text_alloc(v->n * sizeof *m.rows),
                .columns = text_alloc(v->n * sizeof *m.columns)};
    size_t order[64];

    overlap_order(v, order);
    for (int i = 0; i < 2; i++) {
        m.jaccard[i] = text_alloc(v->n * v->n * sizeof *m.jaccard[i]);
        m.conflict[i] = text_alloc(v->n * v->n * sizeof *m.conflict[i]);
    }
    for (size_t r = 0; r < v->n; r++) {
        m.rows[r] = text_format("%zu %s", order[r] + 1, v->names[order[r]]);
        m.columns[r] = text_format("%zu", order[r] + 1);
        for (size_t c = 0; c < v->n; c++) {
            const overlap_pair *p = &v->pairs[order[r] * v->n + order[c]];
            const size_t at = r * v->n + c;

            if (r == c)
                continue;
            m.jaccard[0][at] = p->shared;
            m.jaccard[1][at] = p->either;
            m.conflict[0][at] = p->conflicts;
            m.conflict[1][at] = p->shared;
        }
    }
    return m;
}

static void matrix_release(matrix *m, size_t n)
{
    free_labels(m->rows, n);
    free_labels(m->columns, n);
    for (int i = 0; i < 2; i++) {
        free(m->jaccard[i]);
        free(m->conflict[i]);
    }
}

static void matrix_figures(FILE *f, const overlap_view *v)
{
    const svg_head jaccard = {.id = "jaccard",
                              .title = "Jaccard index of each pair of patches",
                              .desc = "Rows and columns are patches; darker shares more. The table "
                                      "of pairs below has the numbers."};
    const svg_head conflict = {.id = "conflict",
                               .title = "Share of shared elements that move in opposite directions",
                               .desc = "Rows and columns are patches; darker conflicts more. The "
                                       "table of pairs below has the numbers."};
    matrix m = matrix_of(v);
    svg_heat h = {.n_rows = v->n,
                  .n_columns = v->n,
                  .rows = m.rows,
                  .columns = m.columns,
                  .part = m.jaccard[0],
                  .whole = m.jaccard[1],
                  .row_word = "patch ",
                  .unit = "elements"};

    html_element(f, "h3", NULL, "Shared");
    html_figure_begin(f);
    svg_heat_draw(f, &jaccard, &h);
    html_figure_end(f, "Jaccard index: elements that both change over elements that at least one "
                       "changes. Patches that share much stand side by side (average linkage).");
    h.part = m.conflict[0];
    h.whole = m.conflict[1];
    html_element(f, "h3", NULL, "In conflict");
    html_figure_begin(f);
    svg_heat_draw(f, &conflict, &h);
    html_figure_end(f, "Sign conflicts: of the elements that both change, the share that one moves "
                       "up and the other down. Pairs that share nothing are left empty.");
    matrix_release(&m, v->n);
}

static void pair_table(FILE *f, const overlap_view *v)
{
    static const html_column columns[] = {{"patches", false},  {"shared", true},
                                          {"either", true},    {"Jaccard", true},
                                          {"conflicts", true}, {"of shared", true}};

    html_table_begin(f, "Pairs of patches", columns, 6, false);
    for (size_t i = 0; i < v->n; i++) {
        for (size_t j = i + 1; j < v->n; j++) {
            const overlap_pair *p = &v->pairs[i * v->n + j];
            char *who = text_format("%zu and %zu", i + 1, j + 1);
            char shared[TEXT_NUMBER_LEN], either[TEXT_NUMBER_LEN], jaccard[TEXT_NUMBER_LEN];
            char conflicts[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];
            const char *cells[] = {who, shared, either, jaccard, conflicts, percent};

            text_group(p->shared, shared);
            text_group(p->either, either);
            snprintf(jaccard, sizeof jaccard, "%.4f",
                     p->either ? (double)p->shared / (double)p->either : 0);
            text_group(p->conflicts, conflicts);
            text_percent(p->conflicts, p->shared, percent);
            html_table_row(f, columns, cells, 6);
            free(who);
        }
    }
    html_table_end(f, false);
}

static void pairs(FILE *f, const overlap_view *v)
{
    html_element(f, "h2", "pairs", "Pairs");
    if (v->n < 2) {
        html_element(f, "p", NULL, "There is but one patch.");
        return;
    }
    if (v->n > BARS_MAX)
        matrix_figures(f, v);
    html_element(
        f, "p", NULL,
        "Set values and new content have no direction: they are shared, never in conflict.");
    pair_table(f, v);
}

/* ---- where ------------------------------------------------------------------------------------
 */

static void place_heat(FILE *f, const overlap_view *v, bool conflicts, const svg_head *head,
                       const char *caption)
{
    grid_entry *entries = text_alloc(v->n_places * sizeof *entries);
    svg_heat h = {.by_log = !conflicts, .row_word = "layer ", .unit = "elements"};
    grid g;

    for (size_t i = 0; i < v->n_places; i++) {
        const overlap_place *p = &v->places[i];

        entries[i] = (grid_entry){.row = p->layer < 0 ? GRID_NONE : p->layer,
                                  .column = (int32_t)p->role,
                                  .part = conflicts ? p->conflicts : p->shared,
                                  .whole = conflicts ? p->shared : p->any};
    }
    grid_make(&g, entries, v->n_places, (grid_limits){LAYERS_MAX, FMP_ROLE_COUNT, CELLS_MAX},
              grid_layer_name, grid_role_name);
    h.n_rows = g.n_rows;
    h.n_columns = g.n_columns;
    h.rows = g.rows;
    h.columns = g.columns;
    h.part = g.part;
    h.whole = g.whole;
    html_figure_begin(f);
    svg_heat_draw(f, head, &h);
    html_figure_end(f, caption);
    svg_heat_table(f, &h, "layer", head->title);
    if (g.n_row_keys > g.n_rows) {
        char *text =
            text_format("%zu layers: neighbours are added up evenly, so that %zu rows remain.",
                        g.n_row_keys, g.n_rows);

        html_element(f, "p", NULL, text);
        free(text);
    }
    grid_release(&g);
    free(entries);
}

static void where(FILE *f, const overlap_view *v)
{
    const svg_head shared = {.id = "where-shared",
                             .title = "Share of changed elements that several patches change",
                             .desc = "Rows are layers, columns are roles of tensors; darker is "
                                     "more. The numbers stand in the table below."};
    const svg_head conflicts = {.id = "where-conflicts",
                                .title =
                                    "Share of shared elements that move in opposite directions",
                                .desc = "Rows are layers, columns are roles of tensors; darker is "
                                        "more. The numbers stand in the table below."};

    html_element(f, "h2", "where", "Where they meet");
    if (!v->n_places) {
        html_element(f, "p", NULL, "No tensor is changed.");
        return;
    }
    html_element(f, "h3", NULL, "Shared");
    place_heat(
        f, v, false, &shared,
        "Of the elements that at least one patch changes, those that two or more change. "
        "Layer and role are told from the tensors' names, which are a claim and not a proof.");
    html_element(f, "h3", NULL, "In conflict");
    place_heat(f, v, true, &conflicts,
               "Of the elements that two or more patches change, those that one moves up and "
               "another down. An empty place has no shared element.");
}

/* ---- the page ---------------------------------------------------------------------------------
 */

static void header(FILE *f, const overlap_view *v, const char *title)
{
    char any[TEXT_NUMBER_LEN], shared[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];
    char *lead;

    text_group(total_of(v, 1), any);
    text_group(total_of(v, 2), shared);
    text_percent(total_of(v, 2), total_of(v, 1), percent);
    lead = text_format("%s elements are changed by at least one patch, %s of them (%s) by two or "
                       "more.",
                       any, shared, percent);
    fputs("<header>\n", f);
    html_element(f, "h1", NULL, title);
    html_element(f, "p", NULL, lead);
    fputs("</header>\n"
          "<nav aria-label=\"Sections\"><ul><li><a href=\"#patches\">Patches</a></li>"
          "<li><a href=\"#combinations\">Combinations</a></li><li><a href=\"#pairs\">Pairs</a></li>"
          "<li><a href=\"#where\">Where</a></li></ul></nav>\n",
          f);
    free(lead);
}

void overlap_html_write(html_page *page, const overlap_view *v)
{
    char *title = text_format("Overlap of %zu patch%s", v->n, v->n == 1 ? "" : "es");
    char *made = text_format("Made by fmpatch %s. Names are the files' own words.", fmp_version());

    html_page_begin(page, title);
    header(page->f, v, title);
    fputs("<main>\n", page->f);
    patches(page->f, v);
    combinations(page->f, v);
    pairs(page->f, v);
    where(page->f, v);
    fputs("</main>\n<footer>", page->f);
    html_element(page->f, "p", NULL, made);
    fputs("</footer>\n", page->f);
    html_page_end(page);
    free(made);
    free(title);
}
