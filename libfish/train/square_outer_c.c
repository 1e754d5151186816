/*
 * The kernel in plain C: what the others are measured against, and what runs where there is none.
 */
#include <math.h>

#include "train/square_outer.h"

#define WIDTH 256 /* columns whose gradients of one example are held at once */

/* The gradient g of one example in row o, columns i0 .. i0 + width - 1, into f. */
static void add_row(const fish_outer *j, size_t o, size_t i0, size_t width, uint32_t e)
{
    const double weight = j->weight ? j->weight[e] : 1;
    double *f = j->f + o * j->in + i0;
    float g[WIDTH] = {0};

    for (uint32_t r = j->start[e]; r < j->start[e + 1]; r++) {
        const float dy = j->dy[r * j->ldy + o];
        const float *x = j->x + r * j->ldx + i0;

        for (size_t i = 0; i < width; i++)
            g[i] += dy * x[i];
    }
    for (size_t i = 0; i < width; i++) {
        const double v = g[i];

        f[i] += weight * (j->kind == FISH_OUTER_SQUARE     ? v * v
                          : j->kind == FISH_OUTER_ABSOLUTE ? fabs(v)
                                                           : v);
    }
}

void fish_outer_plain(const fish_outer *j)
{
    for (size_t i0 = 0; i0 < j->in; i0 += WIDTH) {
        const size_t width = j->in - i0 < WIDTH ? j->in - i0 : WIDTH;

        for (size_t o = j->o_begin; o < j->o_end; o++) {
            for (uint32_t e = 0; e < j->n; e++)
                add_row(j, o, i0, width, e);
        }
    }
}
