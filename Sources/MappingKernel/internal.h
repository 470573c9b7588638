/* internal.h - what the files of the mapping kernel share.

   Memory.  An object's pages are in one memory file of its own, at the object's offsets; every mapping of the object maps that file,
   shared, with its kernel's userfaultfd.  So a page is *resident* when the file has it, and in a mapping's page table or not.

   Locks, in this order:
     maps          the process's table of mappings by address (maps.c); a reader-writer lock
     kernel->lock  the kernel's objects, its life
     object->lock  everything of an object, its pages and its mappings' extents included
     kernel->cache_lock   the queues of resident pages
   maps and kernel->lock are never held together.  No lock is held while a message is sent, a right is released, a page's contents
   are copied, or a thread waits for a pager.  Requests to userfaultfd that change page tables but copy nothing (continue, write-protect,
   poison) are made with object->lock held: they must not be overtaken by the next change of the page.  A wake is always
   harmless, and is better made without locks.

   Invariants of a page (object->lock held, page not busy):
     P1  the file has the page exactly when the state is PRESENT.
     P2  requested is nonzero exactly when the state is REQUESTED.
     P3  unlocking, dirty, precious and lock are 0 unless the state is PRESENT.
     P4  a page table entry lets a thread write only if the page is dirty and its lock permits writing; one that lets it read
         exists only if the lock permits reading.
     P5  a thread that waits in a fault on the page and whose event was read is noted in the page: in waiter and others while the page is
         requested or unlocking, in refault while it is busy.
   busy: one thread is filling or returning the page; until it is done, nobody else changes it. */

#ifndef MK_INTERNAL_H
#define MK_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <mapping/mapping_kernel.h>

#define MK_RUN_PAGES_MAX 32u            /* in one data_return */
#define MK_BATCH_PAGES 128u             /* busy at once for one lock request or supply */
#define MK_CLUSTER_PAGES_MAX 64u
#define MK_LEAF_BITS 6u
#define MK_LEAF_PAGES (1u << MK_LEAF_BITS)
#define MK_NOBODY UINT32_MAX            /* no mapping's number */
#define MK_PAGE_SHIFT ((unsigned)__builtin_ctzl(vm_page_size))
#define MK_CACHE_PAGES_MIN 16u

typedef uint64_t mk_index;              /* number of a page in its object */

struct mk_page {
    struct mk_page *newer, *older;      /* in its queue; cache_lock */
    uint32_t waiter;                    /* number of the mapping in which a thread waits, or MK_NOBODY */
    kern_return_t last_error;
    uint16_t errors;                    /* requests that ended with an error */
    uint8_t number;                     /* in its leaf */
    uint8_t state;
    uint8_t lock, requested, unlocking;
    bool dirty : 1, precious : 1, busy : 1;
    bool others : 1;                    /* threads wait in other mappings too */
    bool wants_write : 1;               /* a thread that waits will write */
    bool refault : 1;                   /* threads wait for the end of busy */
    bool used : 1;                      /* since it became inactive */
    bool in_error : 1;                  /* an error is in some page table */
    bool is_inactive;                   /* in which queue; cache_lock */
};

struct mk_leaf {
    struct mk_object *object;
    mk_index first;
    struct mk_page pages[MK_LEAF_PAGES];
};

struct mk_mapping {
    struct mk_kernel *kernel;
    struct mk_object *object;           /* NULL: the kernel is dead, only the addresses are left */
    vm_address_t start, end;
    mk_index first;                     /* the page at start */
    uint32_t number;                    /* in the object */
    vm_prot_t protection, max_protection;
    struct mk_mapping *gone;            /* the next that goes in the same call */
};

/* Objects are reused but not freed before their kernel, so that a message to an object that has just gone finds memory. */
struct mk_object {
    struct mk_kernel *kernel;
    struct mk_object *next;             /* in the kernel's list, or its list of unused ones */
    pthread_mutex_t lock;
    pthread_cond_t changed;             /* broadcast by mk_object_signal */
    unsigned sleepers;                  /* threads that wait for it */

    mach_port_t pager, control, name;   /* in the kernel's task */
    bool terminating;                   /* no new operation begins */
    kern_return_t dead;                 /* nonzero: why no page can be had any more */
    bool introduced;                    /* init was sent */
    bool ready, may_cache;
    memory_object_copy_strategy_t copy_strategy;
    unsigned operations;                /* threads between mk_begin and mk_end */
    unsigned uses;                      /* mappings, and threads that are mapping or copying */

    int file;
    struct mk_mapping **mappings;       /* by number, NULL where free */
    uint32_t mapping_room, mapping_end, mapping_count;
    unsigned pinned;                    /* threads that fill pages through mappings */
    unsigned remapping;                 /* threads that change mappings, or wait to */

    void *root;                         /* a leaf if height is 0, else a node */
    unsigned height;
};

/* Counters; names as in struct mk_statistics. */
struct mk_counters {
    _Atomic uint64_t faults, requests, minor_faults, write_faults, unlocks, joined, deferred, supplied_pages, copied_pages,
        refused_pages, errors, lock_requests, returned_pages, returns, failed_sends, evictions, evicted_dirty, second_chances,
        lost_pages, mappings;
};
#define mk_count(kernel, what, n) atomic_fetch_add_explicit(&(kernel)->counters.what, (n), memory_order_relaxed)

struct mk_error;

struct mk_kernel {
    char name[32];
    hostmach_task_t task;
    int uffd;
    bool has_poison;
    hostmach_watch_t watch;             /* of uffd */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool dead, gone;
    unsigned entered;                   /* threads inside, handlers and those that serve faults excepted */
    struct mk_object *objects, *unused;
    unsigned object_count;
    mach_port_t notify;                 /* dead names of pagers */

    pthread_mutex_t cache_lock;
    struct mk_page active, inactive;    /* heads of the queues */
    size_t inactive_count;
    _Atomic size_t resident, limit;
    _Atomic unsigned cluster;           /* pages that a fault asks for at most; a power of two */

    pthread_mutex_t error_lock;         /* poison.c; a leaf */
    pthread_cond_t error_changed;
    struct mk_error *errors, **errors_end;
    bool error_thread_runs, error_stop;
    pthread_t error_thread;

    struct mk_counters counters;
};

/* uffd.c: the system's side.  Errors are errno values. */
int mk_uffd_open(unsigned without, int *uffd, bool *has_poison);
unsigned mk_pretended(void);
int mk_uffd_register(struct mk_kernel *kernel, vm_address_t address, vm_size_t length, bool is_file);
/* How many pages were copied; *error says why not all (EEXIST: the next is there). */
size_t mk_uffd_copy(struct mk_kernel *kernel, vm_address_t to, vm_address_t from, size_t pages, bool protect, int *error);
/* These wake nobody.  A thread that is woken runs at once, on this CPU if there is no other, and may need the lock that its waker
   has: so wake when nothing is locked any more. */
int mk_uffd_continue(struct mk_kernel *kernel, vm_address_t address, bool protect);
int mk_uffd_protect(struct mk_kernel *kernel, vm_address_t address, vm_size_t length, bool protect);
int mk_uffd_poison(struct mk_kernel *kernel, vm_address_t address);
void mk_uffd_wake(struct mk_kernel *kernel, vm_address_t address, vm_size_t length);

/* kernel.c */
bool mk_kernel_enter(struct mk_kernel *kernel, hostmach_task_t *previous);      /* false: it is dead */
void mk_kernel_leave(struct mk_kernel *kernel, hostmach_task_t previous);
struct mk_kernel *mk_kernel_current(void);      /* the thread's, or the default one; NULL: errno */

/* maps.c */
extern pthread_rwlock_t mk_maps_lock;
struct mk_mapping *mk_maps_find(vm_address_t address);          /* lock held */
size_t mk_maps_index(vm_address_t address);                     /* the first that ends behind it */
struct mk_mapping *mk_maps_at(size_t index);                    /* NULL: no more */
bool mk_maps_insert(struct mk_mapping *mapping);                /* false: no memory */
bool mk_maps_reserve(size_t more);
void mk_maps_remove(size_t index);
/* The object mapped at ADDRESS with its lock held, and where; false: nothing, or dead. */
bool mk_maps_lock_object(vm_address_t address, struct mk_object **object, mk_index *index);

/* map.c */
extern const struct hostmach_vm_backend mk_backend;
void mk_unmap_all(struct mk_kernel *kernel);
int mk_bus_file(void);                                          /* an empty file: mapping it means SIGBUS */
int mk_host_protection(vm_prot_t protection);
bool mk_map_bus(struct mk_mapping *mapping, vm_address_t address, vm_size_t length);
bool mk_map_file(struct mk_mapping *mapping, vm_address_t address, vm_size_t length, int flags, vm_address_t *mapped);

/* page.c: object->lock held */
struct mk_page *mk_page_find(struct mk_object *object, mk_index index);         /* or NULL */
struct mk_page *mk_page_get(struct mk_object *object, mk_index index);          /* makes it; NULL: no memory */
/* The first at or after INDEX and before END that is not simply absent, or NULL. */
struct mk_page *mk_page_next(struct mk_object *object, mk_index index, mk_index end);
void mk_pages_free(struct mk_object *object);
void mk_page_drop(struct mk_object *object, struct mk_page *page);              /* it is absent now */
static inline struct mk_leaf *mk_page_leaf(struct mk_page *page)
{
    return (struct mk_leaf *)((char *)(page - page->number) - offsetof(struct mk_leaf, pages));
}
static inline mk_index mk_page_index(struct mk_page *page)
{
    return mk_page_leaf(page)->first + page->number;
}

/* spread.c: what is done to pages in all mappings; object->lock held */
/* The address of page INDEX in MAPPING (may be NULL), or 0. */
vm_address_t mk_mapping_address(struct mk_mapping *mapping, mk_index index);
struct mk_mapping *mk_object_mapping(struct mk_object *object, uint32_t number);        /* or NULL */
/* The mapping in which PAGE is best put: where a thread waits, else any; or NULL. */
struct mk_mapping *mk_page_target(struct mk_object *object, struct mk_page *page, mk_index index);
void mk_wake(struct mk_object *object, mk_index first, size_t count);
void mk_wake_others(struct mk_object *object, struct mk_mapping *except, mk_index index);
void mk_write_protect(struct mk_object *object, mk_index first, size_t count);
void mk_zap(struct mk_object *object, mk_index first, size_t count);   /* out of the page tables; stays resident */

/* fault.c */
void mk_serve_faults(void *kernel, unsigned count);

/* error.c */
/* object->lock held: the unanswered request of PAGE ends with ERROR. */
void mk_page_fail(struct mk_object *object, struct mk_page *page, kern_return_t error);
/* object->lock held: threads that wait for PAGE get SIGBUS. */
void mk_page_signal(struct mk_object *object, struct mk_page *page);
/* object->lock held: a thread that faulted in MAPPING gets SIGBUS; the page has no record. */
void mk_signal_at(struct mk_object *object, struct mk_mapping *mapping, mk_index index);
void mk_errors_stop(struct mk_kernel *kernel);

/* supply.c; without locks, within an operation.  DATA NULL: zeros.  Returns KERN_SUCCESS, or why it stopped, and where. */
kern_return_t mk_supply(struct mk_object *object, mk_index first, size_t count, vm_address_t data, vm_prot_t lock,
                        bool precious, mk_index *stopped);

/* lock.c; without locks, within an operation */
struct mk_lock {
    memory_object_return_t should_return;
    bool flush;
    vm_prot_t value;
    unsigned run_max;                   /* pages in one data_return */
    bool is_optional;                   /* eviction: what cannot be sent now stays */
    bool is_last;                       /* the object is terminated: nothing is mapped any more */
};
void mk_lock_pages(struct mk_object *object, mk_index first, mk_index end, const struct mk_lock *how);

/* cache.c */
void mk_cache_init(struct mk_kernel *kernel);
void mk_cache_add(struct mk_object *object, struct mk_page *page);      /* object->lock held; it became PRESENT */
void mk_cache_remove(struct mk_object *object, struct mk_page *page);
void mk_cache_shrink(struct mk_kernel *kernel);                         /* without locks */

/* object.c */
struct mk_object *mk_object_use(struct mk_kernel *kernel, mach_port_t object, kern_return_t *error);   /* one more use */
void mk_object_unuse(struct mk_object *object);                         /* one use less; maybe terminates it */
void mk_object_check_use(struct mk_object *object);                     /* terminates an unused one that may not be cached */
void mk_object_die(struct mk_object *object, kern_return_t why);
void mk_object_free(struct mk_object *object);
bool mk_begin(struct mk_object *object);        /* object->lock held; false: no message may be sent any more */
void mk_end(struct mk_object *object);
static inline void mk_object_signal(struct mk_object *object)
{
    if (object->sleepers != 0)
        pthread_cond_broadcast(&object->changed);
}
static inline void mk_object_sleep(struct mk_object *object)
{
    object->sleepers++;
    pthread_cond_wait(&object->changed, &object->lock);
    object->sleepers--;
}

/* copy.c: copy LENGTH bytes of the object, from page FIRST on, to TO. */
kern_return_t mk_snapshot(struct mk_object *object, mk_index first, vm_size_t length, vm_address_t to);

/* send.c; without locks, within an operation; they enter the kernel's task */
/* Should a message that could not be sent for ERROR be tried again?  Pauses first.  ATTEMPT: how many there were. */
bool mk_try_again(kern_return_t error, unsigned attempt);
kern_return_t mk_send_init(struct mk_object *object);
kern_return_t mk_send_terminate(struct mk_object *object);
kern_return_t mk_send_request(struct mk_object *object, mk_index first, size_t count, vm_prot_t access);
kern_return_t mk_send_unlock(struct mk_object *object, mk_index index, vm_prot_t access);
kern_return_t mk_send_return(struct mk_object *object, mk_index index, vm_address_t data, vm_size_t length, bool dirty,
                             bool kernel_copy);         /* takes the data if it succeeds */

/* receive.c */
void mk_control_handler(mach_msg_header_t *message, void *object);
void mk_notify_handler(mach_msg_header_t *message, void *kernel);

#endif
