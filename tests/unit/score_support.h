/*
 * What tests of scores and masks need: safetensors files made of arrays, and a small model with
 * tensors of every kind of shape.
 */
#ifndef FMP_TESTS_SCORE_SUPPORT_H
#define FMP_TESTS_SCORE_SUPPORT_H

#include "store_support.h"

#include <math.h>

#include "core/mem.h"
#include "core/rng.h"
#include "core/tensors.h"
#include "score/scores.h"

#define MODEL_TENSORS 7

/* In the order of the file, which is not that of names.  The second is longer than a piece. */
static const fish_tensor_desc model_tensors[MODEL_TENSORS] = {
    {"m.weight", "F32", 2, {37, 23}},     {"m.wide", "F32", 2, {401, 700}},
    {"a.bias", "F32", 1, {19}},           {"head.weight", "F32", 2, {3, 23}},
    {"c.kernel", "F32", 4, {5, 4, 3, 3}}, {"z.scalar", "F32", 0, {0}},
    {"e.nothing", "F32", 2, {0, 4}},
};

static inline uint64_t elements_of(const fish_tensor_desc *d)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < d->rank; i++)
        n *= d->shape[i];
    return n;
}

static inline uint64_t model_elements(void)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < MODEL_TENSORS; i++)
        n += elements_of(&model_tensors[i]);
    return n;
}

/* Writes the model's tensors with F32 values, one after the other in the file's order. */
static inline void put_model(const char *name, const float *values, const char *head)
{
    const char *const meta[] = {FISH_META_FORMAT, "fmpatch scores", head ? FISH_META_HEAD : NULL,
                                head, NULL};
    fish_tensor_writer *w;
    fmp_error err;

    assert_status(
        fish_tensor_writer_new(at(name), true, meta, model_tensors, MODEL_TENSORS, &w, &err),
        FMP_OK, &err);
    assert_status(fish_tensor_writer_put(w, values, (size_t)model_elements() * 4, &err), FMP_OK,
                  &err);
    assert_status(fish_tensor_writer_commit(w, &err), FMP_OK, &err);
}

/* Few values, many of each; now and then one that differs from all others. */
static inline float tied_value(uint64_t seed, uint64_t i)
{
    static const float few[] = {0.0f, -0.0f, 1.0f, 0.5f, 2.0f, 1e-42f, 1e30f, 0.0f};
    const fish_key key = fish_key_make(seed, FISH_STREAM_TEST);
    const uint64_t r = fish_random_u64(key, 0, i);

    if (r % 64 == 0)
        return (float)fish_random_unit(key, 1, i);
    if (r % 4096 == 1)
        return (float)INFINITY;
    return few[(r >> 16) % (sizeof few / sizeof few[0])];
}

static inline void fill_tied(float *values, uint64_t seed)
{
    for (uint64_t i = 0; i < model_elements(); i++)
        values[i] = tied_value(seed, i);
}

static inline void fill_smooth(float *values, uint64_t seed)
{
    const fish_key key = fish_key_make(seed, FISH_STREAM_TEST);

    for (uint64_t i = 0; i < model_elements(); i++) {
        const double x = fish_random_normal(key, 0, i);

        values[i] = (float)(x * x);
    }
}

/* What every mask must be: names in order, indices ascending and in range, counts that add up. */
static inline void check_mask(const fish_mask *m)
{
    uint64_t n = 0, n_elements = 0;

    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const fish_mask_tensor *t = &m->tensors[i];

        if (i)
            assert_true(strcmp(m->tensors[i - 1].name, t->name) < 0);
        assert_true(t->n <= t->n_elements);
        assert_int_equal(t->full, t->n && t->n == t->n_elements);
        assert_int_equal(t->idx != NULL, t->n && !t->full);
        for (uint64_t j = 0; t->idx && j < t->n; j++) {
            assert_true(t->idx[j] < t->n_elements);
            assert_true(!j || t->idx[j - 1] < t->idx[j]);
        }
        n += t->n;
        n_elements += t->n_elements;
    }
    assert_int_equal(m->n, n);
    assert_int_equal(m->n_elements, n_elements);
}

static inline void assert_same_masks(const fish_mask *a, const fish_mask *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->n_elements, b->n_elements);
    for (uint32_t i = 0; i < a->n_tensors; i++) {
        const fish_mask_tensor *x = &a->tensors[i];
        const fish_mask_tensor *y = &b->tensors[i];

        assert_string_equal(x->name, y->name);
        assert_int_equal(x->rank, y->rank);
        assert_memory_equal(x->shape, y->shape, x->rank * sizeof *x->shape);
        assert_int_equal(x->n, y->n);
        assert_int_equal(x->full, y->full);
        assert_int_equal(x->head, y->head);
        if (x->idx)
            assert_memory_equal(x->idx, y->idx, x->n * sizeof *x->idx);
    }
}

#endif
