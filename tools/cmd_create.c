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
#include "passphrase.h"
#include "progress.h"
#include "report.h"
#include "spool.h"
#include "summary.h"
#include "textutil.h"

typedef struct create_args {
    common_args common;
    const char *output;
    opt_list sign, renames;
    const char *comment, *manifest, *task, *date;
    bool reversible, raw, sha256, no_check, force, any_key_mode, lenient;
    unsigned width, values;
    opt_number level, threads;
    passphrase_args passphrase;
} create_args;

static const opt_entry options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPT_TEXT,
     .offset = offsetof(create_args, output),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "write the patch to FILE, '-' being standard output; without it to TARGET's stem with "
             ".fmp, in the current directory"},
    {.name = "force",
     .letter = 'f',
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, force),
     .help = "replace FILE when it exists"},
    {.name = "sign",
     .kind = OPT_LIST,
     .offset = offsetof(create_args, sign),
     .arg = "KEYFILE",
     .hint = HINT_FILE,
     .help = "sign with this secret key; may be repeated"},
    {.name = "comment",
     .kind = OPT_TEXT,
     .offset = offsetof(create_args, comment),
     .arg = "TEXT",
     .help = "sign this comment too"},
    OPT_PASSPHRASE(create_args, passphrase),
    {.name = "any-key-mode",
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, any_key_mode),
     .help = "take a secret key that others may read, too"},
    {.name = "reversible",
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, reversible),
     .help = "keep what revert needs beyond the residuals"},
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
    {.name = "level",
     .kind = OPT_NUMBER,
     .offset = offsetof(create_args, level),
     .arg = "N",
     .min = 1,
     .max = 19,
     .help = "zstd level, 3 without it"},
    {.name = "no-check",
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, no_check),
     .help = "leave out the sums of touched elements"},
    {.name = "sha256",
     .kind = OPT_FLAG,
     .offset = offsetof(create_args, sha256),
     .help = "put the files' SHA-256 into the manifest"},
    {.name = "manifest",
     .kind = OPT_TEXT,
     .offset = offsetof(create_args, manifest),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "put the members of this JSON object into the manifest"},
    {.name = "task",
     .kind = OPT_TEXT,
     .offset = offsetof(create_args, task),
     .arg = "NAME",
     .help = "the task's name, in the manifest"},
    {.name = "date",
     .kind = OPT_TEXT,
     .offset = offsetof(create_args, date),
     .arg = "RFC3339",
     .help = "a date for the manifest (also: SOURCE_DATE_EPOCH); none without it"},
    {.name = "threads",
     .kind = OPT_NUMBER,
     .offset = offsetof(create_args, threads),
     .arg = "N",
     .min = 1,
     .max = 1024,
     .help = "threads, one for each processor without it, at most 2"},
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

/* ---- the manifest -----------------------------------------------------------------------------
 */

/* The task's name goes into the member "task", beside what --manifest has there. */
static bool set_task(json_t *manifest, const char *name)
{
    json_t *task = json_object_get(manifest, "task");

    if (!task) {
        report_json_set(manifest, "task", json_object());
        task = json_object_get(manifest, "task");
    }
    return json_is_object(task) && !json_object_set_new(task, "name", json_string(name));
}

/* *ret is NULL when there is nothing to include. */
static int load_manifest(const create_args *args, char **ret)
{
    json_t *manifest = NULL;
    json_error_t at;
    int status = FMP_OK;

    *ret = NULL;
    if (!args->manifest && !args->task)
        return FMP_OK;
    if (args->manifest) {
        FILE *f = fopen(args->manifest, "re");

        if (!f)
            return report_errno(args->manifest);
        manifest = json_loadf(f, JSON_REJECT_DUPLICATES, &at);
        fclose(f);
        if (!json_is_object(manifest)) {
            report_warning("%s: %s", args->manifest,
                           manifest ? "a JSON object is expected" : at.text);
            json_decref(manifest);
            return fmp_exit_status(FMP_ECORRUPT);
        }
    } else {
        manifest = json_object();
    }
    if (args->task && !set_task(manifest, args->task))
        status = report_usage("--task: the name is not UTF-8, or \"task\" of the manifest is no "
                              "object");
    else
        *ret = json_dumps(manifest, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(manifest);
    return status;
}

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
    fmp_secret_key **keys;
    size_t n_keys;
    char *manifest;
    char *default_path;
    spool_out spool;
    const char *path;
    char date[DATES_LEN];
} create_work;

static void release(create_work *w)
{
    fmp_store_close(w->base);
    fmp_store_close(w->target);
    for (size_t i = 0; i < w->n_keys; i++)
        fmp_secret_key_free(w->keys[i]);
    free(w->keys);
    free(w->manifest);
    free(w->default_path);
    spool_out_close(&w->spool);
    passphrase_forget();
}

static int load_keys(create_work *w, const create_args *args)
{
    fmp_error err;

    w->keys = text_alloc(args->sign.n * sizeof(fmp_secret_key *));
    for (size_t i = 0; i < args->sign.n; i++) {
        if (fmp_secret_key_load(args->sign.items[i], args->any_key_mode, passphrase_ask, NULL,
                                &w->keys[i], &err))
            return report_error(&args->common, &err);
        w->n_keys++;
    }
    return FMP_OK;
}

static int choose_path(create_work *w, const create_args *args, char **operands)
{
    if (args->output && spool_is_dash(args->output)) {
        const int status = args->common.json
                               ? report_usage("--json and the patch cannot share standard output")
                               : spool_out_open(&w->spool);

        w->path = w->spool.path;
        return status;
    }
    if (!args->output)
        w->default_path = outname_patch(operands[1]);
    w->path = args->output ? args->output : w->default_path;
    if (!w->path || !*w->path)
        return report_usage("create: '%s' gives the patch no name; use -o FILE", operands[1]);
    for (int i = 0; i < 2; i++) {
        if (outname_is_same(w->path, operands[i]))
            return report_usage("create: the patch would replace '%s'", operands[i]);
    }
    return FMP_OK;
}

static int check_args(const create_args *args)
{
    if (!args->sign.n && args->comment)
        return report_usage("--comment is signed and needs --sign");
    if (args->comment && strlen(args->comment) > FMP_COMMENT_MAX)
        return report_usage("--comment: at most %d bytes", FMP_COMMENT_MAX);
    for (size_t i = 0; i < args->renames.n; i++) {
        const char *equals = strchr(args->renames.items[i], '=');

        if (!equals || equals == args->renames.items[i] || !equals[1])
            return report_usage("--rename: OLD=NEW is expected, found '%s'",
                                args->renames.items[i]);
    }
    return passphrase_open(&args->passphrase);
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

static int make_patch(create_work *w, const create_args *args, const char *date)
{
    static const unsigned widths[] = {0, 8, 16, 32, 64};
    const fmp_create_options how = {
        .size = sizeof how,
        .n_threads = (unsigned)args->threads.value,
        .level = (int)args->level.value,
        .width = widths[args->width],
        .reversible = args->reversible,
        .sha256 = args->sha256,
        .replace = args->force,
        .no_check = args->no_check,
        .set_values = args->values == 1,
        .renames = args->renames.items,
        .n_renames = args->renames.n,
        .manifest_json = w->manifest,
        .date = date,
        .keys = w->keys,
        .n_keys = w->n_keys,
        .sign_comment = args->comment,
        .progress = progress_start(&args->common, "create"),
    };
    const uint64_t target_bytes = inputs_store_bytes(w->target);
    const char *shown = w->spool.path ? "standard output" : w->path;
    fmp_create_result result;
    fmp_error err;
    const fmp_status st = fmp_create(w->base, w->target, w->path, &how, &result, &err);

    progress_end();
    if (st)
        return report_error(&args->common, &err);
    if (w->spool.path) {
        const int status = spool_out_copy(&w->spool);

        if (status)
            return status;
    }
    print_summary(&args->common, &result.summary, shown, target_bytes);
    if (args->common.json)
        print_json(&result.summary, w->path, target_bytes);
    else if (!w->spool.path)
        puts(w->path);
    return FMP_OK;
}

static int create(const create_args *args, char **operands)
{
    create_work w = {0};
    const char *date = NULL;
    int status = check_args(args);

    if (!status)
        status = dates_find("--date", args->date, w.date, &date);
    if (!status)
        status = load_manifest(args, &w.manifest);
    if (!status)
        status = choose_path(&w, args, operands);
    if (!status)
        status = open_stores(&w, args, operands);
    if (!status)
        status = load_keys(&w, args);
    if (!status)
        status = make_patch(&w, args, date);
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
