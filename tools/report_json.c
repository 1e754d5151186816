/*
 * One JSON object on standard output, written member by member: no array of tensors is ever held in
 * memory as a whole.
 */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "textutil.h"

static void dump(json_t *value)
{
    if (!value || json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT)) {
        fputs("fmpatch: standard output: cannot write JSON\n", stderr);
        exit(fmp_exit_status(FMP_EIO));
    }
    json_decref(value);
}

static void key(report_json *j, const char *name)
{
    printf("%s\"%s\": ", j->has_member ? ",\n " : "", name);
    j->has_member = true;
}

void report_json_begin(report_json *j, const char *verb)
{
    *j = (report_json){0};
    putchar('{');
    key(j, "schema");
    printf("\"fmpatch/%s/1\"", verb);
}

void report_json_member(report_json *j, const char *name, json_t *value)
{
    key(j, name);
    dump(value);
}

void report_json_array(report_json *j, const char *name)
{
    key(j, name);
    putchar('[');
    j->has_item = false;
}

void report_json_item(report_json *j, json_t *value)
{
    fputs(j->has_item ? ",\n  " : "\n  ", stdout);
    j->has_item = true;
    dump(value);
}

void report_json_array_end(report_json *j)
{
    fputs(j->has_item ? "\n ]" : "]", stdout);
}

void report_json_end(report_json *j)
{
    (void)j;
    fputs("}\n", stdout);
}

json_t *report_json_text(const char *s)
{
    json_t *value;
    char *escaped;

    if (!s)
        return json_null();
    value = json_string(s); /* NULL when it is not UTF-8 */
    if (value)
        return value;
    escaped = text_escape(s, strlen(s));
    value = json_string(escaped);
    free(escaped);
    return value;
}

json_t *report_json_hex(const uint8_t *bytes, size_t n)
{
    char *hex = text_alloc(2 * n + 1);
    json_t *value;

    text_hex(bytes, n, hex);
    value = json_string(hex);
    free(hex);
    return value;
}

json_t *report_json_number(uint64_t n)
{
    char digits[24];

    if (n < (UINT64_C(1) << 53))
        return json_integer((json_int_t)n);
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    return json_string(digits);
}

void report_json_set(json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value)) {
        fputs("fmpatch: out of memory\n", stderr);
        exit(fmp_exit_status(FMP_ENOMEM));
    }
}
