/*
 * What check_minisign.sh needs of fmpatch.h: keys made and read, files signed and verified.  The
 * exit status is the one that `fmpatch` has for the same fault.  A passphrase is the first line of
 * standard input; an empty one means an unencrypted key.
 */
#include <stdio.h>
#include <string.h>

#include "fmpatch.h"

static int fail(const fmp_error *err)
{
    fprintf(stderr, "%s: %s\n", fmp_status_name(err->status), err->text);
    return fmp_exit_status(err->status);
}

static int read_line(void *ctx, const char *prompt, char *pass, size_t cap)
{
    (void)ctx;
    (void)prompt;
    if (!fgets(pass, (int)cap, stdin))
        return -1;
    return (int)strcspn(pass, "\n");
}

/* generate FORMAT SECRET PUBLIC */
static int generate(char **args)
{
    const fmp_key_format format = strcmp(args[0], "argon2id") ? FMP_KEY_MINISIGN : FMP_KEY_ARGON2ID;
    fmp_secret_key *key = NULL;
    char pass[1024] = "";
    fmp_error err = {0};
    const int n = read_line(NULL, NULL, pass, sizeof pass);
    fmp_status st = fmp_secret_key_generate(&key, &err);

    pass[n < 0 ? 0 : n] = '\0';
    if (!st)
        st = fmp_secret_key_save(key, format, *pass ? pass : NULL, args[1], args[2], &err);
    fmp_secret_key_free(key);
    return st ? fail(&err) : 0;
}

/* public SECRET: writes the public key's text */
static int public_of(char **args)
{
    fmp_secret_key *key = NULL;
    fmp_public_key pub;
    char text[256];
    fmp_error err = {0};

    if (fmp_secret_key_load(args[0], false, read_line, NULL, &key, &err))
        return fail(&err);
    pub = fmp_secret_key_public(key);
    fmp_public_key_text(&pub, text);
    fputs(text, stdout);
    fmp_secret_key_free(key);
    return 0;
}

/* sign SECRET FILE SIG COMMENT */
static int sign(char **args)
{
    fmp_secret_key *key = NULL;
    fmp_error err = {0};
    fmp_status st = fmp_secret_key_load(args[0], false, read_line, NULL, &key, &err);

    if (!st)
        st = fmp_minisign_sign(args[1], args[2], key, *args[3] ? args[3] : NULL, false, &err);
    fmp_secret_key_free(key);
    return st ? fail(&err) : 0;
}

/* verify PUBLIC FILE SIG: writes the trusted comment */
static int verify(char **args)
{
    fmp_public_key key;
    char comment[8192];
    fmp_error err = {0};
    fmp_status st = fmp_public_key_load(args[0], &key, &err);

    if (!st)
        st = fmp_minisign_verify(args[1], args[2], &key, comment, sizeof comment, &err);
    if (st)
        return fail(&err);
    puts(comment);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int n_args;
        int (*run)(char **args);
    } commands[] = {{"generate", 3, generate},
                    {"public", 1, public_of},
                    {"sign", 4, sign},
                    {"verify", 3, verify}};

    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(argv[1], commands[i].name) && argc - 2 == commands[i].n_args)
            return commands[i].run(argv + 2);
    fputs("usage: minisign_tool generate|public|sign|verify ARGS\n", stderr);
    return 2;
}
