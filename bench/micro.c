/*
 * How fast one core codes and decodes: frames of bf16 tensors at several densities, in both
 * profiles, with the loops for this CPU and with the plain C of them.  Prints GB of tensor a second
 * of processor time, the median of several runs; asserts nothing.  Sees the library's insides.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/zframe.h"
#include "codec/frame.h"
#include "codec/scan.h"

enum { N_BLOCKS = 16, RUNS = 9 };

typedef struct work {
    uint8_t *base, *target, *copy; /* N_BLOCKS blocks of 1 MiB */
    fmp_scratch *scratch;
    fmp_z *z;
    fmp_piece piece;
    fmp_frame_builder builder;
    fmp_frame frame;
    fmp_buf stored; /* frames, one after the other */
    size_t ends[N_BLOCKS];
    unsigned n_frames;
    uint64_t n_changed; /* of what was decoded */
    bool compact;
    fmp_error err;
} work;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
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

static uint16_t round_bf16(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* A weight of a master copy in fp32: about normal, deviation 0.02. */
static float weight(uint64_t *state)
{
    float sum = 0;

    for (unsigned i = 0; i < 3; i++) {
        const uint64_t r = next_random(state);

        for (unsigned k = 0; k < 4; k++)
            sum += (float)(r >> (16 * k) & 0xffff) / 65536.0f - 0.5f;
    }
    return sum * 0.02f;
}

/* Adam's first step of +-rate on the master copy; returns how many of n bf16 weights change. */
static size_t step_all(uint8_t *base, uint8_t *target, size_t n, float rate)
{
    uint64_t state = 88172645463325252u;
    size_t changed = 0;

    for (size_t i = 0; i < n; i++) {
        const float x = weight(&state);
        const uint16_t a = round_bf16(x);
        const uint16_t b = round_bf16(next_random(&state) >> 63 ? x + rate : x - rate);

        memcpy(base + 2 * i, &a, 2);
        memcpy(target + 2 * i, &b, 2);
        changed += a != b;
    }
    return changed;
}

/* Weights of which about `per_million` change, found by bisection of the rate. */
static void fill_adam(work *w, uint32_t per_million)
{
    const size_t n = (size_t)N_BLOCKS * FMP_BLOCK_MAX / 2;
    const size_t sample = n / 64;
    float low = 1e-9f;
    float high = 1;

    for (unsigned i = 0; i < 40; i++) {
        const float rate = (low + high) / 2;

        if (step_all(w->base, w->target, sample, rate) > sample / 1000 * per_million / 1000)
            high = rate;
        else
            low = rate;
    }
    step_all(w->base, w->target, n, low);
}

/* bf16 numbers around 0.02; `per_million` of them, wherever, one step up or down. */
static void fill_anywhere(work *w, uint32_t per_million)
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

static void seal(work *w)
{
    check(w, fmp_frame_seal(&w->builder, w->z, 3, true, &w->stored, &w->err));
    w->ends[w->n_frames++] = w->stored.len;
}

static void encode(work *w)
{
    const fmp_block_params p = {.bits = 16,
                                .sign_magnitude = true,
                                .modelled = w->compact,
                                .effort = FMP_MODEL_ESTIMATE,
                                .key_shift = 7,
                                .row_len = 1024};

    fmp_buf_clear(&w->stored);
    w->n_frames = 0;
    for (uint32_t k = 0; k < N_BLOCKS; k++) {
        const size_t at = (size_t)k * FMP_BLOCK_MAX;

        check(w, fmp_piece_encode(w->scratch, &p, w->base + at, w->target + at, FMP_BLOCK_MAX,
                                  &w->piece, &w->err));
        w->piece.head.off = at;
        if (!w->piece.head.n_bytes)
            continue;
        if (!fmp_frame_takes(&w->builder, &w->piece))
            seal(w);
        fmp_frame_add(&w->builder, &w->piece);
    }
    seal(w);
}

/* The copy of the base is part of the time: apply has to write the result somewhere. */
static void decode(work *w)
{
    size_t at = 0;

    w->n_changed = 0;
    for (unsigned f = 0; f < w->n_frames; f++) {
        check(w, fmp_frame_open(&w->frame, w->z, w->stored.data + at, w->ends[f] - at, &w->err));
        at = w->ends[f];
        for (uint32_t k = 0; k < w->frame.n_blocks; k++) {
            const fmp_block *b = &w->frame.blocks[k];

            memcpy(w->copy + b->off, w->base + b->off, b->n_bytes);
            check(w, fmp_block_apply(b, &w->frame.streams, w->copy + b->off, FMP_FORWARD,
                                     w->scratch, NULL, &w->err));
            w->n_changed += fmp_block_values(b);
        }
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

static void measure(work *w, const char *what, uint32_t per_million, const char *profile)
{
    const size_t size = (size_t)N_BLOCKS * FMP_BLOCK_MAX;
    const double enc = median_rate(w, encode);
    const double dec = median_rate(w, decode);

    if (memcmp(w->copy, w->target, size) != 0) {
        fputs("micro: not the target\n", stderr);
        exit(1);
    }
    printf("| %s, %g %% | %s | %.2f | %.2f | %.3f |\n", what, per_million / 1e4, profile, enc, dec,
           (double)w->stored.len / (double)w->n_changed);
}

static void measure_profiles(work *w, const char *what, uint32_t per_million)
{
    for (unsigned k = 0; k < 4; k++) {
        static const char *const name[4] = {"open, plain C", "open", "compact, plain C", "compact"};

        w->compact = k / 2;
        w->scratch->kernels = fmp_kernels_for(k % 2 ? fmp_cpu_features() : 0);
        measure(w, what, per_million, name[k]);
    }
}

int main(void)
{
    static const uint32_t densities[] = {100, 1000, 10000, 50000, 200000, 500000, 1000000};
    const size_t size = (size_t)N_BLOCKS * FMP_BLOCK_MAX;
    work w = {.base = malloc(size), .target = malloc(size), .copy = malloc(size)};

    w.scratch = fmp_scratch_new();
    if (!w.base || !w.target || !w.copy || !w.scratch)
        return 1;
    check(&w, fmp_z_new(&w.z, &w.err));
    printf("| bf16, changed | profile | encode, GB/s | decode and apply, GB/s | bytes per changed "
           "weight |\n|---|---|---:|---:|---:|\n");
    for (size_t i = 0; i < sizeof densities / sizeof *densities; i++) {
        fill_anywhere(&w, densities[i]);
        measure_profiles(&w, "anywhere", densities[i]);
        fill_adam(&w, densities[i]);
        measure_profiles(&w, "small ones more", densities[i]);
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
