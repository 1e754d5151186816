/*
 * What is done before and after every verb: standard descriptors, options before the verb, signals,
 * and the question whether all of standard output was written.  `fmpatch NAME` runs fmpatch-NAME
 * when NAME is no verb.
 */
#include "program.h"

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

const command *command_at(size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (!command_table[k])
            return NULL;
    }
    return command_table[i];
}

const command *command_find(const char *name)
{
    for (size_t i = 0; command_at(i); i++) {
        if (!strcmp(command_table[i]->name, name))
            return command_table[i];
    }
    return NULL;
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

static int run_unknown(char **argv, bool extended)
{
    const char *name = argv[0];
    suggestion near = {0};
    char *shown;

    if (extended && may_be_program(name)) {
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
        suggest_try(&near, name, command_table[i]->name);
    shown = text_escape(name, strlen(name));
    if (near.word)
        report_usage("'%s' is not a verb; did you mean '%s'?", shown, near.word);
    else
        report_usage("'%s' is not a verb; '%s --help' lists them", shown, command_prefix);
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
            *ret_status = report_usage("unknown option '%s' before the verb; see '%s --help'", word,
                                       command_prefix);
            return -1;
        }
    }
    if (i < argc && (quiet || verbose)) {
        *ret_status = report_usage("-q and -v stand behind the verb");
        return -1;
    }
    return i;
}

static int run(int argc, char **argv, bool extended)
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
        return run_unknown(argv + at, extended);
    progress_catch_signals();
    return cmd->run(cmd, argc - at, argv + at);
}

int program_main(int argc, char **argv, bool extended)
{
    if (!open_standard())
        return fmp_exit_status(FMP_EIO);
    setlocale(LC_CTYPE, "");
    return finish(run(argc, argv, extended));
}
