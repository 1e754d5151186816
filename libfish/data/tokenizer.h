/*
 * WordPiece as BERT has it: clean, split at spaces and punctuation, lower-case and strip accents if
 * the checkpoint says so, then the longest pieces of the vocabulary from the left.  The same ids as
 * the `tokenizers` library gives.
 */
#ifndef FISH_TOKENIZER_H
#define FISH_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"

typedef struct fish_tokenizer fish_tokenizer;

/*
 * Reads what lies in directory `dir`: tokenizer.json when it is there, else vocab.txt (one piece a
 * line) with tokenizer_config.json (do_lower_case, strip_accents, tokenize_chinese_chars) if there
 * is one.  FMP_ENOTSUP for a tokenizer.json that is not a BERT WordPiece.
 */
FMP_NODISCARD fmp_status fish_tokenizer_open(const char *dir, fish_tokenizer **ret, fmp_error *err);
void fish_tokenizer_free(fish_tokenizer *t); /* takes NULL */
uint32_t fish_tokenizer_vocab(const fish_tokenizer *t);

/*
 * [CLS] a [SEP], or with b [CLS] a [SEP] b [SEP]; cut to at most `max` ids, longest part first, as
 * the library's longest_first does.  ids and types have room for max.  Invalid UTF-8 counts as
 * U+FFFD, as Python's errors="replace" has it.  Thread-safe.  FMP_ENOMEM, FMP_EUSAGE (max too small
 * for the special tokens).
 */
FMP_NODISCARD fmp_status fish_tokenizer_encode(const fish_tokenizer *t, const char *a, size_t a_len,
                                               const char *b, size_t b_len, uint32_t max,
                                               int32_t *ids, int32_t *types, uint32_t *ret_n,
                                               fmp_error *err);

#endif
