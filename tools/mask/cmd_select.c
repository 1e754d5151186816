/*
 * fmpatch mask SCORES: the mask of the best elements.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mask/masks.h"
#include "mask/verbs.h"
#include "outname.h"
#include "report.h"
#include "textutil.h"

typedef struct select_args {
    common_args common;
    masks_args out;
    opt_number k, bytes, seed, threads;
    opt_real ratio;
    const char *model, *tuned, *scope;
    unsigned source;
    bool reversed;
    opt_list allow, deny, head;
} select_args;

static const char sources[] = "scores random magnitude magnitude-low delta bias";

static const opt_entry options[] = {
    {.name = "k",
     .letter = 'k',
     .kind = OPT_NUMBER,
     .offset = offsetof(select_args, k),
     .arg = "N",
     .min = 1,
     .max = UINT64_MAX,
     .help = "select N weights, the head included"},
    {.name = "ratio",
     .kind = OPT_REAL,
     .offset = offsetof(select_args, ratio),
     .arg = "R",
     .max = 1,
     .help = "select this share of all weights, the head included"},
    {.name = "bytes",
     .kind = OPT_NUMBER,
     .offset = offsetof(select_args, bytes),
     .arg = "N",
     .min = 1,
     .max = UINT64_MAX,
     .help = "select as many as make a patch of about N bytes"},
    {.name = "source",
     .kind = OPT_CHOICE,
     .offset = offsetof(select_args, source),
     .arg = "NAME",
     .words = sources,
     .help = "what ranks weights: SCORES, random numbers, |weight| high or low, |tuned - base|; "
             "bias: as SCORES or |weight|, but biases only"},
    {.name = "model",
     .kind = OPT_TEXT,
     .offset = offsetof(select_args, model),
     .arg = "CHECKPOINT",
     .hint = HINT_FILE,
     .help = "the base, for sources that read weights"},
    {.name = "tuned",
     .kind = OPT_TEXT,
     .offset = offsetof(select_args, tuned),
     .arg = "CHECKPOINT",
     .hint = HINT_FILE,
     .help = "the tuned model of the source delta"},
    {.name = "seed",
     .kind = OPT_NUMBER,
     .offset = offsetof(select_args, seed),
     .arg = "N",
     .max = UINT64_MAX,
     .help = "seed of the source random, 0 without it"},
    {.name = "scope",
     .kind = OPT_TEXT,
     .offset = offsetof(select_args, scope),
     .arg = "SCOPE",
     .help = "rank all weights (global), those of each tensor (tensor), or rows, columns or "
             "blocks[:N] by their mean"},
    {.name = "allow",
     .kind = OPT_LIST,
     .offset = offsetof(select_args, allow),
     .arg = "GLOB",
     .help = "select only in tensors of this name; may be repeated"},
    {.name = "deny",
     .kind = OPT_LIST,
     .offset = offsetof(select_args, deny),
     .arg = "GLOB",
     .help = "select nothing in tensors of this name; may be repeated"},
    {.name = "head",
     .kind = OPT_LIST,
     .offset = offsetof(select_args, head),
     .arg = "GLOB",
     .help = "tensors that are always selected whole; without it those that SCORES names; may be "
             "repeated"},
    {.name = "reversed",
     .kind = OPT_FLAG,
     .offset = offsetof(select_args, reversed),
     .help = "select the worst"},
    OPT_MASKS(select_args, out, "MASK",
              "write to MASK; without it to the stem of SCORES (or of the model) with .mask.fmp"),
    {.name = "threads",
     .kind = OPT_NUMBER,
     .offset = offsetof(select_args, threads),
     .arg = "N",
     .min = 1,
     .max = 256,
     .help = "threads, one for each processor without it; the result is the same"},
    OPT_COMMON,
    {0},
};

/* ---- options ----------------------------------------------------------------------------------
 */

/* The i-th of words with one space between, to free. */
static char *word_at(const char *words, unsigned i)
{
    for (; i; i--)
        words += strcspn(words, " ") + 1;
    return text_format("%.*s", (int)strcspn(words, " "), words);
}

static int parse_scope(const char *text, fish_select_options *o)
{
    static const char *const names[] = {"global", "tensor", "rows", "columns", "blocks"};
    const size_t len = strcspn(text, ":");
    unsigned i = 0;
    uint64_t block = 0;

    while (i < 5 && (strlen(names[i]) != len || memcmp(names[i], text, len)))
        i++;
    if (i == 5 || (text[len] && i != FISH_BLOCKS))
        return report_usage("--scope: one of 'global tensor rows columns blocks blocks:N' is "
                            "expected, found '%s'",
                            text);
    if (text[len] && (!text_number(text + len + 1, &block) || block < 2 || block > 65536))
        return report_usage("--scope: blocks of 2 to 65536 are expected, found '%s'", text);
    o->scope = (fish_scope)i;
    o->block = (uint32_t)block;
    return FMP_OK;
}

static int check_args(const select_args *args, const char *scores, fish_select_options *o)
{
    const int n_given = args->k.given + args->ratio.given + args->bytes.given;
    const bool bias = !strcmp(o->source, "bias");

    if (n_given > 1)
        return report_usage("mask: -k, --ratio and --bytes exclude each other");
    if (!n_given && !bias)
        return report_usage("mask: -k N, --ratio R or --bytes N is expected");
    if (args->ratio.given && !(args->ratio.value > 0))
        return report_usage("--ratio: more than 0 is expected");
    if (!scores && !args->model)
        return report_usage("mask: SCORES or --model is expected");
    if (args->tuned && strcmp(o->source, "delta"))
        return report_usage("--tuned goes with --source delta");
    if (args->seed.given && strcmp(o->source, "random"))
        return report_usage("--seed goes with --source random");
    return args->scope ? parse_scope(args->scope, o) : FMP_OK;
}

/* ---- the manifest -----------------------------------------------------------------------------
 */

static json_t *list_json(const opt_list *list)
{
    json_t *a = json_array();

    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(a, report_json_text(list->items[i]));
    return a;
}

/* What the score file says of itself, but for the head, which the mask has, and what only training
 * needs. */
static json_t *scores_json(const char *path)
{
    char *text = NULL;
    json_t *meta;
    fmp_error err;

    if (!path || fish_tensor_metadata(path, &text, &err))
        return NULL; /* not one file, or not readable as such: no metadata */
    meta = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    fish_free(text);
    json_object_del(meta, FISH_META_HEAD);
    json_object_del(meta, FISH_META_CLASSES);
    json_object_del(meta, FISH_META_FORMAT);
    return meta;
}

static json_t *method_json(const select_args *args, const fish_select_options *o,
                           const fish_mask *m, const char *scores)
{
    static const char *const scopes[] = {"global", "tensor", "rows", "columns", "blocks"};
    json_t *method = json_object();
    json_t *meta = strcmp(o->source, "random") ? scores_json(scores) : NULL;

    report_json_set(method, "name", json_string("mask"));
    report_json_set(method, "source", json_string(o->source));
    report_json_set(method, "scope", json_string(scopes[o->scope]));
    if (o->scope == FISH_BLOCKS)
        report_json_set(method, "block", json_integer(o->block ? o->block : 16));
    report_json_set(method, "k", report_json_number(m->n));
    report_json_set(method, "elements", report_json_number(m->n_elements));
    if (args->ratio.given)
        report_json_set(method, "ratio", masks_decimal(args->ratio.value));
    if (!strcmp(o->source, "random"))
        report_json_set(method, "seed", report_json_number(args->seed.value));
    if (args->reversed)
        report_json_set(method, "reversed", json_true());
    if (args->allow.n)
        report_json_set(method, "allow", list_json(&args->allow));
    if (args->deny.n)
        report_json_set(method, "deny", list_json(&args->deny));
    if (meta && json_object_size(meta))
        report_json_set(method, "scores", meta);
    else
        json_decref(meta);
    return method;
}

/* ---- the work ---------------------------------------------------------------------------------
 */

typedef struct select_work {
    fmp_store *scores, *model, *tuned;
    masks_writer writer;
    fish_mask *mask;
    uint64_t n_ties, n_zeros;
    char *path;
} select_work;

static void release(select_work *w)
{
    fish_mask_free(w->mask);
    fmp_store_close(w->scores);
    fmp_store_close(w->model);
    fmp_store_close(w->tuned);
    masks_writer_close(&w->writer);
    free(w->path);
}

static int open_store(fmp_store **ret, const char *path, const common_args *common)
{
    fmp_error err;

    return path && fmp_store_open(path, NULL, ret, &err) ? report_error(common, &err) : FMP_OK;
}

static int choose_path(select_work *w, const select_args *args, const char *scores)
{
    const char *inputs[] = {scores, args->model, args->tuned};
    char *stem = outname_stem(scores ? scores : args->model);

    w->path = args->out.output ? text_copy(args->out.output) : text_format("%s.mask.fmp", stem);
    free(stem);
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        if (inputs[i] && outname_is_same(w->path, inputs[i]))
            return report_usage("mask: the mask would replace '%s'", inputs[i]);
    }
    return masks_check_free(w->path, &args->out);
}

static int find_mask(select_work *w, const select_args *args, fish_select_options *o,
                     const char *scores)
{
    fmp_error err;

    o->k = args->k.value;
    o->ratio = args->ratio.value;
    o->bytes = args->bytes.value;
    o->reversed = args->reversed;
    o->model = w->model;
    o->tuned = w->tuned;
    o->seed = args->seed.value;
    o->allow = args->allow.items;
    o->n_allow = args->allow.n;
    o->deny = args->deny.items;
    o->n_deny = args->deny.n;
    o->head = args->head.items;
    o->n_head = args->head.n;
    o->n_threads = (unsigned)args->threads.value;
    if (fish_select(w->scores, scores, o, &w->mask, &w->n_ties, &w->n_zeros, &err))
        return report_error(&args->common, &err);
    if (w->n_zeros && !args->reversed && !strcmp(o->source, "scores"))
        report_warning("%" PRIu64 " of the selected weights have the score 0: more samples would "
                       "tell them apart",
                       w->n_zeros);
    return FMP_OK;
}

static void print_result(const select_work *w, const select_args *args)
{
    report_json j;

    if (!args->common.json) {
        masks_report(&args->common, w->mask, w->path);
        return;
    }
    report_json_begin(&j, "mask");
    masks_report_json(&j, w->mask, w->path);
    report_json_member(&j, "ties", report_json_number(w->n_ties));
    report_json_member(&j, "zeros", report_json_number(w->n_zeros));
    report_json_end(&j);
}

static int make_mask(const select_args *args, const char *scores)
{
    char *source = word_at(sources, args->source);
    fish_select_options o = {.size = sizeof o, .source = source};
    select_work w = {0};
    int status = check_args(args, scores, &o);

    if (!status)
        status = choose_path(&w, args, scores);
    if (!status)
        status = open_store(&w.scores, scores, &args->common);
    if (!status)
        status = open_store(&w.model, args->model, &args->common);
    if (!status)
        status = open_store(&w.tuned, args->tuned, &args->common);
    if (!status)
        status = masks_writer_open(&w.writer, &args->out, &args->common);
    if (!status)
        status = find_mask(&w, args, &o, scores);
    if (!status)
        status = masks_write(&w.writer, w.mask, w.path, method_json(args, &o, w.mask, scores));
    if (!status)
        print_result(&w, args);
    release(&w);
    free(source);
    return status;
}

static int run(const command *self, int argc, char **argv)
{
    select_args args = {0};
    char **operands;
    size_t n;
    int status = FMP_OK;
    const opt_outcome outcome = opts_parse(self, argc, argv, &args, &operands, &n);

    if (outcome == OPTS_RUN)
        status = make_mask(&args, operands[0]);
    else if (outcome == OPTS_BAD)
        status = fmp_exit_status(FMP_EUSAGE);
    opts_release(self, &args);
    return status;
}

const command cmd_select = {
    .name = "mask",
    .operands = "[SCORES]",
    .summary = "make a mask of the weights with the highest scores",
    .notes = "SCORES is what 'fmpatch fish fisher' writes, or any safetensors file with a "
             "non-negative number for each weight.  The head and the best of the rest are exactly "
             "k weights: k is -k, or int(all weights x ratio).  Equal scores go by name, then by "
             "place.\n \n"
             "Verbs: 'fmpatch mask union|intersect|subtract|xor A B -o C', 'fmpatch mask jaccard "
             "A B', 'fmpatch mask split MASK SCORES -n N', 'fmpatch mask show MASK'; "
             "'fmpatch mask help' lists them.  A file of such a name is ./union.",
    .options = options,
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
