/*
 * fmpatch mask union, intersect, subtract, xor, jaccard: masks as sets.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mask/masks.h"
#include "mask/verbs.h"
#include "report.h"

typedef struct sets_args {
    common_args common;
    masks_args out;
} sets_args;

static const opt_entry combine_options[] = {
    OPT_MASKS(sets_args, out, "C", "write the mask to C"),
    OPT_COMMON,
    {0},
};

static const opt_entry jaccard_options[] = {OPT_COMMON, {0}};

static int load_both(fish_mask *masks[2], char **operands, const common_args *common)
{
    const int status = masks_load(&masks[0], operands[0], common);

    return status ? status : masks_load(&masks[1], operands[1], common);
}

/* ---- operations -------------------------------------------------------------------------------
 */

static void print_combined(const sets_args *args, const char *name, const fish_mask *m)
{
    char schema[64];
    report_json j;

    if (!args->common.json) {
        masks_report(&args->common, m, args->out.output);
        return;
    }
    snprintf(schema, sizeof schema, "mask/%s", name);
    report_json_begin(&j, schema);
    masks_report_json(&j, m, args->out.output);
    report_json_end(&j);
}

static int combine(const sets_args *args, const char *name, fish_set_op op, char **operands)
{
    fish_mask *masks[2] = {NULL, NULL}, *m = NULL;
    masks_writer writer = {0};
    json_t *method = json_object();
    fmp_error err;
    int status = FMP_OK;

    report_json_set(method, "name", json_string("mask"));
    report_json_set(method, "source", json_string(name));
    if (!args->out.output)
        status = report_usage("mask %s: -o C is expected", name);
    else
        status = masks_check_free(args->out.output, &args->out);
    if (!status)
        status = masks_writer_open(&writer, &args->out, &args->common);
    if (!status)
        status = load_both(masks, operands, &args->common);
    if (!status && fish_mask_combine(masks[0], masks[1], op, &m, &err))
        status = report_error(&args->common, &err);
    if (!status) {
        report_json_set(method, "k", report_json_number(m->n));
        report_json_set(method, "elements", report_json_number(m->n_elements));
        status = masks_write(&writer, m, args->out.output, json_incref(method));
    }
    if (!status)
        print_combined(args, name, m);
    json_decref(method);
    masks_writer_close(&writer);
    fish_mask_free(masks[0]);
    fish_mask_free(masks[1]);
    fish_mask_free(m);
    return status;
}

static int run_combine(const command *self, int argc, char **argv)
{
    static const struct {
        const command *cmd;
        fish_set_op op;
    } ops[] = {{&cmd_union, FISH_UNION},
               {&cmd_intersect, FISH_INTERSECT},
               {&cmd_subtract, FISH_SUBTRACT},
               {&cmd_xor, FISH_XOR}};
    sets_args args = {0};
    char **operands;
    size_t n, i = 0;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    while (ops[i].cmd != self)
        i++;
    if (outcome == OPTS_RUN)
        status = combine(&args, strchr(self->name, ' ') + 1, ops[i].op, operands);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

/* ---- jaccard ----------------------------------------------------------------------------------
 */

static int jaccard(const sets_args *args, char **operands)
{
    fish_mask *masks[2] = {NULL, NULL};
    uint64_t n_both = 0, n_either = 0;
    double share = 0;
    fmp_error err;
    int status = load_both(masks, operands, &args->common);

    if (!status && fish_mask_jaccard(masks[0], masks[1], &share, &n_both, &n_either, &err))
        status = report_error(&args->common, &err);
    if (!status && args->common.json) {
        report_json j;

        report_json_begin(&j, "mask/jaccard");
        report_json_member(&j, "jaccard", json_real(share));
        report_json_member(&j, "both", report_json_number(n_both));
        report_json_member(&j, "either", report_json_number(n_either));
        report_json_end(&j);
    } else if (!status) {
        printf("jaccard\t%.6f\nboth\t%" PRIu64 "\neither\t%" PRIu64 "\n", share, n_both, n_either);
    }
    fish_mask_free(masks[0]);
    fish_mask_free(masks[1]);
    return status;
}

static int run_jaccard(const command *self, int argc, char **argv)
{
    sets_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = jaccard(&args, operands);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

#define SET_VERB(word, text)                                                                       \
    {                                                                                              \
        .name = "mask " word, .operands = "A B", .summary = text, .options = combine_options,      \
        .min_operands = 2, .max_operands = 2, .run = run_combine                                   \
    }

const command cmd_union = SET_VERB("union", "write the mask of what A or B selects");
const command cmd_intersect = SET_VERB("intersect", "write the mask of what A and B select both");
const command cmd_subtract =
    SET_VERB("subtract", "write the mask of what A selects and B does not");
const command cmd_xor = SET_VERB("xor", "write the mask of what only one of A and B selects");
const command cmd_jaccard = {
    .name = "mask jaccard",
    .operands = "A B",
    .summary = "print how alike two masks are: what both select of what either does",
    .options = jaccard_options,
    .min_operands = 2,
    .max_operands = 2,
    .run = run_jaccard,
};
