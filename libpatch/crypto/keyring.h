/*
 * What crypto/ itself asks a keyring.  Keys are compared whole; their numbers and names are hints.
 */
#ifndef FMP_CRYPTO_KEYRING_H
#define FMP_CRYPTO_KEYRING_H

#include <stdint.h>

#include "fmpatch.h"

typedef enum fmp_standing { FMP_KEY_UNKNOWN, FMP_KEY_TRUSTED, FMP_KEY_REVOKED } fmp_standing;

/* `ring` NULL knows nobody.  *ret_name, borrowed, is set unless the key is unknown. */
fmp_standing fmp_keyring_standing(const fmp_keyring *ring, const uint8_t key[32],
                                  const char **ret_name);

/* Keys that are trusted and not revoked. */
uint32_t fmp_keyring_trusted(const fmp_keyring *ring);

#endif
