/*
 * Model directories: which files are weights, which travel as side files, and what is left alone.
 */
#include "store_support.h"

#include "base/alloc.h"
#include "base/store.h"

#define INDEX "model.safetensors.index.json"

/* Each test has a directory to itself. */
static void assert_files(const fmp_store *store, uint32_t n_weights, const char *const *names)
{
    uint32_t n = 0;

    for (; names[n]; n++) {
        if (n >= store->n_files)
            fail_msg("\"%s\" is missing", names[n]);
        assert_string_equal(store->files[n].name, names[n]);
        assert_int_equal(store->files[n].side, n >= n_weights);
    }
    assert_int_equal(store->n_files, n);
    assert_true(store->is_dir);
}

#define files(store, n_weights, ...)                                                               \
    assert_files((store), (n_weights), (const char *const[]){__VA_ARGS__, NULL})

static void weights_and_side_files(void **state)
{
    fmp_store *store;
    fmp_error err;
    char got[3] = {0};

    (void)state;
    put_shard("b.safetensors", "in_b", 2);
    put_shard("a.safetensors", "in_a", 3);
    put_text("config.json", "{}");
    put_text("Z", "");
    put_text("pytorch_model.bin", "PK\3\4....");
    put_dir("onnx");
    put_dir("onnx/deep");
    put_shard("onnx/deep/in_a.safetensors", "in_a", 1);
    put_text("onnx/x", "yz");
    put_dir("empty");
    store = open_store(at(""));
    files(store, 2, "a.safetensors", "b.safetensors", "Z", "config.json",
          "onnx/deep/in_a.safetensors", "onnx/x", "pytorch_model.bin");
    assert_int_equal(fmp_store_tensor_count(store), 2);
    assert_tensor(store, 0, "in_a", "U8", 1, 3);
    assert_tensor(store, 1, "in_b", "U8", 1, 2);
    assert_int_equal(store->files[5].size, 2);
    assert_status(fmp_store_read_file(store, 5, 0, got, 2, &err), FMP_OK, &err);
    assert_string_equal(got, "yz");
    fmp_store_close(store);
}

static void bookkeeping_is_left_alone(void **state)
{
    fmp_store *store;

    (void)state;
    put_shard("m.safetensors", "t", 1);
    put_dir(".git");
    put_text(".git/HEAD", "x");
    put_dir(".cache");
    put_text(".cache/x", "x");
    put_dir("sub");
    put_dir("sub/.git");
    put_text("sub/.git/HEAD", "x");
    put_text(".fmpatch-0123456789abcdef", "an unfinished output");
    put_text("sub/.fmpatch-0123456789abcdef", "another");
    put_text(".gitattributes", "kept");
    store = open_store(at(""));
    files(store, 1, "m.safetensors", ".gitattributes");
    fmp_store_close(store);
}

static void the_index_decides(void **state)
{
    fmp_store *store;

    (void)state;
    put_shard("x.safetensors", "a", 2);
    put_shard("consolidated.safetensors", "a", 2);
    put_dir("s");
    put_shard("s/y.safetensors", "b", 1);
    put_text(INDEX, "{\"weight_map\":{\"b\":\"s/y.safetensors\",\"a\":\"x.safetensors\"}}");
    put_text("other.safetensors.index.json", "not even JSON");
    store = open_store(at(""));
    files(store, 2, "s/y.safetensors", "x.safetensors", "consolidated.safetensors", INDEX,
          "other.safetensors.index.json");
    assert_tensor(store, 0, "b", "U8", 1, 1);
    fmp_store_close(store);
}

static void a_single_index_of_another_name_decides(void **state)
{
    fmp_store *store;

    (void)state;
    put_shard("x.safetensors", "a", 2);
    put_shard("spare.safetensors", "a", 2);
    put_text("vae.safetensors.index.json", "{\"weight_map\":{\"a\":\"x.safetensors\"}}");
    store = open_store(at(""));
    files(store, 1, "x.safetensors", "spare.safetensors", "vae.safetensors.index.json");
    fmp_store_close(store);

    put_text("unet.safetensors.index.json", "{\"weight_map\":{\"a\":\"x.safetensors\"}}");
    refuse(at(""), NULL, FMP_ENOTSUP, "unet.safetensors.index.json", "vae.safetensors.index.json");
}

static void a_name_in_two_files_is_refused(void **state)
{
    (void)state;
    put_shard("x.safetensors", "a", 2);
    put_shard("y.safetensors", "a", 3);
    refuse(at(""), NULL, FMP_ECORRUPT, "\"a\"", "x.safetensors", "y.safetensors");
}

static void links_to_files_are_followed(void **state)
{
    fmp_store *store;

    (void)state;
    put_dir("blobs");
    put_dir("snap");
    put_shard("blobs/00", "a", 2);
    put_text("blobs/01", "{}");
    assert_int_equal(symlink("../blobs/00", at("snap/m.safetensors")), 0);
    assert_int_equal(symlink("../blobs/01", at("snap/config.json")), 0);
    store = open_store(at("snap"));
    files(store, 1, "m.safetensors", "config.json");
    assert_int_equal(store->files[1].size, 2);
    fmp_store_close(store);

    assert_int_equal(symlink("../blobs", at("snap/more")), 0);
    refuse(at("snap"), NULL, FMP_ENOTSUP, "more", "link to a directory");
    assert_int_equal(unlink(at("snap/more")), 0);
    assert_int_equal(symlink("nowhere", at("snap/dangling")), 0);
    refuse(at("snap"), NULL, FMP_EIO, "dangling");
}

static void a_directory_behind_a_link_opens(void **state)
{
    fmp_store *store;

    (void)state;
    put_dir("real");
    put_shard("real/m.safetensors", "a", 2);
    assert_int_equal(symlink("real", at("link")), 0);
    store = open_store(at("link"));
    files(store, 1, "m.safetensors");
    fmp_store_close(store);
}

static void what_cannot_travel_is_named(void **state)
{
    (void)state;
    put_shard("m.safetensors", "a", 2);
    assert_int_equal(mkfifo(at("pipe"), 0600), 0);
    refuse(at(""), NULL, FMP_ENOTSUP, "pipe", "special");
    assert_int_equal(unlink(at("pipe")), 0);
    put_text("back\\slash", "x");
    refuse(at(""), NULL, FMP_ENOTSUP, "slash");
    assert_int_equal(unlink(at("back\\slash")), 0);
    put_text("line\nbreak", "x");
    refuse(at(""), NULL, FMP_ENOTSUP, "break");
}

static void no_weights_is_said(void **state)
{
    (void)state;
    refuse(at(""), NULL, FMP_ENOTSUP, test_dir, "none");
    put_text("config.json", "{}");
    refuse(at(""), NULL, FMP_ENOTSUP, test_dir, "none");
    put_text("pytorch_model.bin", "PK\3\4....");
    refuse(at(""), NULL, FMP_ENOTSUP, test_dir, "pytorch_model.bin", "convert");
    assert_int_equal(unlink(at("pytorch_model.bin")), 0);
    put_dir("unet");
    put_shard("unet/m.safetensors", "a", 2);
    refuse(at(""), NULL, FMP_ENOTSUP, test_dir, "unet/m.safetensors");
}

static void limits_are_kept(void **state)
{
    fmp_limits l = {.size = sizeof l, .max_files = 2};
    const fmp_store_options o = {.size = sizeof o, .limits = &l};

    (void)state;
    put_shard("m.safetensors", "a", 2);
    put_text("x", "1");
    put_text("y", "2");
    refuse(at(""), &o, FMP_ELIMIT, test_dir, "2 files");
    l = (fmp_limits){.size = sizeof l, .max_size = 63 + 1};
    refuse(at(""), &o, FMP_ELIMIT, "64");
    l.max_size = 65;
    l.max_files = 3;
    {
        fmp_store *store = NULL;
        fmp_error err;

        assert_status(fmp_store_open(at(""), &o, &store, &err), FMP_OK, &err);
        fmp_store_close(store);
    }
}

/* More files than are kept open, and a listing long enough to be sorted in between. */
static void many_side_files(void **state)
{
    enum { N = 3000 };
    fmp_store *store;
    fmp_error err;
    uint8_t got = 0;

    (void)state;
    put_shard("m.safetensors", "a", 2);
    for (unsigned i = 0; i < N; i++) {
        char name[16];

        snprintf(name, sizeof name, "side%04u", i);
        put_file(name, &(uint8_t){(uint8_t)i}, 1);
    }
    store = open_store(at(""));
    assert_int_equal(store->n_files, N + 1);
    for (unsigned i = 0; i < N; i += 37) {
        assert_status(fmp_store_read_file(store, 1 + i, 0, &got, 1, &err), FMP_OK, &err);
        assert_int_equal(got, (uint8_t)i);
    }
    put_text("side2999", "longer");
    assert_int_equal(fmp_store_read_file(store, N, 0, &got, 1, &err), FMP_EIO);
    assert_non_null(strstr(err.text, "side2999"));
    fmp_store_close(store);
}

static void every_failing_allocation_is_survived(void **state)
{
    (void)state;
    put_shard("x.safetensors", "a", 2);
    put_dir("sub");
    put_text("sub/y", "");
    put_text(INDEX, "{\"weight_map\":{\"a\":\"x.safetensors\"}}");
    for (long k = 0;; k++) {
        fmp_store *store = NULL;
        fmp_error err;
        fmp_status st;

        assert_true(k < 1000);
        fmp_alloc_fail_at(k);
        st = fmp_store_open(at(""), NULL, &store, &err);
        fmp_alloc_fail_at(-1);
        if (!st) {
            assert_true(k > 20);
            fmp_store_close(store);
            break;
        }
        assert_status(st, FMP_ENOMEM, &err);
    }
}

#define in_own_dir(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_own_dir(weights_and_side_files),
        in_own_dir(bookkeeping_is_left_alone),
        in_own_dir(the_index_decides),
        in_own_dir(a_single_index_of_another_name_decides),
        in_own_dir(a_name_in_two_files_is_refused),
        in_own_dir(links_to_files_are_followed),
        in_own_dir(a_directory_behind_a_link_opens),
        in_own_dir(what_cannot_travel_is_named),
        in_own_dir(no_weights_is_said),
        in_own_dir(limits_are_kept),
        in_own_dir(many_side_files),
        in_own_dir(every_failing_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
