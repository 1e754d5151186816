/*
 * One mask dealt out into several, which do not overlap but for the head: by rank of score, as
 * workers of a cluster get theirs (Sung et al. 2021, section 4.2; fish.md 1.4).
 */
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "score/maskparts.h"
#include "score/sources.h"

#define MAX_PARTS 65535

typedef struct dealing {
    const fish_mask *mask;
    fish_source source;
    fish_reader reader;
    uint64_t n;      /* selected elements of the body, numbered in the order of the mask */
    uint32_t *keys;  /* [n] turned over: the smallest has the highest score */
    uint64_t *ranks; /* [n] numbers of elements, best first */
    uint64_t *spare; /* [n] */
    uint16_t *owner; /* [n] */
} dealing;

static void release(dealing *d)
{
    fish_source_release(&d->source);
    fish_reader_release(&d->reader);
    fish_free(d->keys);
    fish_free(d->ranks);
    fish_free(d->spare);
    fish_free(d->owner);
}

/* ---- the scores of what is selected -----------------------------------------------------------
 */

/* The source's tensor that the mask's is; both lists are in byte order of names. */
static fmp_status find_tensor(const dealing *d, const fish_mask_tensor *t, uint32_t *at,
                              fmp_error *err)
{
    const fish_source *s = &d->source;

    while (*at < s->n_tensors && strcmp(s->tensors[*at].name, t->name) < 0)
        ++*at;
    if (*at == s->n_tensors || strcmp(s->tensors[*at].name, t->name))
        return fish_fail(err, FMP_EUSAGE, "scores: tensor \"%s\" of the mask is missing", t->name);
    if (s->tensors[*at].rank != t->rank ||
        memcmp(s->tensors[*at].shape, t->shape, t->rank * sizeof *t->shape))
        return fish_fail(err, FMP_EUSAGE, "scores: tensor \"%s\" has another shape than the mask's",
                         t->name);
    return FMP_OK;
}

/* Reads only pieces in which something is selected. */
static fmp_status read_tensor(dealing *d, const fish_mask_tensor *t, uint32_t source, uint32_t *buf,
                              uint32_t *keys, fmp_error *err)
{
    for (uint64_t j = 0; j < t->n;) {
        const uint64_t begin = fish_mask_at(t, j) / FISH_PIECE * FISH_PIECE;
        const uint64_t left = t->n_elements - begin;
        const size_t n = left < FISH_PIECE ? (size_t)left : FISH_PIECE;
        const fmp_status st = fish_source_read(&d->source, &d->reader, source, begin, n, buf, err);

        if (st)
            return st;
        for (; j < t->n && fish_mask_at(t, j) - begin < n; j++)
            keys[j] = ~buf[fish_mask_at(t, j) - begin];
    }
    return FMP_OK;
}

static fmp_status read_scores(dealing *d, fmp_error *err)
{
    uint32_t *buf = fish_alloc(FISH_PIECE, sizeof *buf);
    uint32_t *keys = d->keys;
    uint32_t at = 0;
    fmp_status st = buf ? FMP_OK : fish_fail(err, FMP_ENOMEM, "split: out of memory");

    for (uint32_t i = 0; i < d->mask->n_tensors && !st; i++) {
        const fish_mask_tensor *t = &d->mask->tensors[i];

        if (t->head || !t->n)
            continue;
        st = find_tensor(d, t, &at, err);
        if (!st)
            st = read_tensor(d, t, at, buf, keys, err);
        keys += t->n;
    }
    fish_free(buf);
    return st;
}

/* ---- ranks ------------------------------------------------------------------------------------
 */

/* One pass of a stable radix sort, by 16 bits of the keys. */
static fmp_status sort_by(const dealing *d, unsigned shift, const uint64_t *from, uint64_t *to,
                          fmp_error *err)
{
    uint64_t *starts = fish_calloc(65537, sizeof *starts);

    if (!starts)
        return fish_fail(err, FMP_ENOMEM, "split: out of memory");
    for (uint64_t i = 0; i < d->n; i++)
        starts[(d->keys[i] >> shift & 0xFFFF) + 1]++;
    for (uint32_t b = 0; b < 65536; b++)
        starts[b + 1] += starts[b];
    for (uint64_t i = 0; i < d->n; i++)
        to[starts[d->keys[from[i]] >> shift & 0xFFFF]++] = from[i];
    fish_free(starts);
    return FMP_OK;
}

static fmp_status deal(dealing *d, uint32_t n_parts, fmp_error *err)
{
    fmp_status st;

    for (uint64_t i = 0; i < d->n; i++)
        d->ranks[i] = i;
    st = sort_by(d, 0, d->ranks, d->spare, err);
    if (!st)
        st = sort_by(d, 16, d->spare, d->ranks, err);
    for (uint64_t r = 0; r < d->n && !st; r++)
        d->owner[d->ranks[r]] = (uint16_t)(r % n_parts);
    return st;
}

/* ---- the parts --------------------------------------------------------------------------------
 */

static fmp_status part_of_tensor(fish_mask *m, uint32_t i, const fish_mask_tensor *t,
                                 const uint16_t *owner, uint32_t part, fmp_error *err)
{
    uint64_t n = 0;
    uint64_t *idx;

    for (uint64_t j = 0; j < t->n; j++)
        n += owner[j] == part;
    idx = fish_mask_room(m, n, sizeof *idx);
    if (!idx)
        return fish_fail(err, FMP_ENOMEM, "split: out of memory");
    n = 0;
    for (uint64_t j = 0; j < t->n; j++) {
        if (owner[j] == part)
            idx[n++] = fish_mask_at(t, j);
    }
    fish_mask_set(m, i, idx, n);
    return FMP_OK;
}

static fmp_status make_part(const dealing *d, uint32_t part, fish_mask **ret, fmp_error *err)
{
    const uint16_t *owner = d->owner;
    fish_mask *m = NULL;
    fmp_status st = fish_mask_new(d->mask->n_tensors, &m, err);

    for (uint32_t i = 0; i < d->mask->n_tensors && !st; i++) {
        const fish_mask_tensor *t = &d->mask->tensors[i];

        st = fish_mask_describe(m, i, t->name, t->rank, t->shape, t->n_elements, err);
        if (st)
            break;
        if (t->head) {
            fish_mask_set(m, i, NULL, t->n);
            m->tensors[i].head = true;
        } else if (t->n) {
            st = part_of_tensor(m, i, t, owner, part, err);
            owner += t->n;
        }
    }
    if (st) {
        fish_mask_free(m);
        return st;
    }
    *ret = m;
    return FMP_OK;
}

static fmp_status prepare(dealing *d, const fmp_store *scores, fmp_error *err)
{
    const fish_select_options o = {.size = sizeof o};
    fmp_status st = fish_source_open(scores, NULL, &o, &d->source, err);

    if (!st)
        st = fish_reader_init(&d->reader, &d->source, err);
    if (st)
        return st;
    for (uint32_t i = 0; i < d->mask->n_tensors; i++)
        d->n += d->mask->tensors[i].head ? 0 : d->mask->tensors[i].n;
    d->keys = fish_alloc(d->n, sizeof *d->keys);
    d->ranks = fish_alloc(d->n, sizeof *d->ranks);
    d->spare = fish_alloc(d->n, sizeof *d->spare);
    d->owner = fish_alloc(d->n, sizeof *d->owner);
    if (!d->keys || !d->ranks || !d->spare || !d->owner)
        return fish_fail(err, FMP_ENOMEM, "split: out of memory for %llu elements",
                         (unsigned long long)d->n);
    return FMP_OK;
}

fmp_status fish_mask_split(const fish_mask *m, const fmp_store *scores, uint32_t n, fish_mask **ret,
                           fmp_error *err)
{
    dealing d = {.mask = m};
    uint32_t n_made = 0;
    fmp_status st;

    if (!n || n > MAX_PARTS)
        return fish_fail(err, FMP_EUSAGE, "split into %u: 1 to %d masks are expected", n,
                         MAX_PARTS);
    st = prepare(&d, scores, err);
    if (!st)
        st = read_scores(&d, err);
    if (!st)
        st = deal(&d, n, err);
    while (n_made < n && !st) {
        st = make_part(&d, n_made, &ret[n_made], err);
        n_made += !st;
    }
    release(&d);
    if (st) {
        while (n_made)
            fish_mask_free(ret[--n_made]);
    }
    return st;
}
