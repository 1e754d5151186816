/*
 * Batches of examples, and the order of an epoch.
 */
#include "fish_scratch.h"

#define N_TEXTS  1000u
#define N_IMAGES 70u

static fish_tokenizer *tokenizer;
static fish_data *texts;  /* example e is "one" length_of(e) - 2 times, label e % 3 */
static fish_data *images; /* 1 x 2; example e is e, 255 - e; label e % 5 */

static uint32_t length_of(uint32_t e)
{
    return 2 + e * 7919 % 41;
}

static int open_all(void **state)
{
    const fish_data_options o = {.max_tokens = 64};
    fish_data_options with = o;
    unsigned char idx[16 + 2 * N_IMAGES] = {0, 0, 8, 3, 0, 0, 0, N_IMAGES, 0, 0, 0, 1, 0, 0, 0, 2};
    unsigned char labels[8 + N_IMAGES] = {0, 0, 8, 1, 0, 0, 0, N_IMAGES};
    const size_t cap = 1 << 18;
    char *text = malloc(cap);
    size_t len;

    if (!text || scratch_open(state))
        return -1;
    len = (size_t)snprintf(text, cap, "text,label\n");
    for (uint32_t e = 0; e < N_TEXTS; e++) {
        for (uint32_t i = 2; i < length_of(e); i++)
            len += (size_t)snprintf(text + len, cap - len, "one ");
        len += (size_t)snprintf(text + len, cap - len, ",%u\n", e % 3);
    }
    for (uint32_t e = 0; e < N_IMAGES; e++) {
        idx[16 + 2 * e] = (unsigned char)e;
        idx[17 + 2 * e] = (unsigned char)(255 - e);
        labels[8 + e] = (unsigned char)(e % 5);
    }
    tokenizer = scratch_tokenizer();
    with.tokenizer = tokenizer;
    (void)scratch_file("b-labels-idx1-ubyte", labels, sizeof labels);
    if (fish_data_open(scratch_file("b.csv", text, len), &with, &texts, NULL) ||
        fish_data_open(scratch_file("b-images-idx3-ubyte", idx, sizeof idx), &o, &images, NULL))
        return -1;
    free(text);
    return 0;
}

static int close_all(void **state)
{
    fish_data_free(texts);
    fish_data_free(images);
    fish_tokenizer_free(tokenizer);
    return scratch_close(state);
}

static fish_batch_buf *new_buf(void)
{
    fish_batch_buf *b = fish_batch_buf_new();

    assert_non_null(b);
    return b;
}

static void assert_text_batch(const fish_batch *b, const uint32_t *examples, uint32_t n)
{
    assert_int_equal(b->n, n);
    assert_null(b->pixels);
    assert_int_equal(b->start[0], 0);
    for (uint32_t i = 0; i < n; i++) {
        const int32_t *ids = b->ids + b->start[i];
        const uint32_t len = length_of(examples[i]);

        assert_int_equal(b->example[i], examples[i]);
        assert_int_equal(b->label[i], examples[i] % 3);
        assert_int_equal(b->start[i + 1] - b->start[i], len);
        assert_string_equal(scratch_vocab[ids[0]], "[CLS]");
        assert_string_equal(scratch_vocab[ids[len - 1]], "[SEP]");
        for (uint32_t k = 1; k + 1 < len; k++)
            assert_string_equal(scratch_vocab[ids[k]], "one");
        for (uint32_t k = 0; k < len; k++)
            assert_int_equal(b->types[b->start[i] + k], 0);
    }
}

/* Batches of growing and shrinking size through one buffer; one example may come twice. */
static void texts_are_packed(void **state)
{
    fish_batch_buf *buf = new_buf();
    uint32_t examples[200];
    fish_batch b;
    fmp_error err;

    (void)state;
    for (uint32_t n = 1; n <= 200; n = n < 20 ? n + 1 : n * 2) {
        for (uint32_t i = 0; i < n; i++)
            examples[i] = (i / 2 * 577 + n) % N_TEXTS;
        assert_status(fish_batch_fill(buf, texts, examples, n, &b, &err), FMP_OK, &err);
        assert_text_batch(&b, examples, n);
        assert_status(fish_batch_fill(buf, texts, examples, 1, &b, &err), FMP_OK, &err);
        assert_text_batch(&b, examples, 1);
    }
    fish_batch_buf_free(buf);
}

static void images_lie_side_by_side(void **state)
{
    static const uint32_t examples[] = {69, 0, 7, 7};
    fish_batch_buf *buf = new_buf();
    fish_batch b;
    fmp_error err;

    (void)state;
    assert_status(fish_batch_fill(buf, images, examples, 4, &b, &err), FMP_OK, &err);
    assert_int_equal(b.n, 4);
    assert_null(b.ids);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(b.start[i], i);
        assert_int_equal(b.label[i], examples[i] % 5);
        assert_true(b.pixels[2 * i] == (float)((examples[i] / 255.0 - 0.5) / 0.5));
        assert_true(b.pixels[2 * i + 1] == (float)(((255 - examples[i]) / 255.0 - 0.5) / 0.5));
    }
    assert_int_equal(b.start[4], 4);
    /* The same buffer serves texts, and the other way round. */
    assert_status(fish_batch_fill(buf, texts, examples, 4, &b, &err), FMP_OK, &err);
    assert_text_batch(&b, examples, 4);
    fish_batch_buf_free(buf);
}

static void batches_can_be_empty_or_wrong(void **state)
{
    const uint32_t outside[] = {1, N_TEXTS};
    fish_batch_buf *buf = new_buf();
    fish_batch b = {.n = 77};
    fmp_error err;

    (void)state;
    assert_status(fish_batch_fill(buf, texts, outside, 2, &b, &err), FMP_EUSAGE, &err);
    assert_int_equal(b.n, 77);
    assert_status(fish_batch_fill(buf, texts, outside, 0, &b, &err), FMP_OK, &err);
    assert_int_equal(b.n, 0);
    assert_int_equal(b.start[0], 0);
    fish_batch_buf_free(buf);
    fish_batch_buf_free(NULL);
}

/* After any failure the buffer can be filled again. */
static void every_failed_allocation_is_reported(void **state)
{
    static const uint32_t examples[] = {3, 1, 2};
    const fish_data *const sets[] = {texts, images};

    (void)state;
    for (int s = 0; s < 2; s++) {
        fmp_status st = FMP_ENOMEM;
        long k;

        for (k = 0; st; k++) {
            fish_batch_buf *buf = new_buf();
            fish_batch b;
            fmp_error err;

            fish_alloc_fail_at(k);
            st = fish_batch_fill(buf, sets[s], examples, 3, &b, &err);
            fish_alloc_fail_at(-1);
            if (st)
                assert_status(st, FMP_ENOMEM, &err);
            assert_status(fish_batch_fill(buf, sets[s], examples, 2, &b, &err), FMP_OK, &err);
            assert_int_equal(b.example[1], 1);
            fish_batch_buf_free(buf);
        }
        assert_true(k > (s ? 5 : 9));
    }
}

/* ---- the order ---- */

static void epoch(const fish_data *d, const uint32_t *subset, uint32_t n, uint64_t seed,
                  uint32_t number, uint32_t batch_size, uint32_t *order)
{
    fmp_error err;

    assert_status(fish_epoch_order(d, subset, n, seed, number, batch_size, order, &err), FMP_OK,
                  &err);
}

static void assert_permutation(const uint32_t *order, const uint32_t *of, uint32_t n)
{
    unsigned char seen[N_TEXTS] = {0};

    for (uint32_t i = 0; i < n; i++)
        seen[of ? of[i] : i]++;
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(seen[order[i]]--, 1);
}

static uint32_t n_same(const uint32_t *a, const uint32_t *b, uint32_t n)
{
    uint32_t same = 0;

    for (uint32_t i = 0; i < n; i++)
        same += a[i] == b[i];
    return same;
}

/* Every example once; other seeds and epochs give other orders, the same ones the same. */
static void an_epoch_is_a_permutation(void **state)
{
    uint32_t a[N_TEXTS];
    uint32_t b[N_TEXTS];
    const fish_data *const sets[] = {texts, images};

    (void)state;
    for (int s = 0; s < 2; s++) {
        const uint32_t n = fish_data_count(sets[s]);

        epoch(sets[s], NULL, n, 1, 0, 4, a);
        assert_permutation(a, NULL, n);
        epoch(sets[s], NULL, n, 1, 0, 4, b);
        assert_memory_equal(a, b, n * sizeof *a);
        epoch(sets[s], NULL, n, 1, 1, 4, b);
        assert_permutation(b, NULL, n);
        assert_true(n_same(a, b, n) < n / 8);
        epoch(sets[s], NULL, n, 2, 0, 4, b);
        assert_true(n_same(a, b, n) < n / 8);
    }
}

static void subsets_stay_subsets(void **state)
{
    uint32_t subset[100];
    uint32_t order[100];
    fmp_error err;

    (void)state;
    for (uint32_t i = 0; i < 100; i++)
        subset[i] = 999 - 3 * i;
    epoch(texts, subset, 100, 5, 2, 8, order);
    assert_permutation(order, subset, 100);
    subset[50] = N_TEXTS;
    assert_status(fish_epoch_order(texts, subset, 100, 5, 2, 8, order, &err), FMP_EUSAGE, &err);
    assert_status(fish_epoch_order(texts, NULL, 10, 5, 2, 0, order, &err), FMP_EUSAGE, &err);
    assert_status(fish_epoch_order(texts, NULL, 1001, 5, 2, 8, order, &err), FMP_EUSAGE, &err);
    assert_status(fish_epoch_order(texts, NULL, 0, 5, 2, 8, order, &err), FMP_OK, &err);
}

static uint32_t lowest(const uint32_t *order, uint32_t n)
{
    uint32_t low = UINT32_MAX;

    for (uint32_t i = 0; i < n; i++)
        low = length_of(order[i]) < low ? length_of(order[i]) : low;
    return low;
}

static uint32_t highest(const uint32_t *order, uint32_t n)
{
    uint32_t high = 0;

    for (uint32_t i = 0; i < n; i++)
        high = length_of(order[i]) > high ? length_of(order[i]) : high;
    return high;
}

/* Of any two batches of a window, one has no text longer than any of the other. */
static void windows_are_sorted_and_batches_shuffled(void **state)
{
    const uint32_t size = 8;
    const uint32_t window = 32 * size;
    uint32_t order[N_TEXTS];
    uint32_t descents = 0;

    (void)state;
    epoch(texts, NULL, N_TEXTS, 3, 0, size, order);
    for (uint32_t at = 0; at < N_TEXTS; at += window) {
        const uint32_t n = N_TEXTS - at < window ? N_TEXTS - at : window;

        for (uint32_t i = 0; i + size <= n; i += size) {
            const uint32_t *x = order + at + i;

            for (uint32_t k = 0; k + size <= i; k += size) {
                const uint32_t *y = order + at + k;

                assert_true(lowest(x, size) >= highest(y, size) ||
                            lowest(y, size) >= highest(x, size));
            }
            descents += i && lowest(x, size) < lowest(x - size, size);
        }
    }
    assert_in_range(descents, 30, 95); /* of 121: shuffled, neither sorted nor reversed */
}

/* 1000 is no multiple of 48: the rest of 40 is the last batch, so that batches stay aligned. */
static void the_short_batch_is_last(void **state)
{
    uint32_t order[N_TEXTS];
    uint32_t spread = 0;

    (void)state;
    epoch(texts, NULL, N_TEXTS, 3, 0, 48, order);
    for (uint32_t i = 0; i + 48 <= N_TEXTS; i += 48)
        spread += highest(order + i, 48) - lowest(order + i, 48);
    assert_true(spread <= 41 + 20); /* sorted batches share at most one length with the next */
    assert_true(lowest(order + 960, 40) >= 30);
}

static void order_reports_failed_allocations(void **state)
{
    uint32_t order[N_TEXTS];
    fmp_error err;
    fmp_status st = FMP_ENOMEM;
    long k;

    (void)state;
    for (k = 0; st; k++) {
        fish_alloc_fail_at(k);
        st = fish_epoch_order(texts, NULL, N_TEXTS, 1, 1, 16, order, &err);
        fish_alloc_fail_at(-1);
        if (st)
            assert_status(st, FMP_ENOMEM, &err);
    }
    assert_int_equal(k, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_packed),
        cmocka_unit_test(images_lie_side_by_side),
        cmocka_unit_test(batches_can_be_empty_or_wrong),
        cmocka_unit_test(every_failed_allocation_is_reported),
        cmocka_unit_test(an_epoch_is_a_permutation),
        cmocka_unit_test(subsets_stay_subsets),
        cmocka_unit_test(windows_are_sorted_and_batches_shuffled),
        cmocka_unit_test(the_short_batch_is_last),
        cmocka_unit_test(order_reports_failed_allocations),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
