/* child.h - runs as processes of their own: a crash or a hang ends one run, and each begins with the same untouched memory. */

#ifndef SIMULATION_CHILD_H
#define SIMULATION_CHILD_H

#include <stdbool.h>
#include <stdio.h>

#include "scenario.h"

struct outcome {
    bool failed;
    char reason[160];           /* the first line of the report */
};

/* OUTPUT: where the report goes; NULL: nowhere. TRACED: with every event. */
struct outcome child_run(const struct scenario *scenario, FILE *output, bool traced);

/* A run that lasts longer goes round in circles. */
enum { REAL_SECONDS_MAX = 60 };

#endif
