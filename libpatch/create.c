/*
 * fmp_create(): match, read, hash, compare, code, write.  The file appears when it is whole.
 */
#include "create.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "patch.h"

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "creating a patch: out of memory");
}

void fmp_creation_release(fmp_creation *c)
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
    fmp_filesums_release(&c->sums[0]);
    fmp_filesums_release(&c->sums[1]);
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
    if (o->level < 1 || o->level > 9)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "level %d: 1 to 9 expected", o->level);
    if (o->width && o->width != 8 && o->width != 16 && o->width != 32 && o->width != 64)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "width %u: 8, 16, 32 or 64 expected",
                        o->width);
    if (o->profile != FMP_PROFILE_OPEN && o->profile != FMP_PROFILE_COMPACT)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "profile %d is not known", (int)o->profile);
    if (o->reversible && o->profile == FMP_PROFILE_COMPACT)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "a patch of profile compact cannot be reversible");
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

fmp_status fmp_creation_prepare(fmp_creation *c, fmp_error *err)
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
    c->payload.level = fmp_zstd_level(c->o.level);
    c->payload.sums = !c->o.no_check;
    c->total = total_bytes(c->base) + total_bytes(c->target);
    return st;
}

/* The base's tensors, now that their digests are known, against those of a patch's base. */
static fmp_status check_base(const fmp_creation *c, fmp_error *err)
{
    const fmp_table *t = &c->m.table;
    const fmp_table *want = c->of ? &c->of->table : NULL;

    for (uint32_t i = 0; i < t->n_rows && want; i++) {
        const fmp_row *r = &t->rows[i];
        const char *name = t->names + r->name_at;
        const uint32_t k =
            r->base_schema == FMP_NONE ? FMP_NONE : fmp_table_find(want, name, r->name_len);

        if (r->base_schema == FMP_NONE)
            continue;
        if (k == FMP_NONE || want->rows[k].base_schema == FMP_NONE ||
            !fmp_digest_equal(&t->digests[r->base_digest],
                              &want->digests[want->rows[k].base_digest]))
            return fmp_fail(err, FMP_EBASE, FMP_NO_OFFSET,
                            "%s: not the base of %s: tensor \"%s\" differs", c->base->path,
                            c->of->file.path, name);
    }
    return FMP_OK;
}

static fmp_status finish(const fmp_creation *c, const fmp_parts *parts, fmp_error *err)
{
    const fmp_manifest_side side[2] = {
        {.sha256_of = c->o.sha256 ? c->base : NULL, .sha256 = c->sums[0].hex},
        {.sha256_of = c->o.sha256 ? c->target : NULL, .sha256 = c->sums[1].hex}};
    char *manifest;
    fmp_status st = fmp_manifest_make(parts, side, &manifest, err);

    if (st)
        return st;
    st = fmp_parts_finish(parts, manifest, err);
    fmp_free(manifest);
    return st;
}

static fmp_status write_patch(fmp_creation *c, const char *path, fmp_error *err)
{
    const fmp_parts parts = {
        .table = &c->m.table, .layout = &c->layout, .payload = &c->payload, .o = &c->o};
    fmp_out out = {0};
    fmp_status st = fmp_out_open(&out, path, 0, c->o.replace, 0666, err);

    if (st)
        return st;
    st = fmp_parts_begin(&parts, &out, err);
    if (!st && c->o.sha256)
        st = fmp_filesums_begin(&c->sums[0], c->base, err);
    if (!st && c->o.sha256)
        st = fmp_filesums_begin(&c->sums[1], c->target, err);
    if (!st)
        st = fmp_creation_tensors(c, err);
    if (!st)
        st = fmp_creation_files(c, err);
    if (!st)
        st = fmp_creation_base_only(c, err);
    if (!st)
        st = fmp_creation_old_files(c, err);
    if (!st)
        st = fmp_filesums_end(&c->sums[0], err);
    if (!st)
        st = fmp_filesums_end(&c->sums[1], err);
    if (!st)
        st = check_base(c, err);
    if (!st)
        st = fmp_parts_place_digests(&parts, c->found, c->n_found, err);
    if (!st)
        st = finish(c, &parts, err);
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
    return fmp_create_of(base, target, path, options, NULL, ret, err);
}

fmp_status fmp_create_of(const fmp_store *base, const fmp_store *target, const char *path,
                         const fmp_create_options *options, const fmp_patch *of,
                         fmp_create_result *ret, fmp_error *err)
{
    fmp_creation *c = fmp_calloc(1, sizeof *c);
    fmp_patch *made;
    fmp_status st;

    if (!c)
        return no_memory(err);
    c->base = base;
    c->target = target;
    c->of = of;
    c->o = fmp_create_options_or_default(options);
    c->n_threads = fmp_create_threads(&c->o);
    if (c->o.replace && (fmp_store_is_made_of(base, path) || fmp_store_is_made_of(target, path)))
        st = fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: is an input, and stays as it is", path);
    else
        st = fmp_creation_prepare(c, err);
    if (!st)
        st = write_patch(c, path, err);
    fmp_creation_release(c);
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
