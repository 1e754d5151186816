/*
 * fmp_measure() against a model of itself that knows no blocks: pairs made up at random, measured
 * element by element from their bytes.  What is told without the base is held to what is true.
 */
#include "random_models.h"

#include <math.h>

#include "base/alloc.h"
#include "base/values.h"
#include "patch.h"

enum { N_CASES = 60, MAX_ROWS = 200 };

typedef struct measured {
    fmp_measurement row[MAX_ROWS];
    uint32_t n;
} measured;

static bool keep(void *ctx, const fmp_measurement *m)
{
    measured *all = ctx;

    assert_true(all->n < MAX_ROWS);
    assert_int_equal(m->size, sizeof *m);
    all->row[all->n++] = *m;
    return true;
}

static measured *measure(const fmp_patch *p, const fmp_store *base, unsigned n_threads,
                         bool norms_of_all)
{
    const fmp_measure_options o = {
        .size = sizeof o, .n_threads = n_threads, .norms_of_all = norms_of_all};
    measured *all = calloc(1, sizeof *all);
    fmp_error err;

    assert_non_null(all);
    assert_status(fmp_measure(p, base, &o, keep, all, &err), FMP_OK, &err);
    assert_int_equal(all->n, fmp_patch_summarize(p).n_tensors);
    return all;
}

/* ---- numbers, once more -----------------------------------------------------------------------
 */

/* By the definition: sign, exponent, fraction; slow. */
static double slow_float(uint64_t bits, unsigned e_bits, unsigned m_bits, int bias)
{
    const uint64_t m = bits & ((1ull << m_bits) - 1);
    const int e = (int)(bits >> m_bits & ((1u << e_bits) - 1));
    const double sign = bits >> (e_bits + m_bits) & 1 ? -1 : 1;

    if (!e)
        return sign * ldexp((double)m, 1 - bias - (int)m_bits);
    return sign * ldexp((double)(m + (1ull << m_bits)), e - bias - (int)m_bits);
}

static double ieee(uint64_t bits, unsigned e_bits, unsigned m_bits)
{
    const uint64_t top = (1ull << e_bits) - 1;

    if ((bits >> m_bits & top) != top)
        return slow_float(bits, e_bits, m_bits, (int)(top >> 1));
    if (bits & ((1ull << m_bits) - 1))
        return (double)NAN;
    return bits >> (e_bits + m_bits) & 1 ? -(double)INFINITY : (double)INFINITY;
}

static double slow_value(const char *dtype, uint64_t bits)
{
    const unsigned size = strpbrk(dtype, "123468") ? (unsigned)strtoul(dtype + 1, NULL, 10) : 8;

    if (!strcmp(dtype, "F64"))
        return ieee(bits, 11, 52);
    if (!strcmp(dtype, "F32") || !strcmp(dtype, "C64"))
        return ieee(bits, 8, 23);
    if (!strcmp(dtype, "BF16"))
        return ieee(bits, 8, 7);
    if (!strcmp(dtype, "F16"))
        return ieee(bits, 5, 10);
    if (!strcmp(dtype, "F8_E5M2"))
        return ieee(bits, 5, 2);
    if (!strcmp(dtype, "F8_E4M3"))
        return (bits & 127) == 127 ? (double)NAN : slow_float(bits, 4, 3, 7);
    if (!strcmp(dtype, "F8_E5M2FNUZ"))
        return bits == 128 ? (double)NAN : slow_float(bits, 5, 2, 16);
    if (!strcmp(dtype, "F8_E4M3FNUZ"))
        return bits == 128 ? (double)NAN : slow_float(bits, 4, 3, 8);
    if (!strcmp(dtype, "F8_E8M0"))
        return bits == 255 ? (double)NAN : exp2((double)bits - 127);
    if (dtype[0] == 'I' && bits >> (size - 1))
        return -1 - (double)(~bits & (size == 64 ? UINT64_MAX : (1ull << size) - 1));
    return (double)bits;
}

static bool is_float(const char *dtype)
{
    static const char *const names[] = {"F64", "F32", "F16", "BF16", "C64"};

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(dtype, names[i]))
            return true;
    }
    return !strncmp(dtype, "F8_", 3);
}

static bool has_values(const char *dtype)
{
    return strncmp(dtype, "F4", 2) && strncmp(dtype, "F6_", 3);
}

static uint64_t load(const uint8_t *p, unsigned width)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < width; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static void same_double(double a, double b, const char *dtype, unsigned bits)
{
    if (!(a == b || (isnan(a) && isnan(b))) || signbit(a) != signbit(b))
        if (!(isnan(a) && isnan(b)))
            fail_msg("%s %#x: %a, expected %a", dtype, bits, a, b);
}

static void patterns_are_their_numbers(void **state)
{
    fmp_value_kind kind;

    (void)state;
    for (unsigned k = 0; fmp_dtype_at(k); k++) {
        const char *name = fmp_dtype_at(k)->name;
        const unsigned width = fmp_dtype_at(k)->width;

        kind = fmp_value_kind_of(name);
        assert_int_equal(kind != FMP_VALUE_NONE, has_values(name));
        assert_int_equal(fmp_value_is_float(kind), is_float(name));
        for (unsigned x = 0; x < (width == 8 ? 256 : 65536) && kind; x++) {
            const uint64_t bits = width <= 16 ? x : (uint64_t)x << (width - 16) | (rng() >> 48);

            same_double(fmp_value(kind, bits), slow_value(name, bits), name, x);
        }
    }
    assert_true(fmp_value(FMP_VALUE_E4M3, 0x7e) == 448);
    assert_true(fmp_value(FMP_VALUE_E5M2, 0x7b) == 57344);
    assert_true(fmp_value(FMP_VALUE_E4M3FNUZ, 0x7f) == 240);
    assert_true(fmp_value(FMP_VALUE_E5M2FNUZ, 0x7f) == 57344);
    assert_true(fmp_value(FMP_VALUE_E8M0, 0) == ldexp(1, -127));
    assert_int_equal(fmp_value_kind_of("F80"), FMP_VALUE_NONE);
}

/* ---- the truth --------------------------------------------------------------------------------
 */

static const tensor *find(const model *m, const char *name)
{
    for (unsigned i = 0; name && i < m->n; i++) {
        if (!strcmp(m->t[i].name, name))
            return &m->t[i];
    }
    return NULL;
}

/* What the target tensor of a row is compared with, by the header's rule. */
static const uint8_t *reference(const fmp_patch *p, uint32_t row, const model *base,
                                const tensor *now, uint64_t *ret_len)
{
    const tensor *own = find(base, now->name);
    const fmp_table *t = &p->table;
    uint32_t maker = row;
    fmp_map map;

    if (own && own->dtype == now->dtype && own->rank == now->rank &&
        !memcmp(own->shape, now->shape, now->rank * sizeof *now->shape)) {
        *ret_len = now->len;
        return own->data;
    }
    if (t->rows[row].state == FMP_ALIAS)
        maker = t->maps[t->rows[row].map].source;
    map = fmp_table_map(t, maker);
    *ret_len = map.n_bytes;
    if (!map.n_bytes)
        return NULL;
    own = find(base, t->names + t->rows[map.source].name_at);
    if (own->dtype != now->dtype)
        *ret_len = 0;
    return own->data + map.base_off;
}

/* `around`: modulo 2^w, as a residual has it; else from one value to the other. */
static void true_step(fmp_measurement *m, const fmp_dtype *d, uint64_t a, uint64_t b, bool around)
{
    const uint64_t mask = d->width == 64 ? UINT64_MAX : (1ull << d->width) - 1;
    const uint64_t top = 1ull << (d->width - 1);
    uint64_t x = a, y = b, size;
    unsigned len = 0;
    bool is_up;

    if (d->order == FMP_ORDER_SIGN) {
        x = a & top ? mask - a : a + top;
        y = b & top ? mask - b : b + top;
    }
    if (d->name[0] == 'I' && !around) {
        x = a ^ top;
        y = b ^ top;
    }
    is_up = around ? ((y - x) & mask) < top : y > x;
    size = (is_up ? y - x : x - y) & mask;
    m->n_up += is_up;
    m->n_down += !is_up;
    m->max_residual = size > m->max_residual ? size : m->max_residual;
    while (len < 64 && size >> len)
        len++;
    m->residual_bits[len]++;
}

static void true_values(fmp_measurement *m, double a, double b)
{
    int e;

    m->n_new_nan += isnan(b) && !isnan(a);
    m->n_new_inf += isinf(b) && !isinf(a);
    m->n_sign_flips += a * b < 0 || (a < 0 && b > 0) || (a > 0 && b < 0);
    if (!isfinite(a))
        return;
    if (!isfinite(b)) {
        m->change_squares = m->change_max = (double)INFINITY;
        return;
    }
    m->change_squares += (b - a) * (b - a);
    m->change_max = fmax(m->change_max, fabs(b - a));
    if (a == b || !isfinite(b - a))
        return;
    frexp(b - a, &e);
    e = e - 1 + 64;
    m->change_exponents[e < 0 ? 0 : e > 95 ? 95 : e]++;
}

static fmp_measurement truth(const fmp_patch *p, uint32_t row, const model *base, const tensor *now,
                             bool around)
{
    const char *dtype = now->dtype->name;
    const unsigned width = now->dtype->width / 8;
    fmp_measurement m = {.tensor = row, .n_elements = now->len / width};
    uint64_t len;
    const uint8_t *old = reference(p, row, base, now, &len);

    m.has_values = has_values(dtype);
    m.is_float = is_float(dtype);
    for (uint64_t i = 0; i < m.n_elements; i++) {
        const uint64_t b = load(now->data + i * width, width);
        const double y = m.has_values ? slow_value(dtype, b) : 0;
        uint64_t a;
        double x;

        if ((i + 1) * width > len) {
            m.n_new++;
            m.n_new_nan += isnan(y) && is_float(dtype);
            m.n_new_inf += isinf(y) && is_float(dtype);
            continue;
        }
        a = load(old + i * width, width);
        x = m.has_values ? slow_value(dtype, a) : 0;
        m.base_squares += isfinite(x) ? x * x : 0;
        m.n_changed += a != b;
        if (a == b)
            continue;
        true_step(&m, now->dtype, a, b, around);
        if (m.has_values)
            true_values(&m, x, y);
    }
    m.n_changed += m.n_new;
    return m;
}

static bool near(double a, double b)
{
    return a == b || fabs(a - b) <= 1e-9 * fabs(b) || (isnan(a) && isnan(b));
}

static void assert_steps(const fmp_measurement *found, const fmp_measurement *want)
{
    assert_int_equal(found->n_up, want->n_up);
    assert_int_equal(found->n_down, want->n_down);
    assert_int_equal(found->max_residual, want->max_residual);
    assert_memory_equal(found->residual_bits, want->residual_bits, sizeof want->residual_bits);
}

static void assert_true_with_base(const fmp_measurement *found, const fmp_measurement *want,
                                  bool all_norms)
{
    assert_true(found->has_base);
    assert_int_equal(found->has_values, want->has_values);
    assert_int_equal(found->is_float, want->is_float);
    assert_int_equal(found->n_elements, want->n_elements);
    assert_int_equal(found->n_changed, want->n_changed);
    assert_int_equal(found->n_new, want->n_new);
    assert_int_equal(found->n_opaque, 0);
    assert_int_equal(found->n_unseen, 0);
    assert_steps(found, want);
    assert_int_equal(found->n_new_nan, want->n_new_nan);
    assert_int_equal(found->n_new_inf, want->n_new_inf);
    assert_int_equal(found->n_sign_flips, want->n_sign_flips);
    assert_true(near(found->change_squares, want->change_squares));
    assert_true(found->change_max == want->change_max);
    if (all_norms || want->n_changed)
        assert_true(near(found->base_squares, want->base_squares));
    assert_memory_equal(found->change_exponents, want->change_exponents,
                        sizeof want->change_exponents);
}

/* Without the base nothing is told smaller than it is, and what is told as known is exact. */
static void assert_honest(const fmp_measurement *found, const fmp_measurement *want)
{
    assert_false(found->has_base);
    assert_int_equal(found->n_elements, want->n_elements);
    assert_int_equal(found->n_new, want->n_new);
    assert_true(found->n_changed >= want->n_changed);
    assert_true(found->n_changed - found->n_opaque <= want->n_changed);
    assert_true(found->n_new_nan + found->n_new_inf + found->n_unseen >=
                want->n_new_nan + want->n_new_inf);
    if (!found->n_opaque) {
        assert_int_equal(found->n_changed, want->n_changed);
        assert_steps(found, want);
    }
    assert_true(found->change_squares == 0 && found->base_squares == 0);
}

/* Every bit behind the head, which has holes. */
static void assert_same_measures(const measured *a, const measured *b)
{
    const size_t at = offsetof(fmp_measurement, n_elements);

    assert_int_equal(a->n, b->n);
    for (uint32_t i = 0; i < a->n; i++) {
        assert_int_equal(a->row[i].tensor, b->row[i].tensor);
        assert_memory_equal((const char *)&a->row[i] + at, (const char *)&b->row[i] + at,
                            sizeof a->row[i] - at);
    }
}

static void check_pair(const model *b, const model *t, bool set_values, unsigned *seen_opaque)
{
    const fmp_create_options o = {
        .size = sizeof o, .replace = true, .set_values = set_values, .n_threads = 1};
    static const unsigned threads[] = {2, 3, 7};
    fmp_store *base, *target;
    measured *with, *without, *norms;
    fmp_patch *p;
    fmp_error err;

    put_model(b, "b.safetensors", false);
    put_model(t, "t.safetensors", false);
    base = open_store(at("b.safetensors"));
    target = open_store(at("t.safetensors"));
    assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
    p = open_patch(at("p.fmp"));
    with = measure(p, base, 1, false);
    norms = measure(p, base, 1, true);
    without = measure(p, NULL, 1, false);
    for (uint32_t i = 0; i < with->n; i++) {
        const fmp_patch_tensor x = fmp_patch_tensor_at(p, with->row[i].tensor);
        const tensor *now = find(t, x.target.name);
        fmp_measurement want = {.n_elements = 0}, blind = {.n_elements = 0};

        if (now) {
            want = truth(p, with->row[i].tensor, b, now, false);
            blind = truth(p, with->row[i].tensor, b, now, true);
        } else {
            assert_int_equal(x.state, FMP_REMOVED);
        }
        assert_true_with_base(&with->row[i], &want, false);
        assert_true_with_base(&norms->row[i], &want, true);
        assert_honest(&without->row[i], &blind);
        *seen_opaque += without->row[i].n_opaque != 0;
    }
    for (unsigned i = 0; i < 3; i++) {
        measured *again = measure(p, base, threads[i], true);
        measured *blind = measure(p, NULL, threads[i], true);

        assert_same_measures(norms, again);
        assert_same_measures(without, blind);
        free(again);
        free(blind);
    }
    free(with);
    free(without);
    free(norms);
    fmp_patch_close(p);
    fmp_store_close(base);
    fmp_store_close(target);
}

static void measures_are_true_for_any_pair(void **state)
{
    unsigned seen_opaque = 0;

    (void)state;
    for (unsigned i = 0; i < N_CASES; i++) {
        model b = {.n = 0}, t = {.n = 0};

        rng_seed(700 + i);
        any_base(&b);
        any_target(&b, &t, 1);
        check_pair(&b, &t, i % 4 == 3, &seen_opaque);
        model_free(&b);
        model_free(&t);
    }
    assert_true(seen_opaque > 8);
}

/* ---- cases made by hand -----------------------------------------------------------------------
 */

static void put_f32(tensor *t, const float *values, unsigned n)
{
    assert_int_equal(t->len, 4 * n);
    memcpy(t->data, values, 4 * n);
}

static void known_changes_have_known_measures(void **state)
{
    const float old[] = {1, -2, 0, 4, 5, 0, 0, 8};
    const float now[] = {1, 2, 0.5f, NAN, INFINITY, -0.0f, 0, 7};
    model b = {.n = 0}, t = {.n = 0};
    unsigned opaque = 0;

    (void)state;
    put_f32(model_add(&b, "w", "F32", 1, 8, 0), old, 8);
    model_copy(&b, &t);
    put_f32(&t.t[0], now, 8);
    check_pair(&b, &t, false, &opaque);
    {
        fmp_store *base = open_store(at("b.safetensors"));
        fmp_patch *p = open_patch(at("p.fmp"));
        measured *m = measure(p, base, 1, false);
        const fmp_measurement *x = &m->row[0];

        assert_int_equal(x->n_changed, 6);
        assert_int_equal(x->n_new_nan, 1);
        assert_int_equal(x->n_new_inf, 1);
        assert_int_equal(x->n_sign_flips, 1);
        assert_true(isinf(x->change_squares) && isinf(x->change_max));
        assert_true(x->base_squares == 1 + 4 + 16 + 25 + 64);
        assert_int_equal(x->change_exponents[64 + 2], 1); /* 4 */
        assert_int_equal(x->change_exponents[64 - 1], 1); /* 0.5 */
        assert_int_equal(x->change_exponents[64 + 0], 1); /* 1 */
        assert_int_equal(x->residual_bits[1], 1);         /* 0 and -0 are neighbours */
        free(m);
        m = measure(p, NULL, 1, false);
        assert_int_equal(m->row[0].n_unseen, 6);
        assert_int_equal(m->row[0].n_new_nan, 0);
        free(m);
        fmp_patch_close(p);
        fmp_store_close(base);
    }
    model_free(&b);
    model_free(&t);
}

/* One step less than the way from the largest finite value round the end to the smallest. */
static uint64_t slow_certain(const fmp_dtype *d)
{
    const uint64_t top = 1ull << (d->width - 1);
    uint64_t n = 0;

    if (d->width > 16 && d->order == FMP_ORDER_SIGN) /* an exponent of ones: 2^23, 2^52 fractions */
        return d->width == 64 ? 1ull << 53 : 1u << 24;
    if (d->order == FMP_ORDER_SIGN) { /* patterns are in order from 0 up: count those not finite */
        for (uint64_t x = top - 1; !isfinite(slow_value(d->name, x)); x--)
            n++;
        return 2 * n;
    }
    for (uint64_t x = 2 * top - 1; has_values(d->name) && !isfinite(slow_value(d->name, x)); x--)
        n++;
    return n;
}

static void ways_are_certain_up_to_the_gap(void **state)
{
    (void)state;
    for (unsigned k = 0; fmp_dtype_at(k); k++) {
        const fmp_dtype *d = fmp_dtype_at(k);
        model b = {.n = 0}, t = {.n = 0};
        unsigned opaque = 0;
        measured *m;
        fmp_patch *p;

        model_add(&b, "w", d->name, 1, 64, 0);
        model_copy(&b, &t);
        t.t[0].data[8] ^= 1;
        check_pair(&b, &t, false, &opaque);
        p = open_patch(at("p.fmp"));
        m = measure(p, NULL, 1, false);
        if (m->row[0].certain_steps != slow_certain(d))
            fail_msg("%s: %llu, expected %llu", d->name,
                     (unsigned long long)m->row[0].certain_steps,
                     (unsigned long long)slow_certain(d));
        free(m);
        fmp_patch_close(p);
        model_free(&b);
        model_free(&t);
    }
}

/* The largest number of a byte and the smallest are neighbours modulo 256, and as far apart as can
 * be. */
static void the_way_round_is_not_taken_for_the_way(void **state)
{
    static const struct {
        const char *dtype;
        uint8_t old, now;
        uint64_t steps, seen;
    } cases[] = {{"U8", 0, 255, 255, 1},
                 {"I8", 127, 128, 255, 1},
                 {"I8", 255, 0, 1, 1},
                 {"F8_E4M3", 0x7e, 0xfe, 253, 3},
                 {"F8_E8M0", 0, 254, 254, 2}};

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        model b = {.n = 0}, t = {.n = 0};
        unsigned opaque = 0;
        fmp_store *base;
        measured *m;
        fmp_patch *p;

        model_add(&b, "w", cases[i].dtype, 1, 64, 0);
        b.t[0].data[9] = cases[i].old;
        model_copy(&b, &t);
        t.t[0].data[9] = cases[i].now;
        check_pair(&b, &t, false, &opaque);
        base = open_store(at("b.safetensors"));
        p = open_patch(at("p.fmp"));
        m = measure(p, base, 1, false);
        assert_int_equal(m->row[0].max_residual, cases[i].steps);
        free(m);
        m = measure(p, NULL, 1, false);
        assert_int_equal(m->row[0].max_residual, cases[i].seen);
        free(m);
        fmp_patch_close(p);
        fmp_store_close(base);
        model_free(&b);
        model_free(&t);
    }
}

/* Two tensors that trade places are unchanged rows with maps; by their names they changed. */
static void swapped_tensors_are_changed(void **state)
{
    model b = {.n = 0}, t = {.n = 0};
    unsigned opaque = 0;

    (void)state;
    rng_seed(5);
    model_add(&b, "layers.0.q", "BF16", 2, 40, 40);
    model_add(&b, "layers.1.q", "BF16", 2, 40, 40);
    model_copy(&b, &t);
    memcpy(t.t[0].data, b.t[1].data, b.t[1].len);
    memcpy(t.t[1].data, b.t[0].data, b.t[0].len);
    check_pair(&b, &t, false, &opaque);
    {
        fmp_patch *p = open_patch(at("p.fmp"));
        measured *m = measure(p, NULL, 1, false);

        assert_true(m->row[0].n_changed > 1500 && m->row[1].n_changed > 1500);
        free(m);
        fmp_patch_close(p);
    }
    model_free(&b);
    model_free(&t);
}

/* Raw bytes that are coded in wider units: how far a byte moved cannot be told from them. */
static void foreign_units_are_opaque(void **state)
{
    static const unsigned widths[] = {16, 32, 64};

    (void)state;
    for (unsigned w = 0; w < 3; w++) {
        const fmp_create_options o = {.size = sizeof o, .width = widths[w], .replace = true};
        const fmp_store_options raw = {.size = sizeof raw, .raw = true};
        uint8_t bytes[4000];
        fmp_store *base = NULL, *target = NULL;
        measured *m;
        fmp_patch *p;
        fmp_error err;

        for (unsigned i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(i * i >> 3);
        put_file("b.bin", bytes, sizeof bytes);
        bytes[801] ^= 0x40;
        bytes[802] ^= 0x40;
        bytes[2008] ^= 1;
        put_file("t.bin", bytes, sizeof bytes);
        assert_status(fmp_store_open(at("b.bin"), &raw, &base, &err), FMP_OK, &err);
        assert_status(fmp_store_open(at("t.bin"), &raw, &target, &err), FMP_OK, &err);
        assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
        p = open_patch(at("p.fmp"));
        m = measure(p, NULL, 1, false);
        assert_int_equal(m->row[0].n_elements, sizeof bytes);
        assert_int_equal(m->row[0].n_opaque, m->row[0].n_changed);
        assert_int_equal(m->row[0].n_changed, (w == 0 ? 3u : 2u) * widths[w] / 8);
        assert_int_equal(m->row[0].max_residual, 0);
        free(m);
        m = measure(p, base, 1, false);
        assert_int_equal(m->row[0].n_changed, 3);
        assert_int_equal(m->row[0].max_residual, 0x40);
        free(m);
        fmp_patch_close(p);
        fmp_store_close(base);
        fmp_store_close(target);
    }
}

static bool stop_at_second(void *ctx, const fmp_measurement *m)
{
    (void)m;
    return ++*(unsigned *)ctx < 2;
}

static bool cancel(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    assert_true(done <= total);
    return true;
}

static void small_pair(model *b, model *t)
{
    rng_seed(11);
    model_add(b, "a", "BF16", 2, 40, 40);
    model_add(b, "b", "F32", 1, 400, 0);
    model_add(b, "c", "F16", 1, 600000, 0);
    model_copy(b, t);
    change_some(&t->t[0], 30);
    change_some(&t->t[1], 30);
    change_some(&t->t[2], 3000);
}

static void make_small(fmp_store **ret_base, fmp_patch **ret_patch)
{
    model b = {.n = 0}, t = {.n = 0};
    unsigned opaque = 0;

    small_pair(&b, &t);
    check_pair(&b, &t, false, &opaque);
    model_free(&b);
    model_free(&t);
    *ret_base = open_store(at("b.safetensors"));
    *ret_patch = open_patch(at("p.fmp"));
}

static void it_stops_when_told(void **state)
{
    const fmp_measure_options o = {.size = sizeof o, .n_threads = 1, .progress = {.fn = cancel}};
    measured all = {.n = 0};
    unsigned n = 0;
    fmp_store *base;
    fmp_patch *p;
    fmp_error err;

    (void)state;
    make_small(&base, &p);
    assert_status(fmp_measure(p, base, NULL, stop_at_second, &n, &err), FMP_OK, &err);
    assert_int_equal(n, 2);
    assert_status(fmp_measure(p, base, &o, keep, &all, &err), FMP_ECANCELED, &err);
    fmp_store_close(base);
    put_shard("other.safetensors", "a", 3);
    base = open_store(at("other.safetensors"));
    assert_status(fmp_measure(p, base, NULL, keep, &all, &err), FMP_EBASE, &err);
    assert_non_null(strstr(err.text, "tensor \"a\""));
    fmp_store_close(base);
    fmp_patch_close(p);
}

static void it_survives_every_failed_allocation(void **state)
{
    fmp_store *base;
    fmp_patch *p;

    (void)state;
    make_small(&base, &p);
    for (unsigned with = 0; with < 2; with++) {
        const fmp_measure_options o = {.size = sizeof o, .n_threads = 1};
        fmp_status st = FMP_ENOMEM;
        long k = 0;

        for (; st; k++) {
            measured all = {.n = 0};
            fmp_error err = {0};

            fmp_alloc_fail_at(k);
            st = fmp_measure(p, with ? base : NULL, &o, keep, &all, &err);
            fmp_alloc_fail_at(-1);
            if (st)
                assert_status(st, FMP_ENOMEM, &err);
            assert_true(k < 1000);
        }
        assert_true(k > 8);
    }
    fmp_store_close(base);
    fmp_patch_close(p);
}

#define in_its_own_folder(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_their_numbers),
        in_its_own_folder(measures_are_true_for_any_pair),
        in_its_own_folder(known_changes_have_known_measures),
        in_its_own_folder(ways_are_certain_up_to_the_gap),
        in_its_own_folder(the_way_round_is_not_taken_for_the_way),
        in_its_own_folder(swapped_tensors_are_changed),
        in_its_own_folder(foreign_units_are_opaque),
        in_its_own_folder(it_stops_when_told),
        in_its_own_folder(it_survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
