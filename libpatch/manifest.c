/*
 * The manifest: canonical JSON through jansson.  FORMAT.md, "Manifest".
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "assemble.h"
#include "base/alloc.h"
#include "base/sha256.h"
#include "base/status.h"
#include "patch.h"

#define MAX_DEPTH 16

static int append(const char *text, size_t len, void *buf)
{
    fmp_buf_put(buf, text, len);
    return ((fmp_buf *)buf)->bad ? -1 : 0;
}

/* Canonical text into `out`; false when memory is short. */
static bool dump(const json_t *j, fmp_buf *out)
{
    return json_dump_callback(j, append, out, JSON_SORT_KEYS | JSON_COMPACT) == 0 && !out->bad;
}

/* What fmp_create() writes itself. */
static const char *const own_keys[] = {"base", "changes", "format", "profile", "target", "tool"};

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "manifest: out of memory");
}

/* Integers within +-(2^53 - 1), strings, no decimals, no great depth. */
static bool values_are_plain(const json_t *j, unsigned depth)
{
    const json_int_t most = ((json_int_t)1 << 53) - 1;
    const char *key;
    json_t *value;
    size_t i;

    if (depth > MAX_DEPTH || json_is_real(j))
        return false;
    if (json_is_integer(j))
        return json_integer_value(j) <= most && json_integer_value(j) >= -most;
    if (json_is_array(j)) {
        json_array_foreach(j, i, value)
        {
            if (!values_are_plain(value, depth + 1))
                return false;
        }
    }
    if (json_is_object(j)) {
        json_object_foreach((json_t *)j, key, value)
        {
            if (!values_are_plain(value, depth + 1))
                return false;
        }
    }
    return true;
}

static fmp_status parse_extra(const char *text, json_t **ret, fmp_error *err)
{
    json_error_t where;
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, &where);

    if (!j)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "manifest, line %d: %s", where.line,
                        where.text);
    if (!json_is_object(j) || !values_are_plain(j, 0)) {
        json_decref(j);
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "manifest: an object of strings, integers, lists and objects expected "
                        "(write decimals as strings)");
    }
    for (size_t i = 0; i < sizeof own_keys / sizeof *own_keys; i++) {
        if (json_object_get(j, own_keys[i])) {
            json_decref(j);
            return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                            "manifest: \"%s\" is written by fmpatch itself", own_keys[i]);
        }
    }
    *ret = j;
    return FMP_OK;
}

fmp_status fmp_manifest_check_extra(const char *json, fmp_error *err)
{
    json_t *j;
    const fmp_status st = parse_extra(json, &j, err);

    if (!st)
        json_decref(j);
    return st;
}

/* Canonical text for the caller to free. */
static fmp_status give_text(const json_t *j, char **ret, fmp_error *err)
{
    fmp_buf text = {0};
    char *copy = dump(j, &text) ? fmp_strndup((const char *)text.data, text.len) : NULL;

    fmp_buf_release(&text);
    if (!copy)
        return no_memory(err);
    *ret = copy;
    return FMP_OK;
}

/* ---- the kind ---------------------------------------------------------------------------------
 */

static fmp_status set_kind(json_t *j, const char *kind, fmp_error *err)
{
    const json_t *found = json_object_get(j, "kind");

    if (!found)
        return json_object_set_new(j, "kind", json_string(kind)) ? no_memory(err) : FMP_OK;
    if (!json_is_string(found) || strcmp(json_string_value(found), kind) != 0)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "manifest: \"kind\": expected \"%s\" or nothing, found another", kind);
    return FMP_OK;
}

fmp_status fmp_manifest_with_kind(const char *json, const char *kind, char **ret, fmp_error *err)
{
    json_t *j = NULL;
    fmp_status st = parse_extra(json ? json : "{}", &j, err);

    if (!st)
        st = set_kind(j, kind, err);
    if (!st)
        st = give_text(j, ret, err);
    json_decref(j);
    return st;
}

fmp_status fmp_manifest_kind(const char *text, char *kind, size_t cap, fmp_error *err)
{
    json_t *j = json_loads(text, 0, NULL);
    const char *found = json_string_value(json_object_get(j, "kind"));

    if (!j)
        return no_memory(err); /* it has been read before */
    snprintf(kind, cap, "%s", found ? found : "");
    json_decref(j);
    return FMP_OK;
}

const char *fmp_profile_name(fmp_profile profile)
{
    return profile == FMP_PROFILE_COMPACT ? "compact" : "open";
}

fmp_status fmp_manifest_profile(const char *text, fmp_profile *ret, fmp_error *err)
{
    json_t *j = json_loads(text, 0, NULL);
    const char *found = json_string_value(json_object_get(j, "profile"));

    if (!j)
        return no_memory(err); /* it has been read before */
    *ret = found && strcmp(found, "compact") == 0 ? FMP_PROFILE_COMPACT : FMP_PROFILE_OPEN;
    json_decref(j);
    return FMP_OK;
}

/* ---- making -----------------------------------------------------------------------------------
 */

/* A file by its name and size, with the SHA-256 of a store's when there is one: `known`, or found
 * here. */
static fmp_status put_file(const char *name, uint64_t size, const fmp_file *in, const char *known,
                           json_t *list, fmp_error *err)
{
    json_t *f = json_pack("{s:s, s:I}", "name", name, "size", (json_int_t)size);
    char hex[65];
    fmp_status st;

    if (json_array_append_new(list, f) != 0)
        return no_memory(err);
    if (!in || !in->open)
        return FMP_OK;
    st = known ? FMP_OK : fmp_sha256_file(in, hex, err);
    if (!st && json_object_set_new(f, "sha256", json_string(known ? known : hex)) != 0)
        st = no_memory(err);
    return st;
}

/* Weights files, then side files: the order of a store's, too. */
static fmp_status put_files(const fmp_layout *l, bool target, const fmp_manifest_side *from,
                            json_t *list, fmp_error *err)
{
    const fmp_store *s = from->sha256_of;
    const fmp_layout_side *side = target ? &l->target : &l->base;
    uint32_t n = 0;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < side->n_files && !st; i++, n++)
        st = put_file(side->files[i].name, side->files[i].size, s ? &s->files[n].in : NULL,
                      from->sha256 ? from->sha256[i] : NULL, list, err);
    for (uint32_t i = 0; i < l->n_side && !st; i++) {
        const fmp_side_file *f = &l->side[i];

        if (!(target ? f->in_target : f->in_base))
            continue;
        st = put_file(f->name, target ? f->target_size : f->base_size, s ? &s->files[n].in : NULL,
                      NULL, list, err);
        n++;
    }
    return st;
}

/* A side as the tables have it. */
static fmp_status describe_side(const fmp_parts *parts, bool target, const fmp_manifest_side *from,
                                json_t **ret, fmp_error *err)
{
    const fmp_table *t = parts->table;
    const fmp_layout_side *s = target ? &parts->layout->target : &parts->layout->base;
    char root_hex[65], shape_hex[65];
    fmp_digest root, shape;
    json_t *files = json_array();
    uint64_t bytes = 0;

    fmp_table_roots(t, target, &root, &shape);
    fmp_digest_hex(&root, root_hex);
    fmp_digest_hex(&shape, shape_hex);
    for (uint32_t i = 0; i < s->n_order; i++) {
        const fmp_row *r = &t->rows[s->order[i]];

        bytes += t->schemas[target ? r->target_schema : r->base_schema].n_bytes;
    }
    *ret = json_pack("{s:I, s:o, s:s, s:s, s:I}", "bytes", (json_int_t)bytes, "files", files,
                     "root", root_hex, "shape_root", shape_hex, "tensors", (json_int_t)s->n_order);
    if (!*ret)
        return no_memory(err);
    return put_files(parts->layout, target, from, files, err);
}

static fmp_status put_side(const fmp_parts *parts, bool target, const fmp_manifest_side *from,
                           json_t *into, fmp_error *err)
{
    json_t *side = NULL;
    fmp_status st = FMP_OK;

    if (from->manifest) {
        json_t *whole = json_loads(from->manifest, 0, NULL);

        side = json_incref(json_object_get(whole, from->side));
        json_decref(whole);
    } else {
        st = describe_side(parts, target, from, &side, err);
    }
    if (st) {
        json_decref(side);
        return st;
    }
    return json_object_set_new(into, target ? "target" : "base", side) ? no_memory(err) : FMP_OK;
}

static int put_changes(const fmp_parts *parts, json_t *into)
{
    static const char *const names[] = {"unchanged", "residual", "whole", "added",
                                        "removed",   "alias",    "set"};
    const fmp_frames *frames = &parts->payload->frames;
    json_int_t count[7] = {0};
    json_t *j = json_object();
    uint64_t changed = 0;
    int bad = 0;

    for (uint32_t i = 0; i < parts->table->n_rows; i++)
        count[parts->table->rows[i].state]++;
    for (uint32_t i = 0; i < frames->n; i++) {
        if (frames->entry[i].domain == FMP_DOMAIN_TENSORS)
            changed += frames->entry[i].n_changed;
    }
    for (unsigned i = 0; i < 7; i++)
        bad |= count[i] && json_object_set_new(j, names[i], json_integer(count[i]));
    bad |= json_object_set_new(j, "units", json_integer((json_int_t)changed));
    return bad | json_object_set_new(into, "changes", j);
}

static fmp_status fill(const fmp_parts *parts, const fmp_manifest_side side[2], json_t *j,
                       fmp_error *err)
{
    char tool[64];
    int bad = 0;
    fmp_status st = put_side(parts, false, &side[0], j, err);

    if (!st)
        st = put_side(parts, true, &side[1], j, err);
    if (st)
        return st;
    snprintf(tool, sizeof tool, "fmpatch %s", fmp_version());
    bad |= put_changes(parts, j);
    bad |= json_object_set_new(j, "format", json_integer(FMP_FORMAT_VERSION));
    bad |= json_object_set_new(j, "profile", json_string(fmp_profile_name(parts->o->profile)));
    bad |= json_object_set_new(j, "tool", json_string(tool));
    if (!json_object_get(j, "kind"))
        bad |= json_object_set_new(j, "kind", json_string("task"));
    if (parts->o->date)
        bad |= json_object_set_new(j, "date", json_string(parts->o->date));
    return bad ? no_memory(err) : FMP_OK;
}

fmp_status fmp_manifest_make(const fmp_parts *parts, const fmp_manifest_side side[2], char **ret,
                             fmp_error *err)
{
    json_t *j = NULL;
    fmp_status st =
        parts->o->manifest_json ? parse_extra(parts->o->manifest_json, &j, err) : FMP_OK;

    if (st)
        return st;
    if (!j)
        j = json_object();
    st = j ? fill(parts, side, j, err) : no_memory(err);
    if (!st)
        st = give_text(j, ret, err);
    json_decref(j);
    return st;
}

/* ---- what was made of other patches -----------------------------------------------------------
 */

/* What the manifest of the patch whose target it is goes on to tell. */
static bool goes_on(const char *key)
{
    static const char *const gone[] = {"base",      "changes", "date",    "format",
                                       "operation", "parents", "profile", "recipe",
                                       "requires",  "target",  "tool"};

    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        if (strcmp(key, gone[i]) == 0)
            return false;
    }
    return true;
}

static int put_kept(const char *manifest, json_t *into)
{
    json_t *j = json_loads(manifest, 0, NULL);
    const char *key;
    json_t *value;
    int bad = !j;

    json_object_foreach(j, key, value)
    {
        if (goes_on(key))
            bad |= json_object_set(into, key, value);
    }
    json_decref(j);
    return bad;
}

static json_t *signers_of(const fmp_patch *p)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < p->summary.n_signatures; i++) {
        const fmp_signature_info s = fmp_patch_signature(p, i);
        fmp_digest id;
        char hex[65];

        if (!s.valid)
            continue;
        memcpy(id.b, s.key.id, FMP_DIGEST_LEN);
        fmp_digest_hex(&id, hex);
        if (json_array_append_new(list, json_string(hex)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *describe_parent(const fmp_patch *p)
{
    static const char *const told[] = {"kind", "lineage", "sequence"};
    json_t *manifest = json_loads(p->manifest, 0, NULL);
    json_t *j;
    fmp_digest id;
    char hex[65];

    memcpy(id.b, p->summary.id, FMP_DIGEST_LEN);
    fmp_digest_hex(&id, hex);
    j = json_pack("{s:O, s:s, s:o, s:O}", "base",
                  json_object_get(json_object_get(manifest, "base"), "root"), "id", hex, "signers",
                  signers_of(p), "target",
                  json_object_get(json_object_get(manifest, "target"), "root"));
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        json_t *value = json_object_get(manifest, told[i]);

        if (value && json_object_set(j, told[i], value) != 0) {
            json_decref(j);
            j = NULL;
        }
    }
    json_decref(manifest);
    return j;
}

fmp_status fmp_manifest_derived(const char *json, const char *operation, const char *keep,
                                const fmp_patch *const *parents, size_t n_parents, char **ret,
                                fmp_error *err)
{
    json_t *extra = NULL;
    json_t *list = json_array();
    json_t *j = json_object();
    fmp_status st = FMP_OK;
    int bad = !j || (keep && put_kept(keep, j));

    if (json)
        st = parse_extra(json, &extra, err);
    if (extra)
        bad |= json_object_update(j, extra);
    for (size_t i = 0; i < n_parents && !bad; i++)
        bad |= json_array_append_new(list, describe_parent(parents[i]));
    bad |= json_object_set_new(j, "operation", json_string(operation));
    bad |= json_object_set(j, "parents", list);
    if (!st)
        st = bad ? no_memory(err) : give_text(j, ret, err);
    json_decref(extra);
    json_decref(list);
    json_decref(j);
    return st;
}

fmp_status fmp_manifest_recoded(const char *text, fmp_profile profile, char **ret, fmp_error *err)
{
    json_t *j = json_loads(text, 0, NULL);
    char tool[64];
    fmp_status st;

    snprintf(tool, sizeof tool, "fmpatch %s", fmp_version());
    if (!j || json_object_set_new(j, "profile", json_string(fmp_profile_name(profile))) != 0 ||
        json_object_set_new(j, "tool", json_string(tool)) != 0)
        st = no_memory(err);
    else
        st = give_text(j, ret, err);
    json_decref(j);
    return st;
}

/* ---- checking ---------------------------------------------------------------------------------
 */

static bool says(const json_t *j, const char *side, const char *key, const fmp_digest *d)
{
    const char *hex = json_string_value(json_object_get(json_object_get(j, side), key));
    fmp_digest found;

    return hex && fmp_digest_from_hex(hex, &found) && fmp_digest_equal(&found, d);
}

static fmp_status check_requirements(const json_t *j, const char *path, fmp_error *err)
{
    const char *profile = json_string_value(json_object_get(j, "profile"));
    const json_t *needs = json_object_get(j, "requires");

    if (!profile || (strcmp(profile, "open") != 0 && strcmp(profile, "compact") != 0))
        return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                        "%s: profile \"%s\", \"open\" and \"compact\" are known", path,
                        profile ? profile : "");
    if (needs && !json_is_array(needs))
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: manifest: \"requires\" is not a list", path);
    if (json_array_size(needs))
        return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                        "%s: needs a feature that this version does not know: \"%s\"", path,
                        json_string_value(json_array_get(needs, 0))
                            ? json_string_value(json_array_get(needs, 0))
                            : "?");
    return FMP_OK;
}

fmp_status fmp_manifest_check(const char *text, size_t len, const fmp_digest *roots,
                              const char *path, fmp_error *err)
{
    json_error_t where;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    fmp_buf again = {0};
    fmp_status st;

    if (!j || !json_is_object(j) || !values_are_plain(j, 0)) {
        json_decref(j);
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: the manifest is not valid JSON",
                        path);
    }
    st = check_requirements(j, path, err);
    if (!st && !dump(j, &again))
        st = no_memory(err);
    if (!st && (again.len != len || memcmp(again.data, text, len) != 0))
        st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: the manifest is not canonical", path);
    if (!st && roots &&
        (!says(j, "base", "root", &roots[0]) || !says(j, "base", "shape_root", &roots[1]) ||
         !says(j, "target", "root", &roots[2]) || !says(j, "target", "shape_root", &roots[3])))
        st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                      "%s: the manifest's roots are not those of the tensor table", path);
    fmp_buf_release(&again);
    json_decref(j);
    return st;
}
