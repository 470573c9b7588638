/* Rounds, medians, the table.

   Two clocks.  Processor time (of all threads of this process) is what the verdict uses: it leaves out what other programs on the same CPU
   take, and nothing is idle in between, since everything runs on that CPU.  Elapsed time is printed beside it, as its least:
   of rounds that were disturbed more or less, the least disturbed.  */

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

enum { ROUNDS_MAX = 1000 };

struct samples {
    double processor[ROUNDS_MAX], elapsed[ROUNDS_MAX];  /* ns a unit */
};

void fail(const char *what)
{
    perror(what);
    exit(2);
}

void pin_to_one_cpu(void)
{
    cpu_set_t allowed, one;

    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        fail("sched_getaffinity");
    CPU_ZERO(&one);
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--)
        if (CPU_ISSET(cpu, &allowed)) {
            CPU_SET(cpu, &one);
            break;
        }
    if (sched_setaffinity(0, sizeof one, &one) != 0)
        fail("sched_setaffinity");
}

static double now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void round_of(const struct way *way, const struct bench_case *c, struct samples *samples, unsigned i)
{
    way->prepare(way->argument);
    double processor = now_ns(CLOCK_PROCESS_CPUTIME_ID), elapsed = now_ns(CLOCK_MONOTONIC);
    way->work(way->argument);
    samples->elapsed[i] = (now_ns(CLOCK_MONOTONIC) - elapsed) / c->units;
    samples->processor[i] = (now_ns(CLOCK_PROCESS_CPUTIME_ID) - processor) / c->units;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, unsigned count, double where)
{
    qsort(values, count, sizeof *values, compare);
    return values[(unsigned)(where * (count - 1) + 0.5)];
}

void measure_header(void)
{
    printf("| case | unit | bare ns | stack ns | ratio | spread | elapsed, least | goal | |\n");
    printf("|---|---|---|---|---|---|---|---|---|\n");
}

bool measure(const struct bench_case *c, const struct options *options)
{
    static struct samples bare, stack;
    static double ratios[ROUNDS_MAX];
    unsigned rounds = options->rounds < ROUNDS_MAX - 2 ? options->rounds : ROUNDS_MAX - 2;

    /* The first two are for what is made once: tables, pools, threads.  */
    for (unsigned i = 0; i < rounds + 2; i++) {
        unsigned at = i < 2 ? 0 : i - 2;
        if (!options->only_stack)
            round_of(&c->bare, c, &bare, at);
        if (!options->only_bare)
            round_of(&c->stack, c, &stack, at);
        ratios[at] = stack.processor[at] / bare.processor[at];
    }
    if (options->only_stack || options->only_bare)
        return true;
    double low = quantile(ratios, rounds, 0.25), high = quantile(ratios, rounds, 0.75);
    double b = quantile(bare.processor, rounds, 0.5), s = quantile(stack.processor, rounds, 0.5);
    double elapsed = quantile(stack.elapsed, rounds, 0) / quantile(bare.elapsed, rounds, 0);
    bool reached = c->goal == 0 || s / b <= c->goal;
    printf("| %s | %s | %.0f | %.0f | **%.2f** | %.2f-%.2f | %.2f |", c->name, c->unit, b, s, s / b, low, high, elapsed);
    if (c->goal != 0)
        printf(" %.2f | %s |\n", c->goal, reached ? "reached" : "missed");
    else
        printf(" - | |\n");
    fflush(stdout);
    return reached;
}
