/*
 * What verbs that write a patch share: where it goes, who signs it, what its manifest says.
 */
#ifndef TOOLS_PATCH_OUT_H
#define TOOLS_PATCH_OUT_H

#include "dates.h"
#include "fmpatch.h"
#include "opts.h"
#include "passphrase.h"
#include "spool.h"

typedef struct patch_args {
    const char *output;
    bool force;
    opt_list sign;
    const char *comment;
    passphrase_args passphrase;
    bool any_key_mode;
    opt_number level, threads;
    const char *manifest, *task, *date;
} patch_args;

/* `unnamed`: what the help says of a patch without -o. */
#define OPT_PATCH_OUT(type, field, unnamed)                                                        \
    {.name = "output",                                                                             \
     .letter = 'o',                                                                                \
     .kind = OPT_TEXT,                                                                             \
     .offset = offsetof(type, field.output),                                                       \
     .arg = "FILE",                                                                                \
     .hint = HINT_FILE,                                                                            \
     .help = "write the patch to FILE, '-' being standard output; without it to " unnamed          \
             ", in the current directory"},                                                        \
        {.name = "force",                                                                          \
         .letter = 'f',                                                                            \
         .kind = OPT_FLAG,                                                                         \
         .offset = offsetof(type, field.force),                                                    \
         .help = "replace FILE when it exists"},                                                   \
        {.name = "sign",                                                                           \
         .kind = OPT_LIST,                                                                         \
         .offset = offsetof(type, field.sign),                                                     \
         .arg = "KEYFILE",                                                                         \
         .hint = HINT_FILE,                                                                        \
         .help = "sign with this secret key; may be repeated"},                                    \
        {.name = "comment",                                                                        \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.comment),                                                  \
         .arg = "TEXT",                                                                            \
         .help = "sign this comment too"},                                                         \
        OPT_PASSPHRASE(type, field.passphrase),                                                    \
    {                                                                                              \
        .name = "any-key-mode", .kind = OPT_FLAG, .offset = offsetof(type, field.any_key_mode),    \
        .help = "take a secret key that others may read, too"                                      \
    }

#define OPT_LEVEL(type, field)                                                                     \
    {                                                                                              \
        .name = "level", .kind = OPT_NUMBER, .offset = offsetof(type, field.level), .arg = "N",    \
        .min = 1, .max = 9, .help = "from 1, fastest, to 9, smallest; 3 without it"                \
    }

#define OPT_PATCH_THREADS(type, field)                                                             \
    {                                                                                              \
        .name = "threads", .kind = OPT_NUMBER, .offset = offsetof(type, field.threads),            \
        .arg = "N", .min = 1, .max = 1024,                                                         \
        .help = "threads, one for each processor without it, at most 2"                            \
    }

#define OPT_PATCH_HOW(type, field)                                                                 \
    OPT_LEVEL(type, field),                                                                        \
        {.name = "manifest",                                                                       \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.manifest),                                                 \
         .arg = "FILE",                                                                            \
         .hint = HINT_FILE,                                                                        \
         .help = "put the members of this JSON object into the manifest"},                         \
        {.name = "task",                                                                           \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.task),                                                     \
         .arg = "NAME",                                                                            \
         .help = "the task's name, in the manifest"},                                              \
        {.name = "date",                                                                           \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.date),                                                     \
         .arg = "RFC3339",                                                                         \
         .help = "a date for the manifest (also: SOURCE_DATE_EPOCH); none without it"},            \
        OPT_PATCH_THREADS(type, field)

/* A patch that is going to be written.  All zero is closed. */
typedef struct patch_out {
    const common_args *common;
    const patch_args *args;
    fmp_secret_key **keys;
    size_t n_keys;
    char *manifest;
    char *default_path;
    spool_out spool;
    const char *path;  /* where the library writes */
    const char *shown; /* what messages call it */
    char date[DATES_LEN];
    const char *given_date; /* NULL: none */
} patch_out;

/*
 * Checks the arguments, finds the path (`default_path`, stolen, may be NULL, serves where -o gives
 * none; `from` is what it was made of), loads the manifest.  The patch must not be one of the n
 * `inputs`.  Returns an exit status, after a message when it is not 0.
 */
int patch_out_open(patch_out *w, const patch_args *args, const common_args *common,
                   char *default_path, const char *from, char *const *inputs, size_t n);
/* After the inputs are there: may ask for a passphrase.  An exit status likewise. */
int patch_out_load_keys(patch_out *w);
/* The options of fmp_create() as far as they are shared. */
fmp_create_options patch_out_options(const patch_out *w);
/* Copies to standard output where the patch goes there; an exit status. */
int patch_out_deliver(const patch_out *w);
/* Prints the path, unless the patch itself or JSON stands on standard output. */
void patch_out_print(const patch_out *w);
void patch_out_close(patch_out *w); /* takes an empty one */

#endif
