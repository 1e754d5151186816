/*
 * What tests of stores need: a directory of their own, files in it, and safetensors made of a
 * header text and counted data bytes.
 */
#ifndef FMP_TESTS_STORE_SUPPORT_H
#define FMP_TESTS_STORE_SUPPORT_H

#include "support.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char test_dir[64];

static inline int remove_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
    (void)sb;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int make_dir(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(test_dir, sizeof test_dir, "%.40s/fmp-test-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(test_dir) ? 0 : -1;
}

static inline int drop_dir(void **state)
{
    (void)state;
    return nftw(test_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path in the test's directory; one of four buffers. */
static inline const char *at(const char *name)
{
    static char path[4][1400];
    static unsigned next;
    char *p = path[next++ % 4];

    snprintf(p, sizeof path[0], "%s%s%s", test_dir, *name ? "/" : "", name);
    return p;
}

static inline void put_dir(const char *name)
{
    assert_true(!mkdir(at(name), 0700) || errno == EEXIST);
}

static inline void put_file(const char *name, const void *data, size_t len)
{
    FILE *f = fopen(at(name), "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static inline void put_text(const char *name, const char *text)
{
    put_file(name, text, strlen(text));
}

static inline uint8_t data_byte(size_t i)
{
    return (uint8_t)(i * 7 + 1);
}

/* The bytes of a safetensors file; free() them. */
static inline uint8_t *make_safetensors(const char *header, size_t header_len, size_t n_data,
                                        size_t *ret_len)
{
    uint8_t *file = malloc(8 + header_len + n_data);

    assert_non_null(file);
    for (unsigned i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)header_len >> (8 * i));
    memcpy(file + 8, header, header_len);
    for (size_t i = 0; i < n_data; i++)
        file[8 + header_len + i] = data_byte(i);
    *ret_len = 8 + header_len + n_data;
    return file;
}

static inline void put_safetensors(const char *name, const char *header, size_t n_data)
{
    size_t len;
    uint8_t *file = make_safetensors(header, strlen(header), n_data, &len);

    put_file(name, file, len);
    free(file);
}

/* One U8 tensor of `n` bytes. */
static inline void put_shard(const char *name, const char *tensor, unsigned n)
{
    char header[1400];

    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"U8\",\"shape\":[%u],\"data_offsets\":[0,%u]}}", tensor, n, n);
    put_safetensors(name, header, n);
}

/* Opens what must open. */
static inline fmp_store *open_store(const char *path)
{
    fmp_store *store = NULL;
    fmp_error err;

    assert_status(fmp_store_open(path, NULL, &store, &err), FMP_OK, &err);
    assert_non_null(store);
    return store;
}

/* `path` must be refused with `want` and a text that has each of `words` (NULL-terminated). */
static inline void refuse_store(const char *path, const fmp_store_options *options, fmp_status want,
                                const char *const *words)
{
    fmp_store *store = NULL;
    fmp_error err;

    memset(&err, 0, sizeof err);
    assert_status(fmp_store_open(path, options, &store, &err), want, &err);
    assert_null(store);
    assert_int_equal(err.status, want);
    for (; *words; words++)
        if (!strstr(err.text, *words))
            fail_msg("\"%s\" lacks \"%s\"", err.text, *words);
}

#define refuse(path, options, want, ...)                                                           \
    refuse_store((path), (options), (want), (const char *const[]){__VA_ARGS__, NULL})

static inline void assert_tensor(const fmp_store *store, uint32_t i, const char *name,
                                 const char *dtype, uint32_t rank, uint64_t n_bytes)
{
    const fmp_tensor_info t = fmp_store_tensor(store, i);

    assert_string_equal(t.name, name);
    assert_int_equal(t.name_len, strlen(name));
    assert_string_equal(t.dtype, dtype);
    assert_int_equal(t.rank, rank);
    assert_int_equal(t.n_bytes, n_bytes);
    assert_int_equal(fmp_store_find(store, name, strlen(name)), i);
}

#endif
