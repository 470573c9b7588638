/* benchmark_engine [-p PAGES] [-r ROUNDS] OPERATION...     (no operation: all)
   benchmark_engine -l                                      lists them

   For an operation measured by the piece a line: name, operations a round, nanoseconds of processor time of one: median and quartiles of
   the rounds.
   With valgrind's callgrind and --toggle-collect=measured only the operations themselves are counted (scripts/benchmark-engine).  */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_benchmark.h"

enum { max_rounds = 1000 };

static int
compare(const void *a, const void *b)
{
    double left = *(const double *) a, right = *(const double *) b;
    return left < right ? -1 : left > right;
}

void measured(const struct operation *, struct land *, unsigned long, unsigned);

__attribute__((noinline)) void
measured(const struct operation *operation, struct land *land, unsigned long pages, unsigned round)
{
    operation->run(land, pages, round);
}

static void
measure(const struct operation *operation, unsigned long pages, unsigned rounds)
{
    static double ns[max_rounds];
    struct land land;
    land_open(&land, operation->clients);
    for (unsigned round = 0; round < rounds; round++) {
        operation->prepare(&land, pages, round);
        counts = (struct counts) { 0 };
        double begin = processor_ns();
        measured(operation, &land, pages, round);
        ns[round] = (processor_ns() - begin) / (double) pages;
        expect("messages", counts.sends, pages * operation->makes.sends);
        expect("reads", counts.reads, pages * operation->makes.reads);
        expect("writes", counts.writes, pages * operation->makes.writes);
        expect("unlocks", counts.unlocks, pages * operation->makes.unlocks);
    }
    expect_nothing_refused(&land);
    land_close(&land);
    qsort(ns, rounds, sizeof *ns, compare);
    printf("%s\t%lu\t%.1f\t%.1f\t%.1f\n", operation->name, pages, ns[rounds / 2], ns[rounds / 4], ns[rounds * 3 / 4]);
    fflush(stdout);
}

static const struct {
    const char *name;
    void (*measure)(unsigned rounds);
} others[] = {
    { "patterns", measure_patterns },
    { "subsets", measure_subsets },
    { "terminate", measure_termination },
    { "threads", measure_threads },
};

enum { other_count = sizeof others / sizeof *others };

static void
list(void)
{
    for (size_t i = 0; i < operation_count; i++)
        puts(operations[i].name);
    for (size_t i = 0; i < other_count; i++)
        puts(others[i].name);
}

static int
run(const char *name, unsigned long pages, unsigned rounds)
{
    int found = 0;
    for (size_t i = 0; i < operation_count; i++)
        if (!name || strcmp(name, operations[i].name) == 0) {
            measure(&operations[i], pages ? pages : operations[i].pages, rounds);
            found = 1;
        }
    for (size_t i = 0; i < other_count; i++)
        if (!name || strcmp(name, others[i].name) == 0) {
            others[i].measure(rounds);
            found = 1;
        }
    return found;
}

int
main(int argc, char **argv)
{
    unsigned long pages = 0, rounds = 21;
    int option;
    while ((option = getopt(argc, argv, "lp:r:")) != -1)
        switch (option) {
        case 'l': list(); return 0;
        case 'p': pages = strtoul(optarg, NULL, 10); break;
        case 'r': rounds = strtoul(optarg, NULL, 10); break;
        default: return 2;
        }
    if (rounds == 0 || rounds > max_rounds) {
        fprintf(stderr, "benchmark_engine: 1 to %d rounds\n", max_rounds);
        return 2;
    }
    if (optind == argc)
        return !run(NULL, pages, (unsigned) rounds);
    for (int i = optind; i < argc; i++)
        if (!run(argv[i], pages, (unsigned) rounds)) {
            fprintf(stderr, "benchmark_engine: no operation %s\n", argv[i]);
            return 2;
        }
    return 0;
}
