/*
 * Images and labels from IDX (plain and gzip) and npy.
 */
#include "fish_scratch.h"

#include <sodium.h>
#include <zlib.h>

/* Two images of 2 x 3, and their labels. */
static const unsigned char idx_images[] = {0, 0, 8, 3, 0, 0, 0,  2,   0,  0, 0,   2, 0, 0,
                                           0, 3, 0, 1, 2, 3, 51, 255, 10, 9, 102, 7, 6, 204};
static const unsigned char idx_labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 9, 4};
static const unsigned char pixels_of[] = {0, 1, 2, 3, 51, 255, 10, 9, 102, 7, 6, 204};

static const char u1_head[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), }";
static const char label_head[] = "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }";
static const unsigned char i4_labels[] = {9, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};

/* An npy file of that version; the dictionary is padded as NumPy pads it. */
static size_t make_npy(unsigned char *out, int version, const char *dictionary, const void *data,
                       size_t len)
{
    const size_t before = version == 1 ? 10 : 12;
    const size_t text = strlen(dictionary);
    const size_t head = (before + text + 1 + 63) / 64 * 64;

    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)version;
    memset(out + 7, 0, 5);
    out[8] = (unsigned char)(head - before);
    out[9] = (unsigned char)((head - before) >> 8);
    memcpy(out + before, dictionary, text);
    memset(out + before + text, ' ', head - before - text);
    out[head - 1] = '\n';
    if (len)
        memcpy(out + head, data, len);
    return head + len;
}

static const char *npy_file(const char *name, const char *dictionary, const void *data, size_t len)
{
    unsigned char out[1024];

    return scratch_file(name, out, make_npy(out, 1, dictionary, data, len));
}

static size_t make_gzip(unsigned char *out, size_t cap, const void *data, size_t len)
{
    z_stream z = {0};

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)data;
    z.avail_in = (unsigned)len;
    z.next_out = out;
    z.avail_out = (unsigned)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(deflateEnd(&z), Z_OK);
    return cap - z.avail_out;
}

static const char *write_idx(void)
{
    (void)scratch_file("a-labels-idx1-ubyte", idx_labels, sizeof idx_labels);
    return scratch_file("a-images-idx3-ubyte", idx_images, sizeof idx_images);
}

static const char *write_npy(void)
{
    (void)npy_file("a-labels.npy", label_head, i4_labels, sizeof i4_labels);
    return npy_file("a-images.npy", u1_head, pixels_of, sizeof pixels_of);
}

static void assert_pixels(const fish_data *d, double mean, double std)
{
    fmp_error err;

    for (uint32_t e = 0; e < 2; e++) {
        float *pixels = malloc(6 * sizeof *pixels); /* exact, so that ASan sees more */

        assert_non_null(pixels);
        assert_status(fish_data_pixels(d, e, pixels, &err), FMP_OK, &err);
        for (int i = 0; i < 6; i++)
            assert_true(pixels[i] == (float)((pixels_of[6 * e + i] / 255.0 - mean) / std));
        free(pixels);
    }
}

static void assert_images(const char *path, const char *first, const char *second)
{
    fish_data *d;
    uint32_t chw[3];
    fmp_error err;

    assert_status(fish_data_open(path, NULL, &d, &err), FMP_OK, &err);
    assert_int_equal(fish_data_kind_of(d), FISH_IMAGE);
    assert_int_equal(fish_data_count(d), 2);
    assert_int_equal(fish_data_length(d, 1), 1);
    fish_data_image_shape(d, chw);
    assert_int_equal(chw[0], 1);
    assert_int_equal(chw[1], 2);
    assert_int_equal(chw[2], 3);
    assert_int_equal(fish_data_n_classes(d), 2);
    assert_string_equal(fish_data_class(d, (uint32_t)fish_data_label(d, 0)), first);
    assert_string_equal(fish_data_class(d, (uint32_t)fish_data_label(d, 1)), second);
    assert_pixels(d, 0.5, 0.5);
    fish_data_free(d);
}

static void idx_is_read(void **state)
{
    (void)state;
    assert_images(write_idx(), "9", "4");
}

static void idx_may_be_gzip(void **state)
{
    unsigned char out[256];

    (void)state;
    (void)scratch_file("g-labels-idx1-ubyte.gz", out,
                       make_gzip(out, sizeof out, idx_labels, sizeof idx_labels));
    assert_images(scratch_file("g-images-idx3-ubyte.gz", out,
                               make_gzip(out, sizeof out, idx_images, sizeof idx_images)),
                  "9", "4");
}

static void npy_is_read(void **state)
{
    (void)state;
    assert_images(write_npy(), "9", "-1");
}

static void npy_versions_and_spellings(void **state)
{
    static const char *const spellings[] = {
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 2, 3), }",
        "{\"shape\":(2,1,2,3),\"fortran_order\":False,\"descr\":\"<u1\"}",
        "  {'fortran_order' : False , 'descr': '|u1' , 'shape' : ( 2 , 1 , 2 , 3 , ) , }",
    };

    (void)state;
    (void)write_npy();
    for (int version = 1; version <= 3; version++) {
        for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
            unsigned char out[512];
            const size_t n = make_npy(out, version, spellings[i], pixels_of, sizeof pixels_of);

            assert_images(scratch_file("a-images.npy", out, n), "9", "-1");
        }
    }
}

static void channels_are_the_second_dimension(void **state)
{
    fish_data *d;
    uint32_t chw[3];
    fmp_error err;

    (void)state;
    (void)write_npy();
    (void)npy_file("a-images.npy",
                   "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 1, 2)}", pixels_of,
                   sizeof pixels_of);
    assert_status(fish_data_open(scratch_path("a-images.npy"), NULL, &d, &err), FMP_OK, &err);
    fish_data_image_shape(d, chw);
    assert_true(chw[0] == 3 && chw[1] == 1 && chw[2] == 2);
    assert_pixels(d, 0.5, 0.5);
    fish_data_free(d);
}

static void pixels_are_scaled_by_options(void **state)
{
    const fish_data_options o = {.mean = 0.25, .std = 2};
    const fish_data_options bad = {.mean = 0, .std = -1};
    float pixels[6];
    fish_data *d;
    fmp_error err;

    (void)state;
    assert_status(fish_data_open(write_idx(), &o, &d, &err), FMP_OK, &err);
    assert_pixels(d, 0.25, 2);
    assert_status(fish_data_pixels(d, 2, pixels, &err), FMP_EUSAGE, &err);
    fish_data_free(d);
    assert_status(fish_data_open(write_idx(), &bad, &d, &err), FMP_EUSAGE, &err);
}

/* Floats are taken as they are, not divided by 255; what is no number is found when it is read. */
static void float_images_are_read(void **state)
{
    static const char head[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 2), }";
    static const unsigned char data[] = {0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0,
                                         0, 0, 0,    0,    0, 0, 0xc0, 0x7f};
    float pixels[2];
    fish_data *d;
    fmp_error err;

    (void)state;
    (void)write_npy();
    assert_status(fish_data_open(npy_file("a-images.npy", head, data, sizeof data), NULL, &d, &err),
                  FMP_OK, &err);
    assert_status(fish_data_pixels(d, 0, pixels, &err), FMP_OK, &err);
    assert_true(pixels[0] == 1.0f && pixels[1] == -6.0f);
    assert_status(fish_data_pixels(d, 1, pixels, &err), FMP_ECORRUPT, &err);
    assert_non_null(strstr(err.text, "image 1: pixel 1"));
    fish_data_free(d);
}

static void labels_of_every_integer_type(void **state)
{
    static const struct {
        const char *type;
        unsigned char data[16];
        size_t len;
        const char *first;
        const char *second;
    } cases[] = {
        {"|u1", {200, 3}, 2, "200", "3"},
        {"|i1", {0xff, 3}, 2, "-1", "3"},
        {"<u2", {0, 1, 3, 0}, 4, "256", "3"},
        {"<i2", {0xfe, 0xff, 3, 0}, 4, "-2", "3"},
        {"<u4", {0xff, 0xff, 0xff, 0xff, 3}, 8, "4294967295", "3"},
        {"<i4", {0xff, 0xff, 0xff, 0xff, 3}, 8, "-1", "3"},
        {"<i8", {0, 0, 0, 0, 0, 0, 0, 0x80, 3}, 16, "-9223372036854775808", "3"},
        {"<u8", {0, 0, 0, 0, 0, 0, 0, 0x80, 3}, 16, "9223372036854775808", "3"},
    };

    (void)state;
    (void)write_npy();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char head[128];

        snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }",
                 cases[i].type);
        (void)npy_file("a-labels.npy", head, cases[i].data, cases[i].len);
        assert_images(scratch_path("a-images.npy"), cases[i].first, cases[i].second);
    }
}

static void regression_takes_numbers(void **state)
{
    static const char head[] = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }";
    unsigned char data[16] = {0, 0, 0, 0, 0, 0, 0x04, 0x40, 0, 0, 0, 0, 0, 0, 0xf8, 0xbf};
    const fish_data_options o = {.regression = true};
    fish_data *d;
    fmp_error err;

    (void)state;
    (void)write_npy();
    assert_status(fish_data_open(scratch_path("a-images.npy"), &o, &d, &err), FMP_OK, &err);
    assert_true(fish_data_value(d, 0) == 9.0f && fish_data_value(d, 1) == -1.0f);
    fish_data_free(d);
    (void)npy_file("a-labels.npy", head, data, sizeof data);
    assert_status(fish_data_open(scratch_path("a-images.npy"), &o, &d, &err), FMP_OK, &err);
    assert_true(fish_data_value(d, 0) == 2.5f && fish_data_value(d, 1) == -1.5f);
    assert_int_equal(fish_data_n_classes(d), 1);
    fish_data_free(d);
    assert_status(fish_data_open(scratch_path("a-images.npy"), NULL, &d, &err), FMP_ENOTSUP, &err);
    data[14] = 0xf0;
    data[15] = 0x7f; /* infinity */
    (void)npy_file("a-labels.npy", head, data, sizeof data);
    assert_status(fish_data_open(scratch_path("a-images.npy"), &o, &d, &err), FMP_ECORRUPT, &err);
    assert_non_null(strstr(err.text, "item 1"));
}

/* Names that are no integers stand for 0, 1, ...; integers are compared as text. */
static void given_classes(void **state)
{
    static const char *const ten[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    static const char *const two[] = {"9", "4"};
    fish_data_options o = {.classes = ten, .n_classes = 10};
    fish_data *d;
    fmp_error err;

    (void)state;
    assert_status(fish_data_open(write_idx(), &o, &d, &err), FMP_OK, &err);
    assert_int_equal(fish_data_label(d, 0), 9);
    assert_int_equal(fish_data_label(d, 1), 4);
    assert_int_equal(fish_data_n_classes(d), 10);
    fish_data_free(d);
    o.n_classes = 9;
    assert_status(fish_data_open(write_idx(), &o, &d, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "item 0"));
    o.n_classes = 10;
    assert_status(fish_data_open(write_npy(), &o, &d, &err), FMP_EUSAGE, &err); /* -1 */
    assert_non_null(strstr(err.text, "item 1"));
    o = (fish_data_options){.classes = two, .n_classes = 2};
    assert_status(fish_data_open(write_idx(), &o, &d, &err), FMP_OK, &err);
    assert_int_equal(fish_data_label(d, 0), 0);
    assert_int_equal(fish_data_label(d, 1), 1);
    fish_data_free(d);
    o.n_classes = 1;
    assert_status(fish_data_open(write_idx(), &o, &d, &err), FMP_EUSAGE, &err);
}

static void labels_are_found_or_given(void **state)
{
    fish_data_options o = {.no_labels = true};
    fish_data *d;
    fmp_error err;

    (void)state;
    (void)scratch_file("alone-ubyte", idx_images, sizeof idx_images);
    assert_status(fish_data_open(scratch_path("alone-ubyte"), NULL, &d, &err), FMP_EUSAGE, &err);
    assert_status(fish_data_open(scratch_path("alone-ubyte"), &o, &d, &err), FMP_OK, &err);
    assert_int_equal(fish_data_label(d, 1), 0);
    fish_data_free(d);
    (void)write_idx();
    o = (fish_data_options){.labels_path = scratch_path("a-labels-idx1-ubyte")};
    assert_status(fish_data_open(scratch_path("alone-ubyte"), &o, &d, &err), FMP_OK, &err);
    assert_int_equal(fish_data_label(d, 1), 0);
    assert_int_equal(fish_data_label(d, 0), 1);
    fish_data_free(d);
    (void)scratch_file("lone-images.idx", idx_images, sizeof idx_images);
    assert_status(fish_data_open(scratch_path("lone-images.idx"), NULL, &d, &err), FMP_EIO, &err);
    assert_non_null(strstr(err.text, "lone-labels.idx"));
}

static void digest_covers_both_files(void **state)
{
    unsigned char digest[32];
    char want[128] = "a-images-idx3-ubyte:blake2b:";
    crypto_generichash_state sum;
    fish_data *d;
    fmp_error err;

    (void)state;
    assert_status(fish_data_open(write_idx(), NULL, &d, &err), FMP_OK, &err);
    crypto_generichash_init(&sum, NULL, 0, sizeof digest);
    crypto_generichash_update(&sum, idx_images, sizeof idx_images);
    crypto_generichash_update(&sum, idx_labels, sizeof idx_labels);
    crypto_generichash_final(&sum, digest, sizeof digest);
    sodium_bin2hex(want + strlen(want), 65, digest, sizeof digest);
    assert_string_equal(fish_data_digest(d), want);
    fish_data_free(d);
}

/* ---- refused ---- */

static void assert_refused(const char *path, fmp_status want, const char *says)
{
    fish_data *d = (fish_data *)&d;
    fmp_error err;
    const fmp_status st = fish_data_open(path, NULL, &d, &err);

    assert_status(st, want, &err);
    assert_ptr_equal(d, &d);
    if (!strstr(err.text, says))
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

static void idx_faults(void **state)
{
    static const struct {
        size_t at;
        unsigned char byte;
        fmp_status status;
        const char *says;
    } cases[] = {
        {0, 1, FMP_ECORRUPT, "begins with 00 00, found 01 00"},
        {1, 1, FMP_ECORRUPT, "begins with 00 00, found 00 01"},
        {2, 0x0d, FMP_ENOTSUP, "item type 0x0d"},
        {3, 0, FMP_ENOTSUP, "rank 0"},
        {3, 5, FMP_ENOTSUP, "rank 5"},
        {3, 2, FMP_ECORRUPT, "expected 4 items"},
        {7, 0, FMP_ECORRUPT, "size 0 of the shape is 0"},
        {7, 1, FMP_ECORRUPT, "expected 6 items of 1 bytes, found 12"},
        {7, 3, FMP_ECORRUPT, "expected 18"},
        {4, 0x80, FMP_ECORRUPT, "expected 12884901900 items"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char bytes[sizeof idx_images];

        (void)write_idx();
        memcpy(bytes, idx_images, sizeof bytes);
        bytes[cases[i].at] = cases[i].byte;
        assert_refused(scratch_file("a-images-idx3-ubyte", bytes, sizeof bytes), cases[i].status,
                       cases[i].says);
    }
}

static void npy_faults(void **state)
{
    static const struct {
        const char *dictionary;
        fmp_status status;
        const char *says;
    } cases[] = {
        {"['descr']", FMP_ECORRUPT, "a dictionary"},
        {"{'descr': '|u1', 'fortran_order': False}", FMP_ECORRUPT, "the keys descr"},
        {"{'descr': '|u1', 'fortran_order': False, 'descr': '|u1'}", FMP_ECORRUPT, "once each"},
        {"{'descr': '|u1', 'fortran_order': False, 'shapes': (2, 2, 3)}", FMP_ECORRUPT,
         "once each"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), 'x': 1}", FMP_ECORRUPT,
         "the end of the dictionary"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3)} x", FMP_ECORRUPT, "spaces"},
        {"{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2, 3)}", FMP_ENOTSUP, "Fortran"},
        {"{'descr': '|u1', 'fortran_order': None, 'shape': (2, 2, 3)}", FMP_ECORRUPT, "True or"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': [2, 2, 3]}", FMP_ECORRUPT, "a tuple"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, -3)}", FMP_ECORRUPT, "a tuple"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (12)}", FMP_ECORRUPT, "a tuple"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3, 1, 1)}", FMP_ENOTSUP,
         "more than 4 dimensions"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 18446744073709551616, 3)}",
         FMP_ECORRUPT, "a tuple"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296, 3)}",
         FMP_ECORRUPT, "more than 64 bits"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 2)}", FMP_ECORRUPT,
         "expected 8"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': ()}", FMP_ECORRUPT, "expected 1 items"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (12,)}", FMP_ECORRUPT, "1 dimensions"},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (2, 1, 3)}", FMP_ENOTSUP,
         "found int16"},
        {"{'descr': '>u2', 'fortran_order': False, 'shape': (2, 1, 3)}", FMP_ENOTSUP, "'>u2'"},
        {"{'descr': '|u2', 'fortran_order': False, 'shape': (2, 1, 3)}", FMP_ENOTSUP, "'|u2'"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2, 1, 3)}", FMP_ENOTSUP, "'|O'"},
        {"{'descr': '', 'fortran_order': False, 'shape': (2, 2, 3)}", FMP_ENOTSUP, "''"},
        {"{'descr': 'a\\'b', 'fortran_order': False, 'shape': (2, 2, 3)}", FMP_ECORRUPT, "'<f4'"},
        {"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (12,)}", FMP_ECORRUPT,
         "plain"},
    };
    unsigned char out[512];
    size_t n;

    (void)state;
    (void)write_npy();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(npy_file("a-images.npy", cases[i].dictionary, pixels_of, sizeof pixels_of),
                       cases[i].status, cases[i].says);
    n = make_npy(out, 1, u1_head, pixels_of, sizeof pixels_of);
    out[6] = 4;
    assert_refused(scratch_file("a-images.npy", out, n), FMP_ENOTSUP, "version 4.0");
    out[6] = 1;
    out[1] = 'n';
    assert_refused(scratch_file("a-images.npy", out, n), FMP_ECORRUPT, "magic");
    n = make_npy(out, 1, u1_head, pixels_of, sizeof pixels_of);
    out[127] = ' '; /* the line feed */
    assert_refused(scratch_file("a-images.npy", out, n), FMP_ECORRUPT, "line feed");
    out[127] = '\n';
    out[n] = 0;
    assert_refused(scratch_file("a-images.npy", out, n + 1), FMP_ECORRUPT, "found 13 bytes");
}

static void labels_must_fit_the_images(void **state)
{
    static const unsigned char three[] = {0, 0, 8, 1, 0, 0, 0, 3, 9, 4, 1};
    static const unsigned char square[] = {0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 1, 9, 4};

    (void)state;
    (void)write_idx();
    (void)scratch_file("a-labels-idx1-ubyte", three, sizeof three);
    assert_refused(scratch_path("a-images-idx3-ubyte"), FMP_ECORRUPT, "expected 2 labels");
    (void)scratch_file("a-labels-idx1-ubyte", square, sizeof square);
    assert_refused(scratch_path("a-images-idx3-ubyte"), FMP_ECORRUPT, "expected labels (N)");
}

static void gzip_faults(void **state)
{
    unsigned char out[512];
    unsigned char more[512];
    const size_t n = make_gzip(out, sizeof out, idx_images, sizeof idx_images);

    (void)state;
    (void)write_idx();
    memcpy(more, out, n);
    memcpy(more + n, out, n);
    assert_refused(scratch_file("a-images-idx3-ubyte", more, 2 * n), FMP_ECORRUPT,
                   "one gzip member");
    memcpy(more, out, n);
    more[n - 1] = 0x7f; /* about 2 GiB */
    assert_refused(scratch_file("a-images-idx3-ubyte", more, n), FMP_ECORRUPT, "cannot hold");
    memcpy(more, out, n);
    more[n - 4]++;
    assert_refused(scratch_file("a-images-idx3-ubyte", more, n), FMP_ECORRUPT, "gzip");
    more[n - 4] -= 2;
    assert_refused(scratch_file("a-images-idx3-ubyte", more, n), FMP_ECORRUPT, "gzip");
    for (size_t at = 0; at < n; at++) { /* any damage is found: the checksum covers the content */
        fish_data *d;
        fmp_error err;

        memcpy(more, out, n);
        more[at] ^= 0x10;
        if (at >= 3 && at < 10) /* flags of no consequence, time, system */
            continue;
        assert_true(fish_data_open(scratch_file("a-images-idx3-ubyte", more, n), NULL, &d, &err));
    }
}

static void every_truncation_is_refused(void **state)
{
    unsigned char npy[512];
    unsigned char gz[512];
    const struct {
        const char *name;
        const unsigned char *bytes;
        size_t len;
    } cases[] = {
        {"t-images.idx", idx_images, sizeof idx_images},
        {"t-images.npy", npy, make_npy(npy, 2, u1_head, pixels_of, sizeof pixels_of)},
        {"t-images-ubyte.gz", gz, make_gzip(gz, sizeof gz, idx_images, sizeof idx_images)},
    };
    const fish_data_options o = {.no_labels = true};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t len = 0; len <= cases[i].len; len++) {
            const char *path = scratch_file(cases[i].name, cases[i].bytes, len);
            fish_data *d;
            fmp_error err;

            if (len < cases[i].len) {
                assert_status(fish_data_open(path, &o, &d, &err), FMP_ECORRUPT, &err);
                continue;
            }
            assert_status(fish_data_open(path, &o, &d, &err), FMP_OK, &err);
            fish_data_free(d);
        }
    }
}

static void files_that_shrink_are_noticed(void **state)
{
    float pixels[6];
    fish_data *d;
    fmp_error err;

    (void)state;
    assert_status(fish_data_open(write_idx(), NULL, &d, &err), FMP_OK, &err);
    (void)scratch_file("a-images-idx3-ubyte", idx_images, sizeof idx_images - 1);
    assert_status(fish_data_pixels(d, 0, pixels, &err), FMP_OK, &err);
    assert_status(fish_data_pixels(d, 1, pixels, &err), FMP_EIO, &err);
    fish_data_free(d);
}

static void every_failed_allocation_is_reported(void **state)
{
    unsigned char gz[256];
    const char *paths[3];

    (void)state;
    paths[0] = write_idx();
    paths[1] = write_npy();
    (void)scratch_file("g-labels-idx1-ubyte.gz", gz,
                       make_gzip(gz, sizeof gz, idx_labels, sizeof idx_labels));
    paths[2] = scratch_file("g-images-idx3-ubyte.gz", gz,
                            make_gzip(gz, sizeof gz, idx_images, sizeof idx_images));
    for (int i = 0; i < 3; i++) {
        fish_data *d = NULL;
        fmp_error err;
        fmp_status st = FMP_ENOMEM;
        long k;

        for (k = 0; st; k++) {
            fish_alloc_fail_at(k);
            st = fish_data_open(paths[i], NULL, &d, &err);
            fish_alloc_fail_at(-1);
            if (st)
                assert_status(st, FMP_ENOMEM, &err);
        }
        assert_true(k > 10);
        fish_data_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idx_is_read),
        cmocka_unit_test(idx_may_be_gzip),
        cmocka_unit_test(npy_is_read),
        cmocka_unit_test(npy_versions_and_spellings),
        cmocka_unit_test(channels_are_the_second_dimension),
        cmocka_unit_test(pixels_are_scaled_by_options),
        cmocka_unit_test(float_images_are_read),
        cmocka_unit_test(labels_of_every_integer_type),
        cmocka_unit_test(regression_takes_numbers),
        cmocka_unit_test(given_classes),
        cmocka_unit_test(labels_are_found_or_given),
        cmocka_unit_test(digest_covers_both_files),
        cmocka_unit_test(idx_faults),
        cmocka_unit_test(npy_faults),
        cmocka_unit_test(labels_must_fit_the_images),
        cmocka_unit_test(gzip_faults),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(files_that_shrink_are_noticed),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };

    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
