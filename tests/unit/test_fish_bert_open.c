/*
 * Opening BERT models: every way that a checkpoint or its config.json can be named or be wrong, new
 * models, dtypes, and memory that runs short.
 */
#include "bert_support.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/tensors.h"

/* ---- checkpoints ------------------------------------------------------------------------------
 */

static char dir[] = "/tmp/fish-bert-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : 1;
}

static void path_in(const char *name, char *ret, size_t cap)
{
    snprintf(ret, cap, "%s/%s", dir, name);
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"config.json", "model.safetensors"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        path_in(names[i], path, sizeof path);
        (void)unlink(path);
    }
    return rmdir(dir);
}

static void write_config(const char *text, size_t len)
{
    char path[128];
    FILE *f;

    path_in("config.json", path, sizeof path);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* How a checkpoint names what make_tiny() made. */
typedef struct naming {
    const char *prefix;
    const char *head; /* "" for none at all */
    const char *dtype;
    const char *without; /* a part of names left out */
    bool old_norms;
} naming;

static bool name_it(const naming *n, const char *name, char *ret, size_t cap)
{
    const char *norm = strstr(name, "LayerNorm.");

    if (n->without && strstr(name, n->without))
        return false;
    if (!strncmp(name, "classifier", 10)) {
        snprintf(ret, cap, "%s%s", n->head, name + 10);
        return n->head[0];
    }
    if (norm && n->old_norms)
        snprintf(ret, cap, "%s%.*s%s", n->prefix, (int)(norm + 10 - name), name,
                 norm[10] == 'w' ? "gamma" : "beta");
    else
        snprintf(ret, cap, "%s%s", n->prefix, name);
    return true;
}

static void write_checkpoint(const fish_model *m, const naming *n)
{
    fish_tensor_desc descs[64];
    const fish_param *of[64];
    char names[64][128], path[128];
    uint16_t half[512];
    fish_tensor_writer *w;
    uint32_t count = 0;
    fmp_error err;

    for (uint32_t i = 0; i < m->n_params; i++) {
        const fish_param *p = &m->params[i];

        assert_true(p->n <= 512);
        if (!name_it(n, p->name, names[count], sizeof names[count]))
            continue;
        descs[count] = (fish_tensor_desc){.name = names[count], .dtype = n->dtype, .rank = p->rank};
        memcpy(descs[count].shape, p->shape, sizeof p->shape);
        of[count++] = p;
    }
    path_in("model.safetensors", path, sizeof path);
    assert_status(fish_tensor_writer_new(path, true, NULL, descs, count, &w, &err), FMP_OK, &err);
    for (uint32_t i = 0; i < count; i++) {
        const size_t size = fish_dtype_size(n->dtype);

        fish_narrow(n->dtype, of[i]->w, half, size == 2 ? of[i]->n : 0);
        assert_status(fish_tensor_writer_put(w, size == 2 ? (void *)half : of[i]->w,
                                             of[i]->n * (size ? size : 4), &err),
                      FMP_OK, &err);
    }
    assert_status(fish_tensor_writer_commit(w, &err), FMP_OK, &err);
}

static fmp_status open_dir(const fish_model_options *options, fish_model **ret, fmp_error *err)
{
    fmp_store *store;
    fmp_status st = fmp_store_open(dir, NULL, &store, err);

    if (st)
        return st;
    st = fish_model_open(store, dir, options, ret, err);
    fmp_store_close(store);
    return st;
}

/* Whatever the prefix, names are the checkpoint's and weights its bits; the head stands beside the
 * body. */
static void names_are_the_checkpoints(void **state)
{
    static const struct {
        naming n;
        const char *word, *head;
    } all[] = {
        {{"", "classifier", "F32", NULL, false}, "embeddings.word_embeddings.weight", "classifier"},
        {{"bert.", "classifier", "F32", NULL, false},
         "bert.embeddings.word_embeddings.weight",
         "classifier"},
        {{"module.bert.", "module.classifier", "BF16", NULL, false},
         "module.bert.embeddings.word_embeddings.weight",
         "module.classifier"},
        {{"bert.", "classifier", "F16", NULL, true},
         "bert.embeddings.word_embeddings.weight",
         "classifier"},
    };
    fish_model *m = make_tiny("");

    (void)state;
    write_config("{" TINY "}", strlen("{" TINY "}"));
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        char name[128];
        fish_model *got;
        fmp_error err;

        write_checkpoint(m, &all[k].n);
        assert_status(open_dir(NULL, &got, &err), FMP_OK, &err);
        assert_int_equal(got->n_params, m->n_params);
        assert_int_equal(got->n_outputs, 3);
        assert_int_equal(got->max_tokens, 9);
        assert_non_null(find_param(got, all[k].word));
        for (uint32_t i = 0; i < got->n_params; i++) {
            const fish_param *p = &got->params[i];
            const fish_param *q = &m->params[i];

            assert_true(name_it(&all[k].n, q->name, name, sizeof name));
            assert_string_equal(p->name, name);
            assert_string_equal(p->dtype, all[k].n.dtype);
            assert_false(p->added);
            assert_int_equal(p->role, strstr(name, all[k].head) ? FISH_HEAD : FISH_BODY);
            for (size_t j = 0; j < p->n; j++) {
                float want = q->w[j];
                uint16_t half;

                if (fish_dtype_size(p->dtype) == 2) {
                    fish_narrow(p->dtype, &q->w[j], &half, 1);
                    fish_widen(p->dtype, &half, &want, 1);
                }
                assert_true(p->w[j] == want);
            }
        }
        fish_model_free(got);
    }
    fish_model_free(m);
}

/* A head that the base lacks is made: normal weights of standard deviation 0.02, bias 0, the same
 * for the same seed. */
static void missing_head_is_made(void **state)
{
    static const char *const prefixes[] = {"", "bert."};
    const fish_model_options five = {.n_outputs = 5, .seed = 9};
    const fish_model_options other_seed = {.n_outputs = 5, .seed = 10};
    fish_model *m = make_tiny("");

    (void)state;
    write_config("{" TINY "}", strlen("{" TINY "}"));
    for (size_t k = 0; k < 2; k++) {
        const naming n = {prefixes[k], "", "BF16", NULL, false};
        fish_model *a, *b, *c, *d;
        const fish_param *w;
        double square = 0;
        fmp_error err;

        write_checkpoint(m, &n);
        assert_status(open_dir(&five, &a, &err), FMP_OK, &err);
        assert_status(open_dir(&five, &b, &err), FMP_OK, &err);
        assert_status(open_dir(&other_seed, &c, &err), FMP_OK, &err);
        assert_status(open_dir(NULL, &d, &err), FMP_OK, &err);
        w = find_param(a, "classifier.weight");
        assert_non_null(w);
        assert_true(w->added && w->role == FISH_HEAD && w->n == 40 && w->shape[0] == 5);
        assert_string_equal(w->dtype, "F32");
        for (size_t i = 0; i < w->n; i++)
            square += (double)(w->w[i] * w->w[i]) / (double)w->n;
        assert_true(sqrt(square) > 0.01 && sqrt(square) < 0.03);
        assert_memory_equal(w->w, find_param(b, "classifier.weight")->w, 40 * sizeof(float));
        assert_memory_not_equal(w->w, find_param(c, "classifier.weight")->w, 40 * sizeof(float));
        w = find_param(a, "classifier.bias");
        assert_true(w->added && w->n == 5 && w->w[0] == 0 && w->w[4] == 0);
        assert_int_equal(d->n_outputs, 2); /* nobody says how many */
        fish_model_free(a);
        fish_model_free(b);
        fish_model_free(c);
        fish_model_free(d);
    }
    fish_model_free(m);
}

/* options->head names the head's weight; another number of outputs than it has is refused. */
static void head_may_have_another_name(void **state)
{
    const naming n = {"bert.", "score", "F32", NULL, false};
    fish_model_options options = {.head = "score.weight"};
    fish_model *m = make_tiny("");
    char long_name[400];
    fish_model *got;
    fmp_error err;

    (void)state;
    write_config("{" TINY "}", strlen("{" TINY "}"));
    write_checkpoint(m, &n);
    assert_status(open_dir(&options, &got, &err), FMP_OK, &err);
    assert_false(find_param(got, "score.weight")->added);
    assert_false(find_param(got, "score.bias")->added);
    assert_int_equal(got->n_outputs, 3);
    fish_model_free(got);
    options.head = "score";
    options.n_outputs = 4;
    assert_status(open_dir(&options, &got, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "score.weight"));
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    options.head = long_name;
    assert_status(open_dir(&options, &got, &err), FMP_EUSAGE, &err);
    fish_model_free(m);
}

/* A body tensor that is missing is an error; a pooler is made, as a part of the head. */
static void what_is_missing_is_named(void **state)
{
    static const char *const parts[] = {"embeddings.word_embeddings",
                                        "layer.1.attention.self.key.bias",
                                        "layer.0.output.LayerNorm.weight", "pooler.dense.bias"};
    const naming no_pooler = {"", "classifier", "F32", "pooler", false};
    fish_model *m = make_tiny("");
    fish_model *got;
    fmp_error err;

    (void)state;
    write_config("{" TINY "}", strlen("{" TINY "}"));
    for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) {
        const naming n = {"", "classifier", "F32", parts[k], false};

        write_checkpoint(m, &n);
        assert_status(open_dir(NULL, &got, &err), FMP_ECORRUPT, &err);
        assert_non_null(strstr(err.text, parts[k]));
    }
    write_checkpoint(m, &no_pooler);
    assert_status(open_dir(NULL, &got, &err), FMP_OK, &err);
    assert_true(find_param(got, "pooler.dense.weight")->added);
    assert_int_equal(find_param(got, "pooler.dense.weight")->role, FISH_HEAD);
    fish_model_free(got);
    fish_model_free(m);
}

static void wrong_shape_and_dtype_are_named(void **state)
{
    static const char other[] = "{" TINY "}";
    const naming whole = {"", "classifier", "F32", NULL, false};
    const naming integers = {"", "classifier", "I32", NULL, false};
    fish_model *m = make_tiny("");
    char *text = strdup(other);
    fish_model *got;
    fmp_error err;

    (void)state;
    memcpy(strstr(text, "\"intermediate_size\": 12") + 21, "13", 2);
    write_config(text, strlen(text));
    write_checkpoint(m, &whole);
    assert_status(open_dir(NULL, &got, &err), FMP_ECORRUPT, &err);
    assert_non_null(strstr(err.text, "intermediate.dense.weight"));
    assert_non_null(strstr(err.text, "[13, 8] is expected, found [12, 8]"));
    write_config(other, strlen(other));
    write_checkpoint(m, &integers);
    assert_status(open_dir(NULL, &got, &err), FMP_ENOTSUP, &err);
    assert_non_null(strstr(err.text, "I32"));
    free(text);
    fish_model_free(m);
}

/* ---- config.json ------------------------------------------------------------------------------
 */

static void config_is_checked(void **state)
{
    static const struct {
        const char *text, *says;
        fmp_status st;
    } all[] = {
        {"{" TINY ", \"hidden_act\": \"silu\"}", "silu", FMP_ENOTSUP},
        {"{" TINY ", \"hidden_act\": 3}", "hidden_act", FMP_ENOTSUP},
        {"{" TINY ", \"position_embedding_type\": \"relative_key\"}", "relative_key", FMP_ENOTSUP},
        {"{" TINY ", \"is_decoder\": true}", "is_decoder", FMP_ENOTSUP},
        {"{" TINY ", \"hidden_size\": 8}", "duplicate", FMP_ECORRUPT},
        {"{" TINY ", \"layer_norm_eps\": -1}", "layer_norm_eps", FMP_ECORRUPT},
        {"{" TINY ", \"hidden_dropout_prob\": 1.5}", "hidden_dropout_prob", FMP_ECORRUPT},
        {"{" TINY ", \"classifier_dropout\": \"x\"}", "classifier_dropout", FMP_ECORRUPT},
        {"{\"model_type\": \"bert\", \"num_attention_heads\": 5}", "num_attention_heads",
         FMP_ECORRUPT},
        {"{\"model_type\": \"bert\", \"vocab_size\": 0}", "vocab_size", FMP_ECORRUPT},
        {"{\"model_type\": \"bert\", \"hidden_size\": 1.5}", "hidden_size", FMP_ECORRUPT},
        {"{\"model_type\": \"bert\", \"num_hidden_layers\": 99999999}", "num_hidden_layers",
         FMP_ECORRUPT},
        {"{\"model_type\": \"t5\"}", "t5", FMP_ENOTSUP},
        {"{}", "model_type", FMP_ENOTSUP},
        {"[]", "object", FMP_ECORRUPT},
    };
    const naming n = {"", "classifier", "F32", NULL, false};
    fish_model *m = make_tiny("");
    fish_model *got;
    fmp_error err;

    (void)state;
    write_checkpoint(m, &n);
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        write_config(all[k].text, strlen(all[k].text));
        assert_status(open_dir(NULL, &got, &err), all[k].st, &err);
        if (!strstr(err.text, all[k].says))
            fail_msg("\"%s\" does not say \"%s\"", err.text, all[k].says);
    }
    fish_model_free(m);
}

static void config_is_refused_at_every_truncation(void **state)
{
    static const char text[] = "{" TINY "}";
    const naming n = {"", "classifier", "F32", NULL, false};
    fish_model *m = make_tiny("");
    fish_model *got;
    fmp_error err;

    (void)state;
    write_checkpoint(m, &n);
    for (size_t len = 0; len < sizeof text - 1; len++) {
        write_config(text, len);
        assert_status(open_dir(NULL, &got, &err), FMP_ECORRUPT, &err);
    }
    write_config(text, sizeof text - 1);
    assert_status(open_dir(NULL, &got, &err), FMP_OK, &err);
    fish_model_free(got);
    fish_model_free(m);
}

/* config.json may be a file of the caller's choice. */
static void config_path_is_followed(void **state)
{
    const naming n = {"bert.", "classifier", "F32", NULL, false};
    fish_model_options options = {.config_path = "/nonexistent/config.json"};
    fish_model *m = make_tiny("");
    char path[128];
    fish_model *got;
    fmp_store *store;
    fmp_error err;

    (void)state;
    write_checkpoint(m, &n);
    write_config("{" TINY "}", strlen("{" TINY "}"));
    assert_status(open_dir(&options, &got, &err), FMP_EIO, &err);
    path_in("model.safetensors", path, sizeof path); /* a file: config.json lies beside it */
    assert_status(fmp_store_open(path, NULL, &store, &err), FMP_OK, &err);
    assert_status(fish_model_open(store, path, NULL, &got, &err), FMP_OK, &err);
    fish_model_free(got);
    fmp_store_close(store);
    fish_model_free(m);
}

/* ---- new models -------------------------------------------------------------------------------
 */

/* What is saved opens again with the same bits. */
static void saved_models_open(void **state)
{
    json_t *config = config_of("");
    fish_model *m, *got;
    fmp_error err;

    (void)state;
    assert_status(fish_model_new(config, 3, &m, &err), FMP_OK, &err);
    for (uint32_t i = 0; i < m->n_params; i++)
        assert_true(m->params[i].added);
    assert_true(find_param(m, "embeddings.LayerNorm.weight")->w[7] == 1);
    assert_true(find_param(m, "encoder.layer.0.output.LayerNorm.bias")->w[7] == 0);
    assert_true(find_param(m, "pooler.dense.bias")->w[0] == 0);
    assert_true(find_param(m, "pooler.dense.weight")->w[0] != 0);
    assert_status(fish_model_save(m, config, dir, true, &err), FMP_OK, &err);
    assert_status(fish_model_save(m, config, dir, false, &err), FMP_EUSAGE, &err);
    assert_status(open_dir(NULL, &got, &err), FMP_OK, &err);
    assert_int_equal(got->n_params, m->n_params);
    for (uint32_t i = 0; i < m->n_params; i++) {
        assert_string_equal(got->params[i].name, m->params[i].name);
        assert_memory_equal(got->params[i].w, m->params[i].w, m->params[i].n * sizeof(float));
        assert_false(got->params[i].added);
    }
    fish_model_free(got);
    fish_model_free(m);
    json_decref(config);
}

/* ---- dtypes -----------------------------------------------------------------------------------
 */

/* Widening is exact, so narrowing gives every pattern back, NaNs included. */
static void every_half_comes_back(void **state)
{
    static const char *const dtypes[] = {"BF16", "F16"};

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(fish_dtype_size(dtypes[k]), 2);
        for (uint32_t i = 0; i < 65536; i++) {
            const uint16_t bits = (uint16_t)i;
            uint16_t back;
            float x;

            fish_widen(dtypes[k], &bits, &x, 1);
            fish_narrow(dtypes[k], &x, &back, 1);
            assert_int_equal(back, bits);
            if (k == 1 && (i >> 10 & 31) == 31)
                assert_true(i & 1023 ? isnan(x) : isinf(x));
            else if (k == 1)
                assert_true((double)fabsf(x) ==
                            ((i >> 10 & 31) ? ldexp(1024 + (i & 1023), (int)(i >> 10 & 31) - 25)
                                            : ldexp(i & 1023, -24)));
        }
    }
    assert_int_equal(fish_dtype_size("F32"), 4);
    assert_int_equal(fish_dtype_size("I32"), 0);
}

/* Between two neighbours the nearer one, halfway the even one, and beyond the last infinity. */
static void narrowing_rounds_to_nearest_even(void **state)
{
    static const char *const dtypes[] = {"BF16", "F16"};
    static const uint32_t infinity[] = {0x7f80, 0x7c00};

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        for (uint32_t i = 0; i + 1 < infinity[k]; i++) {
            const uint16_t pair[] = {(uint16_t)i, (uint16_t)(i + 1)};
            float x[2], in[3];
            uint16_t got[3];

            fish_widen(dtypes[k], pair, x, 2);
            in[1] = (float)(((double)x[0] + (double)x[1]) / 2);
            in[0] = nextafterf(in[1], 0);
            in[2] = nextafterf(in[1], INFINITY);
            fish_narrow(dtypes[k], in, got, 3);
            assert_int_equal(got[0], i);
            assert_int_equal(got[1], i + (i & 1));
            assert_int_equal(got[2], i + 1);
        }
    }
    for (size_t k = 0; k < 2; k++) {
        const float big[] = {INFINITY, -INFINITY, 3.4028235e38f};
        uint16_t got[3];

        fish_narrow(dtypes[k], big, got, 3);
        assert_int_equal(got[0], infinity[k]);
        assert_int_equal(got[1], infinity[k] | 0x8000);
        assert_int_equal(got[2], infinity[k]);
    }
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static void short_memory_is_survived(void **state)
{
    const naming n = {"bert.", "", "F16", NULL, false};
    const fish_model_options options = {.n_outputs = 3};
    fish_model *m = make_tiny("");
    float outputs[EXAMPLES * OUTPUTS];
    json_t *config = config_of("");
    fish_model *got = NULL;
    fish_work *w = NULL;
    fmp_status st = FMP_ENOMEM;
    fmp_store *store;
    tiny_batch t;
    fmp_error err;
    long k;

    (void)state;
    make_batch(&t);
    write_config("{" TINY "}", strlen("{" TINY "}"));
    write_checkpoint(m, &n);
    fish_model_free(m);
    assert_status(fmp_store_open(dir, NULL, &store, &err), FMP_OK, &err);
    for (k = 0; st; k++) {
        fish_alloc_fail_at(k);
        st = fish_model_open(store, dir, &options, &got, &err);
        assert_true(!st || st == FMP_ENOMEM);
    }
    assert_true(k > 40);
    fmp_store_close(store);
    for (st = FMP_ENOMEM, k = 0; st; k++) {
        fish_alloc_fail_at(k);
        st = fish_model_new(config, 1, &m, &err);
        assert_true(!st || st == FMP_ENOMEM);
    }
    fish_model_free(m);
    for (k = 0; !w; k++) {
        fish_alloc_fail_at(k);
        w = fish_work_new(got);
    }
    assert_int_equal(k, 3);
    for (st = FMP_ENOMEM, k = 0; st; k++) {
        fish_alloc_fail_at(k);
        st = fish_forward(got, w, &t.batch, &train, outputs, &err);
        assert_true(!st || st == FMP_ENOMEM);
    }
    assert_int_equal(k, 3);
    fish_alloc_fail_at(-1);
    json_decref(config);
    fish_work_free(got, w);
    fish_model_free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_the_checkpoints),
        cmocka_unit_test(missing_head_is_made),
        cmocka_unit_test(head_may_have_another_name),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(wrong_shape_and_dtype_are_named),
        cmocka_unit_test(config_is_checked),
        cmocka_unit_test(config_is_refused_at_every_truncation),
        cmocka_unit_test(config_path_is_followed),
        cmocka_unit_test(saved_models_open),
        cmocka_unit_test(every_half_comes_back),
        cmocka_unit_test(narrowing_rounds_to_nearest_even),
        cmocka_unit_test(short_memory_is_survived),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
