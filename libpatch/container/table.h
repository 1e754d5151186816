/*
 * The tensor table, the frame table and the layout of a patch, in memory and as bytes.  FORMAT.md,
 * "Tensor table", "Frame table", "Layout".  What the fields mean is the verbs' business; that they
 * are consistent is checked here.
 */
#ifndef FMP_CONTAINER_TABLE_H
#define FMP_CONTAINER_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "fmpatch.h"

#define FMP_NONE UINT32_MAX

typedef struct fmp_schema {
    char dtype[17];
    uint32_t element_bits;
    uint32_t rank;
    uint32_t dims_at; /* in fmp_table.dims */
    uint64_t n_elements, n_bytes;
} fmp_schema;

/* One tensor of base or target. */
typedef struct fmp_row {
    uint32_t name_at; /* in fmp_table.names, NUL-terminated */
    uint16_t name_len;
    uint8_t state; /* fmp_tensor_state */
    uint8_t reserved;
    uint32_t base_schema;   /* FMP_NONE: not in the base */
    uint32_t target_schema; /* FMP_NONE: not in the target */
    uint32_t base_digest;   /* index into digests, FMP_NONE */
    uint32_t target_digest; /* likewise; that of the source where nothing changed */
    uint32_t map;           /* index into maps; FMP_NONE: the row itself, all of it */
} fmp_row;

/* Where a target tensor's bytes come from, when that is not the whole base tensor of its name. */
typedef struct fmp_map {
    uint32_t source;   /* row: a base tensor, or for FMP_ALIAS a target tensor */
    uint64_t base_off; /* bytes */
    uint64_t n_bytes;  /* the first n_bytes of the target tensor */
} fmp_map;

typedef struct fmp_table {
    fmp_row *rows; /* by bytes of the name */
    uint32_t n_rows;
    char *names;
    size_t names_len;
    fmp_schema *schemas;
    uint32_t n_schemas;
    uint64_t *dims;
    uint32_t n_dims;
    fmp_map *maps;
    uint32_t n_maps;
    fmp_digest *digests;
    uint32_t n_digests;
} fmp_table;

void fmp_table_release(fmp_table *t);
/* Gives a row a map; for tables that are being made.  False: no memory. */
bool fmp_table_add_map(fmp_table *t, uint32_t row, fmp_map map);
/* Serialises all but the digests. */
void fmp_table_write(const fmp_table *t, fmp_buf *out);
/* `digests` is the stored DIGESTS section.  `path` is for messages. */
fmp_status fmp_table_parse(const fmp_buf *bytes, const fmp_buf *digests, uint32_t max_tensors,
                           const char *path, fmp_table *ret, fmp_error *err);
/* The row of that name or FMP_NONE. */
uint32_t fmp_table_find(const fmp_table *t, const char *name, size_t name_len);
/* The map of a target row, explicit or not. */
fmp_map fmp_table_map(const fmp_table *t, uint32_t row);
/* What a tensor of the row is, on one side. */
fmp_tensor_info fmp_table_info(const fmp_table *t, uint32_t row, bool target);

/* ---- frames -----------------------------------------------------------------------------------
 */

/* What a frame's objects are. */
enum {
    FMP_DOMAIN_TENSORS = 0,     /* target tensors, numbered in the target's file order */
    FMP_DOMAIN_HEADERS = 1,     /* headers of target weights files */
    FMP_DOMAIN_FILES = 2,       /* target side files */
    FMP_DOMAIN_OLD_TENSORS = 3, /* base tensors in the base's file order */
    FMP_DOMAIN_OLD_HEADERS = 4,
    FMP_DOMAIN_OLD_FILES = 5,
    FMP_DOMAIN_COUNT = 6
};

typedef struct fmp_frame_entry {
    uint8_t domain;
    uint32_t first, last; /* objects */
    uint64_t start;       /* byte of `first` where the interval begins */
    uint64_t end;         /* byte of `last` where it ends, exclusive */
    uint32_t stored;
    uint64_t payload_off;
    uint64_t n_changed; /* units */
} fmp_frame_entry;

typedef struct fmp_frames {
    fmp_frame_entry *entry;
    uint32_t n, cap;
    uint64_t stored; /* all of them */
} fmp_frames;

void fmp_frames_release(fmp_frames *f);
bool fmp_frames_add(fmp_frames *f,
                    const fmp_frame_entry *e); /* payload_off is set; false: no memory */
void fmp_frames_write(const fmp_frames *f, fmp_buf *out);
fmp_status fmp_frames_parse(const fmp_buf *bytes, uint64_t n_digests, const char *path,
                            fmp_frames *ret, fmp_error *err);
/* First frame of the domain whose interval ends after byte `off` of `object`; f->n when none. */
uint32_t fmp_frames_seek(const fmp_frames *f, unsigned domain, uint64_t object, uint64_t off);

/* ---- layout -----------------------------------------------------------------------------------
 */

typedef struct fmp_layout_file {
    char *name;
    char *driver; /* "safetensors", "raw" */
    uint64_t size;
    uint64_t header_len;
    uint32_t n_tensors;
    bool header_stored; /* in frames; else derived with `hint` */
    fmp_buf hint;
} fmp_layout_file;

typedef struct fmp_side_file {
    char *name;
    bool in_base, in_target, changed;
    uint64_t base_size, target_size;
    fmp_digest base_digest, target_digest;
} fmp_side_file;

/* The files of one side.  order: rows, file by file. */
typedef struct fmp_layout_side {
    fmp_layout_file *files;
    uint32_t n_files;
    uint32_t *order;
    uint32_t n_order;
    bool is_dir;
} fmp_layout_side;

typedef struct fmp_layout {
    fmp_layout_side target, base;
    fmp_side_file *side; /* by name */
    uint32_t n_side;
} fmp_layout;

void fmp_layout_release(fmp_layout *l);
void fmp_layout_write(const fmp_layout *l, fmp_buf *out);
fmp_status fmp_layout_parse(const fmp_buf *bytes, const fmp_table *t, uint32_t max_files,
                            const char *path, fmp_layout *ret, fmp_error *err);

#endif
