/*
 * What verbs are given, opened.
 */
#include "inputs.h"

#include <string.h>
#include <sys/stat.h>

#include "report.h"
#include "spool.h"

int inputs_open_patch(input_patch *in, const char *operand, const common_args *common)
{
    fmp_error err;
    int status = FMP_OK;

    *in = (input_patch){.path = operand, .shown = operand};
    if (spool_is_dash(operand)) {
        in->path = spool_input(&status);
        in->shown = "standard input";
        if (!in->path)
            return status;
    }
    if (fmp_patch_open(in->path, NULL, &in->patch, &err))
        return report_error_about(common, in->shown, &err);
    return FMP_OK;
}

void inputs_close_patch(input_patch *in)
{
    fmp_patch_close(in->patch);
    *in = (input_patch){0};
}

/*
 * A raw file is one tensor `data` of bytes, as long as the file.  A safetensors file that holds
 * just such a tensor is longer than it, so that the two cannot be mixed up.
 */
static bool is_raw(const char *path, const fmp_patch *patch, input_side side)
{
    const fmp_patch_summary s = fmp_patch_summarize(patch);
    const uint32_t at = fmp_patch_find(patch, "data", 4);
    fmp_patch_tensor tensor;
    fmp_tensor_info info;
    struct stat st;

    if ((side == INPUT_BASE ? s.n_base_tensors : s.n_target_tensors) != 1 || at >= s.n_tensors)
        return false;
    tensor = fmp_patch_tensor_at(patch, at);
    info = side == INPUT_BASE ? tensor.base : tensor.target;
    return info.name && info.dtype && !strcmp(info.dtype, "U8") && info.rank == 1 &&
           !stat(path, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == info.n_bytes;
}

int inputs_open_store(fmp_store **ret, const char *path, const fmp_patch *patch, input_side side,
                      const common_args *common)
{
    const fmp_store_options options = {.size = sizeof options,
                                       .raw = patch && is_raw(path, patch, side)};
    fmp_error err;

    return fmp_store_open(path, &options, ret, &err) ? report_error(common, &err) : FMP_OK;
}

uint64_t inputs_store_bytes(const fmp_store *store)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < fmp_store_tensor_count(store); i++)
        n += fmp_store_tensor(store, i).n_bytes;
    return n;
}
