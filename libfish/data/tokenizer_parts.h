/*
 * What a tokenizer is made of: read by tokenizer_open.c, used by tokenizer.c.
 */
#ifndef FISH_TOKENIZER_PARTS_H
#define FISH_TOKENIZER_PARTS_H

#include "data/added.h"
#include "data/normalize.h"
#include "data/tokenizer.h"
#include "data/wordpiece.h"

#define FISH_MAX_TEMPLATE 32 /* ids and texts in a template */

typedef enum fish_part_kind { FISH_PART_ID, FISH_PART_A, FISH_PART_B } fish_part_kind;

typedef struct fish_part {
    fish_part_kind kind;
    int32_t id; /* FISH_PART_ID */
    int32_t type;
} fish_part;

/* How ids of texts and special tokens follow each other.  Each text that it is for occurs once. */
typedef struct fish_template {
    fish_part parts[FISH_MAX_TEMPLATE];
    uint32_t n;
} fish_template;

struct fish_tokenizer {
    fish_cleaning cleaning;
    fish_wordpiece pieces;
    fish_added_set raw;     /* looked for in the text as it is */
    fish_added_set cleaned; /* looked for in the cleaned text; their own text is cleaned too */
    fish_template single, pair;
    uint32_t n_ids; /* the greatest id of all, plus one */
};

#endif
