/*
 * The inside of fish_data, shared by the files that fill it; nobody outside data/ includes this.
 */
#ifndef FISH_DATA_PARTS_H
#define FISH_DATA_PARTS_H

#include "data/array_file.h"
#include "data/classes.h"
#include "data/columns.h"
#include "data/data.h"

#define FISH_EXAMPLES_MAX ((uint32_t)INT32_MAX)

/* Where the record of a text lies. */
typedef struct fish_place {
    uint64_t off;
    uint32_t len;
    uint32_t line; /* UINT32_MAX for that and all beyond */
} fish_place;

struct fish_data {
    fish_data_kind kind;
    fish_datafile file;
    char *digest;
    uint32_t n;
    uint32_t cap; /* of the arrays below, while they grow */
    bool regression;
    bool no_labels;
    fish_classes classes;
    bool by_position;   /* images: labels are positions in `classes` */
    int32_t *labels;    /* [n], or NULL */
    float *values;      /* [n], or NULL: with regression */
    uint32_t *lengths;  /* [n] texts */
    fish_place *places; /* [n] texts */
    fish_columns columns;
    const fish_tokenizer *tokenizer;
    uint32_t max_tokens;
    fish_array images; /* uint8 or float32, (n, C, H, W) */
    uint32_t chw[3];
    float scaled[256]; /* of each byte: (x / 255 - mean) / std */
    double mean;
    double std;
};

/* Fill d, whose file is open and whose options are checked; feed all bytes to the digest. */
FMP_NODISCARD fmp_status fish_texts_read(fish_data *d, fish_text_format format,
                                         const fish_data_options *options,
                                         crypto_generichash_state *digest, fmp_error *err);
FMP_NODISCARD fmp_status fish_images_read(fish_data *d, fish_array_format format,
                                          const fish_data_options *options,
                                          crypto_generichash_state *digest, fmp_error *err);

#endif
