/*
 * Batches: examples laid out side by side, and the order in which an epoch meets them.
 */
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "core/rng.h"
#include "data/data_parts.h"

#define WINDOW 32u /* batches that are sorted together */

struct fish_batch_buf {
    uint32_t *example;
    int32_t *label;
    float *value;
    uint32_t *start; /* one more */
    uint32_t cap;    /* examples */
    int32_t *ids;
    int32_t *types;
    size_t token_cap;
    float *pixels;
    size_t pixel_cap;
};

fish_batch_buf *fish_batch_buf_new(void)
{
    return fish_calloc(1, sizeof(fish_batch_buf));
}

static void release_examples(fish_batch_buf *b)
{
    fish_free(b->example);
    fish_free(b->label);
    fish_free(b->value);
    fish_free(b->start);
    b->example = NULL;
    b->label = NULL;
    b->value = NULL;
    b->start = NULL;
    b->cap = 0;
}

static void release_tokens(fish_batch_buf *b)
{
    fish_free(b->ids);
    fish_free(b->types);
    b->ids = NULL;
    b->types = NULL;
    b->token_cap = 0;
}

void fish_batch_buf_free(fish_batch_buf *b)
{
    if (!b)
        return;
    release_examples(b);
    release_tokens(b);
    fish_free(b->pixels);
    fish_free(b);
}

/* What a buffer held is of no use for the next batch: it is freed before more is asked for. */
static bool room_for_examples(fish_batch_buf *b, uint32_t n)
{
    if (b->start && n <= b->cap)
        return true;
    release_examples(b);
    b->example = fish_alloc(n, sizeof *b->example);
    b->label = fish_alloc(n, sizeof *b->label);
    b->value = fish_alloc(n, sizeof *b->value);
    b->start = fish_alloc((size_t)n + 1, sizeof *b->start);
    if (!b->example || !b->label || !b->value || !b->start)
        return false;
    b->cap = n;
    return true;
}

static bool room_for_tokens(fish_batch_buf *b, size_t n)
{
    if (n <= b->token_cap)
        return true;
    release_tokens(b);
    b->ids = fish_alloc(n, sizeof *b->ids);
    b->types = fish_alloc(n, sizeof *b->types);
    if (!b->ids || !b->types)
        return false;
    b->token_cap = n;
    return true;
}

static bool room_for_pixels(fish_batch_buf *b, size_t n)
{
    if (n <= b->pixel_cap)
        return true;
    fish_free(b->pixels);
    b->pixel_cap = 0;
    b->pixels = fish_alloc(n, sizeof *b->pixels);
    if (!b->pixels)
        return false;
    b->pixel_cap = n;
    return true;
}

static fmp_status fill_tokens(fish_batch_buf *b, const fish_data *d, uint32_t n, fmp_error *err)
{
    uint64_t total = d->max_tokens; /* a text may need that much room before it is known shorter */

    for (uint32_t i = 0; i < n; i++)
        total += d->lengths[b->example[i]];
    if (total > UINT32_MAX)
        return fish_fail(err, FMP_ELIMIT, "a batch of %llu tokens", (unsigned long long)total);
    if (!room_for_tokens(b, (size_t)total))
        return fish_fail(err, FMP_ENOMEM, "a batch of %u texts: out of memory", n);
    b->start[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t len;
        const fmp_status st = fish_data_tokens(d, b->example[i], b->ids + b->start[i],
                                               b->types + b->start[i], &len, err);

        if (st)
            return st;
        b->start[i + 1] = b->start[i] + len;
    }
    return FMP_OK;
}

static fmp_status fill_pixels(fish_batch_buf *b, const fish_data *d, uint32_t n, fmp_error *err)
{
    const size_t each = (size_t)d->chw[0] * d->chw[1] * d->chw[2];

    if (each > SIZE_MAX / (n ? n : 1) || !room_for_pixels(b, each * n))
        return fish_fail(err, FMP_ENOMEM, "a batch of %u images: out of memory", n);
    for (uint32_t i = 0; i < n; i++) {
        const fmp_status st = fish_data_pixels(d, b->example[i], b->pixels + i * each, err);

        if (st)
            return st;
        b->start[i] = i;
    }
    b->start[n] = n;
    return FMP_OK;
}

fmp_status fish_batch_fill(fish_batch_buf *buf, const fish_data *d, const uint32_t *examples,
                           uint32_t n, fish_batch *ret, fmp_error *err)
{
    const bool texts = d->kind == FISH_TEXT;
    fmp_status st;

    if (!room_for_examples(buf, n))
        return fish_fail(err, FMP_ENOMEM, "a batch of %u examples: out of memory", n);
    for (uint32_t i = 0; i < n; i++) {
        if (examples[i] >= d->n)
            return fish_fail(err, FMP_EUSAGE, "%s: no example number %u", d->file.path,
                             examples[i]);
        buf->example[i] = examples[i];
        buf->label[i] = fish_data_label(d, examples[i]);
        buf->value[i] = fish_data_value(d, examples[i]);
    }
    st = texts ? fill_tokens(buf, d, n, err) : fill_pixels(buf, d, n, err);
    if (st)
        return st;
    *ret = (fish_batch){
        .n = n,
        .example = buf->example,
        .label = buf->label,
        .value = buf->value,
        .start = buf->start,
        .ids = texts ? buf->ids : NULL,
        .types = texts ? buf->types : NULL,
        .pixels = texts ? NULL : buf->pixels,
    };
    return FMP_OK;
}

/* ---- the order of an epoch ---- */

static int by_key(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Memory of one window. */
typedef struct window {
    uint64_t *keys;     /* length in the upper half, place in the lower: no two are equal */
    uint32_t *examples; /* a copy of the window */
    uint32_t *batches;  /* an order of the full batches */
} window;

/*
 * Sorts n examples by length and shuffles their full batches.  What does not fill a batch stays at
 * the end, so that every batch begins at a multiple of the batch size.
 */
static void order_window(const fish_data *d, const window *w, uint32_t *order, size_t n,
                         uint32_t batch_size, fish_key key, uint64_t hi)
{
    const size_t n_full = n / batch_size;

    for (size_t i = 0; i < n; i++) {
        w->keys[i] = (uint64_t)d->lengths[order[i]] << 32 | i;
        w->examples[i] = order[i];
    }
    qsort(w->keys, n, sizeof *w->keys, by_key);
    fish_shuffle(key, hi, w->batches, n_full);
    for (size_t i = 0; i < n; i++) {
        const size_t batch = i / batch_size;
        const size_t from = batch < n_full ? (size_t)w->batches[batch] : batch;

        order[i] = w->examples[(uint32_t)w->keys[from * batch_size + i % batch_size]];
    }
}

static fmp_status order_windows(const fish_data *d, uint32_t *order, size_t n, fish_key key,
                                uint32_t epoch, uint32_t batch_size, fmp_error *err)
{
    const uint64_t most = (uint64_t)WINDOW * batch_size;
    const size_t size = most < n ? (size_t)most : n;
    window w;
    fmp_status st = FMP_OK;

    w.keys = fish_alloc(size, sizeof *w.keys);
    w.examples = fish_alloc(size, sizeof *w.examples);
    w.batches = fish_alloc(WINDOW, sizeof *w.batches);
    if (!w.keys || !w.examples || !w.batches)
        st = fish_fail(err, FMP_ENOMEM, "the order of %zu examples: out of memory", n);
    for (size_t at = 0, number = 1; at < n && !st; at += size, number++)
        order_window(d, &w, order + at, n - at < size ? n - at : size, batch_size, key,
                     (uint64_t)number << 32 | epoch);
    fish_free(w.keys);
    fish_free(w.examples);
    fish_free(w.batches);
    return st;
}

fmp_status fish_epoch_order(const fish_data *d, const uint32_t *subset, uint32_t n, uint64_t seed,
                            uint32_t epoch, uint32_t batch_size, uint32_t *order, fmp_error *err)
{
    const fish_key key = fish_key_make(seed, FISH_STREAM_SHUFFLE);

    if (!batch_size)
        return fish_fail(err, FMP_EUSAGE, "a batch of no examples");
    for (uint32_t i = 0; i < n; i++) {
        if ((subset ? subset[i] : i) >= d->n)
            return fish_fail(err, FMP_EUSAGE, "%s: no example number %u", d->file.path,
                             subset ? subset[i] : i);
    }
    fish_shuffle(key, epoch, order, n); /* windows take other counters: their upper half is not 0 */
    for (uint32_t i = 0; subset && i < n; i++)
        order[i] = subset[order[i]];
    return d->kind == FISH_TEXT && n ? order_windows(d, order, n, key, epoch, batch_size, err)
                                     : FMP_OK;
}
