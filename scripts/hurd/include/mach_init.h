/* Stand-in for the Hurd's <mach_init.h> (README.md).  The function of the same name is Mach's trap, which adds a reference.  */

#ifndef STANDIN_MACH_INIT_H
#define STANDIN_MACH_INIT_H

#include <mach/mach_types.h>

extern mach_port_t mach_task_self(void);
extern mach_port_t __mach_task_self_;
#define mach_task_self() (__mach_task_self_ + 0)

extern vm_size_t vm_page_size;

#endif
