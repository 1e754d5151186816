/*
 * BERT's cleaning of a text, character by character: what goes in comes out through a sink, none,
 * one or several characters for one.
 */
#ifndef FISH_NORMALIZE_H
#define FISH_NORMALIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fish_cleaning {
    bool clean_text;    /* drop controls, make all white space a blank */
    bool split_chinese; /* blanks around CJK ideographs */
    bool strip_accents; /* decompose, drop nonspacing marks */
    bool lowercase;
} fish_cleaning;

/* Takes the next character.  False: enough, no more are wanted. */
typedef bool (*fish_char_sink)(void *ctx, uint32_t c);

/* Cleans a text of any bytes into the sink.  False: the sink had enough. */
bool fish_normalize(const fish_cleaning *cleaning, const char *text, size_t len,
                    fish_char_sink sink, void *ctx);

#endif
