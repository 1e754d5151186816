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

#define COLUMNS 11 /* the last two with a base only */

static const html_column columns[COLUMNS] = {
    {"tensor", false},
    {"dtype", false},
    {"shape", false},
    {"state", false},
    {"changed", true},
    {"share", true},
    {"up", true},
    {"down", true},
    {"largest step", true},
    {"relative L2", true},
    {"largest |\xce\x94|", true},
};

static size_t n_columns(const report_view *v)
{
    return v->survey.has_base ? COLUMNS : COLUMNS - 2;
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

typedef struct sum_texts {
    char changed[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN], up[TEXT_NUMBER_LEN];
    char down[TEXT_NUMBER_LEN], step[TEXT_NUMBER_LEN];
    char relative[TEXT_NUMBER_LEN], largest[TEXT_NUMBER_LEN];
} sum_texts;

static void format_sum(const survey_sum *s, sum_texts *t)
{
    text_group(s->n_changed, t->changed);
    text_percent(s->n_changed, s->n_elements, t->percent);
    text_group(s->n_up, t->up);
    text_group(s->n_down, t->down);
    text_group(s->max_residual, t->step);
    relative_text(s, t->relative);
    change_text(s, t->largest);
}

static void tensor_row(FILE *f, const report_view *v, const survey_tensor *x)
{
    const fmp_patch_tensor t = fmp_patch_tensor_at(v->in->patch, x->tensor);
    const fmp_tensor_info *info = t.target.name ? &t.target : &t.base;
    char *shape = summary_shape(info);
    char *state = t.source ? text_format("%s of %s", summary_state(t.state), t.source)
                           : text_copy(summary_state(t.state));
    sum_texts s;
    const char *cells[COLUMNS] = {info->name, info->dtype, shape,  state,      s.changed, s.percent,
                                  s.up,       s.down,      s.step, s.relative, s.largest};

    format_sum(&x->sum, &s);
    html_table_row(f, columns, cells, n_columns(v));
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
    const survey_tensor *list[TOP];
    size_t n = 0;

    for (size_t i = 0; i < v->survey.n; i++) {
        if (rank(&v->survey.tensors[i].sum) > 0)
            n = insert(list, n, &v->survey.tensors[i], rank);
    }
    if (!n)
        return;
    html_table_begin(f, caption, columns, n_columns(v), false);
    for (size_t i = 0; i < n; i++)
        tensor_row(f, v, list[i]);
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

static void layer_table(FILE *f, const report_view *v)
{
    static const html_column by_layer[] = {{"layer", true},       {"tensors", true},
                                           {"elements", true},    {"changed", true},
                                           {"share", true},       {"up", true},
                                           {"down", true},        {"largest step", true},
                                           {"relative L2", true}, {"largest |\xce\x94|", true}};
    const size_t n_cells = v->survey.has_base ? 10 : 8;
    layer_row *rows = text_alloc((LAYERS_MAX + 1) * sizeof *rows);
    size_t n_layers;
    const size_t n = sum_layers(&v->survey, rows, &n_layers);
    char *caption = n < n_layers ? text_format("Layers; %zu of them, joined evenly", n_layers)
                                 : text_copy("Layers");

    html_table_begin(f, caption, by_layer, n_cells, false);
    for (size_t i = 0; i < n; i++) {
        char *name = layer_name(&rows[i]);
        char tensors[TEXT_NUMBER_LEN], elements[TEXT_NUMBER_LEN];
        sum_texts s;
        const char *cells[] = {name, tensors, elements, s.changed,  s.percent,
                               s.up, s.down,  s.step,   s.relative, s.largest};

        text_group(rows[i].n_tensors, tensors);
        text_group(rows[i].sum.n_elements, elements);
        format_sum(&rows[i].sum, &s);
        html_table_row(f, by_layer, cells, n_cells);
        free(name);
    }
    html_table_end(f, false);
    free(caption);
    free(rows);
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static void all_table(FILE *f, const report_view *v)
{
    html_table_begin(f, "All tensors, in byte order of their names", columns, n_columns(v), false);
    for (size_t i = 0; i < v->survey.n; i++)
        tensor_row(f, v, &v->survey.tensors[i]);
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
}
