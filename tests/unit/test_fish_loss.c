/*
 * train/loss: values worked by hand, gradients against differences of the loss, and the ends of the
 * number range.
 */
#include "support.h"

#include <float.h>
#include <math.h>

#include "train/loss.h"

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.17g, expected %.17g within %g", got, want, tolerance);
}

/* exp of these logits is 1, 2, 5: softmax is 1/8, 2/8, 5/8. */
static const float eighths[3] = {0, 0.693147180559945f, 1.609437912434100f};

static void cross_entropy_is_what_it_says(void **state)
{
    static const double p[3] = {0.125, 0.25, 0.625};
    float d[3];

    (void)state;
    for (int32_t label = 0; label < 3; label++) {
        assert_near(fish_cross_entropy(eighths, 3, label, d), -log(p[label]), 1e-7);
        for (int32_t c = 0; c < 3; c++)
            assert_near(d[c], p[c] - (c == label), 1e-7);
        assert_true(fish_cross_entropy(eighths, 3, label, NULL) ==
                    fish_cross_entropy(eighths, 3, label, d));
    }
}

static void softmax_is_what_it_says(void **state)
{
    double p[3];

    (void)state;
    fish_softmax(eighths, 3, p);
    assert_near(p[0], 0.125, 1e-8);
    assert_near(p[1], 0.25, 1e-8);
    assert_near(p[2], 0.625, 1e-8);
}

static void gradients_are_those_of_the_loss(void **state)
{
    float logits[4] = {0.5f, -1.25f, 2, 0.125f};
    const float h = 0x1p-8f; /* exact steps */
    float d[4];

    (void)state;
    fish_cross_entropy(logits, 4, 1, d);
    for (int c = 0; c < 4; c++) {
        const float at = logits[c];
        double up, down;

        logits[c] = at + h;
        up = fish_cross_entropy(logits, 4, 1, NULL);
        logits[c] = at - h;
        down = fish_cross_entropy(logits, 4, 1, NULL);
        logits[c] = at;
        assert_near(d[c], (up - down) / (2 * (double)h), 1e-5);
    }
}

/* Far apart logits overflow nothing, and a gradient near 0 keeps its digits. */
static void extremes_stay_finite(void **state)
{
    const float far[2] = {3e38f, -3e38f};
    const float sure[2] = {40, 0};
    double p[2];
    float d[2];

    (void)state;
    assert_true(fish_cross_entropy(far, 2, 0, d) == 0);
    assert_true(d[0] == 0 && d[1] == 0);
    assert_near(fish_cross_entropy(far, 2, 1, d), 6e38, 1e32);
    assert_true(d[0] == 1 && d[1] == -1);
    fish_softmax(far, 2, p);
    assert_true(p[0] == 1 && p[1] == 0);
    fish_cross_entropy(sure, 2, 0, d);
    assert_near(d[0] / -exp(-40), 1, 1e-6); /* 1 - p would be 0 */
    assert_near(d[1] / exp(-40), 1, 1e-6);
    assert_near(fish_cross_entropy(sure, 2, 1, NULL), 40, 1e-12);
}

static void numbers_that_are_none_are_not_hidden(void **state)
{
    const float bad[2] = {NAN, 0};
    const float infinite[2] = {INFINITY, 0};

    (void)state;
    assert_true(isnan(fish_cross_entropy(bad, 2, 1, NULL)));
    assert_false(isfinite(fish_cross_entropy(infinite, 2, 0, NULL)));
}

static void squared_error_is_half_the_square(void **state)
{
    float d = 0;

    (void)state;
    assert_true(fish_squared_error(1.5f, -0.5f, &d) == 2);
    assert_true(d == 2);
    assert_true(fish_squared_error(-3, 0, NULL) == 4.5);
    assert_true(isfinite(fish_squared_error(FLT_MAX, -FLT_MAX, NULL)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cross_entropy_is_what_it_says),
        cmocka_unit_test(softmax_is_what_it_says),
        cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(extremes_stay_finite),
        cmocka_unit_test(numbers_that_are_none_are_not_hidden),
        cmocka_unit_test(squared_error_is_half_the_square),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
