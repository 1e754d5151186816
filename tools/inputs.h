/*
 * What verbs are given: patches and checkpoints, opened, with a message when that fails.
 */
#ifndef TOOLS_INPUTS_H
#define TOOLS_INPUTS_H

#include <stdbool.h>

#include "fmpatch.h"
#include "opts.h"

typedef struct input_patch {
    fmp_patch *patch;
    const char *path;  /* what the library opens */
    const char *shown; /* what messages call it */
} input_patch;

/* These return an exit status, after a message when it is not 0.  "-" is standard input. */
int inputs_open_patch(input_patch *in, const char *operand, const common_args *common);
void inputs_close_patch(input_patch *in); /* takes an empty one */

typedef enum input_side { INPUT_BASE, INPUT_TARGET } input_side;

/* A checkpoint to which `patch` belongs, as its base or target: read raw when the patch took it
 * raw. */
int inputs_open_store(fmp_store **ret, const char *path, const fmp_patch *patch, input_side side,
                      const common_args *common);

/* Bytes of all tensors. */
uint64_t inputs_store_bytes(const fmp_store *store);

#endif
