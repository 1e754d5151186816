/*
 * Overlap case by case: copies, content that no block writes, windows in slices, raw files, more
 * sets than are listed, bases that differ.
 */
#include "beside.h"
#include "change_oracle.h"

enum { MANY = 17, MANY_TENSORS = 8, MANY_EACH = 32768 };

static const char *name_of(unsigned i)
{
    static char name[8];

    snprintf(name, sizeof name, "p%u", i);
    return name;
}

static fmp_patch *make(const fmp_store *base, const model *m, unsigned i,
                       const fmp_create_options *o)
{
    return make_patch(base, m, name_of(i), o);
}

static fmp_overlap *count_of(fmp_patch *const *p, size_t n, unsigned n_threads, bool shapes_only)
{
    const fmp_overlap_options o = {
        .size = sizeof o, .n_threads = n_threads, .shapes_only = shapes_only};
    fmp_overlap *ret;
    fmp_error err;

    assert_status(fmp_overlap_new((const fmp_patch *const *)p, n, &o, &ret, &err), FMP_OK, &err);
    return ret;
}

/* Sets and pairs of both are the same. */
static void assert_equal(const fmp_overlap *a, const fmp_overlap *b, unsigned n)
{
    assert_int_equal(fmp_overlap_set_count(a), fmp_overlap_set_count(b));
    for (uint32_t s = 0; s < fmp_overlap_set_count(a); s++) {
        uint64_t x, y;
        const uint64_t n_x = fmp_overlap_set_at(a, s, &x);

        assert_int_equal(fmp_overlap_set_at(b, s, &y), n_x);
        assert_int_equal(x, y);
    }
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < n; k++) {
            const fmp_overlap_pair x = fmp_overlap_of(a, i, k);
            const fmp_overlap_pair y = fmp_overlap_of(b, i, k);

            assert_memory_equal(&x, &y, sizeof x);
        }
    }
}

/* fmp_create() does not make a copy of what has content of its own in the base; another writer may.
 */
static void copy_row(fmp_patch *p, uint32_t row, uint32_t source)
{
    fmp_row *r = &p->table.rows[row];

    assert_true(fmp_digest_equal(&p->table.digests[r->target_digest],
                                 &p->table.digests[p->table.rows[source].target_digest]));
    r->state = FMP_ALIAS;
    p->frames.n = 0; /* all of them were those of the row */
    assert_true(fmp_table_add_map(
        &p->table, row,
        (fmp_map){.source = source, .n_bytes = fmp_table_info(&p->table, row, true).n_bytes}));
}

/* A tensor that becomes a copy of another changes as a whole, and in no direction; one that was and
 * stays a copy changes as the other does. */
static void test_copies(void **state)
{
    model base = {.n = 0}, m;
    fmp_patch *p[4];
    fmp_overlap *o;
    fmp_store *b;

    (void)state;
    rng_seed(31);
    model_add(&base, "b", "BF16", 2, 8, 400);
    model_add(&base, "a", "BF16", 2, 8, 400);
    model_add(&base, "tied.a", "BF16", 2, 8, 400);
    model_add(&base, "tied.b", "BF16", 2, 8, 400);
    memcpy(base.t[3].data, base.t[2].data, base.t[2].len);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    for (unsigned i = 0; i < 4; i++) {
        model_copy(&base, &m);
        if (i % 2 == 0) /* 0 and 2: a is b */
            memcpy(m.t[1].data, m.t[0].data, m.t[0].len);
        else
            for (unsigned k = 0; k < 50; k++) /* 1 and 3: some of a; 3: the tied pair */
                m.t[1].data[100 + 2 * k] ^= 1;
        for (unsigned k = 0; k < 30 && i == 3; k++)
            m.t[2].data[2 * k] = m.t[3].data[2 * k] = (uint8_t)(m.t[2].data[2 * k] ^ 2);
        p[i] = make(b, &m, i, NULL);
        model_free(&m);
    }
    copy_row(p[0], 0, 1);
    copy_row(p[2], 0, 1);
    assert_int_equal(p[3]->table.rows[3].state, FMP_ALIAS);
    o = count_of(p, 4, 2, false);
    assert_int_equal(fmp_overlap_changed(o, 0, 0), 3200);
    assert_int_equal(fmp_overlap_changed(o, 0, 1), 50);
    assert_int_equal(fmp_overlap_of(o, 0, 1).n_shared, 50);
    assert_int_equal(fmp_overlap_of(o, 0, 1).n_same, 0);
    assert_int_equal(fmp_overlap_of(o, 0, 1).n_conflicts, 0);
    assert_int_equal(fmp_overlap_of(o, 0, 2).n_same, 3200);
    assert_int_equal(fmp_overlap_of(o, 1, 3).n_same, 50);
    assert_int_equal(fmp_overlap_of(o, 3, 3).n_first, 50 + 30 + 30);
    assert_string_equal(fmp_overlap_tensor_at(o, 2).name, "tied.b");
    assert_int_equal(fmp_overlap_changed(o, 2, 3), 30);
    fmp_overlap_free(o);
    for (unsigned i = 0; i < 4; i++)
        fmp_patch_close(p[i]);
    fmp_store_close(b);
    model_free(&base);
}

/* New content that no block writes is zeros (FORMAT.md, 18.1, 4.2): all of it is new. */
static void test_zeros(void **state)
{
    model base = {.n = 0}, m;
    fmp_patch *p[2];
    fmp_overlap *o;
    fmp_store *b;

    (void)state;
    rng_seed(3);
    model_add(&base, "a", "F32", 1, 10, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    model_copy(&base, &m);
    model_add(&m, "new", "F32", 2, 3, 100000);
    memset(m.t[1].data, 0, m.t[1].len);
    p[0] = make(b, &m, 0, NULL);
    p[1] = make(b, &m, 1, NULL);
    p[1]->frames.n = 0; /* as a writer may do who knows that they begin as zeros */
    o = count_of(p, 2, 1, false);
    assert_int_equal(fmp_overlap_of(o, 0, 1).n_second, 300000);
    assert_int_equal(fmp_overlap_of(o, 0, 1).n_same, 300000);
    fmp_overlap_free(o);
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
    fmp_store_close(b);
    model_free(&base);
    model_free(&m);
}

/* More changes in one window than are listed at a time: read in slices, counted all the same. */
static void test_slices(void **state)
{
    const fmp_create_options set = {.size = sizeof set, .set_values = true};
    const uint64_t n = 2400000;
    model base = {.n = 0}, m;
    fmp_patch *p[4];
    fmp_overlap *one, *many;
    fmp_store *b;

    (void)state;
    rng_seed(8);
    model_add(&base, "a", "I8", 1, n, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    for (unsigned i = 0; i < 4; i++) {
        model_copy(&base, &m);
        for (uint64_t e = 0; e < n; e++) /* 3 leaves a third: residuals, dense */
            m.t[0].data[e] = (uint8_t)(base.t[0].data[e] + (i < 3 ? i + 1 : e % 3 ? 3 : 0));
        p[i] = make(b, &m, i, i == 2 ? &set : NULL);
        model_free(&m);
    }
    assert_true(4 * (FMP_LEAF_LEN - 1) > FMP_BESIDE_ENTRIES);
    one = count_of(p, 4, 1, false);
    many = count_of(p, 4, 3, false);
    assert_equal(one, many, 4);
    assert_int_equal(fmp_overlap_set_count(one), 2);
    assert_int_equal(fmp_overlap_of(one, 0, 1).n_shared, n);
    assert_int_equal(fmp_overlap_of(one, 0, 1).n_same, 0);
    assert_int_equal(fmp_overlap_of(one, 0, 3).n_shared, n / 3 * 2);
    assert_int_equal(fmp_overlap_of(one, 0, 3).n_conflicts, 0);
    fmp_overlap_free(one);
    fmp_overlap_free(many);
    for (unsigned i = 0; i < 4; i++)
        fmp_patch_close(p[i]);
    fmp_store_close(b);
    model_free(&base);
}

/* A file of unknown structure: its elements are the units that its patches found. */
static void test_raw(void **state)
{
    static const unsigned widths[2] = {32, 8};
    static uint8_t data[3][400000];
    fmp_patch *p[2];
    fmp_overlap *o;
    fmp_error err;

    (void)state;
    rng_seed(12);
    for (unsigned i = 0; i < sizeof data[0]; i++)
        data[0][i] = data[1][i] = data[2][i] = (uint8_t)(rng() >> 9);
    for (unsigned i = 0; i < 500; i++) {
        data[1][4 * 100 * i + 1] ^= 1;
        data[2][4 * 100 * i + (i % 2 ? 4 : 1)] ^= 1;
    }
    put_file("base", data[0], sizeof data[0]);
    for (unsigned odd = 0; odd < 2; odd++) {
        for (unsigned i = 0; i < 2; i++) {
            const fmp_create_options how = {
                .size = sizeof how, .replace = true, .width = widths[odd && i]};
            fmp_store *b = open_store(at("base"));
            fmp_store *t;

            put_file("target", data[1 + i], sizeof data[0]);
            t = open_store(at("target"));
            assert_status(fmp_create(b, t, at(name_of(i)), &how, NULL, &err), FMP_OK, &err);
            p[i] = open_patch(at(name_of(i)));
            fmp_store_close(b);
            fmp_store_close(t);
        }
        o = count_of(p, 2, 2, false);
        /* Units of 32 bits, or bytes where the patches do not agree: then the first changes four.
         */
        assert_int_equal(fmp_overlap_of(o, 0, 1).n_first, odd ? 2000 : 500);
        assert_int_equal(fmp_overlap_of(o, 0, 1).n_second, 500);
        assert_int_equal(fmp_overlap_of(o, 0, 1).n_shared, 250);
        assert_int_equal(fmp_overlap_of(o, 0, 1).n_same, odd ? 0 : 250);
        fmp_overlap_free(o);
        fmp_patch_close(p[0]);
        fmp_patch_close(p[1]);
    }
}

/* 2^17 - 1 sets, twice, and a table that holds half as many: the first stay, whatever threads do.
 */
static void test_many_sets(void **state)
{
    model base = {.n = 0}, m;
    fmp_patch *p[MANY];
    fmp_overlap *one, *many;
    uint64_t listed = 0, alone = 0;
    fmp_store *b;

    (void)state;
    rng_seed(21);
    for (unsigned t = 0; t < MANY_TENSORS; t++) {
        char name[8];

        snprintf(name, sizeof name, "t%u", t);
        memset(model_add(&base, name, "BF16", 1, MANY_EACH, 0)->data, 1, 2 * MANY_EACH);
    }
    put_model(&base, "base", false);
    b = open_store(at("base"));
    for (unsigned i = 0; i < MANY; i++) {
        model_copy(&base, &m);
        for (unsigned e = 0; e < MANY_TENSORS * MANY_EACH; e++)
            m.t[e / MANY_EACH].data[2 * (e % MANY_EACH)] ^= (uint8_t)(e >> i & 1);
        p[i] = make(b, &m, i, NULL);
        model_free(&m);
    }
    one = count_of(p, MANY, 1, false);
    many = count_of(p, MANY, 2, false);
    assert_equal(one, many, MANY);
    assert_int_equal(fmp_overlap_set_count(one), FMP_OVERLAP_SETS_MAX + MANY);
    for (uint32_t k = 0; k < fmp_overlap_set_count(one); k++) {
        uint64_t x;
        const uint64_t n = fmp_overlap_set_at(one, k, &x);

        assert_int_equal(n, 2);
        alone += x & (x - 1) ? 0 : n;
        listed += n;
        /* The sets of several, numbered as elements are: those of one come up among them. */
        assert_true(!(x & (x - 1)) || x < FMP_OVERLAP_SETS_MAX + MANY + 1);
    }
    assert_int_equal(alone, 2 * MANY);
    assert_int_equal(listed + fmp_overlap_set_rest(one), 2 * ((1u << MANY) - 1));
    assert_int_equal(fmp_overlap_set_rest(one), fmp_overlap_set_rest(many));
    assert_int_equal(fmp_overlap_of(one, 3, 9).n_shared, 2u << (MANY - 2));
    assert_int_equal(fmp_overlap_of(one, 3, 9).n_same, 2u << (MANY - 2));
    fmp_overlap_free(one);
    fmp_overlap_free(many);
    for (unsigned i = 0; i < MANY; i++)
        fmp_patch_close(p[i]);
    fmp_store_close(b);
    model_free(&base);
}

static void test_refusals(void **state)
{
    model base = {.n = 0}, m;
    fmp_patch *p[3];
    fmp_overlap *o = NULL;
    fmp_error err;

    (void)state;
    rng_seed(40);
    model_add(&base, "a", "F16", 1, 90, 0);
    for (unsigned i = 0; i < 3; i++) {
        fmp_store *b;

        if (i) /* another value; another shape */
            base.t[0].data[7]++;
        if (i == 2)
            base.t[0].shape[0] = 91;
        tensor_resize(&base.t[0], true);
        put_model(&base, "base", false);
        b = open_store(at("base"));
        model_copy(&base, &m);
        m.t[0].data[20] = (uint8_t)(m.t[0].data[20] ^ 1);
        p[i] = make(b, &m, i, NULL);
        fmp_store_close(b);
        remove_tree("base");
        model_free(&m);
    }
    assert_int_equal(fmp_overlap_new((const fmp_patch *const *)p, 0, NULL, &o, &err), FMP_EUSAGE);
    assert_int_equal(fmp_overlap_new((const fmp_patch *const *)p, 65, NULL, &o, &err), FMP_EUSAGE);
    assert_int_equal(fmp_overlap_new((const fmp_patch *const *)p, 2, NULL, &o, &err), FMP_EBASE);
    assert_non_null(strstr(err.text, "tensor \"a\""));
    assert_null(o);
    o = count_of(p, 2, 1, true);
    assert_int_equal(fmp_overlap_of(o, 0, 1).n_shared, 1);
    assert_int_equal(fmp_overlap_of(o, 0, 1).n_same + fmp_overlap_of(o, 0, 1).n_conflicts, 1);
    assert_int_equal(fmp_overlap_of(o, 0, 2).n_first, 0);
    assert_null(fmp_overlap_tensor_at(o, 1).name);
    fmp_overlap_free(o);
    assert_int_equal(fmp_overlap_new((const fmp_patch *const[]){p[0], p[2]}, 2,
                                     &(fmp_overlap_options){.size = sizeof(fmp_overlap_options),
                                                            .shapes_only = true},
                                     &o, &err),
                     FMP_EBASE);
    for (unsigned i = 0; i < 3; i++)
        fmp_patch_close(p[i]);
    model_free(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_copies, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_zeros, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_slices, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_raw, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_many_sets, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_refusals, make_dir, drop_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
