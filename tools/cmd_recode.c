/*
 * fmpatch recode: a patch in another profile.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "fmpatch.h"
#include "inputs.h"
#include "outname.h"
#include "patch_out.h"
#include "progress.h"
#include "report.h"
#include "summary.h"
#include "textutil.h"
#include "trust.h"

typedef struct recode_args {
    common_args common;
    patch_args out;
    trust_args trust;
    unsigned profile; /* 0: the one that the patch does not have */
    bool no_check;
} recode_args;

static const opt_entry options[] = {
    OPT_PATCH_OUT(recode_args, out, "PATCH's stem with .open.fmp or .compact.fmp"),
    {.name = "profile",
     .kind = OPT_CHOICE,
     .offset = offsetof(recode_args, profile),
     .arg = "PROFILE",
     .words = "other open compact",
     .help = "make it open, compact, or what it is not"},
    {.name = "no-check",
     .kind = OPT_FLAG,
     .offset = offsetof(recode_args, no_check),
     .help = "leave out the sums of touched elements"},
    OPT_LEVEL(recode_args, out),
    OPT_PATCH_THREADS(recode_args, out),
    OPT_TRUST(recode_args, trust),
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

typedef struct recode_work {
    trust trust;
    input_patch in;
    fmp_store *base;
    patch_out out;
    fmp_patch_summary before;
    fmp_profile profile;
} recode_work;

static void release(recode_work *w)
{
    fmp_store_close(w->base);
    inputs_close_patch(&w->in);
    patch_out_close(&w->out);
    trust_close(&w->trust);
}

static void print_json(const recode_work *w, const fmp_patch_summary *s)
{
    report_json j;

    report_json_begin(&j, "recode");
    report_json_member(&j, "patch", report_json_text(w->out.path));
    report_json_member(&j, "id", report_json_hex(s->id, sizeof s->id));
    report_json_member(&j, "of", report_json_hex(w->before.id, sizeof w->before.id));
    report_json_member(&j, "profile", report_json_text(summary_profile(s)));
    report_json_member(&j, "bytes", report_json_number(s->file_size));
    report_json_member(&j, "bytes_before", report_json_number(w->before.file_size));
    report_json_member(&j, "elements", report_json_number(s->n_elements));
    report_json_member(&j, "changed", report_json_number(s->n_changed));
    report_json_member(&j, "reversible", json_boolean(s->reversible));
    report_json_member(&j, "n_signatures", json_integer(s->n_signatures));
    report_json_end(&j);
}

static void print_summary(const recode_work *w, const recode_args *args, const fmp_patch_summary *s)
{
    char before[TEXT_NUMBER_LEN], after[TEXT_NUMBER_LEN];

    text_group(w->before.file_size, before);
    text_group(s->file_size, after);
    report_note(&args->common, "%s: %s, %s bytes, %s before; %s, %s", w->out.shown,
                summary_profile(s), after, before, s->reversible ? "reversible" : "not reversible",
                s->n_signatures ? "signed" : "unsigned");
}

static int make_patch(const recode_work *w, const recode_args *args)
{
    fmp_create_options how = patch_out_options(&w->out);
    fmp_create_result result;
    fmp_error err;
    fmp_status st;
    int status;

    how.profile = w->profile;
    how.no_check = args->no_check;
    how.progress = progress_start(&args->common, "recode");
    st = fmp_recode(w->base, w->in.patch, w->out.path, &how, &result, &err);
    progress_end();
    if (st)
        return report_error(&args->common, &err);
    status = patch_out_deliver(&w->out);
    if (status)
        return status;
    print_summary(w, args, &result.summary);
    if (args->common.json)
        print_json(w, &result.summary);
    patch_out_print(&w->out);
    return FMP_OK;
}

static int open_patch(recode_work *w, const recode_args *args, char *name)
{
    const fmp_patch *patch;
    size_t n;
    const int status =
        trust_open_patches(&w->trust, &name, 1, true, &args->common, &w->in, &patch, &n);

    if (status)
        return status;
    w->before = fmp_patch_summarize(patch);
    w->profile = args->profile == 1                         ? FMP_PROFILE_OPEN
                 : args->profile == 2                       ? FMP_PROFILE_COMPACT
                 : w->before.profile == FMP_PROFILE_COMPACT ? FMP_PROFILE_OPEN
                                                            : FMP_PROFILE_COMPACT;
    return FMP_OK;
}

static int recode(const recode_args *args, char **operands)
{
    recode_work w = {0};
    int status = trust_open(&w.trust, &args->trust, &args->common);

    if (!status)
        status = open_patch(&w, args, operands[1]);
    if (!status)
        status = patch_out_open(&w.out, &args->out, &args->common,
                                args->out.output
                                    ? NULL
                                    : outname_derived(operands[1], w.profile == FMP_PROFILE_COMPACT
                                                                       ? "compact"
                                                                       : "open"),
                                operands[1], operands, 2);
    if (!status)
        status = inputs_open_store(&w.base, operands[0], w.in.patch, INPUT_BASE, &args->common);
    if (!status)
        status = patch_out_load_keys(&w.out);
    if (!status)
        status = make_patch(&w, args);
    release(&w);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    recode_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = recode(&args, operands);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_recode = {
    .name = "recode",
    .operands = "BASE PATCH",
    .summary = "write PATCH in another profile",
    .notes = "What the patch does to BASE, its base, stays the same bit for bit; how it is coded "
             "changes.  Open patches can be inspected, reverted, combined without a base; compact "
             "ones are smaller.  The result is unsigned unless --sign signs it: a signature covers "
             "one coding.  " TRUST_NOTES "  The last line of standard output is the result's path.",
    .options = options,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
