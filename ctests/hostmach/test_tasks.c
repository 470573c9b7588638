/* Tasks, handlers, and injected send faults. */

#include "hm_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static void
name_spaces_are_separate (void **state)
{
    (void) state;
    hostmach_task_t a = hostmach_task_create ("a"), b = hostmach_task_create ("a name that is longer than thirty-one bytes");
    assert_string_equal (hostmach_task_name (hostmach_task_main ()), "main");
    assert_int_equal (strlen (hostmach_task_name (b)), 31);
    assert_ptr_equal (hostmach_task_current (), hostmach_task_main ());
    assert_ptr_equal (hostmach_task_enter (a), hostmach_task_main ());
    mach_port_t in_a = new_port ();
    assert_ptr_equal (hostmach_task_enter (b), a);
    mach_port_t in_b = new_port ();
    assert_int_equal (in_a, in_b);
    struct hostmach_right right;
    assert_int_equal (hostmach_list_rights (a, &right, 1), 1);
    assert_int_equal (right.name, in_a);
    assert_int_equal (right.type, MACH_PORT_TYPE_RECEIVE);
    hostmach_task_enter (NULL);
    assert_int_equal (hostmach_port_count (), counts_before.ports + 2);
    hostmach_task_destroy (a);
    hostmach_task_destroy (b);
    hostmach_task_destroy (NULL);
    hostmach_task_destroy (hostmach_task_main ());
}

static void *
where_am_i (void *unused)
{
    (void) unused;
    return hostmach_task_current ();
}

static void
threads_start_in_the_main_task (void **state)
{
    (void) state;
    hostmach_task_t task = hostmach_task_create ("t");
    hostmach_task_enter (task);
    pthread_t thread;
    void *found;
    pthread_create (&thread, NULL, where_am_i, NULL);
    pthread_join (thread, &found);
    assert_ptr_equal (found, hostmach_task_main ());
    hostmach_task_enter (NULL);
    hostmach_task_destroy (task);
}

static void
copy_send_makes_or_copies (void **state)
{
    (void) state;
    hostmach_task_t task = hostmach_task_create ("t"), home = hostmach_task_main ();
    mach_port_t port = new_port (), out, back, once = make_once (port);
    ok (hostmach_copy_send (home, port, task, &out));
    assert_int_equal (status_of (port).mps_mscount, 1);
    ok (hostmach_copy_send (task, out, home, &back)); /* from the send right, to the receiver's name */
    assert_int_equal (back, port);
    assert_int_equal (status_of (port).mps_mscount, 1);
    assert_int_equal (type_of (port), MACH_PORT_TYPE_SEND_RECEIVE);
    gives (KERN_INVALID_NAME, hostmach_copy_send (home, 0x4444, task, &out));
    gives (KERN_INVALID_RIGHT, hostmach_copy_send (home, once, task, &out));
    ok (send_id (once, MACH_MSG_TYPE_MOVE_SEND_ONCE, 1));
    ok (mach_port_destroy (self, port));
    hostmach_task_destroy (task);
}

/* ---- Handlers ---- */

struct served {
    atomic_int count;
    hostmach_task_t task;
    mach_msg_id_t last_id;
    mach_msg_seqno_t last_seqno;
    mach_port_t local;
    int depth;
    pthread_t thread;
};

static void
note (mach_msg_header_t *msg, void *cookie)
{
    struct served *served = cookie;
    served->task = hostmach_task_current ();
    served->last_id = msg->msgh_id;
    served->last_seqno = msg->msgh_seqno;
    served->local = msg->msgh_local_port;
    served->thread = pthread_self ();
    mach_msg_destroy (msg);
    atomic_fetch_add (&served->count, 1);
}

static hostmach_task_t kernel;
static mach_port_t control, to_control;

static void
make_kernel (hostmach_handler_t handler, void *cookie)
{
    kernel = hostmach_task_create ("kernel");
    hostmach_task_enter (kernel);
    control = new_port ();
    ok (hostmach_port_set_handler (control, handler, cookie));
    hostmach_task_enter (NULL);
    ok (hostmach_copy_send (kernel, control, hostmach_task_main (), &to_control));
}

static void
end_kernel (void)
{
    hostmach_task_destroy (kernel);
    if (type_of (to_control) != 0)
        ok (mach_port_destroy (self, to_control));
}

static void
handlers_run_in_the_sender (void **state)
{
    (void) state;
    struct served served = { 0 };
    make_kernel (note, &served);
    for (int i = 0; i < 40; i++) /* no queue limit */
        ok (send_id (to_control, MACH_MSG_TYPE_COPY_SEND, 70 + i));
    assert_int_equal (served.count, 40);
    assert_int_equal (served.last_id, 109);
    assert_int_equal (served.last_seqno, 39);
    assert_int_equal (served.local, control);
    assert_ptr_equal (served.task, kernel);
    assert_true (pthread_equal (served.thread, pthread_self ()));
    assert_ptr_equal (hostmach_task_current (), hostmach_task_main ());
    assert_int_equal (hostmach_message_count (), counts_before.messages);
    /* Rights and memory arrive in the kernel's task. */
    mach_port_t port = new_port ();
    ok (send_port (to_control, MACH_MSG_TYPE_COPY_SEND, port, MACH_MSG_TYPE_MAKE_SEND));
    assert_false (status_of (port).mps_srights);
    drop_receive (port);
    end_kernel ();
}

static void
handlers_are_set_and_taken_away (void **state)
{
    (void) state;
    struct served served = { 0 };
    mach_port_t port = new_port (), set = new_set (), once = make_once (port);
    make_send (port);
    gives (KERN_INVALID_NAME, hostmach_port_set_handler (0x4444, note, NULL));
    gives (KERN_INVALID_RIGHT, hostmach_port_set_handler (set, note, NULL));
    gives (KERN_INVALID_RIGHT, hostmach_port_set_handler (once, note, NULL));
    ok (mach_port_move_member (self, port, set));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 1));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 2));
    ok (hostmach_port_set_handler (port, note, &served)); /* what waits is executed */
    assert_int_equal (served.count, 2);
    assert_int_equal (served.last_id, 2);
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 3));
    assert_int_equal (served.count, 3);
    ok (hostmach_port_set_handler (port, NULL, NULL));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 4));
    assert_int_equal (served.count, 3);
    assert_int_equal (next_id (set), 4);
    /* A handler goes with the receive right. */
    mach_port_t inbox = new_port ();
    make_send (inbox);
    ok (hostmach_port_set_handler (port, note, &served));
    ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, port, MACH_MSG_TYPE_MOVE_RECEIVE));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 5));
    assert_int_equal (served.count, 3);
    ok (mach_port_destroy (self, inbox));
    ok (mach_port_destroy (self, port));
    ok (mach_port_destroy (self, once));
    ok (mach_port_destroy (self, set));
}

static void
answer (mach_msg_header_t *msg, void *cookie)
{
    mig_reply_header_t reply = { .Head = header_to (msg->msgh_remote_port, MACH_MSG_TYPE_MOVE_SEND_ONCE,
                                                    msg->msgh_id + 100, sizeof reply) };
    reply.RetCodeType = short_type (MACH_MSG_TYPE_INTEGER_32, 32, 1);
    reply.RetCode = *(int *) cookie;
    ok (send_msg (&reply, sizeof reply));
}

static void
handlers_answer_calls (void **state)
{
    (void) state;
    int code = 17;
    make_kernel (answer, &code);
    union any_msg msg;
    msg.head = header_to (to_control, MACH_MSG_TYPE_COPY_SEND, 2040, sizeof msg.head);
    msg.head.msgh_bits = MACH_MSGH_BITS (MACH_MSG_TYPE_COPY_SEND, MACH_MSG_TYPE_MAKE_SEND_ONCE);
    msg.head.msgh_local_port = mig_get_reply_port ();
    ok (mach_msg (&msg.head, MACH_SEND_MSG | MACH_RCV_MSG, sizeof msg.head, sizeof msg, msg.head.msgh_local_port, 0, 0));
    assert_int_equal (msg.head.msgh_id, 2140);
    assert_int_equal (msg.number.value, 17);
    end_kernel ();
}

static void
destroy_control (mach_msg_header_t *msg, void *cookie)
{
    struct served *served = cookie;
    note (msg, served);
    if (++served->depth < 5) { /* handlers nest */
        mach_port_t mine;
        ok (mach_port_insert_right (self, control, control, MACH_MSG_TYPE_MAKE_SEND));
        mine = control;
        ok (send_id (mine, MACH_MSG_TYPE_MOVE_SEND, 80 + served->depth));
    } else {
        drop_receive (control);
        assert_int_equal (type_of (control), 0);
    }
}

static void
a_handler_may_destroy_its_port (void **state)
{
    (void) state;
    struct served served = { 0 };
    make_kernel (destroy_control, &served);
    ok (send_id (to_control, MACH_MSG_TYPE_COPY_SEND, 80));
    assert_int_equal (served.depth, 5);
    assert_int_equal (type_of (to_control), MACH_PORT_TYPE_DEAD_NAME);
    assert_ptr_equal (hostmach_task_current (), hostmach_task_main ());
    end_kernel ();
}

static void
destroy_task (mach_msg_header_t *msg, void *cookie)
{
    struct served *served = cookie;
    mach_port_t name;
    note (msg, served);
    hostmach_task_destroy (kernel);
    gives (KERN_INVALID_TASK, mach_port_allocate (self, MACH_PORT_RIGHT_RECEIVE, &name));
    gives (MACH_SEND_INVALID_DEST, send_id (control, MACH_MSG_TYPE_MAKE_SEND, 1));
    union any_msg buffer;
    gives (MACH_RCV_INVALID_NAME, receive (control, &buffer));
    gives (KERN_INVALID_TASK, hostmach_copy_send (kernel, control, hostmach_task_main (), &name));
}

static void
a_handler_may_outlive_its_task (void **state)
{
    (void) state;
    struct served served = { 0 };
    make_kernel (destroy_task, &served);
    ok (send_id (to_control, MACH_MSG_TYPE_COPY_SEND, 1));
    assert_int_equal (served.count, 1);
    ok (mach_port_destroy (self, to_control));
}

/* Giving up a right runs the handler of the port that hears of it, in this thread. */
static void
notifications_reach_handlers (void **state)
{
    (void) state;
    struct served served = { 0 };
    mach_port_t notify = new_port (), port = new_port (), previous;
    ok (hostmach_port_set_handler (notify, note, &served));
    make_send (port);
    ok (mach_port_request_notification (self, port, MACH_NOTIFY_NO_SENDERS, 0, notify, MACH_MSG_TYPE_MAKE_SEND_ONCE,
                                        &previous));
    ok (mach_port_deallocate (self, port));
    assert_int_equal (served.count, 1);
    assert_int_equal (served.last_id, MACH_NOTIFY_NO_SENDERS);
    ok (mach_port_deallocate (self, make_once (notify)));
    assert_int_equal (served.last_id, MACH_NOTIFY_SEND_ONCE);
    drop_receive (port);
    drop_receive (notify);
}

static atomic_int inside, entered;

static void
linger (mach_msg_header_t *msg, void *cookie)
{
    (void) msg;
    (void) cookie;
    atomic_fetch_add (&inside, 1);
    atomic_fetch_add (&entered, 1);
    nanosleep (&(struct timespec) { 0, 30000000 }, NULL);
    atomic_fetch_sub (&inside, 1);
}

static void *
send_once_to_control (void *unused)
{
    (void) unused;
    ok (send_id (to_control, MACH_MSG_TYPE_COPY_SEND, 1));
    return NULL;
}

static void
drain_waits_for_running_handlers (void **state)
{
    (void) state;
    make_kernel (linger, NULL);
    atomic_store (&entered, 0);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create (&threads[i], NULL, send_once_to_control, NULL);
    while (atomic_load (&entered) < 3)
        nanosleep (&(struct timespec) { 0, 1000000 }, NULL);
    hostmach_task_drain (kernel);
    assert_int_equal (atomic_load (&inside), 0);
    for (int i = 0; i < 3; i++)
        pthread_join (threads[i], NULL);
    end_kernel ();
}

static void
a_dying_task_leaves_dead_names_and_says_so (void **state)
{
    (void) state;
    hostmach_task_t task = hostmach_task_create ("t"), home = hostmach_task_main ();
    mach_port_t mine = new_port (), notify = new_port (), theirs, name, previous;
    ok (hostmach_copy_send (home, mine, task, &theirs));
    ok (mach_port_request_notification (self, mine, MACH_NOTIFY_NO_SENDERS, 0, notify, MACH_MSG_TYPE_MAKE_SEND_ONCE,
                                        &previous));
    hostmach_task_enter (task);
    mach_port_t port = new_port (), set = new_set ();
    ok (mach_port_move_member (self, port, set));
    mach_port_t own = new_port ();
    make_send (own);
    ok (send_id (own, MACH_MSG_TYPE_COPY_SEND, 1));
    mig_get_reply_port ();
    ok (mach_port_allocate (self, MACH_PORT_RIGHT_DEAD_NAME, &name));
    hostmach_task_enter (NULL);
    ok (hostmach_copy_send (task, port, home, &name));
    ok (send_id (name, MACH_MSG_TYPE_COPY_SEND, 2));
    hostmach_task_destroy (task);
    assert_int_equal (type_of (name), MACH_PORT_TYPE_DEAD_NAME);
    assert_int_equal (next_id (notify), MACH_NOTIFY_NO_SENDERS);
    ok (mach_port_destroy (self, name));
    drop_receive (mine);
    drop_receive (notify);
}

static void
send_faults_strike_as_ordered (void **state)
{
    (void) state;
    hostmach_task_t task = hostmach_task_create ("t");
    mach_port_t port = new_port ();
    make_send (port);
    unsigned before = hostmach_faults_struck ();
    hostmach_fail_send (&(struct hostmach_fault) { hostmach_task_main (), 77, 1, 2, MACH_SEND_NO_BUFFER });
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 76));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 77));
    gives (MACH_SEND_NO_BUFFER, send_id (port, MACH_MSG_TYPE_MOVE_SEND, 77));
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 1); /* nothing was taken */
    gives (MACH_SEND_NO_BUFFER, send_id (port, MACH_MSG_TYPE_COPY_SEND, 77));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 77));
    assert_int_equal (hostmach_faults_struck () - before, 2);
    hostmach_fail_send (&(struct hostmach_fault) { task, 0, 0, ~0u, MACH_SEND_NO_BUFFER });
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 1));
    hostmach_fail_send (NULL);
    ok (mach_port_destroy (self, port));
    hostmach_task_destroy (task);
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (name_spaces_are_separate), rule (threads_start_in_the_main_task), rule (copy_send_makes_or_copies),
        rule (handlers_run_in_the_sender), rule (handlers_are_set_and_taken_away), rule (handlers_answer_calls),
        rule (a_handler_may_destroy_its_port), rule (a_handler_may_outlive_its_task),
        rule (notifications_reach_handlers), rule (drain_waits_for_running_handlers),
        rule (a_dying_task_leaves_dead_names_and_says_so), rule (send_faults_strike_as_ordered),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
