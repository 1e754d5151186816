/*
 * Schemas of a tensor table: each pair of dtype and shape is kept once.  See schemas.h.
 */
#include "schemas.h"

#include <string.h>

#include "base/alloc.h"

static uint64_t hash_of(const fmp_tensor_info *i)
{
    uint64_t h = 1469598103934665603u;

    for (const char *p = i->dtype; *p; p++)
        h = (h ^ (uint8_t)*p) * 1099511628211u;
    for (uint32_t d = 0; d < i->rank; d++)
        h = (h ^ i->shape[d] ^ (h >> 29)) * 1099511628211u;
    return h ^ h >> 32;
}

static bool schema_is(const fmp_table *t, const fmp_schema *s, const fmp_tensor_info *i,
                      uint32_t bits)
{
    return s->rank == i->rank && s->element_bits == bits && strcmp(s->dtype, i->dtype) == 0 &&
           (!s->rank || memcmp(t->dims + s->dims_at, i->shape, s->rank * sizeof *i->shape) == 0);
}

static bool interner_grow(fmp_interner *in)
{
    const uint32_t n = in->n_slots ? in->n_slots * 2 : 256;
    uint32_t *slot = fmp_calloc(n, sizeof *slot);

    if (!slot)
        return false;
    for (uint32_t i = 0; i < in->t->n_schemas; i++) {
        const fmp_schema *s = &in->t->schemas[i];
        const fmp_tensor_info info = {
            .dtype = s->dtype, .rank = s->rank, .shape = in->t->dims + s->dims_at};
        uint64_t at = hash_of(&info);

        while (slot[at & (n - 1)])
            at++;
        slot[at & (n - 1)] = i + 1;
    }
    fmp_free(in->slot);
    in->slot = slot;
    in->n_slots = n;
    return true;
}

static bool add_schema(fmp_interner *in, const fmp_tensor_info *i, uint32_t bits)
{
    fmp_table *t = in->t;
    fmp_schema *s;

    if (t->n_schemas == in->cap_schemas) {
        const uint32_t cap = in->cap_schemas ? in->cap_schemas * 2 : 64;

        s = fmp_realloc(t->schemas, cap, sizeof *s);
        if (!s)
            return false;
        t->schemas = s;
        in->cap_schemas = cap;
    }
    if (t->n_dims + i->rank > in->cap_dims) {
        const uint32_t cap = in->cap_dims * 2 + 256;
        uint64_t *dims = fmp_realloc(t->dims, cap, sizeof *dims);

        if (!dims)
            return false;
        t->dims = dims;
        in->cap_dims = cap;
    }
    s = &t->schemas[t->n_schemas++];
    *s = (fmp_schema){.element_bits = bits,
                      .rank = i->rank,
                      .dims_at = t->n_dims,
                      .n_elements = i->n_elements,
                      .n_bytes = i->n_bytes};
    memcpy(s->dtype, i->dtype, strlen(i->dtype) + 1);
    if (i->rank)
        memcpy(t->dims + t->n_dims, i->shape, i->rank * sizeof *i->shape);
    t->n_dims += i->rank;
    return true;
}

uint32_t fmp_intern(fmp_interner *in, const fmp_tensor_info *i, uint32_t bits)
{
    uint64_t at = hash_of(i);

    if (in->t->n_schemas * 2 >= in->n_slots && !interner_grow(in))
        return FMP_NONE;
    for (;; at++) {
        uint32_t *slot = &in->slot[at & (in->n_slots - 1)];

        if (*slot && schema_is(in->t, &in->t->schemas[*slot - 1], i, bits))
            return *slot - 1;
        if (!*slot) {
            if (!add_schema(in, i, bits))
                return FMP_NONE;
            *slot = in->t->n_schemas;
            return *slot - 1;
        }
    }
}

void fmp_interner_release(fmp_interner *in)
{
    fmp_free(in->slot);
    in->slot = NULL;
}
