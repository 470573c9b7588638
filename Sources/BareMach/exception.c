/* exception.c: the task's exception port, served by a thread of its own.

   A memory error where the faulting thread expects one (bare_recover) goes on at the place it has named. Any other exception is told on
   the console, with its address, and ends the run.

   The faulting thread waits in the kernel for the answer, so its state can be set: it is made to call bare_fault_return, on its own stack below what
   it uses, and that leaves by longjmp.  */

#include <pthread.h>
#include <stdio.h>

#include "internal.h"

#include <mach/exc_server.h>
#include <mach/exception.h>
#include <mach/task_special_ports.h>
#include <mach/thread_status.h>

/* MIG's, without a header.  */
boolean_t exc_server(mach_msg_header_t *request, mach_msg_header_t *reply);

struct bare_recovery *bare_recover(struct bare_recovery *recovery)
{
    struct bare_thread *self = bare_self();
    struct bare_recovery *before = self->recovery;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    self->recovery = recovery;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return before;
}

void bare_fault_return(void)
{
    struct bare_thread *self = bare_self();
    struct bare_recovery *recovery = self->recovery;
    self->recovery = NULL;
    longjmp(recovery->back, 1);
}

static int expected(struct bare_recovery *recovery, uintptr_t address)
{
    return recovery && (address - recovery->start[0] < recovery->size[0] || address - recovery->start[1] < recovery->size[1]);
}

/* Where the thread is, and the frames of its stack: clang keeps %ebp for them.  */
static void report_place(mach_port_t thread, vm_address_t region, vm_size_t size)
{
    struct i386_thread_state state = { 0 };
    mach_msg_type_number_t count = i386_THREAD_STATE_COUNT;
    thread_get_state(thread, i386_REGS_SEGS_STATE, (thread_state_t) &state, &count);
    printf("bare: thread %u at instruction 0x%08x, stack 0x%08x\n", thread, state.eip, state.uesp);
    unsigned *frame = (unsigned *) (uintptr_t) state.ebp;
    for (int i = 0; i < 16 && (uintptr_t) frame - region < size - 8; i++) {
        printf("bare:   called from 0x%08x\n", frame[1]);
        frame = (unsigned *) (uintptr_t) frame[0];
    }
}

static void report_thread(struct bare_thread *thread)
{
    /* The kernel made the first one's stack, below its own half of the address space.  */
    int first = thread->region == 0;
    report_place(thread->port, first ? 0xbff00000 : thread->region + vm_page_size, first ? 0x100000 : thread->region_size - vm_page_size);
}

void bare_report_threads(void)
{
    bare_for_each_thread(report_thread);
}

static void report(mach_port_t port, int exception, int code, int subcode)
{
    struct bare_thread *thread = bare_find_thread(port);
    printf("bare: exception %d, code %d, at address 0x%08x\n", exception, code, (unsigned) subcode);
    if (thread)
        report_thread(thread);
    else
        report_place(port, 0, 0);
    bare_end(139);
}

kern_return_t catch_exception_raise(mach_port_t port, mach_port_t thread, mach_port_t task, int exception, int code, int subcode)
{
    struct bare_thread *faulting = bare_find_thread(thread);
    (void) port;
    if (!faulting || exception != EXC_BAD_ACCESS || !expected(faulting->recovery, (uintptr_t) subcode))
        report(thread, exception, code, subcode);
    faulting->recovery->fault = (struct bare_fault) { (uintptr_t) subcode, code };
    struct i386_thread_state state;
    mach_msg_type_number_t count = i386_THREAD_STATE_COUNT;
    kern_return_t result = thread_get_state(thread, i386_REGS_SEGS_STATE, (thread_state_t) &state, &count);
    state.eip = (unsigned) (uintptr_t) bare_fault_return;
    /* As behind a call: 4 below a multiple of 16.  */
    state.uesp = ((state.uesp - 128) & ~15u) - 4;
    if (result == KERN_SUCCESS)
        result = thread_set_state(thread, i386_REGS_SEGS_STATE, (thread_state_t) &state, i386_THREAD_STATE_COUNT);
    if (result != KERN_SUCCESS)
        report(thread, exception, code, subcode);
    mach_port_deallocate(mach_task_self(), thread);
    mach_port_deallocate(mach_task_self(), task);
    return KERN_SUCCESS;
}

static void *serve(void *port)
{
    mach_msg_server(exc_server, 4096, (mach_port_t) (uintptr_t) port);
    printf("bare: nobody receives exceptions\n");
    bare_end(1);
}

void bare_no_system_call(void)
{
    unsigned number;
    __asm__ volatile("movl %%eax, %0" : "=r"(number));
    printf("bare: the C library wants to call Linux (%u), from 0x%08x\n", number, (unsigned) (uintptr_t) __builtin_return_address(0));
    bare_end(1);
}

void bare_exceptions_init(void)
{
    mach_port_t port;
    pthread_t thread;
    if (mach_port_allocate(mach_task_self(), MACH_PORT_RIGHT_RECEIVE, &port) != KERN_SUCCESS
        || mach_port_insert_right(mach_task_self(), port, port, MACH_MSG_TYPE_MAKE_SEND) != KERN_SUCCESS
        || task_set_special_port(mach_task_self(), TASK_EXCEPTION_PORT, port) != KERN_SUCCESS
        || pthread_create(&thread, NULL, serve, (void *) (uintptr_t) port) != 0) {
        printf("bare: no exception port\n");
        bare_end(1);
    }
    pthread_detach(thread);
}
