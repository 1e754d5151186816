/*
 * Scopes other than one ranking of all elements: a share for each tensor, or whole rows, columns or
 * blocks, which are all tiles of a matrix.  A tile ranks by the mean of its elements; the last one
 * is cut to its best elements, so that the number asked for is met.
 */
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "score/selecting.h"

__extension__ typedef unsigned __int128 wide;

/* ---- a share for each tensor ------------------------------------------------------------------
 */

typedef struct share {
    uint32_t open;
    uint64_t n;         /* elements to select */
    uint64_t remainder; /* what rounding down left, times n_open */
} share;

/* The largest remainder first; of equal ones the first tensor. */
static int by_remainder(const void *a, const void *b)
{
    const share *x = a;
    const share *y = b;

    if (x->remainder != y->remainder)
        return x->remainder < y->remainder ? 1 : -1;
    return x->open < y->open ? -1 : x->open > y->open;
}

static int by_open(const void *a, const void *b)
{
    const share *x = a;
    const share *y = b;

    return x->open < y->open ? -1 : x->open > y->open;
}

/* Hamilton's method of apportionment.  What is left over is less than the number of tensors whose
 * quota is no whole number, so no tensor gets more than it has. */
static void apportion(const fish_selecting *w, uint64_t budget, share *shares)
{
    uint64_t left = budget;

    for (uint32_t i = 0; i < w->n_open; i++) {
        const uint64_t n = w->source->tensors[w->open[i]].n;
        const wide product = (wide)budget * n;

        shares[i] = (share){i, (uint64_t)(product / w->source->n_open),
                            (uint64_t)(product % w->source->n_open)};
        left -= shares[i].n;
    }
    qsort(shares, w->n_open, sizeof *shares, by_remainder);
    for (uint32_t i = 0; i < left; i++)
        shares[i].n++;
    qsort(shares, w->n_open, sizeof *shares, by_open);
}

fmp_status fish_scope_tensors(fish_selecting *w, uint64_t budget, fmp_error *err)
{
    share *shares = fish_alloc(w->n_open, sizeof *shares);
    fmp_status st = FMP_OK;

    if (!shares)
        return fish_fail(err, FMP_ENOMEM, "selection: out of memory");
    apportion(w, budget, shares);
    for (uint32_t i = 0; i < w->n_open && !st; i++) {
        if (shares[i].n)
            st = fish_select_best(w, i, i + 1, shares[i].n, err);
    }
    fish_free(shares);
    return st;
}

/* ---- tiles ------------------------------------------------------------------------------------
 */

/* A tensor as a matrix, cut into bands of rows and these into tiles. */
typedef struct grid {
    uint32_t tensor;
    uint64_t rows, cols;
    uint64_t tile_rows, tile_cols;
    uint64_t n_bands, n_across; /* tiles of a band */
    uint64_t first;             /* number of its first tile among all */
    uint64_t bands_at_once;
    uint64_t first_item;
} grid;

typedef struct tiling {
    fish_selecting *w;
    grid *grids; /* [w->n_open] */
    uint64_t n_tiles, n_items, widest;
    uint32_t *keys; /* [n_tiles] of their means; then what is selected of each */
    /* The tile that is cut, or none. */
    uint64_t partial;   /* its number */
    uint64_t n_partial; /* elements to select of it */
    uint64_t *partial_idx;
} tiling;

enum { TILE_OUT = 0, TILE_IN = 1, TILE_PARTIAL = 2 };

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Vectors are columns of one element; rows and columns of them are elements, blocks are runs. */
static grid make_grid(const fish_source_tensor *t, uint32_t tensor, fish_scope scope,
                      uint32_t block)
{
    grid g = {.tensor = tensor, .rows = t->n, .cols = 1, .tile_rows = 1, .tile_cols = 1};

    if (t->rank > 1) {
        g.rows = t->shape[0];
        g.cols = t->n / t->shape[0];
        if (scope == FISH_ROWS)
            g.tile_cols = g.cols;
        else if (scope == FISH_COLUMNS)
            g.tile_rows = g.rows;
    }
    if (scope == FISH_BLOCKS) {
        g.tile_rows = min_u64(block, g.rows);
        g.tile_cols = min_u64(block, g.cols);
    }
    g.n_bands = ceil_div(g.rows, g.tile_rows);
    g.n_across = ceil_div(g.cols, g.tile_cols);
    g.bands_at_once = FISH_PIECE / (g.tile_rows * g.cols);
    if (!g.bands_at_once)
        g.bands_at_once = 1;
    return g;
}

static uint64_t tile_height(const grid *g, uint64_t band)
{
    return min_u64(g->tile_rows, g->rows - band * g->tile_rows);
}

static uint64_t tile_width(const grid *g, uint64_t across)
{
    return min_u64(g->tile_cols, g->cols - across * g->tile_cols);
}

static const grid *grid_of_item(const tiling *t, uint64_t item)
{
    uint32_t low = 0, high = t->w->n_open - 1;

    while (low < high) {
        const uint32_t middle = low + (high - low + 1) / 2;

        if (t->grids[middle].first_item <= item)
            low = middle;
        else
            high = middle - 1;
    }
    return &t->grids[low];
}

/* ---- means ------------------------------------------------------------------------------------
 */

static double value_of(uint32_t key, uint32_t flip)
{
    const uint32_t bits = key ^ flip;
    float x;

    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

/* Adds the keys of elements from (row-major) `at` of a band to the sums of its tiles, in order. */
static void add_up(const grid *g, double *sums, uint64_t at, const uint32_t *keys, size_t n,
                   uint32_t flip)
{
    uint64_t col = at % g->cols;
    size_t i = 0;

    while (i < n) {
        const uint64_t across = col / g->tile_cols;
        const uint64_t end = min_u64(g->cols, (across + 1) * g->tile_cols);
        const size_t run = (size_t)min_u64(end - col, n - i);
        double sum = sums[across];

        for (size_t k = 0; k < run; k++)
            sum += value_of(keys[i + k], flip);
        sums[across] = sum;
        i += run;
        col = end == g->cols && col + run == end ? 0 : col + run;
    }
}

static void keep_means(tiling *t, const grid *g, uint64_t band, const double *sums)
{
    uint32_t *keys = t->keys + g->first + band * g->n_across;
    const double height = (double)tile_height(g, band);

    for (uint64_t a = 0; a < g->n_across; a++) {
        const float mean = (float)(sums[a] / (height * (double)tile_width(g, a)));

        memcpy(&keys[a], &mean, sizeof mean);
        keys[a] ^= t->w->source->flip;
    }
}

/* A random source has a number for each tile: means of many would all be near 1/2. */
static void keep_random(tiling *t, const grid *g, uint64_t band)
{
    for (uint64_t a = 0; a < g->n_across; a++)
        t->keys[g->first + band * g->n_across + a] = fish_source_random(
            t->w->source, g->tensor, band * g->tile_rows * g->cols + a * g->tile_cols);
}

/* A band that is longer than a piece. */
static fmp_status mean_long_band(tiling *t, fish_select_worker *worker, const grid *g,
                                 uint64_t band, fmp_error *err)
{
    const uint64_t begin = band * g->tile_rows * g->cols;
    const uint64_t end = begin + tile_height(g, band) * g->cols;

    memset(worker->sums, 0, (size_t)g->n_across * sizeof *worker->sums);
    for (uint64_t at = begin; at < end;) {
        const size_t n = (size_t)min_u64(FISH_PIECE, end - at);
        const fmp_status st =
            fish_source_read(t->w->source, &worker->reader, g->tensor, at, n, worker->keys, err);

        if (st)
            return st;
        add_up(g, worker->sums, at, worker->keys, n, t->w->source->flip);
        at += n;
    }
    keep_means(t, g, band, worker->sums);
    return FMP_OK;
}

/* Bands that fit into a piece together. */
static fmp_status mean_bands(tiling *t, fish_select_worker *worker, const grid *g, uint64_t from,
                             uint64_t to, fmp_error *err)
{
    const uint64_t band_len = g->tile_rows * g->cols;
    const uint64_t begin = from * band_len;
    const uint64_t end = min_u64(to * band_len, g->rows * g->cols);
    const fmp_status st = fish_source_read(t->w->source, &worker->reader, g->tensor, begin,
                                           (size_t)(end - begin), worker->keys, err);

    for (uint64_t band = from; band < to && !st; band++) {
        const uint64_t at = band * band_len;

        memset(worker->sums, 0, (size_t)g->n_across * sizeof *worker->sums);
        add_up(g, worker->sums, at, worker->keys + (at - begin),
               (size_t)(tile_height(g, band) * g->cols), t->w->source->flip);
        keep_means(t, g, band, worker->sums);
    }
    return st;
}

static fmp_status mean_item(void *ctx, unsigned number, uint64_t item, fmp_error *err)
{
    tiling *t = ctx;
    const grid *g = grid_of_item(t, item);
    const uint64_t from = (item - g->first_item) * g->bands_at_once;
    const uint64_t to = min_u64(from + g->bands_at_once, g->n_bands);

    if (t->w->source->kind == FISH_FROM_RANDOM) {
        for (uint64_t band = from; band < to; band++)
            keep_random(t, g, band);
        return FMP_OK;
    }
    if (g->tile_rows * g->cols > FISH_PIECE)
        return mean_long_band(t, &t->w->workers[number], g, from, err);
    return mean_bands(t, &t->w->workers[number], g, from, to, err);
}

/* ---- which tiles ------------------------------------------------------------------------------
 */

typedef void (*tile_fn)(tiling *t, uint64_t tile, uint64_t n_elements, void *ctx);

static void each_tile(tiling *t, tile_fn fn, void *ctx)
{
    for (uint32_t i = 0; i < t->w->n_open; i++) {
        const grid *g = &t->grids[i];

        for (uint64_t b = 0; b < g->n_bands; b++) {
            for (uint64_t a = 0; a < g->n_across; a++)
                fn(t, g->first + b * g->n_across + a, tile_height(g, b) * tile_width(g, a), ctx);
        }
    }
}

typedef struct ranking {
    uint64_t *bins;
    uint32_t high;
    uint32_t cut;
    uint64_t left; /* elements that tiles at the cut may still take */
    uint64_t n_ties, n_zeros;
    uint32_t zero; /* the key of a mean of 0 */
} ranking;

static void weigh_high(tiling *t, uint64_t tile, uint64_t n, void *ctx)
{
    ranking *r = ctx;

    r->bins[t->keys[tile] >> 16] += n;
}

static void weigh_low(tiling *t, uint64_t tile, uint64_t n, void *ctx)
{
    ranking *r = ctx;

    if (t->keys[tile] >> 16 == r->high)
        r->bins[t->keys[tile] & 0xFFFF] += n;
}

static void decide(tiling *t, uint64_t tile, uint64_t n, void *ctx)
{
    ranking *r = ctx;
    const uint32_t key = t->keys[tile];
    uint64_t take = key > r->cut ? n : 0;

    if (key == r->cut) {
        take = min_u64(n, r->left);
        r->left -= take;
        r->n_ties += n;
    }
    if (key == r->zero)
        r->n_zeros += take;
    t->keys[tile] = take == n ? TILE_IN : take ? TILE_PARTIAL : TILE_OUT;
    if (take && take < n) {
        t->partial = tile;
        t->n_partial = take;
    }
}

/* The same radix selection as of elements, each tile counting for as many as it has. */
static void rank_tiles(tiling *t, uint64_t budget)
{
    fish_selecting *w = t->w;
    ranking r = {.bins = w->workers[0].bins, .zero = w->source->flip};
    uint64_t above_high, above_low;
    uint32_t low;

    memset(r.bins, 0, FISH_BINS * sizeof *r.bins);
    each_tile(t, weigh_high, &r);
    r.high = fish_bins_find(r.bins, budget, &above_high);
    memset(r.bins, 0, FISH_BINS * sizeof *r.bins);
    each_tile(t, weigh_low, &r);
    low = fish_bins_find(r.bins, budget - above_high, &above_low);
    r.cut = r.high << 16 | low;
    r.left = budget - above_high - above_low;
    each_tile(t, decide, &r);
    w->n_ties += r.n_ties;
    if (w->source->kind != FISH_FROM_RANDOM)
        w->n_zeros += r.n_zeros;
}

/* ---- the tile that is cut ---------------------------------------------------------------------
 */

/* The budget best of n keys, as a cut. */
static fish_cut cut_keys(const uint32_t *keys, uint64_t n, uint64_t budget, uint64_t *bins)
{
    uint64_t above_high, above_low;
    uint32_t high, low;

    memset(bins, 0, FISH_BINS * sizeof *bins);
    for (uint64_t i = 0; i < n; i++)
        bins[keys[i] >> 16]++;
    high = fish_bins_find(bins, budget, &above_high);
    memset(bins, 0, FISH_BINS * sizeof *bins);
    for (uint64_t i = 0; i < n; i++) {
        if (keys[i] >> 16 == high)
            bins[keys[i] & 0xFFFF]++;
    }
    low = fish_bins_find(bins, budget - above_high, &above_low);
    return (fish_cut){high << 16 | low, budget - above_high - above_low, bins[low]};
}

static const grid *grid_of_tile(const tiling *t, uint64_t tile)
{
    uint32_t i = t->w->n_open - 1;

    while (t->grids[i].first > tile)
        i--;
    return &t->grids[i];
}

/* The keys of a tile, row-major. */
static fmp_status read_tile(const tiling *t, const grid *g, uint64_t band, uint64_t across,
                            uint32_t *keys, fmp_error *err)
{
    fish_select_worker *worker = &t->w->workers[0];
    const uint64_t width = tile_width(g, across);
    fmp_status st = FMP_OK;

    for (uint64_t r = 0; r < tile_height(g, band); r++) {
        const uint64_t at = (band * g->tile_rows + r) * g->cols + across * g->tile_cols;

        for (uint64_t c = 0; c < width && !st;) {
            const size_t n = (size_t)min_u64(FISH_PIECE, width - c);

            st = fish_source_read(t->w->source, &worker->reader, g->tensor, at + c, n,
                                  keys + r * width + c, err);
            c += n;
        }
    }
    return st;
}

static fmp_status cut_partial(tiling *t, fmp_error *err)
{
    const grid *g = grid_of_tile(t, t->partial);
    const uint64_t band = (t->partial - g->first) / g->n_across;
    const uint64_t across = (t->partial - g->first) % g->n_across;
    const uint64_t width = tile_width(g, across);
    const uint64_t n = tile_height(g, band) * width;
    uint32_t *keys = fish_alloc(n, sizeof *keys);
    fish_cut cut;
    uint64_t n_taken = 0;
    fmp_status st;

    t->partial_idx = fish_alloc(t->n_partial, sizeof *t->partial_idx);
    if (!keys || !t->partial_idx) {
        fish_free(keys);
        return fish_fail(err, FMP_ENOMEM, "selection: out of memory");
    }
    st = read_tile(t, g, band, across, keys, err);
    if (!st) {
        cut = cut_keys(keys, n, t->n_partial, t->w->workers[0].bins);
        for (uint64_t i = 0; i < n; i++) {
            if (keys[i] < cut.key || (keys[i] == cut.key && !cut.n_equal))
                continue;
            cut.n_equal -= keys[i] == cut.key;
            t->partial_idx[n_taken++] =
                (band * g->tile_rows + i / width) * g->cols + across * g->tile_cols + i % width;
        }
    }
    fish_free(keys);
    return st;
}

/* ---- their elements ---------------------------------------------------------------------------
 */

static void emit_row(tiling *t, const grid *g, uint64_t row, uint64_t *n_partial)
{
    fish_selecting *w = t->w;
    const uint32_t *state = t->keys + g->first + row / g->tile_rows * g->n_across;

    for (uint64_t a = 0; a < g->n_across; a++) {
        const uint64_t at = row * g->cols + a * g->tile_cols;
        const uint64_t width = tile_width(g, a);

        if (state[a] == TILE_IN) {
            for (uint64_t i = 0; i < width; i++)
                w->idx[w->n_idx++] = at + i;
        } else if (state[a] == TILE_PARTIAL) {
            for (; *n_partial < t->n_partial && t->partial_idx[*n_partial] < at + width;
                 ++*n_partial)
                w->idx[w->n_idx++] = t->partial_idx[*n_partial];
        }
    }
}

static void emit(tiling *t)
{
    fish_selecting *w = t->w;
    uint64_t n_partial = 0;

    for (uint32_t i = 0; i < w->n_open; i++) {
        const grid *g = &t->grids[i];
        const uint64_t begin = w->n_idx;

        for (uint64_t row = 0; row < g->rows; row++)
            emit_row(t, g, row, &n_partial);
        w->mask->tensors[g->tensor].idx = w->idx + begin;
        w->mask->tensors[g->tensor].n = w->n_idx - begin;
    }
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static fmp_status tiling_init(tiling *t, fish_scope scope, uint32_t block, fmp_error *err)
{
    fish_selecting *w = t->w;

    t->grids = fish_alloc(w->n_open, sizeof *t->grids);
    if (!t->grids)
        return fish_fail(err, FMP_ENOMEM, "selection: out of memory");
    for (uint32_t i = 0; i < w->n_open; i++) {
        grid *g = &t->grids[i];

        *g = make_grid(&w->source->tensors[w->open[i]], w->open[i], scope, block);
        g->first = t->n_tiles;
        g->first_item = t->n_items;
        t->n_tiles += g->n_bands * g->n_across;
        t->n_items += ceil_div(g->n_bands, g->bands_at_once);
        t->widest = g->n_across > t->widest ? g->n_across : t->widest;
    }
    t->keys = fish_alloc(t->n_tiles, sizeof *t->keys);
    for (unsigned i = 0; t->keys && i < fish_pool_threads(w->pool); i++) {
        w->workers[i].sums = fish_alloc(t->widest, sizeof *w->workers[i].sums);
        if (!w->workers[i].sums)
            return fish_fail(err, FMP_ENOMEM, "selection: out of memory");
    }
    return t->keys ? FMP_OK : fish_fail(err, FMP_ENOMEM, "selection: out of memory");
}

fmp_status fish_scope_tiles(fish_selecting *w, fish_scope scope, uint32_t block, uint64_t budget,
                            fmp_error *err)
{
    tiling t = {.w = w};
    fmp_status st = tiling_init(&t, scope, block, err);

    if (!st)
        st = fish_pool_run(w->pool, t.n_items, mean_item, &t, err);
    if (!st) {
        rank_tiles(&t, budget);
        if (t.n_partial)
            st = cut_partial(&t, err);
    }
    if (!st)
        emit(&t);
    fish_free(t.partial_idx);
    fish_free(t.keys);
    fish_free(t.grids);
    return st;
}
