/*
 * fmpatch fish init: a new model with random weights, to train from scratch.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fish/session.h"
#include "fish/verbs.h"
#include "report.h"

typedef struct init_args {
    common_args common;
    bool force;
    opt_number seed;
} init_args;

static const opt_entry options[] = {
    {.name = "seed",
     .kind = OPT_NUMBER,
     .offset = offsetof(init_args, seed),
     .arg = "N",
     .max = UINT64_MAX,
     .help = "seed of the weights, 0 without it"},
    {.name = "force",
     .letter = 'f',
     .kind = OPT_FLAG,
     .offset = offsetof(init_args, force),
     .help = "replace the files when they exist"},
    OPT_COMMON,
    {0},
};

static int init(const init_args *args, char **operands)
{
    json_error_t at;
    json_t *config = json_load_file(operands[0], JSON_REJECT_DUPLICATES, &at);
    fish_model *m = NULL;
    fmp_error err;
    fmp_status st;

    if (!config && json_error_code(&at) == json_error_cannot_open_file)
        return report_errno(operands[0]);
    if (!json_is_object(config)) {
        if (config)
            report_warning("%s: a JSON object is expected", operands[0]);
        else
            report_warning("%s: line %d: %s", operands[0], at.line, at.text);
        json_decref(config);
        return fmp_exit_status(FMP_ECORRUPT);
    }
    st = fish_model_new(config, args->seed.value, &m, &err);
    if (!st)
        st = fish_model_save(m, config, operands[1], args->force, &err);
    if (!st && args->common.json) {
        report_json j;
        uint64_t n = 0;

        for (uint32_t i = 0; i < m->n_params; i++)
            n += m->params[i].n;
        report_json_begin(&j, "fish/init");
        report_json_member(&j, "directory", report_json_text(operands[1]));
        report_json_member(&j, "elements", report_json_number(n));
        report_json_end(&j);
    } else if (!st) {
        puts(operands[1]);
    }
    fish_model_free(m);
    json_decref(config);
    return st ? report_error(&args->common, &err) : FMP_OK;
}

static int run(const command *self, int argc, char **argv)
{
    init_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = init(&args, operands);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_init = {
    .name = "init",
    .operands = "CONFIG DIR",
    .summary = "make a model with random weights in DIR from a config.json",
    .notes = "DIR gets config.json and model.safetensors.",
    .options = options,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
