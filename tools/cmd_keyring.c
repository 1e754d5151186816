/*
 * fmpatch keyring: the directory of keys that are trusted (trusted.d) and revoked (revoked.d).
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "fmpatch.h"
#include "outfile.h"
#include "outname.h"
#include "report.h"
#include "suggest.h"
#include "textutil.h"
#include "trust.h"

#define NAME_MAX_LEN 64

typedef struct keyring_args {
    common_args common;
    const char *keyring, *name;
    bool revoked;
} keyring_args;

static const opt_entry options[] = {
    OPT_KEYRING(keyring_args, keyring),
    {.name = "name",
     .kind = OPT_TEXT,
     .offset = offsetof(keyring_args, name),
     .arg = "NAME",
     .help = "what to call the key that is added or revoked; FILE's stem without it"},
    {.name = "revoked",
     .kind = OPT_FLAG,
     .offset = offsetof(keyring_args, revoked),
     .help = "with remove: take NAME off the revoked keys"},
    OPT_COMMON,
    {0},
};

typedef struct keyring_dirs {
    char *root, *trusted, *revoked;
} keyring_dirs;

static void dirs_release(keyring_dirs *d)
{
    free(d->root);
    free(d->trusted);
    free(d->revoked);
}

static int dirs_find(keyring_dirs *d, const keyring_args *args)
{
    bool named;

    *d = (keyring_dirs){.root = trust_keyring_dir(args->keyring, &named)};
    if (!d->root)
        return report_usage("keyring: HOME is not set: no keyring could be located; use --keyring "
                            "DIR");
    d->trusted = text_format("%s/trusted.d", d->root);
    d->revoked = text_format("%s/revoked.d", d->root);
    return FMP_OK;
}

/* ---- files ------------------------------------------------------------------------------------
 */

/* A name becomes a file's: no way out of the directory, nothing hidden, nothing to quote. */
static bool is_good_name(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789._@+-";
    const size_t len = strlen(name);

    return len && len <= NAME_MAX_LEN && strspn(name, allowed) == len && name[0] != '.' &&
           name[0] != '-';
}

static int bad_name(const char *name)
{
    char *shown = text_escape(name, strlen(name));
    const int status =
        report_usage("keyring: '%s' is no name: at most %d letters, digits and ._@+- "
                     "are expected, not starting with . or -",
                     shown, NAME_MAX_LEN);

    free(shown);
    return status;
}

/* Writes DIR/NAME.pub, complete or not at all; an existing one with another key is not replaced. */
static int write_key(const char *dir, const char *name, const fmp_public_key *key,
                     const common_args *common)
{
    char *path = text_format("%s/%s.pub", dir, name), *temp = text_format("%s/.new-XXXXXX", dir);
    char text[256];
    fmp_public_key old;
    fmp_error err;
    int fd = -1, status = FMP_OK;

    if (!outfile_make_dirs(dir)) {
        status = report_errno(dir);
        goto out;
    }
    if (!access(path, F_OK)) {
        if (fmp_public_key_load(path, &old, &err))
            status = report_error(common, &err);
        else if (memcmp(old.key, key->key, sizeof old.key))
            status = report_usage("keyring: %s exists and holds another key; use --name", path);
        goto out;
    }
    fmp_public_key_text(key, text);
    fd = mkostemp(temp, O_CLOEXEC);
    /* link() and not rename(): what has appeared there meanwhile is not replaced. */
    if (fd < 0 || fchmod(fd, 0644) || !outfile_write_all(fd, text, strlen(text)) || fsync(fd) ||
        link(temp, path))
        status = report_errno(path);
    if (fd >= 0)
        unlink(temp);

out:
    if (fd >= 0)
        close(fd);
    free(path);
    free(temp);
    return status;
}

/* ---- list -------------------------------------------------------------------------------------
 */

static void list_row(report_table *t, report_json *j, const fmp_keyring *ring, uint32_t i)
{
    fmp_public_key key;
    bool revoked;
    const char *name = fmp_keyring_at(ring, i, &key, &revoked);
    const char *state = revoked ? "revoked" : "trusted";
    const size_t len = strlen(name);
    char number[17];
    char *shown = text_escape(name, len > 4 && !strcmp(name + len - 4, ".pub") ? len - 4 : len);

    text_key_number(key.number, number);
    if (t) {
        const char *cells[] = {shown, number, state};

        report_table_row(t, cells);
    } else {
        json_t *o = json_object();

        report_json_set(o, "name", report_json_text(shown));
        report_json_set(o, "number", json_string(number));
        report_json_set(o, "key_id", report_json_hex(key.id, sizeof key.id));
        report_json_set(o, "state", json_string(state));
        report_json_item(j, o);
    }
    free(shown);
}

static void print_ring(const keyring_args *args, const char *root, const fmp_keyring *ring)
{
    static const report_column columns[] = {{.name = "NAME"}, {.name = "KEY"}, {.name = "STATE"}};
    const uint32_t n = fmp_keyring_count(ring);
    report_table *t = NULL;
    report_json j;

    if (args->common.json) {
        report_json_begin(&j, "keyring");
        report_json_member(&j, "path", report_json_text(root));
        report_json_array(&j, "keys");
    } else {
        t = report_table_new(columns, 3, true);
    }
    for (uint32_t i = 0; i < n; i++)
        list_row(t, &j, ring, i);
    if (t) {
        report_table_end(t);
        return;
    }
    report_json_array_end(&j);
    report_json_end(&j);
}

/* What every sub-verb ends with: the ring as it is now, for JSON; else `path`, when there is one.
 */
static int list(const keyring_args *args, const keyring_dirs *d)
{
    fmp_keyring *ring = NULL;
    fmp_error err;
    int status = FMP_OK;

    if (fmp_keyring_new(&ring, &err))
        status = report_error(&args->common, &err);
    else if (!access(d->root, F_OK) && trust_add_dir(ring, d->root, &err))
        status = report_error(&args->common, &err);
    else
        print_ring(args, d->root, ring);
    fmp_keyring_free(ring);
    return status;
}

static int print_path(const keyring_args *args, const keyring_dirs *d, const char *path)
{
    if (args->common.json)
        return list(args, d);
    puts(path);
    return FMP_OK;
}

/* ---- add, revoke, remove ----------------------------------------------------------------------
 */

/* Whether one of the two lists holds the key. */
static int find_key(const keyring_dirs *d, const fmp_public_key *key, bool in_revoked,
                    const common_args *common, bool *ret_found)
{
    fmp_keyring *ring = NULL;
    fmp_error err;
    int status = FMP_OK;

    *ret_found = false;
    if (fmp_keyring_new(&ring, &err) ||
        (!access(d->root, F_OK) && trust_add_dir(ring, d->root, &err)))
        status = report_error(common, &err);
    for (uint32_t i = 0; !status && i < fmp_keyring_count(ring); i++) {
        fmp_public_key k;
        bool revoked;

        fmp_keyring_at(ring, i, &k, &revoked);
        if (revoked == in_revoked && !memcmp(k.key, key->key, sizeof k.key))
            *ret_found = true;
    }
    fmp_keyring_free(ring);
    return status;
}

static int add(const keyring_args *args, const keyring_dirs *d, const char *file)
{
    char *stem = args->name ? text_copy(args->name) : outname_stem(file);
    char *path = text_format("%s/%s.pub", d->trusted, stem);
    fmp_public_key key;
    fmp_error err;
    bool revoked = false;
    int status = FMP_OK;

    if (!is_good_name(stem))
        status = bad_name(stem);
    else if (fmp_public_key_load(file, &key, &err))
        status = report_error(&args->common, &err);
    if (!status)
        status = find_key(d, &key, true, &args->common, &revoked);
    if (!status && revoked) {
        report_warning("%s: the keyring revokes this key", file);
        status = fmp_exit_status(FMP_EAUTH);
    }
    if (!status)
        status = write_key(d->trusted, stem, &key, &args->common);
    if (!status)
        status = print_path(args, d, path);
    free(stem);
    free(path);
    return status;
}

/* `what` is a key of the ring by name, else a file. */
static int revoke_key(const keyring_args *args, const keyring_dirs *d, const char *what)
{
    char *trusted = text_format("%s/%s.pub", d->trusted, what);
    const bool by_name = is_good_name(what) && !access(trusted, F_OK);
    char *stem = args->name ? text_copy(args->name)
                 : by_name  ? text_copy(what)
                            : outname_stem(what);
    char *path = text_format("%s/%s.pub", d->revoked, stem);
    fmp_public_key key;
    fmp_error err;
    int status = FMP_OK;

    if (!is_good_name(stem))
        status = bad_name(stem);
    else if (fmp_public_key_load(by_name ? trusted : what, &key, &err))
        status = report_error(&args->common, &err);
    if (!status)
        status = write_key(d->revoked, stem, &key, &args->common);
    /* First revoked, then no longer trusted: at no moment is it neither. */
    if (!status && by_name && unlink(trusted))
        status = report_errno(trusted);
    if (!status)
        status = print_path(args, d, path);
    free(trusted);
    free(stem);
    free(path);
    return status;
}

static int remove_name(const keyring_args *args, const keyring_dirs *d, const char *name)
{
    char *path;
    int status = FMP_OK;

    if (!is_good_name(name))
        return bad_name(name);
    path = text_format("%s/%s.pub", args->revoked ? d->revoked : d->trusted, name);
    if (unlink(path))
        status = report_errno(path);
    if (!status)
        status = print_path(args, d, path);
    free(path);
    return status;
}

/* ---- the work ---------------------------------------------------------------------------------
 */

typedef enum action { ACTION_LIST, ACTION_PATH, ACTION_ADD, ACTION_REVOKE, ACTION_REMOVE } action;

static const struct {
    const char *name;
    size_t n_operands; /* behind it */
} actions[] = {
    [ACTION_LIST] = {"list", 0},     [ACTION_PATH] = {"path", 0},     [ACTION_ADD] = {"add", 1},
    [ACTION_REVOKE] = {"revoke", 1}, [ACTION_REMOVE] = {"remove", 1},
};

/* The index in `actions`, or -1 after a message. */
static int action_of(char **operands, size_t n)
{
    suggestion near = {0};
    char *shown;

    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (!strcmp(operands[0], actions[i].name)) {
            if (n - 1 == actions[i].n_operands)
                return (int)i;
            report_usage("keyring: %s operand of '%s'",
                         n - 1 < actions[i].n_operands ? "missing" : "extra", actions[i].name);
            return -1;
        }
        suggest_try(&near, operands[0], actions[i].name);
    }
    shown = text_escape(operands[0], strlen(operands[0]));
    if (near.word)
        report_usage("keyring: '%s' is not known; did you mean '%s'?", shown, near.word);
    else
        report_usage("keyring: '%s' is not known; list, add, revoke, remove or path is expected",
                     shown);
    free(shown);
    return -1;
}

static int keyring(const keyring_args *args, char **operands, size_t n)
{
    const int what = action_of(operands, n);
    keyring_dirs d = {0};
    int status = what < 0 ? fmp_exit_status(FMP_EUSAGE) : dirs_find(&d, args);

    if (!status && args->name && what != ACTION_ADD && what != ACTION_REVOKE)
        status = report_usage("keyring: --name goes with add and revoke");
    if (!status && args->revoked && what != ACTION_REMOVE)
        status = report_usage("keyring: --revoked goes with remove");
    if (!status) {
        switch ((action)what) {
        case ACTION_LIST:
            status = list(args, &d);
            break;
        case ACTION_PATH:
            status = print_path(args, &d, d.root);
            break;
        case ACTION_ADD:
            status = add(args, &d, operands[1]);
            break;
        case ACTION_REVOKE:
            status = revoke_key(args, &d, operands[1]);
            break;
        case ACTION_REMOVE:
            status = remove_name(args, &d, operands[1]);
            break;
        }
    }
    dirs_release(&d);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    keyring_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = keyring(&args, operands, n);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_keyring = {
    .name = "keyring",
    .operands = "ACTION [FILE|NAME]",
    .summary = "list and change the keys that are trusted and revoked",
    .notes = "ACTION is list, path, add FILE, revoke FILE or NAME, or remove NAME.  The keyring is "
             "a directory: --keyring, FMPATCH_KEYRING, $XDG_CONFIG_HOME/fmpatch or "
             "~/.config/fmpatch.  Its trusted.d and revoked.d hold one public key a file.  A "
             "revoked key stays revoked until 'remove --revoked'.",
    .options = options,
    .min_operands = 1,
    .max_operands = 2,
    .operand_words = "list path add revoke remove",
    .run = run,
};
