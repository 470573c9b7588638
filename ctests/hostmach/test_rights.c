/* Taking rights from names and giving them names: insert, extract, every disposition in a message. */

#include "hm_test.h"

static void
insert_coalesces_under_the_ports_name (void **state)
{
    (void) state;
    mach_port_t port = new_port (), other = new_port ();
    gives (KERN_RIGHT_EXISTS, mach_port_insert_right (self, 0x5555, port, MACH_MSG_TYPE_MAKE_SEND));
    gives (KERN_RIGHT_EXISTS, mach_port_insert_right (self, other, port, MACH_MSG_TYPE_MAKE_SEND));
    ok (mach_port_insert_right (self, port, port, MACH_MSG_TYPE_MAKE_SEND));
    ok (mach_port_insert_right (self, port, port, MACH_MSG_TYPE_COPY_SEND));
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 2);
    ok (mach_port_insert_right (self, 0x5555, port, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    assert_int_equal (type_of (0x5555), MACH_PORT_TYPE_SEND_ONCE);
    gives (KERN_NAME_EXISTS, mach_port_insert_right (self, 0x5555, port, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    gives (KERN_INVALID_VALUE, mach_port_insert_right (self, MACH_PORT_NULL, port, MACH_MSG_TYPE_MAKE_SEND));
    gives (KERN_INVALID_VALUE, mach_port_insert_right (self, port, port, 3));
    gives (KERN_INVALID_CAPABILITY, mach_port_insert_right (self, 0x6666, MACH_PORT_NULL, MACH_MSG_TYPE_MAKE_SEND));
    gives (KERN_INVALID_RIGHT, mach_port_insert_right (self, other, other, MACH_MSG_TYPE_COPY_SEND));
    ok (mach_port_destroy (self, 0x5555));
    ok (mach_port_destroy (self, port));
    ok (mach_port_destroy (self, other));
}

/* Like a right in a message: the task has it no more, whether or not it can be given a name. */
static void
insert_uses_up_what_it_moves (void **state)
{
    (void) state;
    mach_port_t dead, port;
    ok (mach_port_allocate (self, MACH_PORT_RIGHT_DEAD_NAME, &dead));
    ok (mach_port_mod_refs (self, dead, MACH_PORT_RIGHT_DEAD_NAME, 1));
    gives (KERN_INVALID_CAPABILITY, mach_port_insert_right (self, 0x5555, dead, MACH_MSG_TYPE_COPY_SEND));
    assert_int_equal (refs (dead, MACH_PORT_RIGHT_DEAD_NAME), 2);
    gives (KERN_INVALID_CAPABILITY, mach_port_insert_right (self, 0x5555, dead, MACH_MSG_TYPE_MOVE_SEND));
    assert_int_equal (refs (dead, MACH_PORT_RIGHT_DEAD_NAME), 1);
    ok (mach_port_deallocate (self, dead));
    port = new_port ();
    make_send (port);
    gives (KERN_RIGHT_EXISTS, mach_port_insert_right (self, 0x5555, port, MACH_MSG_TYPE_MOVE_SEND));
    assert_int_equal (type_of (port), MACH_PORT_TYPE_RECEIVE);
    ok (mach_port_destroy (self, port));
}

static void
insert_reports_uref_overflow (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    ok (mach_port_mod_refs (self, port, MACH_PORT_RIGHT_SEND, 0xfffe));
    gives (KERN_UREFS_OVERFLOW, mach_port_insert_right (self, port, port, MACH_MSG_TYPE_MAKE_SEND));
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 0xffff);
    /* A message cannot fail for that: the count stays at its maximum. */
    ok (send_port (port, MACH_MSG_TYPE_COPY_SEND, port, MACH_MSG_TYPE_COPY_SEND));
    union any_msg msg;
    ok (receive (port, &msg));
    assert_int_equal (msg.port.port, port);
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 0xffff);
    ok (mach_port_destroy (self, port));
}

static void
extract_gives_each_kind (void **state)
{
    (void) state;
    mach_port_t port = new_port (), got;
    mach_msg_type_name_t type;
    gives (KERN_INVALID_RIGHT, mach_port_extract_right (self, port, MACH_MSG_TYPE_COPY_SEND, &got, &type));
    gives (KERN_INVALID_VALUE, mach_port_extract_right (self, port, 99, &got, &type));
    gives (KERN_INVALID_NAME, mach_port_extract_right (self, 0x9999, MACH_MSG_TYPE_COPY_SEND, &got, &type));
    ok (mach_port_extract_right (self, port, MACH_MSG_TYPE_MAKE_SEND, &got, &type));
    assert_int_equal (got, port);
    assert_int_equal (type, MACH_MSG_TYPE_PORT_SEND);
    ok (mach_port_extract_right (self, port, MACH_MSG_TYPE_COPY_SEND, &got, &type));
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 2);
    ok (mach_port_extract_right (self, port, MACH_MSG_TYPE_MOVE_SEND, &got, &type));
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 2);
    ok (mach_port_extract_right (self, port, MACH_MSG_TYPE_MOVE_RECEIVE, &got, &type));
    assert_int_equal (got, port); /* the send right's name */
    assert_int_equal (type_of (port), MACH_PORT_TYPE_SEND_RECEIVE);
    mach_port_t once = make_once (port), twice;
    ok (mach_port_extract_right (self, once, MACH_MSG_TYPE_MOVE_SEND_ONCE, &twice, &type));
    assert_int_equal (type_of (twice), MACH_PORT_TYPE_SEND_ONCE);
    assert_int_equal (status_of (port).mps_sorights, 1);
    ok (send_id (twice, MACH_MSG_TYPE_MOVE_SEND_ONCE, 3));
    assert_int_equal (type_of (twice), 0);
    assert_int_equal (next_id (port), 3);
    assert_int_equal (status_of (port).mps_sorights, 0);
    ok (mach_port_destroy (self, port));
}

/* What arrives for each disposition, and what it costs the sender. Receiver: another task. */
static void
each_disposition_arrives_as_its_right (void **state)
{
    (void) state;
    hostmach_task_t peer = hostmach_task_create ("peer"), home = hostmach_task_main ();
    hostmach_task_enter (peer);
    mach_port_t inbox = new_port ();
    hostmach_task_enter (NULL);
    mach_port_t to;
    ok (hostmach_copy_send (peer, inbox, home, &to));
    mach_port_t port = new_port ();
    make_send (port);

    const struct {
        mach_msg_type_name_t disposition, received;
        mach_port_type_t type;
    } cases[] = {
        { MACH_MSG_TYPE_MAKE_SEND, MACH_MSG_TYPE_PORT_SEND, MACH_PORT_TYPE_SEND },
        { MACH_MSG_TYPE_COPY_SEND, MACH_MSG_TYPE_PORT_SEND, MACH_PORT_TYPE_SEND },
        { MACH_MSG_TYPE_MAKE_SEND_ONCE, MACH_MSG_TYPE_PORT_SEND_ONCE, MACH_PORT_TYPE_SEND_ONCE },
        { MACH_MSG_TYPE_MOVE_SEND, MACH_MSG_TYPE_PORT_SEND, MACH_PORT_TYPE_SEND },
        { MACH_MSG_TYPE_MOVE_RECEIVE, MACH_MSG_TYPE_PORT_RECEIVE, MACH_PORT_TYPE_RECEIVE },
    };
    mach_port_t send_name = MACH_PORT_NULL;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ok (send_port (to, MACH_MSG_TYPE_COPY_SEND, port, cases[i].disposition));
        hostmach_task_enter (peer);
        union any_msg msg;
        ok (receive (inbox, &msg));
        assert_true (msg.head.msgh_bits & MACH_MSGH_BITS_COMPLEX);
        assert_int_equal (msg.port.type.msgt_name, cases[i].received);
        assert_true (type_of (msg.port.port) & cases[i].type);
        if (cases[i].type == MACH_PORT_TYPE_SEND) {
            if (send_name != MACH_PORT_NULL)
                assert_int_equal (msg.port.port, send_name);
            send_name = msg.port.port;
            assert_int_equal (refs (send_name, MACH_PORT_RIGHT_SEND), i == 3 ? 3 : i + 1);
        } else if (cases[i].type == MACH_PORT_TYPE_RECEIVE) {
            assert_int_equal (msg.port.port, send_name); /* send and receive have one name */
            assert_int_equal (type_of (send_name), MACH_PORT_TYPE_SEND_RECEIVE);
        }
        hostmach_task_enter (NULL);
    }
    assert_int_equal (type_of (port), 0); /* both rights were moved away */
    hostmach_task_destroy (peer);
    assert_int_equal (type_of (to), MACH_PORT_TYPE_DEAD_NAME);
    ok (mach_port_deallocate (self, to));
}

static void
move_send_once_passes_the_right_on (void **state)
{
    (void) state;
    mach_port_t port = new_port (), inbox = new_port ();
    make_send (inbox);
    mach_port_t once = make_once (port);
    ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, once, MACH_MSG_TYPE_MOVE_SEND_ONCE));
    assert_int_equal (type_of (once), 0);
    union any_msg msg;
    ok (receive (inbox, &msg));
    assert_int_equal (type_of (msg.port.port), MACH_PORT_TYPE_SEND_ONCE);
    assert_int_equal (next_id (port), 0); /* moved, not destroyed */
    ok (send_id (msg.port.port, MACH_MSG_TYPE_MOVE_SEND_ONCE, 11));
    assert_int_equal (next_id (port), 11);
    drop_receive (port);
    ok (mach_port_destroy (self, inbox));
}

/* memory_object_* messages make a send right to the control port each time. */
static void
make_send_adds_a_reference_with_each_message (void **state)
{
    (void) state;
    hostmach_task_t kernel = hostmach_task_create ("kernel");
    mach_port_t pager = new_port (), to, name = MACH_PORT_NULL;
    ok (hostmach_copy_send (hostmach_task_main (), pager, kernel, &to));
    hostmach_task_enter (kernel);
    mach_port_t control = new_port ();
    for (unsigned i = 1; i <= 4; i++) {
        hostmach_task_enter (kernel);
        ok (send_port (to, MACH_MSG_TYPE_COPY_SEND, control, MACH_MSG_TYPE_MAKE_SEND));
        assert_int_equal (status_of (control).mps_mscount, i);
        hostmach_task_enter (NULL);
        union any_msg msg;
        ok (receive (pager, &msg));
        if (i == 1)
            name = msg.port.port;
        assert_int_equal (msg.port.port, name);
        assert_int_equal (refs (name, MACH_PORT_RIGHT_SEND), i);
    }
    hostmach_task_destroy (kernel);
    assert_int_equal (refs (name, MACH_PORT_RIGHT_DEAD_NAME), 4);
    ok (mach_port_destroy (self, name));
    drop_receive (pager);
}

/* The receive right takes its queue along; make-send count and sequence number start again. */
static void
moving_a_receive_right_keeps_its_messages (void **state)
{
    (void) state;
    hostmach_task_t peer = hostmach_task_create ("peer");
    hostmach_task_enter (peer);
    mach_port_t inbox = new_port ();
    hostmach_task_enter (NULL);
    mach_port_t to, port = new_port ();
    ok (hostmach_copy_send (peer, inbox, hostmach_task_main (), &to));
    make_send (port);
    for (int id = 1; id <= 3; id++)
        ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, id));
    assert_int_equal (next_id (port), 1);
    ok (send_port (to, MACH_MSG_TYPE_COPY_SEND, port, MACH_MSG_TYPE_MOVE_RECEIVE));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 4)); /* while it is under way */
    assert_int_equal (type_of (port), MACH_PORT_TYPE_SEND);

    hostmach_task_enter (peer);
    union any_msg msg;
    ok (receive (inbox, &msg));
    mach_port_t moved = msg.port.port;
    assert_int_equal (status_of (moved).mps_mscount, 0);
    for (int id = 2; id <= 4; id++) {
        ok (receive (moved, &msg));
        assert_int_equal (msg.head.msgh_id, id);
        assert_int_equal (msg.head.msgh_seqno, id - 2);
    }
    hostmach_task_enter (NULL);
    ok (mach_port_deallocate (self, port));
    ok (mach_port_deallocate (self, to));
    hostmach_task_destroy (peer);
}

static void
dead_and_null_ports_travel (void **state)
{
    (void) state;
    mach_port_t inbox = new_port (), port = new_port (), dead;
    union any_msg msg;
    make_send (inbox);
    ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, MACH_PORT_NULL, MACH_MSG_TYPE_COPY_SEND));
    ok (receive (inbox, &msg));
    assert_int_equal (msg.port.port, MACH_PORT_NULL);
    ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, MACH_PORT_DEAD, MACH_MSG_TYPE_MOVE_SEND));
    ok (receive (inbox, &msg));
    assert_int_equal (msg.port.port, MACH_PORT_DEAD);
    ok (mach_port_allocate (self, MACH_PORT_RIGHT_DEAD_NAME, &dead));
    ok (mach_port_mod_refs (self, dead, MACH_PORT_RIGHT_DEAD_NAME, 1));
    ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, dead, MACH_MSG_TYPE_COPY_SEND));
    ok (receive (inbox, &msg));
    assert_int_equal (msg.port.port, MACH_PORT_DEAD);
    assert_int_equal (refs (dead, MACH_PORT_RIGHT_DEAD_NAME), 2);
    ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, dead, MACH_MSG_TYPE_MOVE_SEND)); /* consumes a reference */
    ok (receive (inbox, &msg));
    assert_int_equal (refs (dead, MACH_PORT_RIGHT_DEAD_NAME), 1);
    ok (mach_port_deallocate (self, dead));

    /* A port that dies on the way arrives dead. */
    make_send (port);
    ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, port, MACH_MSG_TYPE_MOVE_SEND));
    drop_receive (port);
    ok (receive (inbox, &msg));
    assert_int_equal (msg.port.port, MACH_PORT_DEAD);
    ok (mach_port_destroy (self, inbox));
}

/* A receive right that would wait in its own queue is destroyed with the message. */
static void
circular_messages_are_destroyed (void **state)
{
    (void) state;
    mach_port_t a = new_port (), b = new_port (), c = new_port ();
    make_send (a);
    ok (send_port (a, MACH_MSG_TYPE_COPY_SEND, a, MACH_MSG_TYPE_MOVE_RECEIVE));
    assert_int_equal (type_of (a), MACH_PORT_TYPE_DEAD_NAME);
    ok (mach_port_deallocate (self, a));

    make_send (b);
    make_send (c);
    ok (send_port (b, MACH_MSG_TYPE_COPY_SEND, c, MACH_MSG_TYPE_MOVE_RECEIVE)); /* c waits in b */
    ok (send_port (c, MACH_MSG_TYPE_COPY_SEND, b, MACH_MSG_TYPE_MOVE_RECEIVE)); /* b would wait in c */
    assert_int_equal (type_of (b), MACH_PORT_TYPE_DEAD_NAME);
    assert_int_equal (type_of (c), MACH_PORT_TYPE_DEAD_NAME);
    ok (mach_port_deallocate (self, b));
    ok (mach_port_deallocate (self, c));
}

/* Messages in messages in messages: destroying the first needs no recursion. */
static void
long_chains_of_messages_unravel (void **state)
{
    (void) state;
    mach_port_t first = new_port (), last = first;
    make_send (first);
    for (int i = 0; i < 20000; i++) {
        mach_port_t next = new_port ();
        make_send (next);
        ok (send_port (last, MACH_MSG_TYPE_MOVE_SEND, next, MACH_MSG_TYPE_MOVE_RECEIVE));
        last = next;
    }
    ok (mach_port_deallocate (self, last));
    assert_int_equal (hostmach_message_count (), counts_before.messages + 20000);
    drop_receive (first);
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (insert_coalesces_under_the_ports_name), rule (insert_uses_up_what_it_moves), rule (insert_reports_uref_overflow),
        rule (extract_gives_each_kind), rule (each_disposition_arrives_as_its_right),
        rule (move_send_once_passes_the_right_on), rule (make_send_adds_a_reference_with_each_message),
        rule (moving_a_receive_right_keeps_its_messages), rule (dead_and_null_ports_travel),
        rule (circular_messages_are_destroyed), rule (long_chains_of_messages_unravel),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
