/*
 * fmpatch fish: training that produces patches.  A program of its own, so that fmpatch never loads
 * OpenBLAS.
 */
#include <stdlib.h>

#include "command.h"
#include "fish/verbs.h"
#include "program.h"

const char command_prefix[] = "fmpatch fish";

const command *const command_table[] = {
    &cmd_init, &cmd_fisher, &cmd_train, &cmd_eval, &cmd_predict, &cmd_help, NULL,
};

void command_print_overview(FILE *to)
{
    fputs("Usage: fmpatch fish VERB [OPTION]... [OPERAND]...\n\n"
          "Training that produces patches: FISH masks, masked training, evaluation.\n\nVerbs:\n",
          to);
    for (size_t i = 0; command_at(i); i++)
        fprintf(to, "  %-12s%s\n", command_at(i)->name, command_at(i)->summary);
    fputs("\nOptions:\n"
          "  -h, --help      print this text\n"
          "  -V, --version   print the version (with -q its number, with -v the libraries')\n\n"
          "'fmpatch fish VERB --help' says more about a verb.  Masks from score files:\n"
          "'fmpatch mask'.  Exit status: as fmpatch.\n",
          to);
}

int main(int argc, char **argv)
{
    return program_main(argc, argv, false);
}
