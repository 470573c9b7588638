/* How much memory pages need, and whether it is all given back.  */

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine_benchmark.h"

static size_t
allocated(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static uint32_t
random_number(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t) (state >> 32);
}

static struct pager_statistics
statistics_of(const struct land *land)
{
    struct pager_statistics statistics;
    pager_get_statistics(land->pager, &statistics);
    return statistics;
}

/* Page P is read by the clients of pattern P % PATTERNS; each pattern is a random set of clients, none is empty.  */
static void
measure(const char *name, unsigned clients, unsigned long pages, unsigned long patterns)
{
    uint64_t *sets = malloc(patterns * sizeof *sets);
    for (unsigned long i = 0; i < patterns; i++) {
        sets[i] = (uint64_t) random_number() << 32 | random_number();
        if (clients < 64)
            sets[i] &= ((uint64_t) 1 << clients) - 1;
        if (sets[i] == 0)
            sets[i] = 1;
    }
    struct land land;
    land_open(&land, clients);
    size_t before = allocated();
    struct pager_statistics empty = statistics_of(&land);
    for (unsigned long page = 0; page < pages; page++)
        for (unsigned client = 0; client < clients; client++)
            if (sets[page % patterns] >> client & 1)
                request(sender_of(&land, client), page * vm_page_size, VM_PROT_READ);
    expect_nothing_refused(&land);
    size_t used = allocated() - before;
    struct pager_statistics full = statistics_of(&land);

    double begin = now_ns();
    for (unsigned client = 0; client < clients; client++)
        terminate(&land, client);
    double end_ms = (now_ns() - begin) / 1e6;
    struct pager_statistics over = statistics_of(&land);
    expect("descriptors when all clients are gone", over.descriptors, 0);
    expect("bytes of descriptors when all clients are gone", over.descriptor_bytes > empty.descriptor_bytes, 0);
    land_close(&land);
    free(sets);

    uint64_t counted = full.map_bytes - empty.map_bytes + full.descriptor_bytes - empty.descriptor_bytes;
    printf("%s\t%lu\t%.3f\t%.3f\t%zu\t%lu\t%.1f\n", name, pages, (double) used / (double) pages, (double) counted / (double) pages, used,
           (unsigned long) full.descriptors, end_ms);
    fflush(stdout);
}

/* Name, pages, bytes a page (as malloc counts, as the library counts), bytes, descriptors, milliseconds for all clients to terminate.  */
void
measure_patterns(unsigned rounds)
{
    (void) rounds;
    measure("patterns", 16, 4000000, 100);
}

void
measure_subsets(unsigned rounds)
{
    (void) rounds;
    measure("subsets", 64, 100000, 100000);
}
