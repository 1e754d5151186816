/*
 * Arrays in files: IDX (the format of MNIST) and npy (NumPy's).  A header that is read is checked
 * against the file's size: shape times item size, to the byte.
 */
#ifndef FISH_ARRAY_FILE_H
#define FISH_ARRAY_FILE_H

#include "data/datafile.h"

#define FISH_ARRAY_RANK_MAX 4u

typedef enum fish_array_format { FISH_IDX, FISH_NPY } fish_array_format;

typedef struct fish_array {
    char kind;    /* 'u' unsigned, 'i' signed, 'f' float */
    uint8_t item; /* bytes: 1, 2, 4 or 8; little-endian */
    uint32_t rank;
    uint64_t shape[FISH_ARRAY_RANK_MAX]; /* row-major */
    uint64_t n_items;
    uint64_t off; /* of the first item */
} fish_array;

/* FMP_ECORRUPT; FMP_ENOTSUP for an item type, byte order or rank that is not read here. */
FMP_NODISCARD fmp_status fish_idx_header(const fish_datafile *f, fish_array *ret, fmp_error *err);
FMP_NODISCARD fmp_status fish_npy_header(const fish_datafile *f, fish_array *ret, fmp_error *err);

/* Shared by both: the product of the shape, and that header and items fill the file exactly. */
FMP_NODISCARD fmp_status fish_array_check(const fish_datafile *f, fish_array *a, fmp_error *err);

#endif
