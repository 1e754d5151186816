/*
 * Judging a patch by a policy: what its tables, its manifest and its signatures tell.  Nothing
 * stops at the first finding.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/glob.h"
#include "base/status.h"
#include "create.h"
#include "lineage.h"
#include "policy_judge.h"
#include "rebuild.h"

#define DAY 86400

/* ---- the file ---------------------------------------------------------------------------------
 */

static bool is_revoked(const fmp_judge *j, const uint8_t id[FMP_KEY_ID_LEN])
{
    for (uint32_t i = 0; j->o.ring && i < fmp_keyring_count(j->o.ring); i++) {
        fmp_public_key key;
        bool revoked;

        (void)fmp_keyring_at(j->o.ring, i, &key, &revoked);
        if (revoked && memcmp(key.id, id, FMP_KEY_ID_LEN) == 0)
            return true;
    }
    return false;
}

/* No key stands in two records (FORMAT.md, G4): signatures are distinct keys. */
static void check_signatures(fmp_judge *j)
{
    const fmp_policy *p = j->policy;
    const uint32_t n = fmp_patch_summarize(j->p).n_signatures;
    char expected[FMP_SAID_MAX], found[FMP_SAID_MAX];
    uint32_t n_good = 0;
    uint32_t n_revoked = 0;

    for (uint32_t i = 0; i < n; i++) {
        const fmp_signature_info s = fmp_patch_signature(j->p, i);
        bool listed = false;

        for (uint32_t k = 0; k < p->n_keys; k++)
            listed |= memcmp(p->keys[k], s.key.id, FMP_KEY_ID_LEN) == 0;
        n_revoked += s.valid && listed && is_revoked(j, s.key.id);
        n_good += s.valid && listed && !is_revoked(j, s.key.id);
    }
    if (n_good >= p->threshold)
        return;
    snprintf(expected, sizeof expected, "signatures by %u of %u listed keys", p->threshold,
             p->n_keys);
    snprintf(found, sizeof found, "%u by listed keys, %u signatures in all", n_good, n);
    fmp_judge_add(j, (fmp_subject){.rule = FMP_RULE_SIGNATURES, .member = "signatures"}, expected,
                  found,
                  n_revoked ? "too few of the listed keys have signed; some that have are revoked"
                            : "too few of the listed keys have signed");
}

/* The words of a list, as far as they fit. */
static void list_text(const fmp_texts *t, char *text, size_t cap)
{
    size_t n = (size_t)snprintf(text, cap, "one of");

    for (uint32_t i = 0; i < t->n && n + strlen(t->at[i]) + 8 < cap; i++)
        n += (size_t)snprintf(text + n, cap - n, "%s \"%s\"", i ? "," : "", t->at[i]);
}

static fmp_status check_kind(fmp_judge *j, fmp_error *err)
{
    char kind[100], expected[FMP_SAID_MAX];
    const fmp_status st = fmp_manifest_kind(j->p->manifest, kind, sizeof kind, err);

    if (st)
        return st;
    for (uint32_t i = 0; i < j->policy->kinds.n; i++) {
        if (strcmp(j->policy->kinds.at[i], kind) == 0)
            return FMP_OK;
    }
    list_text(&j->policy->kinds, expected, sizeof expected);
    fmp_judge_add(j, (fmp_subject){.rule = FMP_RULE_KINDS, .member = "kinds"}, expected, kind,
                  "the patch is of a kind that the policy does not list");
    return FMP_OK;
}

static void check_size(fmp_judge *j)
{
    char expected[FMP_SAID_MAX], found[FMP_SAID_MAX];

    if (!j->policy->has_max_bytes || j->p->file.size <= j->policy->max_bytes)
        return;
    snprintf(expected, sizeof expected, "at most %llu bytes",
             (unsigned long long)j->policy->max_bytes);
    snprintf(found, sizeof found, "%llu", (unsigned long long)j->p->file.size);
    fmp_judge_add(j, (fmp_subject){.rule = FMP_RULE_MAX_BYTES, .member = "max_bytes"}, expected,
                  found, "the patch file is too large");
}

static void check_files(fmp_judge *j)
{
    for (uint32_t i = 0; i < fmp_patch_file_count(j->p); i++) {
        const fmp_patch_file f = fmp_patch_file_at(j->p, i);
        const char *what = f.state == FMP_FILE_ADDED     ? "added"
                           : f.state == FMP_FILE_REMOVED ? "removed"
                                                         : "changed";

        if (f.state == FMP_FILE_SAME || f.state == FMP_FILE_WEIGHTS ||
            fmp_texts_match(&j->policy->files, f.name, true))
            continue;
        fmp_judge_add(
            j,
            (fmp_subject){
                .rule = FMP_RULE_SIDE_FILES, .member = "files.may_change", .file = f.name},
            "unchanged", what, "side file \"%.200s\" is %s, and no glob allows that", f.name, what);
    }
}

/* ---- lineage ----------------------------------------------------------------------------------
 */

static void date_text(int64_t seconds, char *text, size_t cap)
{
    const time_t t = (time_t)seconds;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || !strftime(text, cap, "%Y-%m-%dT%H:%M:%SZ", &tm))
        snprintf(text, cap, "%lld s", (long long)seconds);
}

static void check_dates(fmp_judge *j, const fmp_lineage *l, int64_t now)
{
    const fmp_policy *p = j->policy;
    const fmp_subject expiry = {.rule = FMP_RULE_NOT_AFTER, .member = "lineage"};
    const fmp_subject age = {.rule = FMP_RULE_MAX_AGE, .member = "lineage.max_age_days"};
    char expected[FMP_SAID_MAX], found[FMP_SAID_MAX];

    date_text(now, found, sizeof found);
    if (l->has_not_after && now > l->not_after) {
        date_text(l->not_after, expected, sizeof expected);
        fmp_judge_add(j, expiry, expected, found, "the patch has expired");
    }
    if (p->require_not_after && !l->has_not_after)
        fmp_judge_add(j, expiry, "a not_after in the manifest's lineage", "none",
                      "the patch does not say when it expires");
    if (!p->has_max_age)
        return;
    snprintf(expected, sizeof expected, "at most %llu days old, and not from the future",
             (unsigned long long)p->max_age_days);
    if (!l->has_date) {
        fmp_judge_add(j, age, expected, "no date", "the patch does not say when it was made");
        return;
    }
    date_text(l->date, found, sizeof found);
    if (now - l->date > (int64_t)p->max_age_days * DAY)
        fmp_judge_add(j, age, expected, found, "the patch is too old");
    else if (l->date - now > DAY) /* clocks differ, and dates are days as often as moments */
        fmp_judge_add(j, age, expected, found, "the patch is dated in the future");
}

static void check_sequence(fmp_judge *j, const fmp_lineage *l, const fmp_mark *mark)
{
    const fmp_subject s = {.rule = FMP_RULE_LINEAGE_SEQUENCE, .member = "lineage"};
    const fmp_digest *id = (const fmp_digest *)(const void *)j->p->summary.id;
    char expected[FMP_SAID_MAX], found[FMP_SAID_MAX];

    snprintf(found, sizeof found, "%llu", (unsigned long long)l->sequence);
    if (l->sequence < j->policy->min_sequence) {
        snprintf(expected, sizeof expected, "%llu or more",
                 (unsigned long long)j->policy->min_sequence);
        fmp_judge_add(j, (fmp_subject){.rule = s.rule, .member = "lineage.min_sequence"}, expected,
                      found, "the sequence is below the policy's first");
    }
    if (!j->o.record) {
        fmp_judge_add(j, s, "a record of lineages", "none",
                      "whether the patch is newer cannot be decided without a record of lineages");
        return;
    }
    if (fmp_mark_allows(mark, l->sequence, id))
        return;
    snprintf(expected, sizeof expected, "%llu to %llu", (unsigned long long)mark->sequence + 1,
             (unsigned long long)(mark->sequence + FMP_LINEAGE_JUMP_MAX));
    fmp_judge_add(j, s, expected, found, "%s",
                  l->sequence < mark->sequence ? "an older patch than the last that was accepted"
                  : l->sequence == mark->sequence
                      ? "another patch of this sequence was accepted already"
                      : "the sequence jumps too far ahead");
}

static fmp_status find_now(const fmp_judge *j, int64_t *ret, fmp_error *err)
{
    if (!j->o.now) {
        *ret = (int64_t)time(NULL);
        return FMP_OK;
    }
    return fmp_date_parse(j->o.now, ret)
               ? FMP_OK
               : fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                          "\"%.60s\": expected a date such as 2026-01-31T23:59:59Z", j->o.now);
}

static fmp_status check_lineage(fmp_judge *j, fmp_lineage *l, fmp_error *err)
{
    const fmp_subject s = {.rule = FMP_RULE_LINEAGE_ID, .member = "lineage"};
    fmp_mark mark = {.there = false};
    char expected[FMP_SAID_MAX];
    int64_t now;
    fmp_status st = find_now(j, &now, err);

    if (!st)
        st = fmp_lineage_read(j->p->manifest, l, err);
    if (st)
        return st;
    if (!l->there || l->bad[0]) {
        fmp_judge_add(j, s, "a lineage with id and sequence", l->there ? l->bad : "none",
                      "the manifest does not say which lineage the patch belongs to");
        return FMP_OK;
    }
    list_text(&j->policy->lineage_ids, expected, sizeof expected);
    if (j->policy->lineage_ids.there) {
        bool listed = false;

        for (uint32_t i = 0; i < j->policy->lineage_ids.n; i++)
            listed |= strcmp(j->policy->lineage_ids.at[i], l->id) == 0;
        if (!listed)
            fmp_judge_add(j, (fmp_subject){.rule = s.rule, .member = "lineage.ids"}, expected,
                          l->id, "the patch belongs to a lineage that the policy does not list");
    }
    if (j->o.record)
        st = fmp_mark_read(j->o.record, l->id, &mark, err);
    if (st)
        return st;
    check_sequence(j, l, &mark);
    check_dates(j, l, now);
    return FMP_OK;
}

/* After everything else has passed. */
static fmp_status advance(fmp_judge *j, const fmp_lineage *l, fmp_error *err)
{
    const fmp_digest *id = (const fmp_digest *)(const void *)j->p->summary.id;
    char found[32];
    bool set;
    const fmp_status st = fmp_mark_advance(j->o.record, l->id, l->sequence, id, &set, err);

    snprintf(found, sizeof found, "%llu", (unsigned long long)l->sequence);
    if (!st && !set)
        fmp_judge_add(j, (fmp_subject){.rule = FMP_RULE_LINEAGE_SEQUENCE, .member = "lineage"},
                      "a later one", found, "another patch of this lineage was accepted meanwhile");
    return st;
}

/* ---- which tensors change ---------------------------------------------------------------------
 */

bool fmp_row_changed(const fmp_table *t, uint32_t row)
{
    const fmp_row *r = &t->rows[row];

    if (r->base_schema == FMP_NONE || r->target_schema == FMP_NONE)
        return true;
    return !fmp_same_shape(fmp_table_info(t, row, false), fmp_table_info(t, row, true)) ||
           !fmp_digest_equal(&t->digests[r->base_digest], &t->digests[r->target_digest]);
}

/* The base tensor that a new name stands for, when its old name is gone; else FMP_NONE. */
static uint32_t renamed_from(const fmp_table *t, uint32_t row)
{
    const fmp_row *r = &t->rows[row];
    uint32_t source;

    if (r->base_schema != FMP_NONE || r->target_schema == FMP_NONE || r->state == FMP_ALIAS ||
        r->map == FMP_NONE)
        return FMP_NONE;
    source = t->maps[r->map].source;
    return t->rows[source].target_schema == FMP_NONE ? source : FMP_NONE;
}

static void shape_text(const fmp_tensor_info *t, char *text, size_t cap)
{
    size_t n = (size_t)snprintf(text, cap, "%s [", t->dtype);

    for (uint32_t d = 0; d < t->rank && n + 24 < cap; d++)
        n += (size_t)snprintf(text + n, cap - n, "%s%llu", d ? ", " : "",
                              (unsigned long long)t->shape[d]);
    snprintf(text + n, cap - n, "]");
}

static void check_shape(fmp_judge *j, uint32_t row, uint32_t old_row)
{
    const fmp_tensor_info old = fmp_table_info(&j->p->table, old_row, false);
    const fmp_tensor_info now = fmp_table_info(&j->p->table, row, true);
    char expected[FMP_SAID_MAX], found[FMP_SAID_MAX];

    if (fmp_same_shape(old, now))
        return;
    shape_text(&old, expected, sizeof expected);
    shape_text(&now, found, sizeof found);
    fmp_judge_add(j,
                  (fmp_subject){.rule = FMP_RULE_SAME_SHAPES,
                                .member = "tensors.same_dtypes_and_shapes",
                                .tensor = fmp_judge_name(j, row)},
                  expected, found, "the tensor has another dtype or shape");
}

/* Added, removed, renamed.  `renamed`: a bit for each base row whose tensor lives on. */
static void check_presence(fmp_judge *j, uint32_t row, const uint8_t *renamed)
{
    const fmp_policy *p = j->policy;
    const fmp_row *r = &j->p->table.rows[row];
    const uint32_t from = renamed_from(&j->p->table, row);
    const char *name = fmp_judge_name(j, row);

    if (from != FMP_NONE && p->no_renamed)
        fmp_judge_add(j,
                      (fmp_subject){.rule = FMP_RULE_NO_RENAMED,
                                    .member = "tensors.no_renamed",
                                    .tensor = name},
                      fmp_judge_name(j, from), name, "the tensor is renamed");
    if (from == FMP_NONE && r->base_schema == FMP_NONE && p->no_added)
        fmp_judge_add(
            j,
            (fmp_subject){.rule = FMP_RULE_NO_ADDED, .member = "tensors.no_added", .tensor = name},
            "no such tensor", "added", "the tensor is new");
    if (r->target_schema == FMP_NONE && p->no_removed && !(renamed[row / 8] >> (row % 8) & 1))
        fmp_judge_add(j,
                      (fmp_subject){.rule = FMP_RULE_NO_REMOVED,
                                    .member = "tensors.no_removed",
                                    .tensor = name},
                      "the tensor", "removed", "the tensor is gone");
}

static void check_change(fmp_judge *j, uint32_t row)
{
    const fmp_policy *p = j->policy;
    const char *name = fmp_judge_name(j, row);

    if (!fmp_row_changed(&j->p->table, row))
        return;
    if (p->may_change.there && !fmp_texts_match(&p->may_change, name, false))
        fmp_judge_add(j,
                      (fmp_subject){.rule = FMP_RULE_MAY_CHANGE,
                                    .member = "tensors.may_change",
                                    .tensor = name},
                      "unchanged", "changed", "the tensor changes, and no glob allows that");
    if (fmp_texts_match(&p->must_not_change, name, false))
        fmp_judge_add(j,
                      (fmp_subject){.rule = FMP_RULE_MUST_NOT_CHANGE,
                                    .member = "tensors.must_not_change",
                                    .tensor = name},
                      "unchanged", "changed", "the tensor changes, and a glob protects it");
}

static void check_must_change(fmp_judge *j)
{
    const fmp_texts *globs = &j->policy->must_change;

    for (uint32_t i = 0; i < globs->n; i++) {
        uint32_t row = 0;

        while (row < j->p->table.n_rows &&
               !(fmp_row_changed(&j->p->table, row) &&
                 fmp_glob_matches(globs->at[i], fmp_judge_name(j, row), false)))
            row++;
        if (row == j->p->table.n_rows)
            fmp_judge_add(
                j, (fmp_subject){.rule = FMP_RULE_MUST_CHANGE, .member = "tensors.must_change"},
                "a changed tensor that it matches", "none",
                "nothing that matches \"%.100s\" changes", globs->at[i]);
    }
}

static fmp_status check_tensors(fmp_judge *j, fmp_error *err)
{
    const fmp_table *t = &j->p->table;
    uint8_t *renamed = fmp_calloc(t->n_rows / 8 + 1, 1);

    if (!renamed)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    for (uint32_t i = 0; i < t->n_rows; i++) {
        const uint32_t from = renamed_from(t, i);

        if (from != FMP_NONE)
            renamed[from / 8] |= (uint8_t)(1u << (from % 8));
    }
    for (uint32_t i = 0; i < t->n_rows; i++) {
        const uint32_t from = renamed_from(t, i);
        const bool both =
            t->rows[i].base_schema != FMP_NONE && t->rows[i].target_schema != FMP_NONE;

        check_change(j, i);
        check_presence(j, i, renamed);
        if (j->policy->same_shapes && (both || from != FMP_NONE))
            check_shape(j, i, both ? i : from);
    }
    check_must_change(j);
    fmp_free(renamed);
    return FMP_OK;
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static fmp_status judge_all(fmp_judge *j, fmp_error *err)
{
    const fmp_policy *p = j->policy;
    fmp_lineage lineage;
    fmp_status st = FMP_OK;

    if (p->threshold)
        check_signatures(j);
    if (p->kinds.there)
        st = check_kind(j, err);
    check_size(j);
    if (!st)
        st = check_tensors(j, err);
    fmp_judge_unmatched(j, "tensors.must_not_change", &p->must_not_change);
    if (!st && (p->n_limits || p->no_new_nan))
        st = fmp_judge_measures(j, err);
    if (p->files.there)
        check_files(j);
    if (!st && p->has_lineage)
        st = check_lineage(j, &lineage, err);
    if (!st && j->no_memory)
        st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    if (!st && p->has_lineage && !fmp_policy_results_count(j->results))
        st = advance(j, &lineage, err);
    return st;
}

fmp_status fmp_policy_check(const fmp_policy *policy, const fmp_patch *patch, const fmp_store *base,
                            const fmp_policy_options *options, fmp_policy_results **ret,
                            fmp_error *err)
{
    fmp_judge j = {.policy = policy, .p = patch, .base = base};
    fmp_status st;

    if (options)
        memcpy(&j.o, options, options->size < sizeof j.o ? options->size : sizeof j.o);
    j.results = fmp_policy_results_new();
    if (!j.results)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
    st = judge_all(&j, err);
    if (st)
        fmp_policy_results_free(j.results);
    else
        *ret = j.results;
    return st;
}
