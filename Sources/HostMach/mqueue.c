/* mqueue.c: queues of messages.

   Q1  A message to a port that is a member of a set is queued in the set, so a set has one queue, in order of arrival.
   Q2  Stamps rise in the order of sending over all ports. Joining or leaving a set merges queues by stamp, so
       "received in the order sent" holds for all messages that one receiver gets, through any of its ports.
   Q3  One message wakes at most one receiver. A woken receiver looks into the queue before anything else, and
       one that leaves a message behind wakes the next.
   Q4  Sequence numbers are given on leaving the queue, per port. */

#include "internal.h"

_Atomic size_t ipc_messages;
static uint64_t last_stamp;

size_t
hostmach_message_count (void)
{
    return atomic_load (&ipc_messages);
}

void
ipc_mqueue_init (struct ipc_mqueue *mqueue)
{
    TAILQ_INIT (&mqueue->messages);
    TAILQ_INIT (&mqueue->receivers);
}

/* Hand a message to its port's handler. */
static void
execute (struct ipc_port *port, struct ipc_kmsg *kmsg)
{
    hostmach_handler_t handler = port->handler;
    void *cookie = port->cookie;
    struct hostmach_task *task = port->receiver;
    ipc_kmsg_header (kmsg)->msgh_seqno = port->seqno++;
    mach_msg_return_t mr = ipc_kmsg_copyout (kmsg, task);
    if ((mr & ~MACH_MSG_MASK) == MACH_RCV_HEADER_ERROR) {
        /* No name for the reply right: as if it had been received and thrown away. */
        ipc_kmsg_destroy (kmsg);
        return;
    }
    kmsg->handler = handler;
    kmsg->cookie = cookie;
    kmsg->task = task;
    atomic_fetch_add (&task->refs, 1);
    atomic_fetch_add (&task->running, 1);
    ipc_kmsg_dispatch (kmsg);
}

void
ipc_mqueue_send (struct ipc_kmsg *kmsg)
{
    struct ipc_port *port = kmsg->dest.port;
    assert (port->active);
    if (port->proxy != NULL) {
        ipc_kmsg_destroy (kmsg); /* proxies take no messages */
        return;
    }
    if (port->handler != NULL) {
        execute (port, kmsg);
        return;
    }
    struct ipc_mqueue *mqueue = port->pset != NULL ? &port->pset->mqueue : &port->mqueue;
    kmsg->stamp = ++last_stamp;
    TAILQ_INSERT_TAIL (&mqueue->messages, kmsg, link);
    port->msgcount++;
    atomic_fetch_add (&ipc_messages, 1);
    ipc_wake_one (&mqueue->receivers);
}

void
ipc_mqueue_dequeue (struct ipc_mqueue *mqueue, struct ipc_kmsg *kmsg)
{
    struct ipc_port *port = kmsg->dest.port;
    TAILQ_REMOVE (&mqueue->messages, kmsg, link);
    atomic_fetch_sub (&ipc_messages, 1);
    ipc_kmsg_header (kmsg)->msgh_seqno = port->seqno++;
    if (--port->msgcount < port->qlimit)
        ipc_wake_one (&port->senders);
}

/* Moves all messages, or those for one port, and wakes a receiver for each. */
void
ipc_mqueue_merge (struct ipc_mqueue *into, struct ipc_mqueue *from, struct ipc_port *only)
{
    struct ipc_kmsg *after = TAILQ_FIRST (&into->messages);
    for (struct ipc_kmsg *kmsg = TAILQ_FIRST (&from->messages), *next; kmsg != NULL; kmsg = next) {
        next = TAILQ_NEXT (kmsg, link);
        if (only != NULL && kmsg->dest.port != only)
            continue;
        TAILQ_REMOVE (&from->messages, kmsg, link);
        while (after != NULL && after->stamp < kmsg->stamp)
            after = TAILQ_NEXT (after, link);
        if (after != NULL)
            TAILQ_INSERT_BEFORE (after, kmsg, link);
        else
            TAILQ_INSERT_TAIL (&into->messages, kmsg, link);
        ipc_wake_one (&into->receivers);
    }
}
