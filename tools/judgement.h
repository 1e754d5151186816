/*
 * What a policy says of a patch: judged, printed, and written as SARIF.
 */
#ifndef TOOLS_JUDGEMENT_H
#define TOOLS_JUDGEMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "fmpatch.h"
#include "opts.h"

typedef struct judgement_args {
    const char *policy, *sarif, *state, *now, *reset;
    bool force;
} judgement_args;

#define OPT_JUDGEMENT(type, field)                                                                 \
    {.name = "policy",                                                                             \
     .kind = OPT_TEXT,                                                                             \
     .offset = offsetof(type, field.policy),                                                       \
     .arg = "FILE",                                                                                \
     .hint = HINT_FILE,                                                                            \
     .help = "judge the patch by the rules in FILE (status 7 when one is broken)"},                \
        {.name = "sarif",                                                                          \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.sarif),                                                    \
         .arg = "FILE",                                                                            \
         .hint = HINT_FILE,                                                                        \
         .help = "write what the policy says as SARIF 2.1.0 to FILE"},                             \
        {.name = "force",                                                                          \
         .letter = 'f',                                                                            \
         .kind = OPT_FLAG,                                                                         \
         .offset = offsetof(type, field.force),                                                    \
         .help = "replace an existing SARIF file"},                                                \
        {.name = "state",                                                                          \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.state),                                                    \
         .arg = "FILE",                                                                            \
         .hint = HINT_FILE,                                                                        \
         .help = "the record of lineages for rules on a sequence; "                                \
                 "$XDG_STATE_HOME/fmpatch/lineages.json without it"},                              \
        {.name = "now",                                                                            \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.now),                                                      \
         .arg = "RFC3339",                                                                         \
         .help = "the time for rules on dates (also: SOURCE_DATE_EPOCH); the clock without it"},   \
    {                                                                                              \
        .name = "reset-lineage", .kind = OPT_TEXT, .offset = offsetof(type, field.reset),          \
        .arg = "ID",                                                                               \
        .help = "make the record forget this lineage, and do nothing else; takes no PATCH"         \
    }

typedef struct judgement {
    fmp_policy *policy; /* NULL: none was asked for */
    fmp_policy_results *results;
    char *shown; /* the policy's path, escaped */
} judgement;

/* These return an exit status, after a message when it is not 0. */
int judgement_open(judgement *j, const judgement_args *args, const common_args *common);
int judgement_run(judgement *j, const judgement_args *args, const common_args *common,
                  const fmp_patch *patch, const fmp_store *base, const fmp_keyring *ring,
                  unsigned n_threads);
/* The SARIF file, if any, about the patch `path`. */
int judgement_write(const judgement *j, const judgement_args *args, const char *path);
int judgement_reset(const judgement_args *args, const common_args *common);
void judgement_close(judgement *j); /* takes an empty one */

/* The exit status that the findings ask for, after a message when it is not 0. */
int judgement_verdict(const judgement *j, const char *shown_patch);

/* Nothing without a policy. */
void judgement_print(const judgement *j, const char *shown_patch);
json_t *judgement_json(const judgement *j, const judgement_args *args); /* null without one */

#endif
