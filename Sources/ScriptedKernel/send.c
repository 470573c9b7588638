/* send.c - messages to the pager, through MIG's stubs for memory_object.defs.

   The stubs take the names of the current task, so the thread enters the kernel's task for the
   length of the call.  Nothing is locked meanwhile. */

#include <stdlib.h>
#include <string.h>

#include <mach/memory_object_user.h>

#include "internal.h"

bool sk_begin(struct sk_object *object)
{
    if (object->terminating)
        return false;
    object->operations++;
    return true;
}

void sk_end(struct sk_object *object)
{
    if (--object->operations == 0)
        pthread_cond_broadcast(&object->changed);
}

void sk_release_reply(struct sk_object *object, mach_port_t reply)
{
    hostmach_task_t previous;

    if (MACH_PORT_VALID(reply) && sk_enter(object->kernel, &previous)) {
        mach_port_deallocate(mach_task_self(), reply);
        sk_leave(object->kernel, previous);
    }
}

/* A receive right with a name of its own in the current task. */
static mach_port_t new_port(void)
{
    mach_port_t port = MACH_PORT_NULL;
    mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &port);
    return port;
}

static void kill_port(mach_port_t port)
{
    if (MACH_PORT_VALID(port))
        mach_port_mod_refs(mach_task_self(), port, MACH_PORT_RIGHT_RECEIVE, -1);
}

static kern_return_t transmit(const struct sk_message *m, const void *data, mach_port_t to,
                              mach_msg_type_name_t to_type, mach_port_t control,
                              mach_port_t name)
{
    switch (m->id) {
    case SK_INIT:
        return memory_object_init(to, control, name, m->length);
    case SK_TERMINATE:
        return memory_object_terminate(to, control, name);
    case SK_COPY: {
        mach_port_t copy = new_port();
        kern_return_t err = memory_object_copy(to, control, m->offset, m->length, copy);
        if (err != KERN_SUCCESS)
            kill_port(copy);
        return err;
    }
    case SK_DATA_REQUEST:
        return memory_object_data_request(to, control, m->offset, m->length, m->access);
    case SK_DATA_UNLOCK:
        return memory_object_data_unlock(to, control, m->offset, m->length, m->access);
    case SK_LOCK_COMPLETED:
        return memory_object_lock_completed(to, to_type, control, m->offset, m->length);
    case SK_SUPPLY_COMPLETED:
        return memory_object_supply_completed(to, to_type, control, m->offset, m->length,
                                              m->error, m->error_offset);
    case SK_DATA_RETURN:
        return memory_object_data_return(to, control, m->offset, (vm_offset_t)data,
                                         (mach_msg_type_number_t)m->length, m->dirty,
                                         m->kernel_copy);
    case SK_CHANGE_COMPLETED:
        return memory_object_change_completed(to, to_type, m->may_cache, m->copy_strategy);
    default:
        return EINVAL;
    }
}

int sk_send(struct sk_object *object, struct sk_message *message, const void *data,
            mach_port_t reply, mach_msg_type_name_t reply_type)
{
    hostmach_task_t previous;
    mach_port_t to = reply;
    kern_return_t err = KERN_TERMINATED;

    pthread_mutex_lock(&object->lock);
    if (to == MACH_PORT_NULL)
        to = object->pager;
    mach_port_t control = object->control;
    mach_port_t name = object->name;
    sk_log_add(object, message);
    pthread_mutex_unlock(&object->lock);

    if (sk_enter(object->kernel, &previous)) {
        err = transmit(message, data, to, reply_type, control, name);
        if (err != KERN_SUCCESS && MACH_PORT_VALID(reply))
            mach_port_deallocate(mach_task_self(), reply);
        sk_leave(object->kernel, previous);
    }
    if (err != KERN_SUCCESS) {
        pthread_mutex_lock(&object->lock);
        object->send_failures++;
        pthread_mutex_unlock(&object->lock);
    }
    return err;
}

int sk_send_page_message(struct sk_object *object, mach_msg_id_t id, vm_offset_t offset,
                         vm_prot_t access)
{
    struct sk_message message = {
        .id = id,
        .offset = offset,
        .length = vm_page_size,
        .access = access,
    };
    return sk_send(object, &message, NULL, MACH_PORT_NULL, 0);
}

/* Out-of-line data must be readable for whole pages: send a copy that is. */
static void *page_copy(const void *data, vm_size_t length)
{
    vm_size_t bytes = (length + vm_page_size - 1) / vm_page_size * vm_page_size;
    void *copy = NULL;

    if (bytes == 0 || posix_memalign(&copy, vm_page_size, bytes) != 0)
        return NULL;
    memset(copy, 0, bytes);
    if (data != NULL)
        memcpy(copy, data, length);
    return copy;
}

int sk_send_raw(sk_object *object, const struct sk_message *message, const void *data,
                unsigned flags)
{
    struct sk_message m = *message;
    hostmach_task_t previous;
    bool own_rights = m.id == SK_TERMINATE || (flags & SK_RAW_FOREIGN_CONTROL);

    pthread_mutex_lock(&object->lock);
    bool begun = sk_begin(object);
    mach_port_t pager = object->pager;
    mach_port_t control = object->control;
    mach_port_t name = object->name;
    if (begun)
        sk_log_add(object, &m);
    pthread_mutex_unlock(&object->lock);
    if (!begun)
        return KERN_TERMINATED;

    kern_return_t err = KERN_TERMINATED;
    if (sk_enter(object->kernel, &previous)) {
        if (own_rights) {
            control = new_port();
            name = new_port();
        }
        /* terminate moves the send right it goes to: give it one more. */
        if (m.id == SK_TERMINATE)
            mach_port_mod_refs(mach_task_self(), pager, MACH_PORT_RIGHT_SEND, 1);
        void *copy = m.id == SK_DATA_RETURN ? page_copy(data, m.length) : NULL;
        err = transmit(&m, copy, pager, MACH_MSG_TYPE_COPY_SEND, control, name);
        free(copy);
        if (own_rights && (m.id != SK_TERMINATE || err != KERN_SUCCESS)) {
            kill_port(control);
            kill_port(name);
        }
        if (m.id == SK_TERMINATE && err != KERN_SUCCESS)
            mach_port_mod_refs(mach_task_self(), pager, MACH_PORT_RIGHT_SEND, -1);
        sk_leave(object->kernel, previous);
    }
    pthread_mutex_lock(&object->lock);
    if (err != KERN_SUCCESS)
        object->send_failures++;
    sk_end(object);
    pthread_mutex_unlock(&object->lock);
    return err;
}
