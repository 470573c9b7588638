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

/* Memory.  */

enum { block_alignment = 16, retry_ms = 10 };

static _Atomic long allocated_blocks;

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

void
platform_fail_allocation (long n)
{
    atomic_store_explicit(&allocations_until_failure, n, memory_order_relaxed);
}

long
platform_allocated_blocks (void)
{
    return atomic_load_explicit(&allocated_blocks, memory_order_relaxed);
}

/* Locks and conditions live inside the opaque storage.  An error of theirs would mean that
   the caller broke a rule (unlocking what it does not hold) or that init had no resources;
   nothing sensible can follow.  */

_Static_assert(sizeof (pthread_mutex_t) <= sizeof (platform_mutex_t),
               "platform_mutex_t is too small for this system's mutex");
_Static_assert(_Alignof(pthread_mutex_t) <= _Alignof(platform_mutex_t),
               "platform_mutex_t is not aligned enough");
_Static_assert(sizeof (pthread_cond_t) <= sizeof (platform_condition_t),
               "platform_condition_t is too small for this system's condition");
_Static_assert(_Alignof(pthread_cond_t) <= _Alignof(platform_condition_t),
               "platform_condition_t is not aligned enough");

static void
require (int error)
{
    if (error != 0)
        {
            platform_log("a lock or condition failed, error %lu", (unsigned long) error, 0);
            abort();
        }
}

static pthread_mutex_t *
mutex_of (platform_mutex_t *m)
{
    return (pthread_mutex_t *) (void *) m;
}

static pthread_cond_t *
condition_of (platform_condition_t *c)
{
    return (pthread_cond_t *) (void *) c;
}

void
platform_mutex_init (platform_mutex_t *m)
{
    require(pthread_mutex_init(mutex_of(m), NULL));
}

void
platform_mutex_destroy (platform_mutex_t *m)
{
    require(pthread_mutex_destroy(mutex_of(m)));
}

void
platform_mutex_lock (platform_mutex_t *m)
{
    require(pthread_mutex_lock(mutex_of(m)));
}

void
platform_mutex_unlock (platform_mutex_t *m)
{
    require(pthread_mutex_unlock(mutex_of(m)));
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
    require(pthread_once(&condition_once, choose_condition_clock));
    require(pthread_cond_init(condition_of(c), &condition_attributes));
}

void
platform_condition_destroy (platform_condition_t *c)
{
    require(pthread_cond_destroy(condition_of(c)));
}

int
platform_condition_wait (platform_condition_t *c, platform_mutex_t *m, long milliseconds)
{
    if (milliseconds < 0)
        {
            require(pthread_cond_wait(condition_of(c), mutex_of(m)));
            return 0;
        }

    struct timespec until;
    clock_gettime(condition_clock, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += milliseconds % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L)
        {
            until.tv_sec += 1;
            until.tv_nsec -= 1000000000L;
        }

    int error = pthread_cond_timedwait(condition_of(c), mutex_of(m), &until);
    if (error == ETIMEDOUT)
        return 1;
    require(error);
    return 0;
}

void
platform_condition_wake_one (platform_condition_t *c)
{
    require(pthread_cond_signal(condition_of(c)));
}

void
platform_condition_wake_all (platform_condition_t *c)
{
    require(pthread_cond_broadcast(condition_of(c)));
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
