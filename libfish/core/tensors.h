/*
 * Writing a safetensors file tensor by tensor: header first, then data in the order announced.
 * Reading goes through fmp_store.
 */
#ifndef FISH_TENSORS_H
#define FISH_TENSORS_H

#include <stdint.h>

#include "core/outfile.h"

typedef struct fish_tensor_desc {
    const char *name;
    const char *dtype; /* "F32", "F64", "I64", "U8", "U32", ... */
    uint32_t rank;
    uint64_t shape[8];
} fish_tensor_desc;

typedef struct fish_tensor_writer fish_tensor_writer;

/* meta: pairs of strings {key, value, key, value, ..., NULL}, put into __metadata__; may be NULL.
 */
FMP_NODISCARD fmp_status fish_tensor_writer_new(const char *path, bool replace,
                                                const char *const *meta,
                                                const fish_tensor_desc *descs, uint32_t n,
                                                fish_tensor_writer **ret, fmp_error *err);
/* The next bytes of the next tensor; any split is fine. */
FMP_NODISCARD fmp_status fish_tensor_writer_put(fish_tensor_writer *w, const void *data, size_t len,
                                                fmp_error *err);
/* FMP_EUSAGE unless every byte announced was put.  Frees w, always. */
FMP_NODISCARD fmp_status fish_tensor_writer_commit(fish_tensor_writer *w, fmp_error *err);
void fish_tensor_writer_abort(fish_tensor_writer *w);

/* The __metadata__ object of a safetensors file as a JSON object text ("{}" when there is none); to
 * fish_free(). */
FMP_NODISCARD fmp_status fish_tensor_metadata(const char *path, char **ret, fmp_error *err);

#endif
