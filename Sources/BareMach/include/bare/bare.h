/* bare/bare.h: a task that the kernel boots, without an operating system behind it: what it has beyond <mach.h> and the C library.

   BareMach gives such a task what a translator has from the Hurd's C library: POSIX threads, locks and conditions (all waiting is the
   kernel's), memory, a console, a clock, and recovery from memory errors.  docs/gnumach.md has the whole picture.  */

#ifndef BARE_BARE_H
#define BARE_BARE_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <mach/port.h>
#include <mach/mach_types.h>

/* Privileged ports that the boot loader's command line passes as the first two arguments.  */
extern mach_port_t bare_host_port, bare_device_port;

/* Ends the run: tells the console and reboots, which ends QEMU.  */
_Noreturn void bare_end(int status);

/* Where every thread is, to the console: for hangs.  (llvm-symbolizer makes lines of addresses.)  */
void bare_report_threads(void);

/* ---- Memory errors ---- */

/* What the kernel says of one: KERN_INVALID_ADDRESS, KERN_PROTECTION_FAILURE, KERN_MEMORY_ERROR ...  */
struct bare_fault {
    uintptr_t address;
    int code;
};

/* Where faults are expected: in one of two ranges, and where to go on then.

       struct bare_recovery recovery = { .start = { a, b }, .size = { n, m } };
       if (setjmp(recovery.back) == 0) {
           outer = bare_recover(&recovery);
           ... touch ...
       } else
           ... recovery.fault says what happened ...
       bare_recover(outer);

   A fault anywhere else is reported on the console and ends the run.  */
struct bare_recovery {
    jmp_buf back;
    volatile uintptr_t start[2];
    volatile size_t size[2];
    struct bare_fault fault;
};

/* The calling thread's expectation from now on (NULL: none); returns the one before.  */
struct bare_recovery *bare_recover(struct bare_recovery *recovery);

/* ---- Counting, for leak tests ---- */

/* Without what BareMach itself holds (threads, their stacks and reply ports, the heap).  */
struct bare_holdings {
    size_t names;                       /* of rights of any sort */
    size_t receive;                     /* of receive rights and port sets */
    size_t bytes;                       /* mapped */
};
struct bare_holdings bare_count(void);
/* Messages that wait in the queues of the task's ports.  */
size_t bare_count_messages(void);

#endif
