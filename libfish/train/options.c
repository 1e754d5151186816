/*
 * The defaults of training options, and what makes no sense.
 */
#include <math.h>

#include "core/fail.h"
#include "train/run.h"

static void set_double(double *x, double missing)
{
    if (*x == 0)
        *x = missing;
}

static void set_number(uint32_t *x, uint32_t missing)
{
    if (*x == 0)
        *x = missing;
}

/* Each number in lo .. hi; NaN is in no range. */
static fmp_status check_ranges(const fish_train_options *o, fmp_error *err)
{
    const struct {
        const char *name;
        double x, lo, hi;
    } ranges[] = {{"learning rate", o->lr, 0, 1e6},
                  {"weight decay", o->weight_decay, 0, 1e6},
                  {"beta1", o->beta1, 0, 1 - 1e-12},
                  {"beta2", o->beta2, 0, 1 - 1e-12},
                  {"eps", o->eps, 0, 1},
                  {"momentum", o->momentum, 0, 1},
                  {"clip", o->clip, 0, INFINITY},
                  {"epochs", o->epochs, 1e-9, 1e9},
                  {"ema", o->ema, 0, 1 - 1e-12},
                  {"label smoothing", o->label_smoothing, 0, 1},
                  {"value bits", o->value_bits, 0, 24},
                  {"value phase", o->value_phase, 1e-9, 1},
                  {"group", o->group, 1, 1 << 20},
                  {"batch size", o->batch_size, 1, 1 << 24},
                  {"accumulate", o->accumulate, 1, 1 << 24}};

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (!(ranges[i].x >= ranges[i].lo && ranges[i].x <= ranges[i].hi))
            return fish_fail(err, FMP_EUSAGE, "training: %s %g is not in %g .. %g", ranges[i].name,
                             ranges[i].x, ranges[i].lo, ranges[i].hi);
    }
    if ((uint64_t)o->batch_size * o->accumulate > UINT32_MAX)
        return fish_fail(err, FMP_EUSAGE, "training: batch size times accumulate is too large");
    return FMP_OK;
}

static fmp_status check_sense(const fish_train_options *o, bool has_mask, bool has_valid,
                              fmp_error *err)
{
    const char *clash = NULL;

    if ((unsigned)o->optimizer > FISH_SGD || (unsigned)o->schedule > FISH_CONSTANT ||
        (unsigned)o->moments > FISH_MOMENTS_LEAK)
        clash = "no such optimizer, schedule or moments policy";
    else if (o->patience && !has_valid)
        clash = "early stopping needs validation data";
    else if (o->refresh_epochs && !has_mask)
        clash = "without a mask there is none to refresh";
    else if (o->regression && o->label_smoothing > 0)
        clash = "label smoothing is for classes";
    else if (o->reference_leak && (o->value_bits || o->ema > 0 || o->patience || o->checkpoint))
        clash = "the reference leak goes with neither value bits, ema, early stopping nor "
                "checkpoints";
    else if (o->reference_leak && o->refresh_epochs && o->optimizer != FISH_SGD)
        clash = "the reference leak with a refreshed mask is for SGD";
    else if (o->reference_leak && o->moments == FISH_MOMENTS_RESET)
        clash = "the reference leak resets no moments";
    if (clash)
        return fish_fail(err, FMP_EUSAGE, "training: %s", clash);
    return FMP_OK;
}

fmp_status fish_train_defaults(const fish_train_options *options, bool has_mask, bool has_valid,
                               fish_train_options *ret, fmp_error *err)
{
    static const fish_train_options none = {.size = sizeof none};
    fish_train_options o = options ? *options : none;
    fmp_status st;

    set_double(&o.lr, 5e-4);
    set_double(&o.beta1, 0.9);
    set_double(&o.beta2, 0.999);
    set_double(&o.eps, 1e-8);
    set_double(&o.momentum, 0.9);
    set_double(&o.clip, 1.0);
    if (o.clip < 0)
        o.clip = INFINITY;
    if (o.momentum < 0)
        o.momentum = 0;
    set_double(&o.epochs, 3);
    set_double(&o.value_phase, 0.25);
    set_number(&o.batch_size, 16);
    set_number(&o.accumulate, 1);
    set_number(&o.group, 4);
    if (o.batch_norm)
        o.group = o.batch_size; /* statistics are those of a batch */
    o.refresh.size = sizeof o.refresh;
    o.refresh.regression = o.regression;
    st = check_ranges(&o, err);
    if (!st)
        st = check_sense(&o, has_mask, has_valid, err);
    if (!st)
        *ret = o;
    return st;
}
