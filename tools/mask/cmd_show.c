/*
 * fmpatch mask show: what a mask selects, tensor by tensor.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mask/masks.h"
#include "mask/verbs.h"
#include "report.h"
#include "textutil.h"

typedef struct show_args {
    common_args common;
} show_args;

static const opt_entry options[] = {OPT_COMMON, {0}};

static void add_row(report_table *table, const char *name, uint64_t n, uint64_t n_elements,
                    const char *note)
{
    char selected[TEXT_NUMBER_LEN], elements[TEXT_NUMBER_LEN], density[TEXT_NUMBER_LEN];
    char *shown = text_escape(name, strlen(name));

    if (report_is_terminal()) {
        text_group(n, selected);
        text_group(n_elements, elements);
    } else {
        snprintf(selected, sizeof selected, "%" PRIu64, n);
        snprintf(elements, sizeof elements, "%" PRIu64, n_elements);
    }
    text_percent(n, n_elements, density);
    report_table_row(table, (const char *const[]){shown, selected, elements, density, note});
    free(shown);
}

static void print_table(const fish_mask *m)
{
    static const report_column columns[] = {{"TENSOR", false, true},
                                            {"SELECTED", true, false},
                                            {"ELEMENTS", true, false},
                                            {"DENSITY", true, false},
                                            {"", false, false}};
    report_table *table = report_table_new(columns, 5, true);

    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const fish_mask_tensor *t = &m->tensors[i];

        add_row(table, t->name, t->n, t->n_elements, t->head ? "head" : "");
    }
    add_row(table, "total", m->n, m->n_elements, "");
    report_table_end(table);
}

static json_t *tensor_json(const fish_mask_tensor *t)
{
    json_t *o = json_object();
    json_t *shape = json_array();

    for (uint32_t d = 0; d < t->rank; d++)
        json_array_append_new(shape, report_json_number(t->shape[d]));
    report_json_set(o, "name", report_json_text(t->name));
    report_json_set(o, "shape", shape);
    report_json_set(o, "selected", report_json_number(t->n));
    report_json_set(o, "elements", report_json_number(t->n_elements));
    report_json_set(o, "density",
                    json_real(t->n_elements ? (double)t->n / (double)t->n_elements : 0));
    report_json_set(o, "head", json_boolean(t->head));
    return o;
}

static void print_json(const fish_mask *m, const char *path)
{
    report_json j;

    report_json_begin(&j, "mask/show");
    masks_report_json(&j, m, path);
    report_json_array(&j, "tensors");
    for (uint32_t i = 0; i < m->n_tensors; i++)
        report_json_item(&j, tensor_json(&m->tensors[i]));
    report_json_array_end(&j);
    report_json_end(&j);
}

static int run(const command *self, int argc, char **argv)
{
    show_args args = {0};
    fish_mask *m = NULL;
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = masks_load(&m, operands[0], &args.common);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    if (m && args.common.json)
        print_json(m, operands[0]);
    else if (m)
        print_table(m);
    fish_mask_free(m);
    opts_release(self, &args);
    return status;
}

const command cmd_show = {
    .name = "mask show",
    .operands = "MASK",
    .summary = "print what MASK selects, tensor by tensor",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
