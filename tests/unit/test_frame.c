/*
 * Frames: built of random pieces, sealed, opened and applied; cut short at every length, with every
 * single bit wrong, and with every allocation failing.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/bits.h"
#include "codec/frame.h"

enum { N_OBJECTS = 40, OBJECT_MAX = 6000 };

static uint64_t rng_state = 1181783497276652981u;
static fmp_scratch *scratch;
static fmp_z *z;
static uint8_t base[N_OBJECTS][OBJECT_MAX], target[N_OBJECTS][OBJECT_MAX];
static uint32_t object_len[N_OBJECTS];

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static int begin(void **state)
{
    fmp_error err;

    (void)state;
    scratch = fmp_scratch_new();
    return scratch && fmp_z_new(&z, &err) == FMP_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    fmp_scratch_free(scratch);
    fmp_z_free(z);
    return 0;
}

/* The block of object `i`, of a length and a kind that depend on it; some come in equal pairs. */
static void make_piece(unsigned i, uint32_t len, fmp_piece *piece)
{
    const unsigned bits = 8u << i / 2 % 4;
    fmp_error err;

    object_len[i] = len;
    for (uint32_t k = 0; k < len; k++)
        base[i][k] = target[i][k] = (uint8_t)(rng() >> 9);
    for (uint32_t k = 0; k < len; k += 1 + (uint32_t)(rng() % (1 + 3 * i)))
        target[i][k] = (uint8_t)(target[i][k] + 1);
    if (i % 8 < 6) {
        const fmp_block_params p = {
            .bits = (uint8_t)bits, .sign_magnitude = i & 1, .set_values = i % 5 == 4};

        assert_status(fmp_piece_encode(scratch, &p, base[i], target[i], len, piece, &err), FMP_OK,
                      &err);
        assert_int_equal(piece->head.n_bytes, len);
    } else {
        assert_status(fmp_piece_whole(target[i], len, bits, i & 1, piece, &err), FMP_OK, &err);
    }
    piece->head.object = i;
}

static void build(fmp_frame_builder *f, unsigned n, uint32_t len)
{
    fmp_piece piece = {0};

    for (unsigned i = 0; i < n; i++) {
        make_piece(i, len ? len : 8 * (1 + (uint32_t)(rng() % (OBJECT_MAX / 8))), &piece);
        assert_true(fmp_frame_takes(f, &piece));
        fmp_frame_add(f, &piece);
    }
    fmp_piece_release(&piece);
}

/* Applies all blocks; FMP_OK only when every one did and stayed inside its object. */
static fmp_status apply_all(const fmp_frame *f, uint8_t (*data)[OBJECT_MAX], int direction,
                            fmp_xxh sums[2], fmp_error *err)
{
    for (uint32_t i = 0; i < f->n_blocks; i++) {
        const fmp_block *b = &f->blocks[i];
        uint64_t sum[2];
        fmp_status st;

        if (b->object >= N_OBJECTS || b->off + b->n_bytes > object_len[b->object])
            return FMP_ECORRUPT;
        st =
            fmp_block_apply(b, &f->streams, data[b->object] + b->off, direction, scratch, sum, err);
        if (st)
            return st;
        for (unsigned k = 0; k < 2 && b->kind < FMP_BLOCK_WHOLE && sums; k++) {
            uint8_t le[8];

            fmp_store_le(le, sum[k], 8);
            fmp_xxh_update(&sums[k], le, 8);
        }
    }
    return FMP_OK;
}

static void check_content(const fmp_frame *f, unsigned n)
{
    static uint8_t data[N_OBJECTS][OBJECT_MAX];
    fmp_xxh sums[2];
    fmp_error err;

    memcpy(data, base, sizeof data);
    fmp_xxh_init(&sums[0]);
    fmp_xxh_init(&sums[1]);
    assert_status(apply_all(f, data, FMP_FORWARD, sums, &err), FMP_OK, &err);
    for (unsigned i = 0; i < n; i++)
        assert_memory_equal(data[i], target[i], object_len[i]);
    if (f->has_sums) {
        assert_true(fmp_xxh_final(&sums[0]) == f->sum_before);
        assert_true(fmp_xxh_final(&sums[1]) == f->sum_after);
    }
}

static void test_build_and_open(void **state)
{
    static const int level[] = {1, 3, 19};
    fmp_frame_builder f = {0};
    fmp_frame opened = {0};
    fmp_error err;

    (void)state;
    for (unsigned n = 1; n <= N_OBJECTS; n += 3) {
        for (unsigned k = 0; k < 6; k++) {
            fmp_buf out = {0};

            build(&f, n, k & 1 ? 64 : 0);
            assert_int_equal(f.n_blocks, n);
            fmp_buf_put_str(&out, "before");
            assert_status(fmp_frame_seal(&f, z, level[k / 2], k != 3, &out, &err), FMP_OK, &err);
            assert_int_equal(f.n_blocks, 0);
            assert_memory_equal(out.data, "before", 6);
            assert_status(fmp_frame_open(&opened, z, out.data + 6, out.len - 6, &err), FMP_OK,
                          &err);
            assert_int_equal(opened.n_blocks, n);
            assert_int_equal(opened.has_sums, k != 3);
            check_content(&opened, n);
            fmp_buf_release(&out);
        }
    }
    fmp_frame_release(&opened);
    fmp_frame_builder_release(&f);
}

static void test_whole_blocks_have_no_sums(void **state)
{
    static const uint8_t some[64] = {1, 2, 3};
    fmp_frame_builder f = {0};
    fmp_frame opened = {0};
    fmp_piece piece = {0};
    fmp_buf out = {0};
    fmp_error err;

    (void)state;
    for (unsigned i = 0; i < 5; i++) { /* alike, one behind the other */
        assert_status(fmp_piece_whole(some, 64, 8, false, &piece, &err), FMP_OK, &err);
        piece.head.object = i;
        fmp_frame_add(&f, &piece);
    }
    assert_status(fmp_frame_seal(&f, z, 3, true, &out, &err), FMP_OK, &err);
    assert_status(fmp_frame_open(&opened, z, out.data, out.len, &err), FMP_OK, &err);
    assert_false(opened.has_sums);
    assert_int_equal(opened.n_blocks, 5);
    for (uint32_t i = 0; i < 5; i++) {
        uint8_t got[64] = {0};

        assert_int_equal(opened.blocks[i].object, i);
        assert_status(fmp_block_apply(&opened.blocks[i], &opened.streams, got, FMP_FORWARD, scratch,
                                      NULL, &err),
                      FMP_OK, &err);
        assert_memory_equal(got, some, 64);
    }
    fmp_buf_release(&out);
    fmp_piece_release(&piece);
    fmp_frame_release(&opened);
    fmp_frame_builder_release(&f);
}

/* A frame is full at its writer's goal, and what it took by then can be read. */
static void test_takes_until_full(void **state)
{
    static uint8_t noise[1u << 16];
    fmp_frame_builder f = {0};
    fmp_frame opened = {0};
    fmp_piece piece = {0};
    fmp_buf out = {0};
    uint32_t n = 0;
    fmp_error err;

    (void)state;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(rng() >> 9);
    for (;; n++) {
        assert_status(fmp_piece_whole(noise, sizeof noise, 8, false, &piece, &err), FMP_OK, &err);
        piece.head.object = n;
        if (!fmp_frame_takes(&f, &piece))
            break;
        fmp_frame_add(&f, &piece);
        assert_true(n < 100);
    }
    assert_int_equal(n, FMP_FRAME_GOAL / sizeof noise);
    assert_status(fmp_frame_seal(&f, z, 1, true, &out, &err), FMP_OK, &err);
    assert_true(out.len <= FMP_FRAME_MAX_STORED);
    assert_status(fmp_frame_open(&opened, z, out.data, out.len, &err), FMP_OK, &err);
    assert_int_equal(opened.n_blocks, n);
    fmp_buf_release(&out);
    fmp_piece_release(&piece);
    fmp_frame_release(&opened);
    fmp_frame_builder_release(&f);
}

/* ---- broken frames ----------------------------------------------------------------------------
 */

static void small_frame(fmp_buf *out)
{
    fmp_frame_builder f = {0};
    fmp_error err;

    build(&f, 12, 96);
    assert_status(fmp_frame_seal(&f, z, 3, true, out, &err), FMP_OK, &err);
    fmp_frame_builder_release(&f);
}

static void test_every_truncation(void **state)
{
    fmp_frame opened = {0};
    fmp_buf out = {0};
    fmp_error err;

    (void)state;
    small_frame(&out);
    for (size_t len = 0; len < out.len; len++) {
        uint8_t *exact = malloc(len ? len : 1);

        assert_non_null(exact);
        memcpy(exact, out.data, len);
        assert_status(fmp_frame_open(&opened, z, exact, len, &err), FMP_ECORRUPT, &err);
        assert_int_equal(opened.n_blocks, 0);
        free(exact);
    }
    fmp_buf_put(&out, "", 1);
    assert_status(fmp_frame_open(&opened, z, out.data, out.len, &err), FMP_ECORRUPT, &err);
    fmp_buf_release(&out);
    fmp_frame_release(&opened);
}

/* Digests keep broken frames away from here, but not malicious ones: no crash, no wrong step. */
static void test_every_flipped_bit(void **state)
{
    static uint8_t data[N_OBJECTS][OBJECT_MAX];
    fmp_frame opened = {0};
    fmp_buf out = {0};
    unsigned n_opened = 0;
    unsigned n_refused = 0;
    fmp_error err;

    (void)state;
    small_frame(&out);
    for (size_t bit = 0; bit < 8 * out.len; bit++) {
        uint8_t *exact = malloc(out.len);
        fmp_status st;

        assert_non_null(exact);
        memcpy(exact, out.data, out.len);
        exact[bit / 8] ^= (uint8_t)(1u << bit % 8);
        st = fmp_frame_open(&opened, z, exact, out.len, &err);
        assert_true(st == FMP_OK || st == FMP_ECORRUPT);
        n_refused += st != FMP_OK;
        n_opened += st == FMP_OK;
        memcpy(data, base, sizeof data);
        if (!st) {
            st = apply_all(&opened, data, FMP_FORWARD, NULL, &err);
            assert_true(st == FMP_OK || st == FMP_ECORRUPT);
            st = apply_all(&opened, data, FMP_BACKWARD, NULL, &err);
            assert_true(st == FMP_OK || st == FMP_ECORRUPT || st == FMP_EPOLICY);
        }
        free(exact);
    }
    assert_true(n_opened > 100);
    assert_true(n_refused > 100);
    fmp_buf_release(&out);
    fmp_frame_release(&opened);
}

static void test_hostile_heads(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *text;
    } bad[] = {
        {"\x02\x01\x01", 3, "head"},                           /* an unknown flag */
        {"\x00\x01\x00", 3, "head"},                           /* no heads */
        {"\x00\x01\x81\x80\x80\x02", 6, "head"},               /* a stream that is not */
        {"\x00\x01\x01\x00\x00", 5, "length"},                 /* an empty stream */
        {"\x00\x01\x01\x04\x04", 5, "length"},                 /* stored like raw */
        {"\x00\x01\x01\x81\x80\x80\x02\x01\x00", 9, "length"}, /* more than 4 MiB */
        {"\x00\x01\x03\x81\x80\x80\x01\x01\x81\x80\x80\x01\x01", 13, "4 MiB"},
        {"\x00\x00\x01\x04\x00----", 9, "blocks"},               /* none */
        {"\x00\x05\x01\x04\x00----", 9, "blocks"},               /* more than heads */
        {"\x00\x81\x80\x01\x01\x80\x80\x02\x01-", 10, "blocks"}, /* more than 16 Ki */
        {"\x01\x01\x01\x04\x00----", 9, "cut short"},            /* sums are missing */
    };
    fmp_frame f = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fmp_error err = {0};

        assert_status(fmp_frame_open(&f, z, bad[i].bytes, bad[i].len, &err), FMP_ECORRUPT, &err);
        if (!strstr(err.text, bad[i].text))
            fail_msg("frame %zu: \"%s\" lacks \"%s\"", i, err.text, bad[i].text);
    }
    fmp_frame_release(&f);
}

static void test_streams(void **state)
{
    static uint8_t data[5000];
    fmp_buf body = {0};
    size_t stored;
    fmp_error err;

    (void)state;
    memset(data, 9, sizeof data);
    assert_status(fmp_stream_put(data, sizeof data, FMP_STREAM_VALUES, z, 3, &body, &stored, &err),
                  FMP_OK, &err);
    assert_int_equal(stored, 1); /* one byte, again and again */
    assert_int_equal(body.len, 1);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(rng() >> 9);
    fmp_buf_clear(&body);
    assert_status(fmp_stream_put(data, sizeof data, FMP_STREAM_BYTES, z, 3, &body, &stored, &err),
                  FMP_OK, &err);
    assert_int_equal(stored, 0); /* noise stays as it is */
    assert_int_equal(body.len, sizeof data);
    assert_memory_equal(body.data, data, sizeof data);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] &= 3;
    fmp_buf_clear(&body);
    assert_status(fmp_stream_put(data, sizeof data, FMP_STREAM_GAPS, z, 3, &body, &stored, &err),
                  FMP_OK, &err);
    assert_int_equal(stored, body.len);
    assert_true(stored > 1 && stored < 2000);
    fmp_buf_release(&body);
}

/* ---- short memory -----------------------------------------------------------------------------
 */

static void test_allocation_sweep_seal(void **state)
{
    fmp_status st = FMP_ENOMEM;
    fmp_error err;
    long k = 0;

    (void)state;
    for (; st; k++) {
        fmp_frame_builder f = {0};
        fmp_frame opened = {0};
        fmp_buf out = {0};
        fmp_piece piece = {0};

        make_piece(1, 800, &piece);
        fmp_alloc_fail_at(k);
        fmp_frame_add(&f, &piece);
        fmp_frame_add(&f, &piece);
        st = fmp_frame_seal(&f, z, 3, true, &out, &err);
        fmp_alloc_fail_at(-1);
        assert_true(st == FMP_OK || st == FMP_ENOMEM);
        assert_true(k < 200);
        fmp_buf_release(&out);
        fmp_piece_release(&piece);
        fmp_frame_release(&opened);
        fmp_frame_builder_release(&f);
    }
    assert_true(k > 3);
}

static void test_allocation_sweep_open(void **state)
{
    fmp_status st = FMP_ENOMEM;
    fmp_buf out = {0};
    fmp_error err;
    long k = 0;

    (void)state;
    small_frame(&out);
    for (; st; k++) {
        fmp_frame opened = {0};

        fmp_alloc_fail_at(k);
        st = fmp_frame_open(&opened, z, out.data, out.len, &err);
        fmp_alloc_fail_at(-1);
        assert_true(st == FMP_OK || st == FMP_ENOMEM);
        assert_int_equal(opened.n_blocks, st ? 0 : 12);
        assert_true(k < 200);
        fmp_frame_release(&opened);
    }
    assert_true(k > 1);
    fmp_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build_and_open),
        cmocka_unit_test(test_whole_blocks_have_no_sums),
        cmocka_unit_test(test_takes_until_full),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_hostile_heads),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_allocation_sweep_seal),
        cmocka_unit_test(test_allocation_sweep_open),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
