/*
 * A sorted table of class names: found by halving, numbered as given or as first seen.
 */
#include "data/classes.h"

#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "data/unicode.h"

void fish_classes_release(fish_classes *c)
{
    for (uint32_t i = 0; i < c->n; i++)
        fish_free(c->sorted[i].name);
    fish_free(c->sorted);
    fish_free(c->names);
    *c = (fish_classes){0};
}

const char *fish_label_problem(const char *label, size_t len)
{
    const char *p = label;

    if (!len)
        return "is empty";
    if (len > FISH_LABEL_MAX)
        return "is longer than 255 bytes; is it the right column?";
    while (p < label + len) {
        const char *from = p;
        const uint32_t c = fish_utf8_next(&p, label + len);

        if (c < 0x20 || c == 0x7f)
            return "has a control character";
        if (c == FISH_UC_REPLACEMENT && (p - from != 3 || memcmp(from, "\xef\xbf\xbd", 3)))
            return "is not UTF-8";
    }
    return NULL;
}

static int compare(const char *name, const char *label, size_t len)
{
    const size_t name_len = strlen(name);
    const int r = memcmp(name, label, name_len < len ? name_len : len);

    return r ? r : (name_len > len) - (name_len < len);
}

/* The place of a label, or where it would stand. */
static uint32_t place_of(const fish_classes *c, const char *label, size_t len, bool *ret_found)
{
    uint32_t low = 0;
    uint32_t high = c->n;

    *ret_found = false;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int r = compare(c->sorted[middle].name, label, len);

        if (!r) {
            *ret_found = true;
            return middle;
        }
        if (r < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool insert(fish_classes *c, uint32_t at, const char *label, size_t len)
{
    char *name;

    if (c->n == c->cap) {
        const uint32_t cap = c->cap ? c->cap * 2 : 16;
        fish_class *larger = fish_realloc(c->sorted, cap, sizeof *larger);

        if (!larger)
            return false;
        c->sorted = larger;
        c->cap = cap;
    }
    name = fish_alloc(len + 1, 1);
    if (!name)
        return false;
    memcpy(name, label, len);
    name[len] = 0;
    memmove(c->sorted + at + 1, c->sorted + at, (c->n - at) * sizeof *c->sorted);
    c->sorted[at] = (fish_class){.name = name, .id = c->n++};
    return true;
}

/* Lays out the names by their numbers. */
static fmp_status number_names(fish_classes *c, fmp_error *err)
{
    c->names = fish_alloc(c->n, sizeof *c->names);
    if (!c->names)
        return fish_fail(err, FMP_ENOMEM, "class names: out of memory");
    for (uint32_t i = 0; i < c->n; i++)
        c->names[c->sorted[i].id] = c->sorted[i].name;
    return FMP_OK;
}

fmp_status fish_classes_fix(fish_classes *c, const char *const *names, uint32_t n, fmp_error *err)
{
    if (n > FISH_CLASSES_MAX)
        return fish_fail(err, FMP_ELIMIT, "%u classes, limit %u", n, FISH_CLASSES_MAX);
    for (uint32_t i = 0; i < n; i++) {
        const size_t len = strlen(names[i]);
        const char *problem = fish_label_problem(names[i], len);
        bool found;
        const uint32_t at = place_of(c, names[i], len, &found);

        if (problem)
            return fish_fail(err, FMP_EUSAGE, "class name %u %s", i, problem);
        if (found)
            return fish_fail(err, FMP_EUSAGE, "class name given twice: %s", names[i]);
        if (!insert(c, at, names[i], len))
            return fish_fail(err, FMP_ENOMEM, "class names: out of memory");
    }
    c->fixed = true;
    return number_names(c, err);
}

fmp_status fish_classes_label(fish_classes *c, const char *label, size_t len, const char *where,
                              int32_t *ret, fmp_error *err)
{
    const char *problem = fish_label_problem(label, len);
    bool found;
    uint32_t at;

    if (problem)
        return fish_fail(err, FMP_ECORRUPT, "%s: the label %s", where, problem);
    at = place_of(c, label, len, &found);
    if (!found && c->fixed)
        return fish_fail(err, FMP_EUSAGE, "%s: expected one of the %u known classes, found '%.*s'",
                         where, c->n, (int)len, label);
    if (!found && c->n == FISH_CLASSES_MAX)
        return fish_fail(err, FMP_ELIMIT, "%s: more than %u classes; is it the right column?",
                         where, FISH_CLASSES_MAX);
    if (!found && !insert(c, at, label, len))
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", where);
    *ret = (int32_t)c->sorted[at].id;
    return FMP_OK;
}

/* An optional minus and at most 18 digits, so that it fits an int64_t. */
static bool is_integer(const char *s)
{
    const char *digits = *s == '-' ? s + 1 : s;
    const size_t n = strspn(digits, "0123456789");

    return n >= 1 && n <= 18 && !digits[n];
}

bool fish_classes_by_position(const fish_classes *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (is_integer(c->sorted[i].name))
            return false;
    }
    return c->fixed;
}

static int by_number(const void *a, const void *b)
{
    const fish_class *x = a;
    const fish_class *y = b;
    const long long p = strtoll(x->name, NULL, 10);
    const long long q = strtoll(y->name, NULL, 10);

    return p != q ? (p > q) - (p < q) : strcmp(x->name, y->name); /* "1" and "01" are two */
}

fmp_status fish_classes_finish(fish_classes *c, int32_t *labels, size_t n_labels, fmp_error *err)
{
    uint32_t *now;
    bool integers = true;

    if (c->fixed)
        return FMP_OK;
    now = fish_alloc(c->n, sizeof *now);
    if (!now)
        return fish_fail(err, FMP_ENOMEM, "class names: out of memory");
    for (uint32_t i = 0; i < c->n; i++)
        integers = integers && is_integer(c->sorted[i].name);
    if (integers && c->n)
        qsort(c->sorted, c->n, sizeof *c->sorted, by_number);
    for (uint32_t i = 0; i < c->n; i++) {
        now[c->sorted[i].id] = i;
        c->sorted[i].id = i;
    }
    for (size_t i = 0; c->n && i < n_labels; i++)
        labels[i] = (int32_t)now[labels[i]];
    fish_free(now);
    return number_names(c, err);
}
