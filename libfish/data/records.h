/*
 * Text files as records and fields: CSV (RFC 4180), TSV (tabs, nothing quoted), JSON lines.  This
 * layer knows where a record ends and what its fields are, not what they mean.
 */
#ifndef FISH_RECORDS_H
#define FISH_RECORDS_H

#include "data/datafile.h"

typedef enum fish_text_format { FISH_CSV, FISH_TSV, FISH_JSONL } fish_text_format;

#define FISH_RECORD_MAX ((size_t)16 << 20) /* bytes; FMP_ELIMIT past that */

typedef struct fish_record {
    char *raw; /* without its line end; the reader's, and may be written to */
    size_t len;
    uint64_t off;  /* of raw in the file */
    uint64_t line; /* where it begins, from 1 */
} fish_record;

/* Reads a file from its start to its end, once. */
typedef struct fish_record_reader {
    const fish_datafile *file;
    fish_text_format format;
    crypto_generichash_state *digest;
    char *buf;
    size_t cap;
    size_t at;        /* the next record in buf */
    size_t have;      /* bytes in buf */
    uint64_t buf_off; /* of buf in the file */
    uint64_t line;    /* of the next record */
} fish_record_reader;

/* file and digest are borrowed; all bytes that are read go to the digest, which may be NULL. */
FMP_NODISCARD fmp_status fish_record_reader_init(fish_record_reader *r, const fish_datafile *file,
                                                 fish_text_format format,
                                                 crypto_generichash_state *digest, fmp_error *err);
void fish_record_reader_release(fish_record_reader *r);

/*
 * The next record, empty ones too; *ret_end is true, and *ret unset, when there is none.  A byte
 * order mark at the start of the file is skipped.  FMP_ECORRUPT for a quote that nothing closes.
 */
FMP_NODISCARD fmp_status fish_record_reader_next(fish_record_reader *r, fish_record *ret,
                                                 bool *ret_end, fmp_error *err);

typedef struct fish_field {
    char *p;
    size_t len;
} fish_field;

/* Walks over the fields of a CSV or TSV record; quotes are taken off in place. */
typedef struct fish_fields {
    fish_text_format format;
    char *at;
    char *end;
    uint32_t column; /* of the next field */
    bool done;
    const char *path;
    uint64_t line;
} fish_fields;

fish_fields fish_fields_of(fish_text_format format, const char *path, const fish_record *record);

/* False when there is no further field, or what stands there is no field: then *ret_st says so. */
bool fish_fields_next(fish_fields *f, fish_field *ret, fmp_status *ret_st, fmp_error *err);

#endif
