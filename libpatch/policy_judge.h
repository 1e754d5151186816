/*
 * What the files that judge a patch share: the judge at work, and the findings it adds.  Not
 * installed.
 */
#ifndef FMP_POLICY_JUDGE_H
#define FMP_POLICY_JUDGE_H

#include "patch.h"
#include "policy.h"

/* For the end of messages. */
#define FMP_NO_BASE "cannot be decided without the base"

/* Room for what was expected and what was found. */
#define FMP_SAID_MAX 160

typedef struct fmp_judge {
    const fmp_policy *policy;
    const fmp_patch *p;
    const fmp_store *base;
    fmp_policy_options o;
    fmp_policy_results *results;
    bool no_memory; /* a finding could not be kept */
} fmp_judge;

/* What a finding is about. */
typedef struct fmp_subject {
    unsigned rule;
    const char *member;        /* of the policy; copied */
    const char *tensor, *file; /* or NULL; copied */
} fmp_subject;

/* Empty; NULL when there is no memory. */
fmp_policy_results *fmp_policy_results_new(void);

/* Adds a finding; `fmt` and what follows is its message. */
void fmp_judge_add(fmp_judge *j, fmp_subject s, const char *expected, const char *found,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The name of a row. */
const char *fmp_judge_name(const fmp_judge *j, uint32_t row);

bool fmp_texts_match(const fmp_texts *globs, const char *name, bool path);

/* A glob that protects nothing is a finding: it may be misspelt. */
void fmp_judge_unmatched(fmp_judge *j, const char *member, const fmp_texts *globs);

/* Whether a tensor is not, by its name, what it was: dtype, shape, content, presence. */
bool fmp_row_changed(const fmp_table *t, uint32_t row);

/* The rules that need fmp_measure(): limits, and values that are not finite. */
fmp_status fmp_judge_measures(fmp_judge *j, fmp_error *err);

#endif
