/*
 * fmpatch mask: which weights of a model are selected.  A program of its own beside fmpatch; its
 * first verb has no name, so that `fmpatch mask SCORES` makes a mask.
 */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "mask/verbs.h"
#include "program.h"
#include "textutil.h"

const char command_prefix[] = "fmpatch";

const command *const command_table[] = {
    &cmd_select,  &cmd_union, &cmd_intersect, &cmd_subtract, &cmd_xor,
    &cmd_jaccard, &cmd_split, &cmd_show,      &cmd_help,     NULL,
};

void command_print_overview(FILE *to)
{
    fputs("Usage: fmpatch mask [OPTION]... [SCORES]\n"
          "       fmpatch mask VERB [OPTION]... [OPERAND]...\n\n"
          "Masks: which weights of a model are selected.\n\nVerbs:\n",
          to);
    for (size_t i = 1; command_at(i); i++) {
        const char *name = command_at(i)->name;
        const char *space = strchr(name, ' ');

        fprintf(to, "  %-12s%s\n", space ? space + 1 : name, command_at(i)->summary);
    }
    fputs("\n'fmpatch mask --help' says how a mask is made of scores, 'fmpatch mask VERB\n"
          "--help' more about a verb.  Exit status: as fmpatch.\n",
          to);
}

/* "mask union" for "union". */
static const char *full_name(const char *word)
{
    for (size_t i = 1; command_at(i); i++) {
        const char *space = strchr(command_at(i)->name, ' ');

        if (space && !strcmp(space + 1, word))
            return command_at(i)->name;
    }
    return NULL;
}

/* What stands for the program as a whole: help VERB, and its version, -q and -v before it or not.
 */
static bool is_global(int argc, char **argv)
{
    static const char *const version[] = {"-V", "--version", "-qV", "-vV"};
    int i = 1;

    if (argc > 1 && !strcmp(argv[1], cmd_help.name))
        return true;
    while (i < argc && (!strcmp(argv[i], "-q") || !strcmp(argv[i], "--quiet") ||
                        !strcmp(argv[i], "-v") || !strcmp(argv[i], "--verbose")))
        i++;
    for (size_t k = 0; i < argc && k < sizeof version / sizeof version[0]; k++) {
        if (!strcmp(argv[i], version[k]))
            return true;
    }
    return false;
}

/* The words as program_main() takes them: the verb by its full name, also behind "help". */
int main(int argc, char **argv)
{
    const bool global = is_global(argc, argv);
    const char *verb = argc > 1 ? full_name(argv[1]) : NULL;
    char **words = text_alloc(((size_t)argc + 3) * sizeof *words);
    char **own = text_alloc(((size_t)argc + 3) * sizeof *own); /* getopt reorders words */
    int n = 0;
    int status;

    own[n++] = text_copy("fmpatch-mask");
    if (!global)
        own[n++] = text_copy(verb ? verb : cmd_select.name);
    for (int i = !global && verb ? 2 : 1; i < argc; i++) {
        const char *name = global ? full_name(argv[i]) : NULL;

        own[n++] = text_copy(name ? name : argv[i]);
    }
    memcpy(words, own, (size_t)n * sizeof *words);
    words[n] = NULL;
    status = program_main(n, words, false);
    for (int i = 0; i < n; i++)
        free(own[i]);
    free(own);
    free(words);
    return status;
}
