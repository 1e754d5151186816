/*
 * Secret key files: minisign's (scrypt, or not encrypted) and our own (Argon2id), which have the
 * same shape.  A file is read only when it is the caller's alone, and a passphrase is asked for
 * only when the rest of the file is right.  Whatever held a secret is wiped.
 */
#include "crypto/keyfile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/cursor.h"
#include "base/file.h"
#include "base/status.h"
#include "crypto/access.h"
#include "crypto/keys.h"
#include "crypto/text.h"

#define BOX_LEN      104 /* number 8, secret 64, checksum 32 */
#define NUMBER_LEN   8
#define SECRET_LEN   64
#define CHECKSUM_LEN 32
#define SALT_SCRYPT  32
#define SALT_ARGON2  16
#define BLOB_SCRYPT  158 /* 2 + 2 + 2, salt, 8 + 8, box */
#define BLOB_ARGON2  142
#define BASE64_MAX   sodium_base64_ENCODED_LEN(BLOB_SCRYPT, sodium_base64_VARIANT_ORIGINAL)

/* Reading: nothing in the file is authentic before the passphrase is right, so that cost is
 * bounded. */
#define SCRYPT_MEM_MAX (UINT64_C(4) << 30)
#define SCRYPT_OPS_MAX (UINT64_C(4) * crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE)
#define ARGON2_OPS_MIN crypto_pwhash_argon2id_OPSLIMIT_INTERACTIVE
#define ARGON2_OPS_MAX (UINT64_C(4) * crypto_pwhash_argon2id_OPSLIMIT_SENSITIVE)
#define ARGON2_MEM_MIN crypto_pwhash_argon2id_MEMLIMIT_INTERACTIVE
#define ARGON2_MEM_MAX (UINT64_C(4) * crypto_pwhash_argon2id_MEMLIMIT_SENSITIVE)

_Static_assert(BLOB_SCRYPT == 6 + SALT_SCRYPT + 16 + BOX_LEN, "minisign's secret key");
_Static_assert(BLOB_ARGON2 == 6 + SALT_ARGON2 + 16 + BOX_LEN, "our secret key");
_Static_assert(BOX_LEN == NUMBER_LEN + SECRET_LEN + CHECKSUM_LEN, "what is sealed");

typedef enum kdf_kind { KDF_NONE, KDF_SCRYPT, KDF_ARGON2ID } kdf_kind;

/* The second line, decoded.  The pointers lead into the decoded bytes. */
typedef struct sealed_key {
    kdf_kind kdf;
    const uint8_t *salt;
    fmp_kdf_cost cost;
    const uint8_t *box;
} sealed_key;

fmp_kdf_cost fmp_kdf_default(fmp_key_format format)
{
    if (format == FMP_KEY_ARGON2ID)
        return (fmp_kdf_cost){crypto_pwhash_argon2id_OPSLIMIT_MODERATE,
                              crypto_pwhash_argon2id_MEMLIMIT_MODERATE};
    return (fmp_kdf_cost){crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE,
                          crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE};
}

/* BLAKE2b-256 of the algorithm, the number and the secret, as minisign has it. */
static void checksum(const uint8_t *number, const uint8_t *secret, uint8_t sum[CHECKSUM_LEN])
{
    crypto_generichash_state h;

    crypto_generichash_init(&h, NULL, 0, CHECKSUM_LEN);
    crypto_generichash_update(&h, (const uint8_t *)"Ed", 2);
    crypto_generichash_update(&h, number, NUMBER_LEN);
    crypto_generichash_update(&h, secret, SECRET_LEN);
    crypto_generichash_final(&h, sum, CHECKSUM_LEN);
    sodium_memzero(&h, sizeof h);
}

/* XORs the box with what the passphrase gives. */
static fmp_status crypt_box(const sealed_key *s, const char *pass, size_t pass_len,
                            uint8_t box[BOX_LEN], const char *what, fmp_error *err)
{
    uint8_t stream[BOX_LEN];
    int rc;

    errno = 0;
    if (s->kdf == KDF_SCRYPT)
        rc = crypto_pwhash_scryptsalsa208sha256(stream, sizeof stream, pass, pass_len, s->salt,
                                                s->cost.ops, (size_t)s->cost.mem);
    else
        rc = crypto_pwhash(stream, sizeof stream, pass, pass_len, s->salt, s->cost.ops,
                           (size_t)s->cost.mem, crypto_pwhash_ALG_ARGON2ID13);
    if (rc && errno != EINVAL)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET,
                        "%s: the passphrase's key derivation needs %llu MiB of memory", what,
                        (unsigned long long)(s->cost.mem >> 20));
    if (rc)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: no key derivation with opslimit %llu and memlimit %llu", what,
                        (unsigned long long)s->cost.ops, (unsigned long long)s->cost.mem);
    for (size_t i = 0; i < BOX_LEN; i++)
        box[i] ^= stream[i];
    sodium_memzero(stream, sizeof stream);
    return FMP_OK;
}

static fmp_status check_cost(const sealed_key *s, const char *what, fmp_error *err)
{
    const bool argon = s->kdf == KDF_ARGON2ID;
    const fmp_kdf_cost most = {argon ? ARGON2_OPS_MAX : SCRYPT_OPS_MAX,
                               argon ? ARGON2_MEM_MAX : SCRYPT_MEM_MAX};

    if (s->kdf == KDF_NONE)
        return FMP_OK;
    if (s->cost.ops > most.ops || s->cost.mem > most.mem || s->cost.mem > SIZE_MAX)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET,
                        "%s: asks for a key derivation of opslimit %llu and memlimit %llu, at most "
                        "%llu and %llu",
                        what, (unsigned long long)s->cost.ops, (unsigned long long)s->cost.mem,
                        (unsigned long long)most.ops, (unsigned long long)most.mem);
    if (argon && (s->cost.ops < ARGON2_OPS_MIN || s->cost.mem < ARGON2_MEM_MIN))
        return fmp_fail(err, FMP_EPOLICY, FMP_NO_OFFSET,
                        "%s: its key derivation is too weak: opslimit %llu and memlimit %llu, at "
                        "least %llu and %llu",
                        what, (unsigned long long)s->cost.ops, (unsigned long long)s->cost.mem,
                        (unsigned long long)ARGON2_OPS_MIN, (unsigned long long)ARGON2_MEM_MIN);
    return FMP_OK;
}

/* Reads the fields of the decoded line. */
static fmp_status parse_sealed(const uint8_t *blob, size_t len, const char *what, sealed_key *ret,
                               fmp_error *err)
{
    const bool argon = len == BLOB_ARGON2;
    fmp_cursor c = fmp_cur(blob, len);
    const uint8_t *ids = fmp_cur_take(&c, 6);

    if (len != BLOB_SCRYPT && !argon)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: a secret key is %d or %d bytes in base64, found %zu", what,
                        BLOB_SCRYPT, BLOB_ARGON2, len);
    if (memcmp(ids, "Ed", 2) || memcmp(ids + 4, "B2", 2))
        return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                        "%s: not an Ed25519 key with a BLAKE2b checksum", what);
    if (argon && !memcmp(ids + 2, "A2", 2))
        ret->kdf = KDF_ARGON2ID;
    else if (!argon && !memcmp(ids + 2, "Sc", 2))
        ret->kdf = KDF_SCRYPT;
    else if (!argon && !memcmp(ids + 2, "\0\0", 2))
        ret->kdf = KDF_NONE;
    else
        return fmp_fail(err, FMP_ENOTSUP, FMP_NO_OFFSET,
                        "%s: key derivation 0x%02x%02x is neither scrypt nor Argon2id", what,
                        ids[2], ids[3]);
    ret->salt = fmp_cur_take(&c, argon ? SALT_ARGON2 : SALT_SCRYPT);
    ret->cost.ops = fmp_cur_le(&c, 8);
    ret->cost.mem = fmp_cur_le(&c, 8);
    ret->box = fmp_cur_take(&c, BOX_LEN);
    return check_cost(ret, what, err);
}

/* Asks for the passphrase and opens `box` with it. */
static fmp_status decrypt_box(const sealed_key *s, const char *what, fmp_passphrase_fn ask,
                              void *ctx, uint8_t box[BOX_LEN], fmp_error *err)
{
    char prompt[FMP_PASSPHRASE_MAX];
    char *pass;
    fmp_status st;
    int n;

    if (!ask)
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "%s: the key is encrypted, and there is no way to ask for its passphrase",
                        what);
    pass = fmp_secret_alloc(FMP_PASSPHRASE_MAX);
    if (!pass)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: no memory for a passphrase", what);
    snprintf(prompt, sizeof prompt, "Passphrase for %s: ", what);
    n = ask(ctx, prompt, pass, FMP_PASSPHRASE_MAX);
    if (n < 0)
        st = fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET, "%s: no passphrase was given", what);
    else if (n > FMP_PASSPHRASE_MAX)
        st = fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: a passphrase has at most %d bytes", what,
                      FMP_PASSPHRASE_MAX);
    else
        st = crypt_box(s, pass, (size_t)n, box, what, err);
    fmp_secret_free(pass);
    return st;
}

/* The box, in the clear, is right when its checksum is; minisign leaves the checksum of an
 * unencrypted key zero. */
static fmp_status open_box(const sealed_key *s, const uint8_t box[BOX_LEN], const char *what,
                           fmp_secret_key **ret, fmp_error *err)
{
    const uint8_t *secret = box + NUMBER_LEN;
    const uint8_t *found = secret + SECRET_LEN;
    uint8_t sum[CHECKSUM_LEN];
    const bool bare = s->kdf == KDF_NONE && sodium_is_zero(found, CHECKSUM_LEN);
    bool right;

    checksum(box, secret, sum);
    right = bare || sodium_memcmp(sum, found, CHECKSUM_LEN) == 0;
    sodium_memzero(sum, sizeof sum);
    if (!right && s->kdf == KDF_NONE)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET, "%s: the key's checksum is wrong", what);
    if (!right)
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "%s: wrong passphrase (or a damaged key file)", what);
    return fmp_secret_key_from(secret, box, what, ret, err);
}

fmp_status fmp_keyfile_parse(const char *text, size_t len, const char *what, fmp_passphrase_fn ask,
                             void *ctx, fmp_secret_key **ret, fmp_error *err)
{
    fmp_lines lines = {.at = text, .end = len ? text + len : text};
    fmp_line line = {0};
    fmp_line more;
    uint8_t blob[BLOB_SCRYPT + 2] = {0};
    uint8_t box[BOX_LEN];
    size_t blob_len = 0;
    sealed_key sealed;
    fmp_status st = fmp_crypto_init(err);

    if (st)
        return st;
    if (!fmp_lines_next(&lines, &line) || !fmp_line_skip(&line, FMP_LINE_UNTRUSTED) ||
        !fmp_lines_next(&lines, &line) || fmp_lines_next(&lines, &more) || lines.bad)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: not a secret key, which is two lines: \"" FMP_LINE_UNTRUSTED
                        "...\", base64",
                        what);
    if (!fmp_line_base64(&line, blob, sizeof blob, &blob_len)) {
        st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                      "%s: not a secret key: its second line is not %zu base64 digits", what,
                      (size_t)BASE64_MAX - 1);
        goto out;
    }
    st = parse_sealed(blob, blob_len, what, &sealed, err);
    if (st)
        goto out;
    memcpy(box, sealed.box, sizeof box);
    if (sealed.kdf != KDF_NONE)
        st = decrypt_box(&sealed, what, ask, ctx, box, err);
    if (!st)
        st = open_box(&sealed, box, what, ret, err);

out:
    sodium_memzero(blob, sizeof blob);
    sodium_memzero(box, sizeof box);
    return st;
}

fmp_status fmp_secret_key_load(const char *path, bool any_mode, fmp_passphrase_fn ask, void *ctx,
                               fmp_secret_key **ret, fmp_error *err)
{
    fmp_file f = {0};
    char *text = NULL;
    fmp_status st = fmp_crypto_init(err);

    if (!st)
        st = fmp_file_open(&f, path, err);
    if (st)
        return st;
    if (!any_mode) {
        st = fmp_access_private(&f, err);
        if (st)
            goto out;
    }
    if (f.size > FMP_KEY_TEXT_MAX) {
        st = fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                      "%s: %llu bytes, a secret key file has at most %d", path,
                      (unsigned long long)f.size, FMP_KEY_TEXT_MAX);
        goto out;
    }
    text = fmp_secret_alloc((size_t)f.size + 1);
    if (!text) {
        st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: no memory for a secret key", path);
        goto out;
    }
    st = fmp_file_read(&f, 0, text, (size_t)f.size, err);
    if (!st)
        st = fmp_keyfile_parse(text, (size_t)f.size, path, ask, ctx, ret, err);

out:
    fmp_secret_free(text);
    fmp_file_close(&f);
    return st;
}

/* The line before base64: everything but the box, then the box. */
static fmp_status seal(const fmp_secret_key *key, kdf_kind kdf, const char *passphrase,
                       fmp_kdf_cost cost, const char *what, uint8_t blob[BLOB_SCRYPT],
                       size_t *ret_len, fmp_error *err)
{
    static const char ids[3][2] = {{0, 0}, {'S', 'c'}, {'A', '2'}};
    const size_t salt_len = kdf == KDF_ARGON2ID ? SALT_ARGON2 : SALT_SCRYPT;
    uint8_t *box = blob + 6 + salt_len + 16;

    memset(blob, 0, BLOB_SCRYPT);
    memcpy(blob, "Ed", 2);
    memcpy(blob + 2, ids[kdf], 2);
    memcpy(blob + 4, "B2", 2);
    memcpy(box, key->pub.number, NUMBER_LEN);
    memcpy(box + NUMBER_LEN, key->secret, SECRET_LEN);
    *ret_len = 6 + salt_len + 16 + BOX_LEN;
    if (kdf == KDF_NONE)
        return FMP_OK; /* salt, cost and checksum stay zero: so does minisign's file */
    randombytes_buf(blob + 6, salt_len);
    for (unsigned i = 0; i < 8; i++) {
        blob[6 + salt_len + i] = (uint8_t)(cost.ops >> (8 * i));
        blob[6 + salt_len + 8 + i] = (uint8_t)(cost.mem >> (8 * i));
    }
    checksum(box, box + NUMBER_LEN, box + NUMBER_LEN + SECRET_LEN);
    return crypt_box(&(sealed_key){.kdf = kdf, .salt = blob + 6, .cost = cost}, passphrase,
                     strlen(passphrase), box, what, err);
}

fmp_status fmp_keyfile_text(const fmp_secret_key *key, fmp_key_format format,
                            const char *passphrase, fmp_kdf_cost cost, const char *what,
                            char text[FMP_KEYFILE_TEXT_MAX], fmp_error *err)
{
    const bool argon = format == FMP_KEY_ARGON2ID;
    const kdf_kind kdf = argon ? KDF_ARGON2ID : passphrase ? KDF_SCRYPT : KDF_NONE;
    const char *comment = argon        ? "fmpatch encrypted secret key"
                          : passphrase ? "minisign encrypted secret key"
                                       : "minisign unencrypted secret key";
    uint8_t blob[BLOB_SCRYPT];
    char base64[BASE64_MAX];
    size_t len;
    fmp_status st = fmp_crypto_init(err);

    if (st)
        return st;
    if (argon && !passphrase)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "%s: a key in fmpatch's own format needs a passphrase", what);
    if (passphrase && !*passphrase)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: the passphrase is empty", what);
    if (passphrase && strlen(passphrase) > FMP_PASSPHRASE_MAX)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%s: a passphrase has at most %d bytes",
                        what, FMP_PASSPHRASE_MAX);
    st = seal(key, kdf, passphrase, cost, what, blob, &len, err);
    if (!st) {
        sodium_bin2base64(base64, sizeof base64, blob, len, sodium_base64_VARIANT_ORIGINAL);
        snprintf(text, FMP_KEYFILE_TEXT_MAX, FMP_LINE_UNTRUSTED "%s\n%s\n", comment, base64);
    }
    sodium_memzero(blob, sizeof blob);
    sodium_memzero(base64, sizeof base64);
    return st;
}

static fmp_status write_text(fmp_out *out, const char *text, fmp_error *err)
{
    fmp_status st = fmp_out_write(out, 0, text, strlen(text), err);

    return st ? st : fmp_out_sync(out, err);
}

fmp_status fmp_secret_key_save(const fmp_secret_key *key, fmp_key_format format,
                               const char *passphrase, const char *secret_path,
                               const char *public_path, fmp_error *err)
{
    fmp_out secret = {0};
    fmp_out public = {0};
    char secret_text[FMP_KEYFILE_TEXT_MAX];
    char public_text[256];
    fmp_status st;

    fmp_public_key_text(&key->pub, public_text);
    st = fmp_out_open(&secret, secret_path, 0, false, 0600, err);
    if (!st)
        st = fmp_out_open(&public, public_path, 0, false, 0644, err);
    if (!st)
        st = fmp_keyfile_text(key, format, passphrase, fmp_kdf_default(format), secret_path,
                              secret_text, err);
    if (!st)
        st = write_text(&secret, secret_text, err);
    if (!st)
        st = write_text(&public, public_text, err);
    if (!st)
        st = fmp_out_commit(&public, false, err);
    if (st)
        goto out;
    st = fmp_out_commit(&secret, false, err);
    if (st)
        remove(public_path); /* ours, made a moment ago: without a secret half it is of no use */

out:
    sodium_memzero(secret_text, sizeof secret_text);
    fmp_out_discard(&secret);
    fmp_out_discard(&public);
    return st;
}
