/*
 * Lines of versions: what a patch says of its lineage, dates, and the record of how far each
 * lineage has come.  FORMAT.md, "Manifest".  Not installed.
 */
#ifndef FMP_LINEAGE_H
#define FMP_LINEAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "fmpatch.h"

#define FMP_LINEAGE_ID_MAX 128u
/* A sequence may not jump further: a mark at the end of all numbers would shut its lineage. */
#define FMP_LINEAGE_JUMP_MAX (1ull << 32)

/* What a manifest says. */
typedef struct fmp_lineage {
    bool there;   /* it has a lineage */
    char bad[80]; /* what is wrong with it; empty when nothing is */
    char id[FMP_LINEAGE_ID_MAX + 1];
    uint64_t sequence;
    bool has_not_after, has_date;
    int64_t not_after, date; /* seconds since 1970 */
} fmp_lineage;

fmp_status fmp_lineage_read(const char *manifest, fmp_lineage *ret, fmp_error *err);

/* RFC 3339, with a fraction of a second that is dropped.  False for anything else. */
bool fmp_date_parse(const char *text, int64_t *ret);

/* The mark of one lineage. */
typedef struct fmp_mark {
    bool there;
    uint64_t sequence;
    fmp_digest patch; /* id of the patch that set it */
} fmp_mark;

/* A record that is not there has no marks. */
fmp_status fmp_mark_read(const char *record, const char *id, fmp_mark *ret, fmp_error *err);

/* Whether a patch may follow a mark: newer by no more than the jump, or the very same patch. */
bool fmp_mark_allows(const fmp_mark *mark, uint64_t sequence, const fmp_digest *patch);

/* Sets the mark unless it has moved past `sequence` meanwhile: *ret_set. */
fmp_status fmp_mark_advance(const char *record, const char *id, uint64_t sequence,
                            const fmp_digest *patch, bool *ret_set, fmp_error *err);

#endif
