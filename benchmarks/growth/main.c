/* benchmark_growth [-s] [-o OPERATIONS] [-r ROUNDS] SERIES SIZE [OPERATION]

   Makes the object, measures the operations, and prints for each a line: name, operations a round, nanoseconds of processor time of one:
   median and quartiles of the rounds. Then "bytes", how many the object takes in all.

   -s: as little is done as makes an object of the same form (then bytes say nothing), and it is left standing in the end.
   -o: so many operations a round, if the size allows.  -r: rounds (11).

   With valgrind's callgrind, --instr-atstart=no and --toggle-collect=measured only the operations are counted, and the object is made
   without being looked at (scripts/benchmark-growth).  */

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "growth.h"

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#endif

enum { ROUNDS_MAX = 1000 };

static const struct series *const all[] = { &pages_series, &clients_series, &descriptors_series };

size_t allocated(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void measured(const struct operation_at *, unsigned long);

__attribute__((noinline)) void measured(const struct operation_at *operation, unsigned long operations)
{
    operation->run(operations);
}

static void measure(const struct operation_at *operation, unsigned long operations, unsigned rounds)
{
    static double ns[ROUNDS_MAX];

    for (unsigned round = 0; round < rounds; round++) {
        operation->prepare(operations, round == 0);
        CALLGRIND_START_INSTRUMENTATION;
        double begin = processor_ns();
        measured(operation, operations);
        ns[round] = (processor_ns() - begin) / (double)operations;
        CALLGRIND_STOP_INSTRUMENTATION;
    }
    qsort(ns, rounds, sizeof *ns, compare);
    printf("%s\t%lu\t%.1f\t%.1f\t%.1f\n", operation->name, operations, ns[rounds / 2], ns[rounds / 4], ns[rounds * 3 / 4]);
    fflush(stdout);
}

static const struct series *series_named(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    fprintf(stderr, "benchmark_growth: no series %s\n", name);
    exit(2);
}

int main(int count, char **arguments)
{
    unsigned long operations = 0;
    unsigned rounds = 11;
    bool sparse = false;
    int option;

    while ((option = getopt(count, arguments, "so:r:")) != -1)
        switch (option) {
        case 's': sparse = true; break;
        case 'o': operations = strtoul(optarg, NULL, 10); break;
        case 'r': rounds = (unsigned)atoi(optarg); break;
        default: return 2;
        }
    if (count - optind < 2 || count - optind > 3 || rounds == 0 || rounds > ROUNDS_MAX)
        return 2;
    const struct series *series = series_named(arguments[optind]);
    unsigned long size = strtoul(arguments[optind + 1], NULL, 10);
    const char *only = arguments[optind + 2];
    if (size == 0 || (series == &clients_series && size > max_clients)) {
        fprintf(stderr, "benchmark_growth: size %lu\n", size);
        return 2;
    }
    size_t bytes = series->open(size, sparse);
    for (const struct operation_at *operation = series->operations; operation->name; operation++) {
        unsigned long most = operation->most(size);
        if (!only || strcmp(only, operation->name) == 0)
            measure(operation, operations && operations < most ? operations : most, rounds);
    }
    if (sparse)
        return 0;
    series->close();
    printf("bytes\t%zu\n", bytes);
    return 0;
}
