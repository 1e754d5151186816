/*
 * The shared parts of the models for images.  See image_model.h.
 */
#include "model/image_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/fail.h"
#include "model/gemm.h"

#define SIDE_MAX     16384
#define CHANNELS_MAX 4096

fmp_status fish_image_shape(const json_t *config, uint32_t chw[3], bool *ret_given, fmp_error *err)
{
    const json_t *size = json_object_get(config, "image_size");
    json_int_t sides[2];
    int64_t channels;
    fmp_status st = fish_config_int(config, "in_channels", 1, CHANNELS_MAX, 1, &channels, err);

    if (st)
        return st;
    if (json_is_array(size) && json_array_size(size) == 2 &&
        json_is_integer(json_array_get(size, 0)) && json_is_integer(json_array_get(size, 1))) {
        sides[0] = json_integer_value(json_array_get(size, 0));
        sides[1] = json_integer_value(json_array_get(size, 1));
    } else if (json_is_integer(size)) {
        sides[0] = sides[1] = json_integer_value(size);
    } else if (!size) {
        sides[0] = sides[1] = 0;
    } else {
        return fish_fail(err, FMP_ECORRUPT,
                         "config.json: image_size must be a number or [height, width]");
    }
    for (size_t i = 0; size && i < 2; i++) {
        if (sides[i] < 1 || sides[i] > SIDE_MAX)
            return fish_fail(err, FMP_ECORRUPT,
                             "config.json: image_size: 1 to %d expected, %" JSON_INTEGER_FORMAT
                             " found",
                             SIDE_MAX, sides[i]);
    }
    chw[0] = (uint32_t)channels;
    chw[1] = (uint32_t)sides[0];
    chw[2] = (uint32_t)sides[1];
    *ret_given = size;
    return FMP_OK;
}

fmp_status fish_image_check(const fish_model *m, const char *what, const uint32_t chw[3],
                            fmp_error *err)
{
    if (!m->image[0])
        return fish_fail(err, FMP_EUSAGE, "%s: the model takes texts, not images", what);
    if (chw[0] != m->image[0])
        return fish_fail(err, FMP_EUSAGE, "%s: images have %u channels, the model takes %u", what,
                         chw[0], m->image[0]);
    if (chw[1] != m->image[1] || chw[2] != m->image[2])
        return fish_fail(err, FMP_EUSAGE, "%s: images are %u x %u, the model takes %u x %u", what,
                         chw[1], chw[2], m->image[1], m->image[2]);
    return FMP_OK;
}

void fish_image_prefix(const fmp_store *base, const char *name, char ret[FISH_PREFIX_MAX])
{
    const size_t len = strlen(name);
    const uint32_t n = base ? fmp_store_tensor_count(base) : 0;
    size_t best = FISH_PREFIX_MAX;

    ret[0] = '\0';
    for (uint32_t t = 0; t < n; t++) {
        const fmp_tensor_info info = fmp_store_tensor(base, t);
        const size_t prefix = info.name_len - len;

        if (info.name_len < len || prefix >= best || memcmp(info.name + prefix, name, len) ||
            (prefix && info.name[prefix - 1] != '.'))
            continue;
        best = prefix;
        memcpy(ret, info.name, prefix);
        ret[prefix] = '\0';
    }
}

fmp_status fish_linear_add(fish_param_loader *l, const char *layer, fish_role role, uint32_t in,
                           uint32_t out, fish_linear *ret, fmp_error *err)
{
    const uint64_t shape[2] = {out, in};
    const double bound = 1 / sqrt((double)in);
    char name[FISH_PREFIX_MAX];
    fish_linear made = {.in = in, .out = out};
    fmp_status st;

    snprintf(name, sizeof name, "%s.weight", layer);
    st = fish_param_add(l, name, role, 2, shape, -bound, 0, &made.weight, err);
    if (st)
        return st;
    snprintf(name, sizeof name, "%s.bias", layer);
    st = fish_param_add(l, name, role, 1, shape, -bound, 0, &made.bias, err);
    if (st)
        return st;
    *ret = made;
    return FMP_OK;
}

/* The layer's name within the prefix: options->head without its prefix and ".weight", or `layer`.
 */
static fmp_status head_name(const fish_param_loader *l, const char *layer, const char *head,
                            char ret[FISH_PREFIX_MAX], fmp_error *err)
{
    static const char suffix[] = ".weight";
    const size_t prefix = l->prefix ? strlen(l->prefix) : 0;
    size_t len;

    if (!head)
        head = layer;
    else if (prefix && !strncmp(head, l->prefix, prefix))
        head += prefix;
    len = strlen(head);
    if (len >= sizeof suffix && !strcmp(head + len - (sizeof suffix - 1), suffix))
        len -= sizeof suffix - 1;
    if (prefix + len + sizeof suffix > FISH_PREFIX_MAX)
        return fish_fail(err, FMP_EUSAGE, "head %.60s...: the name is too long", head);
    memcpy(ret, head, len);
    ret[len] = '\0';
    return FMP_OK;
}

/* The rows of the base's head; 0 when it has none. */
static uint64_t base_outputs(const fish_param_loader *l, const char *layer)
{
    char name[2 * FISH_PREFIX_MAX];
    fmp_tensor_info info;
    uint32_t t;

    if (!l->base)
        return 0;
    snprintf(name, sizeof name, "%s%s.weight", l->prefix ? l->prefix : "", layer);
    t = fmp_store_find(l->base, name, strlen(name));
    if (t == UINT32_MAX)
        return 0;
    info = fmp_store_tensor(l->base, t);
    return info.rank ? info.shape[0] : 0;
}

fmp_status fish_head_add(fish_param_loader *l, const char *layer, const fish_model_options *options,
                         uint32_t in, uint32_t n_labels, fish_linear *ret, fmp_error *err)
{
    char name[FISH_PREFIX_MAX];
    uint32_t out = options ? options->n_outputs : 0;
    uint64_t there;
    fmp_status st = head_name(l, layer, options ? options->head : NULL, name, err);

    if (st)
        return st;
    there = base_outputs(l, name);
    if (there > UINT32_MAX)
        return fish_fail(err, FMP_ECORRUPT, "%s: %s.weight has %llu rows", l->path, name,
                         (unsigned long long)there);
    if (out && there && there != out)
        return fish_fail(err, FMP_EUSAGE,
                         "%s: the head %s.weight has %llu outputs, %u are needed: remove it first",
                         l->path, name, (unsigned long long)there, out);
    if (!out)
        out = there ? (uint32_t)there : n_labels;
    if (!out)
        return fish_fail(err, FMP_EUSAGE,
                         "%s: no head %s.weight, and config.json has no number of labels",
                         l->path ? l->path : "config.json", name);
    l->model->n_outputs = out;
    return fish_linear_add(l, name, FISH_HEAD, in, out, ret, err);
}

void fish_linear_forward(const fish_model *m, const fish_linear *layer, const float *x, uint32_t n,
                         float *y)
{
    const float *bias = m->params[layer->bias].w;

    for (uint32_t e = 0; e < n; e++)
        memcpy(y + (size_t)e * layer->out, bias, layer->out * sizeof *y);
    fish_gemm_nt(n, layer->out, layer->in, 1, x, layer->in, m->params[layer->weight].w, layer->in,
                 1, y, layer->out);
}

fmp_status fish_linear_backward(const fish_model *m, const fish_linear *layer, const float *dy,
                                const float *x, const uint32_t *start, uint32_t n, float *dx,
                                fish_sink *sink, fmp_error *err)
{
    fmp_status st = sink->vector(sink, layer->bias, dy, layer->out, NULL, 0, start, n, err);

    if (st)
        return st;
    st = sink->matrix(sink, layer->weight, dy, layer->out, x, layer->in, start, n, err);
    if (st)
        return st;
    if (dx)
        fish_gemm_nn(n, layer->in, layer->out, 1, dy, layer->out, m->params[layer->weight].w,
                     layer->in, 0, dx, layer->in);
    return FMP_OK;
}
