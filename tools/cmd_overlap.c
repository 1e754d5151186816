/*
 * fmpatch overlap: which weights several patches of one base share.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "fmpatch.h"
#include "inputs.h"
#include "overlap_html.h"
#include "page_out.h"
#include "progress.h"
#include "report.h"
#include "summary.h"
#include "textutil.h"
#include "trust.h"

typedef struct overlap_args {
    common_args common;
    trust_args trust;
    unsigned by;
    bool shapes_only;
    const char *html;
    bool force;
    opt_number threads;
} overlap_args;

enum { BY_PATCH, BY_TENSOR, BY_LAYER, BY_SET };

static const opt_entry overlap_options[] = {
    {.name = "by",
     .kind = OPT_CHOICE,
     .offset = offsetof(overlap_args, by),
     .arg = "WHAT",
     .words = "pair tensor layer set",
     .help = "count for each pair of patches, each tensor, each layer, or each set of patches that "
             "change a weight together"},
    {.name = "html",
     .kind = OPT_TEXT,
     .offset = offsetof(overlap_args, html),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "write a page with pictures to FILE (-: standard output) instead"},
    {.name = "force",
     .letter = 'f',
     .kind = OPT_FLAG,
     .offset = offsetof(overlap_args, force),
     .help = "with --html: replace FILE when it exists"},
    {.name = "shapes-only",
     .kind = OPT_FLAG,
     .offset = offsetof(overlap_args, shapes_only),
     .help = "compare patches of different bases, too, if their tensors have equal shapes"},
    OPT_TRUST(overlap_args, trust),
    {.name = "threads",
     .kind = OPT_NUMBER,
     .offset = offsetof(overlap_args, threads),
     .arg = "N",
     .min = 1,
     .max = 1024,
     .help = "threads, one for each processor without it"},
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

/* ---- inputs -----------------------------------------------------------------------------------
 */

typedef struct overlap_work {
    trust trust;
    input_patch *in;
    const fmp_patch **patches;
    size_t n;
    fmp_overlap *overlap;
} overlap_work;

static void release(overlap_work *w)
{
    fmp_overlap_free(w->overlap);
    for (size_t i = 0; i < w->n; i++)
        inputs_close_patch(&w->in[i]);
    free(w->in);
    free(w->patches);
    trust_close(&w->trust);
}

static int open_patches(overlap_work *w, const overlap_args *args, char **names, size_t n)
{
    w->in = text_alloc(n * sizeof *w->in);
    w->patches = text_alloc(n * sizeof *w->patches);
    return trust_open_patches(&w->trust, names, n, false, &args->common, w->in, w->patches, &w->n);
}

static int count(overlap_work *w, const overlap_args *args)
{
    const fmp_overlap_options how = {.size = sizeof how,
                                     .n_threads = (unsigned)args->threads.value,
                                     .shapes_only = args->shapes_only,
                                     .progress = progress_start(&args->common, "overlap")};
    fmp_error err;
    const fmp_status st = fmp_overlap_new(w->patches, w->n, &how, &w->overlap, &err);

    progress_end();
    return st ? report_error(&args->common, &err) : FMP_OK;
}

static int check_html_args(const overlap_args *args, char **operands, size_t n)
{
    if (!args->html)
        return args->force ? report_usage("--force needs --html") : FMP_OK;
    if (args->by)
        return report_usage("--html excludes --by");
    return page_check(args->html, args->force, &args->common, (const char *const *)operands, n);
}

static int prepare(overlap_work *w, const overlap_args *args, char **operands, size_t n)
{
    int status = check_html_args(args, operands, n);

    if (status)
        return status;
    status = trust_open(&w->trust, &args->trust, &args->common);

    if (!status)
        status = open_patches(w, args, operands, n);
    return status ? status : count(w, args);
}

/* ---- tables -----------------------------------------------------------------------------------
 */

static void number_cell(uint64_t n, char text[TEXT_NUMBER_LEN])
{
    if (report_is_terminal())
        text_group(n, text);
    else
        snprintf(text, TEXT_NUMBER_LEN, "%" PRIu64, n);
}

static double jaccard(const fmp_overlap_pair *p)
{
    const uint64_t all = p->n_first + p->n_second - p->n_shared;

    return all ? (double)p->n_shared / (double)all : 0;
}

static void print_pairs(const overlap_work *w)
{
    static const report_column columns[] = {
        {.name = "FIRST", .shrink = true},  {.name = "SECOND", .shrink = true},
        {.name = "CHANGED", .right = true}, {.name = "CHANGED", .right = true},
        {.name = "SHARED", .right = true},  {.name = "JACCARD", .right = true},
        {.name = "SAME", .right = true},    {.name = "CONFLICTS", .right = true},
    };
    report_table *t = report_table_new(columns, sizeof columns / sizeof *columns, true);

    for (size_t a = 0; a < w->n; a++) {
        for (size_t b = a + 1; b < w->n; b++) {
            const fmp_overlap_pair p = fmp_overlap_of(w->overlap, a, b);
            const uint64_t numbers[] = {p.n_first, p.n_second, p.n_shared, p.n_same, p.n_conflicts};
            char text[5][TEXT_NUMBER_LEN], share[16];

            for (unsigned k = 0; k < 5; k++)
                number_cell(numbers[k], text[k]);
            snprintf(share, sizeof share, "%.6f", jaccard(&p));
            report_table_row(t, (const char *[]){w->in[a].shown, w->in[b].shown, text[0], text[1],
                                                 text[2], share, text[3], text[4]});
        }
    }
    report_table_end(t);
}

static const report_column count_columns[] = {
    {.name = "NAME", .shrink = true},   {.name = "ELEMENTS", .right = true},
    {.name = "CHANGED", .right = true}, {.name = "SHARED", .right = true},
    {.name = "SAME", .right = true},    {.name = "CONFLICTS", .right = true},
};

static void put_counts(report_table *t, const fmp_overlap_tensor *x)
{
    const uint64_t numbers[] = {x->n_elements, x->n_changed, x->n_shared, x->n_same,
                                x->n_conflicts};
    char *name = text_escape(x->name, strlen(x->name));
    char text[5][TEXT_NUMBER_LEN];

    for (unsigned k = 0; k < 5; k++)
        number_cell(numbers[k], text[k]);
    report_table_row(t, (const char *[]){name, text[0], text[1], text[2], text[3], text[4]});
    free(name);
}

static void add_counts(fmp_overlap_tensor *to, const fmp_overlap_tensor *x)
{
    to->n_elements += x->n_elements;
    to->n_changed += x->n_changed;
    to->n_shared += x->n_shared;
    to->n_same += x->n_same;
    to->n_conflicts += x->n_conflicts;
}

static void print_tensors(const overlap_work *w)
{
    report_table *t = report_table_new(count_columns, 6, true);

    for (uint32_t i = 0; i < fmp_overlap_tensor_count(w->overlap); i++) {
        const fmp_overlap_tensor x = fmp_overlap_tensor_at(w->overlap, i);

        put_counts(t, &x);
    }
    report_table_end(t);
}

/* Sums by layer, those of no layer last. */
static fmp_overlap_tensor *sum_layers(const overlap_work *w, int32_t *ret_n)
{
    const uint32_t n = fmp_overlap_tensor_count(w->overlap);
    fmp_overlap_tensor *sums;
    int32_t n_layers = 0;

    for (uint32_t i = 0; i < n; i++) {
        const int32_t layer = fmp_tensor_role(fmp_overlap_tensor_at(w->overlap, i).name).layer;

        if (layer >= n_layers && layer < 100000)
            n_layers = layer + 1;
    }
    sums = text_alloc(((size_t)n_layers + 1) * sizeof *sums);
    memset(sums, 0, ((size_t)n_layers + 1) * sizeof *sums);
    for (uint32_t i = 0; i < n; i++) {
        const fmp_overlap_tensor x = fmp_overlap_tensor_at(w->overlap, i);
        const int32_t layer = fmp_tensor_role(x.name).layer;

        add_counts(&sums[layer < 0 || layer >= n_layers ? n_layers : layer], &x);
    }
    *ret_n = n_layers;
    return sums;
}

static void print_layers(const overlap_work *w)
{
    report_table *t = report_table_new(count_columns, 6, true);
    int32_t n;
    fmp_overlap_tensor *sums = sum_layers(w, &n);

    for (int32_t i = 0; i <= n; i++) {
        char name[24];

        snprintf(name, sizeof name, i < n ? "layer %d" : "no layer", (int)i);
        sums[i].name = name;
        if (sums[i].n_elements)
            put_counts(t, &sums[i]);
    }
    report_table_end(t);
    free(sums);
}

/* "a.fmp b.fmp" */
static char *set_name(const overlap_work *w, uint64_t patches)
{
    char *name = text_copy("");

    for (size_t i = 0; i < w->n; i++) {
        char *longer;

        if (!(patches >> i & 1))
            continue;
        longer = text_format("%s%s%s", name, *name ? " " : "", w->in[i].shown);
        free(name);
        name = longer;
    }
    return name;
}

static void print_sets(const overlap_work *w)
{
    static const report_column columns[] = {{.name = "WEIGHTS", .right = true},
                                            {.name = "PATCHES", .shrink = true}};
    report_table *t = report_table_new(columns, 2, true);

    for (uint32_t i = 0; i < fmp_overlap_set_count(w->overlap); i++) {
        uint64_t patches;
        char number[TEXT_NUMBER_LEN];
        char *name;

        number_cell(fmp_overlap_set_at(w->overlap, i, &patches), number);
        name = set_name(w, patches);
        report_table_row(t, (const char *[]){number, name});
        free(name);
    }
    if (fmp_overlap_set_rest(w->overlap)) {
        char number[TEXT_NUMBER_LEN];

        number_cell(fmp_overlap_set_rest(w->overlap), number);
        report_table_row(t, (const char *[]){number, "(sets that came up later)"});
    }
    report_table_end(t);
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

static json_t *pair_json(const overlap_work *w, size_t a, size_t b)
{
    const fmp_overlap_pair p = fmp_overlap_of(w->overlap, a, b);
    json_t *j = json_object();

    report_json_set(j, "first", json_integer((json_int_t)a));
    report_json_set(j, "second", json_integer((json_int_t)b));
    report_json_set(j, "shared", report_json_number(p.n_shared));
    report_json_set(j, "same", report_json_number(p.n_same));
    report_json_set(j, "conflicts", report_json_number(p.n_conflicts));
    report_json_set(j, "jaccard", json_real(jaccard(&p)));
    return j;
}

static json_t *counts_json(const fmp_overlap_tensor *x)
{
    json_t *j = json_object();

    report_json_set(j, "elements", report_json_number(x->n_elements));
    report_json_set(j, "changed", report_json_number(x->n_changed));
    report_json_set(j, "shared", report_json_number(x->n_shared));
    report_json_set(j, "same", report_json_number(x->n_same));
    report_json_set(j, "conflicts", report_json_number(x->n_conflicts));
    return j;
}

static json_t *set_json(uint64_t n, uint64_t patches)
{
    json_t *j = json_object();
    json_t *list = json_array();

    for (unsigned i = 0; i < 64; i++) {
        if (patches >> i & 1)
            json_array_append_new(list, json_integer(i));
    }
    report_json_set(j, "weights", report_json_number(n));
    report_json_set(j, "patches", list);
    return j;
}

static void put_patches_json(const overlap_work *w, report_json *j)
{
    report_json_array(j, "patches");
    for (size_t i = 0; i < w->n; i++) {
        const fmp_patch_summary s = fmp_patch_summarize(w->patches[i]);
        json_t *one = json_object();

        report_json_set(one, "patch", report_json_text(w->in[i].shown));
        report_json_set(one, "id", report_json_hex(s.id, sizeof s.id));
        report_json_set(one, "changed",
                        report_json_number(fmp_overlap_of(w->overlap, i, i).n_first));
        report_json_item(j, one);
    }
    report_json_array_end(j);
}

static void put_tensors_json(const overlap_work *w, report_json *j)
{
    report_json_array(j, "tensors");
    for (uint32_t i = 0; i < fmp_overlap_tensor_count(w->overlap); i++) {
        const fmp_overlap_tensor x = fmp_overlap_tensor_at(w->overlap, i);
        const fmp_tensor_place place = fmp_tensor_role(x.name);
        json_t *one = counts_json(&x);

        report_json_set(one, "name", report_json_text(x.name));
        report_json_set(one, "layer", place.layer < 0 ? json_null() : json_integer(place.layer));
        report_json_set(one, "role", json_string(fmp_role_name(place.role)));
        report_json_item(j, one);
    }
    report_json_array_end(j);
}

static void print_json(const overlap_work *w, const char *html)
{
    report_json j;

    report_json_begin(&j, "overlap");
    if (html)
        report_json_member(&j, "html", report_json_text(html));
    put_patches_json(w, &j);
    report_json_array(&j, "pairs");
    for (size_t a = 0; a < w->n; a++) {
        for (size_t b = a + 1; b < w->n; b++)
            report_json_item(&j, pair_json(w, a, b));
    }
    report_json_array_end(&j);
    report_json_array(&j, "sets");
    for (uint32_t i = 0; i < fmp_overlap_set_count(w->overlap); i++) {
        uint64_t patches;
        const uint64_t n = fmp_overlap_set_at(w->overlap, i, &patches);

        report_json_item(&j, set_json(n, patches));
    }
    report_json_array_end(&j);
    report_json_member(&j, "other_sets", report_json_number(fmp_overlap_set_rest(w->overlap)));
    put_tensors_json(w, &j);
    report_json_end(&j);
}

static int write_html(const overlap_work *w, const overlap_args *args)
{
    const char **names = text_alloc(w->n * sizeof *names);
    html_page page;
    int status;

    for (size_t i = 0; i < w->n; i++)
        names[i] = w->in[i].shown;
    overlap_html_of(&page, w->overlap, names, w->n);
    status = page_put(args->html, &page, args->force, &args->common);
    html_page_release(&page);
    free(names);
    return status;
}

static int show_overlap(overlap_work *w, const overlap_args *args)
{
    const int status = args->html ? write_html(w, args) : FMP_OK;

    if (status || (args->html && !args->common.json))
        return status;
    if (args->common.json)
        print_json(w, args->html);
    else if (args->by == BY_TENSOR)
        print_tensors(w);
    else if (args->by == BY_LAYER)
        print_layers(w);
    else if (args->by == BY_SET)
        print_sets(w);
    else
        print_pairs(w);
    return FMP_OK;
}

/* ---- verb -------------------------------------------------------------------------------------
 */

static int run(const command *self, int argc, char **argv)
{
    overlap_args args = {0};
    overlap_work w = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN) {
        status = prepare(&w, &args, operands, n);
        if (!status)
            status = show_overlap(&w, &args);
        release(&w);
    } else if (outcome == OPTS_BAD) {
        status = fmp_exit_status(FMP_EUSAGE);
    }
    opts_release(self, &args);
    return status;
}

const command cmd_overlap = {
    .name = "overlap",
    .operands = "PATCH...",
    .summary = "print which weights patches of one base share, and where they conflict",
    .notes = "Weights that two patches move in opposite directions conflict.  New bits and new "
             "tensors have no direction.  No checkpoint is needed.  Masks are patches, too. "
             " " TRUST_NOTES,
    .options = overlap_options,
    .min_operands = 1,
    .max_operands = FMP_OVERLAP_MAX,
    .run = run,
};
