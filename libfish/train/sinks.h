/*
 * The sinks of training: gather the gradient of selected elements from a backward pass.  Groups of
 * a step may run side by side; what each adds passes a gate a parameter in the order of groups, so
 * that the sum has the same bits for any number of threads.
 */
#ifndef FISH_SINKS_H
#define FISH_SINKS_H

#include "core/par.h"
#include "model/model.h"
#include "train/masking.h"

/* What the groups of one step share. */
typedef struct fish_gather {
    const fish_model *m;
    const fish_selection *s;
    float *g;              /* [s->n] to be zeroed before a step */
    fish_turnstile *gates; /* one a parameter; to be reset before a step */
    bool dense;            /* whole gradients by GEMM, then gathered; else by density */
} fish_gather;

/* One worker's: a sink, and memory that grows to the largest parameter seen. */
typedef struct fish_gather_sink {
    fish_sink sink; /* first, so that the one is the other */
    const fish_gather *shared;
    uint64_t item;
    float *scratch;
    size_t cap; /* in floats */
} fish_gather_sink;

void fish_gather_sink_init(fish_gather_sink *s, const fish_gather *shared);
void fish_gather_sink_release(fish_gather_sink *s);

/*
 * GEMM and gathering is faster than a dot product for each element from a selected share of about
 * 16 % on where there are many rows; with few, where GEMM has little to do for each element, from
 * less: FISH_DENSE_SHARE * rows / (rows + FISH_DENSE_ROWS).  Measured on AVX-512 for 4 .. 3136
 * rows.
 */
#define FISH_DENSE_SHARE 0.16
#define FISH_DENSE_ROWS  50

#endif
