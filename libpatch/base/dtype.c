/*
 * The dtypes that checkpoints name, and how wide and how ordered their units are.  See store.h.
 */
#include <string.h>

#include "base/store.h"

#define MAX_RANK 32u
#define MAX_DIM  (1ull << 48)

static const fmp_dtype dtypes[] = {
    {"BOOL", 8, 8, FMP_ORDER_UNSIGNED},    {"F4", 4, 8, FMP_ORDER_UNSIGNED},
    {"F6_E2M3", 6, 8, FMP_ORDER_UNSIGNED}, {"F6_E3M2", 6, 8, FMP_ORDER_UNSIGNED},
    {"U8", 8, 8, FMP_ORDER_UNSIGNED},      {"I8", 8, 8, FMP_ORDER_UNSIGNED},
    {"F8_E5M2", 8, 8, FMP_ORDER_SIGN},     {"F8_E4M3", 8, 8, FMP_ORDER_SIGN},
    {"F8_E8M0", 8, 8, FMP_ORDER_UNSIGNED}, {"F8_E4M3FNUZ", 8, 8, FMP_ORDER_SIGN},
    {"F8_E5M2FNUZ", 8, 8, FMP_ORDER_SIGN}, {"I16", 16, 16, FMP_ORDER_UNSIGNED},
    {"U16", 16, 16, FMP_ORDER_UNSIGNED},   {"F16", 16, 16, FMP_ORDER_SIGN},
    {"BF16", 16, 16, FMP_ORDER_SIGN},      {"I32", 32, 32, FMP_ORDER_UNSIGNED},
    {"U32", 32, 32, FMP_ORDER_UNSIGNED},   {"F32", 32, 32, FMP_ORDER_SIGN},
    {"C64", 64, 32, FMP_ORDER_SIGN},       {"F64", 64, 64, FMP_ORDER_SIGN},
    {"I64", 64, 64, FMP_ORDER_UNSIGNED},   {"U64", 64, 64, FMP_ORDER_UNSIGNED},
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
