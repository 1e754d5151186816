/*
 * fmpatch verify: signatures, structure, every digest and frame; with a base, that the patch fits
 * it; with a policy, that it keeps its rules.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "fmpatch.h"
#include "inputs.h"
#include "judgement.h"
#include "progress.h"
#include "report.h"
#include "spool.h"
#include "textutil.h"
#include "trust.h"

/* minisign's limit on a trusted comment */
#define TRUSTED_COMMENT_MAX 8192

typedef struct verify_args {
    common_args common;
    const char *base, *minisig;
    opt_number threads;
    trust_args trust;
    judgement_args judgement;
} verify_args;

static const opt_entry options[] = {
    {.name = "base",
     .kind = OPT_TEXT,
     .offset = offsetof(verify_args, base),
     .arg = "BASE",
     .hint = HINT_FILE,
     .help = "check that BASE is the base, tensor by tensor"},
    {.name = "minisig",
     .kind = OPT_TEXT,
     .offset = offsetof(verify_args, minisig),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "check this minisign signature of the whole file, by a key of -P, -p or the keyring"},
    OPT_JUDGEMENT(verify_args, judgement),
    OPT_TRUST(verify_args, trust),
    {.name = "threads",
     .kind = OPT_NUMBER,
     .offset = offsetof(verify_args, threads),
     .arg = "N",
     .min = 1,
     .max = 1024,
     .help = "threads, one for each processor without it"},
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

typedef struct verify_work {
    trust trust;
    input_patch in;
    fmp_verdict verdict;
    judgement judgement;
    fmp_store *base;
    bool has_minisig;
    fmp_public_key minisig_key;
    char comment[TRUSTED_COMMENT_MAX + 1];
} verify_work;

static void release(verify_work *w)
{
    fmp_store_close(w->base);
    inputs_close_patch(&w->in);
    judgement_close(&w->judgement);
    trust_close(&w->trust);
    free(w);
}

/* The sidecar must be by one of the keys that are trusted and not revoked. */
static int check_minisig(verify_work *w, const verify_args *args, const char *path)
{
    const common_args *common = &args->common;
    fmp_error err = {.status = FMP_OK};
    size_t n_tried = 0;

    for (uint32_t i = 0; i < fmp_keyring_count(w->trust.ring); i++) {
        bool revoked;
        fmp_error this;

        fmp_keyring_at(w->trust.ring, i, &w->minisig_key, &revoked);
        if (revoked || trust_is_revoked(&w->trust, &w->minisig_key))
            continue;
        n_tried++;
        if (!fmp_minisign_verify(path, args->minisig, &w->minisig_key, w->comment,
                                 sizeof w->comment, &this)) {
            w->has_minisig = true;
            /* It vouches for the whole file: the patch's own signatures need not do so again. */
            if (!args->trust.require && !args->trust.threshold.given)
                w->trust.rules.allow_unsigned = true;
            return FMP_OK;
        }
        if (!err.status || err.status == FMP_EAUTH)
            err = this;
    }
    if (!n_tried)
        return report_usage("--minisig: no key to check it with; use -P KEY, -p FILE or a keyring");
    return report_error(common, &err);
}

static void print_text(const verify_work *w, const verify_args *args)
{
    char *shown = text_escape(w->in.shown, strlen(w->in.shown));
    char *sentence = trust_sentence(&w->trust, w->in.patch, w->verdict);
    const uint32_t n = fmp_patch_summarize(w->in.patch).n_signatures;

    printf("%s: every digest and frame is right\n", shown);
    if (args->base)
        printf("%s: fits %s\n", shown, args->base);
    if (w->has_minisig) {
        char *comment = text_escape(w->comment, strlen(w->comment));
        char number[17];

        text_key_number(w->minisig_key.number, number);
        printf("%s: minisign signature by %s, trusted comment: %s\n", shown, number, comment);
        free(comment);
    }
    printf("%s: %s\n", shown, sentence);
    for (uint32_t i = 0; i < n; i++) {
        const fmp_signature_info sig = fmp_patch_signature(w->in.patch, i);
        char *comment;
        char number[17];

        if (!sig.comment || !*sig.comment)
            continue;
        comment = text_escape(sig.comment, strlen(sig.comment));
        text_key_number(sig.key.number, number);
        printf("%s: signed comment of %s: %s\n", shown, number, comment);
        free(comment);
    }
    judgement_print(&w->judgement, shown);
    free(sentence);
    free(shown);
}

static void print_json(const verify_work *w, const verify_args *args)
{
    const fmp_patch_summary s = fmp_patch_summarize(w->in.patch);
    report_json j;

    report_json_begin(&j, "verify");
    report_json_member(&j, "patch", report_json_text(w->in.shown));
    report_json_member(&j, "id", report_json_hex(s.id, sizeof s.id));
    report_json_member(&j, "base", report_json_text(args->base));
    report_json_member(&j, "trust", json_string(trust_word(w->verdict)));
    report_json_member(&j, "signatures", trust_json(&w->trust, w->in.patch));
    if (w->has_minisig) {
        json_t *o = json_object();
        char number[17];

        text_key_number(w->minisig_key.number, number);
        report_json_set(o, "number", json_string(number));
        report_json_set(o, "trusted_comment", report_json_text(w->comment));
        report_json_member(&j, "minisig", o);
    } else {
        report_json_member(&j, "minisig", json_null());
    }
    report_json_member(&j, "policy", judgement_json(&w->judgement, &args->judgement));
    report_json_end(&j);
}

static int check_patch(verify_work *w, const verify_args *args, const char *operand)
{
    const common_args *common = &args->common;
    fmp_error err;
    int status;

    if (args->minisig && spool_is_dash(operand))
        return report_usage("verify: --minisig needs a patch that is a file");
    if (args->minisig) {
        status = check_minisig(w, args, operand);
        if (status)
            return status;
    }
    status = inputs_open_patch(&w->in, operand, common);
    if (status)
        return status;
    if (fmp_patch_check_trust(w->in.patch, &w->trust.rules, &w->verdict, &err))
        return report_error_about(common, w->in.shown, &err);
    if (args->base) {
        status = inputs_open_store(&w->base, args->base, w->in.patch, INPUT_BASE, common);
        if (status)
            return status;
    }
    return FMP_OK;
}

/* Decodes and judges; what was found is printed also when the policy is broken. */
static int check_content(verify_work *w, const verify_args *args)
{
    const unsigned n_threads = (unsigned)args->threads.value;
    fmp_error err;
    char *shown;
    int status;
    const fmp_status st =
        fmp_verify(w->in.patch, w->base, n_threads, progress_start(&args->common, "verify"), &err);

    progress_end();
    if (st)
        return report_error(&args->common, &err);
    status = judgement_run(&w->judgement, &args->judgement, &args->common, w->in.patch, w->base,
                           w->trust.ring, n_threads);
    if (!status)
        status = judgement_write(&w->judgement, &args->judgement, w->in.shown);
    if (status)
        return status;
    if (args->common.json)
        print_json(w, args);
    else
        print_text(w, args);
    shown = text_escape(w->in.shown, strlen(w->in.shown));
    status = judgement_verdict(&w->judgement, shown);
    free(shown);
    return status;
}

static int verify(const verify_args *args, const char *operand)
{
    verify_work *w = text_alloc(sizeof *w);
    int status = trust_open(&w->trust, &args->trust, &args->common);

    if (!status)
        status = judgement_open(&w->judgement, &args->judgement, &args->common);
    if (!status)
        status = check_patch(w, args, operand);
    if (!status)
        status = check_content(w, args);
    release(w);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    verify_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN && args.judgement.reset)
        status = n || args.judgement.policy
                     ? report_usage("verify: --reset-lineage takes no PATCH and no --policy")
                     : judgement_reset(&args.judgement, &args.common);
    else if (outcome == OPTS_RUN && !n)
        status = report_usage("verify: missing operand; usage: fmpatch verify PATCH");
    else if (outcome == OPTS_RUN)
        status = verify(&args, operands[0]);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_verify = {
    .name = "verify",
    .operands = "PATCH",
    .summary = "check that PATCH is whole, who signed it, and what it fits",
    .notes = "A PATCH '-' is read from standard input.  " TRUST_NOTES,
    .options = options,
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
