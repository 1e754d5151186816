/*
 * libfish's groundwork: random numbers that are a function of key and counter, items and turnstiles
 * that do not depend on threads, files that appear whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/fail.h"
#include "core/mem.h"
#include "core/par.h"
#include "core/rng.h"
#include "core/tensors.h"
#include "support.h"

/* The known answers that the authors of Philox publish with Random123 (kat_vectors). */
static void philox_gives_the_known_answers(void **state)
{
    static const uint32_t zero[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    static const uint32_t ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    static const uint32_t pi[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    uint32_t r[4];

    (void)state;
    fish_philox((fish_key){{0, 0}}, 0, 0, r);
    assert_memory_equal(r, zero, sizeof r);
    fish_philox((fish_key){{0xffffffff, 0xffffffff}}, UINT64_MAX, UINT64_MAX, r);
    assert_memory_equal(r, ones, sizeof r);
    fish_philox((fish_key){{0xa4093822, 0x299f31d0}}, 0x0370734413198a2eU, 0x85a308d3243f6a88U, r);
    assert_memory_equal(r, pi, sizeof r);
}

static void streams_of_a_seed_differ(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        const fish_key a = fish_key_make(seed, FISH_STREAM_INIT);
        const fish_key b = fish_key_make(seed, FISH_STREAM_DROPOUT);
        const fish_key c = fish_key_make(seed + 1, FISH_STREAM_INIT);

        assert_memory_not_equal(&a, &b, sizeof a);
        assert_memory_not_equal(&a, &c, sizeof a);
    }
}

static void numbers_have_the_moments_of_their_distribution(void **state)
{
    const fish_key key = fish_key_make(7, FISH_STREAM_TEST);
    double sum = 0, squares = 0, unit = 0;
    const int n = 100000;

    (void)state;
    for (int i = 0; i < n; i++) {
        const double x = fish_random_normal(key, 0, (uint64_t)i);
        const double u = fish_random_unit(key, 1, (uint64_t)i);

        assert_true(u >= 0 && u < 1);
        unit += u;
        sum += x;
        squares += x * x;
    }
    /* five standard errors */
    assert_true(fabs(sum / n) < 5 / sqrt(n));
    assert_true(fabs(squares / n - 1) < 5 * sqrt(2.0 / n));
    assert_true(fabs(unit / n - 0.5) < 5 / sqrt(12.0 * n));
}

static void a_shuffle_is_a_permutation_of_its_key(void **state)
{
    uint32_t a[1000], b[1000], seen[1000] = {0};
    const fish_key key = fish_key_make(1, FISH_STREAM_TEST);
    size_t n_fixed = 0;

    (void)state;
    fish_shuffle(key, 0, a, 1000);
    fish_shuffle(key, 0, b, 1000);
    assert_memory_equal(a, b, sizeof a);
    for (size_t i = 0; i < 1000; i++) {
        assert_in_range(a[i], 0, 999);
        assert_int_equal(seen[a[i]]++, 0);
        n_fixed += a[i] == i;
    }
    assert_true(n_fixed < 20); /* 1 is expected */
    fish_shuffle(key, 1, b, 1000);
    assert_memory_not_equal(a, b, sizeof a);
}

/* ---- threads ----------------------------------------------------------------------------------
 */

#define N_ITEMS 500
#define N_GATES 7

typedef struct sums {
    fish_turnstile *t;
    float at[N_GATES]; /* order matters: float addition does not commute with itself */
    uint64_t fail_at;
} sums;

static fmp_status add_item(void *ctx, unsigned worker, uint64_t item, fmp_error *err)
{
    sums *s = ctx;

    (void)worker;
    for (uint32_t g = 0; g < N_GATES; g++) {
        if (item == s->fail_at && g == 3)
            return fish_fail(err, FMP_ECORRUPT, "item %u", (unsigned)item);
        if (!fish_turnstile_enter(s->t, g, item))
            return FMP_ECANCELED;
        s->at[g] = s->at[g] * 0.75f + (float)fish_random_unit((fish_key){{1, 2}}, g, item);
        fish_turnstile_leave(s->t, g, item);
    }
    return FMP_OK;
}

static void items_pass_gates_in_order_whatever_the_threads(void **state)
{
    float first[N_GATES] = {0};

    (void)state;
    for (unsigned n = 1; n <= 8; n++) {
        sums s = {.fail_at = UINT64_MAX};
        fish_pool *pool;
        fmp_error err;

        assert_status(fish_pool_new(n, &pool, &err), FMP_OK, &err);
        assert_int_equal(fish_pool_threads(pool), n);
        assert_status(fish_turnstile_new(pool, N_GATES, &s.t, &err), FMP_OK, &err);
        assert_status(fish_pool_run(pool, N_ITEMS, add_item, &s, &err), FMP_OK, &err);
        if (n == 1)
            memcpy(first, s.at, sizeof first);
        assert_memory_equal(first, s.at, sizeof first);
        fish_turnstile_free(s.t);
        fish_pool_free(pool);
    }
}

static void a_failing_item_ends_the_run_and_names_itself(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 4; n++) {
        sums s = {.fail_at = 100};
        fish_pool *pool;
        fmp_error err;

        assert_status(fish_pool_new(n, &pool, &err), FMP_OK, &err);
        assert_status(fish_turnstile_new(pool, N_GATES, &s.t, &err), FMP_OK, &err);
        assert_status(fish_pool_run(pool, N_ITEMS, add_item, &s, &err), FMP_ECORRUPT, &err);
        assert_string_equal(err.text, "item 100");
        fish_turnstile_reset(s.t);
        s.fail_at = UINT64_MAX;
        assert_status(fish_pool_run(pool, N_ITEMS, add_item, &s, &err), FMP_OK, &err);
        fish_turnstile_free(s.t);
        fish_pool_free(pool);
    }
}

/* ---- files ------------------------------------------------------------------------------------
 */

static char dir[] = "/tmp/fish-core-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) && !chdir(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return chdir("/") || rmdir(dir);
}

static void a_file_appears_at_commit_or_not_at_all(void **state)
{
    fish_outfile *f;
    fmp_error err;
    char *text;
    size_t len;

    (void)state;
    assert_status(fish_outfile_new("a", false, &f, &err), FMP_OK, &err);
    assert_status(fish_outfile_write(f, "hello", 5, &err), FMP_OK, &err);
    assert_int_equal(access("a", F_OK), -1);
    fish_outfile_abort(f);
    assert_int_equal(access("a", F_OK), -1);
    assert_status(fish_outfile_new("a", false, &f, &err), FMP_OK, &err);
    assert_status(fish_outfile_write(f, "hello", 5, &err), FMP_OK, &err);
    assert_status(fish_outfile_commit(f, &err), FMP_OK, &err);
    assert_status(fish_slurp("a", 5, &text, &len, &err), FMP_OK, &err);
    assert_int_equal(len, 5);
    assert_string_equal(text, "hello");
    fish_free(text);
    assert_status(fish_slurp("a", 4, &text, &len, &err), FMP_ELIMIT, &err);
    assert_status(fish_slurp("b", 4, &text, &len, &err), FMP_EIO, &err);
    assert_status(fish_outfile_new("a", false, &f, &err), FMP_EUSAGE, &err);
    assert_status(fish_outfile_new("a", true, &f, &err), FMP_OK, &err);
    assert_status(fish_outfile_commit(f, &err), FMP_OK, &err);
    assert_status(fish_slurp("a", 5, &text, &len, &err), FMP_OK, &err);
    assert_int_equal(len, 0);
    fish_free(text);
    assert_int_equal(unlink("a"), 0);
}

/* A name that is taken while the file is being written is not replaced. */
static void a_name_taken_meanwhile_is_kept(void **state)
{
    fish_outfile *f, *g;
    fmp_error err;

    (void)state;
    assert_status(fish_outfile_new("a", false, &f, &err), FMP_OK, &err);
    assert_status(fish_outfile_new("a", false, &g, &err), FMP_OK, &err);
    assert_status(fish_outfile_commit(g, &err), FMP_OK, &err);
    assert_status(fish_outfile_commit(f, &err), FMP_EUSAGE, &err);
    assert_int_equal(unlink("a"), 0);
}

static const fish_tensor_desc two[] = {
    {.name = "w", .dtype = "F32", .rank = 2, .shape = {2, 3}},
    {.name = "b", .dtype = "U8", .rank = 0},
};

static fmp_status write_two(fmp_error *err)
{
    static const float w[6] = {1, 2, 3, 4, 5, 6};
    static const char *const meta[] = {"k", "v \"q\"", NULL};
    fish_tensor_writer *t;
    fmp_status st = fish_tensor_writer_new("t", true, meta, two, 2, &t, err);

    if (st)
        return st;
    st = fish_tensor_writer_put(t, w, sizeof w, err);
    if (!st)
        st = fish_tensor_writer_put(t, "\x2a", 1, err);
    if (!st)
        return fish_tensor_writer_commit(t, err);
    fish_tensor_writer_abort(t);
    return st;
}

static void tensors_are_read_back(void **state)
{
    fmp_store *store;
    fmp_error err;
    char *meta;
    float w[6];

    (void)state;
    assert_status(write_two(&err), FMP_OK, &err);
    assert_status(fmp_store_open("t", NULL, &store, &err), FMP_OK, &err);
    assert_int_equal(fmp_store_tensor_count(store), 2);
    assert_status(fmp_store_read(store, fmp_store_find(store, "w", 1), 0, w, sizeof w, &err),
                  FMP_OK, &err);
    assert_true(w[5] == 6);
    fmp_store_close(store);
    assert_status(fish_tensor_metadata("t", &meta, &err), FMP_OK, &err);
    assert_string_equal(meta, "{\"k\":\"v \\\"q\\\"\"}");
    fish_free(meta);
    assert_int_equal(unlink("t"), 0);
}

static void too_little_or_too_much_is_refused(void **state)
{
    fish_tensor_writer *t;
    fmp_error err;

    (void)state;
    assert_status(fish_tensor_writer_new("t", false, NULL, two, 2, &t, &err), FMP_OK, &err);
    assert_status(fish_tensor_writer_put(t, "123456789012345678901234567890", 30, &err), FMP_EUSAGE,
                  &err);
    assert_status(fish_tensor_writer_put(t, "123456789012345678901234", 24, &err), FMP_OK, &err);
    assert_status(fish_tensor_writer_commit(t, &err), FMP_EUSAGE, &err);
    assert_int_equal(access("t", F_OK), -1);
}

static void every_allocation_may_fail(void **state)
{
    fmp_error err;
    fmp_status st;
    long k = 0;

    (void)state;
    do {
        fish_alloc_fail_at(k++);
        st = write_two(&err);
        fish_alloc_fail_at(-1);
        if (st)
            assert_status(st, FMP_ENOMEM, &err);
    } while (st && k < 100);
    assert_status(st, FMP_OK, &err);
    assert_true(k > 5);
    assert_int_equal(unlink("t"), 0);
}

/* Every truncation of a header, and lengths that lie. */
static void metadata_of_broken_files_is_refused(void **state)
{
    static const char file[] = "\x18\0\0\0\0\0\0\0{\"__metadata__\":{\"a\":\"b\"";
    fmp_error err;
    char *meta;

    (void)state;
    for (size_t len = 0; len < sizeof file; len++) {
        fish_outfile *f;

        assert_status(fish_outfile_new("t", true, &f, &err), FMP_OK, &err);
        assert_status(fish_outfile_write(f, file, len, &err), FMP_OK, &err);
        assert_status(fish_outfile_commit(f, &err), FMP_OK, &err);
        assert_status(fish_tensor_metadata("t", &meta, &err), FMP_ECORRUPT, &err);
    }
    assert_int_equal(unlink("t"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(streams_of_a_seed_differ),
        cmocka_unit_test(numbers_have_the_moments_of_their_distribution),
        cmocka_unit_test(a_shuffle_is_a_permutation_of_its_key),
        cmocka_unit_test(items_pass_gates_in_order_whatever_the_threads),
        cmocka_unit_test(a_failing_item_ends_the_run_and_names_itself),
        cmocka_unit_test(a_file_appears_at_commit_or_not_at_all),
        cmocka_unit_test(a_name_taken_meanwhile_is_kept),
        cmocka_unit_test(tensors_are_read_back),
        cmocka_unit_test(too_little_or_too_much_is_refused),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(metadata_of_broken_files_is_refused),
    };

    return cmocka_run_group_tests_name("fish_core", tests, make_dir, remove_dir);
}
