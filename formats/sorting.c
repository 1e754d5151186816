/*
 * Order for formats/: a stable merge sort of 32-bit numbers, comparing bytes, and sorted sets of
 * file names.  See builder.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "builder.h"

int fmp_compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
    const size_t n = a_len < b_len ? a_len : b_len;
    const int c = n ? memcmp(a, b, n) : 0;

    if (c)
        return c;
    return a_len < b_len ? -1 : a_len > b_len;
}

bool fmp_has_suffix(const char *name, const char *suffix)
{
    const size_t len = strlen(name);
    const size_t n = strlen(suffix);

    return len >= n && !memcmp(name + len - n, suffix, n);
}

/* Merges [lo, mid) and [mid, hi) of `from` into the same places of `to`. */
static void merge(const uint32_t *from, uint32_t *to, size_t lo, size_t mid, size_t hi,
                  fmp_compare_fn compare, const void *ctx)
{
    size_t a = lo;
    size_t b = mid;

    for (size_t i = lo; i < hi; i++) {
        if (a < mid && (b >= hi || compare(ctx, from[a], from[b]) <= 0))
            to[i] = from[a++];
        else
            to[i] = from[b++];
    }
}

static bool is_sorted(const uint32_t *items, size_t n, fmp_compare_fn compare, const void *ctx)
{
    for (size_t i = 1; i < n; i++)
        if (compare(ctx, items[i - 1], items[i]) > 0)
            return false;
    return true;
}

fmp_status fmp_sort_u32(uint32_t *items, size_t n, fmp_compare_fn compare, const void *ctx,
                        fmp_error *err)
{
    uint32_t *scratch;
    uint32_t *from = items;
    uint32_t *to;

    if (is_sorted(items, n, compare, ctx))
        return FMP_OK;
    scratch = fmp_calloc(n, sizeof *scratch);
    if (!scratch)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "sorting %zu names: out of memory", n);
    to = scratch;
    for (size_t run = 1; run < n; run *= 2) {
        uint32_t *swap = from;

        for (size_t lo = 0; lo < n; lo += 2 * run) {
            const size_t mid = run < n - lo ? lo + run : n;
            const size_t hi = 2 * run < n - lo ? lo + 2 * run : n;

            merge(from, to, lo, mid, hi, compare, ctx);
        }
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, n * sizeof *items);
    fmp_free(scratch);
    return FMP_OK;
}

void fmp_names_release(fmp_names *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        fmp_free(s->v[i]);
    fmp_free(s->v);
    *s = (fmp_names){0};
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void fmp_names_finish(fmp_names *s)
{
    uint32_t kept = 0;

    if (s->n)
        qsort(s->v, s->n, sizeof *s->v, compare_strings);
    for (uint32_t i = 0; i < s->n; i++) {
        if (kept && !strcmp(s->v[kept - 1], s->v[i]))
            fmp_free(s->v[i]);
        else
            s->v[kept++] = s->v[i];
    }
    s->n = kept;
    s->n_clean = kept;
}

fmp_status fmp_names_add(fmp_names *s, const char *name, size_t len, fmp_error *err)
{
    if (s->n / 2 >= (size_t)s->n_clean + 1024)
        fmp_names_finish(s);
    if (s->n && strlen(s->v[s->n - 1]) == len && !memcmp(s->v[s->n - 1], name, len))
        return FMP_OK;
    if (s->n == s->cap) {
        const size_t cap = s->cap + s->cap / 2 + 16;
        char **v = fmp_realloc(s->v, cap, sizeof *v);

        if (!v)
            return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%u file names: out of memory", s->n);
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n] = fmp_strndup(name, len);
    if (!s->v[s->n])
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%u file names: out of memory", s->n);
    s->n++;
    return FMP_OK;
}

char *fmp_names_pop(fmp_names *s)
{
    if (!s->n)
        return NULL;
    s->n--;
    if (s->n_clean > s->n)
        s->n_clean = s->n;
    return s->v[s->n];
}

bool fmp_names_have(const fmp_names *s, const char *name)
{
    return s->n && bsearch(&name, s->v, s->n, sizeof *s->v, compare_strings);
}
