/* message_tools.c: mach_msg_destroy and the server loop. They use Mach's calls only. */

#include <mach.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void
destroy_port (mach_port_t name, mach_msg_type_name_t type)
{
    if (!MACH_PORT_VALID (name))
        return;
    switch (type) {
    case MACH_MSG_TYPE_MOVE_SEND:
    case MACH_MSG_TYPE_MOVE_SEND_ONCE:
        mach_port_deallocate (mach_task_self (), name);
        break;
    case MACH_MSG_TYPE_MOVE_RECEIVE:
        mach_port_mod_refs (mach_task_self (), name, MACH_PORT_RIGHT_RECEIVE, -1);
        break;
    default:
        break; /* rights that sending would have made, not taken */
    }
}

static void
destroy_ports (const unsigned char *names, uint64_t count, mach_msg_type_name_t type)
{
    for (uint64_t i = 0; i < count; i++) {
        mach_port_t name;
        memcpy (&name, names + i * sizeof name, sizeof name);
        destroy_port (name, type);
    }
}

void
mach_msg_destroy (mach_msg_header_t *msg)
{
    destroy_port (msg->msgh_remote_port, MACH_MSGH_BITS_REMOTE (msg->msgh_bits));
    if (!(msg->msgh_bits & MACH_MSGH_BITS_COMPLEX))
        return;
    const unsigned char *at = (const unsigned char *) (msg + 1);
    const unsigned char *end = (const unsigned char *) msg + msg->msgh_size;
    while ((size_t) (end - at) >= sizeof (mach_msg_type_t) && at < end) {
        mach_msg_type_long_t type;
        memcpy (&type.msgtl_header, at, sizeof type.msgtl_header);
        mach_msg_type_name_t name = type.msgtl_header.msgt_name;
        uint64_t bits = type.msgtl_header.msgt_size, number = type.msgtl_header.msgt_number;
        if (type.msgtl_header.msgt_longform) {
            if ((size_t) (end - at) < sizeof type)
                return;
            memcpy (&type, at, sizeof type);
            name = type.msgtl_name;
            bits = type.msgtl_size;
            number = type.msgtl_number;
            at += sizeof type;
        } else {
            at += sizeof type.msgtl_header;
        }
        uint64_t bytes = (bits * number + 7) / 8, padded = (bytes + 3) / 4 * 4;
        if (type.msgtl_header.msgt_inline) {
            if (padded > (uint64_t) (end - at))
                return;
            if (MACH_MSG_TYPE_PORT_ANY (name))
                destroy_ports (at, number, name);
            at += padded;
            continue;
        }
        vm_address_t address;
        if ((size_t) (end - at) < sizeof address)
            return;
        memcpy (&address, at, sizeof address);
        at += sizeof address;
        if (bytes == 0)
            continue;
        if (MACH_MSG_TYPE_PORT_ANY (name))
            destroy_ports ((const unsigned char *) address, number, name);
        vm_deallocate (mach_task_self (), address, bytes);
    }
}

/* What the demultiplexer made of the request: is there a reply to send? */
static bool
reply_due (mach_msg_header_t *request, mig_reply_header_t *reply)
{
    if (!(reply->Head.msgh_bits & MACH_MSGH_BITS_COMPLEX)) {
        if (reply->RetCode == MIG_NO_REPLY) {
            reply->Head.msgh_remote_port = MACH_PORT_NULL;
        } else if (reply->RetCode != KERN_SUCCESS) {
            /* The routine did not take what the request carries; the reply right is needed. */
            request->msgh_remote_port = MACH_PORT_NULL;
            mach_msg_destroy (request);
        }
    }
    return MACH_PORT_VALID (reply->Head.msgh_remote_port);
}

mach_msg_return_t
mach_msg_server_timeout (boolean_t (*demux) (mach_msg_header_t *request, mach_msg_header_t *reply),
                         mach_msg_size_t max_size, mach_port_t rcv_name, mach_msg_option_t option,
                         mach_msg_timeout_t timeout)
{
    mig_reply_header_t *request = malloc (max_size), *reply = malloc (max_size);
    mach_msg_return_t mr = request == NULL || reply == NULL ? MACH_RCV_INVALID_DATA : MACH_MSG_SUCCESS;
    while (mr == MACH_MSG_SUCCESS) {
        mr = mach_msg (&request->Head, MACH_RCV_MSG | (option & MACH_RCV_TIMEOUT), 0, max_size, rcv_name, timeout,
                       MACH_PORT_NULL);
        if (mr != MACH_MSG_SUCCESS)
            break;
        demux (&request->Head, &reply->Head);
        if (!reply_due (&request->Head, reply))
            continue;
        mach_msg_return_t sent = mach_msg (&reply->Head, MACH_SEND_MSG | (option & MACH_SEND_TIMEOUT),
                                           reply->Head.msgh_size, 0, MACH_PORT_NULL, timeout, MACH_PORT_NULL);
        if (sent != MACH_MSG_SUCCESS)
            mach_msg_destroy (&reply->Head); /* the client is gone or full */
    }
    free (request);
    free (reply);
    return mr;
}

mach_msg_return_t
mach_msg_server (boolean_t (*demux) (mach_msg_header_t *request, mach_msg_header_t *reply), mach_msg_size_t max_size,
                 mach_port_t rcv_name)
{
    return mach_msg_server_timeout (demux, max_size, rcv_name, MACH_MSG_OPTION_NONE, MACH_MSG_TIMEOUT_NONE);
}
