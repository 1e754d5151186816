/*
 * For the tests of keys and signatures: secret keys from fixed seeds, exact copies of bytes so that
 * ASan sees a read past their end, and files in a directory of their own.
 */
#ifndef FMP_TESTS_KEYSUPPORT_H
#define FMP_TESTS_KEYSUPPORT_H

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/alloc.h"
#include "crypto/keys.h"

/* RFC 8032, section 7.1, test 1: the key of the fixed texts in these tests. */
#define RFC_SEED                                                                                   \
    "\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4"                             \
    "\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60"
#define RFC_KEY                                                                                    \
    "\xd7\x5a\x98\x01\x82\xb1\x0a\xb7\xd5\x4b\xfe\xd3\xc9\x64\x07\x3a"                             \
    "\x0e\xe1\x72\xf3\xda\xa6\x23\x25\xaf\x02\x1a\x68\xf7\x07\x51\x1a"

static inline fmp_secret_key *key_from_seed(const uint8_t seed[32])
{
    fmp_secret_key *key = NULL;
    uint8_t secret[64];
    uint8_t public_half[32];
    fmp_error err;

    assert_status(fmp_crypto_init(&err), FMP_OK, &err);
    crypto_sign_seed_keypair(public_half, secret, seed);
    assert_status(fmp_secret_key_from(secret, NULL, "seed", &key, &err), FMP_OK, &err);
    return key;
}

/* The n-th test key: its seed is 32 times the byte n. */
static inline fmp_secret_key *test_key(uint8_t n)
{
    uint8_t seed[32];

    memset(seed, n, sizeof seed);
    return key_from_seed(seed);
}

static inline void *exact_copy(const void *data, size_t len)
{
    void *copy = malloc(len ? len : 1);

    assert_non_null(copy);
    if (len)
        memcpy(copy, data, len);
    return copy;
}

/* A path below a directory that scratch_begin() made; good until the fourth call from now. */
static char scratch_dir[64];

static inline const char *in_scratch(const char *name)
{
    static char path[4][256];
    static unsigned turn;
    char *p = path[turn++ % 4];

    snprintf(p, sizeof path[0], "%s/%s", scratch_dir, name);
    return p;
}

static inline int scratch_begin(void **state)
{
    (void)state;
    umask(022);
    snprintf(scratch_dir, sizeof scratch_dir, "/tmp/fmp-test-XXXXXX");
    return mkdtemp(scratch_dir) ? 0 : -1;
}

static inline int scratch_end(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", scratch_dir);
    return system(command);
}

static inline void put_file(const char *path, const void *data, size_t len, mode_t mode)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* NUL-terminated beyond *ret_len; free() it. */
static inline char *get_file(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 65536);

    assert_non_null(f);
    assert_non_null(text);
    *ret_len = fread(text, 1, 65535, f);
    fclose(f);
    return text;
}

static inline bool exists(const char *path)
{
    struct stat sb;

    return lstat(path, &sb) == 0;
}

static inline mode_t mode_of(const char *path)
{
    struct stat sb;

    assert_int_equal(lstat(path, &sb), 0);
    return sb.st_mode & 07777;
}

#endif
