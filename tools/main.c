/*
 * fmpatch: its verbs, and what --help says of them.
 */
#include "command.h"
#include "program.h"

const char command_prefix[] = "fmpatch";

const command *const command_table[] = {
    &cmd_create,  &cmd_apply,      &cmd_revert, &cmd_verify, &cmd_inspect,
    &cmd_stat,    &cmd_overlap,    &cmd_diff,   &cmd_merge,  &cmd_squash,
    &cmd_invert,  &cmd_subset,     &cmd_recode, &cmd_sign,   &cmd_keygen,
    &cmd_keyring, &cmd_completion, &cmd_help,   NULL,
};

void command_print_overview(FILE *to)
{
    fputs("Usage: fmpatch VERB [OPTION]... [OPERAND]...\n\n"
          "Small, signed, exact patches between model checkpoints.\n\nVerbs:\n",
          to);
    for (size_t i = 0; command_at(i); i++)
        fprintf(to, "  %-12s%s\n", command_table[i]->name, command_table[i]->summary);
    fputs("\nOptions:\n"
          "  -h, --help      print this text\n"
          "  -V, --version   print the version (with -q its number, with -v the libraries')\n\n"
          "'fmpatch VERB --help' says more about a verb.  'fmpatch NAME' runs the program\n"
          "fmpatch-NAME when NAME is no verb.  Exit status: 0 done, 1 not authentic,\n"
          "2 usage or output exists, 3 malformed or unsupported, 4 wrong base, 5 refused by\n"
          "the system, 6 recovery needed, 7 against a policy or not reversible.\n",
          to);
}

int main(int argc, char **argv)
{
    return program_main(argc, argv, true);
}
