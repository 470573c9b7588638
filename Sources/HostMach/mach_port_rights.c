/* mach_port_rights.c: calls of mach_port.defs that take or give rights: notification requests, insert, extract.

   In real Mach these rights travel in the message of the call. Here the call takes them directly, and a request that is
   refused for its own arguments leaves the notify right with the caller. */

#include "internal.h"

/* What may be asked of this name. *slot: where the request is kept; NULL: send at once. */
static kern_return_t
check_request (struct ipc_entry *entry, mach_msg_id_t id, mach_port_mscount_t sync, mach_port_t notify,
               struct ipc_kmsg ***slot)
{
    *slot = NULL;
    switch (id) {
    case MACH_NOTIFY_PORT_DESTROYED:
        if (sync != 0)
            return KERN_INVALID_VALUE;
        if (!(entry->type & MACH_PORT_TYPE_RECEIVE))
            return KERN_INVALID_RIGHT;
        *slot = &entry->port->pdrequest;
        return KERN_SUCCESS;
    case MACH_NOTIFY_NO_SENDERS:
        if (!(entry->type & MACH_PORT_TYPE_RECEIVE))
            return KERN_INVALID_RIGHT;
        *slot = &entry->port->nsrequest;
        return KERN_SUCCESS;
    case MACH_NOTIFY_DEAD_NAME:
        if (entry->type & MACH_PORT_TYPE_PORT_RIGHTS) {
            *slot = &entry->dnrequest;
            return KERN_SUCCESS;
        }
        if (entry->type != MACH_PORT_TYPE_DEAD_NAME)
            return KERN_INVALID_RIGHT;
        if (sync == 0 || notify == MACH_PORT_NULL)
            return KERN_INVALID_ARGUMENT;
        return entry->urefs == IPC_UREFS_MAX ? KERN_UREFS_OVERFLOW : KERN_SUCCESS;
    default:
        return KERN_INVALID_VALUE;
    }
}

kern_return_t
mach_port_request_notification (mach_port_t task, mach_port_name_t name, mach_msg_id_t id, mach_port_mscount_t sync,
                                mach_port_t notify, mach_msg_type_name_t notifyPoly, mach_port_t *previous)
{
    struct ipc_kmsg *kmsg = NULL, **slot;
    kern_return_t kr = KERN_SUCCESS;
    if (notify == MACH_PORT_DEAD
        || (notify != MACH_PORT_NULL && ipc_right_received_type (notifyPoly) != MACH_MSG_TYPE_PORT_SEND_ONCE))
        return KERN_INVALID_CAPABILITY;
    if (notify != MACH_PORT_NULL && (kmsg = ipc_notify_prepare ()) == NULL)
        return KERN_RESOURCE_SHORTAGE;

    ipc_lock ();
    struct hostmach_task *space = hostmach_task_named (task);
    struct ipc_entry *entry = space != NULL ? ipc_entry_lookup (space, name) : NULL;
    if (entry == NULL)
        kr = space == NULL ? KERN_INVALID_TASK : KERN_INVALID_NAME;
    else
        kr = check_request (entry, id, sync, notify, &slot);
    if (kr == KERN_SUCCESS && kmsg != NULL) {
        /* Taking the notify right must not take away the name that is asked about. */
        struct ipc_entry *taken = ipc_entry_lookup (space, notify);
        if (taken == NULL || !ipc_right_copyin_possible (taken, notifyPoly, false)
            || (taken == entry && notifyPoly == MACH_MSG_TYPE_MOVE_SEND_ONCE))
            kr = MACH_SEND_INVALID_RIGHT;
    }
    if (kr == KERN_SUCCESS) {
        *previous = MACH_PORT_NULL;
        if (slot != NULL && *slot != NULL) {
            kr = ipc_right_copyout (space, (*slot)->dest, previous);
            if (kr == KERN_SUCCESS) {
                ipc_kmsg_free (*slot);
                *slot = NULL;
            }
        }
    }
    if (kr == KERN_SUCCESS && kmsg != NULL) {
        ipc_right_copyin_name (space, notify, notifyPoly, false, &kmsg->dest);
        if (slot == NULL) {
            entry->urefs++;
            ipc_notify_dead_name (kmsg, name);
        } else if (id == MACH_NOTIFY_NO_SENDERS && entry->port->srights == 0 && sync <= entry->port->mscount) {
            ipc_notify_no_senders (kmsg, entry->port->mscount);
        } else {
            *slot = kmsg;
        }
        kmsg = NULL;
    }
    ipc_unlock ();
    if (kmsg != NULL)
        ipc_kmsg_free (kmsg);
    return kr;
}

kern_return_t
mach_port_insert_right (mach_port_t task, mach_port_name_t name, mach_port_t poly, mach_msg_type_name_t polyPoly)
{
    if (!MACH_PORT_VALID (name) || !MACH_MSG_TYPE_PORT_ANY (polyPoly))
        return KERN_INVALID_VALUE;
    if (!MACH_PORT_VALID (poly))
        return KERN_INVALID_CAPABILITY;
    struct ipc_right right;
    ipc_lock ();
    struct hostmach_task *space = hostmach_task_named (task);
    kern_return_t kr = space == NULL ? KERN_INVALID_TASK
                                     : ipc_right_copyin_name (space, poly, polyPoly, true, &right);
    /* A dead name that is moved is used up, as in a message.  */
    if (kr == KERN_SUCCESS && right.port == IP_DEAD) {
        kr = KERN_INVALID_CAPABILITY;
    } else if (kr == KERN_SUCCESS) {
        kr = ipc_right_copyout_name (space, right, name);
        if (kr != KERN_SUCCESS)
            ipc_right_release (right);
    }
    ipc_unlock ();
    return kr;
}

kern_return_t
mach_port_extract_right (mach_port_t task, mach_port_name_t name, mach_msg_type_name_t msgt_name, mach_port_t *poly,
                         mach_msg_type_name_t *polyPoly)
{
    if (!MACH_MSG_TYPE_PORT_ANY (msgt_name))
        return KERN_INVALID_VALUE;
    struct ipc_right right;
    ipc_lock ();
    struct hostmach_task *space = hostmach_task_named (task);
    struct ipc_entry *entry = space != NULL ? ipc_entry_lookup (space, name) : NULL;
    kern_return_t kr;
    if (entry == NULL)
        kr = space == NULL ? KERN_INVALID_TASK : KERN_INVALID_NAME;
    else
        kr = ipc_right_copyin (entry, msgt_name, true, &right);
    if (kr == KERN_SUCCESS) {
        kr = ipc_right_copyout (space, right, poly);
        if (kr == KERN_SUCCESS)
            *polyPoly = right.type;
        else
            ipc_right_release (right);
    }
    ipc_unlock ();
    return kr;
}
