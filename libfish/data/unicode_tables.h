/*
 * The tables of unicode_tables.c, which make_unicode.py writes.  Only unicode.c reads them.
 */
#ifndef FISH_UNICODE_TABLES_H
#define FISH_UNICODE_TABLES_H

#include <stdint.h>

/* Every step-th code point of first .. last has its lower case at a distance of delta. */
typedef struct fish_uc_case {
    uint32_t first, last, step;
    int32_t delta;
} fish_uc_case;

/* Flags (unicode.h) of the first code points, one each. */
extern const uint8_t fish_uc_low[];
extern const uint32_t fish_n_uc_low;

/* Sorted steps, code point << 8 | value: the value holds up to the next step. */
extern const uint32_t fish_uc_flags_at[];
extern const uint32_t fish_n_uc_flags_at;
extern const uint32_t fish_uc_order_at[];
extern const uint32_t fish_n_uc_order_at;

/* fish_uc_decomposed[i], sorted, falls into parts[parts_at[i]] .. parts[parts_at[i + 1] - 1]. */
extern const uint32_t fish_uc_decomposed[];
extern const uint32_t fish_n_uc_decomposed;
extern const uint16_t fish_uc_parts_at[];
extern const uint32_t fish_uc_parts[];

extern const fish_uc_case fish_uc_cases[]; /* sorted, apart from each other */
extern const uint32_t fish_n_uc_cases;

#endif
