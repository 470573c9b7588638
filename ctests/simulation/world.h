/* world.h - the simulated world: one bucket with its workers, one pager, its store, and kernels that map it. */

#ifndef SIMULATION_WORLD_H
#define SIMULATION_WORLD_H

#include <mach.h>
#include <hurd/pager.h>
#include <pager/extensions.h>
#include <scripted/scripted_kernel.h>

#include "scenario.h"

struct machine {
    sk_kernel *kernel;
    sk_object *object;
    bool hostile;
    bool dying;                 /* what it returns may not get out any more */
    bool changing;              /* an actor unmaps and maps */
    bool stalled;
};

struct world {
    const struct scenario *scenario;
    const struct configuration *configuration;
    struct port_bucket *bucket;
    struct pager_requests *requests;
    struct pager *pager;
    struct user_pager_info *user;
    unsigned others_cleared;    /* pagers of other programs' steps (OP_MORE) whose pager_clear_user_data has run */
    mach_port_t port;           /* a send right */
    struct machine machines[KERNELS_MAX];
    sk_kernel *kernels[STEPS_MAX + KERNELS_MAX];        /* all that were made */
    unsigned kernels_made;
    bool inhibited;
    bool closing;               /* somebody has begun to shut the pager down */
    bool lossy;                 /* ... in a way that may lose data, or while nobody takes messages in */
    bool unmapped;              /* a kernel has unmapped the object */
    bool cleared;               /* pager_clear_user_data has run */
    unsigned running_actors[4]; /* by role */
};

extern struct world world;

vm_offset_t page_offset(unsigned page);
/* The store's page at this offset of the object, or -1. */
int page_at(vm_offset_t offset);

/* store.c */
void store_open(void);
const void *store_bytes(unsigned page);
bool store_is_idle(void);
void store_close(void);

/* kernels.c: kernels, and what their memory shows. All return 0 or an error; errors that nothing excuses fail the run. */
void machines_open(void);
void machine_start(unsigned index);
void machine_read(unsigned index, unsigned page);
void machine_write(unsigned index, unsigned page, uint32_t chance);
/* Asks for a page. Does not wait. */
void machine_ask(unsigned index, unsigned page, vm_prot_t access);
/* One message for the absent pages from this one on, COUNT at the most. Does not wait. */
void machine_request(unsigned index, unsigned page, unsigned count, vm_prot_t access);
void machine_remap(unsigned index);
void machine_kill(unsigned index);
void machine_stall(unsigned index, unsigned mask);
void machine_go_on(unsigned index);
/* Some kernel has the page. */
bool is_page_resident(unsigned page);
/* An error that a kernel got for the page is one that may be. */
void check_error(unsigned page, int error, const char *what);

/* hostile.c */
void hostile_send(unsigned index, unsigned page, uint32_t chance, unsigned more);
/* By rights, as far as a kernel without patience goes. */
void hostile_touch(unsigned index, unsigned page, bool write);
/* One more client, for a while, whose control port is a queue that nobody empties. */
void hostile_clog(unsigned page, uint32_t chance);

/* actors.c */
void actors_start(void);
void actors_await(enum role role);

/* Does OP_MORE, where a program has such steps. */
extern void (*actors_more)(const struct step *step);

/* checks.c */
struct accounts { size_t ports, rights, bytes, messages; long blocks; };
struct accounts accounts_take(void);
void check_accounts(struct accounts before);
/* Nobody does anything any more: all is answered, everybody sees the same, the store gets it. */
void check_rest(void);
void check_store(void);

/* Called when a world is made, before its kernels are, and before it is closed; NULL: nothing. */
extern void (*world_opened)(void), (*world_closes)(void);

/* run.c: in the process of its own that a run is (main.c), or one after the other (ctests/fuzz). Does not return when the run fails. */
void run_scenario(const struct scenario *scenario);

#endif
