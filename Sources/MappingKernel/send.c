/* send.c - messages to the pager, through MIG's stubs.

   The stubs take the names of the current task, so the thread enters the kernel's task for the length of the call, unless it is there
   already (a thread that serves faults, or executes a message).  Nothing is locked meanwhile.  Between mk_begin and mk_end the
   object's names do not change.

   A message that somebody waits for is tried again when memory is short, with growing pauses, for some four seconds in all.  Such
   pauses are in the thread of a pager that sent a lock request, or of a program that unmaps; never in one that serves faults. */

#include <time.h>

#include <mach/mach_port.h>

#include "internal.h"
#include "mk_memory_object_U.h"

#define ATTEMPTS 12u

bool mk_try_again(kern_return_t error, unsigned attempt)
{
    if ((error != MACH_SEND_NO_BUFFER && error != KERN_RESOURCE_SHORTAGE) || attempt >= ATTEMPTS)
        return false;
    nanosleep(&(struct timespec) { .tv_nsec = 1000000L << (attempt < 9 ? attempt : 9) }, NULL);
    return true;
}

struct visit {
    bool entered;
    hostmach_task_t previous;
};

static bool enter(struct mk_kernel *kernel, struct visit *visit)
{
    visit->entered = hostmach_task_current() != kernel->task;
    return !visit->entered || mk_kernel_enter(kernel, &visit->previous);
}

static kern_return_t leave(struct mk_kernel *kernel, struct visit *visit, kern_return_t result)
{
    if (result != KERN_SUCCESS)
        mk_count(kernel, failed_sends, 1);
    if (visit->entered)
        mk_kernel_leave(kernel, visit->previous);
    return result;
}

kern_return_t mk_send_init(struct mk_object *object)
{
    struct visit visit;

    if (!enter(object->kernel, &visit))
        return KERN_TERMINATED;
    return leave(object->kernel, &visit, mk_memory_object_init(object->pager, object->control, object->name, vm_page_size));
}

kern_return_t mk_send_terminate(struct mk_object *object)
{
    struct visit visit;

    if (!enter(object->kernel, &visit))
        return KERN_TERMINATED;
    return leave(object->kernel, &visit, mk_memory_object_terminate(object->pager, object->control, object->name));
}

kern_return_t mk_send_request(struct mk_object *object, mk_index first, size_t count, vm_prot_t access)
{
    struct visit visit;

    if (!enter(object->kernel, &visit))
        return KERN_TERMINATED;
    return leave(object->kernel, &visit,
                 mk_memory_object_data_request(object->pager, object->control, (vm_offset_t)first << MK_PAGE_SHIFT,
                                               (vm_size_t)count << MK_PAGE_SHIFT, access));
}

kern_return_t mk_send_unlock(struct mk_object *object, mk_index index, vm_prot_t access)
{
    struct visit visit;

    if (!enter(object->kernel, &visit))
        return KERN_TERMINATED;
    return leave(object->kernel, &visit,
                 mk_memory_object_data_unlock(object->pager, object->control, (vm_offset_t)index << MK_PAGE_SHIFT, vm_page_size,
                                              access));
}

kern_return_t mk_send_return(struct mk_object *object, mk_index index, vm_address_t data, vm_size_t length, bool dirty,
                             bool kernel_copy)
{
    struct visit visit;

    if (!enter(object->kernel, &visit))
        return KERN_TERMINATED;
    return leave(object->kernel, &visit,
                 mk_memory_object_data_return(object->pager, object->control, (vm_offset_t)index << MK_PAGE_SHIFT, data,
                                              (mach_msg_type_number_t)length, dirty, kernel_copy));
}
