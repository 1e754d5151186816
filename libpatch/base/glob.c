/*
 * Globs.  See glob.h.
 */
#include "base/glob.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

/* The code point at *s, which is moved past it; a byte that begins none is itself. */
static uint32_t take(const char **s)
{
    uint32_t c;
    const size_t len = fmp_utf8_next((const uint8_t *)*s, strnlen(*s, 4), &c);

    if (!len)
        c = (uint8_t) * *s;
    *s += len ? len : 1;
    return c;
}

/* One character of a set, which a backslash may quote.  False at the end of the pattern. */
static bool take_member(const char **p, uint32_t *ret)
{
    if (**p == '\\')
        ++*p;
    if (!**p)
        return false;
    *ret = take(p);
    return true;
}

/*
 * A set, *p behind its '[': moves *p behind its ']' and says whether `c` is in it.  *ret_closed is
 * false when there is no ']' or when a class begins in it.
 */
static bool in_set(const char **p, uint32_t c, bool *ret_closed)
{
    const bool inverted = **p == '!' || **p == '^';
    bool found = false;
    bool first = true;

    *ret_closed = false;
    *p += inverted;
    for (; **p && (**p != ']' || first); first = false) {
        uint32_t low, high;

        if (**p == '[' && strchr(":.=", (*p)[1]) && (*p)[1])
            return false;
        if (!take_member(p, &low))
            return false;
        high = low;
        if ((*p)[0] == '-' && (*p)[1] && (*p)[1] != ']') {
            ++*p;
            if (!take_member(p, &high))
                return false;
        }
        found |= low <= c && c <= high;
    }
    if (!**p)
        return false;
    ++*p;
    *ret_closed = true;
    return found != inverted;
}

bool fmp_glob_is_valid(const char *glob)
{
    bool closed = true;

    while (*glob && closed) {
        const char c = *glob++;

        if (c == '\\' && !*glob++)
            return false;
        if (c == '[')
            (void)in_set(&glob, 0, &closed);
    }
    return closed;
}

/* One step that is no star: *p and *s are moved when it fits. */
static bool step(const char **p, const char **s, bool path)
{
    const char *at = *p;
    const char *text = *s;
    const uint32_t c = take(&text);
    bool fits;

    if (*at == '?') {
        at++;
        fits = !(path && c == '/');
    } else if (*at == '[') {
        at++;
        fits = in_set(&at, c, &(bool){false}) && !(path && c == '/');
    } else {
        if (*at == '\\')
            at++;
        fits = *at && take(&at) == c;
    }
    if (!fits)
        return false;
    *p = at;
    *s = text;
    return true;
}

/* Only the last star needs to be tried longer: what stood before it fits already. */
bool fmp_glob_matches(const char *glob, const char *text, bool path)
{
    const char *star = NULL; /* behind the last one */
    const char *from = NULL; /* where what it matches ends */

    if (!fmp_glob_is_valid(glob))
        return false;
    for (;;) {
        if (*glob == '*') {
            star = ++glob;
            from = text;
            continue;
        }
        if (*text ? *glob && step(&glob, &text, path) : !*glob) {
            if (!*text && !*glob)
                return true;
            continue;
        }
        if (!star || !*from || (path && *from == '/'))
            return false;
        (void)take(&from);
        glob = star;
        text = from;
    }
}
