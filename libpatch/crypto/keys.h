/*
 * Keys as the rest of crypto/ sees them: what a secret key holds, where secrets live, and how a key
 * gets its id and number.  Knows nothing of files.
 */
#ifndef FMP_CRYPTO_KEYS_H
#define FMP_CRYPTO_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"

#define FMP_SUITE_ED25519 1

#define FMP_KEY_TEXT_MAX 8192 /* bytes of a key file that a reader looks at */

/* In one piece of memory from fmp_secret_alloc(), read-only once it is made. */
struct fmp_secret_key {
    fmp_public_key pub;
    uint8_t secret[64]; /* seed, then public key: libsodium's and minisign's form */
};

/* Readies libsodium.  Cheap and thread-safe: every entry that calls libsodium begins with it. */
fmp_status fmp_crypto_init(fmp_error *err);

/* Locked pages between guard pages, left out of core dumps.  NULL when there are none; also fails
 * when fmp_alloc_fail_at() says so. */
void *fmp_secret_alloc(size_t size) __attribute__((malloc, warn_unused_result));
/* Wipes; takes NULL. */
void fmp_secret_free(void *ptr);

/* Fills in id and number; `number` NULL means that it is the beginning of the id. */
void fmp_public_key_set(fmp_public_key *k, const uint8_t key[32], const uint8_t *number);

/* A handle for secret[64].  FMP_ECORRUPT, naming `what`, when its public half is not its seed's:
 * signing with such a pair would give the secret away. */
fmp_status fmp_secret_key_from(const uint8_t secret[64], const uint8_t *number, const char *what,
                               fmp_secret_key **ret, fmp_error *err);

/* 64 lower-case hex digits, and the 16 upper-case ones that minisign prints. */
void fmp_key_id_hex(const uint8_t id[FMP_KEY_ID_LEN], char hex[2 * FMP_KEY_ID_LEN + 1]);
void fmp_key_number_hex(const uint8_t number[8], char hex[17]);

#endif
