/* error.c - errors: SIGBUS for who waits, and another chance for who tries again.

   An error is a mark in the page table (UFFDIO_POISON; without it, a page of an empty file mapped over the address): every touch
   of the page is SIGBUS, without an event for us.  A thread that waited must see it once, and a later touch must ask the pager again.  The
   system does not tell when a thread has taken its signal, so the mark is held for a while (mk_set_error_hold) and then
   dropped, by a thread that sleeps meanwhile and exists only once there was an error; or at once, if the program
   says that it has seen the error (mk_error_taken).  If a thread is so slow that the mark is dropped before it comes back, it asks
   again, and nothing is wrong. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "internal.h"

struct mk_error {
    struct mk_error *next;
    struct mk_object *object;
    mk_index index;
    struct timespec due;
};

static _Atomic unsigned hold_ms = 10;

void mk_set_error_hold(unsigned milliseconds)
{
    atomic_store(&hold_ms, milliseconds);
}

/* With the object's lock held: put or drop the mark at one address. */

static void mark(struct mk_object *object, struct mk_mapping *mapping, vm_address_t address)
{
    struct mk_kernel *kernel = object->kernel;

    mk_count(kernel, errors, 1);
    if (kernel->has_poison) {
        mk_uffd_poison(kernel, address);
    } else {
        mk_map_bus(mapping, address, vm_page_size);
    }
    mk_uffd_wake(kernel, address, vm_page_size);
}

static void unmark(struct mk_object *object, struct mk_mapping *mapping, vm_address_t address)
{
    if (object->kernel->has_poison) {
        madvise((void *)address, vm_page_size, MADV_DONTNEED);
    } else {
        vm_address_t mapped;
        mk_map_file(mapping, address, vm_page_size, MAP_FIXED, &mapped);
    }
}

/* PAGE may be NULL: there was no memory for its record. */
static void drop_marks(struct mk_object *object, struct mk_page *page, mk_index index)
{
    if ((page != NULL && !page->in_error) || object->dead != 0)
        return;
    if (page != NULL)
        page->in_error = false;
    for (uint32_t i = 0; i < object->mapping_end; i++) {
        vm_address_t address = mk_mapping_address(object->mappings[i], index);
        if (address != 0)
            unmark(object, object->mappings[i], address);
    }
}

/* ---- The thread that drops marks ---- */

static void *error_thread(void *argument)
{
    struct mk_kernel *kernel = argument;

    pthread_mutex_lock(&kernel->error_lock);
    while (!kernel->error_stop) {
        struct mk_error *error = kernel->errors;
        if (error == NULL) {
            pthread_cond_wait(&kernel->error_changed, &kernel->error_lock);
            continue;
        }
        if (pthread_cond_timedwait(&kernel->error_changed, &kernel->error_lock, &error->due) != ETIMEDOUT)
            continue;
        kernel->errors = error->next;
        if (kernel->errors == NULL)
            kernel->errors_end = &kernel->errors;
        pthread_mutex_unlock(&kernel->error_lock);

        pthread_mutex_lock(&error->object->lock);
        drop_marks(error->object, mk_page_find(error->object, error->index), error->index);
        pthread_mutex_unlock(&error->object->lock);
        free(error);

        pthread_mutex_lock(&kernel->error_lock);
    }
    pthread_mutex_unlock(&kernel->error_lock);
    return NULL;
}

/* False: there is no memory, or no thread. */
static bool drop_later(struct mk_object *object, mk_index index)
{
    struct mk_kernel *kernel = object->kernel;
    struct mk_error *error = malloc(sizeof *error);
    unsigned ms = atomic_load(&hold_ms);

    if (error == NULL)
        return false;
    *error = (struct mk_error) { .object = object, .index = index };
    clock_gettime(CLOCK_MONOTONIC, &error->due);
    error->due.tv_sec += ms / 1000;
    error->due.tv_nsec += (long)(ms % 1000) * 1000000;
    if (error->due.tv_nsec >= 1000000000) {
        error->due.tv_nsec -= 1000000000;
        error->due.tv_sec++;
    }
    pthread_mutex_lock(&kernel->error_lock);
    if (!kernel->error_thread_runs && !kernel->error_stop)
        kernel->error_thread_runs = pthread_create(&kernel->error_thread, NULL, error_thread, kernel) == 0;
    bool taken = kernel->error_thread_runs;
    if (taken) {
        *kernel->errors_end = error;
        kernel->errors_end = &error->next;
        pthread_cond_signal(&kernel->error_changed);
    }
    pthread_mutex_unlock(&kernel->error_lock);
    if (!taken)
        free(error);
    return taken;
}

void mk_errors_stop(struct mk_kernel *kernel)
{
    pthread_mutex_lock(&kernel->error_lock);
    bool join = kernel->error_thread_runs && !kernel->error_stop;
    kernel->error_stop = true;
    pthread_cond_signal(&kernel->error_changed);
    pthread_mutex_unlock(&kernel->error_lock);
    if (join)
        pthread_join(kernel->error_thread, NULL);
    while (kernel->errors != NULL) {
        struct mk_error *error = kernel->errors;
        kernel->errors = error->next;
        free(error);
    }
    kernel->errors_end = &kernel->errors;
}

/* ---- Pages ---- */

void mk_page_signal(struct mk_object *object, struct mk_page *page)
{
    mk_index index = mk_page_index(page);
    struct mk_mapping *waiter = mk_object_mapping(object, page->waiter);
    vm_address_t address = mk_mapping_address(waiter, index);
    bool all = page->others || (address == 0 && page->waiter != MK_NOBODY);

    if (address == 0 && !all)
        return;                         /* only a copy was waiting */
    if (address != 0 && !all)
        mark(object, waiter, address);
    for (uint32_t i = 0; all && i < object->mapping_end; i++) {
        address = mk_mapping_address(object->mappings[i], index);
        if (address != 0)
            mark(object, object->mappings[i], address);
    }
    page->waiter = MK_NOBODY;
    page->others = page->wants_write = false;
    page->in_error = true;
    if (!drop_later(object, index))
        drop_marks(object, page, index);
}

void mk_signal_at(struct mk_object *object, struct mk_mapping *mapping, mk_index index)
{
    mark(object, mapping, mk_mapping_address(mapping, index));
    if (!drop_later(object, index))
        drop_marks(object, NULL, index);
}

void mk_page_fail(struct mk_object *object, struct mk_page *page, kern_return_t error)
{
    page->errors++;
    page->last_error = error;
    page->state = MK_PAGE_ABSENT;
    page->requested = 0;
    mk_page_signal(object, page);
    mk_object_signal(object);
}

void mk_error_taken(const void *address)
{
    struct mk_object *object;
    mk_index index;

    if (!mk_maps_lock_object((vm_address_t)address, &object, &index))
        return;
    drop_marks(object, mk_page_find(object, index), index);
    pthread_mutex_unlock(&object->lock);
}
