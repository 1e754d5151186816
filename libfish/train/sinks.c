/*
 * The gathering sinks.  See sinks.h.  A selected element (o, i) of a matrix has the gradient sum
 * over rows r of dy[r][o] x[r][i]: with both laid out feature by feature that is one dot product of
 * contiguous numbers, and nothing is computed for the others.
 */
#include "train/sinks.h"

#include <string.h>

#include "core/clones.h"
#include "core/fail.h"
#include "core/mem.h"
#include "model/gemm.h"

#define LANES 16u
#define BLOCK_FLOATS                                                                               \
    ((size_t)192 * 1024) /* both factors of a block of rows stay in the L2 cache                   \
                          */
#define TILE 16u

static float *scratch(fish_gather_sink *k, size_t n, uint32_t param, fmp_error *err)
{
    float *grown;

    if (n <= k->cap)
        return k->scratch;
    grown = fish_alloc(n, sizeof *grown);
    if (!grown) {
        (void)fish_fail(err, FMP_ENOMEM, "tensor \"%s\": out of memory for its gradient",
                        k->shared->m->params[param].name);
        return NULL;
    }
    fish_free(k->scratch);
    k->scratch = grown;
    k->cap = n;
    return grown;
}

FISH_CLONES
static void add(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* Adds a group's part at its turn. */
static fmp_status hand_over(fish_gather_sink *k, uint32_t param, const float *part, fmp_error *err)
{
    const fish_chosen *c = &k->shared->s->of[param];

    if (!fish_turnstile_enter(k->shared->gates, param, k->item))
        return fish_fail(err, FMP_ECANCELED, "training: another group has failed");
    add(k->shared->g + c->at, part, c->n);
    fish_turnstile_leave(k->shared->gates, param, k->item);
    return FMP_OK;
}

static void pick(const fish_chosen *c, const float *from, float *to)
{
    for (size_t j = 0; j < c->n; j++)
        to[j] = from[c->idx[j]];
}

/* ---- matrices ---------------------------------------------------------------------------------
 */

/* to[f][r] = from[r][f] for r < rows, zeros up to ld: tile by tile, so that both sides of a tile
 * stay in the L1 cache. */
FISH_CLONES
static void transpose(const float *from, size_t from_ld, size_t rows, size_t features, float *to,
                      size_t ld)
{
    for (size_t f = 0; f < features; f += TILE) {
        const size_t f_end = features - f < TILE ? features : f + TILE;

        for (size_t r = 0; r < ld; r += TILE) {
            const size_t r_end = rows < r + TILE ? rows : r + TILE;

            for (size_t i = f; i < f_end; i++) {
                for (size_t q = r; q < r_end; q++)
                    to[i * ld + q] = from[q * from_ld + i];
                for (size_t q = r_end > r ? r_end : r; q < r + TILE; q++)
                    to[i * ld + q] = 0;
            }
        }
    }
}

FISH_CLONES
static void dots(const fish_chosen *c, size_t in, const float *dy, const float *x, size_t ld,
                 float *part)
{
    for (size_t j = 0; j < c->n; j++) {
        const float *a = dy + c->idx[j] / (uint32_t)in * ld;
        const float *b = x + c->idx[j] % (uint32_t)in * ld;
        float lanes[LANES] = {0};

        for (size_t r = 0; r < ld; r += LANES) {
            for (unsigned l = 0; l < LANES; l++)
                lanes[l] += a[r + l] * b[r + l];
        }
        for (unsigned width = LANES / 2; width; width /= 2) {
            for (unsigned l = 0; l < width; l++)
                lanes[l] += lanes[l + width];
        }
        part[j] += lanes[0];
    }
}

/* Rows of a block: a multiple of LANES, the same for every group of a shape. */
static size_t block_rows(size_t out, size_t in)
{
    const size_t n = BLOCK_FLOATS / (out + in) / LANES * LANES;

    return n < 4 * (size_t)LANES ? 4 * (size_t)LANES : n;
}

static fmp_status matrix_sparse(fish_gather_sink *k, uint32_t param, const float *dy, size_t ldy,
                                const float *x, size_t ldx, size_t rows, fmp_error *err)
{
    const fish_param *p = &k->shared->m->params[param];
    const fish_chosen *c = &k->shared->s->of[param];
    const size_t out = (size_t)p->shape[0];
    const size_t in = p->n / out;
    const size_t block = block_rows(out, in);
    float *part = scratch(k, c->n + (out + in) * block, param, err);

    if (!part)
        return FMP_ENOMEM;
    memset(part, 0, c->n * sizeof *part);
    for (size_t r = 0; r < rows; r += block) {
        const size_t n = rows - r < block ? rows - r : block;
        const size_t ld = (n + LANES - 1) / LANES * LANES;
        float *dy_t = part + c->n;
        float *x_t = dy_t + out * ld;

        transpose(dy + r * ldy, ldy, n, out, dy_t, ld);
        transpose(x + r * ldx, ldx, n, in, x_t, ld);
        dots(c, in, dy_t, x_t, ld, part);
    }
    return hand_over(k, param, part, err);
}

static fmp_status matrix_dense(fish_gather_sink *k, uint32_t param, const float *dy, size_t ldy,
                               const float *x, size_t ldx, size_t rows, fmp_error *err)
{
    const fish_param *p = &k->shared->m->params[param];
    const fish_chosen *c = &k->shared->s->of[param];
    const size_t out = (size_t)p->shape[0];
    const size_t in = p->n / out;
    float *whole = scratch(k, p->n + (c->idx ? c->n : 0), param, err);

    if (!whole)
        return FMP_ENOMEM;
    fish_gemm_tn(out, in, rows, 1, dy, ldy, x, ldx, 0, whole, in);
    if (!c->idx)
        return hand_over(k, param, whole, err);
    pick(c, whole, whole + p->n);
    return hand_over(k, param, whole + p->n, err);
}

static fmp_status matrix(fish_sink *s, uint32_t param, const float *dy, size_t ldy, const float *x,
                         size_t ldx, const uint32_t *start, uint32_t n, fmp_error *err)
{
    fish_gather_sink *k = (fish_gather_sink *)s;
    const fish_chosen *c = &k->shared->s->of[param];
    const size_t size = k->shared->m->params[param].n;
    const size_t rows = start[n] - start[0];
    const double share = FISH_DENSE_SHARE * (double)rows / (double)(rows + FISH_DENSE_ROWS);
    const bool dense = !c->idx || k->shared->dense || (double)c->n > share * (double)size;

    if (!c->n)
        return FMP_OK;
    dy += start[0] * ldy;
    x += start[0] * ldx;
    return dense ? matrix_dense(k, param, dy, ldy, x, ldx, rows, err)
                 : matrix_sparse(k, param, dy, ldy, x, ldx, rows, err);
}

/* ---- tables and vectors -----------------------------------------------------------------------
 */

/* Selected elements of row `row` of a table of `width` columns get that row's gradient. */
static void add_row(const fish_chosen *c, size_t row, size_t width, const float *dy, float *g)
{
    const size_t first = row * width;

    if (!c->idx) {
        add(g + first, dy, width);
        return;
    }
    for (size_t j = fish_chosen_find(c, first); j < c->n && c->idx[j] < first + width; j++)
        g[j] += dy[c->idx[j] - first];
}

/* Straight into the sum: the rows that occur are few against those that there are. */
static fmp_status table(fish_sink *s, uint32_t param, const float *dy, size_t ldy,
                        const int32_t *row, const uint32_t *start, uint32_t n, fmp_error *err)
{
    fish_gather_sink *k = (fish_gather_sink *)s;
    const fish_param *p = &k->shared->m->params[param];
    const fish_chosen *c = &k->shared->s->of[param];
    const size_t width = p->n / (size_t)p->shape[0];

    if (!c->n)
        return FMP_OK;
    if (!fish_turnstile_enter(k->shared->gates, param, k->item))
        return fish_fail(err, FMP_ECANCELED, "training: another group has failed");
    for (size_t r = start[0]; r < start[n]; r++)
        add_row(c, (size_t)row[r], width, dy + r * ldy, k->shared->g + c->at);
    fish_turnstile_leave(k->shared->gates, param, k->item);
    return FMP_OK;
}

FISH_CLONES
static void add_columns(float *sum, const float *dy, size_t ldy, const float *x, size_t ldx,
                        size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++) {
        const float *d = dy + r * ldy;

        if (x) {
            for (size_t j = 0; j < n; j++)
                sum[j] += d[j] * x[r * ldx + j];
        } else {
            for (size_t j = 0; j < n; j++)
                sum[j] += d[j];
        }
    }
}

static fmp_status vector(fish_sink *s, uint32_t param, const float *dy, size_t ldy, const float *x,
                         size_t ldx, const uint32_t *start, uint32_t n, fmp_error *err)
{
    fish_gather_sink *k = (fish_gather_sink *)s;
    const size_t size = k->shared->m->params[param].n;
    const fish_chosen *c = &k->shared->s->of[param];
    float *sum;

    if (!c->n)
        return FMP_OK;
    sum = scratch(k, size + c->n, param, err);
    if (!sum)
        return FMP_ENOMEM;
    memset(sum, 0, size * sizeof *sum);
    add_columns(sum, dy + start[0] * ldy, ldy, x ? x + start[0] * ldx : NULL, ldx,
                start[n] - start[0], size);
    if (!c->idx)
        return hand_over(k, param, sum, err);
    pick(c, sum, sum + size);
    return hand_over(k, param, sum + size, err);
}

void fish_gather_sink_init(fish_gather_sink *s, const fish_gather *shared)
{
    *s = (fish_gather_sink){.sink = {.matrix = matrix, .table = table, .vector = vector},
                            .shared = shared};
}

void fish_gather_sink_release(fish_gather_sink *s)
{
    fish_free(s->scratch);
    s->scratch = NULL;
    s->cap = 0;
}
