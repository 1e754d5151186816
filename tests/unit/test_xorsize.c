/*
 * fmp_xor_size() against the same thing done by hand: the bytes of two models, XORed and compressed
 * piece by piece, for pairs made up at random; and fmp_xor_size() where memory or the base fails.
 */
#include "random_models.h"

#include "base/alloc.h"
#include "base/zframe.h"
#include "patch.h"

enum { N_CASES = 60 };

static const tensor *find(const model *m, const char *name)
{
    for (unsigned i = 0; i < m->n; i++) {
        if (!strcmp(m->t[i].name, name))
            return &m->t[i];
    }
    return NULL;
}

static uint64_t by_hand(fmp_z *z, const tensor *now, const tensor *old)
{
    uint64_t sum = 0;
    fmp_buf out = {0};
    fmp_error err;

    for (uint64_t at = 0; at < now->len; at += FMP_LEAF_LEN) {
        const size_t n = (size_t)(now->len - at < FMP_LEAF_LEN ? now->len - at : FMP_LEAF_LEN);
        uint8_t *piece = malloc(n);
        size_t stored;

        assert_non_null(piece);
        for (size_t i = 0; i < n; i++)
            piece[i] =
                now->data[at + i] ^ (old && old->len == now->len ? old->data[at + i] : (uint8_t)0);
        out.len = 0;
        assert_status(fmp_z_compress(z, 1, piece, n, &out, &stored, &err), FMP_OK, &err);
        sum += stored;
        free(piece);
    }
    fmp_buf_release(&out);
    return sum;
}

static uint64_t expected(const fmp_patch *p, const model *b, const model *t)
{
    uint64_t sum = 0;
    fmp_z *z = NULL;
    fmp_error err;

    assert_status(fmp_z_new(&z, &err), FMP_OK, &err);
    for (unsigned i = 0; i < t->n; i++) {
        const uint32_t row = fmp_patch_find(p, t->t[i].name, strlen(t->t[i].name));
        const fmp_tensor_state state = fmp_patch_tensor_at(p, row).state;

        if (state != FMP_UNCHANGED && state != FMP_ALIAS)
            sum += by_hand(z, &t->t[i], find(b, t->t[i].name));
    }
    fmp_z_free(z);
    return sum;
}

static void make_patch(const model *b, const model *t, fmp_store **ret_base, fmp_patch **ret_patch)
{
    const fmp_create_options o = {.size = sizeof o, .replace = true};
    fmp_store *target;
    fmp_error err;

    put_model_part(b, 0, b->n, "b.safetensors", false);
    put_model_part(t, 0, t->n, "t.safetensors", false);
    *ret_base = open_store(at("b.safetensors"));
    target = open_store(at("t.safetensors"));
    assert_status(fmp_create(*ret_base, target, at("p.fmp"), &o, NULL, &err), FMP_OK, &err);
    fmp_store_close(target);
    *ret_patch = NULL;
    assert_status(fmp_patch_open(at("p.fmp"), NULL, ret_patch, &err), FMP_OK, &err);
}

static void it_is_what_it_is_by_hand(void **state)
{
    static const unsigned threads[] = {1, 2, 3, 7};
    const fmp_progress quiet = {0};
    unsigned n_sized = 0;

    (void)state;
    for (unsigned seed = 0; seed < N_CASES; seed++) {
        model b = {.n = 0}, t = {.n = 0};
        fmp_store *base;
        fmp_patch *p;
        fmp_error err;
        uint64_t want;

        rng_seed(seed);
        any_base(&b);
        any_target(&b, &t, 0);
        make_patch(&b, &t, &base, &p);
        want = expected(p, &b, &t);
        n_sized += want > 0;
        for (unsigned k = 0; k < 4; k++) {
            uint64_t size = UINT64_MAX;

            assert_status(fmp_xor_size(p, base, threads[k], quiet, &size, &err), FMP_OK, &err);
            assert_int_equal(size, want);
        }
        fmp_patch_close(p);
        fmp_store_close(base);
        model_free(&b);
        model_free(&t);
    }
    assert_true(n_sized > N_CASES / 2);
}

static void small_pair(fmp_store **ret_base, fmp_patch **ret_patch)
{
    model b = {.n = 0}, t = {.n = 0};

    rng_seed(5);
    model_add(&b, "a", "BF16", 2, 40, 40);
    model_add(&b, "b", "F32", 1, 400, 0);
    model_add(&b, "c", "F16", 1, 600000, 0); /* more than one leaf */
    model_copy(&b, &t);
    change_some(&t.t[0], 30);
    change_some(&t.t[2], 3000);
    make_patch(&b, &t, ret_base, ret_patch);
    model_free(&b);
    model_free(&t);
}

static bool cancel(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    assert_true(done <= total);
    return true;
}

static void it_refuses_another_base(void **state)
{
    const fmp_progress quiet = {0}, stop = {.fn = cancel};
    uint64_t size = 77;
    fmp_store *base, *other;
    fmp_patch *p;
    fmp_error err;

    (void)state;
    small_pair(&base, &p);
    put_shard("other.safetensors", "a", 3);
    other = open_store(at("other.safetensors"));
    assert_status(fmp_xor_size(p, other, 1, quiet, &size, &err), FMP_EBASE, &err);
    assert_non_null(strstr(err.text, "tensor \"a\""));
    assert_status(fmp_xor_size(p, base, 1, stop, &size, &err), FMP_ECANCELED, &err);
    assert_int_equal(size, 77);
    fmp_store_close(other);
    fmp_store_close(base);
    fmp_patch_close(p);
}

static void it_survives_every_failed_allocation(void **state)
{
    const fmp_progress quiet = {0};
    fmp_status st = FMP_ENOMEM;
    fmp_store *base;
    fmp_patch *p;
    long k = 0;

    (void)state;
    small_pair(&base, &p);
    for (; st; k++) {
        uint64_t size = 77;
        fmp_error err = {0};

        fmp_alloc_fail_at(k);
        st = fmp_xor_size(p, base, 1, quiet, &size, &err);
        fmp_alloc_fail_at(-1);
        if (st) {
            assert_status(st, FMP_ENOMEM, &err);
            assert_int_equal(size, 77);
        }
        assert_true(k < 1000);
    }
    assert_true(k > 8);
    fmp_store_close(base);
    fmp_patch_close(p);
}

#define in_its_own_folder(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_its_own_folder(it_is_what_it_is_by_hand),
        in_its_own_folder(it_refuses_another_base),
        in_its_own_folder(it_survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
