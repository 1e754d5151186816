/*
 * Convolution by im2col and matrix products, and pooling.  See conv.h.
 */
#include "model/conv.h"

#include <math.h>
#include <string.h>

#include "core/clones.h"
#include "model/gemm.h"
#include "model/ops.h"

#define TAPS_MAX    49 /* 7 x 7 */
#define CHUNK_BYTES ((size_t)512 << 10)
#define MIN_RUN     8 /* channels */

void fish_conv_shape(fish_conv *c)
{
    c->out_h = (c->in_h + 2 * c->pad - c->kernel) / c->stride + 1;
    c->out_w = (c->in_w + 2 * c->pad - c->kernel) / c->stride + 1;
}

size_t fish_conv_k(const fish_conv *c)
{
    return (size_t)c->in_c * c->kernel * c->kernel;
}

size_t fish_conv_rows(const fish_conv *c)
{
    return (size_t)c->out_h * c->out_w;
}

size_t fish_conv_inputs(const fish_conv *c)
{
    return (size_t)c->in_c * c->in_h * c->in_w;
}

bool fish_conv_is_plain(const fish_conv *c)
{
    return c->kernel == 1 && c->stride == 1 && c->pad == 0;
}

/* Where a line of output positions lies. */
typedef struct line_at {
    size_t image; /* floats from the start of the batch to the image's */
    size_t top;   /* the first line of taps, plus pad */
} line_at;

static line_at find_line(const fish_conv *c, size_t line)
{
    return (line_at){.image = line / c->out_h * fish_conv_inputs(c),
                     .top = line % c->out_h * c->stride};
}

/* The floats from the start of the batch to the inputs below each tap of an output position;
 * SIZE_MAX where the tap lies in the padding. */
static inline void find_taps(const fish_conv *c, line_at at, size_t x, size_t tap[TAPS_MAX])
{
    const size_t left = x * c->stride;

    for (size_t ky = 0, t = 0; ky < c->kernel; ky++) {
        const size_t iy = at.top + ky - c->pad; /* wraps to a large number above the image */

        for (size_t kx = 0; kx < c->kernel; kx++, t++) {
            const size_t ix = left + kx - c->pad;

            tap[t] =
                iy < c->in_h && ix < c->in_w ? at.image + (iy * c->in_w + ix) * c->in_c : SIZE_MAX;
        }
    }
}

/* row[channel][tap] from the taps' runs of channels; n_taps is a constant where it is called. */
static inline __attribute__((always_inline)) void interleave(const float *const *tap, size_t n_taps,
                                                             size_t n_channels, float *row)
{
    for (size_t i = 0; i < n_channels; i++) {
        for (size_t t = 0; t < n_taps; t++)
            row[i * n_taps + t] = tap[t][i];
    }
}

static inline __attribute__((always_inline)) void scatter(const float *row, size_t n_taps,
                                                          size_t n_channels, float *const *tap)
{
    for (size_t i = 0; i < n_channels; i++) {
        for (size_t t = 0; t < n_taps; t++)
            tap[t][i] += row[i * n_taps + t];
    }
}

void fish_im2col(const fish_conv *c, const float *x, size_t first, size_t n_lines,
                 const float *zeros, float *rows)
{
    const size_t n_taps = (size_t)c->kernel * c->kernel;
    const size_t k = fish_conv_k(c);
    size_t at[TAPS_MAX];
    const float *tap[TAPS_MAX];

    for (size_t line = first; line < first + n_lines; line++) {
        const line_at where = find_line(c, line);

        for (size_t ox = 0; ox < c->out_w; ox++, rows += k) {
            find_taps(c, where, ox, at);
            for (size_t t = 0; t < n_taps; t++)
                tap[t] = at[t] == SIZE_MAX ? zeros : x + at[t];
            if (n_taps == 9)
                interleave(tap, 9, c->in_c, rows);
            else if (n_taps == 1)
                memcpy(rows, tap[0], c->in_c * sizeof *rows);
            else
                interleave(tap, n_taps, c->in_c, rows);
        }
    }
}

void fish_col2im(const fish_conv *c, const float *rows, size_t first, size_t n_lines, float *dx,
                 float *trash)
{
    const size_t n_taps = (size_t)c->kernel * c->kernel;
    const size_t k = fish_conv_k(c);
    size_t at[TAPS_MAX];
    float *tap[TAPS_MAX];

    for (size_t line = first; line < first + n_lines; line++) {
        const line_at where = find_line(c, line);

        for (size_t ox = 0; ox < c->out_w; ox++, rows += k) {
            find_taps(c, where, ox, at);
            for (size_t t = 0; t < n_taps; t++)
                tap[t] = at[t] == SIZE_MAX ? trash : dx + at[t];
            if (n_taps == 9)
                scatter(rows, 9, c->in_c, tap);
            else
                scatter(rows, n_taps, c->in_c, tap);
        }
    }
}

/* ---- the same, tap by tap ---------------------------------------------------------------------
 * Where positions outnumber output channels it pays to turn the weight to [out][tap][channel]: a
 * line of taps is then one run of floats in the image.
 */

static bool is_turned(const fish_conv *c, uint32_t n)
{
    return c->kernel > 1 && c->in_c >= MIN_RUN && n * fish_conv_rows(c) > c->out_c;
}

static void turn_weight(const fish_conv *c, const float *w, float *turned)
{
    const size_t n_taps = (size_t)c->kernel * c->kernel;

    for (size_t o = 0; o < c->out_c; o++, w += fish_conv_k(c)) {
        for (size_t t = 0; t < n_taps; t++) {
            for (size_t i = 0; i < c->in_c; i++)
                *turned++ = w[i * n_taps + t];
        }
    }
}

/* The run of taps of line ky at output position x: taps [lo, hi) lie in the image, the first of
 * them `from` floats from the start of the batch. */
typedef struct run_at {
    size_t lo, hi, from;
} run_at;

static inline run_at find_run(const fish_conv *c, line_at at, size_t ky, size_t x)
{
    const size_t iy = at.top + ky - c->pad;
    const size_t left = x * c->stride;
    const size_t lo = left < c->pad ? c->pad - left : 0;
    const size_t room = c->in_w + c->pad - left; /* taps up to the right edge; at least 1 */

    if (iy >= c->in_h)
        return (run_at){.lo = 0, .hi = 0};
    return (run_at){.lo = lo,
                    .hi = room < c->kernel ? room : c->kernel,
                    .from = at.image + (iy * c->in_w + left + lo - c->pad) * c->in_c};
}

static void copy_runs(const fish_conv *c, const float *x, size_t first, size_t n_lines, float *rows)
{
    const size_t n_c = c->in_c;

    for (size_t line = first; line < first + n_lines; line++) {
        const line_at where = find_line(c, line);

        for (size_t ox = 0; ox < c->out_w; ox++) {
            for (size_t ky = 0; ky < c->kernel; ky++, rows += c->kernel * n_c) {
                const run_at r = find_run(c, where, ky, ox);

                memset(rows, 0, r.lo * n_c * sizeof *rows);
                memcpy(rows + r.lo * n_c, x + r.from, (r.hi - r.lo) * n_c * sizeof *rows);
                memset(rows + r.hi * n_c, 0, (c->kernel - r.hi) * n_c * sizeof *rows);
            }
        }
    }
}

FISH_CLONES
static void add_runs(const fish_conv *c, const float *restrict rows, size_t first, size_t n_lines,
                     float *restrict dx)
{
    const size_t n_c = c->in_c;

    for (size_t line = first; line < first + n_lines; line++) {
        const line_at where = find_line(c, line);

        for (size_t ox = 0; ox < c->out_w; ox++) {
            for (size_t ky = 0; ky < c->kernel; ky++, rows += c->kernel * n_c) {
                const run_at r = find_run(c, where, ky, ox);
                const size_t n = (r.hi - r.lo) * n_c;
                const float *restrict from = rows + r.lo * n_c;
                float *restrict to = dx + r.from;

                for (size_t i = 0; i < n; i++)
                    to[i] += from[i];
            }
        }
    }
}

/* ---- convolution ------------------------------------------------------------------------------
 */

/* Lines whose rows make up about CHUNK_BYTES, at least one. */
static size_t chunk_of(const fish_conv *c)
{
    const size_t line = c->out_w * fish_conv_k(c) * sizeof(float);

    return line < CHUNK_BYTES ? CHUNK_BYTES / line : 1;
}

size_t fish_conv_scratch(const fish_conv *c, uint32_t n)
{
    const size_t lines = (size_t)n * c->out_h;
    const size_t chunk = chunk_of(c);
    const size_t k = fish_conv_k(c);

    if (fish_conv_is_plain(c))
        return 0;
    return (lines < chunk ? lines : chunk) * c->out_w * k + (is_turned(c, n) ? c->out_c * k : 0);
}

void fish_conv_forward(const fish_conv *c, const float *w, const float *x, uint32_t n,
                       const float *zeros, float *scratch, float *z)
{
    const size_t k = fish_conv_k(c);
    const size_t all = (size_t)n * c->out_h;
    const size_t chunk = chunk_of(c);
    const bool turned = is_turned(c, n);
    float *rows = scratch + (turned ? c->out_c * k : 0);

    if (fish_conv_is_plain(c)) {
        fish_gemm_nt(n * fish_conv_rows(c), c->out_c, k, 1, x, k, w, k, 0, z, c->out_c);
        return;
    }
    if (turned)
        turn_weight(c, w, scratch);
    for (size_t line = 0; line < all; line += chunk) {
        const size_t lines = all - line < chunk ? all - line : chunk;

        if (turned)
            copy_runs(c, x, line, lines, rows);
        else
            fish_im2col(c, x, line, lines, zeros, rows);
        fish_gemm_nt(lines * c->out_w, c->out_c, k, 1, rows, k, turned ? scratch : w, k, 0,
                     z + line * c->out_w * c->out_c, c->out_c);
    }
}

void fish_conv_backward(const fish_conv *c, const float *w, const float *dz, uint32_t n, bool add,
                        float *trash, float *scratch, float *dx)
{
    const size_t k = fish_conv_k(c);
    const size_t all = (size_t)n * c->out_h;
    const size_t chunk = chunk_of(c);
    const bool turned = is_turned(c, n);
    float *rows = scratch + (turned ? c->out_c * k : 0);

    if (fish_conv_is_plain(c)) {
        fish_gemm_nn(n * fish_conv_rows(c), k, c->out_c, 1, dz, c->out_c, w, k, add ? 1 : 0, dx, k);
        return;
    }
    if (turned)
        turn_weight(c, w, scratch);
    if (!add)
        memset(dx, 0, n * fish_conv_inputs(c) * sizeof *dx);
    for (size_t line = 0; line < all; line += chunk) {
        const size_t lines = all - line < chunk ? all - line : chunk;

        fish_gemm_nn(lines * c->out_w, k, c->out_c, 1, dz + line * c->out_w * c->out_c, c->out_c,
                     turned ? scratch : w, k, 0, rows, k);
        if (turned)
            add_runs(c, rows, line, lines, dx);
        else
            fish_col2im(c, rows, line, lines, dx, trash);
    }
}

/* ---- pooling ----------------------------------------------------------------------------------
 */

/* Takes tap number t where it is larger; a NaN stays, as in torch. */
FISH_CLONES
static void take_larger(const float *x, size_t n, uint8_t t, float *y, uint8_t *from)
{
    for (size_t i = 0; i < n; i++) {
        const bool larger = x[i] > y[i] || isnan(x[i]);

        y[i] = larger ? x[i] : y[i];
        from[i] = larger ? t : from[i];
    }
}

void fish_max_pool(const fish_conv *c, const float *x, uint32_t n, float *y, uint8_t *from)
{
    const size_t n_taps = (size_t)c->kernel * c->kernel;
    size_t at[TAPS_MAX];

    for (size_t line = 0; line < (size_t)n * c->out_h; line++) {
        const line_at where = find_line(c, line);

        for (size_t ox = 0; ox < c->out_w; ox++, y += c->in_c, from += c->in_c) {
            bool any = false;

            find_taps(c, where, ox, at);
            for (size_t t = 0; t < n_taps; t++) {
                if (at[t] == SIZE_MAX)
                    continue;
                if (any) {
                    take_larger(x + at[t], c->in_c, (uint8_t)t, y, from);
                    continue;
                }
                memcpy(y, x + at[t], c->in_c * sizeof *y);
                memset(from, (int)t, c->in_c);
                any = true;
            }
        }
    }
}

void fish_max_pool_backward(const fish_conv *c, const float *dy, const uint8_t *from, uint32_t n,
                            float *dx)
{
    size_t at[TAPS_MAX];

    memset(dx, 0, n * fish_conv_inputs(c) * sizeof *dx);
    for (size_t line = 0; line < (size_t)n * c->out_h; line++) {
        const line_at where = find_line(c, line);

        for (size_t ox = 0; ox < c->out_w; ox++, dy += c->in_c, from += c->in_c) {
            find_taps(c, where, ox, at);
            for (size_t i = 0; i < c->in_c; i++)
                dx[at[from[i]] + i] += dy[i];
        }
    }
}

FISH_CLONES
static void scale_row(const float *x, size_t n, float by, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * by;
}

void fish_mean_pool(const float *x, uint32_t n, size_t positions, size_t channels, float *y)
{
    for (size_t e = 0; e < n; e++, y += channels) {
        memset(y, 0, channels * sizeof *y);
        for (size_t p = 0; p < positions; p++, x += channels)
            fish_add(y, x, channels);
        scale_row(y, channels, 1 / (float)positions, y);
    }
}

void fish_mean_pool_backward(const float *dy, uint32_t n, size_t positions, size_t channels,
                             float *dx)
{
    for (size_t e = 0; e < n; e++, dy += channels) {
        for (size_t p = 0; p < positions; p++, dx += channels)
            scale_row(dy, channels, 1 / (float)positions, dx);
    }
}
