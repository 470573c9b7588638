/* A translator for tests: a backing store in memory whose callbacks do what the test says.

   It defines pager_read_page and the other callbacks of <hurd/pager.h>.  Every callback is counted and logged; each can be made to
   fail, or to stop at a gate until the test opens it, so that the order of things is the test's, not chance's.  */

#ifndef TESTS_STORE_H
#define TESTS_STORE_H

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <mach.h>
#include <hurd/pager.h>
#include <hurd/ports.h>
#include <pager/extensions.h>
#include <scripted/scripted_kernel.h>

enum call { CALL_READ, CALL_WRITE, CALL_UNLOCK, CALL_EVICT, CALL_WRITES, CALL_COUNT };

/* One callback, in the order in which they began.  */
struct call_record {
    enum call call;
    vm_offset_t page;       /* offset in bytes */
    vm_size_t length;       /* bytes */
    int error;              /* what it returned */
    unsigned char first;    /* first byte of the data written */
};

struct user_pager_info {
    struct pager *pager;
    size_t pages;                           /* of the store; the extent */
    unsigned char *data;                    /* the backing store's bytes */

    /* What callbacks are to do.  Under lock.  */
    int errors[CALL_COUNT];                 /* returned, if not 0 ... */
    int error_count[CALL_COUNT];            /* ... so many times; -1: always */
    int write_lock;                         /* pager_read_page's *write_lock */
    int bad_buffer;                         /* pager_read_page: 1 no buffer, 2 unaligned */
    int multi_write;                        /* pager_write_pages works, for at most so many pages a call */
    int closed[CALL_COUNT];                 /* the gate is closed: callbacks wait */

    /* What happened.  Under lock.  */
    int waiting[CALL_COUNT];                /* callbacks at the gate */
    int running, max_running;               /* callbacks of any kind at once */
    int running_reads, max_reads;
    int overlaps;                           /* two callbacks for one page at once */
    unsigned counts[CALL_COUNT];
    struct call_record log[4096];
    unsigned logged;
    int cleared, dropped_weak;              /* pager_clear_user_data, pager_dropweak */
    vm_offset_t active[128];
    int active_count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* One test's world: bucket, workers, pager.  */
struct world {
    struct port_bucket *bucket;
    struct pager_requests *requests;
    struct user_pager_info *store;
    struct pager *pager;
    mach_port_t port;                       /* a send right, in the main task */
    size_t ports_before, rights_before, bytes_before;
};

/* A pager of PAGES pages, filled so that page i begins with byte i + 1, and its workers.  */
void world_open(struct world *, size_t pages, boolean_t notify);
void world_open_with(struct world *, size_t pages, boolean_t may_cache, memory_object_copy_strategy_t, boolean_t notify);
/* Shut the pager down, drop it, stop the workers; check that the clean routine ran once, that nothing is left of ports, rights
   and memory, and that callbacks never overlapped on a page.  Kernels must be destroyed before.  */
void world_close(struct world *);

/* The store's page: its first byte; set all its bytes.  */
unsigned char store_byte(struct world *, size_t page);
void store_fill(struct world *, size_t page, unsigned char byte);

/* The next COUNT calls fail with ERROR (-1: all from now on; 0: none).  */
void store_fail(struct world *, enum call, int error, int count);
void store_write_lock(struct world *, int on);
void store_multi_write(struct world *, int pages);

/* Close a gate; wait until COUNT callbacks stand at it; open it.  A hang ends the test after 30 s.  */
void store_close_gate(struct world *, enum call);
void store_wait_gate(struct world *, enum call, int count);
void store_open_gate(struct world *, enum call);

unsigned store_count(struct world *, enum call);
void store_wait_count(struct world *, enum call, unsigned count);
/* The INDEX-th record of this call; fails the test if there is none.  */
struct call_record store_call(struct world *, enum call, unsigned index);

/* Wait until the pager has nothing to do: all messages that kernels have sent are dealt with, no callback runs.  */
void world_settle(struct world *);

/* pager_get_statistics, for one figure.  */
struct pager_statistics world_statistics(struct world *);

/* A page's first byte as the kernel has it (it must be present); touch it through faults.  */
unsigned char kernel_byte(sk_object *, size_t page);
int kernel_read(sk_object *, size_t page, unsigned char *byte);
int kernel_write(sk_object *, size_t page, unsigned char byte);
vm_offset_t page_offset(size_t page);

/* Run FUNCTION in a thread of its own; join.  */
pthread_t spawn(void *(*function)(void *), void *argument);
void join(pthread_t);

#endif
