/*
 * Models made up at random, and random changes of them: of every dtype, with tensors that come and
 * go, grow, are renamed, reshaped and tied.
 */
#ifndef FMP_TESTS_RANDOM_MODELS_H
#define FMP_TESTS_RANDOM_MODELS_H

#include "model_support.h"

static inline const fmp_dtype *any_dtype(void)
{
    static unsigned n;

    if (!n)
        while (fmp_dtype_at(n))
            n++;
    return fmp_dtype_at(roll(n));
}

/* A shape of any class: 0-d, empty, one long axis, several; whole bytes with any dtype. */
static inline void any_shape(tensor *t, unsigned i)
{
    const uint64_t unit = t->dtype->bits < 8 ? 8 : 1;

    t->rank = roll(4);
    for (uint32_t d = 0; d < t->rank; d++)
        t->shape[d] = 1 + roll(d ? 9 : 40);
    if (t->rank == 0 && unit > 1)
        t->rank = 1;
    if (t->rank)
        t->shape[t->rank - 1] = unit * (1 + roll(60));
    if (t->rank && roll(12) == 0)
        t->shape[roll(t->rank)] = 0;
    if (i == 1 && roll(8) == 0) { /* more than one leaf */
        t->rank = 2;
        t->shape[0] = 1 + roll(9);
        t->shape[1] = 8ull * (3u << 20) / t->dtype->bits / 40 * 8;
    }
}

static inline void any_content(tensor *t)
{
    static const uint8_t special[][2] = {{0x00, 0x80}, {0x80, 0x7f}, {0x80, 0xff}, {0xc1, 0x7f},
                                         {0xff, 0xff}, {0x01, 0x00}, {0x01, 0x80}};
    const unsigned kind = roll(4);

    for (uint64_t i = 0; i + 1 < t->len && kind == 1; i += 2)
        memcpy(t->data + i, special[roll(7)], 2);
    if (kind == 2)
        memset(t->data, 0, t->len);
}

static inline void any_tensor(model *m, unsigned serial)
{
    static const char *const prefix[] = {"", "model.", "module.", "_orig_mod.", "a.very.deep."};
    tensor *t = &m->t[m->n];

    *t = (tensor){.dtype = any_dtype()};
    snprintf(t->name, sizeof t->name, "%slayers.%u.w", prefix[roll(5)], serial);
    any_shape(t, m->n);
    tensor_resize(t, true);
    any_content(t);
    m->n++;
}

/* Elements get new bits here and there, or a step of their last byte. */
static inline void change_some(tensor *t, unsigned every)
{
    const unsigned width = t->dtype->width / 8;

    for (uint64_t i = roll(every); i < t->len / width; i += 1 + roll(every)) {
        uint8_t *p = t->data + i * width;

        if (roll(8) == 0)
            p[roll(width)] = (uint8_t)rng();
        else
            p[0] = (uint8_t)(p[0] + (roll(2) ? 1 : 255));
    }
}

static inline void change_tensor(model *m, unsigned i, unsigned serial)
{
    tensor *t = &m->t[i];

    switch (roll(14)) {
    case 0:
        change_some(t, 1 + roll(4));
        break;
    case 1:
    case 2:
        change_some(t, 10 + roll(100));
        break;
    case 3:
        for (uint64_t k = 0; k < t->len; k++)
            t->data[k] = (uint8_t)(rng() >> 9);
        break;
    case 4:
        snprintf(t->name, sizeof t->name, "renamed.%u", serial);
        break;
    case 5: /* the wrapper goes, the values change too */
        if (strncmp(t->name, "model.", 6) == 0)
            memmove(t->name, t->name + 6, strlen(t->name) - 5);
        change_some(t, 20);
        break;
    case 6: /* grown or shrunk along the first axis */
        if (t->rank)
            t->shape[0] = roll(2) ? t->shape[0] + 8 : t->shape[0] / 16 * 8;
        tensor_resize(t, true);
        change_some(t, 30);
        break;
    case 7: /* another shape altogether */
        any_shape(t, i);
        tensor_resize(t, true);
        break;
    case 8:
        t->dtype = any_dtype();
        any_shape(t, i);
        tensor_resize(t, true);
        break;
    case 9: /* tied to a neighbour of its kind, if there is one */
        for (unsigned k = 0; k < m->n; k++) {
            if (k != i && m->t[k].len == t->len)
                memcpy(t->data, m->t[k].data, t->len);
        }
        break;
    default:
        break;
    }
}

/* Tied tensors of a size that is looked at. */
static inline void add_tied(model *m, unsigned serial)
{
    for (unsigned k = 0; k < 2; k++) {
        char name[40];
        tensor *t;

        snprintf(name, sizeof name, "tied.%u.%c", serial, "ab"[k]);
        t = model_add(m, name, "BF16", 2, 8, 400);
        if (k)
            memcpy(t->data, t[-1].data, t->len);
    }
}

/* `step` keeps the names of one chain apart. */
static inline void any_target(const model *base, model *m, unsigned step)
{
    model_copy(base, m);
    for (unsigned i = 0; i < m->n; i++)
        change_tensor(m, i, 1000 * step + 100 + i);
    for (unsigned n = roll(4); n && m->n > 1; n--)
        model_drop(m, roll(m->n));
    for (unsigned n = roll(4); n; n--)
        any_tensor(m, 1000 * step + 200 + n);
    if (roll(3) == 0)
        add_tied(m, 1000 * step + 300);
    if (roll(6) == 0) /* alike, and new, one behind the other */
        for (unsigned n = 0; n < 3; n++) {
            char name[40];

            snprintf(name, sizeof name, "zz.%u.%u", step, n);
            model_add(m, name, "F32", 1, 6, 0);
        }
    if (roll(4) == 0) { /* another order in the file */
        const tensor t = m->t[0];

        m->t[0] = m->t[m->n - 1];
        m->t[m->n - 1] = t;
    }
}

static inline void any_base(model *m)
{
    const unsigned n = 1 + roll(8);

    m->n = 0;
    for (unsigned i = 0; i < n; i++)
        any_tensor(m, i);
    if (roll(4) == 0)
        add_tied(m, 99);
}

static inline void put_side(const char *dir, const char *name, unsigned seed, size_t len)
{
    char path[100];
    uint8_t *data = malloc(len + 1);

    assert_non_null(data);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * seed >> 3);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    put_file(path, data, len);
    free(data);
}

/* As one file, or as a directory of shards with files beside them: some that stay, some that change
 * from step to step, some that come and go. */
static inline const char *put_any(const model *m, const char *name, unsigned step)
{
    char own[40];

    if (roll(2)) {
        put_model(m, name, roll(4) == 0);
        return name;
    }
    put_shards(m, name, 1 + roll(3));
    put_side(name, "same.json", 5, 3000);
    put_side(name, "changed.json", 9 + 2 * step, step ? 100 : 200);
    put_side(name, step < 2 ? "early.json" : "late.json", 3, 50);
    snprintf(own, sizeof own, "only.%u.txt", step);
    put_side(name, own, 3, roll(2) ? 0 : 77);
    return name;
}

#endif
