/*
 * Tensors with equal content under different names: renamed ones (base against target) and tied
 * ones (target against target).  Private to matching.
 */
#ifndef FMP_TWINS_H
#define FMP_TWINS_H

#include "match.h"

fmp_status fmp_match_add_map(fmp_match *m, uint32_t row, fmp_map map, fmp_error *err);

/* An added target tensor whose content a removed base tensor has becomes a renamed one. */
fmp_status fmp_match_contents(const fmp_store *base, const fmp_store *target, fmp_match *m,
                              fmp_error *err);

/* A changed or added target tensor that is a copy of another becomes an alias of it, where that can
 * be undone. */
fmp_status fmp_match_twins(const fmp_store *base, const fmp_store *target, fmp_match *m,
                           fmp_error *err);

#endif
