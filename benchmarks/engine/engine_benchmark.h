/* benchmark_engine: the message routines of the library, called as MIG's stubs call them, with a translator and a kernel that only count.

   The code that is measured is the shipped library's: the objects that libpager.a is made of. What it calls ends at a counter:

     - the translator's callbacks (translator.c);
     - the kernel (mach.c). Where it begins differs between the two programs:
         benchmark_engine        the stubs for messages to a control port (memory_object_data_supply, ...), as for a libpager whose
                                 stubs are libmachuser's. The goals are for this one.
         benchmark_engine_stubs  mach_msg: the library's own stubs (MIG's, and CPlatform/send.c) are measured as well.  */

#ifndef ENGINE_BENCHMARK_H
#define ENGINE_BENCHMARK_H

#include <stddef.h>
#include <stdint.h>

#include <hostmach/hostmach.h>

#include "engine.h"

/* ---- What is counted, in each thread by itself ---- */

extern _Thread_local struct counts {
    unsigned long sends;                /* messages to control ports */
    unsigned long reads, writes, unlocks;       /* callbacks */
    unsigned long releases;             /* mach_port_deallocate, vm_deallocate */
} counts;

/* What pager_read_page says of writing.  */
extern int translator_write_lock;

/* ---- A pager and its clients ---- */

enum { max_clients = 10000 };

struct land {
    struct port_bucket *bucket;
    pager_t pager;
    hostmach_task_t task;               /* the clients' */
    mach_port_t control[max_clients];   /* by client number; the name that messages bring */
    mach_port_t name[max_clients];
    unsigned clients;
};

void land_open(struct land *, unsigned clients);
/* The clients that are left terminate, and the pager goes.  */
void land_close(struct land *);

/* A client as the loops see it: in registers, so that the loops themselves are short.  */
struct sender {
    pager_t pager;
    mach_port_t control;
    vm_size_t page_size;
};

static inline struct sender
sender_of(const struct land *land, unsigned client)
{
    return (struct sender) { land->pager, land->control[client], vm_page_size };
}

static inline void
request(struct sender from, vm_offset_t offset, vm_prot_t access)
{
    _pager_S_memory_object_data_request(from.pager, from.control, offset, from.page_size, access);
}

static inline void
unlock(struct sender from, vm_offset_t offset)
{
    _pager_S_memory_object_data_unlock(from.pager, from.control, offset, from.page_size, VM_PROT_READ | VM_PROT_WRITE);
}

/* The data are never looked at.  */
#define NO_DATA ((vm_address_t) 1 << 30)

static inline void
give_back(struct sender from, vm_offset_t offset, boolean_t dirty)
{
    _pager_S_memory_object_data_return(from.pager, from.control, offset, NO_DATA, (mach_msg_type_number_t) from.page_size, dirty, 0);
}

static inline void
completed(struct sender from, vm_offset_t offset)
{
    _pager_S_memory_object_lock_completed(from.pager, from.control, offset, from.page_size);
}

void terminate(struct land *, unsigned client);

/* Ends the program with a message where it is not so: what was measured was not what was meant.  */
void expect(const char *what, unsigned long is, unsigned long should_be);
void expect_nothing_refused(const struct land *);

/* ---- Operations that are measured by the piece (operations.c) ---- */

struct operation {
    const char *name;
    unsigned clients;
    unsigned long pages;                /* where the command line says nothing */
    /* Before each round.  */
    void (*prepare)(struct land *, unsigned long pages, unsigned round);
    /* One operation a page.  */
    void (*run)(struct land *, unsigned long pages, unsigned round);
    /* Messages to clients, reads, writes, unlocks an operation makes.  */
    struct counts makes;
};

extern const struct operation operations[];
extern const size_t operation_count;

/* ---- Others: each prints its own lines (memory.c, threads.c) ---- */

void measure_patterns(unsigned rounds);            /* bytes a page, 16 clients in 100 patterns */
void measure_subsets(unsigned rounds);             /* memory of 64 clients with random subsets of 100,000 pages */
void measure_termination(unsigned rounds);
void measure_threads(unsigned rounds);

double now_ns(void);
/* That the calling thread has used, so that a busy machine counts less.  */
double processor_ns(void);

#endif
