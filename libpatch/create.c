/*
 * fmp_create(): match, read, hash, compare, code, write.  The file appears when it is whole.
 */
#include "create.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "crypto/sigblock.h"
#include "patch.h"

enum { N_SECTIONS = 7 };

/* A thread takes up to 16 MiB of a dense change: more of them must be asked for. */
#define DEFAULT_THREADS 2u

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "creating a patch: out of memory");
}

static void creation_release(fmp_creation *c)
{
    for (unsigned i = 0; i < FMP_POOL_MAX_THREADS; i++) {
        fmp_create_slot *s = &c->slot[i];

        fmp_encoder_release(&s->enc);
        fmp_free(s->base);
        fmp_free(s->target);
        fmp_free(s->base_digest);
        fmp_free(s->target_digest);
        fmp_free(s->differs);
    }
    fmp_match_release(&c->m);
    fmp_layout_release(&c->layout);
    fmp_payload_release(&c->payload);
    fmp_regions_release(&c->regions);
    fmp_free(c->primary);
    fmp_free(c->base_only);
    fmp_free(c->found);
}

static fmp_status make_slots(fmp_creation *c, fmp_error *err)
{
    for (unsigned i = 0; i < c->n_threads; i++) {
        fmp_create_slot *s = &c->slot[i];
        const fmp_status st = fmp_encoder_init(&s->enc, &c->o, err);

        if (st)
            return st;
        s->base = fmp_malloc(FMP_LEAF_LEN);
        s->target = fmp_malloc(FMP_LEAF_LEN);
        s->base_digest = fmp_calloc(FMP_BATCH_MAX, sizeof *s->base_digest);
        s->target_digest = fmp_calloc(FMP_BATCH_MAX, sizeof *s->target_digest);
        s->differs = fmp_calloc(FMP_BATCH_MAX, sizeof *s->differs);
        if (!s->base || !s->target || !s->base_digest || !s->target_digest || !s->differs)
            return no_memory(err);
    }
    return FMP_OK;
}

static fmp_status check_options(const fmp_create_options *o, fmp_error *err)
{
    if (o->level < 1 || o->level > 19)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "level %d: 1 to 19 expected", o->level);
    if (o->width && o->width != 8 && o->width != 16 && o->width != 32 && o->width != 64)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "width %u: 8, 16, 32 or 64 expected",
                        o->width);
    if (o->reversible && o->set_values)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "a patch of new bits (set) cannot be reversible");
    return o->manifest_json ? fmp_manifest_check_extra(o->manifest_json, err) : FMP_OK;
}

static uint64_t total_bytes(const fmp_store *s)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->n_tensors; i++)
        sum += s->tensors[i].n_bytes;
    return sum;
}

static fmp_status prepare(fmp_creation *c, fmp_error *err)
{
    const bool raw =
        strcmp(c->base->driver->name, "raw") == 0 && strcmp(c->target->driver->name, "raw") == 0;
    fmp_status st = check_options(&c->o, err);

    if (!st)
        st = make_slots(c, err);
    if (!st)
        st = fmp_z_new(&c->payload.z, err);
    if (!st)
        st = fmp_match_stores(c->base, c->target, &c->o, &c->m, err);
    if (!st && raw)
        st = fmp_creation_try_widths(c, err);
    if (!st)
        st = fmp_creation_layout(c, err);
    c->payload.level = c->o.level;
    c->payload.sums = !c->o.no_check;
    c->total = total_bytes(c->base) + total_bytes(c->target);
    return st;
}

/* ---- the end of the file ----------------------------------------------------------------------
 */

static int compare_found(const void *a, const void *b)
{
    const fmp_found_digest *x = a;
    const fmp_found_digest *y = b;

    return x->row < y->row ? -1 : x->row > y->row;
}

/* Base digests stand already; the target's own follow in the order of rows. */
static fmp_status place_digests(fmp_creation *c, fmp_error *err)
{
    fmp_table *t = &c->m.table;
    fmp_digest *all = fmp_realloc(t->digests, (size_t)t->n_digests + c->n_found, sizeof *all);

    if (!all)
        return no_memory(err);
    t->digests = all;
    if (c->n_found)
        qsort(c->found, c->n_found, sizeof *c->found, compare_found);
    for (uint32_t i = 0; i < c->n_found; i++) {
        t->rows[c->found[i].row].target_digest = t->n_digests;
        t->digests[t->n_digests++] = c->found[i].digest;
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < t->n_rows; i++) {
            fmp_row *r = &t->rows[i];

            if (pass == 0 && r->state == FMP_UNCHANGED)
                r->target_digest = t->rows[fmp_table_map(t, i).source].base_digest;
            if (pass == 1 && r->state == FMP_ALIAS)
                r->target_digest = t->rows[t->maps[r->map].source].target_digest;
        }
    }
    return FMP_OK;
}

typedef struct tail {
    fmp_creation *c;
    fmp_out *out;
    fmp_prefix *prefix;
    fmp_buf stored;
} tail;

static fmp_status put_section(tail *t, unsigned type, const fmp_buf *raw, fmp_error *err)
{
    fmp_prefix *p = t->prefix;
    fmp_section *s = &p->section[p->n_sections];
    fmp_status st = fmp_section_code(type, raw, (uint64_t)t->c->m.table.n_digests * FMP_DIGEST_LEN,
                                     t->c->payload.z, s, &t->stored, err);

    if (st)
        return st;
    s->off = p->body_len;
    st = fmp_out_write(t->out, t->c->payload.start + s->off, t->stored.data, t->stored.len, err);
    p->body_len += s->stored;
    p->n_sections++;
    return st;
}

static fmp_status put_manifest(tail *t, fmp_error *err)
{
    char *text;
    fmp_status st = fmp_manifest_make(t->c, &text, err);

    if (!st) {
        const fmp_buf raw = {.data = (uint8_t *)text, .len = strlen(text)};

        st = put_section(t, FMP_SECTION_MANIFEST, &raw, err);
        fmp_free(text);
    }
    return st;
}

static fmp_status put_index(tail *t, fmp_error *err)
{
    fmp_creation *c = t->c;
    const fmp_buf digests = {.data = (uint8_t *)c->m.table.digests,
                             .len = (size_t)c->m.table.n_digests * FMP_DIGEST_LEN};
    fmp_buf raw = {0};
    fmp_status st;

    fmp_table_write(&c->m.table, &raw);
    st = put_section(t, FMP_SECTION_TENSORS, &raw, err);
    if (!st)
        st = put_section(t, FMP_SECTION_DIGESTS, &digests, err);
    fmp_buf_clear(&raw);
    fmp_frames_write(&c->payload.frames, &raw);
    if (!st)
        st = put_section(t, FMP_SECTION_FRAMES, &raw, err);
    if (!st)
        st = put_section(t, FMP_SECTION_FRAME_DIGESTS, &c->payload.digests, err);
    fmp_buf_clear(&raw);
    fmp_layout_write(&c->layout, &raw);
    if (!st)
        st = put_section(t, FMP_SECTION_LAYOUT, &raw, err);
    fmp_buf_release(&raw);
    if (!st)
        t->prefix->section[0].digest =
            fmp_prefix_find(t->prefix, FMP_SECTION_FRAME_DIGESTS)->digest;
    return st;
}

/* Everything behind the payload, then prefix and signatures before it. */
static fmp_status write_rest(fmp_creation *c, fmp_out *out, fmp_prefix *p, fmp_error *err)
{
    tail t = {.c = c, .out = out, .prefix = p};
    fmp_buf signatures = {0};
    fmp_status st;

    *p = (fmp_prefix){.version = FMP_FORMAT_VERSION, .n_sections = 1};
    p->section[0] = (fmp_section){.type = FMP_SECTION_PAYLOAD,
                                  .flags = FMP_SECTION_REQUIRED,
                                  .stored = c->payload.frames.stored,
                                  .raw = c->payload.frames.stored};
    p->body_len = c->payload.frames.stored;
    st = put_manifest(&t, err);
    if (!st)
        st = put_index(&t, err);
    fmp_buf_release(&t.stored);
    if (st)
        return st;
    fmp_prefix_write(p);
    st = p->len ? fmp_sigblock_sign(NULL, p->bytes, p->len, c->o.keys, c->o.n_keys,
                                    c->o.sign_comment, &signatures, err)
                : no_memory(err);
    if (!st)
        st = fmp_out_write(out, 0, p->bytes, p->len, err);
    if (!st)
        st = fmp_out_write(out, p->len, signatures.data, signatures.len, err);
    fmp_buf_release(&signatures);
    return st;
}

/* Signatures stand before the payload, so their length is needed first: that of a trial. */
static fmp_status find_start(fmp_creation *c, fmp_error *err)
{
    static const uint8_t nothing[1];
    fmp_buf trial = {0};
    const fmp_status st =
        fmp_sigblock_sign(NULL, nothing, 1, c->o.keys, c->o.n_keys, c->o.sign_comment, &trial, err);

    c->payload.start = FMP_PREFIX_HEAD + N_SECTIONS * FMP_SECTION_ENTRY + trial.len;
    fmp_buf_release(&trial);
    return st;
}

static fmp_status write_patch(fmp_creation *c, const char *path, fmp_error *err)
{
    fmp_out out = {0};
    fmp_prefix prefix;
    fmp_status st = fmp_out_open(&out, path, 0, c->o.replace, 0666, err);

    if (st)
        return st;
    c->payload.out = &out;
    st = find_start(c, err);
    if (!st)
        st = fmp_creation_tensors(c, err);
    if (!st)
        st = fmp_creation_files(c, err);
    if (!st)
        st = fmp_creation_base_only(c, err);
    if (!st)
        st = fmp_creation_old_files(c, err);
    if (!st)
        st = place_digests(c, err);
    if (!st)
        st = write_rest(c, &out, &prefix, err);
    if (!st)
        st = fmp_store_unchanged(c->base, err);
    if (!st)
        st = fmp_store_unchanged(c->target, err);
    if (!st)
        st = fmp_out_commit(&out, c->o.replace, err);
    fmp_out_discard(&out);
    return st;
}

fmp_status fmp_create(const fmp_store *base, const fmp_store *target, const char *path,
                      const fmp_create_options *options, fmp_create_result *ret, fmp_error *err)
{
    fmp_creation *c = fmp_calloc(1, sizeof *c);
    fmp_patch *made;
    fmp_status st;

    if (!c)
        return no_memory(err);
    c->base = base;
    c->target = target;
    if (options)
        memcpy(&c->o, options, options->size < sizeof c->o ? options->size : sizeof c->o);
    c->o.level = c->o.level ? c->o.level : 3;
    c->n_threads = fmp_pool_threads(c->o.n_threads);
    if (!c->o.n_threads && c->n_threads > DEFAULT_THREADS)
        c->n_threads = DEFAULT_THREADS;
    if (c->o.replace && (fmp_store_is_made_of(base, path) || fmp_store_is_made_of(target, path)))
        st = fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: is an input, and stays as it is", path);
    else
        st = prepare(c, err);
    if (!st)
        st = write_patch(c, path, err);
    creation_release(c);
    fmp_free(c);
    if (st || !ret)
        return st;
    st = fmp_patch_open(path, NULL, &made, err); /* reads back what was written */
    if (st)
        return st;
    ret->summary = fmp_patch_summarize(made);
    fmp_patch_close(made);
    return FMP_OK;
}
