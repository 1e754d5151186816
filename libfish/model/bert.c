/*
 * BertModel with a classifier, as Hugging Face's BertForSequenceClassification has it (Devlin et
 * al. 2019): which parameters there are and what config.json says of them.  The passes are in
 * bert_pass.c.
 */
#include "model/bert.h"

#include <stdio.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"

#define NAME_MAX_LEN 160
#define OUTPUTS_MAX  (1 << 20)

static void free_config(void *config)
{
    bert *c = config;

    if (!c)
        return;
    fish_free(c->layers);
    fish_free(c);
}

static const fish_driver driver = {
    .name = "bert",
    .forward = fish_bert_forward,
    .backward = fish_bert_backward,
    .work_new = fish_bert_work_new,
    .work_free = fish_bert_work_free,
    .free = free_config,
};

/* ---- config.json ------------------------------------------------------------------------------
 */

static fmp_status read_activation(const json_t *config, bert_activation *ret, fmp_error *err)
{
    static const struct {
        const char *name;
        bert_activation activation;
    } known[] = {{"gelu", BERT_GELU},
                 {"gelu_new", BERT_GELU_TANH},
                 {"gelu_pytorch_tanh", BERT_GELU_TANH},
                 {"relu", BERT_RELU}};
    const json_t *v = json_object_get(config, "hidden_act");
    const char *name = v ? json_string_value(v) : "gelu";

    for (size_t i = 0; name && i < sizeof known / sizeof known[0]; i++) {
        if (!strcmp(known[i].name, name)) {
            *ret = known[i].activation;
            return FMP_OK;
        }
    }
    return fish_fail(err, FMP_ENOTSUP,
                     "config.json: \"hidden_act\": gelu, gelu_new or relu is expected, found %s",
                     name ? name : "no string");
}

static fmp_status read_dimensions(const json_t *config, bert *c, fmp_error *err)
{
    const struct {
        const char *key;
        int64_t hi, missing;
        uint32_t *to;
    } keys[] = {
        {"vocab_size", 1 << 24, 30522, &c->vocab},
        {"hidden_size", 1 << 16, 768, &c->hidden},
        {"num_hidden_layers", 1000, 12, &c->n_layers},
        {"num_attention_heads", 1 << 12, 12, &c->heads},
        {"intermediate_size", 1 << 20, 3072, &c->intermediate},
        {"max_position_embeddings", 1 << 20, 512, &c->max_position},
        {"type_vocab_size", 1 << 10, 2, &c->types},
    };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int64_t n;
        const fmp_status st =
            fish_config_int(config, keys[i].key, 1, keys[i].hi, keys[i].missing, &n, err);

        if (st)
            return st;
        *keys[i].to = (uint32_t)n;
    }
    if (c->hidden % c->heads)
        return fish_fail(err, FMP_ECORRUPT,
                         "config.json: hidden_size %u is no multiple of num_attention_heads %u",
                         c->hidden, c->heads);
    return FMP_OK;
}

static fmp_status read_config(const json_t *config, bert *c, fmp_error *err)
{
    const char *position = json_string_value(json_object_get(config, "position_embedding_type"));
    fmp_status st = read_dimensions(config, c, err);

    if (!st && position && strcmp(position, "absolute"))
        st =
            fish_fail(err, FMP_ENOTSUP,
                      "config.json: position_embedding_type \"absolute\" is expected, found \"%s\"",
                      position);
    if (!st && json_is_true(json_object_get(config, "is_decoder")))
        st = fish_fail(err, FMP_ENOTSUP, "config.json: is_decoder: only encoders are supported");
    if (!st)
        st = read_activation(config, &c->activation, err);
    if (!st)
        st = fish_config_real(config, "layer_norm_eps", 0, 1, 1e-12, &c->eps, err);
    if (!st)
        st = fish_config_real(config, "hidden_dropout_prob", 0, 0.99, 0.1, &c->dropout, err);
    if (!st)
        st = fish_config_real(config, "attention_probs_dropout_prob", 0, 0.99, 0.1,
                              &c->attention_dropout, err);
    if (!st)
        st = fish_config_real(config, "classifier_dropout", 0, 0.99, c->dropout,
                              &c->classifier_dropout, err);
    return st;
}

/* ---- parameters -------------------------------------------------------------------------------
 */

/* The shortest prefix under which the base has word embeddings: "", "bert.", "module.bert.", ... */
static fmp_status find_prefix(const fish_param_loader *l, char *ret, fmp_error *err)
{
    static const char name[] = "embeddings.word_embeddings.weight";
    const uint32_t n = l->base ? fmp_store_tensor_count(l->base) : 0;
    size_t best = SIZE_MAX;

    ret[0] = 0;
    if (!l->base)
        return FMP_OK;
    for (uint32_t i = 0; i < n; i++) {
        const fmp_tensor_info t = fmp_store_tensor(l->base, i);
        const size_t len = t.name_len < sizeof name - 1 ? SIZE_MAX : t.name_len - (sizeof name - 1);

        if (len >= best || len >= NAME_MAX_LEN || strcmp(t.name + len, name))
            continue;
        memcpy(ret, t.name, len);
        ret[len] = 0;
        best = len;
    }
    if (best == SIZE_MAX)
        return fish_fail(err, FMP_ECORRUPT, "%s: has no tensor \"%s\" under any prefix", l->path,
                         name);
    return FMP_OK;
}

typedef struct adder {
    fish_param_loader *l;
    double std;     /* of new weights */
    bool old_norms; /* LayerNorm's parameters are named as in checkpoints converted from TensorFlow
                     */
    fmp_error *err;
    fmp_status st; /* the first failure; later calls do nothing */
} adder;

static bool has(const fish_param_loader *l, const char *name)
{
    char full[2 * NAME_MAX_LEN];

    (void)snprintf(full, sizeof full, "%s%s", l->prefix, name);
    return l->base && fmp_store_find(l->base, full, strlen(full)) != UINT32_MAX;
}

static uint32_t add(adder *a, const char *name, const char *part, fish_role role, uint32_t rank,
                    uint32_t rows, uint32_t columns, double fill)
{
    const uint64_t shape[2] = {rows, columns};
    char full[2 * NAME_MAX_LEN];
    uint32_t ret = 0;

    if (a->st)
        return 0;
    (void)snprintf(full, sizeof full, "%s.%s", name, part);
    a->st =
        fish_param_add(a->l, full, role, rank, shape, rank == 2 ? a->std : 0, fill, &ret, a->err);
    return ret;
}

static bert_linear add_linear(adder *a, const char *name, fish_role role, uint32_t out, uint32_t in)
{
    bert_linear r;

    r.weight = add(a, name, "weight", role, 2, out, in, 0);
    r.bias = add(a, name, "bias", role, 1, out, 0, 0);
    return r;
}

static bert_norm add_norm(adder *a, const char *name, uint32_t width)
{
    bert_norm r;

    r.gain = add(a, name, a->old_norms ? "gamma" : "weight", FISH_BODY, 1, width, 0, 1);
    r.bias = add(a, name, a->old_norms ? "beta" : "bias", FISH_BODY, 1, width, 0, 0);
    return r;
}

static void add_layer(adder *a, const bert *c, uint32_t number, bert_layer *layer)
{
    static const char *const parts[] = {"attention.self.query",
                                        "attention.self.key",
                                        "attention.self.value",
                                        "attention.output.dense",
                                        "attention.output.LayerNorm",
                                        "intermediate.dense",
                                        "output.dense",
                                        "output.LayerNorm"};
    char names[8][NAME_MAX_LEN];

    for (size_t i = 0; i < 8; i++)
        (void)snprintf(names[i], sizeof names[i], "encoder.layer.%u.%s", number, parts[i]);
    layer->query = add_linear(a, names[0], FISH_BODY, c->hidden, c->hidden);
    layer->key = add_linear(a, names[1], FISH_BODY, c->hidden, c->hidden);
    layer->value = add_linear(a, names[2], FISH_BODY, c->hidden, c->hidden);
    layer->attention_out = add_linear(a, names[3], FISH_BODY, c->hidden, c->hidden);
    layer->attention_norm = add_norm(a, names[4], c->hidden);
    layer->up = add_linear(a, names[5], FISH_BODY, c->intermediate, c->hidden);
    layer->down = add_linear(a, names[6], FISH_BODY, c->hidden, c->intermediate);
    layer->output_norm = add_norm(a, names[7], c->hidden);
}

static void add_body(adder *a, bert *c)
{
    const bool has_pooler = !a->l->base || has(a->l, "pooler.dense.weight");

    c->word = add(a, "embeddings.word_embeddings", "weight", FISH_BODY, 2, c->vocab, c->hidden, 0);
    c->position = add(a, "embeddings.position_embeddings", "weight", FISH_BODY, 2, c->max_position,
                      c->hidden, 0);
    c->type =
        add(a, "embeddings.token_type_embeddings", "weight", FISH_BODY, 2, c->types, c->hidden, 0);
    c->embedding_norm = add_norm(a, "embeddings.LayerNorm", c->hidden);
    for (uint32_t i = 0; i < c->n_layers; i++)
        add_layer(a, c, i, &c->layers[i]);
    if (c->mean)
        return;
    /* A base without a pooler gets one, as PyTorch would give it; new, it counts as head. */
    c->pooler =
        add_linear(a, "pooler.dense", has_pooler ? FISH_BODY : FISH_HEAD, c->hidden, c->hidden);
}

/* The head stands beside the body: behind "module.bert." comes "module.classifier".  `given`, when
 * there is one, is the whole name of its weight. */
static fmp_status head_name(const char *prefix, const char *given, char *ret, fmp_error *err)
{
    static const char own[] = "bert.";
    static const char suffix[] = ".weight";
    size_t len = strlen(prefix);
    int n;

    if (len >= sizeof own - 1 && !strcmp(prefix + len - (sizeof own - 1), own))
        len -= sizeof own - 1;
    n = given ? snprintf(ret, NAME_MAX_LEN, "%s", given)
              : snprintf(ret, NAME_MAX_LEN, "%.*sclassifier", (int)len, prefix);
    if (n <= 0 || n >= NAME_MAX_LEN - (int)sizeof suffix)
        return fish_fail(err, FMP_EUSAGE, "head \"%.40s\": a name of 1 to %d bytes is expected",
                         given ? given : prefix, NAME_MAX_LEN - (int)sizeof suffix - 1);
    len = (size_t)n;
    if (len >= sizeof suffix && !strcmp(ret + len - (sizeof suffix - 1), suffix))
        ret[len - (sizeof suffix - 1)] = 0;
    return FMP_OK;
}

/* Outputs that were asked for, or those of the base's head, or num_labels, or labels by name. */
static uint32_t count_outputs(const fish_param_loader *l, const json_t *config,
                              const fish_model_options *options, const char *head)
{
    const json_int_t labels = json_integer_value(json_object_get(config, "num_labels"));
    const size_t named = json_object_size(json_object_get(config, "id2label"));
    char name[2 * NAME_MAX_LEN];
    uint32_t tensor = UINT32_MAX;

    (void)snprintf(name, sizeof name, "%s.weight", head);
    if (l->base)
        tensor = fmp_store_find(l->base, name, strlen(name));
    if (options->n_outputs)
        return options->n_outputs;
    if (tensor != UINT32_MAX && fmp_store_tensor(l->base, tensor).rank == 2 &&
        fmp_store_tensor(l->base, tensor).shape[0] <= OUTPUTS_MAX)
        return (uint32_t)fmp_store_tensor(l->base, tensor).shape[0];
    if (labels > 0 && labels <= OUTPUTS_MAX)
        return (uint32_t)labels;
    if (named && named <= OUTPUTS_MAX)
        return (uint32_t)named;
    return 2; /* what a Hugging Face configuration has when it does not say */
}

static fmp_status add_parameters(fish_param_loader *l, const json_t *config, bert *c,
                                 const fish_model_options *options, fmp_error *err)
{
    adder a = {.l = l, .err = err};
    char prefix[NAME_MAX_LEN], head[NAME_MAX_LEN];

    a.st = fish_config_real(config, "initializer_range", 0, 10, 0.02, &a.std, err);
    if (!a.st)
        a.st = find_prefix(l, prefix, err);
    if (!a.st)
        a.st = head_name(prefix, options->head, head, err);
    if (a.st)
        return a.st;
    l->prefix = prefix;
    a.old_norms = has(l, "embeddings.LayerNorm.gamma");
    add_body(&a, c);
    l->prefix = "";
    l->model->n_outputs = count_outputs(l, config, options, head);
    c->classifier = add_linear(&a, head, FISH_HEAD, l->model->n_outputs, c->hidden);
    return a.st;
}

static fmp_status read_pooling(const json_t *config, const char *wanted, bool *ret, fmp_error *err)
{
    const json_t *v = json_object_get(config, "pooling");
    const char *name = wanted ? wanted : v ? json_string_value(v) : "cls";

    *ret = name && !strcmp(name, "mean");
    if (*ret || (name && !strcmp(name, "cls")))
        return FMP_OK;
    return fish_fail(err, wanted ? FMP_EUSAGE : FMP_ECORRUPT,
                     "pooling: \"cls\" or \"mean\" is expected, found %s",
                     name ? name : "no string");
}

fmp_status fish_bert_open(fish_param_loader *l, const json_t *config,
                          const fish_model_options *options, fmp_error *err)
{
    bert *c = fish_calloc(1, sizeof *c);
    fmp_status st;

    if (!c)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", l->path);
    l->model->driver = &driver;
    l->model->config = c;
    st = read_config(config, c, err);
    if (!st)
        st = read_pooling(config, options->pooling, &c->mean, err);
    if (st)
        return st;
    c->layers = fish_calloc(c->n_layers, sizeof *c->layers);
    if (!c->layers)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", l->path);
    l->model->max_tokens = c->max_position;
    return add_parameters(l, config, c, options, err);
}
