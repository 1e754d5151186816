/*
 * A tiny BERT and a batch for it, by the formula of tests/peers/make_fish_golden.py.
 */
#ifndef BERT_SUPPORT_H
#define BERT_SUPPORT_H

#include "support.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "fish_bert_golden.h"
#include "fish_sum_sink.h"
#include "model/params.h"

#define N_GOLDEN (sizeof golden / sizeof golden[0])
#define EXAMPLES 3
#define ROWS     13
#define OUTPUTS  3
#define TINY                                                                                       \
    "\"model_type\": \"bert\", \"vocab_size\": 30, \"hidden_size\": 8, \"num_hidden_layers\": 2, " \
    "\"num_attention_heads\": 2, \"intermediate_size\": 12, \"max_position_embeddings\": 9, "      \
    "\"type_vocab_size\": 2"

/* ---- a tiny model and a batch, by the formula of make_fish_golden.py --------------------------
 */

static inline uint32_t mix(uint64_t a, uint64_t b)
{
    return (uint32_t)((a * 7919 + b * 104729 + 12345) * 2654435761u);
}

static inline float value(uint64_t tensor, uint64_t i)
{
    return ((float)(mix(tensor, i) >> 8) - 8388608.0f) / 33554432.0f;
}

typedef struct tiny_batch {
    fish_batch batch;
    uint32_t start[EXAMPLES + 1], example[EXAMPLES];
    int32_t ids[ROWS], types[ROWS];
    float d_outputs[EXAMPLES * OUTPUTS];
} tiny_batch;

static inline void make_batch(tiny_batch *t)
{
    static const uint32_t start[] = {0, 5, 6, ROWS};

    memcpy(t->start, start, sizeof start);
    for (uint32_t r = 0; r < ROWS; r++) {
        t->ids[r] = (int32_t)((mix(1000, r) >> 8) % 30);
        t->types[r] = (int32_t)((mix(1001, r) >> 8) % 2);
    }
    for (uint32_t i = 0; i < EXAMPLES * OUTPUTS; i++)
        t->d_outputs[i] = value(1002, i);
    for (uint32_t e = 0; e < EXAMPLES; e++)
        t->example[e] = 70 + e;
    t->batch = (fish_batch){
        .n = EXAMPLES, .example = t->example, .start = t->start, .ids = t->ids, .types = t->types};
}

/* Example e of it alone. */
static inline fish_batch one_of(const tiny_batch *t, uint32_t e, uint32_t start[2])
{
    start[0] = 0;
    start[1] = t->start[e + 1] - t->start[e];
    return (fish_batch){.n = 1,
                        .example = t->example + e,
                        .start = start,
                        .ids = t->ids + t->start[e],
                        .types = t->types + t->start[e]};
}

static inline json_t *config_of(const char *more)
{
    char text[1024];
    json_t *config;

    snprintf(text, sizeof text, "{" TINY ", \"num_labels\": 3%s}", more);
    config = json_loads(text, 0, NULL); /* the last of two equal keys counts */
    assert_non_null(config);
    return config;
}

static inline fish_param *find_param(const fish_model *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_params; i++) {
        if (!strcmp(m->params[i].name, name))
            return &m->params[i];
    }
    return NULL;
}

static inline const char *plain(const char *name)
{
    return strncmp(name, "bert.", 5) ? name : name + 5;
}

/* New models have no prefix. */
static inline fish_model *make_tiny(const char *more)
{
    json_t *config = config_of(more);
    fish_model *m = NULL;
    fmp_error err;

    assert_status(fish_model_new(config, 1, &m, &err), FMP_OK, &err);
    json_decref(config);
    for (size_t t = 0; t < N_GOLDEN; t++) {
        const bool gain = strstr(golden[t].name, "LayerNorm.weight");
        fish_param *p = find_param(m, plain(golden[t].name));

        if (!p && strstr(golden[t].name, "pooler"))
            continue; /* mean pooling has none */
        assert_non_null(p);
        for (size_t i = 0; i < p->n; i++)
            p->w[i] = value(t, i) + (gain ? 1.0f : 0.0f);
    }
    return m;
}

static const fish_pass evaluate = {0};
static const fish_pass train = {.train = true, .dropout = {{3, 4}}, .step = 5};

#endif
