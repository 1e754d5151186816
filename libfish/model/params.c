/*
 * Parameters: tensors of a checkpoint widened to float, or new ones made from the seed; and the
 * keys of config.json.
 */
#include "model/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/fail.h"
#include "core/half.h"
#include "core/mem.h"

#define PIECE ((size_t)1 << 18) /* elements read at once from a checkpoint that is not F32 */

/* ---- dtypes -----------------------------------------------------------------------------------
 */

static const char *const dtypes[] = {"F32", "BF16", "F16"};

static const char *known_dtype(const char *dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (!strcmp(dtypes[i], dtype))
            return dtypes[i];
    }
    return NULL;
}

size_t fish_dtype_size(const char *dtype)
{
    const char *known = known_dtype(dtype);

    return !known ? 0 : known == dtypes[0] ? 4 : 2;
}

static float from_bits(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t to_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* A NaN keeps its sign and the top of its payload, so that what was widened narrows to itself. */
static uint16_t narrow_half(float x)
{
    const uint32_t bits = to_bits(x);
    const uint32_t sign = bits >> 16 & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t h;

    if (magnitude > 0x7f800000u) {
        h = 0x7c00u | (magnitude >> 13 & 1023u);
        return (uint16_t)(sign | (h == 0x7c00u ? 0x7e00u : h));
    }
    if (magnitude >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) /* below 2^-14: subnormal, in steps of 2^-24 */
        return (uint16_t)(sign | (uint32_t)nearbyintf(from_bits(magnitude) * 0x1p24f));
    h = magnitude - 0x38000000u;
    h += 0xfffu + (h >> 13 & 1u);
    return (uint16_t)(sign | h >> 13);
}

static uint16_t narrow_bf16(float x)
{
    const uint32_t bits = to_bits(x);

    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | (bits & 0x007f0000u ? 0 : 0x40u));
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

void fish_widen(const char *dtype, const void *from, float *to, size_t n)
{
    const uint16_t *h = from;

    if (fish_dtype_size(dtype) == 4) {
        memcpy(to, from, n * sizeof *to);
        return;
    }
    if (!strcmp(dtype, "BF16")) {
        for (size_t i = 0; i < n; i++)
            to[i] = from_bits((uint32_t)h[i] << 16);
        return;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = from_bits(fish_half_bits(h[i]));
}

void fish_narrow(const char *dtype, const float *from, void *to, size_t n)
{
    uint16_t *h = to;

    if (fish_dtype_size(dtype) == 4) {
        memcpy(to, from, n * sizeof *from);
        return;
    }
    if (!strcmp(dtype, "BF16")) {
        for (size_t i = 0; i < n; i++)
            h[i] = narrow_bf16(from[i]);
        return;
    }
    for (size_t i = 0; i < n; i++)
        h[i] = narrow_half(from[i]);
}

/* ---- parameters -------------------------------------------------------------------------------
 */

static fmp_status read_weights(const fish_param_loader *l, uint32_t tensor, fish_param *p,
                               fmp_error *err)
{
    const size_t width = fish_dtype_size(p->dtype);
    uint16_t *piece;
    fmp_status st = FMP_OK;

    if (width == sizeof *p->w)
        return fmp_store_read(l->base, tensor, 0, p->w, p->n * width, err);
    piece = fish_alloc(p->n < PIECE ? p->n : PIECE, width);
    if (!piece)
        return fish_fail(err, FMP_ENOMEM, "tensor \"%s\": out of memory", p->name);
    for (size_t at = 0; at < p->n && !st; at += PIECE) {
        const size_t n = p->n - at < PIECE ? p->n - at : PIECE;

        st = fmp_store_read(l->base, tensor, at * width, piece, n * width, err);
        if (!st)
            fish_widen(p->dtype, piece, p->w + at, n);
    }
    fish_free(piece);
    return st;
}

static void describe_shape(uint32_t rank, const uint64_t *shape, char *out, size_t cap)
{
    size_t at = (size_t)snprintf(out, cap, "[");

    for (uint32_t i = 0; i < rank && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%llu", i ? ", " : "",
                               (unsigned long long)shape[i]);
    if (at < cap)
        (void)snprintf(out + at, cap - at, "]");
}

static fmp_status load_param(const fish_param_loader *l, uint32_t tensor, fish_param *p,
                             fmp_error *err)
{
    const fmp_tensor_info info = fmp_store_tensor(l->base, tensor);
    char want[64], have[64];
    bool same = info.rank == p->rank;

    for (uint32_t i = 0; i < p->rank && same; i++)
        same = info.shape[i] == p->shape[i];
    if (!same) {
        describe_shape(p->rank, p->shape, want, sizeof want);
        describe_shape(info.rank, info.shape, have, sizeof have);
        return fish_fail(err, p->role == FISH_HEAD ? FMP_EUSAGE : FMP_ECORRUPT,
                         "%s: tensor \"%s\": shape %s is expected, found %s", l->path, p->name,
                         want, have);
    }
    p->dtype = known_dtype(info.dtype);
    if (!p->dtype)
        return fish_fail(err, FMP_ENOTSUP,
                         "%s: tensor \"%s\": dtype F32, BF16 or F16 is expected, found %s", l->path,
                         p->name, info.dtype);
    return read_weights(l, tensor, p, err);
}

/* Numbers of a new parameter depend on the seed and its place in the model alone. */
static void make_param(const fish_param_loader *l, fish_param *p, double std, double fill)
{
    const fish_key key = fish_key_make(l->seed, FISH_STREAM_INIT);
    const uint32_t place = l->model->n_params;

    p->dtype = dtypes[0];
    p->added = true;
    for (size_t i = 0; i < p->n; i++) {
        if (std > 0)
            p->w[i] = (float)(std * fish_random_normal(key, place, i));
        else if (std < 0)
            p->w[i] = (float)(std * (1 - 2 * fish_random_unit(key, place, i)));
        else
            p->w[i] = (float)fill;
    }
}

static fmp_status new_slot(fish_param_loader *l, const char *name, fish_param **ret, fmp_error *err)
{
    fish_model *m = l->model;
    const size_t len = strlen(l->prefix) + strlen(name) + 1;
    fish_param *params = fish_realloc(m->params, (size_t)m->n_params + 1, sizeof *params);
    char *full = params ? fish_alloc(len, 1) : NULL;

    if (params)
        m->params = params;
    if (!full)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", l->path);
    (void)snprintf(full, len, "%s%s", l->prefix, name);
    *ret = &m->params[m->n_params];
    **ret = (fish_param){.name = full};
    return FMP_OK;
}

fmp_status fish_param_add(fish_param_loader *l, const char *name, fish_role role, uint32_t rank,
                          const uint64_t *shape, double std, double fill, uint32_t *ret,
                          fmp_error *err)
{
    fish_param *p = NULL;
    uint32_t tensor = UINT32_MAX;
    fmp_status st = new_slot(l, name, &p, err);

    if (st)
        return st;
    p->role = role;
    p->rank = rank;
    p->n = 1;
    for (uint32_t i = 0; i < rank; i++) {
        p->shape[i] = shape[i];
        p->n = shape[i] && p->n > SIZE_MAX / 8 / shape[i] ? SIZE_MAX : p->n * (size_t)shape[i];
    }
    if (l->base)
        tensor = fmp_store_find(l->base, p->name, strlen(p->name));
    if (l->base && tensor == UINT32_MAX && role == FISH_BODY)
        st = fish_fail(err, FMP_ECORRUPT, "%s: tensor \"%s\" is missing", l->path, p->name);
    if (!st && !(p->w = fish_alloc(p->n, sizeof *p->w)))
        st = fish_fail(err, FMP_ENOMEM, "tensor \"%s\": out of memory", p->name);
    if (!st && tensor != UINT32_MAX)
        st = load_param(l, tensor, p, err);
    else if (!st)
        make_param(l, p, std, fill);
    if (st) {
        fish_free((char *)(uintptr_t)p->name);
        fish_free(p->w);
        return st;
    }
    *ret = l->model->n_params++;
    return FMP_OK;
}

/* ---- config.json ------------------------------------------------------------------------------
 */

fmp_status fish_config_int(const json_t *config, const char *key, int64_t lo, int64_t hi,
                           int64_t missing, int64_t *ret, fmp_error *err)
{
    const json_t *v = json_object_get(config, key);

    if (!v || json_is_null(v)) {
        *ret = missing;
        return FMP_OK;
    }
    if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi)
        return fish_fail(err, FMP_ECORRUPT,
                         "config.json: \"%s\": an integer from %lld to %lld is expected", key,
                         (long long)lo, (long long)hi);
    *ret = json_integer_value(v);
    return FMP_OK;
}

fmp_status fish_config_real(const json_t *config, const char *key, double lo, double hi,
                            double missing, double *ret, fmp_error *err)
{
    const json_t *v = json_object_get(config, key);

    if (!v || json_is_null(v)) {
        *ret = missing;
        return FMP_OK;
    }
    if (!json_is_number(v) || !(json_number_value(v) >= lo && json_number_value(v) <= hi))
        return fish_fail(err, FMP_ECORRUPT,
                         "config.json: \"%s\": a number from %g to %g is expected", key, lo, hi);
    *ret = json_number_value(v);
    return FMP_OK;
}
