/* Kernels that do as little as a kernel can, so that the pager's share of the work is large. (The scripted kernels log each message, wake
   whoever waits for anything, and keep pages in a sorted table; that costs more than many a message.)

   A kernel is a HostMach task; of each page it keeps the stamp, not the bytes. What it does is what GNU Mach does:

     - one request for each absent page, and a thread that waits for it. When the page is there the thread's access is made at once, by
       whoever brings it: so each fault ends with one access, also where the page is asked back immediately.
     - lock_request: restrict, return what is changed, flush; lock_completed behind the returns.

   A kernel's lock is held while it sends (what it sends ignores queue limits, so that never blocks): so a page's return is in the pager's
   queue before the next request for it.  */

#include <stdlib.h>
#include <string.h>

#include <mach/memory_object_user.h>

#include "service_benchmark.h"

enum page_state { ABSENT, REQUESTED, PRESENT };

struct page {
    uint64_t stamp;
    uint8_t state;
    bool writable, dirty;
    struct faulter *waiter;
};

struct kernel {
    hostmach_task_t task;
    mach_port_t control, name, pager;   /* in its task */
    sem_t ready;
    pthread_mutex_t lock;               /* for what follows */
    size_t page_count;
    struct page *pages;
    void *buffer;                       /* a page that is sent; zero but for the stamp */
};

struct kernel *kernel_open(const char *name, const struct service *service, size_t pages)
{
    struct kernel *kernel = make(1, sizeof *kernel);

    kernel->task = hostmach_task_create(name);
    kernel->pages = make(pages, sizeof *kernel->pages);
    kernel->page_count = pages;
    pthread_mutex_init(&kernel->lock, NULL);
    sem_init(&kernel->ready, 0, 0);
    expect("posix_memalign", posix_memalign(&kernel->buffer, vm_page_size, vm_page_size), 0);
    memset(kernel->buffer, 0, vm_page_size);

    hostmach_task_set_kernel(kernel->task, TRUE);
    expect("hostmach_copy_send", hostmach_copy_send(hostmach_task_current(), service->port, kernel->task, &kernel->pager), 0);
    hostmach_task_t previous = hostmach_task_enter(kernel->task);
    expect("control port", mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &kernel->control), 0);
    expect("name port", mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &kernel->name), 0);
    expect("handler", hostmach_port_set_handler(kernel->control, kernel_receive, kernel), 0);
    expect("init", memory_object_init(kernel->pager, kernel->control, kernel->name, vm_page_size), 0);
    await(&kernel->ready, "the pager does not get ready");
    hostmach_task_enter(previous);
    return kernel;
}

void kernel_close(struct kernel *kernel)
{
    hostmach_task_t previous = hostmach_task_enter(kernel->task);
    for (size_t page = 0; page < kernel->page_count; page++)
        kernel_evict(kernel, page);
    expect("terminate", memory_object_terminate(kernel->pager, kernel->control, kernel->name), 0);
    hostmach_task_enter(previous);
    hostmach_task_drain(kernel->task);
    hostmach_task_destroy(kernel->task);
    sem_destroy(&kernel->ready);
    pthread_mutex_destroy(&kernel->lock);
    free(kernel->pages);
    free(kernel->buffer);
    free(kernel);
}

/* ---- Touching memory ---- */

void faulter_enter(struct faulter *faulter, struct kernel *kernel)
{
    faulter->kernel = kernel;
    sem_init(&faulter->arrived, 0, 0);
    hostmach_task_enter(kernel->task);
}

void faulter_leave(struct faulter *faulter)
{
    sem_destroy(&faulter->arrived);
    hostmach_task_enter(NULL);
}

/* Locked.  */
static void access_page(struct page *page, bool write)
{
    if (!write)
        return;
    page->stamp++;
    page->dirty = true;
}

bool faulter_touch(struct faulter *faulter, size_t number, bool write)
{
    struct kernel *kernel = faulter->kernel;
    struct page *page = &kernel->pages[number];

    pthread_mutex_lock(&kernel->lock);
    bool here = page->state == PRESENT;
    if (here) {
        /* Nobody reads here before he writes.  */
        expect("a page to be written is locked", write && !page->writable, 0);
        access_page(page, write);
    } else {
        expect("state of a page that nobody waits for", page->state, ABSENT);
        page->state = REQUESTED;
        page->waiter = faulter;
        faulter->writes = write;
    }
    pthread_mutex_unlock(&kernel->lock);
    if (here)
        return false;
    expect("data_request", memory_object_data_request(kernel->pager, kernel->control, number * vm_page_size, vm_page_size,
                                                      write ? VM_PROT_READ | VM_PROT_WRITE : VM_PROT_READ), 0);
    await(&faulter->arrived, "a page does not come");
    return true;
}

/* Locked.  */
static void send_back(struct kernel *kernel, struct page *page, bool keeps_copy)
{
    vm_offset_t offset = (vm_offset_t)(page - kernel->pages) * vm_page_size;

    stamp_put(kernel->buffer, page->stamp);
    expect("data_return", memory_object_data_return(kernel->pager, kernel->control, offset, (vm_offset_t)kernel->buffer,
                                                    (mach_msg_type_number_t)vm_page_size, TRUE, keeps_copy), 0);
    page->dirty = false;
}

void kernel_evict(struct kernel *kernel, size_t number)
{
    struct page *page = &kernel->pages[number];

    pthread_mutex_lock(&kernel->lock);
    if (page->state == PRESENT) {
        if (page->dirty)
            send_back(kernel, page, false);
        page->state = ABSENT;
    }
    pthread_mutex_unlock(&kernel->lock);
}

/* ---- What the pager sends ---- */

void kernel_is_ready(struct kernel *kernel)
{
    sem_post(&kernel->ready);
}

void kernel_is_supplied(struct kernel *kernel, vm_offset_t offset, vm_address_t data, vm_size_t length, vm_prot_t lock)
{
    size_t number = offset / vm_page_size;
    struct page *page = &kernel->pages[number];

    expect("length of a supply", (long)length, (long)vm_page_size);
    expect("page beyond the end", number >= kernel->page_count, 0);
    pthread_mutex_lock(&kernel->lock);
    expect("state of a page that is supplied", page->state, REQUESTED);
    page->stamp = stamp_get((const void *)data, number);
    page->state = PRESENT;
    page->writable = !(lock & VM_PROT_WRITE);
    page->dirty = false;
    struct faulter *waiter = page->waiter;
    page->waiter = NULL;
    expect("a page to be written comes locked", waiter->writes && !page->writable, 0);
    access_page(page, waiter->writes);
    pthread_mutex_unlock(&kernel->lock);
    sem_post(&waiter->arrived);
}

void kernel_is_refused(struct kernel *kernel, vm_offset_t offset, kern_return_t error)
{
    (void)kernel;
    (void)offset;
    fail("data_error", error);
}

void kernel_is_asked(struct kernel *kernel, vm_offset_t offset, vm_size_t length, memory_object_return_t should_return, boolean_t flush,
                     vm_prot_t lock, mach_port_t reply, mach_msg_type_name_t reply_type)
{
    size_t first = offset / vm_page_size, count = length / vm_page_size;

    expect("should_return of RETURN_ALL without precious pages", should_return == MEMORY_OBJECT_RETURN_ALL && !flush, 0);
    pthread_mutex_lock(&kernel->lock);
    for (size_t number = first; number < kernel->page_count && number - first < count; number++) {
        struct page *page = &kernel->pages[number];
        if (page->state != PRESENT)
            continue;
        if (lock != VM_PROT_NO_CHANGE)
            page->writable = !(lock & VM_PROT_WRITE);
        if (page->dirty && should_return != MEMORY_OBJECT_RETURN_NONE)
            send_back(kernel, page, !flush);
        if (flush)
            page->state = ABSENT;
    }
    pthread_mutex_unlock(&kernel->lock);
    if (reply != MACH_PORT_NULL)
        expect("lock_completed", memory_object_lock_completed(reply, reply_type, kernel->control, offset, length), 0);
}
