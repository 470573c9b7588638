/* The way through the stack: a translator whose callbacks do nothing but what they must, a pager with workers, a kernel that maps it.  */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hurd/pager.h>
#include <hurd/ports.h>
#include <mapping/mapping_kernel.h>
#include <pager/extensions.h>

#include "bench.h"

struct user_pager_info {
    size_t pages;
    int write_lock;
    uint64_t reads, writes, unlocks;    /* one callback at a time */
};

struct stack {
    struct user_pager_info *store;
    struct port_bucket *bucket;
    struct pager_requests *requests;
    struct pager *pager;
    mach_port_t port;
    mk_kernel *kernel;
    char *memory;
};

/* ---- The translator ---- */

error_t pager_read_page(struct user_pager_info *store, vm_offset_t page, vm_address_t *buffer, int *write_lock)
{
    (void)page;
    store->reads++;
    *write_lock = store->write_lock;
    return vm_allocate(mach_task_self(), buffer, vm_page_size, TRUE) == KERN_SUCCESS ? 0 : ENOMEM;
}

error_t pager_read_pages(struct user_pager_info *store, vm_offset_t offset, vm_size_t length, vm_address_t *buffer, vm_size_t *read,
                         int *write_lock)
{
    (void)offset;
    store->reads += length / vm_page_size;
    *write_lock = store->write_lock;
    if (vm_allocate(mach_task_self(), buffer, length, TRUE) != KERN_SUCCESS)
        return ENOMEM;
    *read = length;
    return 0;
}

error_t pager_write_page(struct user_pager_info *store, vm_offset_t page, vm_address_t data)
{
    (void)page;
    (void)data;
    store->writes++;
    return 0;
}

error_t pager_write_pages(struct user_pager_info *store, vm_offset_t offset, vm_address_t data, vm_size_t length, vm_size_t *written)
{
    (void)offset;
    (void)data;
    store->writes += length / vm_page_size;
    *written = length;
    return 0;
}

error_t pager_unlock_page(struct user_pager_info *store, vm_offset_t page)
{
    (void)page;
    store->unlocks++;
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
    free(store);
}

void pager_dropweak(struct user_pager_info *store)
{
    (void)store;
}

/* ---- One object, mapped ---- */

struct stack *stack_open(size_t pages, size_t cluster_pages, bool write_lock)
{
    struct stack *stack = calloc(1, sizeof *stack);
    vm_address_t address = 0;

    stack->store = calloc(1, sizeof *stack->store);
    stack->store->pages = pages;
    stack->store->write_lock = write_lock;
    stack->bucket = ports_create_bucket();
    errno = pager_start_workers(stack->bucket, &stack->requests);
    if (errno != 0)
        fail("pager_start_workers");
    stack->pager = pager_create(stack->store, stack->bucket, FALSE, MEMORY_OBJECT_COPY_DELAY, FALSE);
    if (stack->pager == NULL)
        fail("pager_create");
    stack->port = pager_get_port(stack->pager);
    mach_port_insert_right(mach_task_self(), stack->port, stack->port, MACH_MSG_TYPE_MAKE_SEND);
    stack->kernel = mk_kernel_create("bench", 0);
    if (stack->kernel == NULL) {
        fprintf(stderr, "%s\n", mk_explain(errno));
        fail("mk_kernel_create");
    }
    mk_kernel_set_cluster(stack->kernel, (unsigned)cluster_pages);
    mk_enter(stack->kernel);
    if (vm_map(mach_task_self(), &address, pages * vm_page_size, 0, TRUE, stack->port, 0, FALSE, VM_PROT_READ | VM_PROT_WRITE,
               VM_PROT_ALL, VM_INHERIT_NONE) != KERN_SUCCESS)
        fail("vm_map");
    stack->memory = (char *)address;
    return stack;
}

void stack_close(struct stack *stack)
{
    vm_deallocate(mach_task_self(), (vm_address_t)stack->memory, stack->store->pages * vm_page_size);
    mk_enter(NULL);
    mk_kernel_destroy(stack->kernel);
    pager_shutdown(stack->pager);
    mach_port_deallocate(mach_task_self(), stack->port);
    ports_port_deref(stack->pager);
    pager_stop_workers(stack->requests);
    ports_destroy_bucket(stack->bucket);
    free(stack);
}

void stack_drop(void *argument)
{
    struct stack *stack = argument;
    pager_flush(stack->pager, 1);
}

void stack_read(void *argument)
{
    struct stack *stack = argument;
    for (size_t i = 0; i < stack->store->pages; i++)
        (void)*(volatile char *)(stack->memory + i * page_bytes);
}

void stack_lock(void *argument)
{
    stack_drop(argument);
    stack_read(argument);
}

void stack_write(void *argument)
{
    struct stack *stack = argument;
    for (size_t i = 0; i < stack->store->pages; i++)
        *(volatile char *)(stack->memory + i * page_bytes) = 1;
}

void stack_dirty(void *argument)
{
    stack_write(argument);
}

void stack_flush(void *argument)
{
    struct stack *stack = argument;
    pager_return(stack->pager, 1);
}

void *stack_memory(struct stack *stack)
{
    stack_read(stack);
    return stack->memory;
}

void stack_explain(struct stack *stack)
{
    struct mk_statistics kernel;
    struct pager_statistics pager;

    mk_get_statistics(stack->kernel, &kernel);
    pager_get_statistics(stack->pager, &pager);
    fprintf(stderr, "  faults %llu requests %llu deferred %llu joined %llu supplied %llu returns %llu returned %llu | messages %llu reads %llu "
            "supplies %llu writes %llu unlocks %llu\n", (unsigned long long)kernel.faults, (unsigned long long)kernel.requests,
            (unsigned long long)kernel.deferred, (unsigned long long)kernel.joined, (unsigned long long)kernel.supplied_pages,
            (unsigned long long)kernel.returns, (unsigned long long)kernel.returned_pages, (unsigned long long)pager.messages,
            (unsigned long long)stack->store->reads, (unsigned long long)pager.supplies, (unsigned long long)stack->store->writes,
            (unsigned long long)stack->store->unlocks);
}
