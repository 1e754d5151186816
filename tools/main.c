/*
 * fmpatch: finds the verb and runs it; looks for fmpatch-NAME on PATH when NAME is none of its own.
 * What is done before and after every verb is done here: standard descriptors, signals, and the
 * question whether all of standard output was written.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libsmartcols/libsmartcols.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "fmpatch.h"
#include "progress.h"
#include "report.h"
#include "suggest.h"
#include "textutil.h"

static const command *const commands[] = {
    &cmd_create, &cmd_apply,  &cmd_revert,  &cmd_verify,     &cmd_inspect, &cmd_stat,
    &cmd_sign,   &cmd_keygen, &cmd_keyring, &cmd_completion, &cmd_help,
};

const command *command_at(size_t i)
{
    return i < sizeof commands / sizeof *commands ? commands[i] : NULL;
}

const command *command_find(const char *name)
{
    for (size_t i = 0; command_at(i); i++) {
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    }
    return NULL;
}

void command_print_overview(FILE *to)
{
    fputs("Usage: fmpatch VERB [OPTION]... [OPERAND]...\n\n"
          "Small, signed, exact patches between model checkpoints.\n\nVerbs:\n",
          to);
    for (size_t i = 0; command_at(i); i++)
        fprintf(to, "  %-12s%s\n", commands[i]->name, commands[i]->summary);
    fputs("\nOptions:\n"
          "  -h, --help      print this text\n"
          "  -V, --version   print the version (with -q its number, with -v the libraries')\n\n"
          "'fmpatch VERB --help' says more about a verb.  'fmpatch NAME' runs the program\n"
          "fmpatch-NAME when NAME is no verb.  Exit status: 0 done, 1 not authentic,\n"
          "2 usage or output exists, 3 malformed or unsupported, 4 wrong base, 5 refused by\n"
          "the system, 6 recovery needed, 7 against a policy or not reversible.\n",
          to);
}

static int print_version(bool quiet, bool verbose)
{
    const char *smartcols = "?";

    printf("%s%s\n", quiet ? "" : "fmpatch ", fmp_version());
    if (verbose) {
        scols_get_library_version(&smartcols);
        printf("patch files: version %d%s\n", FMP_FORMAT_VERSION,
               FMP_FORMAT_VERSION ? "" : " (draft)");
        printf("jansson %s\n", jansson_version_str());
        printf("libsmartcols %s\n", smartcols);
    }
    return FMP_OK;
}

/* ---- verbs that are none of ours --------------------------------------------------------------
 */

static bool may_be_program(const char *name)
{
    return *name && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(name) &&
           *name != '-';
}

static int run_unknown(char **argv)
{
    const char *name = argv[0];
    suggestion near = {0};
    char *shown;

    if (may_be_program(name)) {
        char *program = text_format("fmpatch-%s", name);

        argv[0] = program;
        execvp(program, argv);
        argv[0] = (char *)(uintptr_t)name;
        if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) {
            const int status = report_errno(program);

            free(program);
            return status;
        }
        free(program);
    }
    for (size_t i = 0; command_at(i); i++)
        suggest_try(&near, name, commands[i]->name);
    shown = text_escape(name, strlen(name));
    if (near.word)
        report_usage("'%s' is not a verb; did you mean '%s'?", shown, near.word);
    else
        report_usage("'%s' is not a verb; 'fmpatch --help' lists them", shown);
    free(shown);
    return fmp_exit_status(FMP_EUSAGE);
}

/* ---- before and after -------------------------------------------------------------------------
 */

/* A file opened by the work must not become standard output.  Each is opened the wrong way round,
 * so that using it fails as it would have while closed. */
static bool open_standard(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
            return false;
    }
    return true;
}

/* A full disk shows at the latest now. */
static int finish(int status)
{
    const bool failed = ferror(stdout) != 0;

    if (fflush(stdout) || failed) {
        if (!failed)
            report_errno("standard output");
        else
            report_warning("standard output: write error");
        if (!status)
            status = fmp_exit_status(FMP_EIO);
    }
    progress_reraise();
    return status;
}

/* Options before the verb; returns how many words they take, or -1 when the work is done. */
static int global_options(int argc, char **argv, int *ret_status)
{
    bool quiet = false, verbose = false;
    int i = 1;

    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        const char *word = argv[i];

        if (!strcmp(word, "-q") || !strcmp(word, "--quiet"))
            quiet = true;
        else if (!strcmp(word, "-v") || !strcmp(word, "--verbose"))
            verbose = true;
        else if (!strcmp(word, "-h") || !strcmp(word, "--help")) {
            command_print_overview(stdout);
            *ret_status = FMP_OK;
            return -1;
        } else if (!strcmp(word, "-V") || !strcmp(word, "--version") || !strcmp(word, "-qV") ||
                   !strcmp(word, "-vV")) {
            for (int k = i + 1; k < argc; k++) {
                quiet |= !strcmp(argv[k], "-q") || !strcmp(argv[k], "--quiet");
                verbose |= !strcmp(argv[k], "-v") || !strcmp(argv[k], "--verbose");
            }
            *ret_status = print_version(quiet || word[1] == 'q', verbose || word[1] == 'v');
            return -1;
        } else {
            *ret_status =
                report_usage("unknown option '%s' before the verb; see 'fmpatch --help'", word);
            return -1;
        }
    }
    if (i < argc && (quiet || verbose)) {
        *ret_status = report_usage("-q and -v stand behind the verb");
        return -1;
    }
    return i;
}

static int run(int argc, char **argv)
{
    const command *cmd;
    int status = FMP_OK;
    const int at = argc ? global_options(argc, argv, &status) : 1;

    if (at < 0)
        return status;
    if (at >= argc) {
        command_print_overview(stderr);
        return fmp_exit_status(FMP_EUSAGE);
    }
    cmd = command_find(argv[at]);
    if (!cmd)
        return run_unknown(argv + at);
    progress_catch_signals();
    return cmd->run(cmd, argc - at, argv + at);
}

int main(int argc, char **argv)
{
    if (!open_standard())
        return fmp_exit_status(FMP_EIO);
    setlocale(LC_CTYPE, "");
    return finish(run(argc, argv));
}
