/*
 * Making one side of a patch from the other.  See rebuild.h.
 */
#include "rebuild.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
}

fmp_status fmp_rebuild_init(fmp_rebuild *r, const fmp_patch *p, const fmp_store *in, bool backward,
                            unsigned n_threads, fmp_progress progress, fmp_error *err)
{
    *r = (fmp_rebuild){.p = p, .in = in, .backward = backward, .progress = progress};
    r->n_threads = fmp_pool_threads(n_threads);
    for (unsigned i = 0; i < r->n_threads; i++) {
        const fmp_status st = fmp_decoder_init(&r->slot[i].dec, err);

        if (st)
            return st;
        r->slot[i].buf = fmp_malloc(FMP_LEAF_LEN);
        if (!r->slot[i].buf)
            return no_memory(err);
    }
    r->in_of = fmp_calloc(p->table.n_rows, sizeof *r->in_of);
    r->primary = fmp_calloc(p->table.n_rows, sizeof *r->primary);
    r->hashed = fmp_calloc(p->table.n_rows / 8 + 1, 1);
    return r->in_of && r->primary && r->hashed ? FMP_OK : no_memory(err);
}

void fmp_rebuild_release(fmp_rebuild *r)
{
    for (unsigned i = 0; i < FMP_POOL_MAX_THREADS; i++) {
        fmp_decoder_release(&r->slot[i].dec);
        fmp_free(r->slot[i].buf);
    }
    for (uint32_t i = 0; i < r->n_files; i++)
        fmp_out_discard(&r->files[i].out);
    fmp_regions_release(&r->regions);
    fmp_free(r->in_of);
    fmp_free(r->primary);
    fmp_free(r->hashed);
    fmp_free(r->order);
    fmp_free(r->place);
    fmp_free(r->file_of);
    fmp_free(r->files);
    fmp_free(r->rest);
}

static fmp_tensor_info in_info(const fmp_rebuild *r, uint32_t row)
{
    return fmp_table_info(&r->p->table, row, r->backward);
}

static fmp_tensor_info out_info(const fmp_rebuild *r, uint32_t row)
{
    return fmp_table_info(&r->p->table, row, !r->backward);
}

static const char *side_name(const fmp_rebuild *r)
{
    return r->backward ? "target" : "base";
}

/* ---- does the input fit? ----------------------------------------------------------------------
 */

bool fmp_same_shape(fmp_tensor_info a, fmp_tensor_info b)
{
    return strcmp(a.dtype, b.dtype) == 0 && a.rank == b.rank &&
           (!a.rank || memcmp(a.shape, b.shape, a.rank * sizeof *a.shape) == 0);
}

static void shape_text(const fmp_tensor_info *t, char *text, size_t cap)
{
    size_t n = (size_t)snprintf(text, cap, "%s [", t->dtype);

    for (uint32_t d = 0; d < t->rank && n + 24 < cap; d++)
        n += (size_t)snprintf(text + n, cap - n, "%s%llu", d ? ", " : "",
                              (unsigned long long)t->shape[d]);
    snprintf(text + n, cap - n, "]");
}

static fmp_status wrong_shape(const fmp_rebuild *r, const fmp_tensor_info *want,
                              const fmp_tensor_info *have, fmp_error *err)
{
    char expected[120], found[120];

    shape_text(want, expected, sizeof expected);
    shape_text(have, found, sizeof found);
    return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                    "%s: not the %s of this patch: tensor \"%s\": expected %s, found %s",
                    r->in->path, side_name(r), want->name, expected, found);
}

fmp_status fmp_rebuild_check_shapes(fmp_rebuild *r, fmp_error *err)
{
    const fmp_table *t = &r->p->table;
    uint32_t n = 0;

    for (uint32_t i = 0; i < t->n_rows; i++) {
        const fmp_tensor_info want = in_info(r, i);
        fmp_tensor_info have;

        r->in_of[i] = r->primary[i] = FMP_NONE;
        if (!want.name)
            continue;
        n++;
        r->in_of[i] = fmp_store_find(r->in, want.name, want.name_len);
        if (r->in_of[i] == FMP_NONE)
            return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                            "%s: not the %s of this patch: it has no tensor \"%s\"", r->in->path,
                            side_name(r), want.name);
        have = fmp_store_tensor(r->in, r->in_of[i]);
        if (!fmp_same_shape(want, have))
            return wrong_shape(r, &want, &have, err);
    }
    for (uint32_t i = 0; i < r->in->n_tensors && n != r->in->n_tensors; i++) {
        const fmp_tensor_info have = fmp_store_tensor(r->in, i);
        const uint32_t row = fmp_table_find(t, have.name, have.name_len);

        if (row == FMP_NONE || r->in_of[row] == FMP_NONE)
            return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                            "%s: not the %s of this patch: it has a tensor \"%s\" too many",
                            r->in->path, side_name(r), have.name);
    }
    return FMP_OK;
}

static const fmp_digest *digest_of(const fmp_rebuild *r, uint32_t row, bool target)
{
    const fmp_row *x = &r->p->table.rows[row];
    const uint32_t d = target ? x->target_digest : x->base_digest;

    return d == FMP_NONE ? NULL : &r->p->table.digests[d];
}

static fmp_status check_input(const fmp_rebuild *r, uint32_t row, const fmp_digest *found,
                              fmp_error *err)
{
    const fmp_digest *want = digest_of(r, row, r->backward);
    const fmp_digest *other = digest_of(r, row, !r->backward);
    char want_hex[65], found_hex[65];

    if (fmp_digest_equal(want, found))
        return FMP_OK;
    fmp_digest_hex(want, want_hex);
    fmp_digest_hex(found, found_hex);
    return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                    "%s: not the %s of this patch: tensor \"%s\" differs: expected %.16s..., found "
                    "%.16s...%s",
                    r->in->path, side_name(r), r->p->table.names + r->p->table.rows[row].name_at,
                    want_hex, found_hex,
                    other && fmp_digest_equal(other, found)
                        ? r->backward ? " (that is the base: it is not patched)"
                                      : " (that is the target: it is patched already)"
                        : "");
}

static fmp_status check_result(const fmp_rebuild *r, uint32_t row, const fmp_digest *found,
                               fmp_error *err)
{
    const fmp_digest *want = digest_of(r, row, !r->backward);
    char want_hex[65], found_hex[65];

    if (fmp_digest_equal(want, found))
        return FMP_OK;
    fmp_digest_hex(want, want_hex);
    fmp_digest_hex(found, found_hex);
    return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                    "%s: does not give tensor \"%s\": expected %.16s..., made %.16s...",
                    r->p->file.path, r->p->table.names + r->p->table.rows[row].name_at, want_hex,
                    found_hex);
}

/* ---- one tensor of the result -----------------------------------------------------------------
 */

/* Where a tensor of the result comes from. */
typedef struct origin {
    uint32_t in_row; /* FMP_NONE: nothing of the input */
    uint64_t in_off, n_bytes;
    unsigned domain; /* of the frames that change it */
    uint32_t object; /* FMP_NONE: none do */
    int direction;
} origin;

static origin find_origin(const fmp_rebuild *r, uint32_t row)
{
    const fmp_patch *p = r->p;
    const fmp_table *t = &p->table;
    uint32_t source = row;
    fmp_map map;

    if (r->backward) {
        const uint32_t from = p->target_of[row];

        if (from == FMP_NONE)
            return (origin){
                .in_row = FMP_NONE, .domain = FMP_DOMAIN_OLD_TENSORS, .object = p->base_pos[row]};
        return (origin){.in_row = from,
                        .n_bytes = t->schemas[t->rows[row].base_schema].n_bytes,
                        .domain = FMP_DOMAIN_TENSORS,
                        .object =
                            t->rows[from].state == FMP_UNCHANGED ? FMP_NONE : p->target_pos[from],
                        .direction = FMP_BACKWARD};
    }
    if (t->rows[row].state == FMP_ALIAS)
        source = t->maps[t->rows[row].map].source;
    map = fmp_table_map(t, source);
    return (origin){.in_row = map.n_bytes ? map.source : FMP_NONE,
                    .in_off = map.base_off,
                    .n_bytes = map.n_bytes,
                    .domain = FMP_DOMAIN_TENSORS,
                    .object =
                        t->rows[source].state == FMP_UNCHANGED ? FMP_NONE : p->target_pos[source]};
}

/* An input tensor is hashed by the first of the result that takes all of it, from its start on. */
static void choose_primaries(fmp_rebuild *r, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++) {
        const origin o = find_origin(r, r->order[i]);

        if (o.in_row != FMP_NONE && o.in_off == 0 && r->primary[o.in_row] == FMP_NONE &&
            o.n_bytes == in_info(r, o.in_row).n_bytes) {
            r->primary[o.in_row] = i;
            r->hashed[o.in_row / 8] |= (uint8_t)(1u << (o.in_row % 8));
        }
    }
}

/* A block that is coded given the base makes no sense of another one: whether that is why.  The
 * slot's leaf is lost. */
static fmp_status blame(const fmp_rebuild *r, fmp_rebuild_slot *s, uint32_t in_row, fmp_status st,
                        fmp_error *err)
{
    const uint64_t n_bytes = in_info(r, in_row).n_bytes;
    fmp_merkle m;
    fmp_digest d;

    fmp_merkle_init(&m);
    for (uint64_t off = 0; off < n_bytes; off += FMP_LEAF_LEN) {
        const uint64_t n = n_bytes - off < FMP_LEAF_LEN ? n_bytes - off : FMP_LEAF_LEN;

        if (fmp_store_read(r->in, r->in_of[in_row], off, s->buf, n, NULL))
            return st;
        d = fmp_leaf_digest(off / FMP_LEAF_LEN, s->buf, n);
        fmp_merkle_push(&m, &d);
    }
    d = fmp_merkle_final(&m, n_bytes);
    return fmp_digest_equal(digest_of(r, in_row, r->backward), &d)
               ? st
               : check_input(r, in_row, &d, err);
}

/* Bytes [off, off + len) of result number `i` into `buf`; leaf digests into the slot. */
static fmp_status make_leaf(fmp_rebuild *r, fmp_rebuild_slot *s, uint32_t i, uint64_t off,
                            uint32_t len, uint8_t *buf, fmp_error *err)
{
    const origin o = find_origin(r, r->order[i]);
    const uint64_t left = o.n_bytes > off ? o.n_bytes - off : 0;
    const uint32_t n = (uint32_t)(left < len ? left : len);
    const bool hash_in = o.in_row != FMP_NONE && r->primary[o.in_row] == i;
    bool touched = false;
    fmp_status st = FMP_OK;

    if (n)
        st = fmp_store_read(r->in, r->in_of[o.in_row], o.in_off + off, buf, n, err);
    if (st)
        return st;
    memset(buf + n, 0, len - n);
    if (hash_in)
        s->in = fmp_leaf_digest(off / FMP_LEAF_LEN, buf, n);
    if (o.object != FMP_NONE)
        st = fmp_decoder_apply(&s->dec, r->p, o.domain, o.object, off, len, buf, o.direction,
                               &touched, err);
    if (st == FMP_ECORRUPT && r->p->summary.profile == FMP_PROFILE_COMPACT && o.in_row != FMP_NONE)
        return blame(r, s, o.in_row, st, err);
    if (st)
        return st;
    s->result =
        hash_in && !touched && n == len ? s->in : fmp_leaf_digest(off / FMP_LEAF_LEN, buf, len);
    return FMP_OK;
}

static fmp_digest one_leaf(const fmp_digest *leaf, uint64_t n_bytes)
{
    fmp_merkle m;

    fmp_merkle_init(&m);
    if (n_bytes)
        fmp_merkle_push(&m, leaf);
    return fmp_merkle_final(&m, n_bytes);
}

/* Small tensors: made, checked, and written together. */
static fmp_status make_batch(fmp_rebuild *r, fmp_rebuild_slot *s, const fmp_region *g,
                             fmp_error *err)
{
    uint32_t at = 0;

    for (uint32_t k = 0; k < g->n; k++) {
        const uint32_t i = r->at + g->first + k;
        const uint32_t len = (uint32_t)out_info(r, r->order[i]).n_bytes;
        const origin o = find_origin(r, r->order[i]);
        fmp_digest d;
        fmp_status st = make_leaf(r, s, i, 0, len, s->buf + at, err);

        if (!st && o.in_row != FMP_NONE && r->primary[o.in_row] == i) {
            d = one_leaf(&s->in, o.n_bytes);
            st = check_input(r, o.in_row, &d, err);
        }
        if (!st) {
            d = one_leaf(&s->result, len);
            st = check_result(r, r->order[i], &d, err);
        }
        if (st)
            return st;
        at += len;
    }
    return FMP_OK;
}

/* Writes what lies in the slot, split where a batch crosses from one file into the next. */
static fmp_status write_region(fmp_rebuild *r, const fmp_rebuild_slot *s, const fmp_region *g,
                               fmp_error *err)
{
    uint32_t k = 0;
    size_t at = 0;

    while (k < g->n) {
        const uint32_t i = r->at + g->first + k;
        fmp_rebuild_file *f = &r->files[r->file_of[i]];
        size_t len = 0;
        fmp_status st;

        for (; k < g->n && r->file_of[r->at + g->first + k] == r->file_of[i]; k++)
            len += g->n > 1 ? (size_t)out_info(r, r->order[r->at + g->first + k]).n_bytes : g->len;
        st = len ? fmp_out_write(&f->out, r->place[i] + g->off, s->buf + at, len, err) : FMP_OK;
        if (st)
            return st;
        at += len;
    }
    return FMP_OK;
}

static fmp_status tensors_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot,
                               fmp_error *err)
{
    fmp_rebuild *r = ctx;
    const fmp_region g = fmp_regions_at(&r->regions, item);
    fmp_rebuild_slot *s = &r->slot[slot];
    fmp_status st;

    (void)pool;
    st = g.n > 1 ? make_batch(r, s, &g, err)
                 : make_leaf(r, s, r->at + g.first, g.off, g.len, s->buf, err);
    if (!st && r->write)
        st = write_region(r, s, &g, err);
    return st;
}

static fmp_status tensors_finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_rebuild *r = ctx;
    const fmp_region g = fmp_regions_at(&r->regions, item);
    const fmp_rebuild_slot *s = &r->slot[slot];
    const uint32_t i = r->at + g.first;
    const origin o = find_origin(r, r->order[i]);
    const bool hash_in = o.in_row != FMP_NONE && r->primary[o.in_row] == i;
    const uint64_t n_bytes = out_info(r, r->order[i]).n_bytes;
    fmp_digest d;
    fmp_status st = FMP_OK;

    r->done += g.len;
    if (g.n > 1)
        return FMP_OK;
    if (g.off == 0) {
        fmp_merkle_init(&r->in_merkle);
        fmp_merkle_init(&r->result_merkle);
    }
    if (hash_in && g.off < o.n_bytes)
        fmp_merkle_push(&r->in_merkle, &s->in);
    if (g.len)
        fmp_merkle_push(&r->result_merkle, &s->result);
    if (g.off + g.len < n_bytes)
        return FMP_OK;
    if (hash_in) {
        d = fmp_merkle_final(&r->in_merkle, o.n_bytes);
        st = check_input(r, o.in_row, &d, err);
    }
    if (st)
        return st;
    d = fmp_merkle_final(&r->result_merkle, n_bytes);
    return check_result(r, r->order[i], &d, err);
}

static fmp_status poll(void *ctx, fmp_error *err)
{
    fmp_rebuild *r = ctx;

    if (r->progress.fn && r->progress.fn(r->progress.ctx, r->done, r->total))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

static uint64_t out_size(const void *ctx, uint32_t i)
{
    const fmp_rebuild *r = ctx;

    return out_info(r, r->order[r->at + i]).n_bytes;
}

static fmp_status run(fmp_rebuild *r, fmp_pool_job job, fmp_error *err)
{
    fmp_status st;

    job.n_items = r->regions.n_items;
    job.poll = poll;
    job.ctx = r;
    st = fmp_pool_run(&job, r->n_threads, err);
    fmp_regions_release(&r->regions);
    return st;
}

fmp_status fmp_rebuild_tensors(fmp_rebuild *r, uint32_t first, uint32_t n, fmp_error *err)
{
    const uint32_t end = first + n < r->n_files ? r->files[first + n].first : r->n_order;
    fmp_status st;

    r->at = r->files[first].first;
    choose_primaries(r, r->at, end - r->at);
    st = fmp_regions_build(&r->regions, out_size, r, end - r->at, err);
    if (!st)
        st = run(r, (fmp_pool_job){.work = tensors_work, .finish = tensors_finish}, err);
    return st;
}

/* ---- the rest of the input --------------------------------------------------------------------
 */

static fmp_status rest_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_rebuild *r = ctx;
    const fmp_region g = fmp_regions_at(&r->regions, item);
    fmp_rebuild_slot *s = &r->slot[slot];

    (void)pool;
    for (uint32_t k = 0; k < g.n; k++) {
        const uint32_t row = r->rest[g.first + k];
        const uint32_t len = g.n > 1 ? (uint32_t)in_info(r, row).n_bytes : g.len;
        fmp_status st = fmp_store_read(r->in, r->in_of[row], g.off, s->buf, len, err);
        fmp_digest d;

        if (st)
            return st;
        s->in = fmp_leaf_digest(g.off / FMP_LEAF_LEN, s->buf, len);
        if (g.n == 1)
            return FMP_OK;
        d = one_leaf(&s->in, len);
        st = check_input(r, row, &d, err);
        if (st)
            return st;
    }
    return FMP_OK;
}

static fmp_status rest_finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_rebuild *r = ctx;
    const fmp_region g = fmp_regions_at(&r->regions, item);
    const uint32_t row = r->rest[g.first];
    const uint64_t n_bytes = in_info(r, row).n_bytes;
    fmp_digest d;

    r->done += g.len;
    if (g.n > 1)
        return FMP_OK;
    if (g.off == 0)
        fmp_merkle_init(&r->in_merkle);
    if (g.len)
        fmp_merkle_push(&r->in_merkle, &r->slot[slot].in);
    if (g.off + g.len < n_bytes)
        return FMP_OK;
    d = fmp_merkle_final(&r->in_merkle, n_bytes);
    return check_input(r, row, &d, err);
}

static uint64_t rest_size(const void *ctx, uint32_t i)
{
    const fmp_rebuild *r = ctx;

    return in_info(r, r->rest[i]).n_bytes;
}

fmp_status fmp_rebuild_check_rest(fmp_rebuild *r, fmp_error *err)
{
    const uint32_t n_rows = r->p->table.n_rows;
    fmp_status st;

    for (uint32_t i = 0; i < n_rows; i++)
        r->n_rest += r->in_of[i] != FMP_NONE && !(r->hashed[i / 8] >> (i % 8) & 1);
    r->rest = fmp_calloc(r->n_rest, sizeof *r->rest);
    if (!r->rest)
        return no_memory(err);
    for (uint32_t i = 0, n = 0; i < n_rows; i++) {
        if (r->in_of[i] != FMP_NONE && !(r->hashed[i / 8] >> (i % 8) & 1))
            r->rest[n++] = i;
    }
    st = fmp_regions_build(&r->regions, rest_size, r, r->n_rest, err);
    return st ? st : run(r, (fmp_pool_job){.work = rest_work, .finish = rest_finish}, err);
}
