/*
 * The seam between the library and the checkpoint formats.  A driver (one file in formats/, one row
 * in its table) fills an fmp_store when it opens a checkpoint, and writes a file's header when
 * asked for one; everything else is common.  Verbs never name a format.
 */
#ifndef FMP_BASE_STORE_H
#define FMP_BASE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/file.h"
#include "fmpatch.h"

/* A dtype as the formats name it.  `order` is FMP_ORDER_SIGN for sign-magnitude floats. */
typedef struct fmp_dtype {
    char name[16];
    uint16_t bits;    /* per element: 4 .. 128 */
    uint8_t width;    /* coding unit in bits: 8, 16, 32 or 64 */
    uint8_t order;    /* FMP_ORDER_UNSIGNED or FMP_ORDER_SIGN */
    uint8_t mantissa; /* bits below a float's exponent; 64 where there is none */
} fmp_dtype;

enum { FMP_ORDER_UNSIGNED = 0, FMP_ORDER_SIGN = 1 };

/* The dtypes known by name (those of safetensors); NULL for another.  base/dtype.c. */
const fmp_dtype *fmp_dtype_find(const char *name, size_t len);
const fmp_dtype *fmp_dtype_at(unsigned i); /* NULL past the last */
/* Bytes of a tensor; false on overflow or when the bits are not whole bytes. */
bool fmp_dtype_bytes(const fmp_dtype *t, uint32_t rank, const uint64_t *shape,
                     uint64_t *ret_elements, uint64_t *ret_bytes);

/* A shape, kept once for all tensors that share it. */
typedef struct fmp_shape {
    uint32_t rank;
    uint32_t dims_at; /* index into the store's dims */
} fmp_shape;

/* One tensor of a store: 32 bytes. */
typedef struct fmp_store_entry {
    uint64_t off; /* of its bytes in the file */
    uint64_t n_bytes;
    uint32_t name_at; /* in the name arena, NUL-terminated */
    uint32_t shape;   /* index of an fmp_shape */
    uint32_t file;    /* index of an fmp_store_file */
    uint16_t name_len;
    uint8_t dtype; /* index for fmp_dtype_at() */
    uint8_t flags;
} fmp_store_entry;

typedef struct fmp_store_file {
    char *name;  /* relative to the store; the base name for a single file */
    fmp_file in; /* may be closed between reads when there are many files */
    uint64_t size;
    uint64_t header_len;   /* bytes before tensor data (safetensors: 8 + N; raw: 0) */
    uint32_t first_tensor; /* weights files: tensors [first_tensor, first_tensor + n_tensors) */
    uint32_t n_tensors;
    bool side;              /* not weights: travels whole */
    _Atomic uint64_t asked; /* end of what the system was asked to read ahead */
} fmp_store_file;

struct fmp_store_driver;

struct fmp_store {
    const struct fmp_store_driver *driver;
    char *path;
    fmp_store_file *files; /* weights files in order, then side files sorted by name */
    uint32_t n_files;
    fmp_store_entry *tensors; /* file order; data of one file lies contiguous in this order */
    uint32_t n_tensors;
    uint32_t *by_name; /* permutation: tensors sorted by name bytes */
    char *names;
    size_t names_len;
    fmp_shape *shapes;
    uint32_t n_shapes;
    uint64_t *dims;
    uint32_t n_dims;
    bool is_dir; /* opened as a directory */
    /* Answers reads of tensors in the files' place; NULL for a store that is its files. */
    fmp_status (*overlay)(void *ctx, uint32_t tensor, uint64_t off, void *buf, size_t len,
                          fmp_error *err);
    void *overlay_ctx;
    const struct fmp_store *below; /* what the overlay lies on: its headers give the hints; NULL:
                                      it lies on nothing, and empty hints serve */
    bool is_mask; /* zeros and ones (mask.c): equal tensors are no copies of each other, and what
                     differs from the base is larger by 1 */
};

/* Header text is produced and compared in pieces. */
typedef fmp_status (*fmp_sink_fn)(void *ctx, const void *data, size_t len, fmp_error *err);

/* The i-th tensor of one file, in file order. */
typedef fmp_tensor_info (*fmp_tensor_at_fn)(void *ctx, uint32_t i);

typedef struct fmp_store_driver {
    const char *name; /* goes into patches: "safetensors", "raw" */
    /* Opens one weights file into `store` (appending a file and its tensors). */
    fmp_status (*open)(struct fmp_store *store, const char *dir, const char *name,
                       const fmp_store_options *options, fmp_error *err);
    /* True when the first bytes (or the name) say that the file is of this format. */
    bool (*probe)(const uint8_t *head, size_t len, uint64_t file_size, const char *name);
    /*
     * What a derived header needs beside the tensors, taken from the file's own header: for
     * safetensors the text of the __metadata__ value and the number of padding spaces.  Empty for
     * raw.
     */
    fmp_status (*header_hint)(const struct fmp_store *store, uint32_t file, fmp_buf *hint,
                              fmp_error *err);
    /*
     * Writes the header that this format's usual writer makes for those tensors, to `sink`.  It is
     * derivable when that equals the file's own header byte for byte; the caller compares.
     * safetensors: u64 length, then {"__metadata__":<hint>,"name":{"dtype":..,"shape":[..],
     * "data_offsets":[..]},...} without insignificant space, tensors in file order, then the
     * padding.
     */
    fmp_status (*header_write)(const uint8_t *hint, size_t hint_len, fmp_tensor_at_fn at,
                               void *at_ctx, uint32_t n_tensors, fmp_sink_fn sink, void *sink_ctx,
                               fmp_error *err);
} fmp_store_driver;

/* Defined in formats/formats.c.  NULL when there is none of that name. */
const fmp_store_driver *fmp_store_driver_find(const char *name);
/* That of checkpoints that are made up and have no file to tell. */
const fmp_store_driver *fmp_store_driver_default(void);

/* Weights files come first: how many there are. */
static inline uint32_t fmp_store_weights(const fmp_store *store)
{
    uint32_t n = 0;

    while (n < store->n_files && !store->files[n].side)
        n++;
    return n;
}

/* The number of the side file of that name, or UINT32_MAX.  Logarithmic: they are sorted by name.
 */
uint32_t fmp_store_find_side(const fmp_store *store, const char *name);

/* Whether `path` names one of the store's files. */
bool fmp_store_is_made_of(const fmp_store *store, const char *path);

/* FMP_EIO when a file that is kept open is not what it was when the store was opened. */
fmp_status fmp_store_unchanged(const fmp_store *store, fmp_error *err);

/* Bytes [off, off + len) of a store's file, header included.  Thread-safe. */
fmp_status fmp_store_read_file(const fmp_store *store, uint32_t file, uint64_t off, void *buf,
                               size_t len, fmp_error *err);

#endif
