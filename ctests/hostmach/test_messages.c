/* Sending and receiving: headers, sizes, rights, memory. */

#include "hm_test.h"

#include <stdlib.h>

static void
headers_are_swapped (void **state)
{
    (void) state;
    mach_port_t port = new_port (), reply = new_port ();
    make_send (port);
    struct number_msg out = { header_to (port, MACH_MSG_TYPE_COPY_SEND, 1234, sizeof out),
                              short_type (MACH_MSG_TYPE_INTEGER_32, 32, 1), 99 };
    out.head.msgh_bits = MACH_MSGH_BITS (MACH_MSG_TYPE_COPY_SEND, MACH_MSG_TYPE_MAKE_SEND_ONCE);
    out.head.msgh_local_port = reply;
    ok (send_msg (&out, sizeof out));
    union any_msg msg;
    ok (receive (port, &msg));
    assert_int_equal (msg.head.msgh_bits, MACH_MSGH_BITS (MACH_MSG_TYPE_PORT_SEND_ONCE, MACH_MSG_TYPE_PORT_SEND));
    assert_int_equal (msg.head.msgh_size, sizeof out);
    assert_int_equal (msg.head.msgh_protected_payload, port); /* the upper half is zero */
    assert_int_equal (msg.head.msgh_id, 1234);
    assert_int_equal (msg.number.value, 99);
    assert_int_equal (type_of (msg.head.msgh_remote_port), MACH_PORT_TYPE_SEND_ONCE);
    ok (send_id (msg.head.msgh_remote_port, MACH_MSG_TYPE_MOVE_SEND_ONCE, 1334));
    ok (receive (reply, &msg));
    assert_int_equal (msg.head.msgh_bits, MACH_MSGH_BITS (0, MACH_MSG_TYPE_PORT_SEND_ONCE));
    assert_int_equal (msg.head.msgh_remote_port, MACH_PORT_NULL);
    ok (mach_port_destroy (self, port));
    drop_receive (reply);
}

static void
protected_payloads_replace_the_local_port (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    union any_msg msg;
    make_send (port);
    ok (mach_port_set_protected_payload (self, port, 0xfeedbeef));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 1));
    ok (receive (port, &msg));
    assert_int_equal (MACH_MSGH_BITS_LOCAL (msg.head.msgh_bits), MACH_MSG_TYPE_PROTECTED_PAYLOAD);
    assert_int_equal (msg.head.msgh_protected_payload, 0xfeedbeef);
    ok (mach_port_clear_protected_payload (self, port));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 1));
    ok (receive (port, &msg));
    assert_int_equal (msg.head.msgh_local_port, port);
    ok (mach_port_destroy (self, port));
}

static void
sequence_numbers_rise_with_receiving (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    union any_msg msg;
    for (unsigned i = 0; i < 3; i++)
        ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 100));
    for (unsigned i = 0; i < 3; i++) {
        ok (receive (port, &msg));
        assert_int_equal (msg.head.msgh_seqno, i);
    }
    ok (mach_port_set_seqno (self, port, 1000));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 100));
    ok (receive (port, &msg));
    assert_int_equal (msg.head.msgh_seqno, 1000);
    ok (mach_port_destroy (self, port));
}

/* Without RCV_LARGE the message is destroyed, only its header arrives; it has used a sequence number. */
static void
too_large_messages_leave_their_header (void **state)
{
    (void) state;
    mach_port_t port = new_port (), inner = new_port ();
    make_send (port);
    make_send (inner);
    ok (send_port (port, MACH_MSG_TYPE_COPY_SEND, inner, MACH_MSG_TYPE_MOVE_SEND));
    union any_msg msg;
    memset (&msg, 0, sizeof msg);
    gives (MACH_RCV_TOO_LARGE, mach_msg (&msg.head, MACH_RCV_MSG, 0, sizeof (mach_msg_header_t), port, 0, 0));
    assert_int_equal (msg.head.msgh_size, sizeof (struct port_msg));
    assert_int_equal (msg.head.msgh_local_port, port);
    assert_int_equal (msg.head.msgh_seqno, 0);
    assert_int_equal (msg.head.msgh_id, 7);
    assert_false (status_of (inner).mps_srights); /* it was released */
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 8));
    ok (receive (port, &msg));
    assert_int_equal (msg.head.msgh_seqno, 1);
    drop_receive (inner);
    ok (mach_port_destroy (self, port));
}

static void
rcv_large_leaves_the_message_queued (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    struct number_msg out = { header_to (port, MACH_MSG_TYPE_COPY_SEND, 5, sizeof out),
                              short_type (MACH_MSG_TYPE_INTEGER_32, 32, 1), 77 };
    ok (send_msg (&out, sizeof out));
    union any_msg msg;
    gives (MACH_RCV_TOO_LARGE,
           mach_msg (&msg.head, MACH_RCV_MSG | MACH_RCV_LARGE, 0, sizeof (mach_msg_header_t), port, 0, 0));
    assert_int_equal (msg.head.msgh_size, sizeof out);
    ok (receive (port, &msg));
    assert_int_equal (msg.number.value, 77);
    assert_int_equal (msg.head.msgh_seqno, 0);
    ok (mach_port_destroy (self, port));
}

static void
bad_headers_are_refused_untouched (void **state)
{
    (void) state;
    mach_port_t port = new_port (), once = make_once (port);
    make_send (port);
    mach_msg_header_t head = header_to (port, 0, 1, sizeof head);
    gives (MACH_SEND_INVALID_HEADER, send_msg (&head, sizeof head));
    gives (MACH_SEND_INVALID_HEADER, send_id (port, MACH_MSG_TYPE_MOVE_RECEIVE, 1));
    head = header_to (port, MACH_MSG_TYPE_COPY_SEND, 1, sizeof head);
    head.msgh_local_port = port; /* without a disposition */
    gives (MACH_SEND_INVALID_HEADER, send_msg (&head, sizeof head));
    gives (MACH_SEND_INVALID_DEST, send_id (0x4444, MACH_MSG_TYPE_COPY_SEND, 1));
    gives (MACH_SEND_INVALID_DEST, send_id (MACH_PORT_NULL, MACH_MSG_TYPE_COPY_SEND, 1));
    gives (MACH_SEND_INVALID_DEST, send_id (MACH_PORT_DEAD, MACH_MSG_TYPE_COPY_SEND, 1));
    gives (MACH_SEND_INVALID_DEST, send_id (port, MACH_MSG_TYPE_MOVE_SEND_ONCE, 1));
    gives (MACH_SEND_INVALID_DEST, send_id (once, MACH_MSG_TYPE_COPY_SEND, 1));
    head.msgh_bits = MACH_MSGH_BITS (MACH_MSG_TYPE_COPY_SEND, MACH_MSG_TYPE_COPY_SEND);
    head.msgh_local_port = 0x4444;
    gives (MACH_SEND_INVALID_REPLY, send_msg (&head, sizeof head));
    head.msgh_bits = MACH_MSGH_BITS (MACH_MSG_TYPE_MOVE_SEND, MACH_MSG_TYPE_MOVE_SEND);
    head.msgh_local_port = port; /* one reference cannot move twice */
    gives (MACH_SEND_INVALID_REPLY, send_msg (&head, sizeof head));
    gives (MACH_SEND_MSG_TOO_SMALL, send_msg (&head, sizeof head - 4));
    gives (MACH_SEND_MSG_TOO_SMALL, send_msg (&head, sizeof head + 2));
    gives (MACH_SEND_INVALID_DATA, send_msg (NULL, sizeof head));
    gives (MACH_SEND_NO_NOTIFY, mach_msg (&head, MACH_SEND_MSG | MACH_SEND_NOTIFY, sizeof head, 0, 0, 0, port));
    gives (MACH_RCV_INVALID_NOTIFY, mach_msg (&head, MACH_RCV_MSG | MACH_RCV_NOTIFY, 0, sizeof head, port, 0, port));
    gives (MACH_RCV_INVALID_DATA, mach_msg (NULL, MACH_RCV_MSG, 0, 100, port, 0, 0));
    gives (MACH_RCV_INVALID_NAME, mach_msg (&head, MACH_RCV_MSG, 0, sizeof head, 0x4444, 0, 0));
    gives (MACH_RCV_INVALID_NAME, mach_msg (&head, MACH_RCV_MSG, 0, sizeof head, once, 0, 0));
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 1);
    assert_int_equal (status_of (port).mps_msgcount, 0);
    ok (send_id (once, MACH_MSG_TYPE_MOVE_SEND_ONCE, 1));
    ok (mach_port_destroy (self, port));
}

/* Destination and reply port from one name, in all combinations that one reference allows. */
static void
one_name_serves_both_header_ports (void **state)
{
    (void) state;
    const mach_msg_type_name_t pairs[][2] = {
        { MACH_MSG_TYPE_MOVE_SEND, MACH_MSG_TYPE_COPY_SEND },     { MACH_MSG_TYPE_COPY_SEND, MACH_MSG_TYPE_MOVE_SEND },
        { MACH_MSG_TYPE_MOVE_SEND, MACH_MSG_TYPE_MAKE_SEND },     { MACH_MSG_TYPE_MAKE_SEND, MACH_MSG_TYPE_MOVE_SEND },
        { MACH_MSG_TYPE_MOVE_SEND, MACH_MSG_TYPE_MAKE_SEND_ONCE }, { MACH_MSG_TYPE_MAKE_SEND_ONCE, MACH_MSG_TYPE_COPY_SEND },
    };
    for (unsigned i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        mach_port_t port = new_port ();
        make_send (port);
        mach_msg_header_t head = header_to (port, pairs[i][0], 4, sizeof head);
        head.msgh_bits = MACH_MSGH_BITS (pairs[i][0], pairs[i][1]);
        head.msgh_local_port = port;
        ok (send_msg (&head, sizeof head));
        union any_msg msg;
        ok (receive (port, &msg));
        mach_msg_destroy (&msg.head);
        ok (mach_port_destroy (self, port));
    }
}

static void
send_memory (mach_port_t to, vm_address_t address, size_t bytes, bool deallocate, mach_msg_return_t expected)
{
    struct memory_msg out = { header_to (to, MACH_MSG_TYPE_COPY_SEND, 9, sizeof out),
                              memory_type (MACH_MSG_TYPE_BYTE, 8, (unsigned) bytes, deallocate), address };
    out.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
    gives (expected, send_msg (&out, sizeof out));
}

static void
memory_moves_or_is_copied (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    union any_msg msg;
    vm_address_t pages;
    ok (vm_allocate (self, &pages, 2 * vm_page_size, TRUE));
    memset ((void *) pages, 0x5c, 2 * vm_page_size);

    /* Aligned and given away: the same pages. */
    send_memory (port, pages, 2 * vm_page_size, true, MACH_MSG_SUCCESS);
    ok (receive (port, &msg));
    assert_int_equal (msg.memory.address, pages);
    assert_int_equal (msg.memory.type.msgtl_number, 2 * vm_page_size);
    assert_true (msg.memory.type.msgtl_header.msgt_deallocate);

    /* Kept: a copy, which is the receiver's. */
    send_memory (port, pages, 2 * vm_page_size, false, MACH_MSG_SUCCESS);
    memset ((void *) pages, 0x11, vm_page_size);
    ok (receive (port, &msg));
    assert_int_not_equal (msg.memory.address, pages);
    assert_int_equal (*(unsigned char *) msg.memory.address, 0x5c);
    ok (vm_deallocate (self, msg.memory.address, 2 * vm_page_size));

    /* Not aligned: a copy at the same offset in its page; whole pages go from the sender. */
    size_t before = hostmach_vm_bytes ();
    send_memory (port, pages + 100, 200, true, MACH_MSG_SUCCESS);
    assert_int_equal (hostmach_vm_bytes (), before); /* one page copied, one page gone */
    ok (receive (port, &msg));
    assert_int_equal (msg.memory.address % vm_page_size, 100);
    assert_int_equal (*(unsigned char *) msg.memory.address, 0x11);
    assert_int_equal (((unsigned char *) msg.memory.address)[-1], 0); /* neighbours do not leak */
    ok (vm_deallocate (self, msg.memory.address, 200));
    ok (vm_deallocate (self, pages, 2 * vm_page_size));

    /* Memory that is not HostMach's is copied and left alone. */
    char *mine = malloc (300);
    memset (mine, 0x77, 300);
    send_memory (port, (vm_address_t) mine, 300, true, MACH_MSG_SUCCESS);
    ok (receive (port, &msg));
    assert_memory_equal ((void *) msg.memory.address, mine, 300);
    free (mine);
    mach_msg_destroy (&msg.head);

    send_memory (port, 0, 0, true, MACH_MSG_SUCCESS);
    ok (receive (port, &msg));
    assert_int_equal (msg.memory.address, 0);
    send_memory (port, 0x1000, 64, false, MACH_SEND_INVALID_MEMORY);
    send_memory (port, UINTPTR_MAX - 10, 64, false, MACH_SEND_INVALID_MEMORY);
    ok (mach_port_destroy (self, port));
}

static void
arrays_of_ports_travel_out_of_line (void **state)
{
    (void) state;
    mach_port_t port = new_port (), a = new_port (), b = new_port ();
    make_send (port);
    mach_port_t array[4] = { a, MACH_PORT_NULL, b, MACH_PORT_DEAD };
    struct memory_msg out = { header_to (port, MACH_MSG_TYPE_COPY_SEND, 9, sizeof out),
                              memory_type (MACH_MSG_TYPE_MAKE_SEND, 32, 4, false), (vm_address_t) array };
    out.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
    ok (send_msg (&out, sizeof out));
    union any_msg msg;
    ok (receive (port, &msg));
    assert_int_equal (msg.memory.type.msgtl_name, MACH_MSG_TYPE_PORT_SEND);
    const mach_port_t *got = (const mach_port_t *) msg.memory.address;
    for (int i = 0; i < 4; i++)
        assert_int_equal (got[i], array[i]);
    assert_int_equal (type_of (a), MACH_PORT_TYPE_SEND_RECEIVE);
    mach_msg_destroy (&msg.head);
    assert_int_equal (type_of (b), MACH_PORT_TYPE_RECEIVE);

    /* A bad one spoils the message, which is destroyed with what was taken. */
    array[3] = 0x4444;
    out = (struct memory_msg) { header_to (port, MACH_MSG_TYPE_COPY_SEND, 9, sizeof out),
                                memory_type (MACH_MSG_TYPE_MAKE_SEND, 32, 4, false), (vm_address_t) array };
    out.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
    gives (MACH_SEND_INVALID_RIGHT, send_msg (&out, sizeof out));
    assert_false (status_of (a).mps_srights);

    /* In a message nobody receives they go with it. */
    array[3] = MACH_PORT_NULL;
    ok (send_msg (&out, sizeof out));
    assert_true (status_of (a).mps_srights);
    ok (mach_port_destroy (self, port));
    assert_false (status_of (a).mps_srights);
    drop_receive (a);
    drop_receive (b);
}

static void
refused_bodies_release_what_was_taken (void **state)
{
    (void) state;
    mach_port_t port = new_port (), reply = new_port ();
    make_send (port);
    struct {
        struct port_msg first;
        mach_msg_type_t type;
        mach_port_t second;
    } out = { { header_to (port, MACH_MSG_TYPE_MOVE_SEND, 9, sizeof out), short_type (MACH_MSG_TYPE_MAKE_SEND_ONCE, 32, 1),
                reply },
              short_type (MACH_MSG_TYPE_COPY_SEND, 32, 1), 0x4444 };
    out.first.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
    gives (MACH_SEND_INVALID_RIGHT, send_msg (&out, sizeof out));
    assert_int_equal (type_of (port), MACH_PORT_TYPE_RECEIVE); /* the destination's right too */
    assert_int_equal (next_id (reply), MACH_NOTIFY_SEND_ONCE);
    drop_receive (port);
    drop_receive (reply);
}

static void
large_messages_and_many_items_fit (void **state)
{
    (void) state;
    enum { PORTS = 900 };
    mach_port_t port = new_port (), carried = new_port ();
    make_send (port);
#pragma pack(push, 4)
    struct {
        mach_msg_header_t head;
        mach_msg_type_t type;
        mach_port_t ports[PORTS];
    } out = { header_to (port, MACH_MSG_TYPE_COPY_SEND, 9, sizeof out), short_type (MACH_MSG_TYPE_MAKE_SEND, 32, PORTS), { 0 } };
#pragma pack(pop)
    out.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
    for (int i = 0; i < PORTS; i++)
        out.ports[i] = carried;
    ok (send_msg (&out, sizeof out));
    memset (&out, 0, sizeof out);
    ok (mach_msg (&out.head, MACH_RCV_MSG, 0, sizeof out, port, 0, 0));
    assert_int_equal (refs (carried, MACH_PORT_RIGHT_SEND), PORTS);
    mach_msg_destroy (&out.head);
    assert_int_equal (type_of (carried), MACH_PORT_TYPE_RECEIVE);

    size_t size = 1 << 20;
    mach_msg_header_t *big = calloc (1, size);
    *big = header_to (port, MACH_MSG_TYPE_COPY_SEND, 10, (mach_msg_size_t) size);
    ok (send_msg (big, (mach_msg_size_t) size));
    ok (mach_msg (big, MACH_RCV_MSG, 0, (mach_msg_size_t) size, port, 0, 0));
    assert_int_equal (big->msgh_size, size);
    free (big);
    drop_receive (carried);
    ok (mach_port_destroy (self, port));
}

static void
destroying_a_port_destroys_its_messages (void **state)
{
    (void) state;
    mach_port_t port = new_port (), carried = new_port ();
    vm_address_t page;
    make_send (port);
    ok (vm_allocate (self, &page, vm_page_size, TRUE));
    send_memory (port, page, vm_page_size, true, MACH_MSG_SUCCESS);
    make_send (carried);
    ok (send_port (port, MACH_MSG_TYPE_COPY_SEND, carried, MACH_MSG_TYPE_MOVE_RECEIVE));
    drop_receive (port);
    assert_int_equal (type_of (carried), MACH_PORT_TYPE_DEAD_NAME);
    ok (mach_port_deallocate (self, carried));
    ok (mach_port_deallocate (self, port));
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (headers_are_swapped), rule (protected_payloads_replace_the_local_port),
        rule (sequence_numbers_rise_with_receiving), rule (too_large_messages_leave_their_header),
        rule (rcv_large_leaves_the_message_queued), rule (bad_headers_are_refused_untouched),
        rule (one_name_serves_both_header_ports), rule (memory_moves_or_is_copied),
        rule (arrays_of_ports_travel_out_of_line), rule (refused_bodies_release_what_was_taken),
        rule (large_messages_and_many_items_fit), rule (destroying_a_port_destroys_its_messages),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
