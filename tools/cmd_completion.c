/*
 * fmpatch completion: what bash, zsh and fish need to complete a command line, made from the tables
 * of options.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "report.h"
#include "textutil.h"

typedef struct completion_args {
    common_args common;
} completion_args;

static const opt_entry options[] = {
    {.name = "help",
     .letter = 'h',
     .kind = OPT_FLAG,
     .offset = offsetof(common_args, help),
     .help = "print this text"},
    {0},
};

static bool takes_value(const opt_entry *o)
{
    return o->kind != OPT_FLAG && o->kind != OPT_COUNT;
}

/* ---- bash -------------------------------------------------------------------------------------
 */

static const char bash_head[] =
    "# bash completion for fmpatch; made by 'fmpatch completion bash'\n"
    "_fmpatch_words() { mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\"); }\n"
    "_fmpatch_files() { compopt -o filenames; mapfile -t COMPREPLY < <(compgen \"$1\" -- "
    "\"$cur\"); }\n"
    "_fmpatch()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= at=0 i\n"
    "    COMPREPLY=()\n"
    "    if [[ $cur == \"=\" ]]; then cur=; fi\n"
    "    if [[ $prev == \"=\" ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        if [[ ${COMP_WORDS[i]} != -* ]]; then verb=${COMP_WORDS[i]} at=$i; break; fi\n"
    "    done\n";

static void bash_values(const command *cmd, const opt_entry *o)
{
    printf("    %s:--%s", cmd->name, o->name);
    if (o->letter)
        printf("|%s:-%c", cmd->name, o->letter);
    if (o->kind == OPT_CHOICE)
        printf(") _fmpatch_words \"%s\"; return ;;\n", o->words);
    else if (o->hint == HINT_NONE)
        fputs(") return ;;\n", stdout);
    else
        printf(") _fmpatch_files %s; return ;;\n", o->hint == HINT_DIR ? "-d" : "-f");
}

static void bash(void)
{
    const command *cmd;

    fputs(bash_head, stdout);
    fputs("    if [[ -z $verb ]]; then\n        _fmpatch_words \"", stdout);
    for (size_t i = 0; (cmd = command_at(i)); i++)
        printf("%s ", cmd->name);
    fputs("--help --version\"\n        return\n    fi\n    case $verb:$prev in\n", stdout);
    for (size_t i = 0; (cmd = command_at(i)); i++) {
        for (const opt_entry *o = cmd->options; o->name; o++) {
            if (takes_value(o))
                bash_values(cmd, o);
        }
    }
    fputs("    esac\n    if [[ $cur == -* ]]; then\n        case $verb in\n", stdout);
    for (size_t i = 0; (cmd = command_at(i)); i++) {
        printf("        %s) _fmpatch_words \"", cmd->name);
        for (const opt_entry *o = cmd->options; o->name; o++)
            printf("%s--%s", o == cmd->options ? "" : " ", o->name);
        fputs("\" ;;\n", stdout);
    }
    fputs("        esac\n        return\n    fi\n    case $verb:$((COMP_CWORD - at)) in\n", stdout);
    for (size_t i = 0; (cmd = command_at(i)); i++) {
        if (cmd->operand_words)
            printf("    %s:1) _fmpatch_words \"%s\" ;;\n", cmd->name, cmd->operand_words);
        if (!cmd->max_operands || (cmd->operand_words && cmd->max_operands == 1))
            printf("    %s:*) ;;\n", cmd->name);
    }
    fputs("    *) _fmpatch_files -f ;;\n    esac\n}\ncomplete -F _fmpatch fmpatch\n", stdout);
}

/* ---- zsh --------------------------------------------------------------------------------------
 */

/* Inside single quotes, and inside the brackets of a specification. */
static void zsh_text(const char *s)
{
    for (; *s; s++) {
        if (*s == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:\\", *s))
            printf("\\%c", *s);
        else
            putchar(*s);
    }
}

static void zsh_option(const opt_entry *o, const char *name, const char *joint)
{
    printf("            '%s%s%s[", o->kind == OPT_LIST || o->kind == OPT_COUNT ? "*" : "", name,
           takes_value(o) ? joint : "");
    zsh_text(o->help);
    putchar(']');
    if (o->kind == OPT_CHOICE)
        printf(":%s:(%s)", o->arg, o->words);
    else if (takes_value(o))
        printf(":%s:%s", o->arg,
               o->hint == HINT_DIR    ? "_files -/"
               : o->hint == HINT_FILE ? "_files"
                                      : " ");
    fputs("' \\\n", stdout);
}

static void zsh_verb(const command *cmd)
{
    printf("        %s)\n            _arguments -s -S \\\n", cmd->name);
    for (const opt_entry *o = cmd->options; o->name; o++) {
        char *name = text_format("--%s", o->name);
        char letter[3] = {'-', o->letter, '\0'};

        if (o->letter)
            zsh_option(o, letter, "+");
        zsh_option(o, name, "=");
        free(name);
    }
    if (cmd->operand_words)
        printf("            '1:what:(%s)' \\\n", cmd->operand_words);
    fputs(cmd->max_operands ? "            '*:file:_files' ;;\n" : "            ;;\n", stdout);
}

static void zsh(void)
{
    const command *cmd;

    fputs("#compdef fmpatch\n# made by 'fmpatch completion zsh'\n_fmpatch() {\n"
          "    local curcontext=\"$curcontext\" state line\n    typeset -A opt_args\n"
          "    _arguments -C '(- *)'{-h,--help}'[print help]' "
          "'(- *)'{-V,--version}'[print the version]' '1:verb:->verb' '*::operand:->verb_args'\n"
          "    case $state in\n    verb)\n        local -a verbs\n        verbs=(\n",
          stdout);
    for (size_t i = 0; (cmd = command_at(i)); i++) {
        printf("            '%s:", cmd->name);
        zsh_text(cmd->summary);
        fputs("'\n", stdout);
    }
    fputs("        )\n        _describe verb verbs ;;\n    verb_args)\n        case $line[1] in\n",
          stdout);
    for (size_t i = 0; (cmd = command_at(i)); i++)
        zsh_verb(cmd);
    fputs("        esac ;;\n    esac\n}\n_fmpatch \"$@\"\n", stdout);
}

/* ---- fish -------------------------------------------------------------------------------------
 */

static void fish_text(const char *s)
{
    putchar('\'');
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\')
            putchar('\\');
        putchar(*s);
    }
    putchar('\'');
}

static void fish_option(const command *cmd, const opt_entry *o)
{
    printf("complete -c fmpatch -n '__fish_seen_subcommand_from %s' -l %s", cmd->name, o->name);
    if (o->letter)
        printf(" -s %c", o->letter);
    if (o->kind == OPT_CHOICE)
        printf(" -x -a '%s'", o->words);
    else if (takes_value(o))
        fputs(o->hint == HINT_DIR    ? " -x -a '(__fish_complete_directories)'"
              : o->hint == HINT_FILE ? " -r -F"
                                     : " -x",
              stdout);
    fputs(" -d ", stdout);
    fish_text(o->help);
    putchar('\n');
}

static void fish(void)
{
    const command *cmd;

    fputs("# fish completion for fmpatch; made by 'fmpatch completion fish'\n"
          "complete -c fmpatch -n __fish_use_subcommand -f\n"
          "complete -c fmpatch -n __fish_use_subcommand -s h -l help -d 'print help'\n"
          "complete -c fmpatch -n __fish_use_subcommand -s V -l version -d 'print the version'\n",
          stdout);
    for (size_t i = 0; (cmd = command_at(i)); i++) {
        printf("complete -c fmpatch -n __fish_use_subcommand -a %s -d ", cmd->name);
        fish_text(cmd->summary);
        putchar('\n');
    }
    for (size_t i = 0; (cmd = command_at(i)); i++) {
        for (const opt_entry *o = cmd->options; o->name; o++)
            fish_option(cmd, o);
        if (cmd->operand_words)
            printf("complete -c fmpatch -n '__fish_seen_subcommand_from %s' -a '%s'\n", cmd->name,
                   cmd->operand_words);
    }
}

static int run(const command *self, int argc, char **argv)
{
    completion_args args = {0};
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
    if (!strcmp(operands[0], "bash"))
        bash();
    else if (!strcmp(operands[0], "zsh"))
        zsh();
    else if (!strcmp(operands[0], "fish"))
        fish();
    else
        return report_usage("completion: bash, zsh or fish is expected");
    return FMP_OK;
}

const command cmd_completion = {
    .name = "completion",
    .operands = "bash|zsh|fish",
    .summary = "print what a shell needs to complete fmpatch's command line",
    .options = options,
    .min_operands = 1,
    .max_operands = 1,
    .operand_words = "bash zsh fish",
    .run = run,
};
