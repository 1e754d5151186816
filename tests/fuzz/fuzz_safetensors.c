/*
 * Fuzz target: any bytes as a .safetensors file.  The first byte chooses strict or lenient.  A file
 * that opens must be readable to its last byte, and its derived header must have its own length
 * right.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/store.h"
#include "fuzz_file.h"

static fmp_status count(void *ctx, const void *data, size_t len, fmp_error *err)
{
    uint64_t *n = ctx;

    (void)data;
    (void)err;
    *n += len;
    return FMP_OK;
}

static fmp_tensor_info tensor_at(void *ctx, uint32_t i)
{
    return fmp_store_tensor(ctx, i);
}

static void check_reads(const fmp_store *store)
{
    for (uint32_t i = 0; i < fmp_store_tensor_count(store); i++) {
        const fmp_tensor_info t = fmp_store_tensor(store, i);
        uint8_t *data = malloc(t.n_bytes ? t.n_bytes : 1);

        if (!data || fmp_store_read(store, i, 0, data, t.n_bytes, NULL) ||
            fmp_store_find(store, t.name, t.name_len) != i)
            abort();
        free(data);
    }
}

static void check_header(fmp_store *store)
{
    fmp_buf hint = {0};
    uint64_t n = 0;

    if (store->driver->header_hint(store, 0, &hint, NULL))
        abort();
    if (store->driver->header_write(hint.data, hint.len, tensor_at, store,
                                    fmp_store_tensor_count(store), count, &n, NULL) ||
        n < 10)
        abort();
    fmp_buf_release(&hint);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const fmp_limits limits = {.size = sizeof limits, .max_tensors = 1000, .max_header = 1 << 16};
    fmp_store_options o = {.size = sizeof o, .limits = &limits};
    fmp_store *store;

    if (!len)
        return 0;
    o.lenient = data[0] & 1;
    fuzz_file_write("input.safetensors", data + 1, len - 1);
    if (!fmp_store_open(fuzz_file_path("input.safetensors"), &o, &store, NULL)) {
        check_reads(store);
        check_header(store);
        fmp_store_close(store);
    }
    return 0;
}
