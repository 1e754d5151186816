/*
 * Fuzz target: a base and a patch for it.  The first four bytes are the length of the base, the
 * base follows, then the patch.  Digests are made right again before the patch is opened, so that a
 * change of any part reaches the code behind them: base digests from the base, roots in the
 * manifest, digests of frames and of sections.  Signatures are taken as they are; no checkpoint is
 * written.  What opens is also inverted, squashed and taken in part: what comes out must open.  In
 * the other profile it must do what it did.
 */
#include <string.h>

#include "container/sections.h"
#include "container/table.h"
#include "fuzz_file.h"
#include "patch.h"

#define MAX_TENSOR (4u << 20)

/* A patch in memory, and where its sections are stored (by type). */
typedef struct image {
    uint8_t *data;
    size_t len;
    uint8_t *entry[8];
    uint8_t *section[8];
    size_t stored[8];
} image;

static uint64_t le(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

/* Finds sections 1 .. 7; false where one is missing or does not lie in the file. */
static bool find_sections(image *m)
{
    const size_t n = m->len >= 24 ? (size_t)le(m->data + 10, 2) : 0;
    const size_t prefix = 24 + 64 * n;
    uint64_t body;

    if (n == 0 || n > 32 || m->len < prefix + 4)
        return false;
    body = prefix + 4 + le(m->data + prefix, 4);
    for (size_t i = 0; i < n; i++) {
        uint8_t *e = m->data + 24 + 64 * i;
        const unsigned type = (unsigned)le(e, 2);
        const uint64_t off = le(e + 8, 8);
        const uint64_t stored = le(e + 16, 8);

        if (type < 1 || type > 7)
            continue;
        if (body > m->len || off > m->len - body || stored > m->len - body - off)
            return false;
        m->entry[type] = e;
        m->section[type] = m->data + body + off;
        m->stored[type] = (size_t)stored;
    }
    for (unsigned type = 1; type < 8; type++) {
        if (!m->entry[type])
            return false;
    }
    return true;
}

/* A stored section of coding 0 as a buffer that borrows it. */
static fmp_buf borrow(const image *m, unsigned type)
{
    return (fmp_buf){.data = m->section[type], .len = m->stored[type]};
}

static bool tensor_digest(const fmp_store *store, uint32_t tensor, fmp_digest *ret)
{
    const uint64_t n_bytes = fmp_store_tensor(store, tensor).n_bytes;
    uint8_t *data = n_bytes <= MAX_TENSOR ? malloc(n_bytes ? n_bytes : 1) : NULL;
    const bool right = data && !fmp_store_read(store, tensor, 0, data, n_bytes, NULL);
    fmp_merkle merkle;

    if (right) {
        fmp_merkle_init(&merkle);
        for (uint64_t off = 0; off < n_bytes; off += FMP_LEAF_LEN) {
            const uint64_t n = n_bytes - off < FMP_LEAF_LEN ? n_bytes - off : FMP_LEAF_LEN;
            const fmp_digest leaf = fmp_leaf_digest(off / FMP_LEAF_LEN, data + off, n);

            fmp_merkle_push(&merkle, &leaf);
        }
        *ret = fmp_merkle_final(&merkle, n_bytes);
    }
    free(data);
    return right;
}

/* Puts the base's digests into section 3. */
static void mend_digests(image *m, const fmp_table *t, const fmp_store *base)
{
    for (uint32_t i = 0; i < t->n_rows; i++) {
        const fmp_row *row = &t->rows[i];
        const uint32_t tensor = row->base_digest == FMP_NONE
                                    ? UINT32_MAX
                                    : fmp_store_find(base, t->names + row->name_at, row->name_len);
        fmp_digest d;

        if (tensor != UINT32_MAX && tensor_digest(base, tensor, &d) &&
            (row->base_digest + 1ull) * FMP_DIGEST_LEN <= m->stored[3])
            memcpy(m->section[3] + (size_t)row->base_digest * FMP_DIGEST_LEN, d.b, sizeof d.b);
    }
}

/* Writes hex digits over those behind `key`, from `*at` on. */
static void put_root(image *m, const char *key, const fmp_digest *root, size_t *at)
{
    const size_t n = strlen(key);
    char hex[2 * FMP_DIGEST_LEN + 1];

    fmp_digest_hex(root, hex);
    while (*at + n + sizeof hex <= m->stored[1]) {
        uint8_t *p = m->section[1] + (*at)++;

        if (memcmp(p, key, n) != 0)
            continue;
        memcpy(p + n, hex, sizeof hex - 1);
        *at += n + sizeof hex - 2;
        return;
    }
}

static void mend_manifest(image *m, const fmp_table *t)
{
    size_t at = 0;

    for (int side = 0; side < 2; side++) {
        fmp_digest root;
        fmp_digest shape_root;

        fmp_table_roots(t, side == 1, &root, &shape_root);
        put_root(m, "\"root\":\"", &root, &at);
        put_root(m, "\"shape_root\":\"", &shape_root, &at);
    }
}

static void mend_tables(image *m, const fmp_store *base)
{
    const fmp_buf rows = borrow(m, 2);
    const fmp_buf digests = borrow(m, 3);
    fmp_table t = {0};

    if (fmp_table_parse(&rows, &digests, 1000, "fuzz", &t, NULL))
        return;
    mend_digests(m, &t, base);
    fmp_table_release(&t);
    if (fmp_table_parse(&rows, &digests, 1000, "fuzz", &t, NULL))
        return;
    mend_manifest(m, &t);
    fmp_table_release(&t);
}

static void mend_frames(image *m)
{
    const fmp_buf bytes = borrow(m, 4);
    fmp_frames f = {0};

    if (fmp_frames_parse(&bytes, m->stored[5] / FMP_DIGEST_LEN, "fuzz", &f, NULL))
        return;
    for (uint32_t i = 0; i < f.n; i++) {
        const fmp_frame_entry *e = &f.entry[i];
        fmp_digest d;

        if (e->payload_off > m->stored[7] || e->stored > m->stored[7] - e->payload_off)
            break;
        d = fmp_digest_of(m->section[7] + e->payload_off, e->stored);
        memcpy(m->section[5] + (size_t)i * FMP_DIGEST_LEN, d.b, sizeof d.b);
    }
    fmp_frames_release(&f);
}

static void mend(image *m, const fmp_store *base)
{
    if (!find_sections(m))
        return;
    mend_tables(m, base);
    mend_frames(m);
    for (unsigned type = 1; type < 8; type++) {
        const unsigned of = type == 7 ? 5 : type;
        const fmp_digest d = fmp_digest_of(m->section[of], m->stored[of]);

        memcpy(m->entry[type] + 32, d.b, sizeof d.b);
    }
}

static void combine(const fmp_patch *p)
{
    static const char *const all[] = {"*a*", "*w*"};
    const fmp_subset_options part = {.size = sizeof part, .tensors = all, .n_tensors = 2};
    const fmp_create_options o = {.size = sizeof o, .n_threads = 1, .replace = true};
    const char *path = fuzz_file_path("made.fmp");

    for (int verb = 0; verb < 3; verb++) {
        fmp_patch *made;
        const fmp_status st = verb == 0   ? fmp_invert(p, path, &o, NULL, NULL)
                              : verb == 1 ? fmp_squash(&p, 1, path, &o, NULL, NULL)
                                          : fmp_subset(p, &part, path, &o, NULL, NULL);

        if (st)
            continue;
        if (fmp_patch_open(path, NULL, &made, NULL))
            abort();
        fmp_patch_close(made);
    }
}

/* `fits`: the patch makes the target that it names of this base, and its other frames are right. */
static void recode(const fmp_store *base, fmp_patch *p, bool fits)
{
    const fmp_apply_options dry = {.size = sizeof dry, .n_threads = 1, .dry_run = true};
    fmp_create_options o = {.size = sizeof o, .n_threads = 1, .replace = true};

    for (int profile = 0; profile < 2; profile++) {
        fmp_patch *made;
        fmp_status st;

        o.profile = profile ? FMP_PROFILE_COMPACT : FMP_PROFILE_OPEN;
        o.level = profile ? 9 : 1;
        st = fmp_recode(base, p, fuzz_file_path("made.fmp"), &o, NULL, NULL);
        if (st && fits)
            abort();
        if (st)
            continue;
        if (fmp_patch_open(fuzz_file_path("made.fmp"), NULL, &made, NULL))
            abort();
        if (fits && fmp_apply(base, (const fmp_patch *const *)&made, 1, fuzz_file_path("out"), &dry,
                              NULL, NULL))
            abort();
        fmp_patch_close(made);
    }
}

static void apply(const fmp_store *base, const image *m)
{
    const fmp_limits limits = {.size = sizeof limits,
                               .max_tensors = 1000,
                               .max_files = 100,
                               .max_index = 4 << 20,
                               .max_size = 16 << 20};
    const fmp_patch_options po = {.size = sizeof po, .limits = &limits};
    fmp_apply_options o = {.size = sizeof o, .n_threads = 1, .dry_run = true};
    fmp_apply_result result;
    fmp_patch *p;
    int i;

    fuzz_file_write("input.fmp", m->data, m->len);
    if (fmp_patch_open(fuzz_file_path("input.fmp"), &po, &p, NULL))
        return;
    for (i = 0; i < 2; i++) {
        o.layout_base = i;
        if (fmp_apply(base, (const fmp_patch *const *)&p, 1, fuzz_file_path("out"), &o, &result,
                      NULL))
            break;
    }
    if (!access(fuzz_file_path("out"), F_OK))
        abort();
    combine(p);
    recode(base, p, i == 2 && !fmp_verify(p, base, 1, (fmp_progress){NULL, NULL}, NULL));
    fmp_patch_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const size_t n = len < 4 ? 0 : (size_t)le(data, 4);
    fmp_store *base;
    image m = {0};

    if (len < 4 || n > len - 4)
        return 0;
    fuzz_file_write("base.safetensors", data + 4, n);
    if (fmp_store_open(fuzz_file_path("base.safetensors"), NULL, &base, NULL))
        return 0;
    m.len = len - 4 - n;
    m.data = malloc(m.len ? m.len : 1);
    if (m.data) {
        memcpy(m.data, data + 4 + n, m.len);
        mend(&m, base);
        apply(base, &m);
    }
    free(m.data);
    fmp_store_close(base);
    return 0;
}
