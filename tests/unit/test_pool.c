/*
 * base/pool: order, the slot's promise, and the same error whatever the timing.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "base/status.h"

#define N 2000

typedef struct job_state {
    uint64_t worked[N]; /* what work() left for finish(), by item */
    atomic_int in_slot[FMP_POOL_MAX_THREADS];
    uint64_t slot_item[FMP_POOL_MAX_THREADS];
    uint64_t order[N];
    uint64_t n_order;
    atomic_int in_finish;
    atomic_uint n_worked;
    atomic_uint wrong;
    uint64_t fail_work[2], fail_finish; /* items; UINT64_MAX: none */
    bool wait_turn;
    unsigned polls, stop_at_poll;
    pthread_t caller;
} job_state;

static job_state *fresh(void)
{
    static job_state s;

    memset(&s, 0, sizeof s);
    s.fail_work[0] = s.fail_work[1] = s.fail_finish = UINT64_MAX;
    s.caller = pthread_self();
    return &s;
}

static void dawdle(uint64_t item)
{
    const uint64_t x = item * UINT64_C(0x9e3779b97f4a7c15) >> 60;

    for (uint64_t i = 0; i < x; i++)
        sched_yield();
}

static fmp_status work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    job_state *s = ctx;

    if (slot >= FMP_POOL_MAX_THREADS || atomic_fetch_add(&s->in_slot[slot], 1) != 0)
        s->wrong++;
    s->n_worked++;
    s->slot_item[slot] = item;
    dawdle(item);
    if (item == s->fail_work[0] || item == s->fail_work[1])
        return fmp_fail(err, FMP_ECORRUPT, item, "work %llu", (unsigned long long)item);
    if (s->wait_turn && item % 3 == 0) {
        const fmp_status st = fmp_pool_wait_turn(pool, item, err);

        if (st)
            return st;
        if (s->n_order != item)
            s->wrong++;
    }
    s->worked[item] = item + 1;
    return FMP_OK;
}

static fmp_status finish(void *ctx, uint64_t item, unsigned slot, fmp_error *err)
{
    job_state *s = ctx;

    if (atomic_fetch_add(&s->in_finish, 1) != 0 || s->slot_item[slot] != item ||
        s->worked[item] != item + 1)
        s->wrong++;
    atomic_fetch_sub(&s->in_finish, 1);
    atomic_fetch_sub(&s->in_slot[slot], 1);
    if (item == s->fail_finish)
        return fmp_fail(err, FMP_EIO, item, "finish %llu", (unsigned long long)item);
    s->order[s->n_order++] = item;
    return FMP_OK;
}

static fmp_status poll_job(void *ctx, fmp_error *err)
{
    job_state *s = ctx;

    if (!pthread_equal(pthread_self(), s->caller))
        s->wrong++;
    if (++s->polls == s->stop_at_poll)
        return fmp_fail(err, FMP_ECANCELED, FMP_NO_OFFSET, "stop");
    return FMP_OK;
}

static fmp_status run(job_state *s, uint64_t n_items, unsigned n_threads, fmp_error *err)
{
    const fmp_pool_job job = {
        .n_items = n_items, .work = work, .finish = finish, .poll = poll_job, .ctx = s};

    return fmp_pool_run(&job, n_threads, err);
}

/* Items [0, n) were finished, in that order, and nothing else. */
static void assert_finished(const job_state *s, uint64_t n)
{
    assert_int_equal(s->wrong, 0);
    assert_int_equal(s->n_order, n);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(s->order[i], i);
}

static void items_finish_in_order(void **state)
{
    static const uint64_t counts[] = {0, 1, 2, 7, N};

    (void)state;
    for (unsigned threads = 1; threads <= FMP_POOL_MAX_THREADS + 1; threads++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            job_state *s = fresh();
            fmp_error err;

            s->wait_turn = c & 1;
            assert_status(run(s, counts[c], threads, &err), FMP_OK, &err);
            assert_finished(s, counts[c]);
            assert_int_equal(s->n_worked, counts[c]);
        }
    }
}

static void lowest_failing_item_is_the_error(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        job_state *s = fresh();
        char want[32];
        fmp_error err;

        s->fail_work[0] = 100 + round % 7;
        s->fail_work[1] = 100 + round % 5;
        s->wait_turn = round & 1;
        assert_status(run(s, N, 1 + round % 8, &err), FMP_ECORRUPT, &err);
        (void)snprintf(want, sizeof want, "work %u",
                       100 + (round % 7 < round % 5 ? round % 7 : round % 5));
        assert_string_equal(err.text, want);
        assert_finished(s, err.offset);
    }
}

static void failing_finish_stops_before_the_next(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 100; round++) {
        job_state *s = fresh();
        fmp_error err;

        s->fail_finish = round;
        s->fail_work[0] = round + 1; /* higher, though it fails earlier */
        assert_status(run(s, N, 1 + round % 8, &err), FMP_EIO, &err);
        assert_int_equal(err.offset, round);
        assert_finished(s, round);
    }
}

static void failure_may_go_unheard(void **state)
{
    job_state *s = fresh();

    (void)state;
    s->fail_work[0] = 0;
    assert_int_equal(run(s, N, 4, NULL), FMP_ECORRUPT);
    assert_finished(s, 0);
}

static void finish_and_poll_may_be_missing(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        job_state *s = fresh();
        fmp_error err;
        const fmp_pool_job one = {.n_items = 1, .work = work, .ctx = s};

        assert_status(fmp_pool_run(&one, threads, &err), FMP_OK, &err);
        assert_int_equal(s->n_worked, 1);
        assert_int_equal(s->worked[0], 1);
    }
}

static void one_thread_polls_between_items_and_stops(void **state)
{
    job_state *s = fresh();
    fmp_error err;

    (void)state;
    s->stop_at_poll = 5;
    assert_status(run(s, N, 1, &err), FMP_ECANCELED, &err);
    assert_string_equal(err.text, "stop");
    assert_finished(s, 5);
    s = fresh();
    s->stop_at_poll = N; /* nothing is left to stop after the last item */
    assert_status(run(s, N, 1, &err), FMP_OK, &err);
    assert_int_equal(s->polls, N - 1);
}

static fmp_status slow_work(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot, fmp_error *err)
{
    const struct timespec t = {.tv_nsec = 2000000};
    job_state *s = ctx;

    (void)pool;
    (void)slot;
    (void)item;
    (void)err;
    (void)nanosleep(&t, NULL);
    s->n_worked++;
    return FMP_OK;
}

static void several_threads_stop_when_polled(void **state)
{
    job_state *s = fresh();
    const fmp_pool_job job = {.n_items = UINT64_MAX, .work = slow_work, .poll = poll_job, .ctx = s};
    fmp_error err;

    (void)state;
    s->stop_at_poll = 2;
    assert_status(fmp_pool_run(&job, 4, &err), FMP_ECANCELED, &err);
    assert_int_equal(s->polls, 2);
    assert_int_equal(s->wrong, 0);
    assert_true(s->n_worked > 0);
}

static fmp_status block_item_0(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot,
                               fmp_error *err)
{
    job_state *s = ctx;

    (void)slot;
    if (item == 0) { /* fails only when item 1 is known to wait */
        while (!s->n_worked)
            sched_yield();
        return fmp_fail(err, FMP_EBASE, 0, "item 0");
    }
    s->n_worked++;
    return fmp_pool_wait_turn(pool, item, err);
}

static void waiting_for_a_turn_ends_when_the_job_does(void **state)
{
    job_state *s = fresh();
    const fmp_pool_job job = {.n_items = 2, .work = block_item_0, .ctx = s};
    fmp_error err;

    (void)state;
    assert_status(fmp_pool_run(&job, 2, &err), FMP_EBASE, &err);
    assert_string_equal(err.text, "item 0");
}

static fmp_status look_at_mask(void *ctx, fmp_pool *pool, uint64_t item, unsigned slot,
                               fmp_error *err)
{
    job_state *s = ctx;
    sigset_t now;

    (void)pool;
    (void)item;
    (void)slot;
    (void)err;
    if (pthread_sigmask(SIG_SETMASK, NULL, &now) || sigismember(&now, SIGINT) != 1)
        s->wrong++;
    return FMP_OK;
}

/* A signal to the program reaches the program's own threads. */
static void workers_take_no_signals(void **state)
{
    job_state *s = fresh();
    const fmp_pool_job job = {.n_items = 20, .work = look_at_mask, .ctx = s};
    sigset_t now;
    fmp_error err;

    (void)state;
    assert_status(fmp_pool_run(&job, 2, &err), FMP_OK, &err);
    assert_int_equal(s->wrong, 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &now), 0);
    assert_int_equal(sigismember(&now, SIGINT), 0);
}

static void thread_counts(void **state)
{
    const unsigned n = fmp_pool_threads(0);

    (void)state;
    assert_true(n >= 1 && n <= FMP_POOL_MAX_THREADS);
    assert_int_equal(fmp_pool_threads(1), 1);
    assert_int_equal(fmp_pool_threads(5), 5);
    assert_int_equal(fmp_pool_threads(100), FMP_POOL_MAX_THREADS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_finish_in_order),
        cmocka_unit_test(lowest_failing_item_is_the_error),
        cmocka_unit_test(failing_finish_stops_before_the_next),
        cmocka_unit_test(failure_may_go_unheard),
        cmocka_unit_test(finish_and_poll_may_be_missing),
        cmocka_unit_test(one_thread_polls_between_items_and_stops),
        cmocka_unit_test(several_threads_stop_when_polled),
        cmocka_unit_test(waiting_for_a_turn_ends_when_the_job_does),
        cmocka_unit_test(workers_take_no_signals),
        cmocka_unit_test(thread_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
