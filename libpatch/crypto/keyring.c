/*
 * Keyrings: one entry a key, however often and under whatever names it was added.  A revocation is
 * for good.  See fmpatch.h and keyring.h.
 */
#include "crypto/keyring.h"

#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "crypto/access.h"
#include "crypto/keys.h"
#include "crypto/text.h"

#define SUFFIX       ".pub"
#define WHAT         "a keyring"
#define NAME_MAX_LEN 255

typedef struct ring_entry {
    fmp_public_key key;
    char *name;
    bool revoked;
} ring_entry;

struct fmp_keyring {
    ring_entry *entries;
    uint32_t n;
    uint32_t cap;
};

fmp_status fmp_keyring_new(fmp_keyring **ret, fmp_error *err)
{
    fmp_keyring *ring;
    fmp_status st = fmp_crypto_init(err);

    if (st)
        return st;
    ring = fmp_calloc(1, sizeof *ring);
    if (!ring)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "keyring: out of memory");
    *ret = ring;
    return FMP_OK;
}

static void release(fmp_keyring *ring)
{
    for (uint32_t i = 0; i < ring->n; i++)
        fmp_free(ring->entries[i].name);
    fmp_free(ring->entries);
    *ring = (fmp_keyring){0};
}

void fmp_keyring_free(fmp_keyring *ring)
{
    if (!ring)
        return;
    release(ring);
    fmp_free(ring);
}

static ring_entry *find(const fmp_keyring *ring, const uint8_t key[32])
{
    for (uint32_t i = 0; i < ring->n; i++)
        if (!memcmp(ring->entries[i].key.key, key, 32))
            return &ring->entries[i];
    return NULL;
}

static fmp_status reserve(fmp_keyring *ring, uint32_t more, fmp_error *err)
{
    ring_entry *grown;
    uint32_t cap = ring->cap ? ring->cap : 8;

    if (more <= ring->cap - ring->n)
        return FMP_OK;
    if (more > UINT32_MAX / 4 || ring->n > UINT32_MAX / 4)
        return fmp_fail(err, FMP_ELIMIT, FMP_NO_OFFSET, "keyring: too many keys");
    while (cap - ring->n < more)
        cap *= 2;
    grown = fmp_realloc(ring->entries, cap, sizeof *grown);
    if (!grown)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "keyring: out of memory");
    ring->entries = grown;
    ring->cap = cap;
    return FMP_OK;
}

/* Takes over `e`, whose key may be here already; there must be room for one. */
static void merge(fmp_keyring *ring, ring_entry e)
{
    ring_entry *known = find(ring, e.key.key);

    if (known) {
        known->revoked |= e.revoked;
        fmp_free(e.name);
        return;
    }
    ring->entries[ring->n++] = e;
}

fmp_status fmp_keyring_add_key(fmp_keyring *ring, const fmp_public_key *key, const char *name,
                               bool revoked, fmp_error *err)
{
    char number[17];
    const char *label = name;
    ring_entry e = {.revoked = revoked};
    fmp_status st;

    fmp_key_number_hex(key->number, number);
    if (!label)
        label = number;
    if (strlen(label) > NAME_MAX_LEN || !fmp_text_is_plain(label, strlen(label), false))
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET,
                        "%.200s: not a key's name, which is UTF-8 without control characters",
                        label);
    st = reserve(ring, 1, err);
    if (st)
        return st;
    e.name = fmp_strndup(label, strlen(label));
    if (!e.name)
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "keyring: out of memory");
    fmp_public_key_set(&e.key, key->key, key->number); /* the id is never taken on trust */
    merge(ring, e);
    return FMP_OK;
}

/* One key.  The parser knows no path, so its message gets one here. */
static fmp_status add_file(fmp_keyring *ring, const fmp_keydir *d, const char *file, bool revoked,
                           fmp_error *err)
{
    char text[FMP_KEY_TEXT_MAX];
    char name[NAME_MAX_LEN + 1];
    const size_t name_len = strlen(file) - strlen(SUFFIX);
    fmp_public_key key;
    size_t len = 0;
    fmp_error why = {0};
    fmp_status st = fmp_keydir_read(d, file, text, sizeof text, &len, err);

    if (st)
        return st;
    if (name_len > NAME_MAX_LEN || !fmp_text_is_plain(file, name_len, false))
        return fmp_fail(err, FMP_ECORRUPT, FMP_NO_OFFSET,
                        "%s/%s: a key's file name must be UTF-8 without control characters",
                        d->path, file);
    memcpy(name, file, name_len);
    name[name_len] = '\0';
    st = fmp_public_key_parse(text, len, &key, &why);
    if (st)
        return fmp_fail(err, st, FMP_NO_OFFSET, "%s/%s: %s", d->path, file, why.text);
    return fmp_keyring_add_key(ring, &key, name, revoked, err);
}

/* One of the two lists; a missing one is an empty one. */
static fmp_status add_list(fmp_keyring *ring, const fmp_keydir *top, const char *list, bool revoked,
                           fmp_error *err)
{
    fmp_keydir d = {0};
    char **files = NULL;
    size_t n = 0;
    bool missing = false;
    fmp_status st = fmp_keydir_open(&d, top, list, WHAT, &missing, err);

    if (st || missing)
        return st;
    st = fmp_keydir_list(&d, SUFFIX, &files, &n, err);
    for (size_t i = 0; i < n && !st; i++)
        st = add_file(ring, &d, files[i], revoked, err);
    fmp_keydir_free_names(files, n);
    fmp_keydir_close(&d);
    return st;
}

fmp_status fmp_keyring_add_dir(fmp_keyring *ring, const char *dir, fmp_error *err)
{
    fmp_keydir top = {0};
    fmp_keyring more = {0}; /* merged only when all of it is right */
    fmp_status st = fmp_keydir_open(&top, NULL, dir, WHAT, NULL, err);

    if (st)
        return st;
    st = add_list(&more, &top, "trusted.d", false, err);
    if (!st)
        st = add_list(&more, &top, "revoked.d", true, err);
    if (!st)
        st = reserve(ring, more.n, err);
    for (uint32_t i = 0; i < more.n && !st; i++) {
        merge(ring, more.entries[i]);
        more.entries[i].name = NULL;
    }
    release(&more);
    fmp_keydir_close(&top);
    return st;
}

uint32_t fmp_keyring_count(const fmp_keyring *ring)
{
    return ring->n;
}

const char *fmp_keyring_at(const fmp_keyring *ring, uint32_t i, fmp_public_key *ret_key,
                           bool *ret_revoked)
{
    if (i >= ring->n)
        return NULL;
    if (ret_key)
        *ret_key = ring->entries[i].key;
    if (ret_revoked)
        *ret_revoked = ring->entries[i].revoked;
    return ring->entries[i].name;
}

fmp_standing fmp_keyring_standing(const fmp_keyring *ring, const uint8_t key[32],
                                  const char **ret_name)
{
    const ring_entry *e = ring ? find(ring, key) : NULL;

    if (!e)
        return FMP_KEY_UNKNOWN;
    *ret_name = e->name;
    return e->revoked ? FMP_KEY_REVOKED : FMP_KEY_TRUSTED;
}

uint32_t fmp_keyring_trusted(const fmp_keyring *ring)
{
    uint32_t n = 0;

    for (uint32_t i = 0; ring && i < ring->n; i++)
        n += !ring->entries[i].revoked;
    return n;
}
