/*
 * Masks: what is selected comes back, through the mask calls and through the calls that know only
 * patches; wrong selections are refused; equal selections are equal files.
 */
#include "model_support.h"

#include "base/alloc.h"

/* A model of BOOL tensors: its bytes are the selection. */
typedef enum pattern { NONE, FEW, HALF, MOST, ALL, RUNS, EVERY_OTHER, LAST, N_PATTERNS } pattern;

static bool is_picked(pattern p, uint64_t i, uint64_t n)
{
    switch (p) {
    case FEW:
        return roll(200) == 0;
    case HALF:
        return roll(2) == 0;
    case MOST:
        return roll(50) != 0;
    case ALL:
        return true;
    case RUNS:
        return i / 37 % 5 == 2;
    case EVERY_OTHER:
        return i % 2;
    case LAST:
        return i == n - 1;
    default:
        return false;
    }
}

static void add(model *m, const char *name, uint32_t rank, uint64_t d0, uint64_t d1, pattern p)
{
    tensor *t = model_add(m, name, "BOOL", rank, d0, d1);

    for (uint64_t i = 0; i < t->len; i++)
        t->data[i] = is_picked(p, i, t->len);
}

static void deselect_all(model *m)
{
    for (unsigned i = 0; i < m->n; i++)
        memset(m->t[i].data, 0, m->t[i].len);
}

/* The indices of a tensor's ones; free() them. */
static uint64_t *indices(const tensor *t, uint64_t *ret_n)
{
    uint64_t *idx = malloc((t->len + 1) * sizeof *idx);

    assert_non_null(idx);
    *ret_n = 0;
    for (uint64_t i = 0; i < t->len; i++) {
        idx[*ret_n] = i;
        *ret_n += t->data[i];
    }
    return idx;
}

static fmp_status add_tensor(fmp_mask_writer *w, const tensor *t, fmp_error *err)
{
    uint64_t n;
    uint64_t *idx = indices(t, &n);
    const bool all = n == t->len && roll(2);
    const fmp_status st = fmp_mask_writer_add(w, t->name, t->rank, t->rank ? t->shape : NULL,
                                              all ? NULL : idx, n, err);

    free(idx);
    return st;
}

static fmp_mask_writer *new_writer(const char *name, const fmp_create_options *o)
{
    fmp_mask_writer *w = NULL;
    fmp_error err;

    assert_status(fmp_mask_writer_new(at(name), o, &w, &err), FMP_OK, &err);
    assert_non_null(w);
    return w;
}

/* Writes the mask of a model, its tensors from number `first` on, around the end. */
static fmp_patch_summary put_mask(const model *m, const char *name, unsigned first,
                                  const fmp_create_options *o)
{
    fmp_mask_writer *w = new_writer(name, o);
    fmp_create_result made = {{.size = 0}};
    fmp_error err;

    for (unsigned i = 0; i < m->n; i++)
        assert_status(add_tensor(w, &m->t[(first + i) % m->n], &err), FMP_OK, &err);
    assert_status(fmp_mask_writer_finish(w, &made, &err), FMP_OK, &err);
    return made.summary;
}

static void assert_tensor_selected(const fmp_patch *p, const tensor *t)
{
    const uint32_t row = fmp_patch_find(p, t->name, strlen(t->name));
    uint64_t n, counted;
    uint64_t *want = indices(t, &n);
    uint64_t *got = malloc((n + 1) * sizeof *got);
    size_t n_got;
    fmp_error err;

    assert_non_null(got);
    assert_int_not_equal(row, UINT32_MAX);
    assert_status(fmp_mask_count(p, row, &counted, &err), FMP_OK, &err);
    assert_int_equal(counted, n);
    assert_status(fmp_mask_decode(p, row, got, (size_t)n, &n_got, &err), FMP_OK, &err);
    assert_int_equal(n_got, n);
    assert_true(memcmp(got, want, n * sizeof *got) == 0);
    if (n) {
        n_got = 77;
        assert_status(fmp_mask_decode(p, row, got, (size_t)n - 1, &n_got, &err), FMP_EUSAGE, &err);
        assert_int_equal(n_got, 77);
    }
    free(got);
    free(want);
}

static void assert_selected(const char *name, const model *m)
{
    fmp_patch *p = open_patch(at(name));
    const fmp_patch_summary s = fmp_patch_summarize(p);
    uint64_t n_all = 0, n_selected = 0;
    fmp_error err;

    assert_true(fmp_patch_is_mask(p));
    assert_true(s.reversible);
    assert_int_equal(s.n_tensors, m->n);
    assert_int_equal(s.n_unchanged + s.n_residual, m->n);
    for (unsigned i = 0; i < m->n; i++) {
        assert_tensor_selected(p, &m->t[i]);
        n_all += m->t[i].len;
        for (uint64_t k = 0; k < m->t[i].len; k++)
            n_selected += m->t[i].data[k];
    }
    assert_int_equal(s.n_elements, n_all);
    assert_int_equal(s.n_changed, n_selected);
    assert_status(fmp_verify(p, NULL, 2, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
    fmp_patch_close(p);
}

/* Tensors in no order, of all patterns, one of more than a block and one of more than a leaf. */
static void make_model(model *m, uint64_t seed)
{
    char name[40];

    rng_seed(seed);
    m->n = 0;
    add(m, "z.large", 2, 1100, 1000, (pattern)(seed % N_PATTERNS));
    add(m, "scalar", 0, 0, 0, seed % 2 ? ALL : NONE);
    add(m, "empty", 1, 0, 0, NONE);
    add(m, "nothing", 2, 0, 7, ALL);
    add(m, "big.block", 1, 600000, 0, (pattern)((seed + 3) % N_PATTERNS));
    for (unsigned i = 0; i < 2 * N_PATTERNS; i++) {
        snprintf(name, sizeof name, "layer.%u.%s", i / 2, i % 2 ? "bias" : "weight");
        add(m, name, i % 2 ? 1 : 2, 1 + roll(90), 1 + roll(90),
            (pattern)((i / 2 + seed) % N_PATTERNS));
    }
}

/* ---- what is put in comes out -----------------------------------------------------------------
 */

static void selections_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < N_PATTERNS; seed++) {
        model m = {.n = 0};

        make_model(&m, seed);
        put_mask(&m, "m.fmp", (unsigned)seed, NULL);
        assert_selected("m.fmp", &m);
        model_free(&m);
        remove_tree("m.fmp");
    }
}

static void masks_without_tensors_or_selection_are_masks(void **state)
{
    model m = {.n = 0};

    (void)state;
    put_mask(&m, "m.fmp", 0, NULL);
    assert_selected("m.fmp", &m);
    remove_tree("m.fmp");
    make_model(&m, 1);
    deselect_all(&m);
    assert_int_equal(put_mask(&m, "m.fmp", 0, NULL).n_changed, 0);
    assert_selected("m.fmp", &m);
    model_free(&m);
}

/* Whoever knows nothing of masks: apply on a file of zeros, revert, verify with the base. */
static void the_verbs_know_masks_as_patches(void **state)
{
    const fmp_apply_options o = {.size = sizeof o, .n_threads = 2};
    model ones = {.n = 0}, zeros;
    fmp_store *base, *target;
    fmp_patch *p;
    const fmp_patch *one;
    fmp_error err;

    (void)state;
    make_model(&ones, 4);
    model_copy(&ones, &zeros);
    deselect_all(&zeros);
    put_mask(&ones, "m.fmp", 3, NULL);
    put_model(&zeros, "zeros.safetensors", true);
    put_model(&ones, "ones.safetensors", false);
    base = open_store(at("zeros.safetensors"));
    p = open_patch(at("m.fmp"));
    one = p;
    assert_status(fmp_verify(p, base, 1, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
    assert_status(fmp_apply(base, &one, 1, at("out.safetensors"), &o, NULL, &err), FMP_OK, &err);
    fmp_store_close(base);
    target = open_store(at("ones.safetensors"));
    base = open_store(at("out.safetensors"));
    assert_same_tensors(base, target);
    for (uint32_t i = 0; i < fmp_store_tensor_count(base); i++) {
        assert_string_equal(fmp_store_tensor(base, i).dtype, "BOOL");
        assert_int_equal(
            fmp_patch_find(p, fmp_store_tensor(base, i).name, fmp_store_tensor(base, i).name_len),
            i); /* in the order of names */
    }
    fmp_store_close(target);
    assert_status(fmp_revert(base, p, at("back.safetensors"), &o, NULL, &err), FMP_OK, &err);
    fmp_store_close(base);
    base = open_store(at("back.safetensors"));
    target = open_store(at("zeros.safetensors"));
    assert_same_tensors(base, target);
    fmp_store_close(base);
    fmp_store_close(target);
    base = open_store(at("ones.safetensors"));
    assert_status(fmp_verify(p, base, 1, (fmp_progress){NULL, NULL}, &err), FMP_EBASE, &err);
    fmp_store_close(base);
    fmp_patch_close(p);
    model_free(&ones);
    model_free(&zeros);
}

static void equal_selections_are_equal_files(void **state)
{
    model m = {.n = 0};

    (void)state;
    make_model(&m, 2);
    for (unsigned i = 0; i < 4; i++) {
        const fmp_create_options o = {.size = sizeof o, .n_threads = 1 + i, .replace = true};

        put_mask(&m, i ? "b.fmp" : "a.fmp", 5 * i, &o);
        if (i)
            assert_same(at("a.fmp"), at("b.fmp"));
    }
    model_free(&m);
}

/* Only positions cost bytes; where all or nothing is selected, not even those. */
static void ones_cost_nothing(void **state)
{
    model m = {.n = 0};
    fmp_patch_summary s;
    uint64_t n;

    (void)state;
    rng_seed(3);
    add(&m, "a", 2, 3000, 1000, ALL);
    add(&m, "b", 2, 1000, 1000, NONE);
    add(&m, "c", 1, 50, 0, ALL);
    s = put_mask(&m, "m.fmp", 0, NULL);
    assert_selected("m.fmp", &m);
    assert_true(s.payload_size < 300);
    remove_tree("m.fmp");
    model_free(&m);
    add(&m, "a", 2, 1000, 1000, FEW);
    for (unsigned i = 0; i < 20; i++) {
        char name[40];

        snprintf(name, sizeof name, "b.%u", i);
        add(&m, name, 1, 2000, 0, FEW);
    }
    s = put_mask(&m, "m.fmp", 0, NULL);
    assert_selected("m.fmp", &m);
    n = s.n_changed;
    assert_in_range(n, 4500, 5900);
    /* A gap of mean 200 has an entropy of log2(200 e) = 9.09 bits (the geometric distribution). */
    assert_true(s.payload_size * 8 < n * 10);
    remove_tree("m.fmp");
    model_free(&m);
}

/* Equal tensors are not told as copies of one another: each has its own count. */
static void equal_tensors_are_no_aliases(void **state)
{
    model m = {.n = 0};
    fmp_patch *p;
    fmp_error err;

    (void)state;
    add(&m, "a", 2, 100, 100, RUNS);
    add(&m, "b", 2, 100, 100, RUNS);
    put_mask(&m, "m.fmp", 0, NULL);
    p = open_patch(at("m.fmp"));
    assert_int_equal(fmp_patch_summarize(p).n_residual, 2);
    assert_status(fmp_patch_scan(p, 1, (fmp_progress){NULL, NULL}, &err), FMP_OK, &err);
    assert_int_equal(fmp_patch_tensor_at(p, 1).n_changed, fmp_patch_tensor_at(p, 0).n_changed);
    assert_int_not_equal(fmp_patch_tensor_at(p, 1).n_changed, 0);
    fmp_patch_close(p);
    assert_selected("m.fmp", &m);
    model_free(&m);
}

/* ---- options ----------------------------------------------------------------------------------
 */

static void refuse_options(fmp_create_options o, const char *word)
{
    fmp_mask_writer *w = NULL;
    fmp_error err;

    o.size = sizeof o;
    assert_status(fmp_mask_writer_new(at("m.fmp"), &o, &w, &err), FMP_EUSAGE, &err);
    assert_null(w);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" lacks \"%s\"", err.text, word);
}

static void options_that_make_no_sense_are_refused(void **state)
{
    const char *renames[] = {"a=b"};

    (void)state;
    refuse_options((fmp_create_options){.renames = renames, .n_renames = 1}, "renamed");
    refuse_options((fmp_create_options){.set_values = true}, "residuals");
    refuse_options((fmp_create_options){.manifest_json = "{\"kind\":\"task\"}"}, "kind");
    refuse_options((fmp_create_options){.manifest_json = "{\"kind\":3}"}, "kind");
    refuse_options((fmp_create_options){.manifest_json = "{\"base\":{}}"}, "base");
    refuse_options((fmp_create_options){.manifest_json = "[]"}, "object");
    refuse_options((fmp_create_options){.manifest_json = "{"}, "line");
    assert_false(exists("m.fmp"));
}

static void the_manifest_keeps_what_it_is_given(void **state)
{
    static const char *const given[] = {
        "{\"method\":{\"k\":7},\"kind\":\"mask\"}",
        "{\"method\":{\"k\":7}}",
    };
    model m = {.n = 0};

    (void)state;
    add(&m, "a", 1, 10, 0, ALL);
    for (unsigned i = 0; i < 2; i++) {
        char *json = strdup(given[i]);
        const fmp_create_options o = {.size = sizeof o,
                                      .manifest_json = json,
                                      .date = "2026-01-02T03:04:05Z",
                                      .sha256 = true,
                                      .width = 32,
                                      .replace = true};
        fmp_mask_writer *w = new_writer("m.fmp", &o);
        const char *text;
        fmp_error err;
        fmp_patch *p;

        memset(json, 'x', strlen(json)); /* it has been copied */
        free(json);
        assert_status(add_tensor(w, &m.t[0], &err), FMP_OK, &err);
        assert_status(fmp_mask_writer_finish(w, NULL, &err), FMP_OK, &err);
        p = open_patch(at("m.fmp"));
        text = fmp_patch_manifest(p);
        assert_non_null(strstr(text, "\"kind\":\"mask\",\"method\":{\"k\":7}"));
        assert_non_null(strstr(text, "\"date\":\"2026-01-02T03:04:05Z\""));
        assert_non_null(strstr(text, "\"name\":\"mask.safetensors\""));
        fmp_patch_close(p);
        assert_selected("m.fmp", &m);
    }
    model_free(&m);
}

static bool cancel(void *ctx, uint64_t done, uint64_t total)
{
    (void)done;
    *(uint64_t *)ctx = total;
    return true;
}

static void outputs_appear_whole_or_not_at_all(void **state)
{
    uint64_t total = 0;
    const fmp_create_options plain = {.size = sizeof plain};
    const fmp_create_options canceled = {.size = sizeof canceled,
                                         .n_threads = 1,
                                         .replace = true,
                                         .progress = {.fn = cancel, .ctx = &total}};
    fmp_mask_writer *w;
    fmp_error err;
    model m = {.n = 0};
    unsigned n;

    (void)state;
    make_model(&m, 0);
    put_text("m.fmp", "not ours");
    n = count_entries(at(""));
    w = new_writer("m.fmp", &plain);
    assert_status(fmp_mask_writer_finish(w, NULL, &err), FMP_EUSAGE, &err);
    w = new_writer("m.fmp", &canceled);
    assert_status(add_tensor(w, &m.t[0], &err), FMP_OK, &err);
    assert_status(fmp_mask_writer_finish(w, NULL, &err), FMP_ECANCELED, &err);
    assert_int_equal(total, 2 * m.t[0].len);
    w = new_writer("none/m.fmp", &plain);
    assert_status(fmp_mask_writer_finish(w, NULL, &err), FMP_EIO, &err);
    w = new_writer("other.fmp", &plain);
    assert_status(add_tensor(w, &m.t[0], &err), FMP_OK, &err);
    fmp_mask_writer_abort(w);
    fmp_mask_writer_abort(NULL);
    assert_int_equal(count_entries(at("")), n);
    put_text("want", "not ours");
    assert_same(at("m.fmp"), at("want"));
    remove_tree("m.fmp");
    model_free(&m);
}

static void masks_are_signed_as_patches_are(void **state)
{
    fmp_create_options o = {.size = sizeof o, .sign_comment = "a mask"};
    fmp_trust trust = {.size = sizeof trust, .require = true};
    fmp_secret_key *key;
    fmp_public_key public_key;
    fmp_keyring *ring;
    fmp_verdict verdict = FMP_UNSIGNED;
    model m = {.n = 0};
    fmp_patch *p;
    fmp_error err;

    (void)state;
    add(&m, "a", 2, 30, 30, FEW);
    assert_status(fmp_secret_key_generate(&key, &err), FMP_OK, &err);
    public_key = fmp_secret_key_public(key);
    o.keys = &key;
    o.n_keys = 1;
    put_mask(&m, "m.fmp", 0, &o);
    assert_status(fmp_keyring_new(&ring, &err), FMP_OK, &err);
    assert_status(fmp_keyring_add_key(ring, &public_key, "k", false, &err), FMP_OK, &err);
    trust.ring = ring;
    p = open_patch(at("m.fmp"));
    assert_status(fmp_patch_check_trust(p, &trust, &verdict, &err), FMP_OK, &err);
    assert_int_equal(verdict, FMP_TRUSTED);
    fmp_patch_close(p);
    assert_selected("m.fmp", &m);
    fmp_keyring_free(ring);
    fmp_secret_key_free(key);
    model_free(&m);
}

/* ---- what is refused --------------------------------------------------------------------------
 */

static void refuse_add(fmp_mask_writer *w, const char *name, uint32_t rank, const uint64_t *shape,
                       const uint64_t *idx, uint64_t n, fmp_status want, const char *word)
{
    fmp_error err = {.text = ""};

    assert_status(fmp_mask_writer_add(w, name, rank, shape, idx, n, &err), want, &err);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" lacks \"%s\"", err.text, word);
}

static void wrong_tensors_are_refused(void **state)
{
    static const uint64_t shape[2] = {3, 4};
    static const uint64_t good[3] = {0, 5, 11}, beyond[2] = {0, 12}, twice[2] = {5, 5},
                          down[2] = {5, 4}, many[13] = {0}, first_beyond[1] = {UINT64_MAX};
    static const uint64_t wrap[2] = {(uint64_t)1 << 40, (uint64_t)1 << 40}, zero[1] = {0},
                          vast[1] = {((uint64_t)4 << 40) - 11}, deep[33] = {1};
    char longest[1026];
    fmp_mask_writer *w = new_writer("m.fmp", NULL);
    fmp_create_result made;
    fmp_error err;

    (void)state;
    refuse_add(w, "a", 2, shape, beyond, 2, FMP_EUSAGE, "index 12");
    refuse_add(w, "a", 2, shape, first_beyond, 1, FMP_EUSAGE, "12 elements");
    refuse_add(w, "a", 2, shape, twice, 2, FMP_EUSAGE, "5 follows 5");
    refuse_add(w, "a", 2, shape, down, 2, FMP_EUSAGE, "4 follows 5");
    refuse_add(w, "a", 2, shape, many, 13, FMP_EUSAGE, "13 indices");
    refuse_add(w, "a", 2, shape, NULL, 11, FMP_EUSAGE, "11 indices that are not given");
    refuse_add(w, "a", 2, shape, NULL, 13, FMP_EUSAGE, "13 indices");
    refuse_add(w, "a", 1, zero, good, 1, FMP_EUSAGE, "0 elements");
    refuse_add(w, "a", 0, NULL, beyond, 2, FMP_EUSAGE, "1 elements");
    refuse_add(w, "a", 2, wrap, good, 3, FMP_EUSAGE, "shape");
    refuse_add(w, "a", 2, NULL, good, 3, FMP_EUSAGE, "shape");
    refuse_add(w, "a", 33, deep, good, 1, FMP_EUSAGE, "rank 33");
    refuse_add(w, "", 2, shape, good, 3, FMP_EUSAGE, "name");
    refuse_add(w, "__metadata__", 2, shape, good, 3, FMP_EUSAGE, "__metadata__");
    refuse_add(w, "a\nb", 2, shape, good, 3, FMP_EUSAGE, "control");
    refuse_add(w, "a\xff", 2, shape, good, 3, FMP_EUSAGE, "UTF-8");
    memset(longest, 'n', 1025);
    longest[1025] = '\0';
    refuse_add(w, longest, 2, shape, good, 3, FMP_EUSAGE, "1024");
    longest[1024] = '\0';
    assert_status(fmp_mask_writer_add(w, longest, 2, shape, good, 3, &err), FMP_OK, &err);
    refuse_add(w, "vast", 1, vast, NULL, 0, FMP_ELIMIT, "limit");
    assert_status(fmp_mask_writer_add(w, "b", 0, NULL, NULL, 1, &err), FMP_OK, &err);
    assert_status(fmp_mask_writer_finish(w, &made, &err), FMP_OK, &err);
    assert_int_equal(made.summary.n_changed, 4); /* nothing refused has left a trace */
    assert_int_equal(made.summary.n_elements, 13);
}

static void a_name_may_come_once(void **state)
{
    static const uint64_t shape[1] = {4};
    fmp_mask_writer *w = new_writer("m.fmp", NULL);
    fmp_error err;

    (void)state;
    assert_status(fmp_mask_writer_add(w, "same", 1, shape, NULL, 4, &err), FMP_OK, &err);
    assert_status(fmp_mask_writer_add(w, "other", 1, shape, NULL, 4, &err), FMP_OK, &err);
    assert_status(fmp_mask_writer_add(w, "same", 1, shape, NULL, 0, &err), FMP_OK, &err);
    assert_status(fmp_mask_writer_finish(w, NULL, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "\"same\""));
    assert_false(exists("m.fmp"));
}

/* A patch between two models of one tensor, whatever its manifest says. */
static fmp_patch *make_patch(const char *dtype, uint8_t from, uint8_t to, const char *manifest)
{
    const fmp_create_options o = {.size = sizeof o, .manifest_json = manifest, .replace = true};
    model m = {.n = 0};
    fmp_store *base, *target;
    fmp_error err;

    model_add(&m, "a", dtype, 1, 80, 0);
    memset(m.t[0].data, 0, m.t[0].len);
    m.t[0].data[20] = from;
    put_model(&m, "from.safetensors", false);
    m.t[0].data[20] = to;
    put_model(&m, "to.safetensors", false);
    base = open_store(at("from.safetensors"));
    target = open_store(at("to.safetensors"));
    assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
    fmp_store_close(base);
    fmp_store_close(target);
    model_free(&m);
    return open_patch(at("p.fmp"));
}

static void only_masks_are_masks(void **state)
{
    static const char mask[] = "{\"kind\":\"mask\"}";
    static const struct {
        const char *dtype, *manifest;
        uint8_t from, to;
        bool is_mask;
        fmp_status decode;
    } cases[] = {
        {"BOOL", mask, 0, 1, true, FMP_OK},
        {"BOOL", mask, 0, 0, true, FMP_OK},
        {"BOOL", NULL, 0, 1, false, FMP_EUSAGE},
        {"BOOL", "{\"kind\":\"masks\"}", 0, 1, false, FMP_EUSAGE},
        {"BOOL", "{\"kind\":\"mas\"}", 0, 1, false, FMP_EUSAGE},
        {"BOOL", "{\"kind\":[\"mask\"]}", 0, 1, false, FMP_EUSAGE},
        {"BOOL", "{\"task\":{\"kind\":\"mask\"}}", 0, 1, false, FMP_EUSAGE},
        {"U8", mask, 0, 1, false, FMP_EUSAGE},
        {"F32", mask, 0, 1, false, FMP_EUSAGE},
        {"BOOL", mask, 0, 2, true, FMP_ECORRUPT},
        {"BOOL", mask, 1, 0, true, FMP_ECORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fmp_patch *p = make_patch(cases[i].dtype, cases[i].from, cases[i].to, cases[i].manifest);
        uint64_t idx[100], count;
        size_t n = 77;
        fmp_error err;

        assert_int_equal(fmp_patch_is_mask(p), cases[i].is_mask);
        assert_status(fmp_mask_decode(p, 0, idx, 100, &n, &err), cases[i].decode, &err);
        assert_status(fmp_mask_count(p, 0, &count, &err), cases[i].decode, &err);
        assert_int_equal(n, cases[i].decode ? 77 : cases[i].to);
        assert_status(fmp_mask_decode(p, 1, idx, 100, &n, &err), FMP_EUSAGE, &err);
        fmp_patch_close(p);
    }
}

/* A renamed, added, removed or reshaped tensor has no place in a mask. */
static void a_mask_has_one_shape_on_both_sides(void **state)
{
    const fmp_create_options o = {
        .size = sizeof o, .manifest_json = "{\"kind\":\"mask\"}", .replace = true};
    fmp_store *base, *target;
    model m = {.n = 0};
    fmp_patch *p;
    fmp_error err;

    (void)state;
    add(&m, "a", 2, 8, 10, NONE);
    put_model(&m, "from.safetensors", false);
    for (unsigned i = 0; i < 3; i++) {
        if (i == 0)
            m.t[0].shape[0] = 10, m.t[0].shape[1] = 8; /* the same bytes */
        else if (i == 1)
            model_add(&m, "b", "BOOL", 1, 3, 0);
        else
            model_drop(&m, 0);
        put_model(&m, "to.safetensors", false);
        base = open_store(at("from.safetensors"));
        target = open_store(at("to.safetensors"));
        assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
        p = open_patch(at("p.fmp"));
        assert_false(fmp_patch_is_mask(p));
        fmp_patch_close(p);
        fmp_store_close(base);
        fmp_store_close(target);
    }
    model_free(&m);
}

static void a_mask_takes_nothing_from_elsewhere(void **state)
{
    const char *renames[] = {"a=b"};
    const fmp_create_options o = {.size = sizeof o,
                                  .manifest_json = "{\"kind\":\"mask\"}",
                                  .renames = renames,
                                  .n_renames = 1};
    fmp_store *base, *target;
    model m = {.n = 0};
    fmp_patch *p;
    fmp_error err;

    (void)state;
    add(&m, "a", 1, 80, 0, NONE);
    add(&m, "b", 1, 80, 0, NONE);
    put_model(&m, "from.safetensors", false);
    m.t[1].data[5] = 1;
    put_model(&m, "to.safetensors", false);
    base = open_store(at("from.safetensors"));
    target = open_store(at("to.safetensors"));
    assert_status(fmp_create(base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
    p = open_patch(at("p.fmp"));
    assert_int_equal(fmp_patch_tensor_at(p, 1).state, FMP_RESIDUAL);
    assert_string_equal(fmp_patch_tensor_at(p, 1).source, "a");
    assert_false(fmp_patch_is_mask(p));
    fmp_patch_close(p);
    fmp_store_close(base);
    fmp_store_close(target);
    model_free(&m);
}

static void every_truncation_is_refused(void **state)
{
    model m = {.n = 0};
    uint8_t *bytes;
    size_t len;
    fmp_error err;

    (void)state;
    rng_seed(9);
    add(&m, "a", 2, 40, 40, FEW);
    add(&m, "b", 1, 40, 0, ALL);
    put_mask(&m, "m.fmp", 0, NULL);
    bytes = read_all(at("m.fmp"), &len);
    for (size_t n = 0; n < len; n++) {
        fmp_patch *p = NULL;

        put_file("cut.fmp", bytes, n);
        assert_status(fmp_patch_open(at("cut.fmp"), NULL, &p, &err), FMP_ECORRUPT, &err);
        assert_null(p);
    }
    free(bytes);
    model_free(&m);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static fmp_status write_small(const model *m, fmp_error *err)
{
    const fmp_create_options o = {.size = sizeof o, .n_threads = 1};
    fmp_mask_writer *w = NULL;
    fmp_status st = fmp_mask_writer_new(at("s.fmp"), &o, &w, err);

    for (unsigned i = 0; i < m->n && !st; i++)
        st = add_tensor(w, &m->t[i], err);
    if (st) {
        fmp_mask_writer_abort(w);
        return st;
    }
    return fmp_mask_writer_finish(w, NULL, err);
}

static void writing_survives_every_failed_allocation(void **state)
{
    const unsigned n = count_entries(at(""));
    model m = {.n = 0};
    fmp_status st = FMP_ENOMEM;
    long k = 0;

    (void)state;
    add(&m, "a", 2, 40, 40, FEW);
    add(&m, "b", 1, 40, 0, ALL);
    add(&m, "c", 0, 0, 0, NONE);
    for (; st; k++) {
        fmp_error err = {0};

        fmp_alloc_fail_at(k);
        st = write_small(&m, &err);
        fmp_alloc_fail_at(-1);
        if (st && (st != FMP_ENOMEM || err.status != FMP_ENOMEM))
            fail_msg("allocation %ld: %s: %s", k, fmp_status_name(st), err.text);
        if (st && count_entries(at("")) != n)
            fail_msg("allocation %ld failed and left a file behind", k);
        assert_true(k < 100000);
    }
    assert_true(k > 30);
    assert_selected("s.fmp", &m);
    model_free(&m);
}

static void reading_survives_every_failed_allocation(void **state)
{
    fmp_status st = FMP_ENOMEM;
    model m = {.n = 0};
    uint64_t idx[100];
    size_t n = 0;
    long k = 0;
    fmp_patch *p;

    (void)state;
    add(&m, "a", 2, 40, 40, FEW);
    add(&m, "b", 1, 40, 0, ALL);
    put_mask(&m, "m.fmp", 0, NULL);
    model_free(&m);
    p = open_patch(at("m.fmp"));
    for (; st; k++) {
        fmp_error err = {0};

        fmp_alloc_fail_at(k);
        st = fmp_mask_decode(p, 1, idx, 100, &n, &err);
        fmp_alloc_fail_at(-1);
        if (st)
            assert_status(st, FMP_ENOMEM, &err);
        assert_true(k < 1000);
    }
    assert_true(k > 3);
    assert_int_equal(n, 40);
    assert_int_equal(idx[39], 39);
    fmp_patch_close(p);
}

#define in_its_own_folder(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_its_own_folder(selections_come_back),
        in_its_own_folder(masks_without_tensors_or_selection_are_masks),
        in_its_own_folder(the_verbs_know_masks_as_patches),
        in_its_own_folder(equal_selections_are_equal_files),
        in_its_own_folder(ones_cost_nothing),
        in_its_own_folder(equal_tensors_are_no_aliases),
        in_its_own_folder(options_that_make_no_sense_are_refused),
        in_its_own_folder(the_manifest_keeps_what_it_is_given),
        in_its_own_folder(outputs_appear_whole_or_not_at_all),
        in_its_own_folder(masks_are_signed_as_patches_are),
        in_its_own_folder(wrong_tensors_are_refused),
        in_its_own_folder(a_name_may_come_once),
        in_its_own_folder(only_masks_are_masks),
        in_its_own_folder(a_mask_has_one_shape_on_both_sides),
        in_its_own_folder(a_mask_takes_nothing_from_elsewhere),
        in_its_own_folder(every_truncation_is_refused),
        in_its_own_folder(writing_survives_every_failed_allocation),
        in_its_own_folder(reading_survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
