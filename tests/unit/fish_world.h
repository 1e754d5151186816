/*
 * What tests of training need: a base checkpoint on disk (a small MLP, residual network or BERT, in
 * any dtype), images or texts to train on, masks by hand, and a run from the base to its weights.
 */
#ifndef FISH_WORLD_H
#define FISH_WORLD_H

#include <jansson.h>
#include <unistd.h>

#include "core/tensors.h"
#include "fish_toy.h"
#include "model/params.h"
#include "train/train.h"

#define WORLD_HIDDEN 48

typedef struct world {
    fmp_store *base;
    fish_tokenizer *tokenizer; /* of texts */
    fish_data *data;
    fish_mask mask;
    fish_mask_tensor tensors[64];
    uint64_t idx[64][WORLD_HIDDEN * 24];
} world;

/* The files of a world, in the current directory. */
#define WORLD_DIR  "world"
#define WORLD_FILE WORLD_DIR "/model.safetensors"

#define WORLD_TEXT WORLD_DIR "/texts.jsonl"

static inline json_t *world_config(const char *kind)
{
    if (!strcmp(kind, "bert"))
        return json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "model_type", "bert", "vocab_size",
                         40, "hidden_size", 8, "num_hidden_layers", 2, "num_attention_heads", 2,
                         "intermediate_size", 12, "max_position_embeddings", 16, "num_labels", 3);
    return strcmp(kind, "mlp") ? json_pack("{s:s,s:[i,i],s:i,s:s,s:[i,i],s:i}", "model_type",
                                           "resnet", "layers", 1, 1, "width", 4, "stem", "small",
                                           "image_size", TOY_ROWS, TOY_WIDTH, "num_labels", 3)
                               : json_pack("{s:s,s:[i,i,i],s:[i,i]}", "model_type", "mlp", "sizes",
                                           TOY_ROWS * TOY_WIDTH, WORLD_HIDDEN, 3, "image_size",
                                           TOY_ROWS, TOY_WIDTH);
}

/* Sentences of 1 to 9 of 35 words; the class is their number modulo 3. */
static inline void world_texts(world *w)
{
    const fish_key key = fish_key_make(8, FISH_STREAM_TEST);
    fish_data_options options = {.format = "jsonl", .max_tokens = 12};
    FILE *f = fopen(WORLD_DIR "/vocab.txt", "w");
    fmp_error err = {.text = ""};

    assert_non_null(f);
    (void)fprintf(f, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    for (int i = 0; i < 35; i++)
        (void)fprintf(f, "%c%c\n", 'a' + i % 7, 'k' + i / 7);
    assert_int_equal(fclose(f), 0);
    f = fopen(WORLD_TEXT, "w");
    assert_non_null(f);
    for (uint32_t e = 0; e < TOY_IMAGES; e++) {
        const uint32_t n = 1 + (uint32_t)(fish_random_u64(key, 0, e) % 9);

        (void)fprintf(f, "{\"label\": %u, \"text\": \"", n % 3);
        for (uint32_t i = 0; i < n; i++) {
            const int word = (int)(fish_random_u64(key, 1 + e, i) % 35);

            (void)fprintf(f, "%c%c ", 'a' + word % 7, 'k' + word / 7);
        }
        (void)fprintf(f, "\"}\n");
    }
    assert_int_equal(fclose(f), 0);
    assert_status(fish_tokenizer_open(WORLD_DIR, &w->tokenizer, &err), FMP_OK, &err);
    options.tokenizer = w->tokenizer;
    assert_status(fish_data_open(WORLD_TEXT, &options, &w->data, &err), FMP_OK, &err);
}

/* All of the model's tensors in another dtype. */
static inline void world_write(const fish_model *m, const char *dtype)
{
    fish_tensor_desc descs[64];
    fish_tensor_writer *w = NULL;
    fmp_error err = {.text = ""};

    assert_in_range(m->n_params, 1, 64);
    for (uint32_t p = 0; p < m->n_params; p++) {
        descs[p] = (fish_tensor_desc){.name = m->params[p].name, .dtype = dtype};
        descs[p].rank = m->params[p].rank;
        for (uint32_t i = 0; i < descs[p].rank; i++)
            descs[p].shape[i] = m->params[p].shape[i];
    }
    assert_status(fish_tensor_writer_new(WORLD_FILE, true, NULL, descs, m->n_params, &w, &err),
                  FMP_OK, &err);
    for (uint32_t p = 0; p < m->n_params; p++) {
        const size_t len = m->params[p].n * fish_dtype_size(dtype);
        void *bits = malloc(len);

        assert_non_null(bits);
        fish_narrow(dtype, m->params[p].w, bits, m->params[p].n);
        assert_status(fish_tensor_writer_put(w, bits, len, &err), FMP_OK, &err);
        free(bits);
    }
    assert_status(fish_tensor_writer_commit(w, &err), FMP_OK, &err);
}

/* Every `step`-th element of each body tensor, and the head. */
static inline void world_mask(world *w, const fish_model *m, uint32_t step)
{
    w->mask = (fish_mask){.tensors = w->tensors};
    for (uint32_t p = 0; p < m->n_params; p++) {
        const fish_param *param = &m->params[p];
        fish_mask_tensor *t = &w->tensors[w->mask.n_tensors];

        if (param->role == FISH_BUFFER)
            continue;
        *t = (fish_mask_tensor){.name = param->name, .rank = param->rank, .n_elements = param->n};
        for (uint32_t i = 0; i < param->rank; i++)
            t->shape[i] = param->shape[i];
        t->full = param->role == FISH_HEAD || step == 1;
        t->n = t->full ? param->n : 0;
        t->idx = t->full ? NULL : w->idx[p];
        for (uint64_t i = p % step; !t->full && i < param->n; i += step)
            t->idx[t->n++] = i;
        w->mask.n_elements += param->n;
        w->mask.n += t->n;
        w->mask.n_tensors++;
    }
}

static inline fish_model *world_model(const world *w)
{
    const fish_model_options options = {.seed = 3, .n_outputs = 3};
    fish_model *m = NULL;
    fmp_error err = {.text = ""};

    assert_status(fish_model_open(w->base, WORLD_FILE, &options, &m, &err), FMP_OK, &err);
    return m;
}

/* `keep` owns the names that the mask borrows. */
static inline void world_open(world *w, const char *kind, const char *dtype, uint32_t step,
                              fish_model **keep)
{
    json_t *config = world_config(kind);
    fish_model *m = NULL;
    fmp_error err = {.text = ""};

    assert_non_null(config);
    *w = (world){.base = NULL};
    assert_status(fish_model_new(config, 3, &m, &err), FMP_OK, &err);
    assert_status(fish_model_save(m, config, WORLD_DIR, true, &err), FMP_OK, &err);
    if (strcmp(dtype, "F32"))
        world_write(m, dtype);
    fish_model_free(m);
    json_decref(config);
    assert_status(fmp_store_open(WORLD_FILE, NULL, &w->base, &err), FMP_OK, &err);
    if (strcmp(kind, "bert"))
        w->data = toy_data(3, false);
    else
        world_texts(w);
    *keep = world_model(w);
    world_mask(w, *keep, step);
}

static inline void world_close(world *w, fish_model *keep)
{
    fish_model_free(keep);
    toy_data_free(w->data);
    fish_tokenizer_free(w->tokenizer);
    fmp_store_close(w->base);
    (void)remove(WORLD_FILE);
    (void)remove(WORLD_TEXT);
    (void)remove(WORLD_DIR "/vocab.txt");
    (void)remove(WORLD_DIR "/config.json");
    (void)rmdir(WORLD_DIR);
}

/* Trains `m`; NULL `ret`: the run is freed. */
static inline fmp_status world_train(const world *w, fish_model *m, const fish_mask *mask,
                                     unsigned n_threads, const fish_train_options *o,
                                     fish_run **ret, fmp_error *err)
{
    fish_pool *pool = NULL;
    fish_run *run = NULL;
    fmp_status st;

    assert_status(fish_pool_new(n_threads, &pool, err), FMP_OK, err);
    st = fish_train(m, w->data, w->data, mask, pool, o, &run, err);
    fish_pool_free(pool);
    if (st || !ret)
        fish_run_free(run);
    if (!st && ret)
        *ret = run;
    return st;
}

/* A trained model, from the base. */
static inline fish_model *world_trained(const world *w, const fish_mask *mask, unsigned n_threads,
                                        const fish_train_options *o)
{
    fish_model *m = world_model(w);
    fmp_error err = {.text = ""};

    assert_status(world_train(w, m, mask, n_threads, o, NULL, &err), FMP_OK, &err);
    return m;
}

/* The first parameter in which two models differ in a bit, or NULL. */
static inline const char *world_difference(const fish_model *a, const fish_model *b)
{
    assert_int_equal(a->n_params, b->n_params);
    for (uint32_t p = 0; p < a->n_params; p++) {
        if (memcmp(a->params[p].w, b->params[p].w, a->params[p].n * sizeof(float)))
            return a->params[p].name;
    }
    return NULL;
}

static inline void assert_same_weights(const fish_model *a, const fish_model *b)
{
    const char *name = world_difference(a, b);

    if (name)
        fail_msg("tensor \"%s\" differs", name);
}

static inline bool world_selected(const fish_mask *mask, const fish_param *p, size_t element)
{
    for (uint32_t i = 0; i < mask->n_tensors; i++) {
        const fish_mask_tensor *t = &mask->tensors[i];

        if (strcmp(t->name, p->name))
            continue;
        if (t->full)
            return true;
        for (uint64_t j = 0; j < t->n; j++) {
            if (t->idx[j] == element)
                return true;
        }
        return false;
    }
    return p->role == FISH_HEAD;
}

static inline bool same_bits(float a, float b)
{
    return !memcmp(&a, &b, sizeof a);
}

/* Elements outside `mask` that differ between two models; *ret_inside: those inside. */
static inline size_t world_changed(const fish_model *a, const fish_model *b, const fish_mask *mask,
                                   size_t *ret_inside)
{
    size_t outside = 0;
    size_t inside = 0;

    for (uint32_t p = 0; p < a->n_params; p++) {
        for (size_t i = 0; i < a->params[p].n; i++) {
            if (same_bits(a->params[p].w[i], b->params[p].w[i]))
                continue;
            if (world_selected(mask, &a->params[p], i))
                inside++;
            else
                outside++;
        }
    }
    if (ret_inside)
        *ret_inside = inside;
    return outside;
}

#endif
