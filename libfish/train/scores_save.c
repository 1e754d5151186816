/*
 * Scores into a score file: F32 tensors named and shaped as the model's parameters, with where they
 * are from in the metadata.
 */
#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/jsontext.h"
#include "core/mem.h"
#include "core/tensors.h"
#include "score/scores.h"
#include "train/fisher.h"

#define CHUNK 4096

/* What the estimator is called in metadata, and what kind of score it makes. */
static const struct {
    const char *source, *name;
} estimators[] = {
    [FISH_EMPIRICAL] = {"fisher", "empirical"},
    [FISH_EXPECTED] = {"fisher", "expected"},
    [FISH_SAMPLED] = {"fisher", "sampled"},
    [FISH_ABSOLUTE] = {"gradient", "absolute"},
    [FISH_BATCH_SQUARED] = {"fisher", "batch-squared"},
    [FISH_SNIP] = {"snip", "snip"},
};

/* Names of the head's tensors, one a line, to fish_free(); NULL: out of memory. */
static char *head_names(const fish_model *m)
{
    size_t len = 1;
    size_t at = 0;
    char *text;

    for (uint32_t p = 0; p < m->n_params; p++) {
        if (m->params[p].role == FISH_HEAD)
            len += strlen(m->params[p].name) + 1;
    }
    text = fish_alloc(len, 1);
    if (!text)
        return NULL;
    for (uint32_t p = 0; p < m->n_params; p++) {
        const size_t n = strlen(m->params[p].name);

        if (m->params[p].role != FISH_HEAD)
            continue;
        if (at)
            text[at++] = '\n';
        memcpy(text + at, m->params[p].name, n);
        at += n;
    }
    text[at] = '\0';
    return text;
}

/* A JSON array of class names, to fish_free(). */
static fmp_status class_names(const fish_data *d, bool regression, const char *path, char **ret,
                              fmp_error *err)
{
    json_t *array = json_array();
    fmp_status st = FMP_OK;

    for (uint32_t c = 0; !st && !regression && c < fish_data_n_classes(d); c++) {
        if (json_array_append_new(array, json_string(fish_data_class(d, c))))
            st = fish_fail(err, FMP_ECORRUPT, "%s: the name of class %u is not UTF-8", path, c);
    }
    if (!st && !(*ret = fish_json_dump(array, JSON_COMPACT)))
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    json_decref(array);
    return st;
}

/* Rounds once; what is too large for a float becomes the largest. */
static fmp_status put_scores(fish_tensor_writer *w, const double *scores, size_t n, fmp_error *err)
{
    float part[CHUNK];

    for (size_t done = 0; done < n;) {
        const size_t len = n - done < CHUNK ? n - done : CHUNK;
        fmp_status st;

        for (size_t i = 0; i < len; i++) {
            const double v = scores[done + i];

            part[i] = v > FLT_MAX ? FLT_MAX : (float)v;
        }
        st = fish_tensor_writer_put(w, part, len * sizeof *part, err);
        if (st)
            return st;
        done += len;
    }
    return FMP_OK;
}

static fmp_status write_file(const fish_scores *s, const fish_model *m, const char *const *meta,
                             const char *path, bool replace, fmp_error *err)
{
    fish_tensor_desc *descs = fish_calloc(m->n_params, sizeof *descs);
    fish_tensor_writer *w = NULL;
    uint32_t n = 0;
    fmp_status st;

    if (!descs)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    for (uint32_t p = 0; p < m->n_params; p++) {
        const fish_param *param = &m->params[p];

        if (!s->scores[p])
            continue;
        descs[n] = (fish_tensor_desc){.name = param->name, .dtype = "F32", .rank = param->rank};
        memcpy(descs[n++].shape, param->shape, sizeof param->shape);
    }
    st = fish_tensor_writer_new(path, replace, meta, descs, n, &w, err);
    fish_free(descs);
    for (uint32_t p = 0; !st && p < m->n_params; p++) {
        if (s->scores[p])
            st = put_scores(w, s->scores[p], m->params[p].n, err);
    }
    if (st) {
        fish_tensor_writer_abort(w);
        return st;
    }
    return fish_tensor_writer_commit(w, err);
}

fmp_status fish_scores_save(const fish_scores *s, const fish_model *m, const fish_data *d,
                            const fish_fisher_options *options, const char *path, bool replace,
                            fmp_error *err)
{
    const fish_estimator e = options ? options->estimator : FISH_EMPIRICAL;
    char *head = head_names(m);
    char *classes = NULL;
    fmp_status st = class_names(d, options && options->regression, path, &classes, err);
    char samples[16];
    char seed[24];
    const char *const meta[] = {FISH_META_FORMAT,
                                "fmpatch scores",
                                FISH_META_SOURCE,
                                estimators[e].source,
                                FISH_META_ESTIMATOR,
                                estimators[e].name,
                                FISH_META_SAMPLES,
                                samples,
                                FISH_META_SEED,
                                seed,
                                FISH_META_DATA,
                                fish_data_digest(d),
                                FISH_META_HEAD,
                                head,
                                FISH_META_CLASSES,
                                classes,
                                NULL};

    snprintf(samples, sizeof samples, "%" PRIu32, s->n_samples);
    snprintf(seed, sizeof seed, "%" PRIu64, options ? options->seed : 0);
    if (!st && !head)
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    if (!st)
        st = write_file(s, m, meta, path, replace, err);
    fish_free(head);
    fish_free(classes);
    return st;
}
