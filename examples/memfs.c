/* memfs.c - anonymous memory with a quota, as a memory object: the pager of a tmpfs.

   What is worth seeing here is how a translator decides when memory is *used*, not just touched:

     - pager_read_page gives out a page that nobody has written as zeroes, with *WRITE_LOCK: readers are served, at no
       cost, but a write must ask first;
     - pager_unlock_page is that question.  A page is taken from the quota, or the answer is ENOSPC: the writer gets a memory
       error at the exact address, everybody else goes on;
     - pager_write_page keeps the data, when a kernel is short of memory, or at a sync;
     - pager_notify_evict says that no kernel has the page any more.  If it was unlocked, but nothing was ever
       written, it goes back to the quota.  */

#include "memfs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <mach.h>

/* A page without memory of its own is zero.  */
struct page {
    int reserved;                   /* it is counted: may be written */
    char *data;                     /* what came back from a kernel last, or NULL */
};

struct user_pager_info {
    struct memfs *memfs;
    pthread_mutex_t lock;           /* pages; memfs_free comes from other threads than the callbacks */
    size_t count;
    struct page *pages;
};


/* ---- The quota ---- */

static error_t take_page(struct memfs *memfs)
{
    long available = atomic_load(&memfs->free_pages);
    do
        if (available <= 0)
            return ENOSPC;
    while (!atomic_compare_exchange_weak(&memfs->free_pages, &available, available - 1));
    return 0;
}

/* The page is a hole again.  With the lock held.  */
static void make_hole(struct user_pager_info *object, struct page *page)
{
    free(page->data);
    page->data = NULL;
    if (page->reserved)
        atomic_fetch_add(&object->memfs->free_pages, 1);
    page->reserved = 0;
}


/* ---- What the library asks of us ---- */

/* Kernels map whole numbers of pages, but may ask for one behind the end.  */
static struct page *page_at(struct user_pager_info *object, vm_offset_t offset)
{
    return offset / vm_page_size < object->count ? &object->pages[offset / vm_page_size] : NULL;
}

/* Fresh memory from vm_allocate is zero.  */
error_t pager_read_page(struct user_pager_info *object, vm_offset_t offset, vm_address_t *buf, int *write_lock)
{
    struct page *page = page_at(object, offset);
    if (page == NULL)
        return EIO;
    if (vm_allocate(mach_task_self(), buf, vm_page_size, TRUE) != KERN_SUCCESS)
        return ENOMEM;
    pthread_mutex_lock(&object->lock);
    if (page->data != NULL)
        memcpy((void *) *buf, page->data, vm_page_size);
    *write_lock = !page->reserved;
    pthread_mutex_unlock(&object->lock);
    return 0;
}

error_t pager_unlock_page(struct user_pager_info *object, vm_offset_t offset)
{
    error_t error = 0;
    struct page *page = page_at(object, offset);
    if (page == NULL)
        return EIO;
    pthread_mutex_lock(&object->lock);
    if (!page->reserved && (error = take_page(object->memfs)) == 0)
        page->reserved = 1;
    pthread_mutex_unlock(&object->lock);
    return error;
}

/* BUF stays the library's, so the data are copied.  A page that is not counted was freed while it was on its way.  */
error_t pager_write_page(struct user_pager_info *object, vm_offset_t offset, vm_address_t buf)
{
    error_t error = 0;
    struct page *page = page_at(object, offset);
    if (page == NULL)
        return EIO;
    pthread_mutex_lock(&object->lock);
    if (page->reserved && page->data == NULL && (page->data = malloc(vm_page_size)) == NULL)
        error = ENOMEM;
    if (page->data != NULL)
        memcpy(page->data, (void *) buf, vm_page_size);
    pthread_mutex_unlock(&object->lock);
    return error;
}

/* Who unlocks a page and then dies, or is flushed, never writes it.  */
void pager_notify_evict(struct user_pager_info *object, vm_offset_t offset)
{
    struct page *page = page_at(object, offset);
    if (page == NULL)
        return;
    pthread_mutex_lock(&object->lock);
    if (page->data == NULL)
        make_hole(object, page);
    pthread_mutex_unlock(&object->lock);
}

error_t pager_report_extent(struct user_pager_info *object, vm_address_t *offset, vm_size_t *size)
{
    *offset = 0;
    *size = object->count * vm_page_size;
    return 0;
}

/* The structure itself goes with the pager (pager_create_alloc).  */
void pager_clear_user_data(struct user_pager_info *object)
{
    for (size_t i = 0; i < object->count; i++)
        make_hole(object, &object->pages[i]);
    free(object->pages);
    pthread_mutex_destroy(&object->lock);
}

/* We keep no weak references.  */
void pager_dropweak(struct user_pager_info *object)
{
    (void) object;
}


/* ---- For the rest of the translator ---- */

/* Kernels may keep pages after the last unmap, so that nothing is copied to us only because nobody maps it now.
   They are to tell when they drop one (the last argument), for pager_notify_evict.  */
error_t memfs_create(struct memfs *memfs, vm_size_t size, struct pager **result)
{
    size_t count = (size + vm_page_size - 1) / vm_page_size;
    if (count == 0)
        return EINVAL;
    struct page *pages = calloc(count, sizeof *pages);
    if (pages == NULL)
        return ENOMEM;
    struct pager *pager = pager_create_alloc(sizeof(struct user_pager_info), memfs->bucket, TRUE, MEMORY_OBJECT_COPY_DELAY,
                                             TRUE);
    if (pager == NULL) {
        free(pages);
        return ENOMEM;
    }
    struct user_pager_info *object = pager_get_upi(pager);
    object->memfs = memfs;
    pthread_mutex_init(&object->lock, NULL);
    object->count = count;
    object->pages = pages;
    *result = pager;
    return 0;
}

/* First here, then in the kernels: what they send back in between is dropped (pager_write_page), and what they ask for
   afterwards is zero and locked again.  */
void memfs_free(struct pager *pager, vm_offset_t offset, vm_size_t length)
{
    struct user_pager_info *object = pager_get_upi(pager);
    size_t first = (offset + vm_page_size - 1) / vm_page_size, end = (offset + length) / vm_page_size;
    if (end > object->count)
        end = object->count;
    if (first >= end)
        return;
    pthread_mutex_lock(&object->lock);
    for (size_t i = first; i < end; i++)
        make_hole(object, &object->pages[i]);
    pthread_mutex_unlock(&object->lock);
    pager_flush_some(pager, first * vm_page_size, (end - first) * vm_page_size, 1);
}
