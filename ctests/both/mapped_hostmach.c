/* mapped.h with HostMach's mapping kernels: as many as one likes.  */

#include "mapped.h"

#include <signal.h>
#include <stdio.h>

#include "land.h"

/* The mapping kernel's inside, for what no program may do: to push out one page of its choice, and to see that a fault has been
   told.  */
#include "internal.h"

const int mapped_kernels_max = CLIENTS;

int mapped_start(void)
{
    int error = mk_start();
    if (error != 0)
        fprintf(stderr, "%s\n", mk_explain(error));
    mk_set_error_hold(10000);               /* cases say themselves that they have seen an error */
    return error;
}

void mapped_begin(void) { catch_signals(); }

void mapped_make(struct client *client)
{
    client->mapped = mk_kernel_create("client", 0);
    assert_non_null(client->mapped);
}

void mapped_destroy(struct client *client) { mk_kernel_destroy(client->mapped); }

void mapped_kill(struct client *client) { mk_kernel_kill(client->mapped); }

void mapped_unmap(struct client *client)
{
    unmap(client->memory, client->pages);
    client->memory = NULL;
}

int mapped_map(struct client *client, mach_port_t port)
{
    mk_kernel *before = mk_enter(client->mapped);
    vm_address_t address = 0;
    kern_return_t kr = vm_map(mach_task_self(), &address, client->pages * vm_page_size, 0, TRUE, port, 0, FALSE, RW, VM_PROT_ALL,
                              VM_INHERIT_NONE);
    mk_enter(before);
    client->memory = kr ? NULL : (volatile unsigned char *) address;
    return kr;
}

static memory address_of(struct client *client, size_t page) { return client->memory + page_offset(page); }

static struct mk_page page_of(struct client *client, size_t page)
{
    struct mk_object *object;
    mk_index index;
    struct mk_page copy = { .state = MK_PAGE_ABSENT };
    memory where = client->memory;
    if (where == NULL || client->dead || !mk_maps_lock_object((vm_address_t) (where + page_offset(page)), &object, &index))
        return copy;
    object->uses++;
    struct mk_page *found = mk_page_find(object, index);
    while (object->operations != 0 || (found && found->busy)) {
        mk_object_sleep(object);
        found = mk_page_find(object, index);
    }
    if (found)
        copy = *found;
    object->uses--;
    pthread_mutex_unlock(&object->lock);
    mk_object_check_use(object);
    return copy;
}

struct mapped_page mapped_page(struct client *client, size_t page)
{
    struct mk_page found = page_of(client, page);
    return (struct mapped_page) {
        .state = found.state == MK_PAGE_ABSENT ? SK_PAGE_ABSENT : found.state == MK_PAGE_REQUESTED ? SK_PAGE_REQUESTED : SK_PAGE_PRESENT,
        .lock = found.lock,
        .dirty = found.dirty,
        .precious = found.precious,
        .unlocking = found.unlocking != 0,
        .last_error = found.last_error,
    };
}

static struct mk_statistics figures_of(struct client *client)
{
    struct mk_statistics figures;
    (void) page_of(client, 0);
    mk_get_statistics(client->mapped, &figures);
    return figures;
}

struct mapped_figures mapped_figures(struct client *client)
{
    struct mk_statistics figures = figures_of(client);
    return (struct mapped_figures) {
        .resident = (unsigned) figures.resident_pages,
        .supplied = (unsigned) figures.supplied_pages,
        .refused = (unsigned) figures.refused_pages,
        .locks = (unsigned) figures.lock_requests,
        .returns = (unsigned) figures.returns,
    };
}

void mapped_attributes(struct client *client, boolean_t *may_cache, memory_object_copy_strategy_t *strategy)
{
    assert_int_equal(mk_object_info((const void *) client->memory, may_cache, strategy), KERN_SUCCESS);
}

int mapped_touch(volatile unsigned char *where, enum mapped_touch how, unsigned char *byte)
{
    return how == TOUCH_READ ? touch_read(where, byte) : how == TOUCH_WRITE ? touch_write(where, *byte) : touch_claim(where);
}

int mapped_error(struct client *client, size_t page, int signal_number)
{
    if (signal_number == 0)
        return 0;
    kern_return_t error = page_of(client, page).last_error;
    return signal_number == SIGBUS && error != 0 ? error : -signal_number;
}

void mapped_begin_fault(struct client *client, struct fault *fault)
{
    uint64_t faults = figures_of(client).faults;
    task_begin(&fault->task, mapped_run_fault, fault);
    wait_kernel_faults(client->mapped, faults + 1);
    /* The count rises while the object is locked; when nobody is sending any more, the message has gone.  */
    (void) page_of(client, fault->page);
}

int mapped_evict(struct client *client, size_t page)
{
    /* As cache.c does.  */
    static const struct mk_lock how = {
        .should_return = MEMORY_OBJECT_RETURN_ALL,
        .flush = true,
        .value = VM_PROT_NO_CHANGE,
        .run_max = 1,
    };
    struct mk_object *object;
    mk_index index;
    /* A thread goes on before the kernel has done with the page that it waited for.  */
    (void) page_of(client, page);
    if (client->memory == NULL || !mk_maps_lock_object((vm_address_t) address_of(client, page), &object, &index))
        return EINVAL;
    struct mk_page *found = mk_page_find(object, index);
    int error = found == NULL || found->state == MK_PAGE_ABSENT ? ENOENT
              : found->state != MK_PAGE_PRESENT || found->busy || found->unlocking ? EBUSY
              : !mk_begin(object) ? EINVAL : 0;
    pthread_mutex_unlock(&object->lock);
    if (error)
        return error;
    mk_lock_pages(object, index, index + 1, &how);
    pthread_mutex_lock(&object->lock);
    mk_end(object);
    pthread_mutex_unlock(&object->lock);
    return 0;
}
