/*
 * The text of a secret key file, apart from the file: what fmp_secret_key_load() and _save() are
 * made of, so that tests choose the cost and fuzzers need no files.
 */
#ifndef FMP_CRYPTO_KEYFILE_H
#define FMP_CRYPTO_KEYFILE_H

#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"

#define FMP_KEYFILE_TEXT_MAX 512 /* of what we write, NUL included */
#define FMP_PASSPHRASE_MAX   1024

/* What a passphrase costs: libsodium's opslimit and memlimit. */
typedef struct fmp_kdf_cost {
    uint64_t ops;
    uint64_t mem; /* bytes */
} fmp_kdf_cost;

/* What is written: scrypt as minisign's default, Argon2id at libsodium's MODERATE. */
fmp_kdf_cost fmp_kdf_default(fmp_key_format format);

/* `what` names the file in messages.  `ask` is called at most once, after everything about the text
 * has been checked, and only for an encrypted key. */
fmp_status fmp_keyfile_parse(const char *text, size_t len, const char *what, fmp_passphrase_fn ask,
                             void *ctx, fmp_secret_key **ret, fmp_error *err);

/* Two lines, NUL-terminated; the caller wipes them.  `passphrase` NULL: unencrypted. */
fmp_status fmp_keyfile_text(const fmp_secret_key *key, fmp_key_format format,
                            const char *passphrase, fmp_kdf_cost cost, const char *what,
                            char text[FMP_KEYFILE_TEXT_MAX], fmp_error *err);

#endif
