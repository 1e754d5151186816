/*
 * Where scores come from: each source ranks as its definition says, and checkpoints must fit.
 */
#include "select_support.h"

#include "score/sources.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_numbers_are_those_of_the_seed),
        cmocka_unit_test(weights_are_scores),
        cmocka_unit_test(sixteen_bit_weights_are_widened_exactly),
        cmocka_unit_test(bias_is_every_bias_or_the_best_of_them),
        cmocka_unit_test(checkpoints_must_fit_each_other),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
