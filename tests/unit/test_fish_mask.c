/*
 * Masks: what sets obey, splitting, and that a file gives back what was saved.
 */
#include "score_support.h"

#include "score/maskparts.h"

/* ---- masks to work with -----------------------------------------------------------------------
 */

static fmp_store *open_scores(uint64_t seed, bool tied)
{
    float *values = malloc((size_t)model_elements() * sizeof *values);

    assert_non_null(values);
    (tied ? fill_tied : fill_smooth)(values, seed);
    put_model("scores", values, "head.weight");
    free(values);
    return open_store(at("scores"));
}

static fish_mask *best_of(const fmp_store *scores, uint64_t k, fish_scope scope)
{
    const fish_select_options o = {.size = sizeof o, .k = k, .scope = scope, .n_threads = 2};
    fish_mask *m = NULL;
    fmp_error err;

    assert_status(fish_select(scores, at("scores"), &o, &m, NULL, NULL, &err), FMP_OK, &err);
    return m;
}

static fish_mask *combine(const fish_mask *a, const fish_mask *b, fish_set_op op)
{
    fish_mask *m = NULL;
    fmp_error err;

    assert_status(fish_mask_combine(a, b, op, &m, &err), FMP_OK, &err);
    check_mask(m);
    return m;
}

/* One byte an element, in the order of the mask. */
static uint8_t *bits_of(const fish_mask *m)
{
    uint8_t *bits = calloc(m->n_elements, 1);
    uint64_t first = 0;

    assert_non_null(bits);
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const fish_mask_tensor *t = &m->tensors[i];

        for (uint64_t j = 0; j < t->n; j++)
            bits[first + fish_mask_at(t, j)] = 1;
        first += t->n_elements;
    }
    return bits;
}

/* ---- sets -------------------------------------------------------------------------------------
 */

static void assert_operation(const fish_mask *a, const fish_mask *b, fish_set_op op)
{
    fish_mask *m = combine(a, b, op);
    uint8_t *x = bits_of(a), *y = bits_of(b), *z = bits_of(m);

    for (uint64_t e = 0; e < m->n_elements; e++) {
        const uint8_t want = op == FISH_UNION       ? x[e] | y[e]
                             : op == FISH_INTERSECT ? x[e] & y[e]
                             : op == FISH_SUBTRACT  ? x[e] & !y[e]
                                                    : x[e] ^ y[e];

        assert_int_equal(z[e], want);
    }
    free(x);
    free(y);
    free(z);
    fish_mask_free(m);
}

static void operations_are_those_of_sets(void **state)
{
    fmp_store *first = open_scores(1, false), *second;
    fish_mask *masks[5];

    (void)state;
    masks[0] = best_of(first, 5000, FISH_GLOBAL);
    masks[1] = best_of(first, 100000, FISH_ROWS);
    masks[2] = best_of(first, 281820, FISH_GLOBAL); /* all */
    fmp_store_close(first);
    second = open_scores(2, true);
    masks[3] = best_of(second, 20000, FISH_PER_TENSOR);
    masks[4] = combine(masks[0], masks[0], FISH_XOR); /* none */
    assert_int_equal(masks[4]->n, 0);
    fmp_store_close(second);
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 5; j++) {
            for (unsigned op = FISH_UNION; op <= FISH_XOR; op++)
                assert_operation(masks[i], masks[j], (fish_set_op)op);
        }
    }
    for (size_t i = 0; i < 5; i++)
        fish_mask_free(masks[i]);
}

static void sets_obey_their_laws(void **state)
{
    fmp_store *scores = open_scores(3, false);
    fish_mask *a = best_of(scores, 9000, FISH_GLOBAL), *b = best_of(scores, 7000, FISH_BLOCKS);
    fish_mask *both = combine(a, b, FISH_INTERSECT), *either = combine(a, b, FISH_UNION);
    fish_mask *one = combine(a, b, FISH_XOR), *m, *k;

    (void)state;
    assert_int_equal(either->n + both->n, a->n + b->n);
    m = combine(either, both, FISH_SUBTRACT); /* xor = union - intersection */
    for (uint32_t i = 0; i < m->n_tensors; i++)
        assert_int_equal(m->tensors[i].n, one->tensors[i].n);
    fish_mask_free(m);
    m = combine(b, a, FISH_UNION); /* commutes */
    assert_same_masks(m, either);
    fish_mask_free(m);
    m = combine(a, a, FISH_UNION); /* idempotent */
    assert_same_masks(m, a);
    fish_mask_free(m);
    m = combine(a, both, FISH_UNION); /* absorbs */
    assert_same_masks(m, a);
    fish_mask_free(m);
    k = combine(a, b, FISH_SUBTRACT); /* a = (a - b) + (a and b) */
    m = combine(k, both, FISH_UNION);
    assert_same_masks(m, a);
    fish_mask_free(m);
    fish_mask_free(k);
    fish_mask_free(a);
    fish_mask_free(b);
    fish_mask_free(both);
    fish_mask_free(either);
    fish_mask_free(one);
    fmp_store_close(scores);
}

static void jaccard_is_a_share(void **state)
{
    fmp_store *scores = open_scores(4, false);
    fish_mask *a = best_of(scores, 4069, FISH_GLOBAL), *b = best_of(scores, 1069, FISH_GLOBAL);
    fish_mask *none = combine(a, a, FISH_SUBTRACT);
    uint64_t both, either;
    double share;
    fmp_error err;

    (void)state;
    assert_status(fish_mask_jaccard(a, b, &share, &both, &either, &err), FMP_OK, &err);
    assert_int_equal(both, 1069);
    assert_int_equal(either, 4069);
    assert_true(share == 1069.0 / 4069.0);
    assert_status(fish_mask_jaccard(a, a, &share, NULL, NULL, &err), FMP_OK, &err);
    assert_true(share == 1);
    assert_status(fish_mask_jaccard(a, none, &share, &both, &either, &err), FMP_OK, &err);
    assert_true(share == 0);
    assert_status(fish_mask_jaccard(none, none, &share, &both, &either, &err), FMP_OK, &err);
    assert_true(share == 1);
    assert_int_equal(either, 0);
    fish_mask_free(a);
    fish_mask_free(b);
    fish_mask_free(none);
    fmp_store_close(scores);
}

/* Two tensors "a" [2, 3] and `name` of `shape`; nothing selected. */
static fish_mask *make_mask(const char *name, uint64_t rows, bool third)
{
    const uint64_t a[2] = {2, 3}, b[2] = {rows, 2};
    fish_mask *m = NULL;
    fmp_error err;

    assert_status(fish_mask_new(third ? 3 : 2, &m, &err), FMP_OK, &err);
    assert_status(fish_mask_describe(m, 0, "a", 2, a, 6, &err), FMP_OK, &err);
    assert_status(fish_mask_describe(m, 1, name, 2, b, 2 * rows, &err), FMP_OK, &err);
    if (third)
        assert_status(fish_mask_describe(m, 2, "z", 0, NULL, 1, &err), FMP_OK, &err);
    return m;
}

static void masks_of_two_models_are_told_apart(void **state)
{
    fish_mask *m = make_mask("b", 2, false);
    fish_mask *others[] = {make_mask("c", 2, false), make_mask("b", 3, false),
                           make_mask("b", 2, true)};
    static const char *const named[] = {"\"b\"", "\"b\" has another shape", "\"z\""};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fish_mask *ret = NULL;
        double share = 7;
        fmp_error err;

        assert_status(fish_mask_combine(m, others[i], FISH_UNION, &ret, &err), FMP_EUSAGE, &err);
        assert_null(ret);
        assert_non_null(strstr(err.text, named[i]));
        assert_status(fish_mask_jaccard(others[i], m, &share, NULL, NULL, &err), FMP_EUSAGE, &err);
        assert_true(share == 7);
        fish_mask_free(others[i]);
    }
    fish_mask_free(m);
}

/* ---- splits -----------------------------------------------------------------------------------
 */

typedef struct scored {
    double score;
    uint64_t order;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a;
    const scored *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* The part of every element by rank; -1 where none. */
static int *deal_slowly(const fish_mask *m, const fmp_store *scores, uint32_t n)
{
    int *part = malloc(m->n_elements * sizeof *part);
    scored *all = malloc(m->n_elements * sizeof *all);
    uint64_t first = 0;
    size_t n_all = 0;
    fmp_error err;

    assert_non_null(part);
    assert_non_null(all);
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const fish_mask_tensor *t = &m->tensors[i];
        const uint32_t at_store = fmp_store_find(scores, t->name, strlen(t->name));

        for (uint64_t e = 0; e < t->n_elements; e++)
            part[first + e] = -1;
        for (uint64_t j = 0; j < t->n; j++) {
            float x;

            assert_status(fmp_store_read(scores, at_store, 4 * fish_mask_at(t, j), &x, 4, &err),
                          FMP_OK, &err);
            if (!t->head)
                all[n_all++] = (scored){(double)x, first + fish_mask_at(t, j)};
        }
        first += t->n_elements;
    }
    qsort(all, n_all, sizeof *all, by_score);
    for (size_t r = 0; r < n_all; r++)
        part[all[r].order] = (int)(r % n);
    free(all);
    return part;
}

static void check_split(const fish_mask *m, const fmp_store *scores, uint32_t n)
{
    fish_mask **parts = calloc(n, sizeof *parts);
    int *want = deal_slowly(m, scores, n);
    uint64_t body = 0, head = 0;
    fmp_error err;

    assert_non_null(parts);
    assert_status(fish_mask_split(m, scores, n, parts, &err), FMP_OK, &err);
    for (uint32_t i = 0; i < m->n_tensors; i++)
        head += m->tensors[i].head ? m->tensors[i].n : 0;
    for (uint32_t p = 0; p < n; p++) {
        uint8_t *bits = bits_of(parts[p]);
        uint64_t first = 0;

        check_mask(parts[p]);
        assert_in_range(parts[p]->n - head, (m->n - head) / n, (m->n - head + n - 1) / n);
        body += parts[p]->n - head;
        for (uint32_t i = 0; i < m->n_tensors; i++) {
            const fish_mask_tensor *t = &parts[p]->tensors[i];

            assert_int_equal(t->head, m->tensors[i].head);
            for (uint64_t e = 0; e < t->n_elements; e++)
                assert_int_equal(bits[first + e], t->head || want[first + e] == (int)p);
            first += t->n_elements;
        }
        free(bits);
        fish_mask_free(parts[p]);
    }
    assert_int_equal(body + head, m->n); /* complete */
    free(parts);
    free(want);
}

static void parts_are_disjoint_and_complete(void **state)
{
    (void)state;
    for (unsigned tied = 0; tied < 2; tied++) {
        fmp_store *scores = open_scores(5, tied);
        fish_mask *few = best_of(scores, 3001, FISH_GLOBAL);
        fish_mask *most = best_of(scores, 281000, FISH_GLOBAL);
        fish_mask *all = best_of(scores, 281820, FISH_GLOBAL);

        check_split(few, scores, 1);
        check_split(few, scores, 2);
        check_split(few, scores, 3);
        check_split(few, scores, 3000); /* more than there are */
        check_split(most, scores, 2);
        check_split(all, scores, 5);
        fish_mask_free(few);
        fish_mask_free(most);
        fish_mask_free(all);
        fmp_store_close(scores);
    }
}

static void splits_that_make_no_sense_are_refused(void **state)
{
    fmp_store *scores = open_scores(5, false);
    fish_mask *m = best_of(scores, 3001, FISH_GLOBAL), *other = make_mask("b", 2, false);
    fish_mask *parts[2] = {NULL, NULL};
    fmp_error err;

    (void)state;
    assert_status(fish_mask_split(m, scores, 0, parts, &err), FMP_EUSAGE, &err);
    assert_status(fish_mask_split(m, scores, 65536, parts, &err), FMP_EUSAGE, &err);
    fish_mask_set(other, 0, NULL, 6);
    assert_status(fish_mask_split(other, scores, 2, parts, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "\"a\""));
    fish_mask_free(other);
    fish_mask_free(m);
    fmp_store_close(scores);
}

/* ---- files ------------------------------------------------------------------------------------
 */

static void save(const fish_mask *m, const char *name, const char *method)
{
    fmp_error err;

    assert_status(fish_mask_save(m, at(name), true, method, NULL, 0, &err), FMP_OK, &err);
}

static void assert_round_trip(const fish_mask *m)
{
    fish_mask *back = NULL;
    fmp_error err;

    save(m, "m.fmp", NULL);
    assert_status(fish_mask_load(at("m.fmp"), &back, &err), FMP_OK, &err);
    check_mask(back);
    assert_same_masks(m, back);
    fish_mask_free(back);
}

static void a_file_gives_back_what_was_saved(void **state)
{
    fmp_store *scores = open_scores(6, false);
    fish_mask *few = best_of(scores, 70, FISH_GLOBAL), *some = best_of(scores, 3000, FISH_ROWS);
    fish_mask *all = best_of(scores, 281820, FISH_GLOBAL);
    fish_mask *none = combine(few, few, FISH_XOR);

    (void)state;
    assert_round_trip(few);
    assert_round_trip(some);
    assert_round_trip(all);
    assert_round_trip(none);
    fish_mask_free(few);
    fish_mask_free(some);
    fish_mask_free(all);
    fish_mask_free(none);
    fmp_store_close(scores);
}

static void the_manifest_says_how_it_was_made(void **state)
{
    fmp_store *scores = open_scores(6, false);
    fish_mask *m = best_of(scores, 3000, FISH_GLOBAL), *twice = NULL;
    fmp_patch *patch = NULL;
    fmp_error err;

    (void)state;
    save(m, "m.fmp", "{\"name\":\"fish\",\"k\":3000}");
    assert_status(fmp_patch_open(at("m.fmp"), NULL, &patch, &err), FMP_OK, &err);
    assert_true(fmp_patch_is_mask(patch));
    assert_non_null(strstr(fmp_patch_manifest(patch), "\"kind\":\"mask\""));
    assert_non_null(strstr(fmp_patch_manifest(patch),
                           "\"method\":{\"head\":[\"head.weight\"],\"k\":3000,\"name\":\"fish\"}"));
    fmp_patch_close(patch);
    assert_status(fish_mask_save(m, at("m.fmp"), false, NULL, NULL, 0, &err), FMP_EUSAGE, &err);
    assert_status(fish_mask_save(m, at("n.fmp"), false, "[1]", NULL, 0, &err), FMP_EUSAGE, &err);
    assert_status(fish_mask_save(m, at("n.fmp"), false, "{", NULL, 0, &err), FMP_EUSAGE, &err);
    assert_status(fish_mask_load(at("n.fmp"), &twice, &err), FMP_EIO, &err);
    assert_null(twice);
    fish_mask_free(m);
    fmp_store_close(scores);
}

static void other_files_are_no_masks(void **state)
{
    float *values = calloc((size_t)model_elements(), sizeof *values);
    fmp_store *base = open_scores(1, false), *target;
    const fmp_create_options how = {.size = sizeof how, .replace = true};
    fish_mask *m = NULL;
    fmp_error err;

    (void)state;
    assert_non_null(values);
    put_model("target", values, NULL);
    free(values);
    target = open_store(at("target"));
    assert_status(fmp_create(base, target, at("p.fmp"), &how, NULL, &err), FMP_OK, &err);
    assert_status(fish_mask_load(at("p.fmp"), &m, &err), FMP_EUSAGE, &err);
    assert_non_null(strstr(err.text, "no mask"));
    assert_status(fish_mask_load(at("scores"), &m, &err), FMP_ECORRUPT, &err);
    assert_status(fish_mask_load(at("nothing"), &m, &err), FMP_EIO, &err);
    assert_null(m);
    fmp_store_close(base);
    fmp_store_close(target);
}

/* A mask of "a" [2, 3] whole and of "b" [2, 2] in part, with this method in its manifest. */
static void put_small(const char *name, const char *manifest)
{
    const uint64_t a[2] = {2, 3}, b[2] = {2, 2}, idx[] = {1, 3};
    const fmp_create_options o = {.size = sizeof o, .replace = true, .manifest_json = manifest};
    fmp_mask_writer *w = NULL;
    fmp_error err;

    assert_status(fmp_mask_writer_new(at(name), &o, &w, &err), FMP_OK, &err);
    assert_status(fmp_mask_writer_add(w, "a", 2, a, NULL, 6, &err), FMP_OK, &err);
    assert_status(fmp_mask_writer_add(w, "b", 2, b, idx, 2, &err), FMP_OK, &err);
    assert_status(fmp_mask_writer_finish(w, NULL, &err), FMP_OK, &err);
}

static void a_head_that_cannot_be_is_refused(void **state)
{
    static const struct {
        const char *manifest, *text;
    } bad[] = {
        {"{\"method\":{\"head\":\"a\"}}", "no array"},
        {"{\"method\":{\"head\":[\"c\"]}}", "\"c\" is missing"},
        {"{\"method\":{\"head\":[7]}}", "missing"},
        {"{\"method\":{\"head\":[\"a\",\"b\"]}}", "\"b\" is not selected whole"},
    };
    fish_mask *m = NULL;
    fmp_error err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_small("h.fmp", bad[i].manifest);
        assert_status(fish_mask_load(at("h.fmp"), &m, &err), FMP_ECORRUPT, &err);
        assert_null(m);
        if (!strstr(err.text, bad[i].text))
            fail_msg("'%s' is not in: %s", bad[i].text, err.text);
    }
    put_small("h.fmp", "{\"method\":{\"head\":[\"a\"]}}");
    assert_status(fish_mask_load(at("h.fmp"), &m, &err), FMP_OK, &err);
    assert_true(m->tensors[0].head && m->tensors[0].full);
    assert_false(m->tensors[1].head);
    assert_int_equal(m->tensors[1].n, 2);
    fish_mask_free(m);
}

static void every_truncation_is_refused(void **state)
{
    uint8_t bytes[8192];
    size_t len;
    FILE *f;

    (void)state;
    put_small("t.fmp", NULL);
    f = fopen(at("t.fmp"), "rb");
    assert_non_null(f);
    len = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_in_range(len, 300, sizeof bytes - 1);
    for (size_t n = 0; n < len; n++) {
        fish_mask *m = NULL;
        fmp_error err;

        put_file("short.fmp", bytes, n);
        assert_status(fish_mask_load(at("short.fmp"), &m, &err), FMP_ECORRUPT, &err);
        assert_null(m);
    }
}

/* ---- memory -----------------------------------------------------------------------------------
 */

typedef fmp_status (*work_fn)(const fish_mask *m, const fmp_store *scores, fish_mask **ret,
                              fmp_error *err);

static fmp_status do_load(const fish_mask *m, const fmp_store *scores, fish_mask **ret,
                          fmp_error *err)
{
    (void)m;
    (void)scores;
    return fish_mask_load(at("m.fmp"), ret, err);
}

static fmp_status do_combine(const fish_mask *m, const fmp_store *scores, fish_mask **ret,
                             fmp_error *err)
{
    (void)scores;
    return fish_mask_combine(m, m, FISH_UNION, ret, err);
}

static fmp_status do_split(const fish_mask *m, const fmp_store *scores, fish_mask **ret,
                           fmp_error *err)
{
    fish_mask *parts[2];
    const fmp_status st = fish_mask_split(m, scores, 2, parts, err);

    if (!st) {
        fish_mask_free(parts[0]);
        *ret = parts[1];
    }
    return st;
}

static void every_failed_allocation_is_survived(void **state)
{
    static const work_fn works[] = {do_load, do_combine, do_split};
    fmp_store *scores = open_scores(7, false);
    fish_mask *m = best_of(scores, 3000, FISH_GLOBAL);

    (void)state;
    save(m, "m.fmp", NULL);
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        fmp_status st = FMP_ENOMEM;
        long k = 0;

        for (; st; k++) {
            fish_mask *ret = NULL;
            fmp_error err;

            fish_alloc_fail_at(k);
            st = works[i](m, scores, &ret, &err);
            fish_alloc_fail_at(-1);
            if (st)
                assert_status(st, FMP_ENOMEM, &err);
            assert_int_equal(!st, ret != NULL);
            fish_mask_free(ret);
        }
        assert_in_range(k, 10, 1000); /* some did fail */
    }
    fish_mask_free(m);
    fmp_store_close(scores);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_are_those_of_sets),
        cmocka_unit_test(sets_obey_their_laws),
        cmocka_unit_test(jaccard_is_a_share),
        cmocka_unit_test(masks_of_two_models_are_told_apart),
        cmocka_unit_test(parts_are_disjoint_and_complete),
        cmocka_unit_test(splits_that_make_no_sense_are_refused),
        cmocka_unit_test(a_file_gives_back_what_was_saved),
        cmocka_unit_test(the_manifest_says_how_it_was_made),
        cmocka_unit_test(other_files_are_no_masks),
        cmocka_unit_test(a_head_that_cannot_be_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
