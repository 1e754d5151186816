/*
 * Patches laid over a model in memory.
 */
#ifndef FISH_PATCHED_H
#define FISH_PATCHED_H

#include "model/model.h"

/*
 * Changes the weights of `m` as `patch` says: base bits in, target bits out.  The caller has
 * checked that the patch is for these weights (fmp_verify() with the base, or roots that follow
 * each other). Touches the changed elements only where the checkpoint is F32, the changed tensors
 * where it is not.  FMP_EBASE when a tensor has another shape or dtype, or is missing; tensors that
 * the model does not use must be unchanged (FMP_ENOTSUP).
 */
FMP_NODISCARD fmp_status fish_model_apply(fish_model *m, const fmp_patch *patch, fmp_error *err);

/* The number of outputs of the head that the patches add: rows of the first added tensor of rank 2;
 * 0 when none is added. */
uint32_t fish_patches_outputs(const fmp_patch *const *patches, size_t n);

#endif
