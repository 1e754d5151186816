/*
 * train/train: what masked training promises.  Unselected bits stay whatever is switched on; k
 * elements alone give the bits of a dense optimizer with a masked gradient; a full mask is ordinary
 * training; threads change nothing; the patch of a run is the trained model.
 */
#include "support.h"

#include <math.h>

#include "fish_world.h"
#include "model/patched.h"
#include "train/loss.h"
#include "train/optim.h"
#include "train/sinks.h"

static const fish_train_options basic = {
    .size = sizeof basic, .lr = 1e-2, .epochs = 2, .batch_size = 8, .group = 3, .seed = 11};

static fish_train_options everything(fish_optimizer optimizer)
{
    fish_train_options o = basic;

    o.optimizer = optimizer;
    o.weight_decay = 0.1;
    o.nesterov = true;
    o.clip = 0.5;
    o.ema = 0.9;
    o.label_smoothing = 0.1;
    o.warmup = 2;
    o.schedule = FISH_COSINE;
    o.accumulate = 2;
    o.patience = 2;
    o.value_bits = 3;
    return o;
}

/* ---- unselected elements ----------------------------------------------------------------------
 */

static void unselected_bits_stay(void **state)
{
    static const char *const dtypes[] = {"F32", "BF16", "F16"};
    world w;
    fish_model *base = NULL;

    (void)state;
    for (int i = 0; i < 12; i++) {
        const fish_train_options o = everything(i % 2 ? FISH_SGD : FISH_ADAMW);
        fish_model *m;
        size_t inside;

        world_open(&w, i < 6 ? "mlp" : "bert", dtypes[i / 2 % 3], 17, &base);
        m = world_trained(&w, &w.mask, 2, &o);
        assert_int_equal(world_changed(m, base, &w.mask, &inside), 0);
        assert_in_range(inside, w.mask.n / 2, w.mask.n);
        fish_model_free(m);
        world_close(&w, base);
    }
}

/* Decay reaches what is selected: with a gradient of 0 nothing else would move it. */
static void decay_is_masked_and_spares_vectors(void **state)
{
    fish_train_options o = basic;
    world w;
    fish_model *base = NULL;
    fish_model *with, *without;

    (void)state;
    o.steps = 1;
    o.clip = 1e-30; /* a gradient of next to nothing */
    o.optimizer = FISH_SGD;
    world_open(&w, "mlp", "F32", 17, &base);
    without = world_trained(&w, &w.mask, 1, &o);
    o.weight_decay = 0.5;
    with = world_trained(&w, &w.mask, 1, &o);
    for (uint32_t p = 0; p < base->n_params; p++) {
        const fish_param *b = &base->params[p];

        for (size_t i = 0; i < b->n; i++) {
            const bool decays = world_selected(&w.mask, b, i) && b->rank > 1;
            const double want = decays ? b->w[i] * (1 - 0.5 * o.lr) : b->w[i];

            assert_true(fabs(with->params[p].w[i] - want) <= 1e-6 * fabs(want));
            assert_true(fabs((double)without->params[p].w[i] - b->w[i]) <= 1e-12);
        }
    }
    fish_model_free(with);
    fish_model_free(without);
    world_close(&w, base);
}

/* ---- the same by a dense optimizer --------------------------------------------------------------
 */

typedef struct dense {
    fish_model *m;
    fish_selection all;
    float *g, *first, *second;
    const world *w;
    const fish_train_options *o;
    fish_turnstile *gates;
    fish_gather gather;
    fish_gather_sink sink;
    uint32_t *order;
    double norms[64]; /* of the masked gradients */
} dense;

static void dense_gradient(dense *d, const uint32_t *examples, uint32_t n, uint64_t step)
{
    const fish_pass pass = {
        .train = true, .dropout = fish_key_make(d->o->seed, FISH_STREAM_DROPOUT), .step = step};
    fish_batch_buf *buf = fish_batch_buf_new();
    fish_work *work = fish_work_new(d->m);
    fmp_error err = {.text = ""};

    memset(d->g, 0, d->all.n * sizeof *d->g);
    fish_turnstile_reset(d->gates);
    for (uint32_t at = 0; at < n; at += d->o->group) {
        const uint32_t size = n - at < d->o->group ? n - at : d->o->group;
        float out[8 * 3], d_out[8 * 3];
        fish_batch b;

        assert_status(fish_batch_fill(buf, d->w->data, examples + at, size, &b, &err), FMP_OK,
                      &err);
        assert_status(fish_forward(d->m, work, &b, &pass, out, &err), FMP_OK, &err);
        for (uint32_t e = 0; e < size; e++) {
            (void)fish_cross_entropy(out + 3 * e, 3, b.label[e], d_out + 3 * e);
            for (int c = 0; c < 3; c++)
                d_out[3 * e + c] *= 1.0f / (float)n;
        }
        d->sink.item = at / d->o->group;
        assert_status(fish_backward(d->m, work, &b, d_out, &d->sink.sink, &err), FMP_OK, &err);
    }
    fish_work_free(d->m, work);
    fish_batch_buf_free(buf);
}

/* Masks the gradient, clips it, and steps over every element there is. */
static void dense_step(dense *d, uint32_t t, uint32_t n_steps)
{
    const double lr = d->o->lr * fish_schedule_factor(FISH_LINEAR, t, 0, n_steps);
    const fish_step s = {.lr = lr,
                         .beta1 = 0.9,
                         .beta2 = 0.999,
                         .eps = 1e-8,
                         .momentum = 0.9,
                         .nesterov = d->o->nesterov,
                         .step = t + 1};
    double squares = 0;

    for (uint32_t p = 0; p < d->m->n_params; p++) {
        float *g = d->g + d->all.of[p].at;

        for (size_t i = 0; i < d->all.of[p].n; i++)
            g[i] *= world_selected(&d->w->mask, &d->m->params[p], i) ? 1.0f : 0.0f;
        squares += fish_sum_squares(g, d->all.of[p].n);
    }
    assert_in_range(t, 0, 63);
    d->norms[t] = sqrt(squares);
    fish_scale(d->g, d->all.n, fish_clip_factor(d->norms[t], d->o->clip));
    for (uint32_t p = 0; p < d->m->n_params; p++) {
        const size_t at = d->all.of[p].at;
        const size_t n = d->all.of[p].n;

        if (d->o->optimizer == FISH_ADAMW)
            fish_adamw_step(d->m->params[p].w, d->first + at, d->second + at, d->g + at, n, &s);
        else
            fish_sgd_step(d->m->params[p].w, d->first + at, d->g + at, n, &s);
    }
}

static fish_model *dense_trained(const world *w, const fish_train_options *o, double *norms)
{
    dense d = {.m = world_model(w), .w = w, .o = o};
    const uint32_t count = fish_data_count(w->data);
    const uint32_t per_epoch = (count + o->batch_size - 1) / o->batch_size;
    fish_pool *pool = NULL;
    fmp_error err = {.text = ""};

    assert_status(fish_selection_bind(d.m, NULL, &d.all, &err), FMP_OK, &err);
    assert_status(fish_pool_new(1, &pool, &err), FMP_OK, &err);
    assert_status(fish_turnstile_new(pool, d.m->n_params, &d.gates, &err), FMP_OK, &err);
    d.g = calloc(d.all.n, sizeof *d.g);
    d.first = calloc(d.all.n, sizeof *d.first);
    d.second = calloc(d.all.n, sizeof *d.second);
    d.order = calloc(count, sizeof *d.order);
    d.gather = (fish_gather){.m = d.m, .s = &d.all, .g = d.g, .gates = d.gates, .dense = true};
    fish_gather_sink_init(&d.sink, &d.gather);
    for (uint32_t t = 0; t < o->epochs * per_epoch; t++) {
        const uint32_t first = t % per_epoch * o->batch_size;

        if (t % per_epoch == 0)
            assert_status(fish_epoch_order(w->data, NULL, count, o->seed, t / per_epoch,
                                           o->batch_size, d.order, &err),
                          FMP_OK, &err);
        dense_gradient(&d, d.order + first,
                       count - first < o->batch_size ? count - first : o->batch_size, t);
        dense_step(&d, t, (uint32_t)o->epochs * per_epoch);
    }
    fish_gather_sink_release(&d.sink);
    fish_selection_release(&d.all);
    fish_turnstile_free(d.gates);
    fish_pool_free(pool);
    free(d.g);
    free(d.first);
    free(d.second);
    free(d.order);
    memcpy(norms, d.norms, sizeof d.norms);
    return d.m;
}

static void note_norm(void *ctx, const fish_step_report *r)
{
    double *norms = ctx;

    if (!r->valid)
        norms[r->step - 1] = r->grad_norm;
}

static void compact_equals_dense(void **state)
{
    double norms[2][64] = {{0}};
    world w;
    fish_model *base = NULL;

    (void)state;
    for (int i = 0; i < 4; i++) {
        fish_train_options o = basic;
        fish_model *compact, *whole;

        world_open(&w, i == 3 ? "bert" : "mlp", "F32", 7, &base);
        o.dense_gradient = true;
        o.optimizer = i % 3 ? FISH_SGD : FISH_ADAMW;
        o.nesterov = i == 2;
        o.clip = 0.3;
        o.report = note_norm;
        o.ctx = norms[0];
        compact = world_trained(&w, &w.mask, 2, &o);
        whole = dense_trained(&w, &o, norms[1]);
        assert_same_weights(compact, whole);
        assert_memory_equal(norms[0], norms[1], sizeof norms[0]);
        assert_non_null(world_difference(compact, base));
        fish_model_free(compact);
        fish_model_free(whole);
        world_close(&w, base);
    }
}

/* A dot product for each element, or all of them by GEMM: the same up to rounding. */
static void sparse_gradient_is_the_dense_one(void **state)
{
    fish_train_options o = basic;
    fish_model *base = NULL;
    fish_model *a, *b;
    world w;

    (void)state;
    o.steps = 3;
    o.optimizer = FISH_SGD;
    world_open(&w, "mlp", "F32", 150, &base); /* few enough for dot products */
    a = world_trained(&w, &w.mask, 1, &o);
    o.dense_gradient = true;
    b = world_trained(&w, &w.mask, 1, &o);
    for (uint32_t p = 0; p < a->n_params; p++) {
        for (size_t i = 0; i < a->params[p].n; i++) {
            const double move = (double)b->params[p].w[i] - base->params[p].w[i];

            assert_true(fabs((double)a->params[p].w[i] - b->params[p].w[i]) <=
                        1e-4 * fabs(move) + 1e-7);
        }
    }
    fish_model_free(a);
    fish_model_free(b);
    world_close(&w, base);
}

static void full_mask_is_ordinary_training(void **state)
{
    static const char *const kinds[] = {"mlp", "resnet", "bert"};
    fish_model *base = NULL;
    world w;

    (void)state;
    for (int i = 0; i < 3; i++) {
        const fish_train_options o = everything(i == 1 ? FISH_SGD : FISH_ADAMW);
        fish_model *masked, *plain;

        world_open(&w, kinds[i], "F32", 1, &base);
        masked = world_trained(&w, &w.mask, 2, &o);
        plain = world_trained(&w, NULL, 2, &o);
        assert_same_weights(masked, plain);
        assert_non_null(world_difference(masked, base));
        fish_model_free(masked);
        fish_model_free(plain);
        world_close(&w, base);
    }
}

static void threads_change_nothing(void **state)
{
    fish_model *base = NULL;
    world w;

    (void)state;
    for (int i = 0; i < 6; i++) {
        fish_train_options o = everything(i % 2 ? FISH_SGD : FISH_ADAMW);
        fish_model *one;

        world_open(&w,
                   i < 2   ? "mlp"
                   : i < 4 ? "resnet"
                           : "bert",
                   i == 1 ? "BF16" : "F32", i ? 17 : 150, &base);
        o.batch_norm = i == 3;
        one = world_trained(&w, &w.mask, 1, &o);
        for (unsigned n = 2; n <= 5; n++) {
            fish_model *more = world_trained(&w, &w.mask, n, &o);

            assert_same_weights(one, more);
            fish_model_free(more);
        }
        fish_model_free(one);
        world_close(&w, base);
    }
}

/* ---- the result -------------------------------------------------------------------------------
 */

typedef struct seen {
    uint32_t n_steps, n_valid;
    double first_loss, last_loss, best, last_metric;
} seen;

static void look(void *ctx, const fish_step_report *r)
{
    seen *s = ctx;

    if (r->valid) {
        s->n_valid++;
        s->last_metric = r->valid->accuracy;
        s->best = s->n_valid == 1 || r->valid->accuracy > s->best ? r->valid->accuracy : s->best;
        s->last_loss = r->valid->loss;
        if (s->n_valid == 1)
            s->first_loss = r->valid->loss;
        return;
    }
    s->n_steps++;
    assert_int_equal(r->step, s->n_steps);
    assert_true(r->loss > 0 && r->grad_norm > 0);
}

/* The head and a few of the body learn something; the average, too. */
static void training_learns(void **state)
{
    fish_model *base = NULL;
    world w;

    (void)state;
    world_open(&w, "mlp", "F32", 17, &base);
    for (int i = 0; i < 3; i++) {
        fish_train_options o = basic;
        seen s = {0};

        o.epochs = 12;
        o.report = look;
        o.ctx = &s;
        o.ema = i == 1 ? 0.8 : 0;
        o.value_bits = i == 2 ? 3 : 0;
        fish_model_free(world_trained(&w, &w.mask, 2, &o));
        assert_int_equal(s.n_steps, 12 * 6);
        assert_int_equal(s.n_valid, 12);
        assert_true(s.last_loss < 0.9 * s.first_loss);
    }
    world_close(&w, base);
}

static double accuracy_of(const world *w, const fish_model *m)
{
    fish_pool *pool = NULL;
    float outputs[TOY_IMAGES * 3];
    int32_t labels[TOY_IMAGES];
    fish_metrics metrics;
    fmp_error err = {.text = ""};

    assert_status(fish_pool_new(1, &pool, &err), FMP_OK, &err);
    assert_status(fish_predict(m, w->data, pool, outputs, &err), FMP_OK, &err);
    fish_pool_free(pool);
    for (uint32_t i = 0; i < TOY_IMAGES; i++)
        labels[i] = fish_data_label(w->data, i);
    fish_metrics_classify(outputs, labels, TOY_IMAGES, 3, &metrics, NULL);
    return metrics.accuracy;
}

static void keeps_the_best(const char *kind, bool batch_norm)
{
    fish_train_options o = basic;
    fish_model *base = NULL;
    fish_model *m;
    seen s = {0};
    world w;

    o.batch_norm = batch_norm;
    o.epochs = 200;
    o.lr = 0.3; /* far too high */
    o.patience = 3;
    o.eval_every = 2;
    o.report = look;
    o.ctx = &s;
    world_open(&w, kind, "F32", 17, &base);
    m = world_trained(&w, &w.mask, 1, &o);
    assert_in_range(s.n_steps, 6, 200 * 6 - 1);
    assert_int_equal(s.n_steps, 2 * s.n_valid);
    assert_true(s.last_metric <= s.best);
    assert_true(accuracy_of(&w, m) == s.best);
    fish_model_free(m);
    world_close(&w, base);
}

/* Running statistics belong to the best weights too. */
static void early_stopping_keeps_the_best(void **state)
{
    (void)state;
    keeps_the_best("mlp", false);
    keeps_the_best("resnet", true);
}

/* base + patch, through the patch library, is the model that was trained. */
static void check_patch(const world *w, const fish_model *m, const fish_run *run)
{
    fmp_create_result result = {.summary = {.size = 0}};
    fish_model *again = world_model(w);
    fmp_patch *patch = NULL;
    fmp_error err = {.text = ""};
    size_t n_changed = 0;

    (void)remove("task.fmp");
    assert_status(fish_run_save(run, m, w->base, "task.fmp", NULL, &result, &err), FMP_OK, &err);
    for (uint32_t p = 0; p < m->n_params; p++) {
        for (size_t i = 0; i < m->params[p].n; i++)
            n_changed += !same_bits(m->params[p].w[i], again->params[p].w[i]);
    }
    assert_int_equal(result.summary.n_changed, n_changed);
    assert_status(fmp_patch_open("task.fmp", NULL, &patch, &err), FMP_OK, &err);
    assert_status(fish_model_apply(again, patch, &err), FMP_OK, &err);
    assert_same_weights(m, again);
    fmp_patch_close(patch);
    fish_model_free(again);
    (void)remove("task.fmp");
}

static void the_patch_is_the_model(void **state)
{
    static const char *const dtypes[] = {"F32", "BF16", "F16"};
    fish_model *base = NULL;
    world w;

    (void)state;
    for (int i = 0; i < 8; i++) {
        fish_train_options o = everything(i % 2 ? FISH_SGD : FISH_ADAMW);
        fish_run *run = NULL;
        fish_model *m;
        fmp_error err = {.text = ""};

        o.batch_norm = i >= 6;
        o.reference_leak = i == 7;
        if (o.reference_leak)
            o.patience = o.value_bits = 0, o.ema = 0;
        world_open(&w, i < 6 ? "mlp" : "resnet", i < 6 ? dtypes[i / 2] : "F32", 17, &base);
        m = world_model(&w);
        assert_status(world_train(&w, m, &w.mask, 2, &o, &run, &err), FMP_OK, &err);
        assert_true(fish_run_finished(run));
        check_patch(&w, m, run);
        fish_run_free(run);
        fish_model_free(m);
        world_close(&w, base);
    }
}

/* The weights after the last step, before the run settles what its result is. */
typedef struct last_weights {
    const fish_model *from;
    fish_model *to;
} last_weights;

static void take_last(void *ctx, const fish_step_report *r)
{
    const last_weights *l = ctx;

    for (uint32_t p = 0; r->step == r->n_steps && p < l->to->n_params; p++)
        memcpy(l->to->params[p].w, l->from->params[p].w, l->to->params[p].n * sizeof(float));
}

/* Nearly every update has --value-bits bits, the rest more, and training has seen them so. */
static void updates_are_rounded(void **state)
{
    fish_train_options o = basic;
    fish_model *base = NULL;
    fish_model *m;
    size_t n_few = 0;
    size_t n_changed = 0;
    last_weights l;
    fmp_error err = {.text = ""};
    world w;

    (void)state;
    o.value_bits = 2;
    o.epochs = 6;
    o.report = take_last;
    o.ctx = &l;
    world_open(&w, "mlp", "F32", 5, &base);
    m = world_model(&w);
    l = (last_weights){.from = m, .to = world_model(&w)};
    assert_status(world_train(&w, m, &w.mask, 2, &o, NULL, &err), FMP_OK, &err);
    assert_same_weights(m, l.to);
    fish_model_free(l.to);
    for (uint32_t p = 0; p < m->n_params; p++) {
        for (size_t i = 0; i < m->params[p].n; i++) {
            int32_t a, b;
            uint32_t r;

            memcpy(&a, &base->params[p].w[i], sizeof a);
            memcpy(&b, &m->params[p].w[i], sizeof b);
            if (a == b || (a < 0) != (b < 0))
                continue;
            r = (uint32_t)(a < b ? b - a : a - b);
            n_changed++;
            while (!(r & 1))
                r >>= 1;
            n_few += r <= 3;
        }
    }
    assert_in_range(n_changed, w.mask.n / 2, w.mask.n);
    assert_true((double)n_few > 0.7 * (double)n_changed);
    fish_model_free(m);
    world_close(&w, base);
}

/* ---- the authors' leak ------------------------------------------------------------------------
 */

static void leak_shrinks_the_unselected(void **state)
{
    fish_model *base = NULL;
    world w;

    (void)state;
    world_open(&w, "mlp", "F32", 17, &base);
    for (int sgd = 0; sgd < 2; sgd++) {
        fish_train_options o = basic;
        fish_model *m;

        o.optimizer = sgd ? FISH_SGD : FISH_ADAMW;
        o.weight_decay = 0.5;
        o.reference_leak = true;
        m = world_trained(&w, &w.mask, 2, &o);
        for (uint32_t p = 0; p < m->n_params; p++) {
            for (size_t i = 0; i < m->params[p].n; i++) {
                float x = base->params[p].w[i];
                float v = 0;

                if (world_selected(&w.mask, &m->params[p], i))
                    continue;
                for (uint32_t t = 0; t < 12; t++) {
                    const double lr = o.lr * fish_schedule_factor(FISH_LINEAR, t, 0, 12);
                    const float d = -(float)lr * (0.5f * x);

                    v = 0.9f * v + d;
                    x = sgd ? x + (d + 0.9f * v) : x * (float)(1 - lr * 0.5);
                }
                assert_true(fabs((double)m->params[p].w[i] - x) <= 1e-6 * fabs((double)x));
                assert_true(fabs((double)x) <= 0.98 * fabs((double)base->params[p].w[i]));
            }
        }
        fish_model_free(m);
    }
    world_close(&w, base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unselected_bits_stay),
        cmocka_unit_test(decay_is_masked_and_spares_vectors),
        cmocka_unit_test(compact_equals_dense),
        cmocka_unit_test(sparse_gradient_is_the_dense_one),
        cmocka_unit_test(full_mask_is_ordinary_training),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(training_learns),
        cmocka_unit_test(early_stopping_keeps_the_best),
        cmocka_unit_test(the_patch_is_the_model),
        cmocka_unit_test(updates_are_rounded),
        cmocka_unit_test(leak_shrinks_the_unselected),
    };
    char dir[] = "/tmp/fish-train-XXXXXX";
    int failed;

    if (!mkdtemp(dir) || chdir(dir))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (chdir("/") || rmdir(dir))
        return 1;
    return failed;
}
