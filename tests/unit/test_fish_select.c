/*
 * Selection is exact: in every scope, the elements are those that sorting everything would give, as
 * many as were asked for, for any number of threads.
 */
#include "select_support.h"

#include "score/glob.h"

/* ---- scopes -----------------------------------------------------------------------------------
 */

static void check_scope(const fmp_store *scores, const float *values, fish_select_options o)
{
    naive s;
    fish_mask *m, *again;

    naive_init(&s, values, true);
    for (uint64_t e = 0; o.reversed && e < model_elements(); e++)
        s.scores[e] = -s.scores[e] + 0.0;
    if (o.reversed && o.scope > FISH_PER_TENSOR)
        fail_msg("the slow way does not know reversed tiles");
    naive_select(&s, o.scope, o.block ? o.block : 16, o.k - 69);
    o.n_threads = 1;
    m = choose(scores, at("s"), o, NULL, NULL);
    assert_mask_is(m, &s);
    o.n_threads = 2;
    again = choose(scores, at("s"), o, NULL, NULL);
    assert_same_masks(m, again);
    fish_mask_free(again);
    o.n_threads = 7;
    again = choose(scores, at("s"), o, NULL, NULL);
    assert_same_masks(m, again);
    fish_mask_free(again);
    fish_mask_free(m);
    naive_free(&s);
}

static const uint64_t some_k[] = {69, 70, 1169, 30000, 279000, 281000};

static void every_scope_is_what_sorting_gives(void **state)
{
    float *values = malloc((size_t)model_elements() * sizeof *values);

    (void)state;
    assert_non_null(values);
    for (uint64_t seed = 0; seed < 2; seed++) {
        fmp_store *scores;

        (seed ? fill_smooth : fill_tied)(values, seed);
        put_model("s", values, "head.weight");
        scores = open_store(at("s"));
        for (size_t i = 0; i < sizeof some_k / sizeof some_k[0]; i++) {
            check_scope(scores, values, (fish_select_options){.k = some_k[i]});
            check_scope(scores, values, (fish_select_options){.k = some_k[i], .reversed = true});
            check_scope(scores, values,
                        (fish_select_options){.k = some_k[i], .scope = FISH_PER_TENSOR});
        }
        fmp_store_close(scores);
    }
    free(values);
}

static void every_tile_scope_is_what_sorting_gives(void **state)
{
    float *values = malloc((size_t)model_elements() * sizeof *values);
    fmp_store *scores;

    (void)state;
    assert_non_null(values);
    fill_smooth(values, 5);
    /* Some rows are equal, so that means tie; one value is infinite. */
    for (uint64_t i = 0; i < 23; i++)
        values[23 + i] = values[46 + i] = values[i];
    values[100] = (float)INFINITY;
    put_model("s", values, "head.weight");
    scores = open_store(at("s"));
    for (size_t i = 0; i < sizeof some_k / sizeof some_k[0]; i++) {
        check_scope(scores, values, (fish_select_options){.k = some_k[i], .scope = FISH_ROWS});
        check_scope(scores, values, (fish_select_options){.k = some_k[i], .scope = FISH_COLUMNS});
        check_scope(scores, values, (fish_select_options){.k = some_k[i], .scope = FISH_BLOCKS});
        check_scope(scores, values,
                    (fish_select_options){.k = some_k[i], .scope = FISH_BLOCKS, .block = 7});
    }
    fmp_store_close(scores);
    free(values);
}

/* Reversing turns the order of tiles over: with no ties, selecting n and n reversed of the rest
 * share nothing and make up all. */
static void reversed_tiles_are_the_rest(void **state)
{
    static const fish_scope scopes[] = {FISH_ROWS, FISH_COLUMNS, FISH_BLOCKS};
    float *values = malloc((size_t)model_elements() * sizeof *values);
    fmp_store *scores;

    (void)state;
    assert_non_null(values);
    fill_smooth(values, 6);
    put_model("s", values, NULL);
    scores = open_store(at("s"));
    for (size_t i = 0; i < 3; i++) {
        fish_select_options o = {.k = 100003, .scope = scopes[i], .n_threads = 2};
        fish_mask *best = choose(scores, NULL, o, NULL, NULL), *rest, *both;
        fmp_error err;

        o.k = model_elements() - o.k;
        o.reversed = true;
        rest = choose(scores, NULL, o, NULL, NULL);
        assert_status(fish_mask_combine(best, rest, FISH_INTERSECT, &both, &err), FMP_OK, &err);
        assert_int_equal(both->n, 0);
        fish_mask_free(best);
        fish_mask_free(rest);
        fish_mask_free(both);
    }
    fmp_store_close(scores);
    free(values);
}

/* ---- how many ---------------------------------------------------------------------------------
 */

/* fish.md 4.2: the sum of popcounts equals int(P * ratio) exactly. */
static void popcount_is_int_p_times_ratio(void **state)
{
    static const double ratios[] = {0.0003, 0.001, 0.005, 0.025, 0.1, 0.29, 0.3, 0.7, 0.999, 1.0};
    float *values = malloc((size_t)model_elements() * sizeof *values);
    fmp_store *scores;

    (void)state;
    assert_non_null(values);
    fill_tied(values, 3);
    put_model("s", values, "head.weight");
    scores = open_store(at("s"));
    for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
        for (unsigned scope = FISH_GLOBAL; scope <= FISH_BLOCKS; scope++) {
            fish_mask *m =
                choose(scores, at("s"),
                       (fish_select_options){
                           .ratio = ratios[i], .scope = (fish_scope)scope, .n_threads = 2},
                       NULL, NULL);

            check_mask(m);
            assert_int_equal(m->n, (uint64_t)((double)model_elements() * ratios[i]));
            for (uint32_t t = 0; t < m->n_tensors; t++) {
                assert_int_equal(m->tensors[t].head, !strcmp(m->tensors[t].name, "head.weight"));
                assert_true(!m->tensors[t].head || m->tensors[t].full);
            }
            fish_mask_free(m);
        }
    }
    fmp_store_close(scores);
    free(values);
}

static void ties_and_zeros_are_counted(void **state)
{
    float *values = calloc((size_t)model_elements(), sizeof *values);
    fish_select_options o = {.k = 5, .n_threads = 2};
    uint64_t ties, zeros;
    fmp_store *scores;

    (void)state;
    assert_non_null(values);
    values[10] = values[20] = 3.0f;
    values[30] = values[40] = values[50] = values[60] = 2.0f;
    put_model("s", values, NULL);
    scores = open_store(at("s"));
    fish_mask_free(choose(scores, NULL, o, &ties, &zeros));
    assert_int_equal(ties, 4);
    assert_int_equal(zeros, 0);
    o.k = 10;
    fish_mask_free(choose(scores, NULL, o, &ties, &zeros));
    assert_int_equal(ties, model_elements() - 6);
    assert_int_equal(zeros, 4);
    o.reversed = true;
    fish_mask_free(choose(scores, NULL, o, &ties, &zeros));
    assert_int_equal(zeros, 10);
    o.k = model_elements();
    fish_mask_free(choose(scores, NULL, o, &ties, &zeros));
    assert_int_equal(ties, 2);
    assert_int_equal(zeros, model_elements() - 6);
    fmp_store_close(scores);
    free(values);
}

/* More bytes, more elements; and the estimate is never above what was asked for. */
static void bytes_give_a_number(void **state)
{
    float *values = malloc((size_t)model_elements() * sizeof *values);
    uint64_t last = 0;
    fmp_store *scores;

    (void)state;
    assert_non_null(values);
    fill_smooth(values, 3);
    put_model("s", values, "head.weight");
    scores = open_store(at("s"));
    for (uint64_t bytes = 2000; bytes < 4000000; bytes *= 2) {
        fish_mask *m = choose(scores, at("s"), (fish_select_options){.bytes = bytes}, NULL, NULL);

        check_mask(m);
        assert_true(m->n > last || m->n == model_elements());
        assert_true(m->n == model_elements() || (double)(m->n - 69) * 2.65 < (double)bytes);
        last = m->n;
        fish_mask_free(m);
    }
    assert_int_equal(last, model_elements());
    fmp_store_close(scores);
    free(values);
}

/* ---- refusals ---------------------------------------------------------------------------------
 */

static void what_is_no_score_is_named(void **state)
{
    static const float bad[] = {(float)NAN, -(float)NAN, -1.0f, -1e-45f, -(float)INFINITY};
    static const uint64_t places[] = {0, 850, 851, 851 + 262143, 851 + 262144, 281550};
    float *values = malloc((size_t)model_elements() * sizeof *values);

    (void)state;
    assert_non_null(values);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t k = 0; k < sizeof places / sizeof places[0]; k++) {
            const uint64_t in = places[k] < 851 ? places[k] : places[k] - 851;
            char text[100];
            fmp_store *scores;

            fill_tied(values, 1);
            values[places[k]] = bad[i];
            put_model("s", values, NULL);
            scores = open_store(at("s"));
            snprintf(text, sizeof text, "\"%s\": element %llu is %s",
                     places[k] < 851 ? "m.weight" : "m.wide", (unsigned long long)in,
                     i < 2 ? "NaN" : "negative");
            refuse_select(scores, (fish_select_options){.k = 9, .n_threads = 2}, FMP_ECORRUPT,
                          text);
            refuse_select(scores, (fish_select_options){.k = 9, .scope = FISH_ROWS, .n_threads = 2},
                          FMP_ECORRUPT, text);
            refuse_select(scores, (fish_select_options){.ratio = 1.0}, FMP_ECORRUPT, text);
            fmp_store_close(scores);
        }
    }
    free(values);
}

static void senseless_requests_are_refused(void **state)
{
    static const char *const none[] = {"*.nosuch"};
    static const char *const wide[] = {"*.wide"};
    float *values = malloc((size_t)model_elements() * sizeof *values);
    fmp_store *scores;

    (void)state;
    assert_non_null(values);
    fill_tied(values, 1);
    put_model("s", values, "head.weight");
    scores = open_store(at("s"));
    refuse_select(scores, (fish_select_options){.k = 68}, FMP_EUSAGE, "the head alone has 69");
    refuse_select(scores, (fish_select_options){.k = model_elements() + 1}, FMP_EUSAGE, "only");
    refuse_select(scores, (fish_select_options){.k = model_elements(), .deny = wide, .n_deny = 1},
                  FMP_EUSAGE, "only");
    refuse_select(scores, (fish_select_options){.k = 0}, FMP_EUSAGE, "nothing");
    refuse_select(scores, (fish_select_options){.ratio = 1e-9}, FMP_EUSAGE, "nothing");
    refuse_select(scores, (fish_select_options){.ratio = 1.01}, FMP_EUSAGE, "ratio");
    refuse_select(scores, (fish_select_options){.ratio = -0.1}, FMP_EUSAGE, "ratio");
    refuse_select(scores, (fish_select_options){.ratio = NAN}, FMP_EUSAGE, "ratio");
    refuse_select(scores, (fish_select_options){.bytes = 100}, FMP_EUSAGE, "bytes");
    refuse_select(scores, (fish_select_options){.k = 99, .allow = none, .n_allow = 1}, FMP_EUSAGE,
                  "*.nosuch");
    refuse_select(scores, (fish_select_options){.k = 99, .deny = none, .n_deny = 1}, FMP_EUSAGE,
                  "*.nosuch");
    refuse_select(scores, (fish_select_options){.k = 99, .head = none, .n_head = 1}, FMP_EUSAGE,
                  "*.nosuch");
    refuse_select(scores, (fish_select_options){.k = 99, .source = "fisch"}, FMP_EUSAGE, "fisch");
    refuse_select(scores, (fish_select_options){.k = 99, .source = "magnitude"}, FMP_EUSAGE,
                  "model");
    refuse_select(scores, (fish_select_options){.k = 99, .source = "delta", .model = scores},
                  FMP_EUSAGE, "tuned");
    refuse_select(NULL, (fish_select_options){.k = 99, .model = scores}, FMP_EUSAGE, "score file");
    refuse_select(NULL, (fish_select_options){.k = 99, .source = "random"}, FMP_EUSAGE, "model");
    refuse_select(scores, (fish_select_options){.k = 99, .scope = FISH_BLOCKS, .block = 1},
                  FMP_EUSAGE, "blocks");
    refuse_select(scores, (fish_select_options){.k = 99, .scope = (fish_scope)5}, FMP_EUSAGE,
                  "scope");
    fmp_store_close(scores);
    put_model("s", values, "head.weight\nlost.weight");
    scores = open_store(at("s"));
    refuse_select(scores, (fish_select_options){.k = 99}, FMP_ECORRUPT, "lost.weight");
    fmp_store_close(scores);
    free(values);
}

/* ---- names ------------------------------------------------------------------------------------
 */

static void globs_open_and_close_tensors(void **state)
{
    static const char *const allow[] = {"m.*", "c.kernel"}, *const deny[] = {"*.wide"};
    static const char *const head[] = {"?.bias", "head.*"};
    float *values = malloc((size_t)model_elements() * sizeof *values);
    fmp_store *scores;
    fish_mask *m;

    (void)state;
    assert_non_null(values);
    fill_smooth(values, 1);
    put_model("s", values, "head.weight");
    scores = open_store(at("s"));
    m = choose(scores, at("s"),
               (fish_select_options){
                   .k = 69 + 851 + 100, .allow = allow, .n_allow = 2, .deny = deny, .n_deny = 1},
               NULL, NULL);
    check_mask(m);
    assert_int_equal(m->n, 69 + 851 + 100);
    assert_int_equal(count_in(m, "m.wide") + count_in(m, "a.bias") + count_in(m, "z.scalar"), 0);
    assert_int_equal(count_in(m, "m.weight") + count_in(m, "c.kernel"), 951);
    assert_int_equal(count_in(m, "head.weight"), 69);
    fish_mask_free(m);
    /* Globs of the head take the place of the metadata, and win over deny. */
    m = choose(scores, at("s"),
               (fish_select_options){.k = 88, .head = head, .n_head = 2, .deny = head, .n_deny = 2},
               NULL, NULL);
    assert_int_equal(count_in(m, "a.bias"), 19);
    assert_int_equal(count_in(m, "head.weight"), 69);
    fish_mask_free(m);
    m = choose(scores, at("s"), (fish_select_options){.k = 30, .head = head, .n_head = 1}, NULL,
               NULL);
    assert_int_equal(count_in(m, "a.bias"), 19);
    assert_false(m->tensors[4].head); /* head.weight is none now */
    fish_mask_free(m);
    fmp_store_close(scores);
    free(values);
}

static void globs_match_as_a_shell_does(void **state)
{
    (void)state;
    assert_true(fish_glob_match("*", "a.b.c"));
    assert_true(fish_glob_match("a.*.c", "a.b/b.c"));
    assert_true(fish_glob_match("layer.[0-3].*", "layer.2.weight"));
    assert_false(fish_glob_match("layer.[0-3].*", "layer.4.weight"));
    assert_false(fish_glob_match("bias", "a.bias"));
    assert_false(fish_glob_any(NULL, 0, "a"));
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static void every_failed_allocation_is_survived(void **state)
{
    float *values = malloc((size_t)model_elements() * sizeof *values);
    fmp_store *scores;

    (void)state;
    assert_non_null(values);
    fill_smooth(values, 1);
    put_model("s", values, "head.weight");
    scores = open_store(at("s"));
    for (unsigned scope = FISH_GLOBAL; scope <= FISH_BLOCKS; scope++) {
        const fish_select_options o = {
            .size = sizeof o, .k = 1234, .scope = (fish_scope)scope, .n_threads = 1};
        fmp_status st = FMP_ENOMEM;

        for (long k = 0; st; k++) {
            fish_mask *m = NULL;
            fmp_error err;

            fish_alloc_fail_at(k);
            st = fish_select(scores, at("s"), &o, &m, NULL, NULL, &err);
            fish_alloc_fail_at(-1);
            if (st)
                assert_status(st, FMP_ENOMEM, &err);
            assert_int_equal(!st, m != NULL);
            fish_mask_free(m);
            assert_in_range(k, 0, 1000);
        }
    }
    fmp_store_close(scores);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scope_is_what_sorting_gives),
        cmocka_unit_test(every_tile_scope_is_what_sorting_gives),
        cmocka_unit_test(reversed_tiles_are_the_rest),
        cmocka_unit_test(popcount_is_int_p_times_ratio),
        cmocka_unit_test(ties_and_zeros_are_counted),
        cmocka_unit_test(bytes_give_a_number),
        cmocka_unit_test(what_is_no_score_is_named),
        cmocka_unit_test(senseless_requests_are_refused),
        cmocka_unit_test(globs_open_and_close_tensors),
        cmocka_unit_test(globs_match_as_a_shell_does),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
