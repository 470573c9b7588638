/* Watches that begin and end while threads wait for messages. */

#define _GNU_SOURCE
#include "watched.h"

#include <dirent.h>
#include <sys/resource.h>

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

int
main (void)
{
    const struct CMUnitTest tests[] = {
        rule (who_waits_serves_new_watches),
        rule (destroying_waits_for_who_serves),
        rule (descriptors_go_with_the_last_watch_or_their_thread),
        rule (without_descriptors_receiving_goes_on),
    };
    return cmocka_run_group_tests (tests, NULL, NULL);
}
