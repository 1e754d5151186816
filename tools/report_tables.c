/*
 * Tables of tensors on the page of inspect --html: all of them where a page has room for that, else
 * layer by layer, and those that change most.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_html.h"
#include "summary.h"
#include "textutil.h"

#define TENSORS_MAX 2000 /* rows of a table */
#define LAYERS_MAX  200
#define TOP         100

/* ---- columns ----------------------------------------------------------------------------------
 */

#define FIXED_MAX   9
#define COLUMNS_MAX (FIXED_MAX + 3)

/* Columns and cells of one row: some that a table always has, then those of the sums that there is
 * something to say of. */
typedef struct row_cells {
    char relative[TEXT_NUMBER_LEN], largest[TEXT_NUMBER_LEN], odd[TEXT_NUMBER_LEN];
    const char *cells[COLUMNS_MAX];
    size_t n;
} row_cells;

static size_t more_columns(const report_view *v, html_column *columns, size_t n)
{
    if (v->survey.has_base) {
        columns[n++] = (html_column){"relative L2", true};
        columns[n++] = (html_column){"largest |\xce\x94|", true};
    }
    if (v->survey.total.n_odd)
        columns[n++] = (html_column){"new NaN, infinite", true};
    return n;
}

/* Norm of the change over the norm of the base. */
static void relative_text(const survey_sum *s, char out[TEXT_NUMBER_LEN])
{
    if (!(s->base_squares > 0))
        snprintf(out, TEXT_NUMBER_LEN, s->change_squares > 0 ? "\xe2\x88\x9e" : "0");
    else if (!isfinite(s->change_squares))
        snprintf(out, TEXT_NUMBER_LEN, "\xe2\x88\x9e");
    else
        snprintf(out, TEXT_NUMBER_LEN, "%.3g", sqrt(s->change_squares / s->base_squares));
}

static void change_text(const survey_sum *s, char out[TEXT_NUMBER_LEN])
{
    if (isfinite(s->change_max))
        snprintf(out, TEXT_NUMBER_LEN, "%.3g", s->change_max);
    else
        snprintf(out, TEXT_NUMBER_LEN, "\xe2\x88\x9e");
}

static void more_cells(const report_view *v, const survey_sum *s, row_cells *r)
{
    if (v->survey.has_base) {
        relative_text(s, r->relative);
        change_text(s, r->largest);
        r->cells[r->n++] = r->relative;
        r->cells[r->n++] = r->largest;
    }
    if (v->survey.total.n_odd) {
        text_group(s->n_odd, r->odd);
        r->cells[r->n++] = r->odd;
    }
}

/* What every row says of a sum. */
typedef struct sum_texts {
    char changed[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN], up[TEXT_NUMBER_LEN];
    char down[TEXT_NUMBER_LEN], step[TEXT_NUMBER_LEN];
} sum_texts;

static void format_sum(const survey_sum *s, sum_texts *t)
{
    text_group(s->n_changed, t->changed);
    text_percent(s->n_changed, s->n_elements, t->percent);
    text_group(s->n_up, t->up);
    text_group(s->n_down, t->down);
    text_group(s->max_residual, t->step);
}

/* ---- tensors ----------------------------------------------------------------------------------
 */

static size_t tensor_columns(const report_view *v, html_column columns[COLUMNS_MAX])
{
    static const html_column fixed[FIXED_MAX] = {
        {"tensor", false}, {"dtype", false},  {"shape", false},
        {"state", false},  {"changed", true}, {"share", true},
        {"up", true},      {"down", true},    {"largest step", true}};

    memcpy(columns, fixed, sizeof fixed);
    return more_columns(v, columns, FIXED_MAX);
}

static void tensor_row(FILE *f, const report_view *v, const html_column *columns,
                       const survey_tensor *x)
{
    const fmp_patch_tensor t = fmp_patch_tensor_at(v->in->patch, x->tensor);
    const fmp_tensor_info *info = t.target.name ? &t.target : &t.base;
    char *shape = summary_shape(info);
    char *state = t.source ? text_format("%s of %s", summary_state(t.state), t.source)
                           : text_copy(summary_state(t.state));
    sum_texts s;
    row_cells r = {.cells = {info->name, info->dtype, shape, state, s.changed, s.percent, s.up,
                             s.down, s.step},
                   .n = FIXED_MAX};

    format_sum(&x->sum, &s);
    more_cells(v, &x->sum, &r);
    html_table_row(f, columns, r.cells, r.n);
    free(shape);
    free(state);
}

/* ---- the largest ------------------------------------------------------------------------------
 */

typedef double (*rank_fn)(const survey_sum *s);

static double share(const survey_sum *s)
{
    return s->n_elements ? (double)s->n_changed / (double)s->n_elements : 0;
}

static double step(const survey_sum *s)
{
    return (double)s->max_residual;
}

static double odd(const survey_sum *s)
{
    return (double)s->n_odd;
}

/* Puts `x` where it belongs in a list that goes down; equal ones stay in the order of names. */
static size_t insert(const survey_tensor **list, size_t n, const survey_tensor *x, rank_fn rank)
{
    size_t at = n;

    if (n == TOP && rank(&list[n - 1]->sum) >= rank(&x->sum))
        return n;
    while (at && rank(&list[at - 1]->sum) < rank(&x->sum))
        at--;
    n += n < TOP;
    memmove(list + at + 1, list + at, (n - 1 - at) * sizeof *list);
    list[at] = x;
    return n;
}

static void top_table(FILE *f, const report_view *v, rank_fn rank, const char *caption)
{
    html_column columns[COLUMNS_MAX];
    const size_t n_columns = tensor_columns(v, columns);
    const survey_tensor *list[TOP];
    size_t n = 0;

    for (size_t i = 0; i < v->survey.n; i++) {
        if (rank(&v->survey.tensors[i].sum) > 0)
            n = insert(list, n, &v->survey.tensors[i], rank);
    }
    if (!n)
        return;
    html_table_begin(f, caption, columns, n_columns, false);
    for (size_t i = 0; i < n; i++)
        tensor_row(f, v, columns, list[i]);
    html_table_end(f, false);
}

/* ---- by layer ---------------------------------------------------------------------------------
 */

typedef struct layer_row {
    int32_t first, last; /* -1: in no layer */
    uint64_t n_tensors;
    survey_sum sum;
} layer_row;

static int compare_layers(const void *a, const void *b)
{
    const survey_tensor *x = *(const survey_tensor *const *)a;
    const survey_tensor *y = *(const survey_tensor *const *)b;

    /* Without a sign -1, which is no layer, is the largest. */
    if (x->layer != y->layer)
        return (uint32_t)x->layer < (uint32_t)y->layer ? -1 : 1;
    return (x->tensor > y->tensor) - (x->tensor < y->tensor); /* sums in one order */
}

static void add_tensor(layer_row *to, const survey_tensor *t)
{
    to->last = t->layer;
    to->n_tensors++;
    survey_add(&to->sum, &t->sum);
}

static size_t count_layers(const survey_tensor *const *list, size_t n)
{
    size_t layers = 0;

    for (size_t i = 0; i < n; i++)
        layers += !i || list[i]->layer != list[i - 1]->layer;
    return layers;
}

/* A row a layer or, where these are too many, neighbours joined evenly; `rows` has room for
 * LAYERS_MAX and one more.  Returns how many rows there are. */
static size_t sum_layers(const survey *s, layer_row *rows, size_t *ret_layers)
{
    const survey_tensor **list = text_alloc(s->n * sizeof *list);
    size_t n = 0, layer = 0, before = 0;

    for (size_t i = 0; i < s->n; i++)
        list[i] = &s->tensors[i];
    qsort(list, s->n, sizeof *list, compare_layers);
    *ret_layers = count_layers(list, s->n);
    for (size_t i = 0; i < s->n; i++) {
        const bool is_next = i && list[i]->layer != list[i - 1]->layer;
        size_t place;

        layer += is_next;
        place = *ret_layers > LAYERS_MAX ? layer * LAYERS_MAX / *ret_layers : layer;
        if (!i || place != before || (is_next && list[i]->layer < 0))
            rows[n++] = (layer_row){.first = list[i]->layer};
        add_tensor(&rows[n - 1], list[i]);
        before = place;
    }
    free(list);
    return n;
}

static char *layer_name(const layer_row *r)
{
    if (r->first < 0)
        return text_copy("none");
    return r->first == r->last ? text_format("%" PRId32, r->first)
                               : text_format("%" PRId32 "\xe2\x80\x93%" PRId32, r->first, r->last);
}

static void layer_cells(FILE *f, const report_view *v, const html_column *columns,
                        const layer_row *row)
{
    char *name = layer_name(row);
    char tensors[TEXT_NUMBER_LEN], elements[TEXT_NUMBER_LEN];
    sum_texts s;
    row_cells r = {.cells = {name, tensors, elements, s.changed, s.percent, s.up, s.down, s.step},
                   .n = 8};

    text_group(row->n_tensors, tensors);
    text_group(row->sum.n_elements, elements);
    format_sum(&row->sum, &s);
    more_cells(v, &row->sum, &r);
    html_table_row(f, columns, r.cells, r.n);
    free(name);
}

static void layer_table(FILE *f, const report_view *v)
{
    html_column columns[COLUMNS_MAX] = {
        {"layer", true}, {"tensors", true}, {"elements", true}, {"changed", true},
        {"share", true}, {"up", true},      {"down", true},     {"largest step", true}};
    layer_row *rows = text_alloc((LAYERS_MAX + 1) * sizeof *rows);
    size_t n_layers;
    const size_t n = sum_layers(&v->survey, rows, &n_layers);
    char *caption = n < n_layers ? text_format("Layers; %zu of them, joined evenly", n_layers)
                                 : text_copy("Layers");

    html_table_begin(f, caption, columns, more_columns(v, columns, 8), false);
    for (size_t i = 0; i < n; i++)
        layer_cells(f, v, columns, &rows[i]);
    html_table_end(f, false);
    free(caption);
    free(rows);
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static void all_table(FILE *f, const report_view *v)
{
    html_column columns[COLUMNS_MAX];
    const size_t n = tensor_columns(v, columns);

    html_table_begin(f, "All tensors, in byte order of their names", columns, n, false);
    for (size_t i = 0; i < v->survey.n; i++)
        tensor_row(f, v, columns, &v->survey.tensors[i]);
    html_table_end(f, false);
}

void report_html_tensors(FILE *f, const report_view *v)
{
    char n[TEXT_NUMBER_LEN];
    char *text;

    html_element(f, "h2", "tensors", "Tensors");
    if (v->survey.has_base)
        html_element(f, "p", NULL,
                     "Relative L2: the norm of the change over the norm of the base. Largest "
                     "|\xce\x94|: the largest difference of a value.");
    html_element(f, "h3", NULL, "By layer");
    layer_table(f, v);
    html_element(f, "h3", NULL, "One by one");
    if (v->survey.n <= TENSORS_MAX) {
        all_table(f, v);
        return;
    }
    text_group(v->survey.n, n);
    text = text_format("Of %s tensors those that change most.", n);
    html_element(f, "p", NULL, text);
    free(text);
    top_table(f, v, share, "The largest share of changed elements, up to 100 tensors");
    top_table(f, v, step, "The largest step, up to 100 tensors");
    top_table(f, v, odd, "The most new NaN and infinite values, up to 100 tensors");
}
