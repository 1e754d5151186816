/*
 * What every model file needs to describe its parameters: find tensors in the store with or without
 * a prefix, widen them to float, or make new ones from the seed.
 */
#ifndef FISH_PARAMS_H
#define FISH_PARAMS_H

#include <jansson.h>

#include "model/model.h"

typedef struct fish_param_loader {
    const fmp_store *base; /* NULL: every parameter is new */
    const char *path;
    const char
        *prefix; /* such as "bert.", found by the model file; "" when the checkpoint has none */
    uint64_t seed;
    fish_model *model; /* gets the parameters */
} fish_param_loader;

/*
 * Adds the next parameter to the model: `name` without prefix.  In the base it must have just this
 * shape and a floating dtype (FMP_ECORRUPT names tensor, expected and found).  Where it is not: a
 * missing body parameter is FMP_ECORRUPT; a head is made: normal with standard deviation `std`, or
 * uniform between std and -std when std is negative, or all `fill` when std is 0.  *ret is its
 * number.
 */
FMP_NODISCARD fmp_status fish_param_add(fish_param_loader *l, const char *name, fish_role role,
                                        uint32_t rank, const uint64_t *shape, double std,
                                        double fill, uint32_t *ret, fmp_error *err);

/* Numbers and strings of config.json, with a default; out of lo .. hi is FMP_ECORRUPT naming it. */
FMP_NODISCARD fmp_status fish_config_int(const json_t *config, const char *key, int64_t lo,
                                         int64_t hi, int64_t missing, int64_t *ret, fmp_error *err);
FMP_NODISCARD fmp_status fish_config_real(const json_t *config, const char *key, double lo,
                                          double hi, double missing, double *ret, fmp_error *err);

/* One open function a model file; the table of them is in model.c. */
fmp_status fish_bert_open(fish_param_loader *l, const json_t *config,
                          const fish_model_options *options, fmp_error *err);
fmp_status fish_resnet_open(fish_param_loader *l, const json_t *config,
                            const fish_model_options *options, fmp_error *err);
fmp_status fish_mlp_open(fish_param_loader *l, const json_t *config,
                         const fish_model_options *options, fmp_error *err);

/* A model of `config` with every parameter new: what training from scratch starts from.  Written by
 * fish_model_save(). */
FMP_NODISCARD fmp_status fish_model_new(const json_t *config, uint64_t seed, fish_model **ret,
                                        fmp_error *err);
/* A safetensors file of all parameters, and config.json beside it, in directory `dir` (made when
 * missing). */
FMP_NODISCARD fmp_status fish_model_save(const fish_model *m, const json_t *config, const char *dir,
                                         bool replace, fmp_error *err);

/* bf16 and fp16 <-> float: widening is exact, narrowing rounds to nearest, ties to even. */
void fish_widen(const char *dtype, const void *from, float *to, size_t n);
void fish_narrow(const char *dtype, const float *from, void *to, size_t n);
size_t fish_dtype_size(const char *dtype); /* 0: not a dtype that models take */

#endif
