/*
 * What the verbs of fmpatch mask share: masks read, and masks written and signed.
 */
#ifndef TOOLS_MASK_MASKS_H
#define TOOLS_MASK_MASKS_H

#include <jansson.h>

#include "fish.h"
#include "opts.h"
#include "passphrase.h"
#include "report.h"

typedef struct masks_args {
    const char *output;
    bool force;
    opt_list sign;
    bool any_key_mode;
    passphrase_args passphrase;
} masks_args;

#define OPT_MASKS(type, field, output_arg, output_help)                                            \
    {.name = "output",                                                                             \
     .letter = 'o',                                                                                \
     .kind = OPT_TEXT,                                                                             \
     .offset = offsetof(type, field.output),                                                       \
     .arg = output_arg,                                                                            \
     .hint = HINT_FILE,                                                                            \
     .help = output_help},                                                                         \
        {.name = "force",                                                                          \
         .letter = 'f',                                                                            \
         .kind = OPT_FLAG,                                                                         \
         .offset = offsetof(type, field.force),                                                    \
         .help = "replace what exists already"},                                                   \
        {.name = "sign",                                                                           \
         .kind = OPT_LIST,                                                                         \
         .offset = offsetof(type, field.sign),                                                     \
         .arg = "KEY",                                                                             \
         .hint = HINT_FILE,                                                                        \
         .help = "sign with this secret key; may be repeated"},                                    \
        OPT_PASSPHRASE(type, field.passphrase),                                                    \
    {                                                                                              \
        .name = "any-key-mode", .kind = OPT_FLAG, .offset = offsetof(type, field.any_key_mode),    \
        .help = "take a secret key that others may read, too"                                      \
    }

/* Each returns an exit status, after a message when it is not 0. */

/* A mask; "-" is standard input, once. */
int masks_load(fish_mask **ret, const char *operand, const common_args *common);

/* Whether a mask may be written to `path`, asked before the work is done. */
int masks_check_free(const char *path, const masks_args *args);

typedef struct masks_writer {
    const common_args *common;
    const masks_args *args;
    fmp_secret_key **keys;
    size_t n_keys;
} masks_writer;

/* Loads the keys.  To be closed whatever it returns. */
int masks_writer_open(masks_writer *w, const masks_args *args, const common_args *common);
/* Writes a mask to `path`; "-" is standard output.  Steals `method`. */
int masks_write(const masks_writer *w, const fish_mask *m, const char *path, json_t *method);
void masks_writer_close(masks_writer *w);

/* Says on standard error what the mask at `path` selects, and on standard output where it is.  With
 * --json: member by member, into an object that the caller has begun and ends. */
void masks_report(const common_args *common, const fish_mask *m, const char *path);
void masks_report_json(report_json *j, const fish_mask *m, const char *path);

/* "12.5" as a JSON string: manifests have no decimals. */
json_t *masks_decimal(double x);
uint64_t masks_head(const fish_mask *m); /* its elements */

#endif
