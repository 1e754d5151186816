/*
 * Finds added tokens, with the rules that the tokenizers library has for single_word, lstrip and
 * rstrip.  The sets are small: a table by first byte, then one comparison after the other.
 */
#include "data/added.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/unicode.h"

/* By first byte, then the longest first. */
static int compare(const void *pa, const void *pb)
{
    const fish_added *a = pa;
    const fish_added *b = pb;
    const unsigned char first_a = (unsigned char)a->text[0];
    const unsigned char first_b = (unsigned char)b->text[0];

    if (first_a != first_b)
        return first_a < first_b ? -1 : 1;
    if (a->len != b->len)
        return a->len > b->len ? -1 : 1;
    return memcmp(a->text, b->text, a->len);
}

bool fish_added_sort(fish_added_set *s)
{
    uint32_t i = 0;

    if (s->n)
        qsort(s->tokens, s->n, sizeof *s->tokens, compare);
    for (uint32_t b = 0; b < 257; b++) {
        while (i < s->n && (unsigned char)s->tokens[i].text[0] < b)
            i++;
        s->at[b] = i;
    }
    for (i = 1; i < s->n; i++) {
        if (!compare(&s->tokens[i - 1], &s->tokens[i]))
            return false;
    }
    return true;
}

void fish_added_release(fish_added_set *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        fish_free(s->tokens[i].text);
    fish_free(s->tokens);
    memset(s, 0, sizeof *s);
}

static const fish_added *longest_at(const fish_added_set *s, const char *text, size_t len)
{
    const unsigned char b = (unsigned char)text[0];

    for (uint32_t i = s->at[b]; i < s->at[b + 1]; i++) {
        const fish_added *a = &s->tokens[i];

        if (a->len <= len && !memcmp(a->text, text, a->len))
            return a;
    }
    return NULL;
}

/* The flags of the character that ends at `at`, and where it starts. */
static unsigned flags_before(const char *text, size_t at, size_t *ret_start)
{
    size_t start = at - 1;
    const char *p;
    uint32_t c;

    while (start > 0 && at - start < 4 && ((unsigned char)text[start] & 0xc0) == 0x80)
        start--;
    p = text + start;
    c = fish_utf8_next(&p, text + at);
    *ret_start = start;
    return fish_uc_flags(p == text + at ? c : FISH_UC_REPLACEMENT);
}

static bool touches_word(const char *text, size_t len, size_t start, size_t end)
{
    const char *p = text + end;
    size_t before;

    if (start > 0 && flags_before(text, start, &before) & FISH_UC_WORD)
        return true;
    return end < len && fish_uc_flags(fish_utf8_next(&p, text + len)) & FISH_UC_WORD;
}

static size_t skip_space_back(const char *text, size_t at, size_t least)
{
    size_t start;

    while (at > least && flags_before(text, at, &start) & FISH_UC_SPACE)
        at = start;
    return at < least ? least : at;
}

static size_t skip_space(const char *text, size_t at, size_t len)
{
    const char *p = text + at;

    while (p < text + len && fish_uc_flags(fish_utf8_next(&p, text + len)) & FISH_UC_SPACE)
        at = (size_t)(p - text);
    return at;
}

bool fish_added_find(const fish_added_set *s, const char *text, size_t len, size_t search,
                     size_t covered, fish_match *ret)
{
    while (s->n && search < len) {
        const fish_added *a = longest_at(s, text + search, len - search);
        const size_t start = search;

        if (!a) {
            search++;
            continue;
        }
        search += a->len;
        if (a->single_word && touches_word(text, len, start, search))
            continue;
        ret->id = a->id;
        ret->search = search;
        ret->start = a->lstrip ? skip_space_back(text, start, covered) : start;
        ret->end = a->rstrip ? skip_space(text, search, len) : search;
        return true;
    }
    return false;
}
