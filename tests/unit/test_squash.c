/*
 * Squash, invert and subset case by case: every cell of the table in FORMAT.md, the group laws for
 * every dtype, blocks of different kinds in one tensor, what cannot be added up, and threads.
 */
#include "random_models.h"

#include "patch.h"

static fmp_patch *make(const char *base, const char *target, const char *path,
                       const fmp_create_options *o)
{
    fmp_store *b = open_store(at(base));
    fmp_store *t = open_store(at(target));
    fmp_error err;

    assert_status(fmp_create(b, t, at(path), o, NULL, &err), FMP_OK, &err);
    fmp_store_close(b);
    fmp_store_close(t);
    return open_patch(at(path));
}

static void check_apply(const char *base, const fmp_patch *p, const char *want)
{
    fmp_store *b = open_store(at(base));
    fmp_error err;

    assert_status(fmp_apply(b, &p, 1, at("made"), NULL, NULL, &err), FMP_OK, &err);
    assert_same(at("made"), at(want));
    remove_tree("made");
    fmp_store_close(b);
}

static void check_revert(const char *target, const fmp_patch *p, const char *want)
{
    fmp_store *t = open_store(at(target));
    fmp_error err;

    assert_status(fmp_revert(t, p, at("made"), NULL, NULL, &err), FMP_OK, &err);
    assert_same(at("made"), at(want));
    remove_tree("made");
    fmp_store_close(t);
}

static fmp_patch *squash2(const fmp_patch *a, const fmp_patch *b, const char *path)
{
    const fmp_create_options o = {.size = sizeof o, .replace = true};
    fmp_error err;

    assert_status(fmp_squash((const fmp_patch *[]){a, b}, 2, at(path), &o, NULL, &err), FMP_OK,
                  &err);
    return open_patch(at(path));
}

static int state_of(const fmp_patch *p, const char *name)
{
    const uint32_t row = fmp_patch_find(p, name, strlen(name));

    return row == UINT32_MAX ? -1 : (int)fmp_patch_tensor_at(p, row).state;
}

/* ---- the table --------------------------------------------------------------------------------
 */

enum { ABSENT = -1, NEVER = -2 };

/* FORMAT.md, "Squash": rows A, columns B; the last row is an alias that the base does not have.  An
 * alias is one of a tensor that did not change. */
enum { N_ROWS = 9, N_COLUMNS = 8, ALIAS_ADDED = 8 };

static const int columns[N_COLUMNS] = {ABSENT,    FMP_UNCHANGED, FMP_RESIDUAL, FMP_SET,
                                       FMP_WHOLE, FMP_ADDED,     FMP_REMOVED,  FMP_ALIAS};
static const int table[N_ROWS][N_COLUMNS] = {
    {ABSENT, NEVER, NEVER, NEVER, NEVER, FMP_ADDED, NEVER, FMP_ALIAS},
    {NEVER, FMP_UNCHANGED, FMP_RESIDUAL, FMP_SET, FMP_WHOLE, NEVER, FMP_REMOVED, FMP_ALIAS},
    {NEVER, FMP_RESIDUAL, FMP_RESIDUAL, FMP_SET, FMP_WHOLE, NEVER, FMP_REMOVED, FMP_ALIAS},
    {NEVER, FMP_SET, FMP_SET, FMP_SET, FMP_WHOLE, NEVER, FMP_REMOVED, FMP_ALIAS},
    {NEVER, FMP_WHOLE, FMP_WHOLE, FMP_WHOLE, FMP_WHOLE, NEVER, FMP_REMOVED, FMP_ALIAS},
    {NEVER, FMP_ADDED, FMP_ADDED, FMP_ADDED, FMP_ADDED, NEVER, ABSENT, FMP_ALIAS},
    {FMP_REMOVED, NEVER, NEVER, NEVER, NEVER, FMP_WHOLE, NEVER, FMP_ALIAS},
    {NEVER, FMP_UNCHANGED, FMP_RESIDUAL, FMP_SET, FMP_WHOLE, NEVER, FMP_REMOVED, FMP_ALIAS},
    {NEVER, FMP_UNCHANGED, FMP_RESIDUAL, FMP_SET, FMP_ADDED, NEVER, ABSENT, FMP_ALIAS}};

static tensor *find(model *m, const char *name)
{
    for (unsigned i = 0; i < m->n; i++) {
        if (strcmp(m->t[i].name, name) == 0)
            return &m->t[i];
    }
    return NULL;
}

static void drop(model *m, const char *name)
{
    tensor *t = find(m, name);

    if (t)
        model_drop(m, (unsigned)(t - m->t));
}

/* Makes tensor x of `m`, a copy of the model before, be in a state when the two are compared. */
static void put_state(model *m, int state)
{
    tensor *x = find(m, "x");
    const tensor *q = find(m, "q");

    switch (state) {
    case FMP_RESIDUAL:
    case FMP_SET:
        change_some(x, 30);
        break;
    case FMP_WHOLE: /* another dtype and size */
        x->dtype =
            fmp_dtype_find(x->dtype->width == 16 ? "F32" : "BF16", x->dtype->width == 16 ? 3 : 4);
        x->rank = 1;
        x->shape[0] = x->dtype->width == 32 ? 1700 : 3200;
        tensor_resize(x, true);
        for (uint64_t i = 0; i < x->len; i++)
            x->data[i] = (uint8_t)(rng() >> 11);
        break;
    case FMP_ADDED:
        model_add(m, "x", "BF16", 2, 8, 400);
        break;
    case FMP_REMOVED:
        drop(m, "x");
        break;
    case FMP_ALIAS:
        drop(m, "x");
        x = model_add(m, "x", "BF16", 2, 8, 400);
        q = find(m, "q");
        memcpy(x->data, q->data, q->len);
        break;
    default:
        break;
    }
}

/* fmp_create() ties a tensor that the base has only where that can be undone; another writer may do
 * so always.  Returns whether x had to be made an alias of q in an open patch. */
static bool force_alias(fmp_patch *p)
{
    const uint32_t x = fmp_patch_find(p, "x", 1);
    const uint32_t q = fmp_patch_find(p, "q", 1);
    fmp_row *r = &p->table.rows[x];

    if (r->state == FMP_ALIAS)
        return false;
    assert_true(fmp_digest_equal(&p->table.digests[r->target_digest],
                                 &p->table.digests[p->table.rows[q].target_digest]));
    r->state = FMP_ALIAS;
    p->frames.n = 0; /* all of them were those of x */
    assert_true(fmp_table_add_map(&p->table, x, (fmp_map){.source = q, .n_bytes = 6400}));
    return true;
}

static void check_cell(unsigned row, unsigned column, bool reversible)
{
    const int a = row == ALIAS_ADDED ? FMP_ALIAS : columns[row];
    const int b = columns[column];
    const fmp_create_options first = {
        .size = sizeof first, .reversible = reversible, .set_values = a == FMP_SET};
    const fmp_create_options second = {
        .size = sizeof second, .reversible = reversible, .set_values = b == FMP_SET};
    model m[3] = {{.n = 0}};
    bool forced = false;
    fmp_patch *p, *q, *c;

    rng_seed(8 * row + column);
    model_add(&m[0], "q", "BF16", 2, 8, 400);
    model_add(&m[0], "z", "F32", 1, 50, 0);
    if (a != ABSENT && a != FMP_ADDED && row != ALIAS_ADDED)
        model_add(&m[0], "x", "BF16", 2, 8, 400);
    model_copy(&m[0], &m[1]);
    put_state(&m[1], a);
    model_copy(&m[1], &m[2]);
    put_state(&m[2], b);
    put_model(&m[0], "m0", false);
    put_model(&m[1], "m1", false);
    put_model(&m[2], "m2", false);
    p = make("m0", "m1", "p.fmp", &first);
    q = make("m1", "m2", "q.fmp", &second);
    if (a == FMP_ALIAS)
        forced |= force_alias(p);
    if (b == FMP_ALIAS)
        forced |= force_alias(q);
    assert_int_equal(state_of(p, "x"), a);
    assert_int_equal(state_of(q, "x"), b);
    c = squash2(p, q, "c.fmp");
    if (state_of(c, "x") != table[row][column])
        fail_msg("A %d, B %d: expected %d, found %d", a, b, table[row][column], state_of(c, "x"));
    check_apply("m0", c, "m2");
    if (reversible && !forced) {
        assert_true(fmp_patch_summarize(p).reversible && fmp_patch_summarize(q).reversible);
        assert_true(fmp_patch_summarize(c).reversible);
        check_revert("m2", c, "m0");
    }
    fmp_patch_close(p);
    fmp_patch_close(q);
    fmp_patch_close(c);
    for (unsigned i = 0; i < 3; i++)
        model_free(&m[i]);
    remove_tree("p.fmp");
    remove_tree("q.fmp");
    remove_tree("c.fmp");
}

static void test_table(void **state)
{
    unsigned n = 0;

    (void)state;
    for (unsigned row = 0; row < N_ROWS; row++) {
        for (unsigned column = 0; column < N_COLUMNS; column++) {
            if (table[row][column] == NEVER)
                continue;
            n++;
            check_cell(row, column, false);
            if (row == ALIAS_ADDED || columns[row] != FMP_SET) {
                if (columns[column] != FMP_SET)
                    check_cell(row, column, true);
            }
        }
    }
    assert_int_equal(n, 48);
}

/* ---- laws -------------------------------------------------------------------------------------
 */

/* Every bit pattern may turn into every other. */
static void change_bits(tensor *t)
{
    const unsigned width = t->dtype->width / 8;

    for (uint64_t i = roll(9); i < t->len / width; i += 1 + roll(9)) {
        for (unsigned k = 0; k < width; k++) {
            if (k == 0 || roll(3) == 0)
                t->data[i * width + k] = (uint8_t)(rng() >> 17);
        }
    }
}

static void check_laws(const fmp_dtype *dtype)
{
    model m[3] = {{.n = 0}};
    fmp_patch *p, *q, *inverse, *again, *both, *pq;
    fmp_error err;

    rng_seed(dtype->bits + dtype->name[0]);
    model_add(&m[0], "a", dtype->name, 2, 64, 40);
    model_add(&m[0], "b", dtype->name, 1, 8, 0);
    for (unsigned i = 1; i < 3; i++) {
        model_copy(&m[i - 1], &m[i]);
        change_bits(&m[i].t[0]);
        change_bits(&m[i].t[1]);
    }
    put_model(&m[0], "m0", false);
    put_model(&m[1], "m1", false);
    put_model(&m[2], "m2", false);
    p = make("m0", "m1", "p.fmp",
             &(fmp_create_options){.size = sizeof(fmp_create_options), .reversible = true});
    q = make("m1", "m2", "q.fmp",
             &(fmp_create_options){.size = sizeof(fmp_create_options), .reversible = true});
    assert_status(fmp_invert(p, at("i.fmp"), NULL, NULL, &err), FMP_OK, &err);
    inverse = open_patch(at("i.fmp"));
    check_apply("m1", inverse, "m0");
    check_revert("m0", inverse, "m1");
    both = squash2(p, inverse, "both.fmp");
    assert_int_equal(fmp_patch_summarize(both).n_changed, 0);
    assert_int_equal(fmp_patch_summarize(both).n_frames, 0);
    assert_int_equal(fmp_patch_summarize(both).n_unchanged, 2);
    assert_status(fmp_invert(inverse, at("again.fmp"), NULL, NULL, &err), FMP_OK, &err);
    again = open_patch(at("again.fmp"));
    check_apply("m0", again, "m1");
    pq = squash2(p, q, "pq.fmp");
    check_apply("m0", pq, "m2");
    check_revert("m2", pq, "m0");
    fmp_patch_close(p);
    fmp_patch_close(q);
    fmp_patch_close(inverse);
    fmp_patch_close(both);
    fmp_patch_close(again);
    fmp_patch_close(pq);
    for (unsigned i = 0; i < 3; i++) {
        char name[8];

        model_free(&m[i]);
        snprintf(name, sizeof name, "m%u", i);
        remove_tree(name);
    }
    remove_tree("p.fmp");
    remove_tree("q.fmp");
    remove_tree("i.fmp");
    remove_tree("again.fmp");
}

static void test_laws_of_every_dtype(void **state)
{
    unsigned i = 0;

    (void)state;
    for (; fmp_dtype_at(i); i++)
        check_laws(fmp_dtype_at(i));
    assert_true(i >= 20);
}

/* ---- blocks of different kinds ----------------------------------------------------------------
 */

/* Residuals and new bits of one tensor lie so that they meet in every way. */
static void test_mixed(void **state)
{
    const fmp_create_options set = {.size = sizeof set, .set_values = true};
    const fmp_create_options residual = {.size = sizeof residual, .reversible = true};
    const fmp_create_options *const how[][3] = {{&residual, &set, &residual},
                                                {&set, &residual, &set},
                                                {&residual, &residual, &set},
                                                {&set, &set, &residual}};

    (void)state;
    for (unsigned k = 0; k < 4; k++) {
        model m[4] = {{.n = 0}};
        fmp_patch *p[3], *c, *left, *pair;
        fmp_error err;

        rng_seed(k + 40);
        model_add(&m[0], "a", "BF16", 2, 700, 1000); /* two leaves */
        for (unsigned i = 0; i < 4; i++) {
            char model_name[8], name[8];

            if (i) {
                model_copy(&m[i - 1], &m[i]);
                change_some(&m[i].t[0], i == 2 ? 6 : 40);
            }
            snprintf(model_name, sizeof model_name, "m%u", i);
            put_model(&m[i], model_name, false);
            snprintf(name, sizeof name, "p%u", i);
            if (i) {
                const char from[] = {'m', (char)('0' + i - 1), 0};

                p[i - 1] = make(from, model_name, name, how[k][i - 1]);
            }
        }
        assert_status(fmp_squash((const fmp_patch *const *)p, 3, at("c.fmp"), NULL, NULL, &err),
                      FMP_OK, &err);
        c = open_patch(at("c.fmp"));
        assert_int_equal(state_of(c, "a"), FMP_SET);
        check_apply("m0", c, "m3");
        pair = squash2(p[0], p[1], "pair.fmp");
        left = squash2(pair, p[2], "left.fmp");
        assert_int_equal(c->frames.n, left->frames.n);
        assert_memory_equal(c->frame_digests.data, left->frame_digests.data, c->frame_digests.len);
        fmp_patch_close(c);
        fmp_patch_close(pair);
        fmp_patch_close(left);
        for (unsigned i = 0; i < 4; i++) {
            char name[8];

            model_free(&m[i]);
            if (i)
                fmp_patch_close(p[i - 1]);
            snprintf(name, sizeof name, "p%u", i);
            remove_tree(name);
        }
        remove_tree("c.fmp");
    }
}

/* ---- plain bytes: the unit is the patch's choice ----------------------------------------------
 */

static fmp_patch *make_raw(const char *base, const char *target, const char *path, unsigned width)
{
    const fmp_create_options o = {.size = sizeof o, .width = width, .reversible = true};
    const fmp_store_options raw = {.size = sizeof raw, .raw = true};
    fmp_store *b, *t;
    fmp_error err;

    assert_status(fmp_store_open(at(base), &raw, &b, &err), FMP_OK, &err);
    assert_status(fmp_store_open(at(target), &raw, &t, &err), FMP_OK, &err);
    assert_status(fmp_create(b, t, at(path), &o, NULL, &err), FMP_OK, &err);
    fmp_store_close(b);
    fmp_store_close(t);
    return open_patch(at(path));
}

static void put_bytes(const char *name, const uint8_t *data, size_t n, size_t changed, uint8_t by)
{
    uint8_t copy[4003];

    memcpy(copy, data, n);
    copy[changed] = (uint8_t)(copy[changed] + by);
    put_file(name, copy, n);
}

static void test_units(void **state)
{
    uint8_t data[4003];
    fmp_patch *a, *b, *c;
    fmp_error err;

    (void)state;
    rng_seed(5);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(rng() >> 20);
    put_bytes("r0", data, sizeof data, 0, 0);
    put_bytes("r1", data, sizeof data, 1001, 3);
    data[1001] = (uint8_t)(data[1001] + 3);
    put_bytes("r2", data, sizeof data, 1002, 9); /* the same 32 bits, other 16 */
    put_bytes("r3", data, sizeof data, 2000, 9); /* elsewhere */
    put_bytes("r4", data, sizeof data, 4002, 9); /* the odd byte at the end */
    a = make_raw("r0", "r1", "a.fmp", 32);
    b = make_raw("r1", "r2", "b.fmp", 16);
    assert_status(fmp_squash((const fmp_patch *[]){a, b}, 2, at("c.fmp"), NULL, NULL, &err),
                  FMP_ENOTSUP, &err);
    assert_non_null(strstr(err.text, "\"data\""));
    assert_non_null(strstr(err.text, "1002"));
    assert_false(exists("c.fmp"));
    fmp_patch_close(b);
    for (unsigned i = 3; i < 5; i++) { /* units may differ where they do not meet */
        const char to[] = {'r', (char)('0' + i), 0};

        b = make_raw("r1", to, i == 3 ? "d.fmp" : "e.fmp", 16);
        c = squash2(a, b, "c.fmp");
        check_apply("r0", c, to);
        check_revert(to, c, "r0");
        fmp_patch_close(b);
        fmp_patch_close(c);
    }
    fmp_patch_close(a);
}

/* ---- parts ------------------------------------------------------------------------------------
 */

static const tensor *find_in(const model *m, const fmp_tensor_info *info)
{
    for (unsigned i = 0; i < m->n; i++) {
        if (strcmp(m->t[i].name, info->name) == 0)
            return &m->t[i];
    }
    return NULL;
}

/* Selected tensors are the target's, all others the base's. */
static void check_part(const fmp_patch *part, const model *base, const model *target,
                       bool (*keep)(const char *))
{
    fmp_store *b = open_store(at("base"));
    fmp_store *made;
    uint32_t n = 0;
    fmp_error err;

    assert_status(fmp_apply(b, &part, 1, at("made"), NULL, NULL, &err), FMP_OK, &err);
    made = open_store(at("made"));
    for (unsigned i = 0; i < base->n; i++)
        n += !keep(base->t[i].name);
    for (unsigned i = 0; i < target->n; i++)
        n += keep(target->t[i].name);
    assert_int_equal(fmp_store_tensor_count(made), n);
    for (uint32_t i = 0; i < n; i++) {
        const fmp_tensor_info info = fmp_store_tensor(made, i);
        const tensor *want = find_in(keep(info.name) ? target : base, &info);
        uint8_t *data = malloc(info.n_bytes + 1);

        assert_non_null(want);
        assert_non_null(data);
        assert_int_equal(info.n_bytes, want->len);
        assert_string_equal(info.dtype, want->dtype->name);
        assert_status(fmp_store_read(made, i, 0, data, info.n_bytes, &err), FMP_OK, &err);
        assert_true(memcmp(data, want->data, info.n_bytes) == 0);
        free(data);
    }
    fmp_store_close(made);
    if (fmp_patch_summarize(part).reversible) {
        fmp_store *back_from = open_store(at("made"));

        assert_status(fmp_revert(back_from, part, at("back"), NULL, NULL, &err), FMP_OK, &err);
        fmp_store_close(back_from);
        back_from = open_store(at("back"));
        assert_same_tensors(back_from, b);
        fmp_store_close(back_from);
        remove_tree("back");
    }
    fmp_store_close(b);
}

static bool ends_even(const char *name)
{
    const char last = name[strlen(name) - 1];

    return last == 'w' ? (name[strlen(name) - 3] & 1) == 0 : (last & 1) == 0;
}

static bool is_layer(const char *name)
{
    return strstr(name, "layers") != NULL;
}

static void test_parts(void **state)
{
    static const char *const even[] = {"*[02468].w", "*[02468bdfhjlnprtvxz]"};
    static const char *const layers[] = {"*layers*"};
    unsigned n_parts = 0;

    (void)state;
    for (unsigned seed = 0; seed < 60; seed++) {
        const bool by_number = seed % 2;
        const fmp_subset_options what = {.size = sizeof what,
                                         .tensors = by_number ? even : layers,
                                         .n_tensors = by_number ? 2 : 1,
                                         .side_files = seed % 3 == 0};
        const fmp_create_options how = {.size = sizeof how, .reversible = seed % 4 < 2};
        model base = {.n = 0}, target = {.n = 0};
        fmp_patch *p, *part;
        fmp_error err;
        fmp_status st;

        rng_seed(seed + 500);
        any_base(&base);
        any_target(&base, &target, 1);
        put_any(&base, "base", 0);
        put_any(&target, "target", 1);
        p = make("base", "target", "p.fmp", &how);
        st = fmp_subset(p, &what, at("part.fmp"), NULL, NULL, &err);
        if (st) {
            assert_status(st, FMP_EUSAGE, &err); /* no name matches */
            assert_false(exists("part.fmp"));
        } else {
            part = open_patch(at("part.fmp"));
            check_part(part, &base, &target, by_number ? ends_even : is_layer);
            fmp_patch_close(part);
            n_parts++;
        }
        fmp_patch_close(p);
        model_free(&base);
        model_free(&target);
        remove_tree("base");
        remove_tree("target");
        remove_tree("made");
        remove_tree("p.fmp");
        remove_tree("part.fmp");
    }
    assert_true(n_parts > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_table, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_laws_of_every_dtype, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_mixed, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_units, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_parts, make_dir, drop_dir)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
