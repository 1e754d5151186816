/*
 * fmp_recode(): the same changes in another profile.  Frame by frame; what is not made of residuals
 * is copied.
 */
#include <string.h>

#include "assemble.h"
#include "base/alloc.h"
#include "base/status.h"
#include "patch.h"
#include "rebuild.h"

/* What one thread needs, and what it made of a frame. */
typedef struct recode_slot {
    fmp_encoder enc;
    fmp_decoder dec; /* its scratch and zstd are the encoder's, which works when it does not */
    fmp_frame_builder open;
    uint8_t *base, *target; /* a block each */
    fmp_buf bytes;          /* frames, one after the other */
    fmp_frame_entry *entry;
    uint32_t n, cap;
} recode_slot;

typedef struct recoding {
    const fmp_patch *p;
    const fmp_store *base;
    fmp_create_options o;
    unsigned n_threads;
    fmp_rebuild check; /* that the base is the patch's, and where its tensors are */
    recode_slot slot[FMP_POOL_MAX_THREADS];
    fmp_payload payload;
    uint64_t done, total;
} recoding;

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "recoding a patch: out of memory");
}

/* ---- one block --------------------------------------------------------------------------------
 */

/* A block that stays as it is. */
static fmp_status copy_block(const fmp_streams *s, const fmp_block *b, fmp_piece *piece,
                             fmp_error *err)
{
    bool bad = false;

    for (unsigned k = 0; k < FMP_STREAM_COUNT; k++) {
        const size_t share =
            k == FMP_STREAM_HEADS || k == FMP_STREAM_COUNTS ? 0 : fmp_block_share(b, k);

        fmp_buf_clear(&piece->stream[k]);
        if (share)
            fmp_buf_put(&piece->stream[k], s->data[k] + b->at[k], share);
        bad |= piece->stream[k].bad;
    }
    piece->head = *b;
    piece->cost = 0; /* its frame had room for it */
    piece->n_changed = fmp_block_values(b);
    return bad ? no_memory(err) : FMP_OK;
}

/* Sums of a block of new bits need the base as well as residuals do. */
static fmp_status recode_block(recoding *c, recode_slot *s, const fmp_block *b, fmp_error *err)
{
    const fmp_table *t = &c->p->table;
    const uint32_t row = c->p->layout.target.order[b->object];
    const fmp_tensor_info info = fmp_table_info(t, row, true);
    const fmp_dtype *d = fmp_dtype_find(info.dtype, strlen(info.dtype));
    const fmp_map map = fmp_table_map(t, row);
    fmp_block_params p = {.key_shift = FMP_KEY_NONE};
    fmp_piece *piece = &s->enc.piece[0];
    uint64_t sums[2];
    fmp_status st = fmp_store_read(c->base, c->check.in_of[map.source], map.base_off + b->off,
                                   s->base, b->n_bytes, err);

    if (st)
        return st;
    memcpy(s->target, s->base, b->n_bytes);
    st = fmp_block_apply(b, &s->dec.frame.streams, s->target, FMP_FORWARD, s->dec.scratch, sums,
                         err);
    if (st)
        return st;
    if (b->kind == FMP_BLOCK_SET) {
        piece->sum_before = sums[0];
        piece->sum_after = sums[1];
        return copy_block(&s->dec.frame.streams, b, piece, err);
    }
    if (d && d->width == b->bits)
        p = fmp_params_of(d, info.rank, info.shape);
    p.bits = b->bits;
    p.sign_magnitude = b->sign_magnitude;
    fmp_encoder_begin(&s->enc);
    st = fmp_encoder_add(&s->enc, &p, b->object, b->off, s->base, s->target, b->n_bytes, err);
    if (!st && s->enc.n_pieces > 1)
        st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "a block came apart");
    if (c->o.profile == FMP_PROFILE_COMPACT)
        piece->cost = 0; /* likewise, whatever the model is thought to take */
    return st;
}

/* ---- one frame: any thread --------------------------------------------------------------------
 */

static fmp_frame_entry *new_entry(recode_slot *s)
{
    if (s->n == s->cap) {
        const uint32_t cap = s->cap ? 2 * s->cap : 16;
        fmp_frame_entry *entry = fmp_realloc(s->entry, cap, sizeof *entry);

        if (!entry)
            return NULL;
        s->entry = entry;
        s->cap = cap;
    }
    return &s->entry[s->n++];
}

static fmp_status seal(recode_slot *s, fmp_error *err)
{
    fmp_frame_entry *e = s->open.n_blocks ? new_entry(s) : NULL;

    if (!s->open.n_blocks)
        return FMP_OK;
    return e ? fmp_frame_out(&s->open, FMP_DOMAIN_TENSORS, s->enc.z, s->enc.level, s->enc.sums,
                             &s->bytes, e, err)
             : no_memory(err);
}

static fmp_status copy_frame(recode_slot *s, const fmp_frame_entry *from, fmp_error *err)
{
    fmp_frame_entry *e = new_entry(s);

    if (!e)
        return no_memory(err);
    *e = *from;
    fmp_buf_put(&s->bytes, s->dec.stored.data, from->stored);
    return s->bytes.bad ? no_memory(err) : FMP_OK;
}

static fmp_status recode_frame(recoding *c, recode_slot *s, fmp_error *err)
{
    const fmp_frame *f = &s->dec.frame;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < f->n_blocks && !st; i++) {
        const fmp_block *b = &f->blocks[i];
        fmp_piece *piece = &s->enc.piece[0];

        if (b->kind >= FMP_BLOCK_WHOLE) {
            st = copy_block(&f->streams, b, piece, err);
        } else {
            st = recode_block(c, s, b, err);
            if (!st && b->kind == FMP_BLOCK_RESIDUAL && !s->enc.n_pieces)
                continue; /* residuals of 0 only */
        }
        if (!st && s->open.n_blocks && !fmp_frame_takes(&s->open, piece))
            st = seal(s, err);
        if (!st)
            fmp_frame_add(&s->open, piece);
    }
    return st ? st : seal(s, err);
}

static fmp_status work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    recoding *c = ctx;
    recode_slot *s = &c->slot[slot];
    const fmp_frame_entry *e = &c->p->frames.entry[item];
    fmp_status st = fmp_decoder_load(&s->dec, c->p, (uint32_t)item, err);

    (void)pool;
    s->n = 0;
    fmp_buf_clear(&s->bytes);
    if (st)
        return st;
    return e->domain == FMP_DOMAIN_TENSORS ? recode_frame(c, s, err) : copy_frame(s, e, err);
}

static fmp_status finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    recoding *c = ctx;
    const recode_slot *s = &c->slot[slot];
    const uint8_t *at = s->bytes.data;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < s->n && !st; i++) {
        st = fmp_payload_frame(&c->payload, &s->entry[i], at, err);
        at += s->entry[i].stored;
    }
    c->done += c->p->frames.entry[item].stored;
    return st;
}

static fmp_status poll(void *ctx, fmp_error *err)
{
    recoding *c = ctx;

    if (c->o.progress.fn && c->o.progress.fn(c->o.progress.ctx, c->done, c->total))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static fmp_status make_slot(recoding *c, recode_slot *s, fmp_error *err)
{
    fmp_status st = fmp_encoder_init(&s->enc, &c->o, err);

    s->enc.reversible = true; /* residuals stay residuals */
    if (st)
        return st;
    s->dec.z = s->enc.z;
    s->dec.scratch = s->enc.scratch;
    s->base = fmp_malloc(FMP_BLOCK_MAX);
    s->target = fmp_malloc(FMP_BLOCK_MAX);
    return s->base && s->target ? FMP_OK : no_memory(err);
}

static void release(recoding *c)
{
    for (unsigned i = 0; i < FMP_POOL_MAX_THREADS; i++) {
        recode_slot *s = &c->slot[i];

        s->dec.z = NULL;
        s->dec.scratch = NULL;
        fmp_decoder_release(&s->dec);
        fmp_encoder_release(&s->enc);
        fmp_frame_builder_release(&s->open);
        fmp_free(s->base);
        fmp_free(s->target);
        fmp_buf_release(&s->bytes);
        fmp_free(s->entry);
    }
    fmp_rebuild_release(&c->check);
    fmp_payload_release(&c->payload);
    fmp_free(c);
}

static fmp_status check_options(const fmp_create_options *o, fmp_error *err)
{
    if (o->level < 1 || o->level > 9)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "level %d: 1 to 9 expected", o->level);
    if (o->profile != FMP_PROFILE_OPEN && o->profile != FMP_PROFILE_COMPACT)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "profile %d is not known", (int)o->profile);
    if (o->n_renames || o->set_values || o->width || o->sha256 || o->reversible || o->manifest_json)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "renames, set values, units, SHA-256, old content and a manifest are those "
                        "of the patch");
    return FMP_OK;
}

/* Everything that is not to be written: the base is hashed, and work space is there. */
static fmp_status prepare(recoding *c, fmp_error *err)
{
    fmp_status st = check_options(&c->o, err);

    if (!st)
        st = fmp_rebuild_init(&c->check, c->p, c->base, false, c->n_threads, c->o.progress, err);
    for (uint32_t i = 0; i < c->base->n_tensors; i++)
        c->check.total += c->base->tensors[i].n_bytes;
    if (!st)
        st = fmp_rebuild_check_shapes(&c->check, err);
    if (!st)
        st = fmp_rebuild_check_rest(&c->check, err);
    for (unsigned i = 0; i < FMP_POOL_MAX_THREADS; i++) { /* not needed any more */
        fmp_decoder_release(&c->check.slot[i].dec);
        fmp_free(c->check.slot[i].buf);
        c->check.slot[i].buf = NULL;
    }
    for (unsigned i = 0; i < c->n_threads && !st; i++)
        st = make_slot(c, &c->slot[i], err);
    return st ? st : fmp_z_new(&c->payload.z, err);
}

static fmp_status write_patch(recoding *c, const char *path, fmp_error *err)
{
    fmp_table table = c->p->table; /* borrowed; written, never changed */
    const fmp_parts parts = {
        .table = &table, .layout = &c->p->layout, .payload = &c->payload, .o = &c->o};
    const fmp_pool_job job = {
        .n_items = c->p->frames.n, .work = work, .finish = finish, .poll = poll, .ctx = c};
    char *manifest = NULL;
    fmp_out out = {0};
    fmp_status st = fmp_out_open(&out, path, 0, c->o.replace, 0666, err);

    if (st)
        return st;
    c->total = c->p->frames.stored;
    st = fmp_parts_begin(&parts, &out, err);
    if (!st)
        st = fmp_pool_run(&job, c->n_threads, err);
    if (!st)
        st = fmp_manifest_recoded(c->p->manifest, c->o.profile, &manifest, err);
    if (!st)
        st = fmp_parts_finish(&parts, manifest, err);
    if (!st)
        st = fmp_store_unchanged(c->base, err);
    if (!st)
        st = fmp_out_commit(&out, c->o.replace, err);
    fmp_out_discard(&out);
    fmp_free(manifest);
    return st;
}

fmp_status fmp_recode(const fmp_store *base, const fmp_patch *patch, const char *path,
                      const fmp_create_options *options, fmp_create_result *ret, fmp_error *err)
{
    recoding *c = fmp_calloc(1, sizeof *c);
    fmp_patch *made;
    fmp_status st;

    if (!c)
        return no_memory(err);
    c->p = patch;
    c->base = base;
    c->o = fmp_create_options_or_default(options);
    c->n_threads = fmp_create_threads(&c->o);
    c->payload.level = fmp_zstd_level(c->o.level);
    c->payload.sums = !c->o.no_check;
    if (c->o.replace && fmp_store_is_made_of(base, path))
        st = fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: is an input, and stays as it is", path);
    else
        st = prepare(c, err);
    if (!st)
        st = write_patch(c, path, err);
    release(c);
    if (st || !ret)
        return st;
    st = fmp_patch_open(path, NULL, &made, err); /* reads back what was written */
    if (st)
        return st;
    ret->summary = fmp_patch_summarize(made);
    fmp_patch_close(made);
    return FMP_OK;
}
