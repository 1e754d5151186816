/*
 * fmpatch revert: the base, from TARGET and the patch that made it.
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

typedef struct revert_args {
    common_args common;
    const char *output;
    bool force, check;
    opt_number threads;
    trust_args trust;
} revert_args;

static const opt_entry options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPT_TEXT,
     .offset = offsetof(revert_args, output),
     .arg = "OUT",
     .hint = HINT_FILE,
     .help =
         "write the base to OUT; without it to the patch's stem with .base and TARGET's suffix, "
         "in the current directory"},
    {.name = "force",
     .letter = 'f',
     .kind = OPT_FLAG,
     .offset = offsetof(revert_args, force),
     .help = "replace OUT when it is a file that exists"},
    {.name = "check",
     .kind = OPT_FLAG,
     .offset = offsetof(revert_args, check),
     .help = "check everything, write nothing"},
    OPT_TRUST(revert_args, trust),
    {.name = "threads",
     .kind = OPT_NUMBER,
     .offset = offsetof(revert_args, threads),
     .arg = "N",
     .min = 1,
     .max = 1024,
     .help = "threads, one for each processor without it"},
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

typedef struct revert_work {
    trust trust;
    fmp_verdict verdict;
    input_patch in;
    fmp_store *target;
    char *default_path;
    const char *path;
} revert_work;

static void release(revert_work *w)
{
    fmp_store_close(w->target);
    inputs_close_patch(&w->in);
    free(w->default_path);
    trust_close(&w->trust);
}

static int choose_path(revert_work *w, const revert_args *args, char **operands)
{
    if (args->output && spool_is_dash(args->output))
        return report_usage("revert: a checkpoint cannot be written to standard output; a file "
                            "'-' is './-'");
    if (args->output) {
        w->path = args->output;
        return *w->path ? FMP_OK : report_usage("revert: -o: an empty name");
    }
    if (spool_is_dash(operands[1]))
        return report_usage("revert: a patch from standard input has no name; use -o OUT");
    w->default_path = outname_result(operands[0], operands[1], ".base");
    w->path = w->default_path;
    if (!args->check && outname_is_same(w->path, operands[0]))
        return report_usage("revert: '%s' would replace the target; use -o OUT", w->path);
    return FMP_OK;
}

static void print_json(const revert_work *w, const revert_args *args, const fmp_apply_result *r)
{
    const fmp_patch_summary s = fmp_patch_summarize(w->in.patch);
    report_json j;

    report_json_begin(&j, "revert");
    report_json_member(&j, "output", args->check ? json_null() : report_json_text(w->path));
    report_json_member(&j, "checked_only", json_boolean(args->check));
    report_json_member(&j, "files", json_integer(r->n_files));
    report_json_member(&j, "bytes", report_json_number(r->n_bytes));
    report_json_member(&j, "left_behind", json_integer(r->n_left));
    report_json_member(&j, "exact_files", json_boolean(r->exact_files));
    report_json_member(&j, "patch", report_json_text(w->in.shown));
    report_json_member(&j, "id", report_json_hex(s.id, sizeof s.id));
    report_json_member(&j, "trust", json_string(trust_word(w->verdict)));
    report_json_member(&j, "signatures", trust_json(&w->trust, w->in.patch));
    report_json_end(&j);
}

static void print_result(const revert_work *w, const revert_args *args, const fmp_apply_result *r)
{
    char *sentence = trust_sentence(&w->trust, w->in.patch, w->verdict);
    char bytes[TEXT_NUMBER_LEN];

    text_group(r->n_bytes, bytes);
    if (args->check)
        report_note(&args->common, "%s: can be reverted, nothing written; %s", w->in.shown,
                    sentence);
    else
        report_note(&args->common, "%s: %" PRIu32 " file%s, %s bytes, %s; %s", w->path, r->n_files,
                    r->n_files == 1 ? "" : "s", bytes,
                    r->exact_files ? "the base's files byte for byte"
                                   : "the base's tensors in new files",
                    sentence);
    free(sentence);
    if (r->n_left)
        report_note(&args->common,
                    "%" PRIu32 " file%s of the target left behind: unknown to the patch", r->n_left,
                    r->n_left == 1 ? "" : "s");
    if (args->common.json)
        print_json(w, args, r);
    else if (!args->check)
        puts(w->path);
}

static int take_back(const revert_work *w, const revert_args *args)
{
    const fmp_apply_options how = {
        .size = sizeof how,
        .n_threads = (unsigned)args->threads.value,
        .replace = args->force,
        .dry_run = args->check,
        .progress = progress_start(&args->common, "revert"),
    };
    fmp_apply_result result = {0};
    fmp_error err;
    const fmp_status st = fmp_revert(w->target, w->in.patch, w->path, &how, &result, &err);

    progress_end();
    if (st)
        return report_error(&args->common, &err);
    print_result(w, args, &result);
    return FMP_OK;
}

static int revert(const revert_args *args, char **operands)
{
    revert_work w = {0};
    fmp_error err;
    int status = choose_path(&w, args, operands);

    if (!status)
        status = trust_open(&w.trust, &args->trust, &args->common);
    if (!status)
        status = inputs_open_patch(&w.in, operands[1], &args->common);
    if (!status && fmp_patch_check_trust(w.in.patch, &w.trust.rules, &w.verdict, &err))
        status = report_error_about(&args->common, w.in.shown, &err);
    if (!status)
        status = inputs_open_store(&w.target, operands[0], w.in.patch, INPUT_TARGET, &args->common);
    if (!status)
        status = take_back(&w, args);
    release(&w);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    revert_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = revert(&args, operands);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_revert = {
    .name = "revert",
    .operands = "TARGET PATCH",
    .summary = "write the base that PATCH made TARGET from",
    .notes =
        "Works for a patch that is reversible, as 'fmpatch inspect' says.  A PATCH '-' is read "
        "from standard input.  " TRUST_NOTES "  The last line of standard output is OUT.",
    .options = options,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
