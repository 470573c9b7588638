/* Messages: what needs Mach's macros, MIG's generated header, or a message's layout.  */

#include <string.h>

#include <mach/mach4.h>

#include "engine.h"
/* Declares the routines a second time: the compiler compares.  */
#include "memory_object_S.h"

enum { retry_ms = 10 };

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

/* A message at the new port *HOLDER has one more reference of the send right NAME, which no name of ours counts.  */
static kern_return_t
keep_right(mach_port_t name, mach_port_t *holder)
{
    kern_return_t result = mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, holder);
    if (result != KERN_SUCCESS)
        return result;
    mach_msg_header_t message = {
        .msgh_bits = MACH_MSGH_BITS(MACH_MSG_TYPE_MAKE_SEND_ONCE, MACH_MSG_TYPE_COPY_SEND),
        .msgh_size = sizeof message,
        .msgh_remote_port = *holder,
        .msgh_local_port = name,
    };
    result = mach_msg(&message, MACH_SEND_MSG, sizeof message, 0, MACH_PORT_NULL, 0, MACH_PORT_NULL);
    if (result != KERN_SUCCESS)
        pager_drop_receive_right(*holder);
    return result;
}

/* The right that `keep_right' put away, under the name that it has or gets.  */
static mach_port_t
take_kept_right(mach_port_t holder)
{
    mach_msg_header_t message;
    mach_msg_return_t result;
    do
        result = mach_msg(&message, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0, sizeof message, holder, 0, MACH_PORT_NULL);
    while (result == MACH_RCV_INTERRUPTED);
    return result == MACH_MSG_SUCCESS ? message.msgh_remote_port : MACH_PORT_NULL;
}

mach_port_t
pager_rename_alone(mach_port_t name, mach_port_t wanted)
{
    mach_port_type_t type;
    mach_port_t holder, now = wanted;
    /* Taken: the right would have to come back for nothing.  */
    if (mach_port_type(mach_task_self(), wanted, &type) == KERN_SUCCESS || keep_right(name, &holder) != KERN_SUCCESS)
        return name;
    /* Takes our reference away from NAME. If that was the last one the port has no name, and gets this; if a message has brought another one
       meanwhile, Mach refuses, since a port has one name.  */
    if (mach_port_insert_right(mach_task_self(), wanted, name, MACH_MSG_TYPE_MOVE_SEND) != KERN_SUCCESS)
        now = take_kept_right(holder);
    pager_drop_receive_right(holder);
    return now;
}

void
pager_drop_receive_right(mach_port_t name)
{
    mach_port_mod_refs(mach_task_self(), name, MACH_PORT_RIGHT_RECEIVE, -1);
}
