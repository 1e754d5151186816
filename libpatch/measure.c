/*
 * fmp_measure(): how far a patch goes, tensor by tensor.  With a base the target's bytes are made
 * and compared with it; without one the blocks tell what they can.  Nothing here trusts what a
 * block says of its units: one that is not coded in the dtype's own counts as unknown.
 */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "base/values.h"
#include "codec/bits.h"
#include "codec/residual.h"
#include "codec/scan.h"
#include "rebuild.h"

#define PIECE_LEN (64u << 10) /* bytes that are compared at a time */

typedef struct changed_piece {
    uint32_t idx[PIECE_LEN];
    uint8_t before[PIECE_LEN], after[PIECE_LEN];
} changed_piece;

typedef struct measure_slot {
    uint8_t *old;        /* a leaf of the base */
    changed_piece *diff; /* changed elements of a piece */
    uint64_t *values;    /* of a block */
    fmp_measurement *part;
} measure_slot;

typedef struct measure {
    fmp_rebuild r; /* the base, if any, and decoders */
    bool norms_of_all;
    measure_slot slot[FMP_POOL_MAX_THREADS];
    fmp_measurement whole; /* of the large tensor at hand */
    fmp_measure_fn fn;
    void *ctx;
    bool stopped;
} measure;

/* ---- what a tensor is compared with -----------------------------------------------------------
 */

typedef struct plan {
    fmp_value_kind kind;
    unsigned bits; /* of an element */
    bool sign_magnitude;
    uint64_t n_bytes;    /* of the target */
    uint32_t ref;        /* row of the base tensor; FMP_NONE: all is new */
    uint64_t ref_off;    /* its byte that the first of the target is compared with */
    uint64_t ref_bytes;  /* how many have one */
    uint32_t maker;      /* row whose map and frames make the bytes */
    fmp_map map;         /* of the maker */
    bool direct;         /* the maker's blocks are laid over the reference itself */
    bool equal;          /* told by digests */
    fmp_tensor_info now; /* the target */
} plan;

static void plan_units(plan *x)
{
    const fmp_dtype *d = fmp_dtype_find(x->now.dtype, strlen(x->now.dtype));

    x->bits = 8;
    x->sign_magnitude = false;
    x->kind = FMP_VALUE_NONE;
    if (!d || x->now.n_elements > UINT64_MAX / d->bits ||
        x->now.n_elements * d->bits / 8 != x->n_bytes || x->n_bytes % (d->width / 8u))
        return;
    x->bits = d->width;
    x->sign_magnitude = d->order == FMP_ORDER_SIGN;
    x->kind = fmp_value_kind_of(d->name);
}

static plan plan_row(const fmp_patch *p, uint32_t row)
{
    const fmp_table *t = &p->table;
    const fmp_row *r = &t->rows[row];
    plan x = {.ref = FMP_NONE, .maker = row, .now = fmp_table_info(t, row, true)};
    const fmp_tensor_info own = fmp_table_info(t, row, false);

    x.n_bytes = x.now.n_bytes;
    plan_units(&x);
    if (r->state == FMP_ALIAS)
        x.maker = t->maps[r->map].source;
    x.map = fmp_table_map(t, x.maker);
    if (own.name && fmp_same_shape(own, x.now) && own.n_bytes == x.n_bytes) {
        x.ref = row;
        x.ref_bytes = x.n_bytes;
    } else if (x.map.n_bytes &&
               strcmp(fmp_table_info(t, x.map.source, false).dtype, x.now.dtype) == 0) {
        x.ref = x.map.source;
        x.ref_off = x.map.base_off;
        x.ref_bytes = x.map.n_bytes - x.map.n_bytes % (x.bits / 8u);
    }
    x.direct = x.maker == row && x.ref != FMP_NONE && x.ref == x.map.source &&
               x.ref_off == x.map.base_off && x.map.n_bytes >= x.ref_bytes;
    x.equal =
        x.ref != FMP_NONE && x.ref_bytes == x.n_bytes &&
        fmp_table_info(t, x.ref, false).n_bytes == x.n_bytes &&
        (!x.direct || r->state == FMP_UNCHANGED) &&
        fmp_digest_equal(&t->digests[t->rows[x.ref].base_digest], &t->digests[r->target_digest]);
    return x;
}

static uint64_t elements(const plan *x, uint64_t n_bytes)
{
    return n_bytes / (x->bits / 8u);
}

/* ---- elements ---------------------------------------------------------------------------------
 */

static void add_step(fmp_measurement *m, bool down, uint64_t size)
{
    m->n_up += !down;
    m->n_down += down;
    m->max_residual = size > m->max_residual ? size : m->max_residual;
    m->residual_bits[fmp_bit_length(size)]++;
}

/* A residual: which of the two ways round it stands for, the base would tell.  The shorter one. */
static void add_residual(fmp_measurement *m, uint64_t z, unsigned bits)
{
    const uint64_t d = fmp_unzigzag(z, bits);
    const bool down = d >> (bits - 1) & 1;

    add_step(m, down, down ? (0 - d) & fmp_unit_mask(bits) : d);
}

/* Where a pattern stands in the order of its dtype's values. */
static uint64_t rank_of(const plan *x, uint64_t pattern)
{
    if (x->kind >= FMP_VALUE_I8)
        return pattern ^ 1ull << (x->bits - 1);
    return fmp_order_map(pattern, x->bits, x->sign_magnitude);
}

/* From one pattern to another, never round the end. */
static void add_way(fmp_measurement *m, const plan *x, uint64_t old, uint64_t now)
{
    const uint64_t a = rank_of(x, old);
    const uint64_t b = rank_of(x, now);

    add_step(m, b < a, b < a ? a - b : b - a);
}

/*
 * How long a way may look and be it for certain: one step less than from the largest finite value
 * to the smallest, round the end.  0 where every pattern is a number.
 */
static uint64_t certain_steps(const plan *x)
{
    switch (x->kind) {
    case FMP_VALUE_F64:
        return 1ull << 53;
    case FMP_VALUE_F32:
        return 1ull << 24;
    case FMP_VALUE_F16:
        return 1u << 11;
    case FMP_VALUE_BF16:
        return 1u << 8;
    case FMP_VALUE_E5M2:
        return 1u << 3;
    case FMP_VALUE_E4M3:
        return 2;
    case FMP_VALUE_E8M0:
        return 1;
    default:
        return 0;
    }
}

/* The bin of a difference that is finite and not 0: its binary exponent. */
static unsigned exponent_bin(double d)
{
    uint64_t bits;
    int bin;

    memcpy(&bits, &d, sizeof bits);
    bin = (int)(bits >> 52 & 0x7ff) - 1023 - FMP_MEASURE_EXPONENT_MIN;
    if (bin < 0)
        return 0;
    return bin < FMP_MEASURE_EXPONENTS ? (unsigned)bin : FMP_MEASURE_EXPONENTS - 1;
}

static void add_values(fmp_measurement *m, double old, double now)
{
    double d;

    m->n_new_nan += isnan(now) && !isnan(old);
    m->n_new_inf += isinf(now) && !isinf(old);
    m->n_sign_flips += (old < 0 && now > 0) || (old > 0 && now < 0);
    if (!isfinite(old))
        return;
    d = isfinite(now) ? fabs(now - old) : (double)INFINITY;
    m->change_squares += d * d;
    m->change_max = d > m->change_max ? d : m->change_max;
    if (d > 0 && isfinite(d))
        m->change_exponents[exponent_bin(d)]++;
}

/* Values that come from nowhere, or whose old ones are not known. */
static void add_new_values(fmp_measurement *m, const plan *x, const uint8_t *now, uint64_t n)
{
    const unsigned width = x->bits / 8u;

    if (!fmp_value_is_float(x->kind))
        return;
    for (uint64_t i = 0; i < n; i++) {
        const double v = fmp_value(x->kind, fmp_load_le(now + i * width, width));

        m->n_new_nan += isnan(v) != 0;
        m->n_new_inf += isinf(v) != 0; /* -1 for the negative one */
    }
}

/* Eight sums side by side, added up in one order. */
static inline __attribute__((always_inline)) double squares_of(const uint8_t *data, uint64_t n,
                                                               fmp_value_kind kind, unsigned width)
{
    double sum[8] = {0};

    for (uint64_t i = 0; i < n; i++) {
        const double v = fmp_value(kind, fmp_load_le(data + i * width, width));

        sum[i % 8] += isfinite(v) ? v * v : 0;
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static double squares(const plan *x, const uint8_t *data, uint64_t n)
{
    switch (x->kind) { /* the common ones each get a loop of their own */
    case FMP_VALUE_NONE:
        return 0;
    case FMP_VALUE_BF16:
        return squares_of(data, n, FMP_VALUE_BF16, 2);
    case FMP_VALUE_F16:
        return squares_of(data, n, FMP_VALUE_F16, 2);
    case FMP_VALUE_F32:
        return squares_of(data, n, FMP_VALUE_F32, 4);
    default:
        return squares_of(data, n, x->kind, x->bits / 8u);
    }
}

static void compare(fmp_measurement *m, const plan *x, const uint8_t *old, const uint8_t *now,
                    uint32_t n_bytes, changed_piece *diff)
{
    const unsigned width = x->bits / 8u;
    const fmp_kernels *kernels = fmp_kernels_for(fmp_cpu_features());
    const fmp_changed to = {.idx = diff->idx, .before = diff->before, .after = diff->after};

    for (uint32_t off = 0; off < n_bytes; off += PIECE_LEN) {
        const uint32_t len = n_bytes - off < PIECE_LEN ? n_bytes - off : PIECE_LEN;
        const uint32_t n = kernels->changed(old + off, now + off, len / width, x->bits, &to);

        m->n_changed += n;
        for (uint32_t i = 0; i < n; i++) {
            const uint64_t a = fmp_load_le(to.before + (size_t)i * width, width);
            const uint64_t b = fmp_load_le(to.after + (size_t)i * width, width);

            add_way(m, x, a, b);
            if (x->kind)
                add_values(m, fmp_value(x->kind, a), fmp_value(x->kind, b));
        }
    }
}

/* ---- a leaf, with the base --------------------------------------------------------------------
 */

/* Target bytes [off, off + len) of a row into `buf`. */
static fmp_status make_target(measure *m, fmp_rebuild_slot *s, const plan *x, uint64_t off,
                              uint32_t len, uint8_t *buf, fmp_error *err)
{
    const fmp_patch *p = m->r.p;
    const uint64_t left = x->map.n_bytes > off ? x->map.n_bytes - off : 0;
    const uint32_t n = (uint32_t)(left < len ? left : len);
    fmp_status st = FMP_OK;
    bool touched;

    if (n)
        st = fmp_store_read(m->r.in, m->r.in_of[x->map.source], x->map.base_off + off, buf, n, err);
    memset(buf + n, 0, len - n);
    if (!st && p->table.rows[x->maker].state != FMP_UNCHANGED)
        st = fmp_decoder_apply(&s->dec, p, FMP_DOMAIN_TENSORS, p->target_pos[x->maker], off, len,
                               buf, FMP_FORWARD, &touched, err);
    return st;
}

static fmp_status compare_leaf(measure *m, unsigned slot, const plan *x, uint64_t off, uint32_t len,
                               fmp_measurement *part, fmp_error *err)
{
    fmp_rebuild_slot *s = &m->r.slot[slot];
    uint8_t *old = m->slot[slot].old;
    const uint64_t left = x->ref_bytes > off ? x->ref_bytes - off : 0;
    const uint32_t n = (uint32_t)(left < len ? left : len);
    fmp_status st = FMP_OK;

    if (n)
        st = fmp_store_read(m->r.in, m->r.in_of[x->ref], x->ref_off + off, old, n, err);
    if (!st && !x->equal)
        st = make_target(m, s, x, off, len, s->buf, err);
    if (st)
        return st;
    part->base_squares += squares(x, old, elements(x, n));
    if (x->equal)
        return FMP_OK;
    compare(part, x, old, s->buf, n, m->slot[slot].diff);
    add_new_values(part, x, s->buf + n, elements(x, len - n));
    return FMP_OK;
}

/* ---- a leaf, without the base -----------------------------------------------------------------
 */

typedef struct block_reader {
    const plan *plan;
    measure_slot *slot;
    uint8_t *buf; /* as large as a leaf */
    fmp_measurement *part;
} block_reader;

/* Elements that have a byte in units idx[0 .. n) of a block; `z`: only those with another z than 0.
 */
static uint64_t touched(const plan *x, const fmp_block *b, const uint32_t *idx, const uint64_t *z,
                        uint32_t n)
{
    const unsigned unit = b->bits / 8u;
    const unsigned width = x->bits / 8u;
    uint64_t next = 0; /* the first element not counted yet */
    uint64_t count = 0;

    for (uint32_t i = 0; i < n; i++) {
        const uint64_t at = b->off + (uint64_t)idx[i] * unit;
        const uint64_t first = at / width < next ? next : at / width;
        const uint64_t end = (at + unit + width - 1) / width;

        if (z && !z[i])
            continue;
        count += end > first ? end - first : 0;
        next = end;
    }
    return count;
}

/* New content: what stands where is known. */
static fmp_status read_whole(block_reader *r, fmp_decoder *d, const fmp_block *b, fmp_error *err)
{
    const plan *x = r->plan;
    const unsigned width = x->bits / 8u;
    const uint64_t first = (b->off + width - 1) / width;
    const uint64_t end = (b->off + b->n_bytes) / width;
    const uint64_t all = (b->off + b->n_bytes + width - 1) / width - b->off / width;
    const uint64_t n_seen = end > first ? end - first : 0;
    fmp_status st;

    if (x->direct && b->off < x->ref_bytes) {
        r->part->n_changed += all;
        r->part->n_opaque += all;
    }
    if (!fmp_value_is_float(x->kind))
        return FMP_OK;
    r->part->n_unseen += all - n_seen;
    st = fmp_block_apply(b, &d->frame.streams, r->buf, FMP_FORWARD, d->scratch, NULL, err);
    if (!st && n_seen)
        add_new_values(r->part, x, r->buf + (first * width - b->off), n_seen);
    return st;
}

static fmp_status read_block(void *ctx, fmp_decoder *d, const fmp_block *b, fmp_error *err)
{
    block_reader *r = ctx;
    const plan *x = r->plan;
    const uint32_t n = fmp_block_values(b);
    const bool is_set = b->kind == FMP_BLOCK_SET;
    const bool suits = b->bits == x->bits && b->off % (x->bits / 8u) == 0 &&
                       (is_set || b->sign_magnitude == x->sign_magnitude);
    uint64_t *values = r->slot->values;
    uint64_t n_touched;
    fmp_status st;

    if (b->kind >= FMP_BLOCK_WHOLE)
        return read_whole(r, d, b, err);
    if (!x->direct)
        return FMP_OK;              /* accounted for by its size */
    if (fmp_block_is_modelled(b)) { /* so many units, nobody knows which */
        r->part->n_changed += n;
        r->part->n_opaque += n;
        r->part->n_unseen += fmp_value_is_float(x->kind) ? n : 0;
        return FMP_OK;
    }
    st = fmp_block_list(b, &d->frame.streams, d->scratch, values, err);
    if (st)
        return st;
    n_touched = touched(x, b, d->scratch->idx, is_set ? NULL : values, n);
    r->part->n_changed += n_touched;
    if (is_set || !suits)
        r->part->n_opaque += n_touched;
    if ((!is_set || !suits) && fmp_value_is_float(x->kind))
        r->part->n_unseen += n_touched;
    for (uint32_t i = 0; i < n && suits; i++) {
        if (is_set)
            fmp_store_le(r->buf + (size_t)i * (x->bits / 8u), values[i], x->bits / 8u);
        else if (values[i])
            add_residual(r->part, values[i], x->bits);
    }
    if (is_set && suits)
        add_new_values(r->part, x, r->buf, n);
    return FMP_OK;
}

/* What no block needs to tell. */
static void measure_known(const measure *m, const plan *x, fmp_measurement *part)
{
    const uint64_t n_ref = elements(x, x->ref_bytes);

    part->n_elements = elements(x, x->n_bytes);
    part->has_values = x->kind != FMP_VALUE_NONE;
    part->is_float = fmp_value_is_float(x->kind);
    part->has_base = m->r.in != NULL;
    part->n_new = part->n_elements - n_ref;
    part->n_changed = part->n_new;
    part->certain_steps = m->r.in ? UINT64_MAX : certain_steps(x);
    if (m->r.in || x->direct || x->equal)
        return;
    part->n_changed += n_ref;
    part->n_opaque = n_ref;
    if (fmp_value_is_float(x->kind))
        part->n_unseen = elements(x, x->map.n_bytes);
}

/* ---- all of them ------------------------------------------------------------------------------
 */

/* Whether there is more to learn of a row than its plan tells. */
static bool must_read(const measure *m, const plan *x)
{
    return !x->equal || (m->r.in && m->norms_of_all && x->kind);
}

static uint64_t size_of(const void *ctx, uint32_t i)
{
    const measure *m = ctx;
    const uint32_t row = m->r.p->layout.target.order[i];
    const plan x = plan_row(m->r.p, row);

    return must_read(m, &x) ? x.n_bytes : 0;
}

static fmp_status measure_leaf(measure *m, unsigned slot, uint32_t i, uint64_t off, uint32_t len,
                               fmp_measurement *part, fmp_error *err)
{
    const uint32_t row = m->r.p->layout.target.order[i];
    const plan x = plan_row(m->r.p, row);
    block_reader reader = {
        .plan = &x, .slot = &m->slot[slot], .buf = m->r.slot[slot].buf, .part = part};

    *part = (fmp_measurement){.size = sizeof *part, .tensor = row};
    if (off == 0)
        measure_known(m, &x, part);
    if (!len)
        return FMP_OK;
    if (m->r.in)
        return compare_leaf(m, slot, &x, off, len, part, err);
    return fmp_decoder_each(&m->r.slot[slot].dec, m->r.p, FMP_DOMAIN_TENSORS,
                            m->r.p->target_pos[x.maker], off, len, read_block, &reader, err);
}

static fmp_status work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    measure *m = ctx;
    const fmp_region g = fmp_regions_at(&m->r.regions, item);
    fmp_measurement *part = m->slot[slot].part;
    fmp_status st = FMP_OK;

    (void)pool;
    if (g.n == 1)
        return measure_leaf(m, slot, g.first, g.off, g.len, part, err);
    for (uint32_t k = 0; k < g.n && !st; k++)
        st =
            measure_leaf(m, slot, g.first + k, 0, (uint32_t)size_of(m, g.first + k), &part[k], err);
    return st;
}

static void merge(fmp_measurement *to, const fmp_measurement *from)
{
    to->n_changed += from->n_changed;
    to->n_opaque += from->n_opaque;
    to->n_unseen += from->n_unseen;
    to->n_up += from->n_up;
    to->n_down += from->n_down;
    if (from->max_residual > to->max_residual)
        to->max_residual = from->max_residual;
    for (unsigned i = 0; i < FMP_MEASURE_BITS; i++)
        to->residual_bits[i] += from->residual_bits[i];
    to->n_new_nan += from->n_new_nan;
    to->n_new_inf += from->n_new_inf;
    to->n_sign_flips += from->n_sign_flips;
    to->change_squares += from->change_squares;
    to->base_squares += from->base_squares;
    if (from->change_max > to->change_max)
        to->change_max = from->change_max;
    for (unsigned i = 0; i < FMP_MEASURE_EXPONENTS; i++)
        to->change_exponents[i] += from->change_exponents[i];
}

/* Blocks that split an element may have counted it twice. */
static void clamp(uint64_t *n, uint64_t most)
{
    *n = *n < most ? *n : most;
}

static fmp_status give(measure *m, fmp_measurement *x, fmp_error *err)
{
    clamp(&x->n_changed, x->n_elements);
    clamp(&x->n_opaque, x->n_changed - x->n_new);
    clamp(&x->n_unseen, x->n_changed);
    m->stopped = !m->fn(m->ctx, x);
    return m->stopped ? fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "stopped") : FMP_OK;
}

static fmp_status finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    measure *m = ctx;
    const fmp_region g = fmp_regions_at(&m->r.regions, item);
    fmp_measurement *part = m->slot[slot].part;
    fmp_status st = FMP_OK;

    m->r.done += g.len;
    for (uint32_t k = 0; k < g.n && g.n > 1 && !st; k++)
        st = give(m, &part[k], err);
    if (g.n > 1)
        return st;
    if (g.off == 0)
        m->whole = *part;
    else
        merge(&m->whole, part);
    return g.off + g.len >= size_of(m, g.first) ? give(m, &m->whole, err) : FMP_OK;
}

static fmp_status poll(void *ctx, fmp_error *err)
{
    measure *m = ctx;

    if (m->r.progress.fn && m->r.progress.fn(m->r.progress.ctx, m->r.done, m->r.total))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

static fmp_status make_slots(measure *m, fmp_error *err)
{
    for (unsigned i = 0; i < m->r.n_threads; i++) {
        measure_slot *s = &m->slot[i];

        s->part = fmp_calloc(FMP_BATCH_MAX, sizeof *s->part);
        s->old = m->r.in ? fmp_malloc(FMP_LEAF_LEN) : NULL;
        s->diff = m->r.in ? fmp_malloc(sizeof *s->diff) : NULL;
        s->values = m->r.in ? NULL : fmp_calloc(FMP_BLOCK_UNITS, sizeof *s->values);
        if (!s->part || (m->r.in ? !s->old || !s->diff : !s->values))
            return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    }
    return FMP_OK;
}

static fmp_status measure_target(measure *m, fmp_error *err)
{
    const fmp_layout_side *side = &m->r.p->layout.target;
    fmp_status st = fmp_regions_build(&m->r.regions, size_of, m, side->n_order, err);
    fmp_pool_job job = {.work = work, .finish = finish, .poll = poll, .ctx = m};

    for (uint32_t i = 0; i < side->n_order; i++)
        m->r.total += size_of(m, i);
    job.n_items = m->r.regions.n_items;
    return st ? st : fmp_pool_run(&job, m->r.n_threads, err);
}

static fmp_status measure_removed(measure *m, fmp_error *err)
{
    const fmp_table *t = &m->r.p->table;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < t->n_rows && !st; i++) {
        fmp_measurement none = {.size = sizeof none, .tensor = i, .has_base = m->r.in != NULL};

        if (t->rows[i].target_schema == FMP_NONE)
            st = give(m, &none, err);
    }
    return st;
}

static void release(measure *m)
{
    for (unsigned i = 0; i < FMP_POOL_MAX_THREADS; i++) {
        fmp_free(m->slot[i].part);
        fmp_free(m->slot[i].old);
        fmp_free(m->slot[i].diff);
        fmp_free(m->slot[i].values);
    }
    fmp_rebuild_release(&m->r);
    fmp_free(m);
}

fmp_status fmp_measure(const fmp_patch *patch, const fmp_store *base,
                       const fmp_measure_options *options, fmp_measure_fn fn, void *ctx,
                       fmp_error *err)
{
    fmp_measure_options o = {.size = sizeof o};
    measure *m = fmp_calloc(1, sizeof *m);
    fmp_error found;
    bool stopped;
    fmp_status st;

    if (!m)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    if (options)
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    m->fn = fn;
    m->ctx = ctx;
    m->norms_of_all = o.norms_of_all;
    st = fmp_rebuild_init(&m->r, patch, base, false, o.n_threads, o.progress, &found);
    if (!st && base)
        st = fmp_rebuild_check_shapes(&m->r, &found);
    if (!st)
        st = make_slots(m, &found);
    if (!st)
        st = measure_target(m, &found);
    if (!st)
        st = measure_removed(m, &found);
    stopped = m->stopped;
    release(m);
    if (st && stopped && found.status == FMP_ECANCELED)
        return FMP_OK;
    if (st && err)
        *err = found;
    return st;
}
