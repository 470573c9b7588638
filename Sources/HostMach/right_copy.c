/* right_copy.c: rights between a task's names and messages.

   Copying in takes a right from a name, as one of the six dispositions says; it allocates nothing. Copying out gives a right to a
   task under the name it has for that port already, or a new one. A right whose port dies on the way comes out as
   MACH_PORT_DEAD. */

#include "internal.h"

mach_msg_type_name_t
ipc_right_received_type (mach_msg_type_name_t disposition)
{
    switch (disposition) {
    case MACH_MSG_TYPE_MOVE_RECEIVE:
        return MACH_MSG_TYPE_PORT_RECEIVE;
    case MACH_MSG_TYPE_MOVE_SEND:
    case MACH_MSG_TYPE_COPY_SEND:
    case MACH_MSG_TYPE_MAKE_SEND:
        return MACH_MSG_TYPE_PORT_SEND;
    case MACH_MSG_TYPE_MOVE_SEND_ONCE:
    case MACH_MSG_TYPE_MAKE_SEND_ONCE:
        return MACH_MSG_TYPE_PORT_SEND_ONCE;
    default:
        return disposition;
    }
}

bool
ipc_right_copyin_possible (const struct ipc_entry *entry, mach_msg_type_name_t disposition, bool dead_ok)
{
    switch (disposition) {
    case MACH_MSG_TYPE_MAKE_SEND:
    case MACH_MSG_TYPE_MAKE_SEND_ONCE:
    case MACH_MSG_TYPE_MOVE_RECEIVE:
        return (entry->type & MACH_PORT_TYPE_RECEIVE) != 0;
    case MACH_MSG_TYPE_COPY_SEND:
    case MACH_MSG_TYPE_MOVE_SEND:
        return (entry->type & MACH_PORT_TYPE_SEND) != 0 || (dead_ok && entry->type == MACH_PORT_TYPE_DEAD_NAME);
    case MACH_MSG_TYPE_MOVE_SEND_ONCE:
        return entry->type == MACH_PORT_TYPE_SEND_ONCE || (dead_ok && entry->type == MACH_PORT_TYPE_DEAD_NAME);
    default:
        return false;
    }
}

static void
move_receive (struct ipc_entry *entry, struct ipc_port *port)
{
    ipc_port_clear_receiver (port);
    if (entry->type & MACH_PORT_TYPE_SEND) {
        entry->type &= ~MACH_PORT_TYPE_RECEIVE;
        ipc_port_ref (port);
    } else {
        ipc_right_remove (entry);
    }
}

static void
move_send (struct ipc_entry *entry, struct ipc_port *port)
{
    if (entry->urefs > 1) {
        entry->urefs--;
        port->srights++;
        ipc_port_ref (port);
    } else if (entry->type & MACH_PORT_TYPE_RECEIVE) {
        entry->type &= ~MACH_PORT_TYPE_SEND;
        entry->urefs = 0;
        ipc_port_ref (port);
    } else {
        ipc_right_remove (entry);
    }
}

kern_return_t
ipc_right_copyin (struct ipc_entry *entry, mach_msg_type_name_t disposition, bool dead_ok, struct ipc_right *right)
{
    if (!ipc_right_copyin_possible (entry, disposition, dead_ok))
        return KERN_INVALID_RIGHT;
    right->type = ipc_right_received_type (disposition);
    if (entry->type == MACH_PORT_TYPE_DEAD_NAME) {
        if (disposition != MACH_MSG_TYPE_COPY_SEND)
            ipc_right_delta (entry, MACH_PORT_RIGHT_DEAD_NAME, -1);
        right->port = IP_DEAD;
        return KERN_SUCCESS;
    }

    struct ipc_port *port = entry->port;
    right->port = port;
    switch (disposition) {
    case MACH_MSG_TYPE_MAKE_SEND:
        port->mscount++;
        port->srights++;
        ipc_port_ref (port);
        break;
    case MACH_MSG_TYPE_COPY_SEND:
        port->srights++;
        ipc_port_ref (port);
        break;
    case MACH_MSG_TYPE_MAKE_SEND_ONCE:
        port->sorights++;
        ipc_port_ref (port);
        break;
    case MACH_MSG_TYPE_MOVE_SEND:
        move_send (entry, port);
        break;
    case MACH_MSG_TYPE_MOVE_SEND_ONCE:
        ipc_right_remove (entry);
        break;
    case MACH_MSG_TYPE_MOVE_RECEIVE:
        move_receive (entry, port);
        break;
    }
    return KERN_SUCCESS;
}

kern_return_t
ipc_right_copyin_name (struct hostmach_task *task, mach_port_name_t name, mach_msg_type_name_t disposition,
                       bool dead_ok, struct ipc_right *right)
{
    if (!MACH_PORT_VALID (name)) {
        right->port = name == MACH_PORT_NULL ? IP_NULL : IP_DEAD;
        right->type = ipc_right_received_type (disposition);
        return KERN_SUCCESS;
    }
    struct ipc_entry *entry = ipc_entry_lookup (task, name);
    return entry == NULL ? KERN_INVALID_NAME : ipc_right_copyin (entry, disposition, dead_ok, right);
}

void
ipc_right_make_receive (struct ipc_entry *entry, struct ipc_port *port)
{
    entry->type |= MACH_PORT_TYPE_RECEIVE;
    port->receiver = entry->task;
    port->receiver_entry = entry;
    if (port->destination != NULL)
        ipc_port_set_destination (port, NULL);
}

/* The right joins an entry that the task has for its port. */
static void
coalesce (struct ipc_entry *entry, struct ipc_right right)
{
    struct ipc_port *port = right.port;
    if (right.type == MACH_MSG_TYPE_PORT_RECEIVE) {
        ipc_right_make_receive (entry, port);
    } else if (entry->type & MACH_PORT_TYPE_SEND) {
        if (entry->urefs < IPC_UREFS_MAX)
            entry->urefs++;
        port->srights--;
    } else {
        entry->type |= MACH_PORT_TYPE_SEND;
        entry->urefs = 1;
    }
    ipc_port_release (port);
}

static void
fill (struct ipc_entry *entry, struct ipc_right right)
{
    struct ipc_port *port = right.port;
    entry->port = port;
    switch (right.type) {
    case MACH_MSG_TYPE_PORT_RECEIVE:
        LIST_INSERT_HEAD (&port->entries, entry, port_link);
        ipc_right_make_receive (entry, port);
        break;
    case MACH_MSG_TYPE_PORT_SEND:
        LIST_INSERT_HEAD (&port->entries, entry, port_link);
        entry->type = MACH_PORT_TYPE_SEND;
        entry->urefs = 1;
        break;
    default:
        LIST_INSERT_HEAD (&port->once_entries, entry, port_link);
        entry->type = MACH_PORT_TYPE_SEND_ONCE;
        entry->urefs = 1;
        break;
    }
}

kern_return_t
ipc_right_copyout (struct hostmach_task *task, struct ipc_right right, mach_port_name_t *name)
{
    if (!IP_VALID (right.port)) {
        *name = right.port == IP_NULL ? MACH_PORT_NULL : MACH_PORT_DEAD;
        return KERN_SUCCESS;
    }
    if (!right.port->active) {
        ipc_right_release (right);
        *name = MACH_PORT_DEAD;
        return KERN_SUCCESS;
    }
    struct ipc_entry *entry = NULL;
    if (right.type != MACH_MSG_TYPE_PORT_SEND_ONCE)
        entry = ipc_port_entry (right.port, task);
    if (entry != NULL) {
        *name = entry->name;
        coalesce (entry, right);
        return KERN_SUCCESS;
    }
    kern_return_t kr = ipc_entry_alloc (task, &entry);
    if (kr == KERN_SUCCESS) {
        fill (entry, right);
        *name = entry->name;
    }
    return kr;
}

kern_return_t
ipc_right_copyout_name (struct hostmach_task *task, struct ipc_right right, mach_port_name_t name)
{
    if (!IP_VALID (right.port) || !right.port->active)
        return KERN_INVALID_CAPABILITY;
    struct ipc_entry *entry = NULL;
    if (right.type != MACH_MSG_TYPE_PORT_SEND_ONCE)
        entry = ipc_port_entry (right.port, task);
    if (entry != NULL) {
        if (entry->name != name)
            return KERN_RIGHT_EXISTS;
        if (right.type == MACH_MSG_TYPE_PORT_SEND && (entry->type & MACH_PORT_TYPE_SEND)
            && entry->urefs == IPC_UREFS_MAX)
            return KERN_UREFS_OVERFLOW;
        coalesce (entry, right);
        return KERN_SUCCESS;
    }
    kern_return_t kr = ipc_entry_alloc_name (task, name, &entry);
    if (kr == KERN_SUCCESS)
        fill (entry, right);
    return kr;
}

void
ipc_right_release (struct ipc_right right)
{
    if (!IP_VALID (right.port))
        return;
    switch (right.type) {
    case MACH_MSG_TYPE_PORT_SEND:
        ipc_port_release_send (right.port);
        break;
    case MACH_MSG_TYPE_PORT_SEND_ONCE:
        ipc_port_release_send_once (right.port);
        break;
    default:
        if (right.port->destination != NULL)
            ipc_port_set_destination (right.port, NULL);
        ipc_port_destroy (right.port);
        break;
    }
}
