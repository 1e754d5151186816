/*
 * Which columns of a text file hold the text, the second text and the label, and what a record has
 * in them.
 */
#ifndef FISH_COLUMNS_H
#define FISH_COLUMNS_H

#include <jansson.h>

#include "data/data.h"
#include "data/records.h"

enum { FISH_TEXT_A, FISH_TEXT_B, FISH_LABEL, FISH_ROLES };

typedef struct fish_columns {
    fish_text_format format;
    const char *path;       /* borrowed */
    uint32_t n;             /* columns of every record of CSV and TSV */
    int32_t at[FISH_ROLES]; /* the column of a role; -1: none */
    char *key[FISH_ROLES];  /* its name */
} fish_columns;

/* Chooses by the options and the first record, which is the header or (no_header, JSONL) data; the
 * record's bytes are left as they were. */
FMP_NODISCARD fmp_status fish_columns_choose(fish_columns *c, fish_text_format format,
                                             const char *path, const fish_record *first,
                                             const fish_data_options *options, fmp_error *err);
void fish_columns_release(fish_columns *c); /* takes all zero, leaves it */

/* What a record holds; points into the record, or into `json` and `number`. */
typedef struct fish_row {
    fish_field part[FISH_ROLES]; /* p is NULL where there is no such column */
    json_t *json;
    char number[32]; /* a label of JSONL that is a number */
} fish_row;

/* Takes a record apart; its bytes are changed.  The row is to be released only after FMP_OK. */
FMP_NODISCARD fmp_status fish_row_parse(const fish_columns *c, const fish_record *record,
                                        fish_row *ret, fmp_error *err);
void fish_row_release(fish_row *row);

#endif
