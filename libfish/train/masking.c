/*
 * Masks bound to models.  See masking.h.
 */
#include "train/masking.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"

static fmp_status no_memory(fmp_error *err)
{
    return fish_fail(err, FMP_ENOMEM, "mask: out of memory");
}

void fish_selection_release(fish_selection *s)
{
    for (uint32_t p = 0; s->of && p < s->n_params; p++)
        fish_free(s->of[p].idx);
    fish_free(s->of);
    *s = (fish_selection){.n_params = 0};
}

void fish_selection_number(fish_selection *s)
{
    s->n = 0;
    for (uint32_t p = 0; p < s->n_params; p++) {
        s->of[p].at = s->n;
        s->n += s->of[p].n;
    }
}

size_t fish_chosen_find(const fish_chosen *c, size_t element)
{
    size_t low = 0;
    size_t high = c->n;

    if (!c->idx)
        return element < c->n ? element : c->n;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;

        if (c->idx[mid] < element)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static uint32_t find_param(const fish_model *m, const char *name)
{
    for (uint32_t p = 0; p < m->n_params; p++) {
        if (!strcmp(m->params[p].name, name))
            return p;
    }
    return UINT32_MAX;
}

static fmp_status check_shape(const fish_mask_tensor *t, const fish_param *p, fmp_error *err)
{
    bool same = t->rank == p->rank && t->n_elements == p->n;

    for (uint32_t i = 0; same && i < t->rank; i++)
        same = t->shape[i] == p->shape[i];
    if (!same)
        return fish_fail(err, FMP_EBASE,
                         "mask: tensor \"%s\" has %llu elements (rank %u) there, %zu (rank %u) in "
                         "the model",
                         t->name, (unsigned long long)t->n_elements, t->rank, p->n, p->rank);
    if (p->role == FISH_BUFFER)
        return fish_fail(err, FMP_EUSAGE, "mask: tensor \"%s\" is a buffer: it is not trained",
                         t->name);
    if (p->role == FISH_HEAD && t->n != p->n)
        return fish_fail(err, FMP_EUSAGE,
                         "mask: tensor \"%s\" is the head, which is always trained whole; the mask "
                         "has %llu of its %zu elements",
                         t->name, (unsigned long long)t->n, p->n);
    return FMP_OK;
}

static fmp_status copy_indices(const fish_mask_tensor *t, fish_chosen *c, fmp_error *err)
{
    if (t->n > t->n_elements || (!t->idx && t->n != t->n_elements))
        return fish_fail(err, FMP_EUSAGE, "mask: tensor \"%s\": %llu of %llu elements", t->name,
                         (unsigned long long)t->n, (unsigned long long)t->n_elements);
    c->n = (size_t)t->n;
    if (!t->idx || t->n == t->n_elements)
        return FMP_OK;
    c->idx = fish_alloc(c->n, sizeof *c->idx);
    if (!c->idx)
        return no_memory(err);
    for (size_t j = 0; j < c->n; j++) {
        if (t->idx[j] >= t->n_elements || (j && t->idx[j] <= t->idx[j - 1]))
            return fish_fail(err, FMP_EUSAGE,
                             "mask: tensor \"%s\": index %llu is out of order or range", t->name,
                             (unsigned long long)t->idx[j]);
        c->idx[j] = (uint32_t)t->idx[j];
    }
    return FMP_OK;
}

static fmp_status bind_tensors(const fish_model *m, const fish_mask *mask, fish_selection *s,
                               bool *bound, fmp_error *err)
{
    for (uint32_t i = 0; i < mask->n_tensors; i++) {
        const fish_mask_tensor *t = &mask->tensors[i];
        const uint32_t p = find_param(m, t->name);
        fmp_status st;

        if (!t->n && (p == UINT32_MAX || m->params[p].role != FISH_HEAD))
            continue;
        if (p == UINT32_MAX)
            return fish_fail(err, FMP_EUSAGE, "mask: the model has no tensor \"%s\"", t->name);
        if (bound[p])
            return fish_fail(err, FMP_EUSAGE, "mask: tensor \"%s\" occurs twice", t->name);
        bound[p] = true;
        st = check_shape(t, &m->params[p], err);
        if (!st)
            st = copy_indices(t, &s->of[p], err);
        if (st)
            return st;
    }
    return FMP_OK;
}

static fmp_status new_selection(uint32_t n_params, fish_selection *s, fmp_error *err)
{
    *s = (fish_selection){.n_params = n_params, .of = fish_calloc(n_params, sizeof *s->of)};
    return s->of ? FMP_OK : no_memory(err);
}

fmp_status fish_selection_bind(const fish_model *m, const fish_mask *mask, fish_selection *ret,
                               fmp_error *err)
{
    fish_selection s;
    bool *bound = fish_calloc(m->n_params, sizeof *bound);
    fmp_status st = new_selection(m->n_params, &s, err);

    if (!bound)
        st = st ? st : no_memory(err);
    for (uint32_t p = 0; p < m->n_params && !st; p++) {
        if (m->params[p].n > UINT32_MAX)
            st = fish_fail(err, FMP_ENOTSUP, "tensor \"%s\" has more than 2^32 elements",
                           m->params[p].name);
    }
    if (!st && mask)
        st = bind_tensors(m, mask, &s, bound, err);
    for (uint32_t p = 0; p < m->n_params && !st; p++) {
        const bool whole =
            mask ? !bound[p] && m->params[p].role == FISH_HEAD : m->params[p].role != FISH_BUFFER;

        if (whole)
            s.of[p].n = m->params[p].n;
    }
    fish_free(bound);
    if (st) {
        fish_selection_release(&s);
        return st;
    }
    fish_selection_number(&s);
    *ret = s;
    return FMP_OK;
}

/* Merges two ascending lists. */
static size_t merge(const fish_chosen *a, const fish_chosen *b, uint32_t *to)
{
    size_t i = 0;
    size_t j = 0;
    size_t n = 0;

    while (i < a->n || j < b->n) {
        const size_t x = i < a->n ? fish_chosen_at(a, i) : SIZE_MAX;
        const size_t y = j < b->n ? fish_chosen_at(b, j) : SIZE_MAX;

        to[n++] = (uint32_t)(x < y ? x : y);
        i += x <= y;
        j += y <= x;
    }
    return n;
}

fmp_status fish_selection_union(const fish_model *m, const fish_selection *a,
                                const fish_selection *b, fish_selection *ret, fmp_error *err)
{
    fish_selection s;
    fmp_status st = new_selection(m->n_params, &s, err);

    for (uint32_t p = 0; p < m->n_params && !st; p++) {
        const size_t full = m->params[p].n;

        if (a->of[p].n == full || b->of[p].n == full) {
            s.of[p].n = full;
            continue;
        }
        s.of[p].idx = fish_alloc(a->of[p].n + b->of[p].n, sizeof *s.of[p].idx);
        if (!s.of[p].idx) {
            st = no_memory(err);
            break;
        }
        s.of[p].n = merge(&a->of[p], &b->of[p], s.of[p].idx);
        if (s.of[p].n == full || !s.of[p].n) {
            fish_free(s.of[p].idx);
            s.of[p].idx = NULL;
        }
    }
    if (st) {
        fish_selection_release(&s);
        return st;
    }
    fish_selection_number(&s);
    *ret = s;
    return FMP_OK;
}

fmp_status fish_selection_copy(const fish_selection *s, fish_selection *ret, fmp_error *err)
{
    fish_selection copy;
    fmp_status st = new_selection(s->n_params, &copy, err);

    for (uint32_t p = 0; p < s->n_params && !st; p++) {
        copy.of[p].n = s->of[p].n;
        if (!s->of[p].idx)
            continue;
        copy.of[p].idx = fish_alloc(s->of[p].n, sizeof *copy.of[p].idx);
        if (copy.of[p].idx)
            memcpy(copy.of[p].idx, s->of[p].idx, s->of[p].n * sizeof *copy.of[p].idx);
        else
            st = no_memory(err);
    }
    if (st) {
        fish_selection_release(&copy);
        return st;
    }
    fish_selection_number(&copy);
    *ret = copy;
    return FMP_OK;
}

/* ---- digests ----------------------------------------------------------------------------------
 */

static void hash_number(crypto_generichash_state *h, uint64_t x)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(x >> 8 * i);
    crypto_generichash_update(h, bytes, sizeof bytes);
}

static void hash_param(crypto_generichash_state *h, const fish_param *p)
{
    crypto_generichash_update(h, (const uint8_t *)p->name, strlen(p->name) + 1);
    crypto_generichash_update(h, (const uint8_t *)p->dtype, strlen(p->dtype) + 1);
    hash_number(h, (uint64_t)p->role << 1 | (p->added ? 1u : 0u));
    hash_number(h, p->rank);
    for (uint32_t i = 0; i < p->rank; i++)
        hash_number(h, p->shape[i]);
}

static fmp_status start(crypto_generichash_state *h, fmp_error *err)
{
    if (sodium_init() < 0 || crypto_generichash_init(h, NULL, 0, 32))
        return fish_fail(err, FMP_EIO, "libsodium does not start");
    return FMP_OK;
}

static void finish(crypto_generichash_state *h, char ret[FISH_DIGEST_HEX])
{
    uint8_t digest[32];

    crypto_generichash_final(h, digest, sizeof digest);
    sodium_bin2hex(ret, FISH_DIGEST_HEX, digest, sizeof digest);
}

fmp_status fish_selection_digest(const fish_selection *s, const fish_model *m,
                                 char ret[FISH_DIGEST_HEX], fmp_error *err)
{
    crypto_generichash_state h;
    fmp_status st = start(&h, err);

    if (st)
        return st;
    for (uint32_t p = 0; p < s->n_params; p++) {
        hash_param(&h, &m->params[p]);
        hash_number(&h, s->of[p].n);
        if (s->of[p].idx)
            crypto_generichash_update(&h, (const uint8_t *)s->of[p].idx,
                                      s->of[p].n * sizeof *s->of[p].idx);
    }
    finish(&h, ret);
    return FMP_OK;
}

fmp_status fish_model_digest(const fish_model *m, char ret[FISH_DIGEST_HEX], fmp_error *err)
{
    crypto_generichash_state h;
    fmp_status st = start(&h, err);

    if (st)
        return st;
    for (uint32_t p = 0; p < m->n_params; p++) {
        hash_param(&h, &m->params[p]);
        crypto_generichash_update(&h, (const uint8_t *)m->params[p].w,
                                  m->params[p].n * sizeof *m->params[p].w);
    }
    finish(&h, ret);
    return FMP_OK;
}

#define N_VIEWED 8u

/* Labels and lengths of all examples, and tokens or pixels of those in b. */
static void hash_view(crypto_generichash_state *h, const fish_data *d, const fish_batch *b)
{
    const size_t n_tokens = b->ids ? b->start[b->n] : 0;
    uint32_t chw[3] = {0, 0, 0};

    for (uint32_t i = 0; i < fish_data_count(d); i++) {
        const float value = fish_data_value(d, i);

        hash_number(h, (uint64_t)(uint32_t)fish_data_label(d, i) << 32 | fish_data_length(d, i));
        crypto_generichash_update(h, (const uint8_t *)&value, sizeof value);
    }
    if (b->pixels)
        fish_data_image_shape(d, chw);
    if (n_tokens) {
        crypto_generichash_update(h, (const uint8_t *)b->ids, n_tokens * sizeof *b->ids);
        crypto_generichash_update(h, (const uint8_t *)b->types, n_tokens * sizeof *b->types);
    }
    if (b->pixels)
        crypto_generichash_update(h, (const uint8_t *)b->pixels,
                                  (size_t)b->n * chw[0] * chw[1] * chw[2] * sizeof *b->pixels);
}

fmp_status fish_view_digest(const fish_data *d, char ret[FISH_DIGEST_HEX], fmp_error *err)
{
    const uint32_t n = fish_data_count(d) < N_VIEWED ? fish_data_count(d) : N_VIEWED;
    fish_batch_buf *buf = fish_batch_buf_new();
    uint32_t first[N_VIEWED];
    crypto_generichash_state h;
    fish_batch b;
    fmp_status st = buf ? start(&h, err) : no_memory(err);

    for (uint32_t i = 0; i < n; i++)
        first[i] = i;
    if (!st)
        st = fish_batch_fill(buf, d, first, n, &b, err);
    if (!st) {
        hash_view(&h, d, &b);
        finish(&h, ret);
    }
    fish_batch_buf_free(buf);
    return st;
}

/* ---- back to a mask ---------------------------------------------------------------------------
 */

void fish_selection_mask_free(fish_mask *mask)
{
    if (!mask)
        return;
    for (uint32_t i = 0; mask->tensors && i < mask->n_tensors; i++) {
        fish_free(mask->tensors[i].idx);
        fish_free((void *)(uintptr_t)mask->tensors[i].name);
    }
    fish_free(mask->tensors);
    fish_free(mask);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const fish_mask_tensor *)a)->name, ((const fish_mask_tensor *)b)->name);
}

static bool fill_tensor(fish_mask_tensor *t, const fish_chosen *c, const fish_param *p)
{
    *t = (fish_mask_tensor){.name = fish_strdup(p->name),
                            .rank = p->rank,
                            .n_elements = p->n,
                            .n = c->n,
                            .full = c->n == p->n,
                            .head = p->role == FISH_HEAD};
    for (uint32_t i = 0; i < p->rank; i++)
        t->shape[i] = p->shape[i];
    if (!t->full)
        t->idx = fish_alloc(c->n, sizeof *t->idx);
    for (size_t j = 0; t->idx && j < c->n; j++)
        t->idx[j] = fish_chosen_at(c, j);
    return t->name && (t->full || t->idx);
}

fmp_status fish_selection_mask(const fish_selection *s, const fish_model *m, fish_mask **ret,
                               fmp_error *err)
{
    fish_mask *mask = fish_calloc(1, sizeof *mask);
    bool ok = mask != NULL;

    if (ok)
        mask->tensors = fish_calloc(s->n_params, sizeof *mask->tensors);
    ok = ok && mask->tensors;
    for (uint32_t p = 0; ok && p < s->n_params; p++) {
        if (m->params[p].role == FISH_BUFFER)
            continue;
        ok = fill_tensor(&mask->tensors[mask->n_tensors++], &s->of[p], &m->params[p]);
        mask->n_elements += m->params[p].n;
        mask->n += s->of[p].n;
    }
    if (!ok) {
        fish_selection_mask_free(mask);
        return no_memory(err);
    }
    qsort(mask->tensors, mask->n_tensors, sizeof *mask->tensors, by_name);
    *ret = mask;
    return FMP_OK;
}
