/*
 * What every verb of fmpatch fish opens: a checkpoint as a model, patches laid over it, a
 * tokenizer, labelled data, threads.
 */
#ifndef TOOLS_FISH_SESSION_H
#define TOOLS_FISH_SESSION_H

#include <jansson.h>

#include "fish.h"
#include "fmpatch.h"
#include "inputs.h"
#include "opts.h"
#include "trust.h"

typedef struct session_args {
    const char *config, *tokenizer, *pooling;
    const char *format, *text, *text2, *label, *labels;
    bool no_header, regression;
    opt_number max_tokens, threads, seed;
    opt_real mean, std;
} session_args;

#define OPT_SESSION(type, field)                                                                   \
    {.name = "config",                                                                             \
     .kind = OPT_TEXT,                                                                             \
     .offset = offsetof(type, field.config),                                                       \
     .arg = "FILE",                                                                                \
     .hint = HINT_FILE,                                                                            \
     .help = "the model's config.json; without it the one beside BASE"},                           \
        {.name = "tokenizer",                                                                      \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.tokenizer),                                                \
         .arg = "DIR",                                                                             \
         .hint = HINT_DIR,                                                                         \
         .help = "where tokenizer.json or vocab.txt is; without it beside BASE"},                  \
        {.name = "pooling",                                                                        \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.pooling),                                                  \
         .arg = "KIND",                                                                            \
         .help = "what the head of a text model takes: cls, the pooler on the first token, or "    \
                 "mean, the mean of all; without it as PATCH or config.json says, else cls"},      \
        {.name = "format",                                                                         \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.format),                                                   \
         .arg = "NAME",                                                                            \
         .help = "csv, tsv, jsonl, idx or npy; without it by DATA's suffix"},                      \
        {.name = "text",                                                                           \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.text),                                                     \
         .arg = "COLUMN",                                                                          \
         .help = "column or key of the text (text, sentence, content, ...)"},                      \
        {.name = "text2",                                                                          \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.text2),                                                    \
         .arg = "COLUMN",                                                                          \
         .help = "column or key of the second text of a pair"},                                    \
        {.name = "label",                                                                          \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.label),                                                    \
         .arg = "COLUMN",                                                                          \
         .help = "column or key of the label (label, class, score, ...)"},                         \
        {.name = "labels",                                                                         \
         .kind = OPT_TEXT,                                                                         \
         .offset = offsetof(type, field.labels),                                                   \
         .arg = "FILE",                                                                            \
         .hint = HINT_FILE,                                                                        \
         .help = "labels of images; without it the file beside them"},                             \
        {.name = "no-header",                                                                      \
         .kind = OPT_FLAG,                                                                         \
         .offset = offsetof(type, field.no_header),                                                \
         .help = "the first line is data; columns are 0, 1, ..."},                                 \
        {.name = "regression",                                                                     \
         .kind = OPT_FLAG,                                                                         \
         .offset = offsetof(type, field.regression),                                               \
         .help = "labels are numbers"},                                                            \
        {.name = "max-tokens",                                                                     \
         .kind = OPT_NUMBER,                                                                       \
         .offset = offsetof(type, field.max_tokens),                                               \
         .arg = "N",                                                                               \
         .min = 4,                                                                                 \
         .max = 4096,                                                                              \
         .help = "tokens of a text; without it as PATCH says, else 128"},                          \
        {.name = "mean",                                                                           \
         .kind = OPT_REAL,                                                                         \
         .offset = offsetof(type, field.mean),                                                     \
         .arg = "X",                                                                               \
         .max = 1,                                                                                 \
         .help = "mean of pixels (0 to 1); without it as PATCH says, else 0.5"},                   \
        {.name = "std",                                                                            \
         .kind = OPT_REAL,                                                                         \
         .offset = offsetof(type, field.std),                                                      \
         .arg = "X",                                                                               \
         .max = 1000,                                                                              \
         .help = "standard deviation of pixels; without it as PATCH says, else 0.5"},              \
        {.name = "seed",                                                                           \
         .kind = OPT_NUMBER,                                                                       \
         .offset = offsetof(type, field.seed),                                                     \
         .arg = "N",                                                                               \
         .max = UINT64_MAX,                                                                        \
         .help = "seed of everything random, 0 without it"},                                       \
    {                                                                                              \
        .name = "threads", .kind = OPT_NUMBER, .offset = offsetof(type, field.threads),            \
        .arg = "N", .min = 1, .max = 256,                                                          \
        .help = "threads, one for each processor without it; the result is the same"               \
    }

typedef struct session {
    const common_args *common;
    const session_args *args;
    fmp_store *base;
    trust trust;
    input_patch *patches;
    size_t n_patches;
    const fmp_patch **opened; /* [n_patches] */
    char **classes;           /* of the patches' manifest, or none */
    uint32_t n_classes;
    bool regression;
    char *pooling; /* what the patches say; or NULL */
    /* Likewise, or what there is without options (max_tokens 0: the library's). */
    uint32_t max_tokens;
    double mean, std;
    fish_tokenizer *tokenizer;
    fish_data *data;
    fish_model *model;
    fish_pool *pool;
    const char *base_path;
} session;

/* Each returns an exit status, after a message when it is not 0. */
int session_begin(session *s, const common_args *common, const session_args *args,
                  const char *base_path);
/* Opens the patches, checks whom to trust, reads classes and kind of task from the last manifest
 * that has them, and checks that the patches fit the base and each other. */
int session_open_patches(session *s, const trust_args *trust, char **paths, size_t n);
/* Opens another file of the same kind of data; classes NULL: as they occur, or as the patches have
 * them. */
int session_open_data(session *s, const char *path, const fish_data *like, bool no_labels,
                      fish_data **ret);
/* The model, with n_outputs outputs (0: the base's own), and the patches laid over it; checks that
 * it takes s->data. */
int session_open_model(session *s, uint32_t n_outputs);
void session_end(session *s);

/* Says whether `path` may be written: it must not be "-", nor be there without `force`, nor ever be
 * one of the inputs, of which some may be NULL. */
int session_check_output(const char *path, bool force, const char *const *inputs, size_t n);

/* "12.5" as a JSON string: manifests have no decimals. */
json_t *session_decimal(double x);
/* The same with all digits. */
json_t *session_exact(double x);
json_t *session_metrics(const fish_metrics *m, bool regression);
/* The same for --json, as numbers. */
json_t *session_metrics_numbers(const fish_metrics *m, bool regression);

#endif
