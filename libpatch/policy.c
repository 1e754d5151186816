/*
 * Reading a policy: strict JSON, every member known, every value in its range.  docs/policy.md.
 */
#include "policy.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/glob.h"
#include "base/status.h"

#define FILE_MAX  (1u << 20) /* bytes */
#define TEXTS_MAX 10000u
#define TEXT_MAX  1024u
#define MAX_DAYS  36500u

/* Who reads, for messages. */
typedef struct reader {
    fmp_policy *p;
    fmp_error *err;
} reader;

static fmp_status no_memory(reader *r)
{
    return fmp_fail(r->err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", r->p->path);
}

static const char *kind_of(const json_t *j)
{
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a decimal";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

/* "FILE: "limits[0].per": expected a string, found null". */
static fmp_status expected(reader *r, const char *where, const char *key, const char *what,
                           const json_t *found)
{
    const char *text = json_string_value(found);

    return fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                    text ? "%s: \"%s%s\": expected %s, found \"%.60s\""
                         : "%s: \"%s%s\": expected %s, found %s",
                    r->p->path, where, key, what, text ? text : kind_of(found));
}

/* A list in words, ", " between. */
static void join(const char *const *words, char *text, size_t cap)
{
    size_t n = 0;

    text[0] = 0;
    for (; *words; words++) {
        const size_t len = strlen(*words);

        if (n + len + 3 > cap)
            return;
        if (n) {
            memcpy(text + n, ", ", 2);
            n += 2;
        }
        memcpy(text + n, *words, len + 1);
        n += len;
    }
}

/* An object with no other members than `keys`. */
static fmp_status check_object(reader *r, const char *where, json_t *j, const char *const *keys)
{
    char known[240];
    const char *key;
    json_t *value;

    if (!json_is_object(j))
        return expected(r, where, "", "an object", j);
    json_object_foreach(j, key, value)
    {
        const char *const *k = keys;

        while (*k && strcmp(*k, key) != 0)
            k++;
        if (*k)
            continue;
        join(keys, known, sizeof known);
        return fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: \"%s%s%.60s\": there is no such member; expected one of %s",
                        r->p->path, where, *where ? "." : "", key, known);
    }
    return FMP_OK;
}

/* The getters leave what is not there as it is.  `where` ends with a dot or is empty. */
static fmp_status get_bool(reader *r, const char *where, const json_t *j, const char *key,
                           bool *ret)
{
    const json_t *value = json_object_get(j, key);

    if (!value)
        return FMP_OK;
    if (!json_is_boolean(value))
        return expected(r, where, key, "true or false", value);
    *ret = json_is_true(value);
    return FMP_OK;
}

static fmp_status get_integer(reader *r, const char *where, const json_t *j, const char *key,
                              uint64_t min, uint64_t max, bool *ret_there, uint64_t *ret)
{
    const json_t *value = json_object_get(j, key);

    if (ret_there)
        *ret_there = value != NULL;
    if (!value)
        return FMP_OK;
    if (!json_is_integer(value))
        return expected(r, where, key, "an integer", value);
    if (json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) < min ||
        (uint64_t)json_integer_value(value) > max)
        return fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: \"%s%s\": expected %llu to %llu, found %lld", r->p->path, where, key,
                        (unsigned long long)min, (unsigned long long)max,
                        (long long)json_integer_value(value));
    *ret = (uint64_t)json_integer_value(value);
    return FMP_OK;
}

/* A share is kept as the decimal that it is, so that a limit of 0.29 lets 29 of 100 pass. */
static fmp_status get_share(reader *r, const char *where, const json_t *j, const char *key,
                            bool *ret_there, uint64_t *ret)
{
    const json_t *value = json_object_get(j, key);
    const double share = json_number_value(value);
    double scaled, off;

    *ret_there = value != NULL;
    if (!value)
        return FMP_OK;
    if (!json_is_number(value) || !(share >= 0 && share <= 1))
        return expected(r, where, key, "a number from 0 to 1", value);
    scaled = share * (double)FMP_SHARE_UNIT;
    *ret = (uint64_t)(scaled + 0.5);
    off = scaled - (double)*ret;
    if (off > 1e-3 || off < -1e-3)
        return expected(r, where, key, "at most 12 decimals", value);
    return FMP_OK;
}

static fmp_status get_real(reader *r, const char *where, const json_t *j, const char *key,
                           bool *ret_there, double *ret)
{
    const json_t *value = json_object_get(j, key);

    *ret_there = value != NULL;
    if (!value)
        return FMP_OK;
    *ret = json_number_value(value);
    if (!json_is_number(value) || !(*ret >= 0 && *ret <= 1e300))
        return expected(r, where, key, "a number from 0 on", value);
    return FMP_OK;
}

static fmp_status add_text(reader *r, const char *where, const char *key, const json_t *value,
                           fmp_texts *t)
{
    const size_t len = json_string_length(value);

    if (!json_is_string(value) || !len || len > TEXT_MAX ||
        !fmp_text_is_clean(json_string_value(value), len))
        return expected(r, where, key, "strings of 1 to 1024 bytes without control characters",
                        value);
    t->at[t->n++] = json_string_value(value);
    return FMP_OK;
}

/* A list of strings or, with `or_one`, a string alone. */
static fmp_status get_texts(reader *r, const char *where, const json_t *j, const char *key,
                            bool or_one, fmp_texts *ret)
{
    const json_t *value = json_object_get(j, key);
    const size_t n = json_is_array(value) ? json_array_size(value) : 1;
    fmp_status st = FMP_OK;

    ret->there = value != NULL;
    if (!value)
        return FMP_OK;
    if (!json_is_array(value) && !(or_one && json_is_string(value)))
        return expected(r, where, key, or_one ? "a string or a list of them" : "a list of strings",
                        value);
    if (n > TEXTS_MAX)
        return fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: \"%s%s\": more than %u entries",
                        r->p->path, where, key, TEXTS_MAX);
    ret->at = fmp_calloc(n + 1, sizeof *ret->at);
    if (!ret->at)
        return no_memory(r);
    if (json_is_string(value))
        return add_text(r, where, key, value, ret);
    for (size_t i = 0; i < n && !st; i++)
        st = add_text(r, where, key, json_array_get(value, i), ret);
    return st;
}

/* A glob that is not valid would match nothing, and a rule with it would be none. */
static fmp_status check_globs(reader *r, const char *where, const char *key, const fmp_texts *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        if (!fmp_glob_is_valid(t->at[i]))
            return fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                            "%s: \"%s%s\": \"%.80s\" is no glob: expected sets to be closed, no "
                            "classes in them, and no backslash at the end",
                            r->p->path, where, key, t->at[i]);
    }
    return FMP_OK;
}

static fmp_status get_globs(reader *r, const char *where, const json_t *j, const char *key,
                            bool or_one, fmp_texts *ret)
{
    const fmp_status st = get_texts(r, where, j, key, or_one, ret);

    return st ? st : check_globs(r, where, key, ret);
}

/* A list that would allow nothing, or protect nothing, is a mistake where that makes no sense. */
static fmp_status not_empty(reader *r, const char *name, const fmp_texts *t)
{
    if (!t->there || t->n)
        return FMP_OK;
    return fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                    "%s: \"%s\": expected one entry at least, found none", r->p->path, name);
}

/* ---- the parts --------------------------------------------------------------------------------
 */

/* A key id (64 hexadecimal digits) or a public key as minisign writes it. */
static fmp_status read_key(reader *r, const char *text, uint8_t id[FMP_KEY_ID_LEN])
{
    fmp_public_key key;
    fmp_error why;
    fmp_status st;

    if (strlen(text) == 2 * (size_t)FMP_KEY_ID_LEN &&
        strspn(text, "0123456789abcdef") == 2 * (size_t)FMP_KEY_ID_LEN) {
        for (unsigned i = 0; i < FMP_KEY_ID_LEN; i++) {
            const char high = text[2 * i];
            const char low = text[2 * i + 1];

            id[i] = (uint8_t)((high <= '9' ? high - '0' : high - 'a' + 10) << 4 |
                              (low <= '9' ? low - '0' : low - 'a' + 10));
        }
        return FMP_OK;
    }
    st = fmp_public_key_parse(text, strlen(text), &key, &why);
    if (st == FMP_ENOMEM)
        return no_memory(r);
    if (st)
        return fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: \"signatures.keys\": expected key ids of 64 hexadecimal digits or "
                        "public keys in base64, found \"%.80s\"",
                        r->p->path, text);
    memcpy(id, key.id, FMP_KEY_ID_LEN);
    return FMP_OK;
}

static fmp_status read_keys(reader *r, const fmp_texts *keys)
{
    fmp_policy *p = r->p;

    p->keys = fmp_calloc(keys->n, sizeof *p->keys);
    if (!p->keys)
        return no_memory(r);
    for (uint32_t i = 0; i < keys->n; i++) {
        const fmp_status st = read_key(r, keys->at[i], p->keys[i]);

        if (st)
            return st;
        for (uint32_t k = 0; k < i; k++) {
            if (memcmp(p->keys[k], p->keys[i], FMP_KEY_ID_LEN) == 0)
                return fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                                "%s: \"signatures.keys\": \"%.80s\" is listed twice", p->path,
                                keys->at[i]);
        }
    }
    p->n_keys = keys->n;
    return FMP_OK;
}

static fmp_status read_signatures(reader *r, json_t *j)
{
    static const char *const keys[] = {"keys", "threshold", NULL};
    uint64_t threshold = 1;
    fmp_texts list = {0};
    fmp_status st = FMP_OK;

    if (!j)
        return FMP_OK;
    st = check_object(r, "signatures", j, keys);
    if (!st)
        st = get_texts(r, "signatures.", j, "keys", false, &list);
    if (!st && (!list.there || !list.n || list.n > 1000))
        st = fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                      "%s: \"signatures.keys\": expected 1 to 1000 keys, found %u", r->p->path,
                      list.n);
    if (!st)
        st = get_integer(r, "signatures.", j, "threshold", 1, list.n, NULL, &threshold);
    if (!st)
        st = read_keys(r, &list);
    if (!st)
        r->p->threshold = (uint32_t)threshold;
    r->p->n_rules++;
    fmp_free(list.at);
    return st;
}

static fmp_status read_tensors(reader *r, json_t *j)
{
    static const char *const keys[] = {
        "may_change", "must_not_change",        "must_change",       "no_added", "no_removed",
        "no_renamed", "same_dtypes_and_shapes", "no_new_nan_or_inf", NULL};
    static const char where[] = "tensors.";
    fmp_policy *p = r->p;
    fmp_status st;

    if (!j)
        return FMP_OK;
    st = check_object(r, "tensors", j, keys);
    if (!st)
        st = get_globs(r, where, j, "may_change", false, &p->may_change);
    if (!st)
        st = get_globs(r, where, j, "must_not_change", false, &p->must_not_change);
    if (!st)
        st = not_empty(r, "tensors.must_not_change", &p->must_not_change);
    if (!st)
        st = get_globs(r, where, j, "must_change", false, &p->must_change);
    if (!st)
        st = not_empty(r, "tensors.must_change", &p->must_change);
    if (!st)
        st = get_bool(r, where, j, "no_added", &p->no_added);
    if (!st)
        st = get_bool(r, where, j, "no_removed", &p->no_removed);
    if (!st)
        st = get_bool(r, where, j, "no_renamed", &p->no_renamed);
    if (!st)
        st = get_bool(r, where, j, "same_dtypes_and_shapes", &p->same_shapes);
    if (!st)
        st = get_bool(r, where, j, "no_new_nan_or_inf", &p->no_new_nan);
    p->n_rules += p->may_change.there + p->must_not_change.there + p->must_change.there +
                  p->no_added + p->no_removed + p->no_renamed + p->same_shapes + p->no_new_nan;
    return st;
}

static fmp_status read_per(reader *r, const char *where, const json_t *j, fmp_limit *l)
{
    static const char *const words[] = {"all", "layer", "tensor"};
    const json_t *per = json_object_get(j, "per");

    if (!per)
        return FMP_OK;
    for (unsigned i = 0; i < 3 && json_is_string(per); i++) {
        if (strcmp(json_string_value(per), words[i]) == 0) {
            l->per = i;
            return FMP_OK;
        }
    }
    return expected(r, where, "per", "\"all\", \"layer\" or \"tensor\"", per);
}

static fmp_status read_limit(reader *r, json_t *j, uint32_t i)
{
    static const char *const keys[] = {
        "tensors",         "per", "allow_new", "max_changed_share", "max_residual",
        "max_relative_l2", NULL};
    fmp_limit *l = &r->p->limits[i];
    char where[32];
    fmp_status st;

    snprintf(where, sizeof where, "limits[%u]", i);
    st = check_object(r, where, j, keys);
    snprintf(where, sizeof where, "limits[%u].", i);
    if (!st)
        st = get_globs(r, where, j, "tensors", true, &l->tensors);
    if (!st && l->tensors.there && !l->tensors.n)
        st = expected(r, where, "tensors", "one glob at least", json_object_get(j, "tensors"));
    if (!st)
        st = read_per(r, where, j, l);
    if (!st)
        st = get_bool(r, where, j, "allow_new", &l->allow_new);
    if (!st)
        st = get_share(r, where, j, "max_changed_share", &l->has_share, &l->share);
    if (!st)
        st = get_integer(r, where, j, "max_residual", 0, INT64_MAX, &l->has_residual, &l->residual);
    if (!st)
        st = get_real(r, where, j, "max_relative_l2", &l->has_l2, &l->l2);
    if (!st && !l->has_share && !l->has_residual && !l->has_l2)
        st = fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                      "%s: \"limits[%u]\": expected max_changed_share, max_residual or "
                      "max_relative_l2, found none",
                      r->p->path, i);
    r->p->n_rules++;
    return st;
}

static fmp_status read_limits(reader *r, const json_t *j)
{
    const size_t n = json_array_size(j);
    fmp_status st = FMP_OK;

    if (!j)
        return FMP_OK;
    if (!json_is_array(j) || n > 1000)
        return expected(r, "", "limits", "a list of at most 1000 objects", j);
    r->p->limits = fmp_calloc(n + 1, sizeof *r->p->limits);
    if (!r->p->limits)
        return no_memory(r);
    r->p->n_limits = (uint32_t)n;
    for (uint32_t i = 0; i < n && !st; i++)
        st = read_limit(r, json_array_get(j, i), i);
    return st;
}

static fmp_status read_files(reader *r, json_t *j)
{
    static const char *const keys[] = {"may_change", NULL};
    fmp_status st;

    if (!j)
        return FMP_OK;
    st = check_object(r, "files", j, keys);
    if (!st)
        st = get_globs(r, "files.", j, "may_change", false, &r->p->files);
    r->p->n_rules += r->p->files.there;
    return st;
}

static fmp_status read_lineage(reader *r, json_t *j)
{
    static const char *const keys[] = {"ids", "min_sequence", "require_not_after", "max_age_days",
                                       NULL};
    static const char where[] = "lineage.";
    fmp_policy *p = r->p;
    fmp_status st;

    if (!j)
        return FMP_OK;
    p->has_lineage = true;
    p->n_rules++;
    st = check_object(r, "lineage", j, keys);
    if (!st)
        st = get_texts(r, where, j, "ids", false, &p->lineage_ids);
    if (!st)
        st = not_empty(r, "lineage.ids", &p->lineage_ids);
    if (!st)
        st = get_integer(r, where, j, "min_sequence", 0, (1ull << 53) - 1, NULL, &p->min_sequence);
    if (!st)
        st = get_bool(r, where, j, "require_not_after", &p->require_not_after);
    if (!st)
        st = get_integer(r, where, j, "max_age_days", 1, MAX_DAYS, &p->has_max_age,
                         &p->max_age_days);
    return st;
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static fmp_status read_version(reader *r, const json_t *j)
{
    const json_t *version = json_object_get(j, "fmpatch_policy");

    if (!version)
        return fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: not a policy: it has no member \"fmpatch_policy\"", r->p->path);
    if (!json_is_integer(version))
        return expected(r, "", "fmpatch_policy", "an integer", version);
    if (json_integer_value(version) != 1)
        return fmp_fail(r->err, FMP_ENOTSUP, FMP_NO_OFFSET,
                        "%s: a policy of version %lld, only 1 is known", r->p->path,
                        (long long)json_integer_value(version));
    return FMP_OK;
}

static fmp_status read_all(reader *r, json_t *j)
{
    static const char *const keys[] = {"fmpatch_policy", "description", "allow_unmatched_globs",
                                       "signatures",     "kinds",       "max_bytes",
                                       "tensors",        "limits",      "files",
                                       "lineage",        NULL};
    const json_t *description = json_object_get(j, "description");
    fmp_policy *p = r->p;
    fmp_status st = check_object(r, "", j, keys);

    if (!st)
        st = read_version(r, j);
    if (!st && description && !json_is_string(description))
        st = expected(r, "", "description", "a string", description);
    if (!st)
        st = get_bool(r, "", j, "allow_unmatched_globs", &p->allow_unmatched);
    if (!st)
        st = read_signatures(r, json_object_get(j, "signatures"));
    if (!st)
        st = get_texts(r, "", j, "kinds", false, &p->kinds);
    if (!st)
        st = not_empty(r, "kinds", &p->kinds);
    if (!st)
        st = get_integer(r, "", j, "max_bytes", 0, INT64_MAX, &p->has_max_bytes, &p->max_bytes);
    if (!st)
        st = read_tensors(r, json_object_get(j, "tensors"));
    if (!st)
        st = read_limits(r, json_object_get(j, "limits"));
    if (!st)
        st = read_files(r, json_object_get(j, "files"));
    if (!st)
        st = read_lineage(r, json_object_get(j, "lineage"));
    p->n_rules += p->kinds.there + p->has_max_bytes;
    if (!st && !p->n_rules)
        st = fmp_fail(r->err, FMP_ECORRUPT, FMP_NO_OFFSET,
                      "%s: a policy without rules: everything would pass", p->path);
    return st;
}

static fmp_status parse(fmp_policy *p, const char *text, size_t len, fmp_error *err)
{
    reader r = {.p = p, .err = err};
    json_error_t where;

    p->doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    if (!p->doc)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: line %d: %s", p->path, where.line,
                        where.text);
    return read_all(&r, p->doc);
}

fmp_status fmp_policy_open(const char *path, fmp_policy **ret, fmp_error *err)
{
    fmp_policy *p = fmp_calloc(1, sizeof *p);
    uint8_t *text = NULL;
    size_t len;
    fmp_status st;

    if (!p)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
    p->path = fmp_strndup(path, strlen(path));
    st = p->path ? fmp_file_read_all(path, FILE_MAX, &text, &len, err)
                 : fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", path);
    if (!st)
        st = parse(p, (const char *)text, len, err);
    fmp_free(text);
    if (st)
        fmp_policy_close(p);
    else
        *ret = p;
    return st;
}

/* Takes NULL, and any state that fmp_policy_open() can leave half built. */
void fmp_policy_close(fmp_policy *policy)
{
    if (!policy)
        return;
    for (uint32_t i = 0; i < policy->n_limits; i++)
        fmp_free(policy->limits[i].tensors.at);
    fmp_free(policy->limits);
    fmp_free(policy->kinds.at);
    fmp_free(policy->may_change.at);
    fmp_free(policy->must_not_change.at);
    fmp_free(policy->must_change.at);
    fmp_free(policy->files.at);
    fmp_free(policy->lineage_ids.at);
    fmp_free(policy->keys);
    fmp_free(policy->path);
    json_decref(policy->doc);
    fmp_free(policy);
}

bool fmp_policy_has_lineage(const fmp_policy *policy)
{
    return policy->has_lineage;
}
