/*
 * fmp_overlap: which elements several patches of one base share.  Nothing is kept of an element but
 * counts.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/status.h"
#include "beside.h"

#define CHUNK 4096u /* elements looked at together: their sets stay in the nearest cache */

typedef struct set_count {
    uint64_t patches;
    uint64_t n;
} set_count;

/* Counts by set of two patches or more, in the order in which sets came up. */
typedef struct set_table {
    set_count *set;
    uint32_t *place; /* open addressing: number in `set`, + 1; 0: free */
    uint32_t n, cap; /* places are twice as many */
    uint64_t rest;   /* elements whose set found the table full */
} set_table;

/* Added to by many threads: sums come out the same in any order. */
typedef struct tensor_counts {
    _Atomic uint64_t n_changed, n_shared, n_same, n_conflicts;
} tensor_counts;

typedef struct counter {
    uint64_t set[CHUNK];             /* of each element of a chunk, the patches that change it */
    uint64_t used[CHUNK / 64];       /* a bit for each element that is not empty */
    uint64_t alone[FMP_OVERLAP_MAX]; /* elements that only this patch changes */
    fmp_overlap_pair *pair;          /* n x n, first below second; n_first and n_second unused */
    set_table sets;                  /* of the item at hand */
    uint64_t item;
    fmp_pool *pool;
    bool direct; /* its turn has come: sets go straight into the table of all */
} counter;

struct fmp_overlap {
    fmp_beside beside;
    tensor_counts *tensors;
    _Atomic uint64_t *changed; /* of each tensor, by each patch */
    uint64_t total[FMP_OVERLAP_MAX];
    counter *counter[FMP_POOL_MAX_THREADS];
    set_table sets; /* filled item by item */
    fmp_overlap_pair *pair;
    fmp_progress progress;
    _Atomic uint64_t done; /* items */
};

static fmp_status no_memory(fmp_error *err)
{
    return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "overlap: out of memory");
}

/* ---- sets -------------------------------------------------------------------------------------
 */

static void sets_release(set_table *t)
{
    fmp_free(t->set);
    fmp_free(t->place);
    *t = (set_table){0};
}

/* Empties a table and keeps its memory. */
static void sets_clear(set_table *t)
{
    t->n = 0;
    if (t->cap)
        memset(t->place, 0, 2 * (size_t)t->cap * sizeof *t->place);
}

/* Where the number of a set stands, or would. */
static uint32_t *find_place(const set_table *t, uint64_t patches)
{
    const uint32_t mask = 2 * t->cap - 1;

    for (uint32_t at = (uint32_t)(patches * 0x9e3779b97f4a7c15u >> 32);; at++) {
        uint32_t *place = &t->place[at & mask];

        if (!*place || t->set[*place - 1].patches == patches)
            return place;
    }
}

static bool sets_grow(set_table *t)
{
    const uint32_t cap = t->cap ? 2 * t->cap : 64;
    set_count *set = fmp_realloc(t->set, cap, sizeof *set);
    uint32_t *place = set ? fmp_calloc(2 * (size_t)cap, sizeof *place) : NULL;

    if (set)
        t->set = set;
    if (!place)
        return false;
    fmp_free(t->place);
    t->place = place;
    t->cap = cap;
    for (uint32_t i = 0; i < t->n; i++)
        *find_place(t, t->set[i].patches) = i + 1;
    return true;
}

typedef enum added { ADDED, FULL, NO_MEMORY } added;

static added sets_add(set_table *t, uint64_t patches, uint64_t n)
{
    uint32_t *place;

    if (!t->cap && !sets_grow(t))
        return NO_MEMORY;
    place = find_place(t, patches);
    if (!*place) {
        if (t->n == FMP_OVERLAP_SETS_MAX)
            return FULL;
        if (t->n == t->cap) {
            if (!sets_grow(t))
                return NO_MEMORY;
            place = find_place(t, patches);
        }
        t->set[t->n++] = (set_count){.patches = patches};
        *place = t->n;
    }
    t->set[*place - 1].n += n;
    return ADDED;
}

/* The table of all, in the order of elements: only whose turn it is may come here. */
static bool add_in_turn(fmp_overlap *o, uint64_t patches, uint64_t n)
{
    const added a = sets_add(&o->sets, patches, n);

    if (a == FULL)
        o->sets.rest += n;
    return a != NO_MEMORY;
}

static bool move_sets(fmp_overlap *o, counter *c)
{
    for (uint32_t i = 0; i < c->sets.n; i++) {
        if (!add_in_turn(o, c->sets.set[i].patches, c->sets.set[i].n))
            return false;
    }
    sets_clear(&c->sets);
    return true;
}

/* An item with more sets than the table holds waits for its turn, and goes on from there. */
static fmp_status add_set(fmp_overlap *o, counter *c, uint64_t patches, fmp_error *err)
{
    fmp_status st;

    if (!c->direct) {
        switch (sets_add(&c->sets, patches, 1)) {
        case ADDED:
            return FMP_OK;
        case NO_MEMORY:
            return no_memory(err);
        case FULL:
            break;
        }
        st = fmp_pool_wait_turn(c->pool, c->item, err);
        if (st)
            return st;
        c->direct = true;
        if (!move_sets(o, c))
            return no_memory(err);
    }
    return add_in_turn(o, patches, 1) ? FMP_OK : no_memory(err);
}

/* ---- counting ---------------------------------------------------------------------------------
 */

/* Sums over the slice at hand. */
typedef struct slice_counts {
    uint64_t n_shared, n_same, n_conflicts;
} slice_counts;

/* An element that several patches change; next[i]: its change in each of them, which is taken. */
static void count_shared(const fmp_overlap *o, counter *c, const fmp_beside_slot *s, uint64_t set,
                         uint32_t *next, slice_counts *sum)
{
    bool same = true;
    bool conflict = false;

    for (uint64_t rest = set; rest; rest &= rest - 1) {
        const uint32_t i = (uint32_t)__builtin_ctzll(rest);

        for (uint64_t others = rest & (rest - 1); others; others &= others - 1) {
            const uint32_t k = (uint32_t)__builtin_ctzll(others);
            fmp_overlap_pair *p = &c->pair[(size_t)i * o->beside.n + k];
            const bool alike = fmp_beside_alike(s, i, next[i], k, next[k]);
            const bool against = fmp_beside_against(s, i, next[i], k, next[k]);

            p->n_shared++;
            p->n_same += alike;
            p->n_conflicts += against;
            same &= alike;
            conflict |= against;
        }
        next[i]++;
    }
    sum->n_shared++;
    sum->n_same += same;
    sum->n_conflicts += conflict;
}

/* Marks the changes of all patches in the chunk that begins at `from`; returns a bit for each word
 * of c->used that has one. */
static uint64_t mark_chunk(const fmp_overlap *o, counter *c, const fmp_beside_slot *s,
                           uint32_t from, uint32_t *marked)
{
    uint64_t words = 0;

    for (uint32_t i = 0; i < o->beside.n; i++) {
        const uint32_t end = s->first[i + 1];
        const uint64_t bit = 1ull << i;
        uint32_t k = marked[i];

        for (; k < end && s->at[k] - from < CHUNK; k++) {
            const uint32_t at = s->at[k] - from;

            c->set[at] |= bit;
            c->used[at / 64] |= 1ull << at % 64;
            words |= 1ull << at / 64;
        }
        marked[i] = k;
    }
    return words;
}

static fmp_status count_chunk(fmp_overlap *o, counter *c, const fmp_beside_slot *s, uint64_t words,
                              uint32_t *next, slice_counts *sum, fmp_error *err)
{
    for (; words; words &= words - 1) {
        const unsigned w = (unsigned)__builtin_ctzll(words);
        uint64_t left = c->used[w];

        c->used[w] = 0;
        for (; left; left &= left - 1) {
            const unsigned at = 64 * w + (unsigned)__builtin_ctzll(left);
            const uint64_t set = c->set[at];
            fmp_status st;

            c->set[at] = 0;
            if (!(set & (set - 1))) {
                const unsigned i = (unsigned)__builtin_ctzll(set);

                c->alone[i]++;
                next[i]++;
                continue;
            }
            count_shared(o, c, s, set, next, sum);
            st = add_set(o, c, set, err);
            if (st)
                return st;
        }
    }
    return FMP_OK;
}

typedef struct item_work {
    fmp_overlap *o;
    counter *c;
} item_work;

static fmp_status count_slice(void *ctx, uint32_t tensor, fmp_beside_slot *s, fmp_error *err)
{
    const item_work *x = ctx;
    const uint32_t n = x->o->beside.n;
    tensor_counts *t = &x->o->tensors[tensor];
    uint32_t next[FMP_OVERLAP_MAX], marked[FMP_OVERLAP_MAX];
    uint64_t before = 0, after = 0;
    slice_counts sum = {0};

    for (uint32_t i = 0; i < n; i++) {
        next[i] = marked[i] = s->first[i];
        before += x->c->alone[i];
        if (s->first[i + 1] > s->first[i])
            x->o->changed[(size_t)tensor * n + i] += s->first[i + 1] - s->first[i];
    }
    for (;;) {
        uint32_t least = UINT32_MAX;
        fmp_status st;

        for (uint32_t i = 0; i < n; i++) {
            if (marked[i] < s->first[i + 1] && s->at[marked[i]] < least)
                least = s->at[marked[i]];
        }
        if (least == UINT32_MAX)
            break;
        st = count_chunk(x->o, x->c, s, mark_chunk(x->o, x->c, s, least - least % CHUNK, marked),
                         next, &sum, err);
        if (st)
            return st;
    }
    for (uint32_t i = 0; i < n; i++)
        after += x->c->alone[i];
    t->n_changed += after - before + sum.n_shared;
    t->n_shared += sum.n_shared;
    t->n_same += sum.n_same;
    t->n_conflicts += sum.n_conflicts;
    return FMP_OK;
}

static fmp_status work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_overlap *o = ctx;
    counter *c = o->counter[slot];
    item_work x = {.o = o, .c = c};

    c->item = item;
    c->pool = pool;
    c->direct = false;
    return fmp_beside_run(&o->beside, item, slot, count_slice, &x, err);
}

static fmp_status finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    fmp_overlap *o = ctx;

    (void)item;
    o->done++;
    return move_sets(o, o->counter[slot]) ? FMP_OK : no_memory(err);
}

static fmp_status poll(void *ctx, fmp_error *err)
{
    const fmp_overlap *o = ctx;

    if (o->progress.fn &&
        o->progress.fn(o->progress.ctx, fmp_beside_done(&o->beside, o->done), o->beside.stored))
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "canceled");
    return FMP_OK;
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

static void drop_counter(counter *c)
{
    if (!c)
        return;
    fmp_free(c->pair);
    sets_release(&c->sets);
    fmp_free(c);
}

void fmp_overlap_free(fmp_overlap *o)
{
    if (!o)
        return;
    for (unsigned i = 0; i < FMP_POOL_MAX_THREADS; i++)
        drop_counter(o->counter[i]);
    fmp_beside_release(&o->beside);
    fmp_free(o->tensors);
    fmp_free(o->changed);
    sets_release(&o->sets);
    fmp_free(o->pair);
    fmp_free(o);
}

static fmp_status make_counters(fmp_overlap *o, fmp_error *err)
{
    const size_t n = o->beside.n;

    o->tensors = fmp_calloc(o->beside.n_tensors, sizeof *o->tensors);
    o->changed = fmp_calloc(o->beside.n_tensors * n, sizeof *o->changed);
    o->pair = fmp_calloc(n * n, sizeof *o->pair);
    if (!o->tensors || !o->changed || !o->pair)
        return no_memory(err);
    for (unsigned i = 0; i < o->beside.n_slots; i++) {
        counter *c = fmp_calloc(1, sizeof *c);

        o->counter[i] = c;
        if (!c)
            return no_memory(err);
        c->pair = fmp_calloc(n * n, sizeof *c->pair);
        if (!c->pair)
            return no_memory(err);
    }
    return FMP_OK;
}

static int compare_sets(const void *a, const void *b)
{
    const set_count *x = a;
    const set_count *y = b;

    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return x->patches < y->patches ? -1 : x->patches > y->patches;
}

/* Sums of all threads; sets of one patch join the others; the most elements first. */
static fmp_status gather(fmp_overlap *o, fmp_error *err)
{
    const uint32_t n = o->beside.n;
    set_count *all = fmp_realloc(o->sets.set, o->sets.n + n, sizeof *all);

    if (!all)
        return no_memory(err);
    o->sets.set = all;
    for (uint32_t i = 0; i < n; i++) {
        set_count one = {.patches = 1ull << i};

        for (unsigned k = 0; k < o->beside.n_slots; k++)
            one.n += o->counter[k]->alone[i];
        if (one.n)
            all[o->sets.n++] = one;
        for (uint32_t t = 0; t < o->beside.n_tensors; t++)
            o->total[i] += o->changed[(size_t)t * n + i];
    }
    if (o->sets.n)
        qsort(all, o->sets.n, sizeof *all, compare_sets);
    for (unsigned k = 0; k < o->beside.n_slots; k++) {
        for (size_t i = 0; i < (size_t)n * n; i++) {
            o->pair[i].n_shared += o->counter[k]->pair[i].n_shared;
            o->pair[i].n_same += o->counter[k]->pair[i].n_same;
            o->pair[i].n_conflicts += o->counter[k]->pair[i].n_conflicts;
        }
    }
    return FMP_OK;
}

fmp_status fmp_overlap_new(const fmp_patch *const *patches, size_t n_patches,
                           const fmp_overlap_options *options, fmp_overlap **ret, fmp_error *err)
{
    fmp_pool_job job = {.work = work, .finish = finish, .poll = poll};
    fmp_overlap_options how = {0};
    fmp_overlap *o;
    fmp_status st;

    if (n_patches == 0 || n_patches > FMP_OVERLAP_MAX)
        return fmp_fail(err, FMP_EUSAGE, FMP_NO_OFFSET, "%zu patches to compare: 1 to %u expected",
                        n_patches, FMP_OVERLAP_MAX);
    if (options)
        memcpy(&how, options, options->size < sizeof how ? options->size : sizeof how);
    o = fmp_calloc(1, sizeof *o);
    if (!o)
        return no_memory(err);
    o->progress = how.progress;
    st = fmp_beside_init(&o->beside, patches, (uint32_t)n_patches, how.shapes_only, false,
                         how.n_threads, err);
    if (!st)
        st = make_counters(o, err);
    job.ctx = o;
    job.n_items = o->beside.n_items;
    if (!st)
        st = fmp_pool_run(&job, o->beside.n_slots, err);
    if (!st)
        st = gather(o, err);
    if (st) {
        fmp_overlap_free(o);
        return st;
    }
    fmp_beside_rest(&o->beside);
    *ret = o;
    return FMP_OK;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

fmp_overlap_pair fmp_overlap_of(const fmp_overlap *o, size_t first, size_t second)
{
    const size_t low = first < second ? first : second;
    const size_t high = first < second ? second : first;
    fmp_overlap_pair p = {0};

    if (high >= o->beside.n)
        return p;
    p = o->pair[low * o->beside.n + high];
    p.n_first = o->total[first];
    p.n_second = o->total[second];
    if (first == second)
        p.n_shared = p.n_same = o->total[first];
    return p;
}

uint32_t fmp_overlap_tensor_count(const fmp_overlap *o)
{
    return o->beside.n_tensors;
}

fmp_overlap_tensor fmp_overlap_tensor_at(const fmp_overlap *o, uint32_t tensor)
{
    const tensor_counts *t;
    fmp_tensor_info info;

    if (tensor >= o->beside.n_tensors)
        return (fmp_overlap_tensor){0};
    t = &o->tensors[tensor];
    info = fmp_beside_tensor(&o->beside, tensor);
    return (fmp_overlap_tensor){.name = info.name,
                                .n_elements = info.n_elements,
                                .n_changed = t->n_changed,
                                .n_shared = t->n_shared,
                                .n_same = t->n_same,
                                .n_conflicts = t->n_conflicts};
}

uint64_t fmp_overlap_changed(const fmp_overlap *o, uint32_t tensor, size_t patch)
{
    if (tensor >= o->beside.n_tensors || patch >= o->beside.n)
        return 0;
    return o->changed[(size_t)tensor * o->beside.n + patch];
}

uint32_t fmp_overlap_set_count(const fmp_overlap *o)
{
    return o->sets.n;
}

uint64_t fmp_overlap_set_at(const fmp_overlap *o, uint32_t set, uint64_t *ret_patches)
{
    if (set >= o->sets.n) {
        *ret_patches = 0;
        return 0;
    }
    *ret_patches = o->sets.set[set].patches;
    return o->sets.set[set].n;
}

uint64_t fmp_overlap_set_rest(const fmp_overlap *o)
{
    return o->sets.rest;
}
