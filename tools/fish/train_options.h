/*
 * The options of fmpatch fish train, and what the library makes of them.
 */
#ifndef TOOLS_FISH_TRAIN_OPTIONS_H
#define TOOLS_FISH_TRAIN_OPTIONS_H

#include "fish.h"
#include "fish/session.h"
#include "opts.h"
#include "passphrase.h"

#define TRAIN_RATIO 0.005
#define TRAIN_LR    5e-4

typedef struct train_args {
    common_args common;
    session_args session;
    const char *output, *valid;
    bool force;
    /* the mask */
    const char *mask, *scores;
    opt_number k, samples;
    opt_real ratio;
    unsigned scope; /* fish_scope, the first two */
    bool full;
    /* the optimizer */
    unsigned optimizer, schedule, moments;
    opt_real lr, weight_decay, momentum, clip, epochs, ema, label_smoothing, beta1, beta2;
    bool nesterov, no_dropout, batch_norm, reference_leak, dense_gradient;
    opt_number steps, warmup, batch, accumulate, group, eval_every, patience, refresh;
    opt_number value_bits;
    opt_real value_phase;
    /* output besides the patch */
    const char *checkpoint, *log, *curve, *heatmap, *task;
    opt_number checkpoint_every, stop_after;
    opt_list sign;
    const char *comment;
    unsigned profile;
    bool any_key_mode;
    passphrase_args passphrase;
} train_args;

extern const opt_entry train_option_table[];

/* An exit status, after a message when options exclude each other. */
int train_check(const train_args *a);
fish_train_options train_options(const train_args *a);
/* What of the options changes the result and is not the default, into the manifest's method. */
void train_describe(const train_args *a, json_t *method);

#endif
