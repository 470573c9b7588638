/* port.c: birth, death and counting of ports.

   Whoever holds a right holds a reference, so a port's memory outlives all rights; `active` ends with the receive right.
   Dying is one step under the lock: queued messages are put up for destruction, waiters are woken, names become dead
   names and their dead-name notifications are on their way before any other thread can look. */

#include "internal.h"

#include <string.h>

_Atomic size_t ipc_ports;

size_t
hostmach_port_count (void)
{
    return atomic_load (&ipc_ports);
}

struct ipc_port *
ipc_port_alloc (void)
{
    struct ipc_port *port = ipc_alloc (sizeof *port);
    if (port == NULL)
        return NULL;
    memset (port, 0, sizeof *port);
    port->refs = 1;
    port->active = true;
    port->qlimit = MACH_PORT_QLIMIT_DEFAULT;
    ipc_mqueue_init (&port->mqueue);
    TAILQ_INIT (&port->senders);
    LIST_INIT (&port->entries);
    LIST_INIT (&port->once_entries);
    atomic_fetch_add (&ipc_ports, 1);
    return port;
}

void
ipc_port_ref (struct ipc_port *port)
{
    port->refs++;
}

void
ipc_port_release (struct ipc_port *port)
{
    assert (port->refs > 0);
    if (--port->refs != 0)
        return;
    assert (!port->active && port->srights == 0 && port->sorights == 0);
    assert (TAILQ_EMPTY (&port->mqueue.messages) && TAILQ_EMPTY (&port->mqueue.receivers));
    atomic_fetch_sub (&ipc_ports, 1);
    ipc_free (port);
}

/* The task's name for the port's send and receive rights, if it has one. A port is known to few tasks. */
struct ipc_entry *
ipc_port_entry (struct ipc_port *port, const struct hostmach_task *task)
{
    if (port->receiver == task)
        return port->receiver_entry;
    struct ipc_entry *entry;
    LIST_FOREACH (entry, &port->entries, port_link)
        if (entry->task == task)
            return entry;
    return NULL;
}

/* The receive right leaves its task. What belongs to the tenure of a receiver goes: set membership, handler, payload,
   make-send count, sequence number, waiting receivers. */
void
ipc_port_clear_receiver (struct ipc_port *port)
{
    if (port->pset != NULL)
        ipc_pset_remove (port);
    ipc_wake_all (&port->mqueue.receivers, MACH_RCV_PORT_DIED);
    port->receiver = NULL;
    port->receiver_entry = NULL;
    port->handler = NULL;
    port->cookie = NULL;
    port->has_payload = false;
    port->mscount = 0;
    port->seqno = 0;
}

/* The receive right is in a message to `destination`, or (NULL) no longer is. */
void
ipc_port_set_destination (struct ipc_port *port, struct ipc_port *destination)
{
    struct ipc_port *old = port->destination;
    port->destination = destination;
    if (destination != NULL)
        ipc_port_ref (destination);
    if (old != NULL)
        ipc_port_release (old);
}

/* Would the receive right of `port`, sent to `destination`, wait in a queue that only its own receiver could empty? */
bool
ipc_port_circular (const struct ipc_port *port, const struct ipc_port *destination)
{
    for (; destination != NULL; destination = destination->destination)
        if (destination == port)
            return true;
    return false;
}

void
ipc_port_destroy (struct ipc_port *port)
{
    assert (port->active && port->receiver == NULL && port->destination == NULL && port->pset == NULL);

    struct ipc_kmsg *request = port->pdrequest;
    port->pdrequest = NULL;
    if (request != NULL) {
        if (request->dest.port->active && !ipc_port_circular (port, request->dest.port)) {
            ipc_notify_port_destroyed (request, port);
            return;
        }
        ipc_kmsg_destroy (request);
    }

    port->active = false;
    struct ipc_kmsg *kmsg;
    while ((kmsg = TAILQ_FIRST (&port->mqueue.messages)) != NULL) {
        TAILQ_REMOVE (&port->mqueue.messages, kmsg, link);
        atomic_fetch_sub (&ipc_messages, 1);
        ipc_kmsg_destroy (kmsg);
    }
    port->msgcount = 0;
    ipc_wake_all (&port->senders, MACH_MSG_SUCCESS);
    if (port->nsrequest != NULL) {
        ipc_kmsg_destroy (port->nsrequest);
        port->nsrequest = NULL;
    }
    struct ipc_entry *entry;
    while ((entry = LIST_FIRST (&port->entries)) != NULL)
        ipc_right_kill (entry);
    while ((entry = LIST_FIRST (&port->once_entries)) != NULL)
        ipc_right_kill (entry);
    ipc_port_release (port);
}

/* A send right goes. */
void
ipc_port_release_send (struct ipc_port *port)
{
    assert (port->srights > 0);
    if (--port->srights == 0 && port->active) {
        if (port->proxy != NULL) {
            ipc_proxy_no_senders (port);
        } else if (port->nsrequest != NULL) {
            struct ipc_kmsg *request = port->nsrequest;
            port->nsrequest = NULL;
            ipc_notify_no_senders (request, port->mscount);
        }
    }
    ipc_port_release (port);
}

/* A send-once right was used: the message it addressed has been received. */
void
ipc_port_use_send_once (struct ipc_port *port)
{
    assert (port->sorights > 0);
    port->sorights--;
    ipc_port_release (port);
}

/* A send-once right goes without having been used: its receiver is told. */
void
ipc_port_release_send_once (struct ipc_port *port)
{
    if (port->active)
        ipc_notify_send_once (port);
    else
        ipc_port_use_send_once (port);
}
