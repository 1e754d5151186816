/*
 * Ordered parallel work: items 0, 1, 2, ... are worked on by a few threads and finished strictly in
 * order, one at a time, so that results do not depend on the number of threads.
 */
#ifndef FMP_BASE_POOL_H
#define FMP_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "fmpatch.h"

#define FMP_POOL_MAX_THREADS 8

typedef struct fmp_pool fmp_pool;

typedef struct fmp_pool_job {
    uint64_t n_items;
    /* Runs on any thread.  `slot` (0 .. fmp_pool_threads() - 1) names scratch memory that nobody
     * else uses until finish() of this item has returned. */
    fmp_status (*work)(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err);
    /* Runs in item order, never two at once, on the thread that did the work.  May be NULL. */
    fmp_status (*finish)(void *ctx, uint64_t item, unsigned slot, fmp_error *err);
    /* Polled on the calling thread about ten times a second (with one thread: between items); a
     * result other than FMP_OK stops the job.  May be NULL. */
    fmp_status (*poll)(void *ctx, fmp_error *err);
    void *ctx;
} fmp_pool_job;

/* How many threads `n` means: 0 is one for each processor; never more than FMP_POOL_MAX_THREADS. */
unsigned fmp_pool_threads(unsigned n);

/*
 * Runs a job to its end.  The error of the lowest failing item is returned, whatever the timing:
 * items below a failed one are all worked on and finished, none above it is finished.  With one
 * thread, or when no thread can be made, everything runs on the calling one.
 */
fmp_status fmp_pool_run(const fmp_pool_job *job, unsigned n_threads, fmp_error *err);

/*
 * For work() of an item whose result outgrows its slot: blocks until every lower item has been
 * finished, so that the item may write straight to the output from then on.  FMP_ECANCELED when the
 * job is stopping; return it from work().
 */
fmp_status fmp_pool_wait_turn(fmp_pool *pool, uint64_t item, fmp_error *err);

#endif
