/*
 * Opens what the verbs of fmpatch fish work on.
 */
#include "fish/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"
#include "textutil.h"

static void forget_classes(session *s)
{
    for (uint32_t i = 0; i < s->n_classes; i++)
        free(s->classes[i]);
    free(s->classes);
    s->classes = NULL;
    s->n_classes = 0;
}

int session_begin(session *s, const common_args *common, const session_args *args,
                  const char *base_path)
{
    fmp_error err;

    *s = (session){.common = common, .args = args, .base_path = base_path, .mean = 0.5, .std = 0.5};
    s->regression = args->regression;
    if (fish_pool_new((unsigned)args->threads.value, &s->pool, &err) ||
        fmp_store_open(base_path, NULL, &s->base, &err))
        return report_error(common, &err);
    return FMP_OK;
}

void session_end(session *s)
{
    for (size_t i = 0; i < s->n_patches; i++)
        inputs_close_patch(&s->patches[i]);
    free(s->patches);
    free(s->opened);
    free(s->pooling);
    forget_classes(s);
    trust_close(&s->trust);
    fish_data_free(s->data);
    fish_tokenizer_free(s->tokenizer);
    fish_model_free(s->model);
    fish_pool_free(s->pool);
    fmp_store_close(s->base);
}

/* Whether a file can be made where `path` would have it: to be known before hours of training. */
static int check_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? text_format("%.*s", (int)(slash - path) + 1, path) : text_copy(".");
    const int status = access(dir, W_OK | X_OK) ? report_errno(dir) : FMP_OK;

    free(dir);
    return status;
}

int session_check_output(const char *path, bool force, const char *const *inputs, size_t n)
{
    struct stat out, in;

    if (!strcmp(path, "-"))
        return report_usage("-: standard output is not written here; name a file");
    if (lstat(path, &out))
        return check_directory(path);
    if (!force)
        return report_usage("%s: exists already (give -f to replace it)", path);
    for (size_t i = 0; i < n; i++) {
        if (inputs[i] && !stat(inputs[i], &in) && !stat(path, &out) && in.st_dev == out.st_dev &&
            in.st_ino == out.st_ino)
            return report_usage("%s: is an input, and stays as it is", path);
    }
    return FMP_OK;
}

/* ---- patches ----------------------------------------------------------------------------------
 */

/* A number that session_exact() wrote; false where there is none. */
static bool read_exact(const json_t *task, const char *key, double *ret)
{
    const char *text = json_string_value(json_object_get(task, key));
    char *end = NULL;
    double x;

    if (!text)
        return false;
    x = strtod(text, &end);
    if (end == text || *end)
        return false;
    *ret = x;
    return true;
}

/* How DATA was read in training, where it was not as without options. */
static void read_view(session *s, const json_t *task)
{
    const json_int_t max_tokens = json_integer_value(json_object_get(task, "max_tokens"));

    if (max_tokens >= 4 && max_tokens <= 4096)
        s->max_tokens = (uint32_t)max_tokens;
    (void)read_exact(task, "mean", &s->mean);
    (void)read_exact(task, "std", &s->std);
}

/* The manifest's "task": {"type": ..., "classes": [...]}. */
static void read_task(session *s, const fmp_patch *patch)
{
    json_t *manifest = json_loads(fmp_patch_manifest(patch), JSON_REJECT_DUPLICATES, NULL);
    const json_t *task = json_object_get(manifest, "task");
    const json_t *classes = json_object_get(task, "classes");
    const char *type = json_string_value(json_object_get(task, "type"));
    const char *pooling = json_string_value(json_object_get(task, "pooling"));

    if (type)
        s->regression = s->args->regression || !strcmp(type, "regression");
    read_view(s, task);
    if (pooling) {
        free(s->pooling);
        s->pooling = text_copy(pooling);
    }
    if (json_array_size(classes)) {
        forget_classes(s);
        s->classes = text_alloc(json_array_size(classes) * sizeof *s->classes);
        for (size_t i = 0; i < json_array_size(classes); i++) {
            const char *name = json_string_value(json_array_get(classes, i));

            s->classes[s->n_classes++] = text_copy(name ? name : "?");
        }
    }
    json_decref(manifest);
}

/* The first patch must be for the base, and each later one for what the one before it makes. */
static int check_chain(session *s)
{
    fmp_error err;

    if (fmp_verify(s->patches[0].patch, s->base, fish_pool_threads(s->pool),
                   (fmp_progress){NULL, NULL}, &err))
        return report_error(s->common, &err);
    for (size_t i = 1; i < s->n_patches; i++) {
        const fmp_patch_summary before = fmp_patch_summarize(s->opened[i - 1]);
        const fmp_patch_summary here = fmp_patch_summarize(s->opened[i]);

        if (memcmp(before.target_root, here.base_root, sizeof here.base_root)) {
            report_warning("%s: its base is not what %s makes", s->patches[i].shown,
                           s->patches[i - 1].shown);
            return fmp_exit_status(FMP_EBASE);
        }
        if (fmp_verify(s->patches[i].patch, NULL, fish_pool_threads(s->pool),
                       (fmp_progress){NULL, NULL}, &err))
            return report_error(s->common, &err);
    }
    return FMP_OK;
}

int session_open_patches(session *s, const trust_args *args, char **paths, size_t n)
{
    int status = trust_open(&s->trust, args, s->common);

    s->patches = text_alloc((n + 1) * sizeof *s->patches);
    s->opened = text_alloc((n + 1) * sizeof(fmp_patch *));
    memset(s->patches, 0, (n + 1) * sizeof *s->patches);
    for (size_t i = 0; i < n && !status; i++) {
        fmp_verdict verdict;
        fmp_error err;

        status = inputs_open_patch(&s->patches[i], paths[i], s->common);
        if (status)
            break;
        s->n_patches++;
        s->opened[i] = s->patches[i].patch;
        if (fmp_patch_check_trust(s->opened[i], &s->trust.rules, &verdict, &err))
            status = report_error_about(s->common, s->patches[i].shown, &err);
        else
            read_task(s, s->opened[i]);
    }
    return status || !n ? status : check_chain(s);
}

/* ---- data -------------------------------------------------------------------------------------
 */

/* The directory that a file lies in, or the directory itself; to free. */
static char *directory_of(const char *path)
{
    struct stat st;
    char *dir = text_copy(path);
    char *slash;

    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        return dir;
    slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    else
        dir[0] = '.', dir[1] = 0;
    return dir;
}

static bool is_image_file(const session *s, const char *path)
{
    const char *name = strrchr(path, '/');

    if (s->args->format)
        return !strcmp(s->args->format, "idx") || !strcmp(s->args->format, "npy");
    name = name ? name + 1 : path;
    return strstr(name, ".npy") || strstr(name, "-ubyte") || strstr(name, ".idx");
}

static int need_tokenizer(session *s)
{
    char *dir;
    fmp_error err;
    fmp_status st;

    if (s->tokenizer)
        return FMP_OK;
    dir = s->args->tokenizer ? text_copy(s->args->tokenizer) : directory_of(s->base_path);
    st = fish_tokenizer_open(dir, &s->tokenizer, &err);
    free(dir);
    return st ? report_error(s->common, &err) : FMP_OK;
}

int session_open_data(session *s, const char *path, const fish_data *like, bool no_labels,
                      fish_data **ret)
{
    const session_args *a = s->args;
    const uint32_t n_like = like && !s->regression ? fish_data_n_classes(like) : 0;
    const char **classes = text_alloc((n_like + s->n_classes + 1) * sizeof *classes);
    fish_data_options o = {
        .format = a->format,
        .text = a->text,
        .text2 = a->text2,
        .label = a->label,
        .no_header = a->no_header,
        .labels_path = like ? NULL : a->labels,
        .regression = s->regression,
        .max_tokens = a->max_tokens.given ? (uint32_t)a->max_tokens.value : s->max_tokens,
        .no_labels = no_labels,
        .mean = a->mean.given ? a->mean.value : s->mean,
        .std = a->std.given ? a->std.value : s->std,
    };
    fmp_error err;
    int status = is_image_file(s, path) ? FMP_OK : need_tokenizer(s);

    if (!status && !(o.std > 0)) /* to the library 0 means the default */
        status = report_usage("--std: more than 0 is expected");
    for (uint32_t i = 0; i < n_like; i++)
        classes[o.n_classes++] = fish_data_class(like, i);
    for (uint32_t i = 0; i < s->n_classes && !n_like && !s->regression; i++)
        classes[o.n_classes++] = s->classes[i];
    o.classes = o.n_classes ? classes : NULL;
    o.tokenizer = s->tokenizer;
    if (!status && fish_data_open(path, &o, ret, &err))
        status = report_error(s->common, &err);
    free(classes);
    return status;
}

int session_open_model(session *s, uint32_t n_outputs)
{
    const fish_model_options o = {
        .config_path = s->args->config,
        .n_outputs = n_outputs,
        .pooling = s->args->pooling ? s->args->pooling : s->pooling,
        .seed = s->args->seed.value,
    };
    fmp_error err;

    if (fish_model_open(s->base, s->base_path, &o, &s->model, &err))
        return report_error(s->common, &err);
    if (fish_model_takes(s->model, s->data, &err))
        return report_error(s->common, &err);
    for (size_t i = 0; i < s->n_patches; i++) {
        if (fish_model_apply(s->model, s->opened[i], &err))
            return report_error_about(s->common, s->patches[i].shown, &err);
    }
    return FMP_OK;
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

json_t *session_decimal(double x)
{
    char text[32];

    snprintf(text, sizeof text, "%.6g", x);
    return json_string(text);
}

json_t *session_exact(double x)
{
    char text[32];

    snprintf(text, sizeof text, "%.17g", x);
    return json_string(text);
}

static json_t *as_number(double x)
{
    return json_real(x);
}

static json_t *metrics(const fish_metrics *m, bool regression, json_t *(*make)(double))
{
    json_t *o = json_object();

    report_json_set(o, "n", json_integer((json_int_t)m->n));
    report_json_set(o, "loss", make(m->loss));
    if (regression) {
        report_json_set(o, "spearman", make(m->spearman));
        report_json_set(o, "pearson", make(m->pearson));
        report_json_set(o, "mse", make(m->mse));
    } else {
        report_json_set(o, "accuracy", make(m->accuracy));
        report_json_set(o, "f1", make(m->f1));
        report_json_set(o, "mcc", make(m->mcc));
    }
    return o;
}

json_t *session_metrics(const fish_metrics *m, bool regression)
{
    return metrics(m, regression, session_decimal);
}

json_t *session_metrics_numbers(const fish_metrics *m, bool regression)
{
    return metrics(m, regression, as_number);
}
