/* kmsg.c: the life of a message inside HostMach.

   A kmsg holds the message's bytes and, beside them, the rights (dest, reply, items) and memory (items) that it
   carries. A small message is one allocation. Destroying has two halves: rights under the lock, memory without it. */

#include "internal.h"

#include <string.h>

/* malloc serves blocks of this size from its per-thread cache. */
_Static_assert (sizeof (struct ipc_kmsg) <= 1032 - 16, "a small message should stay small");

struct ipc_kmsg *
ipc_kmsg_alloc (mach_msg_size_t size)
{
    size_t extra = size > IPC_KMSG_BYTES ? size : 0;
    struct ipc_kmsg *kmsg = ipc_alloc (sizeof *kmsg + extra);
    if (kmsg == NULL)
        return NULL;
    memset (kmsg, 0, offsetof (struct ipc_kmsg, some_items));
    /* The struct's size is a multiple of 16, so the bytes after it are aligned. */
    kmsg->body = extra != 0 ? (unsigned char *) (kmsg + 1) : kmsg->some_bytes;
    kmsg->size = size;
    kmsg->items = kmsg->some_items;
    kmsg->items_room = IPC_KMSG_ITEMS;
    return kmsg;
}

struct ipc_item *
ipc_kmsg_add_item (struct ipc_kmsg *kmsg)
{
    if (kmsg->items_used == kmsg->items_room) {
        uint32_t room = kmsg->items_room * 4;
        struct ipc_item *items = ipc_alloc (room * sizeof *items);
        if (items == NULL)
            return NULL;
        memcpy (items, kmsg->items, kmsg->items_used * sizeof *items);
        if (kmsg->items != kmsg->some_items)
            ipc_free (kmsg->items);
        kmsg->items = items;
        kmsg->items_room = room;
    }
    struct ipc_item *item = &kmsg->items[kmsg->items_used++];
    memset (item, 0, sizeof *item);
    return item;
}

void
ipc_kmsg_free (struct ipc_kmsg *kmsg)
{
    for (uint32_t i = 0; i < kmsg->items_used; i++)
        if (kmsg->items[i].kind == IPC_ITEM_PORTS)
            ipc_free (kmsg->items[i].rights);
    if (kmsg->items != kmsg->some_items)
        ipc_free (kmsg->items);
    ipc_free (kmsg);
}

void
ipc_kmsg_free_memory (struct ipc_kmsg *kmsg)
{
    for (uint32_t i = 0; i < kmsg->items_used; i++) {
        struct ipc_item *item = &kmsg->items[i];
        if ((item->kind == IPC_ITEM_MEMORY || item->kind == IPC_ITEM_PORTS) && item->address != 0)
            vm_pages_put (item->address, item->size);
    }
}

void
ipc_kmsg_release_rights (struct ipc_kmsg *kmsg)
{
    ipc_right_release (kmsg->dest);
    kmsg->dest.port = IP_NULL;
    ipc_right_release (kmsg->reply);
    kmsg->reply.port = IP_NULL;
    for (uint32_t i = 0; i < kmsg->items_used; i++) {
        struct ipc_item *item = &kmsg->items[i];
        if (item->kind == IPC_ITEM_PORT) {
            ipc_right_release (item->right);
            item->right.port = IP_NULL;
        } else if (item->kind == IPC_ITEM_PORTS) {
            for (uint32_t j = 0; j < item->number; j++)
                ipc_right_release (item->rights[j]);
            item->number = 0;
        }
    }
}

void
ipc_kmsg_destroy (struct ipc_kmsg *kmsg)
{
    ipc_pending_kmsg_destroy (kmsg);
}
