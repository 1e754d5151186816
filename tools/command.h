/*
 * The verbs: one table a program, beside its main().  Names of the program carry no fmp_ prefix, so
 * that what belongs to the library is seen at once; a function is named after its file.
 */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

#include <stddef.h>

#include "opts.h"

typedef struct command {
    const char *name;
    const char *operands; /* "BASE TARGET" */
    const char *summary;  /* a sentence without capital and full stop */
    const char *notes;    /* what the help says below the options; or NULL */
    const opt_entry *options;
    size_t min_operands, max_operands;
    const char *operand_words; /* what a shell completes operands with; NULL: files */
    int (*run)(const struct command *self, int argc, char **argv); /* the exit status */
} command;

/* What stands before a verb: "fmpatch", "fmpatch fish". */
extern const char command_prefix[];
/* The program's verbs in the order of --help; NULL ends them. */
extern const command *const command_table[];

/* The table, in the order of --help.  NULL past the last. */
const command *command_at(size_t i);
const command *command_find(const char *name);

extern const command cmd_create, cmd_apply, cmd_revert, cmd_verify, cmd_inspect, cmd_stat,
    cmd_overlap, cmd_diff, cmd_merge, cmd_squash, cmd_invert, cmd_subset, cmd_recode, cmd_sign,
    cmd_keygen, cmd_keyring, cmd_completion, cmd_help;

/* PREFIX --help. */
void command_print_overview(FILE *to);

#endif
