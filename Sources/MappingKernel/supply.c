/* supply.c - pages come from the pager.

   A supply fills requested and absent pages in rising order and stops at a present one, which keeps its data.  Pages next to each other that
   go to the same mapping are one UFFDIO_COPY, which also puts them into that mapping's page table and wakes who waits there.  They are
   write-protected, unless a thread waits to write and the lock permits it: then the page is dirty at once, and that thread does
   not fault again.  What is mapped nowhere, or must not be read, is written to the file.

   While its contents are copied a page is busy and the lock free; the object is *pinned*, so that no mapping is changed, and
   no address can come to mean something else, until the copy is made. */

#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

struct run {
    struct mk_page *pages[MK_BATCH_PAGES];
    bool written[MK_BATCH_PAGES];       /* to the file, not copied into TARGET */
    bool failed[MK_BATCH_PAGES];
    unsigned count;
    mk_index first;
    struct mk_mapping *target;          /* NULL: to the file */
    vm_address_t address;
    bool dirty;
};

static const void *zeros(void)
{
    static _Atomic (void *) pages;
    void *mine, *known = atomic_load(&pages);

    if (known != NULL)
        return known;
    mine = mmap(NULL, MK_BATCH_PAGES * vm_page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mine == MAP_FAILED)
        return NULL;
    if (!atomic_compare_exchange_strong(&pages, &known, mine)) {
        munmap(mine, MK_BATCH_PAGES * vm_page_size);
        return known;
    }
    return mine;
}

/* With the lock held: make busy what comes next and goes the same way.  True: the supply ends behind it. */
static bool collect(struct mk_object *object, struct run *run, mk_index first, size_t count, vm_prot_t lock,
                    kern_return_t *why)
{
    run->count = 0;
    run->first = first;
    run->target = NULL;
    run->address = 0;
    run->dirty = false;
    while (run->count < count && run->count < MK_BATCH_PAGES) {
        mk_index index = first + run->count;
        struct mk_page *page = mk_page_get(object, index);
        if (page == NULL || page->busy || page->state == MK_PAGE_PRESENT) {
            *why = page == NULL ? KERN_RESOURCE_SHORTAGE : KERN_MEMORY_PRESENT;
            return true;
        }
        struct mk_mapping *target = lock & VM_PROT_READ ? NULL : mk_page_target(object, page, index);
        bool dirty = page->state == MK_PAGE_REQUESTED && page->wants_write && !(lock & VM_PROT_WRITE);
        if (run->count == 0) {
            run->target = target;
            run->address = mk_mapping_address(target, index);
            run->dirty = dirty;
        } else if (target != run->target || dirty != run->dirty) {
            break;
        }
        page->busy = true;
        run->pages[run->count++] = page;
    }
    return false;
}

/* Without the lock. */
static void copy_pages(struct mk_object *object, struct run *run, vm_address_t data)
{
    unsigned done = 0;

    while (done < run->count) {
        if (run->target != NULL) {
            int error;
            unsigned copied = (unsigned)mk_uffd_copy(object->kernel, run->address + done * vm_page_size,
                                                     data + done * vm_page_size, run->count - done, !run->dirty, &error);
            for (unsigned i = 0; i < copied; i++)
                run->written[done + i] = run->failed[done + i] = false;
            done += copied;
            if (done == run->count)
                break;
        }
        /* No mapping, or one that the program unmapped by itself, or the file has the page (part of a huge one). */
        ssize_t n = pwrite(object->file, (const void *)(data + done * vm_page_size), vm_page_size,
                           (off_t)((run->first + done) << MK_PAGE_SHIFT));
        run->written[done] = true;
        run->failed[done] = n != (ssize_t)vm_page_size;
        done++;
    }
}

/* With the lock held: PAGE has its contents. */
static void fill(struct mk_object *object, struct run *run, unsigned i, vm_prot_t lock, bool precious)
{
    struct mk_page *page = run->pages[i];
    mk_index index = run->first + i;
    bool others = page->others || page->refault, waited = page->waiter != MK_NOBODY;

    page->busy = page->refault = false;
    if (run->failed[i]) {               /* no memory for it */
        if (page->state == MK_PAGE_REQUESTED) {
            page->others = others;
            mk_page_fail(object, page, KERN_RESOURCE_SHORTAGE);
        } else if (others) {
            mk_wake(object, index, 1);
        }
        return;
    }
    if (object->dead != 0) {            /* its mappings are SIGBUS by now, and awake */
        mk_page_drop(object, page);
        return;
    }
    page->state = MK_PAGE_PRESENT;
    page->lock = (uint8_t)lock;
    page->precious = precious;
    page->dirty = run->dirty;
    page->requested = 0;
    page->used = true;
    page->waiter = MK_NOBODY;
    page->others = page->wants_write = false;
    mk_cache_add(object, page);
    if (run->written[i] ? others || waited : others)
        mk_wake(object, index, 1);
}

kern_return_t mk_supply(struct mk_object *object, mk_index first, size_t count, vm_address_t data, vm_prot_t lock,
                        bool precious, mk_index *stopped)
{
    struct mk_kernel *kernel = object->kernel;
    kern_return_t why = KERN_SUCCESS;
    size_t done = 0;
    bool stop = false;

    if (lock == VM_PROT_NO_CHANGE)
        lock = VM_PROT_NONE;
    lock &= VM_PROT_ALL;
    pthread_mutex_lock(&object->lock);
    while (done < count && !stop && object->dead == 0) {
        struct run run;
        while (object->remapping != 0)
            mk_object_sleep(object);
        object->pinned++;
        stop = collect(object, &run, first + done, count - done, lock, &why);
        if (run.count != 0) {
            pthread_mutex_unlock(&object->lock);
            copy_pages(object, &run, data != 0 ? data + done * vm_page_size : (vm_address_t)zeros());
            pthread_mutex_lock(&object->lock);
        }
        if (--object->pinned == 0)
            mk_object_signal(object);
        unsigned copied = 0;
        for (unsigned i = 0; i < run.count; i++) {
            copied += !run.written[i];
            fill(object, &run, i, lock, precious);
        }
        mk_count(kernel, supplied_pages, run.count);
        mk_count(kernel, copied_pages, copied);
        if (run.count != 0)
            mk_object_signal(object);
        done += run.count;
    }
    pthread_mutex_unlock(&object->lock);
    *stopped = first + done;
    return why;
}
