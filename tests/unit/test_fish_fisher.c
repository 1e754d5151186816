/*
 * train/fisher: every estimator against gradients worked out in double, example by example; the
 * same bits for any number of threads; what it refuses; the score file.
 */
#include "support.h"

#include <float.h>
#include <math.h>
#include <unistd.h>

#include "core/tensors.h"
#include "fish_toy.h"
#include "score/scores.h"
#include "train/fisher.h"
#include "train/loss.h"
#include "train/square_outer.h"

#define MOST (TOY_MAX * TOY_WIDTH)

/* The gradient of one parameter for one example. */
typedef struct gradient {
    double g[TOY_PARAMS][MOST];
} gradient;

static fish_scores *fisher(const toy *t, const fish_data *d, unsigned n_threads,
                           const fish_fisher_options *o)
{
    fish_pool *pool = NULL;
    fish_scores *s = NULL;
    fmp_error err = {.text = ""};

    assert_status(fish_pool_new(n_threads, &pool, &err), FMP_OK, &err);
    assert_status(fish_fisher(&t->model, d, pool, o, &s, &err), FMP_OK, &err);
    fish_pool_free(pool);
    return s;
}

/* The outputs of an example, in double. */
static void outputs_of(const toy *t, const float *x, double *out)
{
    for (uint32_t c = 0; c < t->model.n_outputs; c++) {
        out[c] = t->w[TOY_BIAS][c];
        for (int at = 0; at < TOY_ROWS * TOY_WIDTH; at++) {
            const int i = at % TOY_WIDTH;
            const int line = toy_line(x + at - i);
            const double h = (double)x[at] + t->w[TOY_TABLE][line * TOY_WIDTH + i];

            out[c] += (double)t->w[TOY_WEIGHT][(int)c * TOY_WIDTH + i] * t->w[TOY_SCALE][i] * h;
        }
    }
}

/* The gradient of d . outputs. */
static gradient gradient_of(const toy *t, const float *x, const double *d)
{
    gradient r = {0};

    for (uint32_t c = 0; c < t->model.n_outputs; c++) {
        r.g[TOY_BIAS][c] = d[c];
        for (int at = 0; at < TOY_ROWS * TOY_WIDTH; at++) {
            const int i = at % TOY_WIDTH;
            const int place = toy_line(x + at - i) * TOY_WIDTH + i;
            const double h = (double)x[at] + t->w[TOY_TABLE][place];
            const double w = t->w[TOY_WEIGHT][(int)c * TOY_WIDTH + i];

            r.g[TOY_WEIGHT][(int)c * TOY_WIDTH + i] += d[c] * t->w[TOY_SCALE][i] * h;
            r.g[TOY_SCALE][i] += d[c] * w * h;
            r.g[TOY_TABLE][place] += d[c] * w * t->w[TOY_SCALE][i];
        }
    }
    return r;
}

static void pixels_of(const fish_data *d, uint32_t example, float *x)
{
    fmp_error err;

    assert_status(fish_data_pixels(d, example, x, &err), FMP_OK, &err);
}

static double probabilities(const toy *t, const float *x, int32_t label, double *p)
{
    double sum = 0;

    outputs_of(t, x, p);
    for (uint32_t c = 0; c < t->model.n_outputs; c++) {
        p[c] = exp(p[c]);
        sum += p[c];
    }
    for (uint32_t c = 0; c < t->model.n_outputs; c++)
        p[c] /= sum;
    return -log(p[label]);
}

static gradient gradient_for_label(const toy *t, const float *x, const double *p, uint32_t label)
{
    double dz[TOY_MAX];

    for (uint32_t c = 0; c < t->model.n_outputs; c++)
        dz[c] = p[c] - (c == label);
    return gradient_of(t, x, dz);
}

static void add_squares(gradient *sum, const gradient *g, double weight)
{
    for (int p = 0; p < TOY_PARAMS; p++) {
        for (int i = 0; i < MOST; i++)
            sum->g[p][i] += weight * g->g[p][i] * g->g[p][i];
    }
}

/* Every score, relative to the parameter's largest. */
static void assert_scores(const toy *t, const fish_scores *s, const gradient *want,
                          double tolerance)
{
    assert_int_equal(s->n_params, TOY_PARAMS);
    assert_null(s->scores[TOY_RUNNING]);
    for (uint32_t p = 0; p < TOY_PARAMS; p++) {
        double most = 0;

        if (p == TOY_RUNNING)
            continue;
        for (size_t i = 0; i < t->params[p].n; i++)
            most = fmax(most, fabs(want->g[p][i]));
        assert_true(most > 0);
        for (size_t i = 0; i < t->params[p].n; i++) {
            if (!(fabs(s->scores[p][i] - want->g[p][i]) <= tolerance * most))
                fail_msg("%s[%zu]: %.9g, expected %.9g", t->params[p].name, i, s->scores[p][i],
                         want->g[p][i]);
        }
    }
}

static void assert_same_bits(const toy *t, const fish_scores *a, const fish_scores *b)
{
    assert_true(a->loss == b->loss);
    for (uint32_t p = 0; p < TOY_PARAMS; p++) {
        if (p != TOY_RUNNING)
            assert_memory_equal(a->scores[p], b->scores[p], t->params[p].n * sizeof(double));
    }
}

/* ---- closed forms ---------------------------------------------------------------------------- */

/* Logistic regression: F of W[c][i] = sum_n (p_c - y_c)^2 z_i^2, z the features. */
static void empirical_is_that_of_logistic_regression(void **state)
{
    const fish_fisher_options o = {.size = sizeof o};
    double want[MOST] = {0};
    double loss = 0;
    fish_data *d = toy_data(3, false);
    fish_scores *s;
    toy t;

    (void)state;
    toy_init(&t, 3);
    s = fisher(&t, d, 1, &o);
    for (uint32_t n = 0; n < TOY_IMAGES; n++) {
        float x[TOY_ROWS * TOY_WIDTH];
        double p[TOY_MAX];

        pixels_of(d, n, x);
        loss += probabilities(&t, x, fish_data_label(d, n), p) / TOY_IMAGES;
        for (int c = 0; c < 3; c++) {
            const double diff = p[c] - (c == fish_data_label(d, n));

            for (int i = 0; i < TOY_WIDTH; i++) {
                double z = 0;

                for (int r = 0; r < TOY_ROWS; r++)
                    z += (double)t.w[TOY_SCALE][i] *
                         ((double)x[r * TOY_WIDTH + i] +
                          t.w[TOY_TABLE][toy_line(x + r * TOY_WIDTH) * TOY_WIDTH + i]);
                want[c * TOY_WIDTH + i] += diff * diff * z * z;
            }
        }
    }
    for (int i = 0; i < 3 * TOY_WIDTH; i++)
        assert_true(fabs(s->scores[TOY_WEIGHT][i] - want[i]) <= 1e-5 * want[i]);
    assert_int_equal(s->n_samples, TOY_IMAGES);
    assert_true(fabs(s->loss - loss) < 1e-6);
    fish_scores_free(s);
    toy_data_free(d);
}

/* What each estimator should give over all images. */
static gradient truth(const toy *t, const fish_data *d, fish_estimator e)
{
    gradient sum = {0};
    gradient signs = {0};

    for (uint32_t n = 0; n < TOY_IMAGES; n++) {
        const uint32_t label = (uint32_t)fish_data_label(d, n);
        float x[TOY_ROWS * TOY_WIDTH];
        double p[TOY_MAX];
        gradient g;

        pixels_of(d, n, x);
        probabilities(t, x, (int32_t)label, p);
        g = gradient_for_label(t, x, p, label);
        if (e == FISH_EMPIRICAL)
            add_squares(&sum, &g, 1);
        for (uint32_t c = 0; e == FISH_EXPECTED && c < t->model.n_outputs; c++) {
            g = gradient_for_label(t, x, p, c);
            add_squares(&sum, &g, p[c]);
        }
        for (int k = 0; k < TOY_PARAMS; k++) {
            for (int i = 0; i < MOST; i++) {
                signs.g[k][i] += g.g[k][i];
                if (e == FISH_ABSOLUTE)
                    sum.g[k][i] += fabs(g.g[k][i]);
            }
        }
    }
    for (int k = 0; e == FISH_SNIP && k < TOY_PARAMS; k++) {
        for (int i = 0; i < MOST; i++)
            sum.g[k][i] = fabs(signs.g[k][i] * t->w[k][i]);
    }
    if (e == FISH_BATCH_SQUARED)
        add_squares(&sum, &signs, 1);
    return sum;
}

static void estimators_are_what_they_say(void **state)
{
    static const fish_estimator all[] = {FISH_EMPIRICAL, FISH_EXPECTED, FISH_ABSOLUTE, FISH_SNIP,
                                         FISH_BATCH_SQUARED};
    fish_data *d = toy_data(4, false);
    toy t;

    (void)state;
    toy_init(&t, 4);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        /* One batch of all for batch-squared. */
        const fish_fisher_options o = {
            .size = sizeof o, .estimator = all[k], .seed = 3, .batch_size = TOY_IMAGES};
        const gradient want = truth(&t, d, all[k]);
        fish_scores *s = fisher(&t, d, 2, &o);

        assert_scores(&t, s, &want, 2e-5);
        fish_scores_free(s);
    }
    toy_data_free(d);
}

/* With a batch of one, the squared sum of a batch is that of an example. */
static void a_batch_of_one_is_an_example(void **state)
{
    const fish_fisher_options batch = {.size = sizeof batch,
                                       .estimator = FISH_BATCH_SQUARED,
                                       .batch_size = 1,
                                       .n_samples = 20,
                                       .seed = 4};
    fish_fisher_options each = batch;
    fish_data *d = toy_data(3, false);
    fish_scores *a;
    fish_scores *b;
    toy t;

    (void)state;
    toy_init(&t, 3);
    each.estimator = FISH_EMPIRICAL;
    each.group = 1;
    a = fisher(&t, d, 1, &batch);
    b = fisher(&t, d, 1, &each);
    assert_same_bits(&t, a, b);
    fish_scores_free(a);
    fish_scores_free(b);
    toy_data_free(d);
}

/* Regression under N(output, 1): the score is value - output; its variance 1 makes the expected
 * Fisher the squared gradient of the output. */
static void regression_is_gaussian(void **state)
{
    fish_fisher_options o = {.size = sizeof o, .regression = true};
    gradient empirical = {0};
    gradient expected = {0};
    fish_data *d = toy_data(5, true);
    fish_scores *s;
    toy t;

    (void)state;
    toy_init(&t, 1);
    for (uint32_t n = 0; n < TOY_IMAGES; n++) {
        const double one = 1;
        float x[TOY_ROWS * TOY_WIDTH];
        double out;
        double diff;
        gradient g;

        pixels_of(d, n, x);
        outputs_of(&t, x, &out);
        diff = out - fish_data_value(d, n);
        g = gradient_of(&t, x, &one);
        add_squares(&empirical, &g, diff * diff);
        add_squares(&expected, &g, 1);
    }
    s = fisher(&t, d, 1, &o);
    assert_scores(&t, s, &empirical, 1e-5);
    fish_scores_free(s);
    o.estimator = FISH_EXPECTED;
    s = fisher(&t, d, 1, &o);
    assert_scores(&t, s, &expected, 1e-5);
    fish_scores_free(s);
    toy_data_free(d);
}

/* The largest relative distance over a parameter's scores between a mean of `n_seeds` sampled
 * estimates and the expected one. */
static double distance(const toy *t, const fish_data *d, bool regression, uint64_t n_seeds)
{
    fish_fisher_options o = {
        .size = sizeof o, .estimator = FISH_EXPECTED, .regression = regression};
    fish_scores *want = fisher(t, d, 1, &o);
    double mean[MOST] = {0};
    double off = 0;
    double size = 0;

    o.estimator = FISH_SAMPLED;
    for (o.seed = 1; o.seed <= n_seeds; o.seed++) {
        fish_scores *s = fisher(t, d, 1, &o);

        for (size_t i = 0; i < t->params[TOY_WEIGHT].n; i++)
            mean[i] += s->scores[TOY_WEIGHT][i] / (double)n_seeds;
        fish_scores_free(s);
    }
    for (size_t i = 0; i < t->params[TOY_WEIGHT].n; i++) {
        const double diff = mean[i] - want->scores[TOY_WEIGHT][i];

        off += diff * diff;
        size += want->scores[TOY_WEIGHT][i] * want->scores[TOY_WEIGHT][i];
    }
    fish_scores_free(want);
    return sqrt(off / size);
}

/* 64 times the labels: an eighth of the error, give or take what chance does to one draw. */
static void sampled_goes_to_expected(void **state)
{
    (void)state;
    for (int regression = 0; regression < 2; regression++) {
        fish_data *d = toy_data(3, regression);
        double few, many;
        toy t;

        toy_init(&t, regression ? 1 : 3);
        few = distance(&t, d, regression, 8);
        many = distance(&t, d, regression, 512);
        assert_true(few > 0);
        assert_true(many < few / 3);
        assert_true(many < 0.03);
        toy_data_free(d);
    }
}

/* ---- order ----------------------------------------------------------------------------------- */

static void threads_change_nothing(void **state)
{
    static const unsigned threads[] = {2, 3, 7};
    fish_data *d = toy_data(3, false);
    toy t;

    (void)state;
    toy_init(&t, 3);
    for (int e = FISH_EMPIRICAL; e <= FISH_SNIP; e++) {
        const fish_fisher_options o = {.size = sizeof o,
                                       .estimator = (fish_estimator)e,
                                       .group = 2,
                                       .batch_size = 4,
                                       .n_samples = TOY_IMAGES - 2};
        fish_scores *one = fisher(&t, d, 1, &o);

        for (size_t k = 0; k < 3; k++) {
            fish_scores *more = fisher(&t, d, threads[k], &o);

            assert_same_bits(&t, one, more);
            fish_scores_free(more);
        }
        fish_scores_free(one);
    }
    toy_data_free(d);
}

/* A group's size moves roundings, nothing more; and the sample is the same. */
static void groups_change_last_bits_only(void **state)
{
    fish_fisher_options o = {.size = sizeof o, .n_samples = 30, .seed = 9};
    fish_data *d = toy_data(3, false);
    gradient want = {0};
    fish_scores *s;
    toy t;

    (void)state;
    toy_init(&t, 3);
    s = fisher(&t, d, 2, &o);
    for (uint32_t p = 0; p < TOY_PARAMS; p++) {
        if (p != TOY_RUNNING)
            memcpy(want.g[p], s->scores[p], t.params[p].n * sizeof(double));
    }
    fish_scores_free(s);
    for (o.group = 1; o.group <= 30; o.group += 7) {
        s = fisher(&t, d, 2, &o);
        assert_scores(&t, s, &want, 1e-12);
        fish_scores_free(s);
    }
    toy_data_free(d);
}

/* Another seed is another sample. */
static void the_seed_picks_the_sample(void **state)
{
    fish_fisher_options o = {.size = sizeof o, .n_samples = 8, .seed = 1};
    fish_data *d = toy_data(3, false);
    fish_scores *a;
    fish_scores *b;
    toy t;

    (void)state;
    toy_init(&t, 3);
    a = fisher(&t, d, 1, &o);
    o.seed = 2;
    b = fisher(&t, d, 1, &o);
    assert_int_equal(a->n_samples, 8);
    assert_true(a->loss != b->loss);
    fish_scores_free(a);
    fish_scores_free(b);
    toy_data_free(d);
}

typedef struct told {
    uint64_t last, n_calls, total;
} told;

static void note(void *ctx, uint64_t done, uint64_t total, double seconds)
{
    told *t = ctx;

    assert_true(done > t->last && seconds >= 0);
    t->last = done;
    t->n_calls++;
    t->total = total;
}

static void progress_comes_in_order(void **state)
{
    told heard = {0};
    const fish_fisher_options o = {
        .size = sizeof o, .estimator = FISH_EXPECTED, .group = 4, .progress = note, .ctx = &heard};
    fish_data *d = toy_data(3, false);
    toy t;

    (void)state;
    toy_init(&t, 3);
    fish_scores_free(fisher(&t, d, 3, &o));
    assert_int_equal(heard.last, TOY_IMAGES);
    assert_int_equal(heard.total, TOY_IMAGES);
    assert_int_equal(heard.n_calls, (TOY_IMAGES + 3) / 4);
    toy_data_free(d);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static fmp_status refused(toy *t, const fish_data *d, unsigned n_threads,
                          const fish_fisher_options *o, fmp_error *err)
{
    fish_scores *const untouched = (fish_scores *)t;
    fish_scores *s = untouched;
    fish_pool *pool = NULL;
    fmp_status st;

    assert_status(fish_pool_new(n_threads, &pool, err), FMP_OK, err);
    st = fish_fisher(&t->model, d, pool, o, &s, err);
    fish_pool_free(pool);
    assert_ptr_equal(s, untouched);
    return st;
}

static void what_makes_no_sense_is_refused(void **state)
{
    fish_fisher_options o = {.size = sizeof o};
    fish_data *d = toy_data(3, false);
    fmp_error err = {.text = ""};
    toy t;

    (void)state;
    toy_init(&t, 1);
    assert_status(refused(&t, d, 1, &o, &err), FMP_EUSAGE, &err);
    toy_init(&t, 2);
    assert_status(refused(&t, d, 2, &o, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "label 2"));
    toy_init(&t, 3);
    o.regression = true;
    assert_status(refused(&t, d, 1, &o, &err), FMP_EUSAGE, &err);
    o = (fish_fisher_options){.size = sizeof o, .estimator = (fish_estimator)17};
    assert_status(refused(&t, d, 1, &o, &err), FMP_EUSAGE, &err);
    toy_data_free(d);
}

/* A model that has gone to NaN names an example, on any number of threads, and nobody waits. */
static void a_loss_that_is_none_is_refused(void **state)
{
    const fish_fisher_options o = {.size = sizeof o, .group = 3, .estimator = FISH_EXPECTED};
    fish_data *d = toy_data(3, false);
    toy t;

    (void)state;
    toy_init(&t, 3);
    t.w[TOY_TABLE][7] = NAN;
    for (unsigned n = 1; n <= 4; n++) {
        fmp_error err = {.text = ""};

        assert_status(refused(&t, d, n, &o, &err), FMP_ECORRUPT, &err);
        assert_non_null(strstr(err.text, "example"));
    }
    toy_data_free(d);
}

static void every_allocation_may_fail(void **state)
{
    const fish_fisher_options o = {.size = sizeof o, .n_samples = 10};
    fish_data *d = toy_data(3, false);
    fish_pool *pool = NULL;
    fmp_status st = FMP_ENOMEM;
    fmp_error err = {.text = ""};
    long k = 0;
    toy t;

    (void)state;
    toy_init(&t, 3);
    assert_status(fish_pool_new(1, &pool, &err), FMP_OK, &err);
    for (; st == FMP_ENOMEM; k++) {
        fish_scores *s = NULL;

        fish_alloc_fail_at(k);
        st = fish_fisher(&t.model, d, pool, &o, &s, &err);
        fish_alloc_fail_at(-1);
        assert_true(st ? s == NULL : s != NULL);
        fish_scores_free(s);
    }
    assert_status(st, FMP_OK, &err);
    assert_true(k > 20);
    fish_pool_free(pool);
    toy_data_free(d);
}

/* ---- the score file -------------------------------------------------------------------------- */

/* Names, shapes, values rounded once, and the metadata that selection reads. */
static void saved_scores_are_read_back(void **state)
{
    const fish_fisher_options o = {.size = sizeof o, .estimator = FISH_EXPECTED, .seed = 12};
    fish_data *d = toy_data(3, false);
    fmp_store *store = NULL;
    fmp_error err = {.text = ""};
    char *meta = NULL;
    fish_scores *s;
    toy t;

    (void)state;
    toy_init(&t, 3);
    s = fisher(&t, d, 1, &o);
    s->scores[TOY_BIAS][1] = 1e300; /* more than a float holds */
    assert_status(fish_scores_save(s, &t.model, d, &o, "toy.safetensors", false, &err), FMP_OK,
                  &err);
    assert_status(fish_scores_save(s, &t.model, d, &o, "toy.safetensors", false, &err), FMP_EUSAGE,
                  &err);
    assert_status(fish_tensor_metadata("toy.safetensors", &meta, &err), FMP_OK, &err);
    assert_non_null(strstr(meta, "fmpatch scores"));
    assert_non_null(strstr(meta, "\"expected\""));
    assert_non_null(strstr(meta, "\"45\""));
    assert_non_null(strstr(meta, "\"12\""));
    assert_non_null(strstr(meta, "out.weight\\nout.bias"));
    assert_non_null(strstr(meta, fish_data_digest(d)));
    fish_free(meta);
    assert_status(fmp_store_open("toy.safetensors", NULL, &store, &err), FMP_OK, &err);
    assert_int_equal(fmp_store_tensor_count(store), TOY_PARAMS - 1);
    for (uint32_t k = 0; k < fmp_store_tensor_count(store); k++) {
        const fmp_tensor_info info = fmp_store_tensor(store, k);
        float got[MOST];
        uint32_t p = 0;

        while (strcmp(t.params[p].name, info.name))
            p++;
        assert_int_equal(info.rank, t.params[p].rank);
        assert_int_equal(info.n_elements, t.params[p].n);
        assert_int_equal(info.shape[0], t.params[p].shape[0]);
        assert_status(fmp_store_read(store, k, 0, got, info.n_bytes, &err), FMP_OK, &err);
        for (size_t i = 0; i < t.params[p].n; i++)
            assert_true(got[i] == (s->scores[p][i] > FLT_MAX ? FLT_MAX : (float)s->scores[p][i]));
    }
    fmp_store_close(store);
    fish_scores_free(s);
    assert_int_equal(remove("toy.safetensors"), 0);
    toy_data_free(d);
}

static void saving_may_run_out_of_memory(void **state)
{
    fish_data *d = toy_data(3, false);
    fmp_status st = FMP_ENOMEM;
    fmp_error err = {.text = ""};
    long k = 0;
    fish_scores *s;
    toy t;

    (void)state;
    toy_init(&t, 3);
    s = fisher(&t, d, 1, NULL);
    for (; st == FMP_ENOMEM; k++) {
        fish_alloc_fail_at(k);
        st = fish_scores_save(s, &t.model, d, NULL, "toy.safetensors", false, &err);
        fish_alloc_fail_at(-1);
        assert_int_equal(access("toy.safetensors", F_OK), st ? -1 : 0);
    }
    assert_status(st, FMP_OK, &err);
    assert_true(k > 3);
    fish_scores_free(s);
    assert_int_equal(remove("toy.safetensors"), 0);
    toy_data_free(d);
}

static char dir[] = "/tmp/fish-fisher-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) && !chdir(dir) ? 0 : -1;
}

/* Fails when a test has left a file behind. */
static int remove_dir(void **state)
{
    (void)state;
    return chdir("/") || rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empirical_is_that_of_logistic_regression),
        cmocka_unit_test(estimators_are_what_they_say),
        cmocka_unit_test(a_batch_of_one_is_an_example),
        cmocka_unit_test(regression_is_gaussian),
        cmocka_unit_test(sampled_goes_to_expected),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(groups_change_last_bits_only),
        cmocka_unit_test(the_seed_picks_the_sample),
        cmocka_unit_test(progress_comes_in_order),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(a_loss_that_is_none_is_refused),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(saved_scores_are_read_back),
        cmocka_unit_test(saving_may_run_out_of_memory),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
