/*
 * train/optim: steps against numbers that torch 2.13 computed, schedules against transformers, and
 * what masks add: elements without a gradient stay, wherever a vector is cut the bits are the same.
 */
#include "support.h"

#include <math.h>
#include <string.h>

#include "train/optim.h"

#define N     6
#define STEPS 4

static const float start[N] = {0.5f, -1.25f, 3e-3f, -2e-5f, 7.0f, 0.0f};
static const float grads[STEPS][N] = {
    {0.1f, -0.2f, 3e-4f, -5.0f, 1e-7f, 0.0f},
    {0.3f, 0.05f, -2e-4f, 4.0f, -3e-7f, 1e-3f},
    {-0.7f, 0.0f, 1e-5f, 1.0f, 2e-2f, -1e-3f},
    {0.01f, -0.4f, 9e-4f, -0.5f, 1e-2f, 2e-3f},
};

/* torch.optim.AdamW(lr=1e-2, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1) */
static const float adamw[STEPS][N] = {
    {0.489500105f, -1.23874998f, -0.00696977787f, 0.00998001918f, 6.9920907f, 0},
    {0.479867876f, -1.23279655f, -0.00840502232f, 0.0105519034f, 6.98600149f, -0.00739551289f},
    {0.482268363f, -1.2279017f, -0.00969299581f, 0.00999577902f, 6.9726882f, -0.00693898695f},
    {0.484081298f, -1.22020161f, -0.015398588f, 0.00999030471f, 6.95848417f, -0.0114179254f},
};

/* torch.optim.SGD(lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True) */
static const float nesterov[STEPS][N] = {
    {0.490025014f, -1.2298125f, 0.00296865008f, 0.474979997f, 6.99335003f, 0},
    {0.456806988f, -1.22478795f, 0.00297146477f, 0.29702878f, 6.98387146f, -9.50000031e-05f},
    {0.506697297f, -1.21740568f, 0.00296256109f, 0.221804231f, 6.96995306f, -4.04097555e-05f},
    {0.518872797f, -1.17215621f, 0.00286802044f, 0.246525094f, 6.95389795f, -0.000226282893f},
};

/* torch.optim.SGD(lr=0.05, momentum=0.8) */
static const float momentum[STEPS][N] = {
    {0.495000005f, -1.24000001f, 0.00298499991f, 0.249980003f, 7, 0},
    {0.476000011f, -1.23450005f, 0.0029829999f, 0.249980003f, 7, -5.00000024e-05f},
    {0.495800018f, -1.23010004f, 0.0029809f, 0.199980006f, 6.99900007f, -4.00000026e-05f},
    {0.511139989f, -1.20658004f, 0.00293422001f, 0.184980005f, 6.99770021f, -0.000132000001f},
};

static const fish_step adamw_step = {
    .lr = 1e-2, .decay = 0.1, .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
static const fish_step nesterov_step = {
    .lr = 0.05, .decay = 0.01, .momentum = 0.9, .nesterov = true};

static void assert_near(const float *got, const float *want, size_t n, double rel)
{
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)got[i] - want[i]) <= rel * fabs((double)want[i])))
            fail_msg("element %zu: %.9g, expected %.9g", i, got[i], want[i]);
    }
}

static void adamw_is_torchs(void **state)
{
    float w[N], m[N] = {0}, v[N] = {0};

    (void)state;
    memcpy(w, start, sizeof w);
    for (unsigned t = 0; t < STEPS; t++) {
        fish_step s = adamw_step;

        s.step = t + 1;
        fish_adamw_step(w, m, v, grads[t], N, &s);
        assert_near(w, adamw[t], N, 1e-6);
    }
}

static void sgd_is_torchs(void **state)
{
    const fish_step plain = {.lr = 0.05, .momentum = 0.8};
    float w[N], b[N] = {0}, u[N], c[N] = {0};

    (void)state;
    memcpy(w, start, sizeof w);
    memcpy(u, start, sizeof u);
    for (unsigned t = 0; t < STEPS; t++) {
        fish_sgd_step(w, b, grads[t], N, &nesterov_step);
        assert_near(w, nesterov[t], N, 1e-6);
        fish_sgd_step(u, c, grads[t], N, &plain);
        assert_near(u, momentum[t], N, 1e-6);
    }
}

/* Lengths that a vector loop does not divide, cut at every place: the bits of the whole. */
static void cuts_change_nothing(void **state)
{
    enum { LENGTH = 67 };
    float g[LENGTH], w[LENGTH], m[LENGTH] = {0}, v[LENGTH] = {0};
    fish_step s = adamw_step;

    (void)state;
    s.step = 3;
    for (int i = 0; i < LENGTH; i++) {
        g[i] = sinf((float)i * 1.7f) * 1e-2f;
        w[i] = cosf((float)i * 0.3f);
        m[i] = sinf((float)i) * 1e-3f;
        v[i] = (float)(i % 7) * 1e-5f;
    }
    for (size_t cut = 0; cut <= LENGTH; cut++) {
        float a[3][LENGTH], b[3][LENGTH];

        memcpy(a[0], w, sizeof w);
        memcpy(a[1], m, sizeof m);
        memcpy(a[2], v, sizeof v);
        memcpy(b, a, sizeof b);
        fish_adamw_step(a[0], a[1], a[2], g, LENGTH, &s);
        fish_adamw_step(b[0], b[1], b[2], g, cut, &s);
        fish_adamw_step(b[0] + cut, b[1] + cut, b[2] + cut, g + cut, LENGTH - cut, &s);
        assert_memory_equal(a, b, sizeof a);
        memcpy(a[0], w, sizeof w);
        memcpy(a[1], m, sizeof m);
        memcpy(b, a, sizeof b);
        fish_sgd_step(a[0], a[1], g, LENGTH, &nesterov_step);
        fish_sgd_step(b[0], b[1], g, cut, &nesterov_step);
        fish_sgd_step(b[0] + cut, b[1] + cut, g + cut, LENGTH - cut, &nesterov_step);
        assert_memory_equal(a, b, sizeof a);
    }
}

/* Without decay, elements that never had a gradient keep their bits, -0 and subnormals too. */
static void no_gradient_no_change(void **state)
{
    const float odd[4] = {-0.0f, 1e-42f, -3.5f, 0.0f};
    const float zero[4] = {0};
    float w[4], m[4] = {0}, v[4] = {0};
    fish_step s = {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .momentum = 0.9};

    (void)state;
    memcpy(w, odd, sizeof w);
    for (s.step = 1; s.step < 5; s.step++) {
        fish_adamw_step(w, m, v, zero, 4, &s);
        assert_memory_equal(w, odd, sizeof w);
        fish_sgd_step(w, m, zero, 4, &s);
        assert_memory_equal(w, odd, sizeof w);
    }
}

/* Frozen elements stay with moments and all; those that left move, without decay; a late
 * generation takes the steps of a fresh run. */
static void generations(void **state)
{
    const uint16_t gen[4] = {0, FISH_FROZEN, FISH_LEFT, 1};
    const uint32_t born[2] = {0, 10};
    const float g[4] = {0.5f, 0.5f, 0, 0.5f};
    float w[4] = {1, 1, 1, 1}, m[4] = {0.1f, 0.1f, 0.1f, 0}, v[4] = {0.2f, 0.2f, 0.2f, 0};
    float one = 1, m1 = 0, v1 = 0;
    fish_step s = adamw_step;
    fish_step fresh = adamw_step;
    fish_step bare = adamw_step;
    float left = 1, ml = 0.1f, vl = 0.2f;
    const float zero = 0;

    (void)state;
    s.step = 11;
    s.gen = gen;
    s.born = born;
    fish_adamw_step(w, m, v, g, 4, &s);
    fresh.step = 1;
    fish_adamw_step(&one, &m1, &v1, &g[3], 1, &fresh);
    assert_memory_equal(&w[3], &one, sizeof one);
    bare.step = 11;
    bare.decay = 0;
    fish_adamw_step(&left, &ml, &vl, &zero, 1, &bare);
    assert_memory_equal(&w[2], &left, sizeof left);
    assert_true(w[2] < 1);
    assert_true(w[1] == 1 && m[1] == 0.1f && v[1] == 0.2f);
    assert_true(w[0] != 1);
}

static void generations_of_sgd(void **state)
{
    const uint16_t gen[3] = {0, FISH_FROZEN, FISH_LEFT};
    const float g[3] = {0.5f, 0.5f, 0};
    float w[3] = {1, 1, 1}, b[3] = {0.1f, 0.1f, 0.1f};
    fish_step s = {.lr = 0.5, .decay = 0.25, .momentum = 0.5, .gen = gen};

    (void)state;
    fish_sgd_step(w, b, g, 3, &s);
    assert_true(w[0] == 1 - 0.5f * (0.5f * 0.1f + 0.75f));
    assert_true(w[1] == 1 && b[1] == 0.1f);
    assert_true(w[2] == 1 - 0.5f * (0.5f * 0.1f)); /* momentum only */
}

/* d = -lr (g + wd w); v = mu v + d; w += d + mu v, in numbers that floats hold exactly. */
static void leak_is_the_authors(void **state)
{
    const fish_step s = {.lr = 0.5, .decay = 0.25, .momentum = 0.5};
    const float g[2] = {1, 0};
    float w[2] = {2, 4}, v[2] = {0, 0};

    (void)state;
    fish_sgd_leak_step(w, v, g, 2, &s);
    assert_true(v[0] == -0.75f && w[0] == 2 - 0.75f - 0.375f);
    assert_true(v[1] == -0.5f && w[1] == 4 - 0.5f - 0.25f);
    fish_sgd_leak_step(w, v, g, 2, &s);
    assert_true(v[1] == -0.25f - 0.40625f && w[1] == 3.25f - 0.40625f + 0.5f * v[1]);
}

static void schedules_are_transformers(void **state)
{
    static const double linear[10] = {0,
                                      1 / 3.0,
                                      2 / 3.0,
                                      1,
                                      0.8571428571428571,
                                      0.7142857142857143,
                                      0.5714285714285714,
                                      0.42857142857142855,
                                      0.2857142857142857,
                                      0.14285714285714285};
    static const double cosine[10] = {0,
                                      1 / 3.0,
                                      2 / 3.0,
                                      1,
                                      0.95048443395120952,
                                      0.8117449009293668,
                                      0.61126046697815717,
                                      0.38873953302184283,
                                      0.18825509907063326,
                                      0.049515566048790483};

    (void)state;
    for (uint64_t t = 0; t < 10; t++) {
        assert_true(fabs(fish_schedule_factor(FISH_LINEAR, t, 3, 10) - linear[t]) < 1e-14);
        assert_true(fabs(fish_schedule_factor(FISH_COSINE, t, 3, 10) - cosine[t]) < 1e-14);
        assert_true(fish_schedule_factor(FISH_CONSTANT, t, 3, 10) == (t < 3 ? (double)t / 3 : 1));
    }
    assert_true(fish_schedule_factor(FISH_LINEAR, 10, 3, 10) == 0);
    assert_true(fish_schedule_factor(FISH_LINEAR, 0, 0, 1) == 1);
    assert_true(fish_schedule_factor(FISH_COSINE, 5, 5, 5) == 1); /* warm-up only */
}

static void clipping_is_torchs(void **state)
{
    static const float want[4] = {0.0705882385f, 0.0941176489f, 0.282352954f, -1.97647059f};
    float g[4] = {3, 4, 12, -84};
    const double norm = sqrt(fish_sum_squares(g, 4));

    (void)state;
    assert_true(norm == 85);
    fish_scale(g, 4, fish_clip_factor(norm, 2));
    assert_near(g, want, 4, 1e-6);
    assert_true(fish_clip_factor(0.5, 1) == 1);
    assert_true(fish_clip_factor(1e30, INFINITY) == 1);
    assert_true(fish_clip_factor(0, 1) == 1);
}

static void sums_of_any_length(void **state)
{
    float g[70];

    (void)state;
    for (int i = 0; i < 70; i++)
        g[i] = (float)(i + 1);
    for (size_t n = 0; n <= 70; n++)
        assert_true(fish_sum_squares(g, n) == (double)(n * (n + 1) * (2 * n + 1) / 6));
}

static void averages(void **state)
{
    const float w[2] = {8, -4};
    float ema[2] = {0, 4};

    (void)state;
    fish_ema_step(ema, w, 2, 0.75);
    assert_true(ema[0] == 2 && ema[1] == 2);
    assert_true(fish_ema_decay(0.999, 1) == 2.0 / 11);
    assert_true(fish_ema_decay(0.999, 1000000) == 0.999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_is_torchs),
        cmocka_unit_test(sgd_is_torchs),
        cmocka_unit_test(cuts_change_nothing),
        cmocka_unit_test(no_gradient_no_change),
        cmocka_unit_test(generations),
        cmocka_unit_test(generations_of_sgd),
        cmocka_unit_test(leak_is_the_authors),
        cmocka_unit_test(schedules_are_transformers),
        cmocka_unit_test(clipping_is_torchs),
        cmocka_unit_test(sums_of_any_length),
        cmocka_unit_test(averages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
