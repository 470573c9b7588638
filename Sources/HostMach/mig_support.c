/* mig_support.c: what MIG's stubs call.

   A thread has a reply port in each of the last few tasks in which it made a synchronous call; the ports go when the
   thread ends, or when their turn in the table comes. */

#include "internal.h"

#include <mach/mig_support.h>
#include <pthread.h>

static pthread_key_t thread_end;

static void
destroy_reply (struct hostmach_reply_slot *slot)
{
    if (slot->serial == 0)
        return;
    ipc_lock ();
    struct hostmach_task *task = hostmach_task_by_serial (slot->serial);
    struct ipc_entry *entry = task != NULL ? ipc_entry_lookup (task, slot->name) : NULL;
    if (entry != NULL && (entry->type & MACH_PORT_TYPE_RECEIVE))
        ipc_right_delta (entry, MACH_PORT_RIGHT_RECEIVE, -1);
    slot->serial = 0;
    ipc_unlock ();
}

static void
destroy_replies (void *thread)
{
    struct hostmach_thread *self = thread;
    for (size_t i = 0; i < HOSTMACH_REPLY_SLOTS; i++)
        destroy_reply (&self->replies[i]);
}

__attribute__ ((constructor (101))) static void
start (void)
{
    pthread_key_create (&thread_end, destroy_replies);
}

static struct hostmach_reply_slot *
slot_of (uint64_t serial)
{
    for (size_t i = 0; i < HOSTMACH_REPLY_SLOTS; i++)
        if (hostmach_thread.replies[i].serial == serial)
            return &hostmach_thread.replies[i];
    return NULL;
}

void
mig_init (void *first)
{
    (void) first;
}

mach_port_t
mig_get_reply_port (void)
{
    uint64_t serial = hostmach_current ()->serial;
    struct hostmach_reply_slot *slot = slot_of (serial);
    if (slot != NULL)
        return slot->name;
    slot = slot_of (0);
    if (slot == NULL) {
        slot = &hostmach_thread.replies[hostmach_thread.next_reply++ % HOSTMACH_REPLY_SLOTS];
        destroy_reply (slot);
    }
    mach_port_t port = mach_reply_port ();
    if (port != MACH_PORT_NULL && pthread_setspecific (thread_end, &hostmach_thread) == 0) {
        slot->serial = serial;
        slot->name = port;
    }
    return port;
}

void
mig_put_reply_port (mach_port_t port)
{
    (void) port;
}

void
mig_dealloc_reply_port (mach_port_t port)
{
    (void) port; /* always the one that mig_get_reply_port gave */
    struct hostmach_reply_slot *slot = slot_of (hostmach_current ()->serial);
    if (slot != NULL)
        destroy_reply (slot);
}

void
mig_allocate (vm_address_t *address, vm_size_t size)
{
    if (vm_allocate (mach_task_self (), address, size, TRUE) != KERN_SUCCESS)
        *address = 0;
}

void
mig_deallocate (vm_address_t address, vm_size_t size)
{
    vm_deallocate (mach_task_self (), address, size);
}

vm_size_t
mig_strncpy (char *destination, const char *source, vm_size_t length)
{
    if (length == 0)
        return 0;
    vm_size_t copied = strnlen (source, length - 1);
    memcpy (destination, source, copied);
    destination[copied] = '\0';
    return copied;
}
