/*
 * The counts of a patch, in words and as JSON.
 */
#ifndef TOOLS_SUMMARY_H
#define TOOLS_SUMMARY_H

#include <jansson.h>

#include "fmpatch.h"

/* "unchanged", "residual", ... */
const char *summary_state(fmp_tensor_state state);
/* "same", "changed", "added", "removed", "weights". */
const char *summary_file_state(fmp_file_state state);
/* "open", "compact". */
const char *summary_profile(const fmp_patch_summary *s);
/* "12 unchanged, 3 residual", to free. */
char *summary_tensors(const fmp_patch_summary *s);
json_t *summary_tensors_json(const fmp_patch_summary *s);
/* "[512,128]", to free. */
char *summary_shape(const fmp_tensor_info *info);
json_t *summary_shape_json(const fmp_tensor_info *info);

#endif
