/*
 * fish_data: options, choice of the format, and what can be asked of examples of any kind.
 */
#include "data/data.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "data/data_parts.h"

#define DIGEST_LEN          32
#define MAX_TOKENS_DEFAULT  128u
#define MAX_TOKENS_MOST     65536u
#define DEFAULT_MEAN_OR_STD 0.5

typedef struct file_format {
    const char *name;
    fish_data_kind kind;
    int number; /* a fish_text_format or a fish_array_format */
} file_format;

static const file_format formats[] = {
    {"csv", FISH_TEXT, FISH_CSV},  {"tsv", FISH_TEXT, FISH_TSV},  {"jsonl", FISH_TEXT, FISH_JSONL},
    {"idx", FISH_IMAGE, FISH_IDX}, {"npy", FISH_IMAGE, FISH_NPY},
};

static bool ends_with(const char *s, const char *end)
{
    const size_t len = strlen(s);
    const size_t end_len = strlen(end);

    return len >= end_len && !strcmp(s + len - end_len, end);
}

/* IDX files have no suffix of their own: "train-images-idx3-ubyte.gz" is their usual name. */
static const char *format_of_name(const char *name)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const size_t dot = strlen(name) - strlen(formats[i].name) - 1;

        if (strlen(name) > strlen(formats[i].name) && name[dot] == '.' &&
            ends_with(name, formats[i].name))
            return formats[i].name;
    }
    if (strstr(name, "-ubyte") || strstr(name, ".idx"))
        return "idx";
    return ends_with(name, ".ndjson") ? "jsonl" : NULL;
}

static fmp_status choose_format(const char *path, const char *wanted, file_format *ret,
                                fmp_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = wanted ? wanted : format_of_name(slash ? slash + 1 : path);

    for (size_t i = 0; name && i < sizeof formats / sizeof *formats; i++) {
        if (!strcmp(formats[i].name, name)) {
            *ret = formats[i];
            return FMP_OK;
        }
    }
    if (wanted)
        return fish_fail(err, FMP_EUSAGE,
                         "data format: expected csv, tsv, jsonl, idx or npy, found %s", wanted);
    return fish_fail(err, FMP_EUSAGE,
                     "%s: its name does not tell the format (csv, tsv, jsonl, idx or npy)", path);
}

static fmp_status check_options(fish_data *d, const fish_data_options *o, fmp_error *err)
{
    d->regression = o->regression;
    d->no_labels = o->no_labels;
    d->tokenizer = o->tokenizer;
    d->max_tokens = o->max_tokens ? o->max_tokens : MAX_TOKENS_DEFAULT;
    d->mean = o->std != 0 ? o->mean : DEFAULT_MEAN_OR_STD;
    d->std = o->std != 0 ? o->std : DEFAULT_MEAN_OR_STD;
    if (d->max_tokens > MAX_TOKENS_MOST)
        return fish_fail(err, FMP_EUSAGE, "%u tokens a text, limit %u", d->max_tokens,
                         MAX_TOKENS_MOST);
    if (!isfinite(d->mean) || !isfinite(d->std) || d->std < 0)
        return fish_fail(err, FMP_EUSAGE,
                         "pixels: expected a finite mean and a positive std, found %g and %g",
                         d->mean, d->std);
    if (d->kind == FISH_TEXT && !o->tokenizer)
        return fish_fail(err, FMP_EUSAGE, "%s: texts need a tokenizer", d->file.path);
    if (o->regression || !o->classes || !o->n_classes)
        return FMP_OK;
    return fish_classes_fix(&d->classes, o->classes, o->n_classes, err);
}

/* "<name of the file>:blake2b:<64 hex digits>" */
static fmp_status write_digest(fish_data *d, crypto_generichash_state *state, fmp_error *err)
{
    static const char scheme[] = ":blake2b:";
    const size_t before = strlen(d->file.name) + strlen(scheme);
    unsigned char digest[DIGEST_LEN];

    d->digest = fish_alloc(before + 2 * DIGEST_LEN + 1, 1);
    if (!d->digest)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", d->file.path);
    crypto_generichash_final(state, digest, sizeof digest);
    (void)snprintf(d->digest, before + 1, "%s%s", d->file.name, scheme);
    (void)sodium_bin2hex(d->digest + before, 2 * DIGEST_LEN + 1, digest, sizeof digest);
    return FMP_OK;
}

static fmp_status read_file(fish_data *d, const file_format *format, const fish_data_options *o,
                            fmp_error *err)
{
    crypto_generichash_state state;
    fmp_status st = check_options(d, o, err);

    if (st)
        return st;
    crypto_generichash_init(&state, NULL, 0, DIGEST_LEN);
    st = d->kind == FISH_TEXT
             ? fish_texts_read(d, (fish_text_format)format->number, o, &state, err)
             : fish_images_read(d, (fish_array_format)format->number, o, &state, err);
    if (!st && !d->regression)
        st = fish_classes_finish(&d->classes, d->labels, d->no_labels ? 0 : d->n, err);
    if (!st)
        st = write_digest(d, &state, err);
    return st;
}

fmp_status fish_data_open(const char *path, const fish_data_options *options, fish_data **ret,
                          fmp_error *err)
{
    static const fish_data_options defaults;
    const fish_data_options *o = options ? options : &defaults;
    fish_data *d = fish_calloc(1, sizeof *d);
    file_format format;
    fmp_status st;

    if (!d)
        return fish_fail(err, FMP_ENOMEM, "%s: out of memory", path);
    if (sodium_init() < 0) {
        st = fish_fail(err, FMP_ENOTSUP, "libsodium does not start");
        goto fail;
    }
    st = choose_format(path, o->format, &format, err);
    if (!st)
        st = fish_datafile_open(path, format.kind == FISH_IMAGE && format.number == FISH_IDX,
                                &d->file, err);
    if (st)
        goto fail;
    d->kind = format.kind;
    st = read_file(d, &format, o, err);
    if (st)
        goto fail;
    *ret = d;
    return FMP_OK;

fail:
    fish_data_free(d);
    return st;
}

void fish_data_free(fish_data *d)
{
    if (!d)
        return;
    fish_datafile_release(&d->file);
    fish_classes_release(&d->classes);
    fish_columns_release(&d->columns);
    fish_free(d->digest);
    fish_free(d->labels);
    fish_free(d->values);
    fish_free(d->lengths);
    fish_free(d->places);
    fish_free(d);
}

fish_data_kind fish_data_kind_of(const fish_data *d)
{
    return d->kind;
}

uint32_t fish_data_count(const fish_data *d)
{
    return d->n;
}

uint32_t fish_data_n_classes(const fish_data *d)
{
    return d->regression ? 1 : d->classes.n;
}

const char *fish_data_class(const fish_data *d, uint32_t c)
{
    assert(c < d->classes.n);
    return d->classes.names[c];
}

int32_t fish_data_label(const fish_data *d, uint32_t example)
{
    assert(example < d->n);
    return d->labels ? d->labels[example] : 0;
}

float fish_data_value(const fish_data *d, uint32_t example)
{
    assert(example < d->n);
    return d->values ? d->values[example] : 0;
}

uint32_t fish_data_length(const fish_data *d, uint32_t example)
{
    assert(example < d->n);
    return d->lengths ? d->lengths[example] : 1;
}

void fish_data_image_shape(const fish_data *d, uint32_t chw[3])
{
    memcpy(chw, d->chw, sizeof d->chw);
}

const char *fish_data_digest(const fish_data *d)
{
    return d->digest;
}
