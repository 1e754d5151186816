/*
 * Multi-layer perceptrons: names as torch.nn.Sequential gives them, gradients against differences
 * and against PyTorch's, and every config.json that is refused.
 */
#include "fish_gradcheck.h"

#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "fish_mlp_golden.h"
#include "model/image_model.h"

static const fish_pass evaluation = {.train = false};

static void names_and_shapes_are_those_of_sequential(void **state)
{
    static const struct {
        const char *name;
        fish_role role;
        uint64_t shape[2];
    } want[] = {{"0.weight", FISH_BODY, {8, 12}}, {"0.bias", FISH_BODY, {8, 0}},
                {"2.weight", FISH_BODY, {5, 8}},  {"2.bias", FISH_BODY, {5, 0}},
                {"4.weight", FISH_HEAD, {3, 5}},  {"4.bias", FISH_HEAD, {3, 0}}};
    fish_model *m =
        gradcheck_model("{\"model_type\": \"mlp\", \"hidden\": [8, 5], \"num_labels\": 3,"
                        " \"in_channels\": 2, \"image_size\": [2, 3]}");

    (void)state;
    assert_int_equal(m->n_params, 6);
    assert_int_equal(m->n_outputs, 3);
    assert_int_equal(m->image[0], 2);
    assert_int_equal(m->image[1], 2);
    assert_int_equal(m->image[2], 3);
    for (uint32_t p = 0; p < 6; p++) {
        assert_string_equal(m->params[p].name, want[p].name);
        assert_int_equal(m->params[p].role, want[p].role);
        assert_int_equal(m->params[p].rank, want[p].shape[1] ? 2 : 1);
        assert_memory_equal(m->params[p].shape, want[p].shape,
                            m->params[p].rank * sizeof want[p].shape[0]);
    }
    fish_model_free(m);
}

static void image_shape_follows_from_the_sizes(void **state)
{
    static const struct {
        const char *config;
        uint32_t chw[3];
    } want[] = {
        {"{\"model_type\": \"mlp\", \"sizes\": [784, 10]}", {1, 28, 28}},
        {"{\"model_type\": \"mlp\", \"sizes\": [75, 10], \"in_channels\": 3}", {3, 5, 5}},
        {"{\"model_type\": \"mlp\", \"sizes\": [30, 10]}", {1, 1, 30}},
        {"{\"model_type\": \"mlp\", \"sizes\": [30, 10], \"image_size\": [5, 6]}", {1, 5, 6}}};

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        fish_model *m = gradcheck_model(want[i].config);

        assert_memory_equal(m->image, want[i].chw, sizeof want[i].chw);
        fish_model_free(m);
    }
}

/* ReLU by its kinks gets a wider tolerance than GELU. */
static void gradients_agree_with_differences(void **state)
{
    static const struct {
        const char *config;
        double tolerance;
    } kinds[] = {
        {"{\"model_type\": \"mlp\", \"sizes\": [12, 7, 5, 3]}", 5e-3},
        {"{\"model_type\": \"mlp\", \"sizes\": [12, 7, 5, 3], \"activation\": \"gelu\"}", 2e-3},
        {"{\"model_type\": \"mlp\", \"sizes\": [12, 3]}", 1e-3}};

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        fish_model *m = gradcheck_model(kinds[i].config);
        gradcheck_batch g;

        gradcheck_fill(m);
        gradcheck_batch_init(&g, m, 4);
        gradcheck_differences(m, &g, &evaluation, 1.0f / 256, kinds[i].tolerance);
        gradcheck_batch_release(&g);
        fish_model_free(m);
    }
}

static void examples_have_gradients_of_their_own(void **state)
{
    fish_model *m = gradcheck_model("{\"model_type\": \"mlp\", \"sizes\": [12, 7, 5, 3]}");
    gradcheck_batch g;

    (void)state;
    gradcheck_fill(m);
    gradcheck_batch_init(&g, m, 5);
    gradcheck_examples(m, &g, 1e-5);
    gradcheck_empty(m);
    gradcheck_batch_release(&g);
    fish_model_free(m);
}

static void gradients_are_those_of_pytorch(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof mlp_golden / sizeof mlp_golden[0]; k++) {
        const mlp_golden_case *want = &mlp_golden[k];
        fish_model *m = gradcheck_model(want->config);
        fish_work *w = fish_work_new(m);
        const float *at = want->gradients;
        gradcheck_batch g;
        gradcheck_sink *s;
        double outputs[64];

        gradcheck_fill(m);
        gradcheck_batch_init(&g, m, want->n_images);
        s = gradcheck_run(m, w, &g, &evaluation, UINT32_MAX);
        assert_true(want->n_images * m->n_outputs <= 64);
        for (size_t i = 0; i < want->n_images * m->n_outputs; i++)
            outputs[i] = (double)g.outputs[i];
        gradcheck_close("outputs", want->outputs, want->n_images * m->n_outputs, outputs, 1e-5);
        for (uint32_t p = 0; p < m->n_params; p++) {
            gradcheck_close(m->params[p].name, at, m->params[p].n, s->grad[p], 1e-4);
            at += m->params[p].n;
        }
        assert_ptr_equal(at, want->gradients + want->n_gradients);
        gradcheck_sink_free(s);
        gradcheck_batch_release(&g);
        fish_work_free(m, w);
        fish_model_free(m);
    }
}

/* U(-1 / sqrt(in), 1 / sqrt(in)), for weights and biases: bounds, mean and variance. */
static void new_layers_are_uniform_as_in_nn_linear(void **state)
{
    fish_model *m = gradcheck_model("{\"model_type\": \"mlp\", \"sizes\": [400, 300, 10]}");

    (void)state;
    for (uint32_t p = 0; p < m->n_params; p++) {
        const fish_param *q = &m->params[p];
        const double bound = 1 / sqrt(p < 2 ? 400.0 : 300.0);
        const double slack = 4 / sqrt((double)q->n); /* four standard errors and more */
        double sum = 0, squares = 0, most = 0;

        for (size_t i = 0; i < q->n; i++) {
            sum += (double)q->w[i];
            squares += (double)q->w[i] * (double)q->w[i];
            most = fmax(most, fabs((double)q->w[i]));
        }
        assert_true(most <= bound * (1 + 1e-6));
        assert_true(most >= bound * (1 - 10 / (double)q->n));
        assert_true(fabs(sum / (double)q->n) <= bound * slack);
        assert_true(fabs(squares / (double)q->n / (bound * bound / 3) - 1) <= slack);
    }
    fish_model_free(m);
}

static void odd_configs_are_refused(void **state)
{
    static const struct {
        const char *config;
        fmp_status status;
        const char *text;
    } bad[] = {
        {"{\"model_type\": \"mlp\"}", FMP_ECORRUPT, "hidden must be an array"},
        {"{\"model_type\": \"mlp\", \"sizes\": 5}", FMP_ECORRUPT, "sizes must be an array"},
        {"{\"model_type\": \"mlp\", \"sizes\": [5]}", FMP_ECORRUPT, "at least two"},
        {"{\"model_type\": \"mlp\", \"sizes\": []}", FMP_ECORRUPT, "at least two"},
        {"{\"model_type\": \"mlp\", \"sizes\": [4, 0, 3]}", FMP_ECORRUPT, "number 2"},
        {"{\"model_type\": \"mlp\", \"sizes\": [4, 2.5, 3]}", FMP_ECORRUPT, "number 2"},
        {"{\"model_type\": \"mlp\", \"sizes\": [4, -1, 3]}", FMP_ECORRUPT, "number 2"},
        {"{\"model_type\": \"mlp\", \"sizes\": [4, 3, 99999999999]}", FMP_ECORRUPT, "number 3"},
        {"{\"model_type\": \"mlp\", \"hidden\": [4], \"num_labels\": 3}", FMP_ECORRUPT,
         "image_size"},
        {"{\"model_type\": \"mlp\", \"hidden\": [4], \"image_size\": 2}", FMP_EUSAGE,
         "number of labels"},
        {"{\"model_type\": \"mlp\", \"hidden\": [4], \"num_labels\": 0, \"image_size\": 2}",
         FMP_ECORRUPT, "num_labels"},
        {"{\"model_type\": \"mlp\", \"sizes\": [10, 3], \"image_size\": 3}", FMP_ECORRUPT,
         "sizes begins with 10, but an image has 1 x 3 x 3"},
        {"{\"model_type\": \"mlp\", \"sizes\": [10, 3], \"in_channels\": 3}", FMP_ECORRUPT,
         "sizes begins with 10"},
        {"{\"model_type\": \"mlp\", \"sizes\": [2, 3], \"in_channels\": 3}", FMP_ECORRUPT,
         "sizes begins with 2"},
        {"{\"model_type\": \"mlp\", \"hidden\": [], \"num_labels\": 3, \"in_channels\": 4096,"
         " \"image_size\": 16384}",
         FMP_ECORRUPT, "limit"},
        {"{\"model_type\": \"mlp\", \"sizes\": [4, 3], \"image_size\": 0}", FMP_ECORRUPT,
         "image_size"},
        {"{\"model_type\": \"mlp\", \"sizes\": [4, 3], \"image_size\": [2]}", FMP_ECORRUPT,
         "image_size"},
        {"{\"model_type\": \"mlp\", \"sizes\": [4, 3], \"image_size\": \"2\"}", FMP_ECORRUPT,
         "image_size"},
        {"{\"model_type\": \"mlp\", \"sizes\": [4, 3], \"activation\": \"silu\"}", FMP_ENOTSUP,
         "silu"},
        {"{\"model_type\": \"mlp\", \"sizes\": [4, 3], \"activation\": 1}", FMP_ENOTSUP,
         "activation"},
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

static void images_of_another_shape_are_refused_by_name(void **state)
{
    fish_model *m = gradcheck_model("{\"model_type\": \"mlp\", \"sizes\": [12, 3]}");
    const uint32_t right[3] = {1, 1, 12}, channels[3] = {3, 1, 12}, size[3] = {1, 3, 4};
    fmp_error err;

    (void)state;
    assert_status(fish_image_check(m, "a.idx", right, &err), FMP_OK, &err);
    assert_status(fish_image_check(m, "a.idx", channels, &err), FMP_EUSAGE, &err);
    assert_string_equal(err.text, "a.idx: images have 3 channels, the model takes 1");
    assert_status(fish_image_check(m, "a.idx", size, &err), FMP_EUSAGE, &err);
    assert_string_equal(err.text, "a.idx: images are 3 x 4, the model takes 1 x 12");
    m->image[0] = 0;
    assert_status(fish_image_check(m, "a.idx", right, &err), FMP_EUSAGE, &err);
    fish_model_free(m);
}

/* ---- checkpoints ------------------------------------------------------------------------------
 */

static char dir[64];

static void save(const char *text, const char *name, char path[160])
{
    json_t *config = json_loads(text, 0, NULL);
    fish_model *m = gradcheck_model(text);
    fmp_error err;

    snprintf(path, 160, "%s/%s", dir, name);
    gradcheck_fill(m);
    assert_status(fish_model_save(m, config, path, true, &err), FMP_OK, &err);
    fish_model_free(m);
    json_decref(config);
}

static void remove_saved(const char *path)
{
    char name[200];

    snprintf(name, sizeof name, "%s/model.safetensors", path);
    assert_int_equal(remove(name), 0);
    snprintf(name, sizeof name, "%s/config.json", path);
    assert_int_equal(remove(name), 0);
    assert_int_equal(rmdir(path), 0);
}

static fmp_status open_saved(const char *path, const fish_model_options *options, fish_model **ret,
                             fmp_error *err)
{
    fmp_store *base = NULL;
    fmp_status st;

    assert_status(fmp_store_open(path, NULL, &base, err), FMP_OK, err);
    st = fish_model_open(base, path, options, ret, err);
    fmp_store_close(base);
    return st;
}

static void a_saved_model_opens_as_it_was(void **state)
{
    char path[160];
    fish_model *m = NULL;
    fmp_error err;

    (void)state;
    save("{\"model_type\": \"mlp\", \"sizes\": [12, 7, 3]}", "same", path);
    assert_status(open_saved(path, NULL, &m, &err), FMP_OK, &err);
    assert_int_equal(m->n_outputs, 3);
    for (uint32_t p = 0; p < m->n_params; p++) {
        assert_false(m->params[p].added);
        for (size_t i = 0; i < m->params[p].n; i++)
            assert_true(m->params[p].w[i] == gradcheck_number(m->params[p].name, i) + 0.0f);
    }
    fish_model_free(m);
    remove_saved(path);
}

static void a_head_of_other_outputs_is_refused_by_name(void **state)
{
    const fish_model_options four = {.n_outputs = 4};
    char path[160];
    fish_model *m = NULL;
    fmp_error err;

    (void)state;
    save("{\"model_type\": \"mlp\", \"sizes\": [12, 7, 3]}", "other", path);
    assert_status(open_saved(path, &four, &m, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "2.weight has 3 outputs, 4 are needed"));
    assert_null(m);
    remove_saved(path);
}

/* The config names a layer more than the checkpoint has: the head is made, its body is not. */
static void a_missing_head_is_added_and_a_missing_body_is_not(void **state)
{
    const char *longer = "{\"model_type\": \"mlp\", \"sizes\": [12, 7, 3, 2]}";
    const char *longest = "{\"model_type\": \"mlp\", \"sizes\": [12, 7, 3, 2, 2]}";
    char path[160], config[160];
    fish_model_options options = {.config_path = config, .n_outputs = 5, .seed = 3};
    fish_model *m = NULL;
    FILE *f;
    fmp_error err;

    (void)state;
    save("{\"model_type\": \"mlp\", \"sizes\": [12, 7, 3]}", "less", path);
    snprintf(config, sizeof config, "%s/longer.json", dir);
    f = fopen(config, "w");
    assert_non_null(f);
    fputs(longer, f);
    fclose(f);
    assert_status(open_saved(path, &options, &m, &err), FMP_OK, &err);
    assert_int_equal(m->n_outputs, 5);
    assert_string_equal(m->params[4].name, "4.weight");
    assert_true(m->params[4].added && m->params[5].added && !m->params[3].added);
    fish_model_free(m);
    m = NULL;
    f = fopen(config, "w");
    assert_non_null(f);
    fputs(longest, f);
    fclose(f);
    assert_status(open_saved(path, &options, &m, &err), FMP_ECORRUPT, &err);
    assert_non_null(strstr(err.text, "\"4.weight\" is missing"));
    remove(config);
    remove_saved(path);
}

/* "10.weight" ends like "0.weight" but is no "0.weight" behind a prefix. */
static void prefixes_end_at_a_point(void **state)
{
    static const char text[] = "{\"model_type\": \"mlp\", \"sizes\": [4, 4, 4, 4, 4, 4, 3]}";
    json_t *config = json_loads(text, 0, NULL);
    char path[160];
    fish_model *m = NULL;
    fmp_error err;

    (void)state;
    snprintf(path, sizeof path, "%s/point", dir);
    for (int i = 0; i < 2; i++) {
        static const char *const names[] = {"net.0.weight", "other"};

        m = gradcheck_model(text);
        for (uint32_t p = 0; p < m->n_params; p++) {
            char *named = fish_alloc(32, 1);

            assert_non_null(named);
            snprintf(named, 32, "net.%s", m->params[p].name);
            if (!strcmp(m->params[p].name, "0.weight"))
                snprintf(named, 32, "%s", names[i]);
            fish_free((char *)(uintptr_t)m->params[p].name);
            m->params[p].name = named;
        }
        assert_status(fish_model_save(m, config, path, true, &err), FMP_OK, &err);
        fish_model_free(m);
        m = NULL;
        assert_status(open_saved(path, NULL, &m, &err), i ? FMP_ECORRUPT : FMP_OK, &err);
        if (i)
            assert_non_null(strstr(err.text, "\"0.weight\" is missing"));
        else
            assert_string_equal(m->params[10].name, "net.10.weight");
        fish_model_free(m);
    }
    remove_saved(path);
    json_decref(config);
}

static void short_memory_is_an_error(void **state)
{
    static const char text[] = "{\"model_type\": \"mlp\", \"sizes\": [12, 7, 3], \"activation\": "
                               "\"gelu\"}";
    json_t *config = json_loads(text, 0, NULL);
    fish_model *m = NULL;
    fish_work *w = NULL;
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
    assert_true(k > 8);
    gradcheck_batch_init(&g, m, 3);
    for (k = 0, st = FMP_ENOMEM; st; k++) {
        fish_alloc_fail_at(k);
        w = fish_work_new(m);
        st = w ? fish_forward(m, w, &g.b, &evaluation, g.outputs, &err) : FMP_ENOMEM;
        fish_alloc_fail_at(-1);
        assert_true(!st || st == FMP_ENOMEM);
        fish_work_free(m, w);
    }
    assert_int_equal(k, 4); /* the work, its memory, its starts; then none */
    gradcheck_batch_release(&g);
    fish_model_free(m);
    json_decref(config);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "fish-mlp-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_shapes_are_those_of_sequential),
        cmocka_unit_test(image_shape_follows_from_the_sizes),
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(examples_have_gradients_of_their_own),
        cmocka_unit_test(gradients_are_those_of_pytorch),
        cmocka_unit_test(new_layers_are_uniform_as_in_nn_linear),
        cmocka_unit_test(odd_configs_are_refused),
        cmocka_unit_test(images_of_another_shape_are_refused_by_name),
        cmocka_unit_test(a_saved_model_opens_as_it_was),
        cmocka_unit_test(a_head_of_other_outputs_is_refused_by_name),
        cmocka_unit_test(a_missing_head_is_added_and_a_missing_body_is_not),
        cmocka_unit_test(prefixes_end_at_a_point),
        cmocka_unit_test(short_memory_is_an_error),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
