/*
 * The signature section of a patch: records {suite, public key, comment, signature}, each over the
 * prefix, and the rule that turns valid signatures into a verdict.  Knows the prefix as bytes only.
 */
#ifndef FMP_CRYPTO_SIGBLOCK_H
#define FMP_CRYPTO_SIGBLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "fmpatch.h"

#define FMP_SIGBLOCK_MAX 65532 /* bytes of records, so that the section fits into 64 KiB */

/* A parsed section.  All zero is one without records. */
typedef struct fmp_sigblock {
    fmp_signature_info *infos; /* n of them, in file order; comments are owned */
    uint32_t *ends;            /* records[ends[i - 1] .. ends[i]) is record i */
    uint32_t n;
    uint8_t *records; /* a copy of the section behind its length */
} fmp_sigblock;

/*
 * Parses a whole section and checks every signature of a known suite against the prefix.  A record
 * of an unknown suite is kept: not valid, its id zero.  FMP_ECORRUPT for bad structure; FMP_EAUTH
 * for a wrong signature, naming the key; FMP_ENOMEM.
 */
fmp_status fmp_sigblock_parse(const void *section, size_t len, const void *prefix,
                              size_t prefix_len, fmp_sigblock *ret, fmp_error *err);
void fmp_sigblock_release(fmp_sigblock *b);

/*
 * Appends to `out` the section that results when `keys` sign: records of other keys stay as they
 * are, byte for byte and in place, a key's earlier record is replaced, new ones follow.  `old`
 * NULL: there was none; n_keys 0: nobody signs.  `comment` NULL: empty.  FMP_EUSAGE for a comment
 * that is too long or not plain text; FMP_ELIMIT when the section gets too long; `out` is then as
 * it was.
 */
fmp_status fmp_sigblock_sign(const fmp_sigblock *old, const void *prefix, size_t prefix_len,
                             fmp_secret_key *const *keys, size_t n_keys, const char *comment,
                             fmp_buf *out, fmp_error *err);

/* The rule of fmp_patch_check_trust().  `trust` NULL: nobody is trusted, nothing is required. */
fmp_status fmp_sigblock_verdict(const fmp_sigblock *b, const fmp_trust *trust, fmp_verdict *ret,
                                fmp_error *err);

#endif
