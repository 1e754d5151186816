/*
 * What the drivers of formats/ share: an fmp_store that grows while files are parsed.  Arenas grow
 * geometrically and are trimmed at the end; nothing is allocated for a single tensor.  Knows no
 * format, and is seen by nobody outside formats/.
 */
#ifndef FMP_FORMATS_BUILDER_H
#define FMP_FORMATS_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/store.h"

/* The most files that one store keeps open; others are opened for each read. */
#define FMP_STORE_MAX_OPEN 256

/* The bits of fmp_store_entry.flags; they mean something only while a store is being opened. */
#define FMP_TENSOR_MAPPED 1u

/* `store` comes first, so that a driver that is handed the store gets back to its builder. */
typedef struct fmp_builder {
    struct fmp_store store;
    fmp_limits limits; /* every field set */
    bool lenient;
    uint32_t n_open;
    uint64_t total_size;
    size_t files_cap, tensors_cap, names_cap, shapes_cap, dims_cap;
    uint32_t *shape_slots; /* a hash table of shape numbers + 1; 0 is empty */
    size_t shape_slots_cap;
} fmp_builder;

/* A tensor as a driver found it. */
typedef struct fmp_found {
    const char *name;
    size_t name_len;
    const fmp_dtype *dtype;
    const uint64_t *shape;
    uint32_t rank;
    uint64_t off; /* in the file */
    uint64_t n_bytes;
} fmp_found;

fmp_status fmp_builder_new(const char *path, const fmp_store_options *options, fmp_builder **ret,
                           fmp_error *err);
void fmp_builder_free(fmp_builder *b); /* takes NULL */

/* Opens dir/name, or `name` as a path of its own when `dir` is NULL, and appends it.  *ret is
 * borrowed until the next call. */
fmp_status fmp_builder_add_file(fmp_builder *b, const char *dir, const char *name, bool side,
                                fmp_store_file **ret, fmp_error *err);
/* The newest file has been parsed: it is closed if the store has enough files open. */
void fmp_builder_park_file(fmp_builder *b);
/* Appends a tensor to the newest file. */
fmp_status fmp_builder_add_tensor(fmp_builder *b, const fmp_found *t, fmp_error *err);
/* Trims the arenas and sorts the names; a name that stands twice is FMP_ECORRUPT. */
fmp_status fmp_builder_finish(fmp_builder *b, fmp_error *err);

/* Sorts `items` by `compare`, stably, with room for `n` more of them as scratch. */
typedef int (*fmp_compare_fn)(const void *ctx, uint32_t a, uint32_t b);
fmp_status fmp_sort_u32(uint32_t *items, size_t n, fmp_compare_fn compare, const void *ctx,
                        fmp_error *err);

/* Bytes as an unsigned string: shorter first when one begins the other. */
int fmp_compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len);

bool fmp_has_suffix(const char *name, const char *suffix);

/* A fmp_json_read_fn over a file. */
typedef struct fmp_json_file {
    const fmp_file *in;
    uint64_t off; /* of the document in the file */
} fmp_json_file;

fmp_status fmp_json_read_file(void *ctx, uint64_t off, void *buf, size_t len, fmp_error *err);

/* A set of names.  It grows by appending, with duplicates dropped now and then; fmp_names_finish()
 * sorts it by bytes and drops the rest. */
typedef struct fmp_names {
    char **v;
    uint32_t n;
    uint32_t n_clean; /* v[0 .. n_clean) are sorted and unique */
    size_t cap;
} fmp_names;

void fmp_names_release(fmp_names *s);
fmp_status fmp_names_add(fmp_names *s, const char *name, size_t len, fmp_error *err);
void fmp_names_finish(fmp_names *s);
/* The last name, which is the caller's to free; NULL when there is none. */
char *fmp_names_pop(fmp_names *s);
/* Of a finished set.  Logarithmic. */
bool fmp_names_have(const fmp_names *s, const char *name);

/* safetensors_header.c: the last two verbs of that driver. */
fmp_status fmp_safetensors_hint(const struct fmp_store *store, uint32_t file, fmp_buf *hint,
                                fmp_error *err);
fmp_status fmp_safetensors_write(const uint8_t *hint, size_t hint_len, fmp_tensor_at_fn at,
                                 void *at_ctx, uint32_t n_tensors, fmp_sink_fn sink, void *sink_ctx,
                                 fmp_error *err);

extern const fmp_store_driver fmp_safetensors_driver;
extern const fmp_store_driver fmp_raw_driver;

/* sharded.c: opens the shards that the index `dir`/`name` maps (`dir` "" is the working directory)
 * and checks the map against them; the index itself is left to the caller.  The store is finished.
 */
fmp_status fmp_sharded_open(fmp_builder *b, const char *dir, const char *name,
                            const fmp_store_options *options, fmp_error *err);

/* directory.c */
bool fmp_is_directory(const char *path);
fmp_status fmp_directory_open(fmp_builder *b, const fmp_store_options *options, fmp_error *err);

#endif
