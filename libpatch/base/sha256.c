/*
 * SHA-256, through OpenSSL where it was there at build time (about five times faster), else through
 * libsodium.  See sha256.h.
 */
#include "base/sha256.h"

#include <sodium.h>
#ifdef FMP_HAVE_OPENSSL
#    include <openssl/evp.h>
#endif

#include "base/alloc.h"
#include "base/status.h"

#define PIECE ((size_t)1 << 20)

#ifdef FMP_HAVE_OPENSSL

struct fmp_sha256 {
    EVP_MD_CTX *md;
    bool bad; /* for good: fmp_sha256_final() reports it */
};

static bool sha_begin(fmp_sha256 *s)
{
    s->md = EVP_MD_CTX_new();
    return s->md && EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) == 1;
}

void fmp_sha256_update(fmp_sha256 *s, const void *data, size_t len)
{
    if (len && EVP_DigestUpdate(s->md, data, len) != 1)
        s->bad = true;
}

static bool sha_end(fmp_sha256 *s, uint8_t digest[32])
{
    return !s->bad && EVP_DigestFinal_ex(s->md, digest, NULL) == 1;
}

static void sha_drop(fmp_sha256 *s)
{
    EVP_MD_CTX_free(s->md);
}

#else

struct fmp_sha256 {
    crypto_hash_sha256_state state;
};

static bool sha_begin(fmp_sha256 *s)
{
    return crypto_hash_sha256_init(&s->state) == 0;
}

void fmp_sha256_update(fmp_sha256 *s, const void *data, size_t len)
{
    if (len)
        (void)crypto_hash_sha256_update(&s->state, data, len);
}

static bool sha_end(fmp_sha256 *s, uint8_t digest[32])
{
    return crypto_hash_sha256_final(&s->state, digest) == 0;
}

static void sha_drop(fmp_sha256 *s)
{
    (void)s;
}

#endif

fmp_status fmp_sha256_new(fmp_sha256 **ret, fmp_error *err)
{
    fmp_sha256 *s = fmp_calloc(1, sizeof *s);

    if (!s || !sha_begin(s)) {
        fmp_sha256_free(s);
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "SHA-256: out of memory");
    }
    *ret = s;
    return FMP_OK;
}

fmp_status fmp_sha256_final(fmp_sha256 *s, char hex[65], fmp_error *err)
{
    uint8_t digest[32];

    if (!sha_end(s, digest))
        return fmp_fail(err, FMP_EIO, FMP_NO_OFFSET, "SHA-256: the crypto library failed");
    (void)sodium_bin2hex(hex, 65, digest, sizeof digest);
    return FMP_OK;
}

void fmp_sha256_free(fmp_sha256 *s)
{
    if (!s)
        return;
    sha_drop(s);
    fmp_free(s);
}

static fmp_status add_file(fmp_sha256 *s, const fmp_file *f, uint8_t *piece, fmp_error *err)
{
    for (uint64_t at = 0; at < f->size; at += PIECE) {
        const size_t n = f->size - at < PIECE ? (size_t)(f->size - at) : PIECE;
        const fmp_status st = fmp_file_read(f, at, piece, n, err);

        if (st)
            return st;
        fmp_sha256_update(s, piece, n);
    }
    return FMP_OK;
}

fmp_status fmp_sha256_file(const fmp_file *f, char hex[65], fmp_error *err)
{
    uint8_t *piece = fmp_malloc(PIECE);
    fmp_sha256 *s = NULL;
    fmp_status st;

    if (!piece)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "%s: out of memory", f->path);
    st = fmp_sha256_new(&s, err);
    if (!st)
        st = add_file(s, f, piece, err);
    if (!st)
        st = fmp_sha256_final(s, hex, err);
    fmp_sha256_free(s);
    fmp_free(piece);
    return st;
}
