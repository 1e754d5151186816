/*
 * fmpatch merge: several patches of one base as one.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "fmpatch.h"
#include "inputs.h"
#include "outname.h"
#include "patch_out.h"
#include "progress.h"
#include "report.h"
#include "summary.h"
#include "textutil.h"
#include "trust.h"

#define METHODS                                                                                    \
    "linear task-arithmetic ties dare-linear dare-ties breadcrumbs breadcrumbs-ties ram slerp "    \
    "prune fisher"
#define VARIANTS "paper peft mergekit"
#define RESCALES "inverse l1 none"

typedef struct merge_args {
    common_args common;
    patch_args out;
    trust_args trust;
    const char *method, *weights, *ties, *rescale, *normalize, *integers, *added, *recipe;
    const char *lambda, *density, *gamma, *epsilon, *t, *floor, *seed;
    const char *fisher_floor, *fisher_normalize;
    opt_list scores;
    bool plan;
} merge_args;

#define NUMBER(field, word, text)                                                                  \
    {                                                                                              \
        .name = word, .kind = OPT_TEXT, .offset = offsetof(merge_args, field), .arg = "X",         \
        .help = text                                                                               \
    }
#define WORD(field, word, values, text)                                                            \
    {                                                                                              \
        .name = word, .kind = OPT_TEXT, .offset = offsetof(merge_args, field), .arg = values,      \
        .help = text                                                                               \
    }

static const opt_entry options[] = {
    OPT_PATCH_OUT(merge_args, out, "merged.fmp"),
    WORD(method, "method", "NAME",
         "how: linear (without it), task-arithmetic, ties, dare-linear, dare-ties, breadcrumbs, "
         "breadcrumbs-ties, ram, slerp, prune, fisher"),
    WORD(weights, "weights", "W,W,...", "a weight for each PATCH; 1 without it"),
    NUMBER(lambda, "lambda", "what the merged task vector is multiplied by, 1 without it"),
    NUMBER(density, "density", "share of a tensor's elements that stay (0 to 1); 1 without it"),
    WORD(ties, "ties", "WHOSE", "which TIES: paper, peft or mergekit; paper without it"),
    WORD(rescale, "rescale", "HOW",
         "DARE scales what stays by 1/density (inverse), to the sum of magnitudes from before "
         "(l1), or not (none); inverse without it"),
    WORD(seed, "seed", "N", "seed of DARE, 0 without it"),
    NUMBER(gamma, "gamma", "breadcrumbs: share of the largest that go, 0.01 without it"),
    NUMBER(epsilon, "epsilon", "ram: changes as small as this do not count, 1e-5 without it"),
    NUMBER(t, "t", "slerp: 0 is the first PATCH, 1 the second; 0.5 without it"),
    {.name = "scores",
     .kind = OPT_LIST,
     .offset = offsetof(merge_args, scores),
     .arg = "SCORES",
     .hint = HINT_FILE,
     .help = "fisher: what 'fmpatch fish fisher' wrote for a PATCH; once for each, in their order"},
    NUMBER(floor, "floor", "fisher: least score, 1e-6 without it"),
    WORD(fisher_floor, "fisher-floor", "WHICH",
         "scores that have that floor: of the first PATCH (target) or of all; target without it"),
    WORD(fisher_normalize, "fisher-normalize", "HOW",
         "divide scores by their norm (l2) or not (none); l2 without it"),
    WORD(normalize, "normalize", "yes|no",
         "divide by the sum of weights; without it yes for linear and for TIES as mergekit has it"),
    WORD(integers, "integers", "RULE",
         "tensors of integers that a PATCH changes: refuse, first (from the first PATCH that does) "
         "or a PATCH's number from 1; refuse without it"),
    WORD(
        added, "added", "RULE",
        "tensors that a PATCH adds: refuse, skip, or the number of the PATCH whose to take; refuse "
        "without it"),
    {.name = "plan",
     .kind = OPT_FLAG,
     .offset = offsetof(merge_args, plan),
     .help = "print where the patches meet and the size to expect; write nothing"},
    {.name = "recipe",
     .kind = OPT_TEXT,
     .offset = offsetof(merge_args, recipe),
     .arg = "FILE",
     .hint = HINT_FILE,
     .help = "merge as FILE says, a merged patch or a JSON object; options change it"},
    OPT_TRUST(merge_args, trust),
    OPT_PATCH_HOW(merge_args, out),
    OPT_PROGRESS,
    OPT_COMMON,
    {0},
};

/* ---- a recipe: every setting as text, by its name ---------------------------------------------
 */

#define ELECTING "ties dare-ties breadcrumbs-ties"
#define ADDING   "task-arithmetic prune dare-linear breadcrumbs " ELECTING

/* Options and members of a recipe that mean the same. */
typedef struct setting {
    const char *name;    /* of the member; the option has - for _ */
    size_t offset;       /* of the text in merge_args */
    const char *methods; /* that use it; NULL: all */
} setting;

static const setting settings[] = {
    {"method", offsetof(merge_args, method), NULL},
    {"weights", offsetof(merge_args, weights), "linear fisher " ADDING},
    {"lambda", offsetof(merge_args, lambda), "ram " ADDING},
    {"density", offsetof(merge_args, density), "prune dare-linear breadcrumbs " ELECTING},
    {"ties", offsetof(merge_args, ties), ELECTING},
    {"rescale", offsetof(merge_args, rescale), "dare-linear dare-ties"},
    {"seed", offsetof(merge_args, seed), "dare-linear dare-ties"},
    {"gamma", offsetof(merge_args, gamma), "breadcrumbs breadcrumbs-ties"},
    {"epsilon", offsetof(merge_args, epsilon), "ram"},
    {"t", offsetof(merge_args, t), "slerp"},
    {"floor", offsetof(merge_args, floor), "fisher"},
    {"fisher_floor", offsetof(merge_args, fisher_floor), "fisher"},
    {"fisher_normalize", offsetof(merge_args, fisher_normalize), "fisher"},
    {"normalize", offsetof(merge_args, normalize), "linear " ADDING},
    {"integers", offsetof(merge_args, integers), NULL},
    {"added", offsetof(merge_args, added), NULL},
};

enum { N_SETTINGS = sizeof settings / sizeof *settings };

static const char **text_of(merge_args *args, size_t i)
{
    return (const char **)(void *)((char *)args + settings[i].offset);
}

/* "0.5", 2 or ["0.5", "0.5"] as an option would have it; to free; NULL when it is none of them. */
static char *text_of_json(const json_t *j)
{
    char number[32];
    char *text;
    size_t len = 1;

    if (json_is_string(j))
        return text_copy(json_string_value(j));
    if (json_is_integer(j)) {
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(j));
        return text_copy(number);
    }
    for (size_t i = 0; i < json_array_size(j); i++) {
        if (!json_is_string(json_array_get(j, i)))
            return NULL;
        len += json_string_length(json_array_get(j, i)) + 1;
    }
    if (!json_is_array(j))
        return NULL;
    text = text_alloc(len);
    *text = 0;
    for (size_t i = 0, at = 0; i < json_array_size(j); i++)
        at += (size_t)snprintf(text + at, len - at, "%s%s", i ? "," : "",
                               json_string_value(json_array_get(j, i)));
    return text;
}

static json_t *read_recipe(const char *path, const common_args *common)
{
    json_error_t at;
    json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    fmp_patch *patch;
    fmp_error err;

    if (j)
        return j;
    if (fmp_patch_open(path, NULL, &patch, &err)) {
        report_error(common, &err);
        return NULL;
    }
    j = json_loads(fmp_patch_manifest(patch), 0, NULL);
    fmp_patch_close(patch);
    if (!json_object_get(j, "recipe")) {
        report_warning("%s: it is no merge: its manifest has no recipe", path);
        json_decref(j);
        return NULL;
    }
    return j;
}

/* Which of the words; -1 for none. */
static int word_of(const char *words, const char *text)
{
    const size_t len = strlen(text);
    int n = 0;

    for (const char *w = words; *w; n++) {
        const size_t word = strcspn(w, " ");

        if (word == len && strncmp(w, text, len) == 0)
            return n;
        w += word + (w[word] == ' ');
    }
    return -1;
}

/* Options of which the method would make nothing.  `given`: a bit for each that is an option; a
 * recipe has all of them. */
static int check_use(merge_args *args, uint32_t given)
{
    const char *method = args->method ? args->method : "linear";
    char option[32];

    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (!(given >> i & 1) || !settings[i].methods || word_of(settings[i].methods, method) >= 0)
            continue;
        snprintf(option, sizeof option, "%s", settings[i].name);
        for (char *c = option; *c; c++)
            *c = *c == '_' ? '-' : *c;
        return report_usage("--%s: '--method %s' does not use it", option, method);
    }
    return FMP_OK;
}

static uint32_t given_options(merge_args *args)
{
    uint32_t given = 0;

    for (size_t i = 0; i < N_SETTINGS; i++)
        given |= (uint32_t)(*text_of(args, i) != NULL) << i;
    return given;
}

/* Fills in what no option says.  `texts`: N_SETTINGS of them, to free.  *ret_parents: the patches
 * that were merged by it, to release; NULL when it does not say. */
static int load_recipe(merge_args *args, char **texts, json_t **ret_parents)
{
    json_t *whole = args->recipe ? read_recipe(args->recipe, &args->common) : NULL;
    json_t *j = json_object_get(whole, "recipe") ? json_object_get(whole, "recipe") : whole;
    const char *key;
    json_t *value;
    int status = args->recipe && !whole ? fmp_exit_status(FMP_ECORRUPT) : FMP_OK;

    json_object_foreach(j, key, value)
    {
        size_t i = 0;

        while (i < N_SETTINGS && strcmp(settings[i].name, key) != 0)
            i++;
        if (i < N_SETTINGS && !texts[i])
            texts[i] = text_of_json(value);
        if (i == N_SETTINGS || !texts[i]) {
            report_warning("%s: recipe: \"%s\" is not known, or is no text", args->recipe, key);
            status = fmp_exit_status(FMP_ECORRUPT);
            break;
        }
        if (!*text_of(args, i))
            *text_of(args, i) = texts[i];
    }
    *ret_parents = json_incref(json_object_get(whole, "parents"));
    json_decref(whole);
    return status;
}

/* ---- options to the library's -----------------------------------------------------------------
 */

static bool real_of(const char *text, double *ret)
{
    char *end;

    errno = 0;
    *ret = strtod(text, &end);
    return *text && !*end && end != text && isfinite(*ret) && strchr("+-.0123456789", *text);
}

static int take_real(const char *name, const char *text, fmp_real *ret)
{
    ret->given = text != NULL;
    return !text || real_of(text, &ret->value)
               ? FMP_OK
               : report_usage("--%s: a number is expected, found '%s'", name, text);
}

static int take_word(const char *name, const char *words, const char *text, unsigned *ret)
{
    const int n = text ? word_of(words, text) : 0;

    if (n < 0)
        return report_usage("--%s: one of '%s' is expected, found '%s'", name, words, text);
    *ret = (unsigned)n;
    return FMP_OK;
}

static int take_weights(const char *text, size_t n, double *ret)
{
    const char *at = text;
    size_t i = 0;

    for (; text && i < n && at; i++) {
        char one[64];
        const size_t len = strcspn(at, ",");

        if (len >= sizeof one)
            break;
        memcpy(one, at, len);
        one[len] = 0;
        if (!real_of(one, &ret[i]))
            break;
        at = at[len] ? at + len + 1 : NULL;
    }
    if (text && (i != n || at))
        return report_usage("--weights: %zu numbers with commas between are expected, found '%s'",
                            n, text);
    return FMP_OK;
}

/* "refuse" 0, `all` -1, or a number from 1. */
static int take_rule(const char *name, const char *all, const char *text, size_t n, int *ret)
{
    uint64_t number;

    *ret = 0;
    if (!text || strcmp(text, "refuse") == 0)
        return FMP_OK;
    *ret = -1;
    if (strcmp(text, all) == 0)
        return FMP_OK;
    if (!text_number(text, &number) || number == 0 || number > n)
        return report_usage("--%s: refuse, %s or a number from 1 to %zu is expected, found '%s'",
                            name, all, n, text);
    *ret = (int)number;
    return FMP_OK;
}

static int take_words(const merge_args *args, fmp_merge_options *o)
{
    unsigned method, ties, rescale, normalize, all, none;
    int status = take_word("method", METHODS, args->method, &method);

    if (!status)
        status = take_word("ties", VARIANTS, args->ties, &ties);
    if (!status)
        status = take_word("rescale", RESCALES, args->rescale, &rescale);
    if (!status)
        status = take_word("normalize", "no yes", args->normalize, &normalize);
    if (!status)
        status = take_word("fisher-floor", "target all", args->fisher_floor, &all);
    if (!status)
        status = take_word("fisher-normalize", "l2 none", args->fisher_normalize, &none);
    if (status)
        return status;
    o->method = (fmp_merge_method)method;
    o->ties = (fmp_ties_variant)ties;
    o->rescale = (fmp_rescale)rescale;
    o->normalize = !args->normalize ? 0 : normalize ? 1 : -1;
    o->floor_all = all;
    o->no_norm = none;
    return FMP_OK;
}

static int take_options(const merge_args *args, size_t n, double *weights, fmp_merge_options *o)
{
    int status = take_words(args, o);

    if (!status)
        status = take_weights(args->weights, n, weights);
    if (!status)
        status = take_real("lambda", args->lambda, &o->lambda);
    if (!status)
        status = take_real("density", args->density, &o->density);
    if (!status)
        status = take_real("gamma", args->gamma, &o->gamma);
    if (!status)
        status = take_real("epsilon", args->epsilon, &o->epsilon);
    if (!status)
        status = take_real("t", args->t, &o->t);
    if (!status)
        status = take_real("floor", args->floor, &o->floor);
    if (!status && args->seed && !text_number(args->seed, &o->seed))
        status = report_usage("--seed: a number is expected, found '%s'", args->seed);
    if (!status)
        status = take_rule("integers", "first", args->integers, n, &o->integers);
    if (!status)
        status = take_rule("added", "skip", args->added, n, &o->added);
    o->weights = args->weights ? weights : NULL;
    return status;
}

/* ---- inputs -----------------------------------------------------------------------------------
 */

typedef struct merge_work {
    trust trust;
    input_patch *in;
    const fmp_patch **patches;
    size_t n;
    fmp_store *base;
    fmp_store **scores;
    size_t n_scores;
    double *weights;
    char *texts[N_SETTINGS];
    json_t *parents; /* of the recipe */
    fmp_merge_options how;
    patch_out out;
} merge_work;

static void release(merge_work *w)
{
    for (size_t i = 0; i < w->n; i++)
        inputs_close_patch(&w->in[i]);
    for (size_t i = 0; i < w->n_scores; i++)
        fmp_store_close(w->scores[i]);
    for (size_t i = 0; i < N_SETTINGS; i++)
        free(w->texts[i]);
    json_decref(w->parents);
    fmp_store_close(w->base);
    free(w->in);
    free(w->patches);
    free(w->scores);
    free(w->weights);
    patch_out_close(&w->out);
    trust_close(&w->trust);
}

static int open_patches(merge_work *w, const merge_args *args, char **names, size_t n)
{
    w->in = text_alloc(n * sizeof *w->in);
    w->patches = text_alloc(n * sizeof *w->patches);
    return trust_open_patches(&w->trust, names, n, true, &args->common, w->in, w->patches, &w->n);
}

/* A recipe may serve other patches, too; whoever means to repeat a merge must know. */
static void compare_parents(const merge_work *w, const merge_args *args)
{
    for (size_t i = 0; w->parents && i < w->n; i++) {
        const fmp_patch_summary s = fmp_patch_summarize(w->patches[i]);
        const char *id = json_string_value(json_object_get(json_array_get(w->parents, i), "id"));
        char hex[2 * sizeof s.id + 1];

        text_hex(s.id, sizeof s.id, hex);
        if (!id || strcmp(id, hex) != 0)
            report_note(&args->common, "%s: is not patch %zu of those that %s was merged from",
                        w->in[i].shown, i + 1, args->recipe);
    }
}

static int open_scores(merge_work *w, const merge_args *args)
{
    fmp_error err;

    if (args->scores.n && args->scores.n != w->n)
        return report_usage("--scores: once for each of the %zu patches is expected, found %zu",
                            w->n, args->scores.n);
    if (args->scores.n && w->how.method != FMP_MERGE_FISHER)
        return report_usage("--scores: only '--method fisher' uses them");
    w->scores = text_alloc(args->scores.n * sizeof *w->scores);
    for (; w->n_scores < args->scores.n; w->n_scores++) {
        if (fmp_store_open(args->scores.items[w->n_scores], NULL, &w->scores[w->n_scores], &err))
            return report_error(&args->common, &err);
    }
    w->how.scores = w->n_scores ? (const fmp_store *const *)w->scores : NULL;
    return FMP_OK;
}

/* ---- plan -------------------------------------------------------------------------------------
 */

static json_t *overlap_json(const fmp_merge_overlap *o)
{
    json_t *j = json_object();

    report_json_set(j, "name", report_json_text(o->tensor.name));
    report_json_set(j, "elements", report_json_number(o->tensor.n_elements));
    report_json_set(j, "by_1", report_json_number(o->n_by[0]));
    report_json_set(j, "by_2", report_json_number(o->n_by[1]));
    report_json_set(j, "by_3", report_json_number(o->n_by[2]));
    report_json_set(j, "by_more", report_json_number(o->n_by[3]));
    report_json_set(j, "conflicts", report_json_number(o->n_conflicts));
    report_json_set(j, "merged", report_json_number(o->n_merged));
    return j;
}

static void print_plan_json(const fmp_merge_forecast *f)
{
    report_json j;

    report_json_begin(&j, "merge-plan");
    report_json_member(&j, "changed", report_json_number(f->n_changed));
    report_json_member(&j, "merged", report_json_number(f->n_merged));
    report_json_member(&j, "bytes", report_json_number(f->n_bytes));
    report_json_array(&j, "tensors");
    for (uint32_t i = 0; i < f->n_tensors; i++)
        report_json_item(&j, overlap_json(&f->tensors[i]));
    report_json_array_end(&j);
    report_json_end(&j);
}

static void number_cell(uint64_t n, char text[TEXT_NUMBER_LEN])
{
    if (report_is_terminal())
        text_group(n, text);
    else
        snprintf(text, TEXT_NUMBER_LEN, "%" PRIu64, n);
}

static void print_plan_table(const fmp_merge_forecast *f)
{
    static const report_column columns[] = {
        {.name = "TENSOR", .shrink = true},   {.name = "ELEMENTS", .right = true},
        {.name = "BY 1", .right = true},      {.name = "BY 2", .right = true},
        {.name = "BY 3", .right = true},      {.name = "BY MORE", .right = true},
        {.name = "CONFLICTS", .right = true}, {.name = "MERGED", .right = true},
    };
    report_table *t = report_table_new(columns, sizeof columns / sizeof *columns, true);

    for (uint32_t i = 0; i < f->n_tensors; i++) {
        const fmp_merge_overlap *o = &f->tensors[i];
        const uint64_t numbers[] = {o->tensor.n_elements, o->n_by[0],     o->n_by[1], o->n_by[2],
                                    o->n_by[3],           o->n_conflicts, o->n_merged};
        char text[7][TEXT_NUMBER_LEN];
        const char *cells[8] = {o->tensor.name};

        for (unsigned k = 0; k < 7; k++) {
            number_cell(numbers[k], text[k]);
            cells[k + 1] = text[k];
        }
        report_table_row(t, cells);
    }
    report_table_end(t);
}

static int plan(const merge_work *w, const merge_args *args)
{
    char changed[TEXT_NUMBER_LEN], bytes[TEXT_NUMBER_LEN];
    fmp_merge_forecast f;
    fmp_error err;

    if (fmp_merge_plan(w->base, w->patches, w->n, &w->how, (unsigned)args->out.threads.value, &f,
                       &err))
        return report_error(&args->common, &err);
    if (args->common.json)
        print_plan_json(&f);
    else
        print_plan_table(&f);
    text_group(f.n_merged, changed);
    text_group(f.n_bytes, bytes);
    report_note(&args->common, "%s elements change; a patch of about %s bytes", changed, bytes);
    fmp_merge_forecast_release(&f);
    return FMP_OK;
}

/* ---- merge ------------------------------------------------------------------------------------
 */

static void print_json(const merge_work *w, const fmp_patch_summary *s)
{
    report_json j;

    report_json_begin(&j, "merge");
    report_json_member(&j, "patch", report_json_text(w->out.path));
    report_json_member(&j, "id", report_json_hex(s->id, sizeof s->id));
    report_json_member(&j, "bytes", report_json_number(s->file_size));
    report_json_member(&j, "elements", report_json_number(s->n_elements));
    report_json_member(&j, "changed", report_json_number(s->n_changed));
    report_json_member(&j, "tensors", summary_tensors_json(s));
    report_json_member(&j, "base_root", report_json_hex(s->base_root, sizeof s->base_root));
    report_json_member(&j, "target_root", report_json_hex(s->target_root, sizeof s->target_root));
    report_json_member(&j, "reversible", json_boolean(s->reversible));
    report_json_member(&j, "n_signatures", json_integer(s->n_signatures));
    report_json_end(&j);
}

static int write_patch(merge_work *w, const merge_args *args)
{
    char changed[TEXT_NUMBER_LEN], all[TEXT_NUMBER_LEN], bytes[TEXT_NUMBER_LEN];
    fmp_create_options how = patch_out_options(&w->out);
    fmp_create_result result;
    fmp_error err;
    fmp_status st;
    int status;

    how.progress = progress_start(&args->common, "merge");
    st = fmp_merge(w->base, w->patches, w->n, w->out.path, &w->how, &how, &result, &err);
    progress_end();
    if (st)
        return report_error(&args->common, &err);
    status = patch_out_deliver(&w->out);
    if (status)
        return status;
    text_group(result.summary.n_changed, changed);
    text_group(result.summary.n_elements, all);
    text_group(result.summary.file_size, bytes);
    report_note(&args->common, "%s: %s of %s weights changed, %s bytes, %s", w->out.shown, changed,
                all, bytes, result.summary.n_signatures ? "signed" : "unsigned");
    if (args->common.json)
        print_json(w, &result.summary);
    patch_out_print(&w->out);
    return FMP_OK;
}

static int merge(merge_args *args, char **operands, size_t n)
{
    merge_work w = {.how.size = sizeof w.how, .weights = text_alloc(n * sizeof(double))};
    const uint32_t given = given_options(args);
    int status = load_recipe(args, w.texts, &w.parents);

    if (!status)
        status = take_options(args, n - 1, w.weights, &w.how);
    if (!status)
        status = check_use(args, given);
    if (!status && !args->plan)
        status = patch_out_open(&w.out, &args->out, &args->common,
                                args->out.output ? NULL : text_copy("merged.fmp"), operands[0],
                                operands, n);
    if (!status)
        status = trust_open(&w.trust, &args->trust, &args->common);
    if (!status)
        status = open_patches(&w, args, operands + 1, n - 1);
    if (!status)
        compare_parents(&w, args);
    if (!status)
        status = open_scores(&w, args);
    if (!status)
        status = inputs_open_store(&w.base, operands[0], w.patches[0], INPUT_BASE, &args->common);
    if (!status && !args->plan)
        status = patch_out_load_keys(&w.out);
    if (!status)
        status = args->plan ? plan(&w, args) : write_patch(&w, args);
    release(&w);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    merge_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = merge(&args, operands, n);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_merge = {
    .name = "merge",
    .operands = "BASE PATCH...",
    .summary = "merge patches of one BASE into one",
    .notes =
        "All patches are of BASE.  Numbers are read exactly, computed in double and rounded once "
        "to "
        "BASE's dtype; weights that no PATCH changes keep their bits.  fmpatch-merge(1) has the "
        "formulas.  The result is unsigned, whoever signed the patches, unless --sign signs it; "
        "its manifest lists them and holds the recipe.  " TRUST_NOTES
        "  The last line of standard output is the patch's path.",
    .options = options,
    .min_operands = 2,
    .max_operands = 1 + FMP_MERGE_MAX,
    .run = run,
};
