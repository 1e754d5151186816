/*
 * "Did you mean": the nearest word by edit distance, with swapped neighbours counted once.
 */
#include "suggest.h"

#include <string.h>

#define WORD_MAX 32

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t suggest_distance(const char *a, const char *b)
{
    size_t d[WORD_MAX + 1][WORD_MAX + 1];
    const size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > WORD_MAX || b_len > WORD_MAX)
        return WORD_MAX;
    for (size_t i = 0; i <= a_len; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= b_len; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        for (size_t j = 1; j <= b_len; j++) {
            const size_t differs = a[i - 1] != b[j - 1];

            d[i][j] = min_of(min_of(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + differs);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = min_of(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a_len][b_len];
}

void suggest_try(suggestion *s, const char *given, const char *candidate)
{
    const size_t len = strlen(candidate);
    const size_t distance = suggest_distance(given, candidate);

    if (distance > (len < 4 ? 1 : len < 8 ? 2 : 3) || distance >= strlen(given))
        return;
    if (s->word && s->distance <= distance)
        return;
    *s = (suggestion){candidate, distance};
}
