/*
 * Fuzz target: any bytes as one frame.  Every block is applied to bytes of its own; a residual
 * block must be undone exactly, and what can be applied can be listed, and the other way round.
 */
#include <stdlib.h>
#include <string.h>

#include "codec/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static fmp_z *z;
static fmp_scratch *scratch;
static uint64_t *values;
static fmp_frame frame;

static void must(bool right)
{
    if (!right)
        abort();
}

static void release(void)
{
    fmp_frame_release(&frame);
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

static void check_block(const fmp_block *b)
{
    uint8_t *now = some_bytes(b->n_bytes);
    uint8_t *base = some_bytes(b->n_bytes);
    uint64_t there[2] = {0};
    uint64_t back[2] = {0};
    const bool applied =
        !fmp_block_apply(b, &frame.streams, now, FMP_FORWARD, scratch, there, NULL);

    if (fmp_block_values(b) <= FMP_BLOCK_UNITS)
        must(applied == !fmp_block_list(b, &frame.streams, scratch, values, NULL));
    if (applied && b->kind == FMP_BLOCK_RESIDUAL) {
        must(!fmp_block_apply(b, &frame.streams, now, FMP_BACKWARD, scratch, back, NULL));
        must(!memcmp(now, base, b->n_bytes) && there[0] == back[1] && there[1] == back[0]);
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
