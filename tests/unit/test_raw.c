/*
 * Any file as one tensor: what is read raw, what is not, and what is refused with a hint.
 */
#include "store_support.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/store.h"

static const fmp_store_options raw = {.size = sizeof raw, .raw = true};

static void assert_raw(const char *path, const fmp_store_options *options, uint64_t size)
{
    fmp_store *store = NULL;
    fmp_error err;

    assert_status(fmp_store_open(path, options, &store, &err), FMP_OK, &err);
    assert_string_equal(store->driver->name, "raw");
    assert_int_equal(fmp_store_tensor_count(store), 1);
    assert_tensor(store, 0, "data", "U8", 1, size);
    assert_int_equal(fmp_store_tensor(store, 0).shape[0], size);
    assert_int_equal(store->n_files, 1);
    assert_int_equal(store->files[0].header_len, 0);
    assert_false(store->is_dir);
    fmp_store_close(store);
}

static void any_file_is_one_tensor(void **state)
{
    (void)state;
    put_text("any.gguf", "GGUF and so on");
    assert_raw(at("any.gguf"), NULL, 14);
    put_text("empty", "");
    assert_raw(at("empty"), NULL, 0);
    put_text("short", "1234567");
    assert_raw(at("short"), NULL, 7);
    put_file("eight", "\x02\0\0\0\0\0\0\0", 8);
    assert_raw(at("eight"), NULL, 8);
}

/* Content decides where the name does not, and a near miss is no error. */
static void content_is_probed(void **state)
{
    fmp_store *store;

    (void)state;
    put_shard("weights", "t", 3);
    store = open_store(at("weights"));
    assert_string_equal(store->driver->name, "safetensors");
    assert_tensor(store, 0, "t", "U8", 1, 3);
    fmp_store_close(store);

    put_safetensors("almost", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 5);
    assert_raw(at("almost"), NULL, 66);
    put_safetensors("strange", "{\"a\":{\"dtype\":\"Q4\",\"shape\":[4],\"data_offsets\":[0,4]}}",
                    4);
    assert_raw(at("strange"), NULL, 65);
    put_file("coincidence", "\x03\0\0\0\0\0\0\0{{{tail", 15);
    assert_raw(at("coincidence"), NULL, 15);
    put_shard("claimed.safetensors", "t", 3);
    assert_raw(at("claimed.safetensors"), &raw, 64);
}

static void a_claimed_name_is_never_raw(void **state)
{
    (void)state;
    put_text("x.safetensors", "");
    refuse(at("x.safetensors"), NULL, FMP_ECORRUPT, "x.safetensors", "file of 0");
    put_text("x.safetensors", "no such thing");
    refuse(at("x.safetensors"), NULL, FMP_ECORRUPT, "x.safetensors");
}

static void pickles_get_a_hint(void **state)
{
    static const char *const names[] = {"m.pt", "m.pth", "m.bin", "m.ckpt", "m.pkl"};

    (void)state;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        put_file(names[i], "PK\3\4....", 8);
        refuse(at(names[i]), NULL, FMP_ENOTSUP, names[i], "convert", "raw");
        put_file(names[i], "\x80\x02\x8a\x0a....", 8);
        refuse(at(names[i]), NULL, FMP_ENOTSUP, names[i], "convert");
        assert_raw(at(names[i]), &raw, 8);
        put_file(names[i], "\x80\x06\x8a\x0a....", 8);
        assert_raw(at(names[i]), NULL, 8);
    }
    put_file("archive.zip", "PK\3\4....", 8);
    assert_raw(at("archive.zip"), NULL, 8);
    put_file("three.bin", "PK\3", 3);
    assert_raw(at("three.bin"), NULL, 3);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    refuse(at("missing"), NULL, FMP_EIO, "missing");
    refuse(at("missing"), &raw, FMP_EIO, "missing");
    put_dir("dir");
    refuse(at("dir"), &raw, FMP_EUSAGE, "dir", "directory");
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    refuse(at("fifo"), NULL, FMP_EIO, "fifo");
    refuse("/dev/null", &raw, FMP_EIO, "/dev/null");
}

static void a_link_is_followed(void **state)
{
    (void)state;
    put_text("blob", "content");
    assert_int_equal(symlink("blob", at("link")), 0);
    assert_raw(at("link"), NULL, 7);
}

static void raw_files_have_no_header(void **state)
{
    fmp_store *store;
    fmp_buf hint = {0};
    fmp_error err;

    (void)state;
    put_text("any", "bytes");
    store = open_store(at("any"));
    assert_status(store->driver->header_hint(store, 0, &hint, &err), FMP_OK, &err);
    assert_int_equal(hint.len, 0);
    assert_status(store->driver->header_write(NULL, 0, NULL, NULL, 1, NULL, NULL, &err), FMP_OK,
                  &err);
    fmp_store_close(store);
}

static void every_failing_allocation_is_survived(void **state)
{
    (void)state;
    put_text("any", "bytes");
    for (long k = 0;; k++) {
        fmp_store *store = NULL;
        fmp_error err;
        fmp_status st;

        assert_true(k < 1000);
        fmp_alloc_fail_at(k);
        st = fmp_store_open(at("any"), NULL, &store, &err);
        fmp_alloc_fail_at(-1);
        if (!st) {
            assert_true(k > 5);
            fmp_store_close(store);
            break;
        }
        assert_status(st, FMP_ENOMEM, &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_file_is_one_tensor),
        cmocka_unit_test(content_is_probed),
        cmocka_unit_test(a_claimed_name_is_never_raw),
        cmocka_unit_test(pickles_get_a_hint),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(a_link_is_followed),
        cmocka_unit_test(raw_files_have_no_header),
        cmocka_unit_test(every_failing_allocation_is_survived),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
