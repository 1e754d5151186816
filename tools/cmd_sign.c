/*
 * fmpatch sign: put signatures on a patch, take them off, or write a minisign signature beside it.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "fmpatch.h"
#include "passphrase.h"
#include "report.h"
#include "spool.h"
#include "textutil.h"
#include "trust.h"

typedef struct sign_args {
    common_args common;
    opt_list keys;
    const char *comment, *trusted_comment, *output;
    bool strip, minisign, force, any_key_mode;
    passphrase_args passphrase;
} sign_args;

static const opt_entry options[] = {
    {.name = "key",
     .letter = 'k',
     .kind = OPT_LIST,
     .offset = offsetof(sign_args, keys),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "sign with this secret key; may be repeated"},
    {.name = "comment",
     .kind = OPT_TEXT,
     .offset = offsetof(sign_args, comment),
     .arg = "TEXT",
     .help = "sign this comment too"},
    {.name = "strip",
     .kind = OPT_FLAG,
     .offset = offsetof(sign_args, strip),
     .help = "take every signature off"},
    {.name = "minisign",
     .kind = OPT_FLAG,
     .offset = offsetof(sign_args, minisign),
     .help = "leave PATCH alone and write a minisign signature of it"},
    {.name = "trusted-comment",
     .letter = 't',
     .kind = OPT_TEXT,
     .offset = offsetof(sign_args, trusted_comment),
     .arg = "TEXT",
     .help = "the trusted comment of the minisign signature"},
    {.name = "output",
     .letter = 'o',
     .kind = OPT_TEXT,
     .offset = offsetof(sign_args, output),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "where the minisign signature goes; PATCH.minisig without it"},
    {.name = "force",
     .letter = 'f',
     .kind = OPT_FLAG,
     .offset = offsetof(sign_args, force),
     .help = "replace the minisign signature when it exists"},
    OPT_PASSPHRASE(sign_args, passphrase),
    {.name = "any-key-mode",
     .kind = OPT_FLAG,
     .offset = offsetof(sign_args, any_key_mode),
     .help = "take a secret key that others may read, too"},
    OPT_COMMON,
    {0},
};

typedef struct sign_work {
    fmp_secret_key **keys;
    size_t n_keys;
    char *sig_path;
} sign_work;

static void release(sign_work *w)
{
    for (size_t i = 0; i < w->n_keys; i++)
        fmp_secret_key_free(w->keys[i]);
    free(w->keys);
    free(w->sig_path);
    passphrase_forget();
}

static int check_args(const sign_args *args, const char *path)
{
    if (spool_is_dash(path))
        return report_usage("sign: PATCH is changed in place and must be a file");
    if (args->strip && (args->keys.n || args->minisign || args->comment))
        return report_usage("sign: --strip excludes --key, --comment and --minisign");
    if (!args->strip && !args->keys.n)
        return report_usage("sign: --key FILE or --strip is expected");
    if (args->minisign && (args->keys.n != 1 || args->comment))
        return report_usage("sign: --minisign takes one --key and no --comment but -t");
    if (!args->minisign && (args->trusted_comment || args->output || args->force))
        return report_usage("sign: -t, -o and -f go with --minisign");
    if (args->comment && strlen(args->comment) > FMP_COMMENT_MAX)
        return report_usage("--comment: at most %d bytes", FMP_COMMENT_MAX);
    return passphrase_open(&args->passphrase);
}

static int load_keys(sign_work *w, const sign_args *args)
{
    fmp_error err;

    w->keys = text_alloc(args->keys.n * sizeof(fmp_secret_key *));
    for (size_t i = 0; i < args->keys.n; i++) {
        if (fmp_secret_key_load(args->keys.items[i], args->any_key_mode, passphrase_ask, NULL,
                                &w->keys[i], &err))
            return report_error(&args->common, &err);
        w->n_keys++;
    }
    return FMP_OK;
}

/* What minisign writes itself, but without a clock unless SOURCE_DATE_EPOCH gives one. */
static char *default_comment(const char *path)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH"), *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    uint64_t seconds;

    if (epoch && text_number(epoch, &seconds))
        return text_format("timestamp:%" PRIu64 "\tfile:%s\thashed", seconds, name);
    return text_format("file:%s\thashed", name);
}

static int write_minisig(sign_work *w, const sign_args *args, const char *path)
{
    char *comment =
        args->trusted_comment ? text_copy(args->trusted_comment) : default_comment(path);
    fmp_error err;
    fmp_status st;

    w->sig_path = args->output ? text_copy(args->output) : text_format("%s.minisig", path);
    st = fmp_minisign_sign(path, w->sig_path, w->keys[0], comment, args->force, &err);
    free(comment);
    return st ? report_error(&args->common, &err) : FMP_OK;
}

static int print_result(const sign_work *w, const sign_args *args, const char *path)
{
    fmp_patch *patch = NULL;
    fmp_error err;
    report_json j;
    char number[17];

    for (size_t i = 0; i < w->n_keys; i++) {
        const fmp_public_key key = fmp_secret_key_public(w->keys[i]);

        text_key_number(key.number, number);
        report_note(&args->common, "%s: signed by %s", path, number);
    }
    if (args->strip)
        report_note(&args->common, "%s: unsigned", path);
    if (!args->common.json) {
        puts(w->sig_path ? w->sig_path : path);
        return FMP_OK;
    }
    if (!w->sig_path && fmp_patch_open(path, NULL, &patch, &err))
        return report_error(&args->common, &err);
    report_json_begin(&j, "sign");
    report_json_member(&j, "patch", report_json_text(path));
    report_json_member(&j, "did",
                       json_string(args->strip   ? "strip"
                                   : w->sig_path ? "minisign"
                                                 : "sign"));
    report_json_member(&j, "output", report_json_text(w->sig_path ? w->sig_path : path));
    report_json_member(&j, "signatures", patch ? trust_json(NULL, patch) : json_null());
    report_json_end(&j);
    fmp_patch_close(patch);
    return FMP_OK;
}

static int sign(const sign_args *args, const char *path)
{
    sign_work w = {0};
    fmp_error err;
    int status = check_args(args, path);

    if (!status)
        status = load_keys(&w, args);
    if (!status && args->minisign)
        status = write_minisig(&w, args, path);
    else if (!status && (args->strip ? fmp_strip_file(path, &err)
                                     : fmp_sign_file(path, w.keys, w.n_keys, args->comment, &err)))
        status = report_error(&args->common, &err);
    if (!status)
        status = print_result(&w, args, path);
    release(&w);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    sign_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = sign(&args, operands[0]);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_sign = {
    .name = "sign",
    .operands = "PATCH",
    .summary = "sign PATCH, strip its signatures, or sign it for minisign",
    .notes = "Signing changes neither the payload nor the patch id.  A key that has signed already "
             "replaces its signature.  The last line of standard output is the file that was "
             "written.",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
