/* receive.c: receiving.

   A receiver looks at the queue, waits at the end of the line if it is empty, and looks again. It holds a reference to the port or
   set while it waits; what it learns on waking is either a reason to give up or nothing at all. */

#include "internal.h"
#include "message.h"

#include <string.h>

struct source {
    struct ipc_port *port;
    struct ipc_pset *pset;
    struct ipc_mqueue *mqueue;
};

static mach_msg_return_t
find_source (struct hostmach_task *task, mach_port_name_t name, struct source *source)
{
    struct ipc_entry *entry = NULL;
    if (task->active && MACH_PORT_VALID (name))
        entry = ipc_entry_lookup (task, name);
    if (entry != NULL && (entry->type & MACH_PORT_TYPE_RECEIVE)) {
        if (entry->port->pset != NULL)
            return MACH_RCV_IN_SET;
        *source = (struct source) { .port = entry->port, .mqueue = &entry->port->mqueue };
        ipc_port_ref (entry->port);
        return MACH_MSG_SUCCESS;
    }
    if (entry != NULL && entry->type == MACH_PORT_TYPE_PORT_SET) {
        *source = (struct source) { .pset = entry->pset, .mqueue = &entry->pset->mqueue };
        entry->pset->refs++;
        return MACH_MSG_SUCCESS;
    }
    return MACH_RCV_INVALID_NAME;
}

static void
leave_source (const struct source *source)
{
    if (source->port != NULL)
        ipc_port_release (source->port);
    else
        ipc_pset_release (source->pset);
}

static mach_msg_return_t
check_source (const struct source *source, const struct hostmach_task *task)
{
    if (source->pset != NULL)
        return source->pset->active ? MACH_MSG_SUCCESS : MACH_RCV_PORT_DIED;
    if (!source->port->active || source->port->receiver != task)
        return MACH_RCV_PORT_DIED;
    return source->port->pset != NULL ? MACH_RCV_PORT_CHANGED : MACH_MSG_SUCCESS;
}

/* Returns when it is worth looking again, or why it is not. */
static mach_msg_return_t
wait (const struct source *source, const struct hostmach_task *task, uint64_t deadline, struct ipc_sleeper **sleeper)
{
    if (ipc_watch_any () != (*sleeper != NULL)) {
        ipc_unlock ();
        ipc_watch_end (*sleeper);
        *sleeper = ipc_watch_begin ();
        ipc_lock ();
        mach_msg_return_t mr = check_source (source, task);
        if (mr != MACH_MSG_SUCCESS || !TAILQ_EMPTY (&source->mqueue->messages))
            return mr;
    }
    struct ipc_waiter waiter;
    ipc_wait (&source->mqueue->receivers, &waiter, deadline, *sleeper);
    return waiter.reason != MACH_MSG_SUCCESS ? waiter.reason : check_source (source, task);
}

/* *kmsg: the next message, which stays queued. */
static mach_msg_return_t
wait_for_message (const struct source *source, const struct hostmach_task *task, uint64_t deadline,
                  struct ipc_sleeper **sleeper, struct ipc_kmsg **kmsg)
{
    for (;;) {
        *kmsg = TAILQ_FIRST (&source->mqueue->messages);
        if (*kmsg != NULL)
            return MACH_MSG_SUCCESS;
        if (ipc_deadline_passed (deadline))
            return MACH_RCV_TIMED_OUT;
        mach_msg_return_t mr = wait (source, task, deadline, sleeper);
        if (mr != MACH_MSG_SUCCESS)
            return mr;
    }
}

static mach_msg_return_t
receive (mach_msg_header_t *msg, mach_msg_option_t option, mach_msg_size_t size, mach_port_name_t name,
         mach_msg_timeout_t timeout, struct ipc_sleeper **sleeper)
{
    if (option & MACH_RCV_NOTIFY)
        return MACH_RCV_INVALID_NOTIFY;
    if (msg == NULL)
        return MACH_RCV_INVALID_DATA;

    struct hostmach_task *task = hostmach_current ();
    uint64_t deadline = ipc_deadline (option & MACH_RCV_TIMEOUT, timeout);
    struct source source;
    ipc_lock ();
    mach_msg_return_t mr = find_source (task, name, &source);
    if (mr != MACH_MSG_SUCCESS) {
        ipc_unlock ();
        return mr;
    }
    struct ipc_kmsg *kmsg;
    mr = wait_for_message (&source, task, deadline, sleeper, &kmsg);
    if (mr != MACH_MSG_SUCCESS) {
        leave_source (&source);
        ipc_unlock ();
        return mr;
    }

    if (kmsg->size > size && (option & MACH_RCV_LARGE)) {
        msg->msgh_size = kmsg->size;
        ipc_wake_one (&source.mqueue->receivers); /* it may be small enough for the next */
        leave_source (&source);
        ipc_unlock ();
        return MACH_RCV_TOO_LARGE;
    }

    ipc_mqueue_dequeue (source.mqueue, kmsg);
    mr = kmsg->size > size ? MACH_RCV_TOO_LARGE : ipc_kmsg_copyout (kmsg, task);
    if (mr == MACH_RCV_TOO_LARGE || (mr & ~MACH_MSG_MASK) == MACH_RCV_HEADER_ERROR) {
        mach_msg_header_t header;
        ipc_kmsg_copyout_dest (kmsg, task, &header);
        ipc_kmsg_destroy (kmsg);
        leave_source (&source);
        ipc_unlock ();
        memcpy (msg, &header, size < sizeof header ? size : sizeof header);
        return mr;
    }
    leave_source (&source);
    ipc_unlock ();
    memcpy (msg, kmsg->body, kmsg->size);
    ipc_kmsg_free (kmsg);
    return mr;
}

mach_msg_return_t
ipc_receive (mach_msg_header_t *msg, mach_msg_option_t option, mach_msg_size_t size, mach_port_name_t name,
             mach_msg_timeout_t timeout)
{
    struct ipc_sleeper *sleeper = NULL;
    mach_msg_return_t mr = receive (msg, option, size, name, timeout, &sleeper);
    ipc_watch_end (sleeper);
    return mr;
}

size_t
hostmach_receiver_count (mach_port_name_t name)
{
    struct source source;
    struct ipc_waiter *waiter;
    size_t count = 0;
    ipc_lock ();
    if (find_source (hostmach_current (), name, &source) == MACH_MSG_SUCCESS) {
        TAILQ_FOREACH (waiter, &source.mqueue->receivers, link)
            count++;
        leave_source (&source);
    }
    ipc_unlock ();
    return count;
}
