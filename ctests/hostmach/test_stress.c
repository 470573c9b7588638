/* Many threads: counts return to where they were, every message arrives once, in order per sender. */

#include "hm_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SENDERS = 4, RECEIVERS = 3, EACH = 4000 };

static mach_port_t set, ports[SENDERS];
static atomic_int received;

struct sender {
    pthread_t thread;
    int index;
};

static void *
send_many (void *argument)
{
    struct sender *sender = argument;
    mach_port_t reply = mach_reply_port ();
    for (int i = 0; i < EACH; i++) {
        vm_address_t page;
        ok (vm_allocate (self, &page, vm_page_size, TRUE));
        *(int *) page = i;
#pragma pack(push, 4)
        struct {
            mach_msg_header_t head;
            mach_msg_type_t number_type;
            int number;
            mach_msg_type_t port_type;
            mach_port_t port;
            mach_msg_type_long_t data_type;
            vm_address_t data;
        } out = { header_to (ports[sender->index], MACH_MSG_TYPE_COPY_SEND, sender->index, sizeof out),
                  short_type (MACH_MSG_TYPE_INTEGER_32, 32, 1),
                  i,
                  short_type (MACH_MSG_TYPE_MAKE_SEND, 32, 1),
                  reply,
                  memory_type (MACH_MSG_TYPE_BYTE, 8, (unsigned) vm_page_size, i % 2),
                  page };
#pragma pack(pop)
        out.head.msgh_bits |= MACH_MSGH_BITS_COMPLEX;
        ok (mach_msg (&out.head, MACH_SEND_MSG, sizeof out, 0, 0, 0, 0));
        if (i % 2 == 0)
            ok (vm_deallocate (self, page, vm_page_size));
    }
    mach_port_destroy (self, reply);
    return NULL;
}

static void *
receive_many (void *unused)
{
    (void) unused;
    for (;;) {
        union any_msg msg;
        mach_msg_return_t mr = mach_msg (&msg.head, MACH_RCV_MSG, 0, sizeof msg, set, 0, 0);
        if (mr == MACH_RCV_PORT_DIED || mr == MACH_RCV_INVALID_NAME)
            return NULL;
        ok (mr);
        mach_msg_destroy (&msg.head);
        atomic_fetch_add (&received, 1);
    }
}

static void
every_message_arrives_once (void **state)
{
    (void) state;
    struct sender senders[SENDERS];
    pthread_t receivers[RECEIVERS];
    set = new_set ();
    atomic_store (&received, 0);
    for (int i = 0; i < SENDERS; i++) {
        ports[i] = new_port ();
        make_send (ports[i]);
        ok (mach_port_move_member (self, ports[i], set));
    }
    for (int i = 0; i < RECEIVERS; i++)
        pthread_create (&receivers[i], NULL, receive_many, NULL);
    for (int i = 0; i < SENDERS; i++) {
        senders[i].index = i;
        pthread_create (&senders[i].thread, NULL, send_many, &senders[i]);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join (senders[i].thread, NULL);
    while (atomic_load (&received) != SENDERS * EACH)
        sched_yield ();
    ok (mach_port_destroy (self, set));
    for (int i = 0; i < RECEIVERS; i++)
        pthread_join (receivers[i], NULL);
    for (int i = 0; i < SENDERS; i++)
        ok (mach_port_destroy (self, ports[i]));
}

/* One receiver sees each sender's messages in order, and sequence numbers without a gap. */
static void
one_receiver_sees_the_order (void **state)
{
    (void) state;
    struct sender senders[SENDERS];
    int next[SENDERS] = { 0 };
    set = new_set ();
    for (int i = 0; i < SENDERS; i++) {
        ports[i] = new_port ();
        make_send (ports[i]);
        ok (mach_port_move_member (self, ports[i], set));
        senders[i].index = i;
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_create (&senders[i].thread, NULL, send_many, &senders[i]);
    for (int i = 0; i < SENDERS * EACH; i++) {
        union any_msg msg;
        ok (mach_msg (&msg.head, MACH_RCV_MSG, 0, sizeof msg, set, 0, 0));
        int from = msg.head.msgh_id;
        assert_int_equal (msg.number.value, next[from]);
        assert_int_equal (msg.head.msgh_seqno, next[from]++);
        mach_msg_destroy (&msg.head);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join (senders[i].thread, NULL);
        ok (mach_port_destroy (self, ports[i]));
    }
    ok (mach_port_destroy (self, set));
}

/* ---- Handlers in several threads, with replies, while ports come and go ---- */

static hostmach_task_t kernel;
static mach_port_t control;
static atomic_int handled;

static void
reply_to_it (mach_msg_header_t *msg, void *cookie)
{
    (void) cookie;
    atomic_fetch_add (&handled, 1);
    mach_msg_header_t reply
        = header_to (msg->msgh_remote_port, MACH_MSG_TYPE_MOVE_SEND_ONCE, msg->msgh_id + 100, sizeof reply);
    if (mach_msg (&reply, MACH_SEND_MSG, sizeof reply, 0, 0, 0, 0) != MACH_MSG_SUCCESS)
        mach_msg_destroy (&reply);
}

static void *
call_many (void *argument)
{
    mach_port_t to = *(mach_port_t *) argument;
    for (int i = 0; i < 5000; i++) {
        union any_msg msg;
        msg.head = header_to (to, MACH_MSG_TYPE_COPY_SEND, i, sizeof msg.head);
        msg.head.msgh_bits = MACH_MSGH_BITS (MACH_MSG_TYPE_COPY_SEND, MACH_MSG_TYPE_MAKE_SEND_ONCE);
        msg.head.msgh_local_port = mig_get_reply_port ();
        ok (mach_msg (&msg.head, MACH_SEND_MSG | MACH_RCV_MSG, sizeof msg.head, sizeof msg, msg.head.msgh_local_port, 0, 0));
        assert_int_equal (msg.head.msgh_id, i + 100);
    }
    return NULL;
}

static void
calls_to_a_handler_from_many_threads (void **state)
{
    (void) state;
    pthread_t threads[4];
    mach_port_t to;
    kernel = hostmach_task_create ("kernel");
    hostmach_task_enter (kernel);
    control = new_port ();
    ok (hostmach_port_set_handler (control, reply_to_it, NULL));
    hostmach_task_enter (NULL);
    ok (hostmach_copy_send (kernel, control, hostmach_task_main (), &to));
    atomic_store (&handled, 0);
    for (int i = 0; i < 4; i++)
        pthread_create (&threads[i], NULL, call_many, &to);
    for (int i = 0; i < 4; i++)
        pthread_join (threads[i], NULL);
    assert_int_equal (atomic_load (&handled), 20000);
    hostmach_task_destroy (kernel);
    ok (mach_port_destroy (self, to));
}

/* Tasks that die while others send to them: errors are defined, nothing is left. */
static void *
churn (void *argument)
{
    unsigned seed = *(unsigned *) argument;
    for (int round = 0; round < 300; round++) {
        hostmach_task_t task = hostmach_task_create ("short");
        hostmach_task_enter (task);
        mach_port_t port = new_port (), notify = new_port (), previous;
        if (rand_r (&seed) % 2)
            ok (hostmach_port_set_handler (port, reply_to_it, NULL));
        hostmach_task_enter (NULL);
        mach_port_t to;
        ok (hostmach_copy_send (task, port, hostmach_task_main (), &to));
        mach_port_t dead = new_port ();
        ok (mach_port_request_notification (self, to, MACH_NOTIFY_DEAD_NAME, 0, dead, MACH_MSG_TYPE_MAKE_SEND_ONCE,
                                            &previous));
        hostmach_task_enter (task);
        ok (mach_port_request_notification (self, port, MACH_NOTIFY_NO_SENDERS, 0, notify, MACH_MSG_TYPE_MAKE_SEND_ONCE,
                                            &previous));
        hostmach_task_enter (NULL);
        for (int i = 0; i < 3; i++)
            ok (send_port (to, MACH_MSG_TYPE_COPY_SEND, dead, MACH_MSG_TYPE_MAKE_SEND));
        ok (send_port (ports[0], MACH_MSG_TYPE_COPY_SEND, to, MACH_MSG_TYPE_COPY_SEND));
        hostmach_task_destroy (task);
        assert_int_equal (next_id (dead), MACH_NOTIFY_DEAD_NAME);
        assert_int_equal (refs (to, MACH_PORT_RIGHT_DEAD_NAME), 2);
        ok (mach_port_destroy (self, to));
        ok (mach_port_destroy (self, dead));
    }
    return NULL;
}

static hostmach_task_t sink;
static mach_port_t sink_port;

/* In a task of its own: in the senders' task its references would mix with theirs. */
static void *
drain_port (void *unused)
{
    (void) unused;
    hostmach_task_enter (sink);
    for (;;) {
        union any_msg msg;
        if (mach_msg (&msg.head, MACH_RCV_MSG, 0, sizeof msg, sink_port, 0, 0) != MACH_MSG_SUCCESS)
            return NULL;
        mach_msg_destroy (&msg.head);
    }
}

static void
tasks_come_and_go_under_fire (void **state)
{
    (void) state;
    pthread_t threads[4], drain;
    unsigned seeds[4] = { 1, 2, 3, 4 };
    sink = hostmach_task_create ("sink");
    hostmach_task_enter (sink);
    sink_port = new_port ();
    hostmach_task_enter (NULL);
    ok (hostmach_copy_send (sink, sink_port, hostmach_task_main (), &ports[0]));
    hostmach_task_set_kernel (hostmach_task_main (), TRUE);
    pthread_create (&drain, NULL, drain_port, NULL);
    for (int i = 0; i < 4; i++)
        pthread_create (&threads[i], NULL, churn, &seeds[i]);
    for (int i = 0; i < 4; i++)
        pthread_join (threads[i], NULL);
    hostmach_task_enter (sink);
    drop_receive (sink_port);
    hostmach_task_enter (NULL);
    pthread_join (drain, NULL);
    hostmach_task_destroy (sink);
    ok (mach_port_destroy (self, ports[0]));
    hostmach_task_set_kernel (hostmach_task_main (), FALSE);
}

static void *
allocate_many (void *argument)
{
    unsigned seed = *(unsigned *) argument;
    vm_address_t held[32] = { 0 };
    vm_size_t sizes[32];
    for (int i = 0; i < 20000; i++) {
        unsigned slot = (unsigned) rand_r (&seed) % 32;
        if (held[slot] != 0) {
            assert_int_equal (*(unsigned *) held[slot], slot);
            ok (vm_deallocate (self, held[slot], sizes[slot]));
        }
        sizes[slot] = (1 + (unsigned) rand_r (&seed) % 20) * vm_page_size;
        ok (vm_allocate (self, &held[slot], sizes[slot], TRUE));
        assert_int_equal (*(unsigned *) held[slot], 0);
        *(unsigned *) held[slot] = slot;
    }
    for (unsigned slot = 0; slot < 32; slot++)
        if (held[slot] != 0)
            ok (vm_deallocate (self, held[slot], sizes[slot]));
    return NULL;
}

static void
pages_belong_to_one_at_a_time (void **state)
{
    (void) state;
    pthread_t threads[3];
    unsigned seeds[3] = { 10, 20, 30 };
    for (int i = 0; i < 3; i++)
        pthread_create (&threads[i], NULL, allocate_many, &seeds[i]);
    for (int i = 0; i < 3; i++)
        pthread_join (threads[i], NULL);
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (every_message_arrives_once), rule (one_receiver_sees_the_order),
        rule (calls_to_a_handler_from_many_threads), rule (tasks_come_and_go_under_fire),
        rule (pages_belong_to_one_at_a_time),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
