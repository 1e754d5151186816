/*
 * Parents of a merge, window by window.  See merge_parents.h.
 */
#include "merge_parents.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "codec/bits.h"
#include "codec/residual.h"
#include "codec/scan.h"
#include "rebuild.h"

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "merge: out of memory");
}

/* ---- do the patches fit? ----------------------------------------------------------------------
 */

static fmp_status not_the_base(const fmp_merge_parents *m, uint32_t i, const char *name,
                               fmp_error *err)
{
    return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET, "%s: not the base of %s: tensor \"%s\"",
                    m->base->path, m->p[i]->file.path, name);
}

/* One root for all; the first tensor that tells two bases apart is named. */
static fmp_status check_roots(const fmp_merge_parents *m, fmp_error *err)
{
    const fmp_table *x = &m->p[0]->table;

    for (uint32_t i = 1; i < m->k; i++) {
        const fmp_table *y = &m->p[i]->table;
        const char *name = "?";

        if (memcmp(m->p[0]->summary.base_root, m->p[i]->summary.base_root, FMP_DIGEST_LEN) == 0)
            continue;
        for (uint32_t r = 0; r < x->n_rows; r++) {
            const fmp_row *a = &x->rows[r];
            const uint32_t k = fmp_table_find(y, x->names + a->name_at, a->name_len);

            if (a->base_schema == FMP_NONE)
                continue;
            name = x->names + a->name_at;
            if (k == FMP_NONE || y->rows[k].base_schema == FMP_NONE ||
                !fmp_digest_equal(&x->digests[a->base_digest], &y->digests[y->rows[k].base_digest]))
                break;
        }
        return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                        "%s: has not the base of %s: tensor \"%s\" differs", m->p[i]->file.path,
                        m->p[0]->file.path, name);
    }
    return FMP_OK;
}

static bool is_own(const fmp_table *t, uint32_t row)
{
    const fmp_map map = fmp_table_map(t, row);

    return map.source == row && map.base_off == 0 &&
           map.n_bytes == fmp_table_info(t, row, false).n_bytes;
}

/* What parent i does to base tensor `tensor`; refuses what is no merging. */
static fmp_status look_at(fmp_merge_parents *m, uint32_t i, uint32_t tensor, fmp_error *err)
{
    const fmp_table *t = &m->p[i]->table;
    const fmp_tensor_info info = fmp_store_tensor(m->base, tensor);
    const uint32_t row = fmp_table_find(t, info.name, info.name_len);
    const fmp_row *r = row == FMP_NONE ? NULL : &t->rows[row];

    if (!r || r->base_schema == FMP_NONE || !fmp_same_shape(fmp_table_info(t, row, false), info))
        return not_the_base(m, i, info.name, err);
    if (r->target_schema != r->base_schema)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "%s: tensor \"%s\" is %s: such patches cannot be merged",
                        m->p[i]->file.path, info.name,
                        r->target_schema == FMP_NONE ? "removed or renamed" : "resized");
    m->row[i][tensor] = row;
    m->touch[i][tensor] = r->state == FMP_UNCHANGED && is_own(t, row)  ? FMP_TOUCH_NOTHING
                          : r->state == FMP_RESIDUAL && is_own(t, row) ? FMP_TOUCH_RESIDUAL
                                                                       : FMP_TOUCH_ANYHOW;
    m->touched[tensor] |= m->touch[i][tensor] != FMP_TOUCH_NOTHING;
    return FMP_OK;
}

static fmp_status look_at_all(fmp_merge_parents *m, fmp_error *err)
{
    const uint32_t n = m->base->n_tensors;
    fmp_status st = check_roots(m, err);

    m->row = fmp_calloc(m->k, sizeof *m->row);
    m->touch = fmp_calloc(m->k, sizeof *m->touch);
    m->touched = fmp_calloc(n, sizeof *m->touched);
    if (!st && (!m->row || !m->touch || !m->touched))
        st = no_memory(err);
    for (uint32_t i = 0; i < m->k && !st; i++) {
        m->row[i] = fmp_calloc(n, sizeof **m->row);
        m->touch[i] = fmp_calloc(n, sizeof **m->touch);
        if (!m->row[i] || !m->touch[i])
            st = no_memory(err);
        else if (m->p[i]->layout.base.n_order != n)
            st = fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                          "%s: not the base of %s: %u tensors expected, %u found", m->base->path,
                          m->p[i]->file.path, m->p[i]->layout.base.n_order, n);
        for (uint32_t t = 0; t < n && !st; t++)
            st = look_at(m, i, t, err);
    }
    return st;
}

/* ---- readers ----------------------------------------------------------------------------------
 */

static fmp_status make_reader(const fmp_merge_parents *m, fmp_merge_reader *r, bool with_scores,
                              fmp_error *err)
{
    const size_t n_scores = with_scores ? (size_t)m->k * (FMP_LEAF_LEN / 4) : 0;
    fmp_status st = fmp_z_new(&r->z, err);

    if (st)
        return st;
    r->scratch = fmp_scratch_new();
    r->dec = fmp_calloc(m->k, sizeof *r->dec);
    r->list = fmp_calloc(m->k, sizeof *r->list);
    r->values = fmp_calloc(FMP_BLOCK_UNITS, sizeof *r->values);
    r->base = fmp_malloc(FMP_LEAF_LEN);
    r->target = fmp_malloc(FMP_LEAF_LEN);
    r->scores = n_scores ? fmp_calloc(n_scores, sizeof *r->scores) : NULL;
    if (!r->scratch || !r->dec || !r->list || !r->values || !r->base || !r->target ||
        (n_scores && !r->scores))
        return no_memory(err);
    for (uint32_t i = 0; i < m->k; i++) {
        r->dec[i].z = r->z;
        r->dec[i].scratch = r->scratch;
    }
    return FMP_OK;
}

static void drop_reader(const fmp_merge_parents *m, fmp_merge_reader *r)
{
    for (uint32_t i = 0; i < m->k; i++) {
        if (r->dec) {
            fmp_frame_release(&r->dec[i].frame);
            fmp_buf_release(&r->dec[i].stored);
        }
        if (r->list) {
            fmp_free(r->list[i].at);
            fmp_free(r->list[i].bits);
        }
    }
    fmp_z_free(r->z);
    fmp_scratch_free(r->scratch);
    fmp_free(r->dec);
    fmp_free(r->list);
    fmp_free(r->values);
    fmp_free(r->base);
    fmp_free(r->target);
    fmp_free(r->scores);
    fmp_free(r->hist);
    fmp_free(r->few);
}

fmp_status fmp_merge_parents_init(fmp_merge_parents *m, const fmp_store *base,
                                  const fmp_patch *const *patches, uint32_t k, unsigned n_threads,
                                  bool with_scores, fmp_error *err)
{
    fmp_status st;

    *m = (fmp_merge_parents){.base = base, .p = patches, .k = k, .n_readers = n_threads};
    if (pthread_mutex_init(&m->lock, NULL))
        return no_memory(err);
    if (pthread_cond_init(&m->freed, NULL)) {
        pthread_mutex_destroy(&m->lock);
        return no_memory(err);
    }
    m->has_lock = true;
    st = look_at_all(m, err);
    for (uint32_t i = 0; i < k && !st; i++)
        st = fmp_patch_check_open(patches[i], err);
    for (unsigned i = 0; i < n_threads && !st; i++)
        st = make_reader(m, &m->reader[i], with_scores, err);
    return st;
}

void fmp_merge_parents_release(fmp_merge_parents *m)
{
    for (unsigned i = 0; i < m->n_readers; i++)
        drop_reader(m, &m->reader[i]);
    for (uint32_t i = 0; i < m->k; i++) {
        if (m->row)
            fmp_free(m->row[i]);
        if (m->touch)
            fmp_free(m->touch[i]);
    }
    fmp_free(m->row);
    fmp_free(m->touch);
    fmp_free(m->touched);
    if (m->has_lock) {
        pthread_cond_destroy(&m->freed);
        pthread_mutex_destroy(&m->lock);
    }
}

fmp_merge_reader *fmp_merge_borrow(fmp_merge_parents *m)
{
    fmp_merge_reader *r = NULL;

    pthread_mutex_lock(&m->lock);
    while (!r) {
        for (unsigned i = 0; i < m->n_readers && !r; i++) {
            if (!m->reader[i].busy)
                r = &m->reader[i];
        }
        if (!r)
            pthread_cond_wait(&m->freed, &m->lock);
    }
    r->busy = true;
    pthread_mutex_unlock(&m->lock);
    return r;
}

void fmp_merge_give_back(fmp_merge_parents *m, fmp_merge_reader *r)
{
    pthread_mutex_lock(&m->lock);
    r->busy = false;
    pthread_cond_signal(&m->freed);
    pthread_mutex_unlock(&m->lock);
}

/* ---- lists ------------------------------------------------------------------------------------
 */

static bool list_grow(fmp_merge_list *l, uint32_t more)
{
    uint32_t cap = l->cap ? l->cap : 4096;
    uint32_t *at;
    uint64_t *bits;

    if (l->n + more <= l->cap)
        return true;
    while (cap < l->n + more)
        cap *= 2;
    at = fmp_realloc(l->at, cap, sizeof *at);
    if (at)
        l->at = at;
    bits = at ? fmp_realloc(l->bits, cap, sizeof *bits) : NULL;
    if (bits)
        l->bits = bits;
    if (!bits)
        return false;
    l->cap = cap;
    return true;
}

/* Residuals of a block that lie in the window. */
static fmp_status list_block(const fmp_block *b, fmp_decoder *dec, fmp_merge_reader *r,
                             uint64_t off, uint32_t len, const uint8_t *base, unsigned width,
                             fmp_merge_list *l, fmp_error *err)
{
    const uint32_t n = fmp_block_values(b);
    const int64_t shift = (int64_t)(b->off - off) / (int64_t)width;
    const int64_t n_units = len / width;
    fmp_status st;

    if (b->bits != 8 * width || (int64_t)(b->off - off) % (int64_t)width)
        return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                        "merge: residuals of %u bits in elements of %u", b->bits, 8 * width);
    st = fmp_block_list(b, &dec->frame.streams, dec->scratch, r->values, err);
    if (st)
        return st;
    if (!list_grow(l, n))
        return no_memory(err);
    for (uint32_t j = 0; j < n; j++) {
        const int64_t at = shift + dec->scratch->idx[j];

        if (at < 0 || at >= n_units || !r->values[j])
            continue;
        l->at[l->n] = (uint32_t)at;
        l->bits[l->n++] = fmp_residual_add(fmp_load_le(base + (size_t)at * width, width),
                                           r->values[j], b->bits, b->sign_magnitude);
    }
    return FMP_OK;
}

static fmp_status list_residuals(const fmp_merge_parents *m, fmp_merge_reader *r, uint32_t i,
                                 uint32_t tensor, uint64_t off, uint32_t len, const uint8_t *base,
                                 unsigned width, fmp_error *err)
{
    const fmp_patch *p = m->p[i];
    const uint32_t object = p->target_pos[m->row[i][tensor]];
    uint32_t n = fmp_frames_seek(&p->frames, FMP_DOMAIN_TENSORS, object, off);

    for (; n < p->frames.n; n++) {
        const fmp_frame_entry *e = &p->frames.entry[n];
        fmp_status st;

        if (e->domain != FMP_DOMAIN_TENSORS || e->first > object ||
            (e->first == object && e->start >= off + len))
            break;
        st = fmp_decoder_load(&r->dec[i], p, n, err);
        if (st)
            return st;
        for (uint32_t b = fmp_frame_seek(&r->dec[i].frame, object, off);
             b < r->dec[i].frame.n_blocks && r->dec[i].frame.blocks[b].object == object &&
             r->dec[i].frame.blocks[b].off < off + len;
             b++) {
            st = list_block(&r->dec[i].frame.blocks[b], &r->dec[i], r, off, len, base, width,
                            &r->list[i], err);
            if (st)
                return st;
        }
    }
    return FMP_OK;
}

/* The leaf of the parent's target that holds the window, into r->target. */
static fmp_status make_leaf(const fmp_merge_parents *m, fmp_merge_reader *r, uint32_t i,
                            uint32_t tensor, uint64_t leaf, uint32_t len, fmp_error *err)
{
    const fmp_patch *p = m->p[i];
    const fmp_table *t = &p->table;
    const fmp_row *row = &t->rows[m->row[i][tensor]];
    const uint32_t source = row->state == FMP_ALIAS ? t->maps[row->map].source : m->row[i][tensor];
    const fmp_map map = fmp_table_map(t, source);
    const uint64_t left = map.n_bytes > leaf ? map.n_bytes - leaf : 0;
    const uint32_t n = (uint32_t)(left < len ? left : len);
    bool touched;
    fmp_status st = FMP_OK;

    memset(r->target, 0, len);
    if (n) {
        const fmp_tensor_info info = fmp_table_info(t, map.source, false);

        st = fmp_store_read(m->base, fmp_store_find(m->base, info.name, info.name_len),
                            map.base_off + leaf, r->target, n, err);
    }
    if (st || t->rows[source].state == FMP_UNCHANGED)
        return st;
    return fmp_decoder_apply(&r->dec[i], p, FMP_DOMAIN_TENSORS, p->target_pos[source], leaf, len,
                             r->target, FMP_FORWARD, &touched, err);
}

static fmp_status list_differences(const fmp_merge_parents *m, fmp_merge_reader *r, uint32_t i,
                                   uint32_t tensor, uint64_t off, uint32_t len, const uint8_t *base,
                                   unsigned width, fmp_error *err)
{
    const uint64_t leaf = off - off % FMP_LEAF_LEN;
    const uint64_t left = m->base->tensors[tensor].n_bytes - leaf;
    fmp_merge_list *l = &r->list[i];
    const uint8_t *made = r->target + (off - leaf);
    fmp_status st = make_leaf(m, r, i, tensor, leaf,
                              (uint32_t)(left < FMP_LEAF_LEN ? left : FMP_LEAF_LEN), err);

    if (st)
        return st;
    if (!list_grow(l, len / width))
        return no_memory(err);
    for (uint32_t at = 0; at < len / width; at++) {
        if (memcmp(base + (size_t)at * width, made + (size_t)at * width, width) == 0)
            continue;
        l->at[l->n] = at;
        l->bits[l->n++] = fmp_load_le(made + (size_t)at * width, width);
    }
    return FMP_OK;
}

fmp_status fmp_merge_read(const fmp_merge_parents *m, fmp_merge_reader *r, uint32_t tensor,
                          uint64_t off, uint32_t len, const uint8_t *base, uint32_t first,
                          uint32_t last, fmp_error *err)
{
    const unsigned width = fmp_dtype_at(m->base->tensors[tensor].dtype)->width / 8u;
    fmp_status st = FMP_OK;

    for (uint32_t i = first; i <= last && !st; i++) {
        r->list[i].n = 0;
        if (m->touch[i][tensor] == FMP_TOUCH_RESIDUAL)
            st = list_residuals(m, r, i, tensor, off, len, base, width, err);
        else if (m->touch[i][tensor] == FMP_TOUCH_ANYHOW)
            st = list_differences(m, r, i, tensor, off, len, base, width, err);
    }
    return st;
}
