/*
 * A vocabulary and the cutting of one word into its pieces: the longest piece from the left, again
 * and again (Wu et al. 2016, "Google's Neural Machine Translation System", section 4.1; the greedy
 * form is BERT's).  Knows no Unicode beyond where UTF-8 characters begin.
 */
#ifndef FISH_WORDPIECE_H
#define FISH_WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"

#define FISH_MAX_WORD   1000 /* characters, the most that max_chars may be */
#define FISH_MAX_PREFIX 32   /* bytes of the prefix of a piece inside a word */

typedef struct fish_piece {
    size_t at; /* in `text` */
    uint32_t len;
    int32_t id;
} fish_piece;

typedef struct fish_wordpiece {
    char *text;
    size_t text_len, text_cap;
    fish_piece *pieces;
    uint32_t n_pieces, cap;
    uint32_t *slots; /* open addressing: 1 + the number of a piece, 0 for an empty slot */
    uint32_t n_slots;
    uint32_t longest; /* bytes of the longest piece */
    char prefix[FISH_MAX_PREFIX];
    uint32_t prefix_len;
    uint32_t max_chars;
    int32_t unknown; /* the id of a word that cannot be cut */
} fish_wordpiece;

/* Room for n_pieces of text_len bytes together.  A false return: out of memory. */
bool fish_wordpiece_init(fish_wordpiece *w, uint32_t n_pieces, size_t text_len);
void fish_wordpiece_release(fish_wordpiece *w); /* takes all zero */

/* Adds a piece, or gives one that is there already another id.  Never more than init was told. */
void fish_wordpiece_add(fish_wordpiece *w, const char *text, size_t len, int32_t id);

/* The id of a piece, or -1. */
int32_t fish_wordpiece_find(const fish_wordpiece *w, const char *text, size_t len);

/*
 * Cuts a word of n_chars (1 .. FISH_MAX_WORD) characters in valid UTF-8.  ids has room for n_chars.
 * Returns how many pieces; a word that cannot be cut, or is longer than max_chars, is one
 * `unknown`.
 */
uint32_t fish_wordpiece_cut(const fish_wordpiece *w, const char *word, size_t len, uint32_t n_chars,
                            int32_t *ids);

#endif
