/* redirect.h - included first in everything that is compiled for libFuzzer: what the libraries want of POSIX threads and of the system goes to
   ctests/simulation/threads.c. The simulation has the linker do that (--wrap), but here the linker would redirect the sanitizers' and libFuzzer's
   own calls as well. */

#ifndef FUZZ_REDIRECT_H
#define FUZZ_REDIRECT_H

#define pthread_mutex_init __wrap_pthread_mutex_init
#define pthread_mutex_destroy __wrap_pthread_mutex_destroy
#define pthread_mutex_lock __wrap_pthread_mutex_lock
#define pthread_mutex_unlock __wrap_pthread_mutex_unlock
#define pthread_cond_init __wrap_pthread_cond_init
#define pthread_cond_destroy __wrap_pthread_cond_destroy
#define pthread_cond_wait __wrap_pthread_cond_wait
#define pthread_cond_timedwait __wrap_pthread_cond_timedwait
#define pthread_cond_signal __wrap_pthread_cond_signal
#define pthread_cond_broadcast __wrap_pthread_cond_broadcast
#define pthread_create __wrap_pthread_create
#define pthread_detach __wrap_pthread_detach
#define pthread_self __wrap_pthread_self
#define pthread_once __wrap_pthread_once
#define pthread_key_create __wrap_pthread_key_create
#define pthread_setspecific __wrap_pthread_setspecific
#define sched_yield __wrap_sched_yield
#define syscall __wrap_syscall
#define clock_gettime __wrap_clock_gettime
#define nanosleep __wrap_nanosleep

#endif
