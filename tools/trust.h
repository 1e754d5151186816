/*
 * Whom to trust: the keyring that the options and the environment name, and what it says of a
 * patch.
 */
#ifndef TOOLS_TRUST_H
#define TOOLS_TRUST_H

#include <jansson.h>
#include <stdbool.h>

#include "fmpatch.h"
#include "inputs.h"
#include "opts.h"

typedef struct trust_args {
    const char *keyring;
    opt_list keys;      /* -P */
    opt_list key_files; /* -p */
    bool require, allow_unsigned;
    opt_number threshold;
} trust_args;

#define OPT_KEYRING(type, field)                                                                   \
    {                                                                                              \
        .name = "keyring", .kind = OPT_TEXT, .offset = offsetof(type, field), .arg = "DIR",        \
        .hint = HINT_DIR, .help = "the keyring to use (also: FMPATCH_KEYRING)"                     \
    }

#define OPT_TRUST(type, field)                                                                     \
    OPT_KEYRING(type, field.keyring),                                                              \
        {.name = "public-key",                                                                     \
         .letter = 'P',                                                                            \
         .kind = OPT_LIST,                                                                         \
         .offset = offsetof(type, field.keys),                                                     \
         .arg = "KEY",                                                                             \
         .help = "trust this key, given as text; may be repeated"},                                \
        {.name = "public-key-file",                                                                \
         .letter = 'p',                                                                            \
         .kind = OPT_LIST,                                                                         \
         .offset = offsetof(type, field.key_files),                                                \
         .arg = "FILE",                                                                            \
         .hint = HINT_FILE,                                                                        \
         .help = "trust the key in FILE; may be repeated"},                                        \
        {.name = "require-signature",                                                              \
         .kind = OPT_FLAG,                                                                         \
         .offset = offsetof(type, field.require),                                                  \
         .help = "refuse what nobody trusted has signed"},                                         \
        {.name = "allow-unsigned",                                                                 \
         .kind = OPT_FLAG,                                                                         \
         .offset = offsetof(type, field.allow_unsigned),                                           \
         .help = "accept unsigned and untrusted patches in spite of a keyring"},                   \
    {                                                                                              \
        .name = "threshold", .kind = OPT_NUMBER, .offset = offsetof(type, field.threshold),        \
        .arg = "N", .min = 1, .max = 1000, .help = "require signatures by N distinct trusted keys" \
    }

#define TRUST_NOTES                                                                                \
    "With a keyring that holds a key, with -P or with -p, a patch that nobody trusted has signed " \
    "is refused (status 1).  -P and -p without --keyring trust these keys only; keys that the "    \
    "default keyring revokes stay revoked."

/*
 * The directory of the keyring: `option`, FMPATCH_KEYRING, $XDG_CONFIG_HOME/fmpatch or
 * ~/.config/fmpatch, to free.  *ret_named: the user named it, so it must exist.  NULL when HOME is
 * not set.
 */
char *trust_keyring_dir(const char *option, bool *ret_named);

/* fmp_keyring_add_dir() on where `dir` leads: dot files are often links. */
fmp_status trust_add_dir(fmp_keyring *ring, const char *dir, fmp_error *err);

typedef struct trust {
    fmp_keyring *ring;
    fmp_trust rules;
} trust;

/* Returns an exit status, after a message when it is not 0. */
int trust_open(trust *t, const trust_args *args, const common_args *common);
void trust_close(trust *t); /* takes an empty one */

/* The name of a key in the ring, escaped, to free; NULL when it is not trusted. */
char *trust_name(const trust *t, const fmp_public_key *key);
/* Whether the ring revokes the key. */
bool trust_is_revoked(const trust *t, const fmp_public_key *key);

/* "unsigned", "signed by alice (0123456789ABCDEF)", "signed by 0123456789ABCDEF, signer not
 * trusted"; to free. */
char *trust_sentence(const trust *t, const fmp_patch *patch, fmp_verdict verdict);
/*
 * Opens n patches and asks of each whether it may be used, before any is decoded; `say`: with a
 * note of who signed it.  Returns an exit status, after a message when it is not 0; *ret_n of `in`
 * are then to close.
 */
int trust_open_patches(const trust *t, char *const *names, size_t n, bool say,
                       const common_args *common, input_patch *in, const fmp_patch **patches,
                       size_t *ret_n);
/* "trusted", "untrusted", "unsigned". */
const char *trust_word(fmp_verdict verdict);
/* The signatures of a patch for JSON; `t` may be NULL. */
json_t *trust_json(const trust *t, const fmp_patch *patch);

#endif
