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
    mach_port_t name = ((struct port_info *) port_info)->port_right;
    return MACH_PORT_VALID(name) ? name : MACH_PORT_NULL;
}

kern_return_t
pager_install_port(void *port_info, const struct port_bucket *bucket)
{
    mach_port_t name = pager_port_of(port_info);
    /* The Hurd's libports has put the port's address on it, which its own threads may trust, since it keeps a port in memory until all of
       them have looked away. Ours are not among those: messages for a pager come with its name.  */
    mach_port_clear_protected_payload(mach_task_self(), name);
    return mach_port_move_member(mach_task_self(), name, bucket->portset);
}

void
pager_destroy_right(void *port_info)
{
    /* Not ports_destroy_right: the Hurd's puts off giving up the right's reference until its own threads on the bucket have looked
       away, and there are none.  */
    if (!MACH_PORT_VALID(pager_port_of(port_info)))
        return;
    mach_port_t name = ports_claim_right(port_info);
    if (MACH_PORT_VALID(name))
        pager_drop_receive_right(name);
}

/* Another port's message: who serves it knows what to do with it.  */
static int
has_payload(const mach_msg_header_t *message)
{
    return MACH_MSGH_BITS_LOCAL(message->msgh_bits) == MACH_MSG_TYPE_PROTECTED_PAYLOAD;
}

void *
pager_message_object(struct port_bucket *bucket, struct port_class *class, const mach_msg_header_t *message)
{
    return has_payload(message) ? NULL : ports_lookup_port(bucket, message->msgh_local_port, class);
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
