/*
 * What the fuzz targets of data sets share: a tokenizer of a few pieces, and the reading of all
 * that an opened data set claims to have.
 */
#ifndef FISH_TESTS_FUZZ_DATA_H
#define FISH_TESTS_FUZZ_DATA_H

#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "fuzz_file.h"

#define FUZZ_MAX_TOKENS 16

static inline void fuzz_must(bool right)
{
    if (!right)
        abort();
}

static inline void fuzz_read_text(const fish_data *d, uint32_t example)
{
    int32_t *ids = malloc(FUZZ_MAX_TOKENS * sizeof *ids);
    int32_t *types = malloc(FUZZ_MAX_TOKENS * sizeof *types);
    uint32_t n = 0;

    fuzz_must(ids && types && !fish_data_tokens(d, example, ids, types, &n, NULL));
    fuzz_must(n == fish_data_length(d, example) && n >= 2 && n <= FUZZ_MAX_TOKENS);
    free(ids);
    free(types);
}

/* A float that is not finite is found only now. */
static inline void fuzz_read_image(const fish_data *d, uint32_t example)
{
    uint32_t chw[3];
    float *pixels;
    fmp_status st;

    fish_data_image_shape(d, chw);
    pixels = malloc((size_t)chw[0] * chw[1] * chw[2] * sizeof *pixels);
    fuzz_must(pixels);
    st = fish_data_pixels(d, example, pixels, NULL);
    fuzz_must(st == FMP_OK || st == FMP_ECORRUPT);
    free(pixels);
}

/* Takes what fish_data_open() made of any bytes: labels name classes, examples can be read. */
static inline void fuzz_read_all(fish_data *d, bool no_labels)
{
    fuzz_must(fish_data_count(d) >= 1);
    for (uint32_t i = 0; i < fish_data_count(d); i++) {
        const int32_t label = fish_data_label(d, i);

        fuzz_must(label >= 0 && (no_labels || (uint32_t)label < fish_data_n_classes(d)));
        if (fish_data_kind_of(d) == FISH_TEXT)
            fuzz_read_text(d, i);
        else
            fuzz_read_image(d, i);
    }
    fish_data_free(d);
}

/*
 * An array file and its labels: two bytes say how long the first is.  Bit 15 of them leaves the
 * labels out, bit 14 makes them numbers.
 */
static inline void fuzz_images(const char *format, const uint8_t *data, size_t len)
{
    fish_data_options o = {.format = format};
    char labels[160];
    fish_data *d;
    size_t n;

    if (len < 2)
        return;
    n = (size_t)data[0] | (size_t)(data[1] & 0x3f) << 8;
    n = n < len - 2 ? n : len - 2;
    fuzz_file_write("input.data", data + 2, n);
    fuzz_file_write("labels.data", data + 2 + n, len - 2 - n);
    o.no_labels = data[1] & 0x80;
    o.regression = data[1] & 0x40;
    (void)snprintf(labels, sizeof labels, "%s", fuzz_file_path("labels.data"));
    o.labels_path = labels;
    if (!fish_data_open(fuzz_file_path("input.data"), &o, &d, NULL))
        fuzz_read_all(d, o.no_labels);
}

#endif
