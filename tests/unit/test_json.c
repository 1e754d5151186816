/*
 * base/json: every token, every refusal, every window boundary; and the writer of strings.
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/status.h"

#define WINDOW 65536u

typedef struct document {
    const uint8_t *data;
    size_t len;
    unsigned n_reads;
    uint64_t fail_at; /* a read that reaches this offset fails */
} document;

static fmp_status read_document(void *ctx, uint64_t off, void *buf, size_t len, fmp_error *err)
{
    document *d = ctx;

    assert_true(off <= d->len && len <= d->len - off);
    d->n_reads++;
    if (off + len > d->fail_at)
        return fmp_fail(err, FMP_EIO, off, "no luck");
    memcpy(buf, d->data + off, len);
    return FMP_OK;
}

/* Writes what the parser sees into `log`, one word a token: "{", "k:name", "s:text", "u:1", ... */
static void put_token(fmp_buf *log, const fmp_json *j)
{
    static const char *const marks[] = {
        "$", "{", "}", "[", "]", "k:", "s:", "u:", "n:", "t", "f", "0"};
    char number[32];

    if (log->len)
        fmp_buf_put_str(log, " ");
    fmp_buf_put_str(log, marks[j->kind]);
    if (j->kind == FMP_JSON_UINT) {
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)j->uint);
        fmp_buf_put_str(log, number);
    } else if (j->kind == FMP_JSON_KEY || j->kind == FMP_JSON_STRING ||
               j->kind == FMP_JSON_NUMBER) {
        assert_int_equal(j->text.data[j->text.len], 0);
        fmp_buf_put(log, j->text.data, j->text.len);
    }
}

static fmp_status parse(const void *data, size_t len, unsigned depth, fmp_buf *log, fmp_error *err)
{
    uint8_t *exact = malloc(len ? len : 1); /* so that ASan sees a read past `len` */
    document d = {.data = exact, .len = len, .fail_at = UINT64_MAX};
    fmp_json j;
    fmp_status st;

    assert_non_null(exact);
    if (len)
        memcpy(exact, data, len);
    st = fmp_json_init(&j, read_document, &d, len, "doc", 8, depth, err);
    while (!st) {
        st = fmp_json_next(&j, err);
        if (st)
            break;
        if (log)
            put_token(log, &j);
        if (j.kind == FMP_JSON_END)
            break;
    }
    fmp_json_release(&j);
    free(exact);
    return st;
}

static void assert_tokens(const char *text, const char *want)
{
    fmp_buf log = {0};
    fmp_error err;

    assert_status(parse(text, strlen(text), 8, &log, &err), FMP_OK, &err);
    fmp_buf_put(&log, "", 1);
    assert_string_equal((char *)log.data, want);
    fmp_buf_release(&log);
}

static void assert_refused(const char *text, const char *want)
{
    fmp_error err;

    assert_status(parse(text, strlen(text), 8, NULL, &err), FMP_ECORRUPT, &err);
    if (!strstr(err.text, want))
        fail_msg("%s: \"%s\" lacks \"%s\"", text, err.text, want);
    assert_int_equal(strncmp(err.text, "doc: JSON, byte ", 16), 0);
    assert_true(err.offset >= 8 && err.offset <= 8 + strlen(text));
}

static void every_kind_of_token(void **state)
{
    (void)state;
    assert_tokens("{}", "{ } $");
    assert_tokens("[]", "[ ] $");
    assert_tokens(" \t\r\n[ ] \n", "[ ] $");
    assert_tokens("true", "t $");
    assert_tokens("[null,false,true]", "[ 0 f t ] $");
    assert_tokens("{\"a\":1,\"b\":[2,{\"c\":\"d\"}],\"\":{}}",
                  "{ k:a u:1 k:b [ u:2 { k:c s:d } ] k: { } } $");
    assert_tokens("{ \"a\" : [ 1 , 2 ] }", "{ k:a [ u:1 u:2 ] } $");
    assert_tokens("{\"F32\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
                  "{ k:F32 { k:dtype s:F32 k:shape [ ] k:data_offsets [ u:0 u:4 ] } } $");
}

static void numbers(void **state)
{
    (void)state;
    assert_tokens("[0,18446744073709551615,18446744073709551616]",
                  "[ u:0 u:18446744073709551615 n:18446744073709551616 ] $");
    assert_tokens("[-0,-17,1.5,1e3,1E+3,1e-3,0.0,-1.25e+10,0e0]",
                  "[ n:-0 n:-17 n:1.5 n:1e3 n:1E+3 n:1e-3 n:0.0 n:-1.25e+10 n:0e0 ] $");
    assert_tokens("[99999999999999999999]", "[ n:99999999999999999999 ] $");
    assert_refused("01", "leading zero");
    assert_refused("[-01]", "leading zero");
    assert_refused("00.5", "leading zero");
    assert_refused("[+1]", "expected a value, found '+'");
    assert_refused("[.5]", "expected a value, found '.'");
    assert_refused("[1.]", "expected a digit, found ']'");
    assert_refused("[1.e3]", "expected a digit, found 'e'");
    assert_refused("[1e]", "expected a digit, found ']'");
    assert_refused("[1e+]", "expected a digit, found ']'");
    assert_refused("[-]", "expected a digit, found ']'");
    assert_refused("-", "expected a digit, found the end");
    assert_refused("[1 2]", "expected ',' or ']', found '2'");
    assert_refused("[0x10]", "expected ',' or ']', found 'x'");
    assert_refused("[NaN]", "expected a value, found 'N'");
    assert_refused("[Infinity]", "expected a value");
}

static void strings(void **state)
{
    (void)state;
    assert_tokens("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "s:\"\\/\b\f\n\r\t $");
    assert_tokens("\"\\u0041\\u00e9\\u20AC\\ud83d\\uDC1F\"",
                  "s:A\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f $");
    assert_tokens("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f\x7f\"",
                  "s:\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f\x7f $");
    assert_refused("\"abc", "ends inside a string");
    assert_refused("\"a\nb\"", "no control character in a string, found byte 0x0a");
    assert_refused("\"\\x41\"", "expected an escape, found 'x'");
    assert_refused("\"\\", "expected an escape, found the end");
    assert_refused("\"\\u12g4\"", "four hex digits after \\u, found 'g'");
    assert_refused("\"\\u12", "four hex digits");
    assert_refused("\"\\ud800\"", "high surrogate without a low one");
    assert_refused("\"\\ud800\\n\"", "high surrogate without a low one");
    assert_refused("\"\\ud800\\ud800\"", "high surrogate without a low one");
    assert_refused("\"\\udc00\"", "low surrogate without a high one");
    assert_refused("\"\x80\"", "not valid UTF-8");
    assert_refused("\"\xc3(\"", "not valid UTF-8");
    assert_refused("\"\xc0\xaf\"", "not valid UTF-8");
    assert_refused("\"\xe0\x80\xaf\"", "not valid UTF-8");
    assert_refused("\"\xed\xa0\x80\"", "not valid UTF-8");
    assert_refused("\"\xf4\x90\x80\x80\"", "not valid UTF-8");
    assert_refused("\"\xff\"", "not valid UTF-8");
    assert_refused("\"\xe2\x82", "not valid UTF-8");
}

static void nul_in_a_string_is_kept(void **state)
{
    static const char text[] = "\"a\\u0000b\"";
    document d = {.data = (const uint8_t *)text, .len = sizeof text - 1, .fail_at = UINT64_MAX};
    fmp_json j;
    fmp_error err;

    (void)state;
    assert_status(fmp_json_init(&j, read_document, &d, d.len, "doc", 0, 8, &err), FMP_OK, &err);
    assert_status(fmp_json_next(&j, &err), FMP_OK, &err);
    assert_int_equal(j.text.len, 3);
    assert_memory_equal(j.text.data, "a\0b", 4);
    fmp_json_release(&j);
}

static void grammar(void **state)
{
    (void)state;
    assert_refused("", "expected a value, found the end");
    assert_refused("  ", "expected a value, found the end");
    assert_refused("{", "expected a key, found the end");
    assert_refused("[", "expected a value, found the end");
    assert_refused("]", "expected a value, found ']'");
    assert_refused("[1,]", "expected a value, found ']'");
    assert_refused("[,1]", "expected a value, found ','");
    assert_refused("{\"a\":1,}", "expected a key, found '}'");
    assert_refused("{,}", "expected a key, found ','");
    assert_refused("{1:2}", "expected a key, found '1'");
    assert_refused("{\"a\"}", "expected ':', found '}'");
    assert_refused("{\"a\":}", "expected a value, found '}'");
    assert_refused("{\"a\" 1}", "expected ':', found '1'");
    assert_refused("{\"a\":1]", "expected ',' or '}', found ']'");
    assert_refused("[1}", "expected ',' or ']', found '}'");
    assert_refused("{\"a\":1 \"b\":2}", "expected ',' or '}', found '\"'");
    assert_refused("{} {}", "expected the end of the document, found '{'");
    assert_refused("[]x", "expected the end of the document");
    assert_refused("{}\xff", "expected the end of the document, found byte 0xff");
    assert_refused("tru", "expected true, found the end");
    assert_refused("[truE]", "expected true, found 'E'");
    assert_refused("[nul]", "expected null");
    assert_refused("[falsey]", "expected ',' or ']'");
    assert_refused("\xef\xbb\xbf{}", "expected a value, found byte 0xef");
    assert_refused("//x\n1", "expected a value");
    assert_refused("{'a':1}", "expected a key");
    assert_refused("[1,/**/2]", "expected a value");
    assert_refused("\v1", "expected a value, found byte 0x0b");
}

static void depth_is_limited(void **state)
{
    char text[200];
    fmp_error err;

    (void)state;
    for (unsigned depth = 1; depth <= 64; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_status(parse(text, 2 * (size_t)depth, depth, NULL, &err), FMP_OK, &err);
        assert_status(parse(text, 2 * (size_t)depth, depth - 1, NULL, &err), FMP_ECORRUPT, &err);
        assert_non_null(strstr(err.text, "nested deeper than"));
    }
    memset(text, '[', 65);
    assert_status(parse(text, 65, 1000, NULL, &err), FMP_ECORRUPT, &err);
    assert_non_null(strstr(err.text, "nested deeper than 64"));
}

static const char sample[] =
    "{\"a\":[1,2.5e3,\"x\\u20ac\xc3\xa9\\ud83d\\udc1f\"],\"b\":{\"c\":null,"
    "\"d\":true},\"e\":\"\\n\"}";

static void every_truncation_is_refused(void **state)
{
    fmp_error err;

    (void)state;
    assert_status(parse(sample, sizeof sample - 1, 8, NULL, &err), FMP_OK, &err);
    for (size_t len = 0; len < sizeof sample - 1; len++)
        assert_status(parse(sample, len, 8, NULL, &err), FMP_ECORRUPT, &err);
}

/* The same tokens wherever the window's edge falls. */
static void window_edge_may_fall_anywhere(void **state)
{
    const size_t len = sizeof sample - 1;
    char *text = malloc(WINDOW + len + 2);
    fmp_buf want = {0};
    fmp_error err;

    (void)state;
    assert_non_null(text);
    assert_status(parse(sample, len, 8, &want, &err), FMP_OK, &err);
    for (size_t before = WINDOW - len - 1; before <= WINDOW + 1; before++) {
        fmp_buf log = {0};

        memset(text, ' ', before);
        memcpy(text + before, sample, len);
        assert_status(parse(text, before + len, 8, &log, &err), FMP_OK, &err);
        assert_int_equal(log.len, want.len);
        assert_memory_equal(log.data, want.data, want.len);
        fmp_buf_release(&log);
    }
    fmp_buf_release(&want);
    free(text);
}

static void long_strings_cross_windows(void **state)
{
    const size_t len = 3 * WINDOW + 17;
    char *text = malloc(len + 2);
    fmp_buf log = {0};
    fmp_error err;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < len; i++)
        text[i + 1] = (char)('a' + i % 26);
    text[0] = text[len + 1] = '"';
    assert_status(parse(text, len + 2, 8, &log, &err), FMP_OK, &err);
    assert_int_equal(log.len, 2 + len + 2);
    assert_memory_equal(log.data + 2, text + 1, len);
    fmp_buf_release(&log);
    memset(text, '1', len);
    assert_status(parse(text, len, 8, &log, &err), FMP_OK, &err);
    assert_int_equal(log.data[0], 'n');
    assert_int_equal(log.len, 2 + len + 2);
    fmp_buf_release(&log);
    free(text);
}

static void long_strings_have_a_limit(void **state)
{
    static const char *const texts[] = {
        "\"0123456789abcdef\"", "\"\\u20ac\\u20ac\\u20ac\\u20ac\\u20ac\"", "1234567890123456",
        "\"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\""};
    static const size_t lens[] = {16, 15, 16, 9};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t max = 1; max < 24; max++) {
            document d = {
                .data = (const uint8_t *)texts[i], .len = strlen(texts[i]), .fail_at = UINT64_MAX};
            fmp_json j;
            fmp_error err;

            assert_status(fmp_json_init(&j, read_document, &d, d.len, "doc", 0, 8, &err), FMP_OK,
                          &err);
            j.text.max = max; /* the NUL counts */
            assert_status(fmp_json_next(&j, &err), max > lens[i] ? FMP_OK : FMP_ELIMIT, &err);
            fmp_json_release(&j);
        }
    }
}

static void positions_are_told(void **state)
{
    static const char text[] = " {\"ab\" : 12 }  ";
    document d = {.data = (const uint8_t *)text, .len = sizeof text - 1, .fail_at = UINT64_MAX};
    static const uint64_t want_at[] = {1, 2, 9, 12, 15}, want_end[] = {2, 6, 11, 13, 15};
    fmp_json j;
    fmp_error err;

    (void)state;
    assert_status(fmp_json_init(&j, read_document, &d, d.len, "doc", 0, 8, &err), FMP_OK, &err);
    for (size_t i = 0; i < 5; i++) {
        assert_status(fmp_json_next(&j, &err), FMP_OK, &err);
        assert_int_equal(j.token_at, want_at[i]);
        assert_int_equal(j.at, want_end[i]);
    }
    assert_int_equal(j.kind, FMP_JSON_END);
    assert_status(fmp_json_next(&j, &err), FMP_OK, &err);
    assert_int_equal(j.kind, FMP_JSON_END);
    fmp_json_release(&j);
}

static void expect_names_both(void **state)
{
    static const char text[] = "[\"x\"]";
    document d = {.data = (const uint8_t *)text, .len = sizeof text - 1, .fail_at = UINT64_MAX};
    fmp_json j;
    fmp_error err;

    (void)state;
    assert_status(fmp_json_init(&j, read_document, &d, d.len, "doc", 8, 8, &err), FMP_OK, &err);
    assert_status(fmp_json_expect(&j, FMP_JSON_ARRAY_BEGIN, "a shape", &err), FMP_OK, &err);
    assert_status(fmp_json_expect(&j, FMP_JSON_UINT, "a dimension", &err), FMP_ECORRUPT, &err);
    assert_string_equal(err.text, "doc: JSON, byte 9: expected a dimension, found a string");
    assert_int_equal(err.offset, 9);
    assert_status(fmp_json_next(&j, &err), FMP_ECORRUPT, &err); /* for good */
    fmp_json_release(&j);
}

static void skip_passes_one_value(void **state)
{
    static const char text[] = "[{\"a\":[1,{}],\"b\":{}},2,\"x\",[],[[]]]";
    document d = {.data = (const uint8_t *)text, .len = sizeof text - 1, .fail_at = UINT64_MAX};
    unsigned n = 0;
    fmp_json j;
    fmp_error err;

    (void)state;
    assert_status(fmp_json_init(&j, read_document, &d, d.len, "doc", 0, 8, &err), FMP_OK, &err);
    assert_status(fmp_json_expect(&j, FMP_JSON_ARRAY_BEGIN, "a list", &err), FMP_OK, &err);
    for (;;) {
        assert_status(fmp_json_next(&j, &err), FMP_OK, &err);
        if (j.kind == FMP_JSON_ARRAY_END)
            break;
        assert_status(fmp_json_skip(&j, &err), FMP_OK, &err);
        n++;
    }
    assert_int_equal(n, 5);
    assert_status(fmp_json_expect(&j, FMP_JSON_END, "the end", &err), FMP_OK, &err);
    fmp_json_release(&j);
}

static void skip_passes_failures_up(void **state)
{
    static const char text[] = "[[1,[2,x]]]";
    document d = {.data = (const uint8_t *)text, .len = sizeof text - 1, .fail_at = UINT64_MAX};
    fmp_json j;
    fmp_error err;

    (void)state;
    assert_status(fmp_json_init(&j, read_document, &d, d.len, "doc", 0, 8, &err), FMP_OK, &err);
    assert_status(fmp_json_next(&j, &err), FMP_OK, &err);
    assert_status(fmp_json_skip(&j, &err), FMP_ECORRUPT, &err);
    fmp_json_release(&j);
}

static void failed_reads_are_passed_up(void **state)
{
    char *text = malloc(2 * WINDOW);
    document d = {.data = (const uint8_t *)text, .len = 2 * WINDOW, .fail_at = WINDOW};
    fmp_json j;
    fmp_error err;

    (void)state;
    assert_non_null(text);
    memset(text, 'x', 2 * WINDOW);
    text[0] = '"';
    assert_status(fmp_json_init(&j, read_document, &d, d.len, "doc", 0, 8, &err), FMP_OK, &err);
    assert_status(fmp_json_next(&j, &err), FMP_EIO, &err);
    assert_string_equal(err.text, "no luck");
    assert_status(fmp_json_next(&j, &err), FMP_ECORRUPT, &err); /* for good */
    assert_int_equal(d.n_reads, 2);
    fmp_json_release(&j);
    free(text);
}

static void allocation_failures_are_reported(void **state)
{
    char text[1000];
    fmp_status st = FMP_ENOMEM;
    unsigned failed = 0;
    fmp_error err;

    (void)state;
    memset(text, '7', sizeof text);
    text[0] = '[';
    text[400] = ',';
    text[401] = '"';
    text[998] = '"';
    text[999] = ']';
    for (long k = 0; st; k++) {
        fmp_alloc_fail_at(k);
        st = parse(text, sizeof text, 8, NULL, &err);
        fmp_alloc_fail_at(-1);
        if (st) {
            assert_status(st, FMP_ENOMEM, &err);
            failed++;
        }
    }
    assert_true(failed >= 3);
}

static void flipped_bits_do_no_harm(void **state)
{
    char text[sizeof sample];
    unsigned refused = 0;
    fmp_error err;

    (void)state;
    memcpy(text, sample, sizeof sample);
    for (size_t bit = 0; bit < 8 * (sizeof sample - 1); bit++) {
        fmp_status st;

        text[bit / 8] ^= (char)(1u << bit % 8);
        st = parse(text, sizeof sample - 1, 8, NULL, &err);
        if (st)
            assert_status(st, FMP_ECORRUPT, &err);
        refused += st != FMP_OK;
        text[bit / 8] ^= (char)(1u << bit % 8);
    }
    assert_true(refused > 200);
}

static void strings_are_written_as_others_write_them(void **state)
{
    static const char raw[] = "a\"\\/\b\f\n\r\t\0\x01\x1f\x7f\xc3\xa9\xf0\x9f\x90\x9f z";
    static const char want[] = "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u0001\\u001f\x7f\xc3\xa9"
                               "\xf0\x9f\x90\x9f z\"";
    fmp_buf b = {0};

    (void)state;
    fmp_json_put_string(&b, raw, sizeof raw - 1);
    assert_int_equal(b.len, sizeof want - 1);
    assert_memory_equal(b.data, want, sizeof want - 1);
    fmp_buf_clear(&b);
    fmp_json_put_string(&b, "", 0);
    assert_int_equal(b.len, 2);
    assert_memory_equal(b.data, "\"\"", 2);
    fmp_buf_release(&b);
}

/* Every code point below U+0800, and what is written is read back as it was. */
static void written_strings_come_back(void **state)
{
    (void)state;
    for (unsigned cp = 0; cp < 0x800; cp++) {
        const char raw[] = {(char)(cp < 0x80 ? cp : 0xc0 | cp >> 6), (char)(0x80 | (cp & 0x3f))};
        const size_t len = cp < 0x80 ? 1 : 2;
        fmp_buf b = {0}, log = {0};
        fmp_error err;

        fmp_json_put_string(&b, raw, len);
        assert_status(parse(b.data, b.len, 8, &log, &err), FMP_OK, &err);
        assert_int_equal(log.len, 2 + len + 2);
        assert_memory_equal(log.data + 2, raw, len);
        fmp_buf_release(&log);
        fmp_buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_token),
        cmocka_unit_test(numbers),
        cmocka_unit_test(strings),
        cmocka_unit_test(nul_in_a_string_is_kept),
        cmocka_unit_test(grammar),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(window_edge_may_fall_anywhere),
        cmocka_unit_test(long_strings_cross_windows),
        cmocka_unit_test(long_strings_have_a_limit),
        cmocka_unit_test(positions_are_told),
        cmocka_unit_test(expect_names_both),
        cmocka_unit_test(skip_passes_one_value),
        cmocka_unit_test(skip_passes_failures_up),
        cmocka_unit_test(failed_reads_are_passed_up),
        cmocka_unit_test(allocation_failures_are_reported),
        cmocka_unit_test(flipped_bits_do_no_harm),
        cmocka_unit_test(strings_are_written_as_others_write_them),
        cmocka_unit_test(written_strings_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
