/* Port sets: one queue in order of arrival. */

#include "hm_test.h"

static mach_port_t
member_of (mach_port_t set)
{
    mach_port_t port = new_port ();
    make_send (port);
    ok (mach_port_move_member (self, port, set));
    return port;
}

static void
members_come_and_go (void **state)
{
    (void) state;
    mach_port_t set = new_set (), other = new_set (), port = new_port ();
    gives (KERN_NOT_IN_SET, mach_port_move_member (self, port, MACH_PORT_NULL));
    gives (KERN_INVALID_RIGHT, mach_port_move_member (self, port, port));
    gives (KERN_INVALID_NAME, mach_port_move_member (self, port, 0x4444));
    gives (KERN_INVALID_RIGHT, mach_port_move_member (self, set, other));
    ok (mach_port_move_member (self, port, set));
    ok (mach_port_move_member (self, port, set));
    assert_int_equal (status_of (port).mps_pset, set);
    mach_port_name_array_t members;
    mach_msg_type_number_t count;
    ok (mach_port_get_set_status (self, set, &members, &count));
    assert_int_equal (count, 1);
    assert_int_equal (members[0], port);
    ok (vm_deallocate (self, (vm_address_t) members, count * sizeof *members));
    ok (mach_port_move_member (self, port, other));
    assert_int_equal (status_of (port).mps_pset, other);
    ok (mach_port_get_set_status (self, set, &members, &count));
    assert_int_equal (count, 0);
    gives (KERN_INVALID_RIGHT, mach_port_get_set_status (self, port, &members, &count));
    ok (mach_port_destroy (self, other)); /* the member stays */
    assert_int_equal (status_of (port).mps_pset, MACH_PORT_NULL);
    gives (KERN_INVALID_VALUE, mach_port_mod_refs (self, set, MACH_PORT_RIGHT_PORT_SET, 1));
    gives (KERN_INVALID_RIGHT, mach_port_deallocate (self, set));
    ok (mach_port_mod_refs (self, set, MACH_PORT_RIGHT_PORT_SET, -1));
    drop_receive (port);
}

static void
a_member_cannot_be_received_from (void **state)
{
    (void) state;
    mach_port_t set = new_set (), port = member_of (set);
    union any_msg msg;
    gives (MACH_RCV_IN_SET, receive (port, &msg));
    ok (mach_port_destroy (self, port));
    ok (mach_port_destroy (self, set));
}

/* A marker is received after everything that was sent to any member before it. */
static void
a_marker_follows_all_earlier_messages (void **state)
{
    (void) state;
    enum { PORTS = 5 };
    mach_port_t set = new_set (), ports[PORTS], marker = member_of (set);
    for (int i = 0; i < PORTS; i++)
        ports[i] = member_of (set);
    for (int i = 0; i < 20; i++)
        ok (send_id (ports[(i * 3) % PORTS], MACH_MSG_TYPE_COPY_SEND, 1000 + i));
    ok (send_id (marker, MACH_MSG_TYPE_COPY_SEND, 5555));
    ok (send_id (make_once (ports[0]), MACH_MSG_TYPE_MOVE_SEND_ONCE, 6666));
    unsigned seqno[PORTS] = { 0 };
    union any_msg msg;
    for (int i = 0; i < 20; i++) {
        ok (receive (set, &msg));
        assert_int_equal (msg.head.msgh_id, 1000 + i);
        assert_int_equal (msg.head.msgh_local_port, ports[(i * 3) % PORTS]);
        assert_int_equal (msg.head.msgh_seqno, seqno[(i * 3) % PORTS]++); /* per port, not per set */
    }
    assert_int_equal (next_id (set), 5555);
    assert_int_equal (next_id (set), 6666);
    for (int i = 0; i < PORTS; i++)
        ok (mach_port_destroy (self, ports[i]));
    ok (mach_port_destroy (self, marker));
    ok (mach_port_destroy (self, set));
}

/* Joining and leaving keep the order of sending. */
static void
moving_members_keeps_the_order (void **state)
{
    (void) state;
    mach_port_t set = new_set (), a = member_of (set), b = new_port ();
    make_send (b);
    ok (send_id (a, MACH_MSG_TYPE_COPY_SEND, 1));
    ok (send_id (b, MACH_MSG_TYPE_COPY_SEND, 2)); /* not a member yet */
    ok (send_id (a, MACH_MSG_TYPE_COPY_SEND, 3));
    ok (send_id (b, MACH_MSG_TYPE_COPY_SEND, 4));
    ok (mach_port_move_member (self, b, set));
    ok (send_id (a, MACH_MSG_TYPE_COPY_SEND, 5));
    assert_int_equal (next_id (set), 1);
    assert_int_equal (next_id (set), 2);
    ok (mach_port_move_member (self, a, MACH_PORT_NULL));
    assert_int_equal (next_id (set), 4);
    assert_int_equal (next_id (set), 0);
    assert_int_equal (next_id (a), 3);
    assert_int_equal (next_id (a), 5);
    ok (send_id (b, MACH_MSG_TYPE_COPY_SEND, 6));
    ok (mach_port_destroy (self, set));
    assert_int_equal (next_id (b), 6);
    ok (mach_port_destroy (self, a));
    ok (mach_port_destroy (self, b));
}

static void
a_dying_member_takes_only_its_own_messages (void **state)
{
    (void) state;
    mach_port_t set = new_set (), a = member_of (set), b = member_of (set);
    ok (send_id (a, MACH_MSG_TYPE_COPY_SEND, 1));
    ok (send_id (b, MACH_MSG_TYPE_COPY_SEND, 2));
    ok (send_id (a, MACH_MSG_TYPE_COPY_SEND, 3));
    ok (send_id (b, MACH_MSG_TYPE_COPY_SEND, 4));
    ok (mach_port_destroy (self, a));
    assert_int_equal (next_id (set), 2);
    assert_int_equal (next_id (set), 4);
    assert_int_equal (next_id (set), 0);
    ok (mach_port_destroy (self, b));
    ok (mach_port_destroy (self, set));
}

static void
queue_limits_stay_per_port (void **state)
{
    (void) state;
    mach_port_t set = new_set (), a = member_of (set), b = member_of (set);
    for (unsigned i = 0; i < MACH_PORT_QLIMIT_DEFAULT; i++)
        ok (send_id (a, MACH_MSG_TYPE_COPY_SEND, 1));
    gives (MACH_SEND_TIMED_OUT, send_id (a, MACH_MSG_TYPE_COPY_SEND, 1));
    ok (mach_port_deallocate (self, a)); /* came back with the message */
    ok (send_id (b, MACH_MSG_TYPE_COPY_SEND, 2));
    ok (mach_port_destroy (self, a));
    ok (mach_port_destroy (self, b));
    ok (mach_port_destroy (self, set));
}

static void
a_moved_member_leaves_the_set (void **state)
{
    (void) state;
    mach_port_t set = new_set (), a = member_of (set), inbox = new_port ();
    make_send (inbox);
    ok (send_id (a, MACH_MSG_TYPE_COPY_SEND, 9));
    ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, a, MACH_MSG_TYPE_MOVE_RECEIVE));
    assert_int_equal (next_id (set), 0);
    union any_msg msg;
    ok (receive (inbox, &msg));
    assert_int_equal (msg.port.port, a);
    assert_int_equal (status_of (a).mps_pset, MACH_PORT_NULL);
    assert_int_equal (next_id (a), 9);
    ok (mach_port_destroy (self, a));
    ok (mach_port_destroy (self, inbox));
    ok (mach_port_destroy (self, set));
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (members_come_and_go), rule (a_member_cannot_be_received_from),
        rule (a_marker_follows_all_earlier_messages), rule (moving_members_keeps_the_order),
        rule (a_dying_member_takes_only_its_own_messages), rule (queue_limits_stay_per_port),
        rule (a_moved_member_leaves_the_set),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
