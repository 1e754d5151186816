/*
 * One block there and back: coded, its head written and parsed, applied forward and backward, for
 * every way to tell positions and values.  And blocks that no encoder makes must be refused.
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/digest.h"
#include "codec/bits.h"
#include "codec/block.h"
#include "codec/positions.h"
#include "codec/residual.h"
#include "codec/scan.h"
#include "codec/values.h"

static uint64_t rng_state = 2463534242u;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static fmp_scratch *scratch;
static uint8_t *base, *target, *work;
static uint64_t *values;
static unsigned seen_pos[8], seen_kind[4], seen_complement, seen_apart, seen_class[2][4];

static int begin(void **state)
{
    (void)state;
    scratch = fmp_scratch_new();
    base = malloc(FMP_BLOCK_MAX);
    target = malloc(FMP_BLOCK_MAX);
    work = malloc(FMP_BLOCK_MAX);
    values = malloc(FMP_BLOCK_UNITS * sizeof *values);
    return scratch && base && target && work && values ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    fmp_scratch_free(scratch);
    free(base);
    free(target);
    free(work);
    free(values);
    return 0;
}

static void fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(rng() >> 11);
}

/* Streams of one piece, heads and counts made for them. */
static fmp_streams streams_of(fmp_piece *piece)
{
    fmp_streams s = {{NULL}, {0}};

    fmp_block_put_head(&piece->head, NULL, &piece->stream[FMP_STREAM_HEADS],
                       &piece->stream[FMP_STREAM_COUNTS]);
    for (unsigned k = 0; k < FMP_STREAM_COUNT; k++) {
        assert_false(piece->stream[k].bad);
        s.data[k] = piece->stream[k].data;
        s.len[k] = piece->stream[k].len;
    }
    return s;
}

static void note(const fmp_block *b)
{
    seen_pos[b->pos]++;
    seen_kind[b->kind]++;
    seen_complement += b->complement;
    seen_apart += b->sign_apart;
    if (b->pos == FMP_POS_GAPS || b->pos == FMP_POS_SPLIT || b->pos == FMP_POS_RUNS)
        seen_class[0][b->gap_class]++;
    if (b->kind == FMP_BLOCK_RESIDUAL)
        seen_class[1][b->value_class]++;
}

static void assert_heads_equal(const fmp_block *a, const fmp_block *b)
{
    assert_int_equal(a->object, b->object);
    assert_int_equal(a->off, b->off);
    assert_int_equal(a->n_bytes, b->n_bytes);
    assert_int_equal(a->bits, b->bits);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->pos, b->pos);
    assert_int_equal(a->complement, b->complement);
    assert_int_equal(fmp_block_values(a), fmp_block_values(b));
    if (a->kind < FMP_BLOCK_WHOLE) {
        assert_int_equal(a->n_set, b->n_set);
        assert_int_equal(a->n_runs, b->n_runs);
        assert_int_equal(a->bits_len, b->bits_len);
        assert_int_equal(a->sign_apart, b->sign_apart);
        assert_int_equal(a->sign_magnitude, b->sign_magnitude);
    }
    if (a->pos == FMP_POS_SPLIT || a->pos == FMP_POS_RICE)
        assert_int_equal(a->shift, b->shift);
}

/* fmp_block_list() must name the very units that differ, and their values. */
static void check_list(const fmp_block *b, const fmp_streams *s)
{
    const unsigned width = b->bits / 8;
    uint32_t n = 0;
    fmp_error err;

    if (fmp_block_values(b) > FMP_BLOCK_UNITS) {
        assert_status(fmp_block_list(b, s, scratch, values, &err), FMP_EUSAGE, &err);
        return;
    }
    assert_status(fmp_block_list(b, s, scratch, values, &err), FMP_OK, &err);
    for (uint32_t i = 0; i < fmp_block_units(b); i++) {
        const uint64_t x = fmp_load_le(base + (size_t)i * width, width);
        const uint64_t y = fmp_load_le(target + (size_t)i * width, width);

        if (x == y && b->kind < FMP_BLOCK_WHOLE && b->pos != FMP_POS_FULL)
            continue;
        assert_true(n < fmp_block_values(b));
        assert_int_equal(scratch->idx[n], i);
        if (b->kind == FMP_BLOCK_RESIDUAL)
            assert_true(values[n] == fmp_residual(x, y, b->bits, b->sign_magnitude));
        else
            assert_true(values[n] == y);
        n++;
    }
    assert_int_equal(n, fmp_block_values(b));
}

/* `piece` must turn base into target, and back where it can be undone. */
static void check_piece(fmp_piece *piece)
{
    const uint32_t len = piece->head.n_bytes;
    const bool whole = piece->head.kind >= FMP_BLOCK_WHOLE;
    uint64_t sums[2] = {0, 0};
    fmp_streams s;
    fmp_block b;
    fmp_error err;

    piece->head.object = 3;
    piece->head.off = 5ull << 20;
    note(&piece->head);
    s = streams_of(piece);
    assert_status(fmp_blocks_parse(&s, 1, &b, &err), FMP_OK, &err);
    assert_heads_equal(&piece->head, &b);
    memcpy(work, base, len);
    assert_status(fmp_block_apply(&b, &s, work, FMP_FORWARD, scratch, sums, &err), FMP_OK, &err);
    assert_memory_equal(work, target, len);
    if (!whole) {
        assert_true(sums[0] == piece->sum_before);
        assert_true(sums[1] == piece->sum_after);
    }
    check_list(&b, &s);
    if (b.kind != FMP_BLOCK_RESIDUAL) {
        assert_status(fmp_block_apply(&b, &s, work, FMP_BACKWARD, scratch, NULL, &err), FMP_EPOLICY,
                      &err);
        assert_memory_equal(work, target, len);
        return;
    }
    assert_status(fmp_block_apply(&b, &s, work, FMP_BACKWARD, scratch, sums, &err), FMP_OK, &err);
    assert_memory_equal(work, base, len);
    assert_true(sums[0] == piece->sum_after);
    assert_true(sums[1] == piece->sum_before);
}

static void check_encoding(fmp_piece *piece, uint32_t len, unsigned bits)
{
    const bool equal = memcmp(base, target, len) == 0;
    fmp_error err;

    for (unsigned form = 0; form < 3; form++) {
        const fmp_block_params p = {
            .bits = (uint8_t)bits, .sign_magnitude = form == 1, .set_values = form == 2};

        assert_status(fmp_piece_encode(scratch, &p, base, target, len, piece, &err), FMP_OK, &err);
        assert_int_equal(piece->head.n_bytes, equal ? 0 : len);
        if (!equal)
            check_piece(piece);
    }
}

static void check_whole(fmp_piece *piece, uint32_t len, unsigned bits)
{
    fmp_error err;

    for (unsigned planes = 0; planes < 2; planes++) {
        assert_status(fmp_piece_whole(target, len, bits, planes, piece, &err), FMP_OK, &err);
        check_piece(piece);
    }
}

static uint64_t sum_of(const uint8_t *data, size_t len)
{
    fmp_xxh x;

    fmp_xxh_init(&x);
    fmp_xxh_update(&x, data, len);
    return fmp_xxh_final(&x);
}

/* Another value for the unit: a step of up to 2^size, or any. */
static void change(size_t unit, unsigned width, unsigned size)
{
    uint64_t x = fmp_load_le(target + unit * width, width);
    const uint64_t before = x;

    while ((x & fmp_unit_mask(width * 8)) == before)
        x = size < 64 ? before + (rng() & 1 ? 1u : -1ull) * (1 + (rng() & ((1ull << size) - 1)))
                      : rng();
    fmp_store_le(target + unit * width, x, width);
}

static void test_densities(void **state)
{
    static const double density[] = {0.0001, 0.0005, 0.001, 0.003, 0.01, 0.03, 0.1,   0.2,    0.3,
                                     0.45,   0.5,    0.6,   0.8,   0.95, 0.99, 0.999, 0.9999, 1.0};
    static const unsigned size[] = {0, 2, 9, 64};
    fmp_piece piece = {0};

    (void)state;
    for (unsigned width = 1; width <= 8; width *= 2) {
        const uint32_t n = 40000;

        fill(base, (size_t)n * width);
        for (unsigned d = 0; d < sizeof density / sizeof *density; d++) {
            for (unsigned k = 0; k < 4; k++) {
                memcpy(target, base, (size_t)n * width);
                for (uint32_t i = 0; i < n; i++) {
                    if ((double)(rng() >> 11) < density[d] * 0x1p53)
                        change(i, width, size[k]);
                }
                check_encoding(&piece, n * width, width * 8);
            }
        }
        check_whole(&piece, n * width, width * 8);
    }
    fmp_piece_release(&piece);
}

/* Every unit the same step: positions are all, or nearly all. */
static void test_equal_steps(void **state)
{
    fmp_piece piece = {0};

    (void)state;
    for (unsigned width = 1; width <= 8; width *= 2) {
        const uint32_t n = 4096;

        for (uint32_t skip = 0; skip < 3; skip++) {
            for (uint32_t i = 0; i < n; i++) {
                fmp_store_le(base + (size_t)i * width, 5 + i % 7, width);
                fmp_store_le(target + (size_t)i * width, 5 + i % 7 + (i >= skip), width);
            }
            check_encoding(&piece, n * width, width * 8);
        }
    }
    fmp_piece_release(&piece);
}

static void test_runs(void **state)
{
    static const uint32_t run_len[] = {2, 5, 64, 300, 5000};
    fmp_piece piece = {0};

    (void)state;
    for (unsigned width = 1; width <= 8; width *= 2) {
        for (unsigned r = 0; r < 5; r++) {
            for (unsigned other = 0; other < 2; other++) {
                const uint32_t n = 60000;

                fill(base, (size_t)n * width);
                memcpy(target, base, (size_t)n * width);
                for (uint32_t i = 0; i < n; i++) {
                    if ((i / run_len[r] % (other ? 2 : 23) == 0) != other)
                        change(i, width, 1);
                }
                check_encoding(&piece, n * width, width * 8);
            }
        }
    }
    fmp_piece_release(&piece);
}

/* From one unit to a hundred, where vectors and groups end; and each single unit changed. */
static void test_short_blocks(void **state)
{
    fmp_piece piece = {0};

    (void)state;
    for (unsigned width = 1; width <= 8; width *= 2) {
        for (uint32_t n = 1; n <= 100; n++) {
            fill(base, (size_t)n * width);
            memcpy(target, base, (size_t)n * width);
            check_encoding(&piece, n * width, width * 8); /* equal */
            change(n - 1, width, 64);
            check_encoding(&piece, n * width, width * 8);
            for (uint32_t i = 0; i < n; i++)
                change(i, width, i % 2 ? 1 : 64);
            check_encoding(&piece, n * width, width * 8);
            check_whole(&piece, n * width, width * 8);
        }
    }
    for (uint32_t i = 0; i < 130; i++) {
        memset(base, 7, 130);
        memcpy(target, base, 130);
        target[i] ^= 0x80;
        check_encoding(&piece, 130, 8);
    }
    fmp_piece_release(&piece);
}

static void test_largest_blocks(void **state)
{
    fmp_piece piece = {0};

    (void)state;
    fill(base, FMP_BLOCK_MAX);
    memcpy(target, base, FMP_BLOCK_MAX);
    target[FMP_BLOCK_UNITS - 1] ^= 1;
    check_encoding(&piece, FMP_BLOCK_UNITS, 8);
    for (unsigned bits = 16; bits <= 64; bits *= 2) {
        memcpy(target, base, FMP_BLOCK_MAX);
        target[FMP_BLOCK_MAX - 1] ^= 1;
        check_encoding(&piece, FMP_BLOCK_MAX, bits);
        fill(target, FMP_BLOCK_MAX);
        check_encoding(&piece, FMP_BLOCK_MAX, bits);
        check_whole(&piece, FMP_BLOCK_MAX, bits);
    }
    check_whole(&piece, FMP_BLOCK_MAX, 8);
    fmp_piece_release(&piece);
}

/* What differs of base and target, into the scratch. */
static uint32_t changed_units(uint32_t n_units, unsigned bits)
{
    return scratch->kernels->changed(
        base, target, n_units, bits,
        &(fmp_changed){.idx = scratch->idx, .before = scratch->before, .after = scratch->after});
}

/* Codes base and target the way that `head` says, cheap or not. */
static void code_as(const fmp_block *head, uint32_t n_bytes, fmp_piece *piece)
{
    const uint32_t n_units = n_bytes / (head->bits / 8u);
    const uint32_t n = changed_units(n_units, head->bits);
    const uint32_t n_others = fmp_scan_others(scratch->idx, n, n_units, scratch->other);
    fmp_buf *bits = &piece->stream[FMP_STREAM_BITS];
    fmp_buf *tokens = &piece->stream[FMP_STREAM_VALUES + head->value_class];
    fmp_bit_writer w = {0};
    fmp_error err;

    assert_status(fmp_piece_whole(target, n_bytes, head->bits, false, piece, &err), FMP_OK, &err);
    fmp_buf_clear(&piece->stream[FMP_STREAM_BYTES]); /* no more than an empty piece was wanted */
    piece->head = *head;
    piece->head.n_bytes = n_bytes;
    piece->head.n_set = head->complement ? n_others : n;
    w.at = fmp_buf_reserve(bits, (size_t)n_units * 32 + 1000);
    assert_non_null(w.at);
    for (uint32_t i = 0; i < piece->head.n_set; i++) {
        const uint32_t *idx = head->complement ? scratch->other : scratch->idx;

        piece->head.n_runs += head->pos == FMP_POS_RUNS && (i == 0 || idx[i] != idx[i - 1] + 1);
    }
    fmp_positions_write(&piece->head, head->complement ? scratch->other : scratch->idx,
                        piece->head.n_set, n_units, &piece->stream[FMP_STREAM_BITMAP],
                        &piece->stream[FMP_STREAM_GAPS + head->gap_class], &w);
    assert_non_null(fmp_buf_reserve(tokens, n + 1));
    fmp_residuals(scratch->before, scratch->after, n, head->bits, head->sign_magnitude,
                  scratch->residual);
    fmp_values_write(scratch->residual, n, head->sign_apart ? FMP_VALUES_APART : FMP_VALUES_SPARSE,
                     head->bits, NULL, tokens->data, &w);
    tokens->len = n;
    fmp_bits_flush(&w);
    bits->len = (size_t)(w.at - bits->data);
    piece->head.bits_len = (uint32_t)bits->len;
    piece->sum_before = sum_of(scratch->before, (size_t)n * (head->bits / 8u));
    piece->sum_after = sum_of(scratch->after, (size_t)n * (head->bits / 8u));
}

/* What no chooser would choose is still part of the format: every coder on every kind of pattern.
 */
static void test_every_coder_on_any_pattern(void **state)
{
    static const uint8_t pos[] = {FMP_POS_BITMAP, FMP_POS_GAPS, FMP_POS_SPLIT, FMP_POS_RICE,
                                  FMP_POS_RUNS};
    const uint32_t n = 700;
    fmp_piece piece = {0};

    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        const unsigned width = 1u << round % 4;
        const unsigned mean = 1u << round / 4 % 10;
        fmp_block head = {.bits = (uint8_t)(8 * width)};

        fill(base, (size_t)n * width);
        memcpy(target, base, (size_t)n * width);
        change(rng() % n, width, 2);
        for (uint32_t i = 0; i < n; i++) {
            if (rng() % mean == 0)
                change(i, width, round % 5 ? 2 : 64);
        }
        head.sign_apart = round & 1;
        head.sign_magnitude = rng() & 1;
        for (unsigned k = 0; k < 5; k++) {
            head.pos = pos[k];
            head.shift = head.pos == FMP_POS_SPLIT  ? (uint8_t)(1 + rng() % 20)
                         : head.pos == FMP_POS_RICE ? (uint8_t)(rng() % 21)
                                                    : 0;
            head.gap_class = rng() & 3;
            head.value_class = head.sign_apart ? 0 : rng() & 3;
            head.complement = changed_units(n, head.bits) < n && rng() & 1;
            code_as(&head, n * width, &piece);
            check_piece(&piece);
        }
    }
    fmp_piece_release(&piece);
}

/* Steps of few sizes in wide units, some of them rare: numbered by a palette, rare ones as they
 * are. */
static void test_palettes(void **state)
{
    const uint32_t n = 20000;
    fmp_piece piece = {0};
    unsigned seen_palette = 0;

    (void)state;
    for (unsigned width = 4; width <= 8; width += 4) {
        for (unsigned rare = 0; rare < 3; rare++) {
            const fmp_block_params p = {.bits = (uint8_t)(8 * width), .sign_magnitude = true};
            fmp_error err;

            fill(base, (size_t)n * width);
            memcpy(target, base, (size_t)n * width);
            for (uint32_t i = 0; i < n; i += 1 + (uint32_t)(rng() % 8)) {
                const uint64_t x = fmp_load_le(base + (size_t)i * width, width);
                const uint64_t step = rng() % 40 < rare ? rng() : 53687u << (rng() & 3);

                fmp_store_le(target + (size_t)i * width, rng() & 1 ? x + step : x - step, width);
            }
            assert_status(fmp_piece_encode(scratch, &p, base, target, n * width, &piece, &err),
                          FMP_OK, &err);
            seen_palette += fmp_block_has_palette(&piece.head);
            check_piece(&piece);
        }
    }
    assert_int_equal(seen_palette, 6);
    fmp_piece_release(&piece);
}

/* Must stay behind the tests that encode. */
static void test_every_coder_was_used(void **state)
{
    (void)state;
    for (unsigned pos = FMP_POS_NONE; pos <= FMP_POS_FULL; pos++) {
        if (!seen_pos[pos])
            fail_msg("no block told its positions in way %u", pos);
    }
    for (unsigned kind = 0; kind < 4; kind++)
        assert_true(seen_kind[kind]);
    assert_true(seen_complement);
    assert_true(seen_apart);
    assert_true(seen_class[0][0] && seen_class[0][1] && seen_class[0][3]);
    for (unsigned k = 0; k < 4; k++) {
        if (!seen_class[1][k])
            fail_msg("no block put its values into class %u", k);
    }
}

/* ---- heads in a row ---------------------------------------------------------------------------
 */

/* Random heads of whole blocks and bitmaps: written one behind the other, parsed to the same. */
static void test_heads_in_a_row(void **state)
{
    enum { N = 400 };
    static fmp_block in[N], out[N];
    static uint8_t nothing[1];
    fmp_buf heads = {0}, counts = {0};
    fmp_streams s = {{NULL}, {0}};
    fmp_error err;

    (void)state;
    for (unsigned k = 0; k < FMP_STREAM_COUNT; k++)
        s.data[k] = nothing;
    for (unsigned i = 0; i < N; i++) {
        fmp_block *b = &in[i];

        *b = (fmp_block){.object = i ? in[i - 1].object : 0,
                         .off = i ? in[i - 1].off + in[i - 1].n_bytes : 0,
                         .n_bytes = 8 * (uint32_t)(1 + rng() % 3),
                         .bits = (uint8_t)(8u << rng() % 4)};
        if (rng() % 4 == 0) {
            b->object += 1 + rng() % 300;
            b->off = 0;
        }
        if (rng() % 4 == 0)
            b->off += 1 + rng() % 100000;
        if (rng() % 3) {
            b->kind = rng() % 2 ? FMP_BLOCK_WHOLE : FMP_BLOCK_WHOLE_PLANES;
        } else {
            const uint32_t n = b->n_bytes / (b->bits / 8u);

            b->kind = rng() % 2 ? FMP_BLOCK_RESIDUAL : FMP_BLOCK_SET;
            b->pos = FMP_POS_GAPS;
            b->n_set = 1 + (uint32_t)(rng() % n);
            b->bits_len = rng() % 2 ? 0 : (uint32_t)(rng() % 100);
            b->value_class = b->kind == FMP_BLOCK_RESIDUAL ? rng() & 3 : 0;
            b->gap_class = rng() & 3;
        }
        fmp_block_put_head(b, i ? &in[i - 1] : NULL, &heads, &counts);
        for (unsigned k = FMP_STREAM_BITS; k < FMP_STREAM_COUNTS; k++)
            s.len[k] += fmp_block_share(b, k);
    }
    s.data[FMP_STREAM_HEADS] = heads.data;
    s.len[FMP_STREAM_HEADS] = heads.len;
    s.data[FMP_STREAM_COUNTS] = counts.data;
    s.len[FMP_STREAM_COUNTS] = counts.len;
    assert_status(fmp_blocks_parse(&s, N, out, &err), FMP_OK, &err);
    for (unsigned i = 0; i < N; i++)
        assert_heads_equal(&in[i], &out[i]);
    for (s.len[FMP_STREAM_HEADS] = 0; s.len[FMP_STREAM_HEADS] < heads.len;
         s.len[FMP_STREAM_HEADS]++)
        assert_status(fmp_blocks_parse(&s, N, out, &err), FMP_ECORRUPT, &err);
    for (s.len[FMP_STREAM_COUNTS] = 0; s.len[FMP_STREAM_COUNTS] < counts.len;
         s.len[FMP_STREAM_COUNTS]++)
        assert_status(fmp_blocks_parse(&s, N, out, &err), FMP_ECORRUPT, &err);
    fmp_buf_release(&heads);
    fmp_buf_release(&counts);
}

/* ---- hostile blocks ---------------------------------------------------------------------------
 */

/* Any content of any stream is refused or decoded, without a step outside. */
static void test_random_streams(void **state)
{
    unsigned n_parsed = 0;
    unsigned n_refused = 0;
    fmp_piece piece = {0};
    fmp_error err;

    (void)state;
    for (unsigned round = 0; round < 40000; round++) {
        const unsigned width = 1u << round % 4;
        const uint32_t n = 1 + (uint32_t)(rng() % 300);
        const fmp_block_params p = {.bits = (uint8_t)(width * 8),
                                    .sign_magnitude = round & 16,
                                    .set_values = (round & 96) == 0};
        uint8_t *copy[FMP_STREAM_COUNT];
        uint8_t *data = malloc((size_t)n * width);
        fmp_streams s;
        fmp_block b;

        assert_non_null(data);
        fill(base, (size_t)n * width);
        memcpy(target, base, (size_t)n * width);
        for (uint32_t i = 0; i < n; i += 1 + (uint32_t)(rng() % (1 + round % 40)))
            change(i, width, round % 3 ? 1 : 64);
        assert_status(fmp_piece_encode(scratch, &p, base, target, n * width, &piece, &err), FMP_OK,
                      &err);
        s = streams_of(&piece);
        for (unsigned k = 0; k < FMP_STREAM_COUNT; k++) { /* of exact size, for ASan */
            copy[k] = malloc(s.len[k] ? s.len[k] : 1);
            assert_non_null(copy[k]);
            if (s.len[k])
                memcpy(copy[k], s.data[k], s.len[k]);
            if (s.len[k] && rng() % 2)
                copy[k][rng() % s.len[k]] ^= (uint8_t)(1u << rng() % 8);
            s.data[k] = copy[k];
        }
        if (fmp_blocks_parse(&s, 1, &b, &err) == FMP_OK && b.n_bytes <= n * width) {
            fmp_status st;

            n_parsed++;
            memcpy(data, base, (size_t)n * width);
            st = fmp_block_apply(&b, &s, data, FMP_FORWARD, scratch, NULL, &err);
            assert_true(st == FMP_OK || st == FMP_ECORRUPT);
            st = fmp_block_apply(&b, &s, data, FMP_BACKWARD, scratch, NULL, &err);
            assert_true(st == FMP_OK || st == FMP_ECORRUPT || st == FMP_EPOLICY);
            st = fmp_block_list(&b, &s, scratch, values, &err);
            assert_true(st == FMP_OK || st == FMP_ECORRUPT);
            n_refused += st != FMP_OK;
        }
        for (unsigned k = 0; k < FMP_STREAM_COUNT; k++)
            free(copy[k]);
        free(data);
    }
    assert_true(n_parsed > 1000);
    assert_true(n_refused > 100);
    fmp_piece_release(&piece);
}

static void test_refused_heads(void **state)
{
    /* kind and positions, unit and classes, object, bytes, [shift]; and the counts */
    static const struct {
        const char *heads;
        size_t heads_len;
        const char *counts;
        size_t counts_len;
    } bad[] = {
        {"\x02\x00\x08", 3, "", 0},                 /* the first block has no object */
        {"\x42\x00\x00\x00", 4, "", 0},             /* no bytes */
        {"\x42\x00\x00\x81\x80\x40", 6, "", 0},     /* more than 1 MiB */
        {"\x42\x01\x00\x07", 4, "", 0},             /* half a unit */
        {"\x46\x00\x00\x08", 4, "", 0},             /* a whole block with positions */
        {"\x62\x00\x00\x08", 4, "", 0},             /* or a complement */
        {"\x42\x04\x00\x08", 4, "", 0},             /* or an order */
        {"\x42\x80\x00\x08", 4, "", 0},             /* or signs */
        {"\x40\x00\x00\x08", 4, "\x01\x00", 2},     /* residuals of no positions */
        {"\x78\x00\x00\x08", 4, "\x00", 1},         /* full, and a complement */
        {"\x59\x00\x00\x08", 4, "\x00", 1},         /* full, of new bits */
        {"\x49\x04\x00\x08", 4, "\x01\x00", 2},     /* new bits with an order */
        {"\x49\x80\x00\x08", 4, "\x01\x00", 2},     /* new bits with signs */
        {"\x5c\x00", 2, "\x01\x00", 2},             /* as before, but it is the first */
        {"\x48\x00\x00\x08", 4, "\x00\x00", 2},     /* none changed */
        {"\x48\x00\x00\x08", 4, "\x09\x00", 2},     /* more than all */
        {"\x68\x00\x00\x08", 4, "\x08\x00", 2},     /* all are others */
        {"\x54\x00\x00\x08", 4, "\x01\x02\x00", 3}, /* more runs than units */
        {"\x4c\x00\x00\x08\x00", 5, "\x01\x00", 2}, /* split by nothing */
        {"\x4c\x00\x00\x08\x15", 5, "\x01\x00", 2}, /* split too far */
        {"\x48\x00\x00\x08", 4, "\x01\x01", 2},     /* bits below 0 */
    };
    uint8_t zeros[32] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fmp_streams s = {{NULL}, {0}};
        fmp_block b;
        fmp_error err = {0};

        for (unsigned k = 0; k < FMP_STREAM_COUNT; k++)
            s.data[k] = zeros;
        s.data[FMP_STREAM_HEADS] = (const uint8_t *)bad[i].heads;
        s.len[FMP_STREAM_HEADS] = bad[i].heads_len;
        s.data[FMP_STREAM_COUNTS] = (const uint8_t *)bad[i].counts;
        s.len[FMP_STREAM_COUNTS] = bad[i].counts_len;
        assert_status(fmp_blocks_parse(&s, 1, &b, &err), FMP_ECORRUPT, &err);
        if (!strstr(err.text, "head of block 0 is not valid"))
            fail_msg("head %zu: %s", i, err.text);
    }
}

static void test_allocation_sweep(void **state)
{
    fmp_piece piece = {0};
    fmp_error err;

    (void)state;
    fill(base, 4096);
    fill(target, 4096);
    for (unsigned form = 0; form < 4; form++) {
        fmp_status st = FMP_ENOMEM;

        for (long k = 0; st; k++) {
            const fmp_block_params p = {.bits = 16, .set_values = form == 1};

            fmp_piece_release(&piece);
            fmp_alloc_fail_at(k);
            st = form < 2 ? fmp_piece_encode(scratch, &p, base, target, 4096, &piece, &err)
                          : fmp_piece_whole(target, 4096, 16, form == 3, &piece, &err);
            fmp_alloc_fail_at(-1);
            assert_true(st == FMP_OK || st == FMP_ENOMEM);
            assert_true(k < 100);
            assert_true(k || st);
        }
    }
    fmp_piece_release(&piece);
    fmp_alloc_fail_at(0);
    assert_null(fmp_scratch_new());
    fmp_alloc_fail_at(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_densities),      cmocka_unit_test(test_equal_steps),
        cmocka_unit_test(test_runs),           cmocka_unit_test(test_short_blocks),
        cmocka_unit_test(test_largest_blocks), cmocka_unit_test(test_every_coder_on_any_pattern),
        cmocka_unit_test(test_palettes),       cmocka_unit_test(test_every_coder_was_used),
        cmocka_unit_test(test_heads_in_a_row), cmocka_unit_test(test_random_streams),
        cmocka_unit_test(test_refused_heads),  cmocka_unit_test(test_allocation_sweep),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
