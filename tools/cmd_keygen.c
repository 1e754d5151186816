/*
 * fmpatch keygen: a new pair of keys.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "fmpatch.h"
#include "passphrase.h"
#include "report.h"
#include "textutil.h"

typedef struct keygen_args {
    common_args common;
    const char *output;
    unsigned format;
    bool no_passphrase;
    passphrase_args passphrase;
} keygen_args;

static const opt_entry options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPT_TEXT,
     .offset = offsetof(keygen_args, output),
     .arg = "NAME",
     .hint = HINT_FILE,
     .help = "write NAME.key and NAME.pub; without it fmpatch.key and fmpatch.pub"},
    {.name = "format",
     .kind = OPT_CHOICE,
     .offset = offsetof(keygen_args, format),
     .arg = "FORMAT",
     .words = "minisign argon2id",
     .help = "a secret key file that minisign reads, or a stronger one that only fmpatch does"},
    {.name = "no-passphrase",
     .letter = 'W',
     .kind = OPT_FLAG,
     .offset = offsetof(keygen_args, no_passphrase),
     .help = "leave the secret key unencrypted"},
    OPT_PASSPHRASE(keygen_args, passphrase),
    OPT_COMMON,
    {0},
};

static int check_args(const keygen_args *args)
{
    if (args->no_passphrase && args->format == FMP_KEY_ARGON2ID)
        return report_usage("keygen: --format argon2id needs a passphrase");
    if (args->no_passphrase && (args->passphrase.file || args->passphrase.fd.given))
        return report_usage("keygen: --no-passphrase excludes a passphrase");
    if (args->output && !*args->output)
        return report_usage("keygen: -o: an empty name");
    return passphrase_open(&args->passphrase);
}

static void print_result(const keygen_args *args, const fmp_public_key *key,
                         const char *secret_path, const char *public_path)
{
    char number[17], text[256], *line;
    report_json j;

    text_key_number(key->number, number);
    fmp_public_key_text(key, text);
    line = strchr(text, '\n'); /* the second line is the key */
    line = line ? line + 1 : text;
    line[strcspn(line, "\n")] = '\0';
    if (args->common.json) {
        report_json_begin(&j, "keygen");
        report_json_member(&j, "number", json_string(number));
        report_json_member(&j, "key_id", report_json_hex(key->id, sizeof key->id));
        report_json_member(&j, "public_key", json_string(line));
        report_json_member(&j, "secret_file", report_json_text(secret_path));
        report_json_member(&j, "public_file", report_json_text(public_path));
        report_json_end(&j);
        return;
    }
    report_note(&args->common, "key %s\npublic: %s\nkeep secret: %s", number, line, secret_path);
    puts(public_path);
}

static int keygen(const keygen_args *args)
{
    const char *name = args->output ? args->output : "fmpatch";
    char *secret_path = text_format("%s.key", name), *public_path = text_format("%s.pub", name);
    char pass[PASSPHRASE_MAX];
    fmp_secret_key *key = NULL;
    fmp_public_key public_key;
    fmp_error err;
    int status = check_args(args);

    if (status)
        goto out;
    if (!args->no_passphrase && passphrase_ask_new(pass, sizeof pass) < 0) {
        status = fmp_exit_status(FMP_EUSAGE);
        goto out;
    }
    if (fmp_secret_key_generate(&key, &err) ||
        fmp_secret_key_save(key, (fmp_key_format)args->format, args->no_passphrase ? NULL : pass,
                            secret_path, public_path, &err)) {
        status = report_error(&args->common, &err);
        goto out;
    }
    public_key = fmp_secret_key_public(key);
    print_result(args, &public_key, secret_path, public_path);

out:
    explicit_bzero(pass, sizeof pass);
    passphrase_forget();
    fmp_secret_key_free(key);
    free(secret_path);
    free(public_path);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    keygen_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = keygen(&args);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_keygen = {
    .name = "keygen",
    .operands = "",
    .summary = "make a pair of keys to sign with",
    .notes = "Existing files are never replaced.  The last line of standard output is the file of "
             "the public key.",
    .options = options,
    .run = run,
};
