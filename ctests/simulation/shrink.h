/* shrink.h - the smallest scenario, as far as it is found, that still fails for the same reason. */

#ifndef SIMULATION_SHRINK_H
#define SIMULATION_SHRINK_H

#include <stdio.h>

#include "scenario.h"

/* SCENARIO fails for REASON. Leaves steps out of it, and may choose another schedule. */
void shrink(struct scenario *scenario, const char *reason);

/* A scenario as text, and back: seed, schedule, and the steps that are left out. */
void trace_write(const struct scenario *scenario, FILE *file);
bool trace_read(struct scenario *scenario, FILE *file);

#endif
