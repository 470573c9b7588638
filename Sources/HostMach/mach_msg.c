/* mach_msg.c: sending, and mach_msg itself.

   What is left of a message after a failure:
   - refused before anything was taken, the sender's rights and memory untouched: INVALID_HEADER, INVALID_DEST, INVALID_REPLY,
     INVALID_TYPE, INVALID_MEMORY, MSG_TOO_SMALL, NO_BUFFER, NO_NOTIFY, and injected faults;
   - TIMED_OUT: everything comes back to the sender, in the message buffer (ipc_kmsg_copyout_pseudo);
   - INVALID_RIGHT: the message is destroyed. */

#include "internal.h"
#include "message.h"

#include <string.h>

/* The message has been taken from the sender: queue it, wait for room, or return it. With the lock held; lets it go. */
static mach_msg_return_t
deliver (struct ipc_kmsg *kmsg, struct hostmach_task *task, bool always, uint64_t deadline, mach_msg_header_t *msg)
{
    for (;;) {
        struct ipc_port *port = kmsg->dest.port;
        if (!port->active) {
            /* As if it had been sent just before the port died. */
            ipc_kmsg_destroy (kmsg);
            break;
        }
        if (port->msgcount < port->qlimit || always || port->handler != NULL
            || kmsg->dest.type == MACH_MSG_TYPE_PORT_SEND_ONCE) {
            ipc_mqueue_send (kmsg);
            break;
        }
        if (ipc_work_pending ()) {
            ipc_unlock ();
            ipc_lock ();
            continue;
        }
        if (ipc_deadline_passed (deadline)) {
            if (!task->active) {
                ipc_kmsg_destroy (kmsg);
                ipc_unlock ();
                return MACH_SEND_TIMED_OUT;
            }
            mach_msg_return_t missing = ipc_kmsg_copyout_pseudo (kmsg, task);
            ipc_unlock ();
            memcpy (msg, kmsg->body, kmsg->size);
            ipc_kmsg_free (kmsg);
            return MACH_SEND_TIMED_OUT | (missing & MACH_MSG_MASK);
        }
        struct ipc_waiter waiter;
        ipc_wait (&port->senders, &waiter, deadline, NULL);
    }
    ipc_unlock ();
    return MACH_MSG_SUCCESS;
}

static mach_msg_return_t
ipc_send (mach_msg_header_t *msg, mach_msg_option_t option, mach_msg_size_t size, mach_msg_timeout_t timeout)
{
    if (msg == NULL)
        return MACH_SEND_INVALID_DATA;
    if (option & MACH_SEND_NOTIFY)
        return MACH_SEND_NO_NOTIFY;
    if (size < sizeof (mach_msg_header_t) || size % 4 != 0)
        return MACH_SEND_MSG_TOO_SMALL;
    mach_msg_return_t mr = ipc_fault_send (msg->msgh_id);
    if (mr != MACH_MSG_SUCCESS)
        return mr;

    struct hostmach_task *task = hostmach_current ();
    struct ipc_kmsg *kmsg = ipc_kmsg_alloc (size);
    if (kmsg == NULL)
        return MACH_SEND_NO_BUFFER;
    memcpy (kmsg->body, msg, size);
    ipc_kmsg_header (kmsg)->msgh_size = size;
    mr = ipc_kmsg_parse (kmsg);
    if (mr == MACH_MSG_SUCCESS) {
        ipc_lock ();
        mr = task->active ? ipc_kmsg_copyin_header (kmsg, task) : MACH_SEND_INVALID_DEST;
        if (mr != MACH_MSG_SUCCESS)
            ipc_unlock ();
    }
    if (mr != MACH_MSG_SUCCESS) {
        ipc_kmsg_unparse (kmsg);
        ipc_kmsg_free (kmsg);
        return mr;
    }

    mr = ipc_kmsg_copyin_body (kmsg, task);
    if (ipc_kmsg_has_sources (kmsg)) {
        ipc_unlock ();
        ipc_kmsg_release_sources (kmsg);
        ipc_lock ();
    }
    if (mr != MACH_MSG_SUCCESS || kmsg->circular) {
        ipc_kmsg_destroy (kmsg);
        ipc_unlock ();
        return mr;
    }
    return deliver (kmsg, task, task->kernel || (option & MACH_SEND_ALWAYS),
                    ipc_deadline (option & MACH_SEND_TIMEOUT, timeout), msg);
}

mach_msg_return_t
mach_msg (mach_msg_header_t *msg, mach_msg_option_t option, mach_msg_size_t send_size, mach_msg_size_t rcv_size,
          mach_port_name_t rcv_name, mach_msg_timeout_t timeout, mach_port_name_t notify)
{
    (void) notify; /* for MACH_SEND_NOTIFY and MACH_RCV_NOTIFY, which are refused */
    if (option & MACH_SEND_MSG) {
        mach_msg_return_t mr = ipc_send (msg, option, send_size, timeout);
        if (mr != MACH_MSG_SUCCESS)
            return mr;
    }
    if (option & MACH_RCV_MSG)
        return ipc_receive (msg, option, rcv_size, rcv_name, timeout);
    return MACH_MSG_SUCCESS;
}

mach_msg_return_t
mach_msg_trap (mach_msg_header_t *msg, mach_msg_option_t option, mach_msg_size_t send_size,
               mach_msg_size_t rcv_size, mach_port_name_t rcv_name, mach_msg_timeout_t timeout,
               mach_port_name_t notify)
{
    return mach_msg (msg, option, send_size, rcv_size, rcv_name, timeout, notify);
}
