/*
 * fmpatch help: the overview, or a verb's help; and the parts of manual pages that come from its
 * table of options.
 */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "report.h"
#include "suggest.h"

typedef struct help_args {
    common_args common;
    unsigned man;
} help_args;

static const opt_entry options[] = {
    {.name = "man",
     .kind = OPT_CHOICE,
     .offset = offsetof(help_args, man),
     .arg = "PART",
     .words = "no synopsis options",
     .help = "print a part of the verb's manual page, for scdoc"},
    {.name = "help",
     .letter = 'h',
     .kind = OPT_FLAG,
     .offset = offsetof(common_args, help),
     .help = "print this text"},
    {0},
};

static int help_verb(const help_args *args, const char *name)
{
    const command *cmd = command_find(name);
    suggestion near = {0};

    if (!cmd) {
        for (size_t i = 0; command_at(i); i++)
            suggest_try(&near, name, command_at(i)->name);
        return near.word
                   ? report_usage("help: no such verb; did you mean '%s'?", near.word)
                   : report_usage("help: no such verb; '%s --help' lists them", command_prefix);
    }
    if (args->man == 1)
        opts_print_man_synopsis(cmd, stdout);
    else if (args->man == 2)
        opts_print_man_options(cmd, stdout);
    else
        opts_print_help(cmd, stdout);
    return FMP_OK;
}

static int run(const command *self, int argc, char **argv)
{
    help_args args = {0};
    char **operands;
    size_t n;

    switch (opts_parse(self, argc, argv, &args, &operands, &n)) {
    case OPTS_DONE:
        return FMP_OK;
    case OPTS_BAD:
        return fmp_exit_status(FMP_EUSAGE);
    case OPTS_RUN:
        break;
    }
    if (n)
        return help_verb(&args, operands[0]);
    command_print_overview(stdout);
    return FMP_OK;
}

const command cmd_help = {
    .name = "help",
    .operands = "[VERB]",
    .summary = "print this overview, or the help of a verb",
    .options = options,
    .max_operands = 1,
    .operand_words = "create apply revert verify inspect stat sign keygen keyring completion help",
    .run = run,
};
