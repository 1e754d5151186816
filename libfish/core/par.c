/*
 * Workers that take numbered items, and gates that items pass in order.  A worker is a thread of
 * one run: starting it costs some 20 microseconds, against items of milliseconds.
 */
#include "core/par.h"

#include <pthread.h>
#include <unistd.h>

#include "core/fail.h"
#include "core/mem.h"

struct fish_turnstile {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    fish_pool *pool;
    uint32_t n_gates;
    uint64_t *next; /* [n_gates] the item that may pass */
};

struct fish_pool {
    unsigned n_threads;
    pthread_mutex_t lock;
    fish_item_fn fn;
    void *ctx;
    uint64_t n_items;
    uint64_t next;
    bool failed;
    uint64_t failed_item;
    fmp_status status;
    fmp_error error;
    fish_turnstile *turnstiles[8]; /* woken when a run fails */
};

typedef struct worker {
    fish_pool *pool;
    unsigned number;
    pthread_t thread;
} worker;

fmp_status fish_pool_new(unsigned n_threads, fish_pool **ret, fmp_error *err)
{
    fish_pool *p = fish_calloc(1, sizeof *p);
    const long n_online = sysconf(_SC_NPROCESSORS_ONLN);

    if (!p)
        return fish_fail(err, FMP_ENOMEM, "threads: out of memory");
    p->n_threads = n_threads ? n_threads : n_online > 0 ? (unsigned)n_online : 1;
    if (p->n_threads > 256)
        p->n_threads = 256;
    pthread_mutex_init(&p->lock, NULL);
    *ret = p;
    return FMP_OK;
}

void fish_pool_free(fish_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_destroy(&pool->lock);
    fish_free(pool);
}

unsigned fish_pool_threads(const fish_pool *pool)
{
    return pool->n_threads;
}

static void wake_all(fish_pool *p)
{
    for (size_t i = 0; i < sizeof p->turnstiles / sizeof p->turnstiles[0]; i++) {
        fish_turnstile *t = p->turnstiles[i];

        if (!t)
            continue;
        pthread_mutex_lock(&t->lock);
        pthread_cond_broadcast(&t->moved);
        pthread_mutex_unlock(&t->lock);
    }
}

/* Keeps the failure of the lowest item.  An item that a turnstile turned away has none of its own.
 */
static void note_failure(fish_pool *p, uint64_t item, fmp_status st, const fmp_error *error)
{
    pthread_mutex_lock(&p->lock);
    if (!p->failed || (item < p->failed_item && st != FMP_ECANCELED)) {
        p->failed_item = item;
        p->status = st;
        p->error = *error;
    }
    __atomic_store_n(&p->failed, true, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&p->lock);
    wake_all(p);
}

static bool has_failed(const fish_pool *p)
{
    return __atomic_load_n(&p->failed, __ATOMIC_ACQUIRE);
}

static void *work(void *arg)
{
    const worker *w = arg;
    fish_pool *p = w->pool;

    for (;;) {
        fmp_error error = {.text = ""};
        uint64_t item;
        bool over;
        fmp_status st;

        pthread_mutex_lock(&p->lock);
        over = p->failed || p->next == p->n_items;
        item = over ? 0 : p->next++;
        pthread_mutex_unlock(&p->lock);
        if (over)
            return NULL;
        st = p->fn(p->ctx, w->number, item, &error);
        if (st)
            note_failure(p, item, st, &error);
    }
}

fmp_status fish_pool_run(fish_pool *pool, uint64_t n_items, fish_item_fn fn, void *ctx,
                         fmp_error *err)
{
    worker workers[256];
    unsigned n = pool->n_threads;
    unsigned n_started = 1;

    pool->fn = fn;
    pool->ctx = ctx;
    pool->n_items = n_items;
    pool->next = 0;
    pool->failed = false;
    if (n > n_items)
        n = n_items ? (unsigned)n_items : 1;
    for (unsigned i = 0; i < n; i++)
        workers[i] = (worker){.pool = pool, .number = i};
    /* A thread that the system refuses is work for the others. */
    while (n_started < n &&
           !pthread_create(&workers[n_started].thread, NULL, work, &workers[n_started]))
        n_started++;
    work(&workers[0]);
    for (unsigned i = 1; i < n_started; i++)
        pthread_join(workers[i].thread, NULL);
    if (!pool->failed)
        return FMP_OK;
    if (err)
        *err = pool->error;
    return pool->status;
}

/* ---- turnstiles -------------------------------------------------------------------------------
 */

fmp_status fish_turnstile_new(fish_pool *pool, uint32_t n_gates, fish_turnstile **ret,
                              fmp_error *err)
{
    fish_turnstile *t = fish_calloc(1, sizeof *t);
    size_t slot = 0;

    if (t)
        t->next = fish_calloc(n_gates, sizeof *t->next);
    while (slot < sizeof pool->turnstiles / sizeof pool->turnstiles[0] && pool->turnstiles[slot])
        slot++;
    if (!t || !t->next || slot == sizeof pool->turnstiles / sizeof pool->turnstiles[0]) {
        if (t)
            fish_free(t->next);
        fish_free(t);
        return fish_fail(err, FMP_ENOMEM, "threads: out of memory");
    }
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->moved, NULL);
    t->pool = pool;
    t->n_gates = n_gates;
    pool->turnstiles[slot] = t;
    *ret = t;
    return FMP_OK;
}

void fish_turnstile_free(fish_turnstile *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < sizeof t->pool->turnstiles / sizeof t->pool->turnstiles[0]; i++) {
        if (t->pool->turnstiles[i] == t)
            t->pool->turnstiles[i] = NULL;
    }
    pthread_cond_destroy(&t->moved);
    pthread_mutex_destroy(&t->lock);
    fish_free(t->next);
    fish_free(t);
}

void fish_turnstile_reset(fish_turnstile *t)
{
    for (uint32_t i = 0; i < t->n_gates; i++)
        t->next[i] = 0;
}

bool fish_turnstile_enter(fish_turnstile *t, uint32_t gate, uint64_t item)
{
    bool ok;

    pthread_mutex_lock(&t->lock);
    while (t->next[gate] != item && !has_failed(t->pool))
        pthread_cond_wait(&t->moved, &t->lock);
    ok = t->next[gate] == item && !has_failed(t->pool);
    pthread_mutex_unlock(&t->lock);
    return ok;
}

void fish_turnstile_leave(fish_turnstile *t, uint32_t gate, uint64_t item)
{
    pthread_mutex_lock(&t->lock);
    t->next[gate] = item + 1;
    pthread_cond_broadcast(&t->moved);
    pthread_mutex_unlock(&t->lock);
}
