/*
 * Overlap: counts held against models compared element by element, over every dtype and every way
 * in which a tensor can change; the same for any number of threads.
 */
#include "change_oracle.h"

#include "base/alloc.h"

enum { N_PATCHES = 4, N_CASES = 60 };

static const char *const names[N_PATCHES] = {"p0", "p1", "p2", "p3"};

static fmp_patch *make(const fmp_store *base, const model *m, unsigned i, bool set)
{
    const fmp_create_options o = {.size = sizeof o, .set_values = set};

    return make_patch(base, m, names[i], &o);
}

/* A patch made of two, one of new bits and one of residuals: its blocks are of all kinds. */
static fmp_patch *make_of_two(const fmp_store *base, const model *from, const model *to, unsigned i)
{
    fmp_patch *step[2], *made;
    fmp_store *b;
    fmp_error err;
    model half;

    model_copy(from, &half);
    for (unsigned k = 0; k < half.n; k++)
        change_some(&half.t[k], 40);
    step[0] = make(base, &half, i, true);
    put_model(&half, "half", false);
    b = open_store(at("half"));
    remove_tree(names[i]);
    step[1] = make(b, to, i, false);
    assert_status(fmp_squash((const fmp_patch *const *)step, 2, at("both"), NULL, NULL, &err),
                  FMP_OK, &err);
    made = open_patch(at("both"));
    fmp_patch_close(step[0]);
    fmp_patch_close(step[1]);
    fmp_store_close(b);
    remove_tree("half");
    remove_tree("both");
    model_free(&half);
    return made;
}

static uint64_t load(const tensor *t, uint64_t i)
{
    return fmp_load_le(t->data + i * (t->dtype->width / 8u), t->dtype->width / 8u);
}

/* Up, down, or not at all, modulo the unit. */
static int direction(const tensor *base, const tensor *target, uint64_t i)
{
    bool down;
    const uint64_t d = way_between(base, load(base, i), load(target, i), &down);

    return d == 0 ? 0 : down ? -1 : 1;
}

typedef struct expected {
    uint64_t n[2], shared, same, conflicts;
} expected;

/* Pairs of models that change elements of tensors in place, as residuals. */
static expected expect(const model *base, const model *a, const model *b)
{
    expected e = {{0}, 0, 0, 0};

    for (unsigned k = 0; k < base->n; k++) {
        const tensor *t = &base->t[k];
        const tensor *x = find_tensor(a, t->name);
        const tensor *y = find_tensor(b, t->name);

        for (uint64_t i = 0; i < t->len / (t->dtype->width / 8u); i++) {
            const int dx = direction(t, x, i);
            const int dy = direction(t, y, i);

            e.n[0] += dx != 0;
            e.n[1] += dy != 0;
            e.shared += dx && dy;
            e.same += dx && dy && load(x, i) == load(y, i);
            e.conflicts += dx * dy < 0;
        }
    }
    return e;
}

static void check_pair(const fmp_overlap *o, unsigned i, unsigned k, const expected *e)
{
    const fmp_overlap_pair p = fmp_overlap_of(o, i, k);
    const fmp_overlap_pair back = fmp_overlap_of(o, k, i);

    assert_int_equal(p.n_first, e->n[0]);
    assert_int_equal(p.n_second, e->n[1]);
    assert_int_equal(p.n_shared, e->shared);
    assert_int_equal(p.n_same, e->same);
    assert_int_equal(p.n_conflicts, e->conflicts);
    assert_int_equal(back.n_shared, p.n_shared);
    assert_int_equal(back.n_first, p.n_second);
}

/* Sums over tensors and sets are what the pairs say. */
static void check_sums(const fmp_overlap *o)
{
    uint64_t by_tensor[N_PATCHES] = {0}, by_set[N_PATCHES] = {0}, all = 0, sets = 0;
    uint64_t last = UINT64_MAX;

    for (uint32_t t = 0; t < fmp_overlap_tensor_count(o); t++) {
        all += fmp_overlap_tensor_at(o, t).n_changed;
        for (unsigned i = 0; i < N_PATCHES; i++)
            by_tensor[i] += fmp_overlap_changed(o, t, i);
    }
    for (uint32_t s = 0; s < fmp_overlap_set_count(o); s++) {
        uint64_t patches;
        const uint64_t n = fmp_overlap_set_at(o, s, &patches);

        assert_true(n && n <= last && patches);
        last = n;
        sets += n;
        for (unsigned i = 0; i < N_PATCHES; i++)
            by_set[i] += patches >> i & 1 ? n : 0;
    }
    assert_int_equal(sets, all);
    for (unsigned i = 0; i < N_PATCHES; i++) {
        assert_int_equal(by_tensor[i], fmp_overlap_of(o, i, i).n_first);
        assert_int_equal(by_set[i], by_tensor[i]);
    }
}

static void assert_equal(const fmp_overlap *a, const fmp_overlap *b)
{
    assert_int_equal(fmp_overlap_set_count(a), fmp_overlap_set_count(b));
    for (uint32_t s = 0; s < fmp_overlap_set_count(a); s++) {
        uint64_t x, y;

        assert_int_equal(fmp_overlap_set_at(a, s, &x), fmp_overlap_set_at(b, s, &y));
        assert_int_equal(x, y);
    }
    for (unsigned i = 0; i < N_PATCHES; i++) {
        for (unsigned k = 0; k < N_PATCHES; k++) {
            const fmp_overlap_pair x = fmp_overlap_of(a, i, k);
            const fmp_overlap_pair y = fmp_overlap_of(b, i, k);

            assert_memory_equal(&x, &y, sizeof x);
        }
    }
}

static fmp_overlap *count(fmp_patch *const *p, unsigned n_threads)
{
    const fmp_overlap_options o = {.size = sizeof o, .n_threads = n_threads};
    fmp_overlap *ret;
    fmp_error err;

    assert_status(fmp_overlap_new((const fmp_patch *const *)p, N_PATCHES, &o, &ret, &err), FMP_OK,
                  &err);
    return ret;
}

static void check_dtype(const fmp_dtype *dtype)
{
    model base = {.n = 0}, tuned[N_PATCHES];
    fmp_patch *p[N_PATCHES];
    fmp_overlap *one, *many;
    fmp_store *b;

    rng_seed(dtype->bits + dtype->name[0]);
    model_add(&base, "a", dtype->name, 2, 80, 700);
    model_add(&base, "b", dtype->name, 1, 24, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    for (unsigned i = 0; i < N_PATCHES; i++) {
        model_copy(&base, &tuned[i]);
        for (unsigned k = 0; k < 2; k++)
            change_some(&tuned[i].t[k], 4 + 3 * i);
        p[i] = make(b, &tuned[i], i, false);
        assert_int_equal(fmp_patch_summarize(p[i]).n_residual, 2);
    }
    one = count(p, 1);
    many = count(p, 3);
    assert_equal(one, many);
    check_sums(one);
    for (unsigned i = 0; i < N_PATCHES; i++) {
        for (unsigned k = i + 1; k < N_PATCHES; k++) {
            const expected e = expect(&base, &tuned[i], &tuned[k]);

            check_pair(one, i, k, &e);
            assert_true(e.shared > 20 && e.shared > e.same);
        }
    }
    fmp_overlap_free(one);
    fmp_overlap_free(many);
    fmp_store_close(b);
    model_free(&base);
    for (unsigned i = 0; i < N_PATCHES; i++) {
        fmp_patch_close(p[i]);
        model_free(&tuned[i]);
        remove_tree(names[i]);
    }
}

static void test_every_dtype(void **state)
{
    (void)state;
    for (unsigned i = 0; fmp_dtype_at(i); i++)
        check_dtype(fmp_dtype_at(i));
}

/* ---- against models ---------------------------------------------------------------------------
 */

typedef struct force {
    fmp_overlap_pair pair[N_PATCHES][N_PATCHES];
    uint64_t set[1u << N_PATCHES];
} force;

/* All that patches do to one tensor, element by element. */
static void count_by_force(const fate *f, force *all, fmp_overlap_tensor *sum)
{
    bond x[N_PATCHES][N_PATCHES];
    uint64_t n = 0;

    for (unsigned i = 0; i < N_PATCHES; i++) {
        n = f[i].t && f[i].n > n ? f[i].n : n;
        for (unsigned k = 0; k < N_PATCHES; k++)
            x[i][k] = bond_of(&f[i], &f[k]);
    }
    for (uint64_t e = 0; e < n; e++) {
        bool same = true, conflict = false;
        unsigned set = 0;

        for (unsigned i = 0; i < N_PATCHES; i++)
            set |= (unsigned)(how_at(&f[i], e) != STAYS) << i;
        if (!set)
            continue;
        for (unsigned i = 0; i < N_PATCHES; i++) {
            for (unsigned k = i; k < N_PATCHES; k++) {
                fmp_overlap_pair *p = &all->pair[i][k];
                const bool both = set >> i & 1 && set >> k & 1;
                const bool alike = both && (i == k || alike_at(&f[i], &f[k], x[i][k], e));
                const bool against = both && against_at(&f[i], &f[k], x[i][k], e);

                p->n_first += set >> i & 1;
                p->n_second += set >> k & 1;
                p->n_shared += both;
                p->n_same += alike;
                p->n_conflicts += against;
                same &= !both || alike;
                conflict |= against;
            }
        }
        all->set[set]++;
        sum->n_changed += set != 0;
        sum->n_shared += (set & (set - 1)) != 0;
        sum->n_same += (set & (set - 1)) != 0 && same;
        sum->n_conflicts += conflict;
    }
}

static uint32_t find_counted(const fmp_overlap *o, const char *name)
{
    for (uint32_t t = 0; t < fmp_overlap_tensor_count(o); t++) {
        if (strcmp(fmp_overlap_tensor_at(o, t).name, name) == 0)
            return t;
    }
    return UINT32_MAX;
}

static void check_tensor(const fmp_overlap *o, const side *s, const char *name, force *all)
{
    const uint32_t t = find_counted(o, name);
    fmp_overlap_tensor want = {0};
    const fmp_overlap_tensor found = fmp_overlap_tensor_at(o, t);
    fate f[N_PATCHES];

    for (unsigned i = 0; i < N_PATCHES; i++) {
        uint64_t n = 0;

        f[i] = fate_of(&s[i], name);
        for (uint64_t e = 0; e < f[i].n; e++)
            n += f[i].how[e] != STAYS;
        assert_int_equal(fmp_overlap_changed(o, t, i), n);
    }
    count_by_force(f, all, &want);
    assert_int_equal(found.n_changed, want.n_changed);
    assert_int_equal(found.n_shared, want.n_shared);
    assert_int_equal(found.n_same, want.n_same);
    assert_int_equal(found.n_conflicts, want.n_conflicts);
    for (unsigned i = 0; i < N_PATCHES; i++)
        fate_free(&f[i]);
}

/* Whether some earlier target has a tensor of that name. */
static bool came_up(const side *s, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++) {
        if (find_tensor(s[i].target, name))
            return true;
    }
    return false;
}

static unsigned n_states[8]; /* of targets that were looked at */

static void check_all(const fmp_overlap *o, const side *s)
{
    force all = {0};

    for (unsigned i = 0; i < N_PATCHES; i++) {
        for (unsigned k = 0; k < s[i].target->n; k++) {
            const char *name = s[i].target->t[k].name;

            n_states[s[i].p->table.rows[fmp_patch_find(s[i].p, name, strlen(name))].state]++;
            if (!came_up(s, i, name))
                check_tensor(o, s, name, &all);
        }
    }
    for (unsigned i = 0; i < N_PATCHES; i++) {
        for (unsigned k = i; k < N_PATCHES; k++) {
            const fmp_overlap_pair p = fmp_overlap_of(o, i, k);

            assert_memory_equal(&p, &all.pair[i][k], sizeof p);
        }
    }
    for (uint32_t k = 0; k < fmp_overlap_set_count(o); k++) {
        uint64_t patches;
        const uint64_t n = fmp_overlap_set_at(o, k, &patches);

        assert_int_equal(n, all.set[patches]);
        all.set[patches] = 0;
    }
    for (unsigned k = 1; k < 1u << N_PATCHES; k++)
        assert_int_equal(all.set[k], 0);
    assert_int_equal(fmp_overlap_set_rest(o), 0);
}

/* Models that change in every way: each count is that of the bytes; the sums hold; threads do not
 * matter; a patch shares all with itself. */
static void test_every_state(void **state)
{
    static const unsigned threads[] = {2, 3, 7};

    (void)state;
    for (unsigned seed = 0; seed < N_CASES; seed++) {
        model base = {.n = 0}, tuned[N_PATCHES];
        fmp_patch *p[N_PATCHES];
        side s[N_PATCHES];
        fmp_overlap *one;
        fmp_store *b;

        rng_seed(seed + 900);
        any_base(&base);
        put_model(&base, "base", false);
        b = open_store(at("base"));
        for (unsigned i = 0; i + 1 < N_PATCHES; i++) {
            if (i && roll(4) == 0) /* nearly the same target, coded otherwise */
                model_copy(&tuned[0], &tuned[i]);
            else
                any_target(&base, &tuned[i], i + 1);
            p[i] = roll(4) == 0 ? make_of_two(b, &base, &tuned[i], i)
                                : make(b, &tuned[i], i, roll(3) == 0);
            s[i] = (side){&base, &tuned[i], p[i]};
        }
        p[3] = p[0];
        s[3] = s[0];
        one = count(p, 1);
        check_sums(one);
        check_all(one, s);
        assert_int_equal(fmp_overlap_of(one, 0, 3).n_same, fmp_overlap_of(one, 0, 0).n_first);
        assert_int_equal(fmp_overlap_of(one, 0, 3).n_conflicts, 0);
        for (unsigned k = 0; k < 3; k++) {
            fmp_overlap *many = count(p, threads[k]);

            assert_equal(one, many);
            fmp_overlap_free(many);
        }
        fmp_overlap_free(one);
        fmp_store_close(b);
        model_free(&base);
        for (unsigned i = 0; i + 1 < N_PATCHES; i++) {
            fmp_patch_close(p[i]);
            model_free(&tuned[i]);
            remove_tree(names[i]);
        }
    }
    assert_true(n_states[FMP_UNCHANGED] && n_states[FMP_RESIDUAL] && n_states[FMP_SET]);
    assert_true(n_states[FMP_WHOLE] && n_states[FMP_ADDED] && n_states[FMP_ALIAS]);
}

/* New bits count as changed, have no direction, and may be alike. */
static void test_set_values(void **state)
{
    model base = {.n = 0}, tuned[N_PATCHES];
    fmp_patch *p[N_PATCHES];
    fmp_overlap *o;
    fmp_store *b;

    (void)state;
    rng_seed(77);
    model_add(&base, "a", "BF16", 1, 4000, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    for (unsigned i = 0; i < N_PATCHES; i++) {
        model_copy(&base, &tuned[i]);
        for (unsigned k = 0; k < 400; k++)
            tuned[i].t[0].data[20 * k + 2 * (i % 2)] ^= (uint8_t)(1 + (i == 3 && k < 100));
        p[i] = make(b, &tuned[i], i, i > 0);
    }
    o = count(p, 2);
    assert_int_equal(fmp_overlap_of(o, 0, 1).n_shared, 0);
    assert_int_equal(fmp_overlap_of(o, 0, 2).n_shared, 400); /* coded apart, one target */
    assert_int_equal(fmp_overlap_of(o, 0, 2).n_same, 400);
    assert_int_equal(fmp_overlap_of(o, 1, 3).n_shared, 400);
    assert_int_equal(fmp_overlap_of(o, 1, 3).n_same, 300);
    assert_int_equal(fmp_overlap_of(o, 1, 3).n_conflicts, 0);
    fmp_overlap_free(o);
    fmp_store_close(b);
    model_free(&base);
    for (unsigned i = 0; i < N_PATCHES; i++) {
        fmp_patch_close(p[i]);
        model_free(&tuned[i]);
    }
}

static void test_sweep(void **state)
{
    model base = {.n = 0}, tuned;
    fmp_patch *p[2];
    fmp_status st = FMP_ENOMEM;
    fmp_store *b;

    (void)state;
    rng_seed(5);
    model_add(&base, "a", "F32", 1, 500, 0);
    put_model(&base, "base", false);
    b = open_store(at("base"));
    for (unsigned i = 0; i < 2; i++) {
        model_copy(&base, &tuned);
        change_some(&tuned.t[0], 5);
        p[i] = make(b, &tuned, i, false);
        model_free(&tuned);
    }
    for (long k = 0; st; k++) {
        const fmp_overlap_options o = {.size = sizeof o, .n_threads = 1};
        fmp_overlap *ret = NULL;
        fmp_error err = {0};

        fmp_alloc_fail_at(k);
        st = fmp_overlap_new((const fmp_patch *const *)p, 2, &o, &ret, &err);
        fmp_alloc_fail_at(-1);
        if (st && st != FMP_ENOMEM)
            fail_msg("allocation %ld: %s", k, err.text);
        fmp_overlap_free(ret);
        assert_true(k < 1000);
    }
    fmp_patch_close(p[0]);
    fmp_patch_close(p[1]);
    fmp_store_close(b);
    model_free(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_dtype, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_every_state, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_set_values, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_sweep, make_dir, drop_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
