/*
 * Tokens that are looked for in the text itself, before it is cut into words: [CLS], [MASK] and
 * what a user has added.  Leftmost first, the longest of those that start there.
 */
#ifndef FISH_ADDED_H
#define FISH_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fish_added {
    char *text; /* UTF-8, at least one byte, without U+FFFD */
    size_t len;
    int32_t id;
    bool single_word; /* only where no \w touches it */
    bool lstrip;      /* takes the white space before it along */
    bool rstrip;      /* ... and behind it */
} fish_added;

typedef struct fish_added_set {
    fish_added *tokens; /* each one's text is to fish_free() */
    uint32_t n;
    uint32_t at[257]; /* those whose first byte is b: at[b] .. at[b + 1] - 1 */
} fish_added_set;

typedef struct fish_match {
    size_t start, end; /* white space taken along included */
    size_t search;     /* where the next search begins */
    int32_t id;
} fish_match;

/* Puts the tokens in order of search.  False: two of them read the same. */
bool fish_added_sort(fish_added_set *s);
void fish_added_release(fish_added_set *s); /* takes all zero */

/*
 * The next match at or behind `search`.  Bytes before `covered` belong to an earlier match, which
 * does not give white space back.  False: there is none.
 */
bool fish_added_find(const fish_added_set *s, const char *text, size_t len, size_t search,
                     size_t covered, fish_match *ret);

#endif
