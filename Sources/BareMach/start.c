/* start.c: from the kernel's bootstrap to main.

   The task is the kernel's first; its arguments are
       host port, device port (both numbers, from the boot loader's ${host-port} and ${device-port}), and main's.
   Constructors run before main, as in any program.  */

#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#include <mach/mach_host.h>

mach_port_t bare_host_port, bare_device_port;
vm_size_t vm_page_size;
char **bare_arguments;

int main(int argc, char **argv);

extern void (*__init_array_start[])(void), (*__init_array_end[])(void);

_Noreturn void bare_start(uintptr_t *stack);

void bare_start(uintptr_t *stack)
{
    int argc = (int) stack[0];
    char **argv = (char **) (stack + 1);

    bare_threads_init();
    bare_arguments = argv;
    if (argc > 2) {
        bare_host_port = (mach_port_t) strtoul(argv[1], NULL, 10);
        bare_device_port = (mach_port_t) strtoul(argv[2], NULL, 10);
    }
    bare_console_init();
    struct vm_statistics statistics;
    if (vm_statistics(mach_task_self(), &statistics) != KERN_SUCCESS) {
        static const char text[] = "bare: no page size\n";
        bare_write(text, sizeof text - 1);
        bare_end(1);
    }
    vm_page_size = (vm_size_t) statistics.pagesize;
    bare_exceptions_init();
    for (void (**constructor)(void) = __init_array_start; constructor != __init_array_end; constructor++)
        (*constructor)();
    /* argv[0] stays, the two ports go.  */
    if (argc > 2) {
        argv[2] = argv[0];
        argv += 2;
        argc -= 2;
    }
    exit(main(argc, argv));
}

void bare_end(int status)
{
    printf("bare: end, status %d\n", status);
    for (;;) {
        host_reboot(bare_host_port, 0);
        swtch_pri(0);
    }
}

void exit(int status)
{
    bare_end(status);
}

void abort(void)
{
    printf("bare: abort\n");
    bare_end(134);
}
