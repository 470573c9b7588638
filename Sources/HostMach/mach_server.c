/* mach_server.c: MIG's server for mach.defs as a port's handler. */

#include <hostmach/mach_server.h>
#include <mach.h>

void
hostmach_mach_server_handler (mach_msg_header_t *msg, void *cookie)
{
    union {
        mig_reply_header_t header;
        char room[8192]; /* the largest reply of mach.defs is a thread's state, 4 KiB */
    } reply;
    (void) cookie;

    boolean_t known = hostmach_mach_server (msg, &reply.header.Head);
    kern_return_t result = KERN_SUCCESS; /* a complex reply has no return code at this place only if it succeeded */
    if (!(reply.header.Head.msgh_bits & MACH_MSGH_BITS_COMPLEX))
        result = reply.header.RetCode;
    mach_port_t reply_port = msg->msgh_remote_port;
    if (!known || (result != KERN_SUCCESS && result != MIG_NO_REPLY)) {
        msg->msgh_remote_port = MACH_PORT_NULL;
        mach_msg_destroy (msg);
    }
    if (!MACH_PORT_VALID (reply_port) || result == MIG_NO_REPLY)
        return;
    mach_msg_return_t mr = mach_msg (&reply.header.Head, MACH_SEND_MSG, reply.header.Head.msgh_size, 0, MACH_PORT_NULL,
                                     MACH_MSG_TIMEOUT_NONE, MACH_PORT_NULL);
    if (mr != MACH_MSG_SUCCESS)
        mach_msg_destroy (&reply.header.Head);
}
