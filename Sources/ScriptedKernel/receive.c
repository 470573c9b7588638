/* receive.c - messages from the pager: taken apart by MIG's stub for mach.defs, logged, and executed or
   held back.

   The handler runs in the sender's thread, in the kernel's task.  The stub's routines get only the
   port's name, so the object travels beside them in a thread-local variable; messages may nest
   (executing one sends another, which may be executed in place too). */

#include <stdio.h>
#include <stdlib.h>

#include "internal.h"
#include "sk_mach_S.h"

#define REPLY_BYTES 512u

extern boolean_t sk_mach_server(mach_msg_header_t *in, mach_msg_header_t *out);

_Thread_local struct sk_object *sk_receiving;

void sk_held_destroy(struct sk_object *object, struct sk_held *held)
{
    if (held->data != 0)
        vm_deallocate(mach_task_self(), held->data, held->message.length);
    sk_release_reply(object, held->reply);
    free(held);
}

static unsigned hold_bit_of(mach_msg_id_t id)
{
    switch (id) {
    case SK_READY:
        return SK_HOLD_READY;
    case SK_DATA_SUPPLY:
        return SK_HOLD_SUPPLY;
    case SK_DATA_ERROR:
    case SK_DATA_UNAVAILABLE:
        return SK_HOLD_ERROR;
    case SK_LOCK_REQUEST:
        return SK_HOLD_LOCK;
    case SK_CHANGE_ATTRIBUTES:
        return SK_HOLD_ATTRIBUTES;
    case SK_DESTROY:
        return SK_HOLD_DESTROY;
    default:
        return 0;
    }
}

/* With object->lock held: keep HELD until somebody releases it. */
static void keep(struct sk_object *object, struct sk_held *held)
{
    if (object->held_count == SK_HELD_MAX) {
        fprintf(stderr, "scripted kernel %s: too many held messages\n",
                object->kernel->name);
        abort();
    }
    held->next = NULL;
    *object->held_tail = held;
    object->held_tail = &held->next;
    object->held_count++;
    pthread_cond_broadcast(&object->changed);
}

bool sk_hold_completed(struct sk_object *object, struct sk_held *held)
{
    pthread_mutex_lock(&object->lock);
    bool hold = (object->hold_mask & SK_HOLD_COMPLETED) != 0;
    if (hold) {
        held->completed = true;
        keep(object, held);
    }
    pthread_mutex_unlock(&object->lock);
    return hold;
}

/* Log MESSAGE; hold it back or execute it. */
static kern_return_t arrive(const struct sk_message *message, vm_offset_t data,
                            mach_port_t reply, mach_msg_type_name_t reply_type)
{
    struct sk_object *object = sk_receiving;
    struct sk_held *held = sk_alloc(sizeof *held);

    held->message = *message;
    held->message.has_reply = reply != MACH_PORT_NULL;
    held->data = data;
    held->reply = reply;
    held->reply_type = reply_type;

    pthread_mutex_lock(&object->lock);
    sk_log_add(object, &held->message);
    bool hold = (object->hold_mask & hold_bit_of(message->id)) != 0;
    if (hold)
        keep(object, held);
    pthread_mutex_unlock(&object->lock);
    if (!hold)
        sk_execute(object, held);
    return KERN_SUCCESS;
}

kern_return_t sk_memory_object_ready(mach_port_t control, boolean_t may_cache,
                                     memory_object_copy_strategy_t copy_strategy)
{
    (void)control;
    return arrive(&(struct sk_message){ .id = SK_READY, .may_cache = may_cache,
                                        .copy_strategy = copy_strategy },
                  0, MACH_PORT_NULL, 0);
}

kern_return_t sk_memory_object_data_supply(mach_port_t control, vm_offset_t offset,
                                           vm_offset_t data, mach_msg_type_number_t length,
                                           vm_prot_t lock_value, boolean_t precious,
                                           mach_port_t reply_to,
                                           mach_msg_type_name_t reply_type)
{
    (void)control;
    return arrive(&(struct sk_message){ .id = SK_DATA_SUPPLY, .offset = offset,
                                        .length = length, .access = lock_value,
                                        .precious = precious },
                  data, reply_to, reply_type);
}

kern_return_t sk_memory_object_data_error(mach_port_t control, vm_offset_t offset,
                                          vm_size_t size, kern_return_t error)
{
    (void)control;
    return arrive(&(struct sk_message){ .id = SK_DATA_ERROR, .offset = offset,
                                        .length = size, .error = error },
                  0, MACH_PORT_NULL, 0);
}

kern_return_t sk_memory_object_data_unavailable(mach_port_t control, vm_offset_t offset,
                                                vm_size_t size)
{
    (void)control;
    return arrive(&(struct sk_message){ .id = SK_DATA_UNAVAILABLE, .offset = offset,
                                        .length = size },
                  0, MACH_PORT_NULL, 0);
}

kern_return_t sk_memory_object_lock_request(mach_port_t control, vm_offset_t offset,
                                            vm_size_t size,
                                            memory_object_return_t should_return,
                                            boolean_t should_flush, vm_prot_t lock_value,
                                            mach_port_t reply_to,
                                            mach_msg_type_name_t reply_type)
{
    (void)control;
    return arrive(&(struct sk_message){ .id = SK_LOCK_REQUEST, .offset = offset,
                                        .length = size, .should_return = should_return,
                                        .should_flush = should_flush,
                                        .access = lock_value },
                  0, reply_to, reply_type);
}

kern_return_t sk_memory_object_change_attributes(mach_port_t control, boolean_t may_cache,
                                                 memory_object_copy_strategy_t copy_strategy,
                                                 mach_port_t reply_to,
                                                 mach_msg_type_name_t reply_type)
{
    (void)control;
    return arrive(&(struct sk_message){ .id = SK_CHANGE_ATTRIBUTES, .may_cache = may_cache,
                                        .copy_strategy = copy_strategy },
                  0, reply_to, reply_type);
}

kern_return_t sk_memory_object_destroy(mach_port_t control, kern_return_t reason)
{
    (void)control;
    return arrive(&(struct sk_message){ .id = SK_DESTROY, .error = reason },
                  0, MACH_PORT_NULL, 0);
}

kern_return_t sk_memory_object_get_attributes(mach_port_t control, boolean_t *object_ready,
                                              boolean_t *may_cache,
                                              memory_object_copy_strategy_t *copy_strategy)
{
    struct sk_object *object = sk_receiving;
    struct sk_message message = { .id = SK_GET_ATTRIBUTES, .has_reply = TRUE };

    (void)control;
    pthread_mutex_lock(&object->lock);
    sk_log_add(object, &message);
    pthread_mutex_unlock(&object->lock);
    sk_attributes(object, object_ready, may_cache, copy_strategy);
    return KERN_SUCCESS;
}

void sk_control_handler(mach_msg_header_t *in, void *cookie)
{
    struct sk_object *outer = sk_receiving;
    union {
        mig_reply_header_t reply;
        char bytes[REPLY_BYTES];
    } out;
    mach_port_t reply_port = in->msgh_remote_port;

    sk_receiving = cookie;
    if (!sk_mach_server(in, &out.reply.Head)) {
        pthread_mutex_lock(&sk_receiving->lock);
        sk_violation(sk_receiving, &(struct sk_message){ .id = in->msgh_id },
                     "send a message that is not in mach.defs");
        pthread_mutex_unlock(&sk_receiving->lock);
    } else if (out.reply.RetCode == MIG_BAD_ARGUMENTS) {
        pthread_mutex_lock(&sk_receiving->lock);
        sk_violation(sk_receiving, &(struct sk_message){ .id = in->msgh_id },
                     "send arguments of the wrong type");
        pthread_mutex_unlock(&sk_receiving->lock);
    }
    sk_receiving = outer;
    if (out.reply.RetCode != KERN_SUCCESS && out.reply.RetCode != MIG_NO_REPLY) {
        in->msgh_remote_port = MACH_PORT_NULL;
        mach_msg_destroy(in);
    }
    if (MACH_PORT_VALID(reply_port) && out.reply.RetCode != MIG_NO_REPLY
        && mach_msg(&out.reply.Head, MACH_SEND_MSG, out.reply.Head.msgh_size, 0,
                    MACH_PORT_NULL, MACH_MSG_TIMEOUT_NONE, MACH_PORT_NULL)
               != MACH_MSG_SUCCESS)
        mach_msg_destroy(&out.reply.Head);
}

/* ---- The test's side of holding ---- */

void sk_hold(sk_object *object, unsigned mask)
{
    pthread_mutex_lock(&object->lock);
    object->hold_mask = mask;
    pthread_mutex_unlock(&object->lock);
}

unsigned sk_pending(sk_object *object)
{
    pthread_mutex_lock(&object->lock);
    unsigned count = object->held_count;
    pthread_mutex_unlock(&object->lock);
    return count;
}

int sk_wait_pending(sk_object *object, unsigned count, unsigned timeout_ms)
{
    struct sk_wait wait;
    int err = 0;

    sk_wait_begin(&wait, timeout_ms, "sk_wait_pending", 0);
    pthread_mutex_lock(&object->lock);
    while (object->held_count < count && err == 0)
        err = sk_wait_step(object, &wait);
    if (object->held_count >= count)
        err = 0;
    pthread_mutex_unlock(&object->lock);
    return err;
}

int sk_release_one(sk_object *object, unsigned index)
{
    pthread_mutex_lock(&object->lock);
    struct sk_held **link = &object->held;
    while (*link != NULL && index-- != 0)
        link = &(*link)->next;
    struct sk_held *held = *link;
    if (held != NULL) {
        *link = held->next;
        if (held->next == NULL)
            object->held_tail = link;
        object->held_count--;
    }
    pthread_mutex_unlock(&object->lock);
    if (held == NULL)
        return ENOENT;
    sk_execute(object, held);
    return 0;
}

void sk_release_all(sk_object *object)
{
    sk_hold(object, 0);
    while (sk_release_one(object, 0) == 0)
        ;
}
