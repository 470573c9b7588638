#include "totals.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static _Atomic unsigned long long *totals;

void totals_open(void)
{
    totals = mmap(NULL, TOTALS * sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (totals == MAP_FAILED)
        abort();
}

void totals_add(enum total total, unsigned long long count)
{
    atomic_fetch_add_explicit(&totals[total], count, memory_order_relaxed);
}

void totals_add_statistics(const struct pager_statistics *statistics)
{
    totals_add(TOTAL_MESSAGES, statistics->messages);
    totals_add(TOTAL_READS, statistics->page_ins);
    totals_add(TOTAL_WRITES, statistics->page_outs);
    totals_add(TOTAL_HAND_OFFS, statistics->hand_offs);
    totals_add(TOTAL_FLUSHES, statistics->flushes);
    totals_add(TOTAL_DOWNGRADES, statistics->downgrades);
    totals_add(TOTAL_UNLOCKS, statistics->unlocks);
    totals_add(TOTAL_EVICTIONS, statistics->evictions);
    totals_add(TOTAL_SKIPPED, statistics->skipped_writes);
    totals_add(TOTAL_REFUSED, statistics->refused);
}

void totals_print(void)
{
    static const char *const names[TOTALS] = {
        "choices", "steps", "accesses that were checked", "errors", "times that data were lost", "deaths", "terminations",
        "hostile messages", "stalls", "shutdowns amidst", "inhibitions", "shortages that were prepared", "messages", "pages read",
        "reads beside another", "pages written", "hand-offs", "flushes", "downgrades", "unlocks", "evictions told", "versions skipped",
        "messages refused",
    };
    for (unsigned i = 0; i < TOTALS; i++)
        printf("%s%llu %s", i == 0 ? "" : i % 6 == 0 ? ",\n" : ", ", totals[i], names[i]);
    printf("\n");
}
