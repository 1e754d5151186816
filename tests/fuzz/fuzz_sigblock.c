/*
 * Fuzz target: any bytes as a signature section, first as they are, then with every record that can
 * be found signed by one of our keys, so that the reader gets past the signatures.  What is
 * accepted can be signed again, and comes back with its other records untouched.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "crypto/keys.h"
#include "crypto/sigblock.h"

#define N_KEYS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char prefix[] = "a prefix";
static fmp_secret_key *keys[N_KEYS];
static fmp_keyring *ring; /* trusts keys 0 and 1, has revoked key 2 */

static void must(bool right)
{
    if (!right)
        abort();
}

static void make_keys(void)
{
    if (ring)
        return;
    must(!fmp_crypto_init(NULL) && !fmp_keyring_new(&ring, NULL));
    for (uint8_t i = 0; i < N_KEYS; i++) {
        uint8_t seed[32] = {i};
        uint8_t public_half[32];
        uint8_t secret[64];

        crypto_sign_seed_keypair(public_half, secret, seed);
        must(!fmp_secret_key_from(secret, NULL, "key", &keys[i], NULL));
        if (i < 3)
            must(!fmp_keyring_add_key(ring, &keys[i]->pub, "name", i == 2, NULL));
    }
}

static uint32_t le16(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8;
}

/* Signs what looks like a record of `r` bytes at `p`, if it is of the suite that we know. */
static void sign_record(uint8_t *p, uint32_t r, const fmp_secret_key *key)
{
    const uint32_t c = r - 100;
    fmp_buf m = {0};

    if (le16(p) != FMP_SUITE_ED25519)
        return;
    memcpy(p + 2, key->pub.key, 32);
    fmp_buf_put(&m, "fmpatch-signature-v1", 21);
    fmp_buf_put(&m, p, 2);
    fmp_buf_put_le(&m, 1, 1);
    fmp_buf_put(&m, p + 2, 32 + 2 + c);
    fmp_buf_put_le(&m, sizeof prefix, 4);
    fmp_buf_put(&m, prefix, sizeof prefix);
    must(!m.bad);
    crypto_sign_detached(p + 36 + c, NULL, m.data, m.len, key->secret);
    fmp_buf_release(&m);
}

static void sign_records(uint8_t *section, size_t len)
{
    unsigned n = 0;

    for (size_t at = 4; at + 2 <= len;) {
        const uint32_t r = le16(section + at);

        at += 2;
        if (r < 100 || r > len - at)
            break;
        sign_record(section + at, r, keys[n++ % N_KEYS]);
        at += r;
    }
}

/* Key 3 signs, again or for the first time. */
static void check_signing(const fmp_sigblock *b)
{
    fmp_buf out = {0};
    fmp_sigblock again = {0};
    uint32_t same = 0;

    if (!fmp_sigblock_sign(b, prefix, sizeof prefix, &keys[3], 1, "new", &out, NULL)) {
        must(!fmp_sigblock_parse(out.data, out.len, prefix, sizeof prefix, &again, NULL));
        must(again.n == b->n || again.n == b->n + 1);
        for (uint32_t i = 0; i < b->n; i++) {
            must(!memcmp(again.infos[i].key.key, b->infos[i].key.key, 32));
            same += !strcmp(again.infos[i].comment, b->infos[i].comment);
        }
        must(same + 1 >= b->n);
    }
    fmp_sigblock_release(&again);
    fmp_buf_release(&out);
}

static void check_verdicts(const fmp_sigblock *b)
{
    for (unsigned i = 0; i < 16; i++) {
        const fmp_trust trust = {.size = sizeof trust,
                                 .ring = i & 1 ? ring : NULL,
                                 .threshold = i & 8 ? 2 : 0,
                                 .require = i & 2,
                                 .allow_unsigned = i & 4};
        fmp_verdict v;

        if (!fmp_sigblock_verdict(b, &trust, &v, NULL))
            must(v != FMP_TRUSTED || (trust.ring && b->n > i / 8));
    }
}

static void read_section(const uint8_t *data, size_t len)
{
    fmp_sigblock b;

    if (fmp_sigblock_parse(data, len, prefix, sizeof prefix, &b, NULL))
        return;
    check_signing(&b);
    check_verdicts(&b);
    fmp_sigblock_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *copy;

    make_keys();
    read_section(data, len);
    copy = malloc(len ? len : 1);
    must(copy);
    if (len)
        memcpy(copy, data, len);
    sign_records(copy, len);
    read_section(copy, len);
    free(copy);
    return 0;
}
