/*
 * The Fisher kernel: every version that this processor runs, against a double loop, over sizes that
 * do and do not fill tiles, blocks and chunks of rows.
 *
 * The versions make the same sums in the same order; a fused multiply-add rounds a step once where
 * the plain version rounds twice.  So their gradients may differ by a rounding a row, relative to
 * the sum of |dy * x|, and that is what the tolerance is taken of.
 */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "train/fisher.h"
#include "train/square_outer.h"

typedef struct shape {
    size_t out, in;
    uint32_t n;
    uint32_t rows[12]; /* of each example */
} shape;

/* Tiles are 8 x 48 and 6 x 16, blocks 192 x 192, chunks 128 rows. */
static const shape shapes[] = {
    {1, 1, 1, {1}},
    {8, 48, 2, {64, 64}},
    {6, 16, 1, {3}},
    {7, 47, 3, {5, 1, 9}},
    {9, 49, 4, {0, 2, 0, 7}},
    {193, 195, 2, {11, 40}},
    {3, 400, 3, {127, 1, 1}},
    {400, 3, 3, {128, 128, 1}},
    {24, 96, 5, {129, 0, 300, 31, 2}},
    {50, 20, 3, {1000, 1, 128}},
    {20, 50, 2, {256, 0}},
    {16, 48, 12, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
    {5, 6, 0, {0}},
};

typedef struct data {
    const shape *s;
    float *dy, *x;
    size_t ldy, ldx;
    uint32_t start[13];
    double weight[12];
    double *f; /* [out][in] */
} data;

static float *random_floats(size_t n, uint64_t hi)
{
    const fish_key key = fish_key_make(11, FISH_STREAM_TEST);
    float *v = malloc((n + 1) * sizeof *v);

    assert_non_null(v);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)fish_random_normal(key, hi, i);
    return v;
}

/* Rows a little longer than wide, the first of them not of any example. */
static data make(const shape *s)
{
    data d = {.s = s, .ldy = s->out + 3, .ldx = s->in + 5, .start = {2}};

    for (uint32_t e = 0; e < s->n; e++) {
        d.start[e + 1] = d.start[e] + s->rows[e];
        d.weight[e] = 0.25 + e;
    }
    d.dy = random_floats(d.start[s->n] * d.ldy, 1);
    d.x = random_floats(d.start[s->n] * d.ldx, 2);
    d.f = malloc(s->out * s->in * sizeof *d.f);
    assert_non_null(d.f);
    return d;
}

static void release(data *d)
{
    free(d->dy);
    free(d->x);
    free(d->f);
}

static fish_outer outer_of(const data *d, fish_outer_kind kind)
{
    return (fish_outer){.f = d->f,
                        .in = d->s->in,
                        .o_end = d->s->out,
                        .dy = d->dy,
                        .ldy = d->ldy,
                        .x = d->x,
                        .ldx = d->ldx,
                        .start = d->start,
                        .n = d->s->n,
                        .weight = d->weight,
                        .kind = kind};
}

/* The element in double, from `before`, and how far a float sum may be from it. */
static double truth_at(const data *d, size_t o, size_t i, fish_outer_kind kind, double before,
                       double *slack)
{
    double f = before;

    *slack = 1e-14 * fabs(before);
    for (uint32_t e = 0; e < d->s->n; e++) {
        const uint32_t n = d->start[e + 1] - d->start[e];
        double g = 0;
        double size = 0;

        for (uint32_t r = d->start[e]; r < d->start[e + 1]; r++) {
            const double product = (double)d->dy[r * d->ldy + o] * d->x[r * d->ldx + i];

            g += product;
            size += fabs(product);
        }
        size *= (n + 1) * (double)FLT_EPSILON;
        f += d->weight[e] * (kind == FISH_OUTER_SQUARE     ? g * g
                             : kind == FISH_OUTER_ABSOLUTE ? fabs(g)
                                                           : g);
        *slack += d->weight[e] * (kind == FISH_OUTER_SQUARE ? size * (2 * fabs(g) + size) : size);
    }
    return f;
}

static void check(const data *d, fish_outer_kind kind, double before, size_t o_begin, size_t o_end,
                  const char *name)
{
    for (size_t o = 0; o < d->s->out; o++) {
        for (size_t i = 0; i < d->s->in; i++) {
            const double got = d->f[o * d->s->in + i];
            double slack = 0;
            double want = before;

            if (o >= o_begin && o < o_end)
                want = truth_at(d, o, i, kind, before, &slack);
            if (!(fabs(got - want) <= slack))
                fail_msg("%s, %zu x %zu, kind %d, element %zu %zu: %.9g, expected %.9g within %g",
                         name, d->s->out, d->s->in, (int)kind, o, i, got, want, slack);
        }
    }
}

static void fill(const data *d, double v)
{
    for (size_t i = 0; i < d->s->out * d->s->in; i++)
        d->f[i] = v;
}

static void versions_are_right(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        data d = make(&shapes[k]);
        const char *name = "";
        fish_outer_fn fn;

        for (unsigned v = 0; (fn = fish_outer_version(v, &name)); v++) {
            for (int kind = FISH_OUTER_SQUARE; kind <= FISH_OUTER_SIGNED; kind++) {
                const fish_outer j = outer_of(&d, (fish_outer_kind)kind);

                fill(&d, 0.5);
                fn(&j);
                check(&d, j.kind, 0.5, 0, d.s->out, name);
            }
        }
        release(&d);
    }
}

/* Rows outside o_begin .. o_end keep their bits. */
static void a_part_of_the_rows(void **state)
{
    data d = make(&shapes[5]);
    const char *name = "";
    fish_outer_fn fn;

    (void)state;
    for (unsigned v = 0; (fn = fish_outer_version(v, &name)); v++) {
        fish_outer j = outer_of(&d, FISH_OUTER_SQUARE);

        j.o_begin = 5;
        j.o_end = 172;
        fill(&d, 0.1);
        fn(&j);
        check(&d, j.kind, 0.1, 5, 172, name);
        j.o_begin = j.o_end;
        fill(&d, 0.1);
        fn(&j);
        check(&d, j.kind, 0.1, 0, 0, name);
    }
    release(&d);
}

/* The same call gives the same bits; halves of the rows those of the whole. */
static void versions_are_deterministic(void **state)
{
    data d = make(&shapes[8]);
    const size_t n = d.s->out * d.s->in;
    double *first = malloc(n * sizeof *first);
    const char *name = "";
    fish_outer_fn fn;

    (void)state;
    assert_non_null(first);
    for (unsigned v = 0; (fn = fish_outer_version(v, &name)); v++) {
        fish_outer j = outer_of(&d, FISH_OUTER_SQUARE);

        fill(&d, 0);
        fn(&j);
        memcpy(first, d.f, n * sizeof *first);
        fill(&d, 0);
        j.o_end = 11;
        fn(&j);
        j.o_begin = 11;
        j.o_end = d.s->out;
        fn(&j);
        assert_memory_equal(first, d.f, n * sizeof *first);
    }
    free(first);
    release(&d);
}

/* All fused versions round alike. */
static void fused_versions_agree_bit_for_bit(void **state)
{
    data d = make(&shapes[9]);
    const size_t n = d.s->out * d.s->in;
    double *first = malloc(n * sizeof *first);
    const fish_outer j = outer_of(&d, FISH_OUTER_SQUARE);
    const char *name = "";
    fish_outer_fn fn;

    (void)state;
    assert_non_null(first);
    for (unsigned v = 1; (fn = fish_outer_version(v, &name)); v++) {
        fill(&d, 0);
        fn(&j);
        if (v == 1)
            memcpy(first, d.f, n * sizeof *first);
        else
            assert_memory_equal(first, d.f, n * sizeof *first);
    }
    free(first);
    release(&d);
}

static void the_public_call_and_no_weights(void **state)
{
    data d = make(&shapes[3]);

    (void)state;
    for (uint32_t e = 0; e < d.s->n; e++)
        d.weight[e] = 1;
    for (int absolute = 0; absolute < 2; absolute++) {
        fill(&d, 0);
        fish_square_outer(d.f, d.s->out, d.s->in, 0, d.s->out, d.dy, d.ldy, d.x, d.ldx, d.start,
                          d.s->n, NULL, absolute);
        check(&d, absolute ? FISH_OUTER_ABSOLUTE : FISH_OUTER_SQUARE, 0, 0, d.s->out, "public");
    }
    release(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_right),
        cmocka_unit_test(a_part_of_the_rows),
        cmocka_unit_test(versions_are_deterministic),
        cmocka_unit_test(fused_versions_agree_bit_for_bit),
        cmocka_unit_test(the_public_call_and_no_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
