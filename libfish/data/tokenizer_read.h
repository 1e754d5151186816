/*
 * What the readers of tokenizer.json and of vocab.txt share.
 */
#ifndef FISH_TOKENIZER_READ_H
#define FISH_TOKENIZER_READ_H

#include <jansson.h>

#include "data/tokenizer_parts.h"

typedef struct fish_reader {
    fish_tokenizer *t;
    const char *path; /* of the file that is read */
    fmp_error *err;
} fish_reader;

fmp_status fish_reader_no_memory(const fish_reader *r);
/* FMP_ECORRUPT: "path: what: expected ..." */
fmp_status fish_reader_wrong(const fish_reader *r, const char *what, const char *expected);

/* Reads dir/name whole.  *ret stays NULL, without an error, when there is no such file. */
fmp_status fish_reader_slurp(const char *dir, const char *name, char **ret_path, char **ret,
                             size_t *ret_len, fmp_error *err);
fmp_status fish_reader_load(const fish_reader *r, const char *text, size_t len, json_t **ret);

/* The id of anything: not negative, and one more must fit.  Counts it in n_ids. */
fmp_status fish_reader_id(const fish_reader *r, const json_t *value, const char *what,
                          int32_t *ret);
fmp_status fish_reader_bool(const fish_reader *r, const json_t *object, const char *key, bool *ret);
/* strip_accents, which is as lowercase has it when it is null or missing. */
fmp_status fish_reader_strip(const fish_reader *r, const json_t *object);

fmp_status fish_reader_unknown(const fish_reader *r, const char *unknown);
fmp_status fish_reader_prefix(const fish_reader *r, const char *prefix);
/* [CLS] A [SEP] and [CLS] A [SEP] B [SEP], types 0 for the first part and 1 for the second. */
void fish_reader_bert_templates(fish_tokenizer *t, int32_t cls, int32_t sep);

bool fish_reader_added_room(fish_added_set *set, size_t n);
/* Gives a token its own text: as it is, or cleaned as the texts will be. */
fmp_status fish_reader_added(const fish_reader *r, const char *text, bool cleaned, fish_added *ret);
fmp_status fish_reader_sort_added(const fish_reader *r);

/* The two kinds of directory. */
fmp_status fish_read_tokenizer_json(const fish_reader *r, const char *text, size_t len);
fmp_status fish_read_vocab(const char *dir, fish_tokenizer *t, fmp_error *err);

#endif
