/*
 * minisign sidecars over whole files, in its prehashed form "ED" only: pure Ed25519 over the
 * 64-byte BLAKE2b of the file, and again over that signature with the trusted comment behind it.
 * The legacy form "Ed" is refused: nothing signed tells the two apart.
 */
#include "crypto/minisign.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/status.h"
#include "crypto/keys.h"
#include "crypto/text.h"

#define SIG_BLOB_LEN  74 /* "ED", number 8, signature 64 */
#define SIG_LEN       64
#define HASH_LEN      64
#define CHUNK_LEN     ((size_t)1 << 18)
#define BASE64_LEN(n) sodium_base64_ENCODED_LEN(n, sodium_base64_VARIANT_ORIGINAL)

/* ---- text -------------------------------------------------------------------------------------
 */

static fmp_status check_algorithm(const uint8_t alg[2], const char *what, fmp_error *err)
{
    if (!memcmp(alg, "ED", 2))
        return FMP_OK;
    if (!memcmp(alg, "Ed", 2))
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "%s: a legacy \"Ed\" signature, which is refused; sign again with minisign "
                        "0.10 or newer",
                        what);
    return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                    "%s: signature algorithm 0x%02x%02x, expected \"ED\"", what, alg[0], alg[1]);
}

fmp_status fmp_minisig_parse(const char *text, size_t len, const char *what, fmp_minisig *ret,
                             fmp_error *err)
{
    fmp_lines lines = {.at = text, .end = len ? text + len : text};
    fmp_line line[4] = {0};
    fmp_line more;
    uint8_t blob[SIG_BLOB_LEN];
    fmp_minisig m;
    size_t n = 0;
    fmp_status st;

    while (n < 4 && fmp_lines_next(&lines, &line[n]))
        n++;
    if (n < 4 || fmp_lines_next(&lines, &more) || lines.bad)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: not a minisign signature, which is four lines", what);
    if (!fmp_line_skip(&line[0], FMP_LINE_UNTRUSTED) || !fmp_line_skip(&line[2], FMP_LINE_TRUSTED))
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: lines 1 and 3 of a minisign signature begin with "
                        "\"" FMP_LINE_UNTRUSTED "\" and \"" FMP_LINE_TRUSTED "\"",
                        what);
    if (!fmp_line_base64(&line[1], blob, sizeof blob, &n) || n != sizeof blob)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: line 2 is not a signature of %d bytes in base64", what, SIG_BLOB_LEN);
    if (!fmp_line_base64(&line[3], m.global, sizeof m.global, &n) || n != sizeof m.global)
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: line 4 is not a signature of %d bytes in base64", what, SIG_LEN);
    if (line[2].len > FMP_TRUSTED_COMMENT_MAX || !fmp_text_is_plain(line[2].at, line[2].len, true))
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s: its trusted comment is not UTF-8 without control characters, at most "
                        "%d bytes",
                        what, FMP_TRUSTED_COMMENT_MAX);
    st = check_algorithm(blob, what, err);
    if (st)
        return st;
    memcpy(m.number, blob + 2, sizeof m.number);
    memcpy(m.sig, blob + 10, sizeof m.sig);
    m.comment = line[2].at;
    m.comment_len = line[2].len;
    *ret = m;
    return FMP_OK;
}

/* What the global signature is over; `message` has room for the longest. */
static size_t global_message(const uint8_t sig[SIG_LEN], const char *comment, size_t comment_len,
                             uint8_t message[SIG_LEN + FMP_TRUSTED_COMMENT_MAX])
{
    memcpy(message, sig, SIG_LEN);
    memcpy(message + SIG_LEN, comment, comment_len);
    return SIG_LEN + comment_len;
}

fmp_status fmp_minisig_check_comment(const fmp_minisig *m, const fmp_public_key *key,
                                     const char *what, fmp_error *err)
{
    uint8_t message[SIG_LEN + FMP_TRUSTED_COMMENT_MAX];
    char found[17];
    char expected[17];
    size_t len;

    if (memcmp(m->number, key->number, sizeof m->number)) {
        fmp_key_number_hex(m->number, found);
        fmp_key_number_hex(key->number, expected);
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET, "%s: signed by key %s, expected key %s",
                        what, found, expected);
    }
    len = global_message(m->sig, m->comment, m->comment_len, message);
    if (crypto_sign_verify_detached(m->global, message, len, key->key)) {
        fmp_key_number_hex(key->number, expected);
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "%s: its trusted comment is not what key %s signed", what, expected);
    }
    return FMP_OK;
}

/* ---- files ------------------------------------------------------------------------------------
 */

/* BLAKE2b-512 of the open file, all of it read through the one descriptor. */
static fmp_status hash_file(const fmp_file *f, uint8_t hash[HASH_LEN], fmp_error *err)
{
    crypto_generichash_state h;
    uint8_t *chunk = fmp_malloc(CHUNK_LEN);
    fmp_status st = FMP_OK;

    if (!chunk)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", f->path);
    crypto_generichash_init(&h, NULL, 0, HASH_LEN);
    for (uint64_t off = 0; off < f->size && !st;) {
        const uint64_t left = f->size - off;
        const size_t n = left < CHUNK_LEN ? (size_t)left : CHUNK_LEN;

        st = fmp_file_read(f, off, chunk, n, err);
        if (!st)
            crypto_generichash_update(&h, chunk, n);
        off += n;
    }
    crypto_generichash_final(&h, hash, HASH_LEN);
    fmp_free(chunk);
    return st ? st : fmp_file_unchanged(f, err);
}

static fmp_status hash_path(const char *path, uint8_t hash[HASH_LEN], fmp_error *err)
{
    fmp_file f = {0};
    fmp_status st = fmp_file_open(&f, path, err);

    if (!st)
        st = hash_file(&f, hash, err);
    fmp_file_close(&f);
    return st;
}

/* The four lines.  `comment` is checked by then. */
static void put_minisig(const fmp_secret_key *key, const uint8_t hash[HASH_LEN],
                        const char *comment, fmp_buf *out)
{
    uint8_t blob[SIG_BLOB_LEN] = "ED";
    uint8_t *sig = blob + 10;
    uint8_t global[SIG_LEN];
    uint8_t message[SIG_LEN + FMP_TRUSTED_COMMENT_MAX];
    char base64[BASE64_LEN(SIG_BLOB_LEN)];
    size_t len;

    memcpy(blob + 2, key->pub.number, 8);
    crypto_sign_detached(sig, NULL, hash, HASH_LEN, key->secret);
    len = global_message(sig, comment, strlen(comment), message);
    crypto_sign_detached(global, NULL, message, len, key->secret);
    fmp_buf_put_str(out, FMP_LINE_UNTRUSTED "signature from fmpatch secret key\n");
    sodium_bin2base64(base64, sizeof base64, blob, sizeof blob, sodium_base64_VARIANT_ORIGINAL);
    fmp_buf_put_str(out, base64);
    fmp_buf_put_str(out, "\n" FMP_LINE_TRUSTED);
    fmp_buf_put_str(out, comment);
    fmp_buf_put_str(out, "\n");
    sodium_bin2base64(base64, sizeof base64, global, sizeof global, sodium_base64_VARIANT_ORIGINAL);
    fmp_buf_put_str(out, base64);
    fmp_buf_put_str(out, "\n");
}

static fmp_status write_file(const char *path, bool replace, const fmp_buf *text, fmp_error *err)
{
    fmp_out out = {0};
    fmp_status st = fmp_out_open(&out, path, text->len, replace, 0666, err);

    if (!st)
        st = fmp_out_write(&out, 0, text->data, text->len, err);
    if (!st)
        st = fmp_out_sync(&out, err);
    if (!st)
        st = fmp_out_commit(&out, replace, err);
    fmp_out_discard(&out);
    return st;
}

/* What minisign writes, but for the time: we have no clock. */
static void default_comment(const char *path, char comment[320])
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    if (*name && strlen(name) <= 255 && fmp_text_is_plain(name, strlen(name), false))
        snprintf(comment, 320, "file:%s\thashed", name);
    else
        snprintf(comment, 320, "hashed");
}

fmp_status fmp_minisign_sign(const char *path, const char *sig_path, const fmp_secret_key *key,
                             const char *trusted_comment, bool replace, fmp_error *err)
{
    const char *comment = trusted_comment;
    char usual[320];
    uint8_t hash[HASH_LEN];
    fmp_buf text = {0};
    fmp_status st = fmp_crypto_init(err);

    if (st)
        return st;
    if (!comment) {
        default_comment(path, usual);
        comment = usual;
    }
    if (strlen(comment) > FMP_TRUSTED_COMMENT_MAX ||
        !fmp_text_is_plain(comment, strlen(comment), true))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "%s: a trusted comment is UTF-8 without control characters, at most %d "
                        "bytes",
                        sig_path, FMP_TRUSTED_COMMENT_MAX);
    st = hash_path(path, hash, err);
    if (st)
        return st;
    put_minisig(key, hash, comment, &text);
    if (text.bad)
        st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", sig_path);
    else
        st = write_file(sig_path, replace, &text, err);
    fmp_buf_release(&text);
    return st;
}

/* The file against a signature whose comment is right. */
static fmp_status check_file(const char *path, const fmp_minisig *m, const fmp_public_key *key,
                             fmp_error *err)
{
    uint8_t hash[HASH_LEN];
    char number[17];
    fmp_status st = hash_path(path, hash, err);

    if (st)
        return st;
    if (crypto_sign_verify_detached(m->sig, hash, sizeof hash, key->key)) {
        fmp_key_number_hex(key->number, number);
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET, "%s: not the file that key %s signed", path,
                        number);
    }
    return FMP_OK;
}

fmp_status fmp_minisign_verify(const char *path, const char *sig_path, const fmp_public_key *key,
                               char *comment, size_t comment_cap, fmp_error *err)
{
    uint8_t *text = NULL;
    size_t len = 0;
    fmp_minisig m;
    fmp_status st = fmp_crypto_init(err);

    if (!st)
        st = fmp_file_read_all(sig_path, FMP_MINISIG_MAX, &text, &len, err);
    if (st)
        return st;
    st = fmp_minisig_parse((const char *)text, len, sig_path, &m, err);
    if (!st)
        st = fmp_minisig_check_comment(&m, key, sig_path, err);
    if (!st)
        st = check_file(path, &m, key, err);
    if (!st && comment && comment_cap <= m.comment_len)
        st = fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                      "%s: a trusted comment of %zu bytes, but room for %zu with its NUL", sig_path,
                      m.comment_len, comment_cap);
    if (!st && comment) {
        memcpy(comment, m.comment, m.comment_len);
        comment[m.comment_len] = '\0';
    }
    fmp_free(text);
    return st;
}
