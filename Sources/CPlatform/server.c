/* Messages: what needs Mach's macros, MIG's generated header, or a message's layout.  */

#include <string.h>

#include <mach/mach4.h>

#include "engine.h"
/* Declares the routines a second time: the compiler compares.  */
#include "memory_object_S.h"

enum { retry_ms = 10, word_bytes = sizeof(mach_msg_type_t) };

const mach_msg_return_t pager_receive_too_large = MACH_RCV_TOO_LARGE;
const mach_msg_return_t pager_receive_timed_out = MACH_RCV_TIMED_OUT;
const mach_msg_return_t pager_send_invalid_destination = MACH_SEND_INVALID_DEST;

mach_msg_return_t
pager_receive(mach_msg_header_t *buffer, mach_msg_size_t size, mach_port_t port_set, int large,
              mach_msg_timeout_t limit, mach_msg_size_t *needed)
{
    mach_msg_return_t result;
    do
        result = mach_msg(buffer, MACH_RCV_MSG | (large ? MACH_RCV_LARGE : 0) | (limit ? MACH_RCV_TIMEOUT : 0), 0, size,
                          port_set, limit, MACH_PORT_NULL);
    while (result == MACH_RCV_INTERRUPTED);
    if (result == MACH_RCV_TOO_LARGE)
        *needed = buffer->msgh_size;
    /* What is missing is null in the message; the server routines expect that of a hostile client as well.  */
    mach_msg_return_t kind = result & ~MACH_MSG_MASK;
    if (kind == MACH_RCV_HEADER_ERROR) {
        /* The body was destroyed: what lies there is an older message's.  */
        buffer->msgh_id = 0;
        buffer->msgh_bits &= ~MACH_MSGH_BITS_COMPLEX;
        buffer->msgh_size = sizeof *buffer;
        return MACH_MSG_SUCCESS;
    }
    return kind == MACH_RCV_BODY_ERROR ? MACH_MSG_SUCCESS : result;
}

int
pager_serve_message(mach_msg_header_t *message, mach_msg_header_t *reply)
{
    mig_routine_t routine = _pager_memory_object_server_routine(message);
    if (!routine)
        return 0;
    mig_reply_header_t *out = (mig_reply_header_t *) reply;
    memset(out, 0, sizeof *out);
    out->RetCode = KERN_SUCCESS;
    routine(message, reply);
    return 1;
}

int
pager_serve_notification(mach_msg_header_t *message, mach_msg_header_t *reply)
{
    return ports_notify_server(message, reply);
}

kern_return_t
pager_reply_code(const mach_msg_header_t *reply)
{
    kern_return_t code = ((const mig_reply_header_t *) reply)->RetCode;
    return code == MIG_NO_REPLY ? KERN_SUCCESS : code;
}

void
pager_finish_message(mach_msg_header_t *message, mach_msg_header_t *reply, int served)
{
    /* Nothing here replies: all requests are one-way.  A reply right that came all the same is released.  */
    kern_return_t code = served ? ((mig_reply_header_t *) reply)->RetCode : MIG_BAD_ID;
    if (code != KERN_SUCCESS && code != MIG_NO_REPLY)
        mach_msg_destroy(message);
    else if (MACH_PORT_VALID(message->msgh_remote_port))
        mach_port_deallocate(mach_task_self(), message->msgh_remote_port);
}

/* Whether there were any.  */
static int
replace_names(unsigned char *names, uint64_t count, mach_port_t old, mach_port_t new)
{
    int found = 0;
    for (uint64_t i = 0; i < count; i++, names += sizeof old)
        if (memcmp(names, &old, sizeof old) == 0) {
            memcpy(names, &new, sizeof new);
            found = 1;
        }
    return found;
}

/* The item at AT, which is of SIZE bytes at the most: a type and data, in the message or elsewhere.  Returns how long it is; 0: there is none.
   (Mach made it: it is whole.)  */
static size_t
replace_names_of_item(unsigned char *at, size_t size, mach_port_t old, mach_port_t new, int *found)
{
    mach_msg_type_long_t type;
    size_t head = sizeof type.msgtl_header;
    if (size < head)
        return 0;
    memcpy(&type.msgtl_header, at, head);
    mach_msg_type_name_t name = type.msgtl_header.msgt_name;
    uint64_t bits = type.msgtl_header.msgt_size, number = type.msgtl_header.msgt_number;
    if (type.msgtl_header.msgt_longform) {
        head = sizeof type;
        if (size < head)
            return 0;
        memcpy(&type, at, head);
        name = type.msgtl_name;
        bits = type.msgtl_size;
        number = type.msgtl_number;
    }
    uint64_t bytes = (bits * number + 7) / 8;
    int is_inline = type.msgtl_header.msgt_inline;
    vm_offset_t address;
    uint64_t length = is_inline ? (bytes + word_bytes - 1) / word_bytes * word_bytes : sizeof address;
    if (length > size - head)
        return 0;
    unsigned char *names = at + head;
    if (!is_inline) {
        memcpy(&address, names, sizeof address);
        names = (unsigned char *) address;
    }
    if (MACH_MSG_TYPE_PORT_ANY(name) && bytes > 0)
        *found |= replace_names(names, number, old, new);
    return head + (size_t) length;
}

int
pager_rename_rights(mach_msg_header_t *message, mach_port_t old, mach_port_t new)
{
    int found = 0;
    if (message->msgh_remote_port == old) {
        message->msgh_remote_port = new;
        found = 1;
    }
    if (!(message->msgh_bits & MACH_MSGH_BITS_COMPLEX))
        return found;
    unsigned char *at = (unsigned char *) (message + 1), *end = (unsigned char *) message + message->msgh_size;
    while (at < end) {
        size_t length = replace_names_of_item(at, (size_t) (end - at), old, new, &found);
        if (length == 0)
            break;
        at += length;
    }
    return found;
}

mach_msg_id_t
pager_message_id(const mach_msg_header_t *message)
{
    return message->msgh_id;
}

mach_port_seqno_t
pager_message_number(const mach_msg_header_t *message)
{
    return message->msgh_seqno;
}

int
pager_is_dead_name(const mach_msg_header_t *message, mach_port_t *name)
{
    if (message->msgh_id != MACH_NOTIFY_DEAD_NAME)
        return 0;
    const mach_dead_name_notification_t *notification = (const mach_dead_name_notification_t *) message;
    /* Exactly as Mach makes it: what else it carried nobody would release.  */
    if (message->msgh_size != sizeof *notification || message->msgh_bits & MACH_MSGH_BITS_COMPLEX)
        return -1;
    *name = notification->not_port;
    /* Anybody can make such a message; only Mach makes a name dead.  */
    return pager_is_dead(*name) ? 1 : -1;
}

int
pager_port_is_drained(mach_port_t port, mach_port_seqno_t turn)
{
    mach_port_status_t status;
    if (mach_port_get_receive_status(mach_task_self(), port, &status) != KERN_SUCCESS)
        return 1;
    return status.mps_msgcount == 0 && status.mps_seqno == turn;
}

mach_port_seqno_t
pager_port_next_number(mach_port_t port, mach_port_seqno_t none)
{
    mach_port_status_t status;
    return mach_port_get_receive_status(mach_task_self(), port, &status) == KERN_SUCCESS ? status.mps_seqno : none;
}

int
pager_port_end(mach_port_t port, mach_port_seqno_t *end)
{
    mach_port_status_t status;
    if (mach_port_get_receive_status(mach_task_self(), port, &status) != KERN_SUCCESS)
        return -1;
    *end = status.mps_seqno + status.mps_msgcount;
    return 0;
}

static mach_msg_return_t
send_marker(mach_port_t port, mach_msg_id_t id, mach_msg_option_t option)
{
    mach_msg_header_t message = {
        .msgh_bits = MACH_MSGH_BITS(MACH_MSG_TYPE_MAKE_SEND_ONCE, 0),
        .msgh_size = sizeof message,
        .msgh_remote_port = port,
        .msgh_id = id,
    };
    return mach_msg(&message, MACH_SEND_MSG | option, sizeof message, 0, MACH_PORT_NULL, 0, MACH_PORT_NULL);
}

mach_msg_return_t
pager_send_marker(mach_port_t port, mach_msg_id_t id)
{
    mach_msg_return_t result;
    while ((result = send_marker(port, id, 0)) == MACH_SEND_NO_BUFFER || result == MACH_SEND_INTERRUPTED)
        platform_pause_ms(retry_ms);
    return result;
}

mach_msg_return_t
pager_try_send_marker(mach_port_t port, mach_msg_id_t id)
{
    /* (A full queue will be looked at anyway; for want of memory the marker must not be lost.)  */
    mach_msg_return_t result;
    while ((result = send_marker(port, id, MACH_SEND_TIMEOUT)) == MACH_SEND_NO_BUFFER || result == MACH_SEND_INTERRUPTED)
        platform_pause_ms(retry_ms);
    return result;
}

kern_return_t
pager_make_marker_port(mach_port_t port_set, mach_port_t *port)
{
    kern_return_t result = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, port);
    if (result != KERN_SUCCESS)
        return result;
    mach_port_set_qlimit(mach_task_self(), *port, MACH_PORT_QLIMIT_MAX);
    result = mach_port_move_member(mach_task_self(), *port, port_set);
    if (result != KERN_SUCCESS)
        pager_drop_receive_right(*port);
    return result;
}

/* *PREVIOUS says whether there was a request; the right itself is released.  */
static kern_return_t
replace_dead_name_request(mach_port_t name, mach_port_t notify, mach_port_t *previous)
{
    *previous = MACH_PORT_NULL;
    kern_return_t result = mach_port_request_notification(mach_task_self(), name, MACH_NOTIFY_DEAD_NAME, 1, notify,
                                                          MACH_MSG_TYPE_MAKE_SEND_ONCE, previous);
    if (result != KERN_SUCCESS)
        *previous = MACH_PORT_NULL;
    if (MACH_PORT_VALID(*previous))
        mach_port_deallocate(mach_task_self(), *previous);
    return result;
}

kern_return_t
pager_request_dead_name(mach_port_t name, mach_port_t notify)
{
    mach_port_t previous;
    return replace_dead_name_request(name, notify, &previous);
}

int
pager_cancel_dead_name(mach_port_t name)
{
    mach_port_t previous = MACH_PORT_NULL;
    /* The send-once right that comes back needs a name.  */
    while (replace_dead_name_request(name, MACH_PORT_NULL, &previous) == KERN_RESOURCE_SHORTAGE)
        platform_pause_ms(retry_ms);
    /* (The port that was to be told may be gone: then the right that comes back is dead, and nothing was announced.)  */
    return previous != MACH_PORT_NULL;
}

kern_return_t
pager_make_read_only_proxy(mach_port_t object, mach_port_t *proxy)
{
    vm_offset_t zero = 0;
    vm_size_t everything = (vm_size_t) -1;
    return memory_object_create_proxy(mach_task_self(), VM_PROT_READ | VM_PROT_EXECUTE, &object,
                                      MACH_MSG_TYPE_COPY_SEND, 1, &zero, 1, &zero, 1, &everything, 1, proxy);
}

int
pager_is_ours_alone(mach_port_t name)
{
    mach_port_type_t type = 0;
    mach_port_urefs_t references = 0;
    return mach_port_type(mach_task_self(), name, &type) == KERN_SUCCESS
        && (type & MACH_PORT_TYPE_ALL_RIGHTS) == MACH_PORT_TYPE_SEND
        && mach_port_get_refs(mach_task_self(), name, MACH_PORT_RIGHT_SEND, &references) == KERN_SUCCESS
        && references == 1;
}

int
pager_is_dead(mach_port_t name)
{
    mach_port_type_t type = 0;
    return mach_port_type(mach_task_self(), name, &type) == KERN_SUCCESS && (type & MACH_PORT_TYPE_DEAD_NAME);
}

kern_return_t
pager_reserve_name(mach_port_t name)
{
    return mach_port_allocate_name(mach_task_self(), MACH_PORT_RIGHT_DEAD_NAME, name);
}

void
pager_drop_receive_right(mach_port_t name)
{
    mach_port_mod_refs(mach_task_self(), name, MACH_PORT_RIGHT_RECEIVE, -1);
}
