/*
 * The parts of a patch become a file.  See assemble.h.
 */
#include "assemble.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "base/status.h"
#include "container/sections.h"
#include "crypto/sigblock.h"

enum { N_SECTIONS = 7 };

/* A thread takes up to 16 MiB of a dense change: more of them must be asked for. */
#define DEFAULT_THREADS 2u

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "writing a patch: out of memory");
}

fmp_create_options fmp_create_options_or_default(const fmp_create_options *options)
{
    fmp_create_options o = {0};

    if (options)
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    o.size = sizeof o;
    o.level = o.level ? o.level : 3;
    return o;
}

unsigned fmp_create_threads(const fmp_create_options *o)
{
    const unsigned n = fmp_pool_threads(o->n_threads);

    return o->n_threads || n < DEFAULT_THREADS ? n : DEFAULT_THREADS;
}

/* Signatures stand before the payload, so their length is needed first: that of a trial. */
fmp_status fmp_parts_begin(const fmp_parts *parts, fmp_out *out, fmp_error *err)
{
    static const uint8_t nothing[1];
    fmp_buf trial = {0};
    const fmp_status st = fmp_sigblock_sign(NULL, nothing, 1, parts->o->keys, parts->o->n_keys,
                                            parts->o->sign_comment, &trial, err);

    parts->payload->out = out;
    parts->payload->start = FMP_PREFIX_HEAD + N_SECTIONS * FMP_SECTION_ENTRY + trial.len;
    fmp_buf_release(&trial);
    return st;
}

/* ---- digests ----------------------------------------------------------------------------------
 */

static int compare_found(const void *a, const void *b)
{
    const fmp_found_digest *x = a;
    const fmp_found_digest *y = b;

    return x->row < y->row ? -1 : x->row > y->row;
}

fmp_status fmp_parts_place_digests(const fmp_parts *parts, fmp_found_digest *found, uint32_t n,
                                   fmp_error *err)
{
    fmp_table *t = parts->table;
    fmp_digest *all = fmp_realloc(t->digests, (size_t)t->n_digests + n, sizeof *all);

    if (!all)
        return no_memory(err);
    t->digests = all;
    if (n)
        qsort(found, n, sizeof *found, compare_found);
    for (uint32_t i = 0; i < n; i++) {
        t->rows[found[i].row].target_digest = t->n_digests;
        t->digests[t->n_digests++] = found[i].digest;
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

/* ---- the sections -----------------------------------------------------------------------------
 */

typedef struct tail {
    const fmp_parts *parts;
    fmp_prefix *prefix;
    fmp_buf stored;
} tail;

static fmp_status put_section(tail *t, unsigned type, const fmp_buf *raw, fmp_error *err)
{
    fmp_prefix *p = t->prefix;
    fmp_section *s = &p->section[p->n_sections];
    const fmp_payload *payload = t->parts->payload;
    fmp_status st =
        fmp_section_code(type, raw, (uint64_t)t->parts->table->n_digests * FMP_DIGEST_LEN,
                         payload->z, s, &t->stored, err);

    if (st)
        return st;
    s->off = p->body_len;
    st = fmp_out_write(payload->out, payload->start + s->off, t->stored.data, t->stored.len, err);
    p->body_len += s->stored;
    p->n_sections++;
    return st;
}

static fmp_status put_index(tail *t, fmp_error *err)
{
    const fmp_parts *x = t->parts;
    const fmp_buf digests = {.data = (uint8_t *)x->table->digests,
                             .len = (size_t)x->table->n_digests * FMP_DIGEST_LEN};
    fmp_buf raw = {0};
    fmp_status st;

    fmp_table_write(x->table, &raw);
    st = put_section(t, FMP_SECTION_TENSORS, &raw, err);
    if (!st)
        st = put_section(t, FMP_SECTION_DIGESTS, &digests, err);
    fmp_buf_clear(&raw);
    fmp_frames_write(&x->payload->frames, &raw);
    if (!st)
        st = put_section(t, FMP_SECTION_FRAMES, &raw, err);
    if (!st)
        st = put_section(t, FMP_SECTION_FRAME_DIGESTS, &x->payload->digests, err);
    fmp_buf_clear(&raw);
    fmp_layout_write(x->layout, &raw);
    if (!st)
        st = put_section(t, FMP_SECTION_LAYOUT, &raw, err);
    fmp_buf_release(&raw);
    if (!st)
        t->prefix->section[0].digest =
            fmp_prefix_find(t->prefix, FMP_SECTION_FRAME_DIGESTS)->digest;
    return st;
}

static fmp_status put_sections(const fmp_parts *parts, const char *manifest, fmp_prefix *p,
                               fmp_error *err)
{
    const fmp_buf text = {.data = (uint8_t *)manifest, .len = strlen(manifest)};
    const uint64_t stored = parts->payload->frames.stored;
    tail t = {.parts = parts, .prefix = p};
    fmp_status st;

    *p = (fmp_prefix){.version = FMP_FORMAT_VERSION, .n_sections = 1, .body_len = stored};
    p->section[0] = (fmp_section){.type = FMP_SECTION_PAYLOAD,
                                  .flags = FMP_SECTION_REQUIRED,
                                  .stored = stored,
                                  .raw = stored};
    st = put_section(&t, FMP_SECTION_MANIFEST, &text, err);
    if (!st)
        st = put_index(&t, err);
    fmp_buf_release(&t.stored);
    return st;
}

fmp_status fmp_parts_finish(const fmp_parts *parts, const char *manifest, fmp_error *err)
{
    fmp_out *out = parts->payload->out;
    fmp_buf signatures = {0};
    fmp_prefix p;
    fmp_status st = put_sections(parts, manifest, &p, err);

    if (st)
        return st;
    fmp_prefix_write(&p);
    st = p.len ? fmp_sigblock_sign(NULL, p.bytes, p.len, parts->o->keys, parts->o->n_keys,
                                   parts->o->sign_comment, &signatures, err)
               : no_memory(err);
    if (!st)
        st = fmp_out_write(out, 0, p.bytes, p.len, err);
    if (!st)
        st = fmp_out_write(out, p.len, signatures.data, signatures.len, err);
    fmp_buf_release(&signatures);
    return st;
}
