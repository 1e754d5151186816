/*
 * What a report says of a patch's tensors, from one run of fmp_measure().
 */
#ifndef TOOLS_SURVEY_H
#define TOOLS_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"

/* Of one tensor, or the sum of several. */
typedef struct survey_sum {
    uint64_t n_elements, n_changed;
    uint64_t n_up, n_down, max_residual;
    uint64_t n_odd; /* new NaN and new infinite */
    double change_squares, base_squares, change_max;
} survey_sum;

typedef struct survey_tensor {
    uint32_t tensor; /* for fmp_patch_tensor_at() */
    int32_t layer, expert;
    fmp_role role;
    survey_sum sum;
} survey_tensor;

/* The dtypes that come first; the last one stands for all others when there are more. */
#define SURVEY_DTYPES 6

typedef struct survey_dtype {
    const char *name; /* borrowed from the patch */
    uint64_t residuals[FMP_MEASURE_BITS];
    uint64_t changes[FMP_MEASURE_EXPONENTS];
} survey_dtype;

typedef struct survey {
    survey_tensor *tensors; /* in byte order of names */
    size_t n;
    survey_dtype dtypes[SURVEY_DTYPES];
    size_t n_dtypes;
    survey_sum total;
    uint64_t n_new;    /* elements that the base lacks */
    uint64_t n_opaque; /* changed, but how far is not known */
    uint64_t n_new_nan, n_new_inf, n_sign_flips;
    bool has_base;
} survey;

fmp_status survey_take(survey *ret, const fmp_patch *patch, const fmp_store *base,
                       unsigned n_threads, fmp_progress progress, fmp_error *err);
void survey_release(survey *s);

void survey_add(survey_sum *to, const survey_sum *from);

#endif
