/*
 * Where the bits of profile compact go: codes a pair of checkpoints tensor by tensor with the
 * library's own coder and adds up what each kind of decision cost.  The peer of bound.c: same
 * arguments, same lines. usage: bits BASE TARGET META LEVEL   (META: lines "name width_bytes rows
 * cols base_off target_off")
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bits.h"
#include "codec/rangecoder.h"

enum { POSITIONS, MAGNITUDES, SIGNS, KINDS };

static double spent[KINDS];
static int kind_of(const fmp_context *p);
static int now; /* kind of the decision before: raw bits belong to it */
static bool counting;

static inline bool counted_bit(fmp_rangecoder *c, bool decoding, fmp_context *p, bool bit)
{
    const double odds = fmp_context_odds(*p) / 65536.0;

    now = kind_of(p);
    if (counting)
        spent[now] -= log2(bit ? odds : 1 - odds);
    return fmp_rc_bit(c, decoding, p, bit);
}

static inline void counted_bits(fmp_bit_writer *w, uint64_t value, unsigned n_bits)
{
    if (counting)
        spent[now] += n_bits;
    fmp_bits_put(w, value, n_bits);
}

/* The coder itself, every decision of which now passes here.  The linker then needs no other. */
#define fmp_rc_bit   counted_bit
#define fmp_bits_put counted_bits
#include "codec/model.c"
#undef fmp_rc_bit
#undef fmp_bits_put

#include "base/zframe.h"
#include "codec/frame.h"
#include "encode.h"

static fmp_scratch *scratch;

static int kind_of(const fmp_context *p)
{
    const fmp_model *m = &scratch->model;

    return p < (const fmp_context *)m->sign    ? POSITIONS
           : p < (const fmp_context *)m->first ? SIGNS
                                               : MAGNITUDES;
}

static void die(const char *what)
{
    fprintf(stderr, "bits: %s\n", what);
    exit(1);
}

static uint8_t *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data;
    long n;

    if (!f || fseek(f, 0, SEEK_END) || (n = ftell(f)) < 0)
        die(path);
    rewind(f);
    data = malloc((size_t)n + 1);
    if (!data || fread(data, 1, (size_t)n, f) != (size_t)n)
        die(path);
    fclose(f);
    return data;
}

typedef struct totals {
    uint64_t n_changed, n_modelled, n_elements;
    uint64_t plain_bits; /* of blocks that are not modelled, about */
} totals;

/* One block: first how it is coded, then what that costs. */
static void count_block(const fmp_block_params *p, const uint8_t *base, const uint8_t *target,
                        uint32_t n_bytes, fmp_piece *piece, totals *t)
{
    fmp_error err;

    counting = false;
    if (fmp_piece_encode(scratch, p, base, target, n_bytes, piece, &err))
        die(err.text);
    if (!piece->head.n_bytes)
        return;
    t->n_changed += piece->n_changed;
    if (!fmp_block_is_modelled(&piece->head)) {
        t->plain_bits += piece->cost;
        return;
    }
    counting = true; /* again, with the model that was chosen */
    encode_as(scratch, &piece->head.model, p->row_phase, base, target, piece->n_changed, UINT64_MAX,
              piece);
    t->n_modelled += piece->n_changed;
}

int main(int argc, char **argv)
{
    fmp_piece piece = {0};
    totals t = {0};
    uint8_t *a, *b;
    char name[512];
    long width, rows, cols, a_off, b_off;
    FILE *meta;
    double k;

    if (argc != 5)
        die("usage: bits BASE TARGET META LEVEL");
    a = slurp(argv[1]);
    b = slurp(argv[2]);
    meta = fopen(argv[3], "r");
    scratch = fmp_scratch_new();
    if (!meta || !scratch)
        die("cannot begin");
    while (fscanf(meta, "%511s %ld %ld %ld %ld %ld", name, &width, &rows, &cols, &a_off, &b_off) ==
           6) {
        const long n = rows * cols * width;
        const int level = (int)strtol(argv[4], NULL, 10);

        t.n_elements += (uint64_t)(rows * cols);
        for (long at = 0; at < n; at += FMP_BLOCK_MAX) {
            const fmp_block_params p = {.bits = (uint8_t)(8 * width),
                                        .sign_magnitude = true,
                                        .modelled = true,
                                        .effort = level < 3   ? FMP_MODEL_FAST
                                                  : level < 7 ? FMP_MODEL_ESTIMATE
                                                              : FMP_MODEL_TRY,
                                        .key_shift = width == 2 ? 7 : 23,
                                        .row_len = rows > 1 ? (uint32_t)cols : 0,
                                        .row_phase = (uint32_t)(at / width % cols)};
            const long left = n - at < FMP_BLOCK_MAX ? n - at : (long)FMP_BLOCK_MAX;

            count_block(&p, a + a_off + at, b + b_off + at, (uint32_t)left, &piece, &t);
        }
    }
    k = t.n_modelled ? (double)t.n_modelled : 1;
    printf("%" PRIu64 " changed, %" PRIu64 " of them modelled\n", t.n_changed, t.n_modelled);
    printf("positions %.4f magnitudes %.4f signs %.4f bits a modelled change\n",
           spent[POSITIONS] / k, spent[MAGNITUDES] / k, spent[SIGNS] / k);
    printf("modelled %.0f bytes, others about %.0f bytes\n",
           (spent[POSITIONS] + spent[MAGNITUDES] + spent[SIGNS]) / 8, (double)t.plain_bits / 8);
    fclose(meta);
    fmp_piece_release(&piece);
    fmp_scratch_free(scratch);
    free(a);
    free(b);
    return 0;
}
