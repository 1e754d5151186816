/*
 * fmpatch mask split: one mask dealt out into several.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mask/masks.h"
#include "mask/verbs.h"
#include "outname.h"
#include "report.h"
#include "spool.h"
#include "textutil.h"

typedef struct split_args {
    common_args common;
    masks_args out;
    opt_number n;
} split_args;

static const opt_entry options[] = {
    {.name = "parts",
     .letter = 'n',
     .kind = OPT_NUMBER,
     .offset = offsetof(split_args, n),
     .arg = "N",
     .min = 1,
     .max = 65535,
     .help = "how many masks to make"},
    OPT_MASKS(split_args, out, "STEM",
              "write to STEM.0.mask.fmp and so on; without it the stem of MASK"),
    OPT_COMMON,
    {0},
};

typedef struct split_work {
    fmp_store *scores;
    fish_mask *mask;
    fish_mask **parts;
    char **paths;
    uint32_t n, n_made;
    masks_writer writer;
} split_work;

static void release(split_work *w)
{
    for (uint32_t i = 0; i < w->n_made; i++)
        fish_mask_free(w->parts[i]);
    for (uint32_t i = 0; w->paths && i < w->n; i++)
        free(w->paths[i]);
    free(w->parts);
    free(w->paths);
    fish_mask_free(w->mask);
    fmp_store_close(w->scores);
    masks_writer_close(&w->writer);
}

/* The stem of MASK, "a" for "dir/a.mask.fmp"; to free. */
static char *stem_of(const char *mask)
{
    char *stem = outname_stem(mask);
    const size_t len = strlen(stem);

    if (len > 5 && !strcmp(stem + len - 5, ".mask"))
        stem[len - 5] = '\0';
    return stem;
}

/* All names are free before the first is written. */
static int choose_paths(split_work *w, const split_args *args, const char *mask)
{
    char *stem = args->out.output ? text_copy(args->out.output) : stem_of(mask);
    int status = FMP_OK;

    w->n = (uint32_t)args->n.value;
    w->paths = text_alloc(w->n * sizeof *w->paths);
    w->parts = text_alloc(w->n * sizeof *w->parts);
    for (uint32_t i = 0; i < w->n; i++)
        w->paths[i] = text_format("%s.%" PRIu32 ".mask.fmp", stem, i);
    free(stem);
    for (uint32_t i = 0; i < w->n && !status; i++)
        status = masks_check_free(w->paths[i], &args->out);
    return status;
}

static json_t *method_json(const split_work *w, uint32_t i)
{
    json_t *method = json_object();

    report_json_set(method, "name", json_string("mask"));
    report_json_set(method, "source", json_string("split"));
    report_json_set(method, "part", json_integer(i));
    report_json_set(method, "parts", json_integer(w->n));
    report_json_set(method, "k", report_json_number(w->parts[i]->n));
    report_json_set(method, "elements", report_json_number(w->parts[i]->n_elements));
    return method;
}

static void print_json(const split_work *w)
{
    report_json j;

    report_json_begin(&j, "mask/split");
    report_json_array(&j, "masks");
    for (uint32_t i = 0; i < w->n; i++) {
        json_t *o = json_object();

        report_json_set(o, "mask", report_json_text(w->paths[i]));
        report_json_set(o, "selected", report_json_number(w->parts[i]->n));
        report_json_item(&j, o);
    }
    report_json_array_end(&j);
    report_json_member(&j, "head", report_json_number(masks_head(w->mask)));
    report_json_end(&j);
}

static int split(const split_args *args, char **operands)
{
    split_work w = {0};
    fmp_error err;
    int status = FMP_OK;

    if (!args->n.given)
        status = report_usage("mask split: -n N is expected");
    else if ((args->out.output && spool_is_dash(args->out.output)) ||
             (!args->out.output && spool_is_dash(operands[0])))
        status = report_usage("mask split: -o STEM is expected, which is not '-'");
    if (!status)
        status = choose_paths(&w, args, operands[0]);
    if (!status)
        status = masks_writer_open(&w.writer, &args->out, &args->common);
    if (!status)
        status = masks_load(&w.mask, operands[0], &args->common);
    if (!status && (fmp_store_open(operands[1], NULL, &w.scores, &err) ||
                    fish_mask_split(w.mask, w.scores, w.n, w.parts, &err)))
        status = report_error(&args->common, &err);
    else if (!status)
        w.n_made = w.n;
    for (uint32_t i = 0; i < w.n && !status; i++)
        status = masks_write(&w.writer, w.parts[i], w.paths[i], method_json(&w, i));
    if (!status && args->common.json)
        print_json(&w);
    for (uint32_t i = 0; i < w.n && !status && !args->common.json; i++)
        masks_report(&args->common, w.parts[i], w.paths[i]);
    release(&w);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    split_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = split(&args, operands);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_split = {
    .name = "mask split",
    .operands = "MASK SCORES",
    .summary = "deal MASK out into N masks that share nothing but the head",
    .notes = "The weight of rank r goes to mask r mod N, so that each gets its share of the high "
             "scores.  For workers that train side by side and add up what they change.",
    .options = options,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
