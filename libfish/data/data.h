/*
 * Labelled examples: texts from CSV, TSV or JSONL, images from IDX or npy.  Opening reads a file
 * once and keeps a small record an example (place, label, length); the content is read again by
 * pread when an example is asked for, so memory does not grow with the texts.
 */
#ifndef FISH_DATA_H
#define FISH_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "data/tokenizer.h"
#include "fmpatch.h"

typedef struct fish_data fish_data;

typedef struct fish_data_options {
    const char *format; /* "csv" "tsv" "jsonl" "idx" "npy"; NULL: by the name's suffix */
    const char *text;   /* column or key of the text; NULL: text, sentence, sentence1, content,
                           body: the first that is there, else column 0 of a file of two */
    const char *text2; /* second text of a pair; NULL: sentence2 if text was sentence1, else none */
    const char *label; /* NULL: label, class, category, target, score, else column 1 of two */
    bool no_header;    /* CSV, TSV: the first line is data; columns are then "0", "1", ... */
    const char *labels_path;    /* IDX, npy: the file of labels; NULL: found beside, "images" ->
                                   "labels",    "idx3" -> "idx1" in its name */
    bool regression;            /* labels are numbers */
    const char *const *classes; /* the class names and their order, n_classes of them; a label that
                                   is none of them is FMP_EUSAGE.  NULL: those that occur, sorted as
                                   numbers if all are integers, else as bytes.  For images,
                                   names of which none is an integer stand for 0, 1, ... */
    uint32_t n_classes;
    const fish_tokenizer *tokenizer; /* needed for texts; borrowed until fish_data_free() */
    uint32_t max_tokens;             /* default 128 */
    bool no_labels;                  /* for prediction: labels may be missing; all are then 0 */
    double mean, std;                /* of pixels as x / 255 (float32: as x); std 0: 0.5, 0.5 */
} fish_data_options;

typedef enum fish_data_kind { FISH_TEXT = 0, FISH_IMAGE = 1 } fish_data_kind;

/* FMP_EIO, FMP_ECORRUPT (file, line or record, expected, found), FMP_EUSAGE (no such column), ...
 */
FMP_NODISCARD fmp_status fish_data_open(const char *path, const fish_data_options *options,
                                        fish_data **ret, fmp_error *err);
void fish_data_free(fish_data *d); /* takes NULL */

fish_data_kind fish_data_kind_of(const fish_data *d);
uint32_t fish_data_count(const fish_data *d);
uint32_t fish_data_n_classes(const fish_data *d);            /* 1 for regression */
const char *fish_data_class(const fish_data *d, uint32_t c); /* borrowed */
int32_t fish_data_label(const fish_data *d, uint32_t example);
float fish_data_value(const fish_data *d, uint32_t example);     /* regression */
uint32_t fish_data_length(const fish_data *d, uint32_t example); /* tokens; 1 for images */
void fish_data_image_shape(const fish_data *d, uint32_t chw[3]);
/* "<name of the file>:blake2b:<64 hex digits>" of all bytes read, labels file included; borrowed.
 */
const char *fish_data_digest(const fish_data *d);

/* The ids of a text: room for max_tokens each.  Thread-safe. */
FMP_NODISCARD fmp_status fish_data_tokens(const fish_data *d, uint32_t example, int32_t *ids,
                                          int32_t *types, uint32_t *ret_n, fmp_error *err);
/* The pixels of an image, (C, H, W), as (x / 255 - mean) / std; float32 is not divided by 255, and
 * FMP_ECORRUPT where it is not finite.  Thread-safe. */
FMP_NODISCARD fmp_status fish_data_pixels(const fish_data *d, uint32_t example, float *pixels,
                                          fmp_error *err);

/* ---- batches --- */

/*
 * A few examples laid out for a model.  Texts are packed: the rows (tokens) of example e are
 * start[e] .. start[e + 1] - 1; there is no padding.
 */
typedef struct fish_batch {
    uint32_t n;              /* examples */
    const uint32_t *example; /* [n] their numbers in the data */
    const int32_t *label;    /* [n] */
    const float *value;      /* [n] regression */
    const uint32_t *start;   /* [n + 1] rows; for images start[e] = e */
    const int32_t *ids;      /* [start[n]] texts */
    const int32_t *types;    /* [start[n]] */
    const float *pixels;     /* [n][C * H * W] images */
} fish_batch;

/* Memory of a batch, reused from fill to fill. */
typedef struct fish_batch_buf fish_batch_buf;

fish_batch_buf *fish_batch_buf_new(void); /* NULL: out of memory */
void fish_batch_buf_free(fish_batch_buf *b);
/* Reads those examples.  The batch is valid until the next fill. */
FMP_NODISCARD fmp_status fish_batch_fill(fish_batch_buf *buf, const fish_data *d,
                                         const uint32_t *examples, uint32_t n, fish_batch *ret,
                                         fmp_error *err);

/*
 * The order of an epoch: all n examples in `subset` (NULL: 0 .. n - 1) shuffled by (seed, epoch);
 * with texts, each window of 32 batches is then sorted by length and its batches shuffled, so that
 * examples of like length meet.  A pure function of its arguments.
 */
FMP_NODISCARD fmp_status fish_epoch_order(const fish_data *d, const uint32_t *subset, uint32_t n,
                                          uint64_t seed, uint32_t epoch, uint32_t batch_size,
                                          uint32_t *order, fmp_error *err);

#endif
