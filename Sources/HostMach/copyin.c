/* copyin.c: from a sender's message to what HostMach keeps.

   Two steps. ipc_kmsg_parse, without the lock, walks the type descriptors, checks every length against the message's size,
   and makes the copies of out-of-line memory; it changes nothing of the sender's, so a message that is malformed or
   names memory that is not there is refused whole. The second step, under the lock, takes the rights: first those of
   the header, all or nothing, then the body's; when a right of the body is refused, what was taken is destroyed, as in Mach.

   Memory that the sender gives away (deallocate) moves without copying if it is page aligned and was allocated by HostMach:
   all tasks share the address space, so moving is a change of hands. */

#include "internal.h"

#include <string.h>

#define WORD 4 /* descriptors and in-line data are padded to this */

struct descriptor {
    mach_msg_type_name_t name;
    uint64_t bits, number; /* of an element; of elements */
    uint64_t bytes;        /* of all elements */
    bool in_line, deallocate;
    size_t size;           /* of the descriptor itself */
};

static mach_msg_return_t
read_descriptor (const unsigned char *at, size_t left, struct descriptor *out)
{
    mach_msg_type_long_t type;
    if (left < sizeof (mach_msg_type_t))
        return MACH_SEND_MSG_TOO_SMALL;
    memcpy (&type.msgtl_header, at, sizeof (mach_msg_type_t));
    const mach_msg_type_t *header = &type.msgtl_header;
    if (header->msgt_unused != 0 || (header->msgt_inline && header->msgt_deallocate))
        return MACH_SEND_INVALID_TYPE;
    out->in_line = header->msgt_inline;
    out->deallocate = header->msgt_deallocate;
    if (header->msgt_longform) {
        if (left < sizeof type)
            return MACH_SEND_MSG_TOO_SMALL;
        memcpy (&type, at, sizeof type);
        if (header->msgt_name != 0 || header->msgt_size != 0 || header->msgt_number != 0)
            return MACH_SEND_INVALID_TYPE;
        out->name = type.msgtl_name;
        out->bits = type.msgtl_size;
        out->number = type.msgtl_number;
        out->size = sizeof type;
    } else {
        out->name = header->msgt_name;
        out->bits = header->msgt_size;
        out->number = header->msgt_number;
        out->size = sizeof (mach_msg_type_t);
    }
    out->bytes = (out->bits * out->number + 7) / 8; /* < 2^48 */
    if (MACH_MSG_TYPE_PORT_ANY (out->name) && out->bits != 8 * sizeof (mach_port_name_t))
        return MACH_SEND_INVALID_TYPE;
    return MACH_MSG_SUCCESS;
}

/* The descriptor as the receiver sees it: rights by what they have become, memory as his to deallocate. */
static void
rewrite_descriptor (unsigned char *at, const struct descriptor *descriptor)
{
    mach_msg_type_long_t type;
    memcpy (&type, at, descriptor->size);
    mach_msg_type_name_t name = ipc_right_received_type (descriptor->name);
    if (descriptor->size == sizeof type)
        type.msgtl_name = (unsigned short) name;
    else
        type.msgtl_header.msgt_name = (unsigned char) name;
    if (!descriptor->in_line)
        type.msgtl_header.msgt_deallocate = TRUE;
    memcpy (at, &type, descriptor->size);
}

static mach_msg_return_t
add_rights (struct ipc_kmsg *kmsg, const struct descriptor *descriptor, size_t offset)
{
    for (uint64_t i = 0; i < descriptor->number; i++) {
        struct ipc_item *item = ipc_kmsg_add_item (kmsg);
        if (item == NULL)
            return MACH_SEND_NO_BUFFER;
        item->kind = IPC_ITEM_PORT;
        item->disposition = (uint16_t) descriptor->name;
        item->offset = (uint32_t) (offset + i * sizeof (mach_port_name_t));
    }
    return MACH_MSG_SUCCESS;
}

static mach_msg_return_t
add_memory (struct ipc_kmsg *kmsg, const struct descriptor *descriptor, size_t offset)
{
    vm_address_t source, first, address = 0;
    vm_size_t length;
    memcpy (&source, kmsg->body + offset, sizeof source);
    if (descriptor->bytes == 0) {
        memcpy (kmsg->body + offset, &address, sizeof address);
        return MACH_MSG_SUCCESS;
    }
    if (!vm_round (source, descriptor->bytes, &first, &length))
        return MACH_SEND_INVALID_MEMORY;

    struct ipc_item *item = ipc_kmsg_add_item (kmsg);
    if (item == NULL)
        return MACH_SEND_NO_BUFFER;
    item->offset = (uint32_t) offset;
    item->size = descriptor->bytes;
    item->source = source;
    item->disposition = (uint16_t) descriptor->name;
    if (descriptor->deallocate && source == first && vm_map_all_set (first, length / vm_page_size, false)) {
        item->moved = true;
        item->address = source;
    } else {
        vm_address_t pages = vm_pages_get (length, false);
        if (pages == 0)
            return MACH_SEND_INVALID_MEMORY | MACH_MSG_VM_KERNEL;
        size_t before = source - first, after = length - before - descriptor->bytes;
        if (!vm_copy_bytes (pages + before, source, descriptor->bytes)) {
            vm_pages_put (pages, length);
            return MACH_SEND_INVALID_MEMORY;
        }
        memset ((void *) pages, 0, before);
        memset ((void *) (pages + length - after), 0, after);
        item->address = pages + before;
        item->release_source = descriptor->deallocate;
    }
    item->kind = IPC_ITEM_MEMORY;
    memcpy (kmsg->body + offset, &item->address, sizeof item->address);

    if (MACH_MSG_TYPE_PORT_ANY (descriptor->name)) {
        item->rights = ipc_alloc (descriptor->number * sizeof *item->rights);
        if (item->rights == NULL)
            return MACH_SEND_NO_BUFFER;
        item->number = (uint32_t) descriptor->number;
        memset (item->rights, 0, descriptor->number * sizeof *item->rights);
        item->kind = IPC_ITEM_PORTS;
    }
    return MACH_MSG_SUCCESS;
}

mach_msg_return_t
ipc_kmsg_parse (struct ipc_kmsg *kmsg)
{
    if (!(ipc_kmsg_header (kmsg)->msgh_bits & MACH_MSGH_BITS_COMPLEX))
        return MACH_MSG_SUCCESS;
    size_t at = sizeof (mach_msg_header_t), end = kmsg->size;
    while (at < end) {
        struct descriptor descriptor;
        mach_msg_return_t mr = read_descriptor (kmsg->body + at, end - at, &descriptor);
        if (mr != MACH_MSG_SUCCESS)
            return mr;
        size_t data = at + descriptor.size, left = end - data;
        uint64_t take = descriptor.in_line ? (descriptor.bytes + WORD - 1) / WORD * WORD : sizeof (vm_address_t);
        if (take > left)
            return MACH_SEND_MSG_TOO_SMALL;
        if (!descriptor.in_line)
            mr = add_memory (kmsg, &descriptor, data);
        else if (MACH_MSG_TYPE_PORT_ANY (descriptor.name))
            mr = add_rights (kmsg, &descriptor, data);
        if (mr != MACH_MSG_SUCCESS)
            return mr;
        rewrite_descriptor (kmsg->body + at, &descriptor);
        at = data + take;
    }
    return MACH_MSG_SUCCESS;
}

/* Frees the copies of a message that is refused. */
void
ipc_kmsg_unparse (struct ipc_kmsg *kmsg)
{
    for (uint32_t i = 0; i < kmsg->items_used; i++) {
        struct ipc_item *item = &kmsg->items[i];
        if ((item->kind == IPC_ITEM_MEMORY || item->kind == IPC_ITEM_PORTS) && !item->moved)
            vm_pages_put (item->address, item->size);
    }
}

bool
ipc_kmsg_has_sources (const struct ipc_kmsg *kmsg)
{
    for (uint32_t i = 0; i < kmsg->items_used; i++)
        if (kmsg->items[i].release_source)
            return true;
    return false;
}

/* Memory that was copied although the sender gave it away. */
void
ipc_kmsg_release_sources (struct ipc_kmsg *kmsg)
{
    for (uint32_t i = 0; i < kmsg->items_used; i++) {
        struct ipc_item *item = &kmsg->items[i];
        if (item->release_source)
            vm_release (item->source, item->size);
        item->release_source = false;
    }
}

mach_msg_return_t
ipc_kmsg_copyin_header (struct ipc_kmsg *kmsg, struct hostmach_task *task)
{
    mach_msg_header_t *header = ipc_kmsg_header (kmsg);
    mach_msg_type_name_t dest_type = MACH_MSGH_BITS_REMOTE (header->msgh_bits);
    mach_msg_type_name_t reply_type = MACH_MSGH_BITS_LOCAL (header->msgh_bits);
    mach_port_name_t dest_name = header->msgh_remote_port, reply_name = header->msgh_local_port;

    if (!MACH_MSG_TYPE_PORT_ANY_SEND (dest_type))
        return MACH_SEND_INVALID_HEADER;
    if (reply_type == 0 ? reply_name != MACH_PORT_NULL : !MACH_MSG_TYPE_PORT_ANY_SEND (reply_type))
        return MACH_SEND_INVALID_HEADER;
    if (!MACH_PORT_VALID (dest_name))
        return MACH_SEND_INVALID_DEST;
    struct ipc_entry *dest = ipc_entry_lookup (task, dest_name), *reply = NULL;
    if (dest == NULL || !ipc_right_copyin_possible (dest, dest_type, false))
        return MACH_SEND_INVALID_DEST;
    if (reply_type != 0 && MACH_PORT_VALID (reply_name)) {
        reply = ipc_entry_lookup (task, reply_name);
        if (reply == NULL || !ipc_right_copyin_possible (reply, reply_type, true))
            return MACH_SEND_INVALID_REPLY;
    }

    /* Both rights from one name: what leaves the name as it is goes first, and two moves need two references. */
    bool dest_moves = dest_type == MACH_MSG_TYPE_MOVE_SEND || dest_type == MACH_MSG_TYPE_MOVE_SEND_ONCE;
    bool reply_moves = reply_type == MACH_MSG_TYPE_MOVE_SEND || reply_type == MACH_MSG_TYPE_MOVE_SEND_ONCE;
    if (reply == dest && dest_moves && reply_moves && dest->urefs < 2)
        return MACH_SEND_INVALID_REPLY;
    bool reply_first = reply == dest && dest_moves && !reply_moves;

    if (reply == NULL)
        kmsg->reply = (struct ipc_right) { reply_name == MACH_PORT_NULL ? IP_NULL : IP_DEAD,
                                           ipc_right_received_type (reply_type) };
    else if (reply_first)
        ipc_right_copyin (reply, reply_type, true, &kmsg->reply);
    ipc_right_copyin (dest, dest_type, false, &kmsg->dest);
    if (reply != NULL && !reply_first)
        ipc_right_copyin (reply, reply_type, true, &kmsg->reply);
    return MACH_MSG_SUCCESS;
}

static bool
take_right (struct ipc_kmsg *kmsg, struct hostmach_task *task, mach_port_name_t name,
            mach_msg_type_name_t disposition, struct ipc_right *right)
{
    if (ipc_right_copyin_name (task, name, disposition, true, right) != KERN_SUCCESS)
        return false;
    if (right->type == MACH_MSG_TYPE_PORT_RECEIVE && IP_VALID (right->port)) {
        if (ipc_port_circular (right->port, kmsg->dest.port))
            kmsg->circular = true;
        else
            ipc_port_set_destination (right->port, kmsg->dest.port);
    }
    return true;
}

static bool
take_item (struct ipc_kmsg *kmsg, struct hostmach_task *task, struct ipc_item *item)
{
    mach_port_name_t name;
    if (item->kind == IPC_ITEM_PORT) {
        memcpy (&name, kmsg->body + item->offset, sizeof name);
        return take_right (kmsg, task, name, item->disposition, &item->right);
    }
    if (item->kind != IPC_ITEM_PORTS)
        return true;
    for (uint32_t i = 0; i < item->number; i++) {
        memcpy (&name, (const void *) (item->address + i * sizeof name), sizeof name);
        if (!take_right (kmsg, task, name, item->disposition, &item->rights[i])) {
            item->number = i;
            return false;
        }
    }
    return true;
}

mach_msg_return_t
ipc_kmsg_copyin_body (struct ipc_kmsg *kmsg, struct hostmach_task *task)
{
    for (uint32_t i = 0; i < kmsg->items_used; i++) {
        if (take_item (kmsg, task, &kmsg->items[i]))
            continue;
        /* What follows was not taken and must not be released. */
        if (kmsg->items[i].kind == IPC_ITEM_PORT)
            kmsg->items[i].kind = IPC_ITEM_NONE;
        for (i++; i < kmsg->items_used; i++)
            if (kmsg->items[i].kind == IPC_ITEM_PORT)
                kmsg->items[i].kind = IPC_ITEM_NONE;
            else if (kmsg->items[i].kind == IPC_ITEM_PORTS)
                kmsg->items[i].number = 0;
        return MACH_SEND_INVALID_RIGHT;
    }
    return MACH_MSG_SUCCESS;
}
