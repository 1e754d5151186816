/*
 * The dtypes that checkpoints name, and how wide and how ordered their units are.  See store.h.
 */
#include <string.h>

#include "base/store.h"

#define MAX_RANK 32u
#define MAX_DIM  (1ull << 48)

#define NO_EXPONENT 64

static const fmp_dtype dtypes[] = {
    {"BOOL", 8, 8, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"F4", 4, 8, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"F6_E2M3", 6, 8, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"F6_E3M2", 6, 8, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"U8", 8, 8, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"I8", 8, 8, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"F8_E5M2", 8, 8, FMP_ORDER_SIGN, 2},
    {"F8_E4M3", 8, 8, FMP_ORDER_SIGN, 3},
    {"F8_E8M0", 8, 8, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"F8_E4M3FNUZ", 8, 8, FMP_ORDER_SIGN, 3},
    {"F8_E5M2FNUZ", 8, 8, FMP_ORDER_SIGN, 2},
    {"I16", 16, 16, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"U16", 16, 16, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"F16", 16, 16, FMP_ORDER_SIGN, 10},
    {"BF16", 16, 16, FMP_ORDER_SIGN, 7},
    {"I32", 32, 32, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"U32", 32, 32, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"F32", 32, 32, FMP_ORDER_SIGN, 23},
    {"C64", 64, 32, FMP_ORDER_SIGN, 23},
    {"F64", 64, 64, FMP_ORDER_SIGN, 52},
    {"I64", 64, 64, FMP_ORDER_UNSIGNED, NO_EXPONENT},
    {"U64", 64, 64, FMP_ORDER_UNSIGNED, NO_EXPONENT},
};

const fmp_dtype *fmp_dtype_at(unsigned i)
{
    return i < sizeof dtypes / sizeof *dtypes ? &dtypes[i] : NULL;
}

const fmp_dtype *fmp_dtype_find(const char *name, size_t len)
{
    for (unsigned i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strlen(dtypes[i].name) == len && memcmp(dtypes[i].name, name, len) == 0)
            return &dtypes[i];
    }
    return NULL;
}

/* As for the format's reference reader, an overflow on the way counts even before a 0. */
bool fmp_dtype_bytes(const fmp_dtype *t, uint32_t rank, const uint64_t *shape,
                     uint64_t *ret_elements, uint64_t *ret_bytes)
{
    uint64_t n = 1;

    if (rank > MAX_RANK)
        return false;
    for (uint32_t d = 0; d < rank; d++) {
        if (shape[d] > MAX_DIM || (shape[d] && n > UINT64_MAX / shape[d]))
            return false;
        n *= shape[d];
    }
    if (n > UINT64_MAX / t->bits || n * t->bits % 8 != 0)
        return false;
    *ret_elements = n;
    *ret_bytes = n * t->bits / 8;
    return true;
}
