/*
 * What a BERT tokenizer needs to know of Unicode: UTF-8, classes of characters, canonical
 * decomposition, lower case.  As the tokenizers library has them, of whichever Unicode version.
 */
#ifndef FISH_UNICODE_H
#define FISH_UNICODE_H

#include <stdint.h>

enum {
    FISH_UC_OTHER = 1,       /* dropped by clean_text: controls, formats, private use, U+FFFD */
    FISH_UC_SPACE = 2,       /* White_Space */
    FISH_UC_PUNCT = 4,       /* a piece by itself: ASCII punctuation and P* */
    FISH_UC_MARK = 8,        /* Mn, dropped with the accents; for what does not decompose */
    FISH_UC_WORD = 16,       /* \w of a regular expression: what single_word looks for */
    FISH_UC_DECOMPOSES = 32, /* has a canonical decomposition; Hangul syllables lack the flag */
    FISH_UC_UPPER = 64,      /* has a lower case that differs */
    FISH_UC_ORDERED = 128    /* its canonical combining class is not 0 */
};

#define FISH_UC_REPLACEMENT 0xfffdu
#define FISH_UC_MAX_PARTS   4 /* of a decomposition */

unsigned fish_uc_flags(uint32_t c);

/* The canonical combining class, 0 .. 240. */
unsigned fish_uc_order(uint32_t c);

/* The full canonical decomposition, in order; c itself when there is none.  Returns how many. */
unsigned fish_uc_decompose(uint32_t c, uint32_t parts[FISH_UC_MAX_PARTS]);

/* The lower case, without regard to what stands around.  Returns how many: 1 or 2. */
unsigned fish_uc_lower(uint32_t c, uint32_t lower[2]);

/*
 * The character at *p, which is before `end`; *p goes behind it.  Bytes that are no UTF-8 give
 * U+FFFD, one for each longest start of a character (Unicode 15, table 3-8), as Python does.
 */
uint32_t fish_utf8_next(const char **p, const char *end);

/* Writes c, at most 4 bytes.  Returns how many. */
unsigned fish_utf8_put(uint32_t c, char *out);

#endif
