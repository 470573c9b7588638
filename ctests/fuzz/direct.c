/* direct.c - messages to the demuxer that no kernel delivers: what a worker has received is changed before the demuxer sees it.

   Only messages with a reply port are: those of the fuzzer's senders who want that. The demuxer gets a copy, in a block of its very size, so that
   whoever reads beyond it is seen. Names and addresses in it are left alone, and so is all that says how much memory is at an address; what
   the demuxer refuses is released by the message as it came. */

#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "messages.h"
#include "report.h"

enum { PENDING_MAX = 128, FIELDS_MAX = 32 };

static struct direct pending[PENDING_MAX];
static unsigned pending_first, pending_end;

void direct_clear(void) { pending_first = pending_end = 0; }

bool direct_add(const struct direct *direct)
{
    if (pending_end == PENDING_MAX)
        return false;
    pending[pending_end++] = *direct;
    return true;
}

void direct_take_back(void)
{
    if (pending_end > pending_first)
        pending_end--;
}

/* ---- What must stay ---- */

static struct { mach_msg_size_t begin, end; } kept[FIELDS_MAX];
static unsigned kept_count;

static void keep(mach_msg_size_t begin, mach_msg_size_t end)
{
    if (kept_count == FIELDS_MAX)
        report_failure("fuzz: a message of more than %d fields", FIELDS_MAX);
    kept[kept_count].begin = begin;
    kept[kept_count++].end = end;
}

static bool is_kept(mach_msg_size_t at)
{
    for (unsigned i = 0; i < kept_count; i++)
        if (at >= kept[i].begin && at < kept[i].end)
            return true;
    return false;
}

/* The message came from a kernel: its descriptors are in order. */
static void look_through(const mach_msg_header_t *message)
{
    const char *bytes = (const char *) message;
    mach_msg_size_t at = sizeof *message;
    kept_count = 0;
    while (message->msgh_bits & MACH_MSGH_BITS_COMPLEX && at + sizeof(mach_msg_type_t) <= message->msgh_size) {
        mach_msg_type_long_t type;
        mach_msg_size_t begin = at;
        memset(&type, 0, sizeof type);
        memcpy(&type, bytes + at, sizeof type.msgtl_header);
        uint64_t name = type.msgtl_header.msgt_name, size = type.msgtl_header.msgt_size, number = type.msgtl_header.msgt_number;
        at += sizeof type.msgtl_header;
        if (type.msgtl_header.msgt_longform) {
            memcpy(&type, bytes + begin, sizeof type);
            name = type.msgtl_name, size = type.msgtl_size, number = type.msgtl_number;
            at = begin + sizeof type;
        }
        mach_msg_size_t value = at;
        if (type.msgtl_header.msgt_inline)
            at += (mach_msg_size_t) ((size * number / 8 + 3) / 4 * 4);
        else
            at += sizeof(vm_offset_t);
        if (!type.msgtl_header.msgt_inline)
            keep(begin, at);
        else if (MACH_MSG_TYPE_PORT_ANY(name))
            keep(value, at);
    }
}

/* ---- Instead of the demuxer ---- */

int __real_pager_serve_message(mach_msg_header_t *message, mach_msg_header_t *reply);
int __wrap_pager_serve_message(mach_msg_header_t *message, mach_msg_header_t *reply);

int __wrap_pager_serve_message(mach_msg_header_t *message, mach_msg_header_t *reply)
{
    if (!MACH_PORT_VALID(message->msgh_remote_port) || pending_first == pending_end)
        return __real_pager_serve_message(message, reply);
    const struct direct *direct = &pending[pending_first++];
    int size = (int) message->msgh_size + direct->more;
    size = size < (int) sizeof *message ? (int) sizeof *message : size;
    look_through(message);
    char *bytes = calloc(1, (size_t) size);
    mach_msg_header_t *header = (mach_msg_header_t *) (void *) bytes;
    memcpy(bytes, message, (size_t) size < message->msgh_size ? (size_t) size : message->msgh_size);
    for (unsigned i = 0; i < direct->changes; i++) {
        mach_msg_size_t at = (mach_msg_size_t) sizeof *message + direct->change[i].at;
        if ((int) at < size && !is_kept(at))
            bytes[at] = (char) direct->change[i].value;
    }
    header->msgh_size = (mach_msg_size_t) size;
    header->msgh_id += direct->id;
    if (direct->complex)
        header->msgh_bits ^= MACH_MSGH_BITS_COMPLEX;
    messages_restrain(bytes, header->msgh_size);
    TRACE("direct: id %d, %u bytes, %u changes", header->msgh_id, header->msgh_size, direct->changes);
    int served = __real_pager_serve_message(header, reply);
    TRACE("direct: %s, %d", served ? "served" : "unknown", served ? pager_reply_code(reply) : 0);
    free(bytes);
    return served;
}
