/*
 * Passphrases: from the terminal without echo, from the first line of a file, or from a descriptor;
 * never from the command line, where everybody can read them.
 */
#ifndef TOOLS_PASSPHRASE_H
#define TOOLS_PASSPHRASE_H

#include <stddef.h>

#include "opts.h"

#define PASSPHRASE_MAX 1024

typedef struct passphrase_args {
    const char *file;
    opt_number fd;
} passphrase_args;

#define OPT_PASSPHRASE(type, field)                                                                \
    {.name = "passphrase-file",                                                                    \
     .kind = OPT_TEXT,                                                                             \
     .offset = offsetof(type, field.file),                                                         \
     .arg = "FILE",                                                                                \
     .hint = HINT_FILE,                                                                            \
     .help = "take the passphrase from FILE's first line"},                                        \
    {                                                                                              \
        .name = "passphrase-fd", .kind = OPT_NUMBER, .offset = offsetof(type, field.fd),           \
        .arg = "N", .max = 65535, .help = "take the passphrase from the open descriptor N"         \
    }

/* Reads the file or descriptor, if one is given, before any work is done; an exit status, after a
 * message when it is not 0. */
int passphrase_open(const passphrase_args *args);
/* An fmp_passphrase_fn that uses no ctx: what passphrase_open() has read, else what is typed.  Says
 * on standard error why it gives up. */
int passphrase_ask(void *ctx, const char *prompt, char *pass, size_t cap);
/* Asks twice when it asks a terminal, and refuses an empty answer. */
int passphrase_ask_new(char *pass, size_t cap);
/* Overwrites the copy that is kept. */
void passphrase_forget(void);

#endif
