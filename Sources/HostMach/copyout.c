/* copyout.c: from what HostMach keeps to a receiver's message, in place, under the lock.

   Out-of-line memory is at its final address since the message was sent; only rights need names. A right that can get none
   for want of memory is destroyed and its name is MACH_PORT_NULL. */

#include "internal.h"

#include <string.h>

static _Atomic unsigned rights_lost;

unsigned
hostmach_rights_lost (void)
{
    return atomic_load (&rights_lost);
}

/* A right has got no name and goes. */
static mach_msg_return_t
shortage (kern_return_t kr)
{
    atomic_fetch_add (&rights_lost, 1);
    return kr == KERN_NO_SPACE ? MACH_MSG_IPC_SPACE : MACH_MSG_IPC_KERNEL;
}

static mach_msg_return_t
give_right (struct hostmach_task *task, struct ipc_right *right, void *where)
{
    mach_port_name_t name = MACH_PORT_NULL;
    kern_return_t kr = ipc_right_copyout (task, *right, &name);
    if (kr != KERN_SUCCESS) {
        ipc_right_release (*right);
        name = MACH_PORT_NULL;
    }
    right->port = IP_NULL;
    memcpy (where, &name, sizeof name);
    return kr == KERN_SUCCESS ? MACH_MSG_SUCCESS : shortage (kr);
}

static mach_msg_return_t
give_body (struct ipc_kmsg *kmsg, struct hostmach_task *task)
{
    mach_msg_return_t missing = 0;
    for (uint32_t i = 0; i < kmsg->items_used; i++) {
        struct ipc_item *item = &kmsg->items[i];
        if (item->kind == IPC_ITEM_PORT) {
            missing |= give_right (task, &item->right, kmsg->body + item->offset);
        } else if (item->kind == IPC_ITEM_PORTS) {
            for (uint32_t j = 0; j < item->number; j++)
                missing |= give_right (task, &item->rights[j],
                                       (void *) (item->address + j * sizeof (mach_port_name_t)));
            item->number = 0;
        }
    }
    return missing == 0 ? MACH_MSG_SUCCESS : MACH_RCV_BODY_ERROR | missing;
}

/* The message has arrived: its own right to the port is used up. */
static void
consume_dest (struct ipc_kmsg *kmsg)
{
    struct ipc_port *port = kmsg->dest.port;
    kmsg->dest.port = IP_NULL;
    if (kmsg->dest.type == MACH_MSG_TYPE_PORT_SEND)
        ipc_port_release_send (port);
    else
        ipc_port_use_send_once (port);
}

static void
put_dest (struct ipc_kmsg *kmsg, struct hostmach_task *task, mach_msg_type_name_t reply_type,
          mach_msg_header_t *header)
{
    struct ipc_port *port = kmsg->dest.port;
    mach_msg_type_name_t type = kmsg->dest.type;
    header->msgh_protected_payload = 0;
    if (port->has_payload) {
        type = MACH_MSG_TYPE_PROTECTED_PAYLOAD;
        header->msgh_protected_payload = port->payload;
    } else {
        header->msgh_local_port = port->receiver == task ? port->receiver_entry->name : MACH_PORT_NULL;
    }
    header->msgh_bits = (header->msgh_bits & MACH_MSGH_BITS_COMPLEX) | MACH_MSGH_BITS (reply_type, type);
    header->msgh_size = kmsg->size;
}

mach_msg_return_t
ipc_kmsg_copyout (struct ipc_kmsg *kmsg, struct hostmach_task *task)
{
    mach_msg_header_t *header = ipc_kmsg_header (kmsg);
    mach_port_name_t reply;
    kern_return_t kr = ipc_right_copyout (task, kmsg->reply, &reply);
    if (kr != KERN_SUCCESS)
        return MACH_RCV_HEADER_ERROR | shortage (kr);
    kmsg->reply.port = IP_NULL;
    put_dest (kmsg, task, kmsg->reply.type, header);
    header->msgh_remote_port = reply;
    consume_dest (kmsg);
    return give_body (kmsg, task);
}

/* Only the header survives: of a message that is too large for the receiver's buffer, or whose reply right can get no name. The
   caller destroys the rest. */
void
ipc_kmsg_copyout_dest (struct ipc_kmsg *kmsg, struct hostmach_task *task, mach_msg_header_t *header)
{
    *header = *ipc_kmsg_header (kmsg);
    header->msgh_bits = 0;
    put_dest (kmsg, task, 0, header);
    header->msgh_remote_port = MACH_PORT_NULL;
    consume_dest (kmsg);
}

/* Back to the sender, who timed out: he finds in his buffer what he would need to send it again, with rights
   that are moved. */
mach_msg_return_t
ipc_kmsg_copyout_pseudo (struct ipc_kmsg *kmsg, struct hostmach_task *task)
{
    mach_msg_header_t *header = ipc_kmsg_header (kmsg);
    mach_port_name_t dest, reply;
    mach_msg_return_t missing = give_right (task, &kmsg->dest, &dest) | give_right (task, &kmsg->reply, &reply);
    header->msgh_bits = (header->msgh_bits & MACH_MSGH_BITS_COMPLEX) | MACH_MSGH_BITS (kmsg->dest.type, kmsg->reply.type);
    header->msgh_remote_port = dest;
    header->msgh_protected_payload = 0;
    header->msgh_local_port = reply;
    header->msgh_size = kmsg->size;
    return missing | give_body (kmsg, task);
}
