/*
 * Checkpoints of a run: the vectors over the tracked elements, where the run stands, and what it
 * was started with, so that another run cannot go on from it by mistake.  O(k) bytes, and the
 * buffers where batch norm is trained.  Outside bytes: everything read is checked.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/fail.h"
#include "core/mem.h"
#include "core/tensors.h"
#include "train/run.h"

#define FORMAT      "fmpatch training 1"
#define MAX_META    64
#define MAX_TENSORS 16

/* ---- what a run was started with ------------------------------------------------------------ */

static void put_number(json_t *o, const char *key, double x)
{
    char text[40];

    (void)snprintf(text, sizeof text, "%.17g", x);
    json_object_set_new(o, key, json_string(text));
}

static void put_integer(json_t *o, const char *key, uint64_t x)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)x);
    json_object_set_new(o, key, json_string(text));
}

static void put_refresh(json_t *o, const fish_train_options *t)
{
    const fish_fisher_options *f = &t->refresh;

    put_integer(o, "refresh epochs", t->refresh_epochs);
    if (!t->refresh_epochs)
        return;
    put_integer(o, "moments", t->moments);
    put_integer(o, "refresh estimator", f->estimator);
    put_integer(o, "refresh samples", f->n_samples);
    put_integer(o, "refresh seed", f->seed);
    put_integer(o, "refresh batch size", f->batch_size);
    put_integer(o, "refresh group", f->group);
}

/* Everything that the result depends on, as strings; the caller's to decref. */
static json_t *settings(const fish_run *run)
{
    const fish_train_options *t = &run->o;
    json_t *o = json_object();

    put_integer(o, "optimizer", t->optimizer);
    put_number(o, "learning rate", t->lr);
    put_number(o, "weight decay", t->weight_decay);
    put_number(o, "beta1", t->beta1);
    put_number(o, "beta2", t->beta2);
    put_number(o, "eps", t->eps);
    put_number(o, "momentum", t->momentum);
    put_integer(o, "nesterov", t->nesterov);
    put_number(o, "clip", t->clip);
    put_integer(o, "schedule", t->schedule);
    put_integer(o, "warmup", t->warmup);
    put_integer(o, "steps", run->n_steps);
    put_integer(o, "batch size", t->batch_size);
    put_integer(o, "accumulate", t->accumulate);
    put_integer(o, "group", t->group);
    put_number(o, "ema", t->ema);
    put_number(o, "label smoothing", t->label_smoothing);
    put_integer(o, "no dropout", t->no_dropout);
    put_integer(o, "batch norm", t->batch_norm);
    put_integer(o, "regression", t->regression);
    put_integer(o, "seed", t->seed);
    put_integer(o, "eval every", t->eval_every);
    put_integer(o, "patience", t->patience);
    put_integer(o, "value bits", t->value_bits);
    put_number(o, "value phase", t->value_phase);
    put_integer(o, "dense gradient", t->dense_gradient);
    put_refresh(o, t);
    json_object_set_new(o, "training data", json_string(fish_data_digest(run->train)));
    json_object_set_new(o, "validation data",
                        json_string(run->valid ? fish_data_digest(run->valid) : "none"));
    json_object_set_new(o, "view of training data", json_string(run->train_view));
    json_object_set_new(o, "view of validation data", json_string(run->valid_view));
    json_object_set_new(o, "mask", json_string(run->mask_digest));
    json_object_set_new(o, "model", json_string(run->model_digest));
    return o;
}

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct part {
    const char *name;
    const char *dtype;
    void *data;
    size_t n;
    size_t size; /* of an element */
} part;

static uint64_t n_indices(const fish_selection *s)
{
    uint64_t n = 0;

    for (uint32_t p = 0; p < s->n_params; p++)
        n += s->of[p].idx ? s->of[p].n : 0;
    return n;
}

/* The vectors that a run has, in the order of the file. */
static uint32_t list_parts(const fish_run *run, part parts[MAX_TENSORS])
{
    const fish_state *s = &run->state;
    const size_t n = s->tracked.n;
    const part all[] = {{"master", "F32", s->master, n, 4},
                        {"moment", "F32", s->m, n, 4},
                        {"second", "F32", s->v, n, 4},
                        {"average", "F32", s->ema, n, 4},
                        {"best", "F32", s->best, n, 4},
                        {"generation", "U16", s->gen, n, 2},
                        {"best buffers", "F32", s->best_buffers, fish_count_buffers(run), 4}};
    uint32_t n_parts = 0;

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].data)
            parts[n_parts++] = all[i];
    }
    return n_parts;
}

static uint32_t describe(const fish_run *run, const part *parts, uint32_t n_parts,
                         fish_tensor_desc *d)
{
    const fish_state *s = &run->state;
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_parts; i++)
        d[n++] = (fish_tensor_desc){parts[i].name, parts[i].dtype, 1, {parts[i].n}};
    if (s->gen) {
        d[n++] = (fish_tensor_desc){"born", "U32", 1, {s->n_born}};
        d[n++] = (fish_tensor_desc){"counts", "U32", 1, {s->tracked.n_params}};
        d[n++] = (fish_tensor_desc){"indices", "U32", 1, {n_indices(&s->tracked)}};
    }
    if (run->o.batch_norm)
        d[n++] = (fish_tensor_desc){"buffers", "F32", 1, {fish_count_buffers(run)}};
    return n;
}

static fmp_status put_tracked(fish_tensor_writer *w, const fish_state *s, fmp_error *err)
{
    fmp_status st = fish_tensor_writer_put(w, s->born, s->n_born * sizeof s->born[0], err);

    for (uint32_t p = 0; p < s->tracked.n_params && !st; p++) {
        const uint32_t n = (uint32_t)s->tracked.of[p].n;

        st = fish_tensor_writer_put(w, &n, sizeof n, err);
    }
    for (uint32_t p = 0; p < s->tracked.n_params && !st; p++) {
        const fish_chosen *c = &s->tracked.of[p];

        if (c->idx)
            st = fish_tensor_writer_put(w, c->idx, c->n * sizeof *c->idx, err);
    }
    return st;
}

static fmp_status put_all(fish_tensor_writer *w, const fish_run *run, const part *parts,
                          uint32_t n_parts, fmp_error *err)
{
    const fish_state *s = &run->state;
    fmp_status st = FMP_OK;

    for (uint32_t i = 0; i < n_parts && !st; i++)
        st = fish_tensor_writer_put(w, parts[i].data, parts[i].n * parts[i].size, err);
    if (!st && s->gen)
        st = put_tracked(w, s, err);
    for (uint32_t p = 0; p < run->model->n_params && !st && run->o.batch_norm; p++) {
        const fish_param *param = &run->model->params[p];

        if (param->role == FISH_BUFFER)
            st = fish_tensor_writer_put(w, param->w, param->n * sizeof *param->w, err);
    }
    return st;
}

static json_t *describe_run(const fish_run *run)
{
    const fish_state *s = &run->state;
    json_t *o = settings(run);

    json_object_set_new(o, "format", json_string(FORMAT));
    put_integer(o, "at step", s->step);
    put_integer(o, "at worse", s->n_worse);
    put_number(o, "at best", s->best_metric);
    put_integer(o, "at has best", s->has_best);
    put_integer(o, "at best rounded", s->best_rounded);
    put_integer(o, "at stopped", s->stopped);
    return o;
}

fmp_status fish_checkpoint_save(const fish_run *run, fmp_error *err)
{
    const char *meta[2 * MAX_META + 1];
    fish_tensor_desc descs[MAX_TENSORS];
    part parts[MAX_TENSORS];
    const uint32_t n_parts = list_parts(run, parts);
    const uint32_t n = describe(run, parts, n_parts, descs);
    json_t *o = describe_run(run);
    fish_tensor_writer *w = NULL;
    size_t n_meta = 0;
    const char *key;
    json_t *value;
    fmp_status st;

    json_object_foreach(o, key, value)
    {
        if (n_meta == MAX_META || !json_is_string(value))
            break;
        meta[2 * n_meta] = key;
        meta[2 * n_meta++ + 1] = json_string_value(value);
    }
    meta[2 * n_meta] = NULL;
    st = fish_tensor_writer_new(run->o.checkpoint, true, meta, descs, n, &w, err);
    if (!st) {
        st = put_all(w, run, parts, n_parts, err);
        if (st)
            fish_tensor_writer_abort(w);
        else
            st = fish_tensor_writer_commit(w, err);
    }
    json_decref(o);
    return st;
}

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct reader {
    fish_run *run;
    const char *path;
    fmp_store *store;
    json_t *meta;
} reader;

static fmp_status corrupt(const reader *r, const char *what, fmp_error *err)
{
    return fish_fail(err, FMP_ECORRUPT, "%s: not a checkpoint of this training: %s", r->path, what);
}

static const char *get(const reader *r, const char *key)
{
    const char *text = json_string_value(json_object_get(r->meta, key));

    return text ? text : "";
}

static fmp_status check_settings(const reader *r, fmp_error *err)
{
    json_t *now = settings(r->run);
    fmp_status st = FMP_OK;
    const char *key;
    json_t *value;

    if (strcmp(get(r, "format"), FORMAT))
        st = corrupt(r, "its metadata does not say so", err);
    json_object_foreach(now, key, value)
    {
        if (st)
            break;
        if (strcmp(get(r, key), json_string_value(value)))
            st = fish_fail(err, FMP_EUSAGE,
                           "%s: that run had %s \"%.80s\", this one has \"%.80s\"; remove the file "
                           "to start anew",
                           r->path, key, get(r, key), json_string_value(value));
    }
    json_decref(now);
    return st;
}

/* A number of the metadata, 0 .. max. */
static fmp_status get_number(const reader *r, const char *key, uint64_t max, uint64_t *ret,
                             fmp_error *err)
{
    const char *text = get(r, key);
    char *end = NULL;
    unsigned long long x;

    errno = 0;
    x = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || x > max)
        return corrupt(r, key, err);
    *ret = x;
    return FMP_OK;
}

static fmp_status read_standing(reader *r, fmp_error *err)
{
    fish_state *s = &r->run->state;
    uint64_t x[5] = {0};
    static const char *const keys[] = {"at step", "at worse", "at has best", "at best rounded",
                                       "at stopped"};
    const uint64_t max[] = {r->run->n_steps, UINT32_MAX, 1, 1, 1};
    char *end = NULL;
    fmp_status st = FMP_OK;

    for (unsigned i = 0; i < 5 && !st; i++)
        st = get_number(r, keys[i], max[i], &x[i], err);
    if (st)
        return st;
    s->best_metric = strtod(get(r, "at best"), &end);
    if (!get(r, "at best")[0] || *end)
        return corrupt(r, "at best", err);
    s->step = (uint32_t)x[0];
    s->n_worse = (uint32_t)x[1];
    s->has_best = x[2] && s->best;
    s->best_rounded = x[3] != 0;
    s->stopped = x[4] != 0;
    return FMP_OK;
}

/* A vector of at most `max` elements; *ret_n says how many. */
static fmp_status find(const reader *r, const char *name, const char *dtype, uint64_t max,
                       uint32_t *ret, uint64_t *ret_n, fmp_error *err)
{
    const uint32_t t = fmp_store_find(r->store, name, strlen(name));
    fmp_tensor_info info;

    if (t == UINT32_MAX)
        return fish_fail(err, FMP_ECORRUPT, "%s: tensor \"%s\" is missing", r->path, name);
    info = fmp_store_tensor(r->store, t);
    if (strcmp(info.dtype, dtype) || info.rank != 1 || info.n_elements > max)
        return fish_fail(err, FMP_ECORRUPT,
                         "%s: tensor \"%s\": %s of %llu elements, expected %s of %llu", r->path,
                         name, info.dtype, (unsigned long long)info.n_elements, dtype,
                         (unsigned long long)max);
    *ret = t;
    *ret_n = info.n_elements;
    return FMP_OK;
}

static fmp_status read_exact(const reader *r, const char *name, const char *dtype, void *to,
                             size_t n, size_t size, fmp_error *err)
{
    uint64_t found = 0;
    uint32_t t = 0;
    fmp_status st = find(r, name, dtype, n, &t, &found, err);

    if (!st && found != n)
        st = fish_fail(err, FMP_ECORRUPT, "%s: tensor \"%s\": %llu elements, expected %zu", r->path,
                       name, (unsigned long long)found, n);
    return st ? st : fmp_store_read(r->store, t, 0, to, n * size, err);
}

/* What was tracked: counts, and indices of those parameters that are there in part. */
static fmp_status read_selection(reader *r, const uint32_t *counts, fish_selection *s,
                                 fmp_error *err)
{
    const fish_model *m = r->run->model;
    uint64_t n = 0;
    uint64_t at = 0;
    uint64_t found = 0;
    uint32_t t = 0;
    fmp_status st;

    for (uint32_t p = 0; p < m->n_params; p++) {
        if (counts[p] > m->params[p].n || (counts[p] && m->params[p].role == FISH_BUFFER))
            return corrupt(r, "counts", err);
        n += counts[p] == m->params[p].n ? 0 : counts[p];
    }
    st = find(r, "indices", "U32", n, &t, &found, err);
    if (!st && found != n)
        st = corrupt(r, "indices", err);
    for (uint32_t p = 0; p < m->n_params && !st; p++) {
        fish_chosen *c = &s->of[p];

        c->n = counts[p];
        if (!c->n || c->n == m->params[p].n)
            continue;
        c->idx = fish_alloc(c->n, sizeof *c->idx);
        if (!c->idx)
            return fish_fail(err, FMP_ENOMEM, "%s: out of memory", r->path);
        st = fmp_store_read(r->store, t, at * sizeof *c->idx, c->idx, c->n * sizeof *c->idx, err);
        at += c->n;
        for (size_t j = 0; j < c->n && !st; j++) {
            if (c->idx[j] >= m->params[p].n || (j && c->idx[j] <= c->idx[j - 1]))
                st = corrupt(r, "indices", err);
        }
    }
    return st;
}

/* Grows the run's vectors to what the file tracked; the model still has the base's weights. */
static fmp_status read_tracked(reader *r, fmp_error *err)
{
    fish_run *run = r->run;
    const uint32_t n_params = run->model->n_params;
    uint32_t *counts = fish_calloc(n_params, sizeof *counts);
    fish_selection s = {.n_params = n_params, .of = fish_calloc(n_params, sizeof *s.of)};
    fmp_status st;

    if (!counts || !s.of) {
        st = fish_fail(err, FMP_ENOMEM, "%s: out of memory", r->path);
        goto out;
    }
    st = read_exact(r, "counts", "U32", counts, n_params, sizeof *counts, err);
    if (!st)
        st = read_selection(r, counts, &s, err);
    if (!st)
        st = fish_state_track(run, &s, err);
    fish_selection_number(&s);
    if (!st && run->state.tracked.n != s.n)
        st = corrupt(r, "it tracks less than the mask", err);
out:
    fish_selection_release(&s);
    fish_free(counts);
    return st;
}

static bool is_selected(uint16_t gen)
{
    return gen != FISH_FROZEN && !(gen & FISH_LEFT);
}

/* The current mask: tracked elements whose generation says that they have not left. */
static fmp_status reselect(reader *r, fmp_error *err)
{
    fish_run *run = r->run;
    const fish_state *s = &run->state;
    fish_selection n = {.n_params = s->tracked.n_params,
                        .of = fish_calloc(s->tracked.n_params, sizeof *n.of)};
    bool whole = true;

    for (uint32_t p = 0; n.of && p < n.n_params; p++) {
        const fish_chosen *t = &s->tracked.of[p];
        fish_chosen *c = &n.of[p];

        for (size_t j = 0; j < t->n; j++)
            c->n += is_selected(s->gen[t->at + j]);
        if (!c->n || c->n == run->model->params[p].n)
            continue;
        c->idx = fish_alloc(c->n, sizeof *c->idx);
        c->n = 0;
        for (size_t j = 0; c->idx && j < t->n; j++) {
            if (is_selected(s->gen[t->at + j]))
                c->idx[c->n++] = (uint32_t)fish_chosen_at(t, j);
        }
        if (!c->idx) {
            fish_selection_release(&n);
            break;
        }
    }
    if (!n.of)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", r->path);
    fish_selection_number(&n);
    for (uint32_t p = 0; p < n.n_params; p++)
        whole = whole &&
                (run->model->params[p].role != FISH_HEAD || n.of[p].n == run->model->params[p].n);
    if (!whole || n.n != run->selected.n) { /* a refresh keeps the head and how many there are */
        fish_selection_release(&n);
        return corrupt(r, "generation", err);
    }
    fish_selection_release(&run->selected);
    run->selected = n;
    return FMP_OK;
}

static fmp_status read_generations(reader *r, fmp_error *err)
{
    fish_state *s = &r->run->state;
    uint64_t n = 0;
    uint32_t t = 0;
    fmp_status st = find(r, "born", "U32", FISH_MAX_BORN + 1, &t, &n, err);

    if (!st && !n)
        st = corrupt(r, "born", err);
    if (!st)
        st = fmp_store_read(r->store, t, 0, s->born, (size_t)n * sizeof s->born[0], err);
    if (st)
        return st;
    s->n_born = (uint32_t)n;
    for (uint32_t i = 0; i < s->n_born; i++) {
        if (s->born[i] > s->step)
            return corrupt(r, "born", err);
    }
    for (size_t j = 0; j < s->tracked.n; j++) {
        if (s->gen[j] != FISH_FROZEN && (s->gen[j] & ~FISH_LEFT) >= s->n_born)
            return corrupt(r, "generation", err);
    }
    return reselect(r, err);
}

static fmp_status read_buffers(reader *r, fmp_error *err)
{
    fish_model *m = r->run->model;
    const uint64_t n = fish_count_buffers(r->run);
    uint64_t found = 0;
    uint64_t at = 0;
    uint32_t t = 0;
    fmp_status st = find(r, "buffers", "F32", n, &t, &found, err);

    if (!st && found != n)
        st = corrupt(r, "buffers", err);
    for (uint32_t p = 0; p < m->n_params && !st; p++) {
        const fish_param *param = &m->params[p];

        if (param->role != FISH_BUFFER)
            continue;
        st = fmp_store_read(r->store, t, at * sizeof(float), param->w, param->n * sizeof(float),
                            err);
        at += param->n;
    }
    return st;
}

static fmp_status read_all(reader *r, fmp_error *err)
{
    fish_run *run = r->run;
    part parts[MAX_TENSORS];
    uint32_t n_parts;
    fmp_status st = check_settings(r, err);

    if (!st)
        st = read_standing(r, err);
    if (!st && run->state.gen)
        st = read_tracked(r, err);
    if (st)
        return st;
    n_parts = list_parts(run, parts);
    for (uint32_t i = 0; i < n_parts && !st; i++)
        st = read_exact(r, parts[i].name, parts[i].dtype, parts[i].data, parts[i].n, parts[i].size,
                        err);
    if (!st && run->state.gen)
        st = read_generations(r, err);
    if (!st && run->o.batch_norm)
        st = read_buffers(r, err);
    return st ? st : fish_run_cut(run, err);
}

static fmp_status read_meta(reader *r, fmp_error *err)
{
    char *text = NULL;
    fmp_status st = fish_tensor_metadata(r->path, &text, err);

    if (st)
        return st;
    r->meta = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    fish_free(text);
    return r->meta ? FMP_OK : corrupt(r, "its metadata is malformed", err);
}

fmp_status fish_checkpoint_load(fish_run *run, bool *ret, fmp_error *err)
{
    reader r = {.run = run, .path = run->o.checkpoint};
    struct stat about;
    fmp_status st;

    *ret = false;
    if (stat(r.path, &about) && errno == ENOENT)
        return FMP_OK;
    st = fmp_store_open(r.path, NULL, &r.store, err);
    if (!st)
        st = read_meta(&r, err);
    if (!st)
        st = read_all(&r, err);
    json_decref(r.meta);
    fmp_store_close(r.store);
    if (st)
        return st;
    fish_write_weights(run, run->state.master, fish_run_bits(run));
    *ret = true;
    return FMP_OK;
}
