/* The translator. Of each page it keeps the stamp of the version that was written last; the rest of a page is zero.

   A version must be newer than the one before it, for each page: writes in the wrong order end the program.  */

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "service_benchmark.h"

static void take_time(unsigned microseconds)
{
    struct timespec left = { .tv_sec = microseconds / 1000000, .tv_nsec = (long)(microseconds % 1000000) * 1000 };
    while (nanosleep(&left, &left) != 0)
        ;
}

error_t pager_read_page(struct user_pager_info *store, vm_offset_t page, vm_address_t *buffer, int *write_lock)
{
    unsigned running = __atomic_add_fetch(&store->running, 1, __ATOMIC_RELAXED);
    unsigned most = __atomic_load_n(&store->most_running, __ATOMIC_RELAXED);
    while (running > most
           && !__atomic_compare_exchange_n(&store->most_running, &most, running, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    if (store->delay_us != 0)
        take_time(store->delay_us);
    *write_lock = 0;
    kern_return_t error = vm_allocate(mach_task_self(), buffer, vm_page_size, TRUE);
    expect("vm_allocate", error, 0);
    stamp_put((void *)*buffer, store->stamps[page / vm_page_size]);
    __atomic_sub_fetch(&store->running, 1, __ATOMIC_RELAXED);
    return 0;
}

error_t pager_write_page(struct user_pager_info *store, vm_offset_t page, vm_address_t data)
{
    size_t number = page / vm_page_size;
    uint64_t stamp = stamp_get((const void *)data, number);
    if (stamp <= store->stamps[number])
        fail("an old version was written, of page", (long)number);
    store->stamps[number] = stamp;
    return 0;
}

error_t pager_write_pages(struct user_pager_info *store, vm_offset_t offset, vm_address_t data, vm_size_t length, vm_size_t *written)
{
    for (*written = 0; *written < length; *written += vm_page_size)
        pager_write_page(store, offset + *written, data + *written);
    return 0;
}

error_t pager_unlock_page(struct user_pager_info *store, vm_offset_t page)
{
    (void)store;
    (void)page;
    return 0;
}

error_t pager_report_extent(struct user_pager_info *store, vm_address_t *offset, vm_size_t *size)
{
    *offset = 0;
    *size = store->pages * vm_page_size;
    return 0;
}

void pager_notify_evict(struct user_pager_info *store, vm_offset_t page)
{
    (void)store;
    (void)page;
}

void pager_clear_user_data(struct user_pager_info *store)
{
    free(store->stamps);
    free(store);
}

void pager_dropweak(struct user_pager_info *store)
{
    (void)store;
}

void service_open(struct service *service, size_t pages, unsigned reads, unsigned delay_us)
{
    *service = (struct service){ .bucket = ports_create_bucket(), .store = make(1, sizeof *service->store) };
    service->store->pages = pages;
    service->store->delay_us = delay_us;
    service->store->stamps = make(pages, sizeof *service->store->stamps);
    for (size_t page = 0; page < pages; page++)
        service->store->stamps[page] = stamp_of(page, 0);
    expect("pager_start_workers", pager_start_workers(service->bucket, &service->requests), 0);
    service->pager = pager_create(service->store, service->bucket, FALSE, MEMORY_OBJECT_COPY_DELAY, FALSE);
    expect("pager_create failed", service->pager == NULL, 0);
    if (reads != 0)
        expect("pager_set_concurrent_reads", pager_set_concurrent_reads(service->pager, reads), 0);
    service->port = ports_get_send_right(service->pager);
}

void service_stop(struct service *service)
{
    struct pager_statistics statistics;
    for (double begin = elapsed_seconds();; usleep(1000)) {
        pager_get_statistics(service->pager, &statistics);
        if (statistics.clients == 0)
            break;
        expect("clients that have terminated are there still", elapsed_seconds() - begin > 60, 0);
    }
    expect("refused messages", (long)statistics.refused, 0);
    expect("errors", (long)statistics.errors, 0);
    pager_shutdown(service->pager);
}

void service_close(struct service *service)
{
    mach_port_deallocate(mach_task_self(), service->port);
    ports_port_deref(service->pager);
    pager_stop_workers(service->requests);
    ports_destroy_bucket(service->bucket);
}
