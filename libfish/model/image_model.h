/*
 * What the models for images share: the shape of the images in config.json, the prefix of names in
 * a checkpoint, and linear layers as torch.nn.Linear has them.
 */
#ifndef FISH_IMAGE_MODEL_H
#define FISH_IMAGE_MODEL_H

#include "model/params.h"

#define FISH_PREFIX_MAX 256

/*
 * "in_channels" (default 1) and "image_size", a number or [height, width], of config.json.  Without
 * image_size *ret_given is false and height and width are 0.
 */
FMP_NODISCARD fmp_status fish_image_shape(const json_t *config, uint32_t chw[3], bool *ret_given,
                                          fmp_error *err);

/*
 * Whether images of shape `chw` in the file `what` fit the model: FMP_EUSAGE names both channel
 * counts or both sizes.
 */
FMP_NODISCARD fmp_status fish_image_check(const fish_model *m, const char *what,
                                          const uint32_t chw[3], fmp_error *err);

/*
 * The shortest prefix such that `base` holds prefix + name ("module." + "0.weight"); "" when it
 * holds none, so that the first parameter looked for is the one reported missing.
 */
void fish_image_prefix(const fmp_store *base, const char *name, char ret[FISH_PREFIX_MAX]);

typedef struct fish_linear {
    uint32_t weight; /* numbers of the parameters */
    uint32_t bias;
    uint32_t in;
    uint32_t out;
} fish_linear;

/*
 * `layer`.weight [out][in] and `layer`.bias [out]; new ones are uniform on +-1 / sqrt(in), as
 * nn.Linear makes them (He et al. 2015, equation 15, with a slope of sqrt(5)).
 */
FMP_NODISCARD fmp_status fish_linear_add(fish_param_loader *l, const char *layer, fish_role role,
                                         uint32_t in, uint32_t out, fish_linear *ret,
                                         fmp_error *err);

/*
 * The head, a linear layer named `layer` or as options->head says, with options->n_outputs outputs,
 * or as many as the base's head has, or else `n_labels`.  FMP_EUSAGE when the base has a head of
 * another number of outputs.  Sets n_outputs of the model.
 */
FMP_NODISCARD fmp_status fish_head_add(fish_param_loader *l, const char *layer,
                                       const fish_model_options *options, uint32_t in,
                                       uint32_t n_labels, fish_linear *ret, fmp_error *err);

/* y [n][out] = x [n][in] W^T + b, one row an example. */
void fish_linear_forward(const fish_model *m, const fish_linear *layer, const float *x, uint32_t n,
                         float *y);
/* Hands dy to the sink (start: n + 1 numbers counting from 0); dx [n][in] = dy W unless NULL. */
FMP_NODISCARD fmp_status fish_linear_backward(const fish_model *m, const fish_linear *layer,
                                              const float *dy, const float *x,
                                              const uint32_t *start, uint32_t n, float *dx,
                                              fish_sink *sink, fmp_error *err);

#endif
