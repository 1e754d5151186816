/*
 * How masks are put together: their tensors, and memory that they own.
 */
#ifndef FISH_MASKPARTS_H
#define FISH_MASKPARTS_H

#include "score/scores.h"

/* A mask of n tensors, all zero yet. */
FMP_NODISCARD fmp_status fish_mask_new(uint32_t n, fish_mask **ret, fmp_error *err);
/* Memory that is freed with the mask; NULL when there is none. */
void *fish_mask_room(fish_mask *m, uint64_t count, size_t size);
/* Copies the name and the shape; nothing is selected yet. */
FMP_NODISCARD fmp_status fish_mask_describe(fish_mask *m, uint32_t tensor, const char *name,
                                            uint32_t rank, const uint64_t *shape,
                                            uint64_t n_elements, fmp_error *err);
/* Sets what a tensor selects: idx [n], or ignored when that is all. */
void fish_mask_set(fish_mask *m, uint32_t tensor, uint64_t *idx, uint64_t n);

/* The j-th selected element. */
static inline uint64_t fish_mask_at(const fish_mask_tensor *t, uint64_t j)
{
    return t->full ? j : t->idx[j];
}

/* Whether two masks are of one model; FMP_EUSAGE names the first tensor in which they differ. */
FMP_NODISCARD fmp_status fish_mask_same_model(const fish_mask *a, const fish_mask *b,
                                              fmp_error *err);

#endif
