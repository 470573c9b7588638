/* hm_test.h: what HostMach's tests share: cmocka, message shapes, and a fixture that counts what is left over. */

#ifndef HM_TEST_H
#define HM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <hostmach.h>
#include <mach.h>
#include <mach/mig_support.h>

#define self mach_task_self ()
#define ok(call) assert_int_equal ((call), KERN_SUCCESS)
#define gives(code, call) assert_int_equal ((call), (code))

#pragma pack(push, 4)
struct number_msg {
    mach_msg_header_t head;
    mach_msg_type_t type;
    uint32_t value;
};
struct port_msg {
    mach_msg_header_t head;
    mach_msg_type_t type;
    mach_port_t port;
};
struct memory_msg {
    mach_msg_header_t head;
    mach_msg_type_long_t type;
    vm_address_t address;
};
#pragma pack(pop)

union any_msg {
    mach_msg_header_t head;
    struct number_msg number;
    struct port_msg port;
    struct memory_msg memory;
    mach_dead_name_notification_t name_notice;
    mach_no_senders_notification_t count_notice;
    mach_port_destroyed_notification_t destroyed_notice;
    unsigned char bytes[4096];
};

/* ---- The fixture: rights, ports, messages and memory are as before the test ---- */

struct counts {
    size_t rights, ports, messages, bytes;
};

static inline struct counts
count_all (void)
{
    mig_dealloc_reply_port (MACH_PORT_NULL);
    return (struct counts) { hostmach_list_rights (hostmach_task_main (), NULL, 0), hostmach_port_count (),
                             hostmach_message_count (), hostmach_vm_bytes () };
}

static struct counts counts_before;

static inline int
fixture_setup (void **state)
{
    (void) state;
    hostmach_task_enter (NULL);
    counts_before = count_all ();
    return 0;
}

static inline int
fixture_teardown (void **state)
{
    (void) state;
    struct counts now = count_all ();
    if (memcmp (&now, &counts_before, sizeof now) == 0)
        return 0;
    fprintf (stderr, "left over: rights %zd ports %zd messages %zd bytes %zd\n",
             (ssize_t) (now.rights - counts_before.rights), (ssize_t) (now.ports - counts_before.ports),
             (ssize_t) (now.messages - counts_before.messages), (ssize_t) (now.bytes - counts_before.bytes));
    return -1;
}

#define rule(test) cmocka_unit_test_setup_teardown (test, fixture_setup, fixture_teardown)

/* ---- Ports ---- */

static inline mach_port_t
new_port (void)
{
    mach_port_t port = MACH_PORT_NULL;
    ok (mach_port_allocate (self, MACH_PORT_RIGHT_RECEIVE, &port));
    return port;
}

static inline mach_port_t
new_set (void)
{
    mach_port_t set = MACH_PORT_NULL;
    ok (mach_port_allocate (self, MACH_PORT_RIGHT_PORT_SET, &set));
    return set;
}

static inline void
drop_receive (mach_port_t port)
{
    ok (mach_port_mod_refs (self, port, MACH_PORT_RIGHT_RECEIVE, -1));
}

static inline mach_port_t
make_once (mach_port_t port)
{
    mach_port_t once;
    mach_msg_type_name_t type;
    ok (mach_port_extract_right (self, port, MACH_MSG_TYPE_MAKE_SEND_ONCE, &once, &type));
    assert_int_equal (type, MACH_MSG_TYPE_PORT_SEND_ONCE);
    return once;
}

static inline void
make_send (mach_port_t port)
{
    ok (mach_port_insert_right (self, port, port, MACH_MSG_TYPE_MAKE_SEND));
}

static inline mach_port_urefs_t
refs (mach_port_t name, mach_port_right_t right)
{
    mach_port_urefs_t count;
    ok (mach_port_get_refs (self, name, right, &count));
    return count;
}

static inline mach_port_type_t
type_of (mach_port_t name)
{
    mach_port_type_t type;
    return mach_port_type (self, name, &type) == KERN_SUCCESS ? type : 0;
}

static inline mach_port_status_t
status_of (mach_port_t port)
{
    mach_port_status_t status;
    ok (mach_port_get_receive_status (self, port, &status));
    return status;
}

/* ---- Messages ---- */

static inline mach_msg_type_t
short_type (mach_msg_type_name_t name, unsigned bits, unsigned number)
{
    return (mach_msg_type_t) { .msgt_name = (unsigned char) name, .msgt_size = (unsigned char) bits,
                               .msgt_number = number & 0xfff, .msgt_inline = TRUE };
}

static inline mach_msg_type_long_t
memory_type (mach_msg_type_name_t name, unsigned bits, unsigned number, bool deallocate)
{
    return (mach_msg_type_long_t) { .msgtl_header = { .msgt_longform = TRUE, .msgt_deallocate = deallocate },
                                    .msgtl_name = (unsigned short) name, .msgtl_size = (unsigned short) bits,
                                    .msgtl_number = number };
}

static inline mach_msg_header_t
header_to (mach_port_t dest, mach_msg_type_name_t disposition, mach_msg_id_t id, mach_msg_size_t size)
{
    mach_msg_header_t head;
    memset (&head, 0, sizeof head);
    head.msgh_bits = MACH_MSGH_BITS (disposition, 0);
    head.msgh_size = size;
    head.msgh_remote_port = dest;
    head.msgh_id = id;
    return head;
}

static inline mach_msg_return_t
send_msg (void *msg, mach_msg_size_t size)
{
    return mach_msg (msg, MACH_SEND_MSG | MACH_SEND_TIMEOUT, size, 0, MACH_PORT_NULL, 0, MACH_PORT_NULL);
}

/* Only a header. */
static inline mach_msg_return_t
send_id (mach_port_t dest, mach_msg_type_name_t disposition, mach_msg_id_t id)
{
    mach_msg_header_t head = header_to (dest, disposition, id, sizeof head);
    return send_msg (&head, sizeof head);
}

static inline mach_msg_return_t
send_port (mach_port_t dest, mach_msg_type_name_t dest_disposition, mach_port_t port, mach_msg_type_name_t disposition)
{
    struct port_msg msg = { header_to (dest, dest_disposition, 7, sizeof msg), short_type (disposition, 32, 1), port };
    msg.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
    return send_msg (&msg, sizeof msg);
}

static inline mach_msg_return_t
receive (mach_port_t port, union any_msg *msg)
{
    memset (msg, 0xa5, sizeof *msg);
    return mach_msg (&msg->head, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0, sizeof *msg, port, 0, MACH_PORT_NULL);
}

/* The id of the next message, which must carry nothing; 0 if there is none. */
static inline mach_msg_id_t
next_id (mach_port_t port)
{
    union any_msg msg;
    mach_msg_return_t mr = receive (port, &msg);
    if (mr == MACH_RCV_TIMED_OUT)
        return 0;
    ok (mr);
    return msg.head.msgh_id;
}

#endif
