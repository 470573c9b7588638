/* A translator for tests: a backing store in memory whose callbacks do what the test says.

   It defines pager_read_page and the other callbacks of <hurd/pager.h>.  Every callback is counted and logged; each can be made to
   fail, or to stop at a gate until the test opens it, so that the order of things is the test's, not chance's.

   Environment: LIBPAGER_TEST_HANG_MS, the hang limit of all waits; LIBPAGER_TEST_ONLY, the name of the one test case to run.  */

#ifndef TESTS_STORE_H
#define TESTS_STORE_H

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
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
    int multi_prefix;                       /* pager_write_pages writes so many pages before it fails */
    int closed[CALL_COUNT];                 /* the gate is closed: callbacks wait */
    /* Called, if set, by every callback behind its gate; without the lock.  */
    void (*hook)(struct user_pager_info *, enum call, vm_offset_t page);
    void *hook_argument;

    /* What happened.  Under lock.  */
    int waiting[CALL_COUNT];                /* callbacks at the gate */
    int running, max_running;               /* callbacks of any kind at once */
    int running_reads, max_reads;
    int overlaps;                           /* two callbacks for one page at once */
    unsigned counts[CALL_COUNT];
    struct call_record log[4096];
    unsigned logged;
    int cleared, dropped_weak;              /* pager_clear_user_data, pager_dropweak */
    int *cleared_too;                       /* counts pager_clear_user_data as well, if set: for data that live in the pager */
    int drop_weak;                          /* pager_dropweak gives up so many weak references */
    vm_offset_t active[128];
    vm_size_t active_length[128];
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
/* One more pager, served by the workers of FIRST.  To be closed before FIRST, the last made first.  */
void world_join(struct world *, struct world *first, size_t pages, boolean_t notify);
/* Shut the pager down, drop it, stop the workers; check that the clean routine ran once, that nothing is left of ports, rights
   and memory, and that callbacks never overlapped on a page.  Kernels must be destroyed before.  */
void world_close(struct world *);
/* For a pager that ends by itself: whether pager_clear_user_data has run; wait for that; and then the same as world_close, without
   a shutdown.  The test has given up its reference and its send right.  */
int world_cleared(struct world *);
void world_wait_cleared(struct world *);
void world_close_ended(struct world *);

/* The store's page: its first byte; set all its bytes.  */
unsigned char store_byte(struct world *, size_t page);
void store_fill(struct world *, size_t page, unsigned char byte);

/* The next COUNT calls fail with ERROR (-1: all from now on; 0: none).  */
void store_fail(struct world *, enum call, int error, int count);
void store_write_lock(struct world *, int on);
void store_multi_write(struct world *, int pages);

/* Close a gate; wait until COUNT callbacks stand at it; open it.  A hang ends the test after 30 s (LIBPAGER_TEST_HANG_MS).  */
void store_close_gate(struct world *, enum call);
void store_wait_gate(struct world *, enum call, int count);
void store_open_gate(struct world *, enum call);

unsigned store_count(struct world *, enum call);
void store_wait_count(struct world *, enum call, unsigned count);
/* The INDEX-th record of this call; fails the test if there is none.  */
struct call_record store_call(struct world *, enum call, unsigned index);

/* Wait until the pager has nothing to do: all messages that kernels have sent are dealt with, no callback runs.  */
void world_settle(struct world *);

/* Messages that kernels have sent before are taken in, though callbacks may stand at gates: each attached kernel answers
   a lock request for a page that no test uses.  Not while a kernel holds locks or completions back.  */
void world_fence(struct world *);

/* Wait until client number CLIENT has this access (pager_page_access) to PAGE.  A hang ends the test after 30 s.  */
void world_wait_access(struct world *, size_t page, unsigned client, int access);

/* pager_get_statistics, for one figure.  */
struct pager_statistics world_statistics(struct world *);

/* A page's first byte as the kernel has it (it must be present); touch it through faults.  */
unsigned char kernel_byte(sk_object *, size_t page);
int kernel_read(sk_object *, size_t page, unsigned char *byte);
int kernel_write(sk_object *, size_t page, unsigned char byte);
vm_offset_t page_offset(size_t page);

/* Wait until CONDITION(argument).  A hang ends the test.  */
void wait_for(bool (*condition)(void *), void *argument);

/* Run FUNCTION in a thread of its own; join.  */
pthread_t spawn(void *(*function)(void *), void *argument);
void join(pthread_t);

/* A call in a thread of its own, which tells when it has returned.  (No assertions in FUNCTION: they must be in the test's thread.)  */
struct task {
    int (*function)(void *);
    void *argument;
    int result;
    int done;                               /* under a lock: see task_done */
    pthread_t thread;
};
void task_begin(struct task *, int (*function)(void *), void *argument);
int task_done(struct task *);
/* It has not returned, and does not for some 30 ms: a chance for what is wrong to show itself; nothing depends on the time.  */
int task_waits(struct task *);
/* Wait until one of the two has returned: that one.  A hang ends the test.  */
struct task *task_first(struct task *, struct task *);
/* Wait for its end and get what it returned.  A hang ends the test.  */
int task_end(struct task *);

/* pager_inhibit_workers; -1 if it returns while a callback of this world runs.  */
int world_inhibit(struct world *);
/* Two threads inhibit: when one has got EBUSY, the other has begun.  Returns the other.  */
struct task *world_begin_inhibition(struct task tasks[2], struct world *);

/* Threads that wait in task_first and task_end look again.  */
void tasks_wake(void);

/* ---- What ../each wants to know, which defines these where it is linked with a program; else they do nothing ---- */

/* The case is over, though its threads are not: gates do not hold, waits are in vain.  */
int each_over(void);
/* A thread of the test is where it may be stopped for good when the case is over: it has no lock.  */
void each_point(void);
/* The calling thread is the test's, not the library's.  */
void each_test_thread(void);
/* pthread_cond_timedwait, for gates of a test's own; it ends when the case is over.  */
int each_timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *end);
/* store->hook, which is left when the case is over.  */
void each_hook(struct user_pager_info *, enum call, vm_offset_t page);
void each_store_opened(struct user_pager_info *);
/* All is written, nothing comes any more.  */
void each_store_closes(struct user_pager_info *);
/* The page at OFFSET was to be written, with this result.  The store is locked.  */
void each_wrote(struct user_pager_info *, vm_offset_t offset, const void *data, int error);
void each_filled(struct user_pager_info *, size_t page);
/* When a world is closed: so many WHAT, and so many before.  */
void each_left(const char *what, size_t now, size_t before);

/* A world with so many kernels, "A", "B" ...: kernel i has mapped the pager as client i.  */
struct cast {
    struct world world;
    int count;
    sk_kernel *kernels[16];
    sk_object *objects[16];
};
void cast_open(struct cast *, int kernels, size_t pages, boolean_t notify);
/* One more maps the pager.  */
sk_object *cast_join(struct cast *);
/* Kernel INDEX dies and is gone.  */
void cast_kill(struct cast *, int index);
/* No kernel saw what no pager may do; everybody goes; world_close.  */
void cast_close(struct cast *);

#endif
