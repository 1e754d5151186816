/*
 * The counts of a patch, in words and as JSON.
 */
#include "summary.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "textutil.h"

static const char *const states[] = {"unchanged", "residual", "whole", "added",
                                     "removed",   "alias",    "set"};
static const char *const file_states[] = {"same", "changed", "added", "removed", "weights"};

const char *summary_state(fmp_tensor_state state)
{
    return (size_t)state < sizeof states / sizeof *states ? states[state] : "?";
}

const char *summary_file_state(fmp_file_state state)
{
    return (size_t)state < sizeof file_states / sizeof *file_states ? file_states[state] : "?";
}

static uint32_t count_of(const fmp_patch_summary *s, fmp_tensor_state state)
{
    switch (state) {
    case FMP_UNCHANGED:
        return s->n_unchanged;
    case FMP_RESIDUAL:
        return s->n_residual;
    case FMP_WHOLE:
        return s->n_whole;
    case FMP_ADDED:
        return s->n_added;
    case FMP_REMOVED:
        return s->n_removed;
    case FMP_ALIAS:
        return s->n_alias;
    case FMP_SET:
        return s->n_set;
    }
    return 0;
}

const char *summary_profile(const fmp_patch_summary *s)
{
    return s->profile == FMP_PROFILE_COMPACT ? "compact" : "open";
}

char *summary_tensors(const fmp_patch_summary *s)
{
    char *all = text_copy("");

    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        const uint32_t n = count_of(s, (fmp_tensor_state)i);
        char *longer;

        if (!n)
            continue;
        longer = text_format("%s%s%" PRIu32 " %s", all, *all ? ", " : "", n, states[i]);
        free(all);
        all = longer;
    }
    return all;
}

json_t *summary_tensors_json(const fmp_patch_summary *s)
{
    json_t *o = json_object();

    report_json_set(o, "all", json_integer(s->n_tensors));
    report_json_set(o, "base", json_integer(s->n_base_tensors));
    report_json_set(o, "target", json_integer(s->n_target_tensors));
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        report_json_set(o, states[i], json_integer(count_of(s, (fmp_tensor_state)i)));
    return o;
}

char *summary_shape(const fmp_tensor_info *info)
{
    char *all = text_copy("[");
    char *closed;

    for (uint32_t i = 0; i < info->rank; i++) {
        char *longer = text_format("%s%s%" PRIu64, all, i ? "," : "", info->shape[i]);

        free(all);
        all = longer;
    }
    closed = text_format("%s]", all);
    free(all);
    return closed;
}

json_t *summary_shape_json(const fmp_tensor_info *info)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < info->rank; i++)
        json_array_append_new(list, report_json_number(info->shape[i]));
    return list;
}
