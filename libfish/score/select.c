/*
 * Which elements are selected.  A radix selection over 32-bit keys: one pass counts the high halves
 * of all keys, one the low halves of those at the boundary, one collects.  Counts are sums of
 * integers and collecting goes in order, so the result does not depend on threads.
 */
#include <math.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "score/selecting.h"

/* ---- how many ---------------------------------------------------------------------------------
 */

/*
 * Bytes of a patch that changes the head and n of the open elements.  Positions: the entropy of n
 * in n_open at random, n_open H(n / n_open) bits (Shannon 1948); a coder does better where they
 * cluster.  Values: residuals as training leaves them, without rounding.  Around them: digests,
 * names and shapes of the tensors, and the fixed sections.  The constants are measured on patches
 * of MiniLM (104 tensors, 22.7 M weights): fp32 with a random and a FISH mask, 0.05 to 0.5 % of all
 * weights, 56 to 446 kB, of which the estimate is off by -3 to +5 %; bf16, 1.75 %, 476 kB, by 1 %.
 */
#define VALUE_BYTES_F32  2.6
#define VALUE_BYTES_HALF 0.28
#define HEAD_BYTES       3.6
#define TENSOR_BYTES     72.0
#define FIXED_BYTES      700.0

static double patch_bytes(const fish_source *s, uint64_t n)
{
    const double all = (double)s->n_open;
    const double k = (double)n;
    double bits = 0;

    if (n && n < s->n_open)
        bits = k * log2(all / k) + (all - k) * log2(all / (all - k));
    return FIXED_BYTES + TENSOR_BYTES * s->n_tensors + HEAD_BYTES * (double)s->n_head + bits / 8 +
           k * (s->half_model ? VALUE_BYTES_HALF : VALUE_BYTES_F32);
}

/* The largest number of open elements whose patch is not larger.  (Near all of a 16-bit model,
 * where the entropy falls faster than values grow: one whose patch is not larger.) */
static fmp_status budget_of_bytes(const fish_source *s, uint64_t bytes, uint64_t *ret,
                                  fmp_error *err)
{
    uint64_t low = 0, high = s->n_open;

    if (patch_bytes(s, 0) > (double)bytes)
        return fish_fail(err, FMP_EUSAGE,
                         "%llu bytes: a patch of this model takes about %.0f without any weight",
                         (unsigned long long)bytes, patch_bytes(s, 0));
    while (low < high) {
        const uint64_t middle = high - (high - low) / 2;

        if (patch_bytes(s, middle) <= (double)bytes)
            low = middle;
        else
            high = middle - 1;
    }
    *ret = low;
    return FMP_OK;
}

/* Elements to select beside the head: keep = int(P * ratio) - P_head (fish.md 1.2). */
static fmp_status find_budget(const fish_source *s, const fish_select_options *o, uint64_t *ret,
                              fmp_error *err)
{
    uint64_t k = o->k;

    if (s->all_open)
        k = s->n_head + s->n_open;
    else if (!k && o->ratio != 0) {
        if (!(o->ratio > 0 && o->ratio <= 1))
            return fish_fail(err, FMP_EUSAGE, "ratio %g: a number in (0, 1] is expected", o->ratio);
        k = (uint64_t)((double)s->n_elements * o->ratio);
    } else if (!k && o->bytes)
        return budget_of_bytes(s, o->bytes, ret, err);
    if (!k)
        return fish_fail(err, FMP_EUSAGE, "nothing is selected: k is 0 of %llu elements",
                         (unsigned long long)s->n_elements);
    if (k < s->n_head)
        return fish_fail(err, FMP_EUSAGE, "k is %llu, but the head alone has %llu elements",
                         (unsigned long long)k, (unsigned long long)s->n_head);
    if (k - s->n_head > s->n_open)
        return fish_fail(err, FMP_EUSAGE,
                         "k is %llu, but only %llu of %llu elements may be selected",
                         (unsigned long long)k, (unsigned long long)(s->n_head + s->n_open),
                         (unsigned long long)s->n_elements);
    *ret = k - s->n_head;
    return FMP_OK;
}

/* ---- the passes -------------------------------------------------------------------------------
 */

uint32_t fish_bins_find(const uint64_t *bins, uint64_t budget, uint64_t *ret_above)
{
    uint64_t above = 0;
    uint32_t b = FISH_BINS - 1;

    while (b && bins[b] < budget - above)
        above += bins[b--];
    *ret_above = above;
    return b;
}

/* Three passes over a span of tensors, cut into pieces. */
typedef struct span {
    fish_selecting *w;
    const uint32_t *tensors; /* [n_tensors] */
    uint32_t n_tensors;
    uint64_t *first; /* [n_tensors + 1] the first piece of each tensor */
    uint32_t high;   /* the boundary: the upper half of the keys there */
    fish_cut cut;
    uint64_t n_equal_left; /* of the collecting pass */
} span;

typedef struct piece {
    uint32_t tensor;
    uint64_t at;
    size_t n;
} piece;

static piece find_piece(const span *s, uint64_t item)
{
    uint32_t low = 0, high = s->n_tensors - 1;
    piece p;
    uint64_t left;

    while (low < high) {
        const uint32_t middle = low + (high - low + 1) / 2;

        if (s->first[middle] <= item)
            low = middle;
        else
            high = middle - 1;
    }
    p.tensor = s->tensors[low];
    p.at = (item - s->first[low]) * FISH_PIECE;
    left = s->w->source->tensors[p.tensor].n - p.at;
    p.n = left < FISH_PIECE ? (size_t)left : FISH_PIECE;
    return p;
}

static fmp_status read_piece(const span *s, fish_select_worker *worker, const piece *p,
                             fmp_error *err)
{
    return fish_source_read(s->w->source, &worker->reader, p->tensor, p->at, p->n, worker->keys,
                            err);
}

static fmp_status count_high(void *ctx, unsigned number, uint64_t item, fmp_error *err)
{
    span *s = ctx;
    fish_select_worker *worker = &s->w->workers[number];
    const piece p = find_piece(s, item);
    const uint32_t zero = s->w->source->flip;
    uint64_t n_zeros = 0;
    fmp_status st = read_piece(s, worker, &p, err);

    if (st)
        return st;
    for (size_t i = 0; i < p.n; i++) {
        worker->bins[worker->keys[i] >> 16]++;
        n_zeros += worker->keys[i] == zero;
    }
    worker->n_zeros += n_zeros;
    return FMP_OK;
}

static fmp_status count_low(void *ctx, unsigned number, uint64_t item, fmp_error *err)
{
    span *s = ctx;
    fish_select_worker *worker = &s->w->workers[number];
    const piece p = find_piece(s, item);
    const uint32_t high = s->high;
    fmp_status st = read_piece(s, worker, &p, err);

    if (st)
        return st;
    for (size_t i = 0; i < p.n; i++) {
        if (worker->keys[i] >> 16 == high)
            worker->bins[worker->keys[i] & 0xFFFF]++;
    }
    return FMP_OK;
}

static fmp_status changed(const fish_selecting *w, fmp_error *err)
{
    return fish_fail(err, FMP_EIO, "%s: changed while it was read", w->source->a_name);
}

/* Appends what a piece has: element number in the piece, and 1 << 31 where its key is the cut's.
 * Pieces come in order. */
static fmp_status append(span *s, const piece *p, const uint32_t *hits, size_t n, fmp_error *err)
{
    fish_selecting *w = s->w;
    fish_mask_tensor *t = &w->mask->tensors[p->tensor];

    if (!p->at)
        t->idx = w->idx + w->n_idx;
    for (size_t i = 0; i < n; i++) {
        if (hits[i] >> 31) {
            if (!s->n_equal_left)
                continue;
            s->n_equal_left--;
        }
        if (w->n_idx == w->cap)
            return changed(w, err);
        w->idx[w->n_idx++] = p->at + (hits[i] & 0x7FFFFFFF);
        t->n++;
    }
    return FMP_OK;
}

static fmp_status collect(void *ctx, unsigned number, uint64_t item, fmp_error *err)
{
    span *s = ctx;
    uint32_t *keys = s->w->workers[number].keys;
    const piece p = find_piece(s, item);
    const uint32_t cut = s->cut.key;
    size_t n = 0;
    fmp_status st = read_piece(s, &s->w->workers[number], &p, err);

    if (st)
        return st;
    /* Hits take the place of keys that have been looked at. */
    for (size_t i = 0; i < p.n; i++) {
        const uint32_t key = keys[i];

        keys[n] = (uint32_t)i | (uint32_t)(key == cut) << 31;
        n += key >= cut;
    }
    if (!fish_turnstile_enter(s->w->order, 0, item))
        return FMP_ECANCELED;
    st = append(s, &p, keys, n, err);
    fish_turnstile_leave(s->w->order, 0, item);
    return st;
}

/* Adds up the workers' bins in those of the first, and clears the others'. */
static const uint64_t *gather_bins(fish_selecting *w)
{
    uint64_t *bins = w->workers[0].bins;

    for (unsigned i = 1; i < fish_pool_threads(w->pool); i++) {
        for (uint32_t b = 0; b < FISH_BINS; b++)
            bins[b] += w->workers[i].bins[b];
    }
    return bins;
}

static void clear_bins(fish_selecting *w)
{
    for (unsigned i = 0; i < fish_pool_threads(w->pool); i++)
        memset(w->workers[i].bins, 0, FISH_BINS * sizeof *w->workers[i].bins);
}

static fmp_status find_cut(span *s, uint64_t n_pieces, uint64_t budget, uint64_t *ret_zeros,
                           fmp_error *err)
{
    fish_selecting *w = s->w;
    const uint64_t *bins;
    uint64_t above_high, above_low;
    uint32_t low;
    fmp_status st;

    clear_bins(w);
    for (unsigned i = 0; i < fish_pool_threads(w->pool); i++)
        w->workers[i].n_zeros = 0;
    st = fish_pool_run(w->pool, n_pieces, count_high, s, err);
    if (st)
        return st;
    bins = gather_bins(w);
    *ret_zeros = 0;
    for (unsigned i = 0; i < fish_pool_threads(w->pool); i++)
        *ret_zeros += w->workers[i].n_zeros;
    s->high = fish_bins_find(bins, budget, &above_high);
    clear_bins(w);
    st = fish_pool_run(w->pool, n_pieces, count_low, s, err);
    if (st)
        return st;
    bins = gather_bins(w);
    low = fish_bins_find(bins, budget - above_high, &above_low);
    s->cut = (fish_cut){s->high << 16 | low, budget - above_high - above_low, bins[low]};
    return s->cut.n_equal <= bins[low] ? FMP_OK : changed(w, err);
}

static fmp_status run_passes(span *s, uint64_t n_pieces, uint64_t n_elements, uint64_t budget,
                             fmp_error *err)
{
    fish_selecting *w = s->w;
    const uint32_t zero = w->source->flip;
    const uint64_t end = w->n_idx + budget;
    uint64_t n_zeros = 0;
    fmp_status st = find_cut(s, n_pieces, budget, &n_zeros, err);

    if (st)
        return st;
    w->n_ties += s->cut.n_ties;
    if (w->source->kind != FISH_FROM_RANDOM)
        w->n_zeros += zero > s->cut.key ? n_zeros : zero == s->cut.key ? s->cut.n_equal : 0;
    if (budget == n_elements) {
        for (uint32_t i = 0; i < s->n_tensors; i++)
            w->mask->tensors[s->tensors[i]].n = w->source->tensors[s->tensors[i]].n;
        return FMP_OK;
    }
    s->n_equal_left = s->cut.n_equal;
    fish_turnstile_reset(w->order);
    st = fish_pool_run(w->pool, n_pieces, collect, s, err);
    return st ? st : w->n_idx == end ? FMP_OK : changed(w, err);
}

fmp_status fish_select_best(fish_selecting *w, uint32_t from, uint32_t to, uint64_t budget,
                            fmp_error *err)
{
    span s = {.w = w, .tensors = w->open + from, .n_tensors = to - from};
    uint64_t n_elements = 0;
    fmp_status st;

    s.first = fish_alloc((size_t)s.n_tensors + 1, sizeof *s.first);
    if (!s.first)
        return fish_fail(err, FMP_ENOMEM, "selection: out of memory");
    s.first[0] = 0;
    for (uint32_t i = 0; i < s.n_tensors; i++) {
        const uint64_t n = w->source->tensors[s.tensors[i]].n;

        s.first[i + 1] = s.first[i] + n / FISH_PIECE + (n % FISH_PIECE != 0);
        n_elements += n;
    }
    st = run_passes(&s, s.first[s.n_tensors], n_elements, budget, err);
    fish_free(s.first);
    return st;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static void workers_free(fish_selecting *w)
{
    for (unsigned i = 0; w->workers && i < fish_pool_threads(w->pool); i++) {
        fish_reader_release(&w->workers[i].reader);
        fish_free(w->workers[i].keys);
        fish_free(w->workers[i].bins);
        fish_free(w->workers[i].sums);
    }
    fish_free(w->workers);
}

static fmp_status workers_new(fish_selecting *w, fmp_error *err)
{
    const unsigned n = fish_pool_threads(w->pool);

    w->workers = fish_calloc(n, sizeof *w->workers);
    for (unsigned i = 0; w->workers && i < n; i++) {
        fish_select_worker *worker = &w->workers[i];

        if (fish_reader_init(&worker->reader, w->source, err))
            return FMP_ENOMEM;
        worker->keys = fish_alloc(FISH_PIECE, sizeof *worker->keys);
        worker->bins = fish_alloc(FISH_BINS, sizeof *worker->bins);
        if (!worker->keys || !worker->bins)
            return fish_fail(err, FMP_ENOMEM, "selection: out of memory");
    }
    return w->workers ? FMP_OK : fish_fail(err, FMP_ENOMEM, "selection: out of memory");
}

/* The mask with nothing but the head selected yet, and the list of open tensors. */
static fmp_status begin_mask(fish_selecting *w, uint64_t budget, fmp_error *err)
{
    const fish_source *s = w->source;
    fmp_status st = fish_mask_new(s->n_tensors, &w->mask, err);

    for (uint32_t i = 0; i < s->n_tensors && !st; i++) {
        const fish_source_tensor *t = &s->tensors[i];

        st = fish_mask_describe(w->mask, i, t->name, t->rank, t->shape, t->n, err);
        if (!st && t->head) {
            fish_mask_set(w->mask, i, NULL, t->n);
            w->mask->tensors[i].head = true;
        }
    }
    if (st)
        return st;
    w->cap = budget == s->n_open ? 0 : budget;
    w->idx = fish_mask_room(w->mask, w->cap, sizeof *w->idx);
    w->open = fish_alloc(s->n_tensors, sizeof *w->open);
    if (!w->idx || !w->open)
        return fish_fail(err, FMP_ENOMEM, "selection: out of memory for %llu elements",
                         (unsigned long long)budget);
    for (uint32_t i = 0; i < s->n_tensors; i++) {
        if (s->tensors[i].open)
            w->open[w->n_open++] = i;
    }
    return FMP_OK;
}

static fmp_status select_open(fish_selecting *w, const fish_select_options *o, uint64_t budget,
                              fmp_error *err)
{
    const uint32_t block = o->block ? o->block : 16;

    if (o->scope > FISH_BLOCKS)
        return fish_fail(err, FMP_EUSAGE, "scope %d: there is no such scope", (int)o->scope);
    if (o->scope == FISH_BLOCKS && (block < 2 || block > 65536))
        return fish_fail(err, FMP_EUSAGE, "blocks of %u: a side of 2 to 65536 is expected", block);
    if (!budget)
        return FMP_OK;
    /* All is all, in every scope; one pass of two still looks for what is no score. */
    if (o->scope == FISH_GLOBAL || budget == w->source->n_open)
        return fish_select_best(w, 0, w->n_open, budget, err);
    if (o->scope == FISH_PER_TENSOR)
        return fish_scope_tensors(w, budget, err);
    return fish_scope_tiles(w, o->scope, block, budget, err);
}

fmp_status fish_select(const fmp_store *scores, const char *scores_path,
                       const fish_select_options *options, fish_mask **ret, uint64_t *ret_ties,
                       uint64_t *ret_zeros, fmp_error *err)
{
    fish_source source = {0};
    fish_selecting w = {.source = &source};
    uint64_t budget = 0;
    fmp_status st = fish_source_open(scores, scores_path, options, &source, err);

    if (!st)
        st = find_budget(&source, options, &budget, err);
    if (!st)
        st = fish_pool_new(options->n_threads, &w.pool, err);
    if (!st)
        st = fish_turnstile_new(w.pool, 1, &w.order, err);
    if (!st)
        st = workers_new(&w, err);
    if (!st)
        st = begin_mask(&w, budget, err);
    if (!st)
        st = select_open(&w, options, budget, err);
    for (uint32_t i = 0; i < source.n_tensors && !st; i++) {
        const fish_mask_tensor *t = &w.mask->tensors[i];

        fish_mask_set(w.mask, i, t->idx, t->n);
    }
    workers_free(&w);
    fish_turnstile_free(w.order);
    fish_pool_free(w.pool);
    fish_free(w.open);
    fish_source_release(&source);
    if (st) {
        fish_mask_free(w.mask);
        return st;
    }
    *ret = w.mask;
    if (ret_ties)
        *ret_ties = w.n_ties;
    if (ret_zeros)
        *ret_zeros = w.n_zeros;
    return FMP_OK;
}
