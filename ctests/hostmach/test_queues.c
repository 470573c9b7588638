/* Queues: limits, timeouts, who waits and who is woken, calls. */

#include "hm_test.h"

#include <pthread.h>
#include <time.h>

static void
a_full_queue_times_out_and_returns_the_message (void **state)
{
    (void) state;
    mach_port_t port = new_port (), carried = new_port ();
    make_send (port);
    make_send (carried);
    for (unsigned i = 0; i < MACH_PORT_QLIMIT_DEFAULT; i++)
        ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 1));
    vm_address_t page;
    ok (vm_allocate (self, &page, vm_page_size, TRUE));

    struct port_msg out = { header_to (port, MACH_MSG_TYPE_COPY_SEND, 2, sizeof out),
                            short_type (MACH_MSG_TYPE_MAKE_SEND_ONCE, 32, 1), carried };
    out.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
    gives (MACH_SEND_TIMED_OUT, mach_msg (&out.head, MACH_SEND_MSG | MACH_SEND_TIMEOUT, sizeof out, 0, 0, 20, 0));
    /* Not swapped, with the rights as they travel. */
    assert_int_equal (out.head.msgh_remote_port, port);
    assert_int_equal (MACH_MSGH_BITS_REMOTE (out.head.msgh_bits), MACH_MSG_TYPE_MOVE_SEND);
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 2);
    assert_int_equal (type_of (out.port), MACH_PORT_TYPE_SEND_ONCE);
    mach_msg_destroy (&out.head);
    assert_int_equal (refs (port, MACH_PORT_RIGHT_SEND), 1);
    assert_int_equal (next_id (carried), MACH_NOTIFY_SEND_ONCE);

    struct memory_msg memory = { header_to (port, MACH_MSG_TYPE_COPY_SEND, 3, sizeof memory),
                                 memory_type (MACH_MSG_TYPE_BYTE, 8, (unsigned) vm_page_size, true), page };
    memory.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
    gives (MACH_SEND_TIMED_OUT, send_msg (&memory, sizeof memory));
    assert_int_equal (memory.address, page); /* still ours */
    mach_msg_destroy (&memory.head);

    /* Send-once rights, SEND_ALWAYS and kernel tasks ignore the limit. */
    mach_port_t once = make_once (port);
    ok (send_id (once, MACH_MSG_TYPE_MOVE_SEND_ONCE, 4));
    mach_msg_header_t head = header_to (port, MACH_MSG_TYPE_COPY_SEND, 5, sizeof head);
    ok (mach_msg (&head, MACH_SEND_MSG | MACH_SEND_ALWAYS, sizeof head, 0, 0, 0, 0));
    hostmach_task_set_kernel (hostmach_task_main (), TRUE);
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 6));
    hostmach_task_set_kernel (hostmach_task_main (), FALSE);
    gives (MACH_SEND_TIMED_OUT, send_id (port, MACH_MSG_TYPE_COPY_SEND, 7));
    ok (mach_port_deallocate (self, port)); /* the reference that came back */
    assert_int_equal (status_of (port).mps_msgcount, MACH_PORT_QLIMIT_DEFAULT + 3);
    drop_receive (carried);
    ok (mach_port_destroy (self, carried));
    ok (mach_port_destroy (self, port));
}

static void *
send_blocking (void *argument)
{
    mach_msg_header_t head = header_to (*(mach_port_t *) argument, MACH_MSG_TYPE_COPY_SEND, 50, sizeof head);
    return (void *) (intptr_t) mach_msg (&head, MACH_SEND_MSG, sizeof head, 0, 0, 0, 0);
}

static void
nap (void)
{
    nanosleep (&(struct timespec) { 0, 20000000 }, NULL);
}

static void
a_blocked_sender_goes_on_when_there_is_room (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    ok (mach_port_set_qlimit (self, port, 1));
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 49));
    pthread_t thread;
    void *result;
    pthread_create (&thread, NULL, send_blocking, &port);
    nap ();
    assert_int_equal (status_of (port).mps_msgcount, 1);
    assert_int_equal (next_id (port), 49);
    pthread_join (thread, &result);
    ok ((intptr_t) result);
    assert_int_equal (next_id (port), 50);

    /* A larger limit is room too. */
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 49));
    pthread_create (&thread, NULL, send_blocking, &port);
    nap ();
    ok (mach_port_set_qlimit (self, port, 2));
    pthread_join (thread, &result);
    ok ((intptr_t) result);

    /* The port's death lets the sender go: the message counts as sent. */
    pthread_create (&thread, NULL, send_blocking, &port);
    nap ();
    drop_receive (port);
    pthread_join (thread, &result);
    ok ((intptr_t) result);
    ok (mach_port_deallocate (self, port));
}

static void
receive_times_out (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    union any_msg msg;
    struct timespec a, b;
    gives (MACH_RCV_TIMED_OUT, receive (port, &msg));
    clock_gettime (CLOCK_MONOTONIC, &a);
    gives (MACH_RCV_TIMED_OUT, mach_msg (&msg.head, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0, sizeof msg, port, 30, 0));
    clock_gettime (CLOCK_MONOTONIC, &b);
    assert_true ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 >= 29);
    drop_receive (port);
}

struct waiter {
    mach_port_t port;
    mach_msg_return_t result;
};

static void *
receive_blocking (void *argument)
{
    struct waiter *waiter = argument;
    union any_msg msg;
    waiter->result = mach_msg (&msg.head, MACH_RCV_MSG, 0, sizeof msg, waiter->port, 0, 0);
    return NULL;
}

static void
receivers_learn_why_the_port_went (void **state)
{
    (void) state;
    pthread_t thread;
    mach_port_t set = new_set (), inbox = new_port ();
    make_send (inbox);
    struct waiter waiter = { new_port (), 0 };

    pthread_create (&thread, NULL, receive_blocking, &waiter);
    nap ();
    ok (mach_port_move_member (self, waiter.port, set));
    pthread_join (thread, NULL);
    gives (MACH_RCV_PORT_CHANGED, waiter.result);
    union any_msg msg;
    gives (MACH_RCV_IN_SET, receive (waiter.port, &msg));
    ok (mach_port_move_member (self, waiter.port, MACH_PORT_NULL));

    pthread_create (&thread, NULL, receive_blocking, &waiter);
    nap ();
    ok (send_port (inbox, MACH_MSG_TYPE_COPY_SEND, waiter.port, MACH_MSG_TYPE_MOVE_RECEIVE));
    pthread_join (thread, NULL);
    gives (MACH_RCV_PORT_DIED, waiter.result);
    ok (receive (inbox, &msg));
    waiter.port = msg.port.port;

    pthread_create (&thread, NULL, receive_blocking, &waiter);
    nap ();
    drop_receive (waiter.port);
    pthread_join (thread, NULL);
    gives (MACH_RCV_PORT_DIED, waiter.result);

    waiter.port = set;
    pthread_create (&thread, NULL, receive_blocking, &waiter);
    nap ();
    ok (mach_port_destroy (self, set));
    pthread_join (thread, NULL);
    gives (MACH_RCV_PORT_DIED, waiter.result);
    ok (mach_port_destroy (self, inbox));
}

static boolean_t
double_it (mach_msg_header_t *request, mach_msg_header_t *reply)
{
    mig_reply_header_t *out = (mig_reply_header_t *) reply;
    out->Head = header_to (request->msgh_remote_port, MACH_MSG_TYPE_MOVE_SEND_ONCE, request->msgh_id + 100,
                           sizeof *out);
    out->RetCodeType = short_type (MACH_MSG_TYPE_INTEGER_32, 32, 1);
    out->RetCode = KERN_SUCCESS;
    return TRUE;
}

static void *
serve (void *argument)
{
    mach_msg_return_t mr = mach_msg_server (double_it, 4096, *(mach_port_t *) argument);
    return (void *) (intptr_t) mr;
}

/* Send and receive in one call, against mach_msg_server in another thread. */
static void
calls_and_the_server_loop_work (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    pthread_t thread;
    void *result;
    pthread_create (&thread, NULL, serve, &port);
    for (int i = 0; i < 200; i++) {
        union any_msg msg;
        msg.head = header_to (port, MACH_MSG_TYPE_COPY_SEND, i, sizeof msg.head);
        msg.head.msgh_bits = MACH_MSGH_BITS (MACH_MSG_TYPE_COPY_SEND, MACH_MSG_TYPE_MAKE_SEND_ONCE);
        msg.head.msgh_local_port = mig_get_reply_port ();
        ok (mach_msg (&msg.head, MACH_SEND_MSG | MACH_RCV_MSG, sizeof msg.head, sizeof msg, msg.head.msgh_local_port, 0, 0));
        assert_int_equal (msg.head.msgh_id, i + 100);
    }
    drop_receive (port);
    pthread_join (thread, &result);
    mach_msg_return_t mr = (mach_msg_return_t) (intptr_t) result;
    assert_true (mr == MACH_RCV_PORT_DIED || mr == MACH_RCV_INVALID_NAME); /* it waited, or was about to */
    ok (mach_port_deallocate (self, port));
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (a_full_queue_times_out_and_returns_the_message), rule (a_blocked_sender_goes_on_when_there_is_room),
        rule (receive_times_out), rule (receivers_learn_why_the_port_went), rule (calls_and_the_server_loop_work),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
