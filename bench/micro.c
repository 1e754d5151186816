/*
 * How fast one core codes and decodes: frames of bf16 tensors at several densities.  Prints GB of
 * tensor a second, the median of several runs; asserts nothing.  Sees the library's insides.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/zframe.h"
#include "codec/frame.h"

enum { N_BLOCKS = 16, RUNS = 9 };

typedef struct work {
    uint8_t *base, *target, *copy; /* N_BLOCKS blocks of 1 MiB */
    fmp_scratch *scratch;
    fmp_z *z;
    fmp_piece piece;
    fmp_frame_builder builder;
    fmp_frame frame;
    fmp_buf stored;
    fmp_error err;
} work;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(const work *w, fmp_status st)
{
    if (st) {
        fprintf(stderr, "%s\n", w->err.text);
        exit(1);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* bf16 numbers around 0.02; `per_million` of them one step up or down. */
static void fill(work *w, uint32_t per_million)
{
    uint64_t state = 88172645463325252u;

    for (size_t i = 0; i < (size_t)N_BLOCKS * FMP_BLOCK_MAX / 2; i++) {
        const uint64_t r = next_random(&state);
        const uint16_t x = (uint16_t)(0x3c00 + (r & 0xff) + (r >> 16 & 0x8000));
        const bool hit = (r >> 32) % 1000000 < per_million;
        const uint16_t y = (uint16_t)(hit ? x + (r >> 8 & 1 ? 1 : -1) : x);

        memcpy(w->base + 2 * i, &x, 2);
        memcpy(w->target + 2 * i, &y, 2);
    }
}

static void encode(work *w)
{
    const fmp_block_params p = {.bits = 16, .sign_magnitude = true};

    fmp_buf_clear(&w->stored);
    for (uint32_t k = 0; k < N_BLOCKS; k++) {
        const size_t at = (size_t)k * FMP_BLOCK_MAX;

        check(w, fmp_piece_encode(w->scratch, &p, w->base + at, w->target + at, FMP_BLOCK_MAX,
                                  &w->piece, &w->err));
        w->piece.head.off = at;
        fmp_frame_add(&w->builder, &w->piece);
    }
    check(w, fmp_frame_seal(&w->builder, w->z, 3, true, &w->stored, &w->err));
}

/* The copy of the base is part of the time: apply has to write the result somewhere. */
static void decode(work *w)
{
    check(w, fmp_frame_open(&w->frame, w->z, w->stored.data, w->stored.len, &w->err));
    for (uint32_t k = 0; k < w->frame.n_blocks; k++) {
        const fmp_block *b = &w->frame.blocks[k];

        memcpy(w->copy + b->off, w->base + b->off, b->n_bytes);
        check(w, fmp_block_apply(b, &w->frame.streams, w->copy + b->off, FMP_FORWARD, w->scratch,
                                 NULL, &w->err));
    }
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median_rate(work *w, void (*step)(work *))
{
    double seconds[RUNS];

    for (unsigned i = 0; i < RUNS; i++) {
        const double start = now();

        step(w);
        seconds[i] = now() - start;
    }
    qsort(seconds, RUNS, sizeof *seconds, compare_doubles);
    return (double)N_BLOCKS * FMP_BLOCK_MAX / seconds[RUNS / 2] / 1e9;
}

int main(void)
{
    static const uint32_t densities[] = {100, 1000, 10000, 50000};
    const size_t size = (size_t)N_BLOCKS * FMP_BLOCK_MAX;
    work w = {.base = malloc(size), .target = malloc(size), .copy = malloc(size)};

    w.scratch = fmp_scratch_new();
    if (!w.base || !w.target || !w.copy || !w.scratch)
        return 1;
    check(&w, fmp_z_new(&w.z, &w.err));
    printf("| bf16, changed | encode, GB/s | decode and apply, GB/s | bytes per changed weight |\n"
           "|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof densities / sizeof *densities; i++) {
        double enc, dec;
        uint64_t n = 0;

        fill(&w, densities[i]);
        enc = median_rate(&w, encode);
        dec = median_rate(&w, decode);
        if (memcmp(w.copy, w.target, size) != 0)
            return 1;
        for (uint32_t k = 0; k < w.frame.n_blocks; k++)
            n += fmp_block_values(&w.frame.blocks[k]);
        printf("| %.2f %% | %.2f | %.2f | %.3f |\n", densities[i] / 1e4, enc, dec,
               (double)w.stored.len / (double)n);
    }
    fmp_piece_release(&w.piece);
    fmp_frame_builder_release(&w.builder);
    fmp_frame_release(&w.frame);
    fmp_buf_release(&w.stored);
    fmp_z_free(w.z);
    fmp_scratch_free(w.scratch);
    free(w.base);
    free(w.target);
    free(w.copy);
    return 0;
}
