/*
 * The signature section and the verdict on it.  See sigblock.h.
 */
#include "crypto/sigblock.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/alloc.h"
#include "base/cursor.h"
#include "base/status.h"
#include "crypto/keyring.h"
#include "crypto/keys.h"
#include "crypto/text.h"

#define SIG_LEN      64
#define RECORD_FIXED (2 + 32 + 2 + SIG_LEN) /* what R counts beside the comment */
#define RECORD_MIN   (2 + RECORD_FIXED)

static const char message_label[] = "fmpatch-signature-v1"; /* its NUL is signed too */

enum { PURPOSE_PATCH = 1 };

/* One record, pointing into the section. */
typedef struct sig_record {
    uint16_t suite;
    const uint8_t *key;
    const char *comment;
    uint16_t comment_len;
    const uint8_t *sig;
} sig_record;

/* What is signed, the same for every reader and writer. */
static fmp_status build_message(const sig_record *r, const void *prefix, size_t prefix_len,
                                fmp_buf *message, fmp_error *err)
{
    if (prefix_len > UINT32_MAX)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "a prefix of %zu bytes cannot be signed",
                        prefix_len);
    fmp_buf_clear(message);
    fmp_buf_put(message, message_label, sizeof message_label);
    fmp_buf_put_le(message, r->suite, 2);
    fmp_buf_put_le(message, PURPOSE_PATCH, 1);
    fmp_buf_put(message, r->key, 32);
    fmp_buf_put_le(message, r->comment_len, 2);
    fmp_buf_put(message, r->comment, r->comment_len);
    fmp_buf_put_le(message, prefix_len, 4);
    fmp_buf_put(message, prefix, prefix_len);
    if (message->bad)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "signatures: out of memory");
    return FMP_OK;
}

/* Reads record number `i`, which begins at `off` of the section. */
static fmp_status parse_record(fmp_cursor *c, uint32_t i, uint64_t off, sig_record *ret,
                               fmp_error *err)
{
    const size_t len = (size_t)fmp_cur_le(c, 2);
    const size_t left = fmp_cur_left(c);

    if (c->bad || len < RECORD_FIXED || len > left)
        return fmp_fail(err, FMP_ECORRUPT, off,
                        "signature %u: a record of %zu bytes, expected at least %d and at most the "
                        "%zu that are left",
                        i, len, RECORD_FIXED, left);
    ret->suite = (uint16_t)fmp_cur_le(c, 2);
    ret->key = fmp_cur_take(c, 32);
    ret->comment_len = (uint16_t)fmp_cur_le(c, 2);
    if (ret->comment_len > FMP_COMMENT_MAX || RECORD_FIXED + (size_t)ret->comment_len != len)
        return fmp_fail(err, FMP_ECORRUPT, off,
                        "signature %u: a comment of %u bytes in a record of %zu", i,
                        ret->comment_len, len);
    ret->comment = (const char *)fmp_cur_take(c, ret->comment_len);
    ret->sig = fmp_cur_take(c, SIG_LEN);
    if (!fmp_text_is_plain(ret->comment, ret->comment_len, false))
        return fmp_fail(err, FMP_ECORRUPT, off,
                        "signature %u: its comment is not UTF-8 without control characters", i);
    return FMP_OK;
}

/* Appends a record's meaning to the block; validity comes later. */
static fmp_status push_record(fmp_sigblock *b, const sig_record *r, uint64_t off, uint32_t end,
                              fmp_error *err)
{
    fmp_signature_info *info = &b->infos[b->n];

    for (uint32_t i = 0; i < b->n; i++)
        if (!memcmp(b->infos[i].key.key, r->key, 32))
            return fmp_fail(err, FMP_ECORRUPT, off, "signature %u: by the same key as signature %u",
                            b->n, i);
    if (r->suite == FMP_SUITE_ED25519)
        fmp_public_key_set(&info->key, r->key, NULL);
    else
        memcpy(info->key.key, r->key, 32);
    info->comment = fmp_strndup(r->comment, r->comment_len);
    if (!info->comment)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "signatures: out of memory");
    b->ends[b->n++] = end;
    return FMP_OK;
}

/* Room for all records of the section, which are at least RECORD_MIN bytes each, and its copy. */
static fmp_status allocate(fmp_sigblock *b, const uint8_t *records, size_t len, fmp_error *err)
{
    const size_t most = len / RECORD_MIN;

    b->infos = fmp_calloc(most, sizeof *b->infos);
    b->ends = fmp_calloc(most, sizeof *b->ends);
    b->records = fmp_malloc(len);
    if (!b->infos || !b->ends || !b->records)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "signatures: out of memory");
    if (len)
        memcpy(b->records, records, len);
    return FMP_OK;
}

static fmp_status parse_structure(fmp_sigblock *b, const void *section, size_t len, fmp_error *err)
{
    fmp_cursor c = fmp_cur(section, len);
    const size_t declared = (size_t)fmp_cur_le(&c, 4);
    const uint8_t *first = c.at;
    fmp_status st;

    if (c.bad || declared > FMP_SIGBLOCK_MAX || declared != fmp_cur_left(&c))
        return fmp_fail(err, FMP_ECORRUPT, 0,
                        "signatures: a section of %zu bytes that declares %zu behind its length "
                        "(at most %d)",
                        len, declared, FMP_SIGBLOCK_MAX);
    st = allocate(b, first, declared, err);
    while (!st && fmp_cur_left(&c)) {
        const uint64_t off = (uint64_t)(c.at - first) + 4;
        sig_record r = {0};

        st = parse_record(&c, b->n, off, &r, err);
        if (!st)
            st = push_record(b, &r, off, (uint32_t)(c.at - first), err);
    }
    return st;
}

/* Record i of a block whose structure is known to be right. */
static sig_record record_at(const fmp_sigblock *b, uint32_t i)
{
    const uint32_t begin = i ? b->ends[i - 1] : 0;
    fmp_cursor c = fmp_cur(b->records + begin, b->ends[i] - begin);
    sig_record r = {0};

    (void)fmp_cur_take(&c, 2);
    r.suite = (uint16_t)fmp_cur_le(&c, 2);
    r.key = fmp_cur_take(&c, 32);
    r.comment_len = (uint16_t)fmp_cur_le(&c, 2);
    r.comment = (const char *)fmp_cur_take(&c, r.comment_len);
    r.sig = fmp_cur_take(&c, SIG_LEN);
    return r;
}

static fmp_status check_signatures(fmp_sigblock *b, const void *prefix, size_t prefix_len,
                                   fmp_error *err)
{
    fmp_buf message = {0};
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < b->n && !st; i++) {
        const sig_record r = record_at(b, i);
        char hex[2 * FMP_KEY_ID_LEN + 1];

        if (r.suite != FMP_SUITE_ED25519)
            continue;
        st = build_message(&r, prefix, prefix_len, &message, err);
        if (st)
            break;
        if (crypto_sign_verify_detached(r.sig, message.data, message.len, r.key) == 0) {
            b->infos[i].valid = true;
            continue;
        }
        fmp_key_id_hex(b->infos[i].key.id, hex);
        st = fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                      "signature %u is wrong: the patch is not what key %s signed", i, hex);
    }
    fmp_buf_release(&message);
    return st;
}

fmp_status fmp_sigblock_parse(const void *section, size_t len, const void *prefix,
                              size_t prefix_len, fmp_sigblock *ret, fmp_error *err)
{
    fmp_sigblock b = {0};
    fmp_status st = fmp_crypto_init(err);

    if (!st)
        st = parse_structure(&b, section, len, err);
    if (!st)
        st = check_signatures(&b, prefix, prefix_len, err);
    if (st) {
        fmp_sigblock_release(&b);
        return st;
    }
    *ret = b;
    return FMP_OK;
}

void fmp_sigblock_release(fmp_sigblock *b)
{
    if (!b)
        return;
    for (uint32_t i = 0; i < b->n; i++)
        fmp_free((char *)b->infos[i].comment);
    fmp_free(b->infos);
    fmp_free(b->ends);
    fmp_free(b->records);
    *b = (fmp_sigblock){0};
}

/* ---- signing ----------------------------------------------------------------------------------
 */

/* The number of the first of `keys` with this public key, or n_keys. */
static size_t find_key(fmp_secret_key *const *keys, size_t n_keys, const uint8_t key[32])
{
    size_t k = 0;

    while (k < n_keys && memcmp(keys[k]->pub.key, key, 32))
        k++;
    return k;
}

static fmp_status put_record(fmp_buf *out, const fmp_secret_key *key, const char *comment,
                             const void *prefix, size_t prefix_len, fmp_error *err)
{
    sig_record r = {.suite = FMP_SUITE_ED25519,
                    .key = key->pub.key,
                    .comment = comment,
                    .comment_len = (uint16_t)strlen(comment)};
    fmp_buf message = {0};
    uint8_t sig[SIG_LEN];
    fmp_status st = build_message(&r, prefix, prefix_len, &message, err);

    if (st)
        goto out;
    crypto_sign_detached(sig, NULL, message.data, message.len, key->secret);
    fmp_buf_put_le(out, RECORD_FIXED + (uint64_t)r.comment_len, 2);
    fmp_buf_put_le(out, r.suite, 2);
    fmp_buf_put(out, r.key, 32);
    fmp_buf_put_le(out, r.comment_len, 2);
    fmp_buf_put(out, r.comment, r.comment_len);
    fmp_buf_put(out, sig, sizeof sig);

out:
    fmp_buf_release(&message);
    return st;
}

/* The records of `old`, each as it is or signed anew. */
static fmp_status put_old(const fmp_sigblock *old, const void *prefix, size_t prefix_len,
                          fmp_secret_key *const *keys, size_t n_keys, const char *comment,
                          fmp_buf *out, fmp_error *err)
{
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < old->n && !st; i++) {
        const uint32_t begin = i ? old->ends[i - 1] : 0;
        const size_t k = find_key(keys, n_keys, old->infos[i].key.key);

        if (k < n_keys)
            st = put_record(out, keys[k], comment, prefix, prefix_len, err);
        else
            fmp_buf_put(out, old->records + begin, old->ends[i] - begin);
    }
    return st;
}

static bool has_signed(const fmp_sigblock *b, const uint8_t key[32])
{
    for (uint32_t i = 0; b && i < b->n; i++)
        if (!memcmp(b->infos[i].key.key, key, 32))
            return true;
    return false;
}

static fmp_status put_all(const fmp_sigblock *old, const void *prefix, size_t prefix_len,
                          fmp_secret_key *const *keys, size_t n_keys, const char *comment,
                          fmp_buf *out, fmp_error *err)
{
    fmp_status st = FMP_OK;

    if (old)
        st = put_old(old, prefix, prefix_len, keys, n_keys, comment, out, err);
    for (size_t k = 0; k < n_keys && !st; k++)
        if (!has_signed(old, keys[k]->pub.key) && find_key(keys, n_keys, keys[k]->pub.key) == k)
            st = put_record(out, keys[k], comment, prefix, prefix_len, err);
    return st;
}

fmp_status fmp_sigblock_sign(const fmp_sigblock *old, const void *prefix, size_t prefix_len,
                             fmp_secret_key *const *keys, size_t n_keys, const char *comment,
                             fmp_buf *out, fmp_error *err)
{
    const char *text = comment ? comment : "";
    const size_t len = strlen(text);
    fmp_buf records = {0};
    fmp_status st = fmp_crypto_init(err);

    if (st)
        return st;
    if (len > FMP_COMMENT_MAX)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "the comment to sign has %zu bytes, at most %d fit", len, FMP_COMMENT_MAX);
    if (!fmp_text_is_plain(text, len, false))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "the comment to sign is not UTF-8 without control characters");
    st = put_all(old, prefix, prefix_len, keys, n_keys, text, &records, err);
    if (!st && !records.bad && records.len > FMP_SIGBLOCK_MAX)
        st = fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET,
                      "the signatures would take %zu bytes, at most %d fit", records.len,
                      FMP_SIGBLOCK_MAX);
    if (!st && (records.bad || !fmp_buf_reserve(out, 4 + records.len)))
        st = fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "signatures: out of memory");
    if (!st) {
        fmp_buf_put_le(out, records.len, 4);
        fmp_buf_put(out, records.data, records.len);
    }
    fmp_buf_release(&records);
    return st;
}

/* ---- verdict ----------------------------------------------------------------------------------
 */

/* Who signed, counted and, as far as the text has room, named. */
typedef struct tally {
    uint32_t n_valid;
    uint32_t n_trusted;
    uint32_t revoked; /* the first record by a revoked key, or UINT32_MAX */
    const char *revoked_name;
    char signers[160];
} tally;

/* Appends a signer, or "..." once when there is no room; a full text stays whole names. */
static void name_signer(tally *t, const char *name, const uint8_t id[FMP_KEY_ID_LEN])
{
    const size_t used = strlen(t->signers);
    const char *comma = used ? ", " : "";
    char one[128];
    char hex[2 * FMP_KEY_ID_LEN + 1];

    fmp_key_id_hex(id, hex);
    if (name)
        snprintf(one, sizeof one, "%s%.64s (%.16s)", comma, name, hex);
    else
        snprintf(one, sizeof one, "%sunknown key %.16s", comma, hex);
    if (used + strlen(one) + sizeof ", ..." <= sizeof t->signers)
        memcpy(t->signers + used, one, strlen(one) + 1);
    else if (used < 3 || strcmp(t->signers + used - 3, "..."))
        memcpy(t->signers + used, ", ...", sizeof ", ...");
}

static tally count_signers(const fmp_sigblock *b, const fmp_keyring *ring)
{
    tally t = {.revoked = UINT32_MAX};

    for (uint32_t i = 0; i < b->n; i++) {
        const fmp_signature_info *info = &b->infos[i];
        const char *name = NULL;
        fmp_standing standing;

        if (!info->valid)
            continue;
        standing = fmp_keyring_standing(ring, info->key.key, &name);
        t.n_valid++;
        if (standing == FMP_KEY_TRUSTED)
            t.n_trusted++;
        if (standing == FMP_KEY_REVOKED && t.revoked == UINT32_MAX) {
            t.revoked = i;
            t.revoked_name = name;
        }
        name_signer(&t, name, info->key.id);
    }
    return t;
}

static fmp_status not_trusted(const tally *t, uint32_t need, uint32_t n_ring, fmp_error *err)
{
    if (!n_ring)
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "a trusted signature is required, but no key is trusted; signed by: %s",
                        t->n_valid ? t->signers : "nobody");
    if (!t->n_valid)
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "the patch is not signed, expected signatures by %u of %u trusted keys",
                        need, n_ring);
    return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                    "%u of %u needed signatures by trusted keys (%u are trusted); signed by: %s",
                    t->n_trusted, need, n_ring, t->signers);
}

fmp_status fmp_sigblock_verdict(const fmp_sigblock *b, const fmp_trust *trust, fmp_verdict *ret,
                                fmp_error *err)
{
    static const fmp_trust nobody = {.size = sizeof nobody};
    const fmp_trust *t = trust ? trust : &nobody;
    uint32_t need;
    uint32_t n_ring;
    bool demanded;
    tally who;

    if (t->size < sizeof *t) /* never guess at a trust that the caller meant */
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "fmp_trust: its size is %zu, expected %zu",
                        t->size, sizeof *t);
    need = t->threshold ? t->threshold : 1;
    n_ring = fmp_keyring_trusted(t->ring);
    demanded = t->require || (t->ring && fmp_keyring_count(t->ring) > 0);
    if (need > n_ring && need > 1)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "a threshold of %u trusted signatures, but the keyring trusts %u keys",
                        need, n_ring);
    who = count_signers(b, t->ring);
    if (who.n_trusted >= need) {
        *ret = FMP_TRUSTED;
        return FMP_OK;
    }
    if (who.revoked != UINT32_MAX) {
        char hex[2 * FMP_KEY_ID_LEN + 1];

        fmp_key_id_hex(b->infos[who.revoked].key.id, hex);
        return fmp_fail(err, FMP_EAUTH, FMP_NO_OFFSET,
                        "signed by %.64s (%s), a revoked key; %u of %u needed signatures are by "
                        "trusted keys",
                        who.revoked_name, hex, who.n_trusted, need);
    }
    if (demanded && !t->allow_unsigned)
        return not_trusted(&who, need, n_ring, err);
    *ret = who.n_valid ? FMP_UNTRUSTED : FMP_UNSIGNED;
    return FMP_OK;
}
