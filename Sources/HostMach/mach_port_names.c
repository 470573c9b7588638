/* mach_port_names.c: calls of mach_port.defs on names and their reference counts. */

#include "internal.h"

/* Finds the entry; on success the lock is held. */
static kern_return_t
find (mach_port_t task, mach_port_name_t name, struct ipc_entry **entry)
{
    ipc_lock ();
    struct hostmach_task *space = hostmach_task_named (task);
    *entry = space != NULL ? ipc_entry_lookup (space, name) : NULL;
    if (*entry != NULL)
        return KERN_SUCCESS;
    ipc_unlock ();
    return space == NULL ? KERN_INVALID_TASK : KERN_INVALID_NAME;
}

static bool
reserved (mach_port_name_t name)
{
    return name == IPC_NAME_TASK_SELF || name == IPC_NAME_HOST_SELF;
}

static mach_port_type_t
type_of (const struct ipc_entry *entry)
{
    return entry->type | (entry->dnrequest != NULL ? MACH_PORT_TYPE_DNREQUEST : 0);
}

kern_return_t
mach_port_names (mach_port_t task, mach_port_name_array_t *names, mach_msg_type_number_t *namesCnt,
                 mach_port_type_array_t *types, mach_msg_type_number_t *typesCnt)
{
    size_t room = 0;
    vm_address_t name_pages = 0, type_pages = 0;
    for (;;) {
        ipc_lock ();
        struct hostmach_task *space = hostmach_task_named (task);
        size_t count = space != NULL ? space->entry_count : 0;
        if (space != NULL && count <= room) {
            size_t n = 0;
            for (size_t i = 0; i < space->bucket_count; i++)
                for (struct ipc_entry *entry = space->buckets[i]; entry != NULL; entry = entry->hash_next, n++) {
                    ((mach_port_name_t *) name_pages)[n] = entry->name;
                    ((mach_port_type_t *) type_pages)[n] = type_of (entry);
                }
        }
        ipc_unlock ();
        if (space != NULL && count <= room) {
            *names = (mach_port_name_array_t) name_pages;
            *types = (mach_port_type_array_t) type_pages;
            *namesCnt = *typesCnt = (mach_msg_type_number_t) count;
            /* The caller releases what the counts say; the rest is ours. */
            vm_size_t used = (count * sizeof (mach_port_name_t) + vm_page_size - 1) & ~(vm_page_size - 1);
            vm_size_t had = room * sizeof (mach_port_name_t);
            if (used < had) {
                vm_pages_put (name_pages + used, had - used);
                vm_pages_put (type_pages + used, had - used);
            }
            return KERN_SUCCESS;
        }
        if (room != 0) {
            vm_pages_put (name_pages, room * sizeof (mach_port_name_t));
            vm_pages_put (type_pages, room * sizeof (mach_port_name_t));
        }
        if (space == NULL)
            return KERN_INVALID_TASK;
        vm_size_t size = (count * sizeof (mach_port_name_t) + vm_page_size - 1) & ~(vm_page_size - 1);
        name_pages = vm_pages_get (size, true);
        type_pages = name_pages != 0 ? vm_pages_get (size, true) : 0;
        if (type_pages == 0) {
            if (name_pages != 0)
                vm_pages_put (name_pages, size);
            return KERN_RESOURCE_SHORTAGE;
        }
        room = size / sizeof (mach_port_name_t);
    }
}

kern_return_t
mach_port_type (mach_port_t task, mach_port_name_t name, mach_port_type_t *ptype)
{
    struct ipc_entry *entry;
    if (reserved (name)) {
        *ptype = MACH_PORT_TYPE_SEND;
        return KERN_SUCCESS;
    }
    kern_return_t kr = find (task, name, &entry);
    if (kr != KERN_SUCCESS)
        return kr;
    *ptype = type_of (entry);
    ipc_unlock ();
    return KERN_SUCCESS;
}

kern_return_t
mach_port_rename (mach_port_t task, mach_port_name_t old_name, mach_port_name_t new_name)
{
    struct ipc_entry *entry;
    if (!MACH_PORT_VALID (new_name))
        return KERN_INVALID_VALUE;
    kern_return_t kr = find (task, old_name, &entry);
    if (kr != KERN_SUCCESS)
        return kr;
    kr = ipc_entry_rename (entry, new_name);
    ipc_unlock ();
    return kr;
}

static kern_return_t
allocate (mach_port_t task, mach_port_right_t right, mach_port_name_t *name, bool by_name)
{
    struct ipc_port *port = NULL;
    struct ipc_pset *pset = NULL;
    struct ipc_entry *entry;
    if (right != MACH_PORT_RIGHT_RECEIVE && right != MACH_PORT_RIGHT_PORT_SET && right != MACH_PORT_RIGHT_DEAD_NAME)
        return KERN_INVALID_VALUE;
    if (by_name && !MACH_PORT_VALID (*name))
        return KERN_INVALID_VALUE;

    kern_return_t kr = KERN_SUCCESS;
    if (right == MACH_PORT_RIGHT_RECEIVE)
        kr = (port = ipc_port_alloc ()) != NULL ? KERN_SUCCESS : KERN_RESOURCE_SHORTAGE;
    else if (right == MACH_PORT_RIGHT_PORT_SET)
        kr = (pset = ipc_pset_alloc ()) != NULL ? KERN_SUCCESS : KERN_RESOURCE_SHORTAGE;
    if (kr != KERN_SUCCESS)
        return kr;

    ipc_lock ();
    struct hostmach_task *space = hostmach_task_named (task);
    if (space == NULL)
        kr = KERN_INVALID_TASK;
    else
        kr = by_name ? ipc_entry_alloc_name (space, *name, &entry) : ipc_entry_alloc (space, &entry);
    if (kr != KERN_SUCCESS) {
        if (port != NULL)
            ipc_port_destroy (port);
        if (pset != NULL)
            ipc_pset_destroy (pset);
    } else {
        *name = entry->name;
        if (port != NULL) {
            entry->port = port;
            LIST_INSERT_HEAD (&port->entries, entry, port_link);
            ipc_right_make_receive (entry, port);
        } else if (pset != NULL) {
            entry->type = MACH_PORT_TYPE_PORT_SET;
            entry->pset = pset;
            pset->task = space;
            pset->entry = entry;
        } else {
            entry->type = MACH_PORT_TYPE_DEAD_NAME;
            entry->urefs = 1;
        }
    }
    ipc_unlock ();
    return kr;
}

kern_return_t
mach_port_allocate_name (mach_port_t task, mach_port_right_t right, mach_port_name_t name)
{
    return allocate (task, right, &name, true);
}

kern_return_t
mach_port_allocate (mach_port_t task, mach_port_right_t right, mach_port_name_t *name)
{
    return allocate (task, right, name, false);
}

mach_port_t
mach_reply_port (void)
{
    mach_port_name_t name;
    return allocate (mach_task_self (), MACH_PORT_RIGHT_RECEIVE, &name, false) == KERN_SUCCESS ? name
                                                                                               : MACH_PORT_NULL;
}

kern_return_t
mach_port_destroy (mach_port_t task, mach_port_name_t name)
{
    struct ipc_entry *entry;
    if (reserved (name))
        return KERN_SUCCESS;
    kern_return_t kr = find (task, name, &entry);
    if (kr != KERN_SUCCESS)
        return kr;
    ipc_right_destroy (entry);
    ipc_unlock ();
    return KERN_SUCCESS;
}

kern_return_t
mach_port_deallocate (mach_port_t task, mach_port_name_t name)
{
    struct ipc_entry *entry;
    if (reserved (name))
        return KERN_SUCCESS;
    kern_return_t kr = find (task, name, &entry);
    if (kr != KERN_SUCCESS)
        return kr;
    kr = ipc_right_deallocate (entry);
    ipc_unlock ();
    return kr;
}

kern_return_t
mach_port_get_refs (mach_port_t task, mach_port_name_t name, mach_port_right_t right, mach_port_urefs_t *refs)
{
    struct ipc_entry *entry;
    if (right >= MACH_PORT_RIGHT_NUMBER)
        return KERN_INVALID_VALUE;
    kern_return_t kr = find (task, name, &entry);
    if (kr != KERN_SUCCESS)
        return kr;
    if (!(entry->type & MACH_PORT_TYPE (right)))
        *refs = 0;
    else if (right == MACH_PORT_RIGHT_SEND || right == MACH_PORT_RIGHT_DEAD_NAME)
        *refs = entry->urefs;
    else
        *refs = 1;
    ipc_unlock ();
    return KERN_SUCCESS;
}

kern_return_t
mach_port_mod_refs (mach_port_t task, mach_port_name_t name, mach_port_right_t right, mach_port_delta_t delta)
{
    struct ipc_entry *entry;
    if (right >= MACH_PORT_RIGHT_NUMBER)
        return KERN_INVALID_VALUE;
    if (reserved (name) && right == MACH_PORT_RIGHT_SEND)
        return KERN_SUCCESS;
    kern_return_t kr = find (task, name, &entry);
    if (kr != KERN_SUCCESS)
        return kr;
    kr = ipc_right_delta (entry, right, delta);
    ipc_unlock ();
    return kr;
}
