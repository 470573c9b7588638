/* mig.c: mach_msg, and what MIG's stubs call.  */

#include <stdlib.h>
#include <string.h>

#include "internal.h"

#include <mach/mig_support.h>

mach_msg_return_t mach_msg_trap(mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
                                mach_msg_size_t receive_size, mach_port_t receive_name, mach_msg_timeout_t timeout,
                                mach_port_t notify);

mach_msg_return_t mach_msg(mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
                           mach_msg_size_t receive_size, mach_port_t receive_name, mach_msg_timeout_t timeout, mach_port_t notify)
{
    mach_msg_return_t result;
    do
        result = mach_msg_trap(message, option, send_size, receive_size, receive_name, timeout, notify);
    while (result == MACH_SEND_INTERRUPTED && !(option & MACH_SEND_INTERRUPT));
    while (result == MACH_RCV_INTERRUPTED && !(option & MACH_RCV_INTERRUPT))
        result = mach_msg_trap(message, option & ~MACH_SEND_MSG, 0, receive_size, receive_name, timeout, notify);
    return result;
}

void mig_init(void *first)
{
    (void) first;
}

mach_port_t mig_get_reply_port(void)
{
    struct bare_thread *self = bare_first_thread ? bare_first_thread : bare_self();
    if (self->reply_port == MACH_PORT_NULL)
        __atomic_store_n(&self->reply_port, mach_reply_port(), __ATOMIC_RELAXED);
    return self->reply_port;
}

void mig_put_reply_port(mach_port_t port)
{
    (void) port;
}

void mig_dealloc_reply_port(mach_port_t port)
{
    struct bare_thread *self = bare_self();
    (void) port;                        /* always the one that mig_get_reply_port gave */
    /* The call that destroys it needs one, too.  */
    mach_port_t old = self->reply_port;
    __atomic_store_n(&self->reply_port, MACH_PORT_NULL, __ATOMIC_RELAXED);
    mach_port_mod_refs(mach_task_self(), old, MACH_PORT_RIGHT_RECEIVE, -1);
}

void mig_allocate(vm_address_t *address, vm_size_t size)
{
    if (vm_allocate(mach_task_self(), address, size, TRUE) != KERN_SUCCESS)
        *address = 0;
}

void mig_deallocate(vm_address_t address, vm_size_t size)
{
    vm_deallocate(mach_task_self(), address, size);
}

vm_size_t mig_strncpy(char *destination, const char *source, vm_size_t length)
{
    if (length == 0)
        return 0;
    vm_size_t copied = strnlen(source, length - 1);
    memcpy(destination, source, copied);
    destination[copied] = '\0';
    return copied;
}
