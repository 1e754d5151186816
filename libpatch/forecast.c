/*
 * fmp_forecast(): what fmp_create() would make of a pair, from a sample of it.  Nothing is written.
 */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/status.h"
#include "create.h"
#include "decode.h"
#include "patch.h"

/* Bytes of a frame besides its streams: digest and entry of the table. */
#define FRAME_BYTES 48u
/* A prefix, no signature, and a manifest without anybody's notes. */
#define FILE_BYTES 850u
/* How much smaller texts such as tokenizers become. */
#define TEXT_PACKS 3u
/* Pieces that are looked at whatever the time. */
#define FEWEST 32u

enum { N_PROFILES = 2, SIZE = 0, SHARE = N_PROFILES, N_SERIES };

/* One piece of work and what it came to. */
typedef struct sample {
    uint64_t n_bytes, n_differing;
    double y[N_SERIES]; /* estimated bits in each profile, changed elements */
} sample;

/* Seconds of one thread. */
typedef struct costs {
    double read, hash, encode[N_PROFILES], decode[N_PROFILES];
} costs;

typedef struct forecaster {
    fmp_creation c; /* matched; never written */
    fmp_encoder enc[N_PROFILES];
    fmp_decoder dec;
    fmp_frame_builder open[N_PROFILES];
    uint64_t object; /* of the next piece */
    uint8_t *base, *target;
    fmp_buf frame;
    uint64_t stored[N_PROFILES];
    uint64_t n_seen, n_bytes, n_differing;
    uint64_t n_tensors, n_tensors_changed; /* of those seen from their start */
    double y[N_SERIES], xx, xy[N_SERIES], yy[N_SERIES];
    costs cost;
} forecaster;

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "forecast: out of memory");
}

/* ---- time -------------------------------------------------------------------------------------
 */

static double now(void)
{
    struct timespec t;

    return timespec_get(&t, TIME_UTC) ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

/* Adds the time since *since, which becomes now. */
static void lap(double *since, double *sum)
{
    const double t = now();

    *sum += t > *since ? t - *since : 0; /* clocks are set, too */
    *since = t;
}

/* ---- one piece of work ------------------------------------------------------------------------
 */

/* Seals the open frame of a profile and takes it apart again, as apply would. */
static fmp_status flush(forecaster *f, unsigned k, fmp_error *err)
{
    double t = now();
    fmp_status st;

    if (!f->open[k].n_blocks)
        return FMP_OK;
    fmp_buf_clear(&f->frame);
    st = fmp_frame_seal(&f->open[k], f->enc[k].z, f->enc[k].level, f->enc[k].sums, &f->frame, err);
    lap(&t, &f->cost.encode[k]);
    f->stored[k] += f->frame.len + FRAME_BYTES;
    if (!st)
        st = fmp_frame_open(&f->dec.frame, f->dec.z, f->frame.data, f->frame.len, err);
    lap(&t, &f->cost.decode[k]);
    return st;
}

/* Adds what the encoder holds to the open frame, and undoes nothing: the base is still there. */
static fmp_status take_pieces(forecaster *f, unsigned k, sample *s, fmp_error *err)
{
    fmp_encoder *e = &f->enc[k];
    fmp_status st = FMP_OK;

    for (unsigned i = 0; i < e->n_pieces && !st; i++) {
        fmp_piece *piece = &e->piece[i];

        s->y[k] += (double)piece->cost;
        s->y[SHARE] += k == 0 ? (double)piece->n_changed : 0;
        piece->head.object = f->object++;
        piece->head.off = 0;
        if (!fmp_frame_takes(&f->open[k], piece))
            st = flush(f, k, err);
        if (!st)
            fmp_frame_add(&f->open[k], piece);
    }
    return st;
}

/* Lays the pieces over the base, as apply would: for the time it takes. */
static fmp_status lay_pieces(forecaster *f, unsigned k, uint64_t off, uint8_t *base, fmp_error *err)
{
    fmp_encoder *e = &f->enc[k];
    fmp_status st = FMP_OK;

    for (unsigned i = 0; i < e->n_pieces && !st; i++) {
        const fmp_piece *piece = &e->piece[i];
        fmp_streams streams = {{NULL}, {0}};
        fmp_block b = piece->head;

        memset(b.at, 0, sizeof b.at);
        for (unsigned s = 0; s < FMP_STREAM_COUNT; s++) {
            streams.data[s] = piece->stream[s].data;
            streams.len[s] = piece->stream[s].len;
        }
        st =
            fmp_block_apply(&b, &streams, base + (b.off - off), FMP_FORWARD, e->scratch, NULL, err);
    }
    return st;
}

/* Codes bytes of a tensor in each profile; `base` holds n_base of its bytes, and is lost. */
static fmp_status code(forecaster *f, uint32_t tensor, uint64_t off, uint32_t n_base, uint32_t len,
                       sample *s, fmp_error *err)
{
    const fmp_block_params p = fmp_creation_params(&f->c, f->c.target, tensor);
    fmp_status st = FMP_OK;

    for (unsigned k = 0; k < N_PROFILES && !st; k++) {
        fmp_encoder *e = &f->enc[k];
        double t = now();

        fmp_encoder_begin(e);
        if (n_base)
            st = fmp_encoder_add(e, &p, tensor, off, f->base, f->target, n_base, err);
        if (!st && n_base < len)
            st = fmp_encoder_add(e, &p, tensor, off + n_base, NULL, f->target + n_base,
                                 len - n_base, err);
        lap(&t, &f->cost.encode[k]);
        if (!st && k + 1 == N_PROFILES) {
            memset(f->base + n_base, 0, len - n_base);
            st = lay_pieces(f, k, off, f->base, err);
            lap(&t, &f->cost.decode[k]);
        }
        if (!st)
            st = take_pieces(f, k, s, err);
    }
    return st;
}

/* The bytes of another tensor of the target: nothing to code. */
static bool is_alias(const forecaster *f, uint32_t tensor)
{
    return f->c.m.table.rows[f->c.m.target_row[tensor]].state == FMP_ALIAS;
}

/* Bytes [off, off + len) of a target tensor beside those of its base. */
static fmp_status look_at(forecaster *f, uint32_t tensor, uint64_t off, uint32_t len, sample *s,
                          fmp_error *err)
{
    const fmp_table *t = &f->c.m.table;
    const uint32_t row = f->c.m.target_row[tensor];
    const fmp_map map = fmp_table_map(t, row);
    const uint64_t left =
        t->rows[row].state == FMP_RESIDUAL && map.n_bytes > off ? map.n_bytes - off : 0;
    const uint32_t n_base = left < len ? (uint32_t)left : len;
    double time = now();
    bool same;
    fmp_status st;

    if (is_alias(f, tensor))
        return FMP_OK;
    st = fmp_store_read(f->c.target, tensor, off, f->target, len, err);
    if (!st && n_base)
        st = fmp_store_read(f->c.base, f->c.m.base_of[map.source], map.base_off + off, f->base,
                            n_base, err);
    if (st)
        return st;
    same = n_base == len && memcmp(f->base, f->target, len) == 0;
    lap(&time, &f->cost.read);
    (void)fmp_leaf_digest(0, f->target, len);
    lap(&time, &f->cost.hash);
    s->n_bytes += len;
    s->n_differing += same ? 0 : len;
    if (off == 0) {
        f->n_tensors++;
        f->n_tensors_changed += !same;
    }
    return same ? FMP_OK : code(f, tensor, off, n_base, len, s, err);
}

static fmp_status look_at_item(forecaster *f, uint64_t item, fmp_error *err)
{
    const fmp_region r = fmp_regions_at(&f->c.regions, item);
    sample s = {0};
    double x;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < r.n && !st; i++)
        st =
            look_at(f, r.first + i, r.off,
                    r.n > 1 ? (uint32_t)f->c.target->tensors[r.first + i].n_bytes : r.len, &s, err);
    x = (double)s.n_bytes;
    f->n_seen++;
    f->n_bytes += s.n_bytes;
    f->n_differing += s.n_differing;
    f->xx += x * x;
    for (unsigned i = 0; i < N_SERIES; i++) {
        f->y[i] += s.y[i];
        f->xy[i] += x * s.y[i];
        f->yy[i] += s.y[i] * s.y[i];
    }
    return st;
}

/* ---- the sample -------------------------------------------------------------------------------
 */

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t c = a % b;

        a = b;
        b = c;
    }
    return a;
}

/* Items i * stride modulo n go over all n, near the golden section, so that any first few of them
 * lie evenly. */
static uint64_t stride_of(uint64_t n)
{
    uint64_t stride = (uint64_t)((double)n * 0.6180339887498949);

    while (stride > 1 && gcd(stride, n) != 1)
        stride--;
    return stride ? stride : 1;
}

static fmp_status take_sample(forecaster *f, double seconds, fmp_error *err)
{
    const uint64_t n = f->c.regions.n_items;
    const uint64_t stride = stride_of(n);
    const double start = now();
    uint64_t item = 0;
    fmp_status st = FMP_OK;

    for (uint64_t i = 0; i < n && !st; i++) {
        if (i >= FEWEST && now() - start > seconds)
            break;
        st = look_at_item(f, item, err);
        item = item >= n - stride ? item - (n - stride) : item + stride;
    }
    for (unsigned k = 0; k < N_PROFILES && !st; k++)
        st = flush(f, k, err);
    return st;
}

/* ---- what it says -----------------------------------------------------------------------------
 */

/* The standard error of series i, relative to its sum: a ratio to bytes (Cochran, Sampling
 * Techniques, 3rd ed. 1977, equation 6.13), for items drawn without replacement. */
static double relative_error(const forecaster *f, unsigned i)
{
    const double n = (double)f->n_seen;
    const double all = (double)f->c.regions.n_items;
    const double ratio = f->n_bytes ? f->y[i] / (double)f->n_bytes : 0;
    const double squares = f->yy[i] - 2 * ratio * f->xy[i] + ratio * ratio * f->xx;

    if (f->n_seen < 2 || f->y[i] <= 0 || squares <= 0 || n >= all)
        return 0;
    return sqrt(squares / (n - 1) * (1 - n / all) * n) / f->y[i];
}

/* Tables and digests: nearly what they will be. */
static fmp_status table_bytes(forecaster *f, double share_changed, uint64_t *ret, fmp_error *err)
{
    fmp_table *t = &f->c.m.table;
    fmp_section s;
    fmp_buf raw = {0}, stored = {0};
    uint64_t sum = FILE_BYTES;
    fmp_status st;

    for (uint32_t i = 0; i < t->n_rows; i++) {
        sum += t->rows[i].base_schema != FMP_NONE ? FMP_DIGEST_LEN : 0;
        sum += t->rows[i].target_schema != FMP_NONE
                   ? (uint64_t)(FMP_DIGEST_LEN *
                                (t->rows[i].state == FMP_RESIDUAL ? share_changed : 1))
                   : 0;
    }
    for (uint32_t i = 0; i < f->c.layout.n_side; i++) {
        const fmp_side_file *side = &f->c.layout.side[i];

        sum += side->in_target && (side->changed || !side->in_base) ? side->target_size / TEXT_PACKS
                                                                    : 0;
    }
    fmp_table_write(t, &raw);
    st = fmp_section_code(FMP_SECTION_TENSORS, &raw, sum, f->enc[0].z, &s, &stored, err);
    sum += st ? 0 : s.stored;
    fmp_buf_clear(&raw);
    fmp_buf_clear(&stored);
    fmp_layout_write(&f->c.layout, &raw);
    if (!st)
        st = fmp_section_code(FMP_SECTION_LAYOUT, &raw, sum, f->enc[0].z, &s, &stored, err);
    *ret = sum + (st ? 0 : s.stored);
    fmp_buf_release(&raw);
    fmp_buf_release(&stored);
    return st;
}

static fmp_status conclude(forecaster *f, fmp_forecast_result *ret, fmp_error *err)
{
    const double threads = (double)fmp_create_threads(&f->c.o);
    const double share = f->n_tensors ? (double)f->n_tensors_changed / (double)f->n_tensors : 0;
    const double each = f->n_bytes ? 1.0 / (double)f->n_bytes : 0;
    const double differing = (double)f->n_differing * each; /* of the bytes */
    uint64_t all = 0, tables;
    const fmp_status st = table_bytes(f, share, &tables, err);

    for (uint32_t i = 0; i < f->c.target->n_tensors; i++)
        all += is_alias(f, i) ? 0 : f->c.target->tensors[i].n_bytes;
    *ret = (fmp_forecast_result){.size = sizeof *ret,
                                 .n_bytes = all,
                                 .n_seen = f->n_bytes,
                                 .n_changed = f->y[SHARE] * each * (double)all,
                                 .n_changed_error = relative_error(f, SHARE)};
    for (uint32_t i = 0; i < f->c.target->n_tensors; i++)
        ret->n_elements += fmp_store_tensor(f->c.target, i).n_elements;
    for (unsigned k = 0; k < N_PROFILES; k++) {
        const double scale = each * (double)all;
        const double hash = f->cost.hash * (1 + differing);

        ret->profile[k] = (fmp_forecast_profile){
            .n_bytes = (double)tables + (double)f->stored[k] * scale,
            .n_bytes_error = relative_error(f, k),
            .create_seconds = scale * (f->cost.read + hash + f->cost.encode[k]) / threads,
            .apply_seconds = scale * (f->cost.read + hash + f->cost.decode[k]) / threads};
    }
    return st;
}

static uint64_t target_size(const void *ctx, uint32_t i)
{
    return ((const fmp_creation *)ctx)->target->tensors[i].n_bytes;
}

static fmp_status prepare(forecaster *f, fmp_error *err)
{
    fmp_status st = fmp_creation_prepare(&f->c, err);

    for (unsigned k = 0; k < N_PROFILES && !st; k++) {
        fmp_create_options how = f->c.o;

        how.profile = k ? FMP_PROFILE_COMPACT : FMP_PROFILE_OPEN;
        st = fmp_encoder_init(&f->enc[k], &how, err);
    }
    if (!st)
        st = fmp_decoder_init(&f->dec, err);
    f->base = fmp_malloc(FMP_LEAF_LEN);
    f->target = fmp_malloc(FMP_LEAF_LEN);
    if (!st && (!f->base || !f->target))
        st = no_memory(err);
    return st ? st
              : fmp_regions_build(&f->c.regions, target_size, &f->c, f->c.target->n_tensors, err);
}

fmp_status fmp_forecast(const fmp_store *base, const fmp_store *target,
                        const fmp_create_options *options, double seconds, fmp_forecast_result *ret,
                        fmp_error *err)
{
    forecaster *f = fmp_calloc(1, sizeof *f);
    fmp_status st;

    if (!f)
        return no_memory(err);
    f->c.base = base;
    f->c.target = target;
    f->c.o = fmp_create_options_or_default(options);
    f->c.n_threads = 1;
    st = prepare(f, err);
    if (!st)
        st = take_sample(f, seconds, err);
    if (!st)
        st = conclude(f, ret, err);
    for (unsigned k = 0; k < N_PROFILES; k++) {
        fmp_encoder_release(&f->enc[k]);
        fmp_frame_builder_release(&f->open[k]);
    }
    fmp_decoder_release(&f->dec);
    fmp_free(f->base);
    fmp_free(f->target);
    fmp_buf_release(&f->frame);
    fmp_creation_release(&f->c);
    fmp_free(f);
    return st;
}
