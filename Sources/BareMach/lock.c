/* lock.c: POSIX mutexes, conditions and once, on the kernel's own wait for a word (gsync, as the Hurd's libpthread).

   The objects are in the storage that musl's <pthread.h> declares; zeroed is initialised.

     mutex      word 0: 0 free, 1 held, 2 held and somebody may wait.  A holder that finds 2 wakes one.
     condition  word 0: counts signals.  Whoever waits sleeps while it is what it was before the mutex was released, so no signal is missed.
                A signal wakes all that sleep: which one the kernel would wake could be one that came later.

   Nobody spins: a thread that has to wait is in the kernel, which matters on one processor.  */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "internal.h"

#include <mach/gnumach.h>

/* gsync's flags, as kern/gsync.h has them; no header of Debian's package does.  */
enum { GSYNC_TIMED = 4, GSYNC_BROADCAST = 8 };

int bare_wait_word(unsigned *word, unsigned value, long milliseconds)
{
    kern_return_t result = gsync_wait(mach_task_self(), (vm_address_t) word, value, 0,
                                      milliseconds < 0 ? 0 : (natural_t) milliseconds, milliseconds < 0 ? 0 : GSYNC_TIMED);
    return result == KERN_TIMEDOUT;
}

void bare_wake_word(unsigned *word, int all)
{
    gsync_wake(mach_task_self(), (vm_address_t) word, 0, all ? GSYNC_BROADCAST : 0);
}

static unsigned *word_of(void *object)
{
    return object;
}

int pthread_mutex_init(pthread_mutex_t *restrict mutex, const pthread_mutexattr_t *restrict attributes)
{
    (void) attributes;
    *mutex = (pthread_mutex_t) { 0 };
    return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    return __atomic_load_n(word_of(mutex), __ATOMIC_RELAXED) ? EBUSY : 0;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    unsigned *word = word_of(mutex), seen = 0;
    if (__atomic_compare_exchange_n(word, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return 0;
    while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE) != 0)
        bare_wait_word(word, 2, -1);
    return 0;
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    unsigned seen = 0;
    return __atomic_compare_exchange_n(word_of(mutex), &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED) ? 0 : EBUSY;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    unsigned *word = word_of(mutex);
    unsigned before = __atomic_exchange_n(word, 0, __ATOMIC_RELEASE);
    if (before == 0)
        return EPERM;
    if (before == 2)
        bare_wake_word(word, 0);
    return 0;
}

int pthread_condattr_init(pthread_condattr_t *attributes)
{
    *attributes = (pthread_condattr_t) { 0 };
    return 0;
}

/* There is one clock.  */
int pthread_condattr_setclock(pthread_condattr_t *attributes, clockid_t clock)
{
    (void) attributes, (void) clock;
    return 0;
}

int pthread_cond_init(pthread_cond_t *restrict condition, const pthread_condattr_t *restrict attributes)
{
    (void) attributes;
    *condition = (pthread_cond_t) { 0 };
    return 0;
}

int pthread_cond_destroy(pthread_cond_t *condition)
{
    (void) condition;
    return 0;
}

static int wait(pthread_cond_t *condition, pthread_mutex_t *mutex, long milliseconds)
{
    unsigned *word = word_of(condition);
    unsigned before = __atomic_load_n(word, __ATOMIC_RELAXED);
    pthread_mutex_unlock(mutex);
    int late = bare_wait_word(word, before, milliseconds);
    pthread_mutex_lock(mutex);
    return late ? ETIMEDOUT : 0;
}

int pthread_cond_wait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex)
{
    return wait(condition, mutex, -1);
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long left = ((long long) until->tv_sec - now.tv_sec) * 1000 + (until->tv_nsec - now.tv_nsec + 999999) / 1000000;
    if (left <= 0)
        return ETIMEDOUT;
    return wait(condition, mutex, left > 1000000000 ? 1000000000 : (long) left);
}

int pthread_cond_broadcast(pthread_cond_t *condition)
{
    __atomic_fetch_add(word_of(condition), 1, __ATOMIC_RELEASE);
    bare_wake_word(word_of(condition), 1);
    return 0;
}

int pthread_cond_signal(pthread_cond_t *condition)
{
    return pthread_cond_broadcast(condition);
}

/* 0: not yet, 1: somebody is at it, 2: done.  */
int pthread_once(pthread_once_t *once, void (*routine)(void))
{
    unsigned *word = word_of(once), seen = 0;
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == 2)
        return 0;
    if (__atomic_compare_exchange_n(word, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
        routine();
        __atomic_store_n(word, 2, __ATOMIC_RELEASE);
        bare_wake_word(word, 1);
    } else {
        while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != 2)
            bare_wait_word(word, 1, -1);
    }
    return 0;
}
