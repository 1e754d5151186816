/*
 * The table of options of fmpatch fish train.
 */
#include "fish/train_options.h"

#include <string.h>

#include "fmpatch.h"
#include "report.h"

const opt_entry train_option_table[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPT_TEXT,
     .offset = offsetof(train_args, output),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help =
         "write the patch to FILE; without it to DATA's stem with .fmp, in the current directory"},
    {.name = "force",
     .letter = 'f',
     .kind = OPT_FLAG,
     .offset = offsetof(train_args, force),
     .help = "replace FILE when it exists"},
    {.name = "valid",
     .kind = OPT_TEXT,
     .offset = offsetof(train_args, valid),
     .arg = "DATA",
     .hint = HINT_FILE,
     .help = "labelled data to measure on while training"},
    {.name = "mask",
     .kind = OPT_TEXT,
     .offset = offsetof(train_args, mask),
     .arg = "MASK",
     .hint = HINT_FILE,
     .help = "train what this mask selects"},
    {.name = "scores",
     .kind = OPT_TEXT,
     .offset = offsetof(train_args, scores),
     .arg = "SCORES",
     .hint = HINT_FILE,
     .help = "train what has the highest scores in this file"},
    {.name = "k",
     .letter = 'k',
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, k),
     .arg = "N",
     .min = 1,
     .max = UINT64_MAX,
     .help = "how many weights, the head included"},
    {.name = "ratio",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, ratio),
     .arg = "R",
     .max = 1,
     .help = "share of all weights in place of -k; 0.005 without it"},
    {.name = "scope",
     .kind = OPT_CHOICE,
     .offset = offsetof(train_args, scope),
     .arg = "SCOPE",
     .words = "global tensor",
     .help = "select among all weights, or the same share of each tensor"},
    {.name = "samples",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, samples),
     .arg = "N",
     .min = 1,
     .max = UINT32_MAX,
     .help = "examples for the Fisher information, 1024 without it"},
    {.name = "full",
     .kind = OPT_FLAG,
     .offset = offsetof(train_args, full),
     .help = "train every weight"},
    {.name = "optimizer",
     .kind = OPT_CHOICE,
     .offset = offsetof(train_args, optimizer),
     .arg = "NAME",
     .words = "adamw sgd",
     .help = "how weights move"},
    {.name = "lr",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, lr),
     .arg = "X",
     .max = 1000,
     .help = "highest learning rate, 5e-4 without it"},
    {.name = "schedule",
     .kind = OPT_CHOICE,
     .offset = offsetof(train_args, schedule),
     .arg = "NAME",
     .words = "linear cosine constant",
     .help = "how the learning rate falls to 0"},
    {.name = "warmup",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, warmup),
     .arg = "N",
     .max = UINT32_MAX,
     .help = "steps in which the learning rate rises"},
    {.name = "epochs",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, epochs),
     .arg = "X",
     .max = 1000000,
     .help = "times through DATA, 3 without it"},
    {.name = "steps",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, steps),
     .arg = "N",
     .min = 1,
     .max = UINT32_MAX,
     .help = "optimizer steps in place of epochs"},
    {.name = "batch",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, batch),
     .arg = "N",
     .min = 1,
     .max = 1048576,
     .help = "examples of a step, 16 without it"},
    {.name = "accumulate",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, accumulate),
     .arg = "N",
     .min = 1,
     .max = 65536,
     .help = "batches of a step, 1 without it"},
    {.name = "group",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, group),
     .arg = "N",
     .min = 1,
     .max = 65536,
     .help = "examples that a thread works on at once"},
    {.name = "weight-decay",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, weight_decay),
     .arg = "X",
     .max = 1000,
     .help = "decay of selected matrices, 0 without it"},
    {.name = "momentum",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, momentum),
     .arg = "X",
     .max = 1,
     .help = "of sgd, 0.9 without it"},
    {.name = "nesterov",
     .kind = OPT_FLAG,
     .offset = offsetof(train_args, nesterov),
     .help = "Nesterov's momentum"},
    {.name = "beta1",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, beta1),
     .arg = "X",
     .max = 1,
     .help = "of adamw, 0.9 without it"},
    {.name = "beta2",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, beta2),
     .arg = "X",
     .max = 1,
     .help = "of adamw, 0.999 without it"},
    {.name = "clip",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, clip),
     .arg = "X",
     .max = 1000000,
     .help = "largest norm of the selected gradient, 1 without it; 0: no limit"},
    {.name = "ema",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, ema),
     .arg = "X",
     .max = 1,
     .help = "write an average of the weights with this decay"},
    {.name = "label-smoothing",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, label_smoothing),
     .arg = "X",
     .max = 1,
     .help = "share of the label spread over all classes"},
    {.name = "no-dropout",
     .kind = OPT_FLAG,
     .offset = offsetof(train_args, no_dropout),
     .help = "train without dropout"},
    {.name = "batch-norm",
     .kind = OPT_FLAG,
     .offset = offsetof(train_args, batch_norm),
     .help = "normalise by batches and change running statistics, which the patch then holds too"},
    {.name = "eval-every",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, eval_every),
     .arg = "N",
     .min = 1,
     .max = UINT32_MAX,
     .help = "steps between looks at --valid; without it each epoch"},
    {.name = "patience",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, patience),
     .arg = "N",
     .min = 1,
     .max = UINT32_MAX,
     .help = "stop after so many looks without a better result, and keep the best"},
    {.name = "value-bits",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, value_bits),
     .arg = "N",
     .min = 1,
     .max = 24,
     .help = "round each change to so many significant bits in the last part of training: a "
             "smaller patch"},
    {.name = "profile",
     .kind = OPT_CHOICE,
     .offset = offsetof(train_args, profile),
     .arg = "PROFILE",
     .words = "open compact",
     .help = "of the patch: to be read without the base (open), or smaller (compact)"},
    {.name = "value-phase",
     .kind = OPT_REAL,
     .offset = offsetof(train_args, value_phase),
     .arg = "X",
     .max = 1,
     .help = "the part of training that rounds, 0.25 without it"},
    {.name = "refresh",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, refresh),
     .arg = "N",
     .min = 1,
     .max = UINT32_MAX,
     .help = "choose the mask anew every so many epochs"},
    {.name = "moments",
     .kind = OPT_CHOICE,
     .offset = offsetof(train_args, moments),
     .arg = "NAME",
     .words = "keep reset leak",
     .help = "what a refresh does to the state of the optimizer; leak: weights that left the mask "
             "go on moving, as in the published code"},
    {.name = "reference-leak",
     .kind = OPT_FLAG,
     .offset = offsetof(train_args, reference_leak),
     .help = "let weight decay reach unselected weights, as in the published code; for comparison "
             "only"},
    {.name = "dense-gradient",
     .kind = OPT_FLAG,
     .offset = offsetof(train_args, dense_gradient),
     .help = "compute whole gradients and gather the selected ones"},
    {.name = "checkpoint",
     .kind = OPT_TEXT,
     .offset = offsetof(train_args, checkpoint),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "keep the state in FILE, and go on from it when it is there"},
    {.name = "checkpoint-every",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, checkpoint_every),
     .arg = "N",
     .min = 1,
     .max = UINT32_MAX,
     .help = "steps between checkpoints; without it each epoch"},
    {.name = "stop-after",
     .kind = OPT_NUMBER,
     .offset = offsetof(train_args, stop_after),
     .arg = "N",
     .min = 1,
     .max = UINT32_MAX,
     .help = "stop after so many steps of this run, to go on later"},
    {.name = "log",
     .kind = OPT_TEXT,
     .offset = offsetof(train_args, log),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "write a line of JSON for each step and look"},
    {.name = "curve",
     .kind = OPT_TEXT,
     .offset = offsetof(train_args, curve),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "draw loss and result over steps as SVG"},
    {.name = "heatmap",
     .kind = OPT_TEXT,
     .offset = offsetof(train_args, heatmap),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "draw where the selected weights lie as SVG"},
    {.name = "task",
     .kind = OPT_TEXT,
     .offset = offsetof(train_args, task),
     .arg = "NAME",
     .help = "the task's name, in the manifest"},
    {.name = "sign",
     .kind = OPT_LIST,
     .offset = offsetof(train_args, sign),
     .arg = "KEYFILE",
     .hint = HINT_FILE,
     .help = "sign with this secret key; may be repeated"},
    {.name = "comment",
     .kind = OPT_TEXT,
     .offset = offsetof(train_args, comment),
     .arg = "TEXT",
     .help = "sign this comment too"},
    {.name = "any-key-mode",
     .kind = OPT_FLAG,
     .offset = offsetof(train_args, any_key_mode),
     .help = "take a secret key that others may read, too"},
    OPT_PASSPHRASE(train_args, passphrase),
    OPT_SESSION(train_args, session),
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

/* What would do nothing, and zeros, which the library takes for the default. */
static int check_values(const train_args *a)
{
    const struct {
        const char *name;
        const opt_real *x;
    } positive[] = {{"lr", &a->lr},
                    {"epochs", &a->epochs},
                    {"beta1", &a->beta1},
                    {"beta2", &a->beta2},
                    {"value-phase", &a->value_phase}};

    for (size_t i = 0; i < sizeof positive / sizeof positive[0]; i++) {
        if (positive[i].x->given && !(positive[i].x->value > 0))
            return report_usage("--%s: more than 0 is expected", positive[i].name);
    }
    if (a->optimizer == FISH_ADAMW && (a->momentum.given || a->nesterov))
        return report_usage("--momentum and --nesterov go with --optimizer sgd");
    if (a->optimizer == FISH_SGD && (a->beta1.given || a->beta2.given))
        return report_usage("--beta1 and --beta2 go with --optimizer adamw");
    if (a->nesterov && a->momentum.given && a->momentum.value <= 0)
        return report_usage("--nesterov needs momentum");
    if (a->value_phase.given && !a->value_bits.given)
        return report_usage("--value-phase goes with --value-bits");
    if (a->moments && !a->refresh.given)
        return report_usage("--moments goes with --refresh");
    if (a->heatmap && a->full)
        return report_usage("--heatmap needs a mask");
    return FMP_OK;
}

int train_check(const train_args *a)
{
    const int n_masks = (a->mask != NULL) + (a->scores != NULL) + a->full;

    if (n_masks > 1)
        return report_usage("--mask, --scores and --full exclude each other");
    if ((a->mask || a->full) && (a->k.given || a->ratio.given || a->scope))
        return report_usage("--mask and --full leave nothing to -k, --ratio and --scope");
    if (a->scope && a->refresh.given)
        return report_usage("--refresh selects among all weights and does not go with --scope");
    if (a->samples.given && !a->refresh.given && n_masks)
        return report_usage("--mask, --scores and --full leave nothing to --samples");
    if (a->k.given && a->ratio.given)
        return report_usage("-k and --ratio exclude each other");
    if (a->steps.given && a->epochs.given)
        return report_usage("--steps and --epochs exclude each other");
    if ((a->patience.given || a->eval_every.given) && !a->valid)
        return report_usage("--patience and --eval-every need --valid");
    if ((a->stop_after.given || a->checkpoint_every.given) && !a->checkpoint)
        return report_usage("--stop-after and --checkpoint-every need --checkpoint");
    if (a->full && a->refresh.given)
        return report_usage("--refresh needs a mask");
    if (a->comment && !a->sign.n)
        return report_usage("--comment is signed and needs --sign");
    if (a->comment && strlen(a->comment) > FMP_COMMENT_MAX)
        return report_usage("--comment: at most %d bytes", FMP_COMMENT_MAX);
    return check_values(a);
}

fish_train_options train_options(const train_args *a)
{
    return (fish_train_options){
        .size = sizeof(fish_train_options),
        .optimizer = (fish_optimizer)a->optimizer,
        .lr = a->lr.given ? a->lr.value : TRAIN_LR,
        .weight_decay = a->weight_decay.value,
        .beta1 = a->beta1.value,
        .beta2 = a->beta2.value,
        .momentum = a->momentum.given && a->momentum.value <= 0 ? -1 : a->momentum.value,
        .nesterov = a->nesterov,
        .clip = a->clip.given && a->clip.value <= 0 ? -1 : a->clip.value,
        .schedule = (fish_schedule)a->schedule,
        .warmup = (uint32_t)a->warmup.value,
        .steps = (uint32_t)a->steps.value,
        .epochs = a->epochs.value,
        .batch_size = (uint32_t)a->batch.value,
        .accumulate = (uint32_t)a->accumulate.value,
        .group = (uint32_t)a->group.value,
        .ema = a->ema.value,
        .label_smoothing = a->label_smoothing.value,
        .no_dropout = a->no_dropout,
        .batch_norm = a->batch_norm,
        .seed = a->session.seed.value,
        .eval_every = (uint32_t)a->eval_every.value,
        .patience = (uint32_t)a->patience.value,
        .value_bits = (unsigned)a->value_bits.value,
        .value_phase = a->value_phase.value,
        .refresh_epochs = (uint32_t)a->refresh.value,
        .moments = (fish_moments)a->moments,
        .refresh = {.size = sizeof(fish_fisher_options),
                    .n_samples = (uint32_t)a->samples.value,
                    .seed = a->session.seed.value},
        .reference_leak = a->reference_leak,
        .dense_gradient = a->dense_gradient,
        .checkpoint = a->checkpoint,
        .checkpoint_every = (uint32_t)a->checkpoint_every.value,
        .stop_after = (uint32_t)a->stop_after.value,
    };
}

void train_describe(const train_args *a, json_t *method)
{
    static const char *const schedules[] = {"linear", "cosine", "constant"};
    static const char *const moments[] = {"keep", "reset", "leak"};
    const struct {
        const char *key;
        const opt_real *value;
    } reals[] = {{"weight_decay", &a->weight_decay},
                 {"momentum", &a->momentum},
                 {"beta1", &a->beta1},
                 {"beta2", &a->beta2},
                 {"clip", &a->clip},
                 {"ema", &a->ema},
                 {"label_smoothing", &a->label_smoothing},
                 {"value_phase", &a->value_phase}};
    const struct {
        const char *key;
        const opt_number *value;
    } numbers[] = {{"value_bits", &a->value_bits},
                   {"warmup", &a->warmup},
                   {"accumulate", &a->accumulate},
                   {"refresh", &a->refresh},
                   {"patience", &a->patience}};
    const struct {
        const char *key;
        bool value;
    } flags[] = {{"nesterov", a->nesterov},
                 {"no_dropout", a->no_dropout},
                 {"batch_norm", a->batch_norm},
                 {"reference_leak", a->reference_leak}};

    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        if (reals[i].value->given)
            report_json_set(method, reals[i].key, session_decimal(reals[i].value->value));
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i].value->given)
            report_json_set(method, numbers[i].key, report_json_number(numbers[i].value->value));
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (flags[i].value)
            report_json_set(method, flags[i].key, json_true());
    }
    if (a->schedule)
        report_json_set(method, "schedule", json_string(schedules[a->schedule]));
    if (a->refresh.given)
        report_json_set(method, "moments", json_string(moments[a->moments]));
}
