/* receive.c - messages from the pager, executed in the sender's thread.

   MIG's stub for mach.defs takes them apart and calls the routines below, which get only the port's name; so the object
   travels beside them in a thread-local variable (messages may nest).  An object that is ending takes no message: what the message
   carries is destroyed. */

#include <string.h>

#include <mach/mach_port.h>
#include <mach/notify.h>

#include "internal.h"
#include "mk_mach_S.h"
#include "mk_memory_object_U.h"

#define REPLY_BYTES 512u

extern boolean_t mk_mach_server(mach_msg_header_t *in, mach_msg_header_t *out);

static _Thread_local struct mk_object *receiving;

static mk_index page_below(vm_offset_t offset)
{
    return offset >> MK_PAGE_SHIFT;
}

/* The page behind the last one of the range. */
static mk_index range_end(vm_offset_t offset, vm_size_t size)
{
    vm_offset_t end;
    if (__builtin_add_overflow(offset, size, &end))
        end = UINT64_MAX;
    return (end >> MK_PAGE_SHIFT) + ((end & (vm_page_size - 1)) != 0);
}

static void set_attributes(struct mk_object *object, bool ready, boolean_t may_cache, memory_object_copy_strategy_t copy_strategy)
{
    pthread_mutex_lock(&object->lock);
    object->ready |= ready;
    object->may_cache = may_cache != 0;
    object->copy_strategy = copy_strategy;
    mk_object_signal(object);
    pthread_mutex_unlock(&object->lock);
}

kern_return_t mk_memory_object_ready(mach_port_t control, boolean_t may_cache, memory_object_copy_strategy_t copy_strategy)
{
    (void)control;
    set_attributes(receiving, true, may_cache, copy_strategy);
    return KERN_SUCCESS;
}

kern_return_t mk_memory_object_data_supply(mach_port_t control, vm_offset_t offset, vm_offset_t data,
                                           mach_msg_type_number_t length, vm_prot_t lock_value, boolean_t precious,
                                           mach_port_t reply_to, mach_msg_type_name_t reply_type)
{
    struct mk_object *object = receiving;
    kern_return_t result = KERN_INVALID_ARGUMENT;
    mk_index stopped = page_below(offset);

    if (((offset | length | data) & (vm_page_size - 1)) == 0 && offset + length > offset)
        result = mk_supply(object, page_below(offset), length >> MK_PAGE_SHIFT, data, lock_value, precious != 0, &stopped);
    if (length != 0)
        vm_deallocate(mach_task_self(), data, length);
    if (MACH_PORT_VALID(reply_to)
        && mk_memory_object_supply_completed(reply_to, reply_type, control, offset, length, result,
                                             result == KERN_SUCCESS ? 0 : (vm_offset_t)stopped << MK_PAGE_SHIFT)
               != KERN_SUCCESS)
        mach_port_deallocate(mach_task_self(), reply_to);
    return KERN_SUCCESS;
}

kern_return_t mk_memory_object_data_error(mach_port_t control, vm_offset_t offset, vm_size_t size, kern_return_t error)
{
    struct mk_object *object = receiving;
    mk_index end = range_end(offset, size);
    struct mk_page *page;

    (void)control;
    pthread_mutex_lock(&object->lock);
    for (mk_index at = page_below(offset); (page = mk_page_next(object, at, end)) != NULL; at = mk_page_index(page) + 1)
        if (page->state == MK_PAGE_REQUESTED && !page->busy) {
            mk_count(object->kernel, refused_pages, 1);
            mk_page_fail(object, page, error != 0 ? error : KERN_MEMORY_ERROR);
        }
    pthread_mutex_unlock(&object->lock);
    return KERN_SUCCESS;
}

kern_return_t mk_memory_object_data_unavailable(mach_port_t control, vm_offset_t offset, vm_size_t size)
{
    struct mk_object *object = receiving;
    mk_index at = page_below(offset), end = range_end(offset, size), stopped;

    (void)control;
    for (;;) {
        pthread_mutex_lock(&object->lock);
        struct mk_page *page = mk_page_next(object, at, end);
        bool wanted = page != NULL && page->state == MK_PAGE_REQUESTED;
        if (page != NULL)
            at = mk_page_index(page);
        pthread_mutex_unlock(&object->lock);
        if (page == NULL)
            return KERN_SUCCESS;
        if (wanted)
            mk_supply(object, at, 1, 0, VM_PROT_NONE, false, &stopped);
        at++;
    }
}

kern_return_t mk_memory_object_lock_request(mach_port_t control, vm_offset_t offset, vm_size_t size,
                                            memory_object_return_t should_return, boolean_t should_flush, vm_prot_t lock_value,
                                            mach_port_t reply_to, mach_msg_type_name_t reply_type)
{
    struct mk_object *object = receiving;
    struct mk_lock how = { .should_return = should_return, .flush = should_flush != 0, .value = lock_value,
                           .run_max = MK_RUN_PAGES_MAX };

    mk_count(object->kernel, lock_requests, 1);
    mk_lock_pages(object, page_below(offset), range_end(offset, size), &how);
    if (MACH_PORT_VALID(reply_to)) {
        unsigned attempt = 0;
        kern_return_t error;
        do
            error = mk_memory_object_lock_completed(reply_to, reply_type, control, offset, size);
        while (error != KERN_SUCCESS && mk_try_again(error, attempt++));
        if (error != KERN_SUCCESS) {
            mk_count(object->kernel, failed_sends, 1);
            mach_port_deallocate(mach_task_self(), reply_to);
        }
    }
    return KERN_SUCCESS;
}

kern_return_t mk_memory_object_change_attributes(mach_port_t control, boolean_t may_cache,
                                                 memory_object_copy_strategy_t copy_strategy, mach_port_t reply_to,
                                                 mach_msg_type_name_t reply_type)
{
    (void)control;
    set_attributes(receiving, false, may_cache, copy_strategy);
    if (MACH_PORT_VALID(reply_to)
        && mk_memory_object_change_completed(reply_to, reply_type, may_cache, copy_strategy) != KERN_SUCCESS)
        mach_port_deallocate(mach_task_self(), reply_to);
    return KERN_SUCCESS;
}

kern_return_t mk_memory_object_destroy(mach_port_t control, kern_return_t reason)
{
    (void)control;
    (void)reason;
    mk_object_die(receiving, KERN_MEMORY_ERROR);
    return KERN_SUCCESS;
}

kern_return_t mk_memory_object_get_attributes(mach_port_t control, boolean_t *object_ready, boolean_t *may_cache,
                                              memory_object_copy_strategy_t *copy_strategy)
{
    struct mk_object *object = receiving;

    (void)control;
    pthread_mutex_lock(&object->lock);
    *object_ready = object->ready;
    *may_cache = object->may_cache;
    *copy_strategy = object->copy_strategy;
    pthread_mutex_unlock(&object->lock);
    return KERN_SUCCESS;
}

static void serve(mach_msg_header_t *in)
{
    union {
        mig_reply_header_t reply;
        char bytes[REPLY_BYTES];
    } out;
    mach_port_t reply_port = in->msgh_remote_port;

    mk_mach_server(in, &out.reply.Head);
    if (out.reply.RetCode != KERN_SUCCESS && out.reply.RetCode != MIG_NO_REPLY) {
        in->msgh_remote_port = MACH_PORT_NULL;
        mach_msg_destroy(in);
    }
    if (MACH_PORT_VALID(reply_port) && out.reply.RetCode != MIG_NO_REPLY
        && mach_msg(&out.reply.Head, MACH_SEND_MSG, out.reply.Head.msgh_size, 0, MACH_PORT_NULL, MACH_MSG_TIMEOUT_NONE,
                    MACH_PORT_NULL) != MACH_MSG_SUCCESS)
        mach_msg_destroy(&out.reply.Head);
}

void mk_control_handler(mach_msg_header_t *in, void *cookie)
{
    struct mk_object *object = cookie, *outer = receiving;
    struct mk_kernel *kernel = object->kernel;

    pthread_mutex_lock(&object->lock);
    bool begun = object->control == in->msgh_local_port && mk_begin(object);
    pthread_mutex_unlock(&object->lock);
    if (!begun) {
        mach_msg_destroy(in);
        return;
    }
    receiving = object;
    serve(in);
    receiving = outer;
    pthread_mutex_lock(&object->lock);
    mk_end(object);
    bool unused = object->uses == 0;
    pthread_mutex_unlock(&object->lock);
    if (unused)
        mk_object_check_use(object);    /* it may not be cached any more */
    mk_cache_shrink(kernel);
}

/* A pager's port has died. */
void mk_notify_handler(mach_msg_header_t *in, void *cookie)
{
    struct mk_kernel *kernel = cookie;
    const mach_dead_name_notification_t *dead = (const mach_dead_name_notification_t *)in;
    struct mk_object *found;

    if (in->msgh_id != MACH_NOTIFY_DEAD_NAME) {
        mach_msg_destroy(in);
        return;
    }
    mach_port_t name = dead->not_port;
    do {
        found = NULL;
        pthread_mutex_lock(&kernel->lock);
        for (struct mk_object *object = kernel->objects; object != NULL && found == NULL; object = object->next) {
            pthread_mutex_lock(&object->lock);
            bool affected = object->pager == name && object->dead == 0;
            pthread_mutex_unlock(&object->lock);
            if (affected)
                found = object;
        }
        if (found != NULL)
            mk_object_die(found, KERN_MEMORY_ERROR);
        pthread_mutex_unlock(&kernel->lock);
        if (found != NULL)
            mk_object_check_use(found);
    } while (found != NULL);
    mach_port_deallocate(mach_task_self(), name);       /* the notification's reference */
}
