/* mapping/mapping_kernel.h - kernels that map memory objects into this process, with real page faults.

   A *mapping kernel* is a client of pagers: vm_map of a memory object gives real addresses, a touch of a page that is not
   there is a page fault, which becomes memory_object_data_request, and so on: the memory object protocol as GNU Mach
   speaks it, over userfaultfd.  What each message does is said in docs/mappingkernel.md.

   The library makes itself HostMach's back end for vm_map, vm_deallocate and vm_protect (mk_start).  A kernel is a HostMach
   task with a cache of its own: several in one process are several clients of a pager.  vm_map uses the calling thread's
   kernel (mk_enter), else the default kernel, which is made on first use.  Once mapped, memory may be touched by any
   thread, and by system calls.

   What goes wrong at a touch is a signal: SIGBUS with si_addr, if the pager answered with memory_object_data_error, if the object was
   destroyed, its pager is dead, the kernel was killed, or memory for the page is short; a system call returns EFAULT.
   A retry asks the pager again; see mk_error_taken.

   All functions may be called from any thread, unless it says otherwise.  Addresses and lengths are bytes.  */

#ifndef MAPPING_KERNEL_H
#define MAPPING_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include <mach.h>
#include <hostmach/hostmach.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mk_kernel mk_kernel;

/* ---- Starting ---- */

/* See whether this machine lets us, and become HostMach's back end: 0, or an errno value that mk_explain explains.  Again: nothing.
   mk_kernel_create and mk_enter do it as well.  */
int mk_start(void);

/* What ERROR (from mk_start; errno after mk_kernel_create returned NULL) means for page faults, and which setting or
   capability would help.  A constant string.  */
const char *mk_explain(int error);

/* ---- Kernels ---- */

/* A new kernel.  NAME is copied (31 bytes), for debuggers.  CACHE_PAGES: how many pages it keeps in memory, over all its objects, before
   it evicts; 0: no limit; else at least 16.  NULL: errno says why.  */
mk_kernel *mk_kernel_create(const char *name, size_t cache_pages);

/* Another limit, from the next supply on.  */
void mk_kernel_set_cache(mk_kernel *kernel, size_t cache_pages);

/* How many pages a fault asks for at most (1 at first; at most 64 and a quarter of the cache's limit; rounded down to a power of two): the pages around it that are absent,
   without a gap, within a naturally aligned block of so many and within the mapping, in one data_request.  For faults that read: who
   writes takes a page from others, so a write asks for what it needs.  A page that was asked for beside the fault and is refused is
   asked for again when it is touched.  */
void mk_kernel_set_cluster(mk_kernel *kernel, unsigned pages);

/* The kernel dies, as a crashed machine does: its task goes with all ports, so that pagers get dead names; nothing is returned.
   Every mapping stays where it is, and a touch of it is SIGBUS; so is one that waits.  vm_map fails with KERN_TERMINATED.  Not from a
   message's execution.  A second time: nothing.  */
void mk_kernel_kill(mk_kernel *kernel);

/* The same; then all its mappings are unmapped and everything is freed.  No other thread may use it then, or have
   entered it.  NULL: the default kernel, which the next use makes anew.  */
void mk_kernel_destroy(mk_kernel *kernel);

/* The calling thread maps through KERNEL from now on (NULL: the default kernel).  Returns what was entered before.  */
mk_kernel *mk_enter(mk_kernel *kernel);

/* The kernel's task, to look at its rights; valid while it lives.  */
hostmach_task_t mk_kernel_task(mk_kernel *kernel);

/* ---- Errors ---- */

/* A page that the pager refused stays refused (each touch is SIGBUS) for this long, so that every thread that waited sees it; then a
   touch asks the pager again.  Milliseconds; 10 at first; for the whole process.  */
void mk_set_error_hold(unsigned milliseconds);

/* The error at ADDRESS has been taken note of: the next touch asks the pager again, at once.  To be called by a handler of SIGBUS with
   si_addr, or after it has jumped out.  Ignores addresses that are not mapped or not in error.  (Without this library at
   hand, madvise(page, vm_page_size, MADV_DONTNEED) does the same for a page mapped by a kernel; never do it to other memory.)  */
void mk_error_taken(const void *address);

/* ---- Looking ---- */

struct mk_statistics {
    uint64_t faults;            /* page faults taken: those below, and those that joined a request or waited for a busy page */
    uint64_t requests;          /* data_request sent */
    uint64_t minor_faults;      /* resolved by a page that is in the cache, but not in this mapping's page table */
    uint64_t write_faults;      /* write-protection taken away locally */
    uint64_t unlocks;           /* data_unlock sent */
    uint64_t joined;            /* faults that found the request or the unlock sent already */
    uint64_t deferred;          /* faults on a busy page, which are taken again */
    uint64_t supplied_pages;    /* pages that data_supply or data_unavailable brought, that were wanted or are kept */
    uint64_t copied_pages;      /* of these, placed with UFFDIO_COPY; the others were written to the cache */
    uint64_t refused_pages;     /* pages ended by data_error */
    uint64_t errors;            /* signals' worth: errors put into a mapping */
    uint64_t lock_requests;     /* received */
    uint64_t returned_pages;    /* in data_return, for lock requests, eviction and termination */
    uint64_t returns;           /* data_return messages sent */
    uint64_t failed_sends;      /* messages that could not be sent */
    uint64_t evictions;         /* pages that the limit pushed out, of any kind */
    uint64_t evicted_dirty;     /* of these, returned to the pager because they were dirty or precious */
    uint64_t second_chances;    /* pages that were passed over because they had been used */
    uint64_t lost_pages;        /* pages that the program threw out of the cache behind our back (MADV_REMOVE) */
    uint64_t resident_pages;    /* in the cache now */
    uint64_t objects;           /* known now, mapped or cached */
    uint64_t mappings;          /* now */
};
void mk_get_statistics(mk_kernel *kernel, struct mk_statistics *statistics);

enum mk_page_state { MK_PAGE_ABSENT, MK_PAGE_REQUESTED, MK_PAGE_PRESENT };

struct mk_page_info {
    enum mk_page_state state;
    vm_prot_t lock;             /* forbidden accesses */
    vm_prot_t requested;        /* access of the unanswered request, or 0 */
    vm_prot_t unlocking;        /* access of the unanswered data_unlock, or 0 */
    boolean_t dirty, precious;
    boolean_t waited_for;       /* a thread that faulted has to be woken when the page changes */
    boolean_t in_error;         /* refused, and still held to be so */
    vm_offset_t offset;         /* in the object, bytes */
};

/* The page that is mapped at ADDRESS; waits while it is being filled or returned.  KERN_INVALID_ADDRESS: no kernel has mapped anything there.  */
kern_return_t mk_page_info(const void *address, struct mk_page_info *info);

/* What the pager said in memory_object_ready or change_attributes of the object mapped at ADDRESS.  */
kern_return_t mk_object_info(const void *address, boolean_t *may_cache, memory_object_copy_strategy_t *copy_strategy);

/* For tests of the fall-backs: pretend that this machine lacks features, for kernels made from now on.  */
enum { MK_WITHOUT_POISON = 1, MK_WITHOUT_DEVICE = 2, MK_WITHOUT_SYSCALL = 4, MK_USER_MODE_ONLY = 8 };
void mk_pretend(unsigned without);

#ifdef __cplusplus
}
#endif

#endif
