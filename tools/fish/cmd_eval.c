/*
 * fmpatch fish eval and predict: patches laid over a base in memory, and what the model then says.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fish/session.h"
#include "fish/verbs.h"
#include "progress.h"
#include "report.h"
#include "textutil.h"

typedef struct eval_args {
    common_args common;
    session_args session;
    trust_args trust;
    bool confusion, logits;
} eval_args;

static const opt_entry eval_options[] = {
    {.name = "confusion",
     .kind = OPT_FLAG,
     .offset = offsetof(eval_args, confusion),
     .help = "print how often each class was taken for each"},
    OPT_TRUST(eval_args, trust),
    OPT_SESSION(eval_args, session),
    OPT_COMMON,
    {0},
};

static const opt_entry predict_options[] = {
    {.name = "logits",
     .kind = OPT_FLAG,
     .offset = offsetof(eval_args, logits),
     .help = "print every class's logit too"},
    OPT_TRUST(eval_args, trust),
    OPT_SESSION(eval_args, session),
    OPT_COMMON,
    {0},
};

/*
 * Where no patch names the classes, those of the data are numbered in their order, as in training.
 * That is right when all of them occur; when some do not, their names must be the numbers.
 */
static int check_classes(session *s, const char *path)
{
    const uint32_t n = fish_data_n_classes(s->data);
    const uint32_t n_outputs = s->model->n_outputs;
    bool numbers = true;

    if (n > n_outputs || s->n_classes > n_outputs)
        return report_usage("%s: %u classes, but the model has %u outputs", path, n, n_outputs);
    if (n == n_outputs)
        return FMP_OK;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t number;

        numbers = numbers && text_number(fish_data_class(s->data, i), &number);
    }
    if (!numbers)
        return report_usage("%s: %u classes, but the model has %u outputs, and no patch names them",
                            path, n, n_outputs);
    s->classes = text_alloc(n_outputs * sizeof *s->classes);
    while (s->n_classes < n_outputs) {
        s->classes[s->n_classes] = text_format("%" PRIu32, s->n_classes);
        s->n_classes++;
    }
    fish_data_free(s->data);
    s->data = NULL;
    return session_open_data(s, path, NULL, false, &s->data);
}

/* Base, patches, data, model, outputs.  The last operand is the data. */
static int open_all(session *s, const eval_args *args, char **operands, size_t n, bool no_labels,
                    float **ret)
{
    int status = session_begin(s, &args->common, &args->session, operands[0]);
    uint32_t n_outputs;
    fmp_error err;

    if (!status)
        status = session_open_patches(s, &args->trust, operands + 1, n - 2);
    if (!status)
        status = session_open_data(s, operands[n - 1], NULL, no_labels, &s->data);
    if (status)
        return status;
    n_outputs = s->regression && s->n_patches ? 1
                : s->n_classes                ? s->n_classes
                                              : fish_patches_outputs(s->opened, s->n_patches);
    status = session_open_model(s, n_outputs);
    if (status)
        return status;
    status = no_labels || s->regression ? FMP_OK : check_classes(s, operands[n - 1]);
    if (status)
        return status;
    if (s->regression && s->model->n_outputs != 1)
        return report_usage("%s: regression, but the model has %u outputs", operands[n - 1],
                            s->model->n_outputs);
    *ret = text_alloc((size_t)fish_data_count(s->data) * s->model->n_outputs * sizeof **ret);
    if (fish_predict(s->model, s->data, s->pool, *ret, &err))
        return report_error(&args->common, &err);
    return FMP_OK;
}

static const char *class_name(const session *s, uint32_t c, char buf[16])
{
    if (c < s->n_classes)
        return s->classes[c];
    if (c < fish_data_n_classes(s->data) && fish_data_class(s->data, c))
        return fish_data_class(s->data, c);
    snprintf(buf, 16, "%" PRIu32, c);
    return buf;
}

/* ---- eval -------------------------------------------------------------------------------------
 */

static void print_confusion(const session *s, const uint64_t *confusion)
{
    const uint32_t c = s->model->n_outputs;

    for (uint32_t i = 0; i < c; i++) {
        char buf[16];
        char *name = text_escape(class_name(s, i, buf), strlen(class_name(s, i, buf)));

        printf("%s", name);
        for (uint32_t k = 0; k < c; k++)
            printf("\t%" PRIu64, confusion[(size_t)i * c + k]);
        putchar('\n');
        free(name);
    }
}

static void print_eval_json(const session *s, const fish_metrics *m, const uint64_t *confusion)
{
    const uint32_t c = s->model->n_outputs;
    report_json j;

    report_json_begin(&j, "fish/eval");
    report_json_member(&j, "data", report_json_text(fish_data_digest(s->data)));
    report_json_member(&j, "metrics", session_metrics_numbers(m, s->regression));
    if (!s->regression) {
        char buf[16];

        report_json_array(&j, "classes");
        for (uint32_t i = 0; i < c; i++)
            report_json_item(&j, report_json_text(class_name(s, i, buf)));
        report_json_array_end(&j);
        report_json_array(&j, "confusion");
        for (uint32_t i = 0; i < c; i++) {
            json_t *row = json_array();

            for (uint32_t k = 0; k < c; k++)
                json_array_append_new(row, json_integer((json_int_t)confusion[(size_t)i * c + k]));
            report_json_item(&j, row);
        }
        report_json_array_end(&j);
    }
    report_json_end(&j);
}

static void print_eval(const fish_metrics *m, bool regression)
{
    printf("examples\t%" PRIu64 "\nloss\t%.6f\n", m->n, m->loss);
    if (regression)
        printf("spearman\t%.6f\npearson\t%.6f\nmse\t%.6f\n", m->spearman, m->pearson, m->mse);
    else
        printf("accuracy\t%.6f\nf1\t%.6f\nmcc\t%.6f\n", m->accuracy, m->f1, m->mcc);
}

static int eval_outputs(const session *s, const eval_args *args, const float *outputs)
{
    const uint32_t c = s->model->n_outputs;
    uint64_t *confusion = text_alloc((size_t)c * c * sizeof *confusion);
    fish_metrics m = {0};
    fmp_error err;
    int status = FMP_OK;

    if (fish_metrics_of(outputs, c, s->data, s->regression, &m, confusion, &err))
        status = report_error(&args->common, &err);
    if (!status && args->common.json)
        print_eval_json(s, &m, confusion);
    else if (!status)
        print_eval(&m, s->regression);
    if (!status && !args->common.json && args->confusion && !s->regression)
        print_confusion(s, confusion);
    free(confusion);
    return status;
}

/* ---- predict ----------------------------------------------------------------------------------
 */

static void predict_one(const session *s, const eval_args *args, const float *out)
{
    const uint32_t c = s->model->n_outputs;
    double *p = text_alloc(c * sizeof *p);
    uint32_t best = 0;
    char buf[16];
    char *name;

    for (uint32_t k = 1; k < c; k++)
        best = out[k] > out[best] ? k : best;
    fish_softmax(out, c, p);
    name = text_escape(class_name(s, best, buf), strlen(class_name(s, best, buf)));
    if (args->common.json) {
        json_t *line = json_object();
        json_t *logits = json_array();
        char *text;

        report_json_set(line, "label", json_string(class_name(s, best, buf)));
        report_json_set(line, "probability", json_real(p[best]));
        for (uint32_t k = 0; k < c; k++)
            json_array_append_new(logits, json_real((double)out[k]));
        report_json_set(line, "logits", logits);
        text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
        if (text)
            puts(text);
        free(text);
        json_decref(line);
    } else {
        printf("%s\t%.6f", name, p[best]);
        for (uint32_t k = 0; args->logits && k < c; k++)
            printf("\t%.9g", (double)out[k]);
        putchar('\n');
    }
    free(name);
    free(p);
}

static int predict_outputs(const session *s, const eval_args *args, const float *outputs)
{
    for (uint32_t i = 0; i < fish_data_count(s->data); i++) {
        if (!s->regression)
            predict_one(s, args, outputs + (size_t)i * s->model->n_outputs);
        else if (args->common.json)
            printf("{\"value\":%.9g}\n", (double)outputs[i]);
        else
            printf("%.9g\n", (double)outputs[i]);
    }
    return FMP_OK;
}

static int run(const command *self, int argc, char **argv)
{
    const bool predict = self == &cmd_predict;
    eval_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN) {
        session s = {0};
        float *outputs = NULL;

        progress_release_signals();
        status = open_all(&s, &args, operands, n, predict, &outputs);
        if (!status)
            status =
                predict ? predict_outputs(&s, &args, outputs) : eval_outputs(&s, &args, outputs);
        free(outputs);
        session_end(&s);
    } else if (outcome == OPTS_BAD) {
        status = fmp_exit_status(FMP_EUSAGE);
    }
    opts_release(self, &args);
    return status;
}

const command cmd_eval = {
    .name = "eval",
    .operands = "BASE [PATCH...] DATA",
    .summary = "lay PATCHes over BASE in memory and measure the model on DATA",
    .notes = "Accuracy, F1 (of the second class of two, else the mean over classes) and Matthews "
             "correlation, or Spearman, Pearson and mean squared error.  " TRUST_NOTES,
    .options = eval_options,
    .min_operands = 2,
    .max_operands = OPT_MANY,
    .run = run,
};

const command cmd_predict = {
    .name = "predict",
    .operands = "BASE [PATCH...] DATA",
    .summary = "print a label and its probability for each example of DATA",
    .notes = "Labels in DATA may be missing.  With --json a line of JSON for each example. "
             " " TRUST_NOTES,
    .options = predict_options,
    .min_operands = 2,
    .max_operands = OPT_MANY,
    .run = run,
};
