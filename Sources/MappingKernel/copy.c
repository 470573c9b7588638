/* copy.c - a private copy of an object's pages (vm_map with copy): made at once, page by page, as the contents are at that time.

   The calling thread waits for pages as a fault would, but here, on the object's condition; so it needs no page table, and works where
   system calls may not fault.  A write of another thread that goes on during the call may be in the copy or not. */

#define _GNU_SOURCE
#include <unistd.h>

#include "internal.h"

/* With the lock held: send what is missing for reading PAGE.  Gives the lock up meanwhile. */
static kern_return_t ask(struct mk_object *object, struct mk_page *page, mk_index index)
{
    kern_return_t error;

    if (!mk_begin(object))
        return KERN_TERMINATED;
    bool request = page->state == MK_PAGE_ABSENT;
    if (request) {
        page->state = MK_PAGE_REQUESTED;
        page->requested = VM_PROT_READ;
        mk_count(object->kernel, requests, 1);
    } else {
        page->unlocking |= VM_PROT_READ;
        mk_count(object->kernel, unlocks, 1);
    }
    pthread_mutex_unlock(&object->lock);
    error = request ? mk_send_request(object, index, 1, VM_PROT_READ) : mk_send_unlock(object, index, VM_PROT_READ);
    pthread_mutex_lock(&object->lock);
    if (error != KERN_SUCCESS && request && page->state == MK_PAGE_REQUESTED && !page->busy)
        mk_page_fail(object, page, error);
    else if (error != KERN_SUCCESS && !request)
        page->unlocking = 0;
    mk_end(object);
    return error;
}

/* With the lock held: returns with it held and the page readable and not busy, or an error. */
static kern_return_t await(struct mk_object *object, struct mk_page *page, mk_index index)
{
    uint16_t errors = page->errors;
    kern_return_t error = KERN_SUCCESS;

    while (error == KERN_SUCCESS) {
        if (object->dead != 0)
            return object->dead == KERN_TERMINATED ? KERN_TERMINATED : KERN_MEMORY_ERROR;
        if (page->errors != errors)
            return KERN_MEMORY_ERROR;
        if (page->busy || page->state == MK_PAGE_REQUESTED) {
            mk_object_sleep(object);
        } else if (page->state == MK_PAGE_ABSENT) {
            error = ask(object, page, index);
        } else if (!(page->lock & VM_PROT_READ)) {
            return KERN_SUCCESS;
        } else if (page->unlocking & VM_PROT_READ) {
            mk_object_sleep(object);
        } else {
            error = ask(object, page, index);
        }
    }
    return KERN_MEMORY_ERROR;
}

kern_return_t mk_snapshot(struct mk_object *object, mk_index first, vm_size_t length, vm_address_t to)
{
    kern_return_t error = KERN_SUCCESS;
    size_t count = length >> MK_PAGE_SHIFT;

    for (size_t i = 0; i < count && error == KERN_SUCCESS; i++) {
        pthread_mutex_lock(&object->lock);
        struct mk_page *page = mk_page_get(object, first + i);
        error = page != NULL ? await(object, page, first + i) : KERN_RESOURCE_SHORTAGE;
        if (error == KERN_SUCCESS) {
            page->busy = true;
            pthread_mutex_unlock(&object->lock);
            ssize_t n = pread(object->file, (void *)(to + (i << MK_PAGE_SHIFT)), vm_page_size,
                              (off_t)((first + i) << MK_PAGE_SHIFT));
            pthread_mutex_lock(&object->lock);
            page->busy = false;
            page->used = true;
            if (page->refault)
                mk_wake(object, first + i, 1);
            page->refault = false;
            mk_object_signal(object);
            if (n != (ssize_t)vm_page_size)
                error = KERN_MEMORY_ERROR;
        }
        pthread_mutex_unlock(&object->lock);
    }
    return error;
}
