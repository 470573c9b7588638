/* benchmark_service: the service under load. Kernels send real messages over HostMach, the pager's workers receive them, call the
   translator and answer; what is measured is seen from the kernels: how many pages a second, and how long each waits for its page.

   kernel.c, messages.c   kernels that do as little as a kernel can
   store.c                the translator: a store that knows of each page what was written last, fast or slow
   loads.c                what the kernels do
   measure.c              clocks, quantiles, checks
   main.c                 the tables

   All ends the program with a message where something is not as it must be: an answer that does not come (after a minute), an error, a
   wrong byte.  */

#ifndef SERVICE_BENCHMARK_H
#define SERVICE_BENCHMARK_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mach.h>
#include <hostmach/hostmach.h>
#include <hurd/pager.h>
#include <pager/extensions.h>

/* ---- Pages ---- */

/* What the first and the last word of a page say: its number, and how often it was written.  */
static inline uint64_t stamp_of(size_t page, uint32_t writes)
{
    return (uint64_t)page << 32 | writes;
}

void stamp_put(void *page, uint64_t stamp);
/* Ends the program if the page is not one with this number, or the words differ.  */
uint64_t stamp_get(const void *page, size_t number);

/* ---- The translator (store.c) ---- */

struct user_pager_info {
    size_t pages;
    uint64_t *stamps;                   /* of the page's last version; no two callbacks for one page run at once */
    unsigned delay_us;                  /* that pager_read_page takes */
    unsigned running, most_running;     /* reads at this time, and the most that there were (atomic) */
};

/* ---- An object with its workers ---- */

struct service {
    struct port_bucket *bucket;
    struct pager_requests *requests;
    struct user_pager_info *store;
    struct pager *pager;
    mach_port_t port;                   /* a send right */
};

/* READS: pager_set_concurrent_reads; 0: not called.  */
void service_open(struct service *, size_t pages, unsigned reads, unsigned delay_us);
/* When its kernels have gone: all is written, nobody is served any more. The store is there still.  */
void service_stop(struct service *);
void service_close(struct service *);

/* ---- Kernels (kernel.c) ---- */

struct kernel;

/* A thread of a kernel's machine.  */
struct faulter {
    struct kernel *kernel;
    sem_t arrived;
    bool writes;                        /* the access that it waits for */
};

/* It has mapped the object, and the pager is ready.  */
struct kernel *kernel_open(const char *name, const struct service *, size_t pages);
/* Returns what is dirty, unmaps the object, and goes.  */
void kernel_close(struct kernel *);

/* The calling thread becomes one of the kernel's machine, until faulter_leave.  */
void faulter_enter(struct faulter *, struct kernel *);
void faulter_leave(struct faulter *);

/* Reads or writes the page (a write counts its stamp up); waits for the pager where it must. Whether that was so.  */
bool faulter_touch(struct faulter *, size_t page, bool write);
/* Pageout, by a faulter's thread: a changed page goes back, any other is dropped without a word.  */
void kernel_evict(struct kernel *, size_t page);

/* messages.c: what the pager sends. The handler of control ports; the cookie is the kernel.  */
void kernel_receive(mach_msg_header_t *, void *cookie);
void kernel_is_ready(struct kernel *);
void kernel_is_supplied(struct kernel *, vm_offset_t offset, vm_address_t data, vm_size_t length, vm_prot_t lock);
void kernel_is_refused(struct kernel *, vm_offset_t offset, kern_return_t error);
/* Sends what must be returned, and the answer.  */
void kernel_is_asked(struct kernel *, vm_offset_t offset, vm_size_t length, memory_object_return_t, boolean_t flush, vm_prot_t lock,
                     mach_port_t reply, mach_msg_type_name_t reply_type);

/* ---- What they do (loads.c) ---- */

enum load { LOAD_PAGE_IN, LOAD_PAIR, LOAD_HAND_OVER, LOADS };

struct result {
    unsigned long operations;           /* that the pager was needed for */
    double seconds;                     /* from the first to the end of the last, writes included */
    double processor_seconds;           /* of the whole process: workers, kernels, translator */
    double p50_us, p99_us;              /* from request to the end of the access */
    unsigned most_reads;                /* pager_read_page calls at the same time */
};

/* One round: KERNELS kernels of one thread, about OPERATIONS operations in all.  */
struct result load_run(enum load, unsigned kernels, unsigned long operations);

/* A store that takes DELAY_US for a read; up to READS at once (1: the default, without the opt-in). One kernel with THREADS threads
   asks for OPERATIONS pages.  */
struct result slow_run(unsigned reads, unsigned threads, unsigned long operations, unsigned delay_us);

/* ---- measure.c ---- */

double elapsed_seconds(void);
double processor_seconds(void);
/* Of COUNT values, which are sorted. WHERE: 0 to 1.  */
double quantile(double *values, size_t count, double where);
void fail(const char *what, long is) __attribute__((noreturn));
void expect(const char *what, long is, long should_be);
void *make(size_t count, size_t size);
/* Waits for a minute at the most, then ends the program.  */
void await(sem_t *, const char *what);

#endif
