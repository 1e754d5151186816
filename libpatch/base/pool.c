/*
 * Ordered parallel work.  See pool.h.
 */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"

#define POLL_NS 100000000

struct fmp_pool {
    const fmp_pool_job *job;
    pthread_mutex_t lock;
    pthread_cond_t turn; /* `done`, `failed` or `n_running` changed */
    uint64_t next;       /* to be worked on */
    uint64_t done;       /* items below have been finished */
    uint64_t failed;     /* the lowest failing item so far, n_items when none */
    unsigned n_running;  /* threads besides the caller's */
    fmp_status status;   /* of item `failed` */
    fmp_error error;
};

typedef struct worker {
    fmp_pool *pool;
    unsigned slot;
    pthread_t thread;
} worker;

unsigned fmp_pool_threads(unsigned n)
{
    cpu_set_t set;

    if (n == 0 && sched_getaffinity(0, sizeof set, &set) == 0)
        n = (unsigned)CPU_COUNT(&set);
    if (n == 0) {
        const long cores = sysconf(_SC_NPROCESSORS_ONLN);

        n = cores > 0 ? (unsigned)cores : 1;
    }
    return n < FMP_POOL_MAX_THREADS ? n : FMP_POOL_MAX_THREADS;
}

/* With the lock held. */
static void record(fmp_pool *p, uint64_t item, fmp_status st, const fmp_error *err)
{
    if (item < p->failed) {
        p->failed = item;
        p->status = st;
        p->error = *err;
    }
    pthread_cond_broadcast(&p->turn);
}

fmp_status fmp_pool_wait_turn(fmp_pool *p, uint64_t item, fmp_error *err)
{
    bool stopped;

    pthread_mutex_lock(&p->lock);
    while (p->done != item && p->failed > item)
        pthread_cond_wait(&p->turn, &p->lock);
    stopped = p->failed <= item;
    pthread_mutex_unlock(&p->lock);
    return stopped ? fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "stopped") : FMP_OK;
}

/* Work and finish of one item; every item below the lowest failing one gets both. */
static void run_item(fmp_pool *p, uint64_t item, unsigned slot)
{
    const fmp_pool_job *job = p->job;
    fmp_error err = {0};
    fmp_status st = job->work(job->ctx, p, item, slot, &err);
    fmp_error ignored;

    if (!st && fmp_pool_wait_turn(p, item, &ignored) == FMP_OK && job->finish)
        st = job->finish(job->ctx, item, slot, &err);
    pthread_mutex_lock(&p->lock);
    if (st)
        record(p, item, st, &err);
    else if (p->failed > item) {
        p->done = item + 1;
        pthread_cond_broadcast(&p->turn);
    }
    pthread_mutex_unlock(&p->lock);
}

static bool take_item(fmp_pool *p, uint64_t *item)
{
    bool have;

    pthread_mutex_lock(&p->lock);
    have = p->next < p->job->n_items && p->next < p->failed;
    if (have)
        *item = p->next++;
    pthread_mutex_unlock(&p->lock);
    return have;
}

static void *worker_main(void *arg)
{
    const worker *w = arg;
    fmp_pool *p = w->pool;
    uint64_t item;

    while (take_item(p, &item))
        run_item(p, item, w->slot);
    pthread_mutex_lock(&p->lock);
    p->n_running--;
    pthread_cond_broadcast(&p->turn);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void poll_once(fmp_pool *p)
{
    fmp_error err = {0};
    const fmp_status st = p->job->poll ? p->job->poll(p->job->ctx, &err) : FMP_OK;

    if (!st)
        return;
    pthread_mutex_lock(&p->lock);
    record(p, p->done, st, &err); /* nothing that is not finished yet will be */
    pthread_mutex_unlock(&p->lock);
}

static struct timespec soon(void)
{
    struct timespec t = {0};

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += POLL_NS;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

/* The calling thread only polls while others work. */
static void wait_and_poll(fmp_pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->n_running) {
        const struct timespec until = soon();
        int rc = 0;

        while (p->n_running && rc == 0)
            rc = pthread_cond_timedwait(&p->turn, &p->lock, &until);
        if (!p->n_running || p->failed < p->job->n_items)
            continue; /* over, or ending anyway */
        pthread_mutex_unlock(&p->lock);
        poll_once(p);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
}

static void run_here(fmp_pool *p)
{
    uint64_t item;

    while (take_item(p, &item)) {
        run_item(p, item, 0);
        if (p->next < p->job->n_items && p->failed == UINT64_MAX)
            poll_once(p);
    }
}

/* Returns how many there are.  Signals stay with the threads of the program. */
static unsigned start_workers(fmp_pool *p, worker *workers, unsigned n)
{
    sigset_t all, old;
    unsigned started = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_mutex_lock(&p->lock); /* held until n_running is right */
    for (; started < n; started++) {
        workers[started] = (worker){.pool = p, .slot = started};
        if (pthread_create(&workers[started].thread, NULL, worker_main, &workers[started]))
            break;
    }
    p->n_running = started;
    pthread_mutex_unlock(&p->lock);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return started;
}

static bool init_locks(fmp_pool *p)
{
    pthread_condattr_t attr;
    bool good;

    if (pthread_mutex_init(&p->lock, NULL))
        return false;
    if (pthread_condattr_init(&attr)) {
        pthread_mutex_destroy(&p->lock);
        return false;
    }
    good =
        !pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) && !pthread_cond_init(&p->turn, &attr);
    pthread_condattr_destroy(&attr);
    if (!good)
        pthread_mutex_destroy(&p->lock);
    return good;
}

fmp_status fmp_pool_run(const fmp_pool_job *job, unsigned n_threads, fmp_error *err)
{
    fmp_pool p = {.job = job, .failed = UINT64_MAX};
    worker workers[FMP_POOL_MAX_THREADS];
    unsigned n = fmp_pool_threads(n_threads);
    unsigned started;

    if (n > job->n_items)
        n = (unsigned)job->n_items;
    if (!init_locks(&p))
        return fmp_fail(err, FMP_ENOMEM, FMP_NO_OFFSET, "no lock to be had");
    started = n > 1 ? start_workers(&p, workers, n) : 0;
    if (started)
        wait_and_poll(&p);
    else
        run_here(&p);
    for (unsigned i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_cond_destroy(&p.turn);
    pthread_mutex_destroy(&p.lock);
    if (p.status && err)
        *err = p.error;
    return p.status;
}
