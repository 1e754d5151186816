/*
 * fmpatch squash, invert, subset: patches made of patches, without a base.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

typedef struct algebra_args {
    common_args common;
    patch_args out;
    trust_args trust;
    opt_list tensors, except;
    bool side_files;
} algebra_args;

static const opt_entry squash_options[] = {
    OPT_PATCH_OUT(algebra_args, out, "the last PATCH's stem with .squash.fmp"),
    OPT_TRUST(algebra_args, trust),
    OPT_PATCH_HOW(algebra_args, out),
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

static const opt_entry invert_options[] = {
    OPT_PATCH_OUT(algebra_args, out, "PATCH's stem with .inverse.fmp"),
    OPT_TRUST(algebra_args, trust),
    OPT_PATCH_HOW(algebra_args, out),
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

static const opt_entry subset_options[] = {
    OPT_PATCH_OUT(algebra_args, out, "PATCH's stem with .subset.fmp"),
    {.name = "tensors",
     .kind = OPT_LIST,
     .offset = offsetof(algebra_args, tensors),
     .arg = "GLOB",
     .help = "keep tensors of this name, all without it; may be repeated"},
    {.name = "except",
     .kind = OPT_LIST,
     .offset = offsetof(algebra_args, except),
     .arg = "GLOB",
     .help = "but none of this name; may be repeated"},
    {.name = "side-files",
     .kind = OPT_FLAG,
     .offset = offsetof(algebra_args, side_files),
     .help = "keep what PATCH does to side files too; without it they stay as in the base"},
    OPT_TRUST(algebra_args, trust),
    OPT_PATCH_HOW(algebra_args, out),
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

/* ---- inputs -----------------------------------------------------------------------------------
 */

typedef struct algebra_work {
    trust trust;
    input_patch *in;
    const fmp_patch **patches;
    size_t n;
    patch_out out;
} algebra_work;

static void release(algebra_work *w)
{
    for (size_t i = 0; i < w->n; i++)
        inputs_close_patch(&w->in[i]);
    free(w->in);
    free(w->patches);
    patch_out_close(&w->out);
    trust_close(&w->trust);
}

static int open_patches(algebra_work *w, const algebra_args *args, char **names, size_t n)
{
    w->in = text_alloc(n * sizeof *w->in);
    w->patches = text_alloc(n * sizeof *w->patches);
    return trust_open_patches(&w->trust, names, n, true, &args->common, w->in, w->patches, &w->n);
}

/* ---- results ----------------------------------------------------------------------------------
 */

static void print_json(const algebra_work *w, const char *verb, const fmp_patch_summary *s)
{
    report_json j;

    report_json_begin(&j, verb);
    report_json_member(&j, "patch", report_json_text(w->out.path));
    report_json_member(&j, "id", report_json_hex(s->id, sizeof s->id));
    report_json_member(&j, "bytes", report_json_number(s->file_size));
    report_json_member(&j, "elements", report_json_number(s->n_elements));
    report_json_member(&j, "changed", report_json_number(s->n_changed));
    report_json_member(&j, "tensors", summary_tensors_json(s));
    report_json_member(&j, "base_root", report_json_hex(s->base_root, sizeof s->base_root));
    report_json_member(&j, "target_root", report_json_hex(s->target_root, sizeof s->target_root));
    report_json_member(&j, "reversible", json_boolean(s->reversible));
    report_json_member(&j, "n_signatures", json_integer(s->n_signatures));
    report_json_array(&j, "parents");
    for (size_t i = 0; i < w->n; i++) {
        const fmp_patch_summary p = fmp_patch_summarize(w->patches[i]);

        report_json_item(&j, report_json_hex(p.id, sizeof p.id));
    }
    report_json_array_end(&j);
    report_json_end(&j);
}

static void print_summary(const algebra_work *w, const algebra_args *args,
                          const fmp_patch_summary *s)
{
    char changed[TEXT_NUMBER_LEN], all[TEXT_NUMBER_LEN], bytes[TEXT_NUMBER_LEN];
    char percent[TEXT_NUMBER_LEN];
    char *tensors;

    text_group(s->n_changed, changed);
    text_group(s->n_elements, all);
    text_percent(s->n_changed, s->n_elements, percent);
    text_group(s->file_size, bytes);
    report_note(&args->common, "%s: %s of %s weights changed (%s), %s bytes, %s, %s", w->out.shown,
                changed, all, percent, bytes, s->reversible ? "reversible" : "not reversible",
                s->n_signatures ? "signed" : "unsigned");
    if (!args->common.verbose)
        return;
    tensors = summary_tensors(s);
    report_note(&args->common, "tensors: %s; %" PRIu32 " frames", tensors, s->n_frames);
    free(tensors);
}

/* ---- the work ---------------------------------------------------------------------------------
 */

static fmp_status make_patch(const algebra_work *w, const algebra_args *args, const char *verb,
                             fmp_create_result *result, fmp_error *err)
{
    fmp_create_options how = patch_out_options(&w->out);
    const fmp_subset_options what = {.size = sizeof what,
                                     .tensors = args->tensors.items,
                                     .n_tensors = args->tensors.n,
                                     .except = args->except.items,
                                     .n_except = args->except.n,
                                     .side_files = args->side_files};

    how.progress = progress_start(&args->common, verb);
    if (strcmp(verb, "squash") == 0)
        return fmp_squash(w->patches, w->n, w->out.path, &how, result, err);
    if (strcmp(verb, "invert") == 0)
        return fmp_invert(w->patches[0], w->out.path, &how, result, err);
    return fmp_subset(w->patches[0], &what, w->out.path, &how, result, err);
}

static int work(algebra_work *w, const algebra_args *args, const char *verb)
{
    fmp_create_result result;
    fmp_error err;
    const fmp_status st = make_patch(w, args, verb, &result, &err);
    int status;

    progress_end();
    if (st)
        return report_error(&args->common, &err);
    status = patch_out_deliver(&w->out);
    if (status)
        return status;
    print_summary(w, args, &result.summary);
    if (args->common.json)
        print_json(w, verb, &result.summary);
    patch_out_print(&w->out);
    return FMP_OK;
}

static int algebra(const command *self, const algebra_args *args, char **operands, size_t n)
{
    const char *insert = strcmp(self->name, "invert") == 0 ? "inverse" : self->name;
    const char *last = operands[n - 1];
    algebra_work w = {0};
    int status =
        patch_out_open(&w.out, &args->out, &args->common,
                       args->out.output ? NULL : outname_derived(last, insert), last, operands, n);

    if (!status)
        status = trust_open(&w.trust, &args->trust, &args->common);
    if (!status)
        status = open_patches(&w, args, operands, n);
    if (!status)
        status = patch_out_load_keys(&w.out);
    if (!status)
        status = work(&w, args, self->name);
    release(&w);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    algebra_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = algebra(self, &args, operands, n);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

#define RESULT_NOTES                                                                               \
    "The result is unsigned, whoever signed what it was made of, unless --sign signs it; its "     \
    "manifest lists the patches and their signers.  " TRUST_NOTES                                  \
    "  The last line of standard output is the patch's path."

const command cmd_squash = {
    .name = "squash",
    .operands = "PATCH...",
    .summary = "make one patch of a chain of patches",
    .notes = "The patches are a chain in the order given: each one's base is the target of the one "
             "before.  The result makes the last target from the first base; changes that cancel "
             "are not in it.  No checkpoint is needed.  " RESULT_NOTES,
    .options = squash_options,
    .min_operands = 1,
    .max_operands = FMP_SQUASH_MAX,
    .run = run,
};

const command cmd_invert = {
    .name = "invert",
    .operands = "PATCH",
    .summary = "make the patch that undoes a reversible patch",
    .notes = "The result turns the target back into the base.  No checkpoint is needed.  "
             "Status 7: PATCH is not reversible.  " RESULT_NOTES,
    .options = invert_options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};

const command cmd_subset = {
    .name = "subset",
    .operands = "PATCH",
    .summary = "make the patch that does a part of what a patch does",
    .notes = "GLOB is a pattern as in fnmatch(3); '*' matches any characters.  Tensors that are "
             "left out stay as they are in the base: also not added, not removed.  No checkpoint "
             "is needed.  " RESULT_NOTES,
    .options = subset_options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
