/* Mapped memory for tests: a world (../pager/store.h), kernels that map it, touches that survive a signal.  */

#ifndef TESTS_LAND_H
#define TESTS_LAND_H

#include <signal.h>
#include <stdbool.h>

#include "store.h"

#include <mapping/mapping_kernel.h>

typedef volatile unsigned char *memory;

struct land {
    struct world world;
    mk_kernel *kernels[4];
    int count;
    unsigned files_before;
};

/* A pager of PAGES pages and so many kernels ("A", "B" ...), with a limit of CACHE pages (0: none).  */
void land_open(struct land *, int kernels, size_t pages, size_t cache);
void land_open_with(struct land *, int kernels, size_t pages, size_t cache, boolean_t may_cache, memory_object_copy_strategy_t,
                    boolean_t notify);
/* Everybody goes; world_close; no file descriptor is left.  */
void land_close(struct land *);
/* Kernel INDEX goes before.  */
void land_lose(struct land *, int index);

/* vm_map through kernel INDEX: COUNT pages from page FIRST on.  */
memory land_map(struct land *, int index, size_t first, size_t count, vm_prot_t protection);
kern_return_t land_try(struct land *, int index, vm_address_t *address, size_t first, size_t count, vm_prot_t protection);
void unmap(memory, size_t pages);

#define RW (VM_PROT_READ | VM_PROT_WRITE)
#define RO VM_PROT_READ

static inline memory at(memory m, size_t page) { return m + page * vm_page_size; }

/* Handlers for SIGBUS and SIGSEGV that let touches return.  land_open does it.  */
void catch_signals(void);
/* Touch a byte.  0, or the signal that it caused (then touch_address is si_addr, and the error is forgotten: mk_error_taken).  */
int touch_read(memory, unsigned char *byte);
int touch_write(memory, unsigned char byte);
/* A write that changes nothing.  */
int touch_claim(memory);
extern _Thread_local void *touch_address;
unsigned char peek(memory);             /* touch_read that must succeed */
void poke(memory, unsigned char byte);

/* A touch in a thread of its own.  task_end returns its signal, or 0; byte is what was read.  */
struct touch {
    memory where;
    bool write;
    unsigned char byte;
    void *address;                      /* si_addr */
    struct task task;
};
void touch_begin(struct touch *, memory, bool write, unsigned char byte);
int touch_end(struct touch *);

struct mk_page_info page_info(memory);
struct mk_statistics statistics(struct land *, int index);
/* Wait until the kernel has taken so many faults, in all.  A hang ends the test.  */
void wait_faults(struct land *, int index, uint64_t faults);
void wait_kernel_faults(mk_kernel *, uint64_t faults);

#endif
