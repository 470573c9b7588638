/* locks.h - the only thing libports needs besides Mach: mutexes, condition variables,
   threads.  This is the POSIX version; a platform without POSIX threads supplies a header
   with the same names in its place (put its folder first on the include path).

   Mutexes are not recursive.  A mutex and a condition may be initialised statically. */

#ifndef PORTS_LOCKS_H
#define PORTS_LOCKS_H

#include <pthread.h>
#include <stdint.h>

typedef pthread_mutex_t ports_mutex_t;
typedef pthread_cond_t ports_cond_t;

#define PORTS_MUTEX_INITIALIZER PTHREAD_MUTEX_INITIALIZER
#define PORTS_COND_INITIALIZER  PTHREAD_COND_INITIALIZER

static inline void ports_mutex_lock(ports_mutex_t *mutex)
{
    pthread_mutex_lock(mutex);
}

static inline void ports_mutex_unlock(ports_mutex_t *mutex)
{
    pthread_mutex_unlock(mutex);
}

static inline void ports_cond_wait(ports_cond_t *cond, ports_mutex_t *mutex)
{
    pthread_cond_wait(cond, mutex);
}

static inline void ports_cond_broadcast(ports_cond_t *cond)
{
    pthread_cond_broadcast(cond);
}

/* The calling thread's identity; equal for one thread, different for two that live. */
static inline const void *ports_thread_self(void)
{
    return (const void *)(uintptr_t)pthread_self();
}

/* Run BODY(ARG) in a new thread that nobody joins.  Zero, or an error number. */
static inline int ports_thread_start(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    int err = pthread_create(&thread, NULL, body, arg);
    if (err == 0)
        pthread_detach(thread);
    return err;
}

#endif
