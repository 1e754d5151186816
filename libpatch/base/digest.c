/*
 * Identity.  See digest.h.
 */
#include "base/digest.h"

#include <pthread.h>
#include <string.h>

#include <sodium.h>
#define XXH_STATIC_LINKING_ONLY /* for the size of its state */
#include <xxhash.h>

#define XXH_STATE_ALIGN 64u

_Static_assert(sizeof(crypto_generichash_blake2b_state) <= sizeof((fmp_hasher){{0}}.opaque),
               "fmp_hasher is too small");
_Static_assert(sizeof(XXH3_state_t) + XXH_STATE_ALIGN - 1 <= sizeof((fmp_xxh){{0}, 0}.opaque),
               "fmp_xxh is too small");

/* Personal strings are 16 bytes, padded with zeros. */
static const uint8_t personal_leaf[16] = "fmp1-leaf";
static const uint8_t personal_node[16] = "fmp1-node";
static const uint8_t personal_root[16] = "fmp1-root";
static const uint8_t personal_model[16] = "fmp1-model";
static const uint8_t personal_shape[16] = "fmp1-shape";

static crypto_generichash_blake2b_state *state_of(fmp_hasher *h)
{
    return (crypto_generichash_blake2b_state *)(void *)h->opaque;
}

/* Picks the code for this CPU.  Where that fails, hashing still works, slowly. */
static void start_sodium(void)
{
    (void)!sodium_init();
}

static void need_sodium(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, start_sodium);
}

static void hasher_init_personal(fmp_hasher *h, const uint8_t personal[16])
{
    need_sodium();
    crypto_generichash_blake2b_init_salt_personal(state_of(h), NULL, 0, FMP_DIGEST_LEN, NULL,
                                                  personal);
}

static void update_le(fmp_hasher *h, uint64_t value, unsigned n_bytes)
{
    uint8_t le[8];

    for (unsigned i = 0; i < n_bytes; i++)
        le[i] = (uint8_t)(value >> (8 * i));
    fmp_hasher_update(h, le, n_bytes);
}

bool fmp_digest_equal(const fmp_digest *a, const fmp_digest *b)
{
    return memcmp(a->b, b->b, FMP_DIGEST_LEN) == 0;
}

fmp_digest fmp_digest_of(const void *data, size_t len)
{
    fmp_hasher h;

    fmp_hasher_init(&h);
    fmp_hasher_update(&h, data, len);
    return fmp_hasher_final(&h);
}

void fmp_hasher_init(fmp_hasher *h)
{
    need_sodium();
    crypto_generichash_blake2b_init(state_of(h), NULL, 0, FMP_DIGEST_LEN);
}

void fmp_hasher_update(fmp_hasher *h, const void *data, size_t len)
{
    if (len)
        crypto_generichash_blake2b_update(state_of(h), data, len);
}

fmp_digest fmp_hasher_final(fmp_hasher *h)
{
    fmp_digest d;

    crypto_generichash_blake2b_final(state_of(h), d.b, FMP_DIGEST_LEN);
    return d;
}

fmp_digest fmp_leaf_digest(uint64_t index, const void *data, size_t len)
{
    fmp_hasher h;

    hasher_init_personal(&h, personal_leaf);
    update_le(&h, index, 8);
    update_le(&h, len, 8);
    fmp_hasher_update(&h, data, len);
    return fmp_hasher_final(&h);
}

static fmp_digest node_of(const fmp_digest *left, const fmp_digest *right)
{
    fmp_hasher h;

    hasher_init_personal(&h, personal_node);
    fmp_hasher_update(&h, left->b, FMP_DIGEST_LEN);
    fmp_hasher_update(&h, right->b, FMP_DIGEST_LEN);
    return fmp_hasher_final(&h);
}

void fmp_merkle_init(fmp_merkle *m)
{
    m->n_leaves = 0;
}

/* As a binary counter: level k holds a full subtree of 2^k leaves when bit k of n_leaves is set. */
void fmp_merkle_push(fmp_merkle *m, const fmp_digest *leaf)
{
    fmp_digest d = *leaf;
    unsigned k = 0;

    for (; m->n_leaves >> k & 1; k++)
        d = node_of(&m->level[k], &d);
    m->level[k] = d;
    m->n_leaves++;
}

/* An odd node is promoted: from the smallest subtree up, each joins the next larger one. */
fmp_digest fmp_merkle_final(const fmp_merkle *m, uint64_t n_bytes)
{
    fmp_digest top = {{0}};
    bool have = false;
    fmp_hasher h;

    for (unsigned k = 0; k < 64; k++) {
        if (!(m->n_leaves >> k & 1))
            continue;
        top = have ? node_of(&m->level[k], &top) : m->level[k];
        have = true;
    }
    hasher_init_personal(&h, personal_root);
    update_le(&h, n_bytes, 8);
    update_le(&h, FMP_LEAF_LEN, 8);
    if (have)
        fmp_hasher_update(&h, top.b, FMP_DIGEST_LEN);
    return fmp_hasher_final(&h);
}

void fmp_root_init(fmp_root *r, bool shapes_only)
{
    hasher_init_personal(&r->h, shapes_only ? personal_shape : personal_model);
    r->n = 0;
}

void fmp_root_push(fmp_root *r, const char *name, size_t name_len, const char *dtype, uint32_t rank,
                   const uint64_t *shape, const fmp_digest *digest)
{
    const size_t dtype_len = strlen(dtype);

    update_le(&r->h, name_len, 4);
    fmp_hasher_update(&r->h, name, name_len);
    update_le(&r->h, dtype_len, 1);
    fmp_hasher_update(&r->h, dtype, dtype_len);
    update_le(&r->h, rank, 4);
    for (uint32_t i = 0; i < rank; i++)
        update_le(&r->h, shape[i], 8);
    if (digest)
        fmp_hasher_update(&r->h, digest->b, FMP_DIGEST_LEN);
    r->n++;
}

fmp_digest fmp_root_final(fmp_root *r)
{
    update_le(&r->h, r->n, 8);
    return fmp_hasher_final(&r->h);
}

void fmp_digest_hex(const fmp_digest *d, char hex[2 * FMP_DIGEST_LEN + 1])
{
    sodium_bin2hex(hex, 2 * FMP_DIGEST_LEN + 1, d->b, FMP_DIGEST_LEN);
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool fmp_digest_from_hex(const char *hex, fmp_digest *ret)
{
    fmp_digest d;

    for (size_t i = 0; i < FMP_DIGEST_LEN; i++) {
        const int high = hex_value(hex[2 * i]);
        const int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);

        if (low < 0)
            return false;
        d.b[i] = (uint8_t)(high << 4 | low);
    }
    if (hex[2 * FMP_DIGEST_LEN])
        return false;
    *ret = d;
    return true;
}

/* XXH3 wants 64-byte alignment, which neither the heap nor a struct that is copied promises: the
 * state lies at the first such address in x->opaque, and moves when that has become another. */
static size_t aligned_shift(const fmp_xxh *x)
{
    return -(uintptr_t)x->opaque & (XXH_STATE_ALIGN - 1);
}

static XXH3_state_t *xxh_state(fmp_xxh *x)
{
    const size_t shift = aligned_shift(x);

    if (shift != x->shift) {
        memmove(x->opaque + shift, x->opaque + x->shift, sizeof(XXH3_state_t));
        x->shift = (uint8_t)shift;
    }
    return (XXH3_state_t *)(void *)(x->opaque + shift);
}

void fmp_xxh_init(fmp_xxh *x)
{
    XXH3_state_t *state;

    *x = (fmp_xxh){.shift = (uint8_t)aligned_shift(x)};
    state = xxh_state(x);
    (void)XXH3_64bits_reset(state);
}

void fmp_xxh_update(fmp_xxh *x, const void *data, size_t len)
{
    if (len)
        (void)XXH3_64bits_update(xxh_state(x), data, len);
}

uint64_t fmp_xxh_final(const fmp_xxh *x)
{
    fmp_xxh copy = *x;

    return XXH3_64bits_digest(xxh_state(&copy));
}
