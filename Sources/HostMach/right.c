/* right.c: what happens to the rights under a name when the task gives them up or their port dies.

   An entry that denotes a port holds one reference, whatever rights it stands for. When one of two rights goes, the right
   that goes is given a reference of its own first. The receive right's departure (ipc_port_clear_receiver) precedes the
   name's removal, so that a port never points at a freed entry. */

#include "internal.h"

/* The name goes. Who asked to hear of its death hears that it is gone. */
void
ipc_right_remove (struct ipc_entry *entry)
{
    struct ipc_kmsg *request = entry->dnrequest;
    mach_port_name_t name = entry->name;
    if (entry->type & MACH_PORT_TYPE_PORT_RIGHTS)
        LIST_REMOVE (entry, port_link);
    entry->dnrequest = NULL;
    ipc_entry_dealloc (entry);
    if (request != NULL)
        ipc_notify_port_deleted (request, name);
}

void
ipc_right_kill (struct ipc_entry *entry)
{
    struct ipc_port *port = entry->port;
    assert (!port->active && !(entry->type & MACH_PORT_TYPE_RECEIVE));
    LIST_REMOVE (entry, port_link);
    if (entry->type & MACH_PORT_TYPE_SEND)
        port->srights--;
    else
        port->sorights--;
    entry->type = MACH_PORT_TYPE_DEAD_NAME;
    entry->port = NULL;
    struct ipc_kmsg *request = entry->dnrequest;
    if (request != NULL) {
        entry->dnrequest = NULL;
        if (entry->urefs < IPC_UREFS_MAX)
            entry->urefs++; /* for the notification's holder */
        ipc_notify_dead_name (request, entry->name);
    }
    ipc_port_release (port);
}

/* The send right of an entry goes, with all its user references. */
static void
drop_send (struct ipc_entry *entry)
{
    struct ipc_port *port = entry->port;
    if (entry->type & MACH_PORT_TYPE_RECEIVE) {
        entry->type &= ~MACH_PORT_TYPE_SEND;
        entry->urefs = 0;
        ipc_port_ref (port);
    } else {
        ipc_right_remove (entry);
    }
    ipc_port_release_send (port);
}

/* The receive right of an entry goes; a send right stays and becomes a dead name (or stays a
   send right, if a port-destroyed notification saves the port). */
static void
drop_receive (struct ipc_entry *entry)
{
    struct ipc_port *port = entry->port;
    ipc_port_clear_receiver (port);
    if (entry->type & MACH_PORT_TYPE_SEND) {
        entry->type &= ~MACH_PORT_TYPE_RECEIVE;
        ipc_port_ref (port);
    } else {
        ipc_right_remove (entry);
    }
    ipc_port_destroy (port);
}

static void
drop_send_once (struct ipc_entry *entry)
{
    struct ipc_port *port = entry->port;
    ipc_right_remove (entry);
    ipc_port_release_send_once (port);
}

static void
drop_set (struct ipc_entry *entry)
{
    struct ipc_pset *pset = entry->pset;
    ipc_entry_dealloc (entry);
    ipc_pset_destroy (pset);
}

void
ipc_right_destroy (struct ipc_entry *entry)
{
    switch (entry->type) {
    case MACH_PORT_TYPE_DEAD_NAME:
        ipc_right_remove (entry);
        break;
    case MACH_PORT_TYPE_PORT_SET:
        drop_set (entry);
        break;
    case MACH_PORT_TYPE_SEND_ONCE:
        drop_send_once (entry);
        break;
    case MACH_PORT_TYPE_SEND:
        drop_send (entry);
        break;
    case MACH_PORT_TYPE_SEND_RECEIVE:
        drop_send (entry);
        drop_receive (entry);
        break;
    default:
        assert (entry->type == MACH_PORT_TYPE_RECEIVE);
        drop_receive (entry);
        break;
    }
}

kern_return_t
ipc_right_deallocate (struct ipc_entry *entry)
{
    if (entry->type == MACH_PORT_TYPE_SEND_ONCE)
        return ipc_right_delta (entry, MACH_PORT_RIGHT_SEND_ONCE, -1);
    if (entry->type & MACH_PORT_TYPE_SEND)
        return ipc_right_delta (entry, MACH_PORT_RIGHT_SEND, -1);
    if (entry->type == MACH_PORT_TYPE_DEAD_NAME)
        return ipc_right_delta (entry, MACH_PORT_RIGHT_DEAD_NAME, -1);
    return KERN_INVALID_RIGHT;
}

kern_return_t
ipc_right_delta (struct ipc_entry *entry, mach_port_right_t right, mach_port_delta_t delta)
{
    if (right >= MACH_PORT_RIGHT_NUMBER)
        return KERN_INVALID_VALUE;
    if (!(entry->type & MACH_PORT_TYPE (right)))
        return KERN_INVALID_RIGHT;

    if (right != MACH_PORT_RIGHT_SEND && right != MACH_PORT_RIGHT_DEAD_NAME) {
        /* These exist once. */
        if (delta == 0)
            return KERN_SUCCESS;
        if (delta != -1)
            return KERN_INVALID_VALUE;
        if (right == MACH_PORT_RIGHT_RECEIVE)
            drop_receive (entry);
        else if (right == MACH_PORT_RIGHT_SEND_ONCE)
            drop_send_once (entry);
        else
            drop_set (entry);
        return KERN_SUCCESS;
    }

    int64_t urefs = (int64_t) entry->urefs + delta;
    if (urefs < 0)
        return KERN_INVALID_VALUE;
    if (urefs > IPC_UREFS_MAX)
        return KERN_UREFS_OVERFLOW;
    if (urefs != 0)
        entry->urefs = (mach_port_urefs_t) urefs;
    else if (right == MACH_PORT_RIGHT_SEND)
        drop_send (entry);
    else
        ipc_right_remove (entry);
    return KERN_SUCCESS;
}
