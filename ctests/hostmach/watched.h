/* What the tests of watches share. A pipe stands for a source of events, a byte for an event.  (The program says _GNU_SOURCE.) */

#ifndef TESTS_WATCHED_H
#define TESTS_WATCHED_H

#include "hm_test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define HANG_S 60

static inline void
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

static inline void
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

static inline void
source_open (struct source *source, mach_port_t to)
{
    memset (source, 0, sizeof *source);
    source->to = to;
    assert_int_equal (pipe2 (source->pipe, O_NONBLOCK | O_CLOEXEC), 0);
    source->watch = hostmach_watch_create (source->pipe[0], serve, source);
    assert_non_null (source->watch);
}

static inline void
source_close (struct source *source)
{
    hostmach_watch_destroy (source->watch);
    close (source->pipe[0]);
    close (source->pipe[1]);
}

static inline void
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

static inline void *
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

static inline void
receiver_start (struct receiver *receiver, mach_port_t from, size_t waiting)
{
    memset (receiver, 0, sizeof *receiver);
    receiver->from = from;
    assert_int_equal (pthread_create (&receiver->thread, NULL, run_receiver, receiver), 0);
    wait_until (hostmach_receiver_count (from) == waiting);
}

static inline void
receivers_end (struct receiver *receivers, unsigned count, mach_port_t port)
{
    for (unsigned i = 0; i < count; i++)
        ok (send_id (port, MACH_MSG_TYPE_COPY_SEND, END));
    for (unsigned i = 0; i < count; i++)
        pthread_join (receivers[i].thread, NULL);
}

#endif
