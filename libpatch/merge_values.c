/*
 * The formulas of merging, and fmp_merge_values(): all of it for one tensor in memory.  See
 * merge.h; docs/merging.md.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define XXH_NO_STREAM
#include <xxhash.h>

#include "base/alloc.h"
#include "base/status.h"
#include "codec/bits.h"
#include "merge.h"

/* ---- options ----------------------------------------------------------------------------------
 */

static double real_or(fmp_real r, double otherwise)
{
    return r.given ? r.value : otherwise;
}

static fmp_status refuse(fmp_error *err, const char *what)
{
    return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "merge: %s", what);
}

static fmp_status check_numbers(const fmp_merge_how *h, fmp_error *err)
{
    for (uint32_t i = 0; i < h->k; i++) {
        if (!isfinite(h->w[i]))
            return refuse(err, "a weight is not finite");
        if (h->w[i] != 1 && h->method == FMP_MERGE_TIES && h->ties == FMP_TIES_PAPER)
            return refuse(err, "TIES of the paper has no weights");
        if (h->w[i] < 0 && h->method == FMP_MERGE_FISHER)
            return refuse(err, "a weight of Fisher merging is negative");
    }
    if (!isfinite(h->lambda) || !isfinite(h->t) || !(h->epsilon >= 0) || !isfinite(h->epsilon))
        return refuse(err, "lambda, t or epsilon is no number that can be used");
    if (!(h->density >= 0 && h->density <= 1))
        return refuse(err, "density: 0 to 1 expected");
    if (!(h->gamma >= 0 && h->gamma <= 1))
        return refuse(err, "gamma: 0 to 1 expected");
    if (!(h->floor >= 0) || !isfinite(h->floor))
        return refuse(err, "floor: 0 or more expected");
    if (h->density <= 0 && fmp_merge_drops(h) && h->rescale == FMP_RESCALE_INVERSE)
        return refuse(err, "density: nothing can be scaled by 1 / 0");
    if (h->method == FMP_MERGE_SLERP && h->k != 2)
        return refuse(err, "SLERP takes two patches");
    if (h->method == FMP_MERGE_LINEAR && h->normalize && h->sum_w == 0)
        return refuse(err, "the weights of a mean add up to 0");
    if (h->integers > (int)h->k || h->integers < -1 || h->added > (int)h->k || h->added < -1)
        return refuse(err, "there is no parent of that number");
    return FMP_OK;
}

fmp_status fmp_merge_resolve(const fmp_merge_options *options, size_t k, fmp_merge_how *ret,
                             fmp_error *err)
{
    fmp_merge_options o = {0};
    fmp_merge_how h = {0};
    fmp_status st;

    if (options)
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    if (k == 0 || k > FMP_MERGE_MAX)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%zu patches to merge: 1 to %u expected", k,
                        FMP_MERGE_MAX);
    if ((unsigned)o.method > FMP_MERGE_FISHER || (unsigned)o.ties > FMP_TIES_MERGEKIT ||
        (unsigned)o.rescale > FMP_RESCALE_NONE)
        return refuse(err, "no such method, variant or rescaling");
    h = (fmp_merge_how){.method = o.method,
                        .k = (uint32_t)k,
                        .lambda = real_or(o.lambda, 1),
                        .density = real_or(o.density, 1),
                        .gamma = real_or(o.gamma, 0.01),
                        .epsilon = real_or(o.epsilon, 1e-5),
                        .t = real_or(o.t, 0.5),
                        .floor = real_or(o.floor, 1e-6),
                        .ties = o.ties,
                        .rescale = o.rescale,
                        .floor_all = o.floor_all,
                        .no_norm = o.no_norm,
                        .seed = o.seed,
                        .integers = o.integers,
                        .added = o.added};
    h.normalize = o.normalize ? o.normalize > 0
                              : h.method == FMP_MERGE_LINEAR ||
                                    (h.method == FMP_MERGE_TIES && h.ties == FMP_TIES_MERGEKIT);
    for (uint32_t i = 0; i < k; i++) {
        h.w[i] = o.weights ? o.weights[i] : 1;
        h.sum_w += h.w[i];
    }
    if (fabs(h.sum_w) < 1e-8 && h.method != FMP_MERGE_LINEAR)
        h.sum_w = 1; /* as mergekit */
    st = check_numbers(&h, err);
    if (!st)
        *ret = h;
    return st;
}

bool fmp_merge_trims(const fmp_merge_how *h)
{
    return h->density < 1 &&
           (h->method == FMP_MERGE_TIES || h->method == FMP_MERGE_PRUNE ||
            h->method == FMP_MERGE_BREADCRUMBS || h->method == FMP_MERGE_BREADCRUMBS_TIES);
}

bool fmp_merge_drops(const fmp_merge_how *h)
{
    return h->density < 1 &&
           (h->method == FMP_MERGE_DARE_LINEAR || h->method == FMP_MERGE_DARE_TIES);
}

bool fmp_merge_elects(const fmp_merge_how *h)
{
    return h->method == FMP_MERGE_TIES || h->method == FMP_MERGE_DARE_TIES ||
           h->method == FMP_MERGE_BREADCRUMBS_TIES;
}

/* ---- what stays -------------------------------------------------------------------------------
 */

/* Ranks of all n elements, of which the zeros are the first: those from `from` on, below `to`. */
static void of_nonzero(uint64_t n, uint64_t c, uint64_t from, uint64_t to, uint64_t *first,
                       uint64_t *end)
{
    const uint64_t zeros = n - c;

    *first = from > zeros ? from - zeros : 0;
    *end = to > zeros ? to - zeros : 0;
}

void fmp_merge_ranks(const fmp_merge_how *h, uint64_t n, uint64_t c, uint64_t *first, uint64_t *end)
{
    uint64_t stay = (uint64_t)(h->density * (double)n);
    uint64_t top = 0;

    if (h->method == FMP_MERGE_BREADCRUMBS || h->method == FMP_MERGE_BREADCRUMBS_TIES) {
        top = (uint64_t)(h->gamma * (double)n);
        if (stay + top > n)
            top = n - stay;
    } else if (h->method == FMP_MERGE_TIES && h->ties == FMP_TIES_MERGEKIT) {
        stay = stay || !n || h->density <= 0 ? stay : 1;
    } else if (h->method == FMP_MERGE_TIES && h->ties == FMP_TIES_PAPER) {
        stay += stay < n;
    }
    of_nonzero(n, c, n - top - stay, n - top, first, end);
}

fmp_merge_lots fmp_merge_lots_of(const fmp_merge_how *h, const char *name, size_t name_len,
                                 uint32_t parent)
{
    return (fmp_merge_lots){.key = XXH3_64bits_withSeed(name, name_len, h->seed), .parent = parent};
}

bool fmp_merge_keeps(const fmp_merge_how *h, const fmp_merge_lots *lots, uint64_t element)
{
    uint8_t message[16];

    fmp_store_le(message, lots->parent, 8);
    fmp_store_le(message + 8, element, 8);
    return (double)(XXH3_64bits_withSeed(message, sizeof message, lots->key) >> 11) * 0x1p-53 <
           h->density;
}

double fmp_merge_scale(const fmp_merge_how *h, double before, double after)
{
    if (h->rescale == FMP_RESCALE_INVERSE)
        return 1 / h->density;
    if (h->rescale == FMP_RESCALE_NONE || before < 1e-7 || after < 1e-7)
        return 1;
    return before / after;
}

/* ---- one element ------------------------------------------------------------------------------
 */

static int sign_of(double d)
{
    return (d > 0) - (d < 0);
}

static double divide(double sum, double by)
{
    return by == 0 ? sum : sum / by;
}

/* TIES, algorithm 1, lines 10 to 16 (Yadav et al. 2023, arXiv 2306.01708): one sign, and the mean
 * of those that have it. */
static double elect(const fmp_merge_how *h, const double *t, int zero_sign)
{
    const bool weighted = h->ties == FMP_TIES_MERGEKIT;
    double total = 0, n = 0, sum_w = 0, sum = 0;
    int sign;

    for (uint32_t i = 0; i < h->k; i++)
        sum += weighted ? h->w[i] * t[i] : t[i];
    sign = sign_of(sum);
    if (!sign)
        sign = h->ties == FMP_TIES_PAPER ? zero_sign : 1;
    for (uint32_t i = 0; i < h->k; i++) {
        const double v = h->ties == FMP_TIES_PAPER ? t[i] : h->w[i] * t[i];

        if (sign_of(weighted ? v : t[i]) != sign || !sign)
            continue;
        total += v;
        sum_w += h->w[i];
        n++;
    }
    if (weighted)
        return h->normalize ? divide(total, sum_w) : total;
    return divide(total, n);
}

static double ram(const fmp_merge_how *h, double b, const double *x, const double *t)
{
    double total = 0, n = 0, only = b;

    for (uint32_t i = 0; i < h->k; i++) {
        if (!(fabs(t[i]) > h->epsilon))
            continue;
        only = x[i];
        total += t[i];
        n++;
    }
    if (n == 1 && h->lambda == 1)
        return only;
    return b + h->lambda * divide(total, n);
}

/* Matena and Raffel 2021, arXiv 2111.09832, section 2, with a diagonal Fisher information. */
static double fisher(const fmp_merge_how *h, const double *x, const double *f)
{
    double above = 0, below = 0;

    for (uint32_t i = 0; i < h->k; i++) {
        above += f[i] * x[i];
        below += f[i];
    }
    if (below > 0)
        return above / below;
    above = below = 0; /* nobody knows: the mean */
    for (uint32_t i = 0; i < h->k; i++) {
        above += h->w[i] * x[i];
        below += h->w[i];
    }
    return divide(above, below);
}

double fmp_merge_element(const fmp_merge_how *h, double b, const double *x, const double *t,
                         const double *f, int zero_sign)
{
    double sum = 0;

    switch (h->method) {
    case FMP_MERGE_LINEAR:
        for (uint32_t i = 0; i < h->k; i++)
            sum += h->w[i] * x[i];
        return h->normalize ? sum / h->sum_w : sum;
    case FMP_MERGE_RAM:
        return ram(h, b, x, t);
    case FMP_MERGE_FISHER:
        return fisher(h, x, f);
    default:
        break;
    }
    if (fmp_merge_elects(h))
        return b + h->lambda * elect(h, t, zero_sign);
    for (uint32_t i = 0; i < h->k; i++)
        sum += h->w[i] * t[i];
    if (h->normalize)
        sum /= h->sum_w;
    return b + h->lambda * sum;
}

double fmp_merge_floored(const fmp_merge_how *h, uint32_t parent, double score)
{
    return (parent == 0 || h->floor_all) && !(score >= h->floor) ? h->floor : score;
}

bool fmp_merge_arc(const fmp_merge_how *h, double norm0, double norm1, double product,
                   double ret_c[2])
{
    const double n0 = norm0 > 1e-8 ? norm0 : 1;
    const double n1 = norm1 > 1e-8 ? norm1 : 1;
    double cosine = product / n0 / n1;
    double angle;

    cosine = cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
    ret_c[0] = 1 - h->t;
    ret_c[1] = h->t;
    if (!(fabs(cosine) <= 0.9995)) /* mergekit's threshold */
        return true;
    angle = acos(cosine);
    ret_c[0] = sin((1 - h->t) * angle) / sin(angle);
    ret_c[1] = sin(h->t * angle) / sin(angle);
    return false;
}

/* ---- a tensor in memory -----------------------------------------------------------------------
 */

typedef struct ranked {
    double size;
    uint64_t element;
} ranked;

static int compare_ranks(const void *a, const void *b)
{
    const ranked *x = a;
    const ranked *y = b;

    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->element > y->element ? -1 : 1; /* of equal ones the lower element ranks higher */
}

static bool trim(const fmp_merge_how *h, double *t, uint64_t n)
{
    ranked *r = fmp_calloc((size_t)n, sizeof *r);
    uint64_t c = 0, first, end;

    if (!r)
        return false;
    for (uint64_t j = 0; j < n; j++) {
        if (t[j] != 0)
            r[c++] = (ranked){.size = fabs(t[j]), .element = j};
    }
    if (c)
        qsort(r, (size_t)c, sizeof *r, compare_ranks);
    fmp_merge_ranks(h, n, c, &first, &end);
    while (h->method == FMP_MERGE_TIES && h->ties == FMP_TIES_PAPER && first && first < c &&
           r[first - 1].size == r[first].size)
        first--;
    for (uint64_t i = 0; i < c; i++) {
        if (i < first || i >= end)
            t[r[i].element] = 0;
    }
    fmp_free(r);
    return true;
}

static void drop(const fmp_merge_how *h, const char *name, uint32_t parent, double *t, uint64_t n)
{
    const fmp_merge_lots lots = fmp_merge_lots_of(h, name, strlen(name), parent);
    double before = 0, after = 0, scale;

    for (uint64_t j = 0; j < n; j++) {
        before += fabs(t[j]);
        if (t[j] != 0 && !fmp_merge_keeps(h, &lots, j))
            t[j] = 0;
        after += fabs(t[j]);
    }
    scale = fmp_merge_scale(h, before, after);
    for (uint64_t j = 0; j < n; j++)
        t[j] *= scale;
}

static void slerp(const fmp_merge_how *h, const double *base, const double *const *x, uint64_t n,
                  double *out)
{
    double s[3] = {0};
    double c[2];
    bool line;

    for (uint64_t j = 0; j < n; j++) {
        s[0] += x[0][j] * x[0][j];
        s[1] += x[1][j] * x[1][j];
        s[2] += x[0][j] * x[1][j];
    }
    line = fmp_merge_arc(h, sqrt(s[0]), sqrt(s[1]), s[2], c);
    for (uint64_t j = 0; j < n; j++)
        out[j] = line && x[0][j] == base[j] && x[1][j] == base[j] ? base[j]
                                                                  : c[0] * x[0][j] + c[1] * x[1][j];
}

/* Task vectors of all parents, one after the other, as far as they stay. */
static fmp_status make_vectors(const fmp_merge_how *h, const char *name, const double *base,
                               const double *const *tuned, uint64_t n, double *t, fmp_error *err)
{
    for (uint32_t i = 0; i < h->k; i++) {
        double *v = t + (size_t)i * n;

        for (uint64_t j = 0; j < n; j++)
            v[j] = tuned[i][j] == base[j] ? 0 : tuned[i][j] - base[j];
        if (fmp_merge_trims(h) && !trim(h, v, n))
            return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "merge: out of memory");
        if (fmp_merge_drops(h))
            drop(h, name, i, v, n);
    }
    return FMP_OK;
}

/* The sign of most elements, for those whose changes cancel. */
static int most_signs(const fmp_merge_how *h, const double *t, uint64_t n)
{
    int64_t balance = 0;

    for (uint64_t j = 0; j < n; j++) {
        double sum = 0;

        for (uint32_t i = 0; i < h->k; i++)
            sum += t[(size_t)i * n + j];
        balance += sign_of(sum);
    }
    return (balance > 0) - (balance < 0);
}

fmp_status fmp_merge_values(const fmp_merge_options *options, const char *name, size_t k,
                            const double *base, const double *const *tuned,
                            const double *const *scores, uint64_t n, double *out, fmp_error *err)
{
    double x[FMP_MERGE_MAX], v[FMP_MERGE_MAX], f[FMP_MERGE_MAX] = {0};
    fmp_merge_how h;
    int zero_sign = 0;
    double *t;
    fmp_status st = fmp_merge_resolve(options, k, &h, err);

    if (st)
        return st;
    if (h.method == FMP_MERGE_FISHER && !scores)
        return refuse(err, "Fisher merging needs scores");
    if (h.method == FMP_MERGE_SLERP) {
        slerp(&h, base, tuned, n, out);
        return FMP_OK;
    }
    if (n > SIZE_MAX / 64 / k)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "merge: out of memory");
    t = fmp_calloc((size_t)n * k, sizeof *t);
    st = t ? make_vectors(&h, name, base, tuned, n, t, err)
           : fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "merge: out of memory");
    if (!st && fmp_merge_elects(&h) && h.ties == FMP_TIES_PAPER)
        zero_sign = most_signs(&h, t, n);
    for (uint64_t j = 0; j < n && !st; j++) {
        bool changed = false;

        for (uint32_t i = 0; i < h.k; i++) {
            x[i] = tuned[i][j];
            v[i] = t[(size_t)i * n + j];
            changed |= x[i] != base[j];
            if (scores)
                f[i] = h.w[i] * fmp_merge_floored(&h, i, scores[i][j]);
        }
        out[j] = changed ? fmp_merge_element(&h, base[j], x, v, f, zero_sign) : base[j];
    }
    fmp_free(t);
    return st;
}
