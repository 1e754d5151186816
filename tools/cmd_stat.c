/*
 * fmpatch stat: what changed where, with a bar, tensor by tensor or layer by layer.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "fmpatch.h"
#include "inputs.h"
#include "progress.h"
#include "report.h"
#include "textutil.h"

#define BAR_MIN 8
#define BAR_MAX 50

typedef struct stat_args {
    common_args common;
    bool by_layer;
    const char *names;
    opt_number threads;
} stat_args;

static const opt_entry options[] = {
    {.name = "by-layer",
     .kind = OPT_FLAG,
     .offset = offsetof(stat_args, by_layer),
     .help = "one line for each layer: names up to their first number"},
    {.name = "names",
     .kind = OPT_TEXT,
     .offset = offsetof(stat_args, names),
     .arg = "GLOB",
     .help = "count the tensors whose names match"},
    {.name = "threads",
     .kind = OPT_NUMBER,
     .offset = offsetof(stat_args, threads),
     .arg = "N",
     .min = 1,
     .max = 1024,
     .help = "threads, one for each processor without it"},
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

/* A line: one tensor, or the sum of a layer. */
typedef struct stat_row {
    const char *name; /* borrowed from the patch */
    size_t name_len;
    uint64_t layer; /* the number that ends the name of a layer */
    uint64_t n_elements, n_changed, n_up, n_down, stored;
    bool hidden;  /* n_up and n_down are not known of all */
    bool touched; /* not unchanged */
} stat_row;

typedef struct stat_rows {
    stat_row *rows;
    size_t n;
    uint32_t n_touched; /* tensors */
    stat_row total;
} stat_rows;

/* ---- counting ---------------------------------------------------------------------------------
 */

static void add(stat_row *sum, const stat_row *row)
{
    sum->n_elements += row->n_elements;
    sum->n_changed += row->n_changed;
    sum->n_up += row->n_up;
    sum->n_down += row->n_down;
    sum->stored += row->stored;
    sum->touched |= row->touched;
    sum->hidden |= row->hidden;
}

static stat_row row_of(const fmp_patch_tensor *t)
{
    const fmp_tensor_info *info = t->target.name ? &t->target : &t->base;

    return (stat_row){
        .name = info->name,
        .name_len = info->name_len,
        .n_elements = info->n_elements,
        .n_changed = t->n_changed == UINT64_MAX ? info->n_elements : t->n_changed,
        .n_up = t->n_up == UINT64_MAX ? 0 : t->n_up,
        .n_down = t->n_down == UINT64_MAX ? 0 : t->n_down,
        .stored = t->stored == UINT64_MAX ? 0 : t->stored,
        .hidden = t->n_up == UINT64_MAX,
        .touched = t->state != FMP_UNCHANGED && t->state != FMP_ALIAS,
    };
}

/* "model.layers.12.mlp.weight" belongs to "model.layers.12"; a name without a number to "". */
static void cut_to_layer(stat_row *row)
{
    for (size_t at = 0; at < row->name_len;) {
        const size_t len = strcspn(row->name + at, "./");
        const size_t digits = strspn(row->name + at, "0123456789");

        if (len && digits == len && len < 10) {
            row->layer = strtoull(row->name + at, NULL, 10);
            row->name_len = at + len;
            return;
        }
        at += len + 1;
    }
    row->name_len = 0;
}

/* By what stands before the number, then by the number; what has none comes last. */
static int compare_layers(const void *a, const void *b)
{
    const stat_row *x = a, *y = b;
    size_t x_len = x->name_len, y_len = y->name_len, n;
    int c;

    if (!x_len || !y_len)
        return (x_len == 0) - (y_len == 0);
    while (x_len && x->name[x_len - 1] >= '0' && x->name[x_len - 1] <= '9')
        x_len--;
    while (y_len && y->name[y_len - 1] >= '0' && y->name[y_len - 1] <= '9')
        y_len--;
    n = x_len < y_len ? x_len : y_len;
    c = memcmp(x->name, y->name, n);
    if (c)
        return c;
    if (x_len != y_len)
        return x_len < y_len ? -1 : 1;
    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    return x->name_len < y->name_len ? -1 : x->name_len > y->name_len; /* "01" is not "1" */
}

static void join_layers(stat_rows *r)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->n; i++)
        cut_to_layer(&r->rows[i]);
    qsort(r->rows, r->n, sizeof *r->rows, compare_layers);
    for (size_t i = 0; i < r->n; i++) {
        if (kept && !compare_layers(&r->rows[kept - 1], &r->rows[i]))
            add(&r->rows[kept - 1], &r->rows[i]);
        else
            r->rows[kept++] = r->rows[i];
    }
    r->n = kept;
}

static stat_rows count(const stat_args *args, const fmp_patch *patch)
{
    const uint32_t n = fmp_patch_summarize(patch).n_tensors;
    stat_rows r = {.rows = text_alloc(n * sizeof *r.rows)};
    size_t kept = 0;

    for (uint32_t i = 0; i < n; i++) {
        const fmp_patch_tensor t = fmp_patch_tensor_at(patch, i);
        const stat_row row = row_of(&t);

        if (args->names && fnmatch(args->names, row.name, 0))
            continue;
        add(&r.total, &row);
        r.n_touched += row.touched;
        r.rows[r.n++] = row;
    }
    if (args->by_layer)
        join_layers(&r);
    for (size_t i = 0; i < r.n; i++) { /* as in diff --stat: what did not change has no line */
        if (r.rows[i].touched)
            r.rows[kept++] = r.rows[i];
    }
    r.n = kept;
    return r;
}

static char *name_of(const stat_row *row)
{
    return row->name_len ? text_escape(row->name, row->name_len) : text_copy("(no layer)");
}

/* ---- printing ---------------------------------------------------------------------------------
 */

/* '+' for elements that went up, '-' for those that went down, '=' for those that were set. */
static void print_bar(const stat_row *row, uint64_t most, size_t width)
{
    const bool color = report_has_color();
    const double scale = most > width ? (double)width / (double)most : 1;
    size_t n = (size_t)((double)row->n_changed * scale + 0.5), up, down;

    if (!n && row->n_changed)
        n = 1;
    up =
        row->n_changed ? (size_t)((double)n * (double)row->n_up / (double)row->n_changed + 0.5) : 0;
    down = row->n_changed ? (size_t)((double)n * (double)row->n_down / (double)row->n_changed + 0.5)
                          : 0;
    if (up > n)
        up = n;
    if (up + down > n)
        down = n - up;
    fputs(color && up ? "\033[32m" : "", stdout);
    for (size_t i = 0; i < up; i++)
        putchar('+');
    fputs(color && down ? "\033[31m" : color && up ? "\033[m" : "", stdout);
    for (size_t i = 0; i < down; i++)
        putchar('-');
    fputs(color && down ? "\033[m" : "", stdout);
    for (size_t i = up + down; i < n; i++)
        putchar('=');
}

/* The end of a name tells more than its beginning. */
static void print_name(const char *name, size_t columns, size_t width)
{
    if (columns <= width) {
        printf(" %s%*s", name, (int)(width - columns), "");
        return;
    }
    for (size_t skip = columns - width + 3; skip; name++)
        skip -= (name[1] & 0xc0) != 0x80;
    printf(" ...%s", name);
}

static void print_graph(const stat_rows *r)
{
    size_t name_width = 0, bar_width, fixed;
    uint64_t most = 0;
    char number[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];
    int number_width;

    for (size_t i = 0; i < r->n; i++) {
        char *name = name_of(&r->rows[i]);
        const size_t columns = text_columns(name);

        name_width = columns > name_width ? columns : name_width;
        most = r->rows[i].n_changed > most ? r->rows[i].n_changed : most;
        free(name);
    }
    text_group(most, number);
    number_width = (int)strlen(number);
    fixed = (size_t)number_width + 13; /* " ", " | ", " ", 7 of percent, " " */
    if (name_width + fixed + BAR_MIN > report_width())
        name_width = report_width() > fixed + BAR_MIN + 10 ? report_width() - fixed - BAR_MIN : 10;
    bar_width = report_width() > name_width + fixed + BAR_MIN ? report_width() - name_width - fixed
                                                              : BAR_MIN;
    if (bar_width > BAR_MAX)
        bar_width = BAR_MAX;
    for (size_t i = 0; i < r->n; i++) {
        char *name = name_of(&r->rows[i]);

        text_group(r->rows[i].n_changed, number);
        text_percent(r->rows[i].n_changed, r->rows[i].n_elements, percent);
        print_name(name, text_columns(name), name_width);
        printf(" | %*s %7s ", number_width, number, percent);
        print_bar(&r->rows[i], most, bar_width);
        putchar('\n');
        free(name);
    }
}

static void print_tabs(const stat_args *args, const stat_rows *r)
{
    printf("%s\tCHANGED\tELEMENTS\tPERCENT\tUP\tDOWN\tSTORED\n",
           args->by_layer ? "LAYER" : "TENSOR");
    for (size_t i = 0; i < r->n; i++) {
        const stat_row *row = &r->rows[i];
        char *name = name_of(row);
        char percent[TEXT_NUMBER_LEN], up[TEXT_NUMBER_LEN], down[TEXT_NUMBER_LEN];

        text_percent(row->n_changed, row->n_elements, percent);
        snprintf(up, sizeof up, row->hidden ? "-" : "%" PRIu64, row->n_up);
        snprintf(down, sizeof down, row->hidden ? "-" : "%" PRIu64, row->n_down);
        printf("%s\t%" PRIu64 "\t%" PRIu64 "\t%s\t%s\t%s\t%" PRIu64 "\n", name, row->n_changed,
               row->n_elements, percent, up, down, row->stored);
        free(name);
    }
}

static void print_total(const stat_rows *r)
{
    char changed[TEXT_NUMBER_LEN], all[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];
    char up[TEXT_NUMBER_LEN], down[TEXT_NUMBER_LEN];

    text_group(r->total.n_changed, changed);
    text_group(r->total.n_elements, all);
    text_percent(r->total.n_changed, r->total.n_elements, percent);
    text_group(r->total.n_up, up);
    text_group(r->total.n_down, down);
    printf(" %" PRIu32 " tensor%s changed, %s of %s weights (%s)", r->n_touched,
           r->n_touched == 1 ? "" : "s", changed, all, percent);
    if (r->total.hidden)
        puts(", up or down: profile compact does not tell without the base");
    else
        printf(", %s up(+), %s down(-)\n", up, down);
}

static json_t *row_json(const stat_row *row)
{
    json_t *o = json_object();

    report_json_set(o, "elements", report_json_number(row->n_elements));
    report_json_set(o, "changed", report_json_number(row->n_changed));
    report_json_set(o, "up", row->hidden ? json_null() : report_json_number(row->n_up));
    report_json_set(o, "down", row->hidden ? json_null() : report_json_number(row->n_down));
    report_json_set(o, "stored", report_json_number(row->stored));
    return o;
}

static void print_json(const stat_args *args, const stat_rows *r, const input_patch *in)
{
    report_json j;

    report_json_begin(&j, "stat");
    report_json_member(&j, "patch", report_json_text(in->shown));
    report_json_member(&j, "by", json_string(args->by_layer ? "layer" : "tensor"));
    report_json_array(&j, "rows");
    for (size_t i = 0; i < r->n; i++) {
        const stat_row *row = &r->rows[i];
        json_t *o = row_json(row);

        report_json_set(o, "name",
                        row->name_len ? json_stringn(row->name, row->name_len) : json_null());
        report_json_item(&j, o);
    }
    report_json_array_end(&j);
    report_json_member(&j, "tensors_changed", json_integer(r->n_touched));
    report_json_member(&j, "total", row_json(&r->total));
    report_json_end(&j);
}

/* ---- the work ---------------------------------------------------------------------------------
 */

static int stat_patch(const stat_args *args, const char *operand)
{
    input_patch in = {0};
    int status = inputs_open_patch(&in, operand, &args->common);
    fmp_error err;
    fmp_status st;
    stat_rows r;

    if (!status) {
        st = fmp_patch_scan(in.patch, (unsigned)args->threads.value,
                            progress_start(&args->common, "stat"), &err);
        progress_end();
        if (st)
            status = report_error(&args->common, &err);
    }
    if (!status) {
        r = count(args, in.patch);
        if (args->common.json) {
            print_json(args, &r, &in);
        } else if (report_is_terminal()) {
            print_graph(&r);
            print_total(&r);
        } else {
            print_tabs(args, &r);
        }
        free(r.rows);
    }
    inputs_close_patch(&in);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    stat_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = stat_patch(&args, operands[0]);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_stat = {
    .name = "stat",
    .operands = "PATCH",
    .summary = "print how much PATCH changes, tensor by tensor or layer by layer",
    .notes =
        "On a terminal with a bar: '+' for elements that go up, '-' for those that go down, '=' "
        "for those that are set anew.  Elsewhere as columns separated by tabs.  A PATCH '-' is "
        "read from standard input.",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
