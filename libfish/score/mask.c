/*
 * Masks in memory: made, read from and written to patch files of kind "mask", combined, compared.
 */
#include <string.h>

#include "core/fail.h"
#include "core/jsontext.h"
#include "core/mem.h"
#include "score/maskparts.h"

/* ---- memory -----------------------------------------------------------------------------------
 */

typedef struct room {
    struct room *next;
    uint64_t unused[7]; /* what follows begins on a cache line, as the room itself */
} room;

fmp_status fish_mask_new(uint32_t n, fish_mask **ret, fmp_error *err)
{
    fish_mask *m = fish_calloc(1, sizeof *m);

    if (m)
        m->tensors = fish_calloc(n, sizeof *m->tensors);
    if (!m || !m->tensors) {
        fish_mask_free(m);
        return fish_fail(err, FMP_ENOMEM, "mask: out of memory");
    }
    m->n_tensors = n;
    *ret = m;
    return FMP_OK;
}

void fish_mask_free(fish_mask *m)
{
    room *next;

    if (!m)
        return;
    for (room *r = m->arena; r; r = next) {
        next = r->next;
        fish_free(r);
    }
    fish_free(m->tensors);
    fish_free(m);
}

void *fish_mask_room(fish_mask *m, uint64_t count, size_t size)
{
    room *r;

    if (count > (SIZE_MAX / 2 - sizeof *r) / size)
        return NULL;
    r = fish_alloc(sizeof *r + (size_t)count * size, 1);
    if (!r)
        return NULL;
    r->next = m->arena;
    m->arena = r;
    return r + 1;
}

fmp_status fish_mask_describe(fish_mask *m, uint32_t tensor, const char *name, uint32_t rank,
                              const uint64_t *shape, uint64_t n_elements, fmp_error *err)
{
    fish_mask_tensor *t = &m->tensors[tensor];
    const size_t len = strlen(name) + 1;
    char *copy = fish_mask_room(m, len, 1);

    if (!copy)
        return fish_fail(err, FMP_ENOMEM, "mask: out of memory");
    memcpy(copy, name, len);
    if (rank > sizeof t->shape / sizeof t->shape[0])
        return fish_fail(err, FMP_ENOTSUP, "tensor \"%s\" has %u dimensions, at most 8", name,
                         rank);
    if (__builtin_add_overflow(m->n_elements, n_elements, &m->n_elements))
        return fish_fail(err, FMP_ELIMIT, "tensor \"%s\": too many elements", name);
    *t = (fish_mask_tensor){.name = copy, .rank = rank, .n_elements = n_elements};
    for (uint32_t d = 0; d < rank; d++)
        t->shape[d] = shape[d];
    return FMP_OK;
}

void fish_mask_set(fish_mask *m, uint32_t tensor, uint64_t *idx, uint64_t n)
{
    fish_mask_tensor *t = &m->tensors[tensor];

    if (t->full)
        m->n -= t->n_elements;
    t->full = n && n == t->n_elements;
    t->idx = t->full || !n ? NULL : idx;
    t->n = n;
    m->n += n;
}

/* ---- files ------------------------------------------------------------------------------------
 */

static fmp_status load_tensor(fish_mask *m, const fmp_patch *patch, uint32_t i, fmp_error *err)
{
    const fmp_tensor_info info = fmp_patch_tensor_at(patch, i).target;
    uint64_t n = 0;
    uint64_t *idx = NULL;
    size_t n_read = 0;
    fmp_status st =
        fish_mask_describe(m, i, info.name, info.rank, info.shape, info.n_elements, err);

    if (!st)
        st = fmp_mask_count(patch, i, &n, err);
    if (!st && n && n < info.n_elements) {
        idx = fish_mask_room(m, n, sizeof *idx);
        st = idx ? fmp_mask_decode(patch, i, idx, (size_t)n, &n_read, err)
                 : fish_fail(err, FMP_ENOMEM, "mask: out of memory");
        if (!st && n_read != n)
            st = fish_fail(err, FMP_EIO, "tensor \"%s\": changed while it was read", info.name);
    }
    if (!st)
        fish_mask_set(m, i, idx, n);
    return st;
}

static fish_mask_tensor *find_tensor(const fish_mask *m, const char *name)
{
    uint32_t low = 0, high = m->n_tensors;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = strcmp(m->tensors[middle].name, name);

        if (!order)
            return &m->tensors[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static fmp_status load_head(fish_mask *m, const char *path, const char *manifest, fmp_error *err)
{
    json_t *root = json_loads(manifest, JSON_REJECT_DUPLICATES, NULL);
    const json_t *head = json_object_get(json_object_get(root, "method"), "head");
    fmp_status st = FMP_OK;

    if (!root)
        return fish_fail(err, FMP_ECORRUPT, "%s: its manifest cannot be read", path);
    if (head && !json_is_array(head))
        st = fish_fail(err, FMP_ECORRUPT, "%s: \"head\" of its method is no array", path);
    for (size_t i = 0; i < json_array_size(head) && !st; i++) {
        const char *name = json_string_value(json_array_get(head, i));
        fish_mask_tensor *t = name ? find_tensor(m, name) : NULL;

        if (!t)
            st = fish_fail(err, FMP_ECORRUPT, "%s: head tensor \"%s\" is missing", path,
                           name ? name : "?");
        else if (t->n != t->n_elements)
            st = fish_fail(err, FMP_ECORRUPT, "%s: head tensor \"%s\" is not selected whole", path,
                           name);
        else
            t->head = true;
    }
    json_decref(root);
    return st;
}

fmp_status fish_mask_load(const char *path, fish_mask **ret, fmp_error *err)
{
    fmp_patch *patch = NULL;
    fish_mask *m = NULL;
    fmp_status st = fmp_patch_open(path, NULL, &patch, err);
    uint32_t n;

    if (st)
        return st;
    if (!fmp_patch_is_mask(patch)) {
        fmp_patch_close(patch);
        return fish_fail(err, FMP_EUSAGE, "%s: a patch, but no mask", path);
    }
    n = fmp_patch_summarize(patch).n_tensors;
    st = fish_mask_new(n, &m, err);
    for (uint32_t i = 0; i < n && !st; i++)
        st = load_tensor(m, patch, i, err);
    if (!st)
        st = load_head(m, path, fmp_patch_manifest(patch), err);
    fmp_patch_close(patch);
    if (st) {
        fish_mask_free(m);
        return st;
    }
    *ret = m;
    return FMP_OK;
}

/* {"kind": "mask", "method": method_json's with the names of the head}; NULL with the error set. */
static json_t *make_manifest(const fish_mask *m, const char *method_json, fmp_error *err)
{
    json_t *root = json_object();
    json_t *head = json_array();
    json_t *method =
        method_json ? json_loads(method_json, JSON_REJECT_DUPLICATES, NULL) : json_object();
    bool good = true;

    if (!json_is_object(method)) {
        json_decref(root);
        json_decref(head);
        json_decref(method);
        fish_fail(err, FMP_EUSAGE, "mask: the method is no JSON object");
        return NULL;
    }
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        if (m->tensors[i].head)
            good = good && !json_array_append_new(head, json_string(m->tensors[i].name));
    }
    if (json_array_size(head))
        good = good && !json_object_set(method, "head", head);
    good = good && !json_object_set_new(root, "kind", json_string("mask"));
    good = good && !json_object_set(root, "method", method);
    json_decref(head);
    json_decref(method);
    if (good)
        return root;
    json_decref(root);
    fish_fail(err, FMP_ENOMEM, "mask: out of memory");
    return NULL;
}

static fmp_status write_tensors(const fish_mask *m, fmp_mask_writer *w, fmp_error *err)
{
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < m->n_tensors && !st; i++) {
        const fish_mask_tensor *t = &m->tensors[i];

        st = fmp_mask_writer_add(w, t->name, t->rank, t->shape, t->idx, t->n, err);
    }
    return st;
}

fmp_status fish_mask_save(const fish_mask *m, const char *path, bool replace,
                          const char *method_json, fmp_secret_key *const *keys, size_t n_keys,
                          fmp_error *err)
{
    fmp_create_options o = {.size = sizeof o, .replace = replace, .keys = keys, .n_keys = n_keys};
    fmp_mask_writer *w = NULL;
    json_t *manifest = make_manifest(m, method_json, err);
    char *text;
    fmp_status st;

    if (!manifest)
        return method_json ? FMP_EUSAGE : FMP_ENOMEM;
    text = fish_json_dump(manifest, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(manifest);
    if (!text)
        return fish_fail(err, FMP_ENOMEM, "mask: out of memory");
    o.manifest_json = text;
    st = fmp_mask_writer_new(path, &o, &w, err);
    if (!st)
        st = write_tensors(m, w, err);
    if (st)
        fmp_mask_writer_abort(w);
    else
        st = fmp_mask_writer_finish(w, NULL, err);
    fish_free(text);
    return st;
}

/* ---- sets -------------------------------------------------------------------------------------
 */

fmp_status fish_mask_same_model(const fish_mask *a, const fish_mask *b, fmp_error *err)
{
    const uint32_t n = a->n_tensors < b->n_tensors ? a->n_tensors : b->n_tensors;

    for (uint32_t i = 0; i < n; i++) {
        const fish_mask_tensor *x = &a->tensors[i];
        const fish_mask_tensor *y = &b->tensors[i];
        const int order = strcmp(x->name, y->name);

        if (order)
            return fish_fail(err, FMP_EUSAGE, "masks of two models: only one has tensor \"%s\"",
                             order < 0 ? x->name : y->name);
        if (x->rank != y->rank || memcmp(x->shape, y->shape, x->rank * sizeof *x->shape))
            return fish_fail(err, FMP_EUSAGE,
                             "masks of two models: tensor \"%s\" has another shape", x->name);
    }
    if (a->n_tensors != b->n_tensors)
        return fish_fail(err, FMP_EUSAGE, "masks of two models: only one has tensor \"%s\"",
                         (a->n_tensors > n ? a : b)->tensors[n].name);
    return FMP_OK;
}

static bool keeps(fish_set_op op, bool in_a, bool in_b)
{
    switch (op) {
    case FISH_UNION:
        return in_a || in_b;
    case FISH_INTERSECT:
        return in_a && in_b;
    case FISH_SUBTRACT:
        return in_a && !in_b;
    case FISH_XOR:
        return in_a != in_b;
    }
    return false;
}

/* Writes what the operation keeps to idx (NULL: only counts it). */
static uint64_t merge(const fish_mask_tensor *a, const fish_mask_tensor *b, fish_set_op op,
                      uint64_t *idx)
{
    uint64_t i = 0, j = 0, n = 0;

    while (i < a->n || j < b->n) {
        const uint64_t x = i < a->n ? fish_mask_at(a, i) : UINT64_MAX;
        const uint64_t y = j < b->n ? fish_mask_at(b, j) : UINT64_MAX;

        if (keeps(op, x <= y, y <= x)) {
            if (idx)
                idx[n] = x < y ? x : y;
            n++;
        }
        i += x <= y;
        j += y <= x;
    }
    return n;
}

static fmp_status combine_tensor(fish_mask *m, uint32_t i, const fish_mask_tensor *a,
                                 const fish_mask_tensor *b, fish_set_op op, fmp_error *err)
{
    const uint64_t n = merge(a, b, op, NULL);
    uint64_t *idx = NULL;
    fmp_status st = fish_mask_describe(m, i, a->name, a->rank, a->shape, a->n_elements, err);

    if (st)
        return st;
    if (n && n < a->n_elements) {
        idx = fish_mask_room(m, n, sizeof *idx);
        if (!idx)
            return fish_fail(err, FMP_ENOMEM, "mask: out of memory");
        merge(a, b, op, idx);
    }
    fish_mask_set(m, i, idx, n);
    m->tensors[i].head = n == a->n_elements && (a->head || b->head);
    return FMP_OK;
}

fmp_status fish_mask_combine(const fish_mask *a, const fish_mask *b, fish_set_op op,
                             fish_mask **ret, fmp_error *err)
{
    fish_mask *m = NULL;
    fmp_status st = fish_mask_same_model(a, b, err);

    if (!st)
        st = fish_mask_new(a->n_tensors, &m, err);
    for (uint32_t i = 0; i < a->n_tensors && !st; i++)
        st = combine_tensor(m, i, &a->tensors[i], &b->tensors[i], op, err);
    if (st) {
        fish_mask_free(m);
        return st;
    }
    *ret = m;
    return FMP_OK;
}

fmp_status fish_mask_jaccard(const fish_mask *a, const fish_mask *b, double *ret,
                             uint64_t *ret_both, uint64_t *ret_either, fmp_error *err)
{
    const fmp_status st = fish_mask_same_model(a, b, err);
    uint64_t n_both = 0, n_either;

    if (st)
        return st;
    for (uint32_t i = 0; i < a->n_tensors; i++)
        n_both += merge(&a->tensors[i], &b->tensors[i], FISH_INTERSECT, NULL);
    n_either = a->n + b->n - n_both;
    *ret = n_either ? (double)n_both / (double)n_either : 1.0; /* two empty sets are equal */
    if (ret_both)
        *ret_both = n_both;
    if (ret_either)
        *ret_either = n_either;
    return FMP_OK;
}
