/* lock.c - lock requests, and the ways of a page back to the pager.

   Guarantees for a range, page by page in rising order: restrict, return, flush.  A page that is returned or flushed is busy from the moment
   its state is looked at until its data_return is in the pager's queue and the page is gone or clean: who touches it meanwhile faults
   again afterwards, so a request for a flushed page comes behind its return.  A write cannot be missed: the page is
   write-protected in every mapping before it is read, and clean only after that.  Pages that the pager still owes us are skipped.

   Work is done in batches of pages that lie in one range: one write-protection and one hole for each run of neighbours, one data_return for at
   most 32 neighbours alike in being dirty.  A batch is finished before the thread waits for another thread's busy page, so
   two lock requests cannot wait for each other; whoever has a page busy waits for nothing. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

enum kind { KIND_KEEP, KIND_CLEAN, KIND_DIRTY };        /* not returned; returned as clean (precious), as dirty */

struct batch {
    struct mk_page *pages[MK_BATCH_PAGES];
    mk_index indices[MK_BATCH_PAGES];
    uint8_t kinds[MK_BATCH_PAGES];
    bool kept[MK_BATCH_PAGES];          /* could not be returned: keeps its state */
    unsigned count;
    vm_address_t woken_later;           /* a page whose thread is woken when nothing is locked any more, or 0 */
};

/* With or without the lock. */
static void wake_now(struct mk_object *object, struct batch *batch)
{
    if (batch->woken_later != 0)
        mk_uffd_wake(object->kernel, batch->woken_later, vm_page_size);
    batch->woken_later = 0;
}

/* The length of the run of neighbours that begins at the batch's page FROM. */
static unsigned run_length(const struct batch *batch, unsigned from)
{
    unsigned n = 1;
    while (from + n < batch->count && batch->indices[from + n] == batch->indices[from] + n)
        n++;
    return n;
}

/* With the lock held: what a new lock value takes away is taken out of the page tables. */
static void restrict_pages(struct mk_object *object, mk_index first, size_t count, vm_prot_t value, bool dirty)
{
    if (value & VM_PROT_READ)
        mk_zap(object, first, count);
    else if ((value & VM_PROT_WRITE) && dirty)
        mk_write_protect(object, first, count);
}

/* With the lock held: the page's lock changes, and answers who waits for an unlock. */
static void set_lock(struct mk_object *object, struct batch *batch, struct mk_page *page, mk_index index, vm_prot_t value)
{
    bool waited = page->unlocking != 0;
    bool writes = waited && page->wants_write && !page->others && !(value & (VM_PROT_READ | VM_PROT_WRITE));

    page->lock = (uint8_t)(value & VM_PROT_ALL);
    page->unlocking = 0;
    if (writes) {
        /* The usual end of an unlock: the waiting thread may write when it is woken. */
        vm_address_t address = mk_mapping_address(mk_object_mapping(object, page->waiter), index);
        page->dirty = page->used = true;
        wake_now(object, batch);
        if (address == 0 || mk_uffd_protect(object->kernel, address, vm_page_size, false) != 0)
            mk_wake(object, index, 1);
        else
            batch->woken_later = address;
    } else if (waited) {
        mk_wake(object, index, 1);
    }
    page->waiter = MK_NOBODY;
    page->others = page->wants_write = false;
    mk_object_signal(object);
}

/* Without the lock: send COUNT pages, from the batch's page FROM on. */
static kern_return_t send_pages(struct mk_object *object, struct batch *batch, unsigned from, unsigned count,
                                const struct mk_lock *how)
{
    vm_size_t length = (vm_size_t)count << MK_PAGE_SHIFT;
    off_t offset = (off_t)(batch->indices[from] << MK_PAGE_SHIFT);
    vm_address_t data = 0;

    if (vm_allocate(mach_task_self(), &data, length, TRUE) != KERN_SUCCESS)
        return KERN_RESOURCE_SHORTAGE;
    kern_return_t error = KERN_FAILURE;
    if (pread(object->file, (void *)data, length, offset) == (ssize_t)length)
        error = mk_send_return(object, batch->indices[from], data, length, batch->kinds[from] == KIND_DIRTY, !how->flush);
    if (error != KERN_SUCCESS) {
        vm_deallocate(mach_task_self(), data, length);
        return error;
    }
    mk_count(object->kernel, returns, 1);
    mk_count(object->kernel, returned_pages, count);
    return KERN_SUCCESS;
}

/* Without the lock.  What cannot be sent for want of memory stays, dirty; a pager that is gone takes nothing back. */
static void send_run(struct mk_object *object, struct batch *batch, unsigned from, unsigned count, const struct mk_lock *how)
{
    kern_return_t error = send_pages(object, batch, from, count, how);

    for (unsigned i = 0; error != KERN_SUCCESS && i < count; i++) {
        unsigned attempt = 0;
        error = send_pages(object, batch, from + i, 1, how);
        while (error != KERN_SUCCESS && !how->is_optional && mk_try_again(error, attempt++))
            error = send_pages(object, batch, from + i, 1, how);
        batch->kept[from + i] = error != KERN_SUCCESS && error != MACH_SEND_INVALID_DEST && error != KERN_TERMINATED;
        error = KERN_FAILURE;           /* the run was not sent: on with its next page */
    }
}

/* Without the lock. */
static void return_pages(struct mk_object *object, struct batch *batch, const struct mk_lock *how)
{
    unsigned n;

    for (unsigned i = 0; i < batch->count; i += n) {
        n = 1;
        if (batch->kinds[i] == KIND_KEEP)
            continue;
        unsigned most = run_length(batch, i);
        while (n < most && n < how->run_max && batch->kinds[i + n] == batch->kinds[i])
            n++;
        send_run(object, batch, i, n, how);
    }
}

static void punch_holes(struct mk_object *object, struct batch *batch)
{
    unsigned n;

    for (unsigned i = 0; i < batch->count; i += n) {
        n = 1;
        if (batch->kept[i])
            continue;
        unsigned most = run_length(batch, i);
        while (n < most && !batch->kept[i + n])
            n++;
        fallocate(object->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(batch->indices[i] << MK_PAGE_SHIFT),
                  (off_t)n << MK_PAGE_SHIFT);
    }
}

/* With the lock held: one page of the batch is done.  True: threads have to be woken. */
static bool finish_page(struct mk_object *object, struct batch *batch, unsigned i, const struct mk_lock *how)
{
    struct mk_page *page = batch->pages[i];
    bool wake = page->refault;

    page->busy = page->refault = false;
    if (object->dead != 0 || (how->flush && !batch->kept[i])) {
        wake |= page->unlocking != 0;
        mk_page_drop(object, page);
    } else {
        if (batch->kinds[i] == KIND_DIRTY && !batch->kept[i])
            page->dirty = false;
        if (how->value != VM_PROT_NO_CHANGE)
            set_lock(object, batch, page, batch->indices[i], how->value);
    }
    return wake;
}

/* Called, and returns, with the lock held; gives it up meanwhile. */
static void process(struct mk_object *object, struct batch *batch, const struct mk_lock *how)
{
    unsigned n;

    if (batch->count == 0)
        return;
    for (unsigned i = 0; i < batch->count && !how->is_last; i += n) {
        unsigned most = run_length(batch, i);
        n = 1;
        if (batch->kinds[i] != KIND_DIRTY)
            continue;
        while (n < most && batch->kinds[i + n] == KIND_DIRTY)
            n++;
        mk_write_protect(object, batch->indices[i], n);
    }
    if (how->value != VM_PROT_NO_CHANGE && (how->value & VM_PROT_READ) && !how->flush)
        for (unsigned i = 0; i < batch->count; i++)
            mk_zap(object, batch->indices[i], 1);
    pthread_mutex_unlock(&object->lock);

    wake_now(object, batch);
    return_pages(object, batch, how);
    if (how->flush && !how->is_last)
        punch_holes(object, batch);

    pthread_mutex_lock(&object->lock);
    for (unsigned i = 0; i < batch->count; i += n) {
        unsigned most = run_length(batch, i);
        bool wake = false;
        for (n = 0; n < most; n++)
            wake |= finish_page(object, batch, i + n, how);
        if (wake)
            mk_wake(object, batch->indices[i], n);
    }
    batch->count = 0;
    mk_object_signal(object);
}

static enum kind kind_of(const struct mk_page *page, const struct mk_lock *how)
{
    if (page->dirty && how->should_return != MEMORY_OBJECT_RETURN_NONE)
        return KIND_DIRTY;
    if (page->precious && how->should_return == MEMORY_OBJECT_RETURN_ALL)
        return page->dirty ? KIND_DIRTY : KIND_CLEAN;
    return KIND_KEEP;
}

/* Pages that only get another lock, seen but not yet restricted. */
struct restriction {
    mk_index first;
    size_t count;
};

static void restrict_now(struct mk_object *object, struct restriction *run, const struct mk_lock *how)
{
    if (run->count != 0)
        restrict_pages(object, run->first, run->count, how->value, true);
    run->count = 0;
}

static void lock_only(struct mk_object *object, struct batch *batch, struct mk_page *page, mk_index index,
                      struct restriction *run, const struct mk_lock *how)
{
    if (how->value == VM_PROT_NO_CHANGE)
        return;
    if (how->value & VM_PROT_READ || (how->value & VM_PROT_WRITE && page->dirty)) {
        if (run->count != 0 && run->first + run->count != index)
            restrict_now(object, run, how);
        if (run->count++ == 0)
            run->first = index;
    }
    set_lock(object, batch, page, index, how->value);
}

void mk_lock_pages(struct mk_object *object, mk_index first, mk_index end, const struct mk_lock *how)
{
    struct batch batch;
    struct restriction run = { 0, 0 };
    struct mk_page *page;

    batch.count = 0;
    batch.woken_later = 0;
    pthread_mutex_lock(&object->lock);
    while (object->dead == 0 && (page = mk_page_next(object, first, end)) != NULL) {
        mk_index index = mk_page_index(page);
        if (page->busy) {
            restrict_now(object, &run, how);
            if (batch.count != 0) {
                process(object, &batch, how);
                continue;
            }
            wake_now(object, &batch);
            while (page->busy && object->dead == 0)
                mk_object_sleep(object);
            continue;
        }
        first = index + 1;
        if (page->state != MK_PAGE_PRESENT)
            continue;
        enum kind kind = kind_of(page, how);
        if (kind == KIND_KEEP && !how->flush) {
            lock_only(object, &batch, page, index, &run, how);
            continue;
        }
        page->busy = true;
        batch.pages[batch.count] = page;
        batch.indices[batch.count] = index;
        batch.kept[batch.count] = false;
        batch.kinds[batch.count++] = (uint8_t)kind;
        if (batch.count == MK_BATCH_PAGES) {
            restrict_now(object, &run, how);
            process(object, &batch, how);
        }
    }
    restrict_now(object, &run, how);
    process(object, &batch, how);
    pthread_mutex_unlock(&object->lock);
    wake_now(object, &batch);
}
