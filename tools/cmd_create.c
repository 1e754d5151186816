/*
 * fmpatch create: what changes BASE into TARGET, as a patch.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "dates.h"
#include "fmpatch.h"
#include "inputs.h"
#include "outname.h"
#include "patch_out.h"
#include "progress.h"
#include "report.h"
#include "summary.h"
#include "textutil.h"

typedef struct create_args {
    common_args common;
    patch_args out;
    opt_list renames;
    bool reversible, raw, sha256, no_check, lenient, dry_run;
    unsigned width, values, profile;
} create_args;

static const opt_entry options[] = {
    OPT_PATCH_OUT(create_args, out, "TARGET's stem with .fmp"),
    {.name = "reversible",
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, reversible),
     .help = "keep what revert needs beyond the residuals"},
    {.name = "profile",
     .kind = OPT_CHOICE,
     .offset = offsetof(create_args, profile),
     .arg = "PROFILE",
     .words = "open compact",
     .help = "how changes are coded: to be read without the base (open), or smaller (compact)"},
    {.name = "values",
     .kind = OPT_CHOICE,
     .offset = offsetof(create_args, values),
     .arg = "KIND",
     .words = "residual set",
     .help = "store what to add (reversible) or what to set (repeatable)"},
    {.name = "rename",
     .kind = OPT_LIST,
     .offset = offsetof(create_args, renames),
     .arg = "OLD=NEW",
     .help = "tensor OLD of the base is NEW of the target; may be repeated"},
    {.name = "raw",
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, raw),
     .help = "take both files as plain bytes, whatever they hold"},
    {.name = "width",
     .kind = OPT_CHOICE,
     .offset = offsetof(create_args, width),
     .arg = "BITS",
     .words = "auto 8 16 32 64",
     .help = "coding unit of plain bytes"},
    {.name = "lenient",
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, lenient),
     .help = "read what the format's reference reader accepts, not only what is well formed"},
    {.name = "no-check",
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, no_check),
     .help = "leave out the sums of touched elements"},
    {.name = "dry-run",
     .letter = 'n',
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, dry_run),
     .help = "write nothing; look at a sample for a second and say what the patch would be"},
    {.name = "sha256",
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, sha256),
     .help = "put the files' SHA-256 into the manifest"},
    OPT_PATCH_HOW(create_args, out),
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

/* ---- results ----------------------------------------------------------------------------------
 */

static void print_json(const fmp_patch_summary *s, const char *path, uint64_t target_bytes)
{
    report_json j;

    report_json_begin(&j, "create");
    report_json_member(&j, "patch", report_json_text(path));
    report_json_member(&j, "id", report_json_hex(s->id, sizeof s->id));
    report_json_member(&j, "bytes", report_json_number(s->file_size));
    report_json_member(&j, "payload_bytes", report_json_number(s->payload_size));
    report_json_member(&j, "target_bytes", report_json_number(target_bytes));
    report_json_member(&j, "elements", report_json_number(s->n_elements));
    report_json_member(&j, "changed", report_json_number(s->n_changed));
    report_json_member(&j, "tensors", summary_tensors_json(s));
    report_json_member(&j, "base_root", report_json_hex(s->base_root, sizeof s->base_root));
    report_json_member(&j, "target_root", report_json_hex(s->target_root, sizeof s->target_root));
    report_json_member(&j, "profile", report_json_text(summary_profile(s)));
    report_json_member(&j, "reversible", json_boolean(s->reversible));
    report_json_member(&j, "n_signatures", json_integer(s->n_signatures));
    report_json_end(&j);
}

static void print_summary(const common_args *common, const fmp_patch_summary *s, const char *path,
                          uint64_t target_bytes)
{
    char changed[TEXT_NUMBER_LEN], all[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];
    char bytes[TEXT_NUMBER_LEN], each[64] = "";
    char *tensors;

    text_group(s->n_changed, changed);
    text_group(s->n_elements, all);
    text_percent(s->n_changed, s->n_elements, percent);
    text_group(s->file_size, bytes);
    if (s->n_changed)
        snprintf(each, sizeof each, ", %.2f bytes per changed weight",
                 (double)s->file_size / (double)s->n_changed);
    report_note(common, "%s: %s of %s weights changed (%s), %s bytes, %.1f times smaller%s", path,
                changed, all, percent, bytes,
                s->file_size ? (double)target_bytes / (double)s->file_size : 0.0, each);
    if (!common->verbose)
        return;
    tensors = summary_tensors(s);
    report_note(common, "tensors: %s; %" PRIu32 " frames; %s; %" PRIu32 " signatures", tensors,
                s->n_frames, s->reversible ? "reversible" : "not reversible", s->n_signatures);
    free(tensors);
}

/* ---- the work ---------------------------------------------------------------------------------
 */

typedef struct create_work {
    fmp_store *base, *target;
    patch_out out;
} create_work;

static void release(create_work *w)
{
    fmp_store_close(w->base);
    fmp_store_close(w->target);
    patch_out_close(&w->out);
}

static int check_args(const create_args *args)
{
    for (size_t i = 0; i < args->renames.n; i++) {
        const char *equals = strchr(args->renames.items[i], '=');

        if (!equals || equals == args->renames.items[i] || !equals[1])
            return report_usage("--rename: OLD=NEW is expected, found '%s'",
                                args->renames.items[i]);
    }
    return FMP_OK;
}

static int open_stores(create_work *w, const create_args *args, char **operands)
{
    const fmp_store_options how = {.size = sizeof how, .raw = args->raw, .lenient = args->lenient};
    fmp_error err;

    if (fmp_store_open(operands[0], &how, &w->base, &err) ||
        fmp_store_open(operands[1], &how, &w->target, &err))
        return report_error(&args->common, &err);
    return FMP_OK;
}

static fmp_create_options options_of(const create_work *w, const create_args *args)
{
    static const unsigned widths[] = {0, 8, 16, 32, 64};
    fmp_create_options how = patch_out_options(&w->out);

    how.width = widths[args->width];
    how.reversible = args->reversible;
    how.sha256 = args->sha256;
    how.no_check = args->no_check;
    how.set_values = args->values == 1;
    how.profile = args->profile ? FMP_PROFILE_COMPACT : FMP_PROFILE_OPEN;
    how.renames = args->renames.items;
    how.n_renames = args->renames.n;
    return how;
}

static int make_patch(create_work *w, const create_args *args)
{
    const uint64_t target_bytes = inputs_store_bytes(w->target);
    fmp_create_options how = options_of(w, args);
    fmp_create_result result;
    fmp_error err;
    fmp_status st;
    int status;

    how.progress = progress_start(&args->common, "create");
    st = fmp_create(w->base, w->target, w->out.path, &how, &result, &err);
    progress_end();
    if (st)
        return report_error(&args->common, &err);
    status = patch_out_deliver(&w->out);
    if (status)
        return status;
    print_summary(&args->common, &result.summary, w->out.shown, target_bytes);
    if (args->common.json)
        print_json(&result.summary, w->out.path, target_bytes);
    patch_out_print(&w->out);
    return FMP_OK;
}

/* ---- a forecast -------------------------------------------------------------------------------
 */

#define FORECAST_SECONDS 1.0

static void print_profile(const char *name, const fmp_forecast_profile *p)
{
    char bytes[TEXT_NUMBER_LEN];

    text_group((uint64_t)(p->n_bytes + 0.5), bytes);
    printf("%-8s %s bytes", name, bytes);
    if (p->n_bytes_error > 0)
        printf(" (give or take %.1f%%)", 200 * p->n_bytes_error);
    printf(", create %.2f s, apply %.2f s\n", p->create_seconds, p->apply_seconds);
}

static void print_forecast(const fmp_forecast_result *r)
{
    char changed[TEXT_NUMBER_LEN], all[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN];

    text_group((uint64_t)(r->n_changed + 0.5), changed);
    text_group(r->n_elements, all);
    text_percent((uint64_t)(r->n_changed + 0.5), r->n_elements, percent);
    printf("%s of %s weights change (%s", changed, all, percent);
    if (r->n_changed_error > 0)
        printf(", give or take %.1f%% of them", 200 * r->n_changed_error);
    puts(")");
    print_profile("open", &r->profile[FMP_PROFILE_OPEN]);
    print_profile("compact", &r->profile[FMP_PROFILE_COMPACT]);
}

static json_t *profile_json(const fmp_forecast_profile *p)
{
    json_t *o = json_object();

    report_json_set(o, "bytes", report_json_number((uint64_t)(p->n_bytes + 0.5)));
    report_json_set(o, "bytes_error", json_real(p->n_bytes_error));
    report_json_set(o, "create_seconds", json_real(p->create_seconds));
    report_json_set(o, "apply_seconds", json_real(p->apply_seconds));
    return o;
}

static void print_forecast_json(const fmp_forecast_result *r)
{
    report_json j;

    report_json_begin(&j, "forecast");
    report_json_member(&j, "elements", report_json_number(r->n_elements));
    report_json_member(&j, "changed", report_json_number((uint64_t)(r->n_changed + 0.5)));
    report_json_member(&j, "changed_error", json_real(r->n_changed_error));
    report_json_member(&j, "target_bytes", report_json_number(r->n_bytes));
    report_json_member(&j, "seen_bytes", report_json_number(r->n_seen));
    report_json_member(&j, "open", profile_json(&r->profile[FMP_PROFILE_OPEN]));
    report_json_member(&j, "compact", profile_json(&r->profile[FMP_PROFILE_COMPACT]));
    report_json_end(&j);
}

static int forecast(const create_work *w, const create_args *args)
{
    const fmp_create_options how = options_of(w, args);
    fmp_forecast_result r;
    fmp_error err;

    if (fmp_forecast(w->base, w->target, &how, FORECAST_SECONDS, &r, &err))
        return report_error(&args->common, &err);
    if (r.n_seen < r.n_bytes)
        report_note(&args->common, "looked at %.1f%% of the target",
                    100 * (double)r.n_seen / (double)r.n_bytes);
    if (args->common.json)
        print_forecast_json(&r);
    else
        print_forecast(&r);
    return FMP_OK;
}

static int create(const create_args *args, char **operands)
{
    create_work w = {0};
    int status = check_args(args);

    if (!status)
        status = patch_out_open(&w.out, &args->out, &args->common,
                                args->out.output ? NULL : outname_patch(operands[1]), operands[1],
                                operands, 2);
    if (!status)
        status = open_stores(&w, args, operands);
    if (!status && args->dry_run)
        status = forecast(&w, args);
    else if (!status && !(status = patch_out_load_keys(&w.out)))
        status = make_patch(&w, args);
    release(&w);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    create_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = create(&args, operands);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_create = {
    .name = "create",
    .operands = "BASE TARGET",
    .summary = "write what changes BASE into TARGET as a patch",
    .notes = "BASE and TARGET are each a .safetensors file, a sharded index (*.index.json), a "
             "directory that holds either, or any other file, taken as plain bytes.  The last line "
             "of standard output is the patch's path.",
    .options = options,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
