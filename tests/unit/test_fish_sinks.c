/*
 * train/sinks: gathered gradients against sums in double, for masks of any density, factors of any
 * shape and groups on any number of threads.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/rng.h"
#include "train/sinks.h"

#define MAX_ROWS   2100
#define MAX_GROUPS 5

/* One parameter, its mask, and factors of some groups. */
typedef struct scene {
    fish_param param;
    fish_model model;
    fish_chosen chosen;
    fish_selection selection;
    size_t rows; /* of a group */
    unsigned n_groups;
    float *dy[MAX_GROUPS], *x[MAX_GROUPS];
    int32_t *line;
    size_t ldy, ldx;
    float *g;
    fish_gather gather;
    fish_gather_sink sinks[8];
} scene;

static float *random_floats(uint64_t seed, size_t n)
{
    const fish_key key = fish_key_make(seed, FISH_STREAM_TEST);
    float *x = malloc((n ? n : 1) * sizeof *x);

    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)fish_random_normal(key, 1, i);
    return x;
}

/* out x in, of which about `share` is selected; strides are wider than the rows. */
static void set_scene(scene *s, uint32_t rank, size_t out, size_t in, size_t rows, double share,
                      unsigned n_groups)
{
    const fish_key key = fish_key_make(out * 1000 + in, FISH_STREAM_TEST);

    *s = (scene){.param = {.name = "w", .dtype = "F32", .rank = rank, .shape = {out, in}},
                 .rows = rows,
                 .n_groups = n_groups,
                 .ldy = (rank == 1  ? out
                         : in > out ? in
                                    : out) +
                        3,
                 .ldx = (rank == 1 ? out : in) + 5};
    s->param.n = rank == 1 ? out : out * in;
    s->model = (fish_model){.params = &s->param, .n_params = 1};
    if (share >= 1) {
        s->chosen.n = s->param.n;
    } else {
        s->chosen.idx = malloc(s->param.n * sizeof *s->chosen.idx);
        for (size_t i = 0; i < s->param.n; i++) {
            if (fish_random_unit(key, 0, i) < share)
                s->chosen.idx[s->chosen.n++] = (uint32_t)i;
        }
    }
    s->selection = (fish_selection){.n_params = 1, .of = &s->chosen, .n = s->chosen.n};
    for (unsigned q = 0; q < n_groups; q++) {
        s->dy[q] = random_floats(10 + q, rows * s->ldy);
        s->x[q] = random_floats(20 + q, rows * s->ldx);
    }
    s->line = malloc(rows * sizeof *s->line);
    for (size_t r = 0; r < rows; r++)
        s->line[r] = (int32_t)(fish_random_u64(key, 2, r) % out);
    s->g = calloc(s->chosen.n ? s->chosen.n : 1, sizeof *s->g);
    s->gather = (fish_gather){.m = &s->model, .s = &s->selection, .g = s->g};
    for (unsigned i = 0; i < 8; i++)
        fish_gather_sink_init(&s->sinks[i], &s->gather);
}

static void strike(scene *s)
{
    for (unsigned q = 0; q < s->n_groups; q++) {
        free(s->dy[q]);
        free(s->x[q]);
    }
    for (unsigned i = 0; i < 8; i++)
        fish_gather_sink_release(&s->sinks[i]);
    free(s->chosen.idx);
    free(s->line);
    free(s->g);
}

typedef enum form { MATRIX, TABLE, VECTOR, SCALED } form;

typedef struct play {
    scene *s;
    form form;
} play;

static fmp_status hand_in(void *ctx, unsigned worker, uint64_t item, fmp_error *err)
{
    const play *p = ctx;
    scene *s = p->s;
    fish_gather_sink *k = &s->sinks[worker];
    fish_sink *sink = &k->sink;
    /* Two examples, and a start that is not 0. */
    const uint32_t start[3] = {1, (uint32_t)(s->rows + 1) / 2, (uint32_t)s->rows};
    const float *dy = s->dy[item];
    const float *x = s->x[item];

    k->item = item;
    switch (p->form) {
    case MATRIX:
        return sink->matrix(sink, 0, dy, s->ldy, x, s->ldx, start, 2, err);
    case TABLE:
        return sink->table(sink, 0, dy, s->ldy, s->line, start, 2, err);
    case VECTOR:
        return sink->vector(sink, 0, dy, s->ldy, NULL, 0, start, 2, err);
    default:
        return sink->vector(sink, 0, dy, s->ldy, x, s->ldx, start, 2, err);
    }
}

/* What element `e` has to be, and the sum of sizes that its error is measured by. */
static double expected(const scene *s, form f, size_t e, double *ret_scale)
{
    const size_t in = s->param.rank == 1 ? 1 : s->param.n / (size_t)s->param.shape[0];
    double sum = 0;

    *ret_scale = 0;
    for (unsigned q = 0; q < s->n_groups; q++) {
        for (size_t r = 1; r < s->rows; r++) {
            const float *dy = s->dy[q] + r * s->ldy;
            const float *x = s->x[q] + r * s->ldx;
            double term = f == MATRIX   ? (double)dy[e / in] * x[e % in]
                          : f == TABLE  ? dy[e % in]
                          : f == VECTOR ? dy[e]
                                        : (double)dy[e] * x[e];

            if (f == TABLE && (size_t)s->line[r] != e / in)
                term = 0;
            sum += term;
            *ret_scale += fabs(term);
        }
    }
    return sum;
}

static void run_play(scene *s, form f, unsigned n_threads, bool dense)
{
    play p = {.s = s, .form = f};
    fish_pool *pool = NULL;
    fmp_error err = {.text = ""};

    memset(s->g, 0, s->chosen.n * sizeof *s->g);
    assert_status(fish_pool_new(n_threads, &pool, &err), FMP_OK, &err);
    assert_status(fish_turnstile_new(pool, 1, &s->gather.gates, &err), FMP_OK, &err);
    s->gather.dense = dense;
    assert_status(fish_pool_run(pool, s->n_groups, hand_in, &p, &err), FMP_OK, &err);
    fish_turnstile_free(s->gather.gates);
    fish_pool_free(pool);
}

static void check(scene *s, form f)
{
    float *first = malloc((s->chosen.n ? s->chosen.n : 1) * sizeof *first);

    for (int dense = 0; dense < 2; dense++) {
        run_play(s, f, 1, dense);
        for (size_t j = 0; j < s->chosen.n; j++) {
            double scale;
            const double want = expected(s, f, fish_chosen_at(&s->chosen, j), &scale);

            if (!(fabs(s->g[j] - want) <= 2e-6 * scale))
                fail_msg("element %zu: %g, expected %g", j, s->g[j], want);
        }
        memcpy(first, s->g, s->chosen.n * sizeof *first);
        for (unsigned n = 2; n <= 4; n++) {
            run_play(s, f, n, dense);
            assert_memory_equal(first, s->g, s->chosen.n * sizeof *first);
        }
    }
    free(first);
}

static void matrices(void **state)
{
    static const double shares[] = {0, 0.002, 0.03, 0.1, 0.4, 1};
    static const size_t shapes[][3] = {{7, 5, 3},     {16, 16, 16},   {33, 65, 70},
                                       {48, 31, 300}, {130, 200, 17}, {9, 14, MAX_ROWS}};

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (size_t j = 0; j < sizeof shares / sizeof shares[0]; j++) {
            scene s;

            set_scene(&s, 2, shapes[i][0], shapes[i][1], shapes[i][2], shares[j], MAX_GROUPS);
            check(&s, MATRIX);
            strike(&s);
        }
    }
}

/* Where the factors are too wide for one block of rows, blocks add up. */
static void wide_matrices(void **state)
{
    scene s;

    (void)state;
    set_scene(&s, 2, 700, 1300, 333, 0.0005, 2);
    check(&s, MATRIX);
    strike(&s);
}

static void tables(void **state)
{
    static const double shares[] = {0, 0.01, 0.3, 1};

    (void)state;
    for (size_t j = 0; j < sizeof shares / sizeof shares[0]; j++) {
        scene s;

        set_scene(&s, 2, 50, 13, 90, shares[j], MAX_GROUPS);
        check(&s, TABLE);
        strike(&s);
    }
}

static void vectors(void **state)
{
    static const double shares[] = {0, 0.05, 0.5, 1};

    (void)state;
    for (size_t j = 0; j < sizeof shares / sizeof shares[0]; j++) {
        scene s;

        set_scene(&s, 1, 77, 0, 101, shares[j], MAX_GROUPS);
        check(&s, VECTOR);
        check(&s, SCALED);
        strike(&s);
    }
}

static void no_memory(void **state)
{
    static const form forms[] = {MATRIX, VECTOR};

    (void)state;
    for (int i = 0; i < 3; i++) {
        play p;
        scene s;
        fish_pool *pool = NULL;
        fmp_error err = {.text = ""};

        set_scene(&s, i == 2 ? 1 : 2, 40, 30, 100, i == 1 ? 1 : 0.05, 1);
        p = (play){.s = &s, .form = forms[i == 2]};
        assert_status(fish_pool_new(1, &pool, &err), FMP_OK, &err);
        assert_status(fish_turnstile_new(pool, 1, &s.gather.gates, &err), FMP_OK, &err);
        fish_alloc_fail_at(0);
        assert_status(hand_in(&p, 0, 0, &err), FMP_ENOMEM, &err);
        assert_status(hand_in(&p, 0, 0, &err), FMP_OK, &err);
        fish_turnstile_free(s.gather.gates);
        fish_pool_free(pool);
        strike(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices), cmocka_unit_test(wide_matrices), cmocka_unit_test(tables),
        cmocka_unit_test(vectors),  cmocka_unit_test(no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
