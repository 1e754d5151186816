/*
 * The manifest: canonical JSON through jansson.  FORMAT.md, "Manifest".
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/sha256.h"
#include "base/status.h"
#include "create.h"
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
    fmp_buf text = {0};
    json_t *j = NULL;
    fmp_status st = parse_extra(json ? json : "{}", &j, err);

    if (st)
        return st;
    st = set_kind(j, kind, err);
    if (!st) {
        char *copy = dump(j, &text) ? fmp_strndup((const char *)text.data, text.len) : NULL;

        if (copy)
            *ret = copy;
        else
            st = no_memory(err);
    }
    fmp_buf_release(&text);
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

/* ---- making -----------------------------------------------------------------------------------
 */

static fmp_status put_files(const fmp_store *s, bool sha256, json_t *list, fmp_error *err)
{
    for (uint32_t i = 0; i < s->n_files; i++) {
        json_t *f =
            json_pack("{s:s, s:I}", "name", s->files[i].name, "size", (json_int_t)s->files[i].size);

        if (json_array_append_new(list, f) != 0)
            return no_memory(err);
        if (sha256 && s->files[i].in.open) {
            char hex[65];
            const fmp_status st = fmp_sha256_file(&s->files[i].in, hex, err);

            if (st)
                return st;
            if (json_object_set_new(f, "sha256", json_string(hex)) != 0)
                return no_memory(err);
        }
    }
    return FMP_OK;
}

static fmp_status put_side(const fmp_creation *c, bool target, json_t *into, fmp_error *err)
{
    const fmp_store *s = target ? c->target : c->base;
    char root_hex[65], shape_hex[65];
    fmp_digest root, shape;
    json_t *files = json_array();
    uint64_t bytes = 0;
    json_t *side;
    fmp_status st;

    fmp_table_roots(&c->m.table, target, &root, &shape);
    fmp_digest_hex(&root, root_hex);
    fmp_digest_hex(&shape, shape_hex);
    for (uint32_t i = 0; i < s->n_tensors; i++)
        bytes += s->tensors[i].n_bytes;
    side =
        json_pack("{s:I, s:o, s:s, s:s, s:I}", "bytes", (json_int_t)bytes, "files", files, "root",
                  root_hex, "shape_root", shape_hex, "tensors", (json_int_t)s->n_tensors);
    if (json_object_set_new(into, target ? "target" : "base", side) != 0)
        return no_memory(err);
    st = put_files(s, c->o.sha256, files, err);
    return st;
}

static int put_changes(const fmp_creation *c, json_t *into)
{
    static const char *const names[] = {"unchanged", "residual", "whole", "added",
                                        "removed",   "alias",    "set"};
    json_int_t count[7] = {0};
    json_t *j = json_object();
    uint64_t changed = 0;
    int bad = 0;

    for (uint32_t i = 0; i < c->m.table.n_rows; i++)
        count[c->m.table.rows[i].state]++;
    for (uint32_t i = 0; i < c->payload.frames.n; i++) {
        if (c->payload.frames.entry[i].domain == FMP_DOMAIN_TENSORS)
            changed += c->payload.frames.entry[i].n_changed;
    }
    for (unsigned i = 0; i < 7; i++)
        bad |= count[i] && json_object_set_new(j, names[i], json_integer(count[i]));
    bad |= json_object_set_new(j, "units", json_integer((json_int_t)changed));
    return bad | json_object_set_new(into, "changes", j);
}

static fmp_status fill(const fmp_creation *c, json_t *j, fmp_error *err)
{
    char tool[64];
    int bad = 0;
    fmp_status st = put_side(c, false, j, err);

    if (!st)
        st = put_side(c, true, j, err);
    if (st)
        return st;
    snprintf(tool, sizeof tool, "fmpatch %s", fmp_version());
    bad |= put_changes(c, j);
    bad |= json_object_set_new(j, "format", json_integer(FMP_FORMAT_VERSION));
    bad |= json_object_set_new(j, "profile", json_string("open"));
    bad |= json_object_set_new(j, "tool", json_string(tool));
    if (!json_object_get(j, "kind"))
        bad |= json_object_set_new(j, "kind", json_string("task"));
    if (c->o.date)
        bad |= json_object_set_new(j, "date", json_string(c->o.date));
    return bad ? no_memory(err) : FMP_OK;
}

fmp_status fmp_manifest_make(const fmp_creation *c, char **ret, fmp_error *err)
{
    json_t *j = NULL;
    fmp_buf text = {0};
    fmp_status st = c->o.manifest_json ? parse_extra(c->o.manifest_json, &j, err) : FMP_OK;

    if (st)
        return st;
    if (!j)
        j = json_object();
    st = j ? fill(c, j, err) : no_memory(err);
    if (!st) {
        *ret = dump(j, &text) ? fmp_strndup((const char *)text.data, text.len) : NULL;
        st = *ret ? FMP_OK : no_memory(err);
    }
    fmp_buf_release(&text);
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

    if (!profile || strcmp(profile, "open") != 0)
        return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                        "%s: profile \"%s\", only \"open\" is known", path, profile ? profile : "");
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
