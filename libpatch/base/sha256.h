/*
 * SHA-256 in pieces, for the file ids that model hubs show.  OpenSSL where it was built in
 * (SHA-NI), else libsodium.
 */
#ifndef FMP_BASE_SHA256_H
#define FMP_BASE_SHA256_H

#include "base/file.h"

typedef struct fmp_sha256 fmp_sha256;

fmp_status fmp_sha256_new(fmp_sha256 **ret, fmp_error *err);
void fmp_sha256_update(fmp_sha256 *s, const void *data, size_t len);
/* Lower-case hex of all that was added; then only fmp_sha256_free() may follow. */
fmp_status fmp_sha256_final(fmp_sha256 *s, char hex[65], fmp_error *err);
void fmp_sha256_free(fmp_sha256 *s); /* takes NULL */

/* Lower-case hex of a whole open file. */
fmp_status fmp_sha256_file(const fmp_file *f, char hex[65], fmp_error *err);

#endif
