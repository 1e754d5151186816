/*
 * Fuzz target: any bytes as one frame.  Every block is applied to bytes of its own; a residual
 * block must be undone exactly, and what can be applied can be listed, and the other way round.
 * What residuals make is coded once more, given the base, and must come out again.
 */
#include <stdlib.h>
#include <string.h>

#include "codec/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static fmp_z *z;
static fmp_scratch *scratch;
static uint64_t *values;
static fmp_frame frame;
static fmp_piece piece;

static void must(bool right)
{
    if (!right)
        abort();
}

static void release(void)
{
    fmp_frame_release(&frame);
    fmp_piece_release(&piece);
    fmp_scratch_free(scratch);
    fmp_z_free(z);
    free(values);
}

static void prepare(void)
{
    if (z)
        return;
    must(!fmp_z_new(&z, NULL));
    scratch = fmp_scratch_new();
    values = malloc(FMP_BLOCK_UNITS * sizeof *values);
    must(scratch && values && !atexit(release));
}

/* Memory of exactly the block's size, so that a sanitizer sees a write past it. */
static uint8_t *some_bytes(size_t n)
{
    uint8_t *p = malloc(n);

    must(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 167 + (i >> 8));
    return p;
}

/* Residuals from base to target, in a model of the encoder's choice. */
static void check_model(const fmp_block *of, const uint8_t *base, const uint8_t *target)
{
    const uint32_t row_len = of->model.row_len > 1 ? of->model.row_len : 1 + of->n_bytes % 61;
    const fmp_block_params p = {.bits = of->bits,
                                .sign_magnitude = of->sign_magnitude,
                                .modelled = true,
                                .effort = (uint8_t)(of->n_bytes % 3),
                                .key_shift = of->model.key_shift,
                                .row_len = row_len,
                                .row_phase = (uint32_t)(of->off / (of->bits / 8u) % row_len)};
    fmp_streams s = {{NULL}, {0}};
    uint64_t sums[2] = {0};
    uint8_t *now;
    fmp_block b;

    must(!fmp_piece_encode(scratch, &p, base, target, of->n_bytes, &piece, NULL));
    if (!piece.head.n_bytes)
        return;
    piece.head.off = of->off;
    fmp_block_put_head(&piece.head, NULL, &piece.stream[FMP_STREAM_HEADS],
                       &piece.stream[FMP_STREAM_COUNTS]);
    for (unsigned k = 0; k < FMP_STREAM_COUNT; k++) {
        s.data[k] = piece.stream[k].data;
        s.len[k] = piece.stream[k].len;
    }
    must(!fmp_blocks_parse(&s, 1, &b, NULL));
    now = malloc(b.n_bytes);
    must(now);
    memcpy(now, base, b.n_bytes);
    must(!fmp_block_apply(&b, &s, now, FMP_FORWARD, scratch, sums, NULL));
    must(!memcmp(now, target, b.n_bytes));
    must(sums[0] == piece.sum_before && sums[1] == piece.sum_after);
    free(now);
}

static void check_block(const fmp_block *b)
{
    uint8_t *now = some_bytes(b->n_bytes);
    uint8_t *base = some_bytes(b->n_bytes);
    uint64_t there[2] = {0};
    uint64_t back[2] = {0};
    const bool applied =
        !fmp_block_apply(b, &frame.streams, now, FMP_FORWARD, scratch, there, NULL);
    const bool modelled = fmp_block_is_modelled(b);

    if (fmp_block_values(b) <= FMP_BLOCK_UNITS)
        must((applied && !modelled) == !fmp_block_list(b, &frame.streams, scratch, values, NULL));
    if (applied && b->kind == FMP_BLOCK_RESIDUAL) {
        check_model(b, base, now);
        must(modelled ==
             !!fmp_block_apply(b, &frame.streams, now, FMP_BACKWARD, scratch, back, NULL));
        must(modelled ||
             (!memcmp(now, base, b->n_bytes) && there[0] == back[1] && there[1] == back[0]));
    }
    free(now);
    free(base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint64_t total = 0;

    prepare();
    if (fmp_frame_open(&frame, z, data, len, NULL))
        return 0;
    for (uint32_t i = 0; i < frame.n_blocks && total < 4 * FMP_BLOCK_MAX; i++) {
        check_block(&frame.blocks[i]);
        total += frame.blocks[i].n_bytes;
    }
    return 0;
}
