/*
 * Masks read and written by the verbs.
 */
#include "mask/masks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "report.h"
#include "spool.h"
#include "textutil.h"

int masks_load(fish_mask **ret, const char *operand, const common_args *common)
{
    const char *path = operand;
    int status = FMP_OK;
    fmp_error err;

    if (spool_is_dash(operand) && !(path = spool_input(&status)))
        return status;
    return fish_mask_load(path, ret, &err)
               ? report_error_about(common, path == operand ? NULL : "standard input", &err)
               : FMP_OK;
}

int masks_check_free(const char *path, const masks_args *args)
{
    struct stat st;

    if (args->force || spool_is_dash(path) || lstat(path, &st))
        return FMP_OK;
    return report_usage("%s: exists already (give -f to replace it)", path);
}

int masks_writer_open(masks_writer *w, const masks_args *args, const common_args *common)
{
    int status = passphrase_open(&args->passphrase);
    fmp_error err;

    *w = (masks_writer){.common = common, .args = args};
    w->keys = text_alloc((args->sign.n + 1) * sizeof(fmp_secret_key *));
    for (size_t i = 0; i < args->sign.n && !status; i++) {
        if (fmp_secret_key_load(args->sign.items[i], args->any_key_mode, passphrase_ask, NULL,
                                &w->keys[i], &err))
            return report_error(common, &err);
        w->n_keys++;
    }
    return status;
}

void masks_writer_close(masks_writer *w)
{
    for (size_t i = 0; i < w->n_keys; i++)
        fmp_secret_key_free(w->keys[i]);
    free(w->keys);
    passphrase_forget();
    *w = (masks_writer){0};
}

static int write_to(const masks_writer *w, const fish_mask *m, const char *path, bool replace,
                    const char *method)
{
    fmp_error err;

    return fish_mask_save(m, path, replace, method, w->keys, w->n_keys, &err)
               ? report_error(w->common, &err)
               : FMP_OK;
}

static int write_spooled(const masks_writer *w, const fish_mask *m, const char *method)
{
    spool_out spool = {0};
    int status = w->common->json ? report_usage("--json and the mask cannot share standard output")
                                 : spool_out_open(&spool);

    if (!status)
        status = write_to(w, m, spool.path, true, method);
    if (!status)
        status = spool_out_copy(&spool);
    spool_out_close(&spool);
    return status;
}

int masks_write(const masks_writer *w, const fish_mask *m, const char *path, json_t *method)
{
    char *text = json_dumps(method, JSON_COMPACT | JSON_SORT_KEYS);
    int status;

    json_decref(method);
    if (!text) {
        report_warning("out of memory");
        return fmp_exit_status(FMP_ENOMEM);
    }
    status = spool_is_dash(path) ? write_spooled(w, m, text)
                                 : write_to(w, m, path, w->args->force, text);
    free(text);
    return status;
}

/* ---- reports ----------------------------------------------------------------------------------
 */

uint64_t masks_head(const fish_mask *m)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < m->n_tensors; i++)
        n += m->tensors[i].head ? m->tensors[i].n : 0;
    return n;
}

static uint64_t file_bytes(const char *path)
{
    struct stat st;

    return !stat(path, &st) && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

void masks_report(const common_args *common, const fish_mask *m, const char *path)
{
    char n[TEXT_NUMBER_LEN], all[TEXT_NUMBER_LEN], percent[TEXT_NUMBER_LEN], head[64] = "";
    char size[64] = "";

    text_group(m->n, n);
    text_group(m->n_elements, all);
    text_percent(m->n, m->n_elements, percent);
    if (masks_head(m)) {
        char number[TEXT_NUMBER_LEN];

        text_group(masks_head(m), number);
        snprintf(head, sizeof head, ", %s of them the head", number);
    }
    if (!spool_is_dash(path)) {
        char number[TEXT_NUMBER_LEN];

        text_group(file_bytes(path), number);
        snprintf(size, sizeof size, ", %s bytes", number);
    }
    report_note(common, "%s: %s of %s weights selected (%s)%s%s",
                spool_is_dash(path) ? "standard output" : path, n, all, percent, head, size);
    if (!spool_is_dash(path))
        puts(path);
}

void masks_report_json(report_json *j, const fish_mask *m, const char *path)
{
    report_json_member(j, "mask", report_json_text(path));
    report_json_member(j, "bytes", report_json_number(file_bytes(path)));
    report_json_member(j, "elements", report_json_number(m->n_elements));
    report_json_member(j, "selected", report_json_number(m->n));
    report_json_member(j, "head", report_json_number(masks_head(m)));
    report_json_member(j, "density",
                       json_real(m->n_elements ? (double)m->n / (double)m->n_elements : 0));
}

json_t *masks_decimal(double x)
{
    char text[32];

    snprintf(text, sizeof text, "%.6g", x);
    return json_string(text);
}
