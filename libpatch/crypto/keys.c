/*
 * Key pairs and the text of public keys, which is minisign's.  See keys.h and fmpatch.h.
 */
#include "crypto/keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "crypto/text.h"

#define PUBLIC_BLOB_LEN 42 /* "Ed", number 8, public key 32 */

fmp_status fmp_crypto_init(fmp_error *err)
{
    if (sodium_init() < 0)
        return fmp_fail(err, FMP_EIO, FMP_NO_OFFSET, "libsodium cannot be initialised");
    return FMP_OK;
}

void *fmp_secret_alloc(size_t size)
{
    void *probe = fmp_malloc(1); /* so that a planned failure of a test reaches locked memory too */

    fmp_free(probe);
    return probe ? sodium_malloc(size) : NULL;
}

void fmp_secret_free(void *ptr)
{
    sodium_free(ptr);
}

void fmp_public_key_set(fmp_public_key *k, const uint8_t key[32], const uint8_t *number)
{
    static const uint8_t personal[crypto_generichash_blake2b_PERSONALBYTES] = "fmp1-keyid";
    uint8_t message[2 + 32] = {FMP_SUITE_ED25519, 0};

    memcpy(message + 2, key, 32);
    memcpy(k->key, key, 32);
    crypto_generichash_blake2b_salt_personal(k->id, sizeof k->id, message, sizeof message, NULL, 0,
                                             NULL, personal);
    memcpy(k->number, number ? number : k->id, sizeof k->number);
}

void fmp_key_id_hex(const uint8_t id[FMP_KEY_ID_LEN], char hex[2 * FMP_KEY_ID_LEN + 1])
{
    sodium_bin2hex(hex, 2 * FMP_KEY_ID_LEN + 1, id, FMP_KEY_ID_LEN);
}

void fmp_key_number_hex(const uint8_t number[8], char hex[17])
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)number[i] << (8 * i);
    snprintf(hex, 17, "%016" PRIX64, v);
}

fmp_status fmp_secret_key_from(const uint8_t secret[64], const uint8_t *number, const char *what,
                               fmp_secret_key **ret, fmp_error *err)
{
    fmp_secret_key *k = fmp_secret_alloc(sizeof *k);
    uint8_t public_half[32];

    if (!k)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: no memory for a secret key", what);
    crypto_sign_seed_keypair(public_half, k->secret, secret);
    if (sodium_memcmp(k->secret, secret, sizeof k->secret)) {
        fmp_secret_free(k);
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: the public half of the secret key is not its seed's", what);
    }
    fmp_public_key_set(&k->pub, public_half, number);
    sodium_mprotect_readonly(k);
    *ret = k;
    return FMP_OK;
}

fmp_status fmp_secret_key_generate(fmp_secret_key **ret, fmp_error *err)
{
    fmp_status st = fmp_crypto_init(err);
    uint8_t public_half[32];
    uint8_t secret[64];

    if (st)
        return st;
    crypto_sign_keypair(public_half, secret);
    st = fmp_secret_key_from(secret, NULL, "new key", ret, err);
    sodium_memzero(secret, sizeof secret);
    return st;
}

fmp_public_key fmp_secret_key_public(const fmp_secret_key *key)
{
    return key->pub;
}

void fmp_secret_key_free(fmp_secret_key *key)
{
    fmp_secret_free(key);
}

/* `blob` is the decoded base64 line of `len` bytes. */
static fmp_status parse_blob(const uint8_t *blob, size_t len, const char *what, fmp_public_key *ret,
                             fmp_error *err)
{
    if (len != PUBLIC_BLOB_LEN)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: a public key is %d bytes in base64, found %zu", what, PUBLIC_BLOB_LEN,
                        len);
    if (memcmp(blob, "Ed", 2))
        return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                        "%s: key algorithm 0x%02x%02x, expected \"Ed\" (Ed25519)", what, blob[0],
                        blob[1]);
    if (!crypto_core_ed25519_is_valid_point(blob + 10))
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: its 32 bytes are not an Ed25519 public key", what);
    fmp_public_key_set(ret, blob + 10, blob + 2);
    return FMP_OK;
}

static fmp_status parse_text(const char *text, size_t len, const char *what, fmp_public_key *ret,
                             fmp_error *err)
{
    fmp_lines lines = {.at = text, .end = len ? text + len : text};
    fmp_line line = {0};
    fmp_line more;
    uint8_t blob[PUBLIC_BLOB_LEN + 2];
    size_t blob_len;
    fmp_status st = fmp_crypto_init(err);
    bool found;

    if (st)
        return st;
    found = fmp_lines_next(&lines, &line);
    if (found && fmp_line_skip(&line, FMP_LINE_UNTRUSTED))
        found = fmp_lines_next(&lines, &line);
    if (!found)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: no line with a public key", what);
    if (fmp_lines_next(&lines, &more) || lines.bad)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: text after the public key", what);
    if (!fmp_line_base64(&line, blob, sizeof blob, &blob_len))
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: not a public key, which is one line of 56 base64 digits", what);
    return parse_blob(blob, blob_len, what, ret, err);
}

fmp_status fmp_public_key_parse(const char *text, size_t len, fmp_public_key *ret, fmp_error *err)
{
    return parse_text(text, len, "public key", ret, err);
}

fmp_status fmp_public_key_load(const char *path, fmp_public_key *ret, fmp_error *err)
{
    uint8_t *text = NULL;
    size_t len = 0;
    fmp_status st = fmp_file_read_all(path, FMP_KEY_TEXT_MAX, &text, &len, err);

    if (st)
        return st;
    st = parse_text((const char *)text, len, path, ret, err);
    fmp_free(text);
    return st;
}

void fmp_public_key_text(const fmp_public_key *key, char text[256])
{
    uint8_t blob[PUBLIC_BLOB_LEN] = "Ed";
    char base64[sodium_base64_ENCODED_LEN(PUBLIC_BLOB_LEN, sodium_base64_VARIANT_ORIGINAL)];
    char number[17];
    const char *digits = number;

    memcpy(blob + 2, key->number, 8);
    memcpy(blob + 10, key->key, 32);
    sodium_bin2base64(base64, sizeof base64, blob, sizeof blob, sodium_base64_VARIANT_ORIGINAL);
    fmp_key_number_hex(key->number, number);
    while (*digits == '0' && digits[1]) /* as minisign prints it */
        digits++;
    snprintf(text, 256, FMP_LINE_UNTRUSTED "minisign public key %s\n%s\n", digits, base64);
}
