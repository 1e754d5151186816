/*
 * Keys of elements.  Non-negative floats are ordered as their bits are, so a key is the bits of a
 * value, turned over where small values win; bf16 and fp16 are widened exactly first.
 */
#include "score/sources.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/half.h"
#include "core/mem.h"
#include "core/tensors.h"
#include "score/glob.h"

#define INFINITY_BITS 0x7F800000u
#define NOWHERE       UINT32_MAX

/* ---- which tensors there are ------------------------------------------------------------------
 */

/* Integers and booleans are no weights. */
static bool is_float(const char *dtype)
{
    return dtype[0] == 'F' || !strcmp(dtype, "BF16");
}

static int by_name(const void *a, const void *b)
{
    const fish_source_tensor *x = a;
    const fish_source_tensor *y = b;

    return strcmp(x->name, y->name);
}

static fmp_status list_tensors(fish_source *s, const fmp_store *store, fmp_error *err)
{
    const uint32_t n = fmp_store_tensor_count(store);

    s->tensors = fish_calloc(n, sizeof *s->tensors);
    if (!s->tensors)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", s->a_name);
    for (uint32_t i = 0; i < n; i++) {
        const fmp_tensor_info info = fmp_store_tensor(store, i);
        fish_source_tensor *t = &s->tensors[s->n_tensors];

        if (!is_float(info.dtype))
            continue;
        if (info.rank > 8)
            return fish_fail(err, FMP_ENOTSUP, "%s: tensor \"%s\" has %u dimensions, at most 8",
                             s->a_name, info.name, info.rank);
        *t = (fish_source_tensor){.name = info.name, .rank = info.rank, .n = info.n_elements};
        for (uint32_t d = 0; d < info.rank; d++)
            t->shape[d] = info.shape[d];
        t->at_a = t->at_b = NOWHERE;
        s->n_tensors++;
    }
    qsort(s->tensors, s->n_tensors, sizeof *s->tensors, by_name);
    for (uint32_t i = 0; i < s->n_tensors; i++) {
        s->tensors[i].first = s->n_elements;
        if (__builtin_add_overflow(s->n_elements, s->tensors[i].n, &s->n_elements))
            return fish_fail(err, FMP_ELIMIT, "%s: too many elements", s->a_name);
    }
    if (!s->n_elements)
        return fish_fail(err, FMP_EUSAGE, "%s: no tensor of floating dtype", s->a_name);
    return FMP_OK;
}

/* ---- the head, and what is open ---------------------------------------------------------------
 */

static fish_source_tensor *find_tensor(const fish_source *s, const char *name)
{
    const fish_source_tensor wanted = {.name = name};

    return bsearch(&wanted, s->tensors, s->n_tensors, sizeof *s->tensors, by_name);
}

/* A glob that matches nothing is a slip of the pen. */
static fmp_status check_globs(const fish_source *s, const char *what, const char *const *globs,
                              size_t n, fmp_error *err)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t k = 0;

        while (k < s->n_tensors && !fish_glob_match(globs[i], s->tensors[k].name))
            k++;
        if (k == s->n_tensors)
            return fish_fail(err, FMP_EUSAGE, "%s: no tensor is named '%s'", what, globs[i]);
    }
    return FMP_OK;
}

/* Marks the names in `text`, one a line. */
static fmp_status mark_names(fish_source *s, char *text, const char *path, fmp_error *err)
{
    for (char *name = text, *next; *name; name = next) {
        const size_t len = strcspn(name, "\n");
        fish_source_tensor *t;

        next = name + len + (name[len] != '\0');
        name[len] = '\0';
        t = len ? find_tensor(s, name) : NULL;
        if (!len)
            continue;
        if (!t)
            return fish_fail(err, FMP_ECORRUPT, "%s: head tensor \"%s\" of its metadata is missing",
                             path, name);
        t->head = true;
    }
    return FMP_OK;
}

static fmp_status head_of_file(fish_source *s, const char *path, fmp_error *err)
{
    char *text = NULL;
    char *names = NULL;
    json_t *meta;
    const char *head;
    fmp_status st = fish_tensor_metadata(path, &text, err);

    if (st == FMP_ECORRUPT)
        return FMP_OK; /* a good store, but not one safetensors file: no metadata */
    if (st)
        return st;
    meta = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    fish_free(text);
    if (!meta)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    head = json_string_value(json_object_get(meta, FISH_META_HEAD));
    if (head && !(names = fish_strdup(head)))
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    if (names)
        st = mark_names(s, names, path, err);
    fish_free(names);
    json_decref(meta);
    return st;
}

/* BitFit trains "every tensor named bias" (Ben Zaken et al. 2022). */
static bool is_bias(const char *name)
{
    const char *dot = strrchr(name, '.');

    return !strcmp(dot ? dot + 1 : name, "bias");
}

static fmp_status mark_tensors(fish_source *s, const char *path, bool bias,
                               const fish_select_options *o, fmp_error *err)
{
    fmp_status st = check_globs(s, "head", o->head, o->n_head, err);

    if (!st)
        st = check_globs(s, "allow", o->allow, o->n_allow, err);
    if (!st)
        st = check_globs(s, "deny", o->deny, o->n_deny, err);
    if (!st && !o->n_head && path)
        st = head_of_file(s, path, err);
    if (st)
        return st;
    for (uint32_t i = 0; i < s->n_tensors; i++) {
        fish_source_tensor *t = &s->tensors[i];

        t->head = t->head || fish_glob_any(o->head, o->n_head, t->name);
        t->open = !t->head && t->n && (!o->n_allow || fish_glob_any(o->allow, o->n_allow, t->name));
        if (fish_glob_any(o->deny, o->n_deny, t->name) || (bias && !is_bias(t->name)))
            t->open = false;
        s->n_head += t->head ? t->n : 0;
        s->n_open += t->open ? t->n : 0;
    }
    return FMP_OK;
}

/* ---- where values are -------------------------------------------------------------------------
 */

static fmp_status locate(const fmp_store *store, const char *store_name,
                         const fish_source_tensor *t, uint32_t *ret_at, uint8_t *ret_size,
                         bool *ret_half, fmp_error *err)
{
    const uint32_t at = fmp_store_find(store, t->name, strlen(t->name));
    fmp_tensor_info info;

    if (at == NOWHERE)
        return fish_fail(err, FMP_EUSAGE, "%s: tensor \"%s\" is missing", store_name, t->name);
    info = fmp_store_tensor(store, at);
    if (info.rank != t->rank ||
        (t->rank && memcmp(info.shape, t->shape, t->rank * sizeof *t->shape)))
        return fish_fail(err, FMP_EUSAGE, "%s: tensor \"%s\" has another shape than expected",
                         store_name, t->name);
    *ret_half = !strcmp(info.dtype, "F16");
    if (!strcmp(info.dtype, "F32"))
        *ret_size = 4;
    else if (*ret_half || !strcmp(info.dtype, "BF16"))
        *ret_size = 2;
    else
        return fish_fail(err, FMP_ENOTSUP,
                         "%s: tensor \"%s\" has dtype %s; F32, BF16 or F16 is expected", store_name,
                         t->name, info.dtype);
    *ret_at = at;
    return FMP_OK;
}

static fmp_status locate_all(fish_source *s, fmp_error *err)
{
    for (uint32_t i = 0; i < s->n_tensors; i++) {
        fish_source_tensor *t = &s->tensors[i];
        fmp_status st = FMP_OK;

        if (t->open && s->a)
            st = locate(s->a, s->a_name, t, &t->at_a, &t->size_a, &t->half_a, err);
        if (!st && t->open && s->b)
            st = locate(s->b, s->b_name, t, &t->at_b, &t->size_b, &t->half_b, err);
        if (st)
            return st;
    }
    return FMP_OK;
}

static fmp_status choose_kind(fish_source *s, const fmp_store *scores, const fish_select_options *o,
                              bool *ret_bias, fmp_error *err)
{
    static const struct {
        const char *name;
        fish_source_kind kind;
        bool low;
    } known[] = {
        {"scores", FISH_FROM_SCORES, false},       {"random", FISH_FROM_RANDOM, false},
        {"magnitude", FISH_FROM_MAGNITUDE, false}, {"magnitude-low", FISH_FROM_MAGNITUDE, true},
        {"delta", FISH_FROM_DELTA, false},         {"bias", FISH_FROM_SCORES, false},
    };
    const char *name = o->source ? o->source : "scores";
    size_t i = 0;

    while (i < sizeof known / sizeof known[0] && strcmp(known[i].name, name))
        i++;
    if (i == sizeof known / sizeof known[0])
        return fish_fail(err, FMP_EUSAGE, "source '%s': there is no such source", name);
    *ret_bias = !strcmp(name, "bias");
    s->kind = *ret_bias && !scores ? FISH_FROM_MAGNITUDE : known[i].kind;
    s->flip = known[i].low != o->reversed ? UINT32_MAX : 0;
    if (s->kind == FISH_FROM_SCORES && !scores)
        return fish_fail(err, FMP_EUSAGE, "source '%s': a score file is needed", name);
    if (s->kind >= FISH_FROM_MAGNITUDE && !o->model)
        return fish_fail(err, FMP_EUSAGE, "source '%s': a model is needed", name);
    if (s->kind == FISH_FROM_DELTA && !o->tuned)
        return fish_fail(err, FMP_EUSAGE, "source '%s': a tuned model is needed", name);
    if (!scores && !o->model)
        return fish_fail(err, FMP_EUSAGE, "source '%s': a score file or a model is needed", name);
    return FMP_OK;
}

static bool has_half_weights(const fmp_store *model)
{
    uint64_t n_half = 0, n_all = 0;

    for (uint32_t i = 0; model && i < fmp_store_tensor_count(model); i++) {
        const fmp_tensor_info info = fmp_store_tensor(model, i);

        if (!is_float(info.dtype))
            continue;
        n_all += info.n_elements;
        n_half += info.n_bytes < 4 * info.n_elements ? info.n_elements : 0;
    }
    return n_half > n_all / 2;
}

fmp_status fish_source_open(const fmp_store *scores, const char *scores_path,
                            const fish_select_options *options, fish_source *ret, fmp_error *err)
{
    fish_source s = {.a_name = scores_path ? scores_path : scores ? "scores" : "model"};
    bool bias = false;
    fmp_status st = choose_kind(&s, scores, options, &bias, err);

    if (!st)
        st = list_tensors(&s, scores ? scores : options->model, err);
    if (!st)
        st = mark_tensors(&s, scores ? scores_path : NULL, bias, options, err);
    if (!st) {
        s.all_open = bias && !options->k && options->ratio <= 0 && !options->bytes;
        s.half_model = has_half_weights(options->model);
        s.key = fish_key_make(options->seed, FISH_STREAM_MASK);
        if (s.kind == FISH_FROM_SCORES)
            s.a = scores;
        if (s.kind >= FISH_FROM_MAGNITUDE) {
            s.a = options->model;
            s.a_name = "model";
        }
        if (s.kind == FISH_FROM_DELTA) {
            s.b = options->tuned;
            s.b_name = "tuned model";
        }
        st = locate_all(&s, err);
    }
    if (st) {
        fish_source_release(&s);
        return st;
    }
    *ret = s;
    return FMP_OK;
}

void fish_source_release(fish_source *s)
{
    fish_free(s->tensors);
    *s = (fish_source){0};
}

/* ---- reading ----------------------------------------------------------------------------------
 */

fmp_status fish_reader_init(fish_reader *r, const fish_source *s, fmp_error *err)
{
    *r = (fish_reader){0};
    if (s->a)
        r->raw = fish_alloc(FISH_PIECE, 4);
    if (s->b)
        r->other = fish_alloc(FISH_PIECE, sizeof *r->other);
    if ((s->a && !r->raw) || (s->b && !r->other))
        return fish_fail(err, FMP_ENOMEM, "scores: out of memory");
    return FMP_OK;
}

void fish_reader_release(fish_reader *r)
{
    fish_free(r->raw);
    fish_free(r->other);
    *r = (fish_reader){0};
}

static void widen(const uint8_t *raw, uint8_t size, bool half, size_t n, uint32_t *bits)
{
    if (size == 4) {
        for (size_t i = 0; i < n; i++)
            bits[i] = (uint32_t)raw[4 * i] | (uint32_t)raw[4 * i + 1] << 8 |
                      (uint32_t)raw[4 * i + 2] << 16 | (uint32_t)raw[4 * i + 3] << 24;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const uint32_t h = (uint32_t)raw[2 * i] | (uint32_t)raw[2 * i + 1] << 8;

        bits[i] = half ? fish_half_bits(h) : h << 16;
    }
}

static float float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* |b - a|, rounded once. */
static void take_delta(uint32_t *a, const uint32_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[i] = bits_of(fabsf(float_of(b[i]) - float_of(a[i])));
}

static fmp_status refuse(const fish_source *s, uint32_t tensor, uint64_t at, const uint32_t *bits,
                         size_t n, fmp_error *err)
{
    size_t i = 0;

    while (i + 1 < n && bits[i] <= INFINITY_BITS)
        i++;
    return fish_fail(err, FMP_ECORRUPT, "%s: tensor \"%s\": element %llu is %s", s->a_name,
                     s->tensors[tensor].name, (unsigned long long)(at + i),
                     (bits[i] & 0x7FFFFFFF) > INFINITY_BITS ? "NaN" : "negative");
}

/* Now every value must be a number that is not negative. */
static fmp_status finish_keys(const fish_source *s, uint32_t tensor, uint64_t at, size_t n,
                              uint32_t *bits, fmp_error *err)
{
    const uint32_t flip = s->flip;
    uint32_t bad = 0;

    for (size_t i = 0; i < n; i++) {
        bits[i] = bits[i] == 0x80000000u ? 0 : bits[i]; /* -0 */
        bad |= bits[i] > INFINITY_BITS;
    }
    if (bad)
        return refuse(s, tensor, at, bits, n, err);
    for (size_t i = 0; i < n; i++)
        bits[i] ^= flip;
    return FMP_OK;
}

uint32_t fish_source_random(const fish_source *s, uint32_t tensor, uint64_t at)
{
    const double unit = fish_random_unit(s->key, 0, s->tensors[tensor].first + at);

    return (uint32_t)(unit * 4294967296.0) ^ s->flip;
}

fmp_status fish_source_read(const fish_source *s, fish_reader *r, uint32_t tensor, uint64_t at,
                            size_t n, uint32_t *keys, fmp_error *err)
{
    const fish_source_tensor *t = &s->tensors[tensor];
    fmp_status st;

    if (s->kind == FISH_FROM_RANDOM) {
        for (size_t i = 0; i < n; i++)
            keys[i] = fish_source_random(s, tensor, at + i);
        return FMP_OK;
    }
    st = fmp_store_read(s->a, t->at_a, at * t->size_a, r->raw, n * t->size_a, err);
    if (st)
        return st;
    widen(r->raw, t->size_a, t->half_a, n, keys);
    if (s->kind == FISH_FROM_DELTA) {
        st = fmp_store_read(s->b, t->at_b, at * t->size_b, r->raw, n * t->size_b, err);
        if (st)
            return st;
        widen(r->raw, t->size_b, t->half_b, n, r->other);
        take_delta(keys, r->other, n);
    } else if (s->kind == FISH_FROM_MAGNITUDE) {
        for (size_t i = 0; i < n; i++)
            keys[i] &= 0x7FFFFFFF;
    }
    return finish_keys(s, tensor, at, n, keys, err);
}
