/* lock.c: the IPC lock, what is done when it is let go, and waiting.

   ipc_unlock guarantees:
   - messages marked for destruction release their rights while the lock is still held, until none is left;
     the loop replaces recursion, so chains of messages in messages need no stack;
   - threads are woken after the lock is free, so that they do not run into it;
   - memory is freed and handlers run after the lock is free, in the order in which they were put on the lists.
   So no function may use guarded state after ipc_unlock, and none may wait while work is pending. */

#include "internal.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WAKES 8

struct wake {
    _Atomic uint32_t *word;
    struct ipc_sleeper *sleeper;
};

static pthread_mutex_t lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;

/* Guarded by the lock. */
static struct {
    bool any;
    struct ipc_kmsg_queue dead;     /* rights and memory to be released */
    struct ipc_kmsg_queue dispatch; /* handlers to be run */
    struct wake wakes[WAKES];
    size_t wake_count;
} pending = {
    .dead = TAILQ_HEAD_INITIALIZER (pending.dead),
    .dispatch = TAILQ_HEAD_INITIALIZER (pending.dispatch),
};

void
ipc_futex_wake (_Atomic uint32_t *word, int threads)
{
    syscall (SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

void
ipc_futex_wait (_Atomic uint32_t *word, uint32_t value, uint64_t deadline)
{
    struct timespec limit = { (time_t) (deadline / 1000000000), (long) (deadline % 1000000000) };
    /* The BITSET form takes an absolute time of CLOCK_MONOTONIC. */
    syscall (SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, deadline == UINT64_MAX ? NULL : &limit, NULL,
             FUTEX_BITSET_MATCH_ANY);
}

static void
wake_thread (struct wake wake)
{
    if (wake.sleeper != NULL)
        ipc_watch_wake (wake.sleeper);
    else
        ipc_futex_wake (wake.word, 1);
}

static uint64_t
now_ns (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

uint64_t
ipc_deadline (bool timed, mach_msg_timeout_t timeout_ms)
{
    if (!timed)
        return UINT64_MAX;
    return timeout_ms == 0 ? 0 : now_ns () + (uint64_t) timeout_ms * 1000000;
}

bool
ipc_deadline_passed (uint64_t deadline)
{
    return deadline != UINT64_MAX && (deadline == 0 || now_ns () >= deadline);
}

uint64_t
ipc_deadline_left (uint64_t deadline)
{
    uint64_t now = now_ns ();
    return deadline > now ? deadline - now : 0;
}

void
ipc_lock (void)
{
    pthread_mutex_lock (&lock);
}

bool
ipc_work_pending (void)
{
    return pending.any;
}

void
ipc_pending_kmsg_destroy (struct ipc_kmsg *kmsg)
{
    TAILQ_INSERT_TAIL (&pending.dead, kmsg, link);
    pending.any = true;
}

void
ipc_kmsg_dispatch (struct ipc_kmsg *kmsg)
{
    TAILQ_INSERT_TAIL (&pending.dispatch, kmsg, link);
    pending.any = true;
}

static void
run_handler (struct ipc_kmsg *kmsg)
{
    struct hostmach_task *task = kmsg->task;
    struct hostmach_frame frame = { task, hostmach_thread.frames };
    struct hostmach_task *previous = hostmach_thread.task;
    hostmach_thread.frames = &frame;
    hostmach_thread.task = task;
    kmsg->handler (ipc_kmsg_header (kmsg), kmsg->cookie);
    hostmach_thread.task = previous;
    hostmach_thread.frames = frame.outer;
    ipc_kmsg_free (kmsg);
    atomic_fetch_sub (&task->running, 1);
    if (atomic_load (&task->drainers) != 0)
        ipc_futex_wake (&task->running, INT32_MAX);
    hostmach_task_release (task);
}

void
ipc_unlock (void)
{
    if (!pending.any) {
        pthread_mutex_unlock (&lock);
        return;
    }

    struct ipc_kmsg_queue garbage = TAILQ_HEAD_INITIALIZER (garbage);
    struct ipc_kmsg_queue dispatch = TAILQ_HEAD_INITIALIZER (dispatch);
    struct wake wakes[WAKES];
    struct ipc_kmsg *kmsg;
    while ((kmsg = TAILQ_FIRST (&pending.dead)) != NULL) {
        TAILQ_REMOVE (&pending.dead, kmsg, link);
        ipc_kmsg_release_rights (kmsg);
        TAILQ_INSERT_TAIL (&garbage, kmsg, link);
    }
    TAILQ_CONCAT (&dispatch, &pending.dispatch, link);
    size_t wake_count = pending.wake_count;
    for (size_t i = 0; i < wake_count; i++)
        wakes[i] = pending.wakes[i];
    pending.wake_count = 0;
    pending.any = false;
    pthread_mutex_unlock (&lock);

    /* A waiter may have noticed by itself and be gone: then this wakes nobody, or somebody who looks again. */
    for (size_t i = 0; i < wake_count; i++)
        wake_thread (wakes[i]);
    while ((kmsg = TAILQ_FIRST (&garbage)) != NULL) {
        TAILQ_REMOVE (&garbage, kmsg, link);
        ipc_kmsg_free_memory (kmsg);
        ipc_kmsg_free (kmsg);
    }
    while ((kmsg = TAILQ_FIRST (&dispatch)) != NULL) {
        TAILQ_REMOVE (&dispatch, kmsg, link);
        run_handler (kmsg);
    }
}

static void
wake (struct ipc_waiter *waiter, mach_msg_return_t reason)
{
    TAILQ_REMOVE (waiter->queue, waiter, link);
    waiter->queued = false;
    waiter->reason = reason;
    atomic_store (&waiter->woken, 1);
    if (waiter == hostmach_thread.waiter)
        return;
    struct wake wake = { &waiter->woken, waiter->sleeper };
    if (pending.wake_count == WAKES) {
        wake_thread (wake);
        return;
    }
    pending.wakes[pending.wake_count++] = wake;
    pending.any = true;
}

void
ipc_wake_one (struct ipc_waiters *queue)
{
    struct ipc_waiter *own = hostmach_thread.waiter, *first = TAILQ_FIRST (queue);
    if (own != NULL && own->queued && own->queue == queue)
        first = own;
    if (first != NULL)
        wake (first, MACH_MSG_SUCCESS);
}

void
ipc_wake_all (struct ipc_waiters *queue, mach_msg_return_t reason)
{
    struct ipc_waiter *first;
    while ((first = TAILQ_FIRST (queue)) != NULL)
        wake (first, reason);
}

void
ipc_wait (struct ipc_waiters *queue, struct ipc_waiter *waiter, uint64_t deadline, struct ipc_sleeper *sleeper)
{
    assert (!pending.any);
    struct ipc_waiter *outer = hostmach_thread.waiter;
    atomic_store (&waiter->woken, 0);
    waiter->queue = queue;
    waiter->sleeper = sleeper;
    waiter->queued = true;
    waiter->reason = MACH_MSG_SUCCESS;
    TAILQ_INSERT_TAIL (queue, waiter, link);
    hostmach_thread.waiter = waiter;
    pthread_mutex_unlock (&lock);
    bool go_on = true;
    while (go_on && atomic_load (&waiter->woken) == 0 && !ipc_deadline_passed (deadline)) {
        if (sleeper != NULL)
            go_on = ipc_watch_wait (sleeper, &waiter->woken, deadline);
        else
            ipc_futex_wait (&waiter->woken, 0, deadline);
    }
    pthread_mutex_lock (&lock);
    hostmach_thread.waiter = outer;
    if (waiter->queued) {
        TAILQ_REMOVE (queue, waiter, link);
        waiter->queued = false;
    }
}
