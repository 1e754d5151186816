/*
 * Sections of the page of inspect --html: where in the model the changes lie, how far they go, and
 * what the patch costs beside other ways to send them.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "grid.h"
#include "report_html.h"
#include "svg.h"
#include "textutil.h"

#define ROWS_MAX    200
#define CELLS_MAX   2000
#define EXPERTS_MAX 64
#define LORA_RANK   16

/* ---- where ------------------------------------------------------------------------------------
 */

static int32_t key_of(int32_t number)
{
    return number < 0 ? GRID_NONE : number;
}

static void by_role(grid *ret, const survey *s)
{
    grid_entry *entries = text_alloc(s->n * sizeof *entries);

    for (size_t i = 0; i < s->n; i++) {
        const survey_tensor *t = &s->tensors[i];

        entries[i] = (grid_entry){.row = key_of(t->layer),
                                  .column = (int32_t)t->role,
                                  .part = t->sum.n_changed,
                                  .whole = t->sum.n_elements};
    }
    grid_make(ret, entries, s->n, (grid_limits){ROWS_MAX, FMP_ROLE_COUNT, CELLS_MAX},
              grid_layer_name, grid_role_name);
    free(entries);
}

/* Returns false when there are no experts. */
static bool by_expert(grid *ret, const survey *s)
{
    grid_entry *entries = text_alloc(s->n * sizeof *entries);
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++) {
        const survey_tensor *t = &s->tensors[i];

        if (t->expert >= 0)
            entries[n++] = (grid_entry){.row = key_of(t->layer),
                                        .column = t->expert,
                                        .part = t->sum.n_changed,
                                        .whole = t->sum.n_elements};
    }
    if (n)
        grid_make(ret, entries, n, (grid_limits){ROWS_MAX, EXPERTS_MAX, CELLS_MAX}, grid_layer_name,
                  grid_layer_name);
    free(entries);
    return n > 0;
}

static void heat(FILE *f, const grid *g, const svg_head *head, const char *column_word,
                 const char *caption)
{
    const svg_heat h = {.n_rows = g->n_rows,
                        .n_columns = g->n_columns,
                        .rows = g->rows,
                        .columns = g->columns,
                        .part = g->part,
                        .whole = g->whole,
                        .by_log = true,
                        .row_word = "layer ",
                        .unit = "elements"};
    char *text = text_copy(caption);

    if (g->n_row_keys > g->n_rows || g->n_column_keys > g->n_columns) {
        char *longer = text_format("%s The model has %zu layers and %zu %s; neighbours are added "
                                   "up evenly, so that %zu rows and %zu columns remain.",
                                   text, g->n_row_keys, g->n_column_keys, column_word, g->n_rows,
                                   g->n_columns);

        free(text);
        text = longer;
    }
    html_figure_begin(f);
    svg_heat_draw(f, head, &h);
    html_figure_end(f, text);
    free(text);
    svg_heat_table(f, &h, "layer", head->title);
}

void report_html_where(FILE *f, const report_view *v)
{
    const svg_head roles = {
        .id = "roles",
        .title = "Share of elements that change, by layer and role",
        .desc = "Rows are layers, columns are roles of tensors; darker is more. The numbers stand "
                "in the table below."};
    const svg_head experts = {
        .id = "experts",
        .title = "Share of elements that change, by layer and expert",
        .desc = "Rows are layers, columns are experts; darker is more. The numbers stand in the "
                "table below."};
    grid g;

    html_element(f, "h2", "where", "Where it changes the model");
    if (!v->survey.n) {
        html_element(f, "p", NULL, "There are no tensors.");
        return;
    }
    html_element(f, "h3", NULL, "By layer and role");
    by_role(&g, &v->survey);
    heat(f, &g, &roles, "roles",
         "Layer and role are told from the tensors' names, which are a claim and not a proof. "
         "Layers of one number are added up when a model has several stacks. An empty place has "
         "no tensor, 0 has tensors that do not change.");
    grid_release(&g);
    if (!by_expert(&g, &v->survey))
        return;
    html_element(f, "h3", NULL, "By layer and expert");
    heat(f, &g, &experts, "experts", "Tensors behind \"experts\" in their names.");
    grid_release(&g);
}

/* ---- how far ----------------------------------------------------------------------------------
 */

/* "1", "2 to 3", "2^20 to 2^21 - 1"; and for differences "2^-3 to 2^-2". */
static char *bin_name(int first, size_t i, bool steps)
{
    const int e = first + (int)i;

    if (!steps)
        return text_format("2^%d to 2^%d", e, e + 1);
    if (e == 0)
        return text_copy("1");
    return e < 14 ? text_format("%d to %d", 1 << e, (2 << e) - 1)
                  : text_format("2^%d to 2^%d \xe2\x88\x92 1", e, e + 1);
}

static void histogram_table(FILE *f, const svg_histogram *panels, size_t n, int first, bool steps,
                            const char *caption)
{
    html_column columns[SURVEY_DTYPES + 1] = {{steps ? "steps" : "|new - old|", false}};
    const char *cells[SURVEY_DTYPES + 1];
    char numbers[SURVEY_DTYPES][TEXT_NUMBER_LEN];

    for (size_t p = 0; p < n; p++) {
        columns[p + 1] = (html_column){panels[p].name, true};
        cells[p + 1] = numbers[p];
    }
    html_table_begin(f, caption, columns, n + 1, true);
    for (size_t i = 0; i < panels[0].n; i++) {
        uint64_t sum = 0;
        char *name;

        for (size_t p = 0; p < n; p++) {
            sum |= panels[p].counts[i];
            text_group(panels[p].counts[i], numbers[p]);
        }
        if (!sum)
            continue;
        name = bin_name(first, i, steps);
        cells[0] = name;
        html_table_row(f, columns, cells, n + 1);
        free(name);
    }
    html_table_end(f, true);
}

static uint64_t sum_counts(const uint64_t *counts, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += counts[i];
    return sum;
}

static void residuals(FILE *f, const survey *s)
{
    const svg_head head = {
        .id = "residuals",
        .title = "How many steps the changed elements move",
        .desc = "A histogram for each dtype, both axes logarithmic. The numbers stand in the table "
                "below."};
    svg_histogram panels[SURVEY_DTYPES];
    size_t n = 0;

    for (size_t i = 0; i < s->n_dtypes; i++) {
        /* A size of 0 bits is no step. */
        if (sum_counts(s->dtypes[i].residuals + 1, FMP_MEASURE_BITS - 1))
            panels[n++] = (svg_histogram){.name = s->dtypes[i].name,
                                          .counts = s->dtypes[i].residuals + 1,
                                          .n = FMP_MEASURE_BITS - 1};
    }
    html_element(f, "h3", NULL, "Steps");
    if (!n) {
        html_element(f, "p", NULL,
                     "No change is told as steps: all of it is new content, or new bits.");
        return;
    }
    html_figure_begin(f);
    svg_histogram_draw(f, &head, panels, n, 0, "steps in the order of values", "elements");
    html_figure_end(f, s->has_base
                           ? "How many elements (up) move by how many steps (across), by dtype. A "
                             "step of a float is one unit in the last place (ULP), a step of an "
                             "integer is 1."
                           : "How many elements (up) move by how many steps (across), by dtype. A "
                             "step of a float is one unit in the last place (ULP), a step of an "
                             "integer is 1. Without the base the longest ones may be the way round "
                             "the other end of all values.");
    histogram_table(f, panels, n, 0, true, "Elements by steps");
}

static void changes(FILE *f, const survey *s)
{
    const svg_head head = {
        .id = "changes",
        .title = "How far the values move, |new \xe2\x88\x92 old|",
        .desc = "A histogram for each dtype, both axes logarithmic. The numbers stand in the table "
                "below."};
    svg_histogram panels[SURVEY_DTYPES];
    size_t n = 0;

    html_element(f, "h3", NULL, "Values");
    for (size_t i = 0; i < s->n_dtypes; i++) {
        if (sum_counts(s->dtypes[i].changes, FMP_MEASURE_EXPONENTS))
            panels[n++] = (svg_histogram){.name = s->dtypes[i].name,
                                          .counts = s->dtypes[i].changes,
                                          .n = FMP_MEASURE_EXPONENTS};
    }
    if (!s->has_base || !n) {
        html_element(f, "p", NULL,
                     s->has_base ? "No value changes that has a counterpart in the base."
                                 : "How far values move is known with the base only (--base).");
        return;
    }
    html_figure_begin(f);
    svg_histogram_draw(f, &head, panels, n, FMP_MEASURE_EXPONENT_MIN, "|new \xe2\x88\x92 old|",
                       "elements");
    html_figure_end(f, "How many elements (up) move by how much (across), by dtype. Elements that "
                       "the base lacks are not in it, nor those that are not finite.");
    histogram_table(f, panels, n, FMP_MEASURE_EXPONENT_MIN, false, "Elements by |new - old|");
}

static void count_row(FILE *f, const html_column *columns, const char *what, uint64_t n)
{
    char number[TEXT_NUMBER_LEN];
    const char *cells[] = {what, number};

    text_group(n, number);
    html_table_row(f, columns, cells, 2);
}

static void counts(FILE *f, const survey *s)
{
    static const html_column columns[] = {{"what", false}, {"elements", true}};
    const survey_sum *t = &s->total;

    html_table_begin(f, "Counts", columns, 2, false);
    count_row(f, columns, "changed or new", t->n_changed);
    count_row(f, columns, "new, without a counterpart in the base", s->n_new);
    count_row(f, columns, "moved up", t->n_up);
    count_row(f, columns, "moved down", t->n_down);
    if (s->n_opaque)
        count_row(f, columns, "stored anew: how far they move is not known without the base",
                  s->n_opaque);
    count_row(f, columns, "largest move, in steps", t->max_residual);
    if (s->has_base)
        count_row(f, columns, "change of sign", s->n_sign_flips);
    count_row(f, columns, "new NaN", s->n_new_nan);
    count_row(f, columns, "new infinite", s->n_new_inf);
    html_table_end(f, false);
}

void report_html_how_far(FILE *f, const report_view *v)
{
    html_element(f, "h2", "far", "How far it goes");
    counts(f, &v->survey);
    residuals(f, &v->survey);
    changes(f, &v->survey);
}

/* ---- sizes ------------------------------------------------------------------------------------
 */

/* Bytes of the files that hold the target's tensors. */
static uint64_t whole_size(const fmp_patch *patch)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < fmp_patch_file_count(patch); i++) {
        const fmp_patch_file file = fmp_patch_file_at(patch, i);

        sum += file.state == FMP_FILE_WEIGHTS ? file.size : 0;
    }
    return sum;
}

/* Two thin matrices, rows x r and r x columns, for each changed matrix, in its own dtype; never
 * more than the matrix (Hu et al. 2021, arXiv 2106.09685, equation 3). */
static uint64_t lora_size(const report_view *v, size_t *ret_n)
{
    uint64_t sum = 0;

    *ret_n = 0;
    for (size_t i = 0; i < v->survey.n; i++) {
        const survey_tensor *x = &v->survey.tensors[i];
        const fmp_patch_tensor t = fmp_patch_tensor_at(v->in->patch, x->tensor);
        double bytes;

        if (!x->sum.n_changed || !t.base.name || t.target.rank != 2 || !t.target.n_elements)
            continue;
        bytes = LORA_RANK * ((double)t.target.shape[0] + (double)t.target.shape[1]) *
                (double)t.target.n_bytes / (double)t.target.n_elements;
        sum += bytes < (double)t.target.n_bytes ? (uint64_t)bytes : t.target.n_bytes;
        (*ret_n)++;
    }
    return sum;
}

typedef struct size_row {
    const char *name, *how;
    uint64_t size;
} size_row;

static char *size_text(uint64_t size, uint64_t patch)
{
    char bytes[TEXT_NUMBER_LEN];

    text_bytes(size, bytes);
    return size == patch ? text_copy(bytes)
                         : text_format("%s, %.*f times the patch", bytes,
                                       (double)size < 10.0 * (double)patch ? 2 : 0,
                                       (double)size / (double)patch);
}

static void size_bars(FILE *f, const size_row *rows, size_t n)
{
    const svg_head head = {.id = "sizes-figure",
                           .title = "Size of the patch beside other ways to send the change",
                           .desc = "Horizontal bars on a linear scale. The numbers stand at the "
                                   "bars and in the table below."};
    svg_bar bars[4];
    char *values[4];

    for (size_t i = 0; i < n; i++) {
        values[i] = size_text(rows[i].size, rows[0].size);
        bars[i] = (svg_bar){.name = rows[i].name,
                            .value = values[i],
                            .size = (double)rows[i].size,
                            .marked = i == 0};
    }
    svg_bars_draw(f, &head, bars, n);
    for (size_t i = 0; i < n; i++)
        free(values[i]);
}

static void size_table(FILE *f, const size_row *rows, size_t n)
{
    static const html_column columns[] = {{"what", false}, {"bytes", true}, {"how", false}};

    html_table_begin(f, "Sizes", columns, 3, false);
    for (size_t i = 0; i < n; i++) {
        char number[TEXT_NUMBER_LEN];
        const char *cells[] = {rows[i].name, number, rows[i].how};

        text_group(rows[i].size, number);
        html_table_row(f, columns, cells, 3);
    }
    html_table_end(f, false);
}

void report_html_sizes(FILE *f, const report_view *v)
{
    size_row rows[4];
    size_t n = 0, n_matrices;
    const uint64_t lora = lora_size(v, &n_matrices);

    rows[n++] =
        (size_row){"this patch", "measured: the file", fmp_patch_summarize(v->in->patch).file_size};
    rows[n++] =
        (size_row){"whole checkpoint", "measured: the target's files", whole_size(v->in->patch)};
    if (n_matrices)
        rows[n++] =
            (size_row){"LoRA, rank 16", "computed from the shapes of changed matrices", lora};
    if (v->base)
        rows[n++] = (size_row){"dense XOR, zstd -1", "measured: target XOR base, 1 MiB at a time",
                               v->xor_size};
    html_element(f, "h2", "sizes", "What it costs");
    html_figure_begin(f);
    size_bars(f, rows, n);
    html_figure_end(
        f, v->base ? "A LoRA of rank 16 is an estimate: 16 \xc3\x97 (rows + columns) elements of "
                     "the tensor's dtype for each two-dimensional tensor that changes, tensors of "
                     "other ranks left out. It would not give this target bit for bit."
                   : "A LoRA of rank 16 is an estimate: 16 \xc3\x97 (rows + columns) elements of "
                     "the tensor's dtype for each two-dimensional tensor that changes, tensors of "
                     "other ranks left out. It would not give this target bit for bit. The size of "
                     "a dense XOR is left out: it can be measured with the base only (--base).");
    size_table(f, rows, n);
}
