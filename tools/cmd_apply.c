/*
 * fmpatch apply: BASE with one patch, or a chain of patches, laid over it.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "fmpatch.h"
#include "inputs.h"
#include "outname.h"
#include "progress.h"
#include "report.h"
#include "spool.h"
#include "textutil.h"
#include "trust.h"

typedef struct apply_args {
    common_args common;
    const char *output;
    bool force, check;
    unsigned layout;
    opt_number threads;
    trust_args trust;
} apply_args;

static const opt_entry options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPT_TEXT,
     .offset = offsetof(apply_args, output),
     .arg = "OUT",
     .hint = HINT_FILE,
     .help = "write the target to OUT; without it to the patch's stem with BASE's suffix, in the "
             "current directory"},
    {.name = "force",
     .letter = 'f',
     .kind = OPT_FLAG,
     .offset = offsetof(apply_args, force),
     .help = "replace OUT when it is a file that exists"},
    {.name = "layout",
     .kind = OPT_CHOICE,
     .offset = offsetof(apply_args, layout),
     .arg = "WHOSE",
     .words = "target base",
     .help = "the target's files, byte for byte, or the base's files with their headers made anew"},
    {.name = "check",
     .kind = OPT_FLAG,
     .offset = offsetof(apply_args, check),
     .help = "check everything, write nothing"},
    OPT_TRUST(apply_args, trust),
    {.name = "threads",
     .kind = OPT_NUMBER,
     .offset = offsetof(apply_args, threads),
     .arg = "N",
     .min = 1,
     .max = 1024,
     .help = "threads, one for each processor without it"},
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

typedef struct apply_work {
    trust trust;
    input_patch *in;
    char **sentences;
    fmp_verdict *verdicts;
    size_t n;
    fmp_store *base;
    char *default_path;
    const char *path;
} apply_work;

static void release(apply_work *w)
{
    fmp_store_close(w->base);
    for (size_t i = 0; i < w->n; i++) {
        inputs_close_patch(&w->in[i]);
        free(w->sentences[i]);
    }
    free(w->in);
    free(w->sentences);
    free(w->verdicts);
    free(w->default_path);
    trust_close(&w->trust);
}

/* Opens every patch and asks whether it may be used, before any is decoded. */
static int open_patches(apply_work *w, const apply_args *args, char **names, size_t n)
{
    fmp_error err;

    w->in = text_alloc(n * sizeof *w->in);
    w->sentences = text_alloc(n * sizeof *w->sentences);
    w->verdicts = text_alloc(n * sizeof *w->verdicts);
    for (w->n = 0; w->n < n;) {
        const size_t i = w->n++;
        const int status = inputs_open_patch(&w->in[i], names[i], &args->common);

        if (status)
            return status;
        if (fmp_patch_check_trust(w->in[i].patch, &w->trust.rules, &w->verdicts[i], &err))
            return report_error_about(&args->common, w->in[i].shown, &err);
        w->sentences[i] = trust_sentence(&w->trust, w->in[i].patch, w->verdicts[i]);
    }
    return FMP_OK;
}

static int choose_path(apply_work *w, const apply_args *args, char **operands, size_t n)
{
    const char *last = operands[n - 1];

    if (args->output && spool_is_dash(args->output))
        return report_usage("apply: a checkpoint cannot be written to standard output; a file '-' "
                            "is './-'");
    if (args->output) {
        w->path = args->output;
        return *w->path ? FMP_OK : report_usage("apply: -o: an empty name");
    }
    if (spool_is_dash(last))
        return report_usage("apply: a patch from standard input has no name; use -o OUT");
    w->default_path = outname_result(operands[0], last, "");
    w->path = w->default_path;
    if (!args->check && outname_is_same(w->path, operands[0]))
        return report_usage("apply: '%s' would replace the base; use -o OUT", w->path);
    return FMP_OK;
}

static void print_json(const apply_work *w, const apply_args *args, const fmp_apply_result *r)
{
    report_json j;

    report_json_begin(&j, "apply");
    report_json_member(&j, "output", args->check ? json_null() : report_json_text(w->path));
    report_json_member(&j, "checked_only", json_boolean(args->check));
    report_json_member(&j, "files", json_integer(r->n_files));
    report_json_member(&j, "bytes", report_json_number(r->n_bytes));
    report_json_member(&j, "left_behind", json_integer(r->n_left));
    report_json_member(&j, "exact_files", json_boolean(r->exact_files));
    report_json_array(&j, "patches");
    for (size_t i = 0; i < w->n; i++) {
        const fmp_patch_summary s = fmp_patch_summarize(w->in[i].patch);
        json_t *one = json_object();

        report_json_set(one, "patch", report_json_text(w->in[i].shown));
        report_json_set(one, "id", report_json_hex(s.id, sizeof s.id));
        report_json_set(one, "trust", json_string(trust_word(w->verdicts[i])));
        report_json_set(one, "signatures", trust_json(&w->trust, w->in[i].patch));
        report_json_item(&j, one);
    }
    report_json_array_end(&j);
    report_json_end(&j);
}

static void print_result(const apply_work *w, const apply_args *args, const fmp_apply_result *r)
{
    char bytes[TEXT_NUMBER_LEN];

    text_group(r->n_bytes, bytes);
    for (size_t i = 0; i + 1 < w->n; i++)
        report_note(&args->common, "%s: %s", w->in[i].shown, w->sentences[i]);
    if (args->check)
        report_note(&args->common, "%s: fits, nothing written; %s", w->in[w->n - 1].shown,
                    w->sentences[w->n - 1]);
    else
        report_note(&args->common, "%s: %" PRIu32 " file%s, %s bytes, %s; %s", w->path, r->n_files,
                    r->n_files == 1 ? "" : "s", bytes,
                    r->exact_files ? "the target's files byte for byte"
                                   : "the target's tensors in new files",
                    w->sentences[w->n - 1]);
    if (r->n_left)
        report_note(&args->common,
                    "%" PRIu32 " file%s of the base left behind: unknown to the patch", r->n_left,
                    r->n_left == 1 ? "" : "s");
    if (args->common.json)
        print_json(w, args, r);
    else if (!args->check)
        puts(w->path);
}

static int lay_over(const apply_work *w, const apply_args *args)
{
    const fmp_apply_options how = {
        .size = sizeof how,
        .n_threads = (unsigned)args->threads.value,
        .replace = args->force,
        .layout_base = args->layout == 1,
        .dry_run = args->check,
        .progress = progress_start(&args->common, "apply"),
    };
    const fmp_patch **patches = text_alloc(w->n * sizeof *patches);
    fmp_apply_result result = {0};
    fmp_error err;
    fmp_status st;

    for (size_t i = 0; i < w->n; i++)
        patches[i] = w->in[i].patch;
    st = fmp_apply(w->base, patches, w->n, w->path, &how, &result, &err);
    free(patches);
    progress_end();
    if (st)
        return report_error(&args->common, &err);
    print_result(w, args, &result);
    return FMP_OK;
}

static int apply(const apply_args *args, char **operands, size_t n)
{
    apply_work w = {0};
    int status = choose_path(&w, args, operands, n);

    if (!status)
        status = trust_open(&w.trust, &args->trust, &args->common);
    if (!status)
        status = open_patches(&w, args, operands + 1, n - 1);
    if (!status)
        status = inputs_open_store(&w.base, operands[0], w.in[0].patch, INPUT_BASE, &args->common);
    if (!status)
        status = lay_over(&w, args);
    release(&w);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    apply_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = apply(&args, operands, n);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_apply = {
    .name = "apply",
    .operands = "BASE PATCH...",
    .summary = "write BASE with PATCH laid over it: the target",
    .notes = "Several patches are a chain, laid over BASE in the order given.  A PATCH '-' is read "
             "from standard input.  " TRUST_NOTES "  The last line of standard output is OUT.",
    .options = options,
    .min_operands = 2,
    .max_operands = OPT_MANY,
    .run = run,
};
