/*
 * Any regular file as one U8 tensor named "data": what a file is when no format claims it.
 */
#include "builder.h"

static fmp_status raw_open(struct fmp_store *store, const char *dir, const char *name,
                           const fmp_store_options *options, fmp_error *err)
{
    fmp_builder *b = (fmp_builder *)store;
    fmp_store_file *file;
    fmp_found t = {.name = "data", .name_len = 4, .dtype = fmp_dtype_find("U8", 2), .rank = 1};
    fmp_status st = fmp_builder_add_file(b, dir, name, false, &file, err);

    (void)options;
    if (st)
        return st;
    t.shape = &file->size;
    t.n_bytes = file->size;
    st = fmp_builder_add_tensor(b, &t, err);
    if (st)
        return st;
    fmp_builder_park_file(b);
    return FMP_OK;
}

static bool raw_probe(const uint8_t *head, size_t len, uint64_t file_size, const char *name)
{
    (void)head;
    (void)len;
    (void)file_size;
    (void)name;
    return true;
}

/* A raw file has no header, so nothing is kept and nothing is written. */
static fmp_status raw_header_hint(const struct fmp_store *store, uint32_t file, fmp_buf *hint,
                                  fmp_error *err)
{
    (void)store;
    (void)file;
    (void)hint;
    (void)err;
    return FMP_OK;
}

static fmp_status raw_header_write(const uint8_t *hint, size_t hint_len, fmp_tensor_at_fn at,
                                   void *at_ctx, uint32_t n_tensors, fmp_sink_fn sink,
                                   void *sink_ctx, fmp_error *err)
{
    (void)hint;
    (void)hint_len;
    (void)at;
    (void)at_ctx;
    (void)n_tensors;
    (void)sink;
    (void)sink_ctx;
    (void)err;
    return FMP_OK;
}

const fmp_store_driver fmp_raw_driver = {.name = "raw",
                                         .open = raw_open,
                                         .probe = raw_probe,
                                         .header_hint = raw_header_hint,
                                         .header_write = raw_header_write};
