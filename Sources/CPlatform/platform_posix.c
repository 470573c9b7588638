/* platform.h on POSIX threads: Linux and GNU/Hurd.

   Guarantees: a block is zeroed and aligned to 16 bytes; a wait's time limit is
   counted on the monotonic clock wherever the system's conditions can do that;
   a log line leaves in one write, so lines of different threads do not mix.  */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <errno.h>
#include "platform.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const int platform_EIO = EIO;
const int platform_ENOSPC = ENOSPC;
const int platform_EDQUOT = EDQUOT;
const int platform_ENOMEM = ENOMEM;
const int platform_EINVAL = EINVAL;
const int platform_EOPNOTSUPP = EOPNOTSUPP;
const int platform_EBUSY = EBUSY;
const int platform_EDEADLK = EDEADLK;
const int platform_EFAULT = EFAULT;
const int platform_EACCES = EACCES;

/* Memory.  */

enum { block_alignment = 16, retry_ms = 10 };

static _Atomic long allocated_blocks;

void *
platform_shared_memory (void)
{
    static _Alignas (64) char shared[platform_shared_bytes];
    return shared;
}

/* Allocations until one fails; negative: none does.  */
static _Atomic long allocations_until_failure = -1;

/* The count is touched only while a test wants a failure.  */
static int
failure_wanted (void)
{
    long left = atomic_load_explicit(&allocations_until_failure, memory_order_relaxed);
    while (left >= 0)
        if (atomic_compare_exchange_weak_explicit(&allocations_until_failure, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return left == 0;
    return 0;
}

void *
platform_allocate (size_t size)
{
    void *block;
    if (failure_wanted()
        || posix_memalign(&block, block_alignment, size != 0 ? size : 1) != 0)
        return NULL;
    memset(block, 0, size);
    atomic_fetch_add_explicit(&allocated_blocks, 1, memory_order_relaxed);
    return block;
}

void *
platform_allocate_waiting (size_t size)
{
    void *block;
    while ((block = platform_allocate(size)) == NULL)
        {
            const struct timespec pause = { .tv_sec = 0, .tv_nsec = retry_ms * 1000000L };
            nanosleep(&pause, NULL);
        }
    return block;
}

void
platform_free (void *block)
{
    if (block == NULL)
        return;
    atomic_fetch_sub_explicit(&allocated_blocks, 1, memory_order_relaxed);
    free(block);
}

long
platform_fail_allocation (long n)
{
    return atomic_exchange_explicit(&allocations_until_failure, n, memory_order_relaxed);
}

long
platform_allocated_blocks (void)
{
    return atomic_load_explicit(&allocated_blocks, memory_order_relaxed);
}

/* Locks and conditions live inside the opaque storage.  An error of theirs would mean that
   the caller broke a rule (unlocking what it does not hold) or that init had no resources;
   nothing sensible can follow.

   A lock is a word that one exchange takes and one gives back, as long as nobody waits: the pager's lock is taken several times for
   one message and hardly ever contended, and a POSIX mutex costs four times as much (a futex would do for the waiting, too, but is
   Linux').  Who finds it taken says so in the word and sleeps at a POSIX condition; who gives it back and sees that wakes one.
   `parking` is held between looking at the word and sleeping, and while waking, so no wake-up is lost.  */

enum { lock_free, lock_taken, lock_awaited };

struct lock {
    _Atomic uint32_t state;
    pthread_mutex_t parking;
    pthread_cond_t freed;
};

struct condition {
    /* Of who waits; changes under the lock.  */
    struct lock *lock;
    unsigned waiters;
    pthread_cond_t changed;
};

_Static_assert(sizeof (struct lock) <= sizeof (platform_mutex_t), "platform_mutex_t is too small for this system's mutex");
_Static_assert(_Alignof(struct lock) <= _Alignof(platform_mutex_t), "platform_mutex_t is not aligned enough");
_Static_assert(sizeof (struct condition) <= sizeof (platform_condition_t),
               "platform_condition_t is too small for this system's condition");
_Static_assert(_Alignof(struct condition) <= _Alignof(platform_condition_t), "platform_condition_t is not aligned enough");

static void
require (int error)
{
    if (error != 0)
        {
            platform_log("a lock or condition failed, error %lu", (unsigned long) error, 0);
            abort();
        }
}

static struct lock *
lock_of (platform_mutex_t *m)
{
    return (struct lock *) (void *) m;
}

static struct condition *
condition_of (platform_condition_t *c)
{
    return (struct condition *) (void *) c;
}

void
platform_mutex_init (platform_mutex_t *m)
{
    struct lock *lock = lock_of(m);
    atomic_init(&lock->state, lock_free);
    require(pthread_mutex_init(&lock->parking, NULL));
    require(pthread_cond_init(&lock->freed, NULL));
}

void
platform_mutex_destroy (platform_mutex_t *m)
{
    struct lock *lock = lock_of(m);
    /* Whoever gave it back last may still hold this.  */
    require(pthread_mutex_lock(&lock->parking));
    require(pthread_mutex_unlock(&lock->parking));
    require(pthread_cond_destroy(&lock->freed));
    require(pthread_mutex_destroy(&lock->parking));
}

static __attribute__((noinline)) void
wait_for_lock (struct lock *lock)
{
    require(pthread_mutex_lock(&lock->parking));
    /* Taken so, it stays marked as awaited: there may be others.  */
    while (atomic_exchange_explicit(&lock->state, lock_awaited, memory_order_acquire) != lock_free)
        require(pthread_cond_wait(&lock->freed, &lock->parking));
    require(pthread_mutex_unlock(&lock->parking));
}

static __attribute__((noinline)) void
wake_for_lock (struct lock *lock)
{
    /* Before it is free: whoever gets it next may destroy it.  */
    require(pthread_mutex_lock(&lock->parking));
    atomic_store_explicit(&lock->state, lock_free, memory_order_release);
    require(pthread_cond_signal(&lock->freed));
    require(pthread_mutex_unlock(&lock->parking));
}

void
platform_mutex_lock (platform_mutex_t *m)
{
    struct lock *lock = lock_of(m);
    uint32_t state = lock_free;
    if (!atomic_compare_exchange_strong_explicit(&lock->state, &state, lock_taken, memory_order_acquire, memory_order_relaxed))
        wait_for_lock(lock);
}

void
platform_mutex_unlock (platform_mutex_t *m)
{
    struct lock *lock = lock_of(m);
    uint32_t state = lock_taken;
    if (!atomic_compare_exchange_strong_explicit(&lock->state, &state, lock_free, memory_order_release, memory_order_relaxed))
        wake_for_lock(lock);
}

/* The clock that conditions count on: monotonic, or what the system offers (older
   releases of the Hurd refuse another than the real-time clock).  */
static clockid_t condition_clock = CLOCK_REALTIME;
static pthread_condattr_t condition_attributes;
static pthread_once_t condition_once = PTHREAD_ONCE_INIT;

static void
choose_condition_clock (void)
{
    require(pthread_condattr_init(&condition_attributes));
    if (pthread_condattr_setclock(&condition_attributes, CLOCK_MONOTONIC) == 0)
        condition_clock = CLOCK_MONOTONIC;
}

void
platform_condition_init (platform_condition_t *c)
{
    struct condition *condition = condition_of(c);
    require(pthread_once(&condition_once, choose_condition_clock));
    condition->lock = NULL;
    condition->waiters = 0;
    require(pthread_cond_init(&condition->changed, &condition_attributes));
}

void
platform_condition_destroy (platform_condition_t *c)
{
    require(pthread_cond_destroy(&condition_of(c)->changed));
}

static struct timespec
time_after (long milliseconds)
{
    struct timespec until;
    clock_gettime(condition_clock, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += milliseconds % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L)
        {
            until.tv_sec += 1;
            until.tv_nsec -= 1000000000L;
        }
    return until;
}

int
platform_condition_wait (platform_condition_t *c, platform_mutex_t *m, long milliseconds)
{
    struct condition *condition = condition_of(c);
    struct lock *lock = lock_of(m);
    const struct timespec until = milliseconds < 0 ? (struct timespec) { 0 } : time_after(milliseconds);

    condition->lock = lock;
    condition->waiters++;
    /* Held until this thread sleeps: who changes something after the lock is free wakes it with this held as well.  */
    require(pthread_mutex_lock(&lock->parking));
    if (atomic_exchange_explicit(&lock->state, lock_free, memory_order_release) == lock_awaited)
        require(pthread_cond_signal(&lock->freed));
    int error = milliseconds < 0 ? pthread_cond_wait(&condition->changed, &lock->parking)
                                 : pthread_cond_timedwait(&condition->changed, &lock->parking, &until);
    require(pthread_mutex_unlock(&lock->parking));
    platform_mutex_lock(m);
    condition->waiters--;
    if (error == ETIMEDOUT)
        return 1;
    require(error);
    return 0;
}

void
platform_condition_wake_one (platform_condition_t *c)
{
    struct condition *condition = condition_of(c);
    if (condition->waiters == 0)
        return;
    require(pthread_mutex_lock(&condition->lock->parking));
    require(pthread_cond_signal(&condition->changed));
    require(pthread_mutex_unlock(&condition->lock->parking));
}

void
platform_condition_wake_all (platform_condition_t *c)
{
    struct condition *condition = condition_of(c);
    if (condition->waiters == 0)
        return;
    require(pthread_mutex_lock(&condition->lock->parking));
    require(pthread_cond_broadcast(&condition->changed));
    require(pthread_mutex_unlock(&condition->lock->parking));
}

/* Threads.  */

struct start {
    void (*entry) (void *);
    void *argument;
};

static void *
run (void *block)
{
    const struct start start = *(struct start *) block;
    platform_free(block);
    start.entry(start.argument);
    return NULL;
}

int
platform_thread_start (void (*entry) (void *), void *argument)
{
    struct start *start = platform_allocate(sizeof *start);
    if (start == NULL)
        return ENOMEM;
    start->entry = entry;
    start->argument = argument;

    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error == 0)
        {
            pthread_t thread;
            error = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
            if (error == 0)
                error = pthread_create(&thread, &attributes, run, start);
            pthread_attr_destroy(&attributes);
        }
    if (error != 0)
        platform_free(start);
    return error;
}

__thread struct platform_thread platform_this_thread;

unsigned
platform_next_thread_number (void)
{
    static _Atomic unsigned numbers;
    unsigned number;
    /* (Not 0 where they begin again.)  */
    while ((number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) + 1) == 0)
        ;
    return number;
}

uint64_t
platform_clock_ms (void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* The formats are the engine's own constants.  */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"

void
platform_log (const char *format, unsigned long a, unsigned long b)
{
    static const char prefix[] = "libpager: ";
    enum { prefix_length = sizeof prefix - 1, line_size = 256 };
    char line[line_size];
    const int saved = errno;

    memcpy(line, prefix, prefix_length);
    /* One byte stays free for the newline.  */
    const size_t room = line_size - prefix_length - 1;
    int length = snprintf(line + prefix_length, room, format, a, b);
    if (length < 0)
        length = 0;
    if ((size_t) length >= room)
        length = (int) room - 1;
    line[prefix_length + length] = '\n';
    ssize_t written = write(STDERR_FILENO, line, (size_t) (prefix_length + length + 1));
    /* Nobody could be told.  */
    (void) written;
    errno = saved;
}

#pragma GCC diagnostic pop

void
platform_set_errno (int code)
{
    errno = code;
}

void
platform_pause_ms (uint32_t milliseconds)
{
    struct timespec time = { milliseconds / 1000, (long) (milliseconds % 1000) * 1000000 };
    nanosleep (&time, NULL);
}
