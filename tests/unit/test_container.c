/*
 * The index of a patch as bytes and back: tensor table, frame table and layout.
 * Cut short anywhere, with counts that lie, with any bit wrong, with memory short: refused.
 */
#include "table_support.h"

enum { MAX_TENSORS = 1000, MAX_FILES = 100 };

static void assert_info_equal(const fmp_table *a, const fmp_table *b, uint32_t row, bool target)
{
    const fmp_tensor_info x = fmp_table_info(a, row, target);
    const fmp_tensor_info y = fmp_table_info(b, row, target);

    assert_int_equal(!x.name, !y.name);
    if (!x.name)
        return;
    assert_string_equal(x.name, y.name);
    assert_int_equal(x.name_len, y.name_len);
    assert_string_equal(x.dtype, y.dtype);
    assert_int_equal(x.rank, y.rank);
    assert_int_equal(x.n_bytes, y.n_bytes);
    assert_int_equal(x.n_elements, y.n_elements);
    if (x.rank)
        assert_memory_equal(x.shape, y.shape, x.rank * sizeof *x.shape);
}

static void assert_tables_equal(const fmp_table *a, const fmp_table *b)
{
    assert_int_equal(a->n_rows, b->n_rows);
    assert_int_equal(a->n_maps, b->n_maps);
    assert_int_equal(a->n_digests, b->n_digests);
    for (uint32_t i = 0; i < a->n_rows; i++) {
        const fmp_row *x = &a->rows[i];
        const fmp_row *y = &b->rows[i];
        const fmp_map m = fmp_table_map(a, i);
        const fmp_map k = fmp_table_map(b, i);

        assert_int_equal(x->state, y->state);
        assert_info_equal(a, b, i, false);
        assert_info_equal(a, b, i, true);
        assert_int_equal(x->base_digest, y->base_digest);
        assert_int_equal(x->target_digest, y->target_digest);
        assert_int_equal(x->map == FMP_NONE, y->map == FMP_NONE);
        assert_int_equal(m.source, k.source);
        assert_int_equal(m.base_off, k.base_off);
        assert_int_equal(m.n_bytes, k.n_bytes);
        assert_int_equal(fmp_table_find(b, a->names + x->name_at, x->name_len), i);
    }
}

/* ---- the tensor table -------------------------------------------------------------------------
 */

static void test_table(void **state)
{
    unsigned seen[8] = {0};

    (void)state;
    for (unsigned seed = 0; seed < 200; seed++) {
        fmp_table t, back;
        fmp_buf out = {0}, again = {0}, digests;
        fmp_error err;

        make_table(&t, seed, seed % (N_ROWS + 1));
        for (uint32_t i = 0; i < t.n_rows; i++)
            seen[t.rows[i].state]++;
        fmp_table_write(&t, &out);
        digests = digests_of(&t);
        assert_status(fmp_table_parse(&out, &digests, MAX_TENSORS, "p", &back, &err), FMP_OK, &err);
        assert_tables_equal(&t, &back);
        assert_int_equal(fmp_table_find(&back, "model", 5), FMP_NONE);
        assert_int_equal(fmp_table_find(&back, "zzz", 3), FMP_NONE);
        fmp_table_write(&back, &again);
        assert_int_equal(out.len, again.len);
        assert_memory_equal(out.data, again.data, out.len);
        fmp_table_release(&back);
        fmp_table_release(&t);
        fmp_buf_release(&out);
        fmp_buf_release(&again);
    }
    for (unsigned s = FMP_UNCHANGED; s <= FMP_SET; s++)
        assert_true(seen[s]);
}

static fmp_status parse_copy(const uint8_t *data, size_t len, const fmp_buf *digests)
{
    uint8_t *exact = malloc(len ? len : 1);
    const fmp_buf buf = {.data = exact, .len = len};
    fmp_table back;
    fmp_status st;
    fmp_error err;

    assert_non_null(exact);
    if (len)
        memcpy(exact, data, len);
    st = fmp_table_parse(&buf, digests, MAX_TENSORS, "p", &back, &err);
    if (!st)
        fmp_table_release(&back);
    free(exact);
    return st;
}

static void test_broken_tables(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 6; seed++) {
        fmp_table t;
        fmp_buf out = {0}, digests;
        unsigned n_refused = 0;

        make_table(&t, seed, 20);
        fmp_table_write(&t, &out);
        digests = digests_of(&t);
        for (size_t len = 0; len < out.len; len++)
            assert_int_equal(parse_copy(out.data, len, &digests), FMP_ECORRUPT);
        for (size_t bit = 0; bit < 8 * out.len; bit++) {
            fmp_status st;

            out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            st = parse_copy(out.data, out.len, &digests);
            assert_true(st == FMP_OK || st == FMP_ECORRUPT || st == FMP_ELIMIT ||
                        st == FMP_ENOTSUP);
            n_refused += st != FMP_OK;
            out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_true(n_refused > 100);
        digests.len -= FMP_DIGEST_LEN;
        assert_int_equal(parse_copy(out.data, out.len, &digests), FMP_ECORRUPT);
        digests.len += 1;
        assert_int_equal(parse_copy(out.data, out.len, &digests), FMP_ECORRUPT);
        fmp_table_release(&t);
        fmp_buf_release(&out);
    }
}

/* A few bytes that claim a lot: refused before memory is asked for. */
static void test_hostile_counts(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        fmp_status want;
    } bad[] = {
        {"\xe9\x07", 2, FMP_ELIMIT}, /* 1001 tensors */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, FMP_ELIMIT},
        {"\xe8\x07", 2, FMP_ECORRUPT},                   /* 1000, in no bytes */
        {"\x00\xff\xff\xff\xff\x0f", 6, FMP_ECORRUPT},   /* shapes */
        {"\x00\x01\x02U8\x08\x21", 7, FMP_ECORRUPT},     /* rank 33 */
        {"\x00\x01\x02U8\x00\x00", 7, FMP_ECORRUPT},     /* elements of 0 bits */
        {"\x00\x01\x02U8\x81\x01\x00", 8, FMP_ECORRUPT}, /* and of 129 */
        {"\x00\x01\x00\x08\x00\x00", 6, FMP_ECORRUPT},   /* no dtype */
        {"\x00\x01\x02U\x1b\x08\x00", 7, FMP_ECORRUPT},  /* one that rings */
        {"\x00\x01\x02U8\x08\x02\x80\x80\x80\x80\x10\x80\x80\x80\x80\x10", 17, FMP_ECORRUPT},
        {"\x00\x00\xff\xff\xff\xff\x0f", 7, FMP_ECORRUPT}, /* bytes of names */
    };
    const fmp_buf none = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const fmp_status st = parse_copy((const uint8_t *)bad[i].bytes, bad[i].len, &none);

        if (st != bad[i].want)
            fail_msg("table %zu: %s", i, fmp_status_name(st));
    }
}

static void test_table_allocation_sweep(void **state)
{
    fmp_table t, back;
    fmp_buf out = {0}, digests;
    fmp_status st = FMP_ENOMEM;
    fmp_error err;

    (void)state;
    make_table(&t, 3, 40);
    for (long k = 0;; k++) {
        fmp_buf_release(&out);
        fmp_alloc_fail_at(k);
        fmp_table_write(&t, &out);
        fmp_alloc_fail_at(-1);
        if (!out.bad)
            break;
        assert_true(k < 100);
    }
    digests = digests_of(&t);
    for (long k = 0; st; k++) {
        fmp_alloc_fail_at(k);
        st = fmp_table_parse(&out, &digests, MAX_TENSORS, "p", &back, &err);
        fmp_alloc_fail_at(-1);
        assert_true(st == FMP_OK || st == FMP_ENOMEM);
        assert_true(k || st);
    }
    assert_tables_equal(&t, &back);
    fmp_table_release(&back);
    fmp_table_release(&t);
    fmp_buf_release(&out);
}

/* ---- frames -----------------------------------------------------------------------------------
 */

/* Intervals that follow each other, in several domains, one object or many in each. */
static void make_frames(fmp_frames *f, unsigned seed)
{
    fmp_frame_entry e = {0};

    rng_state = (seed + 1) * 0x9e3779b97f4a7c15u;
    for (unsigned i = 0; i < seed % 50; i++) {
        if (roll(8) == 0 && e.domain + 1 < FMP_DOMAIN_COUNT)
            e = (fmp_frame_entry){.domain = (uint8_t)(e.domain + 1)};
        if (roll(2)) {
            e.first = e.last + 1 + roll(5);
            e.start = roll(3) ? 0 : rng() % (1u << 20);
        } else {
            e.first = e.last;
            e.start = e.end + (roll(2) ? 0 : roll(9000));
        }
        e.last = e.first + (roll(2) ? 0 : 1 + roll(400));
        e.end = (e.last == e.first ? e.start : 0) + 1 + roll(1u << 20);
        e.stored = 1 + roll(300000);
        e.n_changed = roll(100000);
        assert_true(fmp_frames_add(f, &e));
    }
}

static void test_frames(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 300; seed++) {
        fmp_frames f = {0}, back;
        fmp_buf out = {0};
        fmp_error err;

        make_frames(&f, seed);
        fmp_frames_write(&f, &out);
        assert_status(fmp_frames_parse(&out, f.n, "p", &back, &err), FMP_OK, &err);
        assert_int_equal(back.n, f.n);
        assert_int_equal(back.stored, f.stored);
        for (uint32_t i = 0; i < f.n; i++) {
            const fmp_frame_entry *x = &f.entry[i];
            const fmp_frame_entry *y = &back.entry[i];

            assert_int_equal(x->domain, y->domain);
            assert_int_equal(x->first, y->first);
            assert_int_equal(x->last, y->last);
            assert_int_equal(x->start, y->start);
            assert_int_equal(x->end, y->end);
            assert_int_equal(x->stored, y->stored);
            assert_int_equal(x->payload_off, y->payload_off);
            assert_int_equal(x->n_changed, y->n_changed);
            assert_int_equal(fmp_frames_seek(&back, x->domain, x->first, x->start), i);
            assert_int_equal(fmp_frames_seek(&back, x->domain, x->last, x->end - 1), i);
        }
        assert_int_equal(fmp_frames_seek(&back, FMP_DOMAIN_OLD_FILES, FMP_NONE - 1, 0), back.n);
        fmp_frames_release(&back);
        for (size_t len = 0; len < out.len; len++) {
            const fmp_buf cut = {.data = out.data, .len = len};

            assert_status(fmp_frames_parse(&cut, f.n, "p", &back, &err), FMP_ECORRUPT, &err);
        }
        assert_status(fmp_frames_parse(&out, f.n + 1ull, "p", &back, &err), FMP_ECORRUPT, &err);
        for (size_t bit = 0; bit < 8 * out.len && seed % 10 == 9; bit++) {
            fmp_status st;

            out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            st = fmp_frames_parse(&out, f.n, "p", &back, &err);
            assert_true(st == FMP_OK || st == FMP_ECORRUPT);
            if (!st)
                fmp_frames_release(&back);
            out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        fmp_frames_release(&f);
        fmp_buf_release(&out);
    }
}

static void test_frames_allocation_sweep(void **state)
{
    fmp_frames f = {0}, back;
    fmp_buf out = {0};
    fmp_status st = FMP_ENOMEM;
    long k = 0;
    fmp_error err;

    (void)state;
    make_frames(&f, 49);
    fmp_frames_write(&f, &out);
    for (; st; k++) {
        fmp_alloc_fail_at(k);
        st = fmp_frames_parse(&out, f.n, "p", &back, &err);
        fmp_alloc_fail_at(-1);
        assert_true(st == FMP_OK || st == FMP_ENOMEM);
    }
    assert_true(k > 1);
    fmp_frames_release(&back);
    fmp_frames_release(&f);
    fmp_buf_release(&out);
}

/* ---- layout -----------------------------------------------------------------------------------
 */

static void make_side(const fmp_table *t, bool target, unsigned n_files, fmp_layout_side *s)
{
    uint32_t at = 0;

    s->n_files = n_files;
    s->is_dir = n_files > 1 || roll(2);
    s->files = fmp_calloc(n_files, sizeof *s->files);
    s->order = fmp_calloc(t->n_rows, sizeof *s->order);
    assert_true(s->files && s->order);
    for (uint32_t i = 0; i < t->n_rows; i++) {
        if ((target ? t->rows[i].target_schema : t->rows[i].base_schema) != FMP_NONE)
            s->order[s->n_order++] = i;
    }
    for (uint32_t i = s->n_order; i > 1 && roll(3); i--) {
        const uint32_t k = roll(i), row = s->order[k];

        s->order[k] = s->order[i - 1];
        s->order[i - 1] = row;
    }
    for (unsigned i = 0; i < n_files; i++) {
        fmp_layout_file *f = &s->files[i];
        const uint32_t stop = s->n_order * (i + 1) / n_files;
        char name[40];

        snprintf(name, sizeof name, "sub/model-%02u.st", i);
        f->name = fmp_strndup(name, strlen(name));
        f->driver = fmp_strndup("safetensors", 11);
        f->header_len = 100 + roll(900);
        f->size = f->header_len;
        f->header_stored = roll(2);
        if (!f->header_stored)
            fmp_buf_put(&f->hint, "{\"a\":\"b\"} padding", roll(18));
        for (; at < stop; at++, f->n_tensors++)
            f->size += t->schemas[target ? t->rows[s->order[at]].target_schema
                                         : t->rows[s->order[at]].base_schema]
                           .n_bytes;
    }
}

static void make_side_files(fmp_layout *l, unsigned n)
{
    l->side = fmp_calloc(n, sizeof *l->side);
    assert_non_null(l->side);
    for (unsigned i = 0; i < n; i++) {
        fmp_side_file *f = &l->side[l->n_side];
        char name[20];

        f->in_base = l->base.is_dir && roll(3);
        f->in_target = l->target.is_dir && (roll(3) || !f->in_base);
        if (!f->in_base && !f->in_target)
            continue;
        l->n_side++;
        f->changed = f->in_base && f->in_target && roll(2);
        snprintf(name, sizeof name, "tok-%02u.json", i);
        f->name = fmp_strndup(name, strlen(name));
        f->base_size = f->in_base ? rng() >> 40 : 0;
        for (unsigned k = 0; k < FMP_DIGEST_LEN && f->in_base; k++)
            f->base_digest.b[k] = (uint8_t)rng();
        f->target_size = f->in_target ? rng() >> 40 : 0;
        for (unsigned k = 0; k < FMP_DIGEST_LEN && f->in_target; k++)
            f->target_digest.b[k] = (uint8_t)rng();
        if (f->in_base && f->in_target && !f->changed) {
            f->target_size = f->base_size;
            f->target_digest = f->base_digest;
        }
    }
}

static void make_layout(const fmp_table *t, fmp_layout *l)
{
    *l = (fmp_layout){.n_side = 0};
    make_side(t, true, 1 + roll(4), &l->target);
    make_side(t, false, 1 + roll(4), &l->base);
    make_side_files(l, roll(6));
}

static void assert_sides_equal(const fmp_layout_side *a, const fmp_layout_side *b)
{
    assert_int_equal(a->is_dir, b->is_dir);
    assert_int_equal(a->n_files, b->n_files);
    assert_int_equal(a->n_order, b->n_order);
    if (a->n_order)
        assert_memory_equal(a->order, b->order, a->n_order * sizeof *a->order);
    for (uint32_t i = 0; i < a->n_files; i++) {
        const fmp_layout_file *x = &a->files[i];
        const fmp_layout_file *y = &b->files[i];

        assert_string_equal(x->name, y->name);
        assert_string_equal(x->driver, y->driver);
        assert_int_equal(x->size, y->size);
        assert_int_equal(x->header_len, y->header_len);
        assert_int_equal(x->n_tensors, y->n_tensors);
        assert_int_equal(x->header_stored, y->header_stored);
        assert_int_equal(x->hint.len, y->hint.len);
        if (x->hint.len)
            assert_memory_equal(x->hint.data, y->hint.data, x->hint.len);
    }
}

static void assert_layouts_equal(const fmp_layout *a, const fmp_layout *b)
{
    assert_sides_equal(&a->target, &b->target);
    assert_sides_equal(&a->base, &b->base);
    assert_int_equal(a->n_side, b->n_side);
    for (uint32_t i = 0; i < a->n_side; i++) {
        const fmp_side_file *x = &a->side[i];
        const fmp_side_file *y = &b->side[i];

        assert_string_equal(x->name, y->name);
        assert_int_equal(x->in_base, y->in_base);
        assert_int_equal(x->in_target, y->in_target);
        assert_int_equal(x->changed, y->changed);
        assert_int_equal(x->base_size, y->base_size);
        assert_int_equal(x->target_size, y->target_size);
        assert_true(fmp_digest_equal(&x->base_digest, &y->base_digest));
        assert_true(fmp_digest_equal(&x->target_digest, &y->target_digest));
    }
}

static void test_layout(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 120; seed++) {
        fmp_table t;
        fmp_layout l, back;
        fmp_buf out = {0};
        fmp_error err;

        make_table(&t, seed, 1 + seed % 30);
        make_layout(&t, &l);
        fmp_layout_write(&l, &out);
        assert_status(fmp_layout_parse(&out, &t, MAX_FILES, "p", &back, &err), FMP_OK, &err);
        assert_layouts_equal(&l, &back);
        fmp_layout_release(&back);
        for (size_t len = 0; len < out.len; len++) {
            const fmp_buf cut = {.data = out.data, .len = len};

            assert_status(fmp_layout_parse(&cut, &t, MAX_FILES, "p", &back, &err), FMP_ECORRUPT,
                          &err);
        }
        for (size_t bit = 0; bit < 8 * out.len && seed % 20 == 7; bit++) {
            fmp_status st;

            out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            st = fmp_layout_parse(&out, &t, MAX_FILES, "p", &back, &err);
            assert_true(st == FMP_OK || st == FMP_ECORRUPT);
            if (!st)
                fmp_layout_release(&back);
            out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        fmp_layout_release(&l);
        fmp_table_release(&t);
        fmp_buf_release(&out);
    }
}

/* One thing wrong in a layout that is good otherwise. */
static void refuse_layout(const fmp_table *t, const fmp_layout *l, const char *text)
{
    fmp_layout back;
    fmp_buf out = {0};
    fmp_error err = {0};

    fmp_layout_write(l, &out);
    assert_status(fmp_layout_parse(&out, t, MAX_FILES, "p", &back, &err), FMP_ECORRUPT, &err);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" lacks \"%s\"", err.text, text);
    fmp_buf_release(&out);
}

static void set_name(char **name, const char *to)
{
    fmp_free(*name);
    *name = fmp_strndup(to, strlen(to));
}

static void test_refused_layouts(void **state)
{
    static const char *const unsafe[] = {"../x", "/etc/x", "a/../../x", "a//b", "./x", ".."};
    fmp_table t;
    fmp_layout l;
    uint32_t row;

    (void)state;
    make_table(&t, 4, 30);
    l = (fmp_layout){.n_side = 0};
    make_side(&t, true, 3, &l.target);
    make_side(&t, false, 2, &l.base);
    for (unsigned i = 0; i < sizeof unsafe / sizeof *unsafe; i++) {
        set_name(&l.target.files[0].name, unsafe[i]);
        refuse_layout(&t, &l, "could leave the directory");
    }
    set_name(&l.target.files[0].name, "z");
    refuse_layout(&t, &l, "not in order of names");
    set_name(&l.target.files[0].name, l.target.files[1].name);
    refuse_layout(&t, &l, "stands twice");
    set_name(&l.target.files[0].name, "a");
    l.target.files[1].size++;
    refuse_layout(&t, &l, "its tensors need");
    l.target.files[1].size--;
    row = l.target.order[0];
    l.target.order[0] = l.target.order[1];
    refuse_layout(&t, &l, "two places");
    l.target.order[0] = t.n_rows;
    refuse_layout(&t, &l, "two places, or in none");
    l.target.order[0] = row;
    l.target.is_dir = false;
    refuse_layout(&t, &l, "no directory");
    l.target.is_dir = true;
    l.side = fmp_calloc(1, sizeof *l.side);
    l.n_side = 1;
    l.side[0] = (fmp_side_file){.in_target = true};
    set_name(&l.side[0].name, l.target.files[2].name);
    refuse_layout(&t, &l, "has no place");
    set_name(&l.side[0].name, "ok");
    l.side[0].in_target = false;
    refuse_layout(&t, &l, "flags");
    fmp_layout_release(&l);
    fmp_table_release(&t);
}

static void test_layout_allocation_sweep(void **state)
{
    fmp_table t;
    fmp_layout l, back;
    fmp_buf out = {0};
    fmp_status st = FMP_ENOMEM;
    long k = 0;
    fmp_error err;

    (void)state;
    make_table(&t, 8, 30);
    make_layout(&t, &l);
    fmp_layout_write(&l, &out);
    for (; st; k++) {
        fmp_alloc_fail_at(k);
        st = fmp_layout_parse(&out, &t, MAX_FILES, "p", &back, &err);
        fmp_alloc_fail_at(-1);
        assert_true(st == FMP_OK || st == FMP_ENOMEM);
    }
    assert_true(k > 5);
    fmp_layout_release(&back);
    fmp_layout_release(&l);
    fmp_table_release(&t);
    fmp_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_broken_tables),
        cmocka_unit_test(test_hostile_counts),
        cmocka_unit_test(test_table_allocation_sweep),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_frames_allocation_sweep),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_refused_layouts),
        cmocka_unit_test(test_layout_allocation_sweep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
