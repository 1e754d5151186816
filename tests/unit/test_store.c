/*
 * What all stores share: bounds of reads, finding by name, the table of drivers, files that change
 * under an open store, and how much memory many tensors take.
 */
#include "store_support.h"

#include <malloc.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/store.h"

static void drivers_are_found_by_name(void **state)
{
    (void)state;
    assert_string_equal(fmp_store_driver_find("safetensors")->name, "safetensors");
    assert_string_equal(fmp_store_driver_find("raw")->name, "raw");
    assert_null(fmp_store_driver_find("RAW"));
    assert_null(fmp_store_driver_find(""));
}

static void closing_nothing_is_fine(void **state)
{
    (void)state;
    fmp_store_close(NULL);
}

static void reads_stay_inside(void **state)
{
    fmp_store *store;
    fmp_error err;
    uint8_t got[8];

    (void)state;
    put_shard("r.safetensors", "t", 5);
    store = open_store(at("r.safetensors"));
    for (size_t off = 0; off <= 6; off++)
        for (size_t len = 0; len <= 6; len++) {
            const bool fits = off + len <= 5;

            memset(got, 0xee, sizeof got);
            assert_status(fmp_store_read(store, 0, off, got, len, &err), fits ? FMP_OK : FMP_EUSAGE,
                          &err);
            for (size_t i = 0; i < sizeof got; i++)
                assert_int_equal(got[i], fits && i < len ? data_byte(off + i) : 0xee);
            if (!fits)
                assert_non_null(strstr(err.text, "\"t\""));
        }
    assert_int_equal(fmp_store_read(store, 0, UINT64_MAX, got, 2, &err), FMP_EUSAGE);
    assert_int_equal(fmp_store_read(store, 0, 2, got, SIZE_MAX, &err), FMP_EUSAGE);
    assert_int_equal(fmp_store_read(store, 1, 0, got, 0, &err), FMP_EUSAGE);
    assert_int_equal(fmp_store_read_file(store, 1, 0, got, 0, &err), FMP_EUSAGE);
    assert_int_equal(fmp_store_read_file(store, 0, store->files[0].size, got, 1, &err), FMP_EUSAGE);
    assert_status(fmp_store_read_file(store, 0, store->files[0].size - 1, got, 1, &err), FMP_OK,
                  &err);
    assert_int_equal(got[0], data_byte(4));
    assert_null(fmp_store_tensor(store, 1).name);
    fmp_store_close(store);
}

static void a_shrunk_file_is_an_error(void **state)
{
    fmp_store *store;
    fmp_error err;
    uint8_t got[5];

    (void)state;
    put_shard("s.safetensors", "t", 5);
    store = open_store(at("s.safetensors"));
    assert_int_equal(truncate(at("s.safetensors"), (off_t)store->files[0].size - 1), 0);
    assert_int_equal(fmp_store_read(store, 0, 0, got, 5, &err), FMP_EIO);
    assert_non_null(strstr(err.text, "s.safetensors"));
    fmp_store_close(store);
}

/* Names that begin one another, and bytes above 0x7f. */
static void names_are_found_by_their_bytes(void **state)
{
    static const char *const names[] = {"a", "a.b", "a.bc", "ab", "\xc3\xa9", "z", "Z", "a.b.c"};
    enum { N = sizeof names / sizeof *names };
    char header[2000];
    size_t len = 0;
    fmp_store *store;

    (void)state;
    for (unsigned i = 0; i < N; i++)
        len +=
            (size_t)snprintf(header + len, sizeof header - len,
                             "%s\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%u,%u]}",
                             i ? "," : "{", names[i], i, i + 1);
    snprintf(header + len, sizeof header - len, "}");
    put_safetensors("n.safetensors", header, N);
    store = open_store(at("n.safetensors"));
    for (unsigned i = 0; i < N; i++)
        assert_tensor(store, i, names[i], "U8", 1, 1);
    for (unsigned i = 1; i < N; i++)
        assert_true(strcmp(fmp_store_tensor(store, store->by_name[i - 1]).name,
                           fmp_store_tensor(store, store->by_name[i]).name) < 0);
    assert_int_equal(fmp_store_find(store, "", 0), UINT32_MAX);
    assert_int_equal(fmp_store_find(store, "a.", 2), UINT32_MAX);
    assert_int_equal(fmp_store_find(store, "a.bcd", 4), 2);
    assert_int_equal(fmp_store_find(store, "zz", 2), UINT32_MAX);
    fmp_store_close(store);
}

/* More shapes than the table begins with, each kept once. */
static void shapes_are_kept_once(void **state)
{
    enum { N = 2000, N_SHAPES = 700 };
    static char header[N * 90];
    size_t len = 0;
    fmp_store *store;

    (void)state;
    for (unsigned i = 0; i < N; i++)
        len += (size_t)snprintf(header + len, sizeof header - len,
                                "%s\"t%u\":{\"dtype\":\"U8\",\"shape\":[0,%u,%u],\"data_offsets\":"
                                "[0,0]}",
                                i ? "," : "{", i, i % N_SHAPES, i % N_SHAPES % 5);
    snprintf(header + len, sizeof header - len, "}");
    put_safetensors("k.safetensors", header, 0);
    store = open_store(at("k.safetensors"));
    assert_int_equal(store->n_shapes, N_SHAPES);
    for (unsigned i = 0; i < N; i++) {
        const fmp_tensor_info t = fmp_store_tensor(store, i);
        char name[8];

        snprintf(name, sizeof name, "t%u", i);
        assert_string_equal(t.name, name);
        assert_int_equal(t.shape[1], i % N_SHAPES);
        assert_int_equal(t.shape[2], i % N_SHAPES % 5);
    }
    fmp_store_close(store);
}

typedef struct reader {
    const fmp_store *store;
    bool failed;
} reader;

static void *read_much(void *arg)
{
    reader *r = arg;

    for (unsigned i = 0; i < 20000 && !r->failed; i++) {
        const uint64_t off = i * 7919u % 1000;
        uint8_t got = 0;

        r->failed = fmp_store_read(r->store, 0, off, &got, 1, NULL) || got != data_byte(off);
    }
    return NULL;
}

static void threads_may_read_at_once(void **state)
{
    reader readers[4] = {{0}};
    pthread_t threads[4];
    fmp_store *store;

    (void)state;
    put_shard("p.safetensors", "t", 1000);
    store = open_store(at("p.safetensors"));
    for (unsigned i = 0; i < 4; i++) {
        readers[i].store = store;
        assert_int_equal(pthread_create(&threads[i], NULL, read_much, &readers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(readers[i].failed);
    }
    fmp_store_close(store);
}

/* What the arenas of an open store hold, for a count of tensors that is far from a power of two. */
static void tensors_take_little_memory(void **state)
{
    enum { N = 50000 };
    const char *path = at("big.safetensors");
    FILE *f = fopen(path, "wb");
    uint64_t header_len;
    fmp_store *store;
    size_t total;

    (void)state;
    assert_non_null(f);
    assert_int_equal(fwrite("\0\0\0\0\0\0\0\0", 1, 8, f), 8);
    for (unsigned i = 0; i < N; i++)
        fprintf(f,
                "%s\"model.layers.%u.w\":{\"dtype\":\"BF16\",\"shape\":[1,%u],\"data_offsets\":"
                "[%u,%u]}",
                i ? "," : "{", (unsigned)(i * 31337ull % N), 1u, 2 * i, 2 * i + 2);
    fputc('}', f);
    header_len = (uint64_t)ftell(f) - 8;
    for (unsigned i = 0; i < 2 * N; i++)
        fputc(0, f);
    rewind(f);
    for (unsigned i = 0; i < 8; i++)
        fputc((int)(header_len >> (8 * i)) & 0xff, f);
    assert_int_equal(fclose(f), 0);
    store = open_store(path);
    assert_int_equal(fmp_store_tensor_count(store), N);
    assert_int_equal(store->n_shapes, 1);
    total = malloc_usable_size(store->tensors) + malloc_usable_size(store->by_name) +
            malloc_usable_size(store->names) + malloc_usable_size(store->shapes) +
            malloc_usable_size(store->dims);
    assert_in_range(total, 36u * N + store->names_len, 37u * N + store->names_len);
    for (unsigned i = 0; i < N; i += 97) {
        char name[40];

        snprintf(name, sizeof name, "model.layers.%u.w", (unsigned)(i * 31337ull % N));
        assert_int_equal(fmp_store_find(store, name, strlen(name)), i);
    }
    fmp_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drivers_are_found_by_name),
        cmocka_unit_test(closing_nothing_is_fine),
        cmocka_unit_test(reads_stay_inside),
        cmocka_unit_test(a_shrunk_file_is_an_error),
        cmocka_unit_test(names_are_found_by_their_bytes),
        cmocka_unit_test(shapes_are_kept_once),
        cmocka_unit_test(threads_may_read_at_once),
        cmocka_unit_test(tensors_take_little_memory),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
