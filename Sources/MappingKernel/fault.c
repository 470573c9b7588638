/* fault.c - page faults.

   They are read by threads that wait for messages, or else by a thread that HostMach has for it (a *watch*): mostly by a pager's idle
   worker, which then goes on with the message that follows.  Whoever it is reads an event, changes pages' states and sends; he never
   waits for a pager, nor for a page that another thread has busy: such a fault is noted in the page and taken again when that
   thread wakes it.  The work of bringing pages is done by those who supply them.

   Fast path of a page-in: one read of the event, two uncontended locks, one message, no allocation (but for a new leaf of 64 pages).

   An event may be out of date when it is read: the page may have come, or the address may be unmapped or mapped anew.  So what to do
   follows from the page's state; an event that finds nothing to do wakes the thread, which faults again if it must.  An event for an address
   that is not mapped is left alone: whoever unmaps wakes it afterwards (map.c). */

#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "sanitizer.h"

#define EVENTS 16

struct fault {
    struct mk_mapping *mapping;         /* until the object's lock is given up */
    uint32_t number;                    /* of the mapping */
    vm_address_t address;
    mk_index index;
    vm_prot_t access;
    bool write, is_protected;
    bool resolved;                      /* the thread is to be woken */
};

/* A thread waits for PAGE's request or unlock. */
static void note_waiter(struct mk_page *page, const struct fault *fault)
{
    if (page->waiter == MK_NOBODY)
        page->waiter = fault->number;
    else if (page->waiter != fault->number)
        page->others = true;
    page->wants_write |= fault->write;
}

static void make_requested(struct mk_page *page, vm_prot_t access)
{
    page->state = MK_PAGE_REQUESTED;
    page->requested = (uint8_t)access;
    page->waiter = MK_NOBODY;
    page->others = page->wants_write = false;
}

static struct mk_page *absent_page(struct mk_object *object, mk_index index)
{
    struct mk_page *page = mk_page_get(object, index);
    return page != NULL && page->state == MK_PAGE_ABSENT && !page->busy ? page : NULL;
}

/* A cluster that fills much of a small cache would push out the page that was faulted for before it is touched. */
static mk_index cluster_pages(struct mk_kernel *kernel)
{
    mk_index cluster = atomic_load_explicit(&kernel->cluster, memory_order_relaxed);
    size_t limit = atomic_load_explicit(&kernel->limit, memory_order_relaxed);

    while (limit != 0 && cluster > limit / 4)
        cluster /= 2;
    return cluster;
}

/* Ask for the absent neighbours of the faulting page as well, up to the kernel's cluster.  How many pages, from *first on. */
static size_t widen(struct mk_object *object, const struct fault *fault, mk_index *first)
{
    mk_index cluster = cluster_pages(object->kernel);
    struct mk_mapping *mapping = mk_object_mapping(object, fault->number);
    mk_index low = fault->index, high = fault->index + 1;
    struct mk_page *page;

    *first = low;
    if (cluster <= 1 || fault->write || mapping == NULL)
        return 1;
    mk_index from = low & ~(cluster - 1), to = from + cluster;
    mk_index end = mapping->first + ((mapping->end - mapping->start) >> MK_PAGE_SHIFT);
    from = from < mapping->first ? mapping->first : from;
    to = to > end ? end : to;
    for (; low > from && (page = absent_page(object, low - 1)) != NULL; low--)
        make_requested(page, fault->access);
    for (; high < to && (page = absent_page(object, high)) != NULL; high++)
        make_requested(page, fault->access);
    *first = low;
    return high - low;
}

static void request(struct mk_object *object, struct mk_page *page, const struct fault *fault)
{
    mk_index first;

    if (!mk_begin(object))
        return;
    make_requested(page, fault->access);
    note_waiter(page, fault);
    size_t count = widen(object, fault, &first);
    pthread_mutex_unlock(&object->lock);
    mk_count(object->kernel, requests, 1);
    kern_return_t error = mk_send_request(object, first, count, fault->access);
    pthread_mutex_lock(&object->lock);
    for (size_t i = 0; error != KERN_SUCCESS && i < count; i++) {
        page = mk_page_find(object, first + i);
        if (page != NULL && page->state == MK_PAGE_REQUESTED && !page->busy)
            mk_page_fail(object, page, error);
    }
    mk_end(object);
}

static void unlock(struct mk_object *object, struct mk_page *page, const struct fault *fault)
{
    if (page->unlocking == 0) {
        page->waiter = MK_NOBODY;
        page->others = page->wants_write = false;
    }
    note_waiter(page, fault);
    if ((page->unlocking & fault->access) == fault->access) {
        mk_count(object->kernel, joined, 1);
        return;
    }
    if (!mk_begin(object))
        return;
    vm_prot_t all = page->unlocking | fault->access;
    page->unlocking = (uint8_t)all;
    pthread_mutex_unlock(&object->lock);
    mk_count(object->kernel, unlocks, 1);
    kern_return_t error = mk_send_unlock(object, fault->index, all);
    pthread_mutex_lock(&object->lock);
    if (error != KERN_SUCCESS && page->state == MK_PAGE_PRESENT && page->unlocking != 0) {
        page->unlocking = 0;
        mk_page_signal(object, page);
    }
    mk_end(object);
}

/* The page is present and allows the access: put it into the page table.  False: it is not in the file. */
static bool resolve(struct mk_object *object, struct mk_page *page, struct fault *fault)
{
    struct mk_kernel *kernel = object->kernel;

    page->used = true;
    if (fault->write)
        page->dirty = true;
    bool protect = !page->dirty || (page->lock & VM_PROT_WRITE);
    fault->resolved = true;
    if (fault->is_protected) {
        mk_count(kernel, write_faults, 1);
        mk_uffd_protect(kernel, fault->address, vm_page_size, false);
        return true;
    }
    mk_count(kernel, minor_faults, 1);
    int error = mk_uffd_continue(kernel, fault->address, protect);
    if (error == EEXIST && fault->write)
        mk_uffd_protect(kernel, fault->address, vm_page_size, false);
    return fault->resolved = error != EFAULT;
}

/* Called, and returns, with the object's lock held; gives it up while sending. */
static void take(struct mk_object *object, struct fault *fault)
{
    struct mk_kernel *kernel = object->kernel;
    struct mk_page *page = mk_page_get(object, fault->index);

    mk_count(kernel, faults, 1);
    if (page == NULL) {                 /* no memory for its record */
        mk_signal_at(object, fault->mapping, fault->index);
        return;
    }
    if (page->busy) {
        page->refault = true;
        mk_count(kernel, deferred, 1);
        return;
    }
    if (page->state == MK_PAGE_PRESENT) {
        if (page->lock & fault->access) {
            unlock(object, page, fault);
            return;
        }
        if (resolve(object, page, fault))
            return;
        /* Somebody punched a hole into our mapping. */
        mk_count(kernel, lost_pages, 1);
        mk_page_drop(object, page);
    }
    if (page->state == MK_PAGE_ABSENT) {
        request(object, page, fault);
    } else {
        note_waiter(page, fault);
        mk_count(kernel, joined, 1);
    }
}

static void take_event(struct mk_kernel *kernel, vm_address_t address, uint64_t flags)
{
    struct fault fault = {
        .address = address & ~(vm_page_size - 1),
        .write = (flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0,
        .is_protected = (flags & UFFD_PAGEFAULT_FLAG_WP) != 0,
    };
    struct mk_object *object = NULL;

    __tsan_acquire(MK_ORDER(fault.address, vm_page_size));
    fault.access = fault.write ? VM_PROT_READ | VM_PROT_WRITE : VM_PROT_READ;
    pthread_rwlock_rdlock(&mk_maps_lock);
    fault.mapping = mk_maps_find(fault.address);
    if (fault.mapping != NULL && fault.mapping->kernel == kernel && fault.mapping->object != NULL) {
        object = fault.mapping->object;
        pthread_mutex_lock(&object->lock);
        fault.number = fault.mapping->number;
        fault.index = fault.mapping->first + ((fault.address - fault.mapping->start) >> MK_PAGE_SHIFT);
    }
    pthread_rwlock_unlock(&mk_maps_lock);
    if (object == NULL)
        return;
    if (object->dead == 0)
        take(object, &fault);
    pthread_mutex_unlock(&object->lock);
    if (fault.resolved)
        mk_uffd_wake(kernel, fault.address, vm_page_size);
}

/* Called by the threads that HostMach has for it. */
void mk_serve_faults(void *argument, unsigned count)
{
    struct mk_kernel *kernel = argument;
    struct uffd_msg events[EVENTS];
    hostmach_task_t previous = hostmach_task_enter(kernel->task);
    ssize_t bytes = read(kernel->uffd, events, (count < EVENTS ? count : EVENTS) * sizeof *events);

    for (ssize_t i = 0; i < bytes / (ssize_t)sizeof *events; i++)
        if (events[i].event == UFFD_EVENT_PAGEFAULT)
            take_event(kernel, events[i].arg.pagefault.address, events[i].arg.pagefault.flags);
    hostmach_task_enter(previous);
}
