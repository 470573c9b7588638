/* Notifications: when they are sent, what they say, what they leave. */

#include "hm_test.h"

static mach_port_t
request (mach_port_t name, mach_msg_id_t id, mach_port_mscount_t sync, mach_port_t notify)
{
    mach_port_t previous;
    ok (mach_port_request_notification (self, name, id, sync, notify, MACH_MSG_TYPE_MAKE_SEND_ONCE, &previous));
    return previous;
}

static mach_port_t
send_right_of (hostmach_task_t owner, mach_port_t port)
{
    mach_port_t name;
    ok (hostmach_copy_send (owner, port, hostmach_task_main (), &name));
    return name;
}

/* The name becomes a dead name, with one more reference for whoever handles the notification. */
static void
dead_name_notification_adds_a_reference (void **state)
{
    (void) state;
    hostmach_task_t kernel = hostmach_task_create ("kernel");
    hostmach_task_enter (kernel);
    mach_port_t control = new_port ();
    hostmach_task_enter (NULL);
    mach_port_t name = send_right_of (kernel, control), notify = new_port ();
    assert_int_equal (request (name, MACH_NOTIFY_DEAD_NAME, 0, notify), MACH_PORT_NULL);
    assert_int_equal (type_of (name), MACH_PORT_TYPE_SEND | MACH_PORT_TYPE_DNREQUEST);
    ok (mach_port_rename (self, name, 0x80000004)); /* the request goes along */
    hostmach_task_destroy (kernel);
    union any_msg msg;
    ok (receive (notify, &msg));
    assert_int_equal (msg.head.msgh_id, MACH_NOTIFY_DEAD_NAME);
    assert_int_equal (msg.head.msgh_size, sizeof (mach_dead_name_notification_t));
    assert_int_equal (msg.head.msgh_bits, MACH_MSGH_BITS (0, MACH_MSG_TYPE_PORT_SEND_ONCE));
    assert_int_equal (msg.head.msgh_local_port, notify);
    assert_int_equal (msg.name_notice.not_port, 0x80000004);
    assert_int_equal (msg.name_notice.not_type.msgt_name, MACH_MSG_TYPE_PORT_NAME);
    assert_int_equal (refs (0x80000004, MACH_PORT_RIGHT_DEAD_NAME), 2);
    ok (mach_port_mod_refs (self, 0x80000004, MACH_PORT_RIGHT_DEAD_NAME, -2));
    drop_receive (notify);
}

static void
dead_name_request_on_a_dead_name (void **state)
{
    (void) state;
    mach_port_t dead, notify = new_port (), previous;
    ok (mach_port_allocate (self, MACH_PORT_RIGHT_DEAD_NAME, &dead));
    gives (KERN_INVALID_ARGUMENT, mach_port_request_notification (self, dead, MACH_NOTIFY_DEAD_NAME, 0, notify,
                                                                  MACH_MSG_TYPE_MAKE_SEND_ONCE, &previous));
    assert_int_equal (request (dead, MACH_NOTIFY_DEAD_NAME, 1, notify), MACH_PORT_NULL);
    union any_msg msg;
    ok (receive (notify, &msg));
    assert_int_equal (msg.head.msgh_id, MACH_NOTIFY_DEAD_NAME);
    assert_int_equal (msg.name_notice.not_port, dead);
    assert_int_equal (refs (dead, MACH_PORT_RIGHT_DEAD_NAME), 2);
    ok (mach_port_destroy (self, dead));
    drop_receive (notify);
}

static void
a_second_request_returns_the_first (void **state)
{
    (void) state;
    mach_port_t port = new_port (), a = new_port (), b = new_port ();
    make_send (port);
    const mach_msg_id_t ids[] = { MACH_NOTIFY_DEAD_NAME, MACH_NOTIFY_NO_SENDERS, MACH_NOTIFY_PORT_DESTROYED };
    for (int i = 0; i < 3; i++) {
        assert_int_equal (request (port, ids[i], 0, a), MACH_PORT_NULL);
        mach_port_t previous = request (port, ids[i], 0, b);
        assert_int_equal (type_of (previous), MACH_PORT_TYPE_SEND_ONCE);
        ok (send_id (previous, MACH_MSG_TYPE_MOVE_SEND_ONCE, 60 + i));
        assert_int_equal (next_id (a), 60 + i); /* it was a's */
        previous = request (port, ids[i], 0, MACH_PORT_NULL);
        assert_int_equal (type_of (previous), MACH_PORT_TYPE_SEND_ONCE);
        ok (mach_port_deallocate (self, previous));
        assert_int_equal (next_id (b), MACH_NOTIFY_SEND_ONCE);
        assert_int_equal (request (port, ids[i], 0, MACH_PORT_NULL), MACH_PORT_NULL);
    }
    ok (mach_port_destroy (self, port));
    drop_receive (a);
    drop_receive (b);
}

static void
requests_check_their_arguments (void **state)
{
    (void) state;
    mach_port_t port = new_port (), set = new_set (), once = make_once (port), previous;
#define ASK(name, id, sync, notify, type) mach_port_request_notification (self, name, id, sync, notify, type, &previous)
    gives (KERN_INVALID_VALUE, ASK (port, 1, 0, port, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    gives (KERN_INVALID_VALUE, ASK (port, MACH_NOTIFY_PORT_DESTROYED, 1, port, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    gives (KERN_INVALID_NAME, ASK (0x4444, MACH_NOTIFY_DEAD_NAME, 0, port, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    gives (KERN_INVALID_RIGHT, ASK (set, MACH_NOTIFY_DEAD_NAME, 0, port, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    gives (KERN_INVALID_RIGHT, ASK (once, MACH_NOTIFY_NO_SENDERS, 0, port, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    gives (KERN_INVALID_RIGHT, ASK (once, MACH_NOTIFY_PORT_DESTROYED, 0, port, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    gives (KERN_INVALID_CAPABILITY, ASK (port, MACH_NOTIFY_NO_SENDERS, 0, MACH_PORT_DEAD, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    gives (KERN_INVALID_CAPABILITY, ASK (port, MACH_NOTIFY_NO_SENDERS, 0, port, MACH_MSG_TYPE_MAKE_SEND));
    gives (MACH_SEND_INVALID_RIGHT, ASK (port, MACH_NOTIFY_NO_SENDERS, 0, set, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    gives (MACH_SEND_INVALID_RIGHT, ASK (port, MACH_NOTIFY_NO_SENDERS, 0, 0x4444, MACH_MSG_TYPE_MOVE_SEND_ONCE));
    gives (MACH_SEND_INVALID_RIGHT, ASK (once, MACH_NOTIFY_DEAD_NAME, 0, once, MACH_MSG_TYPE_MOVE_SEND_ONCE));
    ok (ASK (port, MACH_NOTIFY_PORT_DESTROYED, 0, once, MACH_MSG_TYPE_MOVE_SEND_ONCE));
    assert_int_equal (type_of (once), 0);
    ok (mach_port_destroy (self, set));
    drop_receive (port);
}

static void
no_senders_comes_when_the_last_send_right_goes (void **state)
{
    (void) state;
    hostmach_task_t peer = hostmach_task_create ("peer"), home = hostmach_task_main ();
    mach_port_t port = new_port (), notify = new_port (), theirs, again;
    ok (hostmach_copy_send (home, port, peer, &theirs));
    ok (hostmach_copy_send (home, port, peer, &again));
    assert_int_equal (request (port, MACH_NOTIFY_NO_SENDERS, 0, notify), MACH_PORT_NULL);
    assert_true (status_of (port).mps_nsrequest);
    hostmach_task_enter (peer);
    ok (mach_port_deallocate (self, theirs));
    hostmach_task_enter (NULL);
    assert_int_equal (next_id (notify), 0);
    /* A right in a message counts as well. */
    hostmach_task_enter (peer);
    mach_port_t mine = new_port ();
    make_send (mine);
    ok (send_port (mine, MACH_MSG_TYPE_COPY_SEND, theirs, MACH_MSG_TYPE_MOVE_SEND));
    hostmach_task_enter (NULL);
    assert_int_equal (next_id (notify), 0);
    hostmach_task_destroy (peer);
    union any_msg msg;
    ok (receive (notify, &msg));
    assert_int_equal (msg.head.msgh_id, MACH_NOTIFY_NO_SENDERS);
    assert_int_equal (msg.head.msgh_size, sizeof (mach_no_senders_notification_t));
    assert_int_equal (msg.count_notice.not_count, 2);
    assert_false (status_of (port).mps_nsrequest);
    drop_receive (port);
    drop_receive (notify);
}

/* With sync <= make-send count and no send rights: at once. Else only when rights come and go. */
static void
no_senders_honours_sync (void **state)
{
    (void) state;
    mach_port_t port = new_port (), notify = new_port ();
    request (port, MACH_NOTIFY_NO_SENDERS, 0, notify);
    assert_int_equal (next_id (notify), MACH_NOTIFY_NO_SENDERS);
    request (port, MACH_NOTIFY_NO_SENDERS, 1, notify);
    assert_int_equal (next_id (notify), 0);
    make_send (port);
    assert_int_equal (next_id (notify), 0);
    ok (mach_port_deallocate (self, port));
    assert_int_equal (next_id (notify), MACH_NOTIFY_NO_SENDERS);
    request (port, MACH_NOTIFY_NO_SENDERS, 1, notify);
    assert_int_equal (next_id (notify), MACH_NOTIFY_NO_SENDERS);
    request (port, MACH_NOTIFY_NO_SENDERS, 5, notify);
    drop_receive (port); /* the request dies unused */
    assert_int_equal (next_id (notify), MACH_NOTIFY_SEND_ONCE);
    drop_receive (notify);
}

static void
a_port_can_be_its_own_notify_port (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    request (port, MACH_NOTIFY_NO_SENDERS, 0, port);
    ok (mach_port_deallocate (self, port));
    assert_int_equal (next_id (port), MACH_NOTIFY_NO_SENDERS);
    make_send (port);
    request (port, MACH_NOTIFY_NO_SENDERS, 0, port);
    request (port, MACH_NOTIFY_DEAD_NAME, 0, port);
    request (port, MACH_NOTIFY_PORT_DESTROYED, 0, port);
    ok (mach_port_destroy (self, port));
}

static void
port_destroyed_saves_the_receive_right (void **state)
{
    (void) state;
    mach_port_t port = new_port (), notify = new_port ();
    make_send (port);
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 21));
    request (port, MACH_NOTIFY_PORT_DESTROYED, 0, notify);
    drop_receive (port);
    assert_int_equal (type_of (port), MACH_PORT_TYPE_SEND); /* not dead */
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 22));
    union any_msg msg;
    ok (receive (notify, &msg));
    assert_int_equal (msg.head.msgh_id, MACH_NOTIFY_PORT_DESTROYED);
    assert_true (msg.head.msgh_bits & MACH_MSGH_BITS_COMPLEX);
    assert_int_equal (msg.destroyed_notice.not_type.msgt_name, MACH_MSG_TYPE_PORT_RECEIVE);
    assert_int_equal (msg.destroyed_notice.not_port, port);
    assert_int_equal (next_id (port), 21);
    assert_int_equal (next_id (port), 22);
    /* Nobody takes it: it dies with the message. */
    request (port, MACH_NOTIFY_PORT_DESTROYED, 0, notify);
    drop_receive (port);
    drop_receive (notify);
    assert_int_equal (type_of (port), MACH_PORT_TYPE_DEAD_NAME);
    ok (mach_port_deallocate (self, port));
}

static void
a_send_once_right_destroyed_unused_tells (void **state)
{
    (void) state;
    mach_port_t port = new_port (), inbox = new_port ();
    ok (mach_port_deallocate (self, make_once (port)));
    union any_msg msg;
    ok (receive (port, &msg));
    assert_int_equal (msg.head.msgh_id, MACH_NOTIFY_SEND_ONCE);
    assert_int_equal (msg.head.msgh_size, sizeof (mach_send_once_notification_t));
    ok (mach_port_destroy (self, make_once (port)));
    assert_int_equal (next_id (port), MACH_NOTIFY_SEND_ONCE);
    /* Also in a message that nobody receives. */
    make_send (inbox);
    ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, port, MACH_MSG_TYPE_MAKE_SEND_ONCE));
    ok (mach_port_destroy (self, inbox));
    assert_int_equal (next_id (port), MACH_NOTIFY_SEND_ONCE);
    assert_int_equal (status_of (port).mps_sorights, 0);
    drop_receive (port);
}

/* The name went before the port did. */
static void
port_deleted_tells_of_a_lost_name (void **state)
{
    (void) state;
    mach_port_t port = new_port (), notify = new_port (), inbox = new_port ();
    make_send (inbox);
    union any_msg msg;
    hostmach_task_t peer = hostmach_task_create ("peer");
    mach_port_t theirs;
    ok (hostmach_copy_send (hostmach_task_main (), port, peer, &theirs));

    for (int i = 0; i < 4; i++) {
        mach_port_t once = make_once (port);
        request (once, MACH_NOTIFY_DEAD_NAME, 0, notify);
        switch (i) {
        case 0:
            ok (send_id (once, MACH_MSG_TYPE_MOVE_SEND_ONCE, 1));
            break;
        case 1:
            ok (mach_port_deallocate (self, once));
            break;
        case 2:
            ok (mach_port_destroy (self, once));
            break;
        case 3:
            ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, once, MACH_MSG_TYPE_MOVE_SEND_ONCE));
            break;
        }
        ok (receive (notify, &msg));
        assert_int_equal (msg.head.msgh_id, MACH_NOTIFY_PORT_DELETED);
        assert_int_equal (msg.name_notice.not_port, once);
    }
    request (port, MACH_NOTIFY_DEAD_NAME, 0, notify);
    drop_receive (port);
    assert_int_equal (next_id (notify), MACH_NOTIFY_PORT_DELETED);
    hostmach_task_destroy (peer);
    ok (mach_port_destroy (self, inbox));
    drop_receive (notify);
}

static void
notifications_ignore_queue_limits (void **state)
{
    (void) state;
    mach_port_t notify = new_port (), port = new_port ();
    ok (mach_port_set_qlimit (self, notify, 1));
    make_send (notify);
    ok (send_id (notify, MACH_MSG_TYPE_COPY_SEND, 1));
    for (int i = 0; i < 20; i++)
        ok (mach_port_deallocate (self, make_once (notify)));
    assert_int_equal (status_of (notify).mps_msgcount, 21);
    drop_receive (port);
    ok (mach_port_destroy (self, notify));
}

/* A request whose notify port has died does no harm, whatever happens. */
static void
dead_notify_ports_are_harmless (void **state)
{
    (void) state;
    mach_port_t port = new_port (), notify = new_port ();
    make_send (port);
    request (port, MACH_NOTIFY_NO_SENDERS, 0, notify);
    request (port, MACH_NOTIFY_PORT_DESTROYED, 0, notify);
    request (port, MACH_NOTIFY_DEAD_NAME, 0, notify);
    drop_receive (notify);
    drop_receive (port);
    assert_int_equal (refs (port, MACH_PORT_RIGHT_DEAD_NAME), 2);
    ok (mach_port_destroy (self, port));
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (dead_name_notification_adds_a_reference), rule (dead_name_request_on_a_dead_name),
        rule (a_second_request_returns_the_first), rule (requests_check_their_arguments),
        rule (no_senders_comes_when_the_last_send_right_goes), rule (no_senders_honours_sync),
        rule (a_port_can_be_its_own_notify_port), rule (port_destroyed_saves_the_receive_right),
        rule (a_send_once_right_destroyed_unused_tells), rule (port_deleted_tells_of_a_lost_name),
        rule (notifications_ignore_queue_limits), rule (dead_notify_ports_are_harmless),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
