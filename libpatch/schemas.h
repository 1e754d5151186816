/*
 * Schemas of a tensor table that is being made: each pair of dtype and shape is kept once.  Not
 * installed.
 */
#ifndef FMP_SCHEMAS_H
#define FMP_SCHEMAS_H

#include "container/table.h"

/* All zero but for the table. */
typedef struct fmp_interner {
    fmp_table *t;
    uint32_t *slot; /* schema number + 1, open addressing */
    uint32_t n_slots, cap_schemas, cap_dims;
} fmp_interner;

/* The number of a tensor's schema, its elements of so many bits; FMP_NONE when memory is short. */
uint32_t fmp_intern(fmp_interner *in, const fmp_tensor_info *i, uint32_t bits);
void fmp_interner_release(fmp_interner *in);

#endif
