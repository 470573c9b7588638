/* totals.h - what happened in all runs together, so that one sees what the simulation reaches. */

#ifndef SIMULATION_TOTALS_H
#define SIMULATION_TOTALS_H

#include <pager/extensions.h>

enum total {
    TOTAL_CHOICES, TOTAL_STEPS, TOTAL_ACCESSES, TOTAL_ERRORS, TOTAL_LOSSES, TOTAL_DEATHS, TOTAL_TERMINATIONS, TOTAL_HOSTILE, TOTAL_STALLS,
    TOTAL_SHUTDOWNS, TOTAL_INHIBITIONS, TOTAL_SHORTAGES, TOTAL_MESSAGES, TOTAL_READS, TOTAL_READS_BESIDE, TOTAL_WRITES, TOTAL_HAND_OFFS,
    TOTAL_FLUSHES, TOTAL_DOWNGRADES, TOTAL_UNLOCKS, TOTAL_EVICTIONS, TOTAL_SKIPPED, TOTAL_REFUSED,
    TOTALS
};

/* In memory that all processes of this program share; before any is made. */
void totals_open(void);
void totals_add(enum total total, unsigned long long count);
void totals_add_statistics(const struct pager_statistics *statistics);
void totals_print(void);

#endif
