/*
 * A new mask in the middle of training (Sung et al. 2021, section 4.3): scores of the model as it
 * is now, the k best of them, and what becomes of optimizer state.  The order is fish_select()'s:
 * score as float descending, names in byte order, index ascending.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/fail.h"
#include "core/mem.h"
#include "train/run.h"

#define N_BUCKETS 65536u

/* A score's key: non-negative floats are ordered like their bits. */
static uint32_t key_of(double score)
{
    const float f = (float)score;
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    return f == 0 ? 0 : bits; /* -0 too */
}

/* Counts keys by their upper half, or, where that is `high`, by their lower half. */
static void count(const fish_run *run, const fish_scores *scores, const uint32_t *high,
                  uint64_t *buckets)
{
    memset(buckets, 0, N_BUCKETS * sizeof *buckets);
    for (uint32_t p = 0; p < run->model->n_params; p++) {
        const fish_param *param = &run->model->params[p];

        for (size_t i = 0; param->role == FISH_BODY && i < param->n; i++) {
            const uint32_t key = scores->scores[p] ? key_of(scores->scores[p][i]) : 0;

            if (!high)
                buckets[key >> 16]++;
            else if (key >> 16 == *high)
                buckets[key & 0xffff]++;
        }
    }
}

/* The bucket in which the `rest`-th element from above lies; rest is lowered by those above it. */
static uint32_t find_bucket(const uint64_t *buckets, uint64_t *rest)
{
    uint32_t b = N_BUCKETS - 1;

    while (b && buckets[b] < *rest)
        *rest -= buckets[b--];
    return b;
}

static fmp_status check_scores(const fish_run *run, const fish_scores *scores, fmp_error *err)
{
    for (uint32_t p = 0; p < run->model->n_params; p++) {
        const fish_param *param = &run->model->params[p];

        for (size_t i = 0; scores->scores[p] && i < param->n; i++) {
            if (!(scores->scores[p][i] >= 0))
                return fish_fail(err, FMP_ECORRUPT, "score of tensor \"%s\", element %zu is %g",
                                 param->name, i, scores->scores[p][i]);
        }
    }
    return FMP_OK;
}

/* Keeps what is above the threshold, and of those on it as many as *ties says. */
static fmp_status choose_param(const fish_param *param, const double *scores, uint32_t threshold,
                               uint64_t *ties, fish_chosen *c, fmp_error *err)
{
    const uint64_t ties_before = *ties;
    uint64_t n_ties = 0;
    size_t n = 0;

    for (size_t i = 0; i < param->n; i++) {
        const uint32_t key = scores ? key_of(scores[i]) : 0;

        n += key > threshold;
        n_ties += key == threshold;
    }
    if (n_ties > *ties)
        n_ties = *ties;
    c->n = n + (size_t)n_ties;
    *ties = ties_before - n_ties;
    if (!c->n || c->n == param->n)
        return FMP_OK;
    c->idx = fish_alloc(c->n, sizeof *c->idx);
    if (!c->idx)
        return fish_fail(err, FMP_ENOMEM, "mask: out of memory");
    n = 0;
    for (size_t i = 0; n < c->n && i < param->n; i++) {
        const uint32_t key = scores ? key_of(scores[i]) : 0;
        const bool tie = key == threshold && n_ties;

        if (tie)
            n_ties--;
        if (tie || key > threshold)
            c->idx[n++] = (uint32_t)i;
    }
    return FMP_OK;
}

typedef struct named {
    const char *name;
    uint32_t param;
} named;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

/* k elements in all, the head among them. */
static fmp_status choose(const fish_run *run, const fish_scores *scores, fish_selection *ret,
                         fmp_error *err)
{
    const fish_model *m = run->model;
    uint64_t *buckets = fish_alloc(N_BUCKETS, sizeof *buckets);
    named *order = fish_alloc(m->n_params, sizeof *order);
    fish_selection s = {.n_params = m->n_params, .of = fish_calloc(m->n_params, sizeof *s.of)};
    uint64_t rest = run->selected.n;
    uint32_t high;
    uint32_t threshold;
    fmp_status st = FMP_OK;

    if (!buckets || !order || !s.of) {
        st = fish_fail(err, FMP_ENOMEM, "mask: out of memory");
        goto out;
    }
    for (uint32_t p = 0; p < m->n_params; p++) {
        order[p] = (named){.name = m->params[p].name, .param = p};
        if (m->params[p].role != FISH_HEAD)
            continue;
        s.of[p].n = m->params[p].n;
        rest -= m->params[p].n;
    }
    qsort(order, m->n_params, sizeof *order, by_name);
    count(run, scores, NULL, buckets);
    high = find_bucket(buckets, &rest);
    count(run, scores, &high, buckets);
    threshold = high << 16 | find_bucket(buckets, &rest);
    for (uint32_t i = 0; i < m->n_params && !st; i++) {
        const uint32_t p = order[i].param;

        if (m->params[p].role == FISH_BODY)
            st = choose_param(&m->params[p], scores->scores[p], threshold, &rest, &s.of[p], err);
    }
    fish_selection_number(&s);
out:
    fish_free(buckets);
    fish_free(order);
    if (st)
        fish_selection_release(&s);
    else
        *ret = s;
    return st;
}

/* ---- optimizer state --------------------------------------------------------------------------
 */

static void forget(fish_state *s, size_t at)
{
    s->m[at] = 0;
    if (s->v)
        s->v[at] = 0;
}

/*
 * Keep: those that stay go on, new ones start at 0 with a step count of their own, those that leave
 * stop.  Reset: all start at 0.  Leak: moments go on wherever they are, by one step count, as in
 * the authors' code, whose mask multiplies the gradient and nothing else.
 */
static void move_element(fish_run *run, size_t at, bool selected, uint16_t born)
{
    fish_state *s = &run->state;
    uint16_t *gen = &s->gen[at];
    const bool was = *gen != FISH_FROZEN && !(*gen & FISH_LEFT);

    if (run->o.moments == FISH_MOMENTS_LEAK) {
        if (selected)
            *gen = 0;
        else if (*gen != FISH_FROZEN)
            *gen = FISH_LEFT;
        return;
    }
    if (!selected)
        *gen = FISH_FROZEN;
    else if (!was || run->o.moments == FISH_MOMENTS_RESET)
        *gen = born;
    else
        return;
    if (s->m)
        forget(s, at);
}

static void move_state(fish_run *run)
{
    const fish_selection *tracked = &run->state.tracked;
    const uint16_t born = (uint16_t)(run->state.n_born - 1);

    for (uint32_t p = 0; p < tracked->n_params; p++) {
        const fish_chosen *t = &tracked->of[p];
        const fish_chosen *c = &run->selected.of[p];
        size_t i = 0;

        for (size_t j = 0; j < t->n; j++) {
            const bool selected = i < c->n && fish_chosen_at(c, i) == fish_chosen_at(t, j);

            i += selected;
            move_element(run, t->at + j, selected, born);
        }
    }
}

fmp_status fish_refresh(fish_run *run, fmp_error *err)
{
    fish_fisher_options o = run->o.refresh;
    fish_state *s = &run->state;
    fish_scores *scores = NULL;
    fish_selection chosen = {.n_params = 0};
    fmp_status st;

    o.seed += s->step / run->steps_per_epoch; /* other examples each time */
    st = fish_fisher(run->model, run->train, run->pool, &o, &scores, err);
    if (st)
        return st;
    st = check_scores(run, scores, err);
    if (!st)
        st = choose(run, scores, &chosen, err);
    fish_scores_free(scores);
    if (!st)
        st = fish_state_track(run, &chosen, err);
    if (st) {
        fish_selection_release(&chosen);
        return st;
    }
    fish_selection_release(&run->selected);
    run->selected = chosen;
    if (s->n_born <= FISH_MAX_BORN)
        s->n_born++;
    s->born[s->n_born - 1] = s->step;
    move_state(run);
    return fish_run_cut(run, err);
}
