/*
 * How two patches differ: counts and distances held against models compared element by element,
 * over every way in which tensors change; what is identical, and what keeps patches from being so.
 */
#include "change_oracle.h"

#include "base/alloc.h"

enum { N_CASES = 200 };

static fmp_diff *diff(const fmp_patch *a, const fmp_patch *b, unsigned n_threads, bool shapes_only)
{
    const fmp_diff_options o = {
        .size = sizeof o, .n_threads = n_threads, .shapes_only = shapes_only};
    fmp_diff *ret;
    fmp_error err;

    assert_status(fmp_diff_new(a, b, &o, &ret, &err), FMP_OK, &err);
    return ret;
}

static fmp_diff_tensor tensor_of(const fmp_diff *d, const char *name)
{
    for (uint32_t i = 0; i < fmp_diff_summarize(d).n_tensors; i++) {
        const fmp_diff_tensor x = fmp_diff_tensor_at(d, i);

        if (strcmp(x.name, name) == 0)
            return x;
    }
    return (fmp_diff_tensor){0};
}

/* ---- against models ---------------------------------------------------------------------------
 */

static uint64_t count_ways(const fate *a, const fate *b)
{
    uint64_t n = 0;

    for (uint64_t e = 0; e < (a->t ? a->n : 0) || e < (b->t ? b->n : 0); e++)
        n += how_at(a, e) != STAYS || how_at(b, e) != STAYS;
    return n;
}

static void add_distance(fmp_diff_counts *c, const fate *a, const fate *b, uint64_t e)
{
    bool down;
    const uint64_t d = way_between(a->t, element(a, e), element(b, e), &down);

    c->n_apart++;
    c->sum_distance += d;
    c->max_distance = d > c->max_distance ? d : c->max_distance;
}

/* One element; both fates are there or one has no tensor. */
static void add_element(fmp_diff_counts *c, const fate *a, const fate *b, bond x, uint64_t e)
{
    const uint8_t how[2] = {how_at(a, e), how_at(b, e)};
    const bool near = x.type && x.ref && one_kind(a->t, b->t);

    if (how[0] == STAYS && how[1] == STAYS)
        return;
    if (how[0] != STAYS && how[1] != STAYS) {
        if (alike_at(a, b, x, e)) {
            c->n_same++;
            return;
        }
        c->n_other++;
        if (near && how[0] == STEP && how[1] == STEP)
            add_distance(c, a, b, e);
        return;
    }
    c->n_only[how[0] == STAYS]++;
    if (near && (how[0] == STEP || how[1] == STEP))
        add_distance(c, a, b, e);
}

static void check_tensor(const fmp_diff *d, const side s[2], const char *name)
{
    const fmp_diff_tensor found = tensor_of(d, name);
    fate a = fate_of(&s[0], name);
    fate b = fate_of(&s[1], name);
    const bond x = bond_of(&a, &b);
    fmp_diff_counts want = {{0}, 0, 0, 0, 0, 0};

    assert_non_null(found.name);
    assert_int_equal(found.in_target[0], a.t != NULL);
    assert_int_equal(found.in_target[1], b.t != NULL);
    assert_int_equal(found.same, (!a.t && !b.t) || x.result);
    if (found.same)
        want.n_same = count_ways(&a, &b);
    for (uint64_t e = 0; !found.same && (e < (a.t ? a.n : 0) || e < (b.t ? b.n : 0)); e++)
        add_element(&want, &a, &b, x, e);
    assert_memory_equal(&found.counts, &want, sizeof want);
    fate_free(&a);
    fate_free(&b);
}

static void check_sums(const fmp_diff *d)
{
    const fmp_diff_summary s = fmp_diff_summarize(d);
    fmp_diff_counts sum = {{0}, 0, 0, 0, 0, 0};
    uint32_t n_differing = 0, n_only[2] = {0, 0};

    for (uint32_t i = 0; i < s.n_tensors; i++) {
        const fmp_diff_tensor x = fmp_diff_tensor_at(d, i);

        n_differing += !x.same;
        n_only[0] += x.in_target[0] && !x.in_target[1];
        n_only[1] += x.in_target[1] && !x.in_target[0];
        sum.n_only[0] += x.counts.n_only[0];
        sum.n_only[1] += x.counts.n_only[1];
        sum.n_same += x.counts.n_same;
        sum.n_other += x.counts.n_other;
        sum.n_apart += x.counts.n_apart;
        sum.sum_distance = sum.sum_distance > UINT64_MAX - x.counts.sum_distance
                               ? UINT64_MAX
                               : sum.sum_distance + x.counts.sum_distance;
        if (x.counts.max_distance > sum.max_distance)
            sum.max_distance = x.counts.max_distance;
    }
    assert_int_equal(n_differing, s.n_differing);
    assert_int_equal(n_only[0], s.n_only[0]);
    assert_int_equal(n_only[1], s.n_only[1]);
    assert_memory_equal(&sum, &s.counts, sizeof sum);
    assert_true(s.same_base);
    assert_int_equal(s.same_target, n_differing == 0);
}

static void assert_equal(const fmp_diff *a, const fmp_diff *b)
{
    const fmp_diff_summary s = fmp_diff_summarize(a);
    const fmp_diff_summary r = fmp_diff_summarize(b);

    assert_memory_equal(&s, &r, sizeof s);
    for (uint32_t i = 0; i < s.n_tensors; i++) {
        const fmp_diff_tensor x = fmp_diff_tensor_at(a, i);
        const fmp_diff_tensor y = fmp_diff_tensor_at(b, i);

        assert_string_equal(x.name, y.name);
        assert_memory_equal(&x.counts, &y.counts, sizeof x.counts);
    }
}

/* 64-bit distances may not fit a sum of 64 bits: those dtypes have a case of their own. */
static bool is_wide(const model *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        if (m->t[i].dtype->width == 64)
            return true;
    }
    return false;
}

static unsigned n_apart, n_only, n_alike, n_unlike;

static void check_case(const model *base, const model tuned[2], bool set)
{
    static const unsigned threads[] = {2, 3, 7};
    const fmp_create_options how[2] = {{.size = sizeof how[0]},
                                       {.size = sizeof how[1], .set_values = set, .level = 9}};
    fmp_store *b = open_store(at("base"));
    side s[2];
    fmp_diff *one;

    for (unsigned i = 0; i < 2; i++)
        s[i] = (side){base, &tuned[i], make_patch(b, &tuned[i], i ? "p1" : "p0", &how[i])};
    one = diff(s[0].p, s[1].p, 1, false);
    for (unsigned i = 0; i < base->n; i++)
        check_tensor(one, s, base->t[i].name);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < tuned[i].n; k++)
            check_tensor(one, s, tuned[i].t[k].name);
    }
    check_sums(one);
    for (unsigned k = 0; k < 3; k++) {
        fmp_diff *many = diff(s[0].p, s[1].p, threads[k], false);

        assert_equal(one, many);
        fmp_diff_free(many);
    }
    n_apart += fmp_diff_summarize(one).counts.n_apart > 0;
    n_only += fmp_diff_summarize(one).n_only[0] > 0;
    n_alike += fmp_diff_summarize(one).counts.n_same > 0;
    n_unlike += fmp_diff_summarize(one).counts.n_other > 0;
    fmp_diff_free(one);
    for (unsigned i = 0; i < 2; i++)
        fmp_patch_close((fmp_patch *)s[i].p);
    fmp_store_close(b);
    remove_tree("p0");
    remove_tree("p1");
}

static void test_every_state(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < N_CASES; seed++) {
        model base = {.n = 0}, tuned[2];

        rng_seed(seed + 1700);
        any_base(&base);
        any_target(&base, &tuned[0], 1);
        if (roll(3) == 0) {
            model_copy(&tuned[0], &tuned[1]);
            for (unsigned k = 0; k < tuned[1].n; k++) {
                if (roll(2))
                    change_some(&tuned[1].t[k], 50);
            }
        } else {
            any_target(&base, &tuned[1], 2);
        }
        if (!is_wide(&base) && !is_wide(&tuned[0]) && !is_wide(&tuned[1])) {
            put_model(&base, "base", false);
            check_case(&base, tuned, roll(3) == 0);
            remove_tree("base");
        }
        model_free(&base);
        model_free(&tuned[0]);
        model_free(&tuned[1]);
    }
    assert_true(n_apart > 5 && n_only > 5 && n_alike > 5 && n_unlike > 5);
}

/* Residuals and patterns of every dtype, both tensors in place. */
static void test_every_dtype(void **state)
{
    (void)state;
    for (unsigned i = 0; fmp_dtype_at(i); i++) {
        model base = {.n = 0}, tuned[2];

        rng_seed(i + 60);
        model_add(&base, "a", fmp_dtype_at(i)->name, 1, 4000, 0);
        for (unsigned k = 0; k < 2; k++) {
            model_copy(&base, &tuned[k]);
            change_some(&tuned[k].t[0], 7);
            /* Steps only: the sum of 64-bit distances stays below 2^64. */
            for (uint64_t x = 0; x < base.t[0].len; x++) {
                if (x % (fmp_dtype_at(i)->width / 8u))
                    tuned[k].t[0].data[x] = base.t[0].data[x];
            }
        }
        put_model(&base, "base", false);
        check_case(&base, tuned, false);
        remove_tree("base");
        model_free(&base);
        model_free(&tuned[0]);
        model_free(&tuned[1]);
    }
}

/* ---- by hand ----------------------------------------------------------------------------------
 */

/* A sum that does not fit is the most there is, whatever threads do. */
static void test_far_apart(void **state)
{
    model base = {.n = 0}, m;
    fmp_patch *p[2];
    fmp_store *b;

    (void)state;
    rng_seed(2);
    model_add(&base, "a", "I64", 1, 600000, 0);
    memset(base.t[0].data, 0, base.t[0].len);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    model_copy(&base, &m);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned e = 0; e < 600000; e++)
            m.t[0].data[8 * e + 7] = i ? 0xd0 : 0x20; /* 0x50 << 56 apart, the other way round */
        p[i] = make_patch(b, &m, i ? "p1" : "p0", NULL);
    }
    for (unsigned n = 1; n < 4; n++) {
        fmp_diff *d = diff(p[0], p[1], n, false);
        const fmp_diff_counts c = fmp_diff_summarize(d).counts;

        assert_int_equal(c.n_apart, 600000);
        assert_true(c.sum_distance == UINT64_MAX);
        assert_true(c.max_distance == 0x50ull << 56);
        fmp_diff_free(d);
    }
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
    fmp_store_close(b);
    model_free(&base);
    model_free(&m);
}

/* Removed and renamed tensors differ though no element does. */
static void test_names(void **state)
{
    model base = {.n = 0}, m;
    fmp_diff_tensor x;
    fmp_patch *p[2];
    fmp_store *b;
    fmp_diff *d;

    (void)state;
    rng_seed(4);
    model_add(&base, "gone", "F32", 1, 9, 0);
    model_add(&base, "kept", "F32", 1, 9, 0);
    model_add(&base, "model.old", "F32", 1, 2000, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    model_copy(&base, &m);
    p[0] = make_patch(b, &m, "p0", NULL);
    snprintf(m.t[2].name, sizeof m.t[2].name, "old");
    m.t[2].data[40] ^= 1;
    model_drop(&m, 0);
    p[1] = make_patch(b, &m, "p1", NULL);
    d = diff(p[0], p[1], 0, false);
    assert_int_equal(fmp_diff_summarize(d).n_tensors, 4);
    assert_int_equal(fmp_diff_summarize(d).n_differing, 3);
    assert_int_equal(fmp_diff_summarize(d).n_only[0], 2);
    assert_int_equal(fmp_diff_summarize(d).n_only[1], 1);
    assert_int_equal(fmp_diff_summarize(d).counts.n_only[1], 1);
    assert_int_equal(fmp_diff_summarize(d).counts.n_apart, 0);
    assert_true(tensor_of(d, "kept").same);
    x = tensor_of(d, "gone");
    assert_true(x.known[0] && x.known[1] && x.in_target[0] && !x.in_target[1]);
    assert_int_equal(x.state[1], FMP_REMOVED);
    x = tensor_of(d, "old");
    assert_true(!x.known[0] && x.known[1]);
    assert_string_equal(x.source[1], "model.old");
    assert_null(fmp_diff_tensor_at(d, 4).name);
    fmp_diff_free(d);
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
    fmp_store_close(b);
    model_free(&base);
    model_free(&m);
}

static fmp_patch *patch_between(const char *base, const char *target, const char *name,
                                const fmp_create_options *o)
{
    fmp_store *b = open_store(at(base));
    fmp_store *t = open_store(at(target));
    fmp_error err;

    assert_status(fmp_create(b, t, at(name), o, NULL, &err), FMP_OK, &err);
    fmp_store_close(b);
    fmp_store_close(t);
    return open_patch(at(name));
}

static void check_identical(const fmp_patch *a, const fmp_patch *b, bool layout, uint32_t files)
{
    fmp_diff *d = diff(a, b, 2, false);
    const fmp_diff_summary s = fmp_diff_summarize(d);

    assert_true(s.same_base && s.same_target);
    assert_int_equal(s.n_differing, 0);
    assert_int_equal(s.same_layout, layout);
    assert_int_equal(s.n_differing_files, files);
    assert_int_equal(s.identical, layout && !files);
    fmp_diff_free(d);
}

/* One target in one file, in shards, under another header, beside other files. */
static void test_layouts(void **state)
{
    static const fmp_create_options coded = {
        .size = sizeof coded, .level = 9, .set_values = true, .no_check = true};
    model base = {.n = 0}, m;
    fmp_patch *p[6];

    (void)state;
    rng_seed(6);
    model_add(&base, "a", "F32", 1, 900, 0);
    model_add(&base, "b", "F32", 1, 900, 0);
    model_copy(&base, &m);
    change_some(&m.t[0], 20);
    put_shards(&base, "base", 1);
    put_side("base", "config.json", 3, 40);
    put_shards(&m, "plain", 1);
    put_side("plain", "config.json", 5, 40);
    put_shards(&m, "shards", 2);
    put_side("shards", "config.json", 5, 40);
    put_shards(&m, "files", 1);
    put_side("files", "config.json", 7, 40);
    put_side("files", "more.json", 7, 40);
    put_model(&m, "one", false);
    put_model(&m, "odd", true);
    p[0] = patch_between("base", "plain", "p0", NULL);
    p[1] = patch_between("base", "plain", "p1", &coded);
    p[2] = patch_between("base", "shards", "p2", NULL);
    p[3] = patch_between("base", "files", "p3", NULL);
    p[4] = patch_between("base", "one", "p4", NULL);
    p[5] = patch_between("base", "odd", "p5", NULL);
    check_identical(p[0], p[0], true, 0);
    check_identical(p[0], p[1], true, 0);
    check_identical(p[0], p[2], false, 1); /* the index */
    check_identical(p[0], p[3], true, 2);
    check_identical(p[4], p[5], false, 0);
    for (unsigned i = 0; i < 6; i++)
        fmp_patch_close(p[i]);
    model_free(&base);
    model_free(&m);
}

/* A header that is stored as it is counts byte by byte. */
static void test_headers(void **state)
{
    static const char text[2][64] = {
        "{\"a\" :{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
        "{ \"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}"};
    uint8_t file[2][8 + sizeof text[0]];
    fmp_patch *p[2];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        const size_t n = strlen(text[i]);

        memset(file[i], 0, sizeof file[i]);
        file[i][0] = (uint8_t)n;
        memcpy(file[i] + 8, text[i], n);
        memcpy(file[i] + 8 + n, "\1\2\3\4", 4);
        put_file(i ? "t1" : "t0", file[i], 8 + n + 4);
        file[i][8 + n] = 9;
        put_file(i ? "b1" : "b0", file[i], 8 + n + 4);
        p[i] = patch_between("b0", i ? "t1" : "t0", i ? "p1" : "p0", NULL);
        assert_true(p[i]->layout.target.files[0].header_stored);
    }
    check_identical(p[0], p[0], true, 0);
    check_identical(p[0], p[1], false, 0);
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
}

static void test_notes(void **state)
{
    static const fmp_create_options one = {
        .size = sizeof one,
        .manifest_json = "{\"kind\":\"task\",\"a\":[1,\"x\"],\"both\":{\"k\":1}}"};
    static const fmp_create_options two = {
        .size = sizeof two,
        .manifest_json = "{\"kind\":\"step\",\"both\":{\"k\":1},\"z\":\"q\\\"\"}"};
    model base = {.n = 0}, m;
    fmp_diff_note n;
    fmp_patch *p[2];
    fmp_store *b;
    fmp_diff *d;

    (void)state;
    rng_seed(9);
    model_add(&base, "w", "F32", 1, 30, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    model_copy(&base, &m);
    m.t[0].data[3] ^= 1;
    p[0] = make_patch(b, &m, "p0", &one);
    p[1] = make_patch(b, &m, "p1", &two);
    d = diff(p[0], p[1], 1, false);
    assert_true(fmp_diff_summarize(d).identical);
    assert_int_equal(fmp_diff_summarize(d).n_notes, 3);
    n = fmp_diff_note_at(d, 0);
    assert_string_equal(n.key, "a");
    assert_string_equal(n.value[0], "[1,\"x\"]");
    assert_null(n.value[1]);
    n = fmp_diff_note_at(d, 1);
    assert_string_equal(n.key, "kind");
    assert_string_equal(n.value[1], "\"step\"");
    n = fmp_diff_note_at(d, 2);
    assert_null(n.value[0]);
    assert_string_equal(n.value[1], "\"q\\\"\"");
    assert_null(fmp_diff_note_at(d, 3).key);
    fmp_diff_free(d);
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
    fmp_store_close(b);
    model_free(&base);
    model_free(&m);
}

/* Bases that differ: refused, or told; changes are then compared as they are. */
static void test_other_base(void **state)
{
    const fmp_diff_options shapes = {.size = sizeof shapes, .shapes_only = true};
    model base = {.n = 0}, m;
    fmp_patch *p[2];
    fmp_diff *d = NULL;
    fmp_error err;

    (void)state;
    rng_seed(14);
    model_add(&base, "w", "I16", 1, 100, 0);
    memset(base.t[0].data, 10, base.t[0].len);
    for (unsigned i = 0; i < 2; i++) {
        fmp_store *b;

        base.t[0].data[0] = (uint8_t)(10 + i);
        put_model(&base, "base", false);
        b = open_store(at("base"));
        model_copy(&base, &m);
        for (unsigned k = 0; k < 20; k++)
            m.t[0].data[4 + 4 * k] = (uint8_t)(12 + (k < 5 ? 0 : 3 * i)); /* 2 up, and 2 or 5 up */
        p[i] = make_patch(b, &m, i ? "p1" : "p0", NULL);
        fmp_store_close(b);
        remove_tree("base");
        model_free(&m);
    }
    assert_int_equal(fmp_diff_new(p[0], p[1], NULL, &d, &err), FMP_EBASE);
    assert_non_null(strstr(err.text, "\"w\""));
    assert_null(d);
    assert_status(fmp_diff_new(p[0], p[1], &shapes, &d, &err), FMP_OK, &err);
    assert_false(fmp_diff_summarize(d).same_base);
    assert_false(fmp_diff_summarize(d).identical);
    assert_int_equal(fmp_diff_summarize(d).counts.n_same, 5);
    assert_int_equal(fmp_diff_summarize(d).counts.n_other, 15);
    assert_int_equal(fmp_diff_summarize(d).counts.sum_distance, 45);
    fmp_diff_free(d);
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
    model_free(&base);
}

/* Of bases that differ, patches do the same when they take the same steps, not when they get to the
 * same. */
static void test_same_steps(void **state)
{
    model base = {.n = 0}, m;
    fmp_patch *p[4];

    (void)state;
    rng_seed(18);
    model_add(&base, "w", "I16", 1, 1000, 0);
    for (unsigned i = 0; i < 4; i++) {
        fmp_store *b;
        char name[8];

        for (unsigned k = 0; k < 3; k++)
            base.t[0].data[60 * k] = (uint8_t)(10 + 4 * (i % 2));
        put_model(&base, "base", false);
        b = open_store(at("base"));
        model_copy(&base, &m);
        snprintf(name, sizeof name, "p%u", i);
        for (unsigned k = 0; k < 3; k++) /* to the same; two up */
            m.t[0].data[60 * k] = (uint8_t)(i < 2 ? 20 : m.t[0].data[60 * k] + 2);
        p[i] = make_patch(b, &m, name, NULL);
        fmp_store_close(b);
        remove_tree("base");
        model_free(&m);
    }
    for (unsigned i = 0; i < 4; i += 2) {
        fmp_diff *d = diff(p[i], p[i + 1], 1, true);

        assert_int_equal(fmp_diff_summarize(d).same_target, i == 0);
        assert_int_equal(fmp_diff_tensor_at(d, 0).same, i == 2);
        assert_int_equal(fmp_diff_summarize(d).counts.n_other, i == 0 ? 3 : 0);
        assert_int_equal(fmp_diff_summarize(d).counts.n_same, i == 0 ? 0 : 3);
        fmp_diff_free(d);
    }
    for (unsigned i = 0; i < 4; i++)
        fmp_patch_close(p[i]);
    model_free(&base);
}

/* One name, made of two tensors: their steps are not on equal bytes. */
static void test_two_sources(void **state)
{
    static const char *const renames[2][1] = {{"r=t"}, {"s=t"}};
    model base = {.n = 0}, m;
    fmp_diff_tensor x;
    fmp_patch *p[2];
    fmp_store *b;
    fmp_diff *d;

    (void)state;
    rng_seed(19);
    model_add(&base, "r", "F32", 1, 2000, 0);
    model_add(&base, "s", "F32", 1, 2000, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    for (unsigned i = 0; i < 2; i++) {
        const fmp_create_options o = {.size = sizeof o, .renames = renames[i], .n_renames = 1};

        model_copy(&base, &m);
        snprintf(m.t[i].name, sizeof m.t[i].name, "t");
        for (unsigned k = 0; k < 20; k++)
            m.t[i].data[4 * (10 + k + 5 * i)] ^= 1;
        p[i] = make_patch(b, &m, i ? "p1" : "p0", &o);
        model_free(&m);
    }
    d = diff(p[0], p[1], 1, false);
    x = tensor_of(d, "t");
    assert_string_equal(x.source[0], "r");
    assert_string_equal(x.source[1], "s");
    assert_int_equal(x.counts.n_only[0], 5);
    assert_int_equal(x.counts.n_only[1], 5);
    assert_int_equal(x.counts.n_other, 15);
    assert_int_equal(x.counts.n_apart, 0);
    fmp_diff_free(d);
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
    fmp_store_close(b);
    model_free(&base);
}

static bool stop(void *ctx, uint64_t done, uint64_t total)
{
    assert_true(done <= total);
    ++*(unsigned *)ctx;
    return true;
}

/* Asked between items; with one thread that is before the last. */
static void test_cancel(void **state)
{
    model base = {.n = 0}, m;
    fmp_patch *p[2];
    fmp_diff *d = NULL;
    fmp_overlap *o = NULL;
    unsigned calls = 0;
    const fmp_diff_options how = {.size = sizeof how, .n_threads = 1, .progress = {stop, &calls}};
    const fmp_overlap_options same = {
        .size = sizeof same, .n_threads = 1, .progress = {stop, &calls}};
    fmp_store *b;
    fmp_error err;

    (void)state;
    rng_seed(15);
    model_add(&base, "w", "U8", 1, 9u << 20, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    model_copy(&base, &m);
    for (uint64_t x = 0; x < m.t[0].len; x += 1000)
        m.t[0].data[x]++;
    p[0] = make_patch(b, &m, "p0", NULL);
    p[1] = make_patch(b, &m, "p1", NULL);
    assert_int_equal(fmp_diff_new(p[0], p[1], &how, &d, &err), FMP_ECANCELED);
    assert_int_equal(calls, 1);
    assert_int_equal(fmp_overlap_new((const fmp_patch *const *)p, 2, &same, &o, &err),
                     FMP_ECANCELED);
    assert_int_equal(calls, 2);
    assert_true(!d && !o);
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
    fmp_store_close(b);
    model_free(&base);
    model_free(&m);
}

/* Every allocation fails once. */
static void test_sweep(void **state)
{
    model base = {.n = 0}, m;
    fmp_patch *p[2];
    fmp_status st = FMP_ENOMEM;

    (void)state;
    rng_seed(5);
    model_add(&base, "a", "F32", 1, 500, 0);
    put_model(&base, "base", false);
    for (unsigned i = 0; i < 2; i++) {
        model_copy(&base, &m);
        change_some(&m.t[0], 5);
        put_model(&m, "target", true);
        p[i] = patch_between("base", "target", i ? "p1" : "p0",
                             &(fmp_create_options){.size = sizeof(fmp_create_options),
                                                   .manifest_json = i ? "{\"a\":1}" : NULL});
        model_free(&m);
    }
    for (long k = 0; st; k++) {
        const fmp_diff_options o = {.size = sizeof o, .n_threads = 1};
        fmp_diff *ret = NULL;
        fmp_error err = {0};

        fmp_alloc_fail_at(k);
        st = fmp_diff_new(p[0], p[1], &o, &ret, &err);
        fmp_alloc_fail_at(-1);
        if (st && st != FMP_ENOMEM)
            fail_msg("allocation %ld: %s", k, err.text);
        fmp_diff_free(ret);
        assert_true(k < 1000);
    }
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
    model_free(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_state, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_every_dtype, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_far_apart, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_names, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_layouts, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_headers, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_notes, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_other_base, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_same_steps, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_two_sources, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_cancel, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_sweep, make_dir, drop_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
