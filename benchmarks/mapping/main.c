/* benchmark_mapping [-r ROUNDS] [-c CASE] [-s | -b] [-v]

   -c: only the cases whose name contains CASE.  -s, -b: only the stack's or the bare way, without a table, for a profiler.
   -v: counters of each case.  Exit status 1: a goal is missed.  */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum { FAULTS = 500, CLUSTER = 16, BATCHED = 2048, FLUSHED = 10000, RESIDENT = 512 };

size_t page_bytes;

struct plain {                          /* as in bare.c */
    char *memory;
    size_t bytes;
};

static bool nothing_wrong = true, verbose;
static struct options options = { .rounds = 41 };

static void run(struct bench_case c, struct stack *stack)
{
    nothing_wrong &= measure(&c, &options);
    if (verbose)
        stack_explain(stack);
    stack_close(stack);
}

static bool wanted(const char *name)
{
    return options.only == NULL || strstr(name, options.only) != NULL;
}

static void idle(void *argument)
{
    (void)argument;
}

int main(int count, char **arguments)
{
    int option;

    while ((option = getopt(count, arguments, "r:c:sbv")) != -1)
        switch (option) {
        case 'r': options.rounds = (unsigned)atoi(optarg); break;
        case 'c': options.only = optarg; break;
        case 's': options.only_stack = true; break;
        case 'b': options.only_bare = true; break;
        case 'v': verbose = true; break;
        default: return 2;
        }
    if (options.rounds == 0)
        return 2;
    page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    pin_to_one_cpu();
    measure_header();

    if (wanted("page-in")) {
        struct stack *stack = stack_open(FAULTS, 1, false);
        run((struct bench_case){ "page-in", "fault", FAULTS, 2.0, { bare_drop, bare_read, bare_open(FAULTS, 1) },
                                 { stack_drop, stack_read, stack } }, stack);
    }
    if (wanted("cluster of 16")) {
        struct stack *stack = stack_open(BATCHED, CLUSTER, false);
        run((struct bench_case){ "cluster of 16", "page", BATCHED, 1.5, { bare_drop, bare_read, bare_open(BATCHED, CLUSTER) },
                                 { stack_drop, stack_read, stack } }, stack);
    }
    if (wanted("unlock")) {
        struct stack *stack = stack_open(FAULTS, 1, true);
        run((struct bench_case){ "unlock", "fault", FAULTS, 2.0, { bare_protect, bare_write, bare_open(FAULTS, 1) },
                                 { stack_lock, stack_write, stack } }, stack);
    }
    if (wanted("flush")) {
        struct stack *stack = stack_open(FLUSHED, 1, false);
        run((struct bench_case){ "flush", "page", FLUSHED, 1.5, { bare_dirty, bare_flush, bare_open(FLUSHED, 1) },
                                 { stack_dirty, stack_flush, stack } }, stack);
    }
    if (wanted("resident")) {
        struct stack *stack = stack_open(RESIDENT, 1, false);
        struct plain mapped = { stack_memory(stack), RESIDENT * page_bytes };
        run((struct bench_case){ "resident", "pass over a page", RESIDENT * 20, 1.05, { idle, plain_read, plain_open(RESIDENT) },
                                 { idle, plain_read, &mapped } }, stack);
    }
    return nothing_wrong ? 0 : 1;
}
