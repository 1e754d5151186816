/*
 * Work side by side with results that do not depend on the number of threads.  Work comes in
 * numbered items of a fixed shape; any worker takes the next item; what items add up goes through a
 * turnstile, which lets them pass in the order of their numbers.
 */
#ifndef FISH_PAR_H
#define FISH_PAR_H

#include <stdint.h>

#include "fmpatch.h"

typedef struct fish_pool fish_pool;

/* n_threads workers (0: one a processor) including the calling thread.  Sets OpenBLAS to one
 * thread where it is linked (see fish_blas_single_thread in math/gemm.h: the program calls it). */
FMP_NODISCARD fmp_status fish_pool_new(unsigned n_threads, fish_pool **ret, fmp_error *err);
void fish_pool_free(fish_pool *pool); /* takes NULL */
unsigned fish_pool_threads(const fish_pool *pool);

/* Does item `item` on worker `worker` (0 .. threads - 1).  Not FMP_OK: no further items begin. */
typedef fmp_status (*fish_item_fn)(void *ctx, unsigned worker, uint64_t item, fmp_error *err);

/*
 * Runs items 0 .. n_items - 1; they begin in the order of their numbers.  Returns when all are
 * done. On failure the error of the failed item with the lowest number is returned; items waiting
 * at a turnstile are let through with false and end with FMP_ECANCELED.
 */
FMP_NODISCARD fmp_status fish_pool_run(fish_pool *pool, uint64_t n_items, fish_item_fn fn,
                                       void *ctx, fmp_error *err);

/* A row of n_gates gates, each of which items pass in the order 0, 1, 2, ... of one run. */
typedef struct fish_turnstile fish_turnstile;

FMP_NODISCARD fmp_status fish_turnstile_new(fish_pool *pool, uint32_t n_gates, fish_turnstile **ret,
                                            fmp_error *err);
void fish_turnstile_free(fish_turnstile *t);
void fish_turnstile_reset(fish_turnstile *t); /* between runs */
/* Waits until all lower items have left the gate.  false: the run has failed, do not go on. */
bool fish_turnstile_enter(fish_turnstile *t, uint32_t gate, uint64_t item);
void fish_turnstile_leave(fish_turnstile *t, uint32_t gate, uint64_t item);

#endif
