/*
 * fmpatch diff: how two patches of one base differ in what they do.
 */
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
#include "summary.h"
#include "textutil.h"
#include "trust.h"

typedef struct diff_args {
    common_args common;
    trust_args trust;
    bool shapes_only;
    opt_number threads;
} diff_args;

static const opt_entry diff_options[] = {
    {.name = "shapes-only",
     .kind = OPT_FLAG,
     .offset = offsetof(diff_args, shapes_only),
     .help = "compare patches of different bases, too, if their tensors have equal shapes"},
    OPT_TRUST(diff_args, trust),
    {.name = "threads",
     .kind = OPT_NUMBER,
     .offset = offsetof(diff_args, threads),
     .arg = "N",
     .min = 1,
     .max = 1024,
     .help = "threads, one for each processor without it"},
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

typedef struct diff_work {
    trust trust;
    input_patch in[2];
    fmp_diff *diff;
} diff_work;

/* ---- text -------------------------------------------------------------------------------------
 */

static void number_cell(uint64_t n, char text[TEXT_NUMBER_LEN])
{
    if (report_is_terminal())
        text_group(n, text);
    else
        snprintf(text, TEXT_NUMBER_LEN, "%" PRIu64, n);
}

static void fact(report_table *t, const char *name, char *value)
{
    report_table_row(t, (const char *[]){name, value});
    free(value);
}

static char *counts_text(const fmp_diff_counts *c)
{
    char only[2][TEXT_NUMBER_LEN], same[TEXT_NUMBER_LEN], other[TEXT_NUMBER_LEN];

    text_group(c->n_only[0], only[0]);
    text_group(c->n_only[1], only[1]);
    text_group(c->n_same, same);
    text_group(c->n_other, other);
    return text_format("%s changed only by the first, %s only by the second, %s by both alike, %s "
                       "by both differently",
                       only[0], only[1], same, other);
}

static char *distance_text(const fmp_diff_counts *c)
{
    char n[TEXT_NUMBER_LEN], max[TEXT_NUMBER_LEN];

    text_group(c->n_apart, n);
    text_group(c->max_distance, max);
    return text_format("%s weights, %s%.6g steps on average, %s at most", n,
                       c->sum_distance == UINT64_MAX ? "more than " : "",
                       (double)c->sum_distance / (double)c->n_apart, max);
}

static void print_facts(const diff_work *w)
{
    static const report_column columns[] = {{.name = "fact"}, {.name = "value"}};
    const fmp_diff_summary s = fmp_diff_summarize(w->diff);
    report_table *t = report_table_new(columns, 2, false);

    fact(t, "result", text_copy(s.identical ? "identical in what they do" : "different"));
    fact(t, "base", text_copy(s.same_base ? "same" : "different"));
    fact(t, "target", text_copy(s.same_target ? "same" : "different"));
    fact(t, "layout", text_copy(s.same_layout ? "same" : "different"));
    fact(t, "tensors",
         text_format("%" PRIu32 " of %" PRIu32 " differ, %" PRIu32 " only in the first target, "
                     "%" PRIu32 " only in the second",
                     s.n_differing, s.n_tensors, s.n_only[0], s.n_only[1]));
    fact(t, "weights", counts_text(&s.counts));
    if (s.counts.n_apart)
        fact(t, "distance", distance_text(&s.counts));
    fact(t, "files",
         text_format("%" PRIu32 " of %" PRIu32 " side files differ", s.n_differing_files,
                     s.n_files));
    report_table_end(t);
}

/* "residual", "unchanged of old.name", "absent". */
static char *state_text(const fmp_diff_tensor *x, unsigned side)
{
    char *source, *text;

    if (!x->known[side])
        return text_copy("absent");
    if (!x->source[side])
        return text_copy(summary_state(x->state[side]));
    source = text_escape(x->source[side], strlen(x->source[side]));
    text = text_format("%s of %s", summary_state(x->state[side]), source);
    free(source);
    return text;
}

static void print_tensor(report_table *t, const fmp_diff_tensor *x)
{
    const fmp_diff_counts *c = &x->counts;
    const uint64_t numbers[] = {c->n_only[0], c->n_only[1], c->n_same, c->n_other};
    char *name = text_escape(x->name, strlen(x->name));
    char *state[2] = {state_text(x, 0), state_text(x, 1)};
    char text[4][TEXT_NUMBER_LEN], distance[TEXT_NUMBER_LEN] = "-";

    for (unsigned k = 0; k < 4; k++)
        number_cell(numbers[k], text[k]);
    if (c->n_apart)
        number_cell(c->max_distance, distance);
    report_table_row(t, (const char *[]){name, state[0], state[1], text[0], text[1], text[2],
                                         text[3], distance});
    free(name);
    free(state[0]);
    free(state[1]);
}

static void print_tensors(const diff_work *w)
{
    static const report_column columns[] = {
        {.name = "TENSOR", .shrink = true},
        {.name = "FIRST"},
        {.name = "SECOND"},
        {.name = "ONLY-1ST", .right = true},
        {.name = "ONLY-2ND", .right = true},
        {.name = "SAME", .right = true},
        {.name = "OTHER", .right = true},
        {.name = "MAX-STEPS", .right = true},
    };
    const fmp_diff_summary s = fmp_diff_summarize(w->diff);
    report_table *t;

    if (!s.n_differing)
        return;
    putchar('\n');
    t = report_table_new(columns, sizeof columns / sizeof *columns, true);
    for (uint32_t i = 0; i < s.n_tensors; i++) {
        const fmp_diff_tensor x = fmp_diff_tensor_at(w->diff, i);

        if (!x.same)
            print_tensor(t, &x);
    }
    report_table_end(t);
}

static const char *file_state(const fmp_diff_file *f, unsigned side)
{
    return f->known[side] ? summary_file_state(f->state[side]) : "absent";
}

static void print_files(const diff_work *w)
{
    static const report_column columns[] = {{.name = "FILE", .shrink = true},
                                            {.name = "FIRST"},
                                            {.name = "SECOND"},
                                            {.name = "BYTES-1ST", .right = true},
                                            {.name = "BYTES-2ND", .right = true}};
    const fmp_diff_summary s = fmp_diff_summarize(w->diff);
    report_table *t;

    if (!s.n_differing_files)
        return;
    putchar('\n');
    t = report_table_new(columns, sizeof columns / sizeof *columns, true);
    for (uint32_t i = 0; i < s.n_files; i++) {
        const fmp_diff_file f = fmp_diff_file_at(w->diff, i);
        char size[2][TEXT_NUMBER_LEN];
        char *name;

        if (f.same)
            continue;
        number_cell(f.size[0], size[0]);
        number_cell(f.size[1], size[1]);
        name = text_escape(f.name, strlen(f.name));
        report_table_row(
            t, (const char *[]){name, file_state(&f, 0), file_state(&f, 1), size[0], size[1]});
        free(name);
    }
    report_table_end(t);
}

static void print_notes(const diff_work *w)
{
    static const report_column columns[] = {{.name = "MANIFEST"},
                                            {.name = "FIRST", .shrink = true},
                                            {.name = "SECOND", .shrink = true}};
    const uint32_t n = fmp_diff_summarize(w->diff).n_notes;
    report_table *t;

    if (!n)
        return;
    putchar('\n');
    t = report_table_new(columns, sizeof columns / sizeof *columns, true);
    for (uint32_t i = 0; i < n; i++) {
        const fmp_diff_note x = fmp_diff_note_at(w->diff, i);
        char *key = text_escape(x.key, strlen(x.key));
        char *value[2];

        for (unsigned side = 0; side < 2; side++)
            value[side] =
                x.value[side] ? text_escape(x.value[side], strlen(x.value[side])) : text_copy("-");
        report_table_row(t, (const char *[]){key, value[0], value[1]});
        free(key);
        free(value[0]);
        free(value[1]);
    }
    report_table_end(t);
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

static void put_counts(json_t *j, const fmp_diff_counts *c)
{
    report_json_set(j, "only_first", report_json_number(c->n_only[0]));
    report_json_set(j, "only_second", report_json_number(c->n_only[1]));
    report_json_set(j, "same", report_json_number(c->n_same));
    report_json_set(j, "other", report_json_number(c->n_other));
    report_json_set(j, "apart", report_json_number(c->n_apart));
    report_json_set(j, "sum_distance", report_json_number(c->sum_distance));
    report_json_set(j, "max_distance", report_json_number(c->max_distance));
}

static json_t *state_json(const fmp_diff_tensor *x, unsigned side)
{
    return json_string(x->known[side] ? summary_state(x->state[side]) : "absent");
}

static void put_tensors(report_json *j, const diff_work *w)
{
    report_json_array(j, "tensors");
    for (uint32_t i = 0; i < fmp_diff_summarize(w->diff).n_tensors; i++) {
        const fmp_diff_tensor x = fmp_diff_tensor_at(w->diff, i);
        json_t *one;

        if (x.same && !x.counts.n_same)
            continue;
        one = json_object();
        report_json_set(one, "name", report_json_text(x.name));
        report_json_set(one, "first", state_json(&x, 0));
        report_json_set(one, "second", state_json(&x, 1));
        report_json_set(one, "first_source", report_json_text(x.source[0]));
        report_json_set(one, "second_source", report_json_text(x.source[1]));
        report_json_set(one, "identical", json_boolean(x.same));
        put_counts(one, &x.counts);
        report_json_item(j, one);
    }
    report_json_array_end(j);
}

static void put_files(report_json *j, const diff_work *w)
{
    report_json_array(j, "files");
    for (uint32_t i = 0; i < fmp_diff_summarize(w->diff).n_files; i++) {
        const fmp_diff_file f = fmp_diff_file_at(w->diff, i);
        json_t *one;

        if (f.same)
            continue;
        one = json_object();
        report_json_set(one, "name", report_json_text(f.name));
        report_json_set(one, "first", json_string(file_state(&f, 0)));
        report_json_set(one, "second", json_string(file_state(&f, 1)));
        report_json_set(one, "first_bytes", report_json_number(f.size[0]));
        report_json_set(one, "second_bytes", report_json_number(f.size[1]));
        report_json_item(j, one);
    }
    report_json_array_end(j);
}

static void put_notes(report_json *j, const diff_work *w)
{
    static const char *const names[2] = {"first", "second"};

    report_json_array(j, "manifest");
    for (uint32_t i = 0; i < fmp_diff_summarize(w->diff).n_notes; i++) {
        const fmp_diff_note x = fmp_diff_note_at(w->diff, i);
        json_t *one = json_object();

        report_json_set(one, "key", report_json_text(x.key));
        for (unsigned side = 0; side < 2; side++) {
            if (x.value[side])
                report_json_set(one, names[side], json_loads(x.value[side], JSON_DECODE_ANY, NULL));
        }
        report_json_item(j, one);
    }
    report_json_array_end(j);
}

static void print_json(const diff_work *w)
{
    const fmp_diff_summary s = fmp_diff_summarize(w->diff);
    json_t *counts = json_object();
    report_json j;

    report_json_begin(&j, "diff");
    report_json_array(&j, "patches");
    for (unsigned side = 0; side < 2; side++) {
        const fmp_patch_summary p = fmp_patch_summarize(w->in[side].patch);
        json_t *one = json_object();

        report_json_set(one, "patch", report_json_text(w->in[side].shown));
        report_json_set(one, "id", report_json_hex(p.id, sizeof p.id));
        report_json_item(&j, one);
    }
    report_json_array_end(&j);
    report_json_member(&j, "identical", json_boolean(s.identical));
    report_json_member(&j, "same_base", json_boolean(s.same_base));
    report_json_member(&j, "same_target", json_boolean(s.same_target));
    report_json_member(&j, "same_layout", json_boolean(s.same_layout));
    report_json_member(&j, "n_tensors", json_integer(s.n_tensors));
    report_json_member(&j, "n_differing", json_integer(s.n_differing));
    report_json_member(&j, "n_only_first", json_integer(s.n_only[0]));
    report_json_member(&j, "n_only_second", json_integer(s.n_only[1]));
    put_counts(counts, &s.counts);
    report_json_member(&j, "weights", counts);
    put_tensors(&j, w);
    put_files(&j, w);
    put_notes(&j, w);
    report_json_end(&j);
}

/* ---- verb -------------------------------------------------------------------------------------
 */

static int compare(diff_work *w, const diff_args *args)
{
    const fmp_diff_options how = {.size = sizeof how,
                                  .n_threads = (unsigned)args->threads.value,
                                  .shapes_only = args->shapes_only,
                                  .progress = progress_start(&args->common, "diff")};
    fmp_error err;
    const fmp_status st = fmp_diff_new(w->in[0].patch, w->in[1].patch, &how, &w->diff, &err);

    progress_end();
    return st ? report_error(&args->common, &err) : FMP_OK;
}

static int diff(diff_work *w, const diff_args *args, char **operands)
{
    const fmp_patch *patches[2];
    size_t n;
    int status = trust_open(&w->trust, &args->trust, &args->common);

    if (!status)
        status =
            trust_open_patches(&w->trust, operands, 2, false, &args->common, w->in, patches, &n);
    if (!status)
        status = compare(w, args);
    if (status)
        return status;
    if (args->common.json) {
        print_json(w);
        return FMP_OK;
    }
    print_facts(w);
    print_tensors(w);
    print_files(w);
    print_notes(w);
    return FMP_OK;
}

static int run(const command *self, int argc, char **argv)
{
    diff_args args = {0};
    diff_work w = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN) {
        status = diff(&w, &args, operands);
        fmp_diff_free(w.diff);
        inputs_close_patch(&w.in[0]);
        inputs_close_patch(&w.in[1]);
        trust_close(&w.trust);
    } else if (outcome == OPTS_BAD) {
        status = fmp_exit_status(FMP_EUSAGE);
    }
    opts_release(self, &args);
    return status;
}

const command cmd_diff = {
    .name = "diff",
    .operands = "PATCH PATCH",
    .summary = "print how two patches differ in what they do",
    .notes = "How patches are coded and signed makes no difference, and what their manifests say "
             "is listed, but does not count.  Tensors and files with which they do the same are "
             "not listed.  No checkpoint is needed.  " TRUST_NOTES,
    .options = diff_options,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
