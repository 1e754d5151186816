/*
 * Options.  A verb describes its options once, in a table; that table feeds getopt_long(), the text
 * of
 * --help, the completion of three shells and the synopsis and options of its manual page.
 */
#ifndef TOOLS_OPTS_H
#define TOOLS_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum opt_kind {
    OPT_FLAG,   /* sets a bool */
    OPT_COUNT,  /* an unsigned: how often it was given */
    OPT_TEXT,   /* a const char *, as given */
    OPT_NUMBER, /* an opt_number, min .. max */
    OPT_REAL,   /* an opt_real, min .. max */
    OPT_CHOICE, /* an unsigned: which word of `words`, from 0 */
    OPT_LIST    /* an opt_list: every time it was given */
} opt_kind;

typedef enum opt_hint { HINT_NONE, HINT_FILE, HINT_DIR } opt_hint;

typedef struct opt_number {
    uint64_t value;
    bool given;
} opt_number;

typedef struct opt_real {
    double value;
    bool given;
} opt_real;

typedef struct opt_list {
    const char **items;
    size_t n;
} opt_list;

typedef struct opt_entry {
    const char *name; /* NULL ends a table */
    char letter;      /* 0: none */
    opt_kind kind;
    size_t offset;     /* of the field in the verb's arguments */
    const char *arg;   /* what the help calls the value */
    const char *help;  /* a sentence without capital and full stop */
    const char *words; /* of OPT_CHOICE, one space between */
    uint64_t min, max; /* of OPT_NUMBER, OPT_REAL */
    opt_hint hint;     /* what a shell completes the value with */
} opt_entry;

/* What every verb takes.  Its struct of arguments starts with this. */
typedef struct common_args {
    bool help;
    bool json;
    bool quiet;
    unsigned verbose;
    bool no_progress;
} common_args;

#define OPT_COMMON                                                                                 \
    {.name = "json",                                                                               \
     .kind = OPT_FLAG,                                                                             \
     .offset = offsetof(common_args, json),                                                        \
     .help = "write one JSON object to standard output"},                                          \
        {.name = "quiet",                                                                          \
         .letter = 'q',                                                                            \
         .kind = OPT_FLAG,                                                                         \
         .offset = offsetof(common_args, quiet),                                                   \
         .help = "say nothing on standard error but errors"},                                      \
        {.name = "verbose",                                                                        \
         .letter = 'v',                                                                            \
         .kind = OPT_COUNT,                                                                        \
         .offset = offsetof(common_args, verbose),                                                 \
         .help = "say more on standard error"},                                                    \
    {                                                                                              \
        .name = "help", .letter = 'h', .kind = OPT_FLAG, .offset = offsetof(common_args, help),    \
        .help = "print this text"                                                                  \
    }

#define OPT_PROGRESS                                                                               \
    {                                                                                              \
        .name = "no-progress", .kind = OPT_FLAG, .offset = offsetof(common_args, no_progress),     \
        .help = "show no progress (also: FMPATCH_NO_PROGRESS set)"                                 \
    }

#define OPT_MANY 1000000U /* operands without a limit */

struct command;

typedef enum opt_outcome { OPTS_RUN, OPTS_DONE, OPTS_BAD } opt_outcome;

/*
 * Parses a verb's arguments into `args`, a struct that begins with common_args.  The operands are
 * moved to the end of argv; *ret_operands points at the first and they end with a NULL.  OPTS_DONE
 * after --help; OPTS_BAD after a message on standard error.
 */
opt_outcome opts_parse(const struct command *cmd, int argc, char **argv, void *args,
                       char ***ret_operands, size_t *ret_n);
/* Frees the lists in `args`. */
void opts_release(const struct command *cmd, void *args);

/* At most 80 columns. */
void opts_print_help(const struct command *cmd, FILE *to);
/* The lines of a manual page, for scdoc. */
void opts_print_man_synopsis(const struct command *cmd, FILE *to);
void opts_print_man_options(const struct command *cmd, FILE *to);

#endif
