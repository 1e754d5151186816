/*
 * fmpatch fish train: trains the selected weights of BASE on DATA and writes what changed as a
 * patch.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fish/chart.h"
#include "fish/meter.h"
#include "fish/session.h"
#include "fish/train_options.h"
#include "fish/verbs.h"
#include "outname.h"
#include "passphrase.h"
#include "report.h"
#include "textutil.h"

typedef struct train_work {
    session s;
    const train_args *args;
    fish_data *valid;
    fish_mask *mask; /* NULL: every weight */
    fish_run *run;
    fmp_secret_key **keys;
    size_t n_keys;
    char *path;
    meter meter;
    FILE *log;
    chart_point *points;
    size_t n_points;
    fish_metrics last; /* of the validation data; n 0: none yet */
    double seconds;
} train_work;

static void release(train_work *w)
{
    for (size_t i = 0; i < w->n_keys; i++)
        fmp_secret_key_free(w->keys[i]);
    free(w->keys);
    passphrase_forget();
    if (w->log)
        fclose(w->log);
    free(w->points);
    free(w->path);
    fish_run_free(w->run);
    fish_mask_free(w->mask);
    fish_data_free(w->valid);
    session_end(&w->s);
}

static int load_keys(train_work *w)
{
    const train_args *a = w->args;
    int status = passphrase_open(&a->passphrase);
    fmp_error err;

    w->keys = text_alloc((a->sign.n + 1) * sizeof(fmp_secret_key *));
    for (size_t i = 0; i < a->sign.n && !status; i++) {
        if (fmp_secret_key_load(a->sign.items[i], a->any_key_mode, passphrase_ask, NULL,
                                &w->keys[i], &err))
            return report_error(&a->common, &err);
        w->n_keys++;
    }
    return status;
}

/* ---- the mask ---------------------------------------------------------------------------------
 */

static int select_from(train_work *w, const char *path)
{
    const train_args *a = w->args;
    const fish_select_options o = {
        .size = sizeof o,
        .k = a->k.value,
        .ratio = a->k.given       ? 0
                 : a->ratio.given ? a->ratio.value
                                  : TRAIN_RATIO,
        .scope = (fish_scope)a->scope,
        .n_threads = fish_pool_threads(w->s.pool),
    };
    fmp_store *scores = NULL;
    uint64_t ties, zeros;
    fmp_error err;
    fmp_status st = fmp_store_open(path, NULL, &scores, &err);

    if (!st)
        st = fish_select(scores, path, &o, &w->mask, &ties, &zeros, &err);
    fmp_store_close(scores);
    if (!st && zeros)
        report_warning("%" PRIu64 " of the selected weights have the score 0: more samples would "
                       "tell them apart",
                       zeros);
    return st ? report_error(&a->common, &err) : FMP_OK;
}

/* Scores are made here, in a file that is gone again when the mask is chosen. */
static int select_here(train_work *w)
{
    const train_args *a = w->args;
    char *path = text_format("%s.scores-%ld.tmp", w->path, (long)getpid());
    const fish_fisher_options o = {
        .size = sizeof o,
        .n_samples = (uint32_t)a->samples.value,
        .seed = a->session.seed.value,
        .regression = w->s.regression,
        .progress = meter_fisher,
        .ctx = &w->meter,
    };
    fish_scores *scores = NULL;
    fmp_error err;
    fmp_status st;
    int status;

    meter_begin(&w->meter, &a->common, "fisher");
    st = fish_fisher(w->s.model, w->s.data, w->s.pool, &o, &scores, &err);
    meter_end(&w->meter);
    if (!st)
        st = fish_scores_save(scores, w->s.model, w->s.data, &o, path, true, &err);
    if (!st)
        report_note(&a->common, "fisher: %u examples in %.1f s", scores->n_samples,
                    meter_seconds(&w->meter));
    fish_scores_free(scores);
    status = st ? report_error(&a->common, &err) : select_from(w, path);
    if (!st)
        (void)unlink(path);
    free(path);
    return status;
}

static int choose_mask(train_work *w)
{
    const train_args *a = w->args;
    fmp_error err;

    if (a->full)
        return FMP_OK;
    if (a->mask)
        return fish_mask_load(a->mask, &w->mask, &err) ? report_error(&a->common, &err) : FMP_OK;
    return a->scores ? select_from(w, a->scores) : select_here(w);
}

/* ---- reports ----------------------------------------------------------------------------------
 */

static void log_line(train_work *w, const fish_step_report *r)
{
    json_t *o = json_object();
    char *text;

    report_json_set(o, "step", json_integer(r->step));
    report_json_set(o, "epoch", json_real(r->epoch));
    report_json_set(o, "seconds", json_real(r->seconds));
    if (r->valid) {
        report_json_set(o, "valid", session_metrics_numbers(r->valid, w->s.regression));
    } else {
        report_json_set(o, "loss", json_real(r->loss));
        report_json_set(o, "lr", json_real(r->lr));
        report_json_set(o, "grad_norm", json_real(r->grad_norm));
        report_json_set(o, "examples", json_integer((json_int_t)r->n_examples));
        report_json_set(o, "tokens", json_integer((json_int_t)r->n_tokens));
    }
    text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (text)
        fprintf(w->log, "%s\n", text);
    free(text);
    json_decref(o);
}

static void on_report(void *ctx, const fish_step_report *r)
{
    train_work *w = ctx;
    const bool regression = w->s.regression;
    const double last_loss = w->n_points ? w->points[w->n_points - 1].loss : 0;
    char more[128];

    if (w->log)
        log_line(w, r);
    w->points = text_realloc(w->points, (w->n_points + 1) * sizeof *w->points);
    w->points[w->n_points++] = (chart_point){
        .step = r->step,
        .loss = r->valid ? last_loss : r->loss,
        .metric = r->valid ? fish_metric_main(r->valid, regression) : (double)NAN,
    };
    if (r->valid) {
        w->last = *r->valid;
        meter_clear(&w->meter);
        report_note(&w->args->common, "step %u of %u, epoch %.2f: valid loss %.4f, %s %.4f",
                    r->step, r->n_steps, r->epoch, r->valid->loss,
                    regression ? "spearman" : "accuracy", fish_metric_main(r->valid, regression));
        return;
    }
    snprintf(more, sizeof more, "  loss %.4f  lr %.2e  %.0f %s/s", r->loss, r->lr,
             (double)(r->n_tokens ? r->n_tokens : r->n_examples) / (r->seconds + 1e-9),
             r->n_tokens ? "tokens" : "examples");
    meter_draw(&w->meter, r->step, r->n_steps, more);
}

static int draw(const train_work *w)
{
    const train_args *a = w->args;

    if (a->curve && !chart_curve(a->curve, "Training", w->points, w->n_points,
                                 !w->valid         ? NULL
                                 : w->s.regression ? "spearman"
                                                   : "accuracy"))
        return report_errno(a->curve);
    if (a->heatmap && fish_run_mask(w->run) &&
        !chart_heat(a->heatmap, "Share of weights selected", fish_run_mask(w->run)))
        return report_errno(a->heatmap);
    return FMP_OK;
}

/* ---- the manifest -----------------------------------------------------------------------------
 */

static json_t *task_object(const train_work *w)
{
    const session_args *how = &w->args->session;
    const fish_data *d = w->s.data;
    json_t *o = json_object();

    if (w->args->task)
        report_json_set(o, "name", json_string(w->args->task));
    report_json_set(o, "type", json_string(w->s.regression ? "regression" : "classification"));
    if (how->pooling)
        report_json_set(o, "pooling", json_string(how->pooling));
    if (how->max_tokens.given)
        report_json_set(o, "max_tokens", json_integer((json_int_t)how->max_tokens.value));
    if (how->mean.given)
        report_json_set(o, "mean", session_exact(how->mean.value));
    if (how->std.given)
        report_json_set(o, "std", session_exact(how->std.value));
    if (!w->s.regression) {
        json_t *classes = json_array();

        for (uint32_t i = 0; i < fish_data_n_classes(d); i++)
            json_array_append_new(classes, report_json_text(fish_data_class(d, i)));
        report_json_set(o, "classes", classes);
    }
    return o;
}

/* Which mask it was: the id of its file. */
static void set_mask_id(json_t *o, const char *path)
{
    fmp_patch *patch = NULL;

    if (fmp_patch_open(path, NULL, &patch, NULL))
        return; /* gone since it was loaded: the run does not fail for it */
    report_json_set(o, "mask", report_json_hex(fmp_patch_summarize(patch).id, 32));
    fmp_patch_close(patch);
}

static json_t *method_object(const train_work *w)
{
    const train_args *a = w->args;
    const fish_mask *mask = fish_run_mask(w->run);
    json_t *o = json_object();

    report_json_set(o, "name", json_string(a->full ? "full" : "mask"));
    if (mask) {
        report_json_set(o, "k", report_json_number(mask->n));
        report_json_set(o, "elements", report_json_number(mask->n_elements));
        report_json_set(o, "ratio", session_decimal((double)mask->n / (double)mask->n_elements));
    }
    if (a->mask)
        set_mask_id(o, a->mask);
    if (a->scope)
        report_json_set(o, "scope", json_string("tensor"));
    if (!a->full && !a->mask && !a->scores) {
        const uint64_t n = a->samples.given ? a->samples.value : 1024;
        const uint64_t all = fish_data_count(w->s.data);

        report_json_set(o, "scores", json_string("fisher, empirical"));
        report_json_set(o, "samples", report_json_number(n < all ? n : all));
    }
    report_json_set(o, "optimizer", json_string(a->optimizer ? "sgd" : "adamw"));
    report_json_set(o, "lr", session_decimal(a->lr.given ? a->lr.value : TRAIN_LR));
    report_json_set(o, "batch", json_integer(a->batch.given ? (json_int_t)a->batch.value : 16));
    report_json_set(o, "steps", json_integer(fish_run_steps(w->run)));
    report_json_set(o, "seed", report_json_number(a->session.seed.value));
    train_describe(a, o);
    return o;
}

/* To free.  `extra` is the user's own object, which wins. */
static char *make_manifest(const train_work *w)
{
    json_t *o = json_object();
    json_t *data = json_object();
    char *text;

    report_json_set(data, "train", report_json_text(fish_data_digest(w->s.data)));
    if (w->valid)
        report_json_set(data, "valid", report_json_text(fish_data_digest(w->valid)));
    report_json_set(o, "data", data);
    report_json_set(o, "task", task_object(w));
    report_json_set(o, "method", method_object(w));
    if (w->last.n)
        report_json_set(o, "metrics", session_metrics(&w->last, w->s.regression));
    text = json_dumps(o, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(o);
    return text;
}

/* ---- the work ---------------------------------------------------------------------------------
 */

static void print_result(const train_work *w, const fmp_patch_summary *p)
{
    char bytes[TEXT_NUMBER_LEN], changed[TEXT_NUMBER_LEN];
    report_json j;

    text_group(p->file_size, bytes);
    text_group(p->n_changed, changed);
    report_note(&w->args->common, "%s: %u steps in %.1f s, %s weights changed, %s bytes", w->path,
                fish_run_steps(w->run), w->seconds, changed, bytes);
    if (!w->args->common.json) {
        puts(w->path);
        return;
    }
    report_json_begin(&j, "fish/train");
    report_json_member(&j, "patch", report_json_text(w->path));
    report_json_member(&j, "bytes", report_json_number(p->file_size));
    report_json_member(&j, "changed", report_json_number(p->n_changed));
    report_json_member(&j, "method", method_object(w));
    report_json_member(&j, "seconds", json_real(w->seconds));
    if (w->last.n)
        report_json_member(&j, "valid", session_metrics_numbers(&w->last, w->s.regression));
    report_json_end(&j);
}

static int save(train_work *w)
{
    char *manifest = make_manifest(w);
    const fmp_create_options how = {
        .size = sizeof how,
        .replace = w->args->force,
        .reversible = !w->args->profile,
        .profile = w->args->profile ? FMP_PROFILE_COMPACT : FMP_PROFILE_OPEN,
        .manifest_json = manifest,
        .keys = w->keys,
        .n_keys = w->n_keys,
        .sign_comment = w->args->comment,
    };
    fmp_create_result result;
    fmp_error err;
    const fmp_status st =
        fish_run_save(w->run, w->s.model, w->s.base, w->path, &how, &result, &err);

    free(manifest);
    if (st)
        return report_error(&w->args->common, &err);
    print_result(w, &result.summary);
    return FMP_OK;
}

static int train_model(train_work *w)
{
    const train_args *a = w->args;
    fish_train_options o = train_options(a);
    fmp_error err;
    fmp_status st;

    o.regression = w->s.regression;
    o.report = on_report;
    o.ctx = w;
    if (a->log && !(w->log = fopen(a->log, "we")))
        return report_errno(a->log);
    meter_begin(&w->meter, &a->common, "train");
    st = fish_train(w->s.model, w->s.data, w->valid, w->mask, w->s.pool, &o, &w->run, &err);
    meter_end(&w->meter);
    w->seconds = meter_seconds(&w->meter);
    if (st)
        return report_error(&a->common, &err);
    if (w->log && (ferror(w->log) || fflush(w->log)))
        return report_errno(a->log);
    return FMP_OK;
}

static int measure_last(train_work *w)
{
    const uint32_t n_outputs = w->s.model->n_outputs;
    float *outputs;
    fmp_error err;
    fmp_status st;

    if (!w->valid)
        return FMP_OK;
    outputs = text_alloc((size_t)fish_data_count(w->valid) * n_outputs * sizeof *outputs);
    st = fish_predict(w->s.model, w->valid, w->s.pool, outputs, &err);
    if (!st)
        st = fish_metrics_of(outputs, n_outputs, w->valid, w->s.regression, &w->last, NULL, &err);
    free(outputs);
    return st ? report_error(&w->args->common, &err) : FMP_OK;
}

static int train(const train_args *args, char **operands)
{
    train_work w = {.args = args};
    const char *besides[] = {args->log, args->curve, args->heatmap, args->checkpoint};
    const char *inputs[] = {operands[0],  operands[1],          args->valid,         args->mask,
                            args->scores, args->session.labels, args->session.config};
    char *stem = outname_stem(operands[1]);
    int status = train_check(args);

    w.path = args->output ? text_copy(args->output) : text_format("%s.fmp", stem);
    free(stem);
    if (!status)
        status = session_check_output(w.path, args->force, inputs, sizeof inputs / sizeof *inputs);
    for (size_t i = 0; i < sizeof besides / sizeof *besides; i++) { /* these are replaced */
        if (!status && besides[i])
            status = session_check_output(besides[i], true, inputs, sizeof inputs / sizeof *inputs);
    }
    if (!status)
        status = load_keys(&w);
    if (!status)
        status = session_begin(&w.s, &args->common, &args->session, operands[0]);
    if (!status)
        status = session_open_data(&w.s, operands[1], NULL, false, &w.s.data);
    if (!status && args->valid)
        status = session_open_data(&w.s, args->valid, w.s.data, false, &w.valid);
    if (!status)
        status = session_open_model(&w.s, w.s.regression ? 1 : fish_data_n_classes(w.s.data));
    if (!status)
        status = choose_mask(&w);
    if (!status)
        status = train_model(&w);
    if (!status)
        status = measure_last(&w);
    if (!status && fish_run_finished(w.run))
        status = save(&w);
    else if (!status)
        report_note(&args->common, "stopped after %u steps; run again to go on from %s",
                    fish_run_steps(w.run), args->checkpoint);
    if (!status)
        status = draw(&w);
    release(&w);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    train_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = train(&args, operands);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_train = {
    .name = "train",
    .operands = "BASE DATA",
    .summary = "train selected weights of BASE on DATA and write a patch",
    .notes = "Without --mask, --scores or --full the Fisher information of 1,024 examples picks "
             "0.5% of the weights (Sung, Nair, Raffel 2021).  All other weights keep BASE's bits.  "
             "The last line of standard output is the patch's path.",
    .options = train_option_table,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
