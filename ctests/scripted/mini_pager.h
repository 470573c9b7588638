/* mini_pager.h - the smallest pager: the test itself receives each message and answers it.

   Not thread-safe: the test's main thread is the pager.  Checks, at the end, that nothing is
   left over. */

#ifndef MINI_PAGER_H
#define MINI_PAGER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <scripted/scripted_kernel.h>

#define PAGE vm_page_size

/* A message from the kernel, in words. */
struct event {
    mach_msg_id_t id;
    mach_port_t control;        /* its name only; the right has been released */
    vm_offset_t offset;
    vm_size_t length;
    vm_prot_t access;
    boolean_t dirty, kernel_copy, may_cache;
    memory_object_copy_strategy_t copy_strategy;
    kern_return_t result;
    vm_offset_t error_offset;
    unsigned char first[40];    /* first byte of each of the first pages */
};

extern mach_port_t pager;       /* receive and send right */
extern mach_port_t control;     /* send right, from init; or MACH_PORT_NULL */
extern sk_kernel *kernel;
extern sk_object *object;

/* Make pager, kernel and a mapped, ready object; take everything down and check for leaks. */
int setup(void **state);
int teardown(void **state);
/* The same, without mapping. */
int setup_unmapped(void **state);

/* The next message to the pager.  next fails the test if it has another id, or if none comes in ten
   seconds; nothing checks that there is none. */
struct event next(mach_msg_id_t id);
void nothing(void);
/* The next message, whatever it is; false if none comes in TIMEOUT_MS. */
boolean_t poll_event(struct event *out, unsigned timeout_ms);

/* Answer: a page, or pages, filled with BYTE, BYTE + 1, ... */
void supply(vm_offset_t offset, unsigned pages, unsigned char byte, vm_prot_t lock,
            boolean_t precious, mach_port_t reply);
void lock(vm_offset_t offset, vm_size_t length, memory_object_return_t should_return,
          boolean_t flush, vm_prot_t lock_value);

/* A thread that reads or writes one byte. */
struct toucher {
    pthread_t thread;
    vm_offset_t offset;
    int write;
    unsigned char byte;         /* what to write, or what was read */
    int error;
};
void touch(struct toucher *toucher, vm_offset_t offset, int write, unsigned char byte);
int touched(struct toucher *toucher);   /* joins; the error */

#endif
