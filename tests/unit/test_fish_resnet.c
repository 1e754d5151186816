/*
 * Residual networks: names as torchvision gives them, gradients of every kind of parameter against
 * differences and against PyTorch's, batch norm in both modes, and every config.json that is
 * refused.  The layers alone: test_fish_conv.c.
 */
#include "fish_gradcheck.h"

#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "fish_resnet_golden.h"

static const fish_pass running = {.train = false};
static const fish_pass training = {.train = true};
static const fish_pass batch = {.train = true, .batch_norm = true};

/* Between them: both blocks, all stems, strides, shortcuts of both kinds, odd sizes. */
static const char *const nets[] = {
    "{\"model_type\": \"resnet\", \"layers\": [1, 1], \"widths\": [3, 4], \"in_channels\": 2,"
    " \"image_size\": [13, 10], \"num_labels\": 3}",
    "{\"model_type\": \"resnet\", \"layers\": [2, 1], \"width\": 2, \"stem\": \"small\","
    " \"image_size\": 5, \"num_labels\": 2}",
    "{\"model_type\": \"resnet\", \"layers\": [1, 1], \"width\": 2, \"block\": \"bottleneck\","
    " \"width_per_group\": 96, \"stem\": \"small-pool\", \"image_size\": [7, 8],"
    " \"num_labels\": 3, \"norm_eps\": 0.01}",
};
#define N_NETS (sizeof nets / sizeof nets[0])

/* ---- gradients --------------------------------------------------------------------------------
 */

static void gradients_agree_with_differences(void **state)
{
    static const fish_pass *const passes[] = {&running, &training, &batch};

    (void)state;
    for (size_t k = 0; k < N_NETS; k++) {
        for (size_t p = 0; p < sizeof passes / sizeof passes[0]; p++) {
            fish_model *m = gradcheck_model(nets[k]);
            gradcheck_batch g;

            gradcheck_fill(m);
            gradcheck_batch_init(&g, m, 4);
            gradcheck_differences(m, &g, passes[p], 1.0f / 256, 1e-2);
            gradcheck_batch_release(&g);
            fish_model_free(m);
        }
    }
}

static void examples_have_gradients_of_their_own(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_NETS; k++) {
        fish_model *m = gradcheck_model(nets[k]);
        gradcheck_batch g;

        gradcheck_fill(m);
        gradcheck_batch_init(&g, m, 3);
        gradcheck_examples(m, &g, 1e-4);
        gradcheck_empty(m);
        gradcheck_batch_release(&g);
        fish_model_free(m);
    }
}

static void check_golden(fish_model *m, const resnet_golden_case *want, bool by_batch)
{
    fish_work *w = fish_work_new(m);
    const float *at = by_batch ? want->batch_gradients : want->running_gradients;
    const float *outputs = by_batch ? want->batch_outputs : want->running_outputs;
    gradcheck_batch g;
    gradcheck_sink *s;
    double got[64];

    assert_true(want->n_images * m->n_outputs <= 64);
    gradcheck_fill(m);
    gradcheck_batch_init(&g, m, want->n_images);
    s = gradcheck_run(m, w, &g, by_batch ? &batch : &running, UINT32_MAX);
    for (size_t i = 0; i < want->n_images * m->n_outputs; i++)
        got[i] = (double)g.outputs[i];
    gradcheck_close("outputs", outputs, want->n_images * m->n_outputs, got, 1e-5);
    for (uint32_t p = 0; p < m->n_params; p++) {
        if (m->params[p].role == FISH_BUFFER)
            continue;
        gradcheck_close(m->params[p].name, at, m->params[p].n, s->grad[p], 1e-4);
        at += m->params[p].n;
    }
    assert_int_equal(at - (by_batch ? want->batch_gradients : want->running_gradients),
                     want->n_gradients);
    fish_model_fold_statistics(m, w);
    gradcheck_sink_free(s);
    gradcheck_batch_release(&g);
    fish_work_free(m, w);
}

/* Also the running statistics after a pass that changes them, and their rest after one that does
 * not. */
static void gradients_and_statistics_are_those_of_pytorch(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof resnet_golden / sizeof resnet_golden[0]; k++) {
        const resnet_golden_case *want = &resnet_golden[k];
        fish_model *m = gradcheck_model(want->config);
        const float *at = want->statistics;

        check_golden(m, want, false);
        for (uint32_t p = 0; p < m->n_params; p++) {
            for (size_t i = 0; i < m->params[p].n && m->params[p].role == FISH_BUFFER; i++)
                assert_true(m->params[p].w[i] ==
                            gradcheck_number(m->params[p].name, i) +
                                (strstr(m->params[p].name, "var") ? 1.0f : 0.0f));
        }
        check_golden(m, want, true);
        for (uint32_t p = 0; p < m->n_params; p++) {
            double got[64];

            if (m->params[p].role != FISH_BUFFER)
                continue;
            assert_true(m->params[p].n <= 64);
            for (size_t i = 0; i < m->params[p].n; i++)
                got[i] = (double)m->params[p].w[i];
            gradcheck_close(m->params[p].name, at, m->params[p].n, got, 1e-5);
            at += m->params[p].n;
        }
        assert_int_equal(at - want->statistics, want->n_statistics);
        fish_model_free(m);
    }
}

/* Bit for bit, also when it follows a pass that went by the batch; and it leaves the running ones
 * alone. */
static void training_goes_by_running_statistics_unless_told(void **state)
{
    fish_model *m = gradcheck_model(nets[0]);
    fish_work *w = fish_work_new(m);
    float want[12];
    gradcheck_batch g;
    fmp_error err;

    (void)state;
    gradcheck_fill(m);
    gradcheck_batch_init(&g, m, 4);
    assert_int_equal(4 * m->n_outputs, 12);
    assert_status(fish_forward(m, w, &g.b, &running, want, &err), FMP_OK, &err);
    assert_status(fish_forward(m, w, &g.b, &batch, g.outputs, &err), FMP_OK, &err);
    assert_memory_not_equal(g.outputs, want, sizeof want);
    assert_status(fish_forward(m, w, &g.b, &training, g.outputs, &err), FMP_OK, &err);
    assert_memory_equal(g.outputs, want, sizeof want);
    fish_model_fold_statistics(m, w);
    assert_status(fish_forward(m, w, &g.b, &running, g.outputs, &err), FMP_OK, &err);
    assert_memory_equal(g.outputs, want, sizeof want);
    gradcheck_batch_release(&g);
    fish_work_free(m, w);
    fish_model_free(m);
}

/* A small batch after a large one, and a large one after it, give what a new workspace gives. */
static void a_workspace_may_be_used_again(void **state)
{
    fish_model *m = gradcheck_model(nets[0]);
    fish_work *w = fish_work_new(m);

    (void)state;
    gradcheck_fill(m);
    for (uint32_t i = 0; i < 4; i++) {
        static const uint32_t counts[] = {3, 1, 4, 2};
        fish_work *fresh = fish_work_new(m);
        gradcheck_batch g;
        gradcheck_sink *a, *b;

        gradcheck_batch_init(&g, m, counts[i]);
        a = gradcheck_run(m, w, &g, i & 1 ? &running : &batch, UINT32_MAX);
        b = gradcheck_run(m, fresh, &g, i & 1 ? &running : &batch, UINT32_MAX);
        for (uint32_t p = 0; p < m->n_params; p++)
            assert_memory_equal(a->grad[p], b->grad[p], m->params[p].n * sizeof **a->grad);
        gradcheck_sink_free(a);
        gradcheck_sink_free(b);
        gradcheck_batch_release(&g);
        fish_work_free(m, fresh);
    }
    fish_work_free(m, w);
    fish_model_free(m);
}

static void one_value_has_no_batch_statistics(void **state)
{
    fish_model *m = gradcheck_model("{\"model_type\": \"resnet\", \"layers\": [1], \"width\": 2, "
                                    "\"stem\": \"small\", \"image_size\": 1, \"num_labels\": 2}");
    fish_work *w = fish_work_new(m);
    gradcheck_batch g;
    fmp_error err;

    (void)state;
    gradcheck_batch_init(&g, m, 1);
    assert_status(fish_forward(m, w, &g.b, &running, g.outputs, &err), FMP_OK, &err);
    assert_status(fish_forward(m, w, &g.b, &batch, g.outputs, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "bn1.weight"));
    gradcheck_batch_release(&g);
    fish_work_free(m, w);
    fish_model_free(m);
}

/* ---- parameters -------------------------------------------------------------------------------
 */

static const fish_param *find(const fish_model *m, const char *name)
{
    for (uint32_t p = 0; p < m->n_params; p++) {
        if (!strcmp(m->params[p].name, name))
            return &m->params[p];
    }
    fail_msg("no parameter %s", name);
    return NULL;
}

static void assert_shape(const fish_model *m, const char *name, uint64_t a, uint64_t b, uint64_t c)
{
    const fish_param *p = find(m, name);
    const uint64_t want[4] = {a, b, c, c};

    assert_int_equal(p->rank, b ? c ? 4 : 2 : 1);
    assert_memory_equal(p->shape, want, p->rank * sizeof want[0]);
}

/* Counts are those that torchvision's documentation gives: 11,689,512 and 25,557,032 weights. */
static void resnet_18_and_50_have_torchvisions_shapes(void **state)
{
    fish_model *m = gradcheck_model("{\"model_type\": \"resnet\", \"layers\": [2, 2, 2, 2], "
                                    "\"in_channels\": 3, \"image_size\": 224, "
                                    "\"num_labels\": 1000}");
    size_t n = 0;

    (void)state;
    for (uint32_t p = 0; p < m->n_params; p++)
        n += m->params[p].role == FISH_BUFFER ? 0 : m->params[p].n;
    assert_int_equal(n, 11689512);
    assert_int_equal(m->n_params, 20 * 5 + 2);
    assert_shape(m, "conv1.weight", 64, 3, 7);
    assert_shape(m, "layer1.0.conv1.weight", 64, 64, 3);
    assert_shape(m, "layer2.0.downsample.0.weight", 128, 64, 1);
    assert_shape(m, "layer2.0.downsample.1.running_var", 128, 0, 0);
    assert_shape(m, "layer4.1.bn2.bias", 512, 0, 0);
    assert_shape(m, "fc.weight", 1000, 512, 0);
    assert_int_equal(find(m, "fc.bias")->role, FISH_HEAD);
    assert_int_equal(find(m, "bn1.running_mean")->role, FISH_BUFFER);
    fish_model_free(m);
    m = gradcheck_model("{\"model_type\": \"resnet\", \"layers\": [3, 4, 6, 3], \"block\": "
                        "\"bottleneck\", \"in_channels\": 3, \"image_size\": 224, "
                        "\"num_labels\": 1000}");
    n = 0;
    for (uint32_t p = 0; p < m->n_params; p++)
        n += m->params[p].role == FISH_BUFFER ? 0 : m->params[p].n;
    assert_int_equal(n, 25557032);
    assert_shape(m, "layer1.0.downsample.0.weight", 256, 64, 1);
    assert_shape(m, "layer3.5.conv3.weight", 1024, 256, 1);
    fish_model_free(m);
}

/* Convolutions: normal with variance 2 / (out * kernel^2).  Norms: 1, 0, 0, 1. */
static void new_weights_are_as_torchvision_makes_them(void **state)
{
    fish_model *m = gradcheck_model("{\"model_type\": \"resnet\", \"layers\": [1, 1], \"width\": "
                                    "32, \"stem\": \"small\", \"image_size\": 8, "
                                    "\"num_labels\": 10}");

    (void)state;
    for (uint32_t p = 0; p < m->n_params; p++) {
        const fish_param *q = &m->params[p];
        const double want = 2.0 / (double)(q->shape[0] * q->shape[2] * q->shape[3]);
        const double one = strstr(q->name, "weight") || strstr(q->name, "running_var") ? 1 : 0;
        double sum = 0, squares = 0;

        for (size_t i = 0; i < q->n; i++) {
            sum += (double)q->w[i];
            squares += (double)q->w[i] * (double)q->w[i];
        }
        if (q->rank == 4) {
            assert_true(fabs(sum / (double)q->n) <= 5 * sqrt(want / (double)q->n));
            assert_true(fabs(squares / (double)q->n / want - 1) <= 5 * sqrt(2 / (double)q->n));
        } else if (!strstr(q->name, "fc.")) {
            assert_true(sum == one * (double)q->n && squares == sum);
        } else {
            assert_true(squares / (double)q->n <= 1.0 / 64 && squares > 0); /* in +-1 / 8 */
        }
    }
    fish_model_free(m);
}

static void odd_configs_are_refused(void **state)
{
#define NET "{\"model_type\": \"resnet\", "
    static const struct {
        const char *config;
        fmp_status status;
        const char *text;
    } bad[] = {
        {NET "\"image_size\": 8, \"num_labels\": 2}", FMP_ECORRUPT, "layers"},
        {NET "\"layers\": [], \"image_size\": 8, \"num_labels\": 2}", FMP_ECORRUPT, "layers"},
        {NET "\"layers\": [1, 1, 1, 1, 1, 1, 1, 1, 1], \"image_size\": 8}", FMP_ECORRUPT, "layers"},
        {NET "\"layers\": [1, 0], \"image_size\": 8}", FMP_ECORRUPT, "layers: number 2"},
        {NET "\"layers\": [1001], \"image_size\": 8}", FMP_ECORRUPT, "1 to 1000"},
        {NET "\"layers\": [\"1\"], \"image_size\": 8}", FMP_ECORRUPT, "layers: number 1"},
        {NET "\"layers\": [1], \"widths\": [1, 2], \"image_size\": 8}", FMP_ECORRUPT,
         "2 widths for 1 stages"},
        {NET "\"layers\": [1], \"widths\": [65537], \"image_size\": 8}", FMP_ECORRUPT, "widths"},
        {NET "\"layers\": [1], \"width\": 0, \"image_size\": 8}", FMP_ECORRUPT, "width"},
        {NET "\"layers\": [1], \"width\": 100000, \"image_size\": 8}", FMP_ECORRUPT, "width"},
        {NET "\"layers\": [1], \"block\": \"dense\", \"image_size\": 8}", FMP_ENOTSUP, "dense"},
        {NET "\"layers\": [1], \"stem\": \"tiny\", \"image_size\": 8}", FMP_ENOTSUP, "tiny"},
        {NET "\"layers\": [1], \"stem\": 3, \"image_size\": 8}", FMP_ENOTSUP, "stem"},
        {NET "\"layers\": [1], \"groups\": 32, \"image_size\": 8}", FMP_ENOTSUP, "groups"},
        {NET "\"layers\": [1], \"norm_eps\": -1, \"image_size\": 8}", FMP_ECORRUPT, "norm_eps"},
        {NET "\"layers\": [1], \"block\": \"bottleneck\", \"width_per_group\": 1, \"width\": 2,"
             " \"image_size\": 8, \"num_labels\": 2}",
         FMP_ECORRUPT, "width_per_group"},
        {NET "\"layers\": [1], \"num_labels\": 2}", FMP_ECORRUPT, "image_size is missing"},
        {NET "\"layers\": [1], \"width\": 2, \"image_size\": 99999}", FMP_ECORRUPT, "image_size"},
        {NET "\"layers\": [1], \"in_channels\": 0, \"image_size\": 8}", FMP_ECORRUPT,
         "in_channels"},
        {NET "\"layers\": [1], \"width\": 2, \"image_size\": 8}", FMP_EUSAGE, "number of labels"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *config = json_loads(bad[i].config, 0, NULL);
        fish_model *m = NULL;
        fmp_error err;

        assert_non_null(config);
        assert_status(fish_model_new(config, 1, &m, &err), bad[i].status, &err);
        assert_null(m);
        if (!strstr(err.text, bad[i].text))
            fail_msg("%s: \"%s\" has no \"%s\"", bad[i].config, err.text, bad[i].text);
        json_decref(config);
    }
}

/* ---- checkpoints ------------------------------------------------------------------------------
 */

static char dir[64];

/* Writes nets[1] with names behind `prefix`, all tensors but `without`. */
static void save(const char *prefix, const char *without)
{
    json_t *config = json_loads(nets[1], 0, NULL);
    fish_model *m = gradcheck_model(nets[1]);
    char name[100];
    fmp_error err;

    gradcheck_fill(m);
    for (uint32_t p = 0; p < m->n_params; p++) {
        char *named = fish_alloc(100, 1);

        assert_non_null(named);
        snprintf(named, 100, "%s%s", prefix,
                 without && !strcmp(without, m->params[p].name) ? "other" : m->params[p].name);
        fish_free((char *)(uintptr_t)m->params[p].name);
        m->params[p].name = named;
    }
    assert_status(fish_model_save(m, config, dir, true, &err), FMP_OK, &err);
    snprintf(name, sizeof name, "%s/config.json", dir);
    fish_model_free(m);
    json_decref(config);
}

static fmp_status open_saved(uint32_t n_outputs, const char *head, fish_model **ret, fmp_error *err)
{
    const fish_model_options options = {.n_outputs = n_outputs, .head = head};
    fmp_store *base = NULL;
    fmp_status st;

    assert_status(fmp_store_open(dir, NULL, &base, err), FMP_OK, err);
    st = fish_model_open(base, dir, &options, ret, err);
    fmp_store_close(base);
    return st;
}

static void checkpoints_open_with_and_without_a_prefix(void **state)
{
    static const char *const prefixes[] = {"", "module.", "net.backbone."};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fish_model *m = NULL;
        char name[64];
        fmp_error err;

        save(prefixes[i], NULL);
        assert_status(open_saved(0, NULL, &m, &err), FMP_OK, &err);
        assert_int_equal(m->n_outputs, 2);
        snprintf(name, sizeof name, "%slayer2.0.downsample.1.running_var", prefixes[i]);
        assert_true(find(m, name)->w[1] ==
                    gradcheck_number("layer2.0.downsample.1.running_var", 1) + 1.0f);
        fish_model_free(m);
    }
}

static void missing_tensors_are_refused_and_heads_are_made(void **state)
{
    static const char *const body[] = {"conv1.weight", "layer1.1.conv2.weight", "bn1.running_mean",
                                       "layer2.0.downsample.1.bias"};
    fish_model *m = NULL;
    fmp_error err;

    (void)state;
    for (size_t i = 0; i < sizeof body / sizeof body[0]; i++) {
        save("", body[i]);
        assert_status(open_saved(0, NULL, &m, &err), FMP_ECORRUPT, &err);
        assert_non_null(strstr(err.text, "is missing"));
    }
    save("", "fc.weight");
    assert_status(open_saved(7, NULL, &m, &err), FMP_EUSAGE, &err); /* fc.bias has two */
    assert_status(open_saved(2, NULL, &m, &err), FMP_OK, &err);
    assert_true(find(m, "fc.weight")->added);
    fish_model_free(m);
    m = NULL;
    save("", NULL);
    assert_status(open_saved(7, NULL, &m, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "fc.weight has 2 outputs, 7 are needed"));
    assert_status(open_saved(7, "classifier.weight", &m, &err), FMP_OK, &err);
    assert_int_equal(m->n_outputs, 7);
    assert_shape(m, "classifier.weight", 7, 4, 0);
    assert_true(find(m, "classifier.bias")->added);
    fish_model_free(m);
}

static void short_memory_is_an_error(void **state)
{
    json_t *config = json_loads(nets[0], 0, NULL);
    fish_model *m = NULL;
    gradcheck_sink *s;
    gradcheck_batch g;
    fmp_error err;
    fmp_status st = FMP_ENOMEM;
    long k;

    (void)state;
    for (k = 0; st; k++) {
        fish_alloc_fail_at(k);
        st = fish_model_new(config, 1, &m, &err);
        fish_alloc_fail_at(-1);
        assert_true(!st || st == FMP_ENOMEM);
    }
    assert_true(k > 60);
    gradcheck_batch_init(&g, m, 3);
    for (k = 0, st = FMP_ENOMEM; st; k++) {
        fish_work *w;

        s = gradcheck_sink_new(m, UINT32_MAX);
        fish_alloc_fail_at(k);
        w = fish_work_new(m);
        st = w ? fish_forward(m, w, &g.b, &running, g.outputs, &err) : FMP_ENOMEM;
        if (!st)
            st = fish_backward(m, w, &g.b, g.d_outputs, &s->sink, &err);
        fish_alloc_fail_at(-1);
        assert_true(!st || st == FMP_ENOMEM);
        /* the workspace is whole again once there is memory */
        if (w && st)
            assert_status(fish_forward(m, w, &g.b, &running, g.outputs, &err), FMP_OK, &err);
        fish_work_free(m, w);
        gradcheck_sink_free(s);
    }
    assert_true(k > 6);
    gradcheck_batch_release(&g);
    fish_model_free(m);
    json_decref(config);
}

static void batches_past_memory_are_refused(void **state)
{
    fish_model *m = gradcheck_model(nets[0]);
    fish_work *w = fish_work_new(m);
    const float pixel = 0;
    const fish_batch b = {.n = UINT32_MAX, .pixels = &pixel};
    float output;
    fmp_error err;

    (void)state;
    assert_status(fish_forward(m, w, &b, &running, &output, &err), FMP_ENOMEM, &err);
    assert_non_null(strstr(err.text, "4294967295 images are too many"));
    fish_work_free(m, w);
    fish_model_free(m);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "fish-resnet-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char name[100];

    (void)state;
    snprintf(name, sizeof name, "%s/model.safetensors", dir);
    remove(name);
    snprintf(name, sizeof name, "%s/config.json", dir);
    remove(name);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(examples_have_gradients_of_their_own),
        cmocka_unit_test(gradients_and_statistics_are_those_of_pytorch),
        cmocka_unit_test(training_goes_by_running_statistics_unless_told),
        cmocka_unit_test(a_workspace_may_be_used_again),
        cmocka_unit_test(one_value_has_no_batch_statistics),
        cmocka_unit_test(resnet_18_and_50_have_torchvisions_shapes),
        cmocka_unit_test(new_weights_are_as_torchvision_makes_them),
        cmocka_unit_test(odd_configs_are_refused),
        cmocka_unit_test(checkpoints_open_with_and_without_a_prefix),
        cmocka_unit_test(missing_tensors_are_refused_and_heads_are_made),
        cmocka_unit_test(short_memory_is_an_error),
        cmocka_unit_test(batches_past_memory_are_refused),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
