/* sanitizer.h - what the thread sanitizer cannot see.

   A page fault puts things in order: what a thread did before it touched a page comes before what the fault's server does, and
   what that did before it woke the thread comes before the thread goes on.  The system does that, unseen by the sanitizer.  Here it is told, with the
   page's address as the thing that is handed over.  A program that is to be checked with it tells its side (ctests/mapping/land.c). */

#ifndef MK_SANITIZER_H
#define MK_SANITIZER_H

#include <stddef.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#else
#define __tsan_acquire(address) ((void)(address))
#define __tsan_release(address) ((void)(address))
#endif

/* What stands for the page: somewhere in its middle; an atomic variable of the program's that is there would have the sanitizer's lock for that address
   while its access faults. */
#define MK_ORDER(page, page_size) ((void *)((page) + (page_size) / 2))

/* Whoever waits for these pages goes on after what this thread has done. */
static inline void mk_order_wake(unsigned long address, size_t length, size_t page_size)
{
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
    for (size_t at = 0; at < length; at += page_size)
        __tsan_release(MK_ORDER(address + at, page_size));
#else
    (void)address, (void)length, (void)page_size;
#endif
}

#endif
