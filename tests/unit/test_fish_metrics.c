/*
 * train/metrics: tables worked by hand, and numbers that scikit-learn 1.x and SciPy 1.x give for
 * the same lists; what those call undefined is 0.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "train/metrics.h"

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.17g, expected %.17g within %g", got, want, tolerance);
}

/* Outputs whose largest is the class `said`. */
static float *outputs_of(const int32_t *said, size_t n, uint32_t n_classes)
{
    float *o = calloc(n * n_classes, sizeof *o);

    assert_non_null(o);
    for (size_t i = 0; i < n; i++)
        o[i * n_classes + (size_t)said[i]] = 1;
    return o;
}

static fish_metrics metrics_of(const int32_t *truth, const int32_t *said, size_t n,
                               uint32_t n_classes, uint64_t *confusion)
{
    float *o = outputs_of(said, n, n_classes);
    fish_metrics m;

    fish_metrics_classify(o, truth, n, n_classes, &m, confusion);
    free(o);
    return m;
}

/* tp 4, fp 1, fn 1, tn 4: F1 = 8/10, MCC = (16 - 1) / 25. */
static void two_classes(void **state)
{
    static const int32_t truth[10] = {0, 1, 1, 0, 1, 0, 0, 1, 1, 0};
    static const int32_t said[10] = {0, 1, 0, 0, 1, 1, 0, 1, 1, 0};
    uint64_t confusion[4] = {9, 9, 9, 9};
    const fish_metrics m = metrics_of(truth, said, 10, 2, confusion);

    (void)state;
    assert_int_equal(m.n, 10);
    assert_near(m.accuracy, 0.8, 1e-15);
    assert_near(m.f1, 0.8, 1e-15);
    assert_near(m.mcc, 0.6, 1e-15);
    assert_int_equal(confusion[0], 4);
    assert_int_equal(confusion[1], 1);
    assert_int_equal(confusion[2], 1);
    assert_int_equal(confusion[3], 4);
    /* 8 right at logits (1, 0), 2 wrong. */
    assert_near(m.loss, 0.8 * log(1 + exp(-1)) + 0.2 * log(1 + exp(1)), 1e-12);
}

/* accuracy_score, f1_score(average="macro") and matthews_corrcoef; class 4 never occurs and does
 * not count. */
static void many_classes(void **state)
{
    static const int32_t truth[12] = {0, 1, 2, 3, 2, 1, 0, 2, 2, 1, 0, 0};
    static const int32_t said[12] = {0, 2, 2, 1, 2, 1, 0, 0, 2, 1, 1, 0};
    static const uint64_t want[25] = {3, 1, 0, 0, 0, 0, 2, 1, 0, 0, 1, 0, 3,
                                      0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0};
    uint64_t confusion[25];
    const fish_metrics m = metrics_of(truth, said, 12, 5, confusion);

    (void)state;
    assert_near(m.accuracy, 0.6666666666666666, 1e-15);
    assert_near(m.f1, 0.5178571428571428, 1e-15);
    assert_near(m.mcc, 0.5254938542453882, 1e-15);
    assert_memory_equal(confusion, want, sizeof want);
}

/* More classes than are counted at once: the same table, its numbers spread over 700 classes. */
static void classes_in_parts(void **state)
{
    static const int32_t place[5] = {255, 0, 699, 256, 512};
    static const int32_t truth[12] = {0, 1, 2, 3, 2, 1, 0, 2, 2, 1, 0, 0};
    static const int32_t said[12] = {0, 2, 2, 1, 2, 1, 0, 0, 2, 1, 1, 0};
    int32_t far_truth[12];
    int32_t far_said[12];
    fish_metrics m;

    (void)state;
    for (size_t i = 0; i < 12; i++) {
        far_truth[i] = place[truth[i]];
        far_said[i] = place[said[i]];
    }
    m = metrics_of(far_truth, far_said, 12, 700, NULL);
    assert_near(m.accuracy, 0.6666666666666666, 1e-15);
    assert_near(m.f1, 0.5178571428571428, 1e-15);
    assert_near(m.mcc, 0.5254938542453882, 1e-15);
}

/* Nothing of class 1, nothing at all, one class only: 0 / 0 is 0. */
static void undefined_is_zero(void **state)
{
    static const int32_t zeros[3] = {0, 0, 0};
    static const int32_t mixed[3] = {0, 1, 0};
    fish_metrics m = metrics_of(zeros, zeros, 3, 2, NULL);

    (void)state;
    assert_true(m.accuracy == 1 && m.f1 == 0 && m.mcc == 0);
    m = metrics_of(mixed, zeros, 3, 2, NULL);
    assert_true(m.f1 == 0 && m.mcc == 0);
    fish_metrics_classify(NULL, NULL, 0, 2, &m, NULL);
    assert_true(m.n == 0 && m.accuracy == 0 && m.f1 == 0 && m.mcc == 0 && m.loss == 0);
}

/* Equal outputs: the first counts, as numpy.argmax has it. */
static void the_first_of_equals(void **state)
{
    static const float o[3] = {1, 1, 1};
    static const int32_t truth[1] = {0};
    fish_metrics m;

    (void)state;
    fish_metrics_classify(o, truth, 1, 3, &m, NULL);
    assert_true(m.accuracy == 1);
}

static const float outputs[8] = {.5f, 2, 2, -1, 3.25f, 7, 2, .5f};
static const float values[8] = {1, 2, 3, 0, 3, 5, 3, 0};

/* scipy.stats.spearmanr and pearsonr, with ties in both lists. */
static void correlations(void **state)
{
    fish_metrics m;
    fmp_error err;

    (void)state;
    assert_status(fish_metrics_regress(outputs, values, 8, &m, &err), FMP_OK, &err);
    assert_near(m.spearman, 0.9303797468354432, 1e-14);
    assert_near(m.pearson, 0.9240090406237619, 1e-14);
    assert_near(m.mse, 0.9453125, 1e-14);
    assert_near(m.loss, 0.9453125 / 2, 1e-14);
    assert_true(fish_metric_main(&m, true) == m.spearman);
    m.accuracy = 0.25;
    assert_true(fish_metric_main(&m, false) == 0.25);
}

/* A decreasing function of the value: ranks correlate at -1 exactly, numbers do not. */
static void order_alone_counts_for_spearman(void **state)
{
    float falling[8];
    float rising[8];
    fish_metrics m;
    fmp_error err;

    (void)state;
    for (int i = 0; i < 8; i++) {
        rising[i] = (float)i;
        falling[i] = (float)exp(-i);
    }
    assert_status(fish_metrics_regress(falling, rising, 8, &m, &err), FMP_OK, &err);
    assert_near(m.spearman, -1, 1e-15);
    assert_true(m.pearson > -0.9);
}

static void constants_and_nothing(void **state)
{
    static const float same[8] = {4, 4, 4, 4, 4, 4, 4, 4};
    fish_metrics m;
    fmp_error err;

    (void)state;
    assert_status(fish_metrics_regress(same, values, 8, &m, &err), FMP_OK, &err);
    assert_true(m.spearman == 0 && m.pearson == 0);
    assert_status(fish_metrics_regress(values, same, 8, &m, &err), FMP_OK, &err);
    assert_true(m.spearman == 0 && m.pearson == 0);
    assert_status(fish_metrics_regress(NULL, NULL, 0, &m, &err), FMP_OK, &err);
    assert_true(m.n == 0 && m.mse == 0 && m.spearman == 0);
}

static void every_allocation_may_fail(void **state)
{
    fmp_status st = FMP_ENOMEM;
    long k = 0;

    (void)state;
    for (; st == FMP_ENOMEM; k++) {
        fish_metrics m = {.n = 77};
        fmp_error err = {.text = ""};

        fish_alloc_fail_at(k);
        st = fish_metrics_regress(outputs, values, 8, &m, &err);
        fish_alloc_fail_at(-1);
        assert_int_equal(m.n, st ? 77 : 8);
    }
    assert_int_equal(st, FMP_OK);
    assert_int_equal(k, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_classes),
        cmocka_unit_test(many_classes),
        cmocka_unit_test(classes_in_parts),
        cmocka_unit_test(undefined_is_zero),
        cmocka_unit_test(the_first_of_equals),
        cmocka_unit_test(correlations),
        cmocka_unit_test(order_alone_counts_for_spearman),
        cmocka_unit_test(constants_and_nothing),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
