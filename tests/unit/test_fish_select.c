/*
 * Selection is exact: whatever scope and source, the elements are those that sorting everything
 * would give, as many as were asked for, for any number of threads.
 */
#include "score_support.h"

#include "score/glob.h"
#include "score/sources.h"

/* ---- the slow way -----------------------------------------------------------------------------
 */

typedef struct ranked {
    double score;
    uint64_t order; /* tensor in order of names, then index */
} ranked;

static int by_rank(const void *a, const void *b)
{
    const ranked *x = a;
    const ranked *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->order < y->order ? -1 : x->order > y->order;
}

typedef struct naive {
    uint32_t n; /* tensors in order of names */
    const fish_tensor_desc *desc[MODEL_TENSORS];
    uint64_t first[MODEL_TENSORS + 1]; /* number of the first element, in order of names */
    uint64_t in_file[MODEL_TENSORS];   /* the same in order of the file */
    double *scores;                    /* in order of names */
    uint8_t *selected;
    bool open[MODEL_TENSORS];
} naive;

static int by_desc_name(const void *a, const void *b)
{
    const fish_tensor_desc *const *x = a;
    const fish_tensor_desc *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

/* values in the order of the file; NULL: all 0. */
static void naive_init(naive *s, const float *values, bool head)
{
    *s = (naive){.n = MODEL_TENSORS};
    s->scores = calloc(model_elements(), sizeof *s->scores);
    s->selected = calloc(model_elements(), 1);
    assert_non_null(s->scores);
    assert_non_null(s->selected);
    for (uint32_t i = 0; i < s->n; i++)
        s->desc[i] = &model_tensors[i];
    qsort(s->desc, s->n, sizeof s->desc[0], by_desc_name);
    for (uint32_t i = 0; i < s->n; i++) {
        const uint64_t n = elements_of(s->desc[i]);

        s->first[i + 1] = s->first[i] + n;
        for (const fish_tensor_desc *d = model_tensors; d != s->desc[i]; d++)
            s->in_file[i] += elements_of(d);
        for (uint64_t e = 0; values && e < n; e++)
            s->scores[s->first[i] + e] = (double)values[s->in_file[i] + e];
        s->open[i] = n && !(head && !strcmp(s->desc[i]->name, "head.weight"));
        if (n && !s->open[i])
            memset(s->selected + s->first[i], 1, n);
    }
}

static void naive_free(naive *s)
{
    free(s->scores);
    free(s->selected);
}

static uint64_t open_elements(const naive *s)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < s->n; i++)
        n += s->open[i] ? s->first[i + 1] - s->first[i] : 0;
    return n;
}

/* The budget best of tensors [from, to). */
static void naive_best(naive *s, uint32_t from, uint32_t to, uint64_t budget)
{
    ranked *all = malloc((s->first[to] - s->first[from] + 1) * sizeof *all);
    size_t n = 0;

    assert_non_null(all);
    for (uint32_t i = from; i < to; i++) {
        for (uint64_t e = s->first[i]; s->open[i] && e < s->first[i + 1]; e++)
            all[n++] = (ranked){s->scores[e], e};
    }
    assert_true(budget <= n);
    qsort(all, n, sizeof *all, by_rank);
    for (uint64_t r = 0; r < budget; r++)
        s->selected[all[r].order] = 1;
    free(all);
}

static void naive_tensors(naive *s, uint64_t budget)
{
    uint64_t quota[MODEL_TENSORS] = {0}, left = budget;
    double rest[MODEL_TENSORS];

    for (uint32_t i = 0; i < s->n; i++) {
        const uint64_t n = s->open[i] ? s->first[i + 1] - s->first[i] : 0;

        quota[i] = budget * n / open_elements(s);
        rest[i] = (double)(budget * n % open_elements(s));
        left -= quota[i];
    }
    for (; left; left--) {
        uint32_t best = 0;

        for (uint32_t i = 1; i < s->n; i++)
            best = rest[i] > rest[best] ? i : best;
        quota[best]++;
        rest[best] = -1;
    }
    for (uint32_t i = 0; i < s->n; i++)
        naive_best(s, i, i + 1, quota[i]);
}

/* The tile of an element of a tensor. */
static uint64_t tile_of(const fish_tensor_desc *d, uint64_t element, fish_scope scope,
                        uint64_t block)
{
    const uint64_t rows = d->rank > 1 ? d->shape[0] : elements_of(d);
    const uint64_t cols = elements_of(d) / rows;
    const uint64_t row = element / cols, col = element % cols;

    if (scope == FISH_BLOCKS)
        return row / block * ((cols + block - 1) / block) + col / block;
    if (d->rank < 2)
        return element;
    return scope == FISH_ROWS ? row : col;
}

typedef struct tiled {
    double mean;
    uint64_t tile;
    ranked element;
} tiled;

static int by_tile(const void *a, const void *b)
{
    const tiled *x = a;
    const tiled *y = b;

    if (x->mean != y->mean)
        return x->mean < y->mean ? 1 : -1;
    if (x->tile != y->tile)
        return x->tile < y->tile ? -1 : 1;
    return by_rank(&x->element, &y->element);
}

/* Elements by mean of their tile, then by tile, then by their own score. */
static void naive_tiles(naive *s, fish_scope scope, uint64_t block, uint64_t budget)
{
    double *sums = calloc(model_elements(), sizeof *sums); /* tile i of tensor t at first[t] + i */
    double *sizes = calloc(model_elements(), sizeof *sizes);
    tiled *all = malloc(model_elements() * sizeof *all);
    size_t n = 0;

    assert_non_null(sums);
    assert_non_null(sizes);
    assert_non_null(all);
    for (uint32_t t = 0; t < s->n; t++) {
        for (uint64_t e = s->first[t]; s->open[t] && e < s->first[t + 1]; e++) {
            const uint64_t tile = s->first[t] + tile_of(s->desc[t], e - s->first[t], scope, block);

            sums[tile] += s->scores[e];
            sizes[tile]++;
            all[n++] = (tiled){0, tile, {s->scores[e], e}};
        }
    }
    for (size_t i = 0; i < n; i++)
        all[i].mean = (double)(float)(sums[all[i].tile] / sizes[all[i].tile]);
    qsort(all, n, sizeof *all, by_tile);
    for (uint64_t i = 0; i < budget; i++)
        s->selected[all[i].element.order] = 1;
    free(all);
    free(sums);
    free(sizes);
}

static void naive_select(naive *s, fish_scope scope, uint64_t block, uint64_t budget)
{
    if (scope == FISH_GLOBAL)
        naive_best(s, 0, s->n, budget);
    else if (scope == FISH_PER_TENSOR)
        naive_tensors(s, budget);
    else
        naive_tiles(s, scope, block, budget);
}

static void assert_mask_is(const fish_mask *m, const naive *s)
{
    check_mask(m);
    assert_int_equal(m->n_tensors, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        const fish_mask_tensor *t = &m->tensors[i];
        uint64_t j = 0;

        assert_string_equal(t->name, s->desc[i]->name);
        for (uint64_t e = 0; e < t->n_elements; e++) {
            const bool in = t->full || (j < t->n && t->idx[j] == e);

            if (in != (bool)s->selected[s->first[i] + e])
                fail_msg("%s, element %llu: %d", t->name, (unsigned long long)e, in);
            j += !t->full && in;
        }
    }
}

/* ---- with one store of scores -----------------------------------------------------------------
 */

static fish_mask *choose(const fmp_store *scores, const char *path, fish_select_options o,
                         uint64_t *ties, uint64_t *zeros)
{
    fish_mask *m = NULL;
    fmp_error err;

    o.size = sizeof o;
    assert_status(fish_select(scores, path, &o, &m, ties, zeros, &err), FMP_OK, &err);
    return m;
}

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

static void refuse_select(const fmp_store *scores, fish_select_options o, fmp_status want,
                          const char *text)
{
    fish_mask *m = NULL;
    fmp_error err;

    o.size = sizeof o;
    assert_status(fish_select(scores, at("s"), &o, &m, NULL, NULL, &err), want, &err);
    assert_null(m);
    if (!strstr(err.text, text))
        fail_msg("'%s' is not in: %s", text, err.text);
}

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

static uint64_t count_in(const fish_mask *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        if (!strcmp(m->tensors[i].name, name))
            return m->tensors[i].n;
    }
    fail_msg("no tensor %s", name);
    return 0;
}

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

/* ---- sources ----------------------------------------------------------------------------------
 */

static void check_source(const naive *wanted, fish_select_options o, const fmp_store *scores,
                         uint64_t budget)
{
    naive s = *wanted;
    fish_mask *m;

    s.selected = calloc(model_elements(), 1);
    assert_non_null(s.selected);
    naive_select(&s, o.scope, 16, budget);
    o.k = budget;
    for (o.n_threads = 1; o.n_threads <= 2; o.n_threads++) {
        m = choose(scores, NULL, o, NULL, NULL);
        assert_mask_is(m, &s);
        fish_mask_free(m);
    }
    free(s.selected);
}

static void random_numbers_are_those_of_the_seed(void **state)
{
    float *values = calloc((size_t)model_elements(), sizeof *values);
    fmp_store *model;
    fish_mask *m;
    naive s;

    (void)state;
    assert_non_null(values);
    values[7] = (float)NAN; /* weights do not matter */
    put_model("m", values, NULL);
    model = open_store(at("m"));
    for (uint64_t seed = 0; seed < 2; seed++) {
        const fish_key key = fish_key_make(seed, FISH_STREAM_MASK);

        naive_init(&s, NULL, false);
        for (uint64_t e = 0; e < model_elements(); e++)
            s.scores[e] = floor(fish_random_unit(key, 0, e) * 0x1p32);
        check_source(&s, (fish_select_options){.source = "random", .model = model, .seed = seed},
                     NULL, 2000);
        check_source(&s, (fish_select_options){.source = "random", .seed = seed}, model, 200000);
        check_source(
            &s, (fish_select_options){.source = "random", .seed = seed, .scope = FISH_PER_TENSOR},
            model, 5000);
        naive_free(&s);
    }
    /* Whole rows: one number for each. */
    m = choose(model, NULL,
               (fish_select_options){.source = "random", .scope = FISH_ROWS, .k = 70000}, NULL,
               NULL);
    check_mask(m);
    assert_in_range(count_in(m, "m.wide"), 50000, 70000);
    assert_true(count_in(m, "m.wide") % 700 == 0 || count_in(m, "m.weight") % 23 == 0);
    fish_mask_free(m);
    fmp_store_close(model);
    free(values);
}

static void fill_weights(float *values, uint64_t seed)
{
    for (uint64_t i = 0; i < model_elements(); i++)
        values[i] = (float)fish_random_normal(fish_key_make(seed, FISH_STREAM_TEST), 3, i);
}

static void weights_are_scores(void **state)
{
    float *base = malloc((size_t)model_elements() * sizeof *base);
    float *tuned = malloc((size_t)model_elements() * sizeof *tuned);
    fmp_store *model, *other;
    naive s;

    (void)state;
    assert_non_null(base);
    assert_non_null(tuned);
    fill_weights(base, 1);
    fill_weights(tuned, 2);
    for (uint64_t i = 0; i < 1000; i++)
        tuned[i * 7] = base[i * 7];
    put_model("m", base, NULL);
    put_model("t", tuned, NULL);
    model = open_store(at("m"));
    other = open_store(at("t"));
    naive_init(&s, base, false);
    for (uint64_t e = 0; e < model_elements(); e++)
        s.scores[e] = fabs(s.scores[e]);
    check_source(&s, (fish_select_options){.source = "magnitude", .model = model}, NULL, 3000);
    check_source(&s, (fish_select_options){.source = "magnitude", .model = model}, other, 3000);
    check_source(&s,
                 (fish_select_options){.source = "magnitude-low", .model = model, .reversed = true},
                 NULL, 4000);
    for (uint64_t e = 0; e < model_elements(); e++)
        s.scores[e] = -s.scores[e];
    check_source(&s, (fish_select_options){.source = "magnitude-low", .model = model}, NULL, 3000);
    for (uint32_t i = 0; i < s.n; i++) {
        for (uint64_t e = s.first[i]; e < s.first[i + 1]; e++) {
            const uint64_t f = s.in_file[i] + e - s.first[i];

            s.scores[e] = (double)fabsf(tuned[f] - base[f]);
        }
    }
    check_source(&s, (fish_select_options){.source = "delta", .model = model, .tuned = other}, NULL,
                 3000);
    naive_free(&s);
    fmp_store_close(model);
    fmp_store_close(other);
    free(base);
    free(tuned);
}

/* Every bit pattern of 16-bit floats that is no NaN, against an exact conversion by ldexp(). */
static double half_value(uint32_t h)
{
    const uint32_t e = h >> 10 & 31, f = h & 1023;

    return e == 31 ? INFINITY : e ? ldexp(1024.0 + f, (int)e - 25) : ldexp(f, -24);
}

static double bfloat_value(uint32_t h)
{
    const uint32_t e = h >> 7 & 255, f = h & 127;

    return e == 255 ? INFINITY : e ? ldexp(128.0 + f, (int)e - 134) : ldexp(f, -133);
}

static void sixteen_bit_weights_are_widened_exactly(void **state)
{
    static const char *const dtypes[] = {"F16", "BF16"};

    (void)state;
    for (unsigned half = 0; half < 2; half++) {
        const uint32_t n = half ? 2 * 0x7F81 : 2 * 0x7C01; /* up to infinity, of both signs */
        const fish_tensor_desc d = {"w", dtypes[half], 1, {n}};
        const fish_select_options o = {
            .size = sizeof o, .source = "magnitude", .k = 1, .n_threads = 1};
        fish_select_options with = o;
        uint16_t *bits = malloc(n * sizeof *bits);
        uint32_t *keys = malloc(FISH_PIECE * sizeof *keys);
        fish_tensor_writer *w;
        fish_source source;
        fish_reader reader;
        fmp_error err;

        assert_non_null(bits);
        assert_non_null(keys);
        for (uint32_t i = 0; i < n; i++)
            bits[i] = (uint16_t)(i / 2 | (i & 1) << 15);
        assert_status(fish_tensor_writer_new(at("h"), true, NULL, &d, 1, &w, &err), FMP_OK, &err);
        assert_status(fish_tensor_writer_put(w, bits, n * sizeof *bits, &err), FMP_OK, &err);
        assert_status(fish_tensor_writer_commit(w, &err), FMP_OK, &err);
        with.model = open_store(at("h"));
        assert_status(fish_source_open(NULL, NULL, &with, &source, &err), FMP_OK, &err);
        assert_status(fish_reader_init(&reader, &source, &err), FMP_OK, &err);
        assert_status(fish_source_read(&source, &reader, 0, 0, n, keys, &err), FMP_OK, &err);
        for (uint32_t i = 0; i < n; i++) {
            const double want = half ? bfloat_value(i / 2) : half_value(i / 2);
            float got;

            memcpy(&got, &keys[i], sizeof got);
            assert_true((double)got == want);
        }
        fish_reader_release(&reader);
        fish_source_release(&source);
        fmp_store_close((fmp_store *)(uintptr_t)with.model);
        free(bits);
        free(keys);
    }
}

static void bias_is_every_bias_or_the_best_of_them(void **state)
{
    float *values = malloc((size_t)model_elements() * sizeof *values);
    fmp_store *model;
    fish_mask *m;

    (void)state;
    assert_non_null(values);
    fill_weights(values, 1);
    put_model("m", values, NULL);
    model = open_store(at("m"));
    m = choose(NULL, NULL, (fish_select_options){.source = "bias", .model = model}, NULL, NULL);
    assert_int_equal(m->n, 19);
    assert_int_equal(count_in(m, "a.bias"), 19);
    fish_mask_free(m);
    m = choose(NULL, NULL, (fish_select_options){.source = "bias", .model = model, .k = 4}, NULL,
               NULL);
    assert_int_equal(m->n, 4);
    assert_int_equal(count_in(m, "a.bias"), 4);
    fish_mask_free(m);
    fmp_store_close(model);
    fill_smooth(values, 1);
    put_model("s", values, "head.weight");
    model = open_store(at("s"));
    m = choose(model, at("s"), (fish_select_options){.source = "bias"}, NULL, NULL);
    assert_int_equal(m->n, 19 + 69);
    fish_mask_free(m);
    fmp_store_close(model);
    free(values);
}

static void checkpoints_must_fit_each_other(void **state)
{
    static const fish_tensor_desc other[] = {{"m.weight", "F32", 2, {23, 37}}};
    static const fish_tensor_desc odd[] = {{"m.weight", "F64", 1, {2}}, {"n", "I64", 1, {2}}};
    float *values = malloc((size_t)model_elements() * sizeof *values);
    const double two[4] = {1, 2, 3, 4};
    fish_tensor_writer *w;
    fmp_store *scores, *model;
    fmp_error err;

    (void)state;
    assert_non_null(values);
    fill_smooth(values, 1);
    put_model("s", values, NULL);
    scores = open_store(at("s"));
    assert_status(fish_tensor_writer_new(at("o"), true, NULL, other, 1, &w, &err), FMP_OK, &err);
    assert_status(fish_tensor_writer_put(w, values, 851 * 4, &err), FMP_OK, &err);
    assert_status(fish_tensor_writer_commit(w, &err), FMP_OK, &err);
    model = open_store(at("o"));
    refuse_select(scores, (fish_select_options){.k = 9, .source = "magnitude", .model = model},
                  FMP_EUSAGE, "\"a.bias\" is missing");
    refuse_select(model, (fish_select_options){.k = 9, .source = "magnitude", .model = scores},
                  FMP_EUSAGE, "another shape");
    fmp_store_close(model);
    assert_status(fish_tensor_writer_new(at("o"), true, NULL, odd, 2, &w, &err), FMP_OK, &err);
    assert_status(fish_tensor_writer_put(w, two, sizeof two, &err), FMP_OK, &err);
    assert_status(fish_tensor_writer_commit(w, &err), FMP_OK, &err);
    model = open_store(at("o"));
    refuse_select(NULL, (fish_select_options){.k = 1, .source = "magnitude", .model = model},
                  FMP_ENOTSUP, "F64");
    /* Integers do not count: two elements in all. */
    refuse_select(NULL, (fish_select_options){.k = 3, .source = "random", .model = model},
                  FMP_EUSAGE, "only 2 of 2");
    fmp_store_close(model);
    fmp_store_close(scores);
    free(values);
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
        cmocka_unit_test(random_numbers_are_those_of_the_seed),
        cmocka_unit_test(weights_are_scores),
        cmocka_unit_test(sixteen_bit_weights_are_widened_exactly),
        cmocka_unit_test(bias_is_every_bias_or_the_best_of_them),
        cmocka_unit_test(checkpoints_must_fit_each_other),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
