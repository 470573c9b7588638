/* scenario.h - what happens in a run: a configuration and a list of steps, both made from a seed.

   Each step belongs to an *actor*, a thread that does its steps one after the other; how the actors' steps mix is the scheduler's
   choice, from a seed of its own. A step that is left out changes none of the others: so a scenario can be shrunk. */

#ifndef SIMULATION_SCENARIO_H
#define SIMULATION_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "scheduler.h"

enum { STEPS_MAX = 1024, KERNELS_MAX = 64, ACTORS_MAX = 160 };

enum op {
    /* A thread on a kernel. */
    OP_READ, OP_WRITE, OP_REQUEST, OP_REQUEST_SEVERAL, OP_UNLOCK, OP_EVICT, OP_DROP_CLEAN, OP_EVICT_ALL,
    OP_TERMINATE,               /* unmap, and map again */
    OP_PAUSE,                   /* argument: microseconds */
    /* A thread of the translator. */
    OP_SYNC, OP_FLUSH, OP_RETURN,       /* count 0: everything; argument: wait */
    OP_OFFER, OP_ATTRIBUTES, OP_LOOK, OP_INHIBIT, OP_SHUTDOWN,
    /* What happens to kernels and to the machine. */
    OP_KILL,                    /* the kernel dies, another takes its place */
    OP_STALL, OP_STALL_ANSWERS, OP_GO_ON,
    OP_FAIL_ALLOCATION, OP_FAIL_MACH, OP_FAIL_PAGES, OP_FAIL_THREAD,
    /* A hostile kernel: a message made of the argument. */
    OP_HOSTILE,
    OP_CLOG,                    /* one more client, whose control port is a queue that nobody empties */
    OP_MORE,                    /* what another program than this one does (actors_more) */
    OPS
};

struct step {
    uint8_t op;
    uint8_t actor;
    uint8_t kernel;
    uint16_t page, count;
    uint32_t argument;
    bool left_out;
};

enum role { ROLE_USER, ROLE_TRANSLATOR, ROLE_FATE, ROLE_HOSTILE };

struct actor { enum role role; uint8_t kernel; };

struct configuration {
    unsigned pages;             /* of the store */
    unsigned tainted;           /* the last ones, which hostile kernels may ask for */
    unsigned stride;            /* page i of the store is page i * stride of the object */
    unsigned kernels, hostile;  /* the last ones are hostile */
    unsigned quiet_pages;       /* the first ones, which nobody writes and the translator offers */
    bool notify, write_lock, multi_write, multi_read, callbacks_wait;
    unsigned reads;             /* pager_set_concurrent_reads */
    unsigned error_rate, slow_rate;     /* of 1000 callbacks */
    unsigned patience_ms;       /* 0: endless */
    bool shortage;              /* memory runs out now and then */
    bool kills, stalls, shuts_down;
};

struct scenario {
    uint64_t seed, schedule;
    enum policy policy;
    struct configuration configuration;
    unsigned actors, steps;
    struct actor actor[ACTORS_MAX];
    struct step step[STEPS_MAX];
};

void scenario_make(struct scenario *scenario, uint64_t seed);
/* The order of things from another seed; scenario_make uses the scenario's own. */
void scenario_reschedule(struct scenario *scenario, uint64_t schedule);
/* The configuration, as comments of a trace. */
void scenario_print(const struct scenario *scenario, FILE *file);
/* Static text, for one thread until its next call. */
const char *step_text(const struct step *step);

#endif
