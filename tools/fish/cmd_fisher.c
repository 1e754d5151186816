/*
 * fmpatch fish fisher: scores of a checkpoint's parameters on labelled data.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fish/meter.h"
#include "fish/session.h"
#include "fish/verbs.h"
#include "outname.h"
#include "report.h"
#include "textutil.h"

typedef struct fisher_args {
    common_args common;
    session_args session;
    const char *output;
    bool force;
    unsigned estimator;
    opt_number samples, batch, group;
} fisher_args;

static const opt_entry options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPT_TEXT,
     .offset = offsetof(fisher_args, output),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "write the scores to FILE; without it to DATA's stem with .scores.safetensors"},
    {.name = "force",
     .letter = 'f',
     .kind = OPT_FLAG,
     .offset = offsetof(fisher_args, force),
     .help = "replace FILE when it exists"},
    {.name = "estimator",
     .kind = OPT_CHOICE,
     .offset = offsetof(fisher_args, estimator),
     .arg = "NAME",
     .words = "empirical expected sampled absolute batch-squared snip",
     .help = "what is summed over examples: squares of the gradient for the true label, for all "
             "classes weighted by probability, for a drawn one; or, for comparison, |gradient|, "
             "squares of batches, |weight x gradient|"},
    {.name = "samples",
     .kind = OPT_NUMBER,
     .offset = offsetof(fisher_args, samples),
     .arg = "N",
     .min = 1,
     .max = UINT32_MAX,
     .help = "examples, drawn by the seed; 1024 without it"},
    {.name = "batch",
     .kind = OPT_NUMBER,
     .offset = offsetof(fisher_args, batch),
     .arg = "N",
     .min = 1,
     .max = 65536,
     .help = "batch of batch-squared, 16 without it"},
    {.name = "group",
     .kind = OPT_NUMBER,
     .offset = offsetof(fisher_args, group),
     .arg = "N",
     .min = 1,
     .max = 1024,
     .help = "examples that a thread works on at once"},
    OPT_SESSION(fisher_args, session),
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

static void print_result(const fisher_args *args, const session *s, const fish_scores *scores,
                         const char *path, double seconds)
{
    report_json j;

    if (!args->common.json) {
        puts(path);
        return;
    }
    report_json_begin(&j, "fish/fisher");
    report_json_member(&j, "scores", report_json_text(path));
    report_json_member(&j, "samples", json_integer(scores->n_samples));
    report_json_member(&j, "loss", json_real(scores->loss));
    report_json_member(&j, "seconds", json_real(seconds));
    report_json_member(&j, "data", report_json_text(fish_data_digest(s->data)));
    report_json_end(&j);
}

static int compute(session *s, const fisher_args *args, const char *path)
{
    meter m;
    const fish_fisher_options o = {
        .size = sizeof o,
        .estimator = (fish_estimator)args->estimator,
        .n_samples = (uint32_t)args->samples.value,
        .seed = args->session.seed.value,
        .batch_size = (uint32_t)args->batch.value,
        .group = (uint32_t)args->group.value,
        .regression = s->regression,
        .progress = meter_fisher,
        .ctx = &m,
    };
    fish_scores *scores = NULL;
    fmp_error err;
    fmp_status st;

    meter_begin(&m, &args->common, "fisher");
    st = fish_fisher(s->model, s->data, s->pool, &o, &scores, &err);
    meter_end(&m);
    if (!st)
        st = fish_scores_save(scores, s->model, s->data, &o, path, args->force, &err);
    if (!st) {
        report_note(&args->common, "%u examples, mean loss %.4f, %.1f s, %.1f examples a second",
                    scores->n_samples, scores->loss, meter_seconds(&m),
                    (double)scores->n_samples / meter_seconds(&m));
        print_result(args, s, scores, path, meter_seconds(&m));
    }
    fish_scores_free(scores);
    return st ? report_error(&args->common, &err) : FMP_OK;
}

static int fisher(const fisher_args *args, char **operands)
{
    session s = {0};
    char *stem = outname_stem(operands[1]);
    char *path =
        args->output ? text_copy(args->output) : text_format("%s.scores.safetensors", stem);
    const char *inputs[] = {operands[0], operands[1], args->session.labels, args->session.config};
    int status = session_check_output(path, args->force, inputs, sizeof inputs / sizeof inputs[0]);

    if (!status)
        status = session_begin(&s, &args->common, &args->session, operands[0]);
    if (!status)
        status = session_open_data(&s, operands[1], NULL, false, &s.data);
    if (!status)
        status = session_open_model(&s, s.regression ? 1 : fish_data_n_classes(s.data));
    if (!status)
        status = compute(&s, args, path);
    session_end(&s);
    free(path);
    free(stem);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    fisher_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = fisher(&args, operands);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_fisher = {
    .name = "fisher",
    .operands = "BASE DATA",
    .summary = "score every parameter of BASE by its Fisher information on DATA",
    .notes = "The scores are sums over single examples, in double, in a fixed order: the same bits "
             "for any number of threads.  'fmpatch mask' makes a mask of them.",
    .options = options,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
