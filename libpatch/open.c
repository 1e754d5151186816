/*
 * fmp_patch_open(): everything but the payload, checked in the order of trust: prefix, signatures,
 * then the index.  And what an open patch answers without its payload.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "create.h"
#include "decode.h"
#include "patch.h"

fmp_limits fmp_limits_or_default(const fmp_limits *limits)
{
    fmp_limits l = {0};

    if (limits)
        memcpy(&l, limits, limits->size < sizeof l ? limits->size : sizeof l);
    l.size = sizeof l;
    l.max_tensors = l.max_tensors ? l.max_tensors : 1000000;
    l.max_files = l.max_files ? l.max_files : 100000;
    l.max_header = l.max_header ? l.max_header : 100000000;
    l.max_index = l.max_index ? l.max_index : 512ull << 20;
    l.max_size = l.max_size ? l.max_size : 4ull << 40;
    return l;
}

void fmp_table_roots(const fmp_table *t, bool target, fmp_digest *ret_root,
                     fmp_digest *ret_shape_root)
{
    fmp_root root, shape;

    fmp_root_init(&root, false);
    fmp_root_init(&shape, true);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        const fmp_tensor_info info = fmp_table_info(t, i, target);
        const uint32_t d = target ? t->rows[i].target_digest : t->rows[i].base_digest;

        if (!info.name)
            continue;
        fmp_root_push(&root, info.name, info.name_len, info.dtype, info.rank, info.shape,
                      &t->digests[d]);
        fmp_root_push(&shape, info.name, info.name_len, info.dtype, info.rank, info.shape, NULL);
    }
    *ret_root = fmp_root_final(&root);
    *ret_shape_root = fmp_root_final(&shape);
}

/* ---- reading the sections ---------------------------------------------------------------------
 */

static fmp_status read_section(fmp_patch *p, unsigned type, fmp_z *z, fmp_buf *out, fmp_error *err)
{
    return fmp_section_read(&p->file, p->body, &p->prefix, type, z, p->limits.max_index, out, err);
}

static fmp_status read_table(fmp_patch *p, fmp_z *z, fmp_error *err)
{
    fmp_buf rows = {0}, digests = {0};
    fmp_status st = read_section(p, FMP_SECTION_TENSORS, z, &rows, err);

    if (!st)
        st = read_section(p, FMP_SECTION_DIGESTS, z, &digests, err);
    if (!st)
        st = fmp_table_parse(&rows, &digests, p->limits.max_tensors, p->file.path, &p->table, err);
    fmp_buf_release(&rows);
    fmp_buf_release(&digests);
    return st;
}

static fmp_status read_frames(fmp_patch *p, fmp_z *z, fmp_error *err)
{
    const fmp_section *payload = fmp_prefix_find(&p->prefix, FMP_SECTION_PAYLOAD);
    fmp_buf raw = {0};
    fmp_status st = read_section(p, FMP_SECTION_FRAME_DIGESTS, z, &p->frame_digests, err);

    if (!st)
        st = read_section(p, FMP_SECTION_FRAMES, z, &raw, err);
    if (!st && p->frame_digests.len % FMP_DIGEST_LEN)
        st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: frame digests are cut short",
                      p->file.path);
    if (!st)
        st = fmp_frames_parse(&raw, p->frame_digests.len / FMP_DIGEST_LEN, p->file.path, &p->frames,
                              err);
    fmp_buf_release(&raw);
    if (!st && (payload->coding || payload->stored != p->frames.stored))
        st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                      "%s: the payload has %llu bytes, its frames %llu", p->file.path,
                      (unsigned long long)payload->stored, (unsigned long long)p->frames.stored);
    return st;
}

static fmp_status read_layout(fmp_patch *p, fmp_z *z, fmp_error *err)
{
    fmp_buf raw = {0};
    fmp_status st = read_section(p, FMP_SECTION_LAYOUT, z, &raw, err);

    if (!st)
        st = fmp_layout_parse(&raw, &p->table, p->limits.max_files, p->file.path, &p->layout, err);
    fmp_buf_release(&raw);
    return st;
}

/* First of all: it says what a reader must know. */
static fmp_status read_manifest(fmp_patch *p, fmp_z *z, fmp_error *err)
{
    fmp_buf raw = {0};
    fmp_status st = read_section(p, FMP_SECTION_MANIFEST, z, &raw, err);

    if (!st)
        st = fmp_manifest_check((const char *)raw.data, raw.len, NULL, p->file.path, err);
    if (!st) {
        p->manifest = fmp_strndup((const char *)raw.data, raw.len);
        if (!p->manifest)
            st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", p->file.path);
    }
    if (!st)
        st = fmp_manifest_profile(p->manifest, &p->summary.profile, err);
    fmp_buf_release(&raw);
    return st;
}

static fmp_status check_roots(fmp_patch *p, fmp_error *err)
{
    fmp_digest roots[4];

    fmp_table_roots(&p->table, false, &roots[0], &roots[1]);
    fmp_table_roots(&p->table, true, &roots[2], &roots[3]);
    memcpy(p->summary.base_root, roots[0].b, FMP_DIGEST_LEN);
    memcpy(p->summary.target_root, roots[2].b, FMP_DIGEST_LEN);
    return fmp_manifest_check(p->manifest, strlen(p->manifest), roots, p->file.path, err);
}

/* ---- consistency between the sections ---------------------------------------------------------
 */

uint64_t fmp_patch_object_bytes(const fmp_patch *p, unsigned domain, uint64_t object)
{
    const fmp_layout *l = &p->layout;
    const fmp_table *t = &p->table;

    switch (domain) {
    case FMP_DOMAIN_TENSORS:
        return object < l->target.n_order
                   ? t->schemas[t->rows[l->target.order[object]].target_schema].n_bytes
                   : 0;
    case FMP_DOMAIN_OLD_TENSORS:
        return object < l->base.n_order
                   ? t->schemas[t->rows[l->base.order[object]].base_schema].n_bytes
                   : 0;
    case FMP_DOMAIN_HEADERS:
        return object < l->target.n_files ? l->target.files[object].header_len : 0;
    case FMP_DOMAIN_OLD_HEADERS:
        return object < l->base.n_files ? l->base.files[object].header_len : 0;
    case FMP_DOMAIN_FILES:
        return object < l->n_side ? l->side[object].target_size : 0;
    default:
        return object < l->n_side ? l->side[object].base_size : 0;
    }
}

static fmp_status check_frames(const fmp_patch *p, fmp_error *err)
{
    for (uint32_t i = 0; i < p->frames.n; i++) {
        const fmp_frame_entry *e = &p->frames.entry[i];

        if (e->start >= fmp_patch_object_bytes(p, e->domain, e->first) ||
            e->end > fmp_patch_object_bytes(p, e->domain, e->last))
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: frame %u lies outside of its tensor or file", p->file.path, i);
    }
    return FMP_OK;
}

/* What only the patch can give must be there: stored headers, and side files that are new. */
static fmp_status check_content(const fmp_patch *p, fmp_error *err)
{
    const fmp_layout *l = &p->layout;

    for (uint32_t i = 0; i < l->target.n_files; i++) {
        const fmp_layout_file *f = &l->target.files[i];

        if (f->header_stored && !fmp_patch_has_object(p, FMP_DOMAIN_HEADERS, i, f->header_len))
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: the header of file \"%s\" is missing", p->file.path, f->name);
    }
    for (uint32_t i = 0; i < l->n_side; i++) {
        const fmp_side_file *f = &l->side[i];

        if (f->in_target && (f->changed || !f->in_base) &&
            !fmp_patch_has_object(p, FMP_DOMAIN_FILES, i, f->target_size))
            return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: the content of file \"%s\" is missing", p->file.path, f->name);
    }
    return FMP_OK;
}

bool fmp_patch_has_object(const fmp_patch *p, unsigned domain, uint32_t object, uint64_t n_bytes)
{
    uint32_t f = fmp_frames_seek(&p->frames, domain, object, 0);
    uint64_t at = 0;

    for (; at < n_bytes && f < p->frames.n; f++) {
        const fmp_frame_entry *e = &p->frames.entry[f];

        if (e->domain != domain || e->first > object || (e->first == object && e->start > at))
            return false;
        at = e->last > object ? n_bytes : e->end;
    }
    return at >= n_bytes;
}

/* ---- what can be undone -----------------------------------------------------------------------
 */

static void stuck(fmp_patch *p, const char *fmt, const char *name)
{
    fmp_error e;

    if (p->stuck[0])
        return;
    fmp_fail(&e, FMP_EPOLICY, FMP_NO_OFFSET, fmt, name);
    snprintf(p->stuck, sizeof p->stuck, "%.*s", (int)sizeof p->stuck - 1, e.text);
}

void fmp_table_ways_back(const fmp_table *t, uint32_t *way)
{
    for (uint32_t i = 0; i < t->n_rows; i++)
        way[i] = FMP_NONE;
    for (uint32_t i = 0; i < t->n_rows; i++) {
        const fmp_row *r = &t->rows[i];
        const fmp_map map = fmp_table_map(t, i);

        if (r->state != FMP_UNCHANGED && r->state != FMP_RESIDUAL)
            continue;
        if (map.base_off == 0 && way[map.source] == FMP_NONE &&
            map.n_bytes == t->schemas[t->rows[map.source].base_schema].n_bytes)
            way[map.source] = i;
    }
    for (uint32_t i = 0; i < t->n_rows; i++) {
        const fmp_row *r = &t->rows[i];
        const uint32_t source = r->state == FMP_ALIAS ? t->maps[r->map].source : FMP_NONE;

        if (source == FMP_NONE || r->base_schema == FMP_NONE || way[i] != FMP_NONE)
            continue;
        if (t->rows[source].base_schema == r->base_schema && way[source] != FMP_NONE &&
            fmp_digest_equal(&t->digests[t->rows[source].base_digest], &t->digests[r->base_digest]))
            way[i] = way[source];
    }
}

static void find_reversible(fmp_patch *p)
{
    const fmp_table *t = &p->table;
    const fmp_layout *l = &p->layout;

    fmp_table_ways_back(t, p->target_of);
    if (p->summary.profile == FMP_PROFILE_COMPACT && p->frames.n)
        stuck(p, "it is of profile compact, coded given the base%s", "");
    for (uint32_t i = 0; i < t->n_rows; i++) {
        const fmp_row *r = &t->rows[i];

        if (r->base_schema != FMP_NONE && p->target_of[i] == FMP_NONE &&
            !fmp_patch_has_object(p, FMP_DOMAIN_OLD_TENSORS, p->base_pos[i],
                                  t->schemas[r->base_schema].n_bytes))
            stuck(p, "the old content of tensor \"%s\" is not stored", t->names + r->name_at);
    }
    for (uint32_t i = 0; i < l->base.n_files; i++) {
        if (l->base.files[i].header_stored &&
            !fmp_patch_has_object(p, FMP_DOMAIN_OLD_HEADERS, i, l->base.files[i].header_len))
            stuck(p, "the old header of file \"%s\" is not stored", l->base.files[i].name);
    }
    for (uint32_t i = 0; i < l->n_side; i++) {
        const fmp_side_file *f = &l->side[i];

        if (f->in_base && (f->changed || !f->in_target) &&
            !fmp_patch_has_object(p, FMP_DOMAIN_OLD_FILES, i, f->base_size))
            stuck(p, "the old content of file \"%s\" is not stored", f->name);
    }
}

fmp_status fmp_patch_check_open(const fmp_patch *p, fmp_error *err)
{
    return p->summary.profile == FMP_PROFILE_OPEN
               ? FMP_OK
               : fmp_fail(err, FMP_EPOLICY, FMP_NO_OFFSET,
                          "%s: is of profile compact: what it changes cannot be read without its "
                          "base; fmpatch recode makes it open",
                          p->file.path);
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static fmp_status place_rows(fmp_patch *p, fmp_error *err)
{
    const size_t n = p->table.n_rows;

    p->target_pos = fmp_calloc(n, sizeof *p->target_pos);
    p->base_pos = fmp_calloc(n, sizeof *p->base_pos);
    p->target_of = fmp_calloc(n, sizeof *p->target_of);
    if (!p->target_pos || !p->base_pos || !p->target_of)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", p->file.path);
    for (uint32_t i = 0; i < n; i++)
        p->target_pos[i] = p->base_pos[i] = FMP_NONE;
    for (uint32_t i = 0; i < p->layout.target.n_order; i++)
        p->target_pos[p->layout.target.order[i]] = i;
    for (uint32_t i = 0; i < p->layout.base.n_order; i++)
        p->base_pos[p->layout.base.order[i]] = i;
    return FMP_OK;
}

static void summarize(fmp_patch *p)
{
    fmp_patch_summary *s = &p->summary;
    uint32_t count[8] = {0};
    const fmp_digest id = fmp_digest_of(p->prefix.bytes, p->prefix.len);

    s->size = sizeof *s;
    s->version = p->prefix.version;
    memcpy(s->id, id.b, FMP_DIGEST_LEN);
    s->file_size = p->file.size;
    s->payload_size = p->frames.stored;
    s->n_tensors = p->table.n_rows;
    s->n_base_tensors = p->layout.base.n_order;
    s->n_target_tensors = p->layout.target.n_order;
    s->n_frames = p->frames.n;
    s->n_signatures = p->signatures.n;
    s->reversible = !p->stuck[0];
    for (uint32_t i = 0; i < p->table.n_rows; i++) {
        const fmp_row *r = &p->table.rows[i];

        count[r->state]++;
        if (r->target_schema != FMP_NONE)
            s->n_elements += p->table.schemas[r->target_schema].n_elements;
    }
    for (uint32_t i = 0; i < p->frames.n; i++) {
        if (p->frames.entry[i].domain == FMP_DOMAIN_TENSORS)
            s->n_changed += p->frames.entry[i].n_changed;
    }
    s->n_unchanged = count[FMP_UNCHANGED];
    s->n_residual = count[FMP_RESIDUAL];
    s->n_whole = count[FMP_WHOLE];
    s->n_added = count[FMP_ADDED];
    s->n_removed = count[FMP_REMOVED];
    s->n_alias = count[FMP_ALIAS];
    s->n_set = count[FMP_SET];
}

static fmp_status read_all(fmp_patch *p, fmp_error *err)
{
    fmp_buf signatures = {0};
    fmp_z *z = NULL;
    fmp_status st = fmp_prefix_read(&p->file, &p->prefix, &signatures, &p->body, err);

    if (!st)
        st = fmp_sigblock_parse(signatures.data, signatures.len, p->prefix.bytes, p->prefix.len,
                                &p->signatures, err);
    fmp_buf_release(&signatures);
    if (!st)
        st = fmp_z_new(&z, err);
    if (!st)
        st = read_manifest(p, z, err);
    if (!st)
        st = read_table(p, z, err);
    if (!st)
        st = read_frames(p, z, err);
    if (!st)
        st = read_layout(p, z, err);
    if (!st)
        st = check_roots(p, err);
    fmp_z_free(z);
    if (!st)
        st = place_rows(p, err);
    if (!st)
        st = check_frames(p, err);
    if (!st)
        st = check_content(p, err);
    if (st)
        return st;
    p->payload = p->body + fmp_prefix_find(&p->prefix, FMP_SECTION_PAYLOAD)->off;
    find_reversible(p);
    summarize(p);
    return fmp_patch_recognize_mask(p, err);
}

fmp_status fmp_patch_open(const char *path, const fmp_patch_options *options, fmp_patch **ret,
                          fmp_error *err)
{
    fmp_patch *p = fmp_calloc(1, sizeof *p);
    fmp_status st;

    if (!p)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
    p->limits = fmp_limits_or_default(options ? options->limits : NULL);
    st = fmp_file_open(&p->file, path, err);
    if (!st)
        st = read_all(p, err);
    if (st) {
        fmp_patch_close(p);
        return st;
    }
    *ret = p;
    return FMP_OK;
}

/* Takes NULL, and any state that fmp_patch_open() can leave half built. */
void fmp_patch_close(fmp_patch *p)
{
    if (!p)
        return;
    fmp_file_close(&p->file);
    fmp_sigblock_release(&p->signatures);
    fmp_free(p->manifest);
    fmp_table_release(&p->table);
    fmp_frames_release(&p->frames);
    fmp_buf_release(&p->frame_digests);
    fmp_layout_release(&p->layout);
    fmp_free(p->target_pos);
    fmp_free(p->base_pos);
    fmp_free(p->target_of);
    fmp_free(p->scan);
    fmp_free(p);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

fmp_patch_summary fmp_patch_summarize(const fmp_patch *patch)
{
    return patch->summary;
}

const char *fmp_patch_manifest(const fmp_patch *patch)
{
    return patch->manifest;
}

const char *fmp_patch_irreversible_because(const fmp_patch *patch)
{
    return patch->stuck[0] ? patch->stuck : NULL;
}

uint32_t fmp_patch_find(const fmp_patch *patch, const char *name, size_t name_len)
{
    return fmp_table_find(&patch->table, name, name_len);
}

fmp_patch_tensor fmp_patch_tensor_at(const fmp_patch *patch, uint32_t tensor)
{
    const fmp_table *t = &patch->table;
    fmp_patch_tensor out = {0};
    const fmp_row *r;

    if (tensor >= t->n_rows)
        return out;
    r = &t->rows[tensor];
    out.state = (fmp_tensor_state)r->state;
    out.base = fmp_table_info(t, tensor, false);
    out.target = fmp_table_info(t, tensor, true);
    if (r->base_digest != FMP_NONE)
        memcpy(out.base_digest, t->digests[r->base_digest].b, FMP_DIGEST_LEN);
    if (r->target_digest != FMP_NONE)
        memcpy(out.target_digest, t->digests[r->target_digest].b, FMP_DIGEST_LEN);
    if (r->map != FMP_NONE && t->maps[r->map].source != tensor)
        out.source = t->names + t->rows[t->maps[r->map].source].name_at;
    out.n_changed = r->state == FMP_UNCHANGED || r->state == FMP_ALIAS || r->state == FMP_REMOVED
                        ? 0
                        : UINT64_MAX;
    if (patch->scan) {
        out.n_changed = patch->scan[tensor].n_changed;
        out.n_up = patch->scan[tensor].n_up;
        out.n_down = patch->scan[tensor].n_down;
        out.max_residual = patch->scan[tensor].max_residual;
        out.stored = patch->scan[tensor].stored;
        if (patch->scan[tensor].hidden)
            out.n_up = out.n_down = out.max_residual = UINT64_MAX;
    }
    return out;
}

uint32_t fmp_patch_file_count(const fmp_patch *patch)
{
    return patch->layout.target.n_files + patch->layout.n_side;
}

fmp_patch_file fmp_patch_file_at(const fmp_patch *patch, uint32_t i)
{
    const fmp_layout *l = &patch->layout;
    const fmp_side_file *f;
    fmp_patch_file out;

    if (i < l->target.n_files)
        return (fmp_patch_file){.name = l->target.files[i].name,
                                .state = FMP_FILE_WEIGHTS,
                                .size = l->target.files[i].size};
    if (i - l->target.n_files >= l->n_side)
        return (fmp_patch_file){0};
    f = &l->side[i - l->target.n_files];
    out = (fmp_patch_file){.name = f->name,
                           .state = !f->in_base     ? FMP_FILE_ADDED
                                    : !f->in_target ? FMP_FILE_REMOVED
                                    : f->changed    ? FMP_FILE_CHANGED
                                                    : FMP_FILE_SAME,
                           .size = f->in_target ? f->target_size : f->base_size};
    memcpy(out.digest, f->in_target ? f->target_digest.b : f->base_digest.b, FMP_DIGEST_LEN);
    return out;
}

fmp_signature_info fmp_patch_signature(const fmp_patch *patch, uint32_t i)
{
    return i < patch->signatures.n ? patch->signatures.infos[i] : (fmp_signature_info){0};
}

fmp_status fmp_patch_check_trust(const fmp_patch *patch, const fmp_trust *trust, fmp_verdict *ret,
                                 fmp_error *err)
{
    return fmp_sigblock_verdict(&patch->signatures, trust, ret, err);
}
