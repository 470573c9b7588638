/* Clocks, quantiles, and ending the program where something is wrong.  */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "service_benchmark.h"

enum { patience_s = 60 };

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double elapsed_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double processor_seconds(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double quantile(double *values, size_t count, double where)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, compare);
    return values[(size_t)(where * (double)(count - 1) + 0.5)];
}

void fail(const char *what, long is)
{
    fprintf(stderr, "benchmark_service: %s: %ld\n", what, is);
    exit(2);
}

void expect(const char *what, long is, long should_be)
{
    if (is == should_be)
        return;
    fprintf(stderr, "benchmark_service: %s: %ld instead of %ld\n", what, is, should_be);
    exit(2);
}

void *make(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        fail("no memory for", (long)(count * size));
    return memory;
}

void await(sem_t *semaphore, const char *what)
{
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += patience_s;
    while (sem_timedwait(semaphore, &limit) != 0)
        if (errno != EINTR)
            fail(what, errno);
}

void stamp_put(void *page, uint64_t stamp)
{
    uint64_t *words = page;
    words[0] = words[vm_page_size / sizeof *words - 1] = stamp;
}

uint64_t stamp_get(const void *page, size_t number)
{
    const uint64_t *words = page;
    expect("number in a page's first word", (long)(words[0] >> 32), (long)number);
    expect("last word of a page", (long)words[vm_page_size / sizeof *words - 1], (long)words[0]);
    return words[0];
}
