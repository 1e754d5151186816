/*
 * The text of a minisign signature, apart from its file, so that fuzzers need none.
 */
#ifndef FMP_CRYPTO_MINISIGN_H
#define FMP_CRYPTO_MINISIGN_H

#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"

#define FMP_TRUSTED_COMMENT_MAX 8173  /* so that minisign's line buffer of 8192 holds the line */
#define FMP_MINISIG_MAX         16384 /* bytes of a signature file that a reader looks at */

/* Parsed, not yet verified.  `comment` points into the text. */
typedef struct fmp_minisig {
    uint8_t number[8];
    uint8_t sig[64];
    const char *comment;
    size_t comment_len;
    uint8_t global[64]; /* over sig, then comment */
} fmp_minisig;

/* `what` names the file in messages.  FMP_ECORRUPT for other text; FMP_EAUTH for the legacy "Ed".
 */
fmp_status fmp_minisig_parse(const char *text, size_t len, const char *what, fmp_minisig *ret,
                             fmp_error *err);

/* FMP_EAUTH unless `key` made the global signature. */
fmp_status fmp_minisig_check_comment(const fmp_minisig *m, const fmp_public_key *key,
                                     const char *what, fmp_error *err);

#endif
