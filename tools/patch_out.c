/*
 * Where a patch goes, who signs it, what its manifest says.  See patch_out.h.
 */
#include "patch_out.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "outname.h"
#include "report.h"
#include "textutil.h"

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
static int load_manifest(const patch_args *args, char **ret)
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

/* 2026-01-31T23:59:59Z, or with an offset such as +01:00 in place of Z. */
static bool is_rfc3339(const char *s)
{
    static const char shape[] = "0000-00-00T00:00:00";
    size_t i = 0;

    for (; shape[i]; i++) {
        if (shape[i] == '0' ? s[i] < '0' || s[i] > '9' : s[i] != shape[i])
            return false;
    }
    if (s[i] == '.') {
        const size_t n = strspn(s + i + 1, "0123456789");

        if (!n || n > 9)
            return false;
        i += 1 + n;
    }
    if (!strcmp(s + i, "Z"))
        return true;
    return (s[i] == '+' || s[i] == '-') && strlen(s + i) == 6 &&
           strspn(s + i + 1, "0123456789") == 2 && s[i + 3] == ':' &&
           strspn(s + i + 4, "0123456789") == 2;
}

static int find_date(const patch_args *args, char date[PATCH_OUT_DATE_LEN], const char **ret)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    uint64_t seconds;
    struct tm tm;
    time_t t;

    *ret = args->date;
    if (args->date && !is_rfc3339(args->date))
        return report_usage("--date: a date such as 2026-01-31T23:59:59Z is expected, found '%s'",
                            args->date);
    if (args->date || !epoch || !*epoch)
        return FMP_OK;
    if (!text_number(epoch, &seconds) || seconds > 253402300799) /* the end of the year 9999 */
        return report_usage("SOURCE_DATE_EPOCH: a number of seconds is expected, found '%s'",
                            epoch);
    t = (time_t)seconds;
    if (!gmtime_r(&t, &tm) || !strftime(date, PATCH_OUT_DATE_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm))
        return report_usage("SOURCE_DATE_EPOCH: no date");
    *ret = date;
    return FMP_OK;
}

/* ---- the rest ---------------------------------------------------------------------------------
 */

int patch_out_load_keys(patch_out *w)
{
    const patch_args *args = w->args;
    fmp_error err;

    w->keys = text_alloc(args->sign.n * sizeof(fmp_secret_key *));
    for (size_t i = 0; i < args->sign.n; i++) {
        if (fmp_secret_key_load(args->sign.items[i], args->any_key_mode, passphrase_ask, NULL,
                                &w->keys[i], &err))
            return report_error(w->common, &err);
        w->n_keys++;
    }
    return FMP_OK;
}

static int choose_path(patch_out *w, const char *from, char *const *inputs, size_t n)
{
    const patch_args *args = w->args;

    if (args->output && spool_is_dash(args->output)) {
        const int status = w->common->json
                               ? report_usage("--json and the patch cannot share standard output")
                               : spool_out_open(&w->spool);

        w->path = w->spool.path;
        w->shown = "standard output";
        return status;
    }
    w->path = w->shown = args->output ? args->output : w->default_path;
    if (!w->path || !*w->path)
        return report_usage("'%s' gives the patch no name; use -o FILE", from);
    for (size_t i = 0; i < n; i++) {
        if (outname_is_same(w->path, inputs[i]))
            return report_usage("the patch would replace '%s'", inputs[i]);
    }
    return FMP_OK;
}

static int check_args(const patch_args *args)
{
    if (!args->sign.n && args->comment)
        return report_usage("--comment is signed and needs --sign");
    if (args->comment && strlen(args->comment) > FMP_COMMENT_MAX)
        return report_usage("--comment: at most %d bytes", FMP_COMMENT_MAX);
    return passphrase_open(&args->passphrase);
}

int patch_out_open(patch_out *w, const patch_args *args, const common_args *common,
                   char *default_path, const char *from, char *const *inputs, size_t n)
{
    int status;

    *w = (patch_out){.args = args, .common = common, .default_path = default_path};
    status = check_args(args);
    if (!status)
        status = find_date(args, w->date, &w->given_date);
    if (!status)
        status = load_manifest(args, &w->manifest);
    return status ? status : choose_path(w, from, inputs, n);
}

fmp_create_options patch_out_options(const patch_out *w)
{
    return (fmp_create_options){
        .size = sizeof(fmp_create_options),
        .n_threads = (unsigned)w->args->threads.value,
        .level = (int)w->args->level.value,
        .replace = w->args->force,
        .manifest_json = w->manifest,
        .date = w->given_date,
        .keys = w->keys,
        .n_keys = w->n_keys,
        .sign_comment = w->args->comment,
    };
}

int patch_out_deliver(const patch_out *w)
{
    return w->spool.path ? spool_out_copy(&w->spool) : FMP_OK;
}

void patch_out_print(const patch_out *w)
{
    if (!w->common->json && !w->spool.path)
        puts(w->path);
}

void patch_out_close(patch_out *w)
{
    for (size_t i = 0; i < w->n_keys; i++)
        fmp_secret_key_free(w->keys[i]);
    free(w->keys);
    free(w->manifest);
    free(w->default_path);
    spool_out_close(&w->spool);
    passphrase_forget();
    *w = (patch_out){0};
}
