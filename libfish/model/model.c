/*
 * Opens a model by what its config.json says, and passes calls on to its driver.
 */
#include "model/model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/fail.h"
#include "core/jsontext.h"
#include "core/mem.h"
#include "core/tensors.h"
#include "model/gemm.h"
#include "model/image_model.h"
#include "model/params.h"

#define MAX_CONFIG ((size_t)1 << 20)

/* A model is one file: its open function stands here and nowhere else. */
static const struct {
    const char *model_type;
    fmp_status (*open)(fish_param_loader *l, const json_t *config,
                       const fish_model_options *options, fmp_error *err);
} drivers[] = {
    {"bert", fish_bert_open},
    {"resnet", fish_resnet_open},
    {"mlp", fish_mlp_open},
};

void fish_model_free(fish_model *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->n_params; i++) {
        fish_free((char *)(uintptr_t)m->params[i].name);
        fish_free(m->params[i].w);
    }
    fish_free(m->params);
    if (m->driver && m->driver->free)
        m->driver->free(m->config);
    fish_free(m);
}

/* config.json beside a checkpoint, or in it when it is a directory; to fish_free(). */
static char *config_beside(const char *path)
{
    static const char name[] = "config.json";
    const size_t cap = strlen(path) + sizeof name + 2;
    char *out = fish_alloc(cap, 1);
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (!out)
        return NULL;
    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        (void)snprintf(out, cap, "%s/%s", path, name);
    else
        (void)snprintf(out, cap, "%.*s%s", slash ? (int)(slash - path) + 1 : 0, path, name);
    return out;
}

static fmp_status read_config(const char *path, json_t **ret, fmp_error *err)
{
    json_error_t at;
    char *text;
    size_t len;
    fmp_status st = fish_slurp(path, MAX_CONFIG, &text, &len, err);

    if (st)
        return st;
    *ret = json_loadb(text, len, JSON_REJECT_DUPLICATES, &at);
    fish_free(text);
    if (json_is_object(*ret))
        return FMP_OK;
    json_decref(*ret);
    *ret = NULL;
    return fish_fail(err, FMP_ECORRUPT, "%s: line %d: a JSON object is expected: %s", path, at.line,
                     at.text);
}

static fmp_status open_driver(fish_param_loader *l, const json_t *config,
                              const fish_model_options *options, fmp_error *err)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));

    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        if (type && !strcmp(type, drivers[i].model_type))
            return drivers[i].open(l, config, options, err);
    }
    return fish_fail(
        err, FMP_ENOTSUP,
        "config.json: model_type \"bert\", \"resnet\" or \"mlp\" is expected, found %s",
        type ? type : "none");
}

static fmp_status make_model(const fmp_store *base, const char *path, const json_t *config,
                             const fish_model_options *options, fish_model **ret, fmp_error *err)
{
    fish_model *m = fish_calloc(1, sizeof *m);
    fish_param_loader l = {
        .base = base, .path = path, .prefix = "", .seed = options->seed, .model = m};
    fmp_status st;

    if (!m)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    fish_blas_single_thread();
    st = open_driver(&l, config, options, err);
    if (st) {
        fish_model_free(m);
        return st;
    }
    *ret = m;
    return FMP_OK;
}

fmp_status fish_model_open(const fmp_store *base, const char *path,
                           const fish_model_options *options, fish_model **ret, fmp_error *err)
{
    static const fish_model_options defaults = {0};
    json_t *config = NULL;
    char *found = NULL;
    fmp_status st;

    if (!options)
        options = &defaults;
    if (!options->config_path && !(found = config_beside(path)))
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    st = read_config(found ? found : options->config_path, &config, err);
    if (!st)
        st = make_model(base, path, config, options, ret, err);
    json_decref(config);
    fish_free(found);
    return st;
}

fmp_status fish_model_takes(const fish_model *m, const fish_data *d, fmp_error *err)
{
    const bool images = fish_data_kind_of(d) == FISH_IMAGE;
    uint32_t chw[3];

    if (images != (m->image[0] != 0))
        return fish_fail(err, FMP_EUSAGE, "%s: %s, but the model takes %s", fish_data_digest(d),
                         images ? "images" : "texts", images ? "texts" : "images");
    if (!images)
        return FMP_OK;
    fish_data_image_shape(d, chw);
    return fish_image_check(m, fish_data_digest(d), chw, err);
}

/* ---- passes -----------------------------------------------------------------------------------
 */

/* Shapes are checked here, once, so that no model needs to. */
static fmp_status check_batch(const fish_model *m, const fish_batch *b, fmp_error *err)
{
    const bool images = m->image[0] != 0;

    if (images && !b->pixels)
        return fish_fail(err, FMP_EUSAGE, "the model takes images, the data are texts");
    if (!images && !b->ids)
        return fish_fail(err, FMP_EUSAGE, "the model takes texts, the data are images");
    for (uint32_t e = 0; e < b->n && !images; e++) {
        const uint32_t n = b->start[e + 1] - b->start[e];

        if (n == 0 || n > m->max_tokens)
            return fish_fail(err, FMP_EUSAGE, "example %u: 1 to %u tokens are expected, found %u",
                             b->example ? b->example[e] : e, m->max_tokens, n);
    }
    return FMP_OK;
}

fmp_status fish_forward(const fish_model *m, fish_work *w, const fish_batch *b,
                        const fish_pass *pass, float *outputs, fmp_error *err)
{
    const fmp_status st = check_batch(m, b, err);

    return st ? st : m->driver->forward(m, w, b, pass, outputs, err);
}

fmp_status fish_backward(const fish_model *m, fish_work *w, const fish_batch *b,
                         const float *d_outputs, fish_sink *sink, fmp_error *err)
{
    return m->driver->backward(m, w, b, d_outputs, sink, err);
}

fish_work *fish_work_new(const fish_model *m)
{
    return m->driver->work_new(m);
}

void fish_work_free(const fish_model *m, fish_work *w)
{
    if (w)
        m->driver->work_free(w);
}

void fish_model_fold_statistics(fish_model *m, const fish_work *w)
{
    if (m->driver->fold)
        m->driver->fold(m, w);
}

/* ---- models from scratch ----------------------------------------------------------------------
 */

fmp_status fish_model_new(const json_t *config, uint64_t seed, fish_model **ret, fmp_error *err)
{
    const fish_model_options options = {.seed = seed};

    return make_model(NULL, "new model", config, &options, ret, err);
}

static fmp_status save_config(const json_t *config, const char *path, bool replace, fmp_error *err)
{
    char *text = fish_json_dump(config, JSON_INDENT(2) | JSON_SORT_KEYS);
    fish_outfile *f = NULL;
    fmp_status st = text ? FMP_OK : fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);

    if (!st)
        st = fish_outfile_new(path, replace, &f, err);
    if (!st)
        st = fish_outfile_write(f, text, strlen(text), err);
    if (!st)
        st = fish_outfile_write(f, "\n", 1, err);
    if (!st)
        st = fish_outfile_commit(f, err);
    else
        fish_outfile_abort(f);
    fish_free(text);
    return st;
}

static fmp_status save_weights(const fish_model *m, const char *path, bool replace, fmp_error *err)
{
    static const char *const meta[] = {"format", "pt", NULL};
    fish_tensor_desc *descs = fish_calloc(m->n_params, sizeof *descs);
    fish_tensor_writer *w = NULL;
    fmp_status st;

    if (!descs)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    for (uint32_t i = 0; i < m->n_params; i++) {
        descs[i] = (fish_tensor_desc){
            .name = m->params[i].name, .dtype = "F32", .rank = m->params[i].rank};
        memcpy(descs[i].shape, m->params[i].shape, sizeof m->params[i].shape);
    }
    st = fish_tensor_writer_new(path, replace, meta, descs, m->n_params, &w, err);
    for (uint32_t i = 0; i < m->n_params && !st; i++)
        st = fish_tensor_writer_put(w, m->params[i].w, m->params[i].n * sizeof(float), err);
    if (!st)
        st = fish_tensor_writer_commit(w, err);
    else
        fish_tensor_writer_abort(w);
    fish_free(descs);
    return st;
}

fmp_status fish_model_save(const fish_model *m, const json_t *config, const char *dir, bool replace,
                           fmp_error *err)
{
    const size_t cap = strlen(dir) + 32;
    char *path = fish_alloc(cap, 1);
    fmp_status st = FMP_OK;

    if (!path)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", dir);
    if (mkdir(dir, 0777) && errno != EEXIST)
        st = fish_fail_errno(err, errno, "%s: cannot make the directory", dir);
    (void)snprintf(path, cap, "%s/config.json", dir);
    if (!st)
        st = save_config(config, path, replace, err);
    (void)snprintf(path, cap, "%s/model.safetensors", dir);
    if (!st)
        st = save_weights(m, path, replace, err);
    fish_free(path);
    return st;
}
