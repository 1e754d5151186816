/*
 * base/zframe: one frame, declared size, bounded window, nothing after it, and nothing else.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "base/alloc.h"
#include "base/zframe.h"

static fmp_z *z; /* one handle for each test */

static int set_up(void **state)
{
    (void)state;
    return fmp_z_new(&z, NULL) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    fmp_z_free(z);
    z = NULL;
    return 0;
}

static uint8_t *make_data(size_t len)
{
    uint8_t *data = malloc(len ? len : 1);
    uint32_t x = 1;

    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)(x >> 24 & 0x1f);
    }
    return data;
}

static void every_size_and_level_comes_back(void **state)
{
    static const size_t lens[] = {0, 1, 100, 255, 256, 65791, 65792, 1 << 20, (9u << 20) + 7};
    static const int levels[] = {1, 3, 19};
    fmp_error err;

    (void)state;
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        uint8_t *data = make_data(lens[i]);
        uint8_t *back = malloc(lens[i] ? lens[i] : 1);

        assert_non_null(back);
        for (size_t k = 0; k < (lens[i] > 1 << 20 ? 2 : 3); k++) {
            fmp_buf out = {0};
            size_t len = 0;

            fmp_buf_put(&out, "before", 6);
            assert_status(fmp_z_compress(z, levels[k], data, lens[i], &out, &len, &err), FMP_OK,
                          &err);
            assert_int_equal(out.len, 6 + len);
            assert_memory_equal(out.data, "before", 6);
            assert_status(fmp_z_decompress(z, out.data + 6, len, back, lens[i], &err), FMP_OK,
                          &err);
            assert_memory_equal(back, data, lens[i]);
            assert_true(ZSTD_getFrameContentSize(out.data + 6, len) == lens[i]);
            assert_int_equal(out.data[6 + 4] & 0x0f, 0); /* no checksum, no dictionary id */
            fmp_buf_release(&out);
        }
        free(back);
        free(data);
    }
}

/* Even at the highest level, which by itself would take 8 MiB. */
static void window_is_bounded(void **state)
{
    const size_t len = (8u << 20) + 1;
    uint8_t *data = calloc(len, 1);
    fmp_buf out = {0};
    size_t n = 0;
    fmp_error err;

    (void)state;
    assert_non_null(data);
    assert_status(fmp_z_compress(z, 19, data, len, &out, &n, &err), FMP_OK, &err);
    assert_int_equal(out.data[4] & 0x20, 0); /* has a window descriptor */
    assert_true(10 + (out.data[5] >> 3) <= FMP_Z_WINDOW_LOG);
    assert_status(fmp_z_decompress(z, out.data, n, data, len, &err), FMP_OK, &err);
    fmp_buf_release(&out);
    free(data);
}

static void level_is_checked(void **state)
{
    static const int levels[] = {-1, 0, 20, 22};
    fmp_buf out = {0};
    size_t n = 77;
    fmp_error err;

    (void)state;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        assert_status(fmp_z_compress(z, levels[i], "x", 1, &out, &n, &err), FMP_EUSAGE, &err);
    assert_int_equal(n, 77);
    assert_int_equal(out.len, 0);
}

static void hard_cap_is_a_limit(void **state)
{
    uint8_t *data = make_data(10000);
    fmp_buf small = {.max = 500}, enough = {.max = 9000};
    size_t n = 77;
    fmp_error err;

    (void)state;
    assert_status(fmp_z_compress(z, 3, data, 10000, &small, &n, &err), FMP_ELIMIT, &err);
    assert_int_equal(n, 77);
    assert_status(fmp_z_compress(z, 3, data, 10000, &enough, &n, &err), FMP_OK, &err);
    assert_true(n < 9000);
    fmp_buf_release(&small);
    fmp_buf_release(&enough);
    free(data);
}

static void every_truncation_and_extension_is_refused(void **state)
{
    uint8_t *data = make_data(3000);
    uint8_t back[3000];
    fmp_buf out = {0};
    size_t n = 0;
    fmp_error err;

    (void)state;
    assert_status(fmp_z_compress(z, 3, data, 3000, &out, &n, &err), FMP_OK, &err);
    for (size_t len = 0; len < n; len++) {
        uint8_t *exact = malloc(len ? len : 1); /* so that ASan sees a read past `len` */

        assert_non_null(exact);
        memcpy(exact, out.data, len);
        assert_status(fmp_z_decompress(z, exact, len, back, 3000, &err), FMP_ECORRUPT, &err);
        free(exact);
    }
    fmp_buf_put(&out, "", 1);
    assert_status(fmp_z_decompress(z, out.data, n + 1, back, 3000, &err), FMP_ECORRUPT, &err);
    free(data);
    fmp_buf_release(&out);
}

static void other_sizes_are_refused(void **state)
{
    uint8_t *data = make_data(3000);
    uint8_t back[4000];
    fmp_buf out = {0};
    size_t n = 0;
    fmp_error err;

    (void)state;
    assert_status(fmp_z_compress(z, 3, data, 3000, &out, &n, &err), FMP_OK, &err);
    assert_status(fmp_z_decompress(z, out.data, n, back, 2999, &err), FMP_ECORRUPT, &err);
    assert_string_equal(err.text, "zstd data: the frame declares 3000 bytes, expected 2999");
    assert_status(fmp_z_decompress(z, out.data, n, back, 3001, &err), FMP_ECORRUPT, &err);
    out.data[5]++; /* declares 3001 and yields 3000 */
    assert_status(fmp_z_decompress(z, out.data, n, back, 3001, &err), FMP_ECORRUPT, &err);
    free(data);
    fmp_buf_release(&out);
}

/* Compresses with zstd itself, with settings that ours never has. */
static size_t foreign(uint8_t *out, size_t cap, const uint8_t *data, size_t len,
                      ZSTD_cParameter what, int value)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t n;

    assert_non_null(c);
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(c, what, value)));
    n = ZSTD_compress2(c, out, cap, data, len);
    assert_false(ZSTD_isError(n));
    assert_int_equal(ZSTD_freeCCtx(c), 0);
    return n;
}

static void other_frames_are_refused(void **state)
{
    static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'};
    uint8_t *data = make_data(3000);
    uint8_t back[3000], out[8000];
    size_t n;
    fmp_error err;

    (void)state;
    n = foreign(out, sizeof out, data, 3000, ZSTD_c_compressionLevel, 3);
    assert_status(fmp_z_decompress(z, out, n, back, 3000, &err), FMP_OK, &err);
    memcpy(out + n, skippable, sizeof skippable);
    assert_status(fmp_z_decompress(z, out, n + sizeof skippable, back, 3000, &err), FMP_ECORRUPT,
                  &err);
    memmove(out + n, out, n); /* two frames */
    assert_status(fmp_z_decompress(z, out, 2 * n, back, 3000, &err), FMP_ECORRUPT, &err);
    assert_status(fmp_z_decompress(z, skippable, sizeof skippable, back, 0, &err), FMP_ECORRUPT,
                  &err);
    n = foreign(out, sizeof out, data, 3000, ZSTD_c_checksumFlag, 1);
    assert_status(fmp_z_decompress(z, out, n, back, 3000, &err), FMP_ECORRUPT, &err);
    n = foreign(out, sizeof out, data, 3000, ZSTD_c_contentSizeFlag, 0);
    assert_status(fmp_z_decompress(z, out, n, back, 3000, &err), FMP_ECORRUPT, &err);
    assert_string_equal(err.text, "zstd data: the frame declares no size");
    free(data);
}

/* Frames of nothing but run-length blocks, with a header made by hand. */
static size_t runs(uint8_t *out, uint8_t flags, uint8_t window, uint64_t raw_len)
{
    fmp_buf b = {0};
    size_t n;

    fmp_buf_put_le(&b, 0xfd2fb528, 4);
    fmp_buf_put_le(&b, flags, 1);
    if (!(flags & 0x20))
        fmp_buf_put_le(&b, window, 1);
    fmp_buf_put_le(&b, raw_len, 8);
    for (uint64_t left = raw_len; left;) {
        const uint64_t len = left < 100000 ? left : 100000;

        left -= len;
        fmp_buf_put_le(&b, len << 3 | 1 << 1 | !left, 3);
        fmp_buf_put_le(&b, 7, 1);
    }
    assert_false(b.bad);
    memcpy(out, b.data, b.len);
    n = b.len;
    fmp_buf_release(&b);
    return n;
}

static void window_larger_than_allowed_is_refused(void **state)
{
    const size_t big = (4u << 20) + 1;
    uint8_t out[400];
    uint8_t *back = malloc(big);
    size_t n;
    fmp_error err;

    (void)state;
    assert_non_null(back);
    n = runs(out, 0xc0, (22 - 10) << 3, 3000);
    assert_status(fmp_z_decompress(z, out, n, back, 3000, &err), FMP_OK, &err);
    assert_int_equal(back[2999], 7);
    n = runs(out, 0xc0, (22 - 10) << 3 | 1, 3000); /* 4.5 MiB */
    assert_status(fmp_z_decompress(z, out, n, back, 3000, &err), FMP_ECORRUPT, &err);
    assert_non_null(strstr(err.text, "window of 4718592 bytes"));
    n = runs(out, 0xc0, 31 << 3, 3000); /* 2 TiB */
    assert_status(fmp_z_decompress(z, out, n, back, 3000, &err), FMP_ECORRUPT, &err);
    n = runs(out, 0xe0, 0, big - 1); /* single segment: the window is the content */
    assert_status(fmp_z_decompress(z, out, n, back, big - 1, &err), FMP_OK, &err);
    n = runs(out, 0xe0, 0, big);
    assert_status(fmp_z_decompress(z, out, n, back, big, &err), FMP_ECORRUPT, &err);
    n = runs(out, 0xc0, (22 - 10) << 3, big);
    assert_status(fmp_z_decompress(z, out, n, back, big, &err), FMP_OK, &err);
    free(back);
}

static void reserved_bit_and_dictionary_are_refused(void **state)
{
    static const uint8_t flags[] = {0xc8, 0xc4, 0xc1, 0xc2, 0xc3};
    uint8_t out[400], back[3000];
    fmp_error err;

    (void)state;
    for (size_t i = 0; i < sizeof flags; i++) {
        const size_t n = runs(out, flags[i], (22 - 10) << 3, 3000);

        assert_status(fmp_z_decompress(z, out, n, back, 3000, &err), FMP_ECORRUPT, &err);
    }
}

/* No flipped bit reads or writes outside, and what is accepted has the declared length. */
static void flipped_bits_do_no_harm(void **state)
{
    uint8_t *data = make_data(1000);
    fmp_buf out = {0};
    size_t n = 0, refused = 0;
    fmp_error err;

    (void)state;
    assert_status(fmp_z_compress(z, 3, data, 1000, &out, &n, &err), FMP_OK, &err);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        uint8_t *back = malloc(1000);

        assert_non_null(back);
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refused += fmp_z_decompress(z, out.data, n, back, 1000, &err) == FMP_ECORRUPT;
        if (bit < 32 + 8)
            assert_int_equal(refused, bit + 1); /* magic and flags */
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        free(back);
    }
    fmp_buf_release(&out);
    free(data);
}

static void allocation_failures_are_reported(void **state)
{
    fmp_status st = FMP_ENOMEM;
    unsigned failed = 0;

    (void)state;
    for (long k = 0; st; k++) {
        fmp_buf out = {0};
        fmp_z *mine = NULL;
        size_t n;
        fmp_error err;

        fmp_alloc_fail_at(k);
        st = fmp_z_new(&mine, &err);
        if (!st)
            st = fmp_z_compress(mine, 3, "x", 1, &out, &n, &err);
        fmp_alloc_fail_at(-1);
        if (st) {
            assert_status(st, FMP_ENOMEM, &err);
            failed++;
        }
        fmp_z_free(mine);
        fmp_buf_release(&out);
    }
    assert_int_equal(failed, 2);
    fmp_z_free(NULL);
}

#define with_z(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_z(every_size_and_level_comes_back),
        with_z(window_is_bounded),
        with_z(level_is_checked),
        with_z(hard_cap_is_a_limit),
        with_z(every_truncation_and_extension_is_refused),
        with_z(other_sizes_are_refused),
        with_z(other_frames_are_refused),
        with_z(window_larger_than_allowed_is_refused),
        with_z(reserved_bit_and_dictionary_are_refused),
        with_z(flipped_bits_do_no_harm),
        cmocka_unit_test(allocation_failures_are_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
