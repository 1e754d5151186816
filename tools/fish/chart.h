/*
 * Pictures of a training run as self-contained SVG: the curve, and where in the model the selected
 * weights lie.
 */
#ifndef TOOLS_FISH_CHART_H
#define TOOLS_FISH_CHART_H

#include <stddef.h>

#include "fish.h"

typedef struct chart_point {
    double step, loss;
    double metric; /* of an evaluation; NaN elsewhere */
} chart_point;

/* Returns false, with errno set, when the file cannot be written. */
bool chart_curve(const char *path, const char *title, const chart_point *points, size_t n,
                 const char *metric);
/* Layers down, roles of tensors across; the colour is the share selected, on a log scale. */
bool chart_heat(const char *path, const char *title, const fish_mask *mask);

#endif
