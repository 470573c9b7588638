/* What the kernels do, and that all came out right.

   Each kernel has one thread, which does one thing after the other: N kernels make N requests at a time, no more. So the latency is the time of
   one's turn among N, and the throughput that of the whole.  */

#include <stdio.h>
#include <stdlib.h>

#include "service_benchmark.h"

enum { KERNELS_MAX = 64, THREADS_MAX = 256, OWN_PAGES = 256, DISTANCE = 32 };

struct worker {
    struct faulter faulter;
    pthread_t thread;
    struct crowd *crowd;
    unsigned number;
    unsigned long rounds;               /* operations that it tries */
    unsigned long operations, touches;  /* done */
    double *us;                         /* latency of each operation */
};

struct crowd {
    struct service service;
    struct kernel *kernels[KERNELS_MAX];
    unsigned kernel_count;
    struct worker *workers;
    unsigned worker_count;
    size_t pages;                       /* of the object */
    void (*work)(struct worker *);
    pthread_barrier_t begin;
    double processor_begin, begun;      /* of whom the barrier chooses */
};

static void touch(struct worker *worker, size_t page, bool write)
{
    double begin = elapsed_seconds();

    worker->touches++;
    if (faulter_touch(&worker->faulter, page, write))
        worker->us[worker->operations++] = (elapsed_seconds() - begin) * 1e6;
}

/* Pages of its own, one after the other; then they are dropped, and it begins again.  */
static void page_in(struct worker *worker)
{
    size_t first = (size_t)worker->number * OWN_PAGES;

    for (unsigned long i = 0; i < worker->rounds; i++) {
        touch(worker, first + i % OWN_PAGES, false);
        kernel_evict(worker->faulter.kernel, first + i % OWN_PAGES);
    }
}

/* The same, but each page is changed and goes back.  */
static void pair(struct worker *worker)
{
    size_t first = (size_t)worker->number * OWN_PAGES;

    for (unsigned long i = 0; i < worker->rounds; i++) {
        touch(worker, first + i % OWN_PAGES, true);
        kernel_evict(worker->faulter.kernel, first + i % OWN_PAGES);
    }
}

/* All write to the same pages, each a distance behind another one: so whoever comes to a page finds that others have had it since.  */
static void hand_over(struct worker *worker)
{
    for (unsigned long i = 0; i < worker->rounds; i++)
        touch(worker, ((unsigned long)worker->number * DISTANCE + i) % worker->crowd->pages, true);
}

/* One kernel's threads: each every n-th page, once.  */
static void sweep(struct worker *worker)
{
    for (unsigned long i = 0; i < worker->rounds; i++)
        touch(worker, worker->number + i * worker->crowd->worker_count, false);
}

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    struct crowd *crowd = worker->crowd;

    faulter_enter(&worker->faulter, crowd->kernels[worker->number % crowd->kernel_count]);
    if (pthread_barrier_wait(&crowd->begin) == PTHREAD_BARRIER_SERIAL_THREAD) {
        crowd->processor_begin = processor_seconds();
        crowd->begun = elapsed_seconds();
    }
    pthread_barrier_wait(&crowd->begin);
    crowd->work(worker);
    faulter_leave(&worker->faulter);
    return NULL;
}

static void crowd_open(struct crowd *crowd, unsigned kernels, unsigned workers, unsigned long each, size_t pages, unsigned reads,
                       unsigned delay_us)
{
    crowd->kernel_count = kernels;
    crowd->worker_count = workers;
    crowd->pages = pages;
    service_open(&crowd->service, pages, reads, delay_us);
    for (unsigned i = 0; i < kernels; i++) {
        char name[16];
        snprintf(name, sizeof name, "kernel %u", i);
        crowd->kernels[i] = kernel_open(name, &crowd->service, pages);
    }
    crowd->workers = make(workers, sizeof *crowd->workers);
    for (unsigned i = 0; i < workers; i++)
        crowd->workers[i] = (struct worker){ .crowd = crowd, .number = i, .rounds = each, .us = make(each, sizeof(double)) };
}

/* All of them, from the first operation to the end of the last write.  */
static struct result crowd_run(struct crowd *crowd, void (*work)(struct worker *), bool writes)
{
    crowd->work = work;
    pthread_barrier_init(&crowd->begin, NULL, crowd->worker_count);
    for (unsigned i = 0; i < crowd->worker_count; i++)
        expect("pthread_create", pthread_create(&crowd->workers[i].thread, NULL, run_worker, &crowd->workers[i]), 0);
    for (unsigned i = 0; i < crowd->worker_count; i++)
        pthread_join(crowd->workers[i].thread, NULL);
    if (writes)
        pager_sync(crowd->service.pager, TRUE);
    struct result result = {
        .seconds = elapsed_seconds() - crowd->begun,
        .processor_seconds = processor_seconds() - crowd->processor_begin,
        .most_reads = crowd->service.store->most_running,
    };
    pthread_barrier_destroy(&crowd->begin);

    for (unsigned i = 0; i < crowd->worker_count; i++)
        result.operations += crowd->workers[i].operations;
    double *us = make(result.operations, sizeof *us);
    size_t count = 0;
    for (unsigned i = 0; i < crowd->worker_count; i++)
        for (unsigned long j = 0; j < crowd->workers[i].operations; j++)
            us[count++] = crowd->workers[i].us[j];
    result.p50_us = quantile(us, count, 0.5);
    result.p99_us = quantile(us, count, 0.99);
    free(us);
    return result;
}

/* WRITES: each touch was one; every one of them must be in the store, once.  */
static void crowd_close(struct crowd *crowd, bool writes)
{
    unsigned long touches = 0, written = 0;

    for (unsigned i = 0; i < crowd->kernel_count; i++)
        kernel_close(crowd->kernels[i]);
    service_stop(&crowd->service);
    for (unsigned i = 0; i < crowd->worker_count; i++) {
        expect("touches of a thread", (long)crowd->workers[i].touches, (long)crowd->workers[i].rounds);
        touches += crowd->workers[i].touches;
        free(crowd->workers[i].us);
    }
    for (size_t page = 0; page < crowd->pages; page++) {
        uint64_t stamp = crowd->service.store->stamps[page];
        expect("page number in the store", (long)(stamp >> 32), (long)page);
        written += (uint32_t)stamp;
    }
    expect("writes that reached the store", (long)written, writes ? (long)touches : 0);
    free(crowd->workers);
    service_close(&crowd->service);
}

struct result load_run(enum load load, unsigned kernels, unsigned long operations)
{
    static void (*const work[])(struct worker *) = { page_in, pair, hand_over };
    struct crowd crowd;
    size_t pages = load == LOAD_HAND_OVER ? (size_t)kernels * DISTANCE : (size_t)kernels * OWN_PAGES;

    expect("too many kernels", kernels > KERNELS_MAX, 0);
    crowd_open(&crowd, kernels, kernels, operations / kernels, pages, 0, 0);
    struct result result = crowd_run(&crowd, work[load], load != LOAD_PAGE_IN);
    if (load != LOAD_HAND_OVER)
        expect("operations", (long)result.operations, (long)(operations / kernels * kernels));
    crowd_close(&crowd, load != LOAD_PAGE_IN);
    return result;
}

struct result slow_run(unsigned reads, unsigned threads, unsigned long operations, unsigned delay_us)
{
    struct crowd crowd;

    expect("too many threads", threads > THREADS_MAX, 0);
    crowd_open(&crowd, 1, threads, operations / threads, operations, reads > 1 ? reads : 0, delay_us);
    struct result result = crowd_run(&crowd, sweep, false);
    expect("operations", (long)result.operations, (long)(operations / threads * threads));
    crowd_close(&crowd, false);
    return result;
}
