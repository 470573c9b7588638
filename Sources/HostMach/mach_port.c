/* mach_port.c: calls of mach_port.defs on receive rights and port sets. */

#include "internal.h"

#include <string.h>

/* The entry of a right that has all bits of `type`; on success the lock is held. */
static kern_return_t
find_right (mach_port_t task, mach_port_name_t name, mach_port_type_t type, struct ipc_entry **entry)
{
    ipc_lock ();
    struct hostmach_task *space = hostmach_task_named (task);
    *entry = space != NULL ? ipc_entry_lookup (space, name) : NULL;
    kern_return_t kr = KERN_SUCCESS;
    if (space == NULL)
        kr = KERN_INVALID_TASK;
    else if (*entry == NULL)
        kr = KERN_INVALID_NAME;
    else if (!((*entry)->type & type))
        kr = KERN_INVALID_RIGHT;
    if (kr != KERN_SUCCESS)
        ipc_unlock ();
    return kr;
}

static kern_return_t
find_port (mach_port_t task, mach_port_name_t name, struct ipc_port **port)
{
    struct ipc_entry *entry;
    kern_return_t kr = find_right (task, name, MACH_PORT_TYPE_RECEIVE, &entry);
    if (kr == KERN_SUCCESS)
        *port = entry->port;
    return kr;
}

kern_return_t
mach_port_set_qlimit (mach_port_t task, mach_port_name_t name, mach_port_msgcount_t qlimit)
{
    struct ipc_port *port;
    if (qlimit == 0 || qlimit > MACH_PORT_QLIMIT_MAX)
        return KERN_INVALID_VALUE;
    kern_return_t kr = find_port (task, name, &port);
    if (kr != KERN_SUCCESS)
        return kr;
    if (qlimit > port->qlimit)
        ipc_wake_all (&port->senders, MACH_MSG_SUCCESS);
    port->qlimit = qlimit;
    ipc_unlock ();
    return KERN_SUCCESS;
}

kern_return_t
mach_port_set_mscount (mach_port_t task, mach_port_name_t name, mach_port_mscount_t mscount)
{
    struct ipc_port *port;
    kern_return_t kr = find_port (task, name, &port);
    if (kr != KERN_SUCCESS)
        return kr;
    port->mscount = mscount;
    ipc_unlock ();
    return KERN_SUCCESS;
}

kern_return_t
mach_port_set_seqno (mach_port_t task, mach_port_name_t name, mach_port_seqno_t seqno)
{
    struct ipc_port *port;
    kern_return_t kr = find_port (task, name, &port);
    if (kr != KERN_SUCCESS)
        return kr;
    port->seqno = seqno;
    ipc_unlock ();
    return KERN_SUCCESS;
}

kern_return_t
mach_port_set_protected_payload (mach_port_t task, mach_port_name_t name, natural_t payload)
{
    struct ipc_port *port;
    kern_return_t kr = find_port (task, name, &port);
    if (kr != KERN_SUCCESS)
        return kr;
    port->has_payload = true;
    port->payload = payload;
    ipc_unlock ();
    return KERN_SUCCESS;
}

kern_return_t
mach_port_clear_protected_payload (mach_port_t task, mach_port_name_t name)
{
    struct ipc_port *port;
    kern_return_t kr = find_port (task, name, &port);
    if (kr != KERN_SUCCESS)
        return kr;
    port->has_payload = false;
    ipc_unlock ();
    return KERN_SUCCESS;
}

kern_return_t
mach_port_get_receive_status (mach_port_t task, mach_port_name_t name, mach_port_status_t *status)
{
    struct ipc_port *port;
    kern_return_t kr = find_port (task, name, &port);
    if (kr != KERN_SUCCESS)
        return kr;
    *status = (mach_port_status_t) {
        .mps_pset = port->pset != NULL ? port->pset->entry->name : MACH_PORT_NULL,
        .mps_seqno = port->seqno,
        .mps_mscount = port->mscount,
        .mps_qlimit = port->qlimit,
        .mps_msgcount = port->msgcount,
        .mps_sorights = port->sorights,
        .mps_srights = port->srights != 0,
        .mps_pdrequest = port->pdrequest != NULL,
        .mps_nsrequest = port->nsrequest != NULL,
    };
    ipc_unlock ();
    return KERN_SUCCESS;
}

kern_return_t
mach_port_get_set_status (mach_port_t task, mach_port_name_t name, mach_port_name_array_t *members,
                          mach_msg_type_number_t *membersCnt)
{
    vm_address_t pages = 0;
    vm_size_t size = 0;
    for (;;) {
        struct ipc_entry *entry;
        kern_return_t kr = find_right (task, name, MACH_PORT_TYPE_PORT_SET, &entry);
        size_t count = 0;
        bool done = false;
        if (kr == KERN_SUCCESS) {
            count = entry->pset->member_count;
            done = count * sizeof (mach_port_name_t) <= size;
            if (done) {
                size_t n = 0;
                struct ipc_port *port;
                TAILQ_FOREACH (port, &entry->pset->members, member_link)
                    ((mach_port_name_t *) pages)[n++] = port->receiver_entry->name;
            }
            ipc_unlock ();
        }
        vm_size_t needed = (count * sizeof (mach_port_name_t) + vm_page_size - 1) & ~(vm_page_size - 1);
        if (done) {
            if (needed < size)
                vm_pages_put (pages + needed, size - needed);
            *members = (mach_port_name_array_t) (needed != 0 ? pages : 0);
            *membersCnt = (mach_msg_type_number_t) count;
            return KERN_SUCCESS;
        }
        if (size != 0)
            vm_pages_put (pages, size);
        if (kr != KERN_SUCCESS)
            return kr;
        size = needed;
        pages = vm_pages_get (size, true);
        if (pages == 0)
            return KERN_RESOURCE_SHORTAGE;
    }
}

kern_return_t
mach_port_move_member (mach_port_t task, mach_port_name_t member, mach_port_name_t after)
{
    struct ipc_port *port;
    kern_return_t kr = find_port (task, member, &port);
    if (kr != KERN_SUCCESS)
        return kr;
    if (after == MACH_PORT_NULL) {
        if (port->pset == NULL)
            kr = KERN_NOT_IN_SET;
        else
            ipc_pset_remove (port);
    } else {
        struct ipc_entry *entry = ipc_entry_lookup (port->receiver, after);
        if (entry == NULL) {
            kr = KERN_INVALID_NAME;
        } else if (entry->type != MACH_PORT_TYPE_PORT_SET) {
            kr = KERN_INVALID_RIGHT;
        } else if (port->pset != entry->pset) {
            if (port->pset != NULL)
                ipc_pset_remove (port);
            ipc_pset_add (entry->pset, port);
        }
    }
    ipc_unlock ();
    return kr;
}
