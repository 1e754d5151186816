/*
 * The body of the vector versions of the kernel, in terms of what the including file defines for
 * its instructions: VF (floats), LANES, ROWS and VECTORS of a register tile, the operations v_zero,
 * v_load, v_store, v_spread (a float to all lanes), v_fma (a * b + c), and add_lanes(), which adds
 * weight * (g^2, |g| or g) of one VF to LANES doubles.
 *
 * Blocks of BLOCK x BLOCK elements of f stay in the second-level cache while chunks of up to CHUNK
 * rows of dy and x are packed and laid over them: columns of dy in panels of ROWS, of x in panels
 * of LANES * VECTORS, so that the inner loop reads straight on from the first-level cache.  A chunk
 * holds several short examples or a part of a long one, whose unfinished gradients wait in `g`
 * (Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication", without the
 * product ever being written out).
 */
#include <string.h>

#include "train/square_outer.h"

#define COLUMNS (LANES * VECTORS)
#define BLOCK   192 /* a multiple of ROWS and COLUMNS */
#define CHUNK   128

typedef struct block {
    const fish_outer *j;
    size_t o0, n_o; /* rows of f */
    size_t i0, n_i; /* columns of f */
    float dy[BLOCK * CHUNK] __attribute__((aligned(64)));
    float x[BLOCK * CHUNK] __attribute__((aligned(64)));
    float g[BLOCK * BLOCK] __attribute__((aligned(64))); /* tile after tile */
} block;

/* Rows r0 .. r0 + n - 1, columns c0 .. c0 + width - 1, into panels: to[panel][row][column]. */
static void pack(float *to, size_t panel, const float *from, size_t ld, size_t r0, size_t n,
                 size_t c0, size_t width)
{
    for (size_t c = 0; c < width; c += panel) {
        const float *at = from + r0 * ld + c0 + c;

        if (width - c >= panel) {
            for (size_t r = 0; r < n; r++, at += ld, to += panel)
                memcpy(to, at, panel * sizeof *to);
            continue;
        }
        for (size_t r = 0; r < n; r++, at += ld, to += panel) {
            memset(to, 0, panel * sizeof *to);
            memcpy(to, at, (width - c) * sizeof *to);
        }
    }
}

/* acc += dy^T x over n rows of a panel each. */
static inline __attribute__((always_inline)) void multiply(VF acc[ROWS][VECTORS], const float *dy,
                                                           const float *x, size_t n)
{
    for (size_t r = 0; r < n; r++, dy += ROWS, x += COLUMNS) {
        VF b[VECTORS];

        for (int v = 0; v < VECTORS; v++)
            b[v] = v_load(x + v * LANES);
        for (int o = 0; o < ROWS; o++) {
            const VF a = v_spread(dy[o]);

            for (int v = 0; v < VECTORS; v++)
                acc[o][v] = v_fma(a, b[v], acc[o][v]);
        }
    }
}

/*
 * One tile, rows begin .. end - 1 of an example.  g: its gradient so far, or NULL when the rows are
 * the first; f: NULL when more are to come, and the gradient goes to g_out.
 */
static inline __attribute__((always_inline)) void tile(const float *dy, const float *x, size_t n,
                                                       const float *g, float *g_out, double *f,
                                                       size_t ldf, double weight,
                                                       fish_outer_kind kind)
{
    VF acc[ROWS][VECTORS];

    for (int o = 0; o < ROWS; o++) {
        for (int v = 0; v < VECTORS; v++)
            acc[o][v] = g ? v_load(g + o * COLUMNS + v * LANES) : v_zero();
    }
    multiply(acc, dy, x, n);
    for (int o = 0; o < ROWS; o++) {
        for (int v = 0; v < VECTORS; v++) {
            if (f)
                add_lanes(f + o * ldf + v * LANES, acc[o][v], weight, kind);
            else
                v_store(g_out + o * COLUMNS + v * LANES, acc[o][v]);
        }
    }
}

/* A chunk: rows r0 .. r0 + n_rows - 1 of dy and x.  They belong to examples e0 and on. */
typedef struct chunk {
    uint32_t r0, n_rows;
    uint32_t e0;
} chunk;

/* All of a chunk over one tile of f, whose rows lie ldf apart. */
static inline __attribute__((always_inline)) void walk(const block *b, const chunk *c,
                                                       const float *dy, const float *x, float *g,
                                                       double *f, size_t ldf, fish_outer_kind kind)
{
    const uint32_t *start = b->j->start;
    const uint32_t end = c->r0 + c->n_rows;

    for (uint32_t e = c->e0; e < b->j->n; e++) {
        const uint32_t first = start[e] < c->r0 ? c->r0 : start[e];
        const uint32_t last = start[e + 1] < end ? start[e + 1] : end;
        const bool whole = start[e + 1] <= end;
        const double weight = b->j->weight ? b->j->weight[e] : 1;

        if (first >= end)
            break;
        tile(dy + (first - c->r0) * (size_t)ROWS, x + (first - c->r0) * (size_t)COLUMNS,
             last - first, start[e] < first ? g : NULL, g, whole ? f : NULL, ldf, weight, kind);
        if (!whole)
            break;
    }
}

/* A tile at the edge of f is made in a whole one beside it. */
static void walk_edge(const block *b, const chunk *c, const float *dy, const float *x, float *g,
                      double *f, size_t n_o, size_t n_i, fish_outer_kind kind)
{
    double whole[ROWS * COLUMNS] __attribute__((aligned(64))) = {0};

    for (size_t o = 0; o < n_o; o++)
        memcpy(whole + o * COLUMNS, f + o * b->j->in, n_i * sizeof *f);
    walk(b, c, dy, x, g, whole, COLUMNS, kind);
    for (size_t o = 0; o < n_o; o++)
        memcpy(f + o * b->j->in, whole + o * COLUMNS, n_i * sizeof *f);
}

static void walk_whole(const block *b, const chunk *c, const float *dy, const float *x, float *g,
                       double *f)
{
    if (b->j->kind == FISH_OUTER_SQUARE)
        walk(b, c, dy, x, g, f, b->j->in, FISH_OUTER_SQUARE);
    else
        walk(b, c, dy, x, g, f, b->j->in, b->j->kind);
}

static void add_chunk(block *b, const chunk *c)
{
    const fish_outer *j = b->j;
    float *g = b->g;

    pack(b->dy, ROWS, j->dy, j->ldy, c->r0, c->n_rows, b->o0, b->n_o);
    pack(b->x, COLUMNS, j->x, j->ldx, c->r0, c->n_rows, b->i0, b->n_i);
    for (size_t i = 0; i < b->n_i; i += COLUMNS) {
        const float *x = b->x + i * c->n_rows;

        for (size_t o = 0; o < b->n_o; o += ROWS, g += (size_t)ROWS * COLUMNS) {
            const float *dy = b->dy + o * c->n_rows;
            double *f = j->f + (b->o0 + o) * j->in + b->i0 + i;

            if (b->n_o - o >= ROWS && b->n_i - i >= COLUMNS)
                walk_whole(b, c, dy, x, g, f);
            else
                walk_edge(b, c, dy, x, g, f, b->n_o - o < ROWS ? b->n_o - o : ROWS,
                          b->n_i - i < COLUMNS ? b->n_i - i : COLUMNS, j->kind);
        }
    }
}

/* As many whole examples as fit, or CHUNK rows of one that does not. */
static chunk next_chunk(const fish_outer *j, uint32_t e, uint32_t r)
{
    chunk c = {.r0 = r, .e0 = e};

    while (e < j->n && j->start[e + 1] - r <= CHUNK)
        e++;
    c.n_rows = e > c.e0 ? j->start[e] - r : CHUNK;
    return c;
}

static void add_block(block *b)
{
    const fish_outer *j = b->j;
    uint32_t r = j->start[0];
    uint32_t e = 0;

    while (e < j->n) {
        const chunk c = next_chunk(j, e, r);

        add_chunk(b, &c);
        r += c.n_rows;
        while (e < j->n && j->start[e + 1] <= r)
            e++;
    }
}

/* Blocks of like size, each a multiple of `unit` but the last: ceil(n / BLOCK) of them. */
static size_t block_size(size_t n, size_t unit)
{
    const size_t n_blocks = (n + BLOCK - 1) / BLOCK;
    const size_t size = n_blocks ? (n + n_blocks - 1) / n_blocks : 0;

    return (size + unit - 1) / unit * unit;
}

static void add_all(const fish_outer *j)
{
    const size_t size_o = block_size(j->o_end - j->o_begin, ROWS);
    const size_t size_i = block_size(j->in, COLUMNS);
    block b;

    b.j = j;
    for (b.i0 = 0; b.i0 < j->in; b.i0 += size_i) {
        b.n_i = j->in - b.i0 < size_i ? j->in - b.i0 : size_i;
        for (b.o0 = j->o_begin; b.o0 < j->o_end; b.o0 += size_o) {
            b.n_o = j->o_end - b.o0 < size_o ? j->o_end - b.o0 : size_o;
            add_block(&b);
        }
    }
}
