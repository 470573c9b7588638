/* start.S: the first instructions of the task and of a thread, and Mach's traps, which are those of <mach/syscall_sw.h>.

   The kernel starts the task with argc, argv and a null on the stack.  */

/* These add a reference to the name with each call: start.c and threads.c call each once.  */
#define mach_task_self bare_trap_task_self
#define mach_thread_self bare_trap_thread_self
#define mach_host_self bare_trap_host_self

#include <mach/syscall_sw.h>

        .text
        .globl  _start
_start:
        xorl    %ebp, %ebp
        movl    %esp, %eax
        andl    $-16, %esp
        subl    $12, %esp
        pushl   %eax
        call    bare_start
        hlt

/* A thread's: the selector of its data is in %eax, the stack pointer is aligned.  */
        .globl  bare_thread_start
bare_thread_start:
        movw    %ax, %gs
        xorl    %ebp, %ebp
        call    bare_thread_main
        hlt

        .section .note.GNU-stack, "", @progbits
