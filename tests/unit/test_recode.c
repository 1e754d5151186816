/*
 * From one profile to the other: whatever two models made up at random are, a patch made compact
 * does what it did, made open again it is the file that it was; and what cannot be recoded, or
 * cannot be done with a compact patch, is refused without a trace.
 */
#include "random_models.h"

#include "base/alloc.h"
#include "decode.h"
#include "patch.h"

enum { N_CASES = 40 };

static unsigned n_smaller, n_modelled, n_frames_many;

static void create(const char *base, const char *target, const char *path,
                   const fmp_create_options *o)
{
    fmp_store *b = open_store(at(base));
    fmp_store *t = open_store(at(target));
    fmp_error err;

    assert_status(fmp_create(b, t, at(path), o, NULL, &err), FMP_OK, &err);
    fmp_store_close(b);
    fmp_store_close(t);
}

static fmp_status recode_as(const char *base, const char *from, const char *to,
                            const fmp_create_options *o, fmp_create_result *ret, fmp_error *err)
{
    fmp_store *b = open_store(at(base));
    fmp_patch *p = open_patch(at(from));
    const fmp_status st = fmp_recode(b, p, at(to), o, ret, err);

    fmp_patch_close(p);
    fmp_store_close(b);
    return st;
}

/* What fmp_create() was told, but for another profile. */
static void recode(const char *from, const char *to, const fmp_create_options *how,
                   fmp_profile profile, unsigned n_threads)
{
    const fmp_create_options o = {.size = sizeof o,
                                  .level = how->level,
                                  .no_check = how->no_check,
                                  .profile = profile,
                                  .n_threads = n_threads};
    fmp_create_result r;
    fmp_error err;

    assert_status(recode_as("base", from, to, &o, &r, &err), FMP_OK, &err);
    assert_int_equal(r.summary.profile, profile);
}

static void check_apply(const char *patch, unsigned n_threads)
{
    const fmp_apply_options o = {.size = sizeof o, .n_threads = n_threads};
    fmp_store *b = open_store(at("base"));
    fmp_patch *p = open_patch(at(patch));
    const fmp_patch *one = p;
    fmp_apply_result r;
    fmp_error err;

    assert_status(fmp_apply(b, &one, 1, at("made"), &o, &r, &err), FMP_OK, &err);
    assert_true(r.exact_files);
    assert_same(at("made"), at("target"));
    assert_status(fmp_verify(p, b, n_threads, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
    remove_tree("made");
    fmp_patch_close(p);
    fmp_store_close(b);
}

static unsigned count_modelled(const fmp_patch *p)
{
    fmp_decoder d;
    unsigned n = 0;
    fmp_error err;

    assert_status(fmp_decoder_init(&d, &err), FMP_OK, &err);
    for (uint32_t i = 0; i < p->frames.n; i++) {
        assert_status(fmp_decoder_load(&d, p, i, &err), FMP_OK, &err);
        for (uint32_t k = 0; k < d.frame.n_blocks; k++)
            n += fmp_block_is_modelled(&d.frame.blocks[k]);
    }
    fmp_decoder_release(&d);
    return n;
}

/* All but the coding is the same. */
static void check_summaries(const char *open, const char *compact)
{
    fmp_patch *a = open_patch(at(open));
    fmp_patch *b = open_patch(at(compact));
    const fmp_patch_summary x = fmp_patch_summarize(a);
    const fmp_patch_summary y = fmp_patch_summarize(b);
    fmp_error err;

    assert_int_equal(x.profile, FMP_PROFILE_OPEN);
    assert_int_equal(y.profile, FMP_PROFILE_COMPACT);
    assert_memory_equal(x.base_root, y.base_root, 32);
    assert_memory_equal(x.target_root, y.target_root, 32);
    assert_int_equal(x.n_tensors, y.n_tensors);
    assert_int_equal(x.n_changed, y.n_changed);
    assert_int_equal(x.n_set, y.n_set);
    assert_int_equal(y.n_signatures, 0);
    assert_false(y.reversible && b->frames.n);
    assert_status(fmp_patch_scan(a, 1, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
    assert_status(fmp_patch_scan(b, 2, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
    for (uint32_t i = 0; i < x.n_tensors; i++)
        assert_int_equal(fmp_patch_tensor_at(a, i).n_changed, fmp_patch_tensor_at(b, i).n_changed);
    n_modelled += count_modelled(b);
    n_frames_many += a->frames.n > 2;
    assert_int_equal(count_modelled(a), 0);
    fmp_patch_close(a);
    fmp_patch_close(b);
}

static size_t file_size(const char *name)
{
    struct stat sb;

    assert_int_equal(stat(at(name), &sb), 0);
    return (size_t)sb.st_size;
}

/* base and target stand there. */
static void check_there_and_back(const fmp_create_options *o)
{
    create("base", "target", "o.fmp", o);
    recode("o.fmp", "c.fmp", o, FMP_PROFILE_COMPACT, 1);
    recode("o.fmp", "c2.fmp", o, FMP_PROFILE_COMPACT, 2);
    assert_same(at("c.fmp"), at("c2.fmp"));
    check_summaries("o.fmp", "c.fmp");
    check_apply("c.fmp", 1 + roll(2));
    recode("c.fmp", "again.fmp", o, FMP_PROFILE_OPEN, 1);
    assert_same(at("again.fmp"), at("o.fmp"));
    recode("c.fmp", "again2.fmp", o, FMP_PROFILE_OPEN, 2);
    assert_same(at("again2.fmp"), at("o.fmp"));
    recode("o.fmp", "same.fmp", o, FMP_PROFILE_OPEN, 2);
    assert_same(at("same.fmp"), at("o.fmp"));
    recode("c.fmp", "same-c.fmp", o, FMP_PROFILE_COMPACT, 2);
    assert_same(at("same-c.fmp"), at("c.fmp"));
    n_smaller += file_size("c.fmp") < file_size("o.fmp");
    remove_tree("o.fmp");
    remove_tree("c.fmp");
    remove_tree("c2.fmp");
    remove_tree("again.fmp");
    remove_tree("again2.fmp");
    remove_tree("same.fmp");
    remove_tree("same-c.fmp");
}

/* Written compact at once, it is a patch like any. */
static void check_created(const fmp_create_options *how)
{
    fmp_create_options o = *how;

    o.reversible = false;
    o.profile = FMP_PROFILE_COMPACT;
    create("base", "target", "c.fmp", &o);
    check_apply("c.fmp", 2);
    recode("c.fmp", "o.fmp", &o, FMP_PROFILE_OPEN, 2);
    check_apply("o.fmp", 1);
    check_summaries("o.fmp", "c.fmp");
    remove_tree("c.fmp");
    remove_tree("o.fmp");
}

static void test_random_models(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < N_CASES; seed++) {
        model b, t;
        fmp_create_options o = {.size = sizeof o, .n_threads = 1};

        rng_seed(seed);
        any_base(&b);
        any_target(&b, &t, 1);
        put_any(&b, "base", 0);
        put_any(&t, "target", 1);
        o.level = (int)roll(roll(4) ? 4 : 10);
        o.no_check = roll(4) == 0;
        o.reversible = roll(3) == 0;
        o.set_values = !o.reversible && roll(4) == 0;
        check_there_and_back(&o);
        check_created(&o);
        model_free(&b);
        model_free(&t);
        remove_tree("base");
        remove_tree("target");
    }
    assert_true(n_modelled > 0);
}

/* ---- models of some size ----------------------------------------------------------------------
 */

/* Small numbers more often than large ones, as weights are. */
static void like_weights(tensor *t, unsigned width)
{
    for (uint64_t i = 0; i + width <= t->len; i += width) {
        const unsigned down = (unsigned)__builtin_ctzll(rng() | 1u << 12);

        t->data[i + width - 1] = (uint8_t)((0x3d - down) | (roll(2) ? 0x80 : 0));
    }
}

/* More of the small ones change, and some columns more than others. */
static void tune(tensor *t, unsigned width, uint64_t row_len, unsigned every)
{
    for (uint64_t i = 0; i < t->len / width; i++) {
        uint8_t *p = t->data + i * width;
        const bool often = (p[width - 1] & 7) < 4 && i % row_len * 37 % 64 < 20;

        if (roll(often ? every : 40 * every) == 0)
            p[0] = (uint8_t)(p[0] + (roll(2) ? 1 : 255));
    }
}

/* Several leaves a tensor, rows across their ends; whole and set content of all kinds beside. */
static void make_large(model *b, model *t, unsigned seed)
{
    static const struct {
        const char *name, *dtype;
        unsigned width, rows, row_len, every;
    } parts[] = {{"l.0.w", "BF16", 2, 900, 1301, 20},   {"l.1.w", "F32", 4, 300, 1000, 5},
                 {"l.2.w", "F8_E4M3", 1, 1500, 900, 9}, {"l.3.w", "F64", 8, 60, 900, 6},
                 {"l.4.w", "I16", 2, 700, 100, 12},     {"l.5.w", "BF16", 2, 64, 64, 3},
                 {"l.6.w", "U8", 1, 700, 1000, 30},     {"l.7.w", "BF16", 2, 1, 60000, 10}};
    tensor *x;

    rng_seed(seed);
    b->n = 0;
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
        x = model_add(b, parts[i].name, parts[i].dtype, 2, parts[i].rows, parts[i].row_len);
        like_weights(x, parts[i].width);
    }
    model_add(b, "grown", "BF16", 2, 500, 300);
    model_add(b, "shrunk", "BF16", 2, 500, 300);
    model_add(b, "replaced", "F32", 2, 400, 1000);
    model_add(b, "model.renamed", "BF16", 2, 200, 300);
    model_copy(b, t);
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
        tune(&t->t[i], parts[i].width, parts[i].row_len, parts[i].every);
    x = &t->t[sizeof parts / sizeof *parts];
    x[0].shape[0] = 900;
    tensor_resize(&x[0], true);
    tune(&x[0], 2, 300, 7);
    x[1].shape[0] = 200;
    tensor_resize(&x[1], true);
    tune(&x[1], 2, 300, 7);
    for (uint64_t i = 0; i < x[2].len; i++)
        x[2].data[i] = (uint8_t)(i / 1000 % 3);
    snprintf(x[3].name, sizeof x[3].name, "renamed");
    tune(&x[3], 2, 300, 4);
    for (unsigned k = 0; k < 3; k++) { /* that cost next to nothing, and that do */
        char name[20];

        snprintf(name, sizeof name, "new.%u", k);
        x = model_add(t, name, "BF16", 2, 600, 1000);
        if (k < 2)
            memset(x->data, (int)k, x->len);
    }
    x = model_add(t, "tied", "BF16", 2, 900, 1301);
    memcpy(x->data, t->t[0].data, x->len);
}

static void test_large(void **state)
{
    static const int levels[] = {1, 3, 7};

    (void)state;
    n_smaller = n_modelled = n_frames_many = 0;
    for (unsigned k = 0; k < 3; k++) {
        model b, t;
        const fmp_create_options o = {
            .size = sizeof o, .level = levels[k], .set_values = k == 2, .reversible = k == 1};

        make_large(&b, &t, 77 + k);
        put_shards(&b, "base", 1 + k);
        put_shards(&t, "target", 3 - k);
        check_there_and_back(&o);
        check_created(&o);
        model_free(&b);
        model_free(&t);
        remove_tree("base");
        remove_tree("target");
    }
    assert_true(n_smaller >= 2);
    assert_true(n_modelled > 30);
    assert_true(n_frames_many >= 3);
}

/* Blocks of which it hardly matters how they are coded, in frames that are nearly full. */
static void test_close_calls(void **state)
{
    const fmp_create_options o = {.size = sizeof o, .level = 3};
    model b = {.n = 0}, t;

    (void)state;
    rng_seed(9);
    for (unsigned i = 0; i < 24; i++) {
        char name[] = {'t', (char)('a' + i), 0};

        like_weights(model_add(&b, name, "BF16", 1, 120000 + 7000 * (i % 5), 0), 2);
    }
    model_copy(&b, &t);
    for (unsigned i = 0; i < 24; i++) {
        for (uint64_t k = 0; k < t.t[i].len / 2; k++) {
            uint8_t *p = t.t[i].data + 2 * k;

            if (roll(16) < 2 + i % 4)
                p[0] = (uint8_t)(p[0] == 255 || (p[0] && roll(2)) ? p[0] - 1 : p[0] + 1);
        }
    }
    put_model(&b, "base", false);
    put_model(&t, "target", false);
    check_there_and_back(&o);
    model_free(&b);
    model_free(&t);
}

/* ---- refusals ---------------------------------------------------------------------------------
 */

static fmp_store *base;
static fmp_patch *opened, *compact;
static unsigned n_entries; /* of the directory, before anything goes wrong */

static int make_pair(void **state)
{
    const fmp_create_options o = {.size = sizeof o, .n_threads = 1};
    fmp_create_options c = o;
    model b = {.n = 0}, t;
    tensor *x;

    if (make_dir(state))
        return -1;
    rng_seed(5);
    x = model_add(&b, "a", "BF16", 2, 200, 300);
    like_weights(x, 2);
    model_add(&b, "b", "F32", 1, 5000, 0);
    model_copy(&b, &t);
    tune(&t.t[0], 2, 300, 3);
    t.t[1].data[7] ^= 1;
    model_add(&t, "new", "U8", 1, 50, 0);
    put_model(&b, "base", false);
    put_model(&t, "target", false);
    create("base", "target", "o.fmp", &o);
    c.profile = FMP_PROFILE_COMPACT;
    create("base", "target", "c.fmp", &c);
    base = open_store(at("base"));
    opened = open_patch(at("o.fmp"));
    compact = open_patch(at("c.fmp"));
    assert_int_equal(count_modelled(compact), 1);
    n_entries = count_entries(at(""));
    model_free(&b);
    model_free(&t);
    return 0;
}

static int drop_pair(void **state)
{
    fmp_store_close(base);
    fmp_patch_close(opened);
    fmp_patch_close(compact);
    return drop_dir(state);
}

/* Nothing new stands there, and the text has each of `words`. */
static void check_refused(fmp_status got, fmp_status want, const fmp_error *err, const char *word)
{
    assert_status(got, want, err);
    assert_int_equal(err->status, want);
    if (word && !strstr(err->text, word))
        fail_msg("\"%s\" lacks \"%s\"", err->text, word);
    assert_int_equal(count_entries(at("")), n_entries);
}

static void test_other_base(void **state)
{
    fmp_error err;

    (void)state;
    for (unsigned k = 0; k < 2; k++) {
        const fmp_create_options o = {.size = sizeof o,
                                      .profile = k ? FMP_PROFILE_COMPACT : FMP_PROFILE_OPEN};
        const char *from = k ? "o.fmp" : "c.fmp";
        size_t len;
        uint8_t *file;

        check_refused(recode_as("target", from, "out", &o, NULL, &err), FMP_EBASE, &err, "\"new\"");
        /* one bit of a tensor, changed or not */
        file = read_all(at("base"), &len);
        file[len - 9] ^= 1;
        put_file("base2", file, len);
        n_entries++;
        check_refused(recode_as("base2", from, "out", &o, NULL, &err), FMP_EBASE, &err, "differs");
        file[len - 9] ^= 1;
        file[len - 30000] ^= 0x80;
        put_file("base2", file, len);
        check_refused(recode_as("base2", from, "out", &o, NULL, &err), FMP_EBASE, &err, "\"a\"");
        remove_tree("base2");
        n_entries--;
        free(file);
    }
}

/* The base is what is wrong then, not the patch, whatever its blocks make of it. */
static void test_apply_to_another_base(void **state)
{
    size_t len;
    uint8_t *file = read_all(at("base"), &len);
    const fmp_patch *one = compact;
    fmp_error err;

    (void)state;
    n_entries++;
    for (unsigned k = 0; k < 60; k++) {
        const fmp_apply_options o = {
            .size = sizeof o, .n_threads = 1 + k % 2, .dry_run = k % 3 == 0};
        const size_t i = len - 20000 - roll(120000);
        const uint8_t bit = (uint8_t)(1u << roll(8));
        fmp_store *b;

        file[i] ^= bit;
        put_file("base2", file, len);
        file[i] ^= bit;
        b = open_store(at("base2"));
        check_refused(fmp_apply(b, &one, 1, at("out"), &o, NULL, &err), FMP_EBASE, &err, "\"a\"");
        check_refused(fmp_verify(compact, b, 1, (fmp_progress){NULL, NULL}, &err), FMP_EBASE, &err,
                      "\"a\"");
        fmp_store_close(b);
    }
    remove_tree("base2");
    n_entries--;
    free(file);
}

static void test_options(void **state)
{
    static const char *const rename_one[] = {"a=b"};
    const fmp_create_options bad[] = {
        {.level = 10},     {.level = -1},           {.profile = (fmp_profile)2},
        {.width = 16},     {.sha256 = true},        {.reversible = true},
        {.set_values = 1}, {.manifest_json = "{}"}, {.renames = rename_one, .n_renames = 1},
    };
    fmp_error err;

    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        fmp_create_options o = bad[i];

        o.size = sizeof o;
        err = (fmp_error){0};
        check_refused(fmp_recode(base, opened, at("out"), &o, NULL, &err), FMP_EUSAGE, &err, NULL);
        err = (fmp_error){0};
        check_refused(fmp_recode(base, compact, at("out"), &o, NULL, &err), FMP_EUSAGE, &err, NULL);
    }
}

/* No options: an open patch, with defaults. */
static void test_defaults(void **state)
{
    fmp_error err;

    (void)state;
    assert_status(fmp_recode(base, compact, at("out"), NULL, NULL, &err), FMP_OK, &err);
    assert_same(at("out"), at("o.fmp"));
    remove_tree("out");
}

static void test_output(void **state)
{
    const fmp_create_options keep = {.size = sizeof keep};
    const fmp_create_options replace = {.size = sizeof replace, .replace = true};
    fmp_error err;

    (void)state;
    put_text("out", "something");
    n_entries++;
    check_refused(fmp_recode(base, compact, at("out"), &keep, NULL, &err), FMP_EUSAGE, &err, "out");
    assert_int_equal(file_size("out"), 9);
    assert_status(fmp_recode(base, compact, at("out"), &replace, NULL, &err), FMP_OK, &err);
    assert_same(at("out"), at("o.fmp"));
    remove_tree("out");
    n_entries--;
    check_refused(fmp_recode(base, compact, at("base"), &replace, NULL, &err), FMP_EUSAGE, &err,
                  "input");
    check_refused(fmp_recode(base, compact, at("none/out"), &keep, NULL, &err), FMP_EIO, &err,
                  NULL);
}

static bool stop(void *ctx, uint64_t done, uint64_t total)
{
    unsigned *n = ctx;

    assert_true(done <= total);
    return (*n)-- == 0;
}

/* Of several frames, one thread asks between any two. */
static void test_cancel(void **state)
{
    model b = {.n = 0}, t;
    fmp_store *own;
    fmp_patch *p;
    unsigned n_stopped = 0;
    fmp_error err;

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        char name[] = {(char)('a' + i), 0};

        model_add(&b, name, "U8", 1, 100000, 0);
    }
    model_copy(&b, &t);
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < 100000; k++)
            t.t[i].data[k] = (uint8_t)(t.t[i].data[k] + 1 + roll(90));
    put_model(&b, "base3", false);
    put_model(&t, "target3", false);
    create("base3", "target3", "p3.fmp", &(fmp_create_options){.size = sizeof(fmp_create_options)});
    own = open_store(at("base3"));
    p = open_patch(at("p3.fmp"));
    assert_true(p->frames.n >= 3);
    n_entries += 3;
    for (unsigned k = 0; k < 10; k++) {
        unsigned n = k / 2;
        const fmp_create_options o = {
            .size = sizeof o, .n_threads = 1 + k % 2, .progress = {.fn = stop, .ctx = &n}};
        const fmp_status st = fmp_recode(own, p, at("out"), &o, NULL, &err);

        if (!st) {
            assert_same(at("out"), at("p3.fmp"));
            remove_tree("out");
            continue;
        }
        check_refused(st, FMP_ECANCELED, &err, NULL);
        n_stopped++;
    }
    assert_true(n_stopped > 1 && n_stopped < 10);
    fmp_patch_close(p);
    fmp_store_close(own);
    remove_tree("base3");
    remove_tree("target3");
    remove_tree("p3.fmp");
    n_entries -= 3;
    model_free(&b);
    model_free(&t);
}

/* A digest stands before every byte of a frame. */
static void test_broken(void **state)
{
    size_t len;
    uint8_t *file = read_all(at("c.fmp"), &len);
    fmp_error err;
    unsigned n_opened = 0;

    (void)state;
    n_entries++;
    for (size_t i = 0; i < len; i += 1 + len / 700) {
        fmp_patch *p = NULL;

        file[i] ^= 0x10;
        put_file("broken.fmp", file, len);
        file[i] ^= 0x10;
        if (fmp_patch_open(at("broken.fmp"), NULL, &p, &err))
            continue;
        check_refused(fmp_recode(base, p, at("out"), NULL, NULL, &err), FMP_ECORRUPT, &err, NULL);
        fmp_patch_close(p);
        n_opened++;
    }
    assert_true(n_opened > 100);
    remove_tree("broken.fmp");
    n_entries--;
    free(file);
}

static void sweep(const fmp_patch *p, fmp_profile profile, const char *want)
{
    const fmp_create_options o = {.size = sizeof o, .n_threads = 1, .profile = profile};
    fmp_status st = FMP_ENOMEM;
    long k = 0;

    for (; st; k++) {
        fmp_create_result r;
        fmp_error err = {0};

        fmp_alloc_fail_at(k);
        st = fmp_recode(base, p, at("out"), &o, k % 2 ? &r : NULL, &err);
        fmp_alloc_fail_at(-1);
        if (st && (st != FMP_ENOMEM || err.status != FMP_ENOMEM))
            fail_msg("allocation %ld: %s: %s", k, fmp_status_name(st), err.text);
        if (st && k % 2 && exists("out")) { /* written, but not read back */
            assert_same(at("out"), at(want));
            remove_tree("out");
        }
        if (st && count_entries(at("")) != n_entries)
            fail_msg("allocation %ld failed and left a file behind", k);
        assert_true(k < 100000);
    }
    assert_true(k > 10);
    assert_same(at("out"), at(want));
    remove_tree("out");
}

static void test_allocation_sweep(void **state)
{
    (void)state;
    sweep(compact, FMP_PROFILE_OPEN, "o.fmp");
    sweep(opened, FMP_PROFILE_COMPACT, "c.fmp");
}

/* ---- what needs an open patch -----------------------------------------------------------------
 */

static bool no_units(void *ctx, const uint64_t *idx, const uint64_t *value, size_t n, bool absolute)
{
    (void)ctx;
    (void)idx;
    (void)value;
    (void)n;
    (void)absolute;
    fail_msg("a unit of a block that cannot be read");
    return false;
}

static void test_needs_open(void **state)
{
    const fmp_create_options o = {.size = sizeof o, .n_threads = 1};
    const fmp_merge_options m = {.size = sizeof m};
    const fmp_subset_options part = {
        .size = sizeof part, .tensors = (const char *const[]){"a"}, .n_tensors = 1};
    const fmp_patch *mixed[3] = {opened, compact, opened};
    fmp_overlap *overlap = NULL;
    fmp_diff *diff = NULL;
    fmp_error err;

    (void)state;
    check_refused(fmp_invert(compact, at("out"), &o, NULL, &err), FMP_EPOLICY, &err, "compact");
    for (unsigned i = 0; i < 2; i++) {
        check_refused(fmp_overlap_new(mixed + i, 2, NULL, &overlap, &err), FMP_EPOLICY, &err,
                      "recode");
        check_refused(fmp_diff_new(mixed[i], mixed[i + 1], NULL, &diff, &err), FMP_EPOLICY, &err,
                      "recode");
        check_refused(fmp_merge(base, mixed + i, 2, at("out"), &m, &o, NULL, &err), FMP_EPOLICY,
                      &err, "recode");
    }
    assert_null(overlap);
    assert_null(diff);
    check_refused(fmp_squash(&mixed[1], 1, at("out"), &o, NULL, &err), FMP_EPOLICY, &err, "recode");
    create("target", "base", "back.fmp", &o);
    n_entries++;
    mixed[0] = open_patch(at("back.fmp"));
    check_refused(fmp_squash(mixed, 2, at("out"), &o, NULL, &err), FMP_EPOLICY, &err, "recode");
    fmp_patch_close((fmp_patch *)(uintptr_t)mixed[0]);
    remove_tree("back.fmp");
    n_entries--;
    check_refused(fmp_subset(compact, &part, at("out"), &o, NULL, &err), FMP_EPOLICY, &err,
                  "recode");
    check_refused(fmp_patch_read_sparse(compact, 0, no_units, NULL, &err), FMP_EPOLICY, &err,
                  "recode");
    {
        fmp_store *t = open_store(at("target"));
        const fmp_apply_options a = {.size = sizeof a, .n_threads = 1};

        check_refused(fmp_revert(t, compact, at("out"), &a, NULL, &err), FMP_EPOLICY, &err,
                      "compact");
        fmp_store_close(t);
    }
}

/* The bytes of a tensor are a base; then nothing is missing. */
static void test_apply_tensor(void **state)
{
    fmp_store *t = open_store(at("target"));
    const uint64_t n = 200 * 300 * 2;
    uint8_t *data = malloc(n);
    uint8_t *want = malloc(n);
    fmp_error err;

    (void)state;
    assert_true(data && want);
    assert_status(fmp_store_read(base, fmp_store_find(base, "a", 1), 0, data, n, &err), FMP_OK,
                  &err);
    assert_status(fmp_store_read(t, fmp_store_find(t, "a", 1), 0, want, n, &err), FMP_OK, &err);
    assert_status(fmp_patch_apply_tensor(compact, fmp_patch_find(compact, "a", 1), data, n, &err),
                  FMP_OK, &err);
    assert_memory_equal(data, want, n);
    free(data);
    free(want);
    fmp_store_close(t);
}

typedef struct measured {
    uint64_t n_changed, n_opaque;
} measured;

static bool measure_one(void *ctx, const fmp_measurement *t)
{
    measured *m = ctx;

    m->n_changed += t->n_changed;
    m->n_opaque += t->n_opaque;
    return true;
}

/* Without the base, as many elements changed, and how far they moved is not known. */
static void test_measure(void **state)
{
    measured a = {0}, b = {0}, c = {0}, d = {0};
    fmp_error err;

    (void)state;
    assert_status(fmp_measure(opened, NULL, NULL, measure_one, &a, &err), FMP_OK, &err);
    assert_status(fmp_measure(compact, NULL, NULL, measure_one, &b, &err), FMP_OK, &err);
    assert_status(fmp_measure(opened, base, NULL, measure_one, &c, &err), FMP_OK, &err);
    assert_status(fmp_measure(compact, base, NULL, measure_one, &d, &err), FMP_OK, &err);
    assert_int_equal(a.n_changed, b.n_changed);
    assert_int_equal(a.n_opaque, 0);
    assert_true(b.n_opaque > 1000 && b.n_opaque <= b.n_changed);
    assert_int_equal(c.n_changed, d.n_changed);
    assert_int_equal(d.n_opaque, 0);
}

/* A limit on steps cannot be judged without the base; that is a finding, not a pass. */
static void test_policy(void **state)
{
    fmp_policy *policy = NULL;
    const fmp_policy_options o = {.size = sizeof o, .n_threads = 1};
    fmp_error err;

    (void)state;
    put_text("policy.json", "{\"fmpatch_policy\":1,\"limits\":[{\"tensors\":\"a\","
                            "\"max_residual\":1000}]}");
    assert_status(fmp_policy_open(at("policy.json"), &policy, &err), FMP_OK, &err);
    for (unsigned k = 0; k < 4; k++) {
        fmp_policy_results *r = NULL;
        const bool blind = k == 0;

        assert_status(
            fmp_policy_check(policy, k < 2 ? compact : opened, k % 2 ? base : NULL, &o, &r, &err),
            FMP_OK, &err);
        assert_int_equal(fmp_policy_results_verdict(r), blind ? FMP_EPOLICY : FMP_OK);
        fmp_policy_results_free(r);
    }
    fmp_policy_close(policy);
    remove_tree("policy.json");
}

/* Whoever else writes patches says in the manifest what stands in the frames, or refuses. */
static void test_other_writers(void **state)
{
    const fmp_create_options o = {
        .size = sizeof o, .n_threads = 1, .profile = FMP_PROFILE_COMPACT, .level = 9};
    const fmp_merge_options m = {.size = sizeof m, .added = 1};
    const fmp_patch *one = opened;
    static const uint64_t idx[] = {3, 500, 501, 7777};
    uint16_t bits[4] = {1, 2, 3, 4};
    fmp_mask_writer *mask = NULL;
    fmp_writer *w = NULL;
    fmp_store *made;
    fmp_patch *p;
    fmp_error err;

    (void)state;
    check_refused(fmp_invert(opened, at("out"), &o, NULL, &err), FMP_EUSAGE, &err, "recode");
    check_refused(fmp_squash(&one, 1, at("out"), &o, NULL, &err), FMP_EUSAGE, &err, "recode");
    check_refused(fmp_subset(opened, NULL, at("out"), &o, NULL, &err), FMP_EUSAGE, &err, "recode");
    assert_status(fmp_merge(base, &one, 1, at("out"), &m, &o, NULL, &err), FMP_OK, &err);
    p = open_patch(at("out"));
    assert_int_equal(fmp_patch_summarize(p).profile, FMP_PROFILE_COMPACT);
    assert_true(count_modelled(p) > 0);
    assert_status(fmp_verify(p, base, 1, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
    fmp_patch_close(p);
    remove_tree("out");
    assert_status(fmp_writer_new(base, at("out"), &o, &w, &err), FMP_OK, &err);
    assert_status(fmp_writer_set(w, "a", idx, bits, 4, &err), FMP_OK, &err);
    assert_status(fmp_writer_finish(w, NULL, &err), FMP_OK, &err);
    p = open_patch(at("out"));
    assert_int_equal(fmp_patch_summarize(p).profile, FMP_PROFILE_COMPACT);
    assert_status(fmp_verify(p, base, 1, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
    one = p;
    assert_status(fmp_apply(base, &one, 1, at("made"), NULL, NULL, &err), FMP_OK, &err);
    made = open_store(at("made"));
    assert_status(fmp_store_read(made, fmp_store_find(made, "a", 1), 2 * 7777, bits, 2, &err),
                  FMP_OK, &err);
    assert_int_equal(bits[0], 4);
    fmp_store_close(made);
    fmp_patch_close(p);
    remove_tree("made");
    remove_tree("out");
    check_refused(fmp_mask_writer_new(at("out"), &o, &mask, &err), FMP_EUSAGE, &err, "compact");
    assert_null(mask);
}

/* ---- buffers ----------------------------------------------------------------------------------
 */

static void check_buffers(const char *dtype, unsigned width, size_t n, int level)
{
    const fmp_create_options o = {.size = sizeof o, .profile = FMP_PROFILE_COMPACT, .level = level};
    tensor b = {.len = n, .data = malloc(n)}, t = b;
    fmp_blob blob = {0}, plain = {0};
    uint8_t *data = malloc(n);
    fmp_error err;

    t.data = malloc(n);
    assert_true(b.data && t.data && data);
    for (size_t i = 0; i < n; i++)
        b.data[i] = (uint8_t)(rng() >> 13);
    like_weights(&b, width);
    memcpy(t.data, b.data, n);
    tune(&t, width, 300, 4);
    assert_status(fmp_encode_tensor(dtype, b.data, t.data, n, &o, &blob, &err), FMP_OK, &err);
    assert_status(fmp_encode_tensor(dtype, b.data, t.data, n, NULL, &plain, &err), FMP_OK, &err);
    assert_true(blob.len <= plain.len);
    assert_int_equal(blob.n_changed, plain.n_changed);
    memcpy(data, b.data, n);
    assert_status(fmp_decode_tensor(dtype, blob.data, blob.len, data, n, &err), FMP_OK, &err);
    assert_memory_equal(data, t.data, n);
    for (unsigned k = 0; k < 20; k++) { /* another base; nothing of it is taken for the target */
        fmp_status st;

        memcpy(data, b.data, n);
        data[roll((unsigned)n)] ^= 0x40;
        st = fmp_decode_tensor(dtype, blob.data, blob.len, data, n, &err);
        assert_true(st != FMP_OK || memcmp(data, t.data, n) != 0);
        assert_true(st == FMP_OK || st == FMP_EBASE || st == FMP_ECORRUPT);
    }
    fmp_blob_release(&blob);
    fmp_blob_release(&plain);
    free(b.data);
    free(t.data);
    free(data);
}

static void test_buffers(void **state)
{
    (void)state;
    check_buffers("BF16", 2, 400000, 1);
    check_buffers("BF16", 2, 3000000, 3);
    check_buffers("F32", 4, 600000, 9);
    check_buffers("F8_E4M3", 1, 2500000, 3);
}

int main(void)
{
    const struct CMUnitTest random[] = {
        cmocka_unit_test_setup_teardown(test_random_models, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_large, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_close_calls, make_dir, drop_dir)};
    const struct CMUnitTest refusals[] = {
        cmocka_unit_test(test_other_base),    cmocka_unit_test(test_apply_to_another_base),
        cmocka_unit_test(test_options),       cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_output),        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_broken),        cmocka_unit_test(test_allocation_sweep),
        cmocka_unit_test(test_needs_open),    cmocka_unit_test(test_apply_tensor),
        cmocka_unit_test(test_measure),       cmocka_unit_test(test_policy),
        cmocka_unit_test(test_other_writers), cmocka_unit_test(test_buffers),
    };
    const int failed = cmocka_run_group_tests(random, NULL, NULL);

    return cmocka_run_group_tests(refusals, make_pair, drop_pair) + failed;
}
