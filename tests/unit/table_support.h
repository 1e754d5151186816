/*
 * Tensor tables made up at random, with rows of every state that makes sense: for the tests of the
 * index of a patch.
 */
#ifndef FMP_TESTS_TABLE_SUPPORT_H
#define FMP_TESTS_TABLE_SUPPORT_H

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "container/table.h"

enum { N_ROWS = 60 };

static uint64_t rng_state;

static inline uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static inline unsigned roll(unsigned n)
{
    return (unsigned)((rng() >> 20) % n);
}

/* ---- making tables ----------------------------------------------------------------------------
 */

static const struct {
    const char *dtype;
    uint32_t bits, rank;
    uint64_t dims[2];
} shapes[] = {{"BF16", 16, 2, {4, 8}}, {"F32", 32, 1, {16, 0}}, {"U8", 8, 1, {64, 0}},
              {"F32", 32, 0, {0, 0}},  {"I8", 8, 2, {0, 7}},    {"F4", 4, 1, {16, 0}},
              {"BF16", 16, 2, {6, 8}}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static inline void make_schemas(fmp_table *t)
{
    t->schemas = fmp_calloc(N_SHAPES, sizeof *t->schemas);
    t->dims = fmp_calloc(2 * N_SHAPES, sizeof *t->dims);
    assert_true(t->schemas && t->dims);
    for (unsigned i = 0; i < N_SHAPES; i++) {
        fmp_schema *s = &t->schemas[t->n_schemas++];

        snprintf(s->dtype, sizeof s->dtype, "%s", shapes[i].dtype);
        s->element_bits = shapes[i].bits;
        s->rank = shapes[i].rank;
        s->dims_at = t->n_dims;
        s->n_elements = 1;
        for (uint32_t d = 0; d < s->rank; d++) {
            t->dims[t->n_dims++] = shapes[i].dims[d];
            s->n_elements *= shapes[i].dims[d];
        }
        s->n_bytes = s->n_elements * s->element_bits / 8;
    }
}

static inline void add_map(fmp_table *t, fmp_row *r, uint32_t source, uint64_t off, uint64_t n)
{
    r->map = t->n_maps;
    t->maps[t->n_maps++] = (fmp_map){.source = source, .base_off = off, .n_bytes = n};
}

/* One row of any state that makes sense. */
static inline void make_row(fmp_table *t, uint32_t i)
{
    static const uint8_t states[] = {FMP_UNCHANGED, FMP_UNCHANGED, FMP_RESIDUAL, FMP_SET,
                                     FMP_WHOLE,     FMP_ADDED,     FMP_REMOVED,  FMP_ALIAS};
    fmp_row *r = &t->rows[i];
    const uint32_t other = i ? roll(i) : 0;
    uint32_t shape = roll(N_SHAPES);

    r->state = i ? states[roll(8)] : FMP_RESIDUAL;
    r->map = FMP_NONE;
    if (r->state == FMP_ALIAS) {
        const fmp_row *source = &t->rows[other];

        if (source->state == FMP_ALIAS || source->target_schema == FMP_NONE) {
            r->state = FMP_ADDED;
        } else {
            shape = source->target_schema;
            add_map(t, r, other, 0, t->schemas[shape].n_bytes);
        }
    }
    r->base_schema = r->state == FMP_ADDED || (r->state == FMP_ALIAS && roll(2)) ? FMP_NONE : shape;
    r->target_schema = r->state == FMP_REMOVED ? FMP_NONE : shape;
    if (r->state == FMP_WHOLE && roll(2))
        r->target_schema = (shape + 1) % N_SHAPES;
    if (r->state == FMP_RESIDUAL && i && roll(3) == 0) { /* from elsewhere */
        const uint32_t from = t->rows[other].base_schema;

        if (roll(2))
            r->base_schema = FMP_NONE;
        if (from != FMP_NONE) {
            const uint64_t n = t->schemas[from].n_bytes < t->schemas[shape].n_bytes
                                   ? t->schemas[from].n_bytes
                                   : t->schemas[shape].n_bytes;

            add_map(t, r, other, t->schemas[from].n_bytes - n, n);
        } else {
            r->base_schema = r->target_schema;
        }
    }
}

static inline void make_names(fmp_table *t)
{
    fmp_buf arena = {0};

    for (uint32_t i = 0; i < t->n_rows; i++) {
        char name[60];

        snprintf(name, sizeof name, "model.layers.%03u.%s\xc3\xa9.weight", i,
                 i % 3 ? "attn.q" : "mlp.down");
        t->rows[i].name_at = (uint32_t)arena.len;
        t->rows[i].name_len = (uint16_t)strlen(name);
        fmp_buf_put(&arena, name, strlen(name) + 1);
    }
    t->names = (char *)arena.data;
    t->names_len = arena.len;
}

static inline void make_digests(fmp_table *t)
{
    t->digests = fmp_calloc(2 * N_ROWS, sizeof *t->digests);
    assert_non_null(t->digests);
    for (size_t k = 0; k < 2 * N_ROWS * sizeof *t->digests; k++)
        ((uint8_t *)t->digests)[k] = (uint8_t)rng();
    for (uint32_t i = 0; i < t->n_rows; i++)
        t->rows[i].base_digest = t->rows[i].base_schema != FMP_NONE ? t->n_digests++ : FMP_NONE;
    for (uint32_t i = 0; i < t->n_rows; i++) {
        fmp_row *r = &t->rows[i];

        r->target_digest = FMP_NONE;
        if (r->target_schema != FMP_NONE && r->state != FMP_UNCHANGED && r->state != FMP_ALIAS)
            r->target_digest = t->n_digests++;
    }
    for (uint32_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i].state == FMP_UNCHANGED)
            t->rows[i].target_digest = t->rows[fmp_table_map(t, i).source].base_digest;
    }
    for (uint32_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i].state == FMP_ALIAS)
            t->rows[i].target_digest = t->rows[t->maps[t->rows[i].map].source].target_digest;
    }
}

static inline void make_table(fmp_table *t, unsigned seed, uint32_t n_rows)
{
    rng_state = (seed + 1) * 0x9e3779b97f4a7c15u;
    *t = (fmp_table){.n_rows = n_rows};
    t->rows = fmp_calloc(N_ROWS, sizeof *t->rows);
    t->maps = fmp_calloc(N_ROWS, sizeof *t->maps);
    assert_true(t->rows && t->maps);
    make_schemas(t);
    for (uint32_t i = 0; i < n_rows; i++)
        make_row(t, i);
    make_names(t);
    make_digests(t);
}

static inline fmp_buf digests_of(const fmp_table *t)
{
    return (fmp_buf){.data = (uint8_t *)t->digests, .len = t->n_digests * FMP_DIGEST_LEN};
}

#endif
