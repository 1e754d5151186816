/*
 * The safetensors reader: one test for each rule of the format and each of ours, every truncation,
 * every failing allocation, and the header that is derived in place of being carried.
 */
#include "store_support.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/store.h"

#define ENTRY(name, dtype, shape, from, to)                                                        \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to   \
    "]}"
#define A ENTRY("a", "U8", "[4]", 0, 4)

static const fmp_store_options lenient = {.size = sizeof lenient, .lenient = true};

typedef struct verdict {
    const char *what;
    const char *header;
    size_t n_data;
    fmp_status strict, lenient;
    const char *word; /* stands in the error */
} verdict;

#define E  FMP_ECORRUPT
#define OK FMP_OK

static const verdict verdicts[] = {
    /* what is fine */
    {"nothing at all", "{}", 0, OK, OK, NULL},
    {"nothing but metadata", "{\"__metadata__\":{\"a\":\"b\"}}", 0, OK, OK, NULL},
    {"one tensor", "{" A "}", 4, OK, OK, NULL},
    {"padding", "{" A "}   ", 4, OK, OK, NULL},
    {"space inside", "{ " A "\n,\t" ENTRY("b", "U8", "[ 1 ]", 4, 5) " }", 5, OK, OK, NULL},
    {"a scalar", "{" ENTRY("a", "F64", "[]", 0, 8) "}", 8, OK, OK, NULL},
    {"an empty tensor", "{" ENTRY("a", "F64", "[3,0]", 0, 0) "}", 0, OK, OK, NULL},
    {"misaligned", "{" ENTRY("a", "U8", "[1]", 0, 1) "," ENTRY("b", "F64", "[1]", 1, 9) "}", 9, OK,
     OK, NULL},
    {"header order", "{" ENTRY("b", "U8", "[1]", 4, 5) "," A "}", 5, OK, OK, NULL},
    {"fields in another order", "{\"a\":{\"data_offsets\":[0,4],\"shape\":[4],\"dtype\":\"U8\"}}",
     4, OK, OK, NULL},
    {"an escaped name", "{" ENTRY("\\u00e9\\\"", "U8", "[1]", 0, 1) "}", 1, OK, OK, NULL},
    {"a dimension of 2^48", "{" ENTRY("a", "U8", "[0,281474976710656]", 0, 0) "}", 0, OK, OK, NULL},
    {"half bytes that fill", "{" ENTRY("a", "F4", "[2,3]", 0, 3) "}", 3, OK, OK, NULL},
    /* where data lies */
    {"hole at the start", "{" ENTRY("a", "U8", "[3]", 1, 4) "}", 4, E, E, "hole"},
    {"hole in the middle", "{" A "," ENTRY("b", "U8", "[1]", 5, 6) "}", 6, E, E, "hole"},
    {"overlap", "{" A "," ENTRY("b", "U8", "[2]", 3, 5) "}", 5, E, E, "overlap"},
    {"one range twice", "{" A "," ENTRY("b", "U8", "[4]", 0, 4) "}", 4, E, E, "overlap"},
    {"an empty tensor inside", "{" A "," ENTRY("z", "U8", "[0]", 2, 2) "}", 4, E, E, "overlap"},
    {"trailing bytes", "{" A "}", 5, E, E, "found 66 bytes"},
    {"trailing bytes, no tensor", "{}", 1, E, E, "expected the file to end at 10"},
    {"past the end", "{" A "}", 3, E, E, "within the 3 data bytes"},
    {"end before begin", "{" ENTRY("a", "U8", "[0]", 4, 0) "}", 4, E, E, "at least 4"},
    {"size against shape", "{" ENTRY("a", "U16", "[4]", 0, 4) "}", 4, E, E, "8 bytes"},
    {"half bytes left over", "{" ENTRY("a", "F4", "[3]", 0, 2) "}", 2, E, E, "whole bytes"},
    {"product overflows", "{" ENTRY("a", "U8", "[4294967296,4294967296]", 0, 0) "}", 0, E, E,
     "whole bytes"},
    {"bits overflow", "{" ENTRY("a", "F64", "[281474976710656,65536]", 0, 0) "}", 0, E, E,
     "whole bytes"},
    /* duplicates: never */
    {"a name twice, one range", "{" A "," ENTRY("a", "I8", "[2,2]", 0, 4) "}", 4, E, E, "twice"},
    {"a name twice, two ranges", "{" A "," ENTRY("a", "U8", "[1]", 4, 5) "}", 5, E, E, "twice"},
    {"a name twice, apart",
     "{" A "," ENTRY("b", "U8", "[1]", 4, 5) "," ENTRY("a", "U8", "[1]", 5, 6) "}", 6, E, E,
     "twice"},
    {"a name twice, spelt in two ways", "{" A "," ENTRY("\\u0061", "U8", "[1]", 4, 5) "}", 5, E, E,
     "twice"},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, E, E, "twice"},
    {"a metadata key twice", "{\"__metadata__\":{\"k\":\"1\",\"l\":\"\",\"k\":\"2\"}}", 0, E, E,
     "\"k\""},
    {"dtype twice",
     "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, E, E,
     "dtype: expected once"},
    {"shape twice", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"shape\":[4],\"data_offsets\":[0,4]}}",
     4, E, E, "shape: expected once"},
    {"offsets twice",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"data_offsets\":[0,4]}}", 4, E,
     E, "data_offsets: expected once"},
    /* what an entry is made of */
    {"no dtype", "{\"a\":{\"shape\":[4],\"data_offsets\":[0,4]}}", 4, E, E, "no dtype"},
    {"no shape", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4, E, E, "no shape"},
    {"no offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, E, E, "no data_offsets"},
    {"an unknown field",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":[{}]}}", 4, E, OK,
     "\"x\""},
    {"an unknown dtype", "{" ENTRY("a", "U9", "[4]", 0, 4) "}", 4, FMP_ENOTSUP, FMP_ENOTSUP,
     "\"U9\""},
    {"a dtype in lower case", "{" ENTRY("a", "u8", "[4]", 0, 4) "}", 4, FMP_ENOTSUP, FMP_ENOTSUP,
     "\"u8\""},
    {"a dtype that is a number", "{\"a\":{\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]}}", 4, E,
     E, "dtype: expected a string"},
    {"a float in a shape", "{" ENTRY("a", "U8", "[4.0]", 0, 4) "}", 4, E, E, "shape: expected"},
    {"a negative in a shape", "{" ENTRY("a", "U8", "[-4]", 0, 4) "}", 4, E, E, "shape: expected"},
    {"2^64 in a shape", "{" ENTRY("a", "U8", "[18446744073709551616,0]", 0, 0) "}", 0, E, E,
     "shape: expected"},
    {"a shape that is a number", "{" ENTRY("a", "U8", "4", 0, 4) "}", 4, E, E, "shape: expected"},
    {"a float offset", "{" ENTRY("a", "U8", "[4]", 0, 4.0) "}", 4, E, E, "data_offsets"},
    {"an exponent", "{" ENTRY("a", "U8", "[4]", 0, 4e0) "}", 4, E, E, "data_offsets"},
    {"one offset", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4]}}", 4, E, E,
     "data_offsets"},
    {"three offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]}}", 4, E, E,
     "data_offsets"},
    {"an entry that is an array", "{\"a\":[]}", 0, E, E, "expected an object"},
    {"a number in metadata", "{\"__metadata__\":{\"k\":1}}", 0, E, E, "expected a string"},
    {"an object in metadata", "{\"__metadata__\":{\"k\":{}}}", 0, E, E, "expected a string"},
    {"metadata that is a string", "{\"__metadata__\":\"\"}", 0, E, E, "expected an object"},
    {"metadata that is null", "{\"__metadata__\":null}", 0, E, OK, "expected an object"},
    /* our own bounds */
    {"an empty name", "{" ENTRY("", "U8", "[4]", 0, 4) "}", 4, E, OK, "1 to 1024"},
    {"NUL in a name", "{" ENTRY("a\\u0000b", "U8", "[4]", 0, 4) "}", 4, E, OK, "control"},
    {"a newline in a name", "{" ENTRY("a\\nb", "U8", "[4]", 0, 4) "}", 4, E, OK, "control"},
    {"DEL in a name", "{" ENTRY("a\x7f", "U8", "[4]", 0, 4) "}", 4, E, OK, "control"},
    {"a bidirectional control in a name", "{" ENTRY("a\\u202e", "U8", "[4]", 0, 4) "}", 4, E, OK,
     "control"},
    {"C1 in a name", "{" ENTRY("a\xc2\x9b", "U8", "[4]", 0, 4) "}", 4, E, OK, "control"},
    {"a dimension past 2^48", "{" ENTRY("a", "U8", "[0,281474976710657]", 0, 0) "}", 0, E, E,
     "2^48"},
    {"33 dimensions",
     "{" ENTRY("a", "U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", 0,
               1) "}",
     1, E, E, "32 dimensions"},
    {"deep nesting",
     "{\"a\":{\"x\":[[[[]]]],\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, E, E,
     "bad.safetensors"},
    /* the header itself */
    {"a leading space", " {" A "}", 4, E, OK, "begin with '{'"},
    {"a trailing tab", "{" A "}\t", 4, E, OK, "0x09"},
    {"a trailing newline", "{" A "} \n", 4, E, OK, "0x0a"},
    {"a trailing letter", "{" A "}x", 4, E, E, "bad.safetensors"},
    {"two documents", "{" A "}{}", 4, E, E, "bad.safetensors"},
    {"an array", "[]", 0, E, E, "bad.safetensors"},
    {"bad UTF-8 in a name", "{" ENTRY("a\xff", "U8", "[4]", 0, 4) "}", 4, E, E, "bad.safetensors"},
    {"a lone surrogate", "{" ENTRY("a\\ud800", "U8", "[4]", 0, 4) "}", 4, E, E, "bad.safetensors"},
    {"a trailing comma", "{" A ",}", 4, E, E, "bad.safetensors"},
    {"a header of spaces", "    ", 0, E, E, "bad.safetensors"},
};

static void every_rule_has_its_verdict(void **state)
{
    const char *path = at("bad.safetensors");

    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        const verdict *v = &verdicts[i];

        put_safetensors("bad.safetensors", v->header, v->n_data);
        for (int loose = 0; loose < 2; loose++) {
            const fmp_status want = loose ? v->lenient : v->strict;
            fmp_store *store = NULL;
            fmp_error err;
            const fmp_status got = fmp_store_open(path, loose ? &lenient : NULL, &store, &err);

            if (got != want)
                fail_msg("%s, %s: %s, expected %s: %s", v->what, loose ? "lenient" : "strict",
                         fmp_status_name(got), fmp_status_name(want), got ? err.text : "no error");
            if (got &&
                (!strstr(err.text, "bad.safetensors") || (!loose && !strstr(err.text, v->word))))
                fail_msg("%s: \"%s\" lacks \"%s\"", v->what, err.text, v->word);
            if (!got)
                fmp_store_close(store);
        }
    }
}

static void name_length_is_bounded(void **state)
{
    char header[1400];
    char name[1026];

    (void)state;
    memset(name, 'n', sizeof name);
    name[1025] = '\0';
    snprintf(header, sizeof header, "{" ENTRY("%s", "U8", "[1]", 0, 1) "}", name);
    put_safetensors("n.safetensors", header, 1);
    refuse(at("n.safetensors"), NULL, FMP_ECORRUPT, "1025", "n.safetensors");
    name[1024] = '\0';
    snprintf(header, sizeof header, "{" ENTRY("%s", "U8", "[1]", 0, 1) "}", name);
    put_safetensors("n.safetensors", header, 1);
    fmp_store_close(open_store(at("n.safetensors")));
}

static void every_dtype_is_read(void **state)
{
    (void)state;
    for (unsigned i = 0; fmp_dtype_at(i); i++) {
        const fmp_dtype *d = fmp_dtype_at(i);
        const unsigned n_bytes = 3u * d->bits;
        char header[256];
        fmp_store *store;

        snprintf(header, sizeof header,
                 "{\"t\":{\"dtype\":\"%s\",\"shape\":[3,8],\"data_offsets\":[0,%u]}}", d->name,
                 n_bytes);
        put_safetensors("d.safetensors", header, n_bytes);
        store = open_store(at("d.safetensors"));
        assert_tensor(store, 0, "t", d->name, 2, n_bytes);
        assert_int_equal(fmp_store_tensor(store, 0).n_elements, 24);
        fmp_store_close(store);
    }
    assert_non_null(fmp_dtype_find("F8_E4M3FNUZ", 11));
}

/* Data order decides, whatever the header's; an empty tensor keeps to its place. */
static void tensors_come_in_data_order(void **state)
{
    fmp_store *store;
    uint8_t got[2];
    fmp_error err;

    (void)state;
    put_safetensors(
        "o.safetensors",
        "{" ENTRY("c", "U8", "[2]", 5, 7) "," ENTRY("z", "F32", "[0]", 4, 4) "," A "," ENTRY(
            "y", "F32", "[0,2]", 4, 4) "," ENTRY("b", "U8", "[]", 4, 5) "}",
        7);
    store = open_store(at("o.safetensors"));
    assert_int_equal(fmp_store_tensor_count(store), 5);
    assert_tensor(store, 0, "a", "U8", 1, 4);
    assert_tensor(store, 1, "z", "F32", 1, 0);
    assert_tensor(store, 2, "y", "F32", 2, 0);
    assert_tensor(store, 3, "b", "U8", 0, 1);
    assert_tensor(store, 4, "c", "U8", 1, 2);
    assert_null(fmp_store_tensor(store, 3).shape);
    assert_int_equal(fmp_store_tensor(store, 2).shape[1], 2);
    assert_int_equal(fmp_store_tensor(store, 3).n_elements, 1);
    assert_int_equal(fmp_store_tensor(store, 2).n_elements, 0);
    assert_status(fmp_store_read(store, 4, 0, got, 2, &err), FMP_OK, &err);
    assert_int_equal(got[0], data_byte(5));
    assert_int_equal(got[1], data_byte(6));
    fmp_store_close(store);
}

/* Many tensors in an order that is far from the data's. */
static void a_shuffled_header_is_sorted(void **state)
{
    enum { N = 1009 };
    static char header[N * 80];
    size_t len = 0;
    fmp_store *store;

    (void)state;
    for (unsigned k = 0; k < N; k++) {
        const unsigned i = k * 577 % N;

        len += (size_t)snprintf(header + len, sizeof header - len,
                                "%s\"t%04u\":{\"dtype\":\"U8\",\"shape\":[%u],\"data_offsets\":"
                                "[%u,%u]}",
                                k ? "," : "{", i, 1 + i % 3, i / 3 * 6 + (i % 3) * (i % 3 + 1) / 2,
                                i / 3 * 6 + (i % 3 + 1) * (i % 3 + 2) / 2);
    }
    snprintf(header + len, sizeof header - len, "}");
    put_safetensors("s.safetensors", header, N / 3 * 6 + 1);
    store = open_store(at("s.safetensors"));
    assert_int_equal(fmp_store_tensor_count(store), N);
    assert_int_equal(store->n_shapes, 3);
    for (unsigned i = 0; i < N; i++) {
        char name[8];

        snprintf(name, sizeof name, "t%04u", i);
        assert_tensor(store, i, name, "U8", 1, 1 + i % 3);
    }
    fmp_store_close(store);
}

static void a_bad_length_is_refused(void **state)
{
    uint8_t file[24] = {14, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    const fmp_limits small = {.size = sizeof small, .max_header = 13};
    const fmp_store_options o = {.size = sizeof o, .limits = &small};

    (void)state;
    memset(file + 10, ' ', sizeof file - 10);
    put_file("l.safetensors", file, 22);
    fmp_store_close(open_store(at("l.safetensors")));
    refuse(at("l.safetensors"), &o, FMP_ELIMIT, "l.safetensors", "14", "13");
    file[0] = 15;
    put_file("l.safetensors", file, 22);
    refuse(at("l.safetensors"), NULL, FMP_ECORRUPT, "at most 14", "found 15");
    for (unsigned byte = 1; byte < 8; byte++) {
        file[0] = 14;
        file[byte] = 0x80;
        put_file("l.safetensors", file, 22);
        refuse(at("l.safetensors"), NULL, FMP_ECORRUPT, "at most 14");
        file[byte] = 0;
    }
    file[0] = 0;
    put_file("l.safetensors", file, 8);
    refuse(at("l.safetensors"), NULL, FMP_ECORRUPT, "l.safetensors");
    put_text("l.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    refuse(at("l.safetensors"), NULL, FMP_ECORRUPT, "LFS");
}

static void limits_are_kept(void **state)
{
    const fmp_limits one = {.size = sizeof one, .max_tensors = 1};
    const fmp_limits tiny = {.size = sizeof tiny, .max_size = 60};
    const fmp_limits unsized = {.max_size = 60};
    fmp_store_options o = {.size = sizeof o, .limits = &one};

    (void)state;
    put_safetensors("m.safetensors", "{" A "," ENTRY("b", "U8", "[1]", 4, 5) "}", 5);
    refuse(at("m.safetensors"), &o, FMP_ELIMIT, "1 tensors", "m.safetensors");
    o.limits = &tiny;
    refuse(at("m.safetensors"), &o, FMP_ELIMIT, "60", "m.safetensors");
    o.limits = &unsized;
    refuse(at("m.safetensors"), &o, FMP_EUSAGE, "size");
    o.size = 0;
    refuse(at("m.safetensors"), &o, FMP_EUSAGE, "size");
}

static const char whole[] =
    "{\"__metadata__\":{\"format\":\"pt\"}," ENTRY("a", "BF16", "[2,3]", 0, 12) "," ENTRY(
        "b", "F32", "[]", 12, 16) "," ENTRY("c", "I64", "[0]", 16, 16) "}   ";

static void every_truncation_is_refused(void **state)
{
    size_t len;
    uint8_t *file = make_safetensors(whole, sizeof whole - 1, 16, &len);

    (void)state;
    for (size_t n = 0; n < len; n++) {
        put_file("t.safetensors", file, n);
        refuse(at("t.safetensors"), NULL, FMP_ECORRUPT, "t.safetensors");
    }
    /* The same, with a length that fits what is left: the JSON itself is cut. */
    for (size_t n = 1; n < sizeof whole - 1 - 3; n++) {
        size_t cut_len;
        uint8_t *cut = make_safetensors(whole, n, 16, &cut_len);

        put_file("t.safetensors", cut, cut_len);
        refuse(at("t.safetensors"), NULL, FMP_ECORRUPT, "t.safetensors");
        free(cut);
    }
    put_file("t.safetensors", file, len);
    fmp_store_close(open_store(at("t.safetensors")));
    free(file);
}

static void every_failing_allocation_is_survived(void **state)
{
    const fmp_store_options *const options[] = {NULL, &lenient};

    (void)state;
    put_safetensors("m.safetensors", whole, 16);
    for (unsigned o = 0; o < 2; o++)
        for (long k = 0;; k++) {
            fmp_store *store = NULL;
            fmp_error err;
            fmp_status st;

            assert_true(k < 1000);
            fmp_alloc_fail_at(k);
            st = fmp_store_open(at("m.safetensors"), options[o], &store, &err);
            fmp_alloc_fail_at(-1);
            if (!st) {
                assert_true(k > 5);
                fmp_store_close(store);
                break;
            }
            assert_status(st, FMP_ENOMEM, &err);
            assert_null(store);
        }
}

/* ---- derived headers ---- */

static fmp_status append(void *ctx, const void *data, size_t len, fmp_error *err)
{
    (void)err;
    fmp_buf_put(ctx, data, len);
    return FMP_OK;
}

static fmp_tensor_info tensor_at(void *ctx, uint32_t i)
{
    return fmp_store_tensor(ctx, i);
}

/* True when the derived header is the file's own. */
static bool derives(const char *header, size_t n_data)
{
    fmp_store *store;
    fmp_buf hint = {0};
    fmp_buf made = {0};
    fmp_error err;
    bool same;

    put_safetensors("h.safetensors", header, n_data);
    store = open_store(at("h.safetensors"));
    assert_status(store->driver->header_hint(store, 0, &hint, &err), FMP_OK, &err);
    assert_status(store->driver->header_write(hint.data, hint.len, tensor_at, store,
                                              fmp_store_tensor_count(store), append, &made, &err),
                  FMP_OK, &err);
    assert_int_equal(store->files[0].header_len, 8 + strlen(header));
    same = made.len == 8 + strlen(header) && !memcmp(made.data + 8, header, made.len - 8);
    fmp_buf_release(&hint);
    fmp_buf_release(&made);
    fmp_store_close(store);
    return same;
}

static void usual_headers_are_derived(void **state)
{
    (void)state;
    assert_true(derives(whole, 16));
    assert_true(derives("{}", 0));
    assert_true(derives("{}      ", 0));
    assert_true(derives("{}             ", 0));
    assert_true(derives("{" A "}", 4));
    assert_true(derives("{" A "} ", 4));
    assert_true(derives("{\"__metadata__\":{}}", 0));
    assert_true(derives("{\"__metadata__\":{ \"any\" :\"sp\\u0061ce\"}," A "}", 4));
    assert_true(derives("{" ENTRY("\xc3\xa9\\\"\\\\", "U8", "[]", 0, 1) "}", 1));
    assert_true(derives("{\"__metadata__\": {\"format\": \"pt\"}, \"a\": {\"dtype\": \"BF16\", "
                        "\"shape\": [2, 3], \"data_offsets\": [0, 12]}, \"b\": {\"dtype\": \"U8\", "
                        "\"shape\": [], \"data_offsets\": [12, 13]}}",
                        13));
    assert_true(
        derives("{\"a\": {\"dtype\": \"U8\", \"shape\": [1], \"data_offsets\": [0, 1]}} ", 1));
}

/* The others are not, and the caller sees it. */
static void unusual_headers_are_not_derived(void **state)
{
    (void)state;
    assert_false(derives("{" ENTRY("b", "U8", "[1]", 4, 5) "," A "}", 5));
    assert_false(derives("{" A ",\"__metadata__\":{}}", 4));
    assert_false(derives("{" ENTRY("\\u0061", "U8", "[]", 0, 1) "}", 1));
    assert_false(derives("{\"a\":{\"shape\":[],\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1));
    assert_false(derives("{\"a\":{\"dtype\":\"U8\",\"shape\":[], \"data_offsets\":[0,1]}}", 1));
}

static void a_long_header_is_derived(void **state)
{
    enum { N = 3000 };
    static char header[N * 80 + 20000];
    size_t len = 0;

    (void)state;
    for (unsigned i = 0; i < N; i++)
        len += (size_t)snprintf(header + len, sizeof header - len,
                                "%s\"t%u\":{\"dtype\":\"U8\",\"shape\":[1,1],\"data_offsets\":"
                                "[%u,%u]}",
                                i ? "," : "{", i, i, i + 1);
    header[len++] = '}';
    memset(header + len, ' ', 9999);
    header[len + 9999] = '\0';
    assert_true(derives(header, N));
}

static fmp_status stop(void *ctx, const void *data, size_t len, fmp_error *err)
{
    (void)ctx;
    (void)data;
    (void)len;
    (void)err;
    return FMP_ECANCELED;
}

/* A hint comes out of a patch, so it is outside bytes. */
static void a_bad_hint_is_refused(void **state)
{
    static const struct {
        uint8_t bytes[12];
        size_t len;
    } bad[] = {
        {{8, 0}, 2},      {{0}, 1},          {{4, 1}, 2},    {{2, 0}, 2},
        {{0, 0, '{'}, 3}, {{0, 0x80, 0}, 3}, {{0, 0x80}, 2}, {{0, 0xff, 0xff, 0xff, 0x7f}, 5}};
    const fmp_store_driver *d = fmp_store_driver_find("safetensors");
    fmp_buf made = {0};
    fmp_error err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_status(d->header_write(bad[i].bytes, bad[i].len, NULL, NULL, 0, append, &made, &err),
                      FMP_ECORRUPT, &err);
    assert_int_equal(made.len, 0);
    assert_status(d->header_write(NULL, 0, NULL, NULL, 0, append, &made, &err), FMP_OK, &err);
    assert_int_equal(made.len, 16);
    assert_memory_equal(made.data, "\x8\0\0\0\0\0\0\0{}      ", 16);
    assert_int_equal(d->header_write(NULL, 0, NULL, NULL, 0, stop, NULL, &err), FMP_ECANCELED);
    fmp_buf_release(&made);
}

static void derivation_survives_failing_allocations(void **state)
{
    fmp_store *store;

    (void)state;
    put_safetensors("h.safetensors", whole, 16);
    store = open_store(at("h.safetensors"));
    for (long k = 0;; k++) {
        fmp_buf hint = {0};
        fmp_buf made = {0};
        fmp_error err;
        fmp_status st;

        assert_true(k < 1000);
        fmp_alloc_fail_at(k);
        st = store->driver->header_hint(store, 0, &hint, &err);
        if (!st)
            st = store->driver->header_write(hint.data, hint.len, tensor_at, store, 3, append,
                                             &made, &err);
        fmp_alloc_fail_at(-1);
        if (!st && made.bad)
            st = FMP_ENOMEM; /* it was the test's own buffer */
        fmp_buf_release(&hint);
        fmp_buf_release(&made);
        if (!st) {
            assert_true(k > 2);
            break;
        }
        assert_int_equal(st, FMP_ENOMEM);
    }
    fmp_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_has_its_verdict),
        cmocka_unit_test(name_length_is_bounded),
        cmocka_unit_test(every_dtype_is_read),
        cmocka_unit_test(tensors_come_in_data_order),
        cmocka_unit_test(a_shuffled_header_is_sorted),
        cmocka_unit_test(a_bad_length_is_refused),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_failing_allocation_is_survived),
        cmocka_unit_test(usual_headers_are_derived),
        cmocka_unit_test(unusual_headers_are_not_derived),
        cmocka_unit_test(a_long_header_is_derived),
        cmocka_unit_test(a_bad_hint_is_refused),
        cmocka_unit_test(derivation_survives_failing_allocations),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
