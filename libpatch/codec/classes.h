/*
 * Classes of units by what the base holds: for floats by the exponent, since a step of given size
 * changes a small number more often than a large one.  Private to codec/.  FORMAT.md, "Modelled
 * blocks".
 */
#ifndef FMP_CODEC_CLASSES_H
#define FMP_CODEC_CLASSES_H

#include <stdbool.h>
#include <stdint.h>

#define FMP_CLASSES_MAX 32u
#define FMP_CLASS_STEP  19u /* largest log2 of a step */
#define FMP_CLASS_STILL 31u /* in place of a step: nothing of the class changes */
#define FMP_KEY_NONE    64u /* in place of a shift: every key is 0 */

/* How units are sorted into classes. */
typedef struct fmp_classes {
    uint8_t n;                      /* 1 .. FMP_CLASSES_MAX */
    uint8_t first[FMP_CLASSES_MAX]; /* smallest key of each; first[0] is 0 */
    uint8_t step[FMP_CLASSES_MAX];  /* log2 of how many units of the class one decision passes */
} fmp_classes;

/* What a unit is sorted by: 8 bits from `shift` on, without the sign of a sign-magnitude unit. */
static inline unsigned fmp_key(uint64_t x, unsigned bits, bool sign_magnitude, unsigned shift)
{
    if (shift >= bits)
        return 0;
    if (sign_magnitude)
        x &= ~(1ull << (bits - 1));
    return (unsigned)(x >> shift) & 255;
}

/* How often each key occurs among n. */
void fmp_keys_count(const uint8_t *keys, uint32_t n, uint32_t count[256]);

/* The classes for units of which all[key] have a key and changed[key] of those change.  Returns the
 * bits that positions would take. */
uint64_t fmp_classes_choose(fmp_classes *c, const uint32_t all[256], const uint32_t changed[256]);

/* Class of each key. */
void fmp_classes_map(const fmp_classes *c, uint8_t map[256]);

#endif
