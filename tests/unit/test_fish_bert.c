/*
 * The passes of the BERT model: outputs and gradients against PyTorch's (a golden dump), gradients
 * against differences with dropout on, and what passes promise to those who call them.
 */
#include "bert_support.h"

#include <math.h>
#include <stdlib.h>

/* ---- gradients --------------------------------------------------------------------------------
 */

static void outputs_and_gradients_are_pytorchs(void **state)
{
    fish_model *m = make_tiny("");
    fish_work *w = fish_work_new(m);
    float outputs[EXAMPLES * OUTPUTS];
    tiny_batch t;
    sum_sink s;
    fmp_error err;

    (void)state;
    make_batch(&t);
    sum_sink_init(&s, m);
    assert_int_equal(m->n_params, N_GOLDEN);
    assert_status(fish_forward(m, w, &t.batch, &evaluate, outputs, &err), FMP_OK, &err);
    for (size_t i = 0; i < EXAMPLES * OUTPUTS; i++)
        assert_true(fabsf(outputs[i] - golden_outputs[i]) <= 1e-6f);
    assert_status(fish_backward(m, w, &t.batch, t.d_outputs, &s.sink, &err), FMP_OK, &err);
    for (size_t k = 0; k < N_GOLDEN; k++) {
        const fish_param *p = find_param(m, plain(golden[k].name));
        const double *got = s.grad[p - m->params];
        double most = 0;
        double scale = 1e-5; /* of a key's bias the gradient is 0 but for rounding */

        for (size_t i = 0; i < p->n; i++) {
            most = fmax(most, fabs(got[i] - (double)golden[k].grad[i]));
            scale = fmax(scale, fabs((double)golden[k].grad[i]));
        }
        if (most > 1e-4 * scale)
            fail_msg("%s: off by %.3g of %.3g", p->name, most, scale);
    }
    sum_sink_release(&s);
    fish_work_free(m, w);
    fish_model_free(m);
}

static double loss_of(const fish_model *m, fish_work *w, const tiny_batch *t, const fish_pass *pass)
{
    float outputs[EXAMPLES * OUTPUTS];
    double sum = 0;
    fmp_error err;

    assert_status(fish_forward(m, w, &t->batch, pass, outputs, &err), FMP_OK, &err);
    for (size_t i = 0; i < EXAMPLES * OUTPUTS; i++)
        sum += (double)t->d_outputs[i] * (double)outputs[i];
    return sum;
}

/* The change of the loss along a random direction of each parameter, by central differences in
 * float and by the gradient. */
static void check_differences(const char *more, const fish_pass *pass)
{
    fish_model *m = make_tiny(more);
    fish_work *w = fish_work_new(m);
    tiny_batch t;
    sum_sink s;
    fmp_error err;

    make_batch(&t);
    sum_sink_init(&s, m);
    (void)loss_of(m, w, &t, pass);
    assert_status(fish_backward(m, w, &t.batch, t.d_outputs, &s.sink, &err), FMP_OK, &err);
    for (uint32_t k = 0; k < m->n_params; k++) {
        fish_param *p = &m->params[k];
        float *before = malloc(p->n * sizeof *before);
        const double h = 4e-3;
        double along = 0;
        double up, down, norm = 0;

        memcpy(before, p->w, p->n * sizeof *before);
        for (size_t i = 0; i < p->n; i++) {
            along += s.grad[k][i] * (double)value(500 + k, i);
            norm += s.grad[k][i] * s.grad[k][i];
            p->w[i] = before[i] + (float)h * value(500 + k, i);
        }
        up = loss_of(m, w, &t, pass);
        for (size_t i = 0; i < p->n; i++)
            p->w[i] = before[i] - (float)h * value(500 + k, i);
        down = loss_of(m, w, &t, pass);
        memcpy(p->w, before, p->n * sizeof *before);
        if (fabs((up - down) / (2 * h) - along) > 1e-4 + 5e-3 * sqrt(norm))
            fail_msg("%s: %.6g by differences, %.6g by the gradient", p->name,
                     (up - down) / (2 * h), along);
        free(before);
    }
    sum_sink_release(&s);
    fish_work_free(m, w);
    fish_model_free(m);
}

static void gradients_are_differences(void **state)
{
    static const char dropout[] = ", \"hidden_dropout_prob\": 0.2, "
                                  "\"attention_probs_dropout_prob\": 0.3";

    (void)state;
    check_differences("", &evaluate);
    check_differences(", \"hidden_act\": \"gelu_new\"", &evaluate);
    check_differences(", \"num_attention_heads\": 4, \"intermediate_size\": 32", &evaluate);
    check_differences(dropout, &train);
    check_differences(", \"classifier_dropout\": 0.5, \"hidden_act\": \"gelu_new\"", &train);
    check_differences(", \"pooling\": \"mean\"", &evaluate);
    check_differences(", \"pooling\": \"mean\", \"classifier_dropout\": 0.5", &train);
}

/* ---- promises of the passes -------------------------------------------------------------------
 */

/* Dropout is on in training only, and depends on the step. */
static void training_drops(void **state)
{
    const fish_pass next = {.train = true, .dropout = {{3, 4}}, .step = 6};
    fish_model *m = make_tiny(", \"hidden_dropout_prob\": 0.3");
    fish_model *none =
        make_tiny(", \"hidden_dropout_prob\": 0, \"attention_probs_dropout_prob\": 0");
    fish_work *w = fish_work_new(m);
    tiny_batch t;
    double loss;

    (void)state;
    make_batch(&t);
    loss = loss_of(m, w, &t, &train);
    assert_true(loss == loss_of(m, w, &t, &train));
    assert_true(loss != loss_of(m, w, &t, &next));
    assert_true(loss != loss_of(m, w, &t, &evaluate));
    loss = loss_of(m, w, &t, &evaluate);
    assert_true(loss == loss_of(none, w, &t, &train));
    fish_work_free(m, w);
    fish_model_free(m);
    fish_model_free(none);
}

/* Two layers of two heads over one token: four decisions, and sixteen outputs unless some of them
 * are the same. */
static void layers_and_heads_drop_on_their_own(void **state)
{
    static const char one_kind[] = ", \"hidden_dropout_prob\": 0, "
                                   "\"attention_probs_dropout_prob\": 0.5";
    static const uint32_t start[] = {0, 1};
    static const int32_t id = 4;
    static const int32_t type = 1;
    fish_model *m = make_tiny(one_kind);
    fish_work *w = fish_work_new(m);
    float seen[64];
    size_t n_seen = 0;
    fmp_error err;

    (void)state;
    for (uint32_t e = 0; e < 400; e++) {
        const fish_batch b = {.n = 1, .example = &e, .start = start, .ids = &id, .types = &type};
        float outputs[OUTPUTS];
        size_t k = 0;

        assert_status(fish_forward(m, w, &b, &train, outputs, &err), FMP_OK, &err);
        while (k < n_seen && seen[k] != outputs[0])
            k++;
        assert_true(k < 64);
        seen[k] = outputs[0];
        n_seen = k == n_seen ? n_seen + 1 : n_seen;
    }
    assert_int_equal(n_seen, 16);
    fish_work_free(m, w);
    fish_model_free(m);
}

/* An example has the same outputs alone and among others, masks of dropout included. */
static void grouping_does_not_matter(void **state)
{
    fish_model *m = make_tiny(", \"hidden_dropout_prob\": 0.3, \"classifier_dropout\": 0.5");
    fish_work *w = fish_work_new(m);
    float together[EXAMPLES * OUTPUTS], alone[OUTPUTS];
    tiny_batch t;
    fmp_error err;

    (void)state;
    make_batch(&t);
    for (int k = 0; k < 2; k++) {
        const fish_pass *pass = k ? &train : &evaluate;

        assert_status(fish_forward(m, w, &t.batch, pass, together, &err), FMP_OK, &err);
        for (uint32_t e = 0; e < EXAMPLES; e++) {
            uint32_t start[2];
            const fish_batch one = one_of(&t, e, start);

            assert_status(fish_forward(m, w, &one, pass, alone, &err), FMP_OK, &err);
            for (size_t o = 0; o < OUTPUTS; o++)
                assert_true(fabsf(alone[o] - together[e * OUTPUTS + o]) <= 1e-6f);
        }
    }
    fish_work_free(m, w);
    fish_model_free(m);
}

/* Every backward pass after one forward starts from the same: the same bits come out. */
static void backward_may_be_repeated(void **state)
{
    fish_model *m = make_tiny("");
    fish_work *w = fish_work_new(m);
    float zeros[EXAMPLES * OUTPUTS] = {0};
    float outputs[EXAMPLES * OUTPUTS];
    sum_sink first, other, again;
    tiny_batch t;
    fmp_error err;

    (void)state;
    make_batch(&t);
    sum_sink_init(&first, m);
    sum_sink_init(&other, m);
    sum_sink_init(&again, m);
    assert_status(fish_forward(m, w, &t.batch, &train, outputs, &err), FMP_OK, &err);
    assert_status(fish_backward(m, w, &t.batch, t.d_outputs, &first.sink, &err), FMP_OK, &err);
    assert_status(fish_backward(m, w, &t.batch, zeros, &other.sink, &err), FMP_OK, &err);
    assert_status(fish_backward(m, w, &t.batch, t.d_outputs, &again.sink, &err), FMP_OK, &err);
    for (uint32_t k = 0; k < m->n_params; k++) {
        assert_memory_equal(first.grad[k], again.grad[k], m->params[k].n * sizeof(double));
        for (size_t i = 0; i < m->params[k].n; i++)
            assert_true(other.grad[k][i] == 0);
    }
    sum_sink_release(&first);
    sum_sink_release(&other);
    sum_sink_release(&again);
    fish_work_free(m, w);
    fish_model_free(m);
}

/* Each parameter reaches the sink once, in one order, also when there is no example; whichever call
 * fails ends the pass. */
static void sink_gets_each_parameter_once(void **state)
{
    fish_model *m = make_tiny("");
    fish_work *w = fish_work_new(m);
    float outputs[EXAMPLES * OUTPUTS];
    const uint32_t zero = 0;
    const fish_batch empty = {.start = &zero, .ids = (const int32_t *)&zero};
    sum_sink s, none;
    tiny_batch t;
    fmp_error err;

    (void)state;
    make_batch(&t);
    sum_sink_init(&s, m);
    sum_sink_init(&none, m);
    assert_status(fish_forward(m, w, &t.batch, &evaluate, outputs, &err), FMP_OK, &err);
    assert_status(fish_backward(m, w, &t.batch, t.d_outputs, &s.sink, &err), FMP_OK, &err);
    assert_int_equal(s.n_calls, m->n_params);
    for (uint32_t k = 0; k < m->n_params; k++)
        assert_int_equal(s.calls[k], 1);
    for (uint32_t k = 0; k < m->n_params; k++) {
        s.n_calls = 0;
        s.refuse_at = k;
        assert_status(fish_backward(m, w, &t.batch, t.d_outputs, &s.sink, &err), FMP_ECANCELED,
                      &err);
        assert_int_equal(s.n_calls, k);
    }
    assert_status(fish_forward(m, w, &empty, &train, outputs, &err), FMP_OK, &err);
    assert_status(fish_backward(m, w, &empty, t.d_outputs, &none.sink, &err), FMP_OK, &err);
    assert_int_equal(none.n_calls, m->n_params);
    assert_memory_equal(none.order, s.order, m->n_params * sizeof *s.order);
    sum_sink_release(&s);
    sum_sink_release(&none);
    fish_work_free(m, w);
    fish_model_free(m);
}

static void tokens_are_checked(void **state)
{
    fish_model *m = make_tiny("");
    fish_work *w = fish_work_new(m);
    float outputs[EXAMPLES * OUTPUTS];
    uint32_t long_start[] = {0, 10};
    uint32_t no_start[] = {0, 0};
    fish_batch bad;
    tiny_batch t;
    fmp_error err;

    (void)state;
    make_batch(&t);
    t.ids[7] = 30;
    assert_status(fish_forward(m, w, &t.batch, &evaluate, outputs, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "token 30"));
    t.ids[7] = -1;
    assert_status(fish_forward(m, w, &t.batch, &evaluate, outputs, &err), FMP_EUSAGE, &err);
    t.ids[7] = 29;
    t.types[2] = 2;
    assert_status(fish_forward(m, w, &t.batch, &evaluate, outputs, &err), FMP_EUSAGE, &err);
    t.types[2] = 1;
    bad = t.batch;
    bad.n = 1;
    bad.start = long_start; /* 9 positions */
    assert_status(fish_forward(m, w, &bad, &evaluate, outputs, &err), FMP_EUSAGE, &err);
    bad.start = no_start;
    assert_status(fish_forward(m, w, &bad, &evaluate, outputs, &err), FMP_EUSAGE, &err);
    bad = t.batch;
    bad.ids = NULL; /* images */
    assert_status(fish_forward(m, w, &bad, &evaluate, outputs, &err), FMP_EUSAGE, &err);
    assert_status(fish_forward(m, w, &t.batch, &evaluate, outputs, &err), FMP_OK, &err);
    fish_work_free(m, w);
    fish_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_and_gradients_are_pytorchs),
        cmocka_unit_test(gradients_are_differences),
        cmocka_unit_test(training_drops),
        cmocka_unit_test(layers_and_heads_drop_on_their_own),
        cmocka_unit_test(grouping_does_not_matter),
        cmocka_unit_test(backward_may_be_repeated),
        cmocka_unit_test(sink_gets_each_parameter_once),
        cmocka_unit_test(tokens_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
