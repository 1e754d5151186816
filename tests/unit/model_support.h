/*
 * What tests of whole patches need: small models made up at random, written as one safetensors
 * file, as shards with an index, or as a directory with side files; and files held against files.
 */
#ifndef FMP_TESTS_MODEL_SUPPORT_H
#define FMP_TESTS_MODEL_SUPPORT_H

#include "store_support.h"

#include <dirent.h>

#include "base/store.h"

#define MAX_TENSORS 48u

static uint64_t rng_state;

static inline void rng_seed(uint64_t seed)
{
    rng_state = (seed + 1) * 0x9e3779b97f4a7c15u;
}

static inline uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static inline unsigned roll(unsigned n)
{
    return (unsigned)((rng() >> 20) % n);
}

typedef struct tensor {
    char name[40];
    const fmp_dtype *dtype;
    uint32_t rank;
    uint64_t shape[4];
    uint64_t len;
    uint8_t *data;
} tensor;

typedef struct model {
    tensor t[MAX_TENSORS];
    unsigned n;
} model;

static inline void model_free(model *m)
{
    for (unsigned i = 0; i < m->n; i++)
        free(m->t[i].data);
    m->n = 0;
}

/* Sets len from the shape, keeps the bytes that there are, and fills up the rest. */
static inline void tensor_resize(tensor *t, bool random)
{
    const uint64_t before = t->data ? t->len : 0;
    uint64_t n_elements;

    assert_true(fmp_dtype_bytes(t->dtype, t->rank, t->shape, &n_elements, &t->len));
    t->data = realloc(t->data, t->len + 8);
    assert_non_null(t->data);
    for (uint64_t i = before; i < t->len; i++)
        t->data[i] = random ? (uint8_t)(rng() >> 13) : (uint8_t)(i % 5);
}

static inline tensor *model_add(model *m, const char *name, const char *dtype, uint32_t rank,
                                uint64_t d0, uint64_t d1)
{
    tensor *t = &m->t[m->n++];

    assert_true(m->n <= MAX_TENSORS);
    *t = (tensor){.dtype = fmp_dtype_find(dtype, strlen(dtype)), .rank = rank, .shape = {d0, d1}};
    assert_non_null(t->dtype);
    snprintf(t->name, sizeof t->name, "%s", name);
    tensor_resize(t, true);
    return t;
}

static inline void model_copy(const model *from, model *to)
{
    *to = *from;
    for (unsigned i = 0; i < from->n; i++) {
        to->t[i].data = malloc(from->t[i].len + 8);
        assert_non_null(to->t[i].data);
        memcpy(to->t[i].data, from->t[i].data, from->t[i].len);
    }
}

static inline void model_drop(model *m, unsigned i)
{
    free(m->t[i].data);
    memmove(&m->t[i], &m->t[i + 1], (m->n - i - 1) * sizeof m->t[0]);
    m->n--;
}

/* Appends to a text that has room for 200 bytes more; its new length. */
static inline size_t text_put(char *text, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static inline size_t text_put(char *text, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, 200, fmt, args);
    va_end(args);
    assert_true(n >= 0 && n < 200);
    return (size_t)n;
}

/* Tensors [first, end) as one file.  `odd`: a header that its usual writer would not write. */
static inline void put_model_part(const model *m, unsigned first, unsigned end, const char *name,
                                  bool odd)
{
    char *header = malloc(256u * (end - first) + 600);
    size_t n = 1;
    uint64_t at = 0;
    uint8_t *file;

    assert_non_null(header);
    header[0] = '{';
    if (odd)
        n += text_put(header + n, " \"__metadata__\" : {\"format\":\"pt\"},");
    for (unsigned i = first; i < end; i++) {
        const tensor *t = &m->t[i];

        n += text_put(header + n, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i > first ? "," : "",
                      t->name, t->dtype->name);
        for (uint32_t d = 0; d < t->rank; d++)
            n += text_put(header + n, "%s%llu", d ? "," : "", (unsigned long long)t->shape[d]);
        n += text_put(header + n, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                      (unsigned long long)(at + t->len));
        at += t->len;
    }
    header[n++] = '}';
    for (unsigned pad = (unsigned)(n * 5 % 9); pad; pad--)
        header[n++] = ' ';
    file = malloc(8 + n + at);
    assert_non_null(file);
    for (unsigned i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(file + 8, header, n);
    at = 8 + n;
    for (unsigned i = first; i < end; i++) {
        memcpy(file + at, m->t[i].data, m->t[i].len);
        at += m->t[i].len;
    }
    put_file(name, file, at);
    free(file);
    free(header);
}

static inline void put_model(const model *m, const char *name, bool odd)
{
    put_model_part(m, 0, m->n, name, odd);
}

/* A directory with the tensors dealt out to `n_shards` files, and an index. */
static inline void put_shards(const model *m, const char *dir, unsigned n_shards)
{
    char name[200];
    char *index = malloc(200u * (m->n + 4));
    size_t n;
    uint64_t total = 0;

    assert_non_null(index);
    put_dir(dir);
    for (unsigned i = 0; i < m->n; i++)
        total += m->t[i].len;
    n = text_put(index, "{\"metadata\":{\"total_size\":%llu},\"weight_map\":{",
                 (unsigned long long)total);
    for (unsigned s = 0; s < n_shards; s++) {
        const unsigned first = m->n * s / n_shards;
        const unsigned end = m->n * (s + 1) / n_shards;

        snprintf(name, sizeof name, "%s/model-%05u-of-%05u.safetensors", dir, s + 1, n_shards);
        put_model_part(m, first, end, name, false);
        for (unsigned i = first; i < end; i++)
            n += text_put(index + n, "%s\"%s\":\"model-%05u-of-%05u.safetensors\"", i ? "," : "",
                          m->t[i].name, s + 1, n_shards);
    }
    n += text_put(index + n, "}}");
    snprintf(name, sizeof name, "%s/model.safetensors.index.json", dir);
    put_file(name, index, n);
    free(index);
}

static inline uint8_t *read_all(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data;
    long len;

    if (!f)
        fail_msg("%s: cannot be opened", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    len = ftell(f);
    assert_true(len >= 0);
    rewind(f);
    data = malloc((size_t)len + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)len, f), len);
    fclose(f);
    *ret_len = (size_t)len;
    return data;
}

static inline void assert_same_file(const char *a, const char *b)
{
    size_t a_len, b_len;
    uint8_t *x = read_all(a, &a_len);
    uint8_t *y = read_all(b, &b_len);

    if (a_len != b_len || memcmp(x, y, a_len) != 0)
        fail_msg("%s (%zu bytes) and %s (%zu bytes) differ", a, a_len, b, b_len);
    free(x);
    free(y);
}

static inline bool is_directory(const char *path)
{
    struct stat sb;

    return lstat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

static inline unsigned count_entries(const char *path)
{
    DIR *d = opendir(path);
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Files and directories, all the way down. */
static inline void assert_same(const char *a, const char *b)
{
    DIR *d;

    assert_int_equal(is_directory(a), is_directory(b));
    if (!is_directory(a)) {
        assert_same_file(a, b);
        return;
    }
    if (count_entries(a) != count_entries(b))
        fail_msg("%s and %s have different numbers of files", a, b);
    d = opendir(a);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        char x[1400], y[1400];

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(x, sizeof x, "%.600s/%.600s", a, e->d_name);
        snprintf(y, sizeof y, "%.600s/%.600s", b, e->d_name);
        assert_same(x, y);
    }
    closedir(d);
}

static inline void remove_tree(const char *name)
{
    nftw(at(name), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline bool exists(const char *name)
{
    struct stat sb;

    return lstat(at(name), &sb) == 0;
}

/* Number of tensors, names, types and bytes are the same, wherever they lie. */
static inline void assert_same_tensors(const fmp_store *a, const fmp_store *b)
{
    fmp_error err;

    assert_int_equal(fmp_store_tensor_count(a), fmp_store_tensor_count(b));
    for (uint32_t i = 0; i < fmp_store_tensor_count(a); i++) {
        const fmp_tensor_info x = fmp_store_tensor(a, i);
        const uint32_t k = fmp_store_find(b, x.name, x.name_len);
        const fmp_tensor_info y = fmp_store_tensor(b, k == UINT32_MAX ? 0 : k);
        uint8_t *p = malloc(x.n_bytes + 1);
        uint8_t *q = malloc(x.n_bytes + 1);

        assert_int_not_equal(k, UINT32_MAX);
        assert_string_equal(x.dtype, y.dtype);
        assert_int_equal(x.rank, y.rank);
        assert_int_equal(x.n_bytes, y.n_bytes);
        if (x.rank)
            assert_memory_equal(x.shape, y.shape, x.rank * sizeof *x.shape);
        assert_true(p && q);
        assert_status(fmp_store_read(a, i, 0, p, x.n_bytes, &err), FMP_OK, &err);
        assert_status(fmp_store_read(b, k, 0, q, x.n_bytes, &err), FMP_OK, &err);
        assert_true(memcmp(p, q, x.n_bytes) == 0);
        free(p);
        free(q);
    }
}

static inline fmp_patch *open_patch(const char *path)
{
    fmp_patch *p = NULL;
    fmp_error err;

    assert_status(fmp_patch_open(path, NULL, &p, &err), FMP_OK, &err);
    assert_non_null(p);
    return p;
}

#endif
