/* threads.c - POSIX threads, futexes and clocks for the libraries under test, on top of the scheduler.

   The libraries are the shipped objects: the linker directs what they call to the functions here (--wrap in CMakeLists.txt). A mutex
   keeps its owner and the number of its waiters in its first words, which are 0 in whatever a static initializer makes. A condition needs nothing but its address.

   Points of choice are before a lock is taken, before and after a wait, when somebody is woken, when a thread starts, and after the
   engine lets go a lock. Not after other locks are let go: so what a kernel reads or writes in one hold of a lock of its own happens
   at the moment at which sk_read or sk_write returns (kernels.c counts on it). Conditions wake without a reason now and then. */

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>

#include "platform.h"
#include "report.h"
#include "scheduler.h"
#include "threads.h"

static long thread_failure = -1;

void threads_fail_start(long n) { thread_failure = n; }

struct mutex { struct fiber *owner; unsigned waiters; };

static struct mutex *inside(pthread_mutex_t *mutex) { return (struct mutex *) (void *) mutex; }

/* ---- Mutexes ---- */

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

static struct fiber *self(void)
{
    /* Before the simulation runs, constructors and the like lock as well. */
    static char nobody;
    struct fiber *fiber = sim_self();
    return fiber ? fiber : (struct fiber *) (void *) &nobody;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    (void) attributes;
    *inside(mutex) = (struct mutex) { NULL, 0 };
    return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    if (inside(mutex)->owner != NULL || inside(mutex)->waiters != 0)
        report_failure("a mutex is destroyed that somebody has locked, or waits for");
    return 0;
}

static void acquire(pthread_mutex_t *mutex)
{
    if (inside(mutex)->owner == self())
        report_failure("a thread locks a mutex that it has locked");
    while (inside(mutex)->owner != NULL) {
        inside(mutex)->waiters++;
        sim_block(mutex, UINT64_MAX, "a mutex");
        inside(mutex)->waiters--;
    }
    inside(mutex)->owner = self();
}

static void release(pthread_mutex_t *mutex)
{
    if (inside(mutex)->owner != self())
        report_failure("a thread unlocks a mutex that it has not locked");
    inside(mutex)->owner = NULL;
    if (inside(mutex)->waiters != 0)
        sim_wake(mutex, ~0u);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    sim_point();
    acquire(mutex);
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    release(mutex);
    return 0;
}

void __real_platform_mutex_unlock(platform_mutex_t *mutex);
void __wrap_platform_mutex_unlock(platform_mutex_t *mutex);
void __wrap_platform_mutex_unlock(platform_mutex_t *mutex)
{
    __real_platform_mutex_unlock(mutex);
    sim_point();
}

/* ---- Conditions ---- */

int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes);
int __wrap_pthread_cond_destroy(pthread_cond_t *condition);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *condition);
int __wrap_pthread_cond_broadcast(pthread_cond_t *condition);

int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
    (void) condition, (void) attributes;
    return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *condition)
{
    if (sim_wake(condition, 1) != 0)
        report_failure("a condition is destroyed that somebody waits for");
    return 0;
}

static int wait(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t deadline)
{
    bool woken = true;
    release(mutex);
    if (sim_choice(50) == 0)
        sim_point();
    else
        woken = sim_block(condition, deadline, "a condition");
    acquire(mutex);
    return woken ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    return wait(condition, mutex, UINT64_MAX);
}

static uint64_t nanoseconds(const struct timespec *time)
{
    return (uint64_t) time->tv_sec * 1000000000u + (uint64_t) time->tv_nsec;
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    return wait(condition, mutex, nanoseconds(until));
}

int __wrap_pthread_cond_signal(pthread_cond_t *condition)
{
    sim_wake(condition, 1);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *condition)
{
    sim_wake(condition, ~0u);
    return 0;
}

/* ---- Threads ---- */

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument);
int __wrap_pthread_detach(pthread_t thread);
pthread_t __wrap_pthread_self(void);
int __wrap_pthread_once(pthread_once_t *once, void (*function)(void));
int __wrap_pthread_key_create(pthread_key_t *key, void (*destroy)(void *));
int __wrap_pthread_setspecific(pthread_key_t key, const void *value);
int __wrap_sched_yield(void);

struct start { void *(*body)(void *); void *argument; };

static void run(void *argument)
{
    struct start start = *(struct start *) argument;
    free(argument);
    start.body(start.argument);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument)
{
    (void) attributes;
    if (thread_failure >= 0 && thread_failure-- == 0)
        return EAGAIN;
    struct start *start = malloc(sizeof *start);
    *start = (struct start) { body, argument };
    *thread = (pthread_t) sim_spawn("worker", run, start);
    sim_point();
    return 0;
}

int __wrap_pthread_detach(pthread_t thread)
{
    (void) thread;
    return 0;
}

pthread_t __wrap_pthread_self(void) { return (pthread_t) self(); }

int __wrap_pthread_once(pthread_once_t *once, void (*function)(void))
{
    if (*once == PTHREAD_ONCE_INIT) {
        *once = PTHREAD_ONCE_INIT + 1;
        function();
    }
    return 0;
}

int __wrap_pthread_key_create(pthread_key_t *key, void (*destroy)(void *))
{
    int made = sim_key_create(destroy);
    *key = (pthread_key_t) made;
    return made < 0 ? EAGAIN : 0;
}

int __wrap_pthread_setspecific(pthread_key_t key, const void *value)
{
    sim_set_specific((int) key, (void *) (uintptr_t) value);
    return 0;
}

int __wrap_sched_yield(void)
{
    sim_yield();
    return 0;
}

/* ---- The system ---- */

long __wrap_syscall(long number, ...);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);

/* Futexes, the only system call that the libraries make by number. */
long __wrap_syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    _Atomic uint32_t *word = va_arg(list, _Atomic uint32_t *);
    int operation = va_arg(list, int) & ~FUTEX_PRIVATE_FLAG;
    uint32_t value = va_arg(list, uint32_t);
    const struct timespec *limit = va_arg(list, const struct timespec *);
    va_end(list);
    if (number != SYS_futex)
        report_failure("system call %ld", number);
    if (operation == FUTEX_WAKE)
        return (long) sim_wake((void *) word, value);
    sim_point();
    if (atomic_load(word) != value) {
        errno = EAGAIN;
        return -1;
    }
    if (!sim_block((void *) word, limit ? nanoseconds(limit) : UINT64_MAX, "a futex")) {
        errno = ETIMEDOUT;
        return -1;
    }
    return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    (void) clock;
    uint64_t ns = sim_now_ns();
    *now = (struct timespec) { (time_t) (ns / 1000000000u), (long) (ns % 1000000000u) };
    return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    (void) left;
    sim_sleep_ns(nanoseconds(time));
    return 0;
}
