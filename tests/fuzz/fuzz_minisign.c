/*
 * Fuzz target: any bytes as the text of a public key, a signature or a secret key; the first byte
 * says which.  What is accepted is written again and read again, and stays the same.  Nobody is
 * asked for a passphrase, so that no key is derived.
 */
#include <stdlib.h>
#include <string.h>

#include "crypto/keyfile.h"
#include "crypto/keys.h"
#include "crypto/minisign.h"
#include "crypto/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool right)
{
    if (!right)
        abort();
}

static void read_public(const char *text, size_t len)
{
    fmp_public_key key;
    fmp_public_key again;
    char written[256];

    if (fmp_public_key_parse(text, len, &key, NULL))
        return;
    fmp_public_key_text(&key, written);
    must(!fmp_public_key_parse(written, strlen(written), &again, NULL));
    must(!memcmp(&key, &again, sizeof key));
}

static void read_signature(const char *text, size_t len)
{
    static const fmp_public_key nobody; /* its key is a point of small order: signs nothing */
    fmp_public_key key = nobody;
    fmp_minisig m;

    if (fmp_minisig_parse(text, len, "fuzz", &m, NULL))
        return;
    must(m.comment >= text && m.comment_len <= len && m.comment + m.comment_len <= text + len);
    must(fmp_text_is_plain(m.comment, m.comment_len, true));
    memcpy(key.number, m.number, sizeof key.number);
    must(fmp_minisig_check_comment(&m, &key, "fuzz", NULL) == FMP_EAUTH);
}

static void read_secret(const char *text, size_t len)
{
    fmp_secret_key *key = NULL;
    fmp_secret_key *again = NULL;
    char written[FMP_KEYFILE_TEXT_MAX];
    const fmp_kdf_cost none = {0};

    if (fmp_keyfile_parse(text, len, "fuzz", NULL, NULL, &key, NULL))
        return;
    must(!fmp_keyfile_text(key, FMP_KEY_MINISIGN, NULL, none, "fuzz", written, NULL));
    must(!fmp_keyfile_parse(written, strlen(written), "fuzz", NULL, NULL, &again, NULL));
    must(!memcmp(key->secret, again->secret, sizeof key->secret));
    must(!memcmp(key->pub.number, again->pub.number, 8));
    fmp_secret_key_free(key);
    fmp_secret_key_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static void (*const readers[])(const char *, size_t) = {read_public, read_signature,
                                                            read_secret};
    char *text;

    if (!len)
        return 0;
    must(!fmp_crypto_init(NULL));
    text = malloc(len - 1 ? len - 1 : 1);
    must(text);
    memcpy(text, data + 1, len - 1);
    readers[data[0] % 3](text, len - 1);
    free(text);
    return 0;
}
