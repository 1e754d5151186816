/*
 * The main pass of fmp_create(): every target tensor is read once beside its base, hashed, compared
 * and coded.  Then the base tensors that no target tensor covers.  See create.h.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "create.h"

fmp_block_params fmp_creation_params(const fmp_creation *c, const fmp_store *s, uint32_t tensor)
{
    const fmp_tensor_info t = fmp_store_tensor(s, tensor);
    fmp_block_params p;

    if (c->raw_params.bits)
        return c->raw_params;
    p = fmp_params_of(fmp_dtype_at(s->tensors[tensor].dtype), t.rank, t.shape);
    p.set_values = c->o.set_values;
    p.by_one = s->is_mask;
    return p;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

/* Tensors first .. first+n-1 of a store, packed one after the other; one read where they lie so. */
static fmp_status read_batch(const fmp_store *s, uint32_t first, uint32_t n, uint8_t *buf,
                             fmp_error *err)
{
    const fmp_store_entry *e = &s->tensors[first];
    const fmp_store_entry *last = &s->tensors[first + n - 1];
    fmp_status st = FMP_OK;
    size_t at = 0;

    if (e->file == last->file && !s->overlay)
        return fmp_store_read_file(s, e->file, e->off, buf,
                                   (size_t)(last->off + last->n_bytes - e->off), err);
    for (uint32_t i = first; i < first + n && !st; i++) {
        st = fmp_store_read(s, i, 0, buf + at, (size_t)s->tensors[i].n_bytes, err);
        at += (size_t)s->tensors[i].n_bytes;
    }
    return st;
}

/* The base tensor of a target tensor, how much of the target it covers, and from where. */
static uint32_t base_tensor(const fmp_creation *c, uint32_t tensor, fmp_map *ret)
{
    const uint32_t row = c->m.target_row[tensor];
    const uint8_t state = c->m.table.rows[row].state;

    *ret = fmp_table_map(&c->m.table, row);
    if (state != FMP_RESIDUAL)
        ret->n_bytes = 0;
    return state == FMP_RESIDUAL ? c->m.base_of[ret->source] : FMP_NONE;
}

static uint32_t state_of(const fmp_creation *c, uint32_t tensor)
{
    return c->m.table.rows[c->m.target_row[tensor]].state;
}

/* Bytes [off, off + len) of the base of a target tensor, as far as its map goes; *ret_n of them. */
static fmp_status read_base(const fmp_creation *c, uint32_t tensor, uint64_t off, uint32_t len,
                            uint8_t *buf, uint32_t *ret_n, fmp_error *err)
{
    fmp_map map;
    const uint32_t b = base_tensor(c, tensor, &map);
    const uint64_t left = map.n_bytes > off ? map.n_bytes - off : 0;

    *ret_n = (uint32_t)(left < len ? left : len);
    if (!*ret_n)
        return FMP_OK;
    return fmp_store_read(c->base, b, map.base_off + off, buf, *ret_n, err);
}

/* Whether the base tensors of a batch lie in one piece, in the same order and sizes. */
static bool base_in_step(const fmp_creation *c, uint32_t first, uint32_t n, uint32_t *ret_base)
{
    fmp_map map;

    *ret_base = base_tensor(c, first, &map);
    for (uint32_t i = 0; i < n; i++) {
        if (base_tensor(c, first + i, &map) != *ret_base + i || *ret_base == FMP_NONE ||
            map.n_bytes != c->base->tensors[*ret_base + i].n_bytes ||
            map.n_bytes != c->target->tensors[first + i].n_bytes || map.base_off)
            return false;
    }
    return true;
}

/* ---- work: any thread -------------------------------------------------------------------------
 */

static fmp_digest small_digest(const uint8_t *data, size_t len)
{
    fmp_merkle m;

    fmp_merkle_init(&m);
    if (len) {
        const fmp_digest leaf = fmp_leaf_digest(0, data, len);

        fmp_merkle_push(&m, &leaf);
    }
    return fmp_merkle_final(&m, len);
}

static fmp_status work_batch(fmp_creation *c, const fmp_region *r, fmp_create_slot *s,
                             fmp_error *err)
{
    uint32_t base_first;
    const bool in_step = base_in_step(c, r->first, r->n, &base_first);
    fmp_status st = read_batch(c->target, r->first, r->n, s->target, err);
    size_t at = 0;

    if (!st && in_step)
        st = read_batch(c->base, base_first, r->n, s->base, err);
    for (uint32_t i = 0; i < r->n && !st; i++) {
        const uint32_t len = (uint32_t)c->target->tensors[r->first + i].n_bytes;
        uint32_t n_base = len;

        if (!in_step)
            st = read_base(c, r->first + i, 0, len, s->base + at, &n_base, err);
        if (st)
            return st;
        s->differs[i] = n_base != len || memcmp(s->base + at, s->target + at, len) != 0;
        s->target_digest[i] = small_digest(s->target + at, len);
        s->base_digest[i] =
            s->differs[i] ? small_digest(s->base + at, n_base) : s->target_digest[i];
        at += len;
    }
    return st;
}

static fmp_status work_leaf(fmp_creation *c, const fmp_region *r, fmp_create_slot *s,
                            fmp_error *err)
{
    const fmp_block_params p = fmp_creation_params(c, c->target, r->first);
    const uint64_t leaf = r->off / FMP_LEAF_LEN;
    uint32_t n_base;
    fmp_status st = fmp_store_read(c->target, r->first, r->off, s->target, r->len, err);

    if (!st)
        st = read_base(c, r->first, r->off, r->len, s->base, &n_base, err);
    if (st)
        return st;
    s->target_digest[0] = fmp_leaf_digest(leaf, s->target, r->len);
    s->differs[0] = n_base != r->len || memcmp(s->base, s->target, r->len) != 0;
    s->base_digest[0] =
        s->differs[0] ? fmp_leaf_digest(leaf, s->base, n_base) : s->target_digest[0];
    if (s->differs[0] && n_base)
        st = fmp_encoder_add(&s->enc, &p, r->first, r->off, s->base, s->target, n_base, err);
    if (!st && n_base < r->len)
        st = fmp_encoder_add(&s->enc, &p, r->first, r->off + n_base, NULL, s->target + n_base,
                             r->len - n_base, err);
    return st ? st : fmp_encoder_settle(&s->enc, FMP_DOMAIN_TENSORS, err);
}

static fmp_status tensors_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot,
                               fmp_error *err)
{
    fmp_creation *c = ctx;
    const fmp_region r = fmp_regions_at(&c->regions, item);
    fmp_create_slot *s = &c->slot[slot];

    (void)pool;
    fmp_encoder_begin(&s->enc);
    if (r.n > 1)
        return work_batch(c, &r, s, err);
    return state_of(c, r.first) == FMP_ALIAS ? FMP_OK : work_leaf(c, &r, s, err);
}

/* ---- finish: in order -------------------------------------------------------------------------
 */

static fmp_status keep_digest(fmp_creation *c, uint32_t row, const fmp_digest *d, fmp_error *err)
{
    if (c->n_found == c->cap_found) {
        const uint32_t cap = c->cap_found ? c->cap_found + c->cap_found / 2 : 64;
        fmp_found_digest *found = fmp_realloc(c->found, cap, sizeof *found);

        if (!found)
            return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "digests: out of memory");
        c->found = found;
        c->cap_found = cap;
    }
    c->found[c->n_found++] = (fmp_found_digest){.row = row, .digest = *d};
    return FMP_OK;
}

/* Everything about a target tensor is known: its state, and the digest of its base. */
static fmp_status tensor_done(fmp_creation *c, uint32_t tensor, bool changed, bool has_set,
                              const fmp_digest *base, const fmp_digest *target, fmp_error *err)
{
    const uint32_t row = c->m.target_row[tensor];
    fmp_row *r = &c->m.table.rows[row];
    fmp_map map;
    const uint32_t b = base_tensor(c, tensor, &map);

    if (b != FMP_NONE && c->primary[b] == tensor)
        c->m.table.digests[c->m.table.rows[map.source].base_digest] = *base;
    if (r->state == FMP_ALIAS)
        return FMP_OK;
    if (r->state == FMP_RESIDUAL && !changed && map.base_off == 0 &&
        map.n_bytes == c->target->tensors[tensor].n_bytes &&
        map.n_bytes == c->base->tensors[b].n_bytes) {
        r->state = FMP_UNCHANGED;
        return FMP_OK;
    }
    if (r->state == FMP_RESIDUAL && has_set)
        r->state = FMP_SET;
    return keep_digest(c, row, target, err);
}

/* What has been read of a target tensor and its base goes into the sums of their files. */
static fmp_status sum_files(fmp_creation *c, uint32_t tensor, uint64_t off, const uint8_t *base,
                            uint32_t n_base, const uint8_t *target, uint32_t len, fmp_error *err)
{
    fmp_map map;
    const uint32_t b = base_tensor(c, tensor, &map);
    fmp_status st = fmp_filesums_add(&c->sums[1], tensor, off, target, len, err);

    if (!st && b != FMP_NONE && n_base)
        st = fmp_filesums_add(&c->sums[0], b, map.base_off + off, base, n_base, err);
    return st;
}

static fmp_status finish_batch(fmp_creation *c, const fmp_region *r, fmp_create_slot *s,
                               fmp_error *err)
{
    size_t at = 0;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < r->n && !st; i++) {
        const uint32_t tensor = r->first + i;
        const uint32_t len = (uint32_t)c->target->tensors[tensor].n_bytes;
        const fmp_block_params p = fmp_creation_params(c, c->target, tensor);
        const uint32_t state = state_of(c, tensor);
        fmp_map map;
        uint32_t n_base;

        base_tensor(c, tensor, &map);
        n_base = (uint32_t)(map.n_bytes < len ? map.n_bytes : len);
        st = sum_files(c, tensor, 0, s->base + at, n_base, s->target + at, len, err);
        fmp_encoder_begin(&s->enc);
        if (!st && s->differs[i] && state != FMP_ALIAS) {
            if (n_base)
                st = fmp_encoder_add(&s->enc, &p, tensor, 0, s->base + at, s->target + at, n_base,
                                     err);
            if (!st && n_base < len)
                st = fmp_encoder_add(&s->enc, &p, tensor, n_base, NULL, s->target + at + n_base,
                                     len - n_base, err);
            if (!st)
                st = fmp_payload_take(&c->payload, &s->enc, FMP_DOMAIN_TENSORS, err);
        }
        if (!st)
            st = tensor_done(c, tensor, s->differs[i], s->enc.has_set, &s->base_digest[i],
                             &s->target_digest[i], err);
        at += len;
    }
    return st;
}

static fmp_status finish_leaf(fmp_creation *c, const fmp_region *r, fmp_create_slot *s,
                              fmp_error *err)
{
    const uint64_t n_bytes = c->target->tensors[r->first].n_bytes;
    fmp_digest base, target;
    fmp_map map;
    const uint32_t b = base_tensor(c, r->first, &map);
    const uint64_t n_base = b != FMP_NONE ? c->base->tensors[b].n_bytes : 0;
    fmp_status st;

    if (state_of(c, r->first) == FMP_ALIAS)
        return FMP_OK;
    if (r->off == 0) {
        fmp_merkle_init(&c->base_merkle);
        fmp_merkle_init(&c->target_merkle);
        c->changed = c->has_set = false;
    }
    if (c->o.sha256) {
        const uint64_t left = map.n_bytes > r->off ? map.n_bytes - r->off : 0;

        st = sum_files(c, r->first, r->off, s->base, (uint32_t)(left < r->len ? left : r->len),
                       s->target, r->len, err);
        if (st)
            return st;
    }
    if (r->len)
        fmp_merkle_push(&c->target_merkle, &s->target_digest[0]);
    if (r->off < n_base)
        fmp_merkle_push(&c->base_merkle, &s->base_digest[0]);
    c->changed |= s->differs[0];
    c->has_set |= s->enc.has_set;
    st = fmp_payload_take(&c->payload, &s->enc, FMP_DOMAIN_TENSORS, err);
    if (st || r->off + r->len < n_bytes)
        return st;
    base = fmp_merkle_final(&c->base_merkle, n_base);
    target = fmp_merkle_final(&c->target_merkle, n_bytes);
    return tensor_done(c, r->first, c->changed, c->has_set, &base, &target, err);
}

static fmp_status tensors_finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_creation *c = ctx;
    const fmp_region r = fmp_regions_at(&c->regions, item);

    c->done += 2ull * r.len;
    return r.n > 1 ? finish_batch(c, &r, &c->slot[slot], err)
                   : finish_leaf(c, &r, &c->slot[slot], err);
}

static fmp_status poll(void *ctx, fmp_error *err)
{
    fmp_creation *c = ctx;

    if (c->o.progress.fn && c->o.progress.fn(c->o.progress.ctx, c->done, c->total))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

static uint64_t target_size(const void *ctx, uint32_t i)
{
    return ((const fmp_creation *)ctx)->target->tensors[i].n_bytes;
}

/* A base tensor is hashed beside a target tensor whose map covers all of it from its start on. */
static fmp_status choose_primaries(fmp_creation *c, fmp_error *err)
{
    c->primary = fmp_malloc((size_t)c->base->n_tensors * sizeof *c->primary);
    if (!c->primary)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    memset(c->primary, 0xff, (size_t)c->base->n_tensors * sizeof *c->primary);
    for (uint32_t t = 0; t < c->target->n_tensors; t++) {
        fmp_map map;
        const uint32_t b = base_tensor(c, t, &map);

        if (b != FMP_NONE && c->primary[b] == FMP_NONE && map.base_off == 0 &&
            map.n_bytes == c->base->tensors[b].n_bytes)
            c->primary[b] = t;
    }
    for (uint32_t b = 0; b < c->base->n_tensors; b++)
        c->n_base_only += c->primary[b] == FMP_NONE;
    c->base_only = fmp_calloc(c->n_base_only, sizeof *c->base_only);
    if (!c->base_only)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    for (uint32_t b = 0, n = 0; b < c->base->n_tensors; b++) {
        if (c->primary[b] == FMP_NONE)
            c->base_only[n++] = b;
    }
    return FMP_OK;
}

static fmp_status run(fmp_creation *c, fmp_pool_job job, fmp_error *err)
{
    fmp_status st;

    job.n_items = c->regions.n_items;
    job.poll = poll;
    job.ctx = c;
    st = fmp_pool_run(&job, c->n_threads, err);
    fmp_regions_release(&c->regions);
    return st;
}

fmp_status fmp_creation_tensors(fmp_creation *c, fmp_error *err)
{
    fmp_status st = choose_primaries(c, err);

    if (!st)
        st = fmp_regions_build(&c->regions, target_size, c, c->target->n_tensors, err);
    if (!st)
        st = run(c, (fmp_pool_job){.work = tensors_work, .finish = tensors_finish}, err);
    return st ? st : fmp_payload_flush(&c->payload, err);
}

/* ---- base tensors on their own ----------------------------------------------------------------
 */

/* Whether revert will need its content.  An alias of a tensor whose base was equal gives it back.
 */
static bool keeps_old(const fmp_creation *c, uint32_t b)
{
    const uint32_t row = c->m.base_row[b];

    return c->o.reversible && c->m.table.rows[row].state != FMP_ALIAS;
}

static fmp_status old_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_creation *c = ctx;
    const fmp_region r = fmp_regions_at(&c->regions, item);
    fmp_create_slot *s = &c->slot[slot];
    size_t at = 0;
    fmp_status st = FMP_OK;

    (void)pool;
    for (uint32_t i = 0; i < r.n && !st; i++) {
        const uint32_t b = c->base_only[r.first + i];
        const size_t len = r.n > 1 ? (size_t)c->base->tensors[b].n_bytes : r.len;

        st = fmp_store_read(c->base, b, r.off, s->base + at, len, err);
        if (!st)
            s->base_digest[i] = r.n > 1 ? small_digest(s->base + at, len)
                                        : fmp_leaf_digest(r.off / FMP_LEAF_LEN, s->base + at, len);
        at += len;
    }
    return st;
}

static fmp_status old_finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_creation *c = ctx;
    const fmp_region r = fmp_regions_at(&c->regions, item);
    fmp_create_slot *s = &c->slot[slot];
    size_t at = 0;
    fmp_status st = FMP_OK;

    c->done += r.len;
    for (uint32_t i = 0; i < r.n && !st; i++) {
        const uint32_t b = c->base_only[r.first + i];
        const fmp_block_params p = fmp_creation_params(c, c->base, b);
        const uint64_t n_bytes = c->base->tensors[b].n_bytes;
        const uint32_t len = r.n > 1 ? (uint32_t)n_bytes : r.len;
        fmp_digest *d = &c->m.table.digests[c->m.table.rows[c->m.base_row[b]].base_digest];

        fmp_encoder_begin(&s->enc);
        if (keeps_old(c, b))
            st = fmp_encoder_add(&s->enc, &p, b, r.off, NULL, s->base + at, len, err);
        if (!st)
            st = fmp_payload_take(&c->payload, &s->enc, FMP_DOMAIN_OLD_TENSORS, err);
        at += len;
        if (r.n > 1) {
            *d = s->base_digest[i];
            continue;
        }
        if (r.off == 0)
            fmp_merkle_init(&c->base_merkle);
        if (len)
            fmp_merkle_push(&c->base_merkle, &s->base_digest[0]);
        if (r.off + len == n_bytes)
            *d = fmp_merkle_final(&c->base_merkle, n_bytes);
    }
    return st;
}

static uint64_t base_only_size(const void *ctx, uint32_t i)
{
    const fmp_creation *c = ctx;

    return c->base->tensors[c->base_only[i]].n_bytes;
}

fmp_status fmp_creation_base_only(fmp_creation *c, fmp_error *err)
{
    fmp_status st = fmp_regions_build(&c->regions, base_only_size, c, c->n_base_only, err);

    if (!st)
        st = run(c, (fmp_pool_job){.work = old_work, .finish = old_finish}, err);
    return st ? st : fmp_payload_flush(&c->payload, err);
}

/* ---- the unit of raw files --------------------------------------------------------------------
 */

#define SAMPLES 12u

static fmp_status cost_of(fmp_creation *c, uint64_t off, uint32_t len, const fmp_block_params *p,
                          uint64_t *sum, fmp_error *err)
{
    fmp_create_slot *s = &c->slot[0];
    fmp_status st;

    fmp_encoder_begin(&s->enc);
    st = fmp_encoder_add(&s->enc, p, 0, off, s->base, s->target, len, err);
    for (unsigned i = 0; i < s->enc.n_pieces && !st; i++)
        *sum += s->enc.piece[i].cost;
    fmp_encoder_begin(&s->enc);
    return st;
}

fmp_status fmp_creation_try_widths(fmp_creation *c, fmp_error *err)
{
    static const fmp_block_params candidates[] = {
        {.bits = 8, .key_shift = FMP_KEY_NONE},
        {.bits = 16, .sign_magnitude = true, .key_shift = 7}, /* BF16 rather than F16 */
        {.bits = 32, .sign_magnitude = true, .key_shift = 23},
        {.bits = 16, .key_shift = FMP_KEY_NONE},
        {.bits = 32, .key_shift = FMP_KEY_NONE},
        {.bits = 64, .sign_magnitude = true, .key_shift = 52},
        {.bits = 64, .key_shift = FMP_KEY_NONE}};
    enum { N = sizeof candidates / sizeof *candidates };
    const uint64_t n = c->base->tensors[0].n_bytes < c->target->tensors[0].n_bytes
                           ? c->base->tensors[0].n_bytes
                           : c->target->tensors[0].n_bytes;
    const uint64_t n_leaves = n / FMP_LEAF_LEN + 1;
    const uint64_t stride = n_leaves > SAMPLES ? n_leaves / SAMPLES : 1;
    uint64_t sum[N] = {0};
    unsigned best = 0;

    for (uint64_t leaf = 0; leaf < n_leaves; leaf += stride) {
        const uint64_t off = leaf * FMP_LEAF_LEN;
        const uint32_t len = (uint32_t)(n - off < FMP_LEAF_LEN ? n - off : FMP_LEAF_LEN) & ~7u;
        fmp_status st = fmp_store_read(c->base, 0, off, c->slot[0].base, len, err);

        if (!st)
            st = fmp_store_read(c->target, 0, off, c->slot[0].target, len, err);
        for (unsigned k = 0; k < N && !st && len; k++)
            st = cost_of(c, off, len, &candidates[k], &sum[k], err);
        if (st)
            return st;
    }
    for (unsigned k = 1; k < N; k++) {
        const bool fits = !c->o.width || candidates[k].bits == c->o.width;
        const bool best_fits = !c->o.width || candidates[best].bits == c->o.width;

        if (fits && (!best_fits || sum[k] < sum[best]))
            best = k;
    }
    c->raw_params = candidates[best];
    c->raw_params.set_values = c->o.set_values;
    return FMP_OK;
}
