/* notify.c: messages of the kernel to those who asked for them, as notify.defs lays them out.

   A request is the finished message, made when it is registered and holding the send-once right it goes to. So a
   notification never fails for want of memory, except "send once", which nobody registers: it is dropped then, as in Mach.
   Notifications ignore queue limits. */

#include "internal.h"

#include <mach/notify.h>
#include <string.h>

struct ipc_kmsg *
ipc_notify_prepare (void)
{
    struct ipc_kmsg *kmsg = ipc_kmsg_alloc (IPC_KMSG_BYTES);
    if (kmsg == NULL)
        return NULL;
    memset (kmsg->body, 0, sizeof (mach_dead_name_notification_t));
    return kmsg;
}

static const mach_msg_type_t number_type = {
    .msgt_name = MACH_MSG_TYPE_INTEGER_32, .msgt_size = 32, .msgt_number = 1, .msgt_inline = TRUE,
};

static void
send (struct ipc_kmsg *kmsg, mach_msg_id_t id, mach_msg_size_t size)
{
    mach_msg_header_t *header = ipc_kmsg_header (kmsg);
    kmsg->size = size;
    header->msgh_size = size;
    header->msgh_id = id;
    if (kmsg->dest.port->active)
        ipc_mqueue_send (kmsg);
    else
        ipc_kmsg_destroy (kmsg);
}

static void
send_with_name (struct ipc_kmsg *kmsg, mach_msg_id_t id, mach_port_name_t name)
{
    mach_dead_name_notification_t *notification = (void *) kmsg->body;
    notification->not_type = number_type;
    notification->not_type.msgt_name = MACH_MSG_TYPE_PORT_NAME;
    notification->not_port = name;
    send (kmsg, id, sizeof *notification);
}

void
ipc_notify_dead_name (struct ipc_kmsg *kmsg, mach_port_name_t name)
{
    send_with_name (kmsg, MACH_NOTIFY_DEAD_NAME, name);
}

void
ipc_notify_port_deleted (struct ipc_kmsg *kmsg, mach_port_name_t name)
{
    send_with_name (kmsg, MACH_NOTIFY_PORT_DELETED, name);
}

void
ipc_notify_no_senders (struct ipc_kmsg *kmsg, mach_port_mscount_t mscount)
{
    mach_no_senders_notification_t *notification = (void *) kmsg->body;
    notification->not_type = number_type;
    notification->not_count = mscount;
    send (kmsg, MACH_NOTIFY_NO_SENDERS, sizeof *notification);
}

/* Takes the receive right's reference. */
void
ipc_notify_port_destroyed (struct ipc_kmsg *kmsg, struct ipc_port *port)
{
    mach_port_destroyed_notification_t *notification = (void *) kmsg->body;
    notification->not_header.msgh_bits = MACH_MSGH_BITS_COMPLEX;
    notification->not_type = number_type;
    notification->not_type.msgt_name = MACH_MSG_TYPE_PORT_RECEIVE;
    struct ipc_item *item = ipc_kmsg_add_item (kmsg); /* there is room: no allocation */
    item->kind = IPC_ITEM_PORT;
    item->offset = offsetof (mach_port_destroyed_notification_t, not_port);
    item->right = (struct ipc_right) { port, MACH_MSG_TYPE_PORT_RECEIVE };
    ipc_port_set_destination (port, kmsg->dest.port);
    send (kmsg, MACH_NOTIFY_PORT_DESTROYED, sizeof *notification);
}

/* Sends to the port whose send-once right goes, with that right. */
void
ipc_notify_send_once (struct ipc_port *port)
{
    struct ipc_kmsg *kmsg = ipc_notify_prepare ();
    if (kmsg == NULL) {
        ipc_port_use_send_once (port);
        return;
    }
    kmsg->dest = (struct ipc_right) { port, MACH_MSG_TYPE_PORT_SEND_ONCE };
    send (kmsg, MACH_NOTIFY_SEND_ONCE, sizeof (mach_send_once_notification_t));
}
