/* watch.c: what threads that wait for a message do meanwhile.

   In Mach a page fault is dealt with by the thread that faults, inside the kernel. Here somebody must read it from a file descriptor,
   and hand over what follows from it to a thread that receives: two wakes and two switches of threads for one fault. So the
   threads that wait in mach_msg, which are inside this kernel and idle, read such descriptors themselves. The message that
   follows is often for the very thread that read: it goes on with it, without another thread.

   W1  Each watch has a thread of its own, which serves when nobody else waits. So an event is always read soon, however long
       those who received messages are busy.
   W2  An event wakes one thread: all wait with EPOLLEXCLUSIVE, in the order in which they were added to the descriptor's queue. The
       watch's own thread is kept at the end of it (add_last).
   W3  Who is woken reads at least one event, even if a message woke him as well: the wake was for him alone. Whoever waits
       next finds what is left, since events are level-triggered.
   W4  While a thread serves it is still in line for a message. So serving must not block.
   W5  A descriptor is written to (waking) or closed only with watch_lock held, so that its number is not somebody else's by then. Sleepers'
       memory is never freed but used again: a wake that comes late finds a sleeper, and wakes it once too often at worst.
   W6  Without watches there are no descriptors: the last watch that goes closes those of all sleepers.

   Lock order: watch_lock is a leaf. */

#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define OWN_EVENT ((uint64_t) 0) /* no watch's id */
#define EVENTS 16
#define EVENTS_OF_OWN_THREAD 16

struct hostmach_watch {
    LIST_ENTRY (hostmach_watch) link;
    uint64_t id;
    int fd;
    hostmach_serve_t serve;
    void *cookie;
    unsigned serving; /* threads */
    int epoll, event; /* its own thread's */
    bool ended;
    _Atomic bool is_lost; /* its own thread is to add the descriptor again */
    pthread_t thread;
};

struct ipc_sleeper {
    LIST_ENTRY (ipc_sleeper) link; /* in sleepers while it has descriptors, in unused while it has no thread */
    int epoll, event;              /* -1: none */
    bool waiting;                  /* its thread is between ipc_watch_begin and ipc_watch_end */
};

static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static LIST_HEAD (, hostmach_watch) watches = LIST_HEAD_INITIALIZER (watches);
static LIST_HEAD (, ipc_sleeper) sleepers = LIST_HEAD_INITIALIZER (sleepers);
static LIST_HEAD (, ipc_sleeper) unused = LIST_HEAD_INITIALIZER (unused);
static _Atomic uint64_t last_id;
static _Atomic unsigned watch_count;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;

/* ---- Descriptors; watch_lock held ---- */

static bool
add (int epoll, int fd, uint32_t events, uint64_t id)
{
    struct epoll_event event = { .events = events, .data.u64 = id };
    return epoll_ctl (epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool
open_pair (int *epoll, int *event)
{
    *epoll = epoll_create1 (EPOLL_CLOEXEC);
    *event = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Edge-triggered: each write is an event, and nobody need read it. */
    if (*epoll >= 0 && *event >= 0 && add (*epoll, *event, EPOLLIN | EPOLLET, OWN_EVENT))
        return true;
    if (*epoll >= 0)
        close (*epoll);
    if (*event >= 0)
        close (*event);
    *epoll = *event = -1;
    return false;
}

static void
close_pair (int *epoll, int *event)
{
    close (*epoll);
    close (*event);
    *epoll = *event = -1;
}

static void
signal_event (int event)
{
    static const uint64_t one = 1;
    /* Fails only if it was written to 2^64 times. */
    while (write (event, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

/* The watch's own thread comes last in line. */
static void
add_last (struct hostmach_watch *watch)
{
    epoll_ctl (watch->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->is_lost = !add (watch->epoll, watch->fd, EPOLLIN | EPOLLEXCLUSIVE, watch->id);
    if (watch->is_lost)
        signal_event (watch->event);
}

static bool
open_sleeper (struct ipc_sleeper *sleeper)
{
    if (!open_pair (&sleeper->epoll, &sleeper->event))
        return false;
    LIST_INSERT_HEAD (&sleepers, sleeper, link);
    struct hostmach_watch *watch;
    LIST_FOREACH (watch, &watches, link)
        /* One that cannot be added is left to the others. */
        if (add (sleeper->epoll, watch->fd, EPOLLIN | EPOLLEXCLUSIVE, watch->id))
            add_last (watch);
    return true;
}

static void
close_sleeper (struct ipc_sleeper *sleeper)
{
    LIST_REMOVE (sleeper, link);
    close_pair (&sleeper->epoll, &sleeper->event);
}

/* ---- A thread's sleeper ---- */

static void
on_thread_end (void *thread_sleeper)
{
    struct ipc_sleeper *sleeper = thread_sleeper;
    pthread_mutex_lock (&watch_lock);
    if (sleeper->epoll >= 0)
        close_sleeper (sleeper);
    LIST_INSERT_HEAD (&unused, sleeper, link);
    pthread_mutex_unlock (&watch_lock);
    hostmach_thread.sleeper = NULL;
}

static void
make_key (void)
{
    if (pthread_key_create (&thread_end, on_thread_end) != 0)
        abort ();
}

static struct ipc_sleeper *
take_sleeper (void)
{
    struct ipc_sleeper *sleeper = LIST_FIRST (&unused);
    if (sleeper != NULL)
        LIST_REMOVE (sleeper, link);
    else if ((sleeper = malloc (sizeof *sleeper)) == NULL)
        return NULL;
    *sleeper = (struct ipc_sleeper) { .epoll = -1, .event = -1 };
    if (pthread_setspecific (thread_end, sleeper) != 0) {
        LIST_INSERT_HEAD (&unused, sleeper, link);
        return NULL;
    }
    return sleeper;
}

bool
ipc_watch_any (void)
{
    return atomic_load (&watch_count) != 0 && !hostmach_thread.serving;
}

struct ipc_sleeper *
ipc_watch_begin (void)
{
    if (!ipc_watch_any ())
        return NULL;
    pthread_once (&once, make_key);
    pthread_mutex_lock (&watch_lock);
    if (hostmach_thread.sleeper == NULL)
        hostmach_thread.sleeper = take_sleeper ();
    struct ipc_sleeper *sleeper = hostmach_thread.sleeper;
    if (sleeper != NULL && (LIST_EMPTY (&watches) || (sleeper->epoll < 0 && !open_sleeper (sleeper))))
        sleeper = NULL;
    if (sleeper != NULL)
        sleeper->waiting = true;
    pthread_mutex_unlock (&watch_lock);
    return sleeper;
}

void
ipc_watch_end (struct ipc_sleeper *sleeper)
{
    if (sleeper == NULL)
        return;
    pthread_mutex_lock (&watch_lock);
    sleeper->waiting = false;
    if (LIST_EMPTY (&watches)) {
        close_sleeper (sleeper);
        pthread_cond_broadcast (&changed);
    }
    pthread_mutex_unlock (&watch_lock);
}

void
ipc_watch_wake (struct ipc_sleeper *sleeper)
{
    pthread_mutex_lock (&watch_lock);
    if (sleeper->event >= 0)
        signal_event (sleeper->event);
    pthread_mutex_unlock (&watch_lock);
}

/* ---- Waiting and serving ---- */

static void
serve (uint64_t id, unsigned events)
{
    struct hostmach_watch *watch;
    pthread_mutex_lock (&watch_lock);
    LIST_FOREACH (watch, &watches, link)
        if (watch->id == id)
            break;
    if (watch != NULL)
        watch->serving++;
    pthread_mutex_unlock (&watch_lock);
    if (watch == NULL)
        return;
    hostmach_thread.serving = true;
    watch->serve (watch->cookie, events);
    hostmach_thread.serving = false;
    pthread_mutex_lock (&watch_lock);
    if (--watch->serving == 0 && watch->ended)
        pthread_cond_broadcast (&changed);
    pthread_mutex_unlock (&watch_lock);
}

bool
ipc_watch_wait (struct ipc_sleeper *sleeper, const _Atomic uint32_t *woken, uint64_t deadline)
{
    struct epoll_event events[EVENTS];
    int timeout_ms = -1, count = 0;
    if (deadline != UINT64_MAX) {
        uint64_t left_ns = ipc_deadline_left (deadline);
        timeout_ms = left_ns / 1000000 >= INT32_MAX ? INT32_MAX : (int) ((left_ns + 999999) / 1000000);
    }
    do {
        count = epoll_wait (sleeper->epoll, events, EVENTS, atomic_load (woken) != 0 ? 0 : timeout_ms);
        for (int i = 0; i < count; i++)
            if (events[i].data.u64 != OWN_EVENT)
                serve (events[i].data.u64, 1);
        timeout_ms = 0;
    } while (count == EVENTS);
    return atomic_load (&watch_count) != 0;
}

static void *
own_thread (void *argument)
{
    struct hostmach_watch *watch = argument;
    struct epoll_event events[2];
    bool ended = false;
    while (!ended) {
        int count = epoll_wait (watch->epoll, events, 2, watch->is_lost ? 10 : -1);
        pthread_mutex_lock (&watch_lock);
        ended = watch->ended;
        if (watch->is_lost)
            add_last (watch);
        pthread_mutex_unlock (&watch_lock);
        for (int i = 0; i < count && !ended; i++)
            if (events[i].data.u64 != OWN_EVENT)
                serve (watch->id, EVENTS_OF_OWN_THREAD);
    }
    return NULL;
}

/* ---- Watches ---- */

static int
start_thread (struct hostmach_watch *watch)
{
    sigset_t all, old;
    sigfillset (&all);
    pthread_sigmask (SIG_SETMASK, &all, &old);
    int error = pthread_create (&watch->thread, NULL, own_thread, watch);
    pthread_sigmask (SIG_SETMASK, &old, NULL);
    return error;
}

hostmach_watch_t
hostmach_watch_create (int fd, hostmach_serve_t serve_events, void *cookie)
{
    struct hostmach_watch *watch = malloc (sizeof *watch);
    if (watch == NULL)
        return NULL;
    *watch = (struct hostmach_watch) { .id = atomic_fetch_add (&last_id, 1) + 1, .fd = fd, .serve = serve_events, .cookie = cookie };
    if (!open_pair (&watch->epoll, &watch->event)) {
        free (watch);
        return NULL;
    }
    int error = start_thread (watch);
    if (error != 0) {
        close_pair (&watch->epoll, &watch->event);
        free (watch);
        errno = error;
        return NULL;
    }
    struct ipc_sleeper *sleeper;
    pthread_mutex_lock (&watch_lock);
    LIST_INSERT_HEAD (&watches, watch, link);
    atomic_fetch_add (&watch_count, 1);
    LIST_FOREACH (sleeper, &sleepers, link)
        add (sleeper->epoll, fd, EPOLLIN | EPOLLEXCLUSIVE, watch->id);
    add_last (watch);
    pthread_mutex_unlock (&watch_lock);
    return watch;
}

/* Nobody may be left in the list of sleepers; those whose threads wait leave by themselves. */
static void
send_sleepers_away (void)
{
    struct ipc_sleeper *next;
    for (struct ipc_sleeper *sleeper = LIST_FIRST (&sleepers); sleeper != NULL; sleeper = next) {
        next = LIST_NEXT (sleeper, link);
        if (sleeper->waiting)
            signal_event (sleeper->event);
        else
            close_sleeper (sleeper);
    }
    while (LIST_EMPTY (&watches) && !LIST_EMPTY (&sleepers))
        pthread_cond_wait (&changed, &watch_lock);
}

void
hostmach_watch_destroy (hostmach_watch_t watch)
{
    struct ipc_sleeper *sleeper;
    pthread_mutex_lock (&watch_lock);
    watch->ended = true;
    LIST_REMOVE (watch, link);
    atomic_fetch_sub (&watch_count, 1);
    LIST_FOREACH (sleeper, &sleepers, link)
        epoll_ctl (sleeper->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    signal_event (watch->event);
    while (watch->serving != 0)
        pthread_cond_wait (&changed, &watch_lock);
    if (LIST_EMPTY (&watches))
        send_sleepers_away ();
    pthread_mutex_unlock (&watch_lock);
    pthread_join (watch->thread, NULL);
    close_pair (&watch->epoll, &watch->event);
    free (watch);
}
