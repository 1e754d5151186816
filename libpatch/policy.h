/*
 * A policy as it was read: what policy.c makes of the file and policy_check.c judges by.  Not
 * installed.
 */
#ifndef FMP_POLICY_H
#define FMP_POLICY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "fmpatch.h"

/* The rules by number; policy_rules.c has their texts in this order. */
enum {
    FMP_RULE_SIGNATURES,
    FMP_RULE_KINDS,
    FMP_RULE_MAX_BYTES,
    FMP_RULE_MAY_CHANGE,
    FMP_RULE_MUST_NOT_CHANGE,
    FMP_RULE_MUST_CHANGE,
    FMP_RULE_NO_ADDED,
    FMP_RULE_NO_REMOVED,
    FMP_RULE_NO_RENAMED,
    FMP_RULE_SAME_SHAPES,
    FMP_RULE_NO_NEW_NAN,
    FMP_RULE_MAX_SHARE,
    FMP_RULE_MAX_RESIDUAL,
    FMP_RULE_MAX_L2,
    FMP_RULE_SIDE_FILES,
    FMP_RULE_LINEAGE_ID,
    FMP_RULE_LINEAGE_SEQUENCE,
    FMP_RULE_NOT_AFTER,
    FMP_RULE_MAX_AGE,
    FMP_RULE_UNMATCHED,
    FMP_RULE_COUNT
};

/* A list of texts, which the document holds. */
typedef struct fmp_texts {
    const char **at;
    uint32_t n;
    bool there; /* the list was given, maybe empty */
} fmp_texts;

/* Shares are counted in billionths of a thousandth: what a decimal says is compared exactly. */
#define FMP_SHARE_UNIT 1000000000000ull

enum { FMP_PER_ALL = 0, FMP_PER_LAYER = 1, FMP_PER_TENSOR = 2 };

typedef struct fmp_limit {
    fmp_texts tensors;
    unsigned per;
    bool has_share, has_residual, has_l2;
    bool allow_new;
    uint64_t share; /* in FMP_SHARE_UNIT */
    uint64_t residual;
    double l2;
} fmp_limit;

struct fmp_policy {
    char *path;
    json_t *doc;
    uint32_t n_rules;
    bool allow_unmatched;
    uint8_t (*keys)[FMP_KEY_ID_LEN];
    uint32_t n_keys, threshold; /* 0: nobody need have signed */
    fmp_texts kinds;
    bool has_max_bytes;
    uint64_t max_bytes;
    fmp_texts may_change, must_not_change, must_change; /* globs of tensors */
    bool no_added, no_removed, no_renamed, same_shapes, no_new_nan;
    fmp_limit *limits;
    uint32_t n_limits;
    fmp_texts files; /* side files that may change */
    bool has_lineage, require_not_after, has_max_age;
    fmp_texts lineage_ids;
    uint64_t min_sequence, max_age_days;
};

#endif
