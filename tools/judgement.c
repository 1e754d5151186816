/*
 * What a policy says of a patch.  See judgement.h.
 */
#include "judgement.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dates.h"
#include "outfile.h"
#include "progress.h"
#include "report.h"
#include "sarif.h"
#include "textutil.h"

static const char *env(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* Where marks of lineages lie by default, to free; NULL when HOME is not set. */
static char *state_dir(void)
{
    const char *xdg = env("XDG_STATE_HOME");
    const char *home = env("HOME");

    if (xdg && *xdg == '/') /* the specification has relative ones ignored */
        return text_format("%s/fmpatch", xdg);
    return home ? text_format("%s/.local/state/fmpatch", home) : NULL;
}

/* The record to use, to free: that of --state, or the default one, whose directory is made. */
static int find_record(const judgement_args *args, char **ret)
{
    char *dir;

    *ret = args->state ? text_copy(args->state) : NULL;
    if (*ret)
        return FMP_OK;
    dir = state_dir();
    if (!dir)
        return report_usage("verify: HOME is not set: no record of lineages could be located; use "
                            "--state FILE");
    if (outfile_make_dirs(dir))
        *ret = text_format("%s/lineages.json", dir);
    else
        (void)report_errno(dir);
    free(dir);
    return *ret ? FMP_OK : fmp_exit_status(FMP_EIO);
}

int judgement_open(judgement *j, const judgement_args *args, const common_args *common)
{
    fmp_error err;

    *j = (judgement){0};
    if (!args->policy && (args->sarif || args->state || args->now || args->force))
        return report_usage("verify: --sarif, --state, --now and --force are for --policy");
    if (!args->policy)
        return FMP_OK;
    if (args->sarif) {
        const int status = outfile_check(args->sarif, args->force);

        if (status)
            return status;
    }
    if (fmp_policy_open(args->policy, &j->policy, &err))
        return report_error(common, &err);
    j->shown = text_escape(args->policy, strlen(args->policy));
    return FMP_OK;
}

int judgement_run(judgement *j, const judgement_args *args, const common_args *common,
                  const fmp_patch *patch, const fmp_store *base, const fmp_keyring *ring,
                  unsigned n_threads)
{
    fmp_policy_options o = {.size = sizeof o, .ring = ring, .n_threads = n_threads};
    char date[DATES_LEN];
    char *record = NULL;
    fmp_error err;
    int status;

    if (!j->policy)
        return FMP_OK;
    status = dates_find("--now", args->now, date, &o.now);
    if (!status && fmp_policy_has_lineage(j->policy))
        status = find_record(args, &record);
    if (!status) {
        o.record = record;
        o.progress = progress_start(common, "policy");
        if (fmp_policy_check(j->policy, patch, base, &o, &j->results, &err)) {
            progress_end();
            status = report_error(common, &err);
        }
        progress_end();
    }
    free(record);
    return status;
}

int judgement_write(const judgement *j, const judgement_args *args, const char *path)
{
    char *text;
    int status;

    if (!j->results || !args->sarif)
        return FMP_OK;
    text = sarif_text(j->results, path);
    status = outfile_write(args->sarif, text, strlen(text), args->force);
    free(text);
    return status;
}

int judgement_reset(const judgement_args *args, const common_args *common)
{
    char *shown = text_escape(args->reset, strlen(args->reset));
    char *record = NULL;
    fmp_error err;
    bool found;
    int status = find_record(args, &record);

    if (!status && fmp_lineage_reset(record, args->reset, &found, &err)) {
        status = report_error(common, &err);
    } else if (!status && common->json) {
        report_json out;

        report_json_begin(&out, "verify/reset-lineage");
        report_json_member(&out, "lineage", report_json_text(args->reset));
        report_json_member(&out, "known", json_boolean(found));
        report_json_end(&out);
    } else if (!status) {
        printf("%s: lineage '%s' %s\n", record, shown, found ? "is forgotten" : "was not known");
    }
    free(record);
    free(shown);
    return status;
}

void judgement_close(judgement *j)
{
    fmp_policy_results_free(j->results);
    fmp_policy_close(j->policy);
    free(j->shown);
    *j = (judgement){0};
}

/* ---- results ----------------------------------------------------------------------------------
 */

static uint64_t count(const judgement *j)
{
    return fmp_policy_results_count(j->results) + fmp_policy_results_left_out(j->results);
}

int judgement_verdict(const judgement *j, const char *shown_patch)
{
    const fmp_status st = j->results ? fmp_policy_results_verdict(j->results) : FMP_OK;
    const uint64_t n = st ? count(j) : 0;

    if (st)
        report_warning("%s: breaks the policy %s: %" PRIu64 " finding%s", shown_patch, j->shown, n,
                       n == 1 ? "" : "s");
    return fmp_exit_status(st);
}

static void print_finding(const fmp_finding *f)
{
    const char *about = f->tensor ? f->tensor : f->file;
    char *name = about ? text_escape(about, strlen(about)) : NULL;
    char *message = text_escape(f->message, strlen(f->message));
    char *expected = text_escape(f->expected, strlen(f->expected));
    char *found = text_escape(f->found, strlen(f->found));

    printf("  %s: %s%s%s; expected %s, found %s (%s)\n", f->rule, name ? name : "",
           name ? ": " : "", message, expected, found, f->member);
    free(name);
    free(message);
    free(expected);
    free(found);
}

void judgement_print(const judgement *j, const char *shown_patch)
{
    if (!j->results)
        return;
    if (!count(j)) {
        printf("%s: keeps the policy %s\n", shown_patch, j->shown);
        return;
    }
    printf("%s: breaks the policy %s:\n", shown_patch, j->shown);
    for (uint32_t i = 0; i < fmp_policy_results_count(j->results); i++) {
        const fmp_finding f = fmp_policy_results_at(j->results, i);

        print_finding(&f);
    }
    if (fmp_policy_results_left_out(j->results))
        printf("  and %" PRIu64 " more\n", fmp_policy_results_left_out(j->results));
}

json_t *judgement_json(const judgement *j, const judgement_args *args)
{
    json_t *o, *list;

    if (!j->results)
        return json_null();
    o = json_object();
    list = json_array();
    report_json_set(o, "file", report_json_text(args->policy));
    report_json_set(o, "kept", json_boolean(!count(j)));
    for (uint32_t i = 0; i < fmp_policy_results_count(j->results); i++) {
        const fmp_finding f = fmp_policy_results_at(j->results, i);
        json_t *one = json_object();

        report_json_set(one, "rule", json_string(f.rule));
        report_json_set(one, "member", json_string(f.member));
        report_json_set(one, "tensor", report_json_text(f.tensor));
        report_json_set(one, "file", report_json_text(f.file));
        report_json_set(one, "message", report_json_text(f.message));
        report_json_set(one, "expected", report_json_text(f.expected));
        report_json_set(one, "found", report_json_text(f.found));
        json_array_append_new(list, one);
    }
    report_json_set(o, "findings", list);
    report_json_set(o, "left_out", report_json_number(fmp_policy_results_left_out(j->results)));
    return o;
}
