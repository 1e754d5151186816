/*
 * Merging: formulas against numbers worked out by hand, the streaming merge against the one in
 * memory for every method and float dtype, what must not be averaged, and rounding.
 */
#include "model_support.h"

#include <math.h>

#include "base/alloc.h"
#include "base/rounding.h"
#include "patch.h"

/* ---- by hand ----------------------------------------------------------------------------------
 */

enum { N = 5 };

static const double zero[N];
static const double one_third = 1.0 / 3;

static void check(const char *what, const fmp_merge_options *o, size_t k,
                  const double *const *tuned, const double *const *scores, const double want[N])
{
    double got[N];
    fmp_error err;

    assert_status(fmp_merge_values(o, "w", k, zero, tuned, scores, N, got, &err), FMP_OK, &err);
    for (unsigned i = 0; i < N; i++) {
        if (fabs(got[i] - want[i]) > 1e-12)
            fail_msg("%s: element %u: expected %.17g, found %.17g", what, i, want[i], got[i]);
    }
}

static void test_by_hand(void **state)
{
    static const double a[N] = {3, -1, 0.5, 2, 0};
    static const double b[N] = {-2, -2, 0.5, -2, 8};
    static const double c[N] = {-2, 4, 0, 0, 0};
    static const double w[3] = {0.5, 1, 2};
    const double *const abc[] = {a, b, c};
    fmp_merge_options o = {.size = sizeof o};

    (void)state;
    check("linear", &o, 3, abc, NULL,
          (double[N]){-1.0 / 3, one_third, one_third, 0, 8 * one_third});
    o.weights = w;
    check("linear, weights", &o, 3, abc, NULL,
          (double[N]){-4.5 / 3.5, 5.5 / 3.5, 0.75 / 3.5, -1 / 3.5, 8 / 3.5});
    o.method = FMP_MERGE_TASK_ARITHMETIC;
    o.lambda = (fmp_real){true, -2};
    check("task arithmetic, lambda -2", &o, 3, abc, NULL, (double[N]){9, -11, -1.5, 2, -16});
    o.lambda.given = false;
    o.method = FMP_MERGE_RAM;
    check("ram", &o, 3, abc, NULL, (double[N]){-1.0 / 3, one_third, 0.5, 0, 8});
    o.epsilon = (fmp_real){true, 1};
    check("ram, epsilon 1", &o, 3, abc, NULL, (double[N]){-1.0 / 3, 1, 0, 0, 8});
}

/* The three that are called TIES give three answers: the same vectors, weights 1/2, 1, 2. */
static void test_ties_by_hand(void **state)
{
    static const double a[N] = {3, -1, 0.5, 2, 0};
    static const double b[N] = {-2, -2, 0.5, -2, 8};
    static const double c[N] = {-2, 4, 0, 0, 0};
    static const double w[3] = {0.5, 1, 2};
    const double *const abc[] = {a, b, c};
    fmp_merge_options o = {.size = sizeof o, .method = FMP_MERGE_TIES};

    (void)state;
    /* Sums -1, 1, 1, 0, 8: signs - + + ? +; most are +, so the fourth is, too. */
    check("paper", &o, 3, abc, NULL, (double[N]){-2, 4, 0.5, 2, 8});
    o.ties = FMP_TIES_PEFT;
    o.weights = w;
    /* The same signs; (-2 - 4) / 2, 8 / 1, (0.25 + 0.5) / 2, 1 / 1, 8 / 1. */
    check("peft", &o, 3, abc, NULL, (double[N]){-3, 8, 0.375, 1, 8});
    o.ties = FMP_TIES_MERGEKIT;
    /* Weighted sums -4.5, 5.5, 0.75, -1, 8; -6 / 3, 8 / 2, 0.75 / 1.5, -2 / 1, 8 / 1. */
    check("mergekit", &o, 3, abc, NULL, (double[N]){-2, 4, 0.5, -2, 8});
    o.normalize = -1;
    check("mergekit, not normalised", &o, 3, abc, NULL, (double[N]){-6, 8, 0.75, -2, 8});
    o.normalize = 0;
    /* int(0.4 x 5) = 2 stay: a 3 2, b 8 and the first of three -2, c 4 -2. */
    o.density = (fmp_real){true, 0.4};
    check("mergekit, density 0.4", &o, 3, abc, NULL, (double[N]){-2, 4, 0, 2, 8});
    o.ties = FMP_TIES_PEFT;
    /* Sums 3 - 2 - 2 = -1, 4, 0, 2, 8. */
    check("peft, density 0.4", &o, 3, abc, NULL, (double[N]){-3, 8, 0, 1, 8});
    o.ties = FMP_TIES_PAPER;
    o.weights = NULL;
    /* One more stays, and its equals: a 3 -1 2, b 8 -2 -2 -2, c both. */
    check("paper, density 0.4", &o, 3, abc, NULL, (double[N]){-2, 4, 0, 2, 8});
    o.method = FMP_MERGE_PRUNE;
    check("prune, density 0.4", &o, 3, abc, NULL, (double[N]){-1, 4, 0, 2, 8});
    o.method = FMP_MERGE_BREADCRUMBS;
    o.gamma = (fmp_real){true, 0.2};
    /* One goes, the two behind it stay: a 2 -1, b two of -2 (the lower ones), c -2 and a zero. */
    check("breadcrumbs", &o, 3, abc, NULL, (double[N]){-4, -3, 0, 2, 0});
}

static void test_fisher_by_hand(void **state)
{
    static const double a[N] = {1, 1, 1, 1, 0};
    static const double b[N] = {3, 3, 3, 3, 0};
    static const double fa[N] = {1, 3, 0, 0, 1};
    static const double fb[N] = {1, 1, 2, 0, 1};
    static const double w[2] = {1, 2};
    const double *const ab[] = {a, b};
    const double *const f[] = {fa, fb};
    fmp_merge_options o = {
        .size = sizeof o, .method = FMP_MERGE_FISHER, .no_norm = true, .floor = {true, 0}};
    fmp_error err;
    double got[N];

    (void)state;
    check("fisher", &o, 2, ab, f, (double[N]){2, 1.5, 3, 2, 0});
    o.floor.value = 2; /* of the first: 2 3 2 2 2 */
    check("fisher, floor", &o, 2, ab, f, (double[N]){5.0 / 3, 1.5, 2, 1, 0});
    o.floor_all = true; /* and of the second: 2 2 2 2 2 */
    check("fisher, floor of all", &o, 2, ab, f, (double[N]){2, 9.0 / 5, 2, 2, 0});
    o.weights = w;
    o.floor.value = 0;
    check("fisher, weights", &o, 2, ab, f, (double[N]){7.0 / 3, 9.0 / 5, 3, 7.0 / 3, 0});
    assert_status(fmp_merge_values(&o, "w", 2, zero, ab, NULL, N, got, &err), FMP_EUSAGE, &err);
}

static void test_slerp_by_hand(void **state)
{
    static const double x[N] = {1, 0, 0, 0, 0};
    static const double y[N] = {0, 2, 0, 0, 0};
    static const double near[N] = {1, 0.001, 0, 0, 0};
    const double half = sqrt(0.5);
    fmp_merge_options o = {.size = sizeof o, .method = FMP_MERGE_SLERP};

    (void)state;
    check("slerp, quarter turn", &o, 2, (const double *[]){x, y}, NULL,
          (double[N]){half, 2 * half, 0, 0, 0});
    o.t = (fmp_real){true, 0.25};
    check("slerp, nearly a line", &o, 2, (const double *[]){x, near}, NULL,
          (double[N]){1, 0.00025, 0, 0, 0});
}

/* What DARE keeps is a function of seed, name, parent and element alone. */
static void test_dare(void **state)
{
    enum { MANY = 20000 };
    static double base[MANY], tuned[MANY], other[MANY], got[MANY], again[MANY];
    const double *const both[] = {tuned, other};
    fmp_merge_options o = {
        .size = sizeof o, .method = FMP_MERGE_DARE_LINEAR, .density = {true, 0.25}, .seed = 7};
    unsigned kept = 0, alike = 0;
    double sum = 0;
    fmp_error err;

    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        tuned[i] = 1;
    assert_status(fmp_merge_values(&o, "w", 1, base, both, NULL, MANY, got, &err), FMP_OK, &err);
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(got[i] == 0 || got[i] == 4);
        kept += got[i] != 0;
    }
    assert_true(kept > 4700 && kept < 5300); /* 5000, six standard deviations of 61 */
    assert_status(fmp_merge_values(&o, "v", 1, base, both, NULL, MANY, again, &err), FMP_OK, &err);
    for (unsigned i = 0; i < MANY; i++)
        alike += got[i] != 0 && again[i] != 0;
    assert_true(alike > 1000 && alike < 1500); /* another name: independent */
    o.rescale = FMP_RESCALE_L1;
    assert_status(fmp_merge_values(&o, "w", 1, base, both, NULL, MANY, again, &err), FMP_OK, &err);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(again[i] != 0, got[i] != 0);
        sum += again[i];
    }
    assert_true(fabs(sum - MANY) < 1e-6);
    o.rescale = FMP_RESCALE_NONE;
    assert_status(fmp_merge_values(&o, "w", 1, base, both, NULL, MANY, again, &err), FMP_OK, &err);
    for (unsigned i = 0; i < MANY; i++)
        assert_true(again[i] == (got[i] != 0));
}

/* The seed's numbers, so that another implementation can tell that it has them right. */
static void test_dare_lots(void **state)
{
    static double base[16], tuned[16], got[16];
    const fmp_merge_options o = {.size = sizeof o,
                                 .method = FMP_MERGE_DARE_LINEAR,
                                 .density = {true, 0.5},
                                 .rescale = FMP_RESCALE_NONE,
                                 .seed = 42};
    unsigned mask = 0;
    fmp_error err;

    (void)state;
    for (unsigned i = 0; i < 16; i++)
        tuned[i] = 1;
    assert_status(fmp_merge_values(&o, "encoder.weight", 1, base, (const double *[]){tuned}, NULL,
                                   16, got, &err),
                  FMP_OK, &err);
    for (unsigned i = 0; i < 16; i++)
        mask |= (unsigned)(got[i] != 0) << i;
    assert_int_equal(mask, 0xb94e); /* made with the xxhash package of Python */
}

/* ---- files ------------------------------------------------------------------------------------
 */

static const char *const floats[] = {"F32", "BF16", "F16", "F64", "F8_E5M2", "F8_E4M3"};

enum { N_PARENTS = 3 };

static const char *const parent_names[N_PARENTS] = {"p0", "p1", "p2"};

typedef struct world {
    model base, tuned[N_PARENTS], scores;
    fmp_patch *p[N_PARENTS];
    fmp_store *store, *score_store[N_PARENTS];
} world;

static double number_at(const tensor *t, uint64_t i)
{
    const unsigned width = t->dtype->width / 8u;
    uint64_t bits = 0;

    memcpy(&bits, t->data + i * width, width);
    return fmp_value(fmp_value_kind_of(t->dtype->name), bits);
}

static void put_number(tensor *t, uint64_t i, double d)
{
    const uint64_t bits = fmp_value_round(fmp_value_kind_of(t->dtype->name), d);

    memcpy(t->data + i * (t->dtype->width / 8u), &bits, t->dtype->width / 8u);
}

static uint64_t elements(const tensor *t)
{
    return t->len / (t->dtype->width / 8u);
}

static double draw(void)
{
    return ((double)(rng() >> 11) * 0x1p-53 - 0.5) * 4;
}

static void fill(tensor *t)
{
    for (uint64_t i = 0; i < elements(t); i++)
        put_number(t, i, draw());
}

static void put_patch(world *w, unsigned i)
{
    const fmp_create_options o = {.size = sizeof o, .set_values = i == 1};
    fmp_error err;
    fmp_store *t;

    put_model(&w->tuned[i], "tuned", false);
    t = open_store(at("tuned"));
    assert_status(fmp_create(w->store, t, at(parent_names[i]), &o, NULL, &err), FMP_OK, &err);
    fmp_store_close(t);
    w->p[i] = open_patch(at(parent_names[i]));
}

/* Parent 0 changes a little, parent 1 a third as set values, parent 2 everything in one tensor. */
static void make_world(world *w, const char *dtype)
{
    memset(w, 0, sizeof *w);
    rng_seed((uint64_t)dtype[0] * 31 + (uint64_t)dtype[1]);
    fill(model_add(&w->base, "a.weight", dtype, 2, 600, 1100)); /* up to six leaves */
    fill(model_add(&w->base, "b.bias", dtype, 1, 77, 0));
    model_add(&w->base, "steps", "I64", 1, 3, 0);
    put_model(&w->base, "base", false);
    w->store = open_store(at("base"));
    for (unsigned i = 0; i < N_PARENTS; i++) {
        model_copy(&w->base, &w->tuned[i]);
        for (unsigned k = 0; k < 2; k++) {
            tensor *t = &w->tuned[i].t[k];

            for (uint64_t e = 0; e < elements(t); e++) {
                if (i == 2 ? k == 1 : roll(i == 0 ? 50 : 3) == 0)
                    put_number(t, e, number_at(t, e) + draw() / 8);
            }
        }
        put_patch(w, i);
    }
    for (unsigned i = 0; i < N_PARENTS; i++) {
        model s = {.n = 0};

        for (unsigned k = 0; k < 2; k++) {
            tensor *t = model_add(&s, w->base.t[k].name, "F32", w->base.t[k].rank,
                                  w->base.t[k].shape[0], w->base.t[k].shape[1]);

            for (uint64_t e = 0; e < elements(t); e++)
                put_number(t, e, fabs(draw()));
        }
        put_model(&s, "s", false);
        model_free(&s);
        assert_int_equal(rename(at("s"), at(i == 0 ? "s0" : i == 1 ? "s1" : "s2")), 0);
        w->score_store[i] = open_store(at(i == 0 ? "s0" : i == 1 ? "s1" : "s2"));
    }
}

static void drop_world(world *w)
{
    for (unsigned i = 0; i < N_PARENTS; i++) {
        fmp_patch_close(w->p[i]);
        fmp_store_close(w->score_store[i]);
        model_free(&w->tuned[i]);
        remove_tree(parent_names[i]);
    }
    fmp_store_close(w->store);
    model_free(&w->base);
}

static double *numbers_of(const tensor *t)
{
    double *d = malloc(elements(t) * sizeof *d + 8);

    assert_non_null(d);
    for (uint64_t i = 0; i < elements(t); i++)
        d[i] = number_at(t, i);
    return d;
}

static double *scores_of(const world *w, unsigned i, const tensor *like)
{
    const uint32_t t = fmp_store_find(w->score_store[i], like->name, strlen(like->name));
    const uint64_t n = elements(like);
    double *d = malloc(n * sizeof *d + 8);
    float *f = malloc(n * sizeof *f + 8);
    fmp_error err;

    assert_true(d && f);
    assert_status(fmp_store_read(w->score_store[i], t, 0, f, n * sizeof *f, &err), FMP_OK, &err);
    for (uint64_t k = 0; k < n; k++)
        d[k] = f[k];
    free(f);
    return d;
}

/* Bits that an element must have, given what the formula says. */
static uint64_t want_bits(const world *w, unsigned k, size_t n_parents, uint64_t e, double merged)
{
    const tensor *b = &w->base.t[k];
    const unsigned width = b->dtype->width / 8u;
    unsigned n = 0;
    unsigned one = 0;
    uint64_t bits = 0;

    for (unsigned i = 0; i < n_parents; i++) {
        if (memcmp(w->tuned[i].t[k].data + e * width, b->data + e * width, width) == 0)
            continue;
        n++;
        one = i;
    }
    if (merged == number_at(b, e))
        memcpy(&bits, b->data + e * width, width);
    else if (n == 1 && merged == number_at(&w->tuned[one].t[k], e))
        memcpy(&bits, w->tuned[one].t[k].data + e * width, width);
    else
        bits = fmp_value_round(fmp_value_kind_of(b->dtype->name), merged);
    return bits;
}

static void check_tensor(const world *w, unsigned k, const fmp_merge_options *o, size_t n_parents,
                         const fmp_store *made)
{
    const tensor *b = &w->base.t[k];
    const unsigned width = b->dtype->width / 8u;
    const uint32_t at_made = fmp_store_find(made, b->name, strlen(b->name));
    double *base = numbers_of(b);
    double *out = malloc(elements(b) * sizeof *out + 8);
    double *tuned[N_PARENTS] = {NULL}, *scores[N_PARENTS] = {NULL};
    uint8_t *bytes = malloc(b->len + 8);
    fmp_error err;

    assert_true(out && bytes);
    for (unsigned i = 0; i < n_parents; i++) {
        tuned[i] = numbers_of(&w->tuned[i].t[k]);
        scores[i] = scores_of(w, i, b);
    }
    assert_status(fmp_merge_values(o, b->name, n_parents, base, (const double *const *)tuned,
                                   (const double *const *)scores, elements(b), out, &err),
                  FMP_OK, &err);
    assert_status(fmp_store_read(made, at_made, 0, bytes, b->len, &err), FMP_OK, &err);
    for (uint64_t e = 0; e < elements(b); e++) {
        const uint64_t want = want_bits(w, k, n_parents, e, out[e]);

        if (memcmp(bytes + e * width, &want, width) != 0)
            fail_msg("method %d, %s, \"%s\", element %llu: expected %llx", (int)o->method,
                     b->dtype->name, b->name, (unsigned long long)e, (unsigned long long)want);
    }
    for (unsigned i = 0; i < n_parents; i++) {
        free(tuned[i]);
        free(scores[i]);
    }
    free(base);
    free(out);
    free(bytes);
}

static void check_merge(const world *w, fmp_merge_options o, size_t n_parents)
{
    const fmp_create_options out = {.size = sizeof out, .n_threads = 1 + roll(3), .replace = true};
    const fmp_store *const scores[] = {w->score_store[0], w->score_store[1], w->score_store[2]};
    const fmp_patch *const p[] = {w->p[0], w->p[1], w->p[2]};
    fmp_patch *merged;
    fmp_store *made;
    fmp_error err;

    o.size = sizeof o;
    o.scores = o.method == FMP_MERGE_FISHER ? scores : NULL;
    assert_status(fmp_merge(w->store, p, n_parents, at("merged.fmp"), &o, &out, NULL, &err), FMP_OK,
                  &err);
    merged = open_patch(at("merged.fmp"));
    assert_status(
        fmp_apply(w->store, (const fmp_patch *const *)&merged, 1, at("made"), NULL, NULL, &err),
        FMP_OK, &err);
    made = open_store(at("made"));
    for (unsigned k = 0; k < 2; k++)
        check_tensor(w, k, &o, n_parents, made);
    fmp_store_close(made);
    fmp_patch_close(merged);
    remove_tree("made");
}

static void test_streaming(void **state)
{
    static const double w3[N_PARENTS] = {0.5, 0.3, 0.2};

    (void)state;
    for (unsigned f = 0; f < sizeof floats / sizeof *floats; f++) {
        world w;

        make_world(&w, floats[f]);
        for (int m = FMP_MERGE_LINEAR; m <= FMP_MERGE_FISHER; m++) {
            fmp_merge_options o = {.method = (fmp_merge_method)m,
                                   .weights = w3,
                                   .lambda = {true, 0.7},
                                   .density = {true, 0.1},
                                   .gamma = {true, 0.003},
                                   .ties = FMP_TIES_PEFT,
                                   .seed = 11,
                                   .no_norm = true};

            check_merge(&w, o, m == FMP_MERGE_SLERP ? 2 : 3);
            o.ties = FMP_TIES_MERGEKIT;
            o.rescale = FMP_RESCALE_NONE;
            o.density.value = 0.5;
            if (m == FMP_MERGE_TIES || m == FMP_MERGE_DARE_TIES)
                check_merge(&w, o, 3);
        }
        drop_world(&w);
    }
}

/* The paper's TIES trims all tensors as one: with one tensor the two must agree. */
static void test_streaming_paper(void **state)
{
    static const double densities[] = {1, 0.3, 0.02, 0.0001};
    world w;

    (void)state;
    make_world(&w, "BF16"); /* many magnitudes are equal */
    for (unsigned i = 0; i < N_PARENTS; i++)
        memcpy(w.tuned[i].t[1].data, w.base.t[1].data, w.base.t[1].len);
    for (unsigned i = 0; i < N_PARENTS; i++) {
        fmp_patch_close(w.p[i]);
        remove_tree(parent_names[i]);
        model_drop(&w.tuned[i], 1);
    }
    fmp_store_close(w.store);
    model_drop(&w.base, 1);
    put_model(&w.base, "base", false);
    w.store = open_store(at("base"));
    for (unsigned i = 0; i < N_PARENTS; i++)
        put_patch(&w, i);
    for (unsigned d = 0; d < 4; d++) {
        const fmp_merge_options o = {
            .method = FMP_MERGE_TIES, .density = {true, densities[d]}, .lambda = {true, 1.5}};
        const fmp_create_options out = {.size = sizeof out, .replace = true};
        fmp_merge_options how = o;
        fmp_patch *merged;
        fmp_store *made;
        fmp_error err;

        how.size = sizeof how;
        assert_status(fmp_merge(w.store, (const fmp_patch *const *)w.p, 3, at("merged.fmp"), &how,
                                &out, NULL, &err),
                      FMP_OK, &err);
        merged = open_patch(at("merged.fmp"));
        assert_status(
            fmp_apply(w.store, (const fmp_patch *const *)&merged, 1, at("made"), NULL, NULL, &err),
            FMP_OK, &err);
        made = open_store(at("made"));
        check_tensor(&w, 0, &how, 3, made);
        fmp_store_close(made);
        fmp_patch_close(merged);
        remove_tree("made");
    }
    drop_world(&w);
}

static void test_threads(void **state)
{
    const fmp_merge_options o = {.size = sizeof o,
                                 .method = FMP_MERGE_DARE_TIES,
                                 .density = {true, 0.5},
                                 .rescale = FMP_RESCALE_L1};
    world w;

    (void)state;
    make_world(&w, "F32");
    for (unsigned n = 1; n < 8; n += 2) {
        const fmp_create_options out = {.size = sizeof out, .n_threads = n};
        fmp_error err;

        assert_status(fmp_merge(w.store, (const fmp_patch *const *)w.p, 3,
                                at(n == 1 ? "one.fmp" : "many.fmp"), &o, &out, NULL, &err),
                      FMP_OK, &err);
        if (n > 1) {
            assert_same_file(at("one.fmp"), at("many.fmp"));
            remove_tree("many.fmp");
        }
    }
    remove_tree("one.fmp");
    drop_world(&w);
}

/* ---- what is no arithmetic --------------------------------------------------------------------
 */

static fmp_status merge(const world *w, size_t n, int integers, int added, fmp_error *err)
{
    const fmp_merge_options o = {.size = sizeof o, .integers = integers, .added = added};
    const fmp_create_options out = {.size = sizeof out, .replace = true};

    return fmp_merge(w->store, (const fmp_patch *const *)w->p, n, at("merged.fmp"), &o, &out, NULL,
                     err);
}

static fmp_store *apply_merged(const world *w)
{
    fmp_patch *p = open_patch(at("merged.fmp"));
    fmp_error err;

    remove_tree("made");
    assert_status(
        fmp_apply(w->store, (const fmp_patch *const *)&p, 1, at("made"), NULL, NULL, &err), FMP_OK,
        &err);
    fmp_patch_close(p);
    return open_store(at("made"));
}

static void make_small_world(world *w)
{
    memset(w, 0, sizeof *w);
    rng_seed(3);
    fill(model_add(&w->base, "a", "F32", 1, 40, 0));
    model_add(&w->base, "steps", "I64", 1, 3, 0);
    put_model(&w->base, "base", false);
    w->store = open_store(at("base"));
    for (unsigned i = 0; i < N_PARENTS; i++) {
        model_copy(&w->base, &w->tuned[i]);
        put_number(&w->tuned[i].t[0], 7 + i, 9);
    }
}

static void test_integers(void **state)
{
    uint8_t steps[24];
    fmp_store *made;
    fmp_error err;
    world w;

    (void)state;
    make_small_world(&w);
    w.tuned[1].t[1].data[0] ^= 5;
    w.tuned[2].t[1].data[8] ^= 5;
    for (unsigned i = 0; i < N_PARENTS; i++)
        put_patch(&w, i);
    assert_status(merge(&w, 3, 0, 0, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "\"steps\" of I64"));
    assert_false(exists("merged.fmp"));
    assert_status(merge(&w, 1, 0, 0, &err), FMP_OK, &err); /* nobody changes it */
    for (int rule = -1; rule <= 3; rule++) {
        const unsigned from = rule == -1 ? 1 : (unsigned)rule - 1;

        if (rule == 0)
            continue;
        assert_status(merge(&w, 3, rule, 0, &err), FMP_OK, &err);
        made = apply_merged(&w);
        assert_status(fmp_store_read(made, fmp_store_find(made, "steps", 5), 0, steps, 24, &err),
                      FMP_OK, &err);
        assert_memory_equal(steps, w.tuned[from].t[1].data, 24);
        fmp_store_close(made);
    }
    assert_status(merge(&w, 3, 4, 0, &err), FMP_EUSAGE, &err);
    drop_world(&w);
    remove_tree("merged.fmp");
}

static void test_added(void **state)
{
    fmp_store *made;
    fmp_error err;
    world w;

    (void)state;
    make_small_world(&w);
    fill(model_add(&w.tuned[0], "head", "F32", 1, 5, 0));
    fill(model_add(&w.tuned[2], "head", "F32", 2, 4, 4));
    for (unsigned i = 0; i < N_PARENTS; i++)
        put_patch(&w, i);
    assert_status(merge(&w, 3, 0, 0, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "\"head\""));
    assert_status(merge(&w, 3, 0, -1, &err), FMP_OK, &err);
    made = apply_merged(&w);
    assert_int_equal(fmp_store_tensor_count(made), 2);
    fmp_store_close(made);
    assert_status(merge(&w, 3, 0, 3, &err), FMP_OK, &err);
    made = apply_merged(&w);
    assert_int_equal(fmp_store_tensor(made, fmp_store_find(made, "head", 4)).n_elements, 16);
    fmp_store_close(made);
    assert_status(merge(&w, 3, 0, 2, &err), FMP_OK, &err); /* adds nothing */
    drop_world(&w);
    remove_tree("merged.fmp");
    remove_tree("made");
}

static void test_refused(void **state)
{
    fmp_error err;
    fmp_store *other;
    world w;

    (void)state;
    make_small_world(&w);
    model_drop(&w.tuned[2], 1);
    for (unsigned i = 0; i < N_PARENTS; i++)
        put_patch(&w, i);
    assert_status(merge(&w, 2, 0, 0, &err), FMP_OK, &err);
    assert_status(merge(&w, 3, 0, 0, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "\"steps\" is removed"));
    remove_tree("merged.fmp");
    w.base.t[0].data[3] ^= 1; /* another base of the same shapes */
    put_model(&w.base, "other", false);
    other = w.store;
    w.store = open_store(at("other"));
    assert_status(merge(&w, 2, 0, 0, &err), FMP_EBASE, &err);
    assert_non_null(strstr(err.text, "tensor \"a\" differs"));
    assert_false(exists("merged.fmp"));
    fmp_store_close(other);
    drop_world(&w);
}

/* -0 and NaN survive where nothing happens to them, and where one parent puts them. */
static void test_odd_numbers(void **state)
{
    const uint32_t odd[] = {0x80000000, 0x7fc12345, 0xff800001, 0x7f800000, 0x00000001};
    fmp_store *made;
    uint32_t got[40];
    fmp_error err;
    world w;

    (void)state;
    make_small_world(&w);
    memcpy(w.base.t[0].data, odd, sizeof odd);
    put_model(&w.base, "base", false);
    fmp_store_close(w.store);
    w.store = open_store(at("base"));
    for (unsigned i = 0; i < N_PARENTS; i++)
        memcpy(w.tuned[i].t[0].data, odd, sizeof odd);
    memcpy(w.tuned[0].t[0].data + 20 * 4, odd, sizeof odd);
    for (unsigned i = 0; i < N_PARENTS; i++)
        put_patch(&w, i);
    for (int m = 1; m < 3; m++) {
        const fmp_merge_options o = {.size = sizeof o,
                                     .method = m == 1 ? FMP_MERGE_TASK_ARITHMETIC : FMP_MERGE_RAM};
        const fmp_create_options out = {.size = sizeof out, .replace = true};

        assert_status(fmp_merge(w.store, (const fmp_patch *const *)w.p, 3, at("merged.fmp"), &o,
                                &out, NULL, &err),
                      FMP_OK, &err);
        made = apply_merged(&w);
        assert_status(fmp_store_read(made, fmp_store_find(made, "a", 1), 0, got, 160, &err), FMP_OK,
                      &err);
        assert_memory_equal(got, odd, sizeof odd);
        for (unsigned i = 1; i < 4; i++) /* NaN and infinity of one parent */
            assert_int_equal(got[20 + i], odd[i]);
        fmp_store_close(made);
    }
    drop_world(&w);
    remove_tree("made");
    remove_tree("merged.fmp");
}

/* ---- rounding ---------------------------------------------------------------------------------
 */

/* Every pattern is its own number's, and what lies half way goes to the even one. */
static void check_rounding(fmp_value_kind kind, unsigned bits)
{
    const uint32_t top = 1u << (bits - 1);

    for (uint32_t x = 0; x < 1u << bits; x++) {
        const double d = fmp_value(kind, x);
        const double next = (x & (top - 1)) == top - 1 ? (double)NAN : fmp_value(kind, x + 1);
        const double middle = d / 2 + next / 2;

        if (isnan(d)) {
            assert_true(isnan(fmp_value(kind, fmp_value_round(kind, d))));
            continue;
        }
        assert_int_equal(fmp_value_round(kind, d), x);
        if (isnan(next) || isinf(next) || isinf(d))
            continue;
        assert_int_equal(fmp_value_round(kind, middle), x & 1 ? x + 1 : x);
        assert_int_equal(fmp_value_round(kind, nextafter(middle, d)), x);
        assert_int_equal(fmp_value_round(kind, nextafter(middle, next)), x + 1);
    }
}

static void test_rounding(void **state)
{
    (void)state;
    check_rounding(FMP_VALUE_BF16, 16);
    check_rounding(FMP_VALUE_F16, 16);
    check_rounding(FMP_VALUE_E5M2, 8);
    check_rounding(FMP_VALUE_E4M3, 8);
    assert_int_equal(fmp_value_round(FMP_VALUE_F16, 65519.99), 0x7bff);
    assert_int_equal(fmp_value_round(FMP_VALUE_F16, 65520), 0x7c00);
    assert_int_equal(fmp_value_round(FMP_VALUE_BF16, -1e300), 0xff80);
    assert_int_equal(fmp_value_round(FMP_VALUE_BF16, 1e-300), 0);
    assert_int_equal(fmp_value_round(FMP_VALUE_E4M3, 464), 0x7e);
    assert_int_equal(fmp_value_round(FMP_VALUE_E4M3, -464.1), 0xff);
}

/* ---- allocations ------------------------------------------------------------------------------
 */

static void test_sweep(void **state)
{
    static const fmp_merge_method methods[] = {FMP_MERGE_TIES, FMP_MERGE_FISHER, FMP_MERGE_RAM};
    world w;

    (void)state;
    make_small_world(&w);
    fill(model_add(&w.tuned[1], "head", "F32", 1, 5, 0));
    for (unsigned i = 0; i < N_PARENTS; i++) {
        put_patch(&w, i);
        put_model(&w.base, i == 0 ? "s0" : i == 1 ? "s1" : "s2", false);
        w.score_store[i] = open_store(at(i == 0 ? "s0" : i == 1 ? "s1" : "s2"));
    }
    for (unsigned m = 0; m < 3; m++) {
        const fmp_merge_options o = {.size = sizeof o,
                                     .method = methods[m],
                                     .density = {true, 0.02},
                                     .added = 2,
                                     .scores = (const fmp_store *const *)w.score_store};
        const fmp_create_options out = {.size = sizeof out, .n_threads = 1};
        fmp_status st = FMP_ENOMEM;

        for (long k = 0; st; k++) {
            fmp_error err = {0};

            fmp_alloc_fail_at(k);
            st = fmp_merge(w.store, (const fmp_patch *const *)w.p, 3, at("merged.fmp"), &o, &out,
                           NULL, &err);
            fmp_alloc_fail_at(-1);
            if (st && st != FMP_ENOMEM)
                fail_msg("allocation %ld: %s", k, err.text);
            assert_int_equal(exists("merged.fmp"), st == FMP_OK);
            assert_true(k < 10000);
        }
        remove_tree("merged.fmp");
    }
    drop_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_ties_by_hand),
        cmocka_unit_test(test_fisher_by_hand),
        cmocka_unit_test(test_slerp_by_hand),
        cmocka_unit_test(test_dare),
        cmocka_unit_test(test_dare_lots),
        cmocka_unit_test_setup_teardown(test_streaming, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_streaming_paper, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_threads, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_integers, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_added, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_refused, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_odd_numbers, make_dir, drop_dir),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test_setup_teardown(test_sweep, make_dir, drop_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
