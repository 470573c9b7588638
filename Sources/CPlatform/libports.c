/* libports as the engine sees it. Everything here is made of its public interface, and this is the only place that knows the layout of its
   structures: it is compiled with the system's own <hurd/ports.h>, while the engine's object file may come from elsewhere.  */

#include <errno.h>

#include "engine.h"

enum { alignment = 16 };
const size_t pager_port_head_bytes = (sizeof(struct port_info) + alignment - 1) & ~(size_t) (alignment - 1);

_Static_assert(sizeof(struct rpc_info) <= sizeof(struct pager_call), "pager_call is too small for this system's rpc_info");
_Static_assert(_Alignof(struct rpc_info) <= _Alignof(struct pager_call), "pager_call is not aligned enough");

mach_port_t
pager_own_task(void)
{
    return mach_task_self();
}

mach_port_t
pager_bucket_port_set(const struct port_bucket *bucket)
{
    return bucket->portset;
}

mach_port_t
pager_port_of(void *port_info)
{
    return ((struct port_info *) port_info)->port_right;
}

/* The Hurd's libports gives its ports a payload, which then comes in place of the name.  */
static int
has_payload(const mach_msg_header_t *message)
{
    return MACH_MSGH_BITS_LOCAL(message->msgh_bits) == MACH_MSG_TYPE_PROTECTED_PAYLOAD;
}

static void *
by_payload(struct port_bucket *bucket, struct port_class *class, mach_msg_header_t *message)
{
    /* Of any class: whatever port it is, the message gets its name.  */
    struct port_info *port = ports_lookup_payload(bucket, message->msgh_protected_payload, NULL);
    message->msgh_bits = MACH_MSGH_BITS_OTHER(message->msgh_bits)
        | MACH_MSGH_BITS(MACH_MSGH_BITS_REMOTE(message->msgh_bits), MACH_MSG_TYPE_PORT_SEND);
    message->msgh_protected_payload = 0;
    message->msgh_local_port = port ? port->port_right : MACH_PORT_NULL;
    if (!port || port->class == class)
        return port;
    ports_port_deref(port);
    return NULL;
}

void *
pager_message_object(struct port_bucket *bucket, struct port_class *class, mach_msg_header_t *message)
{
    return has_payload(message) ? by_payload(bucket, class, message)
                                : ports_lookup_port(bucket, message->msgh_local_port, class);
}

mach_port_t
pager_message_port(const mach_msg_header_t *message)
{
    return has_payload(message) ? MACH_PORT_NULL : message->msgh_local_port;
}

int
pager_begin_call(void *port, const mach_msg_header_t *message, struct pager_call *call)
{
    error_t error;
    /* Some say so when the thread was cancelled while it waited for the end of an inhibition. The message must be served all the same.  */
    do
        error = ports_begin_rpc(port, message->msgh_id, (struct rpc_info *) (void *) call);
    while (error == EINTR);
    return error;
}

void
pager_end_call(void *port, struct pager_call *call)
{
    ports_end_rpc(port, (struct rpc_info *) (void *) call);
}
