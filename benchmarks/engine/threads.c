/* What happens beside something else: a client with very many pages terminates; two threads with pages of their own.  */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine_benchmark.h"

static int
compare(const void *a, const void *b)
{
    double left = *(const double *) a, right = *(const double *) b;
    return left < right ? -1 : left > right;
}

/* ---- Termination ---- */

enum { many = 1000000, others = 1024 };

static struct {
    struct land land;
    atomic_int stage;                   /* 1: the other client works, 2: it is to end */
    atomic_ulong served;
    double longest_ns;
} end;

static void *
be_served(void *unused)
{
    (void) unused;
    struct sender other = sender_of(&end.land, 1);
    for (uint64_t i = 0; atomic_load(&end.stage) != 2; i++) {
        uint64_t page = many + i % others;
        double begin = now_ns();
        request(other, page * vm_page_size, VM_PROT_READ | VM_PROT_WRITE);
        give_back(other, page * vm_page_size, 1);
        double took = now_ns() - begin;
        if (took > end.longest_ns && atomic_load(&end.stage) == 1)
            end.longest_ns = took;
        atomic_fetch_add(&end.served, 1);
    }
    return NULL;
}

/* Milliseconds for the client with all those pages to go: by itself (median), and while another client is served: median, page-ins and
   returns of the other in that time, and how long the longest pair of those took (medians).  */
void
measure_termination(unsigned rounds)
{
    if (rounds > 11)
        rounds = 11;
    double ms[2][11], longest[11];
    double served[11] = { 0 };
    for (int beside = 0; beside < 2; beside++)
        for (unsigned round = 0; round < rounds; round++) {
            land_open(&end.land, 2);
            translator_write_lock = 0;
            for (uint64_t page = 0; page < many; page++)
                request(sender_of(&end.land, 0), page * vm_page_size, VM_PROT_READ);
            pthread_t thread;
            end.stage = 0;
            end.served = 0;
            end.longest_ns = 0;
            if (beside) {
                expect("pthread_create", (unsigned long) pthread_create(&thread, NULL, be_served, NULL), 0);
                while (atomic_load(&end.served) < 100)
                    ;
            }
            atomic_store(&end.stage, 1);
            unsigned long before = atomic_load(&end.served);
            double begin = now_ns();
            terminate(&end.land, 0);
            ms[beside][round] = (now_ns() - begin) / 1e6;
            served[round] = (double) (atomic_load(&end.served) - before);
            atomic_store(&end.stage, 2);
            if (beside)
                pthread_join(thread, NULL);
            longest[round] = end.longest_ns / 1e6;
            expect_nothing_refused(&end.land);
            land_close(&end.land);
        }
    for (int beside = 0; beside < 2; beside++)
        qsort(ms[beside], rounds, sizeof *ms[beside], compare);
    qsort(served, rounds, sizeof *served, compare);
    qsort(longest, rounds, sizeof *longest, compare);
    printf("terminate\t%d\t%.2f\t%.2f\t%.0f\t%.3f\n", many, ms[0][rounds / 2], ms[1][rounds / 2], served[rounds / 2], longest[rounds / 2]);
    fflush(stdout);
}

/* ---- Two threads ---- */

enum { each = 1000000 };

static struct {
    struct land land;
    pthread_barrier_t begin;
    int strict;                         /* only rounds count in which each thread had a processor */
    double began[2], ended[2], used[2]; /* as the threads saw it (whoever waits for them may be woken late); processor time */
} pair;

/* Nanoseconds of processor time of this thread.  */
static double
used_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double) time.tv_sec * 1e9 + (double) time.tv_nsec;
}

static void *
page_in_own(void *argument)
{
    uintptr_t number = (uintptr_t) argument;
    uint64_t first = number * (1 << 20);
    pthread_barrier_wait(&pair.begin);
    double used = used_ns();
    pair.began[number] = now_ns();
    for (uint64_t page = first; page < first + each; page++)
        request(sender_of(&pair.land, 0), page * vm_page_size, VM_PROT_READ);
    pair.ended[number] = now_ns();
    pair.used[number] = used_ns() - used;
    return NULL;
}

/* 0: the round does not count.  */
static double
elapsed(unsigned threads)
{
    pthread_t thread[2];
    pthread_barrier_init(&pair.begin, NULL, threads);
    for (uintptr_t i = 0; i < threads; i++) {
        for (uint64_t page = i * (1 << 20); page < i * (1 << 20) + each; page++) {
            request(sender_of(&pair.land, 0), page * vm_page_size, VM_PROT_READ);
            give_back(sender_of(&pair.land, 0), page * vm_page_size, 0);
        }
        expect("pthread_create", (unsigned long) pthread_create(&thread[i], NULL, page_in_own, (void *) i), 0);
    }
    double began = 0, ended = 0, used = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        began = i == 0 || pair.began[i] < began ? pair.began[i] : began;
        ended = pair.ended[i] > ended ? pair.ended[i] : ended;
        used += pair.used[i];
    }
    pthread_barrier_destroy(&pair.begin);
    for (uintptr_t i = 0; i < threads; i++)
        for (uint64_t page = i * (1 << 20); page < i * (1 << 20) + each; page++)
            give_back(sender_of(&pair.land, 0), page * vm_page_size, 0);
    return !pair.strict || used > 0.95 * threads * (ended - began) ? ended - began : 0;
}

/* Name, page-ins a round, and what two threads do of one in the same time: with concurrent reads, and with one callback at a time (the
   default; callbacks are then in each other's way by contract): median and quartiles, and of how many rounds.  */
void
measure_threads(unsigned rounds)
{
    static double ratio[1000];
    for (int concurrent = 1; concurrent >= 0; concurrent--) {
        land_open(&pair.land, 1);
        translator_write_lock = 0;
        if (concurrent)
            expect("pager_set_concurrent_reads", (unsigned long) pager_set_concurrent_reads(pair.land.pager, 2), 0);
        unsigned count = 0;
        /* (Those who have callbacks one at a time wait for each other.)  */
        pair.strict = concurrent;
        for (unsigned round = 0; round < 10 * rounds && count < rounds; round++) {
            double one = elapsed(1), two = one > 0 ? elapsed(2) : 0;
            if (two > 0)
                ratio[count++] = 2 * one / two;
        }
        qsort(ratio, count, sizeof *ratio, compare);
        printf("threads%s\t%d\t%.2f\t%.2f\t%.2f\t%u\n", concurrent ? "" : "-default", each, count ? ratio[count / 2] : 0,
               count ? ratio[count / 4] : 0, count ? ratio[count * 3 / 4] : 0, count);
        fflush(stdout);
        expect_nothing_refused(&pair.land);
        land_close(&pair.land);
    }
}
