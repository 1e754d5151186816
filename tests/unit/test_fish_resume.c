/*
 * train/resume and train/refresh: a run that was cut anywhere ends in the bits of one that was not;
 * a checkpoint of another run, or a damaged one, is refused; elements that leave the mask stop, or
 * go on where the authors' code is reproduced; memory that runs out leaves nothing behind.
 */
#include "support.h"

#include <math.h>

#include "fish_world.h"
#include "train/masking.h"

#define CHECKPOINT "run.checkpoint"

static const fish_train_options basic = {.size = sizeof basic,
                                         .lr = 1e-2,
                                         .epochs = 2,
                                         .batch_size = 8,
                                         .group = 3,
                                         .weight_decay = 0.1,
                                         .seed = 11};

static char *slurp(const char *path, size_t *ret_len)
{
    char *bytes = NULL;
    fmp_error err = {.text = ""};

    assert_status(fish_slurp(path, 1 << 24, &bytes, ret_len, &err), FMP_OK, &err);
    return bytes;
}

static void spill(const char *path, const char *bytes, size_t len)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* Everything that has state at once, by number. */
static fish_train_options variant(int i)
{
    fish_train_options o = basic;

    o.optimizer = i % 2 ? FISH_SGD : FISH_ADAMW;
    o.nesterov = true;
    if (i >= 2) {
        o.ema = 0.9;
        o.patience = 3;
        o.eval_every = 2;
        o.value_bits = 3;
        o.value_phase = 0.8;
    }
    if (i >= 4) {
        o.epochs = 4;
        o.refresh_epochs = 1;
        o.refresh.n_samples = 16;
        o.moments = (fish_moments)((i - 4) % 3);
    }
    o.batch_norm = i == 7;
    return o;
}

static fish_run *run_once(const world *w, fish_model *m, const fish_train_options *o)
{
    fish_run *run = NULL;
    fmp_error err = {.text = ""};

    assert_status(world_train(w, m, &w->mask, 2, o, &run, &err), FMP_OK, &err);
    return run;
}

static char *patch_of(const world *w, const fish_run *run, const fish_model *m, size_t *ret_len)
{
    fmp_create_result result = {.summary = {.size = 0}};
    fmp_error err = {.text = ""};
    char *bytes;

    (void)remove("task.fmp");
    assert_status(fish_run_save(run, m, w->base, "task.fmp", NULL, &result, &err), FMP_OK, &err);
    bytes = slurp("task.fmp", ret_len);
    (void)remove("task.fmp");
    return bytes;
}

/* Cut every `every` steps, each piece from the base and the file. */
static void check_pieces(const world *w, fish_train_options o, uint32_t every,
                         const fish_model *want, const char *patch, size_t len)
{
    fish_model *m = NULL;
    fish_run *run = NULL;
    uint32_t n = 0;
    size_t got_len;
    char *got;

    o.checkpoint = CHECKPOINT;
    o.stop_after = every;
    (void)remove(CHECKPOINT);
    do {
        fish_run_free(run);
        fish_model_free(m);
        m = world_model(w);
        run = run_once(w, m, &o);
        n += every;
        if (!fish_run_finished(run))
            assert_int_equal(fish_run_steps(run), n);
        assert_in_range(n, 1, 100);
    } while (!fish_run_finished(run));
    assert_same_weights(m, want);
    got = patch_of(w, run, m, &got_len);
    assert_int_equal(got_len, len);
    assert_memory_equal(got, patch, len);
    fish_free(got);
    fish_run_free(run);
    fish_model_free(m);
    (void)remove(CHECKPOINT);
}

static void pieces_make_the_whole(void **state)
{
    static const char *const kinds[] = {"mlp", "bert", "mlp",    "mlp",  "mlp",
                                        "mlp", "mlp",  "resnet", "bert", "bert"};
    fish_model *base = NULL;
    world w;

    (void)state;
    for (int i = 0; i < 10; i++) {
        const fish_train_options o = variant(i);
        fish_model *whole;
        fish_run *run;
        char *patch;
        size_t len;

        world_open(&w, kinds[i], i == 3 || i == 9 ? "BF16" : "F32", 17, &base);
        whole = world_model(&w);
        run = run_once(&w, whole, &o);
        patch = patch_of(&w, run, whole, &len);
        for (uint32_t every = 1; every <= 8; every += every < 4 ? 1 : 4)
            check_pieces(&w, o, every, whole, patch, len);
        fish_free(patch);
        fish_run_free(run);
        fish_model_free(whole);
        world_close(&w, base);
    }
}

/* The file is of the size of what is selected, not of the model. */
static void checkpoints_are_small(void **state)
{
    fish_train_options o = basic;
    fish_model *base = NULL;
    size_t len;
    world w;

    (void)state;
    o.checkpoint = CHECKPOINT;
    o.stop_after = 1;
    world_open(&w, "mlp", "F32", 1000, &base);
    fish_model_free(world_trained(&w, &w.mask, 1, &o));
    fish_free(slurp(CHECKPOINT, &len));
    assert_in_range(len, 3 * 4 * w.mask.n, 3 * 4 * w.mask.n + 4096);
    (void)remove(CHECKPOINT);
    world_close(&w, base);
}

/* A finished run is not run again. */
static void finished_is_finished(void **state)
{
    fish_train_options o = basic;
    fish_model *base = NULL;
    fish_model *a, *b;
    fish_run *run;
    world w;

    (void)state;
    o.checkpoint = CHECKPOINT;
    world_open(&w, "mlp", "F32", 17, &base);
    a = world_trained(&w, &w.mask, 1, &o);
    b = world_model(&w);
    run = run_once(&w, b, &o);
    assert_true(fish_run_finished(run));
    assert_int_equal(fish_run_steps(run), 12);
    assert_same_weights(a, b);
    fish_run_free(run);
    fish_model_free(a);
    fish_model_free(b);
    (void)remove(CHECKPOINT);
    world_close(&w, base);
}

/* ---- what is refused --------------------------------------------------------------------------
 */

static void expect(const world *w, const fish_mask *mask, fish_model *m,
                   const fish_train_options *o, fmp_status want, const char *word)
{
    fmp_error err = {.text = ""};
    fish_run *run = NULL;

    assert_status(world_train(w, m, mask, 1, o, &run, &err), want, &err);
    assert_null(run);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not say \"%s\"", err.text, word);
}

static void expect_clash(const world *w, const fish_train_options *o, const char *word)
{
    fish_model *m = world_model(w);

    expect(w, &w->mask, m, o, FMP_EUSAGE, word);
    fish_model_free(m);
}

static void another_run_is_refused(void **state)
{
    fish_train_options o = basic;
    fish_train_options x;
    fish_model *base = NULL;
    fish_model *m;
    world w;

    (void)state;
    o.checkpoint = CHECKPOINT;
    o.stop_after = 2;
    world_open(&w, "mlp", "F32", 17, &base);
    m = world_trained(&w, &w.mask, 1, &o);
    expect(&w, &w.mask, m, &o, FMP_EUSAGE, "model"); /* not the base any more */
    fish_model_free(m);
    x = o, x.lr = 2e-2, expect_clash(&w, &x, "learning rate");
    x = o, x.optimizer = FISH_SGD, expect_clash(&w, &x, "optimizer");
    x = o, x.seed = 12, expect_clash(&w, &x, "seed");
    x = o, x.epochs = 3, expect_clash(&w, &x, "steps");
    x = o, x.value_bits = 2, expect_clash(&w, &x, "value bits");
    x = o, x.ema = 0.5, expect_clash(&w, &x, "ema");
    x = o, x.refresh_epochs = 1, expect_clash(&w, &x, "refresh epochs");
    world_mask(&w, base, 16);
    expect_clash(&w, &o, "mask");
    world_mask(&w, base, 17);
    m = world_model(&w);
    toy_data_free(w.data);
    w.data = toy_data(3, true);
    x = o, x.regression = true, x.checkpoint = NULL;
    expect(&w, &w.mask, m, &x, FMP_EUSAGE, "outputs");
    fish_model_free(m);
    (void)remove(CHECKPOINT);
    world_close(&w, base);
}

/* The same files, but texts are cut earlier, or pixels scaled in another way. */
static void another_view_is_refused(void **state)
{
    fish_data_options options = {.format = "idx", .labels_path = "toy-labels.idx", .std = 0.25};
    fish_train_options o = basic;
    fish_model *base = NULL;
    fmp_error err = {.text = ""};
    world w;

    (void)state;
    o.checkpoint = CHECKPOINT;
    o.stop_after = 2;
    for (int texts = 0; texts < 2; texts++) {
        world_open(&w, texts ? "bert" : "mlp", "F32", 17, &base);
        fish_model_free(world_trained(&w, &w.mask, 1, &o));
        fish_data_free(w.data);
        if (texts)
            options =
                (fish_data_options){.format = "jsonl", .max_tokens = 6, .tokenizer = w.tokenizer};
        assert_status(
            fish_data_open(texts ? WORLD_TEXT : "toy-images.idx", &options, &w.data, &err), FMP_OK,
            &err);
        expect_clash(&w, &o, "view of training data");
        (void)remove(CHECKPOINT);
        world_close(&w, base);
    }
}

static void options_without_sense(void **state)
{
    fish_train_options x;
    fish_model *base = NULL;
    fish_model *m;
    world w;

    (void)state;
    world_open(&w, "mlp", "F32", 17, &base);
    x = basic, x.lr = -1, expect_clash(&w, &x, "learning rate");
    x = basic, x.lr = NAN, expect_clash(&w, &x, "learning rate");
    x = basic, x.beta2 = 1, expect_clash(&w, &x, "beta2");
    x = basic, x.value_bits = 25, expect_clash(&w, &x, "value bits");
    x = basic, x.value_phase = 2, expect_clash(&w, &x, "value phase");
    x = basic, x.reference_leak = true, x.ema = 0.5, expect_clash(&w, &x, "leak");
    x = basic, x.reference_leak = true, x.moments = FISH_MOMENTS_RESET;
    expect_clash(&w, &x, "resets no moments");
    x = basic, x.batch_size = 1 << 20, x.accumulate = 1 << 20, expect_clash(&w, &x, "accumulate");
    x = basic, x.batch_norm = true, expect_clash(&w, &x, "no batch normalisation");
    x = basic, x.refresh_epochs = 1;
    m = world_model(&w);
    expect(&w, NULL, m, &x, FMP_EUSAGE, "mask");
    x = basic, x.lr = 1e5, x.optimizer = FISH_SGD, x.clip = -1, x.epochs = 50;
    expect(&w, &w.mask, m, &x, FMP_EUSAGE, "learning rate"); /* it diverges */
    fish_model_free(m);
    world_close(&w, base);
}

static void wrong_masks(void **state)
{
    fish_model *base = NULL;
    fish_mask_tensor *t;
    world w;

    (void)state;
    world_open(&w, "mlp", "F32", 17, &base);
    t = &w.tensors[0];
    t->name = "nowhere", expect_clash(&w, &basic, "nowhere"), t->name = base->params[0].name;
    t->idx[1] = t->idx[0], expect_clash(&w, &basic, t->name), t->idx[1] = t->idx[0] + 17;
    t->idx[t->n - 1] = t->n_elements, expect_clash(&w, &basic, t->name);
    world_mask(&w, base, 17);
    w.tensors[1].name = t->name, w.tensors[1].rank = 2;
    expect_clash(&w, &basic, "twice");
    world_mask(&w, base, 17);
    w.tensors[2].full = false, w.tensors[2].n = 1, w.tensors[2].idx = w.idx[2];
    expect_clash(&w, &basic, "head");
    world_mask(&w, base, 17);
    t->shape[0]++;
    expect(&w, &w.mask, base, &basic, FMP_EBASE, t->name);
    world_mask(&w, base, 17);
    w.tensors[2].n = 0, w.tensors[2].full = false, w.tensors[2].idx = w.idx[2];
    expect_clash(&w, &basic, "head");
    world_close(&w, base);
}

static void load_damaged(const world *w, const fish_train_options *o, const char *bytes, size_t len)
{
    fish_model *m = world_model(w);
    fish_run *run = NULL;
    fmp_error err = {.text = ""};
    fmp_status st;

    spill(CHECKPOINT, bytes, len);
    st = world_train(w, m, &w->mask, 1, o, &run, &err);
    if (st != FMP_ECORRUPT && st != FMP_EUSAGE)
        fail_msg("%zu bytes: %s %s", len, fmp_status_name(st), err.text);
    fish_model_free(m);
}

static void damaged_checkpoints(void **state)
{
    fish_train_options o = variant(4);
    fish_model *base = NULL;
    char *bytes;
    size_t len;
    world w;

    (void)state;
    o.checkpoint = CHECKPOINT;
    o.stop_after = 8;
    world_open(&w, "mlp", "F32", 150, &base);
    fish_model_free(world_trained(&w, &w.mask, 1, &o));
    bytes = slurp(CHECKPOINT, &len);
    for (size_t n = 0; n < len; n++)
        load_damaged(&w, &o, bytes, n);
    for (size_t i = 8; bytes[i] != '\0' && i < 8 + 4000; i += 7) { /* the header, here and there */
        fish_model *m = world_model(&w);
        fish_run *run = NULL;
        fmp_error err;

        bytes[i] ^= 0x04;
        spill(CHECKPOINT, bytes, len);
        if (!world_train(&w, m, &w.mask, 1, &o, &run, &err)) /* it may have been a number's digit */
            fish_run_free(run);
        bytes[i] ^= 0x04;
        fish_model_free(m);
    }
    fish_free(bytes);
    (void)remove(CHECKPOINT);
    world_close(&w, base);
}

/* Where a tensor's bytes begin in the file. */
static size_t place_of(const char *bytes, const char *name)
{
    uint64_t len;
    json_t *header;
    size_t at;

    memcpy(&len, bytes, sizeof len);
    header = json_loadb(bytes + 8, len, 0, NULL);
    assert_non_null(header);
    at = (size_t)json_integer_value(
        json_array_get(json_object_get(json_object_get(header, name), "data_offsets"), 0));
    json_decref(header);
    return 8 + len + at;
}

/* Numbers that are well formed and make no sense. */
static void senseless_checkpoints(void **state)
{
    static const struct {
        const char *name;
        size_t at;
        uint32_t value;
        size_t width;
    } lies[] = {
        {"indices", 4, 0, 4},         {"indices", 0, 1 << 20, 4}, {"counts", 0, 1 << 20, 4},
        {"counts", 0, 1, 4},          {"born", 0, 1000, 4},       {"generation", 0, 0x123, 2},
        {"generation", 2, 0x8123, 2}, {"generation", 0, 0, 2}}; /* the last: one more is selected */
    fish_train_options o = variant(4);
    fish_model *base = NULL;
    char *bytes;
    size_t len;
    world w;

    (void)state;
    o.checkpoint = CHECKPOINT;
    o.stop_after = 8;
    world_open(&w, "mlp", "F32", 17, &base);
    fish_model_free(world_trained(&w, &w.mask, 1, &o));
    bytes = slurp(CHECKPOINT, &len);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        char *at = bytes + place_of(bytes, lies[i].name) + lies[i].at;
        char kept[4];
        fish_model *m = world_model(&w);
        fish_run *run = NULL;
        fmp_error err = {.text = ""};

        memcpy(kept, at, lies[i].width);
        memcpy(at, &lies[i].value, lies[i].width);
        spill(CHECKPOINT, bytes, len);
        memcpy(at, kept, lies[i].width);
        assert_status(world_train(&w, m, &w.mask, 1, &o, &run, &err), FMP_ECORRUPT, &err);
        fish_model_free(m);
    }
    spill(CHECKPOINT, bytes, len);
    fish_model_free(world_trained(&w, &w.mask, 1, &o)); /* as it was, it is taken */
    fish_free(bytes);
    (void)remove(CHECKPOINT);
    world_close(&w, base);
}

/* ---- refresh ----------------------------------------------------------------------------------
 */

/* The weights at the end of the first of two epochs, and a step later. */
typedef struct snapshot {
    const fish_model *from;
    fish_model *to, *next;
} snapshot;

static void take(void *ctx, const fish_step_report *r)
{
    const snapshot *s = ctx;

    fish_model *to = r->valid ? NULL : r->step == 6 ? s->to : r->step == 7 ? s->next : NULL;

    for (uint32_t p = 0; to && p < to->n_params; p++)
        memcpy(to->params[p].w, s->from->params[p].w, to->params[p].n * sizeof(float));
}

/* New elements start as in a first step of AdamW, which moves by the learning rate (Kingma and Ba
 * 2015, section 2.1) and, with decay, a little more; by the steps of the old ones it would be by
 * sqrt(10) of it. */
static void check_first_moves(const fish_model *base, const snapshot *s, const fish_mask *before,
                              const fish_mask *after, double lr)
{
    size_t n = 0;

    for (uint32_t p = 0; p < base->n_params; p++) {
        const fish_param *b = &base->params[p];

        for (size_t i = 0; i < b->n; i++) {
            const double move = fabs((double)s->next->params[p].w[i] - s->to->params[p].w[i]);

            if (!world_selected(after, b, i) || world_selected(before, b, i))
                continue;
            assert_true(move <= 1.2 * lr);
            n += move > 0.8 * lr;
        }
    }
    assert_true(n > 0);
}

static void elements_that_leave(void **state)
{
    fish_model *base = NULL;
    world w;

    (void)state;
    world_open(&w, "mlp", "F32", 17, &base);
    for (int i = 0; i < 6; i++) {
        fish_train_options o = basic;
        snapshot s = {.from = world_model(&w), .to = world_model(&w), .next = world_model(&w)};
        fish_model *m = (fish_model *)(uintptr_t)s.from;
        size_t inside;
        size_t outside;
        fish_run *run;

        o.optimizer = i % 2 ? FISH_SGD : FISH_ADAMW;
        o.moments = (fish_moments)(i / 2);
        o.refresh_epochs = 1;
        o.refresh.n_samples = 40;
        o.report = take;
        o.ctx = &s;
        run = run_once(&w, m, &o);
        assert_int_equal(fish_run_mask(run)->n, w.mask.n);
        outside = world_changed(m, s.to, fish_run_mask(run), &inside);
        assert_true(inside > 0);
        if (o.moments == FISH_MOMENTS_LEAK)
            assert_true(outside > 0);
        else
            assert_int_equal(outside, 0);
        /* The mask has moved, and what left has kept what it had learnt. */
        assert_true(world_changed(s.to, base, fish_run_mask(run), NULL) > 0);
        assert_int_equal(world_changed(s.to, base, &w.mask, NULL), 0);
        if (i == 0)
            check_first_moves(base, &s, &w.mask, fish_run_mask(run), o.lr / 2);
        fish_run_free(run);
        fish_model_free(m);
        fish_model_free(s.to);
        fish_model_free(s.next);
    }
    world_close(&w, base);
}

/* The k best by score, then name, then index: by sorting. */
typedef struct scored {
    float score;
    const char *name;
    uint32_t param;
    size_t at;
} scored;

static int best_first(const void *a, const void *b)
{
    const scored *x = a;
    const scored *y = b;
    const int names = strcmp(x->name, y->name);

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return names ? names : x->at < y->at ? -1 : x->at > y->at;
}

static void check_best(bool most, uint32_t n_samples)
{
    fish_train_options o = basic;
    fish_model *base = NULL;
    fish_scores *scores = NULL;
    fish_pool *pool = NULL;
    fish_fisher_options f;
    scored *all;
    size_t n = 0, k;
    snapshot s;
    fish_run *run;
    fmp_error err = {.text = ""};
    world w;

    world_open(&w, "mlp", "F32", 17, &base);
    for (uint32_t t = 0; most && t < w.mask.n_tensors; t++) {
        if (w.tensors[t].full)
            continue;
        w.mask.n -= w.tensors[t].n;
        w.tensors[t].n = w.tensors[t].n_elements * 9 / 10;
        w.mask.n += w.tensors[t].n;
        for (uint64_t i = 0; i < w.tensors[t].n; i++)
            w.tensors[t].idx[i] = i;
    }
    s = (snapshot){.from = world_model(&w), .to = world_model(&w), .next = world_model(&w)};
    o.refresh_epochs = 1;
    o.refresh.n_samples = n_samples;
    o.refresh.seed = 5;
    o.report = take;
    o.ctx = &s;
    run = run_once(&w, (fish_model *)(uintptr_t)s.from, &o);
    f = o.refresh;
    f.size = sizeof f;
    f.seed++;
    assert_status(fish_pool_new(1, &pool, &err), FMP_OK, &err);
    assert_status(fish_fisher(s.to, w.data, pool, &f, &scores, &err), FMP_OK, &err);
    all = calloc(10000, sizeof *all);
    k = w.mask.n;
    for (uint32_t p = 0; p < base->n_params; p++) {
        k -= base->params[p].role == FISH_HEAD ? base->params[p].n : 0;
        for (size_t i = 0; base->params[p].role == FISH_BODY && i < base->params[p].n; i++)
            all[n++] = (scored){.score = scores->scores[p] ? (float)scores->scores[p][i] : 0,
                                .name = base->params[p].name,
                                .param = p,
                                .at = i};
    }
    qsort(all, n, sizeof *all, best_first);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(world_selected(fish_run_mask(run), &base->params[all[i].param], all[i].at),
                         i < k);
    free(all);
    fish_scores_free(scores);
    fish_pool_free(pool);
    fish_run_free(run);
    fish_model_free((fish_model *)(uintptr_t)s.from);
    fish_model_free(s.to);
    fish_model_free(s.next);
    world_close(&w, base);
}

/* With most of the elements and one example, units that it leaves dead make ties at 0. */
static void refresh_takes_the_best(void **state)
{
    (void)state;
    check_best(false, 20);
    check_best(true, 1);
}

/* ---- memory that runs out ---------------------------------------------------------------------
 */

static void every_allocation_may_fail(void **state)
{
    fish_model *base = NULL;
    world w;

    (void)state;
    world_open(&w, "mlp", "F32", 150, &base);
    for (int i = 0; i < 3; i++) {
        fish_train_options o = variant(i ? 4 : 2);
        fmp_status st = FMP_ENOMEM;

        o.checkpoint = CHECKPOINT;
        o.epochs = 2;
        o.eval_every = 6;
        o.stop_after = i < 2 ? 7 : 3; /* the third goes on from the second's file */
        for (long k = 0; st; k++) {
            fish_model *m = world_model(&w);
            fish_pool *pool = NULL;
            fish_run *run = NULL;
            fmp_error err = {.text = ""};

            if (i < 2)
                (void)remove(CHECKPOINT);
            assert_status(fish_pool_new(1, &pool, &err), FMP_OK, &err);
            fish_alloc_fail_at(k);
            st = fish_train(m, w.data, w.data, &w.mask, pool, &o, &run, &err);
            fish_alloc_fail_at(-1);
            if (st)
                assert_status(st, FMP_ENOMEM, &err);
            fish_run_free(run);
            fish_pool_free(pool);
            fish_model_free(m);
            assert_in_range(k, 0, 20000);
        }
    }
    (void)remove(CHECKPOINT);
    world_close(&w, base);
}

static void saving_may_fail(void **state)
{
    fish_model *base = NULL;
    fish_model *m;
    fish_run *run;
    fmp_status st = FMP_ENOMEM;
    world w;

    (void)state;
    world_open(&w, "mlp", "BF16", 3, &base);
    m = world_model(&w);
    run = run_once(&w, m, &basic);
    for (long k = 0; st; k++) {
        fmp_create_result result = {.summary = {.size = 0}};
        fmp_error err = {.text = ""};

        fish_alloc_fail_at(k);
        st = fish_run_save(run, m, w.base, "task.fmp", NULL, &result, &err);
        fish_alloc_fail_at(-1);
        if (st)
            assert_status(st, FMP_ENOMEM, &err);
        assert_int_equal(access("task.fmp", F_OK) == 0, st == FMP_OK);
        assert_in_range(k, 0, 1000);
    }
    (void)remove("task.fmp");
    fish_run_free(run);
    fish_model_free(m);
    world_close(&w, base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(checkpoints_are_small),
        cmocka_unit_test(finished_is_finished),
        cmocka_unit_test(another_run_is_refused),
        cmocka_unit_test(another_view_is_refused),
        cmocka_unit_test(options_without_sense),
        cmocka_unit_test(wrong_masks),
        cmocka_unit_test(damaged_checkpoints),
        cmocka_unit_test(senseless_checkpoints),
        cmocka_unit_test(elements_that_leave),
        cmocka_unit_test(refresh_takes_the_best),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(saving_may_fail),
    };
    char dir[] = "/tmp/fish-resume-XXXXXX";
    int failed;

    if (!mkdtemp(dir) || chdir(dir))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (chdir("/") || rmdir(dir))
        return 1;
    return failed;
}
