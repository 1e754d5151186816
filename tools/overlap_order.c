/*
 * The order of patches in a matrix: clusters that are alike are joined until one is left, and its
 * members are read off from left to right.  At most 64 patches, so that the plain way does.
 */
#include <math.h>
#include <string.h>

#include "overlap_html.h"

#define MOST 64

typedef struct cluster {
    size_t members[MOST];
    size_t n; /* 0: joined to another */
} cluster;

static double jaccard(const overlap_view *v, size_t i, size_t j)
{
    const overlap_pair *p = &v->pairs[i * v->n + j];

    return p->either ? (double)p->shared / (double)p->either : 0;
}

/* The mean over all pairs of members. */
static double likeness(const overlap_view *v, const cluster *a, const cluster *b)
{
    double sum = 0;

    for (size_t i = 0; i < a->n; i++) {
        for (size_t j = 0; j < b->n; j++)
            sum += jaccard(v, a->members[i], b->members[j]);
    }
    return sum / ((double)a->n * (double)b->n);
}

/* The two that are most alike, the first ones among equals. */
static void closest(const overlap_view *v, const cluster *c, size_t *ret_a, size_t *ret_b)
{
    double best = -1;

    for (size_t a = 0; a < v->n; a++) {
        for (size_t b = a + 1; b < v->n && c[a].n; b++) {
            const double l = c[b].n ? likeness(v, &c[a], &c[b]) : -1;

            if (l > best) {
                best = l;
                *ret_a = a;
                *ret_b = b;
            }
        }
    }
}

void overlap_order(const overlap_view *v, size_t *order)
{
    cluster c[MOST];
    size_t a = 0, b = 0;

    for (size_t i = 0; i < v->n; i++)
        c[i] = (cluster){.members = {i}, .n = 1};
    for (size_t left = v->n; left > 1; left--) {
        closest(v, c, &a, &b);
        memcpy(c[a].members + c[a].n, c[b].members, c[b].n * sizeof *c[b].members);
        c[a].n += c[b].n;
        c[b].n = 0;
    }
    memcpy(order, c[0].members, v->n * sizeof *order);
}
