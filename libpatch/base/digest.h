/*
 * Identity: BLAKE2b-256 with a personal string for each use, the Merkle digest of a tensor, the
 * model root, and XXH3 sums.  FORMAT.md, section "Identity", is the text that this file implements.
 */
#ifndef FMP_BASE_DIGEST_H
#define FMP_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FMP_DIGEST_LEN 32
#define FMP_LEAF_LEN   (1u << 20)

typedef struct fmp_digest {
    uint8_t b[FMP_DIGEST_LEN];
} fmp_digest;

bool fmp_digest_equal(const fmp_digest *a, const fmp_digest *b);

/* Plain BLAKE2b-256 of one string of bytes: sections, frames. */
fmp_digest fmp_digest_of(const void *data, size_t len);

/* The same in pieces. */
typedef struct fmp_hasher {
    _Alignas(16) uint8_t opaque[384]; /* crypto_generichash_blake2b_state */
} fmp_hasher;

void fmp_hasher_init(fmp_hasher *h); /* plain BLAKE2b-256 */
void fmp_hasher_update(fmp_hasher *h, const void *data, size_t len);
fmp_digest fmp_hasher_final(fmp_hasher *h);

/* Leaf number `index` of a tensor: at most FMP_LEAF_LEN bytes. */
fmp_digest fmp_leaf_digest(uint64_t index, const void *data, size_t len);

/* Folds leaf digests, given in order, into a tensor digest.  64 levels: any tensor. */
typedef struct fmp_merkle {
    fmp_digest level[64];
    uint64_t n_leaves;
} fmp_merkle;

void fmp_merkle_init(fmp_merkle *m);
void fmp_merkle_push(fmp_merkle *m, const fmp_digest *leaf);
/* `n_bytes` is the tensor's length; an empty tensor has no leaf. */
fmp_digest fmp_merkle_final(const fmp_merkle *m, uint64_t n_bytes);

/* Model root or, with `digest` NULL for every tensor, shape root.  Tensors in byte order of names.
 */
typedef struct fmp_root {
    fmp_hasher h;
    uint64_t n;
} fmp_root;

void fmp_root_init(fmp_root *r, bool shapes_only);
void fmp_root_push(fmp_root *r, const char *name, size_t name_len, const char *dtype, uint32_t rank,
                   const uint64_t *shape, const fmp_digest *digest);
fmp_digest fmp_root_final(fmp_root *r);

/* Lower-case hex, NUL-terminated; and back, false unless exactly 64 lower-case hex digits. */
void fmp_digest_hex(const fmp_digest *d, char hex[2 * FMP_DIGEST_LEN + 1]);
bool fmp_digest_from_hex(const char *hex, fmp_digest *ret);

/* XXH3-64 in pieces, for the touched-element check of a frame; never part of a trust decision. */
typedef struct fmp_xxh {
    uint8_t opaque[640]; /* XXH3_state_t, wherever in there it is aligned */
    uint8_t shift;       /* where that was when it was last written */
} fmp_xxh;

void fmp_xxh_init(fmp_xxh *x);
void fmp_xxh_update(fmp_xxh *x, const void *data, size_t len);
uint64_t fmp_xxh_final(const fmp_xxh *x);

#endif
