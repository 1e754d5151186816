/*
 * Residual networks (He et al. 2016) with the parameter names of torchvision: conv1.weight,
 * bn1.weight, layer1.0.conv1.weight, layer2.0.downsample.0.weight, fc.weight ...; the stride of a
 * bottleneck lies in its 3 x 3 convolution, as torchvision has it.  num_batches_tracked is not
 * read.
 *
 * config.json:
 *   model_type       "resnet"
 *   layers           the number of blocks of each stage, such as [2, 2, 2, 2]; each stage but the
 *                    first halves the image
 *   block            "basic" (default) or "bottleneck"
 *   width            planes of the first stage, default 64; they double from stage to stage
 *   widths           the planes of each stage, in place of width; the stem has those of the first
 *   width_per_group  inner planes of a bottleneck, in 64ths of its planes; default 64
 *   stem             "imagenet" (7 x 7, stride 2, then max pooling; default), "small" (3 x 3) or
 *                    "small-pool" (3 x 3, then max pooling)
 *   in_channels      default 1
 *   image_size       a number or [height, width]
 *   num_labels       outputs, where the checkpoint has no head
 *   norm_eps         of batch normalisation; default 1e-5
 */
#include "model/resnet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"

#define STAGES_MAX 8
#define BLOCKS_MAX 1000 /* of a stage */
#define PLANES_MAX 65536
#define LABELS_MAX (1 << 24)

/* What config.json says, before it becomes units and blocks. */
typedef struct plan {
    uint32_t n_stages;
    uint32_t layers[STAGES_MAX];
    uint32_t planes[STAGES_MAX];
    bool bottleneck;
    bool imagenet; /* the stem */
    bool pool;
    uint32_t width_per_group;
    uint32_t n_labels;
} plan;

/* The image as it runs through the layers while they are being added. */
typedef struct builder {
    fish_param_loader *l;
    fish_resnet *r;
    uint32_t c, h, w;
} builder;

void fish_resnet_free(void *config)
{
    fish_resnet *r = config;

    if (!r)
        return;
    fish_free(r->units);
    fish_free(r->blocks);
    fish_free(r);
}

/* ---- config.json ------------------------------------------------------------------------------
 */

static fmp_status read_stages(const json_t *config, const char *key, uint32_t max,
                              uint32_t ret[STAGES_MAX], uint32_t *ret_n, fmp_error *err)
{
    const json_t *array = json_object_get(config, key);
    const size_t n = json_array_size(array);

    if (!n || n > STAGES_MAX)
        return fish_fail(err, FMP_ECORRUPT, "config.json: %s: an array of 1 to %d numbers expected",
                         key, STAGES_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(array, i);

        if (!json_is_integer(item) || json_integer_value(item) < 1 ||
            json_integer_value(item) > max)
            return fish_fail(err, FMP_ECORRUPT,
                             "config.json: %s: number %zu must be a whole one from 1 to %u", key,
                             i + 1, max);
        ret[i] = (uint32_t)json_integer_value(item);
    }
    *ret_n = (uint32_t)n;
    return FMP_OK;
}

static fmp_status read_planes(const json_t *config, plan *p, fmp_error *err)
{
    int64_t width;
    uint32_t n;
    fmp_status st;

    if (json_object_get(config, "widths")) {
        st = read_stages(config, "widths", PLANES_MAX, p->planes, &n, err);
        if (!st && n != p->n_stages)
            st = fish_fail(err, FMP_ECORRUPT, "config.json: %u widths for %u stages", n,
                           p->n_stages);
        return st;
    }
    st = fish_config_int(config, "width", 1, PLANES_MAX >> STAGES_MAX << 1, 64, &width, err);
    for (uint32_t s = 0; !st && s < p->n_stages; s++)
        p->planes[s] = (uint32_t)width << s;
    return st;
}

/* The place of a word among `words`, a NULL-ended list whose first is the default. */
static fmp_status read_word(const json_t *config, const char *key, const char *const *words,
                            size_t *ret, fmp_error *err)
{
    const json_t *item = json_object_get(config, key);
    const char *word = item ? json_string_value(item) : words[0];

    for (size_t i = 0; word && words[i]; i++) {
        if (!strcmp(word, words[i])) {
            *ret = i;
            return FMP_OK;
        }
    }
    return fish_fail(err, FMP_ENOTSUP, "config.json: %s: \"%s\", \"%s\"... expected, found %s", key,
                     words[0], words[1], word ? word : "no string");
}

static fmp_status read_plan(const json_t *config, plan *p, double *ret_eps, fmp_error *err)
{
    static const char *const blocks[] = {"basic", "bottleneck", NULL};
    static const char *const stems[] = {"imagenet", "small", "small-pool", NULL};
    size_t block = 0, stem = 0;
    int64_t per_group = 64, n_labels = 0, groups;
    fmp_status st = read_stages(config, "layers", BLOCKS_MAX, p->layers, &p->n_stages, err);

    if (!st)
        st = read_planes(config, p, err);
    if (!st)
        st = read_word(config, "block", blocks, &block, err);
    if (!st)
        st = read_word(config, "stem", stems, &stem, err);
    if (!st)
        st = fish_config_int(config, "width_per_group", 1, 4096, 64, &per_group, err);
    if (!st)
        st = fish_config_int(config, "num_labels", 1, LABELS_MAX, 0, &n_labels, err);
    if (!st)
        st = fish_config_int(config, "groups", 1, PLANES_MAX, 1, &groups, err);
    if (!st && groups != 1)
        st = fish_fail(err, FMP_ENOTSUP, "config.json: groups: only 1 is known");
    if (!st)
        st = fish_config_real(config, "norm_eps", 0, 1, 1e-5, ret_eps, err);
    p->bottleneck = block == 1;
    p->imagenet = stem == 0;
    p->pool = stem != 1;
    p->width_per_group = (uint32_t)per_group;
    p->n_labels = (uint32_t)n_labels;
    return st;
}

/* ---- units and blocks -------------------------------------------------------------------------
 */

/* A running statistic cannot be made up for a base: without it the model computes something else.
 */
static fmp_status add_norm_param(fish_param_loader *l, const char *name, fish_role role, uint64_t n,
                                 double fill, uint32_t *ret, fmp_error *err)
{
    const fmp_status st = fish_param_add(l, name, role, 1, &n, 0, fill, ret, err);

    if (!st && l->base && l->model->params[*ret].added)
        return fish_fail(err, FMP_ECORRUPT, "%s: tensor \"%s\" is missing", l->path,
                         l->model->params[*ret].name);
    return st;
}

static fmp_status add_norm(fish_param_loader *l, const char *norm, fish_unit *u, fmp_error *err)
{
    const struct {
        const char *name;
        fish_role role;
        double fill;
        uint32_t *number;
    } parts[] = {{"weight", FISH_BODY, 1, &u->norm_weight},
                 {"bias", FISH_BODY, 0, &u->norm_bias},
                 {"running_mean", FISH_BUFFER, 0, &u->norm_mean},
                 {"running_var", FISH_BUFFER, 1, &u->norm_var}};
    char name[80];

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        fmp_status st;

        snprintf(name, sizeof name, "%s.%s", norm, parts[i].name);
        st = add_norm_param(l, name, parts[i].role, u->conv.out_c, parts[i].fill, parts[i].number,
                            err);
        if (st)
            return st;
    }
    return FMP_OK;
}

/*
 * Adds a unit: `conv` and `norm` are names within `where` ("layer1.0." or ""), b holds the shape of
 * its input.  New weights are normal with variance 2 / (out * kernel^2), as torchvision makes them
 * (He et al. 2015, equation 14).  b is left as it is.
 */
static fmp_status add_unit(builder *b, const char *where, const char *conv, const char *norm,
                           const fish_conv *like, fmp_error *err)
{
    fish_unit *u = &b->r->units[b->r->n_units];
    char name[64];
    fmp_status st;

    u->conv = *like;
    u->conv.in_c = b->c;
    u->conv.in_h = b->h;
    u->conv.in_w = b->w;
    u->conv.pad = like->kernel / 2;
    fish_conv_shape(&u->conv);
    snprintf(name, sizeof name, "%s%s.weight", where, conv);
    st = fish_param_add(
        b->l, name, FISH_BODY, 4, (const uint64_t[]){like->out_c, b->c, like->kernel, like->kernel},
        sqrt(2.0 / ((double)like->out_c * like->kernel * like->kernel)), 0, &u->weight, err);
    if (st)
        return st;
    snprintf(name, sizeof name, "%s%s", where, norm);
    b->r->n_units++;
    return add_norm(b->l, name, u, err);
}

/* The shape behind the last unit becomes that in front of the next. */
static void step_on(builder *b)
{
    const fish_conv *c = &b->r->units[b->r->n_units - 1].conv;

    b->c = c->out_c;
    b->h = c->out_h;
    b->w = c->out_w;
}

static fmp_status add_row(builder *b, const char *where, const fish_conv *like, uint32_t n,
                          fmp_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        char conv[16], norm[16];
        fmp_status st;

        snprintf(conv, sizeof conv, "conv%u", i + 1);
        snprintf(norm, sizeof norm, "bn%u", i + 1);
        st = add_unit(b, where, conv, norm, &like[i], err);
        if (st)
            return st;
        step_on(b);
    }
    return FMP_OK;
}

static fmp_status add_block(builder *b, const plan *p, uint32_t stage, uint32_t number,
                            fmp_error *err)
{
    const uint32_t planes = p->planes[stage];
    const uint32_t inner = (uint32_t)((uint64_t)planes * p->width_per_group / 64);
    const uint32_t stride = stage && !number ? 2 : 1;
    const uint32_t out = planes * (p->bottleneck ? 4 : 1);
    const fish_conv basic[] = {{.out_c = planes, .kernel = 3, .stride = stride},
                               {.out_c = planes, .kernel = 3, .stride = 1}};
    const fish_conv bottleneck[] = {{.out_c = inner, .kernel = 1, .stride = 1},
                                    {.out_c = inner, .kernel = 3, .stride = stride},
                                    {.out_c = out, .kernel = 1, .stride = 1}};
    const fish_conv down = {.out_c = out, .kernel = 1, .stride = stride};
    const builder before = *b;
    fish_block *k = &b->r->blocks[b->r->n_blocks++];
    char where[40];
    fmp_status st;

    if (p->bottleneck && !inner)
        return fish_fail(err, FMP_ECORRUPT, "config.json: width_per_group %u leaves no planes",
                         p->width_per_group);
    k->first = b->r->n_units;
    k->n = p->bottleneck ? 3 : 2;
    k->down = stride != 1 || b->c != out;
    snprintf(where, sizeof where, "layer%u.%u.", stage + 1, number);
    st = add_row(b, where, p->bottleneck ? bottleneck : basic, k->n, err);
    if (!st && k->down) {
        builder shortcut = before;

        st = add_unit(&shortcut, where, "downsample.0", "downsample.1", &down, err);
    }
    return st;
}

static void add_pool(builder *b)
{
    fish_conv *c = &b->r->pooling;

    *c = (fish_conv){.in_c = b->c,
                     .in_h = b->h,
                     .in_w = b->w,
                     .out_c = b->c,
                     .kernel = 3,
                     .stride = 2,
                     .pad = 1};
    fish_conv_shape(c);
    b->r->pool = true;
    b->h = c->out_h;
    b->w = c->out_w;
}

static fmp_status add_layers(builder *b, const plan *p, const fish_model_options *options,
                             fmp_error *err)
{
    const fish_conv stem = {
        .out_c = p->planes[0], .kernel = p->imagenet ? 7 : 3, .stride = p->imagenet ? 2 : 1};
    fmp_status st = add_row(b, "", &stem, 1, err);

    if (st)
        return st;
    if (p->pool)
        add_pool(b);
    for (uint32_t s = 0; s < p->n_stages; s++) {
        for (uint32_t i = 0; i < p->layers[s]; i++) {
            st = add_block(b, p, s, i, err);
            if (st)
                return st;
        }
    }
    return fish_head_add(b->l, "fc", options, b->c, p->n_labels, &b->r->head, err);
}

static fmp_status reserve(fish_resnet *r, const plan *p, fmp_error *err)
{
    size_t n = 0;

    for (uint32_t s = 0; s < p->n_stages; s++)
        n += p->layers[s];
    r->units = fish_calloc(1 + 4 * n, sizeof *r->units);
    r->blocks = fish_calloc(n, sizeof *r->blocks);
    return r->units && r->blocks ? FMP_OK : fish_fail(err, FMP_ENOMEM, "resnet: out of memory");
}

fmp_status fish_resnet_open(fish_param_loader *l, const json_t *config,
                            const fish_model_options *options, fmp_error *err)
{
    fish_resnet *r = fish_calloc(1, sizeof *r);
    builder b = {.l = l, .r = r};
    uint32_t *chw = l->model->image;
    plan p = {.n_stages = 0};
    char prefix[FISH_PREFIX_MAX];
    bool given = false;
    fmp_status st;

    if (!r)
        return fish_fail(err, FMP_ENOMEM, "resnet: out of memory");
    l->model->driver = &fish_resnet_driver; /* its free() takes the config from here on */
    l->model->config = r;
    st = read_plan(config, &p, &r->eps, err);
    if (!st)
        st = fish_image_shape(config, chw, &given, err);
    if (!st && !given)
        st = fish_fail(err, FMP_ECORRUPT, "config.json: image_size is missing");
    if (!st)
        st = reserve(r, &p, err);
    if (st)
        return st;
    b.c = chw[0];
    b.h = chw[1];
    b.w = chw[2];
    fish_image_prefix(l->base, "layer1.0.conv1.weight", prefix);
    l->prefix = prefix;
    st = add_layers(&b, &p, options, err);
    l->prefix = "";
    return st;
}
