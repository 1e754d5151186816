/*
 * Patches to a patch.  See derive.h.
 */
#include "derive.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "patch.h"

enum { CHANGED = 1, HAS_SET = 2, AFTER_HOLE = 4 };

/* A decoder's frame that is larger than this is not kept from one window to the next. */
#define KEEP ((size_t)3 << 19)

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "combining patches: out of memory");
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

fmp_status fmp_derive_check(const fmp_create_options *o, fmp_error *err)
{
    if (o->level < 1 || o->level > 9)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "level %d: 1 to 9 expected", o->level);
    if (o->profile != FMP_PROFILE_OPEN)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "profile compact needs the base: make an open patch, then recode it");
    if (o->n_renames || o->set_values || o->width || o->sha256)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "renames, set values, units and SHA-256 need a base and a target");
    return o->manifest_json ? fmp_manifest_check_extra(o->manifest_json, err) : FMP_OK;
}

static fmp_status make_slot(fmp_derivation *d, fmp_derive_slot *s, fmp_error *err)
{
    fmp_status st = fmp_encoder_init(&s->enc, &d->o, err);

    if (!st)
        st = fmp_change_init(&s->change, err);
    if (st)
        return st;
    s->dec = fmp_calloc(d->n_patches, sizeof *s->dec);
    s->trace.stage = fmp_calloc((size_t)d->n_patches + 1, sizeof *s->trace.stage);
    if (!s->dec || !s->trace.stage)
        return no_memory(err);
    for (uint32_t i = 0; i < d->n_patches; i++) { /* the encoder works when decoders do not */
        s->dec[i].z = s->enc.z;
        s->dec[i].scratch = s->enc.scratch;
    }
    return FMP_OK;
}

fmp_status fmp_derive_init(fmp_derivation *d, const fmp_patch *const *patches, uint32_t n_patches,
                           const fmp_create_options *options, fmp_error *err)
{
    fmp_status st;

    *d = (fmp_derivation){.patches = patches, .n_patches = n_patches};
    d->o = fmp_create_options_or_default(options);
    st = fmp_derive_check(&d->o, err);
    for (uint32_t i = 0; i < n_patches && !st; i++)
        st = fmp_patch_check_open(patches[i], err);
    if (st)
        return st;
    d->o.no_check = true;   /* nobody knows the units before and after */
    d->o.reversible = true; /* for the encoder: new content never stands in for residuals */
    d->n_threads = fmp_create_threads(&d->o);
    for (unsigned i = 0; i < d->n_threads && !st; i++)
        st = make_slot(d, &d->slot[i], err);
    if (!st)
        st = fmp_z_new(&d->payload.z, err);
    d->payload.level = fmp_zstd_level(d->o.level);
    return st;
}

static void drop_frame(fmp_decoder *dec)
{
    fmp_frame_release(&dec->frame);
    fmp_buf_release(&dec->stored);
    dec->loaded = 0;
}

void fmp_derive_release(fmp_derivation *d)
{
    for (unsigned i = 0; i < FMP_POOL_MAX_THREADS; i++) {
        fmp_derive_slot *s = &d->slot[i];

        for (uint32_t k = 0; s->dec && k < d->n_patches; k++)
            drop_frame(&s->dec[k]);
        fmp_free(s->dec);
        fmp_free(s->trace.stage);
        fmp_change_release(&s->change);
        fmp_encoder_release(&s->enc);
    }
    fmp_table_release(&d->table);
    fmp_layout_release(&d->layout);
    fmp_payload_release(&d->payload);
    fmp_regions_release(&d->regions);
    fmp_free(d->found);
    fmp_free(d->way);
    fmp_free(d->objects);
    fmp_free(d->outcome);
}

/* ---- one window -------------------------------------------------------------------------------
 */

static uint64_t object_size(const fmp_derivation *d, unsigned domain, uint32_t object)
{
    const fmp_table *t = &d->table;
    const fmp_layout *l = &d->layout;

    switch (domain) {
    case FMP_DOMAIN_TENSORS:
        return t->schemas[t->rows[l->target.order[object]].target_schema].n_bytes;
    case FMP_DOMAIN_OLD_TENSORS:
        return t->schemas[t->rows[l->base.order[object]].base_schema].n_bytes;
    case FMP_DOMAIN_HEADERS:
        return l->target.files[object].header_len;
    case FMP_DOMAIN_OLD_HEADERS:
        return l->base.files[object].header_len;
    case FMP_DOMAIN_FILES:
        return l->side[object].target_size;
    default:
        return l->side[object].base_size;
    }
}

/* The unit of new content. */
static fmp_block_params params_of(const fmp_derivation *d, uint32_t object)
{
    const fmp_table *t = &d->table;
    const fmp_dtype *dtype = NULL;
    const char *name;

    if (d->domain == FMP_DOMAIN_TENSORS || d->domain == FMP_DOMAIN_OLD_TENSORS) {
        name = d->domain == FMP_DOMAIN_TENSORS
                   ? fmp_table_info(t, d->layout.target.order[object], true).dtype
                   : fmp_table_info(t, d->layout.base.order[object], false).dtype;
        dtype = fmp_dtype_find(name, strlen(name));
    }
    return (fmp_block_params){.bits = dtype ? dtype->width : 8};
}

/* Adds what a stage does to bytes [off, off + len) of the result. */
static fmp_status add_stage(const fmp_derivation *d, fmp_derive_slot *s, const fmp_stage *g,
                            uint64_t off, uint32_t len, fmp_error *err)
{
    const fmp_patch *p = d->patches[g->patch];
    fmp_decoder *dec = &s->dec[g->patch];
    const uint64_t from = off + g->shift;
    const uint64_t end = (off + len < g->limit ? off + len : g->limit) + g->shift;
    uint32_t n = from < end ? fmp_frames_seek(&p->frames, g->domain, g->object, from) : p->frames.n;

    for (; n < p->frames.n; n++) {
        const fmp_frame_entry *e = &p->frames.entry[n];
        fmp_status st;

        if (e->domain != g->domain || e->first > g->object ||
            (e->first == g->object && e->start >= end))
            break;
        st = fmp_decoder_load(dec, p, n, err);
        for (uint32_t i = st ? 0 : fmp_frame_seek(&dec->frame, g->object, from);
             !st && i < dec->frame.n_blocks; i++) {
            const fmp_block *b = &dec->frame.blocks[i];

            if (b->object != g->object || b->off >= end)
                break;
            st = fmp_change_add(&s->change, b, &dec->frame.streams, (int64_t)(b->off - from),
                                (uint32_t)(end - from), g->direction, dec->scratch, err);
        }
        if (st)
            return st;
    }
    return FMP_OK;
}

/* Puts a tensor's or file's name before a message that knows only bytes. */
static fmp_status in_object(const fmp_derivation *d, uint32_t object, fmp_status st, fmp_error *err)
{
    char text[sizeof err->text];

    if (st != FMP_ENOTSUP || d->domain != FMP_DOMAIN_TENSORS || !err)
        return st;
    memcpy(text, err->text, sizeof text);
    return fmp_fail(err, st, err->offset, "tensor \"%.100s\": %.250s",
                    d->table.names + d->table.rows[d->layout.target.order[object]].name_at, text);
}

static fmp_status fill_window(const fmp_derivation *d, fmp_derive_slot *s, uint32_t object,
                              uint64_t off, uint32_t len, fmp_error *err)
{
    const fmp_trace *t = &s->trace;
    const uint64_t mapped = t->mapped > off ? t->mapped - off : 0;
    fmp_status st = FMP_OK;

    fmp_change_begin(&s->change, off, len, (uint32_t)(mapped < len ? mapped : len));
    for (uint32_t i = 0; i < t->n && !st; i++)
        st = add_stage(d, s, &t->stage[i], off, len, err);
    for (uint32_t i = 0; i < d->n_patches; i++) {
        if (s->dec[i].frame.raw.cap + s->dec[i].stored.cap > KEEP)
            drop_frame(&s->dec[i]);
    }
    return in_object(d, object, st, err);
}

/* ---- the pass ---------------------------------------------------------------------------------
 */

/* Any thread.  A mixed window may come out as many blocks: those wait for their turn. */
static fmp_status pass_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_derivation *d = ctx;
    const fmp_region r = fmp_regions_at(&d->regions, item);
    fmp_derive_slot *s = &d->slot[slot];
    const uint32_t object = d->objects[r.first];
    uint32_t at = 0;
    fmp_block_params p;
    fmp_status st;

    (void)pool;
    if (r.n > 1)
        return FMP_OK; /* small ones, in finish */
    fmp_encoder_begin(&s->enc);
    d->trace(d, d->domain, object, &s->trace);
    st = fill_window(d, s, object, r.off, r.len, err);
    if (st || s->change.mode == FMP_CHANGE_MIXED)
        return st;
    p = params_of(d, object);
    st = fmp_change_encode(&s->change, &s->enc, &p, object, &at, err);
    return st ? st : fmp_encoder_settle(&s->enc, d->domain, err);
}

/* What is coded goes to the payload.  No frame spans an object that should be there and is not: its
 * interval would say that it is. */
static fmp_status take(fmp_derivation *d, fmp_derive_slot *s, uint32_t i, fmp_error *err)
{
    fmp_status st = FMP_OK;

    if (d->outcome[i] & AFTER_HOLE)
        st = fmp_payload_flush(&d->payload, err);
    d->outcome[i] &= (uint8_t)~AFTER_HOLE;
    if (st)
        return st;
    if (s->enc.n_pieces || s->enc.n_own)
        d->outcome[i] |= CHANGED;
    if (s->enc.has_set)
        d->outcome[i] |= HAS_SET;
    return fmp_payload_take(&d->payload, &s->enc, d->domain, err);
}

/* Codes the window that lies in the slot piece by piece. */
static fmp_status take_pieces(fmp_derivation *d, fmp_derive_slot *s, uint32_t i, fmp_error *err)
{
    const fmp_block_params p = params_of(d, d->objects[i]);
    uint32_t at = 0;
    fmp_status st = FMP_OK;

    while (at < s->change.len && !st) {
        fmp_encoder_begin(&s->enc);
        st = fmp_change_encode(&s->change, &s->enc, &p, d->objects[i], &at, err);
        if (!st)
            st = take(d, s, i, err);
    }
    return st;
}

static fmp_status pass_finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_derivation *d = ctx;
    const fmp_region r = fmp_regions_at(&d->regions, item);
    fmp_derive_slot *s = &d->slot[slot];
    fmp_status st = FMP_OK;

    d->done += r.len;
    if (r.n == 1)
        return s->change.mode == FMP_CHANGE_MIXED ? take_pieces(d, s, r.first, err)
                                                  : take(d, s, r.first, err);
    for (uint32_t i = r.first; i < r.first + r.n && !st; i++) {
        const uint64_t len = object_size(d, d->domain, d->objects[i]);

        d->trace(d, d->domain, d->objects[i], &s->trace);
        st = fill_window(d, s, d->objects[i], 0, (uint32_t)len, err);
        if (!st)
            st = take_pieces(d, s, i, err);
    }
    return st;
}

static fmp_status pass_poll(void *ctx, fmp_error *err)
{
    fmp_derivation *d = ctx;

    if (d->o.progress.fn && d->o.progress.fn(d->o.progress.ctx, d->done, d->total))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

static uint64_t listed_size(const void *ctx, uint32_t i)
{
    const fmp_derivation *d = ctx;

    return object_size(d, d->domain, d->objects[i]);
}

/* Codes the objects that are listed. */
static fmp_status pass(fmp_derivation *d, fmp_error *err)
{
    const fmp_pool_job job = {
        .work = pass_work, .finish = pass_finish, .poll = pass_poll, .ctx = d};
    fmp_pool_job run = job;
    fmp_status st = fmp_regions_build(&d->regions, listed_size, d, d->n_objects, err);

    run.n_items = d->regions.n_items;
    if (!st)
        st = fmp_pool_run(&run, d->n_threads, err);
    fmp_regions_release(&d->regions);
    return st ? st : fmp_payload_flush(&d->payload, err);
}

/* Whether an object of a domain has content in the new patch. */
static bool is_wanted(const fmp_derivation *d, unsigned domain, uint32_t object)
{
    const fmp_layout *l = &d->layout;

    switch (domain) {
    case FMP_DOMAIN_TENSORS:
        return d->table.rows[l->target.order[object]].state != FMP_ALIAS;
    case FMP_DOMAIN_OLD_TENSORS:
        return d->way[l->base.order[object]] == FMP_NONE;
    case FMP_DOMAIN_HEADERS:
        return l->target.files[object].header_stored;
    case FMP_DOMAIN_OLD_HEADERS:
        return l->base.files[object].header_stored;
    case FMP_DOMAIN_FILES:
        return l->side[object].in_target && (l->side[object].changed || !l->side[object].in_base);
    default:
        return l->side[object].in_base && (l->side[object].changed || !l->side[object].in_target);
    }
}

static uint32_t count_objects(const fmp_derivation *d, unsigned domain)
{
    const fmp_layout *l = &d->layout;
    const uint32_t n[FMP_DOMAIN_COUNT] = {l->target.n_order, l->target.n_files, l->n_side,
                                          l->base.n_order,   l->base.n_files,   l->n_side};

    return n[domain];
}

/* Lists what a domain holds: of what it should hold, all that can be had. */
static void list_objects(fmp_derivation *d, unsigned domain)
{
    fmp_trace *t = &d->slot[0].trace;
    const uint32_t n = count_objects(d, domain);
    uint8_t hole = 0;

    d->domain = domain;
    d->n_objects = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!is_wanted(d, domain, i) || !object_size(d, domain, i))
            continue;
        d->trace(d, domain, i, t);
        if (!t->n) {
            hole = AFTER_HOLE;
            continue;
        }
        d->objects[d->n_objects] = i;
        d->outcome[d->n_objects++] = domain == FMP_DOMAIN_TENSORS ? 0 : hole;
        hole = 0;
    }
}

/* ---- states -----------------------------------------------------------------------------------
 */

static bool settle_row(fmp_derivation *d, uint32_t object, const fmp_trace *t, unsigned outcome)
{
    const uint32_t row = d->layout.target.order[object];
    fmp_row *r = &d->table.rows[row];
    const uint64_t size = d->table.schemas[r->target_schema].n_bytes;
    const bool same = r->base_schema == r->target_schema;
    uint64_t of_base;

    if (!size || !t->mapped) {
        r->state = r->base_schema == FMP_NONE ? FMP_ADDED
                   : same && !size            ? FMP_UNCHANGED
                                              : FMP_WHOLE;
        return true;
    }
    of_base = d->table.schemas[d->table.rows[t->source].base_schema].n_bytes;
    r->state = outcome & HAS_SET ? FMP_SET
               : outcome & CHANGED || t->base_off || t->mapped != size || size != of_base
                   ? FMP_RESIDUAL
                   : FMP_UNCHANGED;
    if (t->source == row && t->base_off == 0 && t->mapped == of_base && same)
        return true;
    return fmp_table_add_map(
        &d->table, row,
        (fmp_map){.source = t->source, .base_off = t->base_off, .n_bytes = t->mapped});
}

/* What became of each tensor; `outcome` is of the listed objects, the others did not change. */
static fmp_status settle(fmp_derivation *d, fmp_error *err)
{
    fmp_trace *t = &d->slot[0].trace;
    uint32_t listed = 0;

    for (uint32_t i = 0; i < d->layout.target.n_order; i++) {
        const uint32_t row = d->layout.target.order[i];
        const fmp_row *r = &d->table.rows[row];
        unsigned outcome = 0;

        if (listed < d->n_objects && d->objects[listed] == i)
            outcome = d->outcome[listed++];
        if (r->state == FMP_ALIAS)
            continue;
        d->trace(d, FMP_DOMAIN_TENSORS, i, t);
        if (!settle_row(d, i, t, outcome))
            return no_memory(err);
        if (r->state == FMP_UNCHANGED && t->mapped &&
            !fmp_digest_equal(&d->found[row].digest,
                              &d->table.digests[d->table.rows[t->source].base_digest]))
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "tensor \"%s\": the patches add up to no change, but their digests "
                            "differ",
                            d->table.names + r->name_at);
    }
    return FMP_OK;
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static fmp_status write_domain(fmp_derivation *d, unsigned domain, fmp_error *err)
{
    list_objects(d, domain);
    return pass(d, err);
}

static uint32_t own_digests(fmp_derivation *d)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < d->table.n_rows; i++) {
        const fmp_row *r = &d->table.rows[i];

        if (r->target_schema != FMP_NONE && r->state != FMP_UNCHANGED && r->state != FMP_ALIAS)
            d->found[n++] = d->found[i];
    }
    return n;
}

static fmp_status put_payload(fmp_derivation *d, fmp_error *err)
{
    uint32_t most = 0;
    fmp_status st;

    for (unsigned domain = 0; domain < FMP_DOMAIN_COUNT; domain++)
        most = count_objects(d, domain) > most ? count_objects(d, domain) : most;
    d->objects = fmp_calloc(most, sizeof *d->objects);
    d->outcome = fmp_calloc((size_t)most + 1, 1);
    if (!d->objects || !d->outcome)
        return no_memory(err);
    for (uint32_t i = 0; i < d->layout.target.n_order; i++)
        d->total += object_size(d, FMP_DOMAIN_TENSORS, i);
    st = write_domain(d, FMP_DOMAIN_TENSORS, err);
    if (!st)
        st = settle(d, err);
    if (st)
        return st;
    fmp_table_ways_back(&d->table, d->way);
    for (unsigned domain = FMP_DOMAIN_HEADERS; domain < FMP_DOMAIN_COUNT && !st; domain++)
        st = write_domain(d, domain, err);
    return st;
}

static fmp_status put_file(fmp_derivation *d, fmp_out *out, const fmp_manifest_side side[2],
                           fmp_error *err)
{
    const fmp_parts parts = {
        .table = &d->table, .layout = &d->layout, .payload = &d->payload, .o = &d->o};
    char *manifest = NULL;
    fmp_status st = fmp_parts_begin(&parts, out, err);

    if (!st)
        st = put_payload(d, err);
    if (!st)
        st = fmp_parts_place_digests(&parts, d->found, own_digests(d), err);
    if (!st)
        st = fmp_manifest_make(&parts, side, &manifest, err);
    if (!st)
        st = fmp_parts_finish(&parts, manifest, err);
    fmp_free(manifest);
    return st;
}

/* A few bytes can claim a checkpoint of any size, and windows of it take time. */
static fmp_status check_size(const fmp_derivation *d, fmp_error *err)
{
    const uint64_t most = d->patches[0]->limits.max_size;

    for (unsigned target = 0; target < 2; target++) {
        const fmp_layout_side *s = target ? &d->layout.target : &d->layout.base;
        uint64_t sum = 0;

        for (uint32_t i = 0; i < s->n_files && sum <= most; i++)
            sum += s->files[i].size;
        if (sum > most)
            return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET,
                            "%s: a checkpoint of more than %llu bytes", d->patches[0]->file.path,
                            (unsigned long long)most);
    }
    return FMP_OK;
}

static bool is_parent(const fmp_derivation *d, const char *path)
{
    fmp_file f = {0};
    bool same = false;

    if (fmp_file_open(&f, path, NULL))
        return false;
    for (uint32_t i = 0; i < d->n_patches; i++)
        same |= f.dev == d->patches[i]->file.dev && f.ino == d->patches[i]->file.ino;
    fmp_file_close(&f);
    return same;
}

/* The summary of what was written, read back. */
static fmp_status read_back(const char *path, fmp_create_result *ret, fmp_error *err)
{
    fmp_patch *made;
    const fmp_status st = fmp_patch_open(path, NULL, &made, err);

    if (st)
        return st;
    ret->summary = fmp_patch_summarize(made);
    fmp_patch_close(made);
    return FMP_OK;
}

fmp_status fmp_derive_write(fmp_derivation *d, const char *path, const char *operation,
                            const char *keep, const fmp_manifest_side side[2],
                            fmp_create_result *ret, fmp_error *err)
{
    char *manifest = NULL;
    fmp_out out = {0};
    fmp_status st;

    if (d->o.replace && is_parent(d, path))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: is an input, and stays as it is",
                        path);
    st = check_size(d, err);
    if (st)
        return st;
    st = fmp_manifest_derived(d->o.manifest_json, operation, keep, d->patches, d->n_patches,
                              &manifest, err);
    if (!st)
        st = fmp_out_open(&out, path, 0, d->o.replace, 0666, err);
    d->o.manifest_json = manifest;
    if (!st)
        st = put_file(d, &out, side, err);
    if (!st)
        st = fmp_out_commit(&out, d->o.replace, err);
    fmp_out_discard(&out);
    fmp_free(manifest);
    return st || !ret ? st : read_back(path, ret, err);
}
