/* shrink.c - leaves out actors, then halves, quarters ... of the remaining steps, as long as the failure stays.

   Without some steps the order of things is another, and the failure may hide: so each attempt is made with a few schedules. */

#include "shrink.h"

#include <string.h>

#include "child.h"

enum { SCHEDULES = 12, ATTEMPTS = 600 };

static unsigned attempts;

/* A failure of the same kind: the text up to the first figure. */
static bool is_same(const char *a, const char *b)
{
    size_t length = strcspn(a, "0123456789");
    return length == strcspn(b, "0123456789") && strncmp(a, b, length) == 0;
}

static bool fails(struct scenario *scenario, const char *reason)
{
    uint64_t schedule = scenario->schedule;
    for (unsigned i = 0; i < SCHEDULES && attempts < ATTEMPTS * 4; i++) {
        attempts++;
        scenario_reschedule(scenario, i == 0 ? schedule : scenario->seed * 1000 + i);
        struct outcome outcome = child_run(scenario, NULL, false);
        if (outcome.failed && is_same(outcome.reason, reason))
            return true;
    }
    scenario_reschedule(scenario, schedule);
    return false;
}

static bool try_without(struct scenario *scenario, const bool *out, const char *reason)
{
    struct scenario before = *scenario;
    bool changes = false;
    for (unsigned i = 0; i < scenario->steps; i++)
        if (out[i] && !scenario->step[i].left_out)
            changes = scenario->step[i].left_out = true;
    if (changes && fails(scenario, reason))
        return true;
    *scenario = before;
    return false;
}

static void leave_out_actors(struct scenario *scenario, const char *reason)
{
    for (unsigned actor = 0; actor < scenario->actors; actor++) {
        bool out[STEPS_MAX] = { false };
        for (unsigned i = 0; i < scenario->steps; i++)
            out[i] = scenario->step[i].actor == actor;
        try_without(scenario, out, reason);
    }
}

static unsigned remaining(const struct scenario *scenario, unsigned *steps)
{
    unsigned count = 0;
    for (unsigned i = 0; i < scenario->steps; i++)
        if (!scenario->step[i].left_out)
            steps[count++] = i;
    return count;
}

static void leave_out_steps(struct scenario *scenario, const char *reason)
{
    unsigned steps[STEPS_MAX], count = remaining(scenario, steps);
    for (unsigned size = (count + 1) / 2; size > 0 && attempts < ATTEMPTS * 4; size /= 2) {
        count = remaining(scenario, steps);
        for (unsigned start = 0; start < count; start += size) {
            bool out[STEPS_MAX] = { false };
            for (unsigned i = start; i < start + size && i < count; i++)
                out[steps[i]] = true;
            try_without(scenario, out, reason);
        }
    }
}

void shrink(struct scenario *scenario, const char *reason)
{
    attempts = 0;
    leave_out_actors(scenario, reason);
    leave_out_steps(scenario, reason);
}

/* ---- Text ---- */

void trace_write(const struct scenario *scenario, FILE *file)
{
    fprintf(file, "seed %llu\nschedule %llu\n", (unsigned long long) scenario->seed, (unsigned long long) scenario->schedule);
    scenario_print(scenario, file);
    for (unsigned i = 0; i < scenario->steps; i++)
        if (!scenario->step[i].left_out)
            fprintf(file, "step %u    # actor %u: %s\n", i, scenario->step[i].actor, step_text(&scenario->step[i]));
}

bool trace_read(struct scenario *scenario, FILE *file)
{
    char line[256];
    unsigned long long seed = 0, schedule = 0;
    bool has_seed = false, kept[STEPS_MAX] = { false };
    while (fgets(line, sizeof line, file)) {
        unsigned step;
        if (sscanf(line, "seed %llu", &seed) == 1)
            has_seed = true;
        else if (sscanf(line, "step %u", &step) == 1 && step < STEPS_MAX)
            kept[step] = true;
        else
            sscanf(line, "schedule %llu", &schedule);
    }
    if (!has_seed)
        return false;
    scenario_make(scenario, seed);
    scenario_reschedule(scenario, schedule);
    for (unsigned i = 0; i < scenario->steps; i++)
        scenario->step[i].left_out = !kept[i];
    return true;
}
