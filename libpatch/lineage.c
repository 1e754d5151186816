/*
 * Lines of versions and the record of them.  See lineage.h.
 */
#include "lineage.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/status.h"
#include "crypto/access.h"

#define RECORD_MAX (4u << 20) /* bytes */
#define WHAT       "a record of lineages"
#define VERSION    "fmpatch_lineages"
#define LIST       "lineages"
#define LOCK       ".lock"

/* ---- dates ------------------------------------------------------------------------------------
 */

static bool digits(const char *s, unsigned n, int *ret)
{
    *ret = 0;
    for (unsigned i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *ret = *ret * 10 + (s[i] - '0');
    }
    return true;
}

/* Days from 1970-01-01: whole years before this one, then the days of its months. */
static int64_t days_since_1970(int year, int month, int day)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    const int64_t y = year - 1;
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return y * 365 + y / 4 - y / 100 + y / 400 - 719162 + before[month - 1] + (leap && month > 2) +
           day - 1;
}

static bool day_exists(int year, int month, int day)
{
    static const int length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return year >= 1 && month >= 1 && month <= 12 && day >= 1 &&
           day <= length[month - 1] + (leap && month == 2);
}

/* "Z" or "+hh:mm", as seconds to subtract. */
static bool offset_parse(const char *s, int *ret)
{
    int hours, minutes;

    *ret = 0;
    if ((s[0] == 'Z' || s[0] == 'z') && !s[1])
        return true;
    if ((s[0] != '+' && s[0] != '-') || strlen(s) != 6 || s[3] != ':' ||
        !digits(s + 1, 2, &hours) || !digits(s + 4, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret = (s[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

bool fmp_date_parse(const char *text, int64_t *ret)
{
    int year, month, day, hour, minute, second, offset;
    const char *rest;

    if (strlen(text) < 20 || text[4] != '-' || text[7] != '-' || !strchr("Tt ", text[10]) ||
        text[13] != ':' || text[16] != ':')
        return false;
    if (!digits(text, 4, &year) || !digits(text + 5, 2, &month) || !digits(text + 8, 2, &day) ||
        !digits(text + 11, 2, &hour) || !digits(text + 14, 2, &minute) ||
        !digits(text + 17, 2, &second))
        return false;
    if (!day_exists(year, month, day) || hour > 23 || minute > 59 || second > 60)
        return false;
    rest = text + 19;
    if (*rest == '.') {
        const size_t n = strspn(rest + 1, "0123456789");

        if (!n)
            return false;
        rest += 1 + n;
    }
    if (!offset_parse(rest, &offset))
        return false;
    *ret = days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    return true;
}

/* ---- what a manifest says ---------------------------------------------------------------------
 */

static void complain(fmp_lineage *l, const char *what)
{
    const size_t len = strlen(what);

    memcpy(l->bad, what, len < sizeof l->bad ? len + 1 : sizeof l->bad);
    l->bad[sizeof l->bad - 1] = 0;
}

static void read_members(const json_t *j, fmp_lineage *l)
{
    const json_t *id = json_object_get(j, "id");
    const json_t *sequence = json_object_get(j, "sequence");
    const json_t *until = json_object_get(j, "not_after");
    const size_t len = json_string_length(id);

    if (!json_is_string(id) || !len || len > FMP_LINEAGE_ID_MAX ||
        !fmp_text_is_clean(json_string_value(id), len))
        complain(l, "its id is not 1 to 128 bytes of clean text");
    else
        memcpy(l->id, json_string_value(id), len + 1);
    if (!json_is_integer(sequence) || json_integer_value(sequence) < 0)
        complain(l, "its sequence is not an integer from 0 on");
    else
        l->sequence = (uint64_t)json_integer_value(sequence);
    l->has_not_after = until != NULL;
    if (until &&
        (!json_is_string(until) || !fmp_date_parse(json_string_value(until), &l->not_after)))
        complain(l, "its not_after is no date of RFC 3339");
}

fmp_status fmp_lineage_read(const char *manifest, fmp_lineage *ret, fmp_error *err)
{
    json_t *j = json_loads(manifest, 0, NULL);
    const json_t *lineage = json_object_get(j, "lineage");
    const char *date = json_string_value(json_object_get(j, "date"));

    *ret = (fmp_lineage){.there = lineage != NULL};
    if (!j)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory"); /* it was read before */
    ret->has_date = date && fmp_date_parse(date, &ret->date);
    if (lineage && !json_is_object(lineage))
        complain(ret, "it is not an object");
    else if (lineage)
        read_members(lineage, ret);
    json_decref(j);
    return FMP_OK;
}

/* ---- the record -------------------------------------------------------------------------------
 */

/* The record's directory, held open, and its name in there. */
typedef struct place {
    fmp_keydir dir;
    char *dir_path;
    char *lock; /* name of the lock file */
    const char *name;
} place;

static void place_close(place *p)
{
    fmp_keydir_close(&p->dir);
    fmp_free(p->dir_path);
    fmp_free(p->lock);
}

static fmp_status place_open(place *p, const char *record, fmp_error *err)
{
    const char *slash = strrchr(record, '/');
    const size_t dir_len = slash == record ? 1 : slash ? (size_t)(slash - record) : 1;
    fmp_status st;

    *p = (place){.name = slash ? slash + 1 : record};
    if (!*p->name || strcmp(p->name, ".") == 0 || strcmp(p->name, "..") == 0)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "\"%s\": not the name of a file", record);
    p->dir_path = fmp_strndup(slash ? record : ".", dir_len);
    p->lock = fmp_malloc(strlen(p->name) + sizeof LOCK);
    if (!p->dir_path || !p->lock) {
        place_close(p);
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", record);
    }
    memcpy(p->lock, p->name, strlen(p->name));
    memcpy(p->lock + strlen(p->name), LOCK, sizeof LOCK);
    st = fmp_keydir_open(&p->dir, NULL, p->dir_path, WHAT, NULL, err);
    if (st)
        place_close(p);
    return st;
}

static bool mark_parse(const json_t *j, fmp_mark *ret)
{
    const json_t *sequence = json_object_get(j, "sequence");
    const char *patch = json_string_value(json_object_get(j, "patch"));

    if (json_object_size(j) != 2 || !json_is_integer(sequence) ||
        json_integer_value(sequence) < 0 || !patch || !fmp_digest_from_hex(patch, &ret->patch))
        return false;
    ret->there = true;
    ret->sequence = (uint64_t)json_integer_value(sequence);
    return true;
}

static bool record_is_right(const json_t *j)
{
    const json_t *version = json_object_get(j, VERSION);
    json_t *list = json_object_get(j, LIST);
    const char *id;
    json_t *value;
    fmp_mark mark;

    if (json_object_size(j) != 2 || !json_is_integer(version) || json_integer_value(version) != 1 ||
        !json_is_object(list))
        return false;
    json_object_foreach(list, id, value)
    {
        if (!mark_parse(value, &mark))
            return false;
    }
    return true;
}

static json_t *empty_record(void)
{
    return json_pack("{s:i, s:{}}", VERSION, 1, LIST);
}

/* All of the record, which is small; that of no marks when there is no file. */
static fmp_status record_load(const place *p, const char *record, json_t **ret, fmp_error *err)
{
    char *text = fmp_malloc(RECORD_MAX);
    json_error_t where;
    fmp_error found = {.status = FMP_OK};
    size_t len = 0;
    json_t *j = NULL;
    fmp_status st;

    if (!text)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", record);
    st = fmp_keydir_read(&p->dir, p->name, text, RECORD_MAX, &len, &found);
    if (st == FMP_EIO && found.sys_errno == ENOENT) {
        st = FMP_OK;
        j = empty_record();
    } else if (st) {
        if (err)
            *err = found;
    } else {
        j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
        if (!j || !record_is_right(j))
            st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                          "%s: not a record of lineages; move it away to begin a new one", record);
    }
    if (!st && !j)
        st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", record);
    fmp_free(text);
    if (st)
        json_decref(j);
    else
        *ret = j;
    return st;
}

static int append(const char *text, size_t len, void *buf)
{
    fmp_buf_put(buf, text, len);
    return ((fmp_buf *)buf)->bad ? -1 : 0;
}

static fmp_status record_store(const json_t *j, const char *record, fmp_error *err)
{
    fmp_buf text = {0};
    fmp_out out = {0};
    fmp_status st = FMP_OK;

    if (json_dump_callback(j, append, &text, JSON_SORT_KEYS | JSON_INDENT(1)) != 0 ||
        (fmp_buf_put(&text, "\n", 1), text.bad))
        st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", record);
    else if (text.len > RECORD_MAX)
        st = fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "%s: more than %u bytes, the limit", record,
                      RECORD_MAX);
    if (!st)
        st = fmp_out_open(&out, record, text.len, true, 0600, err);
    if (!st)
        st = fmp_out_write(&out, 0, text.data, text.len, err);
    if (!st)
        st = fmp_out_commit(&out, true, err);
    fmp_out_discard(&out);
    fmp_buf_release(&text);
    return st;
}

fmp_status fmp_mark_read(const char *record, const char *id, fmp_mark *ret, fmp_error *err)
{
    json_t *j = NULL;
    place p;
    fmp_status st = place_open(&p, record, err);

    *ret = (fmp_mark){0};
    if (st)
        return st;
    st = record_load(&p, record, &j, err);
    if (!st) {
        const json_t *mark = json_object_get(json_object_get(j, LIST), id);

        if (mark)
            (void)mark_parse(mark, ret);
        json_decref(j);
    }
    place_close(&p);
    return st;
}

bool fmp_mark_allows(const fmp_mark *mark, uint64_t sequence, const fmp_digest *patch)
{
    if (!mark->there)
        return true;
    if (sequence == mark->sequence)
        return fmp_digest_equal(&mark->patch, patch);
    return sequence > mark->sequence && sequence - mark->sequence <= FMP_LINEAGE_JUMP_MAX;
}

static fmp_status mark_put(json_t *j, const char *id, uint64_t sequence, const fmp_digest *patch,
                           fmp_error *err)
{
    char hex[65];
    json_t *mark;

    fmp_digest_hex(patch, hex);
    mark = json_pack("{s:I, s:s}", "sequence", (json_int_t)sequence, "patch", hex);
    return json_object_set_new(json_object_get(j, LIST), id, mark) == 0
               ? FMP_OK
               : fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "out of memory");
}

fmp_status fmp_mark_advance(const char *record, const char *id, uint64_t sequence,
                            const fmp_digest *patch, bool *ret_set, fmp_error *err)
{
    fmp_mark mark = {.there = false};
    json_t *j = NULL;
    int lock = -1;
    place p;
    fmp_status st = place_open(&p, record, err);

    if (st)
        return st;
    st = fmp_keydir_lock(&p.dir, p.lock, &lock, err);
    if (st)
        goto out;
    st = record_load(&p, record, &j, err);
    if (st)
        goto out;
    (void)mark_parse(json_object_get(json_object_get(j, LIST), id), &mark);
    *ret_set = fmp_mark_allows(&mark, sequence, patch);
    if (*ret_set && (!mark.there || mark.sequence != sequence)) {
        st = mark_put(j, id, sequence, patch, err);
        if (!st)
            st = record_store(j, record, err);
    }

out:
    json_decref(j);
    if (lock >= 0)
        fmp_keydir_unlock(lock);
    place_close(&p);
    return st;
}

fmp_status fmp_lineage_reset(const char *record, const char *id, bool *ret_found, fmp_error *err)
{
    json_t *j = NULL;
    bool found = false;
    int lock = -1;
    place p;
    fmp_status st = place_open(&p, record, err);

    if (st)
        return st;
    st = fmp_keydir_lock(&p.dir, p.lock, &lock, err);
    if (!st)
        st = record_load(&p, record, &j, err);
    if (!st)
        found = json_object_del(json_object_get(j, LIST), id) == 0;
    if (!st && found)
        st = record_store(j, record, err);
    if (!st)
        *ret_found = found;
    json_decref(j);
    if (lock >= 0)
        fmp_keydir_unlock(lock);
    place_close(&p);
    return st;
}
