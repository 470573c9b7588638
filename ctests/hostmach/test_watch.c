/* Watches: what threads that wait for messages do meanwhile. */

#define _GNU_SOURCE
#include "watched.h"

/* ---- Who serves ---- */

static void
without_receivers_the_watch_serves_itself (void **state)
{
    (void) state;
    struct source source;
    source_open (&source, MACH_PORT_NULL);
    for (unsigned i = 1; i <= 100; i++) {
        event (&source, 1);
        wait_until (atomic_load (&source.served) == i);
    }
    source_close (&source);
}

/* Whoever waits in line serves, not the watch's own thread; and it goes on with the message that follows, though another has
   waited longer. */
static void
who_serves_gets_the_message (void **state)
{
    (void) state;
    enum { EVENTS = 200 };
    mach_port_t port = new_port ();
    make_send (port);
    struct source source;
    struct receiver receivers[2];
    source_open (&source, port);
    receiver_start (&receivers[0], port, 1);
    receiver_start (&receivers[1], port, 2);
    unsigned by_receivers = 0;
    for (unsigned i = 1; i <= EVENTS; i++) {
        wait_until (hostmach_receiver_count (port) == 2);
        unsigned before[2] = { receivers[0].received, receivers[1].received };
        event (&source, 1);
        wait_until (receivers[0].received + receivers[1].received == i);
        for (int r = 0; r < 2; r++)
            if (pthread_equal (source.server, receivers[r].thread)) {
                by_receivers++;
                assert_int_equal (receivers[r].received, before[r] + 1);
            }
    }
    /* In line is a moment before waiting: the watch's own thread may have been quicker now and then. */
    assert_true (by_receivers > EVENTS / 2);
    receivers_end (receivers, 2, port);
    source_close (&source);
    ok (mach_port_destroy (self, port));
}

/* A receiver that waits for something else serves, too, and what follows wakes the one whom it concerns. */
static void
a_bystander_serves (void **state)
{
    (void) state;
    mach_port_t port = new_port (), other = new_port ();
    make_send (port);
    make_send (other);
    struct source source;
    struct receiver bystander, receiver;
    source_open (&source, port);
    receiver_start (&bystander, other, 1);
    bool served = false;
    receiver_start (&receiver, port, 1);
    for (unsigned i = 1; i <= 100; i++) {
        event (&source, 1);
        wait_until (receiver.received == i);
        served |= pthread_equal (source.server, bystander.thread) != 0;
        wait_until (hostmach_receiver_count (port) == 1);
    }
    assert_true (served);
    assert_int_equal (bystander.received, 0);
    receivers_end (&receiver, 1, port);
    receivers_end (&bystander, 1, other);
    source_close (&source);
    ok (mach_port_destroy (self, port));
    ok (mach_port_destroy (self, other));
}

/* All who receive are busy for long: events are served all the same. */
static void
busy_receivers_hold_nothing_up (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    struct source source;
    struct receiver receiver;
    source_open (&source, MACH_PORT_NULL);
    receiver_start (&receiver, port, 1);
    receiver.closed = true;
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, 5));
    wait_until (receiver.last == 5);
    for (unsigned i = 1; i <= 20; i++) {
        event (&source, 1);
        wait_until (source.served == i);
        assert_false (pthread_equal (source.server, receiver.thread));
    }
    receiver.closed = false;
    receivers_end (&receiver, 1, port);
    source_close (&source);
    ok (mach_port_destroy (self, port));
}

/* ---- Waiting is as ever ---- */

static void
messages_timeouts_and_deaths_end_the_wait (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    struct source source;
    struct receiver receiver;
    source_open (&source, MACH_PORT_NULL);
    receiver_start (&receiver, port, 1);
    for (int i = 1; i <= 100; i++) {
        ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, i));
        wait_until (receiver.last == i);
    }
    receivers_end (&receiver, 1, port);

    union any_msg msg;
    struct timespec before, after;
    clock_gettime (CLOCK_MONOTONIC, &before);
    gives (MACH_RCV_TIMED_OUT, mach_msg (&msg.head, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0, sizeof msg, port, 30, 0));
    clock_gettime (CLOCK_MONOTONIC, &after);
    assert_true ((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec >= 30000000L);
    gives (MACH_RCV_TIMED_OUT, mach_msg (&msg.head, MACH_RCV_MSG | MACH_RCV_TIMEOUT, 0, sizeof msg, port, 0, 0));
    ok (mach_port_destroy (self, port));
    source_close (&source);
}

static void *
receive_once (void *argument)
{
    union any_msg msg;
    return (void *) (intptr_t) mach_msg (&msg.head, MACH_RCV_MSG, 0, sizeof msg, *(mach_port_t *) argument, 0, 0);
}

static void
the_death_of_the_port_ends_the_wait (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    struct source source;
    pthread_t thread;
    void *result;
    source_open (&source, MACH_PORT_NULL);
    pthread_create (&thread, NULL, receive_once, &port);
    wait_until (hostmach_receiver_count (port) == 1);
    drop_receive (port);
    pthread_join (thread, &result);
    assert_int_equal ((mach_msg_return_t) (intptr_t) result, MACH_RCV_PORT_DIED);
    source_close (&source);
}

/* More wakes under one lock than are put off until after it (lock.c): a set with many receivers dies. */
static void
many_are_woken_at_once (void **state)
{
    (void) state;
    enum { THREADS = 20 };
    mach_port_t set = new_set ();
    struct source source;
    pthread_t threads[THREADS];
    void *result;
    source_open (&source, MACH_PORT_NULL);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create (&threads[i], NULL, receive_once, &set);
    wait_until (hostmach_receiver_count (set) == THREADS);
    ok (mach_port_destroy (self, set));
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join (threads[i], &result);
        assert_int_equal ((mach_msg_return_t) (intptr_t) result, MACH_RCV_PORT_DIED);
    }
    source_close (&source);
}

/* ---- All at once ---- */

enum { SOURCES = 20, RECEIVERS = 4, ROUNDS = 200 };

static void *
make_events (void *argument)
{
    struct source *sources = argument;
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < SOURCES; i++)
            event (&sources[i], 1);
    return NULL;
}

/* Many sources and receivers: each event is one message, none is lost, none comes twice. */
static void
nothing_is_lost (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    ok (mach_port_set_qlimit (self, port, MACH_PORT_QLIMIT_MAX));
    hostmach_task_set_kernel (hostmach_task_main (), TRUE); /* who serves must not block */
    struct source sources[SOURCES];
    struct receiver receivers[RECEIVERS];
    pthread_t makers[2];
    for (unsigned i = 0; i < SOURCES; i++)
        source_open (&sources[i], port);
    for (unsigned i = 0; i < RECEIVERS; i++)
        receiver_start (&receivers[i], port, i + 1);
    for (unsigned i = 0; i < 2; i++)
        pthread_create (&makers[i], NULL, make_events, sources);
    for (unsigned i = 0; i < 2; i++)
        pthread_join (makers[i], NULL);
    for (unsigned i = 0; i < SOURCES; i++)
        wait_until (sources[i].served == 2 * ROUNDS);
    wait_until (receivers[0].received + receivers[1].received + receivers[2].received + receivers[3].received
                == 2 * ROUNDS * SOURCES);
    receivers_end (receivers, RECEIVERS, port);
    for (unsigned i = 0; i < SOURCES; i++)
        source_close (&sources[i]);
    hostmach_task_set_kernel (hostmach_task_main (), FALSE);
    ok (mach_port_destroy (self, port));
}

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (without_receivers_the_watch_serves_itself),
        rule (who_serves_gets_the_message),
        rule (a_bystander_serves),
        rule (busy_receivers_hold_nothing_up),
        rule (messages_timeouts_and_deaths_end_the_wait),
        rule (the_death_of_the_port_ends_the_wait),
        rule (many_are_woken_at_once),
        rule (nothing_is_lost),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
