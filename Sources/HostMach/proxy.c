/* proxy.c: memory objects that stand for a window of another, with less protection.

   A proxy is a port whose receive right the kernel holds; it lives as long as send rights to it do. It holds a send right to
   the object itself: a proxy of a proxy is folded when it is made, so there are no chains. */

#include "internal.h"

#include <string.h>

struct ipc_proxy {
    struct ipc_right object;
    vm_prot_t max_protection;
    vm_offset_t start;
    vm_size_t length;
};

void
ipc_proxy_no_senders (struct ipc_port *port)
{
    struct ipc_proxy *proxy = port->proxy;
    port->proxy = NULL;
    ipc_right_release (proxy->object);
    ipc_free (proxy);
    ipc_port_destroy (port);
}

/* Another send right to the same port. */
static struct ipc_right
copy_send (struct ipc_right right)
{
    if (IP_VALID (right.port)) {
        right.port->srights++;
        ipc_port_ref (right.port);
    }
    return right;
}

/* `proxy` describes a window of the proxy in `outer`: make it one of what that stands for. */
static bool
fold (struct ipc_proxy *proxy, const struct ipc_proxy *outer)
{
    if (proxy->start > outer->length)
        return false;
    vm_size_t left = outer->length - proxy->start;
    if (proxy->length > left)
        proxy->length = left;
    if (__builtin_add_overflow (proxy->start, outer->start, &proxy->start))
        return false;
    proxy->max_protection &= outer->max_protection;
    struct ipc_right object = copy_send (outer->object);
    ipc_right_release (proxy->object);
    proxy->object = object;
    return true;
}

kern_return_t
memory_object_create_proxy (mach_port_t task, vm_prot_t max_protection, const memory_object_array_t object,
                            mach_msg_type_name_t objectPoly, mach_msg_type_number_t objectCnt,
                            const vm_offset_array_t offset, mach_msg_type_number_t offsetCnt,
                            const vm_offset_array_t start, mach_msg_type_number_t startCnt,
                            const vm_size_array_t len, mach_msg_type_number_t lenCnt, mach_port_t *proxy_name)
{
    if (objectCnt != 1 || offsetCnt != 1 || startCnt != 1 || lenCnt != 1 || offset[0] != 0
        || start[0] % vm_page_size != 0 || ipc_right_received_type (objectPoly) != MACH_MSG_TYPE_PORT_SEND)
        return KERN_INVALID_ARGUMENT;
    if (!MACH_PORT_VALID (object[0]))
        return KERN_INVALID_NAME;
    struct ipc_proxy *proxy = ipc_alloc (sizeof *proxy);
    struct ipc_port *port = ipc_port_alloc ();
    kern_return_t kr = proxy != NULL && port != NULL ? KERN_SUCCESS : KERN_RESOURCE_SHORTAGE;
    bool taken = false;

    ipc_lock ();
    struct hostmach_task *space = hostmach_task_named (task);
    if (kr == KERN_SUCCESS && space == NULL)
        kr = KERN_INVALID_TASK;
    if (kr == KERN_SUCCESS) {
        *proxy = (struct ipc_proxy) { .max_protection = max_protection, .start = start[0], .length = len[0] };
        kr = ipc_right_copyin_name (space, object[0], objectPoly, false, &proxy->object);
        taken = kr == KERN_SUCCESS;
    }
    if (kr == KERN_SUCCESS && proxy->object.port->proxy != NULL && !fold (proxy, proxy->object.port->proxy))
        kr = KERN_INVALID_ARGUMENT;
    if (kr == KERN_SUCCESS) {
        port->srights++;
        ipc_port_ref (port);
        struct ipc_right right = { port, MACH_MSG_TYPE_PORT_SEND };
        kr = ipc_right_copyout (space, right, proxy_name);
        if (kr == KERN_SUCCESS) {
            port->proxy = proxy;
            proxy = NULL;
            port = NULL;
        } else {
            ipc_right_release (right);
        }
    }
    if (taken && proxy != NULL)
        ipc_right_release (proxy->object);
    if (port != NULL)
        ipc_port_destroy (port);
    ipc_unlock ();
    ipc_free (proxy);
    return kr;
}

kern_return_t
hostmach_proxy_lookup (mach_port_t name, mach_port_t *object, vm_prot_t *max_protection, vm_offset_t *start,
                       vm_size_t *length)
{
    struct hostmach_task *task = hostmach_current ();
    kern_return_t kr = KERN_SUCCESS;
    ipc_lock ();
    struct ipc_entry *entry = task->active ? ipc_entry_lookup (task, name) : NULL;
    if (entry == NULL) {
        kr = KERN_INVALID_NAME;
    } else if (!(entry->type & MACH_PORT_TYPE_SEND) || entry->port->proxy == NULL) {
        kr = KERN_INVALID_ARGUMENT;
    } else {
        const struct ipc_proxy *proxy = entry->port->proxy;
        struct ipc_right right = copy_send (proxy->object);
        kr = ipc_right_copyout (task, right, object);
        if (kr == KERN_SUCCESS) {
            *max_protection = proxy->max_protection;
            *start = proxy->start;
            *length = proxy->length;
        } else {
            ipc_right_release (right);
        }
    }
    ipc_unlock ();
    return kr;
}
