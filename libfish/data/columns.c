/*
 * From the names in a header, or the keys of a first object, to the columns that are used.
 */
#include "data/columns.h"

#include <stdio.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"

#define COLUMNS_MAX 4096u

static const char *const text_names[] = {"text", "sentence", "sentence1", "content", "body", NULL};
static const char *const label_names[] = {"label", "class", "category", "target", "score", NULL};

/* The names of the first record, each allocated. */
typedef struct name_list {
    char **names;
    uint32_t n;
} name_list;

static void release_names(name_list *list)
{
    for (uint32_t i = 0; i < list->n; i++)
        fish_free(list->names[i]);
    fish_free(list->names);
}

void fish_columns_release(fish_columns *c)
{
    for (int role = 0; role < FISH_ROLES; role++)
        fish_free(c->key[role]);
    *c = (fish_columns){0};
}

void fish_row_release(fish_row *row)
{
    json_decref(row->json);
    *row = (fish_row){0};
}

static fmp_status add_name(name_list *list, const char *path, const char *name, size_t len,
                           fmp_error *err)
{
    char *copy;

    if (list->n == COLUMNS_MAX)
        return fish_fail(err, FMP_ELIMIT, "%s: more than %u columns", path, COLUMNS_MAX);
    if (!(list->n & (list->n - 1))) { /* 0 and the powers of two: double */
        char **larger = fish_realloc(list->names, list->n ? list->n * 2 : 1, sizeof *larger);

        if (!larger)
            return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
        list->names = larger;
    }
    copy = fish_alloc(len + 1, 1);
    if (!copy)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    if (len)
        memcpy(copy, name, len);
    copy[len] = 0;
    list->names[list->n++] = copy;
    return FMP_OK;
}

/* One JSON object of a line.  jansson refuses invalid UTF-8, and here a key that comes twice. */
static fmp_status parse_object(const char *path, const fish_record *record, json_t **ret,
                               fmp_error *err)
{
    json_error_t why;
    json_t *json =
        json_loadb(record->raw, record->len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);

    if (!json && json_error_code(&why) == json_error_out_of_memory)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    if (!json)
        return fish_fail(err, FMP_ECORRUPT, "%s: line %llu, byte %d: %s", path,
                         (unsigned long long)record->line, why.position, why.text);
    if (!json_is_object(json)) {
        json_decref(json);
        return fish_fail(err, FMP_ECORRUPT, "%s: line %llu: expected a JSON object", path,
                         (unsigned long long)record->line);
    }
    *ret = json;
    return FMP_OK;
}

static fmp_status key_names(name_list *list, const char *path, const fish_record *first,
                            fmp_error *err)
{
    const char *key;
    json_t *value;
    json_t *json;
    fmp_status st = parse_object(path, first, &json, err);

    if (st)
        return st;
    json_object_foreach(json, key, value)
    {
        st = add_name(list, path, key, strlen(key), err);
        if (st)
            break;
    }
    json_decref(json);
    return st;
}

/* Works on a copy: fields lose their quotes in place, and the record may be data. */
static fmp_status field_names(name_list *list, fish_text_format format, const char *path,
                              const fish_record *first, bool numbered, fmp_error *err)
{
    fish_record copy = *first;
    fish_fields fields;
    fish_field field;
    fmp_status st = FMP_OK;
    fmp_status bad;

    copy.raw = fish_alloc(first->len, 1);
    if (!copy.raw)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    if (first->len)
        memcpy(copy.raw, first->raw, first->len);
    fields = fish_fields_of(format, path, &copy);
    while (!st && fish_fields_next(&fields, &field, &bad, err)) {
        char number[12];

        if (numbered)
            field = (fish_field){.p = number,
                                 .len = (size_t)snprintf(number, sizeof number, "%u", list->n)};
        st = add_name(list, path, field.p, field.len, err);
    }
    fish_free(copy.raw);
    return st ? st : bad;
}

/* ---- choosing ---- */

static int32_t find(const name_list *list, const char *name)
{
    for (uint32_t i = 0; i < list->n; i++) {
        if (!strcmp(list->names[i], name))
            return (int32_t)i;
    }
    return -1;
}

static int32_t find_any(const name_list *list, const char *const *candidates, int32_t but)
{
    for (; *candidates; candidates++) {
        const int32_t at = find(list, *candidates);

        if (at >= 0 && at != but)
            return at;
    }
    return -1;
}

static fmp_status missing(const name_list *list, const char *path, const char *what,
                          const char *name, fmp_error *err)
{
    char there[160] = "";
    size_t len = 0;

    for (uint32_t i = 0; i < list->n && len < sizeof there - 1; i++) {
        const int n =
            snprintf(there + len, sizeof there - len, "%s%s", i ? ", " : "", list->names[i]);

        len = n < 0 ? sizeof there : len + (size_t)n;
    }
    return fish_fail(err, FMP_EUSAGE, "%s: no column for the %s%s%s; the file has: %s%s", path,
                     what, name ? ": " : "", name ? name : "", there,
                     len >= sizeof there ? "..." : "");
}

/* A column that the options name; -1 when they name none. */
static fmp_status named(const name_list *list, const char *path, const char *what, const char *name,
                        int32_t *ret, fmp_error *err)
{
    *ret = name ? find(list, name) : -1;
    if (name && *ret < 0)
        return missing(list, path, what, name, err);
    return FMP_OK;
}

static fmp_status choose(const name_list *list, const char *path, const fish_data_options *o,
                         int32_t at[FISH_ROLES], fmp_error *err)
{
    fmp_status st = named(list, path, "text", o->text, &at[FISH_TEXT_A], err);

    if (!st)
        st = named(list, path, "second text", o->text2, &at[FISH_TEXT_B], err);
    if (!st)
        st = named(list, path, "label", o->no_labels ? NULL : o->label, &at[FISH_LABEL], err);
    if (st)
        return st;
    if (at[FISH_TEXT_A] < 0)
        at[FISH_TEXT_A] = find_any(list, text_names, at[FISH_LABEL]);
    if (at[FISH_LABEL] < 0) /* found without labels too: it says which column is not the text */
        at[FISH_LABEL] = find_any(list, label_names, at[FISH_TEXT_A]);
    if (at[FISH_TEXT_A] < 0 && list->n == 2)
        at[FISH_TEXT_A] = at[FISH_LABEL] == 0;
    if (at[FISH_TEXT_A] < 0 && list->n == 1)
        at[FISH_TEXT_A] = 0;
    if (at[FISH_TEXT_A] < 0)
        return missing(list, path, "text", NULL, err);
    if (at[FISH_LABEL] < 0 && list->n == 2)
        at[FISH_LABEL] = at[FISH_TEXT_A] == 0;
    if (o->no_labels)
        at[FISH_LABEL] = -1;
    else if (at[FISH_LABEL] < 0)
        return missing(list, path, "label", NULL, err);
    if (at[FISH_TEXT_B] < 0 && !strcmp(list->names[at[FISH_TEXT_A]], "sentence1"))
        at[FISH_TEXT_B] = find(list, "sentence2");
    return FMP_OK;
}

/* Takes the names of the chosen columns out of the list; each must be there once. */
static fmp_status keep_names(fish_columns *c, const name_list *list, fmp_error *err)
{
    for (int role = 0; role < FISH_ROLES; role++) {
        const char *name = c->at[role] < 0 ? NULL : list->names[c->at[role]];
        uint32_t n = 0;

        for (uint32_t i = 0; name && i < list->n; i++)
            n += !strcmp(list->names[i], name);
        if (n > 1)
            return fish_fail(err, FMP_ECORRUPT, "%s: %u columns are named %s", c->path, n, name);
        c->key[role] = name ? fish_strdup(name) : NULL;
        if (name && !c->key[role])
            return fish_fail(err, FMP_ENOMEM, "%s: out of memory", c->path);
    }
    return FMP_OK;
}

fmp_status fish_columns_choose(fish_columns *c, fish_text_format format, const char *path,
                               const fish_record *first, const fish_data_options *options,
                               fmp_error *err)
{
    name_list list = {0};
    fmp_status st;

    *c = (fish_columns){.format = format, .path = path};
    if (format == FISH_JSONL)
        st = key_names(&list, path, first, err);
    else
        st = field_names(&list, format, path, first, options->no_header, err);
    if (!st)
        st = choose(&list, path, options, c->at, err);
    if (!st)
        st = keep_names(c, &list, err);
    c->n = list.n;
    release_names(&list);
    if (st)
        fish_columns_release(c);
    return st;
}

/* ---- rows ---- */

/* A whole number comes out as one (%g drops zeros at the end), so that 1 and 1.0 are one class. */
static void number_text(const json_t *value, char *text, size_t cap)
{
    const double x = json_number_value(value);

    if (json_is_integer(value))
        (void)snprintf(text, cap, "%lld", (long long)json_integer_value(value));
    else
        (void)snprintf(text, cap, "%.15g", x == 0 ? 0.0 : x); /* no minus before a zero */
}

static fmp_status member(const fish_columns *c, const fish_record *record, int role, fish_row *row,
                         fmp_error *err)
{
    const json_t *value = json_object_get(row->json, c->key[role]);
    const bool label = role == FISH_LABEL;

    if (json_is_string(value)) {
        union {
            const char *in;
            char *out;
        } text = {.in = json_string_value(value)}; /* nobody writes to it */

        row->part[role] = (fish_field){.p = text.out, .len = json_string_length(value)};
    } else if (label && json_is_number(value)) {
        number_text(value, row->number, sizeof row->number);
        row->part[role] = (fish_field){.p = row->number, .len = strlen(row->number)};
    } else {
        return fish_fail(err, FMP_ECORRUPT, "%s: line %llu: key %s: expected a string%s, found %s",
                         c->path, (unsigned long long)record->line, c->key[role],
                         label ? " or a number" : "", value ? "something else" : "nothing");
    }
    return FMP_OK;
}

static fmp_status parse_json_row(const fish_columns *c, const fish_record *record, fish_row *row,
                                 fmp_error *err)
{
    fmp_status st = parse_object(c->path, record, &row->json, err);

    for (int role = 0; role < FISH_ROLES && !st; role++) {
        if (c->at[role] >= 0)
            st = member(c, record, role, row, err);
    }
    return st;
}

static fmp_status parse_fields_row(const fish_columns *c, const fish_record *record, fish_row *row,
                                   fmp_error *err)
{
    fish_fields fields = fish_fields_of(c->format, c->path, record);
    fish_field field;
    fmp_status st;

    while (fish_fields_next(&fields, &field, &st, err)) {
        for (int role = 0; role < FISH_ROLES; role++) {
            if (c->at[role] == (int32_t)fields.column - 1)
                row->part[role] = field;
        }
    }
    if (st)
        return st;
    if (fields.column != c->n)
        return fish_fail(err, FMP_ECORRUPT,
                         "%s: record at line %llu: expected %u columns, found %u", c->path,
                         (unsigned long long)record->line, c->n, fields.column);
    return FMP_OK;
}

fmp_status fish_row_parse(const fish_columns *c, const fish_record *record, fish_row *ret,
                          fmp_error *err)
{
    fmp_status st;

    *ret = (fish_row){0};
    st = c->format == FISH_JSONL ? parse_json_row(c, record, ret, err)
                                 : parse_fields_row(c, record, ret, err);
    if (st)
        fish_row_release(ret);
    return st;
}
