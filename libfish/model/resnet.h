/*
 * A residual network in parts: what resnet_open.c reads out of config.json and resnet.c computes.
 */
#ifndef FISH_RESNET_H
#define FISH_RESNET_H

#include "model/conv.h"
#include "model/image_model.h"

/* A convolution without bias and the batch norm behind it; numbers of parameters. */
typedef struct fish_unit {
    fish_conv conv;
    uint32_t weight;
    uint32_t norm_weight, norm_bias, norm_mean, norm_var;
} fish_unit;

typedef struct fish_block {
    uint32_t first; /* unit; the others of the block follow it */
    uint32_t n;     /* units in the row: 2 basic, 3 bottleneck */
    bool down;      /* unit first + n lies on the shortcut */
} fish_block;

typedef struct fish_resnet {
    fish_unit *units; /* the stem first */
    uint32_t n_units;
    fish_block *blocks;
    uint32_t n_blocks;
    bool pool; /* max pooling behind the stem, as `pooling` says */
    fish_conv pooling;
    fish_linear head;
    double eps;
} fish_resnet;

void fish_resnet_free(void *config); /* takes NULL */

extern const fish_driver fish_resnet_driver;

#endif
