/*
 * What patches do to elements, told from the bytes of the models that they were made from: held
 * against what is counted without those.  Slow and plain.
 */
#ifndef FMP_TESTS_CHANGE_ORACLE_H
#define FMP_TESTS_CHANGE_ORACLE_H

#include "random_models.h"

#include "codec/bits.h"
#include "codec/scan.h"
#include "decode.h"

/* The patch from `base` to a model, as file `name`; opened. */
static inline fmp_patch *make_patch(const fmp_store *base, const model *m, const char *name,
                                    const fmp_create_options *o)
{
    fmp_store *t;
    fmp_error err;

    put_model(m, "target", false);
    t = open_store(at("target"));
    assert_status(fmp_create(base, t, at(name), o, NULL, &err), FMP_OK, &err);
    fmp_store_close(t);
    remove_tree("target");
    return open_patch(at(name));
}

/* How an element of a target tensor changes. */
enum { STAYS, STEP, BITS, OTHER };

/* One patch, and the models that it leads from and to. */
typedef struct side {
    const model *base, *target;
    const fmp_patch *p;
} side;

/* What a side does to one tensor of its target. */
typedef struct fate {
    const tensor *t;   /* NULL: the target has none of that name */
    const tensor *ref; /* what it is compared with, from byte ref_off on; NULL: all is new */
    uint64_t ref_off;
    uint8_t *how; /* of each element */
    uint64_t n;   /* elements */
    unsigned width;
} fate;

static inline const tensor *find_tensor(const model *m, const char *name)
{
    for (unsigned i = 0; i < m->n; i++) {
        if (strcmp(m->t[i].name, name) == 0)
            return &m->t[i];
    }
    return NULL;
}

static inline bool one_kind(const tensor *a, const tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

static inline bool one_content(const tensor *a, const tensor *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static inline const char *row_name(const fmp_patch *p, uint32_t row)
{
    return p->table.names + p->table.rows[row].name_at;
}

typedef struct block_marks {
    fate *f;
    fmp_scratch *scratch;
    uint64_t *values;
} block_marks;

/* Elements of a block by its kind; those whose units are not the element's cannot be told. */
static inline fmp_status mark_block(void *ctx, fmp_decoder *d, const fmp_block *b, fmp_error *err)
{
    const block_marks *m = ctx;
    const unsigned unit = b->bits / 8u, width = m->f->width;
    const bool step = b->kind == FMP_BLOCK_RESIDUAL;
    const bool whole = b->kind >= FMP_BLOCK_WHOLE;
    const bool exact = unit == width && b->off % width == 0 &&
                       (!step || b->sign_magnitude == (m->f->t->dtype->order == FMP_ORDER_SIGN));

    for (uint64_t x = b->off; whole && x < b->off + b->n_bytes; x++)
        m->f->how[x / width] = BITS; /* the cases have no content that begins within an element */
    if (whole)
        return FMP_OK;
    assert_status(fmp_block_list(b, &d->frame.streams, m->scratch, m->values, err), FMP_OK, err);
    for (uint32_t i = 0; i < fmp_block_values(b); i++) {
        const uint64_t x = b->off + (uint64_t)m->scratch->idx[i] * unit;

        for (unsigned k = 0; k < unit && (!step || m->values[i]); k++)
            m->f->how[(x + k) / width] = !exact ? OTHER : step ? STEP : BITS;
    }
    return FMP_OK;
}

static inline void mark_blocks(const fmp_patch *p, fate *f, uint32_t maker)
{
    block_marks m = {
        .f = f, .scratch = fmp_scratch_new(), .values = calloc(FMP_BLOCK_UNITS, sizeof *m.values)};
    fmp_decoder d;
    fmp_error err;

    assert_true(m.scratch && m.values);
    assert_status(fmp_decoder_init(&d, &err), FMP_OK, &err);
    for (uint64_t off = 0; off < f->t->len; off += FMP_LEAF_LEN) {
        const uint64_t left = f->t->len - off;

        assert_status(fmp_decoder_each(&d, p, FMP_DOMAIN_TENSORS, p->target_pos[maker], off,
                                       (uint32_t)(left < FMP_LEAF_LEN ? left : FMP_LEAF_LEN),
                                       mark_block, &m, &err),
                      FMP_OK, &err);
    }
    fmp_decoder_release(&d);
    fmp_scratch_free(m.scratch);
    free(m.values);
}

/* Elements that differ from the reference; of patches with new bits, those that blocks list, which
 * must be all that differ. */
static inline void mark_mapped(const side *s, fate *f, uint32_t maker, uint64_t mapped)
{
    const bool listed = s->p->table.rows[maker].state == FMP_SET;

    if (listed)
        mark_blocks(s->p, f, maker);
    for (uint64_t e = 0; e * f->width < mapped; e++) {
        const bool differs = memcmp(f->t->data + e * f->width,
                                    f->ref->data + f->ref_off + e * f->width, f->width) != 0;

        if (listed)
            assert_true(differs ? f->how[e] != STAYS : f->how[e] != STEP);
        else
            f->how[e] = differs ? STEP : STAYS;
    }
    for (uint64_t e = mapped / f->width; e < f->n; e++)
        f->how[e] = BITS;
}

static inline fate fate_of(const side *s, const char *name)
{
    fate f = {.t = find_tensor(s->target, name)};
    const tensor *own = find_tensor(s->base, name);
    const tensor *source = NULL;
    uint32_t row, maker;
    fmp_map map;

    if (!f.t)
        return f;
    row = fmp_patch_find(s->p, name, strlen(name));
    assert_true(row != UINT32_MAX);
    maker = s->p->table.rows[row].state == FMP_ALIAS
                ? s->p->table.maps[s->p->table.rows[row].map].source
                : row;
    map = fmp_table_map(&s->p->table, maker);
    if (map.n_bytes)
        source = find_tensor(s->base, row_name(s->p, map.source));
    f.width = f.t->dtype->width / 8u;
    f.n = f.t->len / f.width;
    f.how = calloc(f.n + 1, 1);
    assert_non_null(f.how);
    own = own && one_kind(own, f.t) ? own : NULL;
    f.ref = own ? own : source;
    f.ref_off = own ? 0 : map.base_off;
    if (own && one_content(own, f.t))
        return f;
    if (own && source && source != own && (map.base_off || !one_content(own, source)))
        memset(f.how, OTHER, f.n);
    else
        mark_mapped(s, &f, maker, map.n_bytes);
    return f;
}

static inline void fate_free(fate *f)
{
    free(f->how);
    *f = (fate){0};
}

static inline uint64_t element(const fate *f, uint64_t e)
{
    return fmp_load_le(f->t->data + e * f->width, f->width);
}

/* Place of a bit pattern in the order of values. */
static inline uint64_t place_of(const tensor *t, uint64_t x)
{
    const unsigned bits = t->dtype->width;
    const uint64_t top = 1ull << (bits - 1);
    const uint64_t all = bits == 64 ? UINT64_MAX : (1ull << bits) - 1;

    if (t->dtype->order != FMP_ORDER_SIGN)
        return x;
    return x & top ? ~x & all : x | top;
}

/* From a to b, the shorter way round; *ret_down: downwards. */
static inline uint64_t way_between(const tensor *t, uint64_t a, uint64_t b, bool *ret_down)
{
    const unsigned bits = t->dtype->width;
    const uint64_t all = bits == 64 ? UINT64_MAX : (1ull << bits) - 1;
    const uint64_t d = (place_of(t, b) - place_of(t, a)) & all;

    *ret_down = d >> (bits - 1) & 1;
    return *ret_down ? (0 - d) & all : d;
}

static inline bool goes_down(const fate *f, uint64_t e)
{
    bool down;

    way_between(f->t, fmp_load_le(f->ref->data + f->ref_off + e * f->width, f->width),
                element(f, e), &down);
    return down;
}

static inline bool one_reference(const fate *a, const fate *b)
{
    if (!a->ref || !b->ref)
        return a->ref == b->ref;
    return a->ref_off == b->ref_off && one_content(a->ref, b->ref);
}

/* What two fates of one tensor have in common. */
typedef struct bond {
    bool type, ref, result;
} bond;

static inline bond bond_of(const fate *a, const fate *b)
{
    if (!a->t || !b->t)
        return (bond){0};
    return (bond){.type = a->t->dtype == b->t->dtype,
                  .ref = one_reference(a, b),
                  .result = one_kind(a->t, b->t) && one_content(a->t, b->t)};
}

static inline uint8_t how_at(const fate *f, uint64_t e)
{
    return f->t && e < f->n ? f->how[e] : STAYS;
}

static inline bool alike_at(const fate *a, const fate *b, bond x, uint64_t e)
{
    const uint8_t how = how_at(a, e);

    if (x.type && how == how_at(b, e) && (how == BITS || (how == STEP && x.ref)))
        return element(a, e) == element(b, e);
    return x.result;
}

static inline bool against_at(const fate *a, const fate *b, bond x, uint64_t e)
{
    return how_at(a, e) == STEP && how_at(b, e) == STEP && x.type && x.ref &&
           goes_down(a, e) != goes_down(b, e);
}

#endif
