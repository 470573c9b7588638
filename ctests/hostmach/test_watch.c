/* Watches: what threads that wait for messages do meanwhile. A pipe stands for a source of events, a byte for an event. */

#define _GNU_SOURCE
#include "hm_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define HANG_S 60

static void
until (bool happened)
{
    static _Thread_local time_t began;
    if (happened) {
        began = 0;
        return;
    }
    if (began == 0)
        began = time (NULL);
    if (time (NULL) - began > HANG_S) {
        fprintf (stderr, "hang\n");
        abort ();
    }
    nanosleep (&(struct timespec) { 0, 200000 }, NULL);
}
#define wait_until(condition)              \
    do {                                   \
        bool so;                           \
        until (so = (condition));          \
        if (so)                            \
            break;                         \
    } while (true)

/* ---- A source of events, and threads that receive ---- */

struct source {
    int pipe[2];
    hostmach_watch_t watch;
    _Atomic unsigned served;     /* events */
    _Atomic (pthread_t) server;  /* of the last one */
    mach_port_t to;              /* each event is a message to it */
    _Atomic bool closed, inside; /* who serves stops, and has stopped */
};

static void
serve (void *cookie, unsigned events)
{
    struct source *source = cookie;
    char bytes[64];
    ssize_t count = read (source->pipe[0], bytes, events < sizeof bytes ? events : sizeof bytes);
    if (count <= 0)
        return;
    atomic_store (&source->server, pthread_self ());
    atomic_store (&source->inside, true);
    while (atomic_load (&source->closed))
        sched_yield ();
    atomic_store (&source->inside, false);
    for (ssize_t i = 0; source->to != MACH_PORT_NULL && i < count; i++)
        ok (send_id (source->to, MACH_MSG_TYPE_COPY_SEND, bytes[i]));
    atomic_fetch_add (&source->served, (unsigned) count);
}

static void
source_open (struct source *source, mach_port_t to)
{
    memset (source, 0, sizeof *source);
    source->to = to;
    assert_int_equal (pipe2 (source->pipe, O_NONBLOCK | O_CLOEXEC), 0);
    source->watch = hostmach_watch_create (source->pipe[0], serve, source);
    assert_non_null (source->watch);
}

static void
source_close (struct source *source)
{
    hostmach_watch_destroy (source->watch);
    close (source->pipe[0]);
    close (source->pipe[1]);
}

static void
event (struct source *source, char id)
{
    assert_int_equal (write (source->pipe[1], &id, 1), 1);
}

struct receiver {
    pthread_t thread;
    mach_port_t from;
    _Atomic unsigned received;
    _Atomic int last;           /* id of the last message; -1 ends the thread */
    _Atomic bool closed;        /* it does not come back to receive */
};

#define END 127

static void *
run_receiver (void *argument)
{
    struct receiver *receiver = argument;
    union any_msg msg;
    do {
        ok (mach_msg (&msg.head, MACH_RCV_MSG, 0, sizeof msg, receiver->from, 0, 0));
        atomic_store (&receiver->last, msg.head.msgh_id);
        if (msg.head.msgh_id != END)
            atomic_fetch_add (&receiver->received, 1);
        while (atomic_load (&receiver->closed))
            sched_yield ();
    } while (msg.head.msgh_id != END);
    return NULL;
}

static void
receiver_start (struct receiver *receiver, mach_port_t from, size_t waiting)
{
    memset (receiver, 0, sizeof *receiver);
    receiver->from = from;
    assert_int_equal (pthread_create (&receiver->thread, NULL, run_receiver, receiver), 0);
    wait_until (hostmach_receiver_count (from) == waiting);
}

static void
receivers_end (struct receiver *receivers, unsigned count, mach_port_t port)
{
    for (unsigned i = 0; i < count; i++)
        ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, END));
    for (unsigned i = 0; i < count; i++)
        pthread_join (receivers[i].thread, NULL);
}

static unsigned
open_files (void)
{
    unsigned count = 0;
    DIR *folder = opendir ("/proc/self/fd");
    while (readdir (folder) != NULL)
        count++;
    closedir (folder);
    return count;
}

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

/* ---- Begin and end ---- */

static void *
destroy (void *watch)
{
    hostmach_watch_destroy (watch);
    return NULL;
}

/* A watch that is made while threads wait already is served by them, too. */
static void
who_waits_serves_new_watches (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    struct source first, second;
    struct receiver receiver;
    source_open (&first, MACH_PORT_NULL);
    receiver_start (&receiver, port, 1);
    source_open (&second, port);
    bool served = false;
    for (unsigned i = 1; i <= 100; i++) {
        wait_until (hostmach_receiver_count (port) == 1);
        event (&second, 1);
        wait_until (receiver.received == i);
        served |= pthread_equal (second.server, receiver.thread) != 0;
        if (i == 1)
            assert_int_equal (first.served, 0);
    }
    assert_true (served);
    receivers_end (&receiver, 1, port);
    source_close (&first);
    source_close (&second);
    ok (mach_port_destroy (self, port));
}

/* Destroying a watch waits for who serves it, a receiver for one, and nobody does afterwards. */
static void
destroying_waits_for_who_serves (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    struct source source, other;
    struct receiver receiver;
    source_open (&other, MACH_PORT_NULL); /* not the last watch: that waits for all receivers anyway */
    source_open (&source, MACH_PORT_NULL);
    receiver_start (&receiver, port, 1);
    for (unsigned before = 0; !pthread_equal (source.server, receiver.thread); before++) {
        source.closed = false;
        wait_until (source.served == before);
        source.closed = true;
        event (&source, 1);
        wait_until (source.inside);
    }
    unsigned before = source.served;
    pthread_t thread;
    pthread_create (&thread, NULL, destroy, source.watch);
    struct timespec soon;
    clock_gettime (CLOCK_REALTIME, &soon);
    soon.tv_nsec += 50000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    assert_int_equal (pthread_timedjoin_np (thread, NULL, &soon), ETIMEDOUT);
    event (&source, 2);
    source.closed = false;
    pthread_join (thread, NULL);
    assert_int_equal (source.served, before + 1);
    receivers_end (&receiver, 1, port);
    assert_int_equal (source.served, before + 1);
    close (source.pipe[0]);
    close (source.pipe[1]);
    source_close (&other);
    ok (mach_port_destroy (self, port));
}

/* With the last watch all descriptors go, though threads wait; and these wait on. A thread that ends leaves none either. */
static void
descriptors_go_with_the_last_watch_or_their_thread (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    unsigned before = open_files ();
    struct source first, second;
    struct receiver receivers[3];
    source_open (&first, MACH_PORT_NULL);
    source_open (&second, MACH_PORT_NULL);
    unsigned with_watches = open_files ();
    for (unsigned i = 0; i < 3; i++)
        receiver_start (&receivers[i], port, i + 1);
    assert_int_equal (open_files (), with_watches + 6);
    ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, END));
    wait_until (open_files () == with_watches + 4);
    source_close (&second);
    source_close (&first);
    assert_int_equal (open_files (), before);
    wait_until (hostmach_receiver_count (port) == 2);
    source_open (&first, port);
    event (&first, 9);
    wait_until (first.served == 1);
    receivers_end (receivers, 2, port);
    pthread_join (receivers[2].thread, NULL);
    source_close (&first);
    assert_int_equal (open_files (), before);
    ok (mach_port_destroy (self, port));
}

/* No descriptors to be had: no watch, with the reason; and with a watch, receiving works as without. */
static void
without_descriptors_receiving_goes_on (void **state)
{
    (void) state;
    mach_port_t port = new_port ();
    make_send (port);
    struct source source, none;
    struct receiver receiver;
    source_open (&source, MACH_PORT_NULL);
    struct rlimit limit, low;
    getrlimit (RLIMIT_NOFILE, &limit);
    low = limit;
    low.rlim_cur = 0;
    setrlimit (RLIMIT_NOFILE, &low);
    errno = 0;
    assert_null (hostmach_watch_create (source.pipe[0], serve, &none));
    assert_int_equal (errno, EMFILE);
    receiver_start (&receiver, port, 1);
    event (&source, 1);
    wait_until (source.served == 1);
    assert_false (pthread_equal (source.server, receiver.thread));
    receivers_end (&receiver, 1, port);
    setrlimit (RLIMIT_NOFILE, &limit);
    source_close (&source);
    ok (mach_port_destroy (self, port));
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
        rule (who_waits_serves_new_watches),
        rule (destroying_waits_for_who_serves),
        rule (descriptors_go_with_the_last_watch_or_their_thread),
        rule (without_descriptors_receiving_goes_on),
        rule (nothing_is_lost),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
