/* scheduler.h - simulated threads on one thread of the system.

   A *fiber* is a thread of the simulated program: a worker of the pager, a thread of a kernel, a caller. One runs at a time; at each
   *point* (sim_point, and whatever blocks) the scheduler picks who goes on, by a seeded random number. So a run is a function of its seed.

   Time is simulated: it passes a little at each choice, and jumps to the next deadline when nobody can run.

   A fiber has thread-local variables, an errno and a stack of its own. Nothing here is called by more than one system thread.
   AddressSanitizer is told of the stacks where the program is built with it. */

#ifndef SIMULATION_SCHEDULER_H
#define SIMULATION_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fiber;

enum policy {
    POLICY_RANDOM,              /* any who can run, at each point */
    POLICY_STICKY,              /* seldom another than the one that runs */
    POLICY_PRIORITY,            /* the first in a random order, which changes a few times */
    POLICY_SLOW,                /* a few fibers hardly ever get to run */
    POLICIES
};

/* Runs MAIN in a fiber; returns when it ends. Others may be left: sim_fibers says. May be called again after that if none are. */
void sim_run(uint64_t seed, enum policy policy, void (*main)(void *), void *argument);

/* In the next run the first choices are these bytes', not the seed's. Kept, not copied. */
void sim_decide_by(const uint8_t *bytes, size_t count);

/* The thread-local variables that fibers have of their own, instead of all of the program: where a sanitizer has some there as well. Before the
   first run; up to SIM_LOCALS. */
enum { SIM_LOCALS = 4 };
void sim_add_local(void *variable, size_t size);

/* NAME is kept, not copied. */
struct fiber *sim_spawn(const char *name, void (*body)(void *), void *argument);
struct fiber *sim_self(void);
const char *sim_name(const struct fiber *fiber);
/* What it is at, for reports; kept, not copied. */
void sim_set_activity(const char *activity);
/* Fibers that have not ended, the caller included. */
unsigned sim_fibers(void);
/* Another fiber may run now. */
void sim_point(void);
/* The calling fiber would rather that others run first (sched_yield). */
void sim_yield(void);
/* Until somebody wakes the channel, or until DEADLINE (~0: none). False: the deadline has passed. */
bool sim_block(const void *channel, uint64_t deadline_ns, const char *what);
/* Wakes up to COUNT fibers, which ones is chance; returns how many. */
unsigned sim_wake(const void *channel, unsigned count);
uint64_t sim_now_ns(void);
void sim_sleep_ns(uint64_t ns);
/* For chance that belongs to the order of things. */
unsigned sim_choice(unsigned limit);

/* Between these the calling fiber goes on; it must not block. They nest. */
void sim_begin_atomic(void);
void sim_end_atomic(void);

/* Choices made so far. */
uint64_t sim_choices(void);
/* One line for each fiber: its name and what it waits for. */
void sim_print_fibers(void);

/* Values that a fiber keeps for pthread_setspecific; destroyed as POSIX says when it ends. */
enum { SIM_KEYS = 8 };
int sim_key_create(void (*destroy)(void *));
void sim_set_specific(int key, void *value);
void *sim_specific(int key);

#endif
