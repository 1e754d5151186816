/*
 * What a patch says about files: their layout, headers that cannot be derived, side files.  See
 * create.h.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "create.h"

#define PIECE ((size_t)FMP_LEAF_LEN)

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "layout: out of memory");
}

/* ---- headers ----------------------------------------------------------------------------------
 */

/* Compares what a driver derives with what the file has. */
typedef struct header_check {
    const fmp_store *store;
    uint32_t file;
    uint64_t at;
    bool same;
    uint8_t *piece;
} header_check;

static fmp_status check_sink(void *ctx, const void *data, size_t len, fmp_error *err)
{
    header_check *h = ctx;
    const uint8_t *want = data;

    while (len && h->same) {
        const uint64_t left = h->store->files[h->file].header_len - h->at;
        size_t n = len < PIECE ? len : PIECE;
        fmp_status st;

        if (left < n) {
            h->same = false;
            return FMP_OK;
        }
        st = fmp_store_read_file(h->store, h->file, h->at, h->piece, n, err);
        if (st)
            return st;
        h->same = memcmp(h->piece, want, n) == 0;
        h->at += n;
        want += n;
        len -= n;
    }
    return FMP_OK;
}

typedef struct file_tensors {
    const fmp_store *store;
    uint32_t first;
} file_tensors;

static fmp_tensor_info tensor_at(void *ctx, uint32_t i)
{
    const file_tensors *f = ctx;

    return fmp_store_tensor(f->store, f->first + i);
}

/* Whether the driver makes this very header from the tensors and a hint. */
static fmp_status derive_header(const fmp_store *s, uint32_t file, uint8_t *piece,
                                fmp_layout_file *out, fmp_error *err)
{
    const fmp_store_file *f = &s->files[file];
    file_tensors tensors = {.store = s, .first = f->first_tensor};
    header_check check = {.store = s, .file = file, .same = true, .piece = piece};
    fmp_status st;

    if (s->overlay) /* it has no header but the one that is derived */
        return s->below ? s->driver->header_hint(s->below, file, &out->hint, err) : FMP_OK;
    st = s->driver->header_hint(s, file, &out->hint, err);
    if (!st)
        st = s->driver->header_write(out->hint.data, out->hint.len, tensor_at, &tensors,
                                     f->n_tensors, check_sink, &check, err);
    if (st)
        return st;
    out->header_stored = !check.same || check.at != f->header_len || out->hint.len > (1u << 24);
    if (out->header_stored)
        fmp_buf_release(&out->hint);
    return FMP_OK;
}

/* ---- layout -----------------------------------------------------------------------------------
 */

static fmp_status describe_side(const fmp_store *s, const uint32_t *row_of, uint8_t *piece,
                                fmp_layout_side *out, fmp_error *err)
{
    const uint32_t n = fmp_store_weights(s);

    out->is_dir = s->is_dir || s->n_files > 1;
    out->files = fmp_calloc(n, sizeof *out->files);
    out->order = fmp_calloc(s->n_tensors, sizeof *out->order);
    if (!out->files || !out->order)
        return no_memory(err);
    out->n_files = n;
    out->n_order = s->n_tensors;
    memcpy(out->order, row_of, (size_t)s->n_tensors * sizeof *row_of);
    for (uint32_t i = 0; i < n; i++) {
        const fmp_store_file *f = &s->files[i];
        fmp_status st;

        out->files[i] =
            (fmp_layout_file){.name = fmp_strndup(f->name, strlen(f->name)),
                              .driver = fmp_strndup(s->driver->name, strlen(s->driver->name)),
                              .size = f->size,
                              .header_len = f->header_len,
                              .n_tensors = f->n_tensors};
        if (!out->files[i].name || !out->files[i].driver)
            return no_memory(err);
        st = derive_header(s, i, piece, &out->files[i], err);
        if (st)
            return st;
    }
    return FMP_OK;
}

static fmp_status digest_file(const fmp_store *s, uint32_t file, uint8_t *piece, fmp_digest *ret,
                              fmp_error *err)
{
    const uint64_t size = s->files[file].size;
    fmp_merkle m;

    fmp_merkle_init(&m);
    for (uint64_t at = 0; at < size; at += PIECE) {
        const size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;
        fmp_digest leaf;
        const fmp_status st = fmp_store_read_file(s, file, at, piece, n, err);

        if (st)
            return st;
        leaf = fmp_leaf_digest(at / PIECE, piece, n);
        fmp_merkle_push(&m, &leaf);
    }
    *ret = fmp_merkle_final(&m, size);
    return FMP_OK;
}

/* Merges the side files of both, each sorted by name. */
static fmp_status describe_side_files(fmp_creation *c, uint8_t *piece, fmp_error *err)
{
    uint32_t b = fmp_store_weights(c->base);
    uint32_t t = fmp_store_weights(c->target);

    c->layout.side = fmp_calloc((size_t)(c->base->n_files - b) + (c->target->n_files - t),
                                sizeof *c->layout.side);
    if (!c->layout.side)
        return no_memory(err);
    while (b < c->base->n_files || t < c->target->n_files) {
        const int order = b == c->base->n_files ? 1
                          : t == c->target->n_files
                              ? -1
                              : strcmp(c->base->files[b].name, c->target->files[t].name);
        fmp_side_file *f = &c->layout.side[c->layout.n_side];
        const char *name = order <= 0 ? c->base->files[b].name : c->target->files[t].name;
        fmp_status st = FMP_OK;

        f->name = fmp_strndup(name, strlen(name));
        if (!f->name)
            return no_memory(err);
        c->layout.n_side++;
        if (order <= 0) {
            f->in_base = true;
            f->base_size = c->base->files[b].size;
            st = digest_file(c->base, b++, piece, &f->base_digest, err);
        }
        if (order >= 0 && !st) {
            f->in_target = true;
            f->target_size = c->target->files[t].size;
            st = digest_file(c->target, t++, piece, &f->target_digest, err);
        }
        if (st)
            return st;
        f->changed =
            f->in_base && f->in_target && !fmp_digest_equal(&f->base_digest, &f->target_digest);
    }
    return FMP_OK;
}

fmp_status fmp_creation_layout(fmp_creation *c, fmp_error *err)
{
    uint8_t *piece = fmp_malloc(PIECE);
    fmp_status st = piece ? FMP_OK : no_memory(err);

    if (!st)
        st = describe_side(c->target, c->m.target_row, piece, &c->layout.target, err);
    if (!st)
        st = describe_side(c->base, c->m.base_row, piece, &c->layout.base, err);
    if (!st)
        st = describe_side_files(c, piece, err);
    fmp_free(piece);
    return st;
}

/* ---- content that travels whole ---------------------------------------------------------------
 */

static fmp_status store_bytes(fmp_creation *c, const fmp_store *s, uint32_t file, uint64_t len,
                              unsigned domain, uint32_t object, fmp_error *err)
{
    const fmp_block_params p = {.bits = 8};
    fmp_create_slot *slot = &c->slot[0];
    fmp_status st = FMP_OK;

    for (uint64_t at = 0; at < len && !st; at += PIECE) {
        const size_t n = len - at < PIECE ? (size_t)(len - at) : PIECE;

        st = fmp_store_read_file(s, file, at, slot->target, n, err);
        fmp_encoder_begin(&slot->enc);
        if (!st)
            st = fmp_encoder_add(&slot->enc, &p, object, at, NULL, slot->target, (uint32_t)n, err);
        if (!st)
            st = fmp_payload_take(&c->payload, &slot->enc, domain, err);
    }
    return st;
}

static fmp_status store_headers(fmp_creation *c, const fmp_store *s, const fmp_layout_side *side,
                                unsigned domain, fmp_error *err)
{
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < side->n_files && !st; i++) {
        if (side->files[i].header_stored)
            st = store_bytes(c, s, i, side->files[i].header_len, domain, i, err);
    }
    return st;
}

fmp_status fmp_creation_files(fmp_creation *c, fmp_error *err)
{
    fmp_status st = store_headers(c, c->target, &c->layout.target, FMP_DOMAIN_HEADERS, err);

    for (uint32_t i = 0; i < c->layout.n_side && !st; i++) {
        const fmp_side_file *f = &c->layout.side[i];

        if (f->in_target && (f->changed || !f->in_base))
            st = store_bytes(c, c->target, fmp_store_find_side(c->target, f->name), f->target_size,
                             FMP_DOMAIN_FILES, i, err);
    }
    return st ? st : fmp_payload_flush(&c->payload, err);
}

fmp_status fmp_creation_old_files(fmp_creation *c, fmp_error *err)
{
    fmp_status st = FMP_OK;

    if (!c->o.reversible)
        return FMP_OK;
    st = store_headers(c, c->base, &c->layout.base, FMP_DOMAIN_OLD_HEADERS, err);
    for (uint32_t i = 0; i < c->layout.n_side && !st; i++) {
        const fmp_side_file *f = &c->layout.side[i];

        if (f->in_base && (f->changed || !f->in_target))
            st = store_bytes(c, c->base, fmp_store_find_side(c->base, f->name), f->base_size,
                             FMP_DOMAIN_OLD_FILES, i, err);
    }
    return st ? st : fmp_payload_flush(&c->payload, err);
}
