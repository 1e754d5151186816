/*
 * train/predict: every example's outputs in its own place, the same bits for any number of threads,
 * and nothing kept when memory runs out.
 */
#include "support.h"

#include <math.h>
#include <unistd.h>

#include "fish_toy.h"
#include "train/metrics.h"

#define N_OUTPUTS 3

static void predict(const toy *t, const fish_data *d, unsigned n_threads, float *outputs)
{
    fish_pool *pool = NULL;
    fmp_error err = {.text = ""};

    assert_status(fish_pool_new(n_threads, &pool, &err), FMP_OK, &err);
    assert_status(fish_predict(&t->model, d, pool, outputs, &err), FMP_OK, &err);
    fish_pool_free(pool);
}

static void outputs_stand_at_their_example(void **state)
{
    static const unsigned threads[] = {1, 2, 3, 7};
    const fish_pass pass = {.train = false};
    fish_data *d = toy_data(N_OUTPUTS, false);
    fish_batch_buf *buf = fish_batch_buf_new();
    float got[TOY_IMAGES][N_OUTPUTS];
    fmp_error err;
    toy t;

    (void)state;
    toy_init(&t, N_OUTPUTS);
    for (size_t k = 0; k < sizeof threads / sizeof *threads; k++) {
        fish_work *work = fish_work_new(&t.model);

        for (uint32_t i = 0; i < TOY_IMAGES; i++)
            got[i][0] = NAN;
        predict(&t, d, threads[k], &got[0][0]);
        for (uint32_t i = 0; i < TOY_IMAGES; i++) {
            float want[N_OUTPUTS];
            fish_batch b;

            assert_status(fish_batch_fill(buf, d, &i, 1, &b, &err), FMP_OK, &err);
            assert_status(fish_forward(&t.model, work, &b, &pass, want, &err), FMP_OK, &err);
            assert_memory_equal(got[i], want, sizeof want);
        }
        fish_work_free(&t.model, work);
    }
    fish_batch_buf_free(buf);
    toy_data_free(d);
}

static void outputs_are_numbers(void **state)
{
    fish_data *d = toy_data(N_OUTPUTS, false);
    fish_pool *pool = NULL;
    fmp_error err = {.text = ""};
    float got[TOY_IMAGES][N_OUTPUTS];
    toy t;

    (void)state;
    toy_init(&t, N_OUTPUTS);
    t.model.params[t.model.n_params - 1].w[0] = NAN;
    assert_status(fish_pool_new(2, &pool, &err), FMP_OK, &err);
    assert_status(fish_predict(&t.model, d, pool, &got[0][0], &err), FMP_ECORRUPT, &err);
    assert_non_null(strstr(err.text, "of the model is nan"));
    fish_pool_free(pool);
    toy_data_free(d);
}

static void every_allocation_may_fail(void **state)
{
    fish_data *d = toy_data(N_OUTPUTS, false);
    fish_pool *pool = NULL;
    fmp_status st = FMP_ENOMEM;
    fmp_error err = {.text = ""};
    float got[TOY_IMAGES][N_OUTPUTS];
    long k = 0;
    toy t;

    (void)state;
    toy_init(&t, N_OUTPUTS);
    assert_status(fish_pool_new(1, &pool, &err), FMP_OK, &err);
    for (; st == FMP_ENOMEM; k++) {
        fish_alloc_fail_at(k);
        st = fish_predict(&t.model, d, pool, &got[0][0], &err);
        fish_alloc_fail_at(-1);
    }
    assert_status(st, FMP_OK, &err);
    assert_true(k > 5);
    fish_pool_free(pool);
    toy_data_free(d);
}

static char dir[] = "/tmp/fish-predict-XXXXXX";

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_stand_at_their_example),
        cmocka_unit_test(outputs_are_numbers),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
